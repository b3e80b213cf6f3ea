//! Numbers the distinct values of an array in order of first occurrence.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;
use twox_hash::XxHash3_64;

use super::words::{self, Word, for_word};

/// The distinct values of an array.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Distinct {
    /// For each row, the number of its value.
    pub codes: Vec<u32>,
    /// For each value, the first row that holds it.
    pub first: Vec<u32>,
}

impl Distinct {
    /// The distinct values of a physical leaf array without nulls; `None` if there are more than
    /// `cap`.
    pub fn of(array: &ArrayRef, cap: usize) -> Option<Self> {
        match array.data_type() {
            DataType::Boolean => {
                let values = array.as_boolean().values();
                let words: Vec<u8> = values.iter().map(u8::from).collect();
                of_words(&words, cap)
            }
            DataType::Binary => {
                let values = array.as_binary::<i32>();
                of_bytes(values.len(), cap, |i| values.value(i))
            }
            DataType::FixedSizeBinary(_) => {
                let values = array.as_fixed_size_binary();
                of_bytes(values.len(), cap, |i| values.value(i))
            }
            other => for_word!(other, W => of_words(&words::of::<W>(array), cap), else None),
        }
    }

    /// Number of distinct values.
    pub fn len(&self) -> usize {
        self.first.len()
    }

    /// True if there is no value at all.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// How often each value occurs.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.first.len()];
        for &code in &self.codes {
            counts[code as usize] += 1;
        }
        counts
    }
}

fn of_words<W: Word>(values: &[W], cap: usize) -> Option<Distinct> {
    let mut table = Table::default();
    let mut found = Distinct {
        codes: Vec::with_capacity(values.len()),
        first: Vec::new(),
    };
    let mut last = None;
    for (row, &value) in values.iter().enumerate() {
        if let Some((previous, code)) = last
            && previous == value
        {
            found.codes.push(code);
            continue;
        }
        // The high half of a product depends on all bits of the value.
        let wide = u128::from(value.widen() ^ 0x9E37_79B9_7F4A_7C15) * 0xD6E8_FEB8_6659_FD93;
        let hash = (wide >> 64) as u64 ^ wide as u64;
        let code = table.find(hash, row, &mut found.first, |a| values[a] == value);
        if found.first.len() > cap {
            return None;
        }
        found.codes.push(code);
        last = Some((value, code));
    }
    Some(found)
}

fn of_bytes<'a>(rows: usize, cap: usize, value: impl Fn(usize) -> &'a [u8]) -> Option<Distinct> {
    let mut table = Table::default();
    let mut found = Distinct {
        codes: Vec::with_capacity(rows),
        first: Vec::new(),
    };
    for row in 0..rows {
        let bytes = value(row);
        let hash = XxHash3_64::oneshot(bytes);
        let code = table.find(hash, row, &mut found.first, |a| value(a) == bytes);
        if found.first.len() > cap {
            return None;
        }
        found.codes.push(code);
    }
    Some(found)
}

/// Open addressing from hashes to numbers.
#[derive(Default)]
struct Table {
    /// Number of the value plus one; zero is an empty slot.
    slots: Vec<u32>,
    hashes: Vec<u64>,
}

impl Table {
    fn find(
        &mut self,
        hash: u64,
        row: usize,
        first: &mut Vec<u32>,
        same: impl Fn(usize) -> bool,
    ) -> u32 {
        if self.hashes.len() * 2 >= self.slots.len() {
            self.grow();
        }
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        while self.slots[slot] != 0 {
            let code = (self.slots[slot] - 1) as usize;
            if self.hashes[code] == hash && same(first[code] as usize) {
                return code as u32;
            }
            slot = (slot + 1) & mask;
        }
        first.push(row as u32);
        self.hashes.push(hash);
        self.slots[slot] = self.hashes.len() as u32;
        self.hashes.len() as u32 - 1
    }

    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(256);
        self.slots = vec![0; size];
        for (code, &hash) in self.hashes.iter().enumerate() {
            let mut slot = hash as usize & (size - 1);
            while self.slots[slot] != 0 {
                slot = (slot + 1) & (size - 1);
            }
            self.slots[slot] = code as u32 + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{BinaryArray, Float64Array};
    use std::sync::Arc;

    #[test]
    fn values_are_numbered_as_they_come() {
        let array: ArrayRef = Arc::new(BinaryArray::from(vec![&b"b"[..], b"a", b"b", b"", b"a"]));
        let found = Distinct::of(&array, 10).unwrap();
        assert_eq!(found.codes, [0, 1, 0, 2, 1]);
        assert_eq!(found.first, [0, 1, 3]);
        assert_eq!(found.counts(), [2, 2, 1]);
        assert_eq!(Distinct::of(&array, 2), None);
    }

    #[test]
    fn many_values_and_both_zeros_are_told_apart() {
        let mut values: Vec<f64> = (0..5000).map(f64::from).collect();
        values.push(-0.0);
        let array: ArrayRef = Arc::new(Float64Array::from(values));
        assert_eq!(Distinct::of(&array, 1 << 16).unwrap().len(), 5001);
    }
}
