//! `pilaster.bitpacked.v1`: integers as small differences to a reference, in blocks of 1,024.
//!
//! Each block has its own reference and bit width. Values that would make a block wide are its
//! exceptions: their differences stand behind the packed ones and are put over them when the block
//! is decoded. All arithmetic wraps, so a value below the reference is merely a large difference
//! and the encoding knows nothing of signs.
//!
//! Buffer 0 holds the blocks, one after the other:
//!
//! ```text
//! full block   128 * width bytes, FastLanes order | exceptions | zeros to a multiple of 8 bytes
//! last block   the values left over (fewer than 1,024), one after the other | exceptions
//! exceptions   differences (a word each) | places inside the block (2 bytes each)
//! ```
//!
//! Widths, references and numbers of exceptions are metadata, so that the bytes of any block can be
//! found before anything is read.

use std::ops::Range;

use arrow::array::*;
use arrow::buffer::Buffer;
use arrow::datatypes::*;

use crate::encoding::words::{self, BLOCK, RangeTest, Word, for_word};
use crate::encoding::{
    Access, CompareOp, DecodeContext, EncodeContext, Encoding, Node, Profile, Reads, Selection,
    Statistics, Verdict,
};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct BitPacked;

const ID: &str = "pilaster.bitpacked.v1";

#[derive(Clone, PartialEq, prost::Message)]
struct Metadata {
    /// Bytes of a value.
    #[prost(uint32, tag = "1")]
    word: u32,
    /// Bit width of each block, or one for all.
    #[prost(bytes = "vec", tag = "2")]
    widths: Vec<u8>,
    /// What the references are relative to.
    #[prost(fixed64, tag = "3")]
    base: u64,
    /// Reference of each block less the base, in as many bytes each as the largest needs; empty if
    /// all are the base.
    #[prost(bytes = "vec", tag = "4")]
    references: Vec<u8>,
    /// Number of exceptions of each block; empty if there are none.
    #[prost(uint32, repeated, tag = "5")]
    exceptions: Vec<u32>,
}

impl Encoding for BitPacked {
    fn id(&self) -> &'static str {
        ID
    }

    fn access(&self) -> Access {
        Access::Block
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        words::is_integer(data_type)
    }

    fn estimate(&self, statistics: &Statistics, _: Profile) -> Verdict {
        match statistics.rows {
            0 => Verdict::Skip,
            _ => Verdict::Measure,
        }
    }

    fn encode(&self, array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        if array.is_empty() {
            return Ok(None);
        }
        let thorough = context.profile != Profile::Fast;
        let data_type = array.data_type();
        for_word!(data_type, W => {
            let values = words::of::<W>(array);
            Ok(Some(pack(&values, words::flip(data_type), thorough)))
        }, else Ok(None))
    }

    fn decode(
        &self,
        node: &Node,
        data_type: &DataType,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        for_word!(data_type, W => {
            context.reserve_rows(node.rows, size_of::<W>())?;
            let shape = Shape::<W>::of(node)?;
            let mut out = shape.blocks(0..shape.count(), node)?;
            out.truncate(node.rows);
            words::array(out, data_type)
        }, else Err(Error::corrupt(format!("packed values of {data_type}"))))
    }

    fn decode_selection(
        &self,
        node: &Node,
        data_type: &DataType,
        selection: &Selection,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        let touched = touched_blocks(selection, node.rows);
        let within: usize = touched.iter().map(ExactSizeIterator::len).sum();
        for_word!(data_type, W => {
            context.reserve_rows((within * BLOCK).min(node.rows), size_of::<W>())?;
            let shape = Shape::<W>::of(node)?;
            if let [only] = touched.as_slice() {
                let start = only.start * BLOCK;
                let mut out = shape.blocks(only.clone(), node)?;
                out.truncate(node.rows - start);
                let window = words::array(out, data_type)?;
                return selection.within(start..start + window.len()).take(&window);
            }
            let mut out = Vec::with_capacity(selection.count(node.rows));
            let mut groups = touched.into_iter();
            let (mut window, mut values) = (0..0, Vec::new());
            for row in selection.iter(node.rows) {
                while row >= window.end {
                    let Some(group) = groups.next() else {
                        return Err(Error::corrupt("a selected row lies in no block"));
                    };
                    window = group.start * BLOCK..group.end * BLOCK;
                    values = shape.blocks(group, node)?;
                }
                out.push(values[row - window.start]);
            }
            words::array(out, data_type)
        }, else Err(Error::corrupt(format!("packed values of {data_type}"))))
    }

    fn compare(
        &self,
        node: &Node,
        data_type: &DataType,
        op: CompareOp,
        value: &Scalar<ArrayRef>,
        context: &DecodeContext<'_>,
    ) -> Result<BooleanArray> {
        for_word!(data_type, W => {
            let Some(value) = words::scalar::<W>(value, data_type) else {
                return op.apply(&self.decode(node, data_type, context)?, value);
            };
            context.reserve_rows(node.rows.div_ceil(8), 1)?;
            let test = RangeTest::new(op, value, data_type);
            Shape::<W>::of(node)?.compare(test, node)
        }, else Err(Error::corrupt(format!("packed values of {data_type}"))))
    }

    fn reads(&self, node: &Node, selection: &Selection) -> Reads {
        let part = || -> Result<Reads> {
            let word = node.parse_metadata::<Metadata>()?.word;
            let touched = touched_blocks(selection, node.rows);
            let ranges = match word {
                1 => Shape::<u8>::of(node)?.ranges(&touched),
                2 => Shape::<u16>::of(node)?.ranges(&touched),
                4 => Shape::<u32>::of(node)?.ranges(&touched),
                _ => Shape::<u64>::of(node)?.ranges(&touched),
            };
            Ok(Reads::Parts {
                buffers: ranges.into_iter().map(|range| (0, range)).collect(),
                children: Vec::new(),
            })
        };
        part().unwrap_or_default()
    }
}

