//! The time and the level that a log line tells at its beginning.
//!
//! A handful of forms cover nearly all logs: ISO 8601 and its relatives (`2015-10-18 18:01:47,978`,
//! `2015/10/18 18:01:47`, `2005-06-03-15.42.50.363779`, `20171223-22:15:29:606`), access logs
//! (`22/Jan/2019:03:56:14 +0330`), syslog (`Jun 14 15:16:01`, which tells no year and gets 1970), klog
//! (`I0314 15:16:01.123456`, likewise), `081109 203518`, and seconds, milliseconds or microseconds
//! since 1970. What follows a zone (`Z`, `+0330`, `-07:00`) is taken to UTC; a time without one stays
//! as it is written.

use super::classes::{DIGIT, LETTER, class};

/// Bytes of a line in which its time must begin.
const HEAD: usize = 72;
/// The same for lines that are JSON objects, where keys may come first.
const JSON_HEAD: usize = 320;
/// Bytes of a line in which its level must stand.
const LEVEL_HEAD: usize = 160;
const NANOS: i64 = 1_000_000_000;

/// Nanoseconds since 1970 that a line tells, if it does.
pub fn time(line: &[u8]) -> Option<i64> {
    let head = match line.first() {
        Some(b'{') => JSON_HEAD,
        _ => HEAD,
    };
    let head = head.min(line.len());
    let mut at = 0;
    while at < head {
        match class(line[at]) {
            DIGIT => {
                if let Some(time) = digits(&line[at..]) {
                    return Some(time);
                }
            }
            LETTER => {
                if let Some(time) = named(&line[at..]) {
                    return Some(time);
                }
            }
            _ => {
                at += 1;
                continue;
            }
        }
        // Nothing begins inside of a word.
        while at < head && matches!(class(line[at]), DIGIT | LETTER) {
            at += 1;
        }
    }
    None
}

/// Reads the parts of a time one after the other.
#[derive(Clone, Copy)]
struct Parts<'a> {
    rest: &'a [u8],
}

impl Parts<'_> {
    /// A number of exactly so many digits.
    fn number(&mut self, count: usize) -> Option<i64> {
        let digits = self.rest.get(..count)?;
        let mut value = 0;
        for digit in digits {
            value = value * 10 + i64::from(digit.checked_sub(b'0').filter(|d| *d < 10)?);
        }
        self.rest = &self.rest[count..];
        Some(value)
    }

    /// One of these bytes.
    fn any(&mut self, of: &[u8]) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        of.contains(&first).then(|| {
            self.rest = rest;
            first
        })
    }

    fn month(&mut self) -> Option<i64> {
        const NAMES: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
        let name = self.rest.get(..3)?;
        if !matches!(
            name[0],
            b'J' | b'F' | b'M' | b'A' | b'S' | b'O' | b'N' | b'D'
        ) {
            return None;
        }
        let month = NAMES.chunks_exact(3).position(|n| n == name)?;
        self.rest = &self.rest[3..];
        Some(month as i64 + 1)
    }

    /// `hh:mm:ss` and a fraction, in nanoseconds.
    fn clock(&mut self, colon: &[u8], point: &[u8]) -> Option<i64> {
        let hours = self.number(2).filter(|h| *h < 24)?;
        self.any(colon)?;
        let minutes = self.number(2).filter(|m| *m < 60)?;
        self.any(colon)?;
        let seconds = self.number(2).filter(|s| *s <= 60)?;
        Some((hours * 3600 + minutes * 60 + seconds) * NANOS + self.fraction(point))
    }

    /// Up to nine digits after a point; none if there is no point.
    fn fraction(&mut self, point: &[u8]) -> i64 {
        let mut inside = *self;
        if inside.any(point).is_none() {
            return 0;
        }
        let count = inside.rest.iter().take(10);
        let count = count.take_while(|b| b.is_ascii_digit()).count();
        match inside.number(count) {
            Some(value) if (1..=9).contains(&count) => {
                *self = inside;
                value * 10i64.pow(9 - count as u32)
            }
            _ => 0,
        }
    }

    /// Nanoseconds that a zone is ahead of UTC; zero if none follows.
    fn zone(&self) -> i64 {
        let mut inside = *self;
        let _ = inside.any(b" ");
        let Some(sign) = inside.any(b"+-") else {
            return 0;
        };
        let Some(hours) = inside.number(2).filter(|h| *h < 15) else {
            return 0;
        };
        let _ = inside.any(b":");
        let Some(minutes) = inside.number(2).filter(|m| *m < 60) else {
            return 0;
        };
        if inside.rest.first().is_some_and(u8::is_ascii_digit) {
            return 0;
        }
        let ahead = (hours * 3600 + minutes * 60) * NANOS;
        if sign == b'-' { -ahead } else { ahead }
    }
}

