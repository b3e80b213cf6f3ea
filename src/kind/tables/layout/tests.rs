use std::time::{Duration, Instant};

use arrow::array::*;
use arrow::datatypes::Schema;

use super::*;
use crate::file::{File, WriteOptions, Writer};

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
        .collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

fn written(batch: &RecordBatch, layout: Option<Box<dyn Layout>>) -> Vec<u8> {
    let options = WriteOptions {
        profile: Profile::Archive,
        layout,
        ..WriteOptions::default()
    };
    let mut writer = Writer::in_memory(batch.schema(), options).unwrap();
    writer.write(batch).unwrap();
    writer.into_bytes().unwrap()
}

/// Writes a table with the archive layout and reads it back; gives the size.
fn assert_comes_back(batch: &RecordBatch) -> usize {
    let bytes = written(batch, Some(Box::new(ArchiveLayout::default())));
    let size = bytes.len();
    let file = File::from_bytes("table", bytes).unwrap();
    let back: Vec<RecordBatch> = file.scan_all().unwrap().map(|b| b.unwrap()).collect();
    let back = arrow::compute::concat_batches(&batch.schema(), &back).unwrap();
    assert_eq!(&back, batch);
    size
}

fn ints(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

fn texts(values: impl Iterator<Item = String>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

/// Numbers without a pattern that a codec could find.
fn noise(i: u64) -> u64 {
    let mut z = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^ (z >> 27)
}

#[test]
fn unusual_tables_come_back() {
    let one = batch(vec![
        ("a", ints([7].into_iter())),
        ("b", texts(["x".to_owned()].into_iter())),
        ("c", Arc::new(Float64Array::from(vec![None]))),
    ]);
    assert_comes_back(&one);
    assert_comes_back(&one.slice(0, 0));
    let rows = 3000;
    let table = batch(vec![
        ("constant", ints((0..rows).map(|_| 5))),
        ("null", Arc::new(NullArray::new(rows as usize))),
        ("all null", Arc::new(StringArray::new_null(rows as usize))),
        (
            "unique",
            texts((0..rows).map(|i| format!("{:x}", noise(i as u64)))),
        ),
        ("noise", ints((0..rows).map(|i| noise(i as u64) as i64))),
        (
            "extremes",
            ints((0..rows).map(|i| [i64::MIN, i64::MAX, i64::MIN + 1, 0][i as usize % 4])),
        ),
        (
            "nan",
            Arc::new(Float64Array::from_iter_values(
                (0..rows).map(|i| f64::from_bits(0x7ff8_0000_0000_0000 | (i as u64 % 5))),
            )),
        ),
        (
            "date",
            texts((0..rows).map(|i| format!("2024-{:02}-{:02}", i % 12 + 1, i % 28 + 1))),
        ),
        (
            "mixed",
            texts((0..rows).map(|i| {
                if i % 90 == 0 {
                    "?".into()
                } else {
                    format!("{}", i % 700)
                }
            })),
        ),
    ]);
    assert_comes_back(&table);
    assert_comes_back(&table.slice(1001, 1500));
}

#[test]
fn names_with_a_dollar_do_not_clash() {
    let pair = |i: i64| format!("label {}", i * i % 97);
    let table = batch(vec![
        ("a", texts((0..2000).map(pair))),
        ("$a", texts((0..2000).map(|i| pair(i) + "!"))),
        ("$latent", texts((0..2000).map(|i| pair(i) + "?"))),
    ]);
    assert_comes_back(&table);
    let mut layout = ArchiveLayout::default();
    let specs = layout.columns(&table).unwrap();
    let names: HashSet<&String> = specs.iter().map(|s| s.field.name()).collect();
    assert_eq!(names.len(), specs.len());
}

#[test]
fn a_column_that_follows_from_another_costs_next_to_nothing() {
    let rows = 20_000;
    let key = |i: i64| noise(i as u64) % 300;
    let table = batch(vec![
        ("city", texts((0..rows).map(|i| format!("city {}", key(i))))),
        (
            "code",
            ints((0..rows).map(|i| (noise(key(i) + 7) % 100_000) as i64)),
        ),
        (
            "price",
            Arc::new(Float64Array::from_iter_values(
                (0..rows).map(|i| (key(i) * 25) as f64 / 100.0),
            )),
        ),
    ]);
    let joint = assert_comes_back(&table);
    let plain = written(&table, None).len();
    assert!(joint * 2 < plain, "{joint} {plain}");
}

#[test]
fn independent_columns_are_not_made_larger() {
    let rows = 20_000;
    let table = batch(vec![
        ("a", ints((0..rows).map(|i| (noise(i) % 1000) as i64))),
        (
            "b",
            texts((0..rows).map(|i| format!("{:x}", noise(i + 50_000)))),
        ),
        (
            "c",
            Arc::new(Float64Array::from_iter_values(
                (0..rows).map(|i| (noise(i) as f64).sqrt()),
            )),
        ),
    ]);
    let (joint, plain) = (assert_comes_back(&table), written(&table, None).len());
    assert!(joint * 100 <= plain * 101, "{joint} {plain}");
}

#[test]
fn later_sections_may_differ() {
    let first = batch(vec![
        ("a", texts((0..3000).map(|i| format!("{}", i % 900)))),
        ("b", texts((0..3000).map(|i| format!("n{}", i % 900)))),
    ]);
    let second = batch(vec![
        ("a", texts((0..3000).map(|i| format!("{:x}", noise(i))))),
        ("b", Arc::new(StringArray::new_null(3000))),
    ]);
    let mut layout = ArchiveLayout::default();
    let specs = layout.columns(&first).unwrap();
    for section in [&first, &second, &first.slice(7, 100)] {
        let data = layout.section(section).unwrap();
        assert_eq!(data.len(), specs.len());
        for (data, spec) in data.iter().zip(&specs) {
            assert_eq!(data.array.len(), section.num_rows());
            assert_eq!(data.array.data_type(), spec.field.data_type());
            assert!(spec.field.is_nullable() || data.array.null_count() == 0);
        }
    }
}

#[test]
fn later_sections_of_the_same_kind_share_models() {
    // A section ends after 2^20 rows.
    let rows = (1 << 20) + 150_000;
    let a = |i: u64| noise(i / 3) % 9;
    let b = |i: u64| (a(i) * 4 + noise(i) % 100 / 97) % 9;
    let table = batch(vec![
        ("a", texts((0..rows).map(|i| format!("kind {}", a(i))))),
        ("b", texts((0..rows).map(|i| format!("sort {}", b(i))))),
    ]);
    let bytes = written(&table, Some(Box::new(ArchiveLayout::default())));
    let file = File::from_bytes("table", bytes).unwrap();
    let mut at = 0;
    for back in file.scan_all().unwrap() {
        let back = back.unwrap();
        assert_eq!(back, table.slice(at, back.num_rows()));
        at += back.num_rows();
    }
    assert_eq!(at as u64, rows);
    let mut models = 0;
    for index in 0..file.meta().directory().len() {
        let column = file.meta().column(index).unwrap();
        let kinds: Vec<&str> = column.models.iter().map(|m| m.kind.as_str()).collect();
        let mut once = kinds.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), kinds.len(), "{kinds:?}");
        models += kinds.len();
    }
    assert!(models >= 2, "nothing was coded by a model");
}

