//! CSV in, without losing a digit or a distinction.
//!
//! | in the file | in the table |
//! |---|---|
//! | nothing between two delimiters | null |
//! | `""` | the empty string; null in a column of other types where no cell is plainly empty |
//! | `NA`, `NULL`, `?` and the like in a column whose other cells are numbers, dates or booleans | null, if it is the only spelling of null there; else the column is text |
//! | `007`, `+5`, ` 5`, `1.10` beside `1.5` | text |
//! | whole numbers | Int64, else UInt64, else Decimal128 up to 38 digits |
//! | numbers that all have the same digits behind the point | Decimal128 |
//! | other numbers that a float prints back | Float64 |
//! | `2024-01-31` | Date32 |
//! | `2024-01-31T23:59:58.123Z` and relatives, all in one form | Timestamp |
//! | `true`, `True` or `TRUE`, all in one spelling | Boolean |
//! | bytes that are not UTF-8 | Binary, in the columns that have them |
//!
//! What a type does not say (the spelling of null, `5.0` or `5`, `T` or a space) is kept in the
//! metadata of field and schema under [`STYLE_KEY`], and the CSV export obeys it.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatchOptions};
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::{BATCH_BYTES, BATCH_ROWS, Input, Scanning, Source, SourceOptions};
use crate::error::{Error, Result};

mod build;
pub(crate) mod cell;
mod dialect;
mod infer;
mod records;
mod style;

use build::Builder;
pub use dialect::Dialect;
use infer::Guess;
pub(crate) use records::RECORD_LIMIT;
use records::{Record, Records, Separators};
pub(crate) use style::missing_word;
pub use style::{BoolStyle, Missing, STYLE_KEY, Style, TimeForm, Zone};

/// Choices for reading CSV; what is left out is found in the file.
#[derive(Debug, Clone, Default)]
pub struct CsvOptions {
    /// Whether the first line names the columns; if left out, it does unless a number occurs in it
    /// twice.
    pub header: Option<bool>,
    /// The delimiter; else the one of `,` `;` tab `|` that the first lines agree on.
    pub delimiter: Option<u8>,
}

/// One or more CSV files as one table.
pub(crate) struct CsvSource {
    inputs: Vec<Input>,
    separators: Vec<Separators>,
    header: bool,
    schema: SchemaRef,
    builders: Vec<Builder>,
    /// Looks at cells that no first pass has seen.
    check: Option<Guess>,
    current: Option<Records<File>>,
    /// Inputs begun.
    begun: usize,
    /// Bytes of the inputs that were finished.
    finished: u64,
    failed: bool,
}

impl CsvSource {
    /// Reads all inputs once to find the types.
    pub(crate) fn open(
        inputs: Vec<Input>,
        options: &SourceOptions,
        scanning: Scanning<'_>,
    ) -> Result<Self> {
        Self::open_sampled(inputs, options, None, scanning)
    }

