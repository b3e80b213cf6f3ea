//! Arrays by distribution: how many distinct values, how they lie, in what order, with what skew.
//!
//! Everything is seeded: the same call gives the same array.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{Buffer, NullBuffer};
use arrow::datatypes::*;
use half::f16;

pub mod logical;

/// SplitMix64: small, and the same everywhere.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x5bd1_e995_9d1d_7f3b)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit` (0 if that is 0).
    pub fn below(&mut self, limit: usize) -> usize {
        match limit {
            0 => 0,
            n => (self.next() % n as u64) as usize,
        }
    }

    /// A number in [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True in `share` of all calls.
    pub fn chance(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// How the distinct values of an array lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Spread {
    /// Close together, far from zero (prices with two decimals, short keys).
    Narrow,
    /// Anywhere, NaN payloads and extremes included.
    Wide,
    /// At near-regular steps (timestamps, paths).
    Stepped,
    /// Narrow, but a few lie anywhere.
    Outliers,
}

/// In which order rows draw from the distinct values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Order {
    /// At random.
    Shuffled,
    /// At random, the first values far more often.
    Skewed,
    /// Ascending.
    Sorted,
    /// In runs of about this length.
    Runs(usize),
}

/// A distribution.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub rows: usize,
    pub distinct: usize,
    pub spread: Spread,
    pub order: Order,
}

/// An array and what to call it when a law fails.
#[derive(Debug, Clone)]
pub struct Sample {
    pub name: String,
    pub array: ArrayRef,
}

/// Whether a type gets every distribution. Most encodings see only the width of the others' values.
fn is_typical(data_type: &DataType) -> bool {
    use DataType::*;
    matches!(
        data_type,
        Boolean | Int64 | UInt32 | Float32 | Float64 | Binary | FixedSizeBinary(16)
    )
}

/// The leaf types that encodings see.
pub fn leaf_types() -> Vec<DataType> {
    use DataType::*;
    let mut types = vec![
        Boolean, Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64, Float16, Float32,
        Float64, Binary,
    ];
    types.extend([1, 5, 16, 32].map(FixedSizeBinary));
    types
}

/// Leaf arrays of a type without nulls: all distributions, edges, and slices at odd offsets.
pub fn leaves(data_type: &DataType) -> Vec<Sample> {
    use Order::*;
    use Spread::*;
    let shapes = [
        (1, 1, Narrow, Shuffled),
        (1, 1, Wide, Shuffled),
        (2, 2, Stepped, Sorted),
        (700, 1, Narrow, Shuffled),
        (700, 2, Narrow, Shuffled),
        (700, 5, Wide, Runs(40)),
        (1024, 8, Narrow, Skewed),
        (1023, 256, Narrow, Shuffled),
        (1025, 300, Stepped, Runs(3)),
        (1500, 1500, Narrow, Shuffled),
        (1500, 1500, Narrow, Sorted),
        (1500, 1500, Stepped, Sorted),
        (1500, 1500, Wide, Shuffled),
        (1500, 1500, Wide, Sorted),
        (1500, 400, Outliers, Shuffled),
        (2048, 1000, Outliers, Sorted),
        (2100, 700, Narrow, Skewed),
        (3000, 60, Narrow, Runs(100)),
        (5000, 5000, Stepped, Sorted),
    ];
    let step = if is_typical(data_type) { 1 } else { 3 };
    let mut samples: Vec<Sample> = shapes
        .iter()
        .enumerate()
        .skip(data_type.to_string().len() % step)
        .step_by(step)
        .map(|(seed, &(rows, distinct, spread, order))| {
            let shape = Shape {
                rows,
                distinct,
                spread,
                order,
            };
            Sample {
                name: format!("{data_type} {shape:?}"),
                array: leaf(data_type, shape, seed as u64),
            }
        })
        .collect();
    samples.push(Sample {
        name: format!("{data_type} empty"),
        array: new_empty_array(data_type),
    });
    let edges = pick(data_type, &edges(data_type), 900, 77);
    samples.push(Sample {
        name: format!("{data_type} extremes"),
        array: edges,
    });
    let sliced: Vec<Sample> = samples
        .iter()
        .enumerate()
        .filter(|(i, s)| i % 4 == 2 && s.array.len() > 20)
        .map(|(i, s)| {
            let (from, less) = (3 + i % 7, 5 + i % 11);
            Sample {
                name: format!("{} sliced from {from}", s.name),
                array: s.array.slice(from, s.array.len() - from - less),
            }
        })
        .collect();
    samples.extend(sliced);
    samples
}

