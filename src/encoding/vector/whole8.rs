//! `pilaster.whole8.v1`: vectors of whole numbers in one byte a value, exactly.
//!
//! Pixels, counts and SIFT features come as floats, but are integers of a byte. Where all values of an
//! array are whole and lie in 0 to 255, or in -128 to 127, their codes are the vectors: nothing is lost,
//! a row is read by itself, and inner products with a query of bytes are exact sums of integers. Zeros
//! with a sign, fractions and values that are not finite make it decline.
//!
//! Buffer 0 holds the codes row by row; buffer 1 the squared norm of each row, a 32-bit integer.

use arrow::array::*;
use arrow::datatypes::DataType;

use super::products::{self, Arranged, Codes};
use super::rows::{self, Stride};
use crate::encoding::distance::{Distances, Query, Stage};
use crate::encoding::{Access, DecodeContext, EncodeContext, Encoding, Node, Reads, Selection};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct Whole8;

const ID: &str = "pilaster.whole8.v1";

#[derive(Clone, PartialEq, prost::Message)]
struct Metadata {
    /// Values of a vector.
    #[prost(uint32, tag = "1")]
    dimension: u32,
    /// Whether codes stand for numbers 128 less than themselves.
    #[prost(bool, tag = "2")]
    signed: bool,
}

/// What a code of zero stands for if codes are signed.
const LEAST: i32 = -128;

/// Parsed metadata.
struct Layout {
    dimension: usize,
    least: i32,
    codes: Stride,
}

/// Squared norm, 32-bit integer: 65,536 squares of 255 fit.
const SQUARE: Stride = Stride { bytes: 4 };

impl Layout {
    fn of(node: &Node) -> Result<Self> {
        let metadata: Metadata = node.parse_metadata()?;
        let dimension = metadata.dimension as usize;
        if dimension == 0 {
            return Err(Error::corrupt("vectors without values"));
        }
        let layout = Self {
            dimension,
            least: if metadata.signed { LEAST } else { 0 },
            codes: Stride { bytes: dimension },
        };
        node.expect(2, 0)?;
        layout.codes.check(node.buffer(0)?, node.rows)?;
        SQUARE.check(node.buffer(1)?, node.rows)?;
        Ok(layout)
    }
}

/// The least number that a code stands for, if all values have a code.
fn least(values: &[f32]) -> Option<i32> {
    let (mut low, mut high) = (0f32, 0f32);
    for value in values {
        // A zero with a sign is no integer.
        let whole = value.fract() == 0.0 && value.to_bits() != 0x8000_0000;
        if !whole || value.abs() > 255.0 {
            return None;
        }
        (low, high) = (low.min(*value), high.max(*value));
    }
    match (low, high) {
        _ if low >= 0.0 => Some(0),
        _ if low >= -128.0 && high <= 127.0 => Some(LEAST),
        _ => None,
    }
}

impl Encoding for Whole8 {
    fn id(&self) -> &'static str {
        ID
    }

    fn access(&self) -> Access {
        Access::PerValue
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        rows::is_vector(data_type)
    }

    fn encode(&self, array: &ArrayRef, _: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        let Some((values, dimension)) = rows::finite(array) else {
            return Ok(None);
        };
        let values = values.values();
        let Some(least) = least(values) else {
            return Ok(None);
        };
        let code = |value: &f32| (*value as i32 - least) as u8;
        let codes: Vec<u8> = values.iter().map(code).collect();
        let squares = values.chunks_exact(dimension).flat_map(|row| {
            let square = |value: &f32| (*value as i32 * *value as i32) as u32;
            row.iter().map(square).sum::<u32>().to_le_bytes()
        });
        let squares: Vec<u8> = squares.collect();
        Ok(Some(
            Node::new(ID, array.len())
                .with_metadata(&Metadata {
                    dimension: dimension as u32,
                    signed: least < 0,
                })
                .with_buffer(codes)
                .with_buffer(squares),
        ))
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
        let codes = node.buffer(0)?;
        let least = layout.least as f32;
        rows::decode(
            node,
            data_type,
            selection,
            &elements,
            context,
            |row, out| {
                let part = layout.codes.part(codes, row, elements.clone())?;
                out.extend(part.iter().map(|code| f32::from(*code) + least));
                Ok(())
            },
        )
    }

    fn distances(
        &self,
        node: &Node,
        _: &DataType,
        query: &Query,
        stage: Stage,
        selection: &Selection,
        context: &DecodeContext<'_>,
    ) -> Result<Option<Distances>> {
        let layout = Layout::of(node)?;
        rows::check_query(query, layout.dimension, selection)?;
        let count = selection.count(node.rows);
        context.reserve_rows(count, 8 * size_of::<f32>())?;
        let codes = layout
            .codes
            .located(node.buffer(0)?, node.rows, selection, context)?;
        let codes = Codes {
            bytes: codes.bytes.as_slice(),
            stride: layout.codes.bytes,
            rows: codes.rows.as_deref(),
            count,
        };
        let squares = SQUARE.gathered(node.buffer(1)?, node.rows, selection, context)?;
        let (squares, _) = squares.as_chunks::<4>();
        let norm = |square: &[u8; 4]| f64::from(u32::from_le_bytes(*square)).sqrt() as f32;
        let norms: Vec<f32> = squares.iter().map(norm).collect();
        // Sums that fit: at most 65,536 products of 255 and 127, and what is taken off again.
        let sums = |query: &Query| {
            let shift = layout.least.wrapping_mul(query.byte_sum());
            let sums = products::unsigned(codes, &Arranged::new(query, 8));
            sums.into_iter().map(move |sum| sum.wrapping_add(shift))
        };
        let scale = query.scale();
        let first = sums(query).map(|sum| sum as f32 * scale);
        let bounds = match stage {
            Stage::Coarse => {
                let products: Vec<f32> = first.collect();
                let slack: Vec<f32> = norms.iter().map(|n| n * query.missed()).collect();
                query.of_products(&products, &slack, &norms)
            }
            Stage::Fine => {
                // The codes are exact: all that is missing is what the query's bytes miss of it.
                let (rest, missed) = query.rest()?;
                let more = sums(&rest).map(|sum| sum as f32 * rest.scale());
                let products: Vec<f32> = first.zip(more).map(|(a, b)| a + b).collect();
                let slack: Vec<f32> = norms.iter().map(|n| n * missed).collect();
                query.of_products(&products, &slack, &norms)
            }
        };
        Ok(Some(Distances {
            finer: stage == Stage::Coarse,
            ..bounds
        }))
    }

    fn distance_reads(&self, node: &Node, _: Stage, selection: &Selection) -> Reads {
        let Ok(layout) = Layout::of(node) else {
            return Reads::All;
        };
        let whole = 0..layout.dimension;
        let mut buffers = layout.codes.reads(0, node.rows, selection, whole);
        buffers.extend(SQUARE.reads(1, node.rows, selection, 0..4));
        rows::parts(node, buffers)
    }

    fn reads(&self, node: &Node, selection: &Selection) -> Reads {
        let Ok(layout) = Layout::of(node) else {
            return Reads::All;
        };
        let elements = selection.elements.clone().unwrap_or(0..layout.dimension);
        if elements.start > elements.end || elements.end > layout.dimension {
            return Reads::All;
        }
        rows::parts(node, layout.codes.reads(0, node.rows, selection, elements))
    }
}
