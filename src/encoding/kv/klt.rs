//! `pilaster.klt.v1`: keys or values restored from quantized transform coefficients.
//!
//! What is stored are small integers in hidden columns ([`coefficients`](super::coefficients)); the
//! values follow by an integer linear map, so that every machine decodes the same bits. Keys are
//! turned back to position zero first, where their channels have a mean of their own; values are
//! predicted from the codes of the same layer's keys. What is left is decorrelated (KLT) over the
//! heads of a group and quantized with one step. The maps ([`slice`](super::slice)) are learned from
//! sample caches and belong to the model, not to the data.
//!
//! The column's parents: its codes; the codes of the keys, if it holds values that are predicted; the
//! positions of the rows, which only encoding looks at: where they are known, they are runs in the
//! metadata.
//!
//! Some rows stay exact, as a child: the first of a sequence, to which attention leans, those with
//! values that are not finite, and those that the codes do not come near.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute;
use arrow::datatypes::{DataType, Field, UInt32Type};

use super::coefficients::runs;
use super::format::Format;
use super::slice::{KIND, Slice};
use super::transform::{Parent, Restorer, exact_rows, float};
use crate::encoding::words::{self, Word};
use crate::encoding::{
    Access, DecodeContext, EncodeContext, Encoding, Loss, Model, Node, Reads, Role, Selection, grid,
};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct Klt;

/// Id of the encoding.
pub const ID: &str = "pilaster.klt.v1";
/// Kind of the model that tells an encoder what a [`Quality`] is; never stored.
pub const QUALITY: &str = "klt.quality.v1";

#[derive(Clone, PartialEq, prost::Message)]
struct Metadata {
    /// 0 half, 1 bfloat16, 2 single.
    #[prost(uint32, tag = "1")]
    format: u32,
    /// Step of the codes, in the slice's fixed point.
    #[prost(uint32, tag = "2")]
    step: u32,
    /// Step of the codes of the keys, in theirs; zero if they are not used.
    #[prost(uint32, tag = "3")]
    parent_step: u32,
    /// Runs of rows whose positions count up: rows, and the first's position, in turn.
    #[prost(uint32, repeated, tag = "4")]
    positions: Vec<u32>,
    /// Rows of child 0: runs, as gap and length in turn.
    #[prost(uint32, repeated, tag = "5")]
    exact: Vec<u32>,
    /// Elements a group: those of the model.
    #[prost(uint32, tag = "6")]
    group: u32,
}

/// Elements of the groups that hold some elements.
fn groups(elements: &Range<usize>, group: usize) -> Range<usize> {
    elements.start / group * group..elements.end.div_ceil(group) * group
}

/// How a column is coded, beside what its slice says.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Quality {
    /// Step of the codes, in the slice's fixed point.
    #[prost(uint32, tag = "1")]
    pub step: u32,
    /// Step of the codes of the keys, in theirs; zero if they are not used.
    #[prost(uint32, tag = "2")]
    pub parent_step: u32,
    /// First positions of a sequence that stay exact.
    #[prost(uint32, tag = "3")]
    pub sinks: u32,
}

impl Quality {
    /// As a model for the encoder.
    pub fn to_model(&self) -> Model {
        let bytes = prost::Message::encode_to_vec(self);
        Model::new(QUALITY, arrow::buffer::Buffer::from_vec(bytes))
    }
}

