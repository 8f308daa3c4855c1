//! Compacted topics: what cleans took away, and whether they might.
//!
//! The ledger holds each log *as it was appended*: a record that a clean took by right still counts as held. What a clean
//! made of a batch, its *form*, is the same batch to the ledger; a follower that copies forms, and skips what is gone, holds
//! what its leader had. So every other property judges a compacted topic like any other, and this is where the right is judged.

use super::partition::Stored;
use super::{LogModel, Partition, VersionId};
use crate::nodes::NodeIndex;
use klamm_base::{CleanedBatch, KeyFact};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What cleans made of a partition.
#[derive(Debug)]
pub(crate) struct Compaction {
    /// `delete.retention.ms`.
    retention_ms: i64,
    /// What cleans left of batches, by where they begin and by its mark.
    forms: BTreeMap<(i64, u64), Arc<Left>>,
    /// Versions of which some clean left nothing.
    vanished: BTreeSet<VersionId>,
    /// Offsets of records that some clean took.
    taken: BTreeSet<i64>,
    /// Nodes whose checkpoint of what is clean was damaged, and the entry of that.
    misguided: BTreeMap<u8, u32>,
}

impl Compaction {
    pub fn new(retention_ms: i64) -> Self {
        Self {
            retention_ms,
            forms: BTreeMap::new(),
            vanished: BTreeSet::new(),
            taken: BTreeSet::new(),
            misguided: BTreeMap::new(),
        }
    }
}

/// What a clean left of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    of: VersionId,
    /// Nothing is, not even a header.
    is_gone: bool,
    /// Its node did not live to tell what it copied: all of it, or what some clean had left.
    is_unsure: bool,
    /// Offsets of its records.
    kept: Vec<i64>,
    /// From when on its tombstones may go, by the wall clock of who holds it, in milliseconds.
    horizon_ms: Option<i64>,
}

/// A clean, as its node told it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clean<'a> {
    pub from: i64,
    pub to: i64,
    pub end: i64,
    pub wall_ms: i64,
    pub batches: &'a [CleanedBatch],
}

/// Records that a clean took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Removed {
    /// Overtaken by a later record of their key.
    pub overtaken: u64,
    /// Tombstones whose horizon had passed.
    pub expired: u64,
}

/// What a clean may not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CleanFault {
    /// It went by what was not committed.
    Uncommitted { end: i64 },
    /// It tells of a batch that the log does not hold, or keeps a record that the batch never had.
    Strange { offset: i64 },
    /// It took the last record of a key.
    LastOfKey { offset: i64 },
    /// It took a tombstone, the last record of its key, before its horizon.
    Tombstone { offset: i64, horizon_ms: Option<i64> },
    /// It took all that told of what this live producer wrote last.
    LastOfProducer { producer: i64, offset: i64 },
    /// This horizon of a batch with a tombstone is not `delete.retention.ms` behind the first clean that met it.
    Horizon { offset: i64, horizon_ms: Option<i64> },
    /// It left a record that a later one of its key overtook.
    Stays { offset: i64 },
}

impl CleanFault {
    /// Of the record that it is about.
    pub fn offset(self) -> i64 {
        match self {
            CleanFault::Uncommitted { end } => end,
            CleanFault::Strange { offset }
            | CleanFault::LastOfKey { offset }
            | CleanFault::Tombstone { offset, .. }
            | CleanFault::LastOfProducer { offset, .. }
            | CleanFault::Horizon { offset, .. }
            | CleanFault::Stays { offset } => offset,
        }
    }
}

/// The last record of each key below the end of a clean, by offset.
struct LastOfKeys {
    by_key: BTreeMap<u64, i64>,
    /// The last offset of batches whose keys nobody told.
    untold: i64,
}

