//! Distances in SQL: the answers of brute force over the decoded vectors, found on codes.

use arrow::array::*;
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Float32Type, Schema};

use super::explain::{analyze, metric};
use super::*;
use crate::generate::Rng;
use crate::golden::read_all;

const ROWS: usize = 6_000;
const DIMENSION: usize = 24;

/// Rows with an id, a category and a vector; some vectors are null, one is zero, one is there twice.
fn vectors() -> RecordBatch {
    let mut rng = Rng::new(5);
    let mut values: Vec<f32> = (0..ROWS * DIMENSION)
        .map(|_| (rng.next() >> 40) as f32 / (1u64 << 24) as f32 - 0.4)
        .collect();
    values[7 * DIMENSION..8 * DIMENSION].fill(0.0);
    values.copy_within(9 * DIMENSION..10 * DIMENSION, 4_000 * DIMENSION);
    let nulls: NullBuffer = (0..ROWS).map(|i| i % 500 != 3).collect();
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let list = FixedSizeListArray::new(
        item,
        DIMENSION as i32,
        Arc::new(Float32Array::from(values)),
        Some(nulls),
    );
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("cat", DataType::Int32, false),
        Field::new("v", list.data_type().clone(), true),
    ]);
    let ids = Int64Array::from_iter_values((0..ROWS as i64).map(|i| i * 3));
    let categories = Int32Array::from_iter_values((0..ROWS as i32).map(|i| i % 7));
    RecordBatch::try_new(
        Arc::new(schema),
        vec![Arc::new(ids), Arc::new(categories), Arc::new(list)],
    )
    .unwrap()
}

/// Writes the table with its vectors in a code; gives the path for SQL, and what the file decodes to.
fn stored(folder: &Folder, table: &RecordBatch, code: &str) -> (String, RecordBatch) {
    let name = format!("{code}.pil");
    let options = WriteOptions {
        specs: vec![("v".to_owned(), code.to_owned())],
        ..WriteOptions::default()
    };
    let mut writer = Writer::create(folder.path(&name), table.schema(), options).unwrap();
    writer.write(table).unwrap();
    writer.finish().unwrap();
    let file = pilaster::File::open(folder.path(&name)).unwrap();
    (folder.sql(&name), read_all(&file).unwrap())
}

fn query() -> String {
    let values: Vec<String> = (0..DIMENSION)
        .map(|i| format!("{:.3}", 0.5 * (i as f32 * 1.3).sin() + 0.1))
        .collect();
    format!("[{}]", values.join(","))
}

