//! A hundred prefixes of KV caches in one file.

use std::fs;
use std::path::{Path, PathBuf};

use pilaster_peers::Result;
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};

use super::bench::Bench;
use super::generate::mixed;

const PREFIXES: usize = 100;
const LAYERS: usize = 4;
const HEADS: usize = 2;
const WIDTH: usize = 16;

/// Tokens of a prefix: some are shorter than a run of rows that shares a digest, some have several.
fn tokens(prefix: usize) -> usize {
    60 + prefix * 37 % 900
}

fn token(prefix: usize, position: usize) -> i32 {
    (mixed((prefix * 10_000 + position) as u64) % 32_000) as i32
}

fn side(prefix: usize, salt: u64) -> Vec<u8> {
    let values = LAYERS * HEADS * tokens(prefix) * WIDTH;
    let word = |i: usize| {
        let x = mixed(salt ^ ((prefix * 1_000_003 + i) as u64));
        let value = ((x % 2_048) as f32 - 1_024.0) / 256.0;
        ((value.to_bits() >> 16) as u16).to_le_bytes()
    };
    (0..values).flat_map(word).collect()
}

fn write(path: &Path, prefix: usize) -> Result<()> {
    let shape = vec![LAYERS, HEADS, tokens(prefix), WIDTH];
    let ids: Vec<u8> = (0..tokens(prefix))
        .flat_map(|i| token(prefix, i).to_le_bytes())
        .collect();
    let (k, v) = (side(prefix, 0x4b), side(prefix, 0x56));
    let tensors = [
        (
            "tokens",
            TensorView::new(Dtype::I32, vec![tokens(prefix)], &ids)?,
        ),
        ("k", TensorView::new(Dtype::BF16, shape.clone(), &k)?),
        ("v", TensorView::new(Dtype::BF16, shape, &v)?),
    ];
    let metadata = [("model".to_owned(), "scale".to_owned())]
        .into_iter()
        .collect();
    serialize_to_file(tensors, Some(metadata), path)?;
    Ok(())
}

pub fn run(bench: &mut Bench) -> Result<()> {
    let folder = bench.path("caches");
    fs::create_dir_all(&folder)?;
    let paths: Vec<PathBuf> = (0..PREFIXES)
        .map(|p| folder.join(format!("{p:03}.safetensors")))
        .collect();
    for (prefix, path) in paths.iter().enumerate() {
        write(path, prefix)?;
    }
    let all: usize = (0..PREFIXES).map(tokens).sum();
    let ids: i128 = (0..PREFIXES)
        .flat_map(|p| (0..tokens(p)).map(move |i| i128::from(token(p, i))))
        .sum();
    let sources: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    for profile in bench.profiles.clone() {
        let file = bench.import(&profile, all, &sources, &["--kind", "kv"])?;
        let t = format!("'{}'", file.display());
        bench.expect_numbers(
            &format!("SELECT count(*), sum(token) FROM {t}"),
            &[all as i128, ids],
        );
        let starts = (0..PREFIXES).count() as i128;
        bench.expect_numbers(
            &format!("SELECT count(*) FROM {t} WHERE position = 0"),
            &[starts],
        );
        for prefix in [0, PREFIXES / 2, PREFIXES - 1] {
            let back = bench.path("back.safetensors");
            bench.must(&[
                "-q",
                "export",
                &file.display().to_string(),
                &back.display().to_string(),
                "--prefix",
                &prefix.to_string(),
            ])?;
            let bytes = fs::read(&back)?;
            let found = safetensors::SafeTensors::deserialize(&bytes)?;
            let same = found.tensor("k")?.data() == side(prefix, 0x4b)
                && found.tensor("v")?.data() == side(prefix, 0x56);
            bench.answered(
                same,
                &format!("{profile}: export of prefix {prefix} differs"),
            );
        }
        fs::remove_file(file)?;
    }
    fs::remove_dir_all(folder)?;
    Ok(())
}
