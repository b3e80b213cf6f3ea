//! `pilaster.fixedlist.v1`: lists of one fixed size, stored as their elements.
//!
//! Child 0 holds the elements of all rows; their number divided by the rows is the size, so that no
//! metadata is needed. A selection's element axis is honoured: the asked type is that of the
//! *result*, so whoever selects elements `a..b` asks for lists of size `b - a`.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::DataType;

use crate::encoding::blocks::spans;
use crate::encoding::{
    Access, DecodeContext, EncodeContext, Encoding, Node, Reads, Role, Rows, Selection,
};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct FixedList;

const ID: &str = "pilaster.fixedlist.v1";
/// Most elements that a plan of reads names one by one.
const MAX_NAMED: usize = 1 << 22;

impl Encoding for FixedList {
    fn id(&self) -> &'static str {
        ID
    }

    fn name(&self) -> &'static str {
        "fixedlist"
    }

    fn access(&self) -> Access {
        Access::PerValue
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        matches!(data_type, DataType::FixedSizeList(..))
    }

    fn encode(&self, array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        let Some(list) = array.as_fixed_size_list_opt() else {
            return Ok(None);
        };
        let size = list.value_length() as usize;
        let start = list.value_offset(0) as usize;
        let values = list.values().slice(start, list.len() * size);
        let values = context.child(ID, &values, Role::Values)?;
        Ok(Some(Node::new(ID, array.len()).with_child(values)))
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
        node.expect(0, 1)?;
        let DataType::FixedSizeList(field, asked) = data_type else {
            return Err(Error::corrupt(format!(
                "fixed-size lists typed {data_type}"
            )));
        };
        let child = node.child(0)?;
        let asked_size = usize::try_from(*asked)
            .map_err(|_| Error::corrupt(format!("lists of size {asked}")))?;
        let stored = match node.rows {
            0 => selection.elements.as_ref().map_or(asked_size, |e| e.end),
            rows => child.rows / rows,
        };
        let elements = selection.elements.clone().unwrap_or(0..stored);
        let sound = stored.checked_mul(node.rows) == Some(child.rows)
            && elements.start <= elements.end
            && elements.end <= stored
            && elements.len() == asked_size;
        if !sound {
            return Err(Error::corrupt(format!(
                "elements {}..{} of lists of {stored} wanted as {data_type}",
                elements.start, elements.end
            )));
        }
        let count = selection.count(node.rows);
        let wanted = match (&selection.rows, elements.len() == stored) {
            (Rows::All, true) => Selection::all(),
            (Rows::Range(r), true) => Selection::range(r.start * stored..r.end * stored),
            _ => spans(
                selection
                    .iter(node.rows)
                    .map(|r| r * stored + elements.start..r * stored + elements.end),
                count * elements.len(),
                child.rows,
                context,
            )?,
        };
        let values = context.decode(child, field.data_type(), &wanted)?;
        let list = FixedSizeListArray::try_new_with_length(
            Arc::clone(field),
            *asked,
            values,
            None,
            count,
        )?;
        Ok(Arc::new(list))
    }

    fn reads(&self, node: &Node, selection: &Selection) -> Reads {
        let (Ok(child), true) = (node.child(0), node.rows > 0) else {
            return Reads::All;
        };
        let size = child.rows / node.rows;
        let elements = selection.elements.clone().unwrap_or(0..size);
        if elements.start > elements.end || elements.end > size || size * node.rows != child.rows {
            return Reads::All;
        }
        let wanted = match &selection.rows {
            // Too many to name one by one: read all.
            Rows::Indices(_) | Rows::Mask(_)
                if selection.count(node.rows).saturating_mul(elements.len()) > MAX_NAMED =>
            {
                Selection::all()
            }
            Rows::Indices(_) | Rows::Mask(_) => {
                let indices: Vec<u32> = selection
                    .iter(node.rows)
                    .flat_map(|r| r * size + elements.start..r * size + elements.end)
                    .map(|i| i as u32)
                    .collect();
                Rows::Indices(indices.into()).into()
            }
            // From the first wanted element to the last: neighbours are cheaper read together.
            _ => match selection.bounds(node.rows) {
                rows if rows.is_empty() || elements.is_empty() => Selection::range(0..0),
                rows => Selection::range(
                    rows.start * size + elements.start..(rows.end - 1) * size + elements.end,
                ),
            },
        };
        Reads::Parts {
            buffers: Vec::new(),
            children: vec![Some(wanted)],
        }
    }
}
