//! Damaged files: every change is found, or the values are the original ones all the same.
//!
//! Half of the changes come with checksums made right again, as somebody with intent would do it;
//! then the values may be others, but reading stays within its bounds and gives sound arrays.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use arrow::array::*;
use arrow::record_batch::RecordBatch;
use pilaster::file::segment::{SEGMENT_ALIGN, checksum, checksum_table};
use pilaster::file::{File, ScanRequest, Zones, proto};
use prost::Message;

use super::mutate::{damaged, wild_fields};
use crate::generate::Rng;
use crate::golden::{self, read_all, same_table};
use crate::guard::{Watch, guarded};

/// Changes in the whole test.
const MUTATIONS: usize = 30_000;
/// What reading may hold, beside 64 times the file, if checksums do their work.
const SPARE: u64 = 64 << 20;
/// The same where they were forged: a chunk may declare 256 MiB whatever its stored size.
const SPARE_FORGED: u64 = 1 << 30;
/// The longest that one small file may take, on a busy machine.
const LONGEST: Duration = Duration::from_secs(10);

/// A golden file and what is in it.
struct Original {
    name: String,
    bytes: Vec<u8>,
    contents: Contents,
}

struct Contents {
    table: RecordBatch,
    zones: Zones,
}

fn originals() -> Vec<Original> {
    let mut paths: Vec<_> = fs::read_dir(golden::directory())
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let bytes = fs::read(&path).unwrap();
            Original {
                name: path.file_name().unwrap().to_string_lossy().into_owned(),
                contents: contents(&bytes).unwrap(),
                bytes,
            }
        })
        .collect()
}

/// Reads everything in a file.
fn contents(bytes: &[u8]) -> pilaster::Result<Contents> {
    let file = File::from_bytes("damaged.pil", bytes.to_vec())?;
    let table = read_all(&file)?;
    let columns: Vec<usize> = (0..table.num_columns()).collect();
    let zones = file.zones(&columns)?;
    Ok(Contents { table, zones })
}

/// Reads a file in the other ways: a row range, and column by column.
fn other_ways(bytes: &[u8], rng: &mut Rng) -> pilaster::Result<Vec<ArrayRef>> {
    let file = File::from_bytes("damaged.pil", bytes.to_vec())?;
    let columns = file.meta().shown().len();
    let rows = file.meta().rows();
    let from = rng.next() % (rows + 1);
    let to = from + (rows - from).min(10);
    let mut arrays = Vec::new();
    if columns == 0 {
        return Ok(arrays);
    }
    let request = ScanRequest {
        rows: vec![from..to],
        ..ScanRequest::columns([rng.below(columns)])
    };
    for batch in file.scan(request)? {
        arrays.extend(batch?.columns().iter().cloned());
    }
    file.columns(&[rng.below(columns)], from..to, |_, array| {
        arrays.push(array);
        Ok(())
    })?;
    Ok(arrays)
}

fn sound(array: &dyn Array) -> Result<(), String> {
    array
        .to_data()
        .validate_full()
        .map_err(|e| format!("unsound array of {}: {e}", array.data_type()))
}

fn sound_contents(contents: &Contents) -> Result<(), String> {
    contents.table.columns().iter().try_for_each(|c| sound(c))?;
    for zones in contents.zones.columns.iter().flatten() {
        if let Some((min, max)) = &zones.bounds {
            sound(min)?;
            sound(max)?;
        }
    }
    Ok(())
}

fn same_contents(a: &Contents, b: &Contents) -> Result<(), String> {
    same_table(&a.table, &b.table)?;
    let shown = |z: &Zones| format!("{:?}", z);
    match shown(&a.zones) == shown(&b.zones) {
        true => Ok(()),
        false => Err("zone maps differ".to_owned()),
    }
}

