//! Rows and types that are wide, deep or oddly put together.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;
use arrow::record_batch::RecordBatch;
use pilaster::encoding::Profile;
use pilaster::file::{File, WriteOptions, Writer};

use super::tables::stored;

fn one(array: ArrayRef) -> RecordBatch {
    RecordBatch::try_from_iter([("c", array)]).unwrap()
}

/// The values of a file, each batch's after the other's.
fn read(bytes: Vec<u8>) -> Vec<ArrayRef> {
    let file = File::from_bytes("wide.pil", bytes).unwrap();
    let batches = file.scan_all().unwrap();
    batches.map(|b| Arc::clone(b.unwrap().column(0))).collect()
}

#[test]
fn dictionaries_and_views_of_long_text_are_read_within_what_they_declare() {
    let labels: Vec<String> = (0..100).map(|i| format!("{i:0>120}")).collect();
    let coded: DictionaryArray<Int8Type> = (0..65_536).map(|i| labels[i % 100].as_str()).collect();
    let text = StringViewArray::from_iter_values((0..65_536).map(|i| format!("{:0>300}", i % 977)));
    for array in [Arc::new(coded) as ArrayRef, Arc::new(text)] {
        let table = one(Arc::clone(&array));
        for profile in [Profile::Fast, Profile::Balanced, Profile::Archive] {
            let back = read(stored(&table, profile, 65_536));
            let back: Vec<&dyn Array> = back.iter().map(AsRef::as_ref).collect();
            let back = arrow::compute::concat(&back).unwrap();
            let plain = |a: &ArrayRef| arrow::compute::cast(a, &DataType::Utf8).unwrap();
            assert_eq!(&plain(&back), &plain(&array));
        }
    }
}

#[test]
fn small_keys_do_not_overflow_when_batches_have_dictionaries_of_their_own() {
    let words: Vec<String> = (0..127).map(|i| format!("word {i}")).collect();
    let up: DictionaryArray<Int8Type> = words.iter().map(String::as_str).collect();
    let down: DictionaryArray<Int8Type> = words.iter().rev().map(String::as_str).collect();
    let schema = one(Arc::new(up.clone())).schema();
    let mut writer = Writer::in_memory(schema, WriteOptions::default()).unwrap();
    writer.write(&one(Arc::new(up))).unwrap();
    writer.write(&one(Arc::new(down))).unwrap();
    let back = read(writer.into_bytes().unwrap());
    assert_eq!(back.iter().map(|a| a.len()).sum::<usize>(), 254);
}

#[test]
fn a_slice_of_lists_counts_for_what_it_holds() {
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(
        (0..400_000).map(|i| Some((0..20).map(move |j| Some(i * j)).collect::<Vec<_>>())),
    );
    let table = one(Arc::new(lists));
    let mut writer = Writer::in_memory(table.schema(), WriteOptions::default()).unwrap();
    for at in (0..table.num_rows()).step_by(8_192) {
        let slice = table.slice(at, 8_192.min(table.num_rows() - at));
        writer.write(&slice).unwrap();
    }
    let sliced = writer.into_bytes().unwrap();
    assert!(sliced == stored(&table, Profile::Balanced, table.num_rows()));
    let file = File::from_bytes("lists.pil", sliced).unwrap();
    assert_eq!(file.meta().zone_rows(), 8_192);
}

#[test]
fn types_are_read_as_deep_as_they_are_written() {
    let nested = |depth: usize| {
        let mut array: ArrayRef = Arc::new(Int32Array::from(vec![Some(7), None]));
        for _ in 0..depth {
            let field = Field::new("a", array.data_type().clone(), true);
            let nulls = Some(vec![true, array.len() > 1].into());
            array = Arc::new(StructArray::new(vec![field].into(), vec![array], nulls));
        }
        one(array)
    };
    for depth in [1, 8, 16] {
        let table = nested(depth);
        let back = read(stored(&table, Profile::Balanced, 2));
        assert_eq!(&back[0], table.column(0));
    }
    let deep = Writer::in_memory(nested(17).schema(), WriteOptions::default());
    let error = deep.err().unwrap().to_string();
    assert!(error.contains("nested deeper"), "{error}");
}

#[test]
fn a_writer_that_failed_publishes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.pil");
    let part = |from: usize| -> RecordBatch {
        let words: Vec<String> = (from..from + 100).map(|i| format!("word {i}")).collect();
        let coded: DictionaryArray<Int8Type> = words.iter().map(String::as_str).collect();
        one(Arc::new(coded))
    };
    let rows = part(0);
    let mut writer = Writer::create(&path, rows.schema(), WriteOptions::default()).unwrap();
    writer.write(&rows).unwrap();
    // Two hundred words are more than one dictionary of such keys holds.
    writer.write(&part(100)).unwrap();
    assert!(writer.finish().is_err());
    assert!(!path.exists());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn loss_is_measured_in_large_lists_of_vectors() {
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let values = Float32Array::from_iter_values((0..600).map(|i| i as f32 / 7.0));
    let vectors = FixedSizeListArray::new(Arc::clone(&item), 3, Arc::new(values), None);
    let inner = Arc::new(Field::new("item", vectors.data_type().clone(), false));
    let offsets = arrow::buffer::OffsetBuffer::<i64>::from_lengths([100, 0, 100]);
    let table = one(Arc::new(LargeListArray::new(
        inner,
        offsets,
        Arc::new(vectors),
        None,
    )));
    let options = WriteOptions {
        specs: vec![("c".to_owned(), "f16".to_owned())],
        ..WriteOptions::default()
    };
    let mut writer = Writer::in_memory(table.schema(), options).unwrap();
    writer.write(&table).unwrap();
    let file = File::from_bytes("late.pil", writer.into_bytes().unwrap()).unwrap();
    let loss = file.column(0).unwrap().lossiness.clone().unwrap();
    assert!(loss.measured_max > 0.0 && loss.measured_max < 0.1);
}

#[test]
fn the_order_of_a_dictionary_is_remembered() {
    let field = |ordered| {
        let coded = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
        Field::new("c", coded, true).with_dict_is_ordered(ordered)
    };
    for ordered in [true, false] {
        let array: DictionaryArray<Int8Type> = ["low", "high"].into_iter().collect();
        let schema = Arc::new(Schema::new(vec![field(ordered)]));
        let table = RecordBatch::try_new(schema, vec![Arc::new(array)]).unwrap();
        let bytes = stored(&table, Profile::Balanced, 2);
        let file = File::from_bytes("order.pil", bytes).unwrap();
        let schema = file.meta().schema().unwrap();
        assert_eq!(schema.field(0).dict_is_ordered(), Some(ordered));
    }
}
