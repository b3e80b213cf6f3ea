//! What each parent of a column saved against coding the column alone, in archive files.
//!
//! ```text
//! parents DIR [--only A,B] [--work DIR]
//! ```
//!
//! The savings are those that the planner found on its sample and stored with the hidden columns,
//! scaled to all rows; sizes are those of the file.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use pilaster::file::{ColumnMeta, ColumnRole};
use pilaster::kind::tables::layout;
use pilaster::{File, Profile};
use pilaster_peers::Result;
use pilaster_peers::arguments::Arguments;
use pilaster_peers::formats::write_pil;
use pilaster_peers::report::{header, number, row};
use pilaster_peers::tables::{file_name, find, load};

const USAGE: &str = "usage: parents DIR [--only A,B] [--work DIR]";
/// Hidden columns that hold no user's values, as the layout names them.
const LATENT: &str = "$latent";

/// Stored bytes of a column: chunks and models.
fn stored(column: &ColumnMeta) -> u64 {
    let chunks: u64 = column.chunks.iter().map(|c| c.root.stored_bytes()).sum();
    let models: u64 = column
        .models
        .iter()
        .map(|m| m.range.end - m.range.start)
        .sum();
    chunks + models
}

fn table(name: &str, path: &Path, arguments: &Arguments) -> Result<()> {
    let loaded = load(name, path)?;
    let pil = arguments.file(file_name(name, "pil"));
    write_pil(&loaded.rows, &pil, Profile::Archive)?;
    drop(loaded);
    let file = File::open(&pil)?;
    let meta = file.meta();
    let of_role = |role| meta.directory().iter().filter(|e| e.role == role).count();
    println!(
        "\n### {name}\n\n{} bytes; {} columns, {} of them derived from hidden ones\n",
        number(meta.size()),
        meta.shown().len(),
        of_role(ColumnRole::Derived),
    );
    println!(
        "{}",
        header(&["column", "stored bytes", "saved by its parents, bytes"])
    );
    let mut by_parent: BTreeMap<String, (u64, f64)> = BTreeMap::new();
    for (index, entry) in meta.directory().iter().enumerate() {
        if entry.role != ColumnRole::Hidden {
            continue;
        }
        let column = meta.column(index)?;
        let mut saved = layout::saved(&column.words);
        saved.resize(column.parents.len(), 0.0);
        let mut words = Vec::new();
        for (&parent, &saved) in column.parents.iter().zip(&saved) {
            let parent = &meta.directory()[parent].name;
            words.push(format!("{parent} {}", number(saved.max(0.0) as u64)));
            let sum = by_parent.entry(parent.clone()).or_default();
            sum.0 += 1;
            sum.1 += saved;
        }
        println!(
            "{}",
            row([entry.name.clone(), number(stored(column)), words.join(", ")])
        );
    }
    println!();
    let total: f64 = by_parent.values().map(|(_, saved)| saved).sum();
    println!(
        "All parents together: {} bytes.",
        number(total.max(0.0) as u64)
    );
    match by_parent.get(LATENT) {
        Some((children, saved)) => println!(
            "The hidden class of the row: {} bytes, in {children} columns.",
            number(saved.max(0.0) as u64)
        ),
        None => println!("No hidden class of the row paid."),
    }
    std::fs::remove_file(&pil)?;
    Ok(())
}

fn run() -> Result<bool> {
    let arguments = Arguments::parse(USAGE)?;
    let mut good = true;
    for (name, path) in find(&arguments)? {
        if let Err(error) = table(&name, &path, &arguments) {
            eprintln!("{name}: {error}");
            good = false;
        }
    }
    Ok(good)
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("parents: {error}");
            ExitCode::from(2)
        }
    }
}
