//! `pilaster.lvq.v1`: locally adaptive vector quantization, one level or two, at a loss.
//!
//! Each vector has its own bounds, stored as half floats, and its values are even steps between them;
//! codes are fitted to the bounds *as stored* (Aguerrebere et al., arXiv 2304.04759). Below eight bits,
//! and with one level only, the bounds are those of least squared error, found by descent as Lucene's
//! optimized scalar quantization does; with two levels they cover all values, so that the residual
//! always fits the second level. A column mean is subtracted only where that loses less on a sample.
//! Vectors of integers that fit the codes are kept exactly: step one, no mean.
//!
//! `lvq8`, `lvq4` and so on name one level of 2 to 8 bits, `lvq4x8` two.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::Buffer;
use arrow::datatypes::DataType;

use super::estimates::{Estimates, Measures};
use super::levels::{Bounds, Levels, pack, unpack_all};
use super::products::{self, Arranged, Codes};
use super::rows::{self, Stride};
use crate::encoding::distance::simd::{Kernel, Simd, dispatch};
use crate::encoding::distance::{Distances, Query, Stage};
use crate::encoding::{
    Access, DecodeContext, EncodeContext, Encoding, Loss, Model, Node, Reads, Selection,
};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct Lvq;

const ID: &str = "pilaster.lvq.v1";
const MEAN: &str = "vector.mean.v1";
/// Rows on which it is measured whether a mean helps.
const TRIAL_ROWS: usize = 512;

#[derive(Clone, PartialEq, prost::Message)]
struct Metadata {
    /// Values of a vector.
    #[prost(uint32, tag = "1")]
    dimension: u32,
    /// Bits of the first level.
    #[prost(uint32, tag = "2")]
    bits: u32,
    /// Bits of the second level; zero if there is none.
    #[prost(uint32, tag = "3")]
    residual_bits: u32,
    /// Values were multiplied by two to this power before coding.
    #[prost(sint32, tag = "4")]
    exponent: i32,
    /// Whether norms and spreads are stored; files of early writers have none.
    #[prost(bool, tag = "5")]
    measured: bool,
}

/// Parsed metadata.
struct Layout {
    dimension: usize,
    levels: Levels,
    exponent: i32,
    codes: Stride,
    residuals: Stride,
    /// Places of the buffers of norms and spreads.
    measures: Option<(usize, usize)>,
    spreads: Stride,
}

/// Lower and upper bound, half floats.
const BOUNDS: Stride = Stride { bytes: 4 };
/// Correction factor, half float.
const FACTOR: Stride = Stride { bytes: 2 };
/// Norm of the decoded vector, 32-bit float.
const NORM: Stride = Stride { bytes: 4 };

impl Layout {
    fn of(node: &Node) -> Result<Self> {
        let metadata: Metadata = node.parse_metadata()?;
        let levels = Levels::new(metadata.bits, metadata.residual_bits)
            .ok_or_else(|| Error::corrupt("numbers of bits that no code has"))?;
        if metadata.dimension == 0 || !(-300..=300).contains(&metadata.exponent) {
            return Err(Error::corrupt("dimension or exponent out of range"));
        }
        let dimension = metadata.dimension as usize;
        let stride = |bits: u32| Stride {
            bytes: (dimension.saturating_mul(bits as usize)).div_ceil(8),
        };
        let layout = Self {
            dimension,
            levels,
            exponent: metadata.exponent,
            codes: stride(levels.bits),
            residuals: stride(levels.residual_bits),
            measures: metadata.measured.then(|| {
                let next = 3 + usize::from(levels.residual_bits > 0);
                (next, next + 1)
            }),
            spreads: Stride {
                bytes: 2 + 2 * usize::from(levels.residual_bits > 0),
            },
        };
        let buffers = 3 + usize::from(levels.residual_bits > 0);
        node.expect(buffers + 2 * usize::from(metadata.measured), 0)?;
        if let Some((norms, spreads)) = layout.measures {
            NORM.check(node.buffer(norms)?, node.rows)?;
            layout.spreads.check(node.buffer(spreads)?, node.rows)?;
        }
        layout.codes.check(node.buffer(0)?, node.rows)?;
        BOUNDS.check(node.buffer(1)?, node.rows)?;
        FACTOR.check(node.buffer(2)?, node.rows)?;
        if levels.residual_bits > 0 {
            layout.residuals.check(node.buffer(3)?, node.rows)?;
        }
        Ok(layout)
    }
}

