//! Arrays of any nesting with other types at their leaves.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use crate::error::{Error, Result};

/// A value that another type cannot hold.
pub(crate) struct Misfit {
    /// Its row, unless it is an element of a list.
    pub(crate) row: Option<usize>,
    pub(crate) what: String,
}

impl From<ArrowError> for Misfit {
    fn from(error: ArrowError) -> Self {
        Self {
            row: None,
            what: error.to_string(),
        }
    }
}

/// Turns a leaf into an array of another type.
pub(crate) type Leaf<'a> = &'a dyn Fn(&ArrayRef, &DataType) -> Result<ArrayRef, Misfit>;

/// A batch with the types of `schema`; `first` is the number of its first row, for errors.
pub(crate) fn retype_batch(
    batch: &RecordBatch,
    schema: &SchemaRef,
    first: u64,
    leaf: Leaf<'_>,
) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns
        .map(|(array, field)| {
            retype(array, field.data_type(), leaf).map_err(|misfit| {
                let row = misfit.row.map_or(String::new(), |row| {
                    format!(", row {}", first + row as u64 + 1)
                });
                Error::invalid(format!("column '{}'{row}: {}", field.name(), misfit.what))
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        columns,
        &options,
    )?)
}

/// An array with the type `to`, whose nesting is its own.
pub(crate) fn retype(array: &ArrayRef, to: &DataType, leaf: Leaf<'_>) -> Result<ArrayRef, Misfit> {
    use DataType::*;
    if array.data_type() == to {
        return Ok(Arc::clone(array));
    }
    // Rows of elements are not rows of the table.
    let inner = |array: &ArrayRef, to: &FieldRef| {
        retype(array, to.data_type(), leaf).map_err(|misfit| Misfit {
            row: None,
            ..misfit
        })
    };
    let nulls = array.nulls().cloned();
    Ok(match (to, array.data_type()) {
        (List(field), List(_)) => {
            let list = array.as_list::<i32>();
            let values = inner(list.values(), field)?;
            let offsets = list.offsets().clone();
            Arc::new(ListArray::try_new(
                Arc::clone(field),
                offsets,
                values,
                nulls,
            )?)
        }
        (LargeList(field), LargeList(_)) => {
            let list = array.as_list::<i64>();
            let values = inner(list.values(), field)?;
            let offsets = list.offsets().clone();
            Arc::new(LargeListArray::try_new(
                Arc::clone(field),
                offsets,
                values,
                nulls,
            )?)
        }
        (FixedSizeList(field, size), FixedSizeList(..)) => {
            let list = array.as_fixed_size_list();
            let start = list.value_offset(0) as usize;
            let values = list.values().slice(start, list.len() * *size as usize);
            let values = inner(&values, field)?;
            Arc::new(FixedSizeListArray::try_new_with_length(
                Arc::clone(field),
                *size,
                values,
                nulls,
                array.len(),
            )?)
        }
        (Map(field, sorted), Map(..)) => {
            let map = array.as_map();
            let entries: ArrayRef = Arc::new(map.entries().clone());
            let entries = inner(&entries, field)?.as_struct().clone();
            let offsets = map.offsets().clone();
            Arc::new(MapArray::try_new(
                Arc::clone(field),
                offsets,
                entries,
                nulls,
                *sorted,
            )?)
        }
        (Struct(fields), Struct(_)) => {
            let columns = array.as_struct().columns().iter().zip(fields);
            let columns = columns.map(|(column, field)| retype(column, field.data_type(), leaf));
            Arc::new(StructArray::try_new_with_length(
                fields.clone(),
                columns.collect::<Result<_, _>>()?,
                nulls,
                array.len(),
            )?)
        }
        _ => leaf(array, to)?,
    })
}
