//! What is known about each row of a chunk: parents as small numbers, and predictions.
//!
//! Encoder, trainer and decoder must derive the very same numbers, so all three come here.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::OnceLock;

use super::spec::{Prediction, Scaled, is_exception};

/// Stands for "no prediction from the parent" in a vector of predictions.
const NONE: i64 = i64::MIN;

/// Distinct values of a slice under small numbers, in no particular order.
#[derive(Debug)]
pub struct Dense {
    /// The number of each row's value.
    pub ids: Vec<u32>,
    /// All numbers are below this.
    pub count: usize,
}

/// Bytes a row that [`dense`], and an array of 8 bytes a number, may take.
pub const DENSE_MEMORY: usize = 4 + 12 + 8 + 8;

/// Numbers the distinct values.
pub fn dense(values: &[i64]) -> Dense {
    let mut least = i64::MAX;
    let mut most = i64::MIN;
    let mut exception = 0;
    for &v in values {
        if is_exception(v) {
            exception = exception.max(v.wrapping_sub(i64::MIN) as usize + 1);
        } else {
            least = least.min(v);
            most = most.max(v);
        }
    }
    let span = match least <= most {
        true => most.abs_diff(least).saturating_add(1),
        false => 0,
    };
    if span.saturating_add(exception as u64) <= values.len() as u64 + 1024 {
        let ids = values.iter().map(|&v| match is_exception(v) {
            true => v.wrapping_sub(i64::MIN) as u32,
            false => exception as u32 + v.wrapping_sub(least) as u32,
        });
        return Dense {
            ids: ids.collect(),
            count: exception + span as usize,
        };
    }
    let mut numbers = Numbering::new(values.len());
    Dense {
        ids: values.iter().map(|&v| numbers.add(v)).collect(),
        count: numbers.values.len(),
    }
}

/// Numbers values in the order of their first occurrence: open addressing, a slot holds a number
/// plus one.
#[derive(Debug)]
struct Numbering {
    slots: Vec<u32>,
    shift: u32,
    factor: u64,
    values: Vec<i64>,
}

impl Numbering {
    /// For at most so many values.
    fn new(most: usize) -> Self {
        // Files must not know which values share a slot, so each process has a factor of its own.
        static FACTOR: OnceLock<u64> = OnceLock::new();
        let bits = usize::BITS - (most + most / 2).leading_zeros() + 1;
        Self {
            slots: vec![0; 1 << bits],
            shift: u64::BITS - bits,
            factor: *FACTOR.get_or_init(|| RandomState::new().hash_one(0) | 1),
            values: Vec::new(),
        }
    }

    /// The slot that holds the value, or the empty one where it belongs.
    #[inline]
    fn slot(&self, value: i64) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = ((value as u64).wrapping_mul(self.factor) >> self.shift) as usize;
        loop {
            match self.slots[slot] {
                0 => return slot,
                n if self.values[n as usize - 1] == value => return slot,
                _ => slot = (slot + 1) & mask,
            }
        }
    }

    /// The number of a value, a new one if it has none yet.
    #[inline]
    fn add(&mut self, value: i64) -> u32 {
        let slot = self.slot(value);
        if self.slots[slot] == 0 {
            self.values.push(value);
            self.slots[slot] = self.values.len() as u32;
        }
        self.slots[slot] - 1
    }

    /// The number of a value, if it has one.
    #[inline]
    fn find(&self, value: i64) -> Option<u32> {
        self.slots[self.slot(value)].checked_sub(1)
    }
}

/// Whether the value of each of some rows differs from the one before; 2 in the first row of all.
pub fn changed(values: &[i64], rows: Range<usize>, out: &mut Vec<u32>) {
    let mut before = rows.start.checked_sub(1).map(|row| values[row]);
    out.extend(values[rows].iter().map(|&v| {
        let changed = before.map_or(2, |b| u32::from(b != v));
        before = Some(v);
        changed
    }));
}

/// The bucket of a value among ascending boundaries; 0 for exceptions.
#[inline]
pub fn coarse(value: i64, boundaries: &[i64]) -> u32 {
    match is_exception(value) {
        true => 0,
        false => 1 + boundaries.partition_point(|&b| b <= value) as u32,
    }
}

