//! What kernels need of an instruction set: a handful of operations on 16 floats or 64 bytes.
//!
//! A kernel is written once, generic over [`Simd`], and [`dispatch`] runs it with the widest set that
//! the processor has. A value of such a type exists only where the processor has its instructions, so
//! kernels themselves are safe code. [`Scalar`] is the twin of all others: sums of integers are the
//! same bit for bit, sums of floats differ in the order of their terms, roots by [`ROOTS`].

use std::sync::OnceLock;

/// Values that one operation takes.
pub const LANES: usize = 16;
/// How far off roots may be, in parts of themselves.
pub const ROOTS: f32 = 1.0 / (1u32 << 21) as f32;
/// Codes that one operation takes.
pub const BLOCK: usize = 64;

/// The values from `at` on; nothing where there are no more.
#[inline(always)]
pub fn lanes<T: Copy + Default>(values: &[T], at: usize) -> [T; LANES] {
    let values = values.get(at..).unwrap_or_default();
    match values.first_chunk::<LANES>() {
        Some(whole) => *whole,
        None => {
            let mut padded = [T::default(); LANES];
            padded[..values.len()].copy_from_slice(values);
            padded
        }
    }
}

/// Operations of an instruction set.
pub trait Simd: Copy {
    /// 16 floats.
    type Floats: Copy;
    /// Sums of products of bytes.
    type Ints: Copy;
    /// 64 bytes.
    type Bytes: Copy;

    /// Sums of nothing.
    fn no_floats(self) -> Self::Floats;
    /// Floats as they lie in memory.
    fn floats(self, bytes: &[u8; 64]) -> Self::Floats;
    /// Half floats by their bits.
    fn halves(self, bits: &[u16; LANES]) -> Self::Floats;
    /// `sum + a * b`.
    fn add_product(self, sum: Self::Floats, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a - b`.
    fn difference(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a + b`.
    fn sum(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// The floats one by one.
    fn each(self, floats: Self::Floats) -> [f32; LANES];
    /// Square roots, off by no more than [`ROOTS`] of themselves and 1e-18; NaN of negative numbers, and
    /// perhaps of infinity.
    #[inline(always)]
    fn roots(self, floats: &[f32; LANES]) -> [f32; LANES] {
        floats.map(f32::sqrt)
    }
    /// Sum of all.
    fn total(self, floats: Self::Floats) -> f32;

    /// Sums of nothing.
    fn no_ints(self) -> Self::Ints;
    /// Bytes as they lie in memory.
    fn bytes(self, bytes: &[u8; BLOCK]) -> Self::Bytes;
    /// The bits of each byte from `SHIFT` on, of which `mask` stay; at most seven may.
    fn bits<const SHIFT: u32>(self, bytes: Self::Bytes, mask: u8) -> Self::Bytes;
    /// The first 64 of the codes of `WIDTH` bits (below eight) that lie in these bytes one after the
    /// other.
    fn codes<const WIDTH: usize>(self, bytes: &[u8; BLOCK]) -> Self::Bytes;
    /// Each byte with its highest bit flipped: signed numbers become unsigned ones, 128 larger.
    fn flipped(self, bytes: Self::Bytes) -> Self::Bytes;
    /// Magnitudes of signed bytes.
    fn magnitudes(self, bytes: Self::Bytes) -> Self::Bytes;
    /// Adds the products of unsigned codes with signed numbers; `SMALL` promises that no code is
    /// above 127.
    fn add_products<const SMALL: bool>(
        self,
        sum: Self::Ints,
        codes: Self::Bytes,
        numbers: Self::Bytes,
    ) -> Self::Ints;
    /// Sum of all, modulo 2^32.
    fn int_total(self, ints: Self::Ints) -> i32;
    /// The same of four.
    fn int_totals(self, a: Self::Ints, b: Self::Ints, c: Self::Ints, d: Self::Ints) -> [i32; 4];
}

/// Something to compute with the instructions at hand. Implementations are `#[inline(always)]`, so
/// that the compiler uses those instructions in all of it.
pub trait Kernel {
    /// What comes out.
    type Output;

    /// Computes it.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Instruction sets, from the plainest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Whatever the compiler makes of plain code.
    Scalar,
    /// AVX2, FMA, F16C and BMI2.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 with byte permutations and integer dot products.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    /// The sets that this processor has, the widest last.
    pub fn available() -> &'static [Level] {
        static LEVELS: OnceLock<Vec<Level>> = OnceLock::new();
        LEVELS.get_or_init(|| {
            #[cfg_attr(not(target_arch = "x86_64"), allow(unused_mut))]
            let mut levels = vec![Level::Scalar];
            #[cfg(target_arch = "x86_64")]
            {
                levels.extend(super::x86::Avx2::new().map(|_| Level::Avx2));
                levels.extend(super::x86::Avx512::new().map(|_| Level::Avx512));
            }
            levels
        })
    }

    /// Runs a kernel with this set, or with plain code if the processor lacks it.
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[cfg(target_arch = "x86_64")]
        match self {
            Level::Scalar => {}
            Level::Avx2 => {
                if let Some(simd) = super::x86::Avx2::new() {
                    return simd.run(kernel);
                }
            }
            Level::Avx512 => {
                if let Some(simd) = super::x86::Avx512::new() {
                    return simd.run(kernel);
                }
            }
        }
        kernel.run(Scalar)
    }
}

