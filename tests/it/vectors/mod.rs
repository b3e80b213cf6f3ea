//! Embeddings: declared loss through a whole file, import of files of vectors, search.

mod files;
mod real;
mod robust;
mod search;

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{DataType, Field, Float32Type, Schema};
use arrow::record_batch::RecordBatch;
use pilaster::encoding::Profile;
use pilaster::file::proto::Lossiness;
use pilaster::{File, WriteOptions, Writer};

use crate::generate::Rng;
use crate::golden::read_all;

/// Names of the codes, roughly from the coarsest to the finest.
const CODES: [&str; 16] = [
    "lvq2",
    "lvq3",
    "lvq4",
    "lvq5",
    "lvq6",
    "lvq7",
    "lvq8",
    "lvq4x4",
    "lvq4x8",
    "lvq8x8",
    "int8",
    "f8e5m2",
    "f8e4m3",
    "f8e4m3(scaled)",
    "bf16",
    "f16",
];

/// Coefficients along a few directions, in several codes.
const SUBSPACES: [&str; 5] = [
    "pca(25%)+lvq4x8",
    "pca(50%)+lvq8",
    "pca(50%)",
    "project(50%)+int8",
    "project(90%)+f8e4m3",
];

fn vectors(rows: usize, dimension: usize) -> Vec<f32> {
    let mut rng = Rng::new(7);
    let mut uniform = || (rng.next() >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
    (0..rows * dimension)
        .map(|_| uniform() + uniform() + uniform())
        .collect()
}

fn table(values: Vec<f32>, dimension: usize) -> RecordBatch {
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let values = Arc::new(Float32Array::from(values));
    let list = FixedSizeListArray::new(item, dimension as i32, values, None);
    let schema = Schema::new(vec![Field::new("v", list.data_type().clone(), false)]);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(list)]).unwrap()
}

fn stored(table: &RecordBatch, words: &str) -> File {
    let options = WriteOptions {
        specs: vec![("v".to_owned(), words.to_owned())],
        threads: 1,
        ..WriteOptions::default()
    };
    let mut writer = Writer::in_memory(table.schema(), options).unwrap();
    writer.write(table).unwrap();
    File::from_bytes("vectors.pil", writer.into_bytes().unwrap()).unwrap()
}

fn values(table: &RecordBatch) -> Vec<f32> {
    let list = table.column(0).as_fixed_size_list();
    list.values()
        .as_primitive::<Float32Type>()
        .values()
        .to_vec()
}

fn relative_error(given: &[f32], stored: &[f32]) -> f64 {
    let square = |x: f64| x * x;
    let pairs = given.iter().zip(stored);
    let off: f64 = pairs
        .map(|(a, b)| square(f64::from(*a) - f64::from(*b)))
        .sum();
    off / given.iter().map(|a| square(f64::from(*a))).sum::<f64>()
}

#[test]
fn every_code_keeps_its_words_and_its_measured_loss() {
    let given = vectors(300, 40);
    let table = table(given.clone(), 40);
    for code in CODES.into_iter().chain(SUBSPACES) {
        let file = stored(&table, code);
        let column = file.meta().column(0).unwrap();
        assert_eq!(column.words, code);
        let loss = column.lossiness.clone().expect(code);
        let back = values(&read_all(&file).unwrap());
        let largest = given
            .iter()
            .zip(&back)
            .map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs())
            .fold(0.0, f64::max);
        assert_eq!(loss.measured_max, largest, "{code}");
        assert!(largest > 0.0, "{code}");
        let again = values(&read_all(&stored(&table, code)).unwrap());
        assert_eq!(back, again, "{code} is not deterministic");
    }
}

#[test]
fn more_bits_lose_less() {
    let given = vectors(200, 64);
    let table = table(given.clone(), 64);
    let error = |code| relative_error(&given, &values(&read_all(&stored(&table, code)).unwrap()));
    let errors: Vec<f64> = ["lvq2", "lvq3", "lvq4", "lvq6", "lvq8", "lvq4x8", "lvq8x8"]
        .into_iter()
        .map(error)
        .collect();
    assert!(errors.windows(2).all(|w| w[1] < w[0] / 2.0), "{errors:?}");
    assert!(errors[0] < 0.15, "{errors:?}");
    assert!(error("lvq8") < error("f8e4m3(scaled)") / 8.0);
}

#[test]
fn without_a_spec_vectors_are_exact() {
    let table = table(vectors(500, 16), 16);
    let file = stored(&table, "exact");
    assert!(file.meta().column(0).unwrap().lossiness.is_none());
    assert_eq!(values(&read_all(&file).unwrap()), values(&table));
    let used = file.meta().encodings();
    let lossy = |e: &Arc<str>| e.contains("lvq") || e.contains("cast");
    assert!(!used.iter().any(lossy), "{used:?}");
}

