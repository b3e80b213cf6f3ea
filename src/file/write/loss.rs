//! What a column lost: the declaration, and the error measured on all that was stored.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute;
use arrow::datatypes::{DataType, Float64Type};

use crate::encoding::{DecodeContext, Loss, Models, Node, Registry};
use crate::error::{Error, Result};
use crate::file::proto::Lossiness;

/// Error of a column's values, summed over its chunks.
#[derive(Debug, Default)]
pub(crate) struct LossMeter {
    largest: f64,
    squares: f64,
    values: u64,
}

impl LossMeter {
    /// Decodes a chunk and adds how far its values are off.
    pub fn add(
        &mut self,
        array: &ArrayRef,
        node: &Node,
        models: &Models,
        parents: &[ArrayRef],
    ) -> Result<()> {
        // Our own bytes: nothing to guard against.
        let context = DecodeContext::new(Registry::standard(), models, &parents, u64::MAX);
        let decoded = context.decode_all(node, array.data_type())?;
        self.compare(array, &decoded)
    }

    fn compare(&mut self, given: &ArrayRef, stored: &ArrayRef) -> Result<()> {
        if given.nulls() != stored.nulls() && given.logical_null_count() != stored.null_count() {
            return Err(Error::invalid(
                "a lossy encoding changed which values are null",
            ));
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
            _ => None,
        };
        if let (Some(given), Some(stored)) = (children(given), children(stored)) {
            return match given.len() == stored.len() {
                true => self.values_of(&given, &stored),
                // Lists under nulls need not have kept their elements.
                false => Ok(()),
            };
        }
        self.values_of(given, stored)
    }

    fn values_of(&mut self, given: &ArrayRef, stored: &ArrayRef) -> Result<()> {
        if given.data_type().is_nested() {
            return self.compare(given, stored);
        }
        if !given.data_type().is_numeric() {
            return Ok(());
        }
        let given = compute::cast(given, &DataType::Float64)?;
        let stored = compute::cast(stored, &DataType::Float64)?;
        let (given, stored) = (
            given.as_primitive::<Float64Type>(),
            stored.as_primitive::<Float64Type>(),
        );
        for (a, b) in given.iter().zip(stored.iter()) {
            let (Some(a), Some(b)) = (a, b) else { continue };
            self.values += 1;
            let off = if a == b { 0.0 } else { (a - b).abs() };
            if off > 0.0 {
                self.largest = self.largest.max(off);
                self.squares += off * off;
            }
        }
        Ok(())
    }

    /// The message of the column's block; `None` for an exact column.
    pub fn message(&self, declared: &Loss) -> Option<Lossiness> {
        let mut message = Lossiness {
            measured_max: self.largest,
            measured_rms: (self.squares / self.values.max(1) as f64).sqrt(),
            ..Default::default()
        };
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
