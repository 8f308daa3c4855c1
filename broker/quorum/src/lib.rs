//! KRaft (KIP-595) for one voter: a durable epoch, a log that is flushed before it counts, a high watermark, and observers
//! that pull committed records by Fetch.
//!
//! The shape is that of many voters: ends are kept per voter and the high watermark is the majority's end. Elections,
//! votes and snapshots come with the quorum's own issue.

mod fetch;
mod opening;
mod quorum;
mod state_file;
mod voters;

pub use quorum::{Command, CommittedBatch, Event, Origin, Quorum, QuorumConfig, Role};
pub use state_file::{QuorumState, Voter};
