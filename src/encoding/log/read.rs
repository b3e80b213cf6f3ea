//! From streams to tables whose values are at hand, row by row.

use super::keys::ColumnKeys;
use super::mixed::{FEWEST_ROWS, Form, Frame, Leaf};
use super::scan::{NUMBER, TIME, is_kind};
use super::streams::{STREAMS, Source, unzigzag};
use super::write::{END, ESCAPE, GOES_ON, MAX_DEPTH, SLOT};
use crate::encoding::DecodeContext;
use crate::encoding::entropy::symbols::{Decoder, Weights};
use crate::error::{Error, Result};

/// The streams of a chunk, read in step.
pub struct TableReader<'a> {
    meta: Source<'a>,
    skeletons: Source<'a>,
    codes: Source<'a>,
    numbers: Source<'a>,
    text: Source<'a>,
    mixed: Decoder<'a>,
    /// Whether something was coded under contexts.
    has_mixed: bool,
    weights: Weights,
    /// The most that was charged for what is needed for one column at a time.
    peak: u64,
    context: &'a DecodeContext<'a>,
}

/// A column that is being read, and what may be its contexts.
struct Here<'f> {
    frame: &'f mut Frame,
    column: usize,
}

/// A table that was read.
#[derive(Debug)]
pub struct ReadTable {
    /// Text that units have in common.
    pub skeletons: Vec<ReadSkeleton>,
    /// Skeleton of each unit.
    pub ids: Vec<u32>,
    /// Values of each column; those that were merged into others have none.
    pub columns: Vec<Values>,
}

/// A skeleton that was read.
#[derive(Debug, Default)]
pub struct ReadSkeleton {
    /// All literals, one after the other.
    pub text: Vec<u8>,
    /// Where each literal ends in the text; one more than slots.
    pub ends: Vec<u32>,
    /// Column of each slot.
    pub columns: Vec<u32>,
    /// Kind of each slot.
    pub kinds: Vec<u8>,
    /// Whether the row goes on in the next unit.
    pub goes_on: bool,
}

impl ReadSkeleton {
    /// Literal `i`.
    pub fn literal(&self, i: usize) -> &[u8] {
        let start = i.checked_sub(1).map_or(0, |i| self.ends[i] as usize);
        &self.text[start..self.ends[i] as usize]
    }
}

/// Integers of a column.
#[derive(Debug)]
pub enum Integers {
    /// The same in all rows.
    Constant(i64),
    /// Distinct values and the code of each row.
    Coded(Vec<i64>, Vec<u32>),
    /// One a row.
    Each(Vec<i64>),
}

impl Integers {
    /// The value of a row.
    #[inline]
    pub fn get(&self, row: usize) -> i64 {
        match self {
            Self::Constant(value) => *value,
            Self::Coded(values, codes) => values[codes[row] as usize],
            Self::Each(values) => values[row],
        }
    }
}

/// How an integer is printed.
#[derive(Debug)]
pub enum Print {
    /// Decimal, with a minus if negative.
    Decimal,
    /// Decimal, zeros in front up to a width.
    Padded(usize),
    /// Decimal, zeros in front up to each row's width.
    Widths(Vec<u8>),
    /// Seconds as six digits `hhmmss`.
    Clock,
    /// Time of day with so many digits of a fraction, after a comma or a point.
    Time(u32, bool),
}

/// Values of a column.
#[derive(Debug)]
pub enum Values {
    /// No row.
    None,
    /// Integers and how they print.
    Integers(Integers, Print),
    /// Texts: bytes, where each ends, and which text each row has (its own if `None`).
    Texts(Texts, Option<Vec<u32>>),
}

/// Texts, one after the other.
#[derive(Debug, Default)]
pub struct Texts {
    /// All bytes.
    pub bytes: Vec<u8>,
    /// Where each text starts, and where the last ends.
    pub offsets: Vec<u32>,
}

