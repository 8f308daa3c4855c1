//! The log itself: appends, syncs, and what completions do.

use crate::epochs::{CHECKPOINT, Epochs};
use crate::producers::{Producers, Stamp};
use crate::segment::{Entry, Segment, index_path};
use crate::{LogConfig, ProducerCheck, Progress, ReadPlan};
use bytes::Bytes;
use klamm_base::{
    DiskDone, DiskOp, DiskRequest, ErrorCode, Guards, Now, Observation, Observe, Outbox, Ticket, TopicPartition, chain,
};
use klamm_wire::records::{Batch, BatchHeader};
use std::collections::VecDeque;

/// One partition's log, loaded. See the crate's documentation.
///
/// Two states live side by side. *Planned* is what will be when all writes that were asked for are done: `next_offset`, the
/// segments, the epochs, the producers. *Completed* is `log_end_offset`. The disk does mutating operations in the
/// order in which they were asked for, so a cut may be planned while appends are in flight: it stands behind them.
#[derive(Debug)]
pub struct Log {
    pub(crate) tp: TopicPartition,
    pub(crate) dir: String,
    pub(crate) config: LogConfig,
    pub(crate) observe: Observe,
    /// Never empty; the last one is written to.
    pub(crate) segments: Vec<Segment>,
    pub(crate) epochs: Epochs,
    pub(crate) producers: Producers,
    pub(crate) log_end: i64,
    pub(crate) durable: i64,
    /// Below this all is durable or a sync was asked for.
    pub(crate) sync_asked: i64,
    /// A directory entry was made that no directory sync was asked for.
    pub(crate) dir_unsynced: bool,
    /// Mutating operations in flight, in the order in which they were asked for.
    pub(crate) pending: VecDeque<Pending>,
    pub(crate) cuts_in_flight: u32,
    /// How often the log was cut: a read from before a cut is void.
    pub(crate) cuts: u64,
    pub(crate) reads: Vec<OpenRead>,
    pub(crate) next_ticket: u64,
    pub(crate) failed: bool,
}

/// A read in flight, and the disk operation that brings it: others that ask for the same range share it.
#[derive(Debug)]
pub(crate) struct OpenRead {
    pub(crate) ticket: Ticket,
    pub(crate) operation: Ticket,
    pub(crate) plan: ReadPlan,
}

/// A mutating operation in flight.
#[derive(Debug)]
pub(crate) struct Pending {
    ticket: Ticket,
    done: bool,
    effect: Effect,
}

/// What the completion of an operation brings about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Nothing,
    /// The log ends at `to`.
    End(End),
    /// All below `to` is durable; if the sync was forced by `flush.messages`, the end moves only now.
    Durable {
        to: i64,
        end: Option<End>,
    },
    /// A cut is on disk.
    Cut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    to: i64,
    as_leader: bool,
}

/// What a [`crate::Loader`] hands over.
pub(crate) struct Parts {
    pub(crate) tp: TopicPartition,
    pub(crate) dir: String,
    pub(crate) config: LogConfig,
    pub(crate) guards: Guards,
    pub(crate) observe: Observe,
    pub(crate) segments: Vec<Segment>,
    pub(crate) epochs: Epochs,
    pub(crate) next_ticket: u64,
    /// The last shutdown synced all.
    pub(crate) durable: bool,
}

impl Log {
    pub(crate) fn from_parts(parts: Parts, wall_ms: i64) -> Log {
        let Parts { tp, dir, config, guards, observe, mut segments, epochs, next_ticket, durable } = parts;
        let some_files = !segments.is_empty();
        if !some_files {
            segments.push(Segment::new(&dir, 0, wall_ms));
        }
        let (start, end) = (segments[0].base_offset, segments[segments.len() - 1].end_offset());
        let durable_end = if durable { end } else { start };
        let mut log = Log {
            tp,
            dir,
            config,
            observe,
            segments,
            epochs,
            producers: Producers::new(guards),
            log_end: end,
            durable: durable_end,
            sync_asked: durable_end,
            dir_unsynced: some_files && !durable,
            pending: VecDeque::new(),
            cuts_in_flight: 0,
            cuts: 0,
            reads: Vec::new(),
            next_ticket,
            failed: false,
        };
        log.rebuild_producers();
        log.check();
        log
    }

