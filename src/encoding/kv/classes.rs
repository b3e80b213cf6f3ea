//! Probability tables of quantized transform coefficients, by scale class.
//!
//! A coefficient is quantized by a uniform step; its integers follow about a logistic distribution
//! around zero. Class `i` stands for a scale of 2^(i/4) / 16 steps. The tables are computed, not
//! stored, in integers only, so that every machine has the same ones:
//!
//! ```text
//! t(n) = RATIOS[i]^n in 1/2^32, each product rounded down      RATIOS[i] = 2^32 exp(-1 / (2 scale))
//! G(n) = 2^24 t(n) / (2^32 + t(n)), rounded down               the share of integers above n / 2
//! count(0) = 2^24 - 2 G(1)      count(q) = G(2 |q| - 1) - G(2 |q| + 1), at least 1
//! ```
//!
//! Integers beyond the class's limit are *escapes*: one symbol of count `2 G(2 limit + 1)`, at least
//! 1, then two symbols of six bits each.

use std::sync::OnceLock;

use crate::encoding::entropy::rans::{Interval, Tables};

/// Number of scale classes.
pub const CLASSES: usize = 48;
/// Classes an octave.
pub const PER_OCTAVE: f64 = 4.0;
/// Largest magnitude of an integer.
pub const LARGEST: i16 = 2047;
/// Scale of the first class, as a power of two.
const FIRST_LOG2: f64 = -4.0;
/// Standard deviation of a logistic distribution of scale 1: pi / sqrt(3).
const DEVIATION: f64 = 1.813_799_364_234_217_8;
/// Table of the halves of an escaped integer.
const FLAT: u32 = CLASSES as u32;
/// Values of half an escaped integer.
const HALF: u32 = 64;

/// exp(-1 / (2 scale)) of each class, in 1/2^32.
const RATIOS: [u64; CLASSES] = [
    1440801, 5145013, 15004422, 36905875, 78665070, 148652826, 253857248, 398132550, 581260615,
    799036310, 1044178424, 1307656790, 1580030169, 1852521207, 2117713904, 2369882518, 2605029347,
    2820730047, 3015876649, 3190386796, 3344923893, 3480652712, 3599040369, 3701703250, 3790295335,
    3866431115, 3931635878, 3987316692, 4034748382, 4075069962, 4109287957, 4138284039, 4162825044,
    4183574096, 4201101925, 4215897841, 4228380000, 4238904802, 4247775344, 4255248918, 4261543595,
    4266843974, 4271306145, 4275061981, 4278222805, 4280882540, 4283120382, 4285003080,
];

/// Largest magnitude that class `i` has a symbol of its own for: ten scales, of which one in twenty
/// thousand is larger.
fn limit(class: usize) -> i32 {
    let scale = 10u64 << (class / 4) >> 4;
    // The quarters of an octave are rounded up to the next octave.
    (scale as i32 * 2 + 2).min(511)
}

/// The tables, and what an encoder looks up in them.
#[derive(Debug)]
pub struct Classes {
    /// Table `i` is class `i`'s; symbols are `q + limit`, then the escape. The last is the flat one.
    pub tables: Tables,
    intervals: Vec<Vec<Interval>>,
    /// Bits of each symbol.
    bits: Vec<Vec<f32>>,
    flat: Vec<Interval>,
    limits: Vec<i32>,
}

