//! Caches in `.safetensors` files: `tokens` I32 `[T]`, `k` and `v` `[layers, kv_heads, T, head_dim]`.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype as Stored, TensorView};

use super::cache::{Cache, Dtype, Shape, Side};
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
    let tokens = tokens(&get("tokens")?).map_err(|e| fail(&e))?;
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
    let model = about.metadata().as_ref().and_then(|m| m.get("model"));
    Ok(ReadCache {
        cache: Cache::new(shape, tokens, k.data().to_vec(), v.data().to_vec())
            .map_err(|e| fail(&e))?,
        model: model.cloned(),
        ignored,
    })
}

fn tokens(tensor: &TensorView<'_>) -> Result<Vec<u32>> {
    let wide: Vec<i64> = match tensor.dtype() {
        Stored::I32 | Stored::U32 => {
            let (words, _) = tensor.data().as_chunks::<4>();
            let signed = tensor.dtype() == Stored::I32;
            words
                .iter()
                .map(|&w| match signed {
                    true => i64::from(i32::from_le_bytes(w)),
                    false => i64::from(u32::from_le_bytes(w)),
                })
                .collect()
        }
        Stored::I64 => {
            let (words, _) = tensor.data().as_chunks::<8>();
            words.iter().map(|&w| i64::from_le_bytes(w)).collect()
        }
        other => return Err(Error::invalid(format!("'tokens' of type {other:?}"))),
    };
    if tensor.shape().len() != 1 {
        return Err(Error::invalid("'tokens' must have one dimension"));
    }
    let checked = wide
        .iter()
        .map(|&t| u32::try_from(t).map_err(|_| Error::invalid(format!("{t} is not a token id"))));
    checked.collect()
}

/// Writes a cache in the layout that [`read_safetensors`] takes, under a temporary name first.
pub fn write_safetensors(path: &Path, cache: &Cache, model: &str) -> Result<u64> {
    let shape = cache.shape();
    let stored = TYPES.iter().find(|t| t.1 == shape.dtype).map(|t| t.0);
    let stored = stored.ok_or_else(|| Error::invalid("a type that safetensors lacks"))?;
    let tokens: Vec<u8> = cache
        .tokens()
        .iter()
        .flat_map(|t| t.to_le_bytes())
        .collect();
    let rows = cache.tokens().len();
    let dims = vec![shape.layers, shape.heads, rows, shape.head_dim];
    let refused = |e: &dyn std::fmt::Display| Error::invalid(format!("cannot export: {e}"));
    let view = |dtype, dims, bytes| TensorView::new(dtype, dims, bytes).map_err(|e| refused(&e));
    let tensors = vec![
        ("k", view(stored, dims.clone(), cache.tensor(Side::K))?),
        ("v", view(stored, dims, cache.tensor(Side::V))?),
        ("tokens", view(Stored::I32, vec![rows], &tokens)?),
    ];
    let about = HashMap::from([("model".to_owned(), model.to_owned())]);
    let bytes = safetensors::serialize(tensors, Some(about)).map_err(|e| refused(&e))?;
    use crate::file::write::{AtomicFile, Sink};
    let mut file = AtomicFile::create(path)?;
    file.append(&bytes)?;
    file.publish()?;
    Ok(bytes.len() as u64)
}
