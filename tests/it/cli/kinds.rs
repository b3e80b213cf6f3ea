//! Logs, vectors and caches, as a user handles them.

use super::{fails, folder, ok, pilaster};

#[test]
fn a_log_comes_back_and_is_searched_as_ripgrep_does() {
    let text: &[u8] =
        b"2024-05-01 10:00:00 INFO start\r\n\n2024-05-01 10:00:01 ERROR disk \xff 7\n\
        2024-05-01 10:00:02 INFO no end";
    let folder = folder(&[("app.log", text)]);
    ok(pilaster(folder.path(), &["import", "app.log", "app.pil"]));
    ok(pilaster(folder.path(), &["export", "app.pil", "again.log"]));
    assert_eq!(
        std::fs::read(folder.path().join("again.log")).unwrap(),
        text
    );
    let grep = |args: &[&str]| pilaster(folder.path(), args);
    let found = ok(grep(&["grep", "-n", "-i", "info", "app.pil"]));
    assert_eq!(found.lines().count(), 2, "{found}");
    assert!(
        found.starts_with("1:2024-05-01 10:00:00 INFO start"),
        "{found}"
    );
    assert_eq!(ok(grep(&["grep", "-c", "2024", "app.pil"])), "3\n");
    assert_eq!(grep(&["grep", "absent", "app.pil"]).status.code(), Some(1));
    fails(grep(&["grep", "(", "app.pil"]), 2, &["("]);
    let sql = "SELECT count(*) FROM 'app.pil'";
    assert!(ok(grep(&["sql", sql])).contains(" 4 "));
}

#[test]
fn several_patterns_whole_words_and_lines_and_names_of_files() {
    let folder = folder(&[
        ("a.log", b"one error\nno errors\nerror\n-1 left\n"),
        ("b.log", b"all is well\nfatal\n"),
        ("c.log", b"nothing\n"),
    ]);
    let run = |args: &[&str]| pilaster(folder.path(), args);
    for name in ["a", "b", "c"] {
        ok(run(&[
            "import",
            &format!("{name}.log"),
            &format!("{name}.pil"),
            "-q",
        ]));
    }
    ok(run(&["import", "a.log", "b.log", "c.log", "all.pil", "-q"]));
    let found = |args: &[&str]| ok(run(&[&["grep"], args].concat()));
    assert_eq!(found(&["-w", "error", "a.pil"]), "one error\nerror\n");
    assert_eq!(found(&["-x", "error", "a.pil"]), "error\n");
    assert_eq!(found(&["-w", "-F", "-e", "-1", "a.pil"]), "-1 left\n");
    assert_eq!(
        found(&["-a", "-x", "-e", "error", "-e", "no.*", "a.pil"]),
        "no errors\nerror\n"
    );
    assert_eq!(
        found(&["-n", "-e", "one", "-e", "left", "a.pil"]),
        "1:one error\n4:-1 left\n"
    );
    let files = ["a.pil", "b.pil", "c.pil"];
    let named = |args: &[&str]| found(&[args, &files].concat());
    assert_eq!(
        named(&["-l", "-e", "error", "-e", "fatal"]),
        "a.pil\nb.pil\n"
    );
    assert_eq!(named(&["-l", "-v", "nothing"]), "a.pil\nb.pil\n");
    assert_eq!(found(&["-l", "error", "a.pil"]), "a.pil\n");
    assert_eq!(found(&["-l", "l", "all.pil"]), "a.log\nb.log\n");
    assert_eq!(
        run(&["grep", "-l", "absent", "a.pil"]).status.code(),
        Some(1)
    );
    // Two wrong patterns are not made a right one.
    fails(
        run(&["grep", "-e", "a)", "-e", "(b", "a.pil"]),
        2,
        &["'a)'"],
    );
    fails(run(&["grep", "error"]), 2, &["name the logs"]);
}

