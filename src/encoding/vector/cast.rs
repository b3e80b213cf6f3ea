//! `pilaster.cast.v1`: vectors of 32-bit floats in narrower numbers, at a loss.
//!
//! The words of a spec are `f16`, `bf16`, `f8e4m3`, `f8e5m2` and `int8`; `f8e4m3(scaled)` and
//! `f8e5m2(scaled)` first divide each vector by a power of two, so that its largest value comes close to
//! the largest that the format has. `int8` always scales: the step is the largest absolute value of the
//! vector over 127. Rounding is to nearest, ties to even; values beyond the largest saturate and are
//! counted. Vectors with NaN or infinity are declined.
//!
//! Buffer 0 holds the codes row by row; buffer 1, if rows are scaled, one 32-bit factor a row.

use arrow::array::*;
use arrow::datatypes::DataType;
use half::{bf16, f16};

use super::float8::Float8;
use super::products::{self, Arranged, Codes};
use super::rows::{self, Stride};
use crate::encoding::distance::{self, Distances, Form, Query, Stage};
use crate::encoding::{
    Access, DecodeContext, EncodeContext, Encoding, Loss, Node, Reads, Selection,
};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct Cast;

const ID: &str = "pilaster.cast.v1";

#[derive(Clone, PartialEq, prost::Message)]
struct Metadata {
    /// Place in [`FORMATS`].
    #[prost(uint32, tag = "1")]
    format: u32,
    /// Values of a vector.
    #[prost(uint32, tag = "2")]
    dimension: u32,
    /// Whether buffer 1 holds a factor for each row.
    #[prost(bool, tag = "3")]
    scaled: bool,
    /// Values that were too large for the format.
    #[prost(uint64, tag = "4")]
    saturated: u64,
}

/// Words of the formats, in the order of their stored numbers.
const FORMATS: [(&str, Format); 5] = [
    ("f16", Format::Half),
    ("bf16", Format::Brain),
    ("f8e4m3", Format::Eight(Float8::E4M3)),
    ("f8e5m2", Format::Eight(Float8::E5M2)),
    ("int8", Format::Integer),
];

#[derive(Debug, Clone, Copy)]
enum Format {
    Half,
    Brain,
    Eight(Float8),
    Integer,
}

impl Format {
    fn width(self) -> usize {
        match self {
            Format::Half | Format::Brain => 2,
            Format::Eight(_) | Format::Integer => 1,
        }
    }

    /// The largest value, beyond which values saturate.
    fn largest(self) -> f32 {
        match self {
            Format::Half => 65_504.0,
            Format::Brain => bf16::MAX.to_f32(),
            Format::Eight(Float8::E4M3) => 448.0,
            Format::Eight(Float8::E5M2) => 57_344.0,
            Format::Integer => 127.0,
        }
    }

    /// The factor of a row whose largest absolute value this is.
    fn factor(self, largest: f32) -> f32 {
        if largest == 0.0 {
            return 1.0;
        }
        let factor = match self {
            Format::Integer => largest / 127.0,
            // The power of two that brings the largest value into the upper half of the range, exact.
            _ => (largest / self.largest()).log2().ceil().exp2(),
        };
        // Not below the normal numbers, where the quotient would overflow.
        factor.max(f32::MIN_POSITIVE)
    }

    fn push(self, value: f32, out: &mut Vec<u8>) {
        let value = value.clamp(-self.largest(), self.largest());
        match self {
            Format::Half => out.extend(f16::from_f32(value).to_le_bytes()),
            Format::Brain => out.extend(bf16::from_f32(value).to_le_bytes()),
            Format::Eight(format) => out.push(format.encode(value)),
            Format::Integer => out.push(value.round_ties_even() as i8 as u8),
        }
    }

    fn value(self, code: &[u8]) -> f32 {
        match (self, code) {
            (Format::Half, &[a, b]) => f16::from_le_bytes([a, b]).to_f32(),
            (Format::Brain, &[a, b]) => bf16::from_le_bytes([a, b]).to_f32(),
            (Format::Eight(format), &[a]) => format.decode(a),
            (Format::Integer, &[a]) => f32::from(a as i8),
            _ => f32::NAN,
        }
    }
}