/// Runs of consecutive blocks that hold a selected row.
pub(crate) fn touched_blocks(selection: &Selection, rows: usize) -> Vec<Range<usize>> {
    let mut touched: Vec<Range<usize>> = Vec::new();
    let mut touch = |rows: Range<usize>| {
        let blocks = rows.start / BLOCK..rows.end.div_ceil(BLOCK);
        match touched.last_mut() {
            Some(last) if blocks.start <= last.end => last.end = last.end.max(blocks.end),
            _ => touched.push(blocks),
        }
    };
    use crate::encoding::Rows;
    match &selection.rows {
        Rows::All | Rows::Range(_) => {
            let bounds = selection.bounds(rows);
            if !bounds.is_empty() {
                touch(bounds);
            }
        }
        Rows::Indices(indices) => {
            for &i in indices.iter() {
                touch(i as usize..i as usize + 1);
            }
        }
        Rows::Mask(mask) => mask.set_slices().for_each(|(start, end)| touch(start..end)),
    }
    touched
}

/// How one block is packed.
#[derive(Debug, Clone, Copy, Default)]
struct BlockPlan<W> {
    reference: W,
    width: usize,
    exceptions: usize,
    cost: usize,
}

/// The cheapest width for a block and a reference.
fn plan<W: Word>(values: &[W], reference: W) -> BlockPlan<W> {
    let mut by_bits = [0u32; 65];
    for value in values {
        by_bits[value.minus(reference).bits()] += 1;
    }
    let mut best = BlockPlan {
        cost: usize::MAX,
        ..BlockPlan::default()
    };
    let mut exceptions = values.len();
    for (width, &count) in by_bits.iter().enumerate().take(W::BITS + 1) {
        exceptions -= count as usize;
        // Two bytes more than an exception takes: decoding it costs time as well.
        let cost = values.len() * width / 8 + exceptions * (size_of::<W>() + 4);
        if cost <= best.cost {
            best = BlockPlan {
                reference,
                width,
                exceptions,
                cost,
            };
        }
    }
    best
}

