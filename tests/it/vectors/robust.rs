//! What one row is like costs the others nothing, and what is finite stays so.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Schema};
use arrow::record_batch::RecordBatch;
use pilaster::encoding::planner::Spec;
use pilaster::encoding::{Encoding, Loss, Registry};
use pilaster::kind::embeddings::search::{Metric, Query};
use pilaster::kind::embeddings::{ImportOptions, NotFinite, import_batches};
use pilaster::{Error, File};

use super::{CODES, SUBSPACES, loss, stored, table, values, vectors};
use crate::generate::Rng;
use crate::golden::read_all;

fn codes() -> impl Iterator<Item = &'static str> {
    let more = [
        "f8e5m2(scaled)",
        "lvq3x5",
        "pca(50%)+lvq3",
        "project(75%)+lvq8",
        "pca(100%)",
    ];
    CODES.into_iter().chain(SUBSPACES).chain(more)
}

#[test]
fn every_code_of_vectors_is_tested_here() {
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let vectors = DataType::FixedSizeList(item, 8);
    let registry = Registry::standard();
    // Codes of caches are groups of rows and have tests of their own.
    let caches = [
        "pilaster.kivi.v1",
        "pilaster.coefficients.v1",
        "pilaster.klt.v1",
    ];
    let lossy = |e: &&Arc<dyn Encoding>| {
        e.loss(&[]) != Loss::Exact && e.accepts(&vectors) && !caches.contains(&e.id())
    };
    for encoding in registry.iter().filter(lossy) {
        let named = |code: &str| {
            let spec: Spec = code.parse().unwrap();
            let parts = spec.parts().iter();
            let mut ids = parts.map(|part| part.resolve(registry).unwrap().0.id());
            ids.any(|id| id == encoding.id())
        };
        assert!(codes().any(named), "{}", encoding.id());
    }
}

/// Squared error of all rows but some.
fn error_of_others(given: &[f32], back: &[f32], dimension: usize, but: &[usize]) -> f64 {
    let rows = given.chunks(dimension).zip(back.chunks(dimension));
    let others = rows.enumerate().filter(|(i, _)| !but.contains(i));
    let pairs = others.flat_map(|(_, (a, b))| a.iter().zip(b));
    pairs
        .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
        .sum()
}

