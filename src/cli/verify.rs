//! `pilaster verify`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::progress::Meter;
use super::words::{bytes, plural};
use super::{Failure, Outcome};
use crate::error::Error;
use crate::file::File;

/// Check every checksum of .pil files and decode every chunk
///
/// A directory stands for all .pil files below it. Exit code 0: all are sound; 1: one is damaged;
/// 2: one could not be checked.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pilaster verify orders.pil archive/")]
pub(super) struct Args {
    /// Files and directories.
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Finding {
    Sound,
    Damaged,
    Unchecked,
}

pub(super) fn run(args: &Args, quiet: bool) -> Outcome {
    let mut worst = Finding::Sound;
    let mut files = Vec::new();
    for path in &args.paths {
        if path.is_dir() {
            let before = files.len();
            if let Err(e) = collect(path, &mut files) {
                eprintln!("pilaster: {}: {e}", path.display());
                worst = Finding::Unchecked;
            } else if files.len() == before {
                return Err(Failure::Message(format!(
                    "there is no .pil file in {}",
                    path.display()
                )));
            }
        } else {
            files.push(path.clone());
        }
    }
    files.sort();
    let mut out = std::io::stdout().lock();
    for path in &files {
        worst = worst.max(check(path, quiet, &mut out)?);
    }
    Ok(match worst {
        Finding::Sound => ExitCode::SUCCESS,
        Finding::Damaged => ExitCode::from(1),
        Finding::Unchecked => ExitCode::from(2),
    })
}

/// All .pil files below a directory.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "pil") {
            files.push(path);
        }
    }
    Ok(())
}

fn check(path: &Path, quiet: bool, out: &mut impl Write) -> Outcome<Finding> {
    let show = path.display();
    let mut meter = Meter::new(quiet, false);
    let report = File::open_directory(path).and_then(|file| {
        let rows = file.meta().rows();
        let report = file.verify(|done, total| {
            meter.update(done as u64, total as u64, &format!("columns of {show}"));
        })?;
        Ok((rows, file.meta().size(), report))
    });
    let time = meter.finish();
    Ok(match report {
        Ok((rows, size, report)) if report.problems.is_empty() => {
            if !quiet {
                writeln!(
                    out,
                    "{show}: sound ({}, {}, {}, {} in {:.1} s)",
                    plural(rows, "row", "rows"),
                    plural(report.columns as u64, "column", "columns"),
                    plural(report.chunks as u64, "chunk", "chunks"),
                    bytes(size),
                    time.as_secs_f64()
                )?;
            }
            Finding::Sound
        }
        Ok((_, _, report)) => {
            writeln!(
                out,
                "{show}: damaged ({}); restore it from a copy, or query the columns that are sound",
                plural(report.problems.len() as u64, "problem", "problems")
            )?;
            for problem in &report.problems {
                writeln!(out, "  {problem}")?;
            }
            Finding::Damaged
        }
        Err(e @ (Error::Io { .. } | Error::Unsupported { .. } | Error::InvalidInput(_))) => {
            eprintln!("pilaster: {e}");
            Finding::Unchecked
        }
        Err(e) => {
            writeln!(out, "{show}: damaged\n  {e}")?;
            Finding::Damaged
        }
    })
}
