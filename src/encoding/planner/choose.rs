//! Choosing an encoding afresh.
//!
//! Structure comes first: nulls go to the nullable wrapper, nested types to their encodings. For a
//! leaf there are two passes. First each encoding gives its verdict from the statistics alone:
//! *skip*, *always*, or *measure*. Then those that ask for it are measured on a sample, their parts
//! encoded by few simple means, and the best of them on the whole array, where the smallest wins;
//! sizes are weighted by the profile ([`rules`]), ties go to the one that was registered first.
//! Whatever does not beat the plain form on the whole array is not taken.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};

use super::{rules, sample};
use crate::encoding::context::ChildEncoder;
use crate::encoding::{EncodeContext, Encoding, Models, Node, Role, Statistics, Verdict, physical};
use crate::error::{Error, Result};

/// Id of the wrapper that all arrays with nulls get.
pub const NULLABLE: &str = "pilaster.nullable.v1";
const PLAIN: &str = "pilaster.plain.v1";
/// Most encodings that are tried on a whole array after the sample, at the root of a leaf. Below it
/// the sample decides: otherwise whole arrays would be encoded again and again.
const FINALISTS: usize = 2;
/// How far behind the best a sample may be for its encoding to be tried on the whole array.
const CLOSE: f64 = 1.10;
/// Arrays that are no larger than this in plain form stay so.
const SMALL: u64 = 64;

/// Plans every child afresh.
#[derive(Debug)]
pub struct Fresh;

impl ChildEncoder for Fresh {
    fn encode_child(
        &self,
        array: &ArrayRef,
        role: Role,
        context: &mut EncodeContext<'_>,
    ) -> Result<Node> {
        choose(array, role, context)
    }
}

/// Lets an encoding encode an array, its children encoded by `children`.
pub fn run(
    encoding: &dyn Encoding,
    array: &ArrayRef,
    children: &dyn ChildEncoder,
    arguments: &[String],
    context: &mut EncodeContext<'_>,
) -> Result<Option<Node>> {
    let mut inner = EncodeContext {
        planner: children,
        registry: context.registry,
        models: &mut *context.models,
        parents: context.parents,
        profile: context.profile,
        sampling: context.sampling,
        keeps_models: context.keeps_models,
        proven: false,
        known: context.known.clone(),
        chain: context.chain.clone(),
        training: context.training.clone(),
        valid: context.valid.clone(),
        arguments: arguments.to_vec(),
    };
    let node = encoding.encode(array, &mut inner);
    // What is proven of a part says nothing of the whole.
    context.proven = inner.proven && inner.chain.is_empty();
    node
}

/// Encodes an array of any type in the way that suits it best.
pub fn choose(array: &ArrayRef, role: Role, context: &mut EncodeContext<'_>) -> Result<Node> {
    let array = physical::lower(array)?;
    if array.null_count() > 0 {
        let nullable = Arc::clone(context.registry.get(NULLABLE)?);
        return run(&*nullable, &array, &Fresh, &[], context)?
            .ok_or_else(|| Error::invalid("the nullable encoding refused an array with nulls"));
    }
    match physical::is_leaf(array.data_type()) {
        true => leaf(&array, role, context),
        false => structure(&array, role, context),
    }
}

/// An encoding that may be tried, and the weight of its size.
#[derive(Debug, Clone)]
struct Candidate {
    encoding: Arc<dyn Encoding>,
    weight: f64,
}

/// The encodings that may be tried on an array, but for the plain one.
fn candidates(array: &ArrayRef, role: Role, context: &EncodeContext<'_>) -> Vec<Candidate> {
    context
        .registry
        .iter()
        .filter(|e| e.parents_needed() == 0 && e.id() != NULLABLE && e.id() != PLAIN)
        .filter(|e| e.loss(&[]).is_exact() && e.accepts(array.data_type()))
        .filter(|e| rules::allowed(&***e, array.data_type(), role, context))
        .filter_map(|e| {
            let weight = rules::weight(&**e, array.data_type(), context.profile)?;
            Some(Candidate {
                encoding: Arc::clone(e),
                weight,
            })
        })
        .collect()
}

fn structure(array: &ArrayRef, role: Role, context: &mut EncodeContext<'_>) -> Result<Node> {
    let statistics = Statistics::of(array);
    let mut found = candidates(array, role, context);
    found.retain(|c| c.encoding.estimate(&statistics, context.profile) != Verdict::Skip);
    smallest(array, found, context)?
        .map(|(node, _)| node)
        .ok_or_else(|| {
            Error::invalid(format!(
                "no encoding holds values of type {}",
                array.data_type()
            ))
        })
}

