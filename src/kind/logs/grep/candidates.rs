//! Which rows of a chunk may hold a run, decided on its common text and its distinct values.

use super::pattern::Required;
use crate::encoding::log::chunk::Chunk;
use crate::encoding::log::read::{Integers, ReadTable, Texts, Values};

/// Rows of a column that hold a run.
enum Hits {
    None,
    All,
    /// By row.
    Rows(Vec<bool>),
    /// By code of a row.
    Coded(Vec<bool>),
}

/// For each row whether it holds the run; `None` if no row does.
pub fn rows(chunk: &Chunk, required: &Required) -> Option<Vec<bool>> {
    match chunk {
        Chunk::Plain(texts) => {
            let hits = texts_that_hold(texts, required);
            hits.contains(&true).then_some(hits)
        }
        Chunk::Parsed(table) => table_rows(table, required),
    }
}

fn table_rows(table: &ReadTable, required: &Required) -> Option<Vec<bool>> {
    let literal: Vec<bool> = table
        .skeletons
        .iter()
        .map(|s| (0..s.ends.len()).any(|i| required.is_in(s.literal(i))))
        .collect();
    let hits: Vec<Hits> = table.columns.iter().map(|v| hits(v, required)).collect();
    let concerned: Vec<bool> = table
        .skeletons
        .iter()
        .map(|s| {
            let column = |&c: &u32| !matches!(hits[c as usize], Hits::None);
            s.columns.iter().any(column)
        })
        .collect();
    if !literal.contains(&true) && !concerned.contains(&true) {
        return None;
    }
    let mut at = vec![0usize; table.columns.len()];
    let mut rows = Vec::with_capacity(table.ids.len());
    let (mut held, mut any) = (false, false);
    for &id in &table.ids {
        let skeleton = &table.skeletons[id as usize];
        held |= literal[id as usize];
        if concerned[id as usize] {
            for &column in &skeleton.columns {
                let column = column as usize;
                let row = at[column];
                at[column] += 1;
                held |= match &hits[column] {
                    Hits::None => false,
                    Hits::All => true,
                    Hits::Rows(rows) => rows[row],
                    Hits::Coded(codes) => match &table.columns[column] {
                        Values::Texts(_, Some(of))
                        | Values::Integers(Integers::Coded(_, of), _) => codes[of[row] as usize],
                        _ => false,
                    },
                };
            }
        } else {
            skeleton.skip(&mut at);
        }
        if !skeleton.goes_on {
            rows.push(held);
            any |= held;
            held = false;
        }
    }
    any.then_some(rows)
}

fn hits(values: &Values, required: &Required) -> Hits {
    let found = |hits: Vec<bool>, make: fn(Vec<bool>) -> Hits| match hits.contains(&true) {
        true => make(hits),
        false => Hits::None,
    };
    match values {
        Values::None => Hits::None,
        Values::Texts(texts, codes) => {
            let hits = texts_that_hold(texts, required);
            match codes {
                Some(_) => found(hits, Hits::Coded),
                None => found(hits, Hits::Rows),
            }
        }
        Values::Integers(..) if !required.is_digits() => Hits::None,
        Values::Integers(integers, print) => {
            let mut text = Vec::new();
            let mut holds = |value: i64, row: usize| {
                text.clear();
                print.put(value, row, &mut text);
                required.is_in(&text)
            };
            match (integers, print) {
                // The width of each row may add zeros.
                (_, crate::encoding::log::read::Print::Widths(widths)) => {
                    let rows = 0..widths.len();
                    let hits = rows.map(|row| holds(integers.get(row), row)).collect();
                    found(hits, Hits::Rows)
                }
                (Integers::Constant(value), _) => match holds(*value, 0) {
                    true => Hits::All,
                    false => Hits::None,
                },
                (Integers::Coded(values, _), _) => {
                    let hits = values.iter().map(|&v| holds(v, 0)).collect();
                    found(hits, Hits::Coded)
                }
                (Integers::Each(values), _) => {
                    let hits = values.iter().map(|&v| holds(v, 0)).collect();
                    found(hits, Hits::Rows)
                }
            }
        }
    }
}

/// Searches all texts at once, then tells which of them it was.
fn texts_that_hold(texts: &Texts, required: &Required) -> Vec<bool> {
    let mut hits = vec![false; texts.len()];
    let mut from = 0;
    while let Some((start, end)) = required.find(&texts.bytes[from..]) {
        let (start, end) = (from + start, from + end);
        let i = texts.offsets.partition_point(|&o| o as usize <= start) - 1;
        let limit = texts.offsets[i + 1] as usize;
        if end <= limit {
            hits[i] = true;
            from = limit;
        } else {
            from = start + 1;
        }
    }
    hits
}
