//! `klamm log`: what a log directory holds, and whether it is whole.

mod batches;
mod dump;
mod internal;
mod records;
mod shown;
mod tree;
mod verify;
mod watch;

pub use dump::dump;
pub use verify::verify;
