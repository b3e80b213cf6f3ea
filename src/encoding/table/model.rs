//! The model of a conditioned column: how it is stored, and the flat form that the loops walk.
//!
//! Everything is one stream of the [adaptive coder](crate::encoding::entropy::adaptive), in this
//! order: the [spec](super::spec), the alphabet (distinct values of the symbol form, or the
//! exceptions of the others), the number of symbols, the keys of each `exact` variable and the
//! boundaries of each `coarse` one, the tree in pre-order.

use super::rows::Keys;
use super::spec::{BUCKETS, COARSE, Form, MAX_SYMBOLS, Spec, Variable, is_exception};
use super::tree::Tree;
use crate::encoding::entropy::adaptive::{Bit, Coder, Decoder, Encoder, Number};
use crate::encoding::entropy::rans::Tables;
use crate::error::{Error, Result};

/// Kind of the model.
pub const KIND: &str = "context.v1";

/// A model as it is trained and stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Form and variables; parents are numbered by slot.
    pub spec: Spec,
    /// Distinct values (symbol form) or exceptions (other forms), ascending.
    pub alphabet: Vec<i64>,
    /// Number of symbols.
    pub symbols: usize,
    /// For each variable, the values that its ids stand for: id `i + 1` is the `i`-th key of an
    /// `exact` variable, boundaries of a `coarse` one; empty for others.
    pub keys: Vec<Vec<i64>>,
    /// Over the variables' ids.
    pub tree: Tree,
}

/// What reading a model may allocate.
struct Budget(usize);

impl Budget {
    fn take(&mut self, bytes: usize) -> Result<()> {
        match self.0.checked_sub(bytes) {
            Some(left) => {
                self.0 = left;
                Ok(())
            }
            None => Err(Error::corrupt(
                "a context model is larger than its bytes allow",
            )),
        }
    }
}

impl Stored {
    /// The stored bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut encoder = Encoder::default();
        self.code(&mut encoder, &mut Budget(usize::MAX))?;
        Ok(encoder.finish())
    }

    fn parse(bytes: &[u8], budget: &mut Budget) -> Result<Self> {
        let nothing = Self {
            spec: Spec {
                form: Form::Symbol,
                variables: Vec::new(),
            },
            alphabet: Vec::new(),
            symbols: 0,
            keys: Vec::new(),
            tree: Tree::Leaf {
                symbols: Vec::new(),
                counts: Vec::new(),
            },
        };
        nothing.code(&mut Decoder::new(bytes), budget)
    }

    fn code(&self, coder: &mut impl Coder, budget: &mut Budget) -> Result<Self> {
        let spec = self.spec.code(coder)?;
        let mut values = Values::default();
        let alphabet = values.code(coder, &self.alphabet, 65_536 + MAX_SYMBOLS, budget)?;
        let symbols = match spec.form {
            Form::Symbol => alphabet.len(),
            _ => values.count.code(coder, self.symbols as u64) as usize,
        };
        let most = match spec.form {
            Form::Symbol => MAX_SYMBOLS,
            Form::Residual { .. } => alphabet.len() + BUCKETS,
            Form::Top { .. } => alphabet.len() + 512,
        };
        if symbols == 0 || symbols > most.min(MAX_SYMBOLS) || symbols < alphabet.len() {
            return Err(Error::corrupt("impossible alphabet in a context model"));
        }
        if spec.form != Form::Symbol && alphabet.iter().any(|&v| !is_exception(v)) {
            return Err(Error::corrupt(
                "a value among the exceptions of a context model",
            ));
        }
        let mut keys = Vec::with_capacity(spec.variables.len());
        for (i, variable) in spec.variables.iter().enumerate() {
            let given = self.keys.get(i).map_or(&[][..], |k| k.as_slice());
            let limit = match variable {
                Variable::Exact(_) => 1 << 20,
                Variable::Coarse(_) => COARSE,
                _ => 0,
            };
            keys.push(match limit {
                0 => Vec::new(),
                _ => values.code(coder, given, limit, budget)?,
            });
        }
        let cards: Vec<usize> = spec
            .variables
            .iter()
            .zip(&keys)
            .map(|(v, keys)| ids(v, keys.len(), symbols))
            .collect();
        let mut trees = TreeCoder {
            cards,
            models: TreeModels::default(),
        };
        budget.take(4 * symbols)?;
        let all: Vec<u32> = (0..symbols as u32).collect();
        let tree = trees.node(coder, Some(&self.tree), &all, 0, budget)?;
        coder.check()?;
        Ok(Self {
            spec,
            alphabet,
            symbols,
            keys,
            tree,
        })
    }
}

