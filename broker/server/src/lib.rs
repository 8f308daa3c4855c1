//! The driver of one node: sockets, disk work and one timer around `klamm_node::Node`. It knows no protocol but the four
//! length bytes before each frame.
//!
//! One task per connection reads, decodes outside of the node's lock, steps the node under it, and writes what its out-queue holds. One task
//! for each log directory performs the disk operations that change something in it, in order; a few perform the others beside them. Requests to other
//! nodes go over one connection per endpoint and role. The task of [`run`] itself accepts connections and keeps the one timer.
//!
//! Commands are only queued under the lock, in their order; the work of performing them happens outside of it.

mod connection;
mod disk;
mod driver;
mod lane;
mod machine;
mod run;
mod sends;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

pub use run::run;

use klamm_env::Address;
use std::io;

/// Why a node ended that was not asked to.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The port could not be had.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: Address,
        /// Why.
        source: io::Error,
    },
    /// The node cannot go on: its disk failed, or its data are another node's.
    #[error("{0}")]
    Fatal(String),
}
