//! Search in stored logs, with ripgrep's options, output and answers.
//!
//! A pattern that is a literal, or holds one, is first looked for in the text that lines have in
//! common and in the distinct values of their columns; only lines that may match are rebuilt. Bytes
//! are taken as they are, as with ripgrep's `-a`.

use std::collections::VecDeque;
use std::io::Write;
use std::path::PathBuf;

use crate::encoding::DecodeContext;
use crate::encoding::log::chunk::Chunk;
use crate::error::{Error, Result};
use crate::file::File;

use super::StoredLines;
use pattern::Pattern;

mod candidates;
mod pattern;

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
    /// `-F`: the pattern is no regular expression.
    pub fixed: bool,
    /// `-o`: only what matches, each on a line; with `count`, how many of those.
    pub only_matching: bool,
    /// `-m`: at most so many lines of a file.
    pub max_count: Option<u64>,
    /// `-A`: lines after each.
    pub after: usize,
    /// `-B`: lines before each.
    pub before: usize,
}

/// Searches files and writes what is found; whether something was. An error in one file ends the
/// search after the files before it.
pub fn grep(
    pattern: &str,
    files: &[PathBuf],
    options: &GrepOptions,
    out: &mut dyn Write,
) -> Result<bool> {
    let pattern = Pattern::new(pattern, options.fixed, options.ignore_case)?;
    let mut found = false;
    for path in files {
        let name = (files.len() > 1).then(|| path.display().to_string());
        let file = File::open(path)?;
        found |= grep_file(&pattern, &file, name.as_deref(), options, out)?;
    }
    Ok(found)
}

fn grep_file(
    pattern: &Pattern,
    file: &File,
    name: Option<&str>,
    options: &GrepOptions,
    out: &mut dyn Write,
) -> Result<bool> {
    let lines = StoredLines::of(file)?;
    let mut search = Search {
        pattern,
        options,
        name,
        out,
        found: 0,
        matches: 0,
        before: VecDeque::new(),
        owed: 0,
        printed: None,
    };
    for (chunk, rows) in lines.chunks()?.into_iter().enumerate() {
        if search.is_done() {
            break;
        }
        let needs_rows = options.invert || !search.before.is_empty() || search.owed > 0;
        if let Some(required) = pattern.required().filter(|_| !needs_rows)
            && !required.is_hexadecimal()
            && !lines.may_hold(chunk, |text| required.is_in(text))?
        {
            // Lines before a match in the next chunk may be wanted.
            if options.before == 0 || options.count {
                continue;
            }
        }
        lines.open(chunk, |chunk, context| {
            search.chunk(chunk, rows.start, (rows.end - rows.start) as usize, context)
        })?;
    }
    search.finish()
}

/// The search of one file.
struct Search<'a> {
    pattern: &'a Pattern,
    options: &'a GrepOptions,
    name: Option<&'a str>,
    out: &'a mut dyn Write,
    found: u64,
    matches: u64,
    /// The last lines that were not printed.
    before: VecDeque<(u64, Vec<u8>)>,
    /// Lines to print after the last match.
    owed: usize,
    /// The row that was printed last.
    printed: Option<u64>,
}

impl Search<'_> {
    fn is_done(&self) -> bool {
        self.options.max_count.is_some_and(|m| self.found >= m) && self.owed == 0
    }

    fn chunk(
        &mut self,
        chunk: &Chunk,
        first: u64,
        rows: usize,
        context: &DecodeContext<'_>,
    ) -> Result<()> {
        let options = self.options;
        let mut candidates = None;
        if let Some(required) = self.pattern.required() {
            let found = candidates::rows(chunk, required).unwrap_or_else(|| vec![false; rows]);
            if required.decides && options.count && !options.only_matching {
                let held = found.iter().filter(|h| **h).count();
                let lines = if options.invert { rows - held } else { held };
                let left = options.max_count.map_or(u64::MAX, |m| m - self.found);
                self.found += (lines as u64).min(left);
                return Ok(());
            }
            candidates = Some(found);
        }
        let context_wanted = !options.count && (options.before > 0 || options.after > 0);
        let wanted = candidates
            .as_ref()
            .filter(|_| !options.invert && !context_wanted);
        let none = candidates.as_ref().is_some_and(|c| !c.contains(&true));
        if none && !options.invert && options.before == 0 && self.owed == 0 {
            return Ok(());
        }
        let texts = chunk.rows(wanted.map(Vec::as_slice), context)?;
        let mut next = 0;
        for row in 0..rows {
            if wanted.is_some_and(|w| !w[row]) {
                continue;
            }
            let line = texts.get(next);
            next += 1;
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let may = candidates.as_ref().is_none_or(|c| c[row]);
            let matched = (may && self.pattern.matches(line)) != options.invert;
            self.line(first + row as u64, line, matched)?;
            if self.is_done() {
                break;
            }
        }
        Ok(())
    }

    fn line(&mut self, row: u64, line: &[u8], matched: bool) -> Result<()> {
        let full = self.options.max_count.is_some_and(|m| self.found >= m);
        if matched && !full {
            self.found += 1;
            if self.options.only_matching && !self.options.invert {
                self.matches += self.pattern.find(line).count() as u64;
            }
            if self.options.count {
                return Ok(());
            }
            for (row, line) in std::mem::take(&mut self.before) {
                self.print(row, &line, b'-')?;
            }
            self.owed = self.options.after;
            if !self.options.only_matching || self.options.invert {
                return self.print(row, line, b':');
            }
            let found: Vec<&[u8]> = self.pattern.find(line).collect();
            for part in found {
                self.print(row, part, b':')?;
            }
            return Ok(());
        }
        if self.options.count {
            return Ok(());
        }
        if self.owed > 0 {
            self.owed -= 1;
            // With only what matches, what is around it has no text to show.
            return match self.options.only_matching {
                true => Ok(()),
                false => self.print(row, line, b'-'),
            };
        }
        if self.options.before > 0 && !self.options.only_matching {
            if self.before.len() == self.options.before {
                self.before.pop_front();
            }
            self.before.push_back((row, line.to_vec()));
        }
        Ok(())
    }

    fn print(&mut self, row: u64, line: &[u8], mark: u8) -> Result<()> {
        let around = self.options.before > 0 || self.options.after > 0;
        let apart = self.printed.is_some_and(|last| row > last + 1);
        let mut text = Vec::with_capacity(line.len() + 32);
        if around && apart {
            text.extend_from_slice(b"--\n");
        }
        self.printed = Some(row);
        if let Some(name) = self.name {
            text.extend_from_slice(name.as_bytes());
            text.push(mark);
        }
        if self.options.line_number {
            text.extend_from_slice((row + 1).to_string().as_bytes());
            text.push(mark);
        }
        text.extend_from_slice(line);
        text.push(b'\n');
        self.write(&text)
    }

    fn write(&mut self, text: &[u8]) -> Result<()> {
        self.out
            .write_all(text)
            .map_err(|e| Error::io("cannot write what was found", e))
    }

    fn finish(mut self) -> Result<bool> {
        let count = match self.options.only_matching && !self.options.invert {
            true => self.matches,
            false => self.found,
        };
        if self.options.count && count > 0 {
            let text = match self.name {
                Some(name) => format!("{name}:{count}\n"),
                None => format!("{count}\n"),
            };
            self.write(text.as_bytes())?;
        }
        Ok(self.found > 0)
    }
}
