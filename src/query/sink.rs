//! `COPY TO` and `INSERT INTO`.
//!
//! Rows go to one file after the other, in the order in which they come; only a write that is
//! partitioned by columns has several files open. Nothing is published before the whole input has
//! arrived without an error, and each file appears at once, by the writer's atomic publish.

use std::fmt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType};
use datafusion_datasource::file_sink_config::{FileSink, FileSinkConfig};
use datafusion_datasource::sink::DataSink;
use datafusion_datasource::write::demux::DemuxedStreamReceiver;
use datafusion_datasource::write::get_writer_schema;
use futures::StreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart};
use tokio::task::JoinSet;

use super::config::{Layouts, WriteSettings};
use super::driver::external;
use super::format::EXTENSION;
use super::hive;
use crate::file::{CompleteFile, Writer, small_floats};

/// Piece of an upload to a remote store.
const UPLOAD_BYTES: usize = 8 << 20;

/// Writes `.pil` files.
#[derive(Debug)]
pub struct PilasterSink {
    config: FileSinkConfig,
    settings: WriteSettings,
}

impl PilasterSink {
    pub(crate) fn new(config: FileSinkConfig, settings: WriteSettings) -> Self {
        Self { config, settings }
    }

    async fn file(
        &self,
        store: &Arc<dyn ObjectStore>,
        path: &Path,
        context: &TaskContext,
    ) -> Result<Pending> {
        let local = self.config.object_store_url.as_str().starts_with("file:");
        let (target, upload) = match local {
            true => (LocalFileSystem::new().path_to_filesystem(path)?, None),
            false => {
                let name = format!("pilaster-{}.{EXTENSION}", unique());
                let target = std::env::temp_dir().join(name);
                (target, Some((Arc::clone(store), path.clone())))
            }
        };
        let numbers = get_writer_schema(&self.config);
        let schema = small_floats::stored(&numbers);
        let layouts = context.session_config().get_extension::<Layouts>();
        let options = self.settings.write_options(layouts.as_deref());
        let writer = blocking({
            let (target, schema) = (target.clone(), Arc::clone(&schema));
            move || {
                if let Some(folder) = target.parent() {
                    std::fs::create_dir_all(folder)?;
                }
                Writer::create(&target, schema, options).map_err(external)
            }
        })
        .await?;
        Ok(Pending {
            numbers,
            schema,
            writer,
            target,
            upload,
        })
    }

    /// Writes everything, one file at a time.
    async fn write_in_order(
        &self,
        mut data: SendableRecordBatchStream,
        context: &Arc<TaskContext>,
    ) -> Result<u64> {
        let config = &self.config;
        let store = context
            .runtime_env()
            .object_store(&config.object_store_url)?;
        let target = config
            .table_paths
            .first()
            .ok_or_else(|| exec_datafusion_err!("nowhere to write to"))?;
        let single = config.file_output_mode.single_file_output(target);
        let most = context
            .session_config()
            .options()
            .execution
            .soft_max_rows_per_output_file
            .get();
        let name = unique();
        let path_of = |part: usize| match single {
            true => target.prefix().clone(),
            false => target
                .prefix()
                .clone()
                .join(format!("{name}_{part:04}.{EXTENSION}")),
        };
        let mut files = Vec::new();
        let mut rows_in_file = 0;
        if single {
            files.push(self.file(&store, &path_of(0), context).await?);
        }
        while let Some(batch) = data.next().await.transpose()? {
            if batch.num_rows() == 0 {
                continue;
            }
            if files.is_empty() || (!single && rows_in_file >= most) {
                files.push(self.file(&store, &path_of(files.len()), context).await?);
                rows_in_file = 0;
            }
            rows_in_file += batch.num_rows();
            if let Some(file) = files.pop() {
                files.push(file.write(batch).await?);
            }
        }
        publish(files).await
    }
}

/// A file that is being written.
struct Pending {
    /// The fields of what comes, and those of the file.
    numbers: SchemaRef,
    schema: SchemaRef,
    writer: Writer,
    target: PathBuf,
    upload: Option<(Arc<dyn ObjectStore>, Path)>,
}

impl Pending {
    /// Encodes a batch on a thread that may block.
    async fn write(mut self, batch: RecordBatch) -> Result<Self> {
        blocking(move || {
            // Plans are loose about nullability and metadata of fields; the writer looks at types and
            // nulls itself.
            let batch =
                small_floats::converted(&batch, &self.numbers, &self.schema).map_err(external)?;
            self.writer.write(&batch).map_err(external)?;
            Ok(self)
        })
        .await
    }

    /// Writes the file to its end.
    async fn complete(self) -> Result<Complete> {
        let writer = self.writer;
        let file = blocking(move || writer.complete().map_err(external)).await?;
        Ok(Complete {
            file,
            place: Place {
                target: self.target,
                upload: self.upload,
            },
        })
    }
}

