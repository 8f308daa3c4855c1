//! What a log writes: batches, rolls, syncs, checkpoints, and what their completions bring about.

use crate::epochs::Epochs;
use crate::format::{SegmentKind, TxnEntry, encode_offset_index, encode_time_index, encode_txn_index, file};
use crate::log::{Effect, End, Pending};
use crate::segment::{Segment, segment_path};
use crate::{Log, LogConfig, Progress, told};
use bytes::Bytes;
use klamm_base::{DiskDone, DiskOp, DiskRequest, Guard, Now, Observation, Outbox, Ticket};
use klamm_wire::records::{Batch, BatchHeader};

impl Log {
    pub(crate) fn write(&mut self, chunk: &mut Chunk, effect: Effect, out: &mut Outbox<DiskRequest>) {
        let data = chunk.take();
        if data.is_empty() {
            return;
        }
        let segment = self.segments.last_mut().expect("never empty");
        self.dir_unsynced |= !segment.created;
        (segment.created, segment.unsynced) = (true, true);
        let path = String::from(&*segment.path);
        self.ask(DiskOp::Append { path, data }, effect, out);
    }

    /// Opens a new segment at `base_offset`. The full one is synced, as Kafka does, in the background [L12].
    pub(crate) fn roll(&mut self, now: Now, base_offset: i64, out: &mut Outbox<DiskRequest>) {
        self.write_indexes(out);
        self.write_snapshot(base_offset, now.wall_ms, out);
        if self.guards.stands(Guard::CheckpointAfterFlush) {
            self.sync_all(None, out);
        }
        let segment = Segment::new(&self.dir, base_offset, now.wall_ms);
        assert!(base_offset > self.active().base_offset, "an empty segment was rolled");
        self.segments.push(segment);
    }

    /// Asks that all below [`Log::next_offset`] become durable. True if [`Progress::Flushed`] will come; false if all of it
    /// is durable already.
    pub fn flush(&mut self, out: &mut Outbox<DiskRequest>) -> bool {
        let next = self.next_offset();
        self.sync_all(None, out) || self.durable < next
    }

    /// As [`Log::flush`], and writes the active segment's indexes and what is known of producers: for a shutdown.
    pub fn close(&mut self, now: Now, out: &mut Outbox<DiskRequest>) -> bool {
        self.write_indexes(out);
        self.write_snapshot(self.next_offset(), now.wall_ms, out);
        self.flush(out)
    }

    /// Syncs all that no sync was asked for. True if there was something.
    pub(crate) fn sync_all(&mut self, end: Option<End>, out: &mut Outbox<DiskRequest>) -> bool {
        let to = self.next_offset();
        let mut ops = Vec::new();
        for segment in self.segments.iter_mut().filter(|segment| segment.unsynced) {
            segment.unsynced = false;
            ops.push(DiskOp::Sync { path: segment.path.to_string() });
        }
        if self.dir_unsynced {
            self.dir_unsynced = false;
            ops.push(DiskOp::SyncDir { path: self.dir.clone() });
        }
        self.sync_asked = to;
        self.unsynced_since = None;
        let last = ops.pop();
        for op in ops {
            self.ask(op, Effect::Nothing, out);
        }
        let asked = last.is_some();
        if let Some(op) = last {
            self.ask(op, Effect::Durable { to, end }, out);
        }
        asked
    }

    /// The index files of the segment that is written to, as it is now [L9].
    fn write_indexes(&mut self, out: &mut Outbox<DiskRequest>) {
        let segment = self.segments.last_mut().expect("never empty");
        if segment.entries.is_empty() || segment.indexed == Some(segment.entries.len()) {
            return;
        }
        segment.indexed = Some(segment.entries.len());
        let (base, end) = (segment.base_offset, segment.end_offset());
        let aborted = self.producers.transactions.marked_within(base, end);
        segment.txn_indexed = !aborted.is_empty();
        for (kind, data) in index_files(segment, aborted, &self.config) {
            self.write_file(base, kind, data, out);
        }
    }

    /// What is known of producers at `offset`, the end of the log.
    fn write_snapshot(&mut self, offset: i64, wall_ms: i64, out: &mut Outbox<DiskRequest>) {
        if !self.snapshots.contains(&offset) {
            self.write_snapshot_of(self.producers.render(wall_ms), offset, out);
        }
    }

    /// The snapshot file of `offset`.
    pub(crate) fn write_snapshot_of(&mut self, data: Bytes, offset: i64, out: &mut Outbox<DiskRequest>) {
        self.snapshots.insert(offset);
        self.write_file(offset, SegmentKind::ProducerSnapshot, data, out);
    }

    fn write_file(&mut self, base: i64, kind: SegmentKind, data: Bytes, out: &mut Outbox<DiskRequest>) {
        let path = segment_path(&self.dir, base, kind);
        self.dir_unsynced = true;
        self.ask(DiskOp::Write { path, data }, Effect::Nothing, out);
    }

    /// Temporary file, sync, rename, sync of the directory: a crash leaves the old or the new one [L11].
    pub(crate) fn write_checkpoint(&mut self, out: &mut Outbox<DiskRequest>) {
        for op in checkpoint_ops(&self.dir, &self.epochs) {
            self.ask(op, Effect::Nothing, out);
        }
        self.dir_unsynced = false;
    }

