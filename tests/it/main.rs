//! All integration tests, in one binary: a module a subject.

mod file;
#[cfg(feature = "query")]
mod sql;
