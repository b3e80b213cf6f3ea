//! JSON lines: one object a line, one column for each name.
//!
//! A first pass over all lines finds one type for each place. Numbers are Int64, UInt64 or Float64,
//! however they are spelled: it is the number that comes back, not its spelling. Where these would lose
//! digits (integers beyond 64 bits, fractions of more digits than floats have, large integers beside
//! fractions), numbers are decimals of one scale. Text keeps the digits of integers for which even 76
//! digits do not suffice; fractions for which they do not become the nearest floats. A place that holds
//! two kinds of values is refused with its line. A name that a line does not have is null, like one whose
//! value is null.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::json::ReaderBuilder;
use arrow::json::reader::Decoder;
use arrow::record_batch::RecordBatch;

use super::csv::RECORD_LIMIT;
use super::json_shape::{Members, Walk};
use super::{BATCH_BYTES, BATCH_ROWS, Input, Scanning, Source};
use crate::error::{Error, Result};

/// One or more JSON-lines files as one table.
pub(crate) struct JsonSource {
    inputs: Vec<Input>,
    schema: SchemaRef,
    decoder: Decoder,
    /// What lines hold that no first pass has seen.
    check: Option<Members>,
    current: Option<Lines>,
    begun: usize,
    finished: u64,
    failed: bool,
}

/// The lines of one input, counted.
struct Lines {
    name: String,
    input: BufReader<File>,
    line: u64,
    consumed: u64,
    bytes: Vec<u8>,
}

impl Lines {
    fn open(input: &Input) -> Result<Self> {
        let mut lines = Self {
            name: input.name().to_owned(),
            input: BufReader::with_capacity(256 << 10, input.rewind()?),
            line: 0,
            consumed: 0,
            bytes: Vec::new(),
        };
        let marked = match lines.input.fill_buf() {
            Ok(head) => head.starts_with(b"\xef\xbb\xbf"),
            Err(e) => return Err(lines.failed(e)),
        };
        if marked {
            lines.input.consume(3);
            lines.consumed = 3;
        }
        Ok(lines)
    }

    fn failed(&self, e: std::io::Error) -> Error {
        Error::io(format!("cannot read {}", self.name), e)
    }

    /// Adds the line to what is known of the members.
    fn walk(&self, members: &mut Members, vectors: bool) -> Result<()> {
        let text = std::str::from_utf8(&self.bytes).map_err(|e| {
            Error::invalid(format!(
                "{}, line {}, byte {}: not UTF-8, which JSON has to be",
                self.name,
                self.line,
                e.valid_up_to() + 1
            ))
        })?;
        Walk::line(text, members, vectors).map_err(|e| {
            Error::invalid(format!(
                "{}, line {}, byte {}: {}",
                self.name,
                self.line,
                e.at + 1,
                e.what
            ))
        })
    }

    /// Reads the next line that is not blank; false at the end.
    fn next(&mut self) -> Result<bool> {
        loop {
            self.bytes.clear();
            let mut limited = std::io::Read::take(&mut self.input, RECORD_LIMIT as u64 + 1);
            let n = limited.read_until(b'\n', &mut self.bytes);
            let n = n.map_err(|e| self.failed(e))?;
            self.consumed += n as u64;
            self.line += 1;
            if n == 0 {
                return Ok(false);
            }
            if n > RECORD_LIMIT {
                return Err(Error::invalid(format!(
                    "{}, line {}: the line is longer than {} MiB",
                    self.name,
                    self.line,
                    RECORD_LIMIT >> 20
                )));
            }
            if !self.bytes.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }
}

impl JsonSource {
    /// Reads all inputs once to find the types.
    pub(crate) fn open(inputs: Vec<Input>, vectors: bool, scanning: Scanning<'_>) -> Result<Self> {
        Self::typed(inputs, u64::MAX, vectors, scanning)
    }

    #[cfg(feature = "query")]
    /// Reads the first `sample` bytes of the inputs to find the types.
    pub(crate) fn open_sampled(
        inputs: Vec<Input>,
        sample: u64,
        scanning: Scanning<'_>,
    ) -> Result<Self> {
        Self::typed(inputs, sample, false, scanning)
    }

    fn typed(
        inputs: Vec<Input>,
        sample: u64,
        vectors: bool,
        scanning: Scanning<'_>,
    ) -> Result<Self> {
        let mut members = Members::default();
        let total: u64 = inputs.iter().map(Input::size).sum();
        let mut seen = 0;
        let mut any = false;
        for input in &inputs {
            let mut lines = Lines::open(input)?;
            let mut reported = 0;
            while seen + lines.consumed <= sample && lines.next()? {
                any = true;
                lines.walk(&mut members, vectors)?;
                if lines.consumed - reported > 4 << 20 {
                    reported = lines.consumed;
                    scanning(seen + reported, total);
                }
            }
            seen += input.size();
        }
        if !any {
            return Err(Error::invalid(format!(
                "{} is empty: it has no objects to learn columns from",
                inputs.first().map_or("the input", Input::name)
            )));
        }
        let schema = Arc::new(Schema::new(members.fields(vectors)));
        Self::decoding(inputs, schema, None)
    }

