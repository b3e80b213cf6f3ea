//! How large arrays are, and arrays put together.

use arrow::array::*;
use arrow::compute;
use arrow::datatypes::{ByteViewType, DataType};

use crate::error::Result;

/// Size of an array's values in Arrow's layout: only what its slice holds, views and dictionaries
/// written out, as decoders have them in hand.
pub(crate) fn decoded_bytes(array: &dyn Array) -> u64 {
    let len = array.len() as u64;
    // A dictionary may hold its nulls among its values.
    let nulls = match array.data_type() {
        DataType::Dictionary(..) => array.logical_null_count(),
        _ => array.null_count(),
    };
    let nulls = match nulls {
        0 => 0,
        _ => len.div_ceil(8),
    };
    let offsets = |width: u64| (len + 1) * width;
    let below = |values: &ArrayRef, from: usize, to: usize| {
        decoded_bytes(values.slice(from, to - from).as_ref())
    };
    nulls
        + match array.data_type() {
            DataType::Utf8View => views(array.as_string_view()),
            DataType::BinaryView => views(array.as_binary_view()),
            DataType::Dictionary(..) => written_out(array),
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                let of = list.value_offsets();
                offsets(4) + below(list.values(), of[0] as usize, of[array.len()] as usize)
            }
            DataType::LargeList(_) => {
                let list = array.as_list::<i64>();
                let of = list.value_offsets();
                offsets(8) + below(list.values(), of[0] as usize, of[array.len()] as usize)
            }
            DataType::Map(..) => {
                let map = array.as_map();
                let of = map.value_offsets();
                let entries: ArrayRef = std::sync::Arc::new(map.entries().clone());
                offsets(4) + below(&entries, of[0] as usize, of[array.len()] as usize)
            }
            DataType::FixedSizeList(_, size) => {
                let list = array.as_fixed_size_list();
                let at = list.value_offset(0) as usize;
                below(list.values(), at, at + array.len() * *size as usize)
            }
            DataType::Struct(_) => {
                let columns = array.as_struct().columns();
                columns.iter().map(|c| decoded_bytes(c)).sum()
            }
            _ => {
                let data = array.to_data();
                let size = data.get_slice_memory_size();
                // Null buffers are counted already, and only if there are nulls.
                let bitmap = array.nulls().map_or(0, |_| len.div_ceil(8));
                size.map_or(array.get_array_memory_size() as u64, |s| {
                    (s as u64).saturating_sub(bitmap)
                })
            }
        }
}

/// Views with their text; the length is the lowest quarter of a view. What lies under a null is not
/// counted: it may be anything.
fn views<T: ByteViewType>(array: &GenericByteViewArray<T>) -> u64 {
    let views = array.views().iter().enumerate();
    let held = views.filter(|(row, _)| array.is_valid(*row));
    16 * array.len() as u64 + held.map(|(_, &view)| u64::from(view as u32)).sum::<u64>()
}

/// Keys and, for each row, its value.
fn written_out(array: &dyn Array) -> u64 {
    let dictionary = array.as_any_dictionary();
    let values = dictionary.values();
    let keys = dictionary.keys();
    let key = keys.data_type().primitive_width().unwrap_or(8) as u64;
    if values.is_empty() {
        return array.len() as u64 * key;
    }
    let size = |i: usize| -> u64 {
        match values.data_type() {
            DataType::Utf8 => 4 + values.as_string::<i32>().value_length(i) as u64,
            DataType::Binary => 4 + values.as_binary::<i32>().value_length(i) as u64,
            other => match other.primitive_width() {
                Some(width) => width as u64,
                None => decoded_bytes(values.slice(i, 1).as_ref()),
            },
        }
    };
    let nulls = array.logical_nulls();
    let rows = dictionary.normalized_keys().into_iter().enumerate();
    let rows = rows.filter(|(row, _)| nulls.as_ref().is_none_or(|n| n.is_valid(*row)));
    let rows = rows.map(|(_, key)| key);
    array.len() as u64 * key + rows.map(size).sum::<u64>()
}

/// Puts arrays of one type together. Dictionaries are written out on the way: merging those of small
/// keys can fail though all values fit one, and bytes shall not depend on how many there were.
pub(crate) fn concat(arrays: &[&dyn Array]) -> Result<ArrayRef> {
    // Nothing to write out: all rows have the only value.
    if let [only] = arrays
        && let Some(dictionary) = only.as_any_dictionary_opt()
        && dictionary.values().len() == 1
        && !only.is_empty()
        && only.logical_null_count() == 0
    {
        return Ok(only.slice(0, only.len()));
    }
    if let [first, ..] = arrays
        && let DataType::Dictionary(_, value) = first.data_type()
        && compute::can_cast_types(value, first.data_type())
    {
        let plain = arrays
            .iter()
            .map(|a| compute::cast(*a, value))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let plain: Vec<&dyn Array> = plain.iter().map(AsRef::as_ref).collect();
        let all = compute::concat(&plain)?;
        return Ok(compute::cast(&all, first.data_type())?);
    }
    Ok(compute::concat(arrays)?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{Int8Type, Int64Type};

    use super::*;

    #[test]
    fn slices_count_what_they_hold() {
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(
            (0..1000).map(|i| Some(vec![Some(i); 10])),
        );
        let ten = decoded_bytes(&lists.slice(500, 10));
        assert!((800..1000).contains(&ten), "{ten}");
        let long = "x".repeat(300);
        let views = StringViewArray::from_iter_values((0..100).map(|_| &long));
        assert!(decoded_bytes(&views) >= 30_000);
        let coded: DictionaryArray<Int8Type> = (0..100).map(|_| long.as_str()).collect();
        assert!(decoded_bytes(&coded) >= 30_000);
        assert_eq!(decoded_bytes(&NullArray::new(5)), 0);
        let empty = FixedSizeListArray::from_iter_primitive::<Int64Type, _, _>(
            std::iter::empty::<Option<Vec<Option<i64>>>>(),
            3,
        );
        assert_eq!(decoded_bytes(&empty), 0);
    }

    #[test]
    fn dictionaries_of_small_keys_are_put_together() {
        let words: Vec<String> = (0..127).map(|i| format!("word {i}")).collect();
        let one: DictionaryArray<Int8Type> = words.iter().map(String::as_str).collect();
        let other: DictionaryArray<Int8Type> = words.iter().rev().map(String::as_str).collect();
        let both = concat(&[&one, &other]).unwrap();
        let both = compute::cast(&both, &DataType::Utf8).unwrap();
        let expected: Vec<&str> = words
            .iter()
            .chain(words.iter().rev())
            .map(String::as_str)
            .collect();
        let expected: ArrayRef = Arc::new(StringArray::from(expected));
        assert_eq!(&both, &expected);
    }
}