impl Encoding for Klt {
    fn id(&self) -> &'static str {
        ID
    }

    fn access(&self) -> Access {
        Access::PerValue
    }

    fn loss(&self, _: &[String]) -> Loss {
        // As many bits as the entropy coder takes.
        Loss::Quantized {
            bits: 0,
            metric: "l2",
        }
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        Format::of_lists(data_type).is_some()
    }

    fn parents_needed(&self) -> usize {
        2
    }

    fn encode(&self, array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        let (Some((model, slice)), Some((_, quality))) =
            (context.models.latest(KIND), context.models.latest(QUALITY))
        else {
            return Ok(None);
        };
        let slice = slice.parsed(KIND, Slice::parse)?;
        let quality: Quality = prost::Message::decode(quality.bytes().as_slice())
            .map_err(|e| Error::invalid(format!("a quality: {e}")))?;
        let Some(format) = Format::of_lists(array.data_type()) else {
            return Ok(None);
        };
        let Some((values, width)) = format.floats(array) else {
            return Ok(None);
        };
        let predicted = usize::from(!slice.predict.is_empty());
        let (parents, positions) = match context.parents {
            [parents @ .., positions] if parents.len() == 1 + predicted => (parents, positions),
            _ => return Ok(None),
        };
        let Some(positions) = positions.as_primitive_opt::<UInt32Type>() else {
            return Ok(None);
        };
        let codes = parents.iter().map(|p| levels(p, width));
        let codes = codes.collect::<Option<Vec<_>>>();
        let (Some(codes), true) = (codes, width == slice.width) else {
            return Ok(None);
        };
        let positions = positions.values();
        let mut exact = exact_rows(&slice, &values, positions, quality.sinks);
        let mut restorer = Restorer::new(&slice, quality.step, &(0..width));
        let mut restored = vec![0i64; width];
        // A vector's error is at most half a step in each coefficient; twice that is no such error.
        let allowed = f64::from(quality.step) * (slice.group as f64).sqrt();
        let unit = f64::from(1u32 << slice.fraction);
        for (row, is_exact) in exact.iter_mut().enumerate().filter(|(_, exact)| !**exact) {
            let at = row * width..(row + 1) * width;
            let parent = codes.get(1).map(|codes| Parent {
                codes: &codes[at.clone()],
                step: quality.parent_step,
            });
            restorer.row(&codes[0][at.clone()], parent, positions[row], &mut restored);
            let near = |(&value, &restored): (&f32, &i64)| {
                let value = f64::from(value) * unit;
                (value - restored as f64).abs() <= allowed + value.abs() / 128.0 + 2.0
            };
            *is_exact = !values[at].iter().zip(&restored).all(near);
        }
        let rows = exact.iter().enumerate().filter(|(_, exact)| **exact);
        let rows = UInt32Array::from_iter_values(rows.map(|(row, _)| row as u32));
        let metadata = Metadata {
            format: format as u32,
            step: quality.step,
            parent_step: quality.parent_step * predicted as u32,
            positions: match slice.rotation.frequencies.is_empty() {
                true => Vec::new(),
                false => position_runs(positions),
            },
            exact: runs(&exact),
            group: slice.group as u32,
        };
        let exact = compute::take(array, &rows, None)?;
        let mut node = Node::new(ID, array.len())
            .with_metadata(&metadata)
            .with_child(context.child(ID, &exact, Role::Values)?);
        node.model = Some(model);
        node.parents = (0..=predicted as u32).collect();
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
        node.expect(0, 1)?;
        let metadata: Metadata = node.parse_metadata()?;
        let format = Format::numbered(metadata.format)?;
        match data_type {
            DataType::FixedSizeList(item, size) if Format::of(item) == Some(format) => {
                let asked = Asked {
                    selection,
                    item,
                    size: *size as usize,
                    data_type,
                };
                match format {
                    Format::Single => decode::<u32>(node, &metadata, format, &asked, context),
                    _ => decode::<u16>(node, &metadata, format, &asked, context),
                }
            }
            _ => Err(Error::corrupt(format!("{ID} wanted as {data_type}"))),
        }
    }

    fn reads(&self, node: &Node, selection: &Selection) -> Reads {
        let exact = node
            .parse_metadata()
            .and_then(|m: Metadata| expanded(&m.exact, node.rows))
            .and_then(|rows| selection.overlap(&rows, node.rows));
        match exact {
            Ok((exact, places)) => Reads::Parts {
                buffers: Vec::new(),
                children: vec![(!places.is_empty()).then(|| Selection {
                    rows: exact.rows,
                    elements: selection.elements.clone(),
                })],
            },
            Err(_) => Reads::All,
        }
    }

    fn parent_part(&self, node: &Node, _: usize, selection: &Selection) -> Option<Selection> {
        let metadata: Metadata = node.parse_metadata().ok()?;
        let group = (metadata.group as usize).max(1);
        Some(Selection {
            rows: selection.rows.clone(),
            elements: selection.elements.as_ref().map(|e| groups(e, group)),
        })
    }
}

/// The codes of a parent.
fn levels(array: &ArrayRef, width: usize) -> Option<ScalarBuffer<i16>> {
    let integers = matches!(array.data_type(), DataType::FixedSizeList(item, _) if *item.data_type() == DataType::Int16);
    let (words, size) = grid::numbers::<u16>(array).filter(|_| integers)?;
    let count = words.len();
    (size == width).then(|| ScalarBuffer::new(words.into_inner(), 0, count))
}

/// Rows and first position of each run of positions that count up.
fn position_runs(positions: &[u32]) -> Vec<u32> {
    let mut runs: Vec<u32> = Vec::new();
    let mut next = None;
    for &position in positions {
        match runs.len().checked_sub(2) {
            Some(last) if next == Some(position) => runs[last] += 1,
            _ => runs.extend([1, position]),
        }
        next = position.checked_add(1);
    }
    runs
}

/// Row numbers of runs, as gap and length in turn.
fn expanded(runs: &[u32], rows: usize) -> Result<Vec<u32>> {
    let mut numbers = Vec::new();
    let mut end = 0u64;
    for pair in runs.chunks(2) {
        let &[gap, length] = pair else {
            return Err(Error::corrupt("half a run of rows"));
        };
        let start = end + u64::from(gap);
        end = start + u64::from(length);
        if end > rows as u64 {
            return Err(Error::corrupt("runs past the last row"));
        }
        numbers.extend((start..end).map(|row| row as u32));
    }
    Ok(numbers)
}

