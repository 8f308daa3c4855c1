//! A disk in memory for tests: page cache and platter apart, names and contents apart.
#![allow(dead_code, reason = "each test uses its part")]

use bytes::Bytes;
use klamm_base::{DiskError, DiskOp, DiskOut, DiskResult, Draws};
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default)]
struct Content {
    cached: Vec<u8>,
    durable: Vec<u8>,
}

/// A content leaves one name, and appears at another: as a whole or not at all, as file systems with a journal do it.
#[derive(Clone, Debug)]
struct Change {
    from: Option<String>,
    to: Option<String>,
    content: usize,
}

/// Files by path. What a name stands for may be durable while the content is not, and the other way round.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    contents: Vec<Content>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// What was done to names since they were durable.
    changes: Vec<Change>,
}

impl Disk {
    /// Performs one operation, whole.
    pub fn perform(&mut self, op: DiskOp) -> DiskResult {
        match op {
            DiskOp::CreateDir { .. } => {}
            DiskOp::RemoveDir { path } => {
                let inside: Vec<String> = self.names.keys().filter(|name| within(name, &path)).cloned().collect();
                inside.into_iter().for_each(|name| self.change(Some(name), None));
            }
            DiskOp::List { path } => return Ok(DiskOut::Names(self.list(&path))),
            DiskOp::Len { path } => return Ok(DiskOut::Len(self.file(&path)?.cached.len() as u64)),
            DiskOp::Append { path, data } => self.file_or_new(path).cached.extend_from_slice(&data),
            DiskOp::Write { path, data } => self.file_or_new(path).cached = data.to_vec(),
            DiskOp::Read { path, position, len } => return self.read(&path, position, len),
            DiskOp::Truncate { path, len } => self.file(&path)?.cached.truncate(len as usize),
            DiskOp::Sync { path } => {
                let content = self.file(&path)?;
                content.durable = content.cached.clone();
            }
            DiskOp::SyncDir { path } => {
                self.durable_names.retain(|name, _| !within(name, &path));
                let made = self.names.iter().filter(|(name, _)| within(name, &path));
                self.durable_names.extend(made.map(|(name, content)| (name.clone(), *content)));
                self.changes.retain(|change| change.names().all(|name| !within(name, &path)));
            }
            DiskOp::Rename { from, to } => {
                self.file(&from)?;
                self.change(Some(from), Some(to));
            }
            DiskOp::Remove { path } => self.change(Some(path), None),
        }
        Ok(DiskOut::Done)
    }

    /// Loses power: of what was not synced some is lost, some torn, some kept.
    pub fn lose_power(&mut self, draws: &mut Draws) {
        let mut names = self.durable_names.clone();
        let mut lost: Vec<Change> = Vec::new();
        for change in std::mem::take(&mut self.changes) {
            // Changes of one name, or of one file, keep their order; others are bound to nothing.
            if lost.iter().any(|lost| lost.binds(&change)) || draws.chance(1, 2) {
                lost.push(change);
            } else {
                change.apply(&mut names);
            }
        }
        (self.names, self.durable_names) = (names.clone(), names);
        self.contents.iter_mut().for_each(|content| content.lose_power(draws));
    }

    /// The content of a file, if it is there.
    pub fn content(&self, path: &str) -> Option<&[u8]> {
        self.names.get(path).map(|content| self.contents[*content].cached.as_slice())
    }

    /// All files by name with their content.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.names.iter().map(|(name, content)| (name.clone(), self.contents[*content].cached.clone())).collect()
    }

    /// Names in a directory.
    pub fn list(&self, dir: &str) -> Vec<String> {
        let inside = self.names.keys().filter(|name| within(name, dir));
        inside.map(|name| name[dir.len() + 1..].to_owned()).collect()
    }

    fn file(&mut self, path: &str) -> Result<&mut Content, DiskError> {
        let content = self.names.get(path).ok_or_else(|| DiskError::NotFound { path: path.to_owned() })?;
        Ok(&mut self.contents[*content])
    }

    fn file_or_new(&mut self, path: String) -> &mut Content {
        let next = self.contents.len();
        if let Some(content) = self.names.get(&path) {
            return &mut self.contents[*content];
        }
        self.contents.push(Content::default());
        self.apply(Change { from: None, to: Some(path), content: next });
        &mut self.contents[next]
    }

    /// Renames or removes a file, if it is there.
    fn change(&mut self, from: Option<String>, to: Option<String>) {
        if let Some(content) = from.as_ref().and_then(|from| self.names.get(from).copied()) {
            self.apply(Change { from, to, content });
        }
    }

    fn apply(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }

    fn read(&mut self, path: &str, position: u64, len: u32) -> DiskResult {
        assert!(len <= 1 << 20, "a read of {len} bytes at once");
        let cached = &self.file(path)?.cached;
        let from = cached.len().min(position as usize);
        let to = cached.len().min(from + len as usize);
        Ok(DiskOut::Data(Bytes::copy_from_slice(&cached[from..to])))
    }
}

impl Change {
    fn names(&self) -> impl Iterator<Item = &String> {
        [&self.from, &self.to].into_iter().flatten()
    }

    fn binds(&self, later: &Change) -> bool {
        self.content == later.content || self.names().any(|name| later.names().any(|other| name == other))
    }

    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        self.from.iter().for_each(|from| _ = names.remove(from));
        self.to.iter().for_each(|to| _ = names.insert(to.clone(), self.content));
    }
}

impl Content {
    fn lose_power(&mut self, draws: &mut Draws) {
        let changed = self.cached.iter().zip(&self.durable).position(|(a, b)| a != b);
        let common = changed.unwrap_or(self.cached.len().min(self.durable.len()));
        let kept = draws.between(common as u64, self.cached.len().max(common) as u64) as usize;
        let mut survived = self.cached[..kept.min(self.cached.len())].to_vec();
        match draws.below(4) {
            // The file's length was durable, its last pages were not.
            0 => survived.resize(self.cached.len(), 0),
            // The cut was not durable: what it cut is there again.
            1 => survived.extend_from_slice(self.durable.get(survived.len()..).unwrap_or_default()),
            2 => survived = self.durable.clone(),
            _ => {}
        }
        (self.cached, self.durable) = (survived.clone(), survived);
    }
}

fn within(name: &str, dir: &str) -> bool {
    name.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'))
}
