//! A plan: the tree of encodings that a chunk got, to be tried on the next one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, ArrayRef};

use super::choose::{self, NULLABLE};
use crate::encoding::context::ChildEncoder;
use crate::encoding::{EncodeContext, Node, Role, physical};
use crate::error::Result;

/// Encodings and how well they did. Statistics are not kept: they are the last chunk's.
#[derive(Debug, Clone)]
pub struct Plan {
    encoding: Arc<str>,
    bytes: u64,
    rows: usize,
    children: Vec<Plan>,
}

impl Plan {
    /// The plan that a node follows.
    pub fn of(node: &Node) -> Self {
        Self {
            encoding: Arc::clone(&node.encoding),
            bytes: node.stored_bytes(),
            rows: node.rows,
            children: node.children.iter().map(Plan::of).collect(),
        }
    }

    /// The encoding of the root.
    pub fn encoding(&self) -> &str {
        &self.encoding
    }

    /// Encoder of the children of a node of this plan.
    pub fn guide(&self) -> Replay<'_> {
        Replay {
            children: &self.children,
            next: AtomicUsize::new(0),
        }
    }

    /// True if a node takes about as many bytes a row as the plan's did: within a fifth, small
    /// change aside.
    fn still_fits(&self, node: &Node) -> bool {
        let expected = self.bytes as f64 * node.rows as f64 / self.rows.max(1) as f64;
        let off = (node.stored_bytes() as f64 - expected).abs();
        off <= expected * 0.2 + 64.0
    }

    /// Encodes an array in the same way, or afresh if that is refused or turns out otherwise than
    /// it did.
    pub fn replay(
        &self,
        array: &ArrayRef,
        role: Role,
        context: &mut EncodeContext<'_>,
    ) -> Result<Node> {
        let array = physical::lower(array)?;
        let nulls = array.null_count() > 0;
        if *self.encoding == *NULLABLE && !nulls {
            return match self.children.get(1) {
                Some(values) => values.replay(&array, role, context),
                None => choose::choose(&array, role, context),
            };
        }
        if *self.encoding != *NULLABLE && nulls {
            return choose::choose(&array, role, context);
        }
        let encoding = Arc::clone(context.registry.get(&self.encoding)?);
        let before = context.models.clone();
        let replayed = match encoding.accepts(array.data_type()) {
            true => choose::run(&*encoding, &array, &self.guide(), &[], context)?,
            false => None,
        };
        let Some(replayed) = replayed else {
            *context.models = before;
            return choose::choose(&array, role, context);
        };
        // Below a wrapper each part was looked at by itself.
        let leaf = physical::is_leaf(array.data_type()) && !nulls;
        if !leaf || self.still_fits(&replayed) {
            return Ok(replayed);
        }
        let with_replayed = std::mem::replace(context.models, before);
        let fresh = choose::choose(&array, role, context)?;
        if replayed.stored_bytes() <= fresh.stored_bytes() {
            *context.models = with_replayed;
            return Ok(replayed);
        }
        Ok(fresh)
    }
}

/// Encodes the children of one node as a plan says, in the order in which they are asked for.
#[derive(Debug)]
pub struct Replay<'a> {
    children: &'a [Plan],
    next: AtomicUsize,
}

impl ChildEncoder for Replay<'_> {
    fn encode_child(
        &self,
        array: &ArrayRef,
        role: Role,
        context: &mut EncodeContext<'_>,
    ) -> Result<Node> {
        let i = self.next.fetch_add(1, Ordering::Relaxed);
        match self.children.get(i) {
            Some(plan) => plan.replay(array, role, context),
            None => choose::choose(array, role, context),
        }
    }
}
