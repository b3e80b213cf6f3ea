//! What a byte of a log line is, and the small things that are recognised at sight.
//!
//! A *word* is a run of bytes without hard delimiters; soft bytes (`/ . - _ ? & %` and all from 0x80
//! on) stay inside a word and part its pieces when it has digits.

/// Ends a word.
pub const HARD: u8 = 0;
/// `0` to `9`.
pub const DIGIT: u8 = 1;
/// ASCII letters.
pub const LETTER: u8 = 2;
/// Everything else.
pub const SOFT: u8 = 3;

/// Class of each byte.
pub static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [SOFT; 256];
    let mut i = 0;
    while i < 256 {
        let byte = i as u8;
        if byte.is_ascii_digit() {
            table[i] = DIGIT;
        } else if byte.is_ascii_alphabetic() {
            table[i] = LETTER;
        }
        i += 1;
    }
    let hard = b" \t\r\n\0,;|[](){}=:<>\"'\\";
    let mut i = 0;
    while i < hard.len() {
        table[hard[i] as usize] = HARD;
        i += 1;
    }
    table
}

/// Class of a byte.
#[inline(always)]
pub fn class(byte: u8) -> u8 {
    CLASS[byte as usize]
}

/// Most digits of a second's fraction in a time slot.
pub const MAX_FRACTION: usize = 9;

/// `hh:mm:ss` at the start of `text`, with the digits of a fraction after `.` or `,`: the length of
/// it all, the digits, and whether the separator is a comma.
pub fn time(text: &[u8]) -> Option<(usize, usize, bool)> {
    let head: &[u8; 8] = text.first_chunk()?;
    let digits = [0, 1, 3, 4, 6, 7].iter().all(|&i| head[i].is_ascii_digit());
    let sound = digits
        && head[2] == b':'
        && head[5] == b':'
        && (head[0] < b'2' || (head[0] == b'2' && head[1] <= b'3'))
        && head[3] <= b'5'
        && head[6] <= b'5';
    if !sound {
        return None;
    }
    let rest = &text[8..];
    if rest.first().is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let (Some(&separator), Some(true)) = (rest.first(), rest.get(1).map(u8::is_ascii_digit)) else {
        return Some((8, 0, false));
    };
    if separator != b'.' && separator != b',' {
        return Some((8, 0, false));
    }
    let fraction = rest[1..].iter().take(MAX_FRACTION + 1);
    let fraction = fraction.take_while(|b| b.is_ascii_digit()).count();
    match fraction <= MAX_FRACTION {
        true => Some((9 + fraction, fraction, separator == b',')),
        false => Some((8, 0, false)),
    }
}

/// Length of an IPv4 address at the start of `text`, if one stands there alone.
pub fn address(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    for part in 0..4 {
        let start = at;
        while at - start < 4 && text.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        if !(1..=3).contains(&(at - start)) {
            return None;
        }
        if part < 3 {
            if text.get(at) != Some(&b'.') {
                return None;
            }
            at += 1;
        }
    }
    let next = text.get(at).copied();
    let goes_on = next.is_some_and(|b| matches!(class(b), DIGIT | LETTER))
        || (next == Some(b'.') && text.get(at + 1).is_some_and(u8::is_ascii_digit));
    (!goes_on).then_some(at)
}

/// Whether a word is a UUID in its usual form.
pub fn is_uuid(word: &[u8]) -> bool {
    word.len() == 36
        && word.iter().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => *b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

/// Mixes a number into a hash.
#[inline(always)]
pub fn mix(hash: u64, value: u64) -> u64 {
    let hash = (hash ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ (hash >> 29)
}

/// Hash of some bytes.
#[inline]
pub fn hash(text: &[u8]) -> u64 {
    let mut hash = (text.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut rest = text;
    while let Some((head, tail)) = rest.split_first_chunk::<8>() {
        hash = mix(hash, u64::from_le_bytes(*head));
        rest = tail;
    }
    // What is left as one little-endian number, read in two overlapping halves.
    let n = rest.len();
    if let (Some(head), Some(tail)) = (rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
        let (head, tail) = (u32::from_le_bytes(*head), u32::from_le_bytes(*tail));
        hash = mix(hash, u64::from(head) | u64::from(tail) << (8 * (n - 4)));
    } else if let (Some(&first), Some(&last)) = (rest.first(), rest.last()) {
        let middle = u64::from(rest[n / 2]) << (8 * (n / 2));
        let last = u64::from(last) << (8 * (n - 1));
        hash = mix(hash, u64::from(first) | middle | last);
    }
    mix(hash, 77)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_take_what_is_left_as_a_little_endian_number() {
        let text = b"0123456789abcdefghijkl";
        for n in 0..text.len() {
            let text = &text[..n];
            let mut expected = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            for part in text.chunks(8) {
                let number = part.iter().rev().fold(0, |v, &b| v << 8 | u64::from(b));
                expected = mix(expected, number);
            }
            assert_eq!(hash(text), mix(expected, 77), "{n}");
        }
    }

    #[test]
    fn times_are_taken_only_if_they_are_in_range() {
        assert_eq!(time(b"23:59:59"), Some((8, 0, false)));
        assert_eq!(time(b"18:01:47,978 INFO"), Some((12, 3, true)));
        assert_eq!(time(b"18:01:47.123456789Z"), Some((18, 9, false)));
        assert_eq!(time(b"18:01:47.1234567890"), Some((8, 0, false)));
        assert_eq!(time(b"18:01:47."), Some((8, 0, false)));
        for none in ["24:00:00", "23:60:00", "23:59:60", "1:02:03", "18:01:478"] {
            assert_eq!(time(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn addresses_stand_alone() {
        assert_eq!(address(b"10.250.19.102:54106"), Some(13));
        assert_eq!(address(b"1.2.3.4."), Some(7));
        for none in ["1.2.3", "1.2.3.4.5", "1.2.3.4a", "1234.1.1.1", "1..2.3"] {
            assert_eq!(address(none.as_bytes()), None, "{none}");
        }
    }
}
