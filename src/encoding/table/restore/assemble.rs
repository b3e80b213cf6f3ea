//! From integers to arrays.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::*;
use half::f16;

use super::model::{Form, NULL, Part, Restore, power};
use super::parts;
use super::values::Values;
use crate::encoding::DecodeContext;
use crate::error::{Error, Result};

/// Values up to this length are copied by one fixed-size move.
const SHORT: usize = 16;
/// Text that is written before it is charged.
const CHARGE: usize = 1 << 16;

/// A model with what makes its values quick to copy.
///
/// The *entries* of a model are null, its exceptions and the values of its dictionary, in this
/// order.
#[derive(Debug)]
pub(super) struct Prepared {
    pub rule: Restore,
    /// Lengths of the entries, for a dictionary of text.
    lengths: Vec<u32>,
    /// The entries padded to [`SHORT`] bytes, if none is longer.
    short: Vec<[u8; SHORT]>,
    /// Else where each entry starts in all of them, after which there are [`SHORT`] bytes more.
    starts: Vec<u32>,
    padded: Vec<u8>,
}

/// The values of a parent, if they are integers without nulls.
pub(super) fn integers(array: &ArrayRef) -> Result<&[i64]> {
    match is_integers(array, array.len()) {
        true => Ok(array.as_primitive::<Int64Type>().values()),
        false => Err(Error::corrupt(
            "a parent of restored values is not integers",
        )),
    }
}

pub(super) fn is_integers(array: &ArrayRef, rows: usize) -> bool {
    *array.data_type() == DataType::Int64 && array.null_count() == 0 && array.len() == rows
}

fn mismatch(data_type: &DataType) -> Error {
    Error::corrupt(format!(
        "the model of restored values does not give {data_type}"
    ))
}

/// `v · factor + base`, wrapping.
fn affine(v: i64, base: i64, factor: i64) -> i64 {
    v.wrapping_mul(factor).wrapping_add(base)
}

/// A native type that values can be restored to.
trait Native: ArrowPrimitiveType {
    /// Whether decimals give it, and not integers.
    const FLOAT: bool;
    fn from_integer(v: i64) -> Self::Native;
    fn from_double(v: f64) -> Self::Native;
    /// From the low bytes of a word.
    fn from_word(word: u64) -> Self::Native;
}

macro_rules! natives {
    ($($arrow:ident: $native:ty),*) => { $(impl Native for $arrow {
        const FLOAT: bool = false;
        fn from_integer(v: i64) -> $native {
            v as $native
        }
        fn from_double(v: f64) -> $native {
            v as $native
        }
        fn from_word(word: u64) -> $native {
            word as $native
        }
    })* };
}

natives!(
    Int8Type: i8, Int16Type: i16, Int32Type: i32, Int64Type: i64, UInt8Type: u8, UInt16Type: u16,
    UInt32Type: u32, UInt64Type: u64
);

macro_rules! floats {
    ($($arrow:ident: $native:ty, $bits:ty, $convert:expr);*) => { $(impl Native for $arrow {
        const FLOAT: bool = true;
        fn from_integer(v: i64) -> $native {
            $convert(v as f64)
        }
        fn from_double(v: f64) -> $native {
            $convert(v)
        }
        fn from_word(word: u64) -> $native {
            <$native>::from_bits(word as $bits)
        }
    })* };
}

floats!(
    Float16Type: f16, u16, f16::from_f64;
    Float32Type: f32, u32, |v| v as f32;
    Float64Type: f64, u64, |v| v
);

impl Prepared {
    pub fn parse(bytes: &Buffer) -> Result<Self> {
        Ok(Self::new(Restore::parse(bytes)?))
    }

    pub fn new(rule: Restore) -> Self {
        let (mut lengths, mut short) = (Vec::new(), Vec::new());
        let (mut starts, mut padded) = (Vec::new(), Vec::new());
        if let Form::Dictionary(values) = &rule.form {
            let entries = || {
                std::iter::once(&[][..])
                    .chain(rule.exceptions.iter())
                    .chain(values.iter())
            };
            if values.width().is_none() {
                lengths = entries().map(|v| v.len() as u32).collect();
            }
            if lengths.iter().all(|&l| l as usize <= SHORT) && !lengths.is_empty() {
                short = entries()
                    .map(|v| {
                        let mut padded = [0; SHORT];
                        padded[..v.len()].copy_from_slice(v);
                        padded
                    })
                    .collect();
            } else if !lengths.is_empty() {
                for entry in entries() {
                    starts.push(padded.len() as u32);
                    padded.extend_from_slice(entry);
                }
                padded.resize(padded.len() + SHORT, 0);
            }
        }
        Self {
            rule,
            lengths,
            short,
            starts,
            padded,
        }
    }

