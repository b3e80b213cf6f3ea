//! Rows of columns out of their chunks: what to read, then what to decode, parents first.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanBufferBuilder, new_empty_array};
use arrow::buffer::{BooleanBuffer, Buffer};
use arrow::compute;
use arrow::datatypes::DataType;

use super::chunk::ChunkCache;
use super::meta::FileMeta;
use crate::encoding::{Access, Node, ParentSource, Registry, Rows, Selection};
use crate::error::{Error, Result};
use crate::file::machine::Pool;

/// Reads windows of rows of columns by directory position.
#[derive(Debug)]
pub(crate) struct Fetcher {
    pub meta: Arc<FileMeta>,
    registry: &'static Registry,
    pool: Pool,
    cache: ChunkCache,
    /// Bytes that were delivered.
    pub bytes_read: u64,
    /// Values that were decoded, hidden columns' too.
    decoded: Cell<u64>,
}

impl Fetcher {
    pub fn new(meta: Arc<FileMeta>) -> Self {
        Self {
            meta,
            registry: Registry::standard(),
            pool: Pool::default(),
            cache: ChunkCache::default(),
            bytes_read: 0,
            decoded: Cell::new(0),
        }
    }

    pub fn deliver(&mut self, offset: u64, bytes: Buffer) {
        self.bytes_read += bytes.len() as u64;
        self.pool.put(offset, bytes);
    }

    /// Values that were decoded, hidden columns' too.
    pub fn values_decoded(&self) -> u64 {
        self.decoded.get()
    }

    /// Loads column blocks; answers with missing ranges.
    pub fn load(&self, columns: &[usize]) -> Result<Vec<Range<u64>>> {
        self.meta.load(columns, &self.pool)
    }

    /// The columns and all their ancestors, ancestors first.
    fn closure(&self, columns: &[usize]) -> Result<Vec<usize>> {
        let mut all = BTreeSet::new();
        let mut todo = columns.to_vec();
        while let Some(column) = todo.pop() {
            if all.insert(column) {
                let meta = self.meta.column(column)?;
                for &parent in &meta.parents {
                    let other = self.meta.column(parent)?;
                    let same = meta.chunks.len() == other.chunks.len()
                        && meta
                            .chunks
                            .iter()
                            .zip(&other.chunks)
                            .all(|(a, b)| a.rows == b.rows);
                    if !same {
                        let error = Error::corrupt("a parent has other chunk boundaries");
                        return Err(self.meta.locate(error, Some(column)));
                    }
                    todo.push(parent);
                }
            }
        }
        Ok(all.into_iter().collect())
    }

    /// The ranges that are missing before [`Fetcher::read`] can give these rows of these columns.
    /// `selection` counts rows from the window's start.
    pub fn plan(
        &self,
        columns: &[usize],
        window: &Range<u64>,
        selection: &Selection,
    ) -> Result<Vec<Range<u64>>> {
        let mut ranges = Vec::new();
        self.closure(columns)?;
        for &column in columns {
            let meta = self.meta.column(column)?;
            for chunk in meta.chunks_of(window) {
                let part = chunk_selection(&meta.chunks[chunk].rows, window, selection);
                if part.count(meta.chunks[chunk].root.rows) > 0 {
                    self.plan_part(column, chunk, part, &mut ranges)?;
                }
            }
        }
        Ok(self.pool.missing(ranges))
    }

    /// The ranges that a part of a chunk needs, those of its parents included.
    fn plan_part(
        &self,
        column: usize,
        chunk: usize,
        part: Selection,
        ranges: &mut Vec<Range<u64>>,
    ) -> Result<()> {
        if self.cache.get(column, chunk).is_some() {
            return Ok(());
        }
        let part = match self.whole(column, chunk)? {
            true => Selection::all(),
            false => part,
        };
        let meta = self.meta.column(column)?;
        for (parent, part) in self.parents(column, chunk, &part)? {
            self.plan_part(parent, chunk, part.unwrap_or_else(Selection::all), ranges)?;
        }
        ranges.extend(meta.plan(chunk, &part, self.registry).ranges);
        Ok(())
    }

