//! One machine's file system, as a pure model: no executor, no clock of its own, no randomness but what is handed in.
//!
//! The model keeps apart what the page cache holds (that is what every operation sees, and what survives the death of a
//! process) and what is on the platter (what survives the loss of power). What is written but not on the platter is
//! *pending*. Who calls decides when an operation takes effect; the model only says what it does.
//!
//! What survives a loss of power, and why:
//! - *Content.* All that a finished sync covered. Of the rest each file keeps, as drawn: nothing, everything, a prefix of
//!   its writes with the last one torn, or any selection of 512-byte sectors, each in any state it had since the last
//!   sync, with zeros where the file grew but the bytes did not arrive. A truncation is journalled: it happened whole or not at
//!   all, and with it, in order, what came before it.
//! - *Names.* Changes of one directory survive in order: a prefix of them. Different directories are independent, a rename
//!   between two binds both. Syncing a directory keeps its changes so far, and those that made it reachable.
//!   Changes older than the journal's commit interval are durable. ext4 would commit all directories at once; the model
//!   is harsher, as code that leans on that breaks on other file systems.
//! - Syncing a file keeps its own name too (ext4, XFS and btrfs do), unless [`DiskConfig::sync_keeps_entry`] is false.
//!   A rename over an old file does not flush the new one's content: who relies on it loses.
//!
//! That is [`FileSystem::PerDirectory`]; the other file systems say how they differ. [`DiskFault`] says what can be wrong with a
//! disk beyond that.

mod cache;
mod config;
mod content;
mod drives;
mod fault;
mod file;
mod harm;
mod model;
mod request;
mod tree;

#[cfg(test)]
mod profile_tests;
#[cfg(test)]
mod test_help;
#[cfg(test)]
mod tests;

pub use config::{Device, DiskConfig, DiskMemory, DiskProfile, DiskSetup, DiskSetupError, FileSystem};
pub use drives::DiskUse;
pub(crate) use drives::{DriveMark, Drives, OpenFile};
pub use fault::{
    DISK_FAULTS, Damage, DamageKind, DiskFault, DiskFaultError, DiskFaultId, DiskFaultInfo, DiskFaultKind, When,
};
pub use model::{DiskModel, FileId, PowerLoss, SyncMark};
pub(crate) use request::{Failure, Reply, Request};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

/// Uniform in `0..below`.
fn draw(rng: &mut ChaCha8Rng, below: u64) -> u64 {
    assert!(below > 0, "a draw from an empty range");
    ((u128::from(rng.next_u64()) * u128::from(below)) >> 64) as u64
}
