//! One schema for files that differ.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::{Result, plan_err};

use crate::file::small_floats;

/// Columns of all files by name, in the order of their first appearance. A column that some file
/// lacks is nullable; types that differ are widened where no value changes.
pub(crate) fn merge(files: &[(String, SchemaRef)]) -> Result<SchemaRef> {
    let Some((_, first)) = files.first() else {
        return Ok(Arc::new(Schema::empty()));
    };
    if files.iter().all(|(_, schema)| schema == first) {
        return Ok(Arc::clone(first));
    }
    let mut fields: Vec<Field> = Vec::new();
    let mut seen_in: Vec<usize> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut metadata = HashMap::new();
    for (name, schema) in files {
        for (key, value) in schema.metadata() {
            metadata.entry(key.clone()).or_insert_with(|| value.clone());
        }
        for field in schema.fields() {
            match places.get(field.name()) {
                Some(&place) => {
                    fields[place] = widen(&fields[place], field, name)?;
                    seen_in[place] += 1;
                }
                None => {
                    places.insert(field.name().clone(), fields.len());
                    fields.push(field.as_ref().clone());
                    seen_in.push(1);
                }
            }
        }
    }
    let fields: Vec<Field> = fields
        .into_iter()
        .zip(seen_in)
        .map(|(field, seen)| {
            let nullable = field.is_nullable() || seen < files.len();
            field.with_nullable(nullable)
        })
        .collect();
    Ok(Arc::new(Schema::new_with_metadata(fields, metadata)))
}

fn widen(known: &Field, other: &FieldRef, file: &str) -> Result<Field> {
    let (a, b) = (known.data_type(), other.data_type());
    let nullable = known.is_nullable() || other.is_nullable();
    let data_type = match (a, b) {
        _ if a == b || widens(b, a) => a.clone(),
        _ if widens(a, b) => b.clone(),
        _ => match smallest_above(a, b) {
            Some(data_type) => data_type,
            None => {
                return plan_err!(
                    "{file}: column '{}' is {b}, but {a} in other files of the table",
                    known.name()
                );
            }
        },
    };
    // Numbers of several formats stand for none of them.
    let known = match known.metadata() == other.metadata() && a == b {
        true => known.clone(),
        false => small_floats::unmarked(known.clone()),
    };
    Ok(known.with_data_type(data_type).with_nullable(nullable))
}

/// Whether every value of a type is the same value in the other, in the same order.
pub(crate) fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType::*;
    matches!(
        (from, to),
        (Null, _)
            | (Int8, Int16 | Int32 | Int64 | Float32 | Float64)
            | (Int16, Int32 | Int64 | Float32 | Float64)
            | (Int32, Int64 | Float64)
            | (
                UInt8,
                UInt16 | UInt32 | UInt64 | Int16 | Int32 | Int64 | Float32 | Float64
            )
            | (UInt16, UInt32 | UInt64 | Int32 | Int64 | Float32 | Float64)
            | (UInt32, UInt64 | Int64 | Float64)
            | (Float16, Float32 | Float64)
            | (Float32, Float64)
            | (Utf8, LargeUtf8 | Utf8View)
            | (Utf8View, LargeUtf8)
            | (Binary, LargeBinary | BinaryView)
            | (BinaryView, LargeBinary)
    )
}

/// A type that two types widen to, if neither widens to the other.
fn smallest_above(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::*;
    [Int16, Int32, Int64, Float32, Float64]
        .into_iter()
        .find(|t| widens(a, t) && widens(b, t))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, fields: &[(&str, DataType, bool)]) -> (String, SchemaRef) {
        let fields: Vec<_> = fields
            .iter()
            .map(|(n, t, nullable)| Field::new(*n, t.clone(), *nullable))
            .collect();
        (name.to_owned(), Arc::new(Schema::new(fields)))
    }

    #[test]
    fn columns_are_united_and_widened() {
        let merged = merge(&[
            file(
                "a",
                &[("x", DataType::Int32, false), ("y", DataType::Utf8, false)],
            ),
            file(
                "b",
                &[("x", DataType::Int64, false), ("z", DataType::UInt8, false)],
            ),
        ])
        .unwrap();
        let expected = file(
            "",
            &[
                ("x", DataType::Int64, false),
                ("y", DataType::Utf8, true),
                ("z", DataType::UInt8, true),
            ],
        );
        assert_eq!(merged, expected.1);
    }

    #[test]
    fn signed_and_unsigned_meet_above_both() {
        let merged = merge(&[
            file("a", &[("x", DataType::UInt8, false)]),
            file("b", &[("x", DataType::Int8, false)]),
        ]);
        assert_eq!(merged.unwrap().field(0).data_type(), &DataType::Int16);
    }

    #[test]
    fn what_would_lose_values_is_refused_with_its_name() {
        let merged = merge(&[
            file("a", &[("x", DataType::Int64, false)]),
            file("b", &[("x", DataType::Utf8, false)]),
        ]);
        let message = merged.unwrap_err().to_string();
        assert!(message.contains("b: column 'x'"), "{message}");
    }
}
