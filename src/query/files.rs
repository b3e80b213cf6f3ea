//! Tables of files whose folders name values.
//!
//! Listing is DataFusion's, but not what it makes of the folders: it takes a condition that is null for
//! true, knows no folder for null, and looks for a number under one spelling. Here each file's values are
//! read as the table's types, and a condition on them alone chooses files; whatever might fail is left
//! to the scan, which sees partition columns as it sees others.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use async_trait::async_trait;
use datafusion::catalog::{ScanArgs, ScanResult, Session, TableProvider};
use datafusion::common::cast::as_boolean_array;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Constraints, DFSchema, Result, exec_datafusion_err, project_schema};
use datafusion::datasource::listing::{ListingTable, ListingTableConfig, PartitionedFile};
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{
    BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion_datasource::compute_all_files_statistics;
use datafusion_datasource::file::FileSource;
use datafusion_datasource::file_groups::FileGroup;
use datafusion_datasource::file_scan_config::{FileScanConfig, FileScanConfigBuilder};
use datafusion_datasource::source::DataSourceExec;

use super::hive;
use super::source::PilasterSource;
use super::text::TextSource;

/// A table of files, some of whose columns may be in the names of folders.
#[derive(Debug, Clone)]
pub struct FilesTable {
    files: ListingTable,
    /// The same files, with the folders as texts.
    listing: ListingTable,
    schema: SchemaRef,
    partition: Vec<FieldRef>,
}

impl FilesTable {
    /// The files of a table.
    pub(crate) fn new(files: ListingTable) -> Result<Self> {
        let schema = files.schema();
        let columns = &files.options().table_partition_cols;
        let stored = schema.fields().len() - columns.len();
        // There is a folder for null too.
        let nullable = |f: &FieldRef| Arc::new(f.as_ref().clone().with_nullable(true));
        let partition: Vec<FieldRef> = schema.fields()[stored..].iter().map(nullable).collect();
        let texts: Vec<(String, DataType)> = columns
            .iter()
            .map(|(name, data_type)| match hive::is_text(data_type) {
                true => (name.clone(), data_type.clone()),
                false => (name.clone(), DataType::Utf8),
            })
            .collect();
        let listing = match texts == *columns {
            true => files.clone(),
            false => {
                let options = files.options().clone().with_table_partition_cols(texts);
                let fields = schema.fields()[..stored].to_vec();
                let stored = Schema::new_with_metadata(fields, schema.metadata().clone());
                let config = ListingTableConfig::new_with_multi_paths(files.table_paths().clone())
                    .with_listing_options(options)
                    .with_schema(Arc::new(stored));
                ListingTable::try_new(config)?
            }
        };
        let fields = schema.fields()[..stored].iter().chain(&partition).cloned();
        let schema =
            Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone());
        Ok(Self {
            files,
            listing,
            schema: Arc::new(schema),
            partition,
        })
    }

    /// The table as DataFusion knows it.
    pub(crate) fn files(&self) -> &ListingTable {
        &self.files
    }

    fn only_on_folders(&self, filter: &Expr) -> bool {
        let columns = filter.column_refs();
        !columns.is_empty()
            && columns
                .iter()
                .all(|c| self.partition.iter().any(|f| f.name() == &c.name))
    }

    /// Conditions by which DataFusion lists fewer folders: equal texts.
    fn is_prefix(&self, filter: &Expr) -> bool {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else {
            return false;
        };
        let (column, value) = match (left.as_ref(), right.as_ref()) {
            (Expr::Column(c), Expr::Literal(v, _)) | (Expr::Literal(v, _), Expr::Column(c)) => {
                (c, v)
            }
            _ => return false,
        };
        let text = |f: &FieldRef| f.name() == &column.name && hive::is_text(f.data_type());
        *op == Operator::Eq && !value.is_null() && self.partition.iter().any(text)
    }

    /// The files that a condition keeps, with their values.
    fn choose(
        &self,
        state: &dyn Session,
        filters: &[Expr],
        groups: &[FileGroup],
    ) -> Result<Vec<FileGroup>> {
        let schema: SchemaRef = Arc::new(Schema::new(self.partition.clone()));
        let names = DFSchema::try_from(Arc::clone(&schema))?;
        let chosen = filters.iter().filter(|f| self.only_on_folders(f));
        let mut conditions = Vec::new();
        for filter in chosen {
            conditions.push((
                state.create_physical_expr(filter.clone(), &names)?,
                is_total(filter),
            ));
        }
        let mut kept = Vec::new();
        for group in groups {
            let mut files = Vec::new();
            for file in group.iter() {
                let file = self.typed(file)?;
                let arrays = file.partition_values.iter().map(|v| v.to_array());
                let row = RecordBatch::try_new_with_options(
                    Arc::clone(&schema),
                    arrays.collect::<Result<_>>()?,
                    &RecordBatchOptions::new().with_row_count(Some(1)),
                )?;
                let mut keep = true;
                for (condition, total) in &conditions {
                    keep &= match holds(condition, &row) {
                        Ok(holds) => holds,
                        Err(error) if *total => return Err(error),
                        // The scan meets it again, if it has a row.
                        Err(_) => true,
                    };
                }
                if keep {
                    files.push(file);
                }
            }
            if !files.is_empty() {
                kept.push(FileGroup::new(files));
            }
        }
        Ok(kept)
    }

    /// A file with its values in the types of the table.
    fn typed(&self, file: &PartitionedFile) -> Result<PartitionedFile> {
        let mut file = file.clone();
        file.partition_values = hive::values(&file.partition_values, &self.partition)?;
        if let Some(statistics) = file.statistics.take() {
            let mut statistics = Arc::unwrap_or_clone(statistics);
            let stored = statistics.column_statistics.len() - self.partition.len();
            statistics.column_statistics.truncate(stored);
            let rows = statistics.num_rows;
            file = file.with_statistics(Arc::new(statistics));
            let mut statistics = Arc::unwrap_or_clone(file.statistics.take().unwrap_or_default());
            let columns = statistics.column_statistics[stored..].iter_mut();
            for (column, value) in columns.zip(&file.partition_values) {
                if value.is_null() {
                    column.null_count = rows;
                    column.min_value = Precision::Absent;
                    column.max_value = Precision::Absent;
                }
            }
            file.statistics = Some(Arc::new(statistics));
        }
        Ok(file)
    }
}

