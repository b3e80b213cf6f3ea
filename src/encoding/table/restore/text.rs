//! Text that is really a number, a date or a time: one canonical form, written back from an
//! integer.
//!
//! | form | integer | parameters |
//! |---|---|---|
//! | number | value · 10^digits | least digits before the point, decimals, decimals that stay when they are zero |
//! | moment | units since 1970-01-01 (with a date), or since midnight (without) | a sequence of fields and literal text; the unit is the finest field |
//!
//! Reading ([`TextForm::parse`]) is lenient; a text belongs to the form only if writing the integer
//! gives the identical text, which the caller checks.

use crate::error::{Error, Result};

/// Longest text that a form writes.
pub const MAX_TEXT: usize = 256;
/// Most decimals of a number or of a second.
const MAX_DIGITS: u32 = 18;
/// Days of years 0 to 9999, from 1970-01-01.
const DAYS: std::ops::Range<i64> = -719_528..2_932_897;

const POWERS: [u64; 20] = {
    let mut powers = [1; 20];
    let mut i = 1;
    while i < 20 {
        powers[i] = powers[i - 1] * 10;
        i += 1;
    }
    powers
};

/// A piece of a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// These bytes.
    Literal(Vec<u8>),
    /// Four digits.
    Year,
    /// Month 1 to 12, of at least so many digits.
    Month(u8),
    /// Day of the month, of at least so many digits.
    Day(u8),
    /// Hour, of at least so many digits; may exceed 23 if there is no date.
    Hour(u8),
    /// Hour 1 to 12, of at least so many digits; needs a meridiem.
    Hour12(u8),
    /// Two digits.
    Minute,
    /// Two digits.
    Second,
    /// Decimals of a second.
    Fraction(u8),
    /// `AM` or `PM`.
    Meridiem,
}

/// A canonical form of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextForm {
    /// A decimal number.
    Number {
        /// Least digits before the point; zero leaves out a lone zero before a fraction.
        width: u32,
        /// Decimals.
        digits: u32,
        /// Decimals that are written even if they and all after them are zero.
        kept: u32,
    },
    /// A date, a time or both.
    Moment(Moment),
}

/// The fields of a date, a time or both, checked to be consistent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    pieces: Vec<Piece>,
    dated: bool,
    /// Units in a second, a minute, an hour and a day; one for those that are not told.
    fraction: i64,
    per_minute: i64,
    per_hour: i64,
    per_day: i64,
}

impl Moment {
    /// Fails unless the fields make sense together: each at most once, a date in whole, finer
    /// fields only with coarser ones.
    pub fn new(pieces: Vec<Piece>) -> Result<Self> {
        let bad = || Error::corrupt("fields of a date or time do not fit together");
        let count = |test: &dyn Fn(&Piece) -> bool| pieces.iter().filter(|p| test(p)).count();
        let years = count(&|p| matches!(p, Piece::Year));
        let months = count(&|p| matches!(p, Piece::Month(_)));
        let days = count(&|p| matches!(p, Piece::Day(_)));
        let hours = count(&|p| matches!(p, Piece::Hour(_) | Piece::Hour12(_)));
        let minutes = count(&|p| matches!(p, Piece::Minute));
        let seconds = count(&|p| matches!(p, Piece::Second));
        let fractions = count(&|p| matches!(p, Piece::Fraction(_)));
        let halves = count(&|p| matches!(p, Piece::Hour12(_)));
        let meridiems = count(&|p| matches!(p, Piece::Meridiem));
        let whole = years <= 1 && years == months && months == days;
        let nested = hours <= 1 && minutes <= hours && seconds <= minutes && fractions <= seconds;
        let mut longest = 0usize;
        let mut digits = 0;
        for piece in &pieces {
            longest += match piece {
                Piece::Literal(bytes) => bytes.len(),
                Piece::Fraction(n) => {
                    digits = u32::from(*n);
                    usize::from(*n)
                }
                Piece::Hour(_) => 20,
                _ => 4,
            };
            let padded = match piece {
                Piece::Month(w) | Piece::Day(w) | Piece::Hour12(w) => *w >= 1 && *w <= 2,
                Piece::Hour(w) => *w >= 1 && *w <= 4,
                Piece::Fraction(n) => *n >= 1 && *n <= 9,
                _ => true,
            };
            if !padded {
                return Err(bad());
            }
        }
        let some = years + hours > 0 && longest <= MAX_TEXT;
        if !(whole && nested && some && halves == meridiems) {
            return Err(bad());
        }
        let fraction = POWERS[digits as usize] as i64;
        let per_minute = if seconds > 0 { 60 * fraction } else { 1 };
        let per_hour = if minutes > 0 { 60 * per_minute } else { 1 };
        let per_day = if hours > 0 { 24 * per_hour } else { 1 };
        Ok(Self {
            dated: years > 0,
            pieces,
            per_minute,
            per_hour,
            per_day,
            fraction,
        })
    }

