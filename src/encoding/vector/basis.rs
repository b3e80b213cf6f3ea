//! A mean and a few orthonormal directions: the model of [`subspace`](super::subspace).
//!
//! ```text
//! d u32 | m u32 | method u32 | slack f32 | mean, d f32 | directions, m rows of d f32     little-endian
//! ```
//!
//! Directions are those of largest variance on a sample (`pca`), or random ones (`project`). Rounded to
//! 32 bits they are not quite orthonormal; the *slack* is at least the Frobenius norm of what their
//! products differ from those of orthonormal ones, so that bounds stay true. Sums have one order, and
//! products of 32-bit floats are exact in 64 bits, so that all machines decode the same bits.

use std::ops::Range;

use arrow::buffer::Buffer;

use super::{eigen, rows as vectors};
use crate::encoding::random;
use crate::error::{Error, Result};

/// Kind of the model.
pub const KIND: &str = "vector.basis.v1";
/// Bytes before the mean.
const HEAD: usize = 16;
/// Most numbers of the directions: 64 MiB of them.
pub const MOST_NUMBERS: usize = 1 << 24;
/// Widest vectors of which directions of largest variance are found, if there are more of them than
/// they have values: the time grows with the cube.
pub const WIDEST: usize = 4096;
/// Most rows of a sample: these, or [`ROWS_A_VALUE`] a value, whatever is more.
const ROWS: usize = 1 << 14;
/// Rows a value of a vector; a basis fitted to fewer suits those rows better than others.
const ROWS_A_VALUE: usize = 20;
/// Lanes of sums, for those that the compiler may not reorder.
const LANES: usize = 8;

/// How directions are found. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Those of largest variance.
    Variance = 0,
    /// Random ones.
    Random = 1,
}

/// See the module.
#[derive(Debug)]
pub struct Basis {
    method: Method,
    dimension: usize,
    slack: f64,
    mean: Vec<f64>,
    /// Row by row; 32-bit floats, widened.
    directions: Vec<f64>,
    /// The mean seen along the directions, and its squared norm.
    centre: Vec<f64>,
    square: f64,
}

/// Inner product in a fixed order.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0f64; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (x, y) in a.iter().zip(b) {
        for i in 0..LANES {
            sums[i] += x[i] * y[i];
        }
    }
    for ((sum, x), y) in sums.iter_mut().zip(a_rest).zip(b_rest) {
        *sum += x * y;
    }
    sums.into_iter().sum()
}

/// Adds to each of `sums` the products of `factors` with the columns `inside` of rows of `width`
/// numbers, in the order of the rows.
fn add_rows(sums: &mut [f64], factors: &[f64], rows: &[f64], width: usize, inside: &Range<usize>) {
    let row = |i: usize| &rows[i * width..][inside.clone()];
    let (fours, rest) = factors.as_chunks::<4>();
    for (i, [a, b, c, d]) in fours.iter().enumerate() {
        let pairs = row(4 * i).iter().zip(row(4 * i + 1));
        let more = row(4 * i + 2).iter().zip(row(4 * i + 3));
        for ((sum, (p, q)), (r, s)) in sums.iter_mut().zip(pairs).zip(more) {
            *sum = (((*sum + a * p) + b * q) + c * r) + d * s;
        }
    }
    for (i, factor) in rest.iter().enumerate() {
        for (sum, x) in sums.iter_mut().zip(row(4 * fours.len() + i)) {
            *sum += factor * x;
        }
    }
}

/// Sums of the products of centred values, `d` rows of `d`.
fn scatter(rows: &[f32], mean: &[f32]) -> Vec<f64> {
    let d = mean.len();
    let mut sums = vec![0f64; d * d];
    // Four rows a pass, so that the matrix is read and written a quarter as often.
    let mut centred = vec![0f64; 4 * d];
    for four in rows.chunks(4 * d) {
        centred.fill(0.0);
        for (row, centred) in four.chunks_exact(d).zip(centred.chunks_exact_mut(d)) {
            for ((to, x), m) in centred.iter_mut().zip(row).zip(mean) {
                *to = f64::from(*x) - f64::from(*m);
            }
        }
        for i in 0..d {
            let factors: [f64; 4] = std::array::from_fn(|r| centred[r * d + i]);
            add_rows(
                &mut sums[i * d + i..(i + 1) * d],
                &factors,
                &centred,
                d,
                &(i..d),
            );
        }
    }
    for i in 0..d {
        for j in 0..i {
            sums[i * d + j] = sums[j * d + i];
        }
    }
    sums
}

