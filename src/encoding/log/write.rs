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

use super::classes::hash;
use super::forms::{
    Distinct, IntegerForm, Numbers, dictionary, form, hexadecimal, is_clock, nibble, seconds, time,
};
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

fn put_contexts(meta: &mut Vec<u8>, leaf: &Leaf) {
    put(meta, leaf.columns.len() as u64);
    leaf.columns.iter().for_each(|&c| put(meta, u64::from(c)));
}
