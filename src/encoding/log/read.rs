//! From streams to tables.
//!
//! A table of lines may be read *lazily*: then its columns are only passed over, and each is read
//! when it is asked for. Columns that were coded under contexts need those before them, so a table
//! that has some is read at once.

use std::cell::OnceCell;
use std::sync::Arc;

use super::keys::ColumnKeys;
use super::mixed::{FEWEST_ROWS, Form, Frame, Leaf};
use super::scan::{NUMBER, TIME, is_kind};
use super::skeletons::Skeletons;
use super::stored::{READ_IN_STEP, ReadColumn, ReadTable, Unpacked};
use super::streams::{Source, unzigzag};
use super::values::{Entries, Integers, Print, Texts, Values, WIDEST, offset, too_long};
use super::write::{ESCAPE, GOES_ON, MAX_DEPTH, SLOT};
use crate::encoding::DecodeContext;
use crate::encoding::entropy::symbols::{Decoder, Weights};
use crate::error::{Error, Result};

/// The streams of a chunk, read in step.
pub struct TableReader<'a> {
    pub(super) meta: Source<'a>,
    skeletons: Source<'a>,
    pub(super) codes: Source<'a>,
    pub(super) numbers: Source<'a>,
    pub(super) text: Source<'a>,
    mixed: Decoder<'a>,
    /// Whether something was coded under contexts.
    has_mixed: bool,
    weights: Weights,
    /// Whether columns are only passed over.
    lazily: bool,
    streams: &'a Unpacked,
    /// The most that was charged for what is needed for one column at a time.
    peak: u64,
    context: &'a DecodeContext<'a>,
}

/// A column that is being read, and what may be its contexts.
pub(super) struct Here<'f> {
    pub frame: &'f mut Frame,
    pub column: usize,
}

/// What comes before the columns of a table.
pub(super) struct Head {
    skeletons: Skeletons,
    ids: Vec<u32>,
    /// Kind and rows of each column.
    pub columns: Vec<(u8, usize)>,
}

/// Reads the table of lines out of the streams of a chunk; fails if something is left over.
pub fn read_lines(
    streams: &Unpacked,
    lazily: bool,
    context: &DecodeContext<'_>,
) -> Result<ReadTable> {
    let mut reader = TableReader::new(streams, context);
    reader.lazily = lazily && !reader.has_mixed;
    let table = reader.table(0)?;
    if reader.in_step().iter().any(|s| !s.is_empty()) {
        return Err(Error::corrupt("log columns are longer than their table"));
    }
    Ok(table)
}

impl<'a> TableReader<'a> {
    /// A reader of streams in stored order.
    fn new(streams: &'a Unpacked, context: &'a DecodeContext<'a>) -> Self {
        let [meta, skeletons, codes, numbers, text, mixed] = &**streams;
        Self {
            streams,
            lazily: false,
            meta: Source::new(meta),
            skeletons: Source::new(skeletons),
            codes: Source::new(codes),
            numbers: Source::new(numbers),
            text: Source::new(text),
            mixed: Decoder::new(mixed),
            has_mixed: !mixed.is_empty(),
            weights: Weights::default(),
            peak: 0,
            context,
        }
    }

    /// A reader that stands where so much is left of each stream.
    pub(super) fn at(
        streams: &'a Unpacked,
        place: &[usize; READ_IN_STEP],
        context: &'a DecodeContext<'a>,
    ) -> Self {
        let mut reader = Self::new(streams, context);
        reader.lazily = true;
        let sources = reader.in_step().into_iter().zip(streams.iter());
        for ((source, stream), &left) in sources.zip(place) {
            *source = Source::new(&stream[stream.len() - left..]);
        }
        reader
    }

    fn in_step(&mut self) -> [&mut Source<'a>; READ_IN_STEP] {
        [
            &mut self.meta,
            &mut self.skeletons,
            &mut self.codes,
            &mut self.numbers,
            &mut self.text,
        ]
    }

