//! Makes a long log out of real ones: their files again and again, each time with later times and
//! other ids, on standard output.
//!
//! ```text
//! lengthen DIR MEGABYTES > LOG
//! ```
//!
//! Takes the files of DIR and of the folders in it in order of name. The first round is as it is. In
//! each later one, dates (`2015-10-18`, `2015/10/18`, `18/Oct/2015`, `Oct 18`) and seconds or
//! milliseconds since 1970 are so many days later, and every other run of six digits and more, and
//! every hexadecimal word of eight and more, is replaced by another of the same length: by the same
//! wherever it occurs in the round, so that what was an id stays one. The last line is whole.

use std::io::Write;
use std::path::{Path, PathBuf};

use pilaster_peers::Result;

const USAGE: &str = "usage: lengthen DIR MEGABYTES > LOG";
const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";

fn files(directory: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let mut entries = std::fs::read_dir(directory)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    entries.sort();
    for path in entries {
        match path.is_dir() {
            true => files(&path, found)?,
            false => found.push(path),
        }
    }
    Ok(())
}

fn mixed(mut value: u64) -> u64 {
    value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

fn hash(text: &[u8], round: u64) -> u64 {
    let next = |hash, &byte: &u8| mixed(hash ^ u64::from(byte));
    text.iter().fold(mixed(round), next)
}

/// Digits of the same kinds, others.
fn renamed(word: &[u8], round: u64, out: &mut Vec<u8>) {
    let mut state = hash(word, round);
    for (i, &byte) in word.iter().enumerate() {
        state = mixed(state.wrapping_add(0x9e37_79b9_7f4a_7c15));
        let any = (state >> 33) as u8;
        out.push(match byte {
            b'0' if i == 0 => b'0',
            b'0'..=b'9' if i == 0 => b'1' + any % 9,
            b'0'..=b'9' => b'0' + any % 10,
            b'a'..=b'f' => b'a' + any % 6,
            b'A'..=b'F' => b'A' + any % 6,
            other => other,
        });
    }
}

fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |n, b| n * 10 + u64::from(b - b'0'))
}

fn are_digits(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_digit)
}

/// Days of a year of 12 months of 28 days: dates stay sound whatever is added.
fn later(year: &[u8], month: u64, day: u64, round: u64) -> (u64, u64, u64) {
    let days = (month - 1) * 28 + (day - 1).min(27) + round * 9;
    (number(year) + days / 336, days / 28 % 12 + 1, days % 28 + 1)
}

/// A date at the start of a text: how long it is, and what takes its place.
fn date(text: &[u8], round: u64) -> Option<(usize, Vec<u8>)> {
    let head = text.get(..10)?;
    let mark = head[4];
    if matches!(mark, b'-' | b'/') && head[7] == mark {
        let parts = [&head[..4], &head[5..7], &head[8..]];
        let (month, day) = (parts[1], parts[2]);
        let sound = parts.iter().all(|p| are_digits(p))
            && (1..13).contains(&number(month))
            && (1..32).contains(&number(day))
            && !text.get(10).is_some_and(u8::is_ascii_digit);
        return sound.then(|| {
            let (y, m, d) = later(parts[0], number(month), number(day), round);
            let mark = char::from(mark);
            (10, format!("{y:04}{mark}{m:02}{mark}{d:02}").into_bytes())
        });
    }
    let head = text.get(..11)?;
    let month = MONTHS.chunks(3).position(|m| *m == head[3..6])?;
    let sound =
        head[2] == b'/' && head[6] == b'/' && are_digits(&head[..2]) && are_digits(&head[7..]);
    (sound && number(&head[..2]) > 0).then(|| {
        let (y, m, d) = later(&head[7..], month as u64 + 1, number(&head[..2]), round);
        let name = String::from_utf8_lossy(&MONTHS[3 * (m as usize - 1)..3 * m as usize]);
        (11, format!("{d:02}/{name}/{y:04}").into_bytes())
    })
}

/// `Oct 18 ` or `Oct  8 ` at the start of a line.
fn short_date(line: &[u8], round: u64) -> Option<(usize, Vec<u8>)> {
    let head = line.get(..7)?;
    let month = MONTHS.chunks(3).position(|m| *m == head[..3])?;
    let day = match head[4] {
        b' ' => &head[5..6],
        _ => &head[4..6],
    };
    let sound = head[3] == b' ' && head[6] == b' ' && are_digits(day) && number(day) > 0;
    sound.then(|| {
        let (_, m, d) = later(b"0000", month as u64 + 1, number(day), round);
        let name = String::from_utf8_lossy(&MONTHS[3 * (m as usize - 1)..3 * m as usize]);
        (7, format!("{name} {d:2} ").into_bytes())
    })
}

/// A line of a later round.
fn changed(line: &[u8], round: u64, out: &mut Vec<u8>) {
    let mut at = 0;
    if let Some((len, date)) = short_date(line, round) {
        out.extend_from_slice(&date);
        at = len;
    }
    while at < line.len() {
        if !line[at].is_ascii_alphanumeric() {
            out.push(line[at]);
            at += 1;
            continue;
        }
        if line[at].is_ascii_digit()
            && let Some((len, date)) = date(&line[at..], round)
        {
            out.extend_from_slice(&date);
            at += len;
            continue;
        }
        let word = line[at..].iter();
        let len = word.take_while(|b| b.is_ascii_alphanumeric()).count();
        let word = &line[at..at + len];
        let has_digit = word.iter().any(u8::is_ascii_digit);
        let is_time = matches!(len, 10 | 13) && are_digits(word) && word[0] == b'1';
        if is_time {
            let day = 86_400 * if len == 13 { 1000 } else { 1 };
            out.extend_from_slice((number(word) + round * 9 * day).to_string().as_bytes());
        } else if has_digit && len >= 8 && word.iter().all(u8::is_ascii_hexdigit) {
            renamed(word, round, out);
        } else {
            for run in word.chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit()) {
                match run.len() >= 6 && run[0].is_ascii_digit() {
                    true => renamed(run, round, out),
                    false => out.extend_from_slice(run),
                }
            }
        }
        at += len;
    }
}

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let (Some(directory), Some(megabytes)) = (words.next(), words.next()) else {
        return Err(USAGE.into());
    };
    let mut left = megabytes.parse::<usize>()? * 1_000_000;
    let mut all = Vec::new();
    files(Path::new(&directory), &mut all)?;
    let texts = all
        .iter()
        .map(|path| Ok(std::fs::read(path)?))
        .collect::<Result<Vec<_>>>()?;
    let mut out = std::io::stdout().lock();
    let mut block = Vec::new();
    for round in 0.. {
        for text in &texts {
            for line in text.split_inclusive(|&b| b == b'\n') {
                match round {
                    0 => block.extend_from_slice(line),
                    _ => changed(line, round, &mut block),
                }
                if !block.ends_with(b"\n") {
                    block.push(b'\n');
                }
                if block.len() >= left.min(1 << 20) {
                    out.write_all(&block)?;
                    left = left.saturating_sub(block.len());
                    block.clear();
                    if left == 0 {
                        return Ok(());
                    }
                }
            }
        }
    }
    Ok(())
}
