//! Generated tables whose rows belong to classes that no column shows: how close do archive files
//! come to the tables' entropy?
//!
//! ```text
//! latents [--work DIR]
//! ```
//!
//! Each class has a distribution of its own for each column, drawn from a Dirichlet distribution; its
//! parameter says how far the classes are apart. A row draws a class, then each column by itself. The
//! entropy is the code length of these very rows under the distribution that made them, the class
//! summed out: what an ideal coder that knows the distribution, but not the classes, needs.

use std::process::ExitCode;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use pilaster::{File, Profile};
use pilaster_peers::Result;
use pilaster_peers::arguments::Arguments;
use pilaster_peers::formats::{gives_back, write_pil};
use pilaster_peers::report::{header, number, ratio, row};

/// A table to make.
struct Plan {
    rows: usize,
    columns: usize,
    classes: usize,
    alphabet: usize,
    /// Parameter of the Dirichlet distribution: 1 keeps classes well apart, 5 makes them alike.
    alpha: usize,
}

const PLANS: [Plan; 4] = [
    Plan {
        rows: 10_000,
        columns: 50,
        classes: 8,
        alphabet: 5,
        alpha: 1,
    },
    Plan {
        rows: 100_000,
        columns: 50,
        classes: 8,
        alphabet: 5,
        alpha: 1,
    },
    Plan {
        rows: 100_000,
        columns: 50,
        classes: 8,
        alphabet: 5,
        alpha: 5,
    },
    Plan {
        rows: 100_000,
        columns: 200,
        classes: 16,
        alphabet: 3,
        alpha: 2,
    },
];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in (0, 1).
    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn pick(&mut self, probabilities: &[f64]) -> usize {
        let mut left = self.unit();
        for (i, p) in probabilities.iter().enumerate() {
            left -= p;
            if left < 0.0 {
                return i;
            }
        }
        probabilities.len() - 1
    }

    /// A draw from the symmetric Dirichlet distribution of whole parameter `alpha`.
    fn dirichlet(&mut self, alphabet: usize, alpha: usize) -> Vec<f64> {
        let gamma = |random: &mut Self| (0..alpha).map(|_| -random.unit().ln()).sum::<f64>();
        let weights: Vec<f64> = (0..alphabet).map(|_| gamma(self)).collect();
        let sum: f64 = weights.iter().sum();
        weights.iter().map(|w| w / sum).collect()
    }
}

/// A table, its entropy, and the entropy of its columns one by one, in bytes.
struct Made {
    table: RecordBatch,
    entropy: f64,
    alone: f64,
}

fn make(plan: &Plan) -> Result<Made> {
    let mut random = Random(1);
    // distributions[class][column][symbol]
    let distributions: Vec<Vec<Vec<f64>>> = (0..plan.classes)
        .map(|_| {
            (0..plan.columns)
                .map(|_| random.dirichlet(plan.alphabet, plan.alpha))
                .collect()
        })
        .collect();
    let mut cells: Vec<Vec<u8>> = vec![Vec::with_capacity(plan.rows); plan.columns];
    let mut bits = 0.0;
    for _ in 0..plan.rows {
        let class = (random.next() % plan.classes as u64) as usize;
        for (column, distribution) in cells.iter_mut().zip(&distributions[class]) {
            column.push(random.pick(distribution) as u8);
        }
        // The logarithm of the sum over classes, the largest taken out.
        let logs: Vec<f64> = distributions
            .iter()
            .map(|class| {
                let columns = class.iter().zip(&cells);
                columns
                    .map(|(d, c)| d[usize::from(c[c.len() - 1])].ln())
                    .sum::<f64>()
            })
            .collect();
        let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logs.iter().map(|l| (l - top).exp()).sum();
        bits -= (top + (sum / plan.classes as f64).ln()) / std::f64::consts::LN_2;
    }
    let mut alone = 0.0;
    for column in &cells {
        let mut counts = vec![0usize; plan.alphabet];
        column.iter().for_each(|&s| counts[usize::from(s)] += 1);
        for &count in counts.iter().filter(|&&c| c > 0) {
            alone -= count as f64 * (count as f64 / plan.rows as f64).log2();
        }
    }
    let columns = cells.iter().enumerate().map(|(i, column)| {
        let texts = column
            .iter()
            .map(|&s| ["a", "b", "c", "d", "e"][usize::from(s)]);
        (
            format!("c{i}"),
            Arc::new(StringArray::from_iter_values(texts)) as ArrayRef,
        )
    });
    Ok(Made {
        table: RecordBatch::try_from_iter(columns)?,
        entropy: bits / 8.0,
        alone: alone / 8.0,
    })
}

fn run() -> Result<bool> {
    // The directory of tables that other programs need is not read here.
    let words = std::iter::once(".".to_owned()).chain(std::env::args().skip(1));
    let arguments = Arguments::from_words(words, "usage: latents [--work DIR]")?;
    println!(
        "{}",
        header(&[
            "rows x columns, classes, alphabet, alpha",
            "entropy",
            "columns alone",
            "values and models",
            "file",
            "alone / entropy",
            "values and models / entropy",
            "file / entropy",
            "hidden class",
        ])
    );
    let mut good = true;
    for plan in &PLANS {
        let made = make(plan)?;
        let path = arguments.file("latent.pil");
        let bytes = write_pil(&made.table, &path, Profile::Archive)?;
        if !gives_back(&path, &made.table)? {
            eprintln!("the file does not give back the rows");
            good = false;
        }
        let file = File::open(&path)?;
        let mut stored = 0;
        for index in 0..file.meta().directory().len() {
            let column = file.meta().column(index)?;
            stored += column
                .chunks
                .iter()
                .map(|c| c.root.stored_bytes())
                .sum::<u64>();
            stored += column
                .models
                .iter()
                .map(|m| m.range.end - m.range.start)
                .sum::<u64>();
        }
        let latent = file.meta().directory().iter().any(|e| e.name == "$latent");
        let over = |bytes: f64| ratio(bytes / made.entropy);
        println!(
            "{}",
            row([
                format!(
                    "{} x {}, {}, {}, {}",
                    plan.rows, plan.columns, plan.classes, plan.alphabet, plan.alpha
                ),
                number(made.entropy as u64),
                number(made.alone as u64),
                number(stored),
                number(bytes),
                over(made.alone),
                over(stored as f64),
                over(bytes as f64),
                if latent { "yes" } else { "no" }.to_owned(),
            ])
        );
        std::fs::remove_file(&path)?;
    }
    Ok(good)
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("latents: {error}");
            ExitCode::from(2)
        }
    }
}
