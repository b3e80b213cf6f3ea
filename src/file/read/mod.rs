//! Reading without I/O: opening a file, zone maps, scans.

mod chunk;
mod column;
mod columns;
mod fetch;
mod meta;
mod scan;
mod zones;

pub use column::{ChunkMeta, ColumnMeta, ModelMeta};
pub use columns::ColumnScan;
pub(crate) use fetch::Fetcher;
pub use meta::{DirectoryEntry, FileMeta, Opener};
pub use scan::{Near, Predicate, ROW_ID, Scan, ScanMetrics, ScanRequest};
pub use zones::{MAX_EXACT, MIN_EXACT, ZoneColumn, ZoneLoader, Zones};
