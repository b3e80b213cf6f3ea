//! A chunk of a conditioned column, from values to its three parts and back.

use super::model::ContextModel;
use super::rows::{DENSE_MEMORY, Keys, Predictor};
use super::spec::{
    BUCKETS, Form, Prediction, Variable, bucket, bucket_bits, is_exception, unbucket,
};
use super::walk::{self, BLOCK, Walk};
use crate::encoding::entropy::adaptive::{self, Coder, Number};
use crate::encoding::entropy::rans;
use crate::error::{Error, Result};

/// A chunk in parts.
#[derive(Debug)]
pub struct Chunk {
    /// The rANS stream.
    pub symbols: Vec<u8>,
    /// Raw bits.
    pub raw: Vec<u8>,
    /// Coded patches.
    pub patches: Vec<u8>,
    /// Number of patches.
    pub patched: usize,
}

/// Encodes a chunk; `None` if the model does not suit it.
pub fn encode(model: &ContextModel, values: &[i64], parents: &[&[i64]]) -> Option<Chunk> {
    let lookups = model.spec.variables.iter().zip(&model.lookups);
    let known: Vec<Vec<u32>> = lookups
        .map(|(variable, lookup)| {
            let mut ids = Vec::new();
            walk::ids(*variable, lookup, parents, 0..values.len(), &mut ids);
            ids
        })
        .collect();
    let keys = walk::last_keys(model, parents);
    let alphabet = Keys::new(model.alphabet.clone());
    let mut last = vec![0u32; keys.as_ref().map_or(0, |d| d.count)];
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
    let mut predictor = Predictor::new(prediction, start, parents);
    predictor.run(0..values.len(), |row, expected| {
        let key = keys.as_ref().map_or(0, |d| d.ids[row] as usize);
        for (i, variable) in model.spec.variables.iter().enumerate() {
            ids[i] = match variable {
                Variable::Previous => previous,
                Variable::Last(_) => last[key],
                _ => known[i][row],
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
    });
    if patches.len() > values.len() / 8 + 16 {
        return None;
    }
    Some(Chunk {
        symbols: rans::encode(&intervals),
        raw: bits.finish(),
        patched: patches.len(),
        patches: patch_bytes(&patches),
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

/// Bytes a row that [`decode`] may allocate: values, and the last ones at each value of a parent.
pub fn row_memory(model: &ContextModel) -> usize {
    let predictions = match model.spec.form {
        Form::Residual {
            prediction: Prediction::Last(_),
            ..
        } => DENSE_MEMORY,
        _ => 0,
    };
    8 + walk::row_memory(model) + predictions
}

/// Decodes a chunk.
pub fn decode(
    model: &ContextModel,
    rows: usize,
    parents: &[&[i64]],
    stream: &[u8],
    raw: &[u8],
    patches: (&[u8], u64),
) -> Result<Vec<i64>> {
    let mut walk = Walk::new(model, parents, stream)?;
    let mut values = Values::new(model, parents, raw, rows);
    let mut symbols = vec![0; BLOCK.min(rows)];
    for start in (0..rows).step_by(BLOCK) {
        let block = start..rows.min(start + BLOCK);
        let symbols = &mut symbols[..block.len()];
        walk.block(block, symbols)?;
        values.block(symbols);
    }
    walk.finish()?;
    let mut values = values.finish()?;
    apply_patches(patches.0, patches.1, &mut values)?;
    Ok(values)
}

/// Makes values of symbols, block by block.
struct Values<'a> {
    model: &'a ContextModel,
    predictor: Option<Predictor<'a>>,
    widths: [u8; BUCKETS],
    raw: BitReader<'a>,
    values: Vec<i64>,
}

impl<'a> Values<'a> {
    fn new(model: &'a ContextModel, parents: &'a [&'a [i64]], raw: &'a [u8], rows: usize) -> Self {
        Self {
            model,
            predictor: match model.spec.form {
                Form::Residual {
                    prediction, start, ..
                } => Some(Predictor::new(prediction, start, parents)),
                _ => None,
            },
            widths: std::array::from_fn(|b| bucket_bits(b as u32) as u8),
            raw: BitReader::new(raw),
            values: Vec::with_capacity(rows),
        }
    }

    /// Adds the values of the next rows.
    fn block(&mut self, symbols: &[u32]) {
        let alphabet = self.model.alphabet.as_slice();
        let exceptions = alphabet.len() as u32;
        let (reader, values) = (&mut self.raw, &mut self.values);
        match (self.model.spec.form, &mut self.predictor) {
            (Form::Residual { step, .. }, Some(predictor)) => {
                let first = values.len();
                predictor.run(first..first + symbols.len(), |row, expected| {
                    let symbol = symbols[row - first];
                    let value = match symbol.checked_sub(exceptions) {
                        None => alphabet[symbol as usize],
                        Some(bucket) => {
                            let raw = reader.get(u32::from(self.widths[bucket as usize]));
                            let difference = unbucket(bucket, raw);
                            expected.wrapping_add(difference.wrapping_mul(step as i64))
                        }
                    };
                    values.push(value);
                    value
                });
            }
            (Form::Top { base, step, shift }, _) => {
                values.extend(
                    symbols
                        .iter()
                        .map(|&symbol| match symbol.checked_sub(exceptions) {
                            None => alphabet[symbol as usize],
                            Some(top) => {
                                let scaled = u64::from(top) << shift | reader.get(shift);
                                base.wrapping_add(scaled.wrapping_mul(step) as i64)
                            }
                        }),
                );
            }
            _ => values.extend(symbols.iter().map(|&s| alphabet[s as usize])),
        }
    }

    /// All values, if the raw bits were used up.
    fn finish(self) -> Result<Vec<i64>> {
        match self.raw.position.div_ceil(8) == self.raw.bytes.len() {
            true => Ok(self.values),
            false => Err(Error::corrupt("raw bits do not fit their symbols")),
        }
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

#[cfg(test)]
mod tests {
    use super::super::model::Stored;
    use super::super::spec::{Scaled, Spec};
    use super::super::tree::Tree;
    use super::*;

    fn flat(form: Form, alphabet: Vec<i64>, symbols: usize) -> ContextModel {
        let stored = Stored {
            spec: Spec {
                form,
                variables: Vec::new(),
            },
            alphabet,
            symbols,
            keys: Vec::new(),
            tree: Tree::Leaf {
                symbols: (0..symbols as u32).collect(),
                counts: vec![1; symbols],
            },
        };
        ContextModel::parse(&stored.to_bytes().unwrap()).unwrap()
    }

    fn round_trip(model: &ContextModel, values: &[i64], parents: &[&[i64]]) -> Chunk {
        let chunk = encode(model, values, parents).unwrap();
        let patches = (chunk.patches.as_slice(), chunk.patched as u64);
        let back = decode(
            model,
            values.len(),
            parents,
            &chunk.symbols,
            &chunk.raw,
            patches,
        );
        assert_eq!(back.unwrap(), values);
        chunk
    }

    #[test]
    fn all_forms_and_predictions_come_back() {
        let values: Vec<i64> = (0..999i64)
            .map(|i| match i % 50 {
                0 => i64::MIN + i % 2,
                _ => 1000 + i * i % 977 * 10,
            })
            .collect();
        let parent: Vec<i64> = values.iter().map(|v| v.saturating_add(3)).collect();
        let scaled = Scaled {
            parent: 0,
            exponent: 0,
        };
        let exceptions = vec![i64::MIN, i64::MIN + 1];
        for prediction in [
            Prediction::Previous,
            Prediction::Linear,
            Prediction::Last(0),
            Prediction::Column(scaled),
            Prediction::Step(scaled),
            Prediction::Sum(scaled, scaled, true),
            Prediction::Ratio(0, 0.5),
        ] {
            let form = Form::Residual {
                prediction,
                step: 1,
                start: 0,
            };
            let model = flat(form, exceptions.clone(), 2 + BUCKETS);
            assert_eq!(round_trip(&model, &values, &[&parent]).patched, 0);
        }
        let top = Form::Top {
            base: 1000,
            step: 10,
            shift: 3,
        };
        assert_eq!(
            round_trip(&flat(top, exceptions, 200), &values, &[]).patched,
            0
        );
        let mut alphabet = values.clone();
        alphabet.sort_unstable();
        alphabet.dedup();
        let n = alphabet.len();
        assert_eq!(
            round_trip(&flat(Form::Symbol, alphabet, n), &values, &[]).patched,
            0
        );
    }

    #[test]
    fn extremes_come_back() {
        let form = Form::Residual {
            prediction: Prediction::Linear,
            step: 1,
            start: 5,
        };
        let values = [i64::MAX, i64::MIN, i64::MIN + 70_000, 0, -1, i64::MAX];
        round_trip(&flat(form, vec![i64::MIN], 1 + BUCKETS), &values, &[]);
    }

    #[test]
    fn values_that_the_model_lacks_are_patched() {
        let model = flat(Form::Symbol, vec![1, 2, 3], 3);
        let mut values = vec![2; 500];
        values[7] = 99;
        values[499] = i64::MIN;
        values[0] = i64::MAX;
        assert_eq!(round_trip(&model, &values, &[]).patched, 3);
        let form = Form::Residual {
            prediction: Prediction::Previous,
            step: 5,
            start: 0,
        };
        let values: Vec<i64> = (0..500).map(|i| 5 * i + i64::from(i == 77)).collect();
        assert!(round_trip(&flat(form, vec![], 9), &values, &[]).patched > 0);
        assert!(encode(&model, &[9; 1000], &[]).is_none());
    }

    #[test]
    fn no_rows_and_one_row_come_back() {
        let model = flat(Form::Symbol, vec![4], 1);
        round_trip(&model, &[], &[]);
        assert!(round_trip(&model, &[4], &[]).symbols.is_empty());
    }

    #[test]
    fn damaged_chunks_give_errors_or_values() {
        let form = Form::Residual {
            prediction: Prediction::Previous,
            step: 1,
            start: 0,
        };
        let model = flat(form, vec![i64::MIN], 1 + BUCKETS);
        let values: Vec<i64> = (0..300).map(|i| i * i * i).collect();
        let chunk = encode(&model, &values, &[]).unwrap();
        for i in 0..chunk.symbols.len() {
            let mut bytes = chunk.symbols.clone();
            bytes[i] ^= 0x55;
            let _ = decode(&model, 300, &[], &bytes, &chunk.raw, (&[], 0));
            let cut = &chunk.symbols[..i];
            assert!(decode(&model, 300, &[], cut, &chunk.raw, (&[], 0)).is_err());
            let _ = decode(&model, 300, &[], &chunk.symbols, &bytes, (&bytes, 1000));
        }
    }
}
