//! A ready-made predicate: a column compared with one value.

use arrow::array::{Array, ArrayRef, BooleanArray, Datum, Scalar};
use arrow::compute;
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;

use super::local::File;
use super::read::{Predicate, ZoneColumn};
use crate::encoding::CompareOp;
use crate::error::{Error, Result};

/// Keeps the rows whose value in one column compares true with a given value; nulls never do.
/// Zones whose minimum and maximum exclude that are not read.
#[derive(Debug, Clone)]
pub struct Compare {
    column: [usize; 1],
    op: CompareOp,
    value: Scalar<ArrayRef>,
    /// Which zones may match; `None` if the column has no zone map.
    zones: Option<BooleanArray>,
}

impl Compare {
    /// Compares a column of the file, by its position in the schema, with a scalar of the column's
    /// type. Reads the column's zone map. Floats are compared by total order.
    pub fn new(file: &File, column: usize, op: CompareOp, value: &dyn Datum) -> Result<Self> {
        let schema = file.meta().schema()?;
        let Some(field) = schema.fields().get(column) else {
            return Err(Error::invalid(format!(
                "column {column} of a table of {} columns",
                schema.fields().len()
            )));
        };
        let (value, is_scalar) = value.get();
        let wanted = match field.data_type() {
            DataType::Dictionary(_, values) => values.as_ref(),
            other => other,
        };
        if value.len() != 1 || !is_scalar || value.data_type() != wanted {
            return Err(Error::invalid(format!(
                "column '{}' is {wanted}; compare it with one value of that type, not with {}",
                field.name(),
                value.data_type()
            )));
        }
        let value = Scalar::new(value.slice(0, 1));
        let zones = file.zones(&[column])?;
        let zones = match zones.columns.first() {
            Some(Some(zones)) => may_match(zones, op, &value)?,
            _ => None,
        };
        Ok(Self {
            column: [column],
            op,
            value,
            zones,
        })
    }
}

/// True for each zone in which some value between minimum and maximum compares true; null where
/// those are not known.
fn may_match(
    zones: &ZoneColumn,
    op: CompareOp,
    value: &Scalar<ArrayRef>,
) -> Result<Option<BooleanArray>> {
    let Some((min, max)) = &zones.bounds else {
        return Ok(None);
    };
    Ok(Some(match op {
        CompareOp::Lt | CompareOp::Le => op.apply(min, value)?,
        CompareOp::Gt | CompareOp::Ge => op.apply(max, value)?,
        CompareOp::Eq => compute::and(
            &CompareOp::Le.apply(min, value)?,
            &CompareOp::Ge.apply(max, value)?,
        )?,
        CompareOp::Ne => compute::or(
            &CompareOp::Ne.apply(min, value)?,
            &CompareOp::Ne.apply(max, value)?,
        )?,
    }))
}

impl Predicate for Compare {
    fn columns(&self) -> &[usize] {
        &self.column
    }

    fn may_match(&self, zone: u64) -> bool {
        match &self.zones {
            Some(zones) if (zone as usize) < zones.len() => {
                zones.is_null(zone as usize) || zones.value(zone as usize)
            }
            _ => true,
        }
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        self.op.apply(batch.column(0), &self.value)
    }
}
