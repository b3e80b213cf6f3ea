//! A profile: what is known of a model's caches before one is stored.
//!
//! ```text
//! bytes 0..8     50 49 4C 4B 56 50 31 0A   "PILKVP1\n"
//! bytes 8..24    XXH3-128 of what follows, big-endian
//! then           a message: model (1), layers (2), heads (3), head_dim (4), step (5, in 1/65536 of
//!                the standard deviation), slices (6: k0, v0, k1, ...; see formats/klt.md)
//! ```

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow::buffer::Buffer;

use super::cache::{Cache, Shape, Side};
use crate::encoding::kv::rotation::{Pairing, Rotation};
use crate::encoding::kv::slice::Slice;
use crate::encoding::{ModelDigest, ModelStore};
use crate::error::{Error, Result};

const MAGIC: &[u8; 8] = b"PILKVP1\n";

#[derive(Clone, PartialEq, prost::Message)]
struct Stored {
    #[prost(string, tag = "1")]
    model: String,
    #[prost(uint32, tag = "2")]
    layers: u32,
    #[prost(uint32, tag = "3")]
    heads: u32,
    #[prost(uint32, tag = "4")]
    head_dim: u32,
    #[prost(uint32, tag = "5")]
    step: u32,
    #[prost(bytes = "vec", repeated, tag = "6")]
    slices: Vec<Vec<u8>>,
}

/// What was learned from sample caches of one model: see `pilaster kv fit`.
#[derive(Debug, Clone)]
pub struct KvProfile {
    model: String,
    layers: usize,
    heads: usize,
    head_dim: usize,
    step: f64,
    slices: Vec<Arc<Slice>>,
}

impl KvProfile {
    /// A profile of slices `k0`, `v0`, `k1`, ...; fails if they do not fit the shape.
    pub fn new(model: &str, shape: &Shape, step: f64, slices: Vec<Slice>) -> Result<Self> {
        let profile = Self {
            model: model.to_owned(),
            layers: shape.layers,
            heads: shape.heads,
            head_dim: shape.head_dim,
            step,
            slices: slices.into_iter().map(Arc::new).collect(),
        };
        profile.check()?;
        Ok(profile)
    }

    fn check(&self) -> Result<()> {
        let fits = |slice: &Arc<Slice>| {
            slice.head == self.head_dim && slice.width == self.heads.saturating_mul(self.head_dim)
        };
        let sound = self.slices.len() == 2 * self.layers
            && self.slices.iter().all(fits)
            && self.step > 0.0
            && self.step < 100.0;
        match sound {
            true => Ok(()),
            false => Err(Error::corrupt("a KV profile whose parts do not fit")),
        }
    }

