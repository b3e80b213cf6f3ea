//! Integers as bytes for a general compressor: codes or differences, whole or plane by plane.

use super::spec::is_exception;
use crate::error::{Error, Result};

/// Level of zstd at which shapes are compared.
pub const QUICK: i32 = 3;

/// How integers become bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Codes below this are exceptions: `i64::MIN + code`.
    pub exceptions: u32,
    /// Other codes are `exceptions + (value - base) / step`.
    pub base: i64,
    /// See `base`.
    pub step: u64,
    /// Bytes of a code.
    pub width: usize,
    /// Differences of codes, folded, instead of the codes.
    pub delta: bool,
    /// All first bytes, then all second bytes, and so on.
    pub planes: bool,
}

fn divisor(a: u64, b: u64) -> u64 {
    match b {
        0 => a,
        _ => divisor(b, a % b),
    }
}

/// What divides the differences of all values.
pub fn step(values: &[i64]) -> u64 {
    let base = values.first().copied().unwrap_or(0);
    values.iter().fold(0, |g, v| match g {
        1 => 1,
        _ => divisor(v.abs_diff(base), g),
    })
}

/// Codes of the values, and the part of the shape that they need.
pub fn codes(values: &[i64]) -> Option<(Vec<u64>, Shape)> {
    let regular = || values.iter().copied().filter(|&v| !is_exception(v));
    let base = regular().min().unwrap_or(0);
    let step = regular().fold(0, |g, v| match g {
        1 => 1,
        _ => divisor(v.abs_diff(base), g),
    });
    let exceptions = values
        .iter()
        .filter(|&&v| is_exception(v))
        .map(|&v| v.wrapping_sub(i64::MIN) as u32 + 1)
        .max();
    let shape = Shape {
        exceptions: exceptions.unwrap_or(0),
        base,
        step: step.max(1),
        width: 0,
        delta: false,
        planes: false,
    };
    let code = |&v: &i64| match is_exception(v) {
        true => Some(v.wrapping_sub(i64::MIN) as u64),
        false => (v.abs_diff(base) / shape.step).checked_add(u64::from(shape.exceptions)),
    };
    let codes = values.iter().map(code).collect::<Option<Vec<u64>>>()?;
    Some((codes, shape))
}

fn fold(difference: u64) -> u64 {
    let d = difference as i64;
    ((d << 1) ^ (d >> 63)) as u64
}

fn unfold(z: u64) -> u64 {
    (z >> 1) ^ (z & 1).wrapping_neg()
}

/// The bytes of codes in one shape; sets its width.
pub fn pack(codes: &[u64], shape: &mut Shape) -> Vec<u8> {
    let mut words = codes.to_vec();
    if shape.delta {
        let mut last = 0;
        for w in &mut words {
            let code = *w;
            *w = fold(code.wrapping_sub(last));
            last = code;
        }
    }
    let most = words.iter().fold(0, |a, &w| a | w);
    shape.width = ((64 - most.leading_zeros()).div_ceil(8) as usize).max(1);
    let mut bytes = Vec::with_capacity(words.len() * shape.width);
    match shape.planes {
        true => {
            for i in 0..shape.width {
                bytes.extend(words.iter().map(|w| (w >> (8 * i)) as u8));
            }
        }
        false => {
            for w in &words {
                bytes.extend_from_slice(&w.to_le_bytes()[..shape.width]);
            }
        }
    }
    bytes
}

/// The values of packed bytes.
pub fn unpack(bytes: &[u8], shape: &Shape, rows: usize) -> Result<Vec<i64>> {
    let fits = (1..=8).contains(&shape.width) && rows.checked_mul(shape.width) == Some(bytes.len());
    if !fits || shape.exceptions > 65_536 {
        return Err(Error::corrupt("packed integers of another length"));
    }
    Ok(match shape.width {
        1 => assemble::<1>(bytes, shape, rows),
        2 => assemble::<2>(bytes, shape, rows),
        3 => assemble::<3>(bytes, shape, rows),
        4 => assemble::<4>(bytes, shape, rows),
        5 => assemble::<5>(bytes, shape, rows),
        6 => assemble::<6>(bytes, shape, rows),
        7 => assemble::<7>(bytes, shape, rows),
        _ => assemble::<8>(bytes, shape, rows),
    })
}

