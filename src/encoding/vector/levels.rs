//! Even steps between two bounds, and even parts of a step: the arithmetic of one vector's codes.

use std::ops::Range;

use arrow::buffer::Buffer;
use half::f16;

/// Bits of the two levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Levels {
    /// Bits of the first level, 2 to 8.
    pub bits: u32,
    /// Bits of the second level, 2 to 8; zero if there is none.
    pub residual_bits: u32,
}

impl Levels {
    /// Checked.
    pub fn new(bits: u32, residual_bits: u32) -> Option<Self> {
        let sound =
            (2..=8).contains(&bits) && (residual_bits == 0 || (2..=8).contains(&residual_bits));
        sound.then_some(Self {
            bits,
            residual_bits,
        })
    }

    /// Largest code of the first level.
    pub fn top(self) -> u32 {
        (1 << self.bits) - 1
    }
}

/// Half ranges, in standard deviations, of the uniform grid that suits normal values best, for 2 to 7
/// bits: where the descent starts.
const START: [f64; 6] = [1.493, 2.051, 2.514, 2.916, 3.278, 3.611];
/// Rounds of the descent; it has settled long before.
const ROUNDS: usize = 10;

/// Bounds of one vector as stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    lower: f16,
    upper: f16,
}

impl Bounds {
    /// The bounds for a vector. `snap`: vectors of integers get steps of exactly one.
    pub fn of(values: &[f32], levels: Levels, snap: bool) -> Self {
        let least = values.iter().copied().fold(f32::INFINITY, f32::min);
        let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if snap && let Some(bounds) = Self::integers(values, least, most, levels) {
            return bounds;
        }
        let cover = Self::halves(f64::from(least), f64::from(most));
        if levels.residual_bits > 0 || levels.bits == 8 {
            return cover;
        }
        let better = Self::descent(values, least, most, levels);
        match better.loss(values, levels) < cover.loss(values, levels) {
            true => better,
            false => cover,
        }
    }

    fn halves(lower: f64, upper: f64) -> Self {
        let half = |v: f64| f16::from_f64(v.clamp(-65_504.0, 65_504.0));
        Self {
            lower: half(lower),
            upper: half(upper),
        }
    }

    fn integers(values: &[f32], least: f32, most: f32, levels: Levels) -> Option<Self> {
        // Half floats hold all integers up to 2,048.
        let upper = least + levels.top() as f32;
        let fits = most <= upper && least >= -2_048.0 && upper <= 2_048.0;
        // The sign of a zero would be lost.
        let whole = |v: &f32| v.fract() == 0.0 && v.to_bits() != 0x8000_0000;
        (fits && values.iter().all(whole)).then(|| Self::halves(least.into(), upper.into()))
    }

