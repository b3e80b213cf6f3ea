//! The shape of JSON values over many lines: one type for each place that holds them all.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields};

use super::number::{extent, float_is_exact, numeral};

/// Nesting that is followed.
const DEPTH: usize = 64;

/// What stood at one place of all lines so far.
#[derive(Debug, Default)]
pub(crate) enum Shape {
    /// Nothing but nulls.
    #[default]
    Unknown,
    Boolean,
    Text,
    Number(Numbers),
    List(Box<Shape>),
    Struct(Members),
}

/// What is known of the numbers at one place.
#[derive(Debug, Clone, Default)]
pub(crate) struct Numbers {
    negative: bool,
    over_i64: bool,
    over_u64: bool,
    /// An integer beyond 2^53 that is no float's, which floats beside it would round.
    over_float: bool,
    float: bool,
    /// A fraction that is no float's, so that a float would lose digits of it.
    inexact: bool,
    /// A number beyond all floats.
    infinite: bool,
    /// A zero with a sign, which only floats have.
    minus_zero: bool,
    /// Most digits before and behind the point.
    whole: i64,
    scale: i64,
    /// A number that no 32-bit float is; found out only for vectors.
    not_single: bool,
}

/// The members of objects, in order of first occurrence.
#[derive(Debug, Default)]
pub(crate) struct Members {
    shapes: Vec<(String, Shape)>,
    places: HashMap<String, usize>,
    /// The object in which each member was last seen, to find those that repeat.
    seen: Vec<u64>,
    objects: u64,
}

impl Shape {
    fn name(&self) -> &'static str {
        match self {
            Shape::Unknown => "null",
            Shape::Boolean => "a boolean",
            Shape::Text => "a string",
            Shape::Number(_) => "a number",
            Shape::List(_) => "a list",
            Shape::Struct(_) => "an object",
        }
    }

    /// The place below this one whose values are not of a type, if there is one.
    fn unfit(&self, path: &str, data_type: &DataType) -> Option<String> {
        let fits = match (self, data_type) {
            (Shape::Unknown, _) => true,
            (Shape::Number(n), _) => n.fit(data_type),
            // Text, or numbers that are kept as text.
            (Shape::Text, DataType::Utf8) | (Shape::Boolean, DataType::Boolean) => true,
            (Shape::List(item), DataType::List(field)) => {
                return item.unfit(path, field.data_type());
            }
            (Shape::Struct(members), DataType::Struct(fields)) => {
                let below = members.unfit(fields)?;
                return Some(format!("{path}.{below}"));
            }
            _ => false,
        };
        (!fits).then(|| path.to_owned())
    }

    /// The type that holds all values seen.
    fn data_type(&self, vectors: bool) -> DataType {
        match self {
            Shape::Unknown => DataType::Null,
            Shape::Boolean => DataType::Boolean,
            Shape::Text => DataType::Utf8,
            Shape::Number(n) => n.data_type(vectors),
            Shape::List(item) => DataType::new_list(item.data_type(vectors), true),
            Shape::Struct(members) => DataType::Struct(members.fields(vectors)),
        }
    }
}

impl Numbers {
    fn see(&mut self, text: &str, vectors: bool) {
        let integer = !text.contains(['.', 'e', 'E']) && text != "-0";
        if integer {
            self.negative |= text.starts_with('-');
            let digits = text.trim_start_matches('-').len();
            self.whole = self.whole.max(digits as i64);
            if text.len() > 15 {
                let wide = text.parse::<i128>().unwrap_or(i128::MAX);
                self.over_float =
                    self.over_float || (wide.unsigned_abs() > 1 << 53 && !float_is_exact(text));
                self.over_i64 |= i64::try_from(wide).is_err();
                self.over_u64 |= u64::try_from(wide.unsigned_abs()).is_err();
            }
            return;
        }
        self.float = true;
        let plain = numeral(text.as_bytes()).filter(|n| n.end == text.len());
        match plain {
            Some(n) => {
                self.whole = self.whole.max(n.integer_digits as i64);
                self.scale = self.scale.max(n.scale as i64);
                self.minus_zero |= n.negative && n.significant == 0;
            }
            None => {
                let (whole, scale) = extent(text.as_bytes());
                self.whole = self.whole.max(whole);
                self.scale = self.scale.max(scale);
                self.minus_zero |= text.starts_with('-') && whole + scale == 0;
            }
        }
        if !plain.is_some_and(|n| n.is_short()) && !float_is_exact(text) {
            self.inexact = true;
            self.infinite |= text.parse::<f64>().is_ok_and(f64::is_infinite);
        }
        if vectors && !self.not_single {
            let value = text.parse::<f64>().unwrap_or_default();
            self.not_single = f64::from(value as f32) != value;
        }
    }

