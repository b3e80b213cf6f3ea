//! Vectors as the 32-bit floats that codes take, and what that loses.

use std::sync::Arc;

use arrow::array::*;
use arrow::compute;
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type};

use crate::encoding::{Encoding, Registry, Spec};
use crate::error::{Error, Result};
use crate::file::write::Rounding;

/// An encoding that a user asked for.
#[derive(Debug)]
pub struct Asked {
    encoding: Arc<dyn Encoding>,
    /// As it was asked for.
    words: String,
    exact: bool,
}

impl Asked {
    /// The first encoding of a spec; `None` if the planner is to choose, or if there is none of that name,
    /// which the writer says.
    pub fn of(words: &str) -> Result<Option<Self>> {
        let spec: Spec = words.parse()?;
        let registry = Registry::standard();
        let first = spec.parts().first().filter(|_| !spec.is_exact());
        let Some((encoding, _)) = first.and_then(|part| part.resolve(registry)) else {
            return Ok(None);
        };
        Ok(Some(Self {
            encoding: Arc::clone(encoding),
            words: words.to_owned(),
            exact: spec.loss(registry).is_exact(),
        }))
    }

    /// Vectors as the encoding takes them: unless it takes them as they are, 32-bit floats if it takes
    /// those. `first_row` is the number of the first row, for errors. Fails where a finite value would
    /// become infinite and, if the encoding is exact, where one would become another.
    pub fn vectors(
        &self,
        list: FixedSizeListArray,
        first_row: u64,
        rounding: &mut Rounding,
    ) -> Result<FixedSizeListArray> {
        let item = Arc::new(Field::new("item", DataType::Float32, false));
        let size = list.value_length();
        let single = DataType::FixedSizeList(Arc::clone(&item), size);
        if self.encoding.accepts(list.data_type()) || !self.encoding.accepts(&single) {
            return Ok(list);
        }
        let values = list.values();
        let rounded = compute::cast(values, &DataType::Float32)?;
        let back = compute::cast(&rounded, values.data_type())?;
        let singles = rounded.as_primitive::<Float32Type>();
        let (given, wide) = (double(values)?, double(&rounded)?);
        let equal = compute::kernels::cmp::not_distinct(&back, values)?;
        for place in 0..values.len() {
            let row = place / size as usize;
            if list.is_null(row) || (equal.value(place) && self.exact) {
                continue;
            }
            let wrong = match self.exact {
                true => "is no 32-bit float",
                false if given.value(place).is_finite() && singles.value(place).is_infinite() => {
                    "lies beyond 32-bit floats"
                }
                false => {
                    rounding.add(given.value(place), wide.value(place));
                    continue;
                }
            };
            let shown = compute::cast(&values.slice(place, 1), &DataType::Utf8)?;
            return Err(Error::invalid(format!(
                "value {} of the vector of row {} is {}, which {wrong}; encoding '{}' takes those: leave \
                 it out, and vectors are stored exactly as they are",
                place % size as usize,
                first_row + row as u64,
                shown.as_string::<i32>().value(0),
                self.words,
            )));
        }
        let nulls = list.nulls().cloned();
        Ok(FixedSizeListArray::try_new(item, size, rounded, nulls)?)
    }
}

fn double(values: &ArrayRef) -> Result<Float64Array> {
    let wide = compute::cast(values, &DataType::Float64)?;
    Ok(wide.as_primitive::<Float64Type>().clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors(values: ArrayRef) -> FixedSizeListArray {
        let item = Arc::new(Field::new("item", values.data_type().clone(), false));
        FixedSizeListArray::new(item, 2, values, None)
    }

    fn converted(words: &str, values: ArrayRef) -> std::result::Result<DataType, String> {
        let asked = Asked::of(words).unwrap().unwrap();
        let found = asked.vectors(vectors(values), 3, &mut Rounding::default());
        found.map(|v| v.value_type()).map_err(|e| e.to_string())
    }

    #[test]
    fn what_32_bits_do_not_hold_is_refused_by_name() {
        let doubles = |v: [f64; 4]| -> ArrayRef { Arc::new(Float64Array::from(v.to_vec())) };
        let integers = |v: [i64; 4]| -> ArrayRef { Arc::new(Int64Array::from(v.to_vec())) };
        let single = Ok(DataType::Float32);
        assert_eq!(
            converted("lvq8", doubles([0.1, 0.0, 1e-300, -3e38])),
            single
        );
        assert_eq!(converted("lvq8", integers([16_777_217, 0, -1, 5])), single);
        assert_eq!(converted("whole8", integers([255, 0, 1, 5])), single);
        for (words, values, says) in [
            (
                "lvq8",
                doubles([1.0, 2.0, 3.0, 1e300]),
                "value 1 of the vector of row 4 is 1e300",
            ),
            (
                "pca(1)",
                doubles([-1e39, 2.0, 3.0, 1.0]),
                "row 3 is -1e39, which lies beyond",
            ),
            (
                "whole8",
                doubles([0.1, 2.0, 3.0, 1.0]),
                "row 3 is 0.1, which is no 32-bit float",
            ),
            (
                "whole8",
                integers([1, 16_777_217, 3, 1]),
                "row 3 is 16777217, which is no",
            ),
            (
                "whole8",
                integers([1, 2, i64::MAX, 1]),
                "row 4 is 9223372036854775807",
            ),
        ] {
            let error = converted(words, values).unwrap_err();
            assert!(error.contains(says), "{words}: {error}");
        }
    }
}