    /// Alternates between codes for bounds and least-squares bounds for codes.
    fn descent(values: &[f32], least: f32, most: f32, levels: Levels) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
        let square = |v: &f32| (f64::from(*v) - mean).powi(2);
        let deviation = (values.iter().map(square).sum::<f64>() / count).sqrt();
        let reach = START[levels.bits.clamp(2, 7) as usize - 2] * deviation;
        let mut a = (mean - reach).max(least.into());
        let mut b = (mean + reach).min(most.into());
        let top = f64::from(levels.top());
        let mut best = Self::halves(a, b);
        let mut best_loss = best.loss(values, levels);
        for _ in 0..ROUNDS {
            let step = (b - a) / top;
            if step <= 0.0 {
                break;
            }
            let (mut aa, mut ab, mut bb, mut ax, mut bx) = (0.0, 0.0, 0.0, 0.0, 0.0);
            for value in values {
                let x = f64::from(*value);
                let s = ((x - a) / step).round_ties_even().clamp(0.0, top) / top;
                aa += (1.0 - s) * (1.0 - s);
                ab += (1.0 - s) * s;
                bb += s * s;
                ax += x * (1.0 - s);
                bx += x * s;
            }
            let det = aa * bb - ab * ab;
            if det <= 1e-12 * count * count {
                break;
            }
            (a, b) = ((bb * ax - ab * bx) / det, (aa * bx - ab * ax) / det);
            let bounds = Self::halves(a, b);
            let loss = bounds.loss(values, levels);
            if loss >= best_loss {
                break;
            }
            (best, best_loss) = (bounds, loss);
        }
        best
    }

    /// Squared error of the first level.
    fn loss(self, values: &[f32], levels: Levels) -> f64 {
        let first = Levels {
            residual_bits: 0,
            ..levels
        };
        let error = |x: &f32| {
            let (code, _) = self.code(*x, first);
            (f64::from(*x) - f64::from(self.value(code, 0, first))).powi(2)
        };
        values.iter().map(error).sum()
    }

    fn step(self, levels: Levels) -> f32 {
        (self.upper.to_f32() - self.lower.to_f32()) / levels.top() as f32
    }

    /// The codes of a value in both levels, fitted to the bounds as stored.
    pub fn code(self, value: f32, levels: Levels) -> (u32, u32) {
        let (lower, step) = (self.lower.to_f32(), self.step(levels));
        let middle = match levels.residual_bits {
            0 => 0,
            bits => 1 << (bits - 1),
        };
        // Also where damaged or equal bounds leave no step.
        if step.is_nan() || step <= 0.0 {
            return (0, middle);
        }
        let steps = (f64::from(value) - f64::from(lower)) / f64::from(step);
        let code = steps.round_ties_even().clamp(0.0, levels.top().into());
        if levels.residual_bits == 0 {
            return (code as u32, 0);
        }
        let half = f64::from(middle);
        let rest = ((steps - code) * 2.0 * half).round_ties_even();
        (code as u32, (rest.clamp(-half, half - 1.0) + half) as u32)
    }

    /// The value of codes.
    pub fn value(self, code: u32, residual: u32, levels: Levels) -> f32 {
        let mut steps = code as f32;
        if levels.residual_bits > 0 {
            let half = (1u32 << (levels.residual_bits - 1)) as f32;
            steps += (residual as f32 - half) / (2.0 * half);
        }
        self.lower.to_f32() + steps * self.step(levels)
    }

    /// The values of the codes of a vector, as [`Bounds::value`] gives them.
    #[inline(always)]
    pub fn values(self, codes: &[u8], residuals: &[u8], levels: Levels, out: &mut Vec<f32>) {
        let (lower, step) = (self.lower.to_f32(), self.step(levels));
        if levels.residual_bits == 0 {
            out.extend(codes.iter().map(|c| lower + f32::from(*c) * step));
            return;
        }
        let half = (1u32 << (levels.residual_bits - 1)) as f32;
        let value = |(c, r): (&u8, &u8)| {
            lower + (f32::from(*c) + (f32::from(*r) - half) / (2.0 * half)) * step
        };
        out.extend(codes.iter().zip(residuals).map(value));
    }

    /// The factor by which inner products with the first level are best multiplied:
    /// `|x|^2 / <x, x^>` (RaBitQ, SIGMOD 2024, and EDEN, ICML 2022, for their codes); one where that
    /// is no sensible number.
    pub fn correction(self, values: &[f32], codes: &[(u32, u32)], levels: Levels) -> f16 {
        let (mut own, mut with) = (0f64, 0f64);
        for (value, (code, _)) in values.iter().zip(codes) {
            let value = f64::from(*value);
            own += value * value;
            with += value * f64::from(self.value(*code, 0, levels));
        }
        match own / with {
            factor if (0.125..8.0).contains(&factor) => f16::from_f64(factor),
            _ => f16::ONE,
        }
    }

    /// Lower, then upper bound, little-endian.
    pub fn to_bytes(self) -> [u8; 4] {
        let ([a, b], [c, d]) = (self.lower.to_le_bytes(), self.upper.to_le_bytes());
        [a, b, c, d]
    }

    /// Reads what [`Bounds::to_bytes`] made.
    pub fn from_bytes(bytes: &Buffer) -> Self {
        let at = |i: usize| bytes.get(i).copied().unwrap_or(0);
        Self {
            lower: f16::from_le_bytes([at(0), at(1)]),
            upper: f16::from_le_bytes([at(2), at(3)]),
        }
    }
}

