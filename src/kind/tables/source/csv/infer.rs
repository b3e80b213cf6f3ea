//! The type of a column: the narrowest in which every cell prints back identically.
//!
//! A [`Guess`] looks at every cell of its column once. It starts with all types possible and strikes
//! out those that a cell does not print back in; when none is left the column is text and further
//! cells cost one test. At the end the types that are left are taken in this order: boolean, date,
//! timestamp, integer, decimal of one scale, float.

use arrow::datatypes::{DataType, TimeUnit};

use super::super::number::{FloatStyle, Numeral, numeral, print_float, wants_exponent};
use super::cell;
use super::style::{BoolStyle, MISSING, Missing, Style, TimeForm, Zone};

const INTEGER: u8 = 1;
const DECIMAL: u8 = 2;
const FLOAT: u8 = 4;
const DATE: u8 = 8;
const TIMESTAMP: u8 = 16;
const BOOLEAN: u8 = 32;
const ALL: u8 = 63;

/// What the cells of a column allow so far.
#[derive(Debug, Clone)]
pub(crate) struct Guess {
    /// Types that every cell so far prints back in.
    possible: u8,
    /// Cells with a value that is not one of the missing words.
    typed: bool,
    /// Unquoted cells with a value that is no missing word.
    unquoted: bool,
    quoted: bool,
    empty: bool,
    quoted_empty: bool,
    /// Missing words seen, by their place in the list.
    words: u16,
    unquoted_words: u16,
    /// Those of them, in a typed column, that stood in quotes and without.
    quoted_words: u16,
    bare_words: u16,
    not_utf8: bool,
    negative: bool,
    over_i64: bool,
    over_u64: bool,
    scale: Option<usize>,
    integer_digits: usize,
    /// Whole floats written `5` and written `5.0`.
    whole: bool,
    whole_point: bool,
    /// Very small or large floats written without and with an exponent.
    plain_extreme: bool,
    exponent: bool,
    /// Floats between two shortest decimals of which the even one and the larger one was written.
    even: bool,
    larger: bool,
    form: Option<TimeForm>,
    spelling: Option<BoolStyle>,
    scratch: Vec<u8>,
}

impl Default for Guess {
    fn default() -> Self {
        Self {
            possible: ALL,
            typed: false,
            unquoted: false,
            quoted: false,
            empty: false,
            quoted_empty: false,
            words: 0,
            unquoted_words: 0,
            quoted_words: 0,
            bare_words: 0,
            not_utf8: false,
            negative: false,
            over_i64: false,
            over_u64: false,
            scale: None,
            integer_digits: 0,
            whole: false,
            whole_point: false,
            plain_extreme: false,
            exponent: false,
            even: false,
            larger: false,
            form: None,
            spelling: None,
            scratch: Vec::new(),
        }
    }
}

impl Guess {
    /// Looks at a cell; `utf8` says whether its whole record is known to be UTF-8.
    pub(crate) fn see(&mut self, cell: &[u8], quoted: bool, utf8: bool) {
        if !utf8 && !self.not_utf8 && std::str::from_utf8(cell).is_err() {
            self.not_utf8 = true;
            self.possible = 0;
        }
        if cell.is_empty() {
            self.empty |= !quoted;
            self.quoted_empty |= quoted;
            return;
        }
        self.quoted |= quoted;
        if !quoted && !self.unquoted {
            match missing(cell) {
                Some(word) => self.unquoted_words |= 1 << word,
                None => self.unquoted = true,
            }
        }
        if self.possible == 0 {
            return;
        }
        if short_integer(cell) {
            // Most cells of most tables: decided without looking any further.
            let digits = if cell[0] == b'0' { 0 } else { cell.len() };
            self.typed = true;
            self.whole = true;
            self.integer_digits = self.integer_digits.max(digits);
            let decimal = *self.scale.get_or_insert(0) == 0 && self.integer_digits <= 38;
            self.possible &= INTEGER | FLOAT | if decimal { DECIMAL } else { 0 };
            return;
        }
        let fits = match cell[0] {
            b'-' | b'0'..=b'9' => self.number_or_time(cell),
            b't' | b'f' | b'T' | b'F' => self.boolean(cell),
            b'N' if cell == b"NaN" => FLOAT,
            _ => 0,
        };
        if fits != 0 {
            self.typed = true;
            self.possible &= fits;
        } else if let Some(word) = missing(cell) {
            self.words |= 1 << word;
            match quoted {
                true => self.quoted_words |= 1 << word,
                false => self.bare_words |= 1 << word,
            }
        } else {
            self.possible = 0;
        }
    }