    /// Number of entries.
    pub fn entries(&self) -> usize {
        let values = match &self.rule.form {
            Form::Dictionary(values) => values.len(),
            _ => 0,
        };
        1 + self.rule.exceptions.len() + values
    }

    /// The integer that stands for an entry.
    pub fn code(&self, entry: usize) -> i64 {
        let exceptions = self.rule.exceptions.len();
        match entry > exceptions {
            true => (entry - exceptions - 1) as i64,
            false => NULL + entry as i64,
        }
    }

    /// The entry of each integer; fails if there is none.
    pub fn indices(&self, integers: &[i64]) -> Result<Vec<u32>> {
        let exceptions = self.rule.exceptions.len() as u64;
        let mut largest = 0;
        let index = integers
            .iter()
            .map(|&v| {
                // Codes below zero count up from null; those beyond the exceptions are no entries.
                let low = (v as u64) ^ (NULL as u64);
                let low = if low > exceptions { u64::MAX } else { low };
                let high = (v as u64).saturating_add(exceptions + 1);
                let entry = if v < 0 { low } else { high };
                largest = largest.max(entry);
                entry as u32
            })
            .collect();
        match largest < self.entries() as u64 || integers.is_empty() {
            true => Ok(index),
            false => Err(Error::corrupt(
                "an integer without a value in its dictionary",
            )),
        }
    }

    /// Entry `i`.
    fn entry(&self, i: usize) -> &[u8] {
        let exceptions = &self.rule.exceptions;
        match (&self.rule.form, i.checked_sub(exceptions.len() + 1)) {
            (Form::Dictionary(values), Some(i)) => values.get(i),
            _ if i == 0 => &[],
            _ => exceptions.get(i - 1),
        }
    }

    /// Whether any integer is null or an exception.
    fn any_entry(&self, integers: &[i64]) -> bool {
        let last = NULL + self.rule.exceptions.len() as i64;
        integers.iter().fold(false, |any, &v| any | (v <= last))
    }

    /// The number of the exception (from one) or null (zero) that an integer stands for.
    fn exception(&self, integer: i64) -> Option<usize> {
        let e = (integer as u64) ^ (NULL as u64);
        (e <= self.rule.exceptions.len() as u64).then_some(e as usize)
    }

    /// The array of the rows whose integers these are.
    pub fn restore(
        &self,
        parents: &[ArrayRef],
        rows: usize,
        data_type: &DataType,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        let columns: Vec<&[i64]> = parents.iter().map(integers).collect::<Result<_>>()?;
        if columns.is_empty() || columns.iter().any(|p| p.len() != rows) {
            return Err(Error::corrupt(
                "parents of restored values differ in length",
            ));
        }
        let first = columns[0];
        let patched = self.any_entry(first);
        let identity = matches!(self.rule.form, Form::Integer { base: 0, factor: 1 });
        if identity && !patched && *data_type == DataType::Int64 {
            return Ok(Arc::clone(&parents[0]));
        }
        let nulls = match patched && first.contains(&NULL) {
            true => {
                context.reserve_rows(rows.div_ceil(8), 1)?;
                let valid = BooleanBuffer::collect_bool(rows, |i| first[i] != NULL);
                Some(NullBuffer::new(valid))
            }
            false => None,
        };
        macro_rules! native {
            ($($logical:ident: $arrow:ty),*) => { match data_type {
                $(DataType::$logical => self.words::<$arrow>(first, patched, nulls, context),)*
                DataType::Boolean => self.booleans(first, nulls, context),
                DataType::FixedSizeBinary(_) => self.fixed(first, data_type, nulls, context),
                DataType::Binary => self.binary(&columns, nulls, context),
                other => Err(mismatch(other)),
            }};
        }
        native!(
            Int8: Int8Type, Int16: Int16Type, Int32: Int32Type, Int64: Int64Type, UInt8: UInt8Type,
            UInt16: UInt16Type, UInt32: UInt32Type, UInt64: UInt64Type, Float16: Float16Type,
            Float32: Float32Type, Float64: Float64Type
        )
    }

