//! The byte streams that a chunk's columns are written to, side by side, and read from.
//!
//! Values that look alike lie together: descriptions, skeletons, codes, numbers, text. Codes and
//! numbers lie in byte planes (all lowest bytes, then all second bytes, ...), which a general
//! compressor takes better than varints or words.

use crate::encoding::DecodeContext;
use crate::error::{Error, Result};

/// How many streams there are.
pub const STREAMS: usize = 6;

/// The streams of a chunk.
#[derive(Debug, Default)]
pub struct Streams {
    /// What the columns are.
    pub meta: Vec<u8>,
    /// Text of skeletons.
    pub skeletons: Vec<u8>,
    /// Codes of skeletons and of dictionaries.
    pub codes: Vec<u8>,
    /// Numbers.
    pub numbers: Vec<u8>,
    /// Texts that are not taken apart.
    pub text: Vec<u8>,
    /// Codes and integers that were coded under contexts.
    pub mixed: Vec<u8>,
}

impl Streams {
    /// All of them, in stored order.
    pub fn all(&self) -> [&Vec<u8>; STREAMS] {
        [
            &self.meta,
            &self.skeletons,
            &self.codes,
            &self.numbers,
            &self.text,
            &self.mixed,
        ]
    }
}

/// Appends a number, seven bits a byte.
pub fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 128 {
        out.push(value as u8 | 128);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A signed number as an unsigned one: small ones stay small.
pub fn zigzag(value: i64) -> u64 {
    (value as u64) << 1 ^ (value >> 63) as u64
}

/// The reverse of [`zigzag`].
pub fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Bytes that a number takes; zero takes none.
pub fn width(value: u64) -> usize {
    (u64::BITS - value.leading_zeros()).div_ceil(8) as usize
}

/// Appends values in byte planes of so many bytes.
pub fn put_planes(out: &mut Vec<u8>, values: impl Iterator<Item = u64> + Clone, width: usize) {
    for plane in 0..width {
        out.extend(values.clone().map(|v| (v >> (8 * plane)) as u8));
    }
}

/// Reads a stream from its start on.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    rest: &'a [u8],
}

impl<'a> Source<'a> {
    /// A stream's bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether all was read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes were not read yet.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// Passes over so many line feeds and what is before them.
    pub fn pass_lines(&mut self, count: usize) -> Result<()> {
        if count > 0 {
            let last = memchr::memchr_iter(b'\n', self.rest).nth(count - 1);
            self.take(last.ok_or_else(short)? + 1)?;
        }
        Ok(())
    }

    /// The next bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(count).ok_or_else(short)?;
        self.rest = tail;
        Ok(head)
    }

    /// The bytes up to the next mark of skeletons (1 to 4), and that one.
    #[inline]
    pub fn until_mark(&mut self) -> Result<(&'a [u8], u8)> {
        let at = self.rest.iter().position(|b| b.wrapping_sub(1) < 4);
        let at = at.ok_or_else(short)?;
        let text = self.take(at)?;
        Ok((text, self.byte()?))
    }

    /// The bytes up to the next line feed, which is passed over.
    #[inline]
    pub fn line(&mut self) -> Result<&'a [u8]> {
        let end = memchr::memchr(b'\n', self.rest).ok_or_else(short)?;
        let text = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Ok(text)
    }

    /// One byte.
    pub fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    /// A number written by [`put`].
    pub fn number(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Ok(value);
            }
        }
        Err(Error::corrupt("a number of more than 64 bits"))
    }

    /// A count that must not be larger than `most`.
    pub fn count(&mut self, most: usize) -> Result<usize> {
        let value = self.number()?;
        match value <= most as u64 {
            true => Ok(value as usize),
            false => Err(Error::corrupt(format!("{value} where at most {most} fit"))),
        }
    }

    /// Values in byte planes.
    pub fn planes(
        &mut self,
        count: usize,
        width: usize,
        context: &DecodeContext<'_>,
    ) -> Result<Vec<u64>> {
        if width > 8 {
            return Err(Error::corrupt(format!("values of {width} bytes")));
        }
        context.reserve_rows(count, 8)?;
        let mut values = vec![0; count];
        for plane in 0..width {
            for (value, &byte) in values.iter_mut().zip(self.take(count)?) {
                *value |= u64::from(byte) << (8 * plane);
            }
        }
        Ok(values)
    }

    /// Codes below `below` in byte planes.
    pub fn codes(
        &mut self,
        count: usize,
        below: usize,
        context: &DecodeContext<'_>,
    ) -> Result<Vec<u32>> {
        context.reserve_rows(count, 4)?;
        let mut codes = vec![0u32; count];
        let last = u32::try_from(below.saturating_sub(1)).map_err(|_| short())?;
        let width = width(u64::from(last));
        for plane in 0..width {
            for (code, &byte) in codes.iter_mut().zip(self.take(count)?) {
                *code |= u32::from(byte) << (8 * plane);
            }
        }
        match codes.iter().all(|&c| c <= last) {
            true if below > 0 || count == 0 => Ok(codes),
            _ => Err(Error::corrupt(format!("a code beyond {below} values"))),
        }
    }
}

fn short() -> Error {
    Error::corrupt("a stream of log columns ends too early")
}

/// Bucket of a number (its bit length and the two bits below the leading one), and how many bits
/// are left.
pub fn bucket(value: u64) -> (usize, u32) {
    if value < 16 {
        return (value as usize, 0);
    }
    let log = value.ilog2();
    let bits = log - 2;
    (
        16 + (log as usize - 4) * 4 + (value >> bits & 3) as usize,
        bits,
    )
}

/// How many bits are left of the numbers in a bucket.
pub fn bucket_bits(bucket: usize) -> u32 {
    match bucket.checked_sub(16) {
        Some(above) => (above as u32 / 4 + 2).min(61),
        None => 0,
    }
}

/// The number in a bucket with these bits left.
pub fn unbucket(bucket: usize, rest: u64) -> u64 {
    match bucket.checked_sub(16) {
        Some(above) => (4 | (above as u64 & 3)) << bucket_bits(bucket) | rest,
        None => bucket as u64,
    }
}
