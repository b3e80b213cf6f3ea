//! What other formats keep: tables go out and come in again with their types, values and bits, or are
//! refused by name.

use std::path::Path;
use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{Buffer, NullBuffer};
use arrow::datatypes::*;
use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_writer::{ArrowWriter, ArrowWriterOptions};
use parquet::arrow::{ArrowSchemaConverter, add_encoded_arrow_schema_to_metadata};
use parquet::data_type::{Int96, Int96Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use pilaster::file::{File, WriteOptions, Writer};
use pilaster::kind::tables::{ExportOptions, ImportOptions, export, import};

use crate::generate::{Rng, logical};
use crate::golden::read_all;
use crate::same::{same, settled};

fn table(array: &ArrayRef) -> RecordBatch {
    let nullable = array.is_nullable() || *array.data_type() == DataType::Null;
    let field = Field::new("c", array.data_type().clone(), nullable);
    RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![Arc::clone(array)]).unwrap()
}

fn write(path: &Path, table: &RecordBatch) {
    let mut writer = Writer::create(path, table.schema(), WriteOptions::default()).unwrap();
    writer.write(table).unwrap();
    writer.finish().unwrap();
}

/// Exports a column to a format and imports it again; an error says what refused it.
fn around(array: &ArrayRef, extension: &str) -> Result<ArrayRef, String> {
    let folder = tempfile::tempdir().unwrap();
    let [first, out, second] =
        ["a.pil", &format!("o.{extension}"), "b.pil"].map(|name| folder.path().join(name));
    let table = table(array);
    write(&first, &table);
    let text = |e: pilaster::Error| e.to_string();
    export(&first, &out, &ExportOptions::default(), &mut |_, _| ()).map_err(text)?;
    let options = ImportOptions::default();
    import(&[out], &second, &options, &mut |_| ()).map_err(text)?;
    let file = File::open(&second).unwrap();
    let schema = file.meta().schema().unwrap();
    assert_eq!(schema.field(0), table.schema().field(0));
    Ok(read_all(&file).unwrap().column(0).clone())
}

#[test]
fn columns_of_every_type_come_back_from_parquet_and_arrow() {
    let mut types = logical::flat_types();
    types.extend(logical::nested_types());
    let mut rng = Rng::new(3);
    for data_type in types {
        for nulls in [0.0, 0.3] {
            let array = logical::array(&data_type, 300, nulls, &mut rng);
            for extension in ["arrow", "arrows", "parquet"] {
                match around(&array, extension) {
                    Ok(read) => {
                        settled(&read).unwrap();
                        same(&array, &read)
                            .unwrap_or_else(|e| panic!("{extension}, {data_type}: {e}"));
                    }
                    Err(e) => assert!(
                        extension == "parquet" && e.contains("column 'c") && e.contains(".arrow"),
                        "{extension}, {data_type}: {e}"
                    ),
                }
            }
        }
    }
}

