//! Values of a column that were read, and how they print.

use std::cell::OnceCell;

use super::stored::ReadTable;
use crate::encoding::DecodeContext;
use crate::error::{Error, Result};

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
    /// Texts, and which of them each row has (its own if `None`).
    Texts(Entries, Option<Vec<u32>>),
}

/// Texts of a column: at hand, or in a table of their own.
#[derive(Debug)]
pub struct Entries {
    texts: OnceCell<Texts>,
    table: Option<Box<ReadTable>>,
}

impl Entries {
    /// Texts that are at hand.
    pub fn of_texts(texts: Texts) -> Self {
        Self {
            texts: OnceCell::from(texts),
            table: None,
        }
    }

    /// Texts that are the units of a table.
    pub fn of_table(table: ReadTable) -> Self {
        Self {
            texts: OnceCell::new(),
            table: Some(Box::new(table)),
        }
    }

    /// Their table, while they were not put together.
    pub fn table(&self) -> Option<&ReadTable> {
        match self.texts.get() {
            Some(_) => None,
            None => self.table.as_deref(),
        }
    }

    /// The texts, put together now if they were not.
    pub fn texts(&self, context: &DecodeContext<'_>) -> Result<&Texts> {
        if let Some(texts) = self.texts.get() {
            return Ok(texts);
        }
        let texts = match &self.table {
            Some(table) => table.rebuild(context)?,
            None => Texts::default(),
        };
        Ok(self.texts.get_or_init(|| texts))
    }
}

/// Lines that were put together.
#[derive(Debug, Default)]
pub struct Lines {
    /// Their bytes.
    pub out: Out,
    /// Where each line starts, and where the last ends.
    pub offsets: Vec<u32>,
}

impl Lines {
    /// Line `i`.
    #[inline]
    pub fn get(&self, i: usize) -> &[u8] {
        &self.out.as_slice()[self.offsets[i] as usize..self.offsets[i + 1] as usize]
    }

    /// Number of lines.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Values of a column that are at hand.
#[derive(Debug, Clone, Copy)]
pub enum Shown<'a> {
    /// No row.
    None,
    /// Integers and how they print.
    Integers(&'a Integers, &'a Print),
    /// Texts, and which of them each row has.
    Texts(&'a Texts, Option<&'a [u32]>),
}

impl Values {
    /// The values, texts put together.
    pub fn shown(&self, context: &DecodeContext<'_>) -> Result<Shown<'_>> {
        Ok(match self {
            Self::None => Shown::None,
            Self::Integers(integers, print) => Shown::Integers(integers, print),
            Self::Texts(entries, codes) => Shown::Texts(entries.texts(context)?, codes.as_deref()),
        })
    }
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

    #[inline]
    fn put(&self, i: usize, out: &mut Out) {
        let (start, end) = (self.offsets[i] as usize, self.offsets[i + 1] as usize);
        out.put(&self.bytes, start, end);
    }
}

/// Text that is being put together. Short pieces are copied as a few whole words, which takes no
/// call: bytes beyond a piece are overwritten by the next.
#[derive(Debug, Default)]
pub struct Out {
    bytes: Vec<u8>,
    len: usize,
}

/// Bytes that are copied for a piece that is not longer.
const COPIED: usize = 32;
/// Fewest bytes by which the text grows.
const GROWTH: usize = 1 << 10;
/// Most bytes for which room is made before they come.
const MOST_EXPECTED: usize = 24 << 20;

impl Out {
    /// Makes sure that there is room for so many bytes, if they are not too many to be believed.
    pub fn expect(&mut self, bytes: usize) {
        let bytes = bytes.min(MOST_EXPECTED);
        if self.len == 0 && self.bytes.len() < bytes {
            // Fresh memory of zeros takes no time before it is used.
            self.bytes = vec![0; bytes];
        }
    }

