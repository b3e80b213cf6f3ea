//! The pattern, and the lines of a text that match it.

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::hir::{Class, Hir, HirKind, Look};

use super::GrepOptions;
use crate::encoding::log::needle::Needle;
use crate::encoding::log::values::Lines;
use crate::encoding::needles::Needles;
use crate::error::{Error, Result};

/// A compiled pattern.
pub struct Pattern {
    regex: Regex,
    needles: Vec<Needle>,
    /// Whether a line that holds a needle matches, without further looking.
    pub decides: bool,
    reach: Reach,
}

/// How far from its line a match may reach, or look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Matches lie within lines.
    Line,
    /// They may hold line feeds.
    Feeds,
    /// They ask where the text begins or ends.
    Text,
}

impl Pattern {
    /// Compiles patterns, of which a line is to match one.
    pub fn new(patterns: &[&str], options: &GrepOptions) -> Result<Self> {
        let mut texts = Vec::with_capacity(patterns.len());
        for pattern in patterns {
            let text = match options.fixed {
                true => regex::escape(pattern),
                false => (*pattern).to_owned(),
            };
            // Each by itself: two wrong ones may make a right one.
            parsed(&text, pattern)?;
            texts.push(text);
        }
        let mut text = match texts.as_slice() {
            [one] => one.clone(),
            several => several
                .iter()
                .map(|text| format!("(?:{text})"))
                .collect::<Vec<_>>()
                .join("|"),
        };
        if options.line {
            text = format!("^(?:{text})$");
        } else if options.word {
            text = format!(r"\b{{start-half}}(?:{text})\b{{end-half}}");
        }
        let ignore_case = options.ignore_case;
        let all = patterns.join("|");
        let regex = RegexBuilder::new(&text)
            .case_insensitive(ignore_case)
            .multi_line(true)
            .build()
            .map_err(|e| wrong(&all, &e))?;
        let parsed = parsed(&text, &all)?;
        let needles = Needles::of_regex(&text, ignore_case)?;
        let decides = needles.as_ref().is_some_and(|n| n.decide);
        let needles = needles.and_then(|n| {
            let texts = n.texts.iter();
            let needles = texts.map(|t| Needle::new(t, n.ignore_case));
            needles.collect::<Option<Vec<Needle>>>()
        });
        Ok(Self {
            regex,
            decides: decides && needles.is_some(),
            needles: needles.unwrap_or_default(),
            reach: reach(&parsed),
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

    /// Texts of which each matching line holds one, if some are known.
    pub fn needles(&self) -> Option<&[Needle]> {
        (!self.needles.is_empty()).then_some(&self.needles)
    }

    /// Tells which of some lines match, in order. They are searched as one text.
    pub fn lines(&self, lines: &Lines, mut visit: impl FnMut(usize)) {
        let (count, text) = (lines.len(), lines.out.as_slice());
        let starts = lines.offsets.iter().take(count).skip(1);
        let parted = starts
            .map(|&o| o as usize)
            .all(|o| text[..o].ends_with(b"\n"));
        if self.reach == Reach::Text || !parted {
            let matching = (0..count).filter(|&i| self.matches(without_feed(lines.get(i))));
            return matching.for_each(visit);
        }
        let mut row = 0;
        while row < count {
            let from = lines.offsets[row] as usize;
            let found = match self.reach {
                Reach::Line => {
                    let end = self.regex.shortest_match_at(text, from);
                    end.map(|end| (end, end))
                }
                _ => {
                    let found = self.regex.find_at(text, from);
                    found.map(|m| (m.start(), m.end()))
                }
            };
            let Some((start, end)) = found else { return };
            let after = lines.offsets[row..].partition_point(|&o| o as usize <= start);
            row += after.saturating_sub(1);
            if row >= count {
                if text.ends_with(b"\n") {
                    // It lies behind the last line feed.
                    return;
                }
                row = count - 1;
            }
            let line = without_feed(lines.get(row));
            let inside = end <= lines.offsets[row] as usize + line.len();
            if inside || self.matches(line) {
                visit(row);
            }
            row += 1;
        }
    }
}

/// A regular expression, made of a pattern, as a tree.
fn parsed(text: &str, pattern: &str) -> Result<Hir> {
    regex_syntax::ParserBuilder::new()
        .utf8(false)
        .multi_line(true)
        .build()
        .parse(text)
        .map_err(|e| wrong(pattern, &e))
}

/// What is wrong with a pattern. The parser draws the place on lines of its own; its last line says it.
fn wrong(pattern: &str, error: &dyn std::fmt::Display) -> Error {
    let told = error.to_string();
    let last = told.lines().last().unwrap_or_default();
    let what = last.trim_start_matches("error: ");
    Error::invalid(format!("pattern '{pattern}': {what}"))
}

/// A line without its line feed.
pub fn without_feed(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}

fn reach(hir: &Hir) -> Reach {
    let set = hir.properties().look_set();
    if set.contains(Look::Start) || set.contains(Look::End) {
        return Reach::Text;
    }
    match holds_feed(hir) {
        true => Reach::Feeds,
        false => Reach::Line,
    }
}

fn holds_feed(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Literal(literal) => literal.0.contains(&b'\n'),
        HirKind::Class(Class::Unicode(class)) => {
            class.iter().any(|r| (r.start()..=r.end()).contains(&'\n'))
        }
        HirKind::Class(Class::Bytes(class)) => {
            class.iter().any(|r| (r.start()..=r.end()).contains(&b'\n'))
        }
        HirKind::Capture(capture) => holds_feed(&capture.sub),
        HirKind::Repetition(repetition) => holds_feed(&repetition.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().any(holds_feed),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_match_as_they_do_one_by_one() {
        let text = b"one two\n\nthree  \nfour\r\n\xff five\nsix\n";
        let all: Vec<&[u8]> = text.split_inclusive(|&b| b == b'\n').collect();
        for cut in [text.len(), text.len() - 1] {
            let mut lines = Lines {
                offsets: vec![0],
                ..Lines::default()
            };
            lines.out.put(text, 0, cut);
            for line in &all {
                let end = lines.offsets.last().unwrap() + line.len() as u32;
                lines.offsets.push(end.min(cut as u32));
            }
            for pattern in [
                "o", "^$", "$", "", "\\s", "\\s+$", "[^a-z]", "\\Aone", "six\\z", "x$", "five",
                "e\\s+t", "(?s).", "\\bt", "t\\B", "r\\r$", "\\s\\S*", "[^x]\\z", "absent",
            ] {
                let pattern = Pattern::new(&[pattern], &GrepOptions::default()).unwrap();
                let mut found = Vec::new();
                pattern.lines(&lines, |row| found.push(row));
                let one_by_one = (0..lines.len())
                    .filter(|&i| pattern.matches(without_feed(lines.get(i))))
                    .collect::<Vec<_>>();
                assert_eq!(found, one_by_one, "{:?}", pattern.regex);
            }
        }
    }
}
