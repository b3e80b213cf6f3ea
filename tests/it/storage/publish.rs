//! A file appears under its name whole or not at all, whatever happens to its writer.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::*;
use arrow::record_batch::RecordBatch;
use pilaster::file::{File, WriteOptions, Writer};

use crate::generate::Rng;
use crate::golden::read_all;

/// A table that tells which version of the file it is.
fn version(number: i64, rows: usize) -> RecordBatch {
    let mut rng = Rng::new(number as u64);
    let versions = Int64Array::from(vec![number; rows]);
    let noise = UInt64Array::from_iter_values((0..rows).map(|_| rng.next()));
    RecordBatch::try_from_iter(vec![
        ("version", Arc::new(versions) as ArrayRef),
        ("noise", Arc::new(noise)),
    ])
    .unwrap()
}

fn write(path: &Path, table: &RecordBatch) {
    let mut writer = Writer::create(path, table.schema(), WriteOptions::default()).unwrap();
    for from in (0..table.num_rows()).step_by(1_000) {
        let len = 1_000.min(table.num_rows() - from);
        writer.write(&table.slice(from, len)).unwrap();
    }
    writer.finish().unwrap();
}

/// The version that a file holds, whole.
fn held(path: &Path) -> i64 {
    let table = read_all(&File::open(path).unwrap()).unwrap();
    let versions = table
        .column(0)
        .as_primitive::<arrow::datatypes::Int64Type>();
    let number = versions.value(0);
    assert_eq!(table, version(number, table.num_rows()));
    number
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_writer_that_is_dropped_leaves_the_old_file_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.pil");
    write(&path, &version(1, 5_000));
    let table = version(2, 5_000);
    let mut writer = Writer::create(&path, table.schema(), WriteOptions::default()).unwrap();
    writer.write(&table).unwrap();
    drop(writer);
    assert_eq!(held(&path), 1);
    assert_eq!(names(directory.path()), ["t.pil"]);
}

#[test]
fn a_new_file_takes_the_place_of_the_old_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.pil");
    for number in 1..4 {
        write(&path, &version(number, 2_000));
        assert_eq!(held(&path), number);
    }
    assert_eq!(names(directory.path()), ["t.pil"]);
}

#[test]
fn a_batch_of_another_schema_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.pil");
    write(&path, &version(1, 100));
    let table = version(2, 100);
    let mut writer = Writer::create(&path, table.schema(), WriteOptions::default()).unwrap();
    assert!(writer.write(&table.project(&[1]).unwrap()).is_err());
    drop(writer);
    assert_eq!(held(&path), 1);
}

#[test]
fn a_target_that_cannot_be_written_is_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let schema = version(1, 1).schema();
    for target in [
        directory.path().join("missing/t.pil"),
        directory.path().to_path_buf(),
        PathBuf::from("/dev/null/t.pil"),
    ] {
        let error = Writer::create(&target, Arc::clone(&schema), WriteOptions::default())
            .err()
            .unwrap_or_else(|| panic!("{} was accepted", target.display()));
        let shown = target.display().to_string();
        assert!(error.to_string().contains(&shown), "{error}");
    }
}

/// Names the target in the environment of a child that is going to be killed.
const TARGET: &str = "PILASTER_TEST_WRITES_UNTIL_KILLED";

#[test]
fn child_that_writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(TARGET) else {
        return;
    };
    for number in 2.. {
        write(Path::new(&path), &version(number, 3_000));
    }
}

/// Starts writers over an existing file and kills each at a random moment.
fn kill(times: usize) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.pil");
    write(&path, &version(1, 3_000));
    let mut rng = Rng::new(9);
    let mut replaced = 0;
    for _ in 0..times {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "storage::publish::child_that_writes_until_it_is_killed",
            ])
            .env(TARGET, &path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(5_000 + rng.below(150_000) as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        replaced += usize::from(held(&path) > 1);
    }
    assert!(replaced > 0, "no writer got anywhere");
    write(&path, &version(1, 10));
    assert_eq!(
        held(&path),
        1,
        "left-overs of killed writers are in nobody's way"
    );
}

#[test]
fn writers_killed_at_any_moment_leave_a_whole_file() {
    kill(20);
}

#[test]
#[ignore = "200 kills take a minute"]
fn two_hundred_kills_leave_a_whole_file_every_time() {
    kill(200);
}
