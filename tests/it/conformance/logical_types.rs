//! Every Arrow type that a table may bring, through the physical types and through the planner.

use arrow::array::*;
use arrow::datatypes::DataType;
use pilaster::encoding::context::ChildEncoder;
use pilaster::encoding::planner::Planner;
use pilaster::encoding::{
    DecodeContext, EncodeContext, Models, NoParents, Node, Profile, Registry, Role, Selection,
    physical,
};

use super::{NULLABLE, RESTORE, budget, encode, fresh, laws::selections, report, without_nulls};
use crate::generate::logical;
use crate::guard::guarded;
use crate::same::{same, settled};

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

fn all_types() -> Vec<DataType> {
    let mut types = logical::flat_types();
    types.extend(logical::nested_types());
    types
}

#[test]
fn lowering_and_raising_give_the_array_back() {
    let mut failures = Vec::new();
    for data_type in all_types() {
        for sample in logical::samples(&data_type, 400) {
            let outcome = guarded(|| {
                let lowered = physical::lower(&sample.array).map_err(text)?;
                let wanted = physical::physical_type(&data_type);
                if *lowered.data_type() != wanted {
                    return Err(format!("lowered to {}", lowered.data_type()));
                }
                if lowered.logical_null_count() != sample.array.logical_null_count() {
                    return Err("nulls changed".to_owned());
                }
                let raised = physical::raise(lowered, &data_type).map_err(text)?;
                raised.to_data().validate_full().map_err(text)?;
                same(&sample.array, &raised)
            });
            if let Err(e) = outcome.result.and_then(|r| r) {
                failures.push(("physical types", format!("{}: {e}", sample.name)));
            }
        }
    }
    report(&failures);
}

#[test]
fn every_type_survives_the_planner_in_every_profile() {
    let mut failures = Vec::new();
    let registry = Registry::standard();
    for data_type in all_types() {
        for sample in logical::samples(&data_type, 500) {
            for profile in [Profile::Fast, Profile::Balanced, Profile::Archive] {
                let outcome = guarded(|| planned(registry, &sample.array, profile));
                if let Err(e) = outcome.result.and_then(|r| r) {
                    failures.push(("planner", format!("{profile:?} {}: {e}", sample.name)));
                }
            }
        }
    }
    report(&failures);
}

fn planned(registry: &Registry, array: &ArrayRef, profile: Profile) -> Result<(), String> {
    let planner = Planner::default();
    let mut models = Models::default();
    let mut context = EncodeContext::new(&planner, registry, &mut models, &[], profile);
    let node = planner
        .encode_child(array, Role::Values, &mut context)
        .map_err(text)?;
    let models = fresh(&models);
    let decode = |selection: &Selection| {
        DecodeContext::new(registry, &models, &NoParents, budget(array))
            .decode(&node, array.data_type(), selection)
            .map_err(|e| format!("decoding {}: {e}", node.encoding))
    };
    let decoded = decode(&Selection::all())?;
    decoded.to_data().validate_full().map_err(text)?;
    settled(&decoded).map_err(|e| format!("{}: {e}", node.encoding))?;
    same(array, &decoded).map_err(|e| format!("{}: {e}", node.encoding))?;
    for (name, selection) in selections(array.len()).into_iter().skip(4).step_by(2) {
        let expected = selection.take(array).map_err(text)?;
        let name = format!("{}, {name}", node.encoding);
        let decoded = decode(&selection).map_err(|e| format!("{name}: {e}"))?;
        settled(&decoded).map_err(|e| format!("{name}: {e}"))?;
        same(&expected, &decoded).map_err(|e| format!("{name}: {e}"))?;
    }
    Ok(())
}

/// A file that another writer made, or a hostile one, may keep anything under its nulls.
#[test]
fn what_a_file_keeps_under_nulls_is_not_decoded() {
    let mut failures = Vec::new();
    let registry = Registry::standard();
    for data_type in logical::nested_types() {
        for sample in logical::samples(&data_type, 300) {
            let outcome = guarded(|| kept_under_nulls(registry, &sample.array));
            if let Err(e) = outcome.result.and_then(|r| r) {
                failures.push((NULLABLE, format!("{}: {e}", sample.name)));
            }
        }
    }
    report(&failures);
}

