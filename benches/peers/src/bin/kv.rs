//! Bits a value of key/value caches against the error that they make in attention.
//!
//! ```text
//! kv DIR [--samples DIR] [--only SET,SET]
//! ```
//!
//! `DIR` holds a folder for each model: caches (`.safetensors`), and `config.json` and
//! `model.safetensors` of the decoder that made them. Each cache is stored alone. Profiles are fitted to
//! the *other* caches of the folder, and to those in the folder of the same name under `--samples`.
//!
//! *Bits* are those of the columns `k*`, `v*` and their codes, with checksums, scales, lengths, exact
//! rows and column blocks; the profile is told apart from them, in bytes. *Error* is the relative
//! Frobenius error of attention's outputs with the queries of the text, over all layers.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use pilaster::kind::kv::{
    Cache, FitOptions, KvFile, KvOptions, KvProfile, KvWriter, Side, fit, read_safetensors,
};
use pilaster_peers::Result;
use pilaster_peers::clock::Clock;
use pilaster_peers::decoder::{Decoder, Queries};
use pilaster_peers::report::{header, median, number, row};

const USAGE: &str = "usage: kv DIR [--samples DIR] [--only SET,SET]";
/// Steps of the transform codes between which the one of equal error is interpolated.
const STEPS: [f64; 6] = [0.2, 0.27, 0.35, 0.45, 0.6, 0.8];

struct Text {
    name: String,
    cache: Cache,
    queries: Queries,
    attention: Vec<Vec<f32>>,
}

/// What storing one cache one way took and lost.
#[derive(Clone, Copy, Default)]
struct Point {
    bits: f64,
    error: f64,
}

fn stored(
    cache: &Cache,
    spec: &str,
    profile: Option<&Arc<KvProfile>>,
    model: &str,
) -> Result<KvFile> {
    let options = KvOptions {
        specs: ["k*", "v*"]
            .map(|c| (c.to_owned(), spec.to_owned()))
            .to_vec(),
        profiles: profile
            .map(|p| ("fitted".to_owned(), Arc::clone(p)))
            .into_iter()
            .collect(),
        ..KvOptions::for_model(model)
    };
    let mut writer = KvWriter::in_memory(options)?;
    writer.add(cache, b"")?;
    Ok(KvFile::from_bytes("cache", writer.into_bytes()?)?)
}

/// Bits a value of the layers' columns.
fn bits(file: &KvFile, cache: &Cache) -> Result<f64> {
    let meta = file.file().meta();
    let anatomy = file.file().anatomy()?;
    let mut bytes = 0u64;
    for (index, column) in anatomy.columns.iter().enumerate() {
        let name = column.field.name().trim_start_matches('$');
        if name.starts_with(['k', 'v']) {
            // Segments with their checksums, less the models in them; and the column's metadata.
            let stored: u64 = column.segments.iter().map(|(_, bytes)| bytes).sum();
            let chunks: usize = meta
                .column(index)?
                .chunks
                .iter()
                .map(|c| metadata(&c.root))
                .sum();
            bytes += stored - column.models.min(stored) + chunks as u64;
        }
    }
    let shape = cache.shape();
    let values = 2 * shape.layers * shape.channels() * cache.tokens().len();
    Ok(8.0 * bytes as f64 / values as f64)
}

fn metadata(node: &pilaster::encoding::Node) -> usize {
    node.metadata.len() + node.children.iter().map(metadata).sum::<usize>()
}

/// Rows `[tokens, channels]` as `[heads, tokens, head_dim]`.
fn planes(cache: &Cache, layer: usize, side: Side) -> Result<Vec<f32>> {
    let shape = cache.shape();
    let rows = cache.values(layer, side)?;
    let (d, heads, tokens) = (shape.head_dim, shape.heads, cache.tokens().len());
    let mut out = vec![0f32; rows.len()];
    for token in 0..tokens {
        for head in 0..heads {
            out[(head * tokens + token) * d..][..d]
                .copy_from_slice(&rows[(token * heads + head) * d..][..d]);
        }
    }
    Ok(out)
}