/// Directions of largest variance.
fn variance(rows: &[f32], mean: &[f32], count: usize) -> Vec<f64> {
    let d = mean.len();
    let n = rows.len() / d;
    if n >= d {
        return eigen::eigenvectors(scatter(rows, mean), d, count);
    }
    // The products of the rows with each other have the same eigenvalues, and there are fewer.
    let centred: Vec<f64> = rows
        .chunks_exact(d)
        .flat_map(|row| {
            row.iter()
                .zip(mean)
                .map(|(x, m)| f64::from(*x) - f64::from(*m))
        })
        .collect();
    let each = || centred.chunks_exact(d);
    let products = each().flat_map(|a| each().map(|b| dot(a, b))).collect();
    let weights = eigen::eigenvectors(products, n, count.min(n));
    let mut found = vec![0f64; weights.len() / n.max(1) * d];
    for (weights, sums) in weights
        .chunks_exact(n.max(1))
        .zip(found.chunks_exact_mut(d))
    {
        add_rows(sums, weights, &centred, d, &(0..d));
    }
    orthonormal(&found, d, count)
}

/// Orthonormal directions: the given rows made so, in order, then random ones.
fn orthonormal(given: &[f64], dimension: usize, count: usize) -> Vec<f64> {
    let mut seed = (dimension as u64) << 32 | count as u64;
    let mut next = || (random::next(&mut seed) >> 11) as f64 / (1u64 << 53) as f64;
    let mut rows: Vec<f64> = Vec::with_capacity(dimension * count);
    for i in 0..count {
        let own = given.get(i * dimension..(i + 1) * dimension);
        let row = own.and_then(|row| apart(row.to_vec(), &rows)).or_else(|| {
            // Nearly normal, without functions that differ between machines.
            let mut normal = || (0..12).map(|_| next()).sum::<f64>() - 6.0;
            apart((0..dimension).map(|_| normal()).collect(), &rows)
        });
        // A row of zeros is honest, if useless; no random row lies among others.
        rows.extend(row.unwrap_or_else(|| vec![0.0; dimension]));
    }
    rows
}

/// What of a row is orthogonal to orthonormal others, at length one; `None` if next to nothing is.
fn apart(mut row: Vec<f64>, others: &[f64]) -> Option<Vec<f64>> {
    let unit = |row: &mut [f64]| {
        let norm = dot(row, row).sqrt();
        row.iter_mut().for_each(|x| *x /= norm);
        norm
    };
    let norm = unit(&mut row);
    if !(norm > 0.0 && norm.is_finite()) {
        return None;
    }
    // Twice is enough: the first time leaves what rounding makes of near dependence.
    for _ in 0..2 {
        for other in others.chunks_exact(row.len()) {
            let along = dot(&row, other);
            for (x, y) in row.iter_mut().zip(other) {
                *x -= along * y;
            }
        }
        if unit(&mut row) < 1e-6 {
            return None;
        }
    }
    Some(row)
}

/// The least 32-bit float that is not below a number.
fn rounded_up(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) < value {
        near.next_up()
    } else {
        near
    }
}

impl Basis {
    /// Most rows of a sample for vectors of this dimension.
    pub fn sample_rows(dimension: usize) -> usize {
        ROWS.max(ROWS_A_VALUE * dimension)
    }

    /// `count` directions for a sample of vectors, row by row.
    pub fn fit(method: Method, rows: &[f32], dimension: usize, count: usize) -> Result<Self> {
        if dimension.saturating_mul(count) > MOST_NUMBERS {
            return Err(Error::invalid(format!(
                "{count} directions of {dimension} values are more than {MOST_NUMBERS} numbers; ask for fewer"
            )));
        }
        let mean = vectors::mean(rows, dimension, None);
        let directions = match method {
            Method::Random => orthonormal(&[], dimension, count),
            Method::Variance if dimension.min(rows.len() / dimension) > WIDEST => {
                return Err(Error::invalid(format!(
                    "pca takes many vectors of up to {WIDEST} values only, these have {dimension}; use project"
                )));
            }
            Method::Variance => variance(rows, &mean, count),
        };
        let round = |x: f64| f64::from(x as f32);
        let directions: Vec<f64> = directions.into_iter().map(round).collect();
        let mean = mean.into_iter().map(f64::from).collect();
        Ok(Self::new(method, mean, directions, None))
    }

