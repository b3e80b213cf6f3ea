//! From parsed tables to streams: what each column is stored as.
//!
//! | column | forms |
//! |---|---|
//! | numbers | 64-bit integers if all print back the same: as they are, padded to one width, or with a column of widths; else texts |
//! | times of day | integers |
//! | texts | dictionary and codes, or row by row; the texts themselves as hexadecimal bytes, as a table of their own, or as they are |
//! | integers | constant, dictionary and codes, differences, or above the smallest |
//! | codes | in byte planes |
//!
//! In the archive, codes and integers of long columns are coded under contexts instead
//! ([`mixed`]), wherever that is smaller.

use super::classes::{hash, mix};
use super::mixed::{self, Form, Frame, Leaf};
use super::scan::{NUMBER, TIME};
use super::streams::{Streams, put, put_planes, width, zigzag};
use super::table::{Column, Span, Table};
use crate::encoding::entropy::symbols::{Encoder, Meter, Weights};

/// Deepest table within a table.
pub const MAX_DEPTH: usize = 3;
/// Fewest texts, and mean length, that are worth a table of their own.
const INNER_TEXTS: usize = 24;
const INNER_LENGTH: usize = 5;
/// Above this share of distinct texts there is no dictionary.
const MOSTLY_DISTINCT: f64 = 0.7;
/// Level of zstd at which alternatives to coding under contexts are tried.
const TRIED_LEVEL: i32 = 12;
/// Planes are decoded many times as fast as what is coded under contexts: they may be larger by one
/// part of so many.
const PLANES_SHARE: u64 = 16;
/// Rows on which the forms of integers are compared.
const TRIED_ROWS: usize = 4096;

/// In skeletons: a slot of the kind that follows, the end, the end of a unit whose row goes on, and
/// the mark before a literal byte that is one of these.
pub const SLOT: u8 = 1;
/// See [`SLOT`].
pub const END: u8 = 2;
/// See [`SLOT`].
pub const GOES_ON: u8 = 3;
/// See [`SLOT`].
pub const ESCAPE: u8 = 4;

/// Writes tables of one text.
#[derive(Debug)]
pub struct TableWriter<'a> {
    text: &'a [u8],
    out: Streams,
    /// What codes under contexts, if that is wanted.
    mixer: Option<(Encoder, Weights)>,
}

/// A column that is being written, and what may be its contexts.
struct Here<'f> {
    frame: &'f mut Frame,
    column: usize,
}

impl<'a> TableWriter<'a> {
    /// A writer for spans of this text; `mixed` lets it code under contexts.
    pub fn new(text: &'a [u8], mixed: bool) -> Self {
        Self {
            text,
            out: Streams::default(),
            mixer: mixed.then(Default::default),
        }
    }

    /// What was written.
    pub fn finish(mut self) -> Streams {
        if let Some((encoder, _)) = self.mixer {
            self.out.mixed = encoder.finish();
        }
        self.out
    }

