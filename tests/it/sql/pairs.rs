//! Twenty queries a table over pairs of files: `NAME.parquet`, and the same rows in every
//! `NAME*.pil` beside it.
//!
//! ```text
//! pilaster import orders.csv pairs/orders.balanced.pil
//! pilaster import orders.csv pairs/orders.archive.pil --profile archive
//! pilaster export pairs/orders.balanced.pil pairs/orders.parquet
//! PILASTER_PAIRS=pairs cargo test --release --test it sql::pairs -- --ignored --nocapture
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::datatypes::{DataType, Schema};
use datafusion::common::ScalarValue;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;

fn read_parquet(path: &Path) -> Vec<RecordBatch> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let schema = Arc::clone(builder.schema());
    let mut batches: Vec<_> = builder.build().unwrap().map(Result::unwrap).collect();
    if batches.is_empty() {
        batches.push(RecordBatch::new_empty(schema));
    }
    batches
}

/// A name in quotes.
fn q(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A value of a column as SQL writes it.
fn literal(value: &ScalarValue) -> Option<String> {
    match value {
        _ if value.is_null() => None,
        ScalarValue::Utf8(Some(s))
        | ScalarValue::LargeUtf8(Some(s))
        | ScalarValue::Utf8View(Some(s)) => Some(format!("'{}'", s.replace('\'', "''"))),
        ScalarValue::Dictionary(_, value) => literal(value),
        ScalarValue::Boolean(Some(b)) => Some(b.to_string()),
        _ => {
            let text =
                arrow::util::display::array_value_to_string(&value.to_array().ok()?, 0).ok()?;
            Some(format!("arrow_cast('{text}', '{}')", value.data_type()))
        }
    }
}

fn is_text(t: &DataType) -> bool {
    match t {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, value) => is_text(value),
        _ => false,
    }
}

/// Twenty queries for a schema, with literals from the rows.
fn queries(schema: &Schema, batches: &[RecordBatch]) -> Vec<String> {
    let columns: Vec<_> = schema
        .fields()
        .iter()
        .filter(|f| !f.data_type().is_nested())
        .collect();
    let some = |i: usize| columns[i * columns.len() / 7 % columns.len()];
    let value = |column: &str, part: usize| {
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let mut at = rows * part / 8;
        for batch in batches {
            if at < batch.num_rows() {
                let array = batch.column_by_name(column)?;
                return literal(&ScalarValue::try_from_array(array, at).ok()?);
            }
            at -= batch.num_rows();
        }
        None
    };
    let equal = |i: usize, part: usize| {
        let column = some(i);
        match value(column.name(), part) {
            Some(v) => format!("{} = {v}", q(column.name())),
            None => format!("{} IS NULL", q(column.name())),
        }
    };
    let between = |i: usize, op: &str, part: usize| {
        let column = some(i);
        match value(column.name(), part) {
            Some(v) => format!("{} {op} {v}", q(column.name())),
            None => format!("{} IS NOT NULL", q(column.name())),
        }
    };
    let texts: Vec<_> = columns.iter().filter(|f| is_text(f.data_type())).collect();
    let like = |i: usize, pattern: &str| match texts.get(i % texts.len().max(1)) {
        Some(f) => format!("{} LIKE '{pattern}'", q(f.name())),
        None => equal(i, 2),
    };
    let c: Vec<String> = (0..7).map(|i| q(some(i).name())).collect();
    let all: Vec<String> = columns.iter().take(6).map(|f| q(f.name())).collect();
    let order = all.join(", ");
    vec![
        "SELECT count(*) FROM t".to_owned(),
        format!(
            "SELECT min({0}), max({0}), count({0}), count({1}) FROM t",
            c[0], c[3]
        ),
        format!("SELECT count(*) FROM t WHERE {}", equal(0, 1)),
        format!("SELECT count(*) FROM t WHERE {}", equal(3, 5)),
        format!("SELECT {order} FROM t WHERE {}", equal(5, 3)),
        format!(
            "SELECT count(*), min({}) FROM t WHERE {}",
            c[2],
            between(1, ">", 2)
        ),
        format!(
            "SELECT count(*), max({}) FROM t WHERE {} AND {}",
            c[1],
            between(2, "<=", 4),
            between(4, ">=", 6)
        ),
        format!(
            "SELECT {}, count(*) AS n FROM t GROUP BY {} ORDER BY n DESC, {} LIMIT 100",
            c[1], c[1], c[1]
        ),
        format!(
            "SELECT {0}, {1}, count(*) AS n FROM t GROUP BY {0}, {1} ORDER BY n DESC, {0}, {1} LIMIT 100",
            c[2], c[5]
        ),
        format!(
            "SELECT {0}, count(*), min({1}), max({2}) FROM t WHERE {3} GROUP BY {0} ORDER BY {0} LIMIT 200",
            c[4],
            c[0],
            c[6],
            between(3, "<", 3)
        ),
        format!(
            "SELECT count(*) FROM (SELECT DISTINCT {}, {} FROM t)",
            c[0], c[6]
        ),
        format!("SELECT {order} FROM t ORDER BY {order} LIMIT 50"),
        format!(
            "SELECT {0}, {1} FROM t ORDER BY {1} DESC, {0} LIMIT 50",
            c[0], c[5]
        ),
        format!(
            "SELECT {0} FROM t WHERE {1} ORDER BY {0} DESC NULLS LAST LIMIT 20",
            c[2],
            between(6, ">", 1)
        ),
        format!("SELECT count(*) FROM t WHERE {}", like(0, "%a%")),
        format!(
            "SELECT {order} FROM t WHERE {} ORDER BY {order} LIMIT 30",
            like(1, "S%")
        ),
        format!("SELECT count(*) FROM t WHERE {} IS NULL", c[6]),
        format!(
            "SELECT count(*) FROM t WHERE {} IS NOT NULL AND ({} OR {})",
            c[2],
            equal(1, 7),
            equal(4, 0)
        ),
        format!(
            "SELECT count(*) FROM t JOIN (SELECT DISTINCT {0} AS y FROM t WHERE {1}) b ON {0} = y",
            c[1],
            equal(2, 6)
        ),
        format!(
            "SELECT a.x, count(*) AS n FROM (SELECT {0} AS x FROM t WHERE {2}) a JOIN (SELECT {0} AS y, min({1}) AS m FROM t GROUP BY {0}) b ON a.x = b.y GROUP BY a.x ORDER BY n DESC, a.x LIMIT 20",
            c[4],
            c[0],
            between(0, ">=", 4)
        ),
    ]
}

