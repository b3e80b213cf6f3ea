//! Many queries, ours against DataFusion over the same rows in memory.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

use super::generate::{Random, table};
use super::*;

/// Twenty queries over the generated table `t`, and `w`, another one.
const QUERIES: [&str; 20] = [
    "SELECT * FROM t",
    "SELECT id, s FROM t WHERE k = 7",
    "SELECT * FROM t WHERE id BETWEEN 9000 AND 9100",
    "SELECT id FROM t WHERE v < 100 AND v > -100 AND s IS NOT NULL",
    "SELECT count(*), count(k), count(DISTINCT k), min(v), max(v), sum(d) FROM t",
    "SELECT k, count(*), min(v), max(u) FROM t GROUP BY k ORDER BY k NULLS FIRST",
    "SELECT s, b, count(*), sum(id) FROM t GROUP BY s, b ORDER BY s, b",
    "SELECT id, f FROM t ORDER BY f DESC NULLS LAST, id LIMIT 50",
    "SELECT u FROM t ORDER BY u LIMIT 30",
    "SELECT t.id, w.s FROM t JOIN w ON t.k = w.k AND t.id = w.id + 3 WHERE w.b ORDER BY t.id, w.s",
    "SELECT t.k, count(*) FROM t LEFT JOIN w ON t.v = w.v GROUP BY t.k ORDER BY t.k",
    "SELECT id FROM t WHERE s LIKE '%a%' AND u LIKE 'x%'",
    "SELECT id FROM t WHERE s IS NULL AND k IS NULL",
    "SELECT id FROM t WHERE s ILIKE 'AHORN' OR s ~ '^[éw]'",
    "SELECT date_trunc('minute', t) AS m, count(*), avg(d) FROM t GROUP BY m ORDER BY m",
    "SELECT day, sum(v % 1000) FROM t WHERE day >= '2022-02-01' GROUP BY day ORDER BY day LIMIT 10",
    "SELECT id, row_number() OVER (PARTITION BY k ORDER BY id) AS r FROM t WHERE id < 3000 ORDER BY id",
    "SELECT id FROM t WHERE id IN (SELECT v FROM w) OR d > (SELECT avg(d) FROM w) + 4900",
    "SELECT DISTINCT s, k FROM t WHERE NOT b ORDER BY s, k",
    "SELECT id, d, f FROM t WHERE (f > 1000 OR d < -4000) AND NOT (k > 3 AND s < 'm') ORDER BY d, id LIMIT 40",
];

#[tokio::test]
async fn twenty_queries_agree_in_both_profiles() {
    for (rows, seed) in [(25_000, 11), (9_000, 12), (1, 13), (0, 14)] {
        let (t, w) = (table(rows, seed), table(rows / 3 + 1, seed + 100));
        let theirs = memory(2);
        memory_table(&theirs, "t", &t);
        memory_table(&theirs, "w", &w);
        let mut expected = Vec::new();
        for sql in QUERIES {
            expected.push(run(&theirs, sql).await);
        }
        for profile in [Profile::Balanced, Profile::Archive] {
            let folder = Folder::new();
            write(&folder.path("t.pil"), &t[0].schema(), &t, profile);
            write(&folder.path("w.pil"), &w[0].schema(), &w, profile);
            for partitions in [1, 4] {
                let ours = session(partitions);
                for name in ["t", "w"] {
                    let file = folder.sql(&format!("{name}.pil"));
                    let create =
                        format!("CREATE EXTERNAL TABLE {name} STORED AS PILASTER LOCATION {file}");
                    run(&ours, &create).await;
                }
                for (sql, expected) in QUERIES.iter().zip(&expected) {
                    let got = run(&ours, sql).await;
                    let ordered = sql.contains("ORDER BY");
                    if let Some(difference) = compare::difference(&got, expected, ordered) {
                        panic!(
                            "{profile:?}, {partitions} partitions, {rows} rows: {sql}: {difference}"
                        );
                    }
                }
            }
        }
    }
}

/// A column's type and what literals of it look like.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Int,
    Small,
    Unsigned,
    Float,
    Text,
    Bool,
    Time,
    Decimal,
    Dictionary,
}

const KINDS: [Kind; 9] = [
    Kind::Int,
    Kind::Small,
    Kind::Unsigned,
    Kind::Float,
    Kind::Text,
    Kind::Bool,
    Kind::Time,
    Kind::Decimal,
    Kind::Dictionary,
];

const TEXTS: [&str; 8] = ["", "a", "aa", "ab", "b", "ä", "zz top", "Z"];

