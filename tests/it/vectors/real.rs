//! Real vectors, given by the caller: `PILASTER_VECTORS` names a directory with one directory a set,
//! each with `base.npy` or `embeddings.npy`, and `queries.npy`; `PILASTER_CODES`, if it is there, the
//! specs to try.
//!
//! ```text
//! PILASTER_VECTORS=vectors cargo test --config 'profile.dev.opt-level=3' --test it vectors::real -- --ignored --nocapture
//! ```

use std::path::Path;

use pilaster::kind::embeddings::source::VectorSource;

use super::{CODES, relative_error, stored, table, values};
use crate::golden::read_all;

/// Rows of the ten nearest by squared distance, ties by row.
fn nearest(base: &[f32], query: &[f32]) -> Vec<usize> {
    let rows = base.chunks_exact(query.len()).enumerate();
    let mut found: Vec<(f32, usize)> = rows
        .map(|(i, row)| {
            let parts = row.iter().zip(query).map(|(a, b)| (a - b) * (a - b));
            (parts.sum(), i)
        })
        .collect();
    found.select_nth_unstable_by(10, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    found.truncate(10);
    found.into_iter().map(|(_, i)| i).collect()
}

fn read_vectors(path: &Path) -> (Vec<f32>, usize) {
    let source = VectorSource::open(path).unwrap();
    let dimension = source.dimension();
    let batches = source.map(Result::unwrap);
    (batches.flat_map(|b| values(&b)).collect(), dimension)
}

#[test]
#[ignore = "needs PILASTER_VECTORS, a directory of sets of vectors"]
fn real_vectors_by_code() {
    const QUERIES: usize = 100;
    let directory = std::env::var_os("PILASTER_VECTORS").expect("PILASTER_VECTORS is a directory");
    let wanted = std::env::var("PILASTER_CODES").unwrap_or_default();
    let wanted: Vec<String> = wanted.split_whitespace().map(str::to_owned).collect();
    let mut sets: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    sets.sort();
    for set in sets {
        let named = |name: &str| Some(set.join(name)).filter(|p| p.exists());
        let base = named("base.npy").or(named("embeddings.npy")).unwrap();
        let (given, dimension) = read_vectors(&base);
        let (queries, _) = read_vectors(&set.join("queries.npy"));
        let queries = &queries[..queries.len().min(QUERIES * dimension)];
        let truth: Vec<_> = queries
            .chunks_exact(dimension)
            .map(|q| nearest(&given, q))
            .collect();
        let rows = given.len() / dimension;
        let table = table(given.clone(), dimension);
        println!("{} {rows} x {dimension}", set.display());
        let subspaces = [
            "pca(50%)",
            "pca(50%)+lvq8",
            "pca(50%)+lvq4",
            "pca(25%)+lvq8",
        ];
        let all = ["exact", "whole8"]
            .into_iter()
            .chain(CODES)
            .chain(subspaces);
        for code in all.filter(|c| wanted.is_empty() || wanted.contains(&c.to_string())) {
            let file = stored(&table, code);
            let back = values(&read_all(&file).unwrap());
            let hits: usize = queries
                .chunks_exact(dimension)
                .zip(&truth)
                .map(|(q, t)| nearest(&back, q).iter().filter(|i| t.contains(i)).count())
                .sum();
            println!(
                "  {code:15} {:7.1} B a vector  relMSE {:.3e}  recall@10 {:.3}",
                file.meta().size() as f64 / rows as f64,
                relative_error(&given, &back),
                hits as f64 / (10 * truth.len()) as f64
            );
        }
    }
}
