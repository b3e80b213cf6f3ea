//! SQL over `.pil` files, through DataFusion.
//!
//! ```text
//!  FROM 'x.pil'   CREATE EXTERNAL TABLE   COPY .. TO, INSERT INTO
//!        \              |                        |
//!         table  ->  format  ------------------ sink -> file::Writer
//!                      |
//!                    source      what the plan knows: filter, projection, order wished for
//!                      |
//!                    opener      one file: pruning, reading, leftover filters, projection
//!                   /   |   \
//!           fileplan  prune  driver -> file::Scan
//! ```
//!
//! [`session`] gives a context that has everything; [`register`] adds it to an existing one.
//!
//! ```
//! # use std::sync::Arc;
//! # use arrow::array::{ArrayRef, Int64Array, RecordBatch};
//! # async fn sum() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("numbers.pil");
//! let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100_000));
//! let batch = RecordBatch::try_from_iter([("n", numbers)])?;
//! let context = pilaster::query::session()?;
//! context.register_batch("numbers", batch)?;
//! let copy = format!("COPY numbers TO '{}'", path.display());
//! context.sql(&copy).await?.collect().await?;
//!
//! let sum = format!("SELECT sum(n) FROM '{}' WHERE n < 10", path.display());
//! let batches = context.sql(&sum).await?.collect().await?;
//! assert_eq!(batches[0].column(0).as_ref(), &Int64Array::from(vec![45]));
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(sum()).unwrap();
//! ```

mod cache;
mod config;
mod distances;
mod driver;
mod fileplan;
mod files;
mod format;
mod hive;
mod metrics;
mod monotone;
mod near;
mod needles;
mod opener;
mod precise;
mod prune;
mod refuse;
mod schema;
mod search;
mod sink;
mod source;
mod split;
mod statistics;
mod table;
mod text;
mod textsink;

use std::sync::Arc;

use datafusion::catalog::DynamicFileCatalog;
use datafusion::common::Result;
use datafusion::execution::cache::cache_manager::CacheManagerConfig;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_session::SessionStore;

pub use config::{Layouts, PilasterOptions};
pub use files::FilesTable;
pub use format::{EXTENSION, PilasterFormat, PilasterFormatFactory};
pub use refuse::refuse_ignored_clauses;
pub use search::DISTANCE;
pub use sink::PilasterSink;
pub use source::PilasterSource;
pub use table::{NumberedTable, PilasterTableFactory};
pub use text::{Publish, TextFiles, TextFormats, TextKind, TextOptions, TextRows};

/// A context that reads and writes `.pil` files.
pub fn session() -> Result<SessionContext> {
    session_with(SessionConfig::new().with_information_schema(true))
}

/// Like [`session`], with a configuration of the caller's.
///
/// Its time zone is UTC unless the configuration names another: without any, DataFusion would pass over the
/// zone in `TIMESTAMPTZ '2024-01-01 00:00:00Z'`.
///
/// DataFusion's caches of listings and statistics are off: they would not see files that other
/// programs replace. Footers are cached, and checked before they are used.
pub fn session_with(mut config: SessionConfig) -> Result<SessionContext> {
    let zone = &mut config.options_mut().execution.time_zone;
    zone.get_or_insert_with(|| "+00:00".to_owned());
    let caches = CacheManagerConfig::default()
        .with_list_files_cache_limit(0)
        .with_file_statistics_cache_limit(0);
    let runtime = RuntimeEnvBuilder::new()
        .with_cache_manager(caches)
        .build_arc()?;
    let context = SessionContext::new_with_config_rt(config, runtime);
    register(&context)?;
    Ok(context)
}

/// Adds `.pil` files to a context: `FROM 'x.pil'`, `STORED AS PILASTER`, `SET pilaster.x = ..`.
///
/// Clauses of a table that DataFusion would pass over are refused from then on, `TABLESAMPLE` among them;
/// those of a whole query, such as `FOR UPDATE`, are refused by [`refuse_ignored_clauses`].
pub fn register(context: &SessionContext) -> Result<()> {
    let state = context.state_ref();
    let mut state = state.write();
    if state.get_file_format_factory(EXTENSION).is_some() {
        return Ok(());
    }
    *state = precise::with_rules(state.clone());
    let options = state.config_mut().options_mut();
    options.extensions.insert(PilasterOptions::default());
    // DataFusion 55 builds this filter from those of several MIN and MAX whose argument is a plain
    // column and whose bound is known, and leaves the others out: rows that only they need would be
    // filtered away, and since scans here apply what they are given, the answer would be wrong.
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    for name in [EXTENSION, "pilaster"] {
        state.register_file_format(Arc::new(PilasterFormatFactory::named(name)), true)?;
        state
            .table_factories_mut()
            .insert(name.to_uppercase(), Arc::new(PilasterTableFactory));
    }
    distances::register(&mut state)?;
    state.register_relation_planner(Arc::new(refuse::RefuseTables))?;
    if let Some(texts) = state.config().get_extension::<TextFormats>() {
        for (extension, kind) in text::EXTENSIONS {
            let factory = text::TextFormatFactory {
                extension,
                kind,
                files: Arc::clone(&texts.0),
            };
            state.register_file_format(Arc::new(factory), true)?;
        }
    }
    let session = SessionStore::new();
    session.with_state(context.state_weak_ref());
    let paths = Arc::new(table::PathTableFactory { session });
    let search = search::VectorSearch {
        paths: Arc::clone(&paths),
    };
    state.register_udtf("vector_search", Arc::new(search));
    let catalogs = DynamicFileCatalog::new(Arc::clone(state.catalog_list()), paths);
    state.register_catalog_list(Arc::new(catalogs));
    Ok(())
}
