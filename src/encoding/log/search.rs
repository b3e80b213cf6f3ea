//! Which rows of a chunk hold a text, decided on skeletons and columns before any row is rebuilt.
//!
//! A skeleton is a sequence of literals and slots. Where the text may lie in it is worked out once:
//! inside a literal, then all rows of the skeleton hold it; or across literals and slots, then the
//! slots it touches must contain, begin with, end with or equal parts of it. Such a *test* is made
//! once for each column, on its distinct values. What is left are the skeletons and rows that hold
//! the text, and no others (after the search planning of CLP: Rodrigues et al., *CLP: Efficient and
//! Scalable Search on Compressed Text Logs*, OSDI 2021).
//!
//! A run of letters, and a run of digits, is never cut between a literal and a slot, nor between
//! units. So a text whose longest run of letters is in none of the chunk's texts is nowhere in it.

use std::collections::HashMap;
use std::ops::Range;

use memchr::memmem::Finder;
use regex::bytes::{Regex, RegexBuilder};

use super::chunk::Chunk;
use super::classes::{DIGIT, HARD, LETTER, class};
use super::read::{ReadSkeleton, ReadTable};
use super::scan::{NUMBER, QUOTED, TIME};
use super::values::{Integers, Out, Print, Texts, Values};
use crate::encoding::{DecodeContext, Node};
use crate::error::{Error, Result};

/// Ways in which a text may lie in a skeleton; of more, its rows are only said to be possible.
const MOST_WAYS: usize = 48;
/// Digits in a row of which shorter texts occur nearly everywhere.
const FEW_DIGITS: usize = 2;
/// What letters outside ASCII that fold to `s` and `k` are in UTF-8.
const FOLD_TO_ASCII: [&[u8]; 2] = ["\u{17f}".as_bytes(), "\u{212a}".as_bytes()];

/// A text to look for.
#[derive(Debug)]
pub struct Needle {
    text: Vec<u8>,
    whole: Searcher,
    /// Its longest run of letters, unless those may be hexadecimal digits.
    letters: Option<Searcher>,
    ignore_case: bool,
}

/// Finds a text.
#[derive(Debug)]
enum Searcher {
    Exact(Box<Finder<'static>>),
    /// In any case of ASCII letters.
    Folded(Regex),
}

impl Searcher {
    fn new(text: &[u8], ignore_case: bool) -> Option<Self> {
        if !ignore_case || !text.iter().any(u8::is_ascii_alphabetic) {
            return Some(Self::Exact(Box::new(Finder::new(text).into_owned())));
        }
        let text = regex::escape(std::str::from_utf8(text).ok()?);
        let regex = RegexBuilder::new(&text)
            .case_insensitive(true)
            .unicode(false)
            .build();
        Some(Self::Folded(regex.ok()?))
    }

    fn find(&self, text: &[u8]) -> Option<usize> {
        match self {
            Self::Exact(finder) => finder.find(text),
            Self::Folded(regex) => regex.find(text).map(|m| m.start()),
        }
    }
}

impl Needle {
    /// A text that lies within one line. `None` if nothing can be said of where it lies: it is empty,
    /// or holds a line feed, or letters outside ASCII whose case does not count.
    pub fn new(text: &[u8], ignore_case: bool) -> Option<Self> {
        let odd = ignore_case && !text.is_ascii();
        if text.is_empty() || text.contains(&b'\n') || odd {
            return None;
        }
        let runs = text.chunk_by(|&a, &b| class(a) == LETTER && class(b) == LETTER);
        let letters = runs
            .filter(|r| class(r[0]) == LETTER && !r.iter().all(u8::is_ascii_hexdigit))
            .max_by_key(|r| r.len());
        let letters = match letters {
            Some(run) => Some(Searcher::new(run, ignore_case)?),
            None => None,
        };
        Some(Self {
            whole: Searcher::new(text, ignore_case)?,
            text: text.to_vec(),
            letters,
            ignore_case,
        })
    }

    /// Whether it is rare enough for a search of columns to be worth it.
    fn is_worth_it(&self) -> bool {
        let digits = self.text.iter().all(u8::is_ascii_digit);
        !(digits && self.text.len() <= FEW_DIGITS)
    }

