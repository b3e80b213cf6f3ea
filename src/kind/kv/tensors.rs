//! Caches in `.safetensors` files: `tokens` of integers `[T]`, `k` and `v` `[layers, kv_heads, T,
//! head_dim]`. The part of a sequence that does not start at position 0 says so in the metadata:
//! `position`, and `parent`, the digest of the tokens before.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype as Stored, TensorView};

use super::cache::{Cache, Dtype, Shape, Side, TokenType};
use super::digest::Digest;
use crate::error::{Error, Result};

/// Types of both worlds.
const TYPES: [(Stored, Dtype); 5] = [
    (Stored::F16, Dtype::F16),
    (Stored::BF16, Dtype::BF16),
    (Stored::F32, Dtype::F32),
    (Stored::F8_E4M3, Dtype::F8E4M3),
    (Stored::F8_E5M2, Dtype::F8E5M2),
];

/// A cache that was read, and what its file says beside it.
#[derive(Debug, Clone)]
pub struct ReadCache {
    /// The cache.
    pub cache: Cache,
    /// The model that the file's metadata names.
    pub model: Option<String>,
    /// Tensors of the file that are not kept.
    pub ignored: Vec<String>,
}

/// Reads a cache. Without `tokens` the rows are taken to be tokens of id zero and cannot be looked up
/// by their text, so that is refused.
pub fn read_safetensors(path: &Path) -> Result<ReadCache> {
    let name = path.display().to_string();
    let bytes = fs::read(path).map_err(|e| Error::io(format!("cannot read '{name}'"), e))?;
    let fail = |e: &dyn std::fmt::Display| Error::invalid(format!("'{name}': {e}"));
    let tensors = SafeTensors::deserialize(&bytes).map_err(|e| fail(&e))?;
    let (_, about) = SafeTensors::read_metadata(&bytes).map_err(|e| fail(&e))?;
    let get = |tensor: &str| {
        tensors
            .tensor(tensor)
            .map_err(|_| fail(&format!("has no tensor '{tensor}', which a KV cache needs")))
    };
    let (k, v) = (get("k")?, get("v")?);
    if k.shape() != v.shape() || k.dtype() != v.dtype() {
        return Err(fail(&format!(
            "'k' is {:?} {:?}, but 'v' is {:?} {:?}",
            k.dtype(),
            k.shape(),
            v.dtype(),
            v.shape()
        )));
    }
    let &[layers, heads, rows, head_dim] = k.shape() else {
        return Err(fail(&format!(
            "'k' has {} dimensions; [layers, kv_heads, tokens, head_dim] are four",
            k.shape().len()
        )));
    };
    let dtype = TYPES.iter().find(|t| t.0 == k.dtype()).map(|t| t.1);
    let dtype = dtype.ok_or_else(|| fail(&format!("values of type {:?}", k.dtype())))?;
    let (token_type, tokens) = tokens(&get("tokens")?).map_err(|e| fail(&e))?;
    if tokens.len() != rows {
        return Err(fail(&format!(
            "{} tokens for {rows} rows of 'k'",
            tokens.len()
        )));
    }
    let shape = Shape {
        layers,
        heads,
        head_dim,
        dtype,
    };
    let mut ignored: Vec<String> = tensors.names().into_iter().map(str::to_owned).collect();
    ignored.retain(|n| !["k", "v", "tokens"].contains(&n.as_str()));
    ignored.sort();
    let about = |key: &str| about.metadata().as_ref().and_then(|m| m.get(key));
    let model = about("model");
    let (start, parent) =
        place(about(POSITION).cloned(), about(PARENT).cloned()).map_err(|e| fail(&e))?;
    let cache = Cache::new(shape, tokens, k.data().to_vec(), v.data().to_vec())
        .and_then(|cache| cache.continuing(start, parent))
        .map_err(|e| fail(&e))?;
    Ok(ReadCache {
        cache: cache.with_token_type(token_type),
        model: model.cloned(),
        ignored,
    })
}

/// Where files say the position of their first token, if that is not 0.
pub(super) const POSITION: &str = "position";
/// Where they then say the digest of the tokens before.
pub(super) const PARENT: &str = "parent";

/// The place of a cache in its sequence, as a file says it.
pub(super) fn place(position: Option<String>, parent: Option<String>) -> Result<(u32, Digest)> {
    match (position, parent) {
        (None, None) => Ok((0, Digest::ROOT)),
        (Some(position), Some(parent)) => {
            let start = position.parse::<u32>();
            let start = start.map_err(|_| Error::invalid(format!("position '{position}'")))?;
            Ok((start, parent.parse()?))
        }
        _ => Err(Error::invalid(
            "a part of a sequence names both its 'position' and its 'parent', the digest of the \
             tokens before",
        )),
    }
}

/// Integer types of both worlds.
const TOKEN_TYPES: [(Stored, TokenType); 5] = [
    (Stored::U16, TokenType::U16),
    (Stored::I32, TokenType::I32),
    (Stored::U32, TokenType::U32),
    (Stored::I64, TokenType::I64),
    (Stored::U64, TokenType::U64),
];

fn tokens(tensor: &TensorView<'_>) -> Result<(TokenType, Vec<u32>)> {
    let found = TOKEN_TYPES.iter().find(|t| t.0 == tensor.dtype());
    let &(_, token_type) =
        found.ok_or_else(|| Error::invalid(format!("'tokens' of type {:?}", tensor.dtype())))?;
    match tensor.shape().len() {
        1 => Ok((token_type, token_type.read(tensor.data())?)),
        _ => Err(Error::invalid("'tokens' must have one dimension")),
    }
}

/// Writes a cache in the layout that [`read_safetensors`] takes, under a temporary name first.
pub fn write_safetensors(path: &Path, cache: &Cache, model: &str) -> Result<u64> {
    let shape = cache.shape();
    let stored = TYPES.iter().find(|t| t.1 == shape.dtype).map(|t| t.0);
    let stored = stored.ok_or_else(|| Error::invalid("a type that safetensors lacks"))?;
    let (token_type, tokens) = cache.token_bytes();
    let token_type = TOKEN_TYPES.iter().find(|t| t.1 == token_type);
    let token_type = token_type.map_or(Stored::U32, |t| t.0);
    let rows = cache.tokens().len();
    let dims = vec![shape.layers, shape.heads, rows, shape.head_dim];
    let refused = |e: &dyn std::fmt::Display| Error::invalid(format!("cannot export: {e}"));
    let view = |dtype, dims, bytes| TensorView::new(dtype, dims, bytes).map_err(|e| refused(&e));
    let tensors = vec![
        ("k", view(stored, dims.clone(), cache.tensor(Side::K))?),
        ("v", view(stored, dims, cache.tensor(Side::V))?),
        ("tokens", view(token_type, vec![rows], &tokens)?),
    ];
    let mut about = HashMap::from([("model".to_owned(), model.to_owned())]);
    let (start, parent) = cache.place();
    if start > 0 {
        about.insert(POSITION.to_owned(), start.to_string());
        about.insert(PARENT.to_owned(), parent.to_string());
    }
    let bytes = safetensors::serialize(tensors, Some(about)).map_err(|e| refused(&e))?;
    use crate::file::write::{AtomicFile, Sink};
    let mut file = AtomicFile::create(path)?;
    file.append(&bytes)?;
    file.publish()?;
    Ok(bytes.len() as u64)
}
