//! How a user's table becomes the columns of a file.
//!
//! The writer knows columns, chunks and segments; what the columns *are* is a layout's decision.
//! The plain layout stores each column as given. Other kinds add hidden columns, let visible ones be
//! derived from them, and condition columns on each other.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{FieldRef, SchemaRef};
use arrow::record_batch::RecordBatch;

use crate::encoding::{Known, Model};
use crate::error::Result;

/// What a column is to those who read the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ColumnRole {
    /// The user's own values.
    Visible,
    /// Storage that other columns build on; no query sees it.
    Hidden,
    /// The user's values, restored from its parents.
    Derived,
}

impl ColumnRole {
    /// Whether the column belongs to the schema that users see.
    pub fn is_shown(self) -> bool {
        self != ColumnRole::Hidden
    }
}

/// A column of the file, decided once from the first section.
#[derive(Debug, Clone)]
pub struct ColumnSpec {
    /// Name, logical type and metadata. Shown columns, in order of the specs, must be the fields of
    /// the schema that users see, in order.
    pub field: FieldRef,
    /// What it is to readers.
    pub role: ColumnRole,
    /// Columns that it is conditioned on, as indexes of *earlier* specs.
    pub parents: Vec<usize>,
    /// Columns of one group share chunk boundaries; parents must be in their children's group.
    pub group: Option<u32>,
    /// How it was told to be encoded, in the words of an encoding spec; shown by `inspect`.
    pub words: Option<String>,
}

/// A column's share of one section.
#[derive(Debug, Clone)]
pub struct ColumnData {
    /// The logical values, as many as the section has rows. Nulls of type null in their place leave
    /// it to readers to derive them from the parents; then no zone map tells of them.
    pub array: ArrayRef,
    /// Models that the chunks of this section will use, pushed to the column's list before its
    /// first chunk is encoded.
    pub models: Vec<Arc<Model>>,
    /// Id of the encoding of the root, which finds its models by kind and its parents in the
    /// context. If it declines a chunk, and if this is `None`, the planner decides.
    pub encoding: Option<&'static str>,
    /// What the layout found out on its way and the encoding would otherwise find out again.
    pub known: Option<Known>,
}

/// Decides the columns and splits sections into them.
///
/// A section is a run of consecutive rows that the writer holds in memory at once (36 to 48 MiB).
/// The same sections must give the same columns.
pub trait Layout: Send {
    /// The columns, from the first section. Called once, before [`Layout::section`], also for a
    /// table without rows.
    fn columns(&mut self, first: &RecordBatch) -> Result<Vec<ColumnSpec>>;

    /// The schema that users of the file see, asked after [`Layout::columns`]. As a rule the batches'
    /// own; a kind whose batches are raw material (lines of text) shows what it makes of them.
    fn shown(&self, given: &SchemaRef) -> SchemaRef {
        Arc::clone(given)
    }

    /// The values of each column in one section, in the order of the specs.
    fn section(&mut self, section: &RecordBatch) -> Result<Vec<ColumnData>>;

    /// Rows of a zone, a power of two; `None` leaves it to the writer, which goes by the rows' width.
    fn zone_rows(&self) -> Option<usize> {
        None
    }
}

/// Each column as given.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlainLayout;

impl Layout for PlainLayout {
    fn columns(&mut self, first: &RecordBatch) -> Result<Vec<ColumnSpec>> {
        let spec = |field: &FieldRef| ColumnSpec {
            field: Arc::clone(field),
            role: ColumnRole::Visible,
            parents: Vec::new(),
            group: None,
            words: None,
        };
        Ok(first.schema().fields().iter().map(spec).collect())
    }

    fn section(&mut self, section: &RecordBatch) -> Result<Vec<ColumnData>> {
        let data = |array: &ArrayRef| ColumnData {
            array: Arc::clone(array),
            models: Vec::new(),
            encoding: None,
            known: None,
        };
        Ok(section.columns().iter().map(data).collect())
    }
}
