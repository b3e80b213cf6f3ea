//! Zone maps while a file is written.

use std::hash::Hasher;
use std::sync::Arc;

use arrow::array::*;
use arrow::compute;
use arrow::datatypes::*;

use crate::encoding::physical;
use crate::error::Result;
use crate::file::fingerprint::fingerprint;
use crate::file::read::{MAX_EXACT, MIN_EXACT};

/// Longer text bounds are cut.
const BOUND_BYTES: usize = 64;

/// Bounds, null counts and flags of consecutive zones.
type Piece = (Option<(ArrayRef, ArrayRef)>, UInt64Array, UInt8Array);

/// The zone map of a column so far.
#[derive(Debug, Default)]
pub(crate) struct ZoneBuilder {
    pieces: Vec<Piece>,
}

/// A finished zone map.
pub(crate) struct ZoneArrays {
    pub bounds: Option<(ArrayRef, ArrayRef)>,
    pub null_count: ArrayRef,
    pub flags: ArrayRef,
}

impl ZoneBuilder {
    /// Adds consecutive rows; every call but the last has whole zones.
    pub fn add(&mut self, array: &ArrayRef, zone_rows: usize) -> Result<()> {
        let slices: Vec<ArrayRef> = (0..array.len())
            .step_by(zone_rows)
            .map(|at| array.slice(at, zone_rows.min(array.len() - at)))
            .collect();
        let null_count = slices
            .iter()
            .map(|s| s.logical_null_count() as u64)
            .collect::<Vec<_>>();
        let (bounds, flags) = match bounds(&slices, array.data_type())? {
            Some((min, max, flags)) => (Some((min, max)), flags),
            None => (None, vec![0; slices.len()]),
        };
        self.pieces
            .push((bounds, UInt64Array::from(null_count), flags.into()));
        Ok(())
    }

    /// All of it; `None` for a table without rows.
    pub fn finish(self) -> Result<Option<ZoneArrays>> {
        if self.pieces.is_empty() {
            return Ok(None);
        }
        let join = |arrays: Vec<&dyn Array>| compute::concat(&arrays);
        let bounds = self
            .pieces
            .iter()
            .map(|(b, ..)| b.as_ref())
            .collect::<Option<Vec<_>>>();
        Ok(Some(ZoneArrays {
            bounds: match bounds {
                Some(b) => Some((
                    join(b.iter().map(|(min, _)| min.as_ref()).collect())?,
                    join(b.iter().map(|(_, max)| max.as_ref()).collect())?,
                )),
                None => None,
            },
            null_count: join(self.pieces.iter().map(|p| &p.1 as &dyn Array).collect())?,
            flags: join(self.pieces.iter().map(|p| &p.2 as &dyn Array).collect())?,
        }))
    }
}

impl ZoneArrays {
    /// By which the arrays are known again.
    pub fn fingerprint(&self) -> Result<u64> {
        let (min, max) = self.bounds.clone().unzip();
        zones_fingerprint(min, max, &self.null_count, &self.flags)
    }
}

/// The fingerprint of the arrays of a zone map.
pub(crate) fn zones_fingerprint(
    min: Option<ArrayRef>,
    max: Option<ArrayRef>,
    null_count: &ArrayRef,
    flags: &ArrayRef,
) -> Result<u64> {
    let parts = [min.as_ref(), max.as_ref(), Some(null_count), Some(flags)];
    let mut all = twox_hash::XxHash3_64::new();
    for part in parts.into_iter().flatten() {
        all.write_u64(fingerprint(part)?);
    }
    Ok(all.finish())
}

type Bounds = (ArrayRef, ArrayRef, Vec<u8>);

