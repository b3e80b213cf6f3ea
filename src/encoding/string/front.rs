//! `pilaster.front.v1`: of each value only what differs from the one before.
//!
//! For sorted text, paths and the values of dictionaries, which are sorted. Child 0 holds for each
//! row the number of bytes that it begins with like the row before it (uint32), child 1 the rest of
//! its bytes (binary). Every `RESTART` rows the shared length is zero, so that a row is restored
//! from the start of its block on.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, UInt32Type};

use crate::encoding::blocks::Blocks;
use crate::encoding::{
    Access, DecodeContext, EncodeContext, Encoding, Node, Profile, Reads, Role, Selection,
    Statistics, Verdict,
};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct Front;

const ID: &str = "pilaster.front.v1";

/// Rows a block.
const RESTART: usize = 128;

impl Encoding for Front {
    fn id(&self) -> &'static str {
        ID
    }

    fn access(&self) -> Access {
        Access::Block
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        *data_type == DataType::Binary
    }

    fn estimate(&self, statistics: &Statistics, _: Profile) -> Verdict {
        match statistics.rows < 16 {
            true => Verdict::Skip,
            false => Verdict::Measure,
        }
    }

    fn encode(&self, array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        let Some(values) = array.as_binary_opt::<i32>() else {
            return Ok(None);
        };
        let shared: Vec<u32> = (0..values.len())
            .map(|i| match i % RESTART {
                0 => 0,
                _ => common(values.value(i - 1), values.value(i)) as u32,
            })
            .collect();
        let saved: u64 = shared.iter().map(|&n| u64::from(n)).sum();
        let offsets = values.value_offsets();
        let total = (offsets[values.len()] - offsets[0]) as u64;
        // Less is better left to the encodings that find repeated strings anywhere.
        if saved * 4 < total || saved < 2 * values.len() as u64 {
            return Ok(None);
        }
        let rests = (0..values.len()).map(|i| &values.value(i)[shared[i] as usize..]);
        let rests: ArrayRef = Arc::new(BinaryArray::from_iter_values(rests));
        let shared: ArrayRef = Arc::new(UInt32Array::from(shared));
        let shared = context.child(ID, &shared, Role::Values)?;
        let rests = context.child(ID, &rests, Role::Values)?;
        Ok(Some(
            Node::new(ID, array.len())
                .with_child(shared)
                .with_child(rests),
        ))
    }

    fn decode(
        &self,
        node: &Node,
        data_type: &DataType,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        self.decode_selection(node, data_type, &Selection::all(), context)
    }

    fn decode_selection(
        &self,
        node: &Node,
        data_type: &DataType,
        selection: &Selection,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        node.expect(0, 2)?;
        if *data_type != DataType::Binary {
            return Err(Error::corrupt(format!("front-coded values of {data_type}")));
        }
        let blocks = Blocks::new(node.rows, RESTART, node.rows.div_ceil(RESTART))?;
        let touched = blocks.touched(selection);
        let covered = blocks.covered(&touched, context)?;
        let shared = context.decode(node.child_of(0, node.rows)?, &DataType::UInt32, &covered)?;
        let rests = context.decode(node.child_of(1, node.rows)?, &DataType::Binary, &covered)?;
        let shared = shared.as_primitive::<UInt32Type>().values();
        let all = joined(shared, rests.as_binary::<i32>(), context)?;
        blocks.within(&touched, selection).take(&all)
    }

    fn reads(&self, node: &Node, selection: &Selection) -> Reads {
        let bounds = selection.bounds(node.rows);
        let rows = match bounds.is_empty() {
            true => 0..0,
            false => {
                bounds.start / RESTART * RESTART
                    ..bounds.end.next_multiple_of(RESTART).min(node.rows)
            }
        };
        Reads::Parts {
            buffers: Vec::new(),
            children: vec![Some(Selection::range(rows)); 2],
        }
    }
}

fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

/// The values of whole blocks. A block takes nothing from the one before it.
fn joined(shared: &[u32], rests: &BinaryArray, context: &DecodeContext<'_>) -> Result<ArrayRef> {
    let saved: u64 = shared.iter().map(|&n| u64::from(n)).sum();
    let rest = rests.value_offsets();
    let total = saved + (rest[rests.len()] - rest[0]) as u64;
    if total > i32::MAX as u64 {
        return Err(Error::corrupt(format!("{total} bytes of front-coded text")));
    }
    context.reserve(total)?;
    context.reserve_rows(shared.len() + 1, 4)?;
    let mut bytes: Vec<u8> = Vec::with_capacity(total as usize);
    let mut offsets = Vec::with_capacity(shared.len() + 1);
    offsets.push(0i32);
    let mut before = 0..0;
    for (i, &n) in shared.iter().enumerate() {
        if i % RESTART == 0 {
            before = 0..0;
        }
        if n as usize > before.len() {
            return Err(Error::corrupt("text begins like a row that is shorter"));
        }
        let start = bytes.len();
        bytes.extend_from_within(before.start..before.start + n as usize);
        bytes.extend_from_slice(rests.value(i));
        before = start..bytes.len();
        offsets.push(bytes.len() as i32);
    }
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    let array = BinaryArray::try_new(offsets, Buffer::from_vec(bytes), None)?;
    Ok(Arc::new(array))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::testing;

    fn paths(rows: usize) -> ArrayRef {
        let path = |i: usize| format!("/usr/share/doc/package-{:04}/file-{}", i / 9, i % 9);
        Arc::new(BinaryArray::from_iter_values((0..rows).map(path)))
    }

    #[test]
    fn sorted_text_keeps_the_laws_and_shrinks() {
        for rows in [20, RESTART, RESTART + 1, 3000] {
            let array = paths(rows);
            let node = testing::check(&Front, &array, Profile::Balanced).unwrap();
            let rests = node.children[1].buffers[0].len();
            assert!(rests * 4 < array.as_binary::<i32>().values().len() as u64);
        }
    }

    #[test]
    fn text_without_common_beginnings_is_declined() {
        let array: ArrayRef = Arc::new(BinaryArray::from_iter_values(
            (0..500u32).map(|i| i.wrapping_mul(0x9E37_79B9).to_le_bytes()),
        ));
        assert!(testing::encode(&Front, &array, Profile::Balanced).is_none());
    }

    #[test]
    fn text_that_would_unfold_beyond_the_budget_is_refused() {
        let long = "x".repeat(1 << 16);
        let array: ArrayRef = Arc::new(BinaryArray::from_iter_values(vec![long; 100_000 / 16]));
        let node = testing::encode(&Front, &array, Profile::Balanced).unwrap();
        assert!(testing::decode(&node, &DataType::Binary, &Selection::all()).is_err());
        assert!(testing::decode(&node, &DataType::Binary, &Selection::range(0..3)).is_ok());
    }
}