#[test]
fn whole_numbers_of_a_byte_come_back_exactly_from_lvq8() {
    let mut rng = Rng::new(3);
    let given: Vec<f32> = (0..100 * 30).map(|_| rng.below(256) as f32).collect();
    let file = stored(&table(given.clone(), 30), "lvq8");
    assert_eq!(values(&read_all(&file).unwrap()), given);
    let loss = file.meta().column(0).unwrap().lossiness.clone().unwrap();
    assert_eq!((loss.measured_max, loss.measured_rms), (0.0, 0.0));
}

fn encodings(file: &File) -> Vec<String> {
    let used = file.meta().encodings();
    used.iter().map(|e| e.to_string()).collect()
}

#[test]
fn whole_numbers_of_a_byte_take_one_each_without_a_spec() {
    let mut rng = Rng::new(3);
    let mut whole = |least: f32| -> Vec<f32> {
        let values = (0..400 * 30).map(|_| rng.below(256) as f32 + least);
        values.collect()
    };
    for given in [whole(0.0), whole(-128.0)] {
        let table = table(given.clone(), 30);
        for profile in [Profile::Fast, Profile::Balanced, Profile::Archive] {
            let options = WriteOptions {
                profile,
                ..WriteOptions::default()
            };
            let mut writer = Writer::in_memory(table.schema(), options).unwrap();
            writer.write(&table).unwrap();
            let bytes = writer.into_bytes().unwrap();
            assert!(bytes.len() < 400 * 36, "{profile:?}: {}", bytes.len());
            let file = File::from_bytes("vectors.pil", bytes).unwrap();
            assert_eq!(values(&read_all(&file).unwrap()), given);
            assert!(file.meta().column(0).unwrap().lossiness.is_none());
            if profile != Profile::Archive {
                assert_eq!(encodings(&file)[0], "pilaster.whole8.v1", "{profile:?}");
            }
        }
    }
}

#[test]
fn numbers_that_no_byte_holds_are_kept_otherwise() {
    let mut rng = Rng::new(3);
    let whole: Vec<f32> = (0..100 * 8).map(|_| rng.below(256) as f32).collect();
    for odd in [-0.0, 0.5, 256.0, -1.0, -129.0, 1e-40, 1e30] {
        let mut given = whole.clone();
        given[77] = odd;
        for words in ["exact", "whole8"] {
            let file = stored(&table(given.clone(), 8), words);
            let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            let back = values(&read_all(&file).unwrap());
            assert_eq!(bits(&back), bits(&given), "{odd} as {words}");
            let used = encodings(&file);
            assert!(
                !used.iter().any(|e| e.contains("whole8")),
                "{odd}: {used:?}"
            );
        }
    }
}

#[test]
fn few_values_far_from_zero_are_left_to_smaller_forms() {
    // One value in forty is not zero.
    let given: Vec<f32> = (0..1000 * 40)
        .map(|i| if i % 40 == i / 40 % 40 { 200.0 } else { 0.0 })
        .collect();
    let used = encodings(&stored(&table(given, 40), "exact"));
    assert!(!used.iter().any(|e| e.contains("whole8")), "{used:?}");
}

#[test]
fn odd_vectors_come_back_close() {
    let rows: [[f32; 4]; 6] = [
        [-1.0, -2.0, -3.0, -4.5],
        [7.25; 4],
        [0.0; 4],
        [1e-30, 2e-30, -1e-30, 0.0],
        [1e30, -1e30, 5e29, 0.0],
        [f32::MIN_POSITIVE / 4.0, 0.0, 0.0, 0.0],
    ];
    for row in rows {
        let given: Vec<f32> = row.iter().copied().cycle().take(40).collect();
        let largest = row.iter().fold(0f32, |m, v| m.max(v.abs()));
        for code in ["lvq8", "lvq4x8", "int8"] {
            let back = values(&read_all(&stored(&table(given.clone(), 4), code)).unwrap());
            for (a, b) in given.iter().zip(&back) {
                assert!(
                    (a - b).abs() <= largest / 100.0 + f32::MIN_POSITIVE,
                    "{code} {row:?}: {a} is {b}"
                );
            }
        }
    }
}

/// Vectors that lie in so many directions around a mean.
fn flat(rows: usize, dimension: usize, directions: usize) -> Vec<f32> {
    let (weights, ways) = (vectors(rows, directions), vectors(directions, dimension));
    let row = |weights: &[f32]| -> Vec<f32> {
        let value = |i: usize| {
            let parts = weights.iter().zip(ways.iter().skip(i).step_by(dimension));
            1.0 + parts.map(|(w, x)| w * x).sum::<f32>()
        };
        (0..dimension).map(value).collect()
    };
    weights.chunks_exact(directions).flat_map(row).collect()
}

#[test]
fn as_many_directions_as_vectors_lie_in_lose_next_to_nothing() {
    let given = flat(300, 40, 5);
    let table = table(given.clone(), 40);
    let error = |code| relative_error(&given, &values(&read_all(&stored(&table, code)).unwrap()));
    assert!(error("pca(5)") < 1e-10);
    assert!(error("pca(12.5%)+lvq8") < 1e-4);
    assert!(error("pca(4)") > 1e-4);
    assert!(error("project(5)") > 3.0 * error("pca(4)"));
    assert!(error("project(100%)") < 1e-10);
}

