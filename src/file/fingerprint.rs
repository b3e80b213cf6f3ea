//! A hash of an array's values, by which a writer knows again what it was given.
//!
//! Arrays that are logically equal have equal fingerprints: nulls, validity bitmaps and offsets may lie
//! in memory as they like, dictionaries and views count as the values that they stand for, and what lies
//! under a null counts nowhere. Floats count bit for bit.

use std::hash::Hasher;

use arrow::array::*;
use arrow::buffer::BooleanBuffer;
use arrow::compute;
use arrow::datatypes::{ArrowNativeType, ByteViewType, DataType};
use twox_hash::XxHash3_64;

use crate::error::Result;

/// The fingerprint of all values of an array.
pub(crate) fn fingerprint(array: &ArrayRef) -> Result<u64> {
    let mut hash = XxHash3_64::new();
    feed(array, &mut hash)?;
    Ok(hash.finish())
}

/// Feeds the validity of an array, and then its valid values.
fn feed(array: &ArrayRef, hash: &mut XxHash3_64) -> Result<()> {
    hash.write_usize(array.len());
    if let DataType::Null = array.data_type() {
        return Ok(());
    }
    match array.logical_nulls().filter(|n| n.null_count() > 0) {
        Some(nulls) => {
            hash.write_usize(nulls.null_count());
            feed_bits(nulls.inner(), hash);
            let valid = BooleanArray::new(nulls.into_inner(), None);
            feed_values(&compute::filter(array, &valid)?, hash)
        }
        None => {
            hash.write_usize(0);
            feed_values(array, hash)
        }
    }
}

/// Feeds the values of an array without nulls.
fn feed_values(array: &ArrayRef, hash: &mut XxHash3_64) -> Result<()> {
    use DataType::*;
    match array.data_type() {
        Boolean => feed_bits(array.as_boolean().values(), hash),
        Utf8 => feed_bytes(array.as_string::<i32>(), hash),
        LargeUtf8 => feed_bytes(array.as_string::<i64>(), hash),
        Binary => feed_bytes(array.as_binary::<i32>(), hash),
        LargeBinary => feed_bytes(array.as_binary::<i64>(), hash),
        Utf8View => feed_views(array.as_string_view(), hash),
        BinaryView => feed_views(array.as_binary_view(), hash),
        FixedSizeBinary(width) => {
            let values = array.as_fixed_size_binary();
            let width = *width as usize;
            let start = values.offset() * width;
            hash.write(&values.values()[start..start + values.len() * width]);
        }
        List(_) => {
            let list = array.as_list::<i32>();
            feed_list(list.value_offsets(), list.values(), hash)?;
        }
        LargeList(_) => {
            let list = array.as_list::<i64>();
            feed_list(list.value_offsets(), list.values(), hash)?;
        }
        Map(..) => {
            let map = array.as_map();
            let entries: ArrayRef = std::sync::Arc::new(map.entries().clone());
            feed_list(map.value_offsets(), &entries, hash)?;
        }
        FixedSizeList(_, size) => {
            let list = array.as_fixed_size_list();
            let (start, len) = (list.value_offset(0) as usize, list.len() * *size as usize);
            feed(&list.values().slice(start, len), hash)?;
        }
        Struct(_) => {
            for child in array.as_struct().columns() {
                feed(child, hash)?;
            }
        }
        Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let values = compute::take(dictionary.values(), dictionary.keys(), None)?;
            feed_values(&values, hash)?;
        }
        _ => {
            // What is left are numbers of one width.
            let data = array.to_data();
            let width = array.data_type().primitive_width().unwrap_or(0);
            let start = data.offset() * width;
            for values in data.buffers() {
                hash.write(&values.as_slice()[start..start + data.len() * width]);
            }
        }
    }
    Ok(())
}

fn feed_bits(bits: &BooleanBuffer, hash: &mut XxHash3_64) {
    for word in bits.bit_chunks().iter_padded() {
        hash.write_u64(word);
    }
}

