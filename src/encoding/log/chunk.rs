//! A chunk of rows in its stored form: columns by context and shape, or the plain text, compressed.
//!
//! Buffers of the parsed form are the five streams of [`streams`](super::streams), each compressed
//! with zstd; of the plain form the text, and unless each row ends with its line feed the lengths of
//! the rows as varints.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, BinaryArray};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};

use super::classes;
use super::read::read_lines;
use super::skeletons::Skeletons;
use super::stored::ReadTable;
use super::streams::{STREAMS, Source, put};
use super::table::{Span, Table};
use super::values::{Lines, Out, Texts, offset};
use super::write::TableWriter;
use crate::encoding::{DecodeContext, EncodeContext, NoParents, Node, Profile};
use crate::error::{Error, Result};

/// Longer rows are cut into several units, at `},{` if they have some.
const LONG: usize = 16 << 10;
/// Fewest bytes of a piece.
const PIECE: usize = 256;
/// Pieces are cut at the latest after so many bytes: a skeleton should not be a whole file.
const LONGEST: usize = 64 << 10;

/// The plain form is tried on pieces of a chunk before it is tried on all: so many of so many bytes,
/// from all over the chunk, since logs of several sources lie one after the other.
const PIECES: usize = 8;
const TRIED: usize = 32 << 10;
/// What a decoder may take for each byte of the rows and beside that: less than readers allow.
const ROOM_FACTOR: u64 = 7;
const ROOM: u64 = 1 << 19;
/// The plain form is tried on all if it comes this close to the parsed one on the pieces. They tell
/// less than all of it, at a lower level: on real logs that makes 1.07 to 2.4 times as much of it.
const CLOSE: f64 = 1.4;

/// Metadata of a chunk.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Header {
    /// Whether the buffers are the text as it is.
    #[prost(bool, tag = "1")]
    pub plain: bool,
    /// Unpacked bytes of each buffer; buffers of none are not stored.
    #[prost(uint64, repeated, tag = "2")]
    pub unpacked: Vec<u64>,
}

fn level(profile: Profile) -> i32 {
    match profile {
        Profile::Fast => 1,
        Profile::Balanced => 7,
        Profile::Archive => 19,
    }
}

/// The level at which it is seen whether the plain form may be the smaller one.
fn trial_level(profile: Profile) -> i32 {
    match profile {
        Profile::Fast | Profile::Balanced => 1,
        Profile::Archive => 7,
    }
}

fn pack(bytes: &[u8], level: i32) -> Result<Vec<u8>> {
    zstd::bulk::compress(bytes, level).map_err(|e| Error::io("zstd failed", e))
}

fn unpack(bytes: &[u8], len: u64, context: &DecodeContext<'_>) -> Result<Vec<u8>> {
    context.reserve(len)?;
    let unpacked = zstd::bulk::decompress(bytes, len as usize)
        .map_err(|e| Error::corrupt(format!("a zstd frame does not unpack: {e}")))?;
    match unpacked.len() as u64 == len {
        true => Ok(unpacked),
        false => Err(Error::corrupt("a zstd frame unpacks to another length")),
    }
}

/// The bytes of all rows, one after the other, and where each starts in them.
fn rows(array: &BinaryArray) -> (&[u8], Vec<Span>) {
    let offsets = array.value_offsets();
    let first = offsets[0];
    let text = &array.value_data()[first as usize..offsets[array.len()] as usize];
    let span = |w: &[i32]| ((w[0] - first) as u32, (w[1] - first) as u32);
    (text, offsets.windows(2).map(span).collect())
}

/// Units of rows, and for each whether its row goes on.
fn units(text: &[u8], rows: &[Span]) -> (Vec<Span>, Vec<bool>) {
    let mut units = Vec::with_capacity(rows.len());
    let mut goes_on = Vec::with_capacity(rows.len());
    for &(mut start, end) in rows {
        while (end - start) as usize > LONG {
            let limit = LONGEST.min((end - start) as usize);
            let from = start as usize + PIECE;
            let limit = start as usize + limit;
            let found = memchr::memmem::find(&text[from..limit], b"},{");
            let cut = match found {
                Some(at) => (from + at + 2) as u32,
                // Words stay whole, so that a search may look for them in one place.
                None => {
                    let rest = text[limit..end as usize].iter();
                    let hard = rest.take_while(|&&b| classes::class(b) != classes::HARD);
                    end.min((limit + hard.count() + 1) as u32)
                }
            };
            if cut == end {
                break;
            }
            units.push((start, cut));
            goes_on.push(true);
            start = cut;
        }
        units.push((start, end));
        goes_on.push(false);
    }
    (units, goes_on)
}

