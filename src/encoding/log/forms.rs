//! What texts and integers of a column may be taken for: numbers that print back the same, hexadecimal
//! bytes, times of day, a dictionary, differences.

use std::collections::HashSet;
use std::hash::BuildHasherDefault;

use super::classes::mix;
use super::keys::Identity;
use super::streams::{bucket, zigzag};

/// Rows on which the forms of integers are compared.
const TRIED_ROWS: usize = 4096;

/// The time of day as one number, its fraction in the lowest digits.
pub fn time(text: &[u8], digits: usize) -> i64 {
    let two = |i: usize| i64::from(text[i] - b'0') * 10 + i64::from(text[i + 1] - b'0');
    let seconds = two(0) * 3600 + two(3) * 60 + two(6);
    let fraction = text.iter().skip(9).take(digits);
    fraction.fold(seconds, |t, b| t * 10 + i64::from(b - b'0'))
}

/// Whether six digits are hours, minutes and seconds.
pub fn is_clock(value: i64) -> bool {
    (0..240_000).contains(&value) && value / 100 % 100 < 60 && value % 100 < 60
}

/// Seconds of hours, minutes and seconds in two digits each.
pub fn seconds(clock: i64) -> i64 {
    clock / 10_000 * 3600 + clock / 100 % 100 * 60 + clock % 100
}

/// Decimal numbers as integers.
#[derive(Debug)]
pub struct Numbers {
    /// One of each text.
    pub values: Vec<i64>,
    /// No leading zeros.
    pub canonical: bool,
    /// If all have as many bytes.
    pub width: Option<usize>,
}

impl Numbers {
    /// `None` if some number would not print back the same.
    pub fn parse<'t>(texts: impl Iterator<Item = &'t [u8]>) -> Option<Self> {
        let mut numbers = Self {
            values: Vec::with_capacity(texts.size_hint().0),
            canonical: true,
            width: None,
        };
        let mut signed = false;
        for (i, text) in texts.enumerate() {
            match i {
                0 => numbers.width = Some(text.len()),
                _ => numbers.width = numbers.width.filter(|&w| w == text.len()),
            }
            let (negative, digits) = match text.split_first() {
                Some((b'-', digits)) => (true, digits),
                _ => (false, text),
            };
            if digits.is_empty() || digits.len() > 19 {
                return None;
            }
            signed |= negative;
            if digits[0] == b'0' && (digits.len() > 1 || negative) {
                numbers.canonical = false;
            }
            let add = |value: i64, digit: &u8| value * 10 + i64::from(digit - b'0');
            let (head, last) = digits.split_at(digits.len().min(18));
            let mut value = head.iter().fold(0, add);
            for &digit in last {
                value = value
                    .checked_mul(10)?
                    .checked_add(i64::from(digit - b'0'))?;
            }
            numbers.values.push(if negative { -value } else { value });
        }
        (numbers.canonical || !signed).then_some(numbers)
    }
}

/// If all texts are hexadecimal of one even length and one case: whether that is upper, and the
/// length.
pub fn hexadecimal<'t>(texts: impl Iterator<Item = &'t [u8]> + Clone) -> Option<(bool, usize)> {
    let len = texts.clone().next()?.len();
    if len < 6 || len % 2 == 1 || texts.clone().take(9).count() < 9 {
        return None;
    }
    let (mut upper, mut lower) = (false, false);
    for text in texts {
        if text.len() != len {
            return None;
        }
        for &byte in text {
            match byte {
                b'0'..=b'9' => {}
                b'a'..=b'f' => lower = true,
                b'A'..=b'F' => upper = true,
                _ => return None,
            }
        }
    }
    (!(upper && lower)).then_some((upper, len))
}

/// What a hexadecimal digit stands for.
pub fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 32) - b'a' + 10,
    }
}

/// Numbers distinct values in order of first occurrence, by their hashes.
#[derive(Debug, Default)]
pub struct Distinct {
    /// Number of an entry, plus one, by hash.
    table: Vec<u32>,
    hashes: Vec<u64>,
}