    fn same(&self, a: &[u8], b: &[u8]) -> bool {
        match self.ignore_case {
            true => a.eq_ignore_ascii_case(b),
            false => a == b,
        }
    }

    /// Whether a literal and a slot may meet before byte `at`.
    fn may_part(&self, at: usize) -> bool {
        let (before, after) = (class(self.text[at - 1]), class(self.text[at]));
        before != after || !matches!(before, LETTER | DIGIT)
    }

    /// Whether bytes `part` of it may be in a slot of a kind.
    fn suits(&self, kind: u8, part: &Range<usize>) -> bool {
        let text = &self.text[part.clone()];
        match kind {
            NUMBER => text
                .iter()
                .enumerate()
                .all(|(i, b)| b.is_ascii_digit() || (*b == b'-' && i == 0)),
            QUOTED => true,
            TIME.. => text
                .iter()
                .all(|b| b.is_ascii_digit() || b":.,".contains(b)),
            _ => text.iter().all(|&b| class(b) != HARD),
        }
    }
}

/// Whether the letters of some texts may be in a chunk at all, of which only the buffers that
/// [`letter_buffers`](super::chunk::letter_buffers) names need be there.
pub fn may_hold(node: &Node, needles: &[Needle], context: &DecodeContext<'_>) -> Result<bool> {
    let sure = |needle: &Needle| needle.letters.is_some() && needle.is_worth_it();
    if !needles.iter().all(sure) {
        return Ok(true);
    }
    let found = |text: &[u8]| {
        let letters = |n: &Needle| n.letters.as_ref().is_some_and(|l| l.find(text).is_some());
        needles.iter().any(|n| letters(n) || n.is_puzzled_by(text))
    };
    super::chunk::letters(node, found, context)
}

impl Needle {
    /// Whether a text has letters outside ASCII that are the same as some of ASCII if case does not
    /// count.
    fn is_puzzled_by(&self, text: &[u8]) -> bool {
        let odd = |letter: &&[u8]| memchr::memmem::find(text, letter).is_some();
        self.ignore_case && FOLD_TO_ASCII.iter().any(odd)
    }
}

/// Rows that hold a text.
#[derive(Debug, PartialEq)]
pub enum Held {
    /// None does.
    None,
    /// For each row whether it does, or, unless `exact`, whether it may.
    Rows {
        /// By row.
        rows: Vec<bool>,
        /// Whether all of them hold it for certain.
        exact: bool,
    },
    /// Nothing is known without looking at the rows.
    Unknown,
}

impl Held {
    /// Which rows hold the one or the other.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, other) | (other, Self::None) => other,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (
                Self::Rows { mut rows, exact },
                Self::Rows {
                    rows: more,
                    exact: also,
                },
            ) => {
                rows.iter_mut().zip(more).for_each(|(row, more)| *row |= more);
                Self::Rows {
                    rows,
                    exact: exact && also,
                }
            }
        }
    }
}

/// The rows that hold one of some texts.
pub fn rows(chunk: &Chunk, needles: &[Needle], context: &DecodeContext<'_>) -> Result<Held> {
    let mut held = Held::None;
    for needle in needles {
        if !needle.is_worth_it() || held == Held::Unknown {
            return Ok(Held::Unknown);
        }
        let more = match chunk {
            Chunk::Plain(texts) if needle.is_puzzled_by(&texts.bytes) => Held::Unknown,
            Chunk::Plain(texts) => {
                context.reserve_rows(texts.len(), 1)?;
                let rows = holding(texts, &needle.whole, needle.text.len());
                match rows.contains(&true) {
                    true => Held::Rows { rows, exact: true },
                    false => Held::None,
                }
            }
            Chunk::Parsed(table) => Search::new(table, needle, context).rows()?,
        };
        held = held.or(more);
    }
    Ok(held)
}

/// What a slot must be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Is {
    Holding,
    Starting,
    Ending,
    Equal,
}

/// A condition on a column: what its values must be like, and the part of the text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Test {
    column: u32,
    is: Is,
    part: Range<usize>,
}

/// A condition on a slot of a skeleton: the column's row is so many after the unit's first.
type SlotTest = (u32, Test);

/// Rows of a column that pass a test.
#[derive(Debug)]
enum Hits {
    None,
    All,
    /// By row.
    Rows(Vec<bool>),
    /// By code of a row.
    Codes(Vec<bool>),
}

