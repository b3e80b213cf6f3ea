//! Vectors as rows: what the encodings of this family are handed and what they give back.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{Buffer, NullBuffer};
use arrow::datatypes::{DataType, Float32Type};

use crate::encoding::distance::Query;
use crate::encoding::{DecodeContext, Node, NodeBuffer, Reads, Rows, Selection};
use crate::error::{Error, Result};

/// Widest vector that is taken, in values.
const MAX_DIMENSIONS: usize = 1 << 16;

/// True for fixed-size lists of 32-bit floats of a size that the family takes.
pub fn is_vector(data_type: &DataType) -> bool {
    match data_type {
        DataType::FixedSizeList(field, size) => {
            *field.data_type() == DataType::Float32 && (1..=MAX_DIMENSIONS as i32).contains(size)
        }
        _ => false,
    }
}

/// The values of an array of vectors, row by row, and their dimension; `None` for other arrays, and for
/// vectors or elements that are null.
pub fn numbers(array: &ArrayRef) -> Option<(Float32Array, usize)> {
    if !is_vector(array.data_type()) {
        return None;
    }
    let list = array.as_fixed_size_list();
    let size = list.value_length() as usize;
    let values = list.values().slice(list.offset() * size, list.len() * size);
    let values = values.as_primitive_opt::<Float32Type>()?.clone();
    (list.null_count() == 0 && values.null_count() == 0).then_some((values, size))
}

/// The same; also `None` for values that are not finite, which no code holds.
pub fn finite(array: &ArrayRef) -> Option<(Float32Array, usize)> {
    let found = numbers(array)?;
    found
        .0
        .values()
        .iter()
        .all(|v| v.is_finite())
        .then_some(found)
}

/// The mean of each coordinate of vectors, row by row; of those that are valid, if some are not.
pub fn mean(values: &[f32], dimension: usize, valid: Option<&NullBuffer>) -> Vec<f32> {
    let (mut sums, mut rows) = (vec![0f64; dimension], 0u64);
    for (i, row) in values.chunks_exact(dimension).enumerate() {
        if valid.is_some_and(|valid| valid.is_null(i)) {
            continue;
        }
        rows += 1;
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += f64::from(*value);
        }
    }
    let rows = rows.max(1) as f64;
    sums.into_iter().map(|s| (s / rows) as f32).collect()
}

/// The nearest finite number: rounding may go beyond the largest, where what was given was none of it.
#[inline(always)]
pub fn within_range(value: f32) -> f32 {
    value.clamp(f32::MIN, f32::MAX)
}

/// Rows of a fixed number of bytes that start at a computable place.
#[derive(Debug, Clone, Copy)]
pub struct Stride {
    /// Bytes of a row.
    pub bytes: usize,
}

impl Stride {
    /// The bytes of row `row` between `inside`, which the selection must have had read.
    pub fn part(self, buffer: &NodeBuffer, row: usize, inside: Range<usize>) -> Result<Buffer> {
        let start = (row as u64)
            .checked_mul(self.bytes as u64)
            .ok_or_else(|| Error::corrupt("a row lies beyond any buffer"))?;
        buffer.slice(start + inside.start as u64..start + inside.end as u64)
    }

    /// Fails unless a buffer holds exactly `rows` rows.
    pub fn check(self, buffer: &NodeBuffer, rows: usize) -> Result<()> {
        match (rows as u64).checked_mul(self.bytes as u64) == Some(buffer.len()) {
            true => Ok(()),
            false => Err(Error::corrupt(format!(
                "{} bytes of codes for {rows} rows of {} bytes",
                buffer.len(),
                self.bytes
            ))),
        }
    }

    /// Byte ranges of buffer `index` that hold `inside` of each selected row; one range for
    /// neighbours.
    pub fn reads(
        self,
        index: usize,
        rows: usize,
        selection: &Selection,
        inside: Range<usize>,
    ) -> Vec<(usize, Range<u64>)> {
        let at = |row: usize, byte: usize| (row * self.bytes + byte) as u64;
        if inside.is_empty() {
            return Vec::new();
        }
        match &selection.rows {
            Rows::All | Rows::Range(_) => match selection.bounds(rows) {
                r if r.is_empty() => Vec::new(),
                r => vec![(index, at(r.start, inside.start)..at(r.end - 1, inside.end))],
            },
            _ => selection
                .iter(rows)
                .map(|r| (index, at(r, inside.start)..at(r, inside.end)))
                .collect(),
        }
    }
}

/// Rows of a buffer: bytes, and which of the rows in them if not all.
#[derive(Debug)]
pub struct Located {
    /// The bytes of rows one after the other.
    pub bytes: Buffer,
    /// The places of the selected rows among them.
    pub rows: Option<Vec<u32>>,
}

