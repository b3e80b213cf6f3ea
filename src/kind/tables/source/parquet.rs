//! Parquet: the types that were written, where the file's own types say less.
//!
//! Parquet has no seconds, no zones but UTC, and intervals of months, days and milliseconds, for which its
//! reader keeps only a part. So intervals are read as their bytes; and where the file holds the Arrow schema
//! that it was written from, zones come from there. Seconds come back as seconds from files that our own
//! export wrote, and as milliseconds from others, as their writers read them. Whatever does not come back
//! exactly is an error that names the column.

use std::fs::File;
use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::*;
use arrow::ipc::{convert::fb_to_schema, root_as_message};
use arrow::record_batch::RecordBatch;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::{ARROW_SCHEMA_META_KEY, encode_arrow_schema};
use parquet::basic::ConvertedType;
use parquet::errors::ParquetError;
use parquet::file::metadata::{FileMetaData, ParquetMetaData, ParquetMetaDataBuilder};
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};

use super::super::retype::{Misfit, retype, retype_batch};
use super::int96;
use crate::encoding::physical::{lower, raise};
use crate::error::Result;

/// How files begin to say that our export wrote them.
pub(in crate::kind::tables) const CREATED_BY: &str = "pilaster version ";
/// Nanoseconds of a millisecond, which is what Parquet's intervals count.
const NANOS: i64 = 1_000_000;

/// A reader of a file, and the schema of what [`restore`] makes of its batches.
pub(super) fn open(
    file: File,
) -> Result<(ParquetRecordBatchReaderBuilder<File>, SchemaRef), ParquetError> {
    let mut options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let mut metadata = ArrowReaderMetadata::load(&file, options.clone())?;
    let own = metadata.metadata().file_metadata().schema_descr_ptr();
    let intervals: Vec<bool> = own
        .columns()
        .iter()
        .map(|c| c.converted_type() == ConvertedType::INTERVAL)
        .collect();
    if intervals.contains(&true) {
        let plain = SchemaDescriptor::new(without_intervals(&own.root_schema_ptr())?);
        options = options.with_parquet_schema(Arc::new(plain));
        metadata = ArrowReaderMetadata::load(&file, options)?;
    }
    let (metadata, written) = hinted(metadata.metadata())?;
    let metadata = int96::with_units(&file, metadata)?;
    let read = metadata.schema();
    let told = |i: usize| {
        let written = written.as_ref()?.fields();
        let same =
            written.len() == read.fields().len() && written[i].name() == read.field(i).name();
        same.then(|| written[i].data_type())
    };
    let writer = metadata.metadata().file_metadata().created_by();
    let mut file_types = FileTypes {
        intervals,
        seconds: writer.is_some_and(|w| w.starts_with(CREATED_BY)),
        leaf: 0,
    };
    let fields: Vec<FieldRef> = read
        .fields()
        .iter()
        .enumerate()
        .map(|(i, field)| file_types.retyped(field, told(i)))
        .collect();
    let schema = Schema::new_with_metadata(fields, read.metadata().clone());
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata);
    Ok((builder, Arc::new(schema)))
}