/// Minimum, maximum and flags of each slice; `None` for types without an order that readers use.
fn bounds(slices: &[ArrayRef], data_type: &DataType) -> Result<Option<Bounds>> {
    use DataType::*;
    macro_rules! by {
        ($t:ty, $skip:expr, $order:expr) => {{
            let mut pairs = Vec::with_capacity(slices.len());
            for slice in slices {
                pairs.push(extremes(slice.as_primitive::<$t>(), $skip, $order));
            }
            let column = |side: fn(&(_, _)) -> <$t as ArrowPrimitiveType>::Native| -> ArrayRef {
                let values = pairs.iter().map(|p| p.as_ref().map(side));
                let array: PrimitiveArray<$t> = values.collect();
                Arc::new(array.with_data_type(data_type.clone()))
            };
            let flags = pairs
                .iter()
                .map(|p| p.map_or(0, |_| MIN_EXACT | MAX_EXACT))
                .collect();
            Some((column(|p| p.0), column(|p| p.1), flags))
        }};
    }
    macro_rules! ordered {
        ($t:ty) => {
            by!($t, |_| false, Ord::cmp)
        };
    }
    macro_rules! floats {
        ($t:ty) => {
            by!($t, |v| v.is_nan(), |a, b| a.total_cmp(b))
        };
    }
    Ok(match data_type {
        Int8 => ordered!(Int8Type),
        Int16 => ordered!(Int16Type),
        Int32 => ordered!(Int32Type),
        Int64 => ordered!(Int64Type),
        UInt8 => ordered!(UInt8Type),
        UInt16 => ordered!(UInt16Type),
        UInt32 => ordered!(UInt32Type),
        UInt64 => ordered!(UInt64Type),
        Float16 => floats!(Float16Type),
        Float32 => floats!(Float32Type),
        Float64 => floats!(Float64Type),
        Date32 => ordered!(Date32Type),
        Date64 => ordered!(Date64Type),
        Time32(TimeUnit::Second) => ordered!(Time32SecondType),
        Time32(_) => ordered!(Time32MillisecondType),
        Time64(TimeUnit::Nanosecond) => ordered!(Time64NanosecondType),
        Time64(_) => ordered!(Time64MicrosecondType),
        Timestamp(TimeUnit::Second, _) => ordered!(TimestampSecondType),
        Timestamp(TimeUnit::Millisecond, _) => ordered!(TimestampMillisecondType),
        Timestamp(TimeUnit::Microsecond, _) => ordered!(TimestampMicrosecondType),
        Timestamp(TimeUnit::Nanosecond, _) => ordered!(TimestampNanosecondType),
        Decimal32(..) => ordered!(Decimal32Type),
        Decimal64(..) => ordered!(Decimal64Type),
        Decimal128(..) => ordered!(Decimal128Type),
        Decimal256(..) => ordered!(Decimal256Type),
        Boolean => {
            let min: BooleanArray = slices
                .iter()
                .map(|s| compute::min_boolean(s.as_boolean()))
                .collect();
            let max: BooleanArray = slices
                .iter()
                .map(|s| compute::max_boolean(s.as_boolean()))
                .collect();
            let flags = min
                .iter()
                .map(|v| v.map_or(0, |_| MIN_EXACT | MAX_EXACT))
                .collect();
            Some((Arc::new(min), Arc::new(max), flags))
        }
        Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView => {
            Some(text_bounds(slices, data_type)?)
        }
        _ => None,
    })
}

/// Smallest and largest valid value; `None` if there is none or if one is to be skipped.
fn extremes<T: ArrowPrimitiveType>(
    array: &PrimitiveArray<T>,
    skip: impl Fn(&T::Native) -> bool,
    order: impl Fn(&T::Native, &T::Native) -> std::cmp::Ordering,
) -> Option<(T::Native, T::Native)> {
    let mut found: Option<(T::Native, T::Native)> = None;
    let mut see = |value: T::Native| {
        if skip(&value) {
            return false;
        }
        found = Some(match found {
            None => (value, value),
            Some((min, max)) => (
                if order(&value, &min).is_lt() {
                    value
                } else {
                    min
                },
                if order(&value, &max).is_gt() {
                    value
                } else {
                    max
                },
            ),
        });
        true
    };
    let complete = match array.null_count() {
        0 => array.values().iter().all(|&v| see(v)),
        _ => array.iter().flatten().all(&mut see),
    };
    complete.then_some(found).flatten()
}

