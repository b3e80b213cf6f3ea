//! Arrays of every Arrow type that a file carries.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::compute;
use arrow::datatypes::*;

use super::{Order, Rng, Sample, Shape, Spread, leaf, with_nulls};

/// Every type that is not nested.
pub fn flat_types() -> Vec<DataType> {
    use DataType::*;
    let mut types = super::leaf_types();
    types.extend([
        Null,
        Date32,
        Date64,
        Time32(TimeUnit::Second),
        Time32(TimeUnit::Millisecond),
        Time64(TimeUnit::Microsecond),
        Time64(TimeUnit::Nanosecond),
        Duration(TimeUnit::Second),
        Duration(TimeUnit::Nanosecond),
        Interval(IntervalUnit::YearMonth),
        Interval(IntervalUnit::DayTime),
        Interval(IntervalUnit::MonthDayNano),
        Timestamp(TimeUnit::Second, None),
        Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
        Timestamp(TimeUnit::Microsecond, Some("Europe/Zurich".into())),
        Timestamp(TimeUnit::Nanosecond, Some("+05:30".into())),
        Decimal32(7, 2),
        Decimal64(15, -3),
        Decimal128(38, 10),
        Decimal128(12, 2),
        Decimal256(76, 40),
        Utf8,
        LargeUtf8,
        Utf8View,
        LargeBinary,
        BinaryView,
        Dictionary(Box::new(Int8), Box::new(Utf8)),
        Dictionary(Box::new(UInt16), Box::new(Int64)),
        Dictionary(Box::new(Int32), Box::new(LargeBinary)),
        Dictionary(Box::new(Int64), Box::new(Float64)),
    ]);
    types
}

/// Nested types, one and several levels deep.
pub fn nested_types() -> Vec<DataType> {
    use DataType::*;
    let item = |t: DataType| Arc::new(Field::new("item", t, true));
    let full = |t: DataType| Arc::new(Field::new("item", t, false));
    let structure = Struct(Fields::from(vec![
        Field::new("a", Int32, true),
        Field::new("b", Utf8, true),
        Field::new(
            "c",
            Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            false,
        ),
    ]));
    let flags = Struct(Fields::from(vec![
        Field::new("flag", Boolean, false),
        Field::new("word", FixedSizeBinary(2), false),
        Field::new("list", List(item(Int8)), true),
    ]));
    // Two heads of keys, as in a key/value cache.
    let about = [("pilaster.kv.side", "k"), ("pilaster.kv.head_dim", "2")];
    let about = about.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let keys = Field::new("item", Float16, false).with_metadata(about.into());
    let keys = Arc::new(keys);
    let entries = Struct(Fields::from(vec![
        Field::new("keys", Utf8, false),
        Field::new("values", Int64, true),
    ]));
    vec![
        List(item(Int32)),
        List(full(Utf8)),
        List(item(List(item(Float32)))),
        List(item(structure.clone())),
        List(item(Null)),
        LargeList(item(Utf8View)),
        FixedSizeList(full(Float32), 4),
        FixedSizeList(keys, 4),
        FixedSizeList(item(Int16), 3),
        FixedSizeList(full(FixedSizeList(full(UInt8), 2)), 2),
        FixedSizeList(item(Utf8), 2),
        structure.clone(),
        Struct(Fields::from(vec![
            Field::new("inner", structure, true),
            Field::new("list", List(item(Decimal128(12, 2))), true),
        ])),
        Struct(Fields::empty()),
        Struct(Fields::from(vec![
            Field::new("flag", Boolean, true),
            Field::new("word", FixedSizeBinary(3), false),
            Field::new("sign", Dictionary(Box::new(Int8), Box::new(Utf8)), true),
            Field::new("nothing", Null, true),
            Field::new("pair", FixedSizeList(item(flags.clone()), 2), true),
        ])),
        FixedSizeList(full(flags), 3),
        FixedSizeList(full(Dictionary(Box::new(Int16), Box::new(Utf8))), 2),
        FixedSizeList(full(Utf8View), 2),
        Map(Arc::new(Field::new("entries", entries, false)), false),
    ]
}

/// Arrays of one type, with and without nulls, empty, of one row, all null, and sliced.
pub fn samples(data_type: &DataType, rows: usize) -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut push = |name: &str, array: ArrayRef| {
        samples.push(Sample {
            name: format!("{data_type} {name}"),
            array,
        });
    };
    push("full", array(data_type, rows, 0.0, &mut Rng::new(1)));
    push("one row", array(data_type, 1, 0.0, &mut Rng::new(2)));
    push("empty", array(data_type, 0, 0.0, &mut Rng::new(3)));
    let sparse = array(data_type, rows, 0.1, &mut Rng::new(4));
    push("some nulls", Arc::clone(&sparse));
    push("mostly null", array(data_type, rows, 0.9, &mut Rng::new(5)));
    push("one null", array(data_type, 1, 1.0, &mut Rng::new(6)));
    push(
        "all null",
        array(data_type, rows.min(200), 1.0, &mut Rng::new(7)),
    );
    if rows > 20 {
        push("sliced", sparse.slice(7, rows - 12));
    }
    samples
}

