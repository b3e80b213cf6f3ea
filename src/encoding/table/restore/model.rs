//! What `restore` needs to know of a column: how integers become values.

use arrow::buffer::Buffer;
use prost::Message;

use super::text::{MAX_TEXT, Moment, Piece, TextForm};
use super::values::{Values, ValuesMessage};
use crate::encoding::Model;
use crate::error::{Error, Result};

/// Kind of the model.
pub const KIND: &str = "restore.v1";

/// The integer that stands for null. Those above it stand for the exceptions in order.
pub const NULL: i64 = i64::MIN;
/// Most exceptions of a model, so that integers up to `NULL + MAX_EXCEPTIONS` are never values.
pub const MAX_EXCEPTIONS: usize = (1 << 16) - 1;
/// Most parts of a text.
pub const MAX_PARTS: usize = 32;
/// Longest value of a part: a row's text is put together before its memory is charged.
const MAX_PART_VALUE: usize = 1 << 16;
/// Most decimals of a floating-point number: powers of ten up to here are exact.
pub const MAX_DECIMALS: u32 = 22;

/// How integers become values.
#[derive(Debug, Clone, PartialEq)]
pub enum Form {
    /// `factor · i + base`, wrapping at 64 bits, cut or sign-extended to the type's width; for
    /// booleans, whether that is not zero.
    Integer {
        /// Value of zero.
        base: i64,
        /// Step.
        factor: i64,
    },
    /// A floating-point number: `i` divided by 10 to this power in double precision, then rounded
    /// to the type.
    Decimal {
        /// Decimals, at most [`MAX_DECIMALS`].
        digits: u32,
    },
    /// Value number `i` of a list.
    Dictionary(Values),
    /// Text put together from parts.
    Text(Vec<Part>),
}

/// A part of a text. Those that are not literal take an integer of their own, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// The same bytes in every row.
    Literal(Vec<u8>),
    /// A number, date or time.
    Formatted(TextForm),
    /// Value number `i` of a list.
    Dictionary(Values),
}

/// A column's form and the values that do not follow it.
#[derive(Debug, Clone, PartialEq)]
pub struct Restore {
    /// The rule.
    pub form: Form,
    /// Values of the integers `NULL + 1`, `NULL + 2`, ...
    pub exceptions: Values,
}

#[derive(Clone, PartialEq, Message)]
struct RestoreMessage {
    #[prost(oneof = "FormMessage", tags = "1, 2, 3, 4")]
    form: Option<FormMessage>,
    #[prost(message, optional, tag = "5")]
    exceptions: Option<ValuesMessage>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum FormMessage {
    #[prost(message, tag = "1")]
    Integer(IntegerMessage),
    #[prost(uint32, tag = "2")]
    Decimal(u32),
    #[prost(message, tag = "3")]
    Dictionary(ValuesMessage),
    #[prost(message, tag = "4")]
    Text(TextMessage),
}

#[derive(Clone, PartialEq, Message)]
struct IntegerMessage {
    #[prost(sint64, tag = "1")]
    base: i64,
    /// The factor less one.
    #[prost(sint64, tag = "2")]
    step: i64,
}

#[derive(Clone, PartialEq, Message)]
struct TextMessage {
    #[prost(message, repeated, tag = "1")]
    parts: Vec<PartMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct PartMessage {
    #[prost(oneof = "PartKind", tags = "1, 2, 3, 4")]
    kind: Option<PartKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum PartKind {
    #[prost(bytes, tag = "1")]
    Literal(Vec<u8>),
    #[prost(message, tag = "2")]
    Number(NumberMessage),
    /// A pattern: see [`pattern`].
    #[prost(bytes, tag = "3")]
    Moment(Vec<u8>),
    #[prost(message, tag = "4")]
    Dictionary(ValuesMessage),
}

#[derive(Clone, PartialEq, Message)]
struct NumberMessage {
    #[prost(uint32, tag = "1")]
    width: u32,
    #[prost(uint32, tag = "2")]
    digits: u32,
    #[prost(uint32, tag = "3")]
    kept: u32,
}

/// The power of ten that decimals are divided by.
pub(super) fn power(digits: u32) -> f64 {
    const POWERS: [f64; MAX_DECIMALS as usize + 1] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
        1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
    ];
    POWERS[digits.min(MAX_DECIMALS) as usize]
}

/// What an integer with so many decimals gives, in double precision.
pub fn double_of(integer: i64, digits: u32) -> f64 {
    integer as f64 / power(digits)
}

impl Restore {
    /// A rule without exceptions.
    pub fn exact(form: Form) -> Self {
        Self {
            form,
            exceptions: Values::new(None),
        }
    }

    /// Number of integers that each value takes, and so of parent columns.
    pub fn integers(&self) -> usize {
        match &self.form {
            Form::Text(parts) => parts.iter().filter(|p| p.takes_integer()).count(),
            _ => 1,
        }
    }

