//! Very many columns, more rows than one section of them.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::*;
use pilaster_peers::Result;

use super::bench::Bench;
use super::generate::{first_difference, mixed, write_parquet};

const COLUMNS: usize = 10_000;
const ROWS: usize = 3_000;

/// A column in ten holds text, one in ten nulls.
fn value(column: usize, i: usize) -> Option<i32> {
    let value = (mixed((column * ROWS + i) as u64) % (1 + column as u64 % 1_000)) as i32;
    (column % 10 != 3 || i % 5 != 2).then_some(value)
}

fn batch(rows: Range<usize>) -> Result<RecordBatch> {
    let columns = (0..COLUMNS).map(|column| {
        let values = rows.clone().map(|i| value(column, i));
        let array: ArrayRef = match column % 10 {
            7 => Arc::new(
                values
                    .map(|v| v.map(|v| format!("v{v}")))
                    .collect::<StringArray>(),
            ),
            _ => Arc::new(values.collect::<Int32Array>()),
        };
        (format!("c{column}"), array, column % 10 == 3)
    });
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

pub fn run(bench: &mut Bench) -> Result<()> {
    let rows = bench.count(ROWS);
    let source = bench.path("wide.parquet");
    write_parquet(&source, rows, batch)?;
    let sum = |column| {
        (0..rows)
            .filter_map(|i| value(column, i))
            .map(i128::from)
            .sum::<i128>()
    };
    for profile in bench.profiles.clone() {
        let file = bench.import(&profile, rows, &[&source], &[])?;
        let t = format!("'{}'", file.display());
        bench.expect_numbers(
            &format!("SELECT count(*), sum(c0), sum(c4999), sum(c9998), count(c3) FROM {t}"),
            &[
                rows as i128,
                sum(0),
                sum(4_999),
                sum(9_998),
                (0..rows).filter_map(|i| value(3, i)).count() as i128,
            ],
        );
        let texts = (0..rows).filter(|&i| value(777, i) == Some(5)).count() as i128;
        bench.expect_numbers(
            &format!("SELECT count(*) FROM {t} WHERE c777 = 'v5'"),
            &[texts],
        );
        let back = bench.path("wide-back.parquet");
        bench.must(&[
            "-q",
            "export",
            &file.display().to_string(),
            &back.display().to_string(),
        ])?;
        let difference = first_difference(&back, rows, batch)?;
        bench.answered(
            difference.is_none(),
            &format!("{profile}: export: {difference:?}"),
        );
        std::fs::remove_file(back)?;
        std::fs::remove_file(file)?;
    }
    std::fs::remove_file(source)?;
    Ok(())
}
