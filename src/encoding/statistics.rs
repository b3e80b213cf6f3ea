//! What the planner knows about an array before it tries anything.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::*;
use std::collections::HashMap;
use twox_hash::XxHash3_64;

/// Most distinct values that are counted.
pub const DISTINCT_CAP: usize = 1 << 16;

/// Statistics of a physical leaf array without nulls, computed in one pass.
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
        macro_rules! arrow_type {
            (Int8) => {
                Int8Type
            };
            (Int16) => {
                Int16Type
            };
            (Int32) => {
                Int32Type
            };
            (Int64) => {
                Int64Type
            };
            (UInt8) => {
                UInt8Type
            };
            (UInt16) => {
                UInt16Type
            };
            (UInt32) => {
                UInt32Type
            };
            (UInt64) => {
                UInt64Type
            };
        }
        macro_rules! ints {
            ($($t:ident),*) => { match array.data_type() {
                $(DataType::$t => {
                    let values = array.as_primitive::<arrow_type!($t)>().values();
                    s.bytes = std::mem::size_of_val(&values[..]) as u64;
                    let (mut min, mut max, mut sorted) = (i128::MAX, i128::MIN, true);
                    let mut last = i128::MIN;
                    for &v in values.iter() {
                        let v = v as i128;
                        min = min.min(v);
                        max = max.max(v);
                        sorted &= last <= v;
                        last = v;
                    }
                    if !values.is_empty() {
                        s.min = Some(min);
                        s.max = Some(max);
                    }
                    s.sorted = sorted;
                    s.count(values.iter().map(|&v| v as u64));
                })*
                _ => s.others(array),
            }};
        }
        ints!(Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64);
        s
    }

    fn others(&mut self, array: &ArrayRef) {
        match array.data_type() {
            DataType::Boolean => {
                let values = array.as_boolean();
                self.bytes = array.len().div_ceil(8) as u64;
                self.count(values.values().iter().map(u64::from));
            }
            DataType::Float16 => {
                let values = array.as_primitive::<Float16Type>().values();
                self.bytes = 2 * values.len() as u64;
                self.count(values.iter().map(|v| u64::from(v.to_bits())));
            }
            DataType::Float32 => {
                let values = array.as_primitive::<Float32Type>().values();
                self.bytes = 4 * values.len() as u64;
                self.count(values.iter().map(|v| u64::from(v.to_bits())));
            }
            DataType::Float64 => {
                let values = array.as_primitive::<Float64Type>().values();
                self.bytes = 8 * values.len() as u64;
                self.count(values.iter().map(|v| v.to_bits()));
            }
            DataType::Binary => {
                let values = array.as_binary::<i32>();
                let offsets = values.value_offsets();
                let payload = offsets[offsets.len() - 1] - offsets[0];
                self.bytes = payload as u64 + 4 * values.len() as u64;
                // Two values with one hash would only make an estimate slightly wrong.
                self.count((0..values.len()).map(|i| XxHash3_64::oneshot(values.value(i))));
            }
            DataType::FixedSizeBinary(width) => {
                let values = array.as_fixed_size_binary();
                self.bytes = *width as u64 * values.len() as u64;
                self.count((0..values.len()).map(|i| XxHash3_64::oneshot(values.value(i))));
            }
            _ => {}
        }
    }

    /// Counts runs and distinct values of keys that are equal where the values are.
    fn count(&mut self, keys: impl Iterator<Item = u64>) {
        let mut seen: HashMap<u64, usize> = HashMap::new();
        let (mut last, mut run, mut counting) = (None, 0usize, true);
        let mut runs = 0;
        let mut close = |key: u64, run: usize, counting: &mut bool| {
            if *counting {
                *seen.entry(key).or_default() += run;
                *counting = seen.len() <= DISTINCT_CAP;
            }
        };
        for key in keys {
            if last == Some(key) {
                run += 1;
                continue;
            }
            if let Some(last) = last {
                close(last, run, &mut counting);
            }
            runs += 1;
            run = 1;
            last = Some(key);
        }
        if let Some(last) = last {
            close(last, run, &mut counting);
        }
        self.runs = runs;
        if counting {
            self.distinct = Some(seen.len());
            self.top_count = seen.values().copied().max().unwrap_or(0);
        }
    }
}
