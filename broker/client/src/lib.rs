//! Kafka clients over [`klamm_env::Env`]: a producer, a consumer, an admin, and the connection that nodes use among
//! themselves. The same code runs in simulation and for real.

mod admin;
pub mod config;
mod connection;
mod consumer;
mod mailbox;
mod metadata;
mod pool;
mod producer;
mod request;

pub use admin::{Admin, NewTopic, PartitionView, TopicView};
pub use connection::{CallError, CallFailure, CallResult, Connection};
pub use consumer::{Consumer, ConsumerConfig, Fetched, StartAt};
pub use klamm_wire::records::Record;
pub use klamm_wire::{Str, WireError, frame};
pub use mailbox::Mailbox;
pub use metadata::TopicInfo;
pub use producer::{Message, Producer, ProducerConfig};
