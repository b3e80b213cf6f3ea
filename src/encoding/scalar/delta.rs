//! `pilaster.delta.v1`: differences between neighbours, in blocks of 1,024 rows.
//!
//! Child 0 holds one difference a row (signed, wrapping), child 1 a base a block. Row `i` of a block
//! is the base plus the block's first `i + 1` differences; the first difference of a block repeats
//! the second and the base makes up for it, so that it does not stand out among the others. Blocks
//! are independent.

use arrow::array::*;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::*;

use crate::encoding::words::{self, BLOCK, Word, for_word};
use crate::encoding::{
    Access, DecodeContext, EncodeContext, Encoding, Node, Profile, Reads, Role, Rows, Selection,
    Statistics, Verdict,
};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct Delta;

const ID: &str = "pilaster.delta.v1";

impl Encoding for Delta {
    fn id(&self) -> &'static str {
        ID
    }

    fn access(&self) -> Access {
        Access::Block
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        words::is_integer(data_type) && data_type.primitive_width() > Some(1)
    }

    fn estimate(&self, statistics: &Statistics, profile: Profile) -> Verdict {
        // A row costs a block, and a few rows are small in any form: a percent of tables' files in all,
        // which `archive`, where entropy coders do as well, does not have from here.
        let fewest = match profile {
            Profile::Fast | Profile::Balanced => BLOCK / 8,
            Profile::Archive => BLOCK,
        };
        match statistics.rows >= fewest && statistics.runs > 1 {
            true => Verdict::Measure,
            false => Verdict::Skip,
        }
    }

    fn encode(&self, array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        if array.is_empty() {
            return Ok(None);
        }
        let data_type = array.data_type();
        let (differences, bases) = for_word!(data_type, W => {
            let (differences, bases) = differences(&words::of::<W>(array));
            (
                words::array(differences, &signed(data_type))?,
                words::array(bases, data_type)?,
            )
        }, else return Ok(None));
        let differences = context.child(ID, &differences, Role::Values)?;
        let bases = context.child(ID, &bases, Role::Values)?;
        Ok(Some(
            Node::new(ID, array.len())
                .with_child(differences)
                .with_child(bases),
        ))
    }

    fn decode(
        &self,
        node: &Node,
        data_type: &DataType,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        let (differences, bases) = children(node)?;
        let differences = context.decode_all(differences, &signed(data_type))?;
        let bases = context.decode_all(bases, data_type)?;
        for_word!(data_type, W => {
            context.reserve_rows(node.rows, size_of::<W>())?;
            let mut out = Vec::with_capacity(node.rows);
            let (differences, bases) = (words::of::<W>(&differences), words::of::<W>(&bases));
            for (block, &base) in differences.chunks(BLOCK).zip(bases.iter()) {
                sum(block, base, &mut out);
            }
            words::array(out, data_type)
        }, else Err(Error::corrupt(format!("differences of {data_type}"))))
    }

    fn decode_selection(
        &self,
        node: &Node,
        data_type: &DataType,
        selection: &Selection,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        let touched = Touched::of(selection, node.rows);
        let (differences, bases) = children(node)?;
        let differences = context.decode(differences, &signed(data_type), &touched.rows)?;
        let bases = context.decode(bases, data_type, &touched.blocks)?;
        for_word!(data_type, W => {
            context.reserve_rows(differences.len(), size_of::<W>())?;
            let (differences, bases) = (words::of::<W>(&differences), words::of::<W>(&bases));
            let mut blocks = differences.chunks(BLOCK).zip(bases.iter());
            let mut numbers = touched.blocks.iter(node.rows.div_ceil(BLOCK));
            let mut out = Vec::with_capacity(selection.count(node.rows));
            let (mut end, mut values) = (0, Vec::with_capacity(BLOCK));
            for row in selection.iter(node.rows) {
                while row >= end {
                    let (Some((block, &base)), Some(number)) = (blocks.next(), numbers.next())
                    else {
                        return Err(Error::corrupt("a selected row lies in no block"));
                    };
                    values.clear();
                    sum(block, base, &mut values);
                    end = number * BLOCK + values.len();
                }
                out.push(values[row % BLOCK]);
            }
            words::array(out, data_type)
        }, else Err(Error::corrupt(format!("differences of {data_type}"))))
    }

    fn reads(&self, node: &Node, selection: &Selection) -> Reads {
        let touched = Touched::of(selection, node.rows);
        Reads::Parts {
            buffers: Vec::new(),
            children: vec![Some(touched.rows), Some(touched.blocks)],
        }
    }
}

