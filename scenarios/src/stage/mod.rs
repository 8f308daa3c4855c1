//! The stage itself: machines, the director that strikes, the workload, and the run from the first boot to the verdicts.

mod core;
mod director;
#[cfg(test)]
mod director_tests;
mod effects;
mod finale;
mod ledger;
mod machines;
mod plant;
mod recorder;
mod roster;
mod run;
mod show;
mod watch;
mod workload;

pub use ledger::{Committed, Ledger};
pub use plant::Plant;
pub use recorder::room;
pub use roster::{HostIx, PORT, Role, Roster};
pub use run::{RunOptions, RunResult, run, run_in, run_planted};
