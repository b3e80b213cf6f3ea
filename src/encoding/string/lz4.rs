//! `pilaster.lz4.v1`: values in blocks compressed with lz4.
//!
//! Laid out like `pilaster.zstd.v1`, with blocks of about 64 KiB in lz4's block format.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::zstd::codec::{self, Codec};
use crate::encoding::{
    Access, DecodeContext, EncodeContext, Encoding, Node, Profile, Reads, Selection, Statistics,
    Verdict, physical,
};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct Lz4;

const ID: &str = "pilaster.lz4.v1";

/// lz4 looks back at most this far.
const BLOCK: usize = 64 << 10;

impl Encoding for Lz4 {
    fn id(&self) -> &'static str {
        ID
    }

    fn access(&self) -> Access {
        Access::Block
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        physical::is_leaf(data_type)
    }

    fn estimate(&self, statistics: &Statistics, _: Profile) -> Verdict {
        codec::estimate(statistics)
    }

    fn encode(&self, array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        codec::encode(ID, array, BLOCK, &mut Compressing, context)
    }

    fn decode(
        &self,
        node: &Node,
        data_type: &DataType,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        self.decode_selection(node, data_type, &Selection::all(), context)
    }

    fn decode_selection(
        &self,
        node: &Node,
        data_type: &DataType,
        selection: &Selection,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        let mut unpack = |stored: &[u8], raw: &mut [u8]| {
            lz4_flex::block::decompress_into(stored, raw)
                .map_err(|e| Error::corrupt(format!("lz4 block: {e}")))
        };
        codec::decode(node, data_type, selection, &mut unpack, context)
    }

    fn reads(&self, node: &Node, selection: &Selection) -> Reads {
        codec::reads(node, selection)
    }
}

struct Compressing;

impl Codec for Compressing {
    fn compress(&mut self, raw: &[u8]) -> Result<Vec<u8>> {
        Ok(lz4_flex::block::compress(raw))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::testing;

    #[test]
    fn values_of_every_type_keep_the_laws_in_blocks() {
        let encodings: [&dyn Encoding; 2] = [&Lz4, &crate::encoding::string::zstd::Zstd];
        let mut arrays = testing::binary_arrays(3000);
        arrays.extend(testing::boolean_arrays(3000));
        arrays.extend(testing::float_arrays(2000));
        arrays.extend(testing::fixed_arrays(2000, 5));
        let mut packed = 0;
        for array in &arrays {
            for encoding in encodings {
                packed += usize::from(testing::check(encoding, array, Profile::Fast).is_some());
            }
        }
        assert!(packed > arrays.len());
    }

    #[test]
    fn a_row_reads_its_own_block_only() {
        let array = &testing::integer_arrays(100_000)[3];
        for encoding in [&Lz4 as &dyn Encoding, &crate::encoding::string::zstd::Zstd] {
            let Some(node) = testing::encode(encoding, array, Profile::Fast) else {
                continue;
            };
            let Reads::Parts { buffers, .. } = encoding.reads(&node, &Selection::range(7..8))
            else {
                panic!("all of it");
            };
            assert!(buffers[0].1.end < node.buffers[0].len());
        }
    }
}
