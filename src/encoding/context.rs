//! What encoders and decoders are handed: children, models, parents, a budget.

use std::any::Any;
use std::cell::Cell;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Scalar};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;

use super::Profile;
use super::distance::{Distances, Query, Stage};
use super::model::{Model, Models};
use super::node::{MAX_ROWS, Node};
use super::physical;
use super::registry::Registry;
use super::selection::Selection;
use super::traits::CompareOp;
use crate::error::{Error, Result};

/// Where a decoder finds the values of the columns that its column is conditioned on.
pub trait ParentSource {
    /// The selected rows of parent `slot` of the column, as decoded for the same chunk; of lists the
    /// selected elements.
    fn parent(&self, slot: u32, selection: &Selection) -> Result<ArrayRef>;
}

/// No parents: any demand for one is an error.
#[derive(Debug, Clone, Copy)]
pub struct NoParents;

impl ParentSource for NoParents {
    fn parent(&self, slot: u32, _: &Selection) -> Result<ArrayRef> {
        Err(Error::corrupt(format!(
            "parent {slot} wanted by a column without parents"
        )))
    }
}

impl ParentSource for &[ArrayRef] {
    fn parent(&self, slot: u32, selection: &Selection) -> Result<ArrayRef> {
        let array = self
            .get(slot as usize)
            .ok_or_else(|| Error::corrupt(format!("parent {slot} of {} wanted", self.len())))?;
        selection.take_part(array)
    }
}

/// Everything that decoding needs beside the node.
pub struct DecodeContext<'a> {
    registry: &'a Registry,
    models: &'a Models,
    parents: &'a dyn ParentSource,
    budget: Cell<u64>,
}

impl<'a> DecodeContext<'a> {
    /// A context whose decoders may allocate `budget` bytes beyond their buffers.
    pub fn new(
        registry: &'a Registry,
        models: &'a Models,
        parents: &'a dyn ParentSource,
        budget: u64,
    ) -> Self {
        Self {
            registry,
            models,
            parents,
            budget: Cell::new(budget),
        }
    }

    /// Charges an allocation that is about to be made.
    pub fn reserve(&self, bytes: u64) -> Result<()> {
        match self.budget.get().checked_sub(bytes) {
            Some(left) => {
                self.budget.set(left);
                Ok(())
            }
            None => Err(Error::corrupt(format!(
                "decoding wants {bytes} bytes, more than the chunk's declared size allows"
            ))),
        }
    }

    /// Charges an array of `rows` values of `width` bytes.
    pub fn reserve_rows(&self, rows: usize, width: usize) -> Result<()> {
        self.reserve((rows as u64).saturating_mul(width as u64))
    }

    /// Decodes the selected rows of a node into an array of a logical type.
    ///
    /// The type is that of the *result*: whoever selects elements `a..b` of each fixed-size list
    /// asks for lists of size `b - a`, and the encoding knows the stored size by itself.
    pub fn decode(
        &self,
        node: &Node,
        data_type: &DataType,
        selection: &Selection,
    ) -> Result<ArrayRef> {
        check_rows(node)?;
        selection
            .check(node.rows)
            .map_err(|e| Error::corrupt(e.to_string()))?;
        let encoding = self.registry.get(&node.encoding)?;
        let physical = physical::physical_type(data_type);
        let array = match selection.is_all() {
            true => encoding.decode(node, &physical, self)?,
            false => encoding.decode_selection(node, &physical, selection, self)?,
        };
        let rows = selection.count(node.rows);
        if array.len() != rows {
            return Err(Error::corrupt(format!(
                "{} gave {} rows, not {rows}",
                node.encoding,
                array.len()
            )));
        }
        physical::raise(array, data_type)
    }

    /// Decodes all rows.
    pub fn decode_all(&self, node: &Node, data_type: &DataType) -> Result<ArrayRef> {
        self.decode(node, data_type, &Selection::all())
    }

    /// Compares every row of a node with a value of its physical type.
    pub fn compare(
        &self,
        node: &Node,
        data_type: &DataType,
        op: CompareOp,
        value: &Scalar<ArrayRef>,
    ) -> Result<BooleanArray> {
        check_rows(node)?;
        self.reserve_rows(node.rows.div_ceil(8), 1)?;
        let result = self
            .registry
            .get(&node.encoding)?
            .compare(node, data_type, op, value, self)?;
        match result.len() == node.rows {
            true => Ok(result),
            false => Err(Error::corrupt("a comparison lost rows")),
        }
    }

    /// Bounds of the distances of the selected rows of a node, which holds vectors, from a query.
    pub fn distances(
        &self,
        node: &Node,
        data_type: &DataType,
        query: &Query,
        stage: Stage,
        selection: &Selection,
    ) -> Result<Distances> {
        match self.code_distances(node, data_type, query, stage, selection)? {
            Some(distances) => Ok(distances),
            None => {
                let vectors = self.decode(node, data_type, selection)?;
                let vectors = vectors.as_fixed_size_list_opt().ok_or_else(|| {
                    Error::invalid(format!("a column of type {data_type} holds no vectors"))
                })?;
                self.reserve_rows(vectors.len(), 4 * size_of::<f32>())?;
                Distances::of_decoded(vectors, query)
            }
        }
    }

