//! The command line of Pilaster; what it does is in the library.

use std::process::ExitCode;

/// Columns are large and short-lived; the system's allocator hands their pages back and asks for them
/// again, a fifth to a third of the time of a scan.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    pilaster::cli::main()
}
