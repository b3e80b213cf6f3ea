//! Search of real logs, held against ripgrep itself, if there is one: `PILASTER_LOGS` names a
//! directory with a folder of files for each set.
//!
//! ```text
//! PILASTER_LOGS=logs cargo test --no-default-features --features sources \
//!     --config 'profile.dev.opt-level=3' --test it real_grep -- --ignored --nocapture
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pilaster::kind::logs::{GrepOptions, ImportOptions, grep, import};

/// Patterns with the options that they are searched with.
const SEARCHES: [(&str, &[&str]); 43] = [
    ("error", &[]),
    ("error", &["-i"]),
    ("error", &["-c"]),
    ("error", &["-c", "-v"]),
    ("warn", &["-n", "-i"]),
    ("[main]", &["-F"]),
    ("10.", &["-F", "-c"]),
    ("no such text at all", &["-F"]),
    (r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+", &["-o"]),
    ("blk_-?[0-9]+", &["-o", "-n"]),
    ("[0-9]+", &["-c", "-o"]),
    ("INFO", &["-m", "3"]),
    ("INFO", &["-m", "2", "-n", "-v"]),
    ("Exception", &["-A", "2", "-n"]),
    ("fatal", &["-B", "2", "-i"]),
    ("ERROR", &["-C", "1", "-m", "4", "-n"]),
    ("timeout", &["-C", "3"]),
    ("warn", &["-A", "1", "-m", "2", "-o", "-n"]),
    ("^$", &["-n"]),
    (r"^\s*$", &["-c"]),
    ("(GET|POST) /[a-z]+", &[]),
    ("session (opened|closed)", &["-i", "-n"]),
    (r"e\b", &["-c"]),
    (r"\r$", &["-n"]),
    (r#""[a-z_]+":"[^"]{1,12}""#, &["-o"]),
    ("absentword", &["-c"]),
    ("e", &["-v", "-m", "5"]),
    ("^.{300,}$", &["-n"]),
    ("s", &["-i", "-c"]),
    ("", &["-c"]),
    ("0", &["-B", "1", "-A", "1", "-v", "-m", "3", "-n"]),
    ("failed", &["-o", "-C", "1", "-m", "3", "-n"]),
    (r"k\w*s", &["-i", "-o"]),
    (r"[^\x00-\x7f]", &["-c"]),
    ("Jun.*sshd", &[]),
    ("the", &["-c", "-m", "7"]),
    ("in", &["-w", "-c"]),
    // Not with `-o`: ripgrep before 14 prints parts of words then.
    ("[0-9]+", &["-w", "-c"]),
    ("-1", &["-w", "-F", "-n", "-m", "20"]),
    ("error|failed", &["-w", "-i", "-n"]),
    ("info", &["-w", "-v", "-i", "-c"]),
    (".*[a-z] ?", &["-x", "-c"]),
    ("", &["-x", "-n"]),
];

fn options(flags: &[&str]) -> GrepOptions {
    let mut options = GrepOptions::default();
    let mut flags = flags.iter();
    while let Some(flag) = flags.next() {
        let mut number = || flags.next().unwrap().parse::<usize>().unwrap();
        match *flag {
            "-i" => options.ignore_case = true,
            "-c" => options.count = true,
            "-v" => options.invert = true,
            "-n" => options.line_number = true,
            "-F" => options.fixed = true,
            "-w" => options.word = true,
            "-x" => options.line = true,
            "-o" => options.only_matching = true,
            "-m" => options.max_count = Some(number() as u64),
            "-A" => options.after = number(),
            "-B" => options.before = number(),
            "-C" => {
                options.after = number();
                options.before = options.after;
            }
            other => panic!("{other}"),
        }
    }
    options
}

fn listed(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
#[ignore = "needs ripgrep, and PILASTER_LOGS, a directory with a folder of text files for each set"]
fn search_prints_what_ripgrep_prints() {
    let directory = std::env::var_os("PILASTER_LOGS").expect("PILASTER_LOGS names a directory");
    let folder = tempfile::tempdir().unwrap();
    let (mut searches, mut wrong) = (0, Vec::new());
    for set in listed(Path::new(&directory))
        .into_iter()
        .filter(|p| p.is_dir())
    {
        let sources = listed(&set);
        let stored = folder.path().join("set.pil");
        import(&sources, &stored, &ImportOptions::default(), &mut |_| ()).unwrap();
        for (pattern, flags) in SEARCHES {
            let told = Command::new("rg")
                .args(["-a", "-j1", "--no-heading", "--color", "never"])
                .args(flags)
                .args(["-e", pattern])
                .args(&sources)
                .output()
                .unwrap();
            let mut out = Vec::new();
            let files = std::slice::from_ref(&stored);
            let mut failed = |e| panic!("{e}");
            let found = grep(&[pattern], files, &options(flags), &mut out, &mut failed).unwrap();
            searches += 1;
            if out != told.stdout || found != told.status.success() {
                wrong.push(format!("{} {pattern:?} {flags:?}", set.display()));
            }
        }
    }
    println!("{searches} searches");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
