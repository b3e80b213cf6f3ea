//! What an encoding needs before it can encode: trained models and values of parent columns.
//!
//! Most need nothing. An encoding that is conditioned on other columns gets parents made from the
//! array itself, so that there is something to learn; one that wants a trained model has a line
//! here that trains it.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, Int64Type};
use pilaster::encoding::kv::format::Format;
use pilaster::encoding::kv::klt::{self, Quality};
use pilaster::encoding::kv::rotation::{Pairing, Rotation};
use pilaster::encoding::kv::slice::Slice;
use pilaster::encoding::kv::transform::{Parent, exact_rows, quantize};
use pilaster::encoding::log::view;
use pilaster::encoding::table::model::{KIND, Stored};
use pilaster::encoding::table::spec::{
    BUCKETS, Form, MAX_SYMBOLS, Prediction, Scaled, Spec, Variable, is_exception,
};
use pilaster::encoding::table::tree::Tree;
use pilaster::encoding::{Encoding, Model, Models};
use pilaster::kind::tables::typing::type_column;

use crate::generate::Rng;

/// Models and parents, ready for an encode context.
pub struct Prepared {
    pub models: Models,
    pub parents: Vec<ArrayRef>,
}

/// The encoding that codes integers given their parents.
pub const CONTEXT: &str = "pilaster.context.v1";

