//! Kafka's wire protocol: framing, headers, messages in all the versions that clients use, metadata records, and record
//! batches v2.
//!
//! Pure: no I/O, no async, no clock. The messages are generated at build time from the files in `schemas/`. A decoder
//! never allocates more than 64 bytes per input byte plus 4 KiB, keeps records as a slice of its input, skips tagged
//! fields that it does not know, and leaves bytes that follow a message alone.

mod codec;
mod error;
mod header;
mod message;
mod str;

pub mod api;
pub mod frame;
pub mod messages;
pub mod metadata;
pub mod records;

pub use api::ApiKey;
pub use error::WireError;
pub use header::{RequestHeader, response_header_decode, response_header_encode};
pub use message::Message;
pub use str::Str;
