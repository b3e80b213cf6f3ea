//! Columns coded under what is known of their lines: the archive's form of codes and integers.
//!
//! The contexts of a row are its place (which slot of which skeleton), the rows before it in the
//! column, and the symbols of up to two columns that were coded before, in the same unit. Codes are
//! coded as such, or (many distinct values that recur soon) by how many others were seen since:
//! *recency*. Integers are coded as differences to the row before, or to the last row of the same
//! place, or by their highest bits.
//!
//! One function serves both directions, so that writer and reader cannot differ.

use super::classes::mix;
use super::table::Span;
use crate::encoding::DecodeContext;
use crate::encoding::entropy::symbols::{self, BitCoder, MAX_CONTEXTS, Symbols, Weights, hashed};
use crate::error::{Error, Result};

/// Columns with fewer rows stay in byte planes: they share a stream, and its repetitions.
pub const FEWEST_ROWS: usize = 192;
/// Columns that are looked at as contexts: the first of the table, and the last before the column.
const FIRST: usize = 4;
const LAST: usize = 6;
/// Rows on which they are compared.
const TRIED_ROWS: usize = 2048;
/// What a column must save of the bits to be a context.
const GAIN: f64 = 0.03;
/// Recency is an alternative from so many distinct values on.
pub const MANY: usize = 48;
/// Ranks that are symbols of their own; the others fall into buckets.
const RANKS: u32 = 24;

/// Symbols of a column that was coded, for those that follow.
#[derive(Debug)]
struct Coded {
    column: u32,
    units: Vec<u32>,
    symbols: Vec<u32>,
}

/// What is known of a table while its columns are coded.
#[derive(Debug, Default)]
pub struct Frame {
    /// Unit and place of each row of each column.
    rows: Vec<Vec<Span>>,
    coded: Vec<Coded>,
}

/// A column that is about to be coded.
#[derive(Debug, Default, Clone)]
pub struct Leaf {
    /// Unit and place of each row.
    rows: Vec<Span>,
    /// Symbol of each context column in the same unit; zero if it has none.
    aligned: Vec<Vec<u32>>,
    /// Which columns those are.
    pub columns: Vec<u32>,
}

