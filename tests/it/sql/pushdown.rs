//! Filters, projections and limits inside the scan.

use super::generate::table;
use super::*;

async fn with_table(rows: usize, partitions: usize) -> (Folder, SessionContext, SessionContext) {
    let folder = Folder::new();
    let batches = table(rows, 1);
    let file = folder.file("t.pil", &batches);
    let ours = session(partitions);
    let create = format!("CREATE EXTERNAL TABLE t STORED AS PILASTER LOCATION {file}");
    run(&ours, &create).await;
    let theirs = memory(partitions);
    memory_table(&theirs, "t", &batches);
    (folder, ours, theirs)
}

async fn agree(ours: &SessionContext, theirs: &SessionContext, sql: &str) {
    let ordered = sql.contains("ORDER BY");
    let (a, b) = (run(ours, sql).await, run(theirs, sql).await);
    if let Some(difference) = compare::difference(&a, &b, ordered) {
        panic!("{sql}: {difference}");
    }
}

#[tokio::test]
async fn every_filter_goes_into_the_scan() {
    let (_folder, ours, _) = with_table(40_000, 4).await;
    for filter in [
        "k = 3",
        "k IS NULL",
        "s LIKE '%a%'",
        "f > 10 AND (k < 5 OR s = 'oak')",
        "length(u) > 20",
        "CASE WHEN k = 1 THEN b ELSE v > 0 END",
    ] {
        let plan = plan(&ours, &format!("SELECT id FROM t WHERE {filter}")).await;
        assert!(!plan.contains("FilterExec"), "{plan}");
        assert!(plan.contains("predicate="), "{plan}");
    }
}

#[tokio::test]
async fn a_count_under_a_filter_counts_what_passes() {
    let (_folder, ours, theirs) = with_table(40_000, 4).await;
    for filter in [
        "k = 3",
        "k IS NULL",
        "id >= 39999",
        "id < 0",
        "n IS NULL",
        "n IS NOT NULL",
        "b",
    ] {
        agree(
            &ours,
            &theirs,
            &format!("SELECT count(*) FROM t WHERE {filter}"),
        )
        .await;
        agree(
            &ours,
            &theirs,
            &format!("SELECT count(*), min(id), max(v) FROM t WHERE {filter}"),
        )
        .await;
    }
}

#[tokio::test]
async fn a_limit_comes_after_the_filter() {
    let (_folder, ours, _) = with_table(40_000, 1).await;
    for partitions in [1, 4] {
        run(
            &ours,
            &format!("SET datafusion.execution.target_partitions = {partitions}"),
        )
        .await;
        for (sql, count) in [
            ("SELECT id FROM t WHERE id >= 39990 LIMIT 5", 5),
            ("SELECT id FROM t WHERE id >= 39990 LIMIT 50", 10),
            ("SELECT id FROM t WHERE id >= 39990 LIMIT 5 OFFSET 8", 2),
            ("SELECT id, s FROM t LIMIT 7", 7),
            ("SELECT id FROM t LIMIT 0", 0),
            ("SELECT id FROM t LIMIT 20000", 20_000),
            ("SELECT id FROM t LIMIT 99999999", 40_000),
            ("SELECT 1 FROM t WHERE id % 1000 = 999 LIMIT 30", 30),
        ] {
            assert_eq!(rows(&ours, sql).await.len(), count, "{sql}");
        }
    }
}

#[tokio::test]
async fn a_filter_may_use_a_column_that_is_not_projected() {
    let (_folder, ours, theirs) = with_table(40_000, 4).await;
    for sql in [
        "SELECT s FROM t WHERE k = 3",
        "SELECT s AS k FROM t WHERE k = 3",
        "SELECT k AS s, s AS k FROM t WHERE k = 3 AND s = 'oak'",
        "SELECT 1 FROM t WHERE k = 3",
        "SELECT x FROM (SELECT k + 1 AS x, s FROM t) WHERE x = 4 AND s = 'oak'",
    ] {
        agree(&ours, &theirs, sql).await;
    }
}

#[tokio::test]
async fn expressions_are_projected_inside() {
    let (_folder, ours, theirs) = with_table(20_000, 2).await;
    for sql in [
        "SELECT k + 1, upper(s), f * 2 FROM t WHERE id < 100",
        "SELECT v AS a, v AS b, id FROM t WHERE v > 0",
        "SELECT CASE WHEN k IS NULL THEN 'none' ELSE s END AS c FROM t",
        "SELECT id, k FROM t WHERE (k, s) IN ((1, 'oak'), (2, 'elm'))",
    ] {
        agree(&ours, &theirs, sql).await;
    }
}

