//! Every column as integers.
//!
//! Columns can help to code each other once all of them are integers: numbers as they are, decimals
//! scaled, text that is really a number or a date as that, other text as codes of a sorted
//! dictionary. What does not follow the rule is an exception, and null is one of them. The rule is a
//! [`Restore`] model, from which `pilaster.restore.v1` gives the values back bit for bit.
//!
//! Rules are found on distinct values, so that the cost beyond one hash a row follows from how many
//! there are. A column that is as good as unique text, and a nested one, is *opaque*: it has no
//! integers and is left to the ordinary planner.

use arrow::array::*;
use arrow::buffer::NullBuffer;
use arrow::datatypes::*;

use crate::encoding::physical;
use crate::encoding::table::restore::invert::{decimal_of, narrowed, step_of};
use crate::encoding::table::restore::model::{
    Form, MAX_DECIMALS, MAX_EXCEPTIONS, NULL, Part, Restore,
};
use crate::encoding::table::restore::parts;
use crate::encoding::table::restore::text::TextForm;
use crate::encoding::table::restore::values::Values;
use crate::error::Result;

mod detect;
mod distinct;

use distinct::{Distinct, NO_VALUE};

/// Share of the distinct values of a column that may be exceptions.
const EXCEPTIONS: f64 = 0.1;
/// Quantile of the decimals of distinct values that sets the decimals of a column: a few values
/// with the noise of a computation must not blow up all others.
const DECIMALS_QUANTILE: f64 = 0.92;
/// Most decimals that are tried.
const MOST_DECIMALS: u32 = 17;
/// A common factor is taken out if more steps than this remain: fewer values are symbols anyway,
/// and sums of columns show only at one scale.
const STEPS: u64 = 4096;
/// Share of distinct values from which on a column of text counts as unique, and one of fixed width.
const UNIQUE: f64 = 0.85;
const UNIQUE_WORDS: f64 = 0.5;
/// Bytes of unique values for which a dictionary is tried nevertheless: so much is coded better
/// there than by a general compressor.
const SHORT_TEXT: usize = 200 << 10;
/// Marks a row or value that the rule does not give.
const UNFIT: i64 = NULL + 1;

/// A column of integers that stands for a column or for a part of one.
#[derive(Debug, Clone)]
pub struct Integers {
    /// One a row; null and exceptions are codes from `i64::MIN` up.
    pub values: Int64Array,
    /// Whether order and differences mean something.
    pub numeric: bool,
    /// Decimals: the number meant is `value * 10^-scale`.
    pub scale: u32,
}

/// A column as integers, and the rule that gives its values back.
#[derive(Debug, Clone)]
pub struct Typed {
    /// As many columns of integers as the rule takes; later sections of a column of several may
    /// have idle ones.
    pub integers: Vec<Integers>,
    /// The rule.
    pub rule: Restore,
}

/// The typing of a logical array, or `None` if it is opaque.
pub fn type_column(array: &ArrayRef) -> Result<Option<Typed>> {
    typed(array, None)
}

/// The typing of a later array of a column: as many integers of the same meaning as in an earlier
/// one, with exceptions and dictionary of its own. `None` only if there are too many values for a
/// dictionary.
pub fn type_like(array: &ArrayRef, like: &Typed) -> Result<Option<Typed>> {
    let rows = array.len();
    let typed = typed(array, Some(&like.rule.form))?;
    Ok(typed.map(|mut typed| {
        for (i, theirs) in like.integers.iter().enumerate() {
            if i == typed.integers.len() {
                let idle = Int64Array::from(vec![0; rows]);
                typed.integers.push(Integers {
                    values: idle,
                    ..*theirs
                });
            }
            typed.integers[i].numeric = theirs.numeric;
            typed.integers[i].scale = theirs.scale;
        }
        typed
    }))
}

