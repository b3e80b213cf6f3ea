//! Search in a stored log beside `zstd -dc | rg` and `rg` on the text: processor time of all processes.
//!
//! ```text
//! grep LOG [--rounds N] [--level L] [--work DIR]
//! ```
//!
//! Needs `zstd`, `rg` and `bash`. Writes `LOG` as `.pil` (Balanced) and with `zstd -L` (3) into the
//! work directory, unless they are there. Each search is a process, three searches in turn, medians
//! of the rounds; what they print must be the same. `grep --search ARGUMENTS` is the search itself:
//! what `pilaster grep` does.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use pilaster::Profile;
use pilaster::kind::logs::{GrepOptions, ImportOptions, grep, import};
use pilaster_peers::Result;
use pilaster_peers::report::{header, median, row};

const USAGE: &str = "usage: grep LOG [--rounds N] [--level L] [--work DIR]";

/// What is looked for, with the bar that was set for it: how many times as fast as `zstd -dc | rg`.
const QUERIES: [(&str, &[&str], Option<f64>); 18] = [
    ("absent term", &["-c", "-F", "zzabsentterm"], Some(15.0)),
    (
        "absent term, any case",
        &["-c", "-i", "ZZAbsentTerm"],
        Some(15.0),
    ),
    (
        "rare id",
        &["-c", "--", "blk_-1608999687919862906"],
        Some(4.0),
    ),
    (
        "rare id, its lines",
        &["--", "blk_-1608999687919862906"],
        Some(4.0),
    ),
    ("`error`", &["-c", "error"], Some(2.0)),
    ("`error`, any case", &["-c", "-i", "error"], None),
    ("`error`, its lines", &["error"], None),
    ("`ERROR`, its lines", &["-F", "ERROR"], None),
    ("absent address", &["-c", "-F", "203.0.113.77"], None),
    ("an address", &["-F", "10.250.19.102"], None),
    ("a text of two words", &["-c", "Receiving block"], None),
    ("`GET`", &["-c", "GET"], None),
    ("` INFO `", &["-c", "-F", " INFO "], None),
    ("all but `INFO`", &["-c", "-v", "INFO"], None),
    ("a number and a unit", &["-c", "[0-9]{5}ms"], None),
    ("a class between letters", &["-c", "E[A-Z]+R"], None),
    (
        "two words, any between",
        &["-c", "(WARN|ERROR).*(timeout|refused)"],
        None,
    ),
    ("empty lines", &["-c", "^$"], None),
];

/// Runs a line of shell with arguments; gives the processor time of its processes and its output.
fn run(line: &str, arguments: &[&str], out: &Path) -> Result<(f64, Vec<u8>)> {
    let line = format!("exec 3>&1; {{ {line}; }} > '{}'; times >&3", out.display());
    let output = Command::new("bash")
        .args(["-c", &line, "search"])
        .args(arguments)
        .output()?;
    let times = String::from_utf8(output.stdout)?;
    let of_children = times.lines().nth(1).ok_or("bash told no times")?;
    let mut seconds = 0.0;
    for time in of_children.split_whitespace() {
        let (minutes, rest) = time.split_once('m').ok_or("bash told odd times")?;
        seconds += minutes.parse::<f64>()? * 60.0 + rest.trim_end_matches('s').parse::<f64>()?;
    }
    Ok((seconds, std::fs::read(out)?))
}

/// The search as a process of its own.
fn search(words: &[String]) -> Result<ExitCode> {
    let mut options = GrepOptions::default();
    let mut rest = Vec::new();
    let mut ended = false;
    for word in words {
        match word.as_str() {
            "--" if !ended => ended = true,
            "-c" if !ended => options.count = true,
            "-i" if !ended => options.ignore_case = true,
            "-v" if !ended => options.invert = true,
            "-n" if !ended => options.line_number = true,
            "-F" if !ended => options.fixed = true,
            _ => rest.push(word.clone()),
        }
    }
    let [pattern, file] = rest.as_slice() else {
        return Err(USAGE.into());
    };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut failed = None;
    let files = [PathBuf::from(file)];
    let found = grep(&[pattern], &files, &options, &mut out, &mut |e| {
        failed = Some(e)
    })?;
    std::io::Write::flush(&mut out)?;
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(ExitCode::from(u8::from(!found))),
    }
}

fn main() -> Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|w| w == "--search") {
        return search(&words[1..]);
    }
    let (mut log, mut rounds, mut level) = (None, 5, "3".to_owned());
    let mut work = std::env::temp_dir().join("pilaster-peers");
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--rounds" => rounds = words.next().ok_or(USAGE)?.parse()?,
            "--level" => level = words.next().ok_or(USAGE)?,
            "--work" => work = words.next().ok_or(USAGE)?.into(),
            _ => log = Some(PathBuf::from(word)),
        }
    }
    let log = log.ok_or(USAGE)?;
    std::fs::create_dir_all(&work)?;
    let stem = log.file_name().ok_or(USAGE)?.to_string_lossy().into_owned();
    let stored = work.join(format!("{stem}.pil"));
    let packed = work.join(format!("{stem}.{level}.zst"));
    if !stored.exists() {
        let options = ImportOptions {
            profile: Profile::Balanced,
            ..ImportOptions::default()
        };
        import(std::slice::from_ref(&log), &stored, &options, &mut |_| ())?;
    }
    if !packed.exists() {
        let done = Command::new("zstd")
            .args(["-q", "-T0", &format!("-{level}"), "-o"])
            .args([&packed, &log])
            .status()?;
        if !done.success() {
            return Err("zstd failed".into());
        }
    }
    let size = |path: &Path| Ok::<_, std::io::Error>(std::fs::metadata(path)?.len());
    println!(
        "{} bytes of text, {} as .pil, {} with zstd -{level}\n",
        size(&log)?,
        size(&stored)?,
        size(&packed)?
    );
    let own = std::env::current_exe()?;
    let lines = [
        format!("'{}' --search \"$@\" '{}'", own.display(), stored.display()),
        format!(
            "zstd -dcq '{}' | rg -a --no-line-number \"$@\"",
            packed.display()
        ),
        format!("rg -a --no-line-number \"$@\" '{}'", log.display()),
    ];
    println!(
        "{}",
        header(&[
            "search",
            "ours, s",
            "zstd -dc, rg, s",
            "times as fast",
            "bar",
            "rg, s",
            "bytes",
            "same"
        ])
    );
    let mut all_same = true;
    for (name, arguments, bar) in QUERIES {
        let mut seconds: [Vec<f64>; 3] = Default::default();
        let mut printed: Vec<Vec<u8>> = vec![Vec::new(); 3];
        for _ in 0..rounds {
            for (i, line) in lines.iter().enumerate() {
                let (time, out) = run(line, arguments, &work.join("out"))?;
                seconds[i].push(time);
                printed[i] = out;
            }
        }
        let [ours, piped, raw] = seconds.map(|s| median(&s));
        let same = printed[0] == printed[1] && printed[1] == printed[2];
        all_same &= same;
        println!(
            "{}",
            row([
                name.to_owned(),
                format!("{ours:.3}"),
                format!("{piped:.3}"),
                format!("{:.1}", piped / ours.max(0.001)),
                bar.map_or_else(|| "0.67".to_owned(), |b| b.to_string()),
                format!("{raw:.3}"),
                printed[0].len().to_string(),
                if same { "yes" } else { "NO" }.to_owned(),
            ])
        );
    }
    Ok(ExitCode::from(u8::from(!all_same)))
}