#[test]
fn thirty_thousand_changed_files_give_an_error_or_the_same_values() {
    let originals = originals();
    let watch = Watch::start(Duration::from_secs(60));
    let mut rng = Rng::new(30_000);
    let mut found: BTreeMap<String, (usize, String)> = BTreeMap::new();
    let mut refused = 0;
    for round in 0..MUTATIONS {
        let original = &originals[round % originals.len()];
        let forged = rng.chance(0.5);
        let (how, bytes) = match forged {
            true => forge(original, &mut rng),
            false => change(original, &originals, &mut rng),
        };
        let case = format!("{} round {round}: {how}", original.name);
        watch.case(|| case.clone());
        let outcome = guarded(|| {
            if rng.chance(0.3)
                && let Ok(arrays) = other_ways(&bytes, &mut rng)
            {
                arrays.iter().try_for_each(|a| sound(a))?;
            }
            let Ok(read) = contents(&bytes) else {
                return Ok(true);
            };
            sound_contents(&read)?;
            if !forged {
                same_contents(&original.contents, &read)
                    .map_err(|e| format!("wrong values passed as right: {e}"))?;
            }
            Ok(false)
        });
        let spare = if forged { SPARE_FORGED } else { SPARE };
        let mut wrong = |kind: String| {
            let kind = kind.chars().take(300).collect();
            found.entry(kind).or_insert((0, case.clone())).0 += 1;
        };
        match outcome.result.and_then(|r: Result<bool, String>| r) {
            Ok(error) => refused += usize::from(error),
            Err(e) => wrong(e),
        }
        if outcome.peak > 64 * bytes.len() as u64 + spare {
            wrong(format!("held {} MiB", outcome.peak >> 20));
        }
        if outcome.time > LONGEST {
            wrong("took too long".to_owned());
        }
    }
    assert!(found.is_empty(), "{found:#?}");
    assert!(
        refused > MUTATIONS / 2,
        "only {refused} of {MUTATIONS} were refused"
    );
}

/// Changes bytes and leaves checksums alone.
fn change(original: &Original, all: &[Original], rng: &mut Rng) -> (String, Vec<u8>) {
    let mut bytes = original.bytes.clone();
    let len = bytes.len();
    let how = match rng.below(8) {
        0 | 1 => {
            let count = 1 + rng.below(4);
            for _ in 0..count {
                bytes[rng.below(len)] ^= 1 << rng.below(8);
            }
            format!("{count} flipped bits")
        }
        2 => {
            let to = rng.below(len);
            bytes.truncate(to);
            format!("cut to {to}")
        }
        3 => {
            let (from, count) = (rng.below(len), 1 + rng.below(300));
            let other = &all[rng.below(all.len())].bytes;
            let at = rng.below(other.len());
            let part = &other[at..(at + count).min(other.len())];
            let end = (from + part.len()).min(len);
            bytes.splice(from..end, part.iter().copied());
            format!("{count} bytes of another file at {from}")
        }
        4 => {
            let (from, count) = (rng.below(len), 1 + rng.below(200));
            let end = (from + count).min(len);
            match rng.chance(0.5) {
                true => bytes.drain(from..end).count(),
                false => {
                    bytes.splice(from..from, rng.bytes(count));
                    count
                }
            };
            format!("{count} bytes gone from or put into {from}")
        }
        5 => {
            // The tail holds the lengths.
            let at = len - 1 - rng.below(len.min(300));
            bytes[at] = rng.next() as u8;
            format!("byte {at} of the tail")
        }
        6 => {
            let from = rng.below(len);
            let end = (from + 1 + rng.below(5_000)).min(len);
            bytes[from..end].fill(if rng.chance(0.5) { 0 } else { 0xff });
            format!("{from}..{end} filled")
        }
        _ => {
            let width = [2, 4, 8][rng.below(3)];
            let at = rng.below(len - width);
            let wild = [u64::MAX, 0, 1 << 31, 1 << 40][rng.below(4)];
            bytes[at..at + width].copy_from_slice(&wild.to_le_bytes()[..width]);
            format!("{wild:#x} at {at}")
        }
    };
    (how, bytes)
}

/// A file in parts, so that it can be put together again with right checksums.
struct Parts {
    area: Vec<u8>,
    footer: proto::Footer,
}

fn parts(bytes: &[u8]) -> Parts {
    let end = &bytes[bytes.len() - 64..];
    let word = |at: usize| u64::from_le_bytes(end[at..at + 8].try_into().unwrap()) as usize;
    let (offset, len) = (word(24), word(32));
    let stored = &bytes[offset..offset + len];
    let unpacked = u32::from_le_bytes(end[44..48].try_into().unwrap()) as usize;
    let footer = match unpacked {
        0 => stored.to_vec(),
        n => zstd::bulk::decompress(stored, n).unwrap(),
    };
    let mut parts = Parts {
        area: bytes[..offset].to_vec(),
        footer: proto::Footer::decode(footer.as_slice()).unwrap(),
    };
    for column in 0..parts.footer.columns.len() {
        if let Some(block) = parts.footer.columns[column].block.take() {
            parts.set_block(column, &block);
        }
    }
    parts
}

impl Parts {
    fn block(&self, column: usize) -> (usize, usize) {
        let entry = &self.footer.columns[column];
        (
            entry.offset as usize,
            (entry.offset + entry.length) as usize,
        )
    }

