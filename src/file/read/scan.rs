//! Scans: record batches of the rows that a predicate keeps.
//!
//! A scan goes through the rows in windows. For each it drops the zones that cannot match, decodes
//! the predicate's columns for what is left, evaluates it, and decodes the other columns for the
//! surviving rows only.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, BooleanBufferBuilder, UInt64Array};
use arrow::buffer::{BooleanBuffer, Buffer};
use arrow::compute;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::fetch::{Fetcher, narrowed_type};
use super::meta::FileMeta;
use crate::encoding::distance::{Distances, Query, Stage};
use crate::encoding::{Needles, Rows, Selection};
use crate::error::{Error, Result};
use crate::file::machine::{Machine, Step};

/// Rows that are looked at together: the most that one chunk holds.
const WINDOW_ROWS: u64 = 1 << 16;
/// And their size, decoded, where rows are wide; no column of a window may pass 2 GiB.
const WINDOW_BYTES: u64 = 256 << 20;
/// Name of the row number column.
pub const ROW_ID: &str = "_row_id";

/// Which rows to keep.
pub trait Predicate: Debug + Send + Sync {
    /// The columns of the schema that [`Predicate::evaluate`] reads.
    fn columns(&self) -> &[usize];

    /// Whether a zone may hold a row to keep; asked just before the zone is read, so the answer may
    /// sharpen while the scan runs.
    fn may_match(&self, zone: u64) -> bool {
        let _ = zone;
        true
    }

    /// Columns of the schema and texts of which each row to keep holds one there; others may be left
    /// out before they are decoded.
    fn needles(&self) -> &[(usize, Needles)] {
        &[]
    }

    /// True for each row to keep; null counts as false. The batch has the columns of
    /// [`Predicate::columns`], in that order.
    fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanArray>;
}

/// Which rows to keep by how far their vectors are from a query, before any is decoded.
pub trait Near: Debug + Send + Sync {
    /// The column of the schema that holds the vectors, fixed-size lists of 32-bit floats.
    fn column(&self) -> usize;

    /// What distances are from.
    fn query(&self) -> &Query;

    /// The rows that may be wanted, given bounds of their distances. Asked just before rows are read, so
    /// the answer may sharpen while the scan runs.
    fn keep(&self, distances: &Distances) -> Result<BooleanBuffer>;
}

/// What a scan shall give.
#[derive(Debug, Clone, Default)]
pub struct ScanRequest {
    /// Columns of the schema, in output order.
    pub columns: Vec<usize>,
    /// Row ranges, ascending and disjoint; empty means all rows.
    pub rows: Vec<Range<u64>>,
    /// Which of those rows.
    pub predicate: Option<Arc<dyn Predicate>>,
    /// Which of those that the predicate keeps.
    pub near: Option<Arc<dyn Near>>,
    /// Most rows that come out.
    pub limit: Option<u64>,
    /// Most rows in a batch; 0 leaves it to the scan.
    pub batch_rows: usize,
    /// Adds the row number in the file as the last column, `_row_id`.
    pub row_ids: bool,
    /// Columns of the schema of whose fixed-size lists only these elements are wanted (some heads,
    /// some dimensions); they come as shorter lists.
    pub elements: Vec<(usize, Range<usize>)>,
}

impl ScanRequest {
    /// All rows of these columns.
    pub fn columns(columns: impl Into<Vec<usize>>) -> Self {
        Self {
            columns: columns.into(),
            ..Self::default()
        }
    }

    /// The same, but only the rows that a predicate keeps.
    pub fn filter(mut self, predicate: impl Predicate + 'static) -> Self {
        self.predicate = Some(Arc::new(predicate));
        self
    }
}

/// What a scan did so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScanMetrics {
    /// Bytes that were delivered.
    pub bytes_read: u64,
    /// Ranges that were asked for.
    pub requests: u64,
    /// Zones that were looked at, pruned ones included.
    pub zones: u64,
    /// Zones that the predicate excluded.
    pub zones_pruned: u64,
    /// Values that were decoded, those of hidden columns too.
    pub values_decoded: u64,
    /// Rows of which bounds of distances were found.
    pub distances: u64,
    /// Rows that such bounds excluded.
    pub distances_pruned: u64,
    /// Rows that came out.
    pub rows_out: u64,
}

