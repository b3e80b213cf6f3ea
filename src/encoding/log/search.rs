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

use super::chunk::{Chunk, Passed};
use super::classes::{HARD, class};
use super::needle::{Is, Needle, NumberTest, Searcher};
use super::scan::TIME;
use super::skeletons::Skeleton;
use super::stored::ReadTable;
use super::values::{Entries, Integers, Print, Texts, Values};
use crate::encoding::{DecodeContext, Node};
use crate::error::{Error, Result};

/// Ways in which a text may lie in a skeleton; of more, its rows are only said to be possible.
const MOST_WAYS: usize = 48;
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
                rows.iter_mut()
                    .zip(more)
                    .for_each(|(row, more)| *row |= more);
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

/// A condition on a column: what its values must be like, and the part of the text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Test {
    column: u32,
    is: Is,
    part: Range<usize>,
}

/// A condition on a slot of a skeleton: the number of its test, and how many rows after the unit's
/// first of the column the slot is.
type SlotTest = (u32, u32);

/// Rows of a column that pass a test.
#[derive(Debug)]
enum Hits<'a> {
    None,
    All,
    /// By row.
    Rows(Vec<bool>),
    /// By code of a row.
    Codes(Vec<bool>, &'a [u32]),
}

impl Hits<'_> {
    #[inline]
    fn at(&self, row: usize) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Rows(rows) => rows[row],
            Self::Codes(hits, codes) => hits[codes[row] as usize],
        }
    }

    fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// What is known of the rows of a skeleton.
#[derive(Debug)]
enum Ways {
    None,
    All,
    /// Perhaps: there are too many ways.
    Some,
    /// A slot may hold the text, if so it is said, or all tests of one of these pass.
    Any(bool, Vec<Vec<SlotTest>>),
}

struct Search<'a> {
    table: &'a ReadTable,
    needle: &'a Needle,
    context: &'a DecodeContext<'a>,
    /// Where each byte occurs in the text; nothing if it cannot be cut.
    places: Vec<Vec<usize>>,
    tests: Vec<Test>,
    hits: Vec<Hits<'a>>,
    numbers: HashMap<Test, u32>,
}

impl<'a> Search<'a> {
    fn new(table: &'a ReadTable, needle: &'a Needle, context: &'a DecodeContext<'a>) -> Self {
        let mut places = Vec::new();
        if (1..needle.text.len()).any(|at| needle.may_part(at)) {
            places.resize(256, Vec::new());
            for (at, &byte) in needle.text.iter().enumerate() {
                places[usize::from(byte)].push(at);
                let other = byte ^ b' ';
                if needle.ignore_case && byte.is_ascii_alphabetic() {
                    places[usize::from(other)].push(at);
                }
            }
        }
        Self {
            table,
            needle,
            context,
            places,
            tests: Vec::new(),
            hits: Vec::new(),
            numbers: HashMap::new(),
        }
    }

    /// The rows of a chunk.
    fn rows(self) -> Result<Held> {
        let table = self.table;
        let puzzled = |column: usize| {
            let parts = table.letters(column);
            parts.iter().any(|text| self.needle.is_puzzled_by(text))
        };
        let puzzled = self.needle.ignore_case
            && ((0..table.columns().len()).any(puzzled)
                || self.needle.is_puzzled_by(table.skeletons.text()));
        match puzzled {
            true => Ok(Held::Unknown),
            false => self.search(),
        }
    }

    fn search(mut self) -> Result<Held> {
        let table = self.table;
        let certain = self.in_literals();
        // By column, whether some value holds the text.
        let mut holding = Vec::with_capacity(table.columns().len());
        for column in 0..table.columns().len() {
            holding.push(self.holding(column)?);
        }
        let mut any = false;
        let mut ways = Vec::with_capacity(table.skeletons.len());
        for (i, skeleton) in table.skeletons.iter().enumerate() {
            let way = match certain[i] {
                true => Ways::All,
                false => {
                    let held = |&c: &u32| !holding[c as usize].is_none();
                    let held = skeleton.columns.iter().any(held);
                    match self.spans(&skeleton)? {
                        None => Ways::Some,
                        Some(ways) if ways.iter().any(Vec::is_empty) => Ways::All,
                        Some(ways) if held || !ways.is_empty() => Ways::Any(held, ways),
                        _ => Ways::None,
                    }
                }
            };
            any |= !matches!(way, Ways::None);
            ways.push(way);
        }
        match any || self.may_cross() {
            true => self.by_row(&ways, &holding),
            false => Ok(Held::None),
        }
    }

