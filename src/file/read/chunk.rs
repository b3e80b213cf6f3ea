//! From a chunk and a selection to bytes, and from bytes to an array.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::buffer::Buffer;
use arrow::datatypes::DataType;

use super::column::{ChunkMeta, ColumnMeta, ZonePart};
use crate::encoding::distance::{Distances, Query, Stage};
use crate::encoding::{
    DecodeContext, Model, ModelStore, Models, NoParents, Node, ParentSource, Reads, Registry,
    Selection,
};
use crate::error::{Error, Result};
use crate::file::machine::Pool;
use crate::file::segment::SegmentRead;
use crate::file::shape::{Packing, decode_budget};

/// Most bytes of a zone's minimum and maximum in memory, and what belongs to them.
const ZONE_BOUNDS: u64 = 128;

/// What rows are read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To be decoded.
    Values,
    /// To find bounds of their distances from a query.
    Distances(Stage),
}

/// What has to be read for some rows of a chunk.
#[derive(Debug)]
pub(crate) struct ChunkRead {
    data: SegmentRead,
    models: Vec<(usize, SegmentRead)>,
    /// Ranges of the file.
    pub ranges: Vec<Range<u64>>,
}

impl ChunkMeta {
    /// Bytes that decoding the chunk may take beyond its buffers, given those of its models.
    pub fn budget(&self, model_bytes: u64) -> u64 {
        decode_budget(self.root.rows, self.decoded_bytes, model_bytes)
    }
}

impl ColumnMeta {
    /// Plans the read of some rows of a chunk.
    pub(crate) fn plan(
        &self,
        chunk: usize,
        selection: &Selection,
        registry: &Registry,
    ) -> ChunkRead {
        self.plan_for(Purpose::Values, chunk, selection, registry)
    }

    /// The same for what is to be made of the rows.
    pub(crate) fn plan_for(
        &self,
        purpose: Purpose,
        chunk: usize,
        selection: &Selection,
        registry: &Registry,
    ) -> ChunkRead {
        let chunk = &self.chunks[chunk];
        let segment = &self.segments[chunk.segment];
        let mut wanted = Vec::new();
        collect(
            &chunk.root,
            purpose,
            Some(selection),
            registry,
            &mut chunk.offsets.iter().copied(),
            &mut wanted,
        );
        let data = segment.plan(&wanted);
        let mut ranges = segment.file_ranges(&data);
        let mut models = Vec::new();
        chunk.root.walk(&mut |node| {
            let Some(model) = node.model.map(|m| m as usize) else {
                return;
            };
            let meta = &self.models[model];
            if meta.range.is_empty()
                || meta.loaded.get().is_some()
                || models.iter().any(|(m, _)| *m == model)
            {
                return;
            }
            let segment = &self.segments[meta.segment];
            let read = segment.plan(std::slice::from_ref(&meta.range));
            ranges.extend(segment.file_ranges(&read));
            models.push((model, read));
        });
        ChunkRead {
            data,
            models,
            ranges,
        }
    }

    /// Decodes some rows of a chunk whose bytes are in the pool.
    pub(crate) fn decode(
        &self,
        chunk: usize,
        selection: &Selection,
        data_type: &DataType,
        pool: &Pool,
        parents: &dyn ParentSource,
        store: Option<&dyn ModelStore>,
    ) -> Result<ArrayRef> {
        self.with_chunk(chunk, selection, pool, parents, store, |node, context| {
            context.decode(node, data_type, selection)
        })
    }