    fn table(&mut self, depth: usize) -> Result<ReadTable> {
        let head = self.head()?;
        let mut frame = Frame::default();
        if self.has_mixed {
            let slots = head.columns.iter();
            let slots = slots.fold(0u64, |all, (_, rows)| all.saturating_add(*rows as u64));
            self.context.reserve(slots.saturating_mul(8))?;
            let of = |skeleton: usize| head.skeletons.get(skeleton).columns;
            frame = Frame::new(&head.ids, head.columns.len(), of);
        }
        let mut columns = Vec::new();
        for (column, &(kind, rows)) in head.columns.iter().enumerate() {
            self.context.reserve(size_of::<ReadColumn>() as u64)?;
            let place = self.place();
            let values = match (rows, self.lazily) {
                (0, _) => OnceCell::from(Values::None),
                (_, true) => {
                    self.pass_column(kind, rows, depth)?;
                    OnceCell::new()
                }
                (_, false) => {
                    let mut here = Here {
                        frame: &mut frame,
                        column,
                    };
                    OnceCell::from(self.column(kind, rows, depth, &mut here)?)
                }
            };
            columns.push(ReadColumn {
                kind,
                rows,
                place,
                values,
            });
        }
        Ok(ReadTable {
            skeletons: head.skeletons,
            ids: head.ids,
            columns,
            depth,
            streams: Arc::clone(self.streams),
            end: self.place(),
        })
    }

    /// How much is left of each stream.
    fn place(&mut self) -> [usize; READ_IN_STEP] {
        self.in_step().map(|source| source.left())
    }

    pub(super) fn head(&mut self) -> Result<Head> {
        let count = self.meta.count(1 << 31)?;
        let units = self.meta.count(1 << 31)?;
        let cap = self.meta.count(u32::MAX as usize)? as u32;
        let merges = self.meta.count(1 << 31)?;
        let mut merged = Vec::new();
        for _ in 0..merges {
            let from = self.meta.number()?;
            let into = self.meta.number()?;
            if into >= from {
                return Err(Error::corrupt("a log column merged into a later one"));
            }
            self.context.reserve(16)?;
            merged.push((from, into));
        }
        let mut keys = ColumnKeys::new(cap);
        let mut skeletons = Skeletons::default();
        for _ in 0..count {
            self.context.reserve(32)?;
            self.skeleton(&mut skeletons, &mut keys)?;
        }
        let mut target: Vec<u32> = (0..keys.kinds().len() as u32).collect();
        for (from, into) in merged {
            let (from, into) = (from as usize, into as usize);
            let same = keys.kinds().get(from).filter(|k| **k == keys.kinds()[into]);
            if same.is_none() {
                return Err(Error::corrupt("log columns of different kinds merged"));
            }
            target[from] = target[into];
        }
        skeletons.replace_columns(&target);
        let ids = self.unit_codes(units, count)?;
        let mut uses = vec![0u64; count];
        for &id in &ids {
            uses[id as usize] += 1;
        }
        let mut rows = vec![0u64; target.len()];
        for (skeleton, uses) in skeletons.iter().zip(uses) {
            for &column in skeleton.columns {
                let rows = &mut rows[column as usize];
                *rows = rows.saturating_add(uses);
            }
        }
        if rows.iter().any(|&r| r >= 1 << 31) {
            return Err(Error::corrupt("a log column of too many rows"));
        }
        self.context.reserve_rows(rows.len(), 16)?;
        let columns = keys.kinds().iter().zip(rows);
        Ok(Head {
            skeletons,
            ids,
            columns: columns.map(|(&kind, rows)| (kind, rows as usize)).collect(),
        })
    }

    fn skeleton(&mut self, skeletons: &mut Skeletons, keys: &mut ColumnKeys) -> Result<()> {
        let goes_on = loop {
            let (text, mark) = self.skeletons.until_mark()?;
            self.context.reserve(text.len() as u64 + 1)?;
            skeletons.add_text(text);
            match mark {
                ESCAPE => skeletons.add_text(&[self.skeletons.byte()?]),
                SLOT => {
                    let kind = self.skeletons.byte()?;
                    if !is_kind(kind) {
                        return Err(Error::corrupt(format!("a slot of kind {kind}")));
                    }
                    // Its place here, and in the table of keys.
                    self.context.reserve(64)?;
                    skeletons.end_literal(Some(kind))?;
                }
                _ => {
                    skeletons.end_literal(None)?;
                    break mark == GOES_ON;
                }
            }
        };
        skeletons.end(goes_on, |slots| keys.of_skeleton(slots));
        Ok(())
    }

