//! A small disk that performs a core's requests one by one and can lose what was not synced.
#![allow(dead_code)]

use bytes::Bytes;
use klamm_base::{DiskDone, DiskError, DiskOp, DiskOut, DiskRequest, DiskResult};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The page cache survives.
    Kill,
    /// Only what was synced survives.
    PowerLoss,
    /// What was synced survives, and half of what was appended since.
    TornPowerLoss,
}

impl Crash {
    pub const ALL: [Crash; 3] = [Crash::Kill, Crash::PowerLoss, Crash::TornPowerLoss];
}

#[derive(Clone, Debug, Default)]
struct Inode {
    cache: Vec<u8>,
    durable: Vec<u8>,
}

/// Files below directories; a name survives a power loss only if the directories above it were synced.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    dirs: BTreeSet<String>,
    durable_dirs: BTreeSet<String>,
    queue: VecDeque<DiskRequest>,
    pub performed: usize,
}

impl Disk {
    /// A disk with one durable directory.
    pub fn with_dir(dir: &str) -> Self {
        let dirs = BTreeSet::from([dir.to_owned()]);
        Disk { dirs: dirs.clone(), durable_dirs: dirs, ..Disk::default() }
    }

    pub fn ask(&mut self, request: DiskRequest) {
        self.queue.push_back(request);
    }

    pub fn idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Performs the oldest request.
    pub fn perform(&mut self) -> Option<DiskDone> {
        let DiskRequest { ticket, op } = self.queue.pop_front()?;
        self.performed += 1;
        Some(DiskDone { ticket, result: self.apply(op) })
    }

    /// The process ends: what was asked and not performed never happens.
    pub fn crash(&mut self, crash: Crash) {
        self.queue.clear();
        if crash == Crash::Kill {
            return;
        }
        self.dirs = self.durable_dirs.clone();
        let rooted = |path: &String| path.rsplit_once('/').is_none_or(|(dir, _)| self.durable_dirs.contains(dir));
        self.names = self.durable_names.clone().into_iter().filter(|(path, _)| rooted(path)).collect();
        for inode in &mut self.inodes {
            let synced = inode.durable.len();
            let kept = match crash {
                Crash::TornPowerLoss if inode.cache.starts_with(&inode.durable) => {
                    synced + (inode.cache.len() - synced) / 2
                }
                _ => synced,
            };
            if kept > synced {
                inode.cache.truncate(kept);
            } else {
                inode.cache = inode.durable.clone();
            }
        }
    }

    pub fn content(&self, path: &str) -> Option<&[u8]> {
        self.names.get(path).map(|inode| self.inodes[*inode].cache.as_slice())
    }

    fn file(&mut self, path: &str) -> Result<&mut Inode, DiskError> {
        let inode = self.names.get(path).copied();
        inode.map(|inode| &mut self.inodes[inode]).ok_or(DiskError::NotFound { path: path.to_owned() })
    }

    fn make(&mut self, path: String) -> &mut Inode {
        let dir = path.rsplit_once('/').map(|(dir, _)| dir.to_owned());
        assert!(dir.is_none_or(|dir| self.dirs.contains(&dir)), "{path} in a directory that is not there");
        let next = self.inodes.len();
        let inode = *self.names.entry(path).or_insert(next);
        if inode == next {
            self.inodes.push(Inode::default());
        }
        &mut self.inodes[inode]
    }

    fn apply(&mut self, op: DiskOp) -> DiskResult {
        match op {
            DiskOp::CreateDir { path } => {
                self.dirs.insert(path);
            }
            DiskOp::RemoveDir { .. } => panic!("nobody asks for it"),
            DiskOp::List { path } => return Ok(DiskOut::Names(self.list(&path))),
            DiskOp::Len { path } => return self.file(&path).map(|file| DiskOut::Len(file.cache.len() as u64)),
            DiskOp::Append { path, data } => self.make(path).cache.extend_from_slice(&data),
            DiskOp::Write { path, data } => self.make(path).cache = data.to_vec(),
            DiskOp::Read { path, position, len } => {
                let file = self.file(&path)?;
                let from = (position as usize).min(file.cache.len());
                let to = (from + len as usize).min(file.cache.len());
                return Ok(DiskOut::Data(Bytes::copy_from_slice(&file.cache[from..to])));
            }
            DiskOp::Truncate { path, len } => self.file(&path)?.cache.truncate(len as usize),
            DiskOp::Sync { path } => {
                let file = self.file(&path)?;
                file.durable = file.cache.clone();
            }
            DiskOp::SyncDir { path } => self.sync_dir(&path),
            DiskOp::Rename { from, to } => {
                let inode = self.names.remove(&from).ok_or(DiskError::NotFound { path: from })?;
                self.names.insert(to, inode);
            }
            DiskOp::Remove { path } => {
                self.names.remove(&path);
            }
        }
        Ok(DiskOut::Done)
    }

    fn list(&self, dir: &str) -> Vec<String> {
        self.names.keys().filter(|path| parent(path) == dir).map(|path| path[dir.len() + 1..].to_owned()).collect()
    }

    fn sync_dir(&mut self, dir: &str) {
        assert!(self.dirs.contains(dir), "{dir} is synced but not there");
        self.durable_names.retain(|path, _| parent(path) != dir);
        let entries = self.names.iter().filter(|(path, _)| parent(path) == dir);
        self.durable_names.extend(entries.map(|(path, inode)| (path.clone(), *inode)));
        self.durable_dirs.extend(self.dirs.iter().filter(|path| parent(path) == dir).cloned());
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

/// One request for a dialogue.
pub fn show_op(op: &DiskOp) -> String {
    match op {
        DiskOp::CreateDir { path } => format!("create-dir {path}"),
        DiskOp::RemoveDir { path } => format!("remove-dir {path}"),
        DiskOp::List { path } => format!("list {path}"),
        DiskOp::Len { path } => format!("len {path}"),
        DiskOp::Append { path, data } => format!("append {path} {} bytes", data.len()),
        DiskOp::Write { path, .. } => format!("write {path}"),
        DiskOp::Read { path, position, .. } => format!("read {path} from {position}"),
        DiskOp::Truncate { path, len } => format!("truncate {path} to {len}"),
        DiskOp::Sync { path } => format!("sync {path}"),
        DiskOp::SyncDir { path } => format!("sync-dir {path}"),
        DiskOp::Rename { from, to } => format!("rename {from} -> {to}"),
        DiskOp::Remove { path } => format!("remove {path}"),
    }
}
