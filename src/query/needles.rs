//! Texts that a filter asks for in a column, so that readers may look for them before they decode
//! values: `LIKE`, `=`, `IN`, regular expressions, `contains` and the like.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CastExpr, Column, InListExpr, LikeExpr, Literal,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr, split_conjunction};

use super::fileplan::ColumnFilter;
use crate::encoding::Needles;

type Expr = Arc<dyn PhysicalExpr>;

/// The texts that each row that passes must hold, with the columns of the file that hold them.
pub(crate) fn needles(filter: &ColumnFilter) -> Vec<(usize, Needles)> {
    let conjuncts = split_conjunction(&filter.expr).into_iter();
    let found = conjuncts.filter_map(|conjunct| asked(conjunct, &filter.schema));
    found
        .filter_map(|(column, needles)| Some((*filter.columns.get(column)?, needles)))
        .collect()
}

/// The column and the texts of one condition.
fn asked(expr: &Expr, schema: &Schema) -> Option<(usize, Needles)> {
    if let Some(like) = expr.downcast_ref::<LikeExpr>() {
        let literal = text(like.pattern()).filter(|_| !like.negated())?;
        let part = longest_part(&literal)?;
        let needles = Needles::of_text(&part, like.case_insensitive())?;
        return Some((column(like.expr(), schema)?, needles));
    }
    if let Some(list) = expr.downcast_ref::<InListExpr>() {
        let texts = list.list().iter().filter(|_| !list.negated());
        let texts = texts.map(|t| text(t).filter(|t| !t.is_empty()));
        let texts = texts
            .collect::<Option<Vec<_>>>()
            .filter(|t| !t.is_empty())?;
        let needles = Needles {
            texts: texts.into_iter().map(String::into_bytes).collect(),
            ignore_case: false,
            decide: false,
        };
        return Some((column(list.expr(), schema)?, needles));
    }
    if let Some(call) = expr.downcast_ref::<ScalarFunctionExpr>() {
        let [value, literal] = call.args() else {
            return None;
        };
        let literal = text(literal)?;
        let needles = match call.name() {
            "contains" | "starts_with" | "ends_with" => Needles::of_text(&literal, false)?,
            "regexp_like" => Needles::of_regex(&literal, false).ok()??,
            _ => return None,
        };
        return Some((column(value, schema)?, needles));
    }
    let binary = expr.downcast_ref::<BinaryExpr>()?;
    let (left, right) = (binary.left(), binary.right());
    match binary.op() {
        Operator::Eq => {
            let (value, literal) = match text(right) {
                Some(literal) => (left, literal),
                None => (right, text(left)?),
            };
            Some((column(value, schema)?, Needles::of_text(&literal, false)?))
        }
        Operator::RegexMatch | Operator::RegexIMatch => {
            let ignore_case = *binary.op() == Operator::RegexIMatch;
            let needles = Needles::of_regex(&text(right)?, ignore_case).ok()??;
            Some((column(left, schema)?, needles))
        }
        Operator::LikeMatch | Operator::ILikeMatch => {
            let part = longest_part(&text(right)?)?;
            let ignore_case = *binary.op() == Operator::ILikeMatch;
            Some((column(left, schema)?, Needles::of_text(&part, ignore_case)?))
        }
        Operator::Or => {
            let ((a, mut one), (b, other)) = (asked(left, schema)?, asked(right, schema)?);
            one.texts.extend(other.texts);
            (a == b && one.ignore_case == other.ignore_case).then_some((a, one))
        }
        // Any of the conditions will do.
        Operator::And => asked(left, schema).or_else(|| asked(right, schema)),
        _ => None,
    }
}

/// A column of text, perhaps cast to other types of text: no other cast keeps the letters.
fn column(expr: &Expr, schema: &Schema) -> Option<usize> {
    if let Some(cast) = expr.downcast_ref::<CastExpr>() {
        return column(cast.expr(), schema).filter(|_| is_text(cast.cast_type()));
    }
    let index = expr.downcast_ref::<Column>()?.index();
    let field = schema.fields().get(index)?;
    is_text(field.data_type()).then_some(index)
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

fn text(expr: &Expr) -> Option<String> {
    match expr.downcast_ref::<Literal>()?.value() {
        ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text) => {
            text.clone()
        }
        ScalarValue::Dictionary(_, value) => {
            text(&(Arc::new(Literal::new(*value.clone())) as Expr))
        }
        _ => None,
    }
}

/// The longest text of a `LIKE` pattern that stands between its wildcards.
fn longest_part(pattern: &str) -> Option<String> {
    let mut parts = vec![String::new()];
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        let last = parts.last_mut()?;
        match letter {
            '%' | '_' => parts.push(String::new()),
            '\\' => last.push(letters.next()?),
            other => last.push(other),
        }
    }
    parts
        .into_iter()
        .max_by_key(String::len)
        .filter(|p| !p.is_empty())
}

#[cfg(test)]
mod tests {
    use super::longest_part;

    #[test]
    fn the_longest_part_of_a_pattern_is_what_must_be_there() {
        for (pattern, part) in [
            ("%error%", Some("error")),
            ("a%bc_d", Some("bc")),
            ("50\\% of", Some("50% of")),
            ("%", None),
            ("", None),
        ] {
            assert_eq!(longest_part(pattern).as_deref(), part, "{pattern}");
        }
    }
}