/// Values that Parquet has in a form of its own.
fn tame() -> Vec<ArrayRef> {
    let nulls = || Some(NullBuffer::from(vec![true, true, false, true]));
    let zones = [None, Some("UTC"), Some("Europe/Zurich"), Some("+05:30")];
    let seconds = vec![0, -86_400 * 800_000, i64::MAX, 1_700_000_000];
    let mut arrays: Vec<ArrayRef> = zones
        .into_iter()
        .map(|zone| {
            let array = TimestampSecondArray::new(seconds.clone().into(), nulls());
            Arc::new(array.with_timezone_opt(zone)) as ArrayRef
        })
        .collect();
    let times = vec![0, 86_399, i32::MAX, 5];
    let dates = vec![0, 86_400_000 * 19_000, 7, -86_400_000];
    let intervals = [
        (0, 0, 0),
        (14, 3, 5_000_000),
        (-1, -1, 1),
        (1, 0, u32::MAX.into()),
    ];
    let intervals = intervals.map(|(m, d, n): (i32, i32, i64)| {
        let n = if n > 10_000_000 { n * 1_000_000 } else { n };
        IntervalMonthDayNano::new(m, d, n)
    });
    arrays.push(Arc::new(Time32SecondArray::new(times.into(), nulls())));
    arrays.push(Arc::new(Date64Array::new(dates.into(), nulls())));
    arrays.push(Arc::new(IntervalMonthDayNanoArray::new(
        intervals.to_vec().into(),
        nulls(),
    )));
    let leaves = arrays.clone();
    for leaf in leaves {
        let item = |name: &str| Arc::new(Field::new(name, leaf.data_type().clone(), true));
        let structs = StructArray::new(vec![item("a")].into(), vec![Arc::clone(&leaf)], nulls());
        let offsets = arrow::buffer::OffsetBuffer::from_lengths([2, 0, 1, 1]);
        let list = ListArray::new(item("piece"), offsets, Arc::clone(&leaf), None);
        arrays.extend([Arc::new(structs) as ArrayRef, Arc::new(list)]);
        // Dictionaries of intervals are not stored.
        if !matches!(leaf.data_type(), DataType::Interval(_)) {
            let keys = Int16Array::from(vec![Some(0), None, Some(3), Some(0)]);
            arrays.push(Arc::new(DictionaryArray::new(keys, leaf)));
        }
    }
    arrays
}

#[test]
fn seconds_zones_days_and_intervals_come_back_from_parquet() {
    for array in tame() {
        let read = around(&array, "parquet");
        let read = read.unwrap_or_else(|e| panic!("{}: {e}", array.data_type()));
        same(&array, &read).unwrap_or_else(|e| panic!("{}: {e}", array.data_type()));
    }
}

#[test]
fn what_parquet_cannot_hold_is_refused_with_its_row() {
    let interval = |m, d, n| -> ArrayRef {
        let values = vec![
            IntervalMonthDayNano::new(1, 2, 3_000_000),
            IntervalMonthDayNano::new(m, d, n),
        ];
        Arc::new(IntervalMonthDayNanoArray::from(values))
    };
    let refused: Vec<ArrayRef> = vec![
        interval(-1, 0, 0),
        interval(0, -1, 0),
        interval(0, 0, 1),
        interval(0, 0, i64::MAX),
        Arc::new(TimestampSecondArray::from(vec![0, i64::MAX / 999])),
        Arc::new(Time32SecondArray::from(vec![0, i32::MAX])),
        Arc::new(Date64Array::from(vec![0, 1])),
    ];
    for array in refused {
        let error = around(&array, "parquet").unwrap_err();
        assert!(error.contains("column 'c', row 2: "), "{error}");
    }
    let array: ArrayRef = Arc::new(
        Decimal128Array::from(vec![5])
            .with_precision_and_scale(10, -2)
            .unwrap(),
    );
    let error = around(&array, "parquet").unwrap_err();
    assert!(
        error.contains("column 'c' has decimals of scale -2"),
        "{error}"
    );
}

/// A Parquet file whose column is declared as `declared`, with the Arrow schema `told` in its metadata.
fn parquet_file(
    path: &Path,
    table: &RecordBatch,
    declared: &DataType,
    told: Option<&DataType>,
    own: bool,
) {
    let with = |data_type: &DataType| {
        let field = table.schema().field(0).clone();
        Schema::new(vec![field.with_data_type(data_type.clone())])
    };
    let writer = if own { "pilaster version 1" } else { "another" };
    let mut properties = WriterProperties::builder()
        .set_created_by(writer.to_owned())
        .build();
    if let Some(told) = told {
        add_encoded_arrow_schema_to_metadata(&with(told), &mut properties);
    }
    let options = ArrowWriterOptions::new()
        .with_properties(properties)
        .with_parquet_schema(
            ArrowSchemaConverter::new()
                .convert(&with(declared))
                .unwrap(),
        )
        .with_skip_arrow_metadata(true);
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new_with_options(file, table.schema(), options).unwrap();
    writer.write(table).unwrap();
    writer.close().unwrap();
}

