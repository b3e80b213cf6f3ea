//! Nearest rows are those of brute force over what is stored, whatever is read for them.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::*;
use arrow::buffer::{BooleanBuffer, Buffer};
use arrow::datatypes::{Field, Float32Type, Schema};
use arrow::record_batch::RecordBatch;
use pilaster::file::ReadAt;
use pilaster::kind::embeddings::search::{Metric, Neighbour, Query, nearest as nearest_rows};
use pilaster::{File, WriteOptions, Writer};

use super::{CODES, SUBSPACES, stored, table, values, vectors};
use crate::generate::Rng;
use crate::golden::read_all;

#[test]
fn nearest_rows_are_those_of_brute_force_over_the_decoded_vectors() {
    let table = table(vectors(700, 33), 33);
    let query = &vectors(701, 33)[700 * 33..];
    for code in ["exact", "lvq4", "lvq4x8", "f8e4m3", "pca(20%)+lvq6"] {
        let file = stored(&table, code);
        let back = values(&read_all(&file).unwrap());
        for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine] {
            let mut all: Vec<Neighbour> = back
                .chunks_exact(33)
                .zip(0..)
                .map(|(v, row)| Neighbour {
                    row,
                    distance: metric.distance(v, query),
                })
                .collect();
            all.sort();
            for k in [0, 1, 10, 700] {
                let found = nearest_rows(&file, 0, query, k, metric).unwrap();
                assert_eq!(found, all[..k], "{code} {metric:?} {k}");
            }
            let found = nearest_rows(&file, 0, query, 9_999, metric).unwrap();
            assert_eq!(found.len(), 700);
        }
    }
}

/// What brute force over the decoded vectors of a file gives, among the rows that a mask has.
fn brute_force(
    file: &File,
    query: &[f32],
    metric: Metric,
    mask: Option<&BooleanBuffer>,
) -> Vec<Neighbour> {
    let table = read_all(file).unwrap();
    let list = table.column(0).as_fixed_size_list();
    let back = list.values().as_primitive::<Float32Type>().values();
    let mut all: Vec<Neighbour> = back
        .chunks_exact(query.len())
        .enumerate()
        .filter(|(i, _)| list.is_valid(*i) && mask.is_none_or(|m| m.value(*i)))
        .map(|(row, v)| Neighbour {
            row: row as u64,
            distance: metric.distance(v, query),
        })
        // Those whose distance is no number are never among the nearest.
        .filter(|n| !n.distance.is_nan())
        .collect();
    all.sort();
    all
}

#[test]
fn bounds_on_codes_never_lose_a_row() {
    let dimension = 50;
    let mut shifted = vectors(400, dimension);
    // A mean, a row far out, a zero row, a constant one, a row twice, tiny and large numbers.
    shifted.iter_mut().for_each(|v| *v += 3.0);
    shifted[..dimension].iter_mut().for_each(|v| *v *= 40.0);
    shifted[dimension..2 * dimension].fill(0.0);
    shifted[2 * dimension..3 * dimension].fill(2.5);
    shifted.copy_within(5 * dimension..6 * dimension, 300 * dimension);
    let mut rng = Rng::new(11);
    let whole: Vec<f32> = (0..200 * dimension)
        .map(|_| rng.below(256) as f32)
        .collect();
    let signed: Vec<f32> = whole.iter().map(|v| v - 128.0).collect();
    let sets = [
        vectors(400, dimension),
        shifted,
        vectors(100, dimension).iter().map(|v| v * 1e-12).collect(),
        vectors(100, dimension).iter().map(|v| v * 1e12).collect(),
        // The squares of some norms overflow.
        vectors(100, dimension).iter().map(|v| v * 6e18).collect(),
        whole,
        signed,
    ];
    for (number, given) in sets.into_iter().enumerate() {
        let rows = given.len() / dimension;
        let query = given[rows / 2 * dimension..][..dimension]
            .iter()
            .enumerate()
            .map(|(i, v)| v * (1.0 + 0.1 * (i as f32).sin()))
            .collect::<Vec<f32>>();
        let table = table(given, dimension);
        let mask: BooleanBuffer = (0..rows).map(|i| i % 7 != 3).collect();
        let few: BooleanBuffer = (0..rows).map(|i| i % 40 == 9).collect();
        let others = SUBSPACES.into_iter().chain(["exact", "f8e5m2(scaled)"]);
        for code in CODES.into_iter().chain(others) {
            let file = stored(&table, code);
            let column = file.vectors(0).unwrap();
            for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine] {
                for mask in [None, Some(&mask), Some(&few)] {
                    let all = brute_force(&file, &query, metric, mask);
                    let asked = Query::new(metric, query.clone()).unwrap();
                    for k in [1, 5, 10_000] {
                        let name = format!("set {number}, {code}, {metric:?}, {k}");
                        let expected = &all[..k.min(all.len())];
                        let found = file.nearest(0, &asked, k, mask).unwrap();
                        assert_eq!(found, expected, "{name}");
                        let found = column.nearest(&asked, k, mask).unwrap();
                        assert_eq!(found, expected, "{name}, loaded");
                    }
                }
            }
        }
    }
}

