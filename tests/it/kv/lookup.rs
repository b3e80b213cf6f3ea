//! Prefixes are found by their tokens, model and salt, and by nothing less.

use super::*;

/// The same tokens under other values.
fn with_tokens(tokens: &[u32], seed: u64) -> Cache {
    let made = cache(shape(Dtype::F16), tokens.len(), seed);
    let tensor = |side| made.tensor(side).to_vec();
    Cache::new(
        *made.shape(),
        tokens.to_vec(),
        tensor(Side::K),
        tensor(Side::V),
    )
    .unwrap()
}

#[test]
fn the_longest_stored_prefix_is_found() {
    let long: Vec<u32> = (0..700).collect();
    let mut other = long.clone();
    other[300] = 9999;
    let caches = [with_tokens(&other, 1), with_tokens(&long, 2)];
    let file = file(&caches, KvOptions::for_model("m"), b"tenant");
    for (prompt, tokens, rows) in [
        (long.clone(), 700, vec![700..1400]),
        (long[..699].to_vec(), 512, vec![700..1212]),
        ([&long[..], &[1, 2, 3]].concat(), 700, vec![700..1400]),
        (other[..520].to_vec(), 512, vec![0..512]),
        (long[..511].to_vec(), 256, vec![0..256]),
        (long[..255].to_vec(), 0, vec![]),
        (long[1..].to_vec(), 0, vec![]),
        (vec![], 0, vec![]),
    ] {
        let hit = file.lookup(&prompt, b"tenant");
        assert_eq!((hit.tokens, hit.rows), (tokens, rows), "{}", prompt.len());
    }
}

#[test]
fn another_salt_or_model_never_hits() {
    let tokens: Vec<u32> = (0..300).collect();
    let caches = [with_tokens(&tokens, 1)];
    let salted = file(&caches, KvOptions::for_model("m"), b"tenant");
    let open = file(&caches, KvOptions::for_model("m"), b"");
    let other = file(&caches, KvOptions::for_model("n"), b"tenant");
    assert_eq!(salted.lookup(&tokens, b"tenant").tokens, 300);
    for salt in [&b""[..], b"Tenant", b"tenant\0", b"tenan"] {
        assert_eq!(salted.lookup(&tokens, salt).tokens, 0);
    }
    assert_eq!(open.lookup(&tokens, b"tenant").tokens, 0);
    assert_eq!(open.lookup(&tokens, b"").tokens, 300);
    // A file of another model has other names for the same tokens.
    let digests = |f: &KvFile| {
        let mut batches = f.file().scan(pilaster::ScanRequest::columns([0])).unwrap();
        batches.next().unwrap().unwrap().column(0).slice(0, 1)
    };
    assert_ne!(&digests(&salted), &digests(&other));
    assert_eq!(
        &digests(&salted),
        &digests(&file(&caches, KvOptions::for_model("m"), b"tenant"))
    );
}

#[test]
fn tenants_share_a_file_and_see_only_their_own() {
    let tokens: Vec<u32> = (0..256).collect();
    let mut writer = KvWriter::in_memory(KvOptions::for_model("m")).unwrap();
    writer.add(&with_tokens(&tokens, 1), b"a").unwrap();
    writer.add(&with_tokens(&tokens, 2), b"b").unwrap();
    let file = KvFile::from_bytes("t.pil", writer.into_bytes().unwrap()).unwrap();
    assert_eq!(file.lookup(&tokens, b"a").rows, [0..256]);
    assert_eq!(file.lookup(&tokens, b"b").rows, [256..512]);
    assert_eq!(file.lookup(&tokens, b"c").tokens, 0);
}

#[test]
fn a_table_that_is_no_kv_file_is_refused_in_words() {
    use arrow::array::{ArrayRef, Int32Array, RecordBatch};
    let column: ArrayRef = std::sync::Arc::new(Int32Array::from(vec![1, 2]));
    let batch = RecordBatch::try_from_iter([("a", column)]).unwrap();
    let mut writer = pilaster::Writer::in_memory(batch.schema(), Default::default()).unwrap();
    writer.write(&batch).unwrap();
    let error = KvFile::from_bytes("t.pil", writer.into_bytes().unwrap())
        .err()
        .unwrap();
    assert!(
        error.to_string().contains("does not hold KV caches"),
        "{error}"
    );
}