/// Rows of the first window of a scan that asks for near vectors; each window after it is twice as large.
/// So the first rows make a limit for the others, which costs little.
const FIRST_NEAR_ROWS: u64 = 256;
/// A second look at codes pays only for more rows than this.
const FEW_NEAR_ROWS: usize = 64;

/// Directory positions of columns of the schema.
pub(crate) fn directory_positions(meta: &FileMeta, columns: &[usize]) -> Result<Vec<usize>> {
    columns
        .iter()
        .map(|&c| {
            meta.shown().get(c).copied().ok_or_else(|| {
                Error::invalid(format!(
                    "column {c} of a table of {} columns",
                    meta.shown().len()
                ))
            })
        })
        .collect()
}

#[derive(Debug)]
struct Window {
    rows: Range<u64>,
    /// Candidates, then survivors, counted from the window's start.
    selection: Selection,
    filtered: bool,
    /// The next look at distances, if there is one.
    near: Option<Stage>,
    /// Predicate columns that were decoded: the schema's column, its surviving rows.
    at_hand: Vec<(usize, ArrayRef)>,
}

/// A scan of one file.
#[derive(Debug)]
pub struct Scan {
    fetcher: Fetcher,
    request: ScanRequest,
    output: Vec<usize>,
    filter: Vec<usize>,
    schema: Option<SchemaRef>,
    filter_schema: Option<SchemaRef>,
    /// Rows that are not yet in a window.
    rows: VecDeque<Range<u64>>,
    /// Most rows of the next window of a scan that asks for near vectors.
    near_rows: Option<u64>,
    window: Option<Window>,
    ready: VecDeque<RecordBatch>,
    metrics: ScanMetrics,
}

impl Scan {
    /// Plans a scan; fails if the request names columns or rows that are not there.
    pub fn new(meta: Arc<FileMeta>, mut request: ScanRequest) -> Result<Self> {
        let output = directory_positions(&meta, &request.columns)?;
        let filter = match &request.predicate {
            Some(predicate) => directory_positions(&meta, predicate.columns())?,
            None => Vec::new(),
        };
        if request.rows.is_empty() {
            request.rows.push(0..meta.rows());
        }
        let mut last = 0;
        for range in &request.rows {
            if range.start < last || range.end < range.start || range.end > meta.rows() {
                return Err(Error::invalid(format!(
                    "rows {}..{} of a table of {} (ranges must ascend)",
                    range.start,
                    range.end,
                    meta.rows()
                )));
            }
            last = range.end;
        }
        let ranges = request.rows.iter();
        let rows = ranges.filter(|r| !r.is_empty()).cloned().collect();
        Ok(Self {
            fetcher: Fetcher::new(meta),
            near_rows: request.near.as_ref().map(|_| FIRST_NEAR_ROWS),
            request,
            output,
            filter,
            schema: None,
            filter_schema: None,
            rows,
            window: None,
            ready: VecDeque::new(),
            metrics: ScanMetrics::default(),
        })
    }

    /// What was done so far.
    pub fn metrics(&self) -> ScanMetrics {
        ScanMetrics {
            bytes_read: self.fetcher.bytes_read,
            values_decoded: self.fetcher.values_decoded(),
            ..self.metrics
        }
    }

    /// Schema of the batches; known once the first was asked for.
    pub fn schema(&self) -> Option<&SchemaRef> {
        self.schema.as_ref()
    }

    fn need<T>(&mut self, ranges: Vec<Range<u64>>) -> Result<Step<T>> {
        self.metrics.requests += ranges.len() as u64;
        Ok(Step::Need(ranges))
    }

    fn left(&self) -> u64 {
        let limit = self.request.limit.unwrap_or(u64::MAX);
        limit.saturating_sub(self.metrics.rows_out)
    }

    /// The elements that are wanted of an output column.
    fn elements(&self, position: usize) -> Option<Range<usize>> {
        let column = self.request.columns[position];
        let mut wanted = self.request.elements.iter();
        wanted
            .find(|(c, _)| *c == column)
            .map(|(_, elements)| elements.clone())
    }

