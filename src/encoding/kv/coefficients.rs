//! `pilaster.coefficients.v1`: lists of small integers, entropy-coded by the scale of each element.
//!
//! Quantized coefficients of a transform are noise of a known scale: large integers in the first
//! elements of a group, mostly zeros in the last ones. Each element of a row has a scale class
//! ([`classes`](super::classes)) for a *span* of rows, which names its static table; rANS codes the
//! integers. Classes are metadata, coded as differences to those of the span before; the first span's
//! differ from the *model*'s, if there is one: what was seen in training.
//!
//! Integers lie in the units of a [`Grid`]; a unit is one rANS stream of its rows, element after
//! element. Rows of nothing but zeros may be left out of their unit: they stand in a list.

use std::ops::Range;

use arrow::array::{Array, ArrayRef};
use arrow::buffer::Buffer;
use arrow::datatypes::DataType;

use super::classes::{CLASSES, Classes, LARGEST, class_of};
use crate::encoding::blocks::places;
use crate::encoding::entropy::adaptive::{self, Number};
use crate::encoding::entropy::rans::{self, Interval};
use crate::encoding::grid::{self, Grid};
use crate::encoding::{
    Access, DecodeContext, EncodeContext, Encoding, Node, Profile, Reads, Selection, Statistics,
    Verdict,
};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct Coefficients;

/// Id of the encoding.
pub const ID: &str = "pilaster.coefficients.v1";
/// Kind of its model: a class a byte, for each element.
pub const KIND: &str = "coefficients.v1";

/// Integers of a unit: enough that what a stream wastes (8 bytes) is small change.
const UNIT_VALUES: usize = 2048;
/// Fewest rows of a unit.
const UNIT_ROWS: usize = 32;
/// Rows that share classes.
const SPAN: usize = 256;

#[derive(Clone, PartialEq, prost::Message)]
struct Metadata {
    /// Elements a row.
    #[prost(uint32, tag = "1")]
    width: u32,
    /// Elements a group.
    #[prost(uint32, tag = "2")]
    group: u32,
    /// Rows a block.
    #[prost(uint32, tag = "3")]
    block: u32,
    /// Rows that share classes, a multiple of those of a block.
    #[prost(uint32, tag = "4")]
    span: u32,
    /// Rows that are not in their unit: runs, as gap and length in turn.
    #[prost(uint32, repeated, tag = "5")]
    blank: Vec<u32>,
    /// Classes of the spans.
    #[prost(bytes = "vec", tag = "6")]
    classes: Vec<u8>,
    /// 16-bit words of the stream of each unit.
    #[prost(uint32, repeated, tag = "7")]
    lengths: Vec<u32>,
}

