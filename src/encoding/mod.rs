//! What an encoded array is, the encodings, and how one is chosen.
//!
//! A family imports the core types of this module (node, traits, selection, model, context) and
//! `entropy`, never another family, the registry or the planner.

use std::sync::Arc;

pub mod blocks;
pub mod context;
pub mod distance;
pub mod distinct;
pub mod entropy;
pub mod gather;
pub mod grid;
pub mod model;
pub mod needles;
pub mod node;
pub mod physical;
pub mod planner;
pub mod random;
pub mod registry;
pub mod selection;
pub mod statistics;
#[cfg(test)]
pub(crate) mod testing;
pub mod traits;
pub mod words;

pub use context::{DecodeContext, EncodeContext, Known, NoParents, ParentSource, Role};
pub use model::{Model, ModelDigest, ModelStore, Models};
pub use needles::Needles;
pub use node::{Node, NodeBuffer};
pub use planner::{Planner, Spec};
pub use registry::Registry;
pub use selection::{Rows, Selection};
pub use statistics::Statistics;
pub use traits::{Access, Candidates, CompareOp, Encoding, Loss, Reads, Verdict};

/// How size is weighed against speed when a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Profile {
    /// Writes and reads fastest.
    Fast,
    /// Decodes at scan speed; the default.
    #[default]
    Balanced,
    /// Smallest; may use entropy coding that decodes about as fast as Parquet with zstd reads.
    Archive,
}

/// Declares the modules of all encodings and lists them: adding one is one line here. The order
/// inside is the planner's tie-break. Modules that a family's encodings share stand in brackets.
macro_rules! encodings {
    ($(
        $(#[$doc:meta])*
        $family:ident $([$($shared:ident),* $(,)?])? { $($module:ident :: $encoding:ident),* $(,)? }
    )*) => {
        $($(#[$doc])* pub mod $family { $($(pub mod $shared;)*)? $(pub mod $module;)* })*

        fn standard_encodings() -> Vec<Arc<dyn Encoding>> {
            vec![$($(Arc::new($family::$module::$encoding),)*)*]
        }
    };
}

encodings! {
    /// Numbers, booleans, fixed-size binary.
    scalar {
        plain::Plain,
        constant::Constant,
        dictionary::Dictionary,
        runend::RunEnd,
        sparse::Sparse,
        bitpacked::BitPacked,
        delta::Delta,
        roaring::Roaring,
        narrow::Narrow,
        alp::Alp,
        alprd::AlpRd,
        bytesplit::ByteSplit,
        scaled::Scaled,
        pco::Pco,
    }
    /// Text and bytes, and general compression of any values.
    string {
        fsst::Fsst,
        front::Front,
        zstd::Zstd,
        lz4::Lz4,
    }
    /// Lines of logs: common text and typed columns.
    log [
        chunk, classes, forms, header, json, keys, merge, mixed, needle, pass, read, scan, search, skeletons, stamp,
        stored, streams, table, template, told, values, write,
    ] {
        lines::Lines,
        view::LogView,
    }
    /// Validity and nested arrays: structure around other encodings.
    nested [under] {
        nullable::Nullable,
        null::Null,
        list::List,
        fixedlist::FixedList,
        structs::Struct,
        map::Map,
    }
    /// Vectors of floats in fewer bits: whole numbers exactly, others at a declared loss.
    vector [basis, eigen, estimates, float8, levels, outliers, products, rows] {
        cast::Cast,
        lvq::Lvq,
        whole8::Whole8,
        subspace::Subspace,
        apart::Apart,
    }
    /// Columns conditioned on other columns of the table, and values restored from them.
    table [chunk, cost, edges, latent, lz, model, plan, rows, section, spec, tree, walk] {
        context::Context,
        planes::Planes,
        restore::Restore,
    }
    /// Key/value caches of language models, with loss.
    kv [classes, format, rotation, slice, transform] {
        kivi::Kivi,
        coefficients::Coefficients,
        klt::Klt,
    }
    /// Floats of weights and caches, exactly.
    tensor [classes] {
        exponent::Exponent,
    }
}
