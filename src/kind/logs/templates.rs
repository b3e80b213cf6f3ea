//! The templates of a stored log, with how many lines each has.

use std::collections::HashMap;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;

use crate::error::{Error, Result};
use crate::file::{File, ScanRequest};

/// A template and its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateCount {
    /// Its number: the same in every file.
    pub id: i64,
    /// Its words, `<*>` for those that vary.
    pub text: String,
    /// Lines.
    pub lines: u64,
    /// Bytes of these lines as shown, without what ends them.
    pub bytes: u64,
}

/// The templates of a log, the one with the most lines first.
pub fn templates(file: &File) -> Result<Vec<TemplateCount>> {
    let schema = file.meta().schema()?;
    let place = |name: &str| {
        schema.index_of(name).map_err(|_| {
            Error::invalid(format!(
                "'{}' has no column '{name}': it is no log",
                file.meta().name()
            ))
        })
    };
    let columns = [place("template_id")?, place("template")?, place("line")?];
    let mut found: HashMap<i64, TemplateCount> = HashMap::new();
    for batch in file.scan(ScanRequest::columns(columns))? {
        let batch = batch?;
        let wrong = || Error::corrupt("columns of a log of other types");
        let ids = batch
            .column(0)
            .as_primitive_opt::<Int64Type>()
            .ok_or_else(wrong)?;
        let texts = batch.column(1).as_string_opt::<i32>().ok_or_else(wrong)?;
        let lines = batch.column(2).as_string_opt::<i32>().ok_or_else(wrong)?;
        for row in 0..ids.len() {
            let id = ids.value(row);
            let of = found.entry(id).or_insert_with(|| TemplateCount {
                id,
                text: texts.value(row).to_owned(),
                lines: 0,
                bytes: 0,
            });
            of.lines += 1;
            of.bytes += lines.value(row).len() as u64;
        }
    }
    let mut found: Vec<TemplateCount> = found.into_values().collect();
    found.sort_by(|a, b| b.lines.cmp(&a.lines).then_with(|| a.text.cmp(&b.text)));
    Ok(found)
}