fn feed_bytes<T: arrow::datatypes::ByteArrayType>(
    array: &GenericByteArray<T>,
    hash: &mut XxHash3_64,
) {
    let offsets = array.value_offsets();
    feed_lengths(offsets, hash);
    let (from, to) = (offsets[0].as_usize(), offsets[array.len()].as_usize());
    hash.write(&array.value_data()[from..to]);
}

fn feed_lengths<O: OffsetSizeTrait>(offsets: &[O], hash: &mut XxHash3_64) {
    let lengths: Vec<u32> = offsets
        .windows(2)
        .map(|o| (o[1] - o[0]).as_usize() as u32)
        .collect();
    hash.write(arrow::buffer::Buffer::from_vec(lengths).as_slice());
}

/// Views are fed as text of the other types would be: lengths first.
fn feed_views<T: ByteViewType>(array: &GenericByteViewArray<T>, hash: &mut XxHash3_64) {
    let lengths: Vec<u32> = array.lengths().collect();
    hash.write(arrow::buffer::Buffer::from_vec(lengths).as_slice());
    for i in 0..array.len() {
        hash.write(AsRef::<[u8]>::as_ref(array.value(i)));
    }
}

fn feed_list<O: OffsetSizeTrait>(
    offsets: &[O],
    values: &ArrayRef,
    hash: &mut XxHash3_64,
) -> Result<()> {
    feed_lengths(offsets, hash);
    let (from, to) = (offsets[0].as_usize(), offsets[offsets.len() - 1].as_usize());
    feed(&values.slice(from, to - from), hash)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
    use arrow::datatypes::{Field, Fields, Int8Type};

    use super::*;

    fn of(array: impl Array + 'static) -> u64 {
        fingerprint(&(Arc::new(array) as ArrayRef)).unwrap()
    }

    #[test]
    fn slices_nulls_and_dictionaries_count_as_the_values_that_they_stand_for() {
        let texts = [Some("a"), None, Some("bcd"), Some("")];
        let array = StringArray::from(texts.to_vec());
        let padded: StringArray = [Some("x")].iter().chain(&texts).copied().collect();
        assert_eq!(of(array.clone()), of(padded.slice(1, 4)));
        let dictionary: DictionaryArray<Int8Type> = texts.into_iter().collect();
        assert_eq!(of(array.clone()), of(dictionary));
        assert_eq!(of(array), of(StringViewArray::from(texts.to_vec())));
        // A value that lies under a null is nobody's.
        let under = |value| {
            let values = ScalarBuffer::from(vec![1i64, value, 3]);
            Int64Array::new(values, Some(NullBuffer::from(vec![true, false, true])))
        };
        assert_eq!(of(under(7)), of(under(8)));
        // Nor is a field of a null struct.
        let structs = |value| {
            let field = Fields::from(vec![Field::new("f", DataType::Int64, true)]);
            let child: ArrayRef = Arc::new(Int64Array::from(vec![1, value, 3]));
            let nulls = NullBuffer::from(vec![true, false, true]);
            StructArray::new(field, vec![child], Some(nulls))
        };
        assert_eq!(of(structs(7)), of(structs(8)));
    }

    #[test]
    fn every_difference_counts() {
        let ints = |values: Vec<Option<i32>>| of(Int32Array::from(values));
        assert_ne!(ints(vec![Some(0), None]), ints(vec![None, Some(0)]));
        assert_ne!(ints(vec![Some(1), Some(2)]), ints(vec![Some(2), Some(1)]));
        assert_ne!(ints(vec![]), ints(vec![None]));
        let texts = |values: [&str; 2]| of(StringArray::from(values.to_vec()));
        assert_ne!(texts(["ab", "c"]), texts(["a", "bc"]));
        let bits = |bits: u64| of(Float64Array::from(vec![f64::from_bits(bits)]));
        assert_ne!(bits(0), bits(1 << 63));
        assert_ne!(bits(0x7ff8_0000_0000_0001), bits(0x7ff8_0000_0000_0002));
        let lists = |offsets: Vec<i32>| {
            let item = Arc::new(Field::new("item", DataType::Int32, true));
            let values: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 3]));
            let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
            of(ListArray::new(item, offsets, values, None))
        };
        assert_ne!(lists(vec![0, 1, 3]), lists(vec![0, 2, 3]));
    }
}
