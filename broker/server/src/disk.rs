//! Performs disk operations, and keeps files open between them.

use crate::driver::Driver;
use crate::lane::LaneName;
use crate::machine::Event;
use bytes::Bytes;
use klamm_base::{DiskError, DiskOp, DiskOut, DiskResult};
use klamm_env::{BoxFuture, Env, File, OpenMode};
use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};

/// Beyond so many the kept handles are dropped, all of them: files are few, or the limit of the system is near.
const OPEN_FILES_MAX: usize = 512;

/// Larger reads are asked for, even if memory holds all of it: copying them is work that a step must not wait for.
const CACHED_BYTES_MAX: u32 = 1 << 20;

/// Serves a lane until the node ends.
pub(crate) async fn serve(driver: Arc<Driver>, lane: LaneName, worker: usize) {
    let mut next = None;
    loop {
        if next.is_none() {
            next = poll_fn(|cx| driver.poll_work(lane, worker, cx)).await;
        }
        let Some((id, op)) = next.take() else { return };
        let result = driver.files.perform(&driver.env, op).await;
        next = driver.disk_done(Event::DiskDone { id, result }, lane);
    }
}

/// Open files by their path.
#[derive(Default)]
pub(crate) struct Files {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    files: BTreeMap<String, Arc<dyn File>>,
    /// Where a write or a sync failed, and no whole content was written since.
    spoilt: BTreeSet<String>,
    /// Moves when names change: a file that was opened before is not kept after.
    changes: u64,
}

impl Files {
    /// Performs one operation.
    pub(crate) async fn perform(&self, env: &Env, op: DiskOp) -> DiskResult {
        let result = match &op {
            DiskOp::Append { path, data } => self.append(env, path, data.clone()).await.map(done),
            DiskOp::Write { path, data } => self.replace(env, path, data.clone()).await.map(done),
            DiskOp::Read { path, position, len } => self.read(env, path, *position, *len).await.map(DiskOut::Data),
            DiskOp::Len { path } => self.len(env, path).await.map(DiskOut::Len),
            DiskOp::List { path } => env.disk.list(path).await.map(DiskOut::Names),
            DiskOp::Truncate { path, len } => self.truncate(env, path, *len).await.map(done),
            DiskOp::Sync { path } => self.sync(env, path).await.map(done),
            DiskOp::SyncDir { path } => env.disk.sync_dir(path).await.map(done),
            DiskOp::CreateDir { path } => env.disk.create_dir(path).await.map(done),
            DiskOp::RemoveDir { path } => self.renamed(path, path, env.disk.remove_dir(path)).await.map(done),
            DiskOp::Remove { path } => self.renamed(path, path, env.disk.remove(path)).await.map(done),
            DiskOp::Rename { from, to } => self.rename(env, from, to).await.map(done),
        };
        if result.as_ref().is_err_and(|error| spoils(&op, error)) {
            self.lock().spoilt.insert(op.path().to_owned());
        }
        result.map_err(|error| self.failed(op.path().to_owned(), &error))
    }

    /// A content that could not be written or synced must not take the place of another, though the rename behind it was
    /// asked for before anybody knew.
    async fn rename(&self, env: &Env, from: &str, to: &str) -> io::Result<()> {
        if self.lock().spoilt.contains(from) {
            return Err(io::Error::other("its content could not be written"));
        }
        self.renamed(from, to, env.disk.rename(from, to)).await
    }

    /// Runs a change of names. Handles by these names are dropped before, and again after: one may have been opened
    /// meanwhile.
    async fn renamed(&self, from: &str, to: &str, change: BoxFuture<io::Result<()>>) -> io::Result<()> {
        self.forget(from, to);
        let changed = change.await;
        self.forget(from, to);
        if changed.is_ok() {
            self.lock().spoilt.retain(|name| !is_below(name, from));
        }
        changed
    }

    async fn append(&self, env: &Env, path: &str, data: Bytes) -> io::Result<()> {
        let file = self.file(env, path, OpenMode::Create).await?;
        file.append(data).await
    }

    async fn replace(&self, env: &Env, path: &str, data: Bytes) -> io::Result<()> {
        let file = self.file(env, path, OpenMode::Create).await?;
        file.truncate(0).await?;
        file.append(data).await?;
        self.lock().spoilt.remove(path);
        Ok(())
    }

    async fn truncate(&self, env: &Env, path: &str, len: u64) -> io::Result<()> {
        self.existing(env, path).await?.truncate(len).await
    }

    async fn sync(&self, env: &Env, path: &str) -> io::Result<()> {
        self.existing(env, path).await?.sync().await
    }

    async fn len(&self, env: &Env, path: &str) -> io::Result<u64> {
        self.existing(env, path).await?.len().await
    }

    /// What a read gives at once, if its file is open and memory holds the bytes.
    pub(crate) fn read_cached(&self, op: &DiskOp) -> Option<DiskResult> {
        let DiskOp::Read { path, position, len } = op else { return None };
        if *len > CACHED_BYTES_MAX {
            return None;
        }
        let data = self.lock().files.get(path)?.read_cached(*position, *len)?;
        Some(Ok(DiskOut::Data(data)))
    }

    async fn read(&self, env: &Env, path: &str, position: u64, len: u32) -> io::Result<Bytes> {
        self.existing(env, path).await?.read_at(position, len).await
    }

    async fn existing(&self, env: &Env, path: &str) -> io::Result<Arc<dyn File>> {
        self.file(env, path, OpenMode::Existing).await
    }

    async fn file(&self, env: &Env, path: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let before = {
            let kept = self.lock();
            if let Some(file) = kept.files.get(path) {
                return Ok(file.clone());
            }
            kept.changes
        };
        let file = env.disk.open(path, mode).await?;
        self.lock().keep(path, &file, before);
        Ok(file)
    }

    /// Drops the handles of two paths and of all below them.
    fn forget(&self, from: &str, to: &str) {
        let mut kept = self.lock();
        kept.changes += 1;
        kept.files.retain(|name, _| !is_below(name, from) && !is_below(name, to));
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("nothing panics under this lock")
    }

    /// A handle that failed is not used again.
    fn failed(&self, path: String, error: &io::Error) -> DiskError {
        self.forget(&path, &path);
        match error.kind() {
            ErrorKind::NotFound => DiskError::NotFound { path },
            ErrorKind::StorageFull => DiskError::NoSpace { path },
            _ => DiskError::Io { path, message: error.to_string() },
        }
    }
}

/// The operation leaves a content that nobody can rely on.
fn spoils(op: &DiskOp, error: &io::Error) -> bool {
    let changes =
        matches!(op, DiskOp::Append { .. } | DiskOp::Write { .. } | DiskOp::Truncate { .. } | DiskOp::Sync { .. });
    changes && error.kind() != ErrorKind::NotFound
}

fn done((): ()) -> DiskOut {
    DiskOut::Done
}

/// True for `path` itself and for what is in it.
fn is_below(name: &str, path: &str) -> bool {
    name.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Kept {
    fn keep(&mut self, path: &str, file: &Arc<dyn File>, changes: u64) {
        if self.changes != changes {
            return;
        }
        if self.files.len() >= OPEN_FILES_MAX {
            self.files.clear();
        }
        self.files.insert(path.to_owned(), file.clone());
    }
}
