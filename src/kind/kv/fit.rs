//! Learning a profile from sample caches.
//!
//! For each layer: keys are turned back to position zero, their mean is taken off, and the KLT of
//! each group of heads becomes the basis. Values are predicted from the *quantized* keys of the layer
//! by ridge regression, so that the decoder has what the prediction was learned on; the KLT of what
//! is left is their basis. The spread of each coefficient is kept: it names the table that codes it.

use super::cache::{Cache, Shape, Side};
use super::linear::{eigenvectors, products, second_moments, solve};
use super::profile::{CLEARLY, KvProfile, Spread, alternatives, describe, turn_back};
use crate::encoding::kv::rotation::{Pairing, Rotation};
use crate::encoding::kv::slice::{BASIS_BITS, Slice};
use crate::encoding::kv::transform::{Parent, Restorer, quantize};
use crate::error::{Error, Result};

/// How keys are turned, as far as it is said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rope {
    /// Found out from the samples.
    Auto,
    /// Not at all.
    None,
    /// In pairs of this kind.
    Pairs(Pairing),
}

/// How a profile is fitted.
#[derive(Debug, Clone)]
pub struct FitOptions {
    /// Names the model; else the first cache's file does.
    pub model: String,
    /// How keys are turned.
    pub rope: Rope,
    /// Base of the frequencies.
    pub base: f64,
    /// Heads that are transformed together; as many as make groups of up to 256 elements if `None`.
    pub heads: Option<usize>,
    /// Step of the codes, in standard deviations of a layer's keys or values.
    pub step: f64,
}

impl Default for FitOptions {
    fn default() -> Self {
        Self {
            model: String::new(),
            rope: Rope::Auto,
            base: 10_000.0,
            heads: None,
            step: 0.25,
        }
    }
}

/// First positions of a sequence that are not typical.
const SINKS: usize = 4;
/// Most elements of a group, unless more are asked for: restoring takes as many products a value.
const GROUP: usize = 256;
/// Damping of the regression, of the mean diagonal.
const DAMPING: f64 = 1e-3;
/// Rows for each element of a group below which a fit is refused: it would learn noise.
const LEAST_ROWS: usize = 4;

/// Fits a profile to sample caches of one model and shape.
pub fn fit(caches: &[Cache], options: &FitOptions) -> Result<KvProfile> {
    let first = caches
        .first()
        .ok_or_else(|| Error::invalid("no cache was given to fit a profile to"))?;
    let shape = *first.shape();
    let same = |c: &&Cache| {
        let s = c.shape();
        (s.layers, s.heads, s.head_dim) != (shape.layers, shape.heads, shape.head_dim)
    };
    if let Some(other) = caches.iter().find(same) {
        return Err(Error::invalid(format!(
            "samples of {:?} and of {shape:?} do not make one profile",
            other.shape()
        )));
    }
    let group = group(&shape, options)? * shape.head_dim;
    let rows: usize = caches
        .iter()
        .map(|c| c.tokens().len().saturating_sub(SINKS))
        .sum();
    if rows < group * LEAST_ROWS {
        return Err(Error::invalid(format!(
            "{rows} tokens are too few for groups of {group} elements; give more samples (at least \
             {} tokens, better fifty times that) or fewer heads a group",
            group * LEAST_ROWS
        )));
    }
    let rotation = rotation(caches, &shape, options)?;
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let layers: Vec<usize> = (0..shape.layers).collect();
    let slices = std::thread::scope(|scope| {
        let share = shape.layers.div_ceil(threads).max(1);
        let fits: Vec<_> = layers
            .chunks(share)
            .map(|layers| {
                let rotation = &rotation;
                scope.spawn(move || {
                    let one =
                        |&layer: &usize| layer_of(caches, layer, group, rotation, options.step);
                    layers.iter().map(one).collect::<Result<Vec<_>>>()
                })
            })
            .collect();
        let mut all = Vec::new();
        for fit in fits {
            let fitted = fit
                .join()
                .map_err(|_| Error::invalid("fitting failed unexpectedly"))?;
            all.extend(fitted?.into_iter().flatten());
        }
        Ok::<_, Error>(all)
    })?;
    KvProfile::new(&options.model, &shape, options.step, slices)
}

/// Heads a group.
fn group(shape: &Shape, options: &FitOptions) -> Result<usize> {
    let heads = match options.heads {
        Some(heads) => heads,
        None => {
            let fits = |n: &usize| shape.heads.is_multiple_of(*n) && n * shape.head_dim <= GROUP;
            (1..=shape.heads).rev().find(fits).unwrap_or(1)
        }
    };
    match heads > 0 && shape.heads.is_multiple_of(heads) {
        true => Ok(heads),
        false => Err(Error::invalid(format!(
            "groups of {heads} heads do not divide {} heads",
            shape.heads
        ))),
    }
}

