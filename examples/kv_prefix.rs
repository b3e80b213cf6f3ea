//! A KV cache: stored once, found again by the tokens of a longer prompt, loaded layer by layer.
//!
//! ```text
//! cargo run --example kv_prefix --no-default-features
//! ```

use half::f16;
use pilaster::Result;
use pilaster::kind::kv::{Cache, Dtype, KvFile, KvOptions, KvWriter, Shape};

const SHAPE: Shape = Shape {
    layers: 6,
    heads: 4,
    head_dim: 32,
    dtype: Dtype::F16,
};
const TOKENS: usize = 700;

/// Tensors `[layers, kv_heads, tokens, head_dim]`, as an inference engine would hand them over.
fn tensor(seed: u32) -> Vec<u8> {
    let values = SHAPE.layers * SHAPE.heads * TOKENS * SHAPE.head_dim;
    let value = |i: usize| (i as f32 * 0.37 + seed as f32).sin() * 3.0 + (i % 32) as f32 * 0.1;
    (0..values)
        .flat_map(|i| f16::from_f32(value(i)).to_le_bytes())
        .collect()
}

fn main() -> Result<()> {
    let prompt: Vec<u32> = (0..TOKENS as u32).map(|i| i * 7 % 512).collect();
    let cache = Cache::new(SHAPE, prompt.clone(), tensor(1), tensor(2))?;
    let secret = b"tenant 7";
    for code in ["exact", "kivi4"] {
        let options = KvOptions {
            specs: vec![
                ("k*".to_owned(), code.to_owned()),
                ("v*".to_owned(), code.to_owned()),
            ],
            ..KvOptions::for_model("example-6l")
        };
        let mut writer = KvWriter::in_memory(options)?;
        writer.add(&cache, secret)?;
        let bytes = writer.into_bytes()?;
        println!("{code}: {} bytes", bytes.len());

        let file = KvFile::from_bytes("prefixes.pil", bytes)?;
        let longer: Vec<u32> = prompt.iter().copied().chain([1, 2, 3]).collect();
        let hit = file.lookup(&longer, secret);
        println!("  {} of {} tokens are stored", hit.tokens, longer.len());
        for rows in hit.rows {
            let read = file.layers(rows, 2..4, 0..SHAPE.heads, |layer, side, values| {
                println!(
                    "  layer {layer} {side:?}: {} bytes for the device",
                    values.len()
                );
                Ok(())
            })?;
            println!("  {read} bytes were read");
        }
        println!(
            "  another tenant finds {}",
            file.lookup(&longer, b"tenant 8").tokens
        );
    }
    Ok(())
}
