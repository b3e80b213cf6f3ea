//! Parquet and Arrow IPC out: types, names and metadata as they are.

use std::io::Write;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::{FileWriter, StreamWriter};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::{Sink, refused};
use crate::error::{Error, Result};

/// Bytes of a row group that are held in memory at most.
const ROW_GROUP_BYTES: usize = 128 << 20;

/// Writes Parquet with zstd, the Arrow schema embedded.
pub(super) struct ParquetSink<W: Write + Send> {
    writer: ArrowWriter<W>,
}

fn parquet_refused(error: ParquetError) -> Error {
    match error {
        ParquetError::External(source) => match source.downcast::<std::io::Error>() {
            Ok(source) => Error::io("cannot write", *source),
            Err(source) => Error::invalid(format!("cannot be written as Parquet: {source}")),
        },
        other => Error::invalid(format!(
            "cannot be written as Parquet ({other}); write .arrow, which has every type"
        )),
    }
}

impl<W: Write + Send> ParquetSink<W> {
    pub(super) fn new(schema: &SchemaRef, out: W) -> Result<Self> {
        let level = ZstdLevel::try_new(3).map_err(parquet_refused)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_created_by(format!("pilaster version {}", env!("CARGO_PKG_VERSION")))
            .build();
        let writer = ArrowWriter::try_new(out, Arc::clone(schema), Some(properties))
            .map_err(parquet_refused)?;
        Ok(Self { writer })
    }
}

impl<W: Write + Send> Sink for ParquetSink<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch).map_err(parquet_refused)?;
        if self.writer.memory_size() > ROW_GROUP_BYTES {
            self.writer.flush().map_err(parquet_refused)?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let mut out = self.writer.into_inner().map_err(parquet_refused)?;
        out.flush().map_err(super::failed)
    }
}

/// Writes Arrow IPC.
pub(super) enum ArrowSink<W: Write> {
    File(FileWriter<W>),
    Stream(StreamWriter<W>),
}

impl<W: Write> ArrowSink<W> {
    pub(super) fn file(schema: &SchemaRef, out: W) -> Result<Self> {
        Ok(Self::File(
            FileWriter::try_new(out, schema).map_err(refused)?,
        ))
    }

    pub(super) fn stream(schema: &SchemaRef, out: W) -> Result<Self> {
        Ok(Self::Stream(
            StreamWriter::try_new(out, schema).map_err(refused)?,
        ))
    }
}

impl<W: Write> Sink for ArrowSink<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        match self {
            Self::File(writer) => writer.write(batch),
            Self::Stream(writer) => writer.write(batch),
        }
        .map_err(refused)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        match self.as_mut() {
            Self::File(writer) => writer.finish().and_then(|()| writer.flush()),
            Self::Stream(writer) => writer.finish().and_then(|()| writer.flush()),
        }
        .map_err(refused)
    }
}