impl LastOfKeys {
    /// Whether a later record of this key stands below the end; `None` if nobody can tell.
    fn is_overtaken(&self, offset: i64, fact: KeyFact) -> Option<bool> {
        match self.by_key.get(&fact.key) {
            Some(last) if *last > offset => Some(true),
            _ if self.untold > offset => None,
            _ => Some(false),
        }
    }
}

impl Partition {
    /// What a log told of the keys of a batch.
    pub fn note_keys(&mut self, id: VersionId, keys: &[KeyFact]) {
        let version = self.version_mut(id);
        let count = version.last.saturating_sub(version.base).saturating_add(1);
        if version.keys.is_empty() && keys.len() as i64 == count {
            version.keys = keys.into();
        }
    }

    /// A node's checkpoint of what is clean is damaged: it may leave what it takes for clean.
    pub(super) fn misguide_cleans(&mut self, node: NodeIndex, at: u32) {
        if let Some(compaction) = &mut self.compaction {
            compaction.misguided.entry(node.0).or_insert(at);
        }
    }

    /// The entry of the damage for which a clean left what was overtaken.
    pub(super) fn is_misguided(&self, node: NodeIndex, fault: CleanFault) -> Option<u32> {
        let of = self.compaction.as_ref()?.misguided.get(&node.0).copied();
        of.filter(|_| matches!(fault, CleanFault::Stays { .. }))
    }

    /// True if a clean took the record at this offset.
    pub fn was_taken(&self, offset: i64) -> bool {
        self.compaction.as_ref().is_some_and(|compaction| compaction.taken.contains(&offset))
    }

    /// True if some clean left nothing of a batch: who loads such a log knows no sequence of it.
    pub fn has_vanished(&self, id: VersionId) -> bool {
        self.compaction.as_ref().is_some_and(|compaction| compaction.vanished.contains(&id))
    }

    /// True if cleans took all records of these offsets.
    pub fn were_taken(&self, from: i64, to: i64) -> bool {
        let taken =
            |compaction: &Compaction| compaction.taken.range(from..to).count() as i64 == to.saturating_sub(from);
        from < to && self.compaction.as_ref().is_some_and(taken)
    }

    /// The batch that a follower copies, as it was once written: of what a clean left of a batch, that batch. What a clean took
    /// before it the follower skips.
    pub(super) fn as_written(&mut self, node: NodeIndex, stored: Stored) -> Stored {
        let Some(compaction) = &self.compaction else { return stored };
        let form = compaction.forms.get(&(stored.base, stored.batch)).cloned();
        let form = form.filter(|left| self.version(left.of).epoch == stored.epoch);
        let known =
            form.as_ref().map(|left| left.of).or_else(|| self.places.get(&(stored.base, stored.epoch)).copied());
        self.forget_gone(node, stored.base);
        let Some(id) = known else { return stored };
        for id in self.skipped(node, id) {
            self.push(node, id);
            let nothing = Left { of: id, is_gone: true, is_unsure: false, kept: Vec::new(), horizon_ms: None };
            self.log_mut(node).left.insert(id, Arc::new(nothing));
        }
        let left = &mut self.log_mut(node).left;
        match form {
            Some(form) => {
                left.insert(id, form);
                Stored { batch: self.version(id).batch, ..stored }
            }
            None => {
                left.remove(&id);
                stored
            }
        }
    }

    /// Where a cut left nothing behind batches that are gone, the log ends before those.
    fn forget_gone(&mut self, node: NodeIndex, base: i64) {
        let ends_gone =
            |log: &LogModel| log.path.last().filter(|id| log.left.get(id).is_some_and(|left| left.is_gone)).copied();
        while let Some(id) = self.log(node).filter(|log| log.end > base).and_then(ends_gone) {
            let from = self.version(id).base;
            self.pop(node, from, &mut Vec::new());
        }
    }

