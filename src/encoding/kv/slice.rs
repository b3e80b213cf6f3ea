//! The part of a profile that one column needs: mean, transforms, scales.
//!
//! All of it is integers. Values stand in fixed point, `fraction` bits after the point; an entry of a
//! basis is in 1/2^14. With codes `q` of the column and `p` of the keys of the same layer (values
//! only), element `i` is
//!
//! ```text
//! x(i) = mean(i) + (step * sum_j basis(i, j) q(j) + 2^13 >> 14)
//!                + (parent step * sum_j predict(i, j) p(j) + half >> shift)
//! ```
//!
//! where `j` runs over the elements of the group that `i` is in and sums wrap at 32 bits. Keys are then
//! turned to their position ([`rotation`](super::rotation)).

use arrow::buffer::Buffer;

use super::rotation::{Pairing, Rotation};
use crate::encoding::Model;
use crate::error::{Error, Result};

/// Kind of the model.
pub const KIND: &str = "klt.v1";
/// Bits after the point of a basis's entries.
pub const BASIS_BITS: u32 = 14;
/// Most elements a row, and most bits after the point.
const MOST_WIDTH: usize = 1 << 20;

#[derive(Clone, PartialEq, prost::Message)]
struct Stored {
    /// Elements a row.
    #[prost(uint32, tag = "1")]
    width: u32,
    /// Elements a group.
    #[prost(uint32, tag = "2")]
    group: u32,
    /// Elements a head.
    #[prost(uint32, tag = "3")]
    head: u32,
    /// Bits after the point.
    #[prost(uint32, tag = "4")]
    fraction: u32,
    #[prost(sint32, repeated, tag = "5")]
    mean: Vec<i32>,
    /// Standard deviation of the column around its mean, in fixed point.
    #[prost(uint32, tag = "6")]
    deviation: u32,
    /// Entries of the bases, 16 bits each: group by group, row by row.
    #[prost(bytes = "vec", tag = "7")]
    basis: Vec<u8>,
    /// Entries of the predictions, alike; empty if there is none.
    #[prost(bytes = "vec", tag = "8")]
    predict: Vec<u8>,
    #[prost(uint32, tag = "9")]
    shift: u32,
    /// Standard deviation of each coefficient: 16 log2 of it in fixed point.
    #[prost(uint32, repeated, tag = "10")]
    scales: Vec<u32>,
    /// Pairs are 0 `i`, `i + n`; 1 `2 i`, `2 i + 1`.
    #[prost(uint32, tag = "11")]
    pairing: u32,
    #[prost(fixed64, repeated, tag = "12")]
    frequencies: Vec<u64>,
}

/// What a column is restored by. See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Slice {
    /// Elements a row.
    pub width: usize,
    /// Elements that are transformed together: whole heads.
    pub group: usize,
    /// Elements a head.
    pub head: usize,
    /// Bits after the point.
    pub fraction: u32,
    /// Mean of each element.
    pub mean: Vec<i32>,
    /// Standard deviation of the column around its mean.
    pub deviation: u32,
    /// `group` entries for each element.
    pub basis: Vec<i16>,
    /// Alike, for the codes of the keys; empty if they tell nothing.
    pub predict: Vec<i16>,
    /// Bits that sums of predictions are shifted down by.
    pub shift: u32,
    /// Spread of each coefficient, 16 log2 of its standard deviation in fixed point.
    pub scales: Vec<u32>,
    /// How keys are turned.
    pub rotation: Rotation,
}

impl Slice {
    /// Fails if the parts do not fit each other.
    pub fn check(&self) -> Result<()> {
        let Self {
            width, group, head, ..
        } = *self;
        let sizes = (1..=MOST_WIDTH).contains(&width)
            && head > 0
            && group > 0
            && group.is_multiple_of(head)
            && width.is_multiple_of(group);
        let entries = width.saturating_mul(group);
        let sound = sizes
            && self.fraction <= 30
            && self.shift <= 40
            && self.mean.len() == width
            && self.scales.len() == width
            && self.basis.len() == entries
            && (self.predict.is_empty() || self.predict.len() == entries);
        match sound {
            true => self.rotation.check(head),
            false => Err(Error::corrupt("a KV profile whose parts do not fit")),
        }
    }

    /// Parses the bytes of a model.
    pub fn parse(bytes: &Buffer) -> Result<Self> {
        let stored: Stored = prost::Message::decode(bytes.as_slice())
            .map_err(|e| Error::corrupt(format!("a KV profile: {e}")))?;
        let entries = |bytes: &[u8]| {
            let (words, _) = bytes.as_chunks::<2>();
            words.iter().map(|&w| i16::from_le_bytes(w)).collect()
        };
        let slice = Self {
            width: stored.width as usize,
            group: stored.group as usize,
            head: stored.head as usize,
            fraction: stored.fraction,
            mean: stored.mean,
            deviation: stored.deviation,
            basis: entries(&stored.basis),
            predict: entries(&stored.predict),
            shift: stored.shift,
            scales: stored.scales,
            rotation: Rotation {
                pairing: match stored.pairing {
                    0 => Pairing::Half,
                    1 => Pairing::Interleaved,
                    _ => return Err(Error::corrupt("a KV profile of unknown pairs")),
                },
                frequencies: stored.frequencies,
            },
        };
        slice.check()?;
        Ok(slice)
    }

    /// The bytes of the model.
    pub fn to_bytes(&self) -> Vec<u8> {
        let bytes = |entries: &[i16]| entries.iter().flat_map(|e| e.to_le_bytes()).collect();
        let stored = Stored {
            width: self.width as u32,
            group: self.group as u32,
            head: self.head as u32,
            fraction: self.fraction,
            mean: self.mean.clone(),
            deviation: self.deviation,
            basis: bytes(&self.basis),
            predict: bytes(&self.predict),
            shift: self.shift,
            scales: self.scales.clone(),
            pairing: match self.rotation.pairing {
                Pairing::Half => 0,
                Pairing::Interleaved => 1,
            },
            frequencies: self.rotation.frequencies.clone(),
        };
        prost::Message::encode_to_vec(&stored)
    }

    /// The model.
    pub fn to_model(&self) -> Model {
        Model::new(KIND, Buffer::from_vec(self.to_bytes()))
    }

    /// The step that is this part of the column's standard deviation, in fixed point.
    pub fn step(&self, part: f64) -> u32 {
        (f64::from(self.deviation) * part)
            .round()
            .clamp(1.0, f64::from(1u32 << 30)) as u32
    }

    /// The scale class of each coefficient at a step.
    pub fn classes(&self, step: u32) -> Vec<u8> {
        let class = |&scale: &u32| {
            let deviation = (f64::from(scale) / 16.0).exp2() / f64::from(step);
            super::classes::class_of(deviation) as u8
        };
        self.scales.iter().map(class).collect()
    }
}
