//! Distances of vectors from a query, on codes where an encoding knows how.
//!
//! What a search is told first are *bounds*: for each row two numbers between which its distance from
//! the query certainly lies, found from as few stored bytes as possible (eight-bit queries, the first of
//! two levels). Rows whose lower bound is beyond what is wanted are never decoded. The distance that a
//! user sees is that of [`Metric::distance`] on the decoded vector, whatever was stored. So answers are
//! those of brute force over the decoded vectors, ties included.
//!
//! Bounds hold for the exact distance of the decoded vectors, for its value in 64-bit floats and for
//! that of [`Metric::distance`], since they allow for rounding.

mod floats;
mod nearest;
mod query;
pub mod simd;
#[cfg(target_arch = "x86_64")]
mod x86;

use arrow::array::{Array, AsArray, FixedSizeListArray, NullBufferBuilder};
use arrow::buffer::NullBuffer;
use arrow::compute;
use arrow::datatypes::{DataType, Float32Type};

pub use floats::{Form, Sums, products, sums};
pub use nearest::{Nearest, Neighbour};
use query::SMALLEST;
pub use query::{Bounding, Query};

use crate::error::{Error, Result};
use simd::{Kernel, LANES, Simd, dispatch};

/// A distance that is one. This is the rule of order for search, SQL and limits alike: a row whose distance
/// is no number, whichever sign the NaN has, has none, is neither near nor far and never an answer; all
/// others are ordered by their distance, and rows that tie by their number.
pub fn known<D: PartialOrd>(distance: D) -> Option<D> {
    let ordered = distance.partial_cmp(&distance).is_some();
    ordered.then_some(distance)
}

/// How far apart two vectors are; less is nearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Metric {
    /// Euclidean distance.
    #[default]
    L2,
    /// The negative inner product.
    InnerProduct,
    /// One less the cosine; 1 if one of the vectors is zero.
    Cosine,
}

impl Metric {
    /// Distance of two vectors of one dimension. The order of summation is part of the result, so it
    /// is the same on all machines. Sums that overflow in 32 bits, or norms that vanish there, are found
    /// in 64: finite vectors always have a distance.
    pub fn distance(self, a: &[f32], b: &[f32]) -> f32 {
        let distance = match self {
            Metric::L2 => sum(a, b, |x, y| (x - y) * (x - y)).sqrt(),
            Metric::InnerProduct => -sum(a, b, |x, y| x * y),
            Metric::Cosine => {
                let norm = |v: &[f32]| sum(v, v, |x, y| x * y).sqrt();
                match (norm(a), norm(b)) {
                    (a_norm, b_norm) if a_norm > SMALLEST && b_norm > SMALLEST => {
                        1.0 - sum(a, b, |x, y| x * y) / (a_norm * b_norm)
                    }
                    _ => f32::NAN,
                }
            }
        };
        match distance.is_finite() {
            true => distance,
            false => self.wide_distance(a, b),
        }
    }

    /// The same, in 64 bits.
    fn wide_distance(self, a: &[f32], b: &[f32]) -> f32 {
        let sum = |a: &[f32], b: &[f32], term: fn(f64, f64) -> f64| -> f64 {
            let pairs = a.iter().zip(b);
            pairs.map(|(x, y)| term(f64::from(*x), f64::from(*y))).sum()
        };
        let product = |x, y| x * y;
        let distance = match self {
            Metric::L2 => sum(a, b, |x, y| (x - y) * (x - y)).sqrt(),
            Metric::InnerProduct => -sum(a, b, product),
            Metric::Cosine => match sum(a, a, product).sqrt() * sum(b, b, product).sqrt() {
                0.0 => 1.0,
                norms => 1.0 - sum(a, b, product) / norms,
            },
        };
        distance as f32
    }
}

fn sum(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    dispatch(Sum { a, b, term })
}

/// A sum of terms of pairs, in the same order on all machines.
struct Sum<'a, T> {
    a: &'a [f32],
    b: &'a [f32],
    term: T,
}

impl<T: Fn(f32, f32) -> f32> Kernel for Sum<'_, T> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> f32 {
        let mut lanes = [0f32; LANES];
        let (a, a_rest) = self.a.as_chunks::<LANES>();
        let (b, b_rest) = self.b.as_chunks::<LANES>();
        for (x, y) in a.iter().zip(b) {
            for i in 0..LANES {
                lanes[i] += (self.term)(x[i], y[i]);
            }
        }
        for (i, (x, y)) in a_rest.iter().zip(b_rest).enumerate() {
            lanes[i] += (self.term)(*x, *y);
        }
        lanes.into_iter().sum()
    }
}

/// How much is read to find bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// As little as possible: the first level of two.
    Coarse,
    /// Everything that is stored of a row.
    Fine,
}

/// Bounds of the distances of some rows.
#[derive(Debug, Clone, Default)]
pub struct Distances {
    /// No distance is less than this. NaN where nothing is known; as long as `upper`.
    pub lower: Vec<f32>,
    /// No distance is more than this. NaN where nothing is known.
    pub upper: Vec<f32>,
    /// Which rows are null; those have no distance.
    pub nulls: Option<NullBuffer>,
    /// Whether [`Stage::Fine`] gives tighter bounds than these.
    pub finer: bool,
}

impl Distances {
    /// Of no rows, with room for some.
    pub fn with_capacity(rows: usize) -> Self {
        Self {
            lower: Vec::with_capacity(rows),
            upper: Vec::with_capacity(rows),
            ..Self::default()
        }
    }

    /// Adds lower and upper bounds of the next rows, at most `count`.
    #[inline(always)]
    pub(crate) fn push(&mut self, (lower, upper): &([f32; LANES], [f32; LANES]), count: usize) {
        if count >= LANES {
            self.lower.extend_from_slice(lower);
            self.upper.extend_from_slice(upper);
            return;
        }
        self.lower.extend_from_slice(&lower[..count]);
        self.upper.extend_from_slice(&upper[..count]);
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.lower.len()
    }

    /// True if there are no rows.
    pub fn is_empty(&self) -> bool {
        self.lower.is_empty()
    }

    /// Adds the bounds of rows that follow.
    pub fn append(&mut self, more: Distances) {
        if self.is_empty() {
            *self = more;
            return;
        }
        if self.nulls.is_some() || more.nulls.is_some() {
            let mut nulls = NullBufferBuilder::new(self.len() + more.len());
            for part in [&*self, &more] {
                match &part.nulls {
                    Some(part) => nulls.append_buffer(part),
                    None => nulls.append_n_non_nulls(part.len()),
                }
            }
            self.nulls = nulls.finish();
        }
        self.lower.extend(more.lower);
        self.upper.extend(more.upper);
        self.finer |= more.finer;
    }

    /// Bounds of decoded vectors, lists of numbers of any kind.
    pub fn of_decoded(list: &FixedSizeListArray, query: &Query) -> Result<Self> {
        if list.value_length() as usize != query.values().len() {
            return Err(Error::invalid(format!(
                "the query has {} values, the vectors have {}",
                query.values().len(),
                list.value_length()
            )));
        }
        let size = list.value_length() as usize;
        let values = list.values().slice(list.offset() * size, list.len() * size);
        let values = compute::cast(&values, &DataType::Float32)?;
        let values = values
            .as_primitive::<Float32Type>()
            .values()
            .inner()
            .clone();
        let sums = sums(Form::Single, &values, None, list.len(), query);
        Ok(Self {
            nulls: list.nulls().cloned(),
            ..query.of_sums(&sums, None)
        })
    }
}
