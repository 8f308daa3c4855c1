//! Shrinking: a failing script is edited until nothing can go without the failure going too.
//!
//! The edits are pure ([`Edits`]); whoever walks them says of each candidate whether it fails *in the same way*: the same
//! property, the same rule. [`shrink`] walks them with runs, for the command line; [`crate::strategy`] lets proptest walk them.

mod edits;
mod passes;
mod search;
mod size;
mod tidy;

pub use edits::Edits;
pub use search::{Progress, Search, Shrunk, shrink};
pub use size::Size;
pub use tidy::tidy;

/// How many other seeds a candidate may fail at, besides its own.
pub const OTHER_SEEDS: u64 = 32;
