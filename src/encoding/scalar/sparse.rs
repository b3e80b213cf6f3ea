//! `pilaster.sparse.v1`: one value nearly everywhere, and the exceptions.
//!
//! Child 0 holds the rows of the exceptions (ascending), child 1 their values, child 2 the usual
//! value, as an array of one row.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::BooleanBuffer;
use arrow::compute;
use arrow::datatypes::*;

use crate::encoding::distinct::Distinct;
use crate::encoding::words::{self, for_word};
use crate::encoding::{
    Access, CompareOp, DecodeContext, EncodeContext, Encoding, Node, Profile, Reads, Role,
    Selection, Statistics, Verdict, gather, physical,
};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct Sparse;

const ID: &str = "pilaster.sparse.v1";

impl Encoding for Sparse {
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
        let mostly_one = statistics.top_count < statistics.rows
            && statistics.top_count * 10 >= statistics.rows * 9;
        match mostly_one {
            true => Verdict::Measure,
            false => Verdict::Skip,
        }
    }

    fn encode(&self, array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        let Some(found) = Distinct::of(array, array.len() / 8 + 1).filter(|d| !d.is_empty()) else {
            return Ok(None);
        };
        let counts = found.counts();
        let usual = (0..counts.len()).max_by_key(|&i| (counts[i], std::cmp::Reverse(i)));
        let Some(usual) = usual.filter(|&i| counts[i] * 2 >= array.len()) else {
            return Ok(None);
        };
        let rows: UInt32Array = (0..array.len() as u32)
            .filter(|&i| found.codes[i as usize] != usual as u32)
            .collect();
        let values = compute::take(array, &rows, None)?;
        let usual = array.slice(found.first[usual] as usize, 1);
        let rows: ArrayRef = Arc::new(rows);
        let rows = context.child(ID, &rows, Role::Sorted)?;
        let values = context.child(ID, &values, Role::Values)?;
        let usual = context.child(ID, &usual, Role::Values)?;
        Ok(Some(
            Node::new(ID, array.len())
                .with_child(rows)
                .with_child(values)
                .with_child(usual),
        ))
    }

    fn decode(
        &self,
        node: &Node,
        data_type: &DataType,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        let places = exceptions(node, context)?;
        let values = context.decode_all(node.child_of(1, places.len())?, data_type)?;
        filled(node, data_type, &places, &values, node.rows, context)
    }

    fn decode_selection(
        &self,
        node: &Node,
        data_type: &DataType,
        selection: &Selection,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        let exceptions = exceptions(node, context)?;
        let (numbers, places) = selection.overlap(&exceptions, node.rows)?;
        let values = node.child_of(1, exceptions.len())?;
        let values = context.decode(values, data_type, &numbers)?;
        let rows = selection.count(node.rows);
        filled(node, data_type, &places, &values, rows, context)
    }

    fn compare(
        &self,
        node: &Node,
        data_type: &DataType,
        op: CompareOp,
        value: &Scalar<ArrayRef>,
        context: &DecodeContext<'_>,
    ) -> Result<BooleanArray> {
        let places = exceptions(node, context)?;
        let usual = context.compare(node.child_of(2, 1)?, data_type, op, value)?;
        if usual.is_null(0) {
            return Ok(BooleanArray::new_null(node.rows));
        }
        let usual = usual.value(0);
        let values = node.child_of(1, places.len())?;
        let values = context.compare(values, data_type, op, value)?;
        context.reserve_rows(node.rows.div_ceil(8), 1)?;
        let mut bits = BooleanBufferBuilder::new(node.rows);
        bits.append_n(node.rows, usual);
        for (&place, answer) in places.iter().zip(values.values()) {
            bits.set_bit(place as usize, answer);
        }
        let bits: BooleanBuffer = bits.finish();
        Ok(BooleanArray::new(bits, None))
    }

    fn reads(&self, _: &Node, _: &Selection) -> Reads {
        // Which exceptions are needed is known only when their rows are.
        Reads::All
    }
}

/// Rows of the exceptions, ascending and inside the array.
fn exceptions(node: &Node, context: &DecodeContext<'_>) -> Result<Vec<u32>> {
    node.expect(0, 3)?;
    let rows = node.child(0)?;
    if rows.rows > node.rows {
        return Err(Error::corrupt("more exceptions than rows"));
    }
    let places = context.decode_all(rows, &DataType::UInt32)?;
    let places = words::of::<u32>(&places);
    let ascending = places.windows(2).all(|w| w[0] < w[1]);
    if !ascending || places.last().is_some_and(|&p| p as usize >= node.rows) {
        return Err(Error::corrupt("exceptions outside their array"));
    }
    context.reserve_rows(places.len(), 2 * size_of::<u32>())?;
    Ok(places.to_vec())
}

/// The usual value everywhere but at the places of the exceptions.
fn filled(
    node: &Node,
    data_type: &DataType,
    places: &[u32],
    values: &ArrayRef,
    rows: usize,
    context: &DecodeContext<'_>,
) -> Result<ArrayRef> {
    let usual = context.decode_all(node.child_of(2, 1)?, data_type)?;
    if values.null_count() > 0 || usual.null_count() > 0 || values.len() != places.len() {
        return Err(Error::corrupt("exceptions without a value each"));
    }
    for_word!(data_type, W => {
        context.reserve_rows(rows, size_of::<W>())?;
        let mut out = vec![words::of::<W>(&usual)[0]; rows];
        for (&place, &value) in places.iter().zip(words::of::<W>(values).iter()) {
            out[place as usize] = value;
        }
        words::array(out, data_type)
    }, else {
        context.reserve_rows(rows, size_of::<u32>())?;
        let choices = compute::concat(&[&usual, values])?;
        let mut codes = vec![0u32; rows];
        for (i, &place) in places.iter().enumerate() {
            codes[place as usize] = i as u32 + 1;
        }
        gather::gather(&choices, &codes, context)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::testing;

    #[test]
    fn arrays_of_mostly_one_value_come_back() {
        let mut arrays = testing::integer_arrays(2500);
        arrays.extend(testing::float_arrays(700));
        arrays.extend(testing::binary_arrays(900));
        arrays.extend(testing::fixed_arrays(400, 16));
        let taken = arrays
            .iter()
            .filter_map(|array| testing::check(&Sparse, array, Profile::Balanced))
            .count();
        assert!(taken > 20, "{taken}");
    }

    #[test]
    fn exceptions_keep_their_place() {
        let mut values = vec![4i64; 2000];
        (values[0], values[777], values[1999]) = (-1, 5, 6);
        let array: ArrayRef = Arc::new(Int64Array::from(values));
        let node = testing::check(&Sparse, &array, Profile::Balanced).unwrap();
        assert_eq!(node.children[0].rows, 3);
    }
}
