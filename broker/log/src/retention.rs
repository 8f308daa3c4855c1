//! The beginning of a log: where it starts, and which segments have outlived their time [L20] [L21].

use crate::format::Transient;
use crate::log::Effect;
use crate::segment::{Entry, Segment};
use crate::writes::in_dir;
use crate::{Log, LogConfig};
use bytes::Bytes;
use klamm_base::{DiskOp, DiskRequest, Now, Observation, Outbox, SegmentFact, StartCause};

/// Files that go when their delay is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Doomed {
    /// Monotonic nanoseconds.
    due_ns: u64,
    paths: Vec<String>,
}

impl Log {
    /// Records below `to` are not wanted any more; a start never goes back. `to` must be committed: at or below the high
    /// watermark. Files go with the next [`Log::expire`].
    pub fn raise_log_start(&mut self, now: Now, to: i64, cause: StartCause, out: &mut Outbox<DiskRequest>) {
        assert!(to <= self.log_end, "{}: a start at {to} behind the end {}", self.dir, self.log_end);
        if to <= self.log_start || self.failed {
            return;
        }
        self.log_start = to;
        if self.epochs.raise_start(to) {
            self.write_checkpoint(out);
        }
        let (tp, wall_ms) = (self.tp, now.wall_ms);
        self.observe.note(|| Observation::LogStartMoved { tp, to, cause, wall_ms });
        self.check();
    }

    /// Deletes the oldest segments as far as they end at or below `high_watermark` and have gone out of date: by the start
    /// of the log, by size, by age [L20]. The one that is written to is closed first if it is among them. What is in flight
    /// counts as not there. False if nothing was done because of it: all that is written is out of date, but the segment
    /// that is written to cannot be closed before it is [`Log::quiet`].
    pub fn expire(&mut self, now: Now, high_watermark: i64, out: &mut Outbox<DiskRequest>) -> bool {
        if self.failed {
            return true;
        }
        let (log_start, segments) = (self.log_start, self.written());
        let due = self.due(&segments, high_watermark, now.wall_ms);
        let deleted = due.iter().map(|(count, _)| count).sum::<usize>();
        if deleted == segments.len() && !self.quiet() {
            return false;
        }
        due.into_iter().for_each(|(count, cause)| self.delete_oldest(count, now, cause, out));
        let LogConfig { retention_ms, retention_bytes, delete, .. } = self.config;
        let (retention_ms, retention_bytes) = if delete { (retention_ms, retention_bytes) } else { (-1, -1) };
        let (tp, wall_ms, deleted) = (self.tp, now.wall_ms, deleted as u32);
        self.observe.note(|| Observation::RetentionRan {
            tp,
            wall_ms,
            high_watermark,
            log_start,
            retention_ms,
            retention_bytes,
            segments,
            deleted,
        });
        true
    }

    /// The segments as far as they are written.
    fn written(&self) -> Vec<SegmentFact> {
        let fact = |segment: &Segment| {
            let count = segment.entries.partition_point(|entry| entry.last_offset < self.log_end);
            let entries = &segment.entries[..count];
            let newest_ms = match count == segment.entries.len() {
                true => segment.newest_ms(),
                false => entries.iter().map(|entry| entry.max_timestamp).max().unwrap_or(segment.opened_ms),
            };
            let bytes = entries.last().map_or(0, Entry::end_position);
            SegmentFact { base_offset: segment.base_offset, bytes, newest_ms }
        };
        self.segments.iter().take_while(|segment| segment.base_offset <= self.log_end).map(fact).collect()
    }

    /// How many of the oldest segments go for each reason, one reason after the other.
    fn due(&self, segments: &[SegmentFact], high_watermark: i64, wall_ms: i64) -> [(usize, StartCause); 3] {
        let ends = segments.iter().skip(1).map(|next| next.base_offset).chain([self.log_end]);
        let committed = segments.iter().zip(ends).take_while(|(segment, end)| {
            let has_records = *end > segment.base_offset;
            has_records && *end <= high_watermark
        });
        let committed: Vec<(&SegmentFact, i64)> = committed.collect();
        let by_start = committed.iter().take_while(|(_, end)| *end <= self.log_start).count();
        let (by_size, by_age) = match self.config.delete {
            true => {
                let by_size = self.beyond_size(&segments[by_start..], committed.len() - by_start);
                let left = &committed[by_start + by_size..];
                (by_size, left.iter().take_while(|(segment, _)| self.is_too_old(segment, wall_ms)).count())
            }
            false => (0, 0),
        };
        [(by_start, StartCause::Start), (by_size, StartCause::RetentionBytes), (by_age, StartCause::RetentionMs)]
    }

    /// How many of these segments go by size, of the first `committed`.
    fn beyond_size(&self, segments: &[SegmentFact], committed: usize) -> usize {
        let Ok(wanted) = u64::try_from(self.config.retention_bytes) else { return 0 };
        let size: u64 = segments.iter().map(|segment| segment.bytes).sum();
        let mut surplus = size.saturating_sub(wanted);
        let mut count = 0;
        for segment in &segments[..committed] {
            let Some(left) = surplus.checked_sub(segment.bytes) else { break };
            (surplus, count) = (left, count + 1);
        }
        count
    }

