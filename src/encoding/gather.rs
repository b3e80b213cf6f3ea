//! Puts values in the place of the codes that stand for them.
//!
//! Dictionaries, runs and exceptions all end here, and scans spend much of their time here. Short
//! binary values are copied as blocks of fixed size, which is one move instead of a call.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{BooleanBuffer, Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::DataType;

use super::context::DecodeContext;
use super::words::{self, Word, for_word};
use crate::error::{Error, Result};

/// The values that codes stand for. Fails if a code has none.
pub fn gather<C: Word>(
    values: &ArrayRef,
    codes: &[C],
    context: &DecodeContext<'_>,
) -> Result<ArrayRef> {
    let largest = codes.iter().max().map_or(0, |c| c.widen() + 1);
    if largest > values.len() as u64 {
        return Err(Error::corrupt(format!(
            "code {} of only {} values",
            largest - 1,
            values.len()
        )));
    }
    match values.data_type() {
        DataType::Binary => binary(values.as_binary(), codes, context),
        DataType::FixedSizeBinary(width) => fixed(values, *width, codes, context),
        DataType::Boolean => {
            context.reserve_rows(codes.len().div_ceil(8), 1)?;
            let values = values.as_boolean();
            let bits = BooleanBuffer::collect_bool(codes.len(), |i| {
                values.value(codes[i].widen() as usize)
            });
            Ok(Arc::new(BooleanArray::new(bits, None)))
        }
        other => for_word!(other, W => {
            context.reserve_rows(codes.len(), size_of::<W>())?;
            words::array(primitive(&words::of::<W>(values), codes), other)
        }, else Err(Error::corrupt(format!("codes for values of {other}")))),
    }
}

fn primitive<C: Word, W: Word>(values: &[W], codes: &[C]) -> Vec<W> {
    if C::BITS == 8 {
        // With a value for every code there is nothing to check.
        let table: [W; 256] = std::array::from_fn(|i| values.get(i).copied().unwrap_or_default());
        return codes
            .iter()
            .map(|c| table[c.widen() as u8 as usize])
            .collect();
    }
    codes.iter().map(|c| values[c.widen() as usize]).collect()
}

fn fixed<C: Word>(
    values: &ArrayRef,
    width: i32,
    codes: &[C],
    context: &DecodeContext<'_>,
) -> Result<ArrayRef> {
    let bytes = values.as_fixed_size_binary().value_data();
    let size = usize::try_from(width).unwrap_or(0);
    context.reserve_rows(codes.len(), size)?;
    let buffer = match size {
        16 => Buffer::from_vec(chunks::<C, 16>(bytes, codes)),
        32 => Buffer::from_vec(chunks::<C, 32>(bytes, codes)),
        _ => {
            let mut out = Vec::with_capacity(codes.len() * size);
            for code in codes {
                let start = code.widen() as usize * size;
                out.extend_from_slice(&bytes[start..start + size]);
            }
            Buffer::from_vec(out)
        }
    };
    Ok(Arc::new(FixedSizeBinaryArray::try_new_with_len(
        width,
        buffer,
        None,
        codes.len(),
    )?))
}

fn chunks<C: Word, const N: usize>(bytes: &[u8], codes: &[C]) -> Vec<u8> {
    let (table, _) = bytes.as_chunks::<N>();
    let out: Vec<[u8; N]> = codes.iter().map(|c| table[c.widen() as usize]).collect();
    out.into_flattened()
}

fn binary<C: Word>(
    values: &BinaryArray,
    codes: &[C],
    context: &DecodeContext<'_>,
) -> Result<ArrayRef> {
    let starts = values.value_offsets();
    let lengths: Vec<u32> = starts.windows(2).map(|w| (w[1] - w[0]) as u32).collect();
    let longest = lengths.iter().max().copied().unwrap_or(0) as usize;
    context.reserve_rows(codes.len() + 1, size_of::<i32>())?;
    let mut offsets = Vec::with_capacity(codes.len() + 1);
    offsets.push(0i32);
    let mut end = 0u64;
    for code in codes {
        end += u64::from(lengths[code.widen() as usize]);
        offsets.push(end as i32);
    }
    // Offsets that wrapped on the way are thrown away here.
    if end > i32::MAX as u64 {
        return Err(Error::corrupt(format!(
            "{end} bytes of values in one array"
        )));
    }
    let total = end as usize;
    context.reserve(end + 64)?;
    let bytes = match longest {
        0 => Vec::new(),
        1..=8 => short::<C, 8>(values, codes, &offsets, total),
        9..=16 => short::<C, 16>(values, codes, &offsets, total),
        17..=32 => short::<C, 32>(values, codes, &offsets, total),
        _ => {
            let mut out = Vec::with_capacity(total);
            let bytes = values.value_data();
            for code in codes {
                let i = code.widen() as usize;
                out.extend_from_slice(&bytes[starts[i] as usize..starts[i + 1] as usize]);
            }
            out
        }
    };
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    Ok(Arc::new(BinaryArray::try_new(
        offsets,
        Buffer::from_vec(bytes),
        None,
    )?))
}

/// Copies `N` bytes for each value, of which those past its end are overwritten by the next one.
fn short<C: Word, const N: usize>(
    values: &BinaryArray,
    codes: &[C],
    offsets: &[i32],
    total: usize,
) -> Vec<u8> {
    let table: Vec<[u8; N]> = (0..values.len())
        .map(|i| {
            let mut padded = [0; N];
            let value = values.value(i);
            padded[..value.len()].copy_from_slice(value);
            padded
        })
        .collect();
    let mut out = vec![0; total + N];
    for (code, &start) in codes.iter().zip(offsets) {
        if let Some(slot) = out[start as usize..].first_chunk_mut::<N>() {
            *slot = table[code.widen() as usize];
        }
    }
    out.truncate(total);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::{Models, NoParents, Registry};

    #[test]
    fn values_of_every_length_land_in_their_place() {
        let models = Models::default();
        for longest in [0, 3, 8, 16, 30, 90] {
            let values: Vec<Vec<u8>> = (0..=longest).map(|n| vec![n as u8 + 1; n]).collect();
            let slices: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
            let array: ArrayRef = Arc::new(BinaryArray::from(slices));
            let codes: Vec<u16> = (0..500).map(|i| (i * 7 % (longest + 1)) as u16).collect();
            let context = DecodeContext::new(Registry::standard(), &models, &NoParents, 1 << 20);
            let got = gather(&array, &codes, &context).unwrap();
            let expected: BinaryArray = codes
                .iter()
                .map(|&c| Some(values[c as usize].as_slice()))
                .collect();
            assert_eq!(got.as_binary::<i32>(), &expected);
        }
    }

    #[test]
    fn a_code_without_a_value_is_refused() {
        let models = Models::default();
        let context = DecodeContext::new(Registry::standard(), &models, &NoParents, 1 << 20);
        let values: ArrayRef = Arc::new(Int32Array::from(vec![5, 6]));
        assert!(gather(&values, &[0u8, 2], &context).is_err());
        assert!(gather(&values.slice(0, 0), &[0u8], &context).is_err());
        assert!(gather(&values.slice(0, 0), &[0u8; 0], &context).is_ok());
    }
}