    /// The parents that a chunk's nodes refer to, and the part of each that a selection needs, if its
    /// encoding can say; all of it otherwise.
    fn parents(
        &self,
        column: usize,
        chunk: usize,
        part: &Selection,
    ) -> Result<Vec<(usize, Option<Selection>)>> {
        let meta = self.meta.column(column)?;
        let root = &meta.chunks[chunk].root;
        let mut slots: BTreeSet<u32> = BTreeSet::new();
        root.walk(&mut |node| slots.extend(&node.parents));
        let encoding = self.registry.get(&root.encoding).ok();
        let needed = slots.into_iter().filter_map(|slot| {
            let parent = *meta.parents.get(slot as usize)?;
            // Only the root knows which rows of the chunk are asked for.
            let of_root = root.parents.iter().position(|&p| p == slot);
            let below = root.children.iter().any(|c| refers(c, slot));
            let part = of_root
                .filter(|_| !below && !part.is_all())
                .and_then(|i| encoding?.parent_part(root, i, part));
            Some((parent, part))
        });
        Ok(needed.collect())
    }

    /// Whether a chunk is decoded as a whole, whatever part of it is wanted.
    fn whole(&self, column: usize, chunk: usize) -> Result<bool> {
        let root = &self.meta.column(column)?.chunks[chunk].root;
        Ok(self
            .registry
            .get(&root.encoding)
            .is_ok_and(|e| e.access() == Access::Opaque))
    }

    /// The selected rows of a window of one column. The bytes must be there.
    pub fn read(
        &mut self,
        column: usize,
        window: &Range<u64>,
        selection: &Selection,
    ) -> Result<ArrayRef> {
        let meta = Arc::clone(self.meta.column(column)?);
        self.closure(&meta.parents)?;
        let mut arrays = Vec::new();
        for chunk in meta.chunks_of(window) {
            let part = chunk_selection(&meta.chunks[chunk].rows, window, selection);
            if part.count(meta.chunks[chunk].root.rows) == 0 {
                continue;
            }
            arrays.push(match self.whole(column, chunk)? {
                true => part.take_part(&self.cached(column, chunk)?)?,
                false => {
                    self.prepare(column, chunk, &part)?;
                    self.decode(column, chunk, &part)?
                }
            });
        }
        match arrays.as_slice() {
            [] => Ok(new_empty_array(&narrowed_type(
                meta.field.data_type(),
                selection.elements.as_ref(),
            )?)),
            [one] => Ok(Arc::clone(one)),
            many => {
                let many: Vec<&dyn Array> = many.iter().map(|a| a.as_ref()).collect();
                Ok(compute::concat(&many)?)
            }
        }
    }

    /// All rows of a chunk, decoded once.
    fn cached(&mut self, column: usize, chunk: usize) -> Result<ArrayRef> {
        if let Some(array) = self.cache.get(column, chunk) {
            return Ok(Arc::clone(array));
        }
        self.prepare(column, chunk, &Selection::all())?;
        let array = self.decode(column, chunk, &Selection::all())?;
        self.cache.put(column, chunk, Arc::clone(&array));
        Ok(array)
    }

    /// Decodes the parents that a part of a chunk needs whole, and theirs.
    fn prepare(&mut self, column: usize, chunk: usize, part: &Selection) -> Result<()> {
        for (parent, part) in self.parents(column, chunk, part)? {
            match part {
                None => {
                    self.cached(parent, chunk)?;
                }
                Some(_) if self.whole(parent, chunk)? => {
                    self.cached(parent, chunk)?;
                }
                Some(part) => self.prepare(parent, chunk, &part)?,
            }
        }
        Ok(())
    }

    fn decode(&self, column: usize, chunk: usize, selection: &Selection) -> Result<ArrayRef> {
        let meta = self.meta.column(column)?;
        let parents = ChunkParents {
            fetcher: self,
            parents: &meta.parents,
            chunk,
        };
        let array = meta
            .decode(
                chunk,
                selection,
                &narrowed_type(meta.field.data_type(), selection.elements.as_ref())?,
                &self.pool,
                &parents,
                self.meta.model_store(),
            )
            .map_err(|e| self.meta.locate(e, Some(column)))?;
        if !meta.field.is_nullable() && array.null_count() > 0 {
            let error = Error::corrupt("nulls in a column that has none");
            return Err(self.meta.locate(error, Some(column)));
        }
        self.decoded.set(self.decoded.get() + array.len() as u64);
        Ok(array)
    }

