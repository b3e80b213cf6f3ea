//! The distinct values of an array, in order of first occurrence.

use std::cmp::Ordering;

use arrow::array::{Array, BinaryArray, FixedSizeBinaryArray};
use arrow::buffer::NullBuffer;
use twox_hash::XxHash3_64;

use crate::encoding::table::restore::values::Values;
use crate::error::Result;

/// Stands for null among the rows.
pub(super) const NO_VALUE: u32 = u32::MAX;

/// Distinct values, and which of them each row holds.
pub(super) struct Distinct<'a> {
    values: Found<'a>,
    rows: Vec<u32>,
}

enum Found<'a> {
    /// Bits of numbers of so many bytes.
    Words(Vec<u64>, usize),
    Bytes(Vec<&'a [u8]>, Option<usize>),
}

impl<'a> Distinct<'a> {
    /// Distinct bit patterns of numbers.
    pub fn of_words(
        bits: impl Iterator<Item = u64>,
        width: usize,
        nulls: Option<&NullBuffer>,
    ) -> Self {
        let mut words: Vec<u64> = Vec::new();
        let mut table = Table::default();
        let rows = bits
            .enumerate()
            .map(|(i, word)| {
                if nulls.is_some_and(|n| n.is_null(i)) {
                    return NO_VALUE;
                }
                // Fibonacci hashing over both halves.
                let hash = (word ^ (word >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let (entry, new) = table.find(hash, |i| words[i as usize] == word);
                if new {
                    words.push(word);
                }
                entry
            })
            .collect();
        Self {
            values: Found::Words(words, width),
            rows,
        }
    }

    /// Distinct values of text or bytes.
    pub fn of_binary(array: &'a BinaryArray) -> Self {
        Self::of_bytes(array.len(), array.nulls(), None, |i| array.value(i))
    }

    /// Distinct values of fixed-size binary.
    pub fn of_fixed(array: &'a FixedSizeBinaryArray) -> Self {
        let width = Some(array.value_length() as usize);
        Self::of_bytes(array.len(), array.nulls(), width, |i| array.value(i))
    }

    fn of_bytes(
        len: usize,
        nulls: Option<&NullBuffer>,
        width: Option<usize>,
        value: impl Fn(usize) -> &'a [u8],
    ) -> Self {
        let mut values: Vec<&[u8]> = Vec::new();
        let mut table = Table::default();
        let rows = (0..len)
            .map(|i| {
                if nulls.is_some_and(|n| n.is_null(i)) {
                    return NO_VALUE;
                }
                let bytes = value(i);
                let hash = XxHash3_64::oneshot(bytes);
                let (entry, new) = table.find(hash, |i| values[i as usize] == bytes);
                if new {
                    values.push(bytes);
                }
                entry
            })
            .collect();
        Self {
            values: Found::Bytes(values, width),
            rows,
        }
    }

    /// Number of distinct values.
    pub fn len(&self) -> usize {
        match &self.values {
            Found::Words(words, _) => words.len(),
            Found::Bytes(values, _) => values.len(),
        }
    }

    /// Bytes of all distinct values in sum.
    pub fn bytes(&self) -> usize {
        match &self.values {
            Found::Words(words, width) => words.len() * width,
            Found::Bytes(values, _) => values.iter().map(|v| v.len()).sum(),
        }
    }

    /// The value that each row holds, or [`NO_VALUE`].
    pub fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// The bits of numbers; empty for other values.
    pub fn words(&self) -> &[u64] {
        match &self.values {
            Found::Words(words, _) => words,
            Found::Bytes(..) => &[],
        }
    }

    /// The values of text or bytes; none for numbers.
    pub fn values(&self) -> impl Iterator<Item = &'a [u8]> {
        match &self.values {
            Found::Words(..) => [].iter().copied(),
            Found::Bytes(values, _) => values.iter().copied(),
        }
    }

    /// Bytes of each value, if all have as many.
    pub fn width(&self) -> Option<usize> {
        match &self.values {
            Found::Words(_, width) => Some(*width),
            Found::Bytes(_, width) => *width,
        }
    }

    /// Appends value `i` to a list.
    pub fn push_to(&self, i: usize, list: &mut Values) -> Result<()> {
        match &self.values {
            Found::Words(words, width) => list.push(&words[i].to_le_bytes()[..*width]),
            Found::Bytes(values, _) => list.push(values[i]),
        }
    }

    /// Order of two values: of bits, or of bytes.
    pub fn order(&self, a: usize, b: usize) -> Ordering {
        match &self.values {
            Found::Words(words, _) => words[a].cmp(&words[b]),
            Found::Bytes(values, _) => values[a].cmp(values[b]),
        }
    }
}

/// An open-addressing table of numbered entries.
#[derive(Default)]
struct Table {
    /// Entry + 1, or zero; a power of two of them.
    slots: Vec<u32>,
    hashes: Vec<u64>,
}

impl Table {
    /// The entry of this hash for which `same` holds, or a new one.
    fn find(&mut self, hash: u64, same: impl Fn(u32) -> bool) -> (u32, bool) {
        if self.hashes.len() * 2 >= self.slots.len() {
            self.grow();
        }
        let mask = self.slots.len() - 1;
        let mut at = place(hash, mask);
        loop {
            match self.slots[at] {
                0 => {
                    let entry = self.hashes.len() as u32;
                    self.hashes.push(hash);
                    self.slots[at] = entry + 1;
                    return (entry, true);
                }
                slot if self.hashes[slot as usize - 1] == hash && same(slot - 1) => {
                    return (slot - 1, false);
                }
                _ => at = (at + 1) & mask,
            }
        }
    }

    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(64);
        self.slots = vec![0; size];
        for (i, &hash) in self.hashes.iter().enumerate() {
            let mut at = place(hash, size - 1);
            while self.slots[at] != 0 {
                at = (at + 1) & (size - 1);
            }
            self.slots[at] = i as u32 + 1;
        }
    }
}

/// The high bits are the well-mixed ones.
fn place(hash: u64, mask: usize) -> usize {
    (hash >> 20) as usize & mask
}
