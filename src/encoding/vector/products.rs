//! Inner products of an eight-bit query with the codes of rows, exactly, as integers.

use crate::encoding::distance::Query;
use crate::encoding::distance::simd::{BLOCK, Kernel, Simd, dispatch};

/// The bytes of a query in the order in which a row's codes of some width come out of its bytes, zeros
/// at the end.
///
/// Codes of 2 and 4 bits come out of a block of 64 bytes in as many rounds as a byte has codes: first
/// the lowest of all bytes, then the next. Others come out 64 at a time in their own order.
#[derive(Debug)]
pub struct Arranged {
    bits: u32,
    blocks: Vec<[u8; BLOCK]>,
}

impl Arranged {
    /// For codes of this width, 2 to 8 bits.
    pub fn new(query: &Query, bits: u32) -> Self {
        let blocks = match rounds(bits) {
            4 => arranged::<4>(query.bytes()),
            2 => arranged::<2>(query.bytes()),
            _ => arranged::<1>(query.bytes()),
        };
        Self { bits, blocks }
    }
}

/// `ROUNDS` blocks for each `ROUNDS * BLOCK` bytes: each byte goes to the next of the blocks.
fn arranged<const ROUNDS: usize>(bytes: &[i8]) -> Vec<[u8; BLOCK]> {
    let mut blocks = vec![[0u8; BLOCK]; ROUNDS * bytes.len().div_ceil(ROUNDS * BLOCK)];
    let parts = bytes.chunks(ROUNDS * BLOCK);
    for (blocks, part) in blocks.as_chunks_mut::<ROUNDS>().0.iter_mut().zip(parts) {
        let (groups, rest) = part.as_chunks::<ROUNDS>();
        for (i, group) in groups.iter().enumerate() {
            for (block, byte) in blocks.iter_mut().zip(group) {
                block[i] = *byte as u8;
            }
        }
        for (block, byte) in blocks.iter_mut().zip(rest) {
            block[groups.len()] = *byte as u8;
        }
    }
    blocks
}

/// In how many rounds codes come out of a block of bytes.
const fn rounds(bits: u32) -> usize {
    match bits {
        2 => 4,
        4 => 2,
        _ => 1,
    }
}

/// Rows of codes.
#[derive(Debug, Clone, Copy)]
pub struct Codes<'a> {
    /// The bytes of rows one after the other.
    pub bytes: &'a [u8],
    /// Bytes of a row.
    pub stride: usize,
    /// Which of the rows, if not all.
    pub rows: Option<&'a [u32]>,
    /// How many rows.
    pub count: usize,
}

impl<'a> Codes<'a> {
    /// The bytes of a row and all after it.
    #[inline(always)]
    fn row_from(&self, i: usize) -> &'a [u8] {
        let row = self.rows.map_or(i, |rows| rows[i] as usize);
        self.bytes.get(row * self.stride..).unwrap_or_default()
    }
}

/// Sums of the products of codes, unsigned numbers, with the bytes of a query.
pub fn unsigned(codes: Codes<'_>, query: &Arranged) -> Vec<i32> {
    macro_rules! run {
        ($bits:literal) => {
            dispatch(Unsigned::<$bits> {
                codes,
                blocks: &query.blocks,
            })
        };
    }
    match query.bits {
        2 => run!(2),
        3 => run!(3),
        4 => run!(4),
        5 => run!(5),
        6 => run!(6),
        7 => run!(7),
        _ => run!(8),
    }
}

struct Unsigned<'a, const BITS: usize> {
    codes: Codes<'a>,
    blocks: &'a [[u8; BLOCK]],
}

/// The first `len` bytes; zeros in `spare` stand for those that are missing, after the last row only.
/// Kernels call this between rows: a call inside of one would cost them their registers.
#[inline(always)]
fn padded<'a>(bytes: &'a [u8], len: usize, spare: &'a mut Vec<u8>) -> &'a [u8] {
    match bytes.get(..len) {
        Some(whole) => whole,
        None => {
            spare.clear();
            spare.extend_from_slice(bytes);
            spare.resize(len, 0);
            spare
        }
    }
}

