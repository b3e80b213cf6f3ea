//! Elements of rows sorted into classes, a probability table each, and how tables are stored.
//!
//! A symbol is the upper bits of a float: sign, exponent and perhaps the first bits of the mantissa.
//! Tables are small beside what they save only if they take little themselves: a byte for each symbol
//! between the first and the last that occur, when signs are folded to the end (`rotl(symbol, 1)`). The
//! byte is the count on a scale of eighths of an octave, which by reckoning costs half a thousandth of a
//! bit a symbol; zero is a symbol that does not occur.

use std::ops::Range;

use crate::encoding::entropy::rans::{Interval, Tables};
use crate::encoding::words::Word;
use crate::error::{Error, Result};

/// Most tables: more stop paying for themselves (measured on the caches of small decoders).
const MOST_TABLES: usize = 16;
/// What a symbol between the first and the last of a table costs, in bits.
const ENTRY_BITS: f64 = 8.0;
/// What a table costs beside its symbols, in bits.
const TABLE_BITS: f64 = 24.0;
/// Bits of the widest symbols: sign and exponent of a double.
const MOST_SYMBOL_BITS: u32 = 12;

/// 256 times the powers of two of 0 to 7 eighths.
const EIGHTHS: [u64; 8] = [256, 279, 304, 332, 362, 395, 431, 470];

/// The byte that stands for a count above zero.
fn level(count: u32) -> u8 {
    (1.0 + (8.0 * f64::from(count).log2()).round()).min(255.0) as u8
}

/// The count that a byte above zero stands for.
fn count(level: u8) -> u32 {
    let eighths = u32::from(level.saturating_sub(1));
    (EIGHTHS[eighths as usize % 8] << (eighths / 8) >> 8) as u32
}

/// Symbols of so many bits, with the sign on top.
#[derive(Debug, Clone, Copy)]
struct Signed {
    bits: u32,
}

impl Signed {
    fn fold(self, symbol: usize) -> usize {
        let top = self.bits - 1;
        symbol << 1 & ((1 << self.bits) - 1) | symbol >> top
    }

    fn unfold(self, folded: usize) -> usize {
        folded >> 1 | (folded & 1) << (self.bits - 1)
    }
}

/// Tables as they are stored.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'a> {
    /// First symbol of each table.
    pub firsts: &'a [u32],
    /// How many symbols from the first to the last of each table.
    pub sizes: &'a [u32],
    /// A byte for each of them.
    pub levels: &'a [u8],
}

impl Stored<'_> {
    /// The tables of symbols of so many bits. Fails if some are impossible.
    pub fn tables(self, bits: u32) -> Result<Tables> {
        let bad = || Error::corrupt("impossible tables of symbols");
        let all: u64 = self.sizes.iter().map(|s| u64::from(*s)).sum();
        let sound = self.firsts.len() == self.sizes.len()
            && all == self.levels.len() as u64
            && (1..=MOST_SYMBOL_BITS).contains(&bits);
        if !sound {
            return Err(bad());
        }
        let signed = Signed { bits };
        let mut tables = Tables::default();
        let mut left = self.levels;
        for (&first, &size) in self.firsts.iter().zip(self.sizes) {
            let (levels, rest) = left.split_at(size as usize);
            left = rest;
            if u64::from(first) + u64::from(size) > 1 << bits {
                return Err(bad());
            }
            let mut found: Vec<(u32, u32)> = (first as usize..)
                .zip(levels)
                .filter(|(_, level)| **level > 0)
                .map(|(folded, level)| (signed.unfold(folded) as u32, count(*level)))
                .collect();
            found.sort_unstable();
            let (symbols, counts): (Vec<u32>, Vec<u32>) = found.into_iter().unzip();
            tables.push(&symbols, &counts)?;
        }
        Ok(tables)
    }
}

/// The symbols that some values have.
#[derive(Debug)]
struct Used {
    signed: Signed,
    /// In ascending order.
    symbols: Vec<u32>,
    /// Place of each symbol among them.
    places: Vec<u32>,
}

impl Used {
    fn of<W: Word>(values: &[W], raw: u32) -> Self {
        let signed = Signed {
            bits: W::BITS as u32 - raw,
        };
        let mut occurs = vec![false; 1 << signed.bits];
        for value in values {
            occurs[(value.widen() >> raw) as usize] = true;
        }
        let (mut symbols, mut places) = (Vec::new(), Vec::with_capacity(occurs.len()));
        for (symbol, occurs) in (0..).zip(occurs) {
            places.push(symbols.len() as u32);
            if occurs {
                symbols.push(symbol);
            }
        }
        Self {
            signed,
            symbols,
            places,
        }
    }