impl Texts {
    /// Text `i`.
    #[inline]
    pub fn get(&self, i: usize) -> &[u8] {
        &self.bytes[self.offsets[i] as usize..self.offsets[i + 1] as usize]
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Values {
    /// Appends the text of a row.
    #[inline]
    pub fn put(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Self::None => {}
            Self::Texts(texts, None) => out.extend_from_slice(texts.get(row)),
            Self::Texts(texts, Some(codes)) => {
                out.extend_from_slice(texts.get(codes[row] as usize));
            }
            Self::Integers(integers, print) => print.put(integers.get(row), row, out),
        }
    }
}

impl Print {
    /// Appends the text of an integer.
    #[inline]
    pub fn put(&self, value: i64, row: usize, out: &mut Vec<u8>) {
        match self {
            Self::Decimal => {
                if value < 0 {
                    out.push(b'-');
                }
                decimal(value.unsigned_abs(), 0, out);
            }
            Self::Padded(width) => decimal(value.unsigned_abs(), *width, out),
            Self::Widths(widths) => decimal(value.unsigned_abs(), usize::from(widths[row]), out),
            Self::Clock => {
                let value = value.unsigned_abs();
                let clock = value / 3600 * 10_000 + value / 60 % 60 * 100 + value % 60;
                decimal(clock, 6, out);
            }
            Self::Time(digits, comma) => {
                let unit = 10u64.pow(*digits);
                let value = value.unsigned_abs();
                let (seconds, fraction) = (value / unit, value % unit);
                decimal(seconds / 3600, 2, out);
                out.push(b':');
                decimal(seconds / 60 % 60, 2, out);
                out.push(b':');
                decimal(seconds % 60, 2, out);
                if *digits > 0 {
                    out.push(if *comma { b',' } else { b'.' });
                    decimal(fraction, *digits as usize, out);
                }
            }
        }
    }
}

/// Widest number with zeros in front.
const WIDEST: usize = 20;

/// Appends a number with zeros in front up to a width.
#[inline]
fn decimal(mut value: u64, width: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; WIDEST];
    let mut at = WIDEST;
    while value >= 10 {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    if value > 0 || at == WIDEST {
        at -= 1;
        digits[at] = b'0' + value as u8;
    }
    at = at.min(WIDEST - width.min(WIDEST));
    out.extend_from_slice(&digits[at..]);
}

impl<'a> TableReader<'a> {
    /// A reader of streams in stored order.
    pub fn new(streams: &'a [Vec<u8>; STREAMS], context: &'a DecodeContext<'a>) -> Self {
        let [meta, skeletons, codes, numbers, text, mixed] = streams;
        Self {
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

    /// Reads the table of lines, and fails if something is left over.
    pub fn lines(mut self) -> Result<ReadTable> {
        let table = self.table(0)?;
        let sources = [
            self.meta,
            self.skeletons,
            self.codes,
            self.numbers,
            self.text,
        ];
        match sources.iter().all(Source::is_empty) {
            true => Ok(table),
            false => Err(Error::corrupt("log columns are longer than their table")),
        }
    }

    fn table(&mut self, depth: usize) -> Result<ReadTable> {
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
        let mut skeletons = Vec::new();
        for _ in 0..count {
            self.context.reserve(size_of::<ReadSkeleton>() as u64)?;
            skeletons.push(self.skeleton(&mut keys)?);
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
        for skeleton in &mut skeletons {
            for column in &mut skeleton.columns {
                *column = target[*column as usize];
            }
        }
        let ids = self.unit_codes(units, count)?;
        let mut uses = vec![0u64; count];
        for &id in &ids {
            uses[id as usize] += 1;
        }
        let mut rows = vec![0u64; target.len()];
        for (skeleton, uses) in skeletons.iter().zip(uses) {
            for &column in &skeleton.columns {
                let rows = &mut rows[column as usize];
                *rows = rows.saturating_add(uses);
            }
        }
        let mut frame = Frame::default();
        if self.has_mixed {
            let slots = rows.iter().fold(0u64, |all, r| all.saturating_add(*r));
            self.context.reserve(slots.saturating_mul(8))?;
            let of = |skeleton: usize| skeletons[skeleton].columns.as_slice();
            frame = Frame::new(&ids, target.len(), of);
        }
        let mut columns = Vec::new();
        for (column, (&rows, &kind)) in rows.iter().zip(keys.kinds()).enumerate() {
            self.context.reserve(size_of::<Values>() as u64)?;
            let mut here = Here {
                frame: &mut frame,
                column,
            };
            columns.push(match rows {
                0 => Values::None,
                1..0x8000_0000 => self.column(kind, rows as usize, depth, &mut here)?,
                _ => return Err(Error::corrupt("a log column of too many rows")),
            });
        }
        Ok(ReadTable {
            skeletons,
            ids,
            columns,
        })
    }

    fn skeleton(&mut self, keys: &mut ColumnKeys) -> Result<ReadSkeleton> {
        let mut skeleton = ReadSkeleton::default();
        loop {
            let (text, mark) = self.skeletons.until(&[SLOT, END, GOES_ON, ESCAPE])?;
            self.context.reserve(text.len() as u64 + 1)?;
            skeleton.text.extend_from_slice(text);
            match mark {
                ESCAPE => {
                    skeleton.text.push(self.skeletons.byte()?);
                    continue;
                }
                SLOT => {
                    let kind = self.skeletons.byte()?;
                    if !is_kind(kind) {
                        return Err(Error::corrupt(format!("a slot of kind {kind}")));
                    }
                    // Its place here, and in the table of keys.
                    self.context.reserve(64)?;
                    skeleton.kinds.push(kind);
                }
                _ => skeleton.goes_on = mark == GOES_ON,
            }
            let end = u32::try_from(skeleton.text.len())
                .map_err(|_| Error::corrupt("a skeleton of more than 4 GiB"))?;
            skeleton.ends.push(end);
            if mark != SLOT {
                break;
            }
        }
        let slots = skeleton.kinds.iter().enumerate();
        skeleton.columns = keys.of_skeleton(slots.map(|(i, &kind)| (skeleton.literal(i), kind)));
        Ok(skeleton)
    }

    fn column(
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

    fn values(&mut self, count: usize, depth: usize) -> Result<Texts> {
        let form = self.meta.byte()?;
        let mut texts = Texts::default();
        if form != b't' {
            self.context.reserve_rows(count + 1, 4)?;
            texts.offsets = vec![0];
        }
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
                    let (text, _) = self.text.until(b"\n")?;
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
            b't' if depth < MAX_DEPTH => {
                let table = self.table(depth + 1)?;
                texts = table.rebuild(self.context)?;
                if texts.len() != count {
                    return Err(Error::corrupt("a table of texts has another length"));
                }
            }
            other => return Err(unknown(other)),
        }
        Ok(texts)
    }

    fn push(&self, texts: &mut Texts, text: &[u8]) -> Result<()> {
        self.context.reserve(text.len() as u64)?;
        texts.bytes.extend_from_slice(text);
        texts
            .offsets
            .push(u32::try_from(texts.bytes.len()).map_err(|_| too_long())?);
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

impl ReadTable {
    /// All units, one after the other.
    pub fn rebuild(&self, context: &DecodeContext<'_>) -> Result<Texts> {
        let mut texts = Texts::default();
        context.reserve_rows(self.ids.len() + 1, 4)?;
        texts.offsets.reserve(self.ids.len() + 1);
        texts.offsets.push(0);
        let mut at = vec![0usize; self.columns.len()];
        let mut charged = 0;
        for &id in &self.ids {
            let skeleton = &self.skeletons[id as usize];
            skeleton.put(&self.columns, &mut at, &mut texts.bytes);
            let len = texts.bytes.len();
            // What a unit adds is bounded by what was read before, so it may be charged after.
            context.reserve((len - charged) as u64)?;
            charged = len;
            let end = u32::try_from(len).ok().filter(|&e| e <= i32::MAX as u32);
            texts.offsets.push(end.ok_or_else(too_long)?);
        }
        Ok(texts)
    }
}

impl ReadSkeleton {
    /// Appends a unit; `at` is the next row of each column.
    #[inline]
    pub fn put(&self, columns: &[Values], at: &mut [usize], out: &mut Vec<u8>) {
        let mut start = 0;
        for (&column, &end) in self.columns.iter().zip(&self.ends) {
            out.extend_from_slice(&self.text[start..end as usize]);
            start = end as usize;
            let column = column as usize;
            columns[column].put(at[column], out);
            at[column] += 1;
        }
        out.extend_from_slice(&self.text[start..]);
    }

    /// Passes over a unit.
    #[inline]
    pub fn skip(&self, at: &mut [usize]) {
        for &column in &self.columns {
            at[column as usize] += 1;
        }
    }
}

fn too_long() -> Error {
    Error::corrupt("more than 2 GiB of text in one chunk")
}

fn unknown(form: u8) -> Error {
    Error::corrupt(format!("a log column of form {form}"))
}