fn pairs(directory: &Path) -> BTreeMap<PathBuf, Vec<PathBuf>> {
    let files = |extension: &str| {
        let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
            .unwrap()
            .map(|e| e.unwrap().path())
            .filter(|p| p.extension().is_some_and(|e| e == extension))
            .collect();
        files.sort();
        files
    };
    let ours = files("pil");
    let pair = |parquet: PathBuf| {
        let stem = parquet.file_stem().unwrap().to_str().unwrap().to_owned();
        let belongs = |p: &&PathBuf| {
            let name = p.file_name().unwrap().to_str().unwrap();
            name.strip_prefix(&stem)
                .is_some_and(|rest| rest.starts_with('.'))
        };
        let ours = ours.iter().filter(belongs).cloned().collect();
        (parquet, ours)
    };
    files("parquet").into_iter().map(pair).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PILASTER_PAIRS, a directory of Parquet files and .pil files of the same rows"]
async fn real_tables_agree_with_their_parquet() {
    let directory = std::env::var("PILASTER_PAIRS").expect("PILASTER_PAIRS names a directory");
    let mut wrong = 0;
    for (parquet, ours) in pairs(Path::new(&directory)) {
        let batches = read_parquet(&parquet);
        let schema = batches[0].schema();
        let theirs = memory(2);
        memory_table(&theirs, "t", &batches);
        for sql in queries(&schema, &batches) {
            let expected = try_run(&theirs, &sql).await;
            for file in &ours {
                let context = session(2);
                let by_path = format!(
                    "CREATE EXTERNAL TABLE t STORED AS PILASTER LOCATION '{}'",
                    file.display()
                );
                run(&context, &by_path).await;
                let got = try_run(&context, &sql).await;
                let verdict = match (&got, &expected) {
                    (Ok(a), Ok(b)) => compare::difference(a, b, sql.contains("ORDER BY")),
                    (Err(_), Err(_)) => None,
                    (a, b) => Some(format!(
                        "{:?}, not {:?}",
                        a.as_ref().err(),
                        b.as_ref().err()
                    )),
                };
                if let Some(difference) = verdict {
                    wrong += 1;
                    println!("{}: {sql}: {difference}", file.display());
                }
            }
        }
        println!(
            "{}: 20 queries over {} files",
            parquet.display(),
            ours.len()
        );
        for file in &ours {
            let size = std::fs::metadata(file).unwrap().len();
            let context = session(1);
            for sql in queries(&schema, &batches)[2..5].iter() {
                let sql = sql.replace("FROM t", &format!("FROM '{}'", file.display()));
                let analyzed = explain::analyze(&context, &sql).await;
                let read = explain::metric(&analyzed, "bytes_read");
                println!("  {read:>12} of {size:>12} bytes read: {sql}");
            }
        }
    }
    assert_eq!(wrong, 0);
}
