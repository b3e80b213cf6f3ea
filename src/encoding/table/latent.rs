//! A hidden class of the rows: columns that depend on it need no other parent.
//!
//! Rows of a sample are placed by the leading singular vectors of their (scaled, centred) one-hot
//! codes, grouped by k-means for several numbers of classes, and then moved between classes as long
//! as that shortens the code. The number of classes with the shortest code wins. Whether a hidden
//! column pays at all is decided by the plan, which measures the table with and without it.

use super::cost::{Random, sample_rows};
use super::plan::Input;
use super::rows::{Keys, coarse};
use super::section::Section;

/// Rows on which classes are found.
const ROWS: usize = 8_000;
/// Columns that take part.
const COLUMNS: usize = 256;
/// Largest alphabet of a column that takes part; larger numeric ones take part by their buckets.
const SYMBOLS: usize = 64;
/// Fewest columns for which a hidden class is looked for.
const FEWEST: usize = 4;
/// Number of classes that shows whether there are any.
const FIRST: usize = 8;
/// Numbers of classes that are tried.
const CLASSES: [usize; 7] = [4, 6, 8, 12, 16, 24, 32];
/// Singular vectors.
const VECTORS: usize = 16;
/// Bits of a stored probability.
const PARAMETER: f64 = 7.0;

/// How a column's values become small numbers.
#[derive(Debug, Clone)]
enum Reader {
    Keys(std::sync::Arc<Keys>),
    Boundaries(Vec<i64>),
}

impl Reader {
    fn id(&self, value: i64) -> usize {
        match self {
            Self::Keys(keys) => keys.id(value) as usize,
            Self::Boundaries(b) => coarse(value, b) as usize,
        }
    }
}

/// Classes of rows, told apart by the values of some columns.
#[derive(Debug, Clone)]
pub struct Mixture {
    classes: usize,
    /// Bits of each class itself.
    prior: Vec<f32>,
    columns: Vec<Emission>,
}

#[derive(Debug, Clone)]
struct Emission {
    input: usize,
    reader: Reader,
    /// Bits of symbol `s` in class `u` at `s * classes + u`.
    bits: Vec<f32>,
}

