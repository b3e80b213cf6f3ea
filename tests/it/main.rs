//! All integration tests, in one binary: a module a subject.

mod conformance;
mod file;
mod generate;
mod guard;
mod hostile;
mod same;
