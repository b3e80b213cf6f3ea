//! The sample on which encodings are measured, and what its size says about the whole.
//!
//! The array is cut into equal parts and one run of consecutive values is taken at a random, seeded
//! place of each. Runs are as long as the packing block of the scalar encodings, so that deltas,
//! runs and block widths look in the sample as they do in the array; many short runs would show a
//! jump at each of their borders.

use arrow::array::{Array, ArrayRef};
use arrow::compute;

use crate::encoding::{Node, Statistics, random};
use crate::error::Result;

/// Values in a run.
const RUN: usize = 1024;
/// Fewest runs.
const MIN_RUNS: usize = 4;
/// Arrays up to this length are measured in whole.
pub const WHOLE: usize = RUN * MIN_RUNS;

/// About one per cent of an array, at least [`WHOLE`] values.
pub fn of(array: &ArrayRef) -> Result<ArrayRef> {
    let rows = array.len();
    if rows <= WHOLE {
        return Ok(ArrayRef::clone(array));
    }
    let runs = (rows / 100).div_ceil(RUN).max(MIN_RUNS);
    let part = rows / runs;
    let mut seed = rows as u64;
    let slices: Vec<ArrayRef> = (0..runs)
        .map(|i| {
            let slack = part - RUN;
            let start = i * part + (random::next(&mut seed) % (slack as u64 + 1)) as usize;
            array.slice(start, RUN)
        })
        .collect();
    let slices: Vec<&dyn Array> = slices.iter().map(|s| s.as_ref()).collect();
    Ok(compute::concat(&slices)?)
}

/// Size of the whole array's encoding, from that of the sample's.
///
/// Bytes grow with the rows, but for children of as many rows as the sample has distinct values (a
/// dictionary) or runs: those grow with the distinct values or runs of the whole, which are known.
pub fn extrapolate(node: &Node, sample: &Statistics, whole: &Statistics) -> f64 {
    let by_rows = growth(sample.rows, whole.rows);
    let own = 8.0
        + node
            .buffers
            .iter()
            .map(|b| b.len() as f64 + 3.0)
            .sum::<f64>()
            * by_rows;
    let children = node.children.iter().map(|child| {
        let factor = match child.rows {
            n if n == sample.rows => by_rows,
            n if Some(n) == sample.distinct => match whole.distinct {
                Some(all) => growth(n, all),
                None => by_rows,
            },
            n if n == sample.runs => growth(n, whole.runs),
            _ => by_rows,
        };
        child.stored_bytes() as f64 * factor
    });
    own + node.metadata.len() as f64 + children.sum::<f64>()
}

fn growth(from: usize, to: usize) -> f64 {
    to as f64 / from.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, Int32Array};
    use arrow::datatypes::Int32Type;
    use std::sync::Arc;

    #[test]
    fn a_sample_is_stratified_and_always_the_same() {
        let array: ArrayRef = Arc::new(Int32Array::from_iter_values(0..1_000_000));
        let sample = of(&array).unwrap();
        assert_eq!(sample.len(), 10 * RUN);
        let values = sample.as_primitive::<Int32Type>().values().to_vec();
        for (i, run) in values.chunks(RUN).enumerate() {
            assert!(run.windows(2).all(|w| w[1] == w[0] + 1));
            assert!((i * 100_000..(i + 1) * 100_000).contains(&(run[0] as usize)));
        }
        assert_eq!(&of(&array).unwrap(), &sample);
    }

    #[test]
    fn short_arrays_are_their_own_sample() {
        let array: ArrayRef = Arc::new(Int32Array::from_iter_values(0..WHOLE as i32));
        assert_eq!(of(&array).unwrap().len(), WHOLE);
    }
}