    /// The same if it can be done without decoding.
    pub fn code_distances(
        &self,
        node: &Node,
        data_type: &DataType,
        query: &Query,
        stage: Stage,
        selection: &Selection,
    ) -> Result<Option<Distances>> {
        check_rows(node)?;
        selection
            .check(node.rows)
            .map_err(|e| Error::corrupt(e.to_string()))?;
        let encoding = self.registry.get(&node.encoding)?;
        let found = encoding.distances(node, data_type, query, stage, selection, self)?;
        let rows = selection.count(node.rows);
        match found {
            Some(found) if found.lower.len() != rows || found.upper.len() != rows => Err(
                Error::corrupt(format!("{} lost rows of distances", node.encoding)),
            ),
            found => Ok(found),
        }
    }

    /// The model that a node refers to.
    pub fn model(&self, node: &Node) -> Result<&Model> {
        let i = node
            .model
            .ok_or_else(|| Error::corrupt(format!("{} without its model", node.encoding)))?;
        Ok(self.models.get(i)?.as_ref())
    }

    /// The selected rows of the `i`-th parent that a node refers to. The node must stand for the
    /// whole chunk.
    pub fn parent(&self, node: &Node, i: usize, selection: &Selection) -> Result<ArrayRef> {
        let slot = *node
            .parents
            .get(i)
            .ok_or_else(|| Error::corrupt(format!("{} lacks parent {i}", node.encoding)))?;
        let array = self.parents.parent(slot, selection)?;
        let rows = selection.count(node.rows);
        match array.len() == rows {
            true => Ok(array),
            false => Err(Error::corrupt(format!(
                "parent {i} of {} has {} rows, not {rows}",
                node.encoding,
                array.len()
            ))),
        }
    }
}

/// Fails if a node stands for more rows than any may.
fn check_rows(node: &Node) -> Result<()> {
    match node.rows <= MAX_ROWS {
        true => Ok(()),
        false => Err(Error::corrupt(format!("node of {} rows", node.rows))),
    }
}

/// What kind of values a child array holds, so that the planner leaves out what cannot pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Ordinary values.
    Values,
    /// Dictionary codes: unsigned, dense, already distinct-counted.
    Codes,
    /// Dictionary values: each occurs once.
    Unique,
    /// Ascending positions or run ends.
    Sorted,
}

/// Encodes child arrays; the planner is the one that implements it.
pub trait ChildEncoder: Sync {
    /// Encodes an array of any logical type.
    fn encode_child(
        &self,
        array: &ArrayRef,
        role: Role,
        context: &mut EncodeContext<'_>,
    ) -> Result<Node>;
}

/// Something that a layout found out, for the encoding that it names.
pub type Known = Arc<dyn Any + Send + Sync>;

/// Everything that encoding needs beside the array.
pub struct EncodeContext<'a> {
    /// Encodes children.
    pub planner: &'a dyn ChildEncoder,
    /// All encodings.
    pub registry: &'a Registry,
    /// The column's models; encoders reuse the latest of their kind and may push new ones.
    pub models: &'a mut Models,
    /// The parents' values for the rows of the chunk, in the order of the column's parent list.
    pub parents: &'a [ArrayRef],
    /// Size against speed.
    pub profile: Profile,
    /// True while a sample is encoded: models pushed now are thrown away.
    pub sampling: bool,
    /// Whether models are stored beside what is encoded; where they are not, encodings that need one
    /// decline.
    pub keeps_models: bool,
    /// Set by an encoder that has decoded its node, within what readers grant, and found the rows
    /// again: nobody needs to do so once more.
    pub proven: bool,
    /// What the column's layout found out about the values. An encoding believes no more of it than
    /// its type makes certain.
    pub known: Option<Known>,
    /// Ids of the encodings above this one, outermost first.
    pub chain: Vec<&'static str>,
    /// All rows of the column that are at hand, where the array is a part of them or of what they are
    /// made of: models are better trained on these.
    pub training: Option<ArrayRef>,
    /// Which rows of the array hold data, where others only fill their places: what is learned or counted
    /// comes from these. All of them without it.
    pub valid: Option<NullBuffer>,
    /// Arguments that a user's spec gives to the encoding that is called, as in `zstd(19)`;
    /// encodings without parameters ignore them.
    pub arguments: Vec<String>,
}

impl<'a> EncodeContext<'a> {
    /// Context of a column's root.
    pub fn new(
        planner: &'a dyn ChildEncoder,
        registry: &'a Registry,
        models: &'a mut Models,
        parents: &'a [ArrayRef],
        profile: Profile,
    ) -> Self {
        Self {
            planner,
            registry,
            models,
            parents,
            profile,
            sampling: false,
            keeps_models: true,
            proven: false,
            known: None,
            chain: Vec::new(),
            training: None,
            valid: None,
            arguments: Vec::new(),
        }
    }

    /// The same for arrays that are stored without models.
    pub fn without_models(self) -> Self {
        Self {
            keeps_models: false,
            ..self
        }
    }

    /// Encodes a child of the encoding `of`.
    pub fn child(&mut self, of: &'static str, array: &ArrayRef, role: Role) -> Result<Node> {
        self.child_of_rows(of, array, role, None)
    }

    /// Encodes a child that has a value for each row of the array; `valid` says which of them hold data.
    pub fn child_of_rows(
        &mut self,
        of: &'static str,
        array: &ArrayRef,
        role: Role,
        valid: Option<NullBuffer>,
    ) -> Result<Node> {
        let own = std::mem::replace(&mut self.valid, valid);
        self.chain.push(of);
        let node = self.planner.encode_child(array, role, self);
        self.chain.pop();
        self.valid = own;
        node
    }
}
