//! A column's block, checked: segments, models, chunks, zone map.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::FieldRef;

use crate::encoding::{Model, ModelDigest, Node};
use crate::error::{Error, Result};
use crate::file::layout::ColumnRole;
use crate::file::segment::Segment;
use crate::file::shape::Packing;
use crate::file::{proto, shape, types};

/// Most rows of one chunk.
const MAX_CHUNK_ROWS: u64 = 1 << 26;

/// A chunk: consecutive rows of one column as an encoded array.
#[derive(Debug)]
pub struct ChunkMeta {
    /// Rows of the file.
    pub rows: Range<u64>,
    /// Position in the column's segment list.
    pub segment: usize,
    /// Shape of the encoded array; its buffers are absent.
    pub root: Node,
    /// Where each buffer starts in the segment's payload, in pre-order.
    pub(crate) offsets: Vec<u64>,
    /// How the buffers lie there.
    pub(crate) packing: Packing,
    /// Declared size of the decoded Arrow array.
    pub decoded_bytes: u64,
}

/// Where a model is stored.
#[derive(Debug)]
pub struct ModelMeta {
    /// Its kind.
    pub kind: String,
    /// Position in the column's segment list.
    pub segment: usize,
    /// Bytes of the payload; empty if it lives outside the file.
    pub range: Range<u64>,
    /// Its digest, if it lives outside the file.
    pub outside: Option<ModelDigest>,
    pub(crate) loaded: OnceLock<Arc<Model>>,
}

/// One array of a zone map.
#[derive(Debug)]
pub(crate) struct ZonePart {
    pub root: Node,
    pub offsets: Vec<u64>,
}

/// Shape of a zone map.
#[derive(Debug)]
pub(crate) struct ZonesMeta {
    pub segment: usize,
    pub bounds: Option<(ZonePart, ZonePart)>,
    pub null_count: ZonePart,
    pub flags: ZonePart,
}

/// What is known of a column without reading its data.
#[derive(Debug)]
pub struct ColumnMeta {
    /// Position in the column directory.
    pub index: usize,
    /// Name, logical type, metadata.
    pub field: FieldRef,
    /// What it is to readers.
    pub role: ColumnRole,
    /// Columns that it is conditioned on: earlier positions in the directory.
    pub parents: Vec<usize>,
    /// Columns of one group share chunk boundaries.
    pub group: Option<u32>,
    /// Declared and measured loss; `None` for exact columns.
    pub lossiness: Option<proto::Lossiness>,
    /// The encoding spec that was asked for; empty if none was.
    pub words: String,
    /// Segments.
    pub segments: Vec<Segment>,
    /// Models.
    pub models: Vec<ModelMeta>,
    /// Chunks in row order.
    pub chunks: Vec<ChunkMeta>,
    /// Nulls in the column.
    pub null_count: u64,
    /// The shape of the zone map, or what is wrong with it.
    pub(crate) zones: Option<Result<ZonesMeta, String>>,
}

/// What the checks of a block need to know of the file.
pub(crate) struct BlockContext<'a> {
    pub index: usize,
    pub role: ColumnRole,
    pub rows: u64,
    pub zone_rows: u64,
    /// End of the area that segments lie in.
    pub area: u64,
    pub encodings: &'a [Arc<str>],
}

impl ColumnMeta {
    pub(crate) fn parse(message: &proto::ColumnBlock, context: &BlockContext<'_>) -> Result<Self> {
        let field = types::field_from_proto(
            message
                .field
                .as_ref()
                .ok_or_else(|| Error::corrupt("a column block without its field"))?,
        )?;
        let segments = message
            .segments
            .iter()
            .enumerate()
            .map(|(i, s)| Segment::parse(s, context.index as u32, i as u32, context.area))
            .collect::<Result<Vec<_>>>()?;
        let mut column = Self {
            index: context.index,
            role: context.role,
            parents: parents(message, context.index)?,
            group: message.group,
            lossiness: message.lossiness.clone(),
            words: message.words.clone(),
            models: Vec::new(),
            chunks: Vec::new(),
            zones: None,
            null_count: message.null_count,
            field,
            segments,
        };
        column.models = message
            .models
            .iter()
            .map(|m| column.model(m))
            .collect::<Result<_>>()?;
        let mut row = 0u64;
        for chunk in &message.chunks {
            let end = row.saturating_add(chunk.rows);
            if end > context.rows || chunk.rows > MAX_CHUNK_ROWS || chunk.rows == 0 {
                return Err(Error::corrupt("the rows of a chunk do not fit the table"));
            }
            let parsed = column.chunk(chunk, row..end, context)?;
            column.chunks.push(parsed);
            row = end;
        }
        if row != context.rows {
            return Err(Error::corrupt(format!(
                "chunks hold {row} rows of a table of {}",
                context.rows
            )));
        }
        if let Some(zones) = &message.zones {
            let count = context.rows.div_ceil(context.zone_rows.max(1));
            let shape = column.zone_map(zones, count, context);
            column.zones = Some(shape.map_err(|e| format!("its zone map cannot be read: {e}")));
        }
        Ok(column)
    }

    fn segment_len(&self, segment: u32) -> Result<u64> {
        self.segments
            .get(segment as usize)
            .map(Segment::len)
            .ok_or_else(|| Error::corrupt(format!("segment {segment} does not exist")))
    }

