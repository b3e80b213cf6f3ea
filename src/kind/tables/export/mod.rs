//! Where rows go: CSV, JSON lines, Parquet and Arrow IPC.
//!
//! A [`Sink`] takes record batches of one schema. A file appears under its name only when it is
//! whole; `-` is standard output.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use super::source::csv::{Dialect, STYLE_KEY};
use crate::error::{Error, Result};
use crate::file::{File, small_floats};

mod csv;
mod ipc;
mod json;
mod parquet;
mod target;

pub use csv::CsvSink;
pub use target::Target;

/// The formats that tables are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// Comma separated values, in the dialect that the table was imported from.
    Csv,
    /// One JSON object a line.
    JsonLines,
    /// Apache Parquet with zstd, the Arrow schema embedded.
    Parquet,
    /// The Arrow IPC file format.
    Arrow,
    /// The Arrow IPC stream format.
    ArrowStream,
}

impl ExportFormat {
    /// The format that a path's extension asks for.
    pub fn of(path: &Path) -> Result<Self> {
        let extension = path
            .extension()
            .and_then(|e| e.to_str())
            .unwrap_or_default();
        Self::named(&extension.to_ascii_lowercase()).ok_or_else(|| {
            Error::invalid(format!(
                "{} does not say a format; end the name in .csv, .jsonl, .parquet or .arrow",
                path.display()
            ))
        })
    }

    /// The format of a name or an extension.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "csv" | "tsv" => Self::Csv,
            "jsonl" | "ndjson" | "json" => Self::JsonLines,
            "parquet" | "pq" => Self::Parquet,
            "arrow" | "ipc" | "feather" => Self::Arrow,
            "arrows" => Self::ArrowStream,
            _ => return None,
        })
    }
}

/// A table being written.
pub trait Sink {
    /// Adds rows.
    fn write(&mut self, batch: &RecordBatch) -> Result<()>;

    /// Writes what the format has at its end, and whatever is still held back.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// A sink of a format that writes to `out`.
pub fn sink<'a>(
    format: ExportFormat,
    schema: &SchemaRef,
    out: impl Write + Send + 'a,
) -> Result<Box<dyn Sink + 'a>> {
    Ok(match format {
        ExportFormat::Csv => Box::new(CsvSink::new(schema, out)?),
        ExportFormat::JsonLines => Box::new(json::JsonSink::new(schema, out)?),
        ExportFormat::Parquet => Box::new(parquet::ParquetSink::new(schema, out)?),
        ExportFormat::Arrow => Box::new(ipc::ArrowSink::file(schema, out)?),
        ExportFormat::ArrowStream => Box::new(ipc::ArrowSink::stream(schema, out)?),
    })
}

/// How a file is exported.
#[derive(Debug, Clone, Default)]
pub struct ExportOptions {
    /// The format; else the target's extension says it, and standard output gets CSV.
    pub format: Option<ExportFormat>,
}

/// What an export did.
#[derive(Debug, Clone, Copy)]
pub struct ExportSummary {
    /// Rows written.
    pub rows: u64,
    /// Bytes written.
    pub bytes: u64,
}

/// Writes all rows of a `.pil` file to `dst` (`-` is standard output), which changes only when all
/// went well. `progress` is told the rows written and the rows there are.
pub fn export(
    src: &Path,
    dst: &Path,
    options: &ExportOptions,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<ExportSummary> {
    let file = File::open(src)?;
    let standard = dst.as_os_str() == "-";
    let format = match options.format {
        Some(ExportFormat::Arrow) if standard => ExportFormat::ArrowStream,
        Some(format) => format,
        None if standard => ExportFormat::Csv,
        None => ExportFormat::of(dst)?,
    };
    let mut schema = file.meta().schema()?;
    if dst.extension().is_some_and(|e| e == "tsv") {
        schema = tabbed(&schema);
    }
    // Words of small floats are for machines; text and the like shows numbers.
    let words = Arc::clone(&schema);
    if matches!(format, ExportFormat::Csv | ExportFormat::JsonLines) {
        schema = small_floats::shown(&schema);
    }
    let mut target = Target::create(dst)?;
    let total = file.meta().rows();
    let mut rows = 0;
    {
        let mut sink = sink(format, &schema, &mut target)?;
        for batch in file.scan_all()? {
            let batch = batch?;
            rows += batch.num_rows() as u64;
            sink.write(&small_floats::converted(&batch, &words, &schema)?)?;
            progress(rows, total);
        }
        sink.finish()?;
    }
    Ok(ExportSummary {
        rows,
        bytes: target.publish()?,
    })
}

/// The schema with tabs as its dialect's delimiter.
fn tabbed(schema: &SchemaRef) -> SchemaRef {
    let mut metadata = schema.metadata().clone();
    let words = metadata.entry(STYLE_KEY.to_owned()).or_default();
    let dialect = Dialect {
        delimiter: b'\t',
        ..Dialect::from_words(words)
    };
    *words = dialect.to_words();
    Arc::new(Schema::new_with_metadata(schema.fields().clone(), metadata))
}

/// A writer's refusal: an I/O error keeps its kind.
fn refused(error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, source) => Error::io("cannot write", source),
        other => Error::invalid(other.to_string()),
    }
}

/// What the formatters print for durations that are too long for them.
pub(crate) const INVALID: &str = "<invalid>";

/// A value that has no text; `row` counts from zero.
pub(crate) fn unprintable(column: &str, row: u64) -> Error {
    Error::invalid(format!(
        "column '{column}', row {}: the value is too far off to be printed as a time; write .parquet or \
         .arrow, or cast it to an integer with `pilaster sql`",
        row + 1
    ))
}

/// An I/O error while writing.
fn failed(source: std::io::Error) -> Error {
    Error::io("cannot write", source)
}
