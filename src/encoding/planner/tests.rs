//! Whatever the planner chooses, and whatever the shape of the data, every row comes back.

use std::sync::Arc;

use arrow::array::types::Int32Type;
use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute;
use arrow::datatypes::{DataType, Field, Fields};

use super::*;
use crate::encoding::{
    DecodeContext, Encoding, Models, NoParents, Profile, Registry, Rows, Selection,
};

const PROFILES: [Profile; 3] = [Profile::Fast, Profile::Balanced, Profile::Archive];

fn encode(planner: &Planner, array: &ArrayRef, models: &mut Models, profile: Profile) -> Node {
    let registry = Registry::standard();
    let mut context = EncodeContext::new(planner, registry, models, &[], profile);
    planner.encode_chunk(array, &mut context).unwrap()
}

fn decode(node: &Node, models: &Models, data_type: &DataType, selection: &Selection) -> ArrayRef {
    let context = DecodeContext::new(Registry::standard(), models, &NoParents, 1 << 30);
    context.decode(node, data_type, selection).unwrap()
}

fn selections(len: usize) -> Vec<Selection> {
    let third: Vec<u32> = (0..len as u32).step_by(3).collect();
    let far: Vec<u32> = (0..len as u32).step_by(97).collect();
    let mask = (0..len).map(|i| i % 5 < 2).collect();
    vec![
        Selection::range(0..0),
        Selection::range(len / 3..len / 2),
        Selection::range(len / 2..len),
        Selection::indices(third).unwrap(),
        Selection::indices(far).unwrap(),
        Rows::Mask(mask).into(),
    ]
}

/// Encodes, in every profile, the array and slices of it, as one chunk after the other, and checks
/// that all selections of all of them come back.
fn check(array: &ArrayRef) {
    for profile in PROFILES {
        let planner = Planner::default();
        let mut models = Models::default();
        let len = array.len();
        let chunks = [
            Arc::clone(array),
            array.slice(len / 3, len / 2),
            array.slice(len.min(1), len.saturating_sub(1)),
            array.slice(0, 0),
        ];
        for chunk in &chunks {
            let node = encode(&planner, chunk, &mut models, profile);
            let decoded = decode(&node, &models, chunk.data_type(), &Selection::all());
            assert_eq!(&decoded, chunk);
            for selection in selections(chunk.len()) {
                let wanted = selection.take(chunk).unwrap();
                let got = decode(&node, &models, chunk.data_type(), &selection);
                assert_eq!(&got, &wanted, "{selection:?}");
            }
        }
    }
}

fn nullable(len: usize, every: usize) -> NullBuffer {
    (0..len).map(|i| i % every != 0).collect()
}

fn field(name: &str, data_type: DataType, nullable: bool) -> Field {
    Field::new(name, data_type, nullable)
}

fn ints(len: usize) -> ArrayRef {
    Arc::new(Int32Array::from_iter(
        (0..len).map(|i| (i % 7 != 3).then_some((i * i % 1000) as i32)),
    ))
}

fn words(len: usize) -> ArrayRef {
    let word = |i: usize| format!("word {} of {}", i % 40, i * 7919 % 113);
    Arc::new(StringArray::from_iter(
        (0..len).map(|i| (i % 11 != 5).then(|| word(i))),
    ))
}

/// Lists over a child, some empty, with nulls over non-empty slots.
fn lists(child: ArrayRef, len: usize, nulls: bool) -> ArrayRef {
    let lengths = (0..len).map(|i| i * 31 % 5);
    let offsets = OffsetBuffer::<i32>::from_lengths(lengths);
    let values = child.slice(0, offsets[len] as usize);
    let item = Arc::new(field("item", child.data_type().clone(), true));
    let nulls = nulls.then(|| nullable(len, 4));
    Arc::new(ListArray::new(item, offsets, values, nulls))
}

#[test]
fn leaves_come_back_in_every_profile() {
    for len in [0, 1, 7, 1000, 5000, 20_000] {
        check(&ints(len));
        check(&words(len));
        check(&(Arc::new(BooleanArray::from_iter((0..len).map(|i| Some(i % 3 == 0)))) as ArrayRef));
        let floats = (0..len).map(|i| (i as f64) / 8.0 - 3.0);
        check(&(Arc::new(Float64Array::from_iter_values(floats)) as ArrayRef));
        check(&(Arc::new(Int32Array::from_value(7, len)) as ArrayRef));
    }
}

