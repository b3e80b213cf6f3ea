//! Parquet in SQL: the engine's reader and writer, where what the reader would change without a word is put
//! right or refused.
//!
//! It reads times that were written as seconds in UTC, whichever zone they were written with, and of
//! intervals it keeps days and milliseconds, not months. Times of INT96 it reads as 64 bits of nanoseconds,
//! round which 9999-12-31 wraps.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::stats::Precision;
use datafusion::common::{
    GetExt, Result, ScalarValue, Statistics, exec_datafusion_err, plan_datafusion_err, plan_err,
};
use datafusion::datasource::file_format::parquet::ParquetFormatFactory;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::physical_expr::{LexOrdering, LexRequirement};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use datafusion_datasource::TableSchema;
use datafusion_datasource::file::FileSource;
use datafusion_datasource::file_compression_type::FileCompressionType;
use datafusion_datasource::file_format::{FileFormat, FileFormatFactory, FileMeta};
use datafusion_datasource::file_scan_config::FileScanConfig;
use datafusion_datasource::file_sink_config::FileSinkConfig;
use object_store::local::LocalFileSystem;
use object_store::{ObjectMeta, ObjectStore};
use parquet::basic::{ConvertedType, Type};
use parquet::file::metadata::ParquetMetaData;

use crate::kind::tables::source::{inexact_column, with_zones};

/// Makes a session read Parquet through this module.
pub(crate) fn register(context: &SessionContext) -> Result<()> {
    let factory = Arc::new(CheckedParquetFactory(ParquetFormatFactory::new()));
    context
        .state_ref()
        .write()
        .register_file_format(factory, true)
}

/// Makes formats of Parquet files.
#[derive(Debug)]
struct CheckedParquetFactory(ParquetFormatFactory);

impl GetExt for CheckedParquetFactory {
    fn get_ext(&self) -> String {
        self.0.get_ext()
    }
}

impl FileFormatFactory for CheckedParquetFactory {
    fn create(
        &self,
        state: &dyn Session,
        options: &HashMap<String, String>,
    ) -> Result<Arc<dyn FileFormat>> {
        Ok(Arc::new(CheckedParquet(self.0.create(state, options)?)))
    }

    fn default(&self) -> Arc<dyn FileFormat> {
        Arc::new(CheckedParquet(self.0.default()))
    }
}

/// The engine's format, checked.
#[derive(Debug)]
struct CheckedParquet(Arc<dyn FileFormat>);

/// What a file's end says of it.
async fn metadata(
    state: &dyn Session,
    store: &Arc<dyn ObjectStore>,
    object: &ObjectMeta,
) -> Result<Arc<ParquetMetaData>> {
    let cache = state.runtime_env().cache_manager.get_file_metadata_cache();
    DFParquetMetadata::new(store.as_ref(), object)
        .with_file_metadata_cache(Some(cache))
        .fetch_metadata()
        .await
}

/// Bounds of times in the types of a table: files tell them in UTC.
fn retyped(mut statistics: Statistics, schema: &Schema) -> Statistics {
    let columns = statistics.column_statistics.iter_mut();
    for (column, field) in columns.zip(schema.fields()) {
        let to = field.data_type();
        if !matches!(to, DataType::Timestamp(_, Some(_))) {
            continue;
        }
        let retype = |bound: &Precision<ScalarValue>| match bound.get_value() {
            Some(value) if value.data_type() != *to => match value.cast_to(to) {
                Ok(value) => bound.clone().map(|_| value.clone()),
                Err(_) => Precision::Absent,
            },
            _ => bound.clone(),
        };
        column.min_value = retype(&column.min_value);
        column.max_value = retype(&column.max_value);
    }
    statistics
}

/// Refuses to read intervals.
fn check_columns(metadata: &ParquetMetaData, path: &str, wanted: &[&str]) -> Result<()> {
    for leaf in metadata.file_metadata().schema_descr().columns() {
        let Some(root) = leaf.path().parts().first() else {
            continue;
        };
        if leaf.converted_type() == ConvertedType::INTERVAL && wanted.contains(&root.as_str()) {
            return plan_err!(
                "{path}: column '{root}' holds intervals, of which SQL would read a part only; \
                 `pilaster import` the file and ask that, or leave the column out"
            );
        }
    }
    Ok(())
}