    /// Bytes so far.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends bytes `start..end` of a text.
    #[inline(always)]
    pub fn put(&mut self, text: &[u8], start: usize, end: usize) {
        let len = end - start;
        if len <= COPIED
            && let Some(to) = self.bytes.get_mut(self.len..self.len + COPIED)
            && let Some(from) = text.get(start..start + COPIED)
        {
            to.copy_from_slice(from);
            self.len += len;
            return;
        }
        self.put_long(&text[start..end]);
    }

    fn put_long(&mut self, piece: &[u8]) {
        let end = self.len + piece.len();
        if end + COPIED > self.bytes.len() {
            let more = (self.bytes.len() / 2).max(GROWTH);
            self.bytes.resize(end + more, 0);
        }
        self.bytes[self.len..end].copy_from_slice(piece);
        self.len = end;
    }

    fn byte(&mut self, byte: u8) {
        match self.bytes.get_mut(self.len) {
            Some(to) => {
                *to = byte;
                self.len += 1;
            }
            None => self.put_long(&[byte]),
        }
    }

    /// Appends a number with zeros in front up to a width.
    #[inline]
    fn decimal(&mut self, mut value: u64, width: usize) {
        if value < 10 && width < 2 {
            return self.byte(b'0' + value as u8);
        }
        if value < 100 && width < 3 {
            let pair = 2 * value as usize;
            return self.put(&PAIRS, pair, pair + 2);
        }
        let mut digits = [b'0'; COPIED + WIDEST];
        let mut at = WIDEST;
        while value >= 100 {
            let pair = 2 * (value % 100) as usize;
            value /= 100;
            at -= 2;
            digits[at] = PAIRS[pair];
            digits[at + 1] = PAIRS[pair + 1];
        }
        if value >= 10 {
            at -= 2;
            digits[at] = PAIRS[2 * value as usize];
            digits[at + 1] = PAIRS[2 * value as usize + 1];
        } else if value > 0 || at == WIDEST {
            at -= 1;
            digits[at] = b'0' + value as u8;
        }
        at = at.min(WIDEST - width.min(WIDEST));
        self.put(&digits, at, WIDEST);
    }

    /// A time of more than a day, as only a damaged file has it.
    #[cold]
    fn strange_time(&mut self, seconds: u64, fraction: u64, digits: usize, comma: bool) {
        self.decimal(seconds / 3600, 2);
        self.byte(b':');
        self.decimal(seconds / 60 % 60, 2);
        self.byte(b':');
        self.decimal(seconds % 60, 2);
        if digits > 0 {
            self.byte(if comma { b',' } else { b'.' });
            self.decimal(fraction, digits);
        }
    }

    /// The text.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.truncate(self.len);
        // More may have been expected than came.
        if self.bytes.capacity() > 2 * self.len + GROWTH {
            self.bytes.shrink_to_fit();
        }
        self.bytes
    }

    /// What was put together so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.len = 0;
    }
}

/// `00` to `99`, and room so that pairs may be copied as all pieces are.
static PAIRS: [u8; 200 + COPIED] = pairs();

const fn pairs() -> [u8; 200 + COPIED] {
    let mut pairs = [0; 200 + COPIED];
    let mut i = 0;
    while i < 100 {
        pairs[2 * i] = b'0' + (i / 10) as u8;
        pairs[2 * i + 1] = b'0' + (i % 10) as u8;
        i += 1;
    }
    pairs
}

impl Shown<'_> {
    /// About how many bytes a row takes.
    pub fn width(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Integers(..) => 8,
            Self::Texts(texts, _) => texts.bytes.len() / texts.len().max(1) + 1,
        }
    }

    /// Appends the text of a row.
    #[inline]
    pub fn put(&self, row: usize, out: &mut Out) {
        match self {
            Self::None => {}
            Self::Texts(texts, None) => texts.put(row, out),
            Self::Texts(texts, Some(codes)) => texts.put(codes[row] as usize, out),
            Self::Integers(integers, print) => print.put(integers.get(row), row, out),
        }
    }
}

