//! What a clean is told, and what comes of it.

use klamm_base::{DiskError, Guards};

/// How a log is to be cleaned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanOrders {
    /// `log.cleaner.dedupe.buffer.size`: what the map of keys may take, in bytes.
    pub dedupe_buffer_bytes: u64,
    /// Which protections stand.
    pub guards: Guards,
}

/// A clean that came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cleaned {
    /// All below is clean: what `cleaner-offset-checkpoint` may say from now on.
    pub first_dirty: i64,
    /// Read, in bytes.
    pub bytes_before: u64,
    /// Written, in bytes.
    pub bytes_after: u64,
}

/// Why a clean brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CleanError {
    /// The log was cut or lost its beginning meanwhile, or a write to it failed: begin anew.
    #[error("the log was cut while it was cleaned")]
    Cut,
    /// The disk failed: nothing more may be written to the log (KAFKA_STORAGE_ERROR).
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The log holds something that cannot be cleaned; it stays as it is.
    #[error("{path} at {position}: {what}")]
    Unreadable { path: String, position: u64, what: &'static str },
}