    /// The fields.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    fn write(&self, value: i64, out: &mut Vec<u8>) -> Option<()> {
        let (days, clock) = match self.dated || self.has_halves() {
            true => (
                value.div_euclid(self.per_day),
                value.rem_euclid(self.per_day),
            ),
            false => (0, value),
        };
        if clock < 0 || (self.dated && !DAYS.contains(&days)) || (!self.dated && days != 0) {
            return None;
        }
        let (year, month, day) = civil(days);
        let hour = clock / self.per_hour;
        for piece in &self.pieces {
            match piece {
                Piece::Literal(bytes) => out.extend_from_slice(bytes),
                Piece::Year => put_digits(out, year as u64, 4),
                Piece::Month(w) => put_digits(out, month, u32::from(*w)),
                Piece::Day(w) => put_digits(out, day, u32::from(*w)),
                Piece::Hour(w) => put_digits(out, hour as u64, u32::from(*w)),
                Piece::Hour12(w) => put_digits(out, ((hour + 11) % 12 + 1) as u64, u32::from(*w)),
                Piece::Minute => {
                    put_digits(out, (clock % self.per_hour / self.per_minute) as u64, 2);
                }
                Piece::Second => {
                    put_digits(out, (clock % self.per_minute / self.fraction) as u64, 2)
                }
                Piece::Fraction(n) => {
                    put_digits(out, (clock % self.fraction) as u64, u32::from(*n));
                }
                Piece::Meridiem => out.extend_from_slice(if hour < 12 { b"AM" } else { b"PM" }),
            }
        }
        Some(())
    }

    fn has_halves(&self) -> bool {
        self.pieces.contains(&Piece::Meridiem)
    }

    fn parse(&self, text: &[u8]) -> Option<i64> {
        let mut rest = text;
        let (mut year, mut month, mut day) = (1970, 1, 1);
        let (mut hour, mut minute, mut second, mut fraction) = (0i64, 0, 0, 0);
        let mut afternoon = None;
        for piece in &self.pieces {
            match piece {
                Piece::Literal(bytes) => rest = rest.strip_prefix(bytes.as_slice())?,
                Piece::Year => year = take_digits(&mut rest, 4, 4)?,
                Piece::Month(w) => month = take_digits(&mut rest, *w, 2)?,
                Piece::Day(w) => day = take_digits(&mut rest, *w, 2)?,
                Piece::Hour(w) => hour = take_digits(&mut rest, *w, 4)?,
                Piece::Hour12(w) => hour = take_digits(&mut rest, *w, 2)?,
                Piece::Minute => minute = take_digits(&mut rest, 2, 2)?,
                Piece::Second => second = take_digits(&mut rest, 2, 2)?,
                Piece::Fraction(n) => fraction = take_digits(&mut rest, *n, *n)?,
                Piece::Meridiem => {
                    afternoon = Some(rest.starts_with(b"PM"));
                    rest = rest.get(2..)?;
                }
            }
        }
        if let Some(afternoon) = afternoon {
            hour = hour % 12 + if afternoon { 12 } else { 0 };
        }
        let clock = hour * self.per_hour + minute * self.per_minute + second * self.fraction;
        days_of(year, month, day)?
            .checked_mul(self.per_day)?
            .checked_add(clock + fraction)
            .filter(|_| rest.is_empty())
    }
}

impl TextForm {
    /// A number's form; fails if it has too many digits.
    pub fn number(width: u32, digits: u32, kept: u32) -> Result<Self> {
        match width <= 64 && digits <= MAX_DIGITS && kept <= digits {
            true => Ok(TextForm::Number {
                width,
                digits,
                kept,
            }),
            false => Err(Error::corrupt("a number's text has too many digits")),
        }
    }

    /// Decimals of the integer, for comparing columns.
    pub fn scale(&self) -> u32 {
        match self {
            TextForm::Number { digits, .. } => *digits,
            TextForm::Moment(_) => 0,
        }
    }