/// Streams of the parsed form, if the text can be parsed.
fn parsed(
    text: &[u8],
    rows: &[Span],
    level: i32,
    mixed: bool,
) -> Result<Option<(Header, Vec<Vec<u8>>)>> {
    let (units, goes_on) = units(text, rows);
    let Some(mut table) = Table::parse(text, &units, &|i| goes_on[i], true, usize::MAX) else {
        return Ok(None);
    };
    table.merge(text);
    let mut writer = TableWriter::new(text, mixed);
    writer.table(&table, 0);
    let mut header = Header::default();
    let mut buffers = Vec::with_capacity(STREAMS);
    // One compressor for all streams: its tables are as large as many a stream.
    let failed = |e| Error::io("zstd failed", e);
    let mut compressor = zstd::bulk::Compressor::new(level).map_err(failed)?;
    for stream in writer.finish().all() {
        header.unpacked.push(stream.len() as u64);
        if !stream.is_empty() {
            buffers.push(compressor.compress(stream).map_err(failed)?);
        }
    }
    Ok(Some((header, buffers)))
}

/// The plain form.
fn plain(text: &[u8], rows: &[Span], level: i32) -> Result<(Header, Vec<Vec<u8>>)> {
    let mut header = Header {
        plain: true,
        unpacked: vec![text.len() as u64],
    };
    let mut buffers = Vec::new();
    if !text.is_empty() {
        buffers.push(pack(text, level)?);
    }
    if !are_lines(text, rows) {
        let mut lengths = Vec::new();
        rows.iter()
            .for_each(|(start, end)| put(&mut lengths, u64::from(end - start)));
        header.unpacked.push(lengths.len() as u64);
        buffers.push(pack(&lengths, level)?);
    }
    Ok((header, buffers))
}

/// Whether each row ends with its only line feed; the last may have none.
fn are_lines(text: &[u8], rows: &[Span]) -> bool {
    let mut at = rows.iter().enumerate();
    at.all(|(i, &(start, end))| {
        let row = &text[start as usize..end as usize];
        match memchr::memchr(b'\n', row) {
            Some(feed) => feed + 1 == row.len(),
            None => i + 1 == rows.len() && !row.is_empty(),
        }
    })
}

/// Pieces of a text from all over it; all of a short one.
fn pieces(text: &[u8]) -> Cow<'_, [u8]> {
    if text.len() <= PIECES * TRIED {
        return Cow::Borrowed(text);
    }
    let starts = (0..PIECES).map(|i| text.len() / PIECES * i);
    Cow::Owned(starts.flat_map(|s| &text[s..s + TRIED]).copied().collect())
}

fn size(form: &(Header, Vec<Vec<u8>>)) -> usize {
    form.1.iter().map(Vec::len).sum()
}

/// Whether a node gives back the very rows, within what readers allow a decoder to take.
fn gives(node: &Node, text: &[u8], array: &BinaryArray, context: &EncodeContext<'_>) -> bool {
    let budget = (text.len() + 4 * array.len()) as u64 * ROOM_FACTOR + ROOM;
    let check = DecodeContext::new(context.registry, context.models, &NoParents, budget);
    decode(node, None, &check).is_ok_and(|again| {
        let (first, offsets) = (array.value_offsets()[0], array.value_offsets().iter());
        let same = again
            .value_offsets()
            .iter()
            .eq(offsets.map(|o| o - first).collect::<Vec<_>>().iter());
        again.value_data() == text && same
    })
}

/// Encodes rows. The parsed form is taken if it gives back the very bytes and is smaller.
pub fn encode(
    id: &'static str,
    array: &BinaryArray,
    context: &mut EncodeContext<'_>,
) -> Result<Node> {
    let (text, rows) = rows(array);
    let level = level(context.profile);
    let mut best: Option<(Header, Vec<Vec<u8>>)> = None;
    for mixed in [false, true] {
        if mixed && context.profile != Profile::Archive {
            continue;
        }
        let form = parsed(text, &rows, level, mixed)?
            .filter(|form| best.as_ref().is_none_or(|b| size(form) < size(b)))
            .filter(|form| gives(&node(id, rows.len(), form.clone()), text, array, context));
        best = form.or(best);
    }
    context.proven = best.is_some();
    let worth = match &best {
        None => true,
        Some(form) => {
            let tried = pieces(text);
            let share = tried.len() as f64 / text.len().max(1) as f64;
            let packed = pack(&tried, trial_level(context.profile))?;
            (packed.len() as f64) < CLOSE * share * size(form) as f64
        }
    };
    if worth {
        let plain = plain(text, &rows, level)?;
        if best.as_ref().is_none_or(|form| size(&plain) < size(form)) {
            best = Some(plain);
            context.proven = false;
        }
    }
    match best {
        Some(form) => Ok(node(id, rows.len(), form)),
        None => Err(Error::invalid("a chunk of log lines has no form")),
    }
}

