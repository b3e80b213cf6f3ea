//! Layers, heads and tokens are read by themselves.

use super::*;

/// What disks and engines read at least.
const PAGE: u64 = 4096;

fn large() -> (Cache, KvFile) {
    let shape = Shape {
        layers: 4,
        heads: 2,
        head_dim: 64,
        dtype: Dtype::F16,
    };
    let cache = cache(shape, 2048, 5);
    let file = file(std::slice::from_ref(&cache), KvOptions::for_model("m"), b"");
    (cache, file)
}

#[test]
fn layers_come_in_order_into_the_callers_buffers() {
    let (cache, file) = large();
    let mut order = Vec::new();
    let mut seen = |layer, side, _: &[u8]| {
        order.push((layer, side));
        Ok(())
    };
    file.layers(0..64, 1..3, 0..2, &mut seen).unwrap();
    assert_eq!(
        order,
        [(1, Side::K), (1, Side::V), (2, Side::K), (2, Side::V)]
    );

    let row = 64 * 2;
    let mut bytes = vec![vec![0u8; 40 * row]; 4];
    let mut buffers: Vec<&mut [u8]> = bytes.iter_mut().map(Vec::as_mut_slice).collect();
    file.layers_into(100..140, 2..4, 1..2, &mut buffers)
        .unwrap();
    let whole = cache.rows(3, Side::V);
    for (i, values) in bytes[3].chunks_exact(row).enumerate() {
        let at = (100 + i) * 2 * row + row;
        assert_eq!(values, &whole[at..at + row]);
    }
    let mut short = vec![0u8; 10];
    assert!(
        file.layers_into(0..64, 0..1, 0..1, &mut [&mut short])
            .is_err()
    );
    assert!(file.layers(0..64, 0..5, 0..1, |_, _, _| Ok(())).is_err());
    assert!(file.layers(0..64, 0..1, 1..3, |_, _, _| Ok(())).is_err());
    assert!(file.layers(0..4000, 0..1, 0..1, |_, _, _| Ok(())).is_err());
}

#[test]
fn a_part_reads_its_share_of_the_bytes_and_the_pages_at_its_ends() {
    let (_, file) = large();
    let read = |rows, layers, heads| file.layers(rows, layers, heads, |_, _, _| Ok(())).unwrap();
    let all = read(0..2048, 0..4, 0..2) as f64;
    for (rows, layers, heads, share) in [
        (0..2048, 2..3, 0..2, 1.0 / 4.0),
        (0..2048, 0..4, 1..2, 1.0 / 2.0),
        (0..2048, 1..2, 0..1, 1.0 / 8.0),
        (640..672, 1..2, 1..2, 1.0 / 512.0),
        (512..1024, 1..2, 1..2, 1.0 / 32.0),
    ] {
        let bytes = read(rows.clone(), layers.clone(), heads.clone());
        let most = all * share * 1.15 + PAGE as f64;
        assert!(
            bytes as f64 <= most,
            "{rows:?} {layers:?} {heads:?}: {bytes} bytes, at most {most}"
        );
    }
}