    /// Writes the text of an integer; `None` if it has none.
    pub fn write(&self, value: i64, out: &mut Vec<u8>) -> Option<()> {
        let TextForm::Number {
            width,
            digits,
            kept,
        } = self
        else {
            let TextForm::Moment(moment) = self else {
                return None;
            };
            return moment.write(value, out);
        };
        if value < 0 {
            out.push(b'-');
        }
        let magnitude = value.unsigned_abs();
        let power = POWERS[*digits as usize];
        let (mut fraction, mut decimals) = (magnitude % power, *digits);
        while decimals > *kept && fraction.is_multiple_of(10) {
            fraction /= 10;
            decimals -= 1;
        }
        let whole = magnitude / power;
        if whole > 0 || *width > 0 || decimals == 0 {
            put_digits(out, whole, *width);
        }
        if decimals > 0 {
            out.push(b'.');
            put_digits(out, fraction, decimals);
        }
        Some(())
    }

    /// The integer that a text might stand for.
    pub fn parse(&self, text: &[u8]) -> Option<i64> {
        match self {
            TextForm::Number { digits, .. } => parse_number(text, *digits),
            TextForm::Moment(moment) => moment.parse(text),
        }
    }

    /// The integer of a text that this form writes back identically.
    pub fn value(&self, text: &[u8], scratch: &mut Vec<u8>) -> Option<i64> {
        let value = self.parse(text)?;
        scratch.clear();
        self.write(value, scratch)?;
        (scratch == text).then_some(value)
    }
}

fn parse_number(text: &[u8], digits: u32) -> Option<i64> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mut value, mut decimals, mut point) = (0i64, 0, false);
    for &byte in text {
        match byte {
            b'0'..=b'9' => {
                value = value.checked_mul(10)?.checked_add(i64::from(byte - b'0'))?;
                decimals += u32::from(point);
            }
            b'.' if !point => point = true,
            _ => return None,
        }
    }
    let missing = digits.checked_sub(decimals)?;
    let value = value.checked_mul(*POWERS.get(missing as usize)? as i64)?;
    Some(if negative { -value } else { value })
}

/// `00` to `99`.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut i = 0;
    while i < 100 {
        pairs[i] = [b'0' + (i / 10) as u8, b'0' + (i % 10) as u8];
        i += 1;
    }
    pairs
};

/// Most digits of a number.
const DIGITS: usize = 20;

/// Appends `value` in decimal, with zeros before it up to `width` digits.
fn put_digits(out: &mut Vec<u8>, mut value: u64, width: u32) {
    // Fields of dates and times, nearly always.
    if width == 2 && value < 100 {
        out.extend_from_slice(&PAIRS[value as usize]);
        return;
    }
    let width = width as usize;
    if width > DIGITS {
        out.resize(out.len() + width - DIGITS, b'0');
    }
    // What follows the digits is copied with them, since pieces of one length are copied fast.
    let mut digits = [b'0'; 2 * DIGITS];
    let mut at = DIGITS;
    while value >= 100 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[(value % 100) as usize]);
        value /= 100;
    }
    let pair = PAIRS[value as usize];
    at -= 1;
    digits[at] = pair[1];
    if value >= 10 {
        at -= 1;
        digits[at] = pair[0];
    }
    at = at.min(DIGITS - width.min(DIGITS));
    let end = out.len() + DIGITS - at;
    out.extend_from_slice(&digits[at..][..DIGITS]);
    out.truncate(end);
}

/// Takes `least` to `most` digits from the front.
fn take_digits(rest: &mut &[u8], least: u8, most: u8) -> Option<i64> {
    let most = usize::from(most.max(least));
    let count = rest
        .iter()
        .take(most)
        .take_while(|b| b.is_ascii_digit())
        .count();
    if count < usize::from(least.max(1)) {
        return None;
    }
    let (digits, after) = rest.split_at(count);
    *rest = after;
    Some(digits.iter().fold(0, |v, b| v * 10 + i64::from(b - b'0')))
}

/// Year, month and day of a number of days from 1970-01-01, in the proleptic Gregorian calendar.
fn civil(days: i64) -> (i64, u64, u64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    (year, month as u64, day as u64)
}

