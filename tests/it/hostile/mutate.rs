//! Ways to damage an encoded array.

use std::sync::Arc;

use arrow::buffer::Buffer;
use pilaster::encoding::node::{MAX_ROWS, NodeBuffer};
use pilaster::encoding::{Model, Models, Node};

use crate::generate::Rng;

/// Numbers that arithmetic trips over.
const WILD: [u64; 18] = [
    0,
    1,
    2,
    7,
    63,
    64,
    65,
    255,
    1023,
    1025,
    65_536,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 40,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];

/// A damaged tree, its models, and how it was damaged.
pub struct Mutant {
    pub how: String,
    pub node: Node,
    pub models: Models,
}

/// Every damage to one encoded array: each byte of each buffer and of the metadata flipped, each
/// truncated, wild numbers everywhere. At most `limit` per buffer, spread evenly and seeded.
pub fn mutants(
    node: &Node,
    models: &Models,
    limit: usize,
    seed: u64,
    visit: &mut dyn FnMut(Mutant),
) {
    let mut rng = Rng::new(seed);
    let nodes = count(node);
    for place in 0..nodes {
        let original = at(node, place).clone();
        let mut put = |how: String, change: &dyn Fn(&mut Node)| {
            let mut copy = node.clone();
            change(at_mut(&mut copy, place));
            let how = format!("node {place} ({}): {how}", original.encoding);
            visit(Mutant {
                how,
                node: copy,
                models: models.clone(),
            });
        };
        for (i, buffer) in original.buffers.iter().enumerate() {
            let Ok(bytes) = buffer.bytes() else { continue };
            for (how, bytes) in damaged(bytes.as_slice(), limit, &mut rng) {
                put(format!("buffer {i} {how}"), &|n| {
                    n.buffers[i] = NodeBuffer::whole(Buffer::from_vec(bytes.clone()));
                });
            }
            put(format!("buffer {i} gone"), &|n| {
                n.buffers.remove(i);
            });
            put(format!("buffer {i} not read"), &|n| {
                n.buffers[i] = NodeBuffer::absent(n.buffers[i].len());
            });
            put(format!("buffer {i} of wild length"), &|n| {
                n.buffers[i] = NodeBuffer::absent(1 << 40);
            });
            put(format!("buffer {i} twice"), &|n| {
                let again = n.buffers[i].clone();
                n.buffers.push(again);
            });
        }
        for (how, bytes) in damaged(&original.metadata, limit, &mut rng) {
            put(format!("metadata {how}"), &|n| n.metadata = bytes.clone());
        }
        for (how, bytes) in wild_fields(&original.metadata) {
            put(format!("metadata {how}"), &|n| n.metadata = bytes.clone());
        }
        for rows in wild_rows(original.rows) {
            put(format!("{rows} rows"), &|n| n.rows = rows);
            // Children that agree pass the first check.
            put(format!("{rows} rows, children too"), &|n| {
                let before = n.rows;
                n.walk_mut(&mut |n| {
                    if n.rows == before {
                        n.rows = rows;
                    }
                });
            });
        }
        for i in 0..original.children.len() {
            put(format!("child {i} gone"), &|n| {
                n.children.remove(i);
            });
            put(format!("child {i} is itself"), &|n| {
                let mut again = n.clone();
                again.children.clear();
                n.children[i] = again;
            });
        }
        if original.children.len() > 1 {
            put("children reversed".to_owned(), &|n| n.children.reverse());
        }
        put("a child too many".to_owned(), &|n| {
            n.children.push(Node::new("pilaster.plain.v1", n.rows));
        });
        put("an unknown encoding".to_owned(), &|n| {
            n.encoding = Arc::from("pilaster.nobody.v9");
        });
        for model in [None, Some(0), Some(1), Some(u32::MAX)] {
            if model != original.model {
                put(format!("model {model:?}"), &|n| n.model = model);
            }
        }
        for parents in [vec![], vec![0], vec![9, 9], vec![u32::MAX; 4]] {
            if parents != original.parents {
                put(format!("parents {parents:?}"), &|n| {
                    n.parents = parents.clone()
                });
            }
        }
    }
    for (i, model) in models.iter().enumerate() {
        let mut variants = damaged(model.bytes(), limit, &mut rng);
        variants.extend(wild_fields(model.bytes()));
        for (how, bytes) in variants {
            visit(Mutant {
                how: format!("model {i} {how}"),
                node: node.clone(),
                models: replaced(models, i, model.kind(), bytes),
            });
        }
        visit(Mutant {
            how: format!("model {i} of another kind"),
            node: node.clone(),
            models: replaced(models, i, "nothing.v1", model.bytes().to_vec()),
        });
    }
}

