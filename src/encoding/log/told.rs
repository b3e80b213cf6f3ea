//! What lines of a log tell by themselves, and what goes on from line to line: the record, its time and
//! its level.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, BinaryBuilder, Int64Builder};

use super::stamp;

/// What is known before a line: of the record that may go on with it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Before {
    /// Whether some line before told a time.
    #[prost(bool, tag = "1")]
    pub timed: bool,
    /// The record's time.
    #[prost(sint64, tag = "2")]
    pub timestamp: i64,
    /// The record's level.
    #[prost(string, optional, tag = "3")]
    pub level: Option<String>,
    /// The record's row.
    #[prost(int64, tag = "4")]
    pub record: i64,
    /// The row of the line.
    #[prost(int64, tag = "5")]
    pub row: i64,
    /// Whether a row's value follows from that row's line alone.
    #[prost(bool, tag = "6")]
    pub by_row: bool,
}

impl Before {
    /// Goes on by one line.
    #[inline]
    pub fn take(&mut self, line: &[u8], with_level: bool) {
        self.go_on(stamp::time(line), || match with_level {
            true => stamp::level(line),
            false => None,
        });
    }

    /// Goes on by a line that tells a time, if it does, and a level.
    #[inline]
    pub fn go_on(&mut self, time: Option<i64>, level: impl FnOnce() -> Level) {
        if time.is_some() || !self.timed {
            self.record = self.row;
            self.timestamp = time.unwrap_or(0);
            self.timed = time.is_some();
            let level = level();
            if self.level.as_deref() != level {
                self.level = level.map(str::to_owned);
            }
        }
        self.row = self.row.wrapping_add(1);
    }
}

/// No line tells a time before 1700.
const NO_TIME: i64 = i64::MIN;
/// The level of a line was not asked for; it tells none.
const NOT_ASKED: u8 = 255;
const NO_LEVEL: u8 = 254;

/// What lines tell by themselves, which three views are made of and checked by.
#[derive(Debug)]
pub struct Told {
    /// The lines; that they are kept makes certain that no others lie in their memory.
    lines: BinaryArray,
    /// The time of each; [`NO_TIME`] if it tells none.
    times: Vec<i64>,
    /// What was found when the level of each was asked for: a place in the names, or one of the
    /// numbers above.
    levels: Vec<u8>,
    names: Vec<&'static str>,
}

impl Told {
    /// Looks at consecutive lines; also gives time, level and record of each, as their views have
    /// them.
    pub fn of(lines: &BinaryArray, before: &mut Before) -> (Self, [ArrayRef; 3]) {
        let mut told = Self {
            lines: lines.clone(),
            times: Vec::with_capacity(lines.len()),
            levels: Vec::with_capacity(lines.len()),
            names: Vec::new(),
        };
        let mut times = Int64Builder::with_capacity(lines.len());
        let mut levels = BinaryBuilder::with_capacity(lines.len(), 4 * lines.len());
        let mut records = Int64Builder::with_capacity(lines.len());
        for i in 0..lines.len() {
            let time = stamp::time(lines.value(i));
            let mut asked = NOT_ASKED;
            before.go_on(time, || {
                let level = stamp::level(lines.value(i));
                asked = told.number_of(level);
                level
            });
            told.times.push(time.unwrap_or(NO_TIME));
            told.levels.push(asked);
            times.append_option(before.timed.then_some(before.timestamp));
            levels.append_option(before.level.as_deref());
            records.append_value(before.record);
        }
        let views: [ArrayRef; 3] = [
            Arc::new(times.finish()),
            Arc::new(levels.finish()),
            Arc::new(records.finish()),
        ];
        (told, views)
    }

    /// The number that stands for a level.
    fn number_of(&mut self, level: Level) -> u8 {
        let Some(name) = level else {
            return NO_LEVEL;
        };
        let known = self.names.iter().position(|n| *n == name);
        let number = known.unwrap_or_else(|| {
            self.names.push(name);
            self.names.len() - 1
        });
        number as u8
    }

    /// The time that line `i` tells.
    fn time(&self, i: usize) -> Option<i64> {
        Some(self.times[i]).filter(|time| *time != NO_TIME)
    }

    /// The level that line `i` tells.
    fn level(&self, i: usize) -> Level {
        match self.levels[i] {
            NOT_ASKED => stamp::level(self.lines.value(i)),
            number => self.names.get(usize::from(number)).copied(),
        }
    }

    /// Which of its lines these are: the same memory, not only the same bytes.
    fn place(&self, lines: &BinaryArray) -> Option<usize> {
        let (all, part) = (self.lines.value_offsets(), lines.value_offsets());
        let (first, start) = (all.as_ptr() as usize, part.as_ptr() as usize);
        let at = start.checked_sub(first)? / size_of::<i32>();
        let inside = at + part.len() <= all.len()
            && (start - first) % size_of::<i32>() == 0
            && self.lines.value_data().as_ptr() == lines.value_data().as_ptr();
        inside.then_some(at)
    }
}

/// A level that may be none.
pub type Level = Option<&'static str>;

/// Lines in order, and what is known of them.
#[derive(Debug)]
pub struct Telling<'t> {
    /// The lines.
    pub lines: &'t BinaryArray,
    told: Option<(&'t Told, usize)>,
}

impl<'t> Telling<'t> {
    /// `told` counts only if it is of these very lines.
    pub fn new(lines: &'t BinaryArray, told: Option<&'t Told>) -> Self {
        let told = told.and_then(|told| Some((told, told.place(lines)?)));
        Self { lines, told }
    }

    /// The time that line `i` tells.
    pub fn time(&self, i: usize) -> Option<i64> {
        match self.told {
            Some((told, first)) => told.time(first + i),
            None => stamp::time(self.lines.value(i)),
        }
    }

    /// Goes on by line `i`.
    pub fn take(&self, i: usize, before: &mut Before, with_level: bool) {
        match self.told {
            Some((told, first)) => before.go_on(told.time(first + i), || match with_level {
                true => told.level(first + i),
                false => None,
            }),
            None => before.take(self.lines.value(i), with_level),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_in_other_lines_is_not_believed() {
        let text = |level: &str| {
            let line = format!("2024-03-02 10:00:00 {level} a");
            BinaryArray::from_iter_values([line.as_bytes(), line.as_bytes()])
        };
        let (own, other) = (text("INFO"), text("WARN"));
        let (told, _) = Told::of(&own, &mut Before::default());
        let level = |lines: &BinaryArray| {
            let mut before = Before::default();
            Telling::new(lines, Some(&told)).take(0, &mut before, true);
            before.level
        };
        assert_eq!(level(&own).as_deref(), Some("INFO"));
        assert_eq!(level(&own.slice(1, 1)).as_deref(), Some("INFO"));
        assert_eq!(level(&other).as_deref(), Some("WARN"));
        assert!(Telling::new(&own.slice(1, 1), Some(&told)).told.is_some());
        assert!(Telling::new(&other, Some(&told)).told.is_none());
    }
}
