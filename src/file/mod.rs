//! The `.pil` file: postscript, footer, column blocks, segments, checksums, zone maps, models; the
//! writer and the sans-IO reader. `formats/README.md` is its specification.

mod compare;
pub mod layout;
pub mod local;
pub mod machine;
mod postscript;
pub mod proto;
pub mod read;
pub mod segment;
mod shape;
mod types;
pub mod write;

pub use compare::Compare;
pub use layout::{ColumnData, ColumnRole, ColumnSpec, Layout, PlainLayout};
pub use local::{Batches, File, Memory};
pub use machine::{Machine, ReadAt, Step, drive};
pub use read::{
    ColumnMeta, ColumnScan, FileMeta, Opener, Predicate, ROW_ID, Scan, ScanMetrics, ScanRequest,
    ZoneColumn, ZoneLoader, Zones,
};
pub use write::{WriteOptions, WriteSummary, Writer};
