//! One partition on one broker: leader or follower, high watermark, ISR, truncation, parked produces.
//!
//! [`Replica::step`] is the whole machine; it owns its [`klamm_log::Log`]. The rules are Kafka's (KIP-101, 279, 320, 392's
//! fetch checks, 497, 841, 903, 966); the comments name them by the labels of the semantics notes, as in `[R11]`.
//!
//! Where clocks matter: produce deadlines, the period of the ISR check and retries are monotonic; whether a follower
//! lags is judged by the wall clock, as in Kafka.

mod cleaning;
mod deletion;
mod fetch;
mod follower;
mod isr;
mod leader;
mod offsets;
mod replica;
mod state;
mod types;
mod waits;

pub use replica::Replica;
pub use types::{
    AlterFailure, AlterProposal, AlteredPartition, Available, Command, Event, FetchAnswerOut, FetchQuery,
    FollowerAnswer, FollowerQuery, PartitionState, Produced, Remembered, ReplicaConfig, Role,
};