fn kept_under_nulls(registry: &Registry, array: &ArrayRef) -> Result<(), String> {
    let Some(nulls) = array.nulls() else {
        return Ok(());
    };
    let planner = Planner::default();
    let mut models = Models::default();
    let mut context = EncodeContext::new(&planner, registry, &mut models, &[], Profile::Balanced);
    let validity: ArrayRef = std::sync::Arc::new(BooleanArray::new(nulls.inner().clone(), None));
    let mut child = |array: &ArrayRef| {
        planner
            .encode_child(array, Role::Values, &mut context)
            .map_err(text)
    };
    let node = Node::new(NULLABLE, array.len())
        .with_child(child(&validity)?)
        .with_child(child(&without_nulls(array))?);
    let models = fresh(&models);
    for (name, selection) in selections(array.len()) {
        let expected = selection.take(array).map_err(text)?;
        let decoded = DecodeContext::new(registry, &models, &NoParents, budget(array))
            .decode(&node, array.data_type(), &selection)
            .map_err(|e| format!("{name}: {e}"))?;
        decoded.to_data().validate_full().map_err(text)?;
        settled(&decoded).map_err(|e| format!("{name}: {e}"))?;
        same(&expected, &decoded).map_err(|e| format!("{name}: {e}"))?;
    }
    Ok(())
}

#[test]
fn every_type_survives_every_encoding_that_takes_it() {
    let mut failures = Vec::new();
    for data_type in logical::flat_types() {
        for sample in logical::samples(&data_type, 300) {
            let lowered = physical::lower(&sample.array).unwrap();
            for encoding in Registry::standard().iter() {
                if !encoding.accepts(lowered.data_type()) {
                    continue;
                }
                let outcome = guarded(|| {
                    let logical = match encoding.id() {
                        NULLABLE | RESTORE => sample.array.clone(),
                        _ if sample.array.data_type().is_null() => sample.array.clone(),
                        _ => without_nulls(&filled(&sample.array)),
                    };
                    let input = physical::lower(&logical).map_err(text)?;
                    let Some(e) = encode(encoding, &sample.name, &input, Profile::Balanced)? else {
                        return Ok(());
                    };
                    let decoded = e
                        .with_context(|c| c.decode_all(&e.node, &data_type))
                        .map_err(text)?;
                    same(&logical, &decoded)
                });
                if let Err(e) = outcome.result.and_then(|r| r) {
                    failures.push((encoding.id(), format!("{}: {e}", sample.name)));
                }
            }
        }
    }
    report(&failures);
}

/// The array with its nulls dropped (their rows too).
fn filled(array: &ArrayRef) -> ArrayRef {
    let valid: BooleanArray = (0..array.len())
        .map(|i| Some(array.logical_nulls().is_none_or(|n| n.is_valid(i))))
        .collect();
    arrow::compute::filter(array, &valid).unwrap()
}

#[test]
fn types_that_cannot_be_stored_are_refused_in_one_sentence() {
    use arrow::datatypes::{Field, UnionFields, UnionMode};
    use std::sync::Arc;
    let int = Arc::new(Field::new("item", DataType::Int32, true));
    let ends = Arc::new(Field::new("run_ends", DataType::Int32, false));
    let refused = [
        DataType::Union(UnionFields::empty(), UnionMode::Dense),
        DataType::RunEndEncoded(ends, Arc::clone(&int)),
        DataType::ListView(Arc::clone(&int)),
    ];
    for data_type in refused {
        let inside = DataType::List(Arc::new(Field::new("item", data_type.clone(), true)));
        for data_type in [data_type, inside] {
            let error = physical::check_storable("c", &data_type)
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("column 'c") && error.contains("cast"),
                "{error}"
            );
        }
    }
    for data_type in all_types() {
        physical::check_storable("c", &data_type).unwrap();
    }
}
