//! `pilaster.exponent.v1`: floats, sign and exponent entropy-coded, the rest of the mantissa as it is.
//!
//! The upper bits of trained weights and of key/value caches are far from uniform, the lower bits are
//! noise (ZipNN, arXiv:2411.05239; DFloat11, arXiv:2504.11651). A value of `w` bits is cut into a
//! symbol, its upper `w - raw` bits, and `raw` bits that are stored as they are. Symbols are coded
//! by rANS with static tables; the elements of a row (channels of a cache, columns of a matrix) are
//! sorted into a few classes with a table each. Any bit pattern comes back, NaN payloads included.
//!
//! Values are stored in the units of a [`Grid`]; each is a rANS stream and, after it, the raw bits,
//! least significant first. Tables and lengths of the streams are metadata, so that a unit is read
//! without anything else.

use arrow::array::{Array, ArrayRef};
use arrow::buffer::Buffer;
use arrow::datatypes::DataType;

use crate::encoding::blocks::places;
use crate::encoding::entropy::rans::{self, Interval, Tables};
use crate::encoding::grid::{self, Grid};
use crate::encoding::words::{Word, for_word};
use crate::encoding::{
    Access, DecodeContext, EncodeContext, Encoding, Node, Profile, Reads, Selection, Statistics,
    Verdict,
};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct Exponent;

const ID: &str = "pilaster.exponent.v1";

/// Values of a unit: enough that the end of a stream (16 bytes) is small change, few enough that a
/// unit is about a page.
const UNIT_VALUES: usize = 2048;
/// Values of a unit of plain numbers, which have no heads or tokens to be reached.
const LONG_UNIT: usize = 16 << 10;
/// Fewest rows of a unit.
const UNIT_ROWS: usize = 32;
/// Most tables: more stop paying for themselves (measured on the caches of small decoders).
const MOST_TABLES: usize = 16;
/// What a symbol of a table costs, in bits, when the number of tables is decided.
const ENTRY_BITS: f64 = 20.0;
/// Most symbols: sign and exponent of a double.
const MOST_SYMBOLS: usize = 1 << 12;

#[derive(Clone, PartialEq, prost::Message)]
struct Metadata {
    /// Elements a row.
    #[prost(uint32, tag = "1")]
    width: u32,
    /// Elements a group.
    #[prost(uint32, tag = "2")]
    group: u32,
    /// Rows a block.
    #[prost(uint32, tag = "3")]
    block: u32,
    /// Bytes a value.
    #[prost(uint32, tag = "4")]
    word: u32,
    /// Bits of a value that are stored as they are.
    #[prost(uint32, tag = "5")]
    raw: u32,
    /// The table of each element of a row; empty if there is but one.
    #[prost(bytes = "vec", tag = "6")]
    classes: Vec<u8>,
    /// Symbols of the tables, one table after the other, each symbol as the difference to the one
    /// before it; the first as it is.
    #[prost(uint32, repeated, tag = "7")]
    symbols: Vec<u32>,
    /// How often each was counted, of 2^14 in all.
    #[prost(uint32, repeated, tag = "8")]
    counts: Vec<u32>,
    /// Symbols of each table.
    #[prost(uint32, repeated, tag = "9")]
    sizes: Vec<u32>,
    /// Bytes of the stream of each unit.
    #[prost(uint32, repeated, tag = "10")]
    lengths: Vec<u32>,
}

/// Raw bits of the float formats of a width, the likeliest first.
fn formats(word: usize) -> &'static [u32] {
    match word {
        1 => &[3, 2],
        2 => &[10, 7],
        4 => &[23],
        _ => &[52],
    }
}