    /// For each skeleton whether a literal of it holds the text.
    fn in_literals(&self) -> Vec<bool> {
        let skeletons = &self.table.skeletons;
        let mut certain = vec![false; skeletons.len()];
        let (text, len) = (skeletons.text(), self.needle.text.len());
        let mut from = 0;
        while let Some(at) = self.needle.whole.find(&text[from..]) {
            let at = from + at;
            if let Some(skeleton) = skeletons.holder(at, at + len) {
                certain[skeleton] = true;
            }
            from = at + 1;
        }
        certain
    }

    /// Whether the text may begin in one unit of a row and end in the next: rows are cut after hard
    /// delimiters.
    fn may_cross(&self) -> bool {
        let inner = &self.needle.text[..self.needle.text.len() - 1];
        inner.iter().any(|&b| class(b) == HARD) && self.table.skeletons.iter().any(|s| s.goes_on)
    }

    /// The ways in which the text may lie across literals and slots of a skeleton, as far as some
    /// value passes each test; `None` if there are too many.
    fn spans(&mut self, skeleton: &Skeleton<'_>) -> Result<Option<Vec<Vec<SlotTest>>>> {
        let mut walk = Walk {
            search: self,
            skeleton,
            tests: Vec::new(),
            ways: Vec::new(),
        };
        if !walk.search.places.is_empty() {
            for slot in 0..skeleton.columns.len() {
                walk.begin_before(slot)?;
                walk.begin_in(slot)?;
            }
        }
        let ways = walk.ways;
        Ok((ways.len() <= MOST_WAYS).then_some(ways))
    }