    /// The versions between the end of a node's log and this one, if cleans left nothing of any of them.
    fn skipped(&self, node: NodeIndex, id: VersionId) -> Vec<VersionId> {
        let (tip, end) = self.log(node).map_or((None, 0), |log| (log.path.last().copied(), log.end));
        let vanished = |id: &VersionId| self.compaction.as_ref().is_some_and(|all| all.vanished.contains(id));
        let mut between = Vec::new();
        let mut cursor = self.version(id).parent;
        while let Some(id) = cursor.filter(|id| Some(*id) != tip && self.version(*id).base >= end) {
            if !vanished(&id) {
                return Vec::new();
            }
            between.push(id);
            cursor = self.version(id).parent;
        }
        between.reverse();
        if cursor == tip { between } else { Vec::new() }
    }

    /// The version that ends at `end` and goes on where a node's cleaned log ended: it was appended, and its node did not live to
    /// tell. No digest tells it.
    pub(super) fn follows_cleaned(&self, node: NodeIndex, end: i64) -> Option<VersionId> {
        let log = self.log(node).filter(|log| !log.left.is_empty())?;
        let tip = log.path.last().copied();
        let begins = |id: VersionId| {
            let mut cursor = Some(id);
            while let Some(id) = cursor.filter(|id| Some(*id) != tip && self.version(*id).base >= log.end) {
                cursor = self.version(id).parent;
            }
            cursor == tip
        };
        let ends = |id: &VersionId| self.version(*id).last.saturating_add(1) == end && end > log.end;
        (0..self.versions.len() as u32).rev().map(VersionId).filter(ends).find(|id| begins(*id))
    }

    /// What a cleaned log holds from `from` on nobody told: whole batches, or what cleans left of them.
    pub(super) fn is_unsure_from(&mut self, node: NodeIndex, from: i64) {
        for id in self.path_within(node, from, i64::MAX) {
            self.unsure(node, id);
        }
    }

    /// These batches are what nobody had told of before: of what a clean left of them meanwhile nobody was told either.
    pub(super) fn explained_late(&mut self, pieces: &[VersionId]) {
        if self.compaction.is_none() {
            return;
        }
        let hosts: Vec<NodeIndex> = self.hosts.iter().copied().map(NodeIndex).collect();
        for node in hosts {
            for id in pieces {
                let base = self.version(*id).base;
                let is_cleaned = self.log(node).is_some_and(|log| base < log.cleaned_to && log.path.contains(id));
                if is_cleaned && !self.log_mut(node).left.contains_key(id) {
                    self.unsure(node, *id);
                }
            }
        }
    }

    fn unsure(&mut self, node: NodeIndex, id: VersionId) {
        let kept = (self.version(id).base..=self.version(id).last).collect();
        let left = Left { of: id, is_gone: false, is_unsure: true, kept, horizon_ms: self.first_horizon(id) };
        self.log_mut(node).left.insert(id, Arc::new(left));
    }

    /// True if a node's log may hold something else than this batch.
    pub(super) fn is_unsure(&self, node: NodeIndex, id: VersionId) -> bool {
        self.log(node).and_then(|log| log.left.get(&id)).is_some_and(|left| left.is_unsure)
    }

    /// True if nothing is left of a batch in a node's log.
    pub(super) fn is_gone(&self, node: NodeIndex, id: VersionId) -> bool {
        self.log(node).and_then(|log| log.left.get(&id)).is_some_and(|left| left.is_gone)
    }

