//! Comparisons with constants that have more digits than a column, and casts that change values.

use arrow::array::*;

use super::*;

fn times() -> RecordBatch {
    let seconds: ArrayRef = Arc::new(TimestampSecondArray::from(vec![
        Some(4),
        Some(5),
        Some(6),
        None,
        Some(-6),
        Some(253_402_300_799),
    ]));
    let days: ArrayRef = Arc::new(Date32Array::from(vec![
        Some(0),
        Some(1),
        Some(-1),
        None,
        Some(2),
        Some(2_932_896),
    ]));
    let id: ArrayRef = Arc::new(Int64Array::from(vec![4, 5, 6, 0, -6, 9]));
    RecordBatch::try_from_iter_with_nullable([
        ("id", id, false),
        ("t", seconds, true),
        ("d", days, true),
    ])
    .unwrap()
}

async fn ids(condition: &str) -> Vec<String> {
    let folder = Folder::new();
    let file = folder.file("t.pil", &[times()]);
    let ours = session(2);
    memory_table(&ours, "m", &[times()]);
    let ask = |table: &str| format!("SELECT id FROM {table} WHERE {condition} ORDER BY id");
    let found = rows(&ours, &ask(&file)).await;
    assert_eq!(rows(&ours, &ask("m")).await, found, "{condition}");
    found
}

#[tokio::test]
async fn a_constant_keeps_its_digits_beside_a_coarse_column() {
    for (condition, expected) in [
        ("t = '1970-01-01 00:00:05.5'", vec![]),
        ("t = TIMESTAMP '1970-01-01 00:00:05.5'", vec![]),
        ("t = '1970-01-01 00:00:05.000'", vec!["5"]),
        ("t < '1970-01-01 00:00:05.5'", vec!["-6", "4", "5"]),
        (
            "t <= TIMESTAMP '1970-01-01 00:00:05.5'",
            vec!["-6", "4", "5"],
        ),
        ("t > TIMESTAMP '1970-01-01 00:00:05.5'", vec!["6", "9"]),
        ("TIMESTAMP '1970-01-01 00:00:05.5' <= t", vec!["6", "9"]),
        (
            "t > '1969-12-31 23:59:53.5'",
            vec!["-6", "4", "5", "6", "9"],
        ),
        ("t < '1969-12-31 23:59:53.5'", vec![]),
        (
            "t <> '1970-01-01 00:00:05.5'",
            vec!["-6", "4", "5", "6", "9"],
        ),
        (
            "t BETWEEN '1970-01-01 00:00:04.5' AND '1970-01-01 00:00:05.5'",
            vec!["5"],
        ),
        (
            "t NOT BETWEEN '1970-01-01 00:00:04.5' AND '1970-01-01 00:00:05.5'",
            vec!["-6", "4", "6", "9"],
        ),
        (
            "t IN ('1970-01-01 00:00:04', '1970-01-01 00:00:05.5')",
            vec!["4"],
        ),
        ("t IN ('1970-01-01 00:00:05.5')", vec![]),
        (
            "t NOT IN ('1970-01-01 00:00:05.5', '1970-01-01 00:00:04')",
            vec!["-6", "5", "6", "9"],
        ),
        (
            "t IS DISTINCT FROM TIMESTAMP '1970-01-01 00:00:05.5'",
            vec!["-6", "0", "4", "5", "6", "9"],
        ),
        ("d = TIMESTAMP '1970-01-02 12:00:00'", vec![]),
        ("d < TIMESTAMP '1970-01-02 12:00:00'", vec!["4", "5", "6"]),
        ("d >= TIMESTAMP '1970-01-02 12:00:00'", vec!["-6", "9"]),
        ("(t = '1970-01-01 00:00:05.5') IS NULL", vec!["0"]),
        ("id = 4.5", vec![]),
        ("id < 4.5", vec!["-6", "0", "4"]),
        ("TRY_CAST(id * 100 AS TINYINT) < 100", vec!["0"]),
        (
            "CAST(CAST(id AS DECIMAL(10, 2)) / 4 AS DECIMAL(10, 0)) = 1",
            vec!["4", "5"],
        ),
    ] {
        assert_eq!(ids(condition).await, expected, "{condition}");
    }
}

