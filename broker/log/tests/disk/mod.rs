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

/// Files by path. What a name stands for may be durable while the content is not, and the other way round.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    contents: Vec<Content>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
}

impl Disk {
    /// Performs one operation, whole.
    pub fn perform(&mut self, op: DiskOp) -> DiskResult {
        match op {
            DiskOp::CreateDir { .. } => {}
            DiskOp::RemoveDir { path } => self.names.retain(|name, _| !within(name, &path)),
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
            }
            DiskOp::Rename { from, to } => {
                let content = self.names.remove(&from).ok_or(DiskError::NotFound { path: from })?;
                self.names.insert(to, content);
            }
            DiskOp::Remove { path } => {
                self.names.remove(&path);
            }
        }
        Ok(DiskOut::Done)
    }

    /// Loses power: of what was not synced some is lost, some torn, some kept.
    pub fn lose_power(&mut self, draws: &mut Draws) {
        let mut names = BTreeMap::new();
        let all: std::collections::BTreeSet<&String> = self.names.keys().chain(self.durable_names.keys()).collect();
        for name in all {
            let (new, old) = (self.names.get(name), self.durable_names.get(name));
            let kept = if new == old || draws.chance(1, 2) { new } else { old };
            kept.into_iter().for_each(|content| _ = names.insert(name.clone(), *content));
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
        let content = *self.names.entry(path).or_insert(next);
        if content == next {
            self.contents.push(Content::default());
        }
        &mut self.contents[content]
    }

    fn read(&mut self, path: &str, position: u64, len: u32) -> DiskResult {
        assert!(len <= 1 << 20, "a read of {len} bytes at once");
        let cached = &self.file(path)?.cached;
        let from = cached.len().min(position as usize);
        let to = cached.len().min(from + len as usize);
        Ok(DiskOut::Data(Bytes::copy_from_slice(&cached[from..to])))
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
