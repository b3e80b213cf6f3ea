//! Which column a slot belongs to: a function of the skeleton's text, so that it need not be stored.
//!
//! The key of a slot is the text since the last word before it, that word included, its kind, and
//! how many slots of the line had the same key already. Slots of different skeletons with one key
//! share a column: what stands after `port ` looks alike wherever it occurs. If no word stands
//! between two slots, the key of the second is chained to that of the first.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::classes::{LETTER, class, hash, mix};

/// Hasher of keys that are hashes.
#[derive(Debug, Default, Clone, Copy)]
pub struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = mix(self.0, hash(bytes));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// A map from hashes.
pub type HashedMap<V> = HashMap<u64, V, BuildHasherDefault<Identity>>;

/// Numbers columns by key, in order of first use.
#[derive(Debug)]
pub struct ColumnKeys {
    cap: u32,
    columns: HashedMap<u32>,
    kinds: Vec<u8>,
    /// Whether some line had more slots of one key than the cap tells apart.
    pub capped: bool,
}

impl ColumnKeys {
    /// Slots of one key in one line share a column from the `cap`-th on; zero tells all apart.
    pub fn new(cap: u32) -> Self {
        Self {
            cap,
            columns: HashedMap::default(),
            kinds: Vec::new(),
            capped: false,
        }
    }

    /// Kind of each column.
    pub fn kinds(&self) -> &[u8] {
        &self.kinds
    }

    /// The columns of a skeleton's slots; `slots` gives the literal before each and its kind.
    pub fn of_skeleton<'a>(&mut self, slots: impl Iterator<Item = (&'a [u8], u8)>) -> Vec<u32> {
        let mut seen = Seen::default();
        let mut key = 1;
        let mut columns = Vec::new();
        for (gap, kind) in slots {
            key = match last_word(gap) {
                Some(start) => hash(&gap[start..]),
                None => mix(mix(key, 5), hash(gap)),
            };
            let typed = mix(key, u64::from(kind));
            let equals = seen.next(typed);
            let index = match self.cap {
                0 => equals,
                cap => {
                    self.capped |= equals >= cap;
                    equals.min(cap)
                }
            };
            let next = self.kinds.len() as u32;
            let column = *self
                .columns
                .entry(mix(typed, u64::from(index)))
                .or_insert(next);
            // Kinds of one column are the same; if two keys had one hash they would not be, and the
            // newcomer gets a column of its own.
            let column = match self.kinds.get(column as usize) {
                Some(&of) if of == kind => column,
                _ => {
                    self.kinds.push(kind);
                    next
                }
            };
            columns.push(column);
        }
        columns
    }
}

/// How often each key occurred; most lines have few.
#[derive(Default)]
struct Seen {
    few: Vec<(u64, u32)>,
    many: HashedMap<u32>,
}

/// Keys that are looked through one by one.
const FEW: usize = 48;

impl Seen {
    /// How often the key occurred before.
    fn next(&mut self, key: u64) -> u32 {
        let known = self.few.iter().position(|(k, _)| *k == key);
        let count = match known {
            Some(known) => &mut self.few[known].1,
            None if self.few.len() < FEW => {
                self.few.push((key, 1));
                return 0;
            }
            None => self.many.entry(key).or_insert(0),
        };
        *count += 1;
        *count - 1
    }
}

/// Where the last word of a literal starts.
fn last_word(gap: &[u8]) -> Option<usize> {
    let letter = |b: u8| class(b) == LETTER || b >= 0x80;
    let mut start = gap.iter().rposition(|&b| letter(b))?;
    while start > 0 && (letter(gap[start - 1]) || matches!(gap[start - 1], b'_' | b'.' | b'-')) {
        start -= 1;
    }
    Some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_after_the_same_word_share_a_column() {
        let mut keys = ColumnKeys::new(6);
        let first = keys.of_skeleton([(&b"from port "[..], 1), (b" to ", 1)].into_iter());
        let second = keys.of_skeleton([(&b"at port "[..], 1), (b" to ", 2)].into_iter());
        assert_eq!(first, [0, 1]);
        assert_eq!(second, [0, 2]);
        assert_eq!(keys.kinds(), [1, 1, 2]);
    }

    #[test]
    fn equal_slots_of_a_line_are_told_apart_up_to_the_cap() {
        let slots = || std::iter::repeat_n((&b"x="[..], 1), 4);
        let mut keys = ColumnKeys::new(2);
        assert_eq!(keys.of_skeleton(slots()), [0, 1, 2, 2]);
        assert!(keys.capped);
        assert_eq!(ColumnKeys::new(0).of_skeleton(slots()), [0, 1, 2, 3]);
    }
}
