//! Time of reading tables into Arrow: all columns, and one column alone.
//!
//! ```text
//! scan DIR [--only A,B] [--rounds N] [--row-group ROWS] [--work DIR]
//! ```
//!
//! Archive files beside Parquet with zstd 19. Each measurement is a process of its own, formats in
//! turn, so that neither finds the other's memory or a warm allocator; it opens the file anew each
//! time. The figures are medians of processor time of one thread.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use pilaster::Profile;
use pilaster_peers::Result;
use pilaster_peers::arguments::Arguments;
use pilaster_peers::clock::Clock;
use pilaster_peers::formats::{drop_batch, scan_parquet, scan_pil, write_parquet, write_pil};
use pilaster_peers::report::{geometric_mean, header, median, ratio, row};
use pilaster_peers::tables::{file_name, find, load};

const USAGE: &str = "usage: scan DIR [--only A,B] [--rounds N] [--row-group ROWS] [--work DIR]";
/// First argument of a process that measures.
const MEASURE: &str = "measure";
/// A process repeats its scan for at least so many seconds.
const LEAST: f64 = 0.25;

/// What a process measures.
const KINDS: [&str; 4] = ["pil", "parquet", "pil-column", "parquet-column"];

fn scan(kind: &str, path: &Path, columns: Option<&[usize]>) -> Result<usize> {
    let schema = match kind.starts_with("pil") {
        true => scan_pil(path, columns, drop_batch)?,
        false => scan_parquet(path, columns, drop_batch)?,
    };
    Ok(schema.fields().len())
}

/// Seconds of one scan, or of one column in the mean over all columns.
fn measure(kind: &str, path: &Path) -> Result<f64> {
    let width = scan(kind, path, None)?;
    let columns = kind.ends_with("-column");
    let clock = Clock::start();
    let mut scans = 0;
    while scans == 0 || clock.stop().thread < LEAST {
        if columns {
            for column in 0..width {
                black_box(scan(kind, path, Some(&[column]))?);
            }
            scans += width;
        } else {
            black_box(scan(kind, path, None)?);
            scans += 1;
        }
    }
    Ok(clock.stop().thread / scans as f64)
}

fn in_process(kind: &str, path: &Path) -> Result<f64> {
    let output = Command::new(std::env::current_exe()?)
        .arg(MEASURE)
        .arg(kind)
        .arg(path)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// Medians of all kinds.
fn table(name: &str, path: &Path, arguments: &Arguments) -> Result<[f64; 4]> {
    let pil = arguments.file(file_name(name, "pil"));
    let parquet = arguments.file(file_name(name, "parquet"));
    let loaded = load(name, path)?;
    write_pil(&loaded.rows, &pil, Profile::Archive)?;
    write_parquet(&loaded.rows, &parquet, 19, arguments.row_group)?;
    drop(loaded);
    let files: [&PathBuf; 4] = [&pil, &parquet, &pil, &parquet];
    let mut times = [const { Vec::new() }; 4];
    for _ in 0..arguments.rounds {
        for ((kind, file), times) in KINDS.iter().zip(files).zip(&mut times) {
            times.push(in_process(kind, file)?);
        }
    }
    std::fs::remove_file(&pil)?;
    std::fs::remove_file(&parquet)?;
    Ok(times.map(|t| median(&t)))
}

fn run() -> Result<bool> {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some(MEASURE) {
        let (Some(kind), Some(path)) = (words.next(), words.next()) else {
            return Err("measure KIND FILE".into());
        };
        println!("{}", measure(&kind, Path::new(&path))?);
        return Ok(true);
    }
    let arguments = Arguments::parse(USAGE)?;
    println!(
        "{}",
        header(&[
            "table",
            "archive, ms",
            "Parquet, ms",
            "archive / Parquet",
            "one column of archive, ms",
            "of Parquet, ms",
            "one column / all, archive",
            "one column / all, Parquet",
        ])
    );
    let mut ratios = [const { Vec::new() }; 3];
    let mut good = true;
    for (name, path) in find(&arguments)? {
        let [pil, parquet, pil_column, parquet_column] = match table(&name, &path, &arguments) {
            Ok(times) => times,
            Err(error) => {
                eprintln!("{name}: {error}");
                good = false;
                continue;
            }
        };
        let found = [pil / parquet, pil_column / pil, parquet_column / parquet];
        for (all, one) in ratios.iter_mut().zip(found) {
            all.push(one);
        }
        let ms = |seconds: f64| format!("{:.2}", seconds * 1e3);
        println!(
            "{}",
            row([
                name,
                ms(pil),
                ms(parquet),
                ratio(found[0]),
                ms(pil_column),
                ms(parquet_column),
                ratio(found[1]),
                ratio(found[2]),
            ])
        );
    }
    let means = ratios.each_ref().map(|r| ratio(geometric_mean(r)));
    let [full, pil_column, parquet_column] = means;
    let none = String::new;
    let count = format!("geometric mean of {}", ratios[0].len());
    let cells = [
        count,
        none(),
        none(),
        full,
        none(),
        none(),
        pil_column,
        parquet_column,
    ];
    println!("{}", row(cells));
    Ok(good)
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("scan: {error}");
            ExitCode::from(2)
        }
    }
}
