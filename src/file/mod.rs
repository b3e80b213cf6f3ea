//! The `.pil` file: postscript, footer, column blocks, segments, checksums, zone maps, models; the
//! writer and the sans-IO reader. `formats/README.md` is its specification.

pub mod layout;

pub use layout::{ColumnData, ColumnRole, ColumnSpec, Layout, PlainLayout};
