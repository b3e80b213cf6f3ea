//! How lines become columns.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::TEXT;
use crate::encoding::log::lines;
use crate::encoding::log::view::{self, Before, View};
use crate::encoding::physical;
use crate::error::{Error, Result};
use crate::file::layout::{ColumnData, ColumnRole, ColumnSpec, Layout};

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
    fn columns(&mut self, _: &RecordBatch) -> Result<Vec<ColumnSpec>> {
        let view = |name: &str, data_type, nullable, view| {
            (Field::new(name, data_type, nullable), view)
        };
        let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
        self.views = vec![
            view("line", DataType::Utf8, false, View::Line),
            view("timestamp", time, true, View::Timestamp),
            view("level", DataType::Utf8, true, View::Level),
            view("record", DataType::Int64, false, View::Record),
        ];
        let spec = |field: Field, role, parents: Vec<usize>, group| ColumnSpec {
            field: Arc::new(field),
            role,
            parents,
            group,
            words: None,
        };
        let text = Field::new(TEXT, DataType::Binary, false);
        let mut specs = vec![spec(text, ColumnRole::Hidden, vec![], Some(0))];
        for (i, field) in self.shown_fields().into_iter().enumerate() {
            specs.push(match i < self.views.len() {
                true => spec(field, ColumnRole::Derived, vec![0], Some(0)),
                false => spec(field, ColumnRole::Visible, vec![], None),
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
        let lines = text
            .as_binary_opt::<i32>()
            .ok_or_else(|| Error::invalid("lines of a log are bytes"))?;
        let stored = |array: &ArrayRef, encoding| ColumnData {
            array: Arc::clone(array),
            models: Vec::new(),
            encoding,
        };
        let mut data = vec![stored(text, Some(lines::ID))];
        let [times, levels, records] = view::told(lines, &mut self.before);
        for (field, view) in &self.views {
            let array = match view {
                View::Timestamp => Arc::clone(&times),
                View::Level => Arc::clone(&levels),
                View::Record => Arc::clone(&records),
                View::Line => view.of(lines, &mut Before::default())?,
            };
            let array = physical::raise(array, field.data_type())?;
            data.push(ColumnData {
                array,
                models: match self.started {
                    true => Vec::new(),
                    false => vec![Arc::new(view.to_model())],
                },
                encoding: Some(view::ID),
            });
        }
        self.started = true;
        data.push(stored(numbers, None));
        data.push(stored(&arrow::compute::cast(file, &DataType::Utf8)?, None));
        Ok(data)
    }
}
