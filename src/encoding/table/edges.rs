//! Which columns could help which: gains measured on a sample, and an order without circles.

use std::collections::VecDeque;

use super::cost::{Coster, Ids, Target, sample_rows};
use super::section::Section;
use super::spec::{COARSE, Prediction, Scaled, is_exception};

/// A column that could be another's parent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Help {
    /// Its value, or (if true) its quantile bucket, selects the probability table.
    Context(bool),
    /// Its value or its change is near the other column's.
    Near,
    /// Its value times a constant is near the other column's.
    Ratio(f64),
}

#[derive(Debug, Clone, Copy)]
struct Edge {
    gain: f64,
    from: usize,
    to: usize,
    help: Help,
}

/// What could help a column, the best first. All come earlier in the order.
#[derive(Debug, Clone, Default)]
pub struct Candidates {
    /// Columns as contexts; if the flag is set, only their bucket.
    pub contexts: Vec<(usize, bool)>,
    /// Predictions from other columns.
    pub predictions: Vec<Prediction>,
    /// Numeric columns near this one.
    pub near: Vec<usize>,
}

/// Above so many columns only the likeliest pairs are measured.
const ALL_PAIRS: usize = 64;
/// Candidates of a column where not all pairs are measured.
const LIKELY: usize = 16;
/// Columns before it that a column is paired with: those that belong together mostly stand together,
/// and all pairs of very many columns are too many.
const NEIGHBOURS: usize = 2_000;
/// Rows times pairs that are looked at to find those.
const PAIR_WORK: usize = 800_000_000;
/// Rows on which numeric columns are compared.
const NUMERIC_ROWS: usize = 2000;

struct Sampled {
    rows: Vec<u32>,
    exact: Vec<Ids>,
    coarse: Vec<Option<Ids>>,
    targets: Vec<Target>,
    alone: Vec<f64>,
}

/// A column's values on some rows under small numbers.
pub fn pick(ids: &[u32], count: usize, rows: &[u32]) -> Ids {
    if count <= 256 {
        return Ids {
            ids: rows.iter().map(|&r| ids[r as usize]).collect(),
            count,
        };
    }
    let mut numbers = vec![u32::MAX; count];
    let mut next = 0;
    let picked = rows.iter().map(|&r| {
        let number = &mut numbers[ids[r as usize] as usize];
        if *number == u32::MAX {
            *number = next;
            next += 1;
        }
        *number
    });
    let ids = picked.collect();
    Ids {
        ids,
        count: next as usize,
    }
}

impl Sampled {
    fn new(section: &Section<'_>, coster: &mut Coster) -> Self {
        let n = section.len();
        let size = match n {
            0..=30 => 12_000,
            31..=60 => 8_000,
            _ => 5_000,
        };
        let rows = sample_rows(section.rows(), size, 1);
        let mut sampled = Self {
            exact: Vec::with_capacity(n),
            coarse: Vec::with_capacity(n),
            targets: Vec::with_capacity(n),
            alone: Vec::with_capacity(n),
            rows,
        };
        let none = Ids::constant(sampled.rows.len());
        for i in 0..n {
            let profile = section.profile(i);
            let exact = pick(&profile.codes, profile.len(), &sampled.rows);
            let coarse = (!profile.boundaries.is_empty()).then(|| {
                let of: Vec<u32> = profile
                    .distinct
                    .iter()
                    .map(|&v| super::rows::coarse(v, &profile.boundaries))
                    .collect();
                let ids = sampled.rows.iter();
                Ids {
                    ids: ids
                        .map(|&r| of[profile.codes[r as usize] as usize])
                        .collect(),
                    count: COARSE + 2,
                }
            });
            let target = match &coarse {
                Some(coarse) if profile.len() > 2000 => Target::new(coarse.clone()),
                _ => Target::new(exact.clone()),
            };
            sampled.alone.push(coster.bits(&none, &target));
            sampled.exact.push(exact);
            sampled.coarse.push(coarse);
            sampled.targets.push(target);
        }
        sampled
    }

