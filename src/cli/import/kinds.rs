//! Imports other than tables.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::super::progress::Meter;
use super::super::words::{bytes, count, plural, ratio};
use super::super::{Failure, Outcome};
use super::{Args, Kind};
use crate::kind::tables::source::{self, SourceOptions};
use crate::kind::{embeddings, kv, logs};

/// Encodings by column.
type Specs = Vec<(String, String)>;

/// What sources hold: what was said, else what their names say.
pub(super) fn of(said: Kind, sources: &[PathBuf]) -> Kind {
    if said != Kind::Auto {
        return said;
    }
    let all = |extensions: &[&str]| {
        let fits = |path: &PathBuf| {
            let packed = path
                .extension()
                .is_some_and(|e| e == "zst" || e == "gz" || e == "xz");
            let inner = if packed { path.file_stem() } else { None };
            let name = inner.map_or(path.as_path(), Path::new);
            let extension = name.extension().and_then(|e| e.to_str());
            extension.is_some_and(|e| extensions.contains(&e))
        };
        !sources.is_empty() && sources.iter().all(fits)
    };
    if files_of_vectors(sources) {
        Kind::Embeddings
    } else if all(&["safetensors"]) || all(&["npz"]) {
        Kind::Kv
    } else if all(&["log"]) {
        Kind::Logs
    } else {
        Kind::Tables
    }
}

/// Whether sources are files that hold vectors and nothing else.
fn files_of_vectors(sources: &[PathBuf]) -> bool {
    let fits = |path: &PathBuf| {
        let extension = path.extension().and_then(|e| e.to_str());
        extension.is_some_and(|e| ["npy", "fvecs", "bvecs"].contains(&e))
    };
    !sources.is_empty() && sources.iter().all(fits)
}

/// Refuses encodings where the kind decides itself.
fn no_specs(specs: &Specs, kind: &str) -> Outcome<()> {
    match specs.is_empty() {
        true => Ok(()),
        false => Err(Failure::Message(format!(
            "--encode does not go with {kind}, which have encodings of their own"
        ))),
    }
}

pub(super) fn logs(
    args: &Args,
    sources: &[PathBuf],
    target: &Path,
    specs: Specs,
    quiet: bool,
) -> Outcome {
    no_specs(&specs, "logs")?;
    let options = logs::ImportOptions {
        profile: args.profile.into(),
        unchecked: args.no_verify,
        ..logs::ImportOptions::default()
    };
    // Of compressed sources the bar passes its end, since their text is longer.
    let sizes = sources.iter().filter_map(|s| std::fs::metadata(s).ok());
    let total = sizes.map(|m| m.len()).sum();
    let mut meter = Meter::new(quiet, true);
    let done = logs::import(sources, target, &options, &mut |done| {
        meter.update(done, total, "text");
    });
    let time = meter.finish();
    let done = done?;
    if !quiet {
        eprintln!(
            "{}: {}, {} -> {} ({} smaller) in {:.1} s",
            target.display(),
            plural(done.lines, "line", "lines"),
            bytes(done.bytes_in),
            bytes(done.bytes_out),
            ratio(done.bytes_in, done.bytes_out),
            time.as_secs_f64()
        );
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn embeddings(
    args: &Args,
    sources: &[PathBuf],
    target: &Path,
    specs: Specs,
    quiet: bool,
) -> Outcome {
    let options = embeddings::ImportOptions {
        profile: args.profile.into(),
        unchecked: args.no_verify,
        specs,
        not_finite: args.not_finite.map_or_else(Default::default, Into::into),
        ..embeddings::ImportOptions::default()
    };
    let done = match files_of_vectors(sources) {
        true => embeddings::import(sources, target, &options)?,
        false => {
            let reading = SourceOptions {
                vectors: true,
                ..SourceOptions::default()
            };
            let source = source::open(sources, &reading, &mut |_, _| {})?;
            let (schema, mut batches) = (source.schema(), source);
            embeddings::import_batches(&schema, &mut batches, target, &options)?
        }
    };
    if !quiet {
        eprintln!(
            "{}: {} of {} values, {} -> {} ({} smaller)",
            target.display(),
            plural(done.rows, "vector", "vectors"),
            count(done.dimension as u64),
            bytes(done.arrow_bytes),
            bytes(done.bytes_out),
            ratio(done.arrow_bytes, done.bytes_out),
        );
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn kv(
    args: &Args,
    sources: &[PathBuf],
    target: &Path,
    specs: Specs,
    quiet: bool,
) -> Outcome {
    let salt = match &args.salt_file {
        None => Vec::new(),
        Some(path) => std::fs::read(path).map_err(|e| {
            Failure::Message(format!("cannot read the salt in {}: {e}", path.display()))
        })?,
    };
    let options = kv::KvOptions {
        model: args.model.clone().unwrap_or_default(),
        specs,
        profile: args.profile.into(),
        unchecked: args.no_verify,
        ..kv::KvOptions::default()
    };
    let done = kv::import(sources, target, options, &salt)?;
    if !quiet {
        eprintln!(
            "{}: {} of {}, {} -> {} ({} smaller)",
            target.display(),
            plural(done.prefixes as u64, "prefix", "prefixes"),
            plural(done.tokens, "token", "tokens"),
            bytes(done.value_bytes),
            bytes(done.bytes_out),
            ratio(done.value_bytes, done.bytes_out),
        );
        if !done.ignored.is_empty() {
            eprintln!("not kept: {}", done.ignored.join(", "));
        }
    }
    Ok(ExitCode::SUCCESS)
}
