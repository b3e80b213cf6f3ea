//! `pilaster.nullable.v1`: validity beside values that have none.
//!
//! Child 0 is the validity (a boolean array), child 1 the values of all rows. Under a null lies
//! what costs least in the encodings below: the value before it (or the first valid one), or nothing
//! at all for text and lists. What stood there in the input is not data.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute;
use arrow::datatypes::*;

use crate::encoding::distance::{Distances, Query, Stage};
use crate::encoding::{
    Access, DecodeContext, EncodeContext, Encoding, Node, Reads, Role, Selection,
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
        let values = context.child_of_rows(ID, &values, Role::Values, Some(nulls.clone()))?;
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
        // A slice of booleans keeps its offset, which nulls that start at zero would not fit.
        if let Some(values) = values.as_boolean_opt() {
            let values = BooleanBuffer::new(values.values().sliced(), 0, values.len());
            return Ok(Arc::new(BooleanArray::new(values, Some(nulls))));
        }
        let data = values.to_data().into_builder().nulls(Some(nulls));
        Ok(make_array(data.build()?))
    }

    fn reads(&self, _: &Node, selection: &Selection) -> Reads {
        Reads::Parts {
            buffers: Vec::new(),
            children: vec![Some(selection.rows.clone().into()), Some(selection.clone())],
        }
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
        node.expect(0, 2)?;
        let values = node.child_of(1, node.rows)?;
        let found = context.code_distances(values, data_type, query, stage, selection)?;
        let Some(mut found) = found.filter(|f| f.nulls.is_none()) else {
            return Ok(None);
        };
        let validity = node.child_of(0, node.rows)?;
        let validity = context.decode(validity, &DataType::Boolean, selection)?;
        found.nulls = Some(NullBuffer::new(validity.as_boolean().values().clone()));
        Ok(Some(found))
    }
}

/// The array with nothing left under the nulls of `nulls`: those rows are valid and hold what costs
/// least. Other nulls of the array (below a struct there may be some) stay.
fn filled(array: &ArrayRef, nulls: &NullBuffer) -> Result<ArrayRef> {
    let Some(first) = nulls.valid_indices().next() else {
        return zeros(array.data_type(), array.len());
    };
    if nulls.null_count() == 0 {
        return Ok(Arc::clone(array));
    }
    match array.data_type() {
        // Repeating long values would cost more than it saves.
        DataType::Binary
        | DataType::Utf8
        | DataType::LargeBinary
        | DataType::LargeUtf8
        | DataType::List(_)
        | DataType::LargeList(_)
        | DataType::Map(..) => emptied(array, nulls),
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            let columns = columns
                .iter()
                .map(|column| filled(column, nulls))
                .collect::<Result<_>>()?;
            let own = released(array.nulls(), nulls);
            Ok(Arc::new(StructArray::try_new_with_length(
                fields.clone(),
                columns,
                own,
                array.len(),
            )?))
        }
        // Rows of this type hold nothing that could be replaced.
        DataType::Null => Ok(Arc::clone(array)),
        _ => {
            let mut last = first as u32;
            let indices: UInt32Array = (0..array.len() as u32)
                .map(|i| {
                    if nulls.is_valid(i as usize) {
                        last = i;
                    }
                    last
                })
                .collect();
            Ok(compute::take(array, &indices, None)?)
        }
    }
}

/// The nulls of an array whose rows under the nulls of `free` have become valid.
fn released(own: Option<&NullBuffer>, free: &NullBuffer) -> Option<NullBuffer> {
    let own = own?;
    let valid = own.inner() | &!free.inner();
    Some(NullBuffer::new(valid)).filter(|n| n.null_count() > 0)
}

/// Values that are valid and cost nothing to store.
fn zeros(data_type: &DataType, rows: usize) -> Result<ArrayRef> {
    Ok(match data_type {
        DataType::Struct(fields) => {
            let columns = fields
                .iter()
                .map(|f| zeros(f.data_type(), rows))
                .collect::<Result<_>>()?;
            Arc::new(StructArray::try_new_with_length(
                fields.clone(),
                columns,
                None,
                rows,
            )?)
        }
        DataType::FixedSizeList(field, size) => Arc::new(FixedSizeListArray::try_new_with_length(
            Arc::clone(field),
            *size,
            zeros(field.data_type(), rows * *size as usize)?,
            None,
            rows,
        )?),
        // Dictionaries need a value for their keys to point at.
        DataType::Dictionary(_, values) => compute::cast(&zeros(values, rows)?, data_type)?,
        DataType::Null => new_null_array(data_type, rows),
        _ => {
            let data = ArrayData::new_null(data_type, rows).into_builder();
            make_array(data.nulls(None).build()?)
        }
    })
}

/// Values of varying length, with length zero under the nulls of `nulls`.
fn emptied(array: &ArrayRef, nulls: &NullBuffer) -> Result<ArrayRef> {
    let data = array.to_data();
    let mut rows = MutableArrayData::new(vec![&data], true, array.len());
    let mut at = 0;
    for (start, end) in nulls.valid_slices() {
        rows.try_extend_nulls(start - at)?;
        rows.try_extend(0, start, end)?;
        at = end;
    }
    rows.try_extend_nulls(array.len() - at)?;
    let own = released(array.nulls(), nulls);
    Ok(make_array(rows.freeze().into_builder().nulls(own).build()?))
}
