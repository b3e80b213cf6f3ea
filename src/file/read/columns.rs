//! Delivery column by column: each column's rows as soon as its bytes are there.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::buffer::Buffer;

use super::fetch::Fetcher;
use super::meta::FileMeta;
use crate::encoding::{Rows, Selection};
use crate::error::{Error, Result};
use crate::file::machine::{Machine, Step};

/// Reads a row range of some columns, one column after the other: layers of a KV cache are there
/// before the last one is read. Items are a column (position in the request) and its rows.
#[derive(Debug)]
pub struct ColumnScan {
    fetcher: Fetcher,
    todo: VecDeque<(usize, usize)>,
    rows: Range<u64>,
    elements: Option<Range<usize>>,
}

impl ColumnScan {
    /// Columns of the schema, in the order in which they shall come.
    pub fn new(meta: Arc<FileMeta>, columns: &[usize], rows: Range<u64>) -> Result<Self> {
        if rows.start > rows.end || rows.end > meta.rows() {
            return Err(Error::invalid(format!(
                "rows {}..{} of a table of {}",
                rows.start,
                rows.end,
                meta.rows()
            )));
        }
        let todo = super::scan::directory_positions(&meta, columns)?
            .into_iter()
            .enumerate()
            .collect();
        Ok(Self {
            fetcher: Fetcher::new(meta),
            todo,
            rows,
            elements: None,
        })
    }

    /// Only these elements of each row's list: some heads of a layer. All columns must be lists of one
    /// size that has them.
    pub fn with_elements(mut self, elements: Range<usize>) -> Self {
        self.elements = Some(elements);
        self
    }

    /// Bytes that were delivered so far.
    pub fn bytes_read(&self) -> u64 {
        self.fetcher.bytes_read
    }
}

impl Machine for ColumnScan {
    type Item = (usize, ArrayRef);

    fn step(&mut self) -> Result<Step<(usize, ArrayRef)>> {
        let Some(&(position, column)) = self.todo.front() else {
            return Ok(Step::Done);
        };
        let missing = self.fetcher.load(&[column])?;
        if !missing.is_empty() {
            return Ok(Step::Need(missing));
        }
        let selection = Selection {
            rows: Rows::All,
            elements: self.elements.clone(),
        };
        let missing = self.fetcher.plan(&[column], &self.rows, &selection)?;
        if !missing.is_empty() {
            return Ok(Step::Need(missing));
        }
        let array = self.fetcher.read(column, &self.rows, &selection)?;
        self.todo.pop_front();
        // Bytes of parents are kept for the column that comes next.
        let next = self.todo.front().map(|&(_, next)| next);
        if !self.fetcher.share_ancestors(column, next)? {
            self.fetcher.release(u64::MAX);
        }
        Ok(Step::Item((position, array)))
    }

    fn deliver(&mut self, offset: u64, bytes: Buffer) {
        self.fetcher.deliver(offset, bytes);
    }
}
