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
    /// Where a float lies in the middle of two shortest decimals, the larger one is printed, as Rust does,
    /// and not the even one, as most others do.
    pub larger: bool,
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
        break_tie(out, from, value, style.larger);
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
        break_tie(out, from, value, style.larger);
        if style.point && !out[from..].contains(&b'.') {
            out.extend_from_slice(b".0");
        }
    }
}

/// Whether a float lies in the middle of two decimals of `scale` digits behind the point: then it has one
/// digit more, and as many as it has binary ones.
pub(crate) fn is_tie(value: f64, scale: i64) -> bool {
    let bits = value.to_bits();
    let (field, fraction) = ((bits >> 52) & 0x7ff, bits & ((1 << 52) - 1));
    let mantissa = if field == 0 {
        fraction
    } else {
        fraction | 1 << 52
    };
    let places = 1_075 - field.max(1) as i64 - i64::from(mantissa.trailing_zeros());
    mantissa != 0 && places > 0 && places == scale + 1
}

/// Makes the shortest decimal from `from` on, which Rust printed, the one that the style asks for where
/// there are two.
fn break_tie(out: &mut Vec<u8>, from: usize, value: f64, larger: bool) {
    let text = &out[from..];
    let end = text.iter().position(|b| *b == b'e').unwrap_or(text.len());
    let exponent = std::str::from_utf8(text.get(end + 1..).unwrap_or_default());
    let exponent = exponent.ok().and_then(|e| e.parse().ok()).unwrap_or(0i64);
    let Some(point) = text[..end].iter().position(|b| *b == b'.') else {
        return;
    };
    let places = end - point - 1;
    if !is_tie(value, places as i64 - exponent) {
        return;
    }
    let exact = match end == text.len() {
        true => format!("{value:.*}", places + 1),
        false => format!("{value:.*e}", places + 1),
    };
    let smaller = exact.as_bytes().get(..end).unwrap_or_default();
    let odd = smaller.last().is_some_and(|d| d % 2 == 1);
    let mut chosen = match larger || odd {
        true => increment(smaller),
        false => smaller.to_vec(),
    };
    chosen.extend_from_slice(&text[end..]);
    // Below a power of two floats lie closer, and the smaller decimal may be another one's.
    let reads = std::str::from_utf8(&chosen)
        .ok()
        .and_then(|t| t.parse().ok());
    if reads == Some(value) {
        out.truncate(from);
        out.extend_from_slice(&chosen);
    }
}

/// Whether a number's text, canonical or not, says what the nearest float is, rounded to as many digits:
/// what programs print of a float does, however many digits they print, and whichever way they round a
/// tie; `1.10` and `1e2` do. 20 digits that are no float's do not.
pub(crate) fn float_is_exact(text: &str) -> bool {
    let Ok(value) = text.parse::<f64>() else {
        return false;
    };
    if !value.is_finite() {
        return false;
    }
    let own = scientific(text.as_bytes());
    let printed = format!("{value:e}");
    if own == scientific(printed.as_bytes()) {
        return true;
    }
    // The float itself ends after some hundred digits.
    let places = own.0.len().saturating_sub(1);
    if places > FLOAT_DIGITS {
        return false;
    }
    let rounded = format!("{value:.places$e}");
    if own == scientific(rounded.as_bytes()) {
        return true;
    }
    let (digits, power) = scientific(format!("{value:.FLOAT_DIGITS$e}").as_bytes());
    let tie = digits.len() == own.0.len() + 1 && digits.last() == Some(&b'5');
    tie && power == own.1 && {
        let down = &digits[..digits.len() - 1];
        own.0 == down || own.0 == increment(down)
    }
}

/// Digits that no float has more of.
const FLOAT_DIGITS: usize = 800;

/// The next number of as many digits, with a point among them or not.
fn increment(digits: &[u8]) -> Vec<u8> {
    let mut next = digits.to_vec();
    for digit in next.iter_mut().rev().filter(|d| **d != b'.') {
        if *digit < b'9' {
            *digit += 1;
            return next;
        }
        *digit = b'0';
    }
    next
}

/// Digits of a number before and behind the point, however it is spelled.
pub(crate) fn extent(text: &[u8]) -> (i64, i64) {
    let (digits, power) = scientific(text);
    (
        power.max(0),
        (digits.len() as i64).saturating_sub(power).max(0),
    )
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
        let style = FloatStyle {
            point,
            exponent,
            larger: false,
        };
        print_float(&mut out, value, style);
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
    fn of_two_shortest_decimals_the_even_one_is_printed() {
        // What Python prints, and the other one.
        for (even, other) in [
            ("100.16116333007812", "100.16116333007813"),
            ("5.960464477539062e-07", "5.960464477539063e-07"),
            ("0.08230209350585938", "0.08230209350585937"),
            ("-140.23019409179688", "-140.23019409179687"),
        ] {
            let value: f64 = even.parse().unwrap();
            assert_eq!(value.to_bits(), other.parse::<f64>().unwrap().to_bits());
            assert_eq!(printed(value, false, true), even);
        }
        let mut out = Vec::new();
        let larger = FloatStyle {
            larger: true,
            ..FloatStyle::default()
        };
        print_float(&mut out, 100.161_163_330_078_13, larger);
        assert_eq!(out, b"100.16116333007813");
        // Every single-precision float of a range, against the digits that are rounded to even.
        for bits in (0x42c8_0000..0x42d0_0000u32).step_by(977) {
            let value = f64::from(f32::from_bits(bits));
            let text = printed(value, false, false);
            let places = text.split_once('.').map_or(0, |(_, f)| f.len());
            let exact = format!("{value:.40}");
            let digits = exact.trim_end_matches('0').split_once('.').unwrap().1;
            assert_eq!(
                is_tie(value, places as i64),
                digits.len() == places + 1,
                "{text}"
            );
            if is_tie(value, places as i64) {
                let last = text.as_bytes().last().unwrap();
                assert!(last.is_multiple_of(2), "{text}");
            }
            assert_eq!(text.parse::<f64>().unwrap(), value);
        }
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
            // A tie between two floats' shortest digits, as C prints it and as Rust does.
            "100.16116333007812",
            "100.16116333007813",
            "0.1000000000000000055511151231257827",
            "5e-324",
            "4.9406564584124654e-324",
        ] {
            assert!(float_is_exact(text), "{text}");
        }
        for text in ["12345678901234567891", "0.1234567890123456789", "1e999"] {
            assert!(!float_is_exact(text), "{text}");
        }
    }
}
