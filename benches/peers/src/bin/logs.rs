//! Logs as `.pil` in each profile beside zstd -19: sizes, speeds, and whether every byte comes back.
//!
//! ```text
//! logs DIR [--only A,B] [--rounds N]
//! ```
//!
//! DIR holds a folder of files for each set. A set's files are one log; zstd gets them as one stream.
//! Speeds are megabytes of text that a second of one core's time takes in or gives out, medians of
//! the rounds; everything is in memory.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use pilaster::kind::logs::{ImportOptions, import_into, restore, source};
use pilaster::{File, Profile};
use pilaster_peers::Result;
use pilaster_peers::arguments::Arguments;
use pilaster_peers::clock::Clock;
use pilaster_peers::report::{geometric_mean, header, median, number, row};

const USAGE: &str = "usage: logs DIR [--only A,B] [--rounds N]";
const PROFILES: [Profile; 3] = [Profile::Fast, Profile::Balanced, Profile::Archive];

/// What was measured of one set in one profile.
struct Measured {
    bytes: usize,
    write: f64,
    read: f64,
    exact: bool,
}

fn listed(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = std::fs::read_dir(directory)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn measure(texts: &[(String, Vec<u8>)], profile: Profile, rounds: usize) -> Result<Measured> {
    let all: Vec<u8> = texts.iter().flat_map(|(_, t)| t.iter().copied()).collect();
    let megabytes = all.len() as f64 / 1e6;
    let (mut writes, mut reads) = (Vec::new(), Vec::new());
    let (mut bytes, mut exact) = (0, true);
    for _ in 0..rounds {
        let options = ImportOptions {
            profile,
            threads: 1,
            ..ImportOptions::default()
        };
        let mut readers = texts.iter().map(|(name, text)| {
            let reader = Box::new(Cursor::new(text.clone()));
            Ok((name.clone(), source::unpacked(reader, name)?))
        });
        let mut sink = Vec::new();
        let clock = Clock::start();
        import_into(&mut sink, &mut readers, &options, &mut |_| ())?;
        writes.push(megabytes / clock.stop().process);
        bytes = sink.len();
        let file = File::from_bytes("log", sink)?;
        let mut back = Vec::with_capacity(all.len());
        let clock = Clock::start();
        restore(&file, &mut back)?;
        reads.push(megabytes / clock.stop().process);
        exact &= back == all;
    }
    Ok(Measured {
        bytes,
        write: median(&writes),
        read: median(&reads),
        exact,
    })
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse(USAGE)?;
    let names = ["Fast", "Balanced", "Archive"];
    println!(
        "{}",
        header(&[
            "set", "bytes", "zstd -19", "Fast", "in / out", "Balanced", "in / out", "Archive",
            "in / out", "exact",
        ])
    );
    let mut ratios: Vec<[f64; 3]> = Vec::new();
    let mut speeds: Vec<[(f64, f64); 3]> = Vec::new();
    let mut all_exact = true;
    for folder in listed(&arguments.directory)?
        .into_iter()
        .filter(|p| p.is_dir())
    {
        let name = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if !arguments.only.is_empty() && !arguments.only.contains(&name) {
            continue;
        }
        let texts = listed(&folder)?
            .into_iter()
            .map(|path| Ok((path.display().to_string(), std::fs::read(path)?)))
            .collect::<Result<Vec<_>>>()?;
        let all: Vec<u8> = texts.iter().flat_map(|(_, t)| t.iter().copied()).collect();
        let zstd = zstd::bulk::compress(&all, 19)?.len();
        let times = |bytes: usize| all.len() as f64 / bytes as f64;
        let mut cells = vec![
            name,
            number(all.len() as u64),
            format!("{:.2}", times(zstd)),
        ];
        let (mut ratio, mut speed, mut exact) = ([0.0; 3], [(0.0, 0.0); 3], true);
        for (i, profile) in PROFILES.into_iter().enumerate() {
            let measured = measure(&texts, profile, arguments.rounds)?;
            cells.push(format!("{:.2}", times(measured.bytes)));
            cells.push(format!("{:.0} / {:.0}", measured.write, measured.read));
            ratio[i] = zstd as f64 / measured.bytes as f64;
            speed[i] = (measured.write, measured.read);
            exact &= measured.exact;
        }
        cells.push(if exact { "yes" } else { "NO" }.to_owned());
        println!("{}", row(cells));
        all_exact &= exact;
        ratios.push(ratio);
        speeds.push(speed);
    }
    println!("\nGeometric means:\n");
    println!(
        "{}",
        header(&[
            "profile",
            "ratio / zstd -19's",
            "worst",
            "MB/s in",
            "MB/s out"
        ])
    );
    for (i, name) in names.into_iter().enumerate() {
        let of: Vec<f64> = ratios.iter().map(|r| r[i]).collect();
        let worst = of.iter().copied().fold(f64::INFINITY, f64::min);
        let ins: Vec<f64> = speeds.iter().map(|s| s[i].0).collect();
        let outs: Vec<f64> = speeds.iter().map(|s| s[i].1).collect();
        println!(
            "{}",
            row([
                name.to_owned(),
                format!("{:.3}", geometric_mean(&of)),
                format!("{worst:.3}"),
                format!("{:.0}", geometric_mean(&ins)),
                format!("{:.0}", geometric_mean(&outs)),
            ])
        );
    }
    Ok(ExitCode::from(u8::from(!all_exact)))
}
