//! `pilaster.map.v1`: maps as their lengths and their entries.
//!
//! Child 0 holds the number of entries of each row (uint32), child 1 the entries of all rows, a
//! struct of key and value.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::DataType;

use super::list;
use crate::encoding::{
    Access, DecodeContext, EncodeContext, Encoding, Node, Reads, Role, Selection,
};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct Map;

const ID: &str = "pilaster.map.v1";

impl Encoding for Map {
    fn id(&self) -> &'static str {
        ID
    }

    fn access(&self) -> Access {
        Access::Block
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        matches!(data_type, DataType::Map(..))
    }

    fn encode(&self, array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        let Some(map) = array.as_map_opt() else {
            return Ok(None);
        };
        let offsets = map.value_offsets();
        let (first, last) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
        let entries: ArrayRef = Arc::new(map.entries().slice(first, last - first));
        let lengths = context.child(ID, &list::lengths32(map.offsets()), Role::Values)?;
        let entries = context.child(ID, &entries, Role::Values)?;
        Ok(Some(
            Node::new(ID, array.len())
                .with_child(lengths)
                .with_child(entries),
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
        let DataType::Map(field, ordered) = data_type else {
            return Err(Error::corrupt(format!("maps typed {data_type}")));
        };
        let (offsets, entries) = list::parts::<i32>(node, field.data_type(), selection, context)?;
        let entries = entries
            .as_struct_opt()
            .ok_or_else(|| Error::corrupt("map entries that are no structs"))?
            .clone();
        let map = MapArray::try_new(Arc::clone(field), offsets, entries, None, *ordered)?;
        Ok(Arc::new(map))
    }

    fn reads(&self, node: &Node, selection: &Selection) -> Reads {
        list::list_reads(node, selection)
    }
}
