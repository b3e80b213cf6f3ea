//! `pilaster.planes.v1`: integers as bytes, cut the way that a general compressor likes best.
//!
//! For columns that repeat long stretches: schedules, tracks, resampled series. Integers become
//! codes (see [`Shape`]) or differences of codes, their bytes are laid out value
//! by value or plane by plane, and zstd takes the rest. The smallest of the variants is kept.
//!
//! The one buffer is a zstd frame.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Int64Type};

use super::lz::{Shape, compress, unpack};
use crate::encoding::{
    Access, DecodeContext, EncodeContext, Encoding, Node, Profile, Statistics, Verdict,
};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct Planes;

/// Id of the encoding.
pub const ID: &str = "pilaster.planes.v1";

#[derive(Clone, PartialEq, prost::Message)]
struct Metadata {
    /// Number of codes that are exceptions.
    #[prost(uint32, tag = "1")]
    exceptions: u32,
    /// Value of the first other code.
    #[prost(sint64, tag = "2")]
    base: i64,
    /// Distance of two codes' values, less one.
    #[prost(uint64, tag = "3")]
    step: u64,
    /// Bytes of a code.
    #[prost(uint32, tag = "4")]
    width: u32,
    /// Whether differences are stored.
    #[prost(bool, tag = "5")]
    delta: bool,
    /// Whether bytes lie plane by plane.
    #[prost(bool, tag = "6")]
    planes: bool,
}

/// Level of zstd by profile.
fn level(profile: Profile) -> i32 {
    match profile {
        Profile::Fast => 1,
        Profile::Balanced => 6,
        Profile::Archive => 19,
    }
}

impl Encoding for Planes {
    fn id(&self) -> &'static str {
        ID
    }

    fn access(&self) -> Access {
        Access::Opaque
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        *data_type == DataType::Int64
    }

    fn estimate(&self, _: &Statistics, profile: Profile) -> Verdict {
        match profile {
            Profile::Archive => Verdict::Measure,
            _ => Verdict::Skip,
        }
    }

    fn encode(&self, array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        let Some(values) = array.as_primitive_opt::<Int64Type>() else {
            return Ok(None);
        };
        if values.is_empty() {
            return Ok(None);
        }
        let Some((shape, bytes)) = compress(values.values(), level(context.profile))? else {
            return Ok(None);
        };
        let metadata = Metadata {
            exceptions: shape.exceptions,
            base: shape.base,
            step: shape.step - 1,
            width: shape.width as u32,
            delta: shape.delta,
            planes: shape.planes,
        };
        Ok(Some(
            Node::new(ID, values.len())
                .with_metadata(&metadata)
                .with_buffer(bytes),
        ))
    }

    fn decode(
        &self,
        node: &Node,
        data_type: &DataType,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        node.expect(1, 0)?;
        if !self.accepts(data_type) {
            return Err(Error::corrupt(format!("{ID} cannot hold {data_type}")));
        }
        let metadata: Metadata = node.parse_metadata()?;
        let shape = Shape {
            exceptions: metadata.exceptions,
            base: metadata.base,
            step: metadata.step.wrapping_add(1),
            width: metadata.width as usize,
            delta: metadata.delta,
            planes: metadata.planes,
        };
        if !(1..=8).contains(&shape.width) {
            return Err(Error::corrupt(format!("{ID} of impossible width")));
        }
        context.reserve_rows(node.rows, 16 + shape.width)?;
        let packed = zstd::bulk::decompress(
            &node.buffer(0)?.bytes()?,
            node.rows.saturating_mul(shape.width),
        )
        .map_err(|e| Error::corrupt(format!("{ID}: {e}")))?;
        let values = unpack(&packed, &shape, node.rows)?;
        Ok(Arc::new(Int64Array::new(values.into(), None)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::{Selection, testing};

    #[test]
    fn values_and_exceptions_come_back() {
        let long: Vec<i64> = (0..5000).map(|i| i * i % 700 * 25 - 9).collect();
        for values in [
            vec![7],
            vec![i64::MIN, 5, i64::MIN + 65_535, i64::MAX],
            long,
        ] {
            let array: ArrayRef = Arc::new(Int64Array::from(values));
            let node = testing::encode(&Planes, &array, Profile::Archive).unwrap();
            let back = testing::decode(&node, &DataType::Int64, &Selection::all()).unwrap();
            assert_eq!(&back, &array);
        }
    }

    #[test]
    fn repeats_cost_little() {
        let values: Vec<i64> = (0..20_000).map(|i| 1_000_000 + i % 300 * (i % 7)).collect();
        let array: ArrayRef = Arc::new(Int64Array::from(values));
        let node = testing::encode(&Planes, &array, Profile::Archive).unwrap();
        assert!(node.stored_bytes() < 4000);
    }
}
