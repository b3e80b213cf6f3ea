//! What is known about each row of a chunk: parents as small numbers, and predictions.
//!
//! Encoder, trainer and decoder must derive the very same numbers, so all three come here.

use std::collections::HashMap;

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
    // Open addressing; a slot holds the number of a value plus one.
    let bits = usize::BITS - (values.len() + values.len() / 2).leading_zeros();
    let mask = (1usize << bits) - 1;
    let mut slots = vec![0u32; mask + 1];
    let mut distinct: Vec<i64> = Vec::new();
    let ids = values.iter().map(|&v| {
        let mut slot = ((v as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - bits)) as usize;
        loop {
            match slots[slot] {
                0 => {
                    distinct.push(v);
                    slots[slot] = distinct.len() as u32;
                    return distinct.len() as u32 - 1;
                }
                n if distinct[n as usize - 1] == v => return n - 1,
                _ => slot = (slot + 1) & mask,
            }
        }
    });
    Dense {
        ids: ids.collect(),
        count: distinct.len(),
    }
}

/// Whether each row's value differs from the one before; 2 in the first row.
pub fn changed(values: &[i64]) -> Vec<u32> {
    let mut out = Vec::with_capacity(values.len());
    out.extend(values.first().map(|_| 2));
    out.extend(values.windows(2).map(|w| u32::from(w[0] != w[1])));
    out
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
    hashed: HashMap<i64, u32>,
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
        let mut hashed = HashMap::new();
        let fits = span <= 16 * values.len() as u64 + 256;
        if fits {
            direct.resize(span as usize, 0);
        }
        for (i, &v) in values.iter().enumerate() {
            match fits && i >= regular {
                true => direct[v.abs_diff(least) as usize] = i as u32 + 1,
                false => {
                    hashed.insert(v, i as u32 + 1);
                }
            }
        }
        Self {
            values,
            least,
            direct,
            hashed,
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
        match self.hashed.is_empty() {
            true => 0,
            false => self.hashed.get(&value).copied().unwrap_or(0),
        }
    }
}

/// Walks the rows of a chunk with a prediction for each. `each` gets the row and the prediction and
/// answers with the row's value.
pub fn predict(
    prediction: &Prediction,
    start: i64,
    parents: &[&[i64]],
    rows: usize,
    mut each: impl FnMut(usize, i64) -> i64,
) {
    let (mut before, mut second) = (start, start);
    let mut advance = |value: i64, before: &mut i64| {
        if !is_exception(value) {
            second = *before;
            *before = value;
        }
        second
    };
    match *prediction {
        Prediction::Previous => {
            for row in 0..rows {
                advance(each(row, before), &mut before);
            }
        }
        Prediction::Linear => {
            let mut second = start;
            for row in 0..rows {
                let straight = before.wrapping_mul(2).wrapping_sub(second);
                second = advance(each(row, straight), &mut before);
            }
        }
        Prediction::Last(parent) => {
            let keys = dense(parents[parent]);
            let mut last = vec![NONE; keys.count];
            for (row, &key) in keys.ids.iter().enumerate().take(rows) {
                let seen = last[key as usize];
                let value = each(row, if seen == NONE { before } else { seen });
                if !is_exception(value) {
                    last[key as usize] = value;
                }
                advance(value, &mut before);
            }
        }
        Prediction::Step(scaled) => {
            let mut old = NONE;
            for (row, &value) in parents[scaled.parent].iter().take(rows).enumerate() {
                let now = scaled.of(value).unwrap_or(NONE);
                let moved = match now == NONE || old == NONE {
                    true => before,
                    false => before.wrapping_add(now.wrapping_sub(old)),
                };
                if now != NONE {
                    old = now;
                }
                advance(each(row, moved), &mut before);
            }
        }
        Prediction::Column(_) | Prediction::Sum(..) | Prediction::Ratio(..) => {
            let given = from_parents(prediction, parents, rows);
            for (row, &given) in given.iter().enumerate() {
                let expected = if given == NONE { before } else { given };
                advance(each(row, expected), &mut before);
            }
        }
    }
}

/// Predictions that follow from the parents alone.
fn from_parents(prediction: &Prediction, parents: &[&[i64]], rows: usize) -> Vec<i64> {
    let column = |s: Scaled| parents[s.parent][..rows].iter().map(move |&v| s.of(v));
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
        Prediction::Ratio(parent, c) => parents[parent][..rows]
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
        predict(&prediction, 100, parents, values.len(), |row, p| {
            out.push(p);
            values[row]
        });
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