#[test]
fn rows_far_from_all_others_cost_those_nothing() {
    let (rows, dimension) = (500, 16);
    let mut rng = Rng::new(3);
    let plain = vectors(rows, dimension);
    // Around a mean far from zero, and counts.
    let shifted: Vec<f32> = plain.iter().map(|v| v + 300.0).collect();
    let counts: Vec<f32> = (0..rows * dimension)
        .map(|_| (rng.below(60) * rng.below(5)) as f32 * 0.3)
        .collect();
    for (set, given) in [plain, shifted, counts].into_iter().enumerate() {
        for code in codes() {
            let back = |given: &[f32]| {
                let file = stored(&table(given.to_vec(), dimension), code);
                values(&read_all(&file).unwrap())
            };
            let usual = back(&given);
            for far in [&[7usize][..], &[0, 200, 201, 373, 499]] {
                let expected = error_of_others(&given, &usual, dimension, far);
                // Rounding of 32-bit floats depends on nothing but the values.
                let squares = given.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
                let rounding = 1e-14 * squares;
                for factor in [1e4, -1e9, f32::MAX / 4.0] {
                    let mut planted = given.clone();
                    let largest = given.iter().fold(1f32, |m, v| m.max(v.abs()));
                    for row in far {
                        for value in &mut planted[row * dimension..][..dimension] {
                            *value *= factor / largest.max(1.0);
                        }
                    }
                    let found = back(&planted);
                    let name = format!("set {set}, {code}, {far:?} x {factor}");
                    assert!(found.iter().all(|v| v.is_finite()), "{name}");
                    let error = error_of_others(&planted, &found, dimension, far);
                    assert!(
                        error <= 1.05 * expected + rounding,
                        "{name}: {error} against {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn rows_apart_are_found_like_others() {
    let (rows, dimension) = (600, 24);
    let mut given = vectors(rows, dimension);
    for (row, factor) in [(3, 1e6), (4, -1e12), (599, 3e4)] {
        for value in &mut given[row * dimension..][..dimension] {
            *value *= factor;
        }
    }
    given[200 * dimension] = f32::NAN;
    let table = table(given.clone(), dimension);
    for code in ["lvq8", "lvq4x8", "pca(50%)+lvq8"] {
        let file = stored(&table, code);
        let used = file.meta().encodings();
        assert!(
            used.iter().any(|e| e.as_ref() == "pilaster.apart.v1"),
            "{code}"
        );
        let back = values(&read_all(&file).unwrap());
        for row in [3, 4, 200, 599] {
            let bits = |v: &[f32]| -> Vec<u32> {
                v[row * dimension..][..dimension]
                    .iter()
                    .map(|x| x.to_bits())
                    .collect()
            };
            assert_eq!(bits(&back), bits(&given), "{code}: {row}");
        }
        for near in [4, 10, 599] {
            let query = &given[near * dimension..][..dimension];
            for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine] {
                let asked = Query::new(metric, query).unwrap();
                let mut expected: Vec<(f32, u64)> = back
                    .chunks(dimension)
                    .zip(0..)
                    .map(|(v, row)| (metric.distance(v, query), row))
                    .filter(|(d, _)| !d.is_nan())
                    .collect();
                expected.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                for k in [3, 600] {
                    let found = file.nearest(0, &asked, k, None).unwrap();
                    let loaded = file.vectors(0).unwrap().nearest(&asked, k, None).unwrap();
                    assert_eq!(found, loaded, "{code} {metric:?}");
                    let found: Vec<(f32, u64)> =
                        found.iter().map(|n| (n.distance, n.row)).collect();
                    assert_eq!(found, expected[..k.min(599)], "{code} {metric:?} {near}");
                }
            }
        }
    }
}

/// The largest of what values are off by.
fn largest_error(given: &[f32], back: &[f32]) -> f64 {
    let pairs = given.iter().zip(back);
    pairs
        .map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs())
        .fold(0.0, f64::max)
}

#[test]
fn finite_numbers_come_back_finite_and_with_the_error_that_is_stated() {
    const TINY: f32 = 1e-45;
    let patterns: [&[f32]; 9] = [
        &[f32::MAX, 1.0],
        &[f32::MAX, f32::MIN],
        &[3.4e38, 0.0, -3.39e38, 3.0e38],
        &[f32::MAX],
        &[f32::MIN, TINY],
        &[TINY, -TINY, 0.0, 3e-45],
        &[f32::MIN_POSITIVE, -1e-40],
        &[1.0, 1e30, -1e-30, 0.0, 65_504.0, 65_536.0],
        &[448.0, 464.0, 57_344.0, -61_440.0, 1e5],
    ];
    for pattern in patterns {
        for rows in [1, 3, 40] {
            let dimension = 6;
            let given: Vec<f32> = pattern
                .iter()
                .copied()
                .cycle()
                .take(rows * dimension)
                .collect();
            let table = table(given.clone(), dimension);
            for code in codes() {
                let file = stored(&table, code);
                let back = values(&read_all(&file).unwrap());
                let name = format!("{code} {pattern:?} {rows}");
                assert!(back.iter().all(|v| v.is_finite()), "{name}: {back:?}");
                let stated = file.meta().column(0).unwrap().lossiness.clone().unwrap();
                assert_eq!(stated.measured_max, largest_error(&given, &back), "{name}");
                for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine] {
                    let asked = Query::new(metric, vec![0.5; dimension]).unwrap();
                    let found = file.nearest(0, &asked, 50, None).unwrap();
                    assert_eq!(found.len(), rows, "{name} {metric:?}");
                }
            }
        }
    }
}

#[test]
fn error_and_cuts_are_those_of_rows_that_are_no_null() {
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    // Rows that lose much, or are cut, stand before nulls or under them.
    let rows = [
        [70_000.0, 0.1],
        [9e4, -9e4],
        [0.5, 0.1],
        [1e5, 1e5],
        [1e6, 7.0],
        [0.25, 3.1],
    ];
    let nulls = vec![true, false, true, false, false, true];
    let flat: Vec<f32> = rows.concat();
    let list = FixedSizeListArray::new(
        item,
        2,
        Arc::new(Float32Array::from(flat.clone())),
        Some(nulls.clone().into()),
    );
    let schema = Schema::new(vec![Field::new("v", list.data_type().clone(), true)]);
    let table = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(list)]).unwrap();
    for code in codes() {
        let back = values(&read_all(&stored(&table, code)).unwrap());
        let valid = |i: &usize| nulls[i / 2];
        let off = |i: usize| (f64::from(flat[i]) - f64::from(back[i])).abs();
        let errors: Vec<f64> = (0..12).filter(valid).map(off).collect();
        let stated = loss(&table, code);
        let largest = errors.iter().copied().fold(0.0, f64::max);
        let square = errors.iter().map(|e| e * e).sum::<f64>();
        assert_eq!(stated.measured_max, largest, "{code}");
        assert!(
            (stated.measured_rms - (square / 6.0).sqrt()).abs() <= 1e-12 * largest,
            "{code}"
        );
    }
    assert_eq!(loss(&table, "f16").saturated, Some(1));
    assert_eq!(loss(&table, "f8e4m3").saturated, Some(1));
}

/// A table of lists, imported as vectors.
fn imported(list: ArrayRef, words: Option<&str>) -> Result<File, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.pil");
    let batch = RecordBatch::try_from_iter_with_nullable([("v", list, true)]).unwrap();
    let options = ImportOptions {
        specs: words
            .map(|w| ("v".to_owned(), w.to_owned()))
            .into_iter()
            .collect(),
        not_finite: NotFinite::Keep,
        ..ImportOptions::default()
    };
    import_batches(
        &batch.schema(),
        &mut [Ok(batch)].into_iter(),
        &path,
        &options,
    )?;
    File::from_bytes("v.pil", std::fs::read(&path).unwrap())
}