    fn words<T: Native>(
        &self,
        first: &[i64],
        patched: bool,
        nulls: Option<NullBuffer>,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        let width = size_of::<T::Native>();
        self.check_width(width, &T::DATA_TYPE)?;
        context.reserve_rows(first.len(), width)?;
        let mut values: Vec<T::Native> = match &self.rule.form {
            Form::Integer { base, factor } if !T::FLOAT => {
                let value = |&v: &i64| T::from_integer(affine(v, *base, *factor));
                first.iter().map(value).collect()
            }
            Form::Decimal { digits } if T::FLOAT => {
                let power = power(*digits);
                let value = |&v: &i64| T::from_double(v as f64 / power);
                first.iter().map(value).collect()
            }
            Form::Dictionary(list) => {
                list.charge(context, width)?;
                context.reserve_rows(first.len(), 4)?;
                let exceptions = &self.rule.exceptions;
                let words = (0..exceptions.len()).map(|i| exceptions.word(i));
                let words = words.chain((0..list.len()).map(|i| list.word(i)));
                let table: Vec<T::Native> =
                    std::iter::once(0).chain(words).map(T::from_word).collect();
                let index = self.indices(first)?;
                index.into_iter().map(|i| table[i as usize]).collect()
            }
            _ => return Err(mismatch(&T::DATA_TYPE)),
        };
        if patched && !matches!(self.rule.form, Form::Dictionary(_)) {
            for (value, &v) in values.iter_mut().zip(first) {
                match self.exception(v) {
                    None => {}
                    Some(0) => *value = T::from_word(0),
                    Some(e) => *value = T::from_word(self.rule.exceptions.word(e - 1)),
                }
            }
        }
        let values = ScalarBuffer::from(values);
        Ok(Arc::new(PrimitiveArray::<T>::try_new(values, nulls)?))
    }

    /// Fails unless the values that the model lists have this width.
    fn check_width(&self, width: usize, data_type: &DataType) -> Result<()> {
        let fits = |values: &Values| values.is_empty() || values.width() == Some(width);
        let listed = match &self.rule.form {
            Form::Dictionary(values) => fits(values),
            _ => true,
        };
        match listed && fits(&self.rule.exceptions) {
            true => Ok(()),
            false => Err(mismatch(data_type)),
        }
    }

    fn booleans(
        &self,
        first: &[i64],
        nulls: Option<NullBuffer>,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        let Form::Integer { base, factor } = self.rule.form else {
            return Err(mismatch(&DataType::Boolean));
        };
        context.reserve_rows(first.len().div_ceil(8), 1)?;
        let value = |i: usize| first[i] != NULL && affine(first[i], base, factor) != 0;
        let bits = BooleanBuffer::collect_bool(first.len(), value);
        Ok(Arc::new(BooleanArray::new(bits, nulls)))
    }

    fn fixed(
        &self,
        first: &[i64],
        data_type: &DataType,
        nulls: Option<NullBuffer>,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        let DataType::FixedSizeBinary(size) = *data_type else {
            return Err(mismatch(data_type));
        };
        let width = usize::try_from(size).map_err(|_| mismatch(data_type))?;
        if width == 0 {
            return Err(mismatch(data_type));
        }
        self.check_width(width, data_type)?;
        context.reserve_rows(first.len(), width)?;
        let mut bytes = vec![0; first.len() * width];
        match width {
            // Decimals.
            16 => {
                let rows = bytes.as_chunks_mut::<16>().0.iter_mut();
                let rows = rows.map(|row| row.as_mut_slice());
                self.fixed_rows(first, rows, data_type, context)?;
            }
            _ => {
                let rows = bytes.chunks_exact_mut(width);
                self.fixed_rows(first, rows, data_type, context)?;
            }
        }
        Ok(Arc::new(FixedSizeBinaryArray::try_new_with_len(
            size,
            Buffer::from_vec(bytes),
            nulls,
            first.len(),
        )?))
    }

