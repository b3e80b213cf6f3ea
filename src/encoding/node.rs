//! The encoded array: a tree of nodes.
//!
//! A node says which encoding made it, how many rows it stands for, a little metadata of that
//! encoding's own, its buffers, its children and, optionally, a model and parents. Children live in
//! generic slots, so that traversal, serialization, inspection and recursive compression need no
//! code in the encodings.
//!
//! The *shape* of a tree (everything but the buffers' bytes) is stored as a prost message in the
//! column's block; the bytes lie in a segment, buffers in pre-order, aligned. So a reader knows where
//! every buffer is before it reads any of them.

use std::ops::Range;
use std::sync::Arc;

use arrow::buffer::{Buffer, ScalarBuffer};
use arrow::datatypes::ArrowNativeType;

use super::model::Models;
use crate::error::{Error, Result};

/// Deepest tree that is accepted: two nodes for each level of the deepest type that can be stored,
/// and what encodings put below.
pub const MAX_DEPTH: usize = 48;
/// Most rows in one chunk or child array.
pub const MAX_ROWS: usize = 1 << 31;

/// One buffer of a node: its length is always known, its bytes may be there in whole, in part or
/// not yet.
#[derive(Debug, Clone, Default)]
pub struct NodeBuffer {
    len: u64,
    parts: Vec<(u64, Buffer)>,
}

impl NodeBuffer {
    /// A buffer whose bytes are all there.
    pub fn whole(bytes: impl Into<Buffer>) -> Self {
        let bytes = bytes.into();
        Self {
            len: bytes.len() as u64,
            parts: vec![(0, bytes)],
        }
    }

    /// A buffer of known length, without its bytes.
    pub fn absent(len: u64) -> Self {
        Self {
            len,
            parts: Vec::new(),
        }
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True if the buffer holds no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds bytes that were read from `offset` on.
    pub fn deliver(&mut self, offset: u64, bytes: Buffer) -> Result<()> {
        match offset.checked_add(bytes.len() as u64) {
            Some(end) if end <= self.len => {
                self.parts.push((offset, bytes));
                Ok(())
            }
            _ => Err(Error::corrupt("bytes delivered outside their buffer")),
        }
    }

    /// The bytes of a range that was read.
    pub fn slice(&self, range: Range<u64>) -> Result<Buffer> {
        if range.start > range.end || range.end > self.len {
            return Err(Error::corrupt(format!(
                "bytes {}..{} wanted of a buffer of {}",
                range.start, range.end, self.len
            )));
        }
        if range.is_empty() {
            return Ok(Buffer::from(&[] as &[u8]));
        }
        for (offset, bytes) in &self.parts {
            if *offset <= range.start && range.end <= offset + bytes.len() as u64 {
                let start = (range.start - offset) as usize;
                return Ok(bytes.slice_with_length(start, (range.end - range.start) as usize));
            }
        }
        Err(Error::corrupt("a buffer's bytes were not read"))
    }

    /// All bytes.
    pub fn bytes(&self) -> Result<Buffer> {
        self.slice(0..self.len)
    }

    /// All bytes as values; fails unless the length is `count` values.
    pub fn typed<T: ArrowNativeType>(&self, count: usize) -> Result<ScalarBuffer<T>> {
        let width = size_of::<T>();
        if Some(self.len) != (count as u64).checked_mul(width as u64) {
            return Err(Error::corrupt(format!(
                "buffer of {} bytes should hold {count} values of {width} bytes",
                self.len
            )));
        }
        aligned(self.bytes()?, count)
    }

    /// Values `range` (counted in values, not bytes); other bytes need not have been read.
    pub fn typed_range<T: ArrowNativeType>(&self, range: Range<usize>) -> Result<ScalarBuffer<T>> {
        let width = size_of::<T>() as u64;
        let bytes = self.slice(range.start as u64 * width..range.end as u64 * width)?;
        aligned(bytes, range.len())
    }
}

/// Views bytes as values, copying only if they lie at an odd address.
fn aligned<T: ArrowNativeType>(bytes: Buffer, count: usize) -> Result<ScalarBuffer<T>> {
    let bytes = match bytes.as_ptr().align_offset(align_of::<T>()) {
        0 => bytes,
        _ => Buffer::from_slice_ref(bytes.as_slice()),
    };
    Ok(ScalarBuffer::new(bytes, 0, count))
}

/// A node of an encoded array.
#[derive(Debug, Clone)]
pub struct Node {
    /// Id of the encoding, versioned, for example `pilaster.constant.v1`.
    pub encoding: Arc<str>,
    /// Number of rows that the node stands for.
    pub rows: usize,
    /// The encoding's own parameters, a prost message as a rule.
    pub metadata: Vec<u8>,
    /// The encoding's own bytes.
    pub buffers: Vec<NodeBuffer>,
    /// Encoded arrays that the encoding builds on.
    pub children: Vec<Node>,
    /// Model of the column that the encoding needs: an index into the column's model list.
    pub model: Option<u32>,
    /// Columns whose values the encoding needs: indexes into the column's parent list.
    pub parents: Vec<u32>,
}

impl Node {
    /// A node without metadata, buffers or children.
    pub fn new(encoding: &'static str, rows: usize) -> Self {
        Self {
            encoding: Arc::from(encoding),
            rows,
            metadata: Vec::new(),
            buffers: Vec::new(),
            children: Vec::new(),
            model: None,
            parents: Vec::new(),
        }
    }

