//! The integration tests, in one binary: dependencies are linked once.

mod conformance;
mod generate;
mod guard;
mod hostile;
mod same;