    /// Whether two columns have an ancestor in common, or one is the other's; blocks that are not
    /// loaded yet have none.
    pub fn share_ancestors(&self, column: usize, next: Option<usize>) -> Result<bool> {
        let Some(next) = next else { return Ok(false) };
        let Ok(of_next) = self.closure(&[next]) else {
            return Ok(false);
        };
        Ok(self.closure(&[column])?.iter().any(|c| of_next.contains(c)))
    }

    /// Forgets bytes and decoded chunks of rows before `row`.
    pub fn release(&mut self, row: u64) {
        self.pool.clear();
        let meta = Arc::clone(&self.meta);
        self.cache.forget_before(row, |column, chunk| {
            meta.column(column)
                .ok()
                .and_then(|c| c.chunks.get(chunk))
                .map_or(0, |c| c.rows.end)
        });
    }
}

/// Parents of a chunk: out of the cache if they were decoded whole, else the part that is asked for.
struct ChunkParents<'a> {
    fetcher: &'a Fetcher,
    parents: &'a [usize],
    chunk: usize,
}

impl ParentSource for ChunkParents<'_> {
    fn parent(&self, slot: u32, selection: &Selection) -> Result<ArrayRef> {
        let column = *self
            .parents
            .get(slot as usize)
            .ok_or_else(|| Error::corrupt(format!("parent {slot} is not there")))?;
        match self.fetcher.cache.get(column, self.chunk) {
            Some(array) => selection.take_part(array),
            None => self.fetcher.decode(column, self.chunk, selection),
        }
    }
}

/// Whether some node of a tree refers to a parent.
fn refers(node: &Node, slot: u32) -> bool {
    node.parents.contains(&slot) || node.children.iter().any(|c| refers(c, slot))
}

/// The type of a column of which only some elements of each fixed-size list are wanted.
pub(crate) fn narrowed_type(
    data_type: &DataType,
    elements: Option<&Range<usize>>,
) -> Result<DataType> {
    let Some(elements) = elements else {
        return Ok(data_type.clone());
    };
    match data_type {
        DataType::FixedSizeList(field, size)
            if elements.start <= elements.end && elements.end <= (*size).max(0) as usize =>
        {
            Ok(DataType::FixedSizeList(
                Arc::clone(field),
                elements.len() as i32,
            ))
        }
        other => Err(Error::invalid(format!(
            "elements {}..{} of a column of {other}",
            elements.start, elements.end
        ))),
    }
}

/// The part of a window's selection that falls into a chunk, counted from the chunk's start.
fn chunk_selection(chunk: &Range<u64>, window: &Range<u64>, selection: &Selection) -> Selection {
    let start = chunk.start.max(window.start);
    let end = chunk.end.min(window.end);
    let len = (chunk.end - chunk.start) as usize;
    let local = (start - chunk.start) as usize..(end.max(start) - chunk.start) as usize;
    let from = (start - window.start) as usize;
    let part = match &selection.rows {
        Rows::All => Rows::Range(local),
        Rows::Range(r) => {
            let at = |row: usize| {
                let row = (row as u64 + window.start).clamp(start, end.max(start));
                (row - chunk.start) as usize
            };
            Rows::Range(at(r.start)..at(r.end))
        }
        Rows::Indices(rows) => {
            let (low, high) = (from as u32, (from + local.len()) as u32);
            let first = rows.partition_point(|&r| r < low);
            let last = rows.partition_point(|&r| r < high);
            let shift = |r: &u32| r - low + local.start as u32;
            Rows::Indices(rows[first..last].iter().map(shift).collect())
        }
        Rows::Mask(mask) => {
            let slice = mask.slice(from, local.len());
            match (slice.count_set_bits() == slice.len(), local.len() == len) {
                (true, _) => Rows::Range(local),
                (false, true) => Rows::Mask(slice),
                (false, false) => Rows::Mask(padded(&slice, local.start, len)),
            }
        }
    };
    let rows = match part {
        Rows::Range(r) if r == (0..len) => Rows::All,
        other => other,
    };
    Selection {
        rows,
        elements: selection.elements.clone(),
    }
}

/// A mask of `len` bits with `bits` from `at` on.
fn padded(bits: &BooleanBuffer, at: usize, len: usize) -> BooleanBuffer {
    let mut builder = BooleanBufferBuilder::new(len);
    builder.append_n(at, false);
    builder.append_buffer(bits);
    builder.append_n(len - at - bits.len(), false);
    builder.finish()
}
