//! Cache files in and out.

use std::path::{Path, PathBuf};

use pilaster::kind::kv::{
    Chosen, FitOptions, PrefixKey, TokenType, export, fit, import, read_cache, read_npy, read_npz,
    read_safetensors, write_npz, write_safetensors,
};

use super::*;

fn written(folder: &Path, name: &str, cache: &Cache, model: &str) -> PathBuf {
    let path = folder.join(name);
    write_safetensors(&path, cache, model).unwrap();
    path
}

#[test]
fn cache_files_go_in_and_come_out_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let caches = [
        cache(shape(Dtype::BF16), 300, 1),
        cache(shape(Dtype::BF16), 40, 2),
    ];
    let sources = [
        written(folder.path(), "a.safetensors", &caches[0], "tiny"),
        written(folder.path(), "b.safetensors", &caches[1], "tiny"),
    ];
    let stored = folder.path().join("kv.pil");
    let done = import(&sources, &stored, KvOptions::default(), b"salt").unwrap();
    assert_eq!((done.prefixes, done.tokens), (2, 340));
    for (i, source) in sources.iter().enumerate() {
        let out = folder.path().join("out.safetensors");
        export(&stored, &out, &Chosen::Place(i), None).unwrap();
        assert_eq!(std::fs::read(&out).unwrap(), std::fs::read(source).unwrap());
        assert_eq!(read_safetensors(&out).unwrap().cache, caches[i]);
    }
    let nowhere = folder.path().join("x.safetensors");
    assert!(export(&stored, &nowhere, &Chosen::Place(2), None).is_err());
    assert!(export(&stored, &nowhere, &"0123456789".parse().unwrap(), None).is_err());
    assert!("first".parse::<Chosen>().is_err());
    // The first run of the first cache, by its name.
    let digest = PrefixKey::new("tiny", b"salt").chain(caches[0].tokens())[0].to_string();
    export(&stored, &nowhere, &digest[..12].parse().unwrap(), None).unwrap();
    let part = read_safetensors(&nowhere).unwrap().cache;
    assert_eq!(part.tokens(), &caches[0].tokens()[..256]);
    assert_eq!(
        part.rows(2, Side::V),
        caches[0].rows(2, Side::V)[..256 * 64]
    );
}

#[test]
fn numpy_archives_of_every_type_go_in_and_come_out_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    for dtype in [
        Dtype::F16,
        Dtype::BF16,
        Dtype::F32,
        Dtype::F8E4M3,
        Dtype::F8E5M2,
    ] {
        let cache = cache(shape(dtype), 70, 3);
        let source = folder.path().join("a.npz");
        write_npz(&source, &cache, "tiny").unwrap();
        let stored = folder.path().join("kv.pil");
        let sources = std::slice::from_ref(&source);
        import(sources, &stored, KvOptions::default(), b"").unwrap();
        let out = folder.path().join("out.npz");
        export(&stored, &out, &Chosen::Place(0), None).unwrap();
        assert_eq!(
            std::fs::read(&out).unwrap(),
            std::fs::read(&source).unwrap()
        );
        let back = read_npz(&out).unwrap();
        assert_eq!((back.cache, back.model.as_deref()), (cache, Some("tiny")));
    }
}

#[test]
fn keys_values_and_tokens_may_be_files_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let header = |descr: &str, shape: &str| {
        let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes
    };
    let values: Vec<u8> = (0..48).collect();
    let put = |name: &str, head: Vec<u8>, values: &[u8]| {
        std::fs::write(folder.path().join(name), [head, values.to_vec()].concat()).unwrap();
    };
    put("run-k.npy", header("<f2", "(2, 1, 3, 4)"), &values);
    put("run-v.npy", header("<f2", "(2, 1, 3, 4)"), &values);
    let tokens: Vec<u8> = [5i64, 6, 7].iter().flat_map(|t| t.to_le_bytes()).collect();
    put("run-tokens.npy", header("<i8", "(3,)"), &tokens);
    let read = read_npy(&folder.path().join("run-k.npy")).unwrap();
    assert_eq!(read.cache.tokens(), [5, 6, 7]);
    assert_eq!(read.cache.tensor(Side::V), values);
    assert!(read_npy(&folder.path().join("run-v.npy")).is_err());
    put("run-v.npy", header("<f4", "(2, 1, 3, 2)"), &values);
    assert!(read_npy(&folder.path().join("run-k.npy")).is_err());
}

#[test]
fn a_source_of_another_model_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(shape(Dtype::F16), 10, 1);
    let source = written(folder.path(), "a.safetensors", &cache, "tiny");
    let stored = folder.path().join("kv.pil");
    let error = import(&[source], &stored, KvOptions::for_model("large"), b"").unwrap_err();
    assert!(
        error.to_string().contains("of model 'tiny', not 'large'"),
        "{error}"
    );
    assert!(!stored.exists());
}

