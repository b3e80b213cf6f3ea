//! `pilaster.zstd.v1`: values in blocks compressed with zstd.
//!
//! A block holds the bytes of a fixed number of rows, so that a row finds its block by division.
//! Text goes without its lengths, which are a child of their own.
//!
//! | part | content |
//! |---|---|
//! | metadata | rows a block; for each block its stored and its raw length |
//! | buffer 0 | the blocks one after the other; one that is as long as its raw bytes is not compressed |
//! | child 0 | binary only: the length of each value (uint32) |
//!
//! Spec: `zstd` or `zstd(level)`, 1 to 22.

pub mod codec;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use crate::encoding::{
    Access, DecodeContext, EncodeContext, Encoding, Node, Profile, Reads, Selection, Statistics,
    Verdict, physical,
};
use crate::error::{Error, Result};
use codec::Codec;

/// See the module.
#[derive(Debug)]
pub struct Zstd;

const ID: &str = "pilaster.zstd.v1";

impl Encoding for Zstd {
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
        let level = level(context)?;
        // More history for better ratio, less to unpack for a row.
        let target = match context.profile {
            Profile::Fast => 64 << 10,
            Profile::Balanced => 256 << 10,
            Profile::Archive => 1 << 20,
        };
        let compressor = zstd::bulk::Compressor::new(level)
            .map_err(|e| Error::invalid(format!("zstd at level {level}: {e}")))?;
        codec::encode(ID, array, target, &mut Compressing(compressor), context)
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
        let mut decompressor =
            zstd::bulk::Decompressor::new().map_err(|e| Error::invalid(format!("zstd: {e}")))?;
        let mut unpack = |stored: &[u8], raw: &mut [u8]| {
            decompressor
                .decompress_to_buffer(stored, raw)
                .map_err(|e| Error::corrupt(format!("zstd block: {e}")))
        };
        codec::decode(node, data_type, selection, &mut unpack, context)
    }

    fn reads(&self, node: &Node, selection: &Selection) -> Reads {
        codec::reads(node, selection)
    }
}

struct Compressing<'a>(zstd::bulk::Compressor<'a>);

impl Codec for Compressing<'_> {
    fn compress(&mut self, raw: &[u8]) -> Result<Vec<u8>> {
        self.0
            .compress(raw)
            .map_err(|e| Error::invalid(format!("zstd: {e}")))
    }
}

fn level(context: &EncodeContext<'_>) -> Result<i32> {
    let level = match context.arguments.as_slice() {
        [] => match context.profile {
            Profile::Fast => 1,
            Profile::Balanced => 3,
            Profile::Archive => 19,
        },
        [level] => level
            .parse()
            .ok()
            .filter(|l| (1..=22).contains(l))
            .ok_or_else(|| Error::invalid(format!("zstd has levels 1 to 22, not '{level}'")))?,
        _ => return Err(Error::invalid("zstd takes one argument, its level")),
    };
    // The highest levels take longer than a measurement is worth.
    Ok(if context.sampling {
        level.min(6)
    } else {
        level
    })
}
