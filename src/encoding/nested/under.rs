//! What lies under nulls of arrays.
//!
//! Arrow leaves open what an array holds under a null, yet much code reads a struct's fields or a list's
//! elements without looking at the nulls above them. So a decoder hands out *settled* arrays: every field
//! of a null struct is null, null lists and maps have no elements, and the elements of a null fixed-size
//! list are null, or zeros where the type allows no nulls. An encoder stores what costs least.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{BooleanBuffer, Buffer, MutableBuffer, NullBuffer, OffsetBuffer};
use arrow::compute;
use arrow::datatypes::*;

use crate::error::Result;

/// The array with the rows of `nulls` null (beside those that are), and what lies under them settled.
pub(super) fn settled(array: ArrayRef, nulls: NullBuffer) -> Result<ArrayRef> {
    if nulls.null_count() == 0 {
        return Ok(array);
    }
    let array = match array.data_type() {
        DataType::Null => return Ok(array),
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            let columns = columns
                .iter()
                .map(|column| settled(Arc::clone(column), nulls.clone()))
                .collect::<Result<_>>()?;
            let own = NullBuffer::union(array.nulls(), Some(&nulls));
            return Ok(Arc::new(StructArray::try_new_with_length(
                fields.clone(),
                columns,
                own,
                array.len(),
            )?));
        }
        DataType::FixedSizeList(field, size) => {
            let list = array.as_fixed_size_list();
            let width = *size as usize;
            let start = list.value_offset(0) as usize;
            let values = list.values().slice(start, list.len() * width);
            let below = spread(&nulls, width);
            let values = match field.is_nullable() {
                true => settled(values, below)?,
                false => cleared(&values, &below)?,
            };
            let own = NullBuffer::union(array.nulls(), Some(&nulls));
            return Ok(Arc::new(FixedSizeListArray::try_new_with_length(
                Arc::clone(field),
                *size,
                values,
                own,
                array.len(),
            )?));
        }
        DataType::List(_) if holds(array.as_list::<i32>().offsets(), &nulls) => {
            emptied(&array, &nulls)?
        }
        DataType::LargeList(_) if holds(array.as_list::<i64>().offsets(), &nulls) => {
            emptied(&array, &nulls)?
        }
        DataType::Map(..) if holds(array.as_map().offsets(), &nulls) => emptied(&array, &nulls)?,
        _ => array,
    };
    let own = NullBuffer::union(array.nulls(), Some(&nulls));
    // A slice of booleans keeps its offset, which nulls that start at zero would not fit.
    if let Some(values) = array.as_boolean_opt() {
        let values = BooleanBuffer::new(values.values().sliced(), 0, values.len());
        return Ok(Arc::new(BooleanArray::new(values, own)));
    }
    let data = array.to_data().into_builder().nulls(own);
    Ok(make_array(data.build()?))
}

/// Whether a null row has elements.
fn holds<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>, nulls: &NullBuffer) -> bool {
    let mut rows = offsets.windows(2).zip(nulls.iter());
    rows.any(|(w, valid)| !valid && w[0] != w[1])
}

/// The array with zeros (nothing, where values have a length) in the rows of `nulls`, which become
/// valid; its type may forbid nulls.
fn cleared(array: &ArrayRef, nulls: &NullBuffer) -> Result<ArrayRef> {
    if nulls.null_count() == 0 {
        return Ok(Arc::clone(array));
    }
    let own = released(array.nulls(), nulls);
    match array.data_type() {
        DataType::Null => Ok(Arc::clone(array)),
        DataType::Struct(fields) => {
            let clear = |(field, column): (&FieldRef, &ArrayRef)| match field.is_nullable() {
                true => settled(Arc::clone(column), nulls.clone()),
                false => cleared(column, nulls),
            };
            let columns = fields.iter().zip(array.as_struct().columns()).map(clear);
            Ok(Arc::new(StructArray::try_new_with_length(
                fields.clone(),
                columns.collect::<Result<_>>()?,
                own,
                array.len(),
            )?))
        }
        DataType::FixedSizeList(field, size) => {
            let list = array.as_fixed_size_list();
            let width = *size as usize;
            let start = list.value_offset(0) as usize;
            let values = list.values().slice(start, list.len() * width);
            let below = spread(nulls, width);
            let values = match field.is_nullable() {
                true => settled(values, below)?,
                false => cleared(&values, &below)?,
            };
            Ok(Arc::new(FixedSizeListArray::try_new_with_length(
                Arc::clone(field),
                *size,
                values,
                own,
                array.len(),
            )?))
        }
        DataType::Boolean => {
            let valid = array.as_boolean().values() & nulls.inner();
            Ok(Arc::new(BooleanArray::new(valid, own)))
        }
        DataType::FixedSizeBinary(size) => {
            let bytes = array.as_fixed_size_binary().value_data();
            Ok(Arc::new(FixedSizeBinaryArray::try_new_with_len(
                *size,
                zeroed(bytes, *size as usize, nulls),
                own,
                array.len(),
            )?))
        }
        other => {
            let data = array.to_data();
            // Keys of a dictionary point at its first value.
            let width = match other {
                DataType::Dictionary(key, _) => key.primitive_width(),
                other => other.primitive_width(),
            };
            let Some(width) = width else {
                return emptied(array, nulls);
            };
            let bytes = data.buffers()[0].as_slice();
            let bytes = &bytes[data.offset() * width..(data.offset() + data.len()) * width];
            let values = zeroed(bytes, width, nulls);
            let cleared = data.into_builder().offset(0).buffers(vec![values]);
            Ok(make_array(cleared.nulls(own).build()?))
        }
    }
}

/// The nulls of the elements of lists of `width` elements.
fn spread(nulls: &NullBuffer, width: usize) -> NullBuffer {
    let mut valid = BooleanBufferBuilder::new(nulls.len() * width);
    let mut at = 0;
    for (start, end) in nulls.valid_slices() {
        valid.append_n((start - at) * width, false);
        valid.append_n((end - start) * width, true);
        at = end;
    }
    valid.append_n((nulls.len() - at) * width, false);
    NullBuffer::new(valid.finish())
}

/// Values of one width, with zeros in the rows of `nulls`.
fn zeroed(bytes: &[u8], width: usize, nulls: &NullBuffer) -> Buffer {
    let mut out = MutableBuffer::from_len_zeroed(bytes.len());
    for (start, end) in nulls.valid_slices() {
        let rows = start * width..end * width;
        out.as_slice_mut()[rows.clone()].copy_from_slice(&bytes[rows]);
    }
    out.into()
}

/// The array with nothing left under the nulls of `nulls`: those rows are valid and hold what costs
/// least. Other nulls of the array (below a struct there may be some) stay.
pub(super) fn filled(array: &ArrayRef, nulls: &NullBuffer) -> Result<ArrayRef> {
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
            // Rows that become valid take fields of rows in which the struct itself is valid.
            let all = NullBuffer::union(array.nulls(), Some(nulls));
            let all = all.as_ref().unwrap_or(nulls);
            let columns = array.as_struct().columns();
            let columns = columns
                .iter()
                .map(|column| filled(column, all))
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

/// Values of varying length, with length zero under the nulls of `nulls`, which become valid.
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
