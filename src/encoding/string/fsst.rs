//! `pilaster.fsst.v1`: text in codes of one byte, each for up to eight bytes that occur often.
//!
//! The table of symbols is a model, shared by the chunks of a column. Codes run on over the rows of
//! a block, so that a row costs no code more than its text; what it costs is that a block is decoded
//! at once, and blocks are small.
//!
//! | part | content |
//! |---|---|
//! | metadata | rows a block; the stored length of each block |
//! | buffer 0 | codes; 255 says that the next byte stands for itself |
//! | child 0 | the length of each value (uint32) |
//! | model `fsst.v1` | number of symbols (1 byte), the length of each (1 byte), their bytes |

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::Buffer;
use arrow::datatypes::DataType;
use fsst::{Compressor, Decompressor, ESCAPE_CODE, Symbol};

use super::zstd::codec::{from_lengths, lengths};
use crate::encoding::blocks::{Blocks, places};
use crate::encoding::{
    Access, DecodeContext, EncodeContext, Encoding, Model, Node, Profile, Reads, Role, Selection,
    Statistics, Verdict,
};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct Fsst;

const ID: &str = "pilaster.fsst.v1";
const KIND: &str = "fsst.v1";
/// Raw bytes a block: what a single row costs to read.
const BLOCK: usize = 8 << 10;
/// Bytes on which an older table is compared with a new one.
const TRIAL: usize = 32 << 10;
/// Less text than this does not pay for a table and its training.
const SMALLEST: u64 = 2048;

#[derive(Clone, PartialEq, prost::Message)]
struct Metadata {
    /// Rows in each block but the last.
    #[prost(uint64, tag = "1")]
    rows_per_block: u64,
    /// Bytes of each block in the buffer.
    #[prost(uint32, repeated, tag = "2")]
    stored: Vec<u32>,
}

impl Encoding for Fsst {
    fn id(&self) -> &'static str {
        ID
    }

    fn access(&self) -> Access {
        Access::Block
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        *data_type == DataType::Binary
    }

    fn estimate(&self, statistics: &Statistics, _: Profile) -> Verdict {
        match statistics.bytes < SMALLEST {
            true => Verdict::Skip,
            false => Verdict::Measure,
        }
    }

    fn encode(&self, array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        let Some(values) = array.as_binary_opt::<i32>() else {
            return Ok(None);
        };
        let offsets = values.value_offsets();
        let (first, last) = (offsets[0] as usize, offsets[values.len()] as usize);
        if last == first || !context.keeps_models {
            return Ok(None);
        }
        let (model, table) = table(values, last - first, context)?;
        let Some(compressor) = &table.compressor else {
            return Ok(None);
        };
        let per_block = Blocks::rows_for(values.len(), last - first, BLOCK);
        let mut metadata = Metadata {
            rows_per_block: per_block as u64,
            stored: Vec::new(),
        };
        let mut packed = Vec::with_capacity((last - first) / 2);
        for start in (0..values.len()).step_by(per_block) {
            let end = (start + per_block).min(values.len());
            let raw = &values.values()[offsets[start] as usize..offsets[end] as usize];
            let codes = compressor.compress(raw);
            metadata.stored.push(codes.len() as u32);
            packed.extend_from_slice(&codes);
        }
        if packed.len() >= last - first {
            return Ok(None);
        }
        let lengths = context.child(ID, &lengths(values), Role::Values)?;
        let mut node = Node::new(ID, values.len())
            .with_metadata(&metadata)
            .with_buffer(Buffer::from_vec(packed))
            .with_child(lengths);
        node.model = Some(model);
        Ok(Some(node))
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
        node.expect(1, 1)?;
        if *data_type != DataType::Binary {
            return Err(Error::corrupt(format!("symbols of {data_type}")));
        }
        let table = context.model(node)?.parsed(KIND, Table::parse)?;
        let metadata: Metadata = node.parse_metadata()?;
        let (blocks, places) = block_table(node, &metadata)?;
        let touched = blocks.touched(selection);
        let covered = blocks.covered(&touched, context)?;
        let lengths = node.child_of(0, node.rows)?;
        let lengths = context.decode(lengths, &DataType::UInt32, &covered)?;
        let lengths_of = lengths
            .as_primitive::<arrow::datatypes::UInt32Type>()
            .values();
        let total: u64 = lengths_of.iter().map(|&n| u64::from(n)).sum();
        context.reserve(total)?;
        let decompressor = table.decompressor();
        let mut bytes = Vec::with_capacity(total as usize);
        for blocks in &touched {
            for i in blocks.clone() {
                let codes = node.buffer(0)?.slice(places[i]..places[i + 1])?;
                check_escapes(&codes)?;
                // Room for the worst case is taken by the decompressor, a block at a time.
                let text = decompressor.decompress(&codes);
                if bytes.len() + text.len() > total as usize {
                    return Err(Error::corrupt(
                        "symbols give more text than their lengths say",
                    ));
                }
                bytes.extend_from_slice(&text);
            }
        }
        let all = from_lengths(&lengths, Buffer::from_vec(bytes), context)?;
        blocks.within(&touched, selection).take(&all)
    }

    fn reads(&self, node: &Node, selection: &Selection) -> Reads {
        let Ok(metadata) = node.parse_metadata::<Metadata>() else {
            return Reads::All;
        };
        let Ok((blocks, places)) = block_table(node, &metadata) else {
            return Reads::All;
        };
        let touched = blocks.touched(selection);
        let rows = match (touched.first(), touched.last()) {
            (Some(first), Some(last)) => blocks.rows_of(&(first.start..last.end)),
            _ => 0..0,
        };
        Reads::Parts {
            buffers: touched
                .iter()
                .map(|b| (0, places[b.start]..places[b.end]))
                .collect(),
            children: vec![Some(Selection::range(rows))],
        }
    }
}