fn typed(array: &ArrayRef, like: Option<&Form>) -> Result<Option<Typed>> {
    let array_of = physical::lower(array)?;
    let (physical, logical) = (&array_of, array.data_type());
    let scale = match *logical {
        DataType::Decimal32(_, s)
        | DataType::Decimal64(_, s)
        | DataType::Decimal128(_, s)
        | DataType::Decimal256(_, s) => u32::try_from(s).unwrap_or(0),
        _ => 0,
    };
    let is_decimal = matches!(logical, DataType::Decimal128(..) | DataType::Decimal256(..));
    macro_rules! integers {
        ($($logical:ident: $arrow:ty),*) => { match physical.data_type() {
            $(DataType::$logical => {
                let values = physical.as_primitive::<$arrow>();
                let words = values.values().iter().map(|&v| v as i64).collect();
                let source = |i: usize| values.value(i).to_le_bytes().to_vec();
                let width = size_of::<<$arrow as ArrowPrimitiveType>::Native>();
                let unsigned = stringify!($logical) == "UInt64";
                integers(words, physical.nulls(), like, scale, unsigned, width, source)
            })*
            DataType::Boolean => {
                let values = physical.as_boolean();
                let words = values.values().iter().map(i64::from).collect();
                let never = |_: usize| Vec::new();
                let typed = integers(words, physical.nulls(), like, 0, false, 1, never)?;
                Ok(typed.map(|mut typed| {
                    typed.integers[0].numeric = false;
                    typed
                }))
            }
            DataType::FixedSizeBinary(width) if is_decimal => {
                let values = physical.as_fixed_size_binary();
                let words: Vec<i64> = (0..values.len())
                    .map(|i| narrowed(values.value(i), true).unwrap_or(UNFIT))
                    .collect();
                let unfit = words.iter().filter(|&&v| v == UNFIT).count();
                let source = |i: usize| values.value(i).to_vec();
                match unfit * 10 <= words.len() {
                    true => {
                        let width = *width as usize;
                        integers(words, physical.nulls(), like, scale, false, width, source)
                    }
                    false => listed(physical, like),
                }
            }
            DataType::Float16 => {
                let bits = physical.as_primitive::<Float16Type>().values();
                floats(physical, bits.iter().map(|v| u64::from(v.to_bits())), like)
            }
            DataType::Float32 => {
                let bits = physical.as_primitive::<Float32Type>().values();
                floats(physical, bits.iter().map(|v| u64::from(v.to_bits())), like)
            }
            DataType::Float64 => {
                let bits = physical.as_primitive::<Float64Type>().values();
                floats(physical, bits.iter().map(|v| v.to_bits()), like)
            }
            DataType::FixedSizeBinary(1..) => listed(physical, like),
            DataType::Binary => text(physical, like),
            _ => Ok(None),
        }};
    }
    integers!(
        Int8: Int8Type, Int16: Int16Type, Int32: Int32Type, Int64: Int64Type, UInt8: UInt8Type,
        UInt16: UInt16Type, UInt32: UInt32Type, UInt64: UInt64Type
    )
}

/// Integers as they are, or less a base and divided by a factor.
fn integers(
    mut words: Vec<i64>,
    nulls: Option<&NullBuffer>,
    like: Option<&Form>,
    scale: u32,
    unsigned: bool,
    width: usize,
    source: impl Fn(usize) -> Vec<u8>,
) -> Result<Option<Typed>> {
    let (base, factor) = match like {
        Some(Form::Integer { base, factor }) => (*base, *factor),
        _ => affine(&words, nulls, unsigned),
    };
    let mut exceptions = Vec::new();
    for (i, word) in words.iter_mut().enumerate() {
        if nulls.is_some_and(|n| n.is_null(i)) {
            *word = NULL;
            continue;
        }
        let step = Some(*word).filter(|&w| w != UNFIT);
        *word = match step.and_then(|w| step_of(w, base, factor)) {
            Some(step) => step,
            None => {
                exceptions.push((source(i), i));
                UNFIT
            }
        };
    }
    exceptions.sort_unstable();
    let mut list = Values::new(Some(width));
    for (i, (value, row)) in exceptions.iter().enumerate() {
        if i == 0 || exceptions[i - 1].0 != *value {
            list.push(value)?;
        }
        words[*row] = NULL + list.len() as i64;
    }
    if list.len() > MAX_EXCEPTIONS {
        return Ok(None);
    }
    Ok(Some(Typed {
        integers: vec![Integers {
            values: Int64Array::from(words),
            numeric: true,
            scale,
        }],
        rule: Restore {
            form: Form::Integer { base, factor },
            exceptions: list,
        },
    }))
}

