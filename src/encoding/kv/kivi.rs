//! `pilaster.kivi.v1`: key/value caches in groups of few-bit codes (KIVI, arXiv:2402.02750).
//!
//! With b bits, a group's value x becomes q = round((x - min) / step), step = (max - min) / (2^b - 1),
//! and comes back as min + q * step; min and step are half floats, and codes are taken against their
//! rounded values. Keys vary by channel, so a group is 32 *tokens* of one channel; values vary by
//! token, so a group is up to 32 *channels* of one head and token. That costs b + 1 bits a value
//! where heads have 32 channels or more.
//!
//! What is exact: the last tokens of a sequence whose *keys* do not fill a group (values, in groups of
//! their own token, end in a short unit), tokens with a value that is not finite or leaves the range of
//! half floats and, where it is asked for, the first tokens of a sequence, to which attention leans.
//! Sequences start where the positions, the column's first parent, do not count on; without a parent
//! the chunk is one sequence. Only encoding looks at the parent.
//!
//! Specs: `kivi2` (or `kivi`), `kivi4`, `kivi8`; `kivi4(4)` keeps four first tokens exact.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, UInt32Array};
use arrow::buffer::Buffer;
use arrow::compute;
use arrow::datatypes::{DataType, UInt32Type};
use half::f16;

use super::format::{Format, holds_keys};
use crate::encoding::grid;
use crate::encoding::words::{self, Word};
use crate::encoding::{
    Access, DecodeContext, EncodeContext, Encoding, Loss, Node, Profile, Reads, Role, Rows,
    Selection, Statistics, Verdict,
};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct Kivi;

const ID: &str = "pilaster.kivi.v1";
/// Tokens of a unit, and of a group of keys.
const TOKENS: usize = 32;
/// Most channels of a group of values.
const CHANNELS: usize = 32;

#[derive(Clone, PartialEq, prost::Message)]
struct Metadata {
    /// Elements a row.
    #[prost(uint32, tag = "1")]
    width: u32,
    /// Elements a head.
    #[prost(uint32, tag = "2")]
    head: u32,
    /// Bits a code.
    #[prost(uint32, tag = "3")]
    bits: u32,
    /// Groups along tokens (keys), else along channels.
    #[prost(bool, tag = "4")]
    keys: bool,
    /// First rows of the units, each as the difference to the end of the one before.
    #[prost(uint32, repeated, tag = "5")]
    gaps: Vec<u32>,
    /// Rows of child 0: runs of exact rows, as gap and length in turn.
    #[prost(uint32, repeated, tag = "6")]
    exact: Vec<u32>,
    /// 0 half, 1 bfloat16, 2 single.
    #[prost(uint32, tag = "7")]
    format: u32,
    /// Rows of each unit; empty if all have 32.
    #[prost(uint32, repeated, tag = "8")]
    lengths: Vec<u32>,
}

/// Where everything lies, from checked metadata.
struct Layout {
    width: usize,
    head: usize,
    bits: usize,
    keys: bool,
    format: Format,
    /// Rows of the units.
    units: Vec<Range<usize>>,
    /// Where each unit starts in the bytes of a head, and where they end.
    starts: Vec<usize>,
    /// Exact rows, and the row of the child that each run starts at.
    exact: Vec<(Range<usize>, usize)>,
    exact_rows: usize,
}

