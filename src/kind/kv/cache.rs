//! A cache in memory: the tensors `k` and `v` of one sequence, `[layers, kv_heads, tokens, head_dim]`.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};

use super::digest::{CHUNK_TOKENS, Digest};
use crate::encoding::grid::GROUP_KEY;
use crate::encoding::physical::{BFLOAT16, FLOAT8_E4M3, FLOAT8_E5M2};
use crate::error::{Error, Result};

/// Metadata key of Arrow extension types.
const EXTENSION: &str = "ARROW:extension:name";

/// How a value is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// IEEE half precision.
    F16,
    /// The upper half of a single.
    BF16,
    /// IEEE single precision.
    F32,
    /// OCP float8, 4 exponent bits.
    F8E4M3,
    /// OCP float8, 5 exponent bits.
    F8E5M2,
}

/// The types, their names in a file's metadata, their storage, and the extension over it.
const DTYPES: [(Dtype, &str, DataType, Option<&str>); 5] = [
    (Dtype::F16, "f16", DataType::Float16, None),
    (Dtype::BF16, "bf16", DataType::UInt16, Some(BFLOAT16)),
    (Dtype::F32, "f32", DataType::Float32, None),
    (Dtype::F8E4M3, "f8e4m3", DataType::UInt8, Some(FLOAT8_E4M3)),
    (Dtype::F8E5M2, "f8e5m2", DataType::UInt8, Some(FLOAT8_E5M2)),
];

impl Dtype {
    fn row(self) -> &'static (Dtype, &'static str, DataType, Option<&'static str>) {
        let found = DTYPES.iter().find(|d| d.0 == self);
        found.unwrap_or(&DTYPES[0])
    }

    /// Name in a file's metadata.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The type of a name.
    pub fn named(name: &str) -> Result<Self> {
        let found = DTYPES.iter().find(|d| d.1 == name);
        found
            .map(|d| d.0)
            .ok_or_else(|| Error::unsupported(format!("a KV cache of type '{name}'")))
    }

    /// The Arrow type that holds the bits.
    pub fn storage(self) -> DataType {
        self.row().2.clone()
    }

    /// Bytes a value.
    pub fn width(self) -> usize {
        self.storage().primitive_width().unwrap_or(1)
    }
}

/// The integers that a source holds token ids in; here they are 32 bits without a sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenType {
    /// 16 bits, unsigned.
    U16,
    /// 32 bits, signed.
    #[default]
    I32,
    /// 32 bits, unsigned.
    U32,
    /// 64 bits, signed.
    I64,
    /// 64 bits, unsigned.
    U64,
}

impl TokenType {
    const ALL: [Self; 5] = [Self::U16, Self::I32, Self::U32, Self::I64, Self::U64];

    /// Name in a file's metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::U16 => "u16",
            Self::I32 => "i32",
            Self::U32 => "u32",
            Self::I64 => "i64",
            Self::U64 => "u64",
        }
    }

    /// The type of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.name() == name)
    }

    /// Token ids of little-endian integers; fails if one does not fit 32 bits.
    pub fn read(self, bytes: &[u8]) -> Result<Vec<u32>> {
        fn of<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> i128) -> Result<Vec<u32>> {
            let (words, _) = bytes.as_chunks::<N>();
            let id = |&word: &[u8; N]| {
                let value = value(word);
                u32::try_from(value)
                    .map_err(|_| Error::invalid(format!("{value} is not a token id")))
            };
            words.iter().map(id).collect()
        }
        match self {
            Self::U16 => of(bytes, |w| u16::from_le_bytes(w).into()),
            Self::I32 => of(bytes, |w| i32::from_le_bytes(w).into()),
            Self::U32 => of(bytes, |w| u32::from_le_bytes(w).into()),
            Self::I64 => of(bytes, |w| i64::from_le_bytes(w).into()),
            Self::U64 => of(bytes, |w| u64::from_le_bytes(w).into()),
        }
    }

    /// This type if it holds these ids, else the one that holds all.
    fn holding(self, ids: &[u32]) -> Self {
        let largest = ids.iter().copied().max().unwrap_or(0);
        let most = match self {
            Self::U16 => u32::from(u16::MAX),
            Self::I32 => i32::MAX as u32,
            Self::U32 | Self::I64 | Self::U64 => u32::MAX,
        };
        match largest <= most {
            true => self,
            false => Self::U32,
        }
    }

    /// Token ids as little-endian integers of this type, which must hold them.
    fn write(self, ids: &[u32]) -> Vec<u8> {
        let ids = ids.iter();
        match self {
            Self::U16 => ids.flat_map(|&t| (t as u16).to_le_bytes()).collect(),
            Self::I32 | Self::U32 => ids.flat_map(|&t| t.to_le_bytes()).collect(),
            Self::I64 | Self::U64 => ids.flat_map(|&t| u64::from(t).to_le_bytes()).collect(),
        }
    }
}

