//! `pilaster.struct.v1`: a struct as its fields, one child each, in the order of the type.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::DataType;

use crate::encoding::{
    Access, DecodeContext, EncodeContext, Encoding, Node, Reads, Role, Selection,
};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct Struct;

const ID: &str = "pilaster.struct.v1";

impl Encoding for Struct {
    fn id(&self) -> &'static str {
        ID
    }

    fn access(&self) -> Access {
        Access::PerValue
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        matches!(data_type, DataType::Struct(_))
    }

    fn encode(&self, array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        let Some(fields) = array.as_struct_opt() else {
            return Ok(None);
        };
        let mut node = Node::new(ID, array.len());
        for column in fields.columns() {
            node.children.push(context.child(ID, column, Role::Values)?);
        }
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
        let DataType::Struct(fields) = data_type else {
            return Err(Error::corrupt(format!("structs typed {data_type}")));
        };
        node.expect(0, fields.len())?;
        let mut columns = Vec::with_capacity(fields.len());
        for (i, field) in fields.iter().enumerate() {
            let child = node.child_of(i, node.rows)?;
            columns.push(context.decode(child, field.data_type(), selection)?);
        }
        let count = selection.count(node.rows);
        // Refuses nulls where the field says that there are none.
        let array = StructArray::try_new_with_length(fields.clone(), columns, None, count)?;
        Ok(Arc::new(array))
    }

    fn reads(&self, node: &Node, selection: &Selection) -> Reads {
        Reads::Parts {
            buffers: Vec::new(),
            children: vec![Some(selection.clone()); node.children.len()],
        }
    }
}