/// The shared caches: `PILASTER_KV=DIR cargo test --no-default-features --features sources
/// real_caches -- --ignored --nocapture`, where `DIR` holds folders of `.safetensors` files.
#[test]
#[ignore = "needs caches in the folder PILASTER_KV"]
fn real_caches_come_back_and_take_what_the_entropy_of_their_exponents_says() {
    let root = PathBuf::from(std::env::var("PILASTER_KV").unwrap());
    let folder = tempfile::tempdir().unwrap();
    for path in cache_files(&root) {
        let read = read_safetensors(&path).unwrap();
        let stored = folder.path().join("kv.pil");
        let done = import(
            std::slice::from_ref(&path),
            &stored,
            KvOptions::default(),
            b"",
        )
        .unwrap();
        let file = KvFile::open(&stored).unwrap();
        let rows = file.sequences()[0].rows.clone();
        assert_eq!(file.cache(rows).unwrap(), read.cache);
        let share = done.bytes_out as f64 / done.value_bytes as f64;
        let most = match done.shape.dtype {
            Dtype::BF16 => 0.675,
            _ => 0.86,
        };
        println!(
            "{}: exact {:.2} % of {}",
            path.display(),
            share * 100.0,
            done.shape.dtype.name()
        );
        assert!(share <= most);
    }
}

/// Bits a value under a spec, and what comes back in files for `kv_eval.py`:
/// `PILASTER_KV=DIR PILASTER_KV_OUT=DIR PILASTER_KV_SPEC=kivi4 cargo test ... real_lossy -- --ignored`.
#[test]
#[ignore = "needs caches in the folder PILASTER_KV"]
fn real_lossy_caches_are_written_for_their_evaluation() {
    let root = PathBuf::from(std::env::var("PILASTER_KV").unwrap());
    let out = PathBuf::from(std::env::var("PILASTER_KV_OUT").unwrap());
    let spec = std::env::var("PILASTER_KV_SPEC").unwrap();
    let samples = std::env::var("PILASTER_KV_SAMPLES").ok();
    for path in cache_files(&root) {
        let mut options = KvOptions {
            specs: ["k*", "v*"].map(|c| (c.to_owned(), spec.clone())).to_vec(),
            ..KvOptions::default()
        };
        // `klt(fitted,0.3)`: by a profile of the other caches of its folder, or of that of the samples.
        if spec.starts_with("klt(fitted") {
            let folder = path.parent().unwrap();
            let samples = samples.as_ref().map_or(folder, Path::new);
            let others = cache_files(samples).into_iter();
            let others = others.filter(|p| p.file_name() != path.file_name());
            let read: Vec<_> = others.map(|p| read_safetensors(&p).unwrap()).collect();
            let model = read[0].model.clone().unwrap();
            let read: Vec<_> = read.into_iter().map(|r| r.cache).collect();
            let fitting = FitOptions {
                model,
                ..FitOptions::default()
            };
            let profile = fit(&read, &fitting).unwrap();
            println!("profile of {} bytes", profile.to_bytes().len());
            options.profiles = vec![("fitted".to_owned(), profile.into())];
        }
        let stored = out.join("kv.pil");
        let done = import(std::slice::from_ref(&path), &stored, options.clone(), b"").unwrap();
        let name = path.file_name().unwrap();
        let folder = path.parent().unwrap().file_name().unwrap();
        let to = out.join(folder);
        std::fs::create_dir_all(&to).unwrap();
        export(&stored, &to.join(name), &Chosen::Place(0), None).unwrap();
        let width = done.shape.dtype.width() as u64;
        let anatomy = pilaster::file::File::open(&stored)
            .unwrap()
            .anatomy()
            .unwrap();
        let layers = anatomy.columns.iter().filter(|c| {
            let name = c.field.name().trim_start_matches('$');
            name.starts_with(['k', 'v'])
        });
        let bytes: u64 = layers.map(|c| c.data + c.block).sum();
        let layers = 8.0 * bytes as f64 / (done.value_bytes / width) as f64;
        let bits = 8.0 * done.bytes_out as f64 / (done.value_bytes / width) as f64;
        println!(
            "{}: {spec} {layers:.3} bits a value, {bits:.3} with keys, models and footer",
            path.display()
        );
    }
}

