//! CSV and JSON in SQL.

use super::*;

#[tokio::test]
async fn texts_are_read_as_import_reads_them() {
    let folder = Folder::new();
    std::fs::write(
        folder.path("t.csv"),
        "zip,v,e\n0870,1.50,\n0871,2.25,\"\"\n",
    )
    .unwrap();
    std::fs::write(
        folder.path("j.json"),
        "{\"a\":9007199254740993}\n{\"a\":2.5}\n",
    )
    .unwrap();
    let ours = session(2);
    let sql = format!(
        "SELECT zip, v * 2 AS w, e IS NULL AS n FROM {} WHERE v > 1 ORDER BY zip",
        folder.sql("t.csv")
    );
    assert_eq!(
        rows(&ours, &sql).await,
        ["0870|3.00|true", "0871|4.50|false"]
    );
    let sql = format!("SELECT a FROM {}", folder.sql("j.json"));
    assert_eq!(rows(&ours, &sql).await, ["9007199254740993.0", "2.5"]);
    let sql = format!("SELECT count(*) FROM {}", folder.sql("t.csv"));
    assert_eq!(number(&ours, &sql).await, 2);
}

#[tokio::test]
async fn null_and_the_empty_text_stay_apart_in_a_copy() {
    let folder = Folder::new();
    let ours = session(2);
    let copy = format!(
        "COPY (SELECT * FROM (VALUES (1, ''), (2, NULL)) AS v(i, s)) TO {}",
        folder.sql("n.csv")
    );
    run(&ours, &copy).await;
    let text = std::fs::read_to_string(folder.path("n.csv")).unwrap();
    assert_eq!(text, "i,s\n1,\"\"\n2,\n");
    let copy = format!(
        "COPY (SELECT 1 AS i, 'x' AS s) TO {}",
        folder.sql("n.jsonl")
    );
    run(&ours, &copy).await;
    let text = std::fs::read_to_string(folder.path("n.jsonl")).unwrap();
    assert_eq!(text, "{\"i\":1,\"s\":\"x\"}\n");
}

#[tokio::test]
async fn a_cell_behind_the_sample_that_does_not_fit_is_named() {
    let folder = Folder::new();
    let line = format!("1,{}\n", "x".repeat(98));
    let count = (65 << 20) / line.len();
    let text = format!("n,s\n{}007,y\n", line.repeat(count));
    std::fs::write(folder.path("t.csv"), text).unwrap();
    let ours = session(1);
    let sql = format!("SELECT sum(n) FROM {}", folder.sql("t.csv"));
    let message = error(&ours, &sql).await;
    let place = format!("t.csv, line {}, column 'n'", count + 2);
    assert!(message.contains(&place), "{message}");
}

#[tokio::test]
async fn a_value_behind_the_sample_that_does_not_fit_is_named() {
    let folder = Folder::new();
    let line = format!("{{\"n\":1,\"s\":\"{}\"}}\n", "x".repeat(4_000));
    let count = (65 << 20) / line.len();
    for (last, column) in [
        ("{\"n\":\"one\",\"s\":\"y\"}\n", "'n'"),
        ("{\"n\":1,\"s\":\"y\",\"later\":2}\n", "later"),
    ] {
        let text = format!("{}{last}", line.repeat(count));
        std::fs::write(folder.path("j.jsonl"), text).unwrap();
        let ours = session(1);
        let sql = format!("SELECT sum(n), count(s) FROM {}", folder.sql("j.jsonl"));
        let message = error(&ours, &sql).await;
        let place = format!("line {}", count + 1);
        for part in ["j.jsonl", place.as_str(), column] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
}

#[tokio::test]
async fn packed_texts_are_read_as_plain_ones() {
    use std::io::Write;
    let folder = Folder::new();
    let pack = |text: &str| {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packer.write_all(text.as_bytes()).unwrap();
        packer.finish().unwrap()
    };
    std::fs::write(folder.path("t.csv.gz"), pack("zip,v\n0870,1.50\n")).unwrap();
    std::fs::write(
        folder.path("j.jsonl.gz"),
        pack("{\"a\":9007199254740993}\n"),
    )
    .unwrap();
    let ours = session(2);
    for (kind, file, wanted) in [
        ("CSV", "t.csv.gz", "0870|1.50"),
        ("JSON", "j.jsonl.gz", "9007199254740993"),
    ] {
        let create = format!(
            "CREATE EXTERNAL TABLE {kind} STORED AS {kind} LOCATION {} \
             OPTIONS ('format.compression' 'gzip')",
            folder.sql(file)
        );
        run(&ours, &create).await;
        assert_eq!(
            rows(&ours, &format!("SELECT * FROM {kind}")).await,
            [wanted]
        );
    }
}

#[tokio::test]
async fn folders_name_null_and_any_text() {
    let folder = Folder::new();
    let ours = session(2);
    for format in ["PILASTER", "CSV"] {
        let place = folder.sql(&format!("{format}/"));
        let copy = format!(
            "COPY (SELECT * FROM (VALUES (1, 'a'), (2, NULL), (3, ''), (4, 'x/y=z %41 é:*')) AS v(i, k)) \
             TO {place} STORED AS {format} PARTITIONED BY (k)"
        );
        assert_eq!(number(&ours, &copy).await, 4);
        let sql = format!("SELECT i, CAST(k AS VARCHAR) AS k FROM {place} ORDER BY i");
        assert_eq!(
            rows(&ours, &sql).await,
            ["1|a", "2|NULL", "3|", "4|x/y=z %41 é:*"]
        );
        for (condition, expected) in [
            ("k IS NULL", "2"),
            ("k = ''", "3"),
            ("TRY_CAST(k AS BIGINT) = 0", ""),
            ("coalesce(k, 'none') = 'none'", "2"),
            ("(k IS DISTINCT FROM 'a') AND k <> ''", "4"),
            ("k = '__HIVE_DEFAULT_PARTITION__'", ""),
        ] {
            let sql = format!("SELECT i FROM {place} WHERE {condition}");
            assert_eq!(rows(&ours, &sql).await.join(","), expected, "{condition}");
        }
    }
    let copy = format!(
        "COPY (SELECT 1 AS i, '__HIVE_DEFAULT_PARTITION__' AS k) TO {} STORED AS PILASTER \
         PARTITIONED BY (k)",
        folder.sql("q/")
    );
    assert!(error(&ours, &copy).await.contains("stands for null"));
}

#[tokio::test]
async fn a_number_is_found_under_every_spelling_of_its_folder() {
    let folder = Folder::new();
    let row = super::generate::integers("x", vec![7]);
    for name in [
        "t/n=05/a.pil",
        "t/n=5/b.pil",
        "t/n=__HIVE_DEFAULT_PARTITION__/c.pil",
    ] {
        folder.file(name, std::slice::from_ref(&row));
    }
    let ours = session(1);
    let create = format!(
        "CREATE EXTERNAL TABLE t (x BIGINT, n INT) STORED AS PILASTER PARTITIONED BY (n) LOCATION {}",
        folder.sql("t/")
    );
    run(&ours, &create).await;
    assert_eq!(number(&ours, "SELECT count(*) FROM t WHERE n = 5").await, 2);
    assert_eq!(
        number(&ours, "SELECT count(*) FROM t WHERE n IS NULL").await,
        1
    );
}
