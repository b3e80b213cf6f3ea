//! SQL over KV caches, held against numbers worked out from the tensors.

use std::collections::BTreeMap;
use std::sync::Arc;

use pilaster::kind::kv::{
    Cache, Dtype, FitOptions, KvFile, KvOptions, KvWriter, PrefixKey, Shape, Side, fit,
};

use super::*;
use crate::kv::cache;

const SHAPE: Shape = Shape {
    layers: 2,
    heads: 2,
    head_dim: 16,
    dtype: Dtype::F16,
};

/// Caches of two prompts, stored one way; what comes back of them is `KvFile`'s word.
struct Stored {
    context: SessionContext,
    caches: Vec<Cache>,
}

async fn stored(folder: &Folder, words: &str) -> Stored {
    let given = [cache(SHAPE, 300, 1), cache(SHAPE, 600, 2)];
    let samples = [cache(SHAPE, 900, 3)];
    let profile = fit(
        &samples,
        &FitOptions {
            model: "m".to_owned(),
            ..FitOptions::default()
        },
    );
    let options = KvOptions {
        specs: ["k*", "v*"]
            .map(|c| (c.to_owned(), words.to_owned()))
            .to_vec(),
        profiles: vec![("p".to_owned(), Arc::new(profile.unwrap()))],
        ..KvOptions::for_model("m")
    };
    let path = folder.path("kv.pil");
    let mut writer = KvWriter::create(&path, options).unwrap();
    for cache in &given {
        writer.add(cache, b"salt").unwrap();
    }
    writer.finish().unwrap();
    let file = KvFile::open(&path).unwrap();
    let rows = file.sequences().iter().map(|s| s.rows.clone());
    let caches: Vec<Cache> = rows.map(|rows| file.cache(rows).unwrap()).collect();
    if words == "exact" {
        assert_eq!(caches, given);
    }
    let context = session(2);
    let create = format!(
        "CREATE EXTERNAL TABLE kv STORED AS PILASTER LOCATION {}",
        folder.sql("kv.pil")
    );
    run(&context, &create).await;
    Stored { context, caches }
}

impl Stored {
    /// Element `element` of a layer's rows, of all caches: token, position and value.
    fn column(&self, layer: usize, side: Side, element: usize) -> Vec<(u32, u32, f64)> {
        let of = |cache: &Cache| {
            let values = cache.values(layer, side).unwrap();
            let tokens = cache.tokens().to_vec();
            let row = |(i, t): (usize, u32)| {
                (
                    t,
                    i as u32,
                    f64::from(values[i * SHAPE.channels() + element]),
                )
            };
            tokens.into_iter().enumerate().map(row).collect::<Vec<_>>()
        };
        self.caches.iter().flat_map(of).collect()
    }

    async fn numbers(&self, sql: &str) -> Vec<f64> {
        let found = rows(&self.context, sql).await;
        found.iter().map(|r| r.parse().unwrap()).collect()
    }
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * (1.0 + b.abs())
}