#[test]
fn lists_come_back_and_null_lists_hold_no_values() {
    check(&lists(ints(20_000), 9_000, false));
    check(&lists(words(3000), 1000, true));
    check(&lists(lists(words(3000), 1000, true), 400, true));

    let array = lists(Arc::new(Int32Array::from_value(1, 3000)), 1000, true);
    let node = encode(
        &Planner::default(),
        &array,
        &mut Models::default(),
        Profile::Fast,
    );
    let live: usize = (0..1000).filter(|i| i % 4 != 0).map(|i| i * 31 % 5).sum();
    assert_eq!(node.children[1].children[1].rows, live);
}

#[test]
fn large_lists_and_maps_come_back() {
    let list = lists(words(3000), 1000, true);
    let item = Arc::new(field("item", DataType::Utf8, true));
    check(&compute::cast(&list, &DataType::LargeList(item)).unwrap());

    let mut map = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    for i in 0..500 {
        for j in 0..i % 4 {
            map.keys().append_value(format!("key {j}"));
            map.values().append_option((i % 3 != 0).then_some(i));
        }
        map.append(i % 5 != 0).unwrap();
    }
    check(&(Arc::new(map.finish()) as ArrayRef));
}

#[test]
fn structs_with_non_nullable_fields_below_nulls_come_back() {
    let nulls = nullable(1000, 3);
    // Null exactly where the struct is, which Arrow allows below a non-nullable field.
    let masked = Int32Array::new((0..1000).collect::<Vec<_>>().into(), Some(nulls.clone()));
    let inner = StructArray::new(
        Fields::from(vec![field("z", DataType::Int32, false)]),
        vec![Arc::new(masked.clone())],
        Some(nulls.clone()),
    );
    let fields = Fields::from(vec![
        field("a", DataType::Int32, false),
        field("b", DataType::Utf8, true),
        field("c", inner.data_type().clone(), false),
        field("d", DataType::Null, true),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(masked),
        words(1000),
        Arc::new(inner),
        Arc::new(NullArray::new(1000)),
    ];
    let array: ArrayRef = Arc::new(StructArray::new(fields, columns, Some(nulls)));
    check(&array);
    check(&lists(array, 300, true));
    let empty = StructArray::new_empty_fields(9, Some(nullable(9, 2)));
    check(&(Arc::new(empty) as ArrayRef));
}

#[test]
fn all_null_arrays_of_every_shape_come_back() {
    let list = DataType::List(Arc::new(field("item", DataType::Int32, true)));
    let pair = DataType::FixedSizeList(Arc::new(field("item", DataType::Float32, false)), 2);
    let dictionary = DataType::Dictionary(Box::new(DataType::UInt8), Box::new(DataType::Utf8));
    let fields = Fields::from(vec![
        field("a", pair.clone(), false),
        field("b", list.clone(), false),
        field("c", dictionary.clone(), false),
    ]);
    let shapes = [
        DataType::Int64,
        DataType::Utf8View,
        DataType::Boolean,
        DataType::Decimal128(20, 3),
        list,
        pair,
        dictionary,
    ];
    for data_type in shapes {
        check(&new_null_array(&data_type, 100));
    }
    let columns = fields
        .iter()
        .map(|f| new_empty_array(f.data_type()))
        .collect();
    let none = StructArray::new(fields, columns, None);
    check(&(Arc::new(none) as ArrayRef));
}

#[test]
fn fixed_lists_honour_the_element_axis() {
    let values: ArrayRef = Arc::new(Int32Array::from_iter_values(0..6000));
    let item = Arc::new(field("item", DataType::Int32, false));
    for nulls in [None, Some(nullable(1000, 6))] {
        let array = FixedSizeListArray::new(Arc::clone(&item), 6, Arc::clone(&values), nulls);
        let array: ArrayRef = Arc::new(array);
        check(&array);
        let node = encode(
            &Planner::default(),
            &array,
            &mut Models::default(),
            Profile::Fast,
        );
        let narrow = DataType::FixedSizeList(Arc::clone(&item), 2);
        for rows in selections(1000).into_iter().chain([Selection::all()]) {
            let wanted = rows.take(&array).unwrap();
            let got = decode(
                &node,
                &Models::default(),
                &narrow,
                &rows.with_elements(3..5),
            );
            let (got, wanted) = (got.as_fixed_size_list(), wanted.as_fixed_size_list());
            for i in 0..wanted.len() {
                assert_eq!(got.is_null(i), wanted.is_null(i));
                if wanted.is_valid(i) {
                    assert_eq!(&got.value(i), &wanted.value(i).slice(3, 2));
                }
            }
        }
        let context = DecodeContext::new(Registry::standard(), &EMPTY, &NoParents, 1 << 30);
        for elements in [5..7, 3..4] {
            let selection = Selection::all().with_elements(elements);
            assert!(context.decode(&node, &narrow, &selection).is_err());
        }
    }
}

static EMPTY: std::sync::LazyLock<Models> = std::sync::LazyLock::new(Models::default);

#[test]
fn nulls_below_a_non_nullable_field_are_an_error() {
    let fields = Fields::from(vec![field("a", DataType::Int32, true)]);
    let array: ArrayRef = Arc::new(StructArray::new(fields, vec![ints(100)], None));
    let node = encode(
        &Planner::default(),
        &array,
        &mut Models::default(),
        Profile::Fast,
    );
    let strict = DataType::Struct(Fields::from(vec![field("a", DataType::Int32, false)]));
    let context = DecodeContext::new(Registry::standard(), &EMPTY, &NoParents, 1 << 30);
    assert!(context.decode(&node, &strict, &Selection::all()).is_err());
}

#[test]
fn a_plan_is_replayed_until_the_data_change() {
    let planner = Planner::default();
    let mut models = Models::default();
    let text = words(5000);
    let first = encode(&planner, &text, &mut models, Profile::Balanced);
    let second = encode(&planner, &text, &mut models, Profile::Balanced);
    assert_eq!(first.encoding, second.encoding);
    let constant: ArrayRef = Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
        "the same", 5000,
    )));
    let node = encode(&planner, &constant, &mut models, Profile::Balanced);
    assert!(node.stored_bytes() < first.stored_bytes());
    assert_eq!(
        &decode(&node, &models, &DataType::Utf8, &Selection::all()),
        &constant
    );
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let dump = |array: &ArrayRef| {
        let mut models = Models::default();
        let node = encode(&Planner::default(), array, &mut models, Profile::Archive);
        let mut bytes = Vec::new();
        node.walk(&mut |n| {
            bytes.extend_from_slice(n.encoding.as_bytes());
            bytes.extend_from_slice(&n.metadata);
            n.buffers
                .iter()
                .for_each(|b| bytes.extend_from_slice(&b.bytes().unwrap()));
        });
        models
            .iter()
            .for_each(|m| bytes.extend_from_slice(m.bytes()));
        bytes
    };
    for array in [words(9000), ints(9000), lists(words(9000), 3000, true)] {
        assert_eq!(dump(&array), dump(&array));
    }
}