#[test]
fn parents_come_before_their_children() {
    let rows = 5000;
    let columns: Vec<(String, ArrayRef)> = (0..12)
        .map(|c| {
            let value = move |i: u64| format!("v{}", noise(i / 7 + c / 3) % (20 + c));
            (format!("c{c}"), texts((0..rows).map(value)))
        })
        .collect();
    let table = batch(
        columns
            .iter()
            .map(|(n, a)| (n.as_str(), Arc::clone(a)))
            .collect(),
    );
    let mut layout = ArchiveLayout::default();
    let specs = layout.columns(&table).unwrap();
    for (i, spec) in specs.iter().enumerate() {
        assert!(
            spec.parents
                .iter()
                .all(|&p| p < i && specs[p].group == spec.group)
        );
    }
    let shown: Vec<&String> = specs
        .iter()
        .filter(|s| s.role.is_shown())
        .map(|s| s.field.name())
        .collect();
    assert_eq!(shown, columns.iter().map(|(n, _)| n).collect::<Vec<_>>());
    let report = layout.report();
    let shown = report.coded.iter().filter(|c| !c.hidden).count() + report.given.len();
    assert!(shown <= columns.len());
    assert_comes_back(&table);
}

#[test]
fn hundreds_of_columns_take_seconds() {
    let columns: Vec<(String, ArrayRef)> = (0..400u64)
        .map(|c| {
            let values = (0..200).map(|i| (noise(i * 400 + c) % (2 + c % 5)) as i64);
            (format!("c{c}"), ints(values))
        })
        .collect();
    let table = batch(
        columns
            .iter()
            .map(|(n, a)| (n.as_str(), Arc::clone(a)))
            .collect(),
    );
    let start = Instant::now();
    assert_comes_back(&table);
    assert!(
        start.elapsed() < Duration::from_secs(60),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn narrow_columns_with_demanding_codecs_stay_readable() {
    // A letter that mostly depends on who it belongs to, and changes now and then: a byte a value in
    // memory, but integers, contexts and last values on the way there.
    let rows = 140_000u64;
    let who = |i: u64| noise(i) % 4000;
    let letter = |i: u64| {
        let turn = u64::from(i > 40_000 + noise(who(i)) % 50_000);
        ["L", "R", "U"][((who(i) * 7 + turn) % 3) as usize].to_owned()
    };
    let table = batch(vec![
        ("who", ints((0..rows).map(|i| (who(i) * 1_000_003) as i64))),
        ("letter", texts((0..rows).map(letter))),
        ("again", texts((0..rows).map(|i| format!("{}x", letter(i))))),
    ]);
    let mut layout = ArchiveLayout::default();
    layout.columns(&table).unwrap();
    let last = layout.report().coded.iter().any(|c| !c.parents.is_empty());
    assert!(last, "{:?}", layout.report());
    assert_comes_back(&table);
    // What the layout asked for was stored, not what a writer falls back to.
    let bytes = written(&table, Some(Box::new(ArchiveLayout::default())));
    let file = File::from_bytes("table", bytes).unwrap();
    for index in 0..file.meta().directory().len() {
        let column = file.meta().column(index).unwrap();
        if !column.parents.is_empty() {
            let asked = |id: &str| id == context::ID || id == restore::ID;
            assert!(column.chunks.iter().all(|c| asked(&c.root.encoding)));
        }
    }
}
