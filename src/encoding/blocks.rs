//! Rows stored in independent blocks: which blocks a selection of rows touches.
//!
//! A decoder of blocks restores the touched ones, one after the other, and takes the selected rows
//! of what comes out.

use std::ops::Range;

use arrow::array::BooleanBufferBuilder;

use super::context::DecodeContext;
use super::selection::{Rows, Selection};
use crate::error::{Error, Result};

/// Rows cut into blocks of the same number of rows; the last block may be shorter.
#[derive(Debug, Clone, Copy)]
pub struct Blocks {
    rows: usize,
    per_block: usize,
}

impl Blocks {
    /// Fails if a block holds no rows or there are not `count` blocks.
    pub fn new(rows: usize, per_block: usize, count: usize) -> Result<Self> {
        match per_block > 0 && rows.div_ceil(per_block) == count {
            true => Ok(Self { rows, per_block }),
            false => Err(Error::corrupt(format!(
                "{rows} rows in {count} blocks of {per_block}"
            ))),
        }
    }

    /// Rows a block so that `rows` values of `bytes` bytes in all make blocks of about `target`
    /// bytes; a power of two of at least 64, or all rows.
    pub fn rows_for(rows: usize, bytes: usize, target: usize) -> usize {
        let fit = (rows as u64 * target as u64) / (bytes as u64).max(1);
        let fit = (fit.clamp(64, 1 << 31) as usize + 1).next_power_of_two() / 2;
        fit.min(rows.max(1))
    }

    /// Rows of blocks `blocks`.
    pub fn rows_of(&self, blocks: &Range<usize>) -> Range<usize> {
        blocks.start * self.per_block..(blocks.end * self.per_block).min(self.rows)
    }

    /// The blocks that hold selected rows, as maximal ranges of neighbours, ascending.
    pub fn touched(&self, selection: &Selection) -> Vec<Range<usize>> {
        let block = |row: usize| row / self.per_block;
        match &selection.rows {
            Rows::All | Rows::Range(_) => {
                let bounds = selection.bounds(self.rows);
                let last = bounds.end.checked_sub(1).filter(|_| !bounds.is_empty());
                last.map(|last| block(bounds.start)..block(last) + 1)
                    .into_iter()
                    .collect()
            }
            Rows::Indices(_) | Rows::Mask(_) => {
                let mut found: Vec<Range<usize>> = Vec::new();
                for row in selection.iter(self.rows) {
                    match found.last_mut() {
                        Some(last) if block(row) < last.end => {}
                        Some(last) if block(row) == last.end => last.end += 1,
                        _ => found.push(block(row)..block(row) + 1),
                    }
                }
                found
            }
        }
    }

    /// All rows of the touched blocks.
    pub fn covered(
        &self,
        touched: &[Range<usize>],
        context: &DecodeContext<'_>,
    ) -> Result<Selection> {
        let count = touched.iter().map(|b| self.rows_of(b).len()).sum();
        match touched {
            [] => Ok(Selection::range(0..0)),
            _ if count == self.rows => Ok(Selection::all()),
            [one] => Ok(Selection::range(self.rows_of(one))),
            many => spans(
                many.iter().map(|b| self.rows_of(b)),
                count,
                self.rows,
                context,
            ),
        }
    }

    /// The selected rows, counted in the rows of the touched blocks.
    pub fn within(&self, touched: &[Range<usize>], selection: &Selection) -> Selection {
        let first = touched.first().map_or(0, |b| self.rows_of(b).start);
        match &selection.rows {
            Rows::All => Selection::all(),
            Rows::Range(r) => {
                let start = r.start.saturating_sub(first);
                Selection::range(start..start + r.len())
            }
            Rows::Mask(mask) => {
                let mut bits = BooleanBufferBuilder::new(0);
                for blocks in touched {
                    let rows = self.rows_of(blocks);
                    bits.append_buffer(&mask.slice(rows.start, rows.len()));
                }
                Selection::mask(bits.finish())
            }
            Rows::Indices(indices) => {
                let (mut i, mut before) = (0, 0);
                let moved = indices.iter().map(|&row| {
                    while self.rows_of(&touched[i]).end <= row as usize {
                        before += self.rows_of(&touched[i]).len();
                        i += 1;
                    }
                    (row as usize - self.rows_of(&touched[i]).start + before) as u32
                });
                Rows::Indices(moved.collect()).into()
            }
        }
    }
}

/// Ascending spans of rows, `count` rows in all, as a selection of `len` rows.
pub fn spans(
    spans: impl Iterator<Item = Range<usize>>,
    count: usize,
    len: usize,
    context: &DecodeContext<'_>,
) -> Result<Selection> {
    if count * 32 < len {
        context.reserve_rows(count, 4)?;
        let mut indices = Vec::with_capacity(count);
        spans.for_each(|s| indices.extend((s.start..s.end).map(|i| i as u32)));
        return Ok(Rows::Indices(indices.into()).into());
    }
    context.reserve(len as u64 / 8 + 8)?;
    let mut mask = BooleanBufferBuilder::new(len);
    for span in spans {
        mask.append_n(span.start - mask.len(), false);
        mask.append_n(span.len(), true);
    }
    mask.append_n(len - mask.len(), false);
    Ok(Selection::mask(mask.finish()))
}

/// Where stored blocks lie, from their lengths. Fails unless they fill `bytes` bytes.
pub fn places(lengths: &[u32], bytes: u64) -> Result<Vec<u64>> {
    let mut ends = Vec::with_capacity(lengths.len() + 1);
    let mut end = 0u64;
    ends.push(end);
    for &length in lengths {
        end += u64::from(length);
        ends.push(end);
    }
    match end == bytes {
        true => Ok(ends),
        false => Err(Error::corrupt(format!(
            "blocks of {end} bytes in all in a buffer of {bytes}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selected_rows_are_found_again_in_the_touched_blocks() {
        let blocks = Blocks::new(1000, 64, 16).unwrap();
        let masked = |r: usize| r % 400 < 3;
        let selections = [
            Selection::all(),
            Selection::range(70..130),
            Selection::range(999..1000),
            Selection::range(5..5),
            Selection::indices(vec![0, 63, 64, 500, 999]).unwrap(),
            Rows::Mask((0..1000).map(masked).collect()).into(),
        ];
        for selection in selections {
            let touched = blocks.touched(&selection);
            let rows: Vec<usize> = touched.iter().flat_map(|b| blocks.rows_of(b)).collect();
            let within = blocks.within(&touched, &selection);
            let found: Vec<usize> = within.iter(rows.len()).map(|i| rows[i]).collect();
            assert_eq!(found, selection.iter(1000).collect::<Vec<_>>());
        }
    }

    #[test]
    fn block_sizes_are_powers_of_two() {
        assert_eq!(Blocks::rows_for(100_000, 1_000_000, 8192), 512);
        assert_eq!(Blocks::rows_for(10, 1000, 8192), 10);
        assert_eq!(Blocks::rows_for(1000, 1 << 30, 8192), 64);
        assert!(Blocks::new(10, 0, 1).is_err() && Blocks::new(10, 4, 2).is_err());
    }
}
