//! The `klamm` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    klamm_scenarios::cli::main()
}