/// Adds the products of the codes in a block of bytes with the bytes of a query.
#[inline(always)]
fn add<const BITS: usize, S: Simd>(
    simd: S,
    sum: S::Ints,
    part: &[u8; BLOCK],
    query: &[[u8; BLOCK]],
) -> S::Ints {
    let at = |round: usize| simd.bytes(&query[round]);
    let codes = simd.bytes(part);
    match BITS {
        2 => {
            let sum = simd.add_products::<true>(sum, simd.bits::<0>(codes, 3), at(0));
            let sum = simd.add_products::<true>(sum, simd.bits::<2>(codes, 3), at(1));
            let sum = simd.add_products::<true>(sum, simd.bits::<4>(codes, 3), at(2));
            simd.add_products::<true>(sum, simd.bits::<6>(codes, 3), at(3))
        }
        4 => {
            let sum = simd.add_products::<true>(sum, simd.bits::<0>(codes, 15), at(0));
            simd.add_products::<true>(sum, simd.bits::<4>(codes, 15), at(1))
        }
        8 => simd.add_products::<false>(sum, codes, at(0)),
        _ => simd.add_products::<true>(sum, simd.codes::<BITS>(part), at(0)),
    }
}

/// Sum of the products of a row, whose bytes reach to the end of the last block.
#[inline(always)]
fn one<const BITS: usize, S: Simd>(simd: S, row: &[u8], blocks: &[[u8; BLOCK]]) -> i32 {
    // Bytes that a block's codes take.
    let step = match BITS {
        2 | 4 | 8 => BLOCK,
        _ => 8 * BITS,
    };
    let (mut sum, mut row) = (simd.no_ints(), row);
    for query in blocks.chunks_exact(rounds(BITS as u32)) {
        let Some(part) = row.first_chunk() else {
            break;
        };
        sum = add::<BITS, S>(simd, sum, part, query);
        row = row.get(step..).unwrap_or_default();
    }
    simd.int_total(sum)
}

/// The same of four rows of whole bytes: each block of the query is fetched once, and totals are cheaper
/// together. The sums are variables of their own, since the compiler keeps arrays of them in memory.
#[inline(always)]
fn four<const BITS: usize, S: Simd>(
    simd: S,
    [a, b, c, d]: [&[u8]; 4],
    blocks: &[[u8; BLOCK]],
) -> [i32; 4] {
    let zero = simd.no_ints();
    let (mut of_a, mut of_b, mut of_c, mut of_d) = (zero, zero, zero, zero);
    let (a, b) = (a.as_chunks::<BLOCK>().0, b.as_chunks::<BLOCK>().0);
    let (c, d) = (c.as_chunks::<BLOCK>().0, d.as_chunks::<BLOCK>().0);
    let rows = a.iter().zip(b).zip(c.iter().zip(d));
    for (((a, b), (c, d)), query) in rows.zip(blocks.chunks_exact(rounds(BITS as u32))) {
        of_a = add::<BITS, S>(simd, of_a, a, query);
        of_b = add::<BITS, S>(simd, of_b, b, query);
        of_c = add::<BITS, S>(simd, of_c, c, query);
        of_d = add::<BITS, S>(simd, of_d, d, query);
    }
    simd.int_totals(of_a, of_b, of_c, of_d)
}

impl<const BITS: usize> Unsigned<'_, BITS> {
    /// Bytes from the start of a row to the end of its last block; what follows the row is multiplied
    /// by the zeros at the end of the query.
    #[inline(always)]
    fn reach(&self) -> usize {
        match BITS {
            2 | 4 | 8 => self.blocks.len() / rounds(BITS as u32) * BLOCK,
            _ => (self.blocks.len().max(1) - 1) * 8 * BITS + BLOCK,
        }
    }

    /// Four rows at a time, as many as reach no further than the bytes do.
    #[inline(always)]
    fn in_fours<S: Simd>(&self, simd: S, out: &mut Vec<i32>) {
        let (stride, len) = (self.codes.stride, self.reach());
        let groups = self.codes.count / 4;
        match self.codes.rows {
            None => {
                let mut bytes = self.codes.bytes;
                for _ in 0..groups {
                    let Some(window) = bytes.get(..3 * stride + len) else {
                        return;
                    };
                    let row = |i: usize| &window[i * stride..i * stride + len];
                    let rows = [row(0), row(1), row(2), row(3)];
                    out.extend_from_slice(&four::<BITS, S>(simd, rows, self.blocks));
                    bytes = &bytes[4 * stride..];
                }
            }
            Some(places) => {
                for places in places.as_chunks::<4>().0.iter().take(groups) {
                    let row = |place: u32| {
                        let bytes = self.codes.bytes.get(place as usize * stride..)?;
                        bytes.get(..len)
                    };
                    let [Some(a), Some(b), Some(c), Some(d)] = places.map(row) else {
                        return;
                    };
                    out.extend_from_slice(&four::<BITS, S>(simd, [a, b, c, d], self.blocks));
                }
            }
        }
    }
}

