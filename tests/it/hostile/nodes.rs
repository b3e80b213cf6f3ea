//! Damaged nodes, models and parents, on every encoding.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::*;
use arrow::datatypes::DataType;
use pilaster::encoding::node::MAX_ROWS;
use pilaster::encoding::{CompareOp, DecodeContext, Node, Profile, Registry, Selection};

use super::mutate::{Mutant, damaged, mutants, wild_fields};
use crate::conformance::{self, Encoded, is_comparable};
use crate::generate::{self, Rng, Sample, logical};
use crate::guard::{Watch, guarded};

/// What decoding may hold beside a multiple of its input.
const SPARE: u64 = 64 << 20;
/// The longest that one small array may take, on a busy machine.
const LONGEST: Duration = Duration::from_secs(4);

/// The arrays to damage for one encoding: short ones of a few types, so that all damage is quick.
fn samples(accepts: impl Fn(&DataType) -> bool, nullable: bool) -> Vec<Sample> {
    let mut samples = Vec::new();
    for data_type in generate::leaf_types().into_iter().filter(&accepts) {
        samples.extend(generate::small_leaves(&data_type));
    }
    for data_type in logical::nested_types().into_iter().chain([DataType::Null]) {
        if accepts(&data_type) {
            let array = logical::array(&data_type, 30, 0.2, &mut Rng::new(11));
            samples.push(Sample {
                name: format!("{data_type}"),
                array: conformance::without_nulls(&array),
            });
            samples.extend(logical::whole_vectors(&data_type, 30));
        }
    }
    match nullable {
        true => samples
            .into_iter()
            .step_by(4)
            .filter(|s| *s.array.data_type() != DataType::Null)
            .map(|s| Sample {
                array: generate::with_nulls(&s.array, 0.3, 5),
                name: format!("{} with nulls", s.name),
            })
            .collect(),
        false => samples,
    }
}

/// Distinct failures with an example and a count of each.
#[derive(Default)]
struct Found(BTreeMap<String, (usize, String)>);

impl Found {
    fn add(&mut self, id: &str, kind: String, example: String) {
        let entry = self
            .0
            .entry(format!("{id}: {kind}"))
            .or_insert((0, example));
        entry.0 += 1;
    }

    fn report(self, cases: usize) {
        let mut text = format!("of {cases} cases:");
        for (kind, (count, example)) in &self.0 {
            let cut = kind.char_indices().nth(300).map_or(kind.len(), |(i, _)| i);
            text.push_str(&format!(
                "\n{} ({count} times)\n    e.g. {example}",
                &kind[..cut]
            ));
        }
        assert!(self.0.is_empty(), "{text}\n");
    }
}

#[test]
fn damaged_nodes_give_an_error_or_a_valid_array() {
    let watch = Watch::start(Duration::from_secs(60));
    let mut found = Found::default();
    let mut cases = 0;
    for encoding in Registry::standard().iter() {
        let id = encoding.id();
        let arrays = samples(|t| encoding.accepts(t), id == conformance::NULLABLE);
        // Many types share one decoder: fewer mutants of each then.
        let limit: usize = match arrays.len() {
            0..12 => 30,
            12..40 => 12,
            _ => 4,
        };
        for (i, sample) in arrays.iter().enumerate() {
            let encode =
                || conformance::encode(encoding, &sample.name, &sample.array, Profile::Balanced);
            let Ok(Ok(Some(encoded))) = guarded(encode).result else {
                continue;
            };
            let spread = encoded.node.children.len().max(1);
            mutants(
                &encoded.node,
                &encoded.models,
                limit.div_ceil(spread),
                i as u64,
                &mut |mutant| {
                    let case = format!("{id}, {}, {}", sample.name, mutant.how);
                    watch.case(|| case.clone());
                    cases += 1;
                    try_mutant(&encoded, &mutant, cases as u64, &mut |kind| {
                        found.add(id, kind, case.clone());
                    });
                },
            );
        }
    }
    found.report(cases);
}