#[test]
fn queries_whose_squares_overflow_exclude_no_row() {
    let table = table(vec![0.0, 1.0, 1.0, 0.0, -1.0, 0.0], 2);
    for code in ["whole8", "lvq8", "lvq4x8", "exact"] {
        let file = stored(&table, code);
        for sign in [1.0, -1.0] {
            let query = vec![sign * 2e19, 0.0];
            let all = brute_force(&file, &query, Metric::Cosine, None);
            let asked = Query::new(Metric::Cosine, query).unwrap();
            for k in [1, 2] {
                let found = file.nearest(0, &asked, k, None).unwrap();
                assert_eq!(found, all[..k], "{code} {k}");
            }
        }
    }
}

#[test]
fn one_dimension_and_odd_ones_are_searched_too() {
    for (rows, dimension) in [(3000, 1), (40, 3), (30, 129), (9, 777)] {
        let table = table(vectors(rows, dimension), dimension);
        let query = vectors(rows + 1, dimension)[rows * dimension..].to_vec();
        // Directions of many values take their time.
        let subspaces = SUBSPACES.into_iter().filter(|_| dimension < 200);
        for code in CODES.into_iter().chain(subspaces).chain(["exact"]) {
            let file = stored(&table, code);
            for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine] {
                let all = brute_force(&file, &query, metric, None);
                let asked = Query::new(metric, query.clone()).unwrap();
                let found = file.nearest(0, &asked, 7, None).unwrap();
                assert_eq!(found, all[..7], "{code} {metric:?} {dimension}");
            }
        }
    }
}

#[test]
fn null_vectors_are_never_found() {
    let plain = table(vectors(300, 20), 20);
    let list = plain.column(0).as_fixed_size_list();
    let valid: Vec<bool> = (0..300).map(|i| i % 3 != 0).collect();
    let (item, size, values, _) = list.clone().into_parts();
    let list = FixedSizeListArray::new(item, size, values, Some(valid.into()));
    let schema = Schema::new(vec![Field::new("v", list.data_type().clone(), true)]);
    let table = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(list)]).unwrap();
    let query = vectors(1, 20);
    for code in ["exact", "lvq8", "lvq4x8", "f16", "pca(50%)+lvq8"] {
        let file = stored(&table, code);
        let all = brute_force(&file, &query, Metric::L2, None);
        assert_eq!(all.len(), 200);
        let asked = Query::new(Metric::L2, query.clone()).unwrap();
        for k in [10, 500] {
            let expected = &all[..k.min(200)];
            assert_eq!(
                file.nearest(0, &asked, k, None).unwrap(),
                expected,
                "{code}"
            );
            let column = file.vectors(0).unwrap();
            assert_eq!(column.nearest(&asked, k, None).unwrap(), expected, "{code}");
        }
    }
}