fn list_of(values: ArrayRef, size: i32) -> ArrayRef {
    let item = Arc::new(Field::new("item", values.data_type().clone(), true));
    Arc::new(FixedSizeListArray::new(item, size, values, None))
}

#[test]
fn exact_vectors_keep_their_numbers_whatever_they_are() {
    let decimals = Decimal128Array::from(vec![1_000_000_000_000_001i128, -1, 7, 0])
        .with_precision_and_scale(20, 3)
        .unwrap();
    let arrays: [ArrayRef; 6] = [
        Arc::new(Int64Array::from(vec![16_777_217, 1, i64::MAX, i64::MIN])),
        Arc::new(UInt32Array::from(vec![u32::MAX, 1, 16_777_219, 0])),
        Arc::new(Int32Array::from(vec![16_777_217, -5, 3, 0])),
        Arc::new(Float64Array::from(vec![
            0.1,
            1e300,
            -0.0,
            f64::MIN_POSITIVE,
        ])),
        Arc::new(Float16Array::from(vec![half::f16::from_f32(0.1); 4])),
        Arc::new(decimals),
    ];
    for values in arrays {
        for words in [None, Some("exact")] {
            let file = imported(list_of(Arc::clone(&values), 2), words).unwrap();
            assert!(file.meta().column(0).unwrap().lossiness.is_none());
            let back = read_all(&file).unwrap();
            let back = back.column(0).as_fixed_size_list();
            assert_eq!(back.values().to_data(), values.to_data(), "{words:?}");
            // Searched as 32-bit floats.
            let asked = Query::new(Metric::L2, [0.0, 0.0]).unwrap();
            let found = file.nearest(0, &asked, 2, None).unwrap();
            assert_eq!(found.len(), 2, "{}", values.data_type());
        }
    }
    // What 32-bit floats hold becomes that, and no more.
    let bytes: ArrayRef = Arc::new(UInt8Array::from(vec![255, 0, 3, 1]));
    let file = imported(list_of(bytes, 2), None).unwrap();
    assert_eq!(values(&read_all(&file).unwrap()), [255.0, 0.0, 3.0, 1.0]);
}

#[test]
fn doubles_beyond_single_precision_are_refused_by_every_lossy_code() {
    let doubles = |v: Vec<f64>| list_of(Arc::new(Float64Array::from(v)), 2);
    for code in codes() {
        for far in [1e300, -f64::MAX, 3.5e38] {
            let error = imported(doubles(vec![1.0, 2.0, 3.0, far]), Some(code))
                .err()
                .unwrap();
            let text = error.to_string();
            let says = [
                "'v'",
                "value 1 of the vector of row 1",
                "beyond 32-bit floats",
            ];
            assert!(says.iter().all(|s| text.contains(s)), "{code}: {text}");
        }
        // What rounding to 32 bits loses is stated too.
        let given = vec![0.1, 1e-300, 16_777_217.0, -3e38, 5e-324, 0.0];
        let file = imported(doubles(given.clone()), Some(code)).unwrap();
        let back = values(&read_all(&file).unwrap());
        assert!(back.iter().all(|v| v.is_finite()), "{code}");
        let off = |(a, b): (&f64, &f32)| (a - f64::from(*b)).abs();
        let largest = given.iter().zip(&back).map(off).fold(0.0, f64::max);
        let stated = file.meta().column(0).unwrap().lossiness.clone().unwrap();
        assert!(
            stated.measured_max >= largest,
            "{code}: {} < {largest}",
            stated.measured_max
        );
    }
    // Infinity that was given is no number that was lost.
    let kept = doubles(vec![f64::INFINITY, 2.0, 3.0, 1.0]);
    let file = imported(kept, Some("lvq8")).unwrap();
    assert_eq!(values(&read_all(&file).unwrap())[0], f32::INFINITY);
}

#[test]
fn lists_of_variable_length_keep_their_numbers_too() {
    let rows = [
        Some(vec![Some(0.1), Some(1e200)]),
        None,
        Some(vec![Some(3.5), Some(-0.0)]),
    ];
    let list = ListArray::from_iter_primitive::<Float64Type, _, _>(rows);
    let file = imported(Arc::new(list), None).unwrap();
    let back = read_all(&file).unwrap();
    let back = back.column(0).as_fixed_size_list();
    assert!(back.is_null(1));
    let first = back.value(0);
    assert_eq!(first.as_primitive::<Float64Type>().values(), &[0.1, 1e200]);
    assert!(back.values().as_primitive_opt::<Float32Type>().is_none());
}

#[test]
fn rows_of_sizes_over_many_decades_are_stored_by_every_code() {
    for dimension in [1, 2, 8] {
        let mut rng = Rng::new(21);
        let plain = vectors(60, dimension);
        let scaled = |row: &[f32]| -> Vec<f32> {
            let size = 10f32.powi(rng.below(10) as i32 - 6);
            row.iter().map(|v| v * size).collect()
        };
        let given: Vec<f32> = plain.chunks(dimension).flat_map(scaled).collect();
        for code in codes() {
            let file = stored(&table(given.clone(), dimension), code);
            let back = values(&read_all(&file).unwrap());
            assert!(back.iter().all(|v| v.is_finite()), "{code}");
        }
    }
}