/// Vectors of whole numbers, of which there are few in random ones; for other types nothing.
pub fn whole_vectors(data_type: &DataType, rows: usize) -> Vec<Sample> {
    let DataType::FixedSizeList(field, width) = data_type else {
        return Vec::new();
    };
    if *field.data_type() != DataType::Float32 {
        return Vec::new();
    }
    let sample = |name: &str, least: f32, far: f32| {
        let mut rng = Rng::new(8);
        let size = *width as usize;
        // Some rows may be far from the others.
        let factor = |i: usize| if i / size.max(1) % 100 == 9 { far } else { 1.0 };
        let values = (0..rows * size).map(|i| (rng.below(256) as f32 + least) * factor(i));
        let values = Float32Array::from_iter_values(values);
        let list = FixedSizeListArray::new(Arc::clone(field), *width, Arc::new(values), None);
        Sample {
            name: format!("{data_type} {name}"),
            array: Arc::new(list),
        }
    };
    vec![
        sample("bytes", 0.0, 1.0),
        sample("signed bytes", -128.0, 1.0),
        sample("bytes and rows far from them", 0.5, 1e20),
    ]
}

/// An array of any type; about `nulls` of the rows are null, at every level that may be.
pub fn array(data_type: &DataType, rows: usize, nulls: f64, rng: &mut Rng) -> ArrayRef {
    use DataType::*;
    let array: ArrayRef = match data_type {
        Null => return Arc::new(NullArray::new(rows)),
        Date32 | Time32(_) | Interval(IntervalUnit::YearMonth) => {
            retype(&ints(Int32, rows, rng), data_type)
        }
        Date64 | Time64(_) | Timestamp(..) | Duration(_) => {
            retype(&ints(Int64, rows, rng), data_type)
        }
        Interval(IntervalUnit::DayTime) => Arc::new(IntervalDayTimeArray::from_iter_values(
            (0..rows).map(|_| IntervalDayTime::new(rng.next() as i32, rng.next() as i32)),
        )),
        Interval(IntervalUnit::MonthDayNano) => Arc::new(
            IntervalMonthDayNanoArray::from_iter_values((0..rows).map(|_| {
                IntervalMonthDayNano::new(
                    rng.next() as i32,
                    rng.below(31) as i32,
                    rng.next() as i64,
                )
            })),
        ),
        Decimal32(p, s) => {
            let values = (0..rows).map(|_| rng.next() as i32 % 10i32.pow(u32::from(*p)));
            let array = Decimal32Array::from_iter_values(values);
            Arc::new(array.with_precision_and_scale(*p, *s).unwrap())
        }
        Decimal64(p, s) => {
            let values = (0..rows).map(|_| rng.next() as i64 % 10i64.pow(u32::from(*p)));
            let array = Decimal64Array::from_iter_values(values);
            Arc::new(array.with_precision_and_scale(*p, *s).unwrap())
        }
        Decimal128(p, s) => {
            let values = (0..rows).map(|_| {
                let wide = (i128::from(rng.next() as i64) << 64) | i128::from(rng.next());
                wide % 10i128.pow(u32::from(*p))
            });
            let array = Decimal128Array::from_iter_values(values);
            Arc::new(array.with_precision_and_scale(*p, *s).unwrap())
        }
        Decimal256(p, s) => {
            let values = (0..rows).map(|_| {
                let wide = i256::from_i128(i128::from(rng.next() as i64) << 60);
                wide.wrapping_mul(i256::from_i128(1 << 100))
            });
            let array = Decimal256Array::from_iter_values(values);
            Arc::new(array.with_precision_and_scale(*p, *s).unwrap())
        }
        Utf8 | LargeUtf8 | Utf8View => {
            let text = StringArray::from_iter_values((0..rows).map(|_| text(rng)));
            compute::cast(&text, data_type).unwrap()
        }
        LargeBinary | BinaryView => {
            let shape = shape(rows, rng);
            compute::cast(&leaf(&Binary, shape, rng.next()), data_type).unwrap()
        }
        Dictionary(key, values) => return dictionary(key, values, rows, nulls, rng),
        List(field) => list::<i32>(field, rows, nulls, rng),
        LargeList(field) => list::<i64>(field, rows, nulls, rng),
        FixedSizeList(field, width) => {
            let values = child(field, rows * *width as usize, nulls, rng);
            Arc::new(
                FixedSizeListArray::try_new_with_length(
                    Arc::clone(field),
                    *width,
                    values,
                    None,
                    rows,
                )
                .unwrap(),
            )
        }
        Struct(fields) => {
            let columns = fields.iter().map(|f| child(f, rows, nulls, rng)).collect();
            Arc::new(StructArray::try_new_with_length(fields.clone(), columns, None, rows).unwrap())
        }
        Map(entries, ordered) => {
            let lengths = lengths(rows, rng);
            let total = lengths.iter().sum();
            let Struct(fields) = entries.data_type() else {
                panic!("a map of {entries}");
            };
            let columns = fields.iter().map(|f| child(f, total, nulls, rng)).collect();
            let columns = StructArray::new(fields.clone(), columns, None);
            let offsets = OffsetBuffer::from_lengths(lengths);
            Arc::new(
                MapArray::try_new(Arc::clone(entries), offsets, columns, None, *ordered).unwrap(),
            )
        }
        leaf_type => {
            let shape = shape(rows, rng);
            leaf(leaf_type, shape, rng.next())
        }
    };
    match nulls > 0.0 {
        true => with_nulls(&array, nulls, rng.next()),
        false => array,
    }
}