impl Stride {
    /// Where the selected rows are; copies them only if what was read lies in several pieces.
    pub fn located(
        self,
        buffer: &NodeBuffer,
        rows: usize,
        selection: &Selection,
        context: &DecodeContext<'_>,
    ) -> Result<Located> {
        let bounds = selection.bounds(rows);
        let whole =
            buffer.slice((bounds.start * self.bytes) as u64..(bounds.end * self.bytes) as u64);
        let (Ok(bytes), false) = (whole, bounds.is_empty()) else {
            return Ok(Located {
                bytes: self.gathered(buffer, rows, selection, context)?,
                rows: None,
            });
        };
        let places = match &selection.rows {
            Rows::All | Rows::Range(_) => None,
            _ => {
                context.reserve_rows(selection.count(rows), size_of::<u32>())?;
                let place = |row: usize| (row - bounds.start) as u32;
                Some(selection.iter(rows).map(place).collect())
            }
        };
        Ok(Located {
            bytes,
            rows: places,
        })
    }

    /// The selected rows one after the other.
    pub fn gathered(
        self,
        buffer: &NodeBuffer,
        rows: usize,
        selection: &Selection,
        context: &DecodeContext<'_>,
    ) -> Result<Buffer> {
        if let Rows::All | Rows::Range(_) = &selection.rows {
            let bounds = selection.bounds(rows);
            return buffer
                .slice((bounds.start * self.bytes) as u64..(bounds.end * self.bytes) as u64);
        }
        let count = selection.count(rows);
        context.reserve_rows(count, self.bytes)?;
        let mut out = Vec::with_capacity(count * self.bytes);
        let bounds = selection.bounds(rows);
        let place = |row: usize| (row * self.bytes) as u64;
        match buffer.slice(place(bounds.start)..place(bounds.end)) {
            Ok(bytes) => {
                let places = selection.iter(rows).map(|row| row - bounds.start);
                match self.bytes {
                    // Known sizes are copied without a call.
                    2 => gather::<2>(&bytes, places, &mut out),
                    4 => gather::<4>(&bytes, places, &mut out),
                    size => {
                        for start in places.map(|place| place * size) {
                            out.extend_from_slice(&bytes[start..start + size]);
                        }
                    }
                }
            }
            Err(_) => {
                for row in selection.iter(rows) {
                    out.extend_from_slice(&self.part(buffer, row, 0..self.bytes)?);
                }
            }
        }
        Ok(Buffer::from_vec(out))
    }
}

fn gather<const N: usize>(bytes: &[u8], places: impl Iterator<Item = usize>, out: &mut Vec<u8>) {
    let (rows, _) = bytes.as_chunks::<N>();
    for place in places {
        out.extend_from_slice(&rows[place]);
    }
}

/// Floats as they lie in memory.
pub fn singles(bytes: &[u8]) -> Vec<f32> {
    let (words, _) = bytes.as_chunks::<4>();
    words.iter().map(|w| f32::from_le_bytes(*w)).collect()
}

/// Fails unless distances from a query make sense for such rows.
pub fn check_query(query: &Query, dimension: usize, selection: &Selection) -> Result<()> {
    match query.values().len() == dimension && selection.elements.is_none() {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "the query has {} values, the vectors have {dimension}",
            query.values().len()
        ))),
    }
}

/// The elements that a selection asks for, checked against the stored and the asked dimension.
pub fn elements(
    selection: &Selection,
    stored: usize,
    data_type: &DataType,
) -> Result<Range<usize>> {
    let DataType::FixedSizeList(field, asked) = data_type else {
        return Err(Error::corrupt(format!("vectors typed {data_type}")));
    };
    let elements = selection.elements.clone().unwrap_or(0..stored);
    let sound = elements.start <= elements.end
        && elements.end <= stored
        && usize::try_from(*asked) == Ok(elements.len())
        && *field.data_type() == DataType::Float32;
    match sound {
        true => Ok(elements),
        false => Err(Error::corrupt(format!(
            "elements {}..{} of vectors of {stored} wanted as {data_type}",
            elements.start, elements.end
        ))),
    }
}

/// Decodes the selected rows with `row`, which appends the asked elements of one row.
pub fn decode(
    node: &Node,
    data_type: &DataType,
    selection: &Selection,
    elements: &Range<usize>,
    context: &DecodeContext<'_>,
    mut row: impl FnMut(usize, &mut Vec<f32>) -> Result<()>,
) -> Result<ArrayRef> {
    let DataType::FixedSizeList(field, size) = data_type else {
        return Err(Error::corrupt(format!("vectors typed {data_type}")));
    };
    let count = selection.count(node.rows);
    let values = count
        .checked_mul(elements.len())
        .ok_or_else(|| Error::corrupt("more values than memory has bytes"))?;
    context.reserve_rows(values, size_of::<f32>())?;
    let mut out = Vec::with_capacity(values);
    for i in selection.iter(node.rows) {
        row(i, &mut out)?;
    }
    let values: ArrayRef = Arc::new(Float32Array::from(out));
    Ok(Arc::new(FixedSizeListArray::try_new_with_length(
        Arc::clone(field),
        *size,
        values,
        None,
        count,
    )?))
}

/// Which bytes of a node with such buffers are read; all of them if the selection does not fit.
pub fn parts(node: &Node, buffers: Vec<(usize, Range<u64>)>) -> Reads {
    let sound = buffers
        .iter()
        .all(|(i, r)| node.buffers.get(*i).is_some_and(|b| r.end <= b.len()));
    match sound {
        true => Reads::Parts {
            buffers,
            children: Vec::new(),
        },
        false => Reads::All,
    }
}