    pub(super) fn column(
        &mut self,
        kind: u8,
        rows: usize,
        depth: usize,
        here: &mut Here<'_>,
    ) -> Result<Values> {
        if kind >= TIME {
            let print = Print::Time(u32::from((kind - TIME) / 2), (kind - TIME) % 2 == 1);
            return Ok(Values::Integers(self.integers(rows, here)?, print));
        }
        if kind != NUMBER {
            return self.texts(rows, depth, here);
        }
        let print = match self.meta.byte()? {
            b'S' => return self.texts(rows, depth, here),
            b'C' => Print::Decimal,
            b'F' => Print::Padded(self.meta.count(WIDEST)?),
            b'T' => Print::Clock,
            b'V' => {
                self.context.reserve_rows(rows, 1)?;
                Print::Widths(self.codes.take(rows)?.to_vec())
            }
            other => return Err(unknown(other)),
        };
        Ok(Values::Integers(self.integers(rows, here)?, print))
    }

    fn texts(&mut self, rows: usize, depth: usize, here: &mut Here<'_>) -> Result<Values> {
        Ok(match self.meta.byte()? {
            b'R' => Values::Texts(self.values(rows, depth)?, None),
            b'D' => {
                let entries = self.meta.count(rows)?;
                let codes = self.column_codes(rows, entries, here)?;
                Values::Texts(self.values(entries, depth)?, Some(codes))
            }
            other => return Err(unknown(other)),
        })
    }

    /// Contexts of a column that was coded under some.
    fn leaf(&mut self, rows: usize, here: &mut Here<'_>) -> Result<Leaf> {
        if !self.has_mixed {
            return Err(Error::corrupt("log columns lack their coded stream"));
        }
        let count = self.meta.count(2)?;
        let mut columns = Vec::with_capacity(count);
        for _ in 0..count {
            columns.push(self.meta.count(u32::MAX as usize)? as u32);
        }
        let mut leaf = here.frame.leaf(here.column);
        if leaf.len() != rows {
            return Err(Error::corrupt("a log column of other rows"));
        }
        self.borrow(leaf.room() + (4 * count * rows) as u64)?;
        here.frame.with(&mut leaf, columns)?;
        Ok(leaf)
    }

    /// Charges what is needed for one column and given back before the next.
    fn borrow(&mut self, bytes: u64) -> Result<()> {
        if bytes > self.peak {
            self.context.reserve(bytes - self.peak)?;
            self.peak = bytes;
        }
        Ok(())
    }

    /// Skeletons of units.
    fn unit_codes(&mut self, units: usize, below: usize) -> Result<Vec<u32>> {
        let form = self.meta.byte()?;
        if form == b'p' {
            return self.codes.codes(units, below, self.context);
        }
        if !self.has_mixed || self.meta.count(0)? != 0 {
            return Err(unknown(form));
        }
        self.context.reserve_rows(units, 8)?;
        let leaf = Frame::units(units);
        self.borrow(leaf.room())?;
        self.mixed_codes(form, below, &leaf)
    }

    fn column_codes(&mut self, rows: usize, below: usize, here: &mut Here<'_>) -> Result<Vec<u32>> {
        let form = self.meta.byte()?;
        if form == b'p' {
            let codes = self.codes.codes(rows, below, self.context)?;
            // Codes of long columns are contexts in whatever form they are stored.
            if self.has_mixed && rows >= FEWEST_ROWS && below > 1 {
                let leaf = here.frame.leaf(here.column);
                if leaf.len() == rows {
                    here.frame.keep(here.column as u32, &leaf, codes.clone());
                }
            }
            return Ok(codes);
        }
        let leaf = self.leaf(rows, here)?;
        let codes = self.mixed_codes(form, below, &leaf)?;
        here.frame.keep(here.column as u32, &leaf, codes.clone());
        Ok(codes)
    }

    fn mixed_codes(&mut self, form: u8, below: usize, leaf: &Leaf) -> Result<Vec<u32>> {
        let recency = match form {
            b'm' => false,
            b'k' => true,
            other => return Err(unknown(other)),
        };
        let (coder, weights) = (&mut self.mixed, &mut self.weights);
        leaf.read_codes(coder, weights, below, recency, self.context)
    }

