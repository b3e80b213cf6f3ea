//! `pilaster.list.v1`: lists of any length as their lengths and their elements.
//!
//! Child 0 holds the length of each row (uint32 for lists, uint64 for large lists), child 1 the
//! elements of all rows, one row after the other. Lengths rather than offsets, because equal or
//! small lengths cost next to nothing in the encodings below. Nulls are the business of the
//! nullable wrapper, which leaves no elements under a null.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::*;

use crate::encoding::blocks::spans;
use crate::encoding::{
    Access, DecodeContext, EncodeContext, Encoding, Node, Reads, Role, Rows, Selection,
};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct List;

const ID: &str = "pilaster.list.v1";

impl Encoding for List {
    fn id(&self) -> &'static str {
        ID
    }

    fn access(&self) -> Access {
        Access::Block
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        matches!(data_type, DataType::List(_) | DataType::LargeList(_))
    }

    fn encode(&self, array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        let (lengths, values) = match array.data_type() {
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                (lengths32(list.offsets()), elements(list))
            }
            DataType::LargeList(_) => {
                let list = array.as_list::<i64>();
                let lengths = list.offsets().lengths().map(|n| n as u64);
                let lengths: ArrayRef = Arc::new(UInt64Array::from_iter_values(lengths));
                (lengths, elements(list))
            }
            _ => return Ok(None),
        };
        let lengths = context.child(ID, &lengths, Role::Values)?;
        let values = context.child(ID, &values, Role::Values)?;
        Ok(Some(
            Node::new(ID, array.len())
                .with_child(lengths)
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
        Ok(match data_type {
            DataType::List(field) => {
                let (offsets, values) = parts::<i32>(node, field.data_type(), selection, context)?;
                Arc::new(ListArray::try_new(
                    Arc::clone(field),
                    offsets,
                    values,
                    None,
                )?) as ArrayRef
            }
            DataType::LargeList(field) => {
                let (offsets, values) = parts::<i64>(node, field.data_type(), selection, context)?;
                Arc::new(LargeListArray::try_new(
                    Arc::clone(field),
                    offsets,
                    values,
                    None,
                )?)
            }
            other => return Err(Error::corrupt(format!("lists typed {other}"))),
        })
    }

    fn reads(&self, node: &Node, selection: &Selection) -> Reads {
        list_reads(node, selection)
    }
}

/// Lengths of 32-bit lists.
pub(super) fn lengths32(offsets: &OffsetBuffer<i32>) -> ArrayRef {
    let lengths = offsets.lengths().map(|n| n as u32);
    Arc::new(UInt32Array::from_iter_values(lengths))
}

/// The elements that a slice of lists covers.
fn elements<O: OffsetSizeTrait>(list: &GenericListArray<O>) -> ArrayRef {
    let offsets = list.value_offsets();
    let (first, last) = (offsets[0].as_usize(), offsets[offsets.len() - 1].as_usize());
    list.values().slice(first, last - first)
}

/// Which elements a selection of rows needs follows from the lengths, which are not at hand here.
pub(super) fn list_reads(node: &Node, selection: &Selection) -> Reads {
    let bounds = selection.bounds(node.rows);
    if bounds.is_empty() {
        return Reads::Parts {
            buffers: Vec::new(),
            children: vec![Some(Selection::range(0..0)), Some(Selection::range(0..0))],
        };
    }
    Reads::Parts {
        buffers: Vec::new(),
        children: vec![
            Some(Selection::range(0..bounds.end)),
            Some(Selection::all()),
        ],
    }
}

/// Offsets and elements of the selected rows of a list or map node.
pub(super) fn parts<O: OffsetSizeTrait>(
    node: &Node,
    element: &DataType,
    selection: &Selection,
    context: &DecodeContext<'_>,
) -> Result<(OffsetBuffer<O>, ArrayRef)> {
    node.expect(0, 2)?;
    let bounds = selection.bounds(node.rows);
    let child = node.child(1)?;
    context.reserve_rows(bounds.end + 1, 8)?;
    let all = starts::<O>(node, bounds.end, context)?;
    let total = all[bounds.end];
    let fits = match bounds.end == node.rows {
        true => total == child.rows,
        false => total <= child.rows,
    };
    if !fits {
        return Err(Error::corrupt(format!(
            "lists of {total} elements over {} values",
            child.rows
        )));
    }
    let count = selection.count(node.rows);
    context.reserve_rows(count + 1, size_of::<O>())?;
    let mut offsets = Vec::with_capacity(count + 1);
    let mut end = 0usize;
    offsets.push(O::usize_as(0));
    for row in selection.iter(node.rows) {
        end += all[row + 1] - all[row];
        offsets.push(O::usize_as(end));
    }
    let wanted = match &selection.rows {
        Rows::All => Selection::range(0..total),
        Rows::Range(r) => Selection::range(all[r.start]..all[r.end]),
        _ => spans(
            selection.iter(node.rows).map(|r| all[r]..all[r + 1]),
            end,
            child.rows,
            context,
        )?,
    };
    let wanted = match wanted.bounds(child.rows) == (0..child.rows) && end == child.rows {
        true => Selection::all(),
        false => wanted,
    };
    let values = context.decode(child, element, &wanted)?;
    Ok((OffsetBuffer::new(ScalarBuffer::from(offsets)), values))
}

/// Where each of the first `rows` lists starts, and where the last ends.
fn starts<O: OffsetSizeTrait>(
    node: &Node,
    rows: usize,
    context: &DecodeContext<'_>,
) -> Result<Vec<usize>> {
    let data_type = match O::IS_LARGE {
        true => DataType::UInt64,
        false => DataType::UInt32,
    };
    let head = match rows == node.rows {
        true => Selection::all(),
        false => Selection::range(0..rows),
    };
    let lengths = context.decode(node.child_of(0, node.rows)?, &data_type, &head)?;
    let mut starts = Vec::with_capacity(rows + 1);
    starts.push(0usize);
    let mut end = 0u64;
    let limit = if O::IS_LARGE {
        i64::MAX as u64
    } else {
        i32::MAX as u64
    };
    let mut push = |length: u64| {
        end = end.checked_add(length).filter(|&e| e <= limit)?;
        starts.push(end as usize);
        Some(())
    };
    let pushed = match O::IS_LARGE {
        true => lengths
            .as_primitive::<UInt64Type>()
            .values()
            .iter()
            .try_for_each(|&n| push(n)),
        false => lengths
            .as_primitive::<UInt32Type>()
            .values()
            .iter()
            .try_for_each(|&n| push(u64::from(n))),
    };
    match pushed {
        Some(()) => Ok(starts),
        None => Err(Error::corrupt("list lengths overflow")),
    }
}
