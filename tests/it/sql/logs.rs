//! SQL over stored logs, held against a plain look at every line of the text.

use pilaster::kind::logs::{ImportOptions, import};
use regex::Regex;

use super::explain::{analyze, metric};
use super::*;

/// Lines of a service, some of them continuing the one before.
fn lines() -> Vec<String> {
    (0..30_000u64)
        .map(|i| {
            let id = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let stamp = format!(
                "2024-03-0{} {:02}:{:02}:{:02},{:03}",
                1 + i / 20_000,
                i / 3600 % 24,
                i / 60 % 60,
                i % 60,
                i % 1000
            );
            match i % 7 {
                0 => format!(
                    "{stamp} ERROR [main] disk: d{} failed after {} tries",
                    i % 9,
                    i % 50
                ),
                1 => format!(
                    "{stamp} WARN [w-{}] call: slow, took {}ms id={id:016x}",
                    i % 4,
                    i % 9000
                ),
                2 => format!("    at com.example.Main.run(Main.java:{})", i % 400),
                3 => format!("{stamp} INFO [main] cache: 100% of node_{} _x", i % 3),
                _ => format!(
                    "{stamp} INFO [w-{}] store: Receiving block blk_{} from 10.0.{}.{}",
                    i % 4,
                    id as i64,
                    i % 4,
                    i % 30
                ),
            }
        })
        .collect()
}

fn stored(folder: &Folder, lines: &[String], profile: Profile) -> String {
    let (from, to) = (folder.path("a.log"), folder.path("a.pil"));
    std::fs::write(&from, lines.join("\n") + "\n").unwrap();
    let options = ImportOptions {
        profile,
        ..ImportOptions::default()
    };
    import(&[from], &to, &options, &mut |_| ()).unwrap();
    folder.sql("a.pil")
}

/// Whether a line is to be found.
type Case = Box<dyn Fn(&str) -> bool>;

