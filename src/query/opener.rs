//! Reading one file of a scan.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::ArrayRef;
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, conjunction_opt, split_conjunction};
use datafusion_datasource::TableSchema;
use datafusion_datasource::file_stream::{FileOpenFuture, FileOpener};
use datafusion_physical_expr_adapter::rewrite::rewrite_input_file_name_in_projection;
use datafusion_physical_expr_adapter::{PhysicalExprAdapterFactory, replace_columns_with_literals};
use datafusion_pruning::FilePruner;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use object_store::ObjectStore;

use super::cache::{OpenedFile, OpenedFiles};
use super::driver::{ByteBudget, StoredFile, external};
use super::fileplan::{FilePlan, Rewriter, partition_literals};
use super::metrics::ScanMetrics;
use super::monotone::keeping_order;
use super::near::NearFilter;
use super::prune::{DynamicPruner, RowFilter, ZoneBounds, evaluate};
use super::source::SortHint;
use super::split::ZoneShare;
use crate::file::{Machine, Near, Scan, ScanRequest, Step, small_floats};

/// Opens the files of a scan, one after the other.
#[derive(Debug, Clone)]
pub(crate) struct PilasterOpener {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) table_schema: TableSchema,
    pub(crate) projection: ProjectionExprs,
    pub(crate) output: SchemaRef,
    pub(crate) predicate: Option<Arc<dyn PhysicalExpr>>,
    pub(crate) sort_hint: Option<SortHint>,
    pub(crate) limit: Option<usize>,
    pub(crate) batch_rows: usize,
    pub(crate) prune: bool,
    pub(crate) budget: ByteBudget,
    pub(crate) cache: Option<Arc<FileMetadataCache>>,
    pub(crate) files: Arc<OpenedFiles>,
    pub(crate) adapters: Arc<dyn PhysicalExprAdapterFactory>,
    pub(crate) metrics: ScanMetrics,
}

impl FileOpener for PilasterOpener {
    fn open(&self, file: PartitionedFile) -> Result<FileOpenFuture> {
        let opener = self.clone();
        Ok(async move { opener.stream(file).await }.boxed())
    }
}

type BatchStream = BoxStream<'static, Result<RecordBatch>>;

fn nothing() -> BatchStream {
    futures::stream::empty().boxed()
}

impl PilasterOpener {
    async fn stream(self, file: PartitionedFile) -> Result<BatchStream> {
        if self.excludes(&file)? {
            self.metrics.files_pruned.add_pruned(1);
            return Ok(nothing());
        }
        self.metrics.files_pruned.add_matched(1);
        let stored = StoredFile {
            store: Arc::clone(&self.store),
            path: file.object_meta.location.clone(),
            budget: self.budget.clone(),
            bytes_read: self.metrics.bytes_read.clone(),
            requests: self.metrics.requests.clone(),
            time_io: self.metrics.time_io.clone(),
        };
        let hits = &self.metrics.footer_cache_hits;
        let opened = self
            .files
            .open(&stored, &file.object_meta, self.cache.as_ref(), hits)
            .await?;
        let zones = ZoneShare::of(&file).zones(opened.meta.zone_count());
        if zones.is_empty() {
            return Ok(nothing());
        }
        let schema = small_floats::shown(&opened.meta.schema().map_err(external)?);
        let rewriter = Rewriter::new(
            &self.table_schema,
            &file.partition_values,
            &schema,
            &self.adapters,
        )?;
        let projection = rewrite_input_file_name_in_projection(
            self.projection.clone(),
            file.object_meta.location.as_ref(),
        )?;
        let Some(plan) = rewriter.plan(self.predicate.as_ref(), &projection)? else {
            self.metrics
                .zones_by_statistics
                .add_pruned((zones.end - zones.start) as usize);
            return Ok(nothing());
        };
        let bounds = self.bounds(&plan, &stored, &opened, zones.clone()).await?;
        let rows = self.rows_to_read(&plan, bounds.as_deref(), &opened, zones);
        Ok(self.read(plan, bounds, stored, opened, rows))
    }

    /// Whether partition values, statistics of the file and thresholds so far exclude the file.
    fn excludes(&self, file: &PartitionedFile) -> Result<bool> {
        let (Some(predicate), true) = (&self.predicate, self.prune) else {
            return Ok(false);
        };
        let literals = partition_literals(&self.table_schema, &file.partition_values);
        let predicate = replace_columns_with_literals(Arc::clone(predicate), &literals)?;
        let schema = self.table_schema.file_schema();
        // Row numbers are no column of the file, and building a predicate on them would panic.
        let stored = |conjunct: &&Arc<dyn PhysicalExpr>| {
            let columns = collect_columns(conjunct);
            columns.iter().all(|c| c.index() < schema.fields().len())
        };
        let conjuncts = split_conjunction(&predicate).into_iter().filter(stored);
        let predicate = conjunction_opt(conjuncts.cloned());
        let Some(predicate) = predicate.and_then(|p| keeping_order(&p, schema)) else {
            return Ok(false);
        };
        let errors = self.metrics.predicate_errors.clone();
        match FilePruner::try_new(predicate, schema, file, errors) {
            Some(mut pruner) => pruner.should_prune(),
            None => Ok(false),
        }
    }

