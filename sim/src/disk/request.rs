//! What is asked of a disk, and how it answers.

use super::drives::OpenFile;
use crate::trace::sample;
use bytes::Bytes;
use std::io::{self, ErrorKind};

/// What is asked of a disk.
#[derive(Debug)]
pub(crate) enum Request {
    CreateDir(String),
    RemoveDir(String),
    List(String),
    Open(String, bool),
    Rename(String, String),
    Remove(String),
    SyncDir(String),
    Len(OpenFile),
    /// At a position, or at the end.
    Write(OpenFile, Option<u64>, Bytes),
    Read(OpenFile, u64, u32),
    Truncate(OpenFile, u64),
    Sync(OpenFile),
}

/// What it answers.
#[derive(Debug)]
pub(crate) enum Reply {
    Nothing,
    Names(Vec<String>),
    File(OpenFile),
    Len(u64),
    Data(Bytes),
}

/// How it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// As the file system says it.
    Kind(ErrorKind),
    /// EIO: the device failed. The standard library has no kind for it that can be made.
    Device,
}

/// The number of EIO on every Unix.
const EIO: i32 = 5;

impl From<ErrorKind> for Failure {
    fn from(kind: ErrorKind) -> Self {
        Self::Kind(kind)
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Kind(kind) => kind.into(),
            Failure::Device => Self::from_raw_os_error(EIO),
        }
    }
}

/// Where a request goes.
pub(super) enum Target<'a> {
    Path(&'a str),
    File(OpenFile),
}

impl Request {
    pub(super) fn target(&self) -> Target<'_> {
        match self {
            Self::CreateDir(path) | Self::RemoveDir(path) | Self::List(path) | Self::Open(path, _) => {
                Target::Path(path)
            }
            Self::Rename(path, _) | Self::Remove(path) | Self::SyncDir(path) => Target::Path(path),
            Self::Len(file) | Self::Write(file, ..) | Self::Read(file, ..) => Target::File(*file),
            Self::Truncate(file, _) | Self::Sync(file) => Target::File(*file),
        }
    }

    /// For the hash of the trace.
    pub(crate) fn digest(&self) -> u64 {
        match self {
            Self::CreateDir(path) => sample(path.as_bytes()),
            Self::RemoveDir(path) => 1 ^ sample(path.as_bytes()),
            Self::List(path) => 2 ^ sample(path.as_bytes()),
            Self::Open(path, _) => 3 ^ sample(path.as_bytes()),
            Self::Rename(from, to) => sample(from.as_bytes()).rotate_left(7) ^ sample(to.as_bytes()),
            Self::Remove(path) => 4 ^ sample(path.as_bytes()),
            Self::SyncDir(path) => 5 ^ sample(path.as_bytes()),
            Self::Write(_, position, data) => sample(data) ^ position.unwrap_or(6),
            Self::Read(_, position, len) => position << 32 | u64::from(*len),
            Self::Truncate(_, len) => 7 ^ len << 8,
            Self::Len(_) => 8,
            Self::Sync(_) => 9,
        }
    }

    /// For a line of the trace.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Write(file, position, data) => format!("Write({file:?}, {position:?}, {} bytes)", data.len()),
            other => format!("{other:?}"),
        }
    }
}
