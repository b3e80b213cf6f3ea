//! Constants of a coarse type below, at or above which the same values lie as by a finer constant.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Cast, InList};
use datafusion::logical_expr::{Between, BinaryExpr, Expr, ExprSchemable, Operator};

use super::{guard, truth};

/// Seconds of a day.
const DAY: i128 = 86_400;
/// Ticks of the finest unit in a second.
const NANOS: i128 = 1_000_000_000;

pub(super) fn is_comparison(op: Operator) -> bool {
    use Operator::*;
    matches!(
        op,
        Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom
    )
}

/// A constant among the values of a coarser type: the largest that is not above it, which need not be a
/// value of the type, and whether it is the constant itself.
struct Place {
    floor: i128,
    exact: bool,
}

/// A column of instants, or of days, under a cast to finer instants.
struct Coarse<'a> {
    column: &'a Expr,
    data_type: DataType,
    /// Nanoseconds of one step of the type.
    step: i128,
}

impl<'a> Coarse<'a> {
    fn of(expr: &'a Expr, schema: &DFSchema) -> Option<Self> {
        let (column, to) = match expr {
            // Days are never moved by others.
            Expr::Cast(Cast { expr, field }) => (expr.as_ref(), field.data_type()),
            _ => guard::inside(expr)?,
        };
        let data_type = column.get_type(schema).ok()?;
        let DataType::Timestamp(fine, fine_zone) = to else {
            return None;
        };
        let step = match &data_type {
            DataType::Timestamp(unit, zone) if zone.is_some() == fine_zone.is_some() => {
                if guard::ticks(unit) >= guard::ticks(fine) {
                    return None;
                }
                NANOS / i128::from(guard::ticks(unit))
            }
            DataType::Date32 if fine_zone.is_none() => DAY * NANOS,
            _ => return None,
        };
        Some(Self {
            column,
            data_type,
            step,
        })
    }

    fn place(&self, constant: &ScalarValue) -> Option<Place> {
        let (value, unit) = match constant {
            ScalarValue::TimestampSecond(Some(v), _) => (*v, TimeUnit::Second),
            ScalarValue::TimestampMillisecond(Some(v), _) => (*v, TimeUnit::Millisecond),
            ScalarValue::TimestampMicrosecond(Some(v), _) => (*v, TimeUnit::Microsecond),
            ScalarValue::TimestampNanosecond(Some(v), _) => (*v, TimeUnit::Nanosecond),
            _ => return None,
        };
        let nanos = i128::from(value) * (NANOS / i128::from(guard::ticks(&unit)));
        Some(Place {
            floor: nanos.div_euclid(self.step),
            exact: nanos.rem_euclid(self.step) == 0,
        })
    }

    /// A value of the column's type; `None` if it has none that large.
    fn value(&self, steps: i128) -> Option<ScalarValue> {
        let ticks = i64::try_from(steps).ok();
        Some(match &self.data_type {
            DataType::Timestamp(TimeUnit::Second, zone) => {
                ScalarValue::TimestampSecond(Some(ticks?), zone.clone())
            }
            DataType::Timestamp(TimeUnit::Millisecond, zone) => {
                ScalarValue::TimestampMillisecond(Some(ticks?), zone.clone())
            }
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                ScalarValue::TimestampMicrosecond(Some(ticks?), zone.clone())
            }
            DataType::Date32 => ScalarValue::Date32(Some(i32::try_from(steps).ok()?)),
            _ => return None,
        })
    }

    fn compare(&self, op: Operator, place: &Place) -> Option<Expr> {
        let value = self.value(place.floor)?;
        let column = || Box::new(self.column.clone());
        // False, or true, except for nulls, whose answer is null.
        let never = || {
            let null = Expr::IsNull(column());
            let null = BinaryExpr::new(Box::new(null), Operator::And, Box::new(truth(None)));
            Expr::BinaryExpr(null)
        };
        let always = || {
            let some = Expr::IsNotNull(column());
            let some = BinaryExpr::new(Box::new(some), Operator::Or, Box::new(truth(None)));
            Expr::BinaryExpr(some)
        };
        let op = match (op, place.exact) {
            (op, true) => op,
            (Operator::Eq, false) => return Some(never()),
            (Operator::NotEq, false) => return Some(always()),
            (Operator::IsDistinctFrom, false) => return Some(truth(Some(true))),
            (Operator::IsNotDistinctFrom, false) => return Some(truth(Some(false))),
            // The constant lies above its floor, and below the next value.
            (Operator::Lt | Operator::LtEq, false) => Operator::LtEq,
            (Operator::Gt | Operator::GtEq, false) => Operator::Gt,
            _ => return None,
        };
        let constant = Expr::Literal(value, None);
        let binary = BinaryExpr::new(column(), op, Box::new(constant));
        Some(Expr::BinaryExpr(binary))
    }

    /// One comparison with a constant. A null on the other side makes all of it null.
    fn with(&self, op: Operator, other: &Expr) -> Option<Expr> {
        match other {
            Expr::Literal(value, _) if !value.is_null() => self.compare(op, &self.place(value)?),
            _ => None,
        }
    }
}

/// Compares columns of coarse types with constants of their own type.
pub(super) fn compare_exactly(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let exact = match &expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(*op) => {
            match (Coarse::of(left, schema), Coarse::of(right, schema)) {
                (Some(coarse), None) => coarse.with(*op, right),
                (None, Some(coarse)) => op.swap().and_then(|op| coarse.with(op, left)),
                _ => None,
            }
        }
        Expr::Between(Between {
            expr,
            negated,
            low,
            high,
        }) => Coarse::of(expr, schema).and_then(|coarse| {
            let low = coarse.with(Operator::GtEq, low)?;
            let high = coarse.with(Operator::LtEq, high)?;
            let both = Expr::BinaryExpr(BinaryExpr::new(
                Box::new(low),
                Operator::And,
                Box::new(high),
            ));
            Some(match negated {
                true => Expr::Not(Box::new(both)),
                false => both,
            })
        }),
        Expr::InList(InList {
            expr,
            list,
            negated,
        }) => Coarse::of(expr, schema).and_then(|coarse| in_list(&coarse, list, *negated)),
        _ => None,
    };
    Ok(match exact {
        Some(exact) => Transformed::yes(exact),
        None => Transformed::no(expr),
    })
}

fn in_list(coarse: &Coarse<'_>, list: &[Expr], negated: bool) -> Option<Expr> {
    let mut kept = Vec::new();
    let mut dropped = None;
    for item in list {
        let Expr::Literal(value, _) = item else {
            return None;
        };
        if value.is_null() {
            let null = ScalarValue::try_from(&coarse.data_type).ok()?;
            kept.push(Expr::Literal(null, None));
            continue;
        }
        let place = coarse.place(value)?;
        match place.exact {
            true => kept.push(Expr::Literal(coarse.value(place.floor)?, None)),
            false => dropped = Some(place),
        }
    }
    match (kept.is_empty(), dropped) {
        (true, Some(place)) if negated => coarse.compare(Operator::NotEq, &place),
        (true, Some(place)) => coarse.compare(Operator::Eq, &place),
        _ => {
            let column = Box::new(coarse.column.clone());
            Some(Expr::InList(InList::new(column, kept, negated)))
        }
    }
}
