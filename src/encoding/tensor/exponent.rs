//! `pilaster.exponent.v1`: floats, sign and exponent entropy-coded, the rest of the mantissa as it is.
//!
//! The upper bits of trained weights and of key/value caches are far from uniform, the lower bits are
//! noise (ZipNN, arXiv:2411.05239; DFloat11, arXiv:2504.11651). A value of `w` bits is cut into a
//! symbol, its upper `w - raw` bits, and `raw` bits that are stored as they are. Symbols are coded
//! by rANS with static tables; the elements of a row (channels of a cache, columns of a matrix) are
//! sorted into a few classes with a table each. Any bit pattern comes back, NaN payloads included.
//!
//! Values are stored in the units of a [`Grid`]; each is a rANS stream and, after it, the raw bits,
//! least significant first. The last 64 raw bits lie in what the states of the stream, if it has any
//! bytes, hold when all is decoded. Tables and lengths of the streams are metadata, so that
//! a unit is read without anything else.

use arrow::array::{Array, ArrayRef};
use arrow::buffer::Buffer;
use arrow::datatypes::DataType;

use super::classes::{self, Classes, Stored};
use crate::encoding::blocks::places;
use crate::encoding::entropy::rans::{self, Tables};
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

/// Values of a unit: enough that the end of a stream (8 bytes) is small change, few enough that a unit
/// lies in two checked pieces of a file.
const UNIT_VALUES: usize = 512;
/// Values of a unit of plain numbers, which have no heads or tokens to be reached.
const LONG_UNIT: usize = 16 << 10;
/// Fewest rows of a unit.
const UNIT_ROWS: usize = 32;

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
    /// See [`Stored`].
    #[prost(uint32, repeated, tag = "7")]
    firsts: Vec<u32>,
    /// See [`Stored`].
    #[prost(uint32, repeated, tag = "8")]
    sizes: Vec<u32>,
    /// See [`Stored`].
    #[prost(bytes = "vec", tag = "9")]
    levels: Vec<u8>,
    /// Words of two bytes of the shortest stream of a unit.
    #[prost(uint32, tag = "10")]
    shortest: u32,
    /// How many words the stream of each unit has more.
    #[prost(uint32, repeated, tag = "11")]
    longer: Vec<u32>,
}

impl Metadata {
    /// Bytes of the stream of a unit.
    fn stream(&self, unit: usize) -> u64 {
        let longer = self.longer.get(unit).copied().unwrap_or(0);
        2 * (u64::from(self.shortest) + u64::from(longer))
    }
}

/// How many raw bits are tried, by bytes of a value: for each format of that size, the likeliest first,
/// its mantissa, and then with the first bit of the mantissa in the symbol.
fn formats(word: usize) -> &'static [&'static [u32]] {
    match word {
        1 => &[&[3, 2], &[2, 1]],
        2 => &[&[10, 9], &[7, 6]],
        4 => &[&[23, 22]],
        _ => &[&[52]],
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
        if metadata.longer.len() != grid.units() || metadata.raw >= 64 {
            return Err(Error::corrupt(format!(
                "{} streams for {} units",
                metadata.longer.len(),
                grid.units()
            )));
        }
        let mut sizes = Vec::with_capacity(grid.units());
        for unit in 0..grid.units() {
            let (group, block) = (unit / grid.blocks(), unit % grid.blocks());
            let values = grid.rows(block).len() * grid.elements(group).len();
            let stream = metadata.stream(unit);
            let raw = Raw::of(values, metadata.raw, stream == 0);
            let size = u32::try_from(stream + raw.bytes() as u64);
            sizes.push(size.map_err(|_| Error::corrupt("a unit of over 4 GiB"))?);
        }
        Ok(Self {
            grid,
            starts: places(&sizes, node.buffer(0)?.len())?,
        })
    }
}

/// Raw bits of the values of a unit.
#[derive(Debug, Clone, Copy)]
struct Raw {
    /// Bits that follow the stream.
    packed: usize,
    /// Bits that the stream carries, after those.
    carried: usize,
}

impl Raw {
    /// `silent`: a stream of no bytes carries none.
    fn of(values: usize, bits: u32, silent: bool) -> Self {
        let all = values * bits as usize;
        let carried = match silent {
            true => 0,
            false => all.min(rans::CARRIED as usize),
        };
        Self {
            packed: all - carried,
            carried,
        }
    }

    fn bytes(self) -> usize {
        self.packed.div_ceil(8)
    }

    /// Adds what a stream carried to the last values, of `bits` raw bits each. Fails if bits are set that
    /// belong to none, there or in the last of the bytes before.
    fn patch<W: Word>(
        self,
        carried: u64,
        bits: u32,
        packed: &[u8],
        values: &mut [W],
    ) -> Result<()> {
        let beyond = carried.checked_shr(self.carried as u32).unwrap_or(0);
        let fill = match self.packed % 8 {
            0 => 0,
            used => packed.last().map_or(0, |last| last >> used),
        };
        if beyond != 0 || fill != 0 {
            return Err(Error::corrupt("raw bits of more values than there are"));
        }
        let first = self.packed / bits.max(1) as usize;
        for (i, value) in values.iter_mut().enumerate().skip(first) {
            let at = i * bits as usize;
            let word = match at.checked_sub(self.packed) {
                Some(behind) => carried.checked_shr(behind as u32),
                None => carried.checked_shl((self.packed - at) as u32),
            };
            let word = word.unwrap_or(0) & ((1u64 << bits) - 1);
            *value = *value | W::narrow(word);
        }
        Ok(())
    }
}