    /// First offset in the log.
    pub fn log_start_offset(&self) -> i64 {
        self.segments[0].base_offset
    }

    /// One past the last offset whose write is done. Nothing at or above it is readable.
    pub fn log_end_offset(&self) -> i64 {
        self.log_end
    }

    /// The offset of the next record to be appended: the end with all writes in flight.
    pub fn next_offset(&self) -> i64 {
        self.active().end_offset()
    }

    /// All below survives a power loss. After an unclean load nothing is known to, until a [`Log::flush`] is done.
    pub fn durable_end(&self) -> i64 {
        self.durable
    }

    /// The log's directory.
    pub fn dir(&self) -> &str {
        &self.dir
    }

    /// Its limits.
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// No append and no cut is in flight: what is planned is what is there.
    pub fn quiet(&self) -> bool {
        self.cuts_in_flight == 0 && self.log_end == self.next_offset()
    }

    /// How many leader epochs are known here.
    pub fn epoch_count(&self) -> usize {
        self.epochs.len()
    }

    /// The newest leader epoch that wrote here, or was assigned.
    pub fn latest_epoch(&self) -> Option<i32> {
        self.epochs.latest()
    }

    /// Where `epoch` ends in this log, as `(epoch, end)`: the largest known epoch not above it and the start of the next
    /// one; the latest ends at [`Log::log_end_offset`]. `None` if the log knows no epoch, or only older ones [L14].
    pub fn end_offset_for(&self, epoch: i32) -> Option<(i32, i64)> {
        self.epochs.end_offset_for(epoch, self.log_end)
    }

    /// Where `epoch` begins.
    pub fn epoch_start(&self, epoch: i32) -> Option<i64> {
        self.epochs.start_of(epoch)
    }

    /// The leader epoch of the record at `offset`.
    pub fn epoch_at(&self, offset: i64) -> Option<i32> {
        self.epochs.at(offset)
    }

    /// A leader epoch begins at `start_offset`, with or without a record.
    pub fn assign_epoch(&mut self, epoch: i32, start_offset: i64, out: &mut Outbox<DiskRequest>) {
        assert!(start_offset <= self.next_offset(), "epoch {epoch} would begin beyond the log");
        if self.epochs.assign(epoch, start_offset) {
            self.write_checkpoint(out);
        }
    }

    /// What the producer state says of a client's batch; writes in flight count.
    pub fn check_producer(&self, header: &BatchHeader, now: Now) -> ProducerCheck {
        Stamp::of(header).map_or(ProducerCheck::Accept, |stamp| self.producers.check(stamp, now.wall_ms))
    }

    /// Places `batches` at the end, under `leader_epoch`, and returns the first and last offset.
    ///
    /// # Errors
    /// MESSAGE_TOO_LARGE above `max.message.bytes`; KAFKA_STORAGE_ERROR after a failed write. Nothing is written then.
    pub fn append_as_leader(
        &mut self,
        now: Now,
        batches: Vec<Batch>,
        leader_epoch: i32,
        out: &mut Outbox<DiskRequest>,
    ) -> Result<(i64, i64), ErrorCode> {
        assert!(!batches.is_empty(), "an append of nothing");
        if self.failed {
            return Err(ErrorCode::KafkaStorageError);
        }
        let limit = self.config.max_message_bytes as usize;
        if batches.iter().any(|batch| batch.header.size() > limit) {
            return Err(ErrorCode::MessageTooLarge);
        }
        let base = self.next_offset();
        self.append(now, batches, Some(leader_epoch), out);
        Ok((base, self.next_offset() - 1))
    }

