//! `pilaster.alprd.v1`: real floats, whose high bits repeat and whose low bits do not (ALP-RD,
//! Afroozeh & Boncz 2023).
//!
//! The bits of a value are cut in two. The left part (sign, exponent, a few of the mantissa) is one
//! of at most eight, or an exception; the right part is kept as it is.
//!
//! Child 0 holds codes of left parts (uint8), child 1 the right parts (uint64, or uint32 for
//! float32). If there are exceptions, child 2 holds their rows (ascending) and child 3 their left
//! parts (uint16); their codes mean nothing.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;

use crate::encoding::words::{self, Word};
use crate::encoding::{
    Access, DecodeContext, EncodeContext, Encoding, Node, Profile, Reads, Role, Selection,
    Statistics, Verdict,
};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct AlpRd;

const ID: &str = "pilaster.alprd.v1";
/// Values on which cuts are tried.
const SAMPLE: usize = 1024;
/// Most bits of a left part.
const LEFT: usize = 16;
/// Most left parts with a code.
const CODES: usize = 8;

#[derive(Clone, PartialEq, prost::Message)]
struct Metadata {
    /// Bits of the right part.
    #[prost(uint32, tag = "1")]
    right: u32,
    /// The left part of each code.
    #[prost(uint32, repeated, tag = "2")]
    left: Vec<u32>,
}

impl Encoding for AlpRd {
    fn id(&self) -> &'static str {
        ID
    }

    fn access(&self) -> Access {
        Access::Block
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        matches!(data_type, DataType::Float32 | DataType::Float64)
    }

    fn estimate(&self, statistics: &Statistics, _: Profile) -> Verdict {
        match statistics.runs {
            0 | 1 => Verdict::Skip,
            _ => Verdict::Measure,
        }
    }

    fn encode(&self, array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        match array.data_type() {
            DataType::Float32 => encode::<u32>(array, context),
            DataType::Float64 => encode::<u64>(array, context),
            _ => Ok(None),
        }
    }

    fn decode(
        &self,
        node: &Node,
        data_type: &DataType,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        self.decode_selection(node, data_type, &Selection::all(), context)
    }

    fn decode_selection(
        &self,
        node: &Node,
        data_type: &DataType,
        selection: &Selection,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        match data_type {
            DataType::Float32 => decode::<u32>(node, data_type, selection, context),
            DataType::Float64 => decode::<u64>(node, data_type, selection, context),
            other => Err(Error::corrupt(format!("cut floats as {other}"))),
        }
    }

    fn reads(&self, node: &Node, selection: &Selection) -> Reads {
        let mut children = vec![Some(selection.clone()); node.children.len().min(2)];
        children.extend((2..node.children.len()).map(|_| Some(Selection::all())));
        Reads::Parts {
            buffers: Vec::new(),
            children,
        }
    }
}

/// The left parts that get codes, most frequent first, and how many values have another.
fn frequent<W: Word>(values: &[W], right: usize) -> (Vec<u16>, usize) {
    let mut parts: Vec<u16> = values.iter().map(|v| left_part(*v, right)).collect();
    parts.sort_unstable();
    let mut counts: Vec<(usize, u16)> = Vec::new();
    for run in parts.chunk_by(|a, b| a == b) {
        counts.push((run.len(), run[0]));
    }
    counts.sort_by_key(|&(count, part)| (std::cmp::Reverse(count), part));
    let others = counts.iter().skip(CODES).map(|c| c.0).sum();
    (counts.iter().take(CODES).map(|c| c.1).collect(), others)
}

fn left_part<W: Word>(value: W, right: usize) -> u16 {
    (value.widen() >> right) as u16
}

