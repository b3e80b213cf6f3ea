//! CSV read as tables, from texts.

use std::io::Write;
use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;

use super::super::{Input, Source, SourceOptions};
use super::*;

fn open_with(text: &[u8], options: CsvOptions) -> Result<CsvSource> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    std::fs::File::create(&path)
        .unwrap()
        .write_all(text)
        .unwrap();
    let options = SourceOptions {
        csv: options,
        ..SourceOptions::default()
    };
    CsvSource::open(vec![Input::open(&path)?], &options, &mut |_, _| ())
}

fn open(text: &str) -> Result<CsvSource> {
    open_with(text.as_bytes(), CsvOptions::default())
}

/// The one column of a text whose cells are given.
fn column(cells: &[&str]) -> (DataType, Style, ArrayRef) {
    let text = format!(
        "c,x\n{}\n",
        cells.iter().map(|c| format!("{c},y\n")).collect::<String>()
    );
    let source = open(&text).unwrap();
    let field = source.schema().field(0).clone();
    let words = field.metadata().get(STYLE_KEY).cloned().unwrap_or_default();
    let batches: Vec<RecordBatch> = source.map(|b| b.unwrap()).collect();
    (
        field.data_type().clone(),
        Style::from_words(&words),
        Arc::clone(batches[0].column(0)),
    )
}

fn type_of(cells: &[&str]) -> DataType {
    column(cells).0
}

#[test]
fn a_column_gets_the_narrowest_type_that_prints_back() {
    use DataType::*;
    let cases: &[(&[&str], DataType)] = &[
        (&["1", "-2", "9223372036854775807"], Int64),
        (&["1", "9223372036854775808"], UInt64),
        (&["-1", "9223372036854775808"], Decimal128(19, 0)),
        (
            &["1", "99999999999999999999999999999999999999"],
            Decimal128(38, 0),
        ),
        (&["1", "999999999999999999999999999999999999999"], Utf8),
        (&["1.10", "2.25"], Decimal128(3, 2)),
        (&["0.00", "-0.05"], Decimal128(2, 2)),
        (&["1.5", "2.0"], Float64),
        (&["1.5", "2"], Float64),
        (&["1.5", "2.25", "NaN"], Float64),
        (&["1.5", "2.25", "1e-05"], Float64),
        (&["0.30000000000000004", "0.1"], Float64),
        (&["0.300000000000000041", "0.1"], Utf8),
        (&["1.10", "1.1"], Utf8),
        (&["1.0", "1"], Utf8),
        (&["1e5", "2"], Utf8),
        (&["0.00001", "1e-05"], Utf8),
        (&["007", "8"], Utf8),
        (&["+5"], Utf8),
        (&["-0", "1"], Float64),
        (&["-0.0", "1.0"], Float64),
        (&[" 5"], Utf8),
        (&["5 "], Utf8),
        (&["0x1F"], Utf8),
        (&["1_000"], Utf8),
        (&["2024-01-31", "1969-12-31"], Date32),
        (&["2024-01-31", "2024-02-30"], Utf8),
        (&["2024-01-31", "5"], Utf8),
        (
            &["2024-01-31 10:00:00", "2024-01-31 10:00:01"],
            Timestamp(TimeUnit::Second, None),
        ),
        (&["2024-01-31 10:00:00", "2024-01-31T10:00:01"], Utf8),
        (
            &["2024-01-31T10:00:00.5Z"],
            Timestamp(TimeUnit::Millisecond, Some("+00:00".into())),
        ),
        (&["2024-01-31T10:00:00.5Z", "2024-01-31T10:00:00Z"], Utf8),
        (&["true", "false"], Boolean),
        (&["True", "False"], Boolean),
        (&["True", "false"], Utf8),
        (&["true", "1"], Utf8),
        (&["", ""], Utf8),
    ];
    for (cells, expected) in cases {
        assert_eq!(type_of(cells), *expected, "{cells:?}");
    }
}

#[test]
fn nothing_is_null_and_quotes_are_the_empty_string() {
    let (data_type, _, array) = column(&["a", "", "\"\""]);
    assert_eq!(data_type, DataType::Utf8);
    let expected = StringArray::from(vec![Some("a"), None, Some("")]);
    assert_eq!(array.as_ref(), &expected as &dyn Array);

    // Quoted empties in a column of numbers are its nulls, unless both occur.
    let (data_type, style, array) = column(&["1", "\"\""]);
    assert_eq!(
        (data_type, style.missing),
        (DataType::Int64, Missing::QuotedEmpty)
    );
    assert_eq!(array.null_count(), 1);
    assert_eq!(type_of(&["1", "\"\"", ""]), DataType::Utf8);
}

#[test]
fn one_missing_word_is_null_among_numbers_and_two_are_text() {
    let (data_type, style, array) = column(&["1", "NA", "3"]);
    assert_eq!(data_type, DataType::Int64);
    assert_eq!(style.to_words(), "null=NA");
    assert_eq!(array.null_count(), 1);
    assert_eq!(type_of(&["1", "NA", ""]), DataType::Utf8);
    assert_eq!(type_of(&["1", "NA", "?"]), DataType::Utf8);
    assert_eq!(type_of(&["NA", "NA"]), DataType::Utf8);
    // As R writes it.
    let (data_type, style, array) = column(&["\"x\"", "NA", "\"NA\""]);
    assert_eq!(
        (data_type, style.to_words().as_str()),
        (DataType::Utf8, "null=NA quoted")
    );
    let expected = StringArray::from(vec![Some("x"), None, Some("NA")]);
    assert_eq!(array.as_ref(), &expected as &dyn Array);
    let (_, style, array) = column(&["\"x\"", "NA", "", "\"NA\""]);
    assert!(!style.quoted);
    assert_eq!(array.null_count(), 1);
}