    fn filter_schema(&self) -> Result<SchemaRef> {
        let fields = self
            .filter
            .iter()
            .map(|&c| Ok(Arc::clone(&self.fetcher.meta.column(c)?.field)))
            .collect::<Result<Fields>>()?;
        Ok(Arc::new(Schema::new(fields)))
    }

    fn output_schema(&self) -> Result<SchemaRef> {
        let mut fields = self
            .output
            .iter()
            .enumerate()
            .map(|(position, &c)| {
                let field = &self.fetcher.meta.column(c)?.field;
                let elements = self.elements(position);
                Ok(match elements {
                    None => Arc::clone(field),
                    Some(_) => {
                        let data_type = narrowed_type(field.data_type(), elements.as_ref())?;
                        Arc::new(field.as_ref().clone().with_data_type(data_type))
                    }
                })
            })
            .collect::<Result<Vec<_>>>()?;
        if self.request.row_ids {
            fields.push(Arc::new(Field::new(ROW_ID, DataType::UInt64, false)));
        }
        Ok(Arc::new(Schema::new(Fields::from(fields))))
    }

    /// The rows of the next window: up to the end of a chunk of most rows, and not more than fit.
    fn next_rows(&mut self, columns: &[usize]) -> Result<Option<Range<u64>>> {
        let Some(range) = self.rows.pop_front() else {
            return Ok(None);
        };
        let start = range.start;
        let boundary = (start / WINDOW_ROWS + 1).saturating_mul(WINDOW_ROWS);
        let mut end = boundary.min(range.end);
        if let Some(most) = &mut self.near_rows {
            // The first rows make a threshold by which most others fall.
            end = end.min(start + *most);
            *most = (2 * *most).min(WINDOW_ROWS);
        }
        let zone_rows = self.fetcher.meta.zone_rows();
        // Halved at zones, until one is left.
        while self.decoded_bytes(columns, &(start..end))? > WINDOW_BYTES {
            let half = (start + (end - start) / 2) / zone_rows * zone_rows;
            match half > start {
                true => end = half,
                false => break,
            }
        }
        if end < range.end {
            self.rows.push_front(end..range.end);
        }
        Ok(Some(start..end))
    }

    /// About how large some rows of columns are when decoded.
    fn decoded_bytes(&self, columns: &[usize], rows: &Range<u64>) -> Result<u64> {
        let mut total = 0u64;
        for &column in columns {
            let meta = self.fetcher.meta.column(column)?;
            for chunk in meta.chunks_of(rows) {
                let chunk = &meta.chunks[chunk];
                let held = chunk.rows.end - chunk.rows.start;
                let wanted = rows.end.min(chunk.rows.end) - rows.start.max(chunk.rows.start);
                let share = u128::from(chunk.decoded_bytes) * u128::from(wanted);
                total = total.saturating_add((share / u128::from(held.max(1))) as u64);
            }
        }
        Ok(total)
    }

    /// Candidates of a window: its rows without the zones that cannot match.
    fn open_window(&mut self, rows: Range<u64>) -> Window {
        let zone_rows = self.fetcher.meta.zone_rows();
        let mut selection = Selection::all();
        if let Some(predicate) = &self.request.predicate {
            let mut mask = BooleanBufferBuilder::new((rows.end - rows.start) as usize);
            let mut pruned = 0;
            let mut row = rows.start;
            while row < rows.end {
                let zone = row / zone_rows;
                let end = ((zone + 1) * zone_rows).min(rows.end);
                let keep = predicate.may_match(zone);
                mask.append_n((end - row) as usize, keep);
                self.metrics.zones += 1;
                pruned += u64::from(!keep);
                row = end;
            }
            self.metrics.zones_pruned += pruned;
            if pruned > 0 {
                selection = Selection::mask(mask.finish());
            }
        }
        Window {
            rows,
            selection,
            filtered: self.request.predicate.is_none(),
            near: self.request.near.as_ref().map(|_| Stage::Coarse),
            at_hand: Vec::new(),
        }
    }

