//! Numbers as text: what a decimal numeral is, and how a float prints.

use std::io::Write;

/// The parts of a canonical decimal numeral: `-?(0|[1-9][0-9]*)(\.[0-9]+)?`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numeral {
    pub(crate) negative: bool,
    /// Digits before the point; a lone `0` counts as none.
    pub(crate) integer_digits: usize,
    /// Digits after the point.
    pub(crate) scale: usize,
    /// Digits from the first that is not zero to the end.
    pub(crate) significant: usize,
    /// All digits as one integer, if they fit.
    pub(crate) digits: Option<u64>,
    /// Whether the last digit after the point is `0`.
    pub(crate) trailing_zero: bool,
    /// Where the numeral ends; anything after it is an exponent or makes it none.
    pub(crate) end: usize,
}

/// Decimals beyond which floats come so near to zero that they have fewer digits.
const FULL_SCALE: usize = 300;

impl Numeral {
    /// Whether the digits are so few that no other decimal of as few reads as the same float.
    pub(crate) fn is_short(&self) -> bool {
        self.significant <= 15 && self.scale <= FULL_SCALE
    }
}

/// Reads a numeral at the start of a cell.
pub(crate) fn numeral(cell: &[u8]) -> Option<Numeral> {
    let negative = cell.first() == Some(&b'-');
    let start = usize::from(negative);
    let mut at = start;
    let mut digits = 0u64;
    let mut fits = true;
    let mut significant = 0;
    let mut take = |at: &mut usize| {
        while let Some(d) = cell
            .get(*at)
            .map(|b| b.wrapping_sub(b'0'))
            .filter(|d| *d < 10)
        {
            if significant >= 19 {
                fits = false;
            }
            significant += usize::from(significant > 0 || d > 0);
            digits = digits.wrapping_mul(10).wrapping_add(u64::from(d));
            *at += 1;
        }
    };
    take(&mut at);
    let mut integer_digits = at - start;
    match integer_digits {
        0 => return None,
        1 if cell[start] == b'0' => integer_digits = 0,
        _ if cell[start] == b'0' => return None,
        _ => {}
    }
    let mut scale = 0;
    if cell.get(at) == Some(&b'.') {
        at += 1;
        let from = at;
        take(&mut at);
        scale = at - from;
        if scale == 0 {
            return None;
        }
    }
    Some(Numeral {
        negative,
        integer_digits,
        scale,
        significant,
        digits: fits.then_some(digits),
        trailing_zero: scale > 0 && cell[at - 1] == b'0',
        end: at,
    })
}

/// How the floats of a column print.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FloatStyle {
    /// Whole numbers end in `.0`.
    pub point: bool,
    /// Very large and very small numbers have an exponent, as Python prints them (`1e-05`).
    pub exponent: bool,
}

/// Whether a float has an exponent where exponents are used.
pub(crate) fn wants_exponent(value: f64) -> bool {
    let size = value.abs();
    size != 0.0 && size.is_finite() && !(1e-4..1e16).contains(&size)
}

/// Appends a float with the fewest digits that read back as the same float.
pub(crate) fn print_float(out: &mut Vec<u8>, value: f64, style: FloatStyle) {
    // Writing to a vector cannot fail.
    if !value.is_finite() {
        let text: &[u8] = match value {
            v if v.is_nan() => b"NaN",
            v if v > 0.0 => b"inf",
            _ => b"-inf",
        };
        out.extend_from_slice(text);
    } else if style.exponent && wants_exponent(value) {
        let from = out.len();
        let _ = write!(out, "{value:e}");
        // Rust prints 1e-5; Python pads the exponent to two digits and signs it.
        if let Some(e) = out[from..].iter().position(|&b| b == b'e') {
            let exponent = out.split_off(from + e + 1);
            let (sign, digits) = match exponent.split_first() {
                Some((b'-', digits)) => (b'-', digits),
                _ => (b'+', exponent.as_slice()),
            };
            out.push(sign);
            if digits.len() < 2 {
                out.push(b'0');
            }
            out.extend_from_slice(digits);
        }
    } else {
        let from = out.len();
        let _ = write!(out, "{value}");
        if style.point && !out[from..].contains(&b'.') {
            out.extend_from_slice(b".0");
        }
    }
}

