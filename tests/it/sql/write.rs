//! `COPY TO` and `INSERT INTO`.

use super::generate::{integers, table};
use super::*;

#[tokio::test]
async fn copies_come_back_equal() {
    let folder = Folder::new();
    let batches = table(30_000, 5);
    let file = folder.file("t.pil", &batches);
    let context = session(3);
    let theirs = memory(1);
    memory_table(&theirs, "t", &batches);
    let expected = run(&theirs, "SELECT * FROM t").await;
    for (target, rest) in [
        ("a.pil", ""),
        ("b.pil", "STORED AS PILASTER"),
        ("c.pil", "OPTIONS ('format.profile' 'archive')"),
        ("d.pil", "STORED AS PIL OPTIONS (profile 'fast')"),
        ("e/", "STORED AS PILASTER"),
    ] {
        let copy = format!(
            "COPY (SELECT * FROM {file}) TO {} {rest}",
            folder.sql(target)
        );
        assert_eq!(number(&context, &copy).await, 30_000, "{copy}");
        let back = run(&context, &format!("SELECT * FROM {}", folder.sql(target))).await;
        assert_eq!(compare::difference(&back, &expected, false), None, "{copy}");
    }
    assert!(
        folder.names("e").iter().all(|n| n.ends_with(".pil")),
        "{:?}",
        folder.names("e")
    );
}

#[tokio::test]
async fn a_single_file_keeps_the_order_of_the_query() {
    let folder = Folder::new();
    let file = folder.file("t.pil", &table(40_000, 6));
    let context = session(4);
    let copy = format!(
        "COPY (SELECT v, id FROM {file} ORDER BY v DESC, id) TO {}",
        folder.sql("sorted.pil")
    );
    run(&context, &copy).await;
    run(&context, "SET datafusion.execution.target_partitions = 1").await;
    let stored = rows(
        &context,
        &format!("SELECT * FROM {}", folder.sql("sorted.pil")),
    )
    .await;
    let sorted = rows(
        &context,
        &format!("SELECT v, id FROM {file} ORDER BY v DESC, id"),
    )
    .await;
    assert_eq!(stored, sorted);
}

#[tokio::test]
async fn inserts_add_files_to_a_folder() {
    let folder = Folder::new();
    let context = session(2);
    let create = format!(
        "CREATE EXTERNAL TABLE t (x BIGINT, s VARCHAR) STORED AS PILASTER LOCATION {} OPTIONS ('format.profile' 'archive')",
        folder.sql("t/")
    );
    run(&context, &create).await;
    assert_eq!(number(&context, "SELECT count(*) FROM t").await, 0);
    let insert = "INSERT INTO t VALUES (1, 'one'), (2, NULL)";
    assert_eq!(number(&context, insert).await, 2);
    assert_eq!(
        number(&context, "INSERT INTO t SELECT x + 10, s FROM t").await,
        2
    );
    assert_eq!(
        rows(&context, "SELECT * FROM t ORDER BY x").await,
        ["1|one", "2|NULL", "11|one", "12|NULL"]
    );
    assert_eq!(number(&context, "SELECT count(*) FROM t").await, 4);
    assert_eq!(folder.names("t").len(), 2);
    let select = format!("SELECT sum(x) FROM {}", folder.sql("t/"));
    assert_eq!(number(&context, &select).await, 26);
}

#[tokio::test]
async fn inserted_rows_stay_in_order() {
    let folder = Folder::new();
    let context = session(1);
    std::fs::create_dir_all(folder.path("t")).unwrap();
    let create = format!(
        "CREATE EXTERNAL TABLE t (x BIGINT) STORED AS PILASTER LOCATION {}",
        folder.sql("t/")
    );
    run(&context, &create).await;
    let file = folder.file("n.pil", &[integers("x", 0..100_000)]);
    run(
        &context,
        &format!("INSERT INTO t SELECT x FROM {file} ORDER BY x"),
    )
    .await;
    let all = rows(&context, "SELECT x FROM t").await;
    assert!(all.iter().enumerate().all(|(i, x)| *x == i.to_string()));
}

