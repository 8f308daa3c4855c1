//! One Kafka process, pure: replicas with their logs, replica fetchers, the metadata image, the broker's lifecycle, the
//! AlterPartition queue and the controller, composed behind one [`Node::step`].
//!
//! The driver (crate `server`) owns sockets, files and the clock. It decodes requests with [`decode_request`], checks the
//! batches in them with [`Request::check_records`] and encodes responses with [`Response::encode`] outside of the node's
//! lock, steps the node under it, and performs the commands.

mod alter;
mod api;
mod assignments;
mod checkpoints;
mod cleaning;
pub mod config;
mod controller;
mod dirs;
mod disk;
mod fetchers;
mod identity;
mod io;
mod lifecycle;
mod metadata;
mod node;
mod partitions;
mod phase;
mod purgatory;
mod request;
mod response;
mod slab;
mod timers;

pub use api::sent::RequestRules;
pub use config::NodeConfig;
pub use io::{Command, DiskId, Endpoint, Event, SendError, SendId, Token};
pub use node::Node;
pub use request::{OutRequest, Refusal, Request, decode_request};
pub use response::Response;