/// A time that begins with a digit.
fn digits(text: &[u8]) -> Option<i64> {
    let count = text.iter().take(17);
    let count = count.take_while(|b| b.is_ascii_digit()).count();
    let mut parts = Parts { rest: text };
    match count {
        4 => {
            let year = parts.number(4)?;
            let mark = parts.any(b"-/.")?;
            let month = parts.number(2)?;
            parts.any(&[mark])?;
            let date = date(year, month, parts.number(2)?)?;
            let clock = match parts.any(b" T-_")? {
                b'-' => parts.clock(b".", b".")?,
                _ => parts.clock(b":", b".,")?,
            };
            Some(date + clock - parts.zone())
        }
        2 => {
            let day = parts.number(2)?;
            parts.any(b"/-")?;
            let month = parts.month()?;
            parts.any(b"/-")?;
            let date = date(parts.number(4)?, month, day)?;
            parts.any(b": ")?;
            let clock = parts.clock(b":", b".,")?;
            Some(date + clock - parts.zone())
        }
        6 => {
            let date = date(2000 + parts.number(2)?, parts.number(2)?, parts.number(2)?)?;
            parts.any(b" ")?;
            let clock = match parts.rest.get(2) {
                Some(b':') => parts.clock(b":", b".,")?,
                _ => {
                    let clock = parts.number(6)?;
                    let (h, m, s) = (clock / 10_000, clock / 100 % 100, clock % 100);
                    let sound = h < 24 && m < 60 && s < 60;
                    sound.then_some((h * 3600 + m * 60 + s) * NANOS)?
                }
            };
            match parts.rest.first().is_some_and(u8::is_ascii_digit) {
                true => None,
                false => Some(date + clock),
            }
        }
        8 => {
            let date = date(parts.number(4)?, parts.number(2)?, parts.number(2)?)?;
            parts.any(b"-T ")?;
            Some(date + parts.clock(b":", b".,:")?)
        }
        10 | 13 | 16 => {
            let unit = 10i64.pow(19 - count as u32);
            let value = parts.number(count)?;
            let years = 1_000_000_000 * NANOS / unit..2_000_000_000 * NANOS / unit;
            let fraction = match count {
                10 => parts.fraction(b"."),
                _ => 0,
            };
            years.contains(&value).then(|| value * unit + fraction)
        }
        _ => None,
    }
}

/// A time that begins with a letter: the name of a month, or of a level as klog writes it.
fn named(text: &[u8]) -> Option<i64> {
    let mut parts = Parts { rest: text };
    if matches!(text[0], b'I' | b'W' | b'E' | b'F') && text.get(1).is_some_and(u8::is_ascii_digit) {
        parts.any(b"IWEF")?;
        let date = date(1970, parts.number(2)?, parts.number(2)?)?;
        parts.any(b" ")?;
        return Some(date + parts.clock(b":", b".")?);
    }
    let month = parts.month()?;
    parts.any(b" ")?;
    let day = match parts.any(b" ") {
        Some(_) => parts.number(1)?,
        None => {
            let mut two = parts;
            match two.number(2) {
                Some(day) => {
                    parts = two;
                    day
                }
                None => parts.number(1)?,
            }
        }
    };
    let date = date(1970, month, day)?;
    parts.any(b" ")?;
    Some(date + parts.clock(b":", b".,")?)
}

