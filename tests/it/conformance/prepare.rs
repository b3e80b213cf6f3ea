//! What an encoding needs before it can encode: trained models and values of parent columns.
//!
//! Most need nothing. An encoding that is conditioned on other columns gets parents made from the
//! array itself, so that there is something to learn; one that wants a trained model has a line
//! here that trains it.

use std::sync::Arc;

use arrow::array::*;
use pilaster::encoding::{Encoding, Models};
use pilaster::kind::tables::typing::type_column;

use crate::generate::Rng;

/// Models and parents, ready for an encode context.
pub struct Prepared {
    pub models: Models,
    pub parents: Vec<ArrayRef>,
}

/// Prepares for one array; `None` if the array cannot be prepared for, as when its type cannot be
/// conditioned on anything.
pub fn prepare(encoding: &dyn Encoding, array: &ArrayRef) -> Result<Option<Prepared>, String> {
    Ok(Some(match encoding.id() {
        super::RESTORE => return restored(array),
        _ => Prepared {
            models: Models::default(),
            parents: (0..encoding.parents_needed())
                .map(|slot| codes(array, slot as u64))
                .collect(),
        },
    }))
}

/// Integers that the array follows from, and the rule.
fn restored(array: &ArrayRef) -> Result<Option<Prepared>, String> {
    let typed = type_column(array).map_err(|e| e.to_string())?;
    Ok(typed.map(|typed| {
        let mut models = Models::default();
        models.push(Arc::new(typed.rule.to_model()));
        let parents = typed.integers.into_iter();
        Prepared {
            models,
            parents: parents.map(|p| Arc::new(p.values) as ArrayRef).collect(),
        }
    }))
}

/// A parent of few distinct values that often tells something about the array's.
pub fn codes(array: &ArrayRef, slot: u64) -> ArrayRef {
    let mut rng = Rng::new(slot + 500);
    let mut code = 0;
    Arc::new(UInt32Array::from_iter_values((0..array.len()).map(|_| {
        if rng.chance(0.2) {
            code = rng.below(6) as u32;
        }
        code
    })))
}