    /// How often each of the symbols occurs in each element of rows of `width` values.
    fn histograms<W: Word>(&self, values: &[W], width: usize, raw: u32) -> Vec<Vec<u32>> {
        let mut histograms = vec![vec![0u32; self.symbols.len()]; width];
        for row in values.chunks_exact(width) {
            for (histogram, value) in histograms.iter_mut().zip(row) {
                histogram[self.places[(value.widen() >> raw) as usize] as usize] += 1;
            }
        }
        histograms
    }

    /// Symbols of a table, signs folded, and their counts.
    fn folded<'a>(&'a self, counts: &'a [u32]) -> impl Iterator<Item = (usize, u32)> + 'a {
        let pairs = self.symbols.iter().zip(counts).filter(|(_, n)| **n > 0);
        pairs.map(|(symbol, n)| (self.signed.fold(*symbol as usize), *n))
    }

    /// The symbols of a table from the first that occurs to the last, signs folded.
    fn range(&self, counts: &[u32]) -> Range<usize> {
        let ends = self
            .folded(counts)
            .fold((usize::MAX, 0), |(a, b), (f, _)| (a.min(f), b.max(f + 1)));
        ends.0.min(ends.1)..ends.1
    }

    /// Bits of symbols coded by their own counts, and of the table.
    fn cost(&self, counts: &[u32]) -> f64 {
        let total: f64 = counts.iter().map(|&n| f64::from(n)).sum();
        let used = counts.iter().filter(|n| **n > 0);
        let symbols: f64 = used
            .map(|&n| f64::from(n) * (total / f64::from(n)).log2())
            .sum();
        symbols + TABLE_BITS + ENTRY_BITS * self.range(counts).len() as f64
    }
}

/// Bits that the symbols of values take with one table for all.
pub fn bits_in_one<W: Word>(values: &[W], raw: u32) -> f64 {
    let used = Used::of(values, raw);
    let histograms = used.histograms(values, 1, raw);
    histograms.iter().map(|h| used.cost(h)).sum()
}

/// Elements of rows, sorted into classes that share a probability table.
#[derive(Debug)]
pub struct Classes {
    /// Class of each element.
    pub of: Vec<u8>,
    /// What the symbols and the tables take together.
    pub bits: f64,
    used: Used,
    /// How often each of the used symbols occurs in each class.
    counts: Vec<Vec<u32>>,
}

impl Classes {
    /// Classes for rows of `width` values, whose symbols are all but the last `raw` bits.
    pub fn find<W: Word>(values: &[W], width: usize, raw: u32) -> Self {
        let used = Used::of(values, raw);
        let histograms = used.histograms(values, width, raw);
        let mut best = Sorted::of(&used, &histograms, vec![0; width]);
        // Elements in the order of their magnitude make good first classes.
        let mut order: Vec<usize> = (0..width).collect();
        let magnitude = |e: usize| {
            let half = 1u32 << (used.signed.bits - 1);
            let histogram = used.symbols.iter().zip(&histograms[e]);
            histogram
                .map(|(s, &n)| u64::from(s % half) * u64::from(n))
                .sum::<u64>()
        };
        order.sort_by_cached_key(|&e| magnitude(e));
        let mut count = 2;
        while count <= MOST_TABLES.min(width / 2) {
            let mut of = vec![0u8; width];
            for (place, &element) in order.iter().enumerate() {
                of[element] = (place * count / width) as u8;
            }
            let mut found = Sorted::of(&used, &histograms, of);
            for _ in 0..4 {
                found = Sorted::of(&used, &histograms, found.nearest(&histograms));
            }
            if found.bits < best.bits {
                best = found;
            }
            count *= 2;
        }
        Self {
            of: best.of,
            bits: best.bits,
            counts: best.counts,
            used,
        }
    }

    /// First symbols, sizes and levels of the tables, as in [`Stored`].
    pub fn stored(&self) -> (Vec<u32>, Vec<u32>, Vec<u8>) {
        let (mut firsts, mut sizes, mut all) = (Vec::new(), Vec::new(), Vec::new());
        for counts in &self.counts {
            let range = self.used.range(counts);
            let mut levels = vec![0; range.len()];
            for (folded, n) in self.used.folded(counts) {
                levels[folded - range.start] = level(n);
            }
            firsts.push(range.start as u32);
            sizes.push(levels.len() as u32);
            all.append(&mut levels);
        }
        (firsts, sizes, all)
    }

