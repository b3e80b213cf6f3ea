//! `pilaster.logview.v1`: what people ask of a line, derived from its exact bytes.
//!
//! A node has hardly any bytes of its own: a model says which view it is, the one parent holds the
//! lines with their terminators, and the metadata holds what was known before the chunk's first
//! line. Encoding derives the values again and declines if one differs, so that nothing rests on the
//! layout that named it.
//!
//! A line that tells no time belongs to the record of the last one that did (a stack trace to its
//! message) and has its time and level; before the first time each line is a record.
//!
//! | view | type | value |
//! |---|---|---|
//! | `line` | binary | the line without `\n` or `\r\n`; bytes that are not UTF-8 as U+FFFD, since the column is text (the exact bytes are the parent's) |
//! | `timestamp` | int64, null before the first | nanoseconds that the record tells |
//! | `level` | binary, null if unknown | level that the record's first line tells |
//! | `record` | int64 | row of the record's first line in the file |
//! | `message` | binary | what stands after the header, or the value of a key of a JSON object |
//! | `field` | binary, null where a line has another header | a word of the header |
//! | `json` | binary, null where it is not | the value of a key of a JSON object |
//! | `template` | binary | the message's template: its words, `<*>` for those that vary |
//! | `template_id` | int64 | the template's number, a hash of it |
//! | `variables` | list of text | the words of the message for which `<*>` stands |
//!
//! From `message` on, views depend on their own line alone, and what they depend on beside it was
//! learned from the file's first lines. They are made by readers, not while a file is written: for
//! an array of nulls `encode` notes that the values follow.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, Int64Array, ListArray, ListBuilder,
    StringArray, StringBuilder,
};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Int64Type};

