//! Runs the program, measures it, and notes what was wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use pilaster_peers::Result;
use pilaster_peers::report::{header, number, row};

/// First word of the process between this one and the program, whose only child that is: so its peak of
/// memory is that of the program.
pub const MEASURE: &str = "measure";

const USAGE: &str = "usage: scale --program PILASTER [--work DIR] [--only SET,SET] [--share 0.01] \
                     [--profiles fast,balanced,archive] [--unchecked]";

/// Runs a command and writes its seconds of processor time and its peak of memory in kB to a file.
pub fn measure(mut words: impl Iterator<Item = String>) -> Result<ExitCode> {
    let report = words.next().ok_or(USAGE)?;
    let program = words.next().ok_or(USAGE)?;
    let status = Command::new(program).args(words).status()?;
    let used = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
    let cpu = seconds(used.user_time()) + seconds(used.system_time());
    fs::write(report, format!("{cpu} {}", used.max_rss()))?;
    Ok(ExitCode::from(status.code().unwrap_or(3) as u8))
}

/// What a run of the program gave.
pub struct Run {
    pub out: String,
    pub errors: String,
    pub code: i32,
    pub wall: f64,
    pub cpu: f64,
    pub peak: u64,
}

/// The settings, and what was wrong so far.
pub struct Bench {
    program: PathBuf,
    pub work: PathBuf,
    only: Vec<String>,
    pub share: f64,
    pub profiles: Vec<String>,
    unchecked: bool,
    set: String,
    wrong: Vec<String>,
    answers: usize,
    begun: Instant,
}

impl Bench {
    pub fn new(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut bench = Self {
            program: PathBuf::new(),
            work: std::env::temp_dir().join("pilaster-scale"),
            only: Vec::new(),
            share: 1.0,
            profiles: ["fast", "balanced", "archive"].map(str::to_owned).to_vec(),
            unchecked: false,
            set: String::new(),
            wrong: Vec::new(),
            answers: 0,
            begun: Instant::now(),
        };
        while let Some(word) = words.next() {
            if word == "--unchecked" {
                bench.unchecked = true;
                continue;
            }
            let value = words.next().ok_or(USAGE)?;
            match word.as_str() {
                "--program" => bench.program = fs::canonicalize(value)?,
                "--work" => bench.work = value.into(),
                "--only" => bench.only = value.split(',').map(str::to_owned).collect(),
                "--share" => bench.share = value.parse()?,
                "--profiles" => bench.profiles = value.split(',').map(str::to_owned).collect(),
                _ => return Err(format!("{word} is not an option; {USAGE}").into()),
            }
        }
        if bench.program.as_os_str().is_empty() {
            return Err(USAGE.into());
        }
        fs::create_dir_all(&bench.work)?;
        println!(
            "{}",
            header(&[
                "set, profile",
                "rows",
                "bytes in",
                "bytes out",
                "import, s",
                "processor, s",
                "unchecked, processor s",
                "peak, MB",
                "verify, processor s",
            ])
        );
        Ok(bench)
    }

