//! Files that were written once and must be read for ever.
//!
//! `formats/golden/` holds a file for each encoding, made from the tables of [`tables`]. They are
//! never written again: `write_missing_golden_files`, an ignored test, adds those that are missing,
//! for a new encoding or a new version of one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use arrow::array::*;
use arrow::record_batch::RecordBatch;
use pilaster::encoding::{Profile, Registry};
use pilaster::file::{File, WriteOptions, Writer};
use pilaster::kind::tables::layout::ArchiveLayout;

use crate::same::same;

pub mod tables;

/// The directory of the golden files.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("formats/golden")
}

/// Name of an encoding's file and page: the middle of its id, and the version from the second on.
fn stem(id: &str) -> String {
    let parts: Vec<&str> = id.split('.').collect();
    match parts.as_slice() {
        ["pilaster", name, "v1"] => (*name).to_owned(),
        ["pilaster", name, version] => format!("{name}-{version}"),
        _ => panic!("'{id}' is not an encoding's id"),
    }
}

/// The file in which chunks share segments, which is about the layout and not about an encoding.
const SHARED: &str = "shared.pil";

/// All rows of a file in one batch.
pub fn read_all(file: &File) -> pilaster::Result<RecordBatch> {
    let schema = file.meta().schema()?;
    let batches = file.scan_all()?.collect::<pilaster::Result<Vec<_>>>()?;
    Ok(arrow::compute::concat_batches(&schema, &batches)?)
}

/// Fails unless two tables hold the same.
pub fn same_table(a: &RecordBatch, b: &RecordBatch) -> Result<(), String> {
    if a.schema() != b.schema() {
        return Err(format!("schemas differ: {} and {}", a.schema(), b.schema()));
    }
    for (i, field) in a.schema().fields().iter().enumerate() {
        same(a.column(i), b.column(i)).map_err(|e| format!("column '{}': {e}", field.name()))?;
    }
    Ok(())
}

#[test]
fn golden_files_are_read_value_by_value() {
    let mut missing = Vec::new();
    for encoding in Registry::standard().iter() {
        let id = encoding.id();
        let path = directory().join(format!("{}.pil", stem(id)));
        if !path.exists() {
            missing.push(id);
            continue;
        }
        let file = File::open(&path).unwrap();
        let used = file.meta().encodings();
        assert!(
            used.iter().any(|e| e.as_ref() == id),
            "{id} is not in its file"
        );
        let read = read_all(&file).unwrap_or_else(|e| panic!("{id}: {e}"));
        let expected = tables::table(encoding.as_ref());
        same_table(&expected, &read).unwrap_or_else(|e| panic!("{id}: {e}"));
        for column in 0..read.num_columns() {
            let array = read.column(column);
            array.to_data().validate_full().unwrap();
        }
    }
    assert!(missing.is_empty(), "no golden files of {missing:?}");
}

#[test]
fn chunks_that_share_a_segment_are_read_value_by_value() {
    let file = File::open(directory().join(SHARED)).unwrap();
    let columns = (0..file.meta().shown().len()).map(|c| file.column(c).unwrap());
    let shares = columns.filter(|c| {
        let pairs = c.chunks.windows(2);
        pairs.clone().any(|p| p[0].segment == p[1].segment)
    });
    assert!(shares.count() > 0, "nothing is shared");
    same_table(&tables::dependent(), &read_all(&file).unwrap()).unwrap();
}

#[test]
fn every_golden_file_belongs_to_an_encoding() {
    let known: BTreeSet<String> = Registry::standard()
        .iter()
        .map(|e| format!("{}.pil", stem(e.id())))
        .chain([SHARED.to_owned()])
        .collect();
    for entry in fs::read_dir(directory()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        // An encoding is never taken away, for its files are out there.
        assert!(known.contains(&name), "nothing decodes {name}");
    }
}

/// A file whose columns are coded given each other.
pub fn archived(table: &RecordBatch) -> Vec<u8> {
    let options = WriteOptions {
        profile: Profile::Archive,
        layout: Some(Box::new(ArchiveLayout::default())),
        threads: 1,
        ..WriteOptions::default()
    };
    let mut writer = Writer::in_memory(table.schema(), options).unwrap();
    writer.write(table).unwrap();
    writer.into_bytes().unwrap()
}

/// A golden file's bytes as this version would write them.
pub fn written(encoding: &'static std::sync::Arc<dyn pilaster::encoding::Encoding>) -> Vec<u8> {
    let table = tables::table(encoding.as_ref());
    let options = WriteOptions {
        specs: vec![("*".to_owned(), encoding.name().to_owned())],
        layout: Some(Box::new(tables::Forced::new(encoding.id(), &table))),
        threads: 1,
        ..WriteOptions::default()
    };
    let mut writer = Writer::in_memory(table.schema(), options).unwrap();
    writer.write(&table).unwrap();
    writer.into_bytes().unwrap()
}

#[test]
fn what_this_version_writes_it_reads() {
    for encoding in Registry::standard().iter() {
        let id = encoding.id();
        let file = File::from_bytes(id, written(encoding)).unwrap();
        let used = file.meta().encodings();
        assert!(
            used.iter().any(|e| e.as_ref() == id),
            "{id} is not in its file"
        );
        let read = read_all(&file).unwrap_or_else(|e| panic!("{id}: {e}"));
        same_table(&tables::table(encoding.as_ref()), &read)
            .unwrap_or_else(|e| panic!("{id}: {e}"));
    }
}

#[test]
#[ignore = "writes into the source tree; run it once for a new encoding"]
fn write_missing_golden_files() {
    fs::create_dir_all(directory()).unwrap();
    for encoding in Registry::standard().iter() {
        let path = directory().join(format!("{}.pil", stem(encoding.id())));
        if !path.exists() {
            fs::write(&path, written(encoding)).unwrap();
        }
    }
    let path = directory().join(SHARED);
    if !path.exists() {
        fs::write(&path, archived(&tables::dependent())).unwrap();
    }
}
