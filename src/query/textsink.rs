//! `COPY .. TO 'x.csv'`: text files, none of them visible before the whole input has arrived.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::common::{Result, exec_datafusion_err, not_impl_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType};
use datafusion_datasource::file_sink_config::FileSinkConfig;
use datafusion_datasource::sink::DataSink;
use datafusion_datasource::write::get_writer_schema;
use futures::StreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::driver::external;
use super::hive;
use super::sink::unique;
use super::text::{Publish, TextFiles, TextKind, TextOptions, plain};

/// Batches that wait for a file.
const WAITING: usize = 2;

/// Writes text files.
#[derive(Debug)]
pub(super) struct TextSink {
    pub(super) config: FileSinkConfig,
    pub(super) kind: TextKind,
    pub(super) files: Arc<dyn TextFiles>,
    pub(super) options: TextOptions,
}

type Written = Result<(Publish, u64)>;

impl TextSink {
    /// Writes what comes to a file, on a thread that may block.
    fn start(
        &self,
        tasks: &mut JoinSet<Written>,
        path: &Path,
        mut batches: mpsc::Receiver<RecordBatch>,
    ) -> Result<()> {
        let path = LocalFileSystem::new().path_to_filesystem(path)?;
        let schema = plain(&get_writer_schema(&self.config));
        let (files, kind, options) = (Arc::clone(&self.files), self.kind, self.options.clone());
        tasks.spawn_blocking(move || {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            let mut rows = 0;
            let mut next = || {
                let batch = batches.blocking_recv()?;
                rows += batch.num_rows() as u64;
                Some(batch)
            };
            let publish = files
                .write(kind, &path, &schema, &options, &mut next)
                .map_err(external)?;
            Ok((publish, rows))
        });
        Ok(())
    }

    async fn one_file(
        &self,
        mut data: SendableRecordBatchStream,
        tasks: &mut JoinSet<Written>,
    ) -> Result<()> {
        let target = self
            .config
            .table_paths
            .first()
            .ok_or_else(|| exec_datafusion_err!("nowhere to write to"))?;
        let single = self.config.file_output_mode.single_file_output(target);
        let path = match single {
            true => target.prefix().clone(),
            false => {
                target
                    .prefix()
                    .clone()
                    .join(format!("{}.{}", unique(), self.config.file_extension))
            }
        };
        let (sender, batches) = mpsc::channel(WAITING);
        let mut waiting = Some(batches);
        if single && let Some(batches) = waiting.take() {
            self.start(tasks, &path, batches)?;
        }
        while let Some(batch) = data.next().await.transpose()? {
            // A folder without rows gets no file.
            if let Some(batches) = waiting.take() {
                self.start(tasks, &path, batches)?;
            }
            // A writer that has ended says itself why.
            if sender.send(batch).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl DataSink for TextSink {
    fn schema(&self) -> &SchemaRef {
        self.config.output_schema()
    }

    async fn write_all(
        &self,
        data: SendableRecordBatchStream,
        _: &Arc<TaskContext>,
    ) -> Result<u64> {
        if !self.config.object_store_url.as_str().starts_with("file:") {
            return not_impl_err!("CSV and JSON are written to local files");
        }
        let mut tasks = JoinSet::new();
        match self.config.table_partition_cols.is_empty() {
            true => self.one_file(data, &mut tasks).await?,
            false => {
                let (dealing, mut files) = hive::deal(&self.config, unique(), data)?;
                while let Some((path, batches)) = files.recv().await {
                    self.start(&mut tasks, &path, batches)?;
                }
                let ended = dealing.join_unwind().await;
                ended.map_err(|e| exec_datafusion_err!("the input stopped: {e}"))??;
            }
        }
        let mut written = Vec::new();
        while let Some(file) = tasks.join_next().await {
            written.push(file.map_err(|e| exec_datafusion_err!("writing stopped: {e}"))??);
        }
        let mut rows = 0;
        for (publish, own) in written {
            publish().map_err(external)?;
            rows += own;
        }
        Ok(rows)
    }
}

impl DisplayAs for TextSink {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TextSink(target={})", self.config.original_url)
    }
}
