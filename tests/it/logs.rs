//! Logs: any bytes come back, and search answers what a search of the text answers.

use std::io::{Cursor, Write};

use pilaster::kind::logs::{
    GrepOptions, ImportOptions, grep, import, import_into, restore, source,
};
use pilaster::{File, Profile};
use regex::bytes::RegexBuilder;

use crate::generate::Rng;

const PROFILES: [Profile; 3] = [Profile::Fast, Profile::Balanced, Profile::Archive];

fn stored(texts: &[&[u8]], profile: Profile) -> File {
    let options = ImportOptions {
        profile,
        threads: 1,
        ..ImportOptions::default()
    };
    let mut readers = texts.iter().enumerate().map(|(i, text)| {
        let name = format!("{i}.log");
        let reader = source::unpacked(Box::new(Cursor::new(text.to_vec())), &name)?;
        Ok((name, reader))
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pil");
    let sink = pilaster::file::write::AtomicFile::create(&path).unwrap();
    import_into(sink, &mut readers, &options, &mut |_| ()).unwrap();
    File::from_bytes("a.pil", std::fs::read(&path).unwrap()).unwrap()
}

fn back(file: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    restore(file, &mut bytes).unwrap();
    bytes
}

/// Lines as services write them.
fn lines(rows: usize) -> Vec<u8> {
    let mut rng = Rng::new(7);
    let mut text = Vec::new();
    for i in 0..rows {
        let second = i / 5;
        let (h, m, s) = (second / 3600 % 24, second / 60 % 60, second % 60);
        let stamp = format!(
            "2024-03-0{} {h:02}:{m:02}:{s:02},{:03}",
            1 + second / 86_400,
            i % 1000
        );
        let block = rng.below(60) as i64 * 7_777_777_777_777 - 200;
        let address = format!("10.0.{}.{}", rng.below(4), rng.below(30));
        let line = match rng.below(8) {
            0 => format!(
                "{stamp} ERROR disk d{} failed after {} tries\r\n",
                rng.below(9),
                rng.below(50)
            ),
            1 => format!(
                "{stamp} WARN  slow call took {}ms id={:016x}\n",
                rng.below(9000),
                rng.next()
            ),
            2 => format!(
                "    at com.example.Main.run(Main.java:{})\n",
                rng.below(400)
            ),
            3 => format!(
                "{{\"ts\":\"{stamp}\",\"level\":\"info\",\"msg\":\"got \\\"x\\\" {i}\",\"e\":\"\",\"n\":{}}}\n",
                rng.below(5)
            ),
            _ => format!(
                "{stamp} INFO Receiving block blk_{block} src: /{address}:{} dest\n",
                50_000 + rng.below(900)
            ),
        };
        text.extend_from_slice(line.as_bytes());
    }
    text
}

/// Inputs that broke other log compressors, and some more.
fn odd() -> Vec<Vec<u8>> {
    let mut rng = Rng::new(3);
    let mut odd: Vec<Vec<u8>> = [
        &b""[..],
        b"\n",
        b"\n\n\r\n\r\r\n\r",
        b"  leading  and   runs \t\n trailing \n",
        b"nul \0 inside\nnul tail\0\0\0",
        b"\xff\xfe\xc3\x28 not utf-8\n\xef\xbb\xbfbom\n",
        b"markers \x01\x02\x03\x04\x11\x12\x13 <*> <I> \\ \x01 \x04\n",
        b"1:23 12:3 1:2:3\n12:34:56 24:00:00 23:59:60 12:34:56.1234567890 12:34:56,9\n",
        b"Jan  7 Jan 07 -0 +5 .5 5. 1E+05 0x0aF 00012 -0012 007\n",
        b"9223372036854775807 9223372036854775808 -9223372036854775808 18446744073709551616\n",
        b"010.1.1.1 1.2.3.4.5 ::ffff:1.2.3.4 255.255.255.255\n",
        b"{\"a\":\"\",\"b\":\"\\\\\",\"c\":\"x\\\"y\",\"1\":2,\"a\":1.0e5}\n\"unclosed\n",
        "línea con ñ, 日本語 и ещё\u{2028}x\u{c}y\n".as_bytes(),
        b"no newline at the end",
    ]
    .iter()
    .map(|t| t.to_vec())
    .collect();
    odd.push(b"same line again\n".repeat(70_000));
    odd.push(
        (0..5000)
            .flat_map(|i| format!("{}\n", "9".repeat(i % 401)).into_bytes())
            .collect(),
    );
    odd.push(
        (0..300)
            .flat_map(|i| format!("{:06} {:06}\n", i * 7 % 235_959, i % 59).into_bytes())
            .collect(),
    );
    odd.push(
        "utf-16 \n text"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect(),
    );
    odd.push(rng.bytes(100_000));
    odd.push(
        (0..60_000)
            .map(|_| b" 0123456789.:-\"{}=,\n"[rng.below(20)])
            .collect(),
    );
    odd.push(
        [
            vec![b'x'; 300_000],
            b"\n".to_vec(),
            b"{\"k\":1},{\"k\":2},".repeat(9000),
        ]
        .concat(),
    );
    odd.push("token ".repeat(10_000).into_bytes());
    odd
}

#[test]
fn any_bytes_come_back_in_every_profile() {
    for (i, text) in odd().iter().enumerate() {
        for profile in PROFILES {
            assert!(
                back(&stored(&[text], profile)) == *text,
                "input {i}, {profile:?}"
            );
        }
    }
}

#[test]
fn chunk_borders_lose_nothing() {
    let all = lines(65_537);
    let ends: Vec<usize> = memchr::memchr_iter(b'\n', &all).collect();
    for rows in [65_535, 65_536, 65_537] {
        let text = &all[..=ends[rows - 1]];
        assert!(
            back(&stored(&[text], Profile::Balanced)) == text,
            "{rows} lines"
        );
    }
}

#[test]
fn lines_shrink_far_below_what_zstd_leaves() {
    let text = lines(30_000);
    let zstd = zstd::bulk::compress(&text, 19).unwrap().len() as u64;
    let size = |profile| stored(&[&text], profile).meta().size();
    let (balanced, archive) = (size(Profile::Balanced), size(Profile::Archive));
    assert!(balanced * 10 < zstd * 9, "{balanced} {zstd}");
    assert!(archive < balanced, "{archive} {balanced}");
}

#[test]
fn several_files_are_one_log_and_compressed_ones_are_unpacked() {
    let text = lines(50);
    let packed = zstd::bulk::compress(&text, 3).unwrap();
    let file = stored(&[&text, b"a\nb", &packed], Profile::Balanced);
    assert!(back(&file) == [&text[..], b"a\nb", &text].concat());
    let schema = file.meta().schema().unwrap();
    let (name, line, number) = (
        schema.index_of("file").unwrap(),
        schema.index_of("line").unwrap(),
        schema.index_of("line_no").unwrap(),
    );
    let request = pilaster::ScanRequest::columns([name, number, line]);
    let batches: Vec<_> = file.scan(request).unwrap().map(Result::unwrap).collect();
    let all = arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap();
    let show = |row: usize| -> Vec<String> {
        all.columns()
            .iter()
            .map(|c| arrow::util::display::array_value_to_string(c, row).unwrap())
            .collect()
    };
    assert_eq!(show(50), ["1.log", "1", "a"]);
    assert_eq!(show(51), ["1.log", "2", "b"]);
    assert_eq!(show(52)[..2], ["2.log", "1"]);
}

#[test]
fn gzip_and_xz_of_several_members_are_unpacked_and_cut_ones_refused() {
    let text = lines(300);
    let gzip = |text: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    };
    let xz = |text: &[u8]| {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 3);
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("a.log"), folder.path().join("a.pil"));
    for packed in [
        [gzip(&text), gzip(b"more\n")].concat(),
        [xz(&text), xz(b"more\n")].concat(),
    ] {
        let file = stored(&[&packed], Profile::Balanced);
        assert!(back(&file) == [&text[..], b"more\n"].concat());
        std::fs::write(&from, &packed[..packed.len() / 2]).unwrap();
        let sources = std::slice::from_ref(&from);
        let error = import(sources, &to, &ImportOptions::default(), &mut |_| ()).unwrap_err();
        assert!(error.to_string().contains("a.log"), "{error}");
        assert!(!to.exists());
    }
}

