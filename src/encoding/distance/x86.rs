//! The operations of [`Simd`] with AVX2 and with AVX-512.
//!
//! The only unsafe code of the kernels. Each intrinsic needs instructions that the processor must
//! have, which a value of [`Avx2`] or [`Avx512`] vouches for: only `new` makes one, after it asked.
//! Loads are of arrays, so that no pointer leaves its bounds.

use std::arch::x86_64::*;

use super::simd::{BLOCK, Kernel, LANES, Simd};

/// The processor has AVX2, FMA, F16C and BMI2.
#[derive(Debug, Clone, Copy)]
pub struct Avx2(());

/// The processor has AVX-512 F, BW, DQ, VL, VBMI and VNNI.
#[derive(Debug, Clone, Copy)]
pub struct Avx512(());

impl Avx2 {
    /// If the processor has what it takes.
    pub fn new() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
            && is_x86_feature_detected!("bmi2");
        has.then_some(Self(()))
    }

    /// Runs a kernel.
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma,f16c,bmi2")]
        fn inside<K: Kernel>(kernel: K, simd: Avx2) -> K::Output {
            kernel.run(simd)
        }
        // SAFETY: `self` exists only where the processor has these instructions.
        unsafe { inside(kernel, self) }
    }
}

impl Avx512 {
    /// If the processor has what it takes.
    pub fn new() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vbmi")
            && is_x86_feature_detected!("avx512vnni")
            && is_x86_feature_detected!("fma");
        has.then_some(Self(()))
    }

    /// Runs a kernel.
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(
            enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma"
        )]
        fn inside<K: Kernel>(kernel: K, simd: Avx512) -> K::Output {
            kernel.run(simd)
        }
        // SAFETY: `self` exists only where the processor has these instructions.
        unsafe { inside(kernel, self) }
    }
}

// SAFETY of all blocks below: `self` vouches for the instructions, and pointers that are read or
// written are those of arrays of the size that the instruction takes; unaligned forms are used.

impl Simd for Avx2 {
    type Floats = [__m256; 2];
    type Ints = __m256i;
    type Bytes = [__m256i; 2];

    #[inline(always)]
    fn no_floats(self) -> Self::Floats {
        // SAFETY: see above.
        unsafe { [_mm256_setzero_ps(); 2] }
    }

    #[inline(always)]
    fn floats(self, bytes: &[u8; 64]) -> Self::Floats {
        let start = bytes.as_ptr().cast::<f32>();
        // SAFETY: see above; 16 floats of four bytes.
        unsafe { [_mm256_loadu_ps(start), _mm256_loadu_ps(start.add(8))] }
    }

    #[inline(always)]
    fn halves(self, bits: &[u16; LANES]) -> Self::Floats {
        let start = bits.as_ptr().cast::<__m128i>();
        // SAFETY: see above; twice 16 bytes.
        unsafe {
            [
                _mm256_cvtph_ps(_mm_loadu_si128(start)),
                _mm256_cvtph_ps(_mm_loadu_si128(start.add(1))),
            ]
        }
    }

    #[inline(always)]
    fn add_product(self, sum: Self::Floats, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        // SAFETY: see above.
        unsafe {
            [
                _mm256_fmadd_ps(a[0], b[0], sum[0]),
                _mm256_fmadd_ps(a[1], b[1], sum[1]),
            ]
        }
    }

