//! From logical Arrow types to the few physical ones that encodings see, and back.
//!
//! | logical | physical |
//! |---|---|
//! | date32, time32, interval year-month, decimal32 | int32 |
//! | date64, time64, timestamp, duration, interval day-time, decimal64 | int64 |
//! | decimal128, interval month-day-nano | fixed-size binary of 16 |
//! | decimal256 | fixed-size binary of 32 |
//! | utf8, large and view forms of utf8 and binary | binary with 32-bit offsets |
//! | dictionary | physical type of its values; packed again when decoded |
//! | null, list, large list, fixed-size list, struct, map | itself (structural encodings) |
//!
//! A physical array's nulls are the logical array's.

use std::sync::Arc;

/// Extension type of 16-bit words that are the upper halves of 32-bit floats, which Arrow lacks.
pub const BFLOAT16: &str = "pilaster.bfloat16";
/// Extension type of 8-bit floats with 4 bits of exponent, without infinities.
pub const FLOAT8_E4M3: &str = "pilaster.float8_e4m3fn";
/// Extension type of 8-bit floats with 5 bits of exponent.
pub const FLOAT8_E5M2: &str = "pilaster.float8_e5m2";

use arrow::array::*;
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::compute;
use arrow::datatypes::*;
use arrow::row::{RowConverter, SortField};

use crate::error::{Error, Result};

/// The physical type of a logical one.
pub fn physical_type(data_type: &DataType) -> DataType {
    use DataType::*;
    match data_type {
        Date32 | Time32(_) | Interval(IntervalUnit::YearMonth) | Decimal32(..) => Int32,
        Date64
        | Time64(_)
        | Timestamp(..)
        | Duration(_)
        | Decimal64(..)
        | Interval(IntervalUnit::DayTime) => Int64,
        Decimal128(..) | Interval(IntervalUnit::MonthDayNano) => FixedSizeBinary(16),
        Decimal256(..) => FixedSizeBinary(32),
        Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView => Binary,
        Dictionary(_, values) => physical_type(values),
        other => other.clone(),
    }
}

/// Fails with one clear sentence if arrays of a type cannot be stored.
pub fn check_storable(name: &str, data_type: &DataType) -> Result<()> {
    storable(name, data_type, 0)
}

/// Deepest nesting of types: what is deeper could be written as trees that readers refuse.
const MAX_NESTING: usize = 16;

fn storable(name: &str, data_type: &DataType, depth: usize) -> Result<()> {
    use DataType::*;
    if depth > MAX_NESTING {
        return Err(Error::invalid(format!(
            "column '{name}' is nested deeper than {MAX_NESTING} levels, which a .pil file cannot \
             hold; flatten it, or store it as text"
        )));
    }
    match data_type {
        Union(..) | RunEndEncoded(..) | ListView(_) | LargeListView(_) => {
            Err(Error::invalid(format!(
                "column '{name}' has type {data_type}, which a .pil file cannot hold; cast it to a \
                 plain, list or struct type first"
            )))
        }
        List(f) | LargeList(f) | FixedSizeList(f, _) | Map(f, _) => {
            storable(&format!("{name}.{}", f.name()), f.data_type(), depth + 1)
        }
        Struct(fields) => fields
            .iter()
            .try_for_each(|f| storable(&format!("{name}.{}", f.name()), f.data_type(), depth + 1)),
        Dictionary(_, values) => storable(name, values, depth),
        _ => Ok(()),
    }
}

/// Whether a physical type is a leaf, and not a structural one.
pub fn is_leaf(physical: &DataType) -> bool {
    !physical.is_nested() && *physical != DataType::Null
}

