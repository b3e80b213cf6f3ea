//! Files and tables of vectors come in as they are, or are refused.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{DataType, Float64Type};
use arrow::record_batch::RecordBatch;
use pilaster::File;
use pilaster::kind::embeddings::search::{Metric, Query};
use pilaster::kind::embeddings::{ImportOptions, import, import_batches};

use super::{values, vectors};
use crate::golden::read_all;

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
fn no_vectors_keep_their_dimension() {
    let scratch = tempfile::tempdir().unwrap();
    let (source, pil) = (scratch.path().join("a.npy"), scratch.path().join("a.pil"));
    std::fs::write(&source, npy(0, 7, &[])).unwrap();
    let done = import(&[&source], &pil, &ImportOptions::default()).unwrap();
    assert_eq!((done.rows, done.dimension), (0, 7));
    let schema = File::open(&pil).unwrap().meta().schema().unwrap();
    let found = schema.field(0).data_type().clone();
    assert!(matches!(found, DataType::FixedSizeList(_, 7)), "{found}");
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