/// The values of words of `W` bytes.
fn assemble<const W: usize>(bytes: &[u8], shape: &Shape, rows: usize) -> Vec<i64> {
    let exceptions = u64::from(shape.exceptions);
    let mut last = 0u64;
    let value = |bytes: [u8; W]| {
        let word = bytes.iter().rev().fold(0, |w, &b| w << 8 | u64::from(b));
        let code = match shape.delta {
            true => last.wrapping_add(unfold(word)),
            false => word,
        };
        last = code;
        match code < exceptions {
            true => i64::MIN.wrapping_add(code as i64),
            false => shape
                .base
                .wrapping_add((code - exceptions).wrapping_mul(shape.step) as i64),
        }
    };
    match shape.planes && rows > 0 {
        true => {
            let planes: [&[u8]; W] = std::array::from_fn(|i| &bytes[i * rows..][..rows]);
            (0..rows)
                .map(|row| planes.map(|p| p[row]))
                .map(value)
                .collect()
        }
        false => bytes
            .as_chunks::<W>()
            .0
            .iter()
            .copied()
            .map(value)
            .collect(),
    }
}

/// The best shape and its compressed bytes; `None` if the codes take more than 64 bits.
///
/// All shapes are tried at a fast level, and the better ones again at `level`.
pub fn compress(values: &[i64], level: i32) -> Result<Option<(Shape, Vec<u8>)>> {
    let Some((codes, plain)) = codes(values) else {
        return Ok(None);
    };
    let pressed = |packed: &[u8], level| {
        zstd::bulk::compress(packed, level).map_err(|e| Error::io("zstd", e))
    };
    let mut tried = Vec::new();
    for (delta, planes) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut shape = Shape {
            delta,
            planes,
            ..plain
        };
        let packed = pack(&codes, &mut shape);
        if !planes || shape.width > 1 {
            tried.push((pressed(&packed, QUICK)?, shape, packed));
        }
    }
    tried.sort_by_key(|(quick, ..)| quick.len());
    let limit = tried.first().map_or(0, |(quick, ..)| quick.len() * 33 / 32);
    let mut best: Option<(Shape, Vec<u8>)> = None;
    for (quick, shape, packed) in tried {
        if quick.len() > limit {
            continue;
        }
        let bytes = match level <= QUICK {
            true => quick,
            false => pressed(&packed, level)?,
        };
        if best.as_ref().is_none_or(|(_, b)| bytes.len() < b.len()) {
            best = Some((shape, bytes));
        }
    }
    Ok(best)
}

/// Size of the values in Pcodec's form, the best of the ordinary ones for most numbers.
pub fn pco_size(values: &[i64]) -> Option<usize> {
    let config = pco::ChunkConfig::default();
    let bytes = pco::standalone::simple_compress(values, &config);
    bytes.ok().map(|b| b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_comes_back() {
        let lists = [
            vec![],
            vec![i64::MIN, i64::MIN + 65_535],
            (0..1000).map(|i| i * i % 777 * 10 - 400).collect(),
            vec![i64::MAX, 0, i64::MIN + 65_536, 5, i64::MIN + 1],
            vec![3; 100],
        ];
        for values in lists {
            let Some((codes, plain)) = codes(&values) else {
                continue;
            };
            for (delta, planes) in [(false, false), (true, false), (false, true), (true, true)] {
                let mut shape = Shape {
                    delta,
                    planes,
                    ..plain
                };
                let bytes = pack(&codes, &mut shape);
                assert_eq!(unpack(&bytes, &shape, values.len()).unwrap(), values);
                assert!(unpack(&bytes, &shape, values.len() + 1).is_err());
            }
        }
    }
}
