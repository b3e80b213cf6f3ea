//! Clauses that DataFusion 55 reads and then passes over: a query with one of them would answer another
//! question, so it is refused. Those of a table in `FROM` are refused by every session, where tables are
//! planned ([`RefuseTables`]); those of a whole query are seen in its text only
//! ([`refuse_ignored_clauses`]).

use std::ops::ControlFlow;

use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::planner::{
    RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::{CopyToSource, Statement};
use datafusion::sql::sqlparser::ast::{Query, Select, TableFactor, Visit, Visitor};

/// Refuses a statement with a clause that would be passed over, such as `FOR UPDATE`.
///
/// Sessions refuse those of a table, such as `TABLESAMPLE`, themselves; no part of DataFusion that can be
/// replaced sees the others, so whoever runs statements of strangers calls this first.
pub fn refuse_ignored_clauses(context: &SessionContext, sql: &str) -> Result<()> {
    let state = context.state();
    let dialect = state.config_options().sql_parser.dialect;
    // What cannot be read is said by whoever runs it.
    let Ok(statement) = state.sql_to_statement(sql, &dialect) else {
        return Ok(());
    };
    match refused(&statement) {
        Some(why) => plan_err!("{why}"),
        None => Ok(()),
    }
}

fn refused(statement: &Statement) -> Option<String> {
    let mut ignored = Ignored;
    let found = match statement {
        Statement::Statement(statement) => statement.visit(&mut ignored),
        Statement::CopyTo(copy) => match &copy.source {
            CopyToSource::Query(query) => query.visit(&mut ignored),
            CopyToSource::Relation(_) => return None,
        },
        Statement::Explain(explain) => return refused(&explain.statement),
        Statement::CreateExternalTable(_) | Statement::Reset(_) => return None,
    };
    found.break_value()
}

struct Ignored;

/// The first of some clauses that is there.
fn first(clauses: &[(bool, &str)]) -> ControlFlow<String> {
    match clauses.iter().find(|(there, _)| *there) {
        Some((_, why)) => ControlFlow::Break((*why).to_owned()),
        None => ControlFlow::Continue(()),
    }
}

const SAMPLE: &str = "TABLESAMPLE is not done; write WHERE random() < 0.1 for a tenth of the rows, or \
     ORDER BY random() LIMIT 100 for some of them";

impl Visitor for Ignored {
    type Break = String;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<String> {
        first(&[
            (
                !query.locks.is_empty(),
                "FOR UPDATE and FOR SHARE lock nothing here; leave them out",
            ),
            (
                query.for_clause.is_some(),
                "FOR XML, FOR JSON and FOR BROWSE are not done; leave them out, or use --format jsonl",
            ),
            (
                query.settings.is_some(),
                "SETTINGS is not done; write SET name = value before the query",
            ),
            (
                query.format_clause.is_some(),
                "FORMAT is not done; use --format csv or jsonl, or COPY .. TO 'x.csv'",
            ),
        ])
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<String> {
        first(&[
            (
                select.prewhere.is_some(),
                "PREWHERE is not done; write WHERE, which is applied before other columns are read",
            ),
            (
                !select.connect_by.is_empty(),
                "CONNECT BY is not done; write WITH RECURSIVE",
            ),
            (
                select.exclude.is_some(),
                "EXCLUDE stands behind the star: SELECT * EXCLUDE (column)",
            ),
            (
                select.value_table_mode.is_some(),
                "SELECT AS VALUE and SELECT AS STRUCT are not done; write named_struct('a', a, ..)",
            ),
            (
                select
                    .select_modifiers
                    .as_ref()
                    .is_some_and(|m| m.is_any_set()),
                "words like SQL_CALC_FOUND_ROWS and HIGH_PRIORITY are not done; leave them out",
            ),
        ])
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<String> {
        ignored_of(table)
    }
}

fn ignored_of(table: &TableFactor) -> ControlFlow<String> {
    match table {
        TableFactor::Table {
            with_hints,
            version,
            with_ordinality,
            partitions,
            json_path,
            sample,
            index_hints,
            ..
        } => first(&[
            (sample.is_some(), SAMPLE),
            (
                !with_hints.is_empty() || !index_hints.is_empty(),
                "hints on tables are not done; leave them out",
            ),
            (
                version.is_some(),
                "tables have no earlier versions; leave FOR SYSTEM_TIME AS OF out",
            ),
            (
                *with_ordinality,
                "WITH ORDINALITY is not done; number rows with row_number() OVER ()",
            ),
            (
                !partitions.is_empty(),
                "PARTITION (..) is not done; write WHERE on the partition column",
            ),
            (
                json_path.is_some(),
                "paths behind tables are not done; write column['name']",
            ),
        ]),
        TableFactor::Derived { sample, .. } => first(&[(sample.is_some(), SAMPLE)]),
        _ => ControlFlow::Continue(()),
    }
}

/// Refuses tables with clauses that would be passed over.
#[derive(Debug)]
pub(super) struct RefuseTables;

impl RelationPlanner for RefuseTables {
    fn plan_relation(
        &self,
        relation: TableFactor,
        _: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        match ignored_of(&relation) {
            ControlFlow::Break(why) => plan_err!("{why}"),
            ControlFlow::Continue(()) => Ok(RelationPlanning::Original(Box::new(relation))),
        }
    }
}