#[tokio::test]
async fn queries_give_what_brute_force_over_the_decoded_vectors_gives() {
    let folder = Folder::new();
    let table = vectors();
    let q = query();
    let queries = [
        format!("SELECT id FROM t ORDER BY array_distance(v, {q}) LIMIT 10"),
        format!("SELECT id, cosine_distance(v, {q}) AS d FROM t WHERE cat = 3 ORDER BY d LIMIT 5"),
        format!("SELECT inner_product(v, {q}) AS s, id FROM t ORDER BY s DESC NULLS LAST LIMIT 7"),
        format!("SELECT id FROM t ORDER BY inner_product(v, {q}) DESC, id LIMIT 40"),
        format!("SELECT id FROM t WHERE array_distance(v, {q}) < 1.9 ORDER BY id"),
        format!(
            "SELECT cat, count(*), min(array_distance(v, {q})) FROM t \
             WHERE array_distance(v, {q}) < 2.1 GROUP BY cat ORDER BY cat"
        ),
        format!(
            "SELECT a.id, b.cat FROM t a JOIN (SELECT DISTINCT cat FROM t WHERE cat % 2 = 1) b \
             ON a.cat = b.cat ORDER BY array_distance(a.v, {q}), a.id LIMIT 9"
        ),
        format!(
            "SELECT cat, count(*) FROM (SELECT cat FROM t \
             ORDER BY cosine_distance(v, {q}), id LIMIT 100) GROUP BY cat ORDER BY cat"
        ),
        format!(
            "SELECT id FROM t WHERE cat = 1 OR cosine_distance(v, {q}) < 0.3 \
             ORDER BY cosine_distance(v, {q}), id LIMIT 30"
        ),
        format!(
            "SELECT id FROM t WHERE cat = 2 AND id < 900 ORDER BY array_distance(v, {q}), id LIMIT 1000"
        ),
        format!("SELECT id FROM t ORDER BY array_distance({q}, v), id LIMIT 5 OFFSET 20"),
        format!("SELECT id FROM t WHERE cosine_distance(v, {q}) IS NULL ORDER BY id"),
        format!(
            "SELECT id, array_distance(v, {q}) - cosine_distance(v, {q}) FROM t \
             WHERE inner_product(v, {q}) > 0.5 ORDER BY cosine_distance(v, {q}), id LIMIT 12"
        ),
        format!("SELECT id FROM t WHERE array_distance(v, {q}) > 2.6 ORDER BY id"),
    ];
    for code in ["exact", "lvq8", "lvq4x8", "lvq2", "f16", "int8"] {
        let (path, decoded) = stored(&folder, &table, code);
        let reference = memory(1);
        memory_table(&reference, "t", &[decoded]);
        for partitions in [1, 3] {
            let context = session(partitions);
            let create = format!("CREATE EXTERNAL TABLE t STORED AS PILASTER LOCATION {path}");
            run(&context, &create).await;
            for sql in &queries {
                let expected = rows(&reference, sql).await;
                assert!(!expected.is_empty(), "{sql}");
                assert_eq!(
                    rows(&context, sql).await,
                    expected,
                    "{code}, {partitions} partitions: {sql}"
                );
            }
        }
    }
}

#[tokio::test]
async fn bounds_on_codes_spare_most_vectors() {
    let folder = Folder::new();
    let table = vectors();
    for code in ["lvq8", "lvq4x8"] {
        let (path, _) = stored(&folder, &table, code);
        let context = session(1);
        let sql = format!(
            "SELECT id, array_distance(v, {}) AS d FROM {path} ORDER BY d LIMIT 10",
            query()
        );
        let analyzed = analyze(&context, &sql).await;
        assert!(
            analyzed.contains("nearest=array_distance(v) mode=exact"),
            "{analyzed}"
        );
        assert!(analyzed.contains("dynamic_pruning=eligible"), "{analyzed}");
        // Counts of thousands are rounded, what is left is not.
        let (_, counts) = analyzed
            .split_once("rows_pruned_distance=6.00 K total → ")
            .unwrap();
        let near = counts.split_once(" matched").unwrap().0;
        let near: usize = near.parse().unwrap_or_else(|_| panic!("{analyzed}"));
        assert!(near < ROWS / 8, "{analyzed}");
        // A vector and an id of each row that is left.
        assert!(
            metric(&analyzed, "values_decoded") < 2.5 * near as f64,
            "{analyzed}"
        );
        run(&context, "SET pilaster.prune = false").await;
        let all = analyze(&context, &sql).await;
        assert!(metric(&all, "values_decoded") >= 2.0 * ROWS as f64, "{all}");
    }
}

