//! `pilaster.narrow.v1`: wide integers whose values fit 64 bits.
//!
//! Decimals of 128 and 256 bits are little-endian two's complement in fixed-size binary; nearly all
//! fit 64 bits. Child 0 holds them as int64, where the integer encodings take over.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::Buffer;
use arrow::datatypes::*;

use crate::encoding::{
    Access, CompareOp, DecodeContext, EncodeContext, Encoding, Node, Profile, Reads, Role,
    Selection, Statistics, Verdict, words,
};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct Narrow;

const ID: &str = "pilaster.narrow.v1";

impl Encoding for Narrow {
    fn id(&self) -> &'static str {
        ID
    }

    fn access(&self) -> Access {
        Access::PerValue
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        matches!(data_type, DataType::FixedSizeBinary(16 | 32))
    }

    fn estimate(&self, statistics: &Statistics, _: Profile) -> Verdict {
        match statistics.runs {
            0 | 1 => Verdict::Skip,
            _ => Verdict::Measure,
        }
    }

    fn encode(&self, array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        let values = array.as_fixed_size_binary();
        let bytes = values.value_data();
        let narrow = match values.value_length() {
            16 => narrowed::<16>(bytes),
            32 => narrowed::<32>(bytes),
            _ => None,
        };
        let Some(narrow) = narrow else {
            return Ok(None);
        };
        let child: ArrayRef = Arc::new(Int64Array::from(narrow));
        let child = context.child(ID, &child, Role::Values)?;
        Ok(Some(Node::new(ID, array.len()).with_child(child)))
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
        let child = node.child_of(0, node.rows)?;
        let narrow = context.decode(child, &DataType::Int64, selection)?;
        let narrow = narrow.as_primitive::<Int64Type>().values();
        let (width, bytes) = match data_type {
            DataType::FixedSizeBinary(16) => {
                context.reserve_rows(narrow.len(), 16)?;
                let wide: Vec<i128> = narrow.iter().map(|&v| i128::from(v)).collect();
                (16, little_endian(wide))
            }
            DataType::FixedSizeBinary(32) => {
                context.reserve_rows(narrow.len(), 32)?;
                let wide = narrow
                    .iter()
                    .flat_map(|&v| [i128::from(v), i128::from(v >> 63)]);
                (32, little_endian(wide.collect()))
            }
            other => return Err(Error::corrupt(format!("wide integers as {other}"))),
        };
        Ok(Arc::new(FixedSizeBinaryArray::try_new_with_len(
            width,
            bytes,
            None,
            narrow.len(),
        )?))
    }

    fn compare(
        &self,
        node: &Node,
        data_type: &DataType,
        op: CompareOp,
        value: &Scalar<ArrayRef>,
        context: &DecodeContext<'_>,
    ) -> Result<BooleanArray> {
        // The order of the bytes is not that of the numbers, so only equality goes below.
        let plain = value.clone().into_inner();
        let equality = matches!(op, CompareOp::Eq | CompareOp::Ne);
        let fixed = plain.as_fixed_size_binary_opt();
        let fixed = fixed.filter(|p| equality && p.data_type() == data_type && p.null_count() == 0);
        let Some(fixed) = fixed else {
            return op.apply(&self.decode(node, data_type, context)?, value);
        };
        let bytes = fixed.value(0);
        let narrow = match bytes.len() {
            16 => narrowed::<16>(bytes),
            _ => narrowed::<32>(bytes),
        };
        node.expect(0, 1)?;
        let child = node.child_of(0, node.rows)?;
        match narrow.as_deref() {
            Some(&[narrow]) => {
                let value: ArrayRef = Arc::new(Int64Array::from(vec![narrow]));
                context.compare(child, &DataType::Int64, op, &Scalar::new(value))
            }
            _ => {
                context.reserve_rows(node.rows.div_ceil(8), 1)?;
                let word = if op == CompareOp::Ne { u64::MAX } else { 0 };
                let bits = words::bits(vec![word; node.rows.div_ceil(64)], node.rows);
                Ok(BooleanArray::new(bits, None))
            }
        }
    }

    fn reads(&self, _: &Node, selection: &Selection) -> Reads {
        Reads::Parts {
            buffers: Vec::new(),
            children: vec![Some(selection.clone())],
        }
    }
}

/// The values, if the bytes above the lowest eight only repeat the sign.
fn narrowed<const N: usize>(bytes: &[u8]) -> Option<Vec<i64>> {
    let (values, _) = bytes.as_chunks::<N>();
    let mut out = Vec::with_capacity(values.len());
    for value in values {
        let low = i64::from_le_bytes(*value.first_chunk()?);
        let sign = (low >> 63) as u8;
        if value[8..].iter().any(|&b| b != sign) {
            return None;
        }
        out.push(low);
    }
    Some(out)
}

/// Memory order of the numbers is little-endian on every machine that Arrow runs on in practice;
/// others pay for the swap.
fn little_endian(mut wide: Vec<i128>) -> Buffer {
    if cfg!(target_endian = "big") {
        wide.iter_mut().for_each(|v| *v = v.to_le());
    }
    Buffer::from_vec(wide)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::testing;

    #[test]
    fn decimals_come_back() {
        for width in [16, 32] {
            for array in testing::fixed_arrays(1500, width) {
                testing::check(&Narrow, &array, Profile::Balanced).unwrap();
            }
        }
    }

    #[test]
    fn values_that_do_not_fit_are_declined() {
        for wide in [1i128 << 63, -(1i128 << 63) - 1, i128::MAX] {
            let bytes = [5i128.to_le_bytes(), wide.to_le_bytes()].concat();
            let array: ArrayRef = Arc::new(FixedSizeBinaryArray::new(16, bytes.into(), None));
            assert!(testing::encode(&Narrow, &array, Profile::Balanced).is_none());
            let fits = array.slice(0, 1);
            let node = testing::encode(&Narrow, &fits, Profile::Balanced).unwrap();
            let value = Scalar::new(array.slice(1, 1));
            let ne = testing::compare(&node, fits.data_type(), CompareOp::Ne, &value).unwrap();
            assert!(ne.value(0));
        }
    }
}
