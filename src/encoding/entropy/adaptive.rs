//! A small adaptive binary coder for numbers that are read once: tables, alphabets, trees.
//!
//! A range coder with carries over bits whose probabilities adapt, and numbers built from such
//! bits. Encoder and decoder share one trait: code that walks a structure is written once, passes
//! what it has, and takes what comes back.
//!
//! Layout: the bytes of the range coder, most significant first, trailing zeros cut off.

use crate::error::{Error, Result};

/// Probability of a one in 1/65536, and how often the bit was seen.
#[derive(Debug, Clone, Copy)]
pub struct Bit {
    one: u16,
    seen: u8,
}

impl Default for Bit {
    fn default() -> Self {
        Self {
            one: 1 << 15,
            seen: 0,
        }
    }
}

const LIMIT: u8 = 60;
const LEAST: u16 = 24;

/// By how much of the error the next bit moves an estimate, in 1/65536: the first move it fast, by
/// 1 / (seen + 1.6).
const STEPS: [i64; LIMIT as usize + 1] = {
    let mut steps = [0; LIMIT as usize + 1];
    let mut seen = 0;
    while seen < steps.len() {
        steps[seen] = 655_360 / (10 * seen as i64 + 16);
        seen += 1;
    }
    steps
};

impl Bit {
    #[inline]
    fn update(&mut self, bit: bool) {
        let step = STEPS[usize::from(self.seen.min(LIMIT))];
        let target = if bit { 65_535 } else { 0 };
        let moved = i64::from(self.one) + (((target - i64::from(self.one)) * step) >> 16);
        self.one = moved.clamp(i64::from(LEAST), 65_536 - i64::from(LEAST)) as u16;
        self.seen = (self.seen + 1).min(LIMIT);
    }
}

/// Either direction of the coder.
pub trait Coder {
    /// Codes one bit: the encoder writes `bit`, the decoder ignores it; both give the coded bit.
    fn bit(&mut self, model: &mut Bit, bit: bool) -> bool;

    /// Codes `count` bits that are as likely one as zero.
    fn raw(&mut self, value: u64, count: u32) -> u64 {
        let mut result = 0;
        for i in (0..count).rev() {
            // A fresh model each time is a fair coin.
            result = result << 1 | u64::from(self.bit(&mut Bit::default(), value >> i & 1 == 1));
        }
        result
    }

    /// Fails once the decoder has read past the end of its bytes.
    fn check(&self) -> Result<()>;
}

/// Adaptive model of numbers: bit length in unary, then up to three bits below the leading one;
/// the others are written as they are.
#[derive(Debug, Clone)]
pub struct Number {
    length: [Bit; 65],
    mantissa: [[Bit; 8]; 65],
}

impl Default for Number {
    fn default() -> Self {
        Self {
            length: [Bit::default(); 65],
            mantissa: [[Bit::default(); 8]; 65],
        }
    }
}

impl Number {
    /// Codes a number below `u64::MAX`.
    pub fn code(&mut self, coder: &mut impl Coder, value: u64) -> u64 {
        let value = value.wrapping_add(1);
        let length = 63 - value.max(1).leading_zeros();
        let mut n = 0;
        while n < 63 && coder.bit(&mut self.length[n as usize], n < length) {
            n += 1;
        }
        let mut result = 1u64;
        let modelled = n.min(3);
        let models = &mut self.mantissa[n as usize];
        for i in 0..modelled {
            let bit = value >> (n - 1 - i) & 1 == 1;
            let bit = coder.bit(&mut models[result as usize & 7], bit);
            result = result << 1 | u64::from(bit);
        }
        let rest = n - modelled;
        if rest > 0 {
            result = result << rest | coder.raw(value & ((1 << rest) - 1), rest);
        }
        result - 1
    }

    /// Codes a count of at least one of which only the four leading bits may be set.
    pub fn code_top(&mut self, coder: &mut impl Coder, value: u32) -> u32 {
        let value = value.max(1);
        let length = 31 - value.leading_zeros();
        let mut n = 0;
        while n < 31 && coder.bit(&mut self.length[n as usize], n < length) {
            n += 1;
        }
        let mut result = 1u32;
        let kept = n.min(3);
        let models = &mut self.mantissa[n as usize];
        for i in 0..kept {
            let bit = coder.bit(
                &mut models[result as usize & 7],
                value >> (n - 1 - i) & 1 == 1,
            );
            result = result << 1 | u32::from(bit);
        }
        result << (n - kept)
    }

    /// Codes a signed number (not `i64::MIN`).
    pub fn code_signed(&mut self, coder: &mut impl Coder, value: i64) -> i64 {
        let folded = ((value << 1) ^ (value >> 63)) as u64;
        let folded = self.code(coder, folded);
        (folded >> 1) as i64 ^ -((folded & 1) as i64)
    }
}

