//! `pilaster.pco.v1`: numbers by Pcodec, which finds modes and deltas and codes them with ANS.
//!
//! The smallest form of most numeric columns, at the price of slower decoding: archives only. A
//! chunk is cut into pages of 8,192 rows that decode by themselves.
//!
//! | buffer | content |
//! |---|---|
//! | 0 | Pcodec's header and chunk metadata (wrapped form) |
//! | 1 | pages, one after the other |

use std::ops::Range;

use arrow::array::*;
use arrow::datatypes::*;
use pco::data_types::Number;
use pco::errors::PcoError;
use pco::wrapped::{FileCompressor, FileDecompressor};
use pco::{ChunkConfig, PagingSpec};

use crate::encoding::words;
use crate::encoding::{
    Access, DecodeContext, EncodeContext, Encoding, Node, Profile, Reads, Selection, Statistics,
    Verdict,
};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct Pco;

const ID: &str = "pilaster.pco.v1";
/// Rows of a page.
const PAGE: usize = 8192;

#[derive(Clone, PartialEq, prost::Message)]
struct Metadata {
    /// Bytes of each page.
    #[prost(uint32, repeated, tag = "1")]
    pages: Vec<u32>,
}

macro_rules! by_type {
    ($data_type:expr, $t:ident => $body:expr, else $other:expr) => {
        match $data_type {
            DataType::Int16 => {
                type $t = Int16Type;
                $body
            }
            DataType::Int32 => {
                type $t = Int32Type;
                $body
            }
            DataType::Int64 => {
                type $t = Int64Type;
                $body
            }
            DataType::UInt16 => {
                type $t = UInt16Type;
                $body
            }
            DataType::UInt32 => {
                type $t = UInt32Type;
                $body
            }
            DataType::UInt64 => {
                type $t = UInt64Type;
                $body
            }
            DataType::Float16 => {
                type $t = Float16Type;
                $body
            }
            DataType::Float32 => {
                type $t = Float32Type;
                $body
            }
            DataType::Float64 => {
                type $t = Float64Type;
                $body
            }
            _ => $other,
        }
    };
}

impl Encoding for Pco {
    fn id(&self) -> &'static str {
        ID
    }

    fn access(&self) -> Access {
        Access::Block
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        words::width(data_type).is_some_and(|w| w > 1)
    }

    fn estimate(&self, statistics: &Statistics, profile: Profile) -> Verdict {
        match profile == Profile::Archive && statistics.runs > 1 {
            true => Verdict::Measure,
            false => Verdict::Skip,
        }
    }

    fn encode(&self, array: &ArrayRef, _: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        if array.is_empty() {
            return Ok(None);
        }
        let node = by_type!(array.data_type(), T => {
            compress(array.as_primitive::<T>().values()).ok()
        }, else None);
        // Not a bit may be lost; trust that only after a look.
        let Some(node) = node else {
            return Ok(None);
        };
        let same = by_type!(array.data_type(), T => {
            let mut back = vec![Default::default(); array.len()];
            decompress::<<T as ArrowPrimitiveType>::Native>(&node, 0..page_count(&node), &mut back)
                .is_ok_and(|()| {
                    let back = PrimitiveArray::<T>::new(back.into(), None).to_data();
                    let given = array.to_data();
                    let width = size_of::<<T as ArrowPrimitiveType>::Native>();
                    let start = given.offset() * width;
                    let given = &given.buffers()[0][start..start + array.len() * width];
                    &back.buffers()[0][..] == given
                })
        }, else false);
        Ok(same.then_some(node))
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
        let pages = touched(selection, node.rows);
        let rows = pages.start * PAGE..(pages.end * PAGE).min(node.rows);
        by_type!(data_type, T => {
            context.reserve_rows(rows.len(), size_of::<<T as ArrowPrimitiveType>::Native>())?;
            let mut out = vec![Default::default(); rows.len()];
            decompress::<<T as ArrowPrimitiveType>::Native>(node, pages, &mut out)?;
            let window: ArrayRef = std::sync::Arc::new(PrimitiveArray::<T>::new(out.into(), None));
            selection.within(rows).take(&window)
        }, else Err(Error::corrupt(format!("numbers as {data_type}"))))
    }

    fn reads(&self, node: &Node, selection: &Selection) -> Reads {
        let part = || -> Result<Reads> {
            let bytes = page_bytes(node, touched(selection, node.rows))?;
            let head = 0..node.buffer(0)?.len();
            let (start, end) = (bytes.first(), bytes.last());
            let pages = start.map_or(0, |r| r.start)..end.map_or(0, |r| r.end);
            Ok(Reads::Parts {
                buffers: vec![(0, head), (1, pages)],
                children: Vec::new(),
            })
        };
        part().unwrap_or_default()
    }
}