impl Frame {
    /// The frame of a table: skeleton of each unit, and columns of each skeleton's slots.
    pub fn new<'s>(ids: &[u32], columns: usize, of: impl Fn(usize) -> &'s [u32]) -> Self {
        let mut first = Vec::new();
        let mut places = 0u32;
        let last = ids.iter().max().map_or(0, |&i| i as usize + 1);
        for skeleton in 0..last {
            first.push(places);
            places += of(skeleton).len() as u32 + 1;
        }
        let mut rows = vec![Vec::new(); columns];
        for (unit, &id) in ids.iter().enumerate() {
            let first = first[id as usize];
            for (slot, &column) in of(id as usize).iter().enumerate() {
                rows[column as usize].push((unit as u32, first + slot as u32));
            }
        }
        Self {
            rows,
            coded: Vec::new(),
        }
    }

    /// The column of skeletons: a row a unit.
    pub fn units(count: usize) -> Leaf {
        Leaf {
            rows: (0..count as u32).map(|unit| (unit, 0)).collect(),
            ..Leaf::default()
        }
    }

    /// A column without contexts yet.
    pub fn leaf(&mut self, column: usize) -> Leaf {
        Leaf {
            rows: std::mem::take(&mut self.rows[column]),
            ..Leaf::default()
        }
    }

    /// Adds contexts that a reader was told.
    pub fn with(&self, leaf: &mut Leaf, columns: Vec<u32>) -> Result<()> {
        for &column in &columns {
            let coded = self.coded.iter().find(|c| c.column == column);
            let coded = coded.ok_or_else(|| Error::corrupt("a context that is not a column"))?;
            leaf.aligned.push(coded.along(&leaf.rows));
        }
        leaf.columns = columns;
        Ok(())
    }

    /// Chooses contexts for symbols, at most two.
    pub fn choose(&self, leaf: &mut Leaf, symbols: &[u32]) {
        leaf.aligned.clear();
        leaf.columns.clear();
        let count = self.coded.len();
        let candidates: Vec<usize> = (0..count)
            .filter(|&i| i < FIRST || i + LAST >= count)
            .collect();
        let tried = symbols.len().min(TRIED_ROWS);
        let (rows, symbols) = (&leaf.rows[..tried], &symbols[..tried]);
        let own: Vec<u64> = rows.iter().map(|r| u64::from(r.1)).collect();
        let mut contexts = own;
        let mut bits = cost(&contexts, symbols);
        let aligned: Vec<Vec<u32>> = candidates
            .iter()
            .map(|&i| self.coded[i].along(rows))
            .collect();
        let mut chosen: Vec<usize> = Vec::new();
        for _ in 0..2 {
            let mut best: Option<(f64, usize, Vec<u64>)> = None;
            for (at, values) in aligned.iter().enumerate() {
                if chosen.contains(&at) || values.iter().all(|&v| v == 0) {
                    continue;
                }
                let joined: Vec<u64> = contexts
                    .iter()
                    .zip(values)
                    .map(|(&c, &v)| mix(c, u64::from(v)))
                    .collect();
                let bits = cost(&joined, symbols);
                if best.as_ref().is_none_or(|b| bits < b.0) {
                    best = Some((bits, at, joined));
                }
            }
            match best {
                Some((with, at, joined)) if with < bits * (1.0 - GAIN) - 16.0 => {
                    bits = with;
                    contexts = joined;
                    chosen.push(at);
                }
                _ => break,
            }
        }
        for at in chosen {
            let coded = &self.coded[candidates[at]];
            leaf.columns.push(coded.column);
            leaf.aligned.push(coded.along(&leaf.rows));
        }
    }

    /// Keeps a column's symbols as a context of later ones.
    ///
    /// Takes no more room than the rows that the frame made for the column.
    pub fn keep(&mut self, column: u32, leaf: &Leaf, symbols: Vec<u32>) {
        self.coded.push(Coded {
            column,
            units: leaf.rows.iter().map(|r| r.0).collect(),
            symbols,
        });
    }
}

impl Coded {
    /// Its symbol, plus one, in the unit of each row; zero if it has none there.
    fn along(&self, rows: &[Span]) -> Vec<u32> {
        let mut at = 0;
        rows.iter()
            .map(|&(unit, _)| {
                while self.units.get(at).is_some_and(|&u| u < unit) {
                    at += 1;
                }
                match self.units.get(at) {
                    Some(&u) if u == unit => self.symbols[at].wrapping_add(1),
                    _ => 0,
                }
            })
            .collect()
    }
}

/// Bits that an adaptive code of the symbols takes in these contexts.
fn cost(contexts: &[u64], symbols: &[u32]) -> f64 {
    let mut seen: super::keys::HashedMap<(u32, u32)> = Default::default();
    let mut bits = 0.0;
    let distinct = symbols.iter().max().map_or(1.0, |&m| f64::from(m) + 1.0);
    for (&context, &symbol) in contexts.iter().zip(symbols) {
        let context = mix(context, 1);
        let total = seen.entry(context).or_default();
        total.0 += 1;
        let (rows, kinds) = (f64::from(total.0), f64::from(total.1));
        let own = seen.entry(mix(context, u64::from(symbol) + 2)).or_default();
        own.0 += 1;
        // A symbol that is new here escapes, more cheaply the more were new before.
        bits += match own.0 {
            1 => ((rows + kinds) / (kinds + 0.5)).log2() + distinct.log2() * 0.7,
            n => ((rows + kinds) / (f64::from(n) - 1.0)).log2(),
        };
        if own.0 == 1
            && let Some(total) = seen.get_mut(&context)
        {
            total.1 += 1;
        }
    }
    bits
}

