//! The table of a `kv` file: its schema, and the rows of a cache.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayData, ArrayRef, FixedSizeBinaryArray, UInt32Array, UInt64Array, make_array,
};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::cache::{Cache, Dtype, Shape, Side, TokenType};
use super::digest::{CHUNK_TOKENS, Digest, PrefixKey, salt_id};
use crate::error::{Error, Result};

/// Columns before the layers, in order.
pub(crate) const KEYS: usize = 5;
/// Position of `digest`.
pub(crate) const DIGEST: usize = 0;
/// Position of `parent`.
pub(crate) const PARENT: usize = 1;
/// Position of `position`.
pub(crate) const POSITION: usize = 3;
/// Position of `token`.
pub(crate) const TOKEN: usize = 4;

/// Key of the schema's metadata that marks a `kv` file, and the version of what is written here.
const MARK: (&str, &str) = ("pilaster.kind", "kv");

/// Key of the schema's metadata for the integers that token ids came in, unless they are `i32`.
const TOKEN_TYPE: &str = "pilaster.kv.token_type";

/// Position of a layer's column in the schema.
pub(crate) fn column(layer: usize, side: Side) -> usize {
    KEYS + 2 * layer + usize::from(side == Side::V)
}

/// What a `kv` file says about all its prefixes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Header {
    pub shape: Shape,
    pub model: String,
    /// Integers of token ids in the first source.
    pub token_type: TokenType,
}

impl Header {
    /// The schema of the table.
    pub fn schema(&self) -> SchemaRef {
        let digest = DataType::FixedSizeBinary(32);
        let mut fields: Vec<FieldRef> = [
            Field::new("digest", digest.clone(), false),
            Field::new("parent", digest, false),
            Field::new("salt_id", DataType::UInt64, false),
            Field::new("position", DataType::UInt32, false),
            Field::new("token", DataType::UInt32, false),
        ]
        .map(Arc::new)
        .to_vec();
        for layer in 0..self.shape.layers {
            fields.extend(Side::BOTH.map(|side| self.shape.field(layer, side)));
        }
        let numbers = [
            ("layers", self.shape.layers),
            ("heads", self.shape.heads),
            ("head_dim", self.shape.head_dim),
        ];
        let mut metadata: HashMap<String, String> = numbers
            .into_iter()
            .map(|(key, n)| (format!("pilaster.kv.{key}"), n.to_string()))
            .collect();
        metadata.insert(MARK.0.to_owned(), MARK.1.to_owned());
        metadata.insert(
            "pilaster.kv.dtype".to_owned(),
            self.shape.dtype.name().to_owned(),
        );
        metadata.insert("pilaster.kv.model".to_owned(), self.model.clone());
        if self.token_type != TokenType::default() {
            let name = self.token_type.name().to_owned();
            metadata.insert(TOKEN_TYPE.to_owned(), name);
        }
        Arc::new(Schema::new_with_metadata(Fields::from(fields), metadata))
    }

    /// Reads it from a schema; fails if that is not a `kv` file's.
    pub fn parse(schema: &Schema) -> Result<Self> {
        let metadata = schema.metadata();
        if metadata.get(MARK.0).map(String::as_str) != Some(MARK.1) {
            return Err(Error::invalid(
                "this file does not hold KV caches; import them with --kind kv",
            ));
        }
        let text = |key: &str| {
            metadata
                .get(&format!("pilaster.kv.{key}"))
                .ok_or_else(|| Error::corrupt(format!("a KV file without its '{key}'")))
        };
        let number = |key: &str| {
            let value = text(key)?;
            value
                .parse::<usize>()
                .map_err(|_| Error::corrupt(format!("'{key}' of a KV file is '{value}'")))
        };
        let header = Self {
            shape: Shape {
                layers: number("layers")?,
                heads: number("heads")?,
                head_dim: number("head_dim")?,
                dtype: Dtype::named(text("dtype")?)?,
            },
            model: text("model")?.clone(),
            token_type: match metadata.get(TOKEN_TYPE) {
                None => TokenType::default(),
                Some(name) => TokenType::named(name).ok_or_else(|| {
                    Error::unsupported(format!("token ids of type '{name}' in a KV file"))
                })?,
            },
        };
        header
            .shape
            .check()
            .map_err(|e| Error::corrupt(e.to_string()))?;
        match header.schema().fields() == schema.fields() {
            true => Ok(header),
            false => Err(Error::invalid(
                "the columns are not those of a KV file of its dimensions; a file that SQL wrote is one \
                 only with all of them, as SELECT * gives them",
            )),
        }
    }
}

/// The rows of a cache, in the schema of its header.
pub(crate) fn batch(
    schema: &SchemaRef,
    key: &PrefixKey,
    salt: &[u8],
    cache: &Cache,
) -> Result<RecordBatch> {
    let tokens = cache.tokens();
    let rows = tokens.len();
    let (start, parent) = cache.place();
    let chain = key.chain_after(parent, tokens);
    let parents: Vec<Digest> = std::iter::once(parent)
        .chain(chain.iter().copied())
        .collect();
    let mut columns: Vec<ArrayRef> = vec![
        digests(&chain, rows)?,
        digests(&parents, rows)?,
        Arc::new(UInt64Array::from_value(salt_id(salt), rows)),
        Arc::new(UInt32Array::from_iter_values(start..start + rows as u32)),
        Arc::new(UInt32Array::from(tokens.to_vec())),
    ];
    let shape = cache.shape();
    for layer in 0..shape.layers {
        for side in Side::BOTH {
            let field = schema.field(column(layer, side));
            columns.push(list(field.data_type(), cache.rows(layer, side), rows)?);
        }
    }
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// Each row's digest of its run.
fn digests(runs: &[Digest], rows: usize) -> Result<ArrayRef> {
    let mut bytes = Vec::with_capacity(rows * 32);
    for row in 0..rows {
        let run = runs.get(row / CHUNK_TOKENS).unwrap_or(&Digest::ROOT);
        bytes.extend_from_slice(&run.0);
    }
    Ok(Arc::new(FixedSizeBinaryArray::try_new_with_len(
        32,
        Buffer::from_vec(bytes),
        None,
        rows,
    )?))
}

/// Lists over little-endian bytes.
fn list(data_type: &DataType, bytes: Vec<u8>, rows: usize) -> Result<ArrayRef> {
    let DataType::FixedSizeList(item, size) = data_type else {
        return Err(Error::invalid(format!("layers of type {data_type}")));
    };
    let values = ArrayData::builder(item.data_type().clone())
        .len(rows * *size as usize)
        .add_buffer(Buffer::from_slice_ref(&bytes))
        .build()?;
    let list = ArrayData::builder(data_type.clone())
        .len(rows)
        .add_child_data(values)
        .build()?;
    Ok(make_array(list))
}

/// The bytes of lists without nulls.
pub(crate) fn list_bytes(array: &ArrayRef) -> Result<Buffer> {
    let data = array.to_data();
    let DataType::FixedSizeList(item, size) = data.data_type() else {
        return Err(Error::corrupt(format!(
            "layers of type {}",
            data.data_type()
        )));
    };
    let width = item.data_type().primitive_width().unwrap_or(1);
    let values = &data.child_data()[0];
    let size = *size as usize;
    let start = (values.offset() + data.offset() * size) * width;
    Ok(values.buffers()[0].slice_with_length(start, data.len() * size * width))
}