    /// The type that loses nothing: 64 bits, else decimals, else text. Digits of fractions that no float
    /// has are given up only where decimals cannot keep them either, and in vectors.
    fn data_type(&self, vectors: bool) -> DataType {
        let wide = self.over_u64 || (self.over_i64 && self.negative);
        if !self.float && !wide {
            return match self.over_i64 {
                true => DataType::UInt64,
                false => DataType::Int64,
            };
        }
        let rounds = self.infinite || (self.float && self.over_float);
        if self.float && !rounds && (vectors || !self.inexact) {
            return match vectors && !self.not_single {
                true => DataType::Float32,
                false => DataType::Float64,
            };
        }
        let digits = (self.whole + self.scale).max(1);
        match (digits, self.scale as i8) {
            (1..=38, scale) if !self.minus_zero => DataType::Decimal128(digits as u8, scale),
            (1..=76, scale) if !self.minus_zero => DataType::Decimal256(digits as u8, scale),
            _ if rounds || !self.float => DataType::Utf8,
            _ => DataType::Float64,
        }
    }

    /// Whether the numbers are values of a type.
    fn fit(&self, data_type: &DataType) -> bool {
        match data_type {
            DataType::Utf8 => true,
            DataType::Float64 => {
                // As they would beside a fraction.
                let beside = Self {
                    float: true,
                    ..self.clone()
                };
                beside.data_type(false) == DataType::Float64
            }
            DataType::UInt64 => !self.negative && self.data_type(false).is_integer(),
            DataType::Decimal128(digits, scale) | DataType::Decimal256(digits, scale) => {
                let (digits, scale) = (i64::from(*digits), i64::from(*scale));
                let exact = !self.minus_zero && !self.infinite;
                exact && self.scale <= scale && self.whole + scale <= digits
            }
            other => self.data_type(false) == *other,
        }
    }
}

impl Members {
    /// The columns. With `vectors`, lists of floats that are all 32-bit ones are typed so.
    pub(crate) fn fields(&self, vectors: bool) -> Fields {
        let lists = |shape: &Shape| vectors && matches!(shape, Shape::List(_));
        self.shapes
            .iter()
            .map(|(name, shape)| Arc::new(Field::new(name, shape.data_type(lists(shape)), true)))
            .collect()
    }

    /// The first place whose values are not of the type that fields give it, if there is one.
    pub(crate) fn unfit(&self, fields: &Fields) -> Option<String> {
        for (at, (name, shape)) in self.shapes.iter().enumerate() {
            // Most members come in the order of the fields.
            let here = fields.get(at).filter(|f| f.name() == name);
            let field = here.or_else(|| fields.iter().find(|f| f.name() == name));
            let unfit = match field {
                Some(field) => shape.unfit(name, field.data_type()),
                None => Some(name.clone()),
            };
            if unfit.is_some() {
                return unfit;
            }
        }
        None
    }

    /// The place of a member; the members of most objects come in the same order.
    fn place(&mut self, name: &str, hint: usize) -> usize {
        if self.shapes.get(hint).is_some_and(|(n, _)| n == name) {
            return hint;
        }
        if let Some(&place) = self.places.get(name) {
            return place;
        }
        let place = self.shapes.len();
        self.places.insert(name.to_owned(), place);
        self.shapes.push((name.to_owned(), Shape::Unknown));
        self.seen.push(0);
        place
    }
}

/// Why a line does not fit, and the byte at which.
#[derive(Debug)]
pub(crate) struct Misfit {
    pub(crate) at: usize,
    pub(crate) what: String,
}

/// Follows one line of text.
pub(crate) struct Walk<'a> {
    text: &'a str,
    at: usize,
    path: Vec<String>,
    vectors: bool,
}

