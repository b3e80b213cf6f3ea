//! `pilaster.restore.v1`: values restored from hidden integer columns.
//!
//! A column of any leaf type is stored as one integer column (text in parts: several), which the
//! table codecs condition on others; the node here has no bytes of its own, only a model that says
//! how an integer becomes a value: by a factor and a base, as decimals, from a sorted dictionary, or
//! as the text of a number, date or time. Values that the rule does not give are exceptions:
//! integer `i64::MIN + e` is entry `e - 1` of the model's list of exceptions, and `i64::MIN` is
//! null.
//!
//! So the encoding carries nulls itself: as root of a column it is handed the physical array *with*
//! its nulls and gives one back.
//!
//! Parents: as many integer columns as the form takes, without nulls. An exception or null stands
//! in the first; the others are not looked at in that row.
//!
//! A column on which no other is conditioned needs no hidden column: if it has a model of
//! `pilaster.context.v1` of its own, the integers are a child, coded by that (and if they *are* the
//! values, the child is all).
//!
//! Encoding restores the chunk from its parents and compares bit for bit; if anything differs it
//! declines, so that losslessness never rests on the typing that made the integers.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::*;

use crate::encoding::{
    Access, CompareOp, DecodeContext, EncodeContext, Encoding, NoParents, Node, Reads, Selection,
    physical,
};
use crate::error::Result;

mod assemble;
pub mod invert;
pub mod model;
pub mod parts;
pub mod text;
pub mod values;

use super::model as table_model;
use assemble::{Prepared, integers, is_integers};
use model::{Form, KIND};

/// See the module.
#[derive(Debug)]
pub struct Restore;

/// Id of the encoding.
pub const ID: &str = "pilaster.restore.v1";

impl Encoding for Restore {
    fn id(&self) -> &'static str {
        ID
    }

    fn access(&self) -> Access {
        Access::PerValue
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        physical::is_leaf(data_type)
    }

    fn parents_needed(&self) -> usize {
        1
    }

    fn encode(&self, array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        let Some((index, model)) = context.models.latest(KIND) else {
            return Ok(None);
        };
        let model = Arc::clone(model);
        let Ok(prepared) = model.parsed(KIND, Prepared::parse) else {
            return Ok(None);
        };
        if context.models.latest(table_model::KIND).is_some() {
            return in_place(array, &prepared, index, context);
        }
        let count = prepared.rule.integers();
        let fits = context.parents.len() >= count && self.accepts(array.data_type());
        let parents = context.parents.iter().take(count);
        if !fits || parents.clone().any(|p| !is_integers(p, array.len())) {
            return Ok(None);
        }
        let parents: Vec<ArrayRef> = parents.cloned().collect();
        if !gives(&prepared, &parents, array, context) {
            return Ok(None);
        }
        let mut node = Node::new(ID, array.len());
        node.model = Some(index);
        node.parents = (0..count as u32).collect();
        Ok(Some(node))
    }

    fn decode(
        &self,
        node: &Node,
        data_type: &DataType,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        self.decode_selection(node, data_type, &Selection::all(), context)
    }

    fn decode_selection(
        &self,
        node: &Node,
        data_type: &DataType,
        selection: &Selection,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        let (prepared, parents) = opened(node, selection, context)?;
        prepared.restore(&parents, selection.count(node.rows), data_type, context)
    }

    fn compare(
        &self,
        node: &Node,
        data_type: &DataType,
        op: CompareOp,
        value: &Scalar<ArrayRef>,
        context: &DecodeContext<'_>,
    ) -> Result<BooleanArray> {
        let (prepared, parents) = opened(node, &Selection::all(), context)?;
        let Form::Dictionary(values) = &prepared.rule.form else {
            let array = prepared.restore(&parents, node.rows, data_type, context)?;
            return op.apply(&array, value);
        };
        // Each value is compared once; rows only look up the answer.
        let entries = prepared.entries();
        values.charge(context, 16)?;
        let codes: ArrayRef = Arc::new(Int64Array::from_iter_values(
            (0..entries).map(|i| prepared.code(i)),
        ));
        let list = prepared.restore(&[codes], entries, data_type, context)?;
        let answers = op.apply(&list, value)?;
        context.reserve_rows(node.rows, 4)?;
        let index = prepared.indices(integers(&parents[0])?)?;
        let bits = BooleanBuffer::collect_bool(index.len(), |i| answers.value(index[i] as usize));
        let nulls = answers.nulls().map(|nulls| {
            let bits = |i: usize| nulls.is_valid(index[i] as usize);
            NullBuffer::new(BooleanBuffer::collect_bool(index.len(), bits))
        });
        Ok(BooleanArray::new(bits, nulls))
    }

    fn reads(&self, node: &Node, selection: &Selection) -> Reads {
        Reads::Parts {
            buffers: Vec::new(),
            children: vec![Some(selection.clone()); node.children.len()],
        }
    }
}

/// Whether integers give an array bit for bit.
fn gives(
    prepared: &Prepared,
    integers: &[ArrayRef],
    array: &ArrayRef,
    context: &EncodeContext<'_>,
) -> bool {
    // What is restored is as large as what is at hand already.
    let check = DecodeContext::new(context.registry, context.models, &NoParents, u64::MAX);
    let restored = prepared.restore(integers, array.len(), array.data_type(), &check);
    restored.is_ok_and(|restored| restored.to_data() == array.to_data())
}

/// Encodes the integers as a child.
fn in_place(
    array: &ArrayRef,
    prepared: &Prepared,
    model: u32,
    context: &mut EncodeContext<'_>,
) -> Result<Option<Node>> {
    let Some(integers) = invert::integers(&prepared.rule, array) else {
        return Ok(None);
    };
    let integers: ArrayRef = Arc::new(integers);
    if !gives(prepared, std::slice::from_ref(&integers), array, context) {
        return Ok(None);
    }
    let codec = Arc::clone(context.registry.get(super::context::ID)?);
    let Some(child) = codec.encode(&integers, context)? else {
        return Ok(None);
    };
    if *array.data_type() == DataType::Int64 && integers.to_data() == array.to_data() {
        return Ok(Some(child));
    }
    let mut node = Node::new(ID, array.len()).with_child(child);
    node.model = Some(model);
    Ok(Some(node))
}

/// The model and the integers of the selected rows.
fn opened(
    node: &Node,
    selection: &Selection,
    context: &DecodeContext<'_>,
) -> Result<(Arc<Prepared>, Vec<ArrayRef>)> {
    let prepared = context.model(node)?.parsed(KIND, Prepared::parse)?;
    if prepared.rule.integers() == 1 && node.children.len() == 1 {
        node.expect(0, 1)?;
        let child = node.child_of(0, node.rows)?;
        let integers = context.decode(child, &DataType::Int64, selection)?;
        return Ok((prepared, vec![integers]));
    }
    node.expect(0, 0)?;
    let parents = (0..prepared.rule.integers())
        .map(|i| context.parent(node, i, selection))
        .collect::<Result<Vec<_>>>()?;
    Ok((prepared, parents))
}
