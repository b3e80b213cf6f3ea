//! Which rows, and for fixed-size lists which elements of each row, a reader wants.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeListArray, UInt32Array, UInt64Array,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute;
use arrow::datatypes::DataType;

use crate::error::{Error, Result};

/// A set of rows of an array of known length, in ascending order.
#[derive(Debug, Clone)]
pub enum Rows {
    /// Every row.
    All,
    /// Consecutive rows.
    Range(Range<usize>),
    /// Row numbers, strictly ascending.
    Indices(Arc<[u32]>),
    /// One bit a row; as long as the array.
    Mask(BooleanBuffer),
}

/// Rows, and optionally a range of elements inside each row of a fixed-size list (some heads of a
/// KV row, some dimensions of a vector).
#[derive(Debug, Clone)]
pub struct Selection {
    /// The rows.
    pub rows: Rows,
    /// Elements of each row; `None` is all of them. Only fixed-size lists have this axis.
    pub elements: Option<Range<usize>>,
}

impl Selection {
    /// Everything.
    pub fn all() -> Self {
        Rows::All.into()
    }

    /// Consecutive rows.
    pub fn range(range: Range<usize>) -> Self {
        Rows::Range(range).into()
    }

    /// Rows by number; fails unless they ascend strictly.
    pub fn indices(indices: impl Into<Arc<[u32]>>) -> Result<Self> {
        let indices = indices.into();
        if indices.windows(2).any(|w| w[0] >= w[1]) {
            return Err(Error::invalid("row numbers of a selection must ascend"));
        }
        Ok(Rows::Indices(indices).into())
    }

    /// The rows whose bit is set.
    pub fn mask(mask: BooleanBuffer) -> Self {
        Rows::Mask(mask).into()
    }

    /// The same rows with only these elements of each.
    pub fn with_elements(self, elements: Range<usize>) -> Self {
        Self {
            elements: Some(elements),
            ..self
        }
    }

    /// True if all rows and all elements are wanted.
    pub fn is_all(&self) -> bool {
        matches!(self.rows, Rows::All) && self.elements.is_none()
    }

    /// Number of rows selected out of `len`.
    pub fn count(&self, len: usize) -> usize {
        match &self.rows {
            Rows::All => len,
            Rows::Range(r) => r.len(),
            Rows::Indices(i) => i.len(),
            Rows::Mask(m) => m.count_set_bits(),
        }
    }

    /// Fails if the selection does not fit an array of `len` rows.
    pub fn check(&self, len: usize) -> Result<()> {
        let fits = match &self.rows {
            Rows::All => true,
            Rows::Range(r) => r.start <= r.end && r.end <= len,
            Rows::Indices(i) => i.last().is_none_or(|&last| (last as usize) < len),
            Rows::Mask(m) => m.len() == len,
        };
        match fits {
            true => Ok(()),
            false => Err(Error::invalid(format!(
                "selection does not fit an array of {len} rows"
            ))),
        }
    }

    /// First and one past the last selected row; empty selections give `0..0`.
    pub fn bounds(&self, len: usize) -> Range<usize> {
        match &self.rows {
            Rows::All => 0..len,
            Rows::Range(r) => r.clone(),
            Rows::Indices(i) => match (i.first(), i.last()) {
                (Some(&a), Some(&b)) => a as usize..b as usize + 1,
                _ => 0..0,
            },
            Rows::Mask(m) => {
                let mut slices = m.set_slices();
                match slices.next() {
                    None => 0..0,
                    Some((a, b)) => a..slices.last().map_or(b, |(_, e)| e),
                }
            }
        }
    }