impl<const BITS: usize> Kernel for Unsigned<'_, BITS> {
    type Output = Vec<i32>;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Vec<i32> {
        let mut out = Vec::with_capacity(self.codes.count);
        // Blocks of whole bytes lie one after the other in each row.
        if matches!(BITS, 2 | 4 | 8) {
            self.in_fours(simd, &mut out);
        }
        let mut spare = Vec::new();
        for i in out.len()..self.codes.count {
            let bytes = padded(self.codes.row_from(i), self.reach(), &mut spare);
            out.push(one::<BITS, S>(simd, bytes, self.blocks));
        }
        out
    }
}

/// Sums of the products of signed codes of eight bits with the bytes of a query, and of their squares.
pub fn signed(codes: Codes<'_>, query: &Arranged, byte_sum: i32) -> (Vec<i32>, Vec<i32>) {
    dispatch(Signed {
        codes,
        blocks: &query.blocks,
        byte_sum,
    })
}

struct Signed<'a> {
    codes: Codes<'a>,
    blocks: &'a [[u8; BLOCK]],
    byte_sum: i32,
}

/// Adds the products of a block's codes, their highest bit flipped, with a query's, and their squares.
#[inline(always)]
fn signed_products<S: Simd>(
    simd: S,
    (with, own): (S::Ints, S::Ints),
    part: &[u8; BLOCK],
    query: &[u8; BLOCK],
) -> (S::Ints, S::Ints) {
    let codes = simd.bytes(part);
    let size = simd.magnitudes(codes);
    (
        simd.add_products::<false>(with, simd.flipped(codes), simd.bytes(query)),
        simd.add_products::<true>(own, size, size),
    )
}