use super::header::{self, Sort};
use super::json;
use super::template::{self, Templates};
use super::told::{Before, Telling};
use crate::encoding::{
    Access, Candidates, DecodeContext, EncodeContext, Encoding, Model, Needles, Node, Reads,
    Selection,
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
#[derive(Debug, Clone)]
pub enum View {
    /// The line without its terminator.
    Line,
    /// The time that its record tells.
    Timestamp,
    /// The level that its record tells.
    Level,
    /// The row of its record's first line.
    Record,
    /// What of a line is its message.
    Message(Said),
    /// A word of the header.
    Field(Vec<Sort>, usize),
    /// The number of the message's template, which is its parent.
    TemplateId,
    /// The message's template.
    Template(Said, Arc<Templates>),
    /// The words of the message that its template, its second parent, does not tell.
    Variables(Said),
    /// The value of a key of a JSON object.
    Json(Vec<u8>),
}

/// Where the message of a line is.
#[derive(Debug, Clone)]
pub enum Said {
    /// After words of these sorts.
    After(Vec<Sort>),
    /// The value of a key of a JSON object.
    At(Vec<u8>),
}

impl Said {
    /// The message of a line; of one that has no such key, all of it.
    pub fn of<'l>(&self, line: &'l [u8], memory: &'l mut Vec<u8>) -> &'l [u8] {
        let line = without_terminator(line);
        match self {
            Self::After(header) => header::message(line, header).0,
            Self::At(key) => match json_value(line, key, memory) {
                true => memory,
                false => line,
            },
        }
    }
}

/// The text of a key's value, if a line has the key and the value is not null.
fn json_value(line: &[u8], key: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    let mut members = json::Members::of(line);
    let found = members.find(|(name, _)| *name == key);
    found
        .and_then(|(_, value)| json::text(value, out))
        .is_some()
}

#[derive(Clone, PartialEq, prost::Message)]
struct Stored {
    #[prost(string, tag = "1")]
    view: String,
    /// Sorts of the words of the header.
    #[prost(uint32, repeated, tag = "2")]
    header: Vec<u32>,
    /// Which word.
    #[prost(uint32, tag = "3")]
    item: u32,
    /// A key, as it is between its quotes.
    #[prost(bytes = "vec", optional, tag = "4")]
    key: Option<Vec<u8>>,
    /// One a line.
    #[prost(bytes = "vec", tag = "5")]
    templates: Vec<u8>,
    /// Bytes of the templates if they are compressed with zstd.
    #[prost(uint64, tag = "6")]
    unpacked: u64,
}

/// Of fewer rows than one in so many, just their lines are rebuilt.
const FEW: usize = 4;
/// Level at which templates are compressed, and most bytes that they unpack to.
const PACKED: i32 = 19;
const MOST_UNPACKED: u64 = 1 << 20;

/// A line without its terminator.
pub fn without_terminator(line: &[u8]) -> &[u8] {
    match line {
        [rest @ .., b'\r', b'\n'] | [rest @ .., b'\n'] => rest,
        _ => line,
    }
}

/// Whether all lines are text: cut anywhere, the pieces are too.
fn all_utf8(lines: &BinaryArray) -> bool {
    let offsets = lines.value_offsets();
    let (first, last) = (offsets[0] as usize, offsets[lines.len()] as usize);
    std::str::from_utf8(&lines.value_data()[first..last]).is_ok_and(|text| {
        let mut starts = offsets.iter().map(|&o| o as usize - first);
        starts.all(|start| text.is_char_boundary(start))
    })
}

/// Lines as users see them.
fn shown(lines: &BinaryArray) -> BinaryArray {
    let mut out = BinaryBuilder::with_capacity(lines.len(), lines.value_data().len());
    let all_utf8 = all_utf8(lines);
    for i in 0..lines.len() {
        let line = without_terminator(lines.value(i));
        match all_utf8 {
            true => out.append_value(line),
            false => out.append_value(String::from_utf8_lossy(line).as_bytes()),
        }
    }
    out.finish()
}

impl View {
    /// The model that tells the view.
    pub fn to_model(&self) -> Model {
        let numbers = |header: &[Sort]| header.iter().map(|s| *s as u32).collect();
        let mut stored = Stored::default();
        let (said, templates) = match self {
            Self::Message(said) | Self::Variables(said) => (Some(said), None),
            Self::Template(said, templates) => (Some(said), Some(templates)),
            _ => (None, None),
        };
        match (self, said) {
            (_, Some(Said::After(header))) => stored.header = numbers(header),
            (_, Some(Said::At(key))) | (Self::Json(key), _) => stored.key = Some(key.clone()),
            (Self::Field(header, item), _) => {
                stored.header = numbers(header);
                stored.item = *item as u32;
            }
            _ => {}
        }
        if let Some(texts) = templates.map(|t| t.to_texts()).filter(|t| !t.is_empty()) {
            stored.templates = texts.join(&b'\n');
            let packed = zstd::bulk::compress(&stored.templates, PACKED);
            if let Some(packed) = packed.ok().filter(|p| p.len() < stored.templates.len()) {
                stored.unpacked = stored.templates.len() as u64;
                stored.templates = packed;
            }
        }
        let view = match self {
            Self::Line => "line",
            Self::Timestamp => "timestamp",
            Self::Level => "level",
            Self::Record => "record",
            Self::Message(_) => "message",
            Self::Field(..) => "field",
            Self::TemplateId => "template_id",
            Self::Template(..) => "template",
            Self::Variables(_) => "variables",
            Self::Json(_) => "json",
        };
        stored.view = view.to_owned();
        let bytes = prost::Message::encode_to_vec(&stored);
        Model::new(KIND, Buffer::from_vec(bytes))
    }

    fn parse(bytes: &Buffer) -> Result<Self> {
        let stored: Stored = prost::Message::decode(bytes.as_slice())
            .map_err(|e| Error::corrupt(format!("a view of log lines: {e}")))?;
        let header = || {
            let sorts = stored.header.iter().map(|&n| Sort::of_number(n));
            let sorts = sorts.collect::<Option<Vec<Sort>>>();
            sorts.ok_or_else(|| Error::corrupt("a header of log lines with words of no sort"))
        };
        let said = || {
            Ok::<_, Error>(match &stored.key {
                Some(key) => Said::At(key.clone()),
                None => Said::After(header()?),
            })
        };
        let templates = || {
            let texts = match stored.unpacked {
                0 => stored.templates.clone(),
                len if len > MOST_UNPACKED => return Err(Error::corrupt("too many log templates")),
                len => zstd::bulk::decompress(&stored.templates, len as usize)
                    .map_err(|e| Error::corrupt(format!("log templates do not unpack: {e}")))?,
            };
            let texts = texts.split(|b| *b == b'\n').filter(|t| !t.is_empty());
            Ok::<_, Error>(Arc::new(Templates::of_texts(texts)))
        };
        Ok(match stored.view.as_str() {
            "line" => Self::Line,
            "timestamp" => Self::Timestamp,
            "level" => Self::Level,
            "record" => Self::Record,
            "message" => Self::Message(said()?),
            "field" => Self::Field(header()?, stored.item as usize),
            "template_id" => Self::TemplateId,
            "template" => Self::Template(said()?, templates()?),
            "variables" => Self::Variables(said()?),
            "json" => Self::Json(stored.key.clone().unwrap_or_default()),
            other => {
                return Err(Error::unsupported(format!(
                    "log view '{other}' is not known to this version; a newer pilaster can read it"
                )));
            }
        })
    }

    /// Whether a line alone tells the view of it.
    fn is_local(&self) -> bool {
        !matches!(self, Self::Timestamp | Self::Level | Self::Record)
    }

    /// Texts of lines, one of each.
    fn texts(
        lines: &BinaryArray,
        mut of: impl FnMut(&[u8], &mut dyn FnMut(Option<&[u8]>)),
    ) -> ArrayRef {
        let are_text = all_utf8(lines);
        let mut out = BinaryBuilder::with_capacity(lines.len(), 16 * lines.len());
        for i in 0..lines.len() {
            of(lines.value(i), &mut |text| match text {
                Some(text) if !are_text => {
                    out.append_value(String::from_utf8_lossy(text).as_bytes())
                }
                text => out.append_option(text),
            });
        }
        Arc::new(out.finish())
    }

    /// The view of consecutive lines, as a physical array; `before` is taken along.
    pub fn of(&self, lines: &BinaryArray, before: &mut Before) -> Result<ArrayRef> {
        match self {
            Self::Line => Ok(Arc::new(shown(lines))),
            Self::Timestamp => {
                let values = (0..lines.len()).map(|i| {
                    before.take(lines.value(i), false);
                    before.timed.then_some(before.timestamp)
                });
                Ok(Arc::new(Int64Array::from_iter(values)))
            }
            Self::Level => {
                let mut out = BinaryBuilder::with_capacity(lines.len(), 4 * lines.len());
                for i in 0..lines.len() {
                    before.take(lines.value(i), true);
                    out.append_option(before.level.as_deref());
                }
                Ok(Arc::new(out.finish()))
            }
            Self::Record => {
                let values = (0..lines.len()).map(|i| {
                    before.take(lines.value(i), false);
                    before.record
                });
                Ok(Arc::new(Int64Array::from_iter_values(values)))
            }
            Self::Message(said) => {
                let mut memory = Vec::new();
                Ok(Self::texts(lines, |line, put| {
                    put(Some(said.of(line, &mut memory)))
                }))
            }
            Self::Field(header, item) => Ok(Self::texts(lines, |line, put| {
                put(header::field(without_terminator(line), header, *item));
            })),
            Self::Json(key) => {
                let mut text = Vec::new();
                Ok(Self::texts(lines, |line, put| {
                    let found = json_value(without_terminator(line), key, &mut text);
                    put(found.then_some(text.as_slice()));
                }))
            }
            Self::Template(said, templates) => {
                let (mut memory, mut text) = (Vec::new(), Vec::new());
                Ok(Self::texts(lines, |line, put| {
                    templates.of(said.of(line, &mut memory), &mut text);
                    put(Some(&text));
                }))
            }
            Self::TemplateId | Self::Variables(_) => {
                Err(Error::corrupt("a log view that lacks its template"))
            }
        }
    }

    /// The view of lines whose templates are known.
    fn of_templates(
        &self,
        lines: Option<&BinaryArray>,
        templates: &StringArray,
    ) -> Result<ArrayRef> {
        match (self, lines) {
            (Self::Variables(said), Some(lines)) if lines.len() == templates.len() => {
                let mut memory = Vec::new();
                let mut out = ListBuilder::new(StringBuilder::new());
                for i in 0..lines.len() {
                    let message = said.of(lines.value(i), &mut memory);
                    let template = templates.value(i).as_bytes();
                    for word in template::variables(message, template) {
                        out.values().append_value(String::from_utf8_lossy(word));
                    }
                    out.append(true);
                }
                Ok(Arc::new(out.finish()))
            }
            (Self::TemplateId, None) => {
                let ids = (0..templates.len()).map(|i| template::id(templates.value(i).as_bytes()));
                Ok(Arc::new(Int64Array::from_iter_values(ids)))
            }
            _ => Err(Error::corrupt("a log view of other parents")),
        }
    }

    /// Whether an array is the view of some lines.
    fn gives(&self, telling: &Telling<'_>, mut before: Before, array: &ArrayRef) -> bool {
        let lines = telling.lines;
        let rows = 0..lines.len();
        match self {
            Self::Message(_)
            | Self::Field(..)
            | Self::TemplateId
            | Self::Template(..)
            | Self::Variables(_)
            | Self::Json(_) => {
                let of = self.of(lines, &mut before);
                of.is_ok_and(|of| of.to_data() == array.to_data())
            }
            Self::Line => {
                let Some(array) = array.as_binary_opt::<i32>().filter(|a| a.null_count() == 0)
                else {
                    return false;
                };
                if !all_utf8(lines) {
                    return shown(lines) == *array;
                }
                let mut rows = rows;
                rows.all(|i| without_terminator(lines.value(i)) == array.value(i))
            }
            Self::Timestamp | Self::Record => {
                let Some(array) = array.as_primitive_opt::<Int64Type>() else {
                    return false;
                };
                let mut rows = rows;
                rows.all(|i| {
                    telling.take(i, &mut before, false);
                    match self {
                        Self::Record => array.is_valid(i) && array.value(i) == before.record,
                        _ if before.timed => {
                            array.is_valid(i) && array.value(i) == before.timestamp
                        }
                        _ => array.is_null(i),
                    }
                })
            }
            Self::Level => {
                let Some(array) = array.as_binary_opt::<i32>() else {
                    return false;
                };
                let mut rows = rows;
                rows.all(|i| {
                    telling.take(i, &mut before, true);
                    match &before.level {
                        Some(level) => array.is_valid(i) && array.value(i) == level.as_bytes(),
                        None => array.is_null(i),
                    }
                })
            }
        }
    }

    /// What may have been before the first line, by what was made of the lines.
    fn guesses(&self, telling: &Telling<'_>, array: &ArrayRef) -> Vec<Before> {
        let mut guess = Before::default();
        match self {
            _ if self.is_local() => return vec![guess],
            Self::Timestamp => {
                let values = array.as_primitive_opt::<Int64Type>();
                let first = values.filter(|v| v.is_valid(0)).map(|v| v.value(0));
                guess.timed = first.is_some();
                guess.timestamp = first.unwrap_or(0);
            }
            Self::Level => {
                let values = array.as_binary_opt::<i32>();
                let first = values.filter(|v| v.is_valid(0)).map(|v| v.value(0));
                guess.level = first.and_then(|f| String::from_utf8(f.to_vec()).ok());
            }
            Self::Record => {
                let Some(values) = array.as_primitive_opt::<Int64Type>() else {
                    return Vec::new();
                };
                guess.record = values.value(0);
                let mut timed = (0..array.len()).filter(|&i| telling.time(i).is_some());
                guess.row = match timed.next() {
                    Some(row) => values.value(row).wrapping_sub(row as i64),
                    None => guess.record,
                };
            }
            _ => {}
        }
        let timed = Before {
            timed: true,
            ..guess.clone()
        };
        match self {
            Self::Timestamp => vec![guess],
            _ => vec![
                timed,
                Before {
                    level: None,
                    ..guess
                },
            ],
        }
    }

    /// Bytes of the result for so many bytes of lines, at most.
    fn room(&self, lines: &BinaryArray) -> u64 {
        match self {
            // A byte that is not UTF-8 becomes three.
            Self::Line => 3 * lines.value_data().len() as u64 + 4 * lines.len() as u64,
            Self::Timestamp | Self::Record | Self::TemplateId => 9 * lines.len() as u64,
            // Words are two bytes at least, with what parts them.
            Self::Variables(_) => 5 * lines.value_data().len() as u64 + 4 * lines.len() as u64,
            Self::Message(_) | Self::Field(..) | Self::Template(..) | Self::Json(_) => {
                3 * lines.value_data().len() as u64 + 4 * lines.len() as u64
            }
            // The longest name, or the one from before.
            Self::Level => 16 * lines.len() as u64,
        }
    }
}

fn templates_of(parent: &ArrayRef) -> Result<&StringArray> {
    let templates = parent
        .as_string_opt::<i32>()
        .filter(|t| t.null_count() == 0);
    templates.ok_or_else(|| Error::corrupt("a log view of something that is no template"))
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
        matches!(data_type, DataType::Binary | DataType::Int64)
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
        let Ok(view) = model.parsed(KIND, View::parse) else {
            return Ok(None);
        };
        let node = |before: &Before| {
            let mut node = Node::new(ID, array.len());
            if *before != Before::default() {
                node = node.with_metadata(before);
            }
            node.model = Some(index);
            node.parents = match *view {
                View::Variables(_) => vec![0, 1],
                _ => vec![0],
            };
            node
        };
        // Values that nobody has yet: readers derive them.
        if *array.data_type() == DataType::Null {
            context.proven = true;
            let by_row = Before {
                by_row: true,
                ..Before::default()
            };
            return Ok(view.is_local().then(|| node(&by_row)));
        }
        let Ok(lines) = lines(parent) else {
            return Ok(None);
        };
        if array.is_empty() || lines.len() != array.len() {
            return Ok(None);
        }
        let told = context.known.as_deref().and_then(|k| k.downcast_ref());
        let telling = Telling::new(lines, told);
        for before in view.guesses(&telling, array) {
            if view.gives(&telling, before.clone(), array) {
                context.proven = true;
                let before = Before {
                    by_row: view.is_local(),
                    ..before
                };
                return Ok(Some(node(&before)));
            }
        }
        Ok(None)
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
        let mut before: Before = node.parse_metadata()?;
        // A line's own words are enough for `line`; the others need the lines before.
        let local = view.is_local();
        let all = Selection::all();
        let rows = if local { selection } else { &all };
        let parent = context.parent(node, 0, rows)?;
        if let View::TemplateId = *view {
            context.reserve(9 * parent.len() as u64)?;
            return view.of_templates(None, templates_of(&parent)?);
        }
        let lines = lines(&parent)?;
        let level = before.level.as_ref().map_or(0, String::len);
        context.reserve(view.room(lines) + (level as u64).saturating_mul(lines.len() as u64))?;
        let array = match *view {
            View::Variables(_) => {
                let templates = context.parent(node, 1, rows)?;
                view.of_templates(Some(lines), templates_of(&templates)?)?
            }
            _ => view.of(lines, &mut before)?,
        };
        let fits = match (array.data_type(), data_type) {
            (DataType::List(a), DataType::List(b)) => a.data_type() == b.data_type(),
            (a, b) => a == b,
        };
        let array = match (fits, array.as_list_opt::<i32>(), data_type) {
            (true, Some(list), DataType::List(field)) => {
                let (_, offsets, values, nulls) = list.clone().into_parts();
                Arc::new(ListArray::try_new(
                    Arc::clone(field),
                    offsets,
                    values,
                    nulls,
                )?)
            }
            _ => array,
        };
        match fits {
            true if local => Ok(array),
            true => selection.take(&array),
            false => Err(Error::corrupt(format!("a log view typed {data_type}"))),
        }
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
        // What stands for bytes that are not text is not in them.
        let odd = |text: &Vec<u8>| std::str::from_utf8(text).is_ok_and(|t| t.contains('\u{fffd}'));
        let view = context.model(node)?.parsed(KIND, View::parse)?;
        Ok(
            match matches!(*view, View::Line) && !needles.texts.iter().any(odd) {
                true => Candidates::Parent(0),
                false => Candidates::Unknown,
            },
        )
    }

    fn parent_part(&self, node: &Node, _: usize, selection: &Selection) -> Option<Selection> {
        let before: Before = node.parse_metadata().ok()?;
        // Many rows are as cheap as all, and then the lines are at hand for other views.
        let few = selection.count(node.rows) < node.rows / FEW;
        (before.by_row && few).then(|| selection.clone())
    }

    fn reads(&self, _: &Node, _: &Selection) -> Reads {
        Reads::Parts {
            buffers: Vec::new(),
            children: Vec::new(),
        }
    }
}