/// The physical array of a logical one; shares buffers where it can. Slices come out with offsets
/// that start at zero for binary.
pub fn lower(array: &ArrayRef) -> Result<ArrayRef> {
    use DataType::*;
    let physical = physical_type(array.data_type());
    Ok(match array.data_type() {
        Dictionary(_, values) => {
            let dictionary = array.as_any_dictionary();
            let keys = dictionary.keys();
            let keys = compute::cast(keys, &UInt64)?;
            let taken = compute::take(dictionary.values(), &keys, None)?;
            debug_assert_eq!(taken.data_type(), values.as_ref());
            return lower(&taken);
        }
        Utf8 => Arc::new(BinaryArray::from(array.as_string::<i32>().clone())),
        Binary => Arc::clone(array),
        LargeUtf8 | Utf8View | LargeBinary | BinaryView => compact_binary(array)?,
        Interval(IntervalUnit::DayTime) => {
            let values = array.as_primitive::<IntervalDayTimeType>();
            // Days in the high half, milliseconds in the low one, as in the format's specification.
            let packed: ScalarBuffer<i64> = values
                .values()
                .iter()
                .map(|v| (i64::from(v.days) << 32) | i64::from(v.milliseconds as u32))
                .collect();
            Arc::new(Int64Array::new(packed, array.nulls().cloned()))
        }
        Interval(IntervalUnit::MonthDayNano) => {
            let mut bytes = Vec::with_capacity(array.len() * 16);
            for v in array.as_primitive::<IntervalMonthDayNanoType>().values() {
                bytes.extend_from_slice(&v.months.to_le_bytes());
                bytes.extend_from_slice(&v.days.to_le_bytes());
                bytes.extend_from_slice(&v.nanoseconds.to_le_bytes());
            }
            fixed(16, Buffer::from_vec(bytes), array)?
        }
        Decimal128(..) => {
            let values = array.as_primitive::<Decimal128Type>().values();
            fixed(16, values.inner().clone(), array)?
        }
        Decimal256(..) => {
            let values = array.as_primitive::<Decimal256Type>().values();
            fixed(32, values.inner().clone(), array)?
        }
        logical if *logical == physical => Arc::clone(array),
        _ => reinterpret(array, physical)?,
    })
}

fn fixed(width: i32, bytes: Buffer, array: &ArrayRef) -> Result<ArrayRef> {
    Ok(Arc::new(FixedSizeBinaryArray::try_new_with_len(
        width,
        bytes,
        array.nulls().cloned(),
        array.len(),
    )?))
}

/// The same buffers under another primitive type of the same width.
fn reinterpret(array: &ArrayRef, to: DataType) -> Result<ArrayRef> {
    let data = array.to_data().into_builder().data_type(to).build()?;
    Ok(make_array(data))
}

/// Values of large or view arrays with 32-bit offsets.
fn compact_binary(array: &ArrayRef) -> Result<ArrayRef> {
    let values = compute::cast(array, &DataType::LargeBinary)?;
    let values = values.as_binary::<i64>();
    let mut offsets = Vec::with_capacity(values.len() + 1);
    let mut bytes = Vec::new();
    offsets.push(0i32);
    for i in 0..values.len() {
        if values.is_valid(i) {
            bytes.extend_from_slice(values.value(i));
        }
        offsets.push(i32::try_from(bytes.len()).map_err(|_| {
            Error::invalid("more than 2 GiB of text in one chunk; write smaller batches")
        })?);
    }
    Ok(Arc::new(BinaryArray::try_new(
        OffsetBuffer::new(offsets.into()),
        Buffer::from_vec(bytes),
        values.nulls().cloned(),
    )?))
}

