//! What an encoding is.
//!
//! # Contract
//!
//! **Identity.** [`Encoding::id`] is stable for ever; a change of the stored form takes a new
//! version suffix and the old decoder stays.
//!
//! **Input.** `encode` sees a *physical* array (see [`physical`](super::physical)): a leaf of a few
//! primitive types without nulls, or a nested array for the structural encodings. It answers `None`
//! if it cannot or should not represent this array; that is not an error.
//!
//! **Children and models** are encoded and decoded through the context that is handed in, so that
//! no encoding knows another, the registry or the planner.
//!
//! **Exactness.** `decode(encode(a)) == a` bit for bit: NaN payloads and the sign of zero count. An
//! encoding that does not keep this says so by [`Encoding::loss`]. The planner never tries it; only a
//! user's spec that names it reaches it, and the writer measures and stores what was lost.
//!
//! **Hostile bytes.** `decode` may be handed any node at all. It answers with an error or a valid
//! array of `node.rows` rows of the asked type; it never panics, reads out of bounds, loops without
//! end or allocates out of proportion: what it allocates beyond the size of its buffers is charged
//! to [`DecodeContext::reserve`] *before* it is allocated.
//!
//! **Selections.** `decode_selection(s) == take(decode(all), s)`. The default does exactly that;
//! overriding it, and [`Encoding::reads`], is how an encoding earns speed.

use std::fmt::Debug;
use std::ops::Range;

use arrow::array::{ArrayRef, BooleanArray, Datum, Scalar};
use arrow::compute::kernels::cmp;
use arrow::datatypes::DataType;

use super::Profile;
use super::context::{DecodeContext, EncodeContext};
use super::distance::{Distances, Query, Stage};
use super::needles::Needles;
use super::node::Node;
use super::selection::Selection;
use super::statistics::Statistics;
use crate::error::Result;

/// What it costs to reach one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Value `i` is at a computable place: a row set reads only its own bytes.
    PerValue,
    /// Independent blocks of some thousand values.
    Block,
    /// The whole chunk decodes as one.
    Opaque,
}

/// First pass of the planner: what an encoding thinks of an array from its statistics alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Not worth a trial.
    Skip,
    /// Nothing can be better (a constant array, for example).
    Always,
    /// Try it on the sample.
    Measure,
}

/// What an encoding may lose: its declaration, which the measured error never exceeds.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Loss {
    /// Nothing: bit for bit.
    #[default]
    Exact,
    /// No value is off by more than this.
    AbsoluteError(f64),
    /// No value is off by more than this part of its own size, subnormal results aside.
    RelativeError(f64),
    /// Codes of so many bits a value; how large the error is depends on the values.
    Quantized {
        /// Bits a value, all levels together.
        bits: u32,
        /// What the codes keep small, for example `l2`.
        metric: &'static str,
    },
}

impl Loss {
    /// True if nothing is lost.
    pub fn is_exact(&self) -> bool {
        *self == Loss::Exact
    }
}

/// A comparison of every row with one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CompareOp {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
}

impl CompareOp {
    /// Compares arrays with Arrow's kernels (floats by total order).
    pub fn apply(self, left: &dyn Datum, right: &dyn Datum) -> Result<BooleanArray> {
        Ok(match self {
            CompareOp::Eq => cmp::eq(left, right)?,
            CompareOp::Ne => cmp::neq(left, right)?,
            CompareOp::Lt => cmp::lt(left, right)?,
            CompareOp::Le => cmp::lt_eq(left, right)?,
            CompareOp::Gt => cmp::gt(left, right)?,
            CompareOp::Ge => cmp::gt_eq(left, right)?,
        })
    }
}

/// Which stored bytes of a node a selection needs.
#[derive(Debug, Clone, Default)]
pub enum Reads {
    /// All of the node's buffers, and all rows of all children and parents.
    #[default]
    All,
    /// Only these.
    Parts {
        /// Byte ranges `(buffer, range)` of the node's own buffers.
        buffers: Vec<(usize, Range<u64>)>,
        /// For each child, the rows of it that are needed (`None`: not needed at all).
        children: Vec<Option<Selection>>,
    },
}

/// Rows that may hold one of some texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Candidates {
    /// Nothing is known.
    Unknown,
    /// By row; others hold none.
    Rows(Vec<bool>),
    /// The rows where this parent of the node may.
    Parent(usize),
}

/// One way of storing an array. See the module's contract.
pub trait Encoding: Send + Sync + Debug {
    /// Stable id, `pilaster.<name>.v<version>`.
    fn id(&self) -> &'static str;

