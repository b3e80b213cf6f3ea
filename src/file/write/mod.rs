//! The writer: record batches in, one file out, in bounded memory.
//!
//! Batches are gathered into *sections* of some 48 MiB (36 where a layout splits columns). A layout
//! splits a section into columns, each column's chunks are encoded on a few threads, and written in
//! column order. So the bytes of a file do not depend on the number of threads, nor on how the rows
//! were cut into batches.

mod column;
mod loss;
mod readback;
mod recall;
mod sink;
mod specs;
mod zones;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use arrow::array::{Array, ArrayRef, new_empty_array};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use prost::Message;

use self::column::{CHUNK_ROWS, ColumnWriter, EncodedChunk, SegmentSink};
pub use self::loss::Rounding;
use self::readback::Expected;
pub use self::sink::{AtomicFile, Sink};
pub use self::specs::glob;
use self::specs::{check_patterns, check_specs, planner_for};
use super::arrays::{concat, decoded_bytes};
use super::layout::{ColumnData, ColumnRole, Layout, PlainLayout};
use super::postscript::{Postscript, START_MAGIC, pack_footer};
use super::segment::{SEGMENT_ALIGN, checksum};
use super::shape::EncodingTable;
use super::{proto, types};
use crate::encoding::{Profile, physical};
use crate::error::{Error, Result};

/// Rows of a zone, unless rows are wide.
pub const ZONE_ROWS: usize = 8192;
/// A section is encoded when it has this many bytes in Arrow's layout.
const SECTION_BYTES: u64 = 48 << 20;
/// The same for layouts other than the plain one, which hold integers and models beside it.
const LAYOUT_SECTION_BYTES: u64 = 36 << 20;
/// Column blocks that together are not larger lie in the footer, so that they are compressed with
/// it; what is opened often is small, and then read at once anyway.
const FOOTER_BLOCKS: usize = 256 << 10;
/// And never later than with this many rows.
const SECTION_ROWS: usize = 1 << 20;

/// Rows that are too wide for whole zones are gathered up to this many sections.
const PENDING_SECTIONS: u64 = 5;