    /// Sets the metadata from a prost message.
    pub fn with_metadata(mut self, message: &impl prost::Message) -> Self {
        self.metadata = message.encode_to_vec();
        self
    }

    /// Adds a buffer.
    pub fn with_buffer(mut self, bytes: impl Into<Buffer>) -> Self {
        self.buffers.push(NodeBuffer::whole(bytes));
        self
    }

    /// Adds a child.
    pub fn with_child(mut self, child: Node) -> Self {
        self.children.push(child);
        self
    }

    /// Parses the metadata as a prost message.
    pub fn parse_metadata<M: prost::Message + Default>(&self) -> Result<M> {
        M::decode(self.metadata.as_slice())
            .map_err(|e| Error::corrupt(format!("metadata of {}: {e}", self.encoding)))
    }

    /// Buffer `i`, or an error if the file has fewer.
    pub fn buffer(&self, i: usize) -> Result<&NodeBuffer> {
        self.buffers
            .get(i)
            .ok_or_else(|| Error::corrupt(format!("{} lacks buffer {i}", self.encoding)))
    }

    /// Bytes of the models that the tree refers to.
    pub fn model_bytes(&self, models: &Models) -> u64 {
        let mut bytes = 0;
        self.walk(&mut |node| {
            let model = node.model.and_then(|m| models.get(m).ok());
            bytes += model.map_or(0, |m| m.bytes().len() as u64);
        });
        bytes
    }

    /// Child `i`, or an error if the file has fewer.
    pub fn child(&self, i: usize) -> Result<&Node> {
        self.children
            .get(i)
            .ok_or_else(|| Error::corrupt(format!("{} lacks child {i}", self.encoding)))
    }

    /// Child `i`, which must stand for `rows` rows.
    pub fn child_of(&self, i: usize, rows: usize) -> Result<&Node> {
        let child = self.child(i)?;
        match child.rows == rows {
            true => Ok(child),
            false => Err(Error::corrupt(format!(
                "child {i} of {} has {} rows, not {rows}",
                self.encoding, child.rows
            ))),
        }
    }

    /// Fails unless the node has exactly this many buffers and children.
    pub fn expect(&self, buffers: usize, children: usize) -> Result<()> {
        match self.buffers.len() == buffers && self.children.len() == children {
            true => Ok(()),
            false => Err(Error::corrupt(format!(
                "{} has {} buffers and {} children, not {buffers} and {children}",
                self.encoding,
                self.buffers.len(),
                self.children.len()
            ))),
        }
    }

    /// Calls `visit` on the node and all below it, parents before children.
    pub fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a Node)) {
        visit(self);
        for child in &self.children {
            child.walk(visit);
        }
    }

    /// Calls `visit` on the node and all below it, parents before children.
    pub fn walk_mut(&mut self, visit: &mut dyn FnMut(&mut Node)) {
        visit(self);
        for child in &mut self.children {
            child.walk_mut(visit);
        }
    }

    /// Stored size: buffers with their padding, metadata and an estimate of the shape message. This
    /// is what the planner compares.
    pub fn stored_bytes(&self) -> u64 {
        let mut total = 0;
        self.walk(&mut |n| {
            total += 8 + n.metadata.len() as u64;
            total += n.buffers.iter().map(|b| b.len() + 3).sum::<u64>();
        });
        total
    }
}