impl Print {
    /// Appends the text of an integer.
    #[inline]
    pub fn put(&self, value: i64, row: usize, out: &mut Out) {
        match self {
            Self::Decimal => {
                if value < 0 {
                    out.byte(b'-');
                }
                out.decimal(value.unsigned_abs(), 0);
            }
            Self::Padded(width) => out.decimal(value.unsigned_abs(), *width),
            Self::Widths(widths) => out.decimal(value.unsigned_abs(), usize::from(widths[row])),
            Self::Clock => {
                let value = value.unsigned_abs();
                let clock = value / 3600 * 10_000 + value / 60 % 60 * 100 + value % 60;
                out.decimal(clock, 6);
            }
            Self::Time(digits, comma) => {
                let unit = 10u64.pow(*digits);
                let value = value.unsigned_abs();
                let (seconds, mut fraction) = (value / unit, value % unit);
                if seconds >= 360_000 {
                    return out.strange_time(seconds, fraction, *digits as usize, *comma);
                }
                let mut text = [b':'; 2 * COPIED];
                let parts = [seconds / 3600, seconds / 60 % 60, seconds % 60];
                for (at, part) in parts.into_iter().enumerate() {
                    let pair = 2 * part as usize;
                    text[3 * at] = PAIRS[pair];
                    text[3 * at + 1] = PAIRS[pair + 1];
                }
                let mut len = 8;
                if *digits > 0 {
                    text[8] = if *comma { b',' } else { b'.' };
                    len = 9 + *digits as usize;
                    for digit in text[9..len].iter_mut().rev() {
                        *digit = b'0' + (fraction % 10) as u8;
                        fraction /= 10;
                    }
                }
                out.put(&text, 0, len);
            }
        }
    }
}

/// Widest number with zeros in front.
pub const WIDEST: usize = 20;

/// Where a text of more than 2 GiB would end.
pub fn too_long() -> Error {
    Error::corrupt("more than 2 GiB of text in one chunk")
}

/// The offset at which a text ends.
pub fn offset(len: usize) -> Result<u32> {
    let end = u32::try_from(len).ok().filter(|&e| e <= i32::MAX as u32);
    end.ok_or_else(too_long)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(print: &Print, value: i64) -> String {
        let mut out = Out::default();
        print.put(value, 0, &mut out);
        String::from_utf8(out.finish()).unwrap()
    }

    #[test]
    fn integers_print_as_they_were() {
        for value in [0, 7, 10, 99, 100, 12_345, -1, -120, i64::MAX, i64::MIN] {
            assert_eq!(printed(&Print::Decimal, value), value.to_string());
        }
        assert_eq!(printed(&Print::Padded(5), 42), "00042");
        assert_eq!(printed(&Print::Padded(20), 0), "0".repeat(20));
        assert_eq!(printed(&Print::Widths(vec![3]), 1234), "1234");
        assert_eq!(printed(&Print::Clock, 3 * 3600 + 4 * 60 + 5), "030405");
        assert_eq!(printed(&Print::Time(3, true), 61_007), "00:01:01,007");
        assert_eq!(printed(&Print::Time(0, false), 86_399), "23:59:59");
    }

    #[test]
    fn pieces_of_any_length_follow_each_other() {
        let text: Vec<u8> = (0..=255).cycle().take(200_000).collect();
        let mut out = Out::default();
        out.expect(100);
        let mut expected = Vec::new();
        let mut start = 0;
        for len in [0, 1, 31, 32, 33, 90_000, 5, 64, 0, 1000]
            .into_iter()
            .cycle()
            .take(24)
        {
            let end = (start + len).min(text.len());
            out.put(&text, start, end);
            expected.extend_from_slice(&text[start..end]);
            start = end;
        }
        assert_eq!(out.len(), expected.len());
        assert!(out.finish() == expected);
    }
}
