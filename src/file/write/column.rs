//! One column while a file is written: its planner, models, chunks and zone map.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;

use super::loss::{LossMeter, Rounding};
use super::readback::ExpectedColumn;
use super::zones::ZoneBuilder;
use crate::encoding::context::ChildEncoder;
use crate::encoding::planner::Planner;
use crate::encoding::{
    Access, DecodeContext, EncodeContext, Loss, Model, Models, Node, Profile, Registry, Role,
    Selection, grid,
};
use crate::error::{Error, Result};
use crate::file::arrays::decoded_bytes;
use crate::file::fingerprint::fingerprint;
use crate::file::layout::{ColumnData, ColumnSpec};
use crate::file::segment::{
    COARSE_PAGE_LOG2, FINE_PAGE_LOG2, GROUP_PAGE_LOG2, INLINE_MAX, checksum_table,
};
use crate::file::shape::{self, EncodingTable, Packing};
use crate::file::{proto, types};

/// A chunk's decoded size that writers aim at: a megabyte or two is enough for object stores.
const CHUNK_BYTES: usize = 2 << 20;
/// Most rows of a chunk: what a scan looks at together.
pub(crate) const CHUNK_ROWS: usize = 1 << 16;

/// Chunks of up to this many bytes that are decoded as a whole share segments, which begin at multiples
/// of 64.
const SHARING: usize = 16 << 10;
/// Bytes of a segment that chunks share: readers fetch it whole.
const SHARED: usize = 32 << 10;
/// Bytes that segments which are not full may take in all columns together.
const SHARED_IN_ALL: usize = 8 << 20;

/// A chunk that was encoded.
pub(crate) struct EncodedChunk {
    node: Node,
    decoded_bytes: u64,
}

/// State of a column across sections.
pub(crate) struct ColumnWriter {
    pub spec: ColumnSpec,
    planner: Planner,
    models: Models,
    stored_models: Vec<Option<proto::ModelRef>>,
    zones: ZoneBuilder,
    loss: LossMeter,
    /// Loss that a layout's encoding declares.
    declared: Loss,
    chunk_rows: Option<usize>,
    block: proto::ColumnBlock,
    /// What a reader must find again; `None` if nobody will read it back.
    expected: Option<ExpectedColumn>,
    /// The segment that small chunks go to: its number and what it holds so far.
    shared: Option<(u32, Vec<u8>)>,
    /// How large it may become.
    most_shared: usize,
}

/// Where the bytes of segments go: gives the offset of what is written.
pub(crate) trait SegmentSink {
    /// Writes bytes at the next multiple of 64.
    fn segment(&mut self, payload: &[u8], checksums: &[u8]) -> Result<u64>;
}

impl ColumnWriter {
    /// The writer of one of so many columns, which notes what was given if that is read back.
    pub fn new(
        spec: ColumnSpec,
        planner: Planner,
        columns: usize,
        reads_back: bool,
    ) -> Result<Self> {
        let parent = |&column: &usize| proto::Parent {
            column: column as u32,
            ..Default::default()
        };
        let block = proto::ColumnBlock {
            field: Some(types::field_to_proto(&spec.field)?),
            parents: spec.parents.iter().map(parent).collect(),
            group: spec.group,
            words: spec.words.clone().unwrap_or_default(),
            ..Default::default()
        };
        // Columns of a group, as the layers of a cache, are not what is searched.
        let own = spec.group.is_none() && spec.parents.is_empty();
        let loss = match own {
            true => LossMeter::with_recall(spec.field.data_type()),
            false => LossMeter::default(),
        };
        Ok(Self {
            spec,
            planner,
            models: Models::default(),
            stored_models: Vec::new(),
            zones: ZoneBuilder::default(),
            loss,
            declared: Loss::Exact,
            chunk_rows: None,
            block,
            expected: reads_back.then(ExpectedColumn::default),
            shared: None,
            most_shared: SHARED.min(SHARED_IN_ALL / columns.max(1)),
        })
    }

    /// Takes note of what the values lost before they came here.
    pub fn rounded(&mut self, rounding: Rounding) {
        self.loss.rounded(rounding);
    }

