//! Pilaster: a columnar storage engine and file format for embeddings, KV caches, logs and tables.
#![warn(missing_docs)]

#[cfg(feature = "cli")]
pub mod cli;
pub mod encoding;
pub mod error;
pub mod file;
pub mod kind;

pub use error::{Error, Result};