impl Encoding for Coefficients {
    fn id(&self) -> &'static str {
        ID
    }

    fn access(&self) -> Access {
        Access::PerValue
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        match data_type {
            DataType::FixedSizeList(item, size) => {
                *size > 0 && *item.data_type() == DataType::Int16
            }
            _ => false,
        }
    }

    fn estimate(&self, _: &Statistics, _: Profile) -> Verdict {
        // Layouts and specs ask for it.
        Verdict::Skip
    }

    fn encode(&self, array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        let Some((words, width)) = grid::numbers::<u16>(array) else {
            return Ok(None);
        };
        let levels: Vec<i16> = words.iter().map(|&w| w as i16).collect();
        if levels.is_empty() || levels.iter().any(|q| !(-LARGEST..=LARGEST).contains(q)) {
            return Ok(None);
        }
        let model = context.models.latest(KIND).map(|(i, m)| (i, m.bytes()));
        let base = match &model {
            Some((_, bytes)) if is_base(bytes, width) => bytes.to_vec(),
            Some(_) => return Ok(None),
            None => Vec::new(),
        };
        let group = grid::group_of(array.data_type());
        let block = (UNIT_VALUES / group).clamp(UNIT_ROWS, SPAN);
        let block = 1 << block.ilog2();
        let grid = Grid::new(array.len(), width, group, block)?;
        let blank: Vec<bool> = levels
            .chunks_exact(width)
            .map(|row| row.iter().all(|&q| q == 0))
            .collect();
        let classes = choose(&levels, width, &blank, &base);
        let mut metadata = Metadata {
            width: width as u32,
            group: group as u32,
            block: block as u32,
            span: SPAN as u32,
            blank: runs(&blank),
            ..Metadata::default()
        };
        let mut coder = adaptive::Encoder::default();
        code_classes(&mut coder, &classes, width, classes.len() / width, &base)?;
        metadata.classes = coder.finish();
        let (mut bytes, mut intervals) = (Vec::new(), Vec::<Interval>::new());
        for group in 0..grid.groups() {
            for block in 0..grid.blocks() {
                intervals.clear();
                for row in grid.rows(block).filter(|&r| !blank[r]) {
                    let classes = &classes[row / SPAN * width..][..width];
                    for element in grid.elements(group) {
                        let level = levels[row * width + element];
                        Classes::shared().push(classes[element], level, &mut intervals);
                    }
                }
                let stream = rans::encode(&intervals);
                metadata.lengths.push((stream.len() / 2) as u32);
                bytes.extend_from_slice(&stream);
            }
        }
        let mut node = Node::new(ID, array.len())
            .with_metadata(&metadata)
            .with_buffer(Buffer::from_vec(bytes));
        node.model = model.map(|(i, _)| i);
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
        node.expect(1, 0)?;
        let metadata: Metadata = node.parse_metadata()?;
        if !matches!(data_type, DataType::FixedSizeList(item, _) if *item.data_type() == DataType::Int16)
        {
            return Err(Error::corrupt(format!("{ID} of type {data_type}")));
        }
        let layout = Layout::parse(node, &metadata)?;
        let width = metadata.width as usize;
        let base = match node.model {
            None => Vec::new(),
            Some(_) => {
                let model = context.model(node)?;
                match model.kind() == KIND && is_base(model.bytes(), width) {
                    true => model.bytes().to_vec(),
                    false => return Err(Error::corrupt(format!("{ID} with another model"))),
                }
            }
        };
        let rows = selection.bounds(node.rows);
        let spans = rows.end.div_ceil(layout.span);
        context.reserve_rows(spans, width)?;
        let mut classes = vec![0; spans * width];
        let mut coder = adaptive::Decoder::new(&metadata.classes);
        classes = code_classes(&mut coder, &classes, width, spans, &base)?;
        let tables = Classes::shared();
        let grid = layout.grid;
        let buffer = node.buffer(0)?;
        grid.decode::<u16>(data_type, selection, context, |group, block, out| {
            let unit = grid.unit(group, block);
            let stream = buffer.slice(layout.starts[unit]..layout.starts[unit + 1])?;
            let mut decoder = rans::Decoder::new(&stream)?;
            let mut index = 0;
            let elements = grid.elements(group);
            let first = grid.rows(block).start;
            let classes = &classes[first / layout.span * width..][..width][elements.clone()];
            let mut blank = layout.blanks(grid.rows(block)).peekable();
            for (i, row) in out.chunks_exact_mut(elements.len()).enumerate() {
                while blank.peek().is_some_and(|b| b.end <= first + i) {
                    blank.next();
                }
                if blank.peek().is_some_and(|b| b.start <= first + i) {
                    row.fill(0);
                    continue;
                }
                for (value, &class) in row.iter_mut().zip(classes) {
                    let symbol = decoder.symbol(index, &tables.tables, u32::from(class));
                    index += 1;
                    let level = tables.level(class, symbol, |table| {
                        index += 1;
                        decoder.symbol(index - 1, &tables.tables, table)
                    });
                    *value = level as u16;
                }
            }
            decoder.finish()
        })
    }

    fn reads(&self, node: &Node, selection: &Selection) -> Reads {
        let parsed = node
            .parse_metadata()
            .and_then(|m: Metadata| Layout::parse(node, &m));
        let Ok(layout) = parsed else {
            return Reads::All;
        };
        let Ok(touched) = layout.grid.touched(selection) else {
            return Reads::All;
        };
        let ranges = touched
            .into_iter()
            .map(|units| (0, layout.starts[units.start]..layout.starts[units.end]));
        Reads::Parts {
            buffers: ranges.collect(),
            children: Vec::new(),
        }
    }
}

fn is_base(bytes: &[u8], width: usize) -> bool {
    bytes.len() == width && bytes.iter().all(|&c| usize::from(c) < CLASSES)
}

/// Where the units lie.
struct Layout {
    grid: Grid,
    starts: Vec<u64>,
    span: usize,
    /// Rows that are left out of their units.
    blank: Vec<Range<usize>>,
}

