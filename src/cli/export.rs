//! `pilaster export`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use super::Outcome;
use super::progress::Meter;
use super::words::{bytes, count, plural};
use crate::file::File;
use crate::kind::tables::export::{ExportFormat, Target};
use crate::kind::tables::{ExportOptions, export};
use crate::kind::{kv, logs};

/// Write a .pil file out as CSV, JSON lines, Parquet, Arrow, log or KV cache
///
/// The target's extension says the format: .csv, .tsv, .jsonl, .parquet, .arrow, .log (a log's exact
/// bytes), .safetensors or .npz (a KV prefix: the first, or --prefix); `-` is standard output, in CSV
/// unless --format says otherwise. A table that was imported from CSV comes back in the same dialect. The target changes
/// only when all went well.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    pilaster export orders.pil orders.parquet\n  \
    pilaster export orders.pil - --format jsonl | head\n  \
    pilaster export app.pil app.log\n  \
    pilaster export cache.pil second.npz --prefix 1")]
pub(super) struct Args {
    /// The .pil file.
    source: PathBuf,
    /// The file to write, or `-`.
    target: PathBuf,
    /// The format, whatever the target is called.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The KV prefix: its number, from 0, or at least 8 hexadecimal digits of the digest of its last
    /// run (as in column `digest`).
    #[arg(long, value_name = "N|DIGEST")]
    prefix: Option<kv::Chosen>,
    /// The profile of a KV file that was imported with klt(PROFILE,STEP,outside).
    #[arg(long, value_name = "PROFILE")]
    profile_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Csv,
    Jsonl,
    Parquet,
    Arrow,
    Log,
    Safetensors,
}

pub(super) fn run(args: &Args, quiet: bool) -> Outcome {
    let extension = args.target.extension().and_then(|e| e.to_str());
    let format = match (args.format, extension) {
        (Some(Format::Log), _) | (None, Some("log")) => return log(args, quiet),
        (Some(Format::Safetensors), _) | (None, Some("safetensors" | "npz")) => {
            return cache(args, quiet);
        }
        (Some(Format::Csv), _) => Some(ExportFormat::Csv),
        (Some(Format::Jsonl), _) => Some(ExportFormat::JsonLines),
        (Some(Format::Parquet), _) => Some(ExportFormat::Parquet),
        (Some(Format::Arrow), _) => Some(ExportFormat::Arrow),
        (None, _) => None,
    };
    let options = ExportOptions { format };
    let mut meter = Meter::new(quiet, false);
    let done = export(&args.source, &args.target, &options, &mut |rows, total| {
        meter.update(rows, total, "rows");
    });
    let time = meter.finish();
    let done = done?;
    if !quiet && args.target.as_os_str() != "-" {
        eprintln!(
            "{}: {}, {} in {:.1} s",
            args.target.display(),
            plural(done.rows, "row", "rows"),
            bytes(done.bytes),
            time.as_secs_f64()
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// The exact bytes of a log.
fn log(args: &Args, quiet: bool) -> Outcome {
    let file = File::open(&args.source)?;
    let mut target = Target::create(&args.target)?;
    logs::restore(&file, &mut target)?;
    said(args, target.publish()?, quiet)
}

/// A prefix of a file of KV caches.
fn cache(args: &Args, quiet: bool) -> Outcome {
    let chosen = args.prefix.clone().unwrap_or(kv::Chosen::Place(0));
    let profile = args.profile_file.as_deref();
    let profile = profile.map(kv::KvProfile::open).transpose()?;
    let done = kv::export(&args.source, &args.target, &chosen, profile.as_ref())?;
    let said = said(args, done.bytes, quiet)?;
    if !quiet && args.prefix.is_none() && done.prefixes > 1 {
        eprintln!(
            "the first of {} prefixes; --prefix takes another",
            count(done.prefixes as u64)
        );
    }
    Ok(said)
}

fn said(args: &Args, written: u64, quiet: bool) -> Outcome {
    if !quiet && args.target.as_os_str() != "-" {
        eprintln!("{}: {}", args.target.display(), bytes(written));
    }
    Ok(ExitCode::SUCCESS)
}