impl Layout {
    fn parse(node: &Node) -> Result<Self> {
        let m: Metadata = node.parse_metadata()?;
        let bad = |what: &str| Error::corrupt(format!("{ID}: {what}"));
        let (width, head) = (m.width as usize, m.head as usize);
        let sizes = width > 0 && head > 0 && width.is_multiple_of(head) && width <= 1 << 24;
        if !sizes || !matches!(m.bits, 2 | 4 | 8) {
            return Err(bad("impossible sizes"));
        }
        let mut units = Vec::with_capacity(m.gaps.len());
        let mut end = 0usize;
        if !m.lengths.is_empty() && m.lengths.len() != m.gaps.len() {
            return Err(bad("lengths of other units"));
        }
        for (i, gap) in m.gaps.iter().enumerate() {
            let start = end + *gap as usize;
            end = start + m.lengths.get(i).map_or(TOKENS, |&l| l as usize);
            if !(1..=TOKENS).contains(&(end - start)) {
                return Err(bad("units that are too long or empty"));
            }
            units.push(start..end);
        }
        let mut exact = Vec::with_capacity(m.exact.len() / 2);
        let (mut last, mut exact_rows) = (0usize, 0usize);
        for pair in m.exact.chunks(2) {
            let &[gap, length] = pair else {
                return Err(bad("half a run of exact rows"));
            };
            let start = last + gap as usize;
            last = start + length as usize;
            exact.push((start..last, exact_rows));
            exact_rows += length as usize;
        }
        if end.max(last) > node.rows {
            return Err(bad("units past the last row"));
        }
        let format = Format::numbered(m.format)?;
        let mut layout = Self::new(width, head, m.bits, m.keys, format, units);
        (layout.exact, layout.exact_rows) = (exact, exact_rows);
        // Every row must be somewhere.
        let mut row = 0;
        let (mut u, mut e) = (0, 0);
        while row < node.rows {
            if layout.units.get(u).is_some_and(|s| s.start <= row) {
                row = row.max(layout.units[u].end);
                u += 1;
            } else if layout.exact.get(e).is_some_and(|(r, _)| r.start <= row) {
                row = row.max(layout.exact[e].0.end);
                e += 1;
            } else {
                return Err(bad("rows that are stored nowhere"));
            }
        }
        let bytes = layout.heads() * layout.head_bytes();
        match node.buffer(0)?.len() == bytes as u64 {
            true => Ok(layout),
            false => Err(bad("a buffer of another size than its units")),
        }
    }

    fn new(
        width: usize,
        head: usize,
        bits: u32,
        keys: bool,
        format: Format,
        units: Vec<Range<usize>>,
    ) -> Self {
        let mut layout = Self {
            width,
            head,
            bits: bits as usize,
            keys,
            format,
            units: Vec::new(),
            starts: vec![0],
            exact: Vec::new(),
            exact_rows: 0,
        };
        let mut end = 0;
        for unit in &units {
            end += layout.unit_bytes(unit.len());
            layout.starts.push(end);
        }
        layout.units = units;
        layout
    }

    fn heads(&self) -> usize {
        self.width / self.head
    }

    /// Bytes of a head's units.
    fn head_bytes(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }

    /// Groups of a unit of so many tokens: all of one channel, or some channels of one token.
    fn groups(&self, tokens: usize) -> usize {
        match self.keys {
            true => self.head,
            false => tokens * self.head.div_ceil(CHANNELS),
        }
    }

    /// Bytes of a unit: the minimum and step of each group, then codes token by token.
    fn unit_bytes(&self, tokens: usize) -> usize {
        self.groups(tokens) * 4 + (tokens * self.head * self.bits).div_ceil(8)
    }

    /// The group of a value of a unit.
    fn group(&self, token: usize, channel: usize) -> usize {
        match self.keys {
            true => channel,
            false => token * self.head.div_ceil(CHANNELS) + channel / CHANNELS,
        }
    }

    /// The elements that a selection wants.
    fn wanted(&self, selection: &Selection) -> Result<Range<usize>> {
        let elements = selection.elements.clone().unwrap_or(0..self.width);
        match elements.start <= elements.end && elements.end <= self.width {
            true => Ok(elements),
            false => Err(Error::corrupt(format!(
                "elements {}..{} of rows of {}",
                elements.start, elements.end, self.width
            ))),
        }
    }

    /// Heads that hold some elements.
    fn heads_of(&self, elements: &Range<usize>) -> Range<usize> {
        match elements.is_empty() {
            true => 0..0,
            false => elements.start / self.head..elements.end.div_ceil(self.head),
        }
    }

    /// Units that hold some rows of a range.
    fn units_of(&self, rows: &Range<usize>) -> Range<usize> {
        let first = self.units.partition_point(|u| u.end <= rows.start);
        let last = self.units.partition_point(|u| u.start < rows.end);
        first..last.max(first)
    }

    /// Rows of the child that hold the exact rows of a range.
    fn exact_of(&self, rows: &Range<usize>) -> Range<usize> {
        let first = self.exact.partition_point(|(r, _)| r.end <= rows.start);
        let last = self.exact.partition_point(|(r, _)| r.start < rows.end);
        if first >= last {
            return 0..0;
        }
        let (a, at) = &self.exact[first];
        let (b, to) = &self.exact[last - 1];
        let start = at + rows.start.saturating_sub(a.start);
        let end = to + rows.end.min(b.end) - b.start;
        start..end.max(start)
    }
}