/// Looks up positions of rows that ascend.
struct Positions<'a> {
    runs: std::slice::Chunks<'a, u32>,
    /// The run that is looked at: its rows, and the first's position.
    run: Range<u64>,
    first: u32,
}

impl<'a> Positions<'a> {
    fn new(runs: &'a [u32]) -> Self {
        Self {
            runs: runs.chunks(2),
            run: 0..0,
            first: 0,
        }
    }

    fn at(&mut self, row: usize) -> Result<u32> {
        let row = row as u64;
        while row >= self.run.end {
            let Some(&[rows, first]) = self.runs.next() else {
                return Err(Error::corrupt("rows without a position"));
            };
            self.run = self.run.end..self.run.end + u64::from(rows);
            self.first = first;
        }
        Ok(self.first.wrapping_add((row - self.run.start) as u32))
    }
}

/// What a decoder is asked for.
struct Asked<'a> {
    selection: &'a Selection,
    item: &'a Arc<Field>,
    size: usize,
    data_type: &'a DataType,
}

fn decode<W: Word>(
    node: &Node,
    metadata: &Metadata,
    format: Format,
    asked: &Asked<'_>,
    context: &DecodeContext<'_>,
) -> Result<ArrayRef> {
    let slice = context.model(node)?.parsed(KIND, Slice::parse)?;
    let wanted = asked.selection.elements.clone().unwrap_or(0..slice.width);
    let fits =
        wanted.start <= wanted.end && wanted.end <= slice.width && wanted.len() == asked.size;
    if !fits {
        return Err(Error::corrupt(format!(
            "elements {wanted:?} of rows of {} wanted as {}",
            slice.width, asked.data_type
        )));
    }
    let rows = asked.selection.count(node.rows);
    if let Some(empty) = grid::without_elements(asked.data_type, rows)? {
        return Ok(empty);
    }
    if metadata.group as usize != slice.group {
        return Err(Error::corrupt(format!("{ID} with groups of another model")));
    }
    let selection = Selection::from(asked.selection.rows.clone());
    let given = groups(&wanted, slice.group);
    let predicted = !slice.predict.is_empty();
    let part = Selection {
        rows: selection.rows.clone(),
        elements: asked.selection.elements.as_ref().map(|_| given.clone()),
    };
    let parents = (0..=usize::from(predicted)).map(|i| {
        let codes = context.parent(node, i, &part)?;
        levels(&codes, given.len())
            .ok_or_else(|| Error::corrupt(format!("codes of {ID} that are none")))
    });
    let codes = parents.collect::<Result<Vec<_>>>()?;
    let mut restorer = Restorer::new(&slice, metadata.step, &wanted);
    context.reserve_rows(rows, wanted.len() * size_of::<W>())?;
    context.reserve_rows(restorer.len(), 8)?;
    let mut out = vec![W::narrow(0); rows * wanted.len()];
    let mut restored = vec![0i64; restorer.len()];
    let skipped = wanted.start - restorer.first();
    let mut positions = Positions::new(&metadata.positions);
    let turned = !slice.rotation.frequencies.is_empty();
    let places = out.chunks_exact_mut(wanted.len()).enumerate();
    for ((i, out), row) in places.zip(asked.selection.iter(node.rows)) {
        let at = i * given.len()..(i + 1) * given.len();
        let parent = codes.get(1).map(|codes| Parent {
            codes: &codes[at.clone()],
            step: metadata.parent_step,
        });
        let position = if turned { positions.at(row)? } else { 0 };
        restorer.row(&codes[0][at], parent, position, &mut restored);
        for (word, &value) in out.iter_mut().zip(&restored[skipped..]) {
            *word = W::narrow(format.write_within(float(value, slice.fraction)));
        }
    }
    let count: u64 = metadata
        .exact
        .iter()
        .skip(1)
        .step_by(2)
        .map(|&n| u64::from(n))
        .sum();
    context.reserve(count.min(node.rows as u64) * 4)?;
    let exact = expanded(&metadata.exact, node.rows)?;
    let child = node.child_of(0, exact.len())?;
    let (part, places) = selection.overlap(&exact, node.rows)?;
    if !places.is_empty() {
        let part = part.with_elements(wanted.clone());
        let values = context.decode(child, asked.data_type, &part)?;
        let Some((values, _)) = grid::numbers::<W>(&values) else {
            return Err(Error::corrupt(format!("exact rows of {ID} with nulls")));
        };
        for (&place, values) in places.iter().zip(values.chunks_exact(wanted.len())) {
            out[place as usize * wanted.len()..][..wanted.len()].copy_from_slice(values);
        }
    }
    Ok(Arc::new(FixedSizeListArray::try_new_with_length(
        Arc::clone(asked.item),
        asked.size as i32,
        words::array(out, asked.item.data_type())?,
        None,
        rows,
    )?))
}
