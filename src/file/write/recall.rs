//! What codes cost a search: recall of the nearest rows, on a sample of a column.
//!
//! Rows of the sample are looked for among the others, by the vectors as they were given and by those
//! that are stored; recall is the part of the nearest ten that both find. A sample's neighbours are
//! farther apart than those of all rows, so that recall there is somewhat better than on the column.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float32Type};

use crate::encoding::distance::{Metric, Nearest};
use crate::encoding::random;

/// Nearest rows that are compared.
const NEAREST: usize = 10;
/// Most rows of a sample, and
const ROWS: usize = 2048;
/// most of their values: the search takes some hundredths of a second.
const VALUES: usize = 1 << 20;
/// Fewest rows that say something.
const FEWEST: usize = 100;
/// Rows that are looked for.
const QUERIES: usize = 64;

/// Recall that was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Recall {
    /// Part of the nearest ten rows that the codes find.
    pub at_ten: f64,
    /// Rows that were searched.
    pub rows: usize,
    /// Rows that were looked for.
    pub queries: usize,
}

/// A sample of a column's vectors, as given and as stored: every row has the same chance.
#[derive(Debug, Default)]
pub(super) struct RecallSample {
    dimension: usize,
    seen: u64,
    seed: u64,
    given: Vec<f32>,
    stored: Vec<f32>,
}

/// Whether recall of a column of this type means something.
pub(super) fn is_measured(data_type: &DataType) -> bool {
    match data_type {
        DataType::FixedSizeList(item, size) => *item.data_type() == DataType::Float32 && *size > 0,
        _ => false,
    }
}

impl RecallSample {
    /// Rows of a chunk.
    pub fn add(&mut self, given: &ArrayRef, stored: &ArrayRef) {
        let lists = given
            .as_fixed_size_list_opt()
            .zip(stored.as_fixed_size_list_opt());
        let Some((given, stored)) = lists else { return };
        let values = given.values().as_primitive_opt::<Float32Type>();
        let values = values.zip(stored.values().as_primitive_opt::<Float32Type>());
        let Some((values, stored_values)) = values else {
            return;
        };
        let size = given.value_length().max(1) as usize;
        self.dimension = size;
        let most = ROWS.min(VALUES / size);
        for row in (0..given.len()).filter(|row| given.is_valid(*row)) {
            let vector = &values.values()[given.value_offset(row) as usize..][..size];
            if !vector.iter().all(|v| v.is_finite()) {
                continue;
            }
            let back = &stored_values.values()[stored.value_offset(row) as usize..][..size];
            self.seen += 1;
            if self.given.len() < most * size {
                self.given.extend_from_slice(vector);
                self.stored.extend_from_slice(back);
                continue;
            }
            let place = (random::next(&mut self.seed) % self.seen) as usize;
            if place < most {
                let place = place * size..(place + 1) * size;
                self.given[place.clone()].copy_from_slice(vector);
                self.stored[place].copy_from_slice(back);
            }
        }
    }

    /// Recall on the sample; `None` if there are too few rows.
    pub fn measure(&self) -> Option<Recall> {
        let rows = self.given.len() / self.dimension.max(1);
        if rows < FEWEST {
            return None;
        }
        let queries = QUERIES.min(rows);
        let hits = (0..queries)
            .map(|i| self.hits(i * rows / queries))
            .sum::<usize>();
        Some(Recall {
            at_ten: hits as f64 / (NEAREST * queries) as f64,
            rows,
            queries,
        })
    }

    /// How many of the rows nearest to a row, itself left out, the stored vectors find.
    fn hits(&self, query: usize) -> usize {
        let size = self.dimension;
        let vector = &self.given[query * size..(query + 1) * size];
        let distance = |values: &[f32], row: usize| {
            // One order of sums, whatever the processor: the answer is stored.
            Metric::L2.distance(&values[row * size..(row + 1) * size], vector)
        };
        let (mut truth, mut found) = (Nearest::new(NEAREST), Nearest::new(NEAREST));
        for row in (0..self.given.len() / size).filter(|row| *row != query) {
            truth.offer(row as u64, distance(&self.given, row));
            found.offer(row as u64, distance(&self.stored, row));
        }
        // Rows that tie with the last of them are as good.
        let limit = truth.limit();
        let near = found.into_sorted().into_iter();
        near.filter(|n| distance(&self.given, n.row as usize) <= limit)
            .count()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{FixedSizeListArray, Float32Array};
    use arrow::datatypes::Field;

    use super::*;

    fn vectors(rows: usize, value: impl Fn(usize) -> f32) -> ArrayRef {
        let values: Float32Array = (0..rows * 2).map(|i| Some(value(i))).collect();
        let item = Arc::new(Field::new("item", DataType::Float32, false));
        Arc::new(FixedSizeListArray::new(item, 2, Arc::new(values), None))
    }

    fn mixed(i: usize) -> f32 {
        let x = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (x >> 40) as f32 / (1 << 24) as f32
    }

    #[test]
    fn recall_is_one_of_exact_vectors_and_falls_with_the_error() {
        let given = vectors(5_000, mixed);
        let recall = |step: f32| {
            let mut sample = RecallSample::default();
            let stored = vectors(5_000, |i| (mixed(i) / step).round() * step);
            for start in (0..5_000).step_by(1_000) {
                sample.add(&given.slice(start, 1_000), &stored.slice(start, 1_000));
            }
            let found = sample.measure().unwrap();
            assert_eq!((found.rows, found.queries), (ROWS, QUERIES));
            found.at_ten
        };
        let (fine, middle, coarse) = (recall(1e-6), recall(0.01), recall(0.2));
        assert!(
            fine > 0.99 && fine > middle && middle > coarse,
            "{fine} {middle} {coarse}"
        );
        assert!(middle > 0.5 && coarse < 0.5, "{middle} {coarse}");
    }

    #[test]
    fn rows_that_tie_are_as_good_and_few_rows_say_nothing() {
        let same = vectors(200, |_| 1.0);
        let mut sample = RecallSample::default();
        sample.add(&same, &same);
        assert_eq!(sample.measure().unwrap().at_ten, 1.0);
        let mut sample = RecallSample::default();
        sample.add(&same.slice(0, 50), &same.slice(0, 50));
        assert_eq!(sample.measure(), None);
    }
}