impl Mixture {
    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The class of each row.
    pub fn assign(&self, inputs: &[Input<'_>]) -> Vec<i64> {
        let rows = inputs.first().map_or(0, |i| i.values.len());
        let k = self.classes;
        let mut out = Vec::with_capacity(rows);
        let mut costs = vec![0f32; 256 * k];
        let mut from = 0;
        while from < rows {
            let to = (from + 256).min(rows);
            for costs in costs.chunks_exact_mut(k) {
                costs.copy_from_slice(&self.prior);
            }
            for column in &self.columns {
                let values = &inputs[column.input].values[from..to];
                for (costs, &v) in costs.chunks_exact_mut(k).zip(values) {
                    let s = column.reader.id(v) * k;
                    for (cost, bits) in costs.iter_mut().zip(&column.bits[s..s + k]) {
                        *cost += bits;
                    }
                }
            }
            let rows = costs.chunks_exact(k).take(to - from);
            out.extend(rows.map(|costs| least(costs) as i64));
            from = to;
        }
        out
    }
}

/// Place of the smallest number, the first of equals.
fn least(costs: &[f32]) -> usize {
    let mut best = 0;
    for (i, &c) in costs.iter().enumerate() {
        if c < costs[best] {
            best = i;
        }
    }
    best
}

/// A column of the sample.
struct Column {
    input: usize,
    reader: Reader,
    count: usize,
    symbols: Vec<u16>,
}

/// Looks for classes that shorten the table; `planned` is the size of each column without them.
pub fn find(section: &Section<'_>, planned: &[f64]) -> Option<Mixture> {
    let rows = sample_rows(section.rows(), ROWS, 5);
    if rows.len() < 500 {
        return None;
    }
    let mut columns: Vec<Column> = Vec::new();
    for input in 0..section.len() {
        let profile = section.profile(input);
        let reader = match profile.len() {
            0 | 1 => continue,
            n if n <= SYMBOLS => Reader::Keys(Keys::new(profile.distinct.clone()).into()),
            _ if !profile.boundaries.is_empty() => Reader::Boundaries(profile.boundaries.clone()),
            _ => continue,
        };
        let count = match &reader {
            Reader::Keys(_) => profile.len() + 1,
            Reader::Boundaries(b) => b.len() + 2,
        };
        let values = section.column(input).values;
        columns.push(Column {
            symbols: rows
                .iter()
                .map(|&r| reader.id(values[r as usize]) as u16)
                .collect(),
            input,
            reader,
            count,
        });
        if columns.len() == COLUMNS {
            break;
        }
    }
    if columns.len() < FEWEST {
        return None;
    }
    let places = embed(&columns, rows.len());
    let factor = section.rows() as f64 / rows.len() as f64;
    let so_far: f64 = columns.iter().map(|c| 8.0 * planned[c.input]).sum();
    let mut first = means(&places, FIRST);
    let bits = refine(&columns, &mut first, FIRST, factor);
    if bits > 1.15 * so_far {
        return None;
    }
    let mut tried = vec![(bits, FIRST, first)];
    let mut best = (bits, FIRST);
    for k in CLASSES {
        if k == FIRST || rows.len() < 50 * k {
            continue;
        }
        let mut classes = means(&places, k);
        let bits = refine(&columns, &mut classes, k, factor);
        tried.push((bits, k, classes));
        if bits < best.0 {
            best = (bits, k);
        } else if k > best.1 && bits > 1.01 * best.0 {
            // More classes than there are do not help any more.
            break;
        }
    }
    // Where k-means took one class apart it may have left two others together, so the next larger
    // number may come out better once it is united.
    let larger = tried.iter().map(|t| t.1).filter(|&k| k > best.1).min();
    tried.retain(|t| t.1 == best.1 || Some(t.1) == larger);
    let united = tried.into_iter().map(|(bits, k, mut classes)| {
        let bits = unite(&columns, &mut classes, k, factor, bits);
        (bits, k, classes)
    });
    let (bits, k, classes) = united.min_by(|a, b| a.0.total_cmp(&b.0))?;
    if bits > 0.99 * so_far {
        return None;
    }
    Some(mixture(columns, &classes, k))
}

/// Coordinates of the sampled rows along the leading singular vectors.
fn embed(columns: &[Column], rows: usize) -> Vec<[f32; VECTORS]> {
    let mut offsets = Vec::new();
    let mut dims = 0;
    for c in columns {
        offsets.push(dims);
        dims += c.count;
    }
    let mut share = vec![0f32; dims];
    for (c, &offset) in columns.iter().zip(&offsets) {
        for &s in &c.symbols {
            share[offset + s as usize] += 1.0 / rows as f32;
        }
    }
    // Rare values would otherwise outshout all others.
    let weight: Vec<f32> = share.iter().map(|&p| 1.0 / p.max(0.01).sqrt()).collect();
    let mean: Vec<f32> = share.iter().zip(&weight).map(|(p, w)| p * w).collect();
    let mut random = Random::new(6);
    let mut right: Vec<[f32; VECTORS]> = (0..dims)
        .map(|_| std::array::from_fn(|_| random.unit() as f32 - 0.5))
        .collect();
    let mut left = vec![[0f32; VECTORS]; rows];
    for round in 0..5 {
        let mut shift = [0f32; VECTORS];
        for (m, q) in mean.iter().zip(&right) {
            for (s, q) in shift.iter_mut().zip(q) {
                *s += m * q;
            }
        }
        for y in &mut left {
            *y = shift.map(|s| -s);
        }
        for (c, &offset) in columns.iter().zip(&offsets) {
            for (y, &s) in left.iter_mut().zip(&c.symbols) {
                let d = offset + s as usize;
                for (y, q) in y.iter_mut().zip(&right[d]) {
                    *y += weight[d] * q;
                }
            }
        }
        if round == 4 {
            break;
        }
        orthonormalize(&mut left);
        let mut sum = [0f32; VECTORS];
        for y in &left {
            for (s, y) in sum.iter_mut().zip(y) {
                *s += y;
            }
        }
        for (q, m) in right.iter_mut().zip(&mean) {
            *q = sum.map(|s| -s * m);
        }
        for (c, &offset) in columns.iter().zip(&offsets) {
            for (y, &s) in left.iter().zip(&c.symbols) {
                let d = offset + s as usize;
                for (q, y) in right[d].iter_mut().zip(y) {
                    *q += weight[d] * y;
                }
            }
        }
        orthonormalize(&mut right);
    }
    left
}

/// Gram-Schmidt over the vectors that the rows are coordinates of.
fn orthonormalize(rows: &mut [[f32; VECTORS]]) {
    for i in 0..VECTORS {
        for j in 0..i {
            let dot: f32 = rows.iter().map(|r| r[i] * r[j]).sum();
            rows.iter_mut().for_each(|r| r[i] -= dot * r[j]);
        }
        let norm = rows
            .iter()
            .map(|r| r[i] * r[i])
            .sum::<f32>()
            .sqrt()
            .max(1e-20);
        rows.iter_mut().for_each(|r| r[i] /= norm);
    }
}

fn distance(a: &[f32; VECTORS], b: &[f32; VECTORS]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// Groups points by k-means; the best of a few starts.
fn means(points: &[[f32; VECTORS]], k: usize) -> Vec<u8> {
    let mut best: Option<(f64, Vec<u8>)> = None;
    for seed in 0..2 {
        let mut random = Random::new(7 + seed);
        let mut centers = vec![points[random.below(points.len())]];
        let mut near: Vec<f32> = vec![f32::INFINITY; points.len()];
        while centers.len() < k {
            let newest = centers[centers.len() - 1];
            let mut total = 0f64;
            for (n, p) in near.iter_mut().zip(points) {
                *n = n.min(distance(p, &newest));
                total += f64::from(*n);
            }
            let mut at = random.unit() * total;
            let next = near.iter().position(|&n| {
                at -= f64::from(n);
                at < 0.0
            });
            centers.push(points[next.unwrap_or(0)]);
        }
        let mut classes = vec![0u8; points.len()];
        let mut spread = 0.0;
        for _ in 0..6 {
            let mut sums = vec![([0f32; VECTORS], 0f32); k];
            spread = 0.0;
            for (class, p) in classes.iter_mut().zip(points) {
                let mut least = (f32::INFINITY, 0);
                for (u, c) in centers.iter().enumerate() {
                    let d = distance(p, c);
                    if d < least.0 {
                        least = (d, u);
                    }
                }
                *class = least.1 as u8;
                spread += f64::from(least.0);
                let sum = &mut sums[least.1];
                sum.1 += 1.0;
                sum.0.iter_mut().zip(p).for_each(|(s, p)| *s += p);
            }
            for (c, (sum, n)) in centers.iter_mut().zip(&sums) {
                if *n > 0.0 {
                    *c = sum.map(|s| s / n);
                }
            }
        }
        if best.as_ref().is_none_or(|b| spread < b.0) {
            best = Some((spread, classes));
        }
    }
    best.map(|b| b.1).unwrap_or_default()
}

/// Counts of a column's symbols in each class, at `symbol * k + class`.
fn count(column: &Column, classes: &[u8], k: usize) -> Vec<f32> {
    let mut counts = vec![0f32; column.count * k];
    for (&s, &u) in column.symbols.iter().zip(classes) {
        counts[s as usize * k + u as usize] += 1.0;
    }
    counts
}

/// Bits of each symbol in each class, smoothed by the column's own frequencies.
fn emissions(column: &Column, classes: &[u8], sizes: &[f32], k: usize) -> Vec<f32> {
    let counts = count(column, classes, k);
    let rows = classes.len() as f32;
    let mut bits = vec![0f32; counts.len()];
    for (bits, counts) in bits.chunks_exact_mut(k).zip(counts.chunks_exact(k)) {
        let all = counts.iter().sum::<f32>().max(0.5) / rows;
        for ((b, c), size) in bits.iter_mut().zip(counts).zip(sizes) {
            *b = -((c + 2.0 * all) / (size + 2.0)).log2();
        }
    }
    // Id 0 of a key list is a value that the sample lacks: it tells nothing.
    if matches!(column.reader, Reader::Keys(_)) {
        bits[..k].fill(0.0);
    }
    bits
}

fn sizes(classes: &[u8], k: usize) -> Vec<f32> {
    let mut sizes = vec![0f32; k];
    classes.iter().for_each(|&u| sizes[u as usize] += 1.0);
    sizes
}

fn prior(sizes: &[f32], rows: usize) -> Vec<f32> {
    let all = rows as f32 + 0.5 * sizes.len() as f32;
    sizes.iter().map(|s| -((s + 0.5) / all).log2()).collect()
}

/// Moves rows to the class that codes them shortest, a few times; bits on all rows.
fn refine(columns: &[Column], classes: &mut [u8], k: usize, factor: f64) -> f64 {
    let rows = classes.len();
    let mut total = f64::INFINITY;
    for _ in 0..12 {
        let sizes = sizes(classes, k);
        let prior = prior(&sizes, rows);
        let mut costs: Vec<f32> = prior.iter().copied().cycle().take(rows * k).collect();
        for column in columns {
            let bits = emissions(column, classes, &sizes, k);
            for (costs, &s) in costs.chunks_exact_mut(k).zip(&column.symbols) {
                let s = s as usize * k;
                for (cost, bits) in costs.iter_mut().zip(&bits[s..s + k]) {
                    *cost += bits;
                }
            }
        }
        let mut now = 0.0;
        for (class, costs) in classes.iter_mut().zip(costs.chunks_exact(k)) {
            let best = least(costs);
            *class = best as u8;
            now += f64::from(costs[best]);
        }
        let settled = now > total * 0.9995;
        total = now;
        if settled {
            break;
        }
    }
    let used = sizes(classes, k).iter().filter(|&&s| s > 0.0).count();
    let parameters: usize = columns.iter().map(|c| used * (c.count - 1)).sum();
    total * factor + PARAMETER * parameters as f64
}

/// Unites classes that k-means took apart without need, most alike first, as long as that shortens
/// the code; bits on all rows.
fn unite(columns: &[Column], classes: &mut Vec<u8>, k: usize, factor: f64, bits: f64) -> f64 {
    let mut least = bits;
    for _ in 1..k {
        let Some((into, from)) = most_alike(columns, classes, k) else {
            break;
        };
        let mut united = classes.clone();
        united.iter_mut().for_each(|u| {
            if *u == from {
                *u = into;
            }
        });
        let bits = refine(columns, &mut united, k, factor);
        if bits >= least {
            break;
        }
        least = bits;
        *classes = united;
    }
    least
}

/// The two classes whose rows grow least when one table codes both.
fn most_alike(columns: &[Column], classes: &[u8], k: usize) -> Option<(u8, u8)> {
    // n log n, from which code lengths are put together.
    let term = |n: f32| if n > 0.0 { n * n.log2() } else { 0.0 };
    let sizes = sizes(classes, k);
    let used: Vec<usize> = (0..k).filter(|&u| sizes[u] > 0.0).collect();
    let mut growth = vec![0f32; k * k];
    let mut add = |of: &[f32], sign: f32| {
        for (i, &u) in used.iter().enumerate() {
            for &v in &used[i + 1..] {
                growth[u * k + v] += sign * (term(of[u] + of[v]) - term(of[u]) - term(of[v]));
            }
        }
    };
    for column in columns {
        for counts in count(column, classes, k).chunks_exact(k) {
            add(counts, -1.0);
        }
        add(&sizes, 1.0);
    }
    // What telling the two apart costs is saved.
    add(&sizes, -1.0);
    let pairs = used.iter().enumerate().flat_map(|(i, &u)| {
        let later = used[i + 1..].iter();
        later.map(move |&v| (u, v))
    });
    pairs
        .min_by(|a, b| growth[a.0 * k + a.1].total_cmp(&growth[b.0 * k + b.1]))
        .map(|(u, v)| (u as u8, v as u8))
}

fn mixture(columns: Vec<Column>, classes: &[u8], k: usize) -> Mixture {
    let sizes = sizes(classes, k);
    // Empty classes go; the largest come first.
    let mut order: Vec<usize> = (0..k).filter(|&u| sizes[u] > 0.0).collect();
    order.sort_by(|&a, &b| sizes[b].total_cmp(&sizes[a]).then(a.cmp(&b)));
    let mut number = vec![0u8; k];
    for (n, &u) in order.iter().enumerate() {
        number[u] = n as u8;
    }
    let classes: Vec<u8> = classes.iter().map(|&u| number[u as usize]).collect();
    let k = order.len();
    let sizes: Vec<f32> = order.iter().map(|&u| sizes[u]).collect();
    Mixture {
        classes: k,
        prior: prior(&sizes, classes.len()),
        columns: columns
            .into_iter()
            .map(|c| Emission {
                bits: emissions(&c, &classes, &sizes, k),
                input: c.input,
                reader: c.reader,
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Finds classes in a table that is made of so many; all but 3 % of the rows must be in theirs.
    fn assert_found(planted: usize) {
        let mut random = Random::new(1);
        let rows = 700 * planted;
        let truth: Vec<usize> = (0..rows).map(|_| random.below(planted)).collect();
        let columns: Vec<Vec<i64>> = (0..30)
            .map(|_| {
                let favourite: Vec<i64> = (0..planted).map(|_| random.below(5) as i64).collect();
                let mut value = |&u: &usize| match random.below(10) {
                    0..7 => favourite[u],
                    _ => random.below(5) as i64,
                };
                truth.iter().map(&mut value).collect()
            })
            .collect();
        let inputs: Vec<Input<'_>> = columns
            .iter()
            .map(|values| Input {
                values,
                numeric: false,
                scale: 0,
            })
            .collect();
        let mixture = find(&Section::new(&inputs, None, 65_536), &[1e6; 30]).unwrap();
        assert_eq!(mixture.classes(), planted);
        let found = mixture.assign(&inputs);
        let mut pairs: Vec<(usize, i64)> = truth.iter().copied().zip(found).collect();
        pairs.sort_unstable();
        let mut kept: Vec<usize> = pairs.chunk_by(|a, b| a == b).map(<[_]>::len).collect();
        kept.sort_unstable_by(|a, b| b.cmp(a));
        assert!(kept.iter().take(planted).sum::<usize>() > rows * 97 / 100);
    }

    #[test]
    fn planted_classes_are_found() {
        assert_found(6);
    }

    #[test]
    fn no_class_is_taken_apart() {
        // Between two numbers that are tried.
        assert_found(10);
    }
}
