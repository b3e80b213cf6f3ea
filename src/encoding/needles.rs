//! Texts of which each value that a condition keeps holds one: what an encoding can look for in its
//! stored form before it rebuilds any value.

use regex_syntax::hir::{Hir, HirKind};

use crate::error::{Error, Result};

/// Most alternatives; with more of them little can be excluded.
const MOST: usize = 24;

/// Each value that is kept holds at least one of these texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needles {
    /// None of them is empty.
    pub texts: Vec<Vec<u8>>,
    /// Upper and lower case are the same, as Unicode folds them.
    pub ignore_case: bool,
    /// Whether a value that holds one of them is kept for certain.
    pub decide: bool,
}

impl Needles {
    /// What a value must hold to match a regular expression somewhere. `None` if nothing is known.
    pub fn of_regex(pattern: &str, ignore_case: bool) -> Result<Option<Self>> {
        let parsed = regex_syntax::ParserBuilder::new()
            .utf8(false)
            .multi_line(true)
            .build()
            .parse(pattern)
            .map_err(|e| Error::invalid(format!("pattern: {e}")))?;
        Ok(required(&parsed).map(|texts| Self {
            texts,
            ignore_case,
            decide: is_text(&parsed),
        }))
    }

    /// A text as it is.
    pub fn of_text(text: &str, ignore_case: bool) -> Option<Self> {
        (!text.is_empty()).then(|| Self {
            texts: vec![text.as_bytes().to_vec()],
            ignore_case,
            decide: true,
        })
    }
}

/// Whether a pattern is a text, or a choice of some.
fn is_text(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Literal(_) => true,
        HirKind::Capture(capture) => is_text(&capture.sub),
        HirKind::Alternation(parts) => parts.iter().all(is_text),
        _ => false,
    }
}

/// Texts of which each match holds one.
fn required(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    match hir.kind() {
        HirKind::Literal(literal) => Some(vec![literal.0.to_vec()]),
        HirKind::Capture(capture) => required(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => required(&repetition.sub),
        HirKind::Concat(parts) => {
            let found = parts.iter().filter_map(required);
            found.max_by_key(|texts| texts.iter().map(|t| weight(t)).min())
        }
        HirKind::Alternation(parts) => {
            let mut all = Vec::new();
            for part in parts {
                all.extend(required(part)?);
            }
            (all.len() <= MOST).then_some(all)
        }
        _ => None,
    }
}

/// How much a text excludes: letters more than digits, which occur in numbers everywhere.
fn weight(text: &[u8]) -> usize {
    let letters = text.iter().filter(|b| b.is_ascii_alphabetic()).count();
    text.len() + 2 * letters
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pattern: &str) -> Option<(Vec<String>, bool)> {
        let needles = Needles::of_regex(pattern, false).unwrap()?;
        let texts = needles.texts.iter();
        let texts = texts.map(|t| String::from_utf8(t.clone()).unwrap());
        Some((texts.collect(), needles.decide))
    }

    #[test]
    fn every_match_holds_one_of_the_texts() {
        let one = |text: &str, decide| Some((vec![text.to_owned()], decide));
        assert_eq!(of("error"), one("error", true));
        assert_eq!(of("blk_-?4394\\d+"), one("blk_", false));
        assert_eq!(of("(timed|out) after (x|y)"), one(" after ", false));
        let several = Some((vec!["ERROR".to_owned(), "WARN".to_owned()], true));
        assert_eq!(of("ERROR|WARN"), several);
        assert!(!of("(ERROR|WARN) ?\\d").unwrap().1);
        assert_eq!(of("(x+|yy)z*").unwrap().0, ["x", "yy"]);
        for nothing in ["(a|b*)c*", "^$", "(?i)error", "[0-9]+", "a?"] {
            assert_eq!(of(nothing), None, "{nothing}");
        }
    }
}