#[test]
fn a_basis_is_stored_once_and_shared_by_all_chunks() {
    let (rows, dimension) = (20_000, 64);
    let table = table(vectors(rows, dimension), dimension);
    let file = stored(&table, "pca(3)+lvq4");
    let anatomy = file.anatomy().unwrap();
    let column = &anatomy.columns[0];
    let subspace = &column.tree[0];
    assert_eq!(subspace.encoding, "pilaster.subspace.v1");
    assert_eq!(subspace.children[0].encoding, "pilaster.lvq.v1");
    assert!(column.chunks > 1 && subspace.chunks == column.chunks);
    let basis = 16 + 4 * (dimension + 3 * dimension) as u64;
    // Perhaps also the mean of the codes.
    assert!(column.models >= basis && column.models < basis + 16);
}

#[test]
fn a_basis_comes_from_the_whole_section_and_skips_what_is_no_vector() {
    // The first chunk varies in the first half of the values, the rest in the second.
    let (rows, dimension) = (24_000, 64);
    let mut given = vectors(rows, dimension);
    for (i, row) in given.chunks_exact_mut(dimension).enumerate() {
        let half = if i < 8192 { 4..8 } else { 0..4 };
        row[half].fill(0.0);
        row[8..].fill(0.0);
    }
    let plain = table(given.clone(), dimension);
    let error = |table: &RecordBatch| {
        relative_error(
            &given,
            &values(&read_all(&stored(table, "pca(4)")).unwrap()),
        )
    };
    // Two thirds of the rows lie in what is kept.
    assert!(error(&plain) < 0.4, "{}", error(&plain));
    let list = plain.column(0).as_fixed_size_list();
    let valid: Vec<bool> = (0..rows).map(|i| i >= 8192).collect();
    let (item, size, inner, _) = list.clone().into_parts();
    let list = FixedSizeListArray::new(item, size, inner, Some(valid.into()));
    let schema = Schema::new(vec![Field::new("v", list.data_type().clone(), true)]);
    let table = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(list)]).unwrap();
    let back = values(&read_all(&stored(&table, "pca(4)")).unwrap());
    let from = 8192 * dimension;
    assert!(relative_error(&given[from..], &back[from..]) < 1e-10);
}

#[test]
fn directions_that_make_no_sense_are_refused_in_words() {
    let table = table(vectors(50, 6), 6);
    for (words, says) in [
        ("pca(0)", "(0) is no number of directions"),
        ("pca(0%)", "(0%) is no number of directions"),
        ("pca(101%)", "(101%) is no number of directions"),
        ("project(many)", "(many) is no number of directions"),
        (
            "pca(7)+lvq8",
            "7 directions wanted of vectors that have 6 values",
        ),
        ("pca(3)+zstd", "no part of encoding 'pca' takes 'zstd'"),
    ] {
        let options = WriteOptions {
            specs: vec![("v".to_owned(), words.to_owned())],
            ..WriteOptions::default()
        };
        let mut writer = Writer::in_memory(table.schema(), options).unwrap();
        let error = writer
            .write(&table)
            .and_then(|()| writer.into_bytes().map(drop))
            .unwrap_err();
        assert!(error.to_string().contains(says), "{words}: {error}");
    }
}

fn loss(table: &RecordBatch, words: &str) -> Lossiness {
    let file = stored(table, words);
    let column = file.meta().column(0).unwrap();
    column.lossiness.clone().expect(words)
}

#[test]
fn recall_of_lossy_codes_is_measured_on_a_sample_and_stored() {
    let table = table(vectors(3000, 24), 24);
    let recall = |words| {
        let loss = loss(&table, words);
        assert_eq!((loss.recall_rows, loss.recall_queries), (2048, 64));
        loss.recall_at_10.expect(words)
    };
    let (fine, middle, coarse) = (recall("f16"), recall("lvq4"), recall("lvq2"));
    assert!(fine > 0.99 && fine <= 1.0, "{fine}");
    assert!(middle < fine && coarse < middle, "{fine} {middle} {coarse}");
    let few = table.slice(0, 40);
    assert_eq!(loss(&few, "lvq8").recall_at_10, None);
    assert!(
        stored(&table, "exact")
            .meta()
            .column(0)
            .unwrap()
            .lossiness
            .is_none()
    );
}

#[test]
fn values_that_were_cut_are_counted_where_codes_may_cut() {
    let mut given = vectors(200, 6);
    (given[3], given[77], given[500]) = (600.0, -1e6, 448.0);
    let table = table(given, 6);
    assert_eq!(loss(&table, "f8e4m3").saturated, Some(2));
    assert_eq!(loss(&table, "f16").saturated, Some(1));
    assert_eq!(loss(&table, "f8e4m3(scaled)").saturated, Some(0));
    assert_eq!(loss(&table, "lvq8").saturated, None);
    // Also of coefficients.
    let large: Vec<f32> = vectors(200, 6).iter().map(|v| v * 2e3).collect();
    assert!(loss(&self::table(large, 6), "pca(50%)+f8e4m3").saturated > Some(0));
}