    /// The stored model. An integer column that is its own integers takes no bytes at all.
    pub fn to_model(&self) -> Model {
        let form = match &self.form {
            Form::Integer { base: 0, factor: 1 } => None,
            Form::Integer { base, factor } => Some(FormMessage::Integer(IntegerMessage {
                base: *base,
                step: factor.wrapping_sub(1),
            })),
            Form::Decimal { digits } => Some(FormMessage::Decimal(*digits)),
            Form::Dictionary(values) => Some(FormMessage::Dictionary(values.pack())),
            Form::Text(parts) => Some(FormMessage::Text(TextMessage {
                parts: parts.iter().map(Part::message).collect(),
            })),
        };
        let exceptions = (!self.exceptions.is_empty()).then(|| self.exceptions.pack());
        let message = RestoreMessage { form, exceptions };
        Model::new(KIND, Buffer::from_vec(message.encode_to_vec()))
    }

    /// The rule that a model stores.
    pub fn parse(bytes: &Buffer) -> Result<Self> {
        let message = RestoreMessage::decode(bytes.as_slice())
            .map_err(|e| Error::corrupt(format!("model of kind '{KIND}': {e}")))?;
        let form = match message.form {
            None => Form::Integer { base: 0, factor: 1 },
            Some(FormMessage::Integer(m)) => Form::Integer {
                base: m.base,
                factor: m.step.wrapping_add(1),
            },
            Some(FormMessage::Decimal(digits)) if digits <= MAX_DECIMALS => {
                Form::Decimal { digits }
            }
            Some(FormMessage::Decimal(_)) => return Err(Error::corrupt("too many decimals")),
            Some(FormMessage::Dictionary(values)) => Form::Dictionary(Values::unpack(&values)?),
            Some(FormMessage::Text(text)) => {
                if text.parts.len() > MAX_PARTS {
                    return Err(Error::corrupt("a text of too many parts"));
                }
                let parts: Vec<Part> = text
                    .parts
                    .into_iter()
                    .map(Part::parse)
                    .collect::<Result<_>>()?;
                if !parts.iter().any(Part::takes_integer) {
                    return Err(Error::corrupt("a text of literal parts only"));
                }
                Form::Text(parts)
            }
        };
        let exceptions = match message.exceptions {
            None => Values::new(None),
            Some(values) => Values::unpack(&values)?,
        };
        match exceptions.len() <= MAX_EXCEPTIONS {
            true => Ok(Self { form, exceptions }),
            false => Err(Error::corrupt("too many exceptions")),
        }
    }
}

impl Part {
    /// Whether the part differs from row to row.
    pub fn takes_integer(&self) -> bool {
        !matches!(self, Part::Literal(_))
    }

    fn message(&self) -> PartMessage {
        let kind = match self {
            Part::Literal(bytes) => PartKind::Literal(bytes.clone()),
            Part::Formatted(TextForm::Number {
                width,
                digits,
                kept,
            }) => PartKind::Number(NumberMessage {
                width: *width,
                digits: *digits,
                kept: *kept,
            }),
            Part::Formatted(TextForm::Moment(moment)) => PartKind::Moment(pattern(moment.pieces())),
            Part::Dictionary(values) => PartKind::Dictionary(values.pack()),
        };
        PartMessage { kind: Some(kind) }
    }