    /// Reads the first `sample` bytes of the inputs, or all of them, to find the types.
    pub(crate) fn open_sampled(
        inputs: Vec<Input>,
        options: &SourceOptions,
        sample: Option<u64>,
        scanning: Scanning<'_>,
    ) -> Result<Self> {
        let separators = inputs
            .iter()
            .map(|input| separators_of(input, options))
            .collect::<Result<Vec<_>>>()?;
        let header = match (options.csv.header, inputs.first()) {
            (Some(header), _) => header,
            (None, Some(first)) => has_header(first, separators[0])?,
            (None, None) => true,
        };
        let mut survey = Survey {
            total: inputs.iter().map(Input::size).sum(),
            sample: sample.unwrap_or(u64::MAX),
            ..Survey::default()
        };
        for (input, separators) in inputs.iter().zip(&separators) {
            survey.read(input, *separators, header, scanning)?;
        }
        let Some(names) = survey.names else {
            return Err(Error::invalid(format!(
                "{} is empty: it has no header and no rows",
                inputs.first().map_or("the input", Input::name)
            )));
        };
        let mut dialect = survey.dialect;
        dialect.delimiter = separators[0].delimiter;
        dialect.cr = separators[0].newline == b'\r';
        dialect.header = header;
        let mut fields = Vec::with_capacity(names.len());
        let mut builders = Vec::with_capacity(names.len());
        for (name, guess) in names.into_iter().zip(&survey.guesses) {
            let (mut data_type, mut style) = guess.decide();
            if survey.total > survey.sample
                && let DataType::Decimal128(_, scale) = data_type
            {
                // Larger numbers may follow.
                data_type = DataType::Decimal128(DECIMAL128_MAX_PRECISION, scale);
            }
            style.unnamed = name.unnamed;
            builders.push(Builder::new(&data_type, style));
            let mut field = Field::new(name.name, data_type, true);
            let words = style.to_words();
            if !words.is_empty() {
                field.set_metadata(HashMap::from([(STYLE_KEY.to_owned(), words)]));
            }
            fields.push(field);
        }
        let mut metadata = HashMap::new();
        let words = dialect.to_words();
        if !words.is_empty() {
            metadata.insert(STYLE_KEY.to_owned(), words);
        }
        Ok(Self {
            inputs,
            separators,
            header,
            schema: Arc::new(Schema::new_with_metadata(fields, metadata)),
            builders,
            check: None,
            current: None,
            begun: 0,
            finished: 0,
            failed: false,
        })
    }

    #[cfg(feature = "query")]
    /// Reads an input in the columns of a schema, given by place; a cell that does not fit is an error.
    pub(crate) fn with_schema(
        input: Input,
        options: &SourceOptions,
        schema: SchemaRef,
    ) -> Result<Self> {
        let separators = separators_of(&input, options)?;
        let header = match options.csv.header {
            Some(header) => header,
            None => has_header(&input, separators)?,
        };
        let style = |field: &Arc<Field>| {
            let words = field.metadata().get(STYLE_KEY);
            Style::from_words(words.map_or("", String::as_str))
        };
        let fields = schema.fields().iter();
        let builders = fields.map(|f| Builder::new(f.data_type(), style(f)));
        Ok(Self {
            builders: builders.collect(),
            inputs: vec![input],
            separators: vec![separators],
            header,
            schema,
            check: Some(Guess::default()),
            current: None,
            begun: 0,
            finished: 0,
            failed: false,
        })
    }

    /// The next batch, `None` at the end.
    fn read(&mut self) -> Result<Option<RecordBatch>> {
        let mut rows = 0;
        let mut bytes = 0;
        let columns = self.builders.len();
        while rows < BATCH_ROWS && bytes < BATCH_BYTES {
            let Some(records) = &mut self.current else {
                let Some(input) = self.inputs.get(self.begun) else {
                    break;
                };
                let separators = self.separators[self.begun];
                let mut records = Records::new(input.rewind()?, input.name(), separators);
                records.skip_mark()?;
                if self.header {
                    skip_blank(&mut records)?;
                    next_row(&mut records, columns, input.name())?;
                }
                self.begun += 1;
                self.current = Some(records);
                continue;
            };
            let name = self.inputs[self.begun - 1].name();
            let Some(record) = next_row(records, columns, name)? else {
                self.finished += records.consumed();
                self.current = None;
                continue;
            };
            for (i, (cell, quoted)) in record.iter().enumerate() {
                if let Some(guess) = &mut self.check
                    && !self.builders[i].fits(cell, quoted, guess)
                {
                    let field = self.schema.field(i);
                    return Err(unfit(name, record.line, field, cell));
                }
                if self.builders[i].push(cell, quoted).is_none() {
                    return Err(Error::invalid(format!(
                        "{name}, line {}, column '{}': the cell changed while the file was being \
                         read; import it again",
                        record.line,
                        self.schema.field(i).name()
                    )));
                }
            }
            rows += 1;
            bytes += record.raw.len() + 8 * columns;
        }
        if rows == 0 {
            return Ok(None);
        }
        let arrays = self
            .builders
            .iter_mut()
            .map(Builder::finish)
            .collect::<Result<Vec<ArrayRef>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(Some(RecordBatch::try_new_with_options(
            Arc::clone(&self.schema),
            arrays,
            &options,
        )?))
    }
}

