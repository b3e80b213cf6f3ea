//! Many rows: text of high and of low cardinality, sorted and not, dictionaries, decimals, dates, nulls in
//! long stretches and in between.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::Int32Type;
use pilaster_peers::Result;

use super::bench::Bench;
use super::generate::{first_difference, mixed, write_parquet};

const ROWS: usize = 10_000_000;
/// Rows of a stretch of nulls or of values.
const STRETCH: usize = 50_000;

fn hash(i: usize) -> i64 {
    (mixed(i as u64) >> 24) as i64
}

fn key(i: usize) -> i32 {
    (mixed(i as u64 ^ 0xa5a5_0000) % 100_000) as i32
}

fn cents(i: usize) -> i128 {
    i128::from(mixed(i as u64 ^ 0x0bad_cafe) % 1_000_000)
}

fn day(i: usize) -> i32 {
    8_000 + (i / 3_000) as i32
}

fn name(i: usize) -> String {
    format!("user-{i:09} session {} heartbeat ok", i * 7)
}

fn city(i: usize) -> String {
    let number = mixed(i as u64 ^ 0xc17) % 40;
    format!("the deliveries of region number {number} were in time")
}

fn note(i: usize) -> Option<String> {
    let number = mixed(i as u64 ^ 0x907e) % 1_000;
    (i / STRETCH % 2 == 0).then(|| format!("comment {number} was written carefully"))
}

fn code(i: usize) -> String {
    format!("code/{}", mixed(i as u64 ^ 0xc0de) % 3_000)
}

fn flag(i: usize) -> Option<bool> {
    (i % 7 != 3).then_some(mixed(i as u64 ^ 0xf1a6) % 3 == 0)
}

fn ratio(i: usize) -> f64 {
    (mixed(i as u64 ^ 0x4a71) % 10_000) as f64 / 8.0
}

fn batch(rows: Range<usize>) -> Result<RecordBatch> {
    let all = || rows.clone();
    let price =
        Decimal128Array::from_iter_values(all().map(cents)).with_precision_and_scale(12, 2)?;
    let texts: Vec<String> = all().map(code).collect();
    let codes: DictionaryArray<Int32Type> = texts.iter().map(|t| Some(t.as_str())).collect();
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        (
            "id",
            Arc::new(Int64Array::from_iter_values(all().map(|i| i as i64))),
            false,
        ),
        (
            "hash",
            Arc::new(Int64Array::from_iter_values(all().map(hash))),
            false,
        ),
        (
            "key",
            Arc::new(Int32Array::from_iter_values(all().map(key))),
            false,
        ),
        ("price", Arc::new(price), false),
        (
            "day",
            Arc::new(Date32Array::from_iter_values(all().map(day))),
            false,
        ),
        (
            "name",
            Arc::new(StringArray::from_iter_values(all().map(name))),
            false,
        ),
        (
            "city",
            Arc::new(StringArray::from_iter_values(all().map(city))),
            false,
        ),
        (
            "note",
            Arc::new(all().map(note).collect::<StringArray>()),
            true,
        ),
        ("code", Arc::new(codes), false),
        (
            "flag",
            Arc::new(all().map(flag).collect::<BooleanArray>()),
            true,
        ),
        (
            "ratio",
            Arc::new(Float64Array::from_iter_values(all().map(ratio))),
            false,
        ),
    ];
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