    #[cfg(feature = "query")]
    /// Reads an input in the columns of a schema; a value that does not fit is an error.
    pub(crate) fn with_schema(input: Input, schema: SchemaRef) -> Result<Self> {
        Self::decoding(vec![input], schema, Some(Members::default()))
    }

    fn decoding(inputs: Vec<Input>, schema: SchemaRef, check: Option<Members>) -> Result<Self> {
        let decoder = ReaderBuilder::new(Arc::clone(&schema))
            .with_batch_size(BATCH_ROWS)
            // Text columns of numbers keep the digits.
            .with_coerce_primitive(true)
            .build_decoder()?;
        Ok(Self {
            inputs,
            schema,
            decoder,
            check,
            current: None,
            begun: 0,
            finished: 0,
            failed: false,
        })
    }

    fn read(&mut self) -> Result<Option<RecordBatch>> {
        let mut bytes = 0;
        while self.decoder.len() < BATCH_ROWS && bytes < BATCH_BYTES {
            let Some(lines) = &mut self.current else {
                let Some(input) = self.inputs.get(self.begun) else {
                    break;
                };
                self.current = Some(Lines::open(input)?);
                self.begun += 1;
                continue;
            };
            if !lines.next()? {
                self.finished += lines.consumed;
                self.current = None;
                continue;
            }
            if let Some(members) = &mut self.check {
                lines.walk(members, false)?;
                if let Some(column) = members.unfit(self.schema.fields()) {
                    return Err(Error::invalid(format!(
                        "{}, line {}, column '{column}': the value is not of the type that the lines \
                         at the beginning have; import the file, which looks at all lines first",
                        lines.name, lines.line
                    )));
                }
            }
            let refuse = |e| Error::invalid(format!("{}, line {}: {e}", lines.name, lines.line));
            self.decoder.decode(&lines.bytes).map_err(refuse)?;
            bytes += lines.bytes.len();
        }
        let (name, line) = match &self.current {
            Some(lines) => (lines.name.as_str(), lines.line),
            None => ("the input", 0),
        };
        self.decoder
            .flush()
            .map_err(|e| Error::invalid(format!("{name}, line {line} or before: {e}")))
    }
}

impl Iterator for JsonSource {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.read().transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}

impl Source for JsonSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn bytes_read(&self) -> u64 {
        self.finished + self.current.as_ref().map_or(0, |l| l.consumed)
    }

    fn total_bytes(&self) -> u64 {
        self.inputs.iter().map(Input::size).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use arrow::array::*;
    use arrow::datatypes::*;

    use super::*;

    fn open(text: &str) -> Result<JsonSource> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.jsonl");
        std::fs::File::create(&path)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        JsonSource::open(vec![Input::open(&path)?], false, &mut |_, _| ())
    }

    fn type_of(values: &[&str]) -> DataType {
        let text: String = values.iter().map(|v| format!("{{\"c\": {v}}}\n")).collect();
        open(&text).unwrap().schema().field(0).data_type().clone()
    }

    #[test]
    fn numbers_are_numbers_however_they_are_spelled() {
        assert_eq!(type_of(&["1", "null", "-5"]), DataType::Int64);
        assert_eq!(type_of(&["1", "18446744073709551615"]), DataType::UInt64);
        for floats in [
            ["1", "2.50", "1e3"],
            // Single precision as Python spells it, and 17 digits as C prints them.
            ["0.5", "100.16116333007812", "0.10000000000000001"],
            ["-0.0", "1E-300", "123456789012345680000"],
            ["1.5", "1e300", "0.12345678901234567891"],
        ] {
            assert_eq!(type_of(&floats), DataType::Float64, "{floats:?}");
        }
        // Floats would lose digits of these.
        for (numbers, digits, scale) in [
            (["1.5", "9007199254740993"], 17, 1),
            (["-1", "18446744073709551615"], 20, 0),
            (["1e3", "0.12345678901234567891"], 24, 20),
            (["123456789012345678901234567890", "1.50"], 32, 2),
        ] {
            assert_eq!(
                type_of(&numbers),
                DataType::Decimal128(digits, scale),
                "{numbers:?}"
            );
        }
        let long = format!("1{}1", "0".repeat(59));
        assert_eq!(type_of(&[&long, "1.25"]), DataType::Decimal256(63, 2));
        assert_eq!(type_of(&["1e300", "9007199254740993"]), DataType::Utf8);
        assert_eq!(type_of(&["1.5", "1e999"]), DataType::Utf8);
        assert_eq!(type_of(&["-0.0", "9007199254740993"]), DataType::Utf8);
    }

