//! Sums over vectors of floats, as they lie in memory.

use super::simd::{Kernel, LANES, Simd, dispatch};
use super::{Metric, Query};

/// What the loader of E4M3 leaves out.
const EIGHT_UNIT: f32 = 256.0;

/// How a value lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A 32-bit float.
    Single,
    /// A half float.
    Half,
    /// A bfloat16.
    Brain,
    /// The upper byte of a half float (E5M2).
    UpperHalf,
    /// E4M3.
    Eight,
}

impl Form {
    /// Bytes of a value.
    pub const fn width(self) -> usize {
        match self {
            Form::Single => 4,
            Form::Half | Form::Brain => 2,
            Form::UpperHalf | Form::Eight => 1,
        }
    }
}

/// Sums of rows. For [`Metric::L2`], `first` has squared distances and `second` is empty; for others,
/// and for rows that are scaled afterwards, `first` has inner products with the query, `second` squared
/// norms.
#[derive(Debug, Default)]
pub struct Sums {
    /// See there.
    pub first: Vec<f32>,
    /// See there.
    pub second: Vec<f32>,
}

/// Sums over `count` rows of values: row `i` lies where `rows` says, or is the `i`-th. `squares` asks
/// for squared distances. Rows that do not lie in the bytes come out as NaN.
pub fn sums(form: Form, bytes: &[u8], rows: Option<&[u32]>, count: usize, query: &Query) -> Sums {
    let squares = query.metric() == Metric::L2;
    of_form(form, bytes, rows, count, query, squares)
}

/// Like [`sums`], but inner products and squared norms whatever the metric.
pub fn products(
    form: Form,
    bytes: &[u8],
    rows: Option<&[u32]>,
    count: usize,
    query: &Query,
) -> Sums {
    of_form(form, bytes, rows, count, query, false)
}

fn of_form(
    form: Form,
    bytes: &[u8],
    rows: Option<&[u32]>,
    count: usize,
    query: &Query,
    squares: bool,
) -> Sums {
    macro_rules! run {
        ($form:expr) => {
            match squares {
                true => dispatch(Rows::<{ $form as u8 }, true> {
                    bytes,
                    rows,
                    count,
                    query,
                }),
                false => dispatch(Rows::<{ $form as u8 }, false> {
                    bytes,
                    rows,
                    count,
                    query,
                }),
            }
        };
    }
    match form {
        Form::Single => run!(Form::Single),
        Form::Half => run!(Form::Half),
        Form::Brain => run!(Form::Brain),
        Form::UpperHalf => run!(Form::UpperHalf),
        Form::Eight => run!(Form::Eight),
    }
}

struct Rows<'a, const FORM: u8, const SQUARES: bool> {
    bytes: &'a [u8],
    rows: Option<&'a [u32]>,
    count: usize,
    query: &'a Query,
}

/// 16 values of a form; zeros stand for values that the bytes do not have.
#[inline(always)]
fn load<S: Simd, const FORM: u8>(simd: S, bytes: &[u8]) -> S::Floats {
    const SINGLE: u8 = Form::Single as u8;
    const HALF: u8 = Form::Half as u8;
    const BRAIN: u8 = Form::Brain as u8;
    const UPPER: u8 = Form::UpperHalf as u8;
    match FORM {
        SINGLE => simd.floats(&first(bytes)),
        HALF => {
            let bytes: [u8; 2 * LANES] = first(bytes);
            let bits =
                std::array::from_fn(|i| u16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]]));
            simd.halves(&bits)
        }
        BRAIN => {
            let bytes: [u8; 2 * LANES] = first(bytes);
            let mut wide = [0u8; 4 * LANES];
            for i in 0..LANES {
                wide[4 * i + 2] = bytes[2 * i];
                wide[4 * i + 3] = bytes[2 * i + 1];
            }
            simd.floats(&wide)
        }
        UPPER => {
            let codes: [u8; LANES] = first(bytes);
            simd.halves(&std::array::from_fn(|i| u16::from(codes[i]) << 8))
        }
        _ => {
            let codes: [u8; LANES] = first(bytes);
            // As a half float, it is 2^-8 of what it should be, subnormal numbers included.
            simd.halves(&std::array::from_fn(|i| {
                let code = u16::from(codes[i]);
                (code & 0x80) << 8 | (code & 0x7f) << 7
            }))
        }
    }
}

