//! What a load changes on disk: it takes away what is no part of the log, and writes anew what does not fit it [L17].

use crate::Loader;
use crate::epochs::Epochs;
use crate::format::{EpochStart, SegmentFile, SegmentKind, Transient, file, parse_epochs};
use crate::producers::Producers;
use crate::segment::{Entry, segment_path};
use crate::writes::{checkpoint_ops, in_dir, index_files};
use bytes::Bytes;
use klamm_base::{DiskOp, Mark};
use std::collections::BTreeSet;

impl Loader {
    /// Ends what a crash left of a swap, before anything is read [L17]. As long as a file ends in `.cleaned`, files with that or
    /// a higher base offset that end in `.swap` are not all of a new segment: they go, and the old segments count. Otherwise
    /// the new segment counts. Old ones that it was made from show by their offsets, and go with the other repairs.
    pub(crate) fn end_swaps(&mut self) -> Vec<DiskOp> {
        let files: Vec<SegmentFile> = self.names.iter().filter_map(|name| SegmentFile::parse(name)).collect();
        let of = |state: Transient| files.iter().filter(move |file| file.transient == Some(state));
        let undone = of(Transient::Cleaned).map(|file| file.base_offset).min().unwrap_or(i64::MAX);
        let (whole, part): (Vec<_>, Vec<_>) = of(Transient::Swap).partition(|file| file.base_offset < undone);
        let mut ops = Vec::new();
        self.remove_files(part.into_iter().copied(), &mut ops);
        self.remove_files(of(Transient::Cleaned).copied(), &mut ops);
        let logs = whole.iter().filter(|file| file.kind == SegmentKind::Log);
        let indexes = [SegmentKind::OffsetIndex, SegmentKind::TimeIndex, SegmentKind::TxnIndex];
        let old: Vec<SegmentFile> =
            logs.flat_map(|log| indexes.map(|kind| SegmentFile::new(log.base_offset, kind))).collect();
        self.remove_files(old.into_iter(), &mut ops);
        for file in &whole {
            let (from, to) = (file.to_string(), SegmentFile::new(file.base_offset, file.kind).to_string());
            ops.push(DiskOp::Rename { from: in_dir(&self.dir, &from), to: in_dir(&self.dir, &to) });
            self.names.remove(&from);
            self.names.insert(to);
        }
        if !whole.is_empty() {
            ops.push(DiskOp::SyncDir { path: self.dir.clone() });
        }
        ops
    }

    /// Removes those of these files that are there, durably.
    fn remove_files(&mut self, files: impl Iterator<Item = SegmentFile>, ops: &mut Vec<DiskOp>) {
        let names: Vec<String> = files.map(|file| file.to_string()).filter(|name| self.names.remove(name)).collect();
        if !names.is_empty() {
            ops.extend(names.iter().map(|name| DiskOp::Remove { path: in_dir(&self.dir, name) }));
            ops.push(DiskOp::SyncDir { path: self.dir.clone() });
        }
    }

    /// The batches are known: what the files beside them should hold. Files that are not there, or need no look, go to
    /// `rewrites`; those that must be compared to `unproven`.
    pub(crate) fn derive(&mut self, wall_ms: i64) {
        let first = self.first();
        let snapshot = self.snapshot.as_ref().map_or(&[][..], |(_, producers)| producers);
        self.earlier = Producers::earlier(self.guards, snapshot, first, wall_ms);
        let used = self.snapshot.as_ref().map(|(at, _)| *at);
        let bases: BTreeSet<i64> = self.segments.iter().map(|segment| segment.base_offset).collect();
        self.kept_snapshots = self.whole.iter().copied().filter(|at| bases.contains(at)).collect();
        self.kept_snapshots.extend(self.beyond.as_ref().map(|(at, _)| *at));
        let mut producers = self.earlier.clone();
        for index in 0..self.segments.len() {
            let base = self.segments[index].base_offset;
            // What batches do not tell must not go with a snapshot that goes.
            let wanted = index > 0 || used.is_some_and(|used| !bases.contains(&used));
            if wanted && self.kept_snapshots.insert(base) {
                self.new_snapshots.push((base, producers.render(wall_ms)));
            }
            if index + 1 < self.segments.len() {
                self.segments[index].entries.iter().for_each(|entry| entry.tell(&mut producers));
                self.expect_indexes(index, &producers);
            }
        }
    }

    fn expect_indexes(&mut self, index: usize, producers: &Producers) {
        let segment = &mut self.segments[index];
        let aborted = producers.transactions.marked_within(segment.base_offset, segment.end_offset());
        if segment.entries.is_empty() {
            return;
        }
        segment.indexed = Some(segment.entries.len());
        segment.txn_indexed = !aborted.is_empty();
        for (kind, content) in index_files(segment, aborted, &self.config) {
            let name = SegmentFile::new(segment.base_offset, kind).to_string();
            let (path, is_there) = (in_dir(&self.dir, &name), self.names.contains(&name));
            // Indexes are not synced with their segment.
            match (is_there, self.known.clean) {
                (true, true) => {}
                (true, false) => self.unproven.push_back((path, content)),
                (false, _) => self.rewrites.push((path, content)),
            }
        }
    }