    fn by_row(&self, ways: &[Ways], holding: &[Hits<'a>]) -> Result<Held> {
        let table = self.table;
        self.context.reserve_rows(table.ids.len(), 1)?;
        // Next row of each column, of those that are looked at.
        let mut at = vec![0usize; table.columns().len()];
        let mut looked: Vec<bool> = holding.iter().map(|h| !h.is_none()).collect();
        let tests = self.tests.iter().zip(&self.hits);
        tests.for_each(|(test, hits)| looked[test.column as usize] |= !hits.is_none());
        let concerned: Vec<bool> = table
            .skeletons
            .iter()
            .map(|s| s.columns.iter().any(|&c| looked[c as usize]))
            .collect();
        let crossing = self.may_cross();
        let mut passed = Passed::new(table.skeletons.len());
        let mut rows = Vec::with_capacity(table.ids.len());
        let (mut exact, mut any, mut held, mut units) = (true, false, false, 0);
        for &id in &table.ids {
            let i = id as usize;
            match &ways[i] {
                Ways::Any(slots, ways) => {
                    passed.settle(&table.skeletons, &mut at);
                    let columns = table.skeletons.get(i).columns;
                    held |= ways.iter().any(|way| {
                        way.iter().all(|&(test, after)| {
                            let column = self.tests[test as usize].column;
                            self.hits[test as usize].at(at[column as usize] + after as usize)
                        })
                    });
                    for &column in columns {
                        let column = column as usize;
                        held |= *slots && holding[column].at(at[column]);
                        at[column] += 1;
                    }
                }
                way => {
                    held |= !matches!(way, Ways::None);
                    exact &= !matches!(way, Ways::Some);
                    if concerned[i] {
                        passed.add(id);
                    }
                }
            }
            units += 1;
            if !table.skeletons.goes_on(i) {
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

    /// The values of a column that hold the text as a whole.
    fn holding(&self, column: usize) -> Result<Hits<'a>> {
        let of = &self.table.columns()[column];
        let all = 0..self.needle.text.len();
        if of.rows == 0 || !self.needle.suits(of.kind, &all) {
            return Ok(Hits::None);
        }
        if of.kind < TIME
            && let Some(letters) = &self.needle.letters
        {
            let parts = self.table.letters(column);
            if !parts.iter().any(|text| letters.find(text).is_some()) {
                return Ok(Hits::None);
            }
        }
        self.hits_of(column, Is::Holding, &self.needle.text)
    }

    /// The number of a test, which is made now if it was not; `None` if no value passes.
    fn test(&mut self, test: Test) -> Result<Option<u32>> {
        let number = match self.numbers.get(&test) {
            Some(&number) => number,
            None => {
                let part = &self.needle.text[test.part.clone()];
                let hits = self.hits_of(test.column as usize, test.is, part)?;
                self.hits.push(hits);
                self.tests.push(test.clone());
                let number = self.tests.len() as u32 - 1;
                self.numbers.insert(test, number);
                number
            }
        };
        Ok((!self.hits[number as usize].is_none()).then_some(number))
    }

    fn hits_of(&self, column: usize, is: Is, part: &[u8]) -> Result<Hits<'a>> {
        let (hits, codes) = match self.table.values(column, self.context)? {
            Values::None => return Ok(Hits::None),
            Values::Texts(entries, codes) => (self.entries(entries, is, part)?, codes.as_ref()),
            Values::Integers(integers, print) => {
                let mut number = NumberTest::new(self.needle, is, part, print);
                if number.never {
                    return Ok(Hits::None);
                }
                let each = |values: &[i64], number: &mut NumberTest<'_>| {
                    self.context.reserve_rows(values.len(), 1)?;
                    let hits = values.iter().map(|&v| number.passes(v, 0));
                    Ok::<_, Error>(hits.collect::<Vec<bool>>())
                };
                match (integers, print) {
                    // The width of each row may add zeros.
                    (_, Print::Widths(widths)) => {
                        self.context.reserve_rows(widths.len(), 1)?;
                        let rows = 0..widths.len();
                        let hits = rows.map(|row| number.passes(integers.get(row), row));
                        (hits.collect(), None)
                    }
                    (Integers::Constant(value), _) => match number.passes(*value, 0) {
                        true => return Ok(Hits::All),
                        false => return Ok(Hits::None),
                    },
                    (Integers::Coded(values, codes), _) => {
                        (each(values, &mut number)?, Some(codes))
                    }
                    (Integers::Each(values), _) => (each(values, &mut number)?, None),
                }
            }
        };
        Ok(match (hits.contains(&true), codes) {
            (false, _) => Hits::None,
            (true, Some(codes)) => Hits::Codes(hits, codes),
            (true, None) => Hits::Rows(hits),
        })
    }

    /// Which of some texts pass.
    fn entries(&self, entries: &'a Entries, is: Is, part: &[u8]) -> Result<Vec<bool>> {
        let (needle, context) = (self.needle, self.context);
        if let (Is::Holding, Some(table)) = (is, entries.table()) {
            match Search::new(table, needle, context).search()? {
                Held::None => return Ok(Vec::new()),
                Held::Rows { rows, exact: true } => return Ok(rows),
                _ => {}
            }
        }
        let texts = entries.texts(context)?;
        context.reserve_rows(texts.len(), 1)?;
        Ok(match is {
            Is::Holding => holding(texts, &needle.whole, part.len()),
            is => (0..texts.len())
                .map(|i| needle.passes(is, part, texts.get(i)))
                .collect(),
        })
    }
}

/// Goes through the ways in which the text may lie in a skeleton.
struct Walk<'w, 'a> {
    search: &'w mut Search<'a>,
    skeleton: &'w Skeleton<'w>,
    /// Tests of the slots before.
    tests: Vec<SlotTest>,
    ways: Vec<Vec<SlotTest>>,
}

impl Walk<'_, '_> {
    /// The text begins at the end of the literal before a slot, and goes on in the slot.
    fn begin_before(&mut self, slot: usize) -> Result<()> {
        let needle = self.search.needle;
        let before = self.skeleton.literal(slot);
        let Some(&last) = before.last() else {
            return Ok(());
        };
        let places = self.search.places[usize::from(last)].len();
        for place in 0..places {
            let len = self.search.places[usize::from(last)][place] + 1;
            if len < needle.text.len()
                && len <= before.len()
                && needle.may_part(len)
                && needle.same(&before[before.len() - len..], &needle.text[..len])
            {
                self.slot(slot, len)?;
            }
        }
        Ok(())
    }

    /// The text begins in a slot, and goes on after it.
    fn begin_in(&mut self, slot: usize) -> Result<()> {
        match self.skeleton.literal(slot + 1).first() {
            Some(&first) => {
                let places = self.search.places[usize::from(first)].len();
                for place in 0..places {
                    let len = self.search.places[usize::from(first)][place];
                    self.leave(slot, Is::Ending, 0, len)?;
                }
            }
            None if slot + 1 < self.skeleton.columns.len() => {
                for len in 1..self.search.needle.text.len() {
                    self.leave(slot, Is::Ending, 0, len)?;
                }
            }
            None => {}
        }
        Ok(())
    }

