//! `pilaster.apart.v1`: vectors that would spoil the code of the others, exactly and beside them.
//!
//! A mean, principal directions and a scale are shared by all rows of a chunk: one row that is a billion
//! times larger than the others moves them so far that nothing is left of the others. Such rows (see
//! [`outliers`]), and rows with NaN or infinity, which no code holds, are stored by themselves. The
//! planner asks for this encoding above codes that share something; most chunks have no such rows, and
//! it declines.
//!
//! Metadata has the numbers of the rows apart. Child 0 holds a vector for every row: for a row that is
//! apart, that of the row before it (or of the first that is not). Child 1 holds the rows apart.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::NullBuffer;
use arrow::compute;
use arrow::datatypes::DataType;

use super::outliers::outliers;
use super::rows;
use crate::encoding::distance::{Distances, Query, Stage};
use crate::encoding::{
    Access, DecodeContext, EncodeContext, Encoding, Node, Profile, Reads, Role, Selection,
    Statistics, Verdict,
};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct Apart;

const ID: &str = "pilaster.apart.v1";

#[derive(Clone, PartialEq, prost::Message)]
struct Metadata {
    /// Numbers of the rows apart: the first, then how far each is from the one before it.
    #[prost(uint32, repeated, tag = "1")]
    gaps: Vec<u32>,
}

/// Numbers of the rows apart, ascending.
fn numbers(node: &Node) -> Result<Vec<u32>> {
    node.expect(0, 2)?;
    let metadata: Metadata = node.parse_metadata()?;
    let mut numbers = Vec::with_capacity(metadata.gaps.len());
    let mut last = 0u32;
    for (i, gap) in metadata.gaps.iter().enumerate() {
        let next = last.checked_add(*gap).filter(|_| i == 0 || *gap > 0);
        last = next
            .filter(|row| (*row as usize) < node.rows)
            .ok_or_else(|| Error::corrupt("rows apart that do not ascend in their array"))?;
        numbers.push(last);
    }
    Ok(numbers)
}

/// The rows apart among those that are selected: their places in child 1, and among the selected.
fn selected(node: &Node, selection: &Selection) -> Result<(Selection, Vec<u32>)> {
    let numbers = numbers(node)?;
    let (own, places) = selection.overlap(&numbers, node.rows)?;
    Ok(match &selection.elements {
        Some(elements) => (own.with_elements(elements.clone()), places),
        None => (own, places),
    })
}

impl Encoding for Apart {
    fn id(&self) -> &'static str {
        ID
    }

    fn access(&self) -> Access {
        Access::PerValue
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        rows::is_vector(data_type)
    }

    fn estimate(&self, _: &Statistics, _: Profile) -> Verdict {
        // Only codes at a loss gain.
        Verdict::Skip
    }

    fn encode(&self, array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        let Some((values, dimension)) = rows::numbers(array) else {
            return Ok(None);
        };
        let valid = context.valid.clone().filter(|v| v.len() == array.len());
        let numbers = outliers(values.values(), dimension, valid.as_ref());
        if numbers.is_empty() {
            return Ok(None);
        }
        let mut other = BooleanBufferBuilder::new(array.len());
        other.append_n(array.len(), true);
        for number in &numbers {
            other.set_bit(*number as usize, false);
        }
        let other = NullBuffer::new(other.finish());
        let other = NullBuffer::union(Some(&other), valid.as_ref());
        let Some(first) = other.as_ref().and_then(|o| o.valid_indices().next()) else {
            return Ok(None);
        };
        let mut last = first as u32;
        let mut apart = numbers.iter().peekable();
        let sources: UInt32Array = (0..array.len() as u32)
            .map(|row| match apart.next_if(|number| **number == row) {
                Some(_) => last,
                None => {
                    last = row;
                    row
                }
            })
            .collect();
        let others = compute::take(array, &sources, None)?;
        let others = context.child_of_rows(ID, &others, Role::Values, other)?;
        let own = compute::take(array, &UInt32Array::from(numbers.clone()), None)?;
        let own = context.child(ID, &own, Role::Values)?;
        let mut last = 0;
        let gap = |number: &u32| number - std::mem::replace(&mut last, *number);
        let gaps = numbers.iter().map(gap).collect();
        Ok(Some(
            Node::new(ID, array.len())
                .with_metadata(&Metadata { gaps })
                .with_child(others)
                .with_child(own),
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
        let (own, places) = selected(node, selection)?;
        let count = numbers(node)?.len();
        let others = context.decode(node.child_of(0, node.rows)?, data_type, selection)?;
        let own = context.decode(node.child_of(1, count)?, data_type, &own)?;
        if others
            .as_fixed_size_list_opt()
            .is_some_and(|l| l.value_length() == 0)
        {
            return Ok(others);
        }
        let (Some((others, size)), Some((own, _))) = (rows::numbers(&others), rows::numbers(&own))
        else {
            return Err(Error::corrupt("vectors that are none"));
        };
        let DataType::FixedSizeList(item, _) = data_type else {
            return Err(Error::corrupt(format!("vectors typed {data_type}")));
        };
        context.reserve_rows(others.len(), size_of::<f32>())?;
        let mut values = others.values().to_vec();
        for (place, row) in places.iter().zip(own.values().chunks_exact(size)) {
            values[*place as usize * size..][..size].copy_from_slice(row);
        }
        Ok(Arc::new(FixedSizeListArray::try_new(
            Arc::clone(item),
            size as i32,
            Arc::new(Float32Array::from(values)),
            None,
        )?))
    }

    fn distances(
        &self,
        node: &Node,
        data_type: &DataType,
        query: &Query,
        stage: Stage,
        selection: &Selection,
        context: &DecodeContext<'_>,
    ) -> Result<Option<Distances>> {
        let (own, places) = selected(node, selection)?;
        let count = numbers(node)?.len();
        let others = node.child_of(0, node.rows)?;
        let found = context.code_distances(others, data_type, query, stage, selection)?;
        let Some(mut found) = found.filter(|f| f.nulls.is_none()) else {
            return Ok(None);
        };
        let own = context.distances(node.child_of(1, count)?, data_type, query, stage, &own)?;
        if own.nulls.is_some() {
            return Err(Error::corrupt("rows apart that are null"));
        }
        let bounds = own.lower.iter().zip(&own.upper);
        for (place, (lower, upper)) in places.iter().zip(bounds) {
            found.lower[*place as usize] = *lower;
            found.upper[*place as usize] = *upper;
        }
        found.finer |= own.finer;
        Ok(Some(found))
    }

    fn reads(&self, node: &Node, selection: &Selection) -> Reads {
        match selected(node, selection) {
            Ok((own, _)) => Reads::Parts {
                buffers: Vec::new(),
                children: vec![Some(selection.clone()), Some(own)],
            },
            Err(_) => Reads::All,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(gaps: Vec<u32>) -> Node {
        Node::new(ID, 10)
            .with_metadata(&Metadata { gaps })
            .with_child(Node::new("pilaster.plain.v1", 10))
            .with_child(Node::new("pilaster.plain.v1", 3))
    }

    #[test]
    fn rows_apart_ascend_inside_their_array() {
        assert_eq!(numbers(&node(vec![0, 4, 5])).unwrap(), [0, 4, 9]);
        assert!(numbers(&node(Vec::new())).unwrap().is_empty());
        for gaps in [vec![10], vec![3, 0], vec![9, 1], vec![1, u32::MAX]] {
            assert!(numbers(&node(gaps.clone())).is_err(), "{gaps:?}");
        }
    }
}