/// The rotation that was said, if the samples agree, or the one that they tell.
fn rotation(caches: &[Cache], shape: &Shape, options: &FitOptions) -> Result<Rotation> {
    let of = |pairing| Rotation::with_base(pairing, options.base, shape.head_dim);
    let spreads = caches.iter().map(Spread::of).collect::<Result<Vec<_>>>()?;
    let under =
        |r: &Rotation| spreads.iter().map(|s| s.under(r)).sum::<f64>() / spreads.len() as f64;
    let start = match options.rope {
        Rope::Auto | Rope::Pairs(Pairing::Half) => of(Pairing::Half),
        Rope::Pairs(pairing) => of(pairing),
        Rope::None => Rotation::none(),
    };
    let mut best = (under(&start), start.clone());
    for (_, other) in alternatives(&of(Pairing::Half), shape.head_dim)
        .into_iter()
        .chain([("", of(Pairing::Half))])
    {
        let narrow = under(&other);
        if narrow < best.0 - CLEARLY {
            best = (narrow, other);
        }
    }
    match options.rope == Rope::Auto || best.1 == start {
        true => Ok(best.1),
        false => Err(Error::invalid(format!(
            "keys were said to be turned {}, but in the samples they look turned {}",
            describe(&start),
            describe(&best.1)
        ))),
    }
}

/// Rows of a side of a layer, from all samples.
struct Rows {
    values: Vec<f32>,
    positions: Vec<u32>,
}

fn rows_of(caches: &[Cache], layer: usize, side: Side) -> Result<Rows> {
    let mut rows = Rows {
        values: Vec::new(),
        positions: Vec::new(),
    };
    for cache in caches {
        let width = cache.shape().channels();
        let values = cache.values(layer, side)?;
        for (position, row) in values.chunks_exact(width).enumerate().skip(SINKS) {
            rows.values.extend_from_slice(row);
            rows.positions.push(position as u32);
        }
    }
    Ok(rows)
}

/// The slices of a layer's keys and values.
fn layer_of(
    caches: &[Cache],
    layer: usize,
    group: usize,
    rotation: &Rotation,
    step: f64,
) -> Result<[Slice; 2]> {
    let shape = caches.first().map(|c| *c.shape());
    let Some(shape) = shape else {
        return Err(Error::invalid("no samples"));
    };
    let (width, head) = (shape.channels(), shape.head_dim);
    let mut sides = Side::BOTH
        .map(|side| rows_of(caches, layer, side))
        .into_iter();
    let (Some(keys), Some(values)) = (sides.next(), sides.next()) else {
        return Err(Error::invalid("no samples"));
    };
    let (mut keys, mut values) = (keys?, values?);
    // Rows that are not finite on either side teach nothing.
    let sound: Vec<bool> = keys
        .values
        .chunks_exact(width)
        .zip(values.values.chunks_exact(width))
        .map(|(k, v)| k.iter().chain(v).all(|x| x.is_finite()))
        .collect();
    for rows in [&mut keys, &mut values] {
        let chosen = rows
            .values
            .chunks_exact(width)
            .zip(&sound)
            .filter(|(_, s)| **s);
        rows.values = chosen.flat_map(|(row, _)| row.to_vec()).collect();
        let chosen = rows.positions.iter().zip(&sound).filter(|(_, s)| **s);
        rows.positions = chosen.map(|(&p, _)| p).collect();
    }
    let (mut key_slice, _) = centred(&keys, width, head, group, rotation);
    let residual = residuals(&keys, &key_slice, None);
    basis(&mut key_slice, &residual);
    let exact = vec![false; keys.positions.len()];
    let key_step = key_slice.step(step);
    let codes = quantize(
        &key_slice,
        key_step,
        &keys.values,
        &keys.positions,
        &exact,
        None,
    );
    let (mut value_slice, centred) = centred(&values, width, head, group, &Rotation::none());
    predict(&mut value_slice, &key_slice, key_step, &codes, &centred);
    let parent = Parent {
        codes: &codes,
        step: key_step,
    };
    let residual = residuals(&values, &value_slice, Some(parent));
    basis(&mut value_slice, &residual);
    Ok([key_slice, value_slice])
}

