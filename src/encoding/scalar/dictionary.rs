//! `pilaster.dictionary.v1`: each distinct value once, and a code a row.
//!
//! Child 0 holds the codes, child 1 the distinct values in ascending order, so that an order on
//! values is one on codes. A comparison decides each distinct value once and goes on with codes.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::BooleanBuffer;
use arrow::compute;
use arrow::datatypes::*;

use crate::encoding::distinct::Distinct;
use crate::encoding::words::{self, Word, for_word};
use crate::encoding::{
    Access, CompareOp, DecodeContext, EncodeContext, Encoding, Node, Profile, Reads, Role,
    Selection, Statistics, Verdict, gather, physical,
};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct Dictionary;

const ID: &str = "pilaster.dictionary.v1";
/// Most distinct values of one chunk.
const CAP: usize = 1 << 16;

#[derive(Clone, PartialEq, prost::Message)]
struct Metadata {
    /// Bytes of a code: 1, 2 or 4.
    #[prost(uint32, tag = "1")]
    code_bytes: u32,
}

impl Encoding for Dictionary {
    fn id(&self) -> &'static str {
        ID
    }

    fn access(&self) -> Access {
        Access::Block
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        physical::is_leaf(data_type) && *data_type != DataType::Boolean
    }

    fn estimate(&self, statistics: &Statistics, _: Profile) -> Verdict {
        match statistics.distinct {
            Some(distinct) if distinct > 1 && distinct <= statistics.rows / 2 => Verdict::Measure,
            _ => Verdict::Skip,
        }
    }

    fn encode(&self, array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        let Some(found) = Distinct::of(array, CAP).filter(|d| !d.is_empty()) else {
            return Ok(None);
        };
        let order = sorted(array, &found);
        let mut rank = vec![0u32; order.len()];
        for (i, &code) in order.iter().enumerate() {
            rank[code as usize] = i as u32;
        }
        let first: UInt32Array = order.iter().map(|&c| found.first[c as usize]).collect();
        let values = compute::take(array, &first, None)?;
        let codes = found.codes.iter().map(|&c| rank[c as usize]);
        let (code_bytes, codes): (u32, ArrayRef) = match order.len() {
            0..=0x100 => (
                1,
                Arc::new(UInt8Array::from_iter_values(codes.map(|c| c as u8))),
            ),
            0x101..=0x1_0000 => (
                2,
                Arc::new(UInt16Array::from_iter_values(codes.map(|c| c as u16))),
            ),
            _ => (4, Arc::new(UInt32Array::from_iter_values(codes))),
        };
        let codes = context.child(ID, &codes, Role::Codes)?;
        let values = context.child(ID, &values, Role::Unique)?;
        Ok(Some(
            Node::new(ID, array.len())
                .with_metadata(&Metadata { code_bytes })
                .with_child(codes)
                .with_child(values),
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
        let code_type = code_type(node)?;
        let codes = context.decode(node.child_of(0, node.rows)?, &code_type, selection)?;
        let values = node.child(1)?;
        for_word!(&code_type, C => {
            let codes = words::of::<C>(&codes);
            match codes.len() < values.rows / 4 {
                true => few(&codes, values, data_type, context),
                false => {
                    let values = leaf(values, data_type, &Selection::all(), context)?;
                    gather::gather(&values, &codes, context)
                }
            }
        }, else Err(Error::corrupt("codes of no integer type")))
    }

    fn compare(
        &self,
        node: &Node,
        data_type: &DataType,
        op: CompareOp,
        value: &Scalar<ArrayRef>,
        context: &DecodeContext<'_>,
    ) -> Result<BooleanArray> {
        let code_type = code_type(node)?;
        let codes = node.child_of(0, node.rows)?;
        let values = leaf(node.child(1)?, data_type, &Selection::all(), context)?;
        let passing = op.apply(&values, value)?;
        if passing.null_count() > 0 {
            return Ok(BooleanArray::new_null(node.rows));
        }
        match codes_passing(passing.values()) {
            Codes::None => Ok(BooleanArray::new(BooleanBuffer::new_unset(node.rows), None)),
            Codes::All => Ok(BooleanArray::new(BooleanBuffer::new_set(node.rows), None)),
            Codes::Test(op, code) => {
                let code = code_scalar(code, &code_type)?;
                context.compare(codes, &code_type, op, &code)
            }
            Codes::Set => {
                let codes = context.decode_all(codes, &code_type)?;
                for_word!(&code_type, C => {
                    let codes = words::of::<C>(&codes);
                    let passing: ArrayRef = Arc::new(passing);
                    Ok(gather::gather(&passing, &codes, context)?.as_boolean().clone())
                }, else Err(Error::corrupt("codes of no integer type")))
            }
        }
    }

    fn reads(&self, _: &Node, selection: &Selection) -> Reads {
        Reads::Parts {
            buffers: Vec::new(),
            children: vec![Some(selection.clone()), Some(Selection::all())],
        }
    }
}

/// Which codes pass, in the cheapest terms.
#[derive(Debug, PartialEq, Eq)]
enum Codes {
    None,
    All,
    Test(CompareOp, usize),
    Set,
}

fn codes_passing(passing: &BooleanBuffer) -> Codes {
    let (len, count) = (passing.len(), passing.count_set_bits());
    if count == 0 {
        return Codes::None;
    }
    if count == len {
        return Codes::All;
    }
    let Some((start, end)) = passing.set_slices().next() else {
        return Codes::None;
    };
    match (start, end) {
        (s, e) if e - s == count && e - s == 1 => Codes::Test(CompareOp::Eq, s),
        (0, e) if e == count => Codes::Test(CompareOp::Lt, e),
        (s, e) if e == len && e - s == count => Codes::Test(CompareOp::Ge, s),
        (0, e) if count + 1 == len => Codes::Test(CompareOp::Ne, e),
        _ if count + 1 == len => Codes::Test(CompareOp::Ne, 0),
        _ => Codes::Set,
    }
}

fn code_scalar(code: usize, code_type: &DataType) -> Result<Scalar<ArrayRef>> {
    for_word!(code_type, C => {
        Ok(Scalar::new(words::array(vec![C::narrow(code as u64)], code_type)?))
    }, else Err(Error::corrupt("codes of no integer type")))
}

fn code_type(node: &Node) -> Result<DataType> {
    node.expect(0, 2)?;
    match node.parse_metadata::<Metadata>()?.code_bytes {
        1 => Ok(DataType::UInt8),
        2 => Ok(DataType::UInt16),
        4 => Ok(DataType::UInt32),
        other => Err(Error::corrupt(format!("dictionary codes of {other} bytes"))),
    }
}

/// Decodes values, which have no nulls.
fn leaf(
    node: &Node,
    data_type: &DataType,
    selection: &Selection,
    context: &DecodeContext<'_>,
) -> Result<ArrayRef> {
    let values = context.decode(node, data_type, selection)?;
    match values.null_count() {
        0 => Ok(values),
        _ => Err(Error::corrupt("nulls among the values of a dictionary")),
    }
}

/// Gathers few rows, decoding only the values that they hold.
fn few<C: Word>(
    codes: &[C],
    values: &Node,
    data_type: &DataType,
    context: &DecodeContext<'_>,
) -> Result<ArrayRef> {
    let mut used: Vec<u32> = codes.iter().map(|c| c.widen() as u32).collect();
    used.sort_unstable();
    used.dedup();
    let places: Vec<u32> = codes
        .iter()
        .map(|c| used.partition_point(|&u| u64::from(u) < c.widen()) as u32)
        .collect();
    let values = leaf(values, data_type, &Selection::indices(used)?, context)?;
    gather::gather(&values, &places, context)
}

/// The numbers of the distinct values in ascending order of the values, as Arrow compares them.
fn sorted(array: &ArrayRef, found: &Distinct) -> Vec<u32> {
    fn by(found: &Distinct, compare: impl Fn(usize, usize) -> Ordering) -> Vec<u32> {
        let mut order: Vec<u32> = (0..found.len() as u32).collect();
        let row = |code: u32| found.first[code as usize] as usize;
        order.sort_unstable_by(|&a, &b| compare(row(a), row(b)));
        order
    }
    match array.data_type() {
        DataType::Binary => {
            let values = array.as_binary::<i32>();
            by(found, |a, b| values.value(a).cmp(values.value(b)))
        }
        DataType::FixedSizeBinary(_) => {
            let values = array.as_fixed_size_binary();
            by(found, |a, b| values.value(a).cmp(values.value(b)))
        }
        other => for_word!(other, W => {
            let values = words::of::<W>(array);
            by(found, |a, b| {
                words::ordered(values[a], other).cmp(&words::ordered(values[b], other))
            })
        }, else by(found, |a, b| a.cmp(&b))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::testing;

    #[test]
    fn every_leaf_type_comes_back() {
        let mut arrays = testing::integer_arrays(2500);
        arrays.extend(testing::float_arrays(700));
        arrays.extend(testing::binary_arrays(1500));
        arrays.extend(testing::fixed_arrays(400, 16));
        arrays.extend(testing::fixed_arrays(300, 5));
        for array in arrays {
            testing::check(&Dictionary, &array, Profile::Balanced).unwrap();
        }
    }

    #[test]
    fn values_ascend_so_that_codes_compare() {
        let array: ArrayRef = Arc::new(Int32Array::from(vec![5, -3, 5, 9, -3]));
        let node = testing::encode(&Dictionary, &array, Profile::Balanced).unwrap();
        let values = testing::decode(&node.children[1], &DataType::Int32, &Selection::all());
        assert_eq!(values.unwrap().as_ref(), &Int32Array::from(vec![-3, 5, 9]));
        let bits = |s: &str| s.chars().map(|c| c == '1').collect::<BooleanBuffer>();
        assert_eq!(codes_passing(&bits("0000")), Codes::None);
        assert_eq!(codes_passing(&bits("1111")), Codes::All);
        assert_eq!(codes_passing(&bits("0100")), Codes::Test(CompareOp::Eq, 1));
        assert_eq!(codes_passing(&bits("1100")), Codes::Test(CompareOp::Lt, 2));
        assert_eq!(codes_passing(&bits("0011")), Codes::Test(CompareOp::Ge, 2));
        assert_eq!(codes_passing(&bits("1101")), Codes::Test(CompareOp::Ne, 2));
        assert_eq!(codes_passing(&bits("01100")), Codes::Set);
    }
}