/// Base and factor of integers.
fn affine(words: &[i64], nulls: Option<&NullBuffer>, unsigned: bool) -> (i64, i64) {
    let valid = || {
        let fits = |i: &usize| nulls.is_none_or(|n| n.is_valid(*i)) && words[*i] != UNFIT;
        (0..words.len()).filter(fits).map(|i| words[i])
    };
    if unsigned && valid().any(|v| v < 0) {
        let (min, max) = valid().fold((u64::MAX, 0), |(min, max), v| {
            (min.min(v as u64), max.max(v as u64))
        });
        // A range too wide for 63 bits is taken around its middle, in order.
        let base = if max - min <= i64::MAX as u64 {
            min as i64
        } else {
            i64::MIN
        };
        return (base, 1);
    }
    let Some(first) = valid().next() else {
        return (0, 1);
    };
    let (mut factor, mut low, mut high) = (0, first, first);
    for v in valid() {
        (low, high) = (low.min(v), high.max(v));
        if factor != 1 && v != first {
            factor = greatest_common(factor, v.abs_diff(first));
        }
    }
    match i64::try_from(factor) {
        Ok(step) if step > 1 && high.abs_diff(low) / factor > STEPS => {
            (first.rem_euclid(step), step)
        }
        _ => (0, 1),
    }
}