    /// Where each symbol stands in each of the tables.
    pub fn coder(&self, tables: &Tables) -> Vec<Vec<Option<Interval>>> {
        let of = |table| (0..1u32 << self.used.signed.bits).map(move |s| tables.find(table, s));
        (0..self.counts.len() as u32)
            .map(|table| of(table).collect())
            .collect()
    }
}

/// An assignment of elements to classes.
struct Sorted {
    of: Vec<u8>,
    counts: Vec<Vec<u32>>,
    bits: f64,
}

impl Sorted {
    /// The classes of an assignment, numbered without gaps.
    fn of(used: &Used, histograms: &[Vec<u32>], mut of: Vec<u8>) -> Self {
        let mut taken: Vec<u8> = of.clone();
        taken.sort_unstable();
        taken.dedup();
        of.iter_mut()
            .for_each(|c| *c = taken.partition_point(|u| u < c) as u8);
        let mut counts = vec![vec![0u32; used.symbols.len()]; taken.len()];
        for (histogram, &class) in histograms.iter().zip(&of) {
            for (sum, n) in counts[class as usize].iter_mut().zip(histogram) {
                *sum += n;
            }
        }
        let bits = counts.iter().map(|c| used.cost(c)).sum();
        Self { of, counts, bits }
    }

    /// The cheapest class of each element.
    fn nearest(&self, histograms: &[Vec<u32>]) -> Vec<u8> {
        let prices: Vec<Vec<f64>> = self.counts.iter().map(|c| prices(c)).collect();
        let cheapest = |histogram: &Vec<u32>| {
            let price = |p: &Vec<f64>| -> f64 {
                let used = histogram.iter().zip(p).filter(|(n, _)| **n > 0);
                used.map(|(&n, bits)| f64::from(n) * bits).sum()
            };
            let all = prices.iter().map(price).enumerate();
            all.min_by(|a, b| a.1.total_cmp(&b.1))
                .map_or(0, |(i, _)| i as u8)
        };
        histograms.iter().map(cheapest).collect()
    }
}

/// Bits of each symbol under a table of these counts, a little added to each.
fn prices(counts: &[u32]) -> Vec<f64> {
    let total: f64 = counts.iter().map(|&n| f64::from(n) + 0.01).sum();
    let price = |&n: &u32| (total / (f64::from(n) + 0.01)).log2();
    counts.iter().map(price).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_on_the_scale_are_near_those_that_were_counted() {
        for n in (1..5000u32).chain((0..20).map(|i| 3_000_000_000 - i * 77_777_777)) {
            let near = f64::from(count(level(n)));
            assert!(
                (near / f64::from(n)).log2().abs() < 0.13 || n < 12,
                "{n} {near}"
            );
        }
        assert!((1..=4).all(|n| count(level(n)) == n));
        assert!((0..=255).all(|byte| count(byte) > 0));
    }

    #[test]
    fn folded_symbols_come_back() {
        for bits in [1, 2, 6, 12] {
            let signed = Signed { bits };
            let mut seen = vec![false; 1 << bits];
            for symbol in 0..1 << bits {
                let folded = signed.fold(symbol);
                assert_eq!(signed.unfold(folded), symbol);
                assert!(!std::mem::replace(&mut seen[folded], true));
            }
        }
    }

    #[test]
    fn stored_tables_have_the_symbols_that_occur_and_no_others() {
        let values: Vec<u16> = (0..4000u16)
            .map(|i| [0x3c00, 0xbc00, 0x4200, 0x3d01][(i % 4) as usize] + i % 3)
            .collect();
        let classes = Classes::find(&values, 4, 10);
        let (firsts, sizes, levels) = classes.stored();
        let stored = Stored {
            firsts: &firsts,
            sizes: &sizes,
            levels: &levels,
        };
        let tables = stored.tables(6).unwrap();
        let coder = classes.coder(&tables);
        let mut seen = vec![vec![false; 64]; coder.len()];
        for (i, value) in values.iter().enumerate() {
            seen[classes.of[i % 4] as usize][usize::from(value >> 10)] = true;
        }
        for (table, seen) in coder.iter().zip(&seen) {
            let has: Vec<bool> = table.iter().map(Option::is_some).collect();
            assert_eq!(&has, seen);
        }
        for firsts in [&[63][..], &[]] {
            assert!(Stored { firsts, ..stored }.tables(6).is_err());
        }
    }
}
