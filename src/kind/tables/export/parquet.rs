//! Parquet out: zstd, the Arrow schema embedded.
//!
//! Types that Parquet lacks are stored as others that every reader of Parquet knows: seconds as
//! milliseconds, 64-bit dates as days, intervals as months, days and milliseconds. The embedded schema
//! tells readers of Arrow what they were. A value that would not come back is an error that names it.

use std::io::Write;
use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::Buffer;
use arrow::compute::take;
use arrow::datatypes::*;
use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter, add_encoded_arrow_schema_to_metadata};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::super::retype::{Misfit, retype, retype_batch};
use super::super::source::CREATED_BY;
use super::Sink;
use crate::error::{Error, Result};

/// Bytes of a row group that are held in memory at most.
const ROW_GROUP_BYTES: usize = 128 << 20;
const MILLISECONDS_OF_DAY: i64 = 86_400_000;
const NANOSECONDS_OF_MILLISECOND: i64 = 1_000_000;

/// Writes Parquet.
pub(super) struct ParquetSink<W: Write + Send> {
    writer: ArrowWriter<W>,
    stored: SchemaRef,
    rows: u64,
}

fn refused(error: ParquetError) -> Error {
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
        for field in schema.fields() {
            check(field.name(), field.data_type())?;
        }
        let level = ZstdLevel::try_new(3).map_err(refused)?;
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_created_by(format!("{CREATED_BY}{}", env!("CARGO_PKG_VERSION")))
            .build();
        add_encoded_arrow_schema_to_metadata(schema, &mut properties);
        let stored = Arc::new(with_leaves(schema, &stored));
        let declared = ArrowSchemaConverter::new()
            .convert(&with_leaves(schema, &declared))
            .map_err(refused)?;
        let options = ArrowWriterOptions::new()
            .with_properties(properties)
            .with_parquet_schema(declared)
            .with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(out, Arc::clone(&stored), options)
            .map_err(refused)?;
        Ok(Self {
            writer,
            stored,
            rows: 0,
        })
    }
}

impl<W: Write + Send> Sink for ParquetSink<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let stored = retype_batch(batch, &self.stored, self.rows, &store)?;
        self.rows += batch.num_rows() as u64;
        self.writer.write(&stored).map_err(refused)?;
        if self.writer.memory_size() > ROW_GROUP_BYTES {
            self.writer.flush().map_err(refused)?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let mut out = self.writer.into_inner().map_err(refused)?;
        out.flush().map_err(super::failed)
    }
}

/// Refuses what Parquet has no form for.
fn check(name: &str, data_type: &DataType) -> Result<()> {
    use DataType::*;
    let refuse = |what: &str| {
        Err(Error::invalid(format!(
            "column '{name}' {what}, which Parquet does not have; write .arrow, which has every type"
        )))
    };
    match data_type {
        Decimal32(_, scale) | Decimal64(_, scale) | Decimal128(_, scale) | Decimal256(_, scale)
            if *scale < 0 =>
        {
            refuse(&format!("has decimals of scale {scale}"))
        }
        Struct(fields) if fields.is_empty() => refuse("has structs without fields"),
        Struct(fields) => fields
            .iter()
            .try_for_each(|f| check(&format!("{name}.{}", f.name()), f.data_type())),
        List(f) | LargeList(f) | FixedSizeList(f, _) | Map(f, _) => check(name, f.data_type()),
        Dictionary(_, values) => check(name, values),
        _ => Ok(()),
    }
}

/// A schema with other types at its leaves.
fn with_leaves(schema: &Schema, leaf: &dyn Fn(&DataType) -> DataType) -> Schema {
    let fields: Vec<FieldRef> = schema.fields().iter().map(|f| field(f, leaf)).collect();
    Schema::new_with_metadata(fields, schema.metadata().clone())
}

fn field(own: &FieldRef, leaf: &dyn Fn(&DataType) -> DataType) -> FieldRef {
    let data_type = nested(own.data_type(), leaf);
    match data_type == *own.data_type() {
        true => Arc::clone(own),
        false => Arc::new(own.as_ref().clone().with_data_type(data_type)),
    }
}

fn nested(own: &DataType, leaf: &dyn Fn(&DataType) -> DataType) -> DataType {
    use DataType::*;
    match own {
        List(f) => List(field(f, leaf)),
        LargeList(f) => LargeList(field(f, leaf)),
        FixedSizeList(f, size) => FixedSizeList(field(f, leaf), *size),
        Map(f, sorted) => Map(field(f, leaf), *sorted),
        Struct(fields) => Struct(fields.iter().map(|f| field(f, leaf)).collect()),
        // Dictionaries of other values than bytes are beyond most readers, and beyond the writer.
        Dictionary(_, values) if !is_bytes(values) => nested(values, leaf),
        other => leaf(other),
    }
}

