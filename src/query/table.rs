//! Tables: `FROM 'x.pil'`, `CREATE EXTERNAL TABLE .. STORED AS PILASTER`, folders, globs, hive
//! partitions.
//!
//! Listing is DataFusion's. What is added here: one name for a type that has another extension, the
//! virtual column `_row_id`, and errors that say what is wrong with a file.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{
    ScanArgs, ScanResult, Session, TableProvider, TableProviderFactory, UrlTableFactory,
};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{
    ColumnStatistics, Constraints, Result, exec_datafusion_err, plan_datafusion_err, plan_err,
    project_schema,
};
use datafusion::datasource::listing::{
    ListingTable, ListingTableConfig, ListingTableConfigExt, ListingTableUrl,
};
use datafusion::datasource::listing_table_factory::ListingTableFactory;
use datafusion::execution::SessionState;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{CreateExternalTable, Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion_datasource::file_groups::FileGroup;
use datafusion_datasource::file_scan_config::{FileScanConfig, FileScanConfigBuilder};
use datafusion_datasource::source::DataSourceExec;
use datafusion_session::SessionStore;
use object_store::ObjectStoreExt;

use super::config::PilasterOptions;
use super::files::FilesTable;
use super::format::{EXTENSION, PilasterFormat};
use super::source::{PilasterSource, row_id_field};
use super::text::TextFormat;
use crate::file::ROW_ID;

/// A table of `.pil` files with row numbers.
#[derive(Debug)]
pub struct NumberedTable {
    files: FilesTable,
    schema: SchemaRef,
}

impl NumberedTable {
    /// The files of a table, numbered; fails if it has a column of that name.
    pub(crate) fn new(files: FilesTable) -> Result<Self> {
        let schema = files.schema();
        if schema.index_of(ROW_ID).is_ok() {
            return plan_err!(
                "the table has a column {ROW_ID} of its own; it is read after \
                 SET pilaster.row_id = false"
            );
        }
        let mut fields = schema.fields().to_vec();
        fields.push(row_id_field());
        let schema = Schema::new_with_metadata(fields, schema.metadata().clone());
        Ok(Self {
            files,
            schema: Arc::new(schema),
        })
    }

    /// The scan of the files, with row numbers, projected.
    fn number(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        projection: Option<&[usize]>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if plan.is::<EmptyExec>() {
            let columns = projection.map(<[usize]>::to_vec);
            let schema = project_schema(&self.schema, columns.as_ref())?;
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let config = plan
            .downcast_ref::<DataSourceExec>()
            .and_then(|exec| exec.data_source().downcast_ref::<FileScanConfig>())
            .ok_or_else(|| exec_datafusion_err!("a scan of another kind"))?;
        let source = config
            .file_source()
            .downcast_ref::<PilasterSource>()
            .ok_or_else(|| exec_datafusion_err!("a scan of another format"))?
            .with_row_ids(projection)?;
        let mut statistics = config.statistics();
        statistics
            .column_statistics
            .push(ColumnStatistics::new_unknown());
        let groups = config.file_groups.iter().map(with_unknown_column).collect();
        let config = FileScanConfigBuilder::from(config.clone())
            .with_source(Arc::new(source))
            .with_statistics(statistics)
            .with_file_groups(groups)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

/// Statistics of files cover all columns of a table.
fn with_unknown_column(group: &FileGroup) -> FileGroup {
    let files = group.iter().cloned().map(|mut file| {
        file.statistics = file.statistics.map(|statistics| {
            let mut statistics = Arc::unwrap_or_clone(statistics);
            statistics
                .column_statistics
                .push(ColumnStatistics::new_unknown());
            Arc::new(statistics)
        });
        file
    });
    FileGroup::new(files.collect())
}

fn mentions_row_id(expr: &Expr) -> bool {
    let mut found = false;
    let _ = expr.apply(|e| {
        found |= matches!(e, Expr::Column(column) if column.name == ROW_ID);
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

#[async_trait]
impl TableProvider for NumberedTable {
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
        // Filters serve to choose files here; all of them come again when plans are made physical.
        let given = args.filters().unwrap_or_default();
        let filters: Vec<Expr> = given
            .iter()
            .filter(|f| !mentions_row_id(f))
            .cloned()
            .collect();
        let limit = args.limit().filter(|_| filters.len() == given.len());
        let files = ScanArgs::default()
            .with_filters(Some(&filters))
            .with_limit(limit);
        let plan = self.files.scan_with_args(state, files).await?.into_inner();
        Ok(ScanResult::new(self.number(plan, args.projection())?))
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        self.files.supports_filters_pushdown(filters)
    }

    async fn insert_into(
        &self,
        _state: &dyn Session,
        _input: Arc<dyn ExecutionPlan>,
        _op: InsertOp,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan_err!(
            "a table that was opened with row numbers takes no rows; open it again after \
             SET pilaster.row_id = false"
        )
    }
}

/// The table as the session wants it.
fn table(files: ListingTable, options: &PilasterOptions) -> Result<Arc<dyn TableProvider>> {
    let files = FilesTable::new(files)?;
    Ok(match options.row_id {
        true => Arc::new(NumberedTable::new(files)?),
        false => Arc::new(files),
    })
}

/// `CREATE EXTERNAL TABLE .. STORED AS PILASTER`.
#[derive(Debug)]
pub struct PilasterTableFactory;

#[async_trait]
impl TableProviderFactory for PilasterTableFactory {
    async fn create(
        &self,
        state: &dyn Session,
        command: &CreateExternalTable,
    ) -> Result<Arc<dyn TableProvider>> {
        // The stock factory looks for files whose extension is the name of the type.
        let mut command = command.clone();
        command.file_type = EXTENSION.to_owned();
        let files = ListingTableFactory::new().create(state, &command).await?;
        match files.downcast_ref::<ListingTable>() {
            Some(files) => table(files.clone(), &PilasterOptions::of(state)),
            None => Ok(files),
        }
    }
}

/// `FROM 'path'`, for files of every format that the session knows.
#[derive(Debug)]
pub(crate) struct PathTableFactory {
    pub(crate) session: SessionStore,
}

impl PathTableFactory {
    fn state(&self) -> Result<SessionState> {
        self.session
            .get_session()
            .upgrade()
            .and_then(|session| {
                let session = session.read();
                session.as_any().downcast_ref::<SessionState>().cloned()
            })
            .ok_or_else(|| plan_datafusion_err!("the session has ended"))
    }
}

/// A path to one `.pil` file must lead to a file that may be one. Listing would pass over empty
/// files, and DataFusion calls every other trouble "table not found".
async fn check_file(state: &SessionState, url: &ListingTableUrl) -> Result<()> {
    let one_file = url.get_glob().is_none() && !url.is_collection();
    if !one_file || url.prefix().extension() != Some(EXTENSION) {
        return Ok(());
    }
    let store = state.runtime_env().object_store(url)?;
    let found = store.head(url.prefix()).await?;
    match found.size {
        0 => plan_err!("{url}: not a .pil file: it is empty"),
        _ => Ok(()),
    }
}

#[async_trait]
impl UrlTableFactory for PathTableFactory {
    async fn try_new(&self, url: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Ok(url) = ListingTableUrl::parse(url) else {
            return Ok(None);
        };
        let state = self.state()?;
        check_file(&state, &url).await?;
        let Ok(config) = ListingTableConfig::new(url).infer_options(&state).await else {
            return Ok(None);
        };
        let config = config
            .infer_partitions_from_path(&state)
            .await?
            .infer_schema(&state)
            .await?;
        let files = ListingTable::try_new(config)?;
        let format = &files.options().format;
        if format.is::<PilasterFormat>() {
            return table(files, &PilasterOptions::of(&state)).map(Some);
        }
        Ok(Some(match format.is::<TextFormat>() {
            true => Arc::new(FilesTable::new(files)?),
            false => Arc::new(files),
        }))
    }
}