    /// `slack` is found if it is not given.
    fn new(method: Method, mean: Vec<f64>, directions: Vec<f64>, slack: Option<f64>) -> Self {
        let dimension = mean.len();
        let rows = || directions.chunks_exact(dimension);
        let found = || {
            let mut squares = 0f64;
            for (i, a) in rows().enumerate() {
                squares += (dot(a, a) - 1.0).powi(2);
                squares += rows().take(i).map(|b| 2.0 * dot(a, b).powi(2)).sum::<f64>();
            }
            // More than what these sums may be off.
            f64::from(rounded_up(squares.sqrt() * 1.001 + 1e-12))
        };
        Self {
            method,
            dimension,
            slack: slack.unwrap_or_else(found),
            centre: rows().map(|row| dot(row, &mean)).collect(),
            square: dot(&mean, &mean),
            mean,
            directions,
        }
    }

    /// How the directions were found.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Values of a vector.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Number of directions.
    pub fn count(&self) -> usize {
        self.centre.len()
    }

    /// At least the norm of what the products of the directions differ from those of orthonormal ones.
    pub fn slack(&self) -> f64 {
        self.slack
    }

    /// The mean.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The mean along the directions.
    pub fn centre(&self) -> &[f64] {
        &self.centre
    }

    /// Squared norm of the mean.
    pub fn square(&self) -> f64 {
        self.square
    }

    /// A vector along the directions, as it is.
    pub fn along(&self, vector: &[f64]) -> Vec<f64> {
        let rows = self.directions.chunks_exact(self.dimension);
        rows.map(|row| dot(row, vector)).collect()
    }

    /// The coefficients of vectors, row by row.
    pub fn coefficients(&self, vectors: &[f32]) -> Vec<f32> {
        let (d, m) = (self.dimension, self.count());
        let mut turned = vec![0f64; d * m];
        for (i, row) in self.directions.chunks_exact(d).enumerate() {
            for (j, x) in row.iter().enumerate() {
                turned[j * m + i] = *x;
            }
        }
        let mut out = Vec::with_capacity(vectors.len() / d * m);
        let (mut centred, mut sums) = (vec![0f64; d], vec![0f64; m]);
        for vector in vectors.chunks_exact(d) {
            for ((to, x), mean) in centred.iter_mut().zip(vector).zip(&self.mean) {
                *to = f64::from(*x) - mean;
            }
            sums.fill(0.0);
            add_rows(&mut sums, &centred, &turned, m, &(0..m));
            out.extend(sums.iter().map(|s| *s as f32));
        }
        out
    }

    /// Some elements of the vector of coefficients, of which there must be [`Basis::count`]; `sums` is
    /// room to work.
    pub fn restore(
        &self,
        coefficients: &[f32],
        elements: &Range<usize>,
        sums: &mut Vec<f64>,
        out: &mut Vec<f32>,
    ) {
        sums.clear();
        sums.extend(coefficients.iter().map(|c| f64::from(*c)));
        let count = sums.len();
        sums.extend_from_slice(&self.mean[elements.clone()]);
        let (factors, sums) = sums.split_at_mut(count);
        add_rows(sums, factors, &self.directions, self.dimension, elements);
        out.extend(sums.iter().map(|s| *s as f32));
    }

