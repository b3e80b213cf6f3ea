//! `pilaster.logview.v1`: what people ask of a line, derived from its exact bytes.
//!
//! A node has no bytes of its own: a model says which view it is, the one parent holds the lines
//! with their terminators. Encoding derives the values again and declines if one differs, so that
//! nothing rests on the layout that named it.
//!
//! | view | type | value |
//! |---|---|---|
//! | `line` | binary | the line without `\n` or `\r\n`; bytes that are not UTF-8 as U+FFFD, since the column is text (the exact bytes are the parent's) |

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder};
use arrow::buffer::Buffer;
use arrow::datatypes::DataType;

use crate::encoding::{
    Access, DecodeContext, EncodeContext, Encoding, Model, Node, Reads, Selection,
};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct LogView;

/// Id of the encoding.
pub const ID: &str = "pilaster.logview.v1";
/// Kind of its model.
pub const KIND: &str = "logview.v1";

/// A view.
#[derive(Debug, Clone, PartialEq)]
pub enum View {
    /// The line without its terminator.
    Line,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Stored {
    #[prost(string, tag = "1")]
    view: String,
}

/// A line without its terminator.
pub fn without_terminator(line: &[u8]) -> &[u8] {
    match line {
        [rest @ .., b'\r', b'\n'] | [rest @ .., b'\n'] => rest,
        _ => line,
    }
}

impl View {
    /// The model that tells the view.
    pub fn to_model(&self) -> Model {
        let view = match self {
            Self::Line => "line".to_owned(),
        };
        let bytes = prost::Message::encode_to_vec(&Stored { view });
        Model::new(KIND, Buffer::from_vec(bytes))
    }

    fn parse(bytes: &Buffer) -> Result<Self> {
        let stored: Stored = prost::Message::decode(bytes.as_slice())
            .map_err(|e| Error::corrupt(format!("a view of log lines: {e}")))?;
        match stored.view.as_str() {
            "line" => Ok(Self::Line),
            other => Err(Error::unsupported(format!(
                "log view '{other}' is not known to this version; a newer pilaster can read it"
            ))),
        }
    }

    /// The view of lines, as a physical array.
    pub fn of(&self, lines: &BinaryArray) -> Result<ArrayRef> {
        match self {
            Self::Line => {
                let mut out = BinaryBuilder::with_capacity(lines.len(), lines.value_data().len());
                for i in 0..lines.len() {
                    match String::from_utf8_lossy(without_terminator(lines.value(i))) {
                        Cow::Borrowed(line) => out.append_value(line),
                        Cow::Owned(line) => out.append_value(&line),
                    }
                }
                Ok(Arc::new(out.finish()))
            }
        }
    }

    /// Bytes of the result for so many bytes of lines, at most.
    fn room(&self, lines: &BinaryArray) -> u64 {
        match self {
            // A byte that is not UTF-8 becomes three.
            Self::Line => 3 * lines.value_data().len() as u64 + 4 * lines.len() as u64,
        }
    }
}

fn lines(parent: &ArrayRef) -> Result<&BinaryArray> {
    let lines = parent
        .as_binary_opt::<i32>()
        .filter(|l| l.null_count() == 0);
    lines.ok_or_else(|| Error::corrupt("a view of something that is not lines"))
}

impl Encoding for LogView {
    fn id(&self) -> &'static str {
        ID
    }

    fn access(&self) -> Access {
        Access::PerValue
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        *data_type == DataType::Binary
    }

    fn parents_needed(&self) -> usize {
        1
    }

    fn encode(&self, array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        let (Some((index, model)), Some(parent)) =
            (context.models.latest(KIND), context.parents.first())
        else {
            return Ok(None);
        };
        let (Ok(view), Ok(lines)) = (model.parsed(KIND, View::parse), lines(parent)) else {
            return Ok(None);
        };
        if view.of(lines)?.to_data() != array.to_data() {
            return Ok(None);
        }
        let mut node = Node::new(ID, array.len());
        node.model = Some(index);
        node.parents = vec![0];
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
        node.expect(0, 0)?;
        let view = context.model(node)?.parsed(KIND, View::parse)?;
        let parent = context.parent(node, 0, selection)?;
        let lines = lines(&parent)?;
        context.reserve(view.room(lines))?;
        let array = view.of(lines)?;
        match array.data_type() == data_type {
            true => Ok(array),
            false => Err(Error::corrupt(format!("a log view typed {data_type}"))),
        }
    }

    fn reads(&self, _: &Node, _: &Selection) -> Reads {
        Reads::Parts {
            buffers: Vec::new(),
            children: Vec::new(),
        }
    }
}
