//! Comparisons that look at all digits of both sides.
//!
//! DataFusion 55 compares in the type of one side. It reads a text beside a column of whole seconds as
//! whole seconds, and it moves a cast of a column to the constant on the other side, where the constant
//! may be cut (`seconds = '..05.5'` then finds 05) or where the cast is not what it undoes (`TRY_CAST(x
//! AS TINYINT) < 5` then finds -1000). Three rules put that right:
//!
//! 1. [`FineLiterals`], before types are made equal: text beside a date or a time is read with all of its
//!    digits.
//! 2. [`GuardCasts`], after that: casts that cannot be moved without changing an answer become a function
//!    that nobody moves, [`Guarded`].
//! 3. [`CompareExactly`], where constants are known: a guarded column is compared with a constant of its
//!    own type, below, at or above which the same rows lie. So zones are pruned as for other columns.

mod bounds;
mod guard;

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::expr::{Case, Cast, InList, InSubquery, TryCast};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Between, BinaryExpr, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator,
};
use datafusion::optimizer::{AnalyzerRule, ApplyOrder, OptimizerConfig, OptimizerRule};

/// A session's state with the rules.
pub(super) fn with_rules(state: SessionState) -> SessionState {
    let mut analyzers: Vec<Arc<dyn AnalyzerRule + Send + Sync>> = vec![Arc::new(FineLiterals)];
    analyzers.extend(state.analyzer().rules.iter().cloned());
    analyzers.push(Arc::new(GuardCasts));
    // Before anybody takes what two comparisons share out of both.
    let mut optimizers: Vec<Arc<dyn OptimizerRule + Send + Sync>> = Vec::new();
    for rule in state.optimizers() {
        optimizers.push(Arc::clone(rule));
        if rule.name() == "simplify_expressions" {
            optimizers.push(Arc::new(CompareExactly));
        }
    }
    let id = state.session_id().to_owned();
    SessionStateBuilder::new_from_existing(state)
        .with_session_id(id)
        .with_analyzer_rules(analyzers)
        .with_optimizer_rules(optimizers)
        .build()
}

/// Rewrites the expressions of a node, whose names stay.
fn rewrite_expressions(
    plan: LogicalPlan,
    rewrite: &dyn Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>,
) -> Result<Transformed<LogicalPlan>> {
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = &plan {
        let source =
            DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?;
        schema.merge(&source);
    }
    let names = NamePreserver::new(&plan);
    let plan = plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let rewritten = expr.transform_up(|e| rewrite(e, &schema))?;
        Ok(rewritten.update_data(|e| name.restore(e)))
    })?;
    match plan.transformed {
        true => plan.map_data(LogicalPlan::recompute_schema),
        false => Ok(plan),
    }
}

/// See the module.
#[derive(Debug)]
struct FineLiterals;

impl AnalyzerRule for FineLiterals {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten =
            plan.transform_up_with_subqueries(|plan| rewrite_expressions(plan, &fine_literals))?;
        Ok(rewritten.data)
    }

    fn name(&self) -> &str {
        "fine_literals"
    }
}