impl Encoding for Kivi {
    fn id(&self) -> &'static str {
        ID
    }

    fn access(&self) -> Access {
        Access::PerValue
    }

    fn loss(&self, arguments: &[String]) -> Loss {
        let bits = Options::parse(arguments).map_or(2, |options| options.bits);
        Loss::Quantized { bits, metric: "l2" }
    }

    fn called(&self, word: &str) -> Option<Vec<String>> {
        match word.strip_prefix("kivi")? {
            "" => Some(Vec::new()),
            bits @ ("2" | "4" | "8") => Some(vec![bits.to_owned()]),
            _ => None,
        }
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        Format::of_lists(data_type).is_some()
    }

    fn estimate(&self, _: &Statistics, _: Profile) -> Verdict {
        Verdict::Skip
    }

    fn encode(&self, array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        let options = Options::parse(&context.arguments)?;
        let Some(format) = Format::of_lists(array.data_type()) else {
            return Ok(None);
        };
        let keys = holds_keys(array.data_type());
        let Some((values, width)) = format.floats(array) else {
            return Ok(None);
        };
        let positions = match context.parents.first() {
            Some(parent) => parent.as_primitive_opt::<UInt32Type>().cloned(),
            None => None,
        };
        let rows = array.len();
        let positions = positions.unwrap_or_else(|| (0..rows as u32).collect::<Vec<_>>().into());
        let split = Split::of(&values, width, positions.values(), keys, &options);
        let metadata = Metadata {
            width: width as u32,
            head: grid::group_of(array.data_type()) as u32,
            bits: options.bits,
            keys,
            gaps: split.gaps(),
            exact: split.runs(),
            format: format as u32,
            lengths: split.lengths(),
        };
        if !width.is_multiple_of(metadata.head as usize) {
            return Ok(None);
        }
        let exact = UInt32Array::from_iter_values(split.exact_rows().map(|r| r as u32));
        let exact = compute::take(array, &exact, None)?;
        let mut node = Node::new(ID, rows).with_metadata(&metadata);
        let head = metadata.head as usize;
        let layout = Layout::new(width, head, options.bits, keys, format, split.units);
        let mut bytes = Vec::new();
        for head in 0..layout.heads() {
            for unit in &layout.units {
                quantize(&layout, &values, &split.is_exact, unit, head, &mut bytes);
            }
        }
        node = node
            .with_buffer(Buffer::from_vec(bytes))
            .with_child(context.child(ID, &exact, Role::Values)?);
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
        node.expect(1, 1)?;
        let layout = Layout::parse(node)?;
        let DataType::FixedSizeList(item, _) = data_type else {
            return Err(Error::corrupt(format!("{ID} of type {data_type}")));
        };
        // A selection of no elements has lists of size zero.
        if Format::of(item) != Some(layout.format) {
            return Err(Error::corrupt(format!("{ID} wanted as {data_type}")));
        }
        match layout.format {
            Format::Single => decode::<u32>(&layout, node, data_type, selection, context),
            _ => decode::<u16>(&layout, node, data_type, selection, context),
        }
    }

    fn reads(&self, node: &Node, selection: &Selection) -> Reads {
        let Ok(layout) = Layout::parse(node) else {
            return Reads::All;
        };
        let Ok(wanted) = layout.wanted(selection) else {
            return Reads::All;
        };
        let rows = selection.bounds(node.rows);
        let units = layout.units_of(&rows);
        let from =
            |head: usize, unit: usize| (head * layout.head_bytes() + layout.starts[unit]) as u64;
        let heads = layout.heads_of(&wanted);
        let buffers = heads.map(|h| (0, from(h, units.start)..from(h, units.end)));
        let part = layout.exact_of(&rows);
        let exact = (!part.is_empty()).then(|| Selection::range(part).with_elements(wanted));
        Reads::Parts {
            buffers: match units.is_empty() {
                true => Vec::new(),
                false => buffers.collect(),
            },
            children: vec![exact],
        }
    }
}

/// What a spec asks for.
struct Options {
    bits: u32,
    sinks: u32,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self> {
        let number = |i: usize, default: u32| match arguments.get(i) {
            None => Ok(default),
            Some(text) => text.parse::<u32>().map_err(|_| {
                Error::invalid(format!("'{text}' is no number; write kivi4 or kivi4(4)"))
            }),
        };
        let options = Self {
            bits: number(0, 2)?,
            sinks: number(1, 0)?,
        };
        match matches!(options.bits, 2 | 4 | 8) {
            true => Ok(options),
            false => Err(Error::invalid("kivi takes 2, 4 or 8 bits")),
        }
    }
}

