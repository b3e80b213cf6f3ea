//! Structs, lists, lists of structs and maps, with nulls at every level.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Int32Type};
use pilaster_peers::Result;

use super::bench::Bench;
use super::generate::{first_difference, mixed, write_parquet};

const ROWS: usize = 1_000_000;

fn user(i: usize) -> Option<(Option<i64>, String)> {
    (i % 11 != 5).then(|| {
        let id = (mixed(i as u64) >> 30) as i64;
        ((i % 3 != 1).then_some(id), format!("user number {}", i / 2))
    })
}

fn tags(i: usize) -> Option<Vec<String>> {
    let tag = |j: usize| format!("tag {}", mixed((i * 4 + j) as u64) % 500);
    (i % 13 != 7).then(|| (0..i % 4).map(tag).collect())
}

fn score(i: usize, j: usize) -> f32 {
    (mixed((i * 4 + j) as u64 ^ 0x5c0e) % 4_096) as f32 / 16.0
}

/// Elements of the list of structs of a row.
fn steps(i: usize) -> usize {
    i % 3
}

fn step(i: usize, j: usize) -> (Option<i32>, String) {
    let number = (mixed((i * 3 + j) as u64 ^ 0x57e9) % 1_000) as i32;
    ((j != 1).then_some(number), format!("step {}", number / 10))
}

fn batch(rows: Range<usize>) -> Result<RecordBatch> {
    let all = || rows.clone();
    let fields: Fields = vec![
        Field::new("id", DataType::Int64, true),
        Field::new("name", DataType::Utf8, true),
    ]
    .into();
    let users = StructArray::try_new(
        fields,
        vec![
            Arc::new(
                all()
                    .map(|i| user(i).and_then(|u| u.0))
                    .collect::<Int64Array>(),
            ),
            Arc::new(all().map(|i| user(i).map(|u| u.1)).collect::<StringArray>()),
        ],
        Some(NullBuffer::from_iter(all().map(|i| user(i).is_some()))),
    )?;
    let mut lists = ListBuilder::new(StringBuilder::new());
    for i in all() {
        match tags(i) {
            Some(tags) => lists.append_value(tags.into_iter().map(Some)),
            None => lists.append_null(),
        }
    }
    let scores = FixedSizeListArray::try_new(
        Arc::new(Field::new("item", DataType::Float32, false)),
        4,
        Arc::new(Float32Array::from_iter_values(
            all().flat_map(|i| (0..4).map(move |j| score(i, j))),
        )),
        None,
    )?;
    let each = || all().flat_map(|i| (0..steps(i)).map(move |j| step(i, j)));
    let step_fields: Fields = vec![
        Field::new("a", DataType::Int32, true),
        Field::new("b", DataType::Utf8, false),
    ]
    .into();
    let items = StructArray::try_new(
        step_fields.clone(),
        vec![
            Arc::new(each().map(|s| s.0).collect::<PrimitiveArray<Int32Type>>()),
            Arc::new(StringArray::from(each().map(|s| s.1).collect::<Vec<_>>())),
        ],
        None,
    )?;
    let item = Arc::new(Field::new("item", DataType::Struct(step_fields), false));
    let list = ListArray::try_new(
        item,
        OffsetBuffer::from_lengths(all().map(steps)),
        Arc::new(items),
        None,
    )?;
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        (
            "id",
            Arc::new(Int64Array::from_iter_values(all().map(|i| i as i64))),
            false,
        ),
        ("user", Arc::new(users), true),
        ("tags", Arc::new(lists.finish()), true),
        ("scores", Arc::new(scores), false),
        ("steps", Arc::new(list), false),
    ];
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

pub fn run(bench: &mut Bench) -> Result<()> {
    let rows = bench.count(ROWS);
    let source = bench.path("nested.parquet");
    write_parquet(&source, rows, batch)?;
    let n = rows as i128;
    let absent = (0..rows).filter(|&i| user(i).is_none()).count() as i128;
    let ids: Vec<i64> = (0..rows).filter_map(|i| user(i)?.0).collect();
    let total: i128 = ids.iter().map(|&id| i128::from(id)).sum();
    let named = (0..rows)
        .filter(|&i| user(i).is_some_and(|u| u.1 == "user number 400"))
        .count();
    let elements: usize = (0..rows).filter_map(|i| Some(tags(i)?.len())).sum();
    let tagged = (0..rows).filter(|&i| tags(i).is_some_and(|t| t.iter().any(|t| t == "tag 77")));
    let tagged = tagged.count() as i128;
    let sixteenths: i128 = (0..rows).map(|i| (score(i, 2) * 16.0) as i128).sum();
    let stepped: usize = (0..rows).map(steps).sum();
    for profile in bench.profiles.clone() {
        let file = bench.import(&profile, rows, &[&source], &[])?;
        let t = format!("'{}'", file.display());
        bench.expect_numbers(
            &format!("SELECT count(*), sum(id), sum(user['id']), count(user['id']) FROM {t}"),
            &[n, n * (n - 1) / 2, total, ids.len() as i128],
        );
        bench.expect_numbers(
            &format!("SELECT count(*) FROM {t} WHERE user IS NULL"),
            &[absent],
        );
        bench.expect_numbers(
            &format!("SELECT count(*) FROM {t} WHERE user['id'] IS NULL"),
            &[n - ids.len() as i128],
        );
        bench.expect_numbers(
            &format!("SELECT count(*) FROM {t} WHERE user['name'] = 'user number 400'"),
            &[named as i128],
        );
        bench.expect_numbers(
            &format!("SELECT sum(array_length(tags)) FROM {t}"),
            &[elements as i128],
        );
        bench.expect_numbers(
            &format!("SELECT count(*) FROM {t} WHERE array_has(tags, 'tag 77')"),
            &[tagged],
        );
        bench.expect_numbers(
            &format!("SELECT CAST(sum(CAST(scores[3] AS DOUBLE)) * 16 AS BIGINT) FROM {t}"),
            &[sixteenths],
        );
        bench.expect_numbers(
            &format!("SELECT sum(array_length(steps)) FROM {t}"),
            &[stepped as i128],
        );
        let back = bench.path("nested-back.parquet");
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
