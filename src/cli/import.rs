//! `pilaster import`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use super::progress::Meter;
use super::words::{bytes, count, plural, ratio};
use super::{Failure, Outcome};
use crate::encoding::Profile;
use crate::kind::embeddings::NotFinite;
use crate::kind::tables::source::{CsvOptions, SourceOptions};
use crate::kind::tables::{ImportOptions, ImportPhase, import};

mod kinds;

/// Make a .pil file out of tables, logs, vectors or KV caches
///
/// Tables are CSV, JSON lines, Parquet or Arrow; vectors .npy, .fvecs or .bvecs; KV caches
/// .safetensors or .npz (with --kind kv also k.npy beside v.npy and tokens.npy); logs any text, also
/// compressed with gzip, zstd or xz.
///
/// Every value can be had back: a CSV column becomes numbers, dates or booleans only if each of its
/// cells prints back identically, and text otherwise. Several sources of the same columns become one
/// table; `-` is standard input. Keeps to 512 MiB of memory whatever the size of the input. The
/// target changes only when all went well.
#[derive(Debug, clap::Args)]
#[command(override_usage = "pilaster import [OPTIONS] <SRC>... <DST.pil>")]
#[command(after_help = "Examples:\n  \
    pilaster import orders.csv orders.pil\n  \
    pilaster import logs/*.parquet all.pil --profile archive --sort-by time\n  \
    zcat big.csv.gz | pilaster import - big.pil --encode 'note=zstd'\n  \
    pilaster import app.log app.pil --profile archive\n  \
    pilaster import vectors.npy vectors.pil --encode v=lvq8\n  \
    pilaster import prefix.safetensors cache.pil --encode 'k*=kivi4' --encode 'v*=kivi2'\n  \
    pilaster import prefix.npz cache.pil --encode 'k*=klt(model.kvp)' --encode 'v*=klt(model.kvp)'")]
pub(super) struct Args {
    /// Sources, then the target, which ends in .pil.
    #[arg(required = true, num_args = 2.., value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// What the sources hold; told by their names if it is `auto`.
    #[arg(long, value_enum, default_value_t = Kind::Auto)]
    kind: Kind,
    /// Speed of writing and reading against size.
    #[arg(long, value_enum, default_value_t = ProfileName::Balanced)]
    profile: ProfileName,
    /// An encoding for the columns that match a glob; may be given several times, and the first
    /// that matches counts.
    #[arg(long, value_name = "COL=SPEC")]
    encode: Vec<String>,
    /// Publish without reading back what was written; by default all of the file is decoded and
    /// compared with what was given before it appears.
    #[arg(long)]
    no_verify: bool,
    /// Columns to sort the rows by.
    #[arg(long, value_name = "COL,..", value_delimiter = ',')]
    sort_by: Vec<String>,
    /// The first line of CSV names the columns; that is the default, unless a number is in it twice.
    #[arg(long, conflicts_with = "no_header")]
    header: bool,
    /// The first line of CSV is a row; the columns become column_1, column_2, ...
    #[arg(long)]
    no_header: bool,
    /// The character between cells of CSV (or tab, space); found out by default.
    #[arg(long, value_name = "CHAR", value_parser = delimiter)]
    delimiter: Option<u8>,
    /// What becomes of vectors that hold NaN or infinity; they are refused by default.
    #[arg(long, value_enum, value_name = "WHAT")]
    not_finite: Option<NotFiniteName>,
    /// The model whose KV caches these are; else the one that the first source names.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// A file whose bytes keep a tenant's KV prefixes apart from others'.
    #[arg(long, value_name = "FILE")]
    salt_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Auto,
    Tables,
    Logs,
    Embeddings,
    Kv,
    Tensors,
}

/// What becomes of vectors that hold NaN or infinity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum NotFiniteName {
    Refuse,
    Keep,
    Null,
}

impl From<NotFiniteName> for NotFinite {
    fn from(name: NotFiniteName) -> Self {
        match name {
            NotFiniteName::Refuse => NotFinite::Refuse,
            NotFiniteName::Keep => NotFinite::Keep,
            NotFiniteName::Null => NotFinite::Null,
        }
    }
}

/// The profiles by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ProfileName {
    Fast,
    Balanced,
    Archive,
}

impl From<ProfileName> for Profile {
    fn from(name: ProfileName) -> Self {
        match name {
            ProfileName::Fast => Profile::Fast,
            ProfileName::Balanced => Profile::Balanced,
            ProfileName::Archive => Profile::Archive,
        }
    }
}

fn delimiter(text: &str) -> Result<u8, String> {
    match (text, text.as_bytes()) {
        ("tab" | "\\t", _) => Ok(b'\t'),
        ("space", _) => Ok(b' '),
        (_, [b'"' | b'\n' | b'\r']) => Err("quotes and line ends cannot separate cells".into()),
        (_, [one]) if one.is_ascii() => Ok(*one),
        _ => Err("one ASCII character, `tab` or `space`".into()),
    }
}

/// Refuses options that say nothing about a kind, rather than to pass over them.
fn misplaced(args: &Args, kind: Kind) -> Outcome<()> {
    let given = [
        ("--sort-by", Kind::Tables, !args.sort_by.is_empty()),
        ("--header", Kind::Tables, args.header),
        ("--no-header", Kind::Tables, args.no_header),
        ("--delimiter", Kind::Tables, args.delimiter.is_some()),
        ("--not-finite", Kind::Embeddings, args.not_finite.is_some()),
        ("--model", Kind::Kv, args.model.is_some()),
        ("--salt-file", Kind::Kv, args.salt_file.is_some()),
    ];
    let name = |kind: Kind| match kind {
        Kind::Auto | Kind::Tables => "tables",
        Kind::Logs => "logs",
        Kind::Embeddings => "embeddings",
        Kind::Kv => "KV caches",
        Kind::Tensors => "tensors",
    };
    let wrong = given
        .iter()
        .find(|(_, of, given)| *given && name(*of) != name(kind));
    match wrong {
        Some((option, of, _)) => Err(Failure::Message(format!(
            "{option} is for {}; these sources are taken for {} (--kind says otherwise)",
            name(*of),
            name(kind)
        ))),
        None => Ok(()),
    }
}

pub(super) fn run(args: &Args, quiet: bool) -> Outcome {
    let Some((target, sources)) = args.paths.split_last() else {
        return Err(Failure::Message("name the sources and the target".into()));
    };
    if target.extension().is_none_or(|e| e != "pil") {
        return Err(Failure::Message(format!(
            "the last name is the target and ends in .pil; {} does not",
            target.display()
        )));
    }
    let mut specs = Vec::with_capacity(args.encode.len());
    for pair in &args.encode {
        let Some((column, spec)) = pair.split_once('=') else {
            return Err(Failure::Message(format!(
                "--encode takes COLUMN=SPEC, as in --encode 'note=zstd'; {pair} has no ="
            )));
        };
        specs.push((column.to_owned(), spec.to_owned()));
    }
    let kind = kinds::of(args.kind, sources);
    misplaced(args, kind)?;
    match kind {
        Kind::Logs => return kinds::logs(args, sources, target, specs, quiet),
        Kind::Embeddings => return kinds::embeddings(args, sources, target, specs, quiet),
        Kind::Kv => return kinds::kv(args, sources, target, specs, quiet),
        Kind::Tensors => {
            return Err(Failure::Message(
                "--kind tensors is not in this version; KV caches in .safetensors are --kind kv"
                    .into(),
            ));
        }
        Kind::Auto | Kind::Tables => {}
    }
    let header = match (args.header, args.no_header) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    };
    let options = ImportOptions {
        profile: args.profile.into(),
        specs,
        sort_by: args.sort_by.clone(),
        source: SourceOptions {
            csv: CsvOptions {
                header,
                delimiter: args.delimiter,
            },
            ..SourceOptions::default()
        },
        unchecked: args.no_verify,
    };
    let mut meter = Meter::new(quiet, true);
    let done = import(sources, target, &options, &mut |p| {
        let what = match p.phase {
            ImportPhase::Scanning => "finding types".to_owned(),
            ImportPhase::Sorting => "sorting".to_owned(),
            ImportPhase::Writing => format!("{} rows", count(p.rows)),
        };
        meter.update(p.bytes, p.total, &what);
    });
    let time = meter.finish();
    let done = done?;
    if !quiet {
        eprintln!(
            "{}: {} x {}, {} -> {} ({} smaller) in {:.1} s",
            target.display(),
            plural(done.rows, "row", "rows"),
            plural(done.columns as u64, "column", "columns"),
            bytes(done.bytes_in),
            bytes(done.bytes_out),
            ratio(done.bytes_in, done.bytes_out),
            time.as_secs_f64()
        );
    }
    Ok(ExitCode::SUCCESS)
}