    pub fn takes(&self, set: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|o| o == set)
    }

    pub fn begin(&mut self, set: &str) {
        self.set = set.to_owned();
    }

    /// So many rows of a whole set.
    pub fn count(&self, whole: usize) -> usize {
        ((whole as f64 * self.share) as usize).max(100)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }

    /// Notes that something is wrong.
    pub fn wrong(&mut self, what: &str) {
        let line = format!("{}: {what}", self.set);
        eprintln!("WRONG {line}");
        self.wrong.push(line);
    }

    /// Runs the program.
    pub fn run(&self, words: &[&str]) -> Result<Run> {
        let report = self.path("used");
        let begun = Instant::now();
        let done = Command::new(std::env::current_exe()?)
            .arg(MEASURE)
            .arg(&report)
            .arg(&self.program)
            .args(words)
            .stdin(Stdio::null())
            .output()?;
        let used = fs::read_to_string(&report)?;
        let (cpu, peak) = used.split_once(' ').ok_or("nothing was measured")?;
        Ok(Run {
            out: String::from_utf8_lossy(&done.stdout).into_owned(),
            errors: String::from_utf8_lossy(&done.stderr).into_owned(),
            code: done.status.code().unwrap_or(3),
            wall: begun.elapsed().as_secs_f64(),
            cpu: cpu.parse()?,
            peak: peak.parse()?,
        })
    }

    /// Imports sources in a profile, verifies what came out and prints a line; gives the file.
    pub fn import(
        &mut self,
        profile: &str,
        rows: usize,
        sources: &[&Path],
        more: &[&str],
    ) -> Result<PathBuf> {
        let label = match sources {
            [one] => one.file_stem().and_then(|n| n.to_str()).unwrap_or("set"),
            _ => self.set.as_str(),
        };
        let label = format!("{label}, {profile}");
        let target = self.path(&format!("{}-{profile}.pil", label.replace([' ', ','], "")));
        let mut words: Vec<String> = ["-q", "import", "--profile", profile]
            .map(str::to_owned)
            .to_vec();
        words.extend(more.iter().map(|m| (*m).to_owned()));
        words.extend(sources.iter().map(|s| s.display().to_string()));
        words.push(target.display().to_string());
        let run =
            |words: &[String]| self.run(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let unchecked = match self.unchecked {
            true => {
                let mut words = words.clone();
                words.insert(2, "--no-verify".to_owned());
                format!("{:.1}", run(&words)?.cpu)
            }
            false => "-".to_owned(),
        };
        let import = run(&words)?;
        if import.code != 0 {
            return Err(format!("import in {profile}: {}", import.errors).into());
        }
        let verify = run(&["verify".to_owned(), target.display().to_string()])?;
        let bytes_in: u64 = sources
            .iter()
            .filter_map(|s| fs::metadata(s).ok())
            .map(|m| m.len())
            .sum();
        println!(
            "{}",
            row([
                label.clone(),
                number(rows as u64),
                number(bytes_in),
                number(fs::metadata(&target)?.len()),
                format!("{:.1}", import.wall),
                format!("{:.1}", import.cpu),
                unchecked,
                number(import.peak / 1024),
                format!("{:.1}", verify.cpu),
            ])
        );
        if verify.code != 0 || !verify.out.contains("sound") {
            self.wrong(&format!(
                "{label}: verify says {}{}",
                verify.out, verify.errors
            ));
        }
        Ok(target)
    }

    /// The rows that a query gives, as CSV without the header.
    pub fn rows_of(&self, query: &str) -> Result<Vec<String>> {
        let run = self.run(&["sql", "--format", "csv", query])?;
        match run.code {
            0 => Ok(run.out.lines().skip(1).map(str::to_owned).collect()),
            _ => Err(run.errors.into()),
        }
    }

    /// Asks a query and compares its rows with what they must be.
    pub fn expect(&mut self, query: &str, wanted: &[String]) {
        self.answers += 1;
        match self.rows_of(query) {
            Ok(found) if found == wanted => {}
            Ok(found) => {
                let first = |rows: &[String]| rows.iter().take(3).cloned().collect::<Vec<_>>();
                self.wrong(&format!(
                    "{query}\n  found  {} rows {:?}\n  wanted {} rows {:?}",
                    found.len(),
                    first(&found),
                    wanted.len(),
                    first(wanted)
                ));
            }
            Err(e) => self.wrong(&format!("{query}: {e}")),
        }
    }

    /// Asks for one row of numbers.
    pub fn expect_numbers(&mut self, query: &str, wanted: &[i128]) {
        let line = wanted.iter().map(i128::to_string).collect::<Vec<_>>();
        self.expect(query, &[line.join(",")]);
    }

    /// Counts an answer that was compared elsewhere.
    pub fn answered(&mut self, right: bool, what: &str) {
        self.answers += 1;
        if !right {
            self.wrong(what);
        }
    }

    /// Runs a command of the program that must succeed.
    pub fn must(&mut self, words: &[&str]) -> Result<Run> {
        let run = self.run(words)?;
        match run.code {
            0 => Ok(run),
            _ => Err(format!("{}: {}", words.join(" "), run.errors).into()),
        }
    }

    /// Prints what was wrong.
    pub fn end(self) -> ExitCode {
        println!(
            "\n{} answers, {} wrong, {:.0} s",
            self.answers,
            self.wrong.len(),
            self.begun.elapsed().as_secs_f64()
        );
        for line in &self.wrong {
            println!("- {line}");
        }
        ExitCode::from(u8::from(!self.wrong.is_empty()))
    }
}