/// Decodes a mutant in several ways and tells of every way that goes wrong.
fn try_mutant(encoded: &Encoded, mutant: &Mutant, seed: u64, wrong: &mut dyn FnMut(String)) {
    let input = input_bytes(&mutant.node, mutant);
    let data_type = encoded.data_type();
    let rows = mutant.node.rows;
    check(input, &mut *wrong, || {
        let result = with_mutant(encoded, mutant, |c| c.decode_all(&mutant.node, data_type));
        valid(result, data_type, rows)
    });
    let mut rng = Rng::new(seed);
    let selection = match (rng.below(6), rows) {
        (_, 0 | 10_000..) => Selection::range(0..rows.min(3)),
        (0, _) => Selection::range(rows / 2..rows),
        (1, _) => Selection::indices(vec![rows as u32 - 1]).unwrap(),
        (2, _) => Selection::mask((0..rows).map(|_| rng.chance(0.3)).collect()),
        // Half of the cases do with the first decoding.
        _ => return,
    };
    let count = selection.count(rows);
    check(input, &mut *wrong, || {
        let result = with_mutant(encoded, mutant, |c| {
            c.decode(&mutant.node, data_type, &selection)
        });
        valid(result, data_type, count)
    });
    check(input, &mut *wrong, || {
        // A file does not hand out nodes of more rows than there can be.
        if rows <= MAX_ROWS
            && let Ok(encoding) = Registry::standard().get(&mutant.node.encoding)
        {
            let _ = encoding.reads(&mutant.node, &selection);
        }
        Ok(())
    });
    if is_comparable(data_type) && !encoded.array.is_empty() {
        check(input, wrong, || {
            let row = encoded.array.len() / 2;
            let value = conformance::without_nulls(&encoded.array.slice(row, 1));
            let value = Scalar::new(value);
            let op = [CompareOp::Eq, CompareOp::Le][seed as usize % 2];
            let result = with_mutant(encoded, mutant, |c| {
                c.compare(&mutant.node, data_type, op, &value)
            });
            valid(
                result.map(|a| std::sync::Arc::new(a) as ArrayRef),
                &DataType::Boolean,
                rows,
            )
        });
    }
}

