//! Arrays out of cells, in the types that the first pass found.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::datatypes::*;

use super::super::number::numeral;
use super::cell;
use super::infer::{Guess, missing};
use super::style::{Missing, Style};
use crate::error::Result;

enum Values {
    Integers(Vec<i64>),
    Unsigned(Vec<u64>),
    Floats(Vec<f64>),
    Decimals(Vec<i128>),
    Dates(Vec<i32>),
    Booleans(BooleanBufferBuilder),
    Times(Vec<i64>),
    Text { offsets: Vec<i32>, bytes: Vec<u8> },
}

/// Collects the cells of one column.
pub(crate) struct Builder {
    data_type: DataType,
    style: Style,
    values: Values,
    nulls: NullBufferBuilder,
}

impl Builder {
    pub(crate) fn new(data_type: &DataType, style: Style) -> Self {
        Self {
            data_type: data_type.clone(),
            style,
            values: Values::new(data_type),
            nulls: NullBufferBuilder::new(0),
        }
    }

    /// Adds a cell; `None` if it does not read as the column's type.
    pub(crate) fn push(&mut self, cell: &[u8], quoted: bool) -> Option<()> {
        if self.is_null(cell, quoted) {
            self.nulls.append_null();
            self.values.push_null();
            return Some(());
        }
        self.nulls.append_non_null();
        self.values.push(cell)
    }

    fn is_null(&self, cell: &[u8], quoted: bool) -> bool {
        let typed = !matches!(self.values, Values::Text { .. });
        match self.style.missing {
            Missing::Empty => cell.is_empty() && (typed || !quoted),
            Missing::QuotedEmpty => cell.is_empty(),
            Missing::Word(word) => missing(cell) == Some(word) && (typed || !quoted),
            Missing::QuotedWord(word) => missing(cell) == Some(word) && (typed || quoted),
        }
    }

    /// Whether a cell, which no first pass has seen, is a value of the column or null.
    pub(crate) fn fits(&self, cell: &[u8], quoted: bool, guess: &mut Guess) -> bool {
        self.is_null(cell, quoted) || guess.allows(cell, &self.data_type, &self.style)
    }

    /// The array so far; the builder starts again.
    pub(crate) fn finish(&mut self) -> Result<ArrayRef> {
        let nulls = std::mem::replace(&mut self.nulls, NullBufferBuilder::new(0)).finish();
        let values = std::mem::replace(&mut self.values, Values::new(&self.data_type));
        let array: ArrayRef = match values {
            Values::Integers(v) => Arc::new(Int64Array::try_new(v.into(), nulls)?),
            Values::Unsigned(v) => Arc::new(UInt64Array::try_new(v.into(), nulls)?),
            Values::Floats(v) => Arc::new(Float64Array::try_new(v.into(), nulls)?),
            Values::Decimals(v) => Arc::new(
                Decimal128Array::try_new(v.into(), nulls)?.with_data_type(self.data_type.clone()),
            ),
            Values::Dates(v) => Arc::new(Date32Array::try_new(v.into(), nulls)?),
            Values::Booleans(mut v) => Arc::new(BooleanArray::new(v.finish(), nulls)),
            Values::Times(v) => {
                let array = Int64Array::try_new(v.into(), nulls)?;
                let data = array
                    .into_data()
                    .into_builder()
                    .data_type(self.data_type.clone());
                make_array(data.build()?)
            }
            Values::Text { offsets, bytes } => {
                let offsets = OffsetBuffer::new(offsets.into());
                let bytes = Buffer::from_vec(bytes);
                match self.data_type {
                    DataType::Utf8 => Arc::new(StringArray::try_new(offsets, bytes, nulls)?),
                    _ => Arc::new(BinaryArray::try_new(offsets, bytes, nulls)?),
                }
            }
        };
        Ok(array)
    }
}

impl Values {
    fn new(data_type: &DataType) -> Self {
        match data_type {
            DataType::Int64 => Values::Integers(Vec::new()),
            DataType::UInt64 => Values::Unsigned(Vec::new()),
            DataType::Float64 => Values::Floats(Vec::new()),
            DataType::Decimal128(..) => Values::Decimals(Vec::new()),
            DataType::Date32 => Values::Dates(Vec::new()),
            DataType::Boolean => Values::Booleans(BooleanBufferBuilder::new(0)),
            DataType::Timestamp(..) => Values::Times(Vec::new()),
            _ => Values::Text {
                offsets: vec![0],
                bytes: Vec::new(),
            },
        }
    }

    fn push_null(&mut self) {
        match self {
            Values::Integers(v) | Values::Times(v) => v.push(0),
            Values::Unsigned(v) => v.push(0),
            Values::Floats(v) => v.push(0.0),
            Values::Decimals(v) => v.push(0),
            Values::Dates(v) => v.push(0),
            Values::Booleans(v) => v.append(false),
            Values::Text { offsets, bytes } => offsets.push(bytes.len() as i32),
        }
    }

    fn push(&mut self, cell: &[u8]) -> Option<()> {
        match self {
            Values::Integers(v) => v.push(integer(cell)?),
            Values::Unsigned(v) => v.push(std::str::from_utf8(cell).ok()?.parse().ok()?),
            Values::Floats(v) => v.push(std::str::from_utf8(cell).ok()?.parse().ok()?),
            Values::Decimals(v) => v.push(decimal(cell)?),
            Values::Dates(v) => v.push(cell::date(cell)?),
            Values::Booleans(v) => v.append(cell::boolean(cell)?.1),
            Values::Times(v) => v.push(cell::timestamp(cell)?.1),
            Values::Text { offsets, bytes } => {
                bytes.extend_from_slice(cell);
                offsets.push(i32::try_from(bytes.len()).ok()?);
            }
        }
        Some(())
    }
}

fn integer(cell: &[u8]) -> Option<i64> {
    let number = numeral(cell)?;
    if number.end < cell.len() || number.scale > 0 {
        return None;
    }
    match number.digits.and_then(|d| i64::try_from(d).ok()) {
        Some(size) if number.negative => Some(-size),
        Some(size) => Some(size),
        None => std::str::from_utf8(cell).ok()?.parse().ok(),
    }
}

/// The digits of a numeral without its point.
fn decimal(cell: &[u8]) -> Option<i128> {
    let number = numeral(cell)?;
    if number.end < cell.len() {
        return None;
    }
    let mut size = 0i128;
    match number.digits {
        Some(digits) => size = i128::from(digits),
        None => {
            for b in cell.iter().filter(|b| b.is_ascii_digit()) {
                size = size.checked_mul(10)?.checked_add(i128::from(b - b'0'))?;
            }
        }
    }
    Some(if number.negative { -size } else { size })
}
