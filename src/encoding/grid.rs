//! Rows of numbers stored in units: some elements of some consecutive rows, decoded together.
//!
//! The elements of a row are cut into *groups* (the heads of a KV cache, a stretch of dimensions),
//! the rows into *blocks*; a unit is one group of one block. Units lie group by group, blocks in
//! order inside, so that both a range of rows of one group and all rows of one group are one range of
//! bytes. A column of plain numbers is a grid of one element a row.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, new_empty_array};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::DataType;

use super::blocks::Blocks;
use super::context::DecodeContext;
use super::selection::Selection;
use super::words::{self, Word};
use crate::error::{Error, Result};

/// Key of an item's metadata under which the size of its groups stands, where groups mean something.
pub const GROUP_KEY: &str = "pilaster.kv.head_dim";

/// How rows and elements are cut into units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    rows: usize,
    width: usize,
    group: usize,
    block: usize,
}

impl Grid {
    /// A grid of `rows` rows of `width` elements, in groups of `group` and blocks of `block` rows.
    /// Fails if a size is zero or the whole cannot be addressed.
    pub fn new(rows: usize, width: usize, group: usize, block: usize) -> Result<Self> {
        let fits = rows.checked_mul(width).is_some_and(|n| n < 1 << 40);
        match fits && width > 0 && (1..=width).contains(&group) && (1..=1 << 31).contains(&block) {
            true => Ok(Self {
                rows,
                width,
                group,
                block,
            }),
            false => Err(Error::corrupt(format!(
                "{rows} rows of {width} elements in groups of {group} and blocks of {block}"
            ))),
        }
    }

    /// Elements a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of groups.
    pub fn groups(&self) -> usize {
        self.width.div_ceil(self.group)
    }

    /// Number of blocks.
    pub fn blocks(&self) -> usize {
        self.rows.div_ceil(self.block)
    }

    /// Number of units.
    pub fn units(&self) -> usize {
        self.groups() * self.blocks()
    }

    /// Place of a unit in the stored order.
    pub fn unit(&self, group: usize, block: usize) -> usize {
        group * self.blocks() + block
    }

    /// Elements of a group.
    pub fn elements(&self, group: usize) -> Range<usize> {
        group * self.group..((group + 1) * self.group).min(self.width)
    }

    /// Rows of a block.
    pub fn rows(&self, block: usize) -> Range<usize> {
        block * self.block..((block + 1) * self.block).min(self.rows)
    }

    /// The groups that hold some of these elements.
    pub fn groups_of(&self, elements: &Range<usize>) -> Range<usize> {
        match elements.is_empty() {
            true => 0..0,
            false => elements.start / self.group..elements.end.div_ceil(self.group),
        }
    }

    /// The elements that a selection wants; fails if there are fewer.
    pub fn wanted(&self, selection: &Selection) -> Result<Range<usize>> {
        let elements = selection.elements.clone().unwrap_or(0..self.width);
        match elements.start <= elements.end && elements.end <= self.width {
            true => Ok(elements),
            false => Err(Error::corrupt(format!(
                "elements {}..{} of rows of {}",
                elements.start, elements.end, self.width
            ))),
        }
    }

    fn row_blocks(&self) -> Result<Blocks> {
        Blocks::new(self.rows, self.block, self.blocks())
    }

    /// The units that a selection touches, as ranges of the stored order.
    pub fn touched(&self, selection: &Selection) -> Result<Vec<Range<usize>>> {
        let blocks = self.row_blocks()?.touched(selection);
        let groups = match blocks.is_empty() {
            // However many groups there are said to be.
            true => 0..0,
            false => self.groups_of(&self.wanted(selection)?),
        };
        let of_group = |group| {
            let from = self.unit(group, 0);
            blocks.iter().map(move |b| from + b.start..from + b.end)
        };
        Ok(groups.flat_map(of_group).collect())
    }

