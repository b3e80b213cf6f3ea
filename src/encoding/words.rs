//! Primitive values as unsigned words, and blocks of 1,024 words packed to fewer bits.
//!
//! Integers and floats of one width are the same to most encodings: words of 1, 2, 4 or 8 bytes.
//! A block is packed in the transposed order of FastLanes, so that plain loops over it become SIMD
//! code; fewer than 1,024 words are packed one after the other, least significant bit first.

use std::hash::Hash;
use std::ops::{BitAnd, BitXor, Not};

use arrow::array::{Array, ArrayData, ArrayRef, Scalar, make_array};
use arrow::buffer::{BooleanBuffer, Buffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, DataType};
use fastlanes::FoR;

use super::traits::CompareOp;
use crate::error::{Error, Result};

/// Words in a block.
pub const BLOCK: usize = 1024;

/// An unsigned integer that values are handled as.
pub trait Word:
    ArrowNativeType + Ord + Hash + BitAnd<Output = Self> + BitXor<Output = Self> + Not<Output = Self>
{
    /// Number of bits.
    const BITS: usize;
    /// The top bit alone: flipping it maps the order of signed values to that of unsigned ones.
    const SIGN: Self;

    /// Addition modulo 2^BITS.
    fn plus(self, other: Self) -> Self;
    /// Subtraction modulo 2^BITS.
    fn minus(self, other: Self) -> Self;
    /// The value as the widest word.
    fn widen(self) -> u64;
    /// The low bits of a wide word.
    fn narrow(wide: u64) -> Self;
    /// Bits needed to hold the value.
    fn bits(self) -> usize;
    /// Reads a value from its little-endian bytes.
    fn read(bytes: &[u8]) -> Option<Self>;
    /// Appends the little-endian bytes.
    fn write(self, to: &mut Vec<u8>);
    /// Appends a block packed to `width` bits a value, `128 * width` bytes; values are stored as
    /// differences to `reference`.
    fn pack(width: usize, input: &[Self; BLOCK], reference: Self, to: &mut Vec<u8>);
    /// Unpacks a block and adds `reference` to each value.
    fn unpack(width: usize, packed: &[Self], reference: Self, to: &mut [Self; BLOCK])
    -> Result<()>;
}

macro_rules! word {
    ($t:ident, $bits:literal, $($w:literal)*) => {
        impl Word for $t {
            const BITS: usize = $bits;
            const SIGN: Self = 1 << ($bits - 1);

            #[inline(always)]
            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }

            #[inline(always)]
            fn minus(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }

            #[inline(always)]
            fn widen(self) -> u64 {
                u64::from(self)
            }

            #[inline(always)]
            fn narrow(wide: u64) -> Self {
                wide as $t
            }

            #[inline(always)]
            fn bits(self) -> usize {
                $bits - self.leading_zeros() as usize
            }

            fn read(bytes: &[u8]) -> Option<Self> {
                bytes.first_chunk().map(|b| <$t>::from_le_bytes(*b))
            }

            fn write(self, to: &mut Vec<u8>) {
                to.extend_from_slice(&self.to_le_bytes());
            }

            fn pack(width: usize, input: &[Self; BLOCK], reference: Self, to: &mut Vec<u8>) {
                match width {
                    $($w => {
                        let mut packed = [0; BLOCK * $w / $bits];
                        <$t as FoR>::for_pack::<$w, { BLOCK * $w / $bits }>(
                            input, reference, &mut packed,
                        );
                        packed.iter().for_each(|word| word.write(to));
                    })*
                    _ => {}
                }
            }

            fn unpack(
                width: usize,
                packed: &[Self],
                reference: Self,
                to: &mut [Self; BLOCK],
            ) -> Result<()> {
                match width {
                    $($w => {
                        let packed = packed
                            .first_chunk::<{ BLOCK * $w / $bits }>()
                            .ok_or_else(|| Error::corrupt("a packed block is cut off"))?;
                        <$t as FoR>::unfor_pack::<$w, { BLOCK * $w / $bits }>(
                            packed, reference, to,
                        );
                        Ok(())
                    })*
                    _ => Err(Error::corrupt(format!("values packed to {width} bits"))),
                }
            }
        }
    };
}