fn text_bounds(slices: &[ArrayRef], data_type: &DataType) -> Result<Bounds> {
    let text = matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    );
    let (mut min, mut max) = (BinaryBuilder::new(), BinaryBuilder::new());
    let mut flags = Vec::with_capacity(slices.len());
    for slice in slices {
        let lowered = physical::lower(slice)?;
        let values = lowered.as_binary::<i32>();
        let mut flag = 0;
        match compute::min_binary(values) {
            Some(value) if value.len() <= BOUND_BYTES => {
                min.append_value(value);
                flag |= MIN_EXACT;
            }
            Some(value) => min.append_value(prefix(value, text)),
            None => min.append_null(),
        }
        match compute::max_binary(values) {
            Some(value) if value.len() <= BOUND_BYTES => {
                max.append_value(value);
                flag |= MAX_EXACT;
            }
            Some(value) => max.append_option(raised(prefix(value, text), text)),
            None => max.append_null(),
        }
        flags.push(flag);
    }
    let (min, max): (ArrayRef, ArrayRef) = (Arc::new(min.finish()), Arc::new(max.finish()));
    Ok((
        physical::raise(min, data_type)?,
        physical::raise(max, data_type)?,
        flags,
    ))
}

/// The first bytes of a value, cut between characters if it is text.
fn prefix(value: &[u8], text: bool) -> &[u8] {
    let mut end = BOUND_BYTES.min(value.len());
    while text && end > 0 && value.get(end).is_some_and(|b| b & 0xC0 == 0x80) {
        end -= 1;
    }
    &value[..end]
}

/// A short value above everything that starts with this prefix, if there is one.
fn raised(prefix: &[u8], text: bool) -> Option<Vec<u8>> {
    if text {
        let mut chars: Vec<char> = std::str::from_utf8(prefix).ok()?.chars().collect();
        while let Some(last) = chars.pop() {
            // Skips the surrogates, which are no characters.
            let next = match last {
                '\u{D7FF}' => Some('\u{E000}'),
                other => char::from_u32(other as u32 + 1),
            };
            if let Some(next) = next {
                chars.push(next);
                return Some(chars.into_iter().collect::<String>().into_bytes());
            }
        }
        return None;
    }
    let mut bytes = prefix.to_vec();
    while let Some(last) = bytes.pop() {
        if let Some(next) = last.checked_add(1) {
            bytes.push(next);
            return Some(bytes);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_bounds_are_cut_and_still_bound() {
        let long = "ü".repeat(100);
        let array: ArrayRef = Arc::new(StringArray::from(vec![long.as_str(), "~"]));
        let (min, max, flags) = bounds(&[array], &DataType::Utf8).unwrap().unwrap();
        let (min, max) = (min.as_string::<i32>(), max.as_string::<i32>());
        assert_eq!(min.value(0), "~");
        assert!(max.value(0) > long.as_str() && max.value(0).len() <= 64);
        assert_eq!(flags, [MIN_EXACT]);
    }

    #[test]
    fn a_zone_with_nan_has_no_bounds() {
        let array: ArrayRef = Arc::new(Float64Array::from(vec![1.0, f64::NAN]));
        let (min, max, flags) = bounds(&[array], &DataType::Float64).unwrap().unwrap();
        assert!(min.is_null(0) && max.is_null(0));
        assert_eq!(flags, [0]);
    }

    #[test]
    fn negative_zero_is_below_zero() {
        let array: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0]));
        let (min, ..) = bounds(&[array], &DataType::Float64).unwrap().unwrap();
        let min = min.as_primitive::<Float64Type>().value(0);
        assert!(min == 0.0 && min.is_sign_negative());
    }
}