/// The schema of a file, as an engine reads it, with the zones that were written.
#[cfg(feature = "cli")]
pub(crate) fn with_zones(schema: &SchemaRef, file: &FileMetaData) -> SchemaRef {
    let key_values = file.key_value_metadata();
    let hint = key_values.and_then(|all| all.iter().find(|kv| kv.key == ARROW_SCHEMA_META_KEY));
    let Some(written) = hint.and_then(|kv| decoded(kv.value.as_deref()?)) else {
        return Arc::clone(schema);
    };
    let mut file_types = FileTypes {
        intervals: Vec::new(),
        seconds: false,
        leaf: 0,
    };
    let fields = schema.fields().iter().map(|field| {
        let written = written.field_with_name(field.name()).ok();
        file_types.retyped(field, written.map(Field::data_type))
    });
    let fields: Vec<FieldRef> = fields.collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// The metadata with such hints of the Arrow schema in it as the reader can follow, and that schema.
fn hinted(
    metadata: &Arc<ParquetMetaData>,
) -> Result<(ArrowReaderMetadata, Option<Schema>), ParquetError> {
    let file = metadata.file_metadata();
    let mut key_values = file.key_value_metadata().cloned().unwrap_or_default();
    let hint = key_values
        .iter_mut()
        .find(|kv| kv.key == ARROW_SCHEMA_META_KEY);
    let written = hint.as_ref().and_then(|kv| decoded(kv.value.as_deref()?));
    let (Some(hint), Some(written)) = (hint, written) else {
        let options = ArrowReaderOptions::new();
        return Ok((
            ArrowReaderMetadata::try_new(Arc::clone(metadata), options)?,
            None,
        ));
    };
    let fields: Vec<FieldRef> = written.fields().iter().map(without_dictionaries).collect();
    let plain = Schema::new_with_metadata(fields, written.metadata().clone());
    hint.value = Some(encode_arrow_schema(&plain));
    let file = FileMetaData::new(
        file.version(),
        file.num_rows(),
        file.created_by().map(str::to_owned),
        Some(key_values),
        file.schema_descr_ptr(),
        file.column_orders().cloned(),
    );
    let metadata = ParquetMetaDataBuilder::new(file)
        .set_row_groups(metadata.row_groups().to_vec())
        .build();
    let options = ArrowReaderOptions::new();
    let metadata = ArrowReaderMetadata::try_new(Arc::new(metadata), options)?;
    Ok((metadata, Some(written)))
}

/// The field with dictionaries of bytes alone: of other values the reader has none that are sound.
fn without_dictionaries(field: &FieldRef) -> FieldRef {
    use DataType::*;
    let data_type = match field.data_type() {
        Dictionary(_, values) if !matches!(**values, Utf8 | LargeUtf8 | Binary | LargeBinary) => {
            let plain = field.as_ref().clone().with_data_type(*values.clone());
            return without_dictionaries(&Arc::new(plain));
        }
        List(f) => List(without_dictionaries(f)),
        LargeList(f) => LargeList(without_dictionaries(f)),
        FixedSizeList(f, size) => FixedSizeList(without_dictionaries(f), *size),
        Map(f, sorted) => Map(without_dictionaries(f), *sorted),
        Struct(fields) => Struct(fields.iter().map(without_dictionaries).collect()),
        _ => return Arc::clone(field),
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

/// The schema in which intervals are fixed-size binary values.
fn without_intervals(node: &TypePtr) -> Result<TypePtr, ParquetError> {
    let info = node.get_basic_info();
    let id = info.has_id().then(|| info.id());
    if node.is_primitive() {
        if info.converted_type() != ConvertedType::INTERVAL {
            return Ok(Arc::clone(node));
        }
        let plain = Type::primitive_type_builder(node.name(), node.get_physical_type())
            .with_repetition(info.repetition())
            .with_length(12)
            .with_id(id);
        return Ok(Arc::new(plain.build()?));
    }
    let fields = node.get_fields().iter().map(without_intervals);
    let group = Type::group_type_builder(node.name())
        .with_fields(fields.collect::<Result<_, _>>()?)
        .with_converted_type(info.converted_type())
        .with_logical_type(info.logical_type_ref().cloned())
        .with_id(id);
    let group = match info.has_repetition() {
        true => group.with_repetition(info.repetition()),
        false => group,
    };
    Ok(Arc::new(group.build()?))
}

/// The Arrow schema in a file's metadata.
fn decoded(text: &str) -> Option<Schema> {
    let bytes = BASE64_STANDARD.decode(text).ok()?;
    let message = match bytes.strip_prefix(&[0xff; 4]) {
        Some(rest) => rest.get(4..)?,
        None => &bytes,
    };
    let message = root_as_message(message).ok()?;
    message.header_as_schema().map(fb_to_schema)
}

/// What is known of a file's types while its fields are followed.
struct FileTypes {
    /// Which leaves are intervals.
    intervals: Vec<bool>,
    /// Whether milliseconds that were written as seconds are seconds.
    seconds: bool,
    /// The first leaf at or below the field.
    leaf: usize,
}

impl FileTypes {
    /// The field with the type that was written.
    fn retyped(&mut self, field: &FieldRef, written: Option<&DataType>) -> FieldRef {
        use DataType::*;
        if let (Some(Dictionary(_, values)), false) =
            (written, matches!(field.data_type(), Dictionary(..)))
        {
            let plain = self.retyped(field, Some(values));
            return match (plain.data_type() == values.as_ref(), written) {
                (true, Some(written)) => {
                    Arc::new(plain.as_ref().clone().with_data_type(written.clone()))
                }
                _ => plain,
            };
        }
        let data_type = match (field.data_type(), written) {
            (List(own), written) => {
                let written = match written {
                    Some(List(f) | LargeList(f) | FixedSizeList(f, _)) => Some(f),
                    _ => None,
                };
                List(self.below(own, written))
            }
            (LargeList(own), written) => {
                let written = match written {
                    Some(LargeList(f)) => Some(f),
                    _ => None,
                };
                LargeList(self.below(own, written))
            }
            (FixedSizeList(own, size), written) => {
                let written = match written {
                    Some(FixedSizeList(f, _)) => Some(f),
                    _ => None,
                };
                FixedSizeList(self.below(own, written), *size)
            }
            (Map(own, sorted), written) => {
                let written = match written {
                    Some(Map(f, _)) => Some(f),
                    _ => None,
                };
                Map(self.below(own, written), *sorted)
            }
            (Struct(own), written) => {
                let written = match written {
                    Some(Struct(fields)) if fields.len() == own.len() => Some(fields),
                    _ => None,
                };
                let fields = own.iter().enumerate();
                Struct(
                    fields
                        .map(|(i, f)| self.below(f, written.map(|w| &w[i])))
                        .collect(),
                )
            }
            (own, written) => {
                let interval = self.intervals.get(self.leaf).copied().unwrap_or_default();
                self.leaf += 1;
                match interval {
                    true => interval_type(written),
                    false => leaf_type(own, written, self.seconds),
                }
            }
        };
        match data_type == *field.data_type() {
            true => Arc::clone(field),
            false => Arc::new(field.as_ref().clone().with_data_type(data_type)),
        }
    }

    fn below(&mut self, own: &FieldRef, written: Option<&FieldRef>) -> FieldRef {
        let field = self.retyped(own, written.map(|f| f.data_type()));
        match written {
            // The reader gives elements a name of its own where it does not follow the type.
            Some(w) if w.data_type() == field.data_type() && w.name() != field.name() => {
                Arc::new(field.as_ref().clone().with_name(w.name()))
            }
            _ => field,
        }
    }
}

/// The type of intervals: that which was written, else the one that holds all of Parquet's.
fn interval_type(written: Option<&DataType>) -> DataType {
    match written {
        Some(interval @ DataType::Interval(_)) => interval.clone(),
        _ => DataType::Interval(IntervalUnit::MonthDayNano),
    }
}

/// The type that was written, if values of the type that is read turn into it.
fn leaf_type(read: &DataType, written: Option<&DataType>, seconds: bool) -> DataType {
    use DataType::*;
    use TimeUnit::{Millisecond, Second};
    match (read, written) {
        (Timestamp(Millisecond, a), Some(Timestamp(Second, b)))
            if seconds && a.is_some() == b.is_some() =>
        {
            Timestamp(Second, b.clone())
        }
        // Another unit than was written still counts from the same instant.
        (Timestamp(unit, Some(_)), Some(Timestamp(_, Some(zone)))) => {
            Timestamp(*unit, Some(Arc::clone(zone)))
        }
        (Time32(Millisecond), Some(Time32(Second))) if seconds => Time32(Second),
        _ => read.clone(),
    }
}

/// A batch with the types of `schema`; `first` is the number of its first row.
pub(super) fn restore(batch: &RecordBatch, schema: &SchemaRef, first: u64) -> Result<RecordBatch> {
    retype_batch(batch, schema, first, &restored)
}

fn restored(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, Misfit> {
    use DataType::*;
    Ok(match to {
        Interval(unit) => intervals(array.as_fixed_size_binary(), *unit)?,
        Timestamp(TimeUnit::Second, zone) => {
            let values = array.as_primitive::<TimestampMillisecondType>();
            let seconds = seconds(values.values(), array.nulls(), |v| v)?;
            let array = TimestampSecondArray::try_new(seconds.into(), array.nulls().cloned())?;
            Arc::new(array.with_timezone_opt(zone.clone()))
        }
        Time32(TimeUnit::Second) => {
            let values = array.as_primitive::<Time32MillisecondType>();
            let seconds = seconds(values.values(), array.nulls(), i64::from)?;
            let seconds: Vec<i32> = seconds.iter().map(|s| *s as i32).collect();
            Arc::new(Time32SecondArray::try_new(
                seconds.into(),
                array.nulls().cloned(),
            )?)
        }
        Dictionary(_, values) => {
            let plain = retype(array, values, &restored)?;
            let packed = lower(&plain).and_then(|physical| raise(physical, to));
            packed.map_err(|e| Misfit {
                row: None,
                what: e.to_string(),
            })?
        }
        // The same numbers, told in another zone.
        _ => make_array(
            array
                .to_data()
                .into_builder()
                .data_type(to.clone())
                .build()?,
        ),
    })
}

/// Milliseconds as seconds, which all valid ones must be.
fn seconds<T: Copy>(
    values: &[T],
    nulls: Option<&NullBuffer>,
    wide: impl Fn(T) -> i64,
) -> Result<Vec<i64>, Misfit> {
    let broken = values
        .iter()
        .enumerate()
        .position(|(i, v)| wide(*v) % 1000 != 0 && nulls.is_none_or(|n| n.is_valid(i)));
    match broken {
        None => Ok(values.iter().map(|v| wide(*v).div_euclid(1000)).collect()),
        Some(row) => Err(Misfit {
            row: Some(row),
            what: format!(
                "{} milliseconds are no whole seconds, which the file's Arrow schema says they are; \
                 write the file without that schema",
                wide(values[row])
            ),
        }),
    }
}

/// Parquet's intervals: months, days and milliseconds, 32 bits each.
fn intervals(array: &FixedSizeBinaryArray, unit: IntervalUnit) -> Result<ArrayRef, Misfit> {
    let nulls = array.nulls().cloned();
    let refuse = |row: usize, what: &str| Misfit {
        row: Some(row),
        what: format!("an interval {what}"),
    };
    let mut words = Vec::with_capacity(array.len());
    for row in 0..array.len() {
        let parts = array.value(row).as_chunks::<4>().0;
        match (array.is_valid(row), parts) {
            (true, [months, days, milliseconds]) => words.push([*months, *days, *milliseconds]),
            _ => words.push([[0; 4]; 3]),
        }
    }
    Ok(match unit {
        IntervalUnit::YearMonth => {
            if let Some(row) = words.iter().position(|w| w[1..] != [[0; 4]; 2]) {
                return Err(refuse(
                    row,
                    "has days or milliseconds, which the file's Arrow schema denies",
                ));
            }
            let months: ScalarBuffer<i32> =
                words.iter().map(|w| i32::from_le_bytes(w[0])).collect();
            Arc::new(IntervalYearMonthArray::try_new(months, nulls)?)
        }
        IntervalUnit::DayTime => {
            if let Some(row) = words.iter().position(|w| w[0] != [0; 4]) {
                return Err(refuse(
                    row,
                    "has months, which the file's Arrow schema denies",
                ));
            }
            let parts = words
                .iter()
                .map(|w| IntervalDayTime::new(i32::from_le_bytes(w[1]), i32::from_le_bytes(w[2])));
            Arc::new(IntervalDayTimeArray::try_new(parts.collect(), nulls)?)
        }
        IntervalUnit::MonthDayNano => {
            let mut parts = Vec::with_capacity(words.len());
            for (row, [months, days, milliseconds]) in words.into_iter().enumerate() {
                let part = |bytes| {
                    i32::try_from(u32::from_le_bytes(bytes))
                        .map_err(|_| refuse(row, "has more than 2,147,483,647 months or days"))
                };
                let nanos = i64::from(u32::from_le_bytes(milliseconds)) * NANOS;
                parts.push(IntervalMonthDayNano::new(part(months)?, part(days)?, nanos));
            }
            Arc::new(IntervalMonthDayNanoArray::try_new(parts.into(), nulls)?)
        }
    })
}
