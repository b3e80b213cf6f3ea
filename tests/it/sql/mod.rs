//! SQL over `.pil` files, held against DataFusion over the same rows in memory.

mod compare;
mod differential;
mod distance;
mod evolution;
mod exact;
mod explain;
mod generate;
mod kv;
mod logs;
mod nested;
mod order;
#[cfg(feature = "cli")]
mod pairs;
#[cfg(feature = "cli")]
mod parquets;
mod partitions;
mod pushdown;
mod registration;
mod row_id;
mod statistics;
mod texts;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use pilaster::file::Layout;
use pilaster::kind::tables::layout::ArchiveLayout;
use pilaster::{Profile, WriteOptions, Writer};
use tempfile::TempDir;

/// A session with this many partitions.
fn session(partitions: usize) -> SessionContext {
    let config = SessionConfig::new()
        .with_target_partitions(partitions)
        .with_information_schema(true);
    pilaster::session(config).unwrap()
}

/// A session without our format, for comparison.
fn memory(partitions: usize) -> SessionContext {
    SessionContext::new_with_config(SessionConfig::new().with_target_partitions(partitions))
}

fn memory_table(context: &SessionContext, name: &str, batches: &[RecordBatch]) {
    let schema = batches[0].schema();
    let table = MemTable::try_new(schema, vec![batches.to_vec()]).unwrap();
    context.register_table(name, Arc::new(table)).unwrap();
}

/// Writes batches to a file.
fn write(path: &Path, schema: &SchemaRef, batches: &[RecordBatch], profile: Profile) {
    let layout: Option<Box<dyn Layout>> = match profile {
        Profile::Archive => Some(Box::new(ArchiveLayout::default())),
        _ => None,
    };
    let options = WriteOptions {
        profile,
        layout,
        ..WriteOptions::default()
    };
    let mut writer = Writer::create(path, Arc::clone(schema), options).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.finish().unwrap();
}

/// A folder that goes away with the test.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A path as SQL writes it.
    fn sql(&self, name: &str) -> String {
        format!("'{}'", self.path(name).display())
    }

    /// Writes one file of batches and gives its path as SQL writes it.
    fn file(&self, name: &str, batches: &[RecordBatch]) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        write(&path, &batches[0].schema(), batches, Profile::Balanced);
        self.sql(name)
    }

    /// Names of the files in a folder.
    fn names(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.path(folder))
            .map(|entries| {
                entries
                    .map(|e| e.unwrap().file_name().into_string().unwrap())
                    .collect()
            })
            .unwrap_or_default();
        names.sort();
        names
    }
}

async fn run(context: &SessionContext, sql: &str) -> Vec<RecordBatch> {
    match try_run(context, sql).await {
        Ok(batches) => batches,
        Err(error) => panic!("{sql}: {error}"),
    }
}

async fn try_run(
    context: &SessionContext,
    sql: &str,
) -> datafusion::common::Result<Vec<RecordBatch>> {
    context.sql(sql).await?.collect().await
}

async fn error(context: &SessionContext, sql: &str) -> String {
    match try_run(context, sql).await {
        Ok(_) => panic!("{sql}: no error"),
        Err(error) => error.to_string(),
    }
}

/// The one number that a query gives.
async fn number(context: &SessionContext, sql: &str) -> i64 {
    let batches = run(context, sql).await;
    let rows = compare::rows(&batches);
    assert_eq!(rows.len(), 1, "{sql}");
    rows[0]
        .parse()
        .unwrap_or_else(|_| panic!("{sql}: {}", rows[0]))
}

/// The rows of a query, in order, values parted by `|`.
async fn rows(context: &SessionContext, sql: &str) -> Vec<String> {
    compare::rows(&run(context, sql).await)
}

/// The physical plan as text.
async fn plan(context: &SessionContext, sql: &str) -> String {
    let rows = rows(context, &format!("EXPLAIN FORMAT INDENT {sql}")).await;
    rows.into_iter()
        .find(|r| r.starts_with("physical_plan"))
        .unwrap_or_default()
}