/// Appends a row of codes, the first in the lowest bits, and fills the last byte with zeros.
pub fn pack(codes: impl Iterator<Item = u32>, bits: u32, out: &mut Vec<u8>) {
    let (mut word, mut filled) = (0u32, 0);
    for code in codes {
        word |= code << filled;
        filled += bits;
        while filled >= 8 {
            out.push(word as u8);
            word >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        out.push(word as u8);
    }
}

/// The codes of consecutive elements of a row of which the bytes from `first` on are at hand.
pub fn unpack_all(
    bytes: &[u8],
    first: usize,
    elements: &Range<usize>,
    bits: u32,
    out: &mut Vec<u8>,
) {
    out.clear();
    let mut at = elements.start * bits as usize - 8 * first;
    if let (8, Some(whole)) = (bits, bytes.get(at / 8..at / 8 + elements.len())) {
        out.extend_from_slice(whole);
        return;
    }
    let pairs = bytes.get(at / 8..(at / 8 + elements.len().div_ceil(2)));
    if let (4, 0, Some(pairs)) = (bits, at % 8, pairs) {
        out.extend(pairs.iter().flat_map(|b| [b & 15, b >> 4]));
        out.truncate(elements.len());
        return;
    }
    let byte = |i: usize| u32::from(bytes.get(i).copied().unwrap_or(0));
    let mask = (1u32 << bits) - 1;
    out.extend(elements.clone().map(|_| {
        let word = byte(at / 8) | byte(at / 8 + 1) << 8;
        let code = word >> (at % 8) & mask;
        at += bits as usize;
        code as u8
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_codes_come_back_from_any_element() {
        for bits in 2..=8 {
            let codes: Vec<u32> = (0..37u32).map(|i| (i * 7 + 3) % (1 << bits)).collect();
            let mut bytes = Vec::new();
            pack(codes.iter().copied(), bits, &mut bytes);
            assert_eq!(bytes.len(), (37 * bits as usize).div_ceil(8));
            for from in [0, 5, 36] {
                let first = from * bits as usize / 8;
                let mut found = Vec::new();
                unpack_all(&bytes[first..], first, &(from..37), bits, &mut found);
                let found: Vec<u32> = found.into_iter().map(u32::from).collect();
                assert_eq!(found, codes[from..]);
            }
        }
    }

    #[test]
    fn residuals_of_covering_bounds_lie_within_half_a_step_of_the_second_level() {
        let values: Vec<f32> = (0..64).map(|i| (i as f32 * 0.37).sin()).collect();
        let levels = Levels::new(4, 8).unwrap();
        let bounds = Bounds::of(&values, levels, true);
        for value in &values {
            let (code, residual) = bounds.code(*value, levels);
            let off = (bounds.value(code, residual, levels) - value).abs();
            assert!(off <= bounds.step(levels) / 256.0, "{value} off by {off}");
        }
    }

    #[test]
    fn values_of_a_row_are_those_of_its_codes_one_by_one() {
        let given: Vec<f32> = (0..80)
            .map(|i| (i as f32 * 0.37).sin() * 3.0 - 0.7)
            .collect();
        for levels in [(8, 0), (3, 0), (4, 8), (5, 2)] {
            let levels = Levels::new(levels.0, levels.1).unwrap();
            let bounds = Bounds::of(&given, levels, true);
            let both: Vec<(u32, u32)> = given.iter().map(|v| bounds.code(*v, levels)).collect();
            let first: Vec<u8> = both.iter().map(|b| b.0 as u8).collect();
            let second: Vec<u8> = both.iter().map(|b| b.1 as u8).collect();
            let mut found = Vec::new();
            bounds.values(&first, &second, levels, &mut found);
            let one = |b: &(u32, u32)| bounds.value(b.0, b.1, levels).to_bits();
            let expected: Vec<u32> = both.iter().map(one).collect();
            let found: Vec<u32> = found.iter().map(|v| v.to_bits()).collect();
            assert_eq!(found, expected, "{levels:?}");
        }
    }

    #[test]
    fn optimized_bounds_lose_less_than_those_that_cover() {
        let values: Vec<f32> = (0..256)
            .map(|i| {
                (i as f32 * 1.7).sin() * (i as f32 * 0.31).cos() + if i == 9 { 3.0 } else { 0.0 }
            })
            .collect();
        let levels = Levels::new(2, 0).unwrap();
        let best = Bounds::of(&values, levels, true).loss(&values, levels);
        let cover = Bounds::halves(-1.0, 4.0).loss(&values, levels);
        assert!(best < 0.5 * cover, "{best} against {cover}");
    }

    #[test]
    fn vectors_that_are_constant_or_whole_come_back_exactly() {
        for values in [[-1.5f32; 5], [0.0; 5], [3.0, 0.0, 255.0, 17.0, 254.0]] {
            let levels = Levels::new(8, 0).unwrap();
            let bounds = Bounds::of(&values, levels, true);
            for value in values {
                let (code, residual) = bounds.code(value, levels);
                assert_eq!(bounds.value(code, residual, levels), value);
            }
        }
    }
}
