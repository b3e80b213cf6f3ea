//! CSV out. A column that came from CSV prints its own text back; others print as CSV would be read
//! again: null as nothing, the empty string as `""`, floats in their shortest form, times in ISO 8601.

use std::io::Write;

use arrow::array::*;
use arrow::compute::cast;
use arrow::datatypes::*;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::super::source::csv::cell::{print_boolean, print_date, print_timestamp, ticks};
use super::super::source::csv::{Dialect, Missing, STYLE_KEY, Style, TimeForm, Zone, missing_word};
use super::super::source::number::print_float;
use super::{INVALID, Sink, failed, unprintable};
use crate::error::{Error, Result};

/// Bytes that are gathered before they are written.
const GATHER: usize = 64 << 10;

/// Writes a row a line.
pub struct CsvSink<W: Write> {
    out: W,
    dialect: Dialect,
    styles: Vec<Style>,
    gathered: Vec<u8>,
    /// A newline that is owed before the next line.
    owed: bool,
    names: Vec<String>,
    rows: u64,
}

impl<W: Write> CsvSink<W> {
    /// Begins a file in the dialect and styles of the schema's metadata; refuses nested columns.
    pub fn new(schema: &SchemaRef, out: W) -> Result<Self> {
        for field in schema.fields() {
            if nested(field.data_type()) {
                return Err(Error::invalid(format!(
                    "column '{}' has type {}, which CSV cannot hold; write .jsonl, .parquet or \
                     .arrow, or select its parts with `pilaster sql`",
                    field.name(),
                    field.data_type()
                )));
            }
        }
        let words = |metadata: &std::collections::HashMap<String, String>| {
            metadata.get(STYLE_KEY).cloned().unwrap_or_default()
        };
        let dialect = Dialect::from_words(&words(schema.metadata()));
        let styles = schema
            .fields()
            .iter()
            .map(|f| Style::from_words(&words(f.metadata())));
        let mut sink = Self {
            out,
            dialect,
            styles: styles.collect(),
            gathered: Vec::new(),
            owed: false,
            names: schema.fields().iter().map(|f| f.name().clone()).collect(),
            rows: 0,
        };
        if dialect.mark {
            sink.gathered.extend_from_slice(b"\xef\xbb\xbf");
        }
        if dialect.header {
            for (i, field) in schema.fields().iter().enumerate() {
                let start = sink.begin(i);
                if !sink.styles[i].unnamed {
                    let name = field.name();
                    sink.gathered.extend_from_slice(name.as_bytes());
                    // A name must not be taken for a byte-order mark.
                    let force = dialect.quoted_names || name.starts_with('\u{feff}');
                    sink.close(start, &Style::default(), force);
                } else if dialect.quoted_names {
                    sink.gathered.extend_from_slice(b"\"\"");
                }
            }
            sink.owed = true;
        }
        Ok(sink)
    }

    /// The delimiter or newline before a cell; returns where the cell begins.
    fn begin(&mut self, column: usize) -> usize {
        if column > 0 {
            self.gathered.push(self.dialect.delimiter);
        }
        self.gathered.len()
    }

    /// Quotes the cell that was just printed, if it needs quotes.
    fn close(&mut self, start: usize, style: &Style, force: bool) {
        let cell = &self.gathered[start..];
        let special = |b: &u8| matches!(*b, b'"' | b'\n' | b'\r') || *b == self.dialect.delimiter;
        let needs = force
            || style.quoted
            || cell.is_empty()
            || cell.iter().any(special)
            || matches!(style.missing, Missing::Word(w) if missing_word(w).as_bytes() == cell);
        if !needs {
            return;
        }
        if cell.contains(&b'"') {
            let doubled: Vec<u8> = cell
                .iter()
                .flat_map(|b| std::iter::repeat_n(*b, 1 + usize::from(*b == b'"')))
                .collect();
            self.gathered.truncate(start);
            self.gathered.extend_from_slice(&doubled);
        }
        self.gathered.insert(start, b'"');
        self.gathered.push(b'"');
    }

    fn null(&mut self, style: &Style) {
        match style.missing {
            Missing::Empty => {}
            Missing::QuotedEmpty => self.gathered.extend_from_slice(b"\"\""),
            Missing::Word(w) => self.gathered.extend_from_slice(missing_word(w).as_bytes()),
            Missing::QuotedWord(w) => {
                self.gathered.push(b'"');
                self.gathered.extend_from_slice(missing_word(w).as_bytes());
                self.gathered.push(b'"');
            }
        }
    }

    fn spill(&mut self) -> Result<()> {
        self.out.write_all(&self.gathered).map_err(failed)?;
        self.gathered.clear();
        Ok(())
    }
}