/// Whether a number's text, canonical or not, says exactly what the nearest float prints, digit for
/// digit: `1.10` and `1e2` do, 20 digits do not.
pub(crate) fn float_is_exact(text: &str) -> bool {
    let Ok(value) = text.parse::<f64>() else {
        return false;
    };
    if !value.is_finite() {
        return false;
    }
    let printed = format!("{value:e}");
    scientific(text.as_bytes()) == scientific(printed.as_bytes())
}

/// Digits without zeros at either end, and the power of ten of the first of them.
fn scientific(text: &[u8]) -> (Vec<u8>, i64) {
    let (mantissa, exponent) = match text.iter().position(|b| matches!(b, b'e' | b'E')) {
        Some(e) => {
            let exponent = std::str::from_utf8(&text[e + 1..]).unwrap_or_default();
            // An exponent beyond i64 belongs to no finite float but zero.
            (&text[..e], exponent.parse::<i64>().unwrap_or_default())
        }
        None => (text, 0),
    };
    let whole = mantissa
        .iter()
        .take_while(|b| **b != b'.')
        .filter(|b| b.is_ascii_digit())
        .count();
    let digits: Vec<u8> = mantissa
        .iter()
        .copied()
        .filter(u8::is_ascii_digit)
        .collect();
    let leading = digits.iter().take_while(|d| **d == b'0').count();
    let trailing = digits.iter().rev().take_while(|d| **d == b'0').count();
    if leading == digits.len() {
        return (Vec::new(), 0);
    }
    let power = exponent.saturating_add(whole as i64 - leading as i64);
    (digits[leading..digits.len() - trailing].to_vec(), power)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(value: f64, point: bool, exponent: bool) -> String {
        let mut out = Vec::new();
        print_float(&mut out, value, FloatStyle { point, exponent });
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numerals_are_canonical_or_none() {
        for text in [
            "0",
            "7",
            "-7",
            "10",
            "0.5",
            "-0.50",
            "123456789012345678901234567890",
        ] {
            assert_eq!(numeral(text.as_bytes()).unwrap().end, text.len(), "{text}");
        }
        for text in ["007", "+5", ".5", "5.", "-", "", " 5", "00", "-.5", "x"] {
            assert_eq!(numeral(text.as_bytes()), None, "{text}");
        }
        assert_eq!(numeral(b"1e5").unwrap().end, 1);
        assert_eq!(numeral(b"0.050").unwrap().significant, 2);
        assert_eq!(
            numeral(b"9999999999999999999").unwrap().digits,
            Some(9999999999999999999)
        );
        assert_eq!(numeral(b"99999999999999999999").unwrap().digits, None);
    }

    #[test]
    fn floats_print_like_python_where_asked() {
        assert_eq!(printed(5.0, true, false), "5.0");
        assert_eq!(printed(5.0, false, false), "5");
        assert_eq!(printed(1e-5, true, true), "1e-05");
        assert_eq!(printed(1.5e300, true, true), "1.5e+300");
        assert_eq!(printed(1e16, true, true), "1e+16");
        assert_eq!(printed(0.0001, true, true), "0.0001");
        assert_eq!(printed(-0.0, true, true), "-0.0");
        assert_eq!(printed(1e22, false, false), "10000000000000000000000");
    }

    #[test]
    fn exactness_is_of_digits_not_of_spelling() {
        for text in [
            "1.10",
            "1e2",
            "0.30000000000000004",
            "-0",
            "100000000000000000000",
            "1E-7",
        ] {
            assert!(float_is_exact(text), "{text}");
        }
        for text in ["12345678901234567891", "0.1234567890123456789", "1e999"] {
            assert!(!float_is_exact(text), "{text}");
        }
    }
}
