//! `pilaster grep`.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use super::{Failure, Outcome};
use crate::kind::logs::{GrepOptions, grep};

/// Search logs for lines that match a pattern
///
/// Options, output and exit codes are ripgrep's: 0 if something was found, 1 if nothing was, 2 after
/// an error. Lines that cannot match are not rebuilt.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "pilaster grep [OPTIONS] <PATTERN> <FILES>...\n       \
    pilaster grep [OPTIONS] -e PATTERN ... <FILES>..."
)]
#[command(after_help = "Examples:\n  \
    pilaster grep -i error app.pil\n  \
    pilaster grep -l -w -e panic -e fatal logs/*.pil\n  \
    pilaster grep -c -F 'session opened' logs/*.pil")]
pub(super) struct Args {
    /// A regular expression, unless -e gives some; then logs that were imported.
    #[arg(required = true, value_name = "PATTERN> <FILES")]
    words: Vec<PathBuf>,
    /// A regular expression; may be given several times, and lines match one of them.
    #[arg(short = 'e', long, value_name = "PATTERN", allow_hyphen_values = true)]
    regexp: Vec<String>,
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
    /// Only matches with no letter, digit or underscore beside them.
    #[arg(short, long)]
    word_regexp: bool,
    /// Only matches that are whole lines.
    #[arg(short = 'x', long)]
    line_regexp: bool,
    /// The names of files with a match, not the lines.
    #[arg(short = 'l', long)]
    files_with_matches: bool,
    /// Bytes that are no text are searched like any others; so they are without it, too.
    #[arg(short = 'a', long)]
    text: bool,
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

/// The patterns and the files.
fn told(args: &Args) -> Outcome<(Vec<&str>, &[PathBuf])> {
    let (patterns, files) = match (args.regexp.is_empty(), args.words.split_first()) {
        (true, Some((pattern, files))) => (vec![pattern.to_str()], files),
        _ => {
            let patterns = args.regexp.iter().map(|p| Some(p.as_str()));
            (patterns.collect(), args.words.as_slice())
        }
    };
    let patterns: Option<Vec<&str>> = patterns.into_iter().collect();
    let Some(patterns) = patterns else {
        return Err(Failure::Message("the pattern is not UTF-8".into()));
    };
    match files.is_empty() {
        true => Err(Failure::Message(
            "name the logs to search after the pattern".into(),
        )),
        false => Ok((patterns, files)),
    }
}

pub(super) fn run(args: &Args) -> Outcome {
    let (patterns, files) = told(args)?;
    let options = GrepOptions {
        ignore_case: args.ignore_case,
        invert: args.invert_match,
        count: args.count,
        line_number: args.line_number,
        fixed: args.fixed_strings,
        word: args.word_regexp,
        line: args.line_regexp,
        files_with_matches: args.files_with_matches,
        only_matching: args.only_matching,
        max_count: args.max_count,
        after: args.after_context.max(args.context),
        before: args.before_context.max(args.context),
    };
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut failed = false;
    let found = grep(&patterns, files, &options, &mut out, &mut |error| {
        failed = true;
        eprintln!("error: {error}");
    })?;
    out.flush()?;
    Ok(ExitCode::from(match (failed, found) {
        (true, _) => 2,
        (false, true) => 0,
        (false, false) => 1,
    }))
}
