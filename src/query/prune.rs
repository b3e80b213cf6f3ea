//! Zones that a filter excludes.
//!
//! The filter as it stands when a file is opened decides which rows are asked for at all. What other
//! operators tighten while the scan runs (the threshold of a top-k, the keys of a join's other side)
//! is looked at again before each zone is read.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, BooleanArray, UInt64Array};
use arrow::compute::prep_null_mask_filter;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::cast::as_boolean_array;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, DataFusionError, ScalarValue};
use datafusion::physical_expr::{DynamicFilterTracking, PhysicalExpr};
use datafusion::physical_plan::metrics::{Count, PruningMetrics};
use datafusion_pruning::build_pruning_predicate;

use super::fileplan::ColumnFilter;
use super::monotone::keeping_order;
use super::needles::needles;
use crate::encoding::Needles;
use crate::error::Error;
use crate::file::{Predicate, ROW_ID, Zones, small_floats};

/// What is known of the values in a range of zones.
#[derive(Debug)]
pub(crate) struct ZoneBounds {
    first: u64,
    count: usize,
    columns: HashMap<String, Bounds>,
    rows: ArrayRef,
}

#[derive(Debug)]
struct Bounds {
    min_max: Option<(ArrayRef, ArrayRef)>,
    null_count: ArrayRef,
}

impl ZoneBounds {
    /// The bounds of some columns of `schema`, loaded in that order; `row_ids` says that its last
    /// column is the row number, which a stored column of that name is not.
    pub(crate) fn new(
        zones: &Zones,
        columns: &[usize],
        schema: &SchemaRef,
        range: Range<u64>,
        row_ids: bool,
    ) -> Self {
        let (first, count) = (range.start as usize, (range.end - range.start) as usize);
        let start_of = |zone: u64| (zone * zones.zone_rows).min(zones.rows);
        let mut known = HashMap::new();
        for (&column, zone_map) in columns.iter().zip(&zones.columns) {
            if let Some(map) = zone_map {
                let bounds = Bounds {
                    min_max: map
                        .bounds
                        .as_ref()
                        .filter(|_| !small_floats::is_small(schema.field(column)))
                        .map(|(min, max)| (min.slice(first, count), max.slice(first, count))),
                    null_count: Arc::new(map.null_count.slice(first, count)),
                };
                known.insert(schema.field(column).name().clone(), bounds);
            }
        }
        if row_ids {
            let min = UInt64Array::from_iter_values(range.clone().map(start_of));
            let max = UInt64Array::from_iter_values(
                range.clone().map(|z| start_of(z + 1).saturating_sub(1)),
            );
            let bounds = Bounds {
                min_max: Some((Arc::new(min), Arc::new(max))),
                null_count: Arc::new(UInt64Array::from(vec![0; count])),
            };
            known.insert(ROW_ID.to_owned(), bounds);
        }
        let rows = range.map(|z| start_of(z + 1) - start_of(z));
        Self {
            first: first as u64,
            count,
            columns: known,
            rows: Arc::new(UInt64Array::from_iter_values(rows)),
        }
    }

    /// Which zones may hold rows that pass; all of them if the filter says nothing about bounds.
    pub(crate) fn prune(
        &self,
        filter: &Arc<dyn PhysicalExpr>,
        schema: &SchemaRef,
        errors: &Count,
    ) -> Vec<bool> {
        let all = || vec![true; self.count];
        let Some(filter) = keeping_order(filter, schema) else {
            return all();
        };
        let Some(predicate) = build_pruning_predicate(filter, schema, errors) else {
            return all();
        };
        predicate.prune(self).unwrap_or_else(|_| {
            errors.add(1);
            all()
        })
    }

    /// The zones from the one with the best bound of a column to the one with the worst; those
    /// without bounds at the end.
    pub(crate) fn best_first(&self, column: &str, descending: bool) -> Option<Vec<u64>> {
        let (min, max) = self.columns.get(column)?.min_max.as_ref()?;
        let options = arrow::compute::SortOptions {
            descending,
            nulls_first: false,
        };
        let bound = if descending { max } else { min };
        let order = arrow::compute::sort_to_indices(bound, Some(options), None).ok()?;
        Some(
            order
                .values()
                .iter()
                .map(|&i| self.first + u64::from(i))
                .collect(),
        )
    }
}