/// Runs a kernel with the widest instructions that the processor has.
pub fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    let widest = Level::available().last().copied();
    widest.unwrap_or(Level::Scalar).run(kernel)
}

/// Plain code.
#[derive(Debug, Clone, Copy)]
pub struct Scalar;

impl Simd for Scalar {
    type Floats = [f32; LANES];
    type Ints = [i32; LANES];
    type Bytes = [u8; BLOCK];

    #[inline(always)]
    fn no_floats(self) -> [f32; LANES] {
        [0.0; LANES]
    }

    #[inline(always)]
    fn floats(self, bytes: &[u8; 64]) -> [f32; LANES] {
        let (words, _) = bytes.as_chunks::<4>();
        std::array::from_fn(|i| f32::from_le_bytes(words[i]))
    }

    #[inline(always)]
    fn halves(self, bits: &[u16; LANES]) -> [f32; LANES] {
        bits.map(|b| half::f16::from_bits(b).to_f32())
    }

    #[inline(always)]
    fn add_product(self, sum: [f32; LANES], a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        std::array::from_fn(|i| sum[i] + a[i] * b[i])
    }

    #[inline(always)]
    fn difference(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        std::array::from_fn(|i| a[i] - b[i])
    }

    #[inline(always)]
    fn sum(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        std::array::from_fn(|i| a[i] + b[i])
    }

    #[inline(always)]
    fn each(self, floats: [f32; LANES]) -> [f32; LANES] {
        floats
    }

    #[inline(always)]
    fn total(self, floats: [f32; LANES]) -> f32 {
        floats.into_iter().sum()
    }

    #[inline(always)]
    fn no_ints(self) -> [i32; LANES] {
        [0; LANES]
    }

    #[inline(always)]
    fn bytes(self, bytes: &[u8; BLOCK]) -> [u8; BLOCK] {
        *bytes
    }

    #[inline(always)]
    fn bits<const SHIFT: u32>(self, bytes: [u8; BLOCK], mask: u8) -> [u8; BLOCK] {
        bytes.map(|b| b >> SHIFT & mask)
    }

    #[inline(always)]
    fn codes<const WIDTH: usize>(self, bytes: &[u8; BLOCK]) -> [u8; BLOCK] {
        std::array::from_fn(|i| {
            let (at, shift) = (i * WIDTH / 8, i * WIDTH % 8);
            let word = u16::from(bytes[at]) | u16::from(bytes[(at + 1).min(BLOCK - 1)]) << 8;
            (word >> shift) as u8 & ((1u32 << WIDTH) - 1) as u8
        })
    }

    #[inline(always)]
    fn flipped(self, bytes: [u8; BLOCK]) -> [u8; BLOCK] {
        bytes.map(|b| b ^ 0x80)
    }

    #[inline(always)]
    fn magnitudes(self, bytes: [u8; BLOCK]) -> [u8; BLOCK] {
        bytes.map(|b| (b as i8).unsigned_abs())
    }

    #[inline(always)]
    fn add_products<const SMALL: bool>(
        self,
        mut sum: [i32; LANES],
        codes: [u8; BLOCK],
        numbers: [u8; BLOCK],
    ) -> [i32; LANES] {
        for i in 0..BLOCK {
            let product = i32::from(codes[i]) * i32::from(numbers[i] as i8);
            sum[i % LANES] = sum[i % LANES].wrapping_add(product);
        }
        sum
    }

    #[inline(always)]
    fn int_total(self, ints: [i32; LANES]) -> i32 {
        ints.into_iter().fold(0, i32::wrapping_add)
    }

    #[inline(always)]
    fn int_totals(
        self,
        a: [i32; LANES],
        b: [i32; LANES],
        c: [i32; LANES],
        d: [i32; LANES],
    ) -> [i32; 4] {
        [a, b, c, d].map(|ints| self.int_total(ints))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Roots([f32; LANES]);

    impl Kernel for Roots {
        type Output = [f32; LANES];

        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> [f32; LANES] {
            simd.roots(&self.0)
        }
    }

    #[test]
    fn roots_are_as_near_as_they_are_said_to_be() {
        let mut x = 1.1e-38f32;
        while x < 9e37 {
            let given = std::array::from_fn(|i| x * (1.0 + i as f32 * 0.17));
            for level in Level::available() {
                for (root, x) in level.run(Roots(given)).into_iter().zip(given) {
                    let exact = f64::from(x).sqrt();
                    let off = (f64::from(root) - exact).abs();
                    assert!(off <= exact * f64::from(ROOTS) + 1e-18, "{level:?} {x}");
                }
            }
            x *= 1.003;
        }
        for level in Level::available() {
            let mut given = [0.0; LANES];
            (given[1], given[2], given[3]) = (-1.0, f32::NAN, f32::from_bits(1));
            let roots = level.run(Roots(given));
            assert_eq!((roots[0], roots[4]), (0.0, 0.0), "{level:?}");
            assert!(roots[1].is_nan() && roots[2].is_nan(), "{level:?}");
            assert!((0.0..1e-18).contains(&roots[3]), "{level:?} {}", roots[3]);
        }
    }
}
