//! The tables in the golden files. Golden files are compared with these values for ever, so nothing
//! here may change what an existing table holds.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;
use arrow::record_batch::RecordBatch;
use half::f16;
use pilaster::encoding::{Encoding, Model, Profile};
use pilaster::file::{ColumnData, ColumnRole, ColumnSpec, Layout};

use crate::conformance::{self, NULLABLE, prepare};

/// Rows of each golden table.
const ROWS: usize = 150;

/// The columns of a golden file: all those below that the encoding stores.
pub fn table(encoding: &dyn Encoding) -> RecordBatch {
    let columns: Vec<(String, ArrayRef)> = columns()
        .into_iter()
        .chain(columns_of(encoding.id()))
        .filter(|(_, array)| stores(encoding, array))
        .collect();
    assert!(
        !columns.is_empty(),
        "no golden column for {}",
        encoding.id()
    );
    RecordBatch::try_from_iter(columns).unwrap()
}

/// Whether an encoding takes a column as it is; nulls are for those that know them.
fn stores(encoding: &dyn Encoding, array: &ArrayRef) -> bool {
    let id = encoding.id();
    let nulls = array.null_count() > 0;
    if nulls != (id == NULLABLE) && !(nulls && id == conformance::RESTORE) {
        return false;
    }
    let registered = pilaster::encoding::Registry::standard().get(id).unwrap();
    let lowered = pilaster::encoding::physical::lower(array).unwrap();
    if !encoding.accepts(lowered.data_type()) {
        return false;
    }
    let encoded = conformance::encode(registered, "golden", &lowered, Profile::Balanced).unwrap();
    // Of a lossy encoding, the values that it happens to keep.
    let stored = encoded.map(|e| conformance::as_stored(e).unwrap());
    stored.is_some_and(|e| crate::same::same(&lowered, &e.array).is_ok())
}

/// A column and one that follows it but for some rows: chunks of a few kilobytes if one is coded given the
/// other, and more than one of each.
pub fn dependent() -> RecordBatch {
    let rare = |i: usize, n: u64| mix(i).is_multiple_of(n);
    let first = |i: usize| i64::from(rare(i, 3));
    let second = |i: usize| first(i) ^ i64::from(rare(i + 1_000_000, 8));
    let rows = 0..110_000;
    let column = |value: &dyn Fn(usize) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(rows.clone().map(value)))
    };
    RecordBatch::try_from_iter([("first", column(&first)), ("second", column(&second))]).unwrap()
}

/// Columns that one encoding alone takes: those of all stay as they were.
fn columns_of(id: &str) -> Vec<(String, ArrayRef)> {
    match id {
        pilaster::encoding::kv::coefficients::ID => vec![("codes".to_owned(), levels())],
        "pilaster.whole8.v1" => {
            let pixel = |i: usize| (mix(i) % 256) as f32;
            let count = |i: usize| (mix(i) % 256) as f32 - 128.0;
            vec![
                ("pixels".to_owned(), vectors_of(5, pixel)),
                ("differences".to_owned(), vectors_of(3, count)),
            ]
        }
        "pilaster.apart.v1" => {
            // One row far out, one with NaN and infinity.
            let value = |i: usize| match (i / 4, i % 4) {
                (40, j) => (mix(j) % 1000) as f32 * 1e20,
                (77, 1) => f32::NAN,
                (77, 2) => f32::NEG_INFINITY,
                _ => (mix(i) % 4096) as f32 / 64.0 - 32.0,
            };
            vec![("far".to_owned(), vectors_of(4, value))]
        }
        "pilaster.subspace.v1" => {
            // Two values vary, each by itself: those are the directions, and nothing is lost.
            let value = |i: usize| match (i % 4, i / 4) {
                (0, _) => 1.5,
                (1, row) => (row % 15) as f32 - 7.0,
                (2, row) => (row / 15) as f32 / 4.0 - 1.125,
                _ => -3.0,
            };
            vec![("plane".to_owned(), vectors_of(4, value))]
        }
        _ => Vec::new(),
    }
}

/// Some large integers, some rows of zeros.
fn levels() -> ArrayRef {
    let level = |i: usize| match (i / 6 % 20, mix(i)) {
        (7 | 8, _) => 0,
        (_, x) if x % 97 == 0 => 1000 - (x % 2000) as i16,
        (_, x) => (x % (1 + 24 / (1 + i as u64 % 6))) as i16 - 2,
    };
    let values: Int16Array = (0..ROWS * 6).map(level).collect();
    let item = Arc::new(Field::new("item", DataType::Int16, false));
    Arc::new(FixedSizeListArray::new(item, 6, Arc::new(values), None))
}

/// Vectors of a dimension, value by value.
fn vectors_of(dimension: usize, value: impl Fn(usize) -> f32) -> ArrayRef {
    let values: Vec<f32> = (0..ROWS * dimension).map(value).collect();
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let values = Arc::new(Float32Array::from(values));
    Arc::new(FixedSizeListArray::new(
        item,
        dimension as i32,
        values,
        None,
    ))
}

