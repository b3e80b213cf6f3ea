//! Folders that name values, `column=value/`: how values are spelled there.
//!
//! As Hive, Spark and DuckDB do it: null is a word of its own, the empty text is nothing, and what cannot
//! stand in a path is percent-encoded.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt64Array};
use arrow::compute::{cast_with_options, take_record_batch};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, exec_err, plan_err};
use datafusion::execution::SendableRecordBatchStream;
use datafusion_datasource::file_sink_config::FileSinkConfig;
use datafusion_datasource::write::demux::DemuxedStreamReceiver;
use futures::StreamExt;
use object_store::path::{Path, PathPart};
use tokio::sync::mpsc;

/// The folder of rows whose value is null.
pub(super) const NULL: &str = "__HIVE_DEFAULT_PARTITION__";
/// Batches that wait for a file.
const WAITING: usize = 2;

/// Whether values of a type are texts, which folders hold as they are.
pub(super) fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// The value of a folder's text.
pub(super) fn value(text: &ScalarValue, column: &str, to: &DataType) -> Result<ScalarValue> {
    let text = match text.try_as_str() {
        Some(Some(text)) if text != NULL => text,
        _ => return ScalarValue::try_from(to),
    };
    let value = ScalarValue::from(text).cast_to(to);
    value.or_else(|_| {
        plan_err!("the folder '{column}={text}' does not name a value of type {to}; declare the column as VARCHAR")
    })
}

/// Refuses names of columns that a path would spell otherwise.
fn check_name(column: &str) -> Result<()> {
    if column.contains('=') || PathPart::from(column).as_ref() != column {
        return plan_err!(
            "rows cannot be partitioned by '{column}': a folder cannot bear that name; give the \
             column another one with AS"
        );
    }
    Ok(())
}

/// The texts of a column, as folders have them.
fn texts(column: &str, values: &ArrayRef) -> Result<ArrayRef> {
    let printable = match values.data_type() {
        DataType::Dictionary(_, values) => !values.is_nested(),
        other => !other.is_nested() && !other.is_binary(),
    };
    if !printable {
        return plan_err!(
            "rows cannot be partitioned by '{column}', which is {}",
            values.data_type()
        );
    }
    let options = arrow::compute::CastOptions {
        safe: false,
        ..Default::default()
    };
    let texts = cast_with_options(values, &DataType::Utf8, &options)?;
    let array = texts.as_string::<i32>();
    for row in 0..array.len() {
        if array.is_null(row) != values.logical_nulls().is_some_and(|n| n.is_null(row)) {
            return exec_err!("a value of '{column}' has no text; partition by another column");
        }
        if array.is_valid(row) && array.value(row) == NULL {
            return exec_err!(
                "'{column}' holds the text {NULL}, which stands for null in the names of folders; \
                 replace it"
            );
        }
    }
    Ok(texts)
}

/// Deals rows out to a file for each combination of values.
pub(super) fn deal(
    config: &FileSinkConfig,
    name: String,
    mut data: SendableRecordBatchStream,
) -> Result<(SpawnedTask<Result<()>>, DemuxedStreamReceiver)> {
    let columns: Vec<String> = config
        .table_partition_cols
        .iter()
        .map(|(name, _)| name.clone())
        .collect();
    columns.iter().try_for_each(|c| check_name(c))?;
    let keep = config.keep_partition_by_columns;
    let base = match config.table_paths.first() {
        Some(base) => base.prefix().clone(),
        None => return exec_err!("nowhere to write to"),
    };
    let file = format!("{name}.{}", config.file_extension);
    let (files, receiver) = mpsc::unbounded_channel();
    let task = SpawnedTask::spawn(async move {
        let mut open: HashMap<Vec<Option<String>>, mpsc::Sender<RecordBatch>> = HashMap::new();
        while let Some(batch) = data.next().await.transpose()? {
            for (key, rows) in keys(&batch, &columns)? {
                let part = take_record_batch(&batch, &UInt64Array::from(rows))?;
                let part = match keep {
                    true => part,
                    false => without(&part, &columns)?,
                };
                let sender = match open.get(&key) {
                    Some(sender) => sender.clone(),
                    None => {
                        let (sender, batches) = mpsc::channel(WAITING);
                        let path = path(&base, &columns, &key).join(file.as_str());
                        let gone = |_| exec_datafusion_err!("writing stopped");
                        files.send((path, batches)).map_err(gone)?;
                        open.insert(key, sender.clone());
                        sender
                    }
                };
                // A writer that has ended says itself why.
                if sender.send(part).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    });
    Ok((task, receiver))
}

type Keys = Vec<(Vec<Option<String>>, Vec<u64>)>;

/// The rows of each combination of values, in order of first occurrence.
fn keys(batch: &RecordBatch, columns: &[String]) -> Result<Keys> {
    let mut arrays = Vec::with_capacity(columns.len());
    for column in columns {
        let values = batch
            .column_by_name(column)
            .ok_or_else(|| exec_datafusion_err!("there is no column '{column}'"))?;
        arrays.push(texts(column, values)?);
    }
    let mut keys: Keys = Vec::new();
    let mut places: HashMap<Vec<Option<String>>, usize> = HashMap::new();
    for row in 0..batch.num_rows() {
        let text = |array: &ArrayRef| {
            let array = array.as_string::<i32>();
            array.is_valid(row).then(|| array.value(row).to_owned())
        };
        let key: Vec<_> = arrays.iter().map(text).collect();
        let place = *places.entry(key).or_insert_with_key(|key| {
            keys.push((key.clone(), Vec::new()));
            keys.len() - 1
        });
        keys[place].1.push(row as u64);
    }
    Ok(keys)
}

fn path(base: &Path, columns: &[String], key: &[Option<String>]) -> Path {
    let mut path = base.clone();
    for (column, value) in columns.iter().zip(key) {
        let value = value.as_deref().unwrap_or(NULL);
        path = path.join(format!("{column}={value}"));
    }
    path
}

fn without(batch: &RecordBatch, columns: &[String]) -> Result<RecordBatch> {
    let schema = batch.schema();
    let kept = |i: &usize| !columns.contains(schema.field(*i).name());
    let kept: Vec<usize> = (0..schema.fields().len()).filter(kept).collect();
    Ok(batch.project(&kept)?)
}

/// A file's values, in the types of the table.
pub(super) fn values(
    texts: &[ScalarValue],
    columns: &[Arc<arrow::datatypes::Field>],
) -> Result<Vec<ScalarValue>> {
    texts
        .iter()
        .zip(columns)
        .map(|(text, field)| value(text, field.name(), field.data_type()))
        .collect()
}