    #[inline(always)]
    fn difference(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        // SAFETY: see above.
        unsafe { [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn sum(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        // SAFETY: see above.
        unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn each(self, floats: Self::Floats) -> [f32; LANES] {
        let mut out = [0f32; LANES];
        // SAFETY: see above; 16 floats.
        unsafe {
            _mm256_storeu_ps(out.as_mut_ptr(), floats[0]);
            _mm256_storeu_ps(out.as_mut_ptr().add(8), floats[1]);
        }
        out
    }

    #[inline(always)]
    fn total(self, floats: Self::Floats) -> f32 {
        // SAFETY: see above.
        unsafe {
            let eight = _mm256_add_ps(floats[0], floats[1]);
            let four = _mm_add_ps(
                _mm256_castps256_ps128(eight),
                _mm256_extractf128_ps::<1>(eight),
            );
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }

    #[inline(always)]
    fn no_ints(self) -> Self::Ints {
        // SAFETY: see above.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    fn bytes(self, bytes: &[u8; BLOCK]) -> Self::Bytes {
        let start = bytes.as_ptr().cast::<__m256i>();
        // SAFETY: see above; twice 32 bytes.
        unsafe { [_mm256_loadu_si256(start), _mm256_loadu_si256(start.add(1))] }
    }

    #[inline(always)]
    fn bits<const SHIFT: u32>(self, bytes: Self::Bytes, mask: u8) -> Self::Bytes {
        // SAFETY: see above.
        unsafe {
            let (count, mask) = (
                _mm_cvtsi32_si128(SHIFT as i32),
                _mm256_set1_epi8(mask as i8),
            );
            bytes.map(|b| _mm256_and_si256(_mm256_srl_epi16(b, count), mask))
        }
    }

    #[inline(always)]
    fn codes<const WIDTH: usize>(self, bytes: &[u8; BLOCK]) -> Self::Bytes {
        let mask = ((1u64 << WIDTH) - 1) * 0x0101_0101_0101_0101;
        let mut out = [0u8; BLOCK];
        for (group, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let word: [u8; 8] = std::array::from_fn(|i| bytes[group * WIDTH + i]);
            // SAFETY: see above.
            *out = unsafe { _pdep_u64(u64::from_le_bytes(word), mask) }.to_le_bytes();
        }
        self.bytes(&out)
    }

    #[inline(always)]
    fn flipped(self, bytes: Self::Bytes) -> Self::Bytes {
        // SAFETY: see above.
        unsafe {
            let high = _mm256_set1_epi8(-128);
            bytes.map(|b| _mm256_xor_si256(b, high))
        }
    }

    #[inline(always)]
    fn magnitudes(self, bytes: Self::Bytes) -> Self::Bytes {
        // SAFETY: see above.
        unsafe { bytes.map(|b| _mm256_abs_epi8(b)) }
    }

    #[inline(always)]
    fn add_products<const SMALL: bool>(
        self,
        sum: Self::Ints,
        codes: Self::Bytes,
        numbers: Self::Bytes,
    ) -> Self::Ints {
        // SAFETY: see above.
        unsafe {
            let mut sum = sum;
            for (codes, numbers) in codes.into_iter().zip(numbers) {
                if SMALL {
                    // Two products of at most 127 * 128 fit 16 bits.
                    let pairs = _mm256_maddubs_epi16(codes, numbers);
                    let fours = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
                    sum = _mm256_add_epi32(sum, fours);
                    continue;
                }
                let low = _mm256_madd_epi16(
                    _mm256_cvtepu8_epi16(_mm256_castsi256_si128(codes)),
                    _mm256_cvtepi8_epi16(_mm256_castsi256_si128(numbers)),
                );
                let high = _mm256_madd_epi16(
                    _mm256_cvtepu8_epi16(_mm256_extracti128_si256::<1>(codes)),
                    _mm256_cvtepi8_epi16(_mm256_extracti128_si256::<1>(numbers)),
                );
                sum = _mm256_add_epi32(sum, _mm256_add_epi32(low, high));
            }
            sum
        }
    }

    #[inline(always)]
    fn int_totals(self, a: Self::Ints, b: Self::Ints, c: Self::Ints, d: Self::Ints) -> [i32; 4] {
        let mut out = [0i32; 4];
        // SAFETY: see above; four integers are written.
        unsafe {
            let pairs = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
            let four = _mm_add_epi32(
                _mm256_castsi256_si128(pairs),
                _mm256_extracti128_si256::<1>(pairs),
            );
            _mm_storeu_si128(out.as_mut_ptr().cast(), four);
        }
        out
    }

    #[inline(always)]
    fn int_total(self, ints: Self::Ints) -> i32 {
        // SAFETY: see above.
        unsafe {
            let four = _mm_add_epi32(
                _mm256_castsi256_si128(ints),
                _mm256_extracti128_si256::<1>(ints),
            );
            let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b00_00_11_10>(four));
            let one = _mm_add_epi32(two, _mm_shuffle_epi32::<1>(two));
            _mm_cvtsi128_si32(one)
        }
    }
}

/// For each of 64 codes of this many bits: the byte that it lies in if groups of eight codes are moved
/// to eight bytes each, and its first bit in that group.
const fn places(width: usize) -> ([u8; BLOCK], [u8; BLOCK]) {
    let (mut bytes, mut bits) = ([0; BLOCK], [0; BLOCK]);
    let mut i = 0;
    while i < BLOCK {
        bytes[i] = (i / 8 * width + i % 8) as u8;
        bits[i] = (i % 8 * width) as u8;
        i += 1;
    }
    (bytes, bits)
}

struct Places<const WIDTH: usize>;

impl<const WIDTH: usize> Places<WIDTH> {
    const OF: ([u8; BLOCK], [u8; BLOCK]) = places(WIDTH);
}

impl Simd for Avx512 {
    type Floats = __m512;
    type Ints = __m512i;
    type Bytes = __m512i;

    #[inline(always)]
    fn no_floats(self) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    fn floats(self, bytes: &[u8; 64]) -> __m512 {
        // SAFETY: see above; 64 bytes.
        unsafe { _mm512_loadu_ps(bytes.as_ptr().cast()) }
    }

    #[inline(always)]
    fn halves(self, bits: &[u16; LANES]) -> __m512 {
        // SAFETY: see above; 32 bytes.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(bits.as_ptr().cast())) }
    }

    #[inline(always)]
    fn add_product(self, sum: __m512, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_fmadd_ps(a, b, sum) }
    }

    #[inline(always)]
    fn difference(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn sum(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn each(self, floats: __m512) -> [f32; LANES] {
        let mut out = [0f32; LANES];
        // SAFETY: see above; 16 floats.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), floats) };
        out
    }

    #[inline(always)]
    fn roots(self, floats: &[f32; LANES]) -> [f32; LANES] {
        // SAFETY: see above; 16 floats.
        let roots = unsafe {
            let x = _mm512_loadu_ps(floats.as_ptr());
            // An inverse root of 14 bits, and a step of Newton's: a third of the time of `sqrt`.
            let inverse = _mm512_rsqrt14_ps(x);
            let root = _mm512_mul_ps(x, inverse);
            let off = _mm512_fnmadd_ps(root, root, x);
            let half = _mm512_mul_ps(inverse, _mm512_set1_ps(0.5));
            let root = _mm512_fmadd_ps(off, half, root);
            let some = _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(x, _mm512_setzero_ps());
            _mm512_maskz_mov_ps(some, root)
        };
        self.each(roots)
    }

    #[inline(always)]
    fn total(self, floats: __m512) -> f32 {
        // SAFETY: see above.
        unsafe { _mm512_reduce_add_ps(floats) }
    }

    #[inline(always)]
    fn no_ints(self) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    fn bytes(self, bytes: &[u8; BLOCK]) -> __m512i {
        // SAFETY: see above; 64 bytes.
        unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
    }

    #[inline(always)]
    fn bits<const SHIFT: u32>(self, bytes: __m512i, mask: u8) -> __m512i {
        // SAFETY: see above.
        unsafe {
            let shifted = _mm512_srli_epi16::<SHIFT>(bytes);
            _mm512_and_si512(shifted, _mm512_set1_epi8(mask as i8))
        }
    }

    #[inline(always)]
    fn codes<const WIDTH: usize>(self, bytes: &[u8; BLOCK]) -> __m512i {
        let (from, first) = const { &Places::<WIDTH>::OF };
        // SAFETY: see above; the tables have 64 bytes.
        unsafe {
            let groups = _mm512_permutexvar_epi8(self.bytes(from), self.bytes(bytes));
            let codes = _mm512_multishift_epi64_epi8(self.bytes(first), groups);
            _mm512_and_si512(codes, _mm512_set1_epi8(((1 << WIDTH) - 1) as i8))
        }
    }

    #[inline(always)]
    fn flipped(self, bytes: __m512i) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_xor_si512(bytes, _mm512_set1_epi8(-128)) }
    }

    #[inline(always)]
    fn magnitudes(self, bytes: __m512i) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_abs_epi8(bytes) }
    }

    #[inline(always)]
    fn add_products<const SMALL: bool>(
        self,
        sum: __m512i,
        codes: __m512i,
        numbers: __m512i,
    ) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_dpbusd_epi32(sum, codes, numbers) }
    }

    #[inline(always)]
    fn int_totals(self, a: __m512i, b: __m512i, c: __m512i, d: __m512i) -> [i32; 4] {
        let mut out = [0i32; 4];
        // SAFETY: see above; four integers are written.
        unsafe {
            let pair =
                |x, y| _mm512_add_epi32(_mm512_unpacklo_epi32(x, y), _mm512_unpackhi_epi32(x, y));
            let (ab, cd) = (pair(a, b), pair(c, d));
            let each =
                _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
            let eight = _mm256_add_epi32(
                _mm512_castsi512_si256(each),
                _mm512_extracti64x4_epi64::<1>(each),
            );
            let four = _mm_add_epi32(
                _mm256_castsi256_si128(eight),
                _mm256_extracti128_si256::<1>(eight),
            );
            _mm_storeu_si128(out.as_mut_ptr().cast(), four);
        }
        out
    }

    #[inline(always)]
    fn int_total(self, ints: __m512i) -> i32 {
        // SAFETY: see above.
        unsafe { _mm512_reduce_add_epi32(ints) }
    }
}
