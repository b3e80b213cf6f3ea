//! Logs: any text, line by line, restored to the byte; columns that people ask for; search.
//!
//! A row is a line. The hidden column [`TEXT`] holds the exact bytes of each line with its
//! terminator; all that users see of a line (`line`, `timestamp`, ...) is derived from it and takes
//! no bytes of its own.

pub mod grep;
mod import;
mod input;
mod layout;
mod restore;
pub mod source;
mod templates;

pub use grep::{GrepOptions, grep};
pub use import::{ImportOptions, ImportSummary, NamedReader, import, import_into};
pub use input::LineReader;
pub use layout::LogLayout;
pub use restore::{StoredLines, StoredSource, restore};
pub use templates::{TemplateCount, templates};

/// Name of the hidden column of exact lines.
pub const TEXT: &str = "$text";