fn is_bytes(values: &DataType) -> bool {
    use DataType::*;
    matches!(values, Utf8 | LargeUtf8 | Binary | LargeBinary)
}

/// The type of the arrays that are written.
fn stored(own: &DataType) -> DataType {
    use DataType::*;
    match own {
        Timestamp(TimeUnit::Second, zone) => Timestamp(TimeUnit::Millisecond, zone.clone()),
        Time32(TimeUnit::Second) => Time32(TimeUnit::Millisecond),
        Date64 => Date32,
        Interval(IntervalUnit::MonthDayNano) => FixedSizeBinary(12),
        other => other.clone(),
    }
}

/// The type that the file's own schema is made from.
fn declared(own: &DataType) -> DataType {
    match own {
        // All intervals are declared alike.
        DataType::Interval(_) => DataType::Interval(IntervalUnit::DayTime),
        other => stored(other),
    }
}

fn store(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, Misfit> {
    use DataType::*;
    let misfit = |row: usize, what: String| Misfit {
        row: Some(row),
        what: format!("{what}; write .arrow, which has every type"),
    };
    let nulls = array.nulls().cloned();
    Ok(match array.data_type() {
        Timestamp(TimeUnit::Second, zone) => {
            let values = array.as_primitive::<TimestampSecondType>();
            let wide = |row: usize| match (array.is_valid(row), values.value(row)) {
                (false, _) => Ok(0),
                (true, v) => v.checked_mul(1000).ok_or_else(|| {
                    misfit(
                        row,
                        format!("{v} seconds are too many for Parquet's milliseconds"),
                    )
                }),
            };
            let values = (0..array.len())
                .map(wide)
                .collect::<Result<Vec<i64>, _>>()?;
            let stored = TimestampMillisecondArray::try_new(values.into(), nulls)?;
            Arc::new(stored.with_timezone_opt(zone.clone()))
        }
        Time32(TimeUnit::Second) => {
            let values = array.as_primitive::<Time32SecondType>();
            let wide = |row: usize| match (array.is_valid(row), values.value(row)) {
                (false, _) => Ok(0),
                (true, v) => v
                    .checked_mul(1000)
                    .ok_or_else(|| misfit(row, format!("{v} seconds are more than a day has"))),
            };
            let values = (0..array.len())
                .map(wide)
                .collect::<Result<Vec<i32>, _>>()?;
            Arc::new(Time32MillisecondArray::try_new(values.into(), nulls)?)
        }
        Date64 => {
            let values = array.as_primitive::<Date64Type>();
            let day = |row: usize| match (array.is_valid(row), values.value(row)) {
                (false, _) => Ok(0),
                (true, v) if v % MILLISECONDS_OF_DAY != 0 => Err(misfit(
                    row,
                    format!("{v} milliseconds are no whole days, which Parquet's dates are"),
                )),
                (true, v) => i32::try_from(v / MILLISECONDS_OF_DAY).map_err(|_| {
                    misfit(
                        row,
                        format!("{v} milliseconds are too many for Parquet's dates"),
                    )
                }),
            };
            let values = (0..array.len()).map(day).collect::<Result<Vec<i32>, _>>()?;
            Arc::new(Date32Array::try_new(values.into(), nulls)?)
        }
        Interval(IntervalUnit::MonthDayNano) => {
            let values = array.as_primitive::<IntervalMonthDayNanoType>();
            let mut bytes = Vec::with_capacity(12 * array.len());
            for row in 0..array.len() {
                let v = values.value(row);
                let parts = match array.is_valid(row) {
                    true => interval(v).ok_or_else(|| {
                        misfit(
                            row,
                            format!(
                                "an interval of {} months, {} days and {} nanoseconds does not fit \
                                 Parquet, whose intervals have months, days and milliseconds, none \
                                 of them negative",
                                v.months, v.days, v.nanoseconds
                            ),
                        )
                    })?,
                    false => [0; 3],
                };
                parts
                    .iter()
                    .for_each(|p| bytes.extend_from_slice(&p.to_le_bytes()));
            }
            let bytes = Buffer::from_vec(bytes);
            Arc::new(FixedSizeBinaryArray::try_new_with_len(
                12,
                bytes,
                nulls,
                array.len(),
            )?)
        }
        Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            retype(
                &take(dictionary.values(), dictionary.keys(), None)?,
                to,
                &store,
            )?
        }
        own => return Err(misfit(0, format!("{own} as {to}"))),
    })
}

/// Months, days and milliseconds, if they are exact.
fn interval(value: IntervalMonthDayNano) -> Option<[u32; 3]> {
    let whole = value.nanoseconds % NANOSECONDS_OF_MILLISECOND == 0;
    let milliseconds = value.nanoseconds / NANOSECONDS_OF_MILLISECOND;
    Some([
        u32::try_from(value.months).ok()?,
        u32::try_from(value.days).ok()?,
        u32::try_from(milliseconds).ok().filter(|_| whole)?,
    ])
}