#[inline(always)]
fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    match bytes.first_chunk::<N>() {
        Some(whole) => *whole,
        None => {
            let mut padded = [0; N];
            padded[..bytes.len()].copy_from_slice(bytes);
            padded
        }
    }
}

const fn width(form: u8) -> usize {
    if form == Form::Single as u8 {
        4
    } else if form == Form::Half as u8 || form == Form::Brain as u8 {
        2
    } else {
        1
    }
}

impl<const FORM: u8, const SQUARES: bool> Kernel for Rows<'_, FORM, SQUARES> {
    type Output = Sums;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Sums {
        let step = width(FORM) * LANES;
        let stride = self.query.values().len() * width(FORM);
        let unit = if FORM == Form::Eight as u8 {
            EIGHT_UNIT
        } else {
            1.0
        };
        let mut out = Sums {
            first: Vec::with_capacity(self.count),
            second: Vec::with_capacity(if SQUARES { 0 } else { self.count }),
        };
        let (query, _) = self.query.padded().as_chunks::<64>();
        for i in 0..self.count {
            let row = self.rows.map_or(i, |rows| rows[i] as usize);
            let Some(bytes) = self.bytes.get(row * stride..(row + 1) * stride) else {
                out.first.push(f32::NAN);
                if !SQUARES {
                    out.second.push(f32::NAN);
                }
                continue;
            };
            // Two sums each, for an addition takes longer than the time between two.
            let mut with = [simd.no_floats(); 2];
            let mut own = [simd.no_floats(); 2];
            let mut parts = bytes.chunks(step);
            let mut queries = query.iter();
            while let (Some(a), Some(q)) = (parts.next(), queries.next()) {
                add::<S, FORM, SQUARES>(simd, &mut with[0], &mut own[0], a, q);
                if let (Some(b), Some(r)) = (parts.next(), queries.next()) {
                    add::<S, FORM, SQUARES>(simd, &mut with[1], &mut own[1], b, r);
                }
            }
            let first = simd.total(simd.sum(with[0], with[1]));
            if SQUARES {
                out.first.push(first);
            } else {
                out.first.push(first * unit);
                let second = simd.total(simd.sum(own[0], own[1]));
                out.second.push(second * unit * unit);
            }
        }
        out
    }
}

/// Adds what 16 values of a row give. Not a closure, which the compiler may leave outside the function
/// that has the instructions.
#[inline(always)]
fn add<S: Simd, const FORM: u8, const SQUARES: bool>(
    simd: S,
    with: &mut S::Floats,
    own: &mut S::Floats,
    part: &[u8],
    query: &[u8; 64],
) {
    let x = load::<S, FORM>(simd, part);
    let q = simd.floats(query);
    if !SQUARES {
        *with = simd.add_product(*with, x, q);
        *own = simd.add_product(*own, x, x);
        return;
    }
    let x = if FORM == Form::Eight as u8 {
        scaled(simd, x, EIGHT_UNIT)
    } else {
        x
    };
    let off = simd.difference(x, q);
    *with = simd.add_product(*with, off, off);
}

