//! The interactive shell of `pilaster sql`.

use std::path::PathBuf;
use std::process::ExitCode;

use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use super::sql::{Format, Session};
use super::{Failure, Outcome, statements};

const HELP: &str = "\
Statements end with ; and may go over several lines.
  SELECT * FROM 'x.pil' LIMIT 5;     a path in single quotes is a table
  \\d            tables that have names
  \\d NAME       columns of a table; NAME may be a 'path'
  \\format F     table, csv or jsonl
  \\time         tell each statement's seconds, or stop telling them
  \\?            this help
  \\q            leave (also Ctrl-D)";

pub(super) fn run(session: &mut Session, quiet: bool) -> Outcome {
    let failed = |e: ReadlineError| Failure::Message(format!("cannot use the terminal: {e}"));
    let mut editor = DefaultEditor::new().map_err(failed)?;
    let history = history_file();
    if let Some(path) = &history {
        // A first session has no history.
        let _ = editor.load_history(path);
    }
    if !quiet {
        eprintln!("pilaster {}; \\? for help", env!("CARGO_PKG_VERSION"));
    }
    let mut pending = String::new();
    loop {
        let prompt = if pending.is_empty() {
            "pilaster> "
        } else {
            "       -> "
        };
        let line = match editor.readline(prompt) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => {
                pending.clear();
                continue;
            }
            Err(ReadlineError::Eof) => break,
            Err(e) => return Err(failed(e)),
        };
        if pending.is_empty() && line.trim_start().starts_with('\\') {
            let _ = editor.add_history_entry(line.trim());
            match command(session, line.trim()) {
                Ok(true) => {}
                Ok(false) => break,
                Err(e) => tell(e),
            }
            continue;
        }
        pending.push_str(&line);
        pending.push('\n');
        let (all, rest) = statements::split(&pending);
        for statement in all {
            let _ = editor.add_history_entry(format!("{statement};"));
            if let Err(e) = session.run(&statement) {
                tell(e);
            }
        }
        pending = match statements::is_blank(&rest) {
            true => String::new(),
            false => rest,
        };
    }
    if let Some(path) = &history {
        // Losing the history is no reason to fail.
        let _ = editor.save_history(path);
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(failure: Failure) {
    if let Failure::Message(message) = failure {
        eprintln!("{message}");
    }
}

/// Runs a command; false ends the shell.
fn command(session: &mut Session, line: &str) -> Outcome<bool> {
    let (name, argument) = line.split_once(' ').unwrap_or((line, ""));
    match (name, argument.trim().trim_end_matches(';')) {
        ("\\q", _) => return Ok(false),
        ("\\?" | "\\h", _) => println!("{HELP}"),
        ("\\d", "") => session.run("SHOW TABLES")?,
        // DESCRIBE takes names only; a query of no rows has the columns of any table.
        ("\\d", table) => {
            let columns = session.columns(table)?;
            print!("{columns}");
        }
        ("\\time", _) => {
            session.time = !session.time;
            println!("time is {}", if session.time { "on" } else { "off" });
        }
        ("\\format", "table") => session.format = Format::Table,
        ("\\format", "csv") => session.format = Format::Csv,
        ("\\format", "jsonl") => session.format = Format::Jsonl,
        _ => {
            return Err(Failure::Message(format!(
                "there is no command {line}; \\? lists them"
            )));
        }
    }
    Ok(true)
}

/// Where the history is kept between sessions.
fn history_file() -> Option<PathBuf> {
    Some(PathBuf::from(std::env::var_os("HOME")?).join(".pilaster_history"))
}