    /// Evaluates the predicate on the candidates of the window.
    fn filter_window(&mut self, window: &mut Window) -> Result<()> {
        let Some(predicate) = self.request.predicate.clone() else {
            return Ok(());
        };
        let len = (window.rows.end - window.rows.start) as usize;
        for (column, needles) in predicate.needles() {
            let position = directory_positions(&self.fetcher.meta, &[*column])?[0];
            if window.selection.count(len) > 0 {
                let held = self.fetcher.candidates(position, &window.rows, needles)?;
                window.selection = narrowed(&window.selection, len, &held);
            }
        }
        let count = window.selection.count(len);
        let arrays = self
            .filter
            .clone()
            .into_iter()
            .map(|c| self.fetcher.read(c, &window.rows, &window.selection))
            .collect::<Result<Vec<_>>>()?;
        let schema = match &self.filter_schema {
            Some(schema) => Arc::clone(schema),
            None => {
                let schema = self.filter_schema()?;
                Arc::clone(self.filter_schema.insert(schema))
            }
        };
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let batch = RecordBatch::try_new_with_options(schema, arrays.clone(), &options)?;
        let kept = predicate.evaluate(&batch)?;
        if kept.len() != count {
            return Err(Error::invalid(
                "a predicate answered for a wrong number of rows",
            ));
        }
        let kept = match kept.nulls() {
            Some(nulls) => kept.values() & nulls.inner(),
            None => kept.values().clone(),
        };
        let keep = BooleanArray::new(kept.clone(), None);
        for (&column, array) in predicate.columns().iter().zip(&arrays) {
            window
                .at_hand
                .push((column, compute::filter(array, &keep)?));
        }
        window.selection = compose(&window.selection, len, &kept);
        window.filtered = true;
        Ok(())
    }

    /// Drops rows that are too far; answers with ranges that are missing.
    fn near_window(&mut self, window: &mut Window, stage: Stage) -> Result<Vec<Range<u64>>> {
        let len = (window.rows.end - window.rows.start) as usize;
        let count = window.selection.count(len);
        let (Some(near), true) = (self.request.near.clone(), count > 0) else {
            window.near = None;
            return Ok(Vec::new());
        };
        let column = directory_positions(&self.fetcher.meta, &[near.column()])?[0];
        let (rows, selection, query) = (&window.rows, &window.selection, near.query());
        let missing = self.fetcher.load(&[column])?;
        if !missing.is_empty() {
            return Ok(missing);
        }
        let missing = self
            .fetcher
            .plan_distances(column, rows, selection, stage)?;
        if !missing.is_empty() {
            return Ok(missing);
        }
        let found = self
            .fetcher
            .distances(column, rows, selection, query, stage)?;
        let kept = near.keep(&found)?;
        if kept.len() != count || found.len() != count {
            return Err(Error::invalid(
                "bounds of distances came for a wrong number of rows",
            ));
        }
        let left = kept.count_set_bits();
        if stage == Stage::Coarse {
            self.metrics.distances += count as u64;
        }
        self.metrics.distances_pruned += (count - left) as u64;
        window.near = match stage {
            Stage::Coarse if found.finer && left > FEW_NEAR_ROWS => Some(Stage::Fine),
            _ => None,
        };
        if left < count {
            let keep = BooleanArray::new(kept.clone(), None);
            for (_, array) in &mut window.at_hand {
                *array = compute::filter(array, &keep)?;
            }
            window.selection = compose(&window.selection, len, &kept);
        }
        Ok(Vec::new())
    }