    fn at(&self, span: Span) -> &'a [u8] {
        &self.text[span.0 as usize..span.1 as usize]
    }

    /// Writes a table; `depth` is zero for lines.
    pub fn table(&mut self, table: &Table, depth: usize) {
        put(&mut self.out.meta, table.skeletons.len() as u64);
        put(&mut self.out.meta, table.ids.len() as u64);
        put(&mut self.out.meta, u64::from(table.cap));
        put(&mut self.out.meta, table.merged.len() as u64);
        for &(from, into) in &table.merged {
            put(&mut self.out.meta, u64::from(from));
            put(&mut self.out.meta, u64::from(into));
        }
        for skeleton in &table.skeletons {
            for (i, &literal) in skeleton.literals.iter().enumerate() {
                for &byte in self.at(literal) {
                    if (SLOT..=ESCAPE).contains(&byte) {
                        self.out.skeletons.push(ESCAPE);
                    }
                    self.out.skeletons.push(byte);
                }
                if let Some(&kind) = skeleton.kinds.get(i) {
                    self.out.skeletons.extend([SLOT, kind]);
                }
            }
            let end = if skeleton.goes_on { GOES_ON } else { END };
            self.out.skeletons.push(end);
        }
        let mut units = Frame::units(if self.mixer.is_some() {
            table.ids.len()
        } else {
            0
        });
        self.codes(&table.ids, table.skeletons.len(), &mut units);
        let mut frame = match self.mixer {
            Some(_) => Frame::new(&table.ids, table.columns.len(), |skeleton| {
                &table.skeletons[skeleton].columns
            }),
            None => Frame::default(),
        };
        for (number, column) in table.columns.iter().enumerate() {
            if !column.spans.is_empty() {
                let mut here = Here {
                    frame: &mut frame,
                    column: number,
                };
                self.column(column, depth, &mut here);
            }
        }
    }

    fn column(&mut self, column: &Column, depth: usize, here: &mut Here<'_>) {
        match column.kind {
            TIME.. => {
                let digits = usize::from((column.kind - TIME) / 2);
                let values: Vec<i64> = column
                    .spans
                    .iter()
                    .map(|&s| time(self.at(s), digits))
                    .collect();
                self.integers(&values, here);
            }
            NUMBER => self.numbers(&column.spans, depth, here),
            _ => self.texts(&column.spans, depth, here),
        }
    }

    fn numbers(&mut self, spans: &[Span], depth: usize, here: &mut Here<'_>) {
        let Some(numbers) = Numbers::parse(spans.iter().map(|&s| self.at(s))) else {
            self.out.meta.push(b'S');
            return self.texts(spans, depth, here);
        };
        let mut values = numbers.values;
        match (numbers.canonical, numbers.width) {
            (true, _) => self.out.meta.push(b'C'),
            (false, Some(width)) => {
                let clock = width == 6 && values.iter().all(|&v| is_clock(v));
                self.out.meta.push(if clock { b'T' } else { b'F' });
                if clock {
                    values.iter_mut().for_each(|v| *v = seconds(*v));
                } else {
                    put(&mut self.out.meta, width as u64);
                }
            }
            (false, None) => {
                self.out.meta.push(b'V');
                let widths = spans.iter().map(|(s, e)| (e - s) as u8);
                self.out.codes.extend(widths);
            }
        }
        self.integers(&values, here);
    }

    /// Texts of any kind: a dictionary, unless nearly all are distinct.
    fn texts(&mut self, spans: &[Span], depth: usize, here: &mut Here<'_>) {
        let mut distinct = Distinct::default();
        let mut entries: Vec<Span> = Vec::new();
        let codes = spans.iter().map(|&span| {
            let text = self.at(span);
            distinct.code(hash(text), |entry| match entry {
                Some(entry) => self.at(entries[entry as usize]) == text,
                None => {
                    entries.push(span);
                    true
                }
            })
        });
        let codes: Vec<u32> = codes.collect();
        if entries.len() > 16 && entries.len() as f64 > MOSTLY_DISTINCT * spans.len() as f64 {
            self.out.meta.push(b'R');
            return self.values(spans, depth);
        }
        self.out.meta.push(b'D');
        put(&mut self.out.meta, entries.len() as u64);
        self.codes_at(&codes, entries.len(), here);
        self.values(&entries, depth);
    }

    /// Texts as such.
    fn values(&mut self, spans: &[Span], depth: usize) {
        if let Some((upper, len)) = hexadecimal(spans.iter().map(|&s| self.at(s))) {
            self.out.meta.push(if upper { b'H' } else { b'h' });
            put(&mut self.out.meta, len as u64);
            for &span in spans {
                let pairs = self.at(span).chunks_exact(2);
                self.out
                    .codes
                    .extend(pairs.map(|p| nibble(p[0]) << 4 | nibble(p[1])));
            }
            return;
        }
        let bytes: usize = spans.iter().map(|(s, e)| (e - s) as usize).sum();
        let worth = spans.len() >= INNER_TEXTS && bytes >= INNER_LENGTH * spans.len();
        let most = (spans.len() / 4).saturating_sub(1);
        if depth < MAX_DEPTH
            && worth
            && let Some(inner) = Table::parse(self.text, spans, &|_| false, false, most)
        {
            self.out.meta.push(b't');
            return self.table(&inner, depth + 1);
        }
        if spans.iter().any(|&s| self.at(s).contains(&b'\n')) {
            self.out.meta.push(b'y');
            for &(start, end) in spans {
                put(&mut self.out.numbers, u64::from(end - start));
                self.out
                    .text
                    .extend_from_slice(&self.text[start as usize..end as usize]);
            }
            return;
        }
        self.out.meta.push(b'x');
        for &span in spans {
            self.out.text.extend_from_slice(self.at(span));
            self.out.text.push(b'\n');
        }
    }

    /// Codes of a column, which later ones may be coded under.
    fn codes_at(&mut self, codes: &[u32], below: usize, here: &mut Here<'_>) {
        let mut leaf = self.leaf(codes.len(), here);
        if !leaf.is_empty() && below > 1 {
            here.frame.choose(&mut leaf, codes);
        }
        self.codes(codes, below, &mut leaf);
        if !leaf.is_empty() && below > 1 {
            here.frame.keep(here.column as u32, &leaf, codes.to_vec());
        }
    }

    /// The column's rows, if it is to be coded under contexts; else none.
    fn leaf(&self, rows: usize, here: &mut Here<'_>) -> Leaf {
        match self.mixer.is_some() && rows >= mixed::FEWEST_ROWS {
            true => here.frame.leaf(here.column),
            false => Leaf::default(),
        }
    }

    fn codes(&mut self, codes: &[u32], below: usize, leaf: &mut Leaf) {
        let width = width(below.saturating_sub(1) as u64);
        let planes = codes.iter().map(|&c| u64::from(c));
        if leaf.len() < mixed::FEWEST_ROWS || below < 2 {
            self.out.meta.push(b'p');
            return put_planes(&mut self.out.codes, planes, width);
        }
        let Some((encoder, weights)) = &mut self.mixer else {
            return;
        };
        let trial = |recency: bool| {
            let mut meter = Meter::default();
            let mut weights = weights.clone();
            leaf.codes(&mut meter, &mut weights, below as u32, recency, Some(codes));
            meter.bytes()
        };
        let direct = trial(false);
        let recency = match below > mixed::MANY {
            true => trial(true),
            false => u64::MAX,
        };
        let mut alone = Vec::new();
        put_planes(&mut alone, planes.clone(), width);
        let packed = zstd::bulk::compress(&alone, TRIED_LEVEL);
        let coded = direct.min(recency);
        if packed.is_ok_and(|p| (p.len() as u64) < coded + coded / PLANES_SHARE) {
            self.out.meta.push(b'p');
            leaf.columns.clear();
            self.out.codes.append(&mut alone);
            return;
        }
        let recency = recency < direct;
        self.out.meta.push(if recency { b'k' } else { b'm' });
        put_contexts(&mut self.out.meta, leaf);
        leaf.codes(encoder, weights, below as u32, recency, Some(codes));
    }

    fn integers(&mut self, values: &[i64], here: &mut Here<'_>) {
        let smallest = values.iter().copied().min().unwrap_or(0);
        let largest = values.iter().copied().max().unwrap_or(0);
        if smallest == largest {
            self.out.meta.push(b'c');
            return put(&mut self.out.meta, zigzag(smallest));
        }
        if self.mixer.is_some() && values.len() >= mixed::FEWEST_ROWS {
            return self.mixed_integers(values, smallest, largest, here);
        }
        match form(values, smallest, largest) {
            IntegerForm::Dictionary => {
                let (entries, codes) = dictionary(values);
                self.entries(&entries);
                self.codes(&codes, entries.len(), &mut Leaf::default());
            }
            IntegerForm::Differences => {
                let differences: Vec<u64> = values
                    .windows(2)
                    .map(|w| zigzag(w[1].wrapping_sub(w[0])))
                    .collect();
                self.out.meta.push(b'l');
                put(&mut self.out.meta, zigzag(values[0]));
                self.planes(&differences);
            }
            IntegerForm::Above => {
                let above: Vec<u64> = values
                    .iter()
                    .map(|v| v.wrapping_sub(smallest) as u64)
                    .collect();
                self.out.meta.push(b'r');
                put(&mut self.out.meta, zigzag(smallest));
                self.planes(&above);
            }
        }
    }

    /// Entries of a dictionary of integers.
    fn entries(&mut self, entries: &[i64]) {
        self.out.meta.push(b'd');
        put(&mut self.out.meta, entries.len() as u64);
        let mut last = 0i64;
        for &entry in entries {
            put(&mut self.out.numbers, zigzag(entry.wrapping_sub(last)));
            last = entry;
        }
    }

    /// The smallest of a dictionary and the forms of [`Form`].
    fn mixed_integers(&mut self, values: &[i64], smallest: i64, largest: i64, here: &mut Here<'_>) {
        let Some((_, weights)) = &self.mixer else {
            return;
        };
        let weights = weights.clone();
        let mut leaf = here.frame.leaf(here.column);
        let range = largest.wrapping_sub(smallest) as u64;
        let forms = [
            Form::Previous,
            Form::SamePlace,
            Form::Top {
                least: smallest,
                shift: (u64::BITS - range.leading_zeros()).saturating_sub(8),
            },
        ];
        let mut best: Option<(u64, Form, Leaf, Vec<u32>)> = None;
        for form in forms {
            let mut meter = Meter::default();
            let mut own = weights.clone();
            leaf.alone();
            let (_, symbols) = leaf.integers(&mut meter, &mut own, form, Some(values));
            here.frame.choose(&mut leaf, &symbols);
            if !leaf.columns.is_empty() {
                let (mut with, mut own) = (Meter::default(), weights.clone());
                leaf.integers(&mut with, &mut own, form, Some(values));
                meter = with;
            }
            if best.as_ref().is_none_or(|b| meter.bytes() < b.0) {
                best = Some((meter.bytes(), form, leaf.clone(), symbols));
            }
        }
        let Some((bytes, form, chosen, symbols)) = best else {
            return;
        };
        let (entries, codes) = dictionary(values);
        if entries.len() <= values.len() / 2 {
            here.frame.choose(&mut leaf, &codes);
            let trial = |recency| {
                let (mut meter, mut own) = (Meter::default(), weights.clone());
                let below = entries.len() as u32;
                leaf.codes(&mut meter, &mut own, below, recency, Some(&codes));
                meter.bytes()
            };
            let mut with = trial(false);
            if entries.len() > mixed::MANY {
                with = with.min(trial(true));
            }
            let mut last = 0i64;
            let mut stored = Vec::new();
            for &entry in &entries {
                put(&mut stored, zigzag(entry.wrapping_sub(last)));
                last = entry;
            }
            let packed =
                zstd::bulk::compress(&stored, TRIED_LEVEL).map_or(stored.len(), |p| p.len());
            if with + (packed as u64) < bytes {
                self.entries(&entries);
                self.codes(&codes, entries.len(), &mut leaf);
                here.frame.keep(here.column as u32, &leaf, codes);
                return;
            }
        }
        match form {
            Form::Previous => self.out.meta.push(b'm'),
            Form::SamePlace => self.out.meta.push(b's'),
            Form::Top { least, shift } => {
                self.out.meta.push(b't');
                put(&mut self.out.meta, zigzag(least));
                put(&mut self.out.meta, u64::from(shift));
            }
        }
        put_contexts(&mut self.out.meta, &chosen);
        if let Some((encoder, weights)) = &mut self.mixer {
            chosen.integers(encoder, weights, form, Some(values));
        }
        here.frame.keep(here.column as u32, &chosen, symbols);
    }

    fn planes(&mut self, values: &[u64]) {
        let width = width(values.iter().fold(0, |all, v| all | v));
        self.out.meta.push(width as u8);
        put_planes(&mut self.out.numbers, values.iter().copied(), width);
    }
}

