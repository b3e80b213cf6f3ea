//! What a column lost: the declaration, and the error measured on all that was stored; for vectors also
//! how well they are still found.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array};
use arrow::compute;
use arrow::datatypes::{DataType, Float64Type, UInt16Type};

use super::recall::{self, RecallSample};
use crate::encoding::physical::BFLOAT16;
use crate::encoding::{DecodeContext, Loss, Models, Node, Registry};
use crate::error::{Error, Result};
use crate::file::proto::Lossiness;

/// Values as double precision.
fn numbers(array: &ArrayRef, brain: bool) -> Result<Float64Array> {
    if let (true, Some(words)) = (brain, array.as_primitive_opt::<UInt16Type>()) {
        let value = |word: u16| f64::from(f32::from_bits(u32::from(word) << 16));
        return Ok(words.unary(value));
    }
    let cast = compute::cast(array, &DataType::Float64)?;
    Ok(cast.as_primitive::<Float64Type>().clone())
}

/// What values lost before they came to the writer, as when 64-bit floats were rounded to 32 bits for a
/// code that takes those.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rounding {
    largest: f64,
    squares: f64,
}

impl Rounding {
    /// Adds a value and what became of it.
    pub fn add(&mut self, given: f64, rounded: f64) {
        let off = if given == rounded {
            0.0
        } else {
            (given - rounded).abs()
        };
        if off > 0.0 {
            self.largest = self.largest.max(off);
            self.squares += off * off;
        }
    }
}

/// Error of a column's values, summed over its chunks.
#[derive(Debug, Default)]
pub(crate) struct LossMeter {
    largest: f64,
    squares: f64,
    values: u64,
    /// What was lost before.
    rounding: Rounding,
    /// Values that were too large for their codes, if that was counted.
    saturated: Option<u64>,
    /// For columns of vectors.
    sample: Option<RecallSample>,
}

impl LossMeter {
    /// A meter for a column of its own of this type, in which rows may be searched.
    pub fn with_recall(data_type: &DataType) -> Self {
        Self {
            sample: recall::is_measured(data_type).then(RecallSample::default),
            ..Self::default()
        }
    }

    /// Decodes a chunk, adds how far its values are off, and gives them.
    pub fn add(
        &mut self,
        array: &ArrayRef,
        node: &Node,
        models: &Models,
        parents: &[ArrayRef],
    ) -> Result<ArrayRef> {
        // Our own bytes: nothing to guard against.
        let context = DecodeContext::new(Registry::standard(), models, &parents, u64::MAX);
        let decoded = context.decode_all(node, array.data_type())?;
        node.walk(&mut |node| {
            let encoding = Registry::standard().get(&node.encoding).ok();
            if let Some(count) = encoding.and_then(|e| e.saturated(node)) {
                *self.saturated.get_or_insert(0) += count;
            }
        });
        if let Some(sample) = &mut self.sample {
            sample.add(array, &decoded);
        }
        self.compare(array, &decoded)?;
        Ok(decoded)
    }

    /// Takes note of what the column's values lost before they were written.
    pub fn rounded(&mut self, rounding: Rounding) {
        self.rounding = rounding;
    }