    #[test]
    fn decimals_are_what_was_written() {
        let text = "{\"c\": 123456789012345678901234567890}\n{\"c\": -1.50}\n{\"c\": 1e3}\n\
                    {\"c\": 25E-2}\n{\"c\": 0.01}\n{\"c\": null}\n{\"c\": 0}\n{\"c\": 1.5e1}\n";
        let batch = open(text).unwrap().map(|b| b.unwrap()).next().unwrap();
        let numbers = batch.column(0).as_primitive::<Decimal128Type>();
        let hundredths: Vec<_> = numbers.iter().collect();
        assert_eq!(
            hundredths,
            [
                Some(12_345_678_901_234_567_890_123_456_789_000),
                Some(-150),
                Some(100_000),
                Some(25),
                Some(1),
                None,
                Some(0),
                Some(1500)
            ]
        );
    }

    #[test]
    fn vectors_of_single_precision_are_found_out() {
        let lists = |values: &str, vectors: bool| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("t.jsonl");
            std::fs::write(&path, format!("{{\"v\": {values}, \"x\": 0.5}}\n")).unwrap();
            let input = vec![Input::open(&path).unwrap()];
            let source = JsonSource::open(input, vectors, &mut |_, _| ()).unwrap();
            let schema = source.schema();
            assert_eq!(*schema.field(1).data_type(), DataType::Float64);
            let list = schema.field(0).data_type().clone();
            let batch = source.map(|b| b.unwrap()).next().unwrap();
            (list, batch)
        };
        let (list, batch) = lists("[0.5, 100.16116333007812, -0.0, 1e30]", true);
        assert_eq!(list, DataType::new_list(DataType::Float64, true));
        assert_eq!(batch.num_rows(), 1);
        let (list, batch) = lists(
            "[0.5, 100.16116333007812, -0.0, 1.401298464324817e-45]",
            true,
        );
        assert_eq!(list, DataType::new_list(DataType::Float32, true));
        let values = batch.column(0).as_list::<i32>().values().clone();
        let bits: Vec<u32> = values
            .as_primitive::<Float32Type>()
            .values()
            .iter()
            .map(|v| v.to_bits())
            .collect();
        let expected = [0.5f32, 100.161_16, -0.0, f32::from_bits(1)].map(f32::to_bits);
        assert_eq!(bits, expected);
        let (list, _) = lists("[0.5, 100.16116333007812]", false);
        assert_eq!(list, DataType::new_list(DataType::Float64, true));
    }

    #[test]
    fn nested_values_and_missing_names() {
        let text = "{\"a\": [1, null], \"s\": {\"x\": \"\\u00e9\"}}\n\n{\"b\": true, \"a\": []}\n";
        let source = open(text).unwrap();
        let names: Vec<_> = source
            .schema()
            .fields()
            .iter()
            .map(|f| f.name().clone())
            .collect();
        assert_eq!(names, ["a", "s", "b"]);
        let batch = source.map(|b| b.unwrap()).next().unwrap();
        assert_eq!(batch.num_rows(), 2);
        assert_eq!(batch.column(0).as_list::<i32>().value(0).len(), 2);
        assert!(batch.column(1).is_null(1));
        let text = batch.column(1).as_struct().column(0).as_string::<i32>();
        assert_eq!(text.value(0), "é");
    }

    #[test]
    fn what_has_no_one_type_is_refused_with_its_line() {
        for (text, words) in [
            (
                "{\"a\": 1}\n{\"a\": \"1\"}\n",
                "line 2, byte 7: column 'a': a string here, a number",
            ),
            (
                "{\"a\": {\"b\": 1}}\n{\"a\": {\"b\": []}}\n",
                "column 'a.b'",
            ),
            ("{\"a\": 1\n}\n", "line 1"),
            ("[1, 2]\n", "holds a list"),
            ("{\"a\": 1, \"a\": 2}\n", "twice"),
            ("{\"a\": 1} {\"a\": 2}\n", "goes on"),
            ("{\"a\": tru}\n", "no JSON"),
            ("{\"a\": 1-2}\n", "no number"),
            ("\n\n", "empty"),
        ] {
            let error = open(text).err().unwrap().to_string();
            assert!(error.contains(words), "{error}");
        }
        let deep = format!("{{\"a\": {}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(open(&deep).err().unwrap().to_string().contains("nested"));
    }
}