/// What is known of the rows of a skeleton.
#[derive(Debug)]
enum Ways {
    None,
    All,
    /// Perhaps: there are too many ways.
    Some,
    /// All tests of one of these must pass.
    Any(Vec<Vec<SlotTest>>),
}

struct Search<'a> {
    table: &'a ReadTable,
    needle: &'a Needle,
    context: &'a DecodeContext<'a>,
    /// Where each byte occurs in the text.
    places: Vec<Vec<usize>>,
    hits: HashMap<Test, Hits>,
}

impl<'a> Search<'a> {
    fn new(table: &'a ReadTable, needle: &'a Needle, context: &'a DecodeContext<'a>) -> Self {
        let mut places = vec![Vec::new(); 256];
        for (at, &byte) in needle.text.iter().enumerate() {
            let mut bytes = vec![byte];
            if needle.ignore_case && byte.is_ascii_alphabetic() {
                bytes = vec![byte.to_ascii_lowercase(), byte.to_ascii_uppercase()];
            }
            for byte in bytes {
                places[usize::from(byte)].push(at);
            }
        }
        Self {
            table,
            needle,
            context,
            places,
            hits: HashMap::new(),
        }
    }

    fn rows(mut self) -> Result<Held> {
        let table = self.table;
        let puzzled = |column: usize| {
            let parts = table.letters(column);
            parts.iter().any(|text| self.needle.is_puzzled_by(text))
        };
        let literals = |s: &ReadSkeleton| self.needle.is_puzzled_by(&s.text);
        if self.needle.ignore_case
            && ((0..table.columns().len()).any(puzzled) || table.skeletons.iter().any(literals))
        {
            return Ok(Held::Unknown);
        }
        let mut ways = Vec::with_capacity(table.skeletons.len());
        for skeleton in &table.skeletons {
            let found = self.ways(skeleton);
            ways.push(self.tested(found)?);
        }
        if ways.iter().all(|w| matches!(w, Ways::None)) && !self.may_cross() {
            return Ok(Held::None);
        }
        self.by_row(&ways)
    }

    /// Whether the text may begin in one unit of a row and end in the next: rows are cut after hard
    /// delimiters.
    fn may_cross(&self) -> bool {
        let inner = &self.needle.text[..self.needle.text.len() - 1];
        inner.iter().any(|&b| class(b) == HARD)
            && self.table.skeletons.iter().any(|s| s.goes_on)
    }

    /// The ways in which the text may lie in a skeleton.
    fn ways(&self, skeleton: &ReadSkeleton) -> Ways {
        let needle = self.needle;
        let text = &needle.text;
        let n = text.len();
        let slots = skeleton.columns.len();
        let end = skeleton.ends.last().map_or(0, |&e| e as usize);
        let mut from = 0;
        while let Some(at) = needle.whole.find(&skeleton.text[from..end]) {
            let at = from + at;
            let literal = skeleton.ends.partition_point(|&e| e as usize <= at);
            if at + n <= skeleton.ends[literal] as usize {
                return Ways::All;
            }
            from = at + 1;
        }
        let mut ways = Vec::new();
        let mut tests = Vec::new();
        for slot in 0..slots {
            let kind = skeleton.kinds[slot];
            let column = skeleton.columns[slot];
            if needle.suits(kind, &(0..n)) {
                let earlier = skeleton.columns[..slot].iter().filter(|c| **c == column);
                let test = Test {
                    column,
                    is: Is::Holding,
                    part: 0..n,
                };
                ways.push(vec![(earlier.count() as u32, test)]);
            }
            // The text begins at the end of the literal before the slot, and goes on in it.
            let before = skeleton.literal(slot);
            if let Some(&last) = before.last() {
                for &at in &self.places[usize::from(last)] {
                    let len = at + 1;
                    if len < n
                        && len <= before.len()
                        && needle.may_part(len)
                        && needle.same(&before[before.len() - len..], &text[..len])
                    {
                        self.slot(skeleton, slot, len, &mut tests, &mut ways);
                    }
                }
            }
            // It begins in the slot.
            let after = skeleton.literal(slot + 1);
            let mut begins = |len: usize| {
                if len > 0 && needle.may_part(len) && needle.suits(kind, &(0..len)) {
                    tests.push(self.test(skeleton, slot, Is::Ending, 0..len));
                    self.literal(skeleton, slot + 1, len, &mut tests, &mut ways);
                    tests.pop();
                }
            };
            match after.first() {
                Some(&first) => {
                    let places = self.places[usize::from(first)].iter();
                    places.for_each(|&len| begins(len));
                }
                None if slot + 1 < slots => (1..n).for_each(begins),
                None => {}
            }
            if ways.len() > MOST_WAYS {
                return Ways::Some;
            }
        }
        match ways.is_empty() {
            true => Ways::None,
            false => Ways::Any(ways),
        }
    }

