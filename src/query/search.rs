//! `vector_search(table, column, query, k [, where [, metric]])`: the rows nearest to a vector.
//!
//! A table function that stands for a query: the columns of the table, `_row_id` and `_distance`, filtered,
//! ordered by distance (then row), limited. So all that holds for `ORDER BY distance LIMIT k` holds here:
//! filters come first, and `k` rows come back if there are as many. Rows whose distance is null (null
//! vectors, those whose distance is no number; under `cosine` also zero ones) are left out.

use std::sync::Arc;

use datafusion::catalog::view::ViewTable;
use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider, UrlTableFactory};
use datafusion::common::{
    DFSchema, Result, ScalarValue, TableReference, exec_datafusion_err, plan_datafusion_err,
    plan_err,
};
use datafusion::datasource::provider_as_source;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, ident, lit};

use super::files::FilesTable;
use super::format::PilasterFormat;
use super::table::{NumberedTable, PathTableFactory};
use crate::file::ROW_ID;

/// Name of the column of distances.
pub const DISTANCE: &str = "_distance";

const USAGE: &str = "vector_search(table, column, query, k [, where [, metric]]) takes a table's name or \
     path, the name of a column, a list of numbers, a number of rows, a condition as text, and l2, \
     cosine or inner_product";

/// See the module.
#[derive(Debug)]
pub(crate) struct VectorSearch {
    pub(crate) paths: Arc<PathTableFactory>,
}

/// A name: a piece of text, or an identifier.
fn word(expr: &Expr) -> Result<String> {
    match expr {
        Expr::Literal(value, _) => match value.try_as_str() {
            Some(Some(text)) => Ok(text.to_owned()),
            _ => plan_err!("{USAGE}"),
        },
        Expr::Column(column) => Ok(column.flat_name()),
        _ => plan_err!("{USAGE}"),
    }
}

fn count(expr: &Expr) -> Result<usize> {
    let number = match expr {
        Expr::Literal(value, _) => match value.cast_to(&arrow::datatypes::DataType::UInt64) {
            Ok(ScalarValue::UInt64(number)) => number,
            _ => None,
        },
        _ => None,
    };
    number
        .and_then(|n| usize::try_from(n).ok())
        .ok_or_else(|| plan_datafusion_err!("{USAGE}"))
}

impl VectorSearch {
    /// The table of a name or a path, with row numbers.
    async fn table(
        state: &SessionState,
        paths: &PathTableFactory,
        name: &str,
    ) -> Result<Arc<dyn TableProvider>> {
        let reference = TableReference::parse_str(name);
        let known = match state.schema_for_ref(reference.clone()) {
            Ok(schema) => schema.table(reference.table()).await?,
            Err(_) => None,
        };
        let table = match known {
            Some(table) => table,
            None => paths
                .try_new(name)
                .await?
                .ok_or_else(|| plan_datafusion_err!("there is no table or file '{name}'"))?,
        };
        if table.is::<NumberedTable>() {
            return Ok(table);
        }
        match table.downcast_ref::<FilesTable>() {
            Some(files) if files.files().options().format.is::<PilasterFormat>() => {
                Ok(Arc::new(NumberedTable::new(files.clone())?))
            }
            _ => plan_err!("vector_search looks in .pil files; '{name}' is none"),
        }
    }
}

impl TableFunctionImpl for VectorSearch {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let state = args
            .session()
            .as_any()
            .downcast_ref::<SessionState>()
            .ok_or_else(|| exec_datafusion_err!("vector_search needs a session of DataFusion"))?;
        let exprs = args.exprs();
        if !(4..=6).contains(&exprs.len()) {
            return plan_err!("{USAGE}");
        }
        let (name, column, k) = (word(&exprs[0])?, word(&exprs[1])?, count(&exprs[3])?);
        let condition = exprs.get(4).map(word).transpose()?.unwrap_or_default();
        let metric = exprs.get(5).map(word).transpose()?;
        let (function, negative) = match metric.as_deref() {
            None | Some("l2") => ("array_distance", false),
            Some("cosine") => ("cosine_distance", false),
            Some("inner_product") => ("inner_product", true),
            Some(other) => {
                return plan_err!("'{other}' is no metric; l2, cosine and inner_product are");
            }
        };
        // Planning is synchronous, finding files is not.
        let table = std::thread::scope(|scope| {
            let find = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().build()?;
                runtime.block_on(Self::table(state, &self.paths, &name))
            });
            find.join()
                .unwrap_or_else(|_| plan_err!("the table '{name}' could not be opened"))
        })?;
        let schema = DFSchema::try_from(table.schema())?;
        if !schema.has_column_with_unqualified_name(&column) {
            return plan_err!("'{name}' has no column '{column}'");
        }
        let function = state
            .scalar_functions()
            .get(function)
            .ok_or_else(|| plan_datafusion_err!("the session has no function {function}"))?;
        let distance = function.call(vec![ident(&column), exprs[2].clone()]);
        let mut plan = LogicalPlanBuilder::scan("t", provider_as_source(Arc::clone(&table)), None)?;
        if !condition.trim().is_empty() {
            plan = plan.filter(state.create_logical_expr(&condition, &schema)?)?;
        }
        let shown = table.schema();
        let mut output: Vec<Expr> = shown.fields().iter().map(|f| ident(f.name())).collect();
        let signed = match negative {
            true => lit(-1.0) * distance.clone(),
            false => distance.clone(),
        };
        output.push(signed.alias(DISTANCE));
        let plan = plan
            .filter(distance.clone().is_not_null())?
            .sort(vec![
                distance.sort(!negative, false),
                ident(ROW_ID).sort(true, false),
            ])?
            .limit(0, Some(k))?
            .project(output)?
            .build()?;
        Ok(Arc::new(ViewTable::new(plan, None)))
    }
}
