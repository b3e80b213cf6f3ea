//! A scan's expressions, rewritten for one file.
//!
//! Partition columns become literals, columns that the file lacks become null, columns that it has
//! in another type are cast, and what can be decided without reading is decided. Then each conjunct
//! of the filter goes where it costs least: to the zone maps, into the reader (which decodes the
//! filter's columns first and others for the surviving rows only), or to what the reader returns.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::simplifier::PhysicalExprSimplifier;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_expr::{
    DynamicFilterTracking, PhysicalExpr, conjunction_opt, split_conjunction,
};
use datafusion_datasource::TableSchema;
use datafusion_physical_expr_adapter::{
    PhysicalExprAdapter, PhysicalExprAdapterFactory, replace_columns_with_literals,
};

use super::near::DistanceCall;
use super::source::row_id_field;

type Expr = Arc<dyn PhysicalExpr>;

/// What to do with one file.
#[derive(Debug)]
pub(crate) struct FilePlan {
    /// The file's columns, and the row number if the table has it.
    pub(crate) schema: SchemaRef,
    /// Conjuncts that never change, on `schema`.
    pub(crate) fixed: Option<Expr>,
    /// Conjuncts that other operators tighten while the scan runs, on `schema`.
    pub(crate) dynamic: Option<Expr>,
    /// What the reader filters by.
    pub(crate) filter: Option<ColumnFilter>,
    /// A distance, and the conjuncts (all of them in `residual` too) that mention it, on `schema`: bounds
    /// of it exclude rows before vectors are decoded.
    pub(crate) near: Option<(DistanceCall, Expr)>,
    /// The columns that the reader returns, ascending.
    pub(crate) columns: Vec<usize>,
    /// Whether it returns row numbers, after the columns.
    pub(crate) row_ids: bool,
    /// What is left to filter by, on the rows that the reader returns.
    pub(crate) residual: Option<Expr>,
    /// The output, on the rows that the reader returns.
    pub(crate) projection: Vec<Expr>,
}

/// An expression and the columns that it needs.
#[derive(Debug)]
pub(crate) struct ColumnFilter {
    /// Columns of the file, ascending.
    pub(crate) columns: Vec<usize>,
    /// Their fields.
    pub(crate) schema: SchemaRef,
    /// A condition on a batch of `schema`.
    pub(crate) expr: Expr,
}

/// Rewrites expressions on the table into expressions on a file.
pub(crate) struct Rewriter {
    literals: HashMap<String, ScalarValue>,
    adapter: Arc<dyn PhysicalExprAdapter>,
    schema: SchemaRef,
    file_columns: usize,
}

/// Expressions with the literals of a file's partition put in.
pub(crate) fn partition_literals(
    table: &TableSchema,
    values: &[ScalarValue],
) -> HashMap<String, ScalarValue> {
    let names = table
        .table_partition_cols()
        .iter()
        .map(|f| f.name().clone());
    names.zip(values.iter().cloned()).collect()
}

impl Rewriter {
    pub(crate) fn new(
        table: &TableSchema,
        partition_values: &[ScalarValue],
        file_schema: &SchemaRef,
        adapters: &Arc<dyn PhysicalExprAdapterFactory>,
    ) -> Result<Self> {
        let with_virtual = |schema: &SchemaRef| match table.virtual_columns().is_empty() {
            true => Arc::clone(schema),
            false => {
                let mut fields = schema.fields().to_vec();
                fields.push(row_id_field());
                Arc::new(Schema::new(fields))
            }
        };
        let schema = with_virtual(file_schema);
        Ok(Self {
            literals: partition_literals(table, partition_values),
            adapter: adapters.create(with_virtual(table.file_schema()), Arc::clone(&schema))?,
            schema,
            file_columns: file_schema.fields().len(),
        })
    }

    fn rewrite(&self, expr: &Expr) -> Result<Expr> {
        let expr = match self.literals.is_empty() {
            true => Arc::clone(expr),
            false => replace_columns_with_literals(Arc::clone(expr), &self.literals)?,
        };
        PhysicalExprSimplifier::new(&self.schema).simplify(self.adapter.rewrite(expr)?)
    }

