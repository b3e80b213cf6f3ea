//! Shapes of encoded arrays: node trees to and from messages, and where their buffers lie.

use std::collections::HashMap;
use std::sync::Arc;

use super::proto;
use crate::encoding::node::{MAX_DEPTH, MAX_ROWS};
use crate::encoding::{Node, NodeBuffer};
use crate::error::{Error, Result};

/// Buffers of this length and more start at multiples of [`LARGE_ALIGN`].
const LARGE: u64 = 4096;
const LARGE_ALIGN: u64 = 64;
const SMALL_ALIGN: u64 = 8;

/// A chunk may declare this many decoded bytes whatever its stored size is, and
const MAX_DECODED: u64 = 256 << 20;
/// this many for each stored byte.
const MAX_EXPANSION: u64 = 4096;
/// What decoders may allocate whatever a chunk declares.
const BUDGET_BASE: u64 = 1 << 20;
/// Times the declared size, for what they need on the way.
const BUDGET_FACTOR: u64 = 8;
/// For each row: integers and contexts of columns whose values take a byte or two. Rows cost nothing
/// to declare, so only as many as any chunk has in practice count.
const BUDGET_ROW: u64 = 64;
const BUDGET_ROWS: u64 = 1 << 20;
/// For each byte of a model: tables made of it.
const BUDGET_MODEL: u64 = 16;

/// Bytes that decoding a chunk may allocate: enough for every chunk that a writer makes (it checks
/// conditioned ones), and in proportion to what the file declares or holds.
pub fn decode_budget(rows: usize, decoded_bytes: u64, model_bytes: u64) -> u64 {
    let rows = (rows as u64).min(BUDGET_ROWS);
    (BUDGET_BASE + rows * BUDGET_ROW)
        .saturating_add(decoded_bytes.saturating_mul(BUDGET_FACTOR))
        .saturating_add(model_bytes.saturating_mul(BUDGET_MODEL))
}

/// Most decoded bytes that a chunk of so many stored bytes may declare.
pub fn declared_limit(stored: u64) -> u64 {
    MAX_DECODED.saturating_add(stored.saturating_mul(MAX_EXPANSION))
}

/// How the buffers of a tree lie in a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// At multiples of eight, large ones of 64: they are used where they lie.
    Aligned,
    /// One at the end of the other: chunks that are decoded as a whole need no more, and where they are
    /// a few kilobytes, padding would be half a per cent of a file.
    Tight,
}

impl Packing {
    /// Where a buffer of this length starts if the one before it ended at `at`.
    pub fn place(self, at: u64, len: u64) -> Option<u64> {
        match self {
            Packing::Tight => Some(at),
            Packing::Aligned if len >= LARGE => at.checked_next_multiple_of(LARGE_ALIGN),
            Packing::Aligned => at.checked_next_multiple_of(SMALL_ALIGN),
        }
    }
}

/// The encoding table while a file is written: ids in order of first use.
#[derive(Debug, Default)]
pub struct EncodingTable {
    ids: Vec<Arc<str>>,
    positions: HashMap<Arc<str>, u32>,
}

impl EncodingTable {
    fn position(&mut self, id: &Arc<str>) -> u32 {
        if let Some(&position) = self.positions.get(id) {
            return position;
        }
        let position = self.ids.len() as u32;
        self.ids.push(Arc::clone(id));
        self.positions.insert(Arc::clone(id), position);
        position
    }

    /// The ids, as stored.
    pub fn into_ids(self) -> Vec<String> {
        self.ids.iter().map(|id| id.to_string()).collect()
    }

    /// The message of a node tree.
    pub fn message(&mut self, node: &Node) -> proto::Node {
        proto::Node {
            encoding: self.position(&node.encoding),
            rows: node.rows as u64,
            metadata: node.metadata.clone(),
            buffers: node.buffers.iter().map(NodeBuffer::len).collect(),
            children: node.children.iter().map(|c| self.message(c)).collect(),
            model: node.model.map_or(0, |m| m + 1),
            parents: node.parents.clone(),
        }
    }
}

/// The node tree of a message, its buffers absent.
pub fn from_proto(message: &proto::Node, encodings: &[Arc<str>]) -> Result<Node> {
    node(message, encodings, 0)
}

fn node(message: &proto::Node, encodings: &[Arc<str>], depth: usize) -> Result<Node> {
    if depth >= MAX_DEPTH {
        return Err(Error::corrupt("an encoded array is nested too deeply"));
    }
    let encoding = encodings
        .get(message.encoding as usize)
        .ok_or_else(|| Error::corrupt(format!("encoding number {}", message.encoding)))?;
    if message.rows > MAX_ROWS as u64 {
        return Err(Error::corrupt(format!("a node of {} rows", message.rows)));
    }
    Ok(Node {
        encoding: Arc::clone(encoding),
        rows: message.rows as usize,
        metadata: message.metadata.clone(),
        buffers: message
            .buffers
            .iter()
            .map(|&len| NodeBuffer::absent(len))
            .collect(),
        children: message
            .children
            .iter()
            .map(|c| node(c, encodings, depth + 1))
            .collect::<Result<_>>()?,
        model: message.model.checked_sub(1),
        parents: message.parents.clone(),
    })
}

/// Appends the buffers of a tree to a payload.
pub fn write_buffers(node: &Node, packing: Packing, payload: &mut Vec<u8>) -> Result<()> {
    for buffer in &node.buffers {
        let bytes = buffer.bytes()?;
        let start = packing.place(payload.len() as u64, buffer.len());
        let start = start.unwrap_or(u64::MAX) as usize;
        payload.resize(start, 0);
        payload.extend_from_slice(&bytes);
    }
    node.children
        .iter()
        .try_for_each(|child| write_buffers(child, packing, payload))
}

/// Where each buffer of a tree lies in its segment's payload, in pre-order, and where the last ends.
/// Fails if a buffer would end past `limit`.
pub fn buffer_offsets(node: &Node, packing: Packing, start: u64, limit: u64) -> Result<Vec<u64>> {
    let mut offsets = Vec::new();
    let mut at = start;
    let mut fits = true;
    node.walk(&mut |n| {
        for buffer in &n.buffers {
            let next = packing
                .place(at, buffer.len())
                .and_then(|start| Some((start, start.checked_add(buffer.len())?)))
                .filter(|(_, end)| *end <= limit);
            match next {
                Some((start, end)) => {
                    offsets.push(start);
                    at = end;
                }
                None => fits = false,
            }
        }
    });
    match fits {
        true => Ok(offsets),
        false => Err(Error::corrupt("a buffer lies outside its segment")),
    }
}

/// Where the last buffer of a tree ends.
pub fn end_of(node: &Node, packing: Packing, start: u64, limit: u64) -> Result<u64> {
    let offsets = buffer_offsets(node, packing, start, limit)?;
    let mut last = 0;
    node.walk(&mut |n| {
        if let Some(buffer) = n.buffers.last() {
            last = buffer.len();
        }
    });
    Ok(offsets.last().map_or(start, |o| o + last))
}
