//! Pilaster: a columnar storage engine and file format for data that general formats store badly:
//! embeddings, LLM KV caches, logs and cold tables.
//!
//! ```
//! use arrow::array::{ArrayRef, Int64Array, RecordBatch, create_array};
//! use pilaster::{Compare, CompareOp, File, ScanRequest, WriteOptions, Writer};
//!
//! # fn main() -> pilaster::Result<()> {
//! # let folder = tempfile::tempdir().map_err(|e| pilaster::Error::io("temporary directory", e))?;
//! # let path = folder.path().join("towns.pil");
//! let towns = RecordBatch::try_from_iter([
//!     ("town", create_array!(Utf8, ["Chur", "Bern", "Basel"]) as ArrayRef),
//!     ("people", create_array!(Int64, [38_000, 134_000, 177_000])),
//! ])?;
//! let mut writer = Writer::create(&path, towns.schema(), WriteOptions::default())?;
//! writer.write(&towns)?;
//! writer.finish()?;
//!
//! let file = File::open(&path)?;
//! let large = Compare::new(&file, 1, CompareOp::Gt, &Int64Array::new_scalar(100_000))?;
//! for batch in file.scan(ScanRequest::columns([0]).filter(large))? {
//!     assert_eq!(batch?.num_rows(), 2); // Bern and Basel
//! }
//! # #[cfg(feature = "query")]
//! # let _ = async {
//! // With the feature `query`, files are tables of a DataFusion session.
//! let context = datafusion::prelude::SessionContext::new();
//! pilaster::query::register(&context)?;
//! context.sql("SELECT max(people) FROM 'towns.pil'").await?.show().await?;
//! # Ok::<(), datafusion::error::DataFusionError>(())
//! # };
//! # Ok(())
//! # }
//! ```
//!
//! The layers, from the bottom: [`encoding`] (what an encoded array is), [`mod@file`] (the format, its
//! writer and its sans-IO reader), [`kind`] (how the user's data become columns), `query` (SQL through
//! DataFusion). `ARCHITECTURE.md` in the repository is the map.
#![warn(missing_docs)]

#[cfg(feature = "cli")]
pub mod cli;
pub mod encoding;
pub mod error;
pub mod file;
pub mod kind;
#[cfg(feature = "cli")]
mod parquets;
#[cfg(feature = "query")]
pub mod query;
#[cfg(all(feature = "query", feature = "sources"))]
mod texts;

pub use encoding::{CompareOp, Profile};
pub use error::{Error, Result};
pub use file::{Compare, File, ScanRequest, WriteOptions, WriteSummary, Writer};

/// A DataFusion session that reads and writes `.pil` files in SQL; tables that are written with the
/// archive profile are coded across columns. CSV and JSON lines are read and written as `import` and
/// `export` do it (feature `sources`).
///
/// ```
/// # use datafusion::prelude::SessionConfig;
/// # async fn run() -> datafusion::common::Result<()> {
/// let session = pilaster::session(SessionConfig::new())?;
/// let answer = session.sql("SELECT 6 * 7").await?.collect().await?;
/// # assert_eq!(answer[0].num_rows(), 1);
/// # Ok(())
/// # }
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run()).unwrap();
/// ```
#[cfg(feature = "query")]
pub fn session(
    config: datafusion::prelude::SessionConfig,
) -> datafusion::common::Result<datafusion::prelude::SessionContext> {
    let layouts = query::Layouts(kind::tables::layout::layout_for);
    let config = config.with_extension(std::sync::Arc::new(layouts));
    #[cfg(feature = "sources")]
    let config = {
        let texts = query::TextFormats(std::sync::Arc::new(texts::TableTexts));
        config.with_extension(std::sync::Arc::new(texts))
    };
    let context = query::session_with(config)?;
    #[cfg(feature = "cli")]
    parquets::register(&context)?;
    Ok(context)
}
