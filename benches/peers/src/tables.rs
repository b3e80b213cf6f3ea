//! Tables out of CSV files.

use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use pilaster::kind::tables::source::{self, SourceOptions};

use crate::Result;
use crate::arguments::Arguments;

/// A table in memory.
pub struct Table {
    /// `folder/file` without extension.
    pub name: String,
    /// Bytes of the CSV.
    pub csv_bytes: u64,
    /// Columns, typed as `pilaster import` types them.
    pub schema: SchemaRef,
    /// All rows.
    pub rows: RecordBatch,
}

/// The CSV files of a directory and of the folders in it: their names and paths, in order.
pub fn find(arguments: &Arguments) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    collect(&arguments.directory, "", &mut found)
        .map_err(|e| format!("cannot list {}: {e}", arguments.directory.display()))?;
    found.sort();
    found.retain(|(name, _)| arguments.only.is_empty() || arguments.only.contains(name));
    match found.is_empty() {
        true => Err(format!("no table to measure in {}", arguments.directory.display()).into()),
        false => Ok(found),
    }
}

fn collect(
    directory: &Path,
    prefix: &str,
    found: &mut Vec<(String, PathBuf)>,
) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        if path.is_dir() && prefix.is_empty() {
            collect(&path, &format!("{stem}/"), found)?;
        } else if path.extension().is_some_and(|e| e == "csv") {
            found.push((format!("{prefix}{stem}"), path.clone()));
        }
    }
    Ok(())
}

/// Loads a table as `pilaster import` would.
pub fn load(name: &str, path: &Path) -> Result<Table> {
    let source = source::open(&[path.into()], &SourceOptions::default(), &mut |_, _| ())?;
    let schema = source.schema();
    let batches = source.collect::<pilaster::Result<Vec<_>>>()?;
    Ok(Table {
        name: name.to_owned(),
        csv_bytes: std::fs::metadata(path)?.len(),
        rows: concat_batches(&schema, &batches)?,
        schema,
    })
}

/// A file name made of a table's name.
pub fn file_name(table: &str, rest: &str) -> String {
    format!("{}.{rest}", table.replace('/', "-"))
}