/// Days from 1970-01-01; `None` if there is no such month or day number.
fn days_of(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let mp = if month > 2 { month - 3 } else { month + 9 };
    let doy = (153 * mp + 2) / 5 + day - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    Some(era * 146_097 + doe - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(form: &TextForm, text: &str) -> Option<i64> {
        form.value(text.as_bytes(), &mut Vec::new())
    }

    #[test]
    fn numbers_are_taken_only_in_their_form() {
        let plain = TextForm::number(1, 0, 0).unwrap();
        assert_eq!(value(&plain, "7"), Some(7));
        assert_eq!(value(&plain, "-12"), Some(-12));
        for other in [
            "007",
            "+5",
            " 5",
            "5 ",
            "",
            "-",
            "-0",
            "1.0",
            "9223372036854775808",
        ] {
            assert_eq!(value(&plain, other), None, "{other}");
        }
        let padded = TextForm::number(3, 0, 0).unwrap();
        assert_eq!(value(&padded, "007"), Some(7));
        assert_eq!(value(&padded, "1234"), Some(1234));
        assert_eq!(value(&padded, "7"), None);
        let money = TextForm::number(1, 2, 2).unwrap();
        assert_eq!(value(&money, "1.10"), Some(110));
        assert_eq!(value(&money, "1.1"), None);
        let short = TextForm::number(1, 2, 0).unwrap();
        assert_eq!(value(&short, "1.1"), Some(110));
        assert_eq!(value(&short, "1"), Some(100));
        assert_eq!(value(&short, "1.10"), None);
        let average = TextForm::number(0, 3, 3).unwrap();
        assert_eq!(value(&average, ".305"), Some(305));
        assert_eq!(value(&average, "1.000"), Some(1000));
        assert_eq!(value(&average, "0.305"), None);
        let wide = TextForm::number(24, 0, 0).unwrap();
        assert_eq!(value(&wide, "000000000000000000000042"), Some(42));
    }

    fn moment(pieces: &[Piece]) -> TextForm {
        TextForm::Moment(Moment::new(pieces.to_vec()).unwrap())
    }

    #[test]
    fn dates_that_do_not_exist_are_not_dates() {
        let dash = Piece::Literal(b"-".to_vec());
        let form = moment(&[
            Piece::Year,
            dash.clone(),
            Piece::Month(2),
            dash,
            Piece::Day(2),
        ]);
        assert_eq!(value(&form, "1970-01-02"), Some(1));
        assert_eq!(value(&form, "2024-02-29"), Some(19_782));
        for other in [
            "2024-02-30",
            "2023-02-29",
            "2024-13-01",
            "2024-1-01",
            "24-01-01",
        ] {
            assert_eq!(value(&form, other), None, "{other}");
        }
        for text in ["0000-01-01", "9999-12-31", "1582-10-15"] {
            assert!(value(&form, text).is_some(), "{text}");
        }
        let mut out = Vec::new();
        assert!(form.write(i64::MAX, &mut out).is_none());
        assert!(form.write(i64::MIN, &mut out).is_none());
    }

    #[test]
    fn times_may_pass_midnight_without_a_date() {
        let colon = Piece::Literal(b":".to_vec());
        let time = [
            Piece::Hour(2),
            colon.clone(),
            Piece::Minute,
            colon,
            Piece::Second,
        ];
        let form = moment(&time);
        assert_eq!(value(&form, "25:10:00"), Some(90_600));
        assert_eq!(value(&form, "00:60:00"), None);
        assert!(form.write(-1, &mut Vec::new()).is_none());
        assert!(form.write(i64::MAX, &mut Vec::new()).is_some());
    }

    #[test]
    fn half_days_are_told_by_their_meridiem() {
        let form = moment(&[
            Piece::Hour12(1),
            Piece::Literal(b":".to_vec()),
            Piece::Minute,
            Piece::Literal(b" ".to_vec()),
            Piece::Meridiem,
        ]);
        assert_eq!(value(&form, "12:05 AM"), Some(5));
        assert_eq!(value(&form, "1:05 PM"), Some(785));
        assert_eq!(value(&form, "12:00 PM"), Some(720));
        assert_eq!(value(&form, "13:00 PM"), None);
        assert_eq!(value(&form, "01:05 PM"), None);
    }

    #[test]
    fn fields_must_fit_together() {
        for pieces in [
            vec![],
            vec![Piece::Year],
            vec![Piece::Minute],
            vec![Piece::Hour12(2)],
            vec![Piece::Hour(2), Piece::Second],
            vec![Piece::Hour(0)],
            vec![
                Piece::Hour(2),
                Piece::Minute,
                Piece::Second,
                Piece::Fraction(19),
            ],
            vec![Piece::Hour(2), Piece::Hour(2)],
        ] {
            assert!(Moment::new(pieces.clone()).is_err(), "{pieces:?}");
        }
    }
}
