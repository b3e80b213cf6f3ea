//! What the unit tests of encodings share.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::DataType;

use super::context::ChildEncoder;
use super::*;
use crate::error::Result;

/// Encodes every child plainly.
#[derive(Debug)]
pub struct PlainChildren;

impl ChildEncoder for PlainChildren {
    fn encode_child(
        &self,
        array: &ArrayRef,
        _: Role,
        context: &mut EncodeContext<'_>,
    ) -> Result<Node> {
        let array = physical::lower(array)?;
        assert_eq!(array.null_count(), 0, "children have no nulls");
        let plain = Arc::clone(context.registry.get("pilaster.plain.v1")?);
        Ok(plain.encode(&array, context)?.unwrap())
    }
}

/// Encodes with plain children.
pub fn encode(encoding: &dyn Encoding, array: &ArrayRef, profile: Profile) -> Option<Node> {
    let mut models = Models::default();
    let mut context = EncodeContext::new(
        &PlainChildren,
        Registry::standard(),
        &mut models,
        &[],
        profile,
    );
    encoding.encode(array, &mut context).unwrap()
}

/// Budget for honest nodes.
pub const BUDGET: u64 = 1 << 28;

/// Decodes rows of a node.
pub fn decode(node: &Node, data_type: &DataType, selection: &Selection) -> Result<ArrayRef> {
    let models = Models::default();
    DecodeContext::new(Registry::standard(), &models, &NoParents, BUDGET)
        .decode(node, data_type, selection)
}

/// Compares all rows.
pub fn compare(
    node: &Node,
    data_type: &DataType,
    op: CompareOp,
    value: &Scalar<ArrayRef>,
) -> Result<BooleanArray> {
    let models = Models::default();
    DecodeContext::new(Registry::standard(), &models, &NoParents, BUDGET)
        .compare(node, data_type, op, value)
}

fn same(a: &ArrayRef, b: &ArrayRef) {
    assert_eq!(a.data_type(), b.data_type());
    assert_eq!(a.len(), b.len());
    // Float equality would let the sign of zero and NaN payloads pass.
    match words::width(a.data_type()) {
        Some(1) => assert_eq!(words::of::<u8>(a), words::of::<u8>(b)),
        Some(2) => assert_eq!(words::of::<u16>(a), words::of::<u16>(b)),
        Some(4) => assert_eq!(words::of::<u32>(a), words::of::<u32>(b)),
        Some(8) => assert_eq!(words::of::<u64>(a), words::of::<u64>(b)),
        _ => assert_eq!(a, b),
    }
}

/// Keeps only the bytes that a selection is said to need.
fn pruned(node: &Node, reads: &Reads, registry: &Registry) -> Node {
    let mut out = node.clone();
    if let Reads::Parts { buffers, children } = reads {
        for (i, buffer) in out.buffers.iter_mut().enumerate() {
            *buffer = NodeBuffer::absent(buffer.len());
            for (_, range) in buffers.iter().filter(|(b, _)| *b == i) {
                let bytes = node.buffers[i].slice(range.clone()).unwrap();
                buffer.deliver(range.start, bytes).unwrap();
            }
        }
        for (i, child) in out.children.iter_mut().enumerate() {
            match children.get(i).cloned().flatten() {
                Some(selection) => {
                    let encoding = registry.get(&child.encoding).unwrap();
                    let reads = encoding.reads(child, &selection);
                    *child = pruned(child, &reads, registry);
                }
                None => child.walk_mut(&mut |n| {
                    for b in &mut n.buffers {
                        *b = NodeBuffer::absent(b.len());
                    }
                }),
            }
        }
    }
    out
}

/// Encodes, and checks every law that an encoding must keep on the array and on a slice of it.
/// Gives the node of the whole array.
pub fn check(encoding: &dyn Encoding, array: &ArrayRef, profile: Profile) -> Option<Node> {
    assert!(encoding.accepts(array.data_type()));
    if array.len() > 5 {
        check_one(encoding, &array.slice(3, array.len() - 5), profile);
    }
    let node = check_one(encoding, array, profile)?;
    hostile(&node, array.data_type());
    Some(node)
}

