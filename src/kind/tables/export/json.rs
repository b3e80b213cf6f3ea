//! JSON lines out. Nulls are left out; bytes are hexadecimal text; floats that JSON does not know
//! (NaN, infinities) are null. A time that has no text is an error.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{Array, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::writer::{
    Encoder, EncoderFactory, EncoderOptions, LineDelimited, NullableEncoder, Writer, WriterBuilder,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::{Sink, failed, refused, unprintable};
use crate::error::{Error, Result};

/// Writes one object a row.
pub(super) struct JsonSink<W: Write> {
    out: W,
    lines: Lines,
    rows: u64,
}

impl<W: Write> JsonSink<W> {
    pub(super) fn new(_schema: &SchemaRef, out: W) -> Result<Self> {
        Ok(Self {
            out,
            lines: Lines::new(),
            rows: 0,
        })
    }
}

impl<W: Write> Sink for JsonSink<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let batch = &without_null_values(batch)?;
        match self.lines.of(batch)? {
            Some(bytes) => self.out.write_all(&bytes).map_err(failed)?,
            None => return Err(misprint(batch, self.rows)?),
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.out.flush().map_err(failed)
    }
}

/// The batch without dictionaries that have nulls among their values, where the encoders of `arrow` do
/// not look for them.
fn without_null_values(batch: &RecordBatch) -> Result<RecordBatch> {
    let (schema, mut columns, _) = batch.clone().into_parts();
    let mut fields = schema.fields().to_vec();
    for (field, column) in fields.iter_mut().zip(&mut columns) {
        if let Some(dictionary) = column.as_any_dictionary_opt()
            && dictionary.values().logical_null_count() > 0
        {
            *column = take(dictionary.values(), dictionary.keys(), None)?;
            *field = Arc::new(Field::new(field.name(), column.data_type().clone(), true));
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let schema = Arc::new(Schema::new(fields));
    Ok(RecordBatch::try_new_with_options(
        schema, columns, &options,
    )?)
}

/// Names the first value of a batch that has no text.
fn misprint(batch: &RecordBatch, first: u64) -> Result<Error> {
    for row in 0..batch.num_rows() {
        for (i, field) in batch.schema().fields().iter().enumerate() {
            let cell = batch.slice(row, 1).project(&[i])?;
            if Lines::new().of(&cell)?.is_none() {
                return Ok(unprintable(field.name(), first + row as u64));
            }
        }
    }
    Ok(Error::invalid("a value has no text"))
}

/// Batches as text.
struct Lines {
    writer: Writer<Vec<u8>, LineDelimited>,
    failed: Arc<AtomicBool>,
}

impl Lines {
    fn new() -> Self {
        let failed = Arc::new(AtomicBool::new(false));
        let times = Arc::new(Times {
            failed: Arc::clone(&failed),
        });
        Self {
            writer: WriterBuilder::new()
                .with_encoder_factory(times)
                .build(Vec::new()),
            failed,
        }
    }

    /// The lines of a batch; nothing if a value has no text.
    fn of(&mut self, batch: &RecordBatch) -> Result<Option<Vec<u8>>> {
        self.writer.write(batch).map_err(refused)?;
        let bytes = std::mem::take(self.writer.get_mut());
        Ok((!self.failed.load(Ordering::Relaxed)).then_some(bytes))
    }
}

/// Prints what has to do with time, and remembers if something could not be printed: the encoders of
/// `arrow` would write their error in its place.
#[derive(Debug)]
struct Times {
    failed: Arc<AtomicBool>,
}

impl EncoderFactory for Times {
    fn make_default_encoder<'a>(
        &self,
        _field: &'a FieldRef,
        array: &'a dyn Array,
        _options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        if !array.data_type().is_temporal() {
            return Ok(None);
        }
        let options = FormatOptions::new().with_display_error(false);
        let encoder = Time {
            formatter: ArrayFormatter::try_new(array, &options)?,
            duration: matches!(array.data_type(), DataType::Duration(_)),
            failed: Arc::clone(&self.failed),
        };
        let nulls = array.nulls().cloned();
        Ok(Some(NullableEncoder::new(Box::new(encoder), nulls)))
    }
}

struct Time<'a> {
    formatter: ArrayFormatter<'a>,
    duration: bool,
    failed: Arc<AtomicBool>,
}

impl Encoder for Time<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        match self.formatter.value(row).try_to_string() {
            // What durations that are too long print as.
            Ok(text) if !(self.duration && text == super::INVALID) => {
                out.push(b'"');
                out.extend_from_slice(text.as_bytes());
                out.push(b'"');
            }
            _ => self.failed.store(true, Ordering::Relaxed),
        }
    }
}
