//! What is asked of a source: one read to open, few to scan, few bytes for few rows.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use arrow::array::*;
use arrow::buffer::Buffer;
use arrow::record_batch::RecordBatch;
use pilaster::encoding::Profile;
use pilaster::file::{File, Opener, ReadAt, ScanRequest};

use super::tables::stored;
use crate::generate::Rng;
use crate::golden::{archived, tables};

/// A source that writes down what it is asked for.
struct Watched {
    bytes: Buffer,
    asked: Mutex<Vec<Range<u64>>>,
}

impl ReadAt for Watched {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, range: Range<u64>) -> pilaster::Result<Buffer> {
        assert!(
            range.start <= range.end && range.end <= self.size(),
            "{range:?}"
        );
        self.asked.lock().unwrap().push(range.clone());
        let len = (range.end - range.start) as usize;
        Ok(self.bytes.slice_with_length(range.start as usize, len))
    }
}

impl Watched {
    fn new(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self {
            bytes: Buffer::from_vec(bytes),
            asked: Mutex::default(),
        })
    }

    /// Reads and bytes since the last call.
    fn counted(&self) -> (usize, u64) {
        let asked = std::mem::take(&mut *self.asked.lock().unwrap());
        (asked.len(), asked.iter().map(|r| r.end - r.start).sum())
    }
}

/// Many columns of noise, which nothing makes smaller.
fn noise(columns: usize, rows: usize) -> RecordBatch {
    let mut rng = Rng::new(12);
    RecordBatch::try_from_iter((0..columns).map(|c| {
        let values = Int64Array::from_iter_values((0..rows).map(|_| rng.next() as i64));
        (format!("c{c}"), Arc::new(values) as ArrayRef)
    }))
    .unwrap()
}

#[test]
fn one_read_opens_a_file() {
    let table = noise(5, 50_000);
    let source = Watched::new(stored(&table, Profile::Balanced, 50_000));
    let file = File::from_source("w", source.clone()).unwrap();
    let (reads, bytes) = source.counted();
    assert_eq!(reads, 1);
    assert!(bytes <= 64 << 10);
    assert_eq!(file.meta().schema().unwrap(), table.schema());
    assert_eq!(source.counted(), (0, 0), "the schema is there already");
}

#[test]
fn a_projection_reads_its_columns_only() {
    let table = noise(20, 20_000);
    let source = Watched::new(stored(&table, Profile::Balanced, 20_000));
    let file = File::from_source("w", source.clone()).unwrap();
    source.counted();
    let rows: usize = file
        .scan(ScanRequest::columns([7]))
        .unwrap()
        .map(|b| b.unwrap().num_rows())
        .sum();
    assert_eq!(rows, 20_000);
    let (reads, bytes) = source.counted();
    assert!(reads <= 2, "{reads} reads");
    assert!(
        bytes < source.size() / 16,
        "{bytes} of {} bytes",
        source.size()
    );
}

#[test]
fn a_few_rows_of_a_long_column_cost_a_few_pages() {
    let table = noise(1, 400_000);
    let source = Watched::new(stored(&table, Profile::Balanced, 400_000));
    let file = File::from_source("w", source.clone()).unwrap();
    source.counted();
    for row in [3u64, 200_000, 399_999] {
        let request = ScanRequest {
            rows: vec![row..row + 1],
            ..ScanRequest::columns([0])
        };
        let batches: Vec<_> = file.scan(request).unwrap().map(Result::unwrap).collect();
        let values = batches[0]
            .column(0)
            .as_primitive::<arrow::datatypes::Int64Type>();
        let expected = table
            .column(0)
            .as_primitive::<arrow::datatypes::Int64Type>();
        assert_eq!(
            values.values(),
            &expected.values()[row as usize..row as usize + 1]
        );
        let (reads, bytes) = source.counted();
        assert!(reads <= 3, "{reads} reads for a row");
        assert!(bytes <= 64 << 10, "{bytes} bytes for a row");
    }
}

#[test]
fn columns_come_one_by_one_each_before_the_next_is_read() {
    let table = noise(6, 50_000);
    let source = Watched::new(stored(&table, Profile::Balanced, 50_000));
    let file = File::from_source("w", source.clone()).unwrap();
    source.counted();
    let share = source.size() / 6;
    let mut seen = Vec::new();
    file.columns(&[4, 1, 3], 0..50_000, |position, array| {
        assert_eq!(array.len(), 50_000);
        let (_, bytes) = source.counted();
        assert!(
            bytes <= share + share / 4,
            "{bytes} bytes before column {position}"
        );
        seen.push(position);
        Ok(())
    })
    .unwrap();
    assert_eq!(seen, [0, 1, 2]);
}

#[test]
fn the_directory_of_a_wide_file_is_read_without_its_columns() {
    let table = noise(1_500, 3);
    let source = Watched::new(stored(&table, Profile::Fast, 3));
    let opener = Opener::directory_only("w", source.size());
    let file = File::with_opener(opener, source.clone()).unwrap();
    assert_eq!(file.meta().directory().len(), 1_500);
    source.counted();
    let request = ScanRequest::columns([1_234, 5]);
    let batch = file.scan(request).unwrap().next().unwrap().unwrap();
    assert_eq!(batch.column(0), table.column(1_234));
    let (_, bytes) = source.counted();
    assert!(bytes < source.size() / 4, "{bytes} of {}", source.size());
}

#[test]
fn chunks_that_share_a_segment_are_read_once_by_a_scan_and_alone_by_row() {
    let table = tables::dependent();
    let source = Watched::new(archived(&table));
    let file = File::from_source("w", source.clone()).unwrap();
    let shared = |column: usize| {
        let column = file.column(column).unwrap();
        let pairs = column.chunks.windows(2);
        pairs.filter(|p| p[0].segment == p[1].segment).count()
    };
    let columns = file.meta().shown().len();
    assert!(
        (0..columns).map(shared).sum::<usize>() > 0,
        "nothing is shared"
    );
    source.counted();
    let batches = file.scan_all().unwrap().map(Result::unwrap);
    let back = arrow::compute::concat_batches(&table.schema(), &batches.collect::<Vec<_>>());
    assert_eq!(back.unwrap(), table);
    let (_, bytes) = source.counted();
    assert!(bytes <= source.size(), "{bytes} of {}", source.size());
    let request = ScanRequest {
        rows: vec![100_000..100_003],
        ..ScanRequest::columns([1])
    };
    let rows = file.scan(request).unwrap().next().unwrap().unwrap();
    assert_eq!(rows.column(0), &table.column(1).slice(100_000, 3));
}