    fn number_or_time(&mut self, cell: &[u8]) -> u8 {
        let Some(number) = numeral(cell) else {
            return self.time(cell);
        };
        if number.end < cell.len() {
            return match cell[number.end] {
                b'e' => self.exponent(cell),
                b'-' => self.time(cell),
                _ => 0,
            };
        }
        let zero = number.significant == 0;
        let minus_zero = zero && number.negative;
        let mut fits = 0;
        if number.scale == 0 && !minus_zero {
            fits |= INTEGER;
            self.negative |= number.negative;
            if number.integer_digits > 18 {
                let text = std::str::from_utf8(cell).unwrap_or_default();
                self.over_i64 |= text.parse::<i64>().is_err();
                self.over_u64 |= text.parse::<u64>().is_err();
            }
        }
        if !minus_zero {
            // One scale for all; the first cell sets it.
            if *self.scale.get_or_insert(number.scale) == number.scale {
                fits |= DECIMAL;
            }
            self.integer_digits = self.integer_digits.max(number.integer_digits);
            if self.integer_digits + number.scale > 38 {
                fits &= !DECIMAL;
            }
        }
        if self.possible & FLOAT != 0 {
            fits |= self.float(cell, &number);
        }
        fits
    }

    fn float(&mut self, cell: &[u8], number: &Numeral) -> u8 {
        if number.scale == 0 {
            self.whole = true;
        } else if number.trailing_zero {
            // Only `x.0` ends in a zero behind the point.
            if number.scale > 1 {
                return 0;
            }
            self.whole_point = true;
        }
        // A short decimal is the shortest that reads as its float, and so is a whole number up to
        // 2^53.
        let whole = number.scale == 0 && number.digits.is_some_and(|d| d <= 1 << 53);
        if number.is_short() || whole {
            self.plain_extreme |= number.integer_digits == 0
                && number.significant > 0
                && number.scale - number.significant >= 4;
            return FLOAT;
        }
        let Some(value) = std::str::from_utf8(cell)
            .ok()
            .and_then(|t| t.parse::<f64>().ok())
        else {
            return 0;
        };
        self.plain_extreme |= wants_exponent(value);
        let style = FloatStyle {
            point: number.scale == 1 && number.trailing_zero,
            ..FloatStyle::default()
        };
        self.prints(cell, value, style)
    }

    fn exponent(&mut self, cell: &[u8]) -> u8 {
        let Some(value) = std::str::from_utf8(cell)
            .ok()
            .and_then(|t| t.parse::<f64>().ok())
        else {
            return 0;
        };
        if !wants_exponent(value) {
            return 0;
        }
        self.exponent = true;
        let style = FloatStyle {
            exponent: true,
            ..FloatStyle::default()
        };
        self.prints(cell, value, style)
    }

    fn prints(&mut self, cell: &[u8], value: f64, style: FloatStyle) -> u8 {
        for larger in [false, true] {
            self.scratch.clear();
            print_float(&mut self.scratch, value, FloatStyle { larger, ..style });
            if self.scratch == cell {
                if larger {
                    self.larger = true;
                } else if !self.even {
                    self.scratch.clear();
                    let other = FloatStyle {
                        larger: true,
                        ..style
                    };
                    print_float(&mut self.scratch, value, other);
                    self.even = self.scratch != cell;
                }
                return FLOAT;
            }
        }
        0
    }

    fn time(&mut self, cell: &[u8]) -> u8 {
        if self.possible & DATE != 0 && cell::date(cell).is_some() {
            return DATE;
        }
        if self.possible & TIMESTAMP != 0
            && let Some((form, _)) = cell::timestamp(cell)
            && *self.form.get_or_insert(form) == form
        {
            return TIMESTAMP;
        }
        0
    }

    fn boolean(&mut self, cell: &[u8]) -> u8 {
        match cell::boolean(cell) {
            Some((style, _)) if *self.spelling.get_or_insert(style) == style => BOOLEAN,
            _ => 0,
        }
    }

    /// Whether a cell alone prints back in a type and style. Forgets all other cells.
    pub(crate) fn allows(&mut self, cell: &[u8], data_type: &DataType, style: &Style) -> bool {
        let scratch = std::mem::take(&mut self.scratch);
        *self = Self {
            scratch,
            ..Self::default()
        };
        let kind = match data_type {
            DataType::Utf8 => return std::str::from_utf8(cell).is_ok(),
            DataType::Int64 | DataType::UInt64 => INTEGER,
            DataType::Decimal128(..) => DECIMAL,
            DataType::Float64 => FLOAT,
            DataType::Date32 => DATE,
            DataType::Timestamp(..) => TIMESTAMP,
            DataType::Boolean => BOOLEAN,
            _ => return true,
        };
        self.see(cell, false, false);
        let in_range = match data_type {
            DataType::Int64 => !self.over_i64,
            DataType::UInt64 => !self.over_u64 && !self.negative,
            DataType::Decimal128(precision, scale) => {
                let digits = self.integer_digits + self.scale.unwrap_or(0);
                self.scale == usize::try_from(*scale).ok() && digits <= usize::from(*precision)
            }
            DataType::Timestamp(..) => self.form == style.time,
            _ => true,
        };
        self.typed && self.possible & kind != 0 && in_range
    }

