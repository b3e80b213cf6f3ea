//! Distances in filters: rows that bounds on codes exclude before their vectors are decoded.
//!
//! `cosine_distance`, `array_distance` and `inner_product` of a column and a constant vector are
//! recognised in conjuncts of the filter: those that the query has, and those by which a top-k says how
//! near a row must be by now. For the reader the call becomes a column of which it knows bounds, row by
//! row. What the bounds leave is evaluated as it stands, on decoded vectors.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, ListArray, UInt64Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute;
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::physical_expr::expressions::{CastExpr, Column as ColumnExpr, Literal};
use datafusion::physical_expr::{DynamicFilterTracking, PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_expr_common::physical_expr::snapshot_physical_expr;
use datafusion::physical_plan::metrics::Count;
use datafusion_pruning::{PruningPredicate, build_pruning_predicate};

use crate::encoding::distance::{Distances, Metric, Query};
use crate::file::{Near, small_floats};

/// Name of the column that stands for a call.
const BOUND: &str = "_distance_bound";

/// A call of a distance function on a column of vectors and a constant.
#[derive(Debug, Clone)]
pub(crate) struct DistanceCall {
    /// Column of the file.
    column: usize,
    /// The name that SQL knows the function by.
    function: String,
    values: Vec<f64>,
}

impl DistanceCall {
    /// If an expression is one, on columns of `schema`.
    pub(crate) fn of(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Option<Self> {
        let call = expr.downcast_ref::<ScalarFunctionExpr>()?;
        metric(call.fun().name())?;
        let [a, b] = call.args() else { return None };
        let (column, constant) = match (column(a), column(b)) {
            (Some(column), None) => (column, b),
            (None, Some(column)) => (column, a),
            _ => return None,
        };
        let DataType::FixedSizeList(item, size) = schema.fields().get(column)?.data_type() else {
            return None;
        };
        let values = constant_vector(constant)?;
        let singles = *item.data_type() == DataType::Float32 && !small_floats::is_small(item);
        let fits = singles && values.len() == *size as usize;
        fits.then(|| Self {
            column,
            function: call.fun().name().to_owned(),
            values,
        })
    }

    /// The first call in an expression.
    pub(crate) fn in_expr(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Option<Self> {
        let mut found = None;
        let _ = expr.apply(|e| {
            found = Self::of(e, schema);
            Ok(match found {
                Some(_) => TreeNodeRecursion::Stop,
                None => TreeNodeRecursion::Continue,
            })
        });
        found
    }

    /// Whether two calls are the same.
    pub(crate) fn same(&self, other: &Self) -> bool {
        let bits = |v: &[f64]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        self.column == other.column
            && self.function == other.function
            && bits(&self.values) == bits(&other.values)
    }
}

/// The function and its column as a plan shows them.
pub(crate) fn described(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Option<String> {
    let call = DistanceCall::of(expr, schema)?;
    Some(format!(
        "{}({})",
        call.function,
        schema.field(call.column).name()
    ))
}

fn metric(function: &str) -> Option<Metric> {
    match function {
        "cosine_distance" => Some(Metric::Cosine),
        "array_distance" => Some(Metric::L2),
        "inner_product" => Some(Metric::InnerProduct),
        _ => None,
    }
}

/// The column under casts.
fn column(expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    if let Some(cast) = expr.downcast_ref::<CastExpr>() {
        return column(cast.expr());
    }
    Some(expr.downcast_ref::<ColumnExpr>()?.index())
}

fn constant_vector(expr: &Arc<dyn PhysicalExpr>) -> Option<Vec<f64>> {
    if let Some(cast) = expr.downcast_ref::<CastExpr>() {
        return constant_vector(cast.expr());
    }
    let list: ArrayRef = match expr.downcast_ref::<Literal>()?.value() {
        ScalarValue::List(list) => Arc::clone(list) as _,
        ScalarValue::LargeList(list) => Arc::clone(list) as _,
        ScalarValue::FixedSizeList(list) => Arc::clone(list) as _,
        _ => return None,
    };
    let item = Arc::new(Field::new("item", DataType::Float64, true));
    let list = compute::cast(&list, &DataType::List(item)).ok()?;
    let list: &ListArray = list.as_list_opt()?;
    if list.len() != 1 || list.is_null(0) {
        return None;
    }
    let values = list.value(0);
    let values = values.as_primitive_opt::<Float64Type>()?;
    (values.null_count() == 0).then(|| values.values().to_vec())
}

/// Conjuncts with the same distance call, as the reader asks for them.
#[derive(Debug)]
pub(crate) struct NearFilter {
    call: DistanceCall,
    query: Query,
    filter: Arc<dyn PhysicalExpr>,
    /// The file's columns.
    file: SchemaRef,
    /// And the one that stands for the call.
    schema: SchemaRef,
    errors: Count,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    tracking: DynamicFilterTracking,
    built: bool,
    predicate: Option<Arc<PruningPredicate>>,
}

impl NearFilter {
    /// `filter` is the conjunction of those conjuncts of a filter on columns of `schema` that hold the
    /// call. `None` if the vector of the call is no query.
    pub(crate) fn new(
        call: DistanceCall,
        filter: Arc<dyn PhysicalExpr>,
        file: &SchemaRef,
        errors: Count,
    ) -> Option<Self> {
        let query = Query::of_doubles(metric(&call.function)?, &call.values).ok()?;
        let mut fields = file.fields().to_vec();
        fields.push(Arc::new(Field::new(BOUND, DataType::Float64, true)));
        let state = State {
            tracking: DynamicFilterTracking::classify(&filter),
            built: false,
            predicate: None,
        };
        Some(Self {
            call,
            query,
            filter,
            file: Arc::clone(file),
            schema: Arc::new(Schema::new(fields)),
            errors,
            state: Mutex::new(state),
        })
    }

    /// The filter as it stands, with a column in place of the call.
    fn snapshot(&self) -> Result<Arc<dyn PhysicalExpr>> {
        let filter = snapshot_physical_expr(Arc::clone(&self.filter))?;
        filter
            .transform_down(|expr| {
                let known = DistanceCall::of(&expr, &self.file);
                Ok(match known.is_some_and(|call| call.same(&self.call)) {
                    true => {
                        let bound = ColumnExpr::new(BOUND, self.file.fields().len());
                        Transformed::yes(Arc::new(bound) as Arc<dyn PhysicalExpr>)
                    }
                    false => Transformed::no(expr),
                })
            })
            .data()
    }

    fn predicate(&self) -> Option<Arc<PruningPredicate>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Asked first, so that no change between here and the snapshot is missed.
        let changed = state.tracking.watcher().is_some_and(|w| w.changed());
        if changed || !state.built {
            state.built = true;
            state.predicate = match self.snapshot() {
                Ok(filter) => build_pruning_predicate(filter, &self.schema, &self.errors),
                Err(_) => {
                    self.errors.add(1);
                    None
                }
            };
        }
        state.predicate.clone()
    }
}

impl Near for NearFilter {
    fn column(&self) -> usize {
        self.call.column
    }

    fn query(&self) -> &Query {
        &self.query
    }

    fn keep(&self, distances: &Distances) -> crate::Result<BooleanBuffer> {
        let all = || BooleanBuffer::new_set(distances.len());
        let Some(predicate) = self.predicate() else {
            return Ok(all());
        };
        let bounds = RowBounds::new(distances, self.query.metric());
        Ok(match predicate.prune(&bounds) {
            Ok(keep) => keep.into_iter().collect(),
            Err(_) => {
                self.errors.add(1);
                all()
            }
        })
    }
}

/// Bounds of each row's distance, as if each row were a container.
struct RowBounds {
    lower: ArrayRef,
    upper: ArrayRef,
    null_counts: ArrayRef,
    row_counts: ArrayRef,
}

impl RowBounds {
    fn new(distances: &Distances, metric: Metric) -> Self {
        let valid = |i: usize| distances.nulls.as_ref().is_none_or(|n| n.is_valid(i));
        let bound = |bounds: &[f32], sign: f64| -> ArrayRef {
            let known =
                |(i, v): (usize, &f32)| (!v.is_nan() && valid(i)).then(|| sign * f64::from(*v));
            Arc::new(
                bounds
                    .iter()
                    .enumerate()
                    .map(known)
                    .collect::<Float64Array>(),
            )
        };
        // The function is the inner product itself, our distance its negative.
        let (lower, upper) = match metric {
            Metric::InnerProduct => (bound(&distances.upper, -1.0), bound(&distances.lower, -1.0)),
            _ => (bound(&distances.lower, 1.0), bound(&distances.upper, 1.0)),
        };
        // Of what is not known it is not known either whether the function gives null.
        let null_count = |i: usize| match (valid(i), lower.is_valid(i)) {
            (false, _) => Some(1),
            (true, true) => Some(0),
            (true, false) => None,
        };
        let rows = distances.len();
        Self {
            null_counts: Arc::new((0..rows).map(null_count).collect::<UInt64Array>()),
            row_counts: Arc::new(UInt64Array::from(vec![1; rows])),
            lower,
            upper,
        }
    }
}

impl PruningStatistics for RowBounds {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        (column.name == BOUND).then(|| Arc::clone(&self.lower))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        (column.name == BOUND).then(|| Arc::clone(&self.upper))
    }

    fn num_containers(&self) -> usize {
        self.row_counts.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        (column.name == BOUND).then(|| Arc::clone(&self.null_counts))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::clone(&self.row_counts))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
