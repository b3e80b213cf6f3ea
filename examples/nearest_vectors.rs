//! Embeddings: stored exactly and in a byte a value, and searched.
//!
//! ```text
//! cargo run --example nearest_vectors --no-default-features
//! ```

use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use pilaster::kind::embeddings::search::{Metric, nearest};
use pilaster::{File, Result, WriteOptions, Writer};

const ROWS: usize = 10_000;
const DIMENSION: usize = 96;

fn main() -> Result<()> {
    let mut seed = 1u64;
    let mut noise = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    let values: Vec<f32> = (0..ROWS * DIMENSION).map(|_| noise()).collect();
    let query: Vec<f32> = values[..DIMENSION]
        .iter()
        .map(|v| v + 0.1 * noise())
        .collect();

    // Vectors are fixed-size lists; other columns stand beside them.
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let list = DataType::FixedSizeList(Arc::clone(&item), DIMENSION as i32);
    let schema = Arc::new(Schema::new(vec![
        Field::new("v", list, false),
        Field::new("title", DataType::Utf8, false),
    ]));
    let vectors = Arc::new(Float32Array::from(values));
    let vectors: ArrayRef = Arc::new(FixedSizeListArray::try_new(
        item,
        DIMENSION as i32,
        vectors,
        None,
    )?);
    let titles = StringArray::from_iter_values((0..ROWS).map(|i| format!("title {i}")));
    let rows = RecordBatch::try_new(Arc::clone(&schema), vec![vectors, Arc::new(titles)])?;

    for code in ["exact", "lvq4x8", "lvq8", "lvq4"] {
        let options = WriteOptions {
            specs: vec![("v".to_owned(), code.to_owned())],
            ..WriteOptions::default()
        };
        let mut writer = Writer::with_sink(Vec::new(), Arc::clone(&schema), options)?;
        writer.write(&rows)?;
        let bytes = writer.into_bytes()?;
        let size = bytes.len();
        let file = File::from_bytes("vectors.pil", bytes)?;
        let near = nearest(&file, 0, &query, 3, Metric::L2)?;
        let near: Vec<String> = near
            .iter()
            .map(|n| format!("{} at {:.3}", n.row, n.distance))
            .collect();
        println!("{code:<8} {size:>9} bytes   nearest: {}", near.join(", "));
    }
    Ok(())
}