    /// A node told of a clean.
    pub fn cleaned(&mut self, node: NodeIndex, clean: &Clean) -> (Removed, Option<CleanFault>) {
        let mut removed = Removed::default();
        if self.compaction.is_none() {
            return (removed, Some(CleanFault::Strange { offset: clean.from }));
        }
        let mut fault = (clean.end > self.frontier).then_some(CleanFault::Uncommitted { end: clean.end });
        let keys = self.last_of_keys(node, clean.end);
        let told: BTreeMap<i64, &CleanedBatch> = clean.batches.iter().map(|it| (it.base_offset, it)).collect();
        let path = self.path_within(node, clean.from, clean.to);
        let known: BTreeSet<i64> = path.iter().map(|id| self.version(*id).base).collect();
        let riddles: Vec<VersionId> = path.iter().copied().filter(|id| self.version(*id).opaque).collect();
        let in_a_riddle = |base: &i64| {
            riddles.iter().map(|id| self.version(*id)).any(|riddle| riddle.base <= *base && *base <= riddle.last)
        };
        let strange = told.keys().find(|base| !known.contains(base) && !in_a_riddle(base));
        fault = fault.or(strange.map(|base| CleanFault::Strange { offset: *base }));
        for id in path {
            if self.version(id).opaque {
                continue;
            }
            let found = match told.get(&self.version(id).base) {
                Some(batch) => {
                    let found = self.judged(node, id, batch, clean, &keys, &mut removed);
                    self.take(node, id, batch);
                    found
                }
                None => self.stays(node, id, clean.end, &keys, &self.held(node, id).0),
            };
            fault = fault.or(found);
        }
        let log = self.log_mut(node);
        log.cleaned_to = log.cleaned_to.max(clean.to);
        (removed, fault)
    }

    /// What a node's log holds of a batch: the offsets of its records, and its delete horizon.
    fn held(&self, node: NodeIndex, id: VersionId) -> (Vec<i64>, Option<i64>) {
        match self.log(node).and_then(|log| log.left.get(&id)) {
            Some(left) => (left.kept.clone(), left.horizon_ms),
            None => ((self.version(id).base..=self.version(id).last).collect(), None),
        }
    }

    fn path_within(&self, node: NodeIndex, from: i64, to: i64) -> Vec<VersionId> {
        let path = self.log(node).map_or(&[][..], |log| &log.path);
        let first = path.partition_point(|id| self.version(*id).base < from);
        path[first..].iter().copied().take_while(|id| self.version(*id).base < to).collect()
    }

    /// What is gone from this log overtakes nothing: a replica that was away for longer than `delete.retention.ms` never learns
    /// of a deletion, and keeps what was deleted.
    fn last_of_keys(&self, node: NodeIndex, end: i64) -> LastOfKeys {
        let mut keys = LastOfKeys { by_key: BTreeMap::new(), untold: i64::MIN };
        for id in self.path_within(node, i64::MIN, end) {
            let version = self.version(id);
            let held = self.log(node).and_then(|log| log.left.get(&id));
            if version.keys.is_empty() || held.is_some_and(|left| left.is_unsure) {
                keys.untold = version.last;
                continue;
            }
            for (fact, offset) in version.keys.iter().zip(version.base..) {
                if held.is_none_or(|left| left.kept.contains(&offset)) {
                    keys.by_key.insert(fact.key, offset);
                }
            }
        }
        keys
    }

    /// What is wrong with what a clean left of a batch.
    fn judged(
        &self,
        node: NodeIndex,
        id: VersionId,
        batch: &CleanedBatch,
        clean: &Clean,
        keys: &LastOfKeys,
        removed: &mut Removed,
    ) -> Option<CleanFault> {
        let version = self.version(id);
        let all: Vec<i64> = (version.base..=version.last).collect();
        let unknown = |offset: &&i64| all.binary_search(offset).is_err();
        if let Some(offset) = batch.kept.iter().find(unknown) {
            return Some(CleanFault::Strange { offset: *offset });
        }
        let writer = version.producer.map(|producer| producer.producer_id);
        let is_last = |producer: &i64| self.log(node).and_then(|log| log.writers.get(producer)) == Some(&id);
        if let Some(producer) = writer.filter(|_| batch.batch.is_none()).filter(is_last) {
            return Some(CleanFault::LastOfProducer { producer, offset: version.last });
        }
        if self.is_unsure(node, id) {
            return None;
        }
        let (mut held, mut horizon_ms) = self.held(node, id);
        if batch.kept.iter().any(|offset| !held.contains(offset)) {
            // A crash came before the clean that was told before: it has what some earlier one left.
            (held, horizon_ms) = (all, self.first_horizon(id));
        }
        let gone = held.iter().copied().filter(|offset| !batch.kept.contains(offset));
        for (offset, fact) in gone.filter_map(|offset| Some((offset, self.fact(id, offset)?))) {
            let is_due = horizon_ms.is_some_and(|horizon| horizon <= clean.wall_ms);
            match keys.is_overtaken(offset, fact) {
                Some(true) => removed.overtaken += 1,
                Some(false) if !fact.tombstone => return Some(CleanFault::LastOfKey { offset }),
                Some(false) if is_due => removed.expired += 1,
                Some(false) => return Some(CleanFault::Tombstone { offset, horizon_ms }),
                None => {}
            }
        }
        self.wrong_horizon(id, batch, clean).or_else(|| self.stays(node, id, clean.end, keys, &batch.kept))
    }

