//! What the plan knows of a scan: schema, projection, filter, order wished for.
//!
//! Every filter is accepted and evaluated inside the scan, and every projection too: only so do the
//! stock rules push sorts, limits and dynamic filters all the way down.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, plan_err};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::physical_expr::expressions::{Column, DynamicFilterPhysicalExpr};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::{
    EquivalenceProperties, LexOrdering, PhysicalExpr, PhysicalSortExpr, conjunction,
};
use datafusion::physical_plan::filter_pushdown::{FilterPushdownPropagation, PushedDown};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, SortOrderPushdownResult};
use datafusion_datasource::TableSchema;
use datafusion_datasource::file::FileSource;
use datafusion_datasource::file_scan_config::FileScanConfig;
use datafusion_datasource::file_stream::FileOpener;
use datafusion_physical_expr_adapter::DefaultPhysicalExprAdapterFactory;
use object_store::ObjectStore;

use super::cache::OpenedFiles;
use super::config::PilasterOptions;
use super::driver::ByteBudget;
use super::metrics::ScanMetrics;
use super::near;
use super::opener::PilasterOpener;
use super::split;
use crate::file::ROW_ID;

/// The field of [`ROW_ID`]: virtual columns carry an extension type.
pub(crate) fn row_id_field() -> FieldRef {
    let name = (
        "ARROW:extension:name".to_owned(),
        "pilaster.row_id".to_owned(),
    );
    let field = Field::new(ROW_ID, DataType::UInt64, false);
    Arc::new(field.with_metadata([name].into()))
}

/// Zones with the best values of this column are read first; the order of rows is free.
#[derive(Debug, Clone)]
pub(crate) struct SortHint {
    /// A column of the table.
    pub(crate) column: Column,
    /// Whether the largest values come first.
    pub(crate) descending: bool,
}

/// Scan of `.pil` files.
#[derive(Debug, Clone)]
pub struct PilasterSource {
    table_schema: TableSchema,
    projection: ProjectionExprs,
    predicate: Option<Arc<dyn PhysicalExpr>>,
    sort_hint: Option<SortHint>,
    /// A distance by which rows shall be ordered, as a plan shows it.
    nearest: Option<String>,
    batch_rows: usize,
    options: PilasterOptions,
    budget: ByteBudget,
    cache: Option<Arc<FileMetadataCache>>,
    files: Arc<OpenedFiles>,
    metrics: ExecutionPlanMetricsSet,
}

impl PilasterSource {
    /// A scan of all columns.
    pub fn new(table_schema: TableSchema) -> Self {
        let options = PilasterOptions::default();
        Self {
            projection: all_columns(&table_schema),
            table_schema,
            predicate: None,
            sort_hint: None,
            nearest: None,
            batch_rows: 8192,
            budget: ByteBudget::new(options.bytes_in_flight),
            options,
            cache: None,
            files: Arc::default(),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    /// With the options and the footer cache of a session.
    pub(crate) fn in_session(
        mut self,
        options: PilasterOptions,
        cache: Arc<FileMetadataCache>,
    ) -> Self {
        self.budget = ByteBudget::new(options.bytes_in_flight);
        self.options = options;
        self.cache = Some(cache);
        self
    }

    /// With the virtual column [`ROW_ID`] as the last of the table, and projected to these columns.
    /// Must come before anything was pushed down.
    pub(crate) fn with_row_ids(&self, projection: Option<&[usize]>) -> Result<Self> {
        let table_schema = TableSchema::builder(Arc::clone(self.table_schema.file_schema()))
            .with_table_partition_cols(self.table_schema.table_partition_cols().clone())
            .with_virtual_columns(vec![row_id_field()])
            .build();
        if self.predicate.is_some() {
            return plan_err!("the column {ROW_ID} comes too late");
        }
        let mut source = self.clone();
        source.projection = match projection {
            Some(columns) => ProjectionExprs::from_indices(columns, table_schema.table_schema()),
            None => all_columns(&table_schema),
        };
        source.table_schema = table_schema;
        Ok(source)
    }

    /// With other types for the columns that folders name.
    pub(crate) fn with_partition_fields(&self, fields: &[FieldRef]) -> Self {
        let table_schema = TableSchema::builder(Arc::clone(self.table_schema.file_schema()))
            .with_table_partition_cols(fields.to_vec())
            .build();
        Self {
            table_schema,
            ..self.clone()
        }
    }

    fn contains_dynamic_filter(&self) -> bool {
        let mut found = false;
        if let Some(predicate) = &self.predicate {
            let _ = predicate.apply(|expr| {
                found |= expr.downcast_ref::<DynamicFilterPhysicalExpr>().is_some();
                Ok(match found {
                    true => TreeNodeRecursion::Stop,
                    false => TreeNodeRecursion::Continue,
                })
            });
        }
        found
    }
}

fn all_columns(schema: &TableSchema) -> ProjectionExprs {
    let schema = schema.table_schema();
    let columns: Vec<usize> = (0..schema.fields().len()).collect();
    ProjectionExprs::from_indices(&columns, schema)
}

impl FileSource for PilasterSource {
    fn create_file_opener(
        &self,
        store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        let output = self
            .projection
            .project_schema(self.table_schema.table_schema())?;
        let adapters = config
            .expr_adapter_factory
            .clone()
            .unwrap_or_else(|| Arc::new(DefaultPhysicalExprAdapterFactory));
        Ok(Arc::new(PilasterOpener {
            store,
            table_schema: self.table_schema.clone(),
            projection: self.projection.clone(),
            output: Arc::new(output),
            predicate: self.predicate.clone(),
            sort_hint: self.sort_hint.clone(),
            limit: config.limit,
            batch_rows: self.batch_rows,
            prune: self.options.prune,
            budget: self.budget.clone(),
            cache: self.cache.clone(),
            files: Arc::clone(&self.files),
            adapters,
            metrics: ScanMetrics::new(&self.metrics, partition),
        }))
    }

    fn table_schema(&self) -> &TableSchema {
        &self.table_schema
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        Arc::new(Self {
            batch_rows: batch_size.max(1),
            ..self.clone()
        })
    }

    fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
        self.predicate.clone()
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        Some(&self.projection)
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        &self.metrics
    }

    fn file_type(&self) -> &str {
        "pilaster"
    }

    fn fmt_extra(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match t {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                if let Some(predicate) = &self.predicate {
                    write!(f, ", predicate={predicate}")?;
                }
                if let Some(hint) = &self.sort_hint {
                    let order = if hint.descending { "DESC" } else { "ASC" };
                    write!(f, ", sort_hint={} {order}", hint.column.name())?;
                }
                if let Some(distance) = &self.nearest {
                    write!(f, ", nearest={distance} mode=exact")?;
                }
                if self.contains_dynamic_filter() {
                    write!(f, ", dynamic_pruning=eligible")?;
                }
                Ok(())
            }
            DisplayFormatType::TreeRender => match &self.predicate {
                Some(predicate) => writeln!(f, "predicate={predicate}"),
                None => Ok(()),
            },
        }
    }

