//! `storemesh-sim`; see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    storemesh_sim::cli::main()
}