    /// The type and how it prints.
    pub(crate) fn decide(&self) -> (DataType, Style) {
        let mut style = Style {
            quoted: self.quoted && !self.unquoted,
            ..Style::default()
        };
        if let Some(missing) = self.missing()
            && self.typed
            && let Some(data_type) = self.narrowest(&mut style)
        {
            style.missing = missing;
            return (data_type, style);
        }
        // R quotes all text, so that a bare NA is a missing value and "NA" is not.
        if style.quoted && !self.empty && self.unquoted_words.count_ones() == 1 {
            style.missing = Missing::Word(self.unquoted_words.trailing_zeros() as u8);
        } else {
            style.quoted &= self.unquoted_words == 0;
        }
        let data_type = match self.not_utf8 {
            true => DataType::Binary,
            false => DataType::Utf8,
        };
        (data_type, style)
    }

    /// The one spelling of missing values, if there is only one.
    fn missing(&self) -> Option<Missing> {
        let spellings =
            self.words.count_ones() + u32::from(self.empty) + u32::from(self.quoted_empty);
        match spellings {
            0 => Some(Missing::Empty),
            1 if self.empty => Some(Missing::Empty),
            1 if self.quoted_empty => Some(Missing::QuotedEmpty),
            1 if self.quoted_words & self.bare_words != 0 => None,
            1 => {
                let word = self.words.trailing_zeros() as u8;
                Some(match self.quoted_words {
                    0 => Missing::Word(word),
                    _ => Missing::QuotedWord(word),
                })
            }
            _ => None,
        }
    }

    fn narrowest(&self, style: &mut Style) -> Option<DataType> {
        let may = |kind| self.possible & kind != 0;
        if may(BOOLEAN) {
            style.boolean = self.spelling?;
            return Some(DataType::Boolean);
        }
        if may(DATE) {
            return Some(DataType::Date32);
        }
        if may(TIMESTAMP) {
            let form = self.form?;
            style.time = Some(form);
            let unit = match form.fraction {
                0 => TimeUnit::Second,
                1..=3 => TimeUnit::Millisecond,
                4..=6 => TimeUnit::Microsecond,
                _ => TimeUnit::Nanosecond,
            };
            return Some(DataType::Timestamp(
                unit,
                zone_name(form.zone).map(Into::into),
            ));
        }
        if may(INTEGER) {
            if !self.over_i64 {
                return Some(DataType::Int64);
            }
            if !self.over_u64 && !self.negative {
                return Some(DataType::UInt64);
            }
        }
        let point = self.whole_point;
        let float = may(FLOAT)
            && !(self.whole && point)
            && !(self.plain_extreme && self.exponent)
            && !(self.even && self.larger);
        // Numbers with one digit behind the point are most often floats that some program wrote
        // with `.0`.
        if may(DECIMAL)
            && let Some(scale) = self.scale
            && !(float && scale == 1)
        {
            let precision = (self.integer_digits + scale).max(1);
            return Some(DataType::Decimal128(precision as u8, scale as i8));
        }
        if float {
            style.float = FloatStyle {
                point,
                exponent: self.exponent,
                larger: self.larger,
            };
            return Some(DataType::Float64);
        }
        None
    }
}

/// Whether a cell is a whole number of at most 15 digits without sign or leading zero.
#[inline]
fn short_integer(cell: &[u8]) -> bool {
    cell.len() <= 15 && (cell[0] != b'0' || cell.len() == 1) && cell.iter().all(u8::is_ascii_digit)
}

/// The time zone of a column, as Arrow names it.
fn zone_name(zone: Zone) -> Option<String> {
    match zone {
        Zone::None => None,
        Zone::Utc => Some("+00:00".to_owned()),
        Zone::Offset { minutes, .. } => {
            let size = minutes.unsigned_abs();
            let sign = if minutes < 0 { '-' } else { '+' };
            Some(format!("{sign}{:02}:{:02}", size / 60, size % 60))
        }
    }
}

/// The place of a missing word in the list.
pub(crate) fn missing(cell: &[u8]) -> Option<u8> {
    if cell.len() > 4 {
        return None;
    }
    MISSING
        .iter()
        .position(|m| m.as_bytes() == cell)
        .map(|at| at as u8)
}
