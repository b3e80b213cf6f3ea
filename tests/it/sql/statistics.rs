//! `COUNT`, `MIN` and `MAX` without a scan, and only where that is true.

use std::sync::Arc;

use arrow::array::*;

use super::generate::{integers, table};
use super::*;

fn columns(columns: Vec<(&str, ArrayRef)>) -> Vec<RecordBatch> {
    vec![
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))
            .unwrap(),
    ]
}

#[tokio::test]
async fn counts_and_bounds_come_from_the_footer() {
    let folder = Folder::new();
    let file = folder.file("t.pil", &table(30_000, 2));
    let context = session(2);
    let sql = format!("SELECT count(*), min(id), max(id), min(day), count(s) FROM {file}");
    let plan = plan(&context, &sql).await;
    assert!(!plan.contains("DataSourceExec"), "{plan}");
    let answer = rows(&context, &sql).await;
    assert!(
        answer[0].starts_with("30000|0|29999|2022-01-08|"),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_filter_makes_counts_inexact() {
    let folder = Folder::new();
    let file = folder.file("t.pil", &[integers("x", 0..30_000)]);
    let context = session(2);
    for (filter, count) in [("x < 10", 10), ("x < 0", 0), ("x >= 0", 30_000)] {
        let sql = format!("SELECT count(*) FROM {file} WHERE {filter}");
        assert_eq!(number(&context, &sql).await, count);
        let sql = format!("SELECT count(*) FROM (SELECT * FROM {file} WHERE {filter})");
        assert_eq!(number(&context, &sql).await, count);
    }
}

#[tokio::test]
async fn cut_strings_are_no_answers() {
    let folder = Folder::new();
    let long = |c: char| format!("{}{c}", "y".repeat(200));
    let texts: ArrayRef = Arc::new(StringArray::from(vec![long('b'), long('a'), long('c')]));
    let file = folder.file("t.pil", &columns(vec![("s", texts)]));
    let context = session(1);
    let sql = format!(
        "SELECT min(s) = repeat('y', 200) || 'a', max(s) = repeat('y', 200) || 'c' FROM {file}"
    );
    assert_eq!(rows(&context, &sql).await, ["true|true"]);
    let sql = format!("SELECT count(*) FROM {file} WHERE s = repeat('y', 200) || 'c'");
    assert_eq!(number(&context, &sql).await, 1);
}

#[tokio::test]
async fn not_a_number_is_counted_as_datafusion_does() {
    let folder = Folder::new();
    let theirs = memory(1);
    let context = session(1);
    for (i, values) in [
        vec![Some(f64::NAN), Some(1.0)],
        vec![Some(1.0), None, Some(-0.0), Some(0.0)],
        vec![Some(f64::NAN)],
        vec![None, None],
        vec![Some(f64::NEG_INFINITY), Some(f64::INFINITY)],
    ]
    .into_iter()
    .enumerate()
    {
        let array: ArrayRef = Arc::new(Float64Array::from(values));
        let batches = columns(vec![("f", array)]);
        let file = folder.file(&format!("{i}.pil"), &batches);
        memory_table(&theirs, &format!("t{i}"), &batches);
        for aggregate in ["min(f), max(f)", "count(f), count(*)", "sum(f)"] {
            let ours = rows(&context, &format!("SELECT {aggregate} FROM {file}")).await;
            let expected = rows(&theirs, &format!("SELECT {aggregate} FROM t{i}")).await;
            assert_eq!(ours, expected, "{aggregate} of {i}");
        }
    }
}

#[tokio::test]
async fn bounds_of_several_files_and_of_dictionaries() {
    let folder = Folder::new();
    let words = |range: std::ops::Range<i64>| -> Vec<RecordBatch> {
        let array: DictionaryArray<arrow::datatypes::Int32Type> = range
            .map(|i| Some(["b", "a", "d"][i as usize % 3]))
            .collect();
        columns(vec![("s", Arc::new(array))])
    };
    folder.file("t/a.pil", &words(0..1));
    folder.file("t/b.pil", &words(1..3));
    let context = session(2);
    let sql = format!("SELECT min(s), max(s), count(*) FROM {}", folder.sql("t/"));
    assert_eq!(rows(&context, &sql).await, ["a|d|3"]);
}

#[tokio::test]
async fn a_table_of_no_rows() {
    let folder = Folder::new();
    let file = folder.file("t.pil", &[integers("x", 0..0)]);
    let context = session(2);
    let sql = format!("SELECT count(*), min(x), max(x) FROM {file}");
    assert_eq!(rows(&context, &sql).await, ["0|NULL|NULL"]);
    let sql = format!("SELECT * FROM {file} WHERE x > 1 ORDER BY x LIMIT 3");
    assert!(rows(&context, &sql).await.is_empty());
}

#[tokio::test]
async fn a_limit_stops_at_files_that_hold_enough() {
    let folder = Folder::new();
    for i in 0..5 {
        folder.file(
            &format!("t/{i}.pil"),
            &[integers("x", i * 100..i * 100 + 100)],
        );
    }
    let context = session(1);
    let t = folder.sql("t/");
    let plan = plan(&context, &format!("SELECT x FROM {t} LIMIT 150")).await;
    assert_eq!(plan.matches(".pil").count(), 2, "{plan}");
    assert_eq!(
        rows(&context, &format!("SELECT x FROM {t} LIMIT 150"))
            .await
            .len(),
        150
    );
    let sql = format!("SELECT x FROM {t} WHERE x >= 450 LIMIT 150");
    assert_eq!(rows(&context, &sql).await.len(), 50);
}