/// Refuses old times that nanoseconds would change.
async fn check_times(metadata: &ParquetMetaData, path: PathBuf, wanted: &[&str]) -> Result<()> {
    let leaves = metadata.file_metadata().schema_descr().columns().iter();
    let old = leaves.filter(|leaf| leaf.physical_type() == Type::INT96);
    let roots = old.filter_map(|leaf| leaf.path().parts().first().cloned());
    let old: Vec<String> = roots.filter(|c| wanted.contains(&c.as_str())).collect();
    if old.is_empty() {
        return Ok(());
    }
    let name = path.display().to_string();
    let inexact = tokio::task::spawn_blocking(move || inexact_column(&path, &old))
        .await
        .map_err(|e| exec_datafusion_err!("reading stopped: {e}"))?
        .map_err(|e| plan_datafusion_err!("{name}: {e}"))?;
    match inexact {
        None => Ok(()),
        Some(column) => plan_err!(
            "{name}: column '{column}' is INT96 and holds times before 1677 or after 2262; \
             `pilaster import` the file and ask that, or write \
             SET datafusion.execution.parquet.coerce_int96 = 'us' before the query"
        ),
    }
}

#[async_trait]
impl FileFormat for CheckedParquet {
    fn get_ext(&self) -> String {
        self.0.get_ext()
    }

    fn get_ext_with_compression(&self, compression: &FileCompressionType) -> Result<String> {
        self.0.get_ext_with_compression(compression)
    }

    fn compression_type(&self) -> Option<FileCompressionType> {
        self.0.compression_type()
    }

    async fn infer_schema(
        &self,
        state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        objects: &[ObjectMeta],
    ) -> Result<SchemaRef> {
        let mut schema = self.0.infer_schema(state, store, objects).await?;
        // Where files differ, the first of them says it, in every order of listing.
        let mut objects: Vec<&ObjectMeta> = objects.iter().collect();
        objects.sort_by(|a, b| b.location.cmp(&a.location));
        for object in objects {
            let metadata = metadata(state, store, object).await?;
            schema = with_zones(&schema, metadata.file_metadata());
        }
        Ok(schema)
    }

    async fn infer_stats(
        &self,
        state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        table_schema: SchemaRef,
        object: &ObjectMeta,
    ) -> Result<Statistics> {
        let schema = Arc::clone(&table_schema);
        let statistics = self.0.infer_stats(state, store, table_schema, object);
        Ok(retyped(statistics.await?, &schema))
    }

    async fn infer_ordering(
        &self,
        state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        table_schema: SchemaRef,
        object: &ObjectMeta,
    ) -> Result<Option<LexOrdering>> {
        self.0
            .infer_ordering(state, store, table_schema, object)
            .await
    }

    async fn infer_stats_and_ordering(
        &self,
        state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        table_schema: SchemaRef,
        object: &ObjectMeta,
    ) -> Result<FileMeta> {
        let schema = Arc::clone(&table_schema);
        let told = self
            .0
            .infer_stats_and_ordering(state, store, table_schema, object);
        let told = told.await?;
        let statistics = retyped(told.statistics, &schema);
        Ok(FileMeta::new(statistics).with_ordering(told.ordering))
    }

    async fn create_physical_plan(
        &self,
        state: &dyn Session,
        config: FileScanConfig,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let source = config.file_source();
        let fields = source.table_schema().file_schema().fields();
        let columns = match source.projection() {
            Some(projection) => projection.column_indices(),
            None => (0..fields.len()).collect(),
        };
        // Indices past the end are columns that folders name.
        let wanted: Vec<&str> = columns
            .iter()
            .filter_map(|&i| Some(fields.get(i)?.name().as_str()))
            .collect();
        let store = state.runtime_env().object_store(&config.object_store_url)?;
        for file in config.file_groups.iter().flat_map(|group| group.iter()) {
            let metadata = metadata(state, &store, &file.object_meta).await?;
            let location = &file.object_meta.location;
            check_columns(&metadata, location.as_ref(), &wanted)?;
            let parquet = &state.config_options().execution.parquet;
            let local = config.object_store_url.as_str().starts_with("file:");
            let nanos = parquet.coerce_int96.as_deref().is_none_or(|u| u == "ns");
            if local && nanos {
                let path = LocalFileSystem::new().path_to_filesystem(location)?;
                check_times(&metadata, path, &wanted).await?;
            }
        }
        self.0.create_physical_plan(state, config).await
    }

    async fn create_writer_physical_plan(
        &self,
        input: Arc<dyn ExecutionPlan>,
        state: &dyn Session,
        config: FileSinkConfig,
        order: Option<LexRequirement>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.0
            .create_writer_physical_plan(input, state, config, order)
            .await
    }

    fn file_source(&self, table_schema: TableSchema) -> Arc<dyn FileSource> {
        self.0.file_source(table_schema)
    }
}
