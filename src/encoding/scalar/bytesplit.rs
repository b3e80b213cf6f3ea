//! `pilaster.bytesplit.v1`: wide values cut into planes, one for each byte of a value.
//!
//! Signs and exponents of floats, and the high bytes of wide integers, repeat much more than low
//! mantissa bytes do; apart, each plane compresses as it can. Plane 0 is the lowest byte
//! (little-endian). A plane is either a child (uint8) or, where that is clearly smaller, a zstd frame
//! in a buffer; children and buffers stand in the order of their planes.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::Buffer;
use arrow::datatypes::*;

use crate::encoding::words;
use crate::encoding::{
    Access, DecodeContext, EncodeContext, Encoding, Node, Profile, Reads, Role, Selection,
    Statistics, Verdict,
};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct ByteSplit;

const ID: &str = "pilaster.bytesplit.v1";

#[derive(Clone, PartialEq, prost::Message)]
struct Metadata {
    /// For each plane, 0 if it is a child and 1 if it is a zstd frame.
    #[prost(bytes = "vec", tag = "1")]
    planes: Vec<u8>,
}

impl Encoding for ByteSplit {
    fn id(&self) -> &'static str {
        ID
    }

    fn access(&self) -> Access {
        Access::Opaque
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        match data_type {
            DataType::FixedSizeBinary(16 | 32) => true,
            other => words::width(other).is_some_and(|w| w > 1),
        }
    }

    fn estimate(&self, statistics: &Statistics, profile: Profile) -> Verdict {
        let integers = statistics.min.is_some();
        match profile {
            Profile::Fast => Verdict::Skip,
            _ if statistics.runs <= 1 => Verdict::Skip,
            // Packing and deltas do as well on integers and decode faster.
            Profile::Balanced if integers => Verdict::Skip,
            _ => Verdict::Measure,
        }
    }

    fn encode(&self, array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        let Some((bytes, width)) = value_bytes(array) else {
            return Ok(None);
        };
        if array.is_empty() {
            return Ok(None);
        }
        let level = match context.profile {
            Profile::Archive => 9,
            _ => 1,
        };
        let mut node = Node::new(ID, array.len());
        let mut metadata = Metadata::default();
        for plane in 0..width {
            let plane: Vec<u8> = bytes[plane..].iter().step_by(width).copied().collect();
            let frame = zstd::bulk::compress(&plane, level)
                .map_err(|e| Error::io("compressing a plane", e))?;
            let child: ArrayRef = Arc::new(UInt8Array::from(plane));
            let child = context.child(ID, &child, Role::Values)?;
            let zstd = (frame.len() as u64) < child.stored_bytes() / 10 * 9;
            metadata.planes.push(u8::from(zstd));
            node = match zstd {
                true => node.with_buffer(frame),
                false => node.with_child(child),
            };
        }
        Ok(Some(node.with_metadata(&metadata)))
    }

    fn decode(
        &self,
        node: &Node,
        data_type: &DataType,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        let planes = node.parse_metadata::<Metadata>()?.planes;
        let frames = planes.iter().filter(|&&p| p == 1).count();
        if planes.iter().any(|&p| p > 1) {
            return Err(Error::corrupt("a plane is stored in no known way"));
        }
        node.expect(frames, planes.len() - frames)?;
        let (mut buffers, mut children) = (node.buffers.iter(), node.children.iter());
        let mut decoded = Vec::with_capacity(planes.len());
        for plane in planes {
            decoded.push(match plane {
                0 => {
                    let child = children.next().filter(|c| c.rows == node.rows);
                    let child = child.ok_or_else(|| Error::corrupt("a plane of other rows"))?;
                    let array = context.decode_all(child, &DataType::UInt8)?;
                    array.as_primitive::<UInt8Type>().values().inner().clone()
                }
                _ => {
                    let frame = buffers
                        .next()
                        .ok_or_else(|| Error::corrupt("a plane is lacking"))?;
                    inflate(&frame.bytes()?, node.rows, context)?
                }
            });
        }
        context.reserve_rows(node.rows, decoded.len())?;
        let bytes = match decoded.len() {
            2 => join::<2>(&decoded, node.rows),
            4 => join::<4>(&decoded, node.rows),
            8 => join::<8>(&decoded, node.rows),
            16 => join::<16>(&decoded, node.rows),
            32 => join::<32>(&decoded, node.rows),
            other => return Err(Error::corrupt(format!("values of {other} bytes"))),
        };
        match data_type {
            DataType::FixedSizeBinary(width) if usize::try_from(*width) == Ok(decoded.len()) => {
                Ok(Arc::new(FixedSizeBinaryArray::try_new_with_len(
                    *width, bytes, None, node.rows,
                )?))
            }
            other if words::width(other) == Some(decoded.len()) => {
                words::array_of(bytes, node.rows, other)
            }
            other => Err(Error::corrupt(format!(
                "{} planes of {other}",
                decoded.len()
            ))),
        }
    }

    fn reads(&self, _: &Node, _: &Selection) -> Reads {
        Reads::All
    }
}