#[test]
fn lines_of_many_megabytes_come_back() {
    let text = [
        vec![b'a'; 12 << 20],
        b"\n".to_vec(),
        b"1,{\"k\":2},{".repeat(200_000),
    ]
    .concat();
    assert!(back(&stored(&[&text], Profile::Fast)) == text);
}

#[test]
fn sources_of_one_file_are_searched_as_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("a.log"), "one x\ntwo\nthree x").unwrap();
    std::fs::write(path("b.log"), "").unwrap();
    std::fs::write(path("c.log"), "four\nfive x\n").unwrap();
    let sources = ["a.log", "b.log", "c.log"].map(path);
    import(
        &sources,
        &path("x.pil"),
        &ImportOptions::default(),
        &mut |_| (),
    )
    .unwrap();
    let search = |files: &[&str], options: GrepOptions| {
        let mut out = Vec::new();
        let mut failed = Vec::new();
        let files: Vec<_> = files.iter().map(|f| path(f)).collect();
        let tell = &mut |e: pilaster::Error| failed.push(e.to_string());
        let found = grep(&["x"], &files, &options, &mut out, tell).unwrap();
        let out = String::from_utf8(out).unwrap();
        (
            found,
            out.replace(&format!("{}/", folder.path().display()), ""),
            failed,
        )
    };
    let numbered = GrepOptions {
        line_number: true,
        ..GrepOptions::default()
    };
    let (found, out, _) = search(&["x.pil"], numbered.clone());
    assert!(found);
    assert_eq!(out, "a.log:1:one x\na.log:3:three x\nc.log:2:five x\n");
    let first = GrepOptions {
        max_count: Some(1),
        after: 1,
        ..numbered
    };
    let (_, out, _) = search(&["x.pil"], first);
    assert_eq!(out, "a.log:1:one x\na.log-2-two\n--\nc.log:2:five x\n");
    let count = GrepOptions {
        count: true,
        ..GrepOptions::default()
    };
    let (_, out, failed) = search(&["none.pil", "x.pil"], count);
    assert_eq!(out, "x.pil:a.log:2\nx.pil:c.log:1\n");
    assert!(
        failed.len() == 1 && failed[0].contains("none.pil"),
        "{failed:?}"
    );
}

