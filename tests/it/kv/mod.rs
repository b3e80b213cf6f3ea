//! KV files: what is stored comes back, prefixes are found by their text and tenant only, and little
//! is read for little.

use pilaster::kind::kv::{Cache, Dtype, KvFile, KvOptions, KvWriter, Shape, Side};

use crate::generate::Rng;

#[cfg(feature = "sources")]
mod files;
mod klt;
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

/// The values of a side as numbers.
fn numbers(cache: &Cache, side: Side) -> Vec<f64> {
    let (words, _) = cache.tensor(side).as_chunks::<2>();
    let value = |&w: &[u8; 2]| half::f16::from_le_bytes(w).to_f64();
    words.iter().map(value).collect()
}

fn relative_error(a: &Cache, b: &Cache, side: Side) -> f64 {
    let (a, b) = (numbers(a, side), numbers(b, side));
    let error: f64 = a.iter().zip(&b).map(|(x, y)| (x - y) * (x - y)).sum();
    (error / a.iter().map(|x| x * x).sum::<f64>()).sqrt()
}

fn kivi(k: &str, v: &str) -> KvOptions {
    KvOptions {
        specs: [("k*", k), ("v*", v)]
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .to_vec(),
        ..KvOptions::for_model("m")
    }
}

#[test]
fn more_bits_lose_less_and_keys_and_values_have_widths_of_their_own() {
    let cache = cache(shape(Dtype::F16), 512, 3);
    let stored = |k, v| {
        let file = file(std::slice::from_ref(&cache), kivi(k, v), b"");
        let back = file.cache(0..512).unwrap();
        Side::BOTH.map(|side| relative_error(&cache, &back, side))
    };
    let mut last = [1.0; 2];
    for bits in ["kivi2", "kivi4", "kivi8"] {
        let errors = stored(bits, bits);
        assert!(
            errors[0] < last[0] / 3.0 && errors[1] < last[1] / 3.0,
            "{bits}: {errors:?}"
        );
        last = errors;
    }
    assert_eq!(stored("kivi4", "exact")[1], 0.0);
    let mixed = stored("kivi8", "kivi2");
    assert!(mixed[0] < 0.01 && mixed[1] > 0.05, "{mixed:?}");
}

#[test]
fn what_was_lost_is_measured_and_stored() {
    let cache = cache(shape(Dtype::F16), 512, 3);
    let file = file(std::slice::from_ref(&cache), kivi("kivi4", "exact"), b"");
    let anatomy = file.file().anatomy().unwrap();
    let of = |name: &str| {
        let column = anatomy.columns.iter().find(|c| c.field.name() == name);
        column.unwrap().lossiness.clone()
    };
    assert!(of("v1").is_none() && of("token").is_none());
    let stated = of("k1").unwrap();
    assert!(stated.measured_rms > 0.0 && stated.measured_max > stated.measured_rms);
}

#[test]
fn first_tokens_tails_and_odd_rows_stay_exact_under_loss() {
    let mut caches = vec![
        cache(shape(Dtype::F16), 300, 1),
        cache(shape(Dtype::F16), 77, 2),
    ];
    caches[0]
        .put(0, Side::K, 100, &half::f16::NAN.to_le_bytes().repeat(32))
        .unwrap();
    let file = file(&caches, kivi("kivi2(4)", "kivi2(4)"), b"");
    for (sequence, cache) in file.sequences().iter().zip(&caches) {
        let back = file.cache(sequence.rows.clone()).unwrap();
        let rows = cache.tokens().len();
        for side in Side::BOTH {
            let (a, b) = (cache.rows(0, side), back.rows(0, side));
            let row = |bytes: &[u8], i: usize| bytes[i * 64..(i + 1) * 64].to_vec();
            let tail = rows / 32 * 32..rows;
            for i in (0..4).chain(tail.clone().filter(|_| side == Side::K)) {
                assert_eq!(row(&a, i), row(&b, i), "row {i} of {rows}");
            }
            // Values are in groups of their own token: the last need no full unit.
            assert_ne!(row(&a, 40), row(&b, 40));
            assert_eq!(row(&a, tail.start) == row(&b, tail.start), side == Side::K);
        }
    }
    let back = file.cache(0..300).unwrap();
    assert_eq!(
        back.rows(0, Side::K)[6400..6464],
        caches[0].rows(0, Side::K)[6400..6464]
    );
}

