//! The loop that decodes symbols: one to three loads to the table, then one rANS step a row.
//!
//! It is compiled once for each number and kind of variables, so that a row has no decisions to
//! take about them. If no variable depends on the column's own symbols, the tables of all rows are
//! looked up first and the four states run side by side.

use super::model::ContextModel;
use super::rows::{DENSE_MEMORY, Dense, changed, coarse, dense};
use super::spec::{MAX_VARIABLES, Variable};
use crate::encoding::entropy::rans::{Decoder, LANES};
use crate::error::{Error, Result};

const NONE: u8 = 0;
const STATIC: u8 = 1;
const PREVIOUS: u8 = 2;
const LAST: u8 = 3;

/// What is known about the rows of a chunk before any of its symbols.
#[derive(Debug, Default)]
pub struct Contexts {
    /// Ids of the variables that depend on parents alone; empty for the others.
    pub fixed: Vec<Vec<u32>>,
    /// The parent whose values the `last` variable goes by.
    pub last: Option<Dense>,
}

/// Bytes a row that [`contexts`] and [`symbols`] may allocate beside the symbols.
pub fn row_memory(model: &ContextModel) -> usize {
    let of = |v: &Variable| match v {
        Variable::Previous => 0,
        Variable::Last(_) => DENSE_MEMORY,
        _ => 4,
    };
    8 + model.spec.variables.iter().map(of).sum::<usize>()
}

/// Looks up what depends on parents alone.
pub fn contexts(model: &ContextModel, parents: &[&[i64]]) -> Contexts {
    use super::model::Lookup;
    let mut out = Contexts::default();
    for (variable, lookup) in model.spec.variables.iter().zip(&model.lookups) {
        let ids = match (*variable, lookup) {
            (Variable::Exact(p), Lookup::Keys(keys)) => {
                parents[p].iter().map(|&v| keys.id(v)).collect()
            }
            (Variable::Coarse(p), Lookup::Boundaries(b)) => {
                parents[p].iter().map(|&v| coarse(v, b)).collect()
            }
            (Variable::Changed(p), _) => changed(parents[p]),
            (Variable::Last(p), _) => {
                out.last = Some(dense(parents[p]));
                Vec::new()
            }
            _ => Vec::new(),
        };
        out.fixed.push(ids);
    }
    out
}

/// Decodes the symbols of a chunk.
pub fn symbols(
    model: &ContextModel,
    contexts: &Contexts,
    stream: &[u8],
    rows: usize,
) -> Result<Vec<u32>> {
    let mut decoder = Decoder::new(stream)?;
    let mut out = vec![0u32; rows];
    let mut kinds = [NONE; MAX_VARIABLES];
    for (kind, variable) in kinds.iter_mut().zip(&model.spec.variables) {
        *kind = match variable {
            Variable::Previous => PREVIOUS,
            Variable::Last(_) => LAST,
            _ => STATIC,
        };
    }
    let walk = Walk::new(model, contexts, rows)?;
    if kinds.iter().all(|&k| k <= STATIC) {
        let tables = walk.tables(rows);
        let (fours, rest) = out.as_chunks_mut::<LANES>();
        let (tables, last) = tables.as_chunks::<LANES>();
        for (four, tables) in fours.iter_mut().zip(tables) {
            for (lane, (out, &table)) in four.iter_mut().zip(tables).enumerate() {
                *out = decoder.symbol(lane, &model.tables, table);
            }
        }
        for (lane, (out, &table)) in rest.iter_mut().zip(last).enumerate() {
            *out = decoder.symbol(lane, &model.tables, table);
        }
    } else {
        macro_rules! kinds {
            ($($a:ident $b:ident $c:ident),* $(,)?) => {
                match kinds {
                    $([$a, $b, $c] => walk.run::<$a, $b, $c>(&mut decoder, &mut out),)*
                    _ => return Err(Error::corrupt("impossible context variables")),
                }
            };
        }
        kinds!(
            PREVIOUS NONE NONE, LAST NONE NONE,
            PREVIOUS STATIC NONE, STATIC PREVIOUS NONE, LAST STATIC NONE, STATIC LAST NONE,
            PREVIOUS LAST NONE, LAST PREVIOUS NONE,
            PREVIOUS STATIC STATIC, STATIC PREVIOUS STATIC, STATIC STATIC PREVIOUS,
            LAST STATIC STATIC, STATIC LAST STATIC, STATIC STATIC LAST,
            PREVIOUS LAST STATIC, PREVIOUS STATIC LAST, STATIC PREVIOUS LAST,
            LAST PREVIOUS STATIC, LAST STATIC PREVIOUS, STATIC LAST PREVIOUS,
        );
    }
    decoder.finish()?;
    Ok(out)
}

