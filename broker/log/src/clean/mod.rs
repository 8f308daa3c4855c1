//! Compaction: of each key the last record stays ([L6], [L22] to [L26]; KIP-98, KIP-534).
//!
//! A clean takes a log in three steps. [`survey`] says what of it may be cleaned and how dirty that is. A pass over the dirty
//! records, [`Index`], fills an [`OffsetMap`] with the last offset of each key. A second pass, from the start of the log, hands
//! each batch to a [`Filter`], which keeps it, changes it, or drops it; what is left is written into new segments, one for
//! each of [`groups`]. All of that is pure; [`Cleaner`] is the machine that reads, writes, and puts the new segments in the place of
//! the old ones.

mod cleaner;
mod filter;
mod groups;
mod index;
mod keys;
mod output;
mod reader;
mod survey;
mod swap;
mod types;
mod verdicts;
mod view;

#[cfg(test)]
mod filter_tests;
#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod model_tests;

pub use cleaner::Cleaner;
pub use survey::Survey;
pub use types::{CleanError, CleanOrders, Cleaned};

pub(crate) use filter::{Filter, LastOf, Left, Rules};
pub(crate) use index::Index;
pub(crate) use keys::OffsetMap;

pub(crate) use verdicts::Verdicts;