/// Bytes that hold elements of a row of codes.
fn bytes_of(elements: &std::ops::Range<usize>, bits: u32) -> std::ops::Range<usize> {
    let bits = bits as usize;
    match elements.is_empty() {
        true => 0..0,
        false => elements.start * bits / 8..(elements.end * bits).div_ceil(8),
    }
}

fn parse(arguments: &[String]) -> Option<Levels> {
    let number = |text: &String| text.parse::<u32>().ok();
    match arguments {
        [] => Levels::new(8, 0),
        [bits] => Levels::new(number(bits)?, 0),
        [bits, residual] => Levels::new(number(bits)?, number(residual).filter(|b| *b > 0)?),
        _ => None,
    }
}

/// Two to this power, in 64 bits, where all that occur are exact.
fn power(exponent: i32) -> f64 {
    2f64.powi(exponent)
}

/// Squared error of coding some rows evenly spread over all.
fn trial(
    values: &[f32],
    dimension: usize,
    levels: Levels,
    scale: f64,
    mean: Option<&[f32]>,
) -> f64 {
    let count = values.len() / dimension;
    let step = count.div_ceil(TRIAL_ROWS).max(1);
    let rows = values.chunks_exact(dimension).step_by(step);
    rows.map(|row| {
        let centred = centred(row, scale, mean);
        let bounds = Bounds::of(&centred, levels, mean.is_none());
        let error = |x: &f32| {
            let (code, residual) = bounds.code(*x, levels);
            (f64::from(*x) - f64::from(bounds.value(code, residual, levels))).powi(2)
        };
        centred.iter().map(error).sum::<f64>()
    })
    .sum()
}

fn centred(row: &[f32], scale: f64, mean: Option<&[f32]>) -> Vec<f32> {
    let at = |i: usize| mean.map_or(0.0, |m| f64::from(m[i]));
    let value = |(i, x): (usize, &f32)| ((f64::from(*x) - at(i)) * scale) as f32;
    row.iter().enumerate().map(value).collect()
}

