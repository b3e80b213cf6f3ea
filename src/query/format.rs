//! `.pil` as a file format of DataFusion: schema and statistics of files, scans, writes.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::common::{GetExt, Result, Statistics, not_impl_err, plan_err};
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::physical_expr::LexRequirement;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::Count;
use datafusion_datasource::TableSchema;
use datafusion_datasource::file::FileSource;
use datafusion_datasource::file_compression_type::FileCompressionType;
use datafusion_datasource::file_format::{FileFormat, FileFormatFactory};
use datafusion_datasource::file_scan_config::{FileScanConfig, FileScanConfigBuilder};
use datafusion_datasource::file_sink_config::FileSinkConfig;
use datafusion_datasource::sink::DataSinkExec;
use datafusion_datasource::source::DataSourceExec;
use datafusion_session::Session;
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectMeta, ObjectStore};

use super::config::{PilasterOptions, WriteSettings};
use super::driver::{StoredFile, external};
use super::sink::PilasterSink;
use super::source::PilasterSource;
use super::{cache, schema, statistics};
use crate::file::{FileMeta, small_floats};

/// Extension of our files, without the dot.
pub const EXTENSION: &str = "pil";

/// Makes [`PilasterFormat`]s. One is registered for `STORED AS PILASTER` and one for the extension:
/// DataFusion uses one name for both, which differ here.
#[derive(Debug)]
pub struct PilasterFormatFactory {
    name: &'static str,
}

impl PilasterFormatFactory {
    /// A factory that is found under this name.
    pub const fn named(name: &'static str) -> Self {
        Self { name }
    }
}

impl GetExt for PilasterFormatFactory {
    fn get_ext(&self) -> String {
        self.name.to_owned()
    }
}

impl FileFormatFactory for PilasterFormatFactory {
    fn create(
        &self,
        _state: &dyn Session,
        options: &HashMap<String, String>,
    ) -> Result<Arc<dyn FileFormat>> {
        Ok(Arc::new(PilasterFormat {
            settings: WriteSettings::parse(options)?,
        }))
    }

    fn default(&self) -> Arc<dyn FileFormat> {
        Arc::new(PilasterFormat::default())
    }
}

/// The file format.
#[derive(Debug, Default)]
pub struct PilasterFormat {
    settings: WriteSettings,
}

impl PilasterFormat {
    async fn open(
        &self,
        state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        object: &ObjectMeta,
    ) -> Result<(StoredFile, Arc<FileMeta>)> {
        let budget = PilasterOptions::of(state).bytes_in_flight;
        let stored = StoredFile::unmetered(store, &object.location, budget);
        let footers = footers(state);
        let meta = cache::open(&stored, object, Some(&footers), &Count::new()).await?;
        Ok((stored, meta))
    }
}

fn footers(state: &dyn Session) -> Arc<FileMetadataCache> {
    state.runtime_env().cache_manager.get_file_metadata_cache()
}

#[async_trait]
impl FileFormat for PilasterFormat {
    fn get_ext(&self) -> String {
        EXTENSION.to_owned()
    }

    fn get_ext_with_compression(&self, compression: &FileCompressionType) -> Result<String> {
        match compression.get_variant() {
            CompressionTypeVariant::UNCOMPRESSED => Ok(EXTENSION.to_owned()),
            _ => plan_err!("Pilaster files are compressed inside, not as a whole"),
        }
    }

    fn compression_type(&self) -> Option<FileCompressionType> {
        None
    }

    async fn infer_schema(
        &self,
        state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        objects: &[ObjectMeta],
    ) -> Result<SchemaRef> {
        let at_a_time = state.config_options().execution.meta_fetch_concurrency;
        let schema_of = |object: ObjectMeta| async move {
            let (_, meta) = self.open(state, store, &object).await?;
            let schema = small_floats::shown(&meta.schema().map_err(external)?);
            Ok::<_, datafusion::common::DataFusionError>((object.location.to_string(), schema))
        };
        let mut schemas: Vec<(String, SchemaRef)> = futures::stream::iter(objects.to_vec())
            .map(schema_of)
            .buffered(at_a_time.get())
            .try_collect()
            .await?;
        schemas.sort_by(|a, b| a.0.cmp(&b.0));
        schema::merge(&schemas)
    }

    async fn infer_stats(
        &self,
        state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        table_schema: SchemaRef,
        object: &ObjectMeta,
    ) -> Result<Statistics> {
        let (stored, meta) = self.open(state, store, object).await?;
        statistics::of_file(&stored, &meta, &table_schema).await
    }

    async fn create_physical_plan(
        &self,
        state: &dyn Session,
        config: FileScanConfig,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let source = match config.file_source().downcast_ref::<PilasterSource>() {
            Some(source) => source.clone(),
            None => return plan_err!("a scan of another format"),
        };
        let source = source.in_session(PilasterOptions::of(state), footers(state));
        let config = FileScanConfigBuilder::from(config)
            .with_source(Arc::new(source))
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    async fn create_writer_physical_plan(
        &self,
        input: Arc<dyn ExecutionPlan>,
        _state: &dyn Session,
        config: FileSinkConfig,
        order: Option<LexRequirement>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if config.insert_op != InsertOp::Append {
            return not_impl_err!(
                "{} is not done for Pilaster files; INSERT INTO appends a file, COPY TO writes one",
                config.insert_op
            );
        }
        let sink = PilasterSink::new(config, self.settings.clone());
        Ok(Arc::new(DataSinkExec::new(input, Arc::new(sink), order)))
    }

    fn file_source(&self, table_schema: TableSchema) -> Arc<dyn FileSource> {
        Arc::new(PilasterSource::new(table_schema))
    }
}