    /// Encodes the column's share of a section.
    pub fn encode(
        &mut self,
        data: &ColumnData,
        parents: &[ArrayRef],
        profile: Profile,
        zone_rows: usize,
    ) -> Result<Vec<EncodedChunk>> {
        let array = &data.array;
        for model in &data.models {
            self.models.push(Arc::clone(model));
        }
        // Values that only readers derive: nothing is known of them.
        let follows = self.follows(array);
        if self.spec.role.is_shown() && !follows {
            self.zones.add(array, zone_rows)?;
        }
        if !follows {
            self.block.null_count += array.logical_null_count() as u64;
        }
        let grouped = self.spec.group.is_some();
        let rows = *self
            .chunk_rows
            .get_or_insert_with(|| chunk_rows(array, zone_rows, grouped));
        let mut chunks = Vec::new();
        let mut at = 0;
        while at < array.len() {
            let len = rows.min(array.len() - at);
            let slice = array.slice(at, len);
            let parents: Vec<ArrayRef> = parents.iter().map(|p| p.slice(at, len)).collect();
            chunks.push(self.encode_chunk(&slice, data, &parents, profile)?);
            at += len;
        }
        Ok(chunks)
    }

    /// Whether a layout gave nulls in the place of values that follow from the column's parents.
    fn follows(&self, array: &ArrayRef) -> bool {
        *array.data_type() == DataType::Null && *self.spec.field.data_type() != DataType::Null
    }

    /// Encodes a chunk of a section.
    fn encode_chunk(
        &mut self,
        array: &ArrayRef,
        data: &ColumnData,
        parents: &[ArrayRef],
        profile: Profile,
    ) -> Result<EncodedChunk> {
        let forced = data.encoding;
        let registry = Registry::standard();
        let follows = self.follows(array);
        let mut context =
            EncodeContext::new(&self.planner, registry, &mut self.models, parents, profile);
        context.training = Some(Arc::clone(&data.array));
        context.known = data.known.clone();
        let chosen = match forced {
            Some(id) => self.planner.encode_chunk_as(id, array, &mut context)?,
            None => None,
        };
        let decoded_bytes = match follows {
            true => parents.iter().map(|p| decoded_bytes(p)).sum(),
            false => decoded_bytes(array),
        };
        let proven = context.proven;
        let forced_loss = match forced {
            Some(id) => registry.get(id)?.loss(&[]),
            None => Loss::Exact,
        };
        let exact = forced_loss.is_exact();
        let keeps = |n: &Node| proven || self.reads_back(n, array, parents, decoded_bytes, exact);
        let node = match chosen.filter(keeps) {
            Some(node) => node,
            None if follows => {
                return Err(Error::invalid(
                    "values that do not follow from the column's parents",
                ));
            }
            None => {
                let (models, planner) = (&mut self.models, &self.planner);
                let mut context = EncodeContext::new(planner, registry, models, parents, profile);
                context.training = Some(Arc::clone(&data.array));
                planner.encode_chunk(array, &mut context)?
            }
        };
        if !exact {
            self.declared = forced_loss;
        }
        let lossy = match self.declared().is_exact() {
            true => None,
            false => Some(self.loss.add(array, &node, &self.models, parents)?),
        };
        if let Some(expected) = &mut self.expected {
            // Readers must find what was given, or what is left of it; of values that they derive
            // nothing was given.
            let values = lossy.as_ref().unwrap_or(array);
            let known = (lossy.is_some() || !follows).then(|| fingerprint(values));
            expected.chunks.push(known.transpose()?);
        }
        Ok(EncodedChunk {
            node,
            decoded_bytes,
        })
    }

    /// What the column may lose: by the user's spec, or by the encoding that its layout asks for.
    fn declared(&self) -> Loss {
        match self.planner.loss(Registry::standard()) {
            Loss::Exact => self.declared.clone(),
            asked => asked,
        }
    }

    /// Whether readers will get these values back from a node, within the memory that they grant;
    /// some values, if loss is declared. What a layout asked for is checked so before it is written;
    /// the planner's own encodings need far less memory than is granted.
    fn reads_back(
        &self,
        node: &Node,
        array: &ArrayRef,
        parents: &[ArrayRef],
        decoded_bytes: u64,
        exact: bool,
    ) -> bool {
        let models = node.model_bytes(&self.models);
        let budget = shape::decode_budget(node.rows, decoded_bytes, models);
        let context = DecodeContext::new(Registry::standard(), &self.models, &parents, budget);
        context
            .decode(node, array.data_type(), &Selection::all())
            .is_ok_and(|back| !exact || back.to_data() == array.to_data())
    }