/// Numbers values by their place in an ascending list: 0 if it lacks the value, else 1 + place.
#[derive(Debug)]
pub struct Keys {
    values: Vec<i64>,
    least: i64,
    direct: Vec<u32>,
    /// Values that `direct` does not reach, and their ids.
    others: Option<(Numbering, Vec<u32>)>,
}

impl Keys {
    /// From an ascending list.
    pub fn new(values: Vec<i64>) -> Self {
        let regular = values.partition_point(|&v| is_exception(v));
        let (least, span) = match (values.get(regular), values.last()) {
            (Some(&a), Some(&b)) => (a, b.abs_diff(a).saturating_add(1)),
            _ => (0, 0),
        };
        let mut direct = Vec::new();
        let fits = span <= 16 * values.len() as u64 + 256;
        if fits {
            direct.resize(span as usize, 0);
        }
        let (far, near) = values.split_at(if fits { regular } else { values.len() });
        for (i, &v) in near.iter().enumerate() {
            direct[v.abs_diff(least) as usize] = (far.len() + i) as u32 + 1;
        }
        let others = (!far.is_empty()).then(|| {
            let mut numbers = Numbering::new(far.len());
            // A value that is listed twice goes by its last place.
            let mut ids = Vec::with_capacity(far.len());
            for (i, &v) in far.iter().enumerate() {
                let number = numbers.add(v) as usize;
                ids.resize(ids.len().max(number + 1), 0);
                ids[number] = i as u32 + 1;
            }
            (numbers, ids)
        });
        Self {
            values,
            least,
            direct,
            others,
        }
    }

    /// The list.
    pub fn values(&self) -> &[i64] {
        &self.values
    }

    /// The number of a value.
    #[inline]
    pub fn id(&self, value: i64) -> u32 {
        let place = value.wrapping_sub(self.least) as u64;
        if place < self.direct.len() as u64 && value >= self.least {
            return self.direct[place as usize];
        }
        match &self.others {
            None => 0,
            Some((numbers, ids)) => numbers.find(value).map_or(0, |n| ids[n as usize]),
        }
    }
}

/// Walks the rows of a chunk with a prediction for each.
pub struct Predictor<'a> {
    prediction: Prediction,
    parents: &'a [&'a [i64]],
    /// The last two values that are no exceptions.
    before: i64,
    second: i64,
    /// The parent's value in the row before, of a prediction by steps.
    old: i64,
    /// Numbers of the parent's values, and the last value at each.
    keys: Vec<u32>,
    last: Vec<i64>,
}

impl<'a> Predictor<'a> {
    /// Before the first row; `start` is what the first is predicted to be.
    pub fn new(prediction: Prediction, start: i64, parents: &'a [&'a [i64]]) -> Self {
        let (mut keys, mut last) = (Vec::new(), Vec::new());
        if let Prediction::Last(parent) = prediction {
            let dense = dense(parents[parent]);
            last = vec![NONE; dense.count];
            keys = dense.ids;
        }
        Self {
            prediction,
            parents,
            before: start,
            second: start,
            old: NONE,
            keys,
            last,
        }
    }

    /// Walks the next rows, which follow those of the call before. `each` gets the row and the
    /// prediction and answers with the row's value.
    pub fn run(&mut self, rows: Range<usize>, mut each: impl FnMut(usize, i64) -> i64) {
        let (mut before, mut second) = (self.before, self.second);
        let mut advance = |value: i64, before: &mut i64| {
            if !is_exception(value) {
                second = *before;
                *before = value;
            }
            second
        };
        match self.prediction {
            Prediction::Previous => {
                for row in rows {
                    advance(each(row, before), &mut before);
                }
            }
            Prediction::Linear => {
                let mut second = self.second;
                for row in rows {
                    let straight = before.wrapping_mul(2).wrapping_sub(second);
                    second = advance(each(row, straight), &mut before);
                }
            }
            Prediction::Last(_) => {
                for (row, &key) in rows.clone().zip(&self.keys[rows]) {
                    let seen = self.last[key as usize];
                    let value = each(row, if seen == NONE { before } else { seen });
                    if !is_exception(value) {
                        self.last[key as usize] = value;
                    }
                    advance(value, &mut before);
                }
            }
            Prediction::Step(scaled) => {
                let parent = &self.parents[scaled.parent][rows.clone()];
                for (row, &value) in rows.zip(parent) {
                    let now = scaled.of(value).unwrap_or(NONE);
                    let moved = match now == NONE || self.old == NONE {
                        true => before,
                        false => before.wrapping_add(now.wrapping_sub(self.old)),
                    };
                    if now != NONE {
                        self.old = now;
                    }
                    advance(each(row, moved), &mut before);
                }
            }
            Prediction::Column(_) | Prediction::Sum(..) | Prediction::Ratio(..) => {
                let given = from_parents(&self.prediction, self.parents, rows.clone());
                for (row, &given) in rows.zip(&given) {
                    let expected = if given == NONE { before } else { given };
                    advance(each(row, expected), &mut before);
                }
            }
        }
        (self.before, self.second) = (before, second);
    }
}