impl Encoding for Exponent {
    fn id(&self) -> &'static str {
        ID
    }

    fn access(&self) -> Access {
        Access::PerValue
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        use DataType::{Float16, Float32, Float64, UInt8, UInt16};
        let item = match data_type {
            DataType::FixedSizeList(item, size) if *size > 0 => item.data_type(),
            other => other,
        };
        matches!(item, Float16 | Float32 | Float64 | UInt8 | UInt16)
    }

    fn estimate(&self, _: &Statistics, _: Profile) -> Verdict {
        // Layouts and specs ask for it: lists of floats are vectors as often as they are caches.
        Verdict::Skip
    }

    fn encode(&self, array: &ArrayRef, _: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        let (item, _) = grid::parts(array.data_type())?;
        for_word!(item, W => encode::<W>(array), else Ok(None))
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
        node.expect(1, 0)?;
        let metadata: Metadata = node.parse_metadata()?;
        let (item, _) = grid::parts(data_type)?;
        for_word!(item, W => decode::<W>(node, &metadata, data_type, selection, context),
            else Err(Error::corrupt(format!("{ID} of type {data_type}"))))
    }

    fn reads(&self, node: &Node, selection: &Selection) -> Reads {
        let parsed = node
            .parse_metadata()
            .and_then(|m: Metadata| Layout::parse(node, &m));
        let Ok(layout) = parsed else {
            return Reads::All;
        };
        let Ok(touched) = layout.grid.touched(selection) else {
            return Reads::All;
        };
        let ranges = touched
            .into_iter()
            .map(|units| (0, layout.starts[units.start]..layout.starts[units.end]));
        Reads::Parts {
            buffers: ranges.collect(),
            children: Vec::new(),
        }
    }
}

/// Where the units lie.
struct Layout {
    grid: Grid,
    starts: Vec<u64>,
}

impl Layout {
    fn parse(node: &Node, metadata: &Metadata) -> Result<Self> {
        let grid = Grid::new(
            node.rows,
            metadata.width as usize,
            metadata.group as usize,
            metadata.block as usize,
        )?;
        if metadata.lengths.len() != grid.units() || metadata.raw >= 64 {
            return Err(Error::corrupt(format!(
                "{} streams for {} units",
                metadata.lengths.len(),
                grid.units()
            )));
        }
        let mut sizes = Vec::with_capacity(grid.units());
        let mut streams = metadata.lengths.iter();
        for group in 0..grid.groups() {
            for block in 0..grid.blocks() {
                let values = grid.rows(block).len() * grid.elements(group).len();
                let raw = packed_bytes(values, metadata.raw);
                let stream = u64::from(*streams.next().unwrap_or(&0));
                let size = u32::try_from(stream + raw as u64);
                sizes.push(size.map_err(|_| Error::corrupt("a unit of over 4 GiB"))?);
            }
        }
        Ok(Self {
            grid,
            starts: places(&sizes, node.buffer(0)?.len())?,
        })
    }
}

fn packed_bytes(values: usize, bits: u32) -> usize {
    (values * bits as usize).div_ceil(8)
}

fn encode<W: Word>(array: &ArrayRef) -> Result<Option<Node>> {
    let Some((values, width)) = grid::numbers::<W>(array) else {
        return Ok(None);
    };
    if values.is_empty() {
        return Ok(None);
    }
    let mut best: Option<(f64, u32, Classes)> = None;
    for &raw in formats(size_of::<W>()) {
        let classes = Classes::find(&values, width, raw);
        let bits = classes.bits + values.len() as f64 * f64::from(raw);
        if best.as_ref().is_none_or(|(least, ..)| bits < *least) {
            best = Some((bits, raw, classes));
        }
    }
    let Some((_, raw, classes)) = best else {
        return Ok(None);
    };
    let group = grid::group_of(array.data_type());
    let block = match width {
        1 => LONG_UNIT,
        _ => (UNIT_VALUES / group).next_power_of_two().max(UNIT_ROWS),
    };
    let grid = Grid::new(array.len(), width, group, block)?;
    let tables = classes.tables()?;
    let coder = classes.coder(&tables, symbols_of::<W>(raw));
    let mut metadata = classes.metadata(&tables);
    metadata.width = width as u32;
    metadata.group = group as u32;
    metadata.block = block as u32;
    metadata.word = size_of::<W>() as u32;
    metadata.raw = raw;
    let mut bytes = Vec::new();
    let (mut intervals, mut rest) = (Vec::new(), Vec::new());
    for group in 0..grid.groups() {
        for block in 0..grid.blocks() {
            intervals.clear();
            rest.clear();
            for row in grid.rows(block) {
                for element in grid.elements(group) {
                    let word = values[row * width + element].widen();
                    let table = classes.of[element] as usize;
                    let symbol = (word >> raw) as usize;
                    let Some(interval) = coder[table][symbol] else {
                        return Err(Error::invalid("a symbol that was not counted"));
                    };
                    intervals.push(interval);
                    rest.push(word);
                }
            }
            let stream = rans::encode(&intervals);
            metadata.lengths.push(stream.len() as u32);
            bytes.extend_from_slice(&stream);
            pack(&rest, raw, &mut bytes);
        }
    }
    Ok(Some(
        Node::new(ID, array.len())
            .with_metadata(&metadata)
            .with_buffer(Buffer::from_vec(bytes)),
    ))
}