/// Which rows are in units, and which are exact.
struct Split {
    units: Vec<Range<usize>>,
    is_exact: Vec<bool>,
}

impl Split {
    fn of(values: &[f32], width: usize, positions: &[u32], keys: bool, options: &Options) -> Self {
        let rows = positions.len();
        let most = f16::MAX.to_f32();
        let mut is_exact: Vec<bool> = (0..rows)
            .map(|r| {
                let row = &values[r * width..(r + 1) * width];
                positions[r] < options.sinks || !row.iter().all(|v| v.abs() <= most)
            })
            .collect();
        let mut units = Vec::new();
        let mut start = 0;
        while start < rows {
            let follows = |r: &usize| positions[*r] == positions[*r - 1].wrapping_add(1);
            let length = 1 + (start + 1..rows).take_while(follows).count();
            let end = start + length;
            let full = start + length / TOKENS * TOKENS;
            units.extend((start..full).step_by(TOKENS).map(|u| u..u + TOKENS));
            match keys {
                true => is_exact[full..end].fill(true),
                false => units.extend((full < end).then_some(full..end)),
            }
            start = end;
        }
        Self { units, is_exact }
    }

    fn gaps(&self) -> Vec<u32> {
        let mut end = 0;
        let gap = |unit: &Range<usize>| {
            let gap = (unit.start - end) as u32;
            end = unit.end;
            gap
        };
        self.units.iter().map(gap).collect()
    }

    /// Rows of the units, unless all are full.
    fn lengths(&self) -> Vec<u32> {
        match self.units.iter().all(|u| u.len() == TOKENS) {
            true => Vec::new(),
            false => self.units.iter().map(|u| u.len() as u32).collect(),
        }
    }

    fn exact_rows(&self) -> impl Iterator<Item = usize> + '_ {
        let rows = self.is_exact.iter().enumerate();
        rows.filter(|(_, exact)| **exact).map(|(row, _)| row)
    }

    /// Gap and length of each run of exact rows.
    fn runs(&self) -> Vec<u32> {
        let mut runs: Vec<u32> = Vec::new();
        let mut end = 0;
        for row in self.exact_rows() {
            match runs.last_mut() {
                Some(length) if row == end => *length += 1,
                _ => runs.extend([(row - end) as u32, 1]),
            }
            end = row + 1;
        }
        runs
    }
}

/// The half float that stands for a step. A small one, which rounds down by a large part of itself and to
/// nothing even, is rounded up if the last level would else stay further from the largest value than the
/// larger step's levels are from any.
fn step_of(step: f32, levels: f32) -> f16 {
    let step = step.min(f16::MAX.to_f32());
    let rounded = f16::from_f32(step);
    if rounded >= f16::MIN_POSITIVE {
        return rounded;
    }
    let above = f16::from_bits(rounded.to_bits() + 1);
    match levels * (step - rounded.to_f32()) > above.to_f32() / 2.0 {
        true => above,
        false => rounded,
    }
}

/// Appends one unit of one head.
fn quantize(
    layout: &Layout,
    values: &[f32],
    is_exact: &[bool],
    unit: &Range<usize>,
    head: usize,
    to: &mut Vec<u8>,
) {
    let levels = ((1u32 << layout.bits) - 1) as f32;
    let value = |token: usize, channel: usize| {
        values[(unit.start + token) * layout.width + head * layout.head + channel]
    };
    let mut bounds = vec![(f32::INFINITY, f32::NEG_INFINITY); layout.groups(unit.len())];
    for token in (0..unit.len()).filter(|t| !is_exact[unit.start + t]) {
        for channel in 0..layout.head {
            let (low, high) = &mut bounds[layout.group(token, channel)];
            *low = low.min(value(token, channel));
            *high = high.max(value(token, channel));
        }
    }
    let scales: Vec<(f16, f16)> = bounds
        .iter()
        .map(|&(low, high)| match low <= high {
            true => (f16::from_f32(low), step_of((high - low) / levels, levels)),
            false => (f16::ZERO, f16::ZERO),
        })
        .collect();
    for (low, step) in &scales {
        to.extend_from_slice(&low.to_le_bytes());
        to.extend_from_slice(&step.to_le_bytes());
    }
    let (mut held, mut count) = (0u32, 0);
    for token in 0..unit.len() {
        for channel in 0..layout.head {
            let (low, step) = scales[layout.group(token, channel)];
            let code = match is_exact[unit.start + token] || step == f16::ZERO {
                true => 0,
                false => {
                    let level = (value(token, channel) - low.to_f32()) / step.to_f32();
                    level.round_ties_even().clamp(0.0, levels) as u32
                }
            };
            held |= code << count;
            count += layout.bits;
            if count == 8 {
                to.push(held as u8);
                (held, count) = (0, 0);
            }
        }
    }
    if count > 0 {
        to.push(held as u8);
    }
}

