//! What `EXPLAIN ANALYZE` says.

use super::generate::{integers, table};
use super::*;

/// The plan with its metrics.
pub async fn analyze(context: &SessionContext, sql: &str) -> String {
    rows(context, &format!("EXPLAIN ANALYZE {sql}"))
        .await
        .join("\n")
}

/// A number out of `name=123`, with the units that DataFusion prints.
pub fn metric(analyzed: &str, name: &str) -> f64 {
    let at = analyzed
        .find(&format!("{name}="))
        .unwrap_or_else(|| panic!("no {name} in {analyzed}"));
    let text = &analyzed[at + name.len() + 1..];
    let end = text.find([',', ']']).unwrap();
    let mut words = text[..end].split_whitespace();
    let number: f64 = words.next().unwrap().parse().unwrap();
    match words.next() {
        Some("K" | "KB") => number * 1e3,
        Some("M" | "MB") => number * 1e6,
        _ => number,
    }
}

/// How many were pruned and how many were not.
pub fn pruned(analyzed: &str, name: &str) -> (usize, usize) {
    let at = analyzed
        .find(&format!("{name}="))
        .unwrap_or_else(|| panic!("no {name} in {analyzed}"));
    // 13 total → 2 matched
    let text = &analyzed[at + name.len() + 1..];
    let numbers: Vec<usize> = text
        .split(|c: char| !c.is_ascii_digit())
        .filter(|w| !w.is_empty())
        .take(2)
        .map(|w| w.parse().unwrap())
        .collect();
    (numbers[0] - numbers[1], numbers[1])
}

#[tokio::test]
async fn a_selective_filter_reads_little() {
    let folder = Folder::new();
    let file = folder.file("t.pil", &table(200_000, 3));
    let size = std::fs::metadata(folder.path("t.pil")).unwrap().len() as f64;
    let context = session(1);
    let all = analyze(&context, &format!("SELECT * FROM {file}")).await;
    let some = analyze(
        &context,
        &format!("SELECT s, u FROM {file} WHERE id BETWEEN 100000 AND 100100"),
    )
    .await;
    assert_eq!(pruned(&some, "zones_pruned_statistics"), (24, 1), "{some}");
    let (bytes_all, bytes_some) = (metric(&all, "bytes_read"), metric(&some, "bytes_read"));
    assert!(bytes_all > 0.8 * size, "{all}");
    assert!(bytes_some < 0.15 * size, "{bytes_some} of {size}: {some}");
    assert!(metric(&some, "values_decoded") < 0.05 * metric(&all, "values_decoded"));
    assert!(metric(&some, "requests") >= 1.0);
}

#[tokio::test]
async fn a_projection_reads_its_columns_only() {
    let folder = Folder::new();
    let file = folder.file("t.pil", &table(100_000, 3));
    let context = session(1);
    let all = analyze(&context, &format!("SELECT * FROM {file}")).await;
    let one = analyze(&context, &format!("SELECT sum(k) FROM {file}")).await;
    assert!(
        metric(&one, "bytes_read") < 0.3 * metric(&all, "bytes_read"),
        "{one}"
    );
}

#[tokio::test]
async fn other_columns_are_decoded_for_surviving_rows_only() {
    let folder = Folder::new();
    let file = folder.file("t.pil", &table(65_536, 3));
    let context = session(1);
    let sql = format!("SELECT id, u, s, d FROM {file} WHERE v = 5");
    let analyzed = analyze(&context, &sql).await;
    let decoded = metric(&analyzed, "values_decoded");
    assert!((65_536.0..80_000.0).contains(&decoded), "{analyzed}");
}

#[tokio::test]
async fn files_are_pruned_before_they_are_opened() {
    let folder = Folder::new();
    for i in 0..6 {
        folder.file(
            &format!("t/{i}.pil"),
            &[integers("x", i * 1000..i * 1000 + 1000)],
        );
    }
    let context = session(2);
    let sql = format!("SELECT x FROM {} WHERE x = 2500", folder.sql("t/"));
    let analyzed = analyze(&context, &sql).await;
    assert_eq!(pruned(&analyzed, "files_pruned"), (5, 1), "{analyzed}");
}

#[tokio::test]
async fn metrics_have_levels_and_categories() {
    let folder = Folder::new();
    let file = folder.file("t.pil", &table(20_000, 3));
    let context = session(1);
    run(&context, "SET datafusion.explain.analyze_level = 'summary'").await;
    let summary = analyze(&context, &format!("SELECT * FROM {file} WHERE k = 1")).await;
    assert!(summary.contains("bytes_read="), "{summary}");
    assert!(!summary.contains("time_decode="), "{summary}");
    run(&context, "SET datafusion.explain.analyze_level = 'dev'").await;
    let dev = analyze(&context, &format!("SELECT * FROM {file} WHERE k = 1")).await;
    for name in [
        "time_decode=",
        "time_io=",
        "requests=",
        "footer_cache_hits=",
    ] {
        assert!(dev.contains(name), "{name} not in {dev}");
    }
}