/// Predictions that follow from the parents alone.
fn from_parents(prediction: &Prediction, parents: &[&[i64]], rows: Range<usize>) -> Vec<i64> {
    let column = |s: Scaled| {
        let parent = &parents[s.parent][rows.clone()];
        parent.iter().map(move |&v| s.of(v))
    };
    match *prediction {
        Prediction::Column(s) => column(s).map(|v| v.unwrap_or(NONE)).collect(),
        Prediction::Sum(a, b, minus) => column(a)
            .zip(column(b))
            .map(|pair| match pair {
                (Some(a), Some(b)) if minus => a.wrapping_sub(b),
                (Some(a), Some(b)) => a.wrapping_add(b),
                _ => NONE,
            })
            .collect(),
        Prediction::Ratio(parent, c) => parents[parent][rows]
            .iter()
            .map(|&v| match is_exception(v) {
                true => NONE,
                false => (v as f64 * c).round() as i64,
            })
            .collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_a_number() {
        for values in [
            vec![5, 7, 5, i64::MIN, 7, i64::MIN + 3],
            vec![1 << 60, -(1 << 60), 1 << 60, 0, i64::MIN],
            vec![],
        ] {
            let d = dense(&values);
            for (i, a) in values.iter().enumerate() {
                assert!((d.ids[i] as usize) < d.count);
                for (j, b) in values.iter().enumerate() {
                    assert_eq!(a == b, d.ids[i] == d.ids[j]);
                }
            }
        }
    }

    #[test]
    fn keys_find_their_place_and_nothing_else() {
        let lists = [
            vec![i64::MIN, 3, 5, 9],
            vec![-(1 << 62), 0, i64::MAX],
            vec![],
        ];
        for list in lists {
            let keys = Keys::new(list.clone());
            for (i, &v) in list.iter().enumerate() {
                assert_eq!(keys.id(v), i as u32 + 1);
            }
            for v in [4, -1, i64::MIN + 1, i64::MAX - 1] {
                assert_eq!(keys.id(v), 0);
            }
        }
    }

    fn predictions(prediction: Prediction, parents: &[&[i64]], values: &[i64]) -> Vec<i64> {
        let mut out = Vec::new();
        let mut predictor = Predictor::new(prediction, 100, parents);
        // In two calls, as a decoder does.
        for rows in [0..1, 1..values.len()] {
            predictor.run(rows, |row, p| {
                out.push(p);
                values[row]
            });
        }
        out
    }

    #[test]
    fn predictions_are_what_they_say() {
        let own = [10, i64::MIN, 12, 15];
        let parent = [1, 2, 1, i64::MIN];
        let parents: [&[i64]; 1] = [&parent];
        let s = Scaled {
            parent: 0,
            exponent: 1,
        };
        let p = |prediction| predictions(prediction, &parents, &own);
        assert_eq!(p(Prediction::Previous), [100, 10, 10, 12]);
        assert_eq!(p(Prediction::Linear), [100, -80, -80, 14]);
        assert_eq!(p(Prediction::Last(0)), [100, 10, 10, 12]);
        assert_eq!(p(Prediction::Column(s)), [10, 20, 10, 12]);
        assert_eq!(p(Prediction::Step(s)), [100, 20, 0, 12]);
        assert_eq!(p(Prediction::Sum(s, s, false)), [20, 40, 20, 12]);
        assert_eq!(p(Prediction::Ratio(0, 2.5)), [3, 5, 3, 12]);
    }
}