    /// The bounds of all columns that the filter or the wished order mentions.
    async fn bounds(
        &self,
        plan: &FilePlan,
        stored: &StoredFile,
        opened: &OpenedFile,
        zones: Range<u64>,
    ) -> Result<Option<Arc<ZoneBounds>>> {
        let filters: Vec<_> = plan.fixed.iter().chain(&plan.dynamic).collect();
        if !self.prune || filters.is_empty() {
            return Ok(None);
        }
        let mut columns: HashSet<usize> = filters
            .into_iter()
            .flat_map(collect_columns)
            .map(|c| c.index())
            .collect();
        if let Some(hint) = &self.sort_hint
            && let Ok(column) = plan.schema.index_of(hint.column.name())
        {
            columns.insert(column);
        }
        let shown = opened.meta.shown().len();
        let mut columns: Vec<usize> = columns.into_iter().filter(|&c| c < shown).collect();
        columns.sort_unstable();
        let loaded = opened.zones(stored, &columns).await?;
        let unreadable = &self.metrics.zone_maps_unreadable;
        unreadable.add(loaded.unreadable.len());
        let row_ids = plan.schema.fields().len() > shown;
        let bounds = ZoneBounds::new(&loaded, &columns, &plan.schema, zones, row_ids);
        Ok(Some(Arc::new(bounds)))
    }

    /// Row ranges of the zones that are not excluded from the start, in the order of reading.
    fn rows_to_read(
        &self,
        plan: &FilePlan,
        bounds: Option<&ZoneBounds>,
        opened: &OpenedFile,
        zones: Range<u64>,
    ) -> Vec<Vec<Range<u64>>> {
        let errors = &self.metrics.predicate_errors;
        let keep = match (&plan.fixed, bounds) {
            (Some(fixed), Some(bounds)) => {
                let keep = bounds.prune(fixed, &plan.schema, errors);
                let kept = keep.iter().filter(|k| **k).count();
                let metric = &self.metrics.zones_by_statistics;
                metric.add_matched(kept);
                metric.add_pruned(keep.len() - kept);
                keep
            }
            _ => vec![true; (zones.end - zones.start) as usize],
        };
        let kept = |zone: &u64| keep[(zone - zones.start) as usize];
        let meta = &opened.meta;
        let ranges = |zones: &mut dyn Iterator<Item = u64>| {
            let mut ranges: Vec<Range<u64>> = Vec::new();
            for zone in zones {
                let start = zone * meta.zone_rows();
                let end = (start + meta.zone_rows()).min(meta.rows());
                match ranges.last_mut() {
                    Some(last) if last.end == start => last.end = end,
                    _ => ranges.push(start..end),
                }
            }
            ranges
        };
        // The zone that holds the best values makes a threshold by which others fall.
        let lead = self.sort_hint.as_ref().and_then(|hint| {
            plan.dynamic.as_ref()?;
            let order = bounds?.best_first(hint.column.name(), hint.descending)?;
            order.into_iter().find(kept)
        });
        let mut rest = zones.clone().filter(kept).filter(|&z| Some(z) != lead);
        let rest = ranges(&mut rest);
        let lead = ranges(&mut lead.into_iter());
        [lead, rest].into_iter().filter(|r| !r.is_empty()).collect()
    }

    fn read(
        self,
        plan: FilePlan,
        bounds: Option<Arc<ZoneBounds>>,
        stored: StoredFile,
        opened: Arc<OpenedFile>,
        rows: Vec<Vec<Range<u64>>>,
    ) -> BatchStream {
        let mut failure = Arc::default();
        let pruner = plan.dynamic.clone().zip(bounds).map(|(filter, bounds)| {
            DynamicPruner::new(
                filter,
                Arc::clone(&plan.schema),
                bounds,
                self.metrics.zones_by_dynamic_filter.clone(),
                self.metrics.predicate_errors.clone(),
            )
        });
        let predicate = plan.filter.map(|filter| {
            let filter = RowFilter::new(filter, pruner);
            failure = filter.failure();
            Arc::new(filter)
        });
        let near = plan.near.filter(|_| self.prune).and_then(|(call, filter)| {
            let errors = self.metrics.predicate_errors.clone();
            let near = NearFilter::new(call, filter, &plan.schema, errors)?;
            Some(Arc::new(near) as Arc<dyn Near>)
        });
        let limit = self.limit.map(|l| l as u64);
        let requests: Vec<_> = rows
            .into_iter()
            .map(|rows| ScanRequest {
                columns: plan.columns.clone(),
                rows: match (&predicate, &plan.residual, limit) {
                    (None, None, Some(limit)) => first_rows(rows, limit),
                    _ => rows,
                },
                predicate: predicate.clone().map(|p| p as _),
                near: near.clone(),
                // Rows that the reader keeps may still fall to what is left of the filter.
                limit: limit.filter(|_| plan.residual.is_none()),
                batch_rows: self.batch_rows,
                row_ids: plan.row_ids,
                ..ScanRequest::default()
            })
            .filter(|request| !request.rows.is_empty())
            .collect();
        let reading = Reading {
            requests: requests.into_iter(),
            scan: None,
            opened,
            stored,
            residual: plan.residual,
            projection: plan.projection,
            output: self.output,
            left: self.limit.unwrap_or(usize::MAX),
            failure,
            metrics: self.metrics,
        };
        futures::stream::try_unfold(reading, Reading::next).boxed()
    }
}

