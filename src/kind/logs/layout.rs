//! How lines become columns.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, NullArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::TEXT;
use crate::encoding::log::header::{self, Sort};
use crate::encoding::log::template::Learner;
use crate::encoding::log::told::{Before, Told};
use crate::encoding::log::view::{self, Said, View, without_terminator};
use crate::encoding::log::{json, lines};
use crate::encoding::{Known, physical};
use crate::error::{Error, Result};
use crate::file::layout::{ColumnData, ColumnRole, ColumnSpec, Layout};

/// Most lines from which keys and templates are learned, and headers.
const LEARNED: usize = 3000;
const LEARNED_HEADERS: usize = 1000;
/// Most keys of JSON objects that become columns, and the share of the lines that must have them.
const MOST_KEYS: usize = 64;
const KEY_SHARE: f64 = 0.01;
/// Share of lines that are objects in a log of JSON.
const JSON_SHARE: f64 = 0.8;
/// Keys that hold messages.
const MESSAGE_KEYS: [&[u8]; 4] = [b"message", b"msg", b"log", b"MESSAGE"];

/// Lines as columns: see the module of the kind.
#[derive(Debug, Default)]
pub struct LogLayout {
    views: Vec<(Field, View)>,
    before: Before,
    started: bool,
}

impl LogLayout {
    /// A layout for one file.
    pub fn new() -> Self {
        Self::default()
    }

    fn shown_fields(&self) -> Vec<Field> {
        let views = self.views.iter().map(|(field, ..)| field.clone());
        views
            .chain([
                Field::new("line_no", DataType::Int64, false),
                Field::new("file", DataType::Utf8, false),
            ])
            .collect()
    }
}

impl Layout for LogLayout {
    fn columns(&mut self, first: &RecordBatch) -> Result<Vec<ColumnSpec>> {
        let view =
            |name: &str, data_type, nullable, view| (Field::new(name, data_type, nullable), view);
        let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
        self.views = vec![
            view("line", DataType::Utf8, false, View::Line),
            view("timestamp", time, true, View::Timestamp),
            view("level", DataType::Utf8, true, View::Level),
            view("record", DataType::Int64, false, View::Record),
        ];
        self.views.extend(learned(lines_of(first)?));
        let spec = |field: Field, role, parents: Vec<usize>, group| ColumnSpec {
            field: Arc::new(field),
            role,
            parents,
            group,
            words: None,
        };
        let text = Field::new(TEXT, DataType::Binary, false);
        let mut specs: Vec<ColumnSpec> = vec![spec(text, ColumnRole::Hidden, vec![], Some(0))];
        for (i, field) in self.shown_fields().into_iter().enumerate() {
            let template = specs.iter().position(|s| s.field.name() == "template");
            specs.push(match self.views.get(i).map(|(_, view)| view) {
                Some(view) => {
                    let parents = match (view, template) {
                        (View::TemplateId, Some(template)) => vec![template],
                        (View::Variables(_), Some(template)) => vec![0, template],
                        _ => vec![0],
                    };
                    spec(field, ColumnRole::Derived, parents, Some(0))
                }
                None => spec(field, ColumnRole::Visible, vec![], None),
            });
        }
        Ok(specs)
    }

    fn shown(&self, _: &SchemaRef) -> SchemaRef {
        Arc::new(Schema::new(self.shown_fields()))
    }

    fn section(&mut self, section: &RecordBatch) -> Result<Vec<ColumnData>> {
        let [text, file, numbers] = section.columns() else {
            return Err(Error::invalid("a log is written as text, file and line_no"));
        };
        let lines = lines_of(section)?;
        let stored = |array: &ArrayRef, encoding| ColumnData {
            array: Arc::clone(array),
            models: Vec::new(),
            encoding,
            known: None,
        };
        let mut data = vec![stored(text, Some(lines::ID))];
        let (told, [times, levels, records]) = Told::of(lines, &mut self.before);
        let told: Known = Arc::new(told);
        for (field, view) in &self.views {
            let array = match view {
                View::Timestamp => Arc::clone(&times),
                View::Level => Arc::clone(&levels),
                View::Record => Arc::clone(&records),
                View::Line => view.of(lines, &mut Before::default())?,
                // Readers derive these.
                _ => Arc::new(NullArray::new(lines.len())),
            };
            let array = match array.data_type() {
                DataType::Null => array,
                _ => physical::raise(array, field.data_type())?,
            };
            data.push(ColumnData {
                array,
                models: match self.started {
                    true => Vec::new(),
                    false => vec![Arc::new(view.to_model())],
                },
                encoding: Some(view::ID),
                known: Some(Arc::clone(&told)),
            });
        }
        self.started = true;
        data.push(stored(numbers, None));
        data.push(stored(&arrow::compute::cast(file, &DataType::Utf8)?, None));
        Ok(data)
    }
}