fn symbols_of<W: Word>(raw: u32) -> usize {
    1 << (W::BITS - raw as usize)
}

/// Appends the low `bits` bits of each word, least significant first.
fn pack(words: &[u64], bits: u32, to: &mut Vec<u8>) {
    let keep = (1u128 << bits) - 1;
    let (mut held, mut count) = (0u128, 0);
    for &word in words {
        held |= (u128::from(word) & keep) << count;
        count += bits;
        while count >= 8 {
            to.push(held as u8);
            held >>= 8;
            count -= 8;
        }
    }
    if count > 0 {
        to.push(held as u8);
    }
}

/// Elements of rows, sorted into classes that share a probability table.
struct Classes {
    /// Class of each element.
    of: Vec<u8>,
    /// How often each symbol occurs in each class.
    counts: Vec<Vec<u32>>,
    /// What the symbols and the tables take together.
    bits: f64,
}

impl Classes {
    fn find<W: Word>(values: &[W], width: usize, raw: u32) -> Self {
        let symbols = symbols_of::<W>(raw);
        let mut histograms = vec![vec![0u32; symbols]; width];
        for row in values.chunks_exact(width) {
            for (histogram, value) in histograms.iter_mut().zip(row) {
                histogram[(value.widen() >> raw) as usize] += 1;
            }
        }
        let mut best = Self::of(&histograms, vec![0; width]);
        // Elements in the order of their magnitude make good first classes.
        let mut order: Vec<usize> = (0..width).collect();
        let magnitude = |e: usize| {
            let half = symbols / 2;
            let histogram = histograms[e].iter().enumerate();
            histogram
                .map(|(s, &n)| (s % half) as u64 * u64::from(n))
                .sum::<u64>()
        };
        order.sort_by_cached_key(|&e| magnitude(e));
        let mut count = 2;
        while count <= MOST_TABLES.min(width / 2) {
            let mut of = vec![0u8; width];
            for (place, &element) in order.iter().enumerate() {
                of[element] = (place * count / width) as u8;
            }
            let mut found = Self::of(&histograms, of);
            for _ in 0..4 {
                found = Self::of(&histograms, found.nearest(&histograms));
            }
            if found.bits < best.bits {
                best = found;
            }
            count *= 2;
        }
        best
    }

    /// The classes of an assignment, numbered without gaps.
    fn of(histograms: &[Vec<u32>], mut of: Vec<u8>) -> Self {
        let mut used: Vec<u8> = of.clone();
        used.sort_unstable();
        used.dedup();
        of.iter_mut()
            .for_each(|c| *c = used.partition_point(|u| u < c) as u8);
        let symbols = histograms.first().map_or(0, Vec::len);
        let mut counts = vec![vec![0u32; symbols]; used.len()];
        for (histogram, &class) in histograms.iter().zip(&of) {
            for (sum, n) in counts[class as usize].iter_mut().zip(histogram) {
                *sum += n;
            }
        }
        let bits = counts.iter().map(|c| cost(c)).sum();
        Self { of, counts, bits }
    }

    /// The cheapest class of each element.
    fn nearest(&self, histograms: &[Vec<u32>]) -> Vec<u8> {
        let prices: Vec<Vec<f64>> = self.counts.iter().map(|c| prices(c)).collect();
        let cheapest = |histogram: &Vec<u32>| {
            let price = |p: &Vec<f64>| -> f64 {
                let used = histogram.iter().zip(p).filter(|(n, _)| **n > 0);
                used.map(|(&n, bits)| f64::from(n) * bits).sum()
            };
            let all = prices.iter().map(price).enumerate();
            all.min_by(|a, b| a.1.total_cmp(&b.1))
                .map_or(0, |(i, _)| i as u8)
        };
        histograms.iter().map(cheapest).collect()
    }

    fn tables(&self) -> Result<Tables> {
        let mut tables = Tables::default();
        for counts in &self.counts {
            let (symbols, counts) = used(counts);
            tables.push(&symbols, &counts)?;
        }
        Ok(tables)
    }

    fn coder(&self, tables: &Tables, symbols: usize) -> Vec<Vec<Option<Interval>>> {
        let of = |table| (0..symbols as u32).map(move |s| tables.find(table, s));
        (0..self.counts.len() as u32)
            .map(|table| of(table).collect())
            .collect()
    }

