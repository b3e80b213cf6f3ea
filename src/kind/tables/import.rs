//! From sources to a `.pil` file.

use std::path::{Path, PathBuf};

use crate::encoding::Profile;
use crate::encoding::physical::check_storable;
use crate::error::Result;
use crate::file::{Layout, WriteOptions, Writer};

use super::layout::ArchiveLayout;
use super::sort;
use super::source::{self, SourceOptions};

/// Memory that an import keeps to, whatever the size of its input, in bytes.
pub const IMPORT_MEMORY: usize = 512 << 20;

/// How a table is imported.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// How size is weighed against speed.
    pub profile: Profile,
    /// Encodings for columns: a glob over names, and the encoding's words.
    pub specs: Vec<(String, String)>,
    /// Columns to sort by.
    pub sort_by: Vec<String>,
    /// How sources are read.
    pub source: SourceOptions,
    /// Publishes without reading back what was written ([`WriteOptions::unchecked`]).
    pub unchecked: bool,
}

/// What an import is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportPhase {
    /// Looking at every cell of a text to find the types.
    Scanning,
    /// Sorting.
    Sorting,
    /// Encoding and writing.
    Writing,
}

/// How far an import is.
#[derive(Debug, Clone, Copy)]
pub struct ImportProgress {
    /// What it is doing.
    pub phase: ImportPhase,
    /// Bytes of the input that this phase has seen.
    pub bytes: u64,
    /// Bytes of the input.
    pub total: u64,
    /// Rows written.
    pub rows: u64,
}

/// What an import did.
#[derive(Debug, Clone, Copy)]
pub struct ImportSummary {
    /// Rows in the table.
    pub rows: u64,
    /// Columns in the table.
    pub columns: usize,
    /// Bytes of the sources.
    pub bytes_in: u64,
    /// Bytes of the rows in Arrow's layout.
    pub arrow_bytes: u64,
    /// Bytes of the file.
    pub bytes_out: u64,
}

/// Reads sources as one table and writes them to `dst`, which changes only when all went well.
///
/// ```no_run
/// use pilaster::kind::tables::{ImportOptions, import};
///
/// let options = ImportOptions::default();
/// let done = import(&["orders.csv".into()], "orders.pil".as_ref(), &options, &mut |_| ())?;
/// println!("{} rows, {} bytes", done.rows, done.bytes_out);
/// # Ok::<(), pilaster::Error>(())
/// ```
pub fn import(
    sources: &[PathBuf],
    dst: &Path,
    options: &ImportOptions,
    progress: &mut dyn FnMut(ImportProgress),
) -> Result<ImportSummary> {
    let mut tell = |phase, bytes, total, rows| {
        progress(ImportProgress {
            phase,
            bytes,
            total,
            rows,
        });
    };
    let mut source = source::open(sources, &options.source, &mut |bytes, total| {
        tell(ImportPhase::Scanning, bytes, total, 0);
    })?;
    let schema = source.schema();
    for field in schema.fields() {
        check_storable(field.name(), field.data_type())?;
    }
    if !options.sort_by.is_empty() {
        let sorted = sort::sorted(source, &options.sort_by, &mut |bytes, total| {
            tell(ImportPhase::Sorting, bytes, total, 0);
        })?;
        source = Box::new(sorted);
    }
    let columns = schema.fields().len();
    let layout: Option<Box<dyn Layout>> = match options.profile {
        Profile::Archive => {
            let asked = options.specs.iter().map(|(pattern, _)| pattern.clone());
            Some(Box::new(
                ArchiveLayout::default().with_given(asked.collect()),
            ))
        }
        _ => None,
    };
    let write = WriteOptions {
        layout,
        profile: options.profile,
        specs: options.specs.clone(),
        unchecked: options.unchecked,
        ..WriteOptions::default()
    };
    let mut writer = Writer::create(dst, schema, write)?;
    let total = source.total_bytes();
    let mut rows = 0;
    while let Some(batch) = source.next() {
        let batch = batch?;
        rows += batch.num_rows() as u64;
        writer.write(&batch)?;
        tell(ImportPhase::Writing, source.bytes_read(), total, rows);
    }
    let done = writer.finish()?;
    Ok(ImportSummary {
        rows: done.rows,
        columns,
        bytes_in: total,
        arrow_bytes: done.arrow_bytes,
        bytes_out: done.bytes,
    })
}