/// Bytes that count what is read of them.
struct Counted {
    bytes: Buffer,
    read: AtomicU64,
}

impl ReadAt for Counted {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, range: Range<u64>) -> pilaster::Result<Buffer> {
        let len = range.end - range.start;
        self.read.fetch_add(len, Ordering::Relaxed);
        Ok(self
            .bytes
            .slice_with_length(range.start as usize, len as usize))
    }
}

#[test]
fn a_search_leaves_most_of_the_second_level_unread() {
    let (rows, dimension) = (4000, 128);
    let table = table(vectors(rows, dimension), dimension);
    let options = WriteOptions {
        specs: vec![("v".to_owned(), "lvq4x8".to_owned())],
        ..WriteOptions::default()
    };
    let mut writer = Writer::in_memory(table.schema(), options).unwrap();
    writer.write(&table).unwrap();
    let source = Arc::new(Counted {
        bytes: writer.into_bytes().unwrap().into(),
        read: AtomicU64::new(0),
    });
    let file = File::from_source("counted.pil", Arc::clone(&source) as _).unwrap();
    source.read.store(0, Ordering::Relaxed);
    // Near one row and far from all others.
    let query: Vec<f32> = values(&table)[77 * dimension..78 * dimension]
        .iter()
        .map(|v| v * 0.98)
        .collect();
    let asked = Query::new(Metric::L2, query).unwrap();
    let found = file.nearest(0, &asked, 1, None).unwrap();
    assert_eq!(found[0].row, 77);
    let read = source.read.load(Ordering::Relaxed);
    let first = (rows * (dimension / 2 + 4 + 4 + 4)) as u64;
    let second = (rows * dimension) as u64;
    assert!(
        read > first && read < first + second / 4,
        "{read} of {}",
        first + second
    );
}

#[test]
fn distances_agree_with_plain_sums_and_are_defined_for_zero() {
    let (a, b) = (vectors(1, 37), vectors(2, 37)[37..].to_vec());
    let pairs = || {
        a.iter()
            .zip(&b)
            .map(|(x, y)| (f64::from(*x), f64::from(*y)))
    };
    let l2 = pairs().map(|(x, y)| (x - y) * (x - y)).sum::<f64>().sqrt();
    let inner = pairs().map(|(x, y)| x * y).sum::<f64>();
    let norm = |v: &[f32]| v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    for (metric, expected) in [
        (Metric::L2, l2),
        (Metric::InnerProduct, -inner),
        (Metric::Cosine, 1.0 - inner / norm(&a) / norm(&b)),
    ] {
        let distance = f64::from(metric.distance(&a, &b));
        assert!((distance - expected).abs() < 1e-5, "{metric:?} {distance}");
    }
    assert_eq!(Metric::Cosine.distance(&[0.0; 37], &b), 1.0);
}

#[test]
fn queries_that_do_not_fit_are_refused_and_ties_go_by_row() {
    let same: Vec<f32> = [1.0, 2.0, 3.0].repeat(20);
    let file = stored(&table(same, 3), "exact");
    let found = nearest_rows(&file, 0, &[1.0, 2.0, 3.0], 4, Metric::L2).unwrap();
    let rows: Vec<u64> = found.iter().map(|n| n.row).collect();
    assert_eq!(rows, [0, 1, 2, 3]);
    let error = nearest_rows(&file, 0, &[1.0], 4, Metric::L2).unwrap_err();
    assert!(error.to_string().contains("query has 1 values"), "{error}");
    let error = nearest_rows(&file, 0, &[1.0, f32::NAN, 0.0], 4, Metric::L2).unwrap_err();
    assert!(
        error.to_string().contains("value 1 of the query"),
        "{error}"
    );
}