fn node(id: &'static str, rows: usize, (header, buffers): (Header, Vec<Vec<u8>>)) -> Node {
    let node = Node::new(id, rows).with_metadata(&header);
    let add = |node: Node, bytes: Vec<u8>| node.with_buffer(Buffer::from_vec(bytes));
    buffers.into_iter().fold(node, add)
}

/// A chunk whose columns are at hand.
#[derive(Debug)]
pub enum Chunk {
    /// Columns by context and shape.
    Parsed(ReadTable),
    /// Rows as they are.
    Plain(Texts),
}

impl Chunk {
    /// Unpacks a node; *lazily*, columns are read when they are asked for.
    pub fn open(node: &Node, lazily: bool, context: &DecodeContext<'_>) -> Result<Self> {
        let header: Header = node.parse_metadata()?;
        let mut buffers = node.buffers.iter();
        let mut next = |len: u64| match len {
            0 => Ok(Vec::new()),
            _ => {
                let buffer = buffers.next();
                let buffer = buffer.ok_or_else(|| Error::corrupt("a log chunk lacks a buffer"))?;
                unpack(&buffer.bytes()?, len, context)
            }
        };
        if !node.children.is_empty() {
            return Err(Error::corrupt("a log chunk with children"));
        }
        if !header.plain {
            let count = <[u64; STREAMS]>::try_from(header.unpacked.as_slice());
            let lengths = count.map_err(|_| Error::corrupt("a log chunk of other streams"))?;
            let mut streams: [Vec<u8>; STREAMS] = Default::default();
            for (stream, len) in streams.iter_mut().zip(lengths) {
                *stream = next(len)?;
            }
            let table = read_lines(&Arc::new(streams), lazily, context)?;
            return match table.rows() == Some(node.rows) {
                true => Ok(Self::Parsed(table)),
                false => Err(Error::corrupt("a log chunk of another number of rows")),
            };
        }
        let (text, lengths) = match header.unpacked.as_slice() {
            [text] => (*text, None),
            [text, lengths] => (*text, Some(*lengths)),
            _ => return Err(Error::corrupt("a plain log chunk of other buffers")),
        };
        let text = next(text)?;
        let lengths = lengths.map(next).transpose()?;
        Ok(Self::Plain(plain_rows(
            text,
            lengths.as_deref(),
            node.rows,
            context,
        )?))
    }

    /// The selected rows (all if `None`), rebuilt. Memory of lines that are no longer needed may be
    /// handed in.
    pub fn rows(
        &self,
        wanted: Option<&[bool]>,
        memory: Out,
        context: &DecodeContext<'_>,
    ) -> Result<Lines> {
        let keeps = |row: usize| wanted.is_none_or(|w| w.get(row).copied().unwrap_or(false));
        let mut out = memory;
        out.clear();
        let mut offsets = vec![0];
        let mut charged = 0;
        let mut close = |len: usize| -> Result<()> {
            context.reserve((len - charged) as u64 + 4)?;
            charged = len;
            offsets.push(offset(len)?);
            Ok(())
        };
        match self {
            Self::Plain(texts) => {
                for row in (0..texts.len()).filter(|&r| keeps(r)) {
                    let (start, end) = (texts.offsets[row], texts.offsets[row + 1]);
                    out.put(&texts.bytes, start as usize, end as usize);
                    close(out.len())?;
                }
            }
            Self::Parsed(table) => {
                let used = wanted.map(|_| table.skeletons_of(&keeps));
                let columns = table.shown(used.as_deref(), context)?;
                if wanted.is_none() {
                    out.expect(table.expected(&columns, |_| true));
                }
                let mut at = vec![0; columns.len()];
                let mut passed = Passed::new(table.skeletons.len());
                let mut row = 0;
                for &id in &table.ids {
                    let skeleton = table.skeletons.get(id as usize);
                    let kept = keeps(row);
                    match kept {
                        true => {
                            passed.settle(&table.skeletons, &mut at);
                            skeleton.put(&columns, &mut at, &mut out);
                        }
                        false => passed.add(id),
                    }
                    if !skeleton.goes_on {
                        row += 1;
                        if kept {
                            close(out.len())?;
                        }
                    }
                }
            }
        }
        Ok(Lines { out, offsets })
    }
}

/// Units that were passed over, by skeleton, so that columns need not be counted up for each.
pub struct Passed {
    counts: Vec<u32>,
    skeletons: Vec<u32>,
}

impl Passed {
    /// Nothing yet.
    pub fn new(skeletons: usize) -> Self {
        Self {
            counts: vec![0; skeletons],
            skeletons: Vec::new(),
        }
    }

    /// Passes over a unit.
    #[inline]
    pub fn add(&mut self, skeleton: u32) {
        let count = &mut self.counts[skeleton as usize];
        if *count == 0 {
            self.skeletons.push(skeleton);
        }
        *count += 1;
    }