/// Keys or values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// Keys.
    K,
    /// Values.
    V,
}

impl Side {
    /// Both, in the order of the columns.
    pub const BOTH: [Self; 2] = [Self::K, Self::V];

    /// `k` or `v`, as in column names.
    pub fn letter(self) -> &'static str {
        match self {
            Side::K => "k",
            Side::V => "v",
        }
    }
}

/// What all prefixes of a file have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Layers.
    pub layers: usize,
    /// Heads that keys and values have; queries may have more.
    pub heads: usize,
    /// Values a head.
    pub head_dim: usize,
    /// Type of a value.
    pub dtype: Dtype,
}

/// Most layers and most values a row that are accepted, so that sizes cannot overflow.
const MOST: usize = 1 << 20;

impl Shape {
    /// Fails if a dimension is zero or absurd.
    pub fn check(&self) -> Result<()> {
        let sizes = [self.layers, self.heads, self.head_dim, self.channels()];
        match sizes.iter().all(|n| (1..=MOST).contains(n)) {
            true => Ok(()),
            false => Err(Error::invalid(format!(
                "a KV cache of {} layers, {} heads and head dimension {}",
                self.layers, self.heads, self.head_dim
            ))),
        }
    }

    /// Values a token, layer and side.
    pub fn channels(&self) -> usize {
        self.heads.saturating_mul(self.head_dim)
    }

    /// Bytes a token, layer and side.
    pub fn row_bytes(&self) -> usize {
        self.channels() * self.dtype.width()
    }

    /// The field of a column. What encodings need to know of it stands with the item: whether it
    /// holds keys, and where its heads end.
    pub fn field(&self, layer: usize, side: Side) -> FieldRef {
        let mut metadata = HashMap::from([
            ("pilaster.kv.side".to_owned(), side.letter().to_owned()),
            (GROUP_KEY.to_owned(), self.head_dim.to_string()),
        ]);
        if let Some(extension) = self.dtype.row().3 {
            metadata.insert(EXTENSION.to_owned(), extension.to_owned());
        }
        let item = Field::new("item", self.dtype.storage(), false).with_metadata(metadata);
        let list = DataType::FixedSizeList(Arc::new(item), self.channels() as i32);
        Arc::new(Field::new(format!("{}{layer}", side.letter()), list, false))
    }
}

/// One sequence's keys and values.
#[derive(Debug, Clone, PartialEq)]
pub struct Cache {
    shape: Shape,
    tokens: Vec<u32>,
    token_type: TokenType,
    start: u32,
    parent: Digest,
    k: Vec<u8>,
    v: Vec<u8>,
}

impl Cache {
    /// A cache of tensors `[layers, kv_heads, tokens, head_dim]`, little-endian; fails if their sizes
    /// disagree.
    pub fn new(shape: Shape, tokens: Vec<u32>, k: Vec<u8>, v: Vec<u8>) -> Result<Self> {
        shape.check()?;
        let expected = shape.layers * shape.row_bytes() * tokens.len();
        for (name, bytes) in [("k", &k), ("v", &v)] {
            if bytes.len() != expected {
                return Err(Error::invalid(format!(
                    "tensor '{name}' has {} bytes, but {} tokens, {} layers, {} heads, head \
                     dimension {} in {} take {expected}",
                    bytes.len(),
                    tokens.len(),
                    shape.layers,
                    shape.heads,
                    shape.head_dim,
                    shape.dtype.name()
                )));
            }
        }
        Ok(Self {
            shape,
            tokens,
            token_type: TokenType::default(),
            start: 0,
            parent: Digest::ROOT,
            k,
            v,
        })
    }

    /// Its dimensions.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The token ids.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The same cache, whose source holds token ids as such integers.
    #[must_use]
    pub fn with_token_type(mut self, token_type: TokenType) -> Self {
        self.token_type = token_type;
        self
    }

    /// The integers that its source holds token ids in.
    pub fn token_type(&self) -> TokenType {
        self.token_type
    }

    /// The token ids as little-endian integers of the source's type, or of 32 bits without a sign if
    /// they do not fit that one.
    pub fn token_bytes(&self) -> (TokenType, Vec<u8>) {
        let token_type = self.token_type.holding(&self.tokens);
        (token_type, token_type.write(&self.tokens))
    }

    /// The same cache as the part of a sequence from position `start` on, whose tokens before have
    /// the name `parent`. Only whole runs can come before, and a first run has no parent.
    pub fn continuing(mut self, start: u32, parent: Digest) -> Result<Self> {
        let whole = (start as usize).is_multiple_of(CHUNK_TOKENS);
        let fits = u32::try_from(self.tokens.len()).is_ok_and(|n| start.checked_add(n).is_some());
        if !whole || !fits || (start == 0) != (parent == Digest::ROOT) {
            return Err(Error::invalid(format!(
                "a cache from position {start} after a prefix '{parent}': a part of a sequence starts \
                 at a multiple of {CHUNK_TOKENS} and names the digest of the tokens before it"
            )));
        }
        (self.start, self.parent) = (start, parent);
        Ok(self)
    }

