//! The skeletons of a table that was read, in one piece of memory.

use super::values::{Out, Shown};
use crate::error::{Error, Result};

/// Skeletons, one after the other.
#[derive(Debug, Default)]
pub struct Skeletons {
    text: Vec<u8>,
    /// Where each literal ends in the text; a skeleton has one more than slots.
    ends: Vec<u32>,
    kinds: Vec<u8>,
    columns: Vec<u32>,
    /// First byte, first slot and whether the row goes on, of each.
    of: Vec<(u32, u32, bool)>,
}

/// One of them.
#[derive(Debug, Clone, Copy)]
pub struct Skeleton<'a> {
    /// Text of all skeletons.
    text: &'a [u8],
    start: u32,
    ends: &'a [u32],
    /// Kind of each slot.
    pub kinds: &'a [u8],
    /// Column of each slot.
    pub columns: &'a [u32],
    /// Whether the row goes on in the next unit.
    pub goes_on: bool,
}

impl Skeletons {
    /// Number of skeletons.
    pub fn len(&self) -> usize {
        self.of.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// Adds literal bytes to the skeleton that is being put together.
    pub fn add_text(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
    }

    /// Ends its literal, before a slot of a kind or at its end.
    pub fn end_literal(&mut self, kind: Option<u8>) -> Result<()> {
        let end = u32::try_from(self.text.len())
            .map_err(|_| Error::corrupt("skeletons of more than 4 GiB"))?;
        self.ends.push(end);
        self.kinds.extend(kind);
        Ok(())
    }

    /// Ends it; `columns` gives the columns of its slots, of which it is told literals and kinds.
    pub fn end(
        &mut self,
        goes_on: bool,
        columns: impl FnOnce(&mut dyn Iterator<Item = (&[u8], u8)>) -> Vec<u32>,
    ) {
        let slot = self.columns.len();
        let literals = &self.ends[slot + self.of.len()..];
        let start = match literals.len() == self.ends.len() {
            true => 0,
            false => self.ends[slot + self.of.len() - 1],
        };
        let starts = std::iter::once(start).chain(literals.iter().copied());
        let literals = starts.zip(literals);
        let literals = literals.map(|(start, &end)| &self.text[start as usize..end as usize]);
        let columns = columns(&mut literals.zip(self.kinds[slot..].iter().copied()));
        self.of.push((start, slot as u32, goes_on));
        self.columns.extend(columns);
    }

    /// Puts other columns in the place of those that were merged into them.
    pub fn replace_columns(&mut self, target: &[u32]) {
        for column in &mut self.columns {
            *column = target[*column as usize];
        }
    }

    /// Skeleton `i`.
    #[inline]
    pub fn get(&self, i: usize) -> Skeleton<'_> {
        let (start, slot, goes_on) = self.of[i];
        let slot = slot as usize;
        let next = self
            .of
            .get(i + 1)
            .map_or(self.columns.len(), |n| n.1 as usize);
        Skeleton {
            text: &self.text,
            start,
            ends: &self.ends[slot + i..=next + i],
            kinds: &self.kinds[slot..next],
            columns: &self.columns[slot..next],
            goes_on,
        }
    }

    /// Whether the row goes on after a unit of skeleton `i`.
    #[inline]
    pub fn goes_on(&self, i: usize) -> bool {
        self.of[i].2
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Skeleton<'_>> {
        (0..self.len()).map(|i| self.get(i))
    }

    /// Text of all literals, one after the other.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The skeleton in one of whose literals bytes `start..end` of the text lie.
    pub fn holder(&self, start: usize, end: usize) -> Option<usize> {
        let literal = self.ends.partition_point(|&e| e as usize <= start);
        if self.ends.get(literal).is_none_or(|&e| end > e as usize) {
            return None;
        }
        // Skeletons may be without text: the one that is meant has this literal.
        let after = |&(i, of): &(usize, &(u32, u32, bool))| i + of.1 as usize <= literal;
        let count = self.of.len();
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = (low + high) / 2;
            match after(&(middle, &self.of[middle])) {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low.checked_sub(1)
    }
}

impl<'a> Skeleton<'a> {
    /// Literal `i`.
    pub fn literal(&self, i: usize) -> &'a [u8] {
        let start = i.checked_sub(1).map_or(self.start, |i| self.ends[i]);
        &self.text[start as usize..self.ends[i] as usize]
    }

    /// Appends a unit; `at` is the next row of each column.
    #[inline]
    pub fn put(&self, columns: &[Shown<'_>], at: &mut [usize], out: &mut Out) {
        let mut start = self.start as usize;
        for (&column, &end) in self.columns.iter().zip(self.ends) {
            let end = end as usize;
            out.put(self.text, start, end);
            start = end;
            let column = column as usize;
            columns[column].put(at[column], out);
            at[column] += 1;
        }
        let end = self.ends.last().map_or(start, |&e| e as usize);
        out.put(self.text, start, end);
    }

    /// About how many bytes a unit takes.
    pub fn width(&self, columns: &[Shown<'_>]) -> usize {
        let literals = self.ends.last().map_or(0, |&e| e - self.start) as usize;
        let slots = self.columns.iter();
        literals + slots.map(|&c| columns[c as usize].width()).sum::<usize>()
    }

    /// Passes over so many units.
    #[inline]
    pub fn skip(&self, count: usize, at: &mut [usize]) {
        for &column in self.columns {
            at[column as usize] += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skeletons_are_found_by_their_text() {
        let mut skeletons = Skeletons::default();
        for literals in [&["ab", "", "c"][..], &["", ""], &[""], &["de", "f"]] {
            for (i, literal) in literals.iter().enumerate() {
                skeletons.add_text(literal.as_bytes());
                let kind = (i + 1 < literals.len()).then_some(1);
                skeletons.end_literal(kind).unwrap();
            }
            skeletons.end(false, |slots| {
                slots.map(|(text, _)| text.len() as u32).collect()
            });
        }
        assert_eq!(skeletons.len(), 4);
        assert_eq!(skeletons.get(0).literal(2), b"c");
        assert_eq!(skeletons.get(0).columns, [2, 0]);
        assert_eq!(skeletons.get(3).literal(0), b"de");
        assert_eq!(skeletons.get(3).columns, [2]);
        assert_eq!(skeletons.text(), b"abcdef");
        assert_eq!(skeletons.holder(0, 2), Some(0));
        assert_eq!(skeletons.holder(1, 3), None);
        assert_eq!(skeletons.holder(2, 3), Some(0));
        assert_eq!(skeletons.holder(3, 5), Some(3));
        assert_eq!(skeletons.holder(5, 6), Some(3));
    }
}