impl Iterator for CsvSource {
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

impl Source for CsvSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn bytes_read(&self) -> u64 {
        self.finished + self.current.as_ref().map_or(0, Records::consumed)
    }

    fn total_bytes(&self) -> u64 {
        self.inputs.iter().map(Input::size).sum()
    }
}

/// What parts the cells of an input.
fn separators_of(input: &Input, options: &SourceOptions) -> Result<Separators> {
    let head = input.head(64 << 10)?;
    let whole = head.len() as u64 == input.size();
    let tab = matches!(input.extension(), "tsv" | "tab");
    Ok(dialect::separators(
        &head,
        whole,
        options.csv.delimiter,
        tab,
    ))
}

/// A cell of another type than the cells that were looked at.
fn unfit(file: &str, line: u64, field: &Field, cell: &[u8]) -> Error {
    let shown: String = String::from_utf8_lossy(cell).chars().take(40).collect();
    Error::invalid(format!(
        "{file}, line {line}, column '{}': '{shown}' is not of type {}, as the cells at the beginning \
         are; import the file, which looks at all cells first",
        field.name(),
        field.data_type()
    ))
}

/// The next record that is a row: blank lines are skipped, ragged ones refused.
fn next_row<'a, R: std::io::Read>(
    records: &'a mut Records<R>,
    columns: usize,
    name: &str,
) -> Result<Option<Record<'a>>> {
    // The borrow checker does not let a record leave a loop that may go on.
    while records.at_blank_line()? && columns != 1 {
        records.next()?;
    }
    match records.next()? {
        Some(record) if record.len() != columns => Err(ragged(&record, columns, name)),
        other => Ok(other),
    }
}

/// Steps over empty lines and counts them.
fn skip_blank<R: std::io::Read>(records: &mut Records<R>) -> Result<usize> {
    let mut count = 0;
    while records.at_blank_line()? {
        records.next()?;
        count += 1;
    }
    Ok(count)
}

fn ragged(record: &Record<'_>, columns: usize, name: &str) -> Error {
    let cells = record.len();
    let (place, remedy) = match cells < columns {
        true => (cells + 1, "add the missing cells"),
        false => (columns + 1, "quote cells that contain the delimiter"),
    };
    Error::invalid(format!(
        "{name}, line {}, column {place}: the row has {cells} cells where the table has {columns} \
         columns; {remedy}, or name another delimiter",
        record.line
    ))
}

/// Whether the first line names the columns. A line with the same number twice is a row: no two
/// columns are named by one number, and such a header would have to be refused.
fn has_header(input: &Input, separators: Separators) -> Result<bool> {
    let mut records = Records::new(input.rewind()?, input.name(), separators);
    records.skip_mark()?;
    skip_blank(&mut records)?;
    let Some(record) = records.next()? else {
        return Ok(true);
    };
    let mut numbers = HashSet::new();
    Ok(record.iter().all(|(cell, quoted)| {
        let digits = !quoted && cell.iter().any(u8::is_ascii_digit);
        let number = digits && std::str::from_utf8(cell).is_ok_and(|c| c.parse::<f64>().is_ok());
        !number || numbers.insert(cell)
    }))
}

/// A column's name, and whether the header had none.
struct Name {
    name: String,
    unnamed: bool,
}

/// The first pass.
#[derive(Default)]
struct Survey {
    names: Option<Vec<Name>>,
    guesses: Vec<Guess>,
    dialect: Dialect,
    seen: u64,
    total: u64,
    /// Bytes that are looked at.
    sample: u64,
}

