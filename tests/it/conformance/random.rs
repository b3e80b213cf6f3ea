//! Random arrays, with a fixed seed and shrinking.

use arrow::array::ArrayRef;
use pilaster::encoding::{Profile, Registry};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::{NULLABLE, encode};
use crate::generate::{self, Order, Shape, Spread};
use crate::guard::guarded;
use crate::same::same;

fn shapes() -> impl Strategy<Value = (usize, Shape, u64, f64)> {
    let spread = prop_oneof![
        Just(Spread::Narrow),
        Just(Spread::Wide),
        Just(Spread::Stepped),
        Just(Spread::Outliers),
    ];
    let order = prop_oneof![
        Just(Order::Shuffled),
        Just(Order::Skewed),
        Just(Order::Sorted),
        (1usize..60).prop_map(Order::Runs),
    ];
    let types = 0..generate::leaf_types().len();
    (
        types,
        0usize..2200,
        1usize..600,
        spread,
        order,
        any::<u64>(),
        0.0..1.0,
    )
        .prop_map(|(data_type, rows, distinct, spread, order, seed, cut)| {
            let shape = Shape {
                rows,
                distinct,
                spread,
                order,
            };
            (data_type, shape, seed, cut)
        })
}

#[test]
fn random_arrays_come_back() {
    let config = Config {
        cases: 60,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let outcome = runner.run(&shapes(), |(data_type, shape, seed, cut)| {
        let array = generate::leaf(&generate::leaf_types()[data_type], shape, seed);
        let from = (cut * array.len() as f64) as usize / 2;
        let array = array.slice(from, array.len() - from);
        for encoding in Registry::standard().iter() {
            if encoding.accepts(array.data_type()) {
                check(encoding, &array, seed)
                    .map_err(|e| TestCaseError::fail(format!("{}: {e}", encoding.id())))?;
            }
        }
        Ok(())
    });
    if let Err(e) = outcome {
        panic!("{e}");
    }
}

fn check(
    encoding: &'static std::sync::Arc<dyn pilaster::encoding::Encoding>,
    array: &ArrayRef,
    seed: u64,
) -> Result<(), String> {
    let array = match encoding.id() {
        NULLABLE => generate::with_nulls(array, 0.3, seed),
        _ => ArrayRef::clone(array),
    };
    let outcome = guarded(|| {
        let Some(e) = encode(encoding, "random", &array, Profile::Balanced)? else {
            return Ok(());
        };
        let decoded = e
            .with_context(|c| c.decode_all(&e.node, array.data_type()))
            .map_err(|e| e.to_string())?;
        same(&array, &decoded)
    });
    outcome.result.and_then(|r| r)
}