/// Packs values; `flip` is what maps their order to unsigned order.
fn pack<W: Word>(values: &[W], flip: W, thorough: bool) -> Node {
    let smallest = |block: &[W]| block.iter().map(|&v| v ^ flip).min().unwrap_or_default() ^ flip;
    let own: Vec<BlockPlan<W>> = values
        .chunks(BLOCK)
        .map(|block| {
            let low = plan(block, smallest(block));
            if !thorough || low.width == 0 || block.len() < 64 {
                return low;
            }
            // A few values far below the others are better exceptions than references.
            let mut places: Vec<W> = block.iter().map(|&v| v ^ flip).collect();
            let (_, raised, _) = places.select_nth_unstable(block.len() / 50);
            let raised = plan(block, *raised ^ flip);
            if raised.cost < low.cost { raised } else { low }
        })
        .collect();
    let base = own
        .iter()
        .map(|p| p.reference ^ flip)
        .min()
        .unwrap_or_default()
        ^ flip;
    let bytes = own.iter().map(|p| p.reference.minus(base).bits()).max();
    let bytes = bytes.unwrap_or(0).div_ceil(8);
    let common: Vec<BlockPlan<W>> = values
        .chunks(BLOCK)
        .map(|block| plan(block, base))
        .collect();
    let cost = |plans: &[BlockPlan<W>]| plans.iter().map(|p| p.cost).sum::<usize>();
    let (plans, bytes) = match cost(&common) <= cost(&own) + bytes * own.len() {
        true => (common, 0),
        false => (own, bytes),
    };

    let mut packed = Vec::with_capacity(cost(&plans));
    let mut metadata = Metadata {
        word: size_of::<W>() as u32,
        base: base.widen(),
        ..Metadata::default()
    };
    for (block, plan) in values.chunks(BLOCK).zip(&plans) {
        match <&[W; BLOCK]>::try_from(block) {
            Ok(block) => W::pack(plan.width, block, plan.reference, &mut packed),
            Err(_) => words::pack_tail(plan.width, block, plan.reference, &mut packed),
        }
        let differences = || block.iter().map(|v| v.minus(plan.reference)).enumerate();
        let exceptions = || differences().filter(|(_, d)| d.bits() > plan.width);
        exceptions().for_each(|(_, d)| d.write(&mut packed));
        exceptions().for_each(|(i, _)| packed.extend_from_slice(&(i as u16).to_le_bytes()));
        if block.len() == BLOCK {
            packed.resize(packed.len().next_multiple_of(8), 0);
        }
        metadata.widths.push(plan.width as u8);
        metadata.exceptions.push(plan.exceptions as u32);
        let reference = plan.reference.minus(base).widen().to_le_bytes();
        metadata.references.extend_from_slice(&reference[..bytes]);
    }
    if metadata.widths.windows(2).all(|w| w[0] == w[1]) {
        metadata.widths.truncate(1);
    }
    if metadata.exceptions.iter().all(|&e| e == 0) {
        metadata.exceptions.clear();
    }
    Node::new(ID, values.len())
        .with_metadata(&metadata)
        .with_buffer(packed)
}

/// Where the blocks of a node are and how they are packed, checked against its rows.
struct Shape<W> {
    rows: usize,
    widths: Vec<u8>,
    references: Vec<u8>,
    reference_bytes: usize,
    base: W,
    exceptions: Vec<u32>,
    /// Start of each block, and the end of the last; empty if all blocks have one width and no
    /// exceptions, so that it never outgrows the metadata.
    offsets: Vec<u64>,
}