/// The logical array of a physical one that was decoded; checks what the logical type demands
/// (UTF-8, decimal precision is left as stored).
pub fn raise(array: ArrayRef, logical: &DataType) -> Result<ArrayRef> {
    use DataType::*;
    let physical = physical_type(logical);
    if *array.data_type() != physical {
        return Err(Error::corrupt(format!(
            "decoded to {}, not {physical}",
            array.data_type()
        )));
    }
    Ok(match logical {
        Dictionary(key, values) => pack_dictionary(&raise(array, values)?, key)?,
        Utf8 => Arc::new(utf8(&array)?),
        LargeUtf8 | Utf8View => compute::cast(&utf8(&array)?, logical)?,
        LargeBinary | BinaryView => compute::cast(&array, logical)?,
        Interval(IntervalUnit::DayTime) => {
            let values = array.as_primitive::<Int64Type>();
            let parts: ScalarBuffer<IntervalDayTime> = values
                .values()
                .iter()
                .map(|&v| IntervalDayTime::new((v >> 32) as i32, v as i32))
                .collect();
            Arc::new(IntervalDayTimeArray::new(parts, array.nulls().cloned()))
        }
        Interval(IntervalUnit::MonthDayNano) => {
            let values = array.as_fixed_size_binary();
            let parts: ScalarBuffer<IntervalMonthDayNano> = values
                .value_data()
                .chunks_exact(16)
                .map(|b| {
                    let word = u128::from_le_bytes(std::array::from_fn(|i| b[i]));
                    IntervalMonthDayNano::new(word as i32, (word >> 32) as i32, (word >> 64) as i64)
                })
                .collect();
            Arc::new(IntervalMonthDayNanoArray::try_new(
                parts,
                array.nulls().cloned(),
            )?)
        }
        Decimal128(p, s) => {
            let words = words::<i128>(&array);
            Arc::new(
                Decimal128Array::try_new(words, array.nulls().cloned())?
                    .with_precision_and_scale(*p, *s)?,
            )
        }
        Decimal256(p, s) => {
            let words = words::<i256>(&array);
            Arc::new(
                Decimal256Array::try_new(words, array.nulls().cloned())?
                    .with_precision_and_scale(*p, *s)?,
            )
        }
        logical if *logical == physical => array,
        _ => reinterpret(&array, logical.clone())?,
    })
}

/// Fixed-size binary values as words, copied only if they lie at an odd address.
fn words<T: ArrowNativeType>(array: &ArrayRef) -> ScalarBuffer<T> {
    let bytes = array.as_fixed_size_binary().values();
    let bytes = match bytes.as_ptr().align_offset(align_of::<T>()) {
        0 => bytes.clone(),
        _ => Buffer::from_slice_ref(bytes.as_slice()),
    };
    ScalarBuffer::new(bytes, 0, array.len())
}

fn utf8(array: &ArrayRef) -> Result<StringArray> {
    let (offsets, bytes, nulls) = array.as_binary::<i32>().clone().into_parts();
    StringArray::try_new(offsets, bytes, nulls)
        .map_err(|e| Error::corrupt(format!("text that is not UTF-8: {e}")))
}

/// Packs values into a dictionary array, distinct values in order of first occurrence.
fn pack_dictionary(values: &ArrayRef, key: &DataType) -> Result<ArrayRef> {
    let converter = RowConverter::new(vec![SortField::new(values.data_type().clone())])?;
    let rows = converter.convert_columns(std::slice::from_ref(values))?;
    let mut seen = std::collections::HashMap::new();
    let mut first = Vec::new();
    let mut keys = Vec::with_capacity(values.len());
    for (i, row) in rows.iter().enumerate() {
        if values.is_null(i) {
            keys.push(None);
            continue;
        }
        let next = first.len() as u64;
        let code = *seen.entry(row).or_insert_with(|| {
            first.push(i as u64);
            next
        });
        keys.push(Some(code));
    }
    let distinct = compute::take(values, &UInt64Array::from(first), None)?;
    let wide: ArrayRef = Arc::new(UInt64Array::from(keys));
    let options = compute::CastOptions {
        safe: false,
        ..Default::default()
    };
    let keys = compute::cast_with_options(&wide, key, &options)
        .map_err(|_| Error::corrupt(format!("too many distinct values for keys of {key}")))?;
    let data_type =
        DataType::Dictionary(Box::new(key.clone()), Box::new(values.data_type().clone()));
    let data = keys
        .to_data()
        .into_builder()
        .data_type(data_type)
        .child_data(vec![distinct.to_data()])
        .build()?;
    Ok(make_array(data))
}
