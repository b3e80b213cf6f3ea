//! What ripgrep prints, and where it stops.

use std::io::Write;

use super::GrepOptions;
use super::pattern::Pattern;
use crate::error::{Error, Result};

/// Prints what is found, file by file.
pub struct Printer<'a> {
    options: &'a GrepOptions,
    out: &'a mut dyn Write,
    /// Lines around hits.
    before: u64,
    after: u64,
    name: Option<String>,
    /// Lines of the file that were found.
    found: u64,
    /// Matches in them.
    matches: u64,
    /// The first row that was not chosen yet.
    next: u64,
    /// Rows to print after the last hit.
    owed: u64,
    /// The row of the file that was printed last.
    printed: Option<u64>,
    /// Whether some file printed something.
    has_printed: bool,
    found_any: bool,
    broken: bool,
    line: Vec<u8>,
}

impl<'a> Printer<'a> {
    /// A printer for these options.
    pub fn new(options: &'a GrepOptions, out: &'a mut dyn Write) -> Self {
        let around = !options.count;
        Self {
            options,
            out,
            before: if around { options.before as u64 } else { 0 },
            after: if around { options.after as u64 } else { 0 },
            name: None,
            found: 0,
            matches: 0,
            next: 0,
            owed: 0,
            printed: None,
            has_printed: false,
            found_any: false,
            broken: false,
            line: Vec::new(),
        }
    }

    /// Whether some file had a hit.
    pub fn found_any(&self) -> bool {
        self.found_any
    }

    /// Whether nothing can be written any more.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Begins a file; `name` stands before its lines.
    pub fn begin(&mut self, name: Option<String>) {
        self.name = name;
        (self.found, self.matches, self.next, self.owed) = (0, 0, 0, 0);
        self.printed = None;
    }

    /// Whether the file has as many hits as are wanted.
    pub fn is_done(&self) -> bool {
        self.is_full() && self.owed == 0
    }

    /// Whether lines after the last hit are still wanted.
    pub fn wants_more(&self) -> bool {
        self.owed > 0
    }

    fn is_full(&self) -> bool {
        self.options
            .max_count
            .is_some_and(|most| self.found >= most)
    }

    /// Counts hits.
    pub fn count(&mut self, hits: u64) {
        let left = self.options.max_count.map_or(u64::MAX, |m| m - self.found);
        self.found += hits.min(left);
    }

    /// Chooses the rows to print, of those up to `end`, and tells which of them are hits.
    pub fn choose(&mut self, end: u64, hits: impl Iterator<Item = u64>) -> Vec<(u64, bool)> {
        let mut shown = Vec::new();
        // Hits beyond what is wanted are printed as such, where they are after others.
        let mut beyond = Vec::new();
        for hit in hits {
            if self.is_full() {
                if hit >= self.next + self.owed {
                    break;
                }
                beyond.push(hit);
                continue;
            }
            self.pay(hit, &[], &mut shown);
            let from = hit.saturating_sub(self.before).max(self.next);
            shown.extend((from..hit).map(|row| (row, false)));
            shown.push((hit, true));
            self.next = hit + 1;
            self.owed = self.after;
            self.found += 1;
        }
        self.pay(end, &beyond, &mut shown);
        shown
    }

    /// Rows after the last hit, up to `end`.
    fn pay(&mut self, end: u64, hits: &[u64], shown: &mut Vec<(u64, bool)>) {
        let paid = self.owed.min(end.saturating_sub(self.next));
        let is_hit = |row: u64| hits.binary_search(&row).is_ok();
        shown.extend((self.next..self.next + paid).map(|row| (row, is_hit(row))));
        self.next += paid;
        self.owed -= paid;
    }

    /// Prints a line of the file that was chosen.
    pub fn line(&mut self, pattern: &Pattern, row: u64, line: &[u8], hit: bool) -> Result<()> {
        let parts = self.options.only_matching && !self.options.invert;
        match (parts, hit) {
            (true, true) if self.options.count => {
                self.matches += pattern.find(line).count() as u64;
                Ok(())
            }
            (true, true) => {
                let found: Vec<&[u8]> = pattern.find(line).collect();
                found
                    .into_iter()
                    .try_for_each(|part| self.print(row, part, b':'))
            }
            (true, false) if self.options.count => Ok(()),
            _ => self.print(row, line, if hit { b':' } else { b'-' }),
        }
    }

    fn print(&mut self, row: u64, line: &[u8], mark: u8) -> Result<()> {
        let apart = match self.printed {
            Some(last) => row > last + 1,
            None => self.has_printed,
        };
        self.line.clear();
        if self.before + self.after > 0 && apart {
            self.line.extend_from_slice(b"--\n");
        }
        self.printed = Some(row);
        self.has_printed = true;
        if let Some(name) = &self.name {
            self.line.extend_from_slice(name.as_bytes());
            self.line.push(mark);
        }
        if self.options.line_number {
            self.line
                .extend_from_slice((row + 1).to_string().as_bytes());
            self.line.push(mark);
        }
        self.line.extend_from_slice(line);
        self.line.push(b'\n');
        self.write()
    }

    fn write(&mut self) -> Result<()> {
        let written = self.out.write_all(&self.line);
        written.map_err(|e| {
            self.broken = true;
            Error::io("cannot write what was found", e)
        })
    }

    /// Ends a file.
    pub fn end(&mut self) -> Result<()> {
        self.found_any |= self.found > 0;
        let parts = self.options.only_matching && !self.options.invert;
        let count = if parts { self.matches } else { self.found };
        if !self.options.count || count == 0 {
            return Ok(());
        }
        let name = self.name.as_deref().unwrap_or_default();
        let line = match (self.options.files_with_matches, &self.name) {
            (true, _) => format!("{name}\n"),
            (false, Some(_)) => format!("{name}:{count}\n"),
            (false, None) => format!("{count}\n"),
        };
        self.line.clear();
        self.line.extend_from_slice(line.as_bytes());
        self.write()
    }
}
