//! Parquet in SQL, held against the same rows in memory and against what was written.

use arrow::array::*;
use arrow::datatypes::{DataType, TimeUnit};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ARROW_SCHEMA_META_KEY, ArrowWriter, encode_arrow_schema};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use super::*;

fn store(folder: &Folder, name: &str, batch: &RecordBatch) -> String {
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(1000));
    let file = std::fs::File::create(folder.path(name)).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties.build())).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    folder.sql(name)
}

#[tokio::test]
async fn row_groups_are_left_out_only_where_a_cast_keeps_the_order() {
    // Every row group begins in the evening and ends in the morning.
    let seconds: Vec<i64> = (0..20_000).map(|i| 79_200 + (i % 1000) * 40).collect();
    let t: ArrayRef = Arc::new(TimestampMillisecondArray::from_iter_values(
        seconds.iter().map(|s| s * 1000),
    ));
    let i: ArrayRef = Arc::new(Int64Array::from_iter_values((0..20_000).map(|i| i % 3 - 1)));
    let batch = RecordBatch::try_from_iter([("t", t), ("i", i)]).unwrap();
    let folder = Folder::new();
    let file = store(&folder, "t.parquet", &batch);
    let ours = session(1);
    memory_table(&ours, "m", &[batch]);
    for condition in [
        "CAST(t AS TIME) = TIME '00:00:00'",
        "CAST(t AS TIME) < TIME '05:00:00'",
        "CAST(i AS BOOLEAN) = false",
        "TRY_CAST(i AS BOOLEAN) = false",
    ] {
        let ask = |table: &str| format!("SELECT count(*) FROM {table} WHERE {condition}");
        let (a, b) = (
            number(&ours, &ask(&file)).await,
            number(&ours, &ask("m")).await,
        );
        assert!(a == b && a > 0, "{condition}: {a}, not {b}");
    }
}

#[tokio::test]
async fn seconds_keep_the_zone_that_they_were_written_with() {
    // An hour before and after midnight in Berlin, where clocks are an hour ahead.
    let instants = vec![
        1_700_000_000 / 86_400 * 86_400 + 22 * 3600 - 1,
        1_700_000_000 / 86_400 * 86_400 + 23 * 3600,
    ];
    let zone: Arc<str> = "Europe/Berlin".into();
    let batch = |unit: TimeUnit| {
        let zoned = DataType::Timestamp(unit, Some(Arc::clone(&zone)));
        let instants: ArrayRef = Arc::new(TimestampSecondArray::from(instants.clone()));
        let z = arrow::compute::cast(&instants, &DataType::Timestamp(unit, None)).unwrap();
        let z = z.to_data().into_builder().data_type(zoned.clone());
        let z = make_array(z.build().unwrap());
        let offsets = arrow::buffer::OffsetBuffer::from_lengths([1, 1]);
        let element = Arc::new(arrow::datatypes::Field::new("item", zoned, true));
        let n = ListArray::new(element, offsets, Arc::clone(&z), None);
        RecordBatch::try_from_iter([("z", z), ("n", Arc::new(n) as ArrayRef)]).unwrap()
    };
    // As C++ and Python write it: milliseconds, and a schema that says seconds.
    let told = encode_arrow_schema(&batch(TimeUnit::Second).schema());
    let told = KeyValue::new(ARROW_SCHEMA_META_KEY.to_owned(), told);
    let properties = WriterProperties::builder().set_key_value_metadata(Some(vec![told]));
    let options = ArrowWriterOptions::new()
        .with_properties(properties.build())
        .with_skip_arrow_metadata(true);
    let stored = batch(TimeUnit::Millisecond);
    let folder = Folder::new();
    let to = std::fs::File::create(folder.path("z.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new_with_options(to, stored.schema(), options).unwrap();
    writer.write(&stored).unwrap();
    writer.close().unwrap();
    let file = folder.sql("z.parquet");
    let ours = session(1);
    let answer = run(
        &ours,
        &format!("SELECT z, n[1], min(z) OVER () FROM {file}"),
    )
    .await;
    let zoned = DataType::Timestamp(TimeUnit::Millisecond, Some(zone));
    for field in answer[0].schema().fields() {
        assert_eq!(*field.data_type(), zoned, "{}", field.name());
    }
    let one = |sql: &str| sql.replace("FILE", &file);
    for (sql, wanted) in [
        ("SELECT count(DISTINCT CAST(z AS DATE)) FROM FILE", 2),
        (
            "SELECT count(*) FROM FILE WHERE CAST(z AS TIME) = TIME '00:00:00'",
            1,
        ),
        ("SELECT date_part('hour', max(z)) FROM FILE", 0),
        (
            "SELECT count(*) FROM FILE WHERE z >= TIMESTAMPTZ '2023-11-14T23:00:00Z'",
            1,
        ),
        (
            "SELECT count(*) FROM FILE WHERE date_part('hour', n[1]) = 0",
            1,
        ),
    ] {
        assert_eq!(number(&ours, &one(sql)).await, wanted, "{sql}");
    }
}

#[tokio::test]
async fn intervals_are_refused_by_name() {
    let years = IntervalYearMonthArray::from(vec![14]);
    let a: ArrayRef = Arc::new(Int64Array::from(vec![7]));
    let years: ArrayRef = Arc::new(years);
    let batch =
        RecordBatch::try_from_iter_with_nullable([("a", a, true), ("i", years, true)]).unwrap();
    let folder = Folder::new();
    let file = store(&folder, "i.parquet", &batch);
    let ours = session(1);
    assert_eq!(number(&ours, &format!("SELECT a FROM {file}")).await, 7);
    assert_eq!(
        number(&ours, &format!("SELECT count(*) FROM {file}")).await,
        1
    );
    for sql in [
        format!("SELECT * FROM {file}"),
        format!("SELECT a FROM {file} WHERE i IS NOT NULL"),
    ] {
        let message = error(&ours, &sql).await;
        for part in ["i.parquet", "'i'", "import"] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
    let declared = format!(
        "CREATE EXTERNAL TABLE declared (a BIGINT, i INTERVAL) STORED AS PARQUET LOCATION {file}"
    );
    run(&ours, &declared).await;
    let message = error(&ours, "SELECT i FROM declared").await;
    assert!(message.contains("'i'"), "{message}");
}

#[tokio::test]
async fn old_times_that_nanoseconds_would_change_are_refused() {
    let folder = Folder::new();
    let file = folder.sql("t.parquet");
    let ours = session(1);
    let sql = format!("SELECT c FROM {file} ORDER BY c");
    crate::exchange::old_times(&folder.path("t.parquet"), &[Some((1_001, 1)), None]);
    let near = rows(&ours, &format!("SELECT CAST(c AS BIGINT) FROM {file}")).await;
    assert_eq!(near, ["86400000001001", "NULL"]);
    // 9999-12-31.
    crate::exchange::old_times(&folder.path("u.parquet"), &[Some((1_000, 2_932_896)), None]);
    let (file, sql) = (
        folder.sql("u.parquet"),
        sql.replace("t.parquet", "u.parquet"),
    );
    let message = error(&ours, &sql).await;
    for part in ["u.parquet", "'c'", "INT96", "import", "coerce_int96"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert_eq!(
        number(&ours, &format!("SELECT count(*) FROM {file}")).await,
        2
    );
    run(
        &ours,
        "SET datafusion.execution.parquet.coerce_int96 = 'us'",
    )
    .await;
    let far = rows(&ours, &format!("SELECT CAST(c AS BIGINT) FROM {file}")).await;
    assert_eq!(far, ["253402214400000001", "NULL"]);
}
