//! The columns of a section, and a column's model fitted to them.

use std::cell::OnceCell;

use super::model::{ContextModel, Stored, ids};
use super::plan::Input;
use super::rows::{Predictor, changed, coarse, dense};
use super::spec::{
    BUCKETS, COARSE, Form, MAX_SYMBOLS, Prediction, Spec, Variable, bucket, is_exception,
};
use super::tree::{Context, Tree, grow};

/// The columns of a section. The hidden class, if there is one, is the last of them.
#[derive(Debug)]
pub struct Section<'a> {
    columns: Vec<Input<'a>>,
    profiles: Vec<OnceCell<Profile>>,
    chunk: usize,
}

/// Distinct values of a column.
#[derive(Debug)]
pub struct Profile {
    /// Distinct values, ascending.
    pub distinct: Vec<i64>,
    /// How often each occurs.
    pub counts: Vec<u32>,
    /// Place of each row's value among the distinct ones.
    pub codes: Vec<u32>,
    /// Number of distinct exceptions; they come first.
    pub exceptions: usize,
    /// Boundaries of the quantile buckets; empty for columns that are not numeric or have few
    /// values.
    pub boundaries: Vec<i64>,
    /// Divides the differences of all regular values.
    pub step: u64,
}

impl Profile {
    fn new(input: &Input<'_>) -> Self {
        let dense = dense(input.values);
        let mut counts = vec![0u32; dense.count];
        let mut values = vec![0i64; dense.count];
        for (&id, &v) in dense.ids.iter().zip(input.values) {
            counts[id as usize] += 1;
            values[id as usize] = v;
        }
        let mut order: Vec<u32> = (0..dense.count as u32)
            .filter(|&id| counts[id as usize] > 0)
            .collect();
        order.sort_unstable_by_key(|&id| values[id as usize]);
        let mut rank = vec![0u32; dense.count];
        for (r, &id) in order.iter().enumerate() {
            rank[id as usize] = r as u32;
        }
        let distinct: Vec<i64> = order.iter().map(|&id| values[id as usize]).collect();
        let exceptions = distinct.partition_point(|&v| is_exception(v));
        let counts: Vec<u32> = order.iter().map(|&id| counts[id as usize]).collect();
        let boundaries = match input.numeric && distinct.len() - exceptions > COARSE {
            true => quantiles(&distinct[exceptions..], &counts[exceptions..]),
            false => Vec::new(),
        };
        let step = super::lz::step(&distinct[exceptions..]);
        Self {
            codes: dense.ids.iter().map(|&id| rank[id as usize]).collect(),
            distinct,
            counts,
            exceptions,
            boundaries,
            step,
        }
    }

    /// Number of distinct values.
    pub fn len(&self) -> usize {
        self.distinct.len()
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.distinct.is_empty()
    }

    /// Least regular value.
    pub fn least(&self) -> i64 {
        self.distinct.get(self.exceptions).copied().unwrap_or(0)
    }
}

/// Boundaries between equally full buckets.
fn quantiles(distinct: &[i64], counts: &[u32]) -> Vec<i64> {
    let total: u64 = counts.iter().map(|&c| u64::from(c)).sum();
    let mut boundaries = Vec::new();
    let mut before = 0u64;
    let mut next = 1;
    for (&v, &c) in distinct.iter().zip(counts) {
        // The value at rank `total * next / COARSE` starts a bucket.
        let mut starts = false;
        while next < COARSE as u64 && before + u64::from(c) > total * next / COARSE as u64 {
            starts = true;
            next += 1;
        }
        if starts {
            boundaries.push(v);
        }
        before += u64::from(c);
    }
    boundaries
}

/// A column as symbols.
#[derive(Debug)]
pub struct Symbols {
    /// The form, its numbers set for this section.
    pub form: Form,
    /// One a row.
    pub ids: Vec<u32>,
    /// All symbols are below this.
    pub count: usize,
    /// Raw bits of all rows.
    pub raw_bits: f64,
}

/// A model fitted to a section.
#[derive(Debug)]
pub struct Fit {
    /// The model; parents still have their numbers among the inputs.
    pub stored: Stored,
    /// Bytes of the chunks, estimated.
    pub data_bytes: f64,
    /// Bytes of the model.
    pub model_bytes: usize,
}

