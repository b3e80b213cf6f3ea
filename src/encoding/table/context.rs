//! `pilaster.context.v1`: a column coded with probabilities that its parents select.
//!
//! Symbols stand for values, for residuals of a prediction, or for the top bits of values; a tree
//! over up to three variables (parents' values, the column's own earlier symbols) picks the static
//! table by which each symbol is rANS-coded. Form, variables, alphabet, tree and tables are the
//! column's [model](super::model); a chunk holds nothing but coded symbols.
//!
//! The one buffer is three parts, their lengths in the metadata:
//!
//! | part | content |
//! |---|---|
//! | symbols | a stream of [rANS](crate::encoding::entropy::rans) |
//! | raw | the bits that symbols leave open, least significant first, row after row |
//! | patches | rows whose value the model cannot express, with that value |
//!
//! A patched row is coded as its table's most frequent symbol with raw bits of zero, and later rows
//! see that symbol and its value: patches are put in when everything else is decoded.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Int64Type};

use super::model::{ContextModel, KIND};
use super::rows::{Keys, dense_memory, predict};
use super::spec::{
    BUCKETS, Form, Prediction, Variable, bucket, bucket_bits, is_exception, unbucket,
};
use super::walk;
use crate::encoding::entropy::adaptive::{self, Coder, Number};
use crate::encoding::entropy::rans;
use crate::encoding::{Access, DecodeContext, EncodeContext, Encoding, Node, Selection};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct Context;

/// Id of the encoding.
pub const ID: &str = "pilaster.context.v1";

#[derive(Clone, PartialEq, prost::Message)]
struct Metadata {
    /// Bytes of the symbols.
    #[prost(uint64, tag = "1")]
    symbols: u64,
    /// Bytes of the raw bits.
    #[prost(uint64, tag = "2")]
    raw: u64,
    /// Number of patches.
    #[prost(uint64, tag = "3")]
    patches: u64,
}

impl Encoding for Context {
    fn id(&self) -> &'static str {
        ID
    }

    fn access(&self) -> Access {
        Access::Opaque
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        *data_type == DataType::Int64
    }

    /// Layouts name this encoding and bring its model, also for columns that have no parents.
    fn parents_needed(&self) -> usize {
        1
    }

    fn encode(&self, array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        let Some((index, model)) = context.models.latest(KIND) else {
            return Ok(None);
        };
        let Some(values) = array.as_primitive_opt::<Int64Type>() else {
            return Ok(None);
        };
        if values.null_count() > 0 {
            return Ok(None);
        }
        let model = model.parsed(KIND, |bytes| ContextModel::parse(bytes))?;
        let mut parents: Vec<&[i64]> = Vec::new();
        for parent in context.parents.iter().take(model.parents) {
            match parent.as_primitive_opt::<Int64Type>() {
                Some(p) if p.null_count() == 0 && p.len() == values.len() => {
                    parents.push(p.values());
                }
                _ => return Ok(None),
            }
        }
        if parents.len() < model.parents {
            return Ok(None);
        }
        let Some(chunk) = encode(&model, values.values(), &parents) else {
            return Ok(None);
        };
        let metadata = Metadata {
            symbols: chunk.symbols.len() as u64,
            raw: chunk.raw.len() as u64,
            patches: chunk.patches.len() as u64,
        };
        let mut bytes = chunk.symbols;
        bytes.extend_from_slice(&chunk.raw);
        bytes.extend_from_slice(&patch_bytes(&chunk.patches));
        let mut node = Node::new(ID, values.len())
            .with_metadata(&metadata)
            .with_buffer(bytes);
        node.model = Some(index);
        node.parents = (0..model.parents as u32).collect();
        Ok(Some(node))
    }

    fn decode(
        &self,
        node: &Node,
        data_type: &DataType,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        node.expect(1, 0)?;
        if !self.accepts(data_type) {
            return Err(Error::corrupt(format!("{ID} cannot hold {data_type}")));
        }
        let metadata: Metadata = node.parse_metadata()?;
        let bytes = node.buffer(0)?.bytes()?;
        let split = |bytes: &[u8], at: u64| -> Result<(usize, usize)> {
            let at = usize::try_from(at).ok().filter(|&at| at <= bytes.len());
            let at = at.ok_or_else(|| Error::corrupt(format!("{ID} is shorter than it says")))?;
            Ok((at, bytes.len()))
        };
        let (at, _) = split(&bytes, metadata.symbols)?;
        let (stream, rest) = bytes.split_at(at);
        let (at, _) = split(rest, metadata.raw)?;
        let (raw, patches) = rest.split_at(at);

        let model = context
            .model(node)?
            .parsed(KIND, |bytes| ContextModel::parse(bytes))?;
        let variables = model.spec.variables.len();
        context.reserve_rows(node.rows, 16 + variables * walk::ROW_MEMORY)?;
        context.reserve(dense_memory(node.rows) as u64)?;
        let mut arrays = Vec::with_capacity(model.parents);
        for i in 0..model.parents {
            let parent = context.parent(node, i, &Selection::all())?;
            match parent.data_type() {
                DataType::Int64 if parent.null_count() == 0 => arrays.push(parent),
                _ => return Err(Error::corrupt("a parent is not a column of codes")),
            }
        }
        let parents: Vec<&[i64]> = arrays
            .iter()
            .map(|a| a.as_primitive::<Int64Type>().values().as_ref())
            .collect();
        let known = walk::contexts(&model, &parents);
        let symbols = walk::symbols(&model, &known, stream, node.rows)?;
        let mut values = restore(&model, &symbols, raw, &parents)?;
        apply_patches(patches, metadata.patches, &mut values)?;
        Ok(Arc::new(Int64Array::new(values.into(), None)))
    }
}