/// Nanoseconds of a day since 1970 (Hinnant, *chrono-Compatible Low-Level Date Algorithms*).
fn date(year: i64, month: i64, day: i64) -> Option<i64> {
    let sound =
        (1700..2200).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    let from_march = (month + 9) % 12;
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    sound.then(|| days * 86_400 * NANOS)
}

/// The level that a line tells near its beginning, in one spelling.
///
/// Words in capitals count wherever they stand, others only after `=`, a quote or a bracket; and
/// klog's letter.
pub fn level(line: &[u8]) -> Option<&'static str> {
    if let [letter @ (b'I' | b'W' | b'E' | b'F'), digits @ ..] = line
        && digits.len() > 5
        && digits[..4].iter().all(u8::is_ascii_digit)
        && digits[4] == b' '
    {
        return Some(match letter {
            b'I' => "INFO",
            b'W' => "WARN",
            b'E' => "ERROR",
            _ => "FATAL",
        });
    }
    let head = &line[..line.len().min(LEVEL_HEAD)];
    let mut padded = [0; LEVEL_HEAD.next_multiple_of(BLOCK)];
    padded[..head.len()].copy_from_slice(head);
    // Whether the byte before a block was a letter, and whether it was a mark.
    let (mut letter, mut mark) = (0, 0);
    for (i, block) in padded.as_chunks::<BLOCK>().0.iter().enumerate() {
        if BLOCK * i >= head.len() {
            break;
        }
        let letters = bits(block, |b| (b | 32).wrapping_sub(b'a') < 26);
        let capitals = bits(block, |b| b.wrapping_sub(b'A') < 26);
        let marks = bits(block, is_mark);
        let starts = letters & !(letters << 1 | letter);
        let mut words = starts & (capitals | marks << 1 | mark);
        while words != 0 {
            let at = BLOCK * i + words.trailing_zeros() as usize;
            if let Some(level) = level_at(head, at) {
                return Some(level);
            }
            words &= words - 1;
        }
        (letter, mark) = (letters >> (BLOCK - 1), marks >> (BLOCK - 1));
    }
    None
}

/// Bytes that are looked at together for levels.
const BLOCK: usize = u64::BITS as usize;

/// A bit for each byte of a block of which something is true. Without branches, which would be
/// guessed wrong at each end of a word.
#[inline(always)]
fn bits(block: &[u8; BLOCK], is: impl Fn(u8) -> bool) -> u64 {
    let flags = block.map(|b| u8::from(is(b)));
    let eights = flags.as_chunks::<8>().0.iter().enumerate();
    eights.fold(0, |all, (i, &eight)| {
        let eight = u64::from_le_bytes(eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        all | eight << (8 * i)
    })
}

/// What a level in small letters stands after.
#[inline(always)]
fn is_mark(byte: u8) -> bool {
    matches!(byte, b'=' | b'"' | b'[' | b'<' | b'(')
}

/// The level that the word at a place is.
fn level_at(head: &[u8], at: usize) -> Option<&'static str> {
    // First letters of levels.
    let begins = matches!(
        head[at] | 32,
        b'i' | b'w' | b'e' | b'd' | b't' | b'f' | b'n' | b'c' | b's' | b'a' | b'p'
    );
    if !begins {
        return None;
    }
    let len = head[at..].iter().take_while(|&&b| class(b) == LETTER);
    let word = &head[at..at + len.count()];
    if !(3..=9).contains(&word.len()) {
        return None;
    }
    let marked = at > 0 && is_mark(head[at - 1]);
    let bare = at == 0 || !matches!(class(head[at - 1]), DIGIT) && head[at - 1] != b'_';
    let capitals = || word.iter().all(u8::is_ascii_uppercase);
    match marked || (bare && capitals()) {
        true => spelled(word),
        false => None,
    }
}