impl Fit {
    /// All bytes.
    pub fn bytes(&self) -> f64 {
        self.data_bytes + self.model_bytes as f64
    }
}

impl<'a> Section<'a> {
    /// Of these columns and, last, the hidden class.
    pub fn new(inputs: &[Input<'a>], latent: Option<&'a [i64]>, chunk: usize) -> Self {
        let mut columns = inputs.to_vec();
        columns.extend(latent.map(|values| Input {
            values,
            numeric: false,
            scale: 0,
        }));
        Self {
            profiles: columns.iter().map(|_| OnceCell::new()).collect(),
            columns,
            chunk: chunk.max(1),
        }
    }

    /// Number of columns.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// True without columns.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, |c| c.values.len())
    }

    /// Rows of a chunk.
    pub fn chunk_rows(&self) -> usize {
        self.chunk
    }

    /// A column.
    pub fn column(&self, i: usize) -> &Input<'a> {
        &self.columns[i]
    }

    /// A column's distinct values.
    pub fn profile(&self, i: usize) -> &Profile {
        self.profiles[i].get_or_init(|| Profile::new(&self.columns[i]))
    }

    /// Calls `each` with the rows of each chunk and the slices of all columns.
    fn chunks(&self, mut each: impl FnMut(usize, &[&[i64]])) {
        let rows = self.rows();
        let mut from = 0;
        while from < rows {
            let to = (from + self.chunk).min(rows);
            let slices: Vec<&[i64]> = self.columns.iter().map(|c| &c.values[from..to]).collect();
            each(from, &slices);
            from = to;
        }
    }

    /// Differences of a column's regular values to a prediction; exceptions give `None`.
    fn differences(
        &self,
        column: usize,
        prediction: &Prediction,
        mut each: impl FnMut(usize, Option<i64>),
    ) {
        let start = self.profile(column).least();
        self.chunks(|from, slices| {
            let values = slices[column];
            let mut predictor = Predictor::new(*prediction, start, slices);
            predictor.run(0..values.len(), |row, expected| {
                let value = values[row];
                let difference = (!is_exception(value)).then(|| value.wrapping_sub(expected));
                each(from + row, difference);
                value
            });
        });
    }

    /// Bits of the residuals of a prediction, coded without context.
    pub fn residual_bits(&self, column: usize, prediction: &Prediction) -> f64 {
        let step = self.profile(column).step.max(1);
        let step = i64::try_from(step).unwrap_or(1);
        let mut counts = [0u32; BUCKETS];
        let mut raw = 0u64;
        self.differences(column, prediction, |_, difference| {
            if let Some(d) = difference {
                let d = if d % step == 0 { d / step } else { d };
                let (bucket, _, bits) = bucket(d);
                counts[bucket as usize] += 1;
                raw += u64::from(bits);
            }
        });
        entropy(&counts) + raw as f64
    }

    /// The column in a form; the form's numbers are set anew. `None` if it does not fit.
    pub fn symbols(&self, column: usize, form: &Form) -> Option<Symbols> {
        let profile = self.profile(column);
        let exceptions = profile.exceptions as u32;
        let last = profile.distinct.last().copied().unwrap_or(0);
        match *form {
            Form::Symbol => (profile.len() <= MAX_SYMBOLS).then(|| Symbols {
                form: Form::Symbol,
                ids: profile.codes.clone(),
                count: profile.len(),
                raw_bits: 0.0,
            }),
            Form::Residual { prediction, .. } => {
                let rows = self.rows();
                let mut differences = vec![0i64; rows];
                let mut step = profile.step.max(1);
                let divisor = i64::try_from(step).unwrap_or(1);
                let mut divides = true;
                self.differences(column, &prediction, |row, d| {
                    differences[row] = d.unwrap_or(0);
                    divides &= d.is_none_or(|d| d % divisor == 0);
                });
                if !divides || divisor == 1 {
                    step = 1;
                }
                let mut ids = vec![0u32; rows];
                let mut count = exceptions;
                let mut raw_bits = 0u64;
                for (row, id) in ids.iter_mut().enumerate() {
                    let code = profile.codes[row];
                    *id = match code < exceptions {
                        true => code,
                        false => {
                            let (bucket, _, bits) = bucket(differences[row] / step as i64);
                            raw_bits += u64::from(bits);
                            exceptions + bucket
                        }
                    };
                    count = count.max(*id + 1);
                }
                Some(Symbols {
                    form: Form::Residual {
                        prediction,
                        step,
                        start: profile.least(),
                    },
                    ids,
                    count: count as usize,
                    raw_bits: raw_bits as f64,
                })
            }
            Form::Top { .. } => {
                let base = profile.least();
                let step = profile.step.max(1);
                let most = last.abs_diff(base) / step;
                let shift = (64 - most.leading_zeros()).saturating_sub(8);
                let tops: Vec<u32> = profile
                    .distinct
                    .iter()
                    .enumerate()
                    .map(|(i, &v)| match i < profile.exceptions {
                        true => i as u32,
                        false => exceptions + ((v.abs_diff(base) / step) >> shift) as u32,
                    })
                    .collect();
                let regular: u32 = profile.counts[profile.exceptions..].iter().sum();
                Some(Symbols {
                    form: Form::Top { base, step, shift },
                    ids: profile.codes.iter().map(|&c| tops[c as usize]).collect(),
                    count: (exceptions + (most >> shift) as u32) as usize + 1,
                    raw_bits: f64::from(regular) * f64::from(shift),
                })
            }
        }
        .filter(|s| s.count <= MAX_SYMBOLS)
    }

    /// Ids of a variable in each row, their number, and the bits of naming one.
    pub fn variable(&self, variable: &Variable, symbols: &Symbols) -> (Vec<u32>, usize, f64) {
        let rows = self.rows();
        match *variable {
            Variable::Exact(p) => {
                let profile = self.profile(p);
                let span = match (
                    profile.distinct.get(profile.exceptions),
                    profile.distinct.last(),
                ) {
                    (Some(&a), Some(&b)) => b.abs_diff(a) as f64 + 1.0,
                    _ => 1.0,
                };
                let bits = 1.0 + (span / profile.len() as f64).log2().max(0.0);
                let ids = profile.codes.iter().map(|c| c + 1).collect();
                (ids, profile.len() + 1, bits)
            }
            Variable::Coarse(p) => {
                let profile = self.profile(p);
                let buckets: Vec<u32> = profile
                    .distinct
                    .iter()
                    .map(|&v| coarse(v, &profile.boundaries))
                    .collect();
                let ids = profile.codes.iter().map(|&c| buckets[c as usize]);
                (ids.collect(), profile.boundaries.len() + 2, 1.0)
            }
            Variable::Previous => {
                let mut ids = Vec::with_capacity(rows);
                for chunk in symbols.ids.chunks(self.chunk) {
                    ids.push(0);
                    ids.extend(chunk[..chunk.len() - 1].iter().map(|s| s + 1));
                }
                (ids, symbols.count + 1, 1.0)
            }
            Variable::Last(p) => {
                let profile = self.profile(p);
                let mut last = vec![0u32; profile.len()];
                let mut ids = Vec::with_capacity(rows);
                let keys = profile.codes.chunks(self.chunk);
                for (keys, symbols) in keys.zip(symbols.ids.chunks(self.chunk)) {
                    last.fill(0);
                    for (&key, &symbol) in keys.iter().zip(symbols) {
                        ids.push(std::mem::replace(&mut last[key as usize], symbol + 1));
                    }
                }
                (ids, symbols.count + 1, 1.0)
            }
            Variable::Changed(p) => {
                let chunks = self.columns[p].values.chunks(self.chunk);
                {
                    let mut ids = Vec::with_capacity(self.columns[p].values.len());
                    chunks.for_each(|chunk| changed(chunk, 0..chunk.len(), &mut ids));
                    (ids, 3, 1.0)
                }
            }
        }
    }

    /// Fits a model for symbols and variables. `None` if it grows beyond what readers accept.
    pub fn fit(&self, column: usize, symbols: &Symbols, variables: &[Variable]) -> Option<Fit> {
        let known: Vec<(Vec<u32>, usize, f64)> = variables
            .iter()
            .map(|v| self.variable(v, symbols))
            .collect();
        let contexts: Vec<Context<'_>> = known
            .iter()
            .map(|(ids, count, key_bits)| Context {
                ids,
                count: *count,
                key_bits: *key_bits,
            })
            .collect();
        let mut grown = grow(&symbols.ids, symbols.count, &contexts);
        let used = depth(&grown.tree);
        let profile = self.profile(column);
        let alphabet = match symbols.form {
            Form::Symbol => profile.distinct.clone(),
            _ => profile.distinct[..profile.exceptions].to_vec(),
        };
        let mut keys = Vec::new();
        for (i, variable) in variables[..used].iter().enumerate() {
            keys.push(match *variable {
                Variable::Exact(p) => {
                    let mut taken = Vec::new();
                    taken_keys(&grown.tree, i, &mut taken);
                    taken.sort_unstable();
                    taken.dedup();
                    rename_keys(&mut grown.tree, i, &taken);
                    let distinct = &self.profile(p).distinct;
                    taken.iter().map(|&k| distinct[k as usize - 1]).collect()
                }
                Variable::Coarse(p) => self.profile(p).boundaries.clone(),
                _ => Vec::new(),
            });
        }
        debug_assert!(
            keys.iter()
                .zip(variables)
                .all(|(k, v)| ids(v, k.len(), symbols.count) > 0)
        );
        let stored = Stored {
            spec: Spec {
                form: symbols.form,
                variables: variables[..used].to_vec(),
            },
            alphabet,
            symbols: symbols.count,
            keys,
            tree: grown.tree,
        };
        // Slots of parents are small numbers; those of inputs may not be.
        let parents = stored.spec.parents();
        let slot = |p: usize| parents.iter().position(|&q| q == p).unwrap_or(0);
        let bytes = Stored {
            spec: stored.spec.renumbered(slot),
            ..stored.clone()
        }
        .to_bytes()
        .ok()?;
        ContextModel::parse(&bytes).ok()?;
        Some(Fit {
            data_bytes: (grown.bits - grown.model_bits + symbols.raw_bits) / 8.0 + 12.0,
            model_bytes: bytes.len(),
            stored,
        })
    }

    /// Like [`Section::fit`], but gives up variables until a model fits.
    pub fn fit_within(
        &self,
        column: usize,
        symbols: &Symbols,
        variables: &[Variable],
    ) -> Option<Fit> {
        (0..=variables.len())
            .rev()
            .find_map(|n| self.fit(column, symbols, &variables[..n]))
    }
}

