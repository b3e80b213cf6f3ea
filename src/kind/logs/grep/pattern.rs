//! The pattern, and the run of letters or digits that each line that matches must hold.

use memchr::memmem::Finder;
use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::hir::{Hir, HirKind};

use crate::error::{Error, Result};

/// A compiled pattern.
pub struct Pattern {
    regex: Regex,
    required: Option<Required>,
}

/// A run of letters or of digits. Columns never cut one, so it stands in one place of a line: in its
/// common text or in one value.
pub struct Required {
    text: Vec<u8>,
    finder: Finder<'static>,
    folded: Option<Regex>,
    /// Lines that hold it match, without further looking.
    pub decides: bool,
}

impl Pattern {
    /// Compiles a pattern, a regular expression unless `fixed`.
    pub fn new(pattern: &str, fixed: bool, ignore_case: bool) -> Result<Self> {
        let text = match fixed {
            true => regex::escape(pattern),
            false => pattern.to_owned(),
        };
        let regex = RegexBuilder::new(&text)
            .case_insensitive(ignore_case)
            .multi_line(true)
            .build()
            .map_err(|e| {
                // The parser draws the place on lines of its own; its last line says what is wrong.
                let told = e.to_string();
                let last = told.lines().last().unwrap_or_default();
                let what = last.trim_start_matches("error: ");
                Error::invalid(format!("pattern '{pattern}': {what}"))
            })?;
        Ok(Self {
            required: required(&text, ignore_case)?,
            regex,
        })
    }

    /// Whether a line, without its line feed, matches.
    pub fn matches(&self, line: &[u8]) -> bool {
        self.regex.is_match(line)
    }

    /// The non-empty matches of a line.
    pub fn find<'t>(&'t self, line: &'t [u8]) -> impl Iterator<Item = &'t [u8]> {
        let found = self.regex.find_iter(line).map(|m| m.as_bytes());
        found.filter(|m| !m.is_empty())
    }

    /// What every matching line holds, if something is known.
    pub fn required(&self) -> Option<&Required> {
        self.required.as_ref()
    }
}

impl Required {
    /// Whether it occurs in some bytes.
    pub fn is_in(&self, text: &[u8]) -> bool {
        match &self.folded {
            Some(folded) => folded.is_match(text),
            None => self.finder.find(text).is_some(),
        }
    }

    /// Where it first occurs in some bytes, and where that ends.
    pub fn find(&self, text: &[u8]) -> Option<(usize, usize)> {
        match &self.folded {
            Some(folded) => folded.find(text).map(|m| (m.start(), m.end())),
            None => {
                let at = self.finder.find(text)?;
                Some((at, at + self.text.len()))
            }
        }
    }

    /// Whether it may occur in numbers.
    pub fn is_digits(&self) -> bool {
        self.text.iter().all(u8::is_ascii_digit)
    }

    /// Whether it may occur where neither common text nor texts tell.
    pub fn is_hexadecimal(&self) -> bool {
        self.text.iter().all(u8::is_ascii_hexdigit)
    }
}

fn required(text: &str, ignore_case: bool) -> Result<Option<Required>> {
    let parsed = regex_syntax::ParserBuilder::new()
        .utf8(false)
        .multi_line(true)
        .build()
        .parse(text)
        .map_err(|e| Error::invalid(format!("pattern: {e}")))?;
    let Some(literal) = literal(&parsed) else {
        return Ok(None);
    };
    let run = runs(&literal).max_by_key(|r| r.len());
    let Some(run) = run.filter(|r| !r.is_empty()) else {
        return Ok(None);
    };
    // Under Unicode's folding these are equal to letters outside ASCII, which part runs.
    let odd = |b: &u8| matches!(b.to_ascii_lowercase(), b'k' | b's');
    if ignore_case && run.iter().any(odd) {
        return Ok(None);
    }
    let whole = matches!(parsed.kind(), HirKind::Literal(l) if *l.0 == *run);
    let folded = match ignore_case && run.iter().any(u8::is_ascii_alphabetic) {
        true => {
            let run = String::from_utf8_lossy(run);
            let folded = RegexBuilder::new(&run).case_insensitive(true).build();
            Some(folded.map_err(|e| Error::invalid(format!("pattern: {e}")))?)
        }
        false => None,
    };
    Ok(Some(Required {
        text: run.to_vec(),
        finder: Finder::new(run).into_owned(),
        folded,
        decides: whole,
    }))
}

/// The longest literal that every match holds.
fn literal(hir: &Hir) -> Option<Vec<u8>> {
    match hir.kind() {
        HirKind::Literal(literal) => Some(literal.0.to_vec()),
        HirKind::Capture(capture) => literal(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => literal(&repetition.sub),
        HirKind::Concat(parts) => {
            let found = parts.iter().filter_map(literal);
            let longest = |l: &Vec<u8>| runs(l).map(<[u8]>::len).max();
            found.max_by_key(longest)
        }
        _ => None,
    }
}

/// Runs of letters, and runs of digits.
fn runs(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let class = |b: &u8| match b {
        b'0'..=b'9' => 1,
        b'a'..=b'z' | b'A'..=b'Z' => 2,
        _ => 0,
    };
    let parts = text.chunk_by(move |a, b| class(a) == class(b));
    parts.filter(move |r| class(&r[0]) > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(pattern: &str, ignore_case: bool) -> Option<String> {
        let pattern = Pattern::new(pattern, false, ignore_case).unwrap();
        let required = pattern.required()?;
        Some(String::from_utf8(required.text.clone()).unwrap())
    }

    #[test]
    fn the_longest_run_that_every_match_holds_is_found() {
        assert_eq!(run("error", false).as_deref(), Some("error"));
        assert_eq!(run("blk_-?4394\\d+", false).as_deref(), Some("4394"));
        assert_eq!(
            run("(timed|out) after (x|y)", false).as_deref(),
            Some("after")
        );
        assert_eq!(run("(a|b)c*", false), None);
        assert_eq!(run("^$", false), None);
        assert_eq!(run("(?i)error", false), None);
    }

    #[test]
    fn letters_that_fold_to_others_than_ascii_are_not_relied_on() {
        assert_eq!(run("error", true).as_deref(), Some("error"));
        assert_eq!(run("task", true), None);
    }
}