    /// A column as context.
    fn context(&self, column: usize, coarse: bool) -> &Ids {
        match &self.coarse[column] {
            Some(ids) if coarse => ids,
            _ => &self.exact[column],
        }
    }

    /// Columns that share most information with each column, judged by a few rows and buckets.
    fn likely(&self) -> Vec<Vec<usize>> {
        let n = self.exact.len();
        // The work for all pairs is bounded, whatever their number.
        let size = (PAIR_WORK / (n * n)).clamp(200, 2000).min(self.rows.len());
        let buckets: usize = match size {
            0..400 => 8,
            400..1500 => 16,
            _ => 64,
        };
        let stride = (self.rows.len() / size.max(1)).max(1);
        let hashed: Vec<Vec<u16>> = (0..n)
            .map(|i| {
                let ids = self.coarse[i].as_ref().unwrap_or(&self.exact[i]);
                let small = |&v: &u32| match ids.count <= buckets {
                    true => v as u16,
                    false => (v.wrapping_mul(2_654_435_761) >> 16) as u16 % buckets as u16,
                };
                ids.ids
                    .iter()
                    .step_by(stride)
                    .take(size)
                    .map(small)
                    .collect()
            })
            .collect();
        let logs: Vec<f64> = (0..=size)
            .map(|c| c as f64 * (c.max(1) as f64).log2())
            .collect();
        let rises: Vec<f64> = logs.windows(2).map(|w| w[1] - w[0]).collect();
        let single: Vec<f64> = hashed
            .iter()
            .map(|h| {
                let mut counts = vec![0usize; buckets];
                h.iter().for_each(|&v| counts[v as usize] += 1);
                counts.iter().map(|&c| logs[c]).sum()
            })
            .collect();
        let mut best: Vec<Vec<(f64, usize)>> = vec![Vec::new(); n];
        let mut counts = vec![0u16; buckets * buckets];
        for (i, j) in (0..n).flat_map(|i| (i.saturating_sub(NEIGHBOURS)..i).map(move |j| (i, j))) {
            if self.exact[i].count <= 1 || self.exact[j].count <= 1 {
                continue;
            }
            let mut joint = 0.0;
            counts.fill(0);
            for (&a, &b) in hashed[i].iter().zip(&hashed[j]) {
                let count = &mut counts[a as usize * buckets + b as usize];
                joint += rises[*count as usize];
                *count += 1;
            }
            let shared = joint - single[i] - single[j];
            for (of, with) in [(i, j), (j, i)] {
                best[of].push((-shared, with));
                if best[of].len() >= 4 * LIKELY {
                    keep_best(&mut best[of]);
                }
            }
        }
        best.into_iter()
            .map(|mut b| {
                keep_best(&mut b);
                b.into_iter().map(|(_, i)| i).collect()
            })
            .collect()
    }
}

/// Keeps the [`LIKELY`] smallest, in order.
fn keep_best(of: &mut Vec<(f64, usize)>) {
    of.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    of.truncate(LIKELY);
}

/// About `log2(1 + |d|)`.
fn magnitude(d: i64) -> f64 {
    let bits = (d.unsigned_abs() as f64 + 1.0).to_bits();
    (bits >> 52) as f64 - 1023.0 + (bits & ((1 << 52) - 1)) as f64 / (1u64 << 52) as f64
}

