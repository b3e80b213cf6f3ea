//! Rows of vectors that lie far from all others.

use arrow::buffer::NullBuffer;

/// How many times farther from the middle a row lies than nearly all others.
const FAR: f64 = 16.0;
/// Of so many rows one may be an outlier, in large arrays; if more are as far, none is.
const ONE_IN: usize = 32;
/// Outliers that small arrays may have, if most rows are none.
const FEW: usize = 8;
/// Rows that the middle is found from.
const SAMPLE: usize = 255;

/// The rows (of those that are valid, if some are not) that hold NaN or infinity, and those that lie far
/// from the middle of all, measured by how far nearly all others lie: numbers, ascending. None, if so
/// many are not finite that they are no exceptions.
pub fn outliers(values: &[f32], dimension: usize, valid: Option<&NullBuffer>) -> Vec<u32> {
    let dimension = dimension.max(1);
    let row = |i: u32| &values[i as usize * dimension..][..dimension];
    let count = (values.len() / dimension) as u32;
    let (finite, odd): (Vec<u32>, Vec<u32>) = (0..count)
        .filter(|i| valid.is_none_or(|v| v.is_valid(*i as usize)))
        .partition(|i| row(*i).iter().all(|v| v.is_finite()));
    if odd.len() > finite.len() / 4 {
        return Vec::new();
    }
    let middle = middle(finite.iter().map(|i| row(*i)), finite.len(), dimension);
    let square = |x: f64| x * x;
    let distance = |i: &u32| -> f64 {
        let pairs = row(*i).iter().zip(&middle);
        pairs
            .map(|(x, m)| square(f64::from(*x) - f64::from(*m)))
            .sum()
    };
    let distances: Vec<f64> = finite.iter().map(distance).collect();
    let limit = usual(&distances) * square(FAR);
    let far = finite.iter().zip(&distances).filter(|(_, d)| **d > limit);
    let mut found: Vec<u32> = far.map(|(i, _)| *i).chain(odd).collect();
    found.sort_unstable();
    found
}

/// The median of each coordinate, on rows evenly spread over all: outliers do not move it.
fn middle<'a>(rows: impl Iterator<Item = &'a [f32]>, count: usize, dimension: usize) -> Vec<f32> {
    let step = count.div_ceil(SAMPLE).max(1);
    let sample: Vec<&[f32]> = rows.step_by(step).collect();
    let mut column = Vec::with_capacity(sample.len());
    let median = |i: usize| {
        column.clear();
        column.extend(sample.iter().map(|row| row[i]));
        match column.len() {
            0 => 0.0,
            n => *column.select_nth_unstable_by(n / 2, f32::total_cmp).1,
        }
    };
    (0..dimension).map(median).collect()
}

/// What nearly all distances that are not zero do not exceed; infinity without any.
fn usual(distances: &[f64]) -> f64 {
    let mut some: Vec<f64> = distances.iter().copied().filter(|d| *d > 0.0).collect();
    let count = some.len();
    let Some(last) = count.checked_sub(1) else {
        return f64::INFINITY;
    };
    let outliers = (count / ONE_IN).max(FEW.min(last / 2));
    *some
        .select_nth_unstable_by(last - outliers, f64::total_cmp)
        .1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: usize, dimension: usize) -> Vec<f32> {
        let value = |i: usize| (i as f32 * 1.7).sin() + (i % dimension) as f32 * 1e6;
        (0..count * dimension).map(value).collect()
    }

    #[test]
    fn rows_far_from_all_others_are_found_wherever_the_middle_is() {
        for (count, dimension) in [(5, 3), (64, 8), (3000, 2)] {
            let given = rows(count, dimension);
            assert!(outliers(&given, dimension, None).is_empty());
            for far in [1e10, -1e20, f32::MAX, f32::NAN, f32::INFINITY] {
                let mut given = given.clone();
                given[3 * dimension] = far;
                assert_eq!(outliers(&given, dimension, None), [3], "{far}");
                let valid: NullBuffer = (0..count).map(|i| i != 3).collect();
                assert!(outliers(&given, dimension, Some(&valid)).is_empty());
            }
        }
    }

    #[test]
    fn heavy_tails_and_zeros_are_no_outliers() {
        let tails: Vec<f32> = (1..2000).map(|i| 1e6 / i as f32).collect();
        assert!(outliers(&tails, 1, None).len() < 20);
        let mut zeros = vec![0f32; 4000];
        for i in 0..40 {
            zeros[i * 97] = 1.0 + i as f32;
        }
        assert!(outliers(&zeros, 4, None).is_empty());
        assert!(outliers(&[], 4, None).is_empty());
        assert!(outliers(&[f32::NAN; 8], 4, None).is_empty());
    }
}