fn decode<W: Word>(
    layout: &Layout,
    node: &Node,
    data_type: &DataType,
    selection: &Selection,
    context: &DecodeContext<'_>,
) -> Result<ArrayRef> {
    let wanted = layout.wanted(selection)?;
    let (item, size) = grid::parts(data_type)?;
    if size != wanted.len() || words::width(item) != Some(size_of::<W>()) {
        return Err(Error::corrupt(format!(
            "{} elements of {ID} wanted as {data_type}",
            wanted.len()
        )));
    }
    if let Some(empty) = grid::without_elements(data_type, selection.count(node.rows))? {
        return Ok(empty);
    }
    let rows = selection.bounds(node.rows);
    context.reserve_rows(rows.len(), wanted.len() * size_of::<W>())?;
    let mut out = vec![W::narrow(0); rows.len() * wanted.len()];
    let units = layout.units_of(&rows);
    for head in layout.heads_of(&wanted) {
        for unit in units.clone() {
            let at = (head * layout.head_bytes()) as u64;
            let (from, to) = (layout.starts[unit] as u64, layout.starts[unit + 1] as u64);
            let stored = node.buffer(0)?.slice(at + from..at + to)?;
            restore(
                layout,
                &stored,
                &layout.units[unit],
                head,
                &rows,
                &wanted,
                &mut out,
            );
        }
    }
    let child = node.child_of(0, layout.exact_rows)?;
    let part = layout.exact_of(&rows);
    if !part.is_empty() {
        let asked = Selection::range(part.clone()).with_elements(wanted.clone());
        let exact = context.decode(child, data_type, &asked)?;
        let Some((values, _)) = grid::numbers::<W>(&exact) else {
            return Err(Error::corrupt(format!("exact rows of {ID} with nulls")));
        };
        for (run, first) in &layout.exact {
            for row in run.start.max(rows.start)..run.end.min(rows.end) {
                let from = (first + row - run.start - part.start) * wanted.len();
                let to = (row - rows.start) * wanted.len();
                out[to..to + wanted.len()].copy_from_slice(&values[from..from + wanted.len()]);
            }
        }
    }
    let values = words::array(out, item)?;
    let DataType::FixedSizeList(field, asked) = data_type else {
        return Err(Error::corrupt(format!("{ID} of type {data_type}")));
    };
    let all: ArrayRef = Arc::new(FixedSizeListArray::try_new_with_length(
        Arc::clone(field),
        *asked,
        values,
        None,
        rows.len(),
    )?);
    match &selection.rows {
        Rows::All | Rows::Range(_) => Ok(all),
        _ => selection.within(rows).take(&all),
    }
}

/// Writes the wanted values of one unit of one head.
fn restore<W: Word>(
    layout: &Layout,
    stored: &[u8],
    unit: &Range<usize>,
    head: usize,
    rows: &Range<usize>,
    wanted: &Range<usize>,
    out: &mut [W],
) {
    let (scales, codes) = stored.split_at(layout.groups(unit.len()) * 4);
    let (scales, _) = scales.as_chunks::<4>();
    let scales: Vec<(f32, f32)> = scales
        .iter()
        .map(|&[a, b, c, d]| {
            let half = |bytes| f16::from_le_bytes(bytes).to_f32();
            (half([a, b]), half([c, d]))
        })
        .collect();
    let mask = (1u32 << layout.bits) - 1;
    let start = head * layout.head;
    let channels = wanted.start.max(start) - start..wanted.end.min(start + layout.head) - start;
    for row in rows.start.max(unit.start)..rows.end.min(unit.end) {
        let token = row - unit.start;
        let at = (row - rows.start) * wanted.len() + start + channels.start - wanted.start;
        for (value, channel) in out[at..].iter_mut().zip(channels.clone()) {
            let bit = (token * layout.head + channel) * layout.bits;
            let code = u32::from(codes[bit / 8]) >> (bit % 8) & mask;
            let (low, step) = scales[layout.group(token, channel)];
            *value = W::narrow(layout.format.write_within(low + code as f32 * step));
        }
    }
}
