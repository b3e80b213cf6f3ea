//! Vector columns as tables bring them: lists of variable length become lists of one size.

use std::sync::Arc;

use arrow::array::*;
use arrow::compute;
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};

use super::MAX_DIMENSIONS;
use crate::error::{Error, Result};

/// What happens to vectors that hold NaN or infinity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NotFinite {
    /// They are an error that names the row.
    #[default]
    Refuse,
    /// They are stored as they are, in exact columns.
    Keep,
    /// They become null.
    Null,
}

/// Makes an array of lists one of fixed-size lists. Their numbers stay what they are, but for integers of 8
/// and 16 bits, which become 32-bit floats: those hold them exactly. `dimension` is that of earlier
/// batches, `first_row` the number of the first row, for errors. Null vectors stay null; vectors of
/// different dimensions and null values are errors.
pub fn vectors(
    array: &ArrayRef,
    dimension: Option<usize>,
    first_row: u64,
    policy: NotFinite,
) -> Result<FixedSizeListArray> {
    let list: ListArray = match array.data_type() {
        DataType::FixedSizeList(field, _) | DataType::List(field) | DataType::LargeList(field) => {
            let to = DataType::List(Arc::clone(field));
            compute::cast(array, &to)?.as_list::<i32>().clone()
        }
        other => {
            return Err(Error::invalid(format!(
                "a column of type {other} holds no vectors; lists of numbers are needed"
            )));
        }
    };
    let number = match list.value_type() {
        DataType::Int8 | DataType::Int16 | DataType::UInt8 | DataType::UInt16 => DataType::Float32,
        t if t.is_numeric() => t,
        other => {
            return Err(Error::invalid(format!(
                "lists of {other} are no vectors; lists of numbers are"
            )));
        }
    };
    let row = |i: usize| first_row + i as u64;
    let mut size = dimension;
    for i in (0..list.len()).filter(|i| list.is_valid(*i)) {
        let len = list.value_length(i) as usize;
        match size {
            None if len == 0 || len > MAX_DIMENSIONS => {
                return Err(Error::invalid(format!(
                    "the vector of row {} has {len} values; 1 to {MAX_DIMENSIONS} can be stored",
                    row(i)
                )));
            }
            None => size = Some(len),
            Some(size) if size != len => {
                return Err(Error::invalid(format!(
                    "the vector of row {} has {len} values, those before it {size}",
                    row(i)
                )));
            }
            Some(_) => {}
        }
    }
    let size = size.unwrap_or(1);
    let values = compute::cast(list.values(), &number)?;
    // Only floats may be no number.
    let wide = match number.is_floating() {
        true => Some(compute::cast(&values, &DataType::Float64)?),
        false => None,
    };
    let wide = wide
        .as_ref()
        .map(|w| w.as_primitive::<Float64Type>().values());
    let odd = |place: usize| wide.map(|w| w[place]).filter(|w| !w.is_finite());
    let mut places: Vec<Option<u32>> = Vec::with_capacity(list.len() * size);
    let mut valid = Vec::with_capacity(list.len());
    for i in 0..list.len() {
        let start = list.value_offsets()[i] as usize;
        let mut keep = list.is_valid(i);
        for place in (start..start + size).take_while(|_| list.is_valid(i)) {
            if values.is_null(place) {
                return Err(Error::invalid(format!(
                    "value {} of the vector of row {} is null",
                    place - start,
                    row(i)
                )));
            }
            match (policy, odd(place)) {
                (_, None) | (NotFinite::Keep, _) => {}
                (NotFinite::Null, _) => keep = false,
                (NotFinite::Refuse, Some(odd)) => {
                    return Err(Error::invalid(format!(
                        "value {} of the vector of row {} is {odd}; ask for such vectors to be kept, \
                         or to become null (--not-finite)",
                        place - start,
                        row(i),
                    )));
                }
            }
        }
        valid.push(keep);
        places.extend((0..size).map(|k| keep.then_some((start + k) as u32)));
    }
    let taken = compute::take(&values, &UInt32Array::from(places), None)?;
    // Under null vectors lie zeros, so that the elements themselves are never null.
    let data = taken.to_data().into_builder().nulls(None).build()?;
    let item: FieldRef = Arc::new(Field::new("item", number, false));
    let nulls = arrow::buffer::NullBuffer::from(valid);
    Ok(FixedSizeListArray::try_new(
        item,
        size as i32,
        make_array(data),
        Some(nulls).filter(|n| n.null_count() > 0),
    )?)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Float32Type;

    use super::*;

    fn lists(rows: Vec<Option<Vec<Option<f32>>>>) -> ArrayRef {
        Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(rows))
    }

    #[test]
    fn lists_of_one_length_become_vectors_and_nulls_stay() {
        let array = lists(vec![
            Some(vec![Some(1.0), Some(2.0)]),
            None,
            Some(vec![Some(3.0), Some(4.0)]),
        ]);
        let vectors = vectors(&array, None, 0, NotFinite::Refuse).unwrap();
        assert_eq!(vectors.value_length(), 2);
        assert!(vectors.is_null(1));
        let last = vectors.value(2);
        assert_eq!(last.as_primitive::<Float32Type>().values(), &[3.0, 4.0]);
    }

    #[test]
    fn errors_name_the_row() {
        let mixed = lists(vec![
            Some(vec![Some(1.0)]),
            Some(vec![Some(1.0), Some(2.0)]),
        ]);
        let error = vectors(&mixed, None, 10, NotFinite::Refuse).unwrap_err();
        assert!(error.to_string().contains("row 11 has 2 values"), "{error}");
        let nan = lists(vec![Some(vec![Some(f32::NAN)])]);
        let error = vectors(&nan, None, 4, NotFinite::Refuse).unwrap_err();
        assert!(error.to_string().contains("row 4 is NaN"), "{error}");
        let nulled = vectors(&nan, None, 4, NotFinite::Null).unwrap();
        assert!(nulled.is_null(0));
        let hole = lists(vec![Some(vec![None])]);
        let error = vectors(&hole, None, 0, NotFinite::Keep).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("value 0 of the vector of row 0 is null")
        );
    }
}