fn check_one(encoding: &dyn Encoding, array: &ArrayRef, profile: Profile) -> Option<Node> {
    let node = encode(encoding, array, profile)?;
    assert_eq!(node.rows, array.len());
    let data_type = array.data_type();
    same(array, &decode(&node, data_type, &Selection::all()).unwrap());
    let rows = array.len();
    let mut selections = vec![Selection::range(0..0), Selection::range(rows / 3..rows)];
    let picks: Vec<u32> = (0..rows as u32)
        .filter(|i| i % 97 == 5 || (i / 700) % 5 == 3 && i % 3 == 0)
        .collect();
    let mask = (0..rows).map(|i| i * i % 7 == 1 && i > rows / 2);
    selections.push(Selection::indices(picks).unwrap());
    selections.push(Selection::indices(vec![]).unwrap());
    selections.push(Selection::mask(mask.collect()));
    if rows > 0 {
        selections.push(Selection::indices(vec![rows as u32 - 1]).unwrap());
        selections.push(Selection::range(rows - 1..rows));
    }
    for selection in &selections {
        let reads = encoding.reads(&node, selection);
        let part = pruned(&node, &reads, Registry::standard());
        same(
            &selection.take(array).unwrap(),
            &decode(&part, data_type, selection).unwrap(),
        );
    }
    for i in [0, rows / 2, rows.saturating_sub(1)] {
        if i >= rows {
            continue;
        }
        let value = Scalar::new(array.slice(i, 1));
        use CompareOp::*;
        for op in [Eq, Ne, Lt, Le, Gt, Ge] {
            let expected = op.apply(array, &value).unwrap();
            assert_eq!(compare(&node, data_type, op, &value).unwrap(), expected);
        }
    }
    Some(node)
}

/// Damaged nodes give an error or an array, and keep to the budget.
pub fn hostile(node: &Node, data_type: &DataType) {
    let try_one = |node: &Node| {
        let selection = Selection::all();
        if let Ok(array) = decode(node, data_type, &selection) {
            assert_eq!(array.len(), node.rows);
        }
        let last = node.rows.saturating_sub(1);
        let _ = decode(node, data_type, &Selection::range(last..node.rows));
        if let Ok(encoding) = Registry::standard().get(&node.encoding) {
            encoding.reads(node, &Selection::range(last..node.rows));
        }
    };
    for rows in [0, 1, node.rows + 1, node.rows / 2, 1 << 31, usize::MAX] {
        let mut bad = node.clone();
        bad.rows = rows;
        if rows <= node::MAX_ROWS {
            try_one(&bad);
        }
    }
    for i in 0..node.metadata.len().min(64) {
        for flip in [1, 0x80, 0xff] {
            let mut bad = node.clone();
            bad.metadata[i] ^= flip;
            try_one(&bad);
        }
        let mut bad = node.clone();
        bad.metadata.truncate(i);
        try_one(&bad);
    }
    for b in 0..node.buffers.len() {
        let bytes = node.buffers[b].bytes().unwrap().to_vec();
        let step = (bytes.len() / 24).max(1);
        for at in (0..bytes.len()).step_by(step) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0xff;
            let mut bad = node.clone();
            bad.buffers[b] = NodeBuffer::whole(flipped);
            try_one(&bad);
            bad.buffers[b] = NodeBuffer::whole(bytes[..at].to_vec());
            try_one(&bad);
        }
        let mut bad = node.clone();
        bad.buffers.remove(b);
        try_one(&bad);
    }
    for c in 0..node.children.len() {
        let mut bad = node.clone();
        bad.children.remove(c);
        try_one(&bad);
        let mut bad = node.clone();
        bad.children[c] = bad.clone();
        try_one(&bad);
        let mut bad = node.clone();
        bad.children[c].rows += 1;
        try_one(&bad);
        let child = &node.children[c];
        if let Some(Ok(bytes)) = child.buffers.first().map(NodeBuffer::bytes) {
            let bytes = bytes.to_vec();
            let step = (bytes.len() / 24).max(1);
            for at in (0..bytes.len()).step_by(step) {
                let mut flipped = bytes.clone();
                flipped[at] ^= 0xff;
                let mut bad = node.clone();
                bad.children[c].buffers[0] = NodeBuffer::whole(flipped);
                try_one(&bad);
            }
        }
    }
}

/// Integers of many shapes: their names are in the order of the list.
pub fn integers(rows: usize) -> Vec<Vec<i64>> {
    let mut seed = 42u64;
    let mut next = move || {
        seed = seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (seed >> 20) as i64
    };
    let constant = vec![-7; rows];
    let small = (0..rows).map(|_| next() % 100 - 50).collect();
    let ascending = (0..rows).map(|i| i as i64 * 3 + 1_000_000).collect();
    let outliers = (0..rows)
        .map(|i| {
            if i % 211 == 5 {
                next() << 15
            } else {
                next() % 16
            }
        })
        .collect();
    let wild = (0..rows).map(|_| next() << 20 ^ next()).collect();
    let extremes = (0..rows)
        .map(|i| [i64::MIN, i64::MAX, 0, -1, 1][i % 5])
        .collect();
    let runs = (0..rows).map(|i| (i / 37 % 11) as i64).collect();
    let rare = (0..rows)
        .map(|i| if i % 50 == 9 { i as i64 } else { 12 })
        .collect();
    let low = (0..rows)
        .map(|i| {
            if i % 300 == 7 {
                0
            } else {
                1_000_000 + next() % 30
            }
        })
        .collect();
    vec![
        constant, small, ascending, outliers, wild, extremes, runs, rare, low,
    ]
}

