//! `pilaster sql`.

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow::util::pretty::pretty_format_batches_with_options;
use clap::ValueEnum;
use datafusion::error::DataFusionError;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;

use super::words::{align, plural};
use super::{Failure, Outcome, shell, statements};
use crate::kind::tables::export::{ExportFormat, INVALID, Target, sink, unprintable};

/// Rows that are shown as a table; the other formats show all.
const TABLE_ROWS: usize = 1_000;

/// Query .pil files with SQL
///
/// A path in single quotes is a table: FROM 'orders.pil', FROM 'logs/*.pil'. Without a query, and
/// without input on standard input, an interactive shell opens; \? in it tells its commands.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    pilaster sql \"SELECT count(*) FROM 'orders.pil' WHERE total > 100\"\n  \
    pilaster sql -t o=orders.pil -t c=customers.pil \"SELECT * FROM o JOIN c USING (customer_id) LIMIT 5\"\n  \
    pilaster sql --format csv \"SELECT * FROM 'orders.pil'\" > orders.csv")]
pub(super) struct Args {
    /// Statements, each but the last ended by a semicolon.
    query: Option<String>,
    /// A file of statements.
    #[arg(short, long, value_name = "FILE", conflicts_with = "query")]
    file: Option<PathBuf>,
    /// Gives a file a name to use in FROM; may be given several times.
    #[arg(short, long = "table", value_name = "NAME=PATH")]
    tables: Vec<String>,
    /// How results are shown.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Add the column _row_id, the row's number in its file.
    #[arg(long)]
    row_id: bool,
    /// Tell each statement's seconds on standard error.
    #[arg(long)]
    time: bool,
}

/// How results are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Table,
    Csv,
    Jsonl,
}

impl From<DataFusionError> for Failure {
    fn from(error: DataFusionError) -> Self {
        // The cause says what is wrong; the layers around it say where it passed through.
        let root = error.find_root();
        let text = match root {
            DataFusionError::External(inner) => inner.to_string(),
            other => other.strip_backtrace(),
        };
        let line = text.lines().map(str::trim).filter(|l| !l.is_empty());
        Failure::Message(line.collect::<Vec<_>>().join(" "))
    }
}

/// A session, and how its results are shown.
pub(super) struct Session {
    context: SessionContext,
    runtime: tokio::runtime::Runtime,
    pub(super) format: Format,
    pub(super) time: bool,
}

pub(super) fn run(args: &Args, quiet: bool) -> Outcome {
    let mut session = Session::open(args.format, args.time)?;
    if args.row_id {
        session.silent("SET pilaster.row_id = true")?;
    }
    for table in &args.tables {
        let Some((name, path)) = table.split_once('=') else {
            return Err(Failure::Message(format!(
                "--table takes NAME=PATH, as in --table orders=orders.pil; {table} has no ="
            )));
        };
        session.name(name, path)?;
    }
    let text = match (&args.query, &args.file) {
        (Some(query), _) => query.clone(),
        (None, Some(file)) => std::fs::read_to_string(file)
            .map_err(|e| Failure::Message(format!("cannot read {}: {e}", file.display())))?,
        (None, None) if std::io::stdin().is_terminal() => return shell::run(&mut session, quiet),
        (None, None) => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .map_err(|e| Failure::Message(format!("cannot read standard input: {e}")))?;
            text
        }
    };
    let (mut all, rest) = statements::split(&text);
    if !statements::is_blank(&rest) {
        all.push(rest.trim().to_owned());
    }
    if all.is_empty() {
        return Err(Failure::Message("there is no statement to run".into()));
    }
    for statement in all {
        session.run(&statement)?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Session {
    /// A session that reads `.pil` files.
    pub(super) fn open(format: Format, time: bool) -> Outcome<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|e| Failure::Message(format!("cannot start threads: {e}")))?;
        let context = {
            let _inside = runtime.enter();
            crate::session(SessionConfig::new().with_information_schema(true))?
        };
        Ok(Self {
            context,
            runtime,
            format,
            time,
        })
    }

    /// Gives a file a name.
    pub(super) fn name(&mut self, name: &str, path: &str) -> Outcome<()> {
        exists(path)?;
        // SQL folds names that are not quoted to lower case; both spellings shall be found.
        let folded = name.to_ascii_lowercase();
        if folded != name {
            self.name(&folded, path)?;
        }
        let statement = format!(
            "CREATE EXTERNAL TABLE \"{}\" STORED AS PILASTER LOCATION '{}'",
            name.replace('"', "\"\""),
            path.replace('\'', "''")
        );
        self.silent(&statement)
    }

    /// Runs a statement that has nothing to show.
    fn silent(&mut self, statement: &str) -> Outcome<()> {
        self.runtime.block_on(async {
            self.context.sql(statement).await?.collect().await?;
            Ok(())
        })
    }

    /// Runs a statement and shows what it gives.
    pub(super) fn run(&mut self, statement: &str) -> Outcome<()> {
        for path in statements::quoted_paths(statement) {
            exists(&path)?;
        }
        let started = Instant::now();
        let rows = self.runtime.block_on(self.show(statement))?;
        if self.time {
            eprintln!(
                "{:.3} s, {}",
                started.elapsed().as_secs_f64(),
                plural(rows, "row", "rows")
            );
        }
        Ok(())
    }

    /// Names and types of a table's columns, a line each.
    pub(super) fn columns(&mut self, table: &str) -> Outcome<String> {
        let statement = format!("SELECT * FROM {table}");
        for path in statements::quoted_paths(&statement) {
            exists(&path)?;
        }
        let frame = self.runtime.block_on(self.context.sql(&statement))?;
        let rows: Vec<Vec<String>> = frame
            .schema()
            .fields()
            .iter()
            .map(|f| vec![f.name().clone(), f.data_type().to_string()])
            .collect();
        Ok(align(&rows, &[]))
    }

    async fn show(&self, statement: &str) -> Outcome<u64> {
        crate::query::refuse_ignored_clauses(&self.context, statement)?;
        let frame = self.context.sql(statement).await?;
        let schema = plain(frame.schema().as_arrow());
        let mut stream = frame.execute_stream().await?;
        let mut rows = 0;
        let format = match self.format {
            Format::Csv => ExportFormat::Csv,
            Format::Jsonl => ExportFormat::JsonLines,
            Format::Table => {
                let mut shown = Vec::new();
                let mut kept = 0;
                while let Some(batch) = stream.next().await {
                    let batch = batch?;
                    rows += batch.num_rows();
                    let room = batch.num_rows().min(TABLE_ROWS - kept);
                    kept += room;
                    // Even a slice of no rows would keep its batch in memory.
                    if room > 0 {
                        shown.push(batch.slice(0, room));
                    }
                }
                table(&schema, &shown, rows - kept)?;
                return Ok(rows as u64);
            }
        };
        let mut target = Target::create(Path::new("-"))?;
        {
            // A statement like SET has no columns to show.
            let mut sink = match schema.fields().is_empty() {
                true => None,
                false => Some(sink(format, &schema, &mut target)?),
            };
            while let Some(batch) = stream.next().await {
                let batch = batch?;
                rows += batch.num_rows();
                if let Some(sink) = &mut sink {
                    sink.write(&batch)?;
                }
            }
            if let Some(sink) = sink {
                sink.finish()?;
            }
        }
        target.publish()?;
        Ok(rows as u64)
    }
}