#[test]
fn a_part_of_lossy_layers_is_the_same_as_of_all() {
    let cache = cache(shape(Dtype::F16), 300, 8);
    let file = file(&[cache], kivi("kivi4", "kivi2"), b"");
    let all = file.cache(0..300).unwrap();
    file.layers(65..290, 1..3, 1..2, |layer, side, bytes| {
        let whole = all.rows(layer, side);
        for (i, values) in bytes.chunks_exact(32).enumerate() {
            let at = (65 + i) * 64 + 32;
            assert_eq!(values, &whole[at..at + 32]);
        }
        Ok(())
    })
    .unwrap();
}

/// A value of a row and column, given the largest one of its type.
type Pattern = fn(usize, usize, f32) -> f32;

#[test]
fn finite_values_come_back_finite_and_near_under_every_code() {
    let patterns: [(&str, Pattern); 7] = [
        (
            "extremes",
            |t, c, most| if (t + c) % 2 == 0 { most } else { -most },
        ),
        (
            "one largest",
            |t, c, most| if (t, c) == (1, 3) { most } else { 0.0 },
        ),
        (
            "one smallest",
            |t, c, most| if (t, c) == (1, 3) { -most } else { 1.0 },
        ),
        ("near the end of halves", |t, _, _| {
            65504.0 - 32.0 * (t % 4) as f32
        }),
        ("subnormal", |t, c, _| ((t * 7 + c * 3) % 19) as f32 * 6e-8),
        ("tiny", |t, c, _| ((t * 7 + c * 3) % 19) as f32 * 1e-40),
        ("a loud token", |t, c, _| {
            let value = ((t * 7 + c * 3) % 19) as f32 / 8.0 - 1.0;
            if t == 5 { value * 3e4 } else { value }
        }),
    ];
    for dtype in [Dtype::F16, Dtype::BF16, Dtype::F32] {
        let shape = Shape {
            layers: 1,
            ..shape(dtype)
        };
        let (most, ulp) = match dtype {
            Dtype::F16 => (65504.0, 2f32.powi(-11)),
            Dtype::BF16 => (half::bf16::MAX.to_f32(), 2f32.powi(-8)),
            _ => (f32::MAX, 0.0),
        };
        for (name, value) in patterns {
            let mut bytes = Vec::new();
            for head in 0..2 {
                for token in 0..96 {
                    for channel in 0..16 {
                        put(&mut bytes, value(token, head * 16 + channel, most), dtype);
                    }
                }
            }
            let given = Cache::new(shape, (0..96).collect(), bytes.clone(), bytes).unwrap();
            for (code, levels) in [("kivi2", 3.0), ("kivi4", 15.0), ("kivi8", 255.0)] {
                let file = file(std::slice::from_ref(&given), kivi(code, code), b"");
                let back = file.cache(0..96).unwrap();
                for side in Side::BOTH {
                    let (a, b) = (
                        given.values(0, side).unwrap(),
                        back.values(0, side).unwrap(),
                    );
                    // Rows beyond the range of halves are exact and belong to no group.
                    let outside = |t: usize| a[t * 32..][..32].iter().any(|v| v.abs() > 65504.0);
                    for (i, (&x, &y)) in a.iter().zip(&b).enumerate() {
                        let (token, channel) = (i / 32, i % 32);
                        assert!(y.is_finite(), "{code} {dtype:?} {name}: {x} became {y}");
                        let group: Vec<f32> = match side {
                            Side::K => (token / 32 * 32..token / 32 * 32 + 32)
                                .filter(|t| !outside(*t))
                                .map(|t| a[t * 32 + channel])
                                .collect(),
                            Side::V => a[token * 32 + channel / 16 * 16..][..16].to_vec(),
                        };
                        if outside(token) {
                            assert_eq!(x, y, "{code} {dtype:?} {name}");
                            continue;
                        }
                        let low = group.iter().copied().fold(f32::INFINITY, f32::min);
                        let high = group.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                        let allowed = (high - low) / levels * 0.501
                            + ((high - low) + low.abs()) * 2f32.powi(-11)
                            + x.abs() * ulp
                            + 2f32.powi(-24);
                        assert!(
                            (x - y).abs() <= allowed,
                            "{code} {dtype:?} {name} {side:?}: {x} became {y}, {allowed} allowed"
                        );
                    }
                }
            }
        }
    }
}
