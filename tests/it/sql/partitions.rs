//! Hive partitions: columns that are in the path and not in the file.

use super::generate::{Random, integers};
use super::*;

/// Files `t/year=../part=../x.pil` and the same rows in memory.
fn hive(folder: &Folder) -> (String, SessionContext) {
    let theirs = memory(3);
    let mut rows = Vec::new();
    let mut random = Random::new(9);
    for (year, part) in [("2023", "a"), ("2023", "b"), ("2024", "a"), ("2024", "c d")] {
        let values: Vec<i64> = (0..9000).map(|_| random.below(1000) as i64).collect();
        let name = format!("t/year={year}/part={part}/x.pil");
        folder.file(&name, &[integers("x", values.clone())]);
        let count = values.len();
        let text = |s: &str| -> arrow::array::ArrayRef {
            Arc::new(arrow::array::StringArray::from(vec![s; count]))
        };
        let x: arrow::array::ArrayRef = Arc::new(arrow::array::Int64Array::from(values));
        rows.push(
            RecordBatch::try_from_iter([("x", x), ("year", text(year)), ("part", text(part))])
                .unwrap(),
        );
    }
    memory_table(&theirs, "t", &rows);
    (folder.sql("t/"), theirs)
}

const QUERIES: [&str; 10] = [
    "SELECT count(*) FROM t WHERE year = '2023'",
    "SELECT count(*), sum(x) FROM t WHERE year = '2023' AND x > 500",
    "SELECT x, CAST(year AS VARCHAR) AS y FROM t WHERE x < 3 OR part = 'c d'",
    "SELECT CAST(part AS VARCHAR) AS p, count(*), max(x) FROM t GROUP BY part ORDER BY p",
    "SELECT CAST(year AS VARCHAR) || '/' || CAST(part AS VARCHAR) AS y, x FROM t WHERE x = 7",
    "SELECT count(*) FROM t WHERE part = 'a' AND year < '2024' AND x % 2 = 0",
    "SELECT count(*) FROM t WHERE part = CASE WHEN x > 500 THEN 'a' ELSE 'b' END",
    "SELECT count(*) FROM t WHERE part = 'nowhere'",
    "SELECT CAST(max(year) AS VARCHAR) AS y, min(x) FROM t WHERE part <> 'a'",
    "SELECT CAST(year AS VARCHAR) AS y, x FROM t ORDER BY year DESC, x LIMIT 5",
];

#[tokio::test]
async fn partition_columns_take_part_in_filters_and_projections() {
    let folder = Folder::new();
    let (place, theirs) = hive(&folder);
    for partitions in [1, 3] {
        let ours = session(partitions);
        let create = format!(
            "CREATE EXTERNAL TABLE t STORED AS PILASTER PARTITIONED BY (year, part) LOCATION {place}"
        );
        run(&ours, &create).await;
        for sql in QUERIES {
            let (a, b) = (run(&ours, sql).await, run(&theirs, sql).await);
            assert_eq!(
                compare::difference(&a, &b, sql.contains("ORDER")),
                None,
                "{sql}"
            );
        }
    }
}

#[tokio::test]
async fn partitions_are_inferred_from_a_path() {
    let folder = Folder::new();
    let (place, theirs) = hive(&folder);
    let ours = session(2);
    for sql in QUERIES {
        let by_path = sql.replace("FROM t", &format!("FROM {place}"));
        let (a, b) = (run(&ours, &by_path).await, run(&theirs, sql).await);
        assert_eq!(
            compare::difference(&a, &b, sql.contains("ORDER")),
            None,
            "{by_path}"
        );
    }
}

#[tokio::test]
async fn an_aggregate_of_an_expression_beside_one_of_a_column_loses_no_rows() {
    let folder = Folder::new();
    let (place, theirs) = hive(&folder);
    for partitions in [1, 2, 4] {
        let ours = session(partitions);
        for aggregates in [
            "max(x + 0), min(x)",
            "min(0 - x), CAST(max(year) AS VARCHAR), min(x)",
        ] {
            let (a, b) = (
                run(&ours, &format!("SELECT {aggregates} FROM {place}")).await,
                run(&theirs, &format!("SELECT {aggregates} FROM t")).await,
            );
            assert_eq!(compare::difference(&a, &b, false), None, "{aggregates}");
        }
    }
}

#[tokio::test]
async fn only_matching_folders_are_read() {
    let folder = Folder::new();
    let (place, _) = hive(&folder);
    let ours = session(1);
    let sql = format!("SELECT x FROM {place} WHERE part = 'b'");
    let plan = plan(&ours, &sql).await;
    assert!(
        plan.contains("part=b") && !plan.contains("part=a"),
        "{plan}"
    );
}

#[tokio::test]
async fn partitioned_writes_come_back() {
    let folder = Folder::new();
    let (place, theirs) = hive(&folder);
    let ours = session(2);
    let copy = format!(
        "COPY (SELECT x, CAST(year AS VARCHAR) AS year, CAST(part AS VARCHAR) AS part FROM {place}) TO {} STORED AS PILASTER PARTITIONED BY (year, part)",
        folder.sql("copy/")
    );
    assert_eq!(number(&ours, &copy).await, 36_000);
    assert!(folder.path("copy/year=2024").is_dir());
    let sql = "SELECT x, CAST(year AS VARCHAR) AS y, CAST(part AS VARCHAR) AS p FROM t";
    let by_path = sql.replace("FROM t", &format!("FROM {}", folder.sql("copy/")));
    let (a, b) = (run(&ours, &by_path).await, run(&theirs, sql).await);
    assert_eq!(compare::difference(&a, &b, false), None);
}
