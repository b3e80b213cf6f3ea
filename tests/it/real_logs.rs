//! Real logs, given by the caller: `PILASTER_LOGS` names a directory with a folder for each set.
//!
//! ```text
//! PILASTER_LOGS=logs cargo test --no-default-features --config 'profile.dev.opt-level=3' \
//!     --test it real_logs -- --ignored --nocapture
//! ```
//!
//! Prints, for each set and profile, the ratio beside zstd -19 of the same bytes and the megabytes
//! of text that a second of one core compresses and decompresses. `PILASTER_SETS` names the sets to
//! look at, `PILASTER_PROFILES` the profiles.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use pilaster::kind::logs::{ImportOptions, import_into, restore, source};
use pilaster::{File, Profile};

/// Processor seconds of this thread.
fn clock() -> f64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos: f64 = stat
        .split(' ')
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0.0);
    nanos / 1e9
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    files
}

fn wanted(variable: &str, name: &str) -> bool {
    match std::env::var(variable) {
        Ok(list) => list.split(',').any(|n| n == name),
        Err(_) => true,
    }
}

fn mean(values: &[f64]) -> f64 {
    (values.iter().map(|v| v.ln()).sum::<f64>() / values.len().max(1) as f64).exp()
}

#[test]
#[ignore = "needs PILASTER_LOGS, a directory with a folder of text files for each set"]
fn every_log_comes_back_in_every_profile() {
    let directory = std::env::var_os("PILASTER_LOGS").expect("PILASTER_LOGS names a directory");
    let profiles = [Profile::Fast, Profile::Balanced, Profile::Archive];
    let profiles: Vec<Profile> = profiles
        .into_iter()
        .filter(|p| wanted("PILASTER_PROFILES", &format!("{p:?}").to_lowercase()))
        .collect();
    let mut table: Vec<[Vec<f64>; 4]> = profiles.iter().map(|_| Default::default()).collect();
    for set in files(Path::new(&directory)) {
        let name = set.file_name().unwrap().to_string_lossy().into_owned();
        if !wanted("PILASTER_SETS", &name) {
            continue;
        }
        let texts: Vec<(String, Vec<u8>)> = files(&set)
            .into_iter()
            .map(|f| (f.display().to_string(), fs::read(f).unwrap()))
            .collect();
        let all: Vec<u8> = texts.iter().flat_map(|(_, t)| t.clone()).collect();
        let zstd = match std::env::var("PILASTER_ZSTD").as_deref() {
            Ok("no") => f64::NAN,
            _ => all.len() as f64 / zstd::bulk::compress(&all, 19).unwrap().len() as f64,
        };
        let mut line = format!("{name:20} {:9} zstd -19 {zstd:6.2}", all.len());
        for (profile, table) in profiles.iter().zip(&mut table) {
            let options = ImportOptions {
                profile: *profile,
                threads: 1,
                ..ImportOptions::default()
            };
            let mut readers = texts.iter().map(|(name, text)| {
                let reader = Box::new(Cursor::new(text.clone()));
                Ok((name.clone(), source::unpacked(reader, name)?))
            });
            let mut sink = Vec::new();
            let start = clock();
            import_into(&mut sink, &mut readers, &options, &mut |_| ()).unwrap();
            let middle = clock();
            let bytes = sink.len();
            let file = File::from_bytes(&name, sink).unwrap();
            let mut back = Vec::with_capacity(all.len());
            let opened = clock();
            restore(&file, &mut back).unwrap();
            let end = clock();
            assert!(back == all, "{name} {profile:?}: other bytes came back");
            let ratio = all.len() as f64 / bytes as f64;
            let write = all.len() as f64 / 1e6 / (middle - start);
            let read = all.len() as f64 / 1e6 / (end - opened);
            line.push_str(&format!(
                " | {profile:?} {ratio:6.2} {write:4.0}/{read:4.0}"
            ));
            for (column, value) in table.iter_mut().zip([ratio, ratio / zstd, write, read]) {
                column.push(value);
            }
        }
        println!("{line}");
    }
    for (profile, [ratio, against, write, read]) in profiles.iter().zip(&table) {
        let worst = against.iter().copied().fold(f64::INFINITY, f64::min);
        println!(
            "{profile:?}: ratio {:.2}, against zstd -19 {:.3} (worst {worst:.3}), {:.0} MB/s in, {:.0} MB/s out",
            mean(ratio),
            mean(against),
            mean(write),
            mean(read),
        );
    }
}