/// Parsed metadata.
struct Layout {
    format: Format,
    dimension: usize,
    scaled: bool,
    codes: Stride,
}

const FACTORS: Stride = Stride { bytes: 4 };

impl Layout {
    fn of(node: &Node) -> Result<Self> {
        let metadata: Metadata = node.parse_metadata()?;
        let (_, format) = FORMATS
            .get(metadata.format as usize)
            .ok_or_else(|| Error::corrupt(format!("number format {}", metadata.format)))?;
        let dimension = metadata.dimension as usize;
        let layout = Self {
            format: *format,
            dimension,
            scaled: metadata.scaled,
            codes: Stride {
                bytes: dimension.saturating_mul(format.width()),
            },
        };
        node.expect(1 + usize::from(layout.scaled), 0)?;
        layout.codes.check(node.buffer(0)?, node.rows)?;
        if layout.scaled {
            FACTORS.check(node.buffer(1)?, node.rows)?;
        }
        Ok(layout)
    }
}

/// The format and whether rows are scaled; half floats by default.
fn parse(arguments: &[String]) -> Option<(usize, bool)> {
    let (format, rest) = match arguments.split_first() {
        None => (0, arguments),
        Some((word, rest)) => (FORMATS.iter().position(|(w, _)| w == word)?, rest),
    };
    let integer = matches!(FORMATS[format].1, Format::Integer);
    let scaled = match rest {
        [] => integer,
        [word] if word == "scaled" => true,
        _ => return None,
    };
    Some((format, scaled))
}