/// How a file is written.
#[derive(Default)]
pub struct WriteOptions {
    /// Size against speed.
    pub profile: Profile,
    /// Encoding specs by column: a name or a glob, and the spec. The first that matches counts.
    pub specs: Vec<(String, String)>,
    /// How the table becomes columns; each column as given if `None`.
    pub layout: Option<Box<dyn Layout>>,
    /// Kept in the footer.
    pub metadata: Vec<(String, String)>,
    /// Threads that encode; 0 takes what the machine has.
    pub threads: usize,
    /// Bytes of rows, in Arrow's layout, that are encoded together; some 40 MiB if `None`. Fewer take less
    /// memory and more space in the file.
    pub section_bytes: Option<u64>,
    /// Publishes without reading back what was written. By default all of a file is decoded from the
    /// bytes that were stored and compared with what was given before it appears under its name.
    pub unchecked: bool,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteSummary {
    /// Rows.
    pub rows: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes of the rows in Arrow's layout.
    pub arrow_bytes: u64,
}

/// Writes one file.
///
/// Nothing appears under the target's name before [`Writer::finish`] has succeeded; a writer that is
/// dropped leaves what was there.
pub struct Writer<S: Sink = AtomicFile> {
    out: Output<S>,
    schema: SchemaRef,
    /// What users of the file see; the layout may make other columns of the batches.
    shown: SchemaRef,
    options: WriteOptions,
    layout: Box<dyn Layout>,
    section_bytes: u64,
    pending: Vec<RecordBatch>,
    pending_rows: usize,
    pending_bytes: u64,
    zone_rows: usize,
    columns: Option<Vec<ColumnWriter>>,
    /// What columns lost before they came here, by name.
    roundings: Vec<(String, Rounding)>,
    table: EncodingTable,
    rows: u64,
    arrow_bytes: u64,
    /// An error came up; rows are missing since.
    failed: bool,
}

/// A file that is written to its end and not yet visible. Dropped, it leaves what was there.
#[derive(Debug)]
pub struct CompleteFile<S: Sink = AtomicFile> {
    sink: S,
    summary: WriteSummary,
}

impl<S: Sink> CompleteFile<S> {
    /// Makes the file visible under its name.
    pub fn publish(mut self) -> Result<WriteSummary> {
        self.sink.publish()?;
        Ok(self.summary)
    }
}

struct Output<S> {
    sink: S,
    at: u64,
}

impl<S: Sink> Output<S> {
    fn append(&mut self, bytes: &[u8]) -> Result<u64> {
        let start = self.at;
        self.sink.append(bytes)?;
        self.at += bytes.len() as u64;
        Ok(start)
    }
}

impl<S: Sink> SegmentSink for Output<S> {
    fn segment(&mut self, payload: &[u8], checksums: &[u8]) -> Result<u64> {
        let padding = self.at.next_multiple_of(SEGMENT_ALIGN) - self.at;
        self.append(&[0; SEGMENT_ALIGN as usize][..padding as usize])?;
        let start = self.append(payload)?;
        self.append(checksums)?;
        Ok(start)
    }
}

impl Writer<AtomicFile> {
    /// Starts a file. Fails at once if the schema cannot be stored or the target cannot be written.
    pub fn create(
        path: impl Into<PathBuf>,
        schema: SchemaRef,
        options: WriteOptions,
    ) -> Result<Self> {
        check_schema(&schema)?;
        Self::with_sink(AtomicFile::create(path)?, schema, options)
    }
}

impl Writer<Vec<u8>> {
    /// Starts a file in memory.
    pub fn in_memory(schema: SchemaRef, options: WriteOptions) -> Result<Self> {
        Self::with_sink(Vec::new(), schema, options)
    }

    /// Finishes a file in memory and gives its bytes.
    pub fn into_bytes(mut self) -> Result<Vec<u8>> {
        self.write_rest()?;
        Ok(self.out.sink)
    }
}

fn check_schema(schema: &SchemaRef) -> Result<()> {
    schema
        .fields()
        .iter()
        .try_for_each(|f| physical::check_storable(f.name(), f.data_type()))
}

impl<S: Sink> Writer<S> {
    /// Starts a file in any sink.
    pub fn with_sink(sink: S, schema: SchemaRef, mut options: WriteOptions) -> Result<Self> {
        check_schema(&schema)?;
        let (layout, section_bytes) = match options.layout.take() {
            Some(layout) => (layout, LAYOUT_SECTION_BYTES),
            None => (Box::new(PlainLayout) as Box<dyn Layout>, SECTION_BYTES),
        };
        let zone_rows = layout.zone_rows().unwrap_or(0);
        let mut out = Output { sink, at: 0 };
        out.append(&START_MAGIC)?;
        Ok(Self {
            out,
            shown: Arc::clone(&schema),
            schema,
            layout,
            section_bytes: options.section_bytes.unwrap_or(section_bytes).max(1),
            pending: Vec::new(),
            options,
            pending_rows: 0,
            pending_bytes: 0,
            zone_rows,
            columns: None,
            roundings: Vec::new(),
            table: EncodingTable::default(),
            rows: 0,
            arrow_bytes: 0,
            failed: false,
        })
    }

    /// Bytes written so far, and bytes taken in so far in Arrow's layout.
    pub fn progress(&self) -> (u64, u64) {
        (self.out.at, self.arrow_bytes + self.pending_bytes)
    }

    /// Adds to what is kept in the footer.
    pub fn add_metadata(&mut self, key: &str, value: &str) {
        let pair = (key.to_owned(), value.to_owned());
        self.options.metadata.push(pair);
    }

    /// Says what the values of a column lost before they are given to this writer, once for all rows: it
    /// counts in the loss that a lossy column states.
    pub fn add_rounding(&mut self, column: &str, rounding: Rounding) {
        self.roundings.push((column.to_owned(), rounding));
    }

