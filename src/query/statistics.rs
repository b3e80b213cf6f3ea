//! Statistics of a file, from its zone maps.
//!
//! DataFusion answers `COUNT`, `MIN` and `MAX` from exact statistics without a scan, so exact means:
//! a value of the column, in the table's type, with no value beyond it. What is only a bound (cut
//! strings), what only some zones know and what had to be cast is inexact or absent.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, UInt8Array};
use arrow::compute::{SortOptions, sort_to_indices};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Result, ScalarValue, Statistics};

use super::cache::load_zones;
use super::driver::{StoredFile, external};
use super::schema::widens;
use crate::file::{FileMeta, MAX_EXACT, MIN_EXACT, ZoneColumn, small_floats};

/// Tables with more columns than this get counts only: their zone maps would be much to read.
const MOST_COLUMNS: usize = 512;

/// Statistics of a file for the columns of a table.
pub(crate) async fn of_file(
    stored: &StoredFile,
    meta: &Arc<FileMeta>,
    table: &SchemaRef,
) -> Result<Statistics> {
    let schema = meta.schema().map_err(external)?;
    let mut statistics = Statistics::new_unknown(table);
    statistics.num_rows = Precision::Exact(meta.rows() as usize);
    let places: Vec<Option<usize>> = table
        .fields()
        .iter()
        .map(|field| schema.index_of(field.name()).ok())
        .collect();
    let wanted: Vec<usize> = places.iter().flatten().copied().collect();
    let zones = match wanted.len() <= MOST_COLUMNS {
        true => Some(load_zones(stored, meta, &wanted).await?),
        false => None,
    };
    let mut decoded = 0u64;
    let mut maps = zones.iter().flat_map(|z| z.columns.iter());
    for (field, (place, known)) in table
        .fields()
        .iter()
        .zip(places.iter().zip(&mut statistics.column_statistics))
    {
        let Some(place) = *place else {
            continue;
        };
        let column = meta.column(meta.shown()[place]).map_err(external)?;
        let bytes: u64 = column.chunks.iter().map(|c| c.decoded_bytes).sum();
        decoded = decoded.saturating_add(bytes);
        known.byte_size = Precision::Inexact(bytes as usize);
        known.null_count = Precision::Exact(column.null_count as usize);
        let map = maps.next();
        // Of values that only readers derive nobody counted the nulls.
        if matches!(map, Some(None)) && column.field.is_nullable() {
            known.null_count = Precision::Absent;
        }
        if let Some(Some(map)) = map
            && !small_floats::is_small(&column.field)
        {
            let rows_of = |zone: usize| {
                let start = zone as u64 * meta.zone_rows();
                meta.zone_rows().min(meta.rows().saturating_sub(start))
            };
            let all_null = |zone: usize| map.null_count.value(zone) == rows_of(zone);
            bounds(
                map,
                known,
                column.field.data_type(),
                field.data_type(),
                &all_null,
            )?;
        }
    }
    statistics.total_byte_size = Precision::Inexact(decoded as usize);
    Ok(statistics)
}

fn bounds(
    map: &ZoneColumn,
    known: &mut ColumnStatistics,
    stored: &DataType,
    wanted: &DataType,
    all_null: &dyn Fn(usize) -> bool,
) -> Result<()> {
    let Some((min, max)) = &map.bounds else {
        return Ok(());
    };
    if !(stored == wanted || widens(stored, wanted)) {
        return Ok(());
    }
    // Aggregates answer in the type of a dictionary's values.
    let exact = !matches!(wanted, DataType::Dictionary(_, _));
    // A zone that has values but no bounds could hold anything.
    if (0..min.len()).any(|z| (min.is_null(z) || max.is_null(z)) && !all_null(z)) {
        return Ok(());
    }
    let bound = |values: &ArrayRef, descending, flag| -> Result<Precision<ScalarValue>> {
        let Some(zone) = extreme(values, descending)? else {
            return Ok(Precision::Absent);
        };
        let value = ScalarValue::try_from_array(values, zone)?.cast_to(wanted)?;
        Ok(
            match exact && every_bound_is_exact(&map.flags, values, flag) {
                true => Precision::Exact(value),
                false => Precision::Inexact(value),
            },
        )
    };
    known.min_value = bound(min, false, MIN_EXACT)?;
    known.max_value = bound(max, true, MAX_EXACT)?;
    Ok(())
}

fn every_bound_is_exact(flags: &UInt8Array, values: &ArrayRef, flag: u8) -> bool {
    (0..values.len()).all(|z| values.is_null(z) || flags.value(z) & flag != 0)
}

/// Position of the smallest or largest value.
fn extreme(values: &ArrayRef, descending: bool) -> Result<Option<usize>> {
    let options = SortOptions {
        descending,
        nulls_first: false,
    };
    let first = sort_to_indices(values, Some(options), Some(1))?;
    let first = first.values().first().map(|&i| i as usize);
    Ok(first.filter(|&i| values.is_valid(i)))
}
