//! Real tables, given by the caller: `PILASTER_TABLES` names a directory of CSV files.
//!
//! ```text
//! PILASTER_TABLES=tables cargo test --test it real_tables:: -- --ignored --nocapture
//! ```

use std::path::{Path, PathBuf};

use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use pilaster::kind::tables::source::{self, SourceOptions};
use pilaster::kind::tables::{ExportOptions, ImportOptions, export, import};
use pilaster::{File, Profile};

/// All CSV files below a directory, in order.
fn tables(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(tables(&path)),
            false if path.extension().is_some_and(|e| e == "csv") => found.push(path),
            false => {}
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> (SchemaRef, RecordBatch) {
    let source = source::open(&[path.into()], &SourceOptions::default(), &mut |_, _| ()).unwrap();
    let schema = source.schema();
    let batches: Vec<_> = source.map(Result::unwrap).collect();
    let all = concat_batches(&schema, &batches).unwrap();
    (schema, all)
}

#[test]
#[ignore = "needs PILASTER_TABLES, a directory of CSV files"]
fn every_table_comes_back_in_every_profile() {
    let directory = std::env::var_os("PILASTER_TABLES").expect("PILASTER_TABLES names a directory");
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    let mut count = 0;
    for table in tables(Path::new(&directory)) {
        let (schema, rows) = read(&table);
        for profile in [Profile::Fast, Profile::Balanced, Profile::Archive] {
            let options = ImportOptions {
                profile,
                ..ImportOptions::default()
            };
            let pil = at("table.pil");
            let done = import(std::slice::from_ref(&table), &pil, &options, &mut |_| ()).unwrap();
            let file = File::open(&pil).unwrap();
            assert_eq!(file.meta().schema().unwrap(), schema, "{}", table.display());
            for name in ["table.parquet", "table.arrow", "table.csv"] {
                export(&pil, &at(name), &ExportOptions::default(), &mut |_, _| ()).unwrap();
                let (back_schema, back) = read(&at(name));
                let what = format!("{} {profile:?} {name}", table.display());
                assert_eq!(back_schema, schema, "{what}");
                assert!(back == rows, "{what}: other values");
            }
            println!("{} {profile:?}: {} bytes", table.display(), done.bytes_out);
        }
        count += 1;
    }
    assert!(count > 0, "no CSV file below {}", directory.display());
}
