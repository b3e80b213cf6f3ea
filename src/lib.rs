//! Pilaster: a columnar storage engine and file format for embeddings, KV caches, logs and tables.
#![warn(missing_docs)]

pub mod encoding;
pub mod error;
pub mod file;
pub mod kind;
#[cfg(feature = "query")]
pub mod query;

pub use error::{Error, Result};
