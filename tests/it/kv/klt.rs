//! Transform codes by a fitted profile.

use std::sync::Arc;

use pilaster::kind::kv::{FitOptions, KvProfile, Pairing, Rope, Rotation, fit};

use super::*;

/// Keys with a mean that is turned by their positions, and values that follow from them in part.
fn turned(tokens: usize, seed: u64, dtype: Dtype, pairing: Pairing) -> Cache {
    let shape = Shape {
        layers: 2,
        heads: 2,
        head_dim: 16,
        dtype,
    };
    let made = cache(
        Shape {
            dtype: Dtype::F32,
            ..shape
        },
        tokens,
        seed,
    );
    let rotation = Rotation::with_base(pairing, 10_000.0, 16);
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    let mut angles = Vec::new();
    for layer in 0..shape.layers {
        let rows = made.values(layer, Side::K).unwrap();
        let noise = made.values(layer, Side::V).unwrap();
        for head in 0..shape.heads {
            for token in 0..tokens {
                let at = token * 32 + head * 16;
                let mut row: Vec<f64> = rows[at..at + 16]
                    .iter()
                    .enumerate()
                    .map(|(i, &x)| f64::from(x) + [9.0, -14.0, 0.0, 4.0][(i + head) % 4])
                    .collect();
                let follows: Vec<f64> = (0..16)
                    .map(|i| {
                        0.4 * row[i] - 0.7 * row[(i + 5) % 16] + 0.3 * f64::from(noise[at + i])
                    })
                    .collect();
                // Turned forward: back by the position's complement.
                rotation.at((token as u32).wrapping_neg(), &mut angles);
                rotation.turn_back(&angles, &mut row);
                row.iter().for_each(|&x| put(&mut keys, x as f32, dtype));
                follows
                    .iter()
                    .for_each(|&x| put(&mut values, x as f32, dtype));
            }
        }
    }
    Cache::new(shape, made.tokens().to_vec(), keys, values).unwrap()
}

fn profile(samples: &[Cache], step: f64) -> Arc<KvProfile> {
    let options = FitOptions {
        model: "m".to_owned(),
        step,
        ..FitOptions::default()
    };
    Arc::new(fit(samples, &options).unwrap())
}

fn by(profile: &Arc<KvProfile>, words: &str) -> KvOptions {
    KvOptions {
        specs: ["k*", "v*"]
            .map(|c| (c.to_owned(), words.to_owned()))
            .to_vec(),
        profiles: vec![("p".to_owned(), Arc::clone(profile))],
        ..KvOptions::for_model("m")
    }
}

fn errors(a: &Cache, b: &Cache) -> [f64; 2] {
    Side::BOTH.map(|side| {
        let (mut off, mut all) = (0.0, 0.0);
        for layer in 0..a.shape().layers {
            let (a, b) = (
                a.values(layer, side).unwrap(),
                b.values(layer, side).unwrap(),
            );
            for (x, y) in a.iter().zip(&b) {
                off += f64::from(x - y) * f64::from(x - y);
                all += f64::from(*x) * f64::from(*x);
            }
        }
        (off / all).sqrt()
    })
}

#[test]
fn another_text_takes_fewer_bits_than_groups_at_a_smaller_error() {
    let half = Pairing::Half;
    let samples = [
        turned(1000, 1, Dtype::F16, half),
        turned(700, 2, Dtype::F16, half),
    ];
    let profile = profile(&samples, 0.2);
    let cache = turned(1024, 3, Dtype::F16, half);
    let size = |options| {
        let file = file(std::slice::from_ref(&cache), options, b"");
        let back = file.cache(0..1024).unwrap();
        let columns = file.file().anatomy().unwrap().columns;
        let bytes: u64 = columns.iter().map(|c| c.data).sum();
        (bytes, errors(&cache, &back))
    };
    let (groups, theirs) = size(kivi("kivi4", "kivi4"));
    let (codes, ours) = size(by(&profile, "klt(p,0.2)"));
    let (fine, finer) = size(by(&profile, "klt(p,0.02)"));
    assert!(codes * 10 < groups * 7, "{codes} {groups}");
    assert!(
        ours[0] < theirs[0] * 1.1 && ours[1] < theirs[1] * 1.1,
        "{ours:?} {theirs:?}"
    );
    assert!(fine < cache.tensor(Side::K).len() as u64 * 2 && finer[0] * 8.0 < ours[0]);
}