/// All cache files below a folder, in order.
pub fn cache_files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(cache_files(&path));
        } else if path.extension().is_some_and(|e| e == "safetensors")
            && read_safetensors(&path).is_ok()
        {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn token_ids_keep_their_type_and_their_upper_half() {
    let folder = tempfile::tempdir().unwrap();
    let given = cache(shape(Dtype::F16), 2, 1);
    let tensor = |side| given.tensor(side).to_vec();
    for (ids, token_type, comes_back) in [
        ([7, 3_000_000_000], TokenType::U32, TokenType::U32),
        ([7, 3_000_000_000], TokenType::I64, TokenType::I64),
        ([7, 3_000_000_000], TokenType::I32, TokenType::U32),
        ([7, 8], TokenType::I32, TokenType::I32),
        ([7, 8], TokenType::U16, TokenType::U16),
        ([7, 80_000], TokenType::U16, TokenType::U32),
        ([7, 8], TokenType::U64, TokenType::U64),
    ] {
        let (k, v) = (tensor(Side::K), tensor(Side::V));
        let cache = Cache::new(*given.shape(), ids.to_vec(), k, v).unwrap();
        let cache = cache.with_token_type(token_type);
        let stored = folder.path().join("kv.pil");
        let mut writer = KvWriter::create(&stored, KvOptions::for_model("m")).unwrap();
        writer.add(&cache, b"").unwrap();
        writer.finish().unwrap();
        for name in ["out.safetensors", "out.npz"] {
            let out = folder.path().join(name);
            export(&stored, &out, &Chosen::Place(0), None).unwrap();
            let back = read_cache(&out).unwrap().cache;
            assert_eq!(back.tokens(), ids);
            assert_eq!(
                back.token_type(),
                comes_back,
                "{ids:?} as {token_type:?} in {name}"
            );
        }
    }
}

/// A file of the rows of another one.
fn cut(file: &KvFile, rows: &[std::ops::Range<u64>]) -> KvFile {
    let table = file.file();
    let schema = table.meta().schema().unwrap();
    let columns: Vec<usize> = (0..schema.fields().len()).collect();
    let mut writer = pilaster::Writer::in_memory(schema, Default::default()).unwrap();
    for rows in rows {
        let request = pilaster::ScanRequest {
            rows: vec![rows.clone()],
            ..pilaster::ScanRequest::columns(columns.clone())
        };
        for batch in table.scan(request).unwrap() {
            writer.write(&batch.unwrap()).unwrap();
        }
    }
    KvFile::from_bytes("cut.pil", writer.into_bytes().unwrap()).unwrap()
}

#[test]
fn rows_that_were_cut_out_of_a_cache_never_answer_as_another_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let whole = cache(shape(Dtype::F16), 600, 5);
    let prompt = whole.tokens().to_vec();
    let stored = file(std::slice::from_ref(&whole), KvOptions::for_model("m"), b"");
    let found = |rows: &[std::ops::Range<u64>]| cut(&stored, rows).lookup(&prompt, b"").tokens;
    for (rows, tokens) in [
        (vec![0..600], 600),
        (vec![0..300], 256),
        (vec![0..100], 0),
        (vec![1..600], 0),
        (vec![256..600], 0),
        (vec![300..600], 0),
        // A run that lacks rows, and one in two pieces.
        (vec![0..100, 101..600], 0),
        (vec![0..256, 256..400, 401..600], 256),
        (vec![100..256, 0..100], 0),
        // Copies, and a copy that was cut before the whole one.
        (vec![0..600, 0..600], 600),
        (vec![0..100, 0..600], 600),
        (vec![0..550, 0..600], 600),
        // Runs in another order are still runs.
        (vec![256..600, 0..256], 600),
    ] {
        assert_eq!(found(&rows), tokens, "{rows:?}");
        let cut = cut(&stored, &rows);
        let hit = cut.lookup(&prompt, b"");
        let ids: Vec<u32> = hit
            .rows
            .iter()
            .flat_map(|r| cut.tokens(r.clone()).unwrap())
            .collect();
        assert_eq!(ids, prompt[..tokens], "{rows:?}");
        assert_eq!(cut.lookup(&prompt[256..], b"").tokens, 0, "{rows:?}");
    }
    // What leaves the file says where it belongs.
    let part = cut(&stored, &[256..600]).cache(0..344).unwrap();
    let chain = PrefixKey::new("m", b"").chain(&prompt);
    assert_eq!(part.place(), (256, chain[0]));
    for name in ["part.safetensors", "part.npz"] {
        let out = folder.path().join(name);
        match name.ends_with("npz") {
            true => write_npz(&out, &part, "m").unwrap(),
            false => write_safetensors(&out, &part, "m").unwrap(),
        };
        let again = folder.path().join("again.pil");
        import(&[out], &again, KvOptions::default(), b"").unwrap();
        let again = KvFile::open(&again).unwrap();
        assert_eq!(again.sequences()[0].start, 256);
        assert_eq!(again.lookup(&prompt[256..], b"").tokens, 0);
        assert_eq!(again.lookup(&prompt, b"").tokens, 0);
        assert_eq!(again.cache(0..344).unwrap(), part);
        // Beside the rows before it, it is the rest of the prompt.
        let mut writer = KvWriter::in_memory(KvOptions::for_model("m")).unwrap();
        writer.add(&part, b"").unwrap();
        writer.add(&stored.cache(0..256).unwrap(), b"").unwrap();
        let joined = KvFile::from_bytes("t.pil", writer.into_bytes().unwrap()).unwrap();
        let hit = joined.lookup(&prompt, b"");
        assert_eq!((hit.tokens, hit.rows), (600, vec![344..600, 0..344]));
    }
    let error = cut(&stored, &[300..600]).cache(0..300).unwrap_err();
    assert!(error.to_string().contains("within a run"), "{error}");
}