#[tokio::test]
async fn vector_search_gives_rows_and_distances() {
    let folder = Folder::new();
    let (path, decoded) = stored(&folder, &vectors(), "lvq4x8");
    let reference = memory(1);
    memory_table(&reference, "t", &[decoded]);
    let context = session(2);
    let create = format!("CREATE EXTERNAL TABLE t STORED AS PILASTER LOCATION {path}");
    run(&context, &create).await;
    let q = query();
    for (arguments, expected) in [
        (
            format!("{path}, 'v', {q}, 10"),
            format!("SELECT id, id / 3, array_distance(v, {q}) FROM t ORDER BY 3, 2 LIMIT 10"),
        ),
        (
            format!("'t', 'v', {q}, 5, 'cat = 4 AND id > 600'"),
            format!(
                "SELECT id, id / 3, array_distance(v, {q}) FROM t WHERE cat = 4 AND id > 600 \
                 ORDER BY 3, 2 LIMIT 5"
            ),
        ),
        (
            format!("'t', 'v', {q}, 100000, '', 'cosine'"),
            format!(
                "SELECT id, id / 3, cosine_distance(v, {q}) FROM t \
                 WHERE cosine_distance(v, {q}) IS NOT NULL ORDER BY 3, 2"
            ),
        ),
        (
            format!("'t', 'v', {q}, 6, 'cat < 3', 'inner_product'"),
            format!(
                "SELECT id, id / 3, -inner_product(v, {q}) FROM t \
                 WHERE cat < 3 AND v IS NOT NULL ORDER BY 3, 2 LIMIT 6"
            ),
        ),
    ] {
        let sql = format!(
            "SELECT id, _row_id, _distance FROM vector_search({arguments}) ORDER BY _distance, _row_id"
        );
        let found = rows(&context, &sql).await;
        assert_eq!(found, rows(&reference, &expected).await, "{sql}");
    }
    let joined = format!(
        "SELECT t.cat, min(s._distance) FROM vector_search('t', 'v', {q}, 20) s \
         JOIN t ON t.id = s.id GROUP BY t.cat ORDER BY 1"
    );
    assert!(!rows(&context, &joined).await.is_empty());
}

#[tokio::test]
async fn row_numbers_filter_beside_a_distance() {
    let folder = Folder::new();
    let (path, decoded) = stored(&folder, &vectors(), "lvq4x8");
    let reference = memory(1);
    memory_table(&reference, "t", &[decoded]);
    let q = query();
    for partitions in [1, 3] {
        let context = session(partitions);
        run(&context, "SET pilaster.row_id = true").await;
        for filter in [
            "_row_id % 3 = 1",
            "_row_id > 5500",
            "_row_id < 9 AND cat > 1",
        ] {
            let of = |from: &str, filter: &str, row: &str| {
                format!(
                    "SELECT id, {row}, array_distance(v, {q}) FROM {from} WHERE {filter} \
                     ORDER BY 3, 2 LIMIT 5"
                )
            };
            let found = rows(&context, &of(&path, filter, "_row_id")).await;
            let filter = filter.replace("_row_id", "id / 3");
            let expected = rows(&reference, &of("t", &filter, "id / 3")).await;
            assert_eq!(found, expected, "{filter}");
        }
    }
}

#[tokio::test]
async fn vector_search_says_what_is_wrong() {
    let folder = Folder::new();
    let (path, _) = stored(&folder, &vectors(), "lvq8");
    let context = session(1);
    let q = query();
    for (arguments, says) in [
        (format!("{path}, 'v', {q}"), "takes a table's name or path"),
        (format!("{path}, 'w', {q}, 3"), "has no column 'w'"),
        (
            format!("'nothing', 'v', {q}, 3"),
            "there is no table or file 'nothing'",
        ),
        (
            format!("{path}, 'v', {q}, 3, '', 'hamming'"),
            "'hamming' is no metric",
        ),
        (format!("{path}, 'v', [1.0, 2.0], 3"), "length"),
    ] {
        let message = error(
            &context,
            &format!("SELECT * FROM vector_search({arguments})"),
        )
        .await;
        assert!(message.contains(says), "{arguments}: {message}");
    }
}