/// The order in which columns are decoded, and each column's candidates. The column `first` gets
/// no parents and comes before all others.
pub fn find(section: &Section<'_>, first: Option<usize>) -> (Vec<usize>, Vec<Candidates>) {
    let n = section.len();
    let mut coster = Coster::default();
    let sampled = Sampled::new(section, &mut coster);
    let pairs: Vec<Vec<usize>> = match n <= ALL_PAIRS {
        true => (0..n)
            .map(|j| (0..n).filter(|&i| i != j).collect())
            .collect(),
        false => sampled.likely(),
    };
    let mut edges = contexts(&sampled, &pairs, &mut coster);
    edges.extend(numeric(section, sampled.rows.len(), &pairs));
    edges.retain(|e| Some(e.to) != first);
    edges.sort_by(|a, b| {
        let key = |e: &Edge| (e.from, e.to);
        b.gain.total_cmp(&a.gain).then(key(a).cmp(&key(b)))
    });
    let order = order(n, &edges, first);
    let mut place = vec![0; n];
    for (at, &column) in order.iter().enumerate() {
        place[column] = at;
    }
    let mut of: Vec<Vec<Edge>> = vec![Vec::new(); n];
    for edge in &edges {
        if place[edge.from] < place[edge.to] {
            of[edge.to].push(*edge);
        }
    }
    let candidates = (0..n)
        .map(|j| {
            let contexts = parents(j, &of[j], &sampled, &mut coster);
            let mut c = Candidates {
                contexts,
                ..Candidates::default()
            };
            for edge in &of[j] {
                match edge.help {
                    Help::Near if c.near.len() < 2 => {
                        c.near.push(edge.from);
                        let scaled = scaled(section, edge.from, j);
                        c.predictions.push(Prediction::Column(scaled));
                        c.predictions.push(Prediction::Step(scaled));
                    }
                    Help::Ratio(factor) => {
                        c.predictions.push(Prediction::Ratio(edge.from, factor));
                    }
                    _ => {}
                }
            }
            c.predictions.extend(sum(section, j, &place, &pairs[j]));
            c
        })
        .collect();
    (order, candidates)
}

fn contexts(sampled: &Sampled, pairs: &[Vec<usize>], coster: &mut Coster) -> Vec<Edge> {
    let mut edges = Vec::new();
    let most = sampled.rows.len() * 4 / 5;
    for (j, likely) in pairs.iter().enumerate() {
        if sampled.exact[j].count <= 1 {
            continue;
        }
        for &i in likely {
            for coarse in [false, true] {
                let context = match (coarse, &sampled.coarse[i]) {
                    (true, Some(ids)) => ids,
                    (true, None) => continue,
                    _ => &sampled.exact[i],
                };
                if !coarse && (context.count <= 1 || context.count > most) {
                    continue;
                }
                let alone = sampled.alone[j];
                let gain = alone - coster.bits(context, &sampled.targets[j]);
                if gain > 0.003 * alone && gain > 40.0 {
                    edges.push(Edge {
                        gain,
                        from: i,
                        to: j,
                        help: Help::Context(coarse),
                    });
                }
            }
        }
    }
    edges
}

/// A column brought to another's decimal scale.
fn scaled(section: &Section<'_>, from: usize, to: usize) -> Scaled {
    let exponent = i64::from(section.column(to).scale) - i64::from(section.column(from).scale);
    Scaled {
        parent: from,
        exponent: exponent.clamp(-18, 18) as i8,
    }
}

/// Columns for which differences mean something and cost something.
fn is_numeric(section: &Section<'_>, i: usize) -> bool {
    section.column(i).numeric && section.profile(i).len() > 16
}

