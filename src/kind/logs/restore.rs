//! The exact bytes of a stored log.

use std::io::Write;
use std::ops::Range;

use super::TEXT;
use crate::encoding::log::chunk::{Chunk, letter_buffers};
use crate::encoding::log::lines;
use crate::encoding::log::needle::Needle;
use crate::encoding::log::search::may_hold;
use crate::encoding::log::values::Out;
use crate::encoding::{DecodeContext, Models, NoParents, Node, Registry};
use crate::error::{Error, Result};
use crate::file::File;

/// Key of the file's metadata under which its sources are listed: for each a line of the number of its
/// rows, a blank, and its name.
pub(super) const SOURCES: &str = "logs.sources";

/// A source that was imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSource {
    /// Its path as it was given.
    pub name: String,
    /// Its lines.
    pub rows: Range<u64>,
}

/// The exact lines of a file, chunk by chunk.
#[derive(Clone)]
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

    /// The sources that were imported and the rows of each, in order; those without lines are left
    /// out.
    pub fn sources(&self) -> Result<Vec<StoredSource>> {
        let meta = self.file.meta();
        let all = 0..meta.rows();
        let stored = meta.user_metadata().get(SOURCES);
        let Some(stored) = stored else {
            let name = meta.name().to_owned();
            return Ok(vec![StoredSource { name, rows: all }]);
        };
        let wrong = || Error::corrupt("the list of sources does not fit the rows");
        let mut sources = Vec::new();
        let mut at = 0u64;
        for line in stored.lines() {
            let (rows, name) = line.split_once(' ').ok_or_else(wrong)?;
            let rows: u64 = rows.parse().map_err(|_| wrong())?;
            let end = at.checked_add(rows).filter(|&end| end <= all.end);
            let rows = at..end.ok_or_else(wrong)?;
            at = rows.end;
            if !rows.is_empty() {
                let name = name.to_owned();
                sources.push(StoredSource { name, rows });
            }
        }
        match at == all.end {
            true => Ok(sources),
            false => Err(wrong()),
        }
    }

    /// Whether a chunk may hold one of some texts, as far as its letters tell. Only those are read.
    pub fn may_hold(&self, chunk: usize, needles: &[Needle]) -> Result<bool> {
        let read = |node: &Node| letter_buffers(node).ok();
        let node = self.file.stored_chunk(self.column, chunk, &read)?;
        self.with(chunk, &node, |context| may_hold(&node, needles, context))
    }

    /// Unpacks a chunk and hands it to `visit`, with a context for rebuilding its rows. Columns are
    /// read when they are asked for.
    pub fn open<T>(
        &self,
        chunk: usize,
        visit: impl FnOnce(&Chunk, &DecodeContext<'_>) -> Result<T>,
    ) -> Result<T> {
        let node = self.file.stored_chunk(self.column, chunk, &|_| None)?;
        self.with(chunk, &node, |context| {
            visit(&Chunk::open(&node, true, context)?, context)
        })
    }

    fn with<T>(
        &self,
        chunk: usize,
        node: &Node,
        visit: impl FnOnce(&DecodeContext<'_>) -> Result<T>,
    ) -> Result<T> {
        if *node.encoding != *lines::ID {
            return Err(Error::unsupported(format!(
                "lines stored as '{}', which this version cannot search",
                node.encoding
            )));
        }
        let budget = self.file.column(self.column)?.chunks[chunk].budget(0);
        let models = Models::default();
        let context = DecodeContext::new(Registry::standard(), &models, &NoParents, budget);
        visit(&context).map_err(|e| self.file.meta().locate(e, Some(self.column)))
    }
}

/// Writes the exact bytes of a stored log; gives their number.
pub fn restore(file: &File, out: &mut dyn Write) -> Result<u64> {
    let lines = StoredLines::of(file)?;
    let mut total = 0;
    let mut memory = Out::default();
    for chunk in 0..lines.chunks()?.len() {
        lines.open(chunk, |chunk, context| {
            let rows = chunk.rows(None, std::mem::take(&mut memory), context)?;
            total += rows.out.len() as u64;
            out.write_all(rows.out.as_slice())
                .map_err(|e| Error::io("cannot write the log", e))?;
            memory = rows.out;
            Ok(())
        })?;
    }
    Ok(total)
}
