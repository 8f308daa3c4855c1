//! Cutting the end off a log.

use crate::Log;
use crate::format::SegmentKind;
use crate::log::Effect;
use crate::segment::{Segment, segment_path};
use crate::writes::in_dir;
use bytes::Bytes;
use klamm_base::{DiskOp, DiskRequest, Outbox};

impl Log {
    /// Drops all records at and above `offset`, with their epochs and what they told of producers. A batch that
    /// straddles the cut goes whole, so the new end, which is returned, may be below `offset`. The end moves at once;
    /// appends in flight above it are void.
    ///
    /// On disk segments go from the newest to the oldest, and the cut is durable before anything is written over it: a
    /// power loss must not bring old batches back behind new ones.
    pub fn truncate_to(&mut self, offset: i64, out: &mut Outbox<DiskRequest>) -> i64 {
        assert!(offset >= 0, "a cut to {offset}");
        if offset >= self.next_offset() {
            self.cut_epochs(offset, out);
            return self.next_offset();
        }
        if offset < self.log_start_offset() {
            self.truncate_fully_and_start_at(offset, out);
            return offset;
        }
        let keep = self.segments.partition_point(|segment| segment.base_offset < offset).max(1);
        let removed = self.segments.split_off(keep);
        let mut ops = self.snapshot_removals(offset);
        ops.extend(self.removals(removed));
        ops.extend(self.cut_active(offset));
        self.ask_cut(ops, out);
        let end = self.next_offset();
        self.forget_above(end, out);
        assert!(end <= offset, "cut to {offset}, but the log ends at {end}");
        self.sync_all(None, out);
        end
    }

    /// Drops all and begins anew, empty, at `offset`.
    pub fn truncate_fully_and_start_at(&mut self, offset: i64, out: &mut Outbox<DiskRequest>) {
        assert!(offset >= 0, "a log cannot start at {offset}");
        let opened_ms = self.active().opened_ms;
        // The first segment goes last, and its removal is durable before the new file is there: a power loss must leave
        // neither an end without its beginning nor two pieces with a hole between.
        let later = self.segments.split_off(1);
        let mut ops = self.snapshot_removals(-1);
        ops.extend(self.removals(later));
        let first = std::mem::take(&mut self.segments);
        ops.extend(self.removals(first));
        self.earlier.forget_all();
        self.log_start = offset;
        if ops.is_empty() {
            ops.push(DiskOp::SyncDir { path: self.dir.clone() });
        }
        let mut segment = Segment::new(&self.dir, offset, opened_ms);
        (segment.created, segment.unsynced) = (true, true);
        ops.push(DiskOp::Write { path: segment.path.to_string(), data: Bytes::new() });
        self.segments.push(segment);
        self.dir_unsynced = true;
        self.ask_cut(ops, out);
        // Epochs of records that are gone would tell the leader of a log that this one is not: it would be cut for ever.
        if self.epochs.clear() {
            self.write_checkpoint(out);
        }
        self.forget_above(offset, out);
        (self.log_end, self.durable, self.sync_asked) = (offset, offset, offset);
        self.check();
    }

    /// What is known of producers above `offset` goes before the records that it was learned from: the next load must not
    /// believe it.
    fn snapshot_removals(&mut self, offset: i64) -> Vec<DiskOp> {
        let above = self.snapshots.split_off(&(offset + 1));
        let path = |at: i64| segment_path(&self.dir, at, SegmentKind::ProducerSnapshot);
        above.into_iter().map(|at| DiskOp::Remove { path: path(at) }).collect()
    }

    /// The operations that remove these segments' files, newest first, each durably before the next: a power loss must not
    /// leave a hole between two segments.
    fn removals(&mut self, segments: Vec<Segment>) -> Vec<DiskOp> {
        let mut ops = Vec::new();
        for segment in segments.iter().rev() {
            let names = segment.files(&mut self.snapshots);
            ops.extend(names.iter().map(|name| DiskOp::Remove { path: in_dir(&self.dir, name) }));
            if !names.is_empty() {
                ops.push(DiskOp::SyncDir { path: self.dir.clone() });
                self.dir_unsynced = false;
            }
        }
        ops
    }

    fn cut_active(&mut self, offset: i64) -> Vec<DiskOp> {
        let mut ops = Vec::new();
        let segment = self.segments.last_mut().expect("never empty");
        if segment.indexed.take().is_some() {
            let mut kinds = vec![SegmentKind::OffsetIndex, SegmentKind::TimeIndex];
            kinds.extend(std::mem::take(&mut segment.txn_indexed).then_some(SegmentKind::TxnIndex));
            let path = |kind| segment_path(&self.dir, segment.base_offset, kind);
            ops.extend(kinds.into_iter().map(|kind| DiskOp::Remove { path: path(kind) }));
        }
        let gone = segment.cut(offset, &self.config);
        if !gone.is_empty() {
            segment.unsynced = true;
            ops.push(DiskOp::Truncate { path: segment.path.to_string(), len: segment.size });
        }
        ops
    }

    fn ask_cut(&mut self, mut ops: Vec<DiskOp>, out: &mut Outbox<DiskRequest>) {
        self.cuts += 1;
        self.cuts_in_flight += 1;
        let last = ops.pop().expect("a cut touches a file");
        for op in ops {
            self.ask(op, Effect::Nothing, out);
        }
        self.ask(last, Effect::Cut, out);
    }

    fn forget_above(&mut self, end: i64, out: &mut Outbox<DiskRequest>) {
        self.void_pending_above(end);
        self.log_end = self.log_end.min(end);
        self.log_start = self.log_start.min(end);
        self.durable = self.durable.min(end);
        self.sync_asked = self.sync_asked.min(end);
        self.keys.retain(|(base, _)| *base < end);
        self.rebuild_producers();
        self.cut_epochs(end, out);
    }

    fn cut_epochs(&mut self, end: i64, out: &mut Outbox<DiskRequest>) {
        if self.epochs.cut(end) {
            self.write_checkpoint(out);
        }
    }
}
