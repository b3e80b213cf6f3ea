//! The column `_row_id`.

use super::generate::{integers, table};
use super::*;

async fn numbered(partitions: usize) -> SessionContext {
    let context = session(partitions);
    run(&context, "SET pilaster.row_id = true").await;
    context
}

#[tokio::test]
async fn it_is_there_on_request_and_last() {
    let folder = Folder::new();
    let file = folder.file("t.pil", &[integers("x", 100..110)]);
    let context = session(1);
    let all = format!("SELECT * FROM {file} LIMIT 1");
    assert_eq!(rows(&context, &all).await, ["100"]);
    assert!(
        error(&context, &format!("SELECT _row_id FROM {file}"))
            .await
            .contains("_row_id")
    );
    run(&context, "SET pilaster.row_id = true").await;
    assert_eq!(rows(&context, &all).await, ["100|0"]);
    run(&context, "SET pilaster.row_id = false").await;
    assert_eq!(rows(&context, &all).await, ["100"]);
}

#[tokio::test]
async fn it_is_the_row_number_under_any_filter() {
    let folder = Folder::new();
    let batches = table(50_000, 4);
    let file = folder.file("t.pil", &batches);
    for partitions in [1, 2, 5] {
        let context = numbered(partitions).await;
        run(
            &context,
            &format!("CREATE EXTERNAL TABLE t STORED AS PILASTER LOCATION {file}"),
        )
        .await;
        for filter in [
            "true",
            "k = 3",
            "k = 3 AND _row_id > 20000",
            "_row_id = 8192",
            "_row_id BETWEEN 8190 AND 8193 OR k = 1",
            "_row_id IN (0, 49999, 50000)",
            "_row_id % 1000 = id % 1001",
            "_row_id < id",
            "_row_id IS NULL",
        ] {
            // `id` counts the rows: it takes the place of the row number.
            let wrong = format!("SELECT count(*) FROM t WHERE ({filter}) AND _row_id <> id");
            assert_eq!(number(&context, &wrong).await, 0, "{filter}");
            let count = format!("SELECT count(*) FROM t WHERE {filter}");
            let expected = format!(
                "SELECT count(*) FROM t WHERE {}",
                filter.replace("_row_id", "id")
            );
            assert_eq!(
                number(&context, &count).await,
                number(&context, &expected).await,
                "{filter}"
            );
        }
        let sql = "SELECT _row_id, id FROM t ORDER BY v, id LIMIT 20";
        for row in rows(&context, sql).await {
            let (a, b) = row.split_once('|').unwrap();
            assert_eq!(a, b);
        }
        // Filters on row numbers beside the threshold of a top-k.
        for wanted in [
            "s = 'oak' ORDER BY _row_id DESC LIMIT 3",
            "_row_id > 10 ORDER BY v, id LIMIT 7",
            "_row_id % 3 = 0 AND k < 9 ORDER BY v DESC, id LIMIT 7",
            "_row_id > 40000 OR id < 5 ORDER BY _row_id LIMIT 7",
        ] {
            let sql = format!("SELECT _row_id FROM t WHERE {wanted}");
            let expected = sql.replace("_row_id", "id");
            assert_eq!(
                rows(&context, &sql).await,
                rows(&context, &expected).await,
                "{wanted}"
            );
        }
    }
}

#[tokio::test]
async fn a_row_is_fetched_by_its_number() {
    let folder = Folder::new();
    let file = folder.file("t.pil", &table(50_000, 4));
    let context = numbered(1).await;
    let sql = format!("SELECT id, u FROM {file} WHERE _row_id = 33333");
    let analyzed = explain::analyze(&context, &sql).await;
    assert_eq!(
        explain::pruned(&analyzed, "zones_pruned_statistics"),
        (6, 1),
        "{analyzed}"
    );
}

#[tokio::test]
async fn it_stands_after_partition_columns_and_counts_in_each_file() {
    let folder = Folder::new();
    folder.file("t/p=a/1.pil", &[integers("x", 0..3)]);
    folder.file("t/p=b/2.pil", &[integers("x", 10..12)]);
    let context = numbered(2).await;
    let place = folder.sql("t/");
    let sql = format!("SELECT * FROM {place} ORDER BY x");
    let expected = ["0|a|0", "1|a|1", "2|a|2", "10|b|0", "11|b|1"];
    assert_eq!(rows(&context, &sql).await, expected);
    let sql = format!("SELECT x FROM {place} WHERE p = 'b' AND _row_id = 1");
    assert_eq!(rows(&context, &sql).await, ["11"]);
    let sql = format!("SELECT x FROM {place} WHERE _row_id > 0 ORDER BY x DESC LIMIT 2");
    assert_eq!(rows(&context, &sql).await, ["11", "2"]);
    let sql = format!("SELECT count(*), max(_row_id) FROM {place} WHERE _row_id > 0");
    assert_eq!(rows(&context, &sql).await, ["3|2"]);
    let sql = format!("SELECT count(*), count(_row_id), min(_row_id), max(_row_id) FROM {place}");
    assert_eq!(rows(&context, &sql).await, ["5|5|0|2"]);
}

#[tokio::test]
async fn a_column_of_that_name_is_not_hidden() {
    let folder = Folder::new();
    let file = folder.file("t.pil", &[integers("_row_id", 5..7)]);
    let sql = format!("SELECT * FROM {file}");
    assert_eq!(rows(&session(1), &sql).await, ["5", "6"]);
    let message = error(&numbered(1).await, &sql).await;
    assert!(message.contains("of its own"), "{message}");
}

#[tokio::test]
async fn row_numbers_that_were_copied_are_values() {
    let folder = Folder::new();
    let file = folder.file("t.pil", &table(50_000, 4));
    let context = numbered(2).await;
    let copy = folder.sql("copy.pil");
    run(
        &context,
        &format!("COPY (SELECT * FROM {file} WHERE _row_id % 3 = 2) TO {copy}"),
    )
    .await;
    let plain = session(2);
    for row in [2, 3, 20_000, 49_997, 49_998, 49_999, 50_000] {
        let expected = i64::from(row % 3 == 2 && row < 50_000);
        let count = format!("SELECT count(*) FROM {copy} WHERE _row_id = {row}");
        assert_eq!(number(&plain, &count).await, expected, "{row}");
    }
}
