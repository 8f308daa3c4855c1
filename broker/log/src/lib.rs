//! One partition's log: segments, offset index, leader-epoch cache, producer state, recovery.
//!
//! The log plans, the driver writes. An append yields disk operations and moves [`Log::next_offset`]; the completion of
//! the write moves [`Log::log_end_offset`]. A read yields a range of a file. A load is [`Loader`], a machine that asks for
//! List, Len and Read and repairs what a crash left behind; [`Cleaner`] is another, which compacts. Nothing here touches a disk.
//!
//! In memory a log keeps one small entry for each batch (about a hundred bytes): that list is the offset index, the time
//! index, and the source from which producer state and epochs are derived anew after a cut. The index files are written when
//! a segment is full or closed, for whoever reads the directory, and are never trusted.
//!
//! Labels such as `[L14]` are those of the semantics notes.

mod clean;
mod config;
mod cut;
mod epochs;
pub mod format;
mod loader;
mod log;
mod producers;
mod read;
mod repair;
mod retention;
mod segment;
mod told;
mod transactions;
mod types;
mod writes;

pub use clean::{CleanError, CleanOrders, Cleaned, Cleaner, Survey};
pub use config::{Compaction, LogConfig};
pub use loader::{LastKnown, Loader};
pub use log::Log;
pub use types::{LoadError, ProducerCheck, Progress, ReadError, ReadPlan, TimestampHit};
