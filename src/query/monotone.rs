//! Which conditions may be decided by the bounds of a column.
//!
//! DataFusion casts the bounds where a condition casts the column. That is right only for casts that keep
//! the order of values: the times of day between 22:00 and 06:00 of the next day do not lie between 22:00
//! and 06:00, nor are the truths of -1, 0 and 1 in order.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::physical_expr::expressions::{CastExpr, NegativeExpr, TryCastExpr};
use datafusion::physical_expr::{PhysicalExpr, conjunction_opt, split_conjunction};
use datafusion::physical_expr_common::physical_expr::snapshot_physical_expr;

/// The conjuncts, as they stand now, whose casts all keep the order of values.
pub(crate) fn keeping_order(
    filter: &Arc<dyn PhysicalExpr>,
    schema: &SchemaRef,
) -> Option<Arc<dyn PhysicalExpr>> {
    let now = snapshot_physical_expr(Arc::clone(filter)).ok()?;
    let kept = split_conjunction(&now).into_iter();
    conjunction_opt(kept.filter(|c| keeps_order(c, schema)).cloned())
}

fn keeps_order(expr: &Arc<dyn PhysicalExpr>, schema: &SchemaRef) -> bool {
    let mut keeps = true;
    let seen = expr.apply(|e| {
        let cast = match (
            e.downcast_ref::<CastExpr>(),
            e.downcast_ref::<TryCastExpr>(),
        ) {
            (Some(cast), _) => Some((cast.expr(), cast.cast_type())),
            (_, Some(cast)) => Some((cast.expr(), cast.cast_type())),
            _ => None,
        };
        if let Some((inner, to)) = cast {
            keeps &= ordered(&inner.data_type(schema)?, to);
        }
        // The negative of the smallest integer is itself.
        keeps &= e.downcast_ref::<NegativeExpr>().is_none();
        Ok(match keeps {
            true => TreeNodeRecursion::Continue,
            false => TreeNodeRecursion::Stop,
        })
    });
    keeps && seen.is_ok()
}

/// Whether a cast never turns a smaller value into a larger one than it makes of a larger value.
pub(super) fn ordered(from: &DataType, to: &DataType) -> bool {
    use DataType::*;
    let number = |t: &DataType| t.is_numeric();
    match (from, to) {
        (Dictionary(_, from), to) => ordered(from, to),
        (from, Dictionary(_, to)) => ordered(from, to),
        _ if from == to => true,
        (Utf8 | LargeUtf8 | Utf8View, Utf8 | LargeUtf8 | Utf8View) => true,
        (Binary | LargeBinary | BinaryView, Binary | LargeBinary | BinaryView) => true,
        (Boolean, to) => number(to),
        (Date32 | Date64, Date32 | Date64) => true,
        (Time32(_) | Time64(_), Time32(_) | Time64(_)) => true,
        (Timestamp(_, a), Timestamp(_, b)) => {
            // Clocks are put back once a year.
            a.is_some() == b.is_some() || [a, b].into_iter().flatten().all(|z| is_fixed(z))
        }
        (Timestamp(_, zone), Date32 | Date64) | (Date32 | Date64, Timestamp(_, zone)) => {
            zone.as_ref().is_none_or(|z| is_fixed(z))
        }
        (Timestamp(..) | Date32 | Date64 | Time32(_) | Time64(_) | Duration(_), to) => {
            to.is_integer()
        }
        (from, Timestamp(..) | Date32 | Date64 | Time32(_) | Time64(_) | Duration(_)) => {
            from.is_integer()
        }
        (from, to) => number(from) && number(to),
    }
}

/// Whether a zone is always as far from UTC.
fn is_fixed(zone: &str) -> bool {
    zone.starts_with(['+', '-']) || zone == "UTC"
}