#[tokio::test]
async fn times_of_day_keep_their_digits() {
    let seconds: ArrayRef = Arc::new(Time32SecondArray::from(vec![
        Some(4),
        Some(5),
        Some(6),
        None,
    ]));
    let micros: ArrayRef = Arc::new(Time64MicrosecondArray::from(vec![
        Some(4_000_000),
        Some(5_500_000),
        Some(6_000_000),
        None,
    ]));
    let id: ArrayRef = Arc::new(Int64Array::from(vec![4, 5, 6, 0]));
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("id", id, false),
        ("h", seconds, true),
        ("u", micros, true),
    ])
    .unwrap();
    let folder = Folder::new();
    let file = folder.file("t.pil", std::slice::from_ref(&batch));
    let ours = session(2);
    memory_table(&ours, "m", &[batch]);
    for (condition, expected) in [
        ("h = '00:00:05.5'", ""),
        ("h = '00:00:05.000'", "5"),
        ("h IN ('00:00:05.5')", ""),
        ("h IN ('00:00:05.5', '00:00:04')", "4"),
        ("h NOT IN ('00:00:05.5', '00:00:04')", "5,6"),
        ("h NOT IN ('00:00:05.5', NULL)", ""),
        ("u IN ('00:00:05.5000001', '00:00:04')", "4"),
        ("u IN ('00:00:05.5', '00:00:04.0')", "4,5"),
        ("h BETWEEN '00:00:04.5' AND '00:00:05.5'", "5"),
        ("h = TIME '00:00:05.5'", ""),
        ("h = TIME '00:00:05'", "5"),
        ("h IN (TIME '00:00:05.5', TIME '00:00:04', NULL)", "4"),
        ("h BETWEEN TIME '00:00:04.5' AND TIME '00:00:05.5'", "5"),
        ("h NOT BETWEEN '00:00:04.5' AND TIME '00:00:05.5'", "4,6"),
        ("h IN (SELECT '00:00:05.5')", ""),
        ("h IN (SELECT '00:00:05')", "5"),
        ("h NOT IN (SELECT TIME '00:00:05')", "4,6"),
        ("h IN (SELECT u FROM m)", "4,6"),
        ("h = u", "4,6"),
        ("h < u", "5"),
        ("h = concat('00:00:05', substr('.5', 1, id))", ""),
        ("CASE h WHEN '00:00:05.5' THEN true ELSE false END", ""),
        ("CASE h WHEN TIME '00:00:05' THEN true ELSE false END", "5"),
    ] {
        for table in [&file, "m"] {
            let sql = format!("SELECT id FROM {table} WHERE {condition} ORDER BY id");
            assert_eq!(rows(&ours, &sql).await.join(","), expected, "{condition}");
        }
    }
}

#[tokio::test]
async fn lists_and_cases_of_days_keep_the_digits_of_times() {
    for (condition, expected) in [
        ("d IN ('1970-01-02 00:00:05.5', '1970-01-01')", "4"),
        (
            "d NOT IN ('1970-01-02 00:00:05.5', '1970-01-01')",
            "-6,5,6,9",
        ),
        ("d BETWEEN '1970-01-01 00:00:05.5' AND '1970-01-02'", "5"),
        (
            "CASE d WHEN '1970-01-02 00:00:05.5' THEN true ELSE d = '1970-01-01' END",
            "4",
        ),
        (
            "CASE t WHEN '1970-01-01 00:00:05.5' THEN true WHEN '1970-01-01 00:00:06' THEN true END",
            "6",
        ),
    ] {
        let mut found = ids(condition).await;
        found.sort();
        assert_eq!(found.join(","), expected, "{condition}");
    }
}

#[tokio::test]
async fn bounds_decide_only_where_a_cast_keeps_the_order() {
    // Every zone begins in the evening and ends in the morning.
    let seconds: Vec<i64> = (0..20_000).map(|i| 79_200 + (i % 8192) * 4).collect();
    let t: ArrayRef = Arc::new(TimestampSecondArray::from(seconds));
    let i: ArrayRef = Arc::new(Int64Array::from_iter_values((0..20_000).map(|i| i % 3 - 1)));
    let batch = RecordBatch::try_from_iter([("t", t), ("i", i)]).unwrap();
    let folder = Folder::new();
    let file = folder.file("t.pil", std::slice::from_ref(&batch));
    let ours = session(1);
    memory_table(&ours, "m", &[batch]);
    for condition in [
        "CAST(t AS TIME) = TIME '00:00:00'",
        "CAST(t AS TIME) < TIME '05:00:00'",
        "CAST(i AS BOOLEAN) = false",
    ] {
        let ask = |table: &str| format!("SELECT count(*) FROM {table} WHERE {condition}");
        let (a, b) = (
            number(&ours, &ask(&file)).await,
            number(&ours, &ask("m")).await,
        );
        assert!(a == b && a > 0, "{condition}: {a}, not {b}");
    }
}