    /// Writes a section's chunks, and the models that they are the first to use.
    pub fn store(
        &mut self,
        index: u32,
        chunks: Vec<EncodedChunk>,
        table: &mut EncodingTable,
        sink: &mut dyn SegmentSink,
    ) -> Result<()> {
        self.stored_models.resize(self.models.len(), None);
        let mut new = Vec::new();
        for chunk in &chunks {
            chunk.node.walk(&mut |node| {
                let fresh = node
                    .model
                    .filter(|&m| self.stored_models.get(m as usize) == Some(&None));
                new.extend(fresh.filter(|m| !new.contains(m)));
            });
        }
        self.store_models(index, &new, sink)?;
        for chunk in chunks {
            let access = Registry::standard().get(&chunk.node.encoding)?.access();
            let packing = match is_opaque(&chunk.node)? {
                true => Packing::Tight,
                false => Packing::Aligned,
            };
            let mut payload = Vec::new();
            shape::write_buffers(&chunk.node, packing, &mut payload)?;
            let page = match access {
                _ if packing == Packing::Tight => COARSE_PAGE_LOG2,
                Access::PerValue if grid::has_groups(self.spec.field.data_type()) => {
                    GROUP_PAGE_LOG2
                }
                Access::PerValue => FINE_PAGE_LOG2,
                _ => COARSE_PAGE_LOG2,
            };
            if chunk.decoded_bytes > shape::declared_limit(payload.len() as u64) {
                return Err(Error::invalid(format!(
                    "{} rows of {} bytes are too much for one chunk of {} stored bytes",
                    chunk.node.rows,
                    chunk.decoded_bytes,
                    payload.len()
                ))
                .in_column(self.spec.field.name()));
            }
            let small = INLINE_MAX + 1..=SHARING.min(self.most_shared);
            let (segment, offset) = match packing {
                Packing::Tight if small.contains(&payload.len()) => {
                    self.share(index, &payload, sink)?
                }
                _ => (self.segment(index, payload, page, sink)?, 0),
            };
            self.block.chunks.push(proto::Chunk {
                rows: chunk.node.rows as u64,
                segment,
                offset,
                root: Some(table.message(&chunk.node)),
                decoded_bytes: chunk.decoded_bytes,
                tight: packing == Packing::Tight,
            });
        }
        Ok(())
    }

    fn store_models(&mut self, index: u32, new: &[u32], sink: &mut dyn SegmentSink) -> Result<()> {
        if new.is_empty() {
            return Ok(());
        }
        let mut payload = Vec::new();
        let segment = self.block.segments.len() as u32;
        for &number in new {
            let model: &Model = self.models.get(number)?;
            if model.is_outside() {
                self.stored_models[number as usize] = Some(proto::ModelRef {
                    kind: model.kind().to_owned(),
                    digest: model.digest().to_vec(),
                    ..Default::default()
                });
                continue;
            }
            self.stored_models[number as usize] = Some(proto::ModelRef {
                kind: model.kind().to_owned(),
                segment,
                offset: payload.len() as u64,
                length: model.bytes().len() as u64,
                digest: Vec::new(),
            });
            payload.extend_from_slice(model.bytes());
        }
        if !payload.is_empty() {
            self.segment(index, payload, COARSE_PAGE_LOG2, sink)?;
        }
        Ok(())
    }

    /// Puts a small chunk into the segment that is open; gives its number and the chunk's place.
    fn share(
        &mut self,
        index: u32,
        payload: &[u8],
        sink: &mut dyn SegmentSink,
    ) -> Result<(u32, u64)> {
        let held = self.shared.as_ref().map_or(0, |(_, held)| held.len());
        if held + payload.len() > self.most_shared {
            self.close_shared(index, sink)?;
        }
        let segments = &mut self.block.segments;
        let (number, held) = self.shared.get_or_insert_with(|| {
            segments.push(proto::Segment::default());
            (segments.len() as u32 - 1, Vec::new())
        });
        let at = held.len() as u64;
        held.extend_from_slice(payload);
        Ok((*number, at))
    }

