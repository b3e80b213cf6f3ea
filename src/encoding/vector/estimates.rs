//! Inner products of a query with coded vectors from those with their codes, and how far off they may
//! be.
//!
//! With the query `q`, its bytes `b` of scale `s`, a mean `m`, and a vector decoded to `x = m + y`,
//! where `y` are even steps `D` from a lower bound `l`:
//!
//! ```text
//! <q, x> = <q, m> + <q, y>        <q, y> ~ s (l sum(b) + D <b, codes>)
//! ```
//!
//! What the bytes miss of the query costs at most its norm times that of `y`, the *spread* of the row;
//! what the second level adds to `y`, the *rest*, at most its norm times that of `q`. Spread and rest are
//! stored with each row, rounded up, and so is the norm of `x`.

use half::bf16;

use super::levels::{Bounds, Levels};
use crate::encoding::distance::Query;
use crate::encoding::distance::simd::{Kernel, LANES, Simd};

/// Part of the norms by which rounding in 32-bit floats may be off, here and where vectors are decoded:
/// some operations with half a unit in the last place each.
const ROUNDING: f32 = 1.0 / (1u32 << 20) as f32;

/// What is stored with a row so that bounds can be found.
#[derive(Debug, Clone, Copy)]
pub struct Measures {
    /// Norm of the decoded vector.
    pub norm: f32,
    /// Norm of what the first level gives, without the mean.
    pub spread: bf16,
    /// Norm of what the second level adds.
    pub rest: bf16,
}

impl Measures {
    /// Of a row whose codes decode to values times `scale`, plus the mean.
    pub fn of(
        bounds: Bounds,
        codes: &[(u32, u32)],
        levels: Levels,
        scale: f64,
        mean: Option<&[f32]>,
    ) -> Self {
        let first = Levels {
            residual_bits: 0,
            ..levels
        };
        let (mut norm, mut spread, mut rest) = (0f64, 0f64, 0f64);
        for (i, (code, residual)) in codes.iter().enumerate() {
            let coarse = f64::from(bounds.value(*code, 0, first)) * scale;
            let fine = f64::from(bounds.value(*code, *residual, levels)) * scale;
            let decoded = (fine + mean.map_or(0.0, |m| f64::from(m[i]))) as f32;
            norm += f64::from(decoded).powi(2);
            spread += coarse * coarse;
            rest += (fine - coarse).powi(2);
        }
        Self {
            norm: norm.sqrt() as f32,
            spread: rounded_up(spread.sqrt()),
            rest: rounded_up(rest.sqrt()),
        }
    }
}

/// The least bfloat16 that is not below a number, which is not negative; infinity beyond the largest.
fn rounded_up(value: f64) -> bf16 {
    let bits = (value as f32).to_bits();
    // Rounding to 32 bits may have gone down.
    let up = u16::from(bits & 0xffff != 0 || f64::from(value as f32) < value);
    bf16::from_bits((bits >> 16) as u16 + up)
}

/// The values from `at` on; nothing where there are no more.
#[inline(always)]
fn lanes<T: Copy + Default>(values: &[T], at: usize) -> [T; LANES] {
    let values = values.get(at..).unwrap_or_default();
    match values.first_chunk::<LANES>() {
        Some(whole) => *whole,
        None => {
            let mut padded = [T::default(); LANES];
            padded[..values.len()].copy_from_slice(values);
            padded
        }
    }
}

/// Puts values from `at` on, as many as there is room for.
#[inline(always)]
fn store(values: &mut [f32], at: usize, lanes: &[f32; LANES]) {
    let values = values.get_mut(at..).unwrap_or_default();
    match values.first_chunk_mut::<LANES>() {
        Some(whole) => *whole = *lanes,
        None => values.copy_from_slice(&lanes[..values.len()]),
    }
}