    /// Adds rows. The batch's types must be the schema's; metadata may differ.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.check_sound()?;
        let fits = batch.num_columns() == self.schema.fields().len()
            && batch
                .schema_ref()
                .fields()
                .iter()
                .zip(self.schema.fields())
                .all(|(a, b)| a.data_type() == b.data_type());
        if !fits {
            return Err(Error::invalid(
                "a batch with other columns than the file's schema",
            ));
        }
        // A dictionary may hold a null among its values, which nobody looks for before it is read.
        for (array, field) in batch.columns().iter().zip(self.schema.fields()) {
            let promised = !field.is_nullable() && *field.data_type() != DataType::Null;
            if promised && array.logical_null_count() > 0 {
                return Err(Error::invalid(format!(
                    "column '{}' has nulls, but its field says that it has none",
                    field.name()
                )));
            }
        }
        self.failed = true;
        self.take_in(batch)?;
        self.failed = false;
        Ok(())
    }

    /// A writer that failed has lost rows: it must not publish what is left of them.
    fn check_sound(&self) -> Result<()> {
        match self.failed {
            true => Err(Error::invalid(
                "the writer failed before; start the file again",
            )),
            false => Ok(()),
        }
    }

    fn take_in(&mut self, batch: &RecordBatch) -> Result<()> {
        // Large batches are taken in pieces so that a section stays a section.
        let bytes: u64 = batch.columns().iter().map(|c| decoded_bytes(c)).sum();
        let rows = batch.num_rows();
        let most = self.section_bytes / 4;
        let piece = match bytes > most {
            true => ((rows as u64 * most / bytes) as usize).clamp(1, rows.max(1)),
            false => rows.max(1),
        };
        let mut at = 0;
        while at < rows {
            let len = piece
                .min(rows - at)
                .min(SECTION_ROWS - self.pending_rows % SECTION_ROWS);
            let slice = batch.slice(at, len);
            self.pending_bytes += match len == rows {
                true => bytes,
                false => slice
                    .columns()
                    .iter()
                    .map(|c| decoded_bytes(c))
                    .sum::<u64>(),
            };
            self.pending_rows += len;
            self.pending.push(slice);
            at += len;
            if self.pending_bytes >= self.section_bytes || self.pending_rows >= SECTION_ROWS {
                self.flush(false)?;
            }
        }
        Ok(())
    }

    /// Encodes what is pending: all of it at the end, whole chunks (or at least zones) before.
    fn flush(&mut self, last: bool) -> Result<()> {
        let rows = self.pending_rows;
        if self.zone_rows == 0 {
            // Wide rows get short zones, so that several fit a section.
            let fit = (rows / 4).checked_ilog2().map_or(1, |log| 1usize << log);
            self.zone_rows = match last || fit >= ZONE_ROWS {
                true => ZONE_ROWS,
                false => fit,
            };
        }
        let unit = match rows >= CHUNK_ROWS {
            true => CHUNK_ROWS.max(self.zone_rows),
            false => self.zone_rows,
        };
        let take = match last {
            true => rows,
            false => rows / unit * unit,
        };
        if take == 0 && !(last && self.columns.is_none()) {
            let most = PENDING_SECTIONS * self.section_bytes;
            return match self.pending_bytes > most {
                true => Err(Error::invalid(format!(
                    "rows {}..{} take {} bytes, too much for one zone of the {} rows that fitted \
                     the rows before; put the widest rows first, or in a file of their own",
                    self.rows,
                    self.rows + rows as u64,
                    self.pending_bytes,
                    self.zone_rows
                ))),
                false => Ok(()),
            };
        }
        let all = self.gathered()?;
        self.section(&all.slice(0, take))?;
        let rest = all.slice(take, rows - take);
        self.pending_rows = rest.num_rows();
        self.pending_bytes = rest.columns().iter().map(|c| decoded_bytes(c)).sum();
        if rest.num_rows() > 0 {
            self.pending.push(rest);
        }
        Ok(())
    }

