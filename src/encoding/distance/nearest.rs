//! The nearest rows so far.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::simd::{Kernel, LANES, Simd, dispatch};
use super::{Distances, known};

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
        if self.k == 0 || known(distance).is_none() {
            return;
        }
        let new = Neighbour { row, distance };
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
        let found = dispatch(Least { of: self, k }).found;
        let mut rows: Vec<u32> = found.into_iter().map(|n| n.row as u32).collect();
        rows.sort_unstable();
        rows
    }

    /// A limit that `k` of the rows do not exceed; infinity if there are fewer.
    pub fn limit(&self, k: usize) -> f32 {
        dispatch(Least { of: self, k }).limit()
    }

    /// The rows that may be as near as `limit`, in ascending order; null rows never are.
    pub fn within(&self, limit: f32) -> Vec<u32> {
        dispatch(Within { of: self, limit })
    }

    fn valid(&self, i: usize) -> bool {
        self.nulls.as_ref().is_none_or(|n| n.is_valid(i))
    }
}

/// The rows whose upper bounds are least.
struct Least<'a> {
    of: &'a Distances,
    k: usize,
}

impl Kernel for Least<'_> {
    type Output = Nearest;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> Nearest {
        let mut best = Nearest::new(self.k);
        let offer = |best: &mut Nearest, first: usize, uppers: &[f32]| {
            for (row, upper) in (first..).zip(uppers) {
                if *upper <= best.limit() && self.of.valid(row) {
                    best.offer(row as u64, *upper);
                }
            }
        };
        let (blocks, rest) = self.of.upper.as_chunks::<LANES>();
        for (block, uppers) in blocks.iter().enumerate() {
            let limit = best.limit();
            // False for NaN as well; most blocks end here.
            if uppers.iter().fold(false, |any, u| any | (*u <= limit)) {
                offer(&mut best, block * LANES, uppers);
            }
        }
        offer(&mut best, blocks.len() * LANES, rest);
        best
    }
}

/// The rows whose lower bounds are within a limit.
struct Within<'a> {
    of: &'a Distances,
    limit: f32,
}

impl Kernel for Within<'_> {
    type Output = Vec<u32>;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> Vec<u32> {
        let mut out = Vec::new();
        // What is not known may be near.
        let far = |lower: &f32| *lower > self.limit;
        let (blocks, rest) = self.of.lower.as_chunks::<LANES>();
        for (block, lowers) in blocks.iter().enumerate() {
            let bit = |bits: u32, i: usize| bits | u32::from(!far(&lowers[i])) << i;
            let mut near = (0..LANES).fold(0, bit);
            while near != 0 {
                out.push((block * LANES) as u32 + near.trailing_zeros());
                near &= near - 1;
            }
        }
        for (row, lower) in (blocks.len() * LANES..).zip(rest) {
            if !far(lower) {
                out.push(row as u32);
            }
        }
        out.retain(|row| self.of.valid(*row as usize));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::distance::simd::Level;
    use arrow::buffer::NullBuffer;

    /// Bounds with ties, unknown and null rows, of a number of rows that is no multiple of the lanes.
    fn some() -> Distances {
        let number = |i: u32| match i % 37 {
            5 => f32::NAN,
            i => (i * 29 % 41) as f32,
        };
        let lower: Vec<f32> = (0..203).map(number).collect();
        Distances {
            upper: lower.iter().map(|l| l + 2.0).collect(),
            lower,
            nulls: Some(NullBuffer::from_iter((0..203).map(|i| i % 11 != 3))),
            finer: false,
        }
    }

    #[test]
    fn rows_within_a_limit_are_those_one_by_one() {
        let of = some();
        for limit in [-1.0, 0.0, 7.0, 40.0, f32::INFINITY, f32::NAN] {
            let expected: Vec<u32> = (0..203)
                .filter(|i| i % 11 != 3)
                .filter(|i| {
                    of.lower[*i as usize].is_nan()
                        || limit.is_nan()
                        || of.lower[*i as usize] <= limit
                })
                .collect();
            for level in Level::available() {
                assert_eq!(level.run(Within { of: &of, limit }), expected, "{level:?}");
            }
        }
    }

    #[test]
    fn the_least_upper_bounds_are_those_of_a_sort() {
        let of = some();
        let mut sorted: Vec<(f32, u32)> = (0..203)
            .filter(|i| i % 11 != 3 && !of.upper[*i as usize].is_nan())
            .map(|i| (of.upper[i as usize], i))
            .collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for k in [0, 1, 10, 170, 400] {
            let mut expected: Vec<u32> = sorted.iter().take(k).map(|s| s.1).collect();
            expected.sort_unstable();
            assert_eq!(of.most_promising(k), expected);
            let limit = match k {
                0 => f32::NEG_INFINITY,
                k => sorted.get(k - 1).map_or(f32::INFINITY, |s| s.0),
            };
            assert_eq!(of.limit(k), limit, "{k}");
            for level in Level::available() {
                let found = level.run(Least { of: &of, k });
                assert_eq!(found.limit(), limit, "{level:?}");
            }
        }
    }
}