    /// Reads a profile from a file.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display();
        let bytes = std::fs::read(path)
            .map_err(|e| Error::io(format!("cannot read the profile '{name}'"), e))?;
        Self::parse(&bytes).map_err(|e| Error::invalid(format!("'{name}': {e}")))
    }

    /// Parses the bytes of a profile.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let body = bytes.strip_prefix(MAGIC).and_then(|rest| {
            let (digest, body) = rest.split_first_chunk::<16>()?;
            Some((*digest, body))
        });
        let Some((digest, body)) = body else {
            return Err(Error::invalid(
                "not a KV profile; make one with pilaster kv fit CACHE... -o PROFILE",
            ));
        };
        if twox_hash::XxHash3_128::oneshot(body).to_be_bytes() != digest {
            return Err(Error::corrupt("a KV profile with a wrong digest"));
        }
        let stored: Stored = prost::Message::decode(body)
            .map_err(|e| Error::corrupt(format!("a KV profile: {e}")))?;
        let slices = stored.slices.into_iter();
        let slices = slices.map(|bytes| Slice::parse(&Buffer::from_vec(bytes)).map(Arc::new));
        let profile = Self {
            model: stored.model,
            layers: stored.layers as usize,
            heads: stored.heads as usize,
            head_dim: stored.head_dim as usize,
            step: f64::from(stored.step) / 65_536.0,
            slices: slices.collect::<Result<_>>()?,
        };
        profile.check()?;
        Ok(profile)
    }

    /// The bytes of the profile's file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let body = prost::Message::encode_to_vec(&Stored {
            model: self.model.clone(),
            layers: self.layers as u32,
            heads: self.heads as u32,
            head_dim: self.head_dim as u32,
            step: (self.step * 65_536.0).round() as u32,
            slices: self.slices.iter().map(|s| s.to_bytes()).collect(),
        });
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&twox_hash::XxHash3_128::oneshot(&body).to_be_bytes());
        bytes.extend_from_slice(&body);
        bytes
    }

    /// Writes the profile's file. Gives its bytes.
    pub fn write(&self, path: &Path) -> Result<u64> {
        use crate::file::write::{AtomicFile, Sink};
        let bytes = self.to_bytes();
        let mut file = AtomicFile::create(path)?;
        file.append(&bytes)?;
        file.publish()?;
        Ok(bytes.len() as u64)
    }

    /// The model whose caches it knows.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The step that it was fitted for, in standard deviations.
    pub fn step(&self) -> f64 {
        self.step
    }

    /// Heads that are transformed together.
    pub fn heads_together(&self) -> usize {
        self.slices.first().map_or(1, |s| s.group / s.head)
    }

    /// How keys are turned.
    pub fn rotation(&self) -> Rotation {
        let slice = self.slices.first();
        slice.map_or_else(Rotation::none, |s| s.rotation.clone())
    }

    /// What a column is restored by.
    pub fn slice(&self, layer: usize, side: Side) -> &Arc<Slice> {
        &self.slices[2 * layer + usize::from(side == Side::V)]
    }

    /// The profile as the models that files name which keep it outside of them.
    pub fn models(&self) -> Arc<dyn ModelStore> {
        let models = self.slices.iter().map(|slice| {
            let model = slice.to_model();
            (model.digest(), model.bytes().clone())
        });
        Arc::new(Outside(models.collect()))
    }

    /// Fails unless the profile is for caches of this model and shape.
    pub fn fits(&self, model: &str, shape: &Shape) -> Result<()> {
        if self.model != model {
            return Err(Error::invalid(format!(
                "the profile is of model '{}', but the caches are of '{model}'; fit one with \
                 pilaster kv fit",
                self.model
            )));
        }
        let own = (self.layers, self.heads, self.head_dim);
        match own == (shape.layers, shape.heads, shape.head_dim) {
            true => Ok(()),
            false => Err(Error::invalid(format!(
                "the profile is for {} layers, {} heads and head dimension {}, but the caches have \
                 {}, {} and {}",
                own.0, own.1, own.2, shape.layers, shape.heads, shape.head_dim
            ))),
        }
    }

    /// Fails if a cache's keys look as if they were turned otherwise than the profile's: that would
    /// not be wrong, but take far more bits.
    pub fn check_rotation(&self, cache: &Cache) -> Result<()> {
        let own = self.rotation();
        let spread = Spread::of(cache)?;
        if spread.positions.len() < Spread::LEAST {
            return Ok(());
        }
        let told = spread.under(&own);
        let others = alternatives(&own, self.head_dim).into_iter();
        let narrow = others.map(|(name, other)| (spread.under(&other), name));
        match narrow.min_by(|a, b| a.0.total_cmp(&b.0)) {
            Some((narrow, name)) if narrow < told - CLEARLY => Err(Error::invalid(format!(
                "the profile turns keys {}, but those of this cache look turned {name}: it was made by \
                 another implementation of the model; fit a profile from its own caches",
                describe(&own)
            ))),
            _ => Ok(()),
        }
    }
}

/// Parts of a profile by their digests.
#[derive(Debug)]
struct Outside(HashMap<ModelDigest, Buffer>);

