//! What the planner knows about an array before it tries anything.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;

use super::distinct::Distinct;
use super::words::{self, Word, for_word};

/// Most distinct values that are counted.
pub const DISTINCT_CAP: usize = 1 << 16;

/// Statistics of a physical leaf array without nulls.
#[derive(Debug, Clone, Default)]
pub struct Statistics {
    /// Number of rows.
    pub rows: usize,
    /// Bytes of the values in Arrow's layout (offsets included).
    pub bytes: u64,
    /// Number of maximal runs of equal values.
    pub runs: usize,
    /// Number of distinct values, if it is at most [`DISTINCT_CAP`].
    pub distinct: Option<usize>,
    /// Rows that hold the most frequent value (0 if distinct values were not counted).
    pub top_count: usize,
    /// Smallest value, for integers.
    pub min: Option<i128>,
    /// Largest value, for integers.
    pub max: Option<i128>,
    /// True if integers never fall.
    pub sorted: bool,
}

impl Statistics {
    /// Statistics of an array; nested arrays get only their length.
    pub fn of(array: &ArrayRef) -> Self {
        let mut s = Statistics {
            rows: array.len(),
            ..Self::default()
        };
        match array.data_type() {
            DataType::Boolean => {
                let values = array.as_boolean();
                s.bytes = array.len().div_ceil(8) as u64;
                s.runs = runs(s.rows, |i| values.value(i));
            }
            DataType::Binary => {
                let values = array.as_binary::<i32>();
                let offsets = values.value_offsets();
                let payload = offsets[offsets.len() - 1] - offsets[0];
                s.bytes = payload as u64 + 4 * values.len() as u64;
                s.runs = runs(s.rows, |i| values.value(i));
            }
            DataType::FixedSizeBinary(width) => {
                let values = array.as_fixed_size_binary();
                s.bytes = *width as u64 * values.len() as u64;
                s.runs = runs(s.rows, |i| values.value(i));
            }
            other => for_word!(other, W => {
                let values = words::of::<W>(array);
                s.bytes = (s.rows * size_of::<W>()) as u64;
                s.runs = runs(s.rows, |i| values[i]);
                if words::is_integer(other) {
                    s.integers(&values, other);
                }
            }, else return s),
        }
        if let Some(found) = Distinct::of(array, DISTINCT_CAP) {
            s.distinct = Some(found.len());
            s.top_count = found.counts().into_iter().max().unwrap_or(0);
        }
        s
    }

    fn integers<W: Word>(&mut self, values: &[W], data_type: &DataType) {
        let flip = words::flip::<W>(data_type);
        let number = |place: W| i128::from(place.widen()) - i128::from(flip.widen());
        let (mut low, mut high) = (W::narrow(u64::MAX), W::narrow(0));
        for &value in values {
            low = low.min(value ^ flip);
            high = high.max(value ^ flip);
        }
        if !values.is_empty() {
            self.min = Some(number(low));
            self.max = Some(number(high));
        }
        self.sorted = values.windows(2).all(|w| w[0] ^ flip <= w[1] ^ flip);
    }
}

fn runs<T: PartialEq>(rows: usize, value: impl Fn(usize) -> T) -> usize {
    match rows {
        0 => 0,
        _ => 1 + (1..rows).filter(|&i| value(i) != value(i - 1)).count(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{BinaryArray, Int32Array, UInt64Array};
    use std::sync::Arc;

    #[test]
    fn integers_know_their_range() {
        let array: ArrayRef = Arc::new(Int32Array::from(vec![5, 5, -9, i32::MAX, 5]));
        let s = Statistics::of(&array);
        assert_eq!((s.min, s.max), (Some(-9), Some(i128::from(i32::MAX))));
        assert_eq!((s.runs, s.distinct, s.top_count), (4, Some(3), 3));
        assert!(!s.sorted);
        let array: ArrayRef = Arc::new(UInt64Array::from(vec![1, 1, u64::MAX]));
        let s = Statistics::of(&array);
        assert_eq!((s.max, s.sorted), (Some(i128::from(u64::MAX)), true));
    }

    #[test]
    fn text_counts_its_bytes() {
        let array: ArrayRef = Arc::new(BinaryArray::from(vec![&b"abc"[..], b"abc", b""]));
        let s = Statistics::of(&array.slice(1, 2));
        assert_eq!((s.rows, s.bytes, s.runs, s.distinct), (2, 11, 2, Some(2)));
        assert_eq!(s.min, None);
    }
}