    /// Hands the tree of a chunk, with the bytes that some rows need, to `visit`.
    pub(crate) fn with_chunk<T>(
        &self,
        chunk: usize,
        selection: &Selection,
        pool: &Pool,
        parents: &dyn ParentSource,
        store: Option<&dyn ModelStore>,
        visit: impl FnOnce(&Node, &DecodeContext<'_>) -> Result<T>,
    ) -> Result<T> {
        let read = self.plan(chunk, selection, Registry::standard());
        let models = self.load_models(chunk, &read, pool, store)?;
        let node = self.filled_chunk(chunk, &read, pool)?;
        self.with_context(chunk, &node, &models, parents, |context| {
            visit(&node, context)
        })
    }

    /// Bounds of the distances of some rows of a chunk whose bytes are in the pool.
    pub(crate) fn distances(
        &self,
        chunk: usize,
        selection: &Selection,
        query: &Query,
        stage: Stage,
        pool: &Pool,
        store: Option<&dyn ModelStore>,
    ) -> Result<Distances> {
        let purpose = Purpose::Distances(stage);
        let read = self.plan_for(purpose, chunk, selection, Registry::standard());
        let models = self.load_models(chunk, &read, pool, store)?;
        let node = self.filled_chunk(chunk, &read, pool)?;
        let data_type = self.field.data_type();
        self.with_context(chunk, &node, &models, &NoParents, |context| {
            context.distances(&node, data_type, query, stage, selection)
        })
    }

    /// Runs a decoder with the budget of a chunk.
    pub(crate) fn with_context<T>(
        &self,
        chunk: usize,
        node: &Node,
        models: &Models,
        parents: &dyn ParentSource,
        run: impl FnOnce(&DecodeContext<'_>) -> Result<T>,
    ) -> Result<T> {
        let meta = &self.chunks[chunk];
        let budget = meta.budget(node.model_bytes(models));
        let context = DecodeContext::new(Registry::standard(), models, parents, budget);
        run(&context).map_err(|e| self.segments[meta.segment].locate(e))
    }

    /// The models that a chunk needs, out of the pool where they are not loaded yet.
    pub(crate) fn load_models(
        &self,
        chunk: usize,
        read: &ChunkRead,
        pool: &Pool,
        store: Option<&dyn ModelStore>,
    ) -> Result<Models> {
        let fetch = |range: Range<u64>| pool.fetch(range);
        for (index, read) in &read.models {
            let meta = &self.models[*index];
            let segment = &self.segments[meta.segment];
            let parts = segment.verified(read, &fetch)?;
            let bytes = cut(&parts, &meta.range)
                .ok_or_else(|| segment.locate(Error::corrupt("a model was not read")))?;
            let _ = meta
                .loaded
                .set(Arc::new(Model::new(meta.kind.clone(), bytes)));
        }
        self.load_outside(&self.chunks[chunk].root, store)?;
        let mut models = Models::default();
        for model in &self.models {
            // A model without bytes has nothing to load. Models of other chunks stay unloaded;
            // asking for one fails by its kind.
            let inside = model.range.is_empty() && model.outside.is_none();
            let kind = if inside {
                model.kind.as_str()
            } else {
                "unloaded"
            };
            let unloaded = || Arc::new(Model::new(kind, Buffer::from(&[] as &[u8])));
            models.push(model.loaded.get().cloned().unwrap_or_else(unloaded));
        }
        Ok(models)
    }

    /// A chunk's tree with the bytes that were read.
    pub(crate) fn filled_chunk(&self, chunk: usize, read: &ChunkRead, pool: &Pool) -> Result<Node> {
        let meta = &self.chunks[chunk];
        let segment = &self.segments[meta.segment];
        let parts = segment.verified(&read.data, &|range| pool.fetch(range))?;
        filled(&meta.root, meta.packing, &meta.offsets, &parts)
    }

    /// Plans the read of some buffers of a chunk's root.
    pub(crate) fn plan_buffers(&self, chunk: usize, buffers: &[usize]) -> ChunkRead {
        let chunk = &self.chunks[chunk];
        let segment = &self.segments[chunk.segment];
        let places = chunk.offsets.iter().zip(&chunk.root.buffers).enumerate();
        let wanted: Vec<Range<u64>> = places
            .filter(|(i, _)| buffers.contains(i))
            .map(|(_, (start, buffer))| *start..start + buffer.len())
            .collect();
        let data = segment.plan(&wanted);
        ChunkRead {
            ranges: segment.file_ranges(&data),
            data,
            models: Vec::new(),
        }
    }

    /// Fetches the models of a tree that live outside the file.
    fn load_outside(&self, root: &Node, store: Option<&dyn ModelStore>) -> Result<()> {
        let mut result = Ok(());
        root.walk(&mut |node| {
            let Some(meta) = node.model.map(|m| &self.models[m as usize]) else {
                return;
            };
            let (Some(digest), None) = (&meta.outside, meta.loaded.get()) else {
                return;
            };
            let found = store
                .and_then(|s| s.model(digest))
                .map(|bytes| Model::new(meta.kind.clone(), bytes))
                .filter(|model| model.digest() == *digest);
            match found {
                Some(model) => {
                    let _ = meta.loaded.set(Arc::new(model));
                }
                None => {
                    result = Err(Error::unsupported(format!(
                        "a model of kind '{}' lives outside the file (digest {:032x}) and was not \
                         given",
                        meta.kind,
                        u128::from_be_bytes(*digest)
                    )));
                }
            }
        });
        result
    }

    /// Reads all of a segment, for zone maps.
    pub(crate) fn segment_ranges(&self, segment: usize) -> Vec<Range<u64>> {
        let segment = &self.segments[segment];
        let all = 0..segment.len();
        segment.file_ranges(&segment.plan(std::slice::from_ref(&all)))
    }

    /// Decodes an array of a zone map.
    pub(crate) fn decode_zone_part(
        &self,
        segment: usize,
        part: &ZonePart,
        data_type: &DataType,
        pool: &Pool,
        registry: &Registry,
    ) -> Result<ArrayRef> {
        let segment = &self.segments[segment];
        let all = 0..segment.len();
        let read = segment.plan(std::slice::from_ref(&all));
        let parts = segment.verified(&read, &|range| pool.fetch(range))?;
        let node = filled(&part.root, Packing::Aligned, &part.offsets, &parts)?;
        let budget = decode_budget(node.rows, node.rows as u64 * ZONE_BOUNDS, 0);
        let models = Models::default();
        DecodeContext::new(registry, &models, &NoParents, budget)
            .decode_all(&node, data_type)
            .map_err(|e| segment.locate(e))
    }
}

/// The ranges of the payload that a selection needs. `offsets` yields every buffer's start in
/// pre-order, needed or not.
fn collect(
    node: &Node,
    purpose: Purpose,
    selection: Option<&Selection>,
    registry: &Registry,
    offsets: &mut dyn Iterator<Item = u64>,
    wanted: &mut Vec<Range<u64>>,
) {
    let starts: Vec<u64> = node.buffers.iter().filter_map(|_| offsets.next()).collect();
    let reads = match selection {
        // An encoding that is not known fails when it is decoded, with a message that says so.
        Some(s) => match (registry.get(&node.encoding), purpose) {
            (Ok(e), Purpose::Distances(stage)) => Some(e.distance_reads(node, stage, s)),
            (Ok(e), Purpose::Values) if !s.is_all() => Some(e.reads(node, s)),
            _ => None,
        },
        None => None,
    };
    match (selection, reads) {
        (None, _) => {
            for child in &node.children {
                collect(child, purpose, None, registry, offsets, wanted);
            }
        }
        (Some(_), Some(Reads::Parts { buffers, children })) => {
            for (i, range) in buffers {
                if let (Some(start), Some(buffer)) = (starts.get(i), node.buffers.get(i)) {
                    wanted.push(
                        start + range.start.min(buffer.len())..start + range.end.min(buffer.len()),
                    );
                }
            }
            for (i, child) in node.children.iter().enumerate() {
                let selection = children.get(i).and_then(Option::as_ref);
                collect(child, purpose, selection, registry, offsets, wanted);
            }
        }
        (Some(_), _) => {
            for (start, buffer) in starts.iter().zip(&node.buffers) {
                wanted.push(*start..start + buffer.len());
            }
            let all = Selection::all();
            for child in &node.children {
                collect(child, purpose, Some(&all), registry, offsets, wanted);
            }
        }
    }
}

/// The tree with the bytes that were read.
fn filled(root: &Node, packing: Packing, offsets: &[u64], parts: &[(u64, Buffer)]) -> Result<Node> {
    let mut node = root.clone();
    let mut offsets = offsets.iter();
    let mut result = Ok(());
    node.walk_mut(&mut |n| {
        for buffer in &mut n.buffers {
            let Some(&start) = offsets.next() else { return };
            let end = start + buffer.len();
            for (at, bytes) in parts {
                let from = start.max(*at);
                let to = end.min(at + bytes.len() as u64);
                if from < to && result.is_ok() {
                    let (first, len) = ((from - at) as usize, (to - from) as usize);
                    // Decoders may take it that buffers start where Arrow's do.
                    let piece = match packing {
                        Packing::Aligned => bytes.slice_with_length(first, len),
                        Packing::Tight => Buffer::from(&bytes[first..first + len]),
                    };
                    result = buffer.deliver(from - start, piece);
                }
            }
        }
    });
    result.map(|()| node)
}

fn cut(parts: &[(u64, Buffer)], range: &Range<u64>) -> Option<Buffer> {
    if range.is_empty() {
        return Some(Buffer::from(&[] as &[u8]));
    }
    parts.iter().find_map(|(at, bytes)| {
        let start = range.start.checked_sub(*at)?;
        let len = range.end - range.start;
        (start + len <= bytes.len() as u64)
            .then(|| bytes.slice_with_length(start as usize, len as usize))
    })
}

/// Decoded chunks of columns, kept while a scan is inside them.
#[derive(Debug, Default)]
pub(crate) struct ChunkCache {
    arrays: HashMap<(usize, usize), ArrayRef>,
}

impl ChunkCache {
    pub fn get(&self, column: usize, chunk: usize) -> Option<&ArrayRef> {
        self.arrays.get(&(column, chunk))
    }

    pub fn put(&mut self, column: usize, chunk: usize, array: ArrayRef) {
        self.arrays.insert((column, chunk), array);
    }

    /// Keeps only chunks that hold rows at or after `row`.
    pub fn forget_before(&mut self, row: u64, end_of: impl Fn(usize, usize) -> u64) {
        self.arrays
            .retain(|(column, chunk), _| end_of(*column, *chunk) > row);
    }
}