/// The first `limit` rows of ascending ranges.
fn first_rows(ranges: Vec<Range<u64>>, mut limit: u64) -> Vec<Range<u64>> {
    let mut first = Vec::new();
    for range in ranges {
        let end = range.end.min(range.start.saturating_add(limit));
        limit -= end - range.start;
        if end > range.start {
            first.push(range.start..end);
        }
    }
    first
}

/// A file while it is being read.
struct Reading {
    requests: std::vec::IntoIter<ScanRequest>,
    scan: Option<Scan>,
    opened: Arc<OpenedFile>,
    stored: StoredFile,
    residual: Option<Arc<dyn PhysicalExpr>>,
    projection: Vec<Arc<dyn PhysicalExpr>>,
    output: SchemaRef,
    left: usize,
    failure: Arc<Mutex<Option<DataFusionError>>>,
    metrics: ScanMetrics,
}

impl Reading {
    async fn next(mut self) -> Result<Option<(RecordBatch, Self)>> {
        while self.left > 0 {
            let Some(batch) = self.next_raw().await? else {
                break;
            };
            let timer = self.metrics.time_decode.clone();
            let timer = timer.timer();
            let mut batch = match &self.residual {
                Some(filter) => filter_record_batch(&batch, &evaluate(filter, &batch)?)?,
                None => batch,
            };
            if batch.num_rows() == 0 {
                continue;
            }
            if batch.num_rows() > self.left {
                batch = batch.slice(0, self.left);
            }
            self.left -= batch.num_rows();
            let batch = self.project(&batch)?;
            timer.done();
            return Ok(Some((batch, self)));
        }
        Ok(None)
    }

    /// The next batch of the reader, going from request to request.
    async fn next_raw(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let mut scan = match self.scan.take() {
                Some(scan) => scan,
                None => match self.requests.next() {
                    Some(request) => {
                        Scan::new(Arc::clone(&self.opened.meta), request).map_err(external)?
                    }
                    None => return Ok(None),
                },
            };
            let before = scan.metrics();
            let mut timed = Timed {
                scan: &mut scan,
                metrics: &self.metrics,
            };
            let batch = self.stored.next(&mut timed).await;
            let after = scan.metrics();
            let decoded = after.values_decoded - before.values_decoded;
            self.metrics.values_decoded.add(decoded as usize);
            let far = (after.distances_pruned - before.distances_pruned) as usize;
            let looked_at = (after.distances - before.distances) as usize;
            self.metrics.rows_by_distance.add_pruned(far);
            self.metrics.rows_by_distance.add_matched(looked_at - far);
            match batch.map_err(|e| self.cause(e))? {
                Some(batch) => {
                    self.scan = Some(scan);
                    let words = batch.schema();
                    let numbers = small_floats::shown(&words);
                    let batch = small_floats::converted(&batch, &words, &numbers);
                    return Ok(Some(batch.map_err(external)?));
                }
                None => continue,
            }
        }
    }

    /// What the filter said, if it was the filter that failed.
    fn cause(&self, error: DataFusionError) -> DataFusionError {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.take().unwrap_or(error)
    }

    fn project(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let columns = self
            .projection
            .iter()
            .map(|expr| expr.evaluate(batch)?.into_array(rows))
            .collect::<Result<Vec<ArrayRef>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = Arc::clone(&self.output);
        Ok(RecordBatch::try_new_with_options(
            schema, columns, &options,
        )?)
    }
}

/// A scan whose steps are timed.
struct Timed<'a> {
    scan: &'a mut Scan,
    metrics: &'a ScanMetrics,
}

impl Machine for Timed<'_> {
    type Item = RecordBatch;

    fn step(&mut self) -> crate::Result<Step<RecordBatch>> {
        let _timer = self.metrics.time_decode.timer();
        self.scan.step()
    }

    fn deliver(&mut self, offset: u64, bytes: arrow::buffer::Buffer) {
        self.scan.deliver(offset, bytes);
    }
}
