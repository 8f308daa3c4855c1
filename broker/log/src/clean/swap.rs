//! A cleaned segment takes the place of those that it was made from.

use crate::Log;
use crate::format::Transient;
use crate::log::Effect;
use crate::segment::Segment;
use crate::writes::in_dir;
use klamm_base::{DiskOp, DiskRequest, Now, Outbox};
use std::ops::Range;

impl Log {
    /// Puts `cleaned`, whose files end in `.cleaned` and are durable, in the place of all segments that begin in `range`. In
    /// memory that is at once: reads of the old segments are void, as after a cut, and new ones wait until the files have
    /// their names. [`crate::Progress::Swapped`] tells when.
    ///
    /// On disk each of these is durable before the next: the new files end in `.swap`, which is the decision; the old ones end
    /// in `.deleted`, as long as `file.delete.delay.ms`; the new ones lose their suffix.
    pub(super) fn swap_in(&mut self, cleaned: Segment, range: Range<i64>, now: Now, out: &mut Outbox<DiskRequest>) {
        assert!(range.end <= self.durable, "{}: a swap of what is not durable", self.dir);
        assert!(self.swapping.is_none(), "{}: two swaps at once", self.dir);
        let at = self.segments.partition_point(|segment| segment.base_offset < range.start);
        let count = self.segments_in(&range).count();
        assert!(at + count < self.segments.len(), "{}: the segment that is written to cannot be swapped", self.dir);
        let names = cleaned.files(&mut std::collections::BTreeSet::new());
        let base_offset = cleaned.base_offset;
        self.rename_all(&names, Transient::Cleaned.suffix(), Transient::Swap.suffix(), Effect::Nothing, out);
        let old: Vec<Segment> = self.segments.splice(at..at + count, [cleaned]).collect();
        // What was known of producers where the new segment begins is still so.
        let snapshot = self.snapshots.take(&base_offset);
        self.doom(&old, now, out);
        self.snapshots.extend(snapshot);
        self.rename_all(&names, Transient::Swap.suffix(), "", Effect::Swapped, out);
        self.cuts += 1;
        self.swapping = Some(range);
        self.retell_transactions();
        self.check();
    }

    /// Renames files of the log and makes that durable.
    fn rename_all(&mut self, names: &[String], from: &str, to: &str, effect: Effect, out: &mut Outbox<DiskRequest>) {
        for name in names {
            let path = in_dir(&self.dir, name);
            let op = DiskOp::Rename { from: format!("{path}{from}"), to: format!("{path}{to}") };
            self.ask(op, Effect::Nothing, out);
        }
        self.ask(DiskOp::SyncDir { path: self.dir.clone() }, effect, out);
    }

    /// Transactions as the batches now tell of them: nobody may be told to drop records of one whose marker may go next. What is
    /// known of producers stays; a clean does not make them forget.
    fn retell_transactions(&mut self) {
        let mut producers = self.earlier.clone();
        let entries = self.segments.iter().flat_map(|segment| &segment.entries);
        entries.for_each(|entry| entry.tell(&mut producers));
        self.producers.retell_transactions(producers);
    }

    /// Removes files of a clean that came to nothing.
    pub(super) fn discard(&mut self, ops: Vec<DiskOp>, out: &mut Outbox<DiskRequest>) {
        if !self.failed {
            ops.into_iter().for_each(|op| self.ask(op, Effect::Nothing, out));
        }
    }
}
