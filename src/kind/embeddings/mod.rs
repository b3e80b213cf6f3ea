//! Embeddings: a row is a vector, and the user's own columns beside it.
//!
//! [`source`] reads arrays of vectors (`.npy`, `.fvecs`, `.bvecs`) as batches with one column, `v`, of
//! fixed-size lists; [`columns`] makes such lists of the variable lists that tables bring; [`import`]
//! writes either to a file, as they are or as the code that was asked for takes them; [`search`] finds
//! nearest neighbours.

pub mod columns;
mod import;
pub mod search;
mod single;
pub mod source;

pub use columns::NotFinite;
pub use import::{ImportOptions, ImportSummary, import, import_batches};

/// Name of the vector column of sources that do not name it.
pub const VECTOR_COLUMN: &str = "v";
/// Most values of a vector.
pub const MAX_DIMENSIONS: usize = 1 << 16;
