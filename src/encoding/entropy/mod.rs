//! Entropy coders that the encoding families share.
//!
//! [`rans`] codes many values fast with tables that were fixed beforehand; [`adaptive`] codes a few
//! thousand numbers compactly without any tables, which is how tables themselves are stored;
//! [`symbols`] codes the symbols of short columns under several contexts.

pub mod adaptive;
pub mod rans;
pub mod symbols;

/// Scales counts to frequencies that add up to `total`, each at least one.
///
/// Integer arithmetic only, so that every machine derives the same frequencies from stored counts.
/// There must be at least one count, none may be zero, and no more than `total` of them.
pub fn normalize(counts: &[u32], total: u32) -> Vec<u32> {
    let mut frequencies = vec![0u32; counts.len()];
    // Rare symbols get their one slot first; the others share what is left in proportion.
    let mut slots = u64::from(total);
    let mut sum: u64 = counts.iter().map(|&c| u64::from(c)).sum();
    loop {
        let mut again = false;
        for (f, &c) in frequencies.iter_mut().zip(counts) {
            if *f == 0 && u64::from(c) * slots < sum {
                *f = 1;
                slots = slots.saturating_sub(1);
                sum -= u64::from(c);
                again = true;
            }
        }
        if !again {
            break;
        }
    }
    let mut left = slots;
    let mut shares = Vec::new();
    for (i, (f, &c)) in frequencies.iter_mut().zip(counts).enumerate() {
        if *f == 0 {
            let exact = u64::from(c) * slots;
            *f = (exact / sum) as u32;
            left -= u64::from(*f);
            shares.push((std::cmp::Reverse(exact % sum), i));
        }
    }
    if shares.is_empty() {
        shares.extend((0..counts.len()).map(|i| (std::cmp::Reverse(0), i)));
    }
    shares.sort_unstable();
    for &(_, i) in shares.iter().cycle().take(left as usize) {
        frequencies[i] += 1;
    }
    frequencies
}

#[cfg(test)]
mod tests {
    use super::normalize;

    #[test]
    fn frequencies_add_up_and_none_is_zero() {
        let skewed: Vec<u32> = (1..=9000)
            .map(|i| if i % 7 == 0 { 100_000 } else { 1 })
            .collect();
        for counts in [
            vec![1],
            vec![1, 1_000_000],
            vec![5; 16384],
            vec![u32::MAX; 3],
            skewed,
        ] {
            let f = normalize(&counts, 1 << 14);
            assert_eq!(f.iter().sum::<u32>(), 1 << 14);
            assert!(f.iter().all(|&f| f > 0));
        }
        assert_eq!(normalize(&[3, 1], 1 << 14), [12288, 4096]);
    }
}