/// A chunk in parts.
struct Chunk {
    symbols: Vec<u8>,
    raw: Vec<u8>,
    patches: Vec<(usize, i64)>,
}

/// Encodes a chunk; `None` if the model does not suit it.
fn encode(model: &ContextModel, values: &[i64], parents: &[&[i64]]) -> Option<Chunk> {
    let known = walk::contexts(model, parents);
    let alphabet = Keys::new(model.alphabet.clone());
    let mut last = vec![0u32; known.last.as_ref().map_or(0, |d| d.count)];
    let mut previous = 0u32;
    let mut intervals = Vec::with_capacity(values.len());
    let mut bits = BitWriter::default();
    let mut patches = Vec::new();
    let (prediction, start) = match model.spec.form {
        Form::Residual {
            prediction, start, ..
        } => (prediction, start),
        _ => (Prediction::Previous, 0),
    };
    let mut ids = vec![0u32; model.levels.len()];
    predict(
        &prediction,
        start,
        parents,
        values.len(),
        |row, expected| {
            let key = known.last.as_ref().map_or(0, |d| d.ids[row] as usize);
            for (i, variable) in model.spec.variables.iter().enumerate() {
                ids[i] = match variable {
                    Variable::Previous => previous,
                    Variable::Last(_) => last[key],
                    _ => known.fixed[i][row],
                };
            }
            let table = model.table(&ids);
            let value = values[row];
            let coded = symbol_of(model, &alphabet, value, expected)
                .and_then(|(symbol, raw)| Some((symbol, raw, model.tables.find(table, symbol)?)));
            let (symbol, raw, interval) = match coded {
                Some(coded) => coded,
                None => {
                    patches.push((row, value));
                    let symbol = model.tables.likeliest(table);
                    let Some(interval) = model.tables.find(table, symbol) else {
                        return value;
                    };
                    (symbol, 0, interval)
                }
            };
            intervals.push(interval);
            bits.put(raw, raw_bits(model, symbol));
            previous = symbol + 1;
            if let Some(seen) = last.get_mut(key) {
                *seen = symbol + 1;
            }
            value_of(model, symbol, raw, expected)
        },
    );
    if patches.len() > values.len() / 8 + 16 {
        return None;
    }
    Some(Chunk {
        symbols: rans::encode(&intervals),
        raw: bits.finish(),
        patches,
    })
}

/// The symbol and the raw bits of a value.
#[inline]
fn symbol_of(
    model: &ContextModel,
    alphabet: &Keys,
    value: i64,
    expected: i64,
) -> Option<(u32, u64)> {
    let place = || alphabet.id(value).checked_sub(1);
    let exceptions = model.alphabet.len() as u32;
    match model.spec.form {
        Form::Symbol => Some((place()?, 0)),
        _ if is_exception(value) => Some((place()?, 0)),
        Form::Residual { step, .. } => {
            let difference = value.wrapping_sub(expected);
            let difference = match step {
                1 => difference,
                _ => {
                    let step = i64::try_from(step).ok()?;
                    if difference % step != 0 {
                        return None;
                    }
                    difference / step
                }
            };
            let (bucket, raw, _) = bucket(difference);
            let symbol = exceptions + bucket;
            // Wrapped differences of more than half the range have no exact multiple.
            let exact = value_of(model, symbol, raw, expected) == value;
            (exact && (symbol as usize) < model.symbols).then_some((symbol, raw))
        }
        Form::Top { base, step, shift } => {
            if value < base {
                return None;
            }
            let offset = value.abs_diff(base);
            let scaled = offset / step;
            let top = scaled >> shift;
            let fits = offset % step == 0 && top < (model.symbols as u64 - u64::from(exceptions));
            fits.then_some((exceptions + top as u32, scaled & ((1 << shift) - 1)))
        }
    }
}

/// Number of raw bits that belong to a symbol.
#[inline]
fn raw_bits(model: &ContextModel, symbol: u32) -> u32 {
    let Some(symbol) = symbol.checked_sub(model.alphabet.len() as u32) else {
        return 0;
    };
    match model.spec.form {
        Form::Symbol => 0,
        Form::Residual { .. } => bucket_bits(symbol),
        Form::Top { shift, .. } => shift,
    }
}

