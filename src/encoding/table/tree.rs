//! Which contexts get a probability table of their own: a tree grown by description length.
//!
//! The rows are split by the first variable, then by the second, then by the third. A value of a
//! variable gets its own child only if a table for its rows alone, stored, is cheaper than coding
//! those rows with the table of all; the rows of all other values share one child. So a parent with
//! many values, or an unrelated one, costs next to nothing.

/// A context tree.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    /// One table: symbols in ascending order, and how often each was counted (rounded, see
    /// [`rounded`]).
    Leaf {
        /// The symbols.
        symbols: Vec<u32>,
        /// Their counts.
        counts: Vec<u32>,
    },
    /// A split by the next variable.
    Split {
        /// Children of single values of the variable, by ascending value.
        own: Vec<(u32, Tree)>,
        /// The child of all other values.
        other: Option<Box<Tree>>,
    },
}

/// A tree and what it costs.
#[derive(Debug)]
pub struct Grown {
    /// The tree.
    pub tree: Tree,
    /// Estimated bits of the tree and of the rows coded with it.
    pub bits: f64,
    /// The tree's share of them.
    pub model_bits: f64,
}

/// A variable's value in each row.
#[derive(Debug)]
pub struct Context<'a> {
    /// The values, below `count`.
    pub ids: &'a [u32],
    /// Number of possible values.
    pub count: usize,
    /// Bits that naming one of the values in the model takes.
    pub key_bits: f64,
}

/// A count as it is stored: four significant bits.
pub fn rounded(count: u32) -> u32 {
    match count {
        0..16 => count,
        _ => {
            let drop = 28 - count.leading_zeros();
            count >> drop << drop
        }
    }
}

/// Most children in all, own or not, that a tree may have room for.
pub const MAX_SLOTS: usize = 1 << 20;

/// Grows the tree of a column for these contexts, coarsest split first.
pub fn grow(symbols: &[u32], alphabet: usize, contexts: &[Context<'_>]) -> Grown {
    let mut grower = Grower {
        symbols,
        contexts,
        counts: vec![0; alphabet],
        mine: vec![0; alphabet],
        logs: logs(),
        slots: MAX_SLOTS,
    };
    let mut rows: Vec<u32> = (0..symbols.len() as u32).collect();
    let mut scratch = vec![0; rows.len()];
    let (tree, bits, model_bits) = grower.node(&mut rows, &mut scratch, 0, alphabet);
    Grown {
        tree,
        bits,
        model_bits,
    }
}

/// `n log2 n` for small n.
fn logs() -> Vec<f64> {
    (0..8192u32).map(plain_log).collect()
}

fn plain_log(n: u32) -> f64 {
    match n {
        0 => 0.0,
        _ => f64::from(n) * f64::from(n).log2(),
    }
}

/// Bits of a stored table of `count` out of `support` symbols.
fn table_bits(count: usize, support: usize) -> f64 {
    let (d, s) = (count as f64, support as f64);
    match count {
        _ if support <= 1 => 0.0,
        0 | 1 => 3.0 + 0.7 * s.log2(),
        _ => 6.0 + d * (0.9 * (s / d + 0.5).log2() + 4.6),
    }
}

struct Grower<'a> {
    symbols: &'a [u32],
    contexts: &'a [Context<'a>],
    /// Zero between uses.
    counts: Vec<u32>,
    mine: Vec<u32>,
    logs: Vec<f64>,
    slots: usize,
}