fn imported(path: &Path) -> Result<ArrayRef, String> {
    let target = path.with_extension("pil");
    let options = ImportOptions::default();
    import(&[path.to_owned()], &target, &options, &mut |_| ()).map_err(|e| e.to_string())?;
    let read = read_all(&File::open(&target).unwrap()).unwrap();
    Ok(read.column(0).clone())
}

#[test]
fn intervals_of_parquet_keep_all_their_parts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let words = |rows: &[[u32; 3]]| -> ArrayRef {
        let bytes: Vec<u8> = rows
            .iter()
            .flatten()
            .flat_map(|w| w.to_le_bytes())
            .collect();
        Arc::new(FixedSizeBinaryArray::new(12, Buffer::from_vec(bytes), None))
    };
    let declared = DataType::Interval(IntervalUnit::DayTime);
    let all = words(&[[1, 0, 0], [14, 3, 4_000_000_000]]);
    let first = |data_type: DataType| {
        let table = table(&all);
        parquet_file(&path, &table, &declared, Some(&data_type), false);
        imported(&path)
    };
    parquet_file(&path, &table(&all), &declared, None, false);
    let expected = IntervalMonthDayNanoArray::from(vec![
        IntervalMonthDayNano::new(1, 0, 0),
        IntervalMonthDayNano::new(14, 3, 4_000_000_000_000_000),
    ]);
    same(&expected, &imported(&path).unwrap()).unwrap();
    for unit in [IntervalUnit::DayTime, IntervalUnit::YearMonth] {
        let error = first(DataType::Interval(unit)).unwrap_err();
        assert!(
            error.contains("column 'c', row ") && error.contains("t.parquet"),
            "{error}"
        );
    }
    let many = words(&[[0, 0, 0], [1 << 31, 0, 0]]);
    parquet_file(&path, &table(&many), &declared, None, false);
    let error = imported(&path).unwrap_err();
    assert!(
        error.contains("column 'c', row 2: an interval has more than"),
        "{error}"
    );
}

/// Times as old writers store them: nanoseconds of the day, and the day since 1970.
pub(crate) fn old_times(path: &Path, times: &[Option<(u64, i32)>]) {
    let schema = parse_message_type("message m { optional int96 c; }").unwrap();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, Arc::new(schema), Default::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let levels: Vec<i16> = times.iter().map(|t| i16::from(t.is_some())).collect();
    let values: Vec<Int96> = times
        .iter()
        .flatten()
        .map(|(nanos, day)| {
            let mut value = Int96::new();
            value.set_data(
                *nanos as u32,
                (*nanos >> 32) as u32,
                (day + 2_440_588) as u32,
            );
            value
        })
        .collect();
    let typed = column.typed::<Int96Type>();
    typed.write_batch(&values, Some(&levels), None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
}

#[test]
fn old_times_are_exact_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    old_times(&path, &[Some((1_001, 1)), None, Some((0, -1))]);
    let nanos = TimestampNanosecondArray::from(vec![
        Some(86_400_000_001_001),
        None,
        Some(-86_400_000_000_000),
    ]);
    same(&nanos, &imported(&path).unwrap()).unwrap();
    // 9999-12-31 and 0001-01-01.
    let far = [Some((1_000, 2_932_896)), None, Some((0, -719_162))];
    old_times(&path, &far);
    let micros = TimestampMicrosecondArray::from(vec![
        Some(2_932_896 * 86_400_000_000 + 1),
        None,
        Some(-719_162 * 86_400_000_000),
    ]);
    same(&micros, &imported(&path).unwrap()).unwrap();
    old_times(&path, &[far[0], Some((1, 0))]);
    let error = imported(&path).unwrap_err();
    assert!(
        error.contains("column") && error.contains("INT96"),
        "{error}"
    );
}