/// The time of day as one number, its fraction in the lowest digits.
fn time(text: &[u8], digits: usize) -> i64 {
    let two = |i: usize| i64::from(text[i] - b'0') * 10 + i64::from(text[i + 1] - b'0');
    let seconds = two(0) * 3600 + two(3) * 60 + two(6);
    let fraction = text.iter().skip(9).take(digits);
    fraction.fold(seconds, |t, b| t * 10 + i64::from(b - b'0'))
}

/// Whether six digits are hours, minutes and seconds.
fn is_clock(value: i64) -> bool {
    (0..240_000).contains(&value) && value / 100 % 100 < 60 && value % 100 < 60
}

fn seconds(clock: i64) -> i64 {
    clock / 10_000 * 3600 + clock / 100 % 100 * 60 + clock % 100
}

/// Decimal numbers as integers.
struct Numbers {
    values: Vec<i64>,
    /// No leading zeros.
    canonical: bool,
    /// If all have as many bytes.
    width: Option<usize>,
}

impl Numbers {
    /// `None` if some number would not print back the same.
    fn parse<'t>(texts: impl Iterator<Item = &'t [u8]>) -> Option<Self> {
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
fn hexadecimal<'t>(texts: impl Iterator<Item = &'t [u8]> + Clone) -> Option<(bool, usize)> {
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

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 32) - b'a' + 10,
    }
}

