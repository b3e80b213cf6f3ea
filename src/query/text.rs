//! CSV and JSON lines in SQL, read and written by whoever brings [`TextFiles`]: in `FROM 't.csv'`,
//! `CREATE EXTERNAL TABLE .. STORED AS CSV`, `COPY .. TO 'x.jsonl'`.
//!
//! DataFusion's own readers drop the zeros of `0870`, round 9007199254740993 beside a fraction, and its
//! writer makes one of null and the empty text.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use async_trait::async_trait;
use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::common::{
    GetExt, Result, Statistics, config_err, exec_datafusion_err, not_impl_err,
};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::{LexOrdering, LexRequirement, PhysicalExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion_datasource::TableSchema;
use datafusion_datasource::file::FileSource;
use datafusion_datasource::file_compression_type::FileCompressionType;
use datafusion_datasource::file_format::{FileFormat, FileFormatFactory};
use datafusion_datasource::file_scan_config::FileScanConfig;
use datafusion_datasource::file_sink_config::FileSinkConfig;
use datafusion_datasource::file_stream::{FileOpenFuture, FileOpener};
use datafusion_datasource::sink::DataSinkExec;
use datafusion_datasource::source::DataSourceExec;
use datafusion_physical_expr_adapter::{
    DefaultPhysicalExprAdapterFactory, PhysicalExprAdapterFactory,
};
use datafusion_session::Session;
use futures::{FutureExt, StreamExt};
use object_store::local::LocalFileSystem;
use object_store::{ObjectMeta, ObjectStore};
use tokio::sync::mpsc;

use super::driver::external;
use super::fileplan::Rewriter;
use super::textsink::TextSink;

/// Batches that wait to be taken.
const WAITING: usize = 2;

/// Formats of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TextKind {
    /// Comma separated values.
    Csv,
    /// One JSON object a line.
    JsonLines,
}

/// What a statement says of text files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextOptions {
    /// Whether the first line names the columns of CSV.
    pub header: Option<bool>,
    /// What parts the cells of CSV.
    pub delimiter: Option<u8>,
}

/// Rows of a text file.
pub type TextRows = Box<dyn Iterator<Item = crate::Result<RecordBatch>> + Send>;

/// Makes a file that was written visible.
pub type Publish = Box<dyn FnOnce() -> crate::Result<()> + Send>;

/// Reads and writes text files.
pub trait TextFiles: fmt::Debug + Send + Sync {
    /// The columns of some files; a bounded part of them is looked at.
    fn schema(
        &self,
        kind: TextKind,
        paths: &[PathBuf],
        options: &TextOptions,
    ) -> crate::Result<SchemaRef>;

    /// The rows of a file of such columns, or of columns that a statement declares. What does not fit
    /// is an error.
    fn rows(
        &self,
        kind: TextKind,
        path: &Path,
        schema: &SchemaRef,
        options: &TextOptions,
    ) -> crate::Result<TextRows>;

    /// Writes batches until there are no more. The file is not visible before the answer was called.
    fn write(
        &self,
        kind: TextKind,
        path: &Path,
        schema: &SchemaRef,
        options: &TextOptions,
        next: &mut dyn FnMut() -> Option<RecordBatch>,
    ) -> crate::Result<Publish>;
}

/// The reader and writer of text, as an extension of a session's configuration.
#[derive(Debug, Clone)]
pub struct TextFormats(pub Arc<dyn TextFiles>);

/// Extensions of text files, and what is in them.
pub(super) const EXTENSIONS: [(&str, TextKind); 6] = [
    ("csv", TextKind::Csv),
    ("tsv", TextKind::Csv),
    ("json", TextKind::JsonLines),
    ("jsonl", TextKind::JsonLines),
    ("ndjson", TextKind::JsonLines),
    ("ldjson", TextKind::JsonLines),
];

/// Makes [`TextFormat`]s for one extension.
#[derive(Debug)]
pub(super) struct TextFormatFactory {
    pub(super) extension: &'static str,
    pub(super) kind: TextKind,
    pub(super) files: Arc<dyn TextFiles>,
}

impl GetExt for TextFormatFactory {
    fn get_ext(&self) -> String {
        self.extension.to_owned()
    }
}

impl FileFormatFactory for TextFormatFactory {
    fn create(
        &self,
        _: &dyn Session,
        options: &HashMap<String, String>,
    ) -> Result<Arc<dyn FileFormat>> {
        let mut format = self.format();
        for (key, value) in options {
            let Some(name) = key.strip_prefix("format.") else {
                continue;
            };
            match (self.kind, name) {
                (_, "compression") => format.compression = value.parse()?,
                (TextKind::Csv, "has_header") => {
                    format.options.header = match value.to_ascii_lowercase().as_str() {
                        "true" => Some(true),
                        "false" => Some(false),
                        _ => return config_err!("'{key}' is true or false, not '{value}'"),
                    };
                }
                (TextKind::Csv, "delimiter") => match value.as_bytes() {
                    [byte] => format.options.delimiter = Some(*byte),
                    _ => return config_err!("'{key}' is one letter, not '{value}'"),
                },
                (TextKind::Csv, _) => {
                    return config_err!(
                        "CSV has no option '{key}' here; there are 'format.has_header', \
                         'format.delimiter' and 'format.compression'"
                    );
                }
                (TextKind::JsonLines, _) => {
                    return config_err!(
                        "JSON lines have no option '{key}' here; there is 'format.compression'"
                    );
                }
            }
        }
        Ok(Arc::new(format))
    }

