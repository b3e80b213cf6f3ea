//! Damaged chunks of log lines in every profile: the streams are damaged before they are compressed,
//! so that the damage gets past the compression.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::*;
use arrow::datatypes::DataType;
use pilaster::encoding::log::chunk::Header;
use pilaster::encoding::log::lines;
use pilaster::encoding::planner::Planner;
use pilaster::encoding::{
    DecodeContext, EncodeContext, Models, Needles, NoParents, Node, NodeBuffer, Profile, Registry,
    Selection,
};

use super::mutate::damaged;
use crate::conformance;
use crate::generate::Rng;
use crate::guard::{Watch, guarded};

/// What decoding may hold beside a multiple of its input.
const SPARE: u64 = 64 << 20;
/// The longest that one small chunk may take, on a busy machine.
const LONGEST: Duration = Duration::from_secs(4);
/// Damages of each stream.
const EACH: usize = 220;

/// Lines whose columns take every form, with one row of several units.
fn log() -> ArrayRef {
    let mut rng = Rng::new(5);
    let mut lines: Vec<Vec<u8>> = (0..700u64)
        .map(|i| {
            let id = rng.next();
            let line = match i % 5 {
                0 => format!(
                    "2024-03-01 10:{:02}:{:02},{:03} INFO took {} ms",
                    i / 60 % 60,
                    i % 60,
                    id % 1000,
                    id % 90
                ),
                1 => format!(
                    "WARN disk d{} at /var/log/x{}.log is {}% full {:05}",
                    i % 9,
                    id % 40,
                    i % 100,
                    i % 300
                ),
                2 => format!(
                    "block blk_{} from 10.0.{}.{}:50010",
                    id as i64,
                    i % 4,
                    id % 200
                ),
                3 => format!(
                    "id={id:016x} user=\"u{} of {} in x{}\" ok",
                    id % 77,
                    i % 5,
                    id % 3
                ),
                _ => format!(
                    "retry {} of 00{} {:06}",
                    i % 3,
                    id % 7,
                    i % 24 * 10_000 + i % 60 * 101 % 6000
                ),
            };
            format!("{line}\n").into_bytes()
        })
        .collect();
    lines.push(b"{\"k\":1},{\"k\":2},".repeat(2000));
    Arc::new(BinaryArray::from_iter_values(lines))
}

fn encoded(array: &ArrayRef, profile: Profile) -> Node {
    let planner = Planner::default();
    let mut models = Models::default();
    let registry = Registry::standard();
    let mut context = EncodeContext::new(&planner, registry, &mut models, &[], profile);
    let encoding = registry.get(lines::ID).unwrap();
    encoding.encode(array, &mut context).unwrap().unwrap()
}

/// The node with another stream in the place of one.
fn with_stream(node: &Node, header: &Header, stream: usize, bytes: &[u8]) -> Node {
    let mut header = header.clone();
    let stored = header.unpacked[..stream].iter().filter(|l| **l > 0).count();
    header.unpacked[stream] = bytes.len() as u64;
    let mut copy = node.clone();
    copy.metadata = prost::Message::encode_to_vec(&header);
    match bytes.is_empty() {
        true => {
            copy.buffers.remove(stored);
        }
        false => copy.buffers[stored] = NodeBuffer::whole(zstd::bulk::compress(bytes, 1).unwrap()),
    }
    copy
}

#[test]
fn damaged_log_chunks_give_an_error_or_a_valid_array_and_search_too() {
    let array = log();
    let watch = Watch::start(Duration::from_secs(60));
    let budget = conformance::budget(&array);
    let texts = [
        "disk",
        "10.0.3.1",
        "blk_-1",
        "of 2 in x1",
        "took 7 ms",
        "007",
        "},{\"k\":2",
    ];
    let needles = texts.map(|text| Needles::of_text(text, false).unwrap());
    let mut found: Vec<String> = Vec::new();
    for profile in [Profile::Fast, Profile::Archive] {
        let node = encoded(&array, profile);
        let header: Header = node.parse_metadata().unwrap();
        let mut rng = Rng::new(6);
        for (stream, &len) in header.unpacked.iter().enumerate().filter(|(_, l)| **l > 0) {
            let stored = header.unpacked[..stream].iter().filter(|l| **l > 0).count();
            let bytes = node.buffers[stored].bytes().unwrap();
            let bytes = zstd::bulk::decompress(&bytes, len as usize).unwrap();
            for (i, (how, bytes)) in damaged(&bytes, EACH, &mut rng).into_iter().enumerate() {
                let case = format!("{profile:?} stream {stream}: {how}");
                watch.case(|| case.clone());
                let node = with_stream(&node, &header, stream, &bytes);
                let outcome = guarded(|| {
                    let models = Models::default();
                    let registry = Registry::standard();
                    let context = || DecodeContext::new(registry, &models, &NoParents, budget);
                    let some = Selection::indices(vec![3, 500, 699]).unwrap();
                    for selection in [Selection::all(), some] {
                        let decoded = context().decode(&node, &DataType::Binary, &selection);
                        if let Ok(array) = decoded {
                            array.to_data().validate_full().unwrap();
                        }
                    }
                    let encoding = registry.get(lines::ID).unwrap();
                    let needle = &needles[i % needles.len()];
                    let _ = encoding.candidates(&node, needle, &context());
                });
                let input: u64 = node.buffers.iter().map(NodeBuffer::len).sum();
                if let Err(panic) = outcome.result {
                    found.push(format!("{case}: {panic}"));
                }
                if outcome.peak > 64 * input + SPARE || outcome.time > LONGEST {
                    let held = outcome.peak >> 20;
                    found.push(format!("{case}: {held} MiB, {:?}", outcome.time));
                }
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