fn encode<W: Word>(array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Option<Node>> {
    let values = words::of::<W>(array);
    let step = (values.len() / SAMPLE).max(1);
    let sample: Vec<W> = values.iter().step_by(step).take(SAMPLE).copied().collect();
    let cost = |right: usize| {
        let (left, others) = frequent(&sample, right);
        let code_bits = left.len().next_power_of_two().trailing_zeros() as usize;
        sample.len() * (right + code_bits) + others * 32
    };
    let Some(right) = (W::BITS - LEFT..W::BITS).min_by_key(|&right| cost(right)) else {
        return Ok(None);
    };
    if sample.is_empty() || cost(right) >= sample.len() * W::BITS {
        return Ok(None);
    }
    let (left, _) = frequent(&sample, right);
    let mut codes = Vec::with_capacity(values.len());
    let mut rights = Vec::with_capacity(values.len());
    let (mut rows, mut others) = (Vec::new(), Vec::new());
    for (row, &value) in values.iter().enumerate() {
        let part = left_part(value, right);
        let code = left.iter().position(|&l| l == part);
        codes.push(code.unwrap_or(0) as u8);
        if code.is_none() {
            rows.push(row as u32);
            others.push(part);
        }
        rights.push(W::narrow(value.widen() & low_bits(right)));
    }
    let codes: ArrayRef = Arc::new(UInt8Array::from(codes));
    let rights = words::array(rights, &right_type::<W>())?;
    let metadata = Metadata {
        right: right as u32,
        left: left.into_iter().map(u32::from).collect(),
    };
    let mut node = Node::new(ID, array.len())
        .with_metadata(&metadata)
        .with_child(context.child(ID, &codes, Role::Codes)?)
        .with_child(context.child(ID, &rights, Role::Values)?);
    if !rows.is_empty() {
        let rows: ArrayRef = Arc::new(UInt32Array::from(rows));
        let others: ArrayRef = Arc::new(UInt16Array::from(others));
        node = node
            .with_child(context.child(ID, &rows, Role::Sorted)?)
            .with_child(context.child(ID, &others, Role::Values)?);
    }
    Ok(Some(node))
}

fn low_bits(count: usize) -> u64 {
    u64::MAX.unbounded_shr(64 - count as u32)
}

fn right_type<W: Word>() -> DataType {
    match W::BITS {
        32 => DataType::UInt32,
        _ => DataType::UInt64,
    }
}

fn decode<W: Word>(
    node: &Node,
    data_type: &DataType,
    selection: &Selection,
    context: &DecodeContext<'_>,
) -> Result<ArrayRef> {
    let Metadata { right, left } = node.parse_metadata()?;
    let right = right as usize;
    if !(W::BITS - LEFT..W::BITS).contains(&right) || left.is_empty() || left.len() > CODES {
        return Err(Error::corrupt("floats are cut at no possible place"));
    }
    node.expect(0, if node.children.len() == 2 { 2 } else { 4 })?;
    let codes = context.decode(node.child_of(0, node.rows)?, &DataType::UInt8, selection)?;
    let codes = words::of::<u8>(&codes);
    if codes.iter().any(|&c| usize::from(c) >= left.len()) {
        return Err(Error::corrupt("a code without a left part"));
    }
    let rights = node.child_of(1, node.rows)?;
    let rights = context.decode(rights, &right_type::<W>(), selection)?;
    let rights = words::of::<W>(&rights);
    context.reserve_rows(rights.len(), size_of::<W>())?;
    let mut high = [0u64; CODES];
    for (slot, &part) in high.iter_mut().zip(&left) {
        *slot = u64::from(part) << right;
    }
    let whole = |high: u64, right: W| W::narrow(high | right.widen());
    let pairs = codes.iter().zip(rights.iter());
    let mut out: Vec<W> = pairs
        .map(|(&code, &r)| whole(high[usize::from(code) % CODES], r))
        .collect();
    if node.children.len() == 4 {
        let rows = context.decode_all(node.child(2)?, &DataType::UInt32)?;
        let rows = words::of::<u32>(&rows);
        let (numbers, places) = selection.overlap(&rows, node.rows)?;
        let others = node.child_of(3, rows.len())?;
        let others = context.decode(others, &DataType::UInt16, &numbers)?;
        for (&place, &part) in places.iter().zip(words::of::<u16>(&others).iter()) {
            let place = place as usize;
            out[place] = whole(u64::from(part) << right, rights[place]);
        }
    }
    words::array(out, data_type)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::testing;

    #[test]
    fn floats_come_back_bit_for_bit() {
        let mut taken = 0;
        for array in testing::float_arrays(2000) {
            if AlpRd.accepts(array.data_type()) {
                taken += usize::from(testing::check(&AlpRd, &array, Profile::Balanced).is_some());
            }
        }
        assert!(taken > 20, "{taken}");
    }

    #[test]
    fn values_of_one_magnitude_lose_their_high_bits() {
        let values: Float64Array = (1..3000)
            .map(|i| Some(f64::from(i).sqrt() + 60.0))
            .collect();
        let array: ArrayRef = Arc::new(values);
        let node = testing::encode(&AlpRd, &array, Profile::Balanced).unwrap();
        assert!(node.parse_metadata::<Metadata>().unwrap().right < 56);
    }
}
