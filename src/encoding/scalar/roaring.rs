//! `pilaster.roaring.v1`: booleans of which few are set, or few are not, or that come in runs.
//!
//! Buffer 0 is a Roaring bitmap in its portable form, of the rows that differ from the usual value.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::*;
use roaring::RoaringBitmap;

use crate::encoding::{
    Access, DecodeContext, EncodeContext, Encoding, Node, Profile, Selection, Statistics, Verdict,
    words,
};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct Roaring;

const ID: &str = "pilaster.roaring.v1";

#[derive(Clone, PartialEq, prost::Message)]
struct Metadata {
    /// The value of rows that are not in the bitmap.
    #[prost(bool, tag = "1")]
    usual: bool,
}

impl Encoding for Roaring {
    fn id(&self) -> &'static str {
        ID
    }

    fn access(&self) -> Access {
        Access::Opaque
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        *data_type == DataType::Boolean
    }

    fn estimate(&self, statistics: &Statistics, _: Profile) -> Verdict {
        let rare = statistics.top_count * 10 >= statistics.rows * 9;
        let long_runs = statistics.runs * 16 <= statistics.rows;
        match statistics.runs > 1 && (rare || long_runs) {
            true => Verdict::Measure,
            false => Verdict::Skip,
        }
    }

    fn encode(&self, array: &ArrayRef, _: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        let values = array.as_boolean().values();
        let usual = values.count_set_bits() * 2 > values.len();
        let other = match usual {
            true => !values,
            false => values.clone(),
        };
        let mut rows = RoaringBitmap::new();
        for (start, end) in other.set_slices() {
            rows.insert_range(start as u32..end as u32);
        }
        rows.optimize();
        let mut bytes = Vec::with_capacity(rows.serialized_size());
        rows.serialize_into(&mut bytes)
            .map_err(|e| Error::io("writing a bitmap", e))?;
        Ok(Some(
            Node::new(ID, array.len())
                .with_metadata(&Metadata { usual })
                .with_buffer(bytes),
        ))
    }

    fn decode(
        &self,
        node: &Node,
        data_type: &DataType,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        let (rows, usual) = stored(node, data_type)?;
        context.reserve_rows(node.rows.div_ceil(64), 8)?;
        let mut bits = vec![0u64; node.rows.div_ceil(64)];
        for row in rows {
            bits[row as usize / 64] |= 1 << (row % 64);
        }
        if usual {
            bits.iter_mut().for_each(|word| *word = !*word);
        }
        let bits = words::bits(bits, node.rows);
        Ok(Arc::new(BooleanArray::new(bits, None)))
    }

    fn decode_selection(
        &self,
        node: &Node,
        data_type: &DataType,
        selection: &Selection,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        let count = selection.count(node.rows);
        if count > node.rows / 64 {
            return selection.take(&self.decode(node, data_type, context)?);
        }
        let (rows, usual) = stored(node, data_type)?;
        context.reserve_rows(count.div_ceil(8), 1)?;
        let wanted = selection.iter(node.rows);
        let bits: BooleanBuffer = wanted.map(|i| rows.contains(i as u32) != usual).collect();
        Ok(Arc::new(BooleanArray::new(bits, None)))
    }
}

/// The bitmap, all of whose rows are rows of the node, and the value of the others.
fn stored(node: &Node, data_type: &DataType) -> Result<(RoaringBitmap, bool)> {
    node.expect(1, 0)?;
    if *data_type != DataType::Boolean {
        return Err(Error::corrupt(format!(
            "a bitmap for values of {data_type}"
        )));
    }
    let usual = node.parse_metadata::<Metadata>()?.usual;
    let bytes = node.buffer(0)?.bytes()?;
    let rows = RoaringBitmap::deserialize_from(bytes.as_slice())
        .map_err(|e| Error::corrupt(format!("bitmap: {e}")))?;
    match rows.max().is_none_or(|last| (last as usize) < node.rows) {
        true => Ok((rows, usual)),
        false => Err(Error::corrupt("a bitmap longer than its array")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::testing;

    #[test]
    fn booleans_come_back() {
        for rows in [0, 1, 64, 100_000] {
            for array in testing::boolean_arrays(rows) {
                testing::check(&Roaring, &array, Profile::Balanced).unwrap();
            }
        }
    }

    #[test]
    fn rare_values_take_little() {
        for usual in [true, false] {
            let values: BooleanArray = (0..100_000)
                .map(|i| Some((i % 10_000 == 77) != usual))
                .collect();
            let array: ArrayRef = Arc::new(values);
            let node = testing::check(&Roaring, &array, Profile::Balanced).unwrap();
            assert!(node.stored_bytes() < 100);
        }
    }
}
