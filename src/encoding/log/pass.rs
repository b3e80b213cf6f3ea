//! Passing over columns, their values unread.

use super::read::{TableReader, unknown};
use super::scan::{NUMBER, TIME};
use super::streams::width;
use super::values::{WIDEST, too_long};
use super::write::MAX_DEPTH;
use crate::error::{Error, Result};

impl TableReader<'_> {
    /// Goes on after a column.
    pub(super) fn pass_column(&mut self, kind: u8, rows: usize, depth: usize) -> Result<()> {
        if kind >= TIME {
            return self.pass_integers(rows);
        }
        if kind != NUMBER {
            return self.pass_texts(rows, depth);
        }
        match self.meta.byte()? {
            b'S' => return self.pass_texts(rows, depth),
            b'C' | b'T' => {}
            b'F' => {
                self.meta.count(WIDEST)?;
            }
            b'V' => {
                self.codes.take(rows)?;
            }
            other => return Err(unknown(other)),
        }
        self.pass_integers(rows)
    }

    fn pass_texts(&mut self, rows: usize, depth: usize) -> Result<()> {
        match self.meta.byte()? {
            b'R' => self.pass_values(rows, depth),
            b'D' => {
                let entries = self.meta.count(rows)?;
                self.pass_codes(rows, entries)?;
                self.pass_values(entries, depth)
            }
            other => Err(unknown(other)),
        }
    }

    fn pass_codes(&mut self, rows: usize, below: usize) -> Result<()> {
        match self.meta.byte()? {
            b'p' => self.pass_planes(true, rows, width(below.saturating_sub(1) as u64)),
            other => Err(unknown(other)),
        }
    }

    fn pass_planes(&mut self, codes: bool, rows: usize, width: usize) -> Result<()> {
        let bytes = rows.checked_mul(width).filter(|_| width <= 8);
        let bytes = bytes.ok_or_else(|| Error::corrupt(format!("values of {width} bytes")))?;
        match codes {
            true => self.codes.take(bytes)?,
            false => self.numbers.take(bytes)?,
        };
        Ok(())
    }

    fn pass_values(&mut self, count: usize, depth: usize) -> Result<()> {
        match self.meta.byte()? {
            b'h' | b'H' => {
                let len = self.meta.count(1 << 30)?;
                let bytes = count.checked_mul(len).ok_or_else(too_long)?;
                self.codes.take(bytes / 2)?;
                Ok(())
            }
            b'x' => self.text.pass_lines(count),
            b'y' => {
                for _ in 0..count {
                    let len = self.numbers.count(1 << 31)?;
                    self.text.take(len)?;
                }
                Ok(())
            }
            b't' if depth < MAX_DEPTH => {
                let head = self.head()?;
                for (kind, rows) in head.columns.into_iter().filter(|(_, rows)| *rows > 0) {
                    self.pass_column(kind, rows, depth + 1)?;
                }
                Ok(())
            }
            other => Err(unknown(other)),
        }
    }

    fn pass_integers(&mut self, rows: usize) -> Result<()> {
        match self.meta.byte()? {
            b'c' => {
                self.meta.number()?;
                Ok(())
            }
            b'd' => {
                let entries = self.meta.count(rows)?;
                for _ in 0..entries {
                    self.numbers.number()?;
                }
                self.pass_codes(rows, entries)
            }
            form @ (b'l' | b'r') => {
                self.meta.number()?;
                let width = usize::from(self.meta.byte()?);
                self.pass_planes(false, rows - usize::from(form == b'l'), width)
            }
            other => Err(unknown(other)),
        }
    }
}
