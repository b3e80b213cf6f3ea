//! All integration tests, in one binary: a module a subject.

#[cfg(feature = "cli")]
mod cli;
mod file;
