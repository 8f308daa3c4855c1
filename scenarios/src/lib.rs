//! The stage: scripts, the cluster they run on, campaigns, and the `klamm` command.

pub mod bug_base;
pub mod campaign;
pub mod cli;
pub mod compare;
pub mod doctor;
pub mod explain;
pub mod failures;
pub mod library;
pub mod moment;
pub mod script;
pub mod shrink;
pub mod stage;
#[cfg(feature = "proptest")]
pub mod strategy;
