//! Exact nearest neighbours over the decoded vectors of a column.
//!
//! The answer is exact for the values that the column stores, which for lossy codes are not those that
//! were given. Bounds on the codes decide which rows are decoded at all. Rows that tie are ordered by
//! their number. Null vectors, and those whose distance is no number, are never among the answers; a
//! zero vector has cosine distance 1 from everything; if there are fewer than `k` rows, all come.

use arrow::buffer::BooleanBuffer;

pub use crate::encoding::distance::{Metric, Neighbour, Query};
use crate::error::Result;
use crate::file::File;

/// The `k` rows nearest to a query, the nearest first; all rows if there are fewer. `column` is the place
/// of a shown column of fixed-size lists. Fails if the query has another dimension or is not finite.
pub fn nearest(
    file: &File,
    column: usize,
    query: &[f32],
    k: usize,
    metric: Metric,
) -> Result<Vec<Neighbour>> {
    file.nearest(column, &Query::new(metric, query)?, k, None)
}

/// The same among the rows whose bit is set.
pub fn nearest_of(
    file: &File,
    column: usize,
    query: &[f32],
    k: usize,
    metric: Metric,
    rows: &BooleanBuffer,
) -> Result<Vec<Neighbour>> {
    file.nearest(column, &Query::new(metric, query)?, k, Some(rows))
}