word!(u8, 8, 0 1 2 3 4 5 6 7 8);
word!(u16, 16, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
word!(u32, 32, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30
    31 32);
word!(u64, 64, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30
    31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61
    62 63 64);

/// Runs a body with the name bound to the word type of a physical type; the other expression if it
/// has none.
macro_rules! for_word {
    ($data_type:expr, $word:ident => $body:expr, else $other:expr) => {
        match $crate::encoding::words::width($data_type) {
            Some(1) => {
                type $word = u8;
                $body
            }
            Some(2) => {
                type $word = u16;
                $body
            }
            Some(4) => {
                type $word = u32;
                $body
            }
            Some(8) => {
                type $word = u64;
                $body
            }
            _ => $other,
        }
    };
}
pub(crate) use for_word;

/// Bytes a value, for physical integers and floats.
pub fn width(data_type: &DataType) -> Option<usize> {
    match is_integer(data_type) || is_float(data_type) {
        true => data_type.primitive_width(),
        false => None,
    }
}

/// Whether a physical type is an integer.
pub fn is_integer(data_type: &DataType) -> bool {
    data_type.is_integer()
}

/// Whether a physical type is a float.
pub fn is_float(data_type: &DataType) -> bool {
    data_type.is_floating()
}

/// What to flip in a word so that unsigned order is the order of the type's values.
pub fn flip<W: Word>(data_type: &DataType) -> W {
    match data_type.is_signed_integer() {
        true => W::SIGN,
        false => W::narrow(0),
    }
}

/// A word whose unsigned order is the (for floats: total) order of the type's values.
#[inline]
pub fn ordered<W: Word>(word: W, data_type: &DataType) -> W {
    if data_type.is_signed_integer() {
        return word ^ W::SIGN;
    }
    match data_type.is_floating() {
        true if word & W::SIGN != W::narrow(0) => !word,
        true => word ^ W::SIGN,
        false => word,
    }
}

/// The values of a primitive array as words of the same width. The type must have that width.
pub fn of<W: Word>(array: &ArrayRef) -> ScalarBuffer<W> {
    let data = array.to_data();
    ScalarBuffer::new(data.buffers()[0].clone(), data.offset(), data.len())
}

/// An array of a primitive type from words of the same width.
pub fn array<W: Word>(words: Vec<W>, data_type: &DataType) -> Result<ArrayRef> {
    let len = words.len();
    array_of(Buffer::from_vec(words), len, data_type)
}

/// An array of a primitive type from its values' bytes.
pub fn array_of(bytes: Buffer, len: usize, data_type: &DataType) -> Result<ArrayRef> {
    let data = ArrayData::builder(data_type.clone())
        .len(len)
        .add_buffer(bytes)
        .build()?;
    Ok(make_array(data))
}

/// The one value of a scalar as a word, unless it is null or of another type.
pub fn scalar<W: Word>(value: &Scalar<ArrayRef>, data_type: &DataType) -> Option<W> {
    let array = value.clone().into_inner();
    let usable = array.data_type() == data_type && array.len() == 1 && array.null_count() == 0;
    match usable && width(data_type) == Some(size_of::<W>()) {
        true => of::<W>(&array).first().copied(),
        false => None,
    }
}

/// Bytes as words, copied only if they lie at an odd address. A rest shorter than a word is left
/// out.
pub fn view<W: Word>(bytes: Buffer) -> ScalarBuffer<W> {
    let count = bytes.len() / size_of::<W>();
    let aligned = match bytes.as_ptr().align_offset(align_of::<W>()) {
        0 => bytes,
        _ => Buffer::from_slice_ref(bytes.as_slice()),
    };
    ScalarBuffer::new(aligned, 0, count)
}

/// Appends values packed one after the other to `width` bits, least significant bit first.
pub fn pack_tail<W: Word>(width: usize, input: &[W], reference: W, to: &mut Vec<u8>) {
    let (mut held, mut bits) = (0u128, 0);
    for &value in input {
        held |= u128::from(value.minus(reference).widen() & mask(width)) << bits;
        bits += width;
        while bits >= 8 {
            to.push(held as u8);
            held >>= 8;
            bits -= 8;
        }
    }
    if bits > 0 {
        to.push(held as u8);
    }
}

/// Unpacks what [`pack_tail`] packed, and adds `reference` to each value.
pub fn unpack_tail<W: Word>(width: usize, packed: &[u8], reference: W, to: &mut [W]) -> Result<()> {
    if width > W::BITS || packed.len() < (to.len() * width).div_ceil(8) {
        return Err(Error::corrupt("packed values are cut off"));
    }
    let mut padded = Vec::with_capacity(packed.len() + 16);
    padded.extend_from_slice(packed);
    padded.extend_from_slice(&[0; 16]);
    for (i, slot) in to.iter_mut().enumerate() {
        let bit = i * width;
        let window = padded[bit / 8..]
            .first_chunk()
            .map_or(0, |b| u128::from_le_bytes(*b));
        let value = (window >> (bit % 8)) as u64 & mask(width);
        *slot = W::narrow(value).plus(reference);
    }
    Ok(())
}

fn mask(width: usize) -> u64 {
    match width {
        0 => 0,
        w => u64::MAX >> (64 - w.min(64)),
    }
}

/// A comparison as the question whether a word lies in a range, whatever its sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RangeTest<W> {
    /// Smallest word of the range.
    pub low: W,
    /// Distance from it to the largest one.
    pub span: W,
    /// True if words *outside* the range pass.
    pub outside: bool,
}