#[tokio::test]
async fn queries_give_what_the_tensors_say() {
    for words in ["exact", "kivi4", "klt(p,0.3)"] {
        let folder = Folder::new();
        let s = stored(&folder, words).await;

        // How much is stored: tokens, prompts, runs.
        let sql = "SELECT count(*) FROM kv WHERE position = 0 UNION ALL SELECT count(*) FROM kv \
                   UNION ALL SELECT count(DISTINCT digest) FROM kv";
        let mut found = s.numbers(sql).await;
        found.sort_by(f64::total_cmp);
        assert_eq!(found, [2.0, 5.0, 900.0], "{words}");

        // The tokens of a stretch of the prompt that a digest names.
        let key = PrefixKey::new("m", b"salt").chain(s.caches[1].tokens())[1];
        let sql = format!(
            "SELECT token FROM kv WHERE digest = X'{key}' AND position BETWEEN 300 AND 309 \
             ORDER BY position"
        );
        let expected: Vec<f64> = s.caches[1].tokens()[300..310]
            .iter()
            .map(|&t| f64::from(t))
            .collect();
        assert_eq!(s.numbers(&sql).await, expected, "{words}");

        // The mean of a channel of the keys.
        let column = s.column(1, Side::K, 20);
        let mean = column.iter().map(|c| c.2).sum::<f64>() / column.len() as f64;
        let sql = "SELECT avg(CAST(k1[21] AS DOUBLE)) FROM kv";
        assert!(near(s.numbers(sql).await[0], mean), "{words}");

        // Energy of a channel of the values, by run.
        let column = s.column(0, Side::V, 5);
        let mut runs: BTreeMap<(bool, u32), f64> = BTreeMap::new();
        for (i, c) in column.iter().enumerate() {
            *runs.entry((i >= 300, c.1 / 256)).or_default() += c.2 * c.2;
        }
        let sql = "SELECT sum(CAST(v0[6] AS DOUBLE) * CAST(v0[6] AS DOUBLE)) AS e FROM kv \
                   GROUP BY digest ORDER BY e";
        let mut expected: Vec<f64> = runs.into_values().collect();
        expected.sort_by(f64::total_cmp);
        let found = s.numbers(sql).await;
        assert_eq!(found.len(), expected.len());
        assert!(
            found.iter().zip(&expected).all(|(a, b)| near(*a, *b)),
            "{words}"
        );

        // Where a channel is largest.
        let mut column = s.column(0, Side::K, 0);
        column.sort_by(|a, b| b.2.total_cmp(&a.2).then(a.0.cmp(&b.0)));
        let sql = "SELECT CAST(k0[1] AS DOUBLE) AS x FROM kv ORDER BY x DESC, token LIMIT 5";
        let expected: Vec<f64> = column[..5].iter().map(|c| c.2).collect();
        assert_eq!(s.numbers(sql).await, expected, "{words}");

        // Rows by the sign of a value, among the later positions.
        let column = s.column(1, Side::V, 31);
        let count = column.iter().filter(|c| c.2 > 0.5 && c.1 >= 256).count();
        let sql = "SELECT count(*) FROM kv WHERE CAST(v1[32] AS DOUBLE) > 0.5 AND position >= 256";
        assert_eq!(s.numbers(sql).await, [count as f64], "{words}");

        // Two layers of a row together.
        let (a, b) = (s.column(0, Side::K, 3), s.column(1, Side::K, 3));
        let dot: f64 = a.iter().zip(&b).map(|(a, b)| a.2 * b.2).sum();
        let sql = "SELECT sum(CAST(k0[4] AS DOUBLE) * CAST(k1[4] AS DOUBLE)) FROM kv";
        assert!(near(s.numbers(sql).await[0], dot), "{words}");
    }
}