#[tokio::test]
async fn any_number_of_partitions_reads_each_row_once() {
    for rows in [0, 1, 8191, 8192, 8193, 40_000] {
        let (_folder, ours, _) = with_table(rows, 1).await;
        for partitions in 1..10 {
            run(
                &ours,
                &format!("SET datafusion.execution.target_partitions = {partitions}"),
            )
            .await;
            let sql = "SELECT count(DISTINCT id), count(id + 1), sum(id) FROM t WHERE id >= 0";
            let n = rows as i64;
            let sum = if n == 0 {
                "NULL".into()
            } else {
                (n * (n - 1) / 2).to_string()
            };
            assert_eq!(super::rows(&ours, sql).await, [format!("{n}|{n}|{sum}")]);
        }
    }
}

#[tokio::test]
async fn a_small_file_is_read_by_several_partitions() {
    let (folder, ours, _) = with_table(40_000, 4).await;
    assert!(std::fs::metadata(folder.path("t.pil")).unwrap().len() < 10 << 20);
    let plan = plan(&ours, "SELECT s, count(*) FROM t WHERE k = 1 GROUP BY s").await;
    assert!(plan.contains("file_groups={4 groups"), "{plan}");
}

#[tokio::test]
async fn top_k_agrees_with_and_without_dynamic_filters() {
    let (_folder, ours, theirs) = with_table(60_000, 4).await;
    for dynamic in [true, false] {
        for flag in ["topk", "join", "aggregate"] {
            let set = format!(
                "SET datafusion.optimizer.enable_{flag}_dynamic_filter_pushdown = {dynamic}"
            );
            run(&ours, &set).await;
        }
        for sql in [
            "SELECT id FROM t ORDER BY id DESC LIMIT 10",
            "SELECT v, id FROM t ORDER BY v, id LIMIT 25",
            "SELECT f, id FROM t ORDER BY f DESC, id LIMIT 40",
            "SELECT f, id FROM t ORDER BY f NULLS FIRST, id LIMIT 40",
            "SELECT k, id FROM t WHERE s = 'oak' ORDER BY k DESC NULLS LAST, id LIMIT 9",
            "SELECT u, id FROM t ORDER BY u DESC LIMIT 5",
            "SELECT id FROM t ORDER BY id LIMIT 0",
            "SELECT d, id FROM t ORDER BY d, id LIMIT 20000",
            "SELECT k + 1 AS x, id FROM t ORDER BY x, id LIMIT 12",
            "SELECT min(v), max(v), min(u), max(t) FROM t",
            "SELECT count(*) FROM t JOIN (SELECT DISTINCT k AS j FROM t WHERE id < 3) ON k = j",
            "SELECT a.id FROM t a JOIN t b ON a.id = b.v WHERE b.k = 3",
            "SELECT a.id, b.s FROM t a LEFT JOIN t b ON a.id = b.id + 50000 WHERE a.k = 2",
        ] {
            agree(&ours, &theirs, sql).await;
        }
    }
}

#[tokio::test]
async fn pruning_changes_no_answer() {
    let (_folder, ours, theirs) = with_table(60_000, 3).await;
    for prune in [true, false] {
        run(&ours, &format!("SET pilaster.prune = {prune}")).await;
        for filter in [
            "id BETWEEN 8191 AND 8193",
            "t > (SELECT min(t) FROM t) AND t < '2023-11-14T22:20:00'",
            "f = 0.0",
            "f = -0.0",
            "f >= 'NaN'::double",
            "f <> f",
            "f IS NULL OR f > 1e300",
            "NOT (id < 50000)",
            "u LIKE 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx1%'",
            "s IN ('oak', 'érable', '100%')",
            "s NOT IN ('oak', 'elm')",
            "s LIKE 'a\\_%'",
            "d > 4999.5 OR d < -4999.5",
            "day = '2022-03-01'",
            "k IN (1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23)",
            "coalesce(k, 7) = 7",
            "b IS DISTINCT FROM true",
        ] {
            agree(
                &ours,
                &theirs,
                &format!("SELECT id, f FROM t WHERE {filter}"),
            )
            .await;
        }
    }
}

#[tokio::test]
async fn an_error_in_a_filter_is_the_querys_error() {
    let (_folder, ours, _) = with_table(10_000, 2).await;
    let message = error(&ours, "SELECT id FROM t WHERE 10 / (id - 500) > 1").await;
    assert!(
        message.to_lowercase().contains("divide by zero"),
        "{message}"
    );
}

#[tokio::test]
async fn a_plan_can_run_twice() {
    let (_folder, ours, _) = with_table(40_000, 4).await;
    let frame = ours
        .sql("SELECT id FROM t WHERE k = 3 ORDER BY v, id LIMIT 10")
        .await
        .unwrap();
    let plan = frame.create_physical_plan().await.unwrap();
    let mut answers = Vec::new();
    for _ in 0..2 {
        let plan = datafusion::physical_plan::execution_plan::reset_plan_states(Arc::clone(&plan));
        let batches = datafusion::physical_plan::collect(plan.unwrap(), ours.task_ctx()).await;
        answers.push(compare::rows(&batches.unwrap()));
    }
    assert_eq!(answers[0].len(), 10);
    assert_eq!(answers[0], answers[1]);
}