    fn compare(&mut self, given: &ArrayRef, stored: &ArrayRef) -> Result<()> {
        if given.nulls() != stored.nulls() && given.logical_null_count() != stored.null_count() {
            return Err(Error::invalid(
                "a lossy encoding changed which values are null",
            ));
        }
        let lists = matches!(
            given.data_type(),
            DataType::FixedSizeList(..) | DataType::List(_) | DataType::LargeList(_)
        );
        // What lies under a null list is no value.
        if let Some(nulls) = given.nulls().filter(|n| lists && n.null_count() > 0) {
            let valid = BooleanArray::new(nulls.inner().clone(), None);
            let given = compute::filter(given, &valid)?;
            return self.compare(&given, &compute::filter(stored, &valid)?);
        }
        let children = |array: &ArrayRef| match array.data_type() {
            DataType::FixedSizeList(..) => {
                let list = array.as_fixed_size_list();
                let size = list.value_length() as usize;
                Some(list.values().slice(list.offset() * size, list.len() * size))
            }
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                let offsets = list.value_offsets();
                let (from, to) = (offsets[0] as usize, offsets[list.len()] as usize);
                Some(list.values().slice(from, to - from))
            }
            DataType::LargeList(_) => {
                let list = array.as_list::<i64>();
                let offsets = list.value_offsets();
                let (from, to) = (offsets[0] as usize, offsets[list.len()] as usize);
                Some(list.values().slice(from, to - from))
            }
            _ => None,
        };
        let brain = match given.data_type() {
            DataType::FixedSizeList(item, _) | DataType::List(item) | DataType::LargeList(item) => {
                item.extension_type_name() == Some(BFLOAT16)
            }
            _ => false,
        };
        if let (Some(given), Some(stored)) = (children(given), children(stored)) {
            return match given.len() == stored.len() {
                true => self.values_of(&given, &stored, brain),
                false => Err(Error::invalid(
                    "a lossy encoding changed the lengths of lists",
                )),
            };
        }
        self.values_of(given, stored, brain)
    }

    /// Compares values; `brain` says that 16-bit words are bfloat16.
    fn values_of(&mut self, given: &ArrayRef, stored: &ArrayRef, brain: bool) -> Result<()> {
        use DataType::{FixedSizeList, LargeList, List};
        if let List(_) | LargeList(_) | FixedSizeList(..) = given.data_type() {
            return self.compare(given, stored);
        }
        if !given.data_type().is_numeric() {
            return Ok(());
        }
        let (given, stored) = (numbers(given, brain)?, numbers(stored, brain)?);
        for (a, b) in given.iter().zip(stored.iter()) {
            let (Some(a), Some(b)) = (a, b) else { continue };
            self.values += 1;
            let same = a == b || (a.is_nan() && b.is_nan());
            let off = if same { 0.0 } else { (a - b).abs() };
            // A number for none, or the other way round.
            let off = if off.is_nan() { f64::INFINITY } else { off };
            if off > 0.0 {
                self.largest = self.largest.max(off);
                self.squares += off * off;
            }
        }
        Ok(())
    }

    /// The message of the column's block; `None` for an exact column.
    pub fn message(&self, declared: &Loss) -> Option<Lossiness> {
        let root = |squares: f64| (squares / self.values.max(1) as f64).sqrt();
        let mut message = Lossiness {
            // Of two steps no more is known than that their errors do not add up to more.
            measured_max: self.largest + self.rounding.largest,
            measured_rms: root(self.squares) + root(self.rounding.squares),
            saturated: self.saturated,
            ..Default::default()
        };
        if declared.is_exact() {
            return None;
        }
        if let Some(found) = self.sample.as_ref().and_then(RecallSample::measure) {
            message.recall_at_10 = Some(found.at_ten);
            message.recall_rows = found.rows as u32;
            message.recall_queries = found.queries as u32;
        }
        match declared {
            Loss::Exact => return None,
            Loss::AbsoluteError(bound) => (message.kind, message.bound) = (1, *bound),
            Loss::RelativeError(bound) => (message.kind, message.bound) = (2, *bound),
            Loss::Quantized { bits, metric } => {
                message.kind = 3;
                message.bits = *bits;
                message.metric = (*metric).to_owned();
            }
        }
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use arrow::array::{FixedSizeListArray, Float32Array, ListArray, UInt16Array};
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::Field;

    use super::*;

    /// Lists of two words, which are bfloat16 if so marked.
    fn list(words: [u16; 2], brain: bool) -> ArrayRef {
        let mut item = Field::new("item", DataType::UInt16, false);
        if brain {
            let name = ("ARROW:extension:name".to_owned(), BFLOAT16.to_owned());
            item.set_metadata(HashMap::from([name]));
        }
        let words = Arc::new(UInt16Array::from(words.to_vec()));
        Arc::new(FixedSizeListArray::new(Arc::new(item), 2, words, None))
    }

    #[test]
    fn what_lies_under_nulls_counts_nowhere() {
        let item = Arc::new(Field::new("item", DataType::Float32, false));
        let list = |values: [f32; 6]| -> ArrayRef {
            let values = Arc::new(Float32Array::from(values.to_vec()));
            let nulls = Some(vec![true, false, true].into());
            Arc::new(FixedSizeListArray::new(Arc::clone(&item), 2, values, nulls))
        };
        let given = list([1.0, 2.0, 0.0, 0.0, 3.0, 4.0]);
        let stored = list([1.0, 2.5, 99.0, -7.0, 3.0, 4.0]);
        let nested = |array: ArrayRef| -> ArrayRef {
            let item = Arc::new(Field::new("item", array.data_type().clone(), true));
            let offsets = OffsetBuffer::new(vec![0, 1, 2, 3].into());
            let nulls = Some(vec![true, true, false].into());
            Arc::new(ListArray::new(item, offsets, array, nulls))
        };
        for (given, stored, values) in [
            (Arc::clone(&given), Arc::clone(&stored), 4),
            (nested(given), nested(stored), 2),
        ] {
            let mut meter = LossMeter::default();
            meter.compare(&given, &stored).unwrap();
            assert_eq!((meter.largest, meter.values), (0.5, values));
        }
    }

    #[test]
    fn a_number_that_became_none_is_off_by_infinity() {
        let item = Arc::new(Field::new("item", DataType::Float32, false));
        let list = |values: [f32; 2]| -> ArrayRef {
            let values = Arc::new(Float32Array::from(values.to_vec()));
            Arc::new(FixedSizeListArray::new(Arc::clone(&item), 2, values, None))
        };
        let mut meter = LossMeter::default();
        meter
            .compare(&list([f32::NAN, 1.0]), &list([f32::NAN, 1.0]))
            .unwrap();
        assert_eq!(meter.largest, 0.0);
        meter
            .compare(&list([1.0, 1.0]), &list([1.0, f32::NAN]))
            .unwrap();
        assert_eq!(meter.largest, f64::INFINITY);
    }

    #[test]
    fn sixteen_bit_words_are_compared_as_what_they_stand_for() {
        // 1.0 and 2.0, of which the second comes back as 2.5.
        let (given, stored) = ([0x3f80, 0x4000], [0x3f80, 0x4020]);
        for (brain, largest) in [(true, 0.5), (false, 32.0)] {
            let mut meter = LossMeter::default();
            let (given, stored) = (list(given, brain), list(stored, brain));
            meter.compare(&given, &stored).unwrap();
            assert_eq!((meter.largest, meter.values), (largest, 2));
        }
    }
}