    fn finish_window(&mut self, window: Window) -> Result<()> {
        let len = (window.rows.end - window.rows.start) as usize;
        let count = window.selection.count(len);
        let mut arrays = Vec::with_capacity(self.output.len() + 1);
        for (position, &column) in self.output.clone().iter().enumerate() {
            let wanted = self.request.columns[position];
            let elements = self.elements(position);
            let known = window.at_hand.iter().find(|(c, _)| *c == wanted);
            arrays.push(match (known, elements) {
                (Some((_, array)), None) => Arc::clone(array),
                (_, None) => self.fetcher.read(column, &window.rows, &window.selection)?,
                (_, Some(elements)) => {
                    let selection = window.selection.clone().with_elements(elements);
                    self.fetcher.read(column, &window.rows, &selection)?
                }
            });
        }
        if self.request.row_ids {
            let ids = window
                .selection
                .iter(len)
                .map(|row| window.rows.start + row as u64);
            arrays.push(Arc::new(UInt64Array::from_iter_values(ids)));
        }
        self.fetcher.release(window.rows.end);
        if count == 0 {
            return Ok(());
        }
        let schema = match &self.schema {
            Some(schema) => Arc::clone(schema),
            None => {
                let schema = self.output_schema()?;
                Arc::clone(self.schema.insert(schema))
            }
        };
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let batch = RecordBatch::try_new_with_options(schema, arrays, &options)?;
        let size = match self.request.batch_rows {
            0 => count,
            n => n,
        };
        let mut at = 0;
        while at < count {
            let rows = size.min(count - at);
            self.ready.push_back(batch.slice(at, rows));
            at += rows;
        }
        Ok(())
    }
}

impl Machine for Scan {
    type Item = RecordBatch;

    fn step(&mut self) -> Result<Step<RecordBatch>> {
        let needed: Vec<usize> = self.output.iter().chain(&self.filter).copied().collect();
        loop {
            let left = self.left();
            if left == 0 {
                return Ok(Step::Done);
            }
            if let Some(batch) = self.ready.pop_front() {
                let rows = (batch.num_rows() as u64).min(left);
                self.metrics.rows_out += rows;
                return Ok(Step::Item(batch.slice(0, rows as usize)));
            }
            let missing = self.fetcher.load(&needed)?;
            if !missing.is_empty() {
                return self.need(missing);
            }
            let mut window = match self.window.take() {
                Some(window) => window,
                None => match self.next_rows(&needed)? {
                    Some(rows) => self.open_window(rows),
                    None => return Ok(Step::Done),
                },
            };
            if let (true, Some(stage)) = (window.filtered, window.near) {
                let missing = self.near_window(&mut window, stage)?;
                self.window = Some(window);
                match missing.is_empty() {
                    true => continue,
                    false => return self.need(missing),
                }
            }
            let columns = match window.filtered {
                true => &self.output,
                false => &self.filter,
            };
            // The columns that the predicate brought along are there already.
            let mut columns: Vec<usize> = columns
                .iter()
                .copied()
                .filter(|c| !window.filtered || !self.filter.contains(c))
                .collect();
            let mut missing = Vec::new();
            if window.filtered {
                for (position, &column) in self.output.iter().enumerate() {
                    if let Some(elements) = self.elements(position) {
                        columns.retain(|&c| c != column);
                        let selection = window.selection.clone().with_elements(elements);
                        missing.extend(self.fetcher.plan(&[column], &window.rows, &selection)?);
                    }
                }
            }
            missing.extend(
                self.fetcher
                    .plan(&columns, &window.rows, &window.selection)?,
            );
            if !missing.is_empty() {
                self.window = Some(window);
                return self.need(missing);
            }
            match window.filtered {
                true => self.finish_window(window)?,
                false => {
                    self.filter_window(&mut window)?;
                    self.window = Some(window);
                }
            }
        }
    }

    fn deliver(&mut self, offset: u64, bytes: Buffer) {
        self.fetcher.deliver(offset, bytes);
    }
}

/// The rows of a selection that are in a mask of all rows.
fn narrowed(selection: &Selection, len: usize, mask: &BooleanBuffer) -> Selection {
    if mask.count_set_bits() == len {
        return selection.clone();
    }
    let kept = selection.iter(len).map(|row| mask.value(row));
    compose(selection, len, &BooleanBuffer::from_iter(kept))
}

/// The rows of a selection that are kept.
fn compose(selection: &Selection, len: usize, kept: &BooleanBuffer) -> Selection {
    if kept.count_set_bits() == kept.len() {
        return selection.clone();
    }
    let mask = match &selection.rows {
        Rows::All => kept.clone(),
        _ => {
            let mut mask = BooleanBufferBuilder::new(len);
            mask.append_n(len, false);
            for (row, keep) in selection.iter(len).zip(kept.iter()) {
                mask.set_bit(row, keep);
            }
            mask.finish()
        }
    };
    Selection::mask(mask)
}