#[test]
fn a_stack_trace_has_the_time_and_level_of_its_record() {
    let text = b"start\n2024-03-01 00:00:01,5 ERROR x\n    at y\n2024-03-01 00:00:02 INFO z\r\n";
    for profile in PROFILES {
        let file = stored(&[text], profile);
        let schema = file.meta().schema().unwrap();
        let wanted = ["timestamp", "level", "record", "line"].map(|n| schema.index_of(n).unwrap());
        let request = pilaster::ScanRequest::columns(wanted);
        let batch = file.scan(request).unwrap().next().unwrap().unwrap();
        let show = |row: usize| -> Vec<String> {
            batch
                .columns()
                .iter()
                .map(|c| arrow::util::display::array_value_to_string(c, row).unwrap())
                .collect()
        };
        assert_eq!(show(0), ["", "", "0", "start"]);
        assert_eq!(show(1)[..3], ["2024-03-01T00:00:01.500", "ERROR", "1"]);
        assert_eq!(
            show(2),
            ["2024-03-01T00:00:01.500", "ERROR", "1", "    at y"]
        );
        assert_eq!(
            show(3),
            [
                "2024-03-01T00:00:02",
                "INFO",
                "3",
                "2024-03-01 00:00:02 INFO z"
            ]
        );
    }
}

#[test]
fn a_truncated_frame_is_refused_and_the_old_file_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let packed = zstd::bulk::compress(&lines(1000), 3).unwrap();
    std::fs::write(path("cut.zst"), &packed[..packed.len() / 2]).unwrap();
    std::fs::write(path("good.log"), b"kept\n").unwrap();
    let options = ImportOptions::default();
    let to = path("x.pil");
    import(&[path("good.log")], &to, &options, &mut |_| ()).unwrap();
    let error = import(&[path("cut.zst")], &to, &options, &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("cut.zst"), "{error}");
    assert_eq!(back(&File::open(&to).unwrap()), b"kept\n");
}