/// Bits of these counts without context.
pub fn entropy(counts: &[u32]) -> f64 {
    let total: f64 = counts.iter().map(|&c| f64::from(c)).sum();
    let one = |&c: &u32| match c {
        0 => 0.0,
        c => f64::from(c) * (total / f64::from(c)).log2(),
    };
    counts.iter().map(one).sum()
}

/// Number of variables that a tree uses.
fn depth(tree: &Tree) -> usize {
    match tree {
        Tree::Leaf { .. } => 0,
        Tree::Split { own, other } => {
            let own = own.iter().map(|(_, t)| depth(t)).max().unwrap_or(0);
            1 + own.max(other.as_ref().map_or(0, |t| depth(t)))
        }
    }
}

fn taken_keys(tree: &Tree, level: usize, taken: &mut Vec<u32>) {
    if let Tree::Split { own, other } = tree {
        for (key, child) in own {
            match level {
                0 => taken.push(*key),
                _ => taken_keys(child, level - 1, taken),
            }
        }
        if let (Some(other), 1..) = (other, level) {
            taken_keys(other, level - 1, taken);
        }
    }
}

fn rename_keys(tree: &mut Tree, level: usize, taken: &[u32]) {
    if let Tree::Split { own, other } = tree {
        for (key, child) in own {
            match level {
                0 => *key = taken.partition_point(|t| t < key) as u32 + 1,
                _ => rename_keys(child, level - 1, taken),
            }
        }
        if let (Some(other), 1..) = (other, level) {
            rename_keys(other, level - 1, taken);
        }
    }
}