    fn values(&mut self, count: usize, depth: usize) -> Result<Entries> {
        let form = self.meta.byte()?;
        if form == b't' && depth < MAX_DEPTH {
            let table = self.table(depth + 1)?;
            if table.ids.len() != count {
                return Err(Error::corrupt("a table of texts has another length"));
            }
            let entries = Entries::of_table(table);
            if !self.lazily {
                entries.texts(self.context)?;
            }
            return Ok(entries);
        }
        self.context.reserve_rows(count + 1, 4)?;
        let mut texts = Texts {
            bytes: Vec::new(),
            offsets: vec![0],
        };
        match form {
            b'h' | b'H' => {
                let len = self.meta.count(1 << 30)?;
                let bytes = count.checked_mul(len).filter(|&b| b < 1 << 31);
                let bytes = bytes.ok_or_else(too_long)?;
                if len % 2 == 1 {
                    return Err(Error::corrupt("half a byte in hexadecimal"));
                }
                self.context.reserve(bytes as u64)?;
                let digits = match form {
                    b'h' => b"0123456789abcdef",
                    _ => b"0123456789ABCDEF",
                };
                for &byte in self.codes.take(bytes / 2)? {
                    let (high, low) = (byte >> 4, byte & 15);
                    texts
                        .bytes
                        .extend([digits[usize::from(high)], digits[usize::from(low)]]);
                }
                texts.offsets.extend((1..=count).map(|i| (i * len) as u32));
            }
            b'x' => {
                for _ in 0..count {
                    let text = self.text.line()?;
                    self.push(&mut texts, text)?;
                }
            }
            b'y' => {
                for _ in 0..count {
                    let len = self.numbers.count(1 << 31)?;
                    let text = self.text.take(len)?;
                    self.push(&mut texts, text)?;
                }
            }
            other => return Err(unknown(other)),
        }
        Ok(Entries::of_texts(texts))
    }

    fn push(&self, texts: &mut Texts, text: &[u8]) -> Result<()> {
        self.context.reserve(text.len() as u64)?;
        texts.bytes.extend_from_slice(text);
        texts.offsets.push(offset(texts.bytes.len())?);
        Ok(())
    }

    fn integers(&mut self, rows: usize, here: &mut Here<'_>) -> Result<Integers> {
        Ok(match self.meta.byte()? {
            b'c' => Integers::Constant(unzigzag(self.meta.number()?)),
            b'd' => {
                let entries = self.meta.count(rows)?;
                self.context.reserve_rows(entries, 8)?;
                let mut values = Vec::with_capacity(entries);
                let mut last = 0i64;
                for _ in 0..entries {
                    last = last.wrapping_add(unzigzag(self.numbers.number()?));
                    values.push(last);
                }
                Integers::Coded(values, self.column_codes(rows, entries, here)?)
            }
            b'l' => {
                let mut last = unzigzag(self.meta.number()?);
                let width = usize::from(self.meta.byte()?);
                let steps = self.numbers.planes(rows - 1, width, self.context)?;
                self.context.reserve_rows(rows, 8)?;
                let mut values = Vec::with_capacity(rows);
                values.push(last);
                values.extend(steps.into_iter().map(|step| {
                    last = last.wrapping_add(unzigzag(step));
                    last
                }));
                Integers::Each(values)
            }
            b'r' => {
                let smallest = unzigzag(self.meta.number()?);
                let width = usize::from(self.meta.byte()?);
                let above = self.numbers.planes(rows, width, self.context)?;
                let values = above.into_iter().map(|a| smallest.wrapping_add(a as i64));
                Integers::Each(values.collect())
            }
            form @ (b'm' | b's' | b't') => {
                let form = match form {
                    b'm' => Form::Previous,
                    b's' => Form::SamePlace,
                    _ => Form::Top {
                        least: unzigzag(self.meta.number()?),
                        shift: self.meta.count(56)? as u32,
                    },
                };
                let leaf = self.leaf(rows, here)?;
                let (coder, weights) = (&mut self.mixed, &mut self.weights);
                let (values, symbols) = leaf.read_integers(coder, weights, form, self.context)?;
                here.frame.keep(here.column as u32, &leaf, symbols);
                Integers::Each(values)
            }
            other => return Err(unknown(other)),
        })
    }
}

pub(super) fn unknown(form: u8) -> Error {
    Error::corrupt(format!("a log column of form {form}"))
}
