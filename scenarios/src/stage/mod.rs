//! The stage itself: machines, the director that strikes, the workload, and the run from the first boot to the verdicts.

mod director;
#[cfg(test)]
mod director_tests;
mod effects;
mod ledger;
mod roster;
mod watch;

pub use ledger::{Committed, Ledger};
pub use roster::{HostIx, PORT, Role, Roster};
