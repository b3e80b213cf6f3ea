//! Rows of columns out of their chunks: what to read, then what to decode, parents first.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBufferBuilder, FixedSizeListArray, UInt64Array,
    new_empty_array,
};
use arrow::buffer::{BooleanBuffer, Buffer};
use arrow::compute;
use arrow::datatypes::DataType;

use super::chunk::{CachedParents, ChunkCache, SelectedParents};
use super::meta::FileMeta;
use crate::encoding::{Access, Candidates, Needles, NoParents, Registry, Rows, Selection};
use crate::error::{Error, Result};
use crate::file::machine::Pool;

/// Rows are few if they are fewer than one in so many.
const FEW: usize = 4;

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
    pub values_decoded: u64,
}

impl Fetcher {
    pub fn new(meta: Arc<FileMeta>) -> Self {
        Self {
            meta,
            registry: Registry::standard(),
            pool: Pool::default(),
            cache: ChunkCache::default(),
            bytes_read: 0,
            values_decoded: 0,
        }
    }

    pub fn deliver(&mut self, offset: u64, bytes: Buffer) {
        self.bytes_read += bytes.len() as u64;
        self.pool.put(offset, bytes);
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
        let closure = self.closure(columns)?;
        let mut is_parent: BTreeSet<usize> = BTreeSet::new();
        for &column in &closure {
            is_parent.extend(&self.meta.column(column)?.parents);
        }
        for column in closure {
            let meta = self.meta.column(column)?;
            // A parent is read whole, since its child may need all of it.
            let direct = !is_parent.contains(&column);
            for chunk in meta.chunks_of(window) {
                if self.cache.get(column, chunk).is_some() {
                    continue;
                }
                let part = chunk_selection(&meta.chunks[chunk].rows, window, selection);
                if part.count(meta.chunks[chunk].root.rows) == 0 {
                    continue;
                }
                let part = match direct && !self.whole(column, chunk)? {
                    true => part,
                    false => Selection::all(),
                };
                ranges.extend(meta.plan(chunk, &part, self.registry).ranges);
            }
        }
        Ok(self.pool.missing(ranges))
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
        let ancestors = self.closure(&meta.parents)?;
        let mut arrays = Vec::new();
        for chunk in meta.chunks_of(window) {
            let part = chunk_selection(&meta.chunks[chunk].rows, window, selection);
            if part.count(meta.chunks[chunk].root.rows) == 0 {
                continue;
            }
            if let Some(array) = self.selected(column, chunk, &part)? {
                arrays.push(array);
                continue;
            }
            for &ancestor in &ancestors {
                self.cached(ancestor, chunk)?;
            }
            arrays.push(match self.whole(column, chunk)? {
                true => narrowed(
                    &part.take(&self.cached(column, chunk)?)?,
                    part.elements.as_ref(),
                )?,
                false => self.decode(column, chunk, &part)?,
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

    /// Some rows of a chunk whose parents need be decoded for just these, if they are few and the
    /// parents were not decoded yet.
    fn selected(
        &mut self,
        column: usize,
        chunk: usize,
        part: &Selection,
    ) -> Result<Option<ArrayRef>> {
        let meta = Arc::clone(self.meta.column(column)?);
        let rows = meta.chunks[chunk].root.rows;
        let few = part.elements.is_none() && part.count(rows) < rows / FEW;
        let at_hand = |&parent: &usize| self.cache.get(parent, chunk).is_some();
        if !few || meta.parents.is_empty() || meta.parents.iter().any(at_hand) {
            return Ok(None);
        }
        for &parent in &meta.parents {
            if !self.meta.column(parent)?.parents.is_empty() {
                return Ok(None);
            }
        }
        let store = self.meta.model_store();
        let keeps = meta.with_chunk(
            chunk,
            part,
            &self.pool,
            &NoParents,
            store,
            |node, context| {
                let encoding = self.registry.get(&node.encoding)?;
                Ok(encoding.keeps_to_rows(node, context))
            },
        );
        if !keeps.map_err(|e| self.meta.locate(e, Some(column)))? {
            return Ok(None);
        }
        let mut arrays = Vec::with_capacity(meta.parents.len());
        for &parent in &meta.parents {
            arrays.push(self.decode(parent, chunk, part)?);
        }
        let parents = SelectedParents {
            arrays: &arrays,
            rows,
            selection: part,
        };
        let (data_type, store) = (meta.field.data_type(), self.meta.model_store());
        let array = meta
            .decode(chunk, part, data_type, &self.pool, &parents, store)
            .map_err(|e| self.meta.locate(e, Some(column)))?;
        self.values_decoded += array.len() as u64;
        Ok(Some(array))
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
            match self.chunk_candidates(column, chunk, needles)? {
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
                Some(&parent) => self.chunk_candidates(parent, chunk, needles),
                None => Ok(None),
            },
            _ => Ok(None),
        }
    }

    /// All rows of a chunk, decoded once.
    fn cached(&mut self, column: usize, chunk: usize) -> Result<ArrayRef> {
        if let Some(array) = self.cache.get(column, chunk) {
            return Ok(Arc::clone(array));
        }
        let array = self.decode(column, chunk, &Selection::all())?;
        self.cache.put(column, chunk, Arc::clone(&array));
        Ok(array)
    }

    fn decode(&mut self, column: usize, chunk: usize, selection: &Selection) -> Result<ArrayRef> {
        let meta = self.meta.column(column)?;
        let parents = CachedParents {
            cache: &self.cache,
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
        self.values_decoded += array.len() as u64;
        Ok(array)
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

/// The wanted elements of fixed-size lists that were decoded whole.
fn narrowed(array: &ArrayRef, elements: Option<&Range<usize>>) -> Result<ArrayRef> {
    let (Some(wanted), DataType::FixedSizeList(field, size)) = (elements, array.data_type()) else {
        return Ok(Arc::clone(array));
    };
    let list = array.as_fixed_size_list();
    let size = *size as usize;
    let first = list.value_offset(0) as usize;
    let indices = (0..list.len()).flat_map(|row| {
        let start = first + row * size;
        (start + wanted.start..start + wanted.end).map(|i| i as u64)
    });
    let indices = UInt64Array::from_iter_values(indices);
    Ok(Arc::new(FixedSizeListArray::try_new_with_length(
        Arc::clone(field),
        wanted.len() as i32,
        compute::take(list.values(), &indices, None)?,
        list.nulls().cloned(),
        list.len(),
    )?))
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
