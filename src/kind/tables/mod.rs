//! Tables: sources, exports and the layout that codes cold tables across columns.

#[cfg(feature = "sources")]
pub mod export;
#[cfg(feature = "sources")]
mod import;
pub mod layout;
#[cfg(feature = "sources")]
mod retype;
#[cfg(feature = "sources")]
mod sort;
#[cfg(feature = "sources")]
pub mod source;
pub mod typing;

#[cfg(feature = "sources")]
pub use export::{ExportOptions, ExportSummary, export};
#[cfg(feature = "sources")]
pub use import::{
    IMPORT_MEMORY, ImportOptions, ImportPhase, ImportProgress, ImportSummary, import,
};