impl Leaf {
    /// Leaves out all contexts of other columns.
    pub fn alone(&mut self) {
        self.aligned.clear();
        self.columns.clear();
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn contexts(&self) -> usize {
        4 + [0, 2, 3][self.aligned.len().min(2)]
    }

    /// Hashes of the contexts of a row, after the last two symbols.
    #[inline]
    fn hashes(&self, row: usize, last: u32, before: u32) -> [u32; MAX_CONTEXTS] {
        let place = u64::from(self.rows[row].1);
        let last = u64::from(last);
        let mut hashes = [0; MAX_CONTEXTS];
        hashes[1] = hashed(place);
        hashes[2] = hashed(last << 8 | 2);
        hashes[3] = hashed(mix(last, u64::from(before)));
        if let Some(first) = self.aligned.first() {
            let first = u64::from(first[row]);
            hashes[4] = hashed(mix(first, place));
            hashes[5] = hashed(mix(first + (7 << 32), last));
            if let Some(second) = self.aligned.get(1) {
                hashes[6] = hashed(mix(mix(first, place), u64::from(second[row]) + 9));
            }
        }
        hashes
    }

    /// Bytes that decoding takes for a while, beside the values.
    pub fn room(&self) -> u64 {
        let row = 4 * self.aligned.len() + 24;
        (self.len() * row) as u64 + symbols::memory(self.len(), self.contexts())
    }

    /// Codes of values in order of first use, below `below`.
    pub fn codes(
        &self,
        coder: &mut impl BitCoder,
        weights: &mut Weights,
        below: u32,
        recency: bool,
        given: Option<&[u32]>,
    ) -> Option<Vec<u32>> {
        let limit = match recency {
            true => bucket_of(self.len().max(below as usize) as u32).0 + 2,
            false => below.checked_add(1)?,
        };
        let mut model = Symbols::new(self.len(), limit, self.contexts());
        let mut order = Recency::new(if recency { self.len() } else { 0 });
        let mut codes = Vec::with_capacity(self.len());
        let (mut last, mut before, mut known) = (0, 0, 0u32);
        for row in 0..self.len() {
            let hashes = self.hashes(row, last, before);
            let code = given.map_or(0, |g| g[row]);
            let code = match model.guess(coder, weights, &hashes, code) {
                Some(code) => code,
                None if recency => {
                    let rank = match given.is_some() && code < known {
                        true => order.rank(code)? + 1,
                        false => 0,
                    };
                    let (symbol, bits) = bucket_of(rank);
                    let symbol = model.bits(coder, weights, &hashes, symbol);
                    let bits = match given {
                        Some(_) => bits,
                        None => bits_of(symbol),
                    };
                    let rest = coder.raw(u64::from(rank) & ((1 << bits) - 1), bits);
                    match rank_of(symbol, rest as u32)? {
                        0 => known,
                        rank => order.code(rank - 1)?,
                    }
                }
                None => {
                    let symbol = if code == known { 0 } else { code + 1 };
                    match model.bits(coder, weights, &hashes, symbol) {
                        0 => known,
                        symbol => symbol - 1,
                    }
                }
            };
            if code > known || code >= below {
                return None;
            }
            known += u32::from(code == known);
            model.learn(&hashes, code);
            if recency {
                order.touch(code);
            }
            before = last;
            last = code + 1;
            codes.push(code);
        }
        Some(codes)
    }

    /// Integers in a form; gives them and their symbols.
    pub fn integers(
        &self,
        coder: &mut impl BitCoder,
        weights: &mut Weights,
        form: Form,
        given: Option<&[i64]>,
    ) -> (Vec<i64>, Vec<u32>) {
        let mut model = Symbols::new(self.len(), 280, self.contexts());
        let mut values = Vec::with_capacity(self.len());
        let mut all = Vec::with_capacity(self.len());
        let (mut last, mut before, mut previous) = (0, 0, 0i64);
        let mut at_place: super::keys::HashedMap<i64> = Default::default();
        for row in 0..self.len() {
            let hashes = self.hashes(row, last, before);
            let base = match form {
                Form::Top { least, .. } => least,
                Form::Previous => previous,
                Form::SamePlace => {
                    let place = mix(3, u64::from(self.rows[row].1));
                    at_place.get(&place).copied().unwrap_or(previous)
                }
            };
            let value = given.map_or(0, |g| g[row]);
            let difference = value.wrapping_sub(base);
            let (symbol, rest, bits) = match form {
                Form::Top { shift, .. } => {
                    let above = difference as u64;
                    ((above >> shift) as u32, above & ((1 << shift) - 1), shift)
                }
                _ => {
                    let zigzag = super::streams::zigzag(difference);
                    let (symbol, bits) = super::streams::bucket(zigzag);
                    (symbol as u32, zigzag & ((1 << bits) - 1), bits)
                }
            };
            let symbol = model.code(coder, weights, &hashes, symbol);
            let bits = match (given, form) {
                (None, Form::Top { shift, .. }) => shift,
                (None, _) => super::streams::bucket_bits(symbol as usize),
                _ => bits,
            };
            let rest = coder.raw(rest, bits);
            let difference = match form {
                Form::Top { shift, .. } => ((u64::from(symbol) << shift) | rest) as i64,
                _ => super::streams::unzigzag(super::streams::unbucket(symbol as usize, rest)),
            };
            let value = base.wrapping_add(difference);
            if form == Form::SamePlace {
                at_place.insert(mix(3, u64::from(self.rows[row].1)), value);
            }
            previous = value;
            before = last;
            last = symbol + 1;
            values.push(value);
            all.push(symbol);
        }
        (values, all)
    }

    /// [`Leaf::codes`] for a reader.
    pub fn read_codes(
        &self,
        coder: &mut impl BitCoder,
        weights: &mut Weights,
        below: usize,
        recency: bool,
        context: &DecodeContext<'_>,
    ) -> Result<Vec<u32>> {
        context.reserve_rows(self.len(), 4)?;
        let below = u32::try_from(below).map_err(|_| Error::corrupt("too many log codes"))?;
        let codes = self.codes(coder, weights, below, recency, None);
        codes.ok_or_else(|| Error::corrupt("a code beyond the values of a log column"))
    }

    /// [`Leaf::integers`] for a reader.
    pub fn read_integers(
        &self,
        coder: &mut impl BitCoder,
        weights: &mut Weights,
        form: Form,
        context: &DecodeContext<'_>,
    ) -> Result<(Vec<i64>, Vec<u32>)> {
        context.reserve_rows(self.len(), 8)?;
        Ok(self.integers(coder, weights, form, None))
    }
}

/// How integers become symbols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Differences to the row before.
    Previous,
    /// Differences to the last row of the same place.
    SamePlace,
    /// What is above the least, its highest bits as symbol.
    Top {
        /// The least of all.
        least: i64,
        /// Bits below the symbol.
        shift: u32,
    },
}