/// Prepares for one array; `None` if the array cannot be prepared for, as when its type cannot be
/// conditioned on anything.
pub fn prepare(encoding: &dyn Encoding, array: &ArrayRef) -> Result<Option<Prepared>, String> {
    match encoding.id() {
        super::RESTORE => restored(array),
        CONTEXT => Ok(conditioned(array)),
        view::ID => Ok(lines(array)),
        klt::ID => Ok(transformed(array)),
        _ => Ok(Some(Prepared {
            models: Models::default(),
            parents: (0..encoding.parents_needed())
                .map(|slot| codes(array, slot as u64))
                .collect(),
        })),
    }
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

/// Lines whose text is the array.
fn lines(array: &ArrayRef) -> Option<Prepared> {
    let texts = array.as_binary_opt::<i32>()?;
    let terminated = texts.iter().enumerate().map(|(i, text)| {
        let end: &[u8] = if i % 3 == 0 { b"\r\n" } else { b"\n" };
        Some([text.unwrap_or_default(), end].concat())
    });
    let lines = BinaryArray::from_iter(terminated);
    let mut models = Models::default();
    models.push(Arc::new(view::View::Line.to_model()));
    Some(Prepared {
        models,
        parents: vec![Arc::new(lines)],
    })
}

/// Codes that the array about follows from, those of its keys, and positions.
fn transformed(array: &ArrayRef) -> Option<Prepared> {
    let data_type = array.data_type();
    let format = Format::of_lists(data_type)?;
    let (values, width) = format.floats(array)?;
    let slice = slice(width, format == Format::Single);
    let mut rng = Rng::new(values.len() as u64);
    let mut position = 0;
    let positions: Vec<u32> = (0..array.len())
        .map(|_| {
            position = if rng.chance(0.03) {
                rng.below(9) as u32
            } else {
                position + 1
            };
            position
        })
        .collect();
    let keys: Vec<i16> = values.iter().map(|_| rng.below(7) as i16 - 3).collect();
    let quality = Quality {
        step: 128,
        parent_step: 256,
        sinks: 2,
    };
    let exact = exact_rows(&slice, &values, &positions, quality.sinks);
    let parent = Parent {
        codes: &keys,
        step: quality.parent_step,
    };
    let codes = quantize(
        &slice,
        quality.step,
        &values,
        &positions,
        &exact,
        Some(parent),
    );
    let list = |codes: Vec<i16>| -> ArrayRef {
        let item = Arc::new(Field::new("item", DataType::Int16, false));
        let codes = Arc::new(Int16Array::from(codes));
        Arc::new(FixedSizeListArray::new(item, width as i32, codes, None))
    };
    let mut models = Models::default();
    models.push(Arc::new(slice.to_model()));
    models.push(Arc::new(quality.to_model()));
    Some(Prepared {
        models,
        parents: vec![
            list(codes),
            list(keys),
            Arc::new(UInt32Array::from(positions)),
        ],
    })
}

/// Maps of multiples of a step, so that multiples of an eighth come back as they were; not so if heads
/// are turned.
fn slice(width: usize, still: bool) -> Slice {
    let mut basis = vec![0i16; width * width];
    let mut predict = vec![0i16; width * width];
    for i in 0..width {
        basis[i * width + (i + 1) % width] = if i % 2 == 0 { 1 << 14 } else { -(1 << 14) };
        predict[i * width + i] = 1 << 5;
        predict[i * width + (i + 2) % width] -= 3 << 5;
    }
    let pairing = Pairing::Interleaved;
    Slice {
        width,
        group: width,
        head: width,
        fraction: 10,
        mean: (0..width as i32).map(|i| 128 * i).collect(),
        deviation: 1000,
        basis,
        predict,
        shift: 5,
        scales: vec![160; width],
        rotation: match still {
            true => Rotation::none(),
            false => Rotation::with_base(pairing, 100.0, width / 2 * 2),
        },
    }
}

/// A parent of few distinct values.
fn codes(array: &ArrayRef, slot: u64) -> ArrayRef {
    let mut rng = Rng::new(slot + 500);
    let mut code = 0;
    Arc::new(Int64Array::from_iter_values((0..array.len()).map(|_| {
        if rng.chance(0.2) {
            code = rng.below(6) as i64;
        }
        code
    })))
}

/// Two parents that tell something about the array, and a model of one of the forms: which one
/// follows from the array.
fn conditioned(array: &ArrayRef) -> Option<Prepared> {
    let values = array.as_primitive_opt::<Int64Type>()?.values();
    let mut rng = Rng::new(values.len() as u64 ^ values.first().map_or(0, |&v| v as u64));
    let classes: Vec<i64> = values
        .iter()
        .map(|v| match rng.chance(0.1) {
            true => rng.below(4) as i64 - 1,
            false => v.rem_euclid(6),
        })
        .collect();
    let near: Vec<i64> = values
        .iter()
        .map(|v| v.wrapping_sub(rng.below(9) as i64))
        .collect();
    let mut alphabet = values.to_vec();
    alphabet.sort_unstable();
    alphabet.dedup();
    let scaled = Scaled {
        parent: 1,
        exponent: 0,
    };
    let predictions = [
        Prediction::Previous,
        Prediction::Linear,
        Prediction::Last(0),
        Prediction::Column(scaled),
        Prediction::Step(scaled),
        Prediction::Ratio(1, 1.0),
    ];
    let pick = rng.below(9);
    let form = match pick {
        0..3 if !alphabet.is_empty() && alphabet.len() <= MAX_SYMBOLS => Form::Symbol,
        8 => Form::Top {
            base: alphabet
                .iter()
                .copied()
                .find(|&v| !is_exception(v))
                .unwrap_or(0),
            step: 1,
            shift: 3,
        },
        _ => Form::Residual {
            prediction: predictions[pick % predictions.len()],
            step: 1,
            start: 0,
        },
    };
    if form != Form::Symbol {
        alphabet.retain(|&v| is_exception(v));
    }
    let symbols = match form {
        Form::Symbol => alphabet.len(),
        Form::Residual { .. } => alphabet.len() + BUCKETS,
        Form::Top { .. } => alphabet.len() + 256,
    };
    let (variables, keys, tree) = tree(pick, symbols);
    let stored = Stored {
        spec: Spec { form, variables },
        alphabet,
        symbols,
        keys,
        tree,
    };
    let mut models = Models::default();
    let bytes = stored.to_bytes().ok()?;
    models.push(Arc::new(Model::new(KIND, Buffer::from_vec(bytes))));
    Some(Prepared {
        models,
        parents: [classes, near]
            .map(|p| Arc::new(Int64Array::from(p)) as ArrayRef)
            .to_vec(),
    })
}

/// Variables, their keys and a tree over them, with tables that differ a little.
fn tree(pick: usize, symbols: usize) -> (Vec<Variable>, Vec<Vec<i64>>, Tree) {
    let leaf = |weight: u32| Tree::Leaf {
        symbols: (0..symbols as u32).collect(),
        counts: (0..symbols as u32).map(|s| 1 + (s + weight) % 5).collect(),
    };
    let split = |own: Vec<(u32, Tree)>| Tree::Split {
        own,
        other: Some(Box::new(leaf(0))),
    };
    let keys = (0..6).collect::<Vec<i64>>();
    match pick % 4 {
        0 => (vec![], vec![], leaf(1)),
        1 => {
            let own = (1..4).map(|id| (id, leaf(id))).collect();
            (vec![Variable::Exact(0)], vec![keys], split(own))
        }
        2 => {
            let inner = split(vec![(0, leaf(2)), (1, leaf(3))]);
            let variables = vec![Variable::Exact(0), Variable::Previous];
            (variables, vec![keys, vec![]], split(vec![(2, inner)]))
        }
        _ => {
            let inner = split(vec![(1, leaf(4))]);
            let variables = vec![Variable::Changed(0), Variable::Last(0)];
            (variables, vec![vec![], vec![]], split(vec![(1, inner)]))
        }
    }
}
