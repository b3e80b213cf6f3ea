//! Chooses encodings.
//!
//! One [`Planner`] serves the chunks of one column, in order. It chooses for the first chunk
//! (`choose`), remembers the tree that came out (`plan`) and encodes the following chunks alike,
//! as long as they come out alike: choosing is the costly part of writing. A user's [`Spec`] takes
//! the place of the choice at the root.
//!
//! All of it is deterministic: seeds are fixed and ties are broken by the order of registration.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;

use super::context::{ChildEncoder, EncodeContext, Role};
use super::{Loss, Node, Registry, physical};
use crate::error::{Error, Result};
use choose::{Fresh, NULLABLE, choose, run};
use plan::Plan;

mod choose;
mod plan;
mod rules;
mod sample;
pub mod spec;

pub use spec::{Spec, SpecPart};

/// The encoding of vectors that are stored beside the code of others.
const APART: &str = "pilaster.apart.v1";

/// Chooses encodings for the chunks of one column.
#[derive(Debug, Default)]
pub struct Planner {
    spec: Option<Spec>,
    last: Mutex<Option<Plan>>,
}

impl Planner {
    /// A planner that follows a user's spec, if there is one.
    pub fn new(spec: Option<Spec>) -> Self {
        Self {
            spec: spec.filter(|s| !s.is_exact()),
            last: Mutex::default(),
        }
    }

    /// What the user's spec allows to be lost; nothing without one.
    pub fn loss(&self, registry: &Registry) -> Loss {
        self.spec
            .as_ref()
            .map_or(Loss::Exact, |spec| spec.loss(registry))
    }

    /// Encodes the next chunk of the column, of any logical type.
    pub fn encode_chunk(&self, array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Node> {
        if let Some(spec) = &self.spec {
            spec.check(context.registry)?;
            return forced(array, spec.parts(), Role::Values, context);
        }
        let node = match self.last_plan() {
            Some(plan) => plan.replay(array, Role::Values, context)?,
            None => choose(array, Role::Values, context)?,
        };
        self.keep_plan(&node);
        Ok(node)
    }

    /// Encodes the next chunk with the encoding of this id at the root, which may need parents;
    /// `None` if it declines. The children follow the last chunk's plan.
    pub fn encode_chunk_as(
        &self,
        id: &str,
        array: &ArrayRef,
        context: &mut EncodeContext<'_>,
    ) -> Result<Option<Node>> {
        let encoding = Arc::clone(context.registry.get(id)?);
        let array = physical::lower(array)?;
        let node = match self.last_plan().filter(|p| p.encoding() == id) {
            Some(plan) => run(&*encoding, &array, &plan.guide(), &[], context)?,
            None => run(&*encoding, &array, &Fresh, &[], context)?,
        };
        if let Some(node) = &node {
            self.keep_plan(node);
        }
        Ok(node)
    }

    fn last_plan(&self) -> Option<Plan> {
        // A panic of another thread leaves nothing half done here.
        self.last.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    fn keep_plan(&self, node: &Node) {
        *self.last.lock().unwrap_or_else(|e| e.into_inner()) = Some(Plan::of(node));
    }
}

impl ChildEncoder for Planner {
    fn encode_child(
        &self,
        array: &ArrayRef,
        role: Role,
        context: &mut EncodeContext<'_>,
    ) -> Result<Node> {
        choose(array, role, context)
    }
}

/// Encodes an array as a spec demands. Nulls and lists that the first part does not take are
/// wrapped as usual, and the spec is for the values inside. If the encoding takes the type but
/// declines the values, the planner decides.
fn forced(
    array: &ArrayRef,
    parts: &[SpecPart],
    role: Role,
    context: &mut EncodeContext<'_>,
) -> Result<Node> {
    let Some((first, rest)) = parts.split_first() else {
        return choose(array, role, context);
    };
    let array = physical::lower(array)?;
    let (encoding, arguments) = first
        .resolve(context.registry)
        .ok_or_else(|| Error::invalid(format!("no encoding is called '{}'", first.name)))?;
    let encoding = Arc::clone(encoding);
    let wrapper = match array.data_type() {
        _ if array.null_count() > 0 => Some((NULLABLE, 1)),
        other if encoding.accepts(other) => None,
        DataType::List(_) | DataType::LargeList(_) => Some(("pilaster.list.v1", 1)),
        DataType::FixedSizeList(..) => Some(("pilaster.fixedlist.v1", 0)),
        other => {
            return Err(Error::invalid(format!(
                "encoding '{}' does not take values of type {other}",
                first.name
            )));
        }
    };
    if let Some((id, values)) = wrapper {
        let wrapper = Arc::clone(context.registry.get(id)?);
        let inside = Inside {
            parts,
            values,
            next: AtomicUsize::new(0),
        };
        return match run(&*wrapper, &array, &inside, &[], context)? {
            Some(node) => Ok(node),
            None => choose(&array, role, context),
        };
    }
    if encoding.shares() && context.chain.last() != Some(&APART) {
        let apart = Arc::clone(context.registry.get(APART)?);
        let inside = Inside {
            parts,
            values: 0,
            next: AtomicUsize::new(0),
        };
        if let Some(node) = run(&*apart, &array, &inside, &[], context)? {
            return Ok(node);
        }
    }
    let chain = Chain {
        parts: rest,
        used: AtomicBool::new(rest.is_empty()),
    };
    let Some(node) = run(&*encoding, &array, &chain, &arguments, context)? else {
        return choose(&array, role, context);
    };
    match rest.first() {
        Some(next) if !chain.used.into_inner() && !node.children.is_empty() => Err(Error::invalid(
            format!("no part of encoding '{}' takes '{}'", first.name, next.name),
        )),
        Some(next) if node.children.is_empty() => Err(Error::invalid(format!(
            "encoding '{}' has no parts that '{}' could encode",
            first.name, next.name
        ))),
        _ => Ok(node),
    }
}

/// Hands a spec on to the values child of a wrapper.
#[derive(Debug)]
struct Inside<'a> {
    parts: &'a [SpecPart],
    values: usize,
    next: AtomicUsize,
}

impl ChildEncoder for Inside<'_> {
    fn encode_child(
        &self,
        array: &ArrayRef,
        role: Role,
        context: &mut EncodeContext<'_>,
    ) -> Result<Node> {
        match self.next.fetch_add(1, Ordering::Relaxed) == self.values {
            true => forced(array, self.parts, role, context),
            false => choose(array, role, context),
        }
    }
}

/// Hands the rest of a spec on to the children that take it.
#[derive(Debug)]
struct Chain<'a> {
    parts: &'a [SpecPart],
    used: AtomicBool,
}

impl ChildEncoder for Chain<'_> {
    fn encode_child(
        &self,
        array: &ArrayRef,
        role: Role,
        context: &mut EncodeContext<'_>,
    ) -> Result<Node> {
        let physical = physical::physical_type(array.data_type());
        let next = self
            .parts
            .first()
            .and_then(|p| context.registry.named(&p.name));
        if !next.is_some_and(|e| e.accepts(&physical)) {
            return choose(array, role, context);
        }
        self.used.store(true, Ordering::Relaxed);
        forced(array, self.parts, role, context)
    }
}

#[cfg(test)]
mod tests;
