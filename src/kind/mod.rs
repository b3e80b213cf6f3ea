//! The kinds of data: parsing the user's input, the recipe from columns to encodings, typed readers.

pub mod embeddings;
pub mod kv;
pub mod logs;
pub mod tables;