fn greatest_common(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Floating-point numbers as decimals, or as codes of a dictionary.
fn floats(
    physical: &ArrayRef,
    bits: impl Iterator<Item = u64>,
    like: Option<&Form>,
) -> Result<Option<Typed>> {
    let data_type = physical.data_type();
    let width = data_type.primitive_width().unwrap_or(8);
    let distinct = Distinct::of_words(bits, width, physical.nulls());
    let digits = match like {
        None => decimals(&distinct, data_type),
        Some(Form::Decimal { digits }) => Some(*digits),
        Some(_) => None,
    };
    let Some(digits) = digits else {
        return dictionary(&distinct, physical, like);
    };
    let value = |word: u64| decimal_of(word, digits, data_type);
    let numbers: Vec<Option<i64>> = distinct.words().iter().map(|&w| value(w)).collect();
    let unfit = numbers.iter().filter(|n| n.is_none()).count();
    if (like.is_none() && !few_exceptions(unfit, numbers.len())) || unfit > MAX_EXCEPTIONS {
        return dictionary(&distinct, physical, like);
    }
    let form = Form::Decimal { digits };
    Ok(Some(ruled(&distinct, numbers, form, digits)?))
}

/// The decimals of a column of floating-point numbers.
fn decimals(distinct: &Distinct<'_>, data_type: &DataType) -> Option<u32> {
    // A spread sample is enough to choose; every value is tried afterwards.
    let step = distinct.len().div_ceil(4096).max(1);
    let mut digits: Vec<u32> = distinct
        .words()
        .iter()
        .step_by(step)
        .map(|&word| {
            (0..=MOST_DECIMALS)
                .find(|&d| decimal_of(word, d, data_type).is_some())
                .unwrap_or(u32::MAX)
        })
        .collect();
    digits.sort_unstable();
    let at = (digits.len() as f64 * DECIMALS_QUANTILE) as usize;
    let chosen = *digits.get(at.min(digits.len().checked_sub(1)?))?;
    (chosen <= MAX_DECIMALS).then_some(chosen)
}

/// Text as numbers, dates or times, whole or between constant text, or as codes of a dictionary.
fn text(physical: &ArrayRef, like: Option<&Form>) -> Result<Option<Typed>> {
    let distinct = Distinct::of_binary(physical.as_binary::<i32>());
    let parts = match like {
        None => detect::parts(&distinct, physical.len()),
        Some(Form::Text(parts)) => Some(parts.clone()),
        Some(_) => None,
    };
    let Some(parts) = parts else {
        return dictionary(&distinct, physical, like);
    };
    let mut scratch = Vec::new();
    let numbers: Vec<Option<Vec<i64>>> = distinct
        .values()
        .map(|text| parts::parse(&parts, text, &mut scratch))
        .collect();
    let unfit = numbers.iter().filter(|n| n.is_none()).count();
    if (like.is_none() && !few_exceptions(unfit, numbers.len())) || unfit > MAX_EXCEPTIONS {
        return dictionary(&distinct, physical, like);
    }
    let mut typed: Option<Typed> = None;
    let forms = parts.iter().filter_map(|part| match part {
        Part::Formatted(form) => Some(form),
        _ => None,
    });
    for (i, form) in forms.enumerate() {
        let own = numbers.iter().map(|n| n.as_ref().map(|n| n[i])).collect();
        let whole = Form::Text(parts.clone());
        let part = ruled(&distinct, own, whole, TextForm::scale(form))?;
        match &mut typed {
            None => typed = Some(part),
            Some(typed) => typed.integers.extend(part.integers),
        }
    }
    Ok(typed)
}

/// Fixed-size binary as codes of a dictionary.
fn listed(physical: &ArrayRef, like: Option<&Form>) -> Result<Option<Typed>> {
    let distinct = Distinct::of_fixed(physical.as_fixed_size_binary());
    dictionary(&distinct, physical, like)
}

/// Whether so many of the distinct values may be exceptions to a rule.
fn few_exceptions(unfit: usize, distinct: usize) -> bool {
    distinct > 0 && unfit as f64 <= (distinct as f64 * EXCEPTIONS).max(1.0) && distinct > 2 * unfit
}

/// A numeric rule: the integer of each distinct value, `None` for exceptions.
fn ruled(
    distinct: &Distinct<'_>,
    numbers: Vec<Option<i64>>,
    form: Form,
    scale: u32,
) -> Result<Typed> {
    let mut unfit: Vec<usize> = (0..numbers.len())
        .filter(|&i| numbers[i].is_none())
        .collect();
    unfit.sort_unstable_by(|&a, &b| distinct.order(a, b));
    let mut codes: Vec<i64> = numbers.iter().map(|n| n.unwrap_or(NULL)).collect();
    let mut exceptions = Values::new(distinct.width());
    for i in unfit {
        distinct.push_to(i, &mut exceptions)?;
        codes[i] = NULL + exceptions.len() as i64;
    }
    Ok(Typed {
        integers: vec![Integers {
            values: rows(distinct, &codes),
            numeric: true,
            scale,
        }],
        rule: Restore { form, exceptions },
    })
}

/// Codes of a dictionary; `None` for as good as unique values, unless they are a short text or the
/// column must be like an earlier one.
fn dictionary(
    distinct: &Distinct<'_>,
    physical: &ArrayRef,
    like: Option<&Form>,
) -> Result<Option<Typed>> {
    let is_text = distinct.width().is_none();
    let most = if is_text { UNIQUE } else { UNIQUE_WORDS };
    let unique = distinct.len() as f64 >= physical.len() as f64 * most;
    let short = is_text && (64..SHORT_TEXT).contains(&distinct.bytes());
    if like.is_none() && unique && !short {
        return Ok(None);
    }
    // Codes of nearly unique values are least to store in order of occurrence.
    let mut order: Vec<usize> = (0..distinct.len()).collect();
    if !unique {
        order.sort_unstable_by(|&a, &b| distinct.order(a, b));
    }
    let mut codes = vec![0; distinct.len()];
    let mut values = Values::new(distinct.width());
    for (code, &i) in order.iter().enumerate() {
        if distinct.push_to(i, &mut values).is_err() {
            return Ok(None);
        }
        codes[i] = code as i64;
    }
    Ok(Some(Typed {
        integers: vec![Integers {
            values: rows(distinct, &codes),
            numeric: unique,
            scale: 0,
        }],
        rule: Restore::exact(Form::Dictionary(values)),
    }))
}

/// The integer of each row.
fn rows(distinct: &Distinct<'_>, codes: &[i64]) -> Int64Array {
    let code = |&i: &u32| match i {
        NO_VALUE => NULL,
        i => codes[i as usize],
    };
    Int64Array::from_iter_values(distinct.rows().iter().map(code))
}

#[cfg(test)]
mod tests;