    /// Puts another block in the place of a column's.
    fn set_block(&mut self, column: usize, block: &[u8]) {
        let entry = &mut self.footer.columns[column];
        entry.offset = self.area.len() as u64;
        entry.length = block.len() as u64;
        entry.checksum = checksum(block);
        self.area.extend_from_slice(block);
    }

    /// The file with this footer.
    fn with_footer(self, footer: &[u8]) -> Vec<u8> {
        let mut bytes = self.area;
        let offset = bytes.len() as u64;
        bytes.extend_from_slice(footer);
        let mut end = [0u8; 64];
        end[0] = 1;
        end[24..32].copy_from_slice(&offset.to_le_bytes());
        end[32..40].copy_from_slice(&(footer.len() as u64).to_le_bytes());
        end[40..44].copy_from_slice(&checksum(footer).to_le_bytes());
        end[48..56].copy_from_slice(&(bytes.len() as u64 + 64).to_le_bytes());
        end[56..64].copy_from_slice(b"\0\n\r1\x1aLIP");
        let own = checksum(&end);
        end[4..8].copy_from_slice(&own.to_le_bytes());
        bytes.extend_from_slice(&end);
        bytes
    }

    fn joined(self) -> Vec<u8> {
        let footer = self.footer.encode_to_vec();
        self.with_footer(&footer)
    }
}

/// Changes something and makes the checksums right again.
fn forge(original: &Original, rng: &mut Rng) -> (String, Vec<u8>) {
    let mut parts = parts(&original.bytes);
    let column = rng.below(parts.footer.columns.len());
    let (start, end) = parts.block(column);
    let block = parts.area[start..end].to_vec();
    match rng.below(8) {
        0 => {
            let footer = parts.footer.encode_to_vec();
            let mut variants = wild_fields(&footer);
            variants.extend(damaged(&footer, 30, rng));
            let (how, footer) = variants.swap_remove(rng.below(variants.len()));
            (format!("footer: {how}"), parts.with_footer(&footer))
        }
        1 | 2 => {
            let mut variants = damaged(&block, 60, rng);
            let (how, block) = variants.swap_remove(rng.below(variants.len()));
            parts.set_block(column, &block);
            (format!("block {column}: {how}"), parts.joined())
        }
        3..6 => {
            let mut variants = wild_fields(&block);
            let (how, block) = variants.swap_remove(rng.below(variants.len()));
            parts.set_block(column, &block);
            (format!("block {column}: {how}"), parts.joined())
        }
        _ => {
            let mut message = proto::ColumnBlock::decode(block.as_slice()).unwrap();
            if message.segments.is_empty() {
                return ("nothing".to_owned(), parts.joined());
            }
            let number = rng.below(message.segments.len());
            let segment = &mut message.segments[number];
            let payload = match &segment.inline {
                Some(bytes) => bytes.clone(),
                None => {
                    let start = segment.offset as usize;
                    parts.area[start..start + segment.length as usize].to_vec()
                }
            };
            let mut variants = damaged(&payload, 40, rng);
            let (how, payload) = variants.swap_remove(rng.below(variants.len()));
            match &mut segment.inline {
                Some(bytes) => *bytes = payload,
                None => {
                    let at = parts.area.len().next_multiple_of(SEGMENT_ALIGN as usize);
                    parts.area.resize(at, 0);
                    segment.offset = at as u64;
                    segment.length = payload.len() as u64;
                    let sums =
                        checksum_table(&payload, segment.page_log2, column as u32, number as u32);
                    parts.area.extend_from_slice(&payload);
                    parts.area.extend_from_slice(&sums);
                }
            }
            parts.set_block(column, &message.encode_to_vec());
            (
                format!("segment {number} of {column}: {how}"),
                parts.joined(),
            )
        }
    }
}

#[test]
fn a_forged_file_without_changes_is_the_original() {
    for original in originals() {
        let mut parts = parts(&original.bytes);
        for column in 0..parts.footer.columns.len() {
            let (start, end) = parts.block(column);
            let block = parts.area[start..end].to_vec();
            parts.set_block(column, &block);
        }
        let read = contents(&parts.joined()).unwrap();
        same_contents(&original.contents, &read).unwrap();
    }
}

#[test]
fn every_truncation_of_a_file_is_an_error() {
    let original = &originals()[0];
    for len in 0..original.bytes.len() {
        let outcome = guarded(|| contents(&original.bytes[..len]).is_err());
        assert_eq!(outcome.result, Ok(true), "cut to {len}");
    }
}
