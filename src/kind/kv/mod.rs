//! KV caches of language models: a row a token, two columns a layer.
//!
//! A file holds many prefixes. Each row is one token of a stored prefix: its place (`position`), its
//! id (`token`), the key of the run of up to 256 tokens that it lies in (`digest`, chained to
//! `parent`, for the tenant of `salt_id`), and for each layer `k0`, `v0`, `k1`, ... as fixed-size
//! lists of kv_heads x head_dim values. Layers are therefore projections, heads are element ranges,
//! token ranges are row ranges.
//!
//! ```
//! use pilaster::kind::kv::{Cache, Dtype, KvFile, KvOptions, KvWriter, Shape};
//!
//! # fn main() -> pilaster::Result<()> {
//! let shape = Shape { layers: 1, heads: 2, head_dim: 2, dtype: Dtype::F16 };
//! let tokens = vec![5, 6, 7];
//! let bytes = vec![0u8; 3 * 4 * 2];
//! let cache = Cache::new(shape, tokens, bytes.clone(), bytes)?;
//! let mut writer = KvWriter::in_memory(KvOptions::for_model("tiny"))?;
//! writer.add(&cache, b"tenant salt")?;
//! let file = KvFile::from_bytes("tiny.pil", writer.into_bytes()?)?;
//! assert_eq!(file.lookup(&[5, 6, 7, 8], b"tenant salt").tokens, 3);
//! assert_eq!(file.lookup(&[5, 6, 7, 8], b"").tokens, 0);
//! # Ok(())
//! # }
//! ```

mod cache;
mod digest;
#[cfg(feature = "sources")]
mod files;
mod fit;
mod layout;
mod linear;
#[cfg(feature = "sources")]
mod npy;
mod profile;
mod reader;
mod table;
#[cfg(feature = "sources")]
mod tensors;
mod write;
#[cfg(feature = "sources")]
mod zip;

pub use crate::encoding::kv::rotation::{Pairing, Rotation};
pub use cache::{Cache, Dtype, Shape, Side, TokenType};
pub use digest::{CHUNK_TOKENS, Digest, PrefixKey, salt_id};
#[cfg(feature = "sources")]
pub use files::{Chosen, Exported, KvSummary, export, fit_files, import, read_cache};
pub use fit::{FitOptions, Rope, fit};
pub use layout::{KvLayout, NamedProfile};
#[cfg(feature = "sources")]
pub use npy::{read_npy, read_npz, write_npz};
pub use profile::{KvProfile, describe};
pub use reader::{Hit, KvFile, Sequence};
#[cfg(feature = "sources")]
pub use tensors::{ReadCache, read_safetensors, write_safetensors};
pub use write::{KvOptions, KvWriter};