    /// What is pending as one batch.
    fn gathered(&mut self) -> Result<RecordBatch> {
        let pending = std::mem::take(&mut self.pending);
        let columns = self
            .schema
            .fields()
            .iter()
            .enumerate()
            .map(|(i, field)| {
                let parts: Vec<&dyn Array> = pending.iter().map(|b| b.column(i).as_ref()).collect();
                match parts.is_empty() {
                    true => Ok(new_empty_array(field.data_type())),
                    false => concat(&parts).map_err(|e| e.in_column(field.name())),
                }
            })
            .collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.pending_rows));
        let schema = Arc::clone(&self.schema);
        Ok(RecordBatch::try_new_with_options(
            schema, columns, &options,
        )?)
    }

    fn section(&mut self, section: &RecordBatch) -> Result<()> {
        let mut columns = match self.columns.take() {
            Some(columns) => columns,
            None => {
                let specs = self.layout.columns(section)?;
                self.shown = self.layout.shown(&self.schema);
                check_specs(&specs, &self.shown)?;
                check_patterns(&self.options.specs, &self.shown)?;
                let count = specs.len();
                specs
                    .into_iter()
                    .map(|mut spec| {
                        let planner = planner_for(&mut spec, &self.options)?;
                        ColumnWriter::new(spec, planner, count, !self.options.unchecked)
                    })
                    .collect::<Result<Vec<_>>>()?
            }
        };
        if section.num_rows() > 0 {
            let data = self.layout.section(section)?;
            let sound = data.len() == columns.len()
                && data.iter().all(|d| d.array.len() == section.num_rows());
            if !sound {
                return Err(Error::invalid("a layout gave columns of a wrong length"));
            }
            let encoded = self.encode(&mut columns, &data)?;
            for (index, (column, chunks)) in columns.iter_mut().zip(encoded).enumerate() {
                column.store(index as u32, chunks, &mut self.table, &mut self.out)?;
            }
        }
        self.rows += section.num_rows() as u64;
        self.arrow_bytes += section
            .columns()
            .iter()
            .map(|c| decoded_bytes(c))
            .sum::<u64>();
        self.columns = Some(columns);
        Ok(())
    }

    fn threads(&self) -> usize {
        match self.options.threads {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
            n => n,
        }
    }

    /// Encodes all columns of a section on the threads there are.
    fn encode(
        &self,
        columns: &mut [ColumnWriter],
        data: &[ColumnData],
    ) -> Result<Vec<Vec<EncodedChunk>>> {
        let (profile, zone_rows) = (self.options.profile, self.zone_rows);
        let threads = self.threads();
        let count = columns.len();
        let queue = Mutex::new(columns.iter_mut().zip(data).enumerate());
        let work = || {
            let mut done = Vec::new();
            loop {
                let next = queue.lock().ok().and_then(|mut queue| queue.next());
                let Some((index, (column, own))) = next else {
                    return done;
                };
                let parents: Vec<ArrayRef> = column
                    .spec
                    .parents
                    .iter()
                    .map(|&parent| Arc::clone(&data[parent].array))
                    .collect();
                let result = column
                    .encode(own, &parents, profile, zone_rows)
                    .map_err(|e| e.in_column(column.spec.field.name()));
                done.push((index, result));
            }
        };
        let mut results: Vec<Option<Result<Vec<EncodedChunk>>>> = Vec::new();
        results.resize_with(count, || None);
        std::thread::scope(|scope| {
            let workers: Vec<_> = (1..threads.min(count)).map(|_| scope.spawn(work)).collect();
            let mut all = work();
            for worker in workers {
                all.extend(worker.join().unwrap_or_default());
            }
            for (index, result) in all {
                results[index] = Some(result);
            }
        });
        results
            .into_iter()
            .map(|r| r.unwrap_or_else(|| Err(Error::invalid("an encoding failed unexpectedly"))))
            .collect()
    }

    /// Writes what is pending, the footer and the postscript, and publishes the file.
    pub fn finish(self) -> Result<WriteSummary> {
        self.complete()?.publish()
    }

    /// Writes all that is left, so that of several files none appears before all are complete.
    pub fn complete(mut self) -> Result<CompleteFile<S>> {
        let summary = self.write_rest()?;
        let mut sink = self.out.sink;
        sink.settle()?;
        Ok(CompleteFile { sink, summary })
    }

    /// Writes what is left and reads everything back.
    fn write_rest(&mut self) -> Result<WriteSummary> {
        self.check_sound()?;
        self.failed = true;
        self.flush(true)?;
        let (summary, expected) = self.write_footer()?;
        if let Some(expected) = expected {
            let threads = self.threads();
            let source = self.out.sink.appended()?;
            readback::check(source.as_ref(), &expected, threads)?;
        }
        Ok(summary)
    }

    /// Writes zone maps, column blocks, footer and postscript; gives what a reader must find in the
    /// file, if that is to be read back.
    fn write_footer(&mut self) -> Result<(WriteSummary, Option<Expected>)> {
        let mut directory = Vec::new();
        let mut blocks = Vec::new();
        let mut found = Vec::new();
        let columns = self.columns.take().unwrap_or_default();
        for (index, mut column) in columns.into_iter().enumerate() {
            let (name, role) = (column.spec.field.name().clone(), column.spec.role);
            if let Some((_, rounding)) = self.roundings.iter().find(|(n, _)| *n == name) {
                column.rounded(*rounding);
            }
            let (block, expected) = column.finish(index as u32, &mut self.table, &mut self.out)?;
            found.extend(expected);
            blocks.push((name, role, block.encode_to_vec()));
        }
        let small = blocks.iter().map(|(_, _, b)| b.len()).sum::<usize>() <= FOOTER_BLOCKS;
        for (name, role, block) in blocks {
            let (mut place, mut inside) = ((0, 0, 0), None);
            match small {
                true => inside = Some(block),
                false => place = (self.out.append(&block)?, block.len(), checksum(&block)),
            }
            directory.push(proto::DirectoryEntry {
                name,
                role: match role {
                    ColumnRole::Visible => 0,
                    ColumnRole::Hidden => 1,
                    ColumnRole::Derived => 2,
                },
                offset: place.0,
                length: place.1 as u64,
                checksum: place.2,
                block: inside,
            });
        }
        let mut user: Vec<proto::Pair> = vec![proto::Pair {
            key: "writer".into(),
            value: format!("pilaster {}", env!("CARGO_PKG_VERSION")),
        }];
        user.extend(
            self.options
                .metadata
                .drain(..)
                .map(|(key, value)| proto::Pair { key, value }),
        );
        let expected = (!self.options.unchecked).then(|| Expected {
            rows: self.rows,
            schema: Arc::clone(&self.shown),
            metadata: types::metadata(&user),
            columns: found,
        });
        let footer = proto::Footer {
            rows: self.rows,
            zone_rows: self.zone_rows as u32,
            encodings: std::mem::take(&mut self.table).into_ids(),
            columns: directory,
            schema_metadata: types::pairs(self.shown.metadata()),
            user_metadata: user,
        }
        .encode_to_vec();
        let (footer, footer_unpacked) = pack_footer(footer);
        let footer_offset = self.out.append(&footer)?;
        let postscript = Postscript {
            footer_offset,
            footer_len: footer.len() as u64,
            footer_checksum: checksum(&footer),
            footer_unpacked,
            file_len: self.out.at + super::postscript::POSTSCRIPT_LEN,
        };
        self.out.append(&postscript.to_bytes())?;
        let summary = WriteSummary {
            rows: self.rows,
            bytes: self.out.at,
            arrow_bytes: self.arrow_bytes,
        };
        Ok((summary, expected))
    }
}
