//! Eight-bit floats of the OCP 8-bit floating point specification 1.0.
//!
//! E4M3 has no infinity: its largest value is 448, and one pattern is NaN. E5M2 is the upper byte of a
//! half float: its largest finite value is 57,344. Rounding is to nearest, ties to even, from the
//! 32-bit float directly; what lies beyond the largest value saturates.

/// One of the two formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Float8 {
    /// Four bits of exponent, three of mantissa.
    E4M3,
    /// Five bits of exponent, two of mantissa.
    E5M2,
}

impl Float8 {
    const fn mantissa(self) -> i32 {
        match self {
            Float8::E4M3 => 3,
            Float8::E5M2 => 2,
        }
    }

    const fn bias(self) -> i32 {
        match self {
            Float8::E4M3 => 7,
            Float8::E5M2 => 15,
        }
    }

    /// The code of the largest finite value.
    const fn largest(self) -> u8 {
        match self {
            Float8::E4M3 => 0x7e,
            Float8::E5M2 => 0x7b,
        }
    }

    /// The code of a finite value.
    pub fn encode(self, value: f32) -> u8 {
        let sign = ((value.to_bits() >> 24) & 0x80) as u8;
        let magnitude = f64::from(value.abs());
        // Exponent of the value, not below that of the subnormals.
        let exponent = match value.abs() {
            0.0 => return sign,
            v => ((v.to_bits() >> 23) as i32 - 127).max(1 - self.bias()),
        };
        let step = 2f64.powi(exponent - self.mantissa());
        // Exact: a power of two divides, and the quotient is below 2^4 unless v is a subnormal float.
        let steps = (magnitude / step).round_ties_even() as i64;
        let code = i64::from(exponent + self.bias() - 1) * (1 << self.mantissa()) + steps;
        sign | code.clamp(0, i64::from(self.largest())) as u8
    }

    /// The value of a code; NaN and infinity where the format has them.
    pub fn decode(self, code: u8) -> f32 {
        let sign = if code & 0x80 == 0 { 1.0 } else { -1.0 };
        let rest = i32::from(code & 0x7f);
        if rest > i32::from(self.largest()) {
            return match (self, rest) {
                (Float8::E5M2, 0x7c) => sign * f32::INFINITY,
                _ => f32::NAN,
            };
        }
        let (exponent, fraction) = (rest >> self.mantissa(), rest & ((1 << self.mantissa()) - 1));
        let steps = match exponent {
            0 => fraction,
            _ => fraction + (1 << self.mantissa()),
        };
        let power = exponent.max(1) - self.bias() - self.mantissa();
        sign * steps as f32 * 2f32.powi(power)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_back_and_midpoints_go_to_the_even_one() {
        for format in [Float8::E4M3, Float8::E5M2] {
            for code in 0..=format.largest() {
                let value = format.decode(code);
                assert_eq!(format.encode(value), code, "{format:?} {value}");
                assert_eq!(format.encode(-value), code | 0x80, "{format:?} -{value}");
                if code == format.largest() {
                    continue;
                }
                let middle = (value + format.decode(code + 1)) / 2.0;
                let (below, above) = (
                    f32::from_bits(middle.to_bits() - 1),
                    f32::from_bits(middle.to_bits() + 1),
                );
                assert_eq!(
                    format.encode(middle),
                    code + (code & 1),
                    "{format:?} {middle}"
                );
                assert_eq!(format.encode(below), code, "{format:?} below {middle}");
                assert_eq!(format.encode(above), code + 1, "{format:?} above {middle}");
            }
        }
    }

    #[test]
    fn what_is_too_large_saturates() {
        for value in [448.0, 464.0, 465.0, 1e30, f32::MAX] {
            assert_eq!(Float8::E4M3.decode(Float8::E4M3.encode(value)), 448.0);
            assert_eq!(Float8::E4M3.decode(Float8::E4M3.encode(-value)), -448.0);
        }
        assert_eq!(Float8::E5M2.decode(Float8::E5M2.encode(61_440.0)), 57_344.0);
        assert_eq!(Float8::E4M3.encode(f32::from_bits(1)), 0);
    }

    #[test]
    fn patterns_beyond_the_largest_are_infinity_or_nan() {
        assert!(Float8::E4M3.decode(0x7f).is_nan());
        assert_eq!(Float8::E5M2.decode(0x7c), f32::INFINITY);
        assert!(Float8::E5M2.decode(0xfd).is_nan());
    }
}
