//! Tables out of a seed.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

/// A small generator of random numbers: equal seeds, equal tables.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }
}

const WORDS: [&str; 12] = [
    "",
    "oak",
    "elm",
    "birch",
    "Ahorn",
    "pine tree",
    "érable",
    "100%",
    "a_b",
    "willow",
    "ash",
    "yew",
];

/// A table with a column of each kind that queries treat differently.
///
/// `id` ascends, `k` has few values and nulls, `v` is anything, `f` has NaN, -0.0 and infinities,
/// `s` repeats words, `u` has long distinct texts, `t` ascends with repeats, `d` is a decimal, `b`
/// a boolean, `day` a date, `n` only null.
pub fn table(rows: usize, seed: u64) -> Vec<RecordBatch> {
    let mut r = Random::new(seed);
    let id = Int64Array::from_iter_values(0..rows as i64);
    let k = Int32Array::from_iter((0..rows).map(|_| (!r.one_in(10)).then(|| r.below(20) as i32)));
    let v = Int64Array::from_iter((0..rows).map(|_| Some(r.next() as i64 >> r.below(60))));
    let f = Float64Array::from_iter((0..rows).map(|i| match r.below(40) {
        0 => None,
        1 if i > rows / 2 => Some(f64::NAN),
        2 => Some(-0.0),
        3 => Some(0.0),
        4 => Some(f64::INFINITY),
        _ => Some((r.below(20_000) as f64 - 10_000.0) / 8.0),
    }));
    let s = StringArray::from_iter((0..rows).map(|_| (!r.one_in(8)).then(|| *r.pick(&WORDS))));
    let u = StringArray::from_iter((0..rows).map(|i| {
        let long = if i % 7 == 0 {
            "x".repeat(80)
        } else {
            String::new()
        };
        Some(format!("{long}{:08x}/{i}", r.next() as u32))
    }));
    let mut time = 1_700_000_000_000;
    let t = TimestampMillisecondArray::from_iter((0..rows).map(|_| {
        time += r.below(3) as i64 * 500;
        Some(time)
    }));
    let d = Decimal128Array::from_iter(
        (0..rows).map(|_| (!r.one_in(12)).then(|| r.below(1_000_000) as i128 - 500_000)),
    )
    .with_precision_and_scale(12, 2)
    .unwrap();
    let b = BooleanArray::from_iter((0..rows).map(|_| (!r.one_in(9)).then(|| r.one_in(3))));
    let day = Date32Array::from_iter((0..rows).map(|i| Some(19_000 + (i / 100) as i32)));
    let n = Float32Array::from_iter((0..rows).map(|_| None::<f32>));
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("k", DataType::Int32, true),
        Field::new("v", DataType::Int64, true),
        Field::new("f", DataType::Float64, true),
        Field::new("s", DataType::Utf8, true),
        Field::new("u", DataType::Utf8, true),
        Field::new("t", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("d", DataType::Decimal128(12, 2), true),
        Field::new("b", DataType::Boolean, true),
        Field::new("day", DataType::Date32, true),
        Field::new("n", DataType::Float32, true),
    ]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(id),
        Arc::new(k),
        Arc::new(v),
        Arc::new(f),
        Arc::new(s),
        Arc::new(u),
        Arc::new(t),
        Arc::new(d),
        Arc::new(b),
        Arc::new(day),
        Arc::new(n),
    ];
    let whole = RecordBatch::try_new(schema, columns).unwrap();
    // Batches of uneven sizes.
    let mut batches = Vec::new();
    let mut at = 0;
    while at < rows {
        let len = (1 + r.below(9000) as usize).min(rows - at);
        batches.push(whole.slice(at, len));
        at += len;
    }
    match rows {
        0 => vec![whole],
        _ => batches,
    }
}

/// One batch of 64-bit integers.
pub fn integers(name: &str, values: impl IntoIterator<Item = i64>) -> RecordBatch {
    let array: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
    RecordBatch::try_from_iter([(name, array)]).unwrap()
}