fn block_table(node: &Node, metadata: &Metadata) -> Result<(Blocks, Vec<u64>)> {
    let per_block = usize::try_from(metadata.rows_per_block).unwrap_or(0);
    let blocks = Blocks::new(node.rows, per_block, metadata.stored.len())?;
    Ok((blocks, places(&metadata.stored, node.buffer(0)?.len())?))
}

/// The column's latest table if it serves these values about as well as one of their own; else a
/// new one.
fn table(
    values: &BinaryArray,
    bytes: usize,
    context: &mut EncodeContext<'_>,
) -> Result<(u32, Arc<Table>)> {
    let texts: Vec<&[u8]> = (0..values.len()).map(|i| values.value(i)).collect();
    let new = Compressor::train(&texts);
    let bytes_of_new = Table::write(&new);
    if let Some((index, latest)) = context.models.latest(KIND) {
        let old = latest.parsed(KIND, Table::parse)?;
        if let Some(compressor) = &old.compressor {
            let trial = trial(values);
            let cost = |c: &Compressor| c.compress(&trial).len() as f64;
            let share = trial.len() as f64 / bytes as f64;
            if cost(compressor) <= cost(&new) * 1.03 + bytes_of_new.len() as f64 * share {
                return Ok((index, old));
            }
        }
    }
    let model = Model::new(KIND, bytes_of_new);
    let parsed = model.parsed(KIND, |bytes| {
        let mut table = Table::parse(bytes)?;
        table.compressor = Some(new);
        Ok(table)
    })?;
    Ok((context.models.push(Arc::new(model)), parsed))
}

/// Text from all over the values.
fn trial(values: &BinaryArray) -> Vec<u8> {
    let step = (values.values().len() / TRIAL).max(1);
    let mut text = Vec::new();
    for i in (0..values.len()).step_by(step) {
        text.extend_from_slice(values.value(i));
        if text.len() >= TRIAL {
            break;
        }
    }
    text
}

/// A checked symbol table, with the compressor if it was trained here. From stored bytes none is
/// built: the library panics on some tables.
struct Table {
    symbols: [Symbol; 255],
    lengths: [u8; 255],
    compressor: Option<Compressor>,
}

impl Table {
    fn write(compressor: &Compressor) -> Vec<u8> {
        let lengths = compressor.symbol_lengths();
        let mut bytes = vec![lengths.len() as u8];
        bytes.extend_from_slice(lengths);
        for (symbol, &length) in compressor.symbol_table().iter().zip(lengths) {
            bytes.extend_from_slice(&symbol.to_u64().to_le_bytes()[..usize::from(length)]);
        }
        bytes
    }

    /// The library trusts its symbol tables: a symbol of more than eight bytes makes it write out of
    /// bounds, and one of none makes it loop. So nothing unchecked gets there.
    fn parse(bytes: &Buffer) -> Result<Self> {
        let wrong = || Error::corrupt("symbol table");
        let (&count, rest) = bytes.split_first().ok_or_else(wrong)?;
        let (sizes, mut rest) = rest
            .split_at_checked(usize::from(count))
            .ok_or_else(wrong)?;
        // Two and more bytes by length, then single bytes.
        let rank = |n: u8| if n == 1 { 9 } else { n };
        let ordered = sizes.windows(2).all(|w| rank(w[0]) <= rank(w[1]));
        if !ordered || sizes.iter().any(|n| !(1..=8).contains(n)) {
            return Err(wrong());
        }
        let mut symbols = [Symbol::ZERO; 255];
        let mut lengths = [0u8; 255];
        for (i, &size) in sizes.iter().enumerate() {
            let (text, after) = rest.split_at_checked(usize::from(size)).ok_or_else(wrong)?;
            let mut word = [0u8; 8];
            word[..text.len()].copy_from_slice(text);
            symbols[i] = Symbol::from_slice(&word);
            lengths[i] = size;
            rest = after;
        }
        if !rest.is_empty() {
            return Err(wrong());
        }
        Ok(Self {
            symbols,
            lengths,
            compressor: None,
        })
    }