fn child(field: &Field, rows: usize, nulls: f64, rng: &mut Rng) -> ArrayRef {
    let nulls = if field.is_nullable() { nulls } else { 0.0 };
    array(field.data_type(), rows, nulls, rng)
}

fn shape(rows: usize, rng: &mut Rng) -> Shape {
    let orders = [
        Order::Shuffled,
        Order::Skewed,
        Order::Sorted,
        Order::Runs(9),
    ];
    let spreads = [
        Spread::Narrow,
        Spread::Wide,
        Spread::Stepped,
        Spread::Outliers,
    ];
    Shape {
        rows,
        distinct: [1, 3, 40, rows][rng.below(4)],
        spread: spreads[rng.below(4)],
        order: orders[rng.below(4)],
    }
}

fn ints(data_type: DataType, rows: usize, rng: &mut Rng) -> ArrayRef {
    let shape = shape(rows, rng);
    leaf(&data_type, shape, rng.next())
}

fn retype(array: &ArrayRef, to: &DataType) -> ArrayRef {
    make_array(
        array
            .to_data()
            .into_builder()
            .data_type(to.clone())
            .build()
            .unwrap(),
    )
}

fn text(rng: &mut Rng) -> String {
    match rng.below(6) {
        0 => String::new(),
        1 => format!("{:03}", rng.below(1000)),
        2 => "Ünïcödé ✓ ".repeat(rng.below(4)),
        3 => format!("user-{}@example.org", rng.below(50)),
        _ => format!("{:x}", rng.next()),
    }
}

fn lengths(rows: usize, rng: &mut Rng) -> Vec<usize> {
    (0..rows).map(|_| rng.below(5)).collect()
}

fn list<O: OffsetSizeTrait>(field: &FieldRef, rows: usize, nulls: f64, rng: &mut Rng) -> ArrayRef {
    let lengths = lengths(rows, rng);
    let values = child(field, lengths.iter().sum(), nulls, rng);
    let offsets = OffsetBuffer::<O>::from_lengths(lengths);
    Arc::new(GenericListArray::try_new(Arc::clone(field), offsets, values, None).unwrap())
}

/// A dictionary array with unused and repeated values, nulls among keys and among values.
fn dictionary(
    key: &DataType,
    values: &DataType,
    rows: usize,
    nulls: f64,
    rng: &mut Rng,
) -> ArrayRef {
    let distinct = if nulls >= 1.0 { 1 } else { 30 };
    let shape = Shape {
        rows: distinct,
        distinct: 25,
        spread: Spread::Narrow,
        order: Order::Shuffled,
    };
    let pool = match values {
        DataType::Utf8 => Arc::new(StringArray::from_iter_values(
            (0..distinct).map(|_| text(rng)),
        )) as ArrayRef,
        DataType::LargeBinary => {
            compute::cast(&leaf(&DataType::Binary, shape, rng.next()), values).unwrap()
        }
        other => leaf(other, shape, rng.next()),
    };
    let pool = match nulls > 0.0 {
        true => with_nulls(&pool, 0.1, rng.next()),
        false => pool,
    };
    let keys: Vec<u64> = (0..rows).map(|_| rng.below(distinct) as u64).collect();
    let keys = compute::cast(&UInt64Array::from(keys), key).unwrap();
    let keys = match nulls > 0.0 {
        true => with_nulls(&keys, nulls, rng.next()),
        false => keys,
    };
    let data_type = DataType::Dictionary(Box::new(key.clone()), Box::new(values.clone()));
    let data = keys
        .to_data()
        .into_builder()
        .data_type(data_type)
        .child_data(vec![pool.to_data()])
        .build()
        .unwrap();
    make_array(data)
}
