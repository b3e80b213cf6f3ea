//! Where rows come from: CSV, JSON lines, Parquet and Arrow IPC.
//!
//! A [`Source`] is a schema and a stream of record batches of bounded size. Text sources read their
//! input twice: the first pass finds, for each column over *all* of its cells, the narrowest type
//! from which every cell prints back identically; the second pass builds the arrays. Standard input
//! (`-`) is therefore spooled to a temporary file first.

use std::path::{Path, PathBuf};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use crate::error::{Error, Result};

mod columnar;
pub mod csv;
mod input;
mod int96;
mod json;
mod json_shape;
pub(crate) mod number;
mod parquet;

pub use csv::CsvOptions;
pub use input::Input;
pub(crate) use input::Scratch;
#[cfg(feature = "cli")]
pub(crate) use int96::inexact_column;
#[cfg(feature = "query")]
pub(crate) use json::JsonSource;
pub(in crate::kind::tables) use parquet::CREATED_BY;
#[cfg(feature = "cli")]
pub(crate) use parquet::with_zones;

/// Rows of a batch at most; fewer where rows are wide.
pub(crate) const BATCH_ROWS: usize = 8192;
/// Bytes of a batch at which it is handed out.
pub(crate) const BATCH_BYTES: usize = 16 << 20;

/// A table being read: its schema and its rows.
pub trait Source: Iterator<Item = Result<RecordBatch>> + Send {
    /// The schema of all batches.
    fn schema(&self) -> SchemaRef;

    /// Bytes of the input that the batches handed out so far came from, for progress.
    fn bytes_read(&self) -> u64;

    /// Bytes of the whole input.
    fn total_bytes(&self) -> u64;
}

/// The formats that tables are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceFormat {
    /// Comma (or semicolon, tab, bar) separated values.
    Csv,
    /// One JSON object a line.
    JsonLines,
    /// Apache Parquet.
    Parquet,
    /// Arrow IPC, file or stream.
    Arrow,
}

/// How sources are read.
#[derive(Debug, Clone, Default)]
pub struct SourceOptions {
    /// Choices that only CSV needs.
    pub csv: CsvOptions,
    /// JSON lists of floats that are all 32-bit floats, as Python spells them, are typed so.
    pub vectors: bool,
}

/// Receives, while a first pass over text runs, the bytes seen and the bytes there are.
pub type Scanning<'a> = &'a mut dyn FnMut(u64, u64);

/// Opens one or more inputs of the same format as one table, rows in the order of the inputs.
///
/// Text sources agree on types over all inputs; Parquet and Arrow inputs must have equal schemas.
pub fn open(
    paths: &[PathBuf],
    options: &SourceOptions,
    scanning: Scanning<'_>,
) -> Result<Box<dyn Source>> {
    let Some(first) = paths.first() else {
        return Err(Error::invalid(
            "there is nothing to import; name a file or `-`",
        ));
    };
    if paths.iter().filter(|p| p.as_os_str() == "-").count() > 1 {
        return Err(Error::invalid(
            "`-` can be named only once: there is one standard input",
        ));
    }
    let inputs = paths
        .iter()
        .map(|p| Input::open(p))
        .collect::<Result<Vec<_>>>()?;
    let format = detect(first, &inputs[0])?;
    for (path, input) in paths.iter().zip(&inputs).skip(1) {
        let other = detect(path, input)?;
        if other != format {
            return Err(Error::invalid(format!(
                "{} is {other:?} but {} is {format:?}; import them into separate files",
                input.name(),
                inputs[0].name(),
            )));
        }
    }
    Ok(match format {
        SourceFormat::Csv => Box::new(csv::CsvSource::open(inputs, options, scanning)?),
        SourceFormat::JsonLines => {
            Box::new(json::JsonSource::open(inputs, options.vectors, scanning)?)
        }
        SourceFormat::Parquet => columnar::open_parquet(inputs)?,
        SourceFormat::Arrow => columnar::open_arrow(inputs)?,
    })
}

/// The format of an input: by its first bytes where they are a signature, else by its extension,
/// else by its first character.
pub fn detect(path: &Path, input: &Input) -> Result<SourceFormat> {
    let head = input.head(4096)?;
    if head.starts_with(b"PAR1") {
        return Ok(SourceFormat::Parquet);
    }
    if head.starts_with(b"ARROW1") || head.starts_with(&[0xff, 0xff, 0xff, 0xff]) {
        return Ok(SourceFormat::Arrow);
    }
    let packed = [
        (&[0x1f, 0x8b][..], "gzip", "zcat"),
        (&[0x28, 0xb5, 0x2f, 0xfd][..], "zstd", "zstdcat"),
        (&[0xfd, b'7', b'z', b'X', b'Z'][..], "xz", "xzcat"),
    ];
    for (signature, name, tool) in packed {
        if head.starts_with(signature) {
            return Err(Error::invalid(format!(
                "{} is compressed with {name}; unpack it on the way: `{tool} FILE | pilaster \
                 import - OUT.pil`",
                input.name()
            )));
        }
    }
    let extension = path
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default();
    match extension.to_ascii_lowercase().as_str() {
        "csv" | "tsv" | "tab" | "psv" | "txt" => return Ok(SourceFormat::Csv),
        "jsonl" | "ndjson" | "json" => return Ok(SourceFormat::JsonLines),
        "parquet" | "parq" | "pq" => {
            return Err(Error::invalid(format!(
                "{} is not a Parquet file: it does not begin with 'PAR1'",
                input.name()
            )));
        }
        "arrow" | "arrows" | "ipc" | "feather" => {
            return Err(Error::invalid(format!(
                "{} is not an Arrow IPC file or stream",
                input.name()
            )));
        }
        "pil" => {
            return Err(Error::invalid(format!(
                "{} is a .pil file already; query it with `pilaster sql` or write it out with \
                 `pilaster export`",
                input.name()
            )));
        }
        _ => {}
    }
    if head.contains(&0) {
        return Err(Error::invalid(format!(
            "{} is not text, Parquet or Arrow, the formats that tables are imported from",
            input.name()
        )));
    }
    let first = head.iter().find(|b| !b.is_ascii_whitespace());
    Ok(match first {
        Some(b'{') => SourceFormat::JsonLines,
        _ => SourceFormat::Csv,
    })
}
