//! What a restarted replica finds, against what its log held.

use super::partition::{Partition, Stored};
use super::{Reload, Version, VersionId};
use crate::nodes::NodeIndex;
use klamm_base::chain;

impl Partition {
    /// A restarted replica told what its log holds.
    pub fn reload(
        &mut self,
        node: NodeIndex,
        (start, end, digest): (i64, i64, u64),
        at: u32,
        removed: &mut Vec<VersionId>,
    ) -> Reload {
        let log = self.log_mut(node);
        log.loaded = at;
        log.mark = None;
        log.leads = false;
        if !log.may_begin_at(start) {
            return self.restart_elsewhere(node, (start, end, digest), at, removed);
        }
        let began = std::mem::replace(&mut log.starts.now, start);
        let before = log.end;
        if start == end && digest == 0 {
            self.emptied(node, began.min(end), end, removed);
            return Reload::Prefix;
        }
        if self.ends_with(node, (start, end, digest)) {
            self.pop(node, end, removed);
            return Reload::Prefix;
        }
        if let Some(tip) = self.known(start, end, digest).or_else(|| self.undone(node, start, end)) {
            self.adopt(node, tip, removed);
            return Reload::Known;
        }
        if let Some(tip) = self.follows_cleaned(node, end) {
            self.adopt(node, tip, removed);
            self.is_unsure_from(node, before);
            return Reload::Known;
        }
        self.pop(node, end, removed);
        self.grow(node, (start, end, digest), at);
        if end > before { Reload::Grown } else { Reload::Unexplained }
    }

    /// A log that lost all that it had from `began` on begins anew where it may [L18].
    fn emptied(&mut self, node: NodeIndex, began: i64, end: i64, removed: &mut Vec<VersionId>) {
        self.pop(node, began, removed);
        let log = self.log_mut(node);
        if log.end != end {
            (log.end, log.flushed) = (end, log.flushed.min(end));
            log.begin(end);
        }
    }

    /// True if a prefix of the node's log ends at `end` with this digest. Where it cannot be told, the end decides.
    fn ends_with(&self, node: NodeIndex, (start, end, digest): (i64, i64, u64)) -> bool {
        let Some(log) = self.log(node) else { return false };
        let first = log.path.partition_point(|id| self.version(*id).last < start);
        let behind = log.path.partition_point(|id| self.version(*id).last < end);
        let Some(path) = log.path.get(first..behind).filter(|path| !path.is_empty()) else { return false };
        let ends = self.version(path[path.len() - 1]).last.saturating_add(1) == end;
        ends && (!log.left.is_empty() || self.digest_over(path, start).is_none_or(|told| told == digest))
    }

    /// The digest over these batches of a log that begins at `start`; `None` if nobody told what stands there.
    fn digest_over(&self, path: &[VersionId], start: i64) -> Option<u64> {
        path.iter().map(|id| self.version(*id)).try_fold(0, |digest, it| match it.opaque {
            true => (it.under == start).then_some(it.digest),
            false => Some(chain(digest, it.base, it.epoch, it.batch)),
        })
    }

    /// The version with which a log ends that begins at `start` and has this digest, if some log ever did.
    fn known(&self, start: i64, end: i64, digest: u64) -> Option<VersionId> {
        let ids = (0..self.versions.len() as u32).rev().map(VersionId);
        let mut ending = ids.filter(|id| self.version(*id).last.saturating_add(1) == end);
        ending.find(|id| self.digest_from(*id, start) == Some(digest))
    }

    /// The version with which a log ended that began anew since, if nobody can tell its digest: that beginning anew may not have
    /// reached the disk. Where it cannot be told, the end decides.
    fn undone(&self, node: NodeIndex, start: i64, end: i64) -> Option<VersionId> {
        self.log(node).filter(|log| log.starts.anew)?;
        let ids = (0..self.versions.len() as u32).rev().map(VersionId);
        let mut ending = ids.filter(|id| self.version(*id).last.saturating_add(1) == end);
        ending.find(|id| self.version(*id).held.contains(node) && self.digest_from(*id, start).is_none())
    }

