//! A table that was read, whose values are at hand or are read when they are asked for.

use std::cell::OnceCell;
use std::sync::Arc;

use super::mixed::Frame;
use super::read::{Here, TableReader};
use super::skeletons::Skeletons;
use super::streams::STREAMS;
use super::values::{Out, Shown, Texts, Values, offset};
use crate::encoding::DecodeContext;
use crate::error::Result;

/// Streams that are read in step: all but the coded one.
pub const READ_IN_STEP: usize = STREAMS - 1;

/// The unpacked streams of a chunk, in stored order.
pub type Unpacked = Arc<[Vec<u8>; STREAMS]>;

/// A table that was read.
#[derive(Debug)]
pub struct ReadTable {
    /// Text that units have in common.
    pub skeletons: Skeletons,
    /// Skeleton of each unit.
    pub ids: Vec<u32>,
    pub(super) columns: Vec<ReadColumn>,
    /// How many tables it is within.
    pub(super) depth: usize,
    pub(super) streams: Unpacked,
    /// How much is left of each stream after it.
    pub(super) end: [usize; READ_IN_STEP],
}

/// A column of a table.
#[derive(Debug)]
pub struct ReadColumn {
    /// Kind of its slots.
    pub kind: u8,
    /// Rows; columns that were merged into others have none.
    pub rows: usize,
    /// How much is left of each stream before it.
    pub(super) place: [usize; READ_IN_STEP],
    pub(super) values: OnceCell<Values>,
}

impl ReadTable {
    /// Columns, in order of number.
    pub fn columns(&self) -> &[ReadColumn] {
        &self.columns
    }

    /// The parts of the streams of skeletons and of texts that belong to a column: all letters of its
    /// texts are there, unless they stand for hexadecimal digits.
    pub fn letters(&self, column: usize) -> [&[u8]; 2] {
        [1, 4].map(|stream| {
            let all = self.streams[stream].as_slice();
            let next = self.columns.get(column + 1).map_or(&self.end, |c| &c.place);
            let at = |left: usize| all.len() - left.min(all.len());
            let part = at(self.columns[column].place[stream])..at(next[stream]);
            all.get(part).unwrap_or_default()
        })
    }

    /// The values of a column, read now if they were passed over.
    pub fn values(&self, column: usize, context: &DecodeContext<'_>) -> Result<&Values> {
        let of = &self.columns[column];
        if let Some(values) = of.values.get() {
            return Ok(values);
        }
        let mut reader = TableReader::at(&self.streams, &of.place, context);
        let mut here = Here {
            frame: &mut Frame::default(),
            column,
        };
        let values = reader.column(of.kind, of.rows, self.depth, &mut here)?;
        Ok(of.values.get_or_init(|| values))
    }

    /// Values of the columns that some skeletons use, ready to be put together; of all if `None`.
    /// Others are as if they had no rows.
    pub fn shown(
        &self,
        skeletons: Option<&[bool]>,
        context: &DecodeContext<'_>,
    ) -> Result<Vec<Shown<'_>>> {
        let mut used = vec![skeletons.is_none(); self.columns.len()];
        let some = self.skeletons.iter().zip(skeletons.unwrap_or_default());
        for (skeleton, _) in some.filter(|(_, used)| **used) {
            for &column in skeleton.columns {
                used[column as usize] = true;
            }
        }
        let columns = used.into_iter().enumerate();
        columns
            .map(|(column, used)| match used {
                true => self.values(column, context)?.shown(context),
                false => Ok(Shown::None),
            })
            .collect()
    }

    /// About how many bytes some units take.
    pub fn expected(&self, columns: &[Shown<'_>], unit: impl Fn(usize) -> bool) -> usize {
        let mut uses = vec![0usize; self.skeletons.len()];
        let units = self.ids.iter().enumerate();
        units.for_each(|(i, &id)| uses[id as usize] += usize::from(unit(i)));
        let used = self
            .skeletons
            .iter()
            .zip(uses)
            .filter(|(_, uses)| *uses > 0);
        used.fold(0usize, |all, (skeleton, uses)| {
            all.saturating_add(uses.saturating_mul(skeleton.width(columns)))
        })
    }

    /// All units, one after the other.
    pub fn rebuild(&self, context: &DecodeContext<'_>) -> Result<Texts> {
        context.reserve_rows(self.ids.len() + 1, 4)?;
        let mut offsets = Vec::with_capacity(self.ids.len() + 1);
        offsets.push(0);
        let columns = self.shown(None, context)?;
        let mut at = vec![0usize; columns.len()];
        let mut out = Out::default();
        out.expect(self.expected(&columns, |_| true));
        let mut charged = 0;
        for &id in &self.ids {
            self.skeletons
                .get(id as usize)
                .put(&columns, &mut at, &mut out);
            // What a unit adds is bounded by what was read before, so it may be charged after.
            context.reserve((out.len() - charged) as u64)?;
            charged = out.len();
            offsets.push(offset(out.len())?);
        }
        Ok(Texts {
            bytes: out.finish(),
            offsets,
        })
    }
}