fn numeric(section: &Section<'_>, scale_to: usize, pairs: &[Vec<usize>]) -> Vec<Edge> {
    let rows = sample_rows(section.rows(), NUMERIC_ROWS, 2);
    let weight = scale_to as f64;
    let mut edges = Vec::new();
    for (j, likely) in pairs.iter().enumerate() {
        if !is_numeric(section, j) {
            continue;
        }
        let own = section.column(j).values;
        let mut regular: Vec<i64> = rows
            .iter()
            .map(|&r| own[r as usize])
            .filter(|&v| !is_exception(v))
            .collect();
        if regular.len() < 50 {
            continue;
        }
        regular.sort_unstable();
        let median = regular[regular.len() / 2];
        let mean = |sum: f64, count: usize| sum / count.max(1) as f64;
        let spread = mean(
            regular
                .iter()
                .map(|v| magnitude(v.wrapping_sub(median)))
                .sum(),
            regular.len(),
        );
        let (mut steps, mut count) = (0.0, 0);
        for &r in rows.iter().filter(|&&r| r > 0) {
            let (v, before) = (own[r as usize], own[r as usize - 1]);
            if !is_exception(v) && !is_exception(before) {
                steps += magnitude(v.wrapping_sub(before));
                count += 1;
            }
        }
        let base = match count {
            0 => spread,
            _ => spread.min(mean(steps, count)),
        };
        for &i in likely.iter().filter(|&&i| is_numeric(section, i)) {
            let to_own = scaled(section, i, j);
            let other = section.column(i).values;
            let (mut near, mut parallel, mut both) = (0.0, 0.0, 0);
            for &r in rows.iter().filter(|&&r| r > 0) {
                let (v, before) = (own[r as usize], own[r as usize - 1]);
                let pair = (
                    to_own.of(other[r as usize]),
                    to_own.of(other[r as usize - 1]),
                );
                if let (Some(x), Some(x_before)) = pair
                    && !is_exception(v)
                    && !is_exception(before)
                {
                    let moved = v.wrapping_sub(before);
                    near += magnitude(v.wrapping_sub(x));
                    parallel += magnitude(moved.wrapping_sub(x.wrapping_sub(x_before)));
                    both += 1;
                }
            }
            if both > rows.len() / 20 {
                let gain = base - mean(f64::min(near, parallel), both);
                if gain > 0.15 {
                    edges.push(Edge {
                        gain: gain * weight * both as f64 / rows.len() as f64,
                        from: i,
                        to: j,
                        help: Help::Near,
                    });
                }
            }
            if let Some((factor, gain)) = ratio(own, other, &rows, base)
                && section.profile(j).len() > 64
            {
                edges.push(Edge {
                    gain: gain * weight,
                    from: i,
                    to: j,
                    help: Help::Ratio(factor),
                });
            }
        }
    }
    edges
}

/// A constant by which one column is nearly a multiple of another, and the bits a row it saves.
fn ratio(own: &[i64], other: &[i64], rows: &[u32], base: f64) -> Option<(f64, f64)> {
    let pairs: Vec<(f64, f64)> = rows
        .iter()
        .map(|&r| (other[r as usize], own[r as usize]))
        .filter(|&(x, v)| !is_exception(x) && !is_exception(v) && x != 0 && v != 0)
        .map(|(x, v)| (x as f64, v as f64))
        .take(200)
        .collect();
    if pairs.len() < 60 {
        return None;
    }
    let widest = pairs
        .iter()
        .max_by(|a, b| a.0.abs().total_cmp(&b.0.abs()))?;
    let factor = widest.1 / widest.0;
    let miss = |&(x, v): &(f64, f64)| (1.0 + (v - (x * factor).round()).abs()).log2();
    let mean = pairs.iter().map(miss).sum::<f64>() / pairs.len() as f64;
    (mean < 2.5 && base - mean > 2.0).then_some((factor, base - mean))
}