    fn default(&self) -> Arc<dyn FileFormat> {
        Arc::new(self.format())
    }
}

impl TextFormatFactory {
    fn format(&self) -> TextFormat {
        let delimiter = (self.extension == "tsv").then_some(b'\t');
        TextFormat {
            extension: self.extension,
            kind: self.kind,
            files: Arc::clone(&self.files),
            options: TextOptions {
                delimiter,
                ..TextOptions::default()
            },
            compression: FileCompressionType::UNCOMPRESSED,
        }
    }
}

/// The file format of texts.
#[derive(Debug)]
pub(super) struct TextFormat {
    extension: &'static str,
    kind: TextKind,
    files: Arc<dyn TextFiles>,
    options: TextOptions,
    compression: FileCompressionType,
}

/// Where a file lies on this machine.
fn local(path: &object_store::path::Path) -> Result<PathBuf> {
    Ok(LocalFileSystem::new().path_to_filesystem(path)?)
}

/// Texts are read from files of this machine; a store says of itself where it is.
fn check_local(store: &Arc<dyn ObjectStore>) -> Result<()> {
    match store.to_string().starts_with("LocalFileSystem") {
        true => Ok(()),
        false => not_impl_err!("CSV and JSON are read from local files; copy the files first"),
    }
}

#[async_trait]
impl FileFormat for TextFormat {
    fn get_ext(&self) -> String {
        self.extension.to_owned()
    }

    fn get_ext_with_compression(&self, compression: &FileCompressionType) -> Result<String> {
        Ok(format!("{}{}", self.extension, compression.get_ext()))
    }

    fn compression_type(&self) -> Option<FileCompressionType> {
        Some(self.compression)
    }

    async fn infer_schema(
        &self,
        _: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        objects: &[ObjectMeta],
    ) -> Result<SchemaRef> {
        if objects.is_empty() {
            return Ok(Arc::new(Schema::empty()));
        }
        check_local(store)?;
        let mut paths = objects
            .iter()
            .map(|o| local(&o.location))
            .collect::<Result<Vec<_>>>()?;
        paths.sort();
        let (files, kind, options) = (Arc::clone(&self.files), self.kind, self.options.clone());
        tokio::task::spawn_blocking(move || files.schema(kind, &paths, &options))
            .await
            .map_err(|e| exec_datafusion_err!("reading stopped: {e}"))?
            .map_err(external)
    }

    async fn infer_stats(
        &self,
        _: &dyn Session,
        _: &Arc<dyn ObjectStore>,
        table_schema: SchemaRef,
        _: &ObjectMeta,
    ) -> Result<Statistics> {
        Ok(Statistics::new_unknown(&table_schema))
    }

    async fn create_physical_plan(
        &self,
        _: &dyn Session,
        config: FileScanConfig,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(DataSourceExec::from_data_source(config))
    }

    async fn create_writer_physical_plan(
        &self,
        input: Arc<dyn ExecutionPlan>,
        _: &dyn Session,
        config: FileSinkConfig,
        order: Option<LexRequirement>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if config.insert_op != InsertOp::Append {
            return not_impl_err!("{} is not done for text files", config.insert_op);
        }
        if *self.compression.get_variant() != CompressionTypeVariant::UNCOMPRESSED {
            return not_impl_err!("text files are not compressed here; run gzip or zstd on them");
        }
        let sink = TextSink {
            config,
            kind: self.kind,
            files: Arc::clone(&self.files),
            options: self.options.clone(),
        };
        Ok(Arc::new(DataSinkExec::new(input, Arc::new(sink), order)))
    }