/// The value of a symbol and its raw bits.
#[inline]
fn value_of(model: &ContextModel, symbol: u32, raw: u64, expected: i64) -> i64 {
    let exceptions = model.alphabet.len();
    if (symbol as usize) < exceptions {
        return model.alphabet[symbol as usize];
    }
    let symbol = symbol - exceptions as u32;
    match model.spec.form {
        Form::Symbol => 0,
        Form::Residual { step, .. } => {
            expected.wrapping_add(unbucket(symbol, raw).wrapping_mul(step as i64))
        }
        Form::Top { base, step, shift } => {
            let scaled = u64::from(symbol) << shift | raw;
            base.wrapping_add(scaled.wrapping_mul(step) as i64)
        }
    }
}

/// Values from symbols.
fn restore(
    model: &ContextModel,
    symbols: &[u32],
    raw: &[u8],
    parents: &[&[i64]],
) -> Result<Vec<i64>> {
    let alphabet = &model.alphabet;
    let exceptions = alphabet.len() as u32;
    let mut reader = BitReader::new(raw);
    let mut values = Vec::with_capacity(symbols.len());
    match model.spec.form {
        Form::Symbol => values.extend(symbols.iter().map(|&s| alphabet[s as usize])),
        Form::Residual {
            prediction,
            step,
            start,
        } => {
            let widths: Vec<u8> = (0..BUCKETS as u32).map(|b| bucket_bits(b) as u8).collect();
            predict(
                &prediction,
                start,
                parents,
                symbols.len(),
                |row, expected| {
                    let symbol = symbols[row];
                    let value = match symbol.checked_sub(exceptions) {
                        None => alphabet[symbol as usize],
                        Some(bucket) => {
                            let raw = reader.get(u32::from(widths[bucket as usize]));
                            let difference = unbucket(bucket, raw);
                            expected.wrapping_add(difference.wrapping_mul(step as i64))
                        }
                    };
                    values.push(value);
                    value
                },
            );
        }
        Form::Top { base, step, shift } => {
            for &symbol in symbols {
                values.push(match symbol.checked_sub(exceptions) {
                    None => alphabet[symbol as usize],
                    Some(top) => {
                        let scaled = u64::from(top) << shift | reader.get(shift);
                        base.wrapping_add(scaled.wrapping_mul(step) as i64)
                    }
                });
            }
        }
    }
    match reader.position.div_ceil(8) == raw.len() {
        true => Ok(values),
        false => Err(Error::corrupt("raw bits do not fit their symbols")),
    }
}

fn code_patch(
    models: &mut [Number; 3],
    coder: &mut impl Coder,
    gap: u64,
    value: i64,
) -> (u64, i64) {
    let bits = value as u64;
    let gap = models[0].code(coder, gap);
    let high = models[1].code(coder, bits >> 32);
    let low = models[2].code(coder, bits & 0xffff_ffff);
    (gap, (high << 32 | low & 0xffff_ffff) as i64)
}

fn patch_bytes(patches: &[(usize, i64)]) -> Vec<u8> {
    let mut coder = adaptive::Encoder::default();
    let mut models = Default::default();
    let mut next = 0;
    for &(row, value) in patches {
        code_patch(&mut models, &mut coder, (row - next) as u64, value);
        next = row + 1;
    }
    coder.finish()
}

fn apply_patches(bytes: &[u8], count: u64, values: &mut [i64]) -> Result<()> {
    let mut coder = adaptive::Decoder::new(bytes);
    let mut models = Default::default();
    let mut next = 0u64;
    for _ in 0..count {
        let (gap, value) = code_patch(&mut models, &mut coder, 0, 0);
        coder.check()?;
        let row = next.saturating_add(gap);
        let place = usize::try_from(row).ok().and_then(|r| values.get_mut(r));
        *place.ok_or_else(|| Error::corrupt("a patch of a row that is not there"))? = value;
        next = row + 1;
    }
    Ok(())
}

/// Writes bits, least significant first.
#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    pending: u128,
    count: u32,
}

impl BitWriter {
    fn put(&mut self, bits: u64, count: u32) {
        self.pending |= u128::from(bits) << self.count;
        self.count += count;
        while self.count >= 8 {
            self.bytes.push(self.pending as u8);
            self.pending >>= 8;
            self.count -= 8;
        }
    }

    fn finish(mut self) -> Vec<u8> {
        if self.count > 0 {
            self.bytes.push(self.pending as u8);
        }
        self.bytes
    }
}

/// Reads bits; zeros beyond the end.
struct BitReader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> BitReader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    #[inline(always)]
    fn get(&mut self, count: u32) -> u64 {
        let byte = self.position / 8;
        let shift = self.position % 8;
        self.position += count as usize;
        if count <= 56
            && let Some(window) = self.bytes.get(byte..byte + 8)
            && let Ok(window) = window.try_into()
        {
            return u64::from_le_bytes(window) >> shift & ((1 << count) - 1);
        }
        let mut wide = [0u8; 16];
        let rest = self.bytes.get(byte..).unwrap_or(&[]);
        let n = rest.len().min(16);
        wide[..n].copy_from_slice(&rest[..n]);
        (u128::from_le_bytes(wide) >> shift) as u64 & ((1u64 << count) - 1)
    }
}