impl Grower<'_> {
    fn log(&self, n: u32) -> f64 {
        match self.logs.get(n as usize) {
            Some(&l) => l,
            None => plain_log(n),
        }
    }

    /// Symbols of some rows with their counts.
    fn histogram(&mut self, rows: &[u32]) -> Vec<(u32, u32)> {
        let mut touched: Vec<u32> = Vec::new();
        for &r in rows {
            let s = self.symbols[r as usize];
            let count = &mut self.mine[s as usize];
            if *count == 0 {
                touched.push(s);
            }
            *count += 1;
        }
        touched.sort_unstable();
        let take = |s| (s, std::mem::take(&mut self.mine[s as usize]));
        touched.into_iter().map(take).collect()
    }

    /// Bits of rows coded with the table of exactly these counts.
    fn entropy(&self, histogram: &[(u32, u32)], rows: usize) -> f64 {
        if histogram.len() <= 1 {
            return 0.0;
        }
        let own: f64 = histogram.iter().map(|&(_, c)| self.log(c)).sum();
        self.log(rows as u32) - own
    }

    /// Tree of some rows, its bits in all, and those of the model.
    fn node(
        &mut self,
        rows: &mut [u32],
        scratch: &mut [u32],
        depth: usize,
        support: usize,
    ) -> (Tree, f64, f64) {
        let histogram = self.histogram(rows);
        let table = table_bits(histogram.len(), support);
        let bits = table + self.entropy(&histogram, rows.len());
        let splits = depth < self.contexts.len() && histogram.len() > 1 && rows.len() > 8;
        if splits && self.contexts[depth].count <= self.slots {
            let before = self.slots;
            self.slots -= self.contexts[depth].count;
            if let Some(split) = self.split(rows, scratch, depth, &histogram, bits) {
                return split;
            }
            self.slots = before;
        }
        let (symbols, counts) = histogram.iter().map(|&(s, c)| (s, rounded(c))).unzip();
        (Tree::Leaf { symbols, counts }, bits, table)
    }

    /// The rows split by a variable, if that is cheaper than `limit`.
    fn split(
        &mut self,
        rows: &mut [u32],
        scratch: &mut [u32],
        depth: usize,
        histogram: &[(u32, u32)],
        limit: f64,
    ) -> Option<(Tree, f64, f64)> {
        let context = &self.contexts[depth];
        let (ids, key_bits) = (context.ids, context.key_bits);
        let groups = group(rows, scratch, ids, context.count);
        if groups.len() == 1 {
            return None;
        }
        // Bits of each symbol in the table of all rows.
        let total = (rows.len() as f64).log2();
        for &(s, c) in histogram {
            self.counts[s as usize] = c;
        }
        let mut own_groups = Vec::new();
        let mut others = 0;
        for &(start, end) in &groups {
            let mine = self.histogram(&rows[start..end]);
            let shared: f64 = mine
                .iter()
                .map(|&(s, c)| {
                    let all = self.counts[s as usize];
                    f64::from(c) * (total - self.log(all) / f64::from(all))
                })
                .sum();
            let own = key_bits
                + table_bits(mine.len(), histogram.len())
                + self.entropy(&mine, end - start);
            match own < shared {
                true => own_groups.push((start, end)),
                false => others += end - start,
            }
        }
        for &(s, _) in histogram {
            self.counts[s as usize] = 0;
        }
        if own_groups.is_empty() {
            return None;
        }
        // Rows of no own child move to the end.
        let mut rest = Vec::with_capacity(others);
        let mut next = own_groups.iter().peekable();
        for &(start, end) in &groups {
            match next.peek() {
                Some(&&g) if g == (start, end) => {
                    next.next();
                }
                _ => rest.extend_from_slice(&rows[start..end]),
            }
        }
        let mut bits = groups.len() as f64;
        let mut model = bits;
        let mut own = Vec::with_capacity(own_groups.len());
        for (start, end) in own_groups {
            let key = ids[rows[start] as usize];
            let (tree, b, m) = self.node(
                &mut rows[start..end],
                &mut scratch[start..end],
                depth + 1,
                histogram.len(),
            );
            bits += b + key_bits;
            model += m + key_bits;
            own.push((key, tree));
            if bits >= limit {
                return None;
            }
        }
        let mut other = None;
        if !rest.is_empty() {
            let n = rest.len();
            let (tree, b, m) = self.node(&mut rest, &mut scratch[..n], depth + 1, histogram.len());
            bits += b;
            model += m;
            other = Some(Box::new(tree));
        }
        (bits < limit).then_some((Tree::Split { own, other }, bits, model))
    }
}

/// Sorts rows by a variable's value, keeping their order otherwise, and gives the bounds of equal
/// values, ascending.
fn group(rows: &mut [u32], scratch: &mut [u32], ids: &[u32], count: usize) -> Vec<(usize, usize)> {
    if count <= 2 * rows.len() + 64 {
        let mut ends = vec![0u32; count + 1];
        for &r in rows.iter() {
            ends[ids[r as usize] as usize + 1] += 1;
        }
        for i in 0..count {
            ends[i + 1] += ends[i];
        }
        for &r in rows.iter() {
            let place = &mut ends[ids[r as usize] as usize];
            scratch[*place as usize] = r;
            *place += 1;
        }
        rows.copy_from_slice(&scratch[..rows.len()]);
    } else {
        rows.sort_by_key(|&r| ids[r as usize]);
    }
    let mut groups = Vec::new();
    let mut start = 0;
    for chunk in rows.chunk_by(|&a, &b| ids[a as usize] == ids[b as usize]) {
        groups.push((start, start + chunk.len()));
        start += chunk.len();
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(ids: &[u32]) -> Context<'_> {
        Context {
            ids,
            count: ids.iter().max().map_or(0, |&m| m as usize + 1),
            key_bits: 1.0,
        }
    }

    #[test]
    fn a_dependency_needs_one_table_per_value() {
        let parent: Vec<u32> = (0..10_000u32)
            .map(|i| i.wrapping_mul(2_654_435_761) >> 26)
            .collect();
        let child: Vec<u32> = parent.iter().map(|p| p * 7 % 5).collect();
        let grown = grow(&child, 5, &[context(&parent)]);
        let Tree::Split { own, .. } = &grown.tree else {
            panic!("no split");
        };
        let single = |t: &Tree| matches!(t, Tree::Leaf { symbols, .. } if symbols.len() == 1);
        assert!(own.iter().all(|(_, t)| single(t)));
        assert!(grown.bits < 64.0 * 8.0);
    }

    #[test]
    fn an_unrelated_parent_is_left_out() {
        let parent: Vec<u32> = (0..10_000).collect();
        let child: Vec<u32> = (0..10_000u32)
            .map(|i| i.wrapping_mul(2_654_435_761) >> 29)
            .collect();
        let grown = grow(&child, 8, &[context(&parent)]);
        assert!(matches!(grown.tree, Tree::Leaf { .. }));
    }

    #[test]
    fn rounding_keeps_four_bits() {
        assert_eq!(
            [15, 16, 31, 33, 1000, u32::MAX].map(rounded),
            [15, 16, 30, 32, 960, 15 << 28]
        );
    }
}