/// Symbol of a rank, and how many of its lowest bits follow.
fn bucket_of(rank: u32) -> (u32, u32) {
    if rank < RANKS {
        return (rank, 0);
    }
    let log = rank.ilog2();
    let bits = log - 2;
    (RANKS + (log - 4) * 4 + (rank >> bits & 3), bits)
}

fn bits_of(symbol: u32) -> u32 {
    match symbol.checked_sub(RANKS) {
        Some(above) => (above / 4 + 2).min(29),
        None => 0,
    }
}

fn rank_of(symbol: u32, rest: u32) -> Option<u32> {
    match symbol.checked_sub(RANKS) {
        Some(above) if above / 4 > 27 => None,
        Some(above) => Some((4 | (above & 3)) << (above / 4 + 2) | rest),
        None => Some(symbol),
    }
}

/// Codes by how recently they came: a counting tree over the rows that were the last of their code.
#[derive(Debug)]
struct Recency {
    tree: Vec<u32>,
    codes: Vec<u32>,
    last: Vec<u32>,
    now: u32,
    distinct: u32,
}

impl Recency {
    fn new(rows: usize) -> Self {
        Self {
            tree: vec![0; rows + 1],
            codes: Vec::with_capacity(rows),
            last: Vec::new(),
            now: 0,
            distinct: 0,
        }
    }