#[test]
fn a_part_is_the_same_as_of_all_and_first_and_odd_rows_are_exact() {
    let samples = [turned(1500, 1, Dtype::BF16, Pairing::Interleaved)];
    let profile = profile(&samples, 0.3);
    let mut caches = vec![
        turned(300, 3, Dtype::BF16, Pairing::Interleaved),
        turned(77, 4, Dtype::BF16, Pairing::Interleaved),
    ];
    let nan = half::bf16::NAN.to_le_bytes().repeat(32);
    caches[0].put(1, Side::K, 100, &nan).unwrap();
    let file = file(&caches, by(&profile, "klt(p)"), b"");
    for (sequence, cache) in file.sequences().iter().zip(&caches) {
        let back = file.cache(sequence.rows.clone()).unwrap();
        for side in Side::BOTH {
            let (a, b) = (cache.rows(1, side), back.rows(1, side));
            assert_eq!(a[..4 * 64], b[..4 * 64]);
            assert_ne!(a[40 * 64..], b[40 * 64..]);
        }
    }
    let all = file.cache(0..300).unwrap();
    assert_eq!(all.rows(1, Side::K)[6400..6464], nan);
    file.layers(65..290, 0..2, 1..2, |layer, side, bytes| {
        let whole = all.rows(layer, side);
        for (i, values) in bytes.chunks_exact(32).enumerate() {
            let at = (65 + i) * 64 + 32;
            assert_eq!(values, &whole[at..at + 32], "{layer} {side:?} {i}");
        }
        Ok(())
    })
    .unwrap();
    // The table sees the same values, and no codes.
    let schema = file.file().meta().schema().unwrap();
    assert!(schema.fields().iter().all(|f| !f.name().starts_with('$')));
    assert!(file.file().verify(|_, _| {}).unwrap().problems.is_empty());
}

#[test]
fn what_is_lost_is_declared_and_measured() {
    let cache = turned(900, 1, Dtype::F16, Pairing::Half);
    let profile = profile(std::slice::from_ref(&cache), 0.25);
    let file = file(std::slice::from_ref(&cache), by(&profile, "klt(p)"), b"");
    let anatomy = file.file().anatomy().unwrap();
    let of = |name: &str| {
        anatomy
            .columns
            .iter()
            .find(|c| c.field.name() == name)
            .unwrap()
    };
    let stated = of("k1").lossiness.clone().unwrap();
    assert!(stated.measured_rms > 0.0 && stated.measured_max > stated.measured_rms);
    assert_eq!(
        (of("k1").words.as_str(), stated.metric.as_str()),
        ("klt(p,0.25)", "l2")
    );
    assert!(of("$k1.q").lossiness.is_none() && of("token").lossiness.is_none());
}

#[test]
fn profiles_come_back_and_damage_is_noticed() {
    let cache = turned(600, 1, Dtype::F32, Pairing::Half);
    let profile = profile(std::slice::from_ref(&cache), 0.25);
    let bytes = profile.to_bytes();
    assert_eq!(KvProfile::parse(&bytes).unwrap().to_bytes(), bytes);
    for at in (0..bytes.len()).step_by(701) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 4;
        assert!(KvProfile::parse(&damaged).is_err(), "{at}");
    }
}

