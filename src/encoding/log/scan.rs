//! Splitting a unit of text into literals and typed slots.
//!
//! Times of day are taken at sight, IPv4 addresses, UUIDs and quoted strings whole. A word without a
//! digit is literal if it is frequent in a sample; one of digits is a number; a word that mixes both
//! keeps its *shape* (letters and soft bytes literal, numbers cut out) if the shape is frequent, and
//! is one slot of text if not. So nothing has to be known of the format of a log, and no word is
//! looked up twice.
//!
//! The *skeleton* of a unit is its literals and the kinds of its slots. A rolling hash identifies it
//! while the text is scanned; whoever relies on it compares what is rebuilt with the text.

use super::classes::{DIGIT, HARD, LETTER, SOFT, address, class, hash, is_uuid, mix, time};

/// Decimal digits, perhaps with a minus in front.
pub const NUMBER: u8 = 1;
/// Any text.
pub const TEXT: u8 = 2;
/// What stands between quotes.
pub const QUOTED: u8 = 3;
/// Time of day; twice the digits of the fraction are added, and one if a comma parts it.
pub const TIME: u8 = 32;
/// The last kind there is.
pub const LAST_KIND: u8 = TIME + 2 * super::classes::MAX_FRACTION as u8 + 1;

/// Whether a stored kind is one.
pub fn is_kind(kind: u8) -> bool {
    matches!(kind, NUMBER | TEXT | QUOTED | TIME..=LAST_KIND)
}

/// A piece of a unit that is stored in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// First byte.
    pub start: u32,
    /// One past the last.
    pub end: u32,
    /// What it holds.
    pub kind: u8,
}

/// Most units in one run of the sample.
const RUN: usize = 64;
/// Of larger texts about half as much is counted, smaller ones are counted whole. A chunk is some
/// megabytes, and counting takes as long as scanning: twice as much takes a tenth of a percent off
/// the files of real logs.
const SAMPLE: usize = 1 << 20;
/// Fewest and most occurrences that make a word literal, and sampled units for each of them: one
/// in 1,500; the exact value hardly matters.
const LEAST: usize = 3;
const MOST: usize = 40;
const UNITS_EACH: usize = 1500;

/// Occurrences by hash.
#[derive(Debug)]
struct Counts {
    slots: Vec<(u64, u32)>,
    used: usize,
}

impl Counts {
    /// For the words of so many bytes: most tables within tables are small, and so are their counts.
    fn new(bytes: usize) -> Self {
        let slots = (bytes / 16).next_power_of_two();
        Self {
            slots: vec![(0, 0); slots.clamp(1 << 6, 1 << 12)],
            used: 0,
        }
    }

    fn place(slots: &[(u64, u32)], key: u64) -> usize {
        let mask = slots.len() - 1;
        let mut at = (key >> 20) as usize & mask;
        while slots[at].0 != 0 && slots[at].0 != key {
            at = (at + 1) & mask;
        }
        at
    }

    fn add(&mut self, key: u64) {
        let key = key.max(1);
        let at = Self::place(&self.slots, key);
        if self.slots[at].0 != 0 {
            self.slots[at].1 = self.slots[at].1.saturating_add(1);
            return;
        }
        self.slots[at] = (key, 1);
        self.used += 1;
        if self.used * 2 > self.slots.len() {
            let mut larger = vec![(0, 0); self.slots.len() * 4];
            for &entry in self.slots.iter().filter(|e| e.0 != 0) {
                let at = Self::place(&larger, entry.0);
                larger[at] = entry;
            }
            self.slots = larger;
        }
    }

    fn get(&self, key: u64) -> u32 {
        self.slots[Self::place(&self.slots, key.max(1))].1
    }
}

/// Scans units of one text.
#[derive(Debug)]
pub struct Scanner<'a> {
    text: &'a [u8],
    counts: Counts,
    threshold: u32,
    quotes: bool,
    /// Slots of the unit that was scanned last, in text order.
    pub slots: Vec<Slot>,
    hash: u64,
}

impl<'a> Scanner<'a> {
    /// Counts the words of a sample of the units, given as `(start, end)`. Without `quotes`, quotes
    /// are delimiters like others.
    pub fn new(text: &'a [u8], units: &[(u32, u32)], quotes: bool) -> Self {
        let bytes: usize = units.iter().map(|(s, e)| (e - s) as usize).sum();
        let mut scanner = Self {
            text,
            counts: Counts::new(bytes),
            threshold: LEAST as u32,
            quotes,
            slots: Vec::new(),
            hash: 0,
        };
        let step = match bytes > SAMPLE {
            true => bytes / (SAMPLE / 2),
            false => 1,
        };
        let mut sampled = 0;
        for run in units.chunks(RUN).step_by(step) {
            for &(start, end) in run {
                scanner.run::<true>(start as usize, end as usize);
            }
            sampled += run.len();
        }
        scanner.threshold = (sampled / UNITS_EACH).clamp(LEAST, MOST) as u32;
        scanner
    }

