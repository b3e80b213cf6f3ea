//! What is inside a file and where its bytes went.

use std::collections::BTreeMap;
use std::collections::HashMap;

use arrow::datatypes::FieldRef;

use super::layout::ColumnRole;
use super::local::File;
use super::proto::Lossiness;
use crate::encoding::Node;
use crate::error::Result;

/// Bytes of a file by purpose. They add up to its size.
#[derive(Debug, Clone, Copy, Default)]
pub struct Parts {
    /// Encoded values.
    pub data: u64,
    /// Models.
    pub models: u64,
    /// Zone maps.
    pub zones: u64,
    /// Footer, postscript and column blocks.
    pub metadata: u64,
    /// Checksums of segments and padding between them.
    pub overhead: u64,
}

/// A file, taken apart.
#[derive(Debug, Clone)]
pub struct Anatomy {
    /// Bytes.
    pub size: u64,
    /// Rows.
    pub rows: u64,
    /// Bytes by purpose.
    pub parts: Parts,
    /// All columns in the order of the directory.
    pub columns: Vec<ColumnAnatomy>,
}

/// A column, taken apart.
#[derive(Debug, Clone)]
pub struct ColumnAnatomy {
    /// Name, type and metadata.
    pub field: FieldRef,
    /// What it is to readers.
    pub role: ColumnRole,
    /// Columns that it is conditioned on, by position.
    pub parents: Vec<usize>,
    /// Bytes of encoded values.
    pub data: u64,
    /// Bytes of models.
    pub models: u64,
    /// Bytes of the zone map.
    pub zones: u64,
    /// Bytes of the column block.
    pub block: u64,
    /// Bytes of the values in Arrow's layout.
    pub decoded: u64,
    /// Nulls.
    pub nulls: u64,
    /// Chunks.
    pub chunks: usize,
    /// Loss, if it is not exact.
    pub lossiness: Option<Lossiness>,
    /// The encoding spec that was asked for.
    pub words: String,
    /// The trees of all chunks laid over each other.
    pub tree: Vec<TreeAnatomy>,
    /// Segments: offset (none if inside the block), bytes with checksums.
    pub segments: Vec<(Option<u64>, u64)>,
}

impl ColumnAnatomy {
    /// All bytes that are the column's own.
    pub fn bytes(&self) -> u64 {
        self.data + self.models + self.zones + self.block
    }
}

/// A place in the trees of a column's chunks, and one encoding found there.
#[derive(Debug, Clone)]
pub struct TreeAnatomy {
    /// Id of the encoding.
    pub encoding: String,
    /// Chunks that have it here.
    pub chunks: usize,
    /// Rows that it stands for.
    pub rows: u64,
    /// Bytes of its own buffers and of all below it.
    pub bytes: u64,
    /// What is below it.
    pub children: Vec<TreeAnatomy>,
}

impl TreeAnatomy {
    /// The encoding's name without the prefix and version: `dictionary` of
    /// `pilaster.dictionary.v1`.
    pub fn short(&self) -> &str {
        let name = self
            .encoding
            .strip_prefix("pilaster.")
            .unwrap_or(&self.encoding);
        name.rsplit_once(".v").map_or(name, |(name, _)| name)
    }

    fn lay(places: &mut Vec<TreeAnatomy>, node: &Node) {
        let found = places.iter().position(|p| *p.encoding == *node.encoding);
        let at = found.unwrap_or_else(|| {
            places.push(TreeAnatomy {
                encoding: node.encoding.to_string(),
                chunks: 0,
                rows: 0,
                bytes: 0,
                children: Vec::new(),
            });
            places.len() - 1
        });
        let place = &mut places[at];
        place.chunks += 1;
        place.rows += node.rows as u64;
        place.bytes += buffers(node);
        for child in &node.children {
            Self::lay(&mut place.children, child);
        }
    }
}

/// Bytes of the buffers of a tree.
fn buffers(node: &Node) -> u64 {
    let mut total = 0;
    node.walk(&mut |n| total += n.buffers.iter().map(|b| b.len()).sum::<u64>());
    total
}

impl File {
    /// Takes the file apart; reads its metadata only.
    pub fn anatomy(&self) -> Result<Anatomy> {
        let meta = self.meta();
        let all: Vec<usize> = (0..meta.directory().len()).collect();
        self.load_columns(&all)?;
        let mut columns = Vec::with_capacity(all.len());
        let mut parts = Parts {
            metadata: meta.footer_len(),
            ..Parts::default()
        };
        for index in all {
            let column = meta.column(index)?;
            let entry = &meta.directory()[index].block;
            let mut tree = Vec::new();
            let mut data = 0;
            let mut decoded = 0;
            for chunk in &column.chunks {
                data += buffers(&chunk.root);
                decoded += chunk.decoded_bytes;
                TreeAnatomy::lay(&mut tree, &chunk.root);
            }
            let models = column
                .models
                .iter()
                .map(|m| m.range.end - m.range.start)
                .sum();
            let zones = match &column.zones {
                Some(Ok(zones)) => column.segments[zones.segment].len(),
                _ => 0,
            };
            // What lies inside the block is counted where it belongs.
            let inline: u64 = column
                .segments
                .iter()
                .filter(|s| s.offset().is_none())
                .map(|s| s.len())
                .sum();
            let block = (entry.end - entry.start).saturating_sub(inline);
            parts.data += data;
            parts.models += models;
            parts.zones += zones;
            parts.metadata += block;
            if entry.is_empty() {
                parts.metadata = parts.metadata.saturating_sub(inline);
            }
            columns.push(ColumnAnatomy {
                field: column.field.clone(),
                role: column.role,
                parents: column.parents.clone(),
                data,
                models,
                zones,
                block,
                decoded,
                nulls: column.null_count,
                chunks: column.chunks.len(),
                lossiness: column.lossiness.clone(),
                words: column.words.clone(),
                tree,
                segments: column
                    .segments
                    .iter()
                    .map(|s| (s.offset(), s.stored_len()))
                    .collect(),
            });
        }
        let known = parts.data + parts.models + parts.zones + parts.metadata;
        parts.overhead = meta.size().saturating_sub(known);
        Ok(Anatomy {
            size: meta.size(),
            rows: meta.rows(),
            parts,
            columns,
        })
    }
}

impl Anatomy {
    /// Bytes of a column together with the columns that it needs, each counted once: what a
    /// projection of it reads.
    pub fn closure(&self, column: usize) -> u64 {
        let mut todo = vec![column];
        let mut seen = HashMap::new();
        while let Some(next) = todo.pop() {
            let Some(anatomy) = self.columns.get(next) else {
                continue;
            };
            if seen.insert(next, anatomy.bytes()).is_none() {
                todo.extend(&anatomy.parents);
            }
        }
        seen.values().sum()
    }

    /// Bytes by encoding, those of its children not counted, largest first.
    pub fn by_encoding(&self) -> Vec<(String, u64)> {
        fn add(place: &TreeAnatomy, sums: &mut BTreeMap<String, u64>) {
            let below: u64 = place.children.iter().map(|c| c.bytes).sum();
            *sums.entry(place.short().to_owned()).or_default() += place.bytes.saturating_sub(below);
            place.children.iter().for_each(|c| add(c, sums));
        }
        let mut sums = BTreeMap::new();
        for column in &self.columns {
            column.tree.iter().for_each(|t| add(t, &mut sums));
        }
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_by_key(|(name, bytes)| (std::cmp::Reverse(*bytes), name.clone()));
        sums
    }
}