#[test]
fn a_profile_may_stay_outside_of_the_file() {
    let samples = [turned(900, 1, Dtype::F16, Pairing::Half)];
    let (profile, other) = (profile(&samples, 0.25), profile(&samples, 0.5));
    let cache = turned(200, 2, Dtype::F16, Pairing::Half);
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, words: &str| {
        let path = folder.path().join(name);
        let mut writer = KvWriter::create(&path, by(&profile, words)).unwrap();
        writer.add(&cache, b"").unwrap();
        let bytes = writer.finish().unwrap().bytes;
        (path, bytes)
    };
    let (inside, whole) = write("inside.pil", "klt(p,0.25)");
    let (outside, small) = write("outside.pil", "klt(p,0.25,outside)");
    assert!(small + 8000 < whole, "{small} {whole}");
    let all = KvFile::open(&inside).unwrap().cache(0..200).unwrap();
    let found = KvFile::open_with_profile(&outside, &profile).unwrap();
    assert_eq!(found.cache(0..200).unwrap(), all);
    for missing in [
        KvFile::open(&outside).unwrap(),
        KvFile::open_with_profile(&outside, &other).unwrap(),
    ] {
        let error = missing.cache(0..200).unwrap_err().to_string();
        assert!(error.contains("lives outside the file"), "{error}");
    }
}

#[test]
fn a_profile_of_something_else_is_refused() {
    let cache = turned(800, 1, Dtype::F16, Pairing::Half);
    let profile = profile(std::slice::from_ref(&cache), 0.25);
    let refused = |cache: &Cache, options: KvOptions| {
        let mut writer = KvWriter::in_memory(options).unwrap();
        writer.add(cache, b"").unwrap_err().to_string()
    };
    let other = KvOptions {
        model: "large".to_owned(),
        ..by(&profile, "klt(p)")
    };
    assert!(refused(&cache, other).contains("is of model 'm'"));
    let shaped = super::cache(shape(Dtype::F16), 40, 1);
    assert!(refused(&shaped, by(&profile, "klt(p)")).contains("is for 2 layers"));
    let pairs = turned(800, 1, Dtype::F16, Pairing::Interleaved);
    assert!(refused(&pairs, by(&profile, "klt(p)")).contains("interleaved pairs"));
    let mut alone = by(&profile, "klt(p)");
    alone.specs.remove(0);
    assert!(refused(&cache, alone).contains("coded given k0"));
    assert!(refused(&cache, by(&profile, "klt(nowhere.kvp)")).contains("cannot read"));
    assert!(refused(&cache, by(&profile, "klt(p,0)")).contains("no step"));
    let said = FitOptions {
        rope: Rope::Pairs(Pairing::Interleaved),
        ..FitOptions::default()
    };
    let error = fit(std::slice::from_ref(&cache), &said)
        .unwrap_err()
        .to_string();
    assert!(error.contains("half-split"), "{error}");
    let few = turned(60, 1, Dtype::F16, Pairing::Half);
    assert!(fit(&[few], &FitOptions::default()).is_err());
}

#[test]
fn a_head_of_some_tokens_reads_little() {
    let shape = Shape {
        layers: 2,
        heads: 2,
        head_dim: 64,
        dtype: Dtype::F16,
    };
    let cache = super::cache(shape, 2048, 5);
    let options = FitOptions {
        model: "m".to_owned(),
        heads: Some(1),
        ..FitOptions::default()
    };
    let samples = [super::cache(shape, 300, 6)];
    let profile = Arc::new(fit(&samples, &options).unwrap());
    for words in ["klt(p)", "kivi4", "exact"] {
        let file = file(std::slice::from_ref(&cache), by(&profile, words), b"");
        let read = |rows, layers, heads| file.layers(rows, layers, heads, |_, _, _| Ok(()));
        // The first read also fetches the profile.
        read(0..2048, 0..2, 0..2).unwrap();
        let all = read(0..2048, 0..2, 0..2).unwrap() as f64;
        for rows in [640..672, 992..1024, 0..32, 2016..2048] {
            let bytes = read(rows.clone(), 1..2, 1..2).unwrap() as f64;
            let share = all / 2.0 / 2.0 / 64.0;
            assert!(
                bytes <= share * 1.15 + 4096.0,
                "{words} {rows:?}: {bytes} bytes of {all}, share {share}"
            );
        }
    }
}