/// The blocks that hold a selected row, and all rows of those blocks.
struct Touched {
    blocks: Selection,
    rows: Selection,
}

impl Touched {
    fn of(selection: &Selection, rows: usize) -> Self {
        let bounds = selection.bounds(rows);
        let (first, end) = (bounds.start / BLOCK, bounds.end.div_ceil(BLOCK));
        let whole = |first: usize, end: usize| Self {
            blocks: Selection::range(first..end),
            rows: Selection::range(first * BLOCK..(end * BLOCK).min(rows)),
        };
        if matches!(selection.rows, Rows::All | Rows::Range(_)) || end - first <= 1 {
            return whole(first, end);
        }
        let count = rows.div_ceil(BLOCK);
        let mut hit = vec![false; count];
        selection.iter(rows).for_each(|row| hit[row / BLOCK] = true);
        let blocks = hit.iter().enumerate().filter(|(_, h)| **h);
        Self {
            blocks: Rows::Indices(blocks.map(|(i, _)| i as u32).collect()).into(),
            rows: Selection::mask(BooleanBuffer::collect_bool(rows, |row| hit[row / BLOCK])),
        }
    }
}

fn children(node: &Node) -> Result<(&Node, &Node)> {
    node.expect(0, 2)?;
    Ok((
        node.child_of(0, node.rows)?,
        node.child_of(1, node.rows.div_ceil(BLOCK))?,
    ))
}

/// The signed integer type of the same width.
fn signed(data_type: &DataType) -> DataType {
    match data_type.primitive_width() {
        Some(1) => DataType::Int8,
        Some(2) => DataType::Int16,
        Some(4) => DataType::Int32,
        _ => DataType::Int64,
    }
}

fn differences<W: Word>(values: &[W]) -> (Vec<W>, Vec<W>) {
    let mut differences = Vec::with_capacity(values.len());
    let mut bases = Vec::with_capacity(values.len().div_ceil(BLOCK));
    for block in values.chunks(BLOCK) {
        let first = match block {
            [first, second, ..] => second.minus(*first),
            _ => W::narrow(0),
        };
        bases.push(block[0].minus(first));
        differences.push(first);
        differences.extend(block.windows(2).map(|w| w[1].minus(w[0])));
    }
    (differences, bases)
}

/// Appends the running sums of a block.
fn sum<W: Word>(differences: &[W], base: W, out: &mut Vec<W>) {
    let mut value = base;
    out.extend(differences.iter().map(|&d| {
        value = value.plus(d);
        value
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::testing;
    use std::sync::Arc;

    #[test]
    fn every_integer_type_comes_back() {
        for rows in [1, 2, 1024, 1025, 5000] {
            for array in testing::integer_arrays(rows) {
                if Delta.accepts(array.data_type()) {
                    testing::check(&Delta, &array, Profile::Balanced).unwrap();
                }
            }
        }
    }

    #[test]
    fn steady_steps_are_constant() {
        let array: ArrayRef = Arc::new(Int32Array::from_iter_values((0..3000).map(|i| 7 + 5 * i)));
        let node = testing::encode(&Delta, &array, Profile::Balanced).unwrap();
        let steps = testing::decode(&node.children[0], &DataType::Int32, &Selection::all());
        assert_eq!(steps.unwrap().as_ref(), &Int32Array::from(vec![5; 3000]));
    }
}