/// What ripgrep prints for one file, by looking at every line.
fn searched(text: &[u8], pattern: &str, options: &GrepOptions) -> String {
    let source = match options.fixed {
        true => regex::escape(pattern),
        false => pattern.to_owned(),
    };
    let regex = RegexBuilder::new(&source)
        .case_insensitive(options.ignore_case)
        .build()
        .unwrap();
    let lines: Vec<&[u8]> = text
        .split_inclusive(|&b| b == b'\n')
        .map(|l| l.strip_suffix(b"\n").unwrap_or(l))
        .collect();
    let mut hits: Vec<usize> = (0..lines.len())
        .filter(|&i| regex.is_match(lines[i]) != options.invert)
        .collect();
    let all = hits.clone();
    hits.truncate(options.max_count.map_or(usize::MAX, |m| m as usize));
    let parts = |i: usize| -> Vec<&[u8]> {
        let found = regex.find_iter(lines[i]).map(|m| m.as_bytes());
        found.filter(|m| !m.is_empty()).collect()
    };
    let mut out = Vec::new();
    if options.count {
        let count = match options.only_matching {
            true => hits.iter().map(|&i| parts(i).len()).sum(),
            false => hits.len(),
        };
        if count > 0 {
            out.extend_from_slice(format!("{count}\n").as_bytes());
        }
        return String::from_utf8_lossy(&out).into_owned();
    }
    let mut last: Option<usize> = None;
    let around = options.before + options.after > 0;
    for (i, line) in lines.iter().enumerate() {
        // What matches is marked so, also where it is only near the last that is wanted.
        let hit = all.binary_search(&i).is_ok();
        let near = hits
            .iter()
            .any(|&h| (h <= i && i - h <= options.after) || (h > i && h - i <= options.before));
        if !near {
            continue;
        }
        if around && last.is_some_and(|l| i > l + 1) {
            out.extend_from_slice(b"--\n");
        }
        last = Some(i);
        let mark = if hit { ':' } else { '-' };
        let shown = match options.only_matching && hit && !options.invert {
            true => parts(i),
            false => vec![*line],
        };
        for part in shown {
            if options.line_number {
                out.extend_from_slice(format!("{}{mark}", i + 1).as_bytes());
            }
            out.extend_from_slice(part);
            out.push(b'\n');
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[test]
fn search_answers_what_a_search_of_the_text_answers() {
    let text = lines(3000);
    let folder = tempfile::tempdir().unwrap();
    let patterns = [
        "ERROR",
        "error",
        "Receiving block",
        "blk_7777777777577",
        "7777",
        "10.0.3.2",
        "absent",
        "took [0-9]{4}ms",
        "(ERROR|WARN) ",
        "^    at",
        "dest$",
        "id=0[a-f]+",
        "00",
        "59,9",
        "\\\\\"x",
        "Main.java:3",
        "d3 failed",
        "",
        "e",
        "03-01 00:0[12]",
        "level\":\"info",
    ];
    let mut flags = vec![GrepOptions::default()];
    let mut flag = |set: fn(&mut GrepOptions)| {
        let mut options = GrepOptions::default();
        set(&mut options);
        flags.push(options);
    };
    flag(|o| o.ignore_case = true);
    flag(|o| o.count = true);
    flag(|o| {
        o.invert = true;
        o.line_number = true;
    });
    flag(|o| {
        o.count = true;
        o.invert = true;
    });
    flag(|o| o.fixed = true);
    flag(|o| {
        o.only_matching = true;
        o.line_number = true;
    });
    flag(|o| {
        o.count = true;
        o.only_matching = true;
    });
    flag(|o| o.max_count = Some(3));
    flag(|o| {
        o.after = 2;
        o.line_number = true;
    });
    flag(|o| {
        o.only_matching = true;
        o.after = 1;
        o.max_count = Some(9);
    });
    flag(|o| {
        o.before = 1;
        o.after = 1;
        o.max_count = Some(40);
    });
    for profile in [Profile::Balanced, Profile::Archive] {
        let path = folder.path().join(format!("{profile:?}.pil"));
        std::fs::write(folder.path().join("a.log"), &text).unwrap();
        let options = ImportOptions {
            profile,
            threads: 1,
            ..ImportOptions::default()
        };
        import(&[folder.path().join("a.log")], &path, &options, &mut |_| ()).unwrap();
        for pattern in patterns {
            for options in &flags {
                let mut out = Vec::new();
                let files = std::slice::from_ref(&path);
                let found =
                    grep(&[pattern], files, options, &mut out, &mut |e| panic!("{e}")).unwrap();
                let wanted = searched(&text, pattern, options);
                let got = String::from_utf8_lossy(&out).into_owned();
                let at = got.lines().zip(wanted.lines()).find(|(a, b)| a != b);
                assert!(got == wanted, "{pattern:?} {options:?}: {at:?}");
                assert_eq!(
                    found,
                    !wanted.is_empty() || (found && options.only_matching)
                );
            }
        }
    }
}
