use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;
use proptest::prelude::*;

use super::*;
use crate::encoding::planner::Planner;
use crate::encoding::table::restore;
use crate::encoding::{
    CompareOp, DecodeContext, EncodeContext, Model, Models, Node, Profile, Registry, Rows,
    Selection,
};

/// Encodes an array over the integers of its typing; `None` if the encoding declines.
fn encoded(array: &ArrayRef, typed: &Typed) -> Option<(Node, Models, Vec<ArrayRef>)> {
    let parents: Vec<ArrayRef> = typed
        .integers
        .iter()
        .map(|i| Arc::new(i.values.clone()) as ArrayRef)
        .collect();
    let mut models = Models::default();
    models.push(Arc::new(typed.rule.to_model()));
    let planner = Planner::default();
    let registry = Registry::standard();
    let mut context =
        EncodeContext::new(&planner, registry, &mut models, &parents, Profile::Archive);
    let encoding = Arc::clone(registry.get(restore::ID).unwrap());
    let physical = physical::lower(array).unwrap();
    let node = encoding.encode(&physical, &mut context).unwrap()?;
    Some((node, models, parents))
}

fn decoded(
    data_type: &DataType,
    (node, models, parents): &(Node, Models, Vec<ArrayRef>),
    selection: &Selection,
) -> Result<ArrayRef> {
    let registry = Registry::standard();
    DecodeContext::new(registry, models, &parents.as_slice(), 1 << 24)
        .decode(node, data_type, selection)
}

fn assert_restored(array: &ArrayRef, typed: &Typed) {
    let stored = encoded(array, typed).expect("the encoding declines");
    let back = decoded(array.data_type(), &stored, &Selection::all()).unwrap();
    assert_eq!(back.to_data(), array.to_data());
    let odd: Vec<u32> = (0..array.len() as u32).filter(|i| i % 3 == 1).collect();
    for selection in [
        Selection::indices(odd).unwrap(),
        Rows::Range(array.len() / 3..array.len()).into(),
    ] {
        let some = decoded(array.data_type(), &stored, &selection).unwrap();
        let expected = selection.take(array).unwrap();
        assert_eq!(some.to_data(), expected.to_data());
    }
}

