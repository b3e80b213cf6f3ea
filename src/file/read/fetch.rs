//! Rows of columns out of their chunks: what to read, then what to decode, parents first.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanBufferBuilder, new_empty_array};
use arrow::buffer::{BooleanBuffer, Buffer};
use arrow::datatypes::DataType;

use super::chunk::{ChunkCache, Purpose};
use super::meta::FileMeta;
use crate::encoding::distance::{Distances, Query, Stage};
use crate::encoding::{
    Access, Candidates, Needles, NoParents, Node, ParentSource, Registry, Rows, Selection,
};
use crate::error::{Error, Result};
use crate::file::arrays::concat;
use crate::file::machine::Pool;

/// Columns in a row that are read in part because their children are: what is deeper is read whole.
const MAX_PARTIAL: usize = 4;

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
    /// Columns and parents of theirs whose chunk boundaries were compared.
    checked: RefCell<BTreeSet<(usize, usize)>>,
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
            checked: RefCell::default(),
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
                    self.check_boundaries(column, parent)?;
                    todo.push(parent);
                }
            }
        }
        Ok(all.into_iter().collect())
    }

    /// Fails unless a column and its parent have the same chunk boundaries; looks once.
    fn check_boundaries(&self, column: usize, parent: usize) -> Result<()> {
        if self.checked.borrow().contains(&(column, parent)) {
            return Ok(());
        }
        let (meta, other) = (self.meta.column(column)?, self.meta.column(parent)?);
        let mut pairs = meta.chunks.iter().zip(&other.chunks);
        let same = meta.chunks.len() == other.chunks.len() && pairs.all(|(a, b)| a.rows == b.rows);
        if !same {
            let error = Error::corrupt("a parent has other chunk boundaries");
            return Err(self.meta.locate(error, Some(column)));
        }
        self.checked.borrow_mut().insert((column, parent));
        Ok(())
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
        let mut whole = BTreeSet::new();
        for &column in columns {
            let meta = self.meta.column(column)?;
            for chunk in meta.chunks_of(window) {
                let part = chunk_selection(&meta.chunks[chunk].rows, window, selection);
                if part.count(meta.chunks[chunk].root.rows) > 0 {
                    self.plan_part(column, chunk, &part, 0, &mut whole, &mut ranges)?;
                }
            }
        }
        Ok(self.pool.missing(ranges))
    }

    /// The ranges that a part of a chunk needs, those of its parents included; `whole` has the columns
    /// and chunks that are read as a whole anyway.
    fn plan_part(
        &self,
        column: usize,
        chunk: usize,
        part: &Selection,
        depth: usize,
        whole: &mut BTreeSet<(usize, usize)>,
        ranges: &mut Vec<Range<u64>>,
    ) -> Result<()> {
        if part.is_all() || self.whole(column, chunk)? {
            return self.plan_whole(column, chunk, whole, ranges);
        }
        if self.cache.get(column, chunk).is_some() {
            return Ok(());
        }
        for (parent, part) in self.parents(column, chunk, part, depth)? {
            match part {
                Some(part) => self.plan_part(parent, chunk, &part, depth + 1, whole, ranges)?,
                None => self.plan_whole(parent, chunk, whole, ranges)?,
            }
        }
        let read = self.meta.column(column)?;
        ranges.extend(read.plan(chunk, part, self.registry).ranges);
        Ok(())
    }

    /// The ranges of a chunk and of all its ancestors.
    fn plan_whole(
        &self,
        column: usize,
        chunk: usize,
        whole: &mut BTreeSet<(usize, usize)>,
        ranges: &mut Vec<Range<u64>>,
    ) -> Result<()> {
        for column in self.closure(&[column])? {
            if self.cache.get(column, chunk).is_none() && whole.insert((column, chunk)) {
                let meta = self.meta.column(column)?;
                let read = meta.plan(chunk, &Selection::all(), self.registry);
                ranges.extend(read.ranges);
            }
        }
        Ok(())
    }

    /// The parents that a chunk's nodes refer to, and the part of each that a selection needs, if its
    /// encoding can say; all of it otherwise. `depth` counts the columns above that are read in part.
    fn parents(
        &self,
        column: usize,
        chunk: usize,
        part: &Selection,
        depth: usize,
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
                .filter(|_| !below && !part.is_all() && depth < MAX_PARTIAL)
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
                    self.prepare(column, chunk, &part, 0)?;
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
                concat(&many).map_err(|e| self.meta.locate(e, Some(column)))
            }
        }
    }

    /// Like [`Fetcher::plan`] before [`Fetcher::distances`].
    pub fn plan_distances(
        &self,
        column: usize,
        window: &Range<u64>,
        selection: &Selection,
        stage: Stage,
    ) -> Result<Vec<Range<u64>>> {
        let meta = self.meta.column(column)?;
        if !meta.parents.is_empty() {
            return self.plan(&[column], window, selection);
        }
        let mut ranges = Vec::new();
        for chunk in meta.chunks_of(window) {
            let part = chunk_selection(&meta.chunks[chunk].rows, window, selection);
            let cached = self.cache.get(column, chunk).is_some();
            if cached || part.count(meta.chunks[chunk].root.rows) == 0 {
                continue;
            }
            let read = match self.whole(column, chunk)? {
                true => meta.plan(chunk, &Selection::all(), self.registry),
                false => meta.plan_for(Purpose::Distances(stage), chunk, &part, self.registry),
            };
            ranges.extend(read.ranges);
        }
        Ok(self.pool.missing(ranges))
    }

    /// Bounds of the distances of the selected rows of a window of a column of vectors. The bytes must
    /// be there.
    pub fn distances(
        &mut self,
        column: usize,
        window: &Range<u64>,
        selection: &Selection,
        query: &Query,
        stage: Stage,
    ) -> Result<Distances> {
        let meta = Arc::clone(self.meta.column(column)?);
        let mut all = Distances::default();
        for chunk in meta.chunks_of(window) {
            let part = chunk_selection(&meta.chunks[chunk].rows, window, selection);
            if part.count(meta.chunks[chunk].root.rows) == 0 {
                continue;
            }
            if !meta.parents.is_empty() || self.whole(column, chunk)? {
                let rows = &meta.chunks[chunk].rows;
                let vectors = self.read(column, rows, &part)?;
                let vectors = vectors.as_fixed_size_list_opt().ok_or_else(|| {
                    let data_type = meta.field.data_type();
                    Error::invalid(format!("a column of type {data_type} holds no vectors"))
                })?;
                all.append(Distances::of_decoded(vectors, query)?);
                continue;
            }
            let store = self.meta.model_store();
            let found = meta
                .distances(chunk, &part, query, stage, &self.pool, store)
                .map_err(|e| self.meta.locate(e, Some(column)))?;
            all.append(found);
        }
        Ok(all)
    }

    /// The rows of a window in which a column may hold one of some texts. The bytes must be there.
    pub fn candidates(
        &self,
        column: usize,
        window: &Range<u64>,
        needles: &Needles,
    ) -> Result<BooleanBuffer> {
        let meta = self.meta.column(column)?;
        let mut mask = BooleanBufferBuilder::new((window.end - window.start) as usize);
        for chunk in meta.chunks_of(window) {
            let rows = &meta.chunks[chunk].rows;
            let part = rows.start.max(window.start)..rows.end.min(window.end);
            match self.chunk_candidates(column, chunk, needles, 0)? {
                Some(held) => part.for_each(|row| mask.append(held[(row - rows.start) as usize])),
                None => mask.append_n((part.end - part.start) as usize, true),
            }
        }
        Ok(mask.finish())
    }

    fn chunk_candidates(
        &self,
        column: usize,
        chunk: usize,
        needles: &Needles,
        depth: usize,
    ) -> Result<Option<Vec<bool>>> {
        let meta = self.meta.column(column)?;
        let encoding = &meta.chunks[chunk].root.encoding;
        let knows = self
            .registry
            .get(encoding)
            .is_ok_and(|e| e.knows_candidates());
        let (all, store) = (Selection::all(), self.meta.model_store());
        // What is to be decoded may need less than all of a chunk, which then is not there.
        let ranges = meta.plan(chunk, &all, self.registry).ranges;
        if !knows || !self.pool.missing(ranges).is_empty() {
            return Ok(None);
        }
        let found = meta
            .with_chunk(
                chunk,
                &all,
                &self.pool,
                &NoParents,
                store,
                |node, context| {
                    let encoding = self.registry.get(&node.encoding)?;
                    let found = encoding.candidates(node, needles, context)?;
                    Ok(match found {
                        Candidates::Parent(i) => (found, node.parents.get(i).copied()),
                        _ => (found, None),
                    })
                },
            )
            .map_err(|e| self.meta.locate(e, Some(column)))?;
        let rows = meta.chunks[chunk].root.rows;
        match found {
            (Candidates::Rows(held), _) if held.len() == rows => Ok(Some(held)),
            (Candidates::Parent(_), Some(slot)) => match meta.parents.get(slot as usize) {
                Some(&parent) if depth < MAX_PARTIAL => {
                    self.chunk_candidates(parent, chunk, needles, depth + 1)
                }
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }

    /// All rows of a chunk, kept as an ancestor's are. The bytes must be there.
    pub fn chunk(&mut self, column: usize, chunk: usize) -> Result<ArrayRef> {
        self.cached(column, chunk)
    }

    /// All rows of a chunk, decoded once, after its ancestors.
    fn cached(&mut self, column: usize, chunk: usize) -> Result<ArrayRef> {
        if let Some(array) = self.cache.get(column, chunk) {
            return Ok(Arc::clone(array));
        }
        for ancestor in self.closure(&[column])? {
            if self.cache.get(ancestor, chunk).is_none() {
                let array = self.decode(ancestor, chunk, &Selection::all())?;
                self.cache.put(ancestor, chunk, array);
            }
        }
        let array = self.cache.get(column, chunk);
        array
            .cloned()
            .ok_or_else(|| Error::corrupt("a column that is not its own ancestor"))
    }

    /// Decodes the parents that a part of a chunk needs whole, and theirs.
    fn prepare(
        &mut self,
        column: usize,
        chunk: usize,
        part: &Selection,
        depth: usize,
    ) -> Result<()> {
        for (parent, part) in self.parents(column, chunk, part, depth)? {
            match part {
                Some(part) if !self.whole(parent, chunk)? => {
                    self.prepare(parent, chunk, &part, depth + 1)?;
                }
                _ => {
                    self.cached(parent, chunk)?;
                }
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
        let meta = Arc::clone(&self.meta);
        self.pool
            .keep(meta.loaded().filter_map(|c| c.shared_from(row)));
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