/// The bytes of all values, and how many there are in one.
fn value_bytes(array: &ArrayRef) -> Option<(Buffer, usize)> {
    if let DataType::FixedSizeBinary(width @ (16 | 32)) = array.data_type() {
        return Some((
            Buffer::from(array.as_fixed_size_binary().value_data()),
            *width as usize,
        ));
    }
    let width = words::width(array.data_type())?;
    let data = array.to_data();
    let bytes = data.buffers()[0].slice_with_length(data.offset() * width, data.len() * width);
    Some((bytes, width))
}

/// A zstd frame that must hold exactly `rows` bytes.
fn inflate(frame: &[u8], rows: usize, context: &DecodeContext<'_>) -> Result<Buffer> {
    context.reserve_rows(rows, 1)?;
    let bytes = zstd::bulk::decompress(frame, rows)
        .map_err(|e| Error::corrupt(format!("a compressed plane: {e}")))?;
    match bytes.len() == rows {
        true => Ok(Buffer::from_vec(bytes)),
        false => Err(Error::corrupt("a compressed plane has another length")),
    }
}

/// Puts the planes together; each has `rows` bytes. Words are aligned as the widest type needs.
fn join<const N: usize>(planes: &[Buffer], rows: usize) -> Buffer {
    let mut out = vec![0u64; (rows * N).div_ceil(8)];
    // Going through whole words keeps the alignment that numbers need.
    if N <= 8 {
        let per_word = 8 / N;
        for (i, word) in out.iter_mut().enumerate() {
            for slot in 0..per_word {
                let row = i * per_word + slot;
                if row < rows {
                    for (byte, plane) in planes.iter().enumerate() {
                        *word |= u64::from(plane[row]) << (8 * (slot * N + byte));
                    }
                }
            }
        }
    } else {
        let words = N / 8;
        for (i, word) in out.iter_mut().enumerate() {
            let (row, part) = (i / words, i % words * 8);
            let bytes: [u8; 8] = std::array::from_fn(|byte| planes[part + byte][row]);
            *word = u64::from_le_bytes(bytes);
        }
    }
    Buffer::from_vec(out).slice_with_length(0, rows * N)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::testing;

    #[test]
    fn wide_values_come_back_bit_for_bit() {
        let mut arrays = testing::integer_arrays(1203);
        arrays.extend(testing::float_arrays(1203));
        arrays.extend(testing::fixed_arrays(800, 16));
        arrays.extend(testing::fixed_arrays(600, 32));
        for array in arrays {
            if ByteSplit.accepts(array.data_type()) {
                testing::check(&ByteSplit, &array, Profile::Balanced).unwrap();
            }
        }
    }

    #[test]
    fn planes_that_repeat_shrink() {
        let values: Float64Array = (0..5000).map(|i| Some(f64::from(i).sqrt())).collect();
        let array: ArrayRef = Arc::new(values);
        let node = testing::encode(&ByteSplit, &array, Profile::Balanced).unwrap();
        assert!(node.stored_bytes() < 5000 * 8 * 9 / 10);
        assert!(!node.buffers.is_empty());
    }
}