    fn repartitioned(
        &self,
        target_partitions: usize,
        _min_size: usize,
        output_ordering: Option<LexOrdering>,
        config: &FileScanConfig,
    ) -> Result<Option<FileScanConfig>> {
        let ordered = output_ordering.is_some();
        let groups = split::split(&config.file_groups, target_partitions, ordered);
        Ok(groups.map(|groups| {
            let mut config = config.clone();
            config.file_groups = groups;
            config
        }))
    }

    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        _config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn FileSource>>> {
        let answers = vec![PushedDown::Yes; filters.len()];
        let mut source = self.clone();
        // Called for static filters and again for dynamic ones.
        source.predicate = match filters.is_empty() {
            true => self.predicate.clone(),
            false => Some(conjunction(
                self.predicate.clone().into_iter().chain(filters),
            )),
        };
        Ok(
            FilterPushdownPropagation::with_parent_pushdown_result(answers)
                .with_updated_node(Arc::new(source) as Arc<dyn FileSource>),
        )
    }

    fn try_pushdown_projection(
        &self,
        projection: &ProjectionExprs,
    ) -> Result<Option<Arc<dyn FileSource>>> {
        let mut source = self.clone();
        source.projection = self.projection.try_merge(projection)?;
        Ok(Some(Arc::new(source)))
    }

    fn try_pushdown_sort(
        &self,
        order: &[PhysicalSortExpr],
        properties: &EquivalenceProperties,
    ) -> Result<SortOrderPushdownResult<Arc<dyn FileSource>>> {
        let Some(first) = order.first() else {
            return Ok(SortOrderPushdownResult::Unsupported);
        };
        if properties.ordering_satisfy(order.iter().cloned())? {
            return Ok(SortOrderPushdownResult::Exact {
                inner: Arc::new(self.clone()),
            });
        }
        // A sort whose input is sorted by a prefix stops early by itself.
        if properties.ordering_satisfy([first.clone()])? {
            return Ok(SortOrderPushdownResult::Unsupported);
        }
        let expr = self.projection.unproject_expr(&first.expr)?;
        // Rows are found by the threshold of the top-k, which comes as a filter; the order is not ours.
        let schema = self.table_schema.table_schema();
        if let Some(distance) = near::described(&expr, schema) {
            let mut source = self.clone();
            source.nearest = Some(distance);
            return Ok(SortOrderPushdownResult::Inexact {
                inner: Arc::new(source),
            });
        }
        let column = expr.downcast_ref::<Column>();
        let files = self.table_schema.file_schema().fields().len();
        Ok(match column {
            Some(column) if column.index() < files => {
                let mut source = self.clone();
                source.sort_hint = Some(SortHint {
                    column: column.clone(),
                    descending: first.options.descending,
                });
                SortOrderPushdownResult::Inexact {
                    inner: Arc::new(source),
                }
            }
            _ => SortOrderPushdownResult::Unsupported,
        })
    }

    fn reorder_files(&self, mut files: Vec<PartitionedFile>) -> Vec<PartitionedFile> {
        let Some(hint) = &self.sort_hint else {
            return files;
        };
        let bound = |file: &PartitionedFile| {
            let column = file
                .statistics
                .as_ref()?
                .column_statistics
                .get(hint.column.index())?;
            match hint.descending {
                true => column.max_value.get_value().cloned(),
                false => column.min_value.get_value().cloned(),
            }
        };
        // Files without bounds come last; the sort is stable.
        files.sort_by(|a, b| match (bound(a), bound(b)) {
            (Some(a), Some(b)) => {
                let order = a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal);
                if hint.descending {
                    order.reverse()
                } else {
                    order
                }
            }
            (a, b) => b.is_some().cmp(&a.is_some()),
        });
        files
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let projected = self.projection.as_ref().iter().map(|p| &p.expr);
        for expr in self.predicate.iter().chain(projected) {
            if f(expr)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }
}