/// Types an array, and a slice of it at an odd offset like the whole, and restores both.
fn assert_typed(array: ArrayRef) -> Typed {
    let typed = type_column(&array).unwrap().expect("the column is opaque");
    assert_restored(&array, &typed);
    if array.len() > 3 {
        let slice = array.slice(3, array.len() - 3);
        assert_restored(&slice, &type_like(&slice, &typed).unwrap().unwrap());
    }
    typed
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

#[test]
fn integers_are_themselves() {
    let values = Int64Array::from(vec![Some(5), None, Some(-7), Some(i64::MAX), Some(0)]);
    let typed = assert_typed(Arc::new(values));
    assert_eq!(typed.rule.to_model().bytes().len(), 0);
    assert_typed(Arc::new(BooleanArray::from(vec![
        Some(true),
        None,
        Some(false),
        Some(true),
    ])));
    assert_typed(Arc::new(Int8Array::from(vec![-128, 127, 0, 3])));
    assert_typed(Arc::new(Date32Array::from(vec![
        Some(19_000),
        None,
        Some(-5),
    ])));
    assert_typed(Arc::new(
        TimestampMicrosecondArray::from(vec![1, 2, 3]).with_timezone("UTC"),
    ));
    assert_typed(Arc::new(Int32Array::from(vec![
        None, None, None, None, None,
    ])));
}

#[test]
fn values_that_look_like_codes_are_exceptions() {
    let values = vec![
        i64::MIN,
        5,
        i64::MIN + 1,
        i64::MIN + 65_535,
        i64::MIN + 65_536,
        i64::MIN,
    ];
    let typed = assert_typed(Arc::new(Int64Array::from(values)));
    assert_eq!(typed.rule.exceptions.len(), 3);
    assert_eq!(typed.integers[0].values.value(4), i64::MIN + 65_536);
}

#[test]
fn unsigned_integers_keep_their_order() {
    let top = u64::MAX;
    let typed = assert_typed(Arc::new(UInt64Array::from(vec![
        top,
        top - 1,
        1 << 63,
        1 << 62,
    ])));
    let v = typed.integers[0].values.values();
    assert!(v[0] > v[1] && v[1] > v[2] && v[2] > v[3]);
    let wide = vec![Some(top), Some(0), None, Some(1), Some(7), Some(top / 2)];
    assert_typed(Arc::new(UInt64Array::from(wide)));
}

#[test]
fn common_factors_are_taken_out() {
    let values: Vec<i64> = (0..9000i64)
        .map(|i| 1_700_000_000_007 + 60_000 * (i * i % 8999))
        .collect();
    let typed = assert_typed(Arc::new(TimestampMillisecondArray::from(values)));
    assert!(matches!(
        typed.rule.form,
        Form::Integer { factor: 60_000, .. }
    ));
    let far: Vec<i64> = (0..9000)
        .map(|i| {
            if i % 2 == 0 {
                i64::MAX - 70 * i
            } else {
                i64::MIN + 70 * i
            }
        })
        .collect();
    assert_typed(Arc::new(Int64Array::from(far)));
}

#[test]
fn wide_decimals_are_integers_where_they_fit() {
    let values = vec![
        Some(12_345),
        None,
        Some(-1),
        Some(i128::from(i64::MAX)),
        Some(0),
    ];
    let array = Decimal128Array::from(values)
        .with_precision_and_scale(38, 2)
        .unwrap();
    let typed = assert_typed(Arc::new(array));
    assert_eq!(typed.integers[0].scale, 2);
    let mut values: Vec<i128> = (0..50).collect();
    values[7] = i128::MAX;
    values[8] = i128::from(i64::MIN) - 1;
    assert_typed(Arc::new(Decimal128Array::from(values)));
    let array = Decimal256Array::from_iter_values((0..40i32).map(|i| i256::from(-i)));
    assert_typed(Arc::new(array));
}

#[test]
fn floats_are_decimals_with_exceptions() {
    let mut values: Vec<f64> = (0..500).map(|i| f64::from(i - 100) / 100.0).collect();
    values[3] = -0.0;
    values[4] = f64::from_bits(0x7ff8_dead_beef_0001);
    values[5] = f64::INFINITY;
    values[6] = 1.0 / 3.0;
    values[7] = 1e300;
    let mut array: Vec<Option<f64>> = values.into_iter().map(Some).collect();
    array[9] = None;
    let typed = assert_typed(Arc::new(Float64Array::from(array)));
    assert_eq!(typed.rule.form, Form::Decimal { digits: 2 });
    assert_eq!(typed.rule.exceptions.len(), 5);
    let narrow = Float32Array::from_iter_values((0..500).map(|i| i as f32 / 10.0));
    assert_eq!(
        assert_typed(Arc::new(narrow)).rule.form,
        Form::Decimal { digits: 1 }
    );
    let half = (0..500).map(|i| half::f16::from_f32(i as f32 / 4.0));
    assert_typed(Arc::new(Float16Array::from_iter_values(half)));
}

#[test]
fn the_noise_of_a_few_sums_does_not_set_the_decimals() {
    let values = (0..1000).map(|i| match i % 20 {
        0 => f64::from(i) * 0.1 + 0.2 * f64::from(i),
        _ => f64::from(i) / 10.0,
    });
    let typed = assert_typed(Arc::new(Float64Array::from_iter_values(values)));
    assert_eq!(typed.rule.form, Form::Decimal { digits: 1 });
}

#[test]
fn other_floats_get_a_dictionary_if_they_recur() {
    let values = (0..300).map(|i| f64::from(i % 20).sqrt() * if i % 3 == 0 { -1.0 } else { 1.0 });
    let typed = assert_typed(Arc::new(Float64Array::from_iter_values(values)));
    assert!(matches!(typed.rule.form, Form::Dictionary(_)));
    let unique: ArrayRef = Arc::new(Float64Array::from_iter_values(
        (1..300).map(|i| f64::from(i).ln()),
    ));
    assert!(type_column(&unique).unwrap().is_none());
}

#[test]
fn text_gets_a_sorted_dictionary() {
    let name = |i: u8| {
        format!(
            "name {}{}",
            char::from(b'a' + i / 8),
            char::from(b'a' + i % 8)
        )
    };
    let mut values: Vec<Option<String>> = (0..400u16).map(|i| Some(name((i % 50) as u8))).collect();
    values[3] = None;
    values[4] = Some(String::new());
    values[5] = Some("a text that is longer than sixteen bytes".into());
    let array = StringArray::from(values);
    let typed = assert_typed(Arc::new(array.clone()));
    let codes = typed.integers[0].values.values();
    assert_eq!(codes[4], 0);
    assert_eq!(codes[3], NULL);
    assert!(codes[1] < codes[2]);
    assert_typed(arrow::compute::cast(&array, &DataType::LargeUtf8).unwrap());
    assert_typed(arrow::compute::cast(&array, &DataType::Utf8View).unwrap());
    let packed = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    assert_typed(arrow::compute::cast(&array, &packed).unwrap());
    let bytes = BinaryArray::from_iter_values((0..90).map(|i| [0xff, 0, i % 7]));
    assert_typed(Arc::new(bytes));
    let fixed = (0..90).map(|i| [i % 7, 255]);
    assert_typed(Arc::new(
        FixedSizeBinaryArray::try_from_iter(fixed).unwrap(),
    ));
}

fn form_of(typed: &Typed) -> &TextForm {
    match &typed.rule.form {
        Form::Text(parts) => match parts.as_slice() {
            [Part::Formatted(form)] => form,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn text_in_a_canonical_form_is_its_number() {
    let mut padded: Vec<String> = (0..200).map(|i| format!("{:03}", i * 7 % 1000)).collect();
    padded.push("7".into());
    padded.push("+5".into());
    padded.push(" 5".into());
    let padded: Vec<&str> = padded.iter().map(String::as_str).collect();
    let typed = assert_typed(texts(&padded));
    assert_eq!(form_of(&typed), &TextForm::number(3, 0, 0).unwrap());
    assert_eq!(typed.integers[0].values.value(2), 14);

    let money: Vec<String> = (0..200)
        .map(|i| format!("{}.{:02}", i, i * 37 % 100))
        .collect();
    let money: Vec<&str> = money.iter().map(String::as_str).collect();
    let typed = assert_typed(texts(&money));
    assert_eq!(form_of(&typed), &TextForm::number(1, 2, 2).unwrap());
    assert_eq!(typed.integers[0].scale, 2);

    let mut odd: Vec<String> = (1..100).map(|i| format!("{i}")).collect();
    odd.extend([
        "NA".into(),
        "1.10".into(),
        "-0".into(),
        "9999999999999999999999".into(),
    ]);
    let odd: Vec<&str> = odd.iter().map(String::as_str).collect();
    let typed = assert_typed(texts(&odd));
    assert_eq!(typed.rule.exceptions.len(), 4);
}

#[test]
fn text_of_dates_and_times_is_typed() {
    let mut dates: Vec<String> = (1..=28).map(|d| format!("2024-02-{d:02}")).collect();
    dates.push("2024-02-30".into());
    let dates: Vec<&str> = dates.iter().map(String::as_str).collect();
    let typed = assert_typed(texts(&dates));
    assert_eq!(typed.integers[0].values.value(1), 19_755);
    assert_eq!(typed.rule.exceptions.len(), 1);
    for (first, all) in [
        (
            "25:59:01",
            (0..60)
                .map(|i| format!("{:02}:{:02}:01", i % 27, i))
                .collect::<Vec<_>>(),
        ),
        (
            "1/31/2013",
            (1..29)
                .map(|i| format!("{}/{i}/2013", i % 12 + 1))
                .collect(),
        ),
        (
            "31.12.1999 7:05",
            (1..29)
                .map(|i| format!("{i:02}.01.2000 {}:07", i % 24))
                .collect(),
        ),
        (
            "2020-01-01T00:00:00.125Z",
            (10..50)
                .map(|i| format!("2020-03-07T11:{i}:00.{i}0Z"))
                .collect(),
        ),
        (
            "12:05 AM",
            (10..50).map(|i| format!("{}:{i} PM", i % 12 + 1)).collect(),
        ),
        (
            "2020-01-01 00:00:00+00",
            (10..50)
                .map(|i| format!("2020-03-07 11:{i}:00+00"))
                .collect(),
        ),
    ] {
        let mut values = vec![first];
        values.extend(all.iter().map(String::as_str));
        let typed = assert_typed(texts(&values));
        assert!(matches!(form_of(&typed), TextForm::Moment(_)), "{first}");
        assert!(typed.rule.exceptions.is_empty(), "{first}");
    }
}

#[test]
fn numbers_between_constant_text_are_typed() {
    let mut prices: Vec<String> = (0..200)
        .map(|i| format!("${}.{:02} net", i * 37, i % 100))
        .collect();
    prices.push("free".into());
    let prices: Vec<&str> = prices.iter().map(String::as_str).collect();
    let typed = assert_typed(texts(&prices));
    assert_eq!((typed.integers.len(), typed.integers[0].scale), (1, 2));
    let mut phones: Vec<String> = (0..300)
        .map(|i| {
            format!(
                "({}) {:03}-{:04}",
                604 + i % 3,
                i * 7 % 1000,
                i * 7919 % 10_000
            )
        })
        .collect();
    phones[17] = "(604) 12-1234".into();
    let phones: Vec<&str> = phones.iter().map(String::as_str).collect();
    let typed = assert_typed(texts(&phones));
    assert_eq!(typed.integers.len(), 3);
    assert_eq!(typed.integers[1].values.value(1), 7);
}

#[test]
fn unique_text_is_a_dictionary_in_its_own_order_while_short() {
    let letter = |i: u32| char::from(b'a' + (i % 23) as u8);
    let short: Vec<String> = (0..500)
        .map(|i| i * 7919 % 5003)
        .map(|i| format!("{}{}{}", letter(i), letter(i / 23), letter(i / 529)))
        .collect();
    let short: Vec<&str> = short.iter().map(String::as_str).collect();
    let typed = assert_typed(texts(&short).slice(0, 500));
    assert_eq!(typed.integers[0].values.value(3), 3);
    let long: Vec<String> = (0..500)
        .map(|i| format!("{}{i}", "y".repeat(1000)))
        .collect();
    let long: Vec<&str> = long.iter().map(String::as_str).collect();
    assert!(type_column(&texts(&long)).unwrap().is_none());
}

#[test]
fn later_sections_keep_the_meaning_of_their_integers() {
    let first: ArrayRef = Arc::new(Float64Array::from_iter_values(
        (0..50).map(|i| f64::from(i) / 4.0),
    ));
    let typed = type_column(&first).unwrap().unwrap();
    let later: ArrayRef = Arc::new(Float64Array::from_iter_values(
        (0..50).map(|i| f64::from(i).sqrt()),
    ));
    let like = type_like(&later, &typed).unwrap().unwrap();
    assert_eq!(like.integers[0].scale, typed.integers[0].scale);
    assert_restored(&later, &like);
    let numbers = texts(&["1", "2", "3", "4"]);
    let typed = type_column(&numbers).unwrap().unwrap();
    let words = texts(&["one", "2", "three", "four", "five"]);
    assert_restored(&words, &type_like(&words, &typed).unwrap().unwrap());
}

#[test]
fn integers_that_do_not_give_the_chunk_are_refused() {
    let array: ArrayRef = Arc::new(Float64Array::from(vec![1.5, 2.5, 2.5, 1.5, 1.5]));
    let mut typed = type_column(&array).unwrap().unwrap();
    let other: ArrayRef = Arc::new(Float64Array::from(vec![1.5, 2.5, 2.5, 1.5, -1.5]));
    assert!(encoded(&array, &typed).is_some());
    assert!(encoded(&other, &typed).is_none());
    let zeros: ArrayRef = Arc::new(Float64Array::from(vec![0.0, 0.5]));
    typed = type_column(&zeros).unwrap().unwrap();
    let negative: ArrayRef = Arc::new(Float64Array::from(vec![-0.0, 0.5]));
    assert!(encoded(&negative, &typed).is_none());
}

#[test]
fn comparisons_are_decided_on_the_dictionary() {
    let values: Vec<Option<String>> = (0..60)
        .map(|i| (i % 7 > 0).then(|| format!("v{}", i % 5)))
        .collect();
    let array: ArrayRef = Arc::new(StringArray::from(values));
    let typed = type_column(&array).unwrap().unwrap();
    let (node, models, parents) = encoded(&array, &typed).unwrap();
    let registry = Registry::standard();
    let parents = parents.as_slice();
    let context = DecodeContext::new(registry, &models, &parents, 1 << 20);
    let physical = physical::lower(&array).unwrap();
    let value: ArrayRef = Arc::new(BinaryArray::from_iter_values([b"v2"]));
    let value = Scalar::new(value);
    for op in [CompareOp::Eq, CompareOp::Ne, CompareOp::Lt, CompareOp::Ge] {
        let ours = context
            .compare(&node, &DataType::Binary, op, &value)
            .unwrap();
        assert_eq!(ours, op.apply(&physical, &value).unwrap());
    }
}

#[test]
fn hostile_integers_and_models_are_errors_or_arrays() {
    let extremes: Vec<i64> = vec![
        i64::MIN,
        i64::MIN + 1,
        i64::MIN + 9,
        -1,
        0,
        1,
        3,
        1 << 40,
        i64::MAX,
    ];
    let arrays: Vec<ArrayRef> = vec![
        texts(&["a", "b", "a", "b", "a", "a", "b", "b", "a"]),
        texts(&["1", "2", "3", "4", "5", "6", "7", "8", "x"]),
        texts(&["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"]),
        Arc::new(Float64Array::from(vec![1.5, 2.5, 2.5, 1.5])),
        Arc::new(Float64Array::from(vec![0.1f64.sin(); 9])),
        Arc::new(FixedSizeBinaryArray::try_from_iter([[1, 2]; 9].into_iter()).unwrap()),
        Arc::new(Int64Array::from(vec![5, i64::MIN, 7])),
    ];
    let types = [
        DataType::Binary,
        DataType::Boolean,
        DataType::Int8,
        DataType::UInt64,
        DataType::Float32,
        DataType::Float64,
        DataType::FixedSizeBinary(2),
        DataType::FixedSizeBinary(16),
        DataType::FixedSizeBinary(-1),
        DataType::Null,
    ];
    for array in arrays {
        let model = type_column(&array).unwrap().unwrap().rule.to_model();
        let good = model.bytes().to_vec();
        for at in 0..=good.len() {
            for flip in [0u8, 1, 0x80, 0xff] {
                let mut bytes = good.clone();
                match bytes.get_mut(at) {
                    Some(byte) => *byte ^= flip,
                    None => bytes.truncate(at / 2),
                }
                let mut models = Models::default();
                models.push(Arc::new(Model::new("restore.v1", bytes)));
                let mut node = Node::new(restore::ID, extremes.len());
                node.model = Some(0);
                node.parents = vec![0];
                for integers in [extremes.clone(), vec![0; extremes.len()]] {
                    let parents: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(integers))];
                    let stored = (node.clone(), models.clone(), parents);
                    for data_type in &types {
                        if let Ok(array) = decoded(data_type, &stored, &Selection::all()) {
                            array.to_data().validate_full().unwrap();
                        }
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_doubles_come_back(bits in prop::collection::vec(any::<u64>(), 1..12), picks in prop::collection::vec(0usize..12, 30..60)) {
        let values = picks.iter().map(|p| f64::from_bits(bits[p % bits.len()]));
        let array: ArrayRef = Arc::new(Float64Array::from_iter_values(values));
        if let Some(typed) = type_column(&array).unwrap() {
            assert_restored(&array, &typed);
        }
    }

    #[test]
    fn any_short_decimals_come_back(values in prop::collection::vec(-1_000_000i32..1_000_000, 1..60), digits in 0i32..7) {
        let values = values.iter().map(|&v| f64::from(v) / 10f64.powi(digits));
        let array: ArrayRef = Arc::new(Float64Array::from_iter_values(values));
        if let Some(typed) = type_column(&array).unwrap() {
            assert_restored(&array, &typed);
        }
    }

    #[test]
    fn any_text_comes_back(values in prop::collection::vec("[-+0-9.:/ aPM]{0,6}|[0-9]{1,4}", 1..80)) {
        let array: ArrayRef = Arc::new(StringArray::from_iter_values(&values));
        if let Some(typed) = type_column(&array).unwrap() {
            assert_restored(&array, &typed);
        }
    }

    #[test]
    fn any_integers_come_back(values in prop::collection::vec(any::<Option<i64>>(), 1..60)) {
        let array: ArrayRef = Arc::new(Int64Array::from(values));
        assert_typed(array);
    }
}