fn measure(
    decoder: &Decoder,
    text: &Text,
    spec: &str,
    profile: Option<&Arc<KvProfile>>,
    model: &str,
) -> Result<Point> {
    let file = stored(&text.cache, spec, profile, model)?;
    let rows = 0..text.cache.tokens().len() as u64;
    let back = file.cache(rows)?;
    let error = decoder.error(&text.queries, &text.attention, |layer| {
        Ok((
            planes(&back, layer, Side::K)?,
            planes(&back, layer, Side::V)?,
        ))
    })?;
    Ok(Point {
        bits: bits(&file, &text.cache)?,
        error,
    })
}

/// Bits at an error, interpolated between points in the logarithm of the error.
fn at_error(points: &[Point], error: f64) -> f64 {
    let mut sorted = points.to_vec();
    sorted.sort_by(|a, b| a.error.total_cmp(&b.error));
    let above = sorted
        .partition_point(|p| p.error < error)
        .clamp(1, sorted.len() - 1);
    let (a, b) = (sorted[above - 1], sorted[above]);
    let part = (error / a.error).ln() / (b.error / a.error).ln();
    a.bits + part * (b.bits - a.bits)
}

fn caches(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default();
        if name.ends_with(".safetensors") && name != "model.safetensors" {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Bytes that one layer, one group of heads and 32 tokens read, and their share of all bytes.
fn partial(file: &KvFile, cache: &Cache, heads: usize) -> Result<(u64, f64)> {
    let shape = *cache.shape();
    let tokens = cache.tokens().len() as u64;
    let read = |rows, layers, heads| file.layers(rows, layers, heads, |_, _, _| Ok(()));
    // The first read also fetches models.
    read(0..tokens, 0..shape.layers, 0..shape.heads)?;
    let all = read(0..tokens, 0..shape.layers, 0..shape.heads)? as f64;
    let start = tokens / 2 / 32 * 32;
    let part = read(start..start + 32, 1..2, 0..heads)?;
    let groups = (shape.heads / heads * shape.layers) as f64;
    Ok((part, all / groups * 32.0 / tokens as f64))
}

/// MB of the tensors a processor second, written to memory and read back, medians of five.
fn speed(
    cache: &Cache,
    spec: &str,
    profile: Option<&Arc<KvProfile>>,
    model: &str,
) -> Result<(f64, f64)> {
    let (mut writes, mut reads) = (Vec::new(), Vec::new());
    let size = 2.0 * cache.tensor(Side::K).len() as f64 / 1e6;
    for _ in 0..5 {
        let clock = Clock::start();
        let file = stored(cache, spec, profile, model)?;
        writes.push(size / clock.stop().process);
        let clock = Clock::start();
        let shape = cache.shape();
        let rows = 0..cache.tokens().len() as u64;
        file.layers(rows, 0..shape.layers, 0..shape.heads, |_, _, _| Ok(()))?;
        reads.push(size / clock.stop().process);
    }
    Ok((median(&writes), median(&reads)))
}

fn set(folder: &Path, samples: Option<&Path>) -> Result<()> {
    let name = folder
        .file_name()
        .and_then(|n| n.to_str())
        .unwrap_or_default();
    let Some(decoder) = Decoder::open(folder)? else {
        return Ok(());
    };
    let mut extra = Vec::new();
    if let Some(folder) = samples.map(|s| s.join(name)).filter(|f| f.is_dir()) {
        for path in caches(&folder)? {
            extra.push(read_safetensors(&path)?.cache);
        }
    }
    let mut texts = Vec::new();
    for path in caches(folder)? {
        let read = read_safetensors(&path)?;
        if read.cache.shape().layers != decoder.layers {
            continue;
        }
        let (queries, attention) = decoder.run(read.cache.tokens())?;
        texts.push(Text {
            name: path
                .file_stem()
                .and_then(|n| n.to_str())
                .unwrap_or_default()
                .to_owned(),
            cache: read.cache,
            queries,
            attention,
        });
    }
    println!("\n## {name}, profiles of {} more samples\n", extra.len());
    let names = [
        "text",
        "exact",
        "kivi2",
        "kivi4",
        "kivi8",
        "klt at kivi4's error",
        "klt / kivi4",
        "profile, bytes",
    ];
    println!("{}", header(&names));
    let mut sums = [Point::default(); 5];
    for (i, text) in texts.iter().enumerate() {
        let others = texts
            .iter()
            .enumerate()
            .filter(|(j, _)| *j != i)
            .map(|(_, t)| t.cache.clone());
        let learned: Vec<Cache> = others.chain(extra.iter().cloned()).collect();
        let options = FitOptions {
            model: name.to_owned(),
            ..FitOptions::default()
        };
        let profile = Arc::new(fit(&learned, &options)?);
        let mut points = Vec::new();
        for spec in ["exact", "kivi2", "kivi4", "kivi8"] {
            points.push(measure(&decoder, text, spec, None, name)?);
        }
        let mut curve = Vec::new();
        for step in STEPS {
            let spec = format!("klt(fitted,{step})");
            curve.push(measure(&decoder, text, &spec, Some(&profile), name)?);
            // Past the error that is looked for, one more point would not be used.
            if curve.last().is_some_and(|p| p.error > points[2].error) && curve.len() > 1 {
                break;
            }
        }
        let klt = Point {
            bits: at_error(&curve, points[2].error),
            error: points[2].error,
        };
        points.push(klt);
        let cell = |p: &Point| format!("{:.3}, {:.4}", p.bits, p.error);
        println!(
            "{}",
            row([
                text.name.clone(),
                cell(&points[0]),
                cell(&points[1]),
                cell(&points[2]),
                cell(&points[3]),
                cell(&klt),
                format!("{:.3}", klt.bits / points[2].bits),
                number(profile.to_bytes().len() as u64),
            ])
        );
        for (sum, point) in sums.iter_mut().zip(&points) {
            sum.bits += point.bits / texts.len() as f64;
            sum.error += point.error / texts.len() as f64;
        }
        if i + 1 == texts.len() {
            let cells = sums
                .iter()
                .map(cell)
                .chain([format!("{:.3}", sums[4].bits / sums[2].bits), String::new()]);
            println!("{}", row(std::iter::once("mean".to_owned()).chain(cells)));
            println!(
                "\nOne layer, one group of heads, 32 tokens of {}:\n",
                text.name
            );
            println!(
                "{}",
                header(&[
                    "",
                    "bytes read",
                    "share of all bytes",
                    "share x 1.15 + 4,096",
                    "write, MB/s",
                    "read, MB/s",
                ])
            );
            let together = profile.heads_together();
            for (spec, heads) in [("exact", 1), ("kivi4", 1), ("klt(fitted,0.3)", together)] {
                let by = spec.starts_with("klt").then_some(&profile);
                let file = stored(&text.cache, spec, by, name)?;
                let (bytes, share) = partial(&file, &text.cache, heads)?;
                let most = share * 1.15 + 4096.0;
                let (write, read) = speed(&text.cache, spec, by, name)?;
                let cells = [
                    number(bytes),
                    number(share as u64),
                    number(most as u64),
                    format!("{write:.0}"),
                    format!("{read:.0}"),
                ];
                println!("{}", row(std::iter::once(spec.to_owned()).chain(cells)));
            }
        }
    }
    Ok(())
}

fn run() -> Result<()> {
    let (mut directory, mut samples, mut only) = (None, None, Vec::new());
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--samples" => samples = Some(PathBuf::from(words.next().ok_or(USAGE)?)),
            "--only" => {
                only = words
                    .next()
                    .ok_or(USAGE)?
                    .split(',')
                    .map(str::to_owned)
                    .collect()
            }
            _ => directory = Some(PathBuf::from(word)),
        }
    }
    let directory: PathBuf = directory.ok_or(USAGE)?;
    let mut folders: Vec<PathBuf> = std::fs::read_dir(&directory)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    println!("Each cell: bits a value, attention error.");
    for folder in folders {
        let name = folder
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default()
            .to_owned();
        if only.is_empty() || only.contains(&name) {
            set(&folder, samples.as_deref())?;
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::from(2)
        }
    }
}
