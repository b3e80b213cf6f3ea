//! A query, prepared once for all the ways in which rows are stored.

use super::floats::Sums;
use super::simd::{BLOCK, Kernel, LANES, ROOTS, Simd, dispatch, lanes};
use super::{Distances, Metric};
use crate::error::{Error, Result};

/// Half a unit in the last place of a number near one.
const ROUNDING: f32 = 1.0 / (1u32 << 24) as f32;
/// Results this far below one may have lost digits, or all of them, to underflow.
const UNDERFLOW: f32 = 1e-16;
/// Squares of smaller norms lose digits to underflow.
pub(super) const SMALLEST: f32 = 1e-15;
/// Squares of norms not much larger overflow.
const LARGEST: f32 = 1e19;

/// Floats of this size are whole numbers.
const WHOLE: f32 = 1.5 * (1u32 << 23) as f32;

/// A vector to which near ones are looked for.
#[derive(Debug, Clone)]
pub struct Query {
    metric: Metric,
    values: Vec<f32>,
    /// The values as bytes, a whole number of [`BLOCK`]s of floats; zeros at the end.
    padded: Vec<u8>,
    norm: f32,
    /// Signed bytes that times `scale` are nearly the values.
    bytes: Vec<i8>,
    scale: f32,
    byte_sum: i32,
    /// Norm of what the bytes miss of the values, rounded up.
    missed: f32,
    /// Norm of what was lost when the values were rounded to 32 bits, rounded up.
    blur: f32,
}

impl Query {
    /// Fails if a value is not finite, or if there is none.
    pub fn new(metric: Metric, values: impl Into<Vec<f32>>) -> Result<Self> {
        let values = values.into();
        if let Some(i) = values.iter().position(|v| !v.is_finite()) {
            return Err(Error::invalid(format!(
                "value {i} of the query is {}",
                values[i]
            )));
        }
        if values.is_empty() {
            return Err(Error::invalid("the query has no values"));
        }
        let largest = values.iter().fold(0f32, |m, v| m.max(v.abs()));
        let scale = (largest / 127.0).max(f32::MIN_POSITIVE);
        // Sums with a large number have no bits behind the point, which rounds to even without a call.
        let byte = |v: &f32| ((v / scale).clamp(-127.0, 127.0) + WHOLE - WHOLE) as i8;
        let bytes: Vec<i8> = values.iter().map(byte).collect();
        let miss = |(v, b): (&f32, &i8)| (f64::from(*v) - f64::from(*b) * f64::from(scale)).powi(2);
        let missed: f64 = values.iter().zip(&bytes).map(miss).sum();
        let square: f64 = values.iter().map(|v| f64::from(*v).powi(2)).sum();
        let mut padded = vec![0; (4 * values.len()).next_multiple_of(4 * BLOCK)];
        for (bytes, value) in padded.as_chunks_mut::<4>().0.iter_mut().zip(&values) {
            *bytes = value.to_le_bytes();
        }
        Ok(Self {
            metric,
            padded,
            norm: square.sqrt() as f32,
            byte_sum: bytes.iter().map(|b| i32::from(*b)).sum(),
            bytes,
            scale,
            missed: missed.sqrt() as f32 * (1.0 + 4.0 * ROUNDING),
            blur: 0.0,
            values,
        })
    }

    /// A query of 64-bit floats. Bounds hold for it, not for what is left of it in 32 bits, which is what
    /// [`Query::distance`] uses.
    pub fn of_doubles(metric: Metric, values: &[f64]) -> Result<Self> {
        let rounded: Vec<f32> = values.iter().map(|v| *v as f32).collect();
        let lost = |(v, r): (&f64, &f32)| (v - f64::from(*r)).powi(2);
        let lost: f64 = values.iter().zip(&rounded).map(lost).sum();
        Ok(Self {
            blur: lost.sqrt() as f32 * (1.0 + 4.0 * ROUNDING),
            ..Self::new(metric, rounded)?
        })
    }

    /// What distance means.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// The vector.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The vector as little-endian floats, and zeros up to a multiple of 64 values.
    pub fn padded(&self) -> &[u8] {
        &self.padded
    }

    /// Euclidean norm.
    pub fn norm(&self) -> f32 {
        self.norm
    }

    /// Signed bytes that times [`Query::scale`] approximate the values.
    pub fn bytes(&self) -> &[i8] {
        &self.bytes
    }

    /// See [`Query::bytes`].
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// Sum of the bytes.
    pub fn byte_sum(&self) -> i32 {
        self.byte_sum
    }

    /// At least the norm of what the bytes miss: an inner product with a vector of norm `n` is off by
    /// no more than this times `n`.
    pub fn missed(&self) -> f32 {
        self.missed
    }

    /// What the bytes miss of the values, as a query of its own, and at least the norm of what the bytes
    /// of both together miss.
    pub fn rest(&self) -> Result<(Query, f32)> {
        let scale = f64::from(self.scale);
        let pairs = self.values.iter().zip(&self.bytes);
        let left: Vec<f64> = pairs
            .map(|(v, b)| f64::from(*v) - f64::from(*b) * scale)
            .collect();
        let rest = Query::of_doubles(self.metric, &left)?;
        let missed = rest.missed + rest.blur;
        Ok((rest, missed))
    }

    /// The distance of a decoded vector.
    pub fn distance(&self, vector: &[f32]) -> f32 {
        self.metric.distance(vector, &self.values)
    }

    /// What rounding may add to an inner product, in parts of the product of the norms.
    fn rounding(&self) -> f32 {
        (self.values.len() as f32 / 16.0 + 48.0) * ROUNDING
    }

