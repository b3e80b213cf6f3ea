//! `pilaster.null.v1`: a column of the null type, which has rows but no values and no bytes.

use std::sync::Arc;

use arrow::array::{ArrayRef, NullArray};
use arrow::datatypes::DataType;

use crate::encoding::{
    Access, DecodeContext, EncodeContext, Encoding, Node, Reads, Selection, Statistics, Verdict,
};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct Null;

const ID: &str = "pilaster.null.v1";

impl Encoding for Null {
    fn id(&self) -> &'static str {
        ID
    }

    fn access(&self) -> Access {
        Access::PerValue
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        *data_type == DataType::Null
    }

    fn estimate(&self, _: &Statistics, _: crate::encoding::Profile) -> Verdict {
        Verdict::Always
    }

    fn encode(&self, array: &ArrayRef, _: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        Ok(self
            .accepts(array.data_type())
            .then(|| Node::new(ID, array.len())))
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
        _: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        node.expect(0, 0)?;
        match data_type {
            DataType::Null => Ok(Arc::new(NullArray::new(selection.count(node.rows)))),
            other => Err(Error::corrupt(format!("a column of nulls typed {other}"))),
        }
    }

    fn reads(&self, _: &Node, _: &Selection) -> Reads {
        Reads::Parts {
            buffers: Vec::new(),
            children: Vec::new(),
        }
    }
}
