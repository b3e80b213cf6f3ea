//! Embeddings: declared loss through a whole file, and import of files of vectors.
//!
//! Real vectors, given by the caller: `PILASTER_VECTORS` names a directory with one directory a set,
//! each with `base.npy` or `embeddings.npy`, and `queries.npy`; `PILASTER_CODES`, if it is there, the
//! specs to try.
//!
//! ```text
//! PILASTER_VECTORS=vectors cargo test --config 'profile.dev.opt-level=3' --test it vectors::real -- --ignored --nocapture
//! ```

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::*;
use arrow::buffer::{BooleanBuffer, Buffer};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Schema};
use arrow::record_batch::RecordBatch;
use pilaster::encoding::Profile;
use pilaster::file::ReadAt;
use pilaster::file::proto::Lossiness;
use pilaster::kind::embeddings::search::{Metric, Neighbour, Query, nearest as nearest_rows};
use pilaster::kind::embeddings::source::VectorSource;
use pilaster::kind::embeddings::{ImportOptions, import, import_batches};
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
    assert!(loss(&table, "pca(50%)+f8e4m3").saturated > Some(0));
}

fn npy(rows: usize, dimension: usize, values: &[f32]) -> Vec<u8> {
    let header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dimension}), }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    bytes
}

fn fvecs(dimension: usize, values: &[f32]) -> Vec<u8> {
    let row = |row: &[f32]| {
        let mut bytes = (row.len() as u32).to_le_bytes().to_vec();
        bytes.extend(row.iter().flat_map(|v| v.to_le_bytes()));
        bytes
    };
    values.chunks(dimension).flat_map(row).collect()
}

#[test]
fn files_of_vectors_come_back_bit_for_bit() {
    let scratch = tempfile::tempdir().unwrap();
    let mut given = vectors(50, 7);
    given[3] = -0.0;
    for (name, bytes) in [("a.npy", npy(50, 7, &given)), ("a.fvecs", fvecs(7, &given))] {
        let (source, pil) = (scratch.path().join(name), scratch.path().join("a.pil"));
        std::fs::write(&source, bytes).unwrap();
        let done = import(&[&source], &pil, &ImportOptions::default()).unwrap();
        assert_eq!((done.rows, done.dimension), (50, 7));
        let back = values(&read_all(&File::open(&pil).unwrap()).unwrap());
        let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back), bits(&given), "{name}");
    }
}

#[test]
fn several_files_make_one_column_if_they_agree() {
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name);
    std::fs::write(path("a.npy"), npy(50, 7, &vectors(50, 7))).unwrap();
    std::fs::write(path("b.fvecs"), fvecs(7, &vectors(60, 7)[50 * 7..])).unwrap();
    std::fs::write(path("c.npy"), npy(5, 3, &vectors(5, 3))).unwrap();
    let (pil, options) = (path("all.pil"), ImportOptions::default());
    let done = import(&[path("a.npy"), path("b.fvecs")], &pil, &options).unwrap();
    assert_eq!((done.rows, done.dimension), (60, 7));
    let back = values(&read_all(&File::open(&pil).unwrap()).unwrap());
    assert_eq!(back, vectors(60, 7));
    let error = import(&[path("a.npy"), path("c.npy")], &pil, &options).unwrap_err();
    assert!(
        error.to_string().contains("c.npy holds vectors of type"),
        "{error}"
    );
}

#[test]
fn list_columns_of_a_table_become_vectors_beside_the_others() {
    let scratch = tempfile::tempdir().unwrap();
    let pil = scratch.path().join("t.pil");
    let lists = |rows: &[Option<[f64; 3]>]| {
        let rows = rows.iter().map(|r| r.map(|r| r.map(Some).to_vec()));
        Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(rows)) as ArrayRef
    };
    let batch = |ids: Vec<i64>, rows: &[Option<[f64; 3]>]| {
        let ids = Arc::new(Int64Array::from(ids)) as ArrayRef;
        RecordBatch::try_from_iter_with_nullable([("id", ids, false), ("e", lists(rows), true)])
    };
    // The dimension shows only in the second batch.
    let batches = [
        batch(vec![1, 2], &[None, None]).unwrap(),
        batch(
            vec![3, 4],
            &[Some([0.5, 1.0, -1.0]), Some([0.0, 2.0, 0.25])],
        )
        .unwrap(),
    ];
    let options = ImportOptions {
        specs: vec![("e".to_owned(), "lvq8".to_owned())],
        ..ImportOptions::default()
    };
    let schema = batches[0].schema();
    let mut given = batches.iter().cloned().map(Ok);
    let done = import_batches(&schema, &mut given, &pil, &options).unwrap();
    assert_eq!((done.rows, done.dimension), (4, 3));
    let file = File::open(&pil).unwrap();
    let table = read_all(&file).unwrap();
    let DataType::FixedSizeList(item, 3) = table.schema().field(1).data_type().clone() else {
        panic!("{}", table.schema());
    };
    assert_eq!(*item.data_type(), DataType::Float32);
    assert_eq!(table.column(1).null_count(), 2);
    assert!(file.meta().column(1).unwrap().lossiness.is_some());
    let asked = Query::new(Metric::L2, [0.0, 2.0, 0.0]).unwrap();
    let found = file.nearest(1, &asked, 10, None).unwrap();
    assert_eq!(found.iter().map(|n| n.row).collect::<Vec<_>>(), [3, 2]);
    let wrong = ImportOptions {
        columns: vec!["id".to_owned()],
        ..ImportOptions::default()
    };
    let mut given = batches.iter().cloned().map(Ok);
    let error = import_batches(&schema, &mut given, &pil, &wrong).unwrap_err();
    assert!(error.to_string().contains("holds no vectors"), "{error}");
}

#[test]
fn damaged_files_of_vectors_are_refused_in_one_sentence() {
    let scratch = tempfile::tempdir().unwrap();
    let mut nan = vectors(5, 3);
    nan[7] = f32::NAN;
    let mut mixed = fvecs(3, &vectors(2, 3));
    mixed.extend(fvecs(2, &vectors(1, 2)));
    for (name, bytes, says) in [
        ("a.npy", npy(9, 3, &vectors(5, 3)), "promises 9"),
        ("b.npy", npy(5, 3, &nan), "row 2 is NaN"),
        ("c.npy", b"hello, this is text".to_vec(), "no .npy file"),
        ("d.fvecs", mixed, "vector 2 of"),
        (
            "e.fvecs",
            fvecs(3, &vectors(2, 3))[..22].to_vec(),
            "in the middle of vector 1",
        ),
        ("f.txt", Vec::new(), ".npy, .fvecs and .bvecs"),
    ] {
        let source = scratch.path().join(name);
        std::fs::write(&source, bytes).unwrap();
        let pil = scratch.path().join("never.pil");
        let error = import(&[&source], &pil, &ImportOptions::default()).unwrap_err();
        assert!(error.to_string().contains(says), "{name}: {error}");
        assert!(!pil.exists(), "{name}");
    }
}

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
