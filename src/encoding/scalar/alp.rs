//! `pilaster.alp.v1`: floats that are really decimals, as integers (ALP, Afroozeh & Boncz 2023).
//!
//! A float `v` becomes the integer nearest to `v * 10^e * 10^-f`, and comes back as
//! `integer * 10^f * 10^-e`, both times in floating point in this order. Where that does not give
//! back the very bits, the value is an exception; its integer repeats the one before. The exponents
//! are the same for all rows of a chunk and found on a sample.
//!
//! Child 0 holds the integers (int64, or int32 for float32). If there are exceptions, child 1 holds
//! their rows (ascending) and child 2 their values.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;

use crate::encoding::{
    Access, DecodeContext, EncodeContext, Encoding, Node, Profile, Reads, Role, Selection,
    Statistics, Verdict,
};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct Alp;

const ID: &str = "pilaster.alp.v1";
/// Values on which exponents are tried.
const SAMPLE: usize = 256;

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Exponents {
    #[prost(uint32, tag = "1")]
    e: u32,
    #[prost(uint32, tag = "2")]
    f: u32,
}

impl Encoding for Alp {
    fn id(&self) -> &'static str {
        ID
    }

    fn access(&self) -> Access {
        Access::Block
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        matches!(data_type, DataType::Float32 | DataType::Float64)
    }

    fn estimate(&self, statistics: &Statistics, _: Profile) -> Verdict {
        match statistics.runs {
            0 | 1 => Verdict::Skip,
            _ => Verdict::Measure,
        }
    }

    fn encode(&self, array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        match array.data_type() {
            DataType::Float32 => encode::<f32>(array, context),
            DataType::Float64 => encode::<f64>(array, context),
            _ => Ok(None),
        }
    }

    fn decode(
        &self,
        node: &Node,
        data_type: &DataType,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        self.decode_selection(node, data_type, &Selection::all(), context)
    }

    fn decode_selection(
        &self,
        node: &Node,
        data_type: &DataType,
        selection: &Selection,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        match data_type {
            DataType::Float32 => decode::<f32>(node, selection, context),
            DataType::Float64 => decode::<f64>(node, selection, context),
            other => Err(Error::corrupt(format!("decimal floats as {other}"))),
        }
    }

    fn reads(&self, node: &Node, selection: &Selection) -> Reads {
        let mut children = vec![Some(selection.clone())];
        children.extend((1..node.children.len()).map(|_| Some(Selection::all())));
        Reads::Parts {
            buffers: Vec::new(),
            children,
        }
    }
}

/// A float type and the integers that stand for its values.
trait Decimal: ArrowNativeType {
    type Float: ArrowPrimitiveType<Native = Self>;
    type Int: ArrowPrimitiveType<Native: Copy + Default + Into<i64>>;
    /// Largest exponent.
    const LARGEST: u32;

    /// The integer nearest to the scaled value; meaningless for values that no integer is near.
    fn scale(self, at: Exponents) -> <Self::Int as ArrowPrimitiveType>::Native;
    /// The value of an integer.
    fn value(integer: <Self::Int as ArrowPrimitiveType>::Native, by: (Self, Self)) -> Self;
    /// The two factors of [`Decimal::value`].
    fn factors(at: Exponents) -> Option<(Self, Self)>;
    /// Whether the bits are the same.
    fn same(self, other: Self) -> bool;
}

macro_rules! decimal {
    ($t:ident, $int:ident, $float_type:ident, $int_type:ident, $magic:expr, $tens:ident, $parts:ident,
        [$($ten:literal)*], [$($part:literal)*]) => {
        const $tens: &[$t] = &[$($ten),*];
        const $parts: &[$t] = &[$($part),*];

        impl Decimal for $t {
            type Float = $float_type;
            type Int = $int_type;
            const LARGEST: u32 = $tens.len() as u32 - 1;

            #[inline(always)]
            fn scale(self, at: Exponents) -> $int {
                // Adding and taking away a number whose last bit is worth one rounds to integers.
                let scaled = self * $tens[at.e as usize] * $parts[at.f as usize];
                ((scaled + $magic) - $magic) as $int
            }

            #[inline(always)]
            fn value(integer: $int, by: ($t, $t)) -> $t {
                integer as $t * by.0 * by.1
            }

            fn factors(at: Exponents) -> Option<($t, $t)> {
                Some((*$tens.get(at.f as usize)?, *$parts.get(at.e as usize)?))
            }

            #[inline(always)]
            fn same(self, other: $t) -> bool {
                self.to_bits() == other.to_bits()
            }
        }
    };
}

decimal!(f64, i64, Float64Type, Int64Type, 6_755_399_441_055_744.0, TENS, PARTS,
    [1e0 1e1 1e2 1e3 1e4 1e5 1e6 1e7 1e8 1e9 1e10 1e11 1e12 1e13 1e14 1e15 1e16 1e17 1e18],
    [1e-0 1e-1 1e-2 1e-3 1e-4 1e-5 1e-6 1e-7 1e-8 1e-9 1e-10 1e-11 1e-12 1e-13 1e-14 1e-15 1e-16
        1e-17 1e-18]);
decimal!(f32, i32, Float32Type, Int32Type, 12_582_912.0, TENS_32, PARTS_32,
    [1e0 1e1 1e2 1e3 1e4 1e5 1e6 1e7 1e8 1e9 1e10],
    [1e-0 1e-1 1e-2 1e-3 1e-4 1e-5 1e-6 1e-7 1e-8 1e-9 1e-10]);

