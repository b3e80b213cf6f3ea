//! Search in stored logs, with ripgrep's options, output and answers.
//!
//! A pattern that is a text, or needs one, is first looked for in what lines have in common and in
//! the distinct values of their columns; only lines that may match are rebuilt, and of those that
//! only count none. Bytes are taken as they are, as with ripgrep's `-a`. Each source that was
//! imported counts as a file.

use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;

use crate::encoding::DecodeContext;
use crate::encoding::log::chunk::Chunk;
use crate::encoding::log::search::{self, Held};
use crate::encoding::log::values::{Lines, Out};
use crate::error::{Error, Result};
use crate::file::File;

use super::StoredLines;
use super::restore::StoredSource;
use pattern::{Pattern, without_feed};

mod pattern;
mod print;

use print::Printer;

/// What ripgrep's options of the same names say.
#[derive(Debug, Clone, Default)]
pub struct GrepOptions {
    /// `-i`: upper and lower case are the same.
    pub ignore_case: bool,
    /// `-v`: lines that do not match.
    pub invert: bool,
    /// `-c`: how many lines, not which; files without any are left out.
    pub count: bool,
    /// `-n`: with line numbers.
    pub line_number: bool,
    /// `-F`: the patterns are no regular expressions.
    pub fixed: bool,
    /// `-w`: matches have no letter, digit or underscore beside them.
    pub word: bool,
    /// `-x`: matches are whole lines.
    pub line: bool,
    /// `-l`: the names of files with a match; each is searched up to its first.
    pub files_with_matches: bool,
    /// `-o`: only what matches, each on a line; with `count`, how many of those.
    pub only_matching: bool,
    /// `-m`: at most so many lines of a file.
    pub max_count: Option<u64>,
    /// `-A`: lines after each.
    pub after: usize,
    /// `-B`: lines before each.
    pub before: usize,
}

impl GrepOptions {
    /// The same where some options stand for others: of files with matches, the first line of each is
    /// counted.
    fn settled(&self) -> Self {
        let mut options = self.clone();
        if self.files_with_matches {
            (options.count, options.only_matching) = (true, false);
            options.max_count = Some(options.max_count.map_or(1, |most| most.min(1)));
        }
        options
    }
}

/// Searches files for lines that match one of some patterns and writes what is found; whether something
/// was. A file that cannot be searched is told to `failed`, and the search goes on with the next.
///
/// # Errors
///
/// If a pattern is wrong or nothing can be written.
pub fn grep(
    patterns: &[&str],
    files: &[PathBuf],
    options: &GrepOptions,
    out: &mut dyn Write,
    failed: &mut dyn FnMut(Error),
) -> Result<bool> {
    let pattern = Pattern::new(patterns, options)?;
    let options = options.settled();
    let mut printer = Printer::new(&options, out);
    for path in files {
        let searched = File::open(path).and_then(|file| {
            let lines = StoredLines::of(&file)?;
            let alone = files.len() == 1;
            let named = !alone || options.files_with_matches && lines.sources()?.len() < 2;
            let name = named.then(|| path.display().to_string());
            Search::new(&pattern, lines, name.as_deref(), &options)?.run(&mut printer)
        });
        match searched {
            Err(error) if printer.is_broken() => return Err(error),
            Err(error) => failed(error),
            Ok(()) => {}
        }
    }
    Ok(printer.found_any())
}

/// The search of one file.
struct Search<'a> {
    pattern: &'a Pattern,
    options: &'a GrepOptions,
    lines: StoredLines<'a>,
    chunks: Vec<Range<u64>>,
    sources: Vec<StoredSource>,
    /// The source that is searched.
    source: usize,
    name: Option<&'a str>,
    /// Memory of texts that were looked at.
    memory: Out,
}

/// Lines of a chunk that were rebuilt, asked for in order.
struct Rebuilt {
    lines: Lines,
    /// Which rows those are; all if `None`.
    wanted: Option<Vec<bool>>,
    row: usize,
    at: usize,
}

impl Rebuilt {
    fn has(&self, row: usize) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted[row])
    }

    fn line(&mut self, row: usize) -> &[u8] {
        match &self.wanted {
            None => self.at = row,
            Some(wanted) => {
                self.at += wanted[self.row..row].iter().filter(|w| **w).count();
                self.row = row;
            }
        }
        without_feed(self.lines.get(self.at))
    }
}

impl<'a> Search<'a> {
    fn new(
        pattern: &'a Pattern,
        lines: StoredLines<'a>,
        name: Option<&'a str>,
        options: &'a GrepOptions,
    ) -> Result<Self> {
        Ok(Self {
            pattern,
            options,
            chunks: lines.chunks()?,
            sources: lines.sources()?,
            source: 0,
            lines,
            name,
            memory: Out::default(),
        })
    }

    fn run(&mut self, printer: &mut Printer<'_>) -> Result<()> {
        printer.begin(self.name());
        for chunk in 0..self.chunks.len() {
            let parts = self.parts(chunk);
            if printer.is_done() && parts.len() == 1 && parts[0].0 == self.source {
                continue;
            }
            let idle = !self.options.invert && !printer.wants_more();
            let nothing = match self.pattern.needles().filter(|_| idle) {
                Some(needles) => !self.lines.may_hold(chunk, needles)?,
                None => false,
            };
            if nothing {
                for (source, _) in parts {
                    self.turn_to(source, printer)?;
                }
                continue;
            }
            let lines = self.lines.clone();
            lines.open(chunk, |opened, context| {
                self.opened(chunk, &parts, opened, context, printer)
            })?;
        }
        printer.end()
    }