impl Kernel for Signed<'_> {
    type Output = (Vec<i32>, Vec<i32>);

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> (Vec<i32>, Vec<i32>) {
        let mut products = Vec::with_capacity(self.codes.count);
        let mut squares = Vec::with_capacity(self.codes.count);
        let stride = self.codes.stride;
        // Squares count, so nothing but the row may be in its last block.
        let mut rest = [0; BLOCK];
        for i in 0..self.codes.count {
            let bytes = self.codes.row_from(i);
            let bytes = bytes.get(..stride).unwrap_or(bytes);
            let (parts, end) = bytes.as_chunks::<BLOCK>();
            rest[..end.len()].copy_from_slice(end);
            let mut sums = (simd.no_ints(), simd.no_ints());
            for (part, query) in parts.iter().zip(self.blocks) {
                sums = signed_products(simd, sums, part, query);
            }
            if let (false, Some(query)) = (end.is_empty(), self.blocks.get(parts.len())) {
                sums = signed_products(simd, sums, &rest, query);
            }
            // Flipped codes are larger by 128.
            let shift = 128i32.wrapping_mul(self.byte_sum);
            products.push(simd.int_total(sums.0).wrapping_sub(shift));
            squares.push(simd.int_total(sums.1));
        }
        (products, squares)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::distance::Metric;
    use crate::encoding::distance::simd::Level;
    use crate::encoding::vector::levels::pack;

    fn numbers(count: usize, below: u32, mut seed: u32) -> Vec<u32> {
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) % below
        };
        (0..count).map(|_| next()).collect()
    }

    fn query(dimension: usize) -> Query {
        let values: Vec<f32> = numbers(dimension, 2001, 5)
            .iter()
            .map(|v| *v as f32 - 1000.0)
            .collect();
        Query::new(Metric::InnerProduct, values).unwrap()
    }

    #[test]
    fn every_instruction_set_gives_the_same_products() {
        for dimension in [1, 7, 63, 64, 65, 127, 128, 300, 784] {
            let query = query(dimension);
            for bits in 2..=8 {
                let all = numbers(5 * dimension, 1 << bits, bits + dimension as u32);
                let mut bytes = Vec::new();
                for row in all.chunks(dimension) {
                    pack(row.iter().copied(), bits, &mut bytes);
                }
                let expected: Vec<i32> = all
                    .chunks(dimension)
                    .map(|row| {
                        let pairs = row.iter().zip(query.bytes());
                        pairs.map(|(c, q)| *c as i32 * i32::from(*q)).sum()
                    })
                    .collect();
                let arranged = Arranged::new(&query, bits);
                let codes = Codes {
                    bytes: &bytes,
                    stride: (dimension * bits as usize).div_ceil(8),
                    rows: None,
                    count: 5,
                };
                assert_eq!(unsigned(codes, &arranged), expected);
                for rows in [&[4u32, 1][..], &[0, 1, 2, 3, 4], &[1, 3, 0, 2, 2, 1, 0, 3]] {
                    let some = Codes {
                        rows: Some(rows),
                        count: rows.len(),
                        ..codes
                    };
                    let expected: Vec<i32> = rows.iter().map(|r| expected[*r as usize]).collect();
                    assert_eq!(unsigned(some, &arranged), expected);
                }
                for level in Level::available() {
                    let blocks = &arranged.blocks;
                    let found = match bits {
                        2 => level.run(Unsigned::<2> { codes, blocks }),
                        3 => level.run(Unsigned::<3> { codes, blocks }),
                        4 => level.run(Unsigned::<4> { codes, blocks }),
                        5 => level.run(Unsigned::<5> { codes, blocks }),
                        6 => level.run(Unsigned::<6> { codes, blocks }),
                        7 => level.run(Unsigned::<7> { codes, blocks }),
                        _ => level.run(Unsigned::<8> { codes, blocks }),
                    };
                    assert_eq!(found, expected, "{level:?} {bits} bits of {dimension}");
                }
            }
        }
    }

    #[test]
    fn extreme_codes_do_not_saturate() {
        let query = Query::new(Metric::InnerProduct, vec![1.0; 1000]).unwrap();
        let bytes = vec![255u8; 1000];
        let codes = Codes {
            bytes: &bytes,
            stride: 1000,
            rows: None,
            count: 1,
        };
        let arranged = Arranged::new(&query, 8);
        for level in Level::available() {
            let blocks = &arranged.blocks;
            let found = level.run(Unsigned::<8> { codes, blocks });
            assert_eq!(found, [255 * 127 * 1000], "{level:?}");
        }
    }

    #[test]
    fn signed_products_and_squares_agree_with_plain_sums() {
        for dimension in [1, 64, 100] {
            let query = query(dimension);
            let codes: Vec<i8> = numbers(3 * dimension, 255, 9)
                .iter()
                .map(|v| (*v as i32 - 127) as i8)
                .collect();
            let bytes: Vec<u8> = codes.iter().map(|c| *c as u8).collect();
            let arranged = Arranged::new(&query, 8);
            let sums = |other: &dyn Fn(usize, i8) -> i32| -> Vec<i32> {
                let rows = codes.chunks(dimension);
                rows.map(|row| {
                    let each = row.iter().enumerate();
                    each.map(|(i, c)| i32::from(*c) * other(i, *c)).sum()
                })
                .collect()
            };
            let with = sums(&|i, _| i32::from(query.bytes()[i]));
            let own = sums(&|_, c| i32::from(c));
            for level in Level::available() {
                let found = level.run(Signed {
                    codes: Codes {
                        bytes: &bytes,
                        stride: dimension,
                        rows: None,
                        count: 3,
                    },
                    blocks: &arranged.blocks,
                    byte_sum: query.byte_sum(),
                });
                assert_eq!(found, (with.clone(), own.clone()), "{level:?}");
            }
        }
    }
}
