//! What a log answers.

use bytes::Bytes;
use klamm_base::{DiskError, ErrorCode, Ticket};
use std::sync::Arc;

/// What a completion brought about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The log now ends at `to` (exclusive): [`crate::Log::log_end_offset`] moved.
    Appended { to: i64 },
    /// All below `to` is durable.
    Flushed { to: i64 },
    /// A cleaned segment is in the place of those that it was made from: [`crate::Cleaner::swapped`] wants to know.
    Swapped,
    /// A read has ended.
    Read { ticket: Ticket, result: Result<Bytes, ReadError> },
    /// A write failed: nothing more comes of this log (KAFKA_STORAGE_ERROR).
    Failed(DiskError),
}

/// Why a read brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The log was cut or cleaned meanwhile: plan anew.
    #[error("the log was cut while it was read")]
    Again,
    /// The disk failed.
    #[error(transparent)]
    Storage(#[from] DiskError),
    /// What was read is not what was written.
    #[error("{path} at {position}: not the batch that was written there")]
    Corrupt { path: String, position: u64 },
}

impl ReadError {
    /// The disk's failure, if that is what it is.
    pub fn storage(&self) -> Option<DiskError> {
        match self {
            ReadError::Storage(error) => Some(error.clone()),
            ReadError::Again | ReadError::Corrupt { .. } => None,
        }
    }
}

/// Why a log could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// What the producer state says of a batch [P7].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProducerCheck {
    /// Append it.
    Accept,
    /// It is in the log (or on its way there) at these offsets: answer success, append nothing. Its greatest
    /// timestamp, in milliseconds, is what Kafka answers as the append time then, whoever set it.
    Duplicate { base_offset: i64, last_offset: i64, max_timestamp: i64 },
    /// INVALID_PRODUCER_EPOCH or OUT_OF_ORDER_SEQUENCE_NUMBER.
    Refuse(ErrorCode),
}

/// A range of one segment file that holds whole batches. It is void once the log was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadPlan {
    pub(crate) path: Arc<str>,
    pub(crate) position: u64,
    pub(crate) len: u32,
    pub(crate) base_offset: i64,
    pub(crate) end_offset: i64,
    pub(crate) cuts: u64,
}

impl ReadPlan {
    /// Base offset of the first batch.
    pub fn base_offset(&self) -> i64 {
        self.base_offset
    }

    /// One past the last record of the range.
    pub fn end_offset(&self) -> i64 {
        self.end_offset
    }

    /// Length in bytes.
    pub fn bytes(&self) -> u64 {
        u64::from(self.len)
    }
}

/// The batch in which a timestamp is to be looked for: [`crate::Log::plan_read`] from `base_offset`, or from the log's start if
/// that lies within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampHit {
    /// Offset of its first record.
    pub base_offset: i64,
    /// Offset of its last record.
    pub last_offset: i64,
    /// Its greatest timestamp, in milliseconds.
    pub max_timestamp: i64,
    /// Its leader epoch.
    pub leader_epoch: i32,
}
