//! Bit-exact comparison of arrays by what they hold, whatever their buffers look like.

use arrow::array::*;
use arrow::compute;
use arrow::datatypes::*;
use arrow::downcast_primitive_array;

/// Fails with the first difference: types, lengths, nulls, and values by their bits. What lies
/// under a null, offsets and the order of a dictionary's values do not count.
pub fn same(left: &dyn Array, right: &dyn Array) -> Result<(), String> {
    if left.data_type() != right.data_type() {
        return Err(format!(
            "types differ: {} and {}",
            left.data_type(),
            right.data_type()
        ));
    }
    if left.len() != right.len() {
        return Err(format!("{} rows and {} rows", left.len(), right.len()));
    }
    if let (Some(a), Some(b)) = (left.as_any_dictionary_opt(), right.as_any_dictionary_opt()) {
        let expand =
            |d: &dyn AnyDictionaryArray| compute::take(d.values(), d.keys(), None).unwrap();
        return same(&expand(a), &expand(b));
    }
    if plainly_equal(left, right) {
        return Ok(());
    }
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for row in 0..left.len() {
        a.clear();
        b.clear();
        cell(left, row, &mut a);
        cell(right, row, &mut b);
        if a != b {
            let shown = |c: &[u8]| format!("{:02x?}", &c[..c.len().min(40)]);
            return Err(format!(
                "row {row} of {} differs: {} and {}",
                left.len(),
                shown(&a),
                shown(&b)
            ));
        }
    }
    Ok(())
}

/// A fast yes for leaves without nulls; a no decides nothing.
fn plainly_equal(left: &dyn Array, right: &dyn Array) -> bool {
    if left.null_count() + right.null_count() > 0 {
        return false;
    }
    match left.data_type() {
        DataType::Boolean => left.as_boolean().values() == right.as_boolean().values(),
        DataType::Binary => {
            let (left, right) = (left.as_binary::<i32>(), right.as_binary::<i32>());
            (0..left.len()).all(|i| left.value(i) == right.value(i))
        }
        DataType::FixedSizeBinary(_) => {
            left.as_fixed_size_binary().value_data() == right.as_fixed_size_binary().value_data()
        }
        other => other.primitive_width().is_some_and(|width| {
            let bytes = |array: &dyn Array| {
                let data = array.to_data();
                data.buffers()[0].slice_with_length(data.offset() * width, data.len() * width)
            };
            bytes(left) == bytes(right)
        }),
    }
}

/// Appends a form of one value that two values share only if they are the same.
pub fn cell(array: &dyn Array, row: usize, out: &mut Vec<u8>) {
    if *array.data_type() == DataType::Null || array.is_null(row) {
        out.push(0);
        return;
    }
    if let Some(dictionary) = array.as_any_dictionary_opt() {
        let key = dictionary.normalized_keys()[row];
        return cell(dictionary.values().as_ref(), key, out);
    }
    out.push(1);
    let mut text = |bytes: &[u8]| {
        out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        out.extend_from_slice(bytes);
    };
    match array.data_type() {
        DataType::Boolean => out.push(u8::from(array.as_boolean().value(row))),
        DataType::Binary => text(array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => text(array.as_binary::<i64>().value(row)),
        DataType::BinaryView => text(array.as_binary_view().value(row)),
        DataType::Utf8 => text(array.as_string::<i32>().value(row).as_bytes()),
        DataType::LargeUtf8 => text(array.as_string::<i64>().value(row).as_bytes()),
        DataType::Utf8View => text(array.as_string_view().value(row).as_bytes()),
        DataType::FixedSizeBinary(_) => text(array.as_fixed_size_binary().value(row)),
        DataType::List(_) => cells(&array.as_list::<i32>().value(row), out),
        DataType::LargeList(_) => cells(&array.as_list::<i64>().value(row), out),
        DataType::FixedSizeList(..) => cells(&array.as_fixed_size_list().value(row), out),
        DataType::Map(..) => cells(&array.as_map().value(row), out),
        DataType::Struct(_) => {
            for column in array.as_struct().columns() {
                cell(column, row, out);
            }
        }
        _ => downcast_primitive_array! {
            array => out.extend_from_slice(array.value(row).to_byte_slice()),
            other => panic!("cannot compare {other}"),
        },
    }
}

fn cells(values: &dyn Array, out: &mut Vec<u8>) {
    out.extend_from_slice(&(values.len() as u64).to_le_bytes());
    for row in 0..values.len() {
        cell(values, row, out);
    }
}

/// Fails if something is left under a null: fields of null structs are null, null lists and maps have no
/// elements, the elements of null fixed-size lists are null, or zero where the type allows no nulls.
pub fn settled(array: &dyn Array) -> Result<(), String> {
    let left = |row: usize| Err(format!("something is left under null row {row}"));
    let mut nulls = (0..array.len()).filter(|&row| array.is_null(row));
    match array.data_type() {
        DataType::Struct(_) => {
            let columns = array.as_struct().columns();
            let known = |c: &&ArrayRef| *c.data_type() != DataType::Null;
            if let Some(row) = nulls.find(|&r| columns.iter().filter(known).any(|c| !c.is_null(r)))
            {
                return left(row);
            }
            columns.iter().try_for_each(|c| settled(c))
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            match nulls.find(|&r| list.value_length(r) != 0) {
                Some(row) => left(row),
                None => settled(list.values()),
            }
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            match nulls.find(|&r| list.value_length(r) != 0) {
                Some(row) => left(row),
                None => settled(list.values()),
            }
        }
        DataType::Map(..) => {
            let map = array.as_map();
            match nulls.find(|&r| map.value_length(r) != 0) {
                Some(row) => left(row),
                None => settled(map.entries()),
            }
        }
        DataType::FixedSizeList(field, _) => {
            let list = array.as_fixed_size_list();
            let zero = |values: &ArrayRef| {
                if let Some(dictionary) = values.as_any_dictionary_opt() {
                    return dictionary.normalized_keys().iter().all(|key| *key == 0);
                }
                let mut bytes = Vec::new();
                (0..values.len()).for_each(|i| cell(values, i, &mut bytes));
                // Ones and sizes that the form itself has.
                let ones = bytes.iter().filter(|b| **b != 0).all(|b| *b <= 16);
                ones && values.logical_null_count() == 0
            };
            let empty = |values: &ArrayRef| match field.is_nullable() {
                true => values.logical_null_count() == values.len(),
                false => zero(values),
            };
            match nulls.find(|&r| !empty(&list.value(r))) {
                Some(row) => left(row),
                None => settled(list.values()),
            }
        }
        _ => Ok(()),
    }
}

#[test]
fn bits_count_and_what_lies_under_a_null_does_not() {
    let nan = f64::from_bits(0x7ff8_0000_0000_0001);
    let a = Float64Array::from(vec![0.0, f64::NAN]);
    assert!(same(&a, &Float64Array::from(vec![-0.0, f64::NAN])).is_err());
    assert!(same(&a, &Float64Array::from(vec![0.0, nan])).is_err());
    assert!(same(&a, &a.clone()).is_ok());
    let nulls = arrow::buffer::NullBuffer::from(vec![true, false]);
    let b = Float64Array::new(vec![0.0, 1.0].into(), Some(nulls.clone()));
    let c = Float64Array::new(vec![0.0, 2.0].into(), Some(nulls));
    assert!(same(&b, &c).is_ok());
    assert!(same(&b, &Float64Array::from(vec![0.0, 1.0])).is_err());
    assert!(same(&Int32Array::from(vec![1]), &Int64Array::from(vec![1])).is_err());
}