    /// The digest of a log that begins at `start` and ends with this version: over the batches from the one that holds `start`
    /// on. `None` if nobody told what stands there.
    pub(super) fn digest_from(&self, tip: VersionId, start: i64) -> Option<u64> {
        let version = self.version(tip);
        if version.root == start || version.opaque && version.under == start {
            return Some(version.digest);
        }
        let mut line: Vec<&Version> = Vec::new();
        let mut cursor = Some(tip);
        let mut digest = 0;
        while let Some(version) = cursor.map(|id| self.version(id)).filter(|version| version.last >= start) {
            match (version.opaque, version.under == start) {
                (true, true) => {
                    digest = version.digest;
                    break;
                }
                (true, false) => return None,
                (false, _) => line.push(version),
            }
            if version.base <= start {
                break;
            }
            // Its beginning is not known.
            version.parent?;
            cursor = version.parent;
        }
        Some(line.iter().rev().fold(digest, |digest, it| chain(digest, it.base, it.epoch, it.batch)))
    }

    /// Replaces a node's path by the one that ends in this version.
    fn adopt(&mut self, node: NodeIndex, tip: VersionId, removed: &mut Vec<VersionId>) {
        let mut missing = Vec::new();
        let mut cursor = Some(tip);
        while let Some(id) = cursor
            && !self.holds(node, id)
        {
            missing.push(id);
            cursor = self.version(id).parent;
        }
        let from = cursor.map_or(i64::MIN, |id| self.version(id).last.saturating_add(1));
        self.pop(node, from, removed);
        for id in missing.into_iter().rev() {
            self.push(node, id);
        }
    }

    /// Adds bytes that nobody announced.
    fn grow(&mut self, node: NodeIndex, (start, end, digest): (i64, i64, u64), at: u32) {
        let log = self.log_mut(node);
        if log.end >= end {
            return;
        }
        let (tip, base, root) = (log.path.last().copied(), log.end, log.start);
        let root = tip.map_or(root, |tip| self.version(tip).root);
        let epoch = tip.map_or(0, |tip| self.version(tip).epoch);
        let stored = Stored { base, last: end - 1, epoch, batch: digest, producer: None };
        let id = self.insert(tip, stored, digest, root, at, true);
        self.version_mut(id).under = start;
        self.push(node, id);
        self.opaque.push(id);
    }

    fn restart_elsewhere(
        &mut self,
        node: NodeIndex,
        (start, end, digest): (i64, i64, u64),
        at: u32,
        removed: &mut Vec<VersionId>,
    ) -> Reload {
        let log = self.log_mut(node);
        let how = if start > log.start || !log.starts.anew { Reload::Beyond } else { Reload::Moved };
        self.pop(node, i64::MIN, removed);
        let log = self.log_mut(node);
        (log.end, log.flushed) = (start, start);
        log.begin(start);
        if let Some(tip) = self.known(start, end, digest) {
            self.adopt(node, tip, &mut Vec::new());
            let first = self.log(node).and_then(|log| log.path.first()).map(|id| self.version(*id).base);
            let log = self.log_mut(node);
            log.start = first.unwrap_or(start);
        }
        self.grow(node, (start, end, digest), at);
        how
    }

    /// What an opaque version stood for is known now, and with it what follows it.
    pub(super) fn rehash(&mut self, tip: VersionId) {
        let mut changed = vec![tip];
        while let Some(parent) = changed.pop() {
            let digest = self.version(parent).digest;
            for id in self.children(parent) {
                let Version { base, epoch, batch, opaque, .. } = *self.version(id);
                if !opaque {
                    self.version_mut(id).digest = chain(digest, base, epoch, batch);
                    changed.push(id);
                }
            }
        }
    }
}