impl<W: Word> RangeTest<W> {
    /// The range that integers must lie in to compare so with `value`.
    pub fn new(op: CompareOp, value: W, data_type: &DataType) -> Self {
        let flip = flip::<W>(data_type);
        let (min, max) = (W::narrow(0), W::narrow(u64::MAX));
        let place = value ^ flip;
        let (low, high, outside) = match op {
            CompareOp::Eq => (place, place, false),
            CompareOp::Ne => (place, place, true),
            CompareOp::Lt => (place, max, true),
            CompareOp::Le => (min, place, false),
            CompareOp::Gt => (min, place, true),
            CompareOp::Ge => (place, max, false),
        };
        Self {
            low: low ^ flip,
            span: high.minus(low),
            outside,
        }
    }

    /// Whether a word passes.
    #[inline(always)]
    pub fn passes(&self, word: W) -> bool {
        (word.minus(self.low) <= self.span) != self.outside
    }
}

/// Appends one bit a word: whether it is at most `span`, flipped if `outside`.
pub fn push_bits<W: Word>(words: &[W], span: W, outside: bool, to: &mut Vec<u64>) {
    for chunk in words.chunks(64) {
        let mut bits = 0;
        for (i, &word) in chunk.iter().enumerate() {
            bits |= u64::from((word <= span) != outside) << i;
        }
        to.push(bits);
    }
}

/// The first `len` bits of words.
pub fn bits(words: Vec<u64>, len: usize) -> BooleanBuffer {
    BooleanBuffer::new(Buffer::from_vec(words), 0, len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip<W: Word>() {
        let mut seed = 7u64;
        let values: [W; BLOCK] = std::array::from_fn(|_| {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            W::narrow(seed >> 11)
        });
        for width in 0..=W::BITS {
            let reference = W::narrow(0x1234_5678_9abc_def1);
            let cut = values.map(|v| W::narrow(v.widen() & mask(width)).plus(reference));
            let mut packed = Vec::new();
            W::pack(width, &cut, reference, &mut packed);
            assert_eq!(packed.len(), 128 * width);
            let mut back = [W::narrow(0); BLOCK];
            W::unpack(
                width,
                &view::<W>(Buffer::from_vec(packed)),
                reference,
                &mut back,
            )
            .unwrap();
            assert_eq!(back, cut);

            let mut packed = Vec::new();
            pack_tail(width, &cut[..77], reference, &mut packed);
            let mut back = [W::narrow(0); 77];
            unpack_tail(width, &packed, reference, &mut back).unwrap();
            assert_eq!(back, cut[..77]);
        }
    }

    #[test]
    fn every_width_of_every_word_comes_back() {
        round_trip::<u8>();
        round_trip::<u16>();
        round_trip::<u32>();
        round_trip::<u64>();
    }

    #[test]
    fn a_range_test_is_the_comparison() {
        use CompareOp::*;
        let values = [i8::MIN, -7, -1, 0, 1, 7, i8::MAX];
        for op in [Eq, Ne, Lt, Le, Gt, Ge] {
            for a in values {
                for b in values {
                    let test = RangeTest::new(op, b as u8, &DataType::Int8);
                    let expected = match op {
                        Eq => a == b,
                        Ne => a != b,
                        Lt => a < b,
                        Le => a <= b,
                        Gt => a > b,
                        Ge => a >= b,
                    };
                    assert_eq!(test.passes(a as u8), expected, "{a} {op:?} {b}");
                }
            }
        }
    }
}
