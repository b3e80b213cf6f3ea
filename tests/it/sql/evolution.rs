//! Files of one table whose schemas differ.

use std::sync::Arc;

use arrow::array::*;

use super::*;

fn old_and_new(folder: &Folder) -> String {
    let a: ArrayRef = Arc::new(Int32Array::from_iter((0..10_000).map(Some)));
    let b: ArrayRef = Arc::new(StringArray::from_iter_values(
        (0..10_000).map(|i| format!("old{i}")),
    ));
    folder.file(
        "t/1.pil",
        &[RecordBatch::try_from_iter([("a", a), ("b", b)]).unwrap()],
    );
    // `a` is wider, `b` is gone, `c` is new, and the order of columns is another.
    let c: ArrayRef = Arc::new(BooleanArray::from_iter(
        (0..10_000).map(|i| Some(i % 2 == 0)),
    ));
    let a: ArrayRef = Arc::new(Int64Array::from_iter(
        (0..10_000).map(|i| Some(i * 1_000_000)),
    ));
    folder.file(
        "t/2.pil",
        &[RecordBatch::try_from_iter([("c", c), ("a", a)]).unwrap()],
    );
    folder.sql("t/")
}

#[tokio::test]
async fn missing_columns_are_null_and_types_widen() {
    let folder = Folder::new();
    let place = old_and_new(&folder);
    for partitions in [1, 2, 4] {
        let context = session(partitions);
        for (sql, expected) in [
            (
                "SELECT count(*), count(a), count(b), count(c) FROM t",
                "20000|20000|10000|10000",
            ),
            (
                "SELECT min(a), max(a), sum(a) FROM t",
                "0|9999000000|49995049995000",
            ),
            ("SELECT count(*) FROM t WHERE b IS NULL", "10000"),
            ("SELECT count(*) FROM t WHERE c", "5000"),
            (
                "SELECT count(*) FROM t WHERE b = 'old77' OR c IS NOT NULL",
                "10001",
            ),
            ("SELECT a, b, c FROM t WHERE a = 77", "77|old77|NULL"),
            (
                "SELECT a, b, c FROM t WHERE a = 77000000",
                "77000000|NULL|false",
            ),
            ("SELECT a FROM t WHERE a > 9998000000", "9999000000"),
            (
                "SELECT a, c FROM t ORDER BY a DESC LIMIT 1",
                "9999000000|false",
            ),
        ] {
            let sql = sql.replace("FROM t", &format!("FROM {place}"));
            assert_eq!(rows(&context, &sql).await, [expected], "{sql}");
        }
    }
}

#[tokio::test]
async fn a_declared_schema_is_what_is_read() {
    let folder = Folder::new();
    let place = old_and_new(&folder);
    let context = session(2);
    run(
        &context,
        &format!("CREATE EXTERNAL TABLE t (a DOUBLE, b VARCHAR, z INT) STORED AS PILASTER LOCATION {place}"),
    )
    .await;
    let sql = "SELECT count(*), max(a), count(b), count(z) FROM t";
    assert_eq!(rows(&context, sql).await, ["20000|9999000000.0|10000|0"]);
    let sql = "SELECT count(*) FROM t WHERE a = 77.0 AND z IS NULL AND b LIKE 'old%'";
    assert_eq!(number(&context, sql).await, 1);
}

#[tokio::test]
async fn types_that_do_not_meet_are_refused_by_name() {
    let folder = Folder::new();
    let place = old_and_new(&folder);
    let b: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    folder.file(
        "t/3.pil",
        &[RecordBatch::try_from_iter([("b", b)]).unwrap()],
    );
    let message = error(&session(1), &format!("SELECT * FROM {place}")).await;
    assert!(
        message.contains("3.pil") && message.contains("'b'"),
        "{message}"
    );
}