impl<W: Write> Sink for CsvSink<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let arrays = batch
            .columns()
            .iter()
            .map(flat)
            .collect::<Result<Vec<_>>>()?;
        let mut printers = Vec::with_capacity(arrays.len());
        for (array, style) in arrays.iter().zip(&self.styles) {
            printers.push((array, printer(array, *style)?));
        }
        for row in 0..batch.num_rows() {
            if self.owed {
                self.gathered.extend_from_slice(self.dialect.newline());
            }
            for (i, (array, print)) in printers.iter().enumerate() {
                let style = self.styles[i];
                let start = self.begin(i);
                if array.is_null(row) {
                    self.null(&style);
                } else {
                    if !print(&mut self.gathered, row) {
                        return Err(unprintable(&self.names[i], self.rows));
                    }
                    self.close(start, &style, false);
                }
            }
            self.owed = true;
            self.rows += 1;
            if self.gathered.len() >= GATHER {
                self.spill()?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        if self.owed && !self.dialect.open_end {
            self.gathered.extend_from_slice(self.dialect.newline());
        }
        self.spill()?;
        self.out.flush().map_err(failed)
    }
}

fn nested(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => nested(values),
        DataType::RunEndEncoded(_, values) => nested(values.data_type()),
        other => other.is_nested(),
    }
}

/// An array without dictionary, views or large offsets, and with logical nulls in place.
fn flat(array: &ArrayRef) -> Result<ArrayRef> {
    let to = match array.data_type() {
        DataType::Dictionary(_, values) => values.as_ref().clone(),
        DataType::RunEndEncoded(_, values) => values.data_type().clone(),
        DataType::Null => DataType::Utf8,
        _ => return Ok(std::sync::Arc::clone(array)),
    };
    flat(&cast(array, &to)?)
}

/// Appends the cell of a row; false if it has no text.
type Print<'a> = Box<dyn Fn(&mut Vec<u8>, usize) -> bool + 'a>;

/// Prints whole numbers of a type.
fn whole<'a, T>(array: &'a ArrayRef) -> Print<'a>
where
    T: ArrowPrimitiveType,
    T::Native: std::fmt::Display,
{
    let array = array.as_primitive::<T>();
    // Writing to a vector cannot fail.
    Box::new(move |out, row| write!(out, "{}", array.value(row)).is_ok())
}

/// How the cells of an array print.
fn printer<'a>(array: &'a ArrayRef, style: Style) -> Result<Print<'a>> {
    use DataType::*;
    Ok(match array.data_type() {
        Boolean => {
            let array = array.as_boolean();
            Box::new(move |out, row| {
                print_boolean(out, array.value(row), style.boolean);
                true
            })
        }
        Int8 => whole::<Int8Type>(array),
        Int16 => whole::<Int16Type>(array),
        Int32 => whole::<Int32Type>(array),
        Int64 => whole::<Int64Type>(array),
        UInt8 => whole::<UInt8Type>(array),
        UInt16 => whole::<UInt16Type>(array),
        UInt32 => whole::<UInt32Type>(array),
        UInt64 => whole::<UInt64Type>(array),
        Float32 => whole::<Float32Type>(array),
        Float64 => {
            let array = array.as_primitive::<Float64Type>();
            Box::new(move |out, row| {
                print_float(out, array.value(row), style.float);
                true
            })
        }
        Date32 => {
            let array = array.as_primitive::<Date32Type>();
            Box::new(move |out, row| print_date(out, i64::from(array.value(row))))
        }
        Timestamp(unit, zone) => times(array, *unit, zone.as_deref(), style),
        Utf8 => bytes(array.as_string::<i32>()),
        LargeUtf8 => bytes(array.as_string::<i64>()),
        Binary => bytes(array.as_binary::<i32>()),
        LargeBinary => bytes(array.as_binary::<i64>()),
        Utf8View => {
            let array = array.as_string_view();
            Box::new(move |out, row| {
                out.extend_from_slice(array.value(row).as_bytes());
                true
            })
        }
        BinaryView => {
            let array = array.as_binary_view();
            Box::new(move |out, row| {
                out.extend_from_slice(array.value(row));
                true
            })
        }
        _ => {
            let formatter = ArrayFormatter::try_new(array, &FormatOptions::new())?;
            Box::new(move |out, row| match formatter.value(row).try_to_string() {
                Ok(cell) if cell != INVALID => {
                    out.extend_from_slice(cell.as_bytes());
                    true
                }
                _ => false,
            })
        }
    })
}

fn bytes<T: ByteArrayType>(array: &GenericByteArray<T>) -> Print<'_> {
    Box::new(move |out, row| {
        let value: &[u8] = array.value(row).as_ref();
        out.extend_from_slice(value);
        true
    })
}