#[test]
fn names_are_kept_or_refused() {
    let source = open("a,,c d,\n1,2,3,4\n").unwrap();
    let names: Vec<_> = source
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();
    assert_eq!(names, ["a", "column_2", "c d", "column_4"]);
    assert_eq!(source.schema().field(1).metadata()[STYLE_KEY], "unnamed");
    let error = open("x,y,x\n1,2,3\n").err().unwrap().to_string();
    assert!(
        error.contains("line 1: columns 1 and 3 are both named 'x'"),
        "{error}"
    );
}

#[test]
fn a_line_with_the_same_number_twice_is_a_row() {
    let first = |text: &str| open(text).map(|s| (s.header, s.schema().field(0).name().clone()));
    let row = (false, "column_1".to_owned());
    assert_eq!(first("1,0.5,0.5\n2,0.5,7\n").unwrap(), row);
    assert_eq!(first("-1,,,a,b,-1\n").unwrap(), row);
    // Names, even if some of them are numbers.
    let names = (true, "year".to_owned());
    assert_eq!(first("year,2019,2020\n1,2,3\n").unwrap(), names);
    assert_eq!(first("year,\"1\",\"2\"\n1,1,1\n").unwrap(), names);
    // What is said counts.
    let options = CsvOptions {
        header: Some(true),
        ..CsvOptions::default()
    };
    let error = open_with(b"1,1\n2,3\n", options).err().unwrap();
    assert!(error.to_string().contains("--no-header"), "{error}");
}

#[test]
fn ragged_rows_are_refused_with_their_place() {
    for (text, place) in [
        ("a,b\n1,2\n3\n", "line 3, column 2"),
        ("a,b\n1,2,3\n", "line 2, column 3"),
        ("a,b\n\"x\ny\",2\n\n1\n", "line 5, column 2"),
    ] {
        let error = open(text).err().unwrap().to_string();
        assert!(error.contains(place), "{error}");
    }
}

#[test]
fn bad_utf8_makes_its_column_binary() {
    let source = open_with(b"a,b\nx,\xff\ny,z\n", CsvOptions::default()).unwrap();
    let types: Vec<_> = source
        .schema()
        .fields()
        .iter()
        .map(|f| f.data_type().clone())
        .collect();
    assert_eq!(types, [DataType::Utf8, DataType::Binary]);
    let batch = source.map(|b| b.unwrap()).next().unwrap();
    assert_eq!(batch.column(1).as_binary::<i32>().value(0), b"\xff");
}

#[test]
fn the_dialect_is_kept() {
    let source = open("\u{feff}a;b\r\n1,5;2\r\n3,5;4").unwrap();
    assert_eq!(
        source.schema().metadata()[STYLE_KEY],
        "delimiter=; crlf bom open-end"
    );
    assert_eq!(source.schema().field(0).name(), "a");
    let options = CsvOptions {
        header: Some(false),
        delimiter: Some(b'x'),
    };
    let source = open_with(b"1x2\n3x4\n", options).unwrap();
    assert_eq!(
        source.schema().metadata()[STYLE_KEY],
        "delimiter=x no-header"
    );
    assert_eq!(source.map(|b| b.unwrap().num_rows()).sum::<usize>(), 2);
    let source = open("a,b\r1,2\r").unwrap();
    assert_eq!(source.schema().metadata()[STYLE_KEY], "cr");
}

#[test]
fn small_and_strange_files() {
    assert!(open("").err().unwrap().to_string().contains("is empty"));
    let source = open("a,b\n").unwrap();
    assert_eq!(source.schema().fields().len(), 2);
    assert_eq!(source.count(), 0);
    // Blank lines are rows of a single column only.
    let rows = |text: &str| {
        open(text)
            .unwrap()
            .map(|b| b.unwrap().num_rows())
            .sum::<usize>()
    };
    assert_eq!(rows("a\n1\n\n3\n"), 3);
    assert_eq!(rows("\na,b\n1,2\n\n3,4\n\n"), 2);
    let wide: String = (0..2_000).map(|i| format!("c{i},")).collect();
    assert_eq!(rows(&format!("{wide}z\n{}0\n", "1,".repeat(2_000))), 1);
    let long = "x".repeat(10 << 20);
    let source = open(&format!("a,b\n\"{long}\"\"\",1\n")).unwrap();
    let batch = source.map(|b| b.unwrap()).next().unwrap();
    assert_eq!(
        batch.column(0).as_string::<i32>().value(0).len(),
        (10 << 20) + 1
    );
}

#[test]
fn numbers_next_to_zero_keep_their_digits() {
    let tiny = format!("0.{}1", "0".repeat(330));
    let subnormal = format!("0.{}12345", "0".repeat(319));
    for cell in [tiny, subnormal] {
        let (data_type, _, values) = column(&[&cell]);
        assert_eq!(data_type, DataType::Utf8);
        assert_eq!(values.as_string::<i32>().value(0), cell);
    }
}

#[test]
fn floats_between_two_shortest_decimals_are_floats_in_either_spelling() {
    for (cells, data_type) in [
        (
            ["100.16116333007812", "12.547256469726562"],
            DataType::Float64,
        ),
        (
            ["100.16116333007813", "12.547256469726563"],
            DataType::Float64,
        ),
        (["100.16116333007812", "12.547256469726563"], DataType::Utf8),
    ] {
        assert_eq!(column(&cells).0, data_type, "{cells:?}");
    }
}
