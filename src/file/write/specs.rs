//! What the user and the layout ask of columns, checked before anything is written.

use arrow::datatypes::SchemaRef;

use super::WriteOptions;
use crate::encoding::Registry;
use crate::encoding::planner::{Planner, Spec};
use crate::error::{Error, Result};
use crate::file::layout::{ColumnRole, ColumnSpec};

/// The planner of a column, told to follow a spec if one was given for its name. Columns that a
/// layout made up, or that follow from others, take no spec.
pub(super) fn planner_for(spec: &mut ColumnSpec, options: &WriteOptions) -> Result<Planner> {
    let name = spec.field.name();
    let asked = options
        .specs
        .iter()
        .find(|(pattern, _)| glob(pattern, name));
    let Some((_, words)) = asked.filter(|_| spec.role == ColumnRole::Visible) else {
        return Ok(Planner::default());
    };
    let parsed: Spec = words.parse()?;
    parsed
        .check(Registry::standard())
        .map_err(|e| Error::invalid(format!("column '{name}': {e}")))?;
    spec.words = Some(parsed.to_string());
    Ok(Planner::new(Some(parsed)))
}

/// Whether a name matches a pattern, in which `*` stands for any characters and `?` for one.
pub fn glob(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where to go on if the characters after the last star do not match.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p + 1, n));
                p += 1;
            }
            Some(&c) if c == '?' || c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((after, at)) => {
                    star = Some((after, at + 1));
                    p = after;
                    n = at + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

/// A spec for a column that is not there is a typing error that must not pass in silence.
pub(super) fn check_patterns(specs: &[(String, String)], schema: &SchemaRef) -> Result<()> {
    for (pattern, words) in specs {
        let mut names = schema.fields().iter().map(|f| f.name());
        if !names.any(|name| glob(pattern, name)) {
            return Err(Error::invalid(format!(
                "encoding '{words}' was asked for column '{pattern}', which the table does not have"
            )));
        }
    }
    Ok(())
}

/// Checks what a layout decided.
pub(super) fn check_specs(specs: &[ColumnSpec], schema: &SchemaRef) -> Result<()> {
    let shown: Vec<_> = specs.iter().filter(|s| s.role.is_shown()).collect();
    let same = shown.len() == schema.fields().len()
        && shown
            .iter()
            .zip(schema.fields())
            .all(|(spec, field)| spec.field.as_ref() == field.as_ref());
    if !same {
        return Err(Error::invalid("a layout must show the schema's columns"));
    }
    for (index, spec) in specs.iter().enumerate() {
        let sound = spec.parents.iter().all(|&parent| {
            parent < index && spec.group.is_some() && specs[parent].group == spec.group
        });
        if !sound {
            return Err(Error::invalid(format!(
                "column '{}' may only be conditioned on earlier columns of its group",
                spec.field.name()
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn globs_match_whole_names() {
        for (pattern, name, matches) in [
            ("*", "anything", true),
            ("k*.q", "k10.q", true),
            ("k?", "k10", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("id", "ids", false),
        ] {
            assert_eq!(glob(pattern, name), matches, "{pattern} {name}");
        }
    }
}