/// Number of ids of a variable with so many keys.
pub fn ids(variable: &Variable, keys: usize, symbols: usize) -> usize {
    match variable {
        Variable::Exact(_) => keys + 1,
        Variable::Coarse(_) => keys + 2,
        Variable::Previous | Variable::Last(_) => symbols + 1,
        Variable::Changed(_) => 3,
    }
}

/// Codes ascending lists of values.
#[derive(Default)]
struct Values {
    count: Number,
    first: Number,
    gaps: [Number; 14],
}

impl Values {
    fn code(
        &mut self,
        coder: &mut impl Coder,
        given: &[i64],
        most: usize,
        budget: &mut Budget,
    ) -> Result<Vec<i64>> {
        let count = self.count.code(coder, given.len() as u64);
        if count > most as u64 {
            return Err(Error::corrupt("too many values in a context model"));
        }
        let mut values: Vec<i64> = Vec::new();
        let mut context = 0;
        for i in 0..count as usize {
            // Exceptions come first; each of the two runs starts anew.
            let given = given.get(i).copied().unwrap_or(0);
            let fresh = match values.last() {
                None => true,
                Some(&last) => {
                    is_exception(last)
                        && self.count.code(coder, u64::from(!is_exception(given))) == 1
                }
            };
            let value = if fresh {
                let regular = self.count.code(coder, u64::from(!is_exception(given))) == 1;
                context = 0;
                match regular {
                    true => self.first.code_signed(coder, given.max(i64::MIN + 1)),
                    false => {
                        let place = given.wrapping_sub(i64::MIN) as u64;
                        i64::MIN.wrapping_add(self.first.code(coder, place) as i64)
                    }
                }
            } else {
                let last = values.last().copied().unwrap_or(0);
                let gap = given.wrapping_sub(last).wrapping_sub(1) as u64;
                let gap = self.gaps[context].code(coder, gap);
                context = (64 - gap.leading_zeros()).min(13) as usize;
                last.checked_add_unsigned(gap)
                    .and_then(|v| v.checked_add(1))
                    .ok_or_else(|| Error::corrupt("values of a context model overflow"))?
            };
            if values.last().is_some_and(|&last| last >= value) {
                return Err(Error::corrupt("values of a context model do not ascend"));
            }
            coder.check()?;
            budget.take(96)?;
            values.push(value);
        }
        Ok(values)
    }
}

#[derive(Default)]
struct TreeModels {
    leaf: [Bit; 4],
    other: [Bit; 4],
    /// By the logarithm of the support.
    degree: [Number; 16],
    support: [Number; 16],
    own: [Number; 4],
    /// By the logarithm of the mean gap.
    gap: [Number; 16],
    reach: [Number; 16],
    key: [Number; 24],
    /// By the number of symbols in the table.
    count: [Number; 16],
}

fn log(n: usize) -> usize {
    (usize::BITS - n.leading_zeros()) as usize
}

struct TreeCoder {
    /// Number of ids of each variable.
    cards: Vec<usize>,
    models: TreeModels,
}

