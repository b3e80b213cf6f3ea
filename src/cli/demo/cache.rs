//! The demo's KV cache: keys and values of a made-up language model for one prompt.

use std::time::Instant;

use half::bf16;

use super::super::words::{bytes, plural};
use super::data::Dice;
use super::{Failure, Outcome, Stage};
use crate::kind::kv::{
    Cache, Chosen, Dtype, KvFile, KvOptions, Shape, export, import, write_safetensors,
};

const SHAPE: Shape = Shape {
    layers: 4,
    heads: 2,
    head_dim: 64,
    dtype: Dtype::BF16,
};
/// Tokens of the prompt.
const TOKENS: usize = 1_000;
/// The tenant's secret: without it nothing is found.
const SALT: &[u8] = b"tenant 7";

/// What is asked, and what for.
const QUERIES: [(&str, &str); 1] = [(
    "A row is a token, a layer's keys are a column",
    "SELECT position, token, k0[1] AS first_of_k0, v3[1] AS first_of_v3 FROM prompt \
     WHERE position BETWEEN 500 AND 503 ORDER BY position",
)];

/// Keys with large channels of their own, values that drift from token to token.
fn made() -> Outcome<Cache> {
    let mut dice = Dice::new(5);
    let mut noise = move || (dice.roll(1 << 16) + dice.roll(1 << 16)) as f32 / 65_536.0 - 1.0;
    let tensor = |noise: &mut dyn FnMut() -> f32, keys: bool| {
        let mut bytes = Vec::new();
        for _ in 0..SHAPE.layers * SHAPE.heads {
            let middles: Vec<f32> = (0..SHAPE.head_dim).map(|_| 3.0 * noise()).collect();
            let mut state = vec![0f32; SHAPE.head_dim];
            for _ in 0..TOKENS {
                for (s, middle) in state.iter_mut().zip(&middles) {
                    *s = 0.8 * *s + noise();
                    let value = if keys { middle + *s } else { 0.3 * *s };
                    bytes.extend(bf16::from_f32(value).to_le_bytes());
                }
            }
        }
        bytes
    };
    let k = tensor(&mut noise, true);
    let v = tensor(&mut noise, false);
    Ok(Cache::new(SHAPE, prompt(), k, v)?)
}

fn prompt() -> Vec<u32> {
    let mut dice = Dice::new(6);
    (0..TOKENS).map(|_| dice.roll(32_000) as u32).collect()
}

pub(super) fn run(stage: &mut Stage<'_>) -> Outcome<()> {
    stage.say(&format!(
        "KV caches: {} of a model of {} layers, bf16\n",
        plural(TOKENS as u64, "token", "tokens"),
        SHAPE.layers
    ))?;
    write_safetensors(&stage.at("prompt.safetensors"), &made()?, "demo-model")?;
    let mut sizes = vec![("safetensors", stage.size("prompt.safetensors")?)];
    for (target, name, specs) in [
        ("prompt.pil", "exact", &[][..]),
        (
            "prompt_kivi4.pil",
            "kivi4",
            &[("k*", "kivi4"), ("v*", "kivi4")],
        ),
        (
            "prompt_kivi2.pil",
            "k kivi4, v kivi2",
            &[("k*", "kivi4"), ("v*", "kivi2")],
        ),
    ] {
        let started = Instant::now();
        let owned = |(column, code): &(&str, &str)| ((*column).to_owned(), (*code).to_owned());
        let options = KvOptions {
            specs: specs.iter().map(owned).collect(),
            ..KvOptions::default()
        };
        let sources = [stage.at("prompt.safetensors")];
        import(&sources, &stage.at(target), options, SALT)?;
        stage.imported("prompt.safetensors", target, started);
        sizes.push((name, stage.size(target)?));
    }
    stage.sizes("Sizes of the cache", &sizes)?;
    let first = Chosen::Place(0);
    export(
        &stage.at("prompt.pil"),
        &stage.at("again.safetensors"),
        &first,
        None,
    )?;
    stage.same("prompt.safetensors", "again.safetensors")?;

    let file = KvFile::open(stage.at("prompt.pil"))?;
    let mut longer = prompt();
    longer.push(1);
    let hit = file.lookup(&longer, SALT);
    let rows = hit.rows.first().cloned().ok_or_else(|| {
        Failure::Message("the stored prompt was not found; please report this".into())
    })?;
    let whole = file.file().meta().size();
    let read = file.layers(rows, 1..2, 0..SHAPE.heads, |_, _, _| Ok(()))?;
    stage.say(&format!(
        "A prompt that goes on from it finds {} of its {} tokens; with another tenant's salt, {}.\n\
         Layer 1 of them is {} of the file's {}.\n",
        hit.tokens,
        longer.len(),
        file.lookup(&longer, b"tenant 8").tokens,
        bytes(read),
        bytes(whole)
    ))?;
    stage.name("prompt")?;
    stage.ask(&QUERIES)
}