    /// Appends `batches` as their leader placed them.
    ///
    /// # Errors
    /// CORRUPT_MESSAGE if they do not continue [`Log::next_offset`] without a gap; KAFKA_STORAGE_ERROR after a failed
    /// write. Nothing is written then.
    pub fn append_as_follower(
        &mut self,
        now: Now,
        batches: Vec<Batch>,
        out: &mut Outbox<DiskRequest>,
    ) -> Result<(), ErrorCode> {
        if self.failed {
            return Err(ErrorCode::KafkaStorageError);
        }
        if batches.is_empty() {
            return Ok(());
        }
        let mut expected = self.next_offset();
        for batch in &batches {
            if batch.header.base_offset != expected {
                return Err(ErrorCode::CorruptMessage);
            }
            expected = batch.header.next_offset();
        }
        self.append(now, batches, None, out);
        assert_eq!(self.next_offset(), expected, "an append that went elsewhere");
        Ok(())
    }

    fn append(&mut self, now: Now, batches: Vec<Batch>, stamp: Option<i32>, out: &mut Outbox<DiskRequest>) {
        let (mut chunk, alone) = (Chunk::default(), batches.len() == 1);
        if !alone {
            chunk.gathered.reserve(batches.iter().map(|batch| batch.bytes.len()).sum());
        }
        for batch in batches {
            let header = match stamp {
                None => batch.header,
                Some(epoch) => {
                    BatchHeader { base_offset: self.next_offset(), partition_leader_epoch: epoch, ..batch.header }
                }
            };
            if self.active().is_full_for(&header, now.wall_ms, &self.config) {
                let end = End { to: self.next_offset(), as_leader: stamp.is_some() };
                self.write(&mut chunk, Effect::End(end), out);
                self.roll(now, out);
            }
            if self.epochs.assign(header.partition_leader_epoch, header.base_offset) {
                self.write_checkpoint(out);
            }
            chunk.push(batch, &header, alone);
            self.enter(&header);
        }
        let end = End { to: self.next_offset(), as_leader: stamp.is_some() };
        if end.to - self.sync_asked < self.config.flush_messages {
            self.write(&mut chunk, Effect::End(end), out);
        } else {
            self.write(&mut chunk, Effect::Nothing, out);
            let asked = self.sync_all(Some(end), out);
            assert!(asked, "an append that left nothing to sync");
        }
        self.check();
    }

    fn enter(&mut self, header: &BatchHeader) {
        let (segment, config) = (self.segments.last_mut().expect("never empty"), &self.config);
        segment.push(header, config);
        if let Some(stamp) = Stamp::of(header) {
            self.producers.enter(stamp, header.base_offset, header.last_offset(), header.max_timestamp);
        }
    }

