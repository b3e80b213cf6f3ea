//! From values to codes and back, by a [`Slice`].

use std::ops::Range;

use super::classes::LARGEST;
use super::slice::{BASIS_BITS, Slice};

/// Codes of the keys of the same rows, `width` a row, and their step.
#[derive(Debug, Clone, Copy)]
pub struct Parent<'a> {
    /// The codes.
    pub codes: &'a [i16],
    /// Their step, in the fixed point of the keys.
    pub step: u32,
}

/// Restores elements of rows: `codes` are those of the groups that hold `elements`.
pub struct Restorer<'a> {
    slice: &'a Slice,
    step: u32,
    /// Elements of whole heads that are restored.
    heads: Range<usize>,
    /// First element whose code is given: of the group that the first one is in.
    given: usize,
    angles: Vec<(i64, i64)>,
    position: Option<u32>,
}

/// Values beyond this are no caches: it keeps products within 64 bits.
const MOST: i64 = 1 << 32;

impl<'a> Restorer<'a> {
    /// A restorer of some elements of rows.
    pub fn new(slice: &'a Slice, step: u32, elements: &Range<usize>) -> Self {
        let head = slice.head;
        Self {
            slice,
            step,
            given: elements.start / slice.group * slice.group,
            heads: elements.start / head * head..elements.end.div_ceil(head) * head,
            angles: Vec::new(),
            position: None,
        }
    }

    /// The first element that [`Restorer::row`] gives.
    pub fn first(&self) -> usize {
        self.heads.start
    }

    /// Elements that [`Restorer::row`] gives.
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// True if no elements are restored.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Restores one row in fixed point, not turned.
    pub fn still(&self, codes: &[i16], parent: Option<Parent<'_>>, out: &mut [i64]) {
        let slice = self.slice;
        let group = slice.group;
        for (value, i) in out.iter_mut().zip(self.heads.clone()) {
            let at = i / group * group - self.given;
            let sum = dot(&slice.basis[i * group..][..group], &codes[at..at + group]);
            let mut x = i64::from(slice.mean[i]).wrapping_add(scaled(sum, self.step, BASIS_BITS));
            if let Some(parent) = parent.filter(|_| !slice.predict.is_empty()) {
                let row = &slice.predict[i * group..][..group];
                let sum = dot(row, &parent.codes[at..at + group]);
                x = x.wrapping_add(scaled(sum, parent.step, slice.shift));
            }
            *value = x.clamp(-MOST, MOST);
        }
    }

    /// Restores one row: codes of the groups (and of the keys' groups), position, values out.
    pub fn row(
        &mut self,
        codes: &[i16],
        parent: Option<Parent<'_>>,
        position: u32,
        out: &mut [i64],
    ) {
        self.still(codes, parent, out);
        let rotation = &self.slice.rotation;
        if rotation.frequencies.is_empty() {
            return;
        }
        if self.position != Some(position) {
            rotation.at(position, &mut self.angles);
            self.position = Some(position);
        }
        for head in out.chunks_exact_mut(self.slice.head) {
            rotation.turn(&self.angles, head);
        }
    }
}

/// A sum that wraps around: the same on every machine, in any order.
#[inline]
fn dot(a: &[i16], b: &[i16]) -> i32 {
    let product = |x: i16, y: i16| i32::from(x) * i32::from(y);
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    // Neighbours are added first: what processors have an instruction for.
    let mut sums = [0i32; 8];
    for (a, b) in a.iter().zip(b) {
        for (i, sum) in sums.iter_mut().enumerate() {
            let pair =
                product(a[2 * i], b[2 * i]).wrapping_add(product(a[2 * i + 1], b[2 * i + 1]));
            *sum = sum.wrapping_add(pair);
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(&x, &y)| product(x, y));
    sums.into_iter().chain(rest).fold(0, i32::wrapping_add)
}

/// A sum times a step, shifted down and rounded to nearest.
#[inline]
fn scaled(sum: i32, step: u32, shift: u32) -> i64 {
    let half = (1i64 << shift) >> 1;
    (i64::from(sum) * i64::from(step)).wrapping_add(half) >> shift
}

/// A fixed-point value as a float, rounded to nearest.
#[inline]
pub fn float(value: i64, fraction: u32) -> f32 {
    // Exact: the value has fewer than 53 bits, and the factor is a power of two.
    (value as f64 * f64::from_bits((1023 - u64::from(fraction)) << 52)) as f32
}

/// Quantizes rows: codes of all elements; rows that are `exact` get zeros.
pub fn quantize(
    slice: &Slice,
    step: u32,
    values: &[f32],
    positions: &[u32],
    exact: &[bool],
    parent: Option<Parent<'_>>,
) -> Vec<i16> {
    let (width, group) = (slice.width, slice.group);
    let unit = f64::from(1u32 << slice.fraction.min(30));
    let per_step = 1.0 / (f64::from(1u32 << BASIS_BITS) * f64::from(step));
    // Columns of the bases as rows: coefficients are sums over elements.
    let mut columns = vec![0f64; width * group];
    for (i, row) in slice.basis.chunks_exact(group).enumerate() {
        for (j, &entry) in row.iter().enumerate() {
            columns[(i / group * group + j) * group + i % group] = f64::from(entry) * per_step;
        }
    }
    let predictor = Restorer::new(slice, step, &(0..width));
    let zeros = vec![0i16; width];
    let mut codes = vec![0i16; values.len()];
    let (mut row, mut expected) = (vec![0f64; width], vec![0i64; width]);
    let (mut angles, mut turned) = (Vec::new(), None);
    for (r, out) in codes.chunks_exact_mut(width).enumerate() {
        if exact[r] {
            continue;
        }
        for (x, &value) in row.iter_mut().zip(&values[r * width..]) {
            *x = f64::from(value) * unit;
        }
        if !slice.rotation.frequencies.is_empty() {
            if turned != Some(positions[r]) {
                slice.rotation.at(positions[r], &mut angles);
                turned = Some(positions[r]);
            }
            for head in row.chunks_exact_mut(slice.head) {
                slice.rotation.turn_back(&angles, head);
            }
        }
        let parent = parent.map(|p| Parent {
            codes: &p.codes[r * width..(r + 1) * width],
            step: p.step,
        });
        predictor.still(&zeros, parent, &mut expected);
        for (x, &e) in row.iter_mut().zip(&expected) {
            *x -= e as f64;
        }
        for (j, (code, column)) in out.iter_mut().zip(columns.chunks_exact(group)).enumerate() {
            let from = j / group * group;
            let products = column.iter().zip(&row[from..from + group]);
            let level: f64 = products.map(|(b, x)| b * x).sum();
            *code = level.round().clamp(f64::from(-LARGEST), f64::from(LARGEST)) as i16;
        }
    }
    codes
}

/// Rows that no code can stand for: at the first positions of a sequence, to which attention leans,
/// or with a value that is not finite or beyond the fixed point.
pub fn exact_rows(slice: &Slice, values: &[f32], positions: &[u32], sinks: u32) -> Vec<bool> {
    let most = (f64::from(1u32 << 30) / f64::from(1u32 << slice.fraction.min(30))) as f32;
    let rows = values.chunks_exact(slice.width);
    let is_exact =
        |(row, &position): (&[f32], &u32)| position < sinks || !row.iter().all(|v| v.abs() <= most);
    rows.zip(positions).map(is_exact).collect()
}
