//! The cluster's metadata: decide, record, replay (KIP-500, KIP-631).
//!
//! A request is decided into records and a reply; the records go through the quorum's log; [`MetadataImage::replay`] is the
//! only mutator of state; the reply leaves when its records are committed. Brokers replay the same records into the same
//! image.
//!
//! Not here yet: eligible leader replicas (KIP-966, so the last member stays in the ISR), reassignment, preferred-leader
//! balance, deletion and alteration of topics, several voters.

mod brokers;
mod config;
mod controller;
pub mod directory;
mod dirs;
mod draft;
mod elections;
mod image;
mod notes;
mod partitions;
mod placement;
mod producer_ids;
mod request;
mod sessions;
mod topics;

pub use config::ControllerConfig;
pub use controller::{Command, Controller, Event};
pub use image::{BrokerImage, Change, MetadataImage, PartitionImage, TopicImage};
pub use producer_ids::BLOCK_LEN as PRODUCER_ID_BLOCK_LEN;
pub use request::{ControllerRequest, ControllerResponse};
