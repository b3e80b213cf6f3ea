//! The command line: each subcommand in a file of its own. What they do is in the library; here it
//! is parsed, shown and given an exit code.
//!
//! Standard output is data, standard error is messages and progress. Exit codes: 0 done, 1 a check
//! failed, 2 an error.

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::Error;

mod demo;
mod export;
mod grep;
mod import;
mod inspect;
mod kv;
mod progress;
mod search;
mod shell;
mod sql;
mod statements;
mod verify;
mod words;

/// A columnar storage engine and file format, queried with SQL.
#[derive(Debug, Parser)]
#[command(name = "pilaster", version, arg_required_else_help = true)]
#[command(after_help = "Examples:\n  \
    pilaster import orders.csv orders.pil\n  \
    pilaster sql \"SELECT country, count(*) FROM 'orders.pil' GROUP BY country\"\n  \
    pilaster inspect orders.pil\n  \
    pilaster demo")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Say nothing but errors and results.
    #[arg(short, long, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Import(import::Args),
    Export(export::Args),
    Sql(sql::Args),
    Grep(grep::Args),
    Search(search::Args),
    Inspect(inspect::Args),
    Verify(verify::Args),
    Kv(kv::Args),
    Demo(demo::Args),
}

/// Why a command ended early.
#[derive(Debug)]
enum Failure {
    /// Whoever read our output wants no more of it.
    BrokenPipe,
    /// What to tell the user.
    Message(String),
}

type Outcome<T = ExitCode> = Result<T, Failure>;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Io { source, .. } if source.kind() == std::io::ErrorKind::BrokenPipe => {
                Self::BrokenPipe
            }
            other => Self::Message(other.to_string()),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            _ => Self::Message(format!("cannot write: {error}")),
        }
    }
}

/// Runs the binary.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let quiet = cli.quiet;
    let outcome = match cli.command {
        Command::Import(args) => import::run(&args, quiet),
        Command::Export(args) => export::run(&args, quiet),
        Command::Sql(args) => sql::run(&args, quiet),
        Command::Grep(args) => grep::run(&args),
        Command::Search(args) => search::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Verify(args) => verify::run(&args, quiet),
        Command::Kv(args) => kv::run(&args, quiet),
        Command::Demo(args) => demo::run(&args, quiet),
    };
    match outcome {
        Ok(code) => code,
        Err(Failure::BrokenPipe) => ExitCode::SUCCESS,
        Err(Failure::Message(message)) => {
            // If even this cannot be written, the exit code still tells.
            let _ = writeln!(std::io::stderr(), "pilaster: {message}");
            ExitCode::from(2)
        }
    }
}
