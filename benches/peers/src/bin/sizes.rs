//! Sizes of tables as `.pil` in each profile and as Parquet, and whether every value comes back.
//!
//! ```text
//! sizes DIR [--only A,B] [--reference FILE] [--row-group ROWS] [--work DIR]
//! ```

use std::process::ExitCode;

use pilaster::Profile;
use pilaster_peers::Result;
use pilaster_peers::arguments::Arguments;
use pilaster_peers::clock::Clock;
use pilaster_peers::formats::{gives_back, write_parquet, write_pil};
use pilaster_peers::report::{Reference, geometric_mean, header, number, ratio, row};
use pilaster_peers::tables::{Table, file_name, find, load};

const USAGE: &str = "usage: sizes DIR [--only A,B] [--reference FILE] [--row-group ROWS] \
                     [--work DIR]";
const PROFILES: [(Profile, &str); 3] = [
    (Profile::Fast, "fast"),
    (Profile::Balanced, "balanced"),
    (Profile::Archive, "archive"),
];

/// What was measured of one table.
struct Sizes {
    parquet: [u64; 2],
    pil: [u64; 3],
    /// Processor seconds of writing: the two Parquet files, the three `.pil` files.
    seconds: [f64; 5],
    exact: bool,
}

fn measure(table: &Table, arguments: &Arguments) -> Result<Sizes> {
    let mut sizes = Sizes {
        parquet: [0; 2],
        pil: [0; 3],
        seconds: [0.0; 5],
        exact: true,
    };
    for (i, level) in [3, 19].into_iter().enumerate() {
        let path = arguments.file(file_name(&table.name, "parquet"));
        let clock = Clock::start();
        sizes.parquet[i] = write_parquet(&table.rows, &path, level, arguments.row_group)?;
        sizes.seconds[i] = clock.stop().process;
        std::fs::remove_file(&path)?;
    }
    for (i, (profile, name)) in PROFILES.into_iter().enumerate() {
        let path = arguments.file(file_name(&table.name, "pil"));
        let clock = Clock::start();
        sizes.pil[i] = write_pil(&table.rows, &path, profile)?;
        sizes.seconds[2 + i] = clock.stop().process;
        if !gives_back(&path, &table.rows)? {
            eprintln!("{}: {name} does not give back the rows", table.name);
            sizes.exact = false;
        }
        std::fs::remove_file(&path)?;
    }
    Ok(sizes)
}

fn run() -> Result<bool> {
    let arguments = Arguments::parse(USAGE)?;
    let reference = match &arguments.reference {
        Some(path) => Some(Reference::read(path)?),
        None => None,
    };
    let tables = find(&arguments)?;
    let mut columns = vec![
        "table",
        "rows",
        "columns",
        "csv",
        "zstd 3",
        "zstd 19",
        "fast",
        "balanced",
        "archive",
        "balanced / zstd 3",
        "archive / zstd 19",
    ];
    if reference.is_some() {
        columns.extend(["balanced / reference zstd 3", "archive / reference zstd 19"]);
    }
    columns.push("exact");
    println!("{}", header(&columns));
    let mut good = true;
    let mut ratios: Vec<Vec<f64>> = vec![Vec::new(); columns.len() - 10];
    let mut speeds: Vec<Vec<f64>> = vec![Vec::new(); 5];
    for (name, path) in tables {
        if reference.as_ref().is_some_and(|r| r.get(&name).is_none()) {
            continue;
        }
        let measured = load(&name, &path).and_then(|t| Ok((measure(&t, &arguments)?, t)));
        let (sizes, table) = match measured {
            Ok(measured) => measured,
            Err(error) => {
                eprintln!("{name}: {error}");
                good = false;
                continue;
            }
        };
        good &= sizes.exact;
        let mut found = vec![
            sizes.pil[1] as f64 / sizes.parquet[0] as f64,
            sizes.pil[2] as f64 / sizes.parquet[1] as f64,
        ];
        if let Some(reference) = &reference {
            let (zstd3, zstd19) = reference.get(&name).unwrap_or_default();
            let over = |size: u64, by: Option<u64>| by.map_or(f64::NAN, |b| size as f64 / b as f64);
            found.extend([over(sizes.pil[1], zstd3), over(sizes.pil[2], zstd19)]);
        }
        for (all, one) in ratios.iter_mut().zip(&found) {
            if one.is_finite() {
                all.push(*one);
            }
        }
        for (all, seconds) in speeds.iter_mut().zip(sizes.seconds) {
            all.push(table.csv_bytes as f64 / 1e6 / seconds);
        }
        let counts = [
            table.rows.num_rows() as u64,
            table.rows.num_columns() as u64,
            table.csv_bytes,
        ];
        let cells = [name]
            .into_iter()
            .chain(counts.into_iter().map(number))
            .chain(sizes.parquet.into_iter().map(number))
            .chain(sizes.pil.into_iter().map(number))
            .chain(found.into_iter().map(ratio))
            .chain([if sizes.exact { "yes" } else { "NO" }.to_owned()]);
        println!("{}", row(cells));
    }
    let count = ratios[0].len();
    let means = ratios
        .iter()
        .filter(|r| !r.is_empty())
        .map(|r| ratio(geometric_mean(r)));
    let cells = [format!("geometric mean of {count}")]
        .into_iter()
        .chain(std::iter::repeat_n(String::new(), 8))
        .chain(means)
        .chain([String::new()]);
    println!("{}", row(cells));
    println!();
    println!("Writing, MB of CSV a processor second, geometric mean:\n");
    println!(
        "{}",
        header(&["", "zstd 3", "zstd 19", "fast", "balanced", "archive"])
    );
    let cells = ["MB/s".to_owned()]
        .into_iter()
        .chain(speeds.iter().map(|s| format!("{:.1}", geometric_mean(s))));
    println!("{}", row(cells));
    Ok(good)
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("sizes: {error}");
            ExitCode::from(2)
        }
    }
}
