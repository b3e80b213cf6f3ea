//! From arrays back to integers: what typing found, found again from the rule alone.

use std::collections::HashMap;

use arrow::array::*;
use arrow::datatypes::*;

use super::model::{Form, MAX_EXCEPTIONS, NULL, Restore, double_of, power};
use super::parts;
use super::values::Values;

/// Integers beyond this are not exact in double precision.
const MOST_EXACT: f64 = 9_007_199_254_740_992.0;

/// The integer that gives a floating-point number of this type bit for bit when it is divided by a
/// power of ten.
pub fn decimal_of(word: u64, digits: u32, data_type: &DataType) -> Option<i64> {
    let number = match data_type {
        DataType::Float16 => half::f16::from_bits(word as u16).to_f64(),
        DataType::Float32 => f64::from(f32::from_bits(word as u32)),
        _ => f64::from_bits(word),
    };
    let scaled = (number * power(digits)).round();
    if scaled.is_nan() || scaled.abs() > MOST_EXACT {
        return None;
    }
    let integer = scaled as i64;
    let back = double_of(integer, digits);
    let bits = match data_type {
        DataType::Float16 => u64::from(half::f16::from_f64(back).to_bits()),
        DataType::Float32 => u64::from((back as f32).to_bits()),
        _ => back.to_bits(),
    };
    (bits == word).then_some(integer)
}

/// The step that gives an integer by its base and factor, unless it would look like a code.
pub fn step_of(word: i64, base: i64, factor: i64) -> Option<i64> {
    let rest = word.wrapping_sub(base);
    let step = rest.checked_div(factor)?;
    let given = step.wrapping_mul(factor) == rest && step > NULL + MAX_EXCEPTIONS as i64;
    given.then_some(step)
}

/// A little-endian integer of any width, if it fits 64 bits.
pub fn narrowed(bytes: &[u8], signed: bool) -> Option<i64> {
    let mut low = [0; 8];
    let (head, high) = bytes.split_at(bytes.len().min(8));
    let negative = signed && bytes.last().is_some_and(|b| b & 0x80 != 0);
    let fill = if negative { 0xff } else { 0 };
    low.fill(fill);
    low[..head.len()].copy_from_slice(head);
    let value = i64::from_le_bytes(low);
    let same = bytes.len() <= 8 || (value < 0) == negative;
    (same && high.iter().all(|&b| b == fill)).then_some(value)
}

/// The integers of an array by a rule that takes one a row; `None` if the rule does not give all of
/// its values.
pub(super) fn integers(rule: &Restore, array: &ArrayRef) -> Option<Int64Array> {
    let codes = |values: &'_ Values, start: i64| -> HashMap<Vec<u8>, i64> {
        let numbered = values.iter().enumerate();
        numbered
            .map(|(i, v)| (v.to_vec(), start + i as i64))
            .collect()
    };
    let exceptions = codes(&rule.exceptions, NULL + 1);
    let entries = match &rule.form {
        Form::Dictionary(values) => codes(values, 0),
        _ => HashMap::new(),
    };
    let mut scratch = Vec::new();
    let mut by_rule = |cell: &[u8], data_type: &DataType| match &rule.form {
        Form::Integer { base, factor } => {
            let signed = !data_type.is_unsigned_integer();
            step_of(narrowed(cell, signed)?, *base, *factor)
        }
        Form::Decimal { digits } => decimal_of(narrowed(cell, false)? as u64, *digits, data_type),
        Form::Dictionary(_) => entries.get(cell).copied(),
        Form::Text(list) => match parts::parse(list, cell, &mut scratch)?.as_slice() {
            [integer] => Some(*integer),
            _ => None,
        },
    };
    let mut code =
        |cell: &[u8]| by_rule(cell, array.data_type()).or_else(|| exceptions.get(cell).copied());
    let nulls = array.nulls();
    let rows = 0..array.len();
    let is_null = |i: usize| nulls.is_some_and(|n| n.is_null(i));
    let mut out = Vec::with_capacity(array.len());
    match array.data_type() {
        DataType::Boolean => {
            let values = array.as_boolean();
            for i in rows {
                out.push(if is_null(i) {
                    NULL
                } else {
                    code(&[u8::from(values.value(i))])?
                });
            }
        }
        DataType::Binary => {
            let values = array.as_binary::<i32>();
            for i in rows {
                out.push(if is_null(i) {
                    NULL
                } else {
                    code(values.value(i))?
                });
            }
        }
        DataType::FixedSizeBinary(_) => {
            let values = array.as_fixed_size_binary();
            for i in rows {
                out.push(if is_null(i) {
                    NULL
                } else {
                    code(values.value(i))?
                });
            }
        }
        other => {
            let width = other.primitive_width()?;
            let data = array.to_data();
            let bytes = data.buffers().first()?.as_slice();
            for i in rows {
                let at = (data.offset() + i) * width;
                out.push(if is_null(i) {
                    NULL
                } else {
                    code(bytes.get(at..at + width)?)?
                });
            }
        }
    }
    Some(Int64Array::from(out))
}