impl PruningStatistics for ZoneBounds {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        let (min, _) = self.columns.get(&column.name)?.min_max.as_ref()?;
        Some(Arc::clone(min))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        let (_, max) = self.columns.get(&column.name)?.min_max.as_ref()?;
        Some(Arc::clone(max))
    }

    fn num_containers(&self) -> usize {
        self.count
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        Some(Arc::clone(&self.columns.get(&column.name)?.null_count))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::clone(&self.rows))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

/// A filter that changes while the scan runs, against the zones of a file.
#[derive(Debug)]
pub(crate) struct DynamicPruner {
    filter: Arc<dyn PhysicalExpr>,
    schema: SchemaRef,
    bounds: Arc<ZoneBounds>,
    zones: PruningMetrics,
    errors: Count,
    state: Mutex<PrunerState>,
}

#[derive(Debug)]
struct PrunerState {
    tracking: DynamicFilterTracking,
    may_match: Option<Vec<bool>>,
}

impl DynamicPruner {
    pub(crate) fn new(
        filter: Arc<dyn PhysicalExpr>,
        schema: SchemaRef,
        bounds: Arc<ZoneBounds>,
        zones: PruningMetrics,
        errors: Count,
    ) -> Self {
        let state = PrunerState {
            tracking: DynamicFilterTracking::classify(&filter),
            may_match: None,
        };
        Self {
            filter,
            schema,
            bounds,
            zones,
            errors,
            state: Mutex::new(state),
        }
    }

    fn may_match(&self, zone: u64) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Asked first, so that no change between here and the snapshot is missed.
        let changed = state.tracking.watcher().is_some_and(|w| w.changed());
        if changed || state.may_match.is_none() {
            let answers = self.bounds.prune(&self.filter, &self.schema, &self.errors);
            state.may_match = Some(answers);
        }
        let at = zone.checked_sub(self.bounds.first);
        let known = state.may_match.as_ref().zip(at);
        let may_match = known
            .and_then(|(answers, at)| answers.get(at as usize).copied())
            .unwrap_or(true);
        match may_match {
            true => self.zones.add_matched(1),
            false => self.zones.add_pruned(1),
        }
        may_match
    }
}

/// The filter as the reader asks for it.
#[derive(Debug)]
pub(crate) struct RowFilter {
    filter: ColumnFilter,
    needles: Vec<(usize, Needles)>,
    pruner: Option<DynamicPruner>,
    /// What DataFusion said when it failed; the reader's error cannot carry it.
    failure: Arc<Mutex<Option<DataFusionError>>>,
}

impl RowFilter {
    pub(crate) fn new(filter: ColumnFilter, pruner: Option<DynamicPruner>) -> Self {
        Self {
            needles: needles(&filter),
            filter,
            pruner,
            failure: Arc::default(),
        }
    }

    /// Where an error of the filter is to be found.
    pub(crate) fn failure(&self) -> Arc<Mutex<Option<DataFusionError>>> {
        Arc::clone(&self.failure)
    }
}

impl Predicate for RowFilter {
    fn columns(&self) -> &[usize] {
        &self.filter.columns
    }

    fn may_match(&self, zone: u64) -> bool {
        self.pruner.as_ref().is_none_or(|p| p.may_match(zone))
    }

    fn needles(&self) -> &[(usize, Needles)] {
        &self.needles
    }

    fn evaluate(&self, batch: &RecordBatch) -> crate::Result<BooleanArray> {
        let schema = &self.filter.schema;
        let batch = small_floats::converted(
            batch,
            &batch.schema(),
            &small_floats::shown(&batch.schema()),
        )?;
        let batch = batch.with_schema(Arc::clone(schema))?;
        evaluate(&self.filter.expr, &batch).map_err(|error| {
            let message = error.to_string();
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            *failure = Some(error);
            Error::invalid(message)
        })
    }
}

/// A condition on each row of a batch; null is false.
pub(crate) fn evaluate(
    expr: &Arc<dyn PhysicalExpr>,
    batch: &RecordBatch,
) -> datafusion::common::Result<BooleanArray> {
    let values = expr.evaluate(batch)?.into_array(batch.num_rows())?;
    let mask = as_boolean_array(&values)?;
    Ok(match mask.null_count() {
        0 => mask.clone(),
        _ => prep_null_mask_filter(mask),
    })
}