    /// As stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        let words = [
            self.dimension as u32,
            self.count() as u32,
            self.method as u32,
            (self.slack as f32).to_bits(),
        ];
        let mut bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        let values = self.mean.iter().chain(&self.directions);
        bytes.extend(values.flat_map(|v| (*v as f32).to_le_bytes()));
        bytes
    }

    /// Reads what [`Basis::to_bytes`] made.
    pub fn parse(bytes: &Buffer) -> Result<Self> {
        let (words, rest) = bytes.as_slice().as_chunks::<4>();
        let (&[d, m, method, slack], values) = match words.split_first_chunk::<{ HEAD / 4 }>() {
            Some(parts) if rest.is_empty() => parts,
            _ => return Err(Error::corrupt("a basis of broken numbers")),
        };
        let (d, m) = (
            u32::from_le_bytes(d) as usize,
            u32::from_le_bytes(m) as usize,
        );
        let method = match u32::from_le_bytes(method) {
            0 => Method::Variance,
            1 => Method::Random,
            other => return Err(Error::corrupt(format!("a basis found by method {other}"))),
        };
        let slack = f64::from(f32::from_le_bytes(slack));
        let fits = m > 0
            && m <= d
            && m.checked_add(1).and_then(|n| n.checked_mul(d)) == Some(values.len());
        let values: Vec<f64> = values
            .iter()
            .map(|v| f64::from(f32::from_le_bytes(*v)))
            .collect();
        let sound = slack >= 0.0 && values.iter().all(|v| v.is_finite());
        if !fits || !sound {
            return Err(Error::corrupt(format!(
                "a basis of {m} directions of {d} values that is none"
            )));
        }
        let directions = values[d..].to_vec();
        let mut mean = values;
        mean.truncate(d);
        Ok(Self::new(method, mean, directions, Some(slack)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: usize, dimension: usize) -> Vec<f32> {
        let mut seed = 5u32;
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        // The variance falls from value to value, and neighbours go together.
        (0..count)
            .flat_map(|_| {
                let mut last = 0.0;
                let row: Vec<f32> = (0..dimension)
                    .map(|i| {
                        last = 0.5 * last + next() / (1.0 + i as f32);
                        last + 2.0
                    })
                    .collect();
                row
            })
            .collect()
    }

    #[test]
    fn directions_are_orthonormal_within_the_slack_that_they_state() {
        for rows in [rows(200, 24), rows(10, 24), vec![1.0; 24 * 30]] {
            for method in [Method::Variance, Method::Random] {
                for count in [1, 7, 24] {
                    let basis = Basis::fit(method, &rows, 24, count).unwrap();
                    assert!(basis.slack() < 1e-5, "{}", basis.slack());
                    let read = Basis::parse(&Buffer::from_vec(basis.to_bytes())).unwrap();
                    assert_eq!(read.to_bytes(), basis.to_bytes());
                    assert_eq!((read.count(), read.method()), (count, method));
                    for (i, a) in read.directions.chunks(24).enumerate() {
                        for (j, b) in read.directions.chunks(24).enumerate() {
                            let off = dot(a, b) - f64::from(u8::from(i == j));
                            assert!(off.abs() <= read.slack());
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn fewer_rows_than_values_span_their_own_directions() {
        let rows = rows(6, 40);
        let basis = Basis::fit(Method::Variance, &rows, 40, 5).unwrap();
        let (mut sums, mut back) = (Vec::new(), Vec::new());
        for row in basis.coefficients(&rows).chunks(5) {
            basis.restore(row, &(0..40), &mut sums, &mut back);
        }
        assert!(rows.iter().zip(&back).all(|(a, b)| (a - b).abs() < 1e-5));
    }

    #[test]
    fn fewer_directions_lose_what_has_the_least_variance() {
        let rows = rows(300, 24);
        let error = |method, count| {
            let basis = Basis::fit(method, &rows, 24, count).unwrap();
            let coefficients = basis.coefficients(&rows);
            let (mut sums, mut back) = (Vec::new(), Vec::new());
            for row in coefficients.chunks(count) {
                basis.restore(row, &(0..24), &mut sums, &mut back);
            }
            let pairs = rows.iter().zip(&back);
            pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>()
        };
        let errors = [1, 6, 12, 24].map(|count| error(Method::Variance, count));
        assert!(errors.windows(2).all(|w| w[1] < w[0] / 2.0), "{errors:?}");
        assert!(errors[3] < 1e-9, "{errors:?}");
        assert!(errors[2] < error(Method::Random, 12) / 4.0, "{errors:?}");
    }

    #[test]
    fn some_elements_are_those_of_the_whole_vector() {
        let rows = rows(20, 13);
        let basis = Basis::fit(Method::Variance, &rows, 13, 5).unwrap();
        let coefficients = basis.coefficients(&rows[..13]);
        let part = |elements: Range<usize>| {
            let (mut sums, mut out) = (Vec::new(), Vec::new());
            basis.restore(&coefficients, &elements, &mut sums, &mut out);
            out
        };
        let whole = part(0..13);
        for elements in [0..0, 3..4, 5..13] {
            assert_eq!(part(elements.clone()), whole[elements]);
        }
    }

    #[test]
    fn broken_bases_are_refused() {
        let good = Basis::fit(Method::Random, &rows(9, 4), 4, 2)
            .unwrap()
            .to_bytes();
        for (at, byte) in [(0, 5), (4, 0), (4, 3), (8, 2), (15, 0xff), (19, 0x7f)] {
            let mut bad = good.clone();
            bad[at] = byte;
            if at == 19 {
                bad[18] = 0xff;
            }
            assert!(Basis::parse(&Buffer::from_vec(bad)).is_err(), "{at}");
        }
        for len in [0, 7, 15, good.len() - 4, good.len() - 1] {
            assert!(Basis::parse(&Buffer::from_vec(good[..len].to_vec())).is_err());
        }
    }
}
