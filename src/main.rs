//! The command line of Pilaster; what it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    pilaster::cli::main()
}
