//! `pilaster export`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use super::Outcome;
use super::progress::Meter;
use super::words::{bytes, plural};
use crate::kind::tables::export::ExportFormat;
use crate::kind::tables::{ExportOptions, export};

/// Write a .pil file out as CSV, JSON lines, Parquet or Arrow
///
/// The target's extension says the format: .csv, .tsv, .jsonl, .parquet, .arrow; `-` is standard
/// output, in CSV unless --format says otherwise. A table that was imported from CSV comes back in
/// the same dialect. The target changes only when all went well.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    pilaster export orders.pil orders.parquet\n  \
    pilaster export orders.pil - --format jsonl | head")]
pub(super) struct Args {
    /// The .pil file.
    source: PathBuf,
    /// The file to write, or `-`.
    target: PathBuf,
    /// The format, whatever the target is called.
    #[arg(long, value_enum)]
    format: Option<Format>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Csv,
    Jsonl,
    Parquet,
    Arrow,
}

pub(super) fn run(args: &Args, quiet: bool) -> Outcome {
    let format = args.format.map(|f| match f {
        Format::Csv => ExportFormat::Csv,
        Format::Jsonl => ExportFormat::JsonLines,
        Format::Parquet => ExportFormat::Parquet,
        Format::Arrow => ExportFormat::Arrow,
    });
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