/// A few short leaf arrays for tests that try very many variations of each.
pub fn small_leaves(data_type: &DataType) -> Vec<Sample> {
    use Order::*;
    use Spread::*;
    let shapes = [
        (90, 1, Narrow, Shuffled),
        (90, 6, Narrow, Runs(7)),
        (70, 70, Stepped, Sorted),
        (70, 40, Outliers, Shuffled),
        (40, 40, Wide, Shuffled),
        (1100, 20, Outliers, Skewed),
    ];
    shapes
        .iter()
        .map(|&(rows, distinct, spread, order)| {
            let shape = Shape {
                rows,
                distinct,
                spread,
                order,
            };
            Sample {
                name: format!("{data_type} {shape:?}"),
                array: leaf(data_type, shape, 1000 + rows as u64),
            }
        })
        .collect()
}

/// A leaf array of one distribution.
pub fn leaf(data_type: &DataType, shape: Shape, seed: u64) -> ArrayRef {
    let mut rng = Rng::new(seed);
    let pool: Vec<Vec<u8>> = (0..shape.distinct.max(1))
        .map(|k| {
            let spread = match shape.spread {
                Spread::Outliers if rng.chance(0.03) => Spread::Wide,
                Spread::Outliers => Spread::Narrow,
                other => other,
            };
            value(data_type, spread, k, &mut rng)
        })
        .collect();
    let pool = match shape.order {
        Order::Sorted => sorted(data_type, pool),
        _ => pool,
    };
    let mut rows = Vec::with_capacity(shape.rows);
    let mut current = 0;
    for row in 0..shape.rows {
        let n = pool.len();
        current = match shape.order {
            Order::Shuffled => rng.below(n),
            Order::Skewed => (rng.unit().powi(4) * n as f64) as usize,
            Order::Sorted => row * n / shape.rows,
            Order::Runs(length) if row == 0 || rng.chance(1.0 / length as f64) => rng.below(n),
            Order::Runs(_) => current,
        };
        rows.push(&pool[current]);
    }
    assemble(data_type, &rows)
}

/// The same array with nulls: about `share` of the rows, the first and last among them, or all.
pub fn with_nulls(array: &ArrayRef, share: f64, seed: u64) -> ArrayRef {
    let mut rng = Rng::new(seed);
    let last = array.len().saturating_sub(1);
    let valid: Vec<bool> = (0..array.len())
        .map(|i| !(i == 0 || i == last || rng.chance(share)))
        .collect();
    let data = compact(array).to_data().into_builder();
    make_array(data.nulls(Some(NullBuffer::from(valid))).build().unwrap())
}

/// The same array in buffers of its own, without an offset.
pub fn compact(array: &ArrayRef) -> ArrayRef {
    if array.is_empty() || *array.data_type() == DataType::Null {
        return new_empty_or_null(array);
    }
    let source = array.to_data();
    let mut copy = MutableArrayData::new(vec![&source], false, array.len());
    copy.try_extend(0, 0, array.len()).unwrap();
    make_array(copy.freeze())
}

fn new_empty_or_null(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Null => Arc::new(NullArray::new(array.len())),
        other => new_empty_array(other),
    }
}

/// `rows` values drawn at random from a list.
fn pick(data_type: &DataType, values: &[Vec<u8>], rows: usize, seed: u64) -> ArrayRef {
    let mut rng = Rng::new(seed);
    let rows: Vec<&Vec<u8>> = (0..rows)
        .map(|_| &values[rng.below(values.len())])
        .collect();
    assemble(data_type, &rows)
}

/// An array from the little-endian bytes of its values.
fn assemble(data_type: &DataType, rows: &[&Vec<u8>]) -> ArrayRef {
    match data_type {
        DataType::Boolean => Arc::new(BooleanArray::from_iter(
            rows.iter().map(|r| Some(r[0] & 1 == 1)),
        )),
        DataType::Binary => Arc::new(BinaryArray::from_iter_values(rows)),
        DataType::FixedSizeBinary(width) => {
            let bytes: Vec<u8> = rows.iter().flat_map(|r| r.iter().copied()).collect();
            let bytes = Buffer::from_vec(bytes);
            Arc::new(
                FixedSizeBinaryArray::try_new_with_len(*width, bytes, None, rows.len()).unwrap(),
            )
        }
        other => {
            let bytes: Vec<u8> = rows.iter().flat_map(|r| r.iter().copied()).collect();
            let data = ArrayData::builder(other.clone())
                .len(rows.len())
                .add_buffer(Buffer::from_slice_ref(&bytes))
                .align_buffers(true)
                .build()
                .unwrap();
            make_array(data)
        }
    }
}

