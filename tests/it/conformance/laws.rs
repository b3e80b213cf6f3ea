//! One test for each law.

use std::collections::BTreeSet;

use arrow::array::*;
use arrow::buffer::{BooleanBuffer, Buffer};
use arrow::compute;
use arrow::datatypes::DataType;
use pilaster::encoding::node::{MAX_DEPTH, NodeBuffer};
use pilaster::encoding::{
    CompareOp, Models, Node, Profile, Reads, Registry, Selection, Statistics, Verdict,
};

use super::{as_stored, corpus, encode, is_comparable, law, report, samples_for};
use crate::generate::Rng;
use crate::same::{same, settled};

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

#[test]
fn every_encoding_stores_something_and_fails_on_nothing() {
    let corpus = corpus();
    let used: BTreeSet<_> = corpus.encoded.iter().map(|e| e.encoding.id()).collect();
    let mut failures = corpus.failures.clone();
    for encoding in Registry::standard().iter() {
        if !used.contains(encoding.id()) {
            failures.push((encoding.id(), "declines every array".to_owned()));
        }
    }
    report(&failures);
}

#[test]
fn every_array_comes_back_bit_for_bit() {
    law(|e| {
        let decoded = e
            .with_context(|c| c.decode_all(&e.node, e.data_type()))
            .map_err(text)?;
        decoded.to_data().validate_full().map_err(text)?;
        settled(&decoded)?;
        same(&e.array, &decoded)
    });
}

#[test]
fn nodes_are_well_formed() {
    law(|e| {
        if e.node.encoding.as_ref() != e.encoding.id() {
            return Err(format!("made a node of {}", e.node.encoding));
        }
        if e.node.rows != e.array.len() {
            return Err(format!("{} rows of {}", e.node.rows, e.array.len()));
        }
        match depth(&e.node) {
            d if d <= MAX_DEPTH => Ok(()),
            d => Err(format!("a tree of depth {d}")),
        }
    });
}

fn depth(node: &Node) -> usize {
    1 + node.children.iter().map(depth).max().unwrap_or(0)
}

#[test]
fn a_selection_decodes_to_the_rows_taken_from_all() {
    law(|e| {
        for (name, selection) in selections(e.array.len()) {
            let expected = selection.take(&e.array).map_err(text)?;
            let decoded = e
                .with_context(|c| c.decode(&e.node, e.data_type(), &selection))
                .map_err(|e| format!("{name}: {e}"))?;
            settled(&decoded).map_err(|e| format!("{name}: {e}"))?;
            same(&expected, &decoded).map_err(|e| format!("{name}: {e}"))?;
        }
        Ok(())
    });
}

#[test]
fn reads_name_every_byte_that_a_selection_needs() {
    law(|e| {
        for (name, selection) in selections(e.array.len()) {
            let mut partial = e.node.clone();
            partial.walk_mut(&mut |n| {
                for buffer in &mut n.buffers {
                    *buffer = NodeBuffer::absent(buffer.len());
                }
            });
            deliver(&e.node, &mut partial, Some(&selection)).map_err(|e| format!("{name}: {e}"))?;
            let expected = selection.take(&e.array).map_err(text)?;
            let decoded = e
                .with_context(|c| c.decode(&partial, e.data_type(), &selection))
                .map_err(|e| format!("{name}: {e}"))?;
            same(&expected, &decoded).map_err(|e| format!("{name}: {e}"))?;
        }
        Ok(())
    });
}

/// Copies into `partial` the bytes of `whole` that its encodings ask for, at odd addresses.
fn deliver(whole: &Node, partial: &mut Node, selection: Option<&Selection>) -> Result<(), String> {
    let Some(selection) = selection else {
        return Ok(());
    };
    let encoding = Registry::standard().get(&whole.encoding).map_err(text)?;
    match encoding.reads(partial, selection) {
        Reads::All => {
            for (buffer, bytes) in partial.buffers.iter_mut().zip(&whole.buffers) {
                let len = bytes.len();
                buffer.deliver(0, copy(bytes, 0..len)?).map_err(text)?;
            }
            for (child, node) in partial.children.iter_mut().zip(&whole.children) {
                deliver(node, child, Some(&Selection::all()))?;
            }
        }
        Reads::Parts { buffers, children } => {
            for (i, range) in buffers {
                let bytes = whole.buffer(i).map_err(text)?;
                let part = copy(bytes, range.clone())?;
                partial.buffers[i]
                    .deliver(range.start, part)
                    .map_err(text)?;
            }
            for (i, rows) in children.iter().enumerate() {
                let node = whole.child(i).map_err(text)?;
                if let Some(rows) = rows {
                    rows.check(node.rows)
                        .map_err(|e| format!("reads of child {i}: {e}"))?;
                }
                deliver(node, &mut partial.children[i], rows.as_ref())?;
            }
        }
    }
    Ok(())
}