/// A slice that knows mean, deviation and fixed point, and the rows around the mean.
fn centred(
    rows: &Rows,
    width: usize,
    head: usize,
    group: usize,
    rotation: &Rotation,
) -> (Slice, Vec<f64>) {
    let mut values: Vec<f64> = rows.values.iter().map(|&x| f64::from(x)).collect();
    let largest = values.iter().fold(1e-6f64, |a, x| a.max(x.abs()));
    let fraction = (28 - largest.log2().ceil() as i32).clamp(0, 20) as u32;
    turn_back(&mut values, width, head, &rows.positions, rotation);
    let count = rows.positions.len().max(1) as f64;
    let mut mean = vec![0.0; width];
    for row in values.chunks_exact(width) {
        mean.iter_mut().zip(row).for_each(|(m, x)| *m += x / count);
    }
    for row in values.chunks_exact_mut(width) {
        row.iter_mut().zip(&mean).for_each(|(x, m)| *x -= m);
    }
    let squares = values.iter().map(|x| x * x).sum::<f64>();
    let deviation = (squares / values.len().max(1) as f64).sqrt();
    let unit = f64::from(1u32 << fraction);
    let slice = Slice {
        width,
        group,
        head,
        fraction,
        mean: mean.iter().map(|m| (m * unit).round() as i32).collect(),
        deviation: (deviation * unit).round().max(1.0) as u32,
        basis: vec![0; width * group],
        predict: Vec::new(),
        shift: 0,
        scales: vec![0; width],
        rotation: rotation.clone(),
    };
    (slice, values)
}

/// What mean and prediction leave, in the slice's fixed point.
fn residuals(rows: &Rows, slice: &Slice, parent: Option<Parent<'_>>) -> Vec<f64> {
    let (width, unit) = (slice.width, f64::from(1u32 << slice.fraction));
    let mut values: Vec<f64> = rows.values.iter().map(|&x| f64::from(x) * unit).collect();
    turn_back(
        &mut values,
        width,
        slice.head,
        &rows.positions,
        &slice.rotation,
    );
    let restorer = Restorer::new(slice, 1, &(0..width));
    let zeros = vec![0i16; width];
    let mut expected = vec![0i64; width];
    for (i, row) in values.chunks_exact_mut(width).enumerate() {
        let parent = parent.map(|p| Parent {
            codes: &p.codes[i * width..(i + 1) * width],
            step: p.step,
        });
        restorer.still(&zeros, parent, &mut expected);
        row.iter_mut()
            .zip(&expected)
            .for_each(|(x, &e)| *x -= e as f64);
    }
    values
}

/// The elements of one group out of rows.
fn columns(rows: &[f64], width: usize, from: usize, group: usize) -> Vec<f64> {
    let part = |row: &[f64]| row[from..from + group].to_vec();
    rows.chunks_exact(width).flat_map(part).collect()
}

/// Fills in the KLT of residuals and the spread of its coefficients.
fn basis(slice: &mut Slice, residuals: &[f64]) {
    let (width, group) = (slice.width, slice.group);
    for from in (0..width).step_by(group) {
        let rows = columns(residuals, width, from, group);
        let vectors = eigenvectors(second_moments(&rows, group), group);
        for (j, vector) in vectors.chunks_exact(group).enumerate() {
            let mut squares = 0.0;
            for row in rows.chunks_exact(group) {
                let y: f64 = vector.iter().zip(row).map(|(b, x)| b * x).sum();
                squares += y * y;
            }
            let count = (rows.len() / group).max(1) as f64;
            let spread = (squares / count).sqrt().max(1.0);
            slice.scales[from + j] = (16.0 * spread.log2()).round() as u32;
            for (i, b) in vector.iter().enumerate() {
                let entry = (b * f64::from(1u32 << BASIS_BITS)).round();
                slice.basis[(from + i) * group + j] = entry as i16;
            }
        }
    }
}

/// Fills in the prediction of values from the codes of keys.
fn predict(slice: &mut Slice, keys: &Slice, step: u32, codes: &[i16], centred: &[f64]) {
    let (width, group) = (slice.width, slice.group);
    // Both in their fixed points.
    let unit = f64::from(1u32 << slice.fraction);
    let scaled: Vec<f64> = codes
        .iter()
        .map(|&q| f64::from(q) * f64::from(step))
        .collect();
    let target: Vec<f64> = centred.iter().map(|x| x * unit).collect();
    debug_assert_eq!(keys.width, width);
    let mut map = vec![0.0; width * group];
    for from in (0..width).step_by(group) {
        let (a, b) = (
            columns(&scaled, width, from, group),
            columns(&target, width, from, group),
        );
        let found = solve(
            second_moments(&a, group),
            group,
            products(&a, group, &b, group),
            group,
            DAMPING,
        );
        for j in 0..group {
            for i in 0..group {
                map[(from + i) * group + j] = found[j * group + i];
            }
        }
    }
    let largest = map.iter().fold(1e-12f64, |a, x| a.max(x.abs()));
    slice.shift = (14 - largest.log2().ceil() as i32).clamp(0, 40) as u32;
    let unit = (f64::from(slice.shift)).exp2();
    let entry = |x: &f64| (x * unit).round().clamp(-32_767.0, 32_767.0) as i16;
    slice.predict = map.iter().map(entry).collect();
}
