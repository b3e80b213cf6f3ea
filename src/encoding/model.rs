//! Models: state that is trained once and shared by many chunks of a column.
//!
//! An FSST symbol table, a zstd dictionary, a probability table or a codebook is stored once, as a
//! checksummed segment, and referenced by its place in the column's model list. Readers parse a
//! model once and keep it.

use std::any::Any;
use std::sync::{Arc, OnceLock};

use arrow::buffer::Buffer;

use crate::error::{Error, Result};

/// A stored model: its kind, its bytes, and (once somebody asked) what was parsed from them.
#[derive(Debug)]
pub struct Model {
    kind: String,
    bytes: Buffer,
    outside: bool,
    parsed: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl Model {
    /// A model of this kind (for example `fsst.v1`).
    pub fn new(kind: impl Into<String>, bytes: impl Into<Buffer>) -> Self {
        Self {
            kind: kind.into(),
            bytes: bytes.into(),
            outside: false,
            parsed: OnceLock::new(),
        }
    }

    /// The same model kept outside the file, which only names its digest.
    pub fn outside(self) -> Self {
        Self {
            outside: true,
            ..self
        }
    }

    /// Whether files only name the model's digest.
    pub fn is_outside(&self) -> bool {
        self.outside
    }

    /// XXH3-128 of the bytes.
    pub fn digest(&self) -> ModelDigest {
        twox_hash::XxHash3_128::oneshot(&self.bytes).to_be_bytes()
    }

    /// The kind that the encoding gave it.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The stored bytes.
    pub fn bytes(&self) -> &Buffer {
        &self.bytes
    }

    /// The parsed form, made by `parse` on first use. Fails if the kind differs.
    pub fn parsed<T: Any + Send + Sync>(
        &self,
        kind: &str,
        parse: impl FnOnce(&Buffer) -> Result<T>,
    ) -> Result<Arc<T>> {
        if self.kind != kind {
            return Err(Error::corrupt(format!(
                "model of kind '{}' where '{kind}' is needed",
                self.kind
            )));
        }
        if self.parsed.get().is_none() {
            // Two threads may parse at once; the first to finish is kept.
            let _ = self.parsed.set(Arc::new(parse(&self.bytes)?));
        }
        self.parsed
            .get()
            .and_then(|any| Arc::clone(any).downcast::<T>().ok())
            .ok_or_else(|| Error::corrupt(format!("model of kind '{kind}' has another type")))
    }
}

/// Name of a model that lives outside a file: the XXH3-128 of its bytes, big-endian.
pub type ModelDigest = [u8; 16];

/// Where a reader finds models that live outside its file.
pub trait ModelStore: std::fmt::Debug + Send + Sync {
    /// The bytes of the model of this digest, which the reader checks.
    fn model(&self, digest: &ModelDigest) -> Option<Buffer>;
}

/// The models of one column, in the order in which its nodes number them.
#[derive(Debug, Clone, Default)]
pub struct Models(Vec<Arc<Model>>);

impl Models {
    /// Number of models.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a model and gives its index.
    pub fn push(&mut self, model: Arc<Model>) -> u32 {
        self.0.push(model);
        (self.0.len() - 1) as u32
    }

    /// The most recent model of a kind, if any: an encoder reuses it for the next chunk.
    pub fn latest(&self, kind: &str) -> Option<(u32, &Arc<Model>)> {
        let i = self.0.iter().rposition(|m| m.kind == kind)?;
        Some((i as u32, &self.0[i]))
    }

    /// Model `i`.
    pub fn get(&self, i: u32) -> Result<&Arc<Model>> {
        self.0
            .get(i as usize)
            .ok_or_else(|| Error::corrupt(format!("model {i} of {} wanted", self.0.len())))
    }

    /// All models in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.0.iter()
    }
}