    /// Writes values of one width; inlined, so that a width known at compile time stays known.
    #[inline(always)]
    fn fixed_rows<'b>(
        &self,
        first: &[i64],
        rows: impl Iterator<Item = &'b mut [u8]>,
        data_type: &DataType,
        context: &DecodeContext<'_>,
    ) -> Result<()> {
        let rows = rows.zip(first);
        match &self.rule.form {
            Form::Integer { base, factor } if self.any_entry(first) => {
                for (row, &v) in rows {
                    match self.exception(v) {
                        Some(0) => {}
                        Some(e) => row.copy_from_slice(self.rule.exceptions.get(e - 1)),
                        None => extend_sign(affine(v, *base, *factor), row),
                    }
                }
            }
            Form::Integer { base, factor } => {
                rows.for_each(|(row, &v)| extend_sign(affine(v, *base, *factor), row));
            }
            Form::Dictionary(_) => {
                context.reserve_rows(first.len(), 4)?;
                for ((row, _), i) in rows.zip(self.indices(first)?) {
                    if i > 0 {
                        row.copy_from_slice(self.entry(i as usize));
                    }
                }
            }
            _ => return Err(mismatch(data_type)),
        }
        Ok(())
    }

    fn binary(
        &self,
        columns: &[&[i64]],
        nulls: Option<NullBuffer>,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        if self.rule.exceptions.width().is_some() && !self.rule.exceptions.is_empty() {
            return Err(mismatch(&DataType::Binary));
        }
        let (offsets, bytes) = match &self.rule.form {
            Form::Dictionary(values) if values.width().is_none() => {
                self.gather(columns[0], context)?
            }
            Form::Text(parts) => self.write(parts, columns, context)?,
            _ => return Err(mismatch(&DataType::Binary)),
        };
        let offsets = OffsetBuffer::new(offsets.into());
        let bytes = Buffer::from_vec(bytes);
        Ok(Arc::new(BinaryArray::try_new(offsets, bytes, nulls)?))
    }

    /// Copies the entries of a dictionary of text: lengths first, then bytes.
    fn gather(&self, first: &[i64], context: &DecodeContext<'_>) -> Result<(Vec<i32>, Vec<u8>)> {
        context.reserve_rows(first.len() + 1, 8)?;
        let index = self.indices(first)?;
        let mut offsets = Vec::with_capacity(index.len() + 1);
        let mut total = 0u64;
        offsets.push(0);
        for &i in &index {
            total += u64::from(self.lengths[i as usize]);
            offsets.push(total as i32);
        }
        let total = check_total(total)?;
        context.reserve((total + SHORT) as u64)?;
        // Whole pieces are copied, and what is too much is written over by the next entry.
        let mut bytes = vec![0; total + SHORT];
        let places = index.iter().zip(&offsets);
        if self.padded.is_empty() {
            for (&i, &at) in places {
                let to = &mut bytes[at as usize..][..SHORT];
                to.copy_from_slice(&self.short[i as usize]);
            }
        } else {
            for (&i, &at) in places {
                let from = self.starts[i as usize] as usize;
                let length = self.lengths[i as usize] as usize;
                for piece in (0..length).step_by(SHORT) {
                    let to = &mut bytes[at as usize + piece..][..SHORT];
                    to.copy_from_slice(&self.padded[from + piece..][..SHORT]);
                }
            }
        }
        bytes.truncate(total);
        Ok((offsets, bytes))
    }

    /// Writes text part by part.
    fn write(
        &self,
        parts: &[Part],
        columns: &[&[i64]],
        context: &DecodeContext<'_>,
    ) -> Result<(Vec<i32>, Vec<u8>)> {
        let rows = columns[0].len();
        context.reserve_rows(rows + 1, 4)?;
        let mut offsets = Vec::with_capacity(rows + 1);
        let mut bytes = Vec::new();
        let mut charged = 0;
        offsets.push(0);
        for row in 0..rows {
            match self.exception(columns[0][row]) {
                Some(0) => {}
                Some(e) => bytes.extend_from_slice(self.rule.exceptions.get(e - 1)),
                None => parts::write(parts, columns.iter().map(|c| c[row]), &mut bytes)
                    .ok_or_else(|| Error::corrupt("an integer without a text"))?,
            }
            offsets.push(bytes.len() as i32);
            if bytes.len() - charged >= CHARGE || row + 1 == rows {
                check_total(bytes.len() as u64)?;
                context.reserve((bytes.len() - charged) as u64)?;
                charged = bytes.len();
            }
        }
        Ok((offsets, bytes))
    }
}

/// Offsets have 32 bits.
fn check_total(total: u64) -> Result<usize> {
    match i32::try_from(total) {
        Ok(total) => Ok(total as usize),
        Err(_) => Err(Error::corrupt("more than 2 GiB of restored text")),
    }
}

/// Little-endian two's complement of any width.
#[inline(always)]
fn extend_sign(v: i64, to: &mut [u8]) {
    let fill = if v < 0 { 0xff } else { 0 };
    match to.split_first_chunk_mut::<8>() {
        Some((low, high)) => {
            *low = v.to_le_bytes();
            high.fill(fill);
        }
        None => to.copy_from_slice(&v.to_le_bytes()[..to.len()]),
    }
}