impl Survey {
    fn read(
        &mut self,
        input: &Input,
        separators: Separators,
        header: bool,
        scanning: Scanning<'_>,
    ) -> Result<()> {
        let mut records = Records::new(input.rewind()?, input.name(), separators);
        let mark = records.skip_mark()?;
        if header {
            skip_blank(&mut records)?;
            let Some(record) = records.next()? else {
                return Ok(());
            };
            let names = names(&record, input.name())?;
            let quoted_names = record.iter().all(|(_, quoted)| quoted);
            if let Some(known) = &self.names {
                agree(known, &names, input.name())?;
            } else {
                self.guesses = vec![Guess::default(); names.len()];
                self.names = Some(names);
                self.dialect.quoted_names = quoted_names;
            }
        }
        self.dialect.mark |= mark;
        self.dialect.crlf = records.crlf;
        let mut reported = 0;
        while self.names.is_none() || self.seen + records.consumed() <= self.sample {
            let blank = match self.names {
                None => skip_blank(&mut records)?,
                Some(_) => 0,
            };
            let record = match &self.names {
                None => records.next()?,
                Some(names) => next_row(&mut records, names.len(), input.name())?,
            };
            let Some(record) = record else {
                break;
            };
            if self.names.is_none() {
                self.guesses = vec![Guess::default(); record.len()];
                self.names = Some((1..=record.len()).map(numbered).collect());
                if blank > 0 && record.len() == 1 {
                    self.guesses[0].see(b"", false, true);
                }
            }
            let utf8 = std::str::from_utf8(record.raw).is_ok();
            for (guess, (cell, quoted)) in self.guesses.iter_mut().zip(record.iter()) {
                guess.see(cell, quoted, utf8);
            }
            if records.terminated {
                self.dialect.crlf = records.crlf;
            }
            self.dialect.open_end = !records.terminated;
            if records.consumed() - reported > 4 << 20 {
                reported = records.consumed();
                scanning(self.seen + reported, self.total);
            }
        }
        self.seen += input.size();
        Ok(())
    }
}

/// The name of a column without a header.
fn numbered(n: usize) -> Name {
    Name {
        name: format!("column_{n}"),
        unnamed: false,
    }
}

/// The names in a header; refuses what could not be told apart.
fn names(header: &Record<'_>, file: &str) -> Result<Vec<Name>> {
    let mut first = HashMap::new();
    let mut names = Vec::with_capacity(header.len());
    for (i, (cell, _)) in header.iter().enumerate() {
        let name = std::str::from_utf8(cell).map_err(|_| {
            Error::invalid(format!(
                "{file}, line {}, column {}: the name is not UTF-8; convert the file first, as in \
                 `iconv -f latin1 -t utf-8`",
                header.line,
                i + 1
            ))
        })?;
        if !name.is_empty()
            && let Some(earlier) = first.insert(name, i)
        {
            return Err(Error::invalid(format!(
                "{file}, line {}: columns {} and {} are both named '{name}'; rename one of them, or \
                 say that the file has no header (--no-header)",
                header.line,
                earlier + 1,
                i + 1
            )));
        }
        names.push(Name {
            name: name.to_owned(),
            unnamed: name.is_empty(),
        });
    }
    for i in 0..names.len() {
        if names[i].unnamed {
            let mut name = format!("column_{}", i + 1);
            while names.iter().any(|n| n.name == name) {
                name.push('_');
            }
            names[i].name = name;
        }
    }
    Ok(names)
}

/// Refuses a second file whose columns are not those of the first.
fn agree(known: &[Name], names: &[Name], file: &str) -> Result<()> {
    if known.len() != names.len() {
        return Err(Error::invalid(format!(
            "{file} has {} columns where the first file has {}; import it into a file of its own",
            names.len(),
            known.len()
        )));
    }
    for (i, (a, b)) in known.iter().zip(names).enumerate() {
        if a.name != b.name {
            return Err(Error::invalid(format!(
                "{file}: column {} is named '{}' where the first file has '{}'; import it into a \
                 file of its own",
                i + 1,
                b.name,
                a.name
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