impl<'a> Walk<'a> {
    /// Adds the object that a line holds to what is known of the members; `vectors` asks whether numbers
    /// are 32-bit floats.
    pub(crate) fn line(text: &'a str, members: &mut Members, vectors: bool) -> Result<(), Misfit> {
        let mut walk = Self {
            text,
            at: 0,
            path: Vec::new(),
            vectors,
        };
        walk.space();
        match walk.peek() {
            Some(b'{') => walk.object(members, 0)?,
            Some(b'[') => {
                return Err(
                    walk.misfit("the line holds a list; write one object a line (jq -c '.[]')")
                );
            }
            _ => return Err(walk.misfit("the line holds no object; write one object a line")),
        }
        walk.space();
        match walk.peek() {
            None => Ok(()),
            Some(_) => {
                Err(walk.misfit("the line goes on behind its object; write one object a line"))
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.peek() {
            self.at += 1;
        }
    }

    fn misfit(&self, what: impl Into<String>) -> Misfit {
        let what = what.into();
        Misfit {
            at: self.at,
            what: match self.path.is_empty() {
                true => what,
                false => format!("column '{}': {what}", self.path.join(".")),
            },
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Misfit> {
        if self.peek() != Some(byte) {
            return Err(match self.peek() {
                None => self
                    .misfit("the line ends inside its object; write one object a line (jq -c .)"),
                Some(_) => self.misfit(format!("'{}' is missing", char::from(byte))),
            });
        }
        self.at += 1;
        Ok(())
    }

    fn object(&mut self, members: &mut Members, depth: usize) -> Result<(), Misfit> {
        self.expect(b'{')?;
        members.objects += 1;
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        let mut hint = 0;
        loop {
            self.space();
            let name = self.string()?;
            let name = name_of(name).ok_or_else(|| self.misfit("a name has a bad escape"))?;
            let place = members.place(&name, hint);
            self.path.push(name);
            if members.seen[place] == members.objects {
                return Err(self.misfit("the name occurs twice in one object; keep one"));
            }
            members.seen[place] = members.objects;
            hint = place + 1;
            self.space();
            self.expect(b':')?;
            self.value(&mut members.shapes[place].1, depth + 1)?;
            self.path.pop();
            self.space();
            if self.peek() == Some(b'}') {
                self.at += 1;
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    fn value(&mut self, shape: &mut Shape, depth: usize) -> Result<(), Misfit> {
        if depth > DEPTH {
            return Err(self.misfit(format!("values are nested more than {DEPTH} deep")));
        }
        self.space();
        match self.peek() {
            Some(b'n') => self.word("null"),
            Some(b't' | b'f') => {
                let word = if self.peek() == Some(b't') {
                    "true"
                } else {
                    "false"
                };
                self.settle(shape, Shape::Boolean)?;
                self.word(word)
            }
            Some(b'"') => {
                self.settle(shape, Shape::Text)?;
                self.string().map(|_| ())
            }
            Some(b'{') => {
                self.settle(shape, Shape::Struct(Members::default()))?;
                match shape {
                    Shape::Struct(members) => self.object(members, depth),
                    _ => Ok(()),
                }
            }
            Some(b'[') => {
                self.settle(shape, Shape::List(Box::default()))?;
                match shape {
                    Shape::List(item) => self.list(item, depth),
                    _ => Ok(()),
                }
            }
            Some(b'-' | b'0'..=b'9') => {
                self.settle(shape, Shape::Number(Numbers::default()))?;
                let number = self.number()?;
                if let Shape::Number(numbers) = shape {
                    numbers.see(number, self.vectors);
                }
                Ok(())
            }
            None => {
                Err(self
                    .misfit("the line ends inside its object; write one object a line (jq -c .)"))
            }
            Some(_) => Err(self.misfit("a value is missing or is no JSON")),
        }
    }

    /// Makes a place one of a kind of values, or refuses a second kind.
    fn settle(&self, shape: &mut Shape, kind: Shape) -> Result<(), Misfit> {
        if let Shape::Unknown = shape {
            *shape = kind;
        } else if std::mem::discriminant(shape) != std::mem::discriminant(&kind) {
            return Err(self.misfit(format!(
                "{} here, {} on an earlier line; make them one type",
                kind.name(),
                shape.name()
            )));
        }
        Ok(())
    }

    fn list(&mut self, item: &mut Shape, depth: usize) -> Result<(), Misfit> {
        self.expect(b'[')?;
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.value(item, depth + 1)?;
            self.space();
            if self.peek() == Some(b']') {
                self.at += 1;
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    fn word(&mut self, word: &str) -> Result<(), Misfit> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.misfit("a value is no JSON"));
        }
        self.at += word.len();
        Ok(())
    }

    /// A string with its escapes, without its quotes.
    fn string(&mut self) -> Result<&'a str, Misfit> {
        self.expect(b'"')?;
        let bytes = self.text.as_bytes();
        let start = self.at;
        loop {
            let Some(found) = memchr::memchr2(b'"', b'\\', &bytes[self.at..]) else {
                self.at = bytes.len();
                return Err(self.misfit("a string is never closed"));
            };
            self.at += found;
            if bytes[self.at] == b'"' {
                break;
            }
            self.at += 2;
            if self.at > bytes.len() || !self.text.is_char_boundary(self.at) {
                self.at = self.at.min(bytes.len());
                return Err(self.misfit("a string has a bad escape"));
            }
        }
        self.at += 1;
        Ok(&self.text[start..self.at - 1])
    }

    fn number(&mut self) -> Result<&'a str, Misfit> {
        let start = self.at;
        while let Some(b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E') = self.peek() {
            self.at += 1;
        }
        let number = &self.text[start..self.at];
        if number.parse::<f64>().is_err() {
            return Err(self.misfit(format!("'{number}' is no number")));
        }
        Ok(number)
    }
}

/// A name without its escapes.
fn name_of(raw: &str) -> Option<String> {
    if !raw.contains('\\') {
        return Some(raw.to_owned());
    }
    let mut name = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        name.push_str(&rest[..at]);
        let escape = rest.as_bytes().get(at + 1)?;
        let mut length = 2;
        name.push(match escape {
            b'"' | b'\\' | b'/' => char::from(*escape),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = |at: usize| u32::from_str_radix(rest.get(at..at + 4)?, 16).ok();
                let first = unit(at + 2)?;
                length = 6;
                if (0xd800..0xdc00).contains(&first) {
                    length = 12;
                    let second = unit(at + 8)?.checked_sub(0xdc00).filter(|s| *s < 0x400)?;
                    char::from_u32(0x10000 + ((first - 0xd800) << 10) + second)?
                } else {
                    char::from_u32(first)?
                }
            }
            _ => return None,
        });
        rest = &rest[at + length..];
    }
    name.push_str(rest);
    Some(name)
}