    /// Counts columns up by what was passed over.
    #[inline]
    pub fn settle(&mut self, skeletons: &Skeletons, at: &mut [usize]) {
        for id in self.skeletons.drain(..) {
            let count = std::mem::take(&mut self.counts[id as usize]);
            skeletons.get(id as usize).skip(count as usize, at);
        }
    }
}

impl ReadTable {
    /// Number of rows, if the last one ends.
    fn rows(&self) -> Option<usize> {
        let goes_on = |id: &u32| self.skeletons.goes_on(*id as usize);
        match self.ids.last().is_some_and(goes_on) {
            true => None,
            false => Some(self.ids.iter().filter(|id| !goes_on(id)).count()),
        }
    }

    /// Which skeletons some rows have.
    fn skeletons_of(&self, keeps: &impl Fn(usize) -> bool) -> Vec<bool> {
        let mut used = vec![false; self.skeletons.len()];
        let mut row = 0;
        for &id in &self.ids {
            used[id as usize] |= keeps(row);
            row += usize::from(!self.skeletons.goes_on(id as usize));
        }
        used
    }
}

fn plain_rows(
    text: Vec<u8>,
    lengths: Option<&[u8]>,
    rows: usize,
    context: &DecodeContext<'_>,
) -> Result<Texts> {
    context.reserve_rows(rows + 1, 4)?;
    let mut offsets = Vec::with_capacity(rows + 1);
    offsets.push(0u32);
    match lengths {
        None => {
            let ends = memchr::memchr_iter(b'\n', &text).map(|at| at as u32 + 1);
            offsets.extend(ends.take(rows));
            if offsets.len() <= rows && !text.ends_with(b"\n") {
                offsets.push(text.len() as u32);
            }
        }
        Some(lengths) => {
            let mut source = Source::new(lengths);
            let mut at = 0;
            for _ in 0..rows {
                at += source.count(text.len() - at)?;
                offsets.push(at as u32);
            }
        }
    }
    let sound = offsets.len() == rows + 1
        && offsets.last().map(|&o| o as usize) == Some(text.len())
        && text.len() <= i32::MAX as usize;
    match sound {
        true => Ok(Texts {
            bytes: text,
            offsets,
        }),
        false => Err(Error::corrupt("plain log lines of another number of rows")),
    }
}

/// Streams that hold letters: of the plain form, and of the parsed one.
const LETTERS: ([usize; 1], [usize; 2]) = ([0], [1, 4]);

impl Header {
    fn letters(&self) -> &'static [usize] {
        match self.plain {
            true => &LETTERS.0,
            false => &LETTERS.1,
        }
    }
}

/// Buffers of a node in which all letters of its rows are, save those of hexadecimal numbers.
pub fn letter_buffers(node: &Node) -> Result<Vec<usize>> {
    let header: Header = node.parse_metadata()?;
    let stored = header
        .unpacked
        .iter()
        .enumerate()
        .filter(|(_, len)| **len > 0);
    let stored = stored.enumerate();
    let letters = stored.filter(|(_, (stream, _))| header.letters().contains(stream));
    Ok(letters.map(|(buffer, _)| buffer).collect())
}

/// Unpacks the buffers of [`letter_buffers`] one after the other until one is `found` to have what
/// is looked for.
pub fn letters(
    node: &Node,
    mut found: impl FnMut(&[u8]) -> bool,
    context: &DecodeContext<'_>,
) -> Result<bool> {
    let header: Header = node.parse_metadata()?;
    let mut buffers = node.buffers.iter();
    for (stream, &len) in header.unpacked.iter().enumerate().filter(|(_, l)| **l > 0) {
        let buffer = buffers.next();
        let buffer = buffer.ok_or_else(|| Error::corrupt("a log chunk lacks a buffer"))?;
        if header.letters().contains(&stream) && found(&unpack(&buffer.bytes()?, len, context)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Decodes a node: the selected rows, or all.
pub fn decode(
    node: &Node,
    wanted: Option<&[bool]>,
    context: &DecodeContext<'_>,
) -> Result<BinaryArray> {
    let (bytes, offsets) = match (Chunk::open(node, wanted.is_some(), context)?, wanted) {
        (Chunk::Plain(texts), None) => (texts.bytes, texts.offsets),
        (chunk, wanted) => {
            let lines = chunk.rows(wanted, Out::default(), context)?;
            (lines.out.finish(), lines.offsets)
        }
    };
    let offsets: Vec<i32> = offsets.iter().map(|&o| o as i32).collect();
    Ok(BinaryArray::try_new(
        OffsetBuffer::new(ScalarBuffer::from(offsets)),
        Buffer::from_vec(bytes),
        None,
    )?)
}