    /// The short name by which a user asks for it in an encoding spec; defaults to the middle of
    /// the id.
    fn name(&self) -> &'static str {
        self.id().split('.').nth(1).unwrap_or(self.id())
    }

    /// Whether a word of a spec calls this encoding, and with which arguments: `lvq4x8` calls `lvq`
    /// with `4` and `8`. These stand before the arguments that the spec gives in parentheses. The
    /// default answers to the name alone.
    fn called(&self, word: &str) -> Option<Vec<String>> {
        (word == self.name()).then(Vec::new)
    }

    /// What is lost with these arguments; nothing, unless an encoding says so. An encoding whose
    /// arguments decide declares loss for the empty list too, so that the planner leaves it alone.
    fn loss(&self, arguments: &[String]) -> Loss {
        let _ = arguments;
        Loss::Exact
    }

    /// What random access costs.
    fn access(&self) -> Access;

    /// Whether arrays of this physical type can be encoded at all.
    fn accepts(&self, data_type: &DataType) -> bool;

    /// Whether codes of all rows depend on something that they share, so that rows far from all others
    /// are better stored beside them: see [`apart`](super::vector::apart).
    fn shares(&self) -> bool {
        false
    }

    /// Number of parent columns that `encode` needs in its context; zero for nearly all. The
    /// planner never tries an encoding that needs some: layouts name those.
    fn parents_needed(&self) -> usize {
        0
    }

    /// Opinion from statistics alone. The default asks for a measurement.
    fn estimate(&self, statistics: &Statistics, profile: Profile) -> Verdict {
        let _ = (statistics, profile);
        Verdict::Measure
    }

    /// Encodes a physical array, or answers `None` if this encoding does not suit it.
    fn encode(&self, array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Option<Node>>;

    /// Decodes all rows into an array of this physical type.
    fn decode(
        &self,
        node: &Node,
        data_type: &DataType,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef>;

    /// Decodes the selected rows.
    fn decode_selection(
        &self,
        node: &Node,
        data_type: &DataType,
        selection: &Selection,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        selection.take(&self.decode(node, data_type, context)?)
    }

    /// Compares every row with a value of the physical type, decoding as little as possible.
    fn compare(
        &self,
        node: &Node,
        data_type: &DataType,
        op: CompareOp,
        value: &Scalar<ArrayRef>,
        context: &DecodeContext<'_>,
    ) -> Result<BooleanArray> {
        let array = self.decode(node, data_type, context)?;
        op.apply(&array, value)
    }

    /// Whether [`Encoding::candidates`] ever knows something.
    fn knows_candidates(&self) -> bool {
        false
    }

    /// The rows whose values, as bytes, may hold one of some texts, found without rebuilding values.
    /// The default knows nothing.
    fn candidates(
        &self,
        node: &Node,
        needles: &Needles,
        context: &DecodeContext<'_>,
    ) -> Result<Candidates> {
        let _ = (node, needles, context);
        Ok(Candidates::Unknown)
    }

    /// The stored bytes that a selection needs. The default is all of them.
    fn reads(&self, node: &Node, selection: &Selection) -> Reads {
        let _ = (node, selection);
        Reads::All
    }

    /// Bounds of the distances of the selected rows, vectors of 32-bit floats, from a query, without
    /// decoding them; `None` where that is not possible. See [`distance`](super::distance).
    fn distances(
        &self,
        node: &Node,
        data_type: &DataType,
        query: &Query,
        stage: Stage,
        selection: &Selection,
        context: &DecodeContext<'_>,
    ) -> Result<Option<Distances>> {
        let _ = (node, data_type, query, stage, selection, context);
        Ok(None)
    }

    /// The stored bytes that [`Encoding::distances`] needs; those of decoding if it answers `None`.
    fn distance_reads(&self, node: &Node, stage: Stage, selection: &Selection) -> Reads {
        let _ = stage;
        self.reads(node, selection)
    }

    /// How many of a node's own values lay beyond what its codes hold, and were stored as the nearest that
    /// they do hold; `None`, the default, where that is not counted.
    fn saturated(&self, node: &Node) -> Option<u64> {
        let _ = node;
        None
    }

    /// The part of parent `i` of a root node that a selection needs; decoding then asks for no other
    /// part of it. The default, `None`, is all of it.
    fn parent_part(&self, node: &Node, i: usize, selection: &Selection) -> Option<Selection> {
        let _ = (node, i, selection);
        None
    }
}