/// Numbers distinct values in order of first occurrence, by their hashes.
#[derive(Default)]
struct Distinct {
    /// Number of an entry, plus one, by hash.
    table: Vec<u32>,
    hashes: Vec<u64>,
}

impl Distinct {
    /// The number of a value. `same` is asked whether it is the entry of a number; or told that it is
    /// a new one.
    #[inline]
    fn code(&mut self, hash: u64, mut same: impl FnMut(Option<u32>) -> bool) -> u32 {
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

fn put_contexts(meta: &mut Vec<u8>, leaf: &Leaf) {
    put(meta, leaf.columns.len() as u64);
    leaf.columns.iter().for_each(|&c| put(meta, u64::from(c)));
}

/// Distinct values in order of first occurrence, and the code of each row.
fn dictionary(values: &[i64]) -> (Vec<i64>, Vec<u32>) {
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
enum IntegerForm {
    Dictionary,
    Differences,
    Above,
}

/// Bucket of a number (its bit length and the two bits below the leading one), and how many bits
/// are left.
pub fn bucket(value: u64) -> (usize, u32) {
    if value < 16 {
        return (value as usize, 0);
    }
    let log = value.ilog2();
    let bits = log - 2;
    (
        16 + (log as usize - 4) * 4 + (value >> bits & 3) as usize,
        bits,
    )
}

/// How many bits are left of the numbers in a bucket.
pub fn bucket_bits(bucket: usize) -> u32 {
    match bucket.checked_sub(16) {
        Some(above) => (above as u32 / 4 + 2).min(61),
        None => 0,
    }
}

/// The number in a bucket with these bits left.
pub fn unbucket(bucket: usize, rest: u64) -> u64 {
    match bucket.checked_sub(16) {
        Some(above) => (4 | (above as u64 & 3)) << bucket_bits(bucket) | rest,
        None => bucket as u64,
    }
}

/// Bits of an ideal code for counts.
fn entropy(counts: impl Iterator<Item = u32>, total: usize) -> f64 {
    let bits = |c: u32| f64::from(c) * (total as f64 / f64::from(c)).log2();
    counts.filter(|&c| c > 0).map(bits).sum()
}

/// The form that is likely to be smallest, by entropy of a sample of rows.
fn form(values: &[i64], smallest: i64, largest: i64) -> IntegerForm {
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
    let mut seen: std::collections::HashSet<
        u64,
        std::hash::BuildHasherDefault<super::keys::Identity>,
    > = Default::default();
    for &value in values {
        seen.insert(super::classes::mix(17, value as u64));
        if seen.len() > most {
            break;
        }
    }
    seen.len()
}
