//! JSON lines out. Nulls are left out; bytes are hexadecimal text; floats that JSON does not know
//! (NaN, infinities) are null.

use std::io::Write;

use arrow::datatypes::SchemaRef;
use arrow::json::LineDelimitedWriter;
use arrow::record_batch::RecordBatch;

use super::{Sink, refused};
use crate::error::Result;

/// Writes one object a row.
pub(super) struct JsonSink<W: Write> {
    writer: LineDelimitedWriter<W>,
}

impl<W: Write> JsonSink<W> {
    pub(super) fn new(_schema: &SchemaRef, out: W) -> Result<Self> {
        Ok(Self {
            writer: LineDelimitedWriter::new(out),
        })
    }
}

impl<W: Write> Sink for JsonSink<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch).map_err(refused)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.writer.finish().map_err(refused)?;
        self.writer.get_mut().flush().map_err(super::failed)
    }
}
