//! The `.pil` file: postscript, footer, column blocks, segments, checksums, zone maps, models; the
//! writer and the sans-IO reader. `formats/README.md` is its specification.

pub mod anatomy;
mod arrays;
mod compare;
mod fingerprint;
pub mod layout;
pub mod local;
pub mod machine;
pub mod nearest;
mod postscript;
pub mod proto;
pub mod read;
pub mod segment;
mod shape;
#[cfg(any(feature = "query", feature = "sources"))]
pub(crate) mod small_floats;
mod types;
mod verify;
pub mod write;

pub use anatomy::{Anatomy, ColumnAnatomy, Parts, TreeAnatomy};
pub use compare::Compare;
pub use layout::{ColumnData, ColumnRole, ColumnSpec, Layout, PlainLayout};
pub use local::{Batches, File, Memory};
#[cfg(feature = "query")]
pub(crate) use machine::merged;
pub use machine::{Machine, ReadAt, Step, drive};
pub use nearest::VectorColumn;
#[cfg(feature = "query")]
pub(crate) use postscript::{POSTSCRIPT_LEN, Postscript};
pub use read::{
    ColumnMeta, ColumnScan, FileMeta, MAX_EXACT, MIN_EXACT, Near, Opener, Predicate, ROW_ID, Scan,
    ScanMetrics, ScanRequest, ZoneColumn, ZoneLoader, Zones,
};
pub use verify::VerifyReport;
pub use write::{CompleteFile, WriteOptions, WriteSummary, Writer};
