//! Files: what goes in comes out, and bytes that are not needed are not read.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;
use pilaster::CompareOp;
use pilaster::file::{Compare, File, Predicate, ScanRequest, WriteOptions, Writer};

fn table(rows: usize) -> RecordBatch {
    let ids = Int64Array::from_iter_values((0..rows as i64).map(|i| i * 3));
    let names =
        StringArray::from_iter((0..rows).map(|i| (i % 7 != 0).then(|| format!("n{}", i % 100))));
    let flags = BooleanArray::from_iter((0..rows).map(|i| Some(i % 3 == 0)));
    RecordBatch::try_from_iter(vec![
        ("id", Arc::new(ids) as ArrayRef),
        ("name", Arc::new(names)),
        ("flag", Arc::new(flags)),
    ])
    .unwrap()
}

fn stored(batch: &RecordBatch) -> File {
    let mut writer = Writer::in_memory(batch.schema(), WriteOptions::default()).unwrap();
    writer.write(batch).unwrap();
    File::from_bytes("memory", writer.into_bytes().unwrap()).unwrap()
}

fn all(file: &File, request: ScanRequest) -> RecordBatch {
    let batches: Vec<_> = file.scan(request).unwrap().map(Result::unwrap).collect();
    arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap()
}

#[test]
fn a_table_survives() {
    let batch = table(200_000);
    let file = stored(&batch);
    assert_eq!(file.meta().schema().unwrap(), batch.schema());
    assert_eq!(all(&file, ScanRequest::columns([0, 1, 2])), batch);
}

#[test]
fn a_table_without_rows_has_its_schema() {
    let batch = table(0);
    let file = stored(&batch);
    assert_eq!(file.meta().schema().unwrap(), batch.schema());
    assert_eq!(file.scan_all().unwrap().count(), 0);
}

#[test]
fn row_ranges_limits_and_row_numbers_agree() {
    let batch = table(100_000);
    let file = stored(&batch);
    let got = all(
        &file,
        ScanRequest {
            columns: vec![1],
            rows: vec![10..20, 70_000..90_000],
            limit: Some(15),
            row_ids: true,
            ..ScanRequest::default()
        },
    );
    let ids = got.column(1).as_primitive::<UInt64Type>();
    let expected: Vec<u64> = (10..20).chain(70_000..70_005).collect();
    assert_eq!(ids.values(), expected.as_slice());
    let names = batch.column(1).as_string::<i32>();
    for (row, id) in ids.values().iter().enumerate() {
        assert_eq!(
            got.column(0).as_string::<i32>().value(row),
            names.value(*id as usize)
        );
    }
}

#[derive(Debug)]
struct IdAbove(i64, Vec<u64>);

impl Predicate for IdAbove {
    fn columns(&self) -> &[usize] {
        &[0]
    }

    fn may_match(&self, zone: u64) -> bool {
        self.1.contains(&zone)
    }

    fn evaluate(&self, batch: &RecordBatch) -> pilaster::Result<BooleanArray> {
        let ids = batch.column(0).as_primitive::<Int64Type>();
        Ok(ids.iter().map(|v| v.map(|v| v > self.0)).collect())
    }
}

#[test]
fn pruned_zones_are_not_read_and_the_rest_is_filtered() {
    let batch = table(100_000);
    let file = stored(&batch);
    let predicate = Arc::new(IdAbove(3 * 99_990, vec![12]));
    let mut scan = file
        .scan(ScanRequest {
            columns: vec![2, 0],
            predicate: Some(predicate),
            ..ScanRequest::default()
        })
        .unwrap();
    let batches: Vec<_> = scan.by_ref().map(Result::unwrap).collect();
    assert_eq!(batches.iter().map(|b| b.num_rows()).sum::<usize>(), 9);
    let metrics = scan.metrics();
    assert_eq!((metrics.zones, metrics.zones_pruned), (13, 12));
    assert!(metrics.bytes_read < file.meta().size() / 3, "{metrics:?}");
}

#[test]
fn columns_come_one_by_one() {
    let batch = table(100_000);
    let file = stored(&batch);
    let mut seen = Vec::new();
    file.columns(&[2, 0], 5..80_000, |position, array| {
        seen.push((position, array));
        Ok(())
    })
    .unwrap();
    assert_eq!(
        seen[0].1.as_ref(),
        batch.column(2).slice(5, 79_995).as_ref()
    );
    assert_eq!(
        seen[1].1.as_ref(),
        batch.column(0).slice(5, 79_995).as_ref()
    );
}

#[test]
fn a_mapped_file_reads_like_an_open_one() {
    let batch = table(50_000);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.pil");
    let mut writer = Writer::create(&path, batch.schema(), WriteOptions::default()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    // SAFETY: nothing else knows the file.
    let mapped = unsafe { File::open_mapped(&path) }.unwrap();
    let opened = File::open(&path).unwrap();
    let request = || ScanRequest::columns([0, 1, 2]);
    assert_eq!(all(&mapped, request()), all(&opened, request()));
    assert_eq!(all(&mapped, request()), batch);
}

#[test]
fn some_elements_of_fixed_size_lists_come_alone() {
    let values = Arc::new(Int32Array::from_iter_values(0..80_000));
    let field = Arc::new(Field::new_list_field(DataType::Int32, true));
    let lists: ArrayRef = Arc::new(FixedSizeListArray::new(field, 8, values, None));
    let batch = RecordBatch::try_from_iter(vec![("v", lists)]).unwrap();
    let file = stored(&batch);
    let got = all(
        &file,
        ScanRequest {
            rows: vec![9_000..9_002],
            elements: vec![(0, 2..5)],
            ..ScanRequest::columns([0])
        },
    );
    let lists = got.column(0).as_fixed_size_list();
    assert_eq!(lists.value_length(), 3);
    let values = lists.values().as_primitive::<Int32Type>();
    assert_eq!(
        values.values(),
        &[72_002, 72_003, 72_004, 72_010, 72_011, 72_012]
    );
}

#[test]
fn a_comparison_keeps_what_compares_true_and_skips_the_other_zones() {
    use CompareOp::*;
    let batch = table(100_000);
    let file = stored(&batch);
    let ids = batch.column(0).as_primitive::<Int64Type>();
    for op in [Eq, Ne, Lt, Le, Gt, Ge] {
        for value in [-1, 0, 1, 150_000, 299_997, 300_000] {
            let value = Int64Array::new_scalar(value);
            let expected = op.apply(ids, &value).unwrap().true_count() as u64;
            let compare = Compare::new(&file, 0, op, &value).unwrap();
            let mut scan = file
                .scan(ScanRequest::columns([1]).filter(compare))
                .unwrap();
            let rows: usize = scan.by_ref().map(|b| b.unwrap().num_rows()).sum();
            assert_eq!(rows as u64, expected, "{op:?}");
            if op == Eq {
                assert!(scan.metrics().zones_pruned >= 12);
            }
        }
    }
}

#[test]
fn a_comparison_with_another_type_is_refused() {
    let file = stored(&table(10));
    let value = Int32Array::new_scalar(1);
    let error = Compare::new(&file, 0, CompareOp::Eq, &value).unwrap_err();
    assert!(error.to_string().contains("'id' is Int64"), "{error}");
}
