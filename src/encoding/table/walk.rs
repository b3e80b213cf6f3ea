//! The loop that decodes symbols: one to three loads to the table, then one rANS step a row.
//!
//! It is compiled once for each number and kind of variables, so that a row has no decisions to
//! take about them. If no variable depends on the column's own symbols, the tables of all rows are
//! looked up first and the four states run side by side.

use std::ops::Range;

use super::model::{ContextModel, Lookup};
use super::rows::{DENSE_MEMORY, Dense, changed, coarse, dense};
use super::spec::{MAX_VARIABLES, Variable};
use crate::encoding::entropy::rans::{Decoder, LANES};
use crate::error::{Error, Result};

const NONE: u8 = 0;
const STATIC: u8 = 1;
const PREVIOUS: u8 = 2;
const LAST: u8 = 3;

/// Rows that are looked up and decoded together: what is kept on the way stays in the cache.
pub const BLOCK: usize = 2048;

/// Bytes a row that a [`Walk`] may allocate.
pub fn row_memory(model: &ContextModel) -> usize {
    let of = |v: &Variable| match v {
        Variable::Last(_) => DENSE_MEMORY,
        _ => 0,
    };
    model.spec.variables.iter().map(of).sum()
}

/// The ids of a variable that depends on parents alone, in some rows; nothing for the others.
pub fn ids(
    variable: Variable,
    lookup: &Lookup,
    parents: &[&[i64]],
    rows: Range<usize>,
    out: &mut Vec<u32>,
) {
    out.clear();
    match (variable, lookup) {
        (Variable::Exact(p), Lookup::Keys(keys)) => {
            out.extend(parents[p][rows].iter().map(|&v| keys.id(v)));
        }
        (Variable::Coarse(p), Lookup::Boundaries(b)) => {
            out.extend(parents[p][rows].iter().map(|&v| coarse(v, b)));
        }
        (Variable::Changed(p), _) => changed(parents[p], rows, out),
        _ => {}
    }
}

/// The numbers of the parent's values that the `last` variable goes by, if there is one.
pub fn last_keys(model: &ContextModel, parents: &[&[i64]]) -> Option<Dense> {
    model.spec.variables.iter().find_map(|v| match v {
        Variable::Last(p) => Some(dense(parents[*p])),
        _ => None,
    })
}

/// Decodes the symbols of a chunk, block by block.
pub struct Walk<'a> {
    model: &'a ContextModel,
    parents: &'a [&'a [i64]],
    decoder: Decoder<'a>,
    kinds: [u8; MAX_VARIABLES],
    /// Ids of the variables in the block's rows.
    ids: [Vec<u32>; MAX_VARIABLES],
    /// Tables of the block's rows, and masks on the way to them.
    tables: Vec<u32>,
    masks: Vec<u32>,
    /// The row's key, and the last symbol at each key plus one.
    keys: Vec<u32>,
    last: Vec<u32>,
    /// The symbol of the row before plus one.
    previous: u32,
}

impl<'a> Walk<'a> {
    /// Before the first row. Parents must have as many rows as will be asked for.
    pub fn new(
        model: &'a ContextModel,
        parents: &'a [&'a [i64]],
        stream: &'a [u8],
    ) -> Result<Self> {
        let mut kinds = [NONE; MAX_VARIABLES];
        for (kind, variable) in kinds.iter_mut().zip(&model.spec.variables) {
            *kind = match variable {
                Variable::Previous => PREVIOUS,
                Variable::Last(_) => LAST,
                _ => STATIC,
            };
        }
        let (keys, count) = match last_keys(model, parents) {
            Some(dense) => (dense.ids, dense.count),
            None => (Vec::new(), 0),
        };
        Ok(Self {
            model,
            parents,
            decoder: Decoder::new(stream)?,
            kinds,
            ids: Default::default(),
            tables: Vec::new(),
            masks: Vec::new(),
            keys,
            last: vec![0; count],
            previous: 0,
        })
    }

    /// The symbols of the next rows, which start a multiple of [`BLOCK`] after the first.
    pub fn block(&mut self, rows: Range<usize>, out: &mut [u32]) -> Result<()> {
        let model = self.model;
        let variables = model.spec.variables.iter().zip(&model.lookups);
        for ((variable, lookup), out) in variables.zip(&mut self.ids) {
            ids(*variable, lookup, self.parents, rows.clone(), out);
        }
        if self.kinds.iter().all(|&k| k <= STATIC) {
            self.look_up(rows.len());
            if self.decoder.is_silent() {
                for (out, &table) in out.iter_mut().zip(&self.tables) {
                    let certain = model.tables.certain(table);
                    *out = certain.ok_or_else(|| Error::corrupt("symbols without a stream"))?;
                }
                return Ok(());
            }
            let (fours, rest) = out.as_chunks_mut::<LANES>();
            let (tables, last) = self.tables.as_chunks::<LANES>();
            for (four, tables) in fours.iter_mut().zip(tables) {
                for (lane, (out, &table)) in four.iter_mut().zip(tables).enumerate() {
                    *out = self.decoder.symbol(lane, &model.tables, table);
                }
            }
            for (lane, (out, &table)) in rest.iter_mut().zip(last).enumerate() {
                *out = self.decoder.symbol(lane, &model.tables, table);
            }
            return Ok(());
        }
        macro_rules! kinds {
            ($($a:ident $b:ident $c:ident),* $(,)?) => {
                match self.kinds {
                    $([$a, $b, $c] => self.run::<$a, $b, $c>(rows, out),)*
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
        Ok(())
    }

    /// Fails unless the stream was used up.
    pub fn finish(self) -> Result<()> {
        self.decoder.finish()
    }

    /// The table of each row of a block, if all variables depend on parents alone.
    fn look_up(&mut self, rows: usize) {
        self.tables.clear();
        self.masks.clear();
        let mut levels = self.model.levels.iter().zip(&self.ids);
        let Some((level, ids)) = levels.next() else {
            self.tables.resize(rows, 0);
            return;
        };
        for &id in ids {
            let slot = level[id as usize];
            self.tables.push(slot.next);
            self.masks.push(slot.mask);
        }
        for (level, ids) in levels {
            let places = self.tables.iter_mut().zip(&mut self.masks);
            for ((place, mask), &id) in places.zip(ids) {
                let slot = level[(*place + (id & *mask)) as usize];
                (*place, *mask) = (slot.next, slot.mask);
            }
        }
    }

    fn run<const A: u8, const B: u8, const C: u8>(&mut self, rows: Range<usize>, out: &mut [u32]) {
        let count = rows.len();
        let levels = &self.model.levels;
        let level = |i: usize| levels.get(i).map_or(&[][..], |l| l.as_slice());
        let (first, second, third) = (level(0), level(1), level(2));
        let [a, b, c] = &self.ids;
        let a = if A == STATIC { &a[..count] } else { &[] };
        let b = if B == STATIC { &b[..count] } else { &[] };
        let c = if C == STATIC { &c[..count] } else { &[] };
        let has_last = A == LAST || B == LAST || C == LAST;
        let keys = if has_last { &self.keys[rows] } else { &[] };
        let (decoder, last) = (&mut self.decoder, &mut self.last);
        let mut previous = self.previous;
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
        self.previous = previous;
    }
}
