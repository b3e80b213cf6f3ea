//! A million vectors, exact and as codes.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use pilaster_peers::Result;

use super::bench::Bench;
use super::generate::mixed;

const ROWS: usize = 1_000_000;
const DIMENSION: usize = 32;

/// A value of a vector: eighths, so that distances are exact in any order of the sums.
fn value(row: usize, j: usize) -> f32 {
    ((mixed((row * DIMENSION + j) as u64) % 2_001) as f32 - 1_000.0) / 8.0
}

fn write_npy(path: &Path, rows: impl ExactSizeIterator<Item = usize>) -> Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    let mut head = format!(
        "{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {DIMENSION}), }}",
        rows.len()
    );
    while (10 + head.len() + 1) % 64 != 0 {
        head.push(' ');
    }
    head.push('\n');
    out.write_all(b"\x93NUMPY\x01\x00")?;
    out.write_all(&(head.len() as u16).to_le_bytes())?;
    out.write_all(head.as_bytes())?;
    for row in rows {
        for j in 0..DIMENSION {
            out.write_all(&value(row, j).to_le_bytes())?;
        }
    }
    out.flush()?;
    Ok(())
}

pub fn run(bench: &mut Bench) -> Result<()> {
    let rows = bench.count(ROWS);
    let source = bench.path("vectors.npy");
    write_npy(&source, 0..rows)?;
    let query = rows / 3;
    let distance = |row: usize| -> f64 {
        let off = |j| f64::from(value(row, j) - value(query, j));
        (0..DIMENSION).map(|j| off(j) * off(j)).sum::<f64>()
    };
    let mut near: Vec<(u64, usize)> = (0..rows)
        .map(|row| ((distance(row) * 64.0) as u64, row))
        .collect();
    near.sort_unstable();
    let nearest: Vec<String> = near[..10].iter().map(|(_, row)| row.to_string()).collect();
    let literal: Vec<String> = (0..DIMENSION)
        .map(|j| value(query, j).to_string())
        .collect();
    let literal = literal.join(",");
    for profile in bench.profiles.clone() {
        for encoding in ["exact", "lvq8"] {
            let more: &[&str] = match encoding {
                "exact" => &[],
                _ => &["--encode", "v=lvq8"],
            };
            let file = bench.import(&profile, rows, &[&source], more)?;
            let t = format!("'{}'", file.display());
            bench.expect_numbers(&format!("SELECT count(*) FROM {t}"), &[rows as i128]);
            let ids = bench.rows_of(&format!(
                "SELECT _row_id FROM vector_search({t}, 'v', [{literal}], 10) ORDER BY _distance, _row_id"
            ));
            let right = match (&ids, encoding) {
                (Ok(ids), "exact") => *ids == nearest,
                // Codes may swap rows that are about as far; the row itself is the nearest.
                (Ok(ids), _) => ids.len() == 10 && ids[0] == nearest[0],
                (Err(_), _) => false,
            };
            bench.answered(
                right,
                &format!("{profile}, {encoding}: {ids:?}, not {nearest:?}"),
            );
            if encoding == "exact" {
                let sixteenth: f64 = (0..rows).map(|row| f64::from(value(row, 15)) * 8.0).sum();
                bench.expect_numbers(
                    &format!("SELECT CAST(sum(CAST(v[16] AS DOUBLE)) * 8 AS BIGINT) FROM {t}"),
                    &[sixteenth as i128],
                );
            }
            std::fs::remove_file(file)?;
        }
    }
    std::fs::remove_file(source)?;
    Ok(())
}