/// Whether a condition has an answer for every value.
fn is_total(filter: &Expr) -> bool {
    let mut total = true;
    let seen = filter.apply(|e| {
        total &= matches!(
            e,
            Expr::Column(_)
                | Expr::Literal(..)
                | Expr::Not(_)
                | Expr::IsNull(_)
                | Expr::IsNotNull(_)
                | Expr::IsTrue(_)
                | Expr::IsFalse(_)
                | Expr::IsUnknown(_)
                | Expr::IsNotTrue(_)
                | Expr::IsNotFalse(_)
                | Expr::IsNotUnknown(_)
                | Expr::InList(_)
                | Expr::Between(_)
        ) || matches!(e, Expr::BinaryExpr(b) if matches!(
            b.op,
            Operator::And
                | Operator::Or
                | Operator::Eq
                | Operator::NotEq
                | Operator::Lt
                | Operator::LtEq
                | Operator::Gt
                | Operator::GtEq
                | Operator::IsDistinctFrom
                | Operator::IsNotDistinctFrom
        ));
        Ok(match total {
            true => TreeNodeRecursion::Continue,
            false => TreeNodeRecursion::Stop,
        })
    });
    total && seen.is_ok()
}

/// Whether a condition is true of a row; null is not.
fn holds(condition: &Arc<dyn PhysicalExpr>, row: &RecordBatch) -> Result<bool> {
    let values = condition.evaluate(row)?.into_array(1)?;
    Ok(as_boolean_array(&values)?.iter().next().flatten() == Some(true))
}

#[async_trait]
impl TableProvider for FilesTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn constraints(&self) -> Option<&Constraints> {
        self.files.constraints()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn get_table_definition(&self) -> Option<&str> {
        self.files.get_table_definition()
    }

    fn get_column_default(&self, column: &str) -> Option<&Expr> {
        self.files.get_column_default(column)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let args = ScanArgs::default()
            .with_projection(projection.map(Vec::as_slice))
            .with_filters(Some(filters))
            .with_limit(limit);
        Ok(self.scan_with_args(state, args).await?.into_inner())
    }

    async fn scan_with_args<'a>(
        &self,
        state: &dyn Session,
        args: ScanArgs<'a>,
    ) -> Result<ScanResult> {
        if self.partition.is_empty() {
            return self.files.scan_with_args(state, args).await;
        }
        let filters = args.filters().unwrap_or_default();
        let prefixes: Vec<Expr> = filters
            .iter()
            .filter(|f| self.is_prefix(f))
            .cloned()
            .collect();
        let limit = args.limit().filter(|_| filters.is_empty());
        let listed = ScanArgs::default()
            .with_projection(args.projection())
            .with_filters(Some(&prefixes))
            .with_limit(limit);
        let plan = self
            .listing
            .scan_with_args(state, listed)
            .await?
            .into_inner();
        let columns = args.projection().map(<[usize]>::to_vec);
        let nothing = || {
            let schema = project_schema(&self.schema(), columns.as_ref())?;
            Ok(ScanResult::new(Arc::new(EmptyExec::new(schema))))
        };
        if plan.is::<EmptyExec>() {
            return nothing();
        }
        let config = plan
            .downcast_ref::<DataSourceExec>()
            .and_then(|exec| exec.data_source().downcast_ref::<FileScanConfig>())
            .ok_or_else(|| exec_datafusion_err!("a scan of another kind"))?;
        let groups = self.choose(state, filters, &config.file_groups)?;
        if groups.is_empty() {
            return nothing();
        }
        let collect = state.config().collect_statistics();
        let cut = limit.is_some();
        let (groups, statistics) =
            compute_all_files_statistics(groups, self.schema(), collect, cut)?;
        let source = self.source(config.file_source())?;
        let mut config = FileScanConfigBuilder::from(config.clone())
            .with_source(source)
            .with_statistics(statistics)
            .with_file_groups(groups)
            .build();
        // Two spellings of one value are in two folders.
        config.output_partitioning = None;
        Ok(ScanResult::new(DataSourceExec::from_data_source(config)))
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let answer = |filter: &&Expr| match self.only_on_folders(filter) && is_total(filter) {
            true => TableProviderFilterPushDown::Exact,
            false => TableProviderFilterPushDown::Inexact,
        };
        Ok(filters.iter().map(answer).collect())
    }

    async fn insert_into(
        &self,
        state: &dyn Session,
        input: Arc<dyn ExecutionPlan>,
        op: InsertOp,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.files.insert_into(state, input, op).await
    }
}

impl FilesTable {
    /// A scan's source with the types of this table's folders.
    fn source(&self, source: &Arc<dyn FileSource>) -> Result<Arc<dyn FileSource>> {
        if let Some(source) = source.downcast_ref::<PilasterSource>() {
            return Ok(Arc::new(source.with_partition_fields(&self.partition)));
        }
        if let Some(source) = source.downcast_ref::<TextSource>() {
            return Ok(Arc::new(source.with_partition_fields(&self.partition)));
        }
        Err(exec_datafusion_err!("a scan of another format"))
    }
}