    /// Every repair, in the order in which it must happen. Segments behind the good prefix go first, and the newest first; then
    /// what is no batch goes from the end of the last good one.
    pub(crate) fn repair_ops(&mut self) -> Vec<DiskOp> {
        let mut ops = Vec::new();
        // Others, that they were made from, may go for them.
        for (at, data) in std::mem::take(&mut self.new_snapshots) {
            let path = segment_path(&self.dir, at, SegmentKind::ProducerSnapshot);
            ops.extend([DiskOp::Write { path: path.clone(), data }, DiskOp::Sync { path }]);
        }
        if !ops.is_empty() {
            ops.push(DiskOp::SyncDir { path: self.dir.clone() });
        }
        ops.extend(self.removals());
        ops.extend(self.cut_torn_tail());
        ops.extend(std::mem::take(&mut self.rewrites).into_iter().map(|(path, data)| DiskOp::Write { path, data }));
        ops.extend(self.new_checkpoint());
        if self.segments.is_empty() && self.known.log_start > 0 {
            let path = segment_path(&self.dir, self.known.log_start, SegmentKind::Log);
            ops.push(DiskOp::Write { path, data: Bytes::new() });
            ops.push(DiskOp::SyncDir { path: self.dir.clone() });
        }
        if self.names.is_empty() {
            ops.extend(parent(&self.dir).map(|path| DiskOp::SyncDir { path }));
        }
        ops
    }

    fn cut_torn_tail(&mut self) -> Vec<DiskOp> {
        let torn = self.segments.last_mut().filter(|segment| segment.size < self.scan.len);
        let Some(segment) = torn else { return Vec::new() };
        self.observe.mark(Mark::TornTailCut);
        segment.unsynced = true;
        let path = segment.path.to_string();
        vec![DiskOp::Truncate { path: path.clone(), len: segment.size }, DiskOp::Sync { path }]
    }

    fn new_checkpoint(&mut self) -> Vec<DiskOp> {
        let first = self.first();
        if self.segments.is_empty() {
            self.epochs = Epochs::default();
        } else {
            self.recall_epochs();
            self.epochs.raise_start(self.known.log_start.max(first));
        }
        let text = Bytes::from(self.epochs.render());
        let wanted = (self.epochs != Epochs::default() || self.checkpoint.is_some()).then_some(text);
        if wanted == self.checkpoint { Vec::new() } else { checkpoint_ops(&self.dir, &self.epochs).into() }
    }

    /// Compaction may take all batches with which an epoch began, but not the epoch: what the checkpoint says of it counts
    /// where no batch says otherwise. Followers find by it where they part from this log.
    fn recall_epochs(&mut self) {
        let text = self.checkpoint.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok());
        let Some(known) = text.and_then(|text| parse_epochs(text).ok()) else { return };
        let batches: Vec<&Entry> = self.segments.iter().flat_map(|segment| &segment.entries).collect();
        let fits = |known: &EpochStart| {
            let at = batches.partition_point(|entry| entry.base_offset < known.start);
            let before = at.checked_sub(1).map(|before| batches[before]);
            let begins = before.is_none_or(|last| last.leader_epoch < known.epoch && last.last_offset < known.start);
            begins && batches.get(at).is_some_and(|next| next.leader_epoch >= known.epoch)
        };
        self.epochs.recall(known.into_iter().filter(fits));
    }

    /// Files that do not belong to the log: segments that another stands for; those behind the good prefix, the newest first; and
    /// left-overs.
    fn removals(&mut self) -> Vec<DiskOp> {
        let later = self.bases.split_off(self.segments.len());
        let log = |base: &i64| SegmentFile::new(*base, SegmentKind::Log);
        // If the segment that stands for them went before them, they would be the log.
        let replaced: Vec<SegmentFile> = self.replaced.iter().map(log).collect();
        let mut ops = Vec::new();
        self.remove_files(replaced.into_iter(), &mut ops);
        let mut names: Vec<String> = later.iter().rev().map(|base| log(base).to_string()).collect();
        names.extend(self.names.iter().filter(|name| self.is_left_over(name)).cloned());
        if !names.is_empty() {
            ops.extend(names.iter().map(|name| DiskOp::Remove { path: in_dir(&self.dir, name) }));
            ops.push(DiskOp::SyncDir { path: self.dir.clone() });
        }
        ops
    }

    fn is_left_over(&self, name: &str) -> bool {
        let Some(SegmentFile { base_offset, kind, transient }) = SegmentFile::parse(name) else {
            return name.ends_with(file::TEMPORARY);
        };
        // The active segment has no index while it is written to, and one of a segment that is gone is none.
        let sealed = self.segments.iter().rev().skip(1).find(|segment| segment.base_offset == base_offset);
        let belongs = match kind {
            SegmentKind::Log => true,
            SegmentKind::OffsetIndex | SegmentKind::TimeIndex => sealed.is_some_and(|sealed| sealed.indexed.is_some()),
            SegmentKind::TxnIndex => sealed.is_some_and(|sealed| sealed.txn_indexed),
            SegmentKind::ProducerSnapshot => self.kept_snapshots.contains(&base_offset),
        };
        transient.is_some() || !belongs
    }

    /// Where its first segment begins.
    pub(crate) fn first(&self) -> i64 {
        self.segments.first().map_or(self.known.log_start, |segment| segment.base_offset)
    }
}

/// The directory that holds `dir`, if the path names one.
fn parent(dir: &str) -> Option<String> {
    dir.rsplit_once('/').map(|(parent, _)| parent.to_owned())
}
