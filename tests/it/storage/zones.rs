//! Zone maps tell the truth, and a scan that trusts them loses nothing.

use std::sync::Arc;

use arrow::array::*;
use arrow::compute;
use arrow::datatypes::*;
use arrow::record_batch::RecordBatch;
use pilaster::encoding::{CompareOp, Profile};
use pilaster::file::read::{MAX_EXACT, MIN_EXACT};
use pilaster::file::{File, Predicate, ScanRequest, Zones};

use super::tables::stored;
use crate::generate::{Rng, logical};
use crate::golden::same_table;

/// Types whose zones may have bounds.
fn ordered_types() -> Vec<DataType> {
    let mut types = logical::flat_types();
    types.retain(|t| !matches!(t, DataType::Null | DataType::Interval(_)));
    types
}

fn column_of(data_type: &DataType, rows: usize, seed: u64) -> RecordBatch {
    let mut rng = Rng::new(seed);
    let nulls = [0.0, 0.1, 0.95][seed as usize % 3];
    let array = logical::array(data_type, rows, nulls, &mut rng);
    let field = Field::new("v", data_type.clone(), true);
    RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![array]).unwrap()
}

#[test]
fn bounds_hold_and_exact_ones_are_values() {
    for (seed, data_type) in ordered_types().into_iter().enumerate() {
        let table = column_of(&data_type, 17_000, seed as u64);
        let file = File::from_bytes("z", stored(&table, Profile::Balanced, 17_000)).unwrap();
        let zones = file.zones(&[0]).unwrap();
        let Some(column) = &zones.columns[0] else {
            continue;
        };
        for zone in 0..zones.count() {
            let from = zone * zones.zone_rows as usize;
            let len = (zones.zone_rows as usize).min(17_000 - from);
            let values = table.column(0).slice(from, len);
            let nulls = values.logical_null_count() as u64;
            assert_eq!(column.null_count.value(zone), nulls, "nulls of {data_type}");
            let Some((min, max)) = &column.bounds else {
                continue;
            };
            let flags = column.flags.value(zone);
            check(&values, min, zone, CompareOp::Ge, flags & MIN_EXACT != 0);
            check(&values, max, zone, CompareOp::Le, flags & MAX_EXACT != 0);
        }
    }
}

/// Every value compares with the bound, and an exact bound is one of them.
fn check(values: &ArrayRef, bounds: &ArrayRef, zone: usize, op: CompareOp, exact: bool) {
    let data_type = values.data_type();
    let bound = bounds.slice(zone, 1);
    if bound.logical_null_count() > 0 {
        return;
    }
    let plain = |array: &ArrayRef| match data_type {
        DataType::Dictionary(_, inner) => compute::cast(array, inner).unwrap(),
        _ => Arc::clone(array),
    };
    let (values, bound) = (plain(values), Scalar::new(plain(&bound)));
    let holds = op.apply(&values, &bound).unwrap();
    let broken = holds.iter().filter(|h| *h == Some(false)).count();
    assert_eq!(broken, 0, "{op:?} of {data_type} in zone {zone}: {bound:?}");
    if exact {
        let equal = CompareOp::Eq.apply(&values, &bound).unwrap();
        assert!(
            equal.iter().any(|e| e == Some(true)),
            "exact {op:?} of {data_type}"
        );
    }
}

/// Keeps the rows that compare with a value; a zone is asked by its bounds.
#[derive(Debug)]
struct Compared {
    op: CompareOp,
    value: Scalar<ArrayRef>,
    zones: Zones,
}

impl Predicate for Compared {
    fn columns(&self) -> &[usize] {
        &[0]
    }

    fn may_match(&self, zone: u64) -> bool {
        let zone = zone as usize;
        let Some((min, max)) = self.zones.columns[0]
            .as_ref()
            .and_then(|c| c.bounds.as_ref())
        else {
            return true;
        };
        let may = |bound: &ArrayRef, op: CompareOp| {
            let answer = op.apply(&bound.slice(zone, 1), &self.value).unwrap();
            answer.is_null(0) || answer.value(0)
        };
        match self.op {
            CompareOp::Lt | CompareOp::Le => may(min, self.op),
            CompareOp::Gt | CompareOp::Ge => may(max, self.op),
            CompareOp::Eq => may(min, CompareOp::Le) && may(max, CompareOp::Ge),
            CompareOp::Ne => true,
        }
    }

    fn evaluate(&self, batch: &RecordBatch) -> pilaster::Result<BooleanArray> {
        self.op.apply(batch.column(0), &self.value)
    }
}

#[test]
fn a_scan_that_prunes_by_zones_gives_what_filtering_gives() {
    use CompareOp::*;
    let mut pruned = 0;
    for (seed, data_type) in ordered_types().into_iter().enumerate() {
        if matches!(data_type, DataType::Dictionary(..)) {
            continue;
        }
        let table = column_of(&data_type, 17_000, seed as u64);
        let file = File::from_bytes("z", stored(&table, Profile::Balanced, 17_000)).unwrap();
        let row = table.column(0).slice(8_000 + seed * 13, 1);
        for op in [Eq, Lt, Ge] {
            let value = Scalar::new(Arc::clone(&row));
            let keep = op.apply(table.column(0), &value).unwrap();
            let keep = compute::prep_null_mask_filter(&keep);
            let expected = compute::filter_record_batch(&table, &keep).unwrap();
            let predicate = Compared {
                op,
                value,
                zones: file.zones(&[0]).unwrap(),
            };
            let request = ScanRequest {
                predicate: Some(Arc::new(predicate)),
                ..ScanRequest::columns([0])
            };
            let mut scan = file.scan(request).unwrap();
            let batches: Vec<_> = scan.by_ref().map(Result::unwrap).collect();
            pruned += scan.metrics().zones_pruned;
            let read = compute::concat_batches(&table.schema(), &batches).unwrap();
            same_table(&expected, &read).unwrap_or_else(|e| panic!("{op:?} {data_type}: {e}"));
        }
    }
    assert!(pruned > 10, "only {pruned} zones were pruned");
}