    /// Writes the segment that small chunks share.
    fn close_shared(&mut self, index: u32, sink: &mut dyn SegmentSink) -> Result<()> {
        if let Some((number, payload)) = self.shared.take() {
            let message = stored(index, number, payload, COARSE_PAGE_LOG2, sink)?;
            self.block.segments[number as usize] = message;
        }
        Ok(())
    }

    fn segment(
        &mut self,
        index: u32,
        payload: Vec<u8>,
        page_log2: u32,
        sink: &mut dyn SegmentSink,
    ) -> Result<u32> {
        let number = self.block.segments.len() as u32;
        let message = stored(index, number, payload, page_log2, sink)?;
        self.block.segments.push(message);
        Ok(number)
    }

    /// Writes the zone map and gives the finished block.
    pub fn finish(
        mut self,
        index: u32,
        table: &mut EncodingTable,
        sink: &mut dyn SegmentSink,
    ) -> Result<(proto::ColumnBlock, Option<ExpectedColumn>)> {
        self.close_shared(index, sink)?;
        if let Some(zones) = std::mem::take(&mut self.zones).finish()? {
            // Zone maps are small and read at once: the planner for one array at a time will do.
            let planner = Planner::default();
            let mut payload = Vec::new();
            let mut put = |array: &ArrayRef| -> Result<Option<proto::Node>> {
                let mut models = Models::default();
                let mut context = EncodeContext::new(
                    &planner,
                    Registry::standard(),
                    &mut models,
                    &[],
                    Profile::Fast,
                )
                .without_models();
                let node = planner.encode_child(array, Role::Values, &mut context)?;
                shape::write_buffers(&node, Packing::Aligned, &mut payload)?;
                Ok(Some(table.message(&node)))
            };
            let (min, max) = match &zones.bounds {
                Some((min, max)) => (put(min)?, put(max)?),
                None => (None, None),
            };
            let null_count = put(&zones.null_count)?;
            let flags = put(&zones.flags)?;
            if let Some(expected) = &mut self.expected {
                expected.zones = Some(zones.fingerprint()?);
            }
            let segment = self.segment(index, payload, COARSE_PAGE_LOG2, sink)?;
            self.block.zones = Some(proto::ZoneMap {
                segment,
                offset: 0,
                min,
                max,
                null_count,
                flags,
            });
        }
        if let Some(expected) = &mut self.expected {
            let outside = self.models.iter().filter(|m| m.is_outside());
            expected.outside = outside.cloned().collect();
        }
        self.block.lossiness = self.loss.message(&self.declared());
        self.block.models = self
            .stored_models
            .into_iter()
            .map(Option::unwrap_or_default)
            .collect();
        Ok((self.block, self.expected))
    }
}

/// Whether all bytes of a tree are needed for any of its values, whatever its root makes of them.
fn is_opaque(node: &Node) -> Result<bool> {
    let own = node.buffers.iter().all(|b| b.is_empty())
        || Registry::standard().get(&node.encoding)?.access() == Access::Opaque;
    let children = node.children.iter().map(is_opaque);
    Ok(own && children.collect::<Result<Vec<_>>>()?.into_iter().all(|c| c))
}

/// Writes a segment, or leaves it to the column block if it is small.
fn stored(
    column: u32,
    number: u32,
    payload: Vec<u8>,
    page_log2: u32,
    sink: &mut dyn SegmentSink,
) -> Result<proto::Segment> {
    if payload.len() <= INLINE_MAX {
        return Ok(proto::Segment {
            inline: Some(payload),
            ..Default::default()
        });
    }
    let checksums = checksum_table(&payload, page_log2, column, number);
    Ok(proto::Segment {
        offset: sink.segment(&payload, &checksums)?,
        length: payload.len() as u64,
        page_log2,
        inline: None,
    })
}

/// Rows of this column's chunks: a power of two of zones.
fn chunk_rows(array: &ArrayRef, zone_rows: usize, grouped: bool) -> usize {
    let most = CHUNK_ROWS.max(zone_rows);
    if grouped || array.is_empty() {
        return most / zone_rows * zone_rows;
    }
    let width = (decoded_bytes(array) as usize).div_ceil(array.len()).max(1);
    let mut rows = zone_rows;
    while rows * 2 <= most && rows * 2 * width <= CHUNK_BYTES {
        rows *= 2;
    }
    rows
}