    /// Decodes the selected rows and elements: `unit` is asked for the touched units and fills in
    /// their values, row by row.
    pub fn decode<W: Word>(
        &self,
        data_type: &DataType,
        selection: &Selection,
        context: &DecodeContext<'_>,
        mut unit: impl FnMut(usize, usize, &mut [W]) -> Result<()>,
    ) -> Result<ArrayRef> {
        let wanted = self.wanted(selection)?;
        let (item, size) = parts(data_type)?;
        if size != wanted.len() || words::width(item) != Some(size_of::<W>()) {
            return Err(Error::corrupt(format!(
                "rows of {} elements of {} bytes wanted as {data_type}",
                wanted.len(),
                size_of::<W>()
            )));
        }
        if let Some(empty) = without_elements(data_type, selection.count(self.rows))? {
            return Ok(empty);
        }
        let blocks = self.row_blocks()?;
        let touched = blocks.touched(selection);
        let count: usize = touched.iter().map(|b| blocks.rows_of(b).len()).sum();
        let scratch = self.block.min(self.rows) * self.group;
        context.reserve_rows(count, wanted.len() * size_of::<W>())?;
        context.reserve_rows(scratch, size_of::<W>())?;
        let mut out = vec![W::narrow(0); count * wanted.len()];
        let mut scratch = vec![W::narrow(0); scratch];
        let groups = match touched.is_empty() {
            true => 0..0,
            false => self.groups_of(&wanted),
        };
        for group in groups {
            let elements = self.elements(group);
            let from = wanted.start.max(elements.start);
            let to = wanted.end.min(elements.end);
            let mut row = 0;
            for block in touched.iter().cloned().flatten() {
                let rows = self.rows(block).len();
                let values = &mut scratch[..rows * elements.len()];
                unit(group, block, values)?;
                for values in values.chunks_exact(elements.len()) {
                    let at = row * wanted.len() + from - wanted.start;
                    out[at..at + to - from]
                        .copy_from_slice(&values[from - elements.start..to - elements.start]);
                    row += 1;
                }
            }
        }
        let values = words::array(out, item)?;
        let all: ArrayRef = match data_type {
            DataType::FixedSizeList(field, asked) => {
                Arc::new(FixedSizeListArray::try_new_with_length(
                    Arc::clone(field),
                    *asked,
                    values,
                    None,
                    count,
                )?)
            }
            _ => values,
        };
        blocks.within(&touched, selection).take(&all)
    }
}

/// The type of the numbers, and how many a row has.
pub fn parts(data_type: &DataType) -> Result<(&DataType, usize)> {
    match data_type {
        DataType::FixedSizeList(field, size) => Ok((field.data_type(), (*size).max(0) as usize)),
        other => Ok((other, 1)),
    }
}

/// Rows of no elements, if that is what lists of this type are: Arrow's kernels lose their number.
pub fn without_elements(data_type: &DataType, rows: usize) -> Result<Option<ArrayRef>> {
    let DataType::FixedSizeList(field, 0) = data_type else {
        return Ok(None);
    };
    let values = new_empty_array(field.data_type());
    let list = FixedSizeListArray::try_new_with_length(Arc::clone(field), 0, values, None, rows)?;
    Ok(Some(Arc::new(list)))
}

/// The numbers of an array without nulls, row by row, and how many a row has; `None` if there are
/// nulls, no numbers, or words of another width.
pub fn numbers<W: Word>(array: &ArrayRef) -> Option<(ScalarBuffer<W>, usize)> {
    let (values, size) = match array.as_fixed_size_list_opt() {
        None => (Arc::clone(array), 1),
        Some(list) => {
            let size = list.value_length() as usize;
            let start = list.value_offset(0) as usize;
            (list.values().slice(start, list.len() * size), size)
        }
    };
    let sound = array.null_count() == 0
        && values.null_count() == 0
        && size > 0
        && words::width(values.data_type()) == Some(size_of::<W>());
    sound.then(|| (words::of::<W>(&values), size))
}

/// Whether a type's elements are in groups that are read by themselves.
pub fn has_groups(data_type: &DataType) -> bool {
    match data_type {
        DataType::FixedSizeList(item, _) => item.metadata().contains_key(GROUP_KEY),
        _ => false,
    }
}

/// The groups that the type of an array asks for, or the whole row.
pub fn group_of(data_type: &DataType) -> usize {
    match data_type {
        DataType::FixedSizeList(item, size) => {
            let size = (*size).max(1) as usize;
            let told = item.metadata().get(GROUP_KEY);
            let told = told.and_then(|g| g.parse::<usize>().ok());
            told.filter(|g| (1..=size).contains(g)).unwrap_or(size)
        }
        _ => 1,
    }
}