    /// The metadata of the tables. Frequencies that were scaled once are scaled to themselves again.
    fn metadata(&self, tables: &Tables) -> Metadata {
        let mut metadata = Metadata::default();
        if self.counts.len() > 1 {
            metadata.classes = self.of.clone();
        }
        for (table, counts) in self.counts.iter().enumerate() {
            let (symbols, _) = used(counts);
            metadata.sizes.push(symbols.len() as u32);
            let mut last = 0;
            for symbol in symbols {
                metadata.symbols.push(symbol - last);
                last = symbol;
                let found = tables.find(table as u32, symbol);
                metadata.counts.push(found.map_or(1, |i| i.frequency()));
            }
        }
        metadata
    }
}

/// Symbols that occur, and how often.
fn used(counts: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let pairs = counts.iter().enumerate().filter(|(_, n)| **n > 0);
    pairs.map(|(s, &n)| (s as u32, n)).unzip()
}

/// Bits of symbols coded by their own counts, and of the table.
fn cost(counts: &[u32]) -> f64 {
    let total: f64 = counts.iter().map(|&n| f64::from(n)).sum();
    let used = counts.iter().filter(|n| **n > 0);
    used.map(|&n| f64::from(n) * (total / f64::from(n)).log2() + ENTRY_BITS)
        .sum()
}

/// Bits of each symbol under a table of these counts, one added to each.
fn prices(counts: &[u32]) -> Vec<f64> {
    let total: f64 = counts.iter().map(|&n| f64::from(n) + 0.01).sum();
    let price = |&n: &u32| (total / (f64::from(n) + 0.01)).log2();
    counts.iter().map(price).collect()
}

/// The tables of a node, and the table of each element.
fn tables(metadata: &Metadata, context: &DecodeContext<'_>) -> Result<(Tables, Vec<u8>)> {
    let bad = || Error::corrupt(format!("{ID} with impossible tables"));
    let count: u64 = metadata.sizes.iter().map(|&s| u64::from(s)).sum();
    let sound = metadata.sizes.len() <= 256
        && count == metadata.symbols.len() as u64
        && count == metadata.counts.len() as u64;
    if !sound {
        return Err(bad());
    }
    context.reserve(count * 16 + metadata.sizes.len() as u64 * (5 << 10))?;
    let mut tables = Tables::default();
    let mut at = 0;
    for &size in &metadata.sizes {
        let end = at + size as usize;
        let mut symbol = 0u32;
        let mut symbols = Vec::with_capacity(size as usize);
        for step in &metadata.symbols[at..end] {
            symbol = symbol.checked_add(*step).ok_or_else(bad)?;
            symbols.push(symbol);
        }
        if symbol as usize >= MOST_SYMBOLS {
            return Err(bad());
        }
        tables.push(&symbols, &metadata.counts[at..end])?;
        at = end;
    }
    let width = metadata.width as usize;
    let classes = match metadata.classes.is_empty() {
        true => {
            context.reserve(width as u64)?;
            vec![0; width]
        }
        false => metadata.classes.clone(),
    };
    match classes.len() == width && classes.iter().all(|&c| (c as usize) < tables.len()) {
        true => Ok((tables, classes)),
        false => Err(bad()),
    }
}