impl Layout {
    fn parse(node: &Node, metadata: &Metadata) -> Result<Self> {
        let grid = Grid::new(
            node.rows,
            metadata.width as usize,
            metadata.group as usize,
            metadata.block as usize,
        )?;
        let span = metadata.span as usize;
        let sound = metadata.lengths.len() == grid.units()
            && span > 0
            && span.is_multiple_of(metadata.block as usize);
        if !sound {
            return Err(Error::corrupt(format!(
                "{} streams for {} units, classes for {span} rows",
                metadata.lengths.len(),
                grid.units()
            )));
        }
        let sizes = metadata.lengths.iter().map(|l| l.checked_mul(2));
        let sizes: Option<Vec<u32>> = sizes.collect();
        let sizes = sizes.ok_or_else(|| Error::corrupt("a unit of over 4 GiB"))?;
        let mut blank = Vec::with_capacity(metadata.blank.len() / 2);
        let mut last = 0usize;
        for pair in metadata.blank.chunks(2) {
            let &[gap, length] = pair else {
                return Err(Error::corrupt("half a run of rows"));
            };
            let start = last + gap as usize;
            last = start + length as usize;
            blank.push(start..last);
        }
        if last > node.rows {
            return Err(Error::corrupt("runs past the last row"));
        }
        Ok(Self {
            grid,
            starts: places(&sizes, node.buffer(0)?.len())?,
            span,
            blank,
        })
    }

    /// Runs of left-out rows that end after a range's start, in order.
    fn blanks(&self, rows: Range<usize>) -> impl Iterator<Item = &Range<usize>> {
        let first = self.blank.partition_point(|b| b.end <= rows.start);
        self.blank[first..].iter()
    }
}

/// Gap and length of each run of true.
pub fn runs(flags: &[bool]) -> Vec<u32> {
    let mut runs: Vec<u32> = Vec::new();
    let mut end = 0;
    for (row, _) in flags.iter().enumerate().filter(|(_, flag)| **flag) {
        match runs.last_mut() {
            Some(length) if row == end => *length += 1,
            _ => runs.extend([(row - end) as u32, 1]),
        }
        end = row + 1;
    }
    runs
}

/// Codes the classes of spans, each element's as the difference to the span before. The first span's
/// stand against `base`, or against the element before if that is empty.
fn code_classes(
    coder: &mut impl adaptive::Coder,
    classes: &[u8],
    width: usize,
    spans: usize,
    base: &[u8],
) -> Result<Vec<u8>> {
    let (mut first, mut later) = (Number::default(), Number::default());
    let mut coded: Vec<u8> = Vec::with_capacity(spans * width);
    for span in 0..spans {
        for element in 0..width {
            let at = span * width + element;
            let (model, expected) = match (span, base.get(element)) {
                (1.., _) => (&mut later, coded[at - width]),
                (0, Some(&class)) => (&mut later, class),
                (0, None) => (&mut first, if element == 0 { 0 } else { coded[at - 1] }),
            };
            let difference = i64::from(classes[at]) - i64::from(expected);
            let class = i64::from(expected) + model.code_signed(coder, difference);
            match u8::try_from(class) {
                Ok(class) if usize::from(class) < CLASSES => coded.push(class),
                _ => return Err(Error::corrupt("a scale class that does not exist")),
            }
        }
        coder.check()?;
    }
    Ok(coded)
}