fn page_count(node: &Node) -> usize {
    node.rows.div_ceil(PAGE)
}

/// The pages from the first to the last that hold a selected row.
fn touched(selection: &Selection, rows: usize) -> Range<usize> {
    let bounds = selection.bounds(rows);
    match bounds.is_empty() {
        true => 0..0,
        false => bounds.start / PAGE..bounds.end.div_ceil(PAGE),
    }
}

fn compress<T: Number>(values: &[T]) -> Result<Node, PcoError> {
    let sizes = values.chunks(PAGE).map(<[T]>::len).collect();
    let config = ChunkConfig::default().with_paging_spec(PagingSpec::Exact(sizes));
    let file = FileCompressor::default();
    let mut head = Vec::new();
    file.write_header(&mut head)?;
    let mut chunk = file.chunk_compressor(values, &config)?;
    chunk.write_meta(&mut head)?;
    let mut bytes = Vec::new();
    let mut metadata = Metadata::default();
    for page in 0..chunk.n_per_page().len() {
        let start = bytes.len();
        chunk.write_page(page, &mut bytes)?;
        metadata.pages.push((bytes.len() - start) as u32);
    }
    Ok(Node::new(ID, values.len())
        .with_metadata(&metadata)
        .with_buffer(head)
        .with_buffer(bytes))
}

/// Where pages lie in buffer 1.
fn page_bytes(node: &Node, pages: Range<usize>) -> Result<Vec<Range<u64>>> {
    node.expect(2, 0)?;
    let lengths = node.parse_metadata::<Metadata>()?.pages;
    let total: u64 = lengths.iter().map(|&n| u64::from(n)).sum();
    if lengths.len() != page_count(node) || total != node.buffer(1)?.len() {
        return Err(Error::corrupt("pages do not fit their node"));
    }
    let mut end = 0;
    let all = lengths.iter().map(|&n| {
        let start = end;
        end += u64::from(n);
        start..end
    });
    Ok(all.skip(pages.start).take(pages.len()).collect())
}

/// Decodes pages into exactly the room for their rows.
fn decompress<T: Number>(node: &Node, pages: Range<usize>, mut out: &mut [T]) -> Result<()> {
    let wrong = |e: PcoError| Error::corrupt(format!("packed numbers: {e}"));
    let ranges = page_bytes(node, pages)?;
    let head = node.buffer(0)?.bytes()?;
    let (file, rest) = FileDecompressor::new(head.as_slice()).map_err(wrong)?;
    let (mut chunk, _) = file.chunk_decompressor::<T, _>(rest).map_err(wrong)?;
    for range in ranges {
        let bytes = node.buffer(1)?.slice(range)?;
        let count = out.len().min(PAGE);
        let (slot, rest) = out.split_at_mut(count);
        let mut page = chunk
            .page_decompressor(bytes.as_slice(), count)
            .map_err(wrong)?;
        let progress = page.read(slot).map_err(wrong)?;
        if progress.n_processed != count {
            return Err(Error::corrupt("a page ends early"));
        }
        out = rest;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::testing;

    #[test]
    fn numbers_come_back_bit_for_bit() {
        let mut arrays = testing::integer_arrays(3000);
        arrays.extend(testing::integer_arrays(20_000).into_iter().step_by(5));
        arrays.extend(testing::float_arrays(1500));
        for array in arrays {
            if Pco.accepts(array.data_type()) {
                testing::check(&Pco, &array, Profile::Archive).unwrap();
            }
        }
    }

    #[test]
    fn only_archives_try_it() {
        let array: ArrayRef = std::sync::Arc::new(Int64Array::from(vec![1, 2, 3]));
        let statistics = Statistics::of(&array);
        assert_eq!(Pco.estimate(&statistics, Profile::Balanced), Verdict::Skip);
        assert_eq!(
            Pco.estimate(&statistics, Profile::Archive),
            Verdict::Measure
        );
    }
}
