//! Splits CSV into records and cells, and tells a quoted cell from one that is not.
//!
//! RFC 4180 with the liberties of practice: any of four delimiters, `\n`, `\r\n` or a lone `\r` at
//! the end of a line, quotes inside a cell that does not begin with one are characters like others,
//! empty lines between records are skipped where a table has more than one column.

use std::io::Read;

use memchr::{memchr, memchr_iter, memchr2};

use crate::error::{Error, Result};

/// Bytes of one record at most: it has to be held in memory.
pub(crate) const RECORD_LIMIT: usize = 128 << 20;

/// What separates cells and lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Separators {
    pub(crate) delimiter: u8,
    /// `\n`, or `\r` where a file has no `\n` at all.
    pub(crate) newline: u8,
}

#[derive(Debug, Clone, Copy)]
struct Cell {
    start: usize,
    end: usize,
    quoted: bool,
    /// The text is in the side buffer, where doubled quotes are single.
    unescaped: bool,
}

/// How splitting a record ended.
enum Split {
    /// A record that ends before this position.
    Done(usize),
    /// The buffer ends inside the record.
    Short,
}

/// Reads records one after the other.
pub(crate) struct Records<R> {
    input: R,
    name: String,
    separators: Separators,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    ended: bool,
    /// Line of the next record, from 1.
    line: u64,
    consumed: u64,
    cells: Vec<Cell>,
    side: Vec<u8>,
    /// Whether the last record ended in `\r\n`, and in any newline.
    pub(crate) crlf: bool,
    pub(crate) terminated: bool,
}

/// A record: its cells and where it begins.
pub(crate) struct Record<'a> {
    buffer: &'a [u8],
    side: &'a [u8],
    cells: &'a [Cell],
    /// Line in the input, from 1.
    pub(crate) line: u64,
    /// All bytes, without the newline.
    pub(crate) raw: &'a [u8],
}

impl<'a> Record<'a> {
    pub(crate) fn len(&self) -> usize {
        self.cells.len()
    }

    /// A cell's bytes, and whether it was quoted.
    pub(crate) fn cell(&self, i: usize) -> (&'a [u8], bool) {
        let cell = &self.cells[i];
        let from = if cell.unescaped {
            self.side
        } else {
            self.buffer
        };
        (&from[cell.start..cell.end], cell.quoted)
    }

    /// All cells in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'a [u8], bool)> + '_ {
        (0..self.len()).map(|i| self.cell(i))
    }

    /// An empty line.
    pub(crate) fn is_blank(&self) -> bool {
        self.raw.is_empty()
    }
}

impl<R: Read> Records<R> {
    pub(crate) fn new(input: R, name: &str, separators: Separators) -> Self {
        Self {
            input,
            name: name.to_owned(),
            separators,
            buffer: vec![0; 256 << 10],
            start: 0,
            end: 0,
            ended: false,
            line: 1,
            consumed: 0,
            cells: Vec::new(),
            side: Vec::new(),
            crlf: false,
            terminated: false,
        }
    }

    /// Bytes of the input that the records so far came from.
    pub(crate) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Steps over a byte-order mark; to be called before the first record.
    pub(crate) fn skip_mark(&mut self) -> Result<bool> {
        while self.end < 3 && !self.ended {
            self.fill()?;
        }
        let mark = self.buffer[..self.end].starts_with(b"\xef\xbb\xbf");
        if mark {
            self.start = 3;
            self.consumed = 3;
        }
        Ok(mark)
    }