impl<W: Word> Shape<W> {
    fn of(node: &Node) -> Result<Self> {
        node.expect(1, 0)?;
        let Metadata {
            word,
            widths,
            base,
            references,
            exceptions,
        } = node.parse_metadata()?;
        let count = node.rows.div_ceil(BLOCK);
        let reference_bytes = references.len() / count.max(1);
        let sound = word as usize == size_of::<W>()
            && count > 0
            && (widths.len() == 1 || widths.len() == count)
            && widths.iter().all(|&w| usize::from(w) <= W::BITS)
            && reference_bytes <= size_of::<W>()
            && references.len() == reference_bytes * count
            && (exceptions.is_empty() || exceptions.len() == count)
            && exceptions.iter().all(|&e| e as usize <= BLOCK);
        if !sound {
            return Err(Error::corrupt("packed blocks are described wrongly"));
        }
        let mut shape = Self {
            rows: node.rows,
            widths,
            references,
            reference_bytes,
            base: W::narrow(base),
            exceptions,
            offsets: Vec::new(),
        };
        if shape.widths.len() == count || !shape.exceptions.is_empty() {
            shape.offsets.reserve(count + 1);
            let mut end = 0;
            shape.offsets.push(end);
            for i in 0..count {
                end += shape.stored_len(i);
                shape.offsets.push(end);
            }
        }
        match node.buffer(0)?.len() == shape.offset(count) {
            true => Ok(shape),
            false => Err(Error::corrupt(
                "packed blocks have another length than they should",
            )),
        }
    }

    fn count(&self) -> usize {
        self.rows.div_ceil(BLOCK)
    }

    /// Bytes of block `i`.
    fn stored_len(&self, i: usize) -> u64 {
        let exceptions = self.exceptions(i) * (size_of::<W>() + 2);
        let bytes = match self.len(i) {
            BLOCK => (128 * self.width(i) + exceptions).next_multiple_of(8),
            len => (len * self.width(i)).div_ceil(8) + exceptions,
        };
        bytes as u64
    }

    /// Where block `i` starts.
    fn offset(&self, i: usize) -> u64 {
        if let Some(&offset) = self.offsets.get(i) {
            return offset;
        }
        let full = i.min(self.rows / BLOCK);
        let last = if i > full { self.stored_len(full) } else { 0 };
        128 * full as u64 * u64::from(self.widths[0]) + last
    }

    /// Rows of block `i`.
    fn len(&self, i: usize) -> usize {
        (self.rows - i * BLOCK).min(BLOCK)
    }

    fn width(&self, i: usize) -> usize {
        usize::from(*self.widths.get(i).unwrap_or(&self.widths[0]))
    }

    fn exceptions(&self, i: usize) -> usize {
        self.exceptions.get(i).map_or(0, |&e| e as usize)
    }

    fn reference(&self, i: usize) -> W {
        let mut bytes = [0; 8];
        let stored = &self.references[i * self.reference_bytes..][..self.reference_bytes];
        bytes[..stored.len()].copy_from_slice(stored);
        self.base.plus(W::narrow(u64::from_le_bytes(bytes)))
    }

    /// Bytes of runs of blocks.
    fn ranges(&self, blocks: &[Range<usize>]) -> Vec<Range<u64>> {
        let end = self.count();
        blocks
            .iter()
            .map(|b| self.offset(b.start.min(end))..self.offset(b.end.min(end)))
            .collect()
    }

    /// Values of a run of blocks, with room up to a whole number of blocks.
    fn blocks(&self, blocks: Range<usize>, node: &Node) -> Result<Vec<W>> {
        let stored = self.stored(&blocks, node)?;
        let mut out = Vec::with_capacity(blocks.len() * BLOCK);
        for i in blocks {
            let start = out.len();
            out.resize(start + BLOCK, W::narrow(0));
            if let Some(slot) = out[start..].first_chunk_mut() {
                self.block(i, &stored, self.reference(i), slot)?;
            }
        }
        Ok(out)
    }

    fn stored(&self, blocks: &Range<usize>, node: &Node) -> Result<Stored<W>> {
        let start = self.offset(blocks.start);
        let bytes = node.buffer(0)?.slice(start..self.offset(blocks.end))?;
        Ok(Stored {
            words: words::view(bytes.clone()),
            bytes,
            start,
        })
    }

