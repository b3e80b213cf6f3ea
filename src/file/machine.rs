//! The shape of everything that reads: a machine that asks for bytes and is handed them.

use std::ops::Range;

use arrow::buffer::Buffer;

use crate::error::{Error, Result};

/// What a machine says when it is stepped.
#[derive(Debug)]
pub enum Step<T> {
    /// These ranges of the file are needed, in this order; deliver them and step again.
    Need(Vec<Range<u64>>),
    /// Here is one.
    Item(T),
    /// There are no more.
    Done,
}

/// A reader without I/O.
///
/// Call [`Machine::step`]. If it needs ranges, read them by whatever means, hand each over with
/// [`Machine::deliver`] (a larger piece that covers several is fine), and step again.
pub trait Machine {
    /// What comes out.
    type Item;

    /// Goes on as far as the bytes at hand allow. After an error the machine is spent.
    fn step(&mut self) -> Result<Step<Self::Item>>;

    /// Hands over bytes that start at `offset` of the file.
    fn deliver(&mut self, offset: u64, bytes: Buffer);
}

/// Bytes that were delivered and not yet used.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    parts: Vec<(u64, Buffer)>,
}

/// Merges sorted ranges between which there are no more than `gap` bytes: where a request costs more
/// than those, they are read along.
pub fn merged(ranges: impl IntoIterator<Item = Range<u64>>, gap: u64) -> Vec<Range<u64>> {
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(gap) => {
                last.end = last.end.max(range.end);
            }
            _ => merged.push(range),
        }
    }
    merged
}

impl Pool {
    /// Adds a piece of the file.
    pub fn put(&mut self, offset: u64, bytes: Buffer) {
        let at = self.parts.partition_point(|(o, _)| *o < offset);
        self.parts.insert(at, (offset, bytes));
    }

    /// The bytes of a range, if one piece holds them.
    pub fn get(&self, range: &Range<u64>) -> Option<Buffer> {
        let after = self.parts.partition_point(|(o, _)| *o <= range.start);
        let found = self.parts[..after]
            .iter()
            .rev()
            .find_map(|(offset, bytes)| {
                let start = range.start - offset;
                let len = range.end - range.start;
                (start + len <= bytes.len() as u64)
                    .then(|| bytes.slice_with_length(start as usize, len as usize))
            });
        match range.is_empty() {
            true => Some(Buffer::from(&[] as &[u8])),
            false => found,
        }
    }

    /// Like [`Pool::get`]; a missing range is an error.
    pub fn fetch(&self, range: Range<u64>) -> Result<Buffer> {
        self.get(&range)
            .ok_or_else(|| Error::invalid("a range that a reader asked for was not delivered"))
    }

    /// The ranges that are not there yet, in order, merged where they touch.
    pub fn missing(&self, mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
        ranges.retain(|r| self.get(r).is_none());
        ranges.sort_by_key(|r| r.start);
        merged(ranges, 0)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.parts.clear();
    }

    /// Forgets everything but these ranges, as far as they are there.
    pub fn keep(&mut self, ranges: impl Iterator<Item = Range<u64>>) {
        // Copies, so that what lay around them is let go.
        let kept: Vec<(u64, Buffer)> = ranges
            .filter_map(|r| Some((r.start, Buffer::from(self.get(&r)?.as_slice()))))
            .collect();
        self.parts.clear();
        for (at, bytes) in kept {
            self.put(at, bytes);
        }
    }
}

/// Where a synchronous driver reads from.
pub trait ReadAt {
    /// Number of bytes.
    fn size(&self) -> u64;

    /// The bytes of a range inside the file.
    fn read_at(&self, range: Range<u64>) -> Result<Buffer>;

    /// How many bytes between two ranges cost no more than another call. The default suits a file in
    /// the system's page cache.
    fn gap(&self) -> u64 {
        1024
    }
}

/// Reads sorted ranges of a source, a few bytes between them too, and hands them over.
pub(crate) fn read_ranges(
    source: &dyn ReadAt,
    ranges: Vec<Range<u64>>,
    mut deliver: impl FnMut(u64, Buffer),
) -> Result<()> {
    for range in merged(ranges, source.gap()) {
        let bytes = source.read_at(range.clone())?;
        deliver(range.start, bytes);
    }
    Ok(())
}

/// Steps a machine to its next item with bytes from `source`.
pub fn drive<M: Machine>(machine: &mut M, source: &dyn ReadAt) -> Result<Option<M::Item>> {
    loop {
        match machine.step()? {
            Step::Item(item) => return Ok(Some(item)),
            Step::Done => return Ok(None),
            Step::Need(ranges) => {
                read_ranges(source, ranges, |at, bytes| machine.deliver(at, bytes))?;
            }
        }
    }
}
