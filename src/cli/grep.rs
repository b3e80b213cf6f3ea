//! `pilaster grep`.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use super::Outcome;
use crate::kind::logs::{GrepOptions, grep};

/// Search logs for lines that match a pattern
///
/// Options, output and exit codes are ripgrep's: 0 if something was found, 1 if nothing was, 2 after
/// an error. Lines that cannot match are not rebuilt.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    pilaster grep -i error app.pil\n  \
    pilaster grep -c -F 'session opened' logs/*.pil")]
pub(super) struct Args {
    /// A regular expression.
    pattern: String,
    /// Logs that were imported.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Upper and lower case are the same.
    #[arg(short, long)]
    ignore_case: bool,
    /// Lines that do not match.
    #[arg(short = 'v', long)]
    invert_match: bool,
    /// How many lines match, not which.
    #[arg(short, long)]
    count: bool,
    /// With line numbers.
    #[arg(short = 'n', long)]
    line_number: bool,
    /// The pattern is no regular expression.
    #[arg(short = 'F', long)]
    fixed_strings: bool,
    /// Only what matches, each match on a line.
    #[arg(short, long)]
    only_matching: bool,
    /// At most so many lines of a file.
    #[arg(short, long, value_name = "N")]
    max_count: Option<u64>,
    /// Lines after each match.
    #[arg(short = 'A', long, value_name = "N", default_value_t = 0)]
    after_context: usize,
    /// Lines before each match.
    #[arg(short = 'B', long, value_name = "N", default_value_t = 0)]
    before_context: usize,
    /// Lines before and after each match.
    #[arg(short = 'C', long, value_name = "N", default_value_t = 0)]
    context: usize,
}

pub(super) fn run(args: &Args) -> Outcome {
    let options = GrepOptions {
        ignore_case: args.ignore_case,
        invert: args.invert_match,
        count: args.count,
        line_number: args.line_number,
        fixed: args.fixed_strings,
        only_matching: args.only_matching,
        max_count: args.max_count,
        after: args.after_context.max(args.context),
        before: args.before_context.max(args.context),
    };
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut failed = false;
    let found = grep(
        &args.pattern,
        &args.files,
        &options,
        &mut out,
        &mut |error| {
            failed = true;
            eprintln!("error: {error}");
        },
    )?;
    out.flush()?;
    Ok(ExitCode::from(match (failed, found) {
        (true, _) => 2,
        (false, true) => 0,
        (false, false) => 1,
    }))
}
