//! Which columns share so many values that one dictionary and one order of rows serve both.

use std::collections::{BTreeMap, HashSet};
use std::hash::BuildHasherDefault;

use super::classes::hash;
use super::keys::{HashedMap, Identity};
use super::scan::{NUMBER, TIME};
use super::table::Column;

/// Fewest rows and distinct values of a column that is worth it.
const ROWS: usize = 64;
const DISTINCT: usize = 24;
/// Columns with more distinct values are compared on an eighth of them.
const MANY: usize = 4096;
/// Values in more columns than this say nothing.
const COMMON: usize = 40;
/// Share of the smaller column's values that must occur in the other.
const SHARED: f64 = 0.3;
/// Numbers of fewer digits in the mean agree by chance.
const DIGITS: f64 = 4.5;

/// Columns to merge: which, into which earlier one that stays.
pub fn pairs(text: &[u8], columns: &[Column]) -> Vec<(u32, u32)> {
    let mut distinct: BTreeMap<u32, usize> = BTreeMap::new();
    let mut holders: HashedMap<Vec<u32>> = HashedMap::default();
    for (index, column) in columns.iter().enumerate() {
        let rows = column.spans.len();
        let bytes: usize = column.spans.iter().map(|(s, e)| (e - s) as usize).sum();
        let short = column.kind == NUMBER && (bytes as f64) < DIGITS * rows as f64;
        if column.kind >= TIME || rows < ROWS || short {
            continue;
        }
        let mut values: HashSet<u64, BuildHasherDefault<Identity>> = HashSet::default();
        let mut last: &[u8] = b"";
        for &(start, end) in &column.spans {
            let value = &text[start as usize..end as usize];
            if value != last {
                values.insert(hash(value).wrapping_add(u64::from(column.kind)));
                last = value;
            }
        }
        if values.len() < DISTINCT {
            continue;
        }
        distinct.insert(index as u32, values.len());
        let sampled = values.len() >= MANY;
        for value in values {
            if !sampled || value & 7 == 0 {
                holders.entry(value).or_default().push(index as u32);
            }
        }
    }
    let mut overlap: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    for holders in holders.values().filter(|h| h.len() < COMMON) {
        for (i, &a) in holders.iter().enumerate() {
            for &b in &holders[i + 1..] {
                *overlap.entry((a, b)).or_default() += 1;
            }
        }
    }
    let mut into: Vec<u32> = (0..columns.len() as u32).collect();
    for (&(a, b), &count) in &overlap {
        let (of_a, of_b) = (distinct[&a], distinct[&b]);
        let factor = match of_a >= MANY || of_b >= MANY {
            true => 8.0,
            false => 1.0,
        };
        let same = columns[a as usize].kind == columns[b as usize].kind;
        if same && count as f64 * factor >= SHARED * of_a.min(of_b) as f64 {
            let (a, b) = (root(&into, a), root(&into, b));
            into[a.max(b) as usize] = a.min(b);
        }
    }
    (0..columns.len() as u32)
        .map(|c| (c, root(&into, c)))
        .filter(|(c, root)| c != root)
        .collect()
}

fn root(into: &[u32], mut column: u32) -> u32 {
    while into[column as usize] != column {
        column = into[column as usize];
    }
    column
}