    fn file_source(&self, table_schema: TableSchema) -> Arc<dyn FileSource> {
        let columns: Vec<usize> = (0..table_schema.table_schema().fields().len()).collect();
        Arc::new(TextSource {
            projection: ProjectionExprs::from_indices(&columns, table_schema.table_schema()),
            table_schema,
            kind: self.kind,
            files: Arc::clone(&self.files),
            options: self.options.clone(),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }
}

/// Scan of text files.
#[derive(Debug, Clone)]
pub(super) struct TextSource {
    table_schema: TableSchema,
    projection: ProjectionExprs,
    kind: TextKind,
    files: Arc<dyn TextFiles>,
    options: TextOptions,
    metrics: ExecutionPlanMetricsSet,
}

impl TextSource {
    /// With other types for the columns that folders name.
    pub(super) fn with_partition_fields(&self, fields: &[arrow::datatypes::FieldRef]) -> Self {
        let table_schema = TableSchema::builder(Arc::clone(self.table_schema.file_schema()))
            .with_table_partition_cols(fields.to_vec())
            .build();
        Self {
            table_schema,
            ..self.clone()
        }
    }
}

impl FileSource for TextSource {
    fn create_file_opener(
        &self,
        store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        _: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        check_local(&store)?;
        let output = self
            .projection
            .project_schema(self.table_schema.table_schema())?;
        let adapters = config
            .expr_adapter_factory
            .clone()
            .unwrap_or_else(|| Arc::new(DefaultPhysicalExprAdapterFactory));
        Ok(Arc::new(TextOpener {
            source: self.clone(),
            output: Arc::new(output),
            adapters,
        }))
    }

    fn table_schema(&self) -> &TableSchema {
        &self.table_schema
    }

    fn with_batch_size(&self, _: usize) -> Arc<dyn FileSource> {
        Arc::new(self.clone())
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        Some(&self.projection)
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        &self.metrics
    }

    fn file_type(&self) -> &str {
        match self.kind {
            TextKind::Csv => "csv",
            TextKind::JsonLines => "json",
        }
    }

    fn repartitioned(
        &self,
        _: usize,
        _: usize,
        _: Option<LexOrdering>,
        _: &FileScanConfig,
    ) -> Result<Option<FileScanConfig>> {
        // A line of CSV may lie anywhere.
        Ok(None)
    }

    fn try_pushdown_projection(
        &self,
        projection: &ProjectionExprs,
    ) -> Result<Option<Arc<dyn FileSource>>> {
        let mut source = self.clone();
        source.projection = self.projection.try_merge(projection)?;
        Ok(Some(Arc::new(source)))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(
            &Arc<dyn PhysicalExpr>,
        ) -> Result<datafusion::common::tree_node::TreeNodeRecursion>,
    ) -> Result<datafusion::common::tree_node::TreeNodeRecursion> {
        use datafusion::common::tree_node::TreeNodeRecursion;
        for projected in self.projection.as_ref().iter() {
            if f(&projected.expr)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }
}

struct TextOpener {
    source: TextSource,
    output: SchemaRef,
    adapters: Arc<dyn PhysicalExprAdapterFactory>,
}

impl FileOpener for TextOpener {
    fn open(&self, file: PartitionedFile) -> Result<FileOpenFuture> {
        let source = self.source.clone();
        let (output, adapters) = (Arc::clone(&self.output), Arc::clone(&self.adapters));
        let path = local(&file.object_meta.location)?;
        Ok(async move {
            let (sender, batches) = mpsc::channel::<Result<RecordBatch>>(WAITING);
            tokio::task::spawn_blocking(move || {
                let send = |batch| sender.blocking_send(batch).is_ok();
                match Reading::open(&source, &file, &path, output, &adapters) {
                    Err(error) => {
                        send(Err(error));
                    }
                    // Ends when nobody wants more.
                    Ok(reading) => {
                        reading
                            .map(send)
                            .take_while(|wanted| *wanted)
                            .for_each(drop);
                    }
                }
            });
            let stream = futures::stream::unfold(batches, |mut batches| async {
                let batch = batches.recv().await?;
                Some((batch, batches))
            });
            Ok(stream.boxed())
        }
        .boxed())
    }
}

/// The rows of a file, in the columns that are asked for.
struct Reading {
    rows: TextRows,
    columns: Vec<usize>,
    projection: Vec<Arc<dyn PhysicalExpr>>,
    output: SchemaRef,
}

impl Reading {
    fn open(
        source: &TextSource,
        file: &PartitionedFile,
        path: &Path,
        output: SchemaRef,
        adapters: &Arc<dyn PhysicalExprAdapterFactory>,
    ) -> Result<Self> {
        let table = &source.table_schema;
        let rows = source
            .files
            .rows(source.kind, path, table.file_schema(), &source.options)
            .map_err(external)?;
        let mut rows = rows.peekable();
        // The reader says by its first batch which types it has; a file without rows has none to cast.
        let read = match rows.peek() {
            Some(Ok(batch)) => batch.schema(),
            _ => Arc::clone(table.file_schema()),
        };
        let plan = Rewriter::new(table, &file.partition_values, &read, adapters)?
            .plan(None, &source.projection)?
            .ok_or_else(|| exec_datafusion_err!("no condition was asked"))?;
        Ok(Self {
            rows: Box::new(rows),
            columns: plan.columns,
            projection: plan.projection,
            output,
        })
    }

    fn project(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let batch = batch.project(&self.columns)?;
        let columns = self
            .projection
            .iter()
            .map(|expr| expr.evaluate(&batch)?.into_array(rows))
            .collect::<Result<Vec<ArrayRef>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(&self.output),
            columns,
            &options,
        )?)
    }
}

impl Iterator for Reading {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.rows.next()?;
        Some(batch.map_err(external).and_then(|b| self.project(&b)))
    }
}

/// The schema without metadata: what a query computes is not spelled as the column it came from.
pub(super) fn plain(schema: &Schema) -> SchemaRef {
    let field = |f: &Arc<Field>| Field::new(f.name(), f.data_type().clone(), f.is_nullable());
    Arc::new(Schema::new(
        schema.fields().iter().map(field).collect::<Vec<_>>(),
    ))
}
