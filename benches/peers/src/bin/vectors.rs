//! Nearest neighbours by code: bytes, loss, recall, and time against faiss.
//!
//! ```text
//! vectors DIR [--codes A,B] [--only A,B] [--rounds N] [--work DIR]
//! ```
//!
//! `DIR` has one directory a set, each with `base.npy` or `embeddings.npy`, and `queries.npy`. Queries
//! are asked one at a time, by one thread, of vectors in memory. Each code is measured in a process of
//! its own (the first of them, `exact` as a rule, is what the others are held against), faiss too (`faiss_flat.py` beside this file, run by the Python that `PILASTER_PYTHON`
//! names; left out if that fails), all of them in turn, as often as there are rounds; ratios are of
//! medians. Times are of the processor. Sets named `minilm` are compared by inner product, others by
//! Euclidean distance.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Float32Type;
use pilaster::kind::embeddings::search::{Metric, Query};
use pilaster::kind::embeddings::source::VectorSource;
use pilaster::{File, WriteOptions, Writer};
use pilaster_peers::Result;
use pilaster_peers::arguments::Arguments;
use pilaster_peers::clock::Clock;
use pilaster_peers::report::{header, median, row};

const USAGE: &str = "usage: vectors DIR [--codes A,B] [--only A,B] [--rounds N] [--work DIR]";
const CODES: [&str; 16] = [
    "exact", "f16", "bf16", "int8", "f8e4m3", "f8e5m2", "lvq8", "lvq7", "lvq6", "lvq5", "lvq4",
    "lvq3", "lvq2", "lvq4x4", "lvq4x8", "lvq8x8",
];
/// Neighbours that are asked for.
const K: usize = 10;
/// Queries of a set that are asked.
const QUERIES: usize = 200;
/// Processor time of a measurement, at least.
const SECONDS: f64 = 0.4;

/// Vectors of a file, row by row, and their dimension.
fn read(path: &Path) -> Result<(Vec<f32>, usize)> {
    let source = VectorSource::open(path)?;
    let dimension = source.dimension();
    let mut values = Vec::new();
    for batch in source {
        values.extend_from_slice(&floats(&batch?)?);
    }
    Ok((values, dimension))
}

fn floats(batch: &RecordBatch) -> Result<Vec<f32>> {
    let list = batch.column(0).as_fixed_size_list();
    let values = list.values().as_primitive_opt::<Float32Type>();
    Ok(values
        .ok_or("vectors of 32-bit floats are needed")?
        .values()
        .to_vec())
}

fn base_of(set: &Path) -> Result<PathBuf> {
    let names = ["base.npy", "embeddings.npy"];
    let found = names.iter().map(|n| set.join(n)).find(|p| p.exists());
    Ok(found.ok_or_else(|| format!("no base.npy in {}", set.display()))?)
}

fn metric_of(set: &Path) -> Metric {
    match set.ends_with("minilm") {
        true => Metric::InnerProduct,
        false => Metric::L2,
    }
}

fn queries_of(set: &Path, dimension: usize) -> Result<Vec<Query>> {
    let (values, _) = read(&set.join("queries.npy"))?;
    let rows = values.chunks_exact(dimension).take(QUERIES);
    let queries = rows.map(|q| Query::new(metric_of(set), q));
    Ok(queries.collect::<pilaster::Result<_>>()?)
}

/// Distance in double precision, less is nearer; squared where that keeps the order.
fn exact(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let pairs = || a.iter().zip(b).map(|(x, y)| (f64::from(*x), f64::from(*y)));
    match metric {
        Metric::L2 => pairs().map(|(x, y)| (x - y) * (x - y)).sum(),
        _ => -pairs().map(|(x, y)| x * y).sum::<f64>(),
    }
}

/// Distance of the `K`-th nearest row of each query.
fn truth(base: &[f32], dimension: usize, queries: &[Query]) -> Vec<f64> {
    let kth = |query: &Query| {
        let rows = base.chunks_exact(dimension);
        let mut all: Vec<f64> = rows
            .map(|row| exact(query.metric(), row, query.values()))
            .collect();
        *all.select_nth_unstable_by(K - 1, f64::total_cmp).1
    };
    queries.iter().map(kth).collect()
}

fn write(base: &Path, code: &str, pil: &Path) -> Result<()> {
    let source = VectorSource::open(base)?;
    let options = WriteOptions {
        specs: vec![("v".to_owned(), code.to_owned())],
        ..WriteOptions::default()
    };
    let mut writer = Writer::create(pil, source.schema(), options)?;
    for batch in source {
        writer.write(&batch?)?;
    }
    writer.finish()?;
    Ok(())
}

/// Seconds of the processor that a query takes.
fn measure(pil: &Path, set: &Path) -> Result<f64> {
    let file = File::open(pil)?;
    let column = file.vectors(0)?;
    let (_, dimension) = read(&set.join("queries.npy"))?;
    let queries = queries_of(set, dimension)?;
    let mut kept = 0;
    for query in &queries {
        kept += column.nearest(query, K, None)?.len();
    }
    let (clock, mut asked) = (Clock::start(), 0);
    while clock.stop().thread < SECONDS {
        for query in &queries {
            // As a user would have it: the query is prepared anew.
            let query = Query::new(query.metric(), query.values())?;
            kept += column.nearest(&query, K, None)?.len();
            asked += 1;
        }
    }
    assert!(kept > 0, "nothing was found");
    Ok(clock.stop().thread / f64::from(asked))
}

/// Runs a program that prints seconds; `None` if it cannot.
fn child(command: &mut Command) -> Option<f64> {
    let out = command.output().ok().filter(|o| o.status.success())?;
    String::from_utf8(out.stdout).ok()?.trim().parse().ok()
}