/// The same table with rows that hold NaN of both signs, and infinities.
fn with_odd_rows() -> RecordBatch {
    let table = vectors();
    let list = table.column(2).as_fixed_size_list();
    let values = list.values().as_primitive::<Float32Type>();
    let mut values = values.values().to_vec();
    for (row, at, odd) in [
        (0, 0, f32::NAN),
        (11, 3, -f32::NAN),
        (12, 23, f32::INFINITY),
        (2_500, 1, f32::NEG_INFINITY),
        (5_999, 5, f32::from_bits(0xffc0_0001)),
    ] {
        values[row * DIMENSION + at] = odd;
    }
    let (item, size, _, nulls) = list.clone().into_parts();
    let list = FixedSizeListArray::new(item, size, Arc::new(Float32Array::from(values)), nulls);
    let mut columns = table.columns().to_vec();
    columns[2] = Arc::new(list);
    RecordBatch::try_new(table.schema(), columns).unwrap()
}

#[tokio::test]
async fn rows_whose_distance_is_no_number_are_never_an_answer() {
    let folder = Folder::new();
    let table = with_odd_rows();
    let q = query();
    for code in ["exact", "lvq8", "lvq4x8", "f16"] {
        let (path, decoded) = stored(&folder, &table, code);
        let reference = memory(1);
        memory_table(&reference, "t", &[decoded]);
        for partitions in [1, 3] {
            let context = session(partitions);
            let create = format!("CREATE EXTERNAL TABLE t STORED AS PILASTER LOCATION {path}");
            run(&context, &create).await;
            for (call, metric, order) in [
                ("array_distance", "l2", ""),
                ("list_distance", "l2", ""),
                ("cosine_distance", "cosine", ""),
                ("inner_product", "inner_product", "DESC"),
                ("inner_product", "inner_product", ""),
                ("dot_product", "inner_product", "DESC"),
            ] {
                let d = format!("{call}(v, {q})");
                let known = format!("(SELECT id, cat, {d} AS d FROM t WHERE NOT isnan({d}))");
                let mut pairs = vec![
                    (
                        format!(
                            "SELECT id, {d} FROM t ORDER BY {d} {order} NULLS LAST, id LIMIT 20"
                        ),
                        format!("SELECT id, d FROM {known} ORDER BY d {order}, id LIMIT 20"),
                    ),
                    (
                        format!(
                            "SELECT id FROM t WHERE cat = 4 AND {d} IS NOT NULL ORDER BY {d} {order}, id"
                        ),
                        format!("SELECT id FROM {known} WHERE cat = 4 ORDER BY d {order}, id"),
                    ),
                    (
                        format!("SELECT count({d}), min({d}), max({d}), avg({d}) > 0 FROM t"),
                        format!("SELECT count(d), min(d), max(d), avg(d) > 0 FROM {known}"),
                    ),
                ];
                for compared in ["< 1.5", "> 1.5", "<= 1e300", "> -1e300", "<> 7", "= d"] {
                    pairs.push((
                        format!("SELECT id FROM (SELECT id, {d} AS d FROM t) WHERE d {compared} ORDER BY id"),
                        format!("SELECT id FROM {known} WHERE d {compared} ORDER BY id"),
                    ));
                }
                if order == "DESC" || metric != "inner_product" {
                    let sign = if order == "DESC" { "-" } else { "" };
                    pairs.push((
                        format!(
                            "SELECT id, _distance FROM vector_search('t', 'v', {q}, 9999, '', '{metric}') \
                             ORDER BY _distance, _row_id"
                        ),
                        format!("SELECT id, {sign}d FROM {known} ORDER BY d {order}, id"),
                    ));
                }
                for (sql, expected) in pairs {
                    let expected = rows(&reference, &expected).await;
                    assert!(!expected.is_empty(), "{sql}");
                    let found = rows(&context, &sql).await;
                    assert!(found == expected, "{code}, {partitions}: {sql}");
                }
            }
            let null = format!("SELECT count(*) FROM t WHERE inner_product(v, {q}) IS NULL");
            // Twelve null vectors, and those with NaN.
            assert_eq!(number(&context, &null).await, 12 + 3, "{code}");
        }
    }
}