#[tokio::test]
async fn predicates_on_lines_answer_what_a_look_at_each_answers() {
    let lines = lines();
    let id = format!("{:016x}", 8u64.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let holds = |text: &str| {
        let text = text.to_owned();
        Box::new(move |l: &str| l.contains(&text)) as Box<dyn Fn(&str) -> bool>
    };
    let matches = |pattern: &str| {
        let pattern = Regex::new(pattern).unwrap();
        Box::new(move |l: &str| pattern.is_match(l)) as Box<dyn Fn(&str) -> bool>
    };
    let exact = lines[3].clone();
    let cases: Vec<(String, Case)> = vec![
        ("line LIKE '%ERROR%'".into(), holds("ERROR")),
        ("line LIKE '%absent%'".into(), holds("absent")),
        (format!("line LIKE '%{id}%'"), holds(&id)),
        ("line LIKE '%10.0.3.2%'".into(), holds("10.0.3.2")),
        (
            "line ILIKE '%receiving BLOCK%'".into(),
            holds("Receiving block"),
        ),
        (
            "line LIKE '%100\\% of node\\_1%'".into(),
            holds("100% of node_1"),
        ),
        (
            "line LIKE '    at %java:7)'".into(),
            matches("^    at .*java:7\\)$"),
        ),
        (
            "line NOT LIKE '%INFO%'".into(),
            matches("^(.*(ERROR|WARN)|    at )"),
        ),
        (
            "line ~ 'took [0-9]{4}ms'".into(),
            matches("took [0-9]{4}ms"),
        ),
        (
            "contains(line, 'failed after 7 ')".into(),
            holds("failed after 7 "),
        ),
        (
            format!("line = '{exact}'"),
            Box::new(move |l: &str| l == exact),
        ),
        (
            "(line LIKE '%d3 failed%' OR line LIKE '%Main.java:77)%') AND line LIKE '%a%'".into(),
            matches("d3 failed|Main.java:77\\)"),
        ),
    ];
    for profile in [Profile::Balanced, Profile::Archive] {
        let folder = Folder::new();
        let file = stored(&folder, &lines, profile);
        let context = session(2);
        for (condition, is_hit) in &cases {
            let sql =
                format!("SELECT line_no, line FROM {file} WHERE {condition} ORDER BY line_no");
            let found = rows(&context, &sql).await;
            let hits = lines.iter().enumerate().filter(|(_, line)| is_hit(line));
            let wanted: Vec<String> = hits.map(|(i, _)| (i + 1).to_string()).collect();
            assert_eq!(found.len(), wanted.len(), "{condition}");
            for (row, number) in found.iter().zip(&wanted) {
                assert!(row.contains(number.as_str()), "{condition}: {row}");
            }
        }
    }
}

#[tokio::test]
async fn lines_that_cannot_match_are_not_rebuilt() {
    let lines = lines();
    let folder = Folder::new();
    let file = stored(&folder, &lines, Profile::Balanced);
    let context = session(1);
    let decoded = async |condition: &str| {
        let sql = format!("SELECT count(*) FROM {file} WHERE {condition}");
        metric(&analyze(&context, &sql).await, "values_decoded")
    };
    assert_eq!(decoded("line LIKE '%absent%'").await, 0.0);
    let some = decoded("line LIKE '%d3 failed after 12 %'").await;
    assert!(some > 0.0 && some < 500.0, "{some}");
}

#[tokio::test]
async fn views_tell_messages_templates_and_their_variables() {
    let lines = lines();
    let folder = Folder::new();
    let file = stored(&folder, &lines, Profile::Balanced);
    let context = session(1);
    let one = async |sql: String| rows(&context, &sql).await.join("\n");
    let text = one(format!(
        "SELECT message, template, array_to_string(variables, ',') v, component, context \
         FROM {file} WHERE line_no = 1"
    ))
    .await;
    for part in [
        "d0 failed after 0 tries",
        "<*> failed after <*> tries",
        "d0,0",
        "disk",
        "main",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let counted = rows(
        &context,
        &format!(
            "SELECT template, count(*) n, count(component) c FROM {file} GROUP BY 1 ORDER BY 2 DESC"
        ),
    )
    .await;
    assert!(
        counted[0].contains("Receiving block <*> from <*>"),
        "{counted:?}"
    );
    assert!(counted.len() < 12, "{counted:?}");
    let headed = one(format!("SELECT count(component) FROM {file}")).await;
    let wanted = lines.iter().filter(|l| !l.starts_with(' ')).count();
    assert!(headed.contains(&wanted.to_string()), "{headed}");
    let same = one(format!(
        "SELECT count(DISTINCT template_id) - count(DISTINCT template) FROM {file}"
    ))
    .await;
    assert!(same.contains('0'), "{same}");
}

#[tokio::test]
async fn keys_of_objects_are_columns() {
    let folder = Folder::new();
    let lines: Vec<String> = (0..5000)
        .map(|i| match i % 5 {
            0 => format!("{{\"ts\":\"2024-03-01T00:00:01Z\",\"level\":\"info\",\"msg\":\"got \\\"{i}\\\"\",\"n\":{i}}}"),
            _ => format!("{{\"ts\":\"2024-03-01T00:00:02Z\",\"msg\":\"idle\",\"n\":null,\"o\":{{\"a\":{i}}}}}"),
        })
        .collect();
    let file = stored(&folder, &lines, Profile::Balanced);
    let context = session(1);
    let found = rows(
        &context,
        &format!("SELECT n, msg, o, message, template, level_2 FROM {file} WHERE n = '4995'"),
    )
    .await;
    assert_eq!(found.len(), 1, "{found:?}");
    for part in ["4995", "got \"4995\"", "got <*>", "info"] {
        assert!(found[0].contains(part), "{found:?}");
    }
    let counted = rows(
        &context,
        &format!("SELECT count(n), count(o), count(msg) FROM {file}"),
    )
    .await;
    for part in ["1000", "4000", "5000"] {
        assert!(counted[0].contains(part), "{counted:?}");
    }
}

#[tokio::test]
async fn casts_that_change_letters_hide_no_lines() {
    // As numbers and truths, many spellings are one.
    let words = [
        "t", "yes", "true", "1", "f", "no", "false", "0", "1.0", "01", "2",
    ];
    let of = |from: std::ops::Range<usize>| -> Vec<String> {
        let spelled = (0..6_000).map(|i| words[from.start + i * 7 % from.len()].to_owned());
        spelled.collect()
    };
    let folder = Folder::new();
    let context = session(2);
    let (truths, numbers) = (of(0..8), of(7..11));
    let is_true = |l: &&String| ["t", "yes", "true", "1"].contains(&l.as_str());
    let is_one = |l: &&String| ["1.0", "01"].contains(&l.as_str());
    let (yes, ones) = (
        truths.iter().filter(is_true).count(),
        numbers.iter().filter(is_one).count(),
    );
    assert!(yes > 0 && ones > 0);
    for (lines, cases) in [
        (
            truths,
            vec![
                ("CAST(CAST(line AS BOOLEAN) AS VARCHAR) = 'true'", yes),
                ("CAST(CAST(line AS BOOLEAN) AS VARCHAR) LIKE 'tru%'", yes),
                ("CAST(CAST(line AS BOOLEAN) AS VARCHAR) IN ('true')", yes),
                ("CAST(line AS BOOLEAN)", yes),
            ],
        ),
        (
            numbers,
            vec![
                ("CAST(CAST(line AS DOUBLE) AS VARCHAR) = '1.0'", ones),
                (
                    "contains(CAST(CAST(line AS DOUBLE) AS VARCHAR), '1.0')",
                    ones,
                ),
                ("CAST(CAST(line AS DOUBLE) AS VARCHAR) ~ '^1[.]0$'", ones),
                ("CAST(line AS DOUBLE) = 1", ones),
                // These do keep the letters.
                ("arrow_cast(line, 'LargeUtf8') = '01'", ones - 1_500),
            ],
        ),
    ] {
        let file = stored(&folder, &lines, Profile::Balanced);
        for (condition, wanted) in cases {
            let sql = format!("SELECT count(*) FROM {file} WHERE {condition}");
            assert_eq!(number(&context, &sql).await, wanted as i64, "{condition}");
        }
    }
}