impl Classes {
    /// The tables of this process.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Classes> = OnceLock::new();
        SHARED.get_or_init(Self::new)
    }

    fn new() -> Self {
        let mut tables = Tables::default();
        let mut intervals = Vec::new();
        let limits: Vec<i32> = (0..CLASSES).map(limit).collect();
        let mut push = |counts: &[u32]| {
            let symbols: Vec<u32> = (0..counts.len() as u32).collect();
            // Never refused: the symbols ascend and no count is zero.
            let Ok(table) = tables.push(&symbols, counts) else {
                return Vec::new();
            };
            let find = |&s: &u32| tables.find(table, s);
            symbols.iter().filter_map(find).collect::<Vec<_>>()
        };
        for (&ratio, &limit) in RATIOS.iter().zip(&limits) {
            intervals.push(push(&counts(ratio, limit as usize)));
        }
        let flat = push(&[1; HALF as usize]);
        let bits = |of: &Vec<Interval>| of.iter().map(|i| i.bits() as f32).collect();
        Self {
            tables,
            bits: intervals.iter().map(bits).collect(),
            intervals,
            flat,
            limits,
        }
    }

    /// The symbols of an integer of a class: one, or three of an escape.
    #[inline]
    pub fn push(&self, class: u8, level: i16, to: &mut Vec<Interval>) {
        let (limit, level) = (self.limits[class as usize], i32::from(level));
        let intervals = &self.intervals[class as usize];
        if level.abs() <= limit {
            to.push(intervals[(level + limit) as usize]);
            return;
        }
        let folded = (level + i32::from(LARGEST) + 1).clamp(0, 4095) as u32;
        to.push(intervals[(2 * limit + 1) as usize]);
        to.push(self.flat[(folded / HALF) as usize]);
        to.push(self.flat[(folded % HALF) as usize]);
    }

    /// Bits of an integer in a class.
    #[inline]
    pub fn bits(&self, class: usize, level: i16) -> f64 {
        let (limit, level) = (self.limits[class], i32::from(level));
        let bits = &self.bits[class];
        f64::from(match level.abs() <= limit {
            true => bits[(level + limit) as usize],
            false => bits[(2 * limit + 1) as usize] + 12.0,
        })
    }

    /// The integer of a symbol; `more` gives further symbols of a table.
    #[inline]
    pub fn level(&self, class: u8, symbol: u32, mut more: impl FnMut(u32) -> u32) -> i16 {
        let limit = self.limits[class as usize];
        match symbol as i32 <= 2 * limit {
            true => (symbol as i32 - limit) as i16,
            false => {
                let folded = more(FLAT) * HALF + more(FLAT);
                folded as i16 - LARGEST - 1
            }
        }
    }
}

/// Counts of `-limit..=limit` and of the escape.
fn counts(ratio: u64, limit: usize) -> Vec<u32> {
    let square = (ratio * ratio) >> 32;
    // Shares above 1/2, 3/2, ...
    let mut power = ratio;
    let mut above = Vec::with_capacity(limit + 1);
    for _ in 0..=limit {
        above.push(((power << 24) / ((1 << 32) + power)) as u32);
        power = (power * square) >> 32;
    }
    let middle = (1u32 << 24) - 2 * above[0];
    let sides = above.windows(2).map(|w| (w[0] - w[1]).max(1));
    let mut counts: Vec<u32> = sides.clone().collect();
    counts.reverse();
    counts.push(middle.max(1));
    counts.extend(sides);
    counts.push((2 * above[limit]).max(1));
    counts
}

/// The class of coefficients of this standard deviation, in steps.
pub fn class_of(deviation: f64) -> usize {
    let octaves = (deviation.max(1e-9) / DEVIATION).log2() - FIRST_LOG2;
    (octaves * PER_OCTAVE)
        .round()
        .clamp(0.0, (CLASSES - 1) as f64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::entropy::rans;

    #[test]
    fn integers_come_back_in_every_class() {
        let classes = Classes::shared();
        let levels = [0i16, 1, -1, 5, -40, 600, LARGEST, -LARGEST];
        let mut intervals = Vec::new();
        for class in 0..CLASSES as u8 {
            for level in levels {
                classes.push(class, level, &mut intervals);
            }
        }
        let bytes = rans::encode(&intervals);
        let mut decoder = rans::Decoder::new(&bytes).unwrap();
        let mut index = 0;
        let mut next = |table| {
            index += 1;
            decoder.symbol(index - 1, &classes.tables, table)
        };
        for class in 0..CLASSES as u8 {
            for level in levels {
                let symbol = next(u32::from(class));
                assert_eq!(classes.level(class, symbol, &mut next), level);
            }
        }
        decoder.finish().unwrap();
    }

    #[test]
    fn the_class_of_a_deviation_is_the_cheapest() {
        let classes = Classes::shared();
        let mut seed = 1u64;
        let mut uniform = || {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            ((seed >> 33) as f64 + 0.5) / (1u64 << 31) as f64
        };
        for deviation in [0.3, 1.0, 7.0, 60.0] {
            let levels: Vec<i16> = (0..4000)
                .map(|_| {
                    let p = uniform();
                    ((p / (1.0 - p)).ln() * deviation / DEVIATION).round() as i16
                })
                .collect();
            let cost = |class: usize| levels.iter().map(|&q| classes.bits(class, q)).sum::<f64>();
            let best = (0..CLASSES).min_by(|&a, &b| cost(a).total_cmp(&cost(b)));
            let found = class_of(deviation);
            assert!(best.unwrap().abs_diff(found) <= 1, "{deviation}");
        }
    }
}