impl TreeCoder {
    /// Codes a node whose symbols are among `support`.
    fn node(
        &mut self,
        coder: &mut impl Coder,
        given: Option<&Tree>,
        support: &[u32],
        depth: usize,
        budget: &mut Budget,
    ) -> Result<Tree> {
        coder.check()?;
        budget.take(64)?;
        let m = &mut self.models;
        let is_leaf = !matches!(given, Some(Tree::Split { .. }));
        if depth == self.cards.len() || coder.bit(&mut m.leaf[depth], is_leaf) {
            let (symbols, counts) = match given {
                Some(Tree::Leaf { symbols, counts }) => (symbols.as_slice(), counts.as_slice()),
                _ => (&[][..], &[][..]),
            };
            let of = support.len();
            let degree = m.degree[log(of).min(15)].code(coder, (symbols.len() as u64).max(1) - 1);
            let degree = degree as usize + 1;
            if degree > of {
                return Err(Error::corrupt("a table has more symbols than there are"));
            }
            budget.take(degree * 24)?;
            let symbols = subset(coder, &mut m.gap, symbols, support, degree)?;
            let context = degree.min(8) + log(degree).saturating_sub(4).min(7);
            let mut stored = Vec::with_capacity(degree);
            for i in 0..degree {
                let count = counts.get(i).copied().unwrap_or(1);
                stored.push(match degree {
                    1 => 1,
                    _ => m.count[context].code_top(coder, count),
                });
            }
            return Ok(Tree::Leaf {
                symbols,
                counts: stored,
            });
        }
        let (own, other) = match given {
            Some(Tree::Split { own, other }) => (own.as_slice(), other.as_deref()),
            _ => (&[][..], None),
        };
        // The symbols below this node.
        let mut below = Vec::new();
        if let Some(tree) = given {
            collect(tree, &mut below);
            below.sort_unstable();
            below.dedup();
        }
        let missing = (support.len() - below.len().min(support.len())) as u64;
        let missing = m.support[log(support.len()).min(15)].code(coder, missing) as usize;
        if missing >= support.len() {
            return Err(Error::corrupt("a node without symbols"));
        }
        budget.take(4 * (support.len() - missing))?;
        let below = subset(
            coder,
            &mut m.reach,
            &below,
            support,
            support.len() - missing,
        )?;
        let card = self.cards[depth];
        budget.take(8 * card)?;
        let count = m.own[depth].code(coder, own.len() as u64) as usize;
        let has_other = coder.bit(&mut m.other[depth], other.is_some());
        if count > card || (count == 0 && !has_other) {
            return Err(Error::corrupt("impossible number of children"));
        }
        let context = log(card / count.max(1)).min(23);
        let mut keys = Vec::new();
        let mut next = 0u64;
        for i in 0..count {
            let given = own.get(i).map_or(0, |&(key, _)| u64::from(key));
            let gap = match count == card {
                true => 0,
                false => m.key[context].code(coder, given.wrapping_sub(next)),
            };
            let key = next.saturating_add(gap);
            if key >= card as u64 {
                return Err(Error::corrupt("a child of no value"));
            }
            coder.check()?;
            budget.take(8)?;
            keys.push(key as u32);
            next = key + 1;
        }
        let mut children = Vec::with_capacity(keys.len());
        for (i, key) in keys.into_iter().enumerate() {
            let given = own.get(i).map(|(_, tree)| tree);
            children.push((key, self.node(coder, given, &below, depth + 1, budget)?));
        }
        let other = match has_other {
            true => Some(Box::new(self.node(
                coder,
                other,
                &below,
                depth + 1,
                budget,
            )?)),
            false => None,
        };
        Ok(Tree::Split {
            own: children,
            other,
        })
    }
}

fn collect(tree: &Tree, into: &mut Vec<u32>) {
    match tree {
        Tree::Leaf { symbols, .. } => into.extend_from_slice(symbols),
        Tree::Split { own, other } => {
            own.iter().for_each(|(_, t)| collect(t, into));
            other.iter().for_each(|t| collect(t, into));
        }
    }
}

/// Codes which `count` members of an ascending set are taken.
fn subset(
    coder: &mut impl Coder,
    models: &mut [Number; 16],
    given: &[u32],
    of: &[u32],
    count: usize,
) -> Result<Vec<u32>> {
    if count == of.len() {
        return Ok(of.to_vec());
    }
    let context = log(of.len() / count).min(15);
    let mut taken = Vec::with_capacity(count);
    let mut next = 0usize;
    let mut from = 0usize;
    for i in 0..count {
        if let Some(symbol) = given.get(i) {
            from += of[from..].partition_point(|s| s < symbol);
        }
        let gap = models[context].code(coder, from.saturating_sub(next) as u64);
        let place = next.saturating_add(usize::try_from(gap).unwrap_or(usize::MAX));
        match of.get(place) {
            Some(&symbol) => taken.push(symbol),
            None => return Err(Error::corrupt("a symbol outside its set")),
        }
        coder.check()?;
        next = place + 1;
    }
    Ok(taken)
}