fn copy(buffer: &NodeBuffer, range: std::ops::Range<u64>) -> Result<Buffer, String> {
    let mut bytes = vec![0xaa];
    bytes.extend_from_slice(&buffer.slice(range).map_err(text)?);
    Ok(Buffer::from_vec(bytes).slice(1))
}

#[test]
fn comparing_encoded_values_is_comparing_the_decoded_ones() {
    use CompareOp::*;
    law(|e| {
        if !is_comparable(e.data_type()) || e.array.is_empty() {
            return Ok(());
        }
        for value in probes(&e.array) {
            let value = Scalar::new(value);
            for op in [Eq, Ne, Lt, Le, Gt, Ge] {
                let expected = op.apply(&e.array, &value).map_err(text)?;
                let found = e
                    .with_context(|c| c.compare(&e.node, e.data_type(), op, &value))
                    .map_err(|e| format!("{op:?}: {e}"))?;
                same(&expected, &found)
                    .map_err(|e| format!("{op:?} {:?}: {e}", value.clone().into_inner()))?;
            }
        }
        Ok(())
    });
}

/// One-row arrays to compare with: values of the array, its smallest and largest, strange ones.
fn probes(array: &ArrayRef) -> Vec<ArrayRef> {
    let order = compute::sort_to_indices(array, None, None).unwrap();
    let first = order.value(array.null_count().min(array.len() - 1)) as usize;
    let last = order.value(array.len() - 1) as usize;
    let mut probes: Vec<ArrayRef> = [array.len() / 2, first, last]
        .iter()
        .map(|&row| super::without_nulls(&array.slice(row, 1)))
        .collect();
    let strange = crate::generate::small_leaves(array.data_type());
    probes.push(strange[4].array.slice(3, 1));
    probes.push(strange[3].array.slice(9, 1));
    probes
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    law(|e| {
        let again = |array: &ArrayRef| {
            encode(e.encoding, &e.name, array, Profile::Balanced)?
                .ok_or_else(|| "declined the second time".to_owned())
        };
        let second = again(&e.given)?;
        identical(&e.node, &second.node)?;
        identical_models(&e.models, &second.models)?;
        let copy = crate::generate::compact(&e.given);
        let third = again(&copy)?;
        identical(&e.node, &third.node).map_err(|e| format!("slice against copy: {e}"))
    });
}

/// Fails unless two trees would be stored as the same bytes.
pub fn identical(a: &Node, b: &Node) -> Result<(), String> {
    let shape = |n: &Node| {
        format!(
            "{} {} rows, metadata {:?}, {} buffers, {} children, model {:?}, parents {:?}",
            n.encoding,
            n.rows,
            n.metadata,
            n.buffers.len(),
            n.children.len(),
            n.model,
            n.parents
        )
    };
    if shape(a) != shape(b) {
        return Err(format!("{} against {}", shape(a), shape(b)));
    }
    for (i, (x, y)) in a.buffers.iter().zip(&b.buffers).enumerate() {
        if x.bytes().map_err(text)?.as_slice() != y.bytes().map_err(text)?.as_slice() {
            return Err(format!("buffer {i} of {} differs", a.encoding));
        }
    }
    a.children
        .iter()
        .zip(&b.children)
        .try_for_each(|(x, y)| identical(x, y))
}

fn identical_models(a: &Models, b: &Models) -> Result<(), String> {
    let bytes = |m: &Models| -> Vec<(String, Vec<u8>)> {
        m.iter()
            .map(|m| (m.kind().to_owned(), m.bytes().to_vec()))
            .collect()
    };
    match bytes(a) == bytes(b) {
        true => Ok(()),
        false => Err("models differ".to_owned()),
    }
}

#[test]
fn opinions_about_statistics_hold() {
    let mut failures = Vec::new();
    let corpus = corpus();
    for encoding in Registry::standard().iter() {
        if encoding.parents_needed() > 0 {
            continue;
        }
        let stored: BTreeSet<_> = corpus
            .encoded
            .iter()
            .filter(|e| e.encoding.id() == encoding.id())
            .map(|e| e.name.as_str())
            .collect();
        for sample in samples_for(encoding.as_ref()) {
            let statistics = Statistics::of(&sample.array);
            for profile in [Profile::Fast, Profile::Balanced, Profile::Archive] {
                let verdict = encoding.estimate(&statistics, profile);
                if verdict == Verdict::Always && !stored.contains(sample.name.as_str()) {
                    let what = format!("{}: always, yet declined", sample.name);
                    failures.push((encoding.id(), what));
                }
            }
        }
    }
    report(&failures);
}

