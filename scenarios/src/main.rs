//! The `klamm` command.

use std::process::ExitCode;

/// Small allocations of many kinds are a tenth of a run: this allocator takes a third of glibc's instructions for them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    klamm_scenarios::cli::main()
}
