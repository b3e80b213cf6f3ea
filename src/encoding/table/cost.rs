//! What coding symbols under a context would cost, learning included.
//!
//! One adaptive pass over a sample: a symbol's probability is (its count in the context + 1.5 times
//! its share of the sample) / (the context's count + 1.5). A context that tells nothing costs more
//! than none, so gains need no further penalty. The result does not depend on the rows' order.

/// A column on a sample, as small numbers.
#[derive(Debug, Clone, Default)]
pub struct Ids {
    /// One a sampled row, below `count`.
    pub ids: Vec<u32>,
    /// Number of possible values.
    pub count: usize,
}

impl Ids {
    /// The same value in each row.
    pub fn constant(rows: usize) -> Self {
        Self {
            ids: vec![0; rows],
            count: 1,
        }
    }

    /// Pairs of values under small numbers again.
    pub fn with(&self, other: &Ids) -> Ids {
        let product = self.count.saturating_mul(other.count);
        let pairs = self.ids.iter().zip(&other.ids);
        if product <= 4 * self.ids.len() + 1024 {
            return Ids {
                ids: pairs.map(|(a, b)| a * other.count as u32 + b).collect(),
                count: product,
            };
        }
        let keys: Vec<i64> = pairs
            .map(|(&a, &b)| (i64::from(a) << 32 | i64::from(b)) & i64::MAX)
            .collect();
        let dense = super::rows::dense(&keys);
        Ids {
            ids: dense.ids,
            count: dense.count,
        }
    }
}

/// What is to be coded.
#[derive(Debug, Clone)]
pub struct Target {
    symbols: Ids,
    /// 1.5 times the share of each symbol.
    prior: Vec<f64>,
}

const WEIGHT: f64 = 1.5;

impl Target {
    /// From a column on a sample.
    pub fn new(symbols: Ids) -> Self {
        let mut prior = vec![0.0; symbols.count];
        let one = WEIGHT / symbols.ids.len().max(1) as f64;
        for &s in &symbols.ids {
            prior[s as usize] += one;
        }
        Self { symbols, prior }
    }

    /// The column.
    pub fn symbols(&self) -> &Ids {
        &self.symbols
    }
}

/// Computes costs; keeps its tables between uses.
#[derive(Debug, Default)]
pub struct Coster {
    counts: Vec<u32>,
    totals: Vec<u32>,
    keys: Vec<u64>,
}

/// Largest table of counts that is cleared for each use.
const DENSE: usize = 1 << 15;

/// Sums logarithms a few factors at a time.
#[derive(Default)]
struct Logs {
    product: f64,
    factors: u32,
    sum: f64,
}

impl Logs {
    #[inline(always)]
    fn add(&mut self, over: f64, under: f64) {
        self.product *= over / under;
        self.factors += 1;
        if self.factors == 32 {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.sum += self.product.log2();
        self.product = 1.0;
        self.factors = 0;
    }
}

impl Coster {
    /// Bits of the target under a context.
    pub fn bits(&mut self, context: &Ids, target: &Target) -> f64 {
        self.totals.clear();
        self.totals.resize(context.count, 0);
        let mut logs = Logs {
            product: 1.0,
            ..Logs::default()
        };
        let rows = context.ids.iter().zip(&target.symbols.ids);
        let width = target.symbols.count;
        self.counts.clear();
        if context.count.saturating_mul(width) <= DENSE {
            self.counts.resize(context.count * width, 0);
            for (&c, &s) in rows {
                let total = &mut self.totals[c as usize];
                let count = &mut self.counts[c as usize * width + s as usize];
                logs.add(
                    f64::from(*total) + WEIGHT,
                    f64::from(*count) + target.prior[s as usize],
                );
                *total += 1;
                *count += 1;
            }
        } else {
            let bits = usize::BITS - (2 * context.ids.len()).leading_zeros();
            let mask = (1usize << bits) - 1;
            self.counts.resize(mask + 1, 0);
            self.keys.clear();
            self.keys.resize(mask + 1, 0);
            for (&c, &s) in rows {
                let key = (u64::from(c) << 32 | u64::from(s)) + 1;
                let mut slot = (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - bits)) as usize;
                while self.keys[slot] != key && self.keys[slot] != 0 {
                    slot = (slot + 1) & mask;
                }
                self.keys[slot] = key;
                let total = &mut self.totals[c as usize];
                let count = &mut self.counts[slot];
                logs.add(
                    f64::from(*total) + WEIGHT,
                    f64::from(*count) + target.prior[s as usize],
                );
                *total += 1;
                *count += 1;
            }
        }
        logs.flush();
        logs.sum
    }
}

/// Pseudo-random numbers for sampling: the same in every run.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.number()) * limit as u128) >> 64) as usize
    }

    /// Between zero and one.
    pub fn unit(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Distinct row numbers, ascending: all of them, or one from each of `count` equal stretches.
pub fn sample_rows(rows: usize, count: usize, seed: u64) -> Vec<u32> {
    if rows <= count {
        return (0..rows as u32).collect();
    }
    let mut random = Random::new(seed);
    (0..count)
        .map(|i| {
            let (from, to) = (i * rows / count, (i + 1) * rows / count);
            (from + random.below(to - from)) as u32
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(count: usize, f: impl Fn(u64) -> u64) -> Ids {
        Ids {
            ids: (0..4000).map(|i| (f(i) % count as u64) as u32).collect(),
            count,
        }
    }

    #[test]
    fn only_contexts_that_tell_something_pay() {
        let hash = |i: u64| i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
        let a = ids(50, hash);
        let b = ids(60, |i| hash(i) % 50 * 7);
        let noise = ids(3000, |i| hash(i * 77 + 5));
        let mut coster = Coster::default();
        let target = Target::new(b);
        let alone = coster.bits(&Ids::constant(4000), &target);
        assert!(coster.bits(&a, &target) < 0.2 * alone);
        assert!(coster.bits(&noise, &target) > alone);
        assert!(coster.bits(&a.with(&noise), &target) > coster.bits(&a, &target));
    }
}
