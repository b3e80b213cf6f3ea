//! Pilaster: a columnar storage engine and file format for data that general formats store badly:
//! embeddings, LLM KV caches, logs and cold tables.
//!
//! ```
//! use std::sync::Arc;
//! use arrow::array::{ArrayRef, Int64Array, RecordBatch};
//! use pilaster::{File, Profile, ScanRequest, WriteOptions, Writer};
//!
//! # fn main() -> pilaster::Result<()> {
//! # let directory = tempfile::tempdir().map_err(|e| pilaster::Error::io("temporary directory", e))?;
//! # let path = directory.path().join("numbers.pil");
//! let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100_000));
//! let batch = RecordBatch::try_from_iter([("n", numbers)])?;
//!
//! let options = WriteOptions { profile: Profile::Balanced, ..WriteOptions::default() };
//! let mut writer = Writer::create(&path, batch.schema(), options)?;
//! writer.write(&batch)?;
//! writer.finish()?;
//!
//! let file = File::open(&path)?;
//! let request = ScanRequest { rows: vec![10..20], ..ScanRequest::columns([0]) };
//! for batch in file.scan(request)? {
//!     assert_eq!(batch?.num_rows(), 10);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The layers, from the bottom: [`encoding`] (what an encoded array is), [`mod@file`] (the format, its
//! writer and its sans-IO reader), [`kind`] (how the user's data become columns). `ARCHITECTURE.md`
//! in the repository is the map.
#![warn(missing_docs)]

#[cfg(feature = "cli")]
pub mod cli;
pub mod encoding;
pub mod error;
pub mod file;
pub mod kind;

pub use encoding::Profile;
pub use error::{Error, Result};
pub use file::{File, ScanRequest, WriteOptions, Writer};
