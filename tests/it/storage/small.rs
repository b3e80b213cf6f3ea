//! The thresholds of large files, lowered: short zones and small sections, so that a small table has as many
//! of them as a large one.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;
use arrow::record_batch::RecordBatch;
use pilaster::Result;
use pilaster::encoding::Profile;
use pilaster::file::{
    ColumnData, ColumnSpec, File, Layout, PlainLayout, ScanRequest, WriteOptions, Writer,
};
use pilaster::kind::tables::layout::ArchiveLayout;

use super::tables::random_table;
use crate::generate::Rng;
use crate::golden::{read_all, same_table};

/// Zones so short that a small table has as many as a large one.
struct ShortZones(Box<dyn Layout>);

impl Layout for ShortZones {
    fn columns(&mut self, first: &RecordBatch) -> Result<Vec<ColumnSpec>> {
        self.0.columns(first)
    }

    fn shown(&self, given: &SchemaRef) -> SchemaRef {
        self.0.shown(given)
    }

    fn section(&mut self, section: &RecordBatch) -> Result<Vec<ColumnData>> {
        self.0.section(section)
    }

    fn zone_rows(&self) -> Option<usize> {
        Some(8)
    }
}

/// How a table is written in zones of 8 rows and sections of 16 KiB.
pub fn options(profile: Profile) -> WriteOptions {
    let layout: Box<dyn Layout> = match profile {
        Profile::Archive => Box::new(ArchiveLayout::default()),
        _ => Box::new(PlainLayout),
    };
    WriteOptions {
        profile,
        layout: Some(Box::new(ShortZones(layout))),
        section_bytes: Some(16 << 10),
        ..WriteOptions::default()
    }
}

fn stored(table: &RecordBatch, options: WriteOptions) -> File {
    let mut writer = Writer::in_memory(table.schema(), options).unwrap();
    for start in (0..table.num_rows()).step_by(700) {
        let len = 700.min(table.num_rows() - start);
        writer.write(&table.slice(start, len)).unwrap();
    }
    let file = File::from_bytes("small", writer.into_bytes().unwrap()).unwrap();
    let report = file.verify(|_, _| {}).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    file
}

#[test]
fn tables_of_many_sections_chunks_and_zones_come_back() {
    let mut rng = Rng::new(4_711);
    for round in 0..6 {
        let table = random_table(9_000, &mut rng);
        for profile in [Profile::Fast, Profile::Balanced, Profile::Archive] {
            let file = stored(&table, options(profile));
            assert_eq!(file.meta().zone_count(), 9_000 / 8);
            let same = same_table(&read_all(&file).unwrap(), &table);
            assert!(same.is_ok(), "round {round}, {profile:?}: {same:?}");
            // Rows from here and there, over the borders of sections.
            let columns: Vec<usize> = (0..table.num_columns()).collect();
            let request = ScanRequest {
                rows: vec![5..6, 1_000..3_333, 8_990..9_000],
                ..ScanRequest::columns(columns)
            };
            let parts: Vec<_> = file.scan(request).unwrap().map(|b| b.unwrap()).collect();
            let found = arrow::compute::concat_batches(&table.schema(), &parts).unwrap();
            let wanted = [
                table.slice(5, 1),
                table.slice(1_000, 2_333),
                table.slice(8_990, 10),
            ];
            let wanted = arrow::compute::concat_batches(&table.schema(), &wanted).unwrap();
            let same = same_table(&found, &wanted);
            assert!(same.is_ok(), "rows of round {round}, {profile:?}: {same:?}");
        }
    }
}

#[test]
fn vectors_of_many_sections_keep_their_error() {
    let mut rng = Rng::new(8);
    let values = Float32Array::from_iter_values(
        (0..6_000 * 12).map(|_| (rng.next() % 2_001) as f32 / 100.0 - 10.0),
    );
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let list = FixedSizeListArray::new(item, 12, Arc::new(values), None);
    let table = RecordBatch::try_from_iter([("v", Arc::new(list) as ArrayRef)]).unwrap();
    for spec in ["f16", "int8", "lvq8", "lvq4x8", "pca(50%)+lvq8"] {
        let options = WriteOptions {
            specs: vec![("v".to_owned(), spec.to_owned())],
            ..options(Profile::Balanced)
        };
        let file = stored(&table, options);
        assert!(file.column(0).unwrap().chunks.len() > 10);
        let found = read_all(&file).unwrap();
        let values = |table: &RecordBatch| -> Vec<f32> {
            let list = table.column(0).as_fixed_size_list();
            list.values()
                .as_primitive::<Float32Type>()
                .values()
                .to_vec()
        };
        let given = values(&table);
        let off = given.iter().zip(values(&found)).map(|(a, b)| (a - b).abs());
        let largest = off.fold(0f32, f32::max);
        let told = file
            .column(0)
            .unwrap()
            .lossiness
            .as_ref()
            .unwrap()
            .measured_max;
        assert!(
            (f64::from(largest) - told).abs() <= 1e-6 * told,
            "{spec}: {largest} {told}"
        );
    }
}
