//! KV files: what is stored comes back, prefixes are found by their text and tenant only, and little
//! is read for little.

use pilaster::kind::kv::{Cache, Dtype, KvFile, KvOptions, KvWriter, Shape, Side};

use crate::generate::Rng;

#[cfg(feature = "sources")]
mod files;
mod lookup;
mod reads;

/// A cache of plausible numbers: channels of different scales, tokens that change slowly.
pub fn cache(shape: Shape, tokens: usize, seed: u64) -> Cache {
    let mut rng = Rng::new(seed);
    let ids = (0..tokens).map(|_| rng.below(5000) as u32).collect();
    let mut tensor = || {
        let mut bytes = Vec::new();
        for series in 0..shape.layers * shape.heads {
            let mut state = vec![0.0f64; shape.head_dim];
            for _ in 0..tokens {
                for (channel, value) in state.iter_mut().enumerate() {
                    let noise: f64 = (0..4).map(|_| rng.unit() - 0.5).sum();
                    *value = 0.8 * *value + noise;
                    let scale = 1.0 + ((channel * 7 + series) % 5) as f64;
                    let shown = (*value * scale + scale) as f32;
                    put(&mut bytes, shown, shape.dtype);
                }
            }
        }
        bytes
    };
    let (k, v) = (tensor(), tensor());
    Cache::new(shape, ids, k, v).unwrap()
}

fn put(bytes: &mut Vec<u8>, value: f32, dtype: Dtype) {
    match dtype {
        Dtype::F32 => bytes.extend(value.to_le_bytes()),
        Dtype::F16 => bytes.extend(half::f16::from_f32(value).to_le_bytes()),
        Dtype::BF16 => bytes.extend(half::bf16::from_f32(value).to_le_bytes()),
        // Any byte is a float8.
        Dtype::F8E4M3 | Dtype::F8E5M2 => bytes.push((value * 8.0) as i8 as u8),
    }
}

pub fn shape(dtype: Dtype) -> Shape {
    Shape {
        layers: 3,
        heads: 2,
        head_dim: 16,
        dtype,
    }
}

/// A file of caches, all of one tenant.
pub fn file(caches: &[Cache], options: KvOptions, salt: &[u8]) -> KvFile {
    let mut writer = KvWriter::in_memory(options).unwrap();
    for cache in caches {
        writer.add(cache, salt).unwrap();
    }
    KvFile::from_bytes("test.pil", writer.into_bytes().unwrap()).unwrap()
}

#[test]
fn caches_of_every_type_come_back_bit_for_bit() {
    for dtype in [
        Dtype::F16,
        Dtype::BF16,
        Dtype::F32,
        Dtype::F8E4M3,
        Dtype::F8E5M2,
    ] {
        let mut caches: Vec<Cache> = [700, 1, 256, 300]
            .iter()
            .map(|&tokens| cache(shape(dtype), tokens, tokens as u64))
            .collect();
        // NaN payloads, infinities and the sign of zero are values like others.
        let odd: Vec<u8> = (0..32 * dtype.width())
            .map(|i| [0xff, 0x7f, 0x80, 0][i % 4])
            .collect();
        caches[0].put(1, Side::K, 77, &odd).unwrap();
        let file = file(&caches, KvOptions::for_model("m"), b"");
        assert_eq!(file.sequences().len(), caches.len());
        for (sequence, cache) in file.sequences().iter().zip(&caches) {
            assert_eq!(&file.cache(sequence.rows.clone()).unwrap(), cache);
        }
    }
}

#[test]
fn caches_of_another_shape_are_refused() {
    let mut writer = KvWriter::in_memory(KvOptions::for_model("m")).unwrap();
    writer.add(&cache(shape(Dtype::F16), 20, 1), b"").unwrap();
    let error = writer
        .add(&cache(shape(Dtype::BF16), 20, 1), b"")
        .unwrap_err();
    assert!(error.to_string().contains("cannot join"), "{error}");
    let none = KvWriter::in_memory(KvOptions::for_model("m")).unwrap();
    assert!(none.into_bytes().is_err());
}