    fn test(&self, skeleton: &ReadSkeleton, slot: usize, is: Is, part: Range<usize>) -> SlotTest {
        let column = skeleton.columns[slot];
        let earlier = skeleton.columns[..slot].iter().filter(|c| **c == column);
        (earlier.count() as u32, Test { column, is, part })
    }

    /// The text goes on in a literal with byte `at`.
    fn literal(
        &self,
        skeleton: &ReadSkeleton,
        literal: usize,
        at: usize,
        tests: &mut Vec<SlotTest>,
        ways: &mut Vec<Vec<SlotTest>>,
    ) {
        let (here, rest) = (skeleton.literal(literal), &self.needle.text[at..]);
        let common = here.len().min(rest.len());
        if !self.needle.same(&here[..common], &rest[..common]) || ways.len() > MOST_WAYS {
            return;
        }
        if rest.len() <= here.len() {
            ways.push(tests.clone());
        } else if literal < skeleton.columns.len()
            && (here.is_empty() || self.needle.may_part(at + here.len()))
        {
            self.slot(skeleton, literal, at + here.len(), tests, ways);
        }
    }

    /// The text goes on in a slot with byte `at`.
    fn slot(
        &self,
        skeleton: &ReadSkeleton,
        slot: usize,
        at: usize,
        tests: &mut Vec<SlotTest>,
        ways: &mut Vec<Vec<SlotTest>>,
    ) {
        let n = self.needle.text.len();
        let kind = skeleton.kinds[slot];
        if self.needle.suits(kind, &(at..n)) {
            tests.push(self.test(skeleton, slot, Is::Starting, at..n));
            ways.push(tests.clone());
            tests.pop();
        }
        for end in at + 1..n {
            if self.needle.may_part(end) && self.needle.suits(kind, &(at..end)) {
                tests.push(self.test(skeleton, slot, Is::Equal, at..end));
                self.literal(skeleton, slot + 1, end, tests, ways);
                tests.pop();
            }
        }
    }