/// See the module. All slices but `second` are as long as there are rows.
#[derive(Debug)]
pub struct Estimates<'a> {
    /// The query.
    pub query: &'a Query,
    /// Widths of the codes.
    pub levels: Levels,
    /// What decoded steps are multiplied by.
    pub scale: f32,
    /// Inner product of query and mean.
    pub base: f32,
    /// Products of the query's bytes with the codes of the first level.
    pub first: &'a [i32],
    /// And of the second, if it was read.
    pub second: Option<&'a [i32]>,
    /// Two half floats a row.
    pub bounds: &'a [u8],
    /// Norms of the decoded vectors.
    pub norms: &'a [f32],
    /// Spread and, with two levels, rest of each row.
    pub spreads: &'a [u8],
}

impl Kernel for Estimates<'_> {
    /// Inner products, and how far they may be off.
    type Output = (Vec<f32>, Vec<f32>);

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> (Vec<f32>, Vec<f32>) {
        let count = self.first.len();
        let (mut products, mut slack) = (vec![0f32; count], vec![0f32; count]);
        let two = self.levels.residual_bits > 0;
        let byte_sum = self.query.byte_sum() as f32;
        let unit = self.scale * self.query.scale();
        let top = self.levels.top() as f32;
        let part = 1.0 / (1u32 << self.levels.residual_bits) as f32;
        let middle = byte_sum * 0.5;
        let (norm, missed) = (self.query.norm(), self.query.missed());
        // The largest value that bounds allow, in every place.
        let reach = self.scale * (self.query.values().len() as f32).sqrt();
        let own = ROUNDING * self.base.abs();
        let (fine_norm, rest_norm) = match self.second {
            Some(_) => (missed, missed),
            None => (missed, norm),
        };
        for at in (0..count).step_by(LANES) {
            let sums: [f32; LANES] = lanes(self.first, at).map(|s: i32| s as f32);
            let second: [f32; LANES] = match self.second {
                Some(codes) => lanes(codes, at).map(|s: i32| s as f32 * part - middle),
                None => [0.0; LANES],
            };
            let norms: [f32; LANES] = lanes(self.norms, at);
            let pairs: [[u8; 4]; LANES] = lanes(self.bounds.as_chunks::<4>().0, at);
            let lower = std::array::from_fn(|i| u16::from_le_bytes([pairs[i][0], pairs[i][1]]));
            let upper = std::array::from_fn(|i| u16::from_le_bytes([pairs[i][2], pairs[i][3]]));
            let brain = |low: u8, high: u8| f32::from_bits(u32::from_le_bytes([0, 0, low, high]));
            let (spread, rest): ([f32; LANES], [f32; LANES]) = match two {
                true => {
                    let pairs: [[u8; 4]; LANES] = lanes(self.spreads.as_chunks::<4>().0, at);
                    (
                        std::array::from_fn(|i| brain(pairs[i][0], pairs[i][1])),
                        std::array::from_fn(|i| brain(pairs[i][2], pairs[i][3])),
                    )
                }
                false => {
                    let each: [[u8; 2]; LANES] = lanes(self.spreads.as_chunks::<2>().0, at);
                    let spread = std::array::from_fn(|i| brain(each[i][0], each[i][1]));
                    (spread, [0.0; LANES])
                }
            };
            let lower = simd.each(simd.halves(&lower));
            let upper = simd.each(simd.halves(&upper));
            let (mut product, mut off) = ([0f32; LANES], [0f32; LANES]);
            for i in 0..LANES {
                let step = (upper[i] - lower[i]) / top;
                let steps = sums[i] + second[i];
                product[i] = self.base + unit * (lower[i] * byte_sum + step * steps);
                let far = lower[i].abs().max(upper[i].abs()) * reach;
                off[i] = spread[i] * fine_norm
                    + rest[i] * rest_norm
                    + ROUNDING * (norm * (far + norms[i]))
                    + own;
            }
            store(&mut products, at, &product);
            store(&mut slack, at, &off);
        }
        (products, slack)
    }
}
