//! Zone maps: minimum, maximum and null count of each zone of some columns.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt8Array, UInt64Array};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, UInt8Type, UInt64Type};

use super::meta::FileMeta;
use crate::encoding::Registry;
use crate::error::{Error, Result};
use crate::file::machine::{Machine, Pool, Step};

/// Flag: the minimum is a value of the zone, not only a bound.
pub const MIN_EXACT: u8 = 1;
/// Flag: the maximum is a value of the zone.
pub const MAX_EXACT: u8 = 2;

/// Zone map of one column.
#[derive(Debug, Clone)]
pub struct ZoneColumn {
    /// Minimum and maximum of each zone, of the column's type, null where not known; absent for
    /// types without an order.
    pub bounds: Option<(ArrayRef, ArrayRef)>,
    /// Nulls of each zone.
    pub null_count: UInt64Array,
    /// [`MIN_EXACT`] and [`MAX_EXACT`] of each zone.
    pub flags: UInt8Array,
}

/// Zone maps of some columns of a file.
#[derive(Debug)]
pub struct Zones {
    /// Rows in a zone; the last may have fewer.
    pub zone_rows: u64,
    /// Rows in the file.
    pub rows: u64,
    /// In the order of the columns that were asked for; `None` for columns without a zone map that
    /// can be read.
    pub columns: Vec<Option<ZoneColumn>>,
    /// Zone maps that cannot be read: the place in `columns`, and why. A scan does without them.
    pub unreadable: Vec<(usize, Error)>,
}

impl Zones {
    /// Number of zones.
    pub fn count(&self) -> usize {
        self.rows.div_ceil(self.zone_rows) as usize
    }
}

/// Loads zone maps.
#[derive(Debug)]
pub struct ZoneLoader {
    meta: Arc<FileMeta>,
    columns: Vec<usize>,
    pool: Pool,
    done: bool,
}

impl ZoneLoader {
    /// Loads those of the given columns of the schema.
    pub fn new(meta: Arc<FileMeta>, columns: &[usize]) -> Result<Self> {
        let columns = columns
            .iter()
            .map(|&c| {
                meta.shown()
                    .get(c)
                    .copied()
                    .ok_or_else(|| Error::invalid(format!("column {c} does not exist")))
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            meta,
            columns,
            pool: Pool::default(),
            done: false,
        })
    }

    fn load(&self, index: usize) -> Result<Option<ZoneColumn>> {
        let column = self.meta.column(index)?;
        let zones = match &column.zones {
            None => return Ok(None),
            Some(Ok(zones)) => zones,
            Some(Err(message)) => {
                let error = Error::corrupt(message.clone());
                return Err(self.meta.locate(error, Some(index)));
            }
        };
        let registry = Registry::standard();
        let part = |part, data_type: &DataType| {
            column
                .decode_zone_part(zones.segment, part, data_type, &self.pool, registry)
                .map_err(|e| self.meta.locate(e, Some(index)))
        };
        let bounds = match &zones.bounds {
            Some((min, max)) => {
                let data_type = column.field.data_type();
                Some((part(min, data_type)?, part(max, data_type)?))
            }
            None => None,
        };
        let null_count = part(&zones.null_count, &DataType::UInt64)?;
        let flags = part(&zones.flags, &DataType::UInt8)?;
        if null_count.null_count() > 0 || flags.null_count() > 0 {
            let error = Error::corrupt("a zone map without its counts");
            return Err(self.meta.locate(error, Some(index)));
        }
        Ok(Some(ZoneColumn {
            bounds,
            null_count: null_count.as_primitive::<UInt64Type>().clone(),
            flags: flags.as_primitive::<UInt8Type>().clone(),
        }))
    }
}

impl Machine for ZoneLoader {
    type Item = Zones;

    fn step(&mut self) -> Result<Step<Zones>> {
        if self.done {
            return Ok(Step::Done);
        }
        let missing = self.meta.load(&self.columns, &self.pool)?;
        if !missing.is_empty() {
            return Ok(Step::Need(missing));
        }
        let mut ranges = Vec::new();
        for &index in &self.columns {
            let column = self.meta.column(index)?;
            if let Some(Ok(zones)) = &column.zones {
                ranges.extend(column.segment_ranges(zones.segment));
            }
        }
        let missing = self.pool.missing(ranges);
        if !missing.is_empty() {
            return Ok(Step::Need(missing));
        }
        self.done = true;
        let mut unreadable = Vec::new();
        let mut columns = Vec::with_capacity(self.columns.len());
        for (place, &index) in self.columns.iter().enumerate() {
            columns.push(self.load(index).unwrap_or_else(|error| {
                unreadable.push((place, error));
                None
            }));
        }
        self.pool.clear();
        Ok(Step::Item(Zones {
            zone_rows: self.meta.zone_rows(),
            rows: self.meta.rows(),
            columns,
            unreadable,
        }))
    }

    fn deliver(&mut self, offset: u64, bytes: Buffer) {
        self.pool.put(offset, bytes);
    }
}
