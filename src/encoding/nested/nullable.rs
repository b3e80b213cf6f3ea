//! `pilaster.nullable.v1`: validity beside values that have none.
//!
//! Child 0 is the validity (a boolean array), child 1 the values of all rows. Under a null lies
//! what costs least in the encodings below: the value before it (or the first valid one), or nothing
//! at all for text and lists. What stood there in the input is not data, and neither is what a file
//! holds there: decoded arrays are settled (see [`under`]).

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::DataType;

use super::under;
use crate::encoding::distance::{Distances, Query, Stage};
use crate::encoding::{
    Access, DecodeContext, EncodeContext, Encoding, Node, Reads, Role, Selection,
};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct Nullable;

const ID: &str = "pilaster.nullable.v1";

impl Encoding for Nullable {
    fn id(&self) -> &'static str {
        ID
    }

    fn access(&self) -> Access {
        Access::PerValue
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        *data_type != DataType::Null
    }

    fn encode(&self, array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        let Some(nulls) = array.nulls().filter(|n| n.null_count() > 0) else {
            return Ok(None);
        };
        let validity: ArrayRef = Arc::new(BooleanArray::new(nulls.inner().clone(), None));
        let values = under::filled(array, nulls)?;
        let validity = context.child(ID, &validity, Role::Values)?;
        let values = context.child_of_rows(ID, &values, Role::Values, Some(nulls.clone()))?;
        Ok(Some(
            Node::new(ID, array.len())
                .with_child(validity)
                .with_child(values),
        ))
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
        node.expect(0, 2)?;
        let rows_only = Selection::from(selection.rows.clone());
        let validity =
            context.decode(node.child_of(0, node.rows)?, &DataType::Boolean, &rows_only)?;
        let values = context.decode(node.child_of(1, node.rows)?, data_type, selection)?;
        let validity = validity.as_boolean();
        if validity.null_count() > 0 || values.logical_null_count() > 0 {
            return Err(Error::corrupt("validity inside validity"));
        }
        let nulls = NullBuffer::new(validity.values().clone());
        // A slice of booleans keeps its offset, which nulls that start at zero would not fit.
        if let Some(values) = values.as_boolean_opt() {
            let values = BooleanBuffer::new(values.values().sliced(), 0, values.len());
            return Ok(Arc::new(BooleanArray::new(values, Some(nulls))));
        }
        under::settled(values, nulls)
    }

    fn reads(&self, _: &Node, selection: &Selection) -> Reads {
        Reads::Parts {
            buffers: Vec::new(),
            children: vec![Some(selection.rows.clone().into()), Some(selection.clone())],
        }
    }

    fn distances(
        &self,
        node: &Node,
        data_type: &DataType,
        query: &Query,
        stage: Stage,
        selection: &Selection,
        context: &DecodeContext<'_>,
    ) -> Result<Option<Distances>> {
        node.expect(0, 2)?;
        let values = node.child_of(1, node.rows)?;
        let found = context.code_distances(values, data_type, query, stage, selection)?;
        let Some(mut found) = found.filter(|f| f.nulls.is_none()) else {
            return Ok(None);
        };
        let validity = node.child_of(0, node.rows)?;
        let validity = context.decode(validity, &DataType::Boolean, selection)?;
        found.nulls = Some(NullBuffer::new(validity.as_boolean().values().clone()));
        Ok(Some(found))
    }
}
