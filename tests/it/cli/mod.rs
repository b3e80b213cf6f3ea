//! The binary, run as a user runs it.

mod kinds;

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use pilaster::file::File;

use crate::generate::Rng;

fn pilaster(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pilaster"))
        .args(args)
        .current_dir(folder)
        .env("HOME", folder)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

#[track_caller]
fn ok(output: Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn fails(output: Output, code: i32, words: &[&str]) {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{errors}");
    for word in words {
        assert!(errors.contains(word), "'{word}' is not in: {errors}");
    }
    assert!(
        errors.trim().lines().count() == 1,
        "more than a line: {errors}"
    );
}

const TRICKY: &str = "id,zip,price,big,when,note,ok,ratio,,na\n\
    1,00501,1.10,18446744073709551615,2024-02-29T23:59:58.5Z,\"a \"\"b\"\", c\",True,0.1,x,NA\n\
    2,10001,20.00,0,1969-12-31T00:00:00.0Z,,False,1e-07,y,3\n\
    3,00000,,7,2024-01-01T00:00:00.0Z,\"\",True,2.0,\"line\nbreak\",4\n";

#[test]
fn csv_comes_back_byte_for_byte_in_all_profiles() {
    let folder = folder(&[("t.csv", TRICKY.as_bytes())]);
    for profile in ["fast", "balanced", "archive"] {
        ok(pilaster(
            folder.path(),
            &["import", "t.csv", "t.pil", "--profile", profile],
        ));
        ok(pilaster(folder.path(), &["export", "t.pil", "u.csv"]));
        let back = std::fs::read_to_string(folder.path().join("u.csv")).unwrap();
        assert_eq!(back, TRICKY, "{profile}");
        assert_eq!(
            ok(pilaster(folder.path(), &["export", "t.pil", "-"])),
            TRICKY
        );
        ok(pilaster(folder.path(), &["verify", "t.pil"]));
    }
}

#[test]
fn parquet_and_arrow_bring_the_same_schema_and_rows_back() {
    let folder = folder(&[("t.csv", TRICKY.as_bytes())]);
    ok(pilaster(folder.path(), &["import", "t.csv", "t.pil"]));
    let first = File::open(folder.path().join("t.pil")).unwrap();
    for name in ["u.parquet", "u.arrow"] {
        ok(pilaster(folder.path(), &["export", "t.pil", name]));
        ok(pilaster(folder.path(), &["import", name, "u.pil"]));
        let again = File::open(folder.path().join("u.pil")).unwrap();
        assert_eq!(
            again.meta().schema().unwrap(),
            first.meta().schema().unwrap()
        );
        let rows = |file: &File| {
            file.scan_all()
                .unwrap()
                .map(|b| b.unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(rows(&again), rows(&first));
        ok(pilaster(folder.path(), &["export", "u.pil", "u.csv"]));
        let back = std::fs::read_to_string(folder.path().join("u.csv")).unwrap();
        assert_eq!(back, TRICKY);
    }
}

#[test]
fn json_lines_go_in_and_out() {
    let lines = "{\"a\":1,\"s\":{\"x\":[1.5,2.0]}}\n{\"a\":2,\"t\":\"é\"}\n";
    let folder = folder(&[("t.jsonl", lines.as_bytes())]);
    ok(pilaster(folder.path(), &["import", "t.jsonl", "t.pil"]));
    assert_eq!(
        ok(pilaster(
            folder.path(),
            &["export", "t.pil", "-", "--format", "jsonl"]
        )),
        lines
    );
    fails(
        pilaster(folder.path(), &["export", "t.pil", "t.csv"]),
        2,
        &["column 's'", ".jsonl"],
    );
    assert!(!folder.path().join("t.csv").exists());
}

#[test]
fn what_cannot_be_imported_is_refused_in_a_sentence_and_nothing_changes() {
    let cases: &[(&str, &[u8], &[&str])] = &[
        ("ragged.csv", b"a,b\n1,2\n3\n", &["line 3", "column 2"]),
        (
            "twice.csv",
            b"a,b,a\n1,2,3\n",
            &["columns 1 and 3", "--no-header"],
        ),
        (
            "open.csv",
            b"a,b\n\"x,2\n",
            &["line 2, column 1", "never closed"],
        ),
        ("empty.csv", b"", &["is empty"]),
        (
            "mixed.jsonl",
            b"{\"a\":1}\n{\"a\":\"x\"}\n",
            &["line 2", "column 'a'"],
        ),
        ("latin.jsonl", b"{\"a\":\"\xff\"}\n", &["line 1", "UTF-8"]),
        ("not.parquet", b"hello", &["not a Parquet file"]),
        ("cut.parquet", b"PAR1hello", &["cannot be read as Parquet"]),
        ("packed.csv", &[0x1f, 0x8b, 8, 0], &["gzip", "zcat"]),
        ("there.pil", b"old", &[".pil file already"]),
    ];
    for (name, bytes, words) in cases {
        let folder = folder(&[(name, bytes), ("t.pil", b"old")]);
        fails(
            pilaster(folder.path(), &["import", name, "t.pil"]),
            2,
            words,
        );
        assert_eq!(std::fs::read(folder.path().join("t.pil")).unwrap(), b"old");
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            if *name == "t.pil" { 1 } else { 2 }
        );
    }
    let folder = folder(&[("t.csv", b"a\n1\n")]);
    fails(
        pilaster(folder.path(), &["import", "none.csv", "t.pil"]),
        2,
        &["none.csv"],
    );
    fails(
        pilaster(folder.path(), &["import", "t.csv", "u.csv"]),
        2,
        &["ends in .pil"],
    );
    fails(
        pilaster(folder.path(), &["import", "t.csv", "no/such/t.pil"]),
        2,
        &["no/such"],
    );
    fails(
        pilaster(
            folder.path(),
            &["import", "--kind", "tensors", "t.csv", "t.pil"],
        ),
        2,
        &["tensors"],
    );
    fails(
        pilaster(
            folder.path(),
            &["import", "--sort-by", "z", "t.csv", "t.pil"],
        ),
        2,
        &["no column 'z'"],
    );
    fails(
        pilaster(folder.path(), &["export", "t.csv", "u.csv"]),
        2,
        &["t.csv"],
    );
}

#[test]
fn several_sources_and_standard_input_are_one_table() {
    let folder = folder(&[("a.csv", b"k,v\n1,x\n2,y\n"), ("b.csv", b"k,v\n3.5,z\n")]);
    ok(pilaster(
        folder.path(),
        &["import", "a.csv", "b.csv", "t.pil"],
    ));
    assert_eq!(
        ok(pilaster(folder.path(), &["export", "t.pil", "-"])),
        "k,v\n1,x\n2,y\n3.5,z\n"
    );
    let mut child = Command::new(env!("CARGO_BIN_EXE_pilaster"))
        .args(["import", "-", "s.pil"])
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"k;v\n1;2\n")
        .unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(
        ok(pilaster(folder.path(), &["export", "s.pil", "-"])),
        "k;v\n1;2\n"
    );
}

#[test]
fn sorting_keeps_rows_whole_and_nulls_last() {
    let mut text = String::from("k,v\n");
    for i in 0..30_000u32 {
        let k = i.wrapping_mul(2_654_435_761) % 1_000;
        text.push_str(&match k {
            0 => format!(",{i}\n"),
            k => format!("{k},{i}\n"),
        });
    }
    let folder = folder(&[("t.csv", text.as_bytes())]);
    ok(pilaster(
        folder.path(),
        &["import", "t.csv", "t.pil", "--sort-by", "k,v"],
    ));
    let sorted = ok(pilaster(folder.path(), &["export", "t.pil", "-"]));
    let mut expected: Vec<&str> = text.lines().skip(1).collect();
    expected.sort_by_key(|line| {
        let (k, v) = line.split_once(',').unwrap();
        (k.parse().unwrap_or(u32::MAX), v.parse::<u32>().unwrap())
    });
    assert!(sorted.lines().skip(1).eq(expected));
}

#[test]
fn sql_answers_in_three_formats() {
    let folder = folder(&[("t.csv", b"k,v\n1,x\n2,y\n2,\n")]);
    ok(pilaster(folder.path(), &["import", "t.csv", "t.pil"]));
    let query = "SELECT k, count(v) AS n FROM 't.pil' GROUP BY k ORDER BY k";
    let csv = ok(pilaster(folder.path(), &["sql", "--format", "csv", query]));
    assert_eq!(csv, "k,n\n1,1\n2,1\n");
    let jsonl = ok(pilaster(
        folder.path(),
        &["sql", "--format", "jsonl", query],
    ));
    assert_eq!(jsonl, "{\"k\":1,\"n\":1}\n{\"k\":2,\"n\":1}\n");
    let table = ok(pilaster(folder.path(), &["sql", query]));
    assert!(table.contains("| k | n |"), "{table}");
    let two = "SELECT 1 AS a; SELECT 2 AS b;";
    let csv = ok(pilaster(folder.path(), &["sql", "--format", "csv", two]));
    assert_eq!(csv, "a\n1\nb\n2\n");
    std::fs::write(folder.path().join("q.sql"), two).unwrap();
    assert_eq!(
        ok(pilaster(
            folder.path(),
            &["sql", "--format", "csv", "-f", "q.sql"]
        )),
        csv
    );
    let named = [
        "sql",
        "--format",
        "csv",
        "-t",
        "T=t.pil",
        "--row-id",
        "SELECT * FROM \"T\" LIMIT 1",
    ];
    assert_eq!(ok(pilaster(folder.path(), &named)), "k,v,_row_id\n1,x,0\n");
    let timed = pilaster(folder.path(), &["sql", "--time", "--format", "csv", query]);
    assert!(String::from_utf8_lossy(&timed.stderr).contains(" s, 2 rows"));
}

#[test]
fn a_cell_without_text_is_an_error_in_every_format() {
    let folder = folder(&[]);
    let far = [
        "arrow_cast(9223372036854775807, 'Timestamp(Microsecond, None)')",
        "arrow_cast(2147483647, 'Date32')",
        "[arrow_cast(arrow_cast(2147483647, 'Int32'), 'Date32')]",
        "arrow_cast(9223372036854775807, 'Duration(Second)')",
    ];
    for value in far {
        let sql = format!(
            "SELECT * FROM (SELECT 1 AS k, NULL AS t UNION ALL SELECT 2, {value}) ORDER BY k"
        );
        for format in ["csv", "jsonl", "table"] {
            if format == "csv" && value.starts_with('[') {
                continue;
            }
            let output = pilaster(folder.path(), &["sql", "--format", format, &sql]);
            assert!(output.stdout.is_empty(), "{format}: {value}");
            fails(output, 2, &["column 't'", "row 2", "too far off"]);
        }
    }
}

#[test]
fn sql_errors_are_one_sentence() {
    let folder = folder(&[
        ("t.csv", b"k\n1\n"),
        (
            "bad.pil",
            b"no file of ours, but long enough to have a postscript at its end: 0123456789",
        ),
    ]);
    ok(pilaster(folder.path(), &["import", "t.csv", "t.pil"]));
    fails(
        pilaster(folder.path(), &["sql", "SELECT * FROM 'u.pil'"]),
        2,
        &["no file 'u.pil'"],
    );
    fails(
        pilaster(folder.path(), &["sql", "SELECT z FROM 't.pil'"]),
        2,
        &["z"],
    );
    fails(pilaster(folder.path(), &["sql", "SELEC 1"]), 2, &["SELEC"]);
    fails(
        pilaster(folder.path(), &["sql", "SELECT * FROM 'bad.pil'"]),
        2,
        &["bad.pil"],
    );
    fails(
        pilaster(folder.path(), &["sql", "-t", "x", "SELECT 1"]),
        2,
        &["NAME=PATH"],
    );
}

#[test]
fn inspect_shows_columns_and_adds_up() {
    let folder = folder(&[("t.csv", TRICKY.as_bytes())]);
    ok(pilaster(folder.path(), &["import", "t.csv", "t.pil"]));
    let shown = ok(pilaster(folder.path(), &["inspect", "t.pil"]));
    for word in [
        "3 rows x 10 columns",
        "zip",
        "Decimal128(4, 2)",
        "zone maps",
    ] {
        assert!(shown.contains(word), "'{word}' is not in {shown}");
    }
    for view in ["--tree", "--columns", "--segments"] {
        assert!(ok(pilaster(folder.path(), &["inspect", "t.pil", view])).contains("zip"));
    }
    let json = ok(pilaster(folder.path(), &["inspect", "t.pil", "--json"]));
    assert!(
        json.starts_with("{\"file\":\"t.pil\",\"rows\":3,"),
        "{json}"
    );
    let anatomy = File::open(folder.path().join("t.pil"))
        .unwrap()
        .anatomy()
        .unwrap();
    let parts = &anatomy.parts;
    let sum = parts.data + parts.models + parts.zones + parts.metadata + parts.overhead;
    assert_eq!(sum, anatomy.size);
}

#[test]
fn verify_tells_sound_from_damaged_from_unchecked() {
    let folder = folder(&[("t.csv", TRICKY.as_bytes())]);
    ok(pilaster(folder.path(), &["import", "t.csv", "t.pil"]));
    assert!(ok(pilaster(folder.path(), &["verify", "."])).contains("sound"));
    let path = folder.path().join("t.pil");
    let bytes = std::fs::read(&path).unwrap();
    for at in (0..bytes.len()).step_by(bytes.len() / 40 + 1) {
        let mut bad = bytes.clone();
        bad[at] ^= 0x10;
        std::fs::write(folder.path().join("bad.pil"), &bad).unwrap();
        let output = pilaster(folder.path(), &["verify", "bad.pil"]);
        // Padding between segments is not read by anyone.
        let code = output.status.code().unwrap();
        assert!(code <= 2, "byte {at}: {code}");
    }
    let mut bad = bytes.clone();
    let end = bad.len() - 70;
    bad[end] ^= 1;
    std::fs::write(&path, &bad).unwrap();
    let output = pilaster(folder.path(), &["verify", "t.pil"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("damaged"));
    std::fs::write(&path, b"").unwrap();
    let output = pilaster(folder.path(), &["verify", "t.pil"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("0 bytes"));
    assert_eq!(
        pilaster(folder.path(), &["verify", "none.pil"])
            .status
            .code(),
        Some(2)
    );
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let mut text = String::from("k\n");
    (0..200_000).for_each(|i| text.push_str(&format!("{i}\n")));
    let folder = folder(&[("t.csv", text.as_bytes())]);
    ok(pilaster(folder.path(), &["import", "t.csv", "t.pil"]));
    for args in [
        &["export", "t.pil", "-"][..],
        &["export", "t.pil", "-", "--format", "jsonl"],
        &["sql", "--format", "csv", "SELECT * FROM 't.pil'"],
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pilaster"))
            .args(args)
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = [0; 2];
        child.stdout.take().unwrap().read_exact(&mut first).unwrap();
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success() && errors.is_empty(),
            "{args:?}: {errors}"
        );
    }
}

#[test]
fn every_command_has_help_with_an_example() {
    let folder = folder(&[]);
    for command in ["import", "export", "sql", "inspect", "verify", "demo"] {
        let help = ok(pilaster(folder.path(), &[command, "--help"]));
        assert!(help.contains(&format!("pilaster {command}")), "{help}");
    }
    assert!(ok(pilaster(folder.path(), &["import", "--help"])).contains("512 MiB"));
    assert_eq!(pilaster(folder.path(), &["fly"]).status.code(), Some(2));
}

#[test]
fn the_demo_stores_all_four_kinds_and_answers_its_queries() {
    let folder = folder(&[]);
    let shown = ok(pilaster(folder.path(), &["demo", "--keep", "shop", "-q"]));
    for word in [
        "byte for byte",
        ".pil, archive",
        "SELECT country",
        "| Portugal",
        "service.log comes back byte for byte",
        "| ERROR",
        "prompt.safetensors comes back byte for byte",
        "with another tenant's salt, 0.",
        "first_of_k0",
        "exact    100.0 % of the exact answer",
    ] {
        assert!(shown.contains(word), "'{word}' is not in {shown}");
    }
    // A header's lower border is followed by a row.
    let borders: Vec<bool> = shown.lines().map(|l| l.starts_with("+-")).collect();
    let empty = borders.windows(2).any(|pair| pair == [true, true]);
    assert!(!empty, "a query without an answer: {shown}");
    ok(pilaster(folder.path(), &["verify", "shop"]));
}

/// A table of some megabytes as CSV.
fn sales(seed: u64) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let mut text = String::from("order,customer,amount,note\n");
    for order in 0..60_000u64 {
        let (customer, cents) = (rng.below(5_000), rng.below(100_000));
        let note = ["", "gift", "express, by air", "to the neighbour"][rng.below(4)];
        let (whole, part) = (cents / 100, cents % 100);
        let line = format!("{order},{customer},{whole}.{part:02},\"{note}\"\n");
        text.push_str(&line);
    }
    text.into_bytes()
}

#[test]
#[ignore = "200 kills take some minutes"]
fn two_hundred_killed_imports_leave_the_old_file_or_the_new() {
    let folder = folder(&[("old.csv", &sales(1)), ("new.csv", &sales(2))]);
    let at = |name: &str| folder.path().join(name);
    ok(pilaster(folder.path(), &["import", "old.csv", "old.pil"]));
    let started = Instant::now();
    ok(pilaster(folder.path(), &["import", "new.csv", "new.pil"]));
    let longest = started.elapsed().as_micros() as usize * 3 / 2;
    let (old, new) = (
        std::fs::read(at("old.pil")).unwrap(),
        std::fs::read(at("new.pil")).unwrap(),
    );
    assert_ne!(old, new);
    let mut rng = Rng::new(3);
    let mut found = [0; 2];
    for _ in 0..200 {
        std::fs::write(at("t.pil"), &old).unwrap();
        let mut import = Command::new(env!("CARGO_BIN_EXE_pilaster"))
            .args(["import", "new.csv", "t.pil"])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(rng.below(longest) as u64));
        import.kill().unwrap();
        import.wait().unwrap();
        let left = std::fs::read(at("t.pil")).unwrap();
        assert!(
            left == old || left == new,
            "{} bytes of neither",
            left.len()
        );
        found[usize::from(left == new)] += 1;
    }
    println!(
        "{} times the old file, {} times the new",
        found[0], found[1]
    );
    assert!(found.iter().all(|&n| n > 10), "kills too early or too late");
    ok(pilaster(folder.path(), &["import", "new.csv", "t.pil"]));
    assert_eq!(std::fs::read(at("t.pil")).unwrap(), new);
}