/// The best sum or difference of two earlier columns.
fn sum(section: &Section<'_>, j: usize, place: &[usize], likely: &[usize]) -> Option<Prediction> {
    let column = section.column(j);
    if !column.numeric || section.profile(j).len() <= 8 {
        return None;
    }
    let rows = sample_rows(section.rows(), 400, 3);
    let mut earlier: Vec<usize> = (0..section.len())
        .filter(|&i| i != j && place[i] < place[j] && is_numeric(section, i))
        .collect();
    if earlier.len() > 48 {
        // Too many for all pairs: those that share information, and the neighbours.
        earlier.retain(|i| likely.contains(i) || i.abs_diff(j) <= 12);
    }
    let tolerance = if column.scale >= 6 { 2 } else { 0 };
    let brought: Vec<(Scaled, Vec<i64>)> = earlier
        .iter()
        .map(|&i| {
            let s = scaled(section, i, j);
            let values = section.column(i).values;
            let at = |&r: &u32| s.of(values[r as usize]).unwrap_or(0);
            (s, rows.iter().map(at).collect())
        })
        .collect();
    let own: Vec<i64> = rows
        .iter()
        .map(|&r| column.values[r as usize])
        .map(|v| if is_exception(v) { 0 } else { v })
        .collect();
    let mut best = None;
    let mut share = 0.4;
    for (a, (first, x)) in brought.iter().enumerate() {
        for (b, (second, z)) in brought.iter().enumerate() {
            for minus in [false, true] {
                if a == b || (!minus && b < a) {
                    continue;
                }
                let (mut hits, mut tests) = (0u32, 0u32);
                for ((&v, &x), &z) in own.iter().zip(x).zip(z) {
                    if v == 0 || x == 0 || z == 0 {
                        continue;
                    }
                    let expected = match minus {
                        true => x.wrapping_sub(z),
                        false => x.wrapping_add(z),
                    };
                    tests += 1;
                    hits += u32::from(v.abs_diff(expected) <= tolerance);
                    if tests == 12 && hits < 4 {
                        break;
                    }
                }
                if tests >= 12 && f64::from(hits) > share * f64::from(tests) {
                    share = f64::from(hits) / f64::from(tests);
                    best = Some(Prediction::Sum(*first, *second, minus));
                }
            }
        }
    }
    best
}

/// Accepts the best edges that close no circle, one parent a column, and walks the forest breadth
/// first.
fn order(n: usize, edges: &[Edge], first: Option<usize>) -> Vec<usize> {
    let mut parent = vec![None; n];
    for edge in edges {
        let mut up = Some(edge.from);
        while let Some(at) = up.filter(|&at| at != edge.to) {
            up = parent[at];
        }
        if up.is_none() && parent[edge.to].is_none() {
            parent[edge.to] = Some(edge.from);
        }
    }
    let mut children = vec![Vec::new(); n];
    let mut queue = VecDeque::new();
    for (i, parent) in parent.iter().enumerate() {
        match parent {
            Some(p) => children[*p].push(i),
            None if Some(i) == first => queue.push_front(i),
            None => queue.push_back(i),
        }
    }
    let mut order = Vec::with_capacity(n);
    while let Some(i) = queue.pop_front() {
        order.push(i);
        queue.extend(&children[i]);
    }
    order
}

/// Up to three columns that together tell most about a column.
fn parents(j: usize, edges: &[Edge], sampled: &Sampled, coster: &mut Coster) -> Vec<(usize, bool)> {
    let mut candidates: Vec<(f64, usize, bool)> = edges
        .iter()
        .filter_map(|e| match e.help {
            Help::Context(coarse) => Some((e.gain, e.from, coarse)),
            _ => None,
        })
        .collect();
    candidates.truncate(24);
    let target = &sampled.targets[j];
    let mut chosen: Vec<(usize, bool)> = Vec::new();
    let mut current = Ids::constant(sampled.rows.len());
    let mut cost = sampled.alone[j];
    while chosen.len() < 3 {
        let mut best: Option<(f64, Ids, (usize, bool))> = None;
        for &(alone, from, coarse) in &candidates {
            if chosen.iter().any(|c| c.0 == from) {
                continue;
            }
            let context = match chosen.is_empty() {
                true => sampled.context(from, coarse).clone(),
                false => current.with(sampled.context(from, coarse)),
            };
            let gain = match chosen.is_empty() {
                true => alone,
                // One that tells nothing more is still kept, for its earlier rows.
                false => match cost - coster.bits(&context, target) {
                    g if g > 0.0 => g,
                    _ => f64::min(1.0, alone * 1e-6),
                },
            };
            if best.as_ref().is_none_or(|b| gain > b.0) {
                best = Some((gain, context, (from, coarse)));
            }
            if chosen.is_empty() {
                break;
            }
        }
        let Some((gain, context, choice)) = best else {
            break;
        };
        chosen.push(choice);
        current = context;
        cost -= gain;
    }
    chosen
}
