//! Chooses encodings.

use arrow::array::{Array, ArrayRef};

use super::context::{ChildEncoder, EncodeContext, Role};
use super::{Node, physical};
use crate::error::{Error, Result};

/// Chooses encodings for the chunks of one column.
#[derive(Debug, Default)]
pub struct Planner {}

impl ChildEncoder for Planner {
    fn encode_child(
        &self,
        array: &ArrayRef,
        _: Role,
        context: &mut EncodeContext<'_>,
    ) -> Result<Node> {
        let array = physical::lower(array)?;
        let id = match array.null_count() {
            0 => "pilaster.plain.v1",
            _ => "pilaster.nullable.v1",
        };
        let encoding = std::sync::Arc::clone(context.registry.get(id)?);
        encoding
            .encode(&array, context)?
            .ok_or_else(|| Error::invalid(format!("no encoding for {}", array.data_type())))
    }
}
