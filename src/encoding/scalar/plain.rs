//! `pilaster.plain.v1`: values as Arrow lays them out.
//!
//! Per-value access for fixed widths. Binary keeps its offsets, rebased to zero, in a second
//! buffer; booleans are packed eight to a byte, least significant bit first.
//!
//! | buffer | content |
//! |---|---|
//! | 0 | values (binary: the bytes of all values, one after the other) |
//! | 1 | binary only: `rows + 1` offsets of 4 bytes |

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{BooleanBuffer, Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::*;

use crate::encoding::words::packed_bits;
use crate::encoding::{
    Access, DecodeContext, EncodeContext, Encoding, Node, Reads, Selection, physical,
};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct Plain;

const ID: &str = "pilaster.plain.v1";

impl Encoding for Plain {
    fn id(&self) -> &'static str {
        ID
    }

    fn access(&self) -> Access {
        Access::PerValue
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        physical::is_leaf(data_type)
    }

    fn encode(&self, array: &ArrayRef, _: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        let node = Node::new(ID, array.len());
        Ok(Some(match array.data_type() {
            DataType::Boolean => node.with_buffer(packed_bits(array.as_boolean().values())),
            DataType::Binary => {
                let values = array.as_binary::<i32>();
                let offsets = values.offsets();
                let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
                let rebased: Vec<i32> = offsets.iter().map(|o| o - first).collect();
                node.with_buffer(
                    values
                        .values()
                        .slice_with_length(first as usize, (last - first) as usize),
                )
                .with_buffer(Buffer::from_vec(rebased))
            }
            DataType::FixedSizeBinary(_) => {
                let values = array.as_fixed_size_binary();
                node.with_buffer(Buffer::from(values.value_data()))
            }
            _ => {
                let data = array.to_data();
                let width = width(array.data_type())?;
                node.with_buffer(
                    data.buffers()[0].slice_with_length(data.offset() * width, data.len() * width),
                )
            }
        }))
    }

    fn decode(&self, node: &Node, data_type: &DataType, _: &DecodeContext<'_>) -> Result<ArrayRef> {
        if *data_type == DataType::Binary {
            node.expect(2, 0)?;
            let count = node.rows + 1;
            let offsets: ScalarBuffer<i32> = node.buffer(1)?.typed(count)?;
            return binary(offsets, node.buffer(0)?.bytes()?);
        }
        node.expect(1, 0)?;
        let buffer = node.buffer(0)?;
        let expected = match data_type {
            DataType::Boolean => node.rows.div_ceil(8) as u64,
            other => (node.rows as u64).saturating_mul(width(other)? as u64),
        };
        if buffer.len() != expected {
            return Err(Error::corrupt(format!(
                "{} bytes for {} plain values of {data_type}",
                buffer.len(),
                node.rows
            )));
        }
        values(buffer.bytes()?, data_type, node.rows)
    }

    fn decode_selection(
        &self,
        node: &Node,
        data_type: &DataType,
        selection: &Selection,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        let bounds = selection.bounds(node.rows);
        if bounds.is_empty() {
            return Ok(new_empty_array(data_type));
        }
        if matches!(data_type, DataType::Binary | DataType::Boolean) {
            return selection.take(&self.decode(node, data_type, context)?);
        }
        node.expect(1, 0)?;
        let width = width(data_type)? as u64;
        let bytes = node
            .buffer(0)?
            .slice(bounds.start as u64 * width..bounds.end as u64 * width)?;
        let window = values(bytes, data_type, bounds.len())?;
        shifted(selection, &bounds).take(&window)
    }

    fn reads(&self, node: &Node, selection: &Selection) -> Reads {
        // The value width follows from the buffer, since the type is not at hand.
        let (Ok(buffer), 1) = (node.buffer(0), node.buffers.len()) else {
            return Reads::All;
        };
        let width = buffer.len() / (node.rows as u64).max(1);
        if width == 0 || width * node.rows as u64 != buffer.len() {
            return Reads::All;
        }
        let bounds = selection.bounds(node.rows);
        Reads::Parts {
            buffers: vec![(0, bounds.start as u64 * width..bounds.end as u64 * width)],
            children: Vec::new(),
        }
    }
}

/// The same rows counted from the start of a window.
fn shifted(selection: &Selection, window: &std::ops::Range<usize>) -> Selection {
    use crate::encoding::Rows;
    match &selection.rows {
        Rows::All | Rows::Range(_) => Rows::All,
        Rows::Indices(i) => Rows::Indices(i.iter().map(|r| r - window.start as u32).collect()),
        Rows::Mask(m) => Rows::Mask(m.slice(window.start, window.len())),
    }
    .into()
}

fn width(data_type: &DataType) -> Result<usize> {
    match data_type {
        DataType::FixedSizeBinary(n) => Ok((*n).max(0) as usize),
        other => other
            .primitive_width()
            .ok_or_else(|| Error::corrupt(format!("no plain form for {other}"))),
    }
}

fn binary(offsets: ScalarBuffer<i32>, bytes: Buffer) -> Result<ArrayRef> {
    let ascending = offsets.first() == Some(&0) && offsets.windows(2).all(|w| w[0] <= w[1]);
    if !ascending || offsets.last().map(|&o| o as usize) != Some(bytes.len()) {
        return Err(Error::corrupt("offsets of plain binary values are wrong"));
    }
    let array = BinaryArray::try_new(OffsetBuffer::new(offsets), bytes, None)?;
    Ok(Arc::new(array))
}

fn values(bytes: Buffer, data_type: &DataType, rows: usize) -> Result<ArrayRef> {
    Ok(match data_type {
        DataType::Boolean => {
            Arc::new(BooleanArray::new(BooleanBuffer::new(bytes, 0, rows), None)) as ArrayRef
        }
        DataType::FixedSizeBinary(n) => Arc::new(FixedSizeBinaryArray::try_new_with_len(
            *n, bytes, None, rows,
        )?),
        other => {
            let aligned = match bytes.as_ptr().align_offset(16) {
                0 => bytes,
                _ => Buffer::from_slice_ref(bytes.as_slice()),
            };
            let data = ArrayData::builder(other.clone())
                .len(rows)
                .add_buffer(aligned)
                .build()?;
            make_array(data)
        }
    })
}