pub fn run(bench: &mut Bench) -> Result<()> {
    let rows = bench.count(ROWS);
    let source = bench.path("rows.parquet");
    write_parquet(&source, rows, batch)?;
    let sum = |value: &dyn Fn(usize) -> i128| (0..rows).map(value).sum::<i128>();
    let count = |keep: &dyn Fn(usize) -> bool| (0..rows).filter(|&i| keep(i)).count() as i128;
    let hashes: Vec<i64> = (0..rows).map(hash).collect();
    let (low, high) = (hashes.iter().min().copied(), hashes.iter().max().copied());
    let mut order: Vec<usize> = (0..rows).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(hashes[i]), i));
    let largest: Vec<String> = order[..10]
        .iter()
        .map(|&i| format!("{i},{}", hashes[i]))
        .collect();
    let middle = rows / 2;
    let keys = count(&|i| key(i) == 4_321);
    let cities = count(&|i| city(i) == city(0));
    let codes = count(&|i| code(i) == code(1));
    let notes = count(&|i| note(i).is_some());
    let noted = count(&|i| note(i) == note(0));
    let (set, unset) = (
        count(&|i| flag(i) == Some(true)),
        count(&|i| flag(i).is_none()),
    );
    let eighths = sum(&|i| (ratio(i) * 8.0) as i128);
    let prices = sum(&cents);
    let days = count(&|i| day(i) == day(middle));
    for profile in bench.profiles.clone() {
        let file = bench.import(&profile, rows, &[&source], &[])?;
        let t = format!("'{}'", file.display());
        let n = rows as i128;
        bench.expect_numbers(
            &format!("SELECT count(*), sum(id), min(id), max(id), sum(hash) FROM {t}"),
            &[
                n,
                n * (n - 1) / 2,
                0,
                n - 1,
                hashes.iter().map(|&h| i128::from(h)).sum(),
            ],
        );
        bench.expect_numbers(
            &format!("SELECT min(hash), max(hash) FROM {t} WHERE id >= 0"),
            &[low.unwrap_or(0).into(), high.unwrap_or(0).into()],
        );
        bench.expect(
            &format!("SELECT min(name), max(name), min(city) IS NULL FROM {t} WHERE id >= 0"),
            &[format!("{},{},false", name(0), name(rows - 1))],
        );
        bench.expect_numbers(
            &format!("SELECT count(*) FROM {t} WHERE key = 4321"),
            &[keys],
        );
        bench.expect_numbers(
            &format!("SELECT count(*) FROM {t} WHERE city = '{}'", city(0)),
            &[cities],
        );
        bench.expect_numbers(
            &format!("SELECT count(*) FROM {t} WHERE code = '{}'", code(1)),
            &[codes],
        );
        bench.expect_numbers(
            &format!("SELECT id FROM {t} WHERE name = '{}'", name(middle)),
            &[middle as i128],
        );
        bench.expect_numbers(
            &format!("SELECT count(*) FROM {t} WHERE name >= '{}'", name(middle)),
            &[n - middle as i128],
        );
        bench.expect_numbers(
            &format!("SELECT count(note), count(*) - count(flag) FROM {t}"),
            &[notes, unset],
        );
        bench.expect_numbers(
            &format!("SELECT count(*) FROM {t} WHERE note IS NULL AND id >= 0"),
            &[n - notes],
        );
        bench.expect_numbers(
            &format!(
                "SELECT count(*) FROM {t} WHERE note = '{}'",
                note(0).unwrap_or_default()
            ),
            &[noted],
        );
        bench.expect_numbers(&format!("SELECT count(*) FROM {t} WHERE flag"), &[set]);
        bench.expect_numbers(
            &format!(
                "SELECT CAST(sum(ratio) * 8 AS BIGINT), CAST(sum(price) * 100 AS BIGINT) FROM {t}"
            ),
            &[eighths, prices],
        );
        bench.expect_numbers(
            &format!(
                "SELECT count(*) FROM {t} WHERE day = CAST(CAST({} AS INT) AS DATE)",
                day(middle)
            ),
            &[days],
        );
        bench.expect(
            &format!("SELECT id, hash FROM {t} ORDER BY hash DESC, id LIMIT 10"),
            &largest,
        );
        bench.expect(
            &format!("SELECT name FROM {t} ORDER BY name DESC LIMIT 2"),
            &[name(rows - 1), name(rows - 2)],
        );
        let back = bench.path("rows-back.parquet");
        bench.must(&[
            "-q",
            "export",
            &file.display().to_string(),
            &back.display().to_string(),
        ])?;
        let difference = first_difference(&back, rows, batch)?;
        bench.answered(
            difference.is_none(),
            &format!("{profile}: export: {difference:?}"),
        );
        std::fs::remove_file(back)?;
        std::fs::remove_file(file)?;
    }
    std::fs::remove_file(source)?;
    Ok(())
}
