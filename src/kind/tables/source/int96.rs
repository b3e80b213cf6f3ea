//! Parquet's INT96, in which older writers (Spark, Hive, Impala) keep times as a day and nanoseconds.
//!
//! The reader makes 64 bits of nanoseconds of them, round which dates before 1677 and after 2262 wrap
//! without a word: 9999-12-31, which often stands for "never", among them. So these columns are looked at
//! first, and those that hold such dates are read as microseconds.

use std::fs::File;
#[cfg(feature = "cli")]
use std::path::Path;
use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Type;
use parquet::errors::ParquetError;

const NANOSECONDS: DataType = DataType::Timestamp(TimeUnit::Nanosecond, None);
const MICROSECONDS: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// What the values of a column are like.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// One does not fit 64 bits of nanoseconds.
    far: bool,
    /// One has a part of a microsecond.
    fine: bool,
}

/// The first of some columns of a file that, as nanoseconds, would not be what was written.
#[cfg(feature = "cli")]
pub(crate) fn inexact_column(
    path: &Path,
    wanted: &[String],
) -> Result<Option<String>, ParquetError> {
    let file = File::open(path)?;
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())?;
    let exact = with_units_of(&file, metadata.clone(), &|c| wanted.iter().any(|w| w == c))?;
    let (own, exact) = (metadata.schema().fields(), exact.schema().fields());
    let changed = own.iter().zip(exact).find(|(a, b)| a != b);
    Ok(changed.map(|(field, _)| field.name().clone()))
}

/// The metadata with the unit in which every INT96 column is exact.
pub(super) fn with_units(
    file: &File,
    metadata: ArrowReaderMetadata,
) -> Result<ArrowReaderMetadata, ParquetError> {
    with_units_of(file, metadata, &|_| true)
}

fn with_units_of(
    file: &File,
    metadata: ArrowReaderMetadata,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<ArrowReaderMetadata, ParquetError> {
    let leaves = metadata.metadata().file_metadata().schema_descr().columns();
    let mut types = Vec::new();
    for field in metadata.schema().fields() {
        leaf_types(field.data_type(), &mut types);
    }
    let old: Vec<usize> = (0..leaves.len())
        .filter(|&i| leaves[i].physical_type() == Type::INT96)
        .filter(|&i| types.get(i) == Some(&NANOSECONDS))
        .filter(|&i| leaves[i].path().parts().first().is_some_and(|c| wanted(c)))
        .collect();
    if old.is_empty() {
        return Ok(metadata);
    }
    let micro = with_micros(&metadata, &old)?;
    let reader = |metadata: &ArrowReaderMetadata| {
        let builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(file.try_clone()?, metadata.clone());
        let mask = ProjectionMask::leaves(builder.parquet_schema(), old.iter().copied());
        builder.with_projection(mask).build()
    };
    let mut seen = vec![Seen::default(); old.len()];
    for (nanos, micros) in reader(&metadata)?.zip(reader(&micro)?) {
        let (mut fine, mut coarse) = (Vec::new(), Vec::new());
        nanos?
            .columns()
            .iter()
            .for_each(|c| leaf_arrays(c, &mut fine));
        micros?
            .columns()
            .iter()
            .for_each(|c| leaf_arrays(c, &mut coarse));
        for ((nanos, micros), seen) in fine.iter().zip(&coarse).zip(&mut seen) {
            look(nanos, micros, seen);
        }
    }
    let far: Vec<usize> = (0..old.len()).filter(|&i| seen[i].far).collect();
    if let Some(&i) = far.iter().find(|&&i| seen[i].fine) {
        return Err(ParquetError::General(format!(
            "column '{}' is INT96 and holds parts of microseconds beside dates for which 64 bits of \
             nanoseconds do not suffice; write it as microseconds",
            leaves[old[i]].path()
        )));
    }
    match far.is_empty() {
        true => Ok(metadata),
        false => with_micros(&metadata, &far.iter().map(|&i| old[i]).collect::<Vec<_>>()),
    }
}

/// The metadata with some leaves read as microseconds.
fn with_micros(
    metadata: &ArrowReaderMetadata,
    leaves: &[usize],
) -> Result<ArrowReaderMetadata, ParquetError> {
    let mut leaf = 0;
    let own = metadata.schema();
    let fields = own.fields().iter();
    let fields: Vec<FieldRef> = fields.map(|f| coarser(f, leaves, &mut leaf)).collect();
    let schema = Schema::new_with_metadata(fields, own.metadata().clone());
    let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
    ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)
}

fn coarser(field: &FieldRef, leaves: &[usize], leaf: &mut usize) -> FieldRef {
    use DataType::*;
    let data_type = match field.data_type() {
        List(f) => List(coarser(f, leaves, leaf)),
        LargeList(f) => LargeList(coarser(f, leaves, leaf)),
        FixedSizeList(f, size) => FixedSizeList(coarser(f, leaves, leaf), *size),
        Map(f, sorted) => Map(coarser(f, leaves, leaf), *sorted),
        Struct(fields) => Struct(fields.iter().map(|f| coarser(f, leaves, leaf)).collect()),
        own => {
            *leaf += 1;
            match leaves.contains(&(*leaf - 1)) {
                true => MICROSECONDS,
                false => own.clone(),
            }
        }
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

fn leaf_types(data_type: &DataType, types: &mut Vec<DataType>) {
    use DataType::*;
    match data_type {
        List(f) | LargeList(f) | FixedSizeList(f, _) | Map(f, _) => {
            leaf_types(f.data_type(), types);
        }
        Struct(fields) => fields.iter().for_each(|f| leaf_types(f.data_type(), types)),
        leaf => types.push(leaf.clone()),
    }
}

fn leaf_arrays(array: &ArrayRef, leaves: &mut Vec<ArrayRef>) {
    use DataType::*;
    match array.data_type() {
        List(_) => leaf_arrays(array.as_list::<i32>().values(), leaves),
        LargeList(_) => leaf_arrays(array.as_list::<i64>().values(), leaves),
        FixedSizeList(..) => leaf_arrays(array.as_fixed_size_list().values(), leaves),
        Map(..) => {
            let entries = array.as_map().entries();
            entries
                .columns()
                .iter()
                .for_each(|c| leaf_arrays(c, leaves));
        }
        Struct(_) => {
            let columns = array.as_struct().columns();
            columns.iter().for_each(|c| leaf_arrays(c, leaves));
        }
        _ => leaves.push(Arc::clone(array)),
    }
}

fn look(nanos: &ArrayRef, micros: &ArrayRef, seen: &mut Seen) {
    let (Some(fine), Some(coarse)) = (
        nanos.as_primitive_opt::<TimestampNanosecondType>(),
        micros.as_primitive_opt::<TimestampMicrosecondType>(),
    ) else {
        return;
    };
    let pairs = fine.values().iter().zip(coarse.values()).enumerate();
    for (row, (&fine, &coarse)) in pairs {
        if nanos.is_null(row) {
            continue;
        }
        let rest = fine.wrapping_sub(coarse.wrapping_mul(1_000));
        let whole = coarse.checked_mul(1_000);
        seen.far |= whole.and_then(|w| w.checked_add(rest)).is_none();
        seen.fine |= rest != 0;
    }
}
