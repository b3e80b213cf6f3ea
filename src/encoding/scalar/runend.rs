//! `pilaster.runend.v1`: runs of equal values.
//!
//! Child 0 says for each run where it ends (one past its last row, ascending), child 1 what its
//! value is. The last run ends at the last row.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::BooleanBuffer;
use arrow::compute;
use arrow::datatypes::*;

use crate::encoding::words::{self, Word, for_word};
use crate::encoding::{
    Access, CompareOp, DecodeContext, EncodeContext, Encoding, Node, Profile, Reads, Role,
    Selection, Statistics, Verdict, gather, physical,
};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct RunEnd;

const ID: &str = "pilaster.runend.v1";

impl Encoding for RunEnd {
    fn id(&self) -> &'static str {
        ID
    }

    fn access(&self) -> Access {
        Access::Block
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        physical::is_leaf(data_type)
    }

    fn estimate(&self, statistics: &Statistics, _: Profile) -> Verdict {
        match statistics.runs > 1 && statistics.rows / statistics.runs >= 4 {
            true => Verdict::Measure,
            false => Verdict::Skip,
        }
    }

    fn encode(&self, array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        if array.is_empty() {
            return Ok(None);
        }
        let ends = run_ends(array);
        let last_rows: UInt32Array = ends.iter().map(|&end| end - 1).collect();
        let values = compute::take(array, &last_rows, None)?;
        let ends: ArrayRef = Arc::new(UInt32Array::from(ends));
        let ends = context.child(ID, &ends, Role::Sorted)?;
        let values = context.child(ID, &values, Role::Values)?;
        Ok(Some(
            Node::new(ID, array.len())
                .with_child(ends)
                .with_child(values),
        ))
    }

    fn decode(
        &self,
        node: &Node,
        data_type: &DataType,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        let ends = stored_ends(node, context)?;
        let values = context.decode_all(node.child_of(1, ends.len())?, data_type)?;
        let lengths = lengths(&ends);
        expand(&values, &lengths, node.rows, context)
    }

    fn decode_selection(
        &self,
        node: &Node,
        data_type: &DataType,
        selection: &Selection,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        let ends = stored_ends(node, context)?;
        let bounds = selection.bounds(node.rows);
        // Runs that hold a selected row, and how many selected rows each holds.
        let mut run = ends.partition_point(|&end| end as usize <= bounds.start);
        let (mut runs, mut counts) = (Vec::new(), Vec::new());
        for row in selection.iter(node.rows) {
            while ends[run] as usize <= row {
                run += 1;
            }
            match runs.last() == Some(&(run as u32)) {
                true => counts[runs.len() - 1] += 1,
                false => {
                    runs.push(run as u32);
                    counts.push(1);
                }
            }
        }
        let runs = Selection::indices(runs)?;
        let values = context.decode(node.child_of(1, ends.len())?, data_type, &runs)?;
        expand(&values, &counts, selection.count(node.rows), context)
    }

    fn compare(
        &self,
        node: &Node,
        data_type: &DataType,
        op: CompareOp,
        value: &Scalar<ArrayRef>,
        context: &DecodeContext<'_>,
    ) -> Result<BooleanArray> {
        let ends = stored_ends(node, context)?;
        let answers = context.compare(node.child_of(1, ends.len())?, data_type, op, value)?;
        if answers.null_count() > 0 {
            return Ok(BooleanArray::new_null(node.rows));
        }
        let answers: ArrayRef = Arc::new(answers);
        let expanded = expand(&answers, &lengths(&ends), node.rows, context)?;
        Ok(expanded.as_boolean().clone())
    }

    fn reads(&self, _: &Node, _: &Selection) -> Reads {
        // Which values are needed is known only when the ends are.
        Reads::All
    }
}

