//! Casts that stay where they are.

use std::any::Any;
use std::hash::Hash;
use std::sync::Arc;

use arrow::compute::CastOptions;
use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use arrow::util::display::FormatOptions;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use crate::query::monotone;

/// Whether DataFusion would move a cast to the other side of a comparison, and another answer would
/// come out. `attempt` is `TRY_CAST`.
pub(super) fn needed(from: &DataType, to: &DataType, attempt: bool) -> bool {
    use DataType::*;
    let values = |t: &DataType| match t {
        Dictionary(_, values) => values.as_ref().clone(),
        other => other.clone(),
    };
    let (from, to) = (values(from), values(to));
    match (&from, &to) {
        _ if from == to => false,
        // Constants are cut, or leave the range; with a zone on one side only, the clock that they
        // are read on changes.
        (Timestamp(a, x), Timestamp(b, y)) => x.is_some() != y.is_some() || ticks(a) < ticks(b),
        // Rounding is many to one, and what does not fit becomes null.
        (
            Decimal32(_, _) | Decimal64(_, _) | Decimal128(_, _) | Decimal256(_, _),
            Decimal32(_, _) | Decimal64(_, _) | Decimal128(_, _) | Decimal256(_, _),
        ) => {
            let (Some((p, s)), Some((q, t))) = (digits(&from), digits(&to)) else {
                return true;
            };
            t < s || (attempt && i32::from(q) - i32::from(t) < i32::from(p) - i32::from(s))
        }
        (Decimal32(_, _) | Decimal64(_, _) | Decimal128(_, _) | Decimal256(_, _), b) => {
            b.is_integer()
        }
        (a, b) if a.is_integer() && b.is_integer() => attempt && !holds(a, b),
        (a, b) if a.is_integer() && b.is_decimal() => attempt,
        // Instants and days as numbers: all of 64 bits, or null.
        (Timestamp(..) | Date64, b) if b.is_integer() => attempt && *b != Int64,
        (Date32, b) if b.is_integer() => attempt && !matches!(b, Int32 | Int64),
        _ => false,
    }
}

/// Whether DataFusion would look at bounds of a column through a cast that does not keep the order of its
/// values: it leaves out row groups of Parquet by that.
pub(super) fn reorders(from: &DataType, to: &DataType) -> bool {
    let bounded = |t: &DataType| {
        let values = match t {
            DataType::Dictionary(_, values) => values.as_ref(),
            other => other,
        };
        values.is_numeric() || values.is_temporal() || *values == DataType::Boolean
    };
    bounded(from) && bounded(to) && !monotone::ordered(from, to)
}

/// Precision and scale of a decimal.
fn digits(data_type: &DataType) -> Option<(u8, i8)> {
    match data_type {
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => Some((*p, *s)),
        _ => None,
    }
}

/// Whether an integer type has all values of another.
fn holds(from: &DataType, to: &DataType) -> bool {
    let size = |t: &DataType| t.primitive_width().unwrap_or(0);
    match (from.is_signed_integer(), to.is_signed_integer()) {
        (true, false) => false,
        (false, true) => size(to) > size(from),
        _ => size(to) >= size(from),
    }
}

/// Ticks of a unit in a second.
pub(super) fn ticks(unit: &TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// `CAST` or `TRY_CAST` as a function, which no rule of DataFusion looks through.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Guarded {
    to: DataType,
    attempt: bool,
    signature: Signature,
}

/// The call on an expression.
pub(super) fn call(expr: Expr, to: DataType, attempt: bool) -> Expr {
    let guarded = Guarded {
        to,
        attempt,
        signature: Signature::any(1, Volatility::Immutable),
    };
    let function = Arc::new(ScalarUDF::new_from_impl(guarded));
    Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![expr]))
}

/// The expression inside of a guarded cast, and the type that it is cast to.
pub(super) fn inside(expr: &Expr) -> Option<(&Expr, &DataType)> {
    let Expr::ScalarFunction(ScalarFunction { func, args }) = expr else {
        return None;
    };
    let guarded = (func.inner().as_ref() as &dyn Any).downcast_ref::<Guarded>()?;
    Some((args.first()?, &guarded.to))
}

impl ScalarUDFImpl for Guarded {
    fn name(&self) -> &str {
        match self.attempt {
            true => "try_cast_exact",
            false => "cast_exact",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.to.clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let nullable = self.attempt || args.arg_fields.iter().any(|f| f.is_nullable());
        Ok(Arc::new(Field::new(self.name(), self.to.clone(), nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = args.args.as_slice() else {
            return exec_err!("{} takes one value", self.name());
        };
        let options = CastOptions {
            safe: self.attempt,
            format_options: FormatOptions::default(),
        };
        value.cast_to(&self.to, Some(&options))
    }
}