    fn is_too_old(&self, segment: &SegmentFact, wall_ms: i64) -> bool {
        self.config.retention_ms >= 0 && wall_ms.saturating_sub(segment.newest_ms) > self.config.retention_ms
    }

    /// Takes the oldest `count` segments out of the log. Their files get another name one segment after the other, each
    /// durably before the next: a power loss must not leave a hole between two of them.
    fn delete_oldest(&mut self, count: usize, now: Now, cause: StartCause, out: &mut Outbox<DiskRequest>) {
        if count == 0 {
            return;
        }
        if count == self.segments.len() {
            self.roll(now, self.next_offset(), out);
            self.create_active(out);
        }
        let later = self.segments.split_off(count);
        let gone = std::mem::replace(&mut self.segments, later);
        for segment in &gone {
            segment.entries.iter().for_each(|entry| entry.tell(&mut self.earlier));
        }
        let first = self.segments[0].base_offset;
        self.earlier.transactions.forget_below(first);
        self.producers.transactions.forget_below(first);
        self.retell_snapshot(first, now.wall_ms, out);
        self.cuts += 1;
        self.raise_log_start(now, first, cause, out);
        self.doom(&gone, now, out);
        self.check();
    }

    /// A load believes of producers what the snapshot where the log begins says. It was taken when no batch before it was cleaned:
    /// of a transaction that it knows as open the batches, and then the marker, may be gone since.
    fn retell_snapshot(&mut self, first: i64, wall_ms: i64, out: &mut Outbox<DiskRequest>) {
        if self.config.compact && self.snapshots.contains(&first) {
            let earlier = self.earlier.render(wall_ms);
            self.write_snapshot_of(earlier, first, out);
        }
    }

    /// Renames the files of segments that are no part of the log any more; they go later.
    pub(crate) fn doom(&mut self, gone: &[Segment], now: Now, out: &mut Outbox<DiskRequest>) {
        let mut paths = Vec::new();
        for segment in gone {
            paths.extend(self.rename_doomed(segment, out));
        }
        let due_ns = now.after_ms(self.config.file_delete_delay_ms);
        self.doomed.push_back(Doomed { due_ns, paths });
    }

    /// A segment without a batch has no file yet; where it is the only one, its name must tell where the log stands.
    fn create_active(&mut self, out: &mut Outbox<DiskRequest>) {
        let segment = self.segments.last_mut().expect("never empty");
        (segment.created, segment.unsynced) = (true, true);
        let path = segment.path.to_string();
        self.ask(DiskOp::Write { path, data: Bytes::new() }, Effect::Nothing, out);
        self.dir_unsynced = true;
        self.sync_all(None, out);
    }

    /// Renames a segment's files; their names from now on.
    fn rename_doomed(&mut self, segment: &Segment, out: &mut Outbox<DiskRequest>) -> Vec<String> {
        let mut doomed = Vec::new();
        for name in segment.files(&mut self.snapshots) {
            let from = in_dir(&self.dir, &name);
            let to = format!("{from}{}", Transient::Deleted.suffix());
            self.ask(DiskOp::Rename { from, to: to.clone() }, Effect::Nothing, out);
            doomed.push(to);
        }
        self.ask(DiskOp::SyncDir { path: self.dir.clone() }, Effect::Nothing, out);
        doomed
    }

    /// When [`Log::deadline_came`] is wanted, monotonic nanoseconds: for a sync by `flush.ms`, or to remove files.
    pub fn deadline(&self) -> Option<u64> {
        if self.failed {
            return None;
        }
        let flush_ms = u64::try_from(self.config.flush_ms).ok().filter(|ms| *ms < i64::MAX as u64);
        let sync =
            self.unsynced_since.zip(flush_ms).map(|(since, ms)| since.saturating_add(ms.saturating_mul(1_000_000)));
        let removal = self.doomed.front().map(|doomed| doomed.due_ns);
        [sync, removal].into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn deadline_came(&mut self, now: Now, out: &mut Outbox<DiskRequest>) {
        if self.deadline().is_none_or(|due| due > now.mono_ns) {
            return;
        }
        self.remove_doomed(now.mono_ns, out);
        if self.deadline().is_some_and(|due| due <= now.mono_ns) {
            self.sync_all(None, out);
            self.unsynced_since = None;
        }
    }

    /// Removes the files that are due at `mono_ns`.
    pub(crate) fn remove_doomed(&mut self, mono_ns: u64, out: &mut Outbox<DiskRequest>) {
        while let Some(doomed) = self.doomed.pop_front_if(|doomed| doomed.due_ns <= mono_ns) {
            for path in doomed.paths {
                self.ask(DiskOp::Remove { path }, Effect::Nothing, out);
            }
        }
    }
}
