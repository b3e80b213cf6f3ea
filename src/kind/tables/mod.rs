//! Tables: sources, exports and the layout that codes cold tables across columns.

#[cfg(feature = "sources")]
pub mod export;
#[cfg(feature = "sources")]
pub mod source;
