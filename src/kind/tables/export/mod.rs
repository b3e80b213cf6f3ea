//! Where rows go: CSV, JSON lines, Parquet and Arrow IPC.
//!
//! A [`Sink`] takes record batches of one schema. A file appears under its name only when it is
//! whole; `-` is standard output.

use std::io::Write;
use std::path::Path;

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use crate::error::{Error, Result};

mod columnar;
mod csv;
mod json;
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
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
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
        ExportFormat::Parquet => Box::new(columnar::ParquetSink::new(schema, out)?),
        ExportFormat::Arrow => Box::new(columnar::ArrowSink::file(schema, out)?),
        ExportFormat::ArrowStream => Box::new(columnar::ArrowSink::stream(schema, out)?),
    })
}

/// A writer's refusal: an I/O error keeps its kind.
fn refused(error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, source) => Error::io("cannot write", source),
        other => Error::invalid(other.to_string()),
    }
}

/// An I/O error while writing.
fn failed(source: std::io::Error) -> Error {
    Error::io("cannot write", source)
}