/// Gives texts that are compared with a time all digits that they have.
fn fine_literals(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    // What has no type yet cannot be helped here: an outer column, or an error that comes later.
    let own = |e: &Expr| e.get_type(schema).ok().filter(|t| finest(t).is_some());
    Ok(match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if bounds::is_comparison(op) => {
            if times_differ([left.as_ref(), &right], schema) {
                let binary = BinaryExpr::new(fine_time(*left), op, fine_time(*right));
                return Ok(Transformed::yes(Expr::BinaryExpr(binary)));
            }
            let (of_left, of_right) = (own(&left), own(&right));
            let (left, a) = fine(*left, of_right.as_ref());
            let (right, b) = fine(*right, of_left.as_ref());
            let binary = BinaryExpr::new(Box::new(left), op, Box::new(right));
            Transformed::new_transformed(Expr::BinaryExpr(binary), a || b)
        }
        Expr::Between(Between {
            expr,
            negated,
            low,
            high,
        }) => {
            if times_differ([expr.as_ref(), &low, &high], schema) {
                let (low, high) = (fine_time(*low), fine_time(*high));
                let between = Between::new(fine_time(*expr), negated, low, high);
                return Ok(Transformed::yes(Expr::Between(between)));
            }
            let to = own(&expr);
            let (low, a) = fine(*low, to.as_ref());
            let (high, b) = fine(*high, to.as_ref());
            let between = Between::new(expr, negated, Box::new(low), Box::new(high));
            Transformed::new_transformed(Expr::Between(between), a || b)
        }
        Expr::InList(InList {
            expr,
            list,
            negated,
        }) => {
            if times_differ(list.iter().chain([expr.as_ref()]), schema) {
                let list = list.into_iter().map(|item| *fine_time(item)).collect();
                let list = InList::new(fine_time(*expr), list, negated);
                return Ok(Transformed::yes(Expr::InList(list)));
            }
            let to = own(&expr);
            let mut any = false;
            let list: Vec<Expr> = list
                .into_iter()
                .map(|item| {
                    let (item, changed) = fine(item, to.as_ref());
                    any |= changed;
                    item
                })
                .collect();
            Transformed::new_transformed(Expr::InList(InList::new(expr, list, negated)), any)
        }
        Expr::Case(case) => fine_case(case, schema)?,
        Expr::InSubquery(list) => fine_subquery(list, schema)?,
        other => Transformed::no(other),
    })
}

/// `CASE value WHEN constant ..` as `CASE WHEN value = constant ..`, where a comparison changes.
fn fine_case(mut case: Case, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Some(value) = case.expr.take() else {
        return Ok(Transformed::no(Expr::Case(case)));
    };
    let mut any = false;
    let mut whens = Vec::new();
    for (when, then) in &case.when_then_expr {
        let equal = BinaryExpr::new(value.clone(), Operator::Eq, when.clone());
        let equal = fine_literals(Expr::BinaryExpr(equal), schema)?;
        any |= equal.transformed;
        whens.push((Box::new(equal.data), then.clone()));
    }
    match any {
        true => case.when_then_expr = whens,
        false => case.expr = Some(value),
    }
    Ok(Transformed::new_transformed(Expr::Case(case), any))
}

/// A list of times that a query makes, with all of their digits.
fn fine_subquery(list: InSubquery, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let plan = &list.subquery.subquery;
    let (own, fields) = (list.expr.get_type(schema).ok(), plan.schema().fields());
    let differ = match (&own, fields.iter().as_slice()) {
        (Some(own), [item]) => {
            let types = [own, item.data_type()];
            own != item.data_type()
                && types.iter().any(|t| is_time(t))
                && types.iter().all(|t| is_time(t) || t.is_string())
        }
        _ => false,
    };
    if !differ {
        return Ok(Transformed::no(Expr::InSubquery(list)));
    }
    let item = Expr::Column(plan.schema().qualified_field(0).into());
    let plan = LogicalPlanBuilder::from(plan.as_ref().clone())
        .project([*fine_time(item)])?
        .build()?;
    let subquery = list.subquery.with_plan(Arc::new(plan));
    let list = InSubquery::new(fine_time(*list.expr), subquery, list.negated);
    Ok(Transformed::yes(Expr::InSubquery(list)))
}

/// Whether values that are compared are times of day, or texts of them, and not all of as many digits:
/// DataFusion compares times of one unit only, and cuts texts to that of the time beside them.
fn times_differ<'a>(values: impl IntoIterator<Item = &'a Expr>, schema: &DFSchema) -> bool {
    let typed = values
        .into_iter()
        .map(|value| Some((value, value.get_type(schema).ok()?)));
    let Some(typed) = typed.collect::<Option<Vec<_>>>() else {
        return false;
    };
    let Some((_, own)) = typed.iter().find(|(_, t)| is_time(t)) else {
        return false;
    };
    let comparable = |t: &DataType| is_time(t) || t.is_string() || t.is_null();
    let differs = |value: &Expr, t: &DataType| match (is_time(t), value) {
        (true, _) => t != own,
        (false, Expr::Literal(..)) => fine(value.clone(), Some(own)).1,
        (false, _) => t.is_string(),
    };
    typed.iter().all(|(_, t)| comparable(t)) && typed.iter().any(|(v, t)| differs(v, t))
}

fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Time32(_) | DataType::Time64(_))
}

/// A time, or the text of one, with all digits that times may have.
fn fine_time(value: Expr) -> Box<Expr> {
    let finest = DataType::Time64(TimeUnit::Nanosecond);
    Box::new(Expr::Cast(Cast::new(Box::new(value), finest)))
}

/// The type with the most digits for texts beside a value of a type; `None` where the type itself has
/// them.
fn finest(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Timestamp(TimeUnit::Nanosecond, _) | DataType::Time64(TimeUnit::Nanosecond) => {
            None
        }
        DataType::Timestamp(_, zone) => {
            Some(DataType::Timestamp(TimeUnit::Nanosecond, zone.clone()))
        }
        DataType::Date32 | DataType::Date64 => {
            Some(DataType::Timestamp(TimeUnit::Nanosecond, None))
        }
        DataType::Time32(_) | DataType::Time64(_) => Some(DataType::Time64(TimeUnit::Nanosecond)),
        DataType::Dictionary(_, values) => finest(values),
        _ => None,
    }
}

/// A text beside a value of a type, as a value of a finer type, if it has digits that need it.
fn fine(expr: Expr, own: Option<&DataType>) -> (Expr, bool) {
    let (Expr::Literal(value, _), Some(own)) = (&expr, own) else {
        return (expr, false);
    };
    if !matches!(value.try_as_str(), Some(Some(_))) {
        return (expr, false);
    }
    let mut candidates: Vec<DataType> = finest(own).into_iter().collect();
    if let Some(DataType::Timestamp(_, zone)) = candidates.first().cloned() {
        // Nanoseconds reach from 1677 to 2262.
        candidates.push(DataType::Timestamp(TimeUnit::Microsecond, zone));
    }
    let read = candidates.iter().find_map(|to| value.cast_to(to).ok());
    let Some(read) = read.filter(|v| !v.is_null()) else {
        return (expr, false);
    };
    let whole = value
        .cast_to(own)
        .and_then(|v| v.cast_to(&read.data_type()));
    match whole {
        Ok(whole) if whole == read => (expr, false),
        _ => (Expr::Literal(read, None), true),
    }
}

/// See the module.
#[derive(Debug)]
struct GuardCasts;

impl AnalyzerRule for GuardCasts {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten =
            plan.transform_up_with_subqueries(|plan| rewrite_expressions(plan, &guard_casts))?;
        Ok(rewritten.data)
    }

    fn name(&self) -> &str {
        "guard_casts"
    }
}

fn guard_casts(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let (inner, to, attempt) = match &expr {
        Expr::Cast(Cast { expr, field }) => (expr, field, false),
        Expr::TryCast(TryCast { expr, field }) => (expr, field, true),
        _ => return Ok(Transformed::no(expr)),
    };
    // Constants are cast before anybody compares them.
    if matches!(inner.as_ref(), Expr::Literal(..)) {
        return Ok(Transformed::no(expr));
    }
    let Ok(from) = inner.get_type(schema) else {
        return Ok(Transformed::no(expr));
    };
    let to_type = to.data_type();
    match guard::needed(&from, to_type, attempt) || guard::reorders(&from, to_type) {
        true => {
            let call = guard::call(inner.as_ref().clone(), to.data_type().clone(), attempt);
            Ok(Transformed::yes(call))
        }
        false => Ok(Transformed::no(expr)),
    }
}

/// See the module.
#[derive(Debug)]
struct CompareExactly;

impl OptimizerRule for CompareExactly {
    fn name(&self) -> &str {
        "compare_exactly"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        rewrite_expressions(plan, &bounds::compare_exactly)
    }
}

/// A literal of a condition.
fn truth(value: Option<bool>) -> Expr {
    Expr::Literal(ScalarValue::Boolean(value), None)
}
