//! `pilaster demo`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use super::sql::{Format, Session};
use super::words::{align, bar, bytes, count, ratio};
use super::{Failure, Outcome};
use crate::encoding::Profile;
use crate::file::{ColumnRole, File};
use crate::kind::tables::layout::saved;
use crate::kind::tables::{ExportOptions, ImportOptions, export, import};

mod data;

/// Make a small data set, store it, query it, and show sizes and answers
///
/// The orders and customers of a made-up shop, the same every time: written as CSV into a temporary
/// directory, imported with the profiles balanced and archive, and queried with SQL.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  pilaster demo\n  pilaster demo --keep shop")]
pub(super) struct Args {
    /// Work in this directory, and leave the files there.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// What is asked, and what for.
const QUERIES: [(&str, &str); 6] = [
    (
        "Sales by country",
        "SELECT country, count(*) AS orders, sum(total) AS sales FROM orders \
         GROUP BY country ORDER BY sales DESC",
    ),
    (
        "One morning: zone maps leave one zone of a dozen to read",
        "SELECT order_id, ordered_at, product, total FROM orders \
         WHERE ordered_at BETWEEN TIMESTAMP '2024-06-03T08:00:00' AND TIMESTAMP '2024-06-03T09:00:00' \
         ORDER BY ordered_at LIMIT 5",
    ),
    (
        "A join: who spends most, and since when they are customers",
        "SELECT c.name, c.since, sum(o.total) AS spent FROM orders o \
         JOIN customers c ON o.customer_id = c.customer_id \
         GROUP BY c.name, c.since ORDER BY spent DESC LIMIT 5",
    ),
    (
        "Text: the notes that mention an invoice",
        "SELECT note, count(*) AS orders FROM orders WHERE note LIKE '%invoice%' GROUP BY note",
    ),
    (
        "Null is not the empty string: customers without a credit limit",
        "SELECT count(*) AS customers, count(credit_limit) AS with_limit, \
         avg(credit_limit) AS average_limit FROM customers",
    ),
    (
        "The archive gives the same answers: returns by category",
        "SELECT category, count(*) AS orders, \
         sum(CASE WHEN status = 'returned' THEN 1 ELSE 0 END) AS returned \
         FROM orders_archive GROUP BY category ORDER BY category",
    ),
];

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
    let say = |text: String| -> Outcome<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{text}")?;
        out.flush()?;
        Ok(())
    };
    say(format!(
        "A made-up shop: {} orders of {} customers, as CSV in {}{}\n",
        count(data::ORDERS),
        count(data::CUSTOMERS),
        folder.path.display(),
        if folder.keep {
            ""
        } else {
            " (removed at the end; --keep DIR keeps it)"
        }
    ))?;
    data::make(&folder.path).map_err(failed)?;

    let at = |name: &str| folder.path.join(name);
    let balanced = ImportOptions::default();
    let archive = ImportOptions {
        profile: Profile::Archive,
        ..ImportOptions::default()
    };
    let mut times = Vec::new();
    for (source, target, options) in [
        ("customers.csv", "customers.pil", &balanced),
        ("orders.csv", "orders.pil", &balanced),
        ("orders.csv", "orders_archive.pil", &archive),
    ] {
        let started = Instant::now();
        import(&[at(source)], &at(target), options, &mut |_| ())?;
        times.push(started.elapsed().as_secs_f64());
        if !quiet {
            eprintln!(
                "imported {source} as {target} in {:.1} s",
                times[times.len() - 1]
            );
        }
    }
    export(
        &at("orders.pil"),
        &at("orders.parquet"),
        &ExportOptions::default(),
        &mut |_, _| (),
    )?;
    export(
        &at("orders_archive.pil"),
        &at("again.csv"),
        &ExportOptions::default(),
        &mut |_, _| (),
    )?;
    say(sizes(&at("orders.csv"), &folder.path)?)?;
    let same = std::fs::read(at("orders.csv")).map_err(failed)?
        == std::fs::read(at("again.csv")).map_err(failed)?;
    if !same {
        return Err(Failure::Message(
            "the archive did not give the CSV back; please report this".into(),
        ));
    }
    say("Exported again, the archive gives the CSV back byte for byte.\n".into())?;
    say(learned(&at("orders_archive.pil"))?)?;

    let mut session = Session::open(Format::Table, false)?;
    for name in ["orders", "customers", "orders_archive"] {
        session.name(name, &at(&format!("{name}.pil")).display().to_string())?;
    }
    for (what, query) in QUERIES {
        say(format!("{what}\n  {query}"))?;
        let started = Instant::now();
        session.run(query)?;
        say(format!("{:.2} s\n", started.elapsed().as_secs_f64()))?;
    }
    say(
        "Next: pilaster import YOUR.csv YOUR.pil, then pilaster inspect YOUR.pil and\n\
         pilaster sql \"SELECT * FROM 'YOUR.pil' LIMIT 5\""
            .into(),
    )?;
    Ok(ExitCode::SUCCESS)
}

/// The sizes of the orders in each format.
fn sizes(csv: &Path, folder: &Path) -> Outcome<String> {
    let size = |path: &Path| -> Outcome<u64> {
        let meta = std::fs::metadata(path);
        Ok(meta
            .map_err(|e| Failure::Message(format!("cannot read {}: {e}", path.display())))?
            .len())
    };
    let whole = size(csv)?;
    let mut rows = Vec::new();
    for (name, file) in [
        ("CSV", "orders.csv"),
        ("Parquet, zstd", "orders.parquet"),
        (".pil, balanced", "orders.pil"),
        (".pil, archive", "orders_archive.pil"),
    ] {
        let n = size(&folder.join(file))?;
        rows.push(vec![
            name.to_owned(),
            bytes(n),
            ratio(whole, n),
            bar(n, whole, 40),
        ]);
    }
    Ok(format!("Sizes of the orders\n{}", align(&rows, &[1, 2])))
}

/// What the archive found between the columns.
fn learned(path: &Path) -> Outcome<String> {
    let anatomy = File::open(path)?.anatomy()?;
    let mut found = Vec::new();
    for column in anatomy
        .columns
        .iter()
        .filter(|c| c.role == ColumnRole::Hidden)
    {
        let saved = saved(&column.words);
        for (parent, saved) in column.parents.iter().zip(saved) {
            if let Some(parent) = anatomy.columns.get(*parent).filter(|_| saved >= 1.0) {
                found.push((
                    saved as u64,
                    column.field.name().clone(),
                    parent.field.name().clone(),
                ));
            }
        }
    }
    found.sort_by(|a, b| b.cmp(a));
    let word = |name: &str| match name {
        "$latent" => "the kind of row".to_owned(),
        other => other.trim_start_matches('$').to_owned(),
    };
    let rows: Vec<Vec<String>> = found
        .iter()
        .take(8)
        .map(|(saved, column, parent)| {
            vec![
                word(column),
                format!("given {}", word(parent)),
                format!("saves {}", bytes(*saved)),
            ]
        })
        .collect();
    match rows.is_empty() {
        true => Ok(String::new()),
        false => Ok(format!(
            "What the archive found between columns\n{}",
            align(&rows, &[])
        )),
    }
}