/// Writes.
#[derive(Debug)]
pub struct Encoder {
    low: u64,
    range: u32,
    bytes: Vec<u8>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self {
            low: 0,
            range: u32::MAX,
            bytes: Vec::new(),
        }
    }
}

impl Encoder {
    /// The coded bytes.
    pub fn finish(mut self) -> Vec<u8> {
        for _ in 0..4 {
            self.carry();
            self.bytes.push((self.low >> 24) as u8);
            self.low = (self.low << 8) & 0xffff_ffff;
        }
        while self.bytes.last() == Some(&0) {
            self.bytes.pop();
        }
        self.bytes
    }

    fn carry(&mut self) {
        if self.low >> 32 != 0 {
            self.low &= 0xffff_ffff;
            for byte in self.bytes.iter_mut().rev() {
                *byte = byte.wrapping_add(1);
                if *byte != 0 {
                    break;
                }
            }
        }
    }
}

impl Coder for Encoder {
    fn bit(&mut self, model: &mut Bit, bit: bool) -> bool {
        let bound = (self.range >> 16) * u32::from(model.one);
        if bit {
            self.range = bound;
        } else {
            self.low += u64::from(bound);
            self.range -= bound;
        }
        model.update(bit);
        while self.range < 1 << 24 {
            self.carry();
            self.bytes.push((self.low >> 24) as u8);
            self.low = (self.low << 8) & 0xffff_ffff;
            self.range <<= 8;
        }
        bit
    }

    fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// Reads.
#[derive(Debug)]
pub struct Decoder<'a> {
    code: u32,
    range: u32,
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Decoder<'a> {
    /// Reads what an [`Encoder`] wrote.
    pub fn new(bytes: &'a [u8]) -> Self {
        let mut decoder = Self {
            code: 0,
            range: u32::MAX,
            bytes,
            position: 0,
        };
        for _ in 0..4 {
            decoder.code = decoder.code << 8 | decoder.next();
        }
        decoder
    }

    fn next(&mut self) -> u32 {
        let byte = self.bytes.get(self.position).copied().unwrap_or(0);
        self.position = self.position.saturating_add(1);
        u32::from(byte)
    }
}

impl Coder for Decoder<'_> {
    fn bit(&mut self, model: &mut Bit, _: bool) -> bool {
        let bound = (self.range >> 16) * u32::from(model.one);
        let bit = self.code < bound;
        if bit {
            self.range = bound;
        } else {
            self.code = self.code.wrapping_sub(bound);
            self.range -= bound;
        }
        model.update(bit);
        while self.range < 1 << 24 {
            self.code = self.code << 8 | self.next();
            self.range <<= 8;
        }
        bit
    }

    fn check(&self) -> Result<()> {
        // Cut zeros and the coder's look-ahead reach a little past the end.
        match self.position <= self.bytes.len() + 16 {
            true => Ok(()),
            false => Err(Error::corrupt("coded numbers end too early")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(coder: &mut impl Coder, values: &[u64]) -> Vec<u64> {
        let mut model = Number::default();
        values.iter().map(|&v| model.code(coder, v)).collect()
    }

    #[test]
    fn numbers_come_back() {
        let values: Vec<u64> = (0..5000u64)
            .map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (i % 64))
            .chain([0, 1, u64::MAX - 1, 7, 8])
            .map(|v| v.min(u64::MAX - 1))
            .collect();
        let mut encoder = Encoder::default();
        numbers(&mut encoder, &values);
        let bytes = encoder.finish();
        let mut decoder = Decoder::new(&bytes);
        assert_eq!(numbers(&mut decoder, &vec![0; values.len()]), values);
        assert!(decoder.check().is_ok());
    }

    #[test]
    fn signed_numbers_come_back() {
        let values = [0, -1, 1, i64::MAX, i64::MIN + 1, -77];
        let mut encoder = Encoder::default();
        let mut model = Number::default();
        for v in values {
            model.code_signed(&mut encoder, v);
        }
        let bytes = encoder.finish();
        let mut decoder = Decoder::new(&bytes);
        let mut model = Number::default();
        assert!(
            values
                .iter()
                .all(|&v| model.code_signed(&mut decoder, 0) == v)
        );
    }

    #[test]
    fn equal_numbers_cost_almost_nothing() {
        let mut encoder = Encoder::default();
        numbers(&mut encoder, &[0; 10_000]);
        assert!(encoder.finish().len() < 10);
    }

    #[test]
    fn reading_past_the_end_is_noticed() {
        let mut decoder = Decoder::new(&[1, 2, 3]);
        numbers(&mut decoder, &[0; 10_000]);
        assert!(decoder.check().is_err());
    }
}
