//! All integration tests, in one binary: a module a subject.

#[cfg(feature = "cli")]
mod cli;
mod conformance;
#[cfg(feature = "sources")]
mod exchange;
mod file;
mod generate;
mod golden;
mod guard;
mod hostile;
mod kv;
mod logs;
mod pages;
mod real_grep;
mod real_logs;
#[cfg(feature = "sources")]
mod real_tables;
mod same;
#[cfg(feature = "query")]
mod sql;
mod storage;
mod vectors;
