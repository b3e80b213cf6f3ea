//! Damage is found when the damaged part is read, and named.

use std::sync::Arc;

use arrow::array::*;
use arrow::record_batch::RecordBatch;
use pilaster::encoding::Profile;
use pilaster::file::{File, ScanRequest};

use super::tables::stored;
use crate::generate::Rng;

fn table() -> RecordBatch {
    let mut rng = Rng::new(3);
    let columns = ["first", "second", "third"].map(|name| {
        let values = Int64Array::from_iter_values((0..60_000).map(|_| rng.next() as i64));
        (name, Arc::new(values) as ArrayRef)
    });
    RecordBatch::try_from_iter(columns).unwrap()
}

fn scanned(file: &File, column: usize) -> pilaster::Result<usize> {
    let batches = file.scan(ScanRequest::columns([column]))?;
    batches.map(|b| Ok(b?.num_rows())).sum()
}

#[test]
fn a_damaged_segment_is_named_and_the_other_columns_are_read() {
    let table = table();
    let sound = stored(&table, Profile::Balanced, 60_000);
    // The columns are noise of the same size, one after the other.
    for (column, name) in ["first", "second", "third"].iter().enumerate() {
        let mut bytes = sound.clone();
        let at = bytes.len() * (2 * column + 1) / 6;
        bytes[at] ^= 0x10;
        let file = File::from_bytes("harvest.pil", bytes).unwrap();
        for other in 0..3 {
            let result = scanned(&file, other);
            if other != column {
                assert_eq!(result.unwrap(), 60_000);
                continue;
            }
            let error = result.unwrap_err().to_string();
            for part in [
                "harvest.pil",
                &format!("column '{name}'"),
                "segment",
                "offset",
            ] {
                assert!(error.contains(part), "'{part}' is not in: {error}");
            }
            let (_, told) = error.split_once("offset ").unwrap();
            let told: usize = told.split(':').next().unwrap().parse().unwrap();
            assert!(told <= at && at - told < 1 << 16, "{told} for {at}");
        }
    }
}

#[test]
fn the_end_of_a_file_says_its_name_when_it_is_damaged() {
    let sound = stored(&table(), Profile::Balanced, 60_000);
    let file = File::from_bytes("sound.pil", sound.clone()).unwrap();
    let footer = sound.len() - file.meta().footer_len() as usize;
    let postscript = sound.len() - 60;
    for (at, part) in [(postscript, "postscript"), (footer + 3, "footer")] {
        let mut bytes = sound.clone();
        bytes[at] ^= 4;
        let error = File::from_bytes("harvest.pil", bytes)
            .and_then(|file| (0..3).try_for_each(|c| scanned(&file, c).map(drop)))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("harvest.pil") && error.contains(part),
            "{part}: {error}"
        );
        assert!(error.contains("offset"), "{error}");
    }
}

#[test]
fn what_is_not_a_pil_file_is_refused_in_a_sentence() {
    let long = vec![b'x'; 5_000];
    for bytes in [&b""[..], b"PIL", b"a,b\n1,2\n", &long] {
        let error = File::from_bytes("notes.csv", bytes.to_vec()).err().unwrap();
        let text = error.to_string();
        assert!(
            text.contains("notes.csv") && text.contains("not a .pil file"),
            "{text}"
        );
    }
}

#[test]
fn a_file_that_was_cut_says_so() {
    let sound = stored(&table(), Profile::Balanced, 60_000);
    for keep in [sound.len() - 1, sound.len() / 2, 100] {
        let error = File::from_bytes("cut.pil", sound[..keep].to_vec())
            .err()
            .unwrap();
        let text = error.to_string();
        assert!(text.contains("cut.pil") && text.contains("end"), "{text}");
    }
}

#[test]
fn verification_looks_at_the_first_bytes_too() {
    let mut bytes = stored(&table(), Profile::Fast, 60_000);
    bytes[0] ^= 1;
    let file = File::from_bytes("start.pil", bytes).unwrap();
    let error = file.verify(|_, _| ()).unwrap_err().to_string();
    assert!(
        error.contains("start.pil") && error.contains("does not start"),
        "{error}"
    );
}
