//! Sorting a source in bounded memory: sorted runs in temporary files, then one merge.
//!
//! Keys ascend, nulls come last, and rows with equal keys keep their order, so that the result does
//! not depend on where the runs were cut.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::{SortOptions, concat_batches, interleave_record_batch, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use arrow::row::{OwnedRow, RowConverter, Rows, SortField};

use super::source::{BATCH_BYTES, BATCH_ROWS, Scratch, Source};
use crate::error::{Error, Result};

/// Bytes of rows that are sorted in memory at once.
const RUN_BYTES: usize = 96 << 20;

/// A source in the order of some of its columns.
pub(crate) struct Sorted {
    schema: SchemaRef,
    total: u64,
    merge: Merge,
}

/// The rows of a run that are in memory.
struct Head {
    batches: Box<dyn Iterator<Item = Result<RecordBatch>> + Send>,
    batch: RecordBatch,
    keys: Rows,
    row: usize,
}

struct Merge {
    converter: RowConverter,
    columns: Vec<usize>,
    heads: Vec<Head>,
    /// The next row of each run, smallest first; equal keys in the order of the runs.
    heap: BinaryHeap<Reverse<(OwnedRow, usize)>>,
    rows: usize,
}

/// Sorts a source by columns, named as in its schema. `progress` is called between batches with the
/// bytes that were read.
pub(crate) fn sorted(
    mut source: Box<dyn Source>,
    by: &[String],
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Sorted> {
    let schema = source.schema();
    let mut columns = Vec::with_capacity(by.len());
    for name in by {
        let found = schema.fields().iter().position(|f| f.name() == name);
        columns.push(found.ok_or_else(|| {
            let names: Vec<&str> = schema
                .fields()
                .iter()
                .map(|f| f.name().as_str())
                .take(20)
                .collect();
            Error::invalid(format!(
                "there is no column '{name}' to sort by; the columns are {}",
                names.join(", ")
            ))
        })?);
    }
    let options = SortOptions {
        descending: false,
        nulls_first: false,
    };
    let fields = columns
        .iter()
        .map(|c| SortField::new_with_options(schema.field(*c).data_type().clone(), options))
        .collect();
    let converter = RowConverter::new(fields)?;
    let mut runs = Vec::new();
    let mut held = Vec::new();
    let mut bytes = 0;
    let total = source.total_bytes();
    while let Some(batch) = source.next() {
        let batch = batch?;
        bytes += batch.get_array_memory_size();
        held.push(batch);
        progress(source.bytes_read(), total);
        if bytes > RUN_BYTES {
            runs.push(spilled(&run(&schema, &held, &converter, &columns)?)?);
            held.clear();
            bytes = 0;
        }
    }
    drop(source);
    let mut merge = Merge {
        rows: runs.iter().map(|(_, fit)| *fit).min().unwrap_or(BATCH_ROWS),
        converter,
        columns,
        heads: Vec::new(),
        heap: BinaryHeap::new(),
    };
    for (run, _) in runs {
        merge.add(run)?;
    }
    if !held.is_empty() {
        let last = run(&schema, &held, &merge.converter, &merge.columns)?;
        drop(held);
        merge.rows = merge.rows.min(fitting(&last));
        let step = merge.rows;
        let rows = last.num_rows();
        let parts = (0..rows)
            .step_by(step)
            .map(move |at| Ok(last.slice(at, step.min(rows - at))));
        merge.add(Box::new(parts))?;
    }
    Ok(Sorted {
        schema,
        total,
        merge,
    })
}

/// Batches as one, in order.
fn run(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    converter: &RowConverter,
    columns: &[usize],
) -> Result<RecordBatch> {
    let whole = concat_batches(schema, batches)?;
    let keys: Vec<ArrayRef> = columns
        .iter()
        .map(|c| Arc::clone(whole.column(*c)))
        .collect();
    let rows = converter.convert_columns(&keys)?;
    let count = u32::try_from(whole.num_rows())
        .map_err(|_| Error::invalid("more than four billion rows in one sorted run"))?;
    let mut order: Vec<u32> = (0..count).collect();
    order.sort_by(|a, b| rows.row(*a as usize).cmp(&rows.row(*b as usize)));
    Ok(take_record_batch(&whole, &UInt32Array::from(order))?)
}

type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// Rows of a run that fit a batch.
fn fitting(run: &RecordBatch) -> usize {
    let width = run.get_array_memory_size() / run.num_rows().max(1) + 1;
    (BATCH_BYTES / 4 / width).clamp(1, BATCH_ROWS)
}

/// A run in a temporary file, and the rows of it that fit a batch.
fn spilled(run: &RecordBatch) -> Result<(Batches, usize)> {
    let mut scratch = Scratch::create()?;
    let fit = fitting(run);
    {
        let mut writer = StreamWriter::try_new(BufWriter::new(scratch.file()), &run.schema())?;
        let mut at = 0;
        while at < run.num_rows() {
            let n = fit.min(run.num_rows() - at);
            writer.write(&run.slice(at, n))?;
            at += n;
        }
        writer.finish()?;
        writer
            .get_mut()
            .flush()
            .map_err(|e| Error::io("cannot write a temporary file", e))?;
    }
    let file = scratch.reopen()?;
    let mut reader: StreamReader<BufReader<File>> = StreamReader::try_new_buffered(file, None)?;
    let batches = std::iter::from_fn(move || {
        // The file lives as long as its reader.
        let _ = &scratch;
        reader.next().map(|b| Ok(b?))
    });
    Ok((Box::new(batches), fit))
}

impl Merge {
    fn add(&mut self, mut batches: Batches) -> Result<()> {
        while let Some(batch) = batches.next() {
            let batch = batch?;
            if batch.num_rows() == 0 {
                continue;
            }
            let keys = self.keys(&batch)?;
            self.heap
                .push(Reverse((keys.row(0).owned(), self.heads.len())));
            self.heads.push(Head {
                batches,
                batch,
                keys,
                row: 0,
            });
            break;
        }
        Ok(())
    }

    fn keys(&self, batch: &RecordBatch) -> Result<Rows> {
        let keys: Vec<ArrayRef> = self
            .columns
            .iter()
            .map(|c| Arc::clone(batch.column(*c)))
            .collect();
        Ok(self.converter.convert_columns(&keys)?)
    }

    /// The next rows in order, `None` at the end.
    fn next(&mut self) -> Result<Option<RecordBatch>> {
        // Batches that rows are taken from, and for each run the one it is at.
        let mut taken: Vec<RecordBatch> = self.heads.iter().map(|h| h.batch.clone()).collect();
        let mut at: Vec<usize> = (0..taken.len()).collect();
        let mut picks = Vec::new();
        while picks.len() < self.rows {
            let Some(Reverse((_, run))) = self.heap.pop() else {
                break;
            };
            let head = &mut self.heads[run];
            picks.push((at[run], head.row));
            head.row += 1;
            if head.row == head.batch.num_rows() {
                let next = head.batches.next().transpose()?;
                let Some(batch) = next else {
                    continue;
                };
                let keys = self.keys(&batch)?;
                let head = &mut self.heads[run];
                at[run] = taken.len();
                taken.push(batch.clone());
                head.batch = batch;
                head.keys = keys;
                head.row = 0;
            }
            let head = &self.heads[run];
            self.heap
                .push(Reverse((head.keys.row(head.row).owned(), run)));
        }
        if picks.is_empty() {
            return Ok(None);
        }
        let from: Vec<&RecordBatch> = taken.iter().collect();
        Ok(Some(interleave_record_batch(&from, &picks)?))
    }
}

impl Iterator for Sorted {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.merge.next().transpose()
    }
}

impl Source for Sorted {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// All of it: a source has to be read to its end before it is in order.
    fn bytes_read(&self) -> u64 {
        self.total
    }

    fn total_bytes(&self) -> u64 {
        self.total
    }
}