/// Each shape of integers cut down to each integer type.
pub fn integer_arrays(rows: usize) -> Vec<ArrayRef> {
    use arrow::datatypes::*;
    fn cut<T: ArrowPrimitiveType>(v: &[i64], f: impl Fn(i64) -> T::Native) -> ArrayRef {
        Arc::new(PrimitiveArray::<T>::from_iter_values(
            v.iter().map(|&x| f(x)),
        ))
    }
    let mut out = Vec::new();
    for v in integers(rows) {
        out.push(cut::<Int8Type>(&v, |x| x as i8));
        out.push(cut::<Int16Type>(&v, |x| x as i16));
        out.push(cut::<Int32Type>(&v, |x| x as i32));
        out.push(cut::<Int64Type>(&v, |x| x));
        out.push(cut::<UInt8Type>(&v, |x| x as u8));
        out.push(cut::<UInt16Type>(&v, |x| x as u16));
        out.push(cut::<UInt32Type>(&v, |x| x as u32));
        out.push(cut::<UInt64Type>(&v, |x| x as u64));
    }
    out
}

/// Floats of many shapes, with the values that are easily lost among them.
pub fn float_arrays(rows: usize) -> Vec<ArrayRef> {
    let odd = [
        0.0,
        -0.0,
        f64::NAN,
        -f64::NAN,
        f64::from_bits(0x7ff8_dead_beef_0001),
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MIN_POSITIVE / 8.0,
        f64::MAX,
        f64::MIN,
        1e300,
    ];
    let mut out: Vec<ArrayRef> = Vec::new();
    for v in integers(rows) {
        let cents: Vec<f64> = v.iter().map(|&x| (x % 1_000_000) as f64 / 100.0).collect();
        let mut spiked = cents.clone();
        for (i, slot) in spiked.iter_mut().enumerate() {
            if i % 60 == 11 {
                *slot = odd[i / 60 % odd.len()];
            }
        }
        let real: Vec<f64> = v.iter().map(|&x| (x as f64).sin() * 3.3).collect();
        for values in [cents, spiked, real, v.iter().map(|&x| x as f64).collect()] {
            let single: Float32Array = values.iter().map(|&x| Some(x as f32)).collect();
            let half: Float16Array = values
                .iter()
                .map(|&x| Some(half::f16::from_f64(x)))
                .collect();
            out.push(Arc::new(half));
            out.push(Arc::new(single));
            out.push(Arc::new(Float64Array::from(values)));
        }
    }
    out
}

/// Binary values of many shapes.
pub fn binary_arrays(rows: usize) -> Vec<ArrayRef> {
    let text = |f: &dyn Fn(i64) -> String| -> Vec<ArrayRef> {
        integers(rows)
            .into_iter()
            .map(|v| {
                let strings: BinaryArray = v.iter().map(|&x| Some(f(x).into_bytes())).collect();
                Arc::new(strings) as ArrayRef
            })
            .collect()
    };
    let mut out = text(&|x| format!("{}", x % 50));
    out.extend(text(&|x| "ab".repeat((x % 23).unsigned_abs() as usize)));
    out
}

/// Fixed-size binary values of a width.
pub fn fixed_arrays(rows: usize, width: usize) -> Vec<ArrayRef> {
    integers(rows)
        .into_iter()
        .map(|v| {
            let mut bytes = Vec::new();
            for x in v {
                let wide = i128::from(x).to_le_bytes();
                bytes.extend((0..width).map(|i| wide.get(i).copied().unwrap_or(wide[15])));
            }
            Arc::new(FixedSizeBinaryArray::new(width as i32, bytes.into(), None)) as ArrayRef
        })
        .collect()
}

/// Booleans of many shapes.
pub fn boolean_arrays(rows: usize) -> Vec<ArrayRef> {
    integers(rows)
        .into_iter()
        .flat_map(|v| {
            let low: BooleanArray = v.iter().map(|&x| Some(x & 1 == 1)).collect();
            let rare: BooleanArray = v.iter().map(|&x| Some(x % 31 == 3)).collect();
            [Arc::new(low) as ArrayRef, Arc::new(rare)]
        })
        .collect()
}