fn with_mutant<T>(
    encoded: &Encoded,
    mutant: &Mutant,
    code: impl FnOnce(&DecodeContext<'_>) -> T,
) -> T {
    let budget = conformance::budget(&encoded.array);
    let parents = encoded.parents.as_slice();
    let models = conformance::fresh(&mutant.models);
    code(&DecodeContext::new(
        Registry::standard(),
        &models,
        &parents,
        budget,
    ))
}

/// The bytes that the decoder was handed.
fn input_bytes(node: &Node, mutant: &Mutant) -> u64 {
    let mut total = 0u64;
    node.walk(&mut |n| {
        total += n.metadata.len() as u64;
        for buffer in &n.buffers {
            total += buffer.bytes().map_or(0, |b| b.len() as u64);
        }
    });
    total
        + mutant
            .models
            .iter()
            .map(|m| m.bytes().len() as u64)
            .sum::<u64>()
}

fn check(input: u64, wrong: &mut dyn FnMut(String), code: impl FnOnce() -> Result<(), String>) {
    let outcome = guarded(code);
    match outcome.result {
        Err(panic) => wrong(panic),
        Ok(Err(e)) => wrong(e),
        Ok(Ok(())) => {}
    }
    let allowed = 64 * input + SPARE;
    if outcome.peak > allowed {
        wrong(format!("held too much memory ({} MiB)", outcome.peak >> 20));
    }
    if outcome.time > LONGEST {
        wrong("took too long".to_owned());
    }
}

/// An error is fine; an array must be sound.
fn valid(
    result: pilaster::Result<ArrayRef>,
    data_type: &DataType,
    rows: usize,
) -> Result<(), String> {
    let Ok(array) = result else { return Ok(()) };
    if array.data_type() != data_type {
        return Err(format!("gave {}, not {data_type}", array.data_type()));
    }
    if array.len() != rows {
        return Err(format!("gave {} rows, not {rows}", array.len()));
    }
    array
        .to_data()
        .validate_full()
        .map_err(|e| format!("gave an unsound array: {e}"))
}

#[test]
fn another_type_than_the_stored_one_gives_an_error_or_a_valid_array() {
    let watch = Watch::start(Duration::from_secs(60));
    let mut found = Found::default();
    let mut cases = 0;
    let mut wanted = generate::leaf_types();
    wanted.extend(logical::nested_types());
    wanted.extend([DataType::Null, DataType::Utf8, DataType::FixedSizeBinary(0)]);
    for encoding in Registry::standard().iter() {
        let id = encoding.id();
        for sample in samples(|t| encoding.accepts(t), id == conformance::NULLABLE) {
            let encode =
                || conformance::encode(encoding, &sample.name, &sample.array, Profile::Balanced);
            let Ok(Ok(Some(encoded))) = guarded(encode).result else {
                continue;
            };
            for data_type in &wanted {
                let case = format!("{id}, {} read as {data_type}", sample.name);
                watch.case(|| case.clone());
                cases += 1;
                check(
                    1 << 20,
                    &mut |kind| found.add(id, kind, case.clone()),
                    || {
                        let result =
                            encoded.with_context(|c| c.decode_all(&encoded.node, data_type));
                        valid(result, data_type, encoded.node.rows)
                    },
                );
            }
        }
    }
    found.report(cases);
}

#[test]
fn nodes_made_of_noise_give_an_error_or_a_valid_array() {
    let watch = Watch::start(Duration::from_secs(60));
    let mut found = Found::default();
    let mut cases = 0;
    let mut rng = Rng::new(2024);
    let types = generate::leaf_types();
    let ids: Vec<&'static str> = Registry::standard().iter().map(|e| e.id()).collect();
    for &id in &ids {
        for round in 0..600 {
            let node = noise(id, &ids, 3, &mut rng);
            let data_type = &types[rng.below(types.len())];
            let case = format!("{id}, noise {round} as {data_type}: {node:?}");
            watch.case(|| format!("{id}, noise {round}"));
            cases += 1;
            let wrong = &mut |kind| found.add(id, kind, case.chars().take(600).collect());
            check(4096, wrong, || {
                let models = Default::default();
                let context = DecodeContext::new(
                    Registry::standard(),
                    &models,
                    &pilaster::encoding::NoParents,
                    1 << 24,
                );
                valid(context.decode_all(&node, data_type), data_type, node.rows)
            });
        }
    }
    found.report(cases);
}

/// A node with random parts that look a little like real ones.
fn noise(id: &'static str, ids: &[&'static str], depth: usize, rng: &mut Rng) -> Node {
    let rows = [0, 1, 8, 100, 1024, 1025, 1 << 31][rng.below(7)];
    let mut node = Node::new(id, rows);
    for tag in 1..=rng.below(6) as u8 {
        let number = [0, 1, 3, 8, 33, 64, 100, 0x7f][rng.below(8)] as u8;
        node.metadata.extend([tag << 3, number]);
    }
    for (_, bytes) in damaged(&node.metadata.clone(), 2, rng)
        .into_iter()
        .chain(wild_fields(&node.metadata))
        .skip(rng.below(12))
        .take(usize::from(rng.chance(0.4)))
    {
        node.metadata = bytes;
    }
    for _ in 0..rng.below(5) {
        let length = [0, 1, 4, 8, 13, 64, 128, 400, 800, 1024][rng.below(10)];
        let bytes = match rng.below(3) {
            0 => vec![0; length],
            1 => (0..length)
                .map(|i| (i / 4) as u8 * u8::from(i % 4 == 0))
                .collect(),
            _ => rng.bytes(length),
        };
        node = node.with_buffer(bytes);
    }
    if depth > 0 {
        for _ in 0..rng.below(4) {
            let child = ids[rng.below(ids.len())];
            let mut child = noise(child, ids, depth - 1, rng);
            if rng.chance(0.6) {
                child.rows = rows;
            }
            node = node.with_child(child);
        }
    }
    if rng.chance(0.1) {
        node.model = Some(rng.below(3) as u32);
    }
    node
}