    /// How inner products with this query become bounds of distances.
    pub fn bounding(&self) -> Bounding {
        Bounding {
            metric: self.metric,
            norm: self.norm,
            rounding: self.rounding(),
            blur: self.blur,
        }
    }

    /// Bounds from inner products that are off by no more than `slack`, and the norms of the decoded
    /// vectors.
    pub fn of_products(&self, products: &[f32], slack: &[f32], norms: &[f32]) -> Distances {
        dispatch(OfProducts {
            bounding: self.bounding(),
            products,
            slack,
            norms,
        })
    }

    /// Bounds of Euclidean distances from lower and upper bounds of the exact ones.
    pub fn of_distances(&self, exact: impl Iterator<Item = (f64, f64)>) -> Distances {
        let (rounding, blur) = (f64::from(self.rounding()), f64::from(self.blur));
        let more = f64::from(UNDERFLOW) + blur;
        let (lower, upper) = exact
            .map(|(low, high)| {
                let low = low * (1.0 - rounding) - more;
                (low as f32, (high * (1.0 + rounding) + more) as f32)
            })
            .unzip();
        Distances {
            lower,
            upper,
            ..Distances::default()
        }
    }

    /// Bounds from sums over decoded values. `factors` multiply the values of each row.
    pub fn of_sums(&self, sums: &Sums, factors: Option<&[f32]>) -> Distances {
        if let (Metric::L2, None) = (self.metric, factors) {
            let (rounding, blur) = (self.rounding(), self.blur);
            let bound = |part: f32, more: f32| {
                // What overflowed is not known.
                let of = move |s: &f32| s.sqrt() * part + more + 0.0 * s;
                sums.first.iter().map(of).collect::<Vec<f32>>()
            };
            return Distances {
                lower: bound(1.0 - rounding, -UNDERFLOW - blur),
                upper: bound(1.0 + rounding, UNDERFLOW + blur),
                ..Distances::default()
            };
        }
        let factor = |i: usize| factors.map_or(1.0, |f| f[i]);
        let scaled = |sums: &[f32]| -> Vec<f32> {
            let each = sums.iter().enumerate();
            each.map(|(i, s)| s * factor(i)).collect()
        };
        let roots: Vec<f32> = sums.second.iter().map(|s| s.sqrt()).collect();
        let slack = vec![0.0; sums.first.len()];
        self.of_products(&scaled(&sums.first), &slack, &scaled(&roots))
    }
}

/// Bounds of distances from inner products.
#[derive(Debug, Clone, Copy)]
pub struct Bounding {
    metric: Metric,
    norm: f32,
    rounding: f32,
    blur: f32,
}

impl Bounding {
    /// Lower and upper bounds for rows whose inner products are off by no more than `slack`; `own` are
    /// the norms of the decoded vectors.
    #[inline(always)]
    pub fn bounds<S: Simd>(
        self,
        simd: S,
        product: &[f32; LANES],
        slack: &[f32; LANES],
        own: &[f32; LANES],
    ) -> ([f32; LANES], [f32; LANES]) {
        let Self {
            norm,
            rounding,
            blur,
            ..
        } = self;
        let (mut lower, mut upper) = ([0f32; LANES], [0f32; LANES]);
        match self.metric {
            Metric::InnerProduct => {
                for i in 0..LANES {
                    let slack = slack[i] + rounding * (norm * own[i]) + blur * own[i] + UNDERFLOW;
                    let known = 0.0 * product[i];
                    lower[i] = -product[i] - slack + known;
                    upper[i] = -product[i] + slack + known;
                }
            }
            Metric::Cosine => {
                for i in 0..LANES {
                    // A vector of norm zero gives 0/0: nothing is known, for who asks may want one or
                    // null. Where a norm overflows nothing is known either.
                    let within = |norm: f32| norm > SMALLEST && norm < LARGEST;
                    let sound = within(norm) && within(own[i]);
                    let norms = if sound { norm * own[i] } else { 0.0 };
                    let cosine = product[i] / norms;
                    let slack = (slack[i] + 2.0 * blur * own[i]) / norms + 4.0 * rounding;
                    let known = 0.0 * product[i] * norms / norms;
                    lower[i] = 1.0 - cosine - slack + known;
                    upper[i] = 1.0 - cosine + slack + known;
                }
            }
            Metric::L2 => {
                for i in 0..LANES {
                    let squares = norm * norm + own[i] * own[i];
                    let distance = squares - 2.0 * product[i];
                    let slack = 2.0 * slack[i] + 8.0 * rounding * squares;
                    // Not `max`, which would make a number of NaN.
                    let low = distance - slack;
                    lower[i] = if low < 0.0 { 0.0 } else { low };
                    upper[i] = distance + slack;
                }
                (lower, upper) = (simd.roots(&lower), simd.roots(&upper));
                let (less, more) = (1.0 - rounding - ROOTS, 1.0 + rounding + ROOTS);
                for i in 0..LANES {
                    lower[i] = lower[i] * less - UNDERFLOW - blur;
                    upper[i] = upper[i] * more + UNDERFLOW + blur;
                }
            }
        }
        (lower, upper)
    }
}

struct OfProducts<'a> {
    bounding: Bounding,
    products: &'a [f32],
    slack: &'a [f32],
    norms: &'a [f32],
}

impl Kernel for OfProducts<'_> {
    type Output = Distances;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Distances {
        let count = self.products.len();
        let count = count.min(self.slack.len()).min(self.norms.len());
        let mut out = Distances::with_capacity(count);
        for at in (0..count).step_by(LANES) {
            let bounds = self.bounding.bounds(
                simd,
                &lanes(self.products, at),
                &lanes(self.slack, at),
                &lanes(self.norms, at),
            );
            out.push(&bounds, count - at);
        }
        out
    }
}