impl Encoding for Cast {
    fn id(&self) -> &'static str {
        ID
    }

    fn called(&self, word: &str) -> Option<Vec<String>> {
        if word == self.name() {
            return Some(Vec::new());
        }
        let known = FORMATS.iter().any(|(w, _)| *w == word);
        known.then(|| vec![word.to_owned()])
    }

    fn loss(&self, arguments: &[String]) -> Loss {
        let format = parse(arguments).map_or(0, |(format, _)| format);
        Loss::Quantized {
            bits: 8 * FORMATS[format].1.width() as u32,
            metric: "value",
        }
    }

    fn access(&self) -> Access {
        Access::PerValue
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        rows::is_vector(data_type)
    }

    fn encode(&self, array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        let (number, scaled) = parse(&context.arguments).ok_or_else(|| {
            Error::invalid(format!(
                "'{}' is not a number format; write f16, bf16, int8, f8e4m3, f8e5m2 or f8e4m3(scaled)",
                context.arguments.join(", ")
            ))
        })?;
        let Some((values, dimension)) = rows::finite(array) else {
            return Ok(None);
        };
        let format = FORMATS[number].1;
        let mut codes = Vec::with_capacity(values.len() * format.width());
        let mut factors = Vec::new();
        let mut saturated = 0u64;
        let valid = context.valid.as_ref().filter(|v| v.len() == array.len());
        for (i, row) in values.values().chunks_exact(dimension).enumerate() {
            let counts = !scaled && valid.is_none_or(|valid| valid.is_valid(i));
            let largest = row.iter().fold(0f32, |m, v| m.max(v.abs()));
            let factor = if scaled { format.factor(largest) } else { 1.0 };
            if scaled {
                factors.extend(factor.to_le_bytes());
            }
            for value in row {
                let value = value / factor;
                saturated += u64::from(counts && value.abs() > format.largest());
                format.push(value, &mut codes);
            }
        }
        let mut node = Node::new(ID, array.len())
            .with_metadata(&Metadata {
                format: number as u32,
                dimension: dimension as u32,
                scaled,
                saturated,
            })
            .with_buffer(codes);
        if scaled {
            node = node.with_buffer(factors);
        }
        Ok(Some(node))
    }

    fn decode(
        &self,
        node: &Node,
        data_type: &DataType,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        self.decode_selection(node, data_type, &Selection::all(), context)
    }

    fn decode_selection(
        &self,
        node: &Node,
        data_type: &DataType,
        selection: &Selection,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        let layout = Layout::of(node)?;
        let elements = rows::elements(selection, layout.dimension, data_type)?;
        let width = layout.format.width();
        let inside = elements.start * width..elements.end * width;
        let (codes, factors) = (node.buffer(0)?, node.buffers.get(1));
        rows::decode(
            node,
            data_type,
            selection,
            &elements,
            context,
            |row, out| {
                let part = layout.codes.part(codes, row, inside.clone())?;
                let factor = match factors {
                    Some(factors) if !elements.is_empty() => {
                        let bytes = FACTORS.part(factors, row, 0..4)?;
                        bytes
                            .typed_data::<u8>()
                            .try_into()
                            .map_or(1.0, f32::from_le_bytes)
                    }
                    _ => 1.0,
                };
                let codes = part.as_slice().chunks_exact(width);
                match layout.scaled {
                    true => {
                        let value = |c: &[u8]| layout.format.value(c) * factor;
                        out.extend(codes.map(value).map(rows::within_range));
                    }
                    false => out.extend(codes.map(|c| layout.format.value(c))),
                }
                Ok(())
            },
        )
    }

    fn distances(
        &self,
        node: &Node,
        _: &DataType,
        query: &Query,
        _: Stage,
        selection: &Selection,
        context: &DecodeContext<'_>,
    ) -> Result<Option<Distances>> {
        let layout = Layout::of(node)?;
        rows::check_query(query, layout.dimension, selection)?;
        let count = selection.count(node.rows);
        context.reserve_rows(count, 6 * size_of::<f32>())?;
        let codes = layout
            .codes
            .located(node.buffer(0)?, node.rows, selection, context)?;
        let (bytes, places) = (codes.bytes.as_slice(), codes.rows.as_deref());
        let factors = match layout.scaled {
            true => {
                let factors = FACTORS.gathered(node.buffer(1)?, node.rows, selection, context)?;
                Some(rows::singles(&factors))
            }
            false => None,
        };
        let form = match layout.format {
            Format::Half => Form::Half,
            Format::Brain => Form::Brain,
            Format::Eight(Float8::E4M3) => Form::Eight,
            Format::Eight(Float8::E5M2) => Form::UpperHalf,
            Format::Integer => {
                let rows = Codes {
                    bytes,
                    stride: layout.codes.bytes,
                    rows: places,
                    count,
                };
                let arranged = Arranged::new(query, 8);
                let (products, squares) = products::signed(rows, &arranged, query.byte_sum());
                let factor = |i: usize| factors.as_ref().map_or(1.0, |f| f[i]);
                let each = products.iter().enumerate();
                let scale = query.scale();
                let products: Vec<f32> = each.map(|(i, p)| *p as f32 * factor(i) * scale).collect();
                let each = squares.iter().enumerate();
                let norms: Vec<f32> = each.map(|(i, s)| (*s as f32).sqrt() * factor(i)).collect();
                let slack: Vec<f32> = norms.iter().map(|n| n * query.missed()).collect();
                return Ok(Some(query.of_products(&products, &slack, &norms)));
            }
        };
        let sums = match layout.scaled {
            true => distance::products(form, bytes, places, count, query),
            false => distance::sums(form, bytes, places, count, query),
        };
        Ok(Some(query.of_sums(&sums, factors.as_deref())))
    }

    fn saturated(&self, node: &Node) -> Option<u64> {
        let metadata: Metadata = node.parse_metadata().ok()?;
        Some(metadata.saturated)
    }

    fn reads(&self, node: &Node, selection: &Selection) -> Reads {
        let Ok(layout) = Layout::of(node) else {
            return Reads::All;
        };
        let elements = selection.elements.clone().unwrap_or(0..layout.dimension);
        let width = layout.format.width();
        if elements.start > elements.end || elements.end > layout.dimension {
            return Reads::All;
        }
        let inside = elements.start * width..elements.end * width;
        let mut buffers = layout.codes.reads(0, node.rows, selection, inside.clone());
        if layout.scaled && !inside.is_empty() {
            buffers.extend(FACTORS.reads(1, node.rows, selection, 0..4));
        }
        rows::parts(node, buffers)
    }
}