    /// The sources in a chunk and their rows.
    fn parts(&self, chunk: usize) -> Vec<(usize, Range<u64>)> {
        let rows = &self.chunks[chunk];
        let sources = self.sources.iter().enumerate().skip(self.source);
        let within = |of: &Range<u64>| of.start.max(rows.start)..of.end.min(rows.end);
        sources
            .take_while(|(_, source)| source.rows.start < rows.end)
            .map(|(i, source)| (i, within(&source.rows)))
            .filter(|(_, part)| !part.is_empty())
            .collect()
    }

    /// What lines of the source are printed with.
    fn name(&self) -> Option<String> {
        let several = self.sources.len() > 1;
        let source = self.sources.get(self.source).filter(|_| several);
        match (self.name, source) {
            (Some(file), Some(source)) => Some(format!("{file}:{}", source.name)),
            (Some(file), None) => Some(file.to_owned()),
            (None, source) => source.map(|s| s.name.clone()),
        }
    }

    fn turn_to(&mut self, source: usize, printer: &mut Printer<'_>) -> Result<()> {
        if source != self.source {
            printer.end()?;
            self.source = source;
            printer.begin(self.name());
        }
        Ok(())
    }

    /// Goes through a chunk.
    fn opened(
        &mut self,
        number: usize,
        parts: &[(usize, Range<u64>)],
        chunk: &Chunk,
        context: &DecodeContext<'_>,
        printer: &mut Printer<'_>,
    ) -> Result<()> {
        let start = self.chunks[number].start;
        let count = (self.chunks[number].end - start) as usize;
        let (matching, mut rebuilt) = self.matching(chunk, count, context)?;
        let invert = self.options.invert;
        for (source, part) in parts {
            self.turn_to(*source, printer)?;
            let first = self.sources[*source].rows.start;
            let local = (part.start - start) as usize..(part.end - start) as usize;
            let is_hit = |row: &usize| matching.as_ref().is_some_and(|m| m[*row]) != invert;
            let hits = local.clone().filter(is_hit);
            if self.options.count && !self.options.only_matching {
                printer.count(hits.count() as u64);
                continue;
            }
            // Rows are counted from the source's first from here on.
            let of_source = |row: usize| start + row as u64 - first;
            let from = of_source(local.start);
            let shown = printer.choose(of_source(local.end), hits.map(of_source));
            let Some(&(top, _)) = shown.first() else {
                continue;
            };
            let of_chunk = |row: u64| (row + first - start) as usize;
            let here = || {
                shown
                    .iter()
                    .map(|s| s.0)
                    .filter(|row| *row >= from)
                    .map(of_chunk)
            };
            let at_hand = rebuilt
                .as_ref()
                .is_some_and(|r| here().all(|row| r.has(row)));
            if !at_hand {
                let mut wanted = vec![false; count];
                here().for_each(|row| wanted[row] = true);
                let memory = std::mem::take(&mut self.memory);
                rebuilt = Some(Rebuilt {
                    lines: chunk.rows(Some(&wanted), memory, context)?,
                    wanted: Some(wanted),
                    row: 0,
                    at: 0,
                });
            }
            let before = self.before(number, first + top.min(from), first + from)?;
            for &(row, hit) in &shown {
                let line = match (row.checked_sub(from), &mut rebuilt) {
                    (Some(_), Some(rebuilt)) => rebuilt.line(of_chunk(row)),
                    _ => before
                        .get((row - top) as usize)
                        .map_or(&[][..], |l| without_feed(l)),
                };
                printer.line(self.pattern, row, line, hit)?;
            }
        }
        self.memory = rebuilt.map(|r| r.lines.out).unwrap_or_default();
        Ok(())
    }

    /// Which lines of a chunk match (none if `None`), and what was rebuilt to find out.
    fn matching(
        &mut self,
        chunk: &Chunk,
        count: usize,
        context: &DecodeContext<'_>,
    ) -> Result<(Option<Vec<bool>>, Option<Rebuilt>)> {
        let held = match self.pattern.needles() {
            Some(needles) => search::rows(chunk, needles, context)?,
            None => Held::Unknown,
        };
        let wanted = match held {
            Held::None => return Ok((None, None)),
            Held::Rows { rows, exact } if exact && self.pattern.decides => {
                return Ok((Some(rows), None));
            }
            Held::Rows { rows, .. } => Some(rows),
            Held::Unknown => None,
        };
        let memory = std::mem::take(&mut self.memory);
        let lines = chunk.rows(wanted.as_deref(), memory, context)?;
        let rows: Option<Vec<usize>> = wanted
            .as_ref()
            .map(|wanted| (0..count).filter(|&row| wanted[row]).collect());
        let mut matching = vec![false; count];
        let mut any = false;
        self.pattern.lines(&lines, |i| {
            matching[rows.as_ref().map_or(i, |rows| rows[i])] = true;
            any = true;
        });
        let rebuilt = Rebuilt {
            lines,
            wanted,
            row: 0,
            at: 0,
        };
        Ok((any.then_some(matching), Some(rebuilt)))
    }

    /// Rows of the file that are before a chunk.
    fn before(&self, number: usize, from: u64, to: u64) -> Result<Vec<Vec<u8>>> {
        let mut all = Vec::new();
        let earlier = self.chunks[..number].iter().enumerate();
        for (number, rows) in earlier.filter(|(_, rows)| from < to && rows.end > from) {
            self.lines.open(number, |chunk, context| {
                let wanted: Vec<bool> = rows.clone().map(|r| (from..to).contains(&r)).collect();
                let lines = chunk.rows(Some(&wanted), Out::default(), context)?;
                all.extend((0..lines.len()).map(|i| lines.get(i).to_vec()));
                Ok(())
            })?;
        }
        Ok(all)
    }
}