fn encode<W: Word>(array: &ArrayRef) -> Result<Option<Node>> {
    let Some((values, width)) = grid::numbers::<W>(array) else {
        return Ok(None);
    };
    if values.is_empty() {
        return Ok(None);
    }
    let bits = |raw: u32, symbols: f64| symbols + values.len() as f64 * f64::from(raw);
    let in_one = |format: &&&[u32]| bits(format[0], classes::bits_in_one(&values, format[0]));
    let format = formats(size_of::<W>())
        .iter()
        .min_by(|a, b| in_one(a).total_cmp(&in_one(b)));
    let found = format.into_iter().copied().flatten().map(|&raw| {
        let classes = Classes::find(&values, width, raw);
        (bits(raw, classes.bits), raw, classes)
    });
    let Some((_, raw, classes)) = found.min_by(|a, b| a.0.total_cmp(&b.0)) else {
        return Ok(None);
    };
    let group = grid::group_of(array.data_type());
    let block = match width {
        1 => LONG_UNIT,
        _ => (UNIT_VALUES / group).next_power_of_two().max(UNIT_ROWS),
    };
    let grid = Grid::new(array.len(), width, group, block)?;
    let (firsts, sizes, levels) = classes.stored();
    let stored = Stored {
        firsts: &firsts,
        sizes: &sizes,
        levels: &levels,
    };
    let tables = stored.tables(W::BITS as u32 - raw)?;
    let coder = classes.coder(&tables);
    let mut bytes = Vec::new();
    let (mut intervals, mut rest) = (Vec::new(), Vec::new());
    let mut streams = Vec::with_capacity(grid.units());
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
            let mut packed = Vec::new();
            let silent = rans::silent(&intervals);
            let split = Raw::of(rest.len(), raw, silent);
            let carried = pack(rest.iter().copied(), raw, split.packed, &mut packed);
            let stream = match silent {
                true => Vec::new(),
                false => rans::encode_carrying(&intervals, carried),
            };
            streams.push(stream.len() as u32 / 2);
            bytes.extend_from_slice(&stream);
            bytes.extend_from_slice(&packed);
        }
    }
    let shortest = streams.iter().copied().min().unwrap_or(0);
    let metadata = Metadata {
        width: width as u32,
        group: group as u32,
        block: block as u32,
        word: size_of::<W>() as u32,
        raw,
        classes: match sizes.len() {
            1 => Vec::new(),
            _ => classes.of,
        },
        firsts,
        sizes,
        levels,
        shortest,
        longer: streams.iter().map(|s| s - shortest).collect(),
    };
    Ok(Some(
        Node::new(ID, array.len())
            .with_metadata(&metadata)
            .with_buffer(Buffer::from_vec(bytes)),
    ))
}

/// Appends the low `bits` bits of each word, least significant first, up to `most` bits in all. Gives
/// back the bits that follow, which may be up to 64.
fn pack(words: impl Iterator<Item = u64>, bits: u32, most: usize, to: &mut Vec<u8>) -> u64 {
    let keep = (1u128 << bits) - 1;
    let (mut held, mut count, mut room) = (0u128, 0, most);
    for word in words {
        held |= (u128::from(word) & keep) << count;
        count += bits;
        while room >= 8 && count >= 8 {
            to.push(held as u8);
            held >>= 8;
            count -= 8;
            room -= 8;
        }
    }
    let last = room.min(count as usize);
    if last > 0 {
        to.push((held & ((1 << last) - 1)) as u8);
        held >>= last;
    }
    held as u64
}

/// The tables of a node, and the table of each element.
fn tables(metadata: &Metadata, context: &DecodeContext<'_>) -> Result<(Tables, Vec<u8>)> {
    let bad = || Error::corrupt(format!("{ID} with impossible tables"));
    if metadata.sizes.len() > 256 {
        return Err(bad());
    }
    let symbols = metadata.levels.len() as u64;
    context.reserve(symbols * 24 + metadata.sizes.len() as u64 * (5 << 10))?;
    let stored = Stored {
        firsts: &metadata.firsts,
        sizes: &metadata.sizes,
        levels: &metadata.levels,
    };
    let tables = stored.tables(8 * metadata.word - metadata.raw)?;
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
        let (stream, packed) = bytes.split_at(metadata.stream(unit) as usize);
        let mut decoder = rans::Decoder::new(stream)?;
        let classes = &classes[grid.elements(group)];
        let split = Raw::of(out.len(), raw, stream.is_empty());
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
        match split.carried {
            0 => decoder.finish(),
            _ => split.patch(decoder.finish_carrying()?, raw, packed, out),
        }
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

    /// Units of fewer raw bits than a stream carries, units that say nothing beside others, bytes.
    #[test]
    fn units_of_all_sizes_come_back() {
        let noise: Vec<u16> = normal(1300, 1)
            .iter()
            .map(|&v| f16::from_f32(v).to_bits())
            .collect();
        for (rows, width, group) in [(1, 1, 1), (3, 1, 1), (7, 1, 1), (1, 9, 4), (130, 10, 5)] {
            let mut bits: Vec<u16> = noise[..rows * width].to_vec();
            let quiet = bits.len() / 2;
            bits[..quiet]
                .iter_mut()
                .for_each(|b| *b = 0x3c00 | *b & 0x1ff);
            let wide = words::array(bits.clone(), &DataType::Float16).unwrap();
            let bytes = bits.iter().map(|b| (b >> 8) as u8).collect();
            let narrow = words::array::<u8>(bytes, &DataType::UInt8).unwrap();
            for array in [wide, narrow] {
                let array = match width {
                    1 => array,
                    _ => lists(array, width, group),
                };
                let node = testing::encode(&Exponent, &array, Profile::Balanced).unwrap();
                let found = testing::decode(&node, array.data_type(), &Selection::all()).unwrap();
                assert_eq!(&found, &array);
                testing::hostile(&node, array.data_type());
            }
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