fn replaced(models: &Models, i: usize, kind: &str, bytes: Vec<u8>) -> Models {
    let mut changed = Models::default();
    for (k, model) in models.iter().enumerate() {
        changed.push(match k == i {
            true => Arc::new(Model::new(kind, Buffer::from_vec(bytes.clone()))),
            false => Arc::new(Model::new(model.kind(), model.bytes().clone())),
        });
    }
    changed
}

fn wild_rows(rows: usize) -> Vec<usize> {
    let mut list = vec![
        0,
        1,
        rows.saturating_sub(1),
        rows + 1,
        rows * 2,
        1 << 20,
        MAX_ROWS - 1,
        MAX_ROWS,
        usize::MAX,
    ];
    list.retain(|&r| r != rows);
    list
}

/// Bytes flipped, cut, extended and replaced.
pub fn damaged(bytes: &[u8], limit: usize, rng: &mut Rng) -> Vec<(String, Vec<u8>)> {
    let mut list = Vec::new();
    let step = bytes.len().div_ceil(limit.max(1)).max(1);
    let start = if step > 1 { rng.below(step) } else { 0 };
    for at in (start..bytes.len()).step_by(step) {
        let masks = match step {
            1 => vec![0xff, 1u8 << rng.below(8)],
            _ => vec![if rng.chance(0.5) {
                0xff
            } else {
                1 << rng.below(8)
            }],
        };
        for mask in masks {
            let mut copy = bytes.to_vec();
            copy[at] ^= mask;
            list.push((format!("byte {at} ^ {mask:#x}"), copy));
        }
    }
    for at in [
        0,
        1,
        2,
        3,
        4,
        8,
        bytes.len() / 2,
        bytes.len().saturating_sub(1),
    ] {
        if at < bytes.len() {
            list.push((format!("cut to {at}"), bytes[..at].to_vec()));
        }
    }
    for extra in [1, 8, 64] {
        let mut copy = bytes.to_vec();
        copy.extend(rng.bytes(extra));
        list.push((format!("longer by {extra}"), copy));
    }
    for fill in [0u8, 0xff] {
        list.push((format!("all {fill:#x}"), vec![fill; bytes.len()]));
    }
    for width in [2, 4, 8] {
        if bytes.len() < width {
            continue;
        }
        for _ in 0..4 {
            let at = rng.below(bytes.len() - width + 1);
            let number = WILD[rng.below(WILD.len())];
            let mut copy = bytes.to_vec();
            copy[at..at + width].copy_from_slice(&number.to_le_bytes()[..width]);
            list.push((format!("{number:#x} at {at}, {width} bytes"), copy));
        }
    }
    for _ in 0..2 {
        list.push(("random".to_owned(), rng.bytes(bytes.len())));
    }
    let length = rng.below(24);
    list.push(("random and short".to_owned(), rng.bytes(length)));
    list
}