/// The schema without metadata: what a query computes is not spelled as the column it came from.
fn plain(schema: &Schema) -> SchemaRef {
    let field = |f: &Arc<Field>| Field::new(f.name(), f.data_type().clone(), f.is_nullable());
    Arc::new(Schema::new(
        schema.fields().iter().map(field).collect::<Vec<_>>(),
    ))
}

/// Prints batches as a table, and says how many rows are not in it.
fn table(schema: &SchemaRef, batches: &[RecordBatch], hidden: usize) -> Outcome<()> {
    if schema.fields().is_empty() {
        return Ok(());
    }
    let mut shown = vec![RecordBatch::new_empty(Arc::clone(schema))];
    shown.extend(batches.iter().filter(|b| b.num_rows() > 0).cloned());
    // What has no text is an error, not a cell that holds the error.
    let options = FormatOptions::default().with_display_error(false);
    check_texts(&shown, &options)?;
    let text = pretty_format_batches_with_options(&shown, &options)
        .map_err(|e| Failure::Message(e.to_string()))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    if hidden > 0 {
        writeln!(
            out,
            "{} more; --format csv or jsonl shows all",
            plural(hidden as u64, "row", "rows")
        )?;
    }
    Ok(())
}

/// Refuses cells that have no text.
fn check_texts(batches: &[RecordBatch], options: &FormatOptions<'_>) -> Outcome<()> {
    let mut before = 0;
    for batch in batches {
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            let cells = ArrayFormatter::try_new(column, options)
                .map_err(|e| Failure::Message(format!("column '{}': {e}", field.name())))?;
            let durations = has_durations(field.data_type());
            for row in 0..batch.num_rows() {
                match cells.value(row).try_to_string() {
                    Ok(text) if !(durations && text.contains(INVALID)) => {}
                    _ => {
                        return Err(Failure::from(unprintable(
                            field.name(),
                            (before + row) as u64,
                        )));
                    }
                }
            }
        }
        before += batch.num_rows();
    }
    Ok(())
}

/// Whether values of a type are durations, or hold some: they print an error as their text.
fn has_durations(data_type: &DataType) -> bool {
    use DataType::*;
    match data_type {
        Duration(_) => true,
        Dictionary(_, values) => has_durations(values),
        List(f)
        | LargeList(f)
        | ListView(f)
        | LargeListView(f)
        | FixedSizeList(f, _)
        | Map(f, _) => has_durations(f.data_type()),
        Struct(fields) => fields.iter().any(|f| has_durations(f.data_type())),
        _ => false,
    }
}

/// Refuses a path that names nothing; globs and addresses are left to the reader.
fn exists(path: &str) -> Outcome<()> {
    let elsewhere = path.contains("://") || path.contains(['*', '?', '[']);
    if elsewhere || Path::new(path).exists() {
        return Ok(());
    }
    let folder = match std::env::current_dir() {
        Ok(folder) if Path::new(path).is_relative() => format!(" in {}", folder.display()),
        _ => String::new(),
    };
    Err(Failure::Message(format!(
        "there is no file '{path}'{folder}; check the path"
    )))
}