/// Prints timestamps in the column's form, or in the one that its unit asks for.
fn times<'a>(array: &'a ArrayRef, unit: TimeUnit, zone: Option<&str>, style: Style) -> Print<'a> {
    let fraction = match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    };
    let per_second = ticks(fraction);
    let form = match style.time {
        Some(form) if ticks(form.fraction) == per_second => form,
        _ => TimeForm {
            space: false,
            seconds: true,
            fraction,
            zone: match zone {
                Some(_) => Zone::Utc,
                None => Zone::None,
            },
        },
    };
    let value: Box<dyn Fn(usize) -> i64 + 'a> = match unit {
        TimeUnit::Second => {
            let array = array.as_primitive::<TimestampSecondType>();
            Box::new(move |row| array.value(row))
        }
        TimeUnit::Millisecond => {
            let array = array.as_primitive::<TimestampMillisecondType>();
            Box::new(move |row| array.value(row))
        }
        TimeUnit::Microsecond => {
            let array = array.as_primitive::<TimestampMicrosecondType>();
            Box::new(move |row| array.value(row))
        }
        TimeUnit::Nanosecond => {
            let array = array.as_primitive::<TimestampNanosecondType>();
            Box::new(move |row| array.value(row))
        }
    };
    Box::new(move |out, row| print_timestamp(out, value(row), per_second, &form))
}

#[cfg(test)]
mod tests {
    use super::super::super::source::csv::{CsvOptions, CsvSource};
    use super::super::super::source::{Input, Source, SourceOptions};
    use super::*;

    /// A text, read and written again.
    fn again(text: &str, header: bool) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, text).unwrap();
        let csv = CsvOptions {
            header: Some(header),
            delimiter: None,
        };
        let input = vec![Input::open(&path).unwrap()];
        let options = SourceOptions {
            csv,
            ..SourceOptions::default()
        };
        let source = CsvSource::open(input, &options, &mut |_, _| ()).unwrap();
        let mut out = Vec::new();
        let mut sink = Box::new(CsvSink::new(&source.schema(), &mut out).unwrap());
        for batch in source {
            sink.write(&batch.unwrap()).unwrap();
        }
        sink.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn csv_comes_back_byte_for_byte() {
        for text in [
            "a,b\n1,x\n2,y\n",
            "a;b\r\n1,50;007\r\n2,25;8\r\n",
            "id,price,when,ok\n1,1.10,2024-01-31T10:00:00.5Z,True\n2,2.25,2024-01-31T10:00:01.0Z,False\n",
            "a,,c\n,\"\",x\n1,,\n",
            "a,b\n1,NA\n2,3\n",
            "a,b\n1,\"\"\n2,3\n",
            "x,y\n1.0,1e-05\n2.5,0.1\nNaN,1e+16\n",
            "x\n100.16116333007812\n0.5\n",
            "x\n100.16116333007813\n0.5\n",
            "x\n100.16116333007812\n12.547256469726563\n",
            "\u{feff}a,b\n1,2",
            "\"a,b\",\"c\"\"d\"\n\"x\ny\",z\n",
            "a\n1\n\n3\n",
            "d,t\n2024-02-29,2024-02-29 10:00-05:30\n,2024-03-01 00:00-05:30\n",
            "n\n340282366920938463463374607431768211455\n",
            "n\n18446744073709551615\n0\n",
            "k,s\n1,\"x\"\n2,NA\n3,\"NA\"\n",
            "\"a\",\"b\"\n\"1\",\"x\"\n\"NULL\",\"y\"\n",
            "a,b\n1,x\n\"NULL\",y\n",
            "\"a\"\n\"1\"\n\"NA\"\nNA\n",
            "\"a\",\"b\"\n\"1\",\"x\"\nNULL,\"y\"\n",
            "a,b\n2024-01-01,x\n\"\\N\",y\n",
            "a\tb\nx,y\tz\n",
            "a,b\r1,2\r",
            "\"\",\"b\"\n\"1\",2\n",
            "a,b\n",
        ] {
            assert_eq!(again(text, true), text);
        }
        assert_eq!(again("1,2\n3,4\n", false), "1,2\n3,4\n");
        assert_eq!(again("\n5\n\n", false), "\n5\n\n");
    }

    #[test]
    fn nested_columns_are_refused_with_a_remedy() {
        let field = Field::new("tags", DataType::new_list(DataType::Utf8, true), true);
        let schema = std::sync::Arc::new(Schema::new(vec![field]));
        let error = CsvSink::new(&schema, Vec::new()).err().unwrap().to_string();
        assert!(
            error.contains("column 'tags'") && error.contains(".jsonl"),
            "{error}"
        );
    }
}
