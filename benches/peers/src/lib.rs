//! What the programs of this package share: finding and loading tables, writing them in each format,
//! and printing what came out.

pub mod arguments;
pub mod clock;
pub mod decoder;
pub mod formats;
pub mod report;
pub mod tables;

/// Result of everything here; the programs print the error and end.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What the `pilaster` program uses as well; both formats gain from it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