/// A prost message with each of its numbers replaced by wild ones, its fields dropped and doubled;
/// submessages too.
pub fn wild_fields(message: &[u8]) -> Vec<(String, Vec<u8>)> {
    let Some(fields) = fields(message) else {
        return Vec::new();
    };
    let mut list = Vec::new();
    let splice = |range: std::ops::Range<usize>, with: &[u8]| {
        let mut copy = message[..range.start].to_vec();
        copy.extend_from_slice(with);
        copy.extend_from_slice(&message[range.end..]);
        copy
    };
    for (i, field) in fields.iter().enumerate().take(24) {
        let whole = field.start..field.end;
        list.push((format!("without field {i}"), splice(whole.clone(), &[])));
        let twice = [&message[whole.clone()], &message[whole.clone()]].concat();
        list.push((format!("field {i} twice"), splice(whole.clone(), &twice)));
        match field.wire {
            0 => {
                for number in WILD {
                    let number_bytes = varint(number);
                    let how = format!("field {i} is {number:#x}");
                    list.push((how, splice(field.body..field.end, &number_bytes)));
                }
            }
            1 | 5 => {
                for number in WILD {
                    let bytes = &number.to_le_bytes()[..field.end - field.body];
                    list.push((
                        format!("field {i} is {number:#x}"),
                        splice(field.body..field.end, bytes),
                    ));
                }
            }
            _ => {
                let body = &message[field.body..field.end];
                for (how, inner) in wild_fields(body).into_iter().take(80) {
                    let mut with = varint(inner.len() as u64);
                    with.extend(inner);
                    list.push((
                        format!("field {i}: {how}"),
                        splice(field.length..field.end, &with),
                    ));
                }
                for (how, inner) in wild_varints(body) {
                    let mut with = varint(inner.len() as u64);
                    with.extend(inner);
                    list.push((
                        format!("field {i}: {how}"),
                        splice(field.length..field.end, &with),
                    ));
                }
            }
        }
    }
    for tag in 1..6u64 {
        for number in [u64::MAX, 1 << 31] {
            let mut copy = message.to_vec();
            copy.extend(varint(tag << 3));
            copy.extend(varint(number));
            list.push((format!("tag {tag} is {number:#x}"), copy));
        }
    }
    list
}

/// Packed numbers, a few replaced by wild ones.
fn wild_varints(packed: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut list = Vec::new();
    let mut at = 0;
    let mut i = 0;
    while let Some((_, next)) = read_varint(packed, at) {
        if i < 3 || i % 16 == 0 {
            for number in [0, 1, 0xffff_ffff, u64::MAX] {
                let mut copy = packed[..at].to_vec();
                copy.extend(varint(number));
                copy.extend_from_slice(&packed[next..]);
                list.push((format!("number {i} is {number:#x}"), copy));
            }
        }
        at = next;
        i += 1;
    }
    list
}

struct Field {
    wire: u64,
    start: usize,
    length: usize,
    body: usize,
    end: usize,
}

fn fields(message: &[u8]) -> Option<Vec<Field>> {
    let mut list = Vec::new();
    let mut at = 0;
    while at < message.len() {
        let start = at;
        let (key, next) = read_varint(message, at)?;
        let (body, end) = match key & 7 {
            0 => (next, read_varint(message, next)?.1),
            1 => (next, next + 8),
            5 => (next, next + 4),
            2 => {
                let (length, body) = read_varint(message, next)?;
                (body, body.checked_add(usize::try_from(length).ok()?)?)
            }
            _ => return None,
        };
        if key >> 3 == 0 || end > message.len() {
            return None;
        }
        list.push(Field {
            wire: key & 7,
            start,
            length: next,
            body,
            end,
        });
        at = end;
    }
    Some(list)
}

fn read_varint(bytes: &[u8], mut at: usize) -> Option<(u64, usize)> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(at)?;
        at += 1;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some((number, at));
        }
    }
    None
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn count(node: &Node) -> usize {
    let mut total = 0;
    node.walk(&mut |_| total += 1);
    total
}

/// Node `place` in pre-order.
fn at(node: &Node, place: usize) -> &Node {
    let mut found = node;
    let mut i = 0;
    node.walk(&mut |n| {
        if i == place {
            found = n;
        }
        i += 1;
    });
    found
}

fn at_mut(node: &mut Node, place: usize) -> &mut Node {
    if place == 0 {
        return node;
    }
    let mut left = place - 1;
    for child in &mut node.children {
        let size = count(child);
        if left < size {
            return at_mut(child, left);
        }
        left -= size;
    }
    unreachable!("no node {place}")
}

#[test]
fn wild_fields_reach_into_messages() {
    // Field 1: varint 5; field 2: a message with field 1 = 300.
    let message = [0x08, 5, 0x12, 3, 0x08, 0xac, 0x02];
    let variants = wild_fields(&message);
    assert!(
        variants
            .iter()
            .any(|(how, _)| how == "field 0 is 0xffffffff")
    );
    assert!(
        variants
            .iter()
            .any(|(how, _)| how == "field 1: field 0 is 0x0")
    );
    assert_eq!(variants[0].1, &message[2..]);
}