    /// Position of the first token in its sequence, and the name of the tokens before it.
    pub fn place(&self) -> (u32, Digest) {
        (self.start, self.parent)
    }

    /// The tensor of a side.
    pub fn tensor(&self, side: Side) -> &[u8] {
        match side {
            Side::K => &self.k,
            Side::V => &self.v,
        }
    }

    /// Rows `[tokens, kv_heads * head_dim]` of a layer.
    pub fn rows(&self, layer: usize, side: Side) -> Vec<u8> {
        let (heads, tokens) = (self.shape.heads, self.tokens.len());
        let width = self.shape.head_dim * self.shape.dtype.width();
        let tensor = &self.tensor(side)[layer * heads * tokens * width..][..heads * tokens * width];
        let mut rows = vec![0; tensor.len()];
        for (head, plane) in tensor.chunks_exact((tokens * width).max(1)).enumerate() {
            for (token, values) in plane.chunks_exact(width).enumerate() {
                let at = (token * heads + head) * width;
                rows[at..at + width].copy_from_slice(values);
            }
        }
        rows
    }

    /// Values `[tokens, kv_heads * head_dim]` of a layer as singles; fails for 8-bit floats, which no
    /// lossy codec takes.
    pub fn values(&self, layer: usize, side: Side) -> Result<Vec<f32>> {
        let bytes = self.rows(layer, side);
        let (words, _) = bytes.as_chunks::<2>();
        Ok(match self.shape.dtype {
            Dtype::F16 => {
                let value = |&w: &[u8; 2]| half::f16::from_le_bytes(w).to_f32();
                words.iter().map(value).collect()
            }
            Dtype::BF16 => {
                let value = |&w: &[u8; 2]| half::bf16::from_le_bytes(w).to_f32();
                words.iter().map(value).collect()
            }
            Dtype::F32 => {
                let (words, _) = bytes.as_chunks::<4>();
                words.iter().map(|&w| f32::from_le_bytes(w)).collect()
            }
            other => {
                return Err(Error::unsupported(format!(
                    "transform coding of a cache of {}",
                    other.name()
                )));
            }
        })
    }

    /// An empty tensor pair to be filled by [`Cache::put`].
    pub fn zeroed(shape: Shape, tokens: Vec<u32>) -> Result<Self> {
        shape.check()?;
        let bytes = shape.layers * shape.row_bytes() * tokens.len();
        Self::new(shape, tokens, vec![0; bytes], vec![0; bytes])
    }

    /// Writes rows `[n, kv_heads * head_dim]` of a layer from token `start` on.
    pub fn put(&mut self, layer: usize, side: Side, start: usize, rows: &[u8]) -> Result<()> {
        let (heads, tokens) = (self.shape.heads, self.tokens.len());
        let width = self.shape.head_dim * self.shape.dtype.width();
        let count = rows.len() / (heads * width);
        if layer >= self.shape.layers || start + count > tokens {
            return Err(Error::invalid("rows outside the cache"));
        }
        let tensor = match side {
            Side::K => &mut self.k,
            Side::V => &mut self.v,
        };
        for (i, values) in rows.chunks_exact(width).enumerate() {
            let (token, head) = (start + i / heads, i % heads);
            let at = ((layer * heads + head) * tokens + token) * width;
            tensor[at..at + width].copy_from_slice(values);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_tensors_are_transposes_of_each_other() {
        let shape = Shape {
            layers: 2,
            heads: 3,
            head_dim: 2,
            dtype: Dtype::BF16,
        };
        let bytes: Vec<u8> = (0..2 * 3 * 5 * 2 * 2).map(|i| i as u8).collect();
        let cache = Cache::new(shape, (0..5).collect(), bytes.clone(), bytes).unwrap();
        let mut other = Cache::zeroed(shape, (0..5).collect()).unwrap();
        for layer in 0..2 {
            for side in Side::BOTH {
                let rows = cache.rows(layer, side);
                other.put(layer, side, 0, &rows[..36]).unwrap();
                other.put(layer, side, 3, &rows[36..]).unwrap();
            }
        }
        assert_eq!(cache, other);
        assert!(other.put(0, Side::K, 4, &[0; 24]).is_err());
    }

    #[test]
    fn tensors_that_disagree_are_refused() {
        let shape = Shape {
            layers: 1,
            heads: 1,
            head_dim: 4,
            dtype: Dtype::F8E4M3,
        };
        let error = Cache::new(shape, vec![1, 2], vec![0; 8], vec![0; 4]).unwrap_err();
        assert!(error.to_string().contains("tensor 'v' has 4 bytes"));
        let empty = Shape { heads: 0, ..shape };
        assert!(Cache::new(empty, vec![], vec![], vec![]).is_err());
    }
}