#[test]
fn vectors_are_told_by_their_name_and_lose_only_what_is_asked_for() {
    let mut npy = b"\x93NUMPY\x01\x00".to_vec();
    let header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (150, 4), }";
    npy.extend((header.len() as u16 + 1).to_le_bytes());
    npy.extend_from_slice(header);
    npy.push(b'\n');
    npy.extend((0..600).flat_map(|i| (i as f32 / 7.0).to_le_bytes()));
    let folder = folder(&[("v.npy", &npy)]);
    ok(pilaster(folder.path(), &["import", "v.npy", "v.pil"]));
    assert!(!ok(pilaster(folder.path(), &["inspect", "v.pil"])).contains("lossy"));
    let lossy = ["import", "v.npy", "v.pil", "--encode", "v=lvq8"];
    ok(pilaster(folder.path(), &lossy));
    let shown = ok(pilaster(folder.path(), &["inspect", "v.pil"]));
    assert!(
        shown.contains("lvq8") && shown.contains(", recall@10 "),
        "{shown}"
    );
    let json = ok(pilaster(folder.path(), &["inspect", "v.pil", "--json"]));
    assert!(json.contains("\"recall_rows\":150,"), "{json}");
    ok(pilaster(folder.path(), &["verify", "v.pil"]));
}

#[test]
fn vectors_that_are_not_finite_are_refused_kept_or_made_null() {
    let rows = [
        vec![1.0, 2.0],
        vec![f32::NAN, 3.0],
        vec![4.0, f32::INFINITY],
    ];
    let folder = folder(&[("n.npy", &npy(&rows))]);
    let run = |more: &[&str]| {
        let args = [&["import", "n.npy", "n.pil", "-q"], more].concat();
        pilaster(folder.path(), &args)
    };
    fails(run(&[]), 2, &["row 1", "NaN", "--not-finite"]);
    let count = |what: &str| {
        let sql = format!("SELECT count(*) FROM 'n.pil' WHERE {what}");
        let args = ["sql", "--format", "csv", &sql];
        ok(pilaster(folder.path(), &args))
            .lines()
            .last()
            .map(str::to_owned)
    };
    ok(run(&["--not-finite", "null"]));
    assert_eq!(count("v IS NULL").as_deref(), Some("2"));
    ok(run(&["--not-finite", "keep"]));
    assert_eq!(count("v IS NULL").as_deref(), Some("0"));
    assert_eq!(count("isnan(v[1])").as_deref(), Some("1"));
}

#[test]
fn options_of_another_kind_are_refused() {
    let folder = folder(&[
        ("a.csv", b"a,b\n1,2\n"),
        ("a.log", b"one line\n"),
        ("v.npy", &npy(&[vec![1.0, 2.0]])),
    ]);
    for (source, option, words) in [
        (
            "a.log",
            &["--sort-by", "line"][..],
            ["--sort-by", "tables", "logs"],
        ),
        (
            "v.npy",
            &["--no-header"],
            ["--no-header", "tables", "embeddings"],
        ),
        (
            "a.csv",
            &["--not-finite", "keep"],
            ["--not-finite", "embeddings", "tables"],
        ),
        (
            "a.csv",
            &["--model", "m"],
            ["--model", "KV caches", "tables"],
        ),
    ] {
        let args = [&["import", source, "out.pil"], option].concat();
        fails(pilaster(folder.path(), &args), 2, &words);
        assert!(!folder.path().join("out.pil").exists());
    }
}