fn lines_of(batch: &RecordBatch) -> Result<&BinaryArray> {
    let lines = batch
        .columns()
        .first()
        .and_then(|c| c.as_binary_opt::<i32>());
    lines.ok_or_else(|| Error::invalid("lines of a log are bytes"))
}

/// Views that are learned from a file's first lines.
fn learned(lines: &BinaryArray) -> Vec<(Field, View)> {
    let sample = |most: usize| {
        (0..lines.len())
            .step_by(lines.len().div_ceil(most).max(1))
            .map(|i| without_terminator(lines.value(i)))
    };
    let keys = keys(sample(LEARNED));
    let header = header::learn(sample(LEARNED_HEADERS));
    let message = MESSAGE_KEYS
        .into_iter()
        .find(|k| keys.iter().any(|key| key == k));
    let said = match message {
        Some(key) => Said::At(key.to_vec()),
        None => Said::After(header.clone()),
    };
    let mut memory = Vec::new();
    let mut learner = Learner::default();
    sample(LEARNED).for_each(|line| learner.add(said.of(line, &mut memory)));
    let templates = Arc::new(learner.finish());
    let mut views = Vec::new();
    let mut add = |name: &str, data_type, nullable, view| {
        views.push((Field::new(name, data_type, nullable), view));
    };
    let variables = DataType::new_list(DataType::Utf8, true);
    let template = View::Template(said.clone(), templates);
    add("template", DataType::Utf8, false, template);
    add("template_id", DataType::Int64, false, View::TemplateId);
    add("variables", variables, false, View::Variables(said.clone()));
    add("message", DataType::Utf8, false, View::Message(said));
    let taken = ["line", "timestamp", "level", "record", "line_no", "file"];
    let mut names: Vec<String> = taken.iter().map(|n| n.to_string()).collect();
    names.extend(views.iter().map(|(field, _)| field.name().clone()));
    let fields = header.iter().enumerate().filter_map(|(i, sort)| {
        let name = match sort {
            Sort::Word => "word",
            Sort::Number => "number",
            Sort::Bracket => "context",
            Sort::Component => "component",
            Sort::Time | Sort::Level => return None,
        };
        Some((name.to_owned(), View::Field(header.clone(), i)))
    });
    let keys = keys.into_iter().filter_map(|key| {
        let name = String::from_utf8(key.clone()).ok()?;
        Some((name, View::Json(key)))
    });
    for (name, view) in fields.chain(keys) {
        let taken = |name: &String| names.iter().any(|n| n.eq_ignore_ascii_case(name));
        let mut own = name.clone();
        let mut number = 2;
        while taken(&own) {
            own = format!("{name}_{number}");
            number += 1;
        }
        names.push(own.clone());
        views.push((Field::new(own, DataType::Utf8, true), view));
    }
    views
}

/// Keys that lines have in common, if most are JSON objects.
fn keys<'l>(lines: impl Iterator<Item = &'l [u8]>) -> Vec<Vec<u8>> {
    let mut found: Vec<(Vec<u8>, usize)> = Vec::new();
    let (mut all, mut objects) = (0usize, 0usize);
    for line in lines {
        all += 1;
        objects += usize::from(line.starts_with(b"{") && line.trim_ascii_end().ends_with(b"}"));
        for (key, _) in json::Members::of(line) {
            match found.iter().position(|(k, _)| k == key) {
                Some(known) => found[known].1 += 1,
                None if found.len() < 8 * MOST_KEYS => found.push((key.to_vec(), 1)),
                None => {}
            }
        }
    }
    let json = objects > 0 && objects as f64 >= JSON_SHARE * all as f64;
    found.retain(|(key, count)| json && !key.is_empty() && *count as f64 > KEY_SHARE * all as f64);
    found.truncate(MOST_KEYS);
    found.into_iter().map(|(key, _)| key).collect()
}