#[test]
fn a_spec_forces_the_root_and_passes_through_nulls_and_lists() {
    let planner = Planner::new(Some("plain".parse().unwrap()));
    let array = lists(ints(3000), 1000, true);
    let mut models = Models::default();
    let node = encode(&planner, &array, &mut models, Profile::Archive);
    // nullable > list > nullable > plain
    let leaf = &node.children[1].children[1].children[1];
    assert_eq!(&*leaf.encoding, "pilaster.plain.v1");
    assert_eq!(
        &decode(&node, &models, array.data_type(), &Selection::all()),
        &array
    );
}

#[test]
fn a_spec_for_the_wrong_type_is_refused_in_words() {
    let planner = Planner::new(Some("struct".parse().unwrap()));
    let mut models = Models::default();
    let registry = Registry::standard();
    let mut context = EncodeContext::new(&planner, registry, &mut models, &[], Profile::Fast);
    let error = planner.encode_chunk(&ints(10), &mut context).unwrap_err();
    assert!(
        error.to_string().contains("'struct' does not take"),
        "{error}"
    );
}

#[test]
fn a_slice_of_primitive_lists_is_compacted() {
    let data = (0..1000).map(|i| Some(vec![Some(i), Some(i + 1)]));
    let array = ListArray::from_iter_primitive::<Int32Type, _, _>(data);
    let array: ArrayRef = Arc::new(array.slice(400, 10));
    let node = encode(
        &Planner::default(),
        &array,
        &mut Models::default(),
        Profile::Fast,
    );
    assert_eq!(node.children[1].rows, 20);
    assert!(registered("pilaster.list.v1").accepts(array.data_type()));
}

fn registered(id: &str) -> &'static Arc<dyn Encoding> {
    Registry::standard().get(id).unwrap()
}
