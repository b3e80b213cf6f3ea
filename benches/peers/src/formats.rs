//! The formats: how a table is written and read in each.

use std::fs::File;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use pilaster::file::Layout;
use pilaster::kind::tables::layout::ArchiveLayout;
use pilaster::{Profile, ScanRequest, WriteOptions, Writer};

use crate::Result;

/// Rows that Parquet's reader hands out together: what query engines ask it for. Its default of 1,024
/// is slower.
const PARQUET_BATCH: usize = 8192;

/// Writes Parquet with zstd at a level and gives the file's size. Everything but the compression and,
/// where one is given, the size of row groups is as its writer does by default.
pub fn write_parquet(
    rows: &RecordBatch,
    path: &Path,
    level: i32,
    row_group: Option<usize>,
) -> Result<u64> {
    let mut properties =
        WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(level)?));
    if row_group.is_some() {
        properties = properties.set_max_row_group_row_count(row_group);
    }
    let mut writer =
        ArrowWriter::try_new(File::create(path)?, rows.schema(), Some(properties.build()))?;
    writer.write(rows)?;
    writer.close()?;
    Ok(std::fs::metadata(path)?.len())
}

/// Writes a `.pil` file as `pilaster import` does and gives its size.
pub fn write_pil(rows: &RecordBatch, path: &Path, profile: Profile) -> Result<u64> {
    let layout: Option<Box<dyn Layout>> = match profile {
        Profile::Archive => Some(Box::new(ArchiveLayout::default())),
        _ => None,
    };
    let options = WriteOptions {
        profile,
        layout,
        ..WriteOptions::default()
    };
    let mut writer = Writer::create(path, rows.schema(), options)?;
    writer.write(rows)?;
    Ok(writer.finish()?.bytes)
}

/// Opens a `.pil` file and hands each batch of some columns (all if `None`) to `visit`. One thread.
pub fn scan_pil(
    path: &Path,
    columns: Option<&[usize]>,
    mut visit: impl FnMut(RecordBatch),
) -> Result<SchemaRef> {
    let file = pilaster::File::open(path)?;
    let all: Vec<usize>;
    let columns = match columns {
        Some(columns) => columns,
        None => {
            all = (0..file.meta().shown().len()).collect();
            &all
        }
    };
    for batch in file.scan(ScanRequest::columns(columns))? {
        visit(batch?);
    }
    Ok(file.meta().schema()?)
}

/// The same of a Parquet file.
pub fn scan_parquet(
    path: &Path,
    columns: Option<&[usize]>,
    mut visit: impl FnMut(RecordBatch),
) -> Result<SchemaRef> {
    let mut builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
    if let Some(columns) = columns {
        let mask = ProjectionMask::roots(builder.parquet_schema(), columns.iter().copied());
        builder = builder.with_projection(mask);
    }
    let schema = Arc::clone(builder.schema());
    for batch in builder.with_batch_size(PARQUET_BATCH).build()? {
        visit(batch?);
    }
    Ok(schema)
}

/// Looks at a batch and forgets it.
pub fn drop_batch(batch: RecordBatch) {
    black_box(batch);
}

/// Whether a `.pil` file gives back these rows, bit for bit, and their schema.
pub fn gives_back(path: &Path, rows: &RecordBatch) -> Result<bool> {
    let mut batches = Vec::new();
    let schema = scan_pil(path, None, |batch| batches.push(batch))?;
    let back = concat_batches(&schema, &batches)?;
    // Arrow compares the values of floats as bytes.
    let same = back
        .columns()
        .iter()
        .zip(rows.columns())
        .all(|(a, b)| a.to_data() == b.to_data());
    Ok(schema == rows.schema() && back.num_rows() == rows.num_rows() && same)
}