/// A file that only needs its name.
struct Complete {
    file: CompleteFile,
    place: Place,
}

/// Where a file goes: to a path, or by a path to an object store.
struct Place {
    target: PathBuf,
    upload: Option<(Arc<dyn ObjectStore>, Path)>,
}

impl Complete {
    async fn publish(self) -> Result<(u64, Place)> {
        let Self { file, place } = self;
        let summary = blocking(move || file.publish().map_err(external)).await?;
        if let Some((store, path)) = &place.upload {
            let sent = send(&place.target, store.as_ref(), path).await;
            std::fs::remove_file(&place.target)?;
            sent?;
        }
        Ok((summary.rows, place))
    }
}

impl Place {
    /// Takes a file away again, as far as that can be done.
    async fn take_back(self) {
        let _ = match self.upload {
            Some((store, path)) => store.delete(&path).await.is_ok(),
            None => std::fs::remove_file(&self.target).is_ok(),
        };
    }
}

/// Makes files visible: none before all are written to their end, and all or none.
async fn publish(files: Vec<Pending>) -> Result<u64> {
    let mut complete = Vec::with_capacity(files.len());
    for file in files {
        complete.push(file.complete().await?);
    }
    let mut rows = 0;
    let mut visible: Vec<Place> = Vec::new();
    for file in complete {
        match file.publish().await {
            Ok((own, place)) => {
                rows += own;
                visible.push(place);
            }
            Err(e) => {
                // Where there are several their names are new, so nothing else goes with them.
                for place in visible {
                    place.take_back().await;
                }
                return Err(e);
            }
        }
    }
    Ok(rows)
}

/// Uploads a file; it appears in the store when the upload is complete.
async fn send(file: &FilePath, store: &dyn ObjectStore, path: &Path) -> Result<()> {
    use std::io::Read;
    let mut upload = WriteMultipart::new(store.put_multipart(path).await?);
    let mut source = std::fs::File::open(file)?;
    loop {
        let mut piece = Vec::with_capacity(UPLOAD_BYTES);
        let read = source
            .by_ref()
            .take(UPLOAD_BYTES as u64)
            .read_to_end(&mut piece)?;
        if read == 0 {
            break;
        }
        upload.wait_for_capacity(4).await?;
        upload.put(piece.into());
    }
    upload.finish().await?;
    Ok(())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| exec_datafusion_err!("writing stopped: {e}"))?
}

/// A name that no other write has, and that sorts by time.
pub(super) fn unique() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = now.map_or(0, |d| d.as_nanos() as u64);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{nanos:016x}-{:x}-{count:x}", std::process::id())
}

#[async_trait]
impl FileSink for PilasterSink {
    fn config(&self) -> &FileSinkConfig {
        &self.config
    }

    async fn spawn_writer_tasks_and_join(
        &self,
        context: &Arc<TaskContext>,
        demux: datafusion::common::runtime::SpawnedTask<Result<()>>,
        mut streams: DemuxedStreamReceiver,
        store: Arc<dyn ObjectStore>,
    ) -> Result<u64> {
        let mut tasks: JoinSet<Result<Pending>> = JoinSet::new();
        while let Some((path, mut batches)) = streams.recv().await {
            let mut file = self.file(&store, &path, context).await?;
            tasks.spawn(async move {
                while let Some(batch) = batches.recv().await {
                    file = file.write(batch).await?;
                }
                Ok(file)
            });
        }
        let mut files = Vec::new();
        while let Some(file) = tasks.join_next().await {
            files.push(file.map_err(|e| exec_datafusion_err!("writing stopped: {e}"))??);
        }
        // Streams end early when the input fails: only now is it known that they are complete.
        demux
            .join_unwind()
            .await
            .map_err(|e| exec_datafusion_err!("the input stopped: {e}"))??;
        publish(files).await
    }
}

impl DisplayAs for PilasterSink {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match t {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(f, "PilasterSink(target={})", self.config.original_url)
            }
            DisplayFormatType::TreeRender => {
                writeln!(f, "format: pilaster")?;
                write!(f, "file={}", self.config.original_url)
            }
        }
    }
}

#[async_trait]
impl DataSink for PilasterSink {
    fn schema(&self) -> &SchemaRef {
        self.config.output_schema()
    }

    async fn write_all(
        &self,
        data: SendableRecordBatchStream,
        context: &Arc<TaskContext>,
    ) -> Result<u64> {
        match self.config.table_partition_cols.is_empty() {
            true => self.write_in_order(data, context).await,
            false => {
                let (task, files) = hive::deal(&self.config, unique(), data)?;
                let store = context
                    .runtime_env()
                    .object_store(&self.config.object_store_url)?;
                self.spawn_writer_tasks_and_join(context, task, files, store)
                    .await
            }
        }
    }
}
