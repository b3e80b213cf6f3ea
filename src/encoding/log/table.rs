//! Units of text as a table: the skeleton of each unit, and columns of slots.

use super::keys::{ColumnKeys, HashedMap};
use super::scan::{Scanner, Slot};
use super::{classes, merge};

/// Bytes `start..end` of the text.
pub type Span = (u32, u32);

/// Slots of one key in a line that are told apart: more only if the lines are long and regular.
const CAP: u32 = 6;
/// Most skeletons of a table whose lines are long and regular.
const REGULAR: usize = 8;
/// Fewest units for that.
const REGULAR_UNITS: usize = 64;

/// The text that units have in common, around their slots.
#[derive(Debug)]
pub struct Skeleton {
    /// One more than slots.
    pub literals: Vec<Span>,
    /// Kind of each slot.
    pub kinds: Vec<u8>,
    /// Column of each slot.
    pub columns: Vec<u32>,
    /// Whether the row goes on in the next unit.
    pub goes_on: bool,
}

/// The slots of one column, in the order of the units.
#[derive(Debug, Default)]
pub struct Column {
    /// Kind of all of them.
    pub kind: u8,
    /// Where they stand.
    pub spans: Vec<Span>,
}

/// A parsed table.
#[derive(Debug)]
pub struct Table {
    /// In order of first use.
    pub skeletons: Vec<Skeleton>,
    /// Skeleton of each unit.
    pub ids: Vec<u32>,
    /// Columns; those that were merged into another are empty.
    pub columns: Vec<Column>,
    /// Slots of one key that are told apart; zero for all.
    pub cap: u32,
    /// Columns that were merged: which, into which earlier one.
    pub merged: Vec<(u32, u32)>,
}

impl Table {
    /// Parses units; `goes_on` tells which rows go on in the next unit. `None` if two skeletons
    /// cannot be told apart, or if there are more than `most`.
    pub fn parse(
        text: &[u8],
        units: &[Span],
        goes_on: &dyn Fn(usize) -> bool,
        quotes: bool,
        most: usize,
    ) -> Option<Self> {
        let mut scanner = Scanner::new(text, units, quotes);
        let mut collect = |cap| Self::collect(text, units, goes_on, &mut scanner, cap, most);
        let (mut table, capped) = collect(CAP)?;
        if capped && table.skeletons.len() <= REGULAR && units.len() >= REGULAR_UNITS {
            (table, _) = collect(0)?;
        }
        Some(table)
    }

    fn collect(
        text: &[u8],
        units: &[Span],
        goes_on: &dyn Fn(usize) -> bool,
        scanner: &mut Scanner<'_>,
        cap: u32,
        most: usize,
    ) -> Option<(Self, bool)> {
        let mut table = Self {
            skeletons: Vec::new(),
            ids: Vec::with_capacity(units.len()),
            columns: Vec::new(),
            cap,
            merged: Vec::new(),
        };
        let mut keys = ColumnKeys::new(cap);
        let mut known: HashedMap<u32> = HashedMap::default();
        for (i, &(start, end)) in units.iter().enumerate() {
            let goes_on = goes_on(i);
            let hash = classes::mix(scanner.scan(start, end), u64::from(goes_on));
            let next = table.skeletons.len() as u32;
            let id = *known.entry(hash).or_insert(next);
            if id == next {
                if table.skeletons.len() == most {
                    return None;
                }
                let skeleton = skeleton(text, (start, end), &scanner.slots, goes_on, &mut keys);
                table.skeletons.push(skeleton);
                let new = &keys.kinds()[table.columns.len()..];
                table.columns.extend(new.iter().map(|&kind| Column {
                    kind,
                    spans: Vec::new(),
                }));
            }
            table.ids.push(id);
            let columns = &table.skeletons[id as usize].columns;
            if columns.len() != scanner.slots.len() {
                return None;
            }
            for (&column, slot) in columns.iter().zip(&scanner.slots) {
                table.columns[column as usize]
                    .spans
                    .push((slot.start, slot.end));
            }
        }
        Some((table, keys.capped))
    }

    /// Merges columns that share many values.
    pub fn merge(&mut self, text: &[u8]) {
        self.merged = merge::pairs(text, &self.columns);
        if self.merged.is_empty() {
            return;
        }
        let mut target: Vec<u32> = (0..self.columns.len() as u32).collect();
        for &(from, into) in &self.merged {
            target[from as usize] = into;
        }
        let mut grown = vec![false; self.columns.len()];
        for &(_, into) in &self.merged {
            grown[into as usize] = true;
        }
        let concerned: Vec<bool> = target.iter().map(|&t| grown[t as usize]).collect();
        let mut at = vec![0usize; self.columns.len()];
        let mut rows: Vec<Vec<Span>> = vec![Vec::new(); self.columns.len()];
        for &id in &self.ids {
            for &column in &self.skeletons[id as usize].columns {
                let column = column as usize;
                if concerned[column] {
                    rows[target[column] as usize].push(self.columns[column].spans[at[column]]);
                    at[column] += 1;
                }
            }
        }
        for (column, rows) in rows.into_iter().enumerate() {
            if concerned[column] {
                self.columns[column].spans = rows;
            }
        }
        for skeleton in &mut self.skeletons {
            for column in &mut skeleton.columns {
                *column = target[*column as usize];
            }
        }
    }
}

fn skeleton(
    text: &[u8],
    unit: Span,
    slots: &[Slot],
    goes_on: bool,
    keys: &mut ColumnKeys,
) -> Skeleton {
    let mut literals = Vec::with_capacity(slots.len() + 1);
    let mut at = unit.0;
    for slot in slots {
        literals.push((at, slot.start));
        at = slot.end;
    }
    literals.push((at, unit.1));
    let kinds: Vec<u8> = slots.iter().map(|s| s.kind).collect();
    let gaps = literals.iter().zip(&kinds);
    let columns =
        keys.of_skeleton(gaps.map(|(&(s, e), &kind)| (&text[s as usize..e as usize], kind)));
    Skeleton {
        literals,
        kinds,
        columns,
        goes_on,
    }
}