#[test]
fn caches_are_coded_by_a_profile_that_was_fitted_to_others() {
    use crate::kv::{cache, shape};
    use pilaster::kind::kv::{Dtype, read_npz, write_npz};
    let folder = folder(&[]);
    let at = |name: &str| folder.path().join(name);
    let run = |arguments: &[&str]| pilaster(folder.path(), arguments);
    for (name, seed) in [("a.npz", 1), ("b.npz", 2), ("c.npz", 3)] {
        write_npz(&at(name), &cache(shape(Dtype::F16), 400, seed), "tiny").unwrap();
    }
    ok(run(&["kv", "fit", "a.npz", "b.npz", "-o", "tiny.kvp"]));
    let by = [
        "--encode",
        "k*=klt(tiny.kvp)",
        "--encode",
        "v*=klt(tiny.kvp)",
    ];
    ok(run(&[&["import", "c.npz", "c.pil"][..], &by].concat()));
    let inspected = ok(run(&["inspect", "c.pil"]));
    assert!(
        inspected.contains("(klt(tiny.kvp,0.25)) lossy, error up to"),
        "{inspected}"
    );
    let json = ok(run(&["inspect", "c.pil", "--json"]));
    assert!(json.contains("\"declared\":\"quantized\""), "{json}");
    ok(run(&["verify", "c.pil"]));
    let sql = "SELECT count(*) FROM 'c.pil' WHERE k0[1] IS NOT NULL AND position < 100";
    assert!(ok(run(&["sql", sql])).contains(" 100 "));
    ok(run(&["export", "c.pil", "out.npz", "--prefix", "0"]));
    let (given, back) = (
        read_npz(&at("c.npz")).unwrap(),
        read_npz(&at("out.npz")).unwrap(),
    );
    assert_eq!(back.cache.tokens(), given.cache.tokens());
    assert_ne!(back.cache, given.cache);
    fails(
        run(&["export", "c.pil", "out.npz", "--prefix", "1"]),
        2,
        &["prefix 1"],
    );
    let names = ["import", "a.npz", "b.npz", "two.pil"];
    ok(run(&names));
    let told = run(&["export", "two.pil", "out.npz"]);
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(told.contains("the first of 2 prefixes"), "{told}");
    let told = run(&["export", "two.pil", "out.npz", "--prefix", "0"]);
    assert!(!String::from_utf8_lossy(&told.stderr).contains("prefixes"));
    write_npz(&at("d.npz"), &given.cache, "other").unwrap();
    let other = [&["import", "d.npz", "d.pil"][..], &by].concat();
    fails(run(&other), 2, &["of model 'tiny'", "'other'"]);
}

fn npy(rows: &[Vec<f32>]) -> Vec<u8> {
    let header = format!(
        "{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}\n",
        rows.len(),
        rows[0].len()
    );
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(rows.iter().flatten().flat_map(|v| v.to_le_bytes()));
    bytes
}

#[test]
fn search_finds_the_nearest_rows_and_their_columns() {
    let mut lines = String::new();
    for i in 0..300 {
        let (x, y) = (f64::from(i) * 0.25, f64::from(i % 10));
        lines.push_str(&format!("{{\"name\": \"n{i}\", \"e\": [{x}, {y}, 1.5]}}\n"));
    }
    let query = npy(&[vec![10.0, 0.0, 1.5]]);
    // The same as an array of one dimension.
    let mut single = query.clone();
    let shape = single.windows(6).position(|w| w == b"(1, 3)").unwrap();
    single[shape..shape + 6].copy_from_slice(b"(3,)  ");
    let folder = folder(&[
        ("t.jsonl", lines.as_bytes()),
        ("q.npy", &query),
        ("single.npy", &single),
    ]);
    let run = |args: &[&str]| pilaster(folder.path(), args);
    ok(run(&[
        "import",
        "t.jsonl",
        "t.pil",
        "--kind",
        "embeddings",
        "--encode",
        "e=lvq4x8",
    ]));
    let search = |more: &[&str]| {
        let mut args = vec!["search", "t.pil", "-c", "e", "--format", "csv"];
        args.extend(more);
        run(&args)
    };
    let found = ok(search(&["--query", "q.npy", "-k", "2"]));
    let lines: Vec<&str> = found.lines().collect();
    assert_eq!(lines[0], "name,_row_id,_distance");
    assert!(lines[1].starts_with("n40,40,"), "{found}");
    assert_eq!(lines.len(), 3);
    assert_eq!(found, ok(search(&["--query", "single.npy", "-k", "2"])));
    fails(
        run(&["import", "single.npy", "single.pil"]),
        2,
        &["two dimensions"],
    );
    let found = ok(search(&[
        "--query",
        "[10, 0, 1.5]",
        "-k",
        "1",
        "--where",
        "name <> 'n40'",
        "--metric",
        "cosine",
    ]));
    assert!(!found.contains("n40,"), "{found}");
    fails(
        search(&["--query", "[1, 2]"]),
        2,
        &["the query has 2 values", "'e' have 3"],
    );
    fails(
        search(&["--query", "[1, nan, 2]"]),
        2,
        &["value 1 of the query is NaN"],
    );
    fails(
        search(&["--query", "[1, x, 2]"]),
        2,
        &["'x' in the query is no number"],
    );
    fails(
        run(&["search", "t.pil", "--query", "q.npy"]),
        2,
        &["has no column 'v'"],
    );
}