/// A step down the tree: the place of the next level's first child, and a mask for the next
/// variable's id: zero if the tree ends here, so that every path has the same length.
#[derive(Debug, Clone, Copy, Default)]
pub struct Slot {
    /// Place in the next level, or the table in the last one.
    pub next: u32,
    /// All ones or zero.
    pub mask: u32,
}

/// How a variable's ids are found.
#[derive(Debug)]
pub enum Lookup {
    /// By the list of keys.
    Keys(Keys),
    /// By boundaries.
    Boundaries(Vec<i64>),
    /// They are what they are.
    Direct,
}

/// A model ready for use.
#[derive(Debug)]
pub struct ContextModel {
    /// Form and variables.
    pub spec: Spec,
    /// Distinct values or exceptions.
    pub alphabet: Vec<i64>,
    /// Number of symbols.
    pub symbols: usize,
    /// Number of parents that the spec refers to.
    pub parents: usize,
    /// One a variable.
    pub lookups: Vec<Lookup>,
    /// One a variable; without variables the one table is number 0.
    pub levels: Vec<Vec<Slot>>,
    /// All tables.
    pub tables: Tables,
}

impl ContextModel {
    /// Reads and checks a model. After this the loops need no checks: ids, slots, tables and
    /// symbols are all in range.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        // A list of consecutive values takes next to no bytes, so there is a fixed part.
        let mut budget = Budget((4 << 20) + bytes.len().saturating_mul(1024));
        let stored = Stored::parse(bytes, &mut budget)?;
        let mut model = Self {
            parents: stored
                .spec
                .parents()
                .iter()
                .map(|p| p + 1)
                .max()
                .unwrap_or(0),
            lookups: Vec::new(),
            levels: vec![Vec::new(); stored.spec.variables.len()],
            tables: Tables::default(),
            spec: stored.spec,
            alphabet: stored.alphabet,
            symbols: stored.symbols,
        };
        let mut cards = Vec::new();
        for (variable, keys) in model.spec.variables.iter().zip(stored.keys) {
            cards.push(ids(variable, keys.len(), model.symbols));
            model.lookups.push(match variable {
                Variable::Exact(_) => Lookup::Keys(Keys::new(keys)),
                Variable::Coarse(_) => Lookup::Boundaries(keys),
                _ => Lookup::Direct,
            });
        }
        if cards.is_empty() {
            model.flatten(&stored.tree, &cards, 0)?;
        } else {
            let root = model.flatten(&stored.tree, &cards, 0)?;
            // A root that is a leaf still needs a level to be found through.
            if root.mask == 0 && matches!(stored.tree, Tree::Leaf { .. }) {
                model.levels[0] = vec![root; cards[0]];
            }
        }
        Ok(model)
    }

    /// Adds a subtree; the slot says how it is reached from the level above.
    fn flatten(&mut self, tree: &Tree, cards: &[usize], depth: usize) -> Result<Slot> {
        match tree {
            Tree::Leaf { symbols, counts } => {
                let mut slot = Slot {
                    next: self.tables.push(symbols, counts)?,
                    mask: 0,
                };
                // One slot a level leads on to the table; the root's are made by the caller.
                for level in self.levels[depth.max(1).min(cards.len())..]
                    .iter_mut()
                    .rev()
                {
                    level.push(slot);
                    slot.next = level.len() as u32 - 1;
                }
                Ok(slot)
            }
            Tree::Split { own, other } => {
                let start = self.levels[depth].len();
                let end = start + cards[depth];
                self.levels[depth].resize(end, Slot::default());
                let mut fallback = None;
                if let Some(other) = other {
                    fallback = Some(self.flatten(other, cards, depth + 1)?);
                }
                let mut slots = Vec::with_capacity(own.len());
                for (key, child) in own {
                    slots.push((*key, self.flatten(child, cards, depth + 1)?));
                }
                // Without another child, unknown values go where the first known one goes.
                let fallback = fallback
                    .or(slots.first().map(|&(_, s)| s))
                    .unwrap_or_default();
                self.levels[depth][start..end].fill(fallback);
                for (key, slot) in slots {
                    self.levels[depth][start + key as usize] = slot;
                }
                Ok(Slot {
                    next: start as u32,
                    mask: u32::MAX,
                })
            }
        }
    }

    /// The table for these ids, one a variable.
    pub fn table(&self, ids: &[u32]) -> u32 {
        let mut place = 0;
        let mut mask = u32::MAX;
        for (level, id) in self.levels.iter().zip(ids) {
            let slot = level[(place + (id & mask)) as usize];
            (place, mask) = (slot.next, slot.mask);
        }
        place
    }

    /// Bytes in memory.
    pub fn memory(&self) -> usize {
        let slots: usize = self.levels.iter().map(Vec::len).sum();
        slots * size_of::<Slot>() + self.tables.memory() + 8 * self.alphabet.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(symbols: &[u32], counts: &[u32]) -> Tree {
        Tree::Leaf {
            symbols: symbols.to_vec(),
            counts: counts.to_vec(),
        }
    }

    fn stored() -> Stored {
        Stored {
            spec: Spec {
                form: Form::Symbol,
                variables: vec![Variable::Exact(1), Variable::Previous],
            },
            alphabet: vec![i64::MIN, -5, 100, 101],
            symbols: 4,
            keys: vec![vec![i64::MIN + 2, 0, 7], vec![]],
            tree: Tree::Split {
                own: vec![
                    (1, leaf(&[2], &[1])),
                    (
                        3,
                        Tree::Split {
                            own: vec![(4, leaf(&[0, 3], &[960, 3]))],
                            other: Some(Box::new(leaf(&[3], &[1]))),
                        },
                    ),
                ],
                other: Some(Box::new(leaf(&[0, 1, 2, 3], &[1, 2, 3, 15]))),
            },
        }
    }

    #[test]
    fn models_come_back() {
        let stored = stored();
        let bytes = stored.to_bytes().unwrap();
        assert_eq!(Stored::parse(&bytes, &mut Budget(1 << 20)).unwrap(), stored);
        let model = ContextModel::parse(&bytes).unwrap();
        assert_eq!(model.parents, 2);
        let only = |ids: &[u32], symbol| {
            let table = model.table(ids);
            model
                .tables
                .find(table, symbol)
                .is_some_and(|i| i.bits() == 0.0)
        };
        assert!(only(&[1, 0], 2) && only(&[1, 4], 2));
        assert!(only(&[3, 1], 3) && !only(&[3, 4], 3));
        assert_eq!(model.tables.likeliest(model.table(&[3, 4])), 0);
        assert_eq!(model.tables.likeliest(model.table(&[2, 2])), 3);
        assert_eq!(model.table(&[0, 0]), model.table(&[2, 4]));
    }

    #[test]
    fn a_root_without_splits_is_found_by_any_id() {
        let mut stored = stored();
        stored.tree = leaf(&[1], &[1]);
        let model = ContextModel::parse(&stored.to_bytes().unwrap()).unwrap();
        for ids in [[0, 0], [3, 4]] {
            assert!(model.tables.find(model.table(&ids), 1).is_some());
        }
    }

    #[test]
    fn hostile_models_give_errors_or_valid_models() {
        let bytes = stored().to_bytes().unwrap();
        let mut seed = 1u64;
        for round in 0..20_000usize {
            let mut b = bytes.clone();
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            match round % 3 {
                0 => b.truncate(round % bytes.len()),
                1 => b[(seed >> 40) as usize % bytes.len()] = (seed >> 32) as u8,
                _ => b.iter_mut().for_each(|x| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    *x = (seed >> 56) as u8;
                }),
            }
            if let Ok(model) = ContextModel::parse(&b) {
                let widest = vec![0; model.levels.len()];
                assert!((model.table(&widest) as usize) < model.tables.len());
            }
        }
    }
}
