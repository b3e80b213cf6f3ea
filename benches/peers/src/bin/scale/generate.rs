//! Values that follow from the number of their row, and files of them.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pilaster_peers::Result;

/// Rows that are generated together.
pub const BATCH: usize = 100_000;

/// A number that looks like chance and follows from another (the finalizer of SplitMix64).
pub fn mixed(value: u64) -> u64 {
    let mut x = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// Writes the rows `0..rows` that `batch` makes to a Parquet file.
pub fn write_parquet(
    path: &Path,
    rows: usize,
    batch: impl Fn(std::ops::Range<usize>) -> Result<RecordBatch>,
) -> Result<()> {
    let mut writer = ArrowWriter::try_new(File::create(path)?, batch(0..1)?.schema(), None)?;
    for start in (0..rows).step_by(BATCH) {
        writer.write(&batch(start..rows.min(start + BATCH))?)?;
    }
    writer.close()?;
    Ok(())
}

/// The first row in which a Parquet file differs from what `batch` makes, if there is one.
pub fn first_difference(
    path: &Path,
    rows: usize,
    batch: impl Fn(std::ops::Range<usize>) -> Result<RecordBatch>,
) -> Result<Option<String>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?
        .with_batch_size(BATCH)
        .build()?;
    let mut at = 0;
    for found in reader {
        let found = found?;
        let wanted = batch(at..at + found.num_rows())?;
        for (i, field) in wanted.schema().fields().iter().enumerate() {
            let (a, b) = (Arc::clone(wanted.column(i)), Arc::clone(found.column(i)));
            if a.data_type() != b.data_type() || a.to_data() != b.to_data() {
                let place = format!("rows {at}.. of column '{}' differ", field.name());
                return Ok(Some(place));
            }
        }
        at += found.num_rows();
    }
    Ok((at != rows).then(|| format!("{at} rows, not {rows}")))
}
