//! Text files in SQL, through the sources and exports of tables: what joins `query` and `kind`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use crate::error::Result;
use crate::kind::tables::export::{ExportFormat, Target, sink};
use crate::kind::tables::source::csv::{CsvOptions, CsvSource, Dialect, STYLE_KEY};
use crate::kind::tables::source::{Input, JsonSource, Source, SourceOptions};
use crate::query::{Publish, TextFiles, TextKind, TextOptions, TextRows};

/// Bytes that types are learned from.
const SAMPLE: u64 = 64 << 20;
/// In the metadata of schemas that were learned, not declared.
const LEARNED: &str = "pilaster.learned";

/// See the module.
#[derive(Debug)]
pub(crate) struct TableTexts;

fn source_options(options: &TextOptions) -> SourceOptions {
    SourceOptions {
        csv: CsvOptions {
            header: options.header,
            delimiter: options.delimiter,
        },
        ..SourceOptions::default()
    }
}

impl TextFiles for TableTexts {
    fn schema(
        &self,
        kind: TextKind,
        paths: &[PathBuf],
        options: &TextOptions,
    ) -> Result<SchemaRef> {
        let inputs = paths
            .iter()
            .map(|p| Input::open_unpacked(p))
            .collect::<Result<Vec<_>>>()?;
        let unwatched = &mut |_, _| ();
        let schema = match kind {
            TextKind::Csv => {
                let options = source_options(options);
                CsvSource::open_sampled(inputs, &options, Some(SAMPLE), unwatched)?.schema()
            }
            TextKind::JsonLines => JsonSource::open_sampled(inputs, SAMPLE, unwatched)?.schema(),
        };
        let mut metadata = schema.metadata().clone();
        metadata.insert(LEARNED.to_owned(), String::new());
        let fields = schema.fields().clone();
        Ok(Arc::new(Schema::new_with_metadata(fields, metadata)))
    }

    fn rows(
        &self,
        kind: TextKind,
        path: &Path,
        schema: &SchemaRef,
        options: &TextOptions,
    ) -> Result<TextRows> {
        let input = Input::open_unpacked(path)?;
        let learned = schema.metadata().contains_key(LEARNED);
        let schema = match learned {
            true => Arc::clone(schema),
            false => Arc::new(Schema::new(readable(schema.fields(), kind))),
        };
        let mut options = source_options(options);
        if learned {
            let words = schema.metadata().get(STYLE_KEY);
            let dialect = Dialect::from_words(words.map_or("", String::as_str));
            options.csv.header = Some(dialect.header);
        }
        Ok(match kind {
            TextKind::Csv => Box::new(CsvSource::with_schema(input, &options, schema)?),
            TextKind::JsonLines => Box::new(JsonSource::with_schema(input, schema)?),
        })
    }

    fn write(
        &self,
        kind: TextKind,
        path: &Path,
        schema: &SchemaRef,
        options: &TextOptions,
        next: &mut dyn FnMut() -> Option<RecordBatch>,
    ) -> Result<Publish> {
        let dialect = Dialect {
            delimiter: options.delimiter.unwrap_or(b','),
            header: options.header.unwrap_or(true),
            ..Dialect::default()
        };
        let metadata = [(STYLE_KEY.to_owned(), dialect.to_words())];
        let fields = schema.fields().clone();
        let schema = Arc::new(Schema::new_with_metadata(fields, metadata.into()));
        let format = match kind {
            TextKind::Csv => ExportFormat::Csv,
            TextKind::JsonLines => ExportFormat::JsonLines,
        };
        let mut target = Target::create(path)?;
        {
            let mut sink = sink(format, &schema, &mut target)?;
            while let Some(batch) = next() {
                sink.write(&batch)?;
            }
            sink.finish()?;
        }
        Ok(Box::new(move || target.publish().map(drop)))
    }
}

/// The types in which declared columns are read, before they are cast.
fn readable(fields: &Fields, kind: TextKind) -> Fields {
    fields
        .iter()
        .map(|f| {
            let data_type = match kind {
                // The cast reads every spelling of a value.
                TextKind::Csv => DataType::Utf8,
                TextKind::JsonLines => readable_json(f.data_type()),
            };
            Arc::new(Field::new(f.name(), data_type, true))
        })
        .collect()
}

fn readable_json(data_type: &DataType) -> DataType {
    match data_type {
        DataType::List(item) => DataType::new_list(readable_json(item.data_type()), true),
        DataType::Struct(fields) => DataType::Struct(readable(fields, TextKind::JsonLines)),
        DataType::Boolean | DataType::UInt64 => data_type.clone(),
        t if t.is_integer() => DataType::Int64,
        t if t.is_floating() => DataType::Float64,
        _ => DataType::Utf8,
    }
}
