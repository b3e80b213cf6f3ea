//! Names: the type is `PILASTER`, the extension `.pil`, and both lead to the same files.

use super::generate::integers;
use super::*;

#[tokio::test]
async fn both_names_find_a_file_a_folder_and_a_glob() {
    let folder = Folder::new();
    folder.file("t/a.pil", &[integers("x", 0..10)]);
    folder.file("t/b.pil", &[integers("x", 10..30)]);
    let context = session(2);
    for (i, name) in ["PILASTER", "PIL", "pilaster", "pil"].iter().enumerate() {
        for (j, (place, count)) in [("t/a.pil", 10), ("t/", 30), ("t", 30), ("t/b*.pil", 20)]
            .iter()
            .enumerate()
        {
            let table = format!("t{i}{j}");
            let location = folder.sql(place);
            let create =
                format!("CREATE EXTERNAL TABLE {table} STORED AS {name} LOCATION {location}");
            run(&context, &create).await;
            let counted = number(&context, &format!("SELECT count(x) FROM {table}")).await;
            assert_eq!(counted, *count, "{create}");
        }
    }
}

#[tokio::test]
async fn a_path_is_a_table() {
    let folder = Folder::new();
    let file = folder.file("t/a.pil", &[integers("x", 0..10)]);
    folder.file("t/b.pil", &[integers("x", 10..30)]);
    let context = session(3);
    let sum = |place: String| format!("SELECT sum(x) FROM {place}");
    assert_eq!(number(&context, &sum(file)).await, 45);
    assert_eq!(number(&context, &sum(folder.sql("t/"))).await, 435);
    assert_eq!(number(&context, &sum(folder.sql("t/*.pil"))).await, 435);
    assert_eq!(number(&context, &sum(folder.sql("t/b*.pil"))).await, 390);
}

#[tokio::test]
async fn other_formats_stay_reachable_by_path() {
    let folder = Folder::new();
    std::fs::write(folder.path("x.csv"), "a,b\n1,2\n3,4\n").unwrap();
    let context = session(2);
    let sql = format!("SELECT sum(b) FROM {}", folder.sql("x.csv"));
    assert_eq!(number(&context, &sql).await, 6);
}

#[tokio::test]
async fn registering_twice_changes_nothing() {
    let folder = Folder::new();
    let file = folder.file("a.pil", &[integers("x", 0..10)]);
    let context = SessionContext::new();
    pilaster::query::register(&context).unwrap();
    pilaster::query::register(&context).unwrap();
    let sql = format!("SELECT count(*) FROM {file}");
    assert_eq!(number(&context, &sql).await, 10);
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_said() {
    let folder = Folder::new();
    std::fs::write(folder.path("empty.pil"), "").unwrap();
    std::fs::write(folder.path("text.pil"), "a,b\n".repeat(100)).unwrap();
    let context = session(1);
    let select = |name: &str| format!("SELECT * FROM {}", folder.sql(name));
    let message = error(&context, &select("empty.pil")).await;
    assert!(
        message.contains("empty.pil") && message.contains("is empty"),
        "{message}"
    );
    let message = error(&context, &select("text.pil")).await;
    assert!(
        message.contains("text.pil") && message.contains("not a .pil file"),
        "{message}"
    );
    let message = error(&context, &select("missing.pil")).await;
    assert!(message.contains("missing.pil"), "{message}");
}

#[tokio::test]
async fn a_replaced_file_is_read_anew() {
    let folder = Folder::new();
    let context = session(2);
    let values = |from: i64| integers("x", (0..1000).map(move |i| from + i % 7));
    let file = folder.file("a.pil", &[values(0)]);
    let max = format!("SELECT max(x), max(x + 0) FROM {file}");
    assert_eq!(rows(&context, &max).await, ["6|6"]);
    let before = std::fs::metadata(folder.path("a.pil")).unwrap();
    // As many bytes, and the same time of change: only the checksum differs.
    let size = || std::fs::metadata(folder.path("a.pil")).unwrap().len();
    let from = (1..200i64).find(|&from| {
        folder.file("a.pil", &[values(from)]);
        size() == before.len()
    });
    let from = from.expect("some other values take as many bytes");
    let replaced = std::fs::OpenOptions::new()
        .write(true)
        .open(folder.path("a.pil"))
        .unwrap();
    replaced.set_modified(before.modified().unwrap()).unwrap();
    let most = from + 6;
    assert_eq!(rows(&context, &max).await, [format!("{most}|{most}")]);
}

#[tokio::test]
async fn options_of_the_session_are_settable() {
    let context = session(1);
    run(&context, "SET pilaster.prune = false").await;
    run(&context, "SET pilaster.bytes_in_flight = 1000000").await;
    assert!(
        error(&context, "SET pilaster.nonsense = 1")
            .await
            .contains("nonsense")
    );
}
