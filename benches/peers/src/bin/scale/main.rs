//! Data past every threshold of the engine, stored and asked by the program as its users do, held against
//! answers that are known by construction.
//!
//! ```text
//! scale --program PILASTER [--work DIR] [--only SET,SET] [--share 0.01] [--profiles fast,balanced,archive]
//!       [--unchecked]
//! ```
//!
//! Sets: `rows` (10 M rows: over 1,000 zones and 100 chunks in several sections), `nested` (1 M rows),
//! `wide` (10,000 columns), `logs` (5 M lines), `vectors` (1 M), `caches` (100 prefixes), `tpch` (all of SF1
//! and its 22 queries). Each is imported in each profile, verified, asked, exported and compared. `--share`
//! takes that share of the rows. `--unchecked` imports once more without reading back, to tell what that
//! costs. The exit code is 1 if something was wrong.

mod bench;
mod caches;
mod generate;
mod logs;
mod nested;
mod rows;
mod tpch;
mod vectors;
mod wide;

use std::process::ExitCode;

use bench::Bench;
use pilaster_peers::Result;

const SETS: [(&str, fn(&mut Bench) -> Result<()>); 7] = [
    ("rows", rows::run),
    ("nested", nested::run),
    ("wide", wide::run),
    ("logs", logs::run),
    ("vectors", vectors::run),
    ("caches", caches::run),
    ("tpch", tpch::run),
];

fn run() -> Result<ExitCode> {
    let mut words = std::env::args().skip(1).peekable();
    if words.next_if(|w| w == bench::MEASURE).is_some() {
        return bench::measure(words);
    }
    let mut bench = Bench::new(words)?;
    for (name, set) in SETS {
        if bench.takes(name) {
            bench.begin(name);
            if let Err(e) = set(&mut bench) {
                bench.wrong(&format!("could not go on: {e}"));
            }
        }
    }
    Ok(bench.end())
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::from(2)
        }
    }
}
