//! `pilaster demo`: the stage. What is played on it is in a file for each kind of data.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use super::sql::{Format, Session};
use super::words::{align, bar, bytes, ratio};
use super::{Failure, Outcome};

mod cache;
mod data;
mod logs;
mod shop;
mod vectors;

/// Make four small data sets, store them, query them, and show sizes and answers
///
/// The orders of a made-up shop, the log of its service, embeddings of its products and the KV cache
/// of a small language model, the same every time: written into a temporary directory, imported,
/// given back and queried.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  pilaster demo\n  pilaster demo --keep shop")]
pub(super) struct Args {
    /// Work in this directory, and leave the files there.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// The working directory, removed at the end unless it is to be kept.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            // The system clears what is left behind.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Where the demo plays: its directory, its SQL session, and what it says.
struct Stage<'a> {
    folder: &'a Path,
    session: Session,
    quiet: bool,
}

impl Stage<'_> {
    fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Prints to standard output, at once.
    fn say(&self, text: &str) -> Outcome<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{text}")?;
        out.flush()?;
        Ok(())
    }

    /// Tells how long an import took.
    fn imported(&self, source: &str, target: &str, started: Instant) {
        if !self.quiet {
            let time = started.elapsed().as_secs_f64();
            eprintln!("imported {source} as {target} in {time:.1} s");
        }
    }

    fn bytes_of(&self, name: &str) -> Outcome<Vec<u8>> {
        let path = self.at(name);
        let read = std::fs::read(&path);
        read.map_err(|e| Failure::Message(format!("cannot read {}: {e}", path.display())))
    }

    fn size(&self, name: &str) -> Outcome<u64> {
        let path = self.at(name);
        let found = std::fs::metadata(&path);
        let found =
            found.map_err(|e| Failure::Message(format!("cannot read {}: {e}", path.display())))?;
        Ok(found.len())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Outcome<()> {
        let path = self.at(name);
        let written = std::fs::write(&path, bytes);
        written.map_err(|e| Failure::Message(format!("cannot write {}: {e}", path.display())))
    }

    /// Fails unless two files hold the same bytes.
    fn same(&self, given: &str, again: &str) -> Outcome<()> {
        if self.bytes_of(given)? != self.bytes_of(again)? {
            return Err(Failure::Message(format!(
                "{given} did not come back as it was; please report this"
            )));
        }
        self.say(&format!(
            "Exported again, {given} comes back byte for byte.\n"
        ))
    }

    /// Shows sizes, the first of which is the whole.
    fn sizes(&self, title: &str, sizes: &[(&str, u64)]) -> Outcome<()> {
        let whole = sizes.first().map_or(0, |s| s.1);
        let rows: Vec<Vec<String>> = sizes
            .iter()
            .map(|&(name, n)| {
                vec![
                    name.to_owned(),
                    bytes(n),
                    ratio(whole, n),
                    bar(n, whole, 40),
                ]
            })
            .collect();
        self.say(&format!("{title}\n{}", align(&rows, &[1, 2])))
    }

    /// Makes `NAME.pil` the table `NAME`.
    fn name(&mut self, name: &str) -> Outcome<()> {
        let path = self.at(&format!("{name}.pil"));
        self.session.name(name, &path.display().to_string())
    }

    /// Runs queries, each after what it is asked for.
    fn ask(&mut self, queries: &[(&str, &str)]) -> Outcome<()> {
        for (what, query) in queries {
            self.say(&format!("{what}\n  {query}"))?;
            let started = Instant::now();
            self.session.run(query)?;
            self.say(&format!("{:.2} s\n", started.elapsed().as_secs_f64()))?;
        }
        Ok(())
    }
}

pub(super) fn run(args: &Args, quiet: bool) -> Outcome {
    let folder = match &args.keep {
        Some(path) => Folder {
            path: path.clone(),
            keep: true,
        },
        None => Folder {
            path: std::env::temp_dir().join(format!("pilaster-demo-{}", std::process::id())),
            keep: false,
        },
    };
    let failed = |e| Failure::Message(format!("cannot write {}: {e}", folder.path.display()));
    std::fs::create_dir_all(&folder.path).map_err(failed)?;
    let mut stage = Stage {
        folder: &folder.path,
        session: Session::open(Format::Table, false)?,
        quiet,
    };
    stage.say(&format!(
        "Four small data sets, made in {}{}\n",
        folder.path.display(),
        if folder.keep {
            ""
        } else {
            " (removed at the end; --keep DIR keeps it)"
        }
    ))?;
    shop::run(&mut stage)?;
    logs::run(&mut stage)?;
    vectors::run(&mut stage)?;
    cache::run(&mut stage)?;
    stage.say(
        "Next: pilaster import YOUR.csv YOUR.pil, then pilaster inspect YOUR.pil and\n\
         pilaster sql \"SELECT * FROM 'YOUR.pil' LIMIT 5\"",
    )?;
    Ok(ExitCode::SUCCESS)
}