#[test]
fn rows_without_a_distance_are_not_found() {
    let rows = [
        vec![f32::NAN, 1.0],
        vec![1.0, 0.0],
        vec![-f32::NAN, 0.0],
        vec![f32::INFINITY, 1.0],
        vec![0.0, 1.0],
    ];
    let folder = folder(&[("v.npy", &npy(&rows))]);
    let run = |args: &[&str]| pilaster(folder.path(), args);
    for code in ["exact", "lvq8"] {
        let encode = format!("v={code}");
        let import = [
            "import",
            "v.npy",
            "v.pil",
            "--not-finite",
            "keep",
            "--encode",
            &encode,
        ];
        ok(run(&import));
        for (metric, found) in [
            ("l2", ["1", "4", "3"].as_slice()),
            ("cosine", &["1", "4"]),
            ("inner-product", &["3", "1", "4"]),
        ] {
            let search = ["search", "v.pil", "--query", "[1, 0]", "--metric", metric];
            let numbers = |more: &[&str]| -> Vec<String> {
                let args = [&search, more, &["--format", "csv"]].concat();
                let lines = ok(run(&args));
                let number = |line: &str| line.split(',').next().unwrap_or_default().to_owned();
                lines.lines().skip(1).map(number).collect()
            };
            assert_eq!(numbers(&["-k", "5"]), found, "{code} {metric}");
            assert_eq!(numbers(&["-k", "1"]), found[..1], "{code} {metric}");
            let few = numbers(&["-k", "5", "--where", "_row_id <> 1"]);
            let others: Vec<&&str> = found.iter().filter(|f| **f != "1").collect();
            assert!(few.iter().eq(others), "{code} {metric}: {few:?}");
        }
    }
}

#[test]
fn vectors_as_python_spells_them_are_vectors() {
    let lines = b"{\"v\":[0.5,100.16116333007812]}\n{\"v\":[-12.547256469726562,1e-05]}\n";
    let singles = b"{\"v\":[0.5,100.16116333007812]}\n{\"v\":[-12.547256469726562,3]}\n";
    let folder = folder(&[("a.jsonl", lines), ("b.jsonl", singles)]);
    let run = |args: &[&str]| ok(pilaster(folder.path(), args));
    for (name, float) in [("a", "Float64"), ("b", "Float32")] {
        let (source, target) = (format!("{name}.jsonl"), format!("{name}.pil"));
        run(&["import", "-q", &source, &target, "--kind", "embeddings"]);
        let sql = format!("SELECT arrow_typeof(v) AS t FROM '{target}' LIMIT 1");
        let found = run(&["sql", "--format", "csv", &sql]);
        assert!(found.contains(float), "{found}");
    }
    run(&["import", "-q", "a.jsonl", "t.pil"]);
    let back = run(&["export", "t.pil", "-", "--format", "jsonl"]);
    let numbers = |text: &str| -> Vec<u64> {
        let list = |line: &str| -> Vec<u64> {
            let inside = line.trim_start_matches("{\"v\":[").trim_end_matches("]}");
            let numbers = inside.split(',').map(|n| n.parse::<f64>().unwrap());
            numbers.map(f64::to_bits).collect()
        };
        text.lines().flat_map(list).collect()
    };
    assert_eq!(numbers(&back), numbers(std::str::from_utf8(lines).unwrap()));
}
