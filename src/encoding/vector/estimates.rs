//! Bounds of distances of coded vectors from a query, from the inner products of their codes.
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
use crate::encoding::distance::simd::{Kernel, LANES, Simd, lanes};
use crate::encoding::distance::{Distances, Query};

/// Part of the norms by which rounding in 32-bit floats may be off, here and where vectors are decoded:
/// some operations with half a unit in the last place each.
const ROUNDING: f32 = 1.0 / (1u32 << 19) as f32;

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

/// See the module. Products of as many rows as there are, and bytes that are stored with each of them.
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
    /// Norms of the decoded vectors, as floats lie in memory.
    pub norms: &'a [u8],
    /// Spread and, with two levels, rest of each row.
    pub spreads: &'a [u8],
}

impl Kernel for Estimates<'_> {
    /// Bounds of the distances.
    type Output = Distances;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Distances {
        let count = self.first.len();
        let mut out = Distances::with_capacity(count);
        let bounding = self.query.bounding();
        let two = self.levels.residual_bits > 0;
        let byte_sum = self.query.byte_sum() as f32;
        let unit = self.scale * self.query.scale();
        let part_of_top = 1.0 / self.levels.top() as f32;
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
            let norms = words(self.norms, at).map(f32::from_bits);
            let pairs = words(self.bounds, at);
            let lower = simd.each(simd.halves(&pairs.map(|w| w as u16)));
            let upper = simd.each(simd.halves(&pairs.map(|w| (w >> 16) as u16)));
            let (spread, rest) = match two {
                true => {
                    let pairs = words(self.spreads, at);
                    (
                        pairs.map(|w| f32::from_bits(w << 16)),
                        pairs.map(|w| f32::from_bits(w & 0xffff_0000)),
                    )
                }
                false => {
                    let each: [[u8; 2]; LANES] = lanes(self.spreads.as_chunks::<2>().0, at);
                    let wide = |b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16);
                    (each.map(wide), [0.0; LANES])
                }
            };
            let (mut product, mut off) = ([0f32; LANES], [0f32; LANES]);
            for i in 0..LANES {
                let step = (upper[i] - lower[i]) * part_of_top;
                let steps = sums[i] + second[i];
                product[i] = self.base + unit * (lower[i] * byte_sum + step * steps);
                let far = lower[i].abs().max(upper[i].abs()) * reach;
                off[i] = spread[i] * fine_norm
                    + rest[i] * rest_norm
                    + ROUNDING * (norm * (far + norms[i]))
                    + own;
            }
            out.push(&bounding.bounds(simd, &product, &off, &norms), count - at);
        }
        out
    }
}

/// Words from `at` on as they lie in memory.
#[inline(always)]
fn words(bytes: &[u8], at: usize) -> [u32; LANES] {
    lanes(bytes.as_chunks::<4>().0, at).map(u32::from_le_bytes)
}
