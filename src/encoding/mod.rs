//! What an encoded array is, the encodings, and how one is chosen.
//!
//! A family imports the core types of this module (node, traits, selection, model, context) and
//! `entropy`, never another family, the registry or the planner.

use std::sync::Arc;

pub mod context;
pub mod entropy;
pub mod model;
pub mod node;
pub mod physical;
pub mod planner;
pub mod registry;
pub mod selection;
pub mod statistics;
pub mod traits;

pub use context::{DecodeContext, EncodeContext, NoParents, ParentSource, Role};
pub use model::{Model, Models};
pub use node::{Node, NodeBuffer};
pub use registry::Registry;
pub use selection::{Rows, Selection};
pub use statistics::Statistics;
pub use traits::{Access, CompareOp, Encoding, Reads, Verdict};

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
    }
    /// Validity and nested arrays: structure around other encodings.
    nested {
        nullable::Nullable,
    }
    /// Columns conditioned on other columns of the table.
    table [chunk, cost, edges, latent, lz, model, plan, rows, section, spec, tree, walk] {
        context::Context,
    }
}
