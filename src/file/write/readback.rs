//! Written means read back: before a file is published its own reader decodes all of it from the bytes
//! that were appended, and what comes out is compared with what was given.
//!
//! Columns that are conditioned on each other are read together, chunk by chunk, so each chunk is
//! decoded once; chunks are shared out among threads.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, ArrayRef};
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;

use super::zones::zones_fingerprint;
use crate::encoding::{Model, ModelDigest, ModelStore, Node, Selection};
use crate::error::{Error, Result};
use crate::file::fingerprint::fingerprint;
use crate::file::machine::{ReadAt, drive, read_ranges};
use crate::file::read::{Fetcher, FileMeta, Opener, ZoneLoader};

/// What a reader must find in a column.
#[derive(Debug, Default)]
pub(super) struct ExpectedColumn {
    /// The fingerprint of each chunk's values; `None` for values that readers derive and of which
    /// nothing was given.
    pub chunks: Vec<Option<u64>>,
    /// The fingerprint of the zone map, if there is one.
    pub zones: Option<u64>,
    /// Models that the file only names.
    pub outside: Vec<Arc<Model>>,
}

/// The models that lie outside the file, as its writer has them.
#[derive(Debug)]
struct Outside(HashMap<ModelDigest, Buffer>);

impl ModelStore for Outside {
    fn model(&self, digest: &ModelDigest) -> Option<Buffer> {
        self.0.get(digest).cloned()
    }
}

/// What a reader must find in a file.
#[derive(Debug)]
pub(super) struct Expected {
    pub rows: u64,
    pub schema: SchemaRef,
    pub metadata: HashMap<String, String>,
    /// In the order of the directory.
    pub columns: Vec<ExpectedColumn>,
}

/// Reads a complete file and fails at the first difference.
pub(super) fn check(
    source: &(dyn ReadAt + Sync),
    expected: &Expected,
    threads: usize,
) -> Result<()> {
    let outside = expected.columns.iter().flat_map(|c| &c.outside);
    let outside = outside.map(|m| (m.digest(), m.bytes().clone())).collect();
    let mut opener =
        Opener::new("the file just written", source.size()).with_models(Arc::new(Outside(outside)));
    let meta = drive(&mut opener, source)?
        .ok_or_else(|| Error::corrupt("the file just written could not be opened"))?;
    let same = meta.rows() == expected.rows
        && *meta.schema()? == *expected.schema
        && *meta.user_metadata() == expected.metadata
        && meta.directory().len() == expected.columns.len();
    if !same {
        return Err(differs(&meta, None, "rows, schema or metadata"));
    }
    load(&meta, source)?;
    zones(&meta, source, expected)?;
    let parts = parts(&meta)?;
    let next = AtomicUsize::new(0);
    let work = || -> Result<()> {
        while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(e) = part.check(&meta, source, expected) {
                next.store(parts.len(), Ordering::Relaxed);
                return Err(e);
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (1..threads.min(parts.len()))
            .map(|_| scope.spawn(work))
            .collect();
        let own = work();
        workers.into_iter().fold(own, |result, worker| {
            let other = worker
                .join()
                .unwrap_or_else(|_| Err(Error::corrupt("reading back failed unexpectedly")));
            result.and(other)
        })
    })
}

fn differs(meta: &FileMeta, column: Option<usize>, what: &str) -> Error {
    let error = Error::corrupt(format!(
        "{what} came back from the file just written otherwise than they were given, so it was not \
         published; this is an error of pilaster that ought to be reported"
    ));
    meta.locate(error, column)
}

/// Loads the blocks of all columns, hidden ones too.
fn load(meta: &Arc<FileMeta>, source: &dyn ReadAt) -> Result<()> {
    let all: Vec<usize> = (0..meta.directory().len()).collect();
    let mut fetcher = Fetcher::new(Arc::clone(meta));
    loop {
        let missing = fetcher.load(&all)?;
        if missing.is_empty() {
            return Ok(());
        }
        read_ranges(source, missing, |at, bytes| fetcher.deliver(at, bytes))?;
    }
}

