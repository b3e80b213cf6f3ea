//! `pilaster.nullable.v1`: validity beside values that have none.
//!
//! Child 0 is the validity (a boolean array), child 1 the values of all rows. Under a null lies the
//! value before it (or the first valid one), which costs least in the encodings below; what stood
//! there in the input is not data.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::NullBuffer;
use arrow::compute;
use arrow::datatypes::*;

use crate::encoding::{
    Access, DecodeContext, EncodeContext, Encoding, Node, Reads, Role, Selection, physical,
};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct Nullable;

const ID: &str = "pilaster.nullable.v1";

impl Encoding for Nullable {
    fn id(&self) -> &'static str {
        ID
    }

    fn access(&self) -> Access {
        Access::PerValue
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        *data_type != DataType::Null
    }

    fn encode(&self, array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        let Some(nulls) = array.nulls().filter(|n| n.null_count() > 0) else {
            return Ok(None);
        };
        let validity: ArrayRef = Arc::new(BooleanArray::new(nulls.inner().clone(), None));
        let values = filled(array, nulls)?;
        let validity = context.child(ID, &validity, Role::Values)?;
        let values = context.child(ID, &values, Role::Values)?;
        Ok(Some(
            Node::new(ID, array.len())
                .with_child(validity)
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
        node.expect(0, 2)?;
        let rows_only = Selection::from(selection.rows.clone());
        let validity =
            context.decode(node.child_of(0, node.rows)?, &DataType::Boolean, &rows_only)?;
        let values = context.decode(node.child_of(1, node.rows)?, data_type, selection)?;
        let validity = validity.as_boolean();
        if validity.null_count() > 0 || values.logical_null_count() > 0 {
            return Err(Error::corrupt("validity inside validity"));
        }
        let nulls = NullBuffer::new(validity.values().clone());
        let data = values.to_data().into_builder().nulls(Some(nulls));
        Ok(make_array(data.build()?))
    }

    fn reads(&self, _: &Node, selection: &Selection) -> Reads {
        Reads::Parts {
            buffers: Vec::new(),
            children: vec![Some(selection.rows.clone().into()), Some(selection.clone())],
        }
    }
}

/// The array without nulls: each null row repeats the last valid value.
fn filled(array: &ArrayRef, nulls: &NullBuffer) -> Result<ArrayRef> {
    if !physical::is_leaf(array.data_type()) {
        let data = array.to_data().into_builder().nulls(None).build()?;
        return Ok(make_array(data));
    }
    let Some(first) = nulls.valid_indices().next() else {
        return zeros(array.data_type(), array.len());
    };
    let mut last = first as u32;
    let indices: Vec<u32> = (0..array.len() as u32)
        .map(|i| {
            if nulls.is_valid(i as usize) {
                last = i;
            }
            last
        })
        .collect();
    let taken = match array.data_type() {
        // Repeating long values would cost more than it saves.
        DataType::Binary => emptied(array.as_binary::<i32>(), nulls)?,
        _ => compute::take(array, &UInt32Array::from(indices), None)?,
    };
    let data = taken.to_data().into_builder().nulls(None).build()?;
    Ok(make_array(data))
}

fn zeros(data_type: &DataType, rows: usize) -> Result<ArrayRef> {
    let data = ArrayData::new_null(data_type, rows)
        .into_builder()
        .nulls(None);
    Ok(make_array(data.build()?))
}

/// Binary values with nothing under the nulls.
fn emptied(array: &BinaryArray, nulls: &NullBuffer) -> Result<ArrayRef> {
    let valid = BooleanArray::new(nulls.inner().clone(), None);
    let mut builder = BinaryBuilder::with_capacity(array.len(), array.values().len());
    for i in 0..array.len() {
        match valid.value(i) {
            true => builder.append_value(array.value(i)),
            false => builder.append_value(b""),
        }
    }
    Ok(Arc::new(builder.finish()))
}