    /// Makes the tests: ways that no row passes fall away.
    fn tested(&mut self, ways: Ways) -> Result<Ways> {
        let Ways::Any(ways) = ways else {
            return Ok(ways);
        };
        let mut left = Vec::new();
        'ways: for mut way in ways {
            // Those that are quickly made first.
            way.sort_by_key(|(_, test)| test.is == Is::Holding);
            for (_, test) in &way {
                if !self.hits.contains_key(test) {
                    let hits = self.hits_of(test)?;
                    self.hits.insert(test.clone(), hits);
                }
                if matches!(self.hits.get(test), Some(Hits::None) | None) {
                    continue 'ways;
                }
            }
            way.retain(|(_, test)| !matches!(self.hits.get(test), Some(Hits::All)));
            if way.is_empty() {
                return Ok(Ways::All);
            }
            left.push(way);
        }
        Ok(match left.is_empty() {
            true => Ways::None,
            false => Ways::Any(left),
        })
    }

    fn by_row(&self, ways: &[Ways]) -> Result<Held> {
        let table = self.table;
        self.context.reserve_rows(table.ids.len(), 1)?;
        // The codes of the columns that are tested, and where each column's next row is.
        let mut at = vec![0usize; table.columns().len()];
        let mut passed = super::chunk::Passed::new(table.skeletons.len());
        let tested: Vec<bool> = ways.iter().map(|w| matches!(w, Ways::Any(_))).collect();
        let concerned: Vec<bool> = {
            let mut columns = vec![false; table.columns().len()];
            let tests = self.hits.iter().filter(|(_, hits)| !matches!(hits, Hits::None));
            tests.for_each(|(test, _)| columns[test.column as usize] = true);
            let uses = |s: &ReadSkeleton| s.columns.iter().any(|&c| columns[c as usize]);
            table.skeletons.iter().map(uses).collect()
        };
        let crossing = self.may_cross();
        let mut rows = Vec::with_capacity(table.ids.len());
        let (mut exact, mut any, mut held, mut units) = (true, false, false, 0);
        for &id in &table.ids {
            let skeleton = &table.skeletons[id as usize];
            match &ways[id as usize] {
                Ways::None => {}
                Ways::All => held = true,
                Ways::Some => {
                    held = true;
                    exact = false;
                }
                Ways::Any(ways) => {
                    passed.settle(&table.skeletons, &mut at);
                    for way in ways {
                        let mut all = true;
                        for (after, test) in way {
                            all &= self.passes(test, at[test.column as usize] + *after as usize)?;
                        }
                        held |= all;
                    }
                }
            }
            match tested[id as usize] {
                true => skeleton.skip(1, &mut at),
                false if concerned[id as usize] => passed.add(id),
                false => {}
            }
            units += 1;
            if !skeleton.goes_on {
                if crossing && units > 1 && !held {
                    held = true;
                    exact = false;
                }
                rows.push(held);
                any |= held;
                (held, units) = (false, 0);
            }
        }
        Ok(match any {
            true => Held::Rows { rows, exact },
            false => Held::None,
        })
    }

    fn passes(&self, test: &Test, row: usize) -> Result<bool> {
        Ok(match self.hits.get(test) {
            None | Some(Hits::None) => false,
            Some(Hits::All) => true,
            Some(Hits::Rows(rows)) => rows[row],
            Some(Hits::Codes(hits)) => {
                match self.table.values(test.column as usize, self.context)? {
                    Values::Texts(_, Some(codes))
                    | Values::Integers(Integers::Coded(_, codes), _) => hits[codes[row] as usize],
                    _ => return Err(Error::corrupt("a log column without codes")),
                }
            }
        })
    }

    fn hits_of(&self, test: &Test) -> Result<Hits> {
        let column = test.column as usize;
        let part = &self.needle.text[test.part.clone()];
        let kind = self.table.columns()[column].kind;
        if test.is == Is::Holding
            && kind < TIME
            && let Some(letters) = &self.needle.letters
        {
            let parts = self.table.letters(column);
            if !parts.iter().any(|text| letters.find(text).is_some()) {
                return Ok(Hits::None);
            }
        }
        let found = |hits: Vec<bool>, make: fn(Vec<bool>) -> Hits| match hits.contains(&true) {
            true => make(hits),
            false => Hits::None,
        };
        Ok(match self.table.values(column, self.context)? {
            Values::None => Hits::None,
            Values::Texts(texts, codes) => {
                self.context.reserve_rows(texts.len(), 1)?;
                let hits = match test.is {
                    Is::Holding => holding(texts, &self.needle.whole, part.len()),
                    is => (0..texts.len())
                        .map(|i| self.passes_text(is, part, texts.get(i)))
                        .collect(),
                };
                match codes {
                    Some(_) => found(hits, Hits::Codes),
                    None => found(hits, Hits::Rows),
                }
            }
            Values::Integers(integers, print) => {
                let mut number = NumberTest::new(self, test.is, part, print);
                if number.never {
                    return Ok(Hits::None);
                }
                match (integers, print) {
                    // The width of each row may add zeros.
                    (_, Print::Widths(widths)) => {
                        self.context.reserve_rows(widths.len(), 1)?;
                        let rows = 0..widths.len();
                        let hits = rows.map(|row| number.passes(integers.get(row), row));
                        found(hits.collect(), Hits::Rows)
                    }
                    (Integers::Constant(value), _) => match number.passes(*value, 0) {
                        true => Hits::All,
                        false => Hits::None,
                    },
                    (Integers::Coded(values, _), _) => {
                        self.context.reserve_rows(values.len(), 1)?;
                        let hits = values.iter().map(|&v| number.passes(v, 0));
                        found(hits.collect(), Hits::Codes)
                    }
                    (Integers::Each(values), _) => {
                        self.context.reserve_rows(values.len(), 1)?;
                        let hits = values.iter().map(|&v| number.passes(v, 0));
                        found(hits.collect(), Hits::Rows)
                    }
                }
            }
        })
    }

    fn passes_text(&self, is: Is, part: &[u8], text: &[u8]) -> bool {
        let (n, len) = (part.len(), text.len());
        match is {
            Is::Holding => self.needle.whole.find(text).is_some(),
            Is::Starting => n <= len && self.needle.same(&text[..n], part),
            Is::Ending => n <= len && self.needle.same(&text[len - n..], part),
            Is::Equal => self.needle.same(text, part),
        }
    }
}