    /// The plan for the file; `None` if no row can pass.
    pub(crate) fn plan(
        &self,
        predicate: Option<&Expr>,
        projection: &ProjectionExprs,
    ) -> Result<Option<FilePlan>> {
        let (mut fixed, mut dynamic) = (Vec::new(), Vec::new());
        let (mut pushed, mut residual) = (Vec::new(), Vec::new());
        let mut near: Option<(DistanceCall, Vec<Expr>)> = None;
        let predicate = predicate.map(|p| self.rewrite(p)).transpose()?;
        for conjunct in predicate.iter().flat_map(split_conjunction) {
            match constant(conjunct) {
                Some(true) => continue,
                Some(false) => return Ok(None),
                None => {}
            }
            let kind = match DynamicFilterTracking::classify(conjunct).contains_dynamic_filter() {
                true => &mut dynamic,
                false => &mut fixed,
            };
            kind.push(Arc::clone(conjunct));
            if let Some(call) = DistanceCall::in_expr(conjunct, &self.schema) {
                // Only one distance can be looked at before vectors are decoded.
                let (first, conjuncts) = near.get_or_insert_with(|| (call.clone(), Vec::new()));
                if first.same(&call) {
                    conjuncts.push(Arc::clone(conjunct));
                }
                residual.push(Arc::clone(conjunct));
                continue;
            }
            let columns = collect_columns(conjunct);
            let in_reader =
                !columns.is_empty() && columns.iter().all(|c| c.index() < self.file_columns);
            let place = if in_reader {
                &mut pushed
            } else {
                &mut residual
            };
            place.push(Arc::clone(conjunct));
        }
        let residual = conjunction_opt(residual);
        let projection = projection
            .as_ref()
            .iter()
            .map(|p| self.rewrite(&p.expr))
            .collect::<Result<Vec<_>>>()?;
        let (columns, row_ids) = self.columns_of(projection.iter().chain(&residual));
        let mut returned: Vec<_> = columns
            .iter()
            .map(|&c| Arc::clone(&self.schema.fields()[c]))
            .collect();
        if row_ids {
            returned.push(row_id_field());
        }
        let returned = Schema::new(returned);
        let on_returned = |expr: Expr| reassign_expr_columns(expr, &returned);
        Ok(Some(FilePlan {
            schema: Arc::clone(&self.schema),
            fixed: conjunction_opt(fixed),
            dynamic: conjunction_opt(dynamic),
            filter: conjunction_opt(pushed)
                .map(|expr| self.filter(expr))
                .transpose()?,
            near: near.and_then(|(call, conjuncts)| Some((call, conjunction_opt(conjuncts)?))),
            residual: residual.map(on_returned).transpose()?,
            projection: projection
                .into_iter()
                .map(on_returned)
                .collect::<Result<_>>()?,
            columns,
            row_ids,
        }))
    }

    /// Columns of the file that expressions need, and whether they need row numbers.
    fn columns_of<'e>(&self, exprs: impl Iterator<Item = &'e Expr>) -> (Vec<usize>, bool) {
        let mut columns: Vec<usize> = exprs
            .flat_map(|e| collect_columns(e).into_iter().map(|c| c.index()))
            .collect();
        columns.sort_unstable();
        columns.dedup();
        let row_ids = columns.pop_if(|c| *c >= self.file_columns).is_some();
        (columns, row_ids)
    }

    fn filter(&self, expr: Expr) -> Result<ColumnFilter> {
        let (columns, _) = self.columns_of([&expr].into_iter());
        let schema = Arc::new(self.schema.project(&columns)?);
        Ok(ColumnFilter {
            expr: reassign_expr_columns(expr, &schema)?,
            columns,
            schema,
        })
    }
}

/// What a condition without columns says: null counts as false.
fn constant(expr: &Expr) -> Option<bool> {
    match expr.downcast_ref::<Literal>()?.value() {
        ScalarValue::Boolean(value) => Some(value.unwrap_or(false)),
        value if value.is_null() => Some(false),
        _ => None,
    }
}