#[tokio::test]
async fn a_query_that_fails_leaves_what_was_there() {
    let folder = Folder::new();
    let file = folder.file("t.pil", &[integers("x", 0..50_000)]);
    let old = folder.file("old.pil", &[integers("x", 0..3)]);
    let before = std::fs::read(folder.path("old.pil")).unwrap();
    let context = session(1);
    let failing = format!("SELECT 1 / (40000 - x) AS y FROM {file}");
    for (target, rest) in [(old, ""), (folder.sql("dir/"), "STORED AS PILASTER")] {
        let message = error(&context, &format!("COPY ({failing}) TO {target} {rest}")).await;
        assert!(
            message.to_lowercase().contains("divide by zero"),
            "{message}"
        );
    }
    assert_eq!(std::fs::read(folder.path("old.pil")).unwrap(), before);
    assert_eq!(folder.names(""), ["dir", "old.pil", "t.pil"]);
    assert!(folder.names("dir").is_empty());
    let partitioned = format!(
        "COPY (SELECT 1 / (40000 - x) AS y, x % 3 AS p FROM {file}) TO {} STORED AS PILASTER PARTITIONED BY (p)",
        folder.sql("parts/")
    );
    error(&context, &partitioned).await;
    let left: Vec<_> = folder.names("parts");
    for part in left {
        assert!(folder.names(&format!("parts/{part}")).is_empty());
    }
}

#[tokio::test]
async fn what_is_not_done_is_refused() {
    let folder = Folder::new();
    let context = session(1);
    let file = folder.file("t/a.pil", &[integers("x", 0..3)]);
    run(
        &context,
        &format!("CREATE EXTERNAL TABLE f STORED AS PILASTER LOCATION {file}"),
    )
    .await;
    let message = error(&context, "INSERT INTO f VALUES (1)").await;
    assert!(message.contains("single file"), "{message}");
    let place = folder.sql("t/");
    run(
        &context,
        &format!("CREATE EXTERNAL TABLE t STORED AS PILASTER LOCATION {place}"),
    )
    .await;
    let message = error(&context, "INSERT OVERWRITE t VALUES (1)").await;
    assert!(message.contains("not done"), "{message}");
    let copy = |options: &str| format!("COPY f TO {} OPTIONS ({options})", folder.sql("x.pil"));
    let message = error(&context, &copy("profile 'tiny'")).await;
    assert!(message.contains("archive"), "{message}");
    let message = error(&context, &copy("compression 'zstd'")).await;
    assert!(message.contains("format.profile"), "{message}");
    run(&context, "SET pilaster.row_id = true").await;
    run(
        &context,
        &format!("CREATE EXTERNAL TABLE r STORED AS PILASTER LOCATION {place}"),
    )
    .await;
    let message = error(&context, "INSERT INTO r VALUES (1, 2)").await;
    assert!(message.contains("row numbers"), "{message}");
}

#[tokio::test]
async fn an_empty_result_is_a_file_of_no_rows() {
    let folder = Folder::new();
    let file = folder.file("t.pil", &[integers("x", 0..3)]);
    let context = session(2);
    let copy = format!(
        "COPY (SELECT * FROM {file} WHERE x > 5) TO {}",
        folder.sql("none.pil")
    );
    assert_eq!(number(&context, &copy).await, 0);
    let count = format!("SELECT count(*) FROM {}", folder.sql("none.pil"));
    assert_eq!(number(&context, &count).await, 0);
}

#[tokio::test]
async fn metadata_and_nullability_of_a_query_do_not_stop_a_write() {
    use std::collections::HashMap;

    use arrow::array::{ArrayRef, Int64Array};
    use arrow::datatypes::{DataType, Field, Schema};

    let folder = Folder::new();
    let styled = |name: &str, style: &str, nullable: bool| {
        let metadata = HashMap::from([("style".to_owned(), style.to_owned())]);
        let field = Field::new("x", DataType::Int64, nullable).with_metadata(metadata);
        let values: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let schema = Arc::new(Schema::new(vec![field]));
        folder.file(name, &[RecordBatch::try_new(schema, vec![values]).unwrap()])
    };
    let (a, b) = (styled("a.pil", "one", true), styled("b.pil", "other", true));
    let strict = styled("strict.pil", "none", false);
    let context = session(2);
    let copy = format!(
        "COPY (SELECT * FROM {a} UNION ALL SELECT * FROM {b}) TO {}",
        folder.sql("both.pil")
    );
    assert_eq!(number(&context, &copy).await, 6);
    // A table whose column takes no nulls, from a query whose column could have some.
    let copy = format!("COPY (SELECT * FROM {strict}) TO {}", folder.sql("d/"));
    run(&context, &format!("{copy} STORED AS PILASTER")).await;
    let create = format!(
        "CREATE EXTERNAL TABLE d STORED AS PILASTER LOCATION {}",
        folder.sql("d/")
    );
    run(&context, &create).await;
    let insert = format!("INSERT INTO d SELECT x FROM {a}");
    assert_eq!(number(&context, &insert).await, 3);
    assert_eq!(number(&context, "SELECT sum(x) FROM d").await, 12);
}