#[tokio::test]
async fn small_floats_are_numbers_in_sql_and_keep_type_and_bits_on_the_way_out() {
    for (dtype, number, other) in [
        (Dtype::BF16, &[0xc0u8, 0x3f][..], &[0x81u8, 0xff][..]),
        (Dtype::F8E4M3, &[0x3c], &[0xff]),
        (Dtype::F8E5M2, &[0x3e], &[0xfd]),
    ] {
        let folder = Folder::new();
        let shape = Shape {
            layers: 1,
            heads: 1,
            head_dim: 2,
            dtype,
        };
        // 1.5 everywhere; the values of the second token are NaN with a payload.
        let keys = number.repeat(4);
        let values = [number.repeat(2), other.repeat(2)].concat();
        let given = Cache::new(shape, vec![7, 8], keys, values).unwrap();
        let mut writer =
            KvWriter::create(&folder.path("a.pil"), KvOptions::for_model("m")).unwrap();
        writer.add(&given, b"").unwrap();
        writer.finish().unwrap();
        let context = session(2);
        let a = folder.sql("a.pil");
        let one = |sql: String| {
            let context = context.clone();
            async move { rows(&context, &sql).await }
        };
        let sql = format!(
            "SELECT k0[1] + 1, array_distance(k0, [1.5, 2.5]), k0 FROM {a} WHERE k0[2] < 2 AND token = 7"
        );
        assert_eq!(one(sql).await, ["2.5|1.0|[1.5, 1.5]"], "{dtype:?}");
        let sql = format!("SELECT count(*), max(k0[1]) FROM {a} WHERE k0[1] > 2");
        assert_eq!(one(sql).await[0].split('|').next(), Some("0"), "{dtype:?}");

        run(
            &context,
            &format!(
                "COPY (SELECT * FROM {a}) TO {} STORED AS PILASTER",
                folder.sql("b.pil")
            ),
        )
        .await;
        let back = KvFile::open(folder.path("b.pil")).unwrap();
        assert_eq!(back.cache(0..2).unwrap(), given, "{dtype:?}");

        // A plain column: bounds of words would say nothing true.
        let c = folder.sql("c.pil");
        run(
            &context,
            &format!("COPY (SELECT token, k0 AS x FROM {a}) TO {c} STORED AS PILASTER"),
        )
        .await;
        assert_eq!(
            one(format!("SELECT x[1] FROM {c} LIMIT 1")).await,
            ["1.5"],
            "{dtype:?}"
        );
    }
}

#[tokio::test]
async fn filters_and_extremes_of_plain_small_floats_are_those_of_numbers() {
    use arrow::array::{ArrayRef, RecordBatch, UInt16Array};
    let folder = Folder::new();
    let numbers: Vec<f32> = (0..20_000).map(|i| (i % 200) as f32 - 100.0).collect();
    let words = numbers.iter().map(|&x| half::bf16::from_f32(x).to_bits());
    let column: ArrayRef = Arc::new(UInt16Array::from_iter_values(words));
    let name = (
        "ARROW:extension:name".to_owned(),
        "pilaster.bfloat16".to_owned(),
    );
    let field = arrow::datatypes::Field::new("x", column.data_type().clone(), false)
        .with_metadata([name].into());
    let schema = Arc::new(arrow::datatypes::Schema::new(vec![field]));
    let batch = RecordBatch::try_new(schema.clone(), vec![column]).unwrap();
    let mut writer =
        pilaster::Writer::create(folder.path("a.pil"), schema.clone(), Default::default()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    let context = session(2);
    let a = folder.sql("a.pil");
    for (sql, expected) in [
        (
            "SELECT min(x), max(x), sum(x) FROM t",
            "-100.0|99.0|-10000.0",
        ),
        ("SELECT count(*) FROM t WHERE x < 0", "10000"),
        ("SELECT count(*) FROM t WHERE x > 98.5", "100"),
        ("SELECT count(*) FROM t WHERE x = -100", "100"),
        ("SELECT x FROM t ORDER BY x LIMIT 1", "-100.0"),
        ("SELECT x FROM t ORDER BY x DESC LIMIT 1", "99.0"),
    ] {
        let found = rows(&context, &sql.replace("FROM t", &format!("FROM {a}"))).await;
        assert_eq!(found, [expected], "{sql}");
    }
    let b = folder.sql("b.pil");
    run(
        &context,
        &format!("COPY (SELECT x FROM {a}) TO {b} STORED AS PILASTER"),
    )
    .await;
    let back = pilaster::file::File::open(folder.path("b.pil")).unwrap();
    assert_eq!(back.meta().schema().unwrap().fields(), schema.fields());
    run(
        &context,
        &format!(
            "COPY (SELECT x * 2 AS x FROM {a}) TO {} STORED AS PILASTER",
            folder.sql("c.pil")
        ),
    )
    .await;
    let computed = pilaster::file::File::open(folder.path("c.pil")).unwrap();
    let computed = computed.meta().schema().unwrap();
    assert_ne!(
        computed.field(0).data_type(),
        &arrow::datatypes::DataType::UInt16
    );
}
