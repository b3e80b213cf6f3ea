//! `pilaster.scaled.v1`: integers that are all a multiple of some step away from each other.
//!
//! Timestamps in microseconds of events that fall on whole seconds, prices in whole hundreds: child 0
//! holds `(value - base) / step` as unsigned integers, in the narrowest type.

use arrow::array::*;
use arrow::datatypes::*;

use crate::encoding::words::{self, Word, for_word};
use crate::encoding::{
    Access, DecodeContext, EncodeContext, Encoding, Node, Profile, Reads, Role, Selection,
    Statistics, Verdict,
};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct Scaled;

const ID: &str = "pilaster.scaled.v1";

#[derive(Clone, PartialEq, prost::Message)]
struct Metadata {
    #[prost(fixed64, tag = "1")]
    base: u64,
    #[prost(uint64, tag = "2")]
    step: u64,
    /// Bytes of a value of the child: 1, 2, 4 or 8.
    #[prost(uint32, tag = "3")]
    word: u32,
}

impl Encoding for Scaled {
    fn id(&self) -> &'static str {
        ID
    }

    fn access(&self) -> Access {
        Access::PerValue
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        words::is_integer(data_type) && data_type.primitive_width() > Some(1)
    }

    fn estimate(&self, statistics: &Statistics, _: Profile) -> Verdict {
        match statistics.runs > 1 {
            true => Verdict::Measure,
            false => Verdict::Skip,
        }
    }

    fn encode(&self, array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        let data_type = array.data_type();
        let found = for_word!(data_type, W => {
            let values = words::of::<W>(array);
            base_and_step(&values, words::flip(data_type)).map(|(base, step)| {
                let steps = values.iter().map(|v| v.minus(base).widen() / step);
                (base.widen(), step, steps.collect::<Vec<u64>>())
            })
        }, else None);
        let Some((base, step, steps)) = found else {
            return Ok(None);
        };
        let largest = steps.iter().max().copied().unwrap_or(0);
        let word = match largest {
            0..=0xff => 1,
            0x100..=0xffff => 2,
            0x1_0000..=0xffff_ffff => 4,
            _ => 8,
        };
        let child_type = unsigned(word)?;
        let child = for_word!(&child_type, C => {
            words::array(steps.iter().map(|&s| C::narrow(s)).collect(), &child_type)?
        }, else return Ok(None));
        let child = context.child(ID, &child, Role::Values)?;
        let metadata = Metadata { base, step, word };
        Ok(Some(
            Node::new(ID, array.len())
                .with_metadata(&metadata)
                .with_child(child),
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
        node.expect(0, 1)?;
        let Metadata { base, step, word } = node.parse_metadata()?;
        let child_type = unsigned(word)?;
        let child = context.decode(node.child_of(0, node.rows)?, &child_type, selection)?;
        for_word!(data_type, W => {
            context.reserve_rows(child.len(), size_of::<W>())?;
            for_word!(&child_type, C => {
                let steps = words::of::<C>(&child);
                let value = |s: &C| W::narrow(base.wrapping_add(step.wrapping_mul(s.widen())));
                words::array(steps.iter().map(value).collect(), data_type)
            }, else Err(Error::corrupt("steps of no integer type")))
        }, else Err(Error::corrupt(format!("steps of {data_type}"))))
    }

    fn reads(&self, _: &Node, selection: &Selection) -> Reads {
        Reads::Parts {
            buffers: Vec::new(),
            children: vec![Some(selection.clone())],
        }
    }
}

fn unsigned(bytes: u32) -> Result<DataType> {
    match bytes {
        1 => Ok(DataType::UInt8),
        2 => Ok(DataType::UInt16),
        4 => Ok(DataType::UInt32),
        8 => Ok(DataType::UInt64),
        other => Err(Error::corrupt(format!("steps of {other} bytes"))),
    }
}

/// The smallest value and the largest step above one that leads from it to all others.
fn base_and_step<W: Word>(values: &[W], flip: W) -> Option<(W, u64)> {
    let base = values.iter().map(|&v| v ^ flip).min()? ^ flip;
    let mut step = 0;
    for value in values {
        let distance = value.minus(base).widen();
        // Most values are a multiple of the step so far, or end the search.
        if step == 0 || distance % step != 0 {
            step = greatest_common_divisor(step, distance);
            if step == 1 {
                return None;
            }
        }
    }
    (step > 1).then_some((base, step))
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::testing;
    use std::sync::Arc;

    #[test]
    fn multiples_come_back() {
        for (base, step) in [
            (-7i64, 1_000_000i64),
            (1_700_000_000_000_000, 60),
            (i64::MIN, 1 << 40),
        ] {
            let values = (0..3000i64).map(|i| base.wrapping_add(i * i % 1009 * step));
            let array: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
            let node = testing::check(&Scaled, &array, Profile::Balanced).unwrap();
            assert!(node.stored_bytes() < 3000 * 2 + 50);
        }
        let mut taken = 0;
        for array in testing::integer_arrays(1000) {
            if Scaled.accepts(array.data_type()) {
                taken += usize::from(testing::check(&Scaled, &array, Profile::Balanced).is_some());
            }
        }
        assert!(taken > 0);
    }

    #[test]
    fn neighbours_are_declined() {
        let array: ArrayRef = Arc::new(Int32Array::from(vec![100, 200, 301]));
        assert!(testing::encode(&Scaled, &array, Profile::Balanced).is_none());
        let array: ArrayRef = Arc::new(Int32Array::from(vec![i32::MIN, i32::MAX]));
        let node = testing::check(&Scaled, &array, Profile::Balanced).unwrap();
        assert_eq!(node.rows, 2);
    }
}
