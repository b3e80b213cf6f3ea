//! Values in blocks that a general byte compressor packs: what zstd and lz4 share.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{BooleanBuffer, Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, UInt32Type};

use crate::encoding::blocks::{Blocks, places};
use crate::encoding::words::packed_bits;
use crate::encoding::{
    DecodeContext, EncodeContext, Node, Reads, Role, Selection, Statistics, Verdict,
};
use crate::error::{Error, Result};

/// Packs the bytes of a block.
pub trait Codec {
    /// Compresses.
    fn compress(&mut self, raw: &[u8]) -> Result<Vec<u8>>;
}

/// Unpacks a stored block into exactly the raw bytes' room; says how many bytes came out.
pub type Unpack<'a> = dyn FnMut(&[u8], &mut [u8]) -> Result<usize> + 'a;

#[derive(Clone, PartialEq, prost::Message)]
struct Metadata {
    /// Rows in each block but the last.
    #[prost(uint64, tag = "1")]
    rows_per_block: u64,
    /// Bytes of each block in the buffer.
    #[prost(uint32, repeated, tag = "2")]
    stored: Vec<u32>,
    /// Bytes of each block's values.
    #[prost(uint32, repeated, tag = "3")]
    raw: Vec<u32>,
}

/// Below this size a frame's header eats the gain.
const SMALLEST: u64 = 128;

/// Verdict of all byte compressors.
pub fn estimate(statistics: &Statistics) -> Verdict {
    match statistics.bytes < SMALLEST {
        true => Verdict::Skip,
        false => Verdict::Measure,
    }
}

/// Encodes in blocks of about `target` raw bytes; declines if nothing is saved.
pub fn encode(
    id: &'static str,
    array: &ArrayRef,
    target: usize,
    codec: &mut dyn Codec,
    context: &mut EncodeContext<'_>,
) -> Result<Option<Node>> {
    let rows = array.len();
    let bytes = values(array)?;
    let per_block = match Blocks::rows_for(rows, bytes.len(), target) {
        all if all >= rows => rows.max(1),
        // Whole bytes of booleans.
        some => some,
    };
    let mut metadata = Metadata {
        rows_per_block: per_block as u64,
        ..Metadata::default()
    };
    let mut packed = Vec::new();
    let ends = RowEnds::of(array);
    for start in (0..rows).step_by(per_block) {
        let end = (start + per_block).min(rows);
        let raw = &bytes[ends.at(start)..ends.at(end)];
        let stored = codec.compress(raw)?;
        let stored = if stored.len() < raw.len() {
            &stored
        } else {
            raw
        };
        let length = |bytes: &[u8]| {
            u32::try_from(bytes.len())
                .map_err(|_| Error::invalid("values of more than 4 GiB in one block"))
        };
        metadata.stored.push(length(stored)?);
        metadata.raw.push(length(raw)?);
        packed.extend_from_slice(stored);
    }
    if packed.len() >= bytes.len() {
        return Ok(None);
    }
    let mut node = Node::new(id, rows)
        .with_metadata(&metadata)
        .with_buffer(Buffer::from_vec(packed));
    if let Some(values) = array.as_binary_opt::<i32>() {
        node = node.with_child(context.child(id, &lengths(values), Role::Values)?);
    }
    Ok(Some(node))
}

/// Lengths of binary values.
pub fn lengths(values: &BinaryArray) -> ArrayRef {
    let lengths = values.offsets().lengths().map(|n| n as u32);
    Arc::new(UInt32Array::from_iter_values(lengths))
}

/// The bytes of all values, one after the other.
fn values(array: &ArrayRef) -> Result<Buffer> {
    Ok(match array.data_type() {
        DataType::Boolean => packed_bits(array.as_boolean().values()),
        DataType::Binary => {
            let values = array.as_binary::<i32>();
            let offsets = values.value_offsets();
            let (first, last) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
            values.values().slice_with_length(first, last - first)
        }
        DataType::FixedSizeBinary(_) => Buffer::from(array.as_fixed_size_binary().value_data()),
        other => {
            let width = width(other)?;
            let data = array.to_data();
            data.buffers()[0].slice_with_length(data.offset() * width, data.len() * width)
        }
    })
}

/// Where the bytes of a row begin.
enum RowEnds {
    Bits,
    Width(usize),
    Offsets(OffsetBuffer<i32>),
}

impl RowEnds {
    fn of(array: &ArrayRef) -> Self {
        match array.data_type() {
            DataType::Boolean => Self::Bits,
            DataType::Binary => Self::Offsets(array.as_binary::<i32>().offsets().clone()),
            other => Self::Width(width(other).unwrap_or(0)),
        }
    }

    fn at(&self, row: usize) -> usize {
        match self {
            Self::Bits => row.div_ceil(8),
            Self::Width(width) => row * width,
            Self::Offsets(offsets) => (offsets[row] - offsets[0]) as usize,
        }
    }
}

fn width(data_type: &DataType) -> Result<usize> {
    match data_type {
        DataType::FixedSizeBinary(n) => Ok((*n).max(0) as usize),
        other => other
            .primitive_width()
            .ok_or_else(|| Error::corrupt(format!("no byte form of {other}"))),
    }
}