    /// The selected row numbers in order.
    pub fn iter(&self, len: usize) -> Box<dyn Iterator<Item = usize> + '_> {
        match &self.rows {
            Rows::All => Box::new(0..len),
            Rows::Range(r) => Box::new(r.clone()),
            Rows::Indices(i) => Box::new(i.iter().map(|&r| r as usize)),
            Rows::Mask(m) => Box::new(m.set_indices()),
        }
    }

    /// The same rows counted from the start of a window that holds all of them.
    pub fn within(&self, window: Range<usize>) -> Self {
        let rows = match &self.rows {
            Rows::All => Rows::Range(0..window.len()),
            Rows::Range(r) => {
                let start = r.start.saturating_sub(window.start);
                Rows::Range(start..start + r.len())
            }
            Rows::Indices(i) => Rows::Indices(i.iter().map(|r| r - window.start as u32).collect()),
            Rows::Mask(m) => Rows::Mask(m.slice(window.start, window.len())),
        };
        Self {
            rows,
            elements: self.elements.clone(),
        }
    }

    /// Which of some rows (ascending) are selected out of `len`: their numbers, and the place of
    /// each among the selected rows.
    pub fn overlap(&self, rows: &[u32], len: usize) -> Result<(Self, Vec<u32>)> {
        let ascending = rows.windows(2).all(|w| w[0] < w[1]);
        if !ascending || rows.last().is_some_and(|&r| r as usize >= len) {
            return Err(Error::corrupt(
                "rows of exceptions do not ascend in their array",
            ));
        }
        if matches!(self.rows, Rows::All) {
            return Ok((Self::all(), rows.to_vec()));
        }
        let bounds = self.bounds(len);
        let mut next = rows.partition_point(|&r| (r as usize) < bounds.start);
        let (mut numbers, mut places) = (Vec::new(), Vec::new());
        for (place, row) in self.iter(len).enumerate() {
            while rows.get(next).is_some_and(|&r| (r as usize) < row) {
                next += 1;
            }
            match rows.get(next) {
                Some(&r) if r as usize == row => {
                    numbers.push(next as u32);
                    places.push(place as u32);
                }
                Some(_) => {}
                None => break,
            }
        }
        Ok((Rows::Indices(numbers.into()).into(), places))
    }

    /// The selected rows and elements of an array that holds all of them.
    pub fn take_part(&self, array: &ArrayRef) -> Result<ArrayRef> {
        let rows = self.take(array)?;
        let (Some(wanted), DataType::FixedSizeList(field, size)) =
            (&self.elements, array.data_type())
        else {
            return Ok(rows);
        };
        let size = (*size).max(0) as usize;
        if wanted.start > wanted.end || wanted.end > size {
            return Err(Error::invalid(format!(
                "elements {wanted:?} of lists of {size}"
            )));
        }
        let list = rows.as_fixed_size_list();
        let first = list.value_offset(0) as usize;
        let indices = (0..list.len()).flat_map(|row| {
            let start = first + row * size;
            (start + wanted.start..start + wanted.end).map(|i| i as u64)
        });
        let indices = UInt64Array::from_iter_values(indices);
        Ok(Arc::new(FixedSizeListArray::try_new_with_length(
            Arc::clone(field),
            wanted.len() as i32,
            compute::take(list.values(), &indices, None)?,
            list.nulls().cloned(),
            list.len(),
        )?))
    }

    /// The selected rows of an array that holds all of them. Ignores the element axis, which the
    /// fixed-size list encodings apply.
    pub fn take(&self, array: &ArrayRef) -> Result<ArrayRef> {
        self.check(array.len())?;
        Ok(match &self.rows {
            Rows::All => Arc::clone(array),
            Rows::Range(r) => array.slice(r.start, r.len()),
            Rows::Indices(i) => {
                let indices = UInt32Array::from_iter_values(i.iter().copied());
                compute::take(array, &indices, None)?
            }
            Rows::Mask(m) => compute::filter(array, &BooleanArray::new(m.clone(), None))?,
        })
    }
}

impl From<Rows> for Selection {
    /// An empty range becomes `0..0`, wherever it was: so it lies inside any window of the rows.
    fn from(rows: Rows) -> Self {
        let rows = match rows {
            Rows::Range(range) if range.start == range.end => Rows::Range(0..0),
            other => other,
        };
        Self {
            rows,
            elements: None,
        }
    }
}
