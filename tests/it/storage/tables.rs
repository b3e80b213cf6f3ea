//! Tables of random schemas come back, however they were cut into batches.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use pilaster::encoding::Profile;
use pilaster::file::{File, ScanRequest, WriteOptions, Writer};

use crate::generate::{Rng, logical};
use crate::golden::{read_all, same_table};

const PROFILES: [Profile; 3] = [Profile::Fast, Profile::Balanced, Profile::Archive];

/// A table of some columns of any types, with metadata on schema and fields.
pub fn random_table(rows: usize, rng: &mut Rng) -> RecordBatch {
    let mut types = logical::flat_types();
    types.extend(logical::nested_types());
    let count = 1 + rng.below(7);
    let mut fields = Vec::new();
    let mut columns = Vec::new();
    for i in 0..count {
        let data_type = types[rng.below(types.len())].clone();
        let nulls = [0.0, 0.02, 0.5, 1.0][rng.below(4)];
        let array = logical::array(&data_type, rows, nulls, rng);
        let nullable = nulls > 0.0 || data_type == DataType::Null || rng.chance(0.5);
        let metadata = HashMap::from([("unit".to_owned(), format!("u{i}"))]);
        let field = Field::new(format!("column {i}"), data_type, nullable);
        fields.push(match rng.chance(0.3) {
            true => field.with_metadata(metadata),
            false => field,
        });
        columns.push(array);
    }
    let metadata = HashMap::from([("origin".to_owned(), "made up".to_owned())]);
    let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, columns, &options).unwrap()
}

/// A file in memory, written in batches of at most `step` rows.
pub fn stored(table: &RecordBatch, profile: Profile, step: usize) -> Vec<u8> {
    let options = WriteOptions {
        profile,
        threads: 2,
        ..WriteOptions::default()
    };
    let mut writer = Writer::in_memory(table.schema(), options).unwrap();
    for from in (0..table.num_rows()).step_by(step.max(1)) {
        let len = step.min(table.num_rows() - from);
        writer.write(&table.slice(from, len)).unwrap();
    }
    writer.into_bytes().unwrap()
}

#[test]
fn tables_of_random_schemas_come_back() {
    let mut rng = Rng::new(71);
    for round in 0..120 {
        let rows = [0, 1, 2, 100, 1_025, 3_000][rng.below(6)];
        let table = random_table(rows, &mut rng);
        let profile = PROFILES[round % 3];
        let step = 1 + rng.below(rows.max(1));
        let bytes = stored(&table, profile, step.max(rows / 5));
        let file = File::from_bytes("random", bytes).unwrap();
        assert_eq!(file.meta().rows(), rows as u64);
        let read = read_all(&file).unwrap_or_else(|e| panic!("round {round}, {profile:?}: {e}"));
        same_table(&table, &read)
            .unwrap_or_else(|e| panic!("round {round}, {profile:?}, {rows} rows: {e}"));
    }
}

#[test]
fn the_bytes_do_not_depend_on_batches_or_threads() {
    let mut rng = Rng::new(5);
    for round in 0..12 {
        let table = random_table(2_000, &mut rng);
        let whole = stored(&table, Profile::Balanced, 2_000);
        assert!(
            whole == stored(&table, Profile::Balanced, 333),
            "round {round}"
        );
        let options = WriteOptions {
            threads: 1,
            ..WriteOptions::default()
        };
        let mut writer = Writer::in_memory(table.schema(), options).unwrap();
        writer.write(&table).unwrap();
        assert!(whole == writer.into_bytes().unwrap(), "round {round}");
    }
}

#[test]
fn projections_and_row_ranges_give_the_same_rows_as_the_whole() {
    let mut rng = Rng::new(99);
    for round in 0..60 {
        let rows = 1 + rng.below(20_000);
        let table = random_table(rows, &mut rng);
        let file = File::from_bytes("t", stored(&table, Profile::Balanced, rows)).unwrap();
        let columns: Vec<usize> = (0..1 + rng.below(3))
            .map(|_| rng.below(table.num_columns()))
            .collect();
        let mut cuts: Vec<u64> = (0..6).map(|_| rng.below(rows + 1) as u64).collect();
        cuts.sort_unstable();
        let ranges = vec![cuts[0]..cuts[1], cuts[2]..cuts[3], cuts[4]..cuts[5]];
        let request = ScanRequest {
            rows: ranges.clone(),
            batch_rows: [0, 7, 1_000][rng.below(3)],
            ..ScanRequest::columns(columns.clone())
        };
        let batches: Vec<RecordBatch> = file.scan(request).unwrap().map(Result::unwrap).collect();
        let projected = table.project(&columns).unwrap();
        let parts: Vec<RecordBatch> = ranges
            .iter()
            .map(|r| projected.slice(r.start as usize, (r.end - r.start) as usize))
            .collect();
        let schema = projected.schema();
        let expected = arrow::compute::concat_batches(&schema, &parts).unwrap();
        let read = arrow::compute::concat_batches(&schema, &batches).unwrap();
        same_table(&expected, &read).unwrap_or_else(|e| panic!("round {round}, {rows} rows: {e}"));

        let (from, to) = (cuts[1], cuts[4]);
        let mut seen = 0;
        file.columns(&columns, from..to, |position, array| {
            let part = table
                .column(columns[position])
                .slice(from as usize, (to - from) as usize);
            crate::same::same(&part, &array).unwrap_or_else(|e| panic!("round {round}: {e}"));
            seen += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, columns.len());
    }
}

#[test]
fn types_that_cannot_be_stored_are_refused_before_anything_is_written() {
    let field = Arc::new(Field::new("item", DataType::Int32, true));
    let refused = Schema::new(vec![Field::new("v", DataType::ListView(field), true)]);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.pil");
    let error = Writer::create(&path, Arc::new(refused), WriteOptions::default())
        .err()
        .unwrap();
    assert!(error.to_string().contains("column 'v'"), "{error}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_promise_of_no_nulls_is_held() {
    let nulls = Arc::new(Int32Array::from(vec![Some(1), None])) as ArrayRef;
    let nullable = RecordBatch::try_from_iter(vec![("v", nulls)]).unwrap();
    let field = Field::new("v", DataType::Int32, false);
    let schema = Arc::new(Schema::new(vec![field]));
    let mut writer = Writer::in_memory(schema, WriteOptions::default()).unwrap();
    let error = writer.write(&nullable).unwrap_err().to_string();
    assert!(error.contains("column 'v'"), "{error}");
}
