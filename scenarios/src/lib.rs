//! The stage: scripts, the cluster they run on, campaigns, and the `klamm` command.

pub mod campaign;
pub mod cli;
pub mod doctor;
pub mod explain;
pub mod library;
pub mod script;
pub mod stage;
