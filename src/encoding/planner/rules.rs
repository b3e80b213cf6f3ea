//! What the planner knows about particular encodings, as data.
//!
//! An encoding that is not mentioned here is tried wherever it accepts the type, and weighed by its
//! kind of access.

use crate::encoding::{Access, Encoding, Profile, Role};

/// Encodings of structure: they do not count as depth, and may repeat in a chain.
const STRUCTURAL: &[&str] = &[
    "pilaster.nullable.v1",
    "pilaster.list.v1",
    "pilaster.fixedlist.v1",
    "pilaster.struct.v1",
    "pilaster.map.v1",
];

/// Most encodings in a chain below the last structural one; then only [`LAST`] are tried.
const MAX_CHAIN: usize = 3;

/// Encodings without children, with which a chain may end.
const LAST: &[&str] = &["constant", "bitpacked"];

/// Where an encoding stands.
enum Place {
    As(Role),
    Below(&'static str),
}

use Place::{As, Below};

/// What is not tried where: it cannot gain there.
const EXCLUDED: &[(Place, &[&str])] = &[
    // Unsigned, dense and already counted.
    (
        As(Role::Codes),
        &["dictionary", "scaled", "delta", "bytesplit"],
    ),
    // Each value occurs once.
    (
        As(Role::Unique),
        &["dictionary", "runend", "sparse", "constant"],
    ),
    // Ascending: no value comes twice.
    (As(Role::Sorted), &["dictionary", "runend", "sparse"]),
    (Below("delta"), &["dictionary", "scaled"]),
    (Below("scaled"), &["dictionary"]),
    (Below("bytesplit"), &["dictionary", "delta", "scaled"]),
    (Below("front"), &["dictionary"]),
];

/// By how much an encoding's size is multiplied before it is compared, for Fast, Balanced and
/// Archive: slow decoding must be paid for with bytes saved. Zero: not tried.
const WEIGHTS: &[(&str, [f64; 3])] = &[
    // No general-purpose compression in Fast but lz4; in Balanced only where it saves much.
    ("zstd", [0.0, 1.20, 1.0]),
    ("lz4", [1.25, 0.0, 0.0]),
    ("fsst", [1.05, 1.0, 1.0]),
    ("front", [0.0, 1.10, 1.0]),
    // Breaks random access and compares.
    ("delta", [1.10, 1.05, 1.0]),
];

/// Weight of an encoding's size, or `None` if the profile does without it.
pub fn weight(encoding: &dyn Encoding, profile: Profile) -> Option<f64> {
    let column = match profile {
        Profile::Fast => 0,
        Profile::Balanced => 1,
        Profile::Archive => 2,
    };
    let weights = match WEIGHTS.iter().find(|(name, _)| *name == encoding.name()) {
        Some((_, weights)) => *weights,
        None => match encoding.access() {
            Access::PerValue | Access::Block => [1.0; 3],
            Access::Opaque => [0.0, 1.30, 1.0],
        },
    };
    Some(weights[column]).filter(|w| *w > 0.0)
}

/// The encodings above, down from the last structural one.
fn below_structure<'a>(chain: &'a [&'static str]) -> &'a [&'static str] {
    let start = chain.iter().rposition(|id| STRUCTURAL.contains(id));
    &chain[start.map_or(0, |i| i + 1)..]
}

/// Whether an encoding may stand in this role below this chain.
pub fn allowed(encoding: &dyn Encoding, role: Role, chain: &[&'static str]) -> bool {
    let above = below_structure(chain);
    if above.contains(&encoding.id()) {
        return false;
    }
    let name = encoding.name();
    if above.len() >= MAX_CHAIN && !LAST.contains(&name) {
        return false;
    }
    let parent = above.last().and_then(|id| id.split('.').nth(1));
    !EXCLUDED.iter().any(|(place, names)| {
        let here = match place {
            As(r) => *r == role,
            Below(p) => parent == Some(p),
        };
        here && names.contains(&name)
    })
}