/// The classes of all spans that make levels and classes shortest together, about.
fn choose(levels: &[i16], width: usize, blank: &[bool], base: &[u8]) -> Vec<u8> {
    let tables = Classes::shared();
    let mut chosen: Vec<u8> = Vec::new();
    for (span, rows) in levels.chunks(SPAN * width).enumerate() {
        let blank = &blank[span * SPAN..];
        for element in 0..width {
            let column: Vec<i16> = rows
                .iter()
                .skip(element)
                .step_by(width)
                .zip(blank)
                .filter(|(_, blank)| !**blank)
                .map(|(&q, _)| q)
                .collect();
            let expected = match (span, base.get(element)) {
                (1.., _) => chosen[(span - 1) * width + element],
                (0, Some(&class)) => class,
                (0, None) => match element {
                    0 => 0,
                    _ => chosen[element - 1],
                },
            };
            let squares: f64 = column.iter().map(|&q| f64::from(q) * f64::from(q)).sum();
            let own = class_of((squares / column.len().max(1) as f64).sqrt());
            let near = own.saturating_sub(3)..(own + 3).min(CLASSES);
            let candidates = near.chain([usize::from(expected)]);
            let cost = |class: usize| {
                let off = class.abs_diff(usize::from(expected));
                let told = if off == 0 {
                    0.6
                } else {
                    2.0 + 2.0 * (off as f64).log2()
                };
                told + column.iter().map(|&q| tables.bits(class, q)).sum::<f64>()
            };
            let best = candidates
                .map(|class| (cost(class), class))
                .min_by(|a, b| a.0.total_cmp(&b.0));
            chosen.push(best.map_or(expected, |(_, class)| class as u8));
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{FixedSizeListArray, Int16Array};
    use arrow::datatypes::Field;

    use super::*;
    use crate::encoding::testing;

    /// Integers whose scale falls along the elements, some rows of which are zero.
    fn lists(rows: usize, width: usize, group: usize) -> ArrayRef {
        let mut seed = 5u64;
        let mut uniform = || {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            ((seed >> 33) as f64 + 0.5) / (1u64 << 31) as f64
        };
        let values: Int16Array = (0..rows * width)
            .map(|i| {
                let (row, element) = (i / width, i % width);
                let p = uniform();
                let scale = 40.0 / (1.0 + (element % group) as f64 * 3.0);
                match row % 97 < 3 {
                    true => 0,
                    false => ((p / (1.0 - p)).ln() * scale)
                        .round()
                        .clamp(-2047.0, 2047.0) as i16,
                }
            })
            .collect();
        let metadata = [(grid::GROUP_KEY.to_owned(), group.to_string())].into();
        let item = Field::new("item", DataType::Int16, false).with_metadata(metadata);
        let item = Arc::new(item);
        Arc::new(FixedSizeListArray::new(
            item,
            width as i32,
            Arc::new(values),
            None,
        ))
    }

    #[test]
    fn integers_keep_every_law_at_about_their_entropy() {
        for (rows, width, group) in [(700, 32, 32), (1000, 64, 16), (5, 3, 3), (256, 8, 8)] {
            let array = lists(rows, width, group);
            let node = testing::encode(&Coefficients, &array, Profile::Balanced).unwrap();
            let all = testing::decode(&node, array.data_type(), &Selection::all()).unwrap();
            assert_eq!(&all, &array);
            testing::hostile(&node, array.data_type());
        }
        let array = lists(2048, 32, 32);
        let (words, _) = grid::numbers::<u16>(&array).unwrap();
        let bits: f64 = (0..32)
            .map(|element| {
                let column: Vec<i16> = words
                    .iter()
                    .skip(element)
                    .step_by(32)
                    .map(|&w| w as i16)
                    .collect();
                let cost = |class| {
                    column
                        .iter()
                        .map(|&q| Classes::shared().bits(class, q))
                        .sum()
                };
                (0..CLASSES).map(cost).fold(f64::MAX, f64::min)
            })
            .sum();
        let node = testing::encode(&Coefficients, &array, Profile::Balanced).unwrap();
        let share = node.stored_bytes() as f64 * 8.0 / bits;
        assert!(share < 1.02, "{share}");
    }

    #[test]
    fn a_group_of_some_rows_is_decoded_from_its_own_bytes() {
        let array = lists(2000, 64, 16);
        let node = testing::encode(&Coefficients, &array, Profile::Balanced).unwrap();
        let selection = Selection::range(512..544).with_elements(16..32);
        let Reads::Parts { buffers, .. } = Coefficients.reads(&node, &selection) else {
            panic!("all bytes are read");
        };
        let read: u64 = buffers.iter().map(|(_, r)| r.end - r.start).sum();
        assert!(read * 20 < node.stored_bytes(), "{read} bytes");
        let DataType::FixedSizeList(item, _) = array.data_type() else {
            panic!("not a list");
        };
        let narrow = DataType::FixedSizeList(Arc::clone(item), 16);
        let found = testing::decode(&node, &narrow, &selection).unwrap();
        let (found, _) = grid::numbers::<u16>(&found).unwrap();
        let (all, _) = grid::numbers::<u16>(&array).unwrap();
        for (i, &word) in found.iter().enumerate() {
            assert_eq!(word, all[(512 + i / 16) * 64 + 16 + i % 16]);
        }
    }
}