    /// Finds the slots of a unit; gives the hash of its skeleton.
    pub fn scan(&mut self, start: u32, end: u32) -> u64 {
        self.run::<false>(start as usize, end as usize);
        self.hash
    }

    fn literal(&mut self, value: u64) {
        self.hash = mix(self.hash, value);
    }

    fn slot(&mut self, start: usize, end: usize, kind: u8) {
        self.slots.push(Slot {
            start: start as u32,
            end: end as u32,
            kind,
        });
        self.hash = mix(self.hash, 0x5555 + u64::from(kind));
    }

    fn run<const COUNT: bool>(&mut self, start: usize, end: usize) {
        self.slots.clear();
        self.hash = 1;
        let text = self.text;
        let mut at = start;
        while at < end {
            let byte = text[at];
            let kind = class(byte);
            if kind == HARD {
                if byte == b'"' && self.quotes {
                    at = self.quote::<COUNT>(at, end);
                } else {
                    self.literal(u64::from(byte));
                    at += 1;
                }
                continue;
            }
            if kind == DIGIT
                && text.get(at + 2) == Some(&b':')
                && let Some((len, digits, comma)) = time(&text[at..end])
            {
                self.slot(at, at + len, time_kind(digits, comma));
                at += len;
                continue;
            }
            let mut classes = 1u8 << kind;
            let mut len = 1;
            for &byte in &text[at + 1..end] {
                let kind = class(byte);
                if kind == HARD {
                    break;
                }
                classes |= 1 << kind;
                len += 1;
            }
            let stop = at + len;
            let has_digit = classes & 1 << DIGIT != 0;
            // A time at the end of a word, as in 2015-10-18T18:01:47.
            if has_digit
                && stop < end
                && text[stop] == b':'
                && stop >= at + 3
                && text[stop - 1].is_ascii_digit()
                && text[stop - 2].is_ascii_digit()
                && !text[stop - 3].is_ascii_digit()
                && let Some((len, digits, comma)) = time(&text[stop - 2..end])
            {
                let middle = stop - 2;
                let has_digit = text[at..middle].iter().any(u8::is_ascii_digit);
                self.word::<COUNT>(at, middle, has_digit);
                self.slot(middle, middle + len, time_kind(digits, comma));
                at = middle + len;
                continue;
            }
            self.word::<COUNT>(at, stop, has_digit);
            at = stop;
        }
    }

    /// A quoted string, or a quote that stands alone: where to go on.
    fn quote<const COUNT: bool>(&mut self, at: usize, end: usize) -> usize {
        let text = self.text;
        let inside = at + 1;
        let Some(close) = closing(&text[inside..end]).map(|i| inside + i) else {
            self.literal(u64::from(b'"'));
            return inside;
        };
        if close == inside {
            self.literal(0x2222);
            return close + 1;
        }
        if close + 1 < end && text[close + 1] == b':' {
            let key = &text[inside..close];
            let name = hash(key);
            // The key of an object: text of the format, unless it is made of numbers.
            if self.is_key::<COUNT>(key, name) {
                self.literal(mix(name, 0x3a22));
                return close + 2;
            }
        }
        self.literal(u64::from(b'"'));
        self.slot(inside, close, QUOTED);
        self.literal(u64::from(b'"'));
        close + 1
    }

    fn is_key<const COUNT: bool>(&mut self, key: &[u8], name: u64) -> bool {
        if !key.iter().any(u8::is_ascii_digit) {
            return true;
        }
        let counted = mix(name, 5);
        if COUNT {
            self.counts.add(counted);
            return true;
        }
        self.counts.get(counted) >= self.threshold
    }

    fn word<const COUNT: bool>(&mut self, start: usize, end: usize, has_digit: bool) {
        let text = self.text;
        if !has_digit {
            let word = hash(&text[start..end]);
            if COUNT {
                self.counts.add(word);
            } else if self.counts.get(word) >= self.threshold {
                self.literal(word);
            } else {
                self.slot(start, end, TEXT);
            }
            return;
        }
        if is_uuid(&text[start..end]) {
            self.slot(start, end, TEXT);
            return;
        }
        let before = self.slots.len();
        let mut shape = 99;
        let mut at = start;
        while at < end {
            at = self.piece(start, at, end, &mut shape);
        }
        let single = self.slots.len() == before + 1 && {
            let slot = self.slots[before];
            (slot.start, slot.end) == (start as u32, end as u32)
        };
        if single {
            self.hash = mix(self.hash, 0x5555 + u64::from(self.slots[before].kind));
        } else if COUNT {
            self.counts.add(shape);
        } else if self.counts.get(shape) >= self.threshold {
            self.literal(shape);
        } else {
            self.slots.truncate(before);
            self.slot(start, end, TEXT);
        }
    }