/// Whether a word is the name of a level, in any case.
pub fn is_level(word: &[u8]) -> bool {
    spelled(word).is_some()
}

fn spelled(word: &[u8]) -> Option<&'static str> {
    const LEVELS: [(&str, &str); 17] = [
        ("INFO", "INFO"),
        ("WARN", "WARN"),
        ("ERROR", "ERROR"),
        ("DEBUG", "DEBUG"),
        ("TRACE", "TRACE"),
        ("WARNING", "WARN"),
        ("FATAL", "FATAL"),
        ("NOTICE", "NOTICE"),
        ("CRITICAL", "CRITICAL"),
        ("SEVERE", "ERROR"),
        ("ERR", "ERROR"),
        ("CRIT", "CRITICAL"),
        ("ALERT", "ALERT"),
        ("EMERG", "EMERGENCY"),
        ("EMERGENCY", "EMERGENCY"),
        ("PANIC", "FATAL"),
        ("FAILURE", "ERROR"),
    ];
    let found = LEVELS
        .iter()
        .find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
    found.map(|(_, level)| *level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_times_are_read() {
        let expected = 1_445_191_307 * NANOS;
        for line in [
            "2015-10-18 18:01:47 INFO x",
            "2015-10-18T18:01:47Z x",
            "[2015/10/18 18:01:47] x",
            "2015-10-18 20:01:47+0200 x",
            "1.2.3.4 - - [18/Oct/2015:18:01:47 +0000] \"GET /\"",
            "- 1445191307 2015.10.18 host",
            "{\"level\":\"info\",\"ts\":\"2015-10-18T14:01:47-04:00\"}",
            "{\"ts\":1445191307,\"x\":1}",
            "151018 180147 143 INFO",
            "20151018-18:01:47|x",
            "2015-10-18-18.01.47 x",
            "1445191307000 x",
        ] {
            assert_eq!(time(line.as_bytes()), Some(expected), "{line}");
        }
        let millis = time(b"2015-10-18 18:01:47,978 x").unwrap();
        assert_eq!(millis, expected + 978_000_000);
    }

    #[test]
    fn times_without_a_year_are_of_1970() {
        let june = (164 * 86_400 + 15 * 3600 + 16 * 60 + 1) * NANOS;
        for line in ["Jun 14 15:16:01 combo sshd", "I0614 15:16:01 main.go:1] x"] {
            assert_eq!(time(line.as_bytes()), Some(june), "{line}");
        }
        assert_eq!(time(b"Jun  1 00:00:00 x"), Some(151 * 86_400 * NANOS));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for line in [
            "9999-12-31 00:00:00",
            "",
            "    at com.x.Y(Z.java:12)",
            "2015-13-18 18:01:47",
            "99",
            "Jun",
            "June 5",
        ] {
            assert_eq!(time(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn levels_are_words_in_capitals_or_marked() {
        for (line, expected) in [
            ("2015 INFO x", Some("INFO")),
            ("x level=warning y", Some("WARN")),
            ("{\"level\":\"error\"}", Some("ERROR")),
            ("[notice] x", Some("NOTICE")),
            ("W0314 15:16:01 x", Some("WARN")),
            ("no error here", None),
            ("INFORMATION", None),
        ] {
            assert_eq!(level(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn levels_are_found_wherever_they_stand_in_a_block_of_bytes() {
        for before in 0..LEVEL_HEAD - 8 {
            let blanks = ".".repeat(before);
            for (word, expected) in [
                ("ERROR x", Some("ERROR")),
                ("=error x", Some("ERROR")),
                ("[warn] x", Some("WARN")),
                (".error x", None),
                ("ERRORS x", None),
                ("xERROR x", None),
            ] {
                let line = format!("{blanks}{word}");
                assert_eq!(level(line.as_bytes()), expected, "{line}");
            }
        }
        let late = format!("{}ERROR", ".".repeat(LEVEL_HEAD));
        assert_eq!(level(late.as_bytes()), None);
    }
}