    fn parse(message: PartMessage) -> Result<Self> {
        Ok(match message.kind {
            Some(PartKind::Literal(bytes)) if bytes.len() <= MAX_TEXT => Part::Literal(bytes),
            Some(PartKind::Number(m)) => {
                Part::Formatted(TextForm::number(m.width, m.digits, m.kept)?)
            }
            Some(PartKind::Moment(bytes)) => {
                Part::Formatted(TextForm::Moment(Moment::new(pieces(&bytes)?)?))
            }
            Some(PartKind::Dictionary(values)) => {
                let values = Values::unpack(&values)?;
                if values.iter().any(|v| v.len() > MAX_PART_VALUE) {
                    return Err(Error::corrupt("part of a text out of proportion"));
                }
                Part::Dictionary(values)
            }
            _ => return Err(Error::corrupt("part of a text without a form")),
        })
    }
}

/// The fields of a moment as bytes: `%` and a letter is a field, some with a digit of width between;
/// all else stands for itself, `%%` for `%`.
///
/// | field | `Y` | `m` | `d` | `H` | `I` | `M` | `S` | `f` | `p` |
/// |---|---|---|---|---|---|---|---|---|---|
/// | | year | month | day | hour | hour of twelve | minute | second | decimals | meridiem |
/// | width | | yes | yes | yes | yes | | | yes | |
fn pattern(pieces: &[Piece]) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in pieces {
        let (width, letter) = match piece {
            Piece::Literal(bytes) => {
                for &byte in bytes {
                    out.push(byte);
                    if byte == b'%' {
                        out.push(byte);
                    }
                }
                continue;
            }
            Piece::Year => (None, b'Y'),
            Piece::Month(w) => (Some(w), b'm'),
            Piece::Day(w) => (Some(w), b'd'),
            Piece::Hour(w) => (Some(w), b'H'),
            Piece::Hour12(w) => (Some(w), b'I'),
            Piece::Minute => (None, b'M'),
            Piece::Second => (None, b'S'),
            Piece::Fraction(n) => (Some(n), b'f'),
            Piece::Meridiem => (None, b'p'),
        };
        out.push(b'%');
        out.extend(width.map(|w| b'0' + w));
        out.push(letter);
    }
    out
}

/// The fields that a pattern tells.
fn pieces(pattern: &[u8]) -> Result<Vec<Piece>> {
    let bad = || Error::corrupt("pattern of a date or time");
    if pattern.len() > 2 * MAX_TEXT {
        return Err(bad());
    }
    let mut out: Vec<Piece> = Vec::new();
    let mut bytes = pattern.iter().copied();
    while let Some(byte) = bytes.next() {
        let mut literal = byte;
        if byte == b'%' {
            let mut letter = bytes.next().ok_or_else(bad)?;
            let mut width = None;
            if letter.is_ascii_digit() {
                width = Some(letter - b'0');
                letter = bytes.next().ok_or_else(bad)?;
            }
            let field = match (letter, width) {
                (b'Y', None) => Some(Piece::Year),
                (b'm', Some(w)) => Some(Piece::Month(w)),
                (b'd', Some(w)) => Some(Piece::Day(w)),
                (b'H', Some(w)) => Some(Piece::Hour(w)),
                (b'I', Some(w)) => Some(Piece::Hour12(w)),
                (b'M', None) => Some(Piece::Minute),
                (b'S', None) => Some(Piece::Second),
                (b'f', Some(n)) => Some(Piece::Fraction(n)),
                (b'p', None) => Some(Piece::Meridiem),
                (b'%', None) => None,
                _ => return Err(bad()),
            };
            if let Some(field) = field {
                out.push(field);
                continue;
            }
            literal = b'%';
        }
        match out.last_mut() {
            Some(Piece::Literal(bytes)) => bytes.push(literal),
            _ => out.push(Piece::Literal(vec![literal])),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_comes_back(restore: Restore) -> usize {
        let model = restore.to_model();
        assert_eq!(Restore::parse(model.bytes()).unwrap(), restore);
        model.bytes().len()
    }

    fn list(values: &[&[u8]]) -> Values {
        let mut list = Values::new(None);
        for v in values {
            list.push(v).unwrap();
        }
        list
    }

    #[test]
    fn models_come_back_and_are_small() {
        let identity = Form::Integer { base: 0, factor: 1 };
        assert_eq!(assert_comes_back(Restore::exact(identity)), 0);
        let affine = Form::Integer {
            base: i64::MIN,
            factor: -60,
        };
        assert!(assert_comes_back(Restore::exact(affine)) < 20);
        assert!(assert_comes_back(Restore::exact(Form::Decimal { digits: 0 })) < 4);
        let moment = Moment::new(vec![
            Piece::Year,
            Piece::Literal(b"%-".to_vec()),
            Piece::Month(2),
            Piece::Literal(b"-%5".to_vec()),
            Piece::Day(1),
            Piece::Literal(b"T".to_vec()),
            Piece::Hour12(2),
            Piece::Minute,
            Piece::Second,
            Piece::Fraction(3),
            Piece::Meridiem,
        ]);
        let parts = vec![
            Part::Literal(b"x".to_vec()),
            Part::Formatted(TextForm::Moment(moment.unwrap())),
            Part::Dictionary(list(&[b"a", b"b"])),
            Part::Formatted(TextForm::number(3, 2, 1).unwrap()),
        ];
        let text = Restore {
            form: Form::Text(parts),
            exceptions: list(&[b"", b"odd"]),
        };
        assert_eq!(text.integers(), 3);
        assert_comes_back(text);
    }

    #[test]
    fn hostile_models_are_errors() {
        let parse = |message: RestoreMessage| {
            Restore::parse(&Buffer::from_vec(message.encode_to_vec())).is_err()
        };
        let form = |form| RestoreMessage {
            form: Some(form),
            exceptions: None,
        };
        assert!(parse(form(FormMessage::Decimal(23))));
        assert!(parse(form(FormMessage::Text(TextMessage {
            parts: vec![]
        }))));
        let part = |kind| {
            form(FormMessage::Text(TextMessage {
                parts: vec![PartMessage { kind }],
            }))
        };
        assert!(parse(part(None)));
        assert!(parse(part(Some(PartKind::Literal(b"x".to_vec())))));
        for pattern in [&b"%"[..], b"%9H", b"%Q", b"%5", b"%M", b"%9m%Y%2d"] {
            assert!(parse(part(Some(PartKind::Moment(pattern.to_vec())))));
        }
        let number = NumberMessage {
            width: 1000,
            digits: 0,
            kept: 0,
        };
        assert!(parse(part(Some(PartKind::Number(number)))));
        assert!(Restore::parse(&Buffer::from(&b"\xff\xff"[..])).is_err());
    }
}
