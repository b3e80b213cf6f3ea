//! Text in parts: writing it from integers, and reading the integers back.

use super::model::{MAX_EXCEPTIONS, NULL, Part};
use super::text::TextForm;

/// Appends the text of some integers; `None` if they have none.
pub fn write(
    parts: &[Part],
    mut integers: impl Iterator<Item = i64>,
    out: &mut Vec<u8>,
) -> Option<()> {
    for part in parts {
        match part {
            Part::Literal(bytes) => out.extend_from_slice(bytes),
            Part::Formatted(form) => form.write(integers.next()?, out)?,
            Part::Dictionary(values) => {
                let i = usize::try_from(integers.next()?).ok()?;
                if i >= values.len() {
                    return None;
                }
                out.extend_from_slice(values.get(i));
            }
        }
    }
    Some(())
}

/// The integers of a text that these parts write back identically; none for dictionaries. One
/// formatted part may be anything, of several each is a run of digits.
pub fn parse(parts: &[Part], text: &[u8], scratch: &mut Vec<u8>) -> Option<Vec<i64>> {
    let several = parts.iter().filter(|p| p.takes_integer()).count() > 1;
    let mut integers = Vec::new();
    let mut rest = text;
    for (i, part) in parts.iter().enumerate() {
        match part {
            Part::Literal(bytes) => rest = rest.strip_prefix(bytes.as_slice())?,
            Part::Formatted(form) => {
                let own = match several {
                    true => rest.iter().take_while(|b| b.is_ascii_digit()).count(),
                    false => rest.len().checked_sub(literals(&parts[i + 1..]))?,
                };
                let (own, after) = rest.split_at(own);
                integers.push(TextForm::parse(form, own)?);
                rest = after;
            }
            Part::Dictionary(_) => return None,
        }
    }
    scratch.clear();
    write(parts, integers.iter().copied(), scratch)?;
    let plain = integers.iter().all(|&v| v > NULL + MAX_EXCEPTIONS as i64);
    (plain && rest.is_empty() && scratch == text).then_some(integers)
}

/// Bytes of the literal parts.
fn literals(parts: &[Part]) -> usize {
    let length = |part: &Part| match part {
        Part::Literal(bytes) => bytes.len(),
        _ => 0,
    };
    parts.iter().map(length).sum()
}
