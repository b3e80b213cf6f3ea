//! `pilaster.constant.v1`: one value, as many times as there are rows.
//!
//! The value's bytes stand in the metadata (little-endian; a boolean is one byte), so that nothing
//! has to be read; a long binary value is buffer 0 instead.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::*;

use crate::encoding::words::{self, for_word};
use crate::encoding::{
    Access, CompareOp, DecodeContext, EncodeContext, Encoding, Node, Profile, Selection,
    Statistics, Verdict, gather, physical,
};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct Constant;

const ID: &str = "pilaster.constant.v1";
/// Longest value that is kept in the metadata.
const INLINE: usize = 64;

#[derive(Clone, PartialEq, prost::Message)]
struct Metadata {
    #[prost(bytes = "vec", tag = "1")]
    value: Vec<u8>,
}

impl Encoding for Constant {
    fn id(&self) -> &'static str {
        ID
    }

    fn access(&self) -> Access {
        Access::PerValue
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        physical::is_leaf(data_type)
    }

    fn estimate(&self, statistics: &Statistics, _: Profile) -> Verdict {
        match statistics.runs {
            1 => Verdict::Always,
            _ => Verdict::Skip,
        }
    }

    fn encode(&self, array: &ArrayRef, _: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        let Some(value) = only_value(array) else {
            return Ok(None);
        };
        let node = Node::new(ID, array.len());
        Ok(Some(match value.len() <= INLINE {
            true => node.with_metadata(&Metadata { value }),
            false => node.with_buffer(value),
        }))
    }

    fn decode(
        &self,
        node: &Node,
        data_type: &DataType,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        let value = stored_value(node, data_type)?;
        repeat(&value, node.rows, context)
    }

    fn decode_selection(
        &self,
        node: &Node,
        data_type: &DataType,
        selection: &Selection,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        let value = stored_value(node, data_type)?;
        repeat(&value, selection.count(node.rows), context)
    }

    fn compare(
        &self,
        node: &Node,
        data_type: &DataType,
        op: CompareOp,
        value: &Scalar<ArrayRef>,
        context: &DecodeContext<'_>,
    ) -> Result<BooleanArray> {
        let own = stored_value(node, data_type)?;
        let answer = op.apply(&own, value)?;
        context.reserve_rows(node.rows.div_ceil(8), 1)?;
        Ok(match answer.is_valid(0) {
            true if answer.value(0) => BooleanArray::new(BooleanBuffer::new_set(node.rows), None),
            true => BooleanArray::new(BooleanBuffer::new_unset(node.rows), None),
            false => BooleanArray::new_null(node.rows),
        })
    }
}

/// Bytes of the one value that all rows hold.
fn only_value(array: &ArrayRef) -> Option<Vec<u8>> {
    fn all_same<T: PartialEq>(mut values: impl Iterator<Item = T>) -> Option<T> {
        let first = values.next()?;
        values.all(|v| v == first).then_some(first)
    }
    match array.data_type() {
        DataType::Boolean => {
            all_same(array.as_boolean().values().iter()).map(|v| vec![u8::from(v)])
        }
        DataType::Binary => {
            let values = array.as_binary::<i32>();
            all_same((0..values.len()).map(|i| values.value(i))).map(<[u8]>::to_vec)
        }
        DataType::FixedSizeBinary(_) => {
            let values = array.as_fixed_size_binary();
            all_same((0..values.len()).map(|i| values.value(i))).map(<[u8]>::to_vec)
        }
        other => for_word!(other, W => {
            all_same(words::of::<W>(array).iter().copied()).map(|v| v.to_le_bytes().to_vec())
        }, else None),
    }
}

/// The value as an array of one row.
fn stored_value(node: &Node, data_type: &DataType) -> Result<ArrayRef> {
    let value = match node.buffers.len() {
        0 => node.parse_metadata::<Metadata>()?.value,
        _ => node.buffer(0)?.bytes()?.to_vec(),
    };
    node.expect(node.buffers.len().min(1), 0)?;
    let wrong = || {
        Error::corrupt(format!(
            "constant of {} bytes is no {data_type}",
            value.len()
        ))
    };
    Ok(match data_type {
        DataType::Boolean if value.len() == 1 => Arc::new(BooleanArray::from(vec![value[0] != 0])),
        DataType::Binary => Arc::new(BinaryArray::from(vec![value.as_slice()])),
        DataType::FixedSizeBinary(width) if usize::try_from(*width) == Ok(value.len()) => Arc::new(
            FixedSizeBinaryArray::try_new_with_len(*width, value.into(), None, 1)?,
        ),
        other => for_word!(other, W => {
            let bytes = value.as_slice().try_into().map_err(|_| wrong())?;
            words::array(vec![W::from_le_bytes(bytes)], other)?
        }, else return Err(wrong())),
    })
}

fn repeat(value: &ArrayRef, rows: usize, context: &DecodeContext<'_>) -> Result<ArrayRef> {
    match value.data_type() {
        DataType::Boolean => {
            context.reserve_rows(rows.div_ceil(8), 1)?;
            let bits = match value.as_boolean().value(0) {
                true => BooleanBuffer::new_set(rows),
                false => BooleanBuffer::new_unset(rows),
            };
            Ok(Arc::new(BooleanArray::new(bits, None)))
        }
        DataType::Binary | DataType::FixedSizeBinary(_) => {
            context.reserve_rows(rows, 1)?;
            gather::gather(value, &vec![0u8; rows], context)
        }
        other => for_word!(other, W => {
            context.reserve_rows(rows, size_of::<W>())?;
            words::array(vec![words::of::<W>(value)[0]; rows], other)
        }, else Err(Error::corrupt(format!("no constants of {other}")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::testing;

    #[test]
    fn arrays_of_one_value_come_back_and_others_are_declined() {
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from(vec![-5; 3000])),
            Arc::new(Float64Array::from(vec![-0.0; 9])),
            Arc::new(BooleanArray::from(vec![true; 1001])),
            Arc::new(BinaryArray::from(vec![&b"abc"[..]; 70])),
            Arc::new(BinaryArray::from(vec![&[7u8; 5000][..]; 12])),
            testing::fixed_arrays(50, 16)[0].clone(),
        ];
        for array in arrays {
            let node = testing::check(&Constant, &array, Profile::Balanced).unwrap();
            assert!(node.children.is_empty());
        }
        let mixed: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0]));
        assert!(testing::encode(&Constant, &mixed, Profile::Balanced).is_none());
    }

    #[test]
    fn a_constant_cannot_grow_past_the_budget() {
        let array: ArrayRef = Arc::new(BinaryArray::from(vec![&[7u8; 60][..]; 2]));
        let mut node = testing::encode(&Constant, &array, Profile::Balanced).unwrap();
        node.rows = 1 << 30;
        assert!(testing::decode(&node, &DataType::Binary, &Selection::all()).is_err());
    }
}