/// Distinct value `k` of a type, as little-endian bytes.
fn value(data_type: &DataType, spread: Spread, k: usize, rng: &mut Rng) -> Vec<u8> {
    let narrow = spread == Spread::Narrow;
    if spread == Spread::Wide {
        let edges = edges(data_type);
        return match (data_type, rng.below(8)) {
            (_, 0) => edges[rng.below(edges.len())].clone(),
            (DataType::Binary, _) => {
                let length = rng.below(40);
                rng.bytes(length)
            }
            (other, _) => rng.bytes(width(other)),
        };
    }
    match data_type {
        DataType::Boolean => vec![(k & 1) as u8],
        DataType::Float16 => {
            let v = if narrow { k as f64 / 10.0 } else { k as f64 };
            f16::from_f64(v).to_bits().to_le_bytes().to_vec()
        }
        DataType::Float32 => {
            let v = if narrow {
                (10_000 + k) as f64 / 100.0
            } else {
                k as f64 * 0.125
            };
            (v as f32).to_le_bytes().to_vec()
        }
        DataType::Float64 => {
            let v = if narrow {
                (1_000_000 + k) as f64 / 100.0
            } else {
                k as f64 * 1e-3
            };
            v.to_le_bytes().to_vec()
        }
        DataType::Binary if narrow => format!("key_{k:04}").into_bytes(),
        DataType::Binary => {
            let tail = rng.next();
            let path = &format!("{tail:016x}")[..4 + k % 12];
            format!("https://www.example.org/shop/{}/item?id={path}", k / 7).into_bytes()
        }
        other => {
            let width = width(other);
            let step = if narrow { 1 } else { 1_000 };
            let jitter = if narrow { 0 } else { rng.below(20) as i128 };
            let base = if narrow { -100 } else { 1_700_000_000_000 };
            let unsigned = matches!(
                other,
                DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64
            );
            let base = if unsigned && base < 0 { 50 } else { base };
            let v: i128 = base + k as i128 * step + jitter;
            let mut bytes = v.to_le_bytes().to_vec();
            bytes.resize(width, if v < 0 { 0xff } else { 0 });
            bytes
        }
    }
}

/// The values of a type that break things.
fn edges(data_type: &DataType) -> Vec<Vec<u8>> {
    match data_type {
        DataType::Boolean => vec![vec![0], vec![1]],
        DataType::Float16 => [
            0u16, 0x8000, 0x7c00, 0xfc00, 0x7e00, 0x7e01, 0xfe55, 0x7c01, 1, 0x8001, 0x7bff, 0xfbff,
        ]
        .iter()
        .map(|v| v.to_le_bytes().to_vec())
        .collect(),
        DataType::Float32 => [
            0f32.to_bits(),
            (-0f32).to_bits(),
            f32::INFINITY.to_bits(),
            f32::NEG_INFINITY.to_bits(),
            0x7fc0_0000,
            0x7fc0_1234,
            0xffc0_0001,
            0x7f80_0001,
            1,
            0x8000_0001,
            f32::MAX.to_bits(),
            f32::MIN.to_bits(),
            f32::MIN_POSITIVE.to_bits(),
            16_777_217f32.to_bits(),
            0.1f32.to_bits(),
        ]
        .iter()
        .map(|v| v.to_le_bytes().to_vec())
        .collect(),
        DataType::Float64 => [
            0f64.to_bits(),
            (-0f64).to_bits(),
            f64::INFINITY.to_bits(),
            f64::NEG_INFINITY.to_bits(),
            f64::NAN.to_bits(),
            0x7ff8_0000_0000_0001,
            0xfff8_dead_beef_0001,
            0x7ff0_0000_0000_0001,
            1,
            0x8000_0000_0000_0001,
            f64::MAX.to_bits(),
            f64::MIN.to_bits(),
            f64::MIN_POSITIVE.to_bits(),
            9_007_199_254_740_993f64.to_bits(),
            1e22f64.to_bits(),
            1e23f64.to_bits(),
            0.1f64.to_bits(),
            (0.1f64 + 0.2).to_bits(),
            (i64::MAX as f64).to_bits(),
        ]
        .iter()
        .map(|v| v.to_le_bytes().to_vec())
        .collect(),
        DataType::Binary => vec![
            Vec::new(),
            vec![0],
            vec![0, 0],
            vec![0xff; 3],
            b"a".to_vec(),
            b"007".to_vec(),
            "Grüße aus Zürich 🏔".as_bytes().to_vec(),
            vec![0xc3],
            vec![b'x'; 5_000],
        ],
        other => {
            let width = width(other);
            let low = {
                let mut v = vec![0; width];
                v[width - 1] = 0x80;
                v
            };
            let high = {
                let mut v = vec![0xff; width];
                v[width - 1] = 0x7f;
                v
            };
            let one = {
                let mut v = vec![0; width];
                v[0] = 1;
                v
            };
            vec![vec![0; width], one, vec![0xff; width], low, high]
        }
    }
}

fn width(data_type: &DataType) -> usize {
    match data_type {
        DataType::Boolean => 1,
        DataType::FixedSizeBinary(width) => *width as usize,
        other => other.primitive_width().unwrap(),
    }
}

/// The values in ascending order of their type.
fn sorted(data_type: &DataType, pool: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let array = assemble(data_type, &pool.iter().collect::<Vec<_>>());
    let order = arrow::compute::sort_to_indices(&array, None, None).unwrap();
    order
        .values()
        .iter()
        .map(|&i| pool[i as usize].clone())
        .collect()
}