    fn add(&mut self, row: u32, step: i32) {
        let mut at = row as usize + 1;
        while at < self.tree.len() {
            self.tree[at] = self.tree[at].wrapping_add_signed(step);
            at += at & at.wrapping_neg();
        }
    }

    /// How many codes came since this one did.
    fn rank(&self, code: u32) -> Option<u32> {
        let row = *self.last.get(code as usize)?;
        let (mut at, mut older) = (row as usize + 1, 0);
        while at > 0 {
            older += self.tree[at];
            at -= at & at.wrapping_neg();
        }
        self.distinct.checked_sub(older)
    }

    /// The code of a rank.
    fn code(&self, rank: u32) -> Option<u32> {
        let mut left = self.distinct.checked_sub(rank + 1)?;
        let mut at = 0;
        let mut step = (self.tree.len() - 1).checked_ilog2().map_or(0, |l| 1 << l);
        while step > 0 {
            if at + step < self.tree.len() && self.tree[at + step] <= left {
                at += step;
                left -= self.tree[at];
            }
            step /= 2;
        }
        self.codes.get(at).copied()
    }

    /// A code comes.
    fn touch(&mut self, code: u32) {
        match self.last.get_mut(code as usize) {
            Some(last) => {
                let row = std::mem::replace(last, self.now);
                self.add(row, -1);
            }
            None => {
                self.last.push(self.now);
                self.distinct += 1;
            }
        }
        self.add(self.now, 1);
        self.codes.push(code);
        self.now += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::entropy::symbols::{Decoder, Encoder};

    fn leaf(rows: u32) -> Leaf {
        Leaf {
            rows: (0..rows).map(|r| (r, r % 3)).collect(),
            aligned: vec![(0..rows).map(|r| r % 11).collect()],
            columns: vec![0],
        }
    }

    #[test]
    fn codes_come_back_in_both_forms() {
        let leaf = leaf(3000);
        let mut known = 0;
        let codes: Vec<u32> = (0..3000u32)
            .map(|i| {
                let code = match i % 7 {
                    0 => known,
                    _ => known - 1 - i.wrapping_mul(2_654_435_761) % known.min(1 + i % 60),
                };
                known += u32::from(code == known);
                code
            })
            .collect();
        for recency in [false, true] {
            let mut encoder = Encoder::default();
            let mut weights = Weights::default();
            leaf.codes(&mut encoder, &mut weights, known, recency, Some(&codes))
                .unwrap();
            let bytes = encoder.finish();
            let mut weights = Weights::default();
            let mut decoder = Decoder::new(&bytes);
            let again = leaf.codes(&mut decoder, &mut weights, known, recency, None);
            assert_eq!(again.unwrap(), codes, "{recency}");
        }
    }

    #[test]
    fn integers_come_back_in_all_forms() {
        let leaf = leaf(2000);
        let small: Vec<i64> = (0..2000).map(|i| 5000 + i * 3 + i % 17 * 1000).collect();
        let mut wild = small.clone();
        wild[7] = i64::MIN;
        wild[8] = i64::MAX;
        let top = Form::Top {
            least: 5000,
            shift: 7,
        };
        for (form, values) in [
            (Form::Previous, &wild),
            (Form::SamePlace, &wild),
            (top, &small),
        ] {
            let mut encoder = Encoder::default();
            let mut weights = Weights::default();
            leaf.integers(&mut encoder, &mut weights, form, Some(values));
            let bytes = encoder.finish();
            let mut weights = Weights::default();
            let mut decoder = Decoder::new(&bytes);
            let (again, _) = leaf.integers(&mut decoder, &mut weights, form, None);
            assert_eq!(again, *values, "{form:?}");
        }
    }
}
