//! Compaction: of each key the last record stays ([L6], [L22] to [L26]; KIP-98, KIP-534).
//!
//! A clean takes a log in three steps. [`survey`] says what of it may be cleaned and how dirty that is. A pass over the dirty
//! records, [`Index`], fills an [`OffsetMap`] with the last offset of each key. A second pass, from the start of the log, hands
//! each batch to a [`Filter`], which keeps it, changes it, or drops it; what is left is written into new segments, one for
//! each of [`groups`]. All of this is pure; who reads and writes is elsewhere.

mod filter;
mod groups;
mod index;
mod keys;
mod survey;
mod verdicts;

#[cfg(test)]
mod filter_tests;
#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod model_tests;

pub(crate) use filter::{Filter, Left, Rules};
pub(crate) use groups::{Sizes, groups};
pub(crate) use index::Index;
pub(crate) use keys::OffsetMap;
pub(crate) use survey::{Facts, Lags, Survey, survey};
pub(crate) use verdicts::Verdicts;
