//! What a lossy column lost: decoded again and compared, chunk by chunk.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, Float16Type, Float32Type, Float64Type, UInt16Type};
use half::bf16;

use crate::error::{Error, Result};
use crate::file::proto;

/// The error of the chunks so far.
#[derive(Debug, Default)]
pub(crate) struct Loss {
    max: f64,
    squares: f64,
    values: u64,
    /// The encoding that was not exact, by name.
    name: Option<&'static str>,
}

impl Loss {
    /// Adds a chunk that an encoding of this name stored.
    pub fn add(&mut self, name: &'static str, before: &ArrayRef, after: &ArrayRef) -> Result<()> {
        self.name = Some(name);
        let (before, after) = (numbers(before)?, numbers(after)?);
        for (a, b) in before.iter().zip(&after) {
            // What is not finite comes back as it was, or the difference says so by itself.
            let error = if a.to_bits() == b.to_bits() {
                0.0
            } else {
                (a - b).abs()
            };
            self.max = self
                .max
                .max(if error.is_nan() { f64::INFINITY } else { error });
            self.squares += error * error;
        }
        self.values += before.len() as u64;
        Ok(())
    }

    /// The message; `None` if everything was exact.
    pub fn message(&self) -> Option<proto::Lossiness> {
        let name = self.name?;
        Some(proto::Lossiness {
            kind: 3,
            metric: name.to_owned(),
            measured_max: self.max,
            measured_rms: (self.squares / self.values.max(1) as f64).sqrt(),
            ..Default::default()
        })
    }
}

/// The numbers of floats or lists of them.
fn numbers(array: &ArrayRef) -> Result<Vec<f64>> {
    let (values, item) = match array.as_fixed_size_list_opt() {
        None => (
            array.clone(),
            Field::new("item", array.data_type().clone(), true),
        ),
        Some(list) => {
            let size = list.value_length() as usize;
            let start = list.value_offset(0) as usize;
            let DataType::FixedSizeList(item, _) = list.data_type() else {
                return Err(Error::invalid("lists without an item"));
            };
            (
                list.values().slice(start, list.len() * size),
                item.as_ref().clone(),
            )
        }
    };
    let brain = item.extension_type_name() == Some("pilaster.bfloat16");
    Ok(match values.data_type() {
        DataType::Float16 => {
            let values = values.as_primitive::<Float16Type>().values();
            values.iter().map(|v| v.to_f64()).collect()
        }
        DataType::Float32 => {
            let values = values.as_primitive::<Float32Type>().values();
            values.iter().map(|&v| f64::from(v)).collect()
        }
        DataType::Float64 => values.as_primitive::<Float64Type>().values().to_vec(),
        DataType::UInt16 if brain => {
            let values = values.as_primitive::<UInt16Type>().values();
            values
                .iter()
                .map(|&v| bf16::from_bits(v).to_f64())
                .collect()
        }
        other => {
            return Err(Error::invalid(format!(
                "loss of values of type {other} cannot be measured"
            )));
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Float32Array;

    use super::*;

    #[test]
    fn errors_are_measured_and_equal_nans_are_none() {
        let array = |v: [f32; 3]| Arc::new(Float32Array::from(v.to_vec())) as ArrayRef;
        let mut loss = Loss::default();
        assert!(loss.message().is_none());
        let (a, b) = (array([1.0, 2.0, f32::NAN]), array([1.5, 2.0, f32::NAN]));
        loss.add("kivi", &a, &b).unwrap();
        let message = loss.message().unwrap();
        assert_eq!(message.measured_max, 0.5);
        assert!((message.measured_rms - (0.25f64 / 3.0).sqrt()).abs() < 1e-12);
    }
}