fn decode<W: Word>(
    node: &Node,
    metadata: &Metadata,
    data_type: &DataType,
    selection: &Selection,
    context: &DecodeContext<'_>,
) -> Result<ArrayRef> {
    let raw = metadata.raw;
    if metadata.word as usize != size_of::<W>() || raw as usize >= W::BITS {
        return Err(Error::corrupt(format!(
            "{ID}: words of {} bytes, {raw} raw bits, wanted as {data_type}",
            metadata.word
        )));
    }
    let layout = Layout::parse(node, metadata)?;
    let (tables, classes) = tables(metadata, context)?;
    let grid = layout.grid;
    let buffer = node.buffer(0)?;
    let keep = (1u64 << raw) - 1;
    grid.decode::<W>(data_type, selection, context, |group, block, out| {
        let unit = grid.unit(group, block);
        let bytes = buffer.slice(layout.starts[unit]..layout.starts[unit + 1])?;
        let (stream, packed) = bytes.split_at(metadata.lengths[unit] as usize);
        let mut decoder = rans::Decoder::new(stream)?;
        let classes = &classes[grid.elements(group)];
        let (mut held, mut count, mut at) = (0u128, 0u32, 0usize);
        let (words, _) = packed.as_chunks::<8>();
        let mut index = 0;
        for row in out.chunks_exact_mut(classes.len()) {
            for (value, &class) in row.iter_mut().zip(classes) {
                let symbol = decoder.symbol(index, &tables, u32::from(class));
                index += 1;
                if count < raw {
                    match words.get(at) {
                        Some(word) => {
                            held |= u128::from(u64::from_le_bytes(*word)) << count;
                            count += 64;
                        }
                        None => {
                            // The last bytes of a unit; what is missing counts as zero.
                            let rest = packed.get(at * 8..).unwrap_or_default();
                            let mut word = [0u8; 8];
                            let n = rest.len().min(8);
                            word[..n].copy_from_slice(&rest[..n]);
                            held |= u128::from(u64::from_le_bytes(word)) << count;
                            count += 64;
                        }
                    }
                    at += 1;
                }
                *value = W::narrow(u64::from(symbol) << raw | held as u64 & keep);
                held >>= raw;
                count -= raw;
            }
        }
        decoder.finish()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::FixedSizeListArray;
    use arrow::datatypes::Field;
    use half::{bf16, f16};

    use super::*;
    use crate::encoding::{testing, words};

    /// Values about normal, of another scale in each channel.
    fn normal(count: usize, width: usize) -> Vec<f32> {
        let mut seed = 7u64;
        let mut uniform = move || {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (seed >> 40) as f32 / (1 << 24) as f32 - 0.5
        };
        (0..count)
            .map(|i| (0..12).map(|_| uniform()).sum::<f32>() * (1 + i % width) as f32)
            .collect()
    }

    fn lists(values: ArrayRef, width: usize, group: usize) -> ArrayRef {
        let metadata = [(grid::GROUP_KEY.to_owned(), group.to_string())].into();
        let item = Field::new("item", values.data_type().clone(), false).with_metadata(metadata);
        Arc::new(FixedSizeListArray::new(
            Arc::new(item),
            width as i32,
            values,
            None,
        ))
    }

    #[test]
    fn floats_of_all_widths_keep_every_law() {
        for array in testing::float_arrays(2000) {
            testing::check(&Exponent, &array, Profile::Balanced);
        }
    }

    #[test]
    fn bf16_and_f16_take_what_their_entropy_says() {
        let values = normal(65_536, 1);
        let half: Vec<u16> = values.iter().map(|&v| f16::from_f32(v).to_bits()).collect();
        let brain: Vec<u16> = values
            .iter()
            .map(|&v| bf16::from_f32(v).to_bits())
            .collect();
        for (bits, most) in [(half, 0.86), (brain, 0.68)] {
            let array = words::array(bits, &DataType::UInt16).unwrap();
            let array = lists(array, 64, 32);
            let node = testing::encode(&Exponent, &array, Profile::Balanced).unwrap();
            let all = Selection::all();
            assert_eq!(
                &testing::decode(&node, array.data_type(), &all).unwrap(),
                &array
            );
            testing::hostile(&node, array.data_type());
            let share = node.stored_bytes() as f64 / (65_536.0 * 2.0);
            assert!(share < most, "{share}");
        }
    }

    #[test]
    fn elements_of_rows_are_selected_and_only_their_bytes_are_read() {
        let values: Vec<u32> = normal(64 * 1000, 64).iter().map(|v| v.to_bits()).collect();
        let array = words::array(values.clone(), &DataType::Float32).unwrap();
        let array = lists(array, 64, 16);
        let node = testing::encode(&Exponent, &array, Profile::Balanced).unwrap();
        let selection = Selection::range(320..352).with_elements(16..32);
        let Reads::Parts { buffers, .. } = Exponent.reads(&node, &selection) else {
            panic!("all bytes are read");
        };
        let read: u64 = buffers.iter().map(|(_, r)| r.end - r.start).sum();
        assert!(read < 128 * 16 * 4, "{read} bytes");
        let DataType::FixedSizeList(item, _) = array.data_type() else {
            panic!("not a list");
        };
        let narrow = DataType::FixedSizeList(Arc::clone(item), 16);
        let found = testing::decode(&node, &narrow, &selection).unwrap();
        let (found, width) = grid::numbers::<u32>(&found).unwrap();
        assert_eq!((found.len(), width), (32 * 16, 16));
        for (i, &word) in found.iter().enumerate() {
            assert_eq!(word, values[(320 + i / 16) * 64 + 16 + i % 16]);
        }
    }
}