impl Kind {
    fn data_type(self) -> DataType {
        match self {
            Kind::Int => DataType::Int64,
            Kind::Small => DataType::Int8,
            Kind::Unsigned => DataType::UInt32,
            Kind::Float => DataType::Float64,
            Kind::Text => DataType::Utf8,
            Kind::Bool => DataType::Boolean,
            Kind::Time => DataType::Timestamp(TimeUnit::Microsecond, None),
            Kind::Decimal => DataType::Decimal128(9, 3),
            Kind::Dictionary => {
                DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
            }
        }
    }

    /// A column; `shape` makes it random, ascending or constant in stretches.
    fn array(self, rows: usize, r: &mut Random) -> ArrayRef {
        let nulls = *r.pick(&[0, 0, 3, 50, 1]);
        let shape = r.below(3);
        let range = *r.pick(&[2, 10, 1000, 1 << 30]);
        let numbers: Vec<Option<i64>> = (0..rows)
            .map(|i| {
                let x = match shape {
                    0 => r.below(range) as i64 - range as i64 / 2,
                    1 => i as i64 / 5 + r.below(3) as i64,
                    _ => (i / 3000) as i64,
                };
                (nulls == 0 || !r.one_in(nulls)).then_some(x)
            })
            .collect();
        let text = |x: i64| TEXTS[x.rem_euclid(8) as usize];
        let numbers = numbers.into_iter();
        match self {
            Kind::Int => Arc::new(Int64Array::from_iter(numbers)),
            Kind::Small => Arc::new(Int8Array::from_iter(numbers.map(|x| x.map(|x| x as i8)))),
            Kind::Unsigned => {
                Arc::new(UInt32Array::from_iter(numbers.map(|x| x.map(|x| x as u32))))
            }
            Kind::Float => Arc::new(Float64Array::from_iter(numbers.map(|x| {
                x.map(|x| match x.rem_euclid(29) {
                    28 => f64::NAN,
                    27 => -0.0,
                    _ => x as f64 / 4.0,
                })
            }))),
            Kind::Text => Arc::new(StringArray::from_iter(numbers.map(|x| x.map(text)))),
            Kind::Bool => Arc::new(BooleanArray::from_iter(
                numbers.map(|x| x.map(|x| x.rem_euclid(3) == 0)),
            )),
            Kind::Time => Arc::new(TimestampMicrosecondArray::from_iter(
                numbers.map(|x| x.map(|x| x * 1_000_000)),
            )),
            Kind::Decimal => Arc::new(
                Decimal128Array::from_iter(numbers.map(|x| x.map(|x| i128::from(x % 1_000_000))))
                    .with_precision_and_scale(9, 3)
                    .unwrap(),
            ),
            Kind::Dictionary => Arc::new(
                numbers
                    .map(|x| x.map(text))
                    .collect::<DictionaryArray<arrow::datatypes::Int32Type>>(),
            ),
        }
    }

    fn literal(self, r: &mut Random) -> String {
        let x = match r.below(4) {
            0 => r.below(4) as i64,
            1 => r.below(4000) as i64,
            2 => -(r.below(600) as i64),
            _ => r.below(1 << 29) as i64,
        };
        match self {
            Kind::Int | Kind::Unsigned => x.to_string(),
            Kind::Small => (x as i8).to_string(),
            Kind::Float => r
                .pick(&["0.0", "-0.0", "'NaN'::double", "2.25", "-100.5", "1e9"])
                .to_string(),
            Kind::Text | Kind::Dictionary => format!("'{}'", r.pick(&TEXTS)),
            Kind::Bool => r.pick(&["true", "false"]).to_string(),
            Kind::Time => format!("to_timestamp_micros({})", x * 1_000_000),
            Kind::Decimal => format!("{}.{:03}", x % 1000, r.below(1000)),
        }
    }
}

fn condition(columns: &[Kind], depth: usize, r: &mut Random) -> String {
    if depth > 0 && !r.one_in(3) {
        let a = condition(columns, depth - 1, r);
        let b = condition(columns, depth - 1, r);
        return match r.below(5) {
            0 | 1 => format!("({a} AND {b})"),
            2 | 3 => format!("({a} OR {b})"),
            _ => format!("NOT ({a})"),
        };
    }
    let i = r.below(columns.len() as u64) as usize;
    let (kind, c) = (columns[i], format!("c{i}"));
    let literal = kind.literal(r);
    match r.below(8) {
        0 => format!("{c} IS NULL"),
        1 => format!("{c} IS NOT NULL"),
        2 => {
            let other = kind.literal(r);
            format!("{c} IN ({literal}, {other})")
        }
        3 if matches!(kind, Kind::Text | Kind::Dictionary) => {
            format!("{c} LIKE '{}'", r.pick(&["a%", "%a%", "_", "%"]))
        }
        3 if kind == Kind::Bool => c,
        4 => {
            let other = kind.literal(r);
            format!("{c} BETWEEN {literal} AND {other}")
        }
        5 => format!("{c} IS DISTINCT FROM {literal}"),
        6 => format!("id % {} = {}", 1 + r.below(7), r.below(7)),
        _ => format!(
            "{c} {} {literal}",
            r.pick(&["=", "<>", "<", "<=", ">", ">="])
        ),
    }
}