struct Code {
    name: String,
    bytes: f64,
    error: f64,
    recall: f64,
    seconds: Vec<f64>,
}

fn code(name: &str, pil: &Path, base: &[f32], queries: &[Query], truth: &[f64]) -> Result<Code> {
    let file = File::open(pil)?;
    let mut decoded = Vec::with_capacity(base.len());
    for batch in file.scan_all()? {
        decoded.extend(floats(&batch?)?);
    }
    let pairs = || base.iter().zip(&decoded);
    let lost: f64 = pairs()
        .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
        .sum();
    let all: f64 = base.iter().map(|a| f64::from(*a).powi(2)).sum();
    let column = file.vectors(0)?;
    let mut hits = 0;
    for (query, kth) in queries.iter().zip(truth) {
        let dimension = query.values().len();
        let found = column.nearest(query, K, None)?;
        // Brute force over the decoded vectors gives the same rows and the same distances.
        let mut brute: Vec<(f32, u64)> = decoded
            .chunks_exact(dimension)
            .zip(0..)
            .map(|(v, row)| (query.distance(v), row))
            .collect();
        brute.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let same = found
            .iter()
            .zip(&brute)
            .all(|(n, b)| (n.distance, n.row) == *b);
        if !same || found.len() != K {
            return Err(format!("{name}: not the answer of brute force").into());
        }
        for neighbour in found {
            let row = &base[neighbour.row as usize * dimension..][..dimension];
            hits += usize::from(exact(query.metric(), row, query.values()) <= *kth);
        }
    }
    let rows = base.len() / queries[0].values().len();
    Ok(Code {
        name: name.to_owned(),
        bytes: file.column(file.meta().shown()[0])?.stored_bytes() as f64 / rows as f64,
        error: lost / all,
        recall: hits as f64 / (K * queries.len()) as f64,
        seconds: Vec::new(),
    })
}

fn set(path: &Path, names: &[String], arguments: &Arguments) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let base = base_of(path)?;
    let (values, dimension) = read(&base)?;
    let queries = queries_of(path, dimension)?;
    let truth = truth(&values, dimension, &queries);
    let pil = |code: &str| arguments.file(format!("{name}-{code}.pil"));
    let mut codes = Vec::new();
    for name in names {
        write(&base, name, &pil(name))?;
        codes.push(code(name, &pil(name), &values, &queries, &truth)?);
    }
    let python = std::env::var_os("PILASTER_PYTHON").unwrap_or("python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin/faiss_flat.py");
    let mut peers: Vec<(&str, Vec<f64>)> = vec![("Flat", Vec::new()), ("SQ8", Vec::new())];
    for _ in 0..arguments.rounds {
        for (peer, seconds) in &mut peers {
            let mut command = Command::new(&python);
            command
                .arg(&script)
                .arg(&base)
                .arg(path.join("queries.npy"));
            let metric = match metric_of(path) {
                Metric::L2 => "l2",
                _ => "ip",
            };
            command.args([metric, peer, &QUERIES.to_string()]);
            seconds.extend(child(command.env("OMP_NUM_THREADS", "1")));
        }
        for code in &mut codes {
            let mut command = Command::new(std::env::current_exe()?);
            command.arg("measure").arg(pil(&code.name)).arg(path);
            code.seconds.extend(child(&mut command));
        }
    }
    let rows = values.len() / dimension;
    println!(
        "\n### {name}: {rows} x {dimension}, {:?}\n",
        metric_of(path)
    );
    let flat = median(&peers[0].1);
    let plain = median(&codes[0].seconds);
    println!(
        "{}",
        header(&[
            "code",
            "bytes a vector",
            "relative squared error",
            "recall@10",
            "microseconds a query",
            "speed, exact = 1",
            "speed, faiss Flat = 1"
        ])
    );
    let speeds = |seconds: f64| {
        [
            format!("{:.1}", seconds * 1e6),
            format!("{:.2}", plain / seconds),
            format!("{:.2}", flat / seconds),
        ]
    };
    for (peer, seconds) in &peers {
        let cells = [format!("faiss {peer}"), "".into(), "".into(), "".into()];
        println!("{}", row(cells.into_iter().chain(speeds(median(seconds)))));
    }
    for code in &codes {
        let cells = [
            code.name.clone(),
            format!("{:.1}", code.bytes),
            format!("{:.2e}", code.error),
            format!("{:.3}", code.recall),
        ];
        let speeds = speeds(median(&code.seconds));
        println!("{}", row(cells.into_iter().chain(speeds)));
        std::fs::remove_file(pil(&code.name))?;
    }
    Ok(())
}

fn run() -> Result<()> {
    let words: Vec<String> = std::env::args().collect();
    if let [_, word, pil, set] = words.as_slice()
        && word == "measure"
    {
        println!("{:e}", measure(pil.as_ref(), set.as_ref())?);
        return Ok(());
    }
    let mut words: Vec<String> = words.into_iter().skip(1).collect();
    let mut codes: Vec<String> = CODES.iter().map(|c| (*c).to_owned()).collect();
    if let Some(at) = words.iter().position(|w| w == "--codes") {
        let named = words.get(at + 1).ok_or(USAGE)?;
        codes = named.split(',').map(str::to_owned).collect();
        words.drain(at..at + 2);
    }
    let arguments = Arguments::from_words(words.into_iter(), USAGE)?;
    let mut sets: Vec<PathBuf> = std::fs::read_dir(&arguments.directory)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("queries.npy").exists())
        .collect();
    sets.sort();
    for path in sets {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if arguments.only.is_empty() || arguments.only.iter().any(|o| *o == name) {
            set(&path, &codes, &arguments)?;
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vectors: {error}");
            ExitCode::from(2)
        }
    }
}