/// A mixed number that depends on the row in a way that no seed can change.
fn mix(row: usize) -> u64 {
    let x = (row as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (x ^ (x >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

fn of<T>(value: impl Fn(usize) -> T) -> Vec<T> {
    (0..ROWS).map(value).collect()
}

/// All golden columns, by name.
fn columns() -> Vec<(String, ArrayRef)> {
    let mut columns: Vec<(String, ArrayRef)> = Vec::new();
    let mut add = |name: &str, array: ArrayRef| columns.push((name.to_owned(), array));
    add(
        "bool_sparse",
        Arc::new(BooleanArray::from(of(|i| i % 41 == 7))),
    );
    add(
        "bool_mixed",
        Arc::new(BooleanArray::from(of(|i| mix(i).is_multiple_of(3)))),
    );
    add("bool_true", Arc::new(BooleanArray::from(of(|_| true))));
    add("i8", Arc::new(Int8Array::from(of(|i| mix(i) as i8))));
    add(
        "i16_small",
        Arc::new(Int16Array::from(of(|i| -3 + (mix(i) % 7) as i16))),
    );
    add(
        "i32_sorted",
        Arc::new(Int32Array::from(of(|i| i as i32 * 3 - 100))),
    );
    add("i32_constant", Arc::new(Int32Array::from(of(|_| -77))));
    add(
        "i64_runs",
        Arc::new(Int64Array::from(of(|i| (i / 30) as i64 * 1_000_000_007))),
    );
    add(
        "i64_times",
        Arc::new(Int64Array::from(of(|i| {
            1_700_000_000_000 + 1_000 * i as i64 + (mix(i) % 9) as i64
        }))),
    );
    add(
        "i64_outliers",
        Arc::new(Int64Array::from(of(|i| match i % 50 {
            11 => i64::MIN + i as i64,
            12 => i64::MAX,
            _ => (mix(i) % 100) as i64,
        }))),
    );
    add(
        "i64_mostly_zero",
        Arc::new(Int64Array::from(of(|i| {
            if i % 37 == 5 { mix(i) as i64 } else { 0 }
        }))),
    );
    add("u8", Arc::new(UInt8Array::from(of(|i| (mix(i) % 4) as u8))));
    add("u16", Arc::new(UInt16Array::from(of(|i| mix(i) as u16))));
    add(
        "u32_ids",
        Arc::new(UInt32Array::from(of(|i| 5_000 + i as u32))),
    );
    add(
        "u64",
        Arc::new(UInt64Array::from(of(|i| u64::MAX - (mix(i) % 1000)))),
    );
    add(
        "f16",
        Arc::new(Float16Array::from(of(|i| f16::from_bits(mix(i) as u16)))),
    );
    add(
        "f32_prices",
        Arc::new(Float32Array::from(of(|i| (mix(i) % 10_000) as f32 / 100.0))),
    );
    add(
        "f32_bits",
        Arc::new(Float32Array::from(of(|i| f32::from_bits(mix(i) as u32)))),
    );
    add(
        "f64_prices",
        Arc::new(Float64Array::from(of(|i| {
            (mix(i) % 1_000_000) as f64 / 100.0
        }))),
    );
    add(
        "f64_edges",
        Arc::new(Float64Array::from(of(|i| match i % 6 {
            0 => -0.0,
            1 => f64::from_bits(0x7ff8_0000_0000_0000 | i as u64),
            2 => f64::INFINITY,
            3 => f64::MIN_POSITIVE / 2.0,
            4 => 0.1 * i as f64,
            _ => f64::from_bits(mix(i)),
        }))),
    );
    add(
        "f64_smooth",
        Arc::new(Float64Array::from(of(|i| (i * i) as f64 * 0.001))),
    );
    add(
        "text_words",
        Arc::new(StringArray::from(of(|i| {
            ["north", "south", "east", "west", ""][(mix(i) % 5) as usize]
        }))),
    );
    add(
        "text_paths",
        Arc::new(StringArray::from(of(|i| {
            format!("/srv/data/{:03}/part-{:05}.log", i / 10, i * 7)
        }))),
    );
    add(
        "text_large",
        Arc::new(LargeStringArray::from(of(|i| {
            format!("Zürich {}", mix(i) % 1000)
        }))),
    );
    add(
        "text_view",
        Arc::new(StringViewArray::from(of(|i| {
            format!("a longer value, number {}", i % 20)
        }))),
    );
    add(
        "binary",
        Arc::new(BinaryArray::from_iter_values(of(|i| {
            mix(i).to_le_bytes()[..i % 9].to_vec()
        }))),
    );
    add(
        "fixed",
        Arc::new(
            FixedSizeBinaryArray::try_from_iter(of(|i| mix(i % 40).to_be_bytes()).into_iter())
                .unwrap(),
        ),
    );
    add(
        "decimal",
        Arc::new(
            Decimal128Array::from(of(|i| (mix(i) % 100_000) as i128 - 50_000))
                .with_precision_and_scale(12, 2)
                .unwrap(),
        ),
    );
    add(
        "timestamp",
        Arc::new(
            TimestampMicrosecondArray::from(of(|i| 1_600_000_000_000_000 + i as i64 * 60_000_000))
                .with_timezone("Europe/Zurich"),
        ),
    );
    add(
        "date",
        Arc::new(Date32Array::from(of(|i| 19_000 + (i / 4) as i32))),
    );
    add(
        "dictionary",
        Arc::new(
            (0..ROWS)
                .map(|i| Some(["red", "green", "blue"][i % 3]))
                .collect::<DictionaryArray<Int8Type>>(),
        ),
    );
    add("null", Arc::new(NullArray::new(ROWS)));
    add(
        "list",
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(of(|i| {
            Some(
                (0..i % 4)
                    .map(move |k| (k != 2).then_some((i * k) as i32))
                    .collect::<Vec<_>>(),
            )
        }))),
    );
    let vectors = Float32Array::from((0..ROWS * 4).map(|i| i as f32 / 8.0).collect::<Vec<_>>());
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    add(
        "vectors",
        Arc::new(FixedSizeListArray::new(item, 4, Arc::new(vectors), None)),
    );
    let fields = Fields::from(vec![
        Field::new("x", DataType::Int32, false),
        Field::new("y", DataType::Utf8, true),
    ]);
    let x: ArrayRef = Arc::new(Int32Array::from(of(|i| i as i32)));
    let y: ArrayRef = Arc::new(StringArray::from(of(|i| {
        (i % 3 > 0).then(|| format!("y{i}"))
    })));
    add(
        "struct",
        Arc::new(StructArray::new(fields, vec![x, y], None)),
    );
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    for i in 0..ROWS {
        for k in 0..i % 3 {
            map.keys().append_value(format!("k{k}"));
            map.values().append_option((k == 0).then_some(i as i64));
        }
        map.append(true).unwrap();
    }
    add("map", Arc::new(map.finish()));
    add(
        "i32_nulls",
        Arc::new(Int32Array::from(of(|i| (i % 5 > 1).then_some(i as i32)))),
    );
    add(
        "text_nulls",
        Arc::new(StringArray::from(of(|i| {
            (i % 7 > 0).then(|| format!("v{}", i % 11))
        }))),
    );
    add(
        "all_null",
        Arc::new(Float64Array::from(of(|_| None::<f64>))),
    );
    columns
}

/// Stores each column with one encoding at the root; those that need parents get them as hidden
/// columns.
pub struct Forced {
    id: &'static str,
    columns: Vec<Prepared>,
}

struct Prepared {
    models: Vec<Arc<Model>>,
    parents: Vec<ArrayRef>,
}

impl Forced {
    pub fn new(id: &'static str, table: &RecordBatch) -> Self {
        let encoding = pilaster::encoding::Registry::standard().get(id).unwrap();
        let columns = table
            .columns()
            .iter()
            .map(|array| {
                let lowered = pilaster::encoding::physical::lower(array).unwrap();
                let prepared = prepare::prepare(encoding.as_ref(), &lowered)
                    .unwrap()
                    .unwrap();
                Prepared {
                    models: prepared.models.iter().cloned().collect(),
                    parents: prepared.parents,
                }
            })
            .collect();
        Self { id, columns }
    }

    fn conditioned(&self) -> bool {
        self.columns.iter().any(|c| !c.parents.is_empty())
    }
}

impl Layout for Forced {
    fn columns(&mut self, first: &RecordBatch) -> pilaster::Result<Vec<ColumnSpec>> {
        let mut specs = Vec::new();
        for (field, column) in first.schema().fields().iter().zip(&self.columns) {
            let mut parents = Vec::new();
            for (i, parent) in column.parents.iter().enumerate() {
                parents.push(specs.len());
                specs.push(ColumnSpec {
                    field: Arc::new(Field::new(
                        format!("${}.{i}", field.name()),
                        parent.data_type().clone(),
                        false,
                    )),
                    role: ColumnRole::Hidden,
                    parents: Vec::new(),
                    group: Some(0),
                    words: None,
                });
            }
            specs.push(ColumnSpec {
                field: Arc::clone(field),
                role: ColumnRole::Visible,
                parents,
                group: self.conditioned().then_some(0),
                words: None,
            });
        }
        Ok(specs)
    }

    fn section(&mut self, section: &RecordBatch) -> pilaster::Result<Vec<ColumnData>> {
        let mut data = Vec::new();
        for (array, column) in section.columns().iter().zip(&self.columns) {
            for parent in &column.parents {
                data.push(ColumnData {
                    array: Arc::clone(parent),
                    models: Vec::new(),
                    encoding: None,
                    known: None,
                });
            }
            data.push(ColumnData {
                array: Arc::clone(array),
                models: column.models.clone(),
                encoding: Some(self.id),
                known: None,
            });
        }
        Ok(data)
    }
}
