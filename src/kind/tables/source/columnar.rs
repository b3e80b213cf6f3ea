//! Parquet and Arrow IPC: types as they are.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, StreamReader};
use arrow::record_batch::RecordBatch;

use super::{BATCH_BYTES, BATCH_ROWS, Input, Source, parquet as exact};
use crate::error::{Error, Result};

/// Batches of one input.
type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// One input, opened.
struct Part {
    size: u64,
    read: Arc<AtomicU64>,
    batches: Batches,
    /// Keeps a spooled file alive.
    _input: Input,
}

/// Several inputs of one schema, one after the other.
struct Columnar {
    schema: SchemaRef,
    parts: Vec<Part>,
    current: usize,
    /// What is left of a batch that was too large to hand out at once, and how many of its rows
    /// are not.
    rest: Option<(RecordBatch, usize)>,
    failed: bool,
}

/// Opens Parquet files of one schema.
pub(crate) fn open_parquet(inputs: Vec<Input>) -> Result<Box<dyn Source>> {
    open(inputs, |input, read| {
        let file = input.rewind()?;
        let refuse = |e: parquet::errors::ParquetError| {
            Error::invalid(format!("{} cannot be read as Parquet: {e}", input.name()))
        };
        let (builder, schema) = exact::open(file).map_err(refuse)?;
        let rows = builder.metadata().file_metadata().num_rows().max(0) as u64;
        let bytes: i64 = builder
            .metadata()
            .row_groups()
            .iter()
            .map(|g| g.total_byte_size())
            .sum();
        let width = bytes.max(0) as u64 / rows.max(1) + 1;
        let fit = (BATCH_BYTES as u64 / width).clamp(1, BATCH_ROWS as u64) as usize;
        let reader = builder.with_batch_size(fit).build().map_err(refuse)?;
        let (size, name) = (input.size(), input.name().to_owned());
        let types = Arc::clone(&schema);
        let mut seen = 0u64;
        let counted = reader.map(move |batch| {
            let batch = batch.map_err(|e| damaged(&name, e))?;
            let first = seen;
            // The reader does not say where it is: rows stand for bytes.
            seen += batch.num_rows() as u64;
            let share = seen as f64 / rows.max(1) as f64;
            read.store((share * size as f64) as u64, Ordering::Relaxed);
            exact::restore(&batch, &types, first)
                .map_err(|e| Error::invalid(format!("{name}: {e}")))
        });
        Ok((schema, Box::new(counted) as Batches))
    })
}

/// Opens Arrow IPC files or streams of one schema.
pub(crate) fn open_arrow(inputs: Vec<Input>) -> Result<Box<dyn Source>> {
    open(inputs, |input, read| {
        let refuse = |e: ArrowError| {
            Error::invalid(format!("{} cannot be read as Arrow IPC: {e}", input.name()))
        };
        let is_file = input.head(6)? == b"ARROW1";
        let counted = BufReader::new(Counted {
            file: input.rewind()?,
            read,
        });
        let name = input.name().to_owned();
        let sound =
            move |batch: Result<RecordBatch, ArrowError>| batch.map_err(|e| damaged(&name, e));
        if is_file {
            let reader = FileReader::try_new(counted, None).map_err(refuse)?;
            Ok((reader.schema(), Box::new(reader.map(sound)) as Batches))
        } else {
            let reader = StreamReader::try_new(counted, None).map_err(refuse)?;
            Ok((reader.schema(), Box::new(reader.map(sound)) as Batches))
        }
    })
}

fn damaged(name: &str, error: ArrowError) -> Error {
    Error::invalid(format!("{name} is damaged: {error}"))
}

fn open(
    inputs: Vec<Input>,
    open: impl Fn(&Input, Arc<AtomicU64>) -> Result<(SchemaRef, Batches)>,
) -> Result<Box<dyn Source>> {
    let mut schema: Option<(SchemaRef, String)> = None;
    let mut parts = Vec::with_capacity(inputs.len());
    for input in inputs {
        let read = Arc::new(AtomicU64::new(0));
        let (own, batches) = open(&input, Arc::clone(&read))?;
        match &schema {
            Some((first, name)) if first.fields() != own.fields() => {
                return Err(Error::invalid(format!(
                    "{} and {name} have different schemas ({}); import them into separate files",
                    input.name(),
                    difference(&own, first)
                )));
            }
            Some(_) => {}
            None => schema = Some((own, input.name().to_owned())),
        }
        parts.push(Part {
            size: input.size(),
            read,
            batches,
            _input: input,
        });
    }
    let Some((schema, _)) = schema else {
        return Err(Error::invalid("there is nothing to import"));
    };
    Ok(Box::new(Columnar {
        schema,
        parts,
        current: 0,
        rest: None,
        failed: false,
    }))
}

/// The first difference between two schemas, in words.
fn difference(a: &SchemaRef, b: &SchemaRef) -> String {
    let pairs = a.fields().iter().zip(b.fields());
    for (i, (a, b)) in pairs.enumerate() {
        if a != b {
            return format!(
                "column {} is '{}' {} in the one and '{}' {} in the other",
                i + 1,
                a.name(),
                a.data_type(),
                b.name(),
                b.data_type()
            );
        }
    }
    format!("{} and {} columns", a.fields().len(), b.fields().len())
}

impl Columnar {
    fn read(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some((rest, fit)) = self.rest.take() {
                let rows = rest.num_rows();
                if rows > fit {
                    self.rest = Some((rest.slice(fit, rows - fit), fit));
                }
                return Ok(Some(rest.slice(0, rows.min(fit))));
            }
            let Some(part) = self.parts.get_mut(self.current) else {
                return Ok(None);
            };
            match part.batches.next() {
                Some(Ok(batch)) if batch.num_rows() == 0 => {}
                Some(Ok(batch)) => {
                    let rows = batch.num_rows();
                    let bytes = batch.get_array_memory_size().max(1);
                    let fit = (BATCH_BYTES as u128 * rows as u128 / bytes as u128) as usize;
                    let batch = batch.with_schema(Arc::clone(&self.schema))?;
                    self.rest = Some((batch, fit.clamp(1, BATCH_ROWS)));
                }
                Some(Err(e)) => return Err(e),
                None => self.current += 1,
            }
        }
    }
}

impl Iterator for Columnar {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.read().transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}

impl Source for Columnar {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn bytes_read(&self) -> u64 {
        let done: u64 = self.parts.iter().take(self.current).map(|p| p.size).sum();
        let part = self.parts.get(self.current);
        done + part.map_or(0, |p| p.read.load(Ordering::Relaxed).min(p.size))
    }

    fn total_bytes(&self) -> u64 {
        self.parts.iter().map(|p| p.size).sum()
    }
}

/// A file that says how far it was read.
struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

impl Seek for Counted {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let at = self.file.seek(to)?;
        self.read.store(at, Ordering::Relaxed);
        Ok(at)
    }
}
