//! How the table of a KV file is stored: zones of 256 rows, and layers by the exact float coder.

use arrow::record_batch::RecordBatch;

use super::digest::CHUNK_TOKENS;
use super::table::{KEYS, POSITION};
use crate::error::Result;
use crate::file::write::glob;
use crate::file::{ColumnData, ColumnRole, ColumnSpec, Layout, PlainLayout};

/// Columns of a KV file: layers that no spec names are stored exactly, by the encoding that splits
/// exponents from mantissas. All columns have the same chunks, and layers can see the positions of
/// their rows, so that the encodings know where sequences start.
#[derive(Debug, Default)]
pub struct KvLayout {
    /// Patterns of columns, and whether their spec asks for something else than exact storage.
    specs: Vec<(String, bool)>,
    exact: Vec<bool>,
}

/// The encoding of layers that no spec names.
const EXACT: &str = "pilaster.exponent.v1";

impl KvLayout {
    /// A layout for a table written with these specs.
    pub fn new(specs: &[(String, String)]) -> Self {
        let other = |(pattern, words): &(String, String)| (pattern.clone(), words != "exact");
        Self {
            specs: specs.iter().map(other).collect(),
            exact: Vec::new(),
        }
    }
}

impl Layout for KvLayout {
    fn columns(&mut self, first: &RecordBatch) -> Result<Vec<ColumnSpec>> {
        let mut specs = PlainLayout.columns(first)?;
        self.exact = vec![false; specs.len()];
        for (i, spec) in specs.iter_mut().enumerate() {
            spec.group = Some(0);
            if i < KEYS {
                continue;
            }
            // The first pattern that matches counts, as for the writer.
            let mut specs = self.specs.iter();
            let found = specs.find(|(pattern, _)| glob(pattern, spec.field.name()));
            match found.is_some_and(|(_, other)| *other) {
                true => spec.parents = vec![POSITION],
                false => self.exact[i] = true,
            }
            debug_assert_eq!(spec.role, ColumnRole::Visible);
        }
        Ok(specs)
    }

    fn section(&mut self, section: &RecordBatch) -> Result<Vec<ColumnData>> {
        let mut data = PlainLayout.section(section)?;
        for (column, &exact) in data.iter_mut().zip(&self.exact) {
            column.encoding = exact.then_some(EXACT);
        }
        Ok(data)
    }

    fn zone_rows(&self) -> Option<usize> {
        Some(CHUNK_TOKENS)
    }
}
