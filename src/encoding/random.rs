//! Numbers that look random and are the same on all machines.

/// The next number of a sequence (splitmix64: Steele, Lea and Flood, *Fast splittable pseudorandom
/// number generators*, OOPSLA 2014).
pub fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (*seed ^ (*seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
