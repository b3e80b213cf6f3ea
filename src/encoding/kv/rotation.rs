//! Rotary positions (RoPE) in integers, so that every machine turns by the same angles.
//!
//! Pair `i` of a head is turned by position times a frequency. Frequencies are fractions of a full
//! turn in 1/2^64, so the product with a position wraps around as angles do and is exact. Cosine and
//! sine are polynomials in fixed point, good to about 2^-29.

use crate::error::{Error, Result};

/// Which elements of a head are a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairing {
    /// `i` and `i + n`, of `n` pairs (Hugging Face, NeoX).
    Half,
    /// `2 i` and `2 i + 1` (llama2.c, GPT-J).
    Interleaved,
}

/// How keys are turned by their positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// Which elements are pairs.
    pub pairing: Pairing,
    /// Turns a position of each pair, in 1/2^64; none if keys are not turned. Elements of a head
    /// beyond the pairs stay.
    pub frequencies: Vec<u64>,
}

/// One, in the fixed point of cosines and sines.
pub const ONE: i64 = 1 << 30;

impl Rotation {
    /// No rotation.
    pub fn none() -> Self {
        Self {
            pairing: Pairing::Half,
            frequencies: Vec::new(),
        }
    }

    /// The usual frequencies `base^(-2 i / dimensions)` radians a position.
    pub fn with_base(pairing: Pairing, base: f64, dimensions: usize) -> Self {
        let turns = |i: usize| {
            let angle = base.powf(-2.0 * i as f64 / dimensions as f64);
            (angle / std::f64::consts::TAU * 2f64.powi(64)) as u64
        };
        Self {
            pairing,
            frequencies: (0..dimensions / 2).map(turns).collect(),
        }
    }

    /// Fails if there are more pairs than a head of this size has.
    pub fn check(&self, head: usize) -> Result<()> {
        match 2 * self.frequencies.len() <= head {
            true => Ok(()),
            false => Err(Error::corrupt(format!(
                "{} pairs in heads of {head} elements",
                self.frequencies.len()
            ))),
        }
    }

    /// The elements of a pair.
    #[inline]
    fn pair(&self, i: usize) -> (usize, usize) {
        match self.pairing {
            Pairing::Half => (i, i + self.frequencies.len()),
            Pairing::Interleaved => (2 * i, 2 * i + 1),
        }
    }

    /// Cosine and sine of each pair at a position, in 1/2^30.
    pub fn at(&self, position: u32, to: &mut Vec<(i64, i64)>) {
        to.clear();
        let angle = |&f: &u64| cosine_and_sine(f.wrapping_mul(u64::from(position)));
        to.extend(self.frequencies.iter().map(angle));
    }

    /// Turns one head of fixed-point values below 2^32, rounding to nearest.
    #[inline]
    pub fn turn(&self, angles: &[(i64, i64)], head: &mut [i64]) {
        for (i, &(c, s)) in angles.iter().enumerate() {
            let (a, b) = self.pair(i);
            let (u, v) = (head[a], head[b]);
            head[a] = (u * c - v * s + (ONE >> 1)) >> 30;
            head[b] = (u * s + v * c + (ONE >> 1)) >> 30;
        }
    }

    /// Turns one head back, for encoding.
    pub fn turn_back(&self, angles: &[(i64, i64)], head: &mut [f64]) {
        for (i, &(c, s)) in angles.iter().enumerate() {
            let (a, b) = self.pair(i);
            let (c, s) = (c as f64 / ONE as f64, s as f64 / ONE as f64);
            let (u, v) = (head[a], head[b]);
            head[a] = u * c + v * s;
            head[b] = v * c - u * s;
        }
    }
}

/// Cosine and sine of an angle in 1/2^64 of a full turn.
fn cosine_and_sine(turn: u64) -> (i64, i64) {
    // The nearest quarter turn, and what is left: at most an eighth of a turn.
    let quarter = (turn.wrapping_add(1 << 61) >> 62) & 3;
    let rest = turn.wrapping_sub(quarter << 62) as i64;
    // 2 pi, rounded, in 1/2^28.
    const TAU: i64 = 1_686_629_713;
    // From 1/2^64 turns to 1/2^33 turns, times 1/2^28, to radians in 1/2^31.
    let x = ((rest >> 31) * TAU) >> 30;
    let one = 1i64 << 31;
    let square = (x * x) >> 31;
    let term = |inner: i64, divisor: i64| one - ((square * inner) >> 31) / divisor;
    let sine = term(term(term(term(one, 72), 42), 20), 6);
    let sine = ((x * sine) >> 31) >> 1;
    let cosine = term(term(term(term(term(one, 90), 56), 30), 12), 2) >> 1;
    match quarter {
        0 => (cosine, sine),
        1 => (-sine, cosine),
        2 => (-cosine, -sine),
        _ => (sine, -cosine),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosines_and_sines_are_right_to_nine_digits() {
        let mut turn = 0u64;
        for _ in 0..10_000 {
            turn = turn
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let angle = turn as f64 / 2f64.powi(64) * std::f64::consts::TAU;
            let (c, s) = cosine_and_sine(turn);
            assert!((c as f64 / ONE as f64 - angle.cos()).abs() < 4e-9, "{turn}");
            assert!((s as f64 / ONE as f64 - angle.sin()).abs() < 4e-9, "{turn}");
        }
    }

    #[test]
    fn heads_are_turned_and_turned_back() {
        for pairing in [Pairing::Half, Pairing::Interleaved] {
            // The last two elements of the head are not turned.
            let rotation = Rotation::with_base(pairing, 10_000.0, 6);
            let mut angles = Vec::new();
            for position in [0, 1, 77, 100_000] {
                rotation.at(position, &mut angles);
                let given: Vec<i64> = (0..8).map(|i| (i - 3) << 20).collect();
                let mut head = given.clone();
                rotation.turn(&angles, &mut head);
                assert_eq!(&head[6..], &given[6..]);
                let expected = f64::from(position) * 10_000f64.powf(-2.0 / 6.0);
                let (a, b) = rotation.pair(1);
                let turned = given[a] as f64 * expected.cos() - given[b] as f64 * expected.sin();
                assert!((turned - head[a] as f64).abs() < 2.0, "{position}");
                let mut back: Vec<f64> = head.iter().map(|&x| x as f64).collect();
                rotation.turn_back(&angles, &mut back);
                for (x, y) in back.iter().zip(&given) {
                    assert!((x - *y as f64).abs() < 2.0);
                }
            }
        }
    }
}