#[test]
fn a_zone_is_kept_whatever_unit_a_writer_chose() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let stored: ArrayRef =
        Arc::new(TimestampMillisecondArray::from(vec![5_000, -1_000]).with_timezone("UTC"));
    let zone = |unit| DataType::Timestamp(unit, Some("Europe/Zurich".into()));
    let table = table(&stored);
    let declared = stored.data_type();
    parquet_file(&path, &table, declared, Some(&zone(TimeUnit::Second)), true);
    let seconds = TimestampSecondArray::from(vec![5, -1]).with_timezone("Europe/Zurich");
    same(&seconds, &imported(&path).unwrap()).unwrap();
    // As other writers' own readers have it.
    for unit in [TimeUnit::Second, TimeUnit::Nanosecond] {
        parquet_file(&path, &table, declared, Some(&zone(unit)), false);
        let read = imported(&path).unwrap();
        assert_eq!(*read.data_type(), zone(TimeUnit::Millisecond));
    }
    let broken: ArrayRef =
        Arc::new(TimestampMillisecondArray::from(vec![5_000, 1]).with_timezone("UTC"));
    parquet_file(
        &path,
        &self::table(&broken),
        declared,
        Some(&zone(TimeUnit::Second)),
        true,
    );
    let error = imported(&path).unwrap_err();
    assert!(
        error.contains("column 'c', row 2: 1 milliseconds are no whole seconds"),
        "{error}"
    );
}

#[test]
fn a_time_without_a_text_is_an_error_in_text_formats() {
    let far: Vec<ArrayRef> = vec![
        Arc::new(TimestampSecondArray::from(vec![0, i64::MAX])),
        Arc::new(TimestampMillisecondArray::from(vec![0, i64::MIN])),
        Arc::new(TimestampMicrosecondArray::from(vec![0, i64::MAX])),
        Arc::new(TimestampMicrosecondArray::from(vec![0, i64::MAX]).with_timezone("UTC")),
        Arc::new(Date32Array::from(vec![0, i32::MAX])),
        Arc::new(Date64Array::from(vec![0, i64::MIN])),
        Arc::new(Time32SecondArray::from(vec![0, 86_400])),
        Arc::new(Time64NanosecondArray::from(vec![0, -1])),
        Arc::new(DurationSecondArray::from(vec![0, i64::MAX])),
    ];
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("a.pil");
    for array in far {
        write(&source, &table(&array));
        for extension in ["csv", "jsonl"] {
            let target = folder.path().join(format!("o.{extension}"));
            let error = export(&source, &target, &ExportOptions::default(), &mut |_, _| ());
            let error = error.unwrap_err().to_string();
            assert!(
                error.contains("column 'c', row 2: "),
                "{extension}: {error}"
            );
            assert!(!target.exists());
        }
    }
    // Deep inside, too.
    let days: ArrayRef = Arc::new(Date32Array::from(vec![0, 1, i32::MAX]));
    let item = Arc::new(Field::new("item", DataType::Date32, true));
    let offsets = arrow::buffer::OffsetBuffer::from_lengths([2, 1]);
    write(
        &source,
        &table(&(Arc::new(ListArray::new(item, offsets, days, None)) as ArrayRef)),
    );
    let target = folder.path().join("o.jsonl");
    let error = export(&source, &target, &ExportOptions::default(), &mut |_, _| ());
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("column 'c', row 2: ")
    );
}

#[test]
fn text_formats_never_hold_an_error() {
    let mut types = logical::flat_types();
    types.extend(logical::nested_types());
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("a.pil");
    let mut rng = Rng::new(11);
    for data_type in types {
        write(
            &source,
            &table(&logical::array(&data_type, 200, 0.2, &mut rng)),
        );
        for extension in ["csv", "jsonl"] {
            let target = folder.path().join(format!("o.{extension}"));
            match export(&source, &target, &ExportOptions::default(), &mut |_, _| ()) {
                Ok(_) => {
                    let bytes = std::fs::read(&target).unwrap();
                    let text = String::from_utf8_lossy(&bytes);
                    for word in ["ERROR", "<invalid>", "Cast error"] {
                        assert!(!text.contains(word), "{extension}, {data_type}");
                    }
                }
                Err(e) => assert!(e.to_string().contains("column 'c'"), "{extension}: {e}"),
            }
        }
    }
}
