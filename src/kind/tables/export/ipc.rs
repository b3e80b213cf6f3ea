//! Arrow IPC out: types, names and metadata as they are.

use std::io::Write;

use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::{FileWriter, StreamWriter};
use arrow::record_batch::RecordBatch;

use super::{Sink, refused};
use crate::error::Result;

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