impl Encoding for Lvq {
    fn id(&self) -> &'static str {
        ID
    }

    fn called(&self, word: &str) -> Option<Vec<String>> {
        let rest = word.strip_prefix("lvq")?;
        if rest.is_empty() {
            return Some(Vec::new());
        }
        let arguments: Vec<String> = rest.split('x').map(str::to_owned).collect();
        parse(&arguments).map(|_| arguments)
    }

    fn loss(&self, arguments: &[String]) -> Loss {
        Loss::Quantized {
            bits: parse(arguments).map_or(8, |l| l.bits + l.residual_bits),
            metric: "l2",
        }
    }

    fn shares(&self) -> bool {
        true
    }

    fn access(&self) -> Access {
        Access::PerValue
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        rows::is_vector(data_type)
    }

    fn encode(&self, array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        let levels = parse(&context.arguments).ok_or_else(|| {
            Error::invalid(format!(
                "lvq({}) has no such widths; write lvq2 to lvq8, or two levels as in lvq4x8",
                context.arguments.join(",")
            ))
        })?;
        let Some((values, dimension)) = rows::finite(array) else {
            return Ok(None);
        };
        let values = values.values();
        let largest = values.iter().fold(0f32, |m, v| m.max(v.abs()));
        // Half floats hold the bounds: values far from one are scaled there, exactly.
        let exponent = match largest {
            0.0 => 0,
            m if (0.015625..=16_384.0).contains(&m) => 0,
            m => -(f64::from(m).log2().floor() as i32),
        };
        let scale = power(exponent);
        let known = context.models.latest(MEAN).and_then(|(i, model)| {
            let parsed = model.parsed(MEAN, parse_mean).ok()?;
            (parsed.len() == dimension).then_some((i, parsed))
        });
        let means = match &known {
            Some((_, parsed)) => Arc::clone(parsed),
            None => {
                let valid = context.valid.as_ref().filter(|v| v.len() == array.len());
                Arc::new(rows::mean(values, dimension, valid))
            }
        };
        let centre = trial(values, dimension, levels, scale, Some(&means))
            < trial(values, dimension, levels, scale, None);
        let used = centre.then_some(means.as_slice());
        let (mut codes, mut bounds_bytes) = (Vec::new(), Vec::new());
        let (mut factors, mut residuals) = (Vec::new(), Vec::new());
        let (mut norms, mut spreads) = (Vec::new(), Vec::new());
        for row in values.chunks_exact(dimension) {
            let centred = centred(row, scale, used);
            let bounds = Bounds::of(&centred, levels, used.is_none());
            let both: Vec<(u32, u32)> = centred.iter().map(|x| bounds.code(*x, levels)).collect();
            pack(both.iter().map(|b| b.0), levels.bits, &mut codes);
            if levels.residual_bits > 0 {
                pack(
                    both.iter().map(|b| b.1),
                    levels.residual_bits,
                    &mut residuals,
                );
            }
            bounds_bytes.extend(bounds.to_bytes());
            let first = Levels {
                residual_bits: 0,
                ..levels
            };
            factors.extend(bounds.correction(&centred, &both, first).to_le_bytes());
            let measures = Measures::of(bounds, &both, levels, power(-exponent), used);
            norms.extend(measures.norm.to_le_bytes());
            spreads.extend(measures.spread.to_le_bytes());
            if levels.residual_bits > 0 {
                spreads.extend(measures.rest.to_le_bytes());
            }
        }
        let mut node = Node::new(ID, array.len())
            .with_metadata(&Metadata {
                dimension: dimension as u32,
                bits: levels.bits,
                residual_bits: levels.residual_bits,
                exponent,
                measured: true,
            })
            .with_buffer(codes)
            .with_buffer(bounds_bytes)
            .with_buffer(factors);
        if levels.residual_bits > 0 {
            node = node.with_buffer(residuals);
        }
        node = node.with_buffer(norms).with_buffer(spreads);
        if centre {
            node.model = Some(match known {
                Some((i, _)) => i,
                None => {
                    let bytes: Vec<u8> = means.iter().flat_map(|m| m.to_le_bytes()).collect();
                    context.models.push(Arc::new(Model::new(MEAN, bytes)))
                }
            });
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
        let mean = mean_of(node, &layout, context)?;
        let (levels, scale) = (layout.levels, power(-layout.exponent));
        let first = bytes_of(&elements, levels.bits);
        let second = bytes_of(&elements, levels.residual_bits);
        let (codes, bounds) = (node.buffer(0)?, node.buffer(1)?);
        let (mut code, mut residual, mut steps) = (Vec::new(), Vec::new(), Vec::new());
        context.reserve_rows(elements.len(), 6)?;
        rows::decode(
            node,
            data_type,
            selection,
            &elements,
            context,
            |row, out| {
                if elements.is_empty() {
                    return Ok(());
                }
                let bounds = Bounds::from_bytes(&BOUNDS.part(bounds, row, 0..4)?);
                let codes = layout.codes.part(codes, row, first.clone())?;
                let residuals = match levels.residual_bits {
                    0 => None,
                    _ => Some(
                        layout
                            .residuals
                            .part(node.buffer(3)?, row, second.clone())?,
                    ),
                };
                unpack_all(&codes, first.start, &elements, levels.bits, &mut code);
                residual.clear();
                if let Some(bytes) = residuals {
                    let bits = levels.residual_bits;
                    unpack_all(&bytes, second.start, &elements, bits, &mut residual);
                }
                dispatch(Row {
                    bounds,
                    codes: &code,
                    residuals: &residual,
                    levels,
                    scale,
                    mean: mean.as_ref().map(|mean| &mean[elements.clone()]),
                    steps: &mut steps,
                    out,
                });
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
        let Some((norms, spreads)) = layout.measures else {
            return Ok(None);
        };
        rows::check_query(query, layout.dimension, selection)?;
        let mean = mean_of(node, &layout, context)?;
        let count = selection.count(node.rows);
        context.reserve_rows(count, 10 * size_of::<f32>())?;
        let two = layout.levels.residual_bits > 0;
        let product = |stride: Stride, buffer: usize, bits: u32| -> Result<Vec<i32>> {
            let located = stride.located(node.buffer(buffer)?, node.rows, selection, context)?;
            let codes = Codes {
                bytes: &located.bytes,
                stride: stride.bytes,
                rows: located.rows.as_deref(),
                count,
            };
            Ok(products::unsigned(codes, &Arranged::new(query, bits)))
        };
        let gathered = |stride: Stride, buffer: usize| {
            stride.gathered(node.buffer(buffer)?, node.rows, selection, context)
        };
        let second = match two && stage == Stage::Fine {
            true => Some(product(layout.residuals, 3, layout.levels.residual_bits)?),
            false => None,
        };
        let found = dispatch(Estimates {
            query,
            levels: layout.levels,
            scale: power(-layout.exponent) as f32,
            base: mean.as_ref().map_or(0.0, |mean| {
                let pairs = mean.iter().zip(query.values());
                pairs
                    .map(|(m, q)| f64::from(*m) * f64::from(*q))
                    .sum::<f64>() as f32
            }),
            first: &product(layout.codes, 0, layout.levels.bits)?,
            second: second.as_deref(),
            bounds: &gathered(BOUNDS, 1)?,
            norms: &gathered(NORM, norms)?,
            spreads: &gathered(layout.spreads, spreads)?,
        });
        Ok(Some(Distances {
            finer: two && second.is_none(),
            ..found
        }))
    }

    fn distance_reads(&self, node: &Node, stage: Stage, selection: &Selection) -> Reads {
        let Ok(layout) = Layout::of(node) else {
            return Reads::All;
        };
        let Some((norms, spreads)) = layout.measures else {
            return self.reads(node, selection);
        };
        let whole = |stride: Stride, buffer: usize| {
            stride.reads(buffer, node.rows, selection, 0..stride.bytes)
        };
        let mut buffers = whole(layout.codes, 0);
        buffers.extend(whole(BOUNDS, 1));
        buffers.extend(whole(NORM, norms));
        buffers.extend(whole(layout.spreads, spreads));
        if layout.levels.residual_bits > 0 && stage == Stage::Fine {
            buffers.extend(whole(layout.residuals, 3));
        }
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
        let levels = layout.levels;
        let mut buffers = Vec::new();
        if !elements.is_empty() {
            let first = bytes_of(&elements, levels.bits);
            buffers.extend(layout.codes.reads(0, node.rows, selection, first));
            buffers.extend(BOUNDS.reads(1, node.rows, selection, 0..4));
        }
        if levels.residual_bits > 0 {
            let second = bytes_of(&elements, levels.residual_bits);
            buffers.extend(layout.residuals.reads(3, node.rows, selection, second));
        }
        rows::parts(node, buffers)
    }
}

/// The codes of a row; appends their values.
struct Row<'a> {
    bounds: Bounds,
    codes: &'a [u8],
    residuals: &'a [u8],
    levels: Levels,
    scale: f64,
    mean: Option<&'a [f32]>,
    /// Room for the steps of the row.
    steps: &'a mut Vec<f32>,
    out: &'a mut Vec<f32>,
}

impl Kernel for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let steps = self.steps;
        steps.clear();
        self.bounds
            .values(self.codes, self.residuals, self.levels, steps);
        let value = |step: f32, centre: f64| {
            rows::within_range((f64::from(step) * self.scale + centre) as f32)
        };
        match self.mean {
            Some(mean) => {
                let pairs = steps.iter().zip(mean);
                self.out
                    .extend(pairs.map(|(s, m)| value(*s, f64::from(*m))));
            }
            None => self.out.extend(steps.iter().map(|s| value(*s, 0.0))),
        }
    }
}

/// The mean that a node's values are relative to.
fn mean_of(
    node: &Node,
    layout: &Layout,
    context: &DecodeContext<'_>,
) -> Result<Option<Arc<Vec<f32>>>> {
    if node.model.is_none() {
        return Ok(None);
    }
    let mean = context.model(node)?.parsed(MEAN, parse_mean)?;
    match mean.len() == layout.dimension {
        true => Ok(Some(mean)),
        false => Err(Error::corrupt("a mean of another dimension")),
    }
}

fn parse_mean(bytes: &Buffer) -> Result<Vec<f32>> {
    let (values, rest) = bytes.as_slice().as_chunks::<4>();
    match rest {
        [] => Ok(values.iter().map(|v| f32::from_le_bytes(*v)).collect()),
        _ => Err(Error::corrupt("a mean of broken floats")),
    }
}