#[inline(always)]
fn scaled<S: Simd>(simd: S, values: S::Floats, factor: f32) -> S::Floats {
    let mut bytes = [0u8; 64];
    for to in bytes.as_chunks_mut::<4>().0 {
        *to = factor.to_le_bytes();
    }
    simd.add_product(simd.no_floats(), values, simd.floats(&bytes))
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;
    use crate::encoding::distance::simd::Level;

    fn values(count: usize) -> Vec<f32> {
        let value = |i: usize| ((i * 7919 % 1009) as f32 - 504.0) / 256.0;
        (0..count).map(value).collect()
    }

    fn check<const FORM: u8>(bytes: &[u8], decoded: &[f32], dimension: usize) {
        let query = Query::new(Metric::L2, values(dimension)).unwrap();
        let rows = [2u32, 0, 1, 9];
        let exact = |term: &dyn Fn(f64, f64) -> f64| -> Vec<f64> {
            let one = |row: &u32| {
                let row = &decoded[*row as usize * dimension..][..dimension];
                let pairs = row.iter().zip(query.values());
                pairs.map(|(x, q)| term(f64::from(*x), f64::from(*q))).sum()
            };
            rows[..3].iter().map(one).collect()
        };
        let near = |found: &[f32], exact: Vec<f64>| {
            assert!(found[3].is_nan());
            for (found, exact) in found.iter().zip(exact) {
                let scale = dimension as f64 * 16.0;
                assert!(
                    (f64::from(*found) - exact).abs() < 1e-6 * scale,
                    "{found} {exact}"
                );
            }
        };
        for level in Level::available() {
            let (count, rows, query) = (4, Some(rows.as_slice()), &query);
            let found = level.run(Rows::<FORM, true> {
                bytes,
                rows,
                count,
                query,
            });
            near(&found.first, exact(&|x, q| (x - q) * (x - q)));
            let found = level.run(Rows::<FORM, false> {
                bytes,
                rows,
                count,
                query,
            });
            near(&found.first, exact(&|x, q| x * q));
            near(&found.second, exact(&|x, _| x * x));
        }
    }

    #[test]
    fn every_instruction_set_agrees_with_sums_in_double_precision() {
        for dimension in [1, 15, 16, 17, 40, 384] {
            let given = values(3 * dimension);
            let bytes: Vec<u8> = given.iter().flat_map(|v| v.to_le_bytes()).collect();
            check::<{ Form::Single as u8 }>(&bytes, &given, dimension);
            let halves: Vec<f16> = given.iter().map(|v| f16::from_f32(*v)).collect();
            let bytes: Vec<u8> = halves.iter().flat_map(|v| v.to_le_bytes()).collect();
            let decoded: Vec<f32> = halves.iter().map(|v| v.to_f32()).collect();
            check::<{ Form::Half as u8 }>(&bytes, &decoded, dimension);
            let upper: Vec<u8> = bytes.iter().skip(1).step_by(2).copied().collect();
            let decoded: Vec<f32> = upper
                .iter()
                .map(|b| f16::from_bits(u16::from(*b) << 8).to_f32())
                .collect();
            check::<{ Form::UpperHalf as u8 }>(&upper, &decoded, dimension);
            let brains: Vec<bf16> = given.iter().map(|v| bf16::from_f32(*v)).collect();
            let bytes: Vec<u8> = brains.iter().flat_map(|v| v.to_le_bytes()).collect();
            let decoded: Vec<f32> = brains.iter().map(|v| v.to_f32()).collect();
            check::<{ Form::Brain as u8 }>(&bytes, &decoded, dimension);
        }
    }

    #[test]
    fn all_codes_of_e4m3_are_read_as_what_they_stand_for() {
        // Sign, exponent of bias 7, mantissa of three bits; the two patterns of NaN left out.
        let codes: Vec<u8> = (0..=255u8).filter(|c| c & 0x7f != 0x7f).collect();
        let query = Query::new(Metric::InnerProduct, vec![1.0]).unwrap();
        for level in Level::available() {
            let found = level.run(Rows::<{ Form::Eight as u8 }, false> {
                bytes: &codes,
                rows: None,
                count: codes.len(),
                query: &query,
            });
            for (code, value) in codes.iter().zip(&found.first) {
                let (exponent, mantissa) = (i32::from(code >> 3 & 15), f32::from(code & 7));
                let magnitude = match exponent {
                    0 => mantissa / 8.0 * 2f32.powi(-6),
                    e => (1.0 + mantissa / 8.0) * 2f32.powi(e - 7),
                };
                let sign = if code & 0x80 == 0 { 1.0 } else { -1.0 };
                assert_eq!(*value, sign * magnitude, "{level:?} {code}");
            }
        }
    }
}