/// Compares all zone maps.
fn zones(meta: &Arc<FileMeta>, source: &dyn ReadAt, expected: &Expected) -> Result<()> {
    let shown: Vec<usize> = (0..meta.shown().len()).collect();
    let mut loader = ZoneLoader::new(Arc::clone(meta), &shown)?;
    let zones = drive(&mut loader, source)?
        .ok_or_else(|| Error::corrupt("the zone maps just written could not be read"))?;
    if let Some((_, error)) = zones.unreadable.into_iter().next() {
        return Err(error);
    }
    for (found, &column) in zones.columns.iter().zip(meta.shown()) {
        let found = match found {
            None => None,
            Some(zones) => {
                let (min, max) = zones.bounds.clone().unzip();
                let null_count: ArrayRef = Arc::new(zones.null_count.clone());
                let flags: ArrayRef = Arc::new(zones.flags.clone());
                Some(zones_fingerprint(min, max, &null_count, &flags)?)
            }
        };
        if found != expected.columns[column].zones {
            return Err(differs(meta, Some(column), "bounds of zones"));
        }
    }
    Ok(())
}

/// A chunk of columns that are read together.
struct Part {
    /// In the order of the directory, so parents come first.
    columns: Arc<[usize]>,
    chunk: usize,
}

/// All chunks of all columns, in the order of their rows, so that they are read as they lie.
fn parts(meta: &FileMeta) -> Result<Vec<Part>> {
    // Columns that parents connect; parents come first in the directory.
    let mut family: Vec<usize> = Vec::with_capacity(meta.directory().len());
    for index in 0..meta.directory().len() {
        let of: Vec<usize> = meta
            .column(index)?
            .parents
            .iter()
            .map(|&p| family[p])
            .collect();
        let own = of.iter().copied().min().unwrap_or(index);
        for known in &mut family {
            if of.contains(known) {
                *known = own;
            }
        }
        family.push(own);
    }
    let mut columns: Vec<Vec<usize>> = vec![Vec::new(); family.len()];
    for (index, &family) in family.iter().enumerate() {
        columns[family].push(index);
    }
    let mut parts = Vec::new();
    for columns in columns.into_iter().filter(|c| !c.is_empty()) {
        let chunks = &meta.column(columns[0])?.chunks;
        let columns: Arc<[usize]> = columns.into();
        parts.extend(chunks.iter().enumerate().map(|(chunk, rows)| {
            let columns = Arc::clone(&columns);
            (rows.rows.start, Part { columns, chunk })
        }));
    }
    parts.sort_by_key(|(start, part)| (*start, part.columns[0]));
    Ok(parts.into_iter().map(|(_, part)| part).collect())
}

impl Part {
    /// Decodes the chunk of each column and compares it.
    fn check(&self, meta: &Arc<FileMeta>, source: &dyn ReadAt, expected: &Expected) -> Result<()> {
        let mut fetcher = Fetcher::new(Arc::clone(meta));
        let rows = meta.column(self.columns[0])?.chunks[self.chunk]
            .rows
            .clone();
        let mut columns = Vec::with_capacity(self.columns.len());
        for &column in self.columns.iter() {
            let Some(known) = expected.columns[column].chunks.get(self.chunk) else {
                return Err(differs(meta, Some(column), "the number of chunks"));
            };
            // What readers derive from parents that are compared, without bytes of its own, is the same
            // in each chunk if it is in the first.
            let root = &meta.column(column)?.chunks[self.chunk].root;
            if known.is_some() || self.chunk == 0 || has_bytes(root) {
                columns.push((column, *known));
            }
        }
        let wanted: Vec<usize> = columns.iter().map(|(column, _)| *column).collect();
        let missing = fetcher.plan(&wanted, &rows, &Selection::all())?;
        read_ranges(source, missing, |at, bytes| fetcher.deliver(at, bytes))?;
        for (column, known) in columns {
            let array = fetcher.chunk(column, self.chunk)?;
            let same = match known {
                Some(known) => fingerprint(&array)? == known,
                None => true,
            };
            if !same || array.len() as u64 != rows.end - rows.start {
                let what = format!("rows {}..{}", rows.start, rows.end);
                return Err(differs(meta, Some(column), &what));
            }
        }
        Ok(())
    }
}

fn has_bytes(node: &Node) -> bool {
    node.buffers.iter().any(|b| !b.is_empty()) || node.children.iter().any(has_bytes)
}
