//! What every part of the stack shares: ids, offsets, error codes, the outbox of a core, observations and guards.
//!
//! No I/O, no async, no clock. A core is a plain state machine (`step(now, event, out)`); the types here are the words
//! that such machines speak.

mod config;
mod disk;
mod draws;
mod error_code;
mod guard;
mod ids;
mod mark;
mod observe;
mod outbox;

pub use config::{ConfigError, Key, Kind, Properties, Table, millionths, nearest};
pub use disk::{DiskDone, DiskError, DiskOp, DiskOut, DiskRequest, DiskResult, Ticket};
pub use draws::Draws;
pub use error_code::ErrorCode;
pub use guard::{Guard, Guards};
pub use ids::{ClientId, ClientRecord, NodeId, NotAUuid, Now, TopicPartition, Uuid};
pub use mark::{Mark, Marks};
pub use observe::{
    CleanedBatch, ClientKind, Election, KeyFact, Observation, Observe, Observer, Outcome, ProducerFact, SegmentFact,
    Sequences, Source, StartCause, TruncationCause, chain,
};
pub use outbox::Outbox;
