//! What was written is read back before it is published, and what only helps never makes a file
//! unreadable.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::Buffer;
use arrow::record_batch::RecordBatch;
use pilaster::encoding::{CompareOp, Profile};
use pilaster::file::write::Sink;
use pilaster::file::{Compare, File, ReadAt, ScanRequest, WriteOptions, Writer};
use pilaster::{Error, Result};

use super::small::options;
use crate::generate::Rng;
use crate::golden::{read_all, same_table};

const ROWS: usize = 12_000;

/// Columns whose zone bounds look like those of large tables: ordered text, text of few values, text
/// with nulls for many zones, numbers.
fn table() -> RecordBatch {
    let texts = |value: &dyn Fn(usize) -> Option<String>| -> ArrayRef {
        Arc::new((0..ROWS).map(value).collect::<StringArray>())
    };
    let ordered = texts(&|i| Some(format!("user-{i:08} session {} heartbeat ok", i * 7)));
    let few = texts(&|i| Some(format!("the deliveries of region number {}", i * 31 % 97)));
    let holes = texts(&|i| (i / 1_000 % 2 == 0).then(|| format!("comment {} carefully", i * i)));
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values((0..ROWS).map(|i| i as i64)));
    let floats = Float64Array::from_iter((0..ROWS).map(|i| (i % 5 > 0).then(|| (i as f64).sqrt())));
    RecordBatch::try_from_iter_with_nullable([
        ("ordered", ordered, false),
        ("few", few, false),
        ("holes", holes, true),
        ("numbers", numbers, false),
        ("floats", Arc::new(floats) as ArrayRef, true),
    ])
    .unwrap()
}

#[test]
fn zone_maps_of_very_many_zones_can_be_read() {
    let table = table();
    for profile in [Profile::Fast, Profile::Balanced, Profile::Archive] {
        let mut writer = Writer::in_memory(table.schema(), options(profile)).unwrap();
        writer.write(&table).unwrap();
        let file = File::from_bytes("many zones", writer.into_bytes().unwrap()).unwrap();
        assert_eq!(file.meta().zone_count(), ROWS as u64 / 8);
        let report = file.verify(|_, _| {}).unwrap();
        assert!(report.problems.is_empty(), "{:?}", report.problems);
        let zones = file.zones(&[0, 1, 2, 3, 4]).unwrap();
        assert!(zones.unreadable.is_empty());
        let (min, _) = zones.columns[0].as_ref().unwrap().bounds.as_ref().unwrap();
        assert_eq!(
            min.as_string::<i32>().value(1_000),
            "user-00008000 session 56000 heartbeat ok"
        );
        same_table(&read_all(&file).unwrap(), &table).unwrap();
    }
}

/// A sink that gives back other bytes than it took, as a failing disk may.
struct Forgetful {
    bytes: Vec<u8>,
    flip: Range<usize>,
    published: Arc<std::sync::atomic::AtomicBool>,
}

struct Lent(Vec<u8>);

impl ReadAt for Lent {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, range: Range<u64>) -> Result<Buffer> {
        Ok(Buffer::from(
            &self.0[range.start as usize..range.end as usize],
        ))
    }
}

impl Sink for Forgetful {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn appended(&mut self) -> Result<Box<dyn ReadAt + Sync + '_>> {
        let mut bytes = self.bytes.clone();
        for at in self.flip.clone().filter(|at| *at < self.bytes.len()) {
            bytes[at] ^= 0x10;
        }
        Ok(Box::new(Lent(bytes)))
    }

    fn publish(&mut self) -> Result<()> {
        self.published
            .store(true, std::sync::atomic::Ordering::SeqCst);
        Ok(())
    }
}

#[test]
fn a_file_that_reads_back_otherwise_is_not_published() {
    let table = table();
    let write = |flip: Range<usize>, unchecked| {
        let published = Arc::default();
        let sink = Forgetful {
            bytes: Vec::new(),
            flip,
            published: Arc::clone(&published),
        };
        let options = WriteOptions {
            unchecked,
            ..options(Profile::Balanced)
        };
        let mut writer = Writer::with_sink(sink, table.schema(), options).unwrap();
        writer.write(&table).unwrap();
        let result = writer.finish();
        let published = published.load(std::sync::atomic::Ordering::SeqCst);
        assert_eq!(published, result.is_ok());
        result
    };
    let size = write(0..0, false).unwrap().bytes as usize;
    // Padding between segments holds nothing, so not each single byte counts.
    for start in (64..size - 64).step_by(size / 50) {
        let error = write(start..start + 64, false).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        write(start..start + 64, true).unwrap();
    }
}

#[test]
fn a_zone_map_that_cannot_be_read_costs_no_rows_and_is_named() {
    let mut rng = Rng::new(13);
    let values = Int64Array::from_iter_values((0..ROWS).map(|_| (rng.next() >> 20) as i64));
    let large = values.iter().flatten().filter(|v| *v >= 1 << 43).count();
    let table = RecordBatch::try_from_iter([("numbers", Arc::new(values) as ArrayRef)]).unwrap();
    let mut writer = Writer::in_memory(table.schema(), options(Profile::Fast)).unwrap();
    writer.write(&table).unwrap();
    let mut bytes = writer.into_bytes().unwrap();
    let sound = File::from_bytes("sound", bytes.clone()).unwrap();
    // The zone map is the last segment, so that it ends where the footer begins.
    let footer = bytes.len() - sound.meta().footer_len() as usize;
    bytes[footer - 40] ^= 1;
    let file = File::from_bytes("damaged", bytes).unwrap();
    let zones = file.zones(&[0]).unwrap();
    assert!(zones.columns[0].is_none());
    assert_eq!(zones.unreadable.len(), 1);
    let report = file.verify(|_, _| {}).unwrap();
    assert!(!report.problems.is_empty());
    let told = report.problems[0].to_string();
    assert!(told.contains("column 'numbers'"), "{told}");
    let value = Int64Array::new_scalar(1 << 43);
    let filter = Compare::new(&file, 0, CompareOp::Ge, &value).unwrap();
    let rows: usize = file
        .scan(ScanRequest::columns([0]).filter(filter))
        .unwrap()
        .map(|batch| batch.unwrap().num_rows())
        .sum();
    assert_eq!(rows, large);
}
