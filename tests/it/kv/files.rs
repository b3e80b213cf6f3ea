//! Cache files in and out.

use std::path::{Path, PathBuf};

use pilaster::kind::kv::{
    Chosen, FitOptions, PrefixKey, export, fit, import, read_npy, read_npz, read_safetensors,
    write_npz, write_safetensors,
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
