//! Results as text, and when two of them are equal.

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// Values of all rows, in order.
pub fn values(batches: &[RecordBatch]) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|c| ArrayFormatter::try_new(c.as_ref(), &options).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            rows.push(columns.iter().map(|c| c.value(row).to_string()).collect());
        }
    }
    rows
}

/// Rows as text.
pub fn rows(batches: &[RecordBatch]) -> Vec<String> {
    values(batches).into_iter().map(|v| v.join("|")).collect()
}

fn types(batches: &[RecordBatch]) -> Vec<DataType> {
    let schema = batches.first().map(RecordBatch::schema);
    schema.map_or_else(Vec::new, |s| {
        s.fields().iter().map(|f| f.data_type().clone()).collect()
    })
}

/// Two values that print alike, or floats that differ by the order of a sum.
fn alike(a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(x), Ok(y)) if a.contains(['.', 'e']) || b.contains(['.', 'e']) => {
            (x - y).abs() <= 1e-9 * x.abs().max(y.abs())
        }
        _ => false,
    }
}

/// Says where two results differ; `ordered` compares row by row.
pub fn difference(ours: &[RecordBatch], theirs: &[RecordBatch], ordered: bool) -> Option<String> {
    let (mut a, mut b) = (values(ours), values(theirs));
    if a.len() != b.len() {
        return Some(format!("{} rows, not {}", a.len(), b.len()));
    }
    if !a.is_empty() && types(ours) != types(theirs) {
        return Some(format!("types {:?}, not {:?}", types(ours), types(theirs)));
    }
    if !ordered {
        a.sort();
        b.sort();
    }
    let same = |a: &[String], b: &[String]| a.iter().zip(b).all(|(a, b)| alike(a, b));
    a.iter()
        .zip(&b)
        .position(|(a, b)| !same(a, b))
        .map(|i| format!("row {i}: {:?}, not {:?}", a[i], b[i]))
}
