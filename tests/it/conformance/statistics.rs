//! Statistics say what is true.

use std::collections::HashMap;

use arrow::array::*;
use arrow::compute;
use pilaster::encoding::{Statistics, statistics::DISTINCT_CAP};

use crate::generate::{self, Order, Shape, Spread};
use crate::same;

#[test]
fn statistics_are_what_counting_by_hand_gives() {
    for data_type in generate::leaf_types() {
        let mut samples = generate::leaves(&data_type);
        samples.push(generate::Sample {
            name: format!("{data_type} beyond the cap"),
            array: generate::leaf(
                &data_type,
                Shape {
                    rows: DISTINCT_CAP + 5_000,
                    distinct: DISTINCT_CAP + 5_000,
                    spread: Spread::Stepped,
                    order: Order::Sorted,
                },
                9,
            ),
        });
        for sample in samples {
            check(&sample.name, &sample.array);
        }
    }
}

fn check(name: &str, array: &ArrayRef) {
    let found = Statistics::of(array);
    let mut keys: Vec<Vec<u8>> = Vec::with_capacity(array.len());
    for row in 0..array.len() {
        let mut key = Vec::new();
        same::cell(array, row, &mut key);
        keys.push(key);
    }
    let mut counts: HashMap<&[u8], usize> = HashMap::new();
    for key in &keys {
        *counts.entry(key).or_default() += 1;
    }
    assert_eq!(found.rows, array.len(), "rows of {name}");
    let runs = keys.len().min(1) + keys.windows(2).filter(|w| w[0] != w[1]).count();
    assert_eq!(found.runs, runs, "runs of {name}");
    match found.distinct {
        Some(distinct) => {
            assert_eq!(distinct, counts.len(), "distinct values of {name}");
            let top = counts.values().copied().max().unwrap_or(0);
            assert_eq!(found.top_count, top, "most frequent value of {name}");
        }
        None => assert!(counts.len() > DISTINCT_CAP, "distinct values of {name}"),
    }
    if !array.data_type().is_integer() {
        assert_eq!((found.min, found.max), (None, None), "bounds of {name}");
        return;
    }
    let wide = compute::cast(array, &arrow::datatypes::DataType::Decimal128(38, 0)).unwrap();
    let wide = wide
        .as_primitive::<arrow::datatypes::Decimal128Type>()
        .values();
    assert_eq!(found.min, wide.iter().copied().min(), "minimum of {name}");
    assert_eq!(found.max, wide.iter().copied().max(), "maximum of {name}");
    assert_eq!(found.sorted, wide.is_sorted(), "order of {name}");
}