impl ModelStore for Outside {
    fn model(&self, digest: &ModelDigest) -> Option<Buffer> {
        self.0.get(digest).cloned()
    }
}

/// Bits a value by which another rotation must make keys narrower to be taken for the right one.
pub(crate) const CLEARLY: f64 = 0.05;

/// A rotation in words.
pub fn describe(rotation: &Rotation) -> &'static str {
    match (rotation.frequencies.is_empty(), rotation.pairing) {
        (true, _) => "not at all (no RoPE)",
        (false, Pairing::Half) => "in half-split pairs",
        (false, Pairing::Interleaved) => "in interleaved pairs",
    }
}

/// Other conventions of the same frequencies.
pub(crate) fn alternatives(own: &Rotation, head_dim: usize) -> Vec<(&'static str, Rotation)> {
    let frequencies = match own.frequencies.is_empty() {
        true => Rotation::with_base(Pairing::Half, 10_000.0, head_dim).frequencies,
        false => own.frequencies.clone(),
    };
    let all = [
        Rotation::none(),
        Rotation {
            pairing: Pairing::Half,
            frequencies: frequencies.clone(),
        },
        Rotation {
            pairing: Pairing::Interleaved,
            frequencies,
        },
    ];
    let others = all.into_iter().filter(|r| r != own);
    others.map(|r| (describe(&r), r)).collect()
}

/// Keys of some rows of a cache's layers, to see under which rotation their channels are narrow.
pub(crate) struct Spread {
    head: usize,
    /// Rows of each layer.
    layers: Vec<Vec<f64>>,
    width: usize,
    positions: Vec<u32>,
}

impl Spread {
    /// Rows that are looked at.
    const ROWS: usize = 512;
    /// Rows without which nothing can be told.
    const LEAST: usize = 64;

    pub fn of(cache: &Cache) -> Result<Self> {
        let shape = cache.shape();
        let width = shape.channels();
        let tokens = cache.tokens().len();
        let every = tokens.div_ceil(Self::ROWS).max(1);
        let positions: Vec<u32> = (4..tokens.max(4) as u32).step_by(every).collect();
        let mut layers = Vec::new();
        for layer in 0..shape.layers {
            let values = cache.values(layer, Side::K)?;
            let of = |&p: &u32| values[p as usize * width..][..width].to_vec();
            let rows: Vec<f64> = positions.iter().flat_map(of).map(f64::from).collect();
            layers.push(rows);
        }
        Ok(Self {
            head: shape.head_dim,
            layers,
            width,
            positions,
        })
    }

    /// Mean over channels and layers of log2 of the standard deviation under a rotation.
    pub fn under(&self, rotation: &Rotation) -> f64 {
        let (mut sum, mut channels) = (0.0, 0);
        for layer in &self.layers {
            let mut rows = layer.clone();
            turn_back(&mut rows, self.width, self.head, &self.positions, rotation);
            for channel in 0..self.width {
                let column = || {
                    rows.iter()
                        .skip(channel)
                        .step_by(self.width)
                        .filter(|x| x.is_finite())
                };
                let count = column().count().max(1) as f64;
                let mean = column().sum::<f64>() / count;
                let variance = column().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
                sum += 0.5 * variance.max(1e-12).log2();
                channels += 1;
            }
        }
        sum / f64::from(channels.max(1))
    }
}

/// Turns rows of keys back to position zero.
pub(crate) fn turn_back(
    rows: &mut [f64],
    width: usize,
    head: usize,
    positions: &[u32],
    rotation: &Rotation,
) {
    if rotation.frequencies.is_empty() {
        return;
    }
    let mut angles = Vec::new();
    for (row, &position) in rows.chunks_exact_mut(width).zip(positions) {
        rotation.at(position, &mut angles);
        for head in row.chunks_exact_mut(head) {
            rotation.turn_back(&angles, head);
        }
    }
}