    /// Reads more, making room first.
    fn fill(&mut self) -> Result<()> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        // Twice the room each time, so that a long record is scanned a bounded number of times.
        if self.end * 2 > self.buffer.len() {
            if self.end > RECORD_LIMIT {
                return Err(Error::invalid(format!(
                    "{}, line {}: the record is longer than {} MiB; is a quote never closed?",
                    self.name,
                    self.line,
                    RECORD_LIMIT >> 20
                )));
            }
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        while self.end < self.buffer.len() {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(n) => self.end += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::io(format!("cannot read {}", self.name), e)),
            }
        }
        Ok(())
    }

    /// Whether the next line is empty.
    pub(crate) fn at_blank_line(&mut self) -> Result<bool> {
        while self.end - self.start < 2 && !self.ended {
            self.fill()?;
        }
        let rest = &self.buffer[self.start..self.end];
        let newline = self.separators.newline;
        Ok(rest.first() == Some(&newline) || (newline == b'\n' && rest.starts_with(b"\r\n")))
    }

    /// The next record, `None` at the end of the input.
    pub(crate) fn next(&mut self) -> Result<Option<Record<'_>>> {
        let next = loop {
            if self.start < self.end
                && let Split::Done(next) = self.split()?
            {
                break next;
            }
            if self.ended {
                if self.start == self.end {
                    return Ok(None);
                }
                break self.end;
            }
            self.fill()?;
        };
        let line = self.line;
        let from = self.start;
        let mut to = next;
        self.terminated = to > from && self.buffer[to - 1] == self.separators.newline;
        self.crlf = false;
        if self.terminated {
            to -= 1;
            self.line += 1;
            self.crlf =
                self.separators.newline == b'\n' && to > from && self.buffer[to - 1] == b'\r';
            to -= usize::from(self.crlf);
        }
        self.consumed += (next - from) as u64;
        self.start = next;
        self.side.clear();
        for cell in &mut self.cells {
            let bytes = &self.buffer[cell.start..cell.end];
            if !cell.quoted {
                continue;
            }
            self.line += memchr_iter(self.separators.newline, bytes).count() as u64;
            if cell.unescaped {
                let start = self.side.len();
                let mut rest = bytes;
                while let Some(quote) = memchr(b'"', rest) {
                    self.side.extend_from_slice(&rest[..=quote]);
                    rest = rest.get(quote + 2..).unwrap_or_default();
                }
                self.side.extend_from_slice(rest);
                cell.start = start;
                cell.end = self.side.len();
            }
        }
        Ok(Some(Record {
            buffer: &self.buffer,
            side: &self.side,
            cells: &self.cells,
            line,
            raw: &self.buffer[from..to],
        }))
    }

    /// Splits the record at the start of the buffer.
    fn split(&mut self) -> Result<Split> {
        self.cells.clear();
        let Separators { delimiter, newline } = self.separators;
        let bytes = &self.buffer[..self.end];
        let mut at = self.start;
        loop {
            let start = at;
            if bytes.get(at) == Some(&b'"') {
                let mut escaped = false;
                at += 1;
                let close = loop {
                    let Some(quote) = memchr(b'"', &bytes[at..]).map(|q| q + at) else {
                        if self.ended {
                            return Err(self.refuse(
                                self.cells.len() + 1,
                                "has a quote that is never closed; close it",
                            ));
                        }
                        return Ok(Split::Short);
                    };
                    match bytes.get(quote + 1) {
                        Some(b'"') => {
                            escaped = true;
                            at = quote + 2;
                        }
                        None if !self.ended => return Ok(Split::Short),
                        _ => break quote,
                    }
                };
                self.cells.push(Cell {
                    start: start + 1,
                    end: close,
                    quoted: true,
                    unescaped: escaped,
                });
                at = close + 1;
                match bytes.get(at) {
                    Some(b) if *b == delimiter => at += 1,
                    Some(b) if *b == newline => return Ok(Split::Done(at + 1)),
                    Some(b'\r') if bytes.get(at + 1) == Some(&b'\n') && newline == b'\n' => {
                        return Ok(Split::Done(at + 2));
                    }
                    Some(b'\r') if at + 1 == bytes.len() && !self.ended => return Ok(Split::Short),
                    None => return Ok(Split::Done(at)),
                    Some(_) => {
                        return Err(self.refuse(
                            self.cells.len(),
                            "goes on behind its closing quote; double the quotes inside of it",
                        ));
                    }
                }
                continue;
            }
            // Cells are short: a loop beats a vector search, which takes over for long ones.
            let near = bytes.len().min(at + 32);
            while at < near && bytes[at] != delimiter && bytes[at] != newline {
                at += 1;
            }
            if at == near {
                match memchr2(delimiter, newline, &bytes[at..]) {
                    Some(more) => at += more,
                    None if self.ended => at = bytes.len(),
                    None => return Ok(Split::Short),
                }
            }
            let last = bytes.get(at) != Some(&delimiter);
            let mut end = at;
            if last
                && at < bytes.len()
                && newline == b'\n'
                && end > start
                && bytes[end - 1] == b'\r'
            {
                end -= 1;
            }
            self.cells.push(Cell {
                start,
                end,
                quoted: false,
                unescaped: false,
            });
            if last {
                return Ok(Split::Done((at + 1).min(bytes.len())));
            }
            at += 1;
        }
    }

    /// A refusal that names the line and the cell, from 1.
    fn refuse(&self, column: usize, what: &str) -> Error {
        Error::invalid(format!(
            "{}, line {}, column {column}: the cell {what}",
            self.name, self.line
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out a few bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let n = self.1.min(self.0.len()).min(buffer.len());
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn split(text: &str) -> Vec<Vec<String>> {
        let separators = Separators {
            delimiter: b',',
            newline: b'\n',
        };
        let mut records = Records::new(Slow(text.as_bytes(), 3), "test", separators);
        records.buffer.truncate(4);
        let mut out = Vec::new();
        while let Some(record) = records.next().unwrap() {
            let show = |(cell, quoted): (&[u8], bool)| {
                let mark = if quoted { "'" } else { "" };
                format!("{mark}{}{mark}", String::from_utf8_lossy(cell))
            };
            out.push(record.iter().map(show).collect());
        }
        out
    }

    #[test]
    fn cells_come_apart_whatever_the_buffer() {
        assert_eq!(split("a,b\n1,2\n"), [["a", "b"], ["1", "2"]]);
        assert_eq!(split("a,\r\n,2"), [["a", ""], ["", "2"]]);
        assert_eq!(split("\"a\"\"b\",\"\"\n"), [["'a\"b'", "''"]]);
        assert_eq!(
            split("\"x\ny\",2\r\n3,\"4\"\r\n"),
            [["'x\ny'", "2"], ["3", "'4'"]]
        );
        assert_eq!(split("\"\"\"\"\n"), [["'\"'"]]);
        assert_eq!(split("a\"b,c\n"), [["a\"b", "c"]]);
        assert_eq!(split("a,b\r"), [["a", "b\r"]]);
    }

    #[test]
    fn lines_are_counted_inside_quotes() {
        let separators = Separators {
            delimiter: b',',
            newline: b'\n',
        };
        let text = "\"x\ny\"\nb\n\"c";
        let mut records = Records::new(text.as_bytes(), "t.csv", separators);
        assert_eq!(records.next().unwrap().unwrap().line, 1);
        assert_eq!(records.next().unwrap().unwrap().line, 3);
        let error = records.next().err().unwrap().to_string();
        assert!(error.starts_with("t.csv, line 4, column 1:"), "{error}");
    }
}
