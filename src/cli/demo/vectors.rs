//! The demo's embeddings: vectors of the shop's products.

use std::time::Instant;

use super::super::words::count;
use super::data::Dice;
use super::{Outcome, Stage};
use crate::file::File;
use crate::kind::embeddings::search::{Metric, nearest};
use crate::kind::embeddings::{ImportOptions, import};

/// Products.
const VECTORS: usize = 20_000;
/// Values of a vector.
const DIMENSION: usize = 64;
/// Groups that the products fall into.
const GROUPS: u64 = 200;
/// Neighbours that are looked for.
const NEIGHBOURS: usize = 10;

/// Vectors around the middles of their groups.
fn vectors() -> Vec<Vec<f32>> {
    let mut dice = Dice::new(3);
    let mut value = |spread: f32| {
        // The sum of a few uniform numbers is nearly normal.
        let sum: u64 = (0..4).map(|_| dice.roll(1 << 16)).sum();
        (sum as f32 / 65_536.0 - 2.0) * spread
    };
    let middles: Vec<Vec<f32>> = (0..GROUPS)
        .map(|_| (0..DIMENSION).map(|_| value(1.0)).collect())
        .collect();
    let mut dice = Dice::new(4);
    let groups: Vec<usize> = (0..VECTORS).map(|_| dice.roll(GROUPS) as usize).collect();
    groups
        .into_iter()
        .map(|g| middles[g].iter().map(|m| m + value(0.4)).collect())
        .collect()
}

/// The `.fvecs` form: each vector after its dimension.
fn fvecs(vectors: &[Vec<f32>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for vector in vectors {
        bytes.extend((DIMENSION as u32).to_le_bytes());
        bytes.extend(vector.iter().flat_map(|v| v.to_le_bytes()));
    }
    bytes
}

pub(super) fn run(stage: &mut Stage<'_>) -> Outcome<()> {
    stage.say(&format!(
        "Embeddings: {} vectors of {DIMENSION} values\n",
        count(VECTORS as u64)
    ))?;
    let vectors = vectors();
    stage.write("products.fvecs", &fvecs(&vectors))?;
    let mut sizes = vec![("f32", stage.size("products.fvecs")?)];
    let codes = [
        ("products_exact.pil", "exact"),
        ("products_lvq4x8.pil", "lvq4x8"),
        ("products.pil", "lvq8"),
        ("products_lvq4.pil", "lvq4"),
    ];
    for (target, code) in codes {
        let started = Instant::now();
        let options = ImportOptions {
            specs: vec![("v".to_owned(), code.to_owned())],
            ..ImportOptions::default()
        };
        import(&[stage.at("products.fvecs")], &stage.at(target), &options)?;
        stage.imported("products.fvecs", target, started);
        sizes.push((code, stage.size(target)?));
    }
    stage.sizes("Sizes of the vectors", &sizes)?;

    let mut found = Vec::new();
    for (target, code) in codes {
        let file = File::open(stage.at(target))?;
        let started = Instant::now();
        let mut rows = Vec::new();
        for query in vectors.iter().step_by(VECTORS / 50) {
            let near = nearest(&file, 0, query, NEIGHBOURS, Metric::L2)?;
            rows.push(near.iter().map(|n| n.row).collect::<Vec<_>>());
        }
        found.push((code, rows, started.elapsed().as_secs_f64()));
    }
    let Some((_, exact, _)) = found.first().cloned() else {
        return Ok(());
    };
    let mut lines = vec![format!(
        "The {NEIGHBOURS} nearest of {} queries, each of all vectors",
        exact.len()
    )];
    for (code, rows, time) in &found {
        let right: usize = rows
            .iter()
            .zip(&exact)
            .map(|(found, exact)| found.iter().filter(|r| exact.contains(r)).count())
            .sum();
        lines.push(format!(
            "  {code:<8} {:>5.1} % of the exact answer, {:.1} ms a query",
            100.0 * right as f64 / (exact.len() * NEIGHBOURS) as f64,
            1e3 * time / exact.len() as f64
        ));
    }
    stage.say(&lines.join("\n"))?;
    stage.say("")?;
    stage.name("products")?;
    let query: Vec<String> = vectors[7].iter().map(|v| format!("{v:.3}")).collect();
    let query = query.join(", ");
    let nearest = format!(
        "SELECT array_distance(v, [{query}]) AS distance FROM products ORDER BY distance LIMIT 5"
    );
    let within =
        format!("SELECT count(*) AS near FROM products WHERE array_distance(v, [{query}]) < 3.0");
    stage.ask(&[
        (
            "The products nearest to product 7, found on the codes",
            &nearest,
        ),
        ("And how many lie within a distance", &within),
    ])
}
