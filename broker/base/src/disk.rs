//! What a core may ask of its disk. Paths are relative to the process's own root, with `/` between parts.

use bytes::Bytes;

/// Names one request of one core; the answer carries it back. Unique among a core's open requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// One operation. Mutating ones take effect in the order in which they were asked per log directory; reads run beside them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskOp {
    /// Makes a directory and its parents; fine if it is there.
    CreateDir { path: String },
    /// Removes a directory with all it holds; fine if it is not there.
    RemoveDir { path: String },
    /// Names in a directory, sorted; empty if the directory is not there.
    List { path: String },
    /// Length of a file in bytes.
    Len { path: String },
    /// Appends at the end; makes the file if it is not there.
    Append { path: String, data: Bytes },
    /// Replaces the whole content; makes the file if it is not there. Not atomic: write a temporary, sync, rename.
    Write { path: String, data: Bytes },
    /// Up to `len` bytes from `position`; fewer at the end of the file, none beyond it.
    Read { path: String, position: u64, len: u32 },
    /// Cuts the file to `len` bytes.
    Truncate { path: String, len: u64 },
    /// Makes a file's content durable: all that was in the cache when the sync was issued.
    Sync { path: String },
    /// Makes a directory's entries durable: creations, renames and removals in it.
    SyncDir { path: String },
    /// Renames, replacing what has the new name.
    Rename { from: String, to: String },
    /// Removes a file; fine if it is not there.
    Remove { path: String },
}

impl DiskOp {
    /// True for all but List, Len and Read.
    pub fn mutates(&self) -> bool {
        !matches!(self, DiskOp::List { .. } | DiskOp::Len { .. } | DiskOp::Read { .. })
    }

    /// The (first) path that the operation names.
    pub fn path(&self) -> &str {
        match self {
            DiskOp::CreateDir { path }
            | DiskOp::RemoveDir { path }
            | DiskOp::List { path }
            | DiskOp::Len { path }
            | DiskOp::Append { path, .. }
            | DiskOp::Write { path, .. }
            | DiskOp::Read { path, .. }
            | DiskOp::Truncate { path, .. }
            | DiskOp::Sync { path }
            | DiskOp::SyncDir { path }
            | DiskOp::Remove { path }
            | DiskOp::Rename { from: path, .. } => path,
        }
    }
}

/// What a successful operation answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskOut {
    /// A mutating operation is done.
    Done,
    /// List.
    Names(Vec<String>),
    /// Len.
    Len(u64),
    /// Read.
    Data(Bytes),
}

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// The file is not there (Len, Read, Truncate, Sync, Rename).
    #[error("{path}: no such file")]
    NotFound { path: String },
    /// The device is full.
    #[error("{path}: no space left on device")]
    NoSpace { path: String },
    /// The device or the file system failed.
    #[error("{path}: {message}")]
    Io { path: String, message: String },
}

/// How an operation ended.
pub type DiskResult = Result<DiskOut, DiskError>;

/// An operation and the ticket under which its one completion will come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskRequest {
    /// Comes back in [`DiskDone`].
    pub ticket: Ticket,
    /// What to do.
    pub op: DiskOp,
}

/// The completion of a [`DiskRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskDone {
    /// Of the request.
    pub ticket: Ticket,
    /// How it ended.
    pub result: DiskResult,
}
