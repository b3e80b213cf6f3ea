//! Orders that are declared, wished for, and not there.

use super::generate::{Random, integers};
use super::*;

/// Files `t/<i>.pil` with a column `x` each.
fn files(folder: &Folder, contents: &[Vec<i64>]) -> String {
    for (i, values) in contents.iter().enumerate() {
        folder.file(&format!("t/{i}.pil"), &[integers("x", values.clone())]);
    }
    folder.sql("t/")
}

async fn declared(context: &SessionContext, place: &str) {
    let create = format!(
        "CREATE EXTERNAL TABLE t (x BIGINT) STORED AS PILASTER WITH ORDER (x) LOCATION {place}"
    );
    run(context, &create).await;
}

async fn sorted(context: &SessionContext, sql: &str) -> Vec<i64> {
    let rows = rows(context, sql).await;
    rows.iter().map(|r| r.parse().unwrap()).collect()
}

#[tokio::test]
async fn a_declared_order_saves_the_sort_where_it_holds() {
    let folder = Folder::new();
    let place = files(
        &folder,
        &[(0..20_000).collect(), (20_000..50_000).collect()],
    );
    for partitions in [1, 2, 3, 5] {
        let context = session(partitions);
        declared(&context, &place).await;
        let sql = "SELECT x FROM t ORDER BY x";
        let plan = plan(&context, sql).await;
        assert!(!plan.contains("SortExec"), "{partitions}: {plan}");
        assert_eq!(sorted(&context, sql).await, (0..50_000).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn files_that_overlap_are_sorted() {
    let folder = Folder::new();
    let contents = [
        (0..30_000).step_by(2).collect::<Vec<i64>>(),
        (0..30_000).skip(1).step_by(2).collect(),
        vec![-5, 7, 7, 7, 100_000],
    ];
    let mut all: Vec<i64> = contents.concat();
    all.sort();
    let place = files(&folder, &contents);
    for partitions in [1, 2, 4] {
        let context = session(partitions);
        declared(&context, &place).await;
        assert_eq!(sorted(&context, "SELECT x FROM t ORDER BY x").await, all);
        let down: Vec<i64> = all.iter().rev().copied().collect();
        assert_eq!(
            sorted(&context, "SELECT x FROM t ORDER BY x DESC").await,
            down
        );
        let sql = "SELECT x FROM t ORDER BY x DESC LIMIT 7";
        assert_eq!(sorted(&context, sql).await, down[..7]);
    }
}

#[tokio::test]
async fn repeated_values_across_zones_come_in_order() {
    let folder = Folder::new();
    // Two zones with the same minimum.
    let mut values = vec![10; 8192];
    values[8191] = 8;
    values.extend(vec![8; 12_000]);
    values.extend([9, 11]);
    let mut all = values.clone();
    all.sort_by(|a, b| b.cmp(a));
    let place = files(&folder, &[values]);
    for partitions in [1, 3] {
        let context = session(partitions);
        let sql = |limit: &str| format!("SELECT x FROM {place} ORDER BY x DESC {limit}");
        assert_eq!(sorted(&context, &sql("")).await, all);
        assert_eq!(sorted(&context, &sql("LIMIT 8195")).await, all[..8195]);
    }
}

#[tokio::test]
async fn the_best_zones_are_read_first() {
    let folder = Folder::new();
    let mut random = Random::new(5);
    let values: Vec<i64> = (0..100_000)
        .map(|i| i * 10 + random.below(10) as i64)
        .collect();
    let place = files(&folder, std::slice::from_ref(&values));
    let context = session(1);
    let sql = format!("SELECT x FROM {place} ORDER BY x DESC LIMIT 3");
    let expected: Vec<i64> = values.iter().rev().take(3).copied().collect();
    assert_eq!(sorted(&context, &sql).await, expected);
    let plan = plan(&context, &sql).await;
    assert!(plan.contains("sort_hint=x DESC"), "{plan}");
    let analyzed = explain::analyze(&context, &sql).await;
    let (pruned, matched) = explain::pruned(&analyzed, "zones_pruned_dynamic_filter");
    assert!(matched <= 2 && pruned >= 11, "{analyzed}");
}

#[tokio::test]
async fn a_sort_by_more_than_was_declared() {
    let folder = Folder::new();
    let mut random = Random::new(6);
    let x: Vec<i64> = (0..20_000).map(|i| i / 7).collect();
    let y: Vec<i64> = x.iter().map(|_| random.below(100) as i64).collect();
    let x_array: arrow::array::ArrayRef = Arc::new(arrow::array::Int64Array::from(x));
    let y_array: arrow::array::ArrayRef = Arc::new(arrow::array::Int64Array::from(y));
    let batch = RecordBatch::try_from_iter([("x", x_array), ("y", y_array)]).unwrap();
    let file = folder.file("t.pil", std::slice::from_ref(&batch));
    let theirs = memory(2);
    memory_table(&theirs, "t", &[batch]);
    for partitions in [1, 3] {
        let ours = session(partitions);
        let create = format!(
            "CREATE EXTERNAL TABLE t (x BIGINT, y BIGINT) STORED AS PILASTER WITH ORDER (x) LOCATION {file}"
        );
        run(&ours, &create).await;
        for sql in [
            "SELECT x, y FROM t ORDER BY x, y DESC",
            "SELECT x, y FROM t ORDER BY x, y LIMIT 20",
            "SELECT x, y FROM t ORDER BY y, x LIMIT 20",
            "SELECT x, count(*) FROM t GROUP BY x ORDER BY x LIMIT 5",
            "SELECT y FROM t WHERE x > 500 ORDER BY x, y LIMIT 5",
        ] {
            let (a, b) = (run(&ours, sql).await, run(&theirs, sql).await);
            assert_eq!(compare::difference(&a, &b, true), None, "{sql}");
        }
    }
}