    fn write(&mut self, chunk: &mut Chunk, effect: Effect, out: &mut Outbox<DiskRequest>) {
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

    /// Opens a new segment. The full one is synced, as Kafka does, in the background [L12].
    fn roll(&mut self, now: Now, out: &mut Outbox<DiskRequest>) {
        self.write_index(out);
        self.sync_all(None, out);
        let segment = Segment::new(&self.dir, self.next_offset(), now.wall_ms);
        assert!(segment.base_offset > self.active().base_offset, "an empty segment was rolled");
        self.segments.push(segment);
    }

    /// Asks that all below [`Log::next_offset`] become durable. True if [`Progress::Flushed`] will come; false if all of it
    /// is durable already.
    pub fn flush(&mut self, out: &mut Outbox<DiskRequest>) -> bool {
        let next = self.next_offset();
        self.sync_all(None, out) || self.durable < next
    }

    /// As [`Log::flush`], and writes the active segment's index: for a shutdown.
    pub fn close(&mut self, out: &mut Outbox<DiskRequest>) -> bool {
        self.write_index(out);
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

    fn write_index(&mut self, out: &mut Outbox<DiskRequest>) {
        let interval = self.config.index_interval_bytes;
        let segment = self.segments.last_mut().expect("never empty");
        let data = segment.index(interval);
        if !data.is_empty() {
            segment.indexed = true;
            let path = index_path(&self.dir, segment.base_offset);
            self.ask(DiskOp::Write { path, data }, Effect::Nothing, out);
        }
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
            self.entries_from(from).take_while(|entry| entry.base_offset < end.to).for_each(|entry| {
                self.observe.note(|| appended(self.tp, entry, end.as_leader));
            });
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

    pub(crate) fn rebuild_producers(&mut self) {
        self.producers.clear();
        for entry in self.segments.iter().flat_map(|segment| &segment.entries) {
            if let Some(stamp) = entry.stamp {
                self.producers.enter(stamp, entry.base_offset, entry.last_offset, entry.max_timestamp);
            }
        }
    }

    /// The [`chain`] over all batches below [`Log::log_end_offset`].
    pub fn digest(&self) -> u64 {
        self.entries_from(self.log_start_offset())
            .take_while(|entry| entry.base_offset < self.log_end)
            .fold(0, |digest, entry| chain(digest, entry.base_offset, entry.leader_epoch, entry.identity))
    }

    pub(crate) fn active(&self) -> &Segment {
        self.segments.last().expect("a log has a segment")
    }

    /// Limits what operations in flight will bring about: all at and above `end` is void.
    pub(crate) fn void_pending_above(&mut self, end: i64) {
        for pending in &mut self.pending {
            match &mut pending.effect {
                Effect::End(promised) => promised.to = promised.to.min(end),
                Effect::Durable { to, end: promised } => {
                    *to = (*to).min(end);
                    promised.iter_mut().for_each(|promised| promised.to = promised.to.min(end));
                }
                Effect::Nothing | Effect::Cut => {}
            }
        }
    }

    /// The invariants.
    pub(crate) fn check(&self) {
        let (start, end, next) = (self.log_start_offset(), self.log_end, self.next_offset());
        assert!(start <= end && end <= next, "{}: start {start}, end {end}, next {next}", self.dir);
        assert!(self.durable <= end, "{}: durable to {} of {end}", self.dir, self.durable);
        assert!(self.sync_asked <= next, "{}: sync to {} of {next}", self.dir, self.sync_asked);
        let tail = &self.segments[self.segments.len().saturating_sub(2)..];
        let tiled = tail.is_sorted_by(|a, b| a.end_offset() == b.base_offset && a.base_offset < b.base_offset);
        assert!(tiled, "{}: segments do not tile", self.dir);
    }
}

fn appended(tp: TopicPartition, entry: &Entry, as_leader: bool) -> Observation {
    Observation::Appended {
        tp,
        base_offset: entry.base_offset,
        last_offset: entry.last_offset,
        leader_epoch: entry.leader_epoch,
        batch: entry.identity,
        as_leader,
        position: entry.position,
        bytes: entry.size,
    }
}

/// What replaces the checkpoint file of the epoch cache.
pub(crate) fn checkpoint_ops(dir: &str, epochs: &Epochs) -> [DiskOp; 4] {
    let (path, temporary) = (format!("{dir}/{CHECKPOINT}"), format!("{dir}/{CHECKPOINT}.tmp"));
    [
        DiskOp::Write { path: temporary.clone(), data: Bytes::from(epochs.render()) },
        DiskOp::Sync { path: temporary.clone() },
        DiskOp::Rename { from: temporary, to: path },
        DiskOp::SyncDir { path: dir.to_owned() },
    ]
}

/// Batches on their way into one write.
#[derive(Default)]
struct Chunk {
    gathered: Vec<u8>,
    /// The one batch of an append, which need not be copied.
    whole: Option<Bytes>,
}

impl Chunk {
    fn push(&mut self, batch: Batch, header: &BatchHeader, alone: bool) {
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
