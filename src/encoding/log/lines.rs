//! `pilaster.log.v1`: lines of a log, their common text and their values in columns.
//!
//! Each row is one *unit* of text (long rows are several), cut into literals and typed slots. Rows
//! of one *skeleton* (the literals and the kinds of the slots) share its text; the slots go to
//! columns by what stands before them, whatever the skeleton. Columns of text may be tables of the
//! same make. Nothing is lost: what is rebuilt is compared with the rows, and if it differs in a
//! bit, or is larger than the plain text compressed, the chunk is stored as plain text.
//!
//! The literature splits lines into templates for people and parameters (Liu et al., *Logzip*, ASE
//! 2019); here the storage columns are finer than that, keyed by context and shape as in DeLog
//! (2026), which is what makes them small.
//!
//! For any bytes at all; layouts name it for columns of lines, and the planner never tries it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;

use super::chunk::{self, Chunk};
use super::needle::Needle;
use super::search::{self, Held};
use crate::encoding::{
    Access, Candidates, DecodeContext, EncodeContext, Encoding, Needles, Node, Profile, Selection,
    Statistics, Verdict,
};
use crate::error::Result;

/// See the module.
#[derive(Debug)]
pub struct Lines;

/// Id of the encoding.
pub const ID: &str = "pilaster.log.v1";

impl Encoding for Lines {
    fn id(&self) -> &'static str {
        ID
    }

    fn access(&self) -> Access {
        Access::Block
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        *data_type == DataType::Binary
    }

    fn estimate(&self, _: &Statistics, _: Profile) -> Verdict {
        Verdict::Skip
    }

    fn encode(&self, array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        let Some(rows) = array.as_binary_opt::<i32>().filter(|r| !r.is_empty()) else {
            return Ok(None);
        };
        chunk::encode(ID, rows, context).map(Some)
    }

    fn decode(&self, node: &Node, _: &DataType, context: &DecodeContext<'_>) -> Result<ArrayRef> {
        Ok(Arc::new(chunk::decode(node, None, context)?))
    }

    fn decode_selection(
        &self,
        node: &Node,
        data_type: &DataType,
        selection: &Selection,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        if selection.is_all() {
            return self.decode(node, data_type, context);
        }
        context.reserve_rows(node.rows, 1)?;
        let mut wanted = vec![false; node.rows];
        for row in selection.iter(node.rows) {
            wanted[row] = true;
        }
        Ok(Arc::new(chunk::decode(node, Some(&wanted), context)?))
    }

    fn knows_candidates(&self) -> bool {
        true
    }

    fn candidates(
        &self,
        node: &Node,
        needles: &Needles,
        context: &DecodeContext<'_>,
    ) -> Result<Candidates> {
        let texts = needles.texts.iter();
        let texts = texts.map(|text| Needle::new(text, needles.ignore_case));
        let Some(texts) = texts.collect::<Option<Vec<_>>>() else {
            return Ok(Candidates::Unknown);
        };
        let none = || Candidates::Rows(vec![false; node.rows]);
        context.reserve_rows(node.rows, 1)?;
        if !search::may_hold(node, &texts, context)? {
            return Ok(none());
        }
        let chunk = Chunk::open(node, true, context)?;
        Ok(match search::rows(&chunk, &texts, context)? {
            Held::None => none(),
            Held::Rows { rows, .. } => Candidates::Rows(rows),
            Held::Unknown => Candidates::Unknown,
        })
    }
}
