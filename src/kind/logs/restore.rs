//! The exact bytes of a stored log.

use std::io::Write;
use std::ops::Range;

use super::TEXT;
use crate::encoding::log::chunk::{Chunk, may_hold};
use crate::encoding::log::lines;
use crate::encoding::{DecodeContext, Models, NoParents, Node, Registry};
use crate::error::{Error, Result};
use crate::file::File;

/// The exact lines of a file, chunk by chunk.
pub struct StoredLines<'a> {
    file: &'a File,
    column: usize,
}

impl<'a> StoredLines<'a> {
    /// The lines of a file; an error if it holds no log.
    pub fn of(file: &'a File) -> Result<Self> {
        let mut directory = file.meta().directory().iter();
        let column = directory.position(|c| c.name == TEXT).ok_or_else(|| {
            Error::invalid(format!(
                "'{}' holds no log (import text with the kind 'logs')",
                file.meta().name()
            ))
        })?;
        file.column(column)?;
        Ok(Self { file, column })
    }

    /// Rows of each chunk.
    pub fn chunks(&self) -> Result<Vec<Range<u64>>> {
        let column = self.file.column(self.column)?;
        Ok(column.chunks.iter().map(|c| c.rows.clone()).collect())
    }

    /// Whether a chunk's texts may hold a run of letters or digits:
    /// [`may_hold`](crate::encoding::log::chunk::may_hold).
    pub fn may_hold(&self, chunk: usize, found: impl Fn(&[u8]) -> bool) -> Result<bool> {
        self.stored(chunk, |node, context| may_hold(node, found, context))
    }

    /// Unpacks a chunk and hands it to `visit`, with a context for rebuilding its rows.
    pub fn open<T>(
        &self,
        chunk: usize,
        visit: impl FnOnce(&Chunk, &DecodeContext<'_>) -> Result<T>,
    ) -> Result<T> {
        self.stored(chunk, |node, context| {
            visit(&Chunk::open(node, context)?, context)
        })
    }

    fn stored<T>(
        &self,
        chunk: usize,
        visit: impl FnOnce(&Node, &DecodeContext<'_>) -> Result<T>,
    ) -> Result<T> {
        let node = self.file.stored_chunk(self.column, chunk)?;
        if *node.encoding != *lines::ID {
            return Err(Error::unsupported(format!(
                "lines stored as '{}', which this version cannot search",
                node.encoding
            )));
        }
        let budget = self.file.column(self.column)?.chunks[chunk].budget(0);
        let models = Models::default();
        let context = DecodeContext::new(Registry::standard(), &models, &NoParents, budget);
        visit(&node, &context).map_err(|e| self.file.meta().locate(e, Some(self.column)))
    }
}

/// Writes the exact bytes of a stored log; gives their number.
pub fn restore(file: &File, out: &mut dyn Write) -> Result<u64> {
    let lines = StoredLines::of(file)?;
    let mut total = 0;
    for chunk in 0..lines.chunks()?.len() {
        lines.open(chunk, |chunk, context| {
            let rows = chunk.rows(None, context)?;
            total += rows.bytes.len() as u64;
            out.write_all(&rows.bytes)
                .map_err(|e| Error::io("cannot write the log", e))
        })?;
    }
    Ok(total)
}
