//! Verification: every checksum of a file, and every chunk decoded.

use std::sync::Arc;

use super::local::File;
use super::machine::Pool;
use super::postscript::START_MAGIC;
use super::read::{Fetcher, Opener};
use crate::encoding::{Rows, Selection};
use crate::error::{Error, Result};

/// What a verification looked at and found.
#[derive(Debug, Default)]
pub struct VerifyReport {
    /// Columns, hidden ones too.
    pub columns: usize,
    /// Segments whose checksums were computed.
    pub segments: usize,
    /// Chunks that were decoded.
    pub chunks: usize,
    /// Bytes read.
    pub bytes: u64,
    /// What is damaged; empty for a sound file.
    pub problems: Vec<Error>,
}

impl VerifyReport {
    /// A damaged parent shows in each of its children: it is told once.
    fn add(&mut self, problem: Error) {
        let text = problem.to_string();
        if self.problems.iter().all(|p| p.to_string() != text) {
            self.problems.push(problem);
        }
    }
}

impl File {
    /// Reads all of the file: checks each checksum, decodes each chunk and each zone map. Goes on
    /// after a damaged column. `progress` is told the columns done and the columns there are.
    pub fn verify(&self, mut progress: impl FnMut(usize, usize)) -> Result<VerifyReport> {
        let meta = self.meta();
        let start = self.source().read_at(0..START_MAGIC.len() as u64)?;
        if start.as_slice() != START_MAGIC {
            let error = Error::corrupt("the file does not start as a .pil file does");
            return Err(meta.locate(error, None));
        }
        let total = meta.directory().len();
        let mut report = VerifyReport::default();
        let mut sound = Vec::with_capacity(total);
        for index in 0..total {
            match self.verify_segments(index, &mut report) {
                Ok(()) => sound.push(true),
                Err(e @ (Error::Io { .. } | Error::Unsupported { .. })) => return Err(e),
                Err(e) => {
                    sound.push(false);
                    report.add(meta.locate(e, Some(index)));
                }
            }
            progress(index / 2, total);
        }
        for index in 0..total {
            // A damaged column was reported; its children cannot be decoded.
            let ancestors_sound = self.ancestors(index).iter().all(|&a| sound[a]);
            if ancestors_sound && let Err(e) = self.verify_values(index, &mut report) {
                if let Error::Io { .. } | Error::Unsupported { .. } = e {
                    return Err(e);
                }
                sound[index] = false;
                report.add(meta.locate(e, Some(index)));
            }
            progress((total + index) / 2, total);
        }
        for (shown, &index) in meta.shown().iter().enumerate() {
            if sound[index] {
                for (_, e) in self.zones(&[shown])?.unreadable {
                    report.add(meta.locate(e, Some(index)));
                }
            }
        }
        report.columns = total;
        progress(total, total);
        Ok(report)
    }

    /// Loads a column's block, reads all its segments and checks them.
    fn verify_segments(&self, index: usize, report: &mut VerifyReport) -> Result<()> {
        self.load_columns(&[index])?;
        let column = Arc::clone(self.meta().column(index)?);
        for segment in &column.segments {
            let all = 0..segment.len();
            let read = segment.plan(std::slice::from_ref(&all));
            let mut pool = Pool::default();
            for range in segment.file_ranges(&read) {
                report.bytes += range.end - range.start;
                pool.put(range.start, self.source().read_at(range)?);
            }
            segment.verified(&read, &|range| pool.fetch(range))?;
            report.segments += 1;
        }
        Ok(())
    }

    /// Decodes all chunks of a column.
    fn verify_values(&self, index: usize, report: &mut VerifyReport) -> Result<()> {
        let meta = self.meta();
        let mut fetcher = Fetcher::new(Arc::clone(meta));
        let selection = Selection::from(Rows::All);
        let chunks: Vec<_> = meta.column(index)?.chunks.iter().collect();
        for rows in chunks.iter().map(|c| c.rows.clone()) {
            loop {
                let missing = fetcher.plan(&[index], &rows, &selection)?;
                if missing.is_empty() {
                    break;
                }
                for range in missing {
                    fetcher.deliver(range.start, self.source().read_at(range.clone())?);
                }
            }
            let array = fetcher.read(index, &rows, &selection)?;
            if array.len() as u64 != rows.end - rows.start {
                return Err(Error::corrupt(format!(
                    "rows {}..{} decode to {} values",
                    rows.start,
                    rows.end,
                    array.len()
                )));
            }
            fetcher.release(rows.end);
        }
        report.chunks += chunks.len();
        Ok(())
    }

    /// A column and all that it is conditioned on, as far as their blocks could be loaded.
    fn ancestors(&self, index: usize) -> Vec<usize> {
        let mut found = vec![index];
        let mut at = 0;
        while let Some(&next) = found.get(at) {
            at += 1;
            if let Ok(column) = self.meta().column(next) {
                let new: Vec<usize> = column
                    .parents
                    .iter()
                    .copied()
                    .filter(|p| !found.contains(p))
                    .collect();
                found.extend(new);
            }
        }
        found
    }

    /// Loads the blocks of columns, given by their position in the directory.
    pub(crate) fn load_columns(&self, columns: &[usize]) -> Result<()> {
        let mut fetcher = Fetcher::new(Arc::clone(self.meta()));
        loop {
            let missing = fetcher.load(columns)?;
            if missing.is_empty() {
                return Ok(());
            }
            for range in missing {
                fetcher.deliver(range.start, self.source().read_at(range.clone())?);
            }
        }
    }

    /// Opens a file on disk for [`File::verify`]: only its directory, so that one damaged column
    /// block does not hide the others.
    pub fn open_directory(path: impl AsRef<std::path::Path>) -> Result<Self> {
        Self::open_with(path, Opener::directory_only)
    }
}
