//! Exact nearest neighbours over the decoded vectors of a column.
//!
//! All rows are looked at: the answer is exact for the values that the column stores, which for lossy
//! codes are not those that were given. Rows that tie are ordered by their number.

use std::collections::BinaryHeap;

use arrow::array::*;
use arrow::compute;
use arrow::datatypes::{DataType, Float32Type};

use crate::error::{Error, Result};
use crate::file::{File, ScanRequest};

/// Lanes of the sums: as many as the widest vector registers in use hold. The order of summation is
/// part of the result, so it is the same on all machines.
const LANES: usize = 16;

/// How far apart two vectors are; less is nearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Euclidean distance.
    L2,
    /// The negative inner product.
    InnerProduct,
    /// One less the cosine; 1 if one of the vectors is zero.
    Cosine,
}

impl Metric {
    /// Distance of two vectors of one dimension.
    pub fn distance(self, a: &[f32], b: &[f32]) -> f32 {
        match self {
            Metric::L2 => sum(a, b, |x, y| (x - y) * (x - y)).sqrt(),
            Metric::InnerProduct => -sum(a, b, |x, y| x * y),
            Metric::Cosine => {
                let square = |v: &[f32]| sum(v, v, |x, y| x * y);
                match (square(a) * square(b)).sqrt() {
                    norms if norms > 0.0 => 1.0 - sum(a, b, |x, y| x * y) / norms,
                    _ => 1.0,
                }
            }
        }
    }
}

fn sum(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (x, y) in a.iter().zip(b) {
        for i in 0..LANES {
            lanes[i] += term(x[i], y[i]);
        }
    }
    for (i, (x, y)) in a_rest.iter().zip(b_rest).enumerate() {
        lanes[i] += term(*x, *y);
    }
    lanes.into_iter().sum()
}

/// A row and its distance from the query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbour {
    /// Number of the row in the file.
    pub row: u64,
    /// Distance, in the metric that was asked for.
    pub distance: f32,
}

impl Eq for Neighbour {}

impl Ord for Neighbour {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let by_row = self.row.cmp(&other.row);
        self.distance.total_cmp(&other.distance).then(by_row)
    }
}

impl PartialOrd for Neighbour {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The `k` rows nearest to a query, the nearest first; all rows if there are fewer. Null vectors, and
/// those whose distance is no number, are never among them. `column` is the place of a shown column of
/// fixed-size lists. Fails if the query has another dimension or is not finite.
pub fn nearest(
    file: &File,
    column: usize,
    query: &[f32],
    k: usize,
    metric: Metric,
) -> Result<Vec<Neighbour>> {
    let schema = file.meta().schema()?;
    let field = schema
        .fields()
        .get(column)
        .ok_or_else(|| Error::invalid(format!("the file has no column {column}")))?;
    match field.data_type() {
        DataType::FixedSizeList(_, size) if *size as usize == query.len() => {}
        DataType::FixedSizeList(_, size) => {
            return Err(Error::invalid(format!(
                "the query has {} values, the vectors of column '{}' have {size}",
                query.len(),
                field.name()
            )));
        }
        other => {
            return Err(Error::invalid(format!(
                "column '{}' of type {other} holds no vectors",
                field.name()
            )));
        }
    }
    if let Some(i) = query.iter().position(|v| !v.is_finite()) {
        return Err(Error::invalid(format!(
            "value {i} of the query is {}",
            query[i]
        )));
    }
    // The worst of the best on top.
    let mut best: BinaryHeap<Neighbour> = BinaryHeap::new();
    let mut first = 0u64;
    for batch in file.scan(ScanRequest::columns([column]))? {
        let batch = batch?;
        let list = batch.column(0).as_fixed_size_list();
        let values = compute::cast(list.values(), &DataType::Float32)?;
        let values = values.as_primitive::<Float32Type>().values();
        for i in (0..list.len()).filter(|i| list.is_valid(*i)) {
            let start = list.value_offset(i) as usize;
            let distance = metric.distance(&values[start..start + query.len()], query);
            let row = first + i as u64;
            let found = Neighbour { row, distance };
            if distance.is_nan() {
                continue;
            }
            if best.len() < k {
                best.push(found);
            } else if best.peek().is_some_and(|worst| found < *worst) {
                best.pop();
                best.push(found);
            }
        }
        first += batch.num_rows() as u64;
    }
    Ok(best.into_sorted_vec())
}