/// One past the last row of each run.
fn run_ends(array: &ArrayRef) -> Vec<u32> {
    fn of<T: PartialEq>(rows: usize, value: impl Fn(usize) -> T) -> Vec<u32> {
        let mut ends: Vec<u32> = (1..rows)
            .filter(|&i| value(i) != value(i - 1))
            .map(|i| i as u32)
            .collect();
        ends.push(rows as u32);
        ends
    }
    let rows = array.len();
    match array.data_type() {
        DataType::Boolean => {
            let values = array.as_boolean();
            of(rows, |i| values.value(i))
        }
        DataType::Binary => {
            let values = array.as_binary::<i32>();
            of(rows, |i| values.value(i))
        }
        DataType::FixedSizeBinary(_) => {
            let values = array.as_fixed_size_binary();
            of(rows, |i| values.value(i))
        }
        other => for_word!(other, W => {
            let values = words::of::<W>(array);
            of(rows, |i| values[i])
        }, else of(rows, |i| i)),
    }
}

/// Ends that ascend strictly to the number of rows.
fn stored_ends(node: &Node, context: &DecodeContext<'_>) -> Result<Vec<u32>> {
    node.expect(0, 2)?;
    let ends = context.decode_all(node.child(0)?, &DataType::UInt32)?;
    let ends = words::of::<u32>(&ends);
    let ascending = ends.first().is_none_or(|&e| e > 0) && ends.windows(2).all(|w| w[0] < w[1]);
    if !ascending || ends.last().map_or(0, |&e| e as usize) != node.rows {
        return Err(Error::corrupt(format!(
            "runs do not end at row {}",
            node.rows
        )));
    }
    context.reserve_rows(ends.len(), 2 * size_of::<u32>())?;
    Ok(ends.to_vec())
}

fn lengths(ends: &[u32]) -> Vec<u32> {
    let mut last = 0;
    ends.iter()
        .map(|&end| {
            let length = end - last;
            last = end;
            length
        })
        .collect()
}

/// Each value as often as its count says; the counts add up to `rows`.
fn expand(
    values: &ArrayRef,
    counts: &[u32],
    rows: usize,
    context: &DecodeContext<'_>,
) -> Result<ArrayRef> {
    if values.len() != counts.len() || values.null_count() > 0 {
        return Err(Error::corrupt("runs without a value each"));
    }
    match values.data_type() {
        DataType::Boolean => {
            context.reserve_rows(rows.div_ceil(8), 1)?;
            let values = values.as_boolean();
            let mut bits = BooleanBufferBuilder::new(rows);
            for (i, &count) in counts.iter().enumerate() {
                bits.append_n(count as usize, values.value(i));
            }
            let bits: BooleanBuffer = bits.finish();
            Ok(Arc::new(BooleanArray::new(bits, None)))
        }
        DataType::Binary | DataType::FixedSizeBinary(_) => {
            context.reserve_rows(rows, size_of::<u32>())?;
            let codes: Vec<u32> = (0..counts.len() as u32).collect();
            gather::gather(values, &repeated(&codes, counts, rows), context)
        }
        other => for_word!(other, W => {
            context.reserve_rows(rows, size_of::<W>())?;
            words::array(repeated(&words::of::<W>(values), counts, rows), other)
        }, else Err(Error::corrupt(format!("runs of {other}")))),
    }
}

fn repeated<W: Word>(values: &[W], counts: &[u32], rows: usize) -> Vec<W> {
    let mut out = Vec::with_capacity(rows);
    for (&value, &count) in values.iter().zip(counts) {
        out.resize(out.len() + count as usize, value);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::testing;

    #[test]
    fn every_leaf_type_comes_back() {
        let mut arrays = testing::integer_arrays(2500);
        arrays.extend(testing::float_arrays(700));
        arrays.extend(testing::binary_arrays(900));
        arrays.extend(testing::fixed_arrays(400, 16));
        arrays.extend(testing::boolean_arrays(3000));
        for array in arrays {
            testing::check(&RunEnd, &array, Profile::Balanced).unwrap();
        }
    }

    #[test]
    fn runs_are_maximal() {
        let array: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, -0.0, 7.0, 7.0, 7.0]));
        let node = testing::encode(&RunEnd, &array, Profile::Balanced).unwrap();
        let ends = testing::decode(&node.children[0], &DataType::UInt32, &Selection::all());
        assert_eq!(ends.unwrap().as_ref(), &UInt32Array::from(vec![1, 3, 6]));
    }
}