#[test]
fn profiles_change_sizes_and_never_values() {
    let mut failures = Vec::new();
    for encoding in Registry::standard().iter() {
        for sample in samples_for(encoding.as_ref()).iter().step_by(7) {
            for profile in [Profile::Fast, Profile::Archive] {
                let outcome = crate::guard::guarded(|| {
                    let Some(e) = encode(encoding, &sample.name, &sample.array, profile)? else {
                        return Ok(());
                    };
                    let e = as_stored(e)?;
                    let decoded = e
                        .with_context(|c| c.decode_all(&e.node, e.data_type()))
                        .map_err(text)?;
                    same(&e.array, &decoded)
                });
                if let Err(e) = outcome.result.and_then(|r| r) {
                    failures.push((encoding.id(), format!("{profile:?} {}: {e}", sample.name)));
                }
            }
        }
    }
    report(&failures);
}

#[test]
fn an_element_range_is_a_slice_of_every_row() {
    law(|e| {
        let DataType::FixedSizeList(field, width) = e.data_type() else {
            return Ok(());
        };
        let width = *width as usize;
        for elements in [0..width, 1..width, 0..1, 1..1] {
            for (name, selection) in selections(e.array.len()).into_iter().step_by(2) {
                let selection = selection.with_elements(elements.clone());
                let taken = selection.take(&e.array).map_err(text)?;
                let narrow = narrow(taken.as_fixed_size_list(), field, &elements);
                let wanted = narrow.data_type().clone();
                let decoded = e
                    .with_context(|c| c.decode(&e.node, e.data_type(), &selection))
                    .or_else(|_| e.with_context(|c| c.decode(&e.node, &wanted, &selection)))
                    .map_err(|e| format!("{name} {elements:?}: {e}"))?;
                same(&narrow, &decoded).map_err(|e| format!("{name} {elements:?}: {e}"))?;
            }
        }
        Ok(())
    });
}

fn narrow(
    array: &FixedSizeListArray,
    field: &arrow::datatypes::FieldRef,
    elements: &std::ops::Range<usize>,
) -> ArrayRef {
    let width = array.value_length() as usize;
    let first = array.value_offset(0) as usize;
    let indices = (0..array.len()).flat_map(|row| {
        elements
            .clone()
            .map(move |e| (first + row * width + e) as u32)
    });
    let indices = UInt32Array::from_iter_values(indices);
    let values = compute::take(array.values(), &indices, None).unwrap();
    std::sync::Arc::new(
        FixedSizeListArray::try_new_with_length(
            field.clone(),
            elements.len() as i32,
            values,
            array.nulls().cloned(),
            array.len(),
        )
        .unwrap(),
    )
}

/// Selections of every form for an array of `rows` rows.
pub fn selections(rows: usize) -> Vec<(String, Selection)> {
    let mut rng = Rng::new(rows as u64);
    let mut list = vec![
        ("all".to_owned(), Selection::all()),
        ("no range".to_owned(), Selection::range(0..0)),
        ("end of range".to_owned(), Selection::range(rows..rows)),
        ("whole range".to_owned(), Selection::range(0..rows)),
        (
            "middle".to_owned(),
            Selection::range(rows / 3..rows - rows / 4),
        ),
        ("no indices".to_owned(), Selection::indices(vec![]).unwrap()),
    ];
    let indices = |share: f64, rng: &mut Rng| -> Vec<u32> {
        (0..rows as u32).filter(|_| rng.chance(share)).collect()
    };
    for share in [0.01, 0.5, 1.0] {
        let chosen = indices(share, &mut rng);
        let name = format!("{share} of the indices");
        list.push((name, Selection::indices(chosen).unwrap()));
    }
    for share in [0.0, 0.02, 0.7, 1.0] {
        // One more bit in front, so that the mask starts inside a byte.
        let bits: BooleanBuffer = (0..rows + 1).map(|_| rng.chance(share)).collect();
        let name = format!("mask of {share}");
        list.push((name, Selection::mask(bits.slice(1, rows))));
    }
    if rows > 0 {
        let last = rows as u32 - 1;
        list.push(("first".to_owned(), Selection::range(0..1)));
        list.push(("last".to_owned(), Selection::indices(vec![last]).unwrap()));
    }
    if rows > 1100 {
        list.push((
            "over a block's edge".to_owned(),
            Selection::range(1020..1030),
        ));
        let rows = vec![1023, 1024, 1025];
        list.push((
            "at a block's edge".to_owned(),
            Selection::indices(rows).unwrap(),
        ));
    }
    list
}
