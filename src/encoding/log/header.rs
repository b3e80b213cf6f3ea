//! What stands before the message of a line: times, levels, numbers, the name of a component.
//!
//! A *header* is a run of words of certain sorts that nearly all lines of a sample begin with, up to
//! the last time, level, bracket or component among the first few words. A line that does not begin
//! so is all message.

use super::classes::class;
use super::stamp;

/// Words at the beginning of a line that may be its header.
const MOST: usize = 12;
/// Share of the lines whose words must be of one sort.
const SHARE: f64 = 0.9;

/// A sort of words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sort {
    /// Anything.
    Word = 1,
    /// Digits.
    Number = 2,
    /// Digits and what parts them in dates and times.
    Time = 3,
    /// The name of a level.
    Level = 4,
    /// In brackets.
    Bracket = 5,
    /// Ends with a colon.
    Component = 6,
}

impl Sort {
    const ALL: [Self; 6] = [
        Self::Word,
        Self::Number,
        Self::Time,
        Self::Level,
        Self::Bracket,
        Self::Component,
    ];

    /// The sort of a number in a model.
    pub fn of_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|s| *s as u32 == number)
    }

    fn of(word: &[u8]) -> Self {
        let digits = word.iter().filter(|b| b.is_ascii_digit()).count();
        let bare = word.strip_suffix(b":").unwrap_or(word);
        let inner = bare.strip_prefix(b"[").unwrap_or(bare);
        let inner = inner.strip_suffix(b"]").unwrap_or(inner);
        if digits == word.len() {
            Self::Number
        } else if inner.iter().all(|&b| class(b) == super::classes::LETTER)
            && stamp::is_level(inner)
        {
            Self::Level
        } else if digits > 0
            && word
                .iter()
                .all(|b| b.is_ascii_digit() || b"-/:.,TZ+[]".contains(b))
        {
            Self::Time
        } else if word.starts_with(b"[") && word.ends_with(b"]") {
            Self::Bracket
        } else if word.len() > 1 && word.ends_with(b":") {
            Self::Component
        } else {
            Self::Word
        }
    }
}

/// The words of a line and where each ends.
fn words(line: &[u8]) -> impl Iterator<Item = (&[u8], usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + line[at..].iter().position(|b| *b != b' ')?;
        let len = line[start..].iter().position(|b| *b == b' ');
        at = len.map_or(line.len(), |len| start + len);
        Some((&line[start..at], at))
    })
}

/// The header of some lines; nothing if they have none in common.
pub fn learn<'l>(lines: impl Iterator<Item = &'l [u8]>) -> Vec<Sort> {
    let mut counts = [[0usize; Sort::ALL.len()]; MOST];
    let mut all = 0;
    for line in lines.filter(|line| stamp::time(line).is_some()) {
        all += 1;
        for ((word, _), counts) in words(line).zip(&mut counts) {
            counts[Sort::of(word) as usize - 1] += 1;
        }
    }
    let mut header = Vec::new();
    for counts in counts {
        let count = |sort: Sort| counts[sort as usize - 1];
        let most = Sort::ALL.into_iter().max_by_key(|&sort| count(sort));
        match most.filter(|&sort| count(sort) as f64 > SHARE * all as f64) {
            Some(sort) => header.push(sort),
            None => break,
        }
    }
    let ends = |sort: &Sort| !matches!(sort, Sort::Word | Sort::Number);
    let len = header.iter().rposition(ends).map_or(0, |last| last + 1);
    header.truncate(len);
    header
}

/// The message of a line, and whether the line begins with the header.
pub fn message<'l>(line: &'l [u8], header: &[Sort]) -> (&'l [u8], bool) {
    let mut words = words(line);
    let mut end = 0;
    for &sort in header {
        match words.next() {
            Some((word, after)) if sort == Sort::Word || Sort::of(word) == sort => end = after,
            _ => return (line, false),
        }
    }
    let blanks = line[end..].iter().take_while(|b| **b == b' ').count();
    (&line[end + blanks..], true)
}

/// Word `i` of a line's header, without brackets and colon; `None` if the line has another header.
pub fn field<'l>(line: &'l [u8], header: &[Sort], i: usize) -> Option<&'l [u8]> {
    if !message(line, header).1 {
        return None;
    }
    let (word, _) = words(line).nth(i)?;
    let word = word.strip_suffix(b":").unwrap_or(word);
    let inner = word.strip_prefix(b"[").and_then(|w| w.strip_suffix(b"]"));
    Some(inner.unwrap_or(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(lines: &[&str]) -> Vec<Sort> {
        learn(lines.iter().map(|l| l.as_bytes()))
    }

    #[test]
    fn headers_end_with_a_time_a_level_or_a_component() {
        let lines = [
            "2015-10-18 18:01:47,978 INFO [main] org.a.B: made 7 of c",
            "2015-10-18 18:01:48,963 WARN [x-1] org.c.D: late",
        ];
        let found = header(&lines);
        use Sort::*;
        assert_eq!(found, [Time, Time, Level, Bracket, Component]);
        assert_eq!(message(lines[0].as_bytes(), &found).0, b"made 7 of c");
        assert_eq!(field(lines[1].as_bytes(), &found, 3), Some(&b"x-1"[..]));
        assert_eq!(field(lines[1].as_bytes(), &found, 4), Some(&b"org.c.D"[..]));
        let trace = b"    at x.Y.z(Y.java:3)";
        assert_eq!(message(trace, &found), (&trace[..], false));
        assert_eq!(field(trace, &found, 0), None);
        let syslog = [
            "Jun 14 15:16:01 combo sshd(pam)[19939]: failed",
            "Jun 15 04:06:18 combo su: x",
        ];
        assert_eq!(header(&syslog), [Word, Number, Time, Word, Component]);
        assert_eq!(header(&["{\"ts\":1445191307}"]), []);
        assert_eq!(header(&[]), []);
    }
}