fn leaf(array: &ArrayRef, role: Role, context: &mut EncodeContext<'_>) -> Result<Node> {
    let plain = Arc::clone(context.registry.get(PLAIN)?);
    let plain = run(&*plain, array, &Fresh, &[], context)?.ok_or_else(|| {
        Error::invalid(format!(
            "no encoding holds values of type {}",
            array.data_type()
        ))
    })?;
    if array.is_empty() {
        return Ok(plain);
    }
    let statistics = Statistics::of(array);
    let mut measured = Vec::new();
    for candidate in candidates(array, role, context) {
        match candidate.encoding.estimate(&statistics, context.profile) {
            Verdict::Skip => {}
            // What holds for a sample need not hold for the array.
            Verdict::Always if !context.sampling => {
                if let Some((node, _)) = smallest(array, vec![candidate], context)?
                    && node.stored_bytes() < plain.stored_bytes()
                {
                    return Ok(node);
                }
            }
            Verdict::Always | Verdict::Measure => measured.push(candidate),
        }
    }
    if plain.stored_bytes() <= SMALL {
        return Ok(plain);
    }
    let smallest = match context.sampling || measured.len() < 2 {
        true => smallest(array, measured, context)?,
        false => {
            let ranked = ranked(array, &statistics, measured, context)?;
            let most = if rules::above(context).is_empty() {
                FINALISTS
            } else {
                1
            };
            first_of(array, ranked, most, context)?
        }
    };
    match smallest {
        Some((node, weighted)) if weighted < plain.stored_bytes() as f64 => Ok(node),
        _ => Ok(plain),
    }
}

/// The candidates that a sample does not rule out, best first, with what it says of their size.
fn ranked(
    array: &ArrayRef,
    statistics: &Statistics,
    candidates: Vec<Candidate>,
    context: &mut EncodeContext<'_>,
) -> Result<Vec<(f64, Candidate)>> {
    let sample = sample::of(array)?;
    let about_sample = match sample.len() < array.len() {
        true => Statistics::of(&sample),
        false => statistics.clone(),
    };
    let outer = std::mem::replace(&mut context.sampling, true);
    let mut scored = Vec::new();
    for candidate in candidates {
        let before = context.models.clone();
        let result = run(&*candidate.encoding, &sample, &Fresh, &[], context);
        let models: usize = context
            .models
            .iter()
            .skip(before.len())
            .map(|m| m.bytes().len())
            .sum();
        *context.models = before;
        if let Some(node) = result? {
            let bytes = sample::extrapolate(&node, &about_sample, statistics) + models as f64;
            scored.push((bytes * candidate.weight, candidate));
        }
    }
    context.sampling = outer;
    // Stable: ties keep the order of registration.
    scored.sort_by(|a, b| a.0.total_cmp(&b.0));
    Ok(scored)
}

/// The smallest of the first `most` candidates that do not decline the whole array, as far as they
/// are close to the best.
fn first_of(
    array: &ArrayRef,
    ranked: Vec<(f64, Candidate)>,
    most: usize,
    context: &mut EncodeContext<'_>,
) -> Result<Option<(Node, f64)>> {
    let before = context.models.clone();
    let mut found: Option<(f64, Node, f64, Models)> = None;
    let mut tried = 0;
    for (score, candidate) in ranked {
        let close = found
            .as_ref()
            .is_none_or(|(best, ..)| score <= best * CLOSE);
        if tried == most || !close {
            break;
        }
        *context.models = before.clone();
        let Some((node, weighted)) = smallest(array, vec![candidate], context)? else {
            continue;
        };
        tried += 1;
        let smaller = found
            .as_ref()
            .is_none_or(|(_, _, best, _)| weighted < *best);
        let score = found.as_ref().map_or(score, |f| f.0);
        if smaller {
            found = Some((score, node, weighted, context.models.clone()));
        }
    }
    *context.models = found.as_ref().map_or(before, |f| f.3.clone());
    Ok(found.map(|(_, node, weighted, _)| (node, weighted)))
}

/// The smallest of the encodings of the whole array, with its weighted size; models of the others
/// are dropped.
fn smallest(
    array: &ArrayRef,
    candidates: Vec<Candidate>,
    context: &mut EncodeContext<'_>,
) -> Result<Option<(Node, f64)>> {
    let before = context.models.clone();
    let mut best: Option<(Node, f64)> = None;
    let mut best_models = before.clone();
    for candidate in candidates {
        *context.models = before.clone();
        let Some(node) = run(&*candidate.encoding, array, &Fresh, &[], context)? else {
            continue;
        };
        let new = context.models.iter().skip(before.len());
        let models: usize = new.map(|m| m.bytes().len()).sum();
        let weighted = (node.stored_bytes() + models as u64) as f64 * candidate.weight;
        if best.as_ref().is_none_or(|(_, b)| weighted < *b) {
            best_models = context.models.clone();
            best = Some((node, weighted));
        }
    }
    *context.models = best_models;
    Ok(best)
}
