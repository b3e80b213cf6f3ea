//! What the planner knows about particular encodings, as data.
//!
//! An encoding that is not mentioned here is tried wherever it accepts the type, and weighed by its
//! kind of access.

use arrow::datatypes::DataType;

use crate::encoding::{Access, EncodeContext, Encoding, Profile, Role};

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

/// What is tried for the parts of an encoding while that is measured on a sample: little, and quick,
/// since each candidate for the whole brings its own parts. What is chosen in the end has its parts
/// looked at with care.
const REHEARSED: &[&str] = &["constant", "bitpacked", "dictionary", "delta", "runend"];

/// General compressors: rehearsed for text and codes only.
const GENERAL: &[&str] = &["zstd", "lz4"];

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
type Weights = [f64; 3];

/// Weights for text, and for everything else.
const WEIGHTS: &[(&str, Weights, Weights)] = &[
    // No general compression in Fast but lz4; in Balanced only where it saves much: a sixth of
    // text, which decodes slowly anyhow, a quarter of numbers.
    ("zstd", [0.0, 1.20, 1.0], [0.0, 1.35, 1.0]),
    ("lz4", [1.25, 0.0, 0.0], [1.40, 0.0, 0.0]),
    ("fsst", [1.05, 1.0, 1.0], [0.0; 3]),
    ("front", [0.0, 1.10, 1.0], [0.0; 3]),
    // Breaks random access and compares.
    ("delta", [0.0; 3], [1.10, 1.05, 1.0]),
    // Alone finds distances without decoding and reads a row by itself, for a quarter more at most.
    ("whole8", [0.0; 3], [0.80, 0.80, 1.0]),
];

/// Weight of an encoding's size, or `None` if the profile does without it.
pub fn weight(encoding: &dyn Encoding, data_type: &DataType, profile: Profile) -> Option<f64> {
    let column = match profile {
        Profile::Fast => 0,
        Profile::Balanced => 1,
        Profile::Archive => 2,
    };
    let listed = WEIGHTS.iter().find(|(name, ..)| *name == encoding.name());
    let weights = match (listed, encoding.access()) {
        (Some((_, text, _)), _) if *data_type == DataType::Binary => *text,
        (Some((_, _, other)), _) => *other,
        (None, Access::PerValue | Access::Block) => [1.0; 3],
        (None, Access::Opaque) => [0.0, 1.35, 1.0],
    };
    Some(weights[column]).filter(|w| *w > 0.0)
}

/// The encodings above, down from the last structural one.
pub fn above<'a>(context: &'a EncodeContext<'_>) -> &'a [&'static str] {
    let structure = |id: &&str| STRUCTURAL.contains(id);
    let start = context.chain.iter().rposition(structure);
    &context.chain[start.map_or(0, |i| i + 1)..]
}

/// Whether an encoding may be tried here on an array of this type.
pub fn allowed(
    encoding: &dyn Encoding,
    data_type: &DataType,
    role: Role,
    context: &EncodeContext<'_>,
) -> bool {
    if STRUCTURAL.contains(&encoding.id()) {
        return true;
    }
    let above = above(context);
    if above.contains(&encoding.id()) {
        return false;
    }
    let name = encoding.name();
    let deepest = if context.sampling { 2 } else { MAX_CHAIN };
    if above.len() >= deepest {
        return LAST.contains(&name);
    }
    if context.sampling && !above.is_empty() && !REHEARSED.contains(&name) {
        let text = *data_type == DataType::Binary || role == Role::Codes;
        return text && GENERAL.contains(&name);
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