/// A test of printed numbers.
struct NumberTest<'s, 'a> {
    search: &'s Search<'a>,
    is: Is,
    part: &'a [u8],
    print: &'s Print,
    /// Values of less than this have too few digits.
    least: u64,
    /// The only value that may pass, up to its sign.
    only: Option<u64>,
    /// No value can pass.
    never: bool,
    out: Out,
}

impl<'s, 'a> NumberTest<'s, 'a> {
    fn new(search: &'s Search<'a>, is: Is, part: &'a [u8], print: &'s Print) -> Self {
        let mut test = Self {
            search,
            is,
            part,
            print,
            least: 0,
            only: None,
            never: false,
            out: Out::default(),
        };
        let digits = part.strip_prefix(b"-").unwrap_or(part);
        let digits_only = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        match print {
            Print::Decimal | Print::Padded(_) | Print::Widths(_) if digits_only => {
                let number = std::str::from_utf8(digits).ok().and_then(|d| d.parse::<u64>().ok());
                match number {
                    Some(number) => {
                        test.least = number;
                        test.only = (is == Is::Equal).then_some(number);
                    }
                    None => test.never = digits.len() > super::values::WIDEST
                        || !digits.starts_with(b"0"),
                }
                if let Print::Padded(width) = print {
                    test.never |= *width < digits.len() && digits.starts_with(b"0");
                }
            }
            Print::Decimal | Print::Padded(_) | Print::Widths(_) | Print::Clock => {
                test.never = !digits_only;
            }
            Print::Time(fraction, _) => {
                let runs = part.split(|b| !b.is_ascii_digit());
                let longest = runs.map(<[u8]>::len).max().unwrap_or(0);
                test.never = longest > 2.max(*fraction as usize);
            }
        }
        test
    }

    #[inline]
    fn passes(&mut self, value: i64, row: usize) -> bool {
        let size = value.unsigned_abs();
        if self.only.is_some_and(|only| size != only) || size < self.least {
            return false;
        }
        self.out.clear();
        self.print.put(value, row, &mut self.out);
        self.search.passes_text(self.is, self.part, self.out.as_slice())
    }
}