impl Distinct {
    /// The number of a value. `same` is asked whether it is the entry of a number; or told that it is
    /// a new one.
    #[inline]
    pub fn code(&mut self, hash: u64, mut same: impl FnMut(Option<u32>) -> bool) -> u32 {
        if self.hashes.len() * 2 >= self.table.len() {
            self.grow();
        }
        let mask = self.table.len() - 1;
        let mut at = (hash >> 20) as usize & mask;
        loop {
            let Some(entry) = self.table[at].checked_sub(1) else {
                same(None);
                self.hashes.push(hash);
                self.table[at] = self.hashes.len() as u32;
                return self.table[at] - 1;
            };
            if self.hashes[entry as usize] == hash && same(Some(entry)) {
                return entry;
            }
            at = (at + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let size = (self.table.len() * 4).max(32);
        self.table = vec![0; size];
        for (entry, &hash) in self.hashes.iter().enumerate() {
            let mut at = (hash >> 20) as usize & (size - 1);
            while self.table[at] != 0 {
                at = (at + 1) & (size - 1);
            }
            self.table[at] = entry as u32 + 1;
        }
    }
}

/// Distinct values in order of first occurrence, and the code of each row.
pub fn dictionary(values: &[i64]) -> (Vec<i64>, Vec<u32>) {
    let mut numbers = Distinct::default();
    let mut entries = Vec::new();
    let codes = values
        .iter()
        .map(|&value| {
            numbers.code(mix(17, value as u64), |entry| match entry {
                Some(entry) => entries[entry as usize] == value,
                None => {
                    entries.push(value);
                    true
                }
            })
        })
        .collect();
    (entries, codes)
}

/// How integers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntegerForm {
    /// The distinct ones, and codes.
    Dictionary,
    /// From each to the next.
    Differences,
    /// Above the smallest.
    Above,
}

/// Bits of an ideal code for counts.
fn entropy(counts: impl Iterator<Item = u32>, total: usize) -> f64 {
    let bits = |c: u32| f64::from(c) * (total as f64 / f64::from(c)).log2();
    counts.filter(|&c| c > 0).map(bits).sum()
}

/// The form that is likely to be smallest, by entropy of a sample of rows.
pub fn form(values: &[i64], smallest: i64, largest: i64) -> IntegerForm {
    let rows = values.len();
    let range = largest.wrapping_sub(smallest) as u64;
    let step = (rows / TRIED_ROWS).max(1);
    let (mut by_difference, mut by_value) = ([0u32; 280], [0u32; 280]);
    let (mut difference_bits, mut value_bits) = (0f64, 0f64);
    let mut sampled: Vec<u32> = Vec::new();
    let mut numbers = Distinct::default();
    let mut known: Vec<i64> = Vec::new();
    let mut count = 0;
    for i in (step..rows).step_by(step) {
        let (symbol, bits) = bucket(zigzag(values[i].wrapping_sub(values[i - 1])));
        by_difference[symbol] += 1;
        difference_bits += f64::from(bits);
        let (symbol, bits) = bucket(values[i].wrapping_sub(smallest) as u64);
        by_value[symbol] += 1;
        value_bits += f64::from(bits);
        let code = numbers.code(mix(17, values[i] as u64), |entry| match entry {
            Some(entry) => known[entry as usize] == values[i],
            None => {
                known.push(values[i]);
                sampled.push(0);
                true
            }
        });
        sampled[code as usize] += 1;
        count += 1;
    }
    difference_bits += entropy(by_difference.into_iter(), count);
    value_bits += entropy(by_value.into_iter(), count);
    let entry_bits = 0.8 * f64::from(u64::BITS - range.leading_zeros());
    let mut counts = sampled.clone();
    counts.sort_unstable();
    let mut dictionary_bits =
        entropy(counts.into_iter(), count) + sampled.len() as f64 * entry_bits;
    // Values that recur far apart look distinct in a sample: wide ones are counted exactly.
    if range > 65_536 && rows > 64 && sampled.len() * 10 > count {
        let most = rows * 2 / 3;
        let distinct = distinct_up_to(values, most);
        if distinct > most {
            dictionary_bits = f64::INFINITY;
        } else {
            let distinct = distinct as f64;
            let all = rows as f64 * distinct.log2() * 0.8 + distinct * (range as f64).log2();
            let bits = all * count as f64 / rows as f64;
            if bits < difference_bits && bits < value_bits {
                return IntegerForm::Dictionary;
            }
        }
    }
    let few = sampled.len() * 3 < count
        && dictionary_bits < 0.9 * difference_bits
        && dictionary_bits < 0.95 * value_bits;
    if few || (sampled.len() <= count / 8 && dictionary_bits < difference_bits) {
        return IntegerForm::Dictionary;
    }
    match difference_bits < value_bits {
        true => IntegerForm::Differences,
        false => IntegerForm::Above,
    }
}

/// Number of distinct values, counted no further than just above `most`.
fn distinct_up_to(values: &[i64], most: usize) -> usize {
    let mut seen: HashSet<u64, BuildHasherDefault<Identity>> = HashSet::default();
    for &value in values {
        seen.insert(mix(17, value as u64));
        if seen.len() > most {
            break;
        }
    }
    seen.len()
}