    fn model(&self, message: &proto::ModelRef) -> Result<ModelMeta> {
        let outside = match message.digest.as_slice() {
            [] => None,
            digest => Some(
                ModelDigest::try_from(digest)
                    .map_err(|_| Error::corrupt("a model's digest has a wrong length"))?,
            ),
        };
        // A model that no chunk came to use keeps its number but has no bytes and no segment.
        let len = match message.length {
            0 => message.offset,
            _ => self.segment_len(message.segment)?,
        };
        match message.offset.checked_add(message.length) {
            Some(end) if end <= len => Ok(ModelMeta {
                kind: message.kind.clone(),
                segment: message.segment as usize,
                range: message.offset..end,
                outside,
                loaded: OnceLock::new(),
            }),
            _ => Err(Error::corrupt("a model lies outside its segment")),
        }
    }

    fn chunk(
        &self,
        message: &proto::Chunk,
        rows: Range<u64>,
        context: &BlockContext<'_>,
    ) -> Result<ChunkMeta> {
        let packing = match message.tight {
            true => Packing::Tight,
            false => Packing::Aligned,
        };
        let (root, offsets) = self.tree(
            message.root.as_ref(),
            packing,
            message.segment,
            message.offset,
            context,
        )?;
        let len = self.segment_len(message.segment)?;
        if root.rows as u64 != message.rows {
            return Err(Error::corrupt(
                "a chunk's root has other rows than the chunk",
            ));
        }
        if message.decoded_bytes > shape::declared_limit(len) {
            return Err(Error::corrupt(format!(
                "a chunk of {len} bytes declares {} decoded ones",
                message.decoded_bytes
            )));
        }
        let mut sound = true;
        root.walk(&mut |node| {
            sound &= node.model.is_none_or(|m| (m as usize) < self.models.len());
            sound &= node
                .parents
                .iter()
                .all(|&p| (p as usize) < self.parents.len());
        });
        if !sound {
            return Err(Error::corrupt(
                "a node names a model or parent that is not there",
            ));
        }
        Ok(ChunkMeta {
            rows,
            segment: message.segment as usize,
            root,
            offsets,
            packing,
            decoded_bytes: message.decoded_bytes,
        })
    }

    fn tree(
        &self,
        node: Option<&proto::Node>,
        packing: Packing,
        segment: u32,
        offset: u64,
        context: &BlockContext<'_>,
    ) -> Result<(Node, Vec<u64>)> {
        let node = node.ok_or_else(|| Error::corrupt("an encoded array without its root"))?;
        let root = shape::from_proto(node, context.encodings)?;
        let offsets = shape::buffer_offsets(&root, packing, offset, self.segment_len(segment)?)?;
        Ok((root, offsets))
    }

    fn zone_map(
        &self,
        message: &proto::ZoneMap,
        count: u64,
        context: &BlockContext<'_>,
    ) -> Result<ZonesMeta> {
        let len = self.segment_len(message.segment)?;
        let mut at = message.offset;
        let mut part = |node: Option<&proto::Node>| -> Result<ZonePart> {
            let packing = Packing::Aligned;
            let (root, offsets) = self.tree(node, packing, message.segment, at, context)?;
            if root.rows as u64 != count {
                return Err(Error::corrupt("a zone map with a wrong number of zones"));
            }
            at = shape::end_of(&root, packing, at, len)?;
            Ok(ZonePart { root, offsets })
        };
        let bounds = match (&message.min, &message.max) {
            (Some(min), Some(max)) => Some((part(Some(min))?, part(Some(max))?)),
            _ => None,
        };
        Ok(ZonesMeta {
            segment: message.segment as usize,
            bounds,
            null_count: part(message.null_count.as_ref())?,
            flags: part(message.flags.as_ref())?,
        })
    }

    /// The chunks that hold some of these rows.
    pub fn chunks_of(&self, rows: &Range<u64>) -> Range<usize> {
        let first = self.chunks.partition_point(|c| c.rows.end <= rows.start);
        let last = self.chunks.partition_point(|c| c.rows.start < rows.end);
        first..last.max(first)
    }

    /// The bytes of the file that the chunk of a row shares with the chunk before or after it.
    pub(crate) fn shared_from(&self, row: u64) -> Option<Range<u64>> {
        let at = self.chunks.partition_point(|c| c.rows.end <= row);
        let segment = self.chunks.get(at)?.segment;
        let of = |chunk: Option<&ChunkMeta>| chunk.is_some_and(|c| c.segment == segment);
        let before = at.checked_sub(1).and_then(|i| self.chunks.get(i));
        match of(before) || of(self.chunks.get(at + 1)) {
            true => self.segments[segment].file_range(),
            false => None,
        }
    }

    /// Stored bytes: segments, inline ones too.
    pub fn stored_bytes(&self) -> u64 {
        self.segments.iter().map(Segment::stored_len).sum()
    }
}

fn parents(message: &proto::ColumnBlock, index: usize) -> Result<Vec<usize>> {
    message
        .parents
        .iter()
        .map(|p| {
            if !p.digest.is_empty() {
                return Err(Error::unsupported(format!(
                    "its parent '{}' is a column of another file, which was not given",
                    p.name
                )));
            }
            match (p.column as usize) < index {
                true => Ok(p.column as usize),
                false => Err(Error::corrupt("a parent that is not an earlier column")),
            }
        })
        .collect()
}