    /// The earliest horizon that any clean gave a batch.
    fn first_horizon(&self, id: VersionId) -> Option<i64> {
        let forms = self.compaction.iter().flat_map(|compaction| compaction.forms.values());
        forms.filter(|left| left.of == id).filter_map(|left| left.horizon_ms).min()
    }

    /// What was told of the record at this offset.
    fn fact(&self, id: VersionId, offset: i64) -> Option<KeyFact> {
        let version = self.version(id);
        let at = usize::try_from(offset.checked_sub(version.base)?).ok()?;
        version.keys.get(at).copied()
    }

    /// The first record of a batch that a later one overtook, and that is left.
    fn stays(&self, node: NodeIndex, id: VersionId, end: i64, keys: &LastOfKeys, left: &[i64]) -> Option<CleanFault> {
        if self.is_unsure(node, id) {
            return None;
        }
        let overtaken = |offset: &i64| {
            *offset < end && self.fact(id, *offset).is_some_and(|fact| keys.is_overtaken(*offset, fact) == Some(true))
        };
        left.iter().copied().find(overtaken).map(|offset| CleanFault::Stays { offset })
    }

    /// A batch with a tombstone that is kept has the horizon that the first clean gave it.
    fn wrong_horizon(&self, id: VersionId, batch: &CleanedBatch, clean: &Clean) -> Option<CleanFault> {
        let is_tombstone = |offset: &&i64| self.fact(id, **offset).is_some_and(|fact| fact.tombstone);
        let offset = *batch.kept.iter().find(is_tombstone)?;
        let compaction = self.compaction.as_ref()?;
        let first = clean.wall_ms.saturating_add(compaction.retention_ms);
        let given = |horizon: i64| {
            let before = |left: &Arc<Left>| left.of == id && left.horizon_ms == Some(horizon);
            horizon == first || compaction.forms.values().any(before)
        };
        let is_right = batch.horizon_ms.is_some_and(given);
        (!is_right).then_some(CleanFault::Horizon { offset, horizon_ms: batch.horizon_ms })
    }

    /// What a clean made of a batch is so from now on.
    fn take(&mut self, node: NodeIndex, id: VersionId, batch: &CleanedBatch) {
        let gone: Vec<i64> = self.held(node, id).0.into_iter().filter(|offset| !batch.kept.contains(offset)).collect();
        let left = Arc::new(Left {
            of: id,
            is_gone: batch.batch.is_none(),
            is_unsure: false,
            kept: batch.kept.clone(),
            horizon_ms: batch.horizon_ms,
        });
        let Some(compaction) = &mut self.compaction else { return };
        compaction.taken.extend(gone);
        match batch.batch {
            Some(mark) => drop(compaction.forms.insert((batch.base_offset, mark), left.clone())),
            None => drop(compaction.vanished.insert(id)),
        }
        self.log_mut(node).left.insert(id, left);
    }
}