    /// Unpacks block `i` over another reference than its own, if so wished.
    fn block(&self, i: usize, stored: &Stored<W>, reference: W, to: &mut [W; BLOCK]) -> Result<()> {
        let start = (self.offset(i) - stored.start) as usize;
        let end = (self.offset(i + 1) - stored.start) as usize;
        let bytes = &stored.bytes[start..end];
        let (len, width) = (self.len(i), self.width(i));
        let packed = match len {
            BLOCK => {
                // Blocks start at multiples of 8 bytes from the first, which is whole words.
                W::unpack(
                    width,
                    &stored.words[start / size_of::<W>()..],
                    reference,
                    to,
                )?;
                128 * width
            }
            _ => {
                words::unpack_tail(width, bytes, reference, &mut to[..len])?;
                (len * width).div_ceil(8)
            }
        };
        let count = self.exceptions(i);
        if count > 0 {
            let (values, places) = bytes[packed..].split_at(count * size_of::<W>());
            let values = values.chunks_exact(size_of::<W>()).filter_map(W::read);
            let places = places.chunks_exact(2).filter_map(u16::read);
            for (value, place) in values.zip(places) {
                match to[..len].get_mut(usize::from(place)) {
                    Some(slot) => *slot = reference.plus(value),
                    None => return Err(Error::corrupt("an exception outside its block")),
                }
            }
        }
        Ok(())
    }

    /// Tests every value, without unpacking the blocks that lie on one side as a whole.
    fn compare(&self, test: RangeTest<W>, node: &Node) -> Result<BooleanArray> {
        let all = 0..self.count();
        let stored = self.stored(&all, node)?;
        let mut bits = Vec::with_capacity(self.count() * BLOCK / 64);
        let mut values = [W::narrow(0); BLOCK];
        for i in all {
            let low = self.reference(i).minus(test.low);
            let room = W::narrow(u64::MAX.unbounded_shr(64 - self.width(i) as u32));
            let wraps = low > W::narrow(u64::MAX).minus(room);
            if self.exceptions(i) == 0 && !wraps {
                let inside = low.plus(room) <= test.span;
                if inside || low > test.span {
                    let word = if inside != test.outside { u64::MAX } else { 0 };
                    bits.resize(bits.len() + BLOCK / 64, word);
                    continue;
                }
            }
            self.block(i, &stored, low, &mut values)?;
            words::push_bits(&values, test.span, test.outside, &mut bits);
        }
        Ok(BooleanArray::new(words::bits(bits, self.rows), None))
    }
}

/// Bytes of a run of blocks.
struct Stored<W: Word> {
    bytes: Buffer,
    words: arrow::buffer::ScalarBuffer<W>,
    /// Offset of the first byte in the node's buffer.
    start: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::testing;
    use std::sync::Arc;

    #[test]
    fn every_integer_type_comes_back() {
        for rows in [1, 63, 1024, 2100] {
            for array in testing::integer_arrays(rows) {
                testing::check(&BitPacked, &array, Profile::Balanced).unwrap();
                testing::encode(&BitPacked, &array, Profile::Fast).unwrap();
            }
        }
    }

    #[test]
    fn outliers_on_either_side_do_not_widen_a_block() {
        for outlier in [0, i64::MIN, i64::MAX, 5_000_000_000] {
            let values = (0..8192).map(|i| {
                if i % 300 == 7 {
                    outlier
                } else {
                    1_000_000 + i % 30
                }
            });
            let array: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
            let node = testing::check(&BitPacked, &array, Profile::Balanced).unwrap();
            assert!(
                node.stored_bytes() < 8192 * 6 / 8,
                "{}",
                node.stored_bytes()
            );
        }
    }

    #[test]
    fn one_row_reads_one_block() {
        let array: ArrayRef = Arc::new(Int32Array::from_iter_values((0..10_240).map(|i| i % 256)));
        let node = testing::encode(&BitPacked, &array, Profile::Balanced).unwrap();
        let reads = BitPacked.reads(&node, &Selection::range(5000..5001));
        let Reads::Parts { buffers, .. } = reads else {
            panic!("all of the node");
        };
        assert_eq!(buffers, [(0, 4 * 1024..5 * 1024)]);
    }
}