fn encode<T: Decimal>(array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Option<Node>> {
    let values = array.as_primitive::<T::Float>().values();
    let Some(at) = best_exponents::<T>(values) else {
        return Ok(None);
    };
    let Some(factors) = T::factors(at) else {
        return Ok(None);
    };
    let mut integers = Vec::with_capacity(values.len());
    let mut rows = Vec::new();
    let mut exceptions = Vec::new();
    let mut last = Default::default();
    for (row, &value) in values.iter().enumerate() {
        let integer = value.scale(at);
        if T::value(integer, factors).same(value) {
            last = integer;
        } else {
            rows.push(row as u32);
            exceptions.push(value);
        }
        integers.push(last);
    }
    if rows.len() * 2 > values.len() {
        return Ok(None);
    }
    // Exceptions in front repeat the first integer behind them.
    let leading = rows
        .iter()
        .enumerate()
        .take_while(|(i, r)| *i as u32 == **r)
        .count();
    if let Some(&first) = integers.get(leading) {
        integers[..leading].fill(first);
    }
    let integers: ArrayRef = Arc::new(PrimitiveArray::<T::Int>::from_iter_values(integers));
    let mut node = Node::new(ID, array.len())
        .with_metadata(&at)
        .with_child(context.child(ID, &integers, Role::Values)?);
    if !rows.is_empty() {
        let rows: ArrayRef = Arc::new(UInt32Array::from(rows));
        let values: ArrayRef = Arc::new(PrimitiveArray::<T::Float>::from_iter_values(exceptions));
        node = node
            .with_child(context.child(ID, &rows, Role::Sorted)?)
            .with_child(context.child(ID, &values, Role::Values)?);
    }
    Ok(Some(node))
}

/// The exponents that need the fewest bits on a sample.
fn best_exponents<T: Decimal>(values: &[T]) -> Option<Exponents> {
    let step = (values.len() / SAMPLE).max(1);
    let sample: Vec<T> = values.iter().step_by(step).take(SAMPLE).copied().collect();
    let mut best: Option<(u64, Exponents)> = None;
    // Smaller exponents come last, so that they win ties.
    for e in (0..=T::LARGEST).rev() {
        for f in (0..=e).rev() {
            let at = Exponents { e, f };
            let factors = T::factors(at)?;
            let (mut low, mut high, mut hits) = (i64::MAX, i64::MIN, 0u64);
            for &value in &sample {
                let integer = value.scale(at);
                if T::value(integer, factors).same(value) {
                    let integer: i64 = integer.into();
                    low = low.min(integer);
                    high = high.max(integer);
                    hits += 1;
                }
            }
            if hits == 0 {
                continue;
            }
            let bits = u64::from(64 - high.abs_diff(low).leading_zeros());
            let missed = sample.len() as u64 - hits;
            let cost = hits * bits + missed * (8 * size_of::<T>() as u64 + 16);
            if best.is_none_or(|(least, _)| cost <= least) {
                best = Some((cost, at));
            }
        }
    }
    best.map(|(_, at)| at)
}

fn decode<T: Decimal>(
    node: &Node,
    selection: &Selection,
    context: &DecodeContext<'_>,
) -> Result<ArrayRef> {
    let at: Exponents = node.parse_metadata()?;
    let factors = T::factors(at).ok_or_else(|| Error::corrupt("exponents out of range"))?;
    node.expect(0, if node.children.len() == 1 { 1 } else { 3 })?;
    let integers = context.decode(node.child_of(0, node.rows)?, &T::Int::DATA_TYPE, selection)?;
    let integers = integers.as_primitive::<T::Int>().values();
    context.reserve_rows(integers.len(), size_of::<T>())?;
    let mut out: Vec<T> = integers.iter().map(|&i| T::value(i, factors)).collect();
    if node.children.len() == 3 {
        let rows = context.decode_all(node.child(1)?, &DataType::UInt32)?;
        let rows = rows.as_primitive::<UInt32Type>().values();
        let (numbers, places) = selection.overlap(rows, node.rows)?;
        let values = node.child_of(2, rows.len())?;
        let values = context.decode(values, &T::Float::DATA_TYPE, &numbers)?;
        let values = values.as_primitive::<T::Float>().values();
        for (&place, &value) in places.iter().zip(values.iter()) {
            out[place as usize] = value;
        }
    }
    Ok(Arc::new(PrimitiveArray::<T::Float>::new(out.into(), None)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::testing;

    #[test]
    fn floats_come_back_bit_for_bit() {
        let mut taken = 0;
        for array in testing::float_arrays(2000) {
            if Alp.accepts(array.data_type()) {
                taken += usize::from(testing::check(&Alp, &array, Profile::Balanced).is_some());
            }
        }
        assert!(taken > 20, "{taken}");
    }

    #[test]
    fn cents_are_integers() {
        let values: Float64Array = (0..4000)
            .map(|i| Some(f64::from(i * 37 % 9999) / 100.0))
            .collect();
        let array: ArrayRef = Arc::new(values);
        let node = testing::check(&Alp, &array, Profile::Balanced).unwrap();
        assert_eq!(node.children.len(), 1);
        let integers = testing::decode(&node.children[0], &DataType::Int64, &Selection::all());
        let expected = Int64Array::from_iter_values((0..4000).map(|i| i * 37 % 9999));
        assert_eq!(integers.unwrap().as_ref(), &expected);
    }
}