#[tokio::test]
async fn a_time_zone_of_the_session_changes_files_as_it_changes_memory() {
    let folder = Folder::new();
    let file = folder.file("t.pil", &[times().slice(0, 5)]);
    let ours = session(1);
    memory_table(&ours, "m", &[times().slice(0, 5)]);
    run(&ours, "SET datafusion.execution.time_zone = '+02:00'").await;
    for expression in [
        "t",
        "arrow_cast(t, 'Timestamp(Second, Some(\"+02:00\"))')",
        "t = TIMESTAMPTZ '1970-01-01 00:00:05'",
        "t < TIMESTAMPTZ '1970-01-01 00:00:05.5Z'",
        "CAST(t AS TIMESTAMPTZ) > '1970-01-01 00:00:04.5'",
    ] {
        let ask = |table: &str| {
            format!(
                "SELECT id, {expression} AS e FROM {table} WHERE ({expression}) IS NOT NULL \
                 ORDER BY id"
            )
        };
        let (a, b) = (run(&ours, &ask(&file)).await, run(&ours, &ask("m")).await);
        assert_eq!(compare::difference(&a, &b, true), None, "{expression}");
    }
}

#[tokio::test]
async fn an_instant_keeps_its_zone_without_one_of_the_session() {
    let z = TimestampSecondArray::from(vec![4, 5, 6]).with_timezone("Europe/Berlin");
    let batch = RecordBatch::try_from_iter([("z", Arc::new(z) as ArrayRef)]).unwrap();
    let folder = Folder::new();
    let file = folder.file("z.pil", &[batch]);
    let ours = session(1);
    for (condition, wanted) in [
        ("z > TIMESTAMPTZ '1970-01-01 00:00:04.5Z'", 2),
        ("z = TIMESTAMPTZ '1970-01-01 01:00:05+01:00'", 1),
        ("z = TIMESTAMPTZ '1970-01-01 00:00:05'", 1),
        ("z = CAST('1970-01-01 00:00:05.5Z' AS TIMESTAMPTZ)", 0),
    ] {
        let sql = format!("SELECT count(*) FROM {file} WHERE {condition}");
        assert_eq!(number(&ours, &sql).await, wanted, "{condition}");
    }
}

#[tokio::test]
async fn clauses_that_would_be_passed_over_are_refused() {
    let ours = session(1);
    memory_table(&ours, "m", &[times().slice(0, 5)]);
    // Those of tables by the session itself.
    for sql in [
        "SELECT * FROM m TABLESAMPLE BERNOULLI (10)",
        "SELECT count(*) FROM m AS a JOIN m AS b TABLESAMPLE (5 ROWS) ON a.id = b.id",
        "SELECT * FROM (SELECT * FROM m TABLESAMPLE (5 ROWS)) x",
        "SELECT 1 WHERE 4 IN (SELECT id FROM m TABLESAMPLE (10))",
    ] {
        let message = error(&ours, sql).await;
        assert!(message.contains("random()"), "{sql}: {message}");
    }
    for (sql, words) in [
        ("SELECT * FROM m TABLESAMPLE BERNOULLI (10)", "random()"),
        (
            "SELECT * FROM (SELECT * FROM m TABLESAMPLE (5 ROWS)) x",
            "random()",
        ),
        ("EXPLAIN SELECT * FROM m TABLESAMPLE (10)", "random()"),
        ("SELECT * FROM m FOR UPDATE", "FOR UPDATE"),
        ("COPY (SELECT * FROM m FOR SHARE) TO 'x.pil'", "FOR UPDATE"),
    ] {
        let refused = pilaster::query::refuse_ignored_clauses(&ours, sql);
        let message = refused.expect_err(sql).to_string();
        assert!(message.contains(words), "{sql}: {message}");
    }
    pilaster::query::refuse_ignored_clauses(&ours, "SELECT * FROM m LIMIT 3").unwrap();
}
