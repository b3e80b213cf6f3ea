//! All integration tests, in one binary: a module a subject.

#[cfg(feature = "cli")]
mod cli;
mod conformance;
mod file;
mod generate;
mod guard;
mod hostile;
mod same;
#[cfg(feature = "sources")]
mod real_tables;
