//! The nearest rows so far.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::Distances;

/// A row and its distance from the query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbour {
    /// Number of the row.
    pub row: u64,
    /// Distance, in the metric that was asked for.
    pub distance: f32,
}

impl Eq for Neighbour {}

impl Ord for Neighbour {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_row = self.row.cmp(&other.row);
        self.distance.total_cmp(&other.distance).then(by_row)
    }
}

impl PartialOrd for Neighbour {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The nearest `k` of the rows that it was shown. Rows that tie are ordered by their number; rows whose
/// distance is no number are left out.
#[derive(Debug, Clone)]
pub struct Nearest {
    k: usize,
    /// The worst of them on top.
    found: BinaryHeap<Neighbour>,
}

impl Nearest {
    /// None so far.
    pub fn new(k: usize) -> Self {
        Self {
            k,
            found: BinaryHeap::new(),
        }
    }

    /// A row whose distance is more than this is not among them; minus infinity if none is wanted.
    pub fn limit(&self) -> f32 {
        match self.found.peek() {
            _ if self.k == 0 => f32::NEG_INFINITY,
            Some(worst) if self.found.len() == self.k => worst.distance,
            _ => f32::INFINITY,
        }
    }

    /// Shows it a row.
    pub fn offer(&mut self, row: u64, distance: f32) {
        let new = Neighbour { row, distance };
        if self.k == 0 || distance.is_nan() {
            return;
        }
        if self.found.len() < self.k {
            self.found.push(new);
        } else if let Some(mut worst) = self.found.peek_mut()
            && new < *worst
        {
            *worst = new;
        }
    }

    /// The rows, nearest first.
    pub fn into_sorted(self) -> Vec<Neighbour> {
        self.found.into_sorted_vec()
    }
}

impl Distances {
    /// The `k` rows whose upper bounds are least, in ascending order: where a good limit is found. Null
    /// rows, and rows of which nothing is known, are not among them.
    pub fn most_promising(&self, k: usize) -> Vec<u32> {
        let mut best = Nearest::new(k);
        let mut limit = best.limit();
        for (i, upper) in self.upper.iter().enumerate() {
            // False for NaN as well.
            if *upper <= limit && self.nulls.as_ref().is_none_or(|n| n.is_valid(i)) {
                best.offer(i as u64, *upper);
                limit = best.limit();
            }
        }
        let mut rows: Vec<u32> = best.found.into_iter().map(|n| n.row as u32).collect();
        rows.sort_unstable();
        rows
    }
}