    fn decompressor(&self) -> Decompressor<'_> {
        Decompressor::new(&self.symbols, &self.lengths)
    }
}

/// Fails if codes end in an escape without its byte, which the library does not forgive. In the run
/// of 255s at the end they pair up, escape and byte, from the left.
fn check_escapes(codes: &[u8]) -> Result<()> {
    let run = codes
        .iter()
        .rev()
        .take_while(|&&c| c == ESCAPE_CODE)
        .count();
    match run % 2 {
        0 => Ok(()),
        _ => Err(Error::corrupt("symbols that end in an escape")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::testing::{BUDGET, PlainChildren};
    use crate::encoding::{Models, NoParents, NodeBuffer, Registry};

    fn encode(array: &ArrayRef, models: &mut Models) -> Node {
        let registry = Registry::standard();
        let profile = Profile::Balanced;
        let mut context = EncodeContext::new(&PlainChildren, registry, models, &[], profile);
        Fsst.encode(array, &mut context).unwrap().unwrap()
    }

    fn decode(node: &Node, models: &Models, selection: &Selection) -> Result<ArrayRef> {
        DecodeContext::new(Registry::standard(), models, &NoParents, BUDGET).decode(
            node,
            &DataType::Binary,
            selection,
        )
    }

    fn urls(rows: usize, host: &str) -> ArrayRef {
        let url = |i: usize| {
            format!(
                "https://{host}/item?id={}&page={}\u{fffd}",
                i * 7919,
                i % 13
            )
        };
        Arc::new(BinaryArray::from_iter_values((0..rows).map(url)))
    }

    #[test]
    fn selections_of_text_come_back() {
        let array = urls(5000, "www.example.com").slice(7, 4000);
        let mut models = Models::default();
        let node = encode(&array, &mut models);
        assert!(node.buffers[0].len() * 2 < array.as_binary::<i32>().values().len() as u64);
        let far: Vec<u32> = (0..4000).step_by(333).collect();
        for selection in [
            Selection::all(),
            Selection::range(0..0),
            Selection::range(1234..1300),
            Selection::indices(far).unwrap(),
        ] {
            let got = decode(&node, &models, &selection).unwrap();
            assert_eq!(&got, &selection.take(&array).unwrap());
        }
    }

    #[test]
    fn a_table_is_shared_until_the_text_changes() {
        let mut models = Models::default();
        let first = encode(&urls(5000, "www.example.com"), &mut models);
        let second = encode(&urls(4000, "www.example.com"), &mut models);
        assert_eq!((first.model, second.model), (Some(0), Some(0)));
        let other: ArrayRef = Arc::new(BinaryArray::from_iter_values(
            (0..5000).map(|i| format!("Lorem ipsum {} dolor sit amet {}", i % 17, i)),
        ));
        let third = encode(&other, &mut models);
        assert_eq!(third.model, Some(1));
        assert_eq!(&decode(&third, &models, &Selection::all()).unwrap(), &other);
    }

    #[test]
    fn damaged_tables_and_codes_give_errors_or_text() {
        let array = urls(300, "example.org");
        let mut models = Models::default();
        let node = encode(&array, &mut models);
        let bytes = models.get(0).unwrap().bytes().to_vec();
        for at in 0..bytes.len() {
            for bad in [0, 1, 9, 0xff, bytes[at] ^ 1] {
                let mut bytes = bytes.clone();
                bytes[at] = bad;
                let mut models = Models::default();
                models.push(Arc::new(Model::new(KIND, bytes)));
                let _ = decode(&node, &models, &Selection::all());
            }
            let mut models = Models::default();
            models.push(Arc::new(Model::new(KIND, bytes[..at].to_vec())));
            assert!(decode(&node, &models, &Selection::all()).is_err());
        }
        let codes = node.buffers[0].bytes().unwrap().to_vec();
        for at in 0..codes.len() {
            for bad in [0, 0xfe, 0xff] {
                let mut codes = codes.clone();
                codes[at] = bad;
                let mut node = node.clone();
                node.buffers[0] = NodeBuffer::whole(codes);
                let _ = decode(&node, &models, &Selection::all());
            }
        }
    }
}