fn query(columns: &[Kind], r: &mut Random) -> (String, bool) {
    let filter = match r.one_in(4) {
        true => String::new(),
        false => format!("WHERE {}", condition(columns, r.below(3) as usize, r)),
    };
    let any = |r: &mut Random| r.below(columns.len() as u64);
    match r.below(7) {
        0 => (format!("SELECT * FROM t {filter}"), false),
        1 => (format!("SELECT c{}, id FROM t {filter}", any(r)), false),
        2 => (format!("SELECT count(*) FROM t {filter}"), false),
        3 => {
            let (a, mut b) = (any(r), any(r));
            // Which of NaN and a number is the least depends on their order in DataFusion's groups.
            while columns[b as usize] == Kind::Float && columns.iter().any(|c| *c != Kind::Float) {
                b = any(r);
            }
            if columns[b as usize] == Kind::Float {
                return (
                    format!("SELECT c{a}, count(c{b}) FROM t {filter} GROUP BY c{a}"),
                    false,
                );
            }
            let sql = format!(
                "SELECT c{a}, count(*), count(c{b}), min(c{b}), max(id) FROM t {filter} GROUP BY c{a}"
            );
            (sql, false)
        }
        4 | 5 => {
            let order = r.pick(&["", "DESC", "NULLS FIRST", "DESC NULLS LAST"]);
            let limit = *r.pick(&[0, 1, 5, 100, 10_000]);
            let sql = format!(
                "SELECT id, c{c} FROM t {filter} ORDER BY c{c} {order}, id LIMIT {limit}",
                c = any(r)
            );
            (sql, true)
        }
        _ => {
            let c = any(r);
            let sql = format!(
                "SELECT count(*) FROM (SELECT id, c{c} AS x FROM t {filter}) a \
                 JOIN (SELECT DISTINCT c{c} AS y FROM t WHERE id < 50) b ON x = y"
            );
            (sql, false)
        }
    }
}

/// Tables and queries from a seed. `PILASTER_SQL_TABLES` makes more of them.
#[tokio::test]
async fn random_queries_over_random_tables_agree() {
    let tables = std::env::var("PILASTER_SQL_TABLES").ok();
    let tables: u64 = tables.and_then(|t| t.parse().ok()).unwrap_or(25);
    for seed in 0..tables {
        let r = &mut Random::new(seed * 7919 + 1);
        let rows = *r.pick(&[0, 1, 500, 8192, 9000, 20_000, 30_000]);
        let kinds: Vec<Kind> = (0..1 + r.below(5)).map(|_| *r.pick(&KINDS)).collect();
        let mut fields = vec![Field::new("id", DataType::Int64, false)];
        let mut arrays: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_iter_values(0..rows))];
        for (i, kind) in kinds.iter().enumerate() {
            fields.push(Field::new(format!("c{i}"), kind.data_type(), true));
            arrays.push(kind.array(rows as usize, r));
        }
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
        let batches = [batch];
        let folder = Folder::new();
        let profile = *r.pick(&[Profile::Fast, Profile::Balanced, Profile::Archive]);
        // One file or several.
        let cuts = 1 + r.below(3) as usize;
        for i in 0..cuts {
            let (a, b) = (rows as usize * i / cuts, rows as usize * (i + 1) / cuts);
            let part = batches[0].slice(a, b - a);
            let path = folder.path(&format!("t{i}.pil"));
            write(&path, &part.schema(), &[part], profile);
        }
        let theirs = memory(2);
        memory_table(&theirs, "t", &batches);
        let ours = session(*r.pick(&[1, 4]));
        run(&ours, &format!("SET pilaster.prune = {}", !r.one_in(4))).await;
        let create = format!(
            "CREATE EXTERNAL TABLE t STORED AS PILASTER LOCATION {}",
            folder.sql("")
        );
        run(&ours, &create).await;
        for _ in 0..10 {
            let (sql, ordered) = query(&kinds, r);
            let expected = try_run(&theirs, &sql).await;
            let got = try_run(&ours, &sql).await;
            match (got, expected) {
                (Ok(got), Ok(expected)) => {
                    if let Some(difference) = compare::difference(&got, &expected, ordered) {
                        panic!("table {seed}, {profile:?}, {kinds:?}: {sql}: {difference}");
                    }
                }
                (Err(_), Err(_)) => {}
                (got, expected) => {
                    panic!("table {seed}, {kinds:?}: {sql}: {got:?}, not {expected:?}")
                }
            }
        }
    }
}