    pub(crate) fn ask(&mut self, op: DiskOp, effect: Effect, out: &mut Outbox<DiskRequest>) {
        assert!(op.mutates(), "{op:?} is not queued");
        assert!(!self.failed, "{}: written to after a failed write", self.dir);
        let ticket = self.ticket();
        self.pending.push_back(Pending { ticket, done: false, effect });
        out.push(DiskRequest { ticket, op });
    }

    pub(crate) fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    /// Takes a completion and adds what it brought about to `progress`. It asks for nothing at present.
    pub fn disk_done(&mut self, done: DiskDone, progress: &mut Outbox<Progress>) {
        if self.read_done(&done, progress) || self.failed {
            return;
        }
        let pending = self.pending.iter_mut().find(|pending| pending.ticket == done.ticket);
        let pending = pending.unwrap_or_else(|| panic!("{}: a completion of nothing: {done:?}", self.dir));
        if let Err(error) = done.result {
            self.failed = true;
            return progress.push(Progress::Failed(error));
        }
        pending.done = true;
        while let Some(first) = self.pending.pop_front_if(|first| first.done) {
            self.apply(first.effect, progress);
        }
        self.check();
    }

    fn apply(&mut self, effect: Effect, progress: &mut Outbox<Progress>) {
        match effect {
            Effect::Nothing => {}
            Effect::Cut => self.cuts_in_flight -= 1,
            Effect::Swapped => self.end_swap(progress),
            Effect::End(end) => self.move_end(end, progress),
            Effect::Durable { to, end } => {
                end.into_iter().for_each(|end| self.move_end(end, progress));
                self.move_durable(to, progress);
            }
        }
    }

    fn move_end(&mut self, end: End, progress: &mut Outbox<Progress>) {
        // Not beyond: the write was made void by a cut.
        if end.to <= self.log_end {
            return;
        }
        let from = std::mem::replace(&mut self.log_end, end.to);
        if self.observe.watched() {
            let mut keys = std::mem::take(&mut self.keys);
            self.entries_from(from).take_while(|entry| entry.base_offset < end.to).for_each(|entry| {
                // What a cut made void was never written.
                while keys.pop_front_if(|(base, _)| *base < entry.base_offset).is_some() {}
                let of_it = keys.pop_front_if(|(base, _)| *base == entry.base_offset);
                let keys = of_it.map_or_else(Vec::new, |(_, keys)| keys);
                self.observe.note(|| told::appended(self.tp, entry, end.as_leader, keys));
            });
            self.keys = keys;
        }
        progress.push(Progress::Appended { to: end.to });
    }

    fn move_durable(&mut self, to: i64, progress: &mut Outbox<Progress>) {
        if to > self.durable {
            self.durable = to;
            self.observe.note(|| Observation::Flushed { tp: self.tp, to });
        }
        progress.push(Progress::Flushed { to: self.durable });
    }
}

/// The index files of a segment, `aborted` being the transactions that it ends; a transaction index only if there are any.
pub(crate) fn index_files(segment: &Segment, aborted: &[TxnEntry], config: &LogConfig) -> Vec<(SegmentKind, Bytes)> {
    let (offsets, times) = segment.indexes(config.index_interval_bytes);
    let mut files = vec![
        (SegmentKind::OffsetIndex, encode_offset_index(&offsets, segment.base_offset).into()),
        (SegmentKind::TimeIndex, encode_time_index(&times, segment.base_offset).into()),
    ];
    if !aborted.is_empty() {
        files.push((SegmentKind::TxnIndex, encode_txn_index(aborted).into()));
    }
    files
}

/// What replaces the checkpoint file of the epoch cache.
pub(crate) fn checkpoint_ops(dir: &str, epochs: &Epochs) -> [DiskOp; 4] {
    let path = in_dir(dir, file::LEADER_EPOCHS);
    let temporary = format!("{path}{}", file::TEMPORARY);
    [
        DiskOp::Write { path: temporary.clone(), data: Bytes::from(epochs.render()) },
        DiskOp::Sync { path: temporary.clone() },
        DiskOp::Rename { from: temporary, to: path },
        DiskOp::SyncDir { path: dir.to_owned() },
    ]
}

/// A name in a directory, as a path.
pub(crate) fn in_dir(dir: &str, name: &str) -> String {
    format!("{dir}/{name}")
}

/// Batches on their way into one write.
pub(crate) struct Chunk {
    gathered: Vec<u8>,
    /// The one batch of an append, which need not be copied.
    whole: Option<Bytes>,
}

impl Chunk {
    /// With room for these; one alone need not be copied.
    pub(crate) fn for_batches(batches: &[Batch]) -> Chunk {
        let gathered = match batches {
            [_] => Vec::new(),
            several => Vec::with_capacity(several.iter().map(|batch| batch.bytes.len()).sum()),
        };
        Chunk { gathered, whole: None }
    }

    pub(crate) fn push(&mut self, batch: Batch, header: &BatchHeader, alone: bool) {
        let (base_offset, leader_epoch) = (header.base_offset, header.partition_leader_epoch);
        match alone {
            true if *header == batch.header => self.whole = Some(batch.bytes),
            true => self.whole = Some(batch.into_placed(base_offset, leader_epoch).bytes),
            false => batch.write_placed(&mut self.gathered, base_offset, leader_epoch),
        }
    }

    fn take(&mut self) -> Bytes {
        self.whole.take().unwrap_or_else(|| Bytes::from(std::mem::take(&mut self.gathered)))
    }
}