    /// One piece of a word with digits, from `at` on: where the next begins.
    fn piece(&mut self, start: usize, at: usize, end: usize, shape: &mut u64) -> usize {
        let text = self.text;
        let after_soft = at == start || class(text[at - 1]) == SOFT;
        let mut push = |slots: &mut Vec<Slot>, start: usize, end: usize, kind: u8, mark: u64| {
            slots.push(Slot {
                start: start as u32,
                end: end as u32,
                kind,
            });
            *shape = mix(*shape, mark);
            end
        };
        let first = class(text[at]);
        if first == SOFT {
            let signed = text[at] == b'-'
                && after_soft
                && (at == start || text[at - 1] != b'-')
                && at + 1 < end
                && text[at + 1].is_ascii_digit();
            if signed {
                let digits = text[at + 1..end].iter();
                let stop = at + 1 + digits.take_while(|b| b.is_ascii_digit()).count();
                if stop >= end || class(text[stop]) != LETTER {
                    return push(&mut self.slots, at, stop, NUMBER, 0x501);
                }
            }
            *shape = mix(*shape, 0x300 + u64::from(text[at]));
            return at + 1;
        }
        let mut stop = at + 1;
        if first == DIGIT {
            while stop < end && text[stop].is_ascii_digit() {
                stop += 1;
            }
            let is_number = stop == end || class(text[stop]) == SOFT;
            if is_number {
                // The first part of an address is short, and a point follows.
                if after_soft
                    && stop - at <= 3
                    && stop < end
                    && text[stop] == b'.'
                    && let Some(len) = address(&text[at..end])
                {
                    return push(&mut self.slots, at, at + len, TEXT, 0x50a);
                }
                return push(&mut self.slots, at, stop, NUMBER, 0x501);
            }
        }
        let (mut changes, mut change) = (0, at);
        let mut last = first;
        let mut digits = first == DIGIT;
        while stop < end {
            let kind = class(text[stop]);
            if kind == SOFT {
                break;
            }
            digits |= kind == DIGIT;
            if kind != last {
                changes += 1;
                change = stop;
            }
            last = kind;
            stop += 1;
        }
        match (digits, changes) {
            (false, _) => *shape = mix(*shape, hash(&text[at..stop])),
            (true, 1) if first == LETTER => {
                *shape = mix(*shape, hash(&text[at..change]));
                self.slots.push(Slot {
                    start: change as u32,
                    end: stop as u32,
                    kind: NUMBER,
                });
                *shape = mix(*shape, 0x501);
            }
            (true, 1) => {
                push(&mut self.slots, at, change, NUMBER, 0x501);
                *shape = mix(*shape, hash(&text[change..stop]));
            }
            (true, _) => {
                push(&mut self.slots, at, stop, TEXT, 0x502);
            }
        }
        stop
    }
}

fn time_kind(digits: usize, comma: bool) -> u8 {
    TIME + 2 * digits as u8 + u8::from(comma)
}

/// Where an opened string closes: the first quote after an even number of backslashes.
fn closing(text: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr::memchr(b'"', &text[from..])?;
        let slashes = text[..at].iter().rev().take_while(|&&b| b == b'\\').count();
        if slashes % 2 == 0 {
            return Some(at);
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(lines: &[&str]) -> Vec<Vec<(String, u8)>> {
        let text = lines.concat();
        let mut units = Vec::new();
        let mut at = 0;
        for line in lines {
            units.push((at, at + line.len() as u32));
            at += line.len() as u32;
        }
        let mut scanner = Scanner::new(text.as_bytes(), &units, true);
        let mut all = Vec::new();
        for &(start, end) in &units {
            scanner.scan(start, end);
            let of = |s: &Slot| (text[s.start as usize..s.end as usize].to_owned(), s.kind);
            all.push(scanner.slots.iter().map(of).collect());
        }
        all
    }

    #[test]
    fn frequent_words_are_literal_and_numbers_are_slots() {
        let lines = ["sent 12 to a.b port 9\n"; 5];
        let found = slots(&lines);
        assert_eq!(found[0], [("12".into(), NUMBER), ("9".into(), NUMBER)]);
    }

    #[test]
    fn rare_words_are_slots() {
        let found = slots(&["common one\n", "common two\n", "common three\n"]);
        assert_eq!(found[1], [("two".into(), TEXT)]);
    }

    #[test]
    fn times_addresses_and_quoted_strings_are_whole() {
        let line = "\"k\":\"a \\\" b\" 10.0.0.7 at 2020-01-02T03:04:05.678 x-5\n";
        let found = slots(&[line; 4]);
        let kinds: Vec<_> = found[3].clone();
        assert_eq!(kinds[0], ("a \\\" b".into(), QUOTED));
        assert_eq!(kinds[1], ("10.0.0.7".into(), TEXT));
        assert!(kinds.contains(&("03:04:05.678".into(), TIME + 6)));
    }

    #[test]
    fn empty_strings_do_not_turn_quotes_inside_out() {
        let found = slots(&["{\"a\":\"\",\"b\":\"x y\"}\n"; 4]);
        assert_eq!(found[0], [("x y".into(), QUOTED)]);
    }
}