struct Walk<'a> {
    model: &'a ContextModel,
    ids: [&'a [u32]; MAX_VARIABLES],
    keys: &'a [u32],
    /// Number of different keys.
    count: usize,
}

impl<'a> Walk<'a> {
    fn new(model: &'a ContextModel, contexts: &'a Contexts, rows: usize) -> Result<Self> {
        let mut ids: [&[u32]; MAX_VARIABLES] = [&[]; MAX_VARIABLES];
        for (to, from) in ids.iter_mut().zip(&contexts.fixed) {
            *to = from;
        }
        let (keys, count) = match &contexts.last {
            Some(d) => (d.ids.as_slice(), d.count),
            None => (&[][..], 0),
        };
        let fits = |v: &[u32]| v.is_empty() || v.len() == rows;
        match ids.iter().all(|v| fits(v)) && fits(keys) {
            true => Ok(Self {
                model,
                ids,
                keys,
                count,
            }),
            false => Err(Error::corrupt("parents of another length")),
        }
    }

    /// The table of each row, if all variables depend on parents alone.
    fn tables(&self, rows: usize) -> Vec<u32> {
        let mut places = vec![0u32; rows];
        let mut levels = self.model.levels.iter().zip(self.ids);
        if let Some((level, ids)) = levels.next() {
            let mut masks = vec![0u32; rows];
            for (row, &id) in ids.iter().enumerate() {
                let slot = level[id as usize];
                (places[row], masks[row]) = (slot.next, slot.mask);
            }
            for (level, ids) in levels {
                for (row, &id) in ids.iter().enumerate() {
                    let slot = level[(places[row] + (id & masks[row])) as usize];
                    (places[row], masks[row]) = (slot.next, slot.mask);
                }
            }
        }
        places
    }

    fn run<const A: u8, const B: u8, const C: u8>(
        &self,
        decoder: &mut Decoder<'_>,
        out: &mut [u32],
    ) {
        let rows = out.len();
        let levels = &self.model.levels;
        let level = |i: usize| levels.get(i).map_or(&[][..], |l| l.as_slice());
        let (first, second, third) = (level(0), level(1), level(2));
        let mut last = vec![0u32; self.count];
        let mut previous = 0u32;
        let [a, b, c] = self.ids;
        let a = if A == STATIC { &a[..rows] } else { a };
        let b = if B == STATIC { &b[..rows] } else { b };
        let c = if C == STATIC { &c[..rows] } else { c };
        let has_last = A == LAST || B == LAST || C == LAST;
        let keys = if has_last {
            &self.keys[..rows]
        } else {
            self.keys
        };
        let mut step = |row: usize, lane: usize, out: &mut u32| {
            let key = if has_last { keys[row] as usize } else { 0 };
            let seen = if has_last { last[key] } else { 0 };
            let id = |kind: u8, ids: &[u32]| match kind {
                STATIC => ids[row],
                PREVIOUS => previous,
                _ => seen,
            };
            let mut slot = first[id(A, a) as usize];
            if B != NONE {
                slot = second[(slot.next + (id(B, b) & slot.mask)) as usize];
            }
            if C != NONE {
                slot = third[(slot.next + (id(C, c) & slot.mask)) as usize];
            }
            let symbol = decoder.symbol(lane, &self.model.tables, slot.next);
            previous = symbol + 1;
            if has_last {
                last[key] = symbol + 1;
            }
            *out = symbol;
        };
        let mut row = 0;
        let (fours, rest) = out.as_chunks_mut::<LANES>();
        for four in fours {
            for (lane, out) in four.iter_mut().enumerate() {
                step(row + lane, lane, out);
            }
            row += LANES;
        }
        for (lane, out) in rest.iter_mut().enumerate() {
            step(row + lane, lane, out);
        }
    }
}