/// Decodes the selected rows: unpacks the blocks that they are in.
pub fn decode(
    node: &Node,
    data_type: &DataType,
    selection: &Selection,
    unpack: &mut Unpack<'_>,
    context: &DecodeContext<'_>,
) -> Result<ArrayRef> {
    let binary = *data_type == DataType::Binary;
    node.expect(1, usize::from(binary))?;
    let metadata: Metadata = node.parse_metadata()?;
    let (blocks, places) = table(node, &metadata)?;
    let touched = blocks.touched(selection);
    let raw_lengths = || touched.iter().flat_map(|b| &metadata.raw[b.clone()]);
    let total: u64 = raw_lengths().map(|&n| u64::from(n)).sum();
    context.reserve(total)?;
    let mut bytes = vec![0u8; total as usize];
    let mut room = bytes.as_mut_slice();
    for blocks in &touched {
        let stored = node
            .buffer(0)?
            .slice(places[blocks.start]..places[blocks.end])?;
        let mut stored = stored.as_slice();
        for i in blocks.clone() {
            let (block, rest) = stored.split_at(metadata.stored[i] as usize);
            let (raw, left) = room.split_at_mut(metadata.raw[i] as usize);
            if block.len() == raw.len() {
                raw.copy_from_slice(block);
            } else if unpack(block, raw)? != raw.len() {
                return Err(Error::corrupt("a block is shorter than it says"));
            }
            (stored, room) = (rest, left);
        }
    }
    let rows = touched.iter().map(|b| blocks.rows_of(b).len()).sum();
    let all = match binary {
        true => {
            let covered = blocks.covered(&touched, context)?;
            let lengths = node.child_of(0, node.rows)?;
            let lengths = context.decode(lengths, &DataType::UInt32, &covered)?;
            from_lengths(&lengths, Buffer::from_vec(bytes), context)?
        }
        false => fixed(Buffer::from_vec(bytes), data_type, rows)?,
    };
    blocks.within(&touched, selection).take(&all)
}

fn table(node: &Node, metadata: &Metadata) -> Result<(Blocks, Vec<u64>)> {
    let per_block = usize::try_from(metadata.rows_per_block).unwrap_or(0);
    let blocks = Blocks::new(node.rows, per_block, metadata.stored.len())?;
    if metadata.raw.len() != metadata.stored.len() {
        return Err(Error::corrupt("block table with unequal columns"));
    }
    Ok((blocks, places(&metadata.stored, node.buffer(0)?.len())?))
}

/// Binary values from their lengths and bytes.
pub fn from_lengths(
    lengths: &ArrayRef,
    bytes: Buffer,
    context: &DecodeContext<'_>,
) -> Result<ArrayRef> {
    let lengths = lengths.as_primitive::<UInt32Type>().values();
    context.reserve_rows(lengths.len() + 1, 4)?;
    let mut offsets = Vec::with_capacity(lengths.len() + 1);
    let mut end = 0u64;
    offsets.push(0i32);
    for &length in lengths {
        end += u64::from(length);
        offsets.push(end as i32);
    }
    if end != bytes.len() as u64 || end > i32::MAX as u64 {
        return Err(Error::corrupt(format!(
            "values of {end} bytes in all from {} bytes",
            bytes.len()
        )));
    }
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    Ok(Arc::new(BinaryArray::try_new(offsets, bytes, None)?))
}

fn fixed(bytes: Buffer, data_type: &DataType, rows: usize) -> Result<ArrayRef> {
    let expected = match data_type {
        DataType::Boolean => rows.div_ceil(8),
        other => rows.saturating_mul(width(other)?),
    };
    if bytes.len() != expected {
        return Err(Error::corrupt(format!(
            "{} bytes for {rows} values of {data_type}",
            bytes.len()
        )));
    }
    Ok(match data_type {
        DataType::Boolean => {
            Arc::new(BooleanArray::new(BooleanBuffer::new(bytes, 0, rows), None)) as ArrayRef
        }
        DataType::FixedSizeBinary(n) => Arc::new(FixedSizeBinaryArray::try_new_with_len(
            *n, bytes, None, rows,
        )?),
        other => {
            let data = ArrayData::builder(other.clone()).len(rows);
            // Vectors of bytes are not aligned for wider values.
            make_array(data.add_buffer(bytes).align_buffers(true).build()?)
        }
    })
}

/// The blocks that a selection needs.
pub fn reads(node: &Node, selection: &Selection) -> Reads {
    let Ok(metadata) = node.parse_metadata::<Metadata>() else {
        return Reads::All;
    };
    let Ok((blocks, places)) = table(node, &metadata) else {
        return Reads::All;
    };
    let touched = blocks.touched(selection);
    let lengths = match (touched.first(), touched.last()) {
        (Some(first), Some(last)) => Selection::range(blocks.rows_of(&(first.start..last.end))),
        _ => Selection::range(0..0),
    };
    Reads::Parts {
        buffers: touched
            .iter()
            .map(|b| (0, places[b.start]..places[b.end]))
            .collect(),
        children: node
            .children
            .iter()
            .map(|_| Some(lengths.clone()))
            .collect(),
    }
}