    /// Bytes `at..end` are the slot, or its end; the text goes on in the literal after it.
    fn leave(&mut self, slot: usize, is: Is, at: usize, end: usize) -> Result<()> {
        let needle = self.search.needle;
        let part = at..end;
        if end <= at || !needle.may_part(end) || !needle.suits(self.skeleton.kinds[slot], &part) {
            return Ok(());
        }
        let (here, rest) = (self.skeleton.literal(slot + 1), &needle.text[end..]);
        let common = here.len().min(rest.len());
        let ends = rest.len() <= here.len();
        let goes_on = slot + 1 < self.skeleton.columns.len()
            && (here.is_empty() || ends || needle.may_part(end + here.len()));
        if !needle.same(&here[..common], &rest[..common]) || !(ends || goes_on) {
            return Ok(());
        }
        if !self.push(slot, is, part)? {
            return Ok(());
        }
        match ends {
            true => self.ways.push(self.passing()),
            false => self.slot(slot + 1, end + here.len())?,
        }
        self.tests.pop();
        Ok(())
    }

    /// The text goes on in a slot with byte `at`.
    fn slot(&mut self, slot: usize, at: usize) -> Result<()> {
        let n = self.search.needle.text.len();
        if self.ways.len() > MOST_WAYS {
            return Ok(());
        }
        let suits = self
            .search
            .needle
            .suits(self.skeleton.kinds[slot], &(at..n));
        if suits && self.push(slot, Is::Starting, at..n)? {
            self.ways.push(self.passing());
            self.tests.pop();
        }
        (at + 1..n).try_for_each(|end| self.leave(slot, Is::Equal, at, end))
    }

    /// Adds a test, unless no value passes it.
    fn push(&mut self, slot: usize, is: Is, part: Range<usize>) -> Result<bool> {
        let column = self.skeleton.columns[slot];
        let earlier = self.skeleton.columns[..slot].iter();
        let earlier = earlier.filter(|c| **c == column).count() as u32;
        let number = self.search.test(Test { column, is, part })?;
        self.tests.extend(number.map(|number| (number, earlier)));
        Ok(number.is_some())
    }

    /// The tests that not all rows pass.
    fn passing(&self) -> Vec<SlotTest> {
        let some = |t: &&SlotTest| !matches!(self.search.hits[t.0 as usize], Hits::All);
        self.tests.iter().filter(some).copied().collect()
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
                    0 => format!(
                        "2024-03-01 10:{:02}:{:02},{:03} INFO took {i} ms",
                        i / 60 % 60,
                        i % 60,
                        i % 1000
                    ),
                    1 => format!(
                        "WARN disk d{} at /var/log/x{}.log is {}% full",
                        i % 9,
                        i % 40,
                        i % 100
                    ),
                    2 => format!(
                        "block blk_{} from 10.0.{}.{}:50010",
                        id as i64,
                        i % 4,
                        i % 200
                    ),
                    3 => format!("id={id:016x} user=\"u{} of {}\" ok", i % 77, i % 5),
                    4 => format!("{{\"n\":{i},\"pad\":\"{:05}\",\"s\":\"\u{17f}\"}}", i % 300),
                    _ => format!(
                        "retry {} of 00{} {:06}",
                        i % 3,
                        i % 7,
                        i % 24 * 10_000 + i % 60 * 101 % 6000
                    ),
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
                "INFO",
                "info",
                "took 6 ms",
                "took 6",
                "k 6 m",
                "absent",
                "blk_-",
                "-",
                "d3 at",
                "x17.log is",
                "10:07:",
                ":17,017 INFO",
                "7,1",
                "10.0.3.",
                "0.3.111:5",
                "10.0.3.111",
                "id=",
                "user=\"u",
                "u7 of 2",
                "of 2\" ok",
                "\":12",
                "00012",
                "0001",
                "retry 2 of 003",
                "of 00",
                "is 99% full",
                "9% f",
                "blk_5",
                "{\"n\":4,\"pad\"",
                "},{",
                "2},{\"k\":1",
                "10.0.3.999",
                "299",
                "1234",
                "9e37",
                "zz",
                "full\n",
                "s",
                "S\":",
                "2024-03-01 10:4",
            ] {
                for ignore_case in [false, true] {
                    let Some(needle) = Needle::new(text.as_bytes(), ignore_case) else {
                        assert!(text.contains('\n'));
                        continue;
                    };
                    let pattern = regex::bytes::RegexBuilder::new(&regex::escape(text))
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
                            assert!(ignore_case || text.len() == 1, "{case}");
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
        let mut log = log();
        // A row of several units may hold a text across them: of that nothing is certain.
        log.pop();
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