/// Which texts hold one of so many bytes: searches all at once, then tells which of them it was.
fn holding(texts: &Texts, searcher: &Searcher, len: usize) -> Vec<bool> {
    let mut hits = vec![false; texts.len()];
    let mut from = 0;
    while let Some(at) = searcher.find(&texts.bytes[from..]) {
        let start = from + at;
        let i = texts.offsets.partition_point(|&o| o as usize <= start) - 1;
        let limit = texts.offsets.get(i + 1).map_or(start, |&o| o as usize);
        if start + len <= limit {
            hits[i] = true;
            from = limit;
        } else {
            from = start + 1;
        }
    }
    hits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::log::lines;
    use crate::encoding::{EncodeContext, Models, NoParents, Planner, Profile, Registry};
    use arrow::array::{ArrayRef, BinaryArray};
    use std::sync::Arc;

    /// Lines of which searches are compared with a look at each.
    fn log() -> Vec<Vec<u8>> {
        let mut lines: Vec<Vec<u8>> = (0..3000u64)
            .map(|i| {
                let id = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let line = match i % 6 {
                    0 => format!("2024-03-01 10:{:02}:{:02},{:03} INFO took {i} ms", i / 60 % 60, i % 60, i % 1000),
                    1 => format!("WARN disk d{} at /var/log/x{}.log is {}% full", i % 9, i % 40, i % 100),
                    2 => format!("block blk_{} from 10.0.{}.{}:50010", id as i64, i % 4, i % 200),
                    3 => format!("id={id:016x} user=\"u{} of {}\" ok", i % 77, i % 5),
                    4 => format!("{{\"n\":{i},\"pad\":\"{:05}\",\"s\":\"\u{17f}\"}}", i % 300),
                    _ => format!("retry {} of 00{} {:06}", i % 3, i % 7, i % 24 * 10_000 + i % 60 * 101 % 6000),
                };
                format!("{line}\n").into_bytes()
            })
            .collect();
        lines.push(b"{\"k\":1},{\"k\":2},".repeat(3000));
        lines
    }

    #[test]
    fn rows_that_hold_a_text_are_found_and_no_others() {
        let log = log();
        let array: ArrayRef = Arc::new(BinaryArray::from_iter_values(&log));
        for profile in [Profile::Balanced, Profile::Archive] {
            let planner = Planner::default();
            let mut models = Models::default();
            let registry = Registry::standard();
            let mut context = EncodeContext::new(&planner, registry, &mut models, &[], profile);
            let encoding = registry.get(lines::ID).unwrap();
            let node = encoding.encode(&array, &mut context).unwrap().unwrap();
            let context = DecodeContext::new(registry, &models, &NoParents, 1 << 30);
            let chunk = Chunk::open(&node, true, &context).unwrap();
            assert!(matches!(chunk, Chunk::Parsed(_)));
            let mut decided = 0;
            for text in [
                "INFO", "info", "took 6 ms", "took 6", "k 6 m", "absent", "blk_-", "d3 at",
                "x17.log is", "10:07:", ":17,017 INFO", "7,1", "10.0.3.", "0.3.111:5", "10.0.3.111",
                "id=", "user=\"u", "u7 of 2", "of 2\" ok", "\":12", "00012", "0001", "retry 2 of 003",
                "of 00", "is 99% full", "9% f", "blk_5", "{\"n\":4,\"pad\"", "},{", "2},{\"k\":1",
                "10.0.3.999", "299", "1234", "9e37", "zz", "full\n", "s", "S\":", "2024-03-01 10:4",
            ] {
                for ignore_case in [false, true] {
                    let Some(needle) = Needle::new(text.as_bytes(), ignore_case) else {
                        assert!(text.contains('\n'));
                        continue;
                    };
                    let pattern = RegexBuilder::new(&regex::escape(text))
                        .case_insensitive(ignore_case)
                        .build()
                        .unwrap();
                    let expected: Vec<bool> = log.iter().map(|l| pattern.is_match(l)).collect();
                    let needles = [needle];
                    let case = format!("{text:?} {ignore_case} {profile:?}");
                    if !may_hold(&node, &needles, &context).unwrap() {
                        assert!(!expected.contains(&true), "{case}");
                    }
                    match rows(&chunk, &needles, &context).unwrap() {
                        Held::None => assert!(!expected.contains(&true), "{case}"),
                        Held::Rows { rows, exact: true } => assert!(rows == expected, "{case}"),
                        Held::Rows { rows, exact: false } => {
                            assert!(expected.iter().zip(&rows).all(|(e, r)| r | !e), "{case}");
                        }
                        Held::Unknown => {
                            decided -= 1;
                            assert!(ignore_case, "{case}");
                        }
                    }
                    decided += 1;
                }
            }
            assert!(decided > 35, "{decided}");
        }
    }

    #[test]
    fn any_of_several_texts_is_enough() {
        let log = log();
        let array: ArrayRef = Arc::new(BinaryArray::from_iter_values(&log));
        let planner = Planner::default();
        let mut models = Models::default();
        let registry = Registry::standard();
        let mut context =
            EncodeContext::new(&planner, registry, &mut models, &[], Profile::Balanced);
        let encoding = registry.get(lines::ID).unwrap();
        let node = encoding.encode(&array, &mut context).unwrap().unwrap();
        let context = DecodeContext::new(registry, &models, &NoParents, 1 << 30);
        let chunk = Chunk::open(&node, true, &context).unwrap();
        let needles = ["WARN", "took 6 ms"].map(|t| Needle::new(t.as_bytes(), false).unwrap());
        let Held::Rows { rows, exact: true } = rows(&chunk, &needles, &context).unwrap() else {
            panic!("not decided");
        };
        assert_eq!(rows.iter().filter(|r| **r).count(), 501);
    }
}
