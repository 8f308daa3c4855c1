//! One process per root: two nodes on the same files would destroy each other's logs.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// The file that is locked, below the root. It stays when the lock is gone; its presence says nothing.
const LOCK_FILE: &str = ".lock";

/// Holds a root for this process. Dropping it, and the end of the process in whatever way, sets it free.
#[derive(Debug)]
pub struct RootLock {
    _file: File,
}

/// Why a root could not be had.
#[derive(Debug)]
pub enum LockError {
    /// Another process holds it.
    InUse(PathBuf),
    /// It cannot be made or written.
    Unusable(PathBuf, io::Error),
}

impl std::fmt::Display for LockError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InUse(root) => write!(f, "the folder {} is in use by another broker", root.display()),
            Self::Unusable(root, error) => write!(f, "the folder {} cannot be used: {error}", root.display()),
        }
    }
}

impl std::error::Error for LockError {}

/// Takes the root, making the folder if it is not there; does not wait.
///
/// # Errors
/// If another process (or another lock of this one) has it, or the folder cannot be used.
pub fn lock(root: &Path) -> Result<RootLock, LockError> {
    let unusable = |error| LockError::Unusable(root.to_owned(), error);
    fs::create_dir_all(root).map_err(unusable)?;
    let mut options = File::options();
    let file = options.create(true).write(true).truncate(false).open(root.join(LOCK_FILE)).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(RootLock { _file: file }),
        Err(TryLockError::WouldBlock) => Err(LockError::InUse(root.to_owned())),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}
