//! A text that is looked for, and what the values of slots must be like to be a part of it.

use std::ops::Range;

use memchr::memmem::Finder;
use regex::bytes::{Regex, RegexBuilder};

use super::classes::{DIGIT, HARD, LETTER, class};
use super::scan::{NUMBER, QUOTED, TIME};
use super::values::{Out, Print};

/// Digits in a row of which shorter texts occur nearly everywhere.
const FEW_DIGITS: usize = 2;
/// What letters outside ASCII that fold to `s` and `k` are in UTF-8.
const FOLD_TO_ASCII: [&[u8]; 2] = ["\u{17f}".as_bytes(), "\u{212a}".as_bytes()];

/// A text to look for.
#[derive(Debug)]
pub struct Needle {
    /// Its bytes.
    pub text: Vec<u8>,
    /// Finds all of it.
    pub whole: Searcher,
    /// Its longest run of letters, unless those may be hexadecimal digits.
    pub letters: Option<Searcher>,
    /// Whether the case of ASCII letters does not count.
    pub ignore_case: bool,
}

/// Finds a text.
#[derive(Debug)]
pub enum Searcher {
    /// As it is.
    Exact(Box<Finder<'static>>),
    /// In any case of ASCII letters.
    Folded(Regex),
}

impl Searcher {
    /// `None` if the case of letters outside ASCII would count.
    pub fn new(text: &[u8], ignore_case: bool) -> Option<Self> {
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

    /// Where it is first.
    pub fn find(&self, text: &[u8]) -> Option<usize> {
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

    /// Whether it may be rare enough for a search of columns to be worth it.
    pub fn is_worth_it(&self) -> bool {
        let digits = self.text.iter().all(u8::is_ascii_digit);
        self.text.len() > 1 && !(digits && self.text.len() <= FEW_DIGITS)
    }

    /// Whether two texts are the same, whatever the case if that does not count.
    pub fn same(&self, a: &[u8], b: &[u8]) -> bool {
        match self.ignore_case {
            true => a.eq_ignore_ascii_case(b),
            false => a == b,
        }
    }

    /// Whether a text is to a part of it as is asked for.
    pub fn passes(&self, is: Is, part: &[u8], text: &[u8]) -> bool {
        let (n, len) = (part.len(), text.len());
        match is {
            Is::Holding => self.whole.find(text).is_some(),
            Is::Starting => n <= len && self.same(&text[..n], part),
            Is::Ending => n <= len && self.same(&text[len - n..], part),
            Is::Equal => self.same(text, part),
        }
    }

    /// Whether a literal and a slot may meet before byte `at`.
    pub fn may_part(&self, at: usize) -> bool {
        let (before, after) = (class(self.text[at - 1]), class(self.text[at]));
        before != after || !matches!(before, LETTER | DIGIT)
    }

    /// Whether bytes `part` of it may be in a slot of a kind.
    pub fn suits(&self, kind: u8, part: &Range<usize>) -> bool {
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

/// What a slot must be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Is {
    /// Hold the text.
    Holding,
    /// Begin with it.
    Starting,
    /// End with it.
    Ending,
    /// Be it.
    Equal,
}

impl Needle {
    /// Whether a text has letters outside ASCII that are the same as some of ASCII if case does not
    /// count.
    pub fn is_puzzled_by(&self, text: &[u8]) -> bool {
        let odd = |letter: &&[u8]| memchr::memmem::find(text, letter).is_some();
        self.ignore_case && FOLD_TO_ASCII.iter().any(odd)
    }
}

/// A test of printed numbers.
pub struct NumberTest<'s> {
    needle: &'s Needle,
    is: Is,
    part: &'s [u8],
    print: &'s Print,
    /// Values of less than this have too few digits.
    least: u64,
    /// The only value that may pass, up to its sign.
    only: Option<u64>,
    /// No value can pass.
    pub never: bool,
    out: Out,
}

impl<'s> NumberTest<'s> {
    /// For values that are printed so.
    pub fn new(needle: &'s Needle, is: Is, part: &'s [u8], print: &'s Print) -> Self {
        let mut test = Self {
            needle,
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
                let number = std::str::from_utf8(digits)
                    .ok()
                    .and_then(|d| d.parse::<u64>().ok());
                match number {
                    Some(number) => {
                        test.least = number;
                        test.only = (is == Is::Equal).then_some(number);
                    }
                    None => {
                        test.never =
                            digits.len() > super::values::WIDEST || !digits.starts_with(b"0")
                    }
                }
                if let Print::Padded(width) = print {
                    test.never |= *width < digits.len() && digits.starts_with(b"0");
                }
            }
            Print::Decimal | Print::Padded(_) | Print::Widths(_) | Print::Clock => {
                // A sign alone is the start of a negative number.
                test.never = !digits_only && part != b"-";
            }
            Print::Time(fraction, _) => {
                let runs = part.split(|b| !b.is_ascii_digit());
                let longest = runs.map(<[u8]>::len).max().unwrap_or(0);
                test.never = longest > 2.max(*fraction as usize);
            }
        }
        test
    }

    /// Whether a value of a row passes.
    #[inline]
    pub fn passes(&mut self, value: i64, row: usize) -> bool {
        let size = value.unsigned_abs();
        if self.only.is_some_and(|only| size != only) || size < self.least {
            return false;
        }
        self.out.clear();
        self.print.put(value, row, &mut self.out);
        self.needle.passes(self.is, self.part, self.out.as_slice())
    }
}
