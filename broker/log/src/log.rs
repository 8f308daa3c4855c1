//! The log itself: its state, its appends, its invariants.

use crate::epochs::Epochs;
use crate::format::{ProducerEntry, TxnEntry};
use crate::producers::{Place, Producers, Stamp};
use crate::retention::Doomed;
use crate::segment::Segment;
use crate::writes::Chunk;
use crate::{LogConfig, ProducerCheck, ReadPlan, told};
use klamm_base::{DiskRequest, ErrorCode, Guards, KeyFact, Now, Observe, Outbox, Ticket, TopicPartition, chain};
use klamm_wire::records::{Batch, BatchHeader};
use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;

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
    pub(crate) guards: Guards,
    /// Never empty; the last one is written to.
    pub(crate) segments: Vec<Segment>,
    pub(crate) epochs: Epochs,
    /// Producers as they were below the first segment: what no batch in the log tells any more.
    pub(crate) earlier: Producers,
    pub(crate) producers: Producers,
    /// Offsets of the snapshots of producers.
    pub(crate) snapshots: BTreeSet<i64>,
    /// First offset that readers may have. It may lie within a batch.
    pub(crate) log_start: i64,
    pub(crate) log_end: i64,
    pub(crate) durable: i64,
    /// Below this all is durable or a sync was asked for.
    pub(crate) sync_asked: i64,
    /// A directory entry was made that no directory sync was asked for.
    pub(crate) dir_unsynced: bool,
    /// Since this instant, monotonic nanoseconds, something is neither durable nor being synced.
    pub(crate) unsynced_since: Option<u64>,
    /// Of each batch whose write is under way, by its base offset: what is told of its records when it is done.
    pub(crate) keys: VecDeque<(i64, Vec<KeyFact>)>,
    /// Files of deleted segments, the first due first.
    pub(crate) doomed: VecDeque<Doomed>,
    /// Mutating operations in flight, in the order in which they were asked for.
    pub(crate) pending: VecDeque<Pending>,
    pub(crate) cuts_in_flight: u32,
    /// How often the log was cut, lost its beginning or was cleaned: a read from before is void.
    pub(crate) cuts: u64,
    /// What begins here is being replaced by its cleaned likeness: its files have no certain names.
    pub(crate) swapping: Option<Range<i64>>,
    pub(crate) reads: Vec<OpenRead>,
    pub(crate) next_ticket: u64,
    pub(crate) failed: bool,
}

/// A read in flight, and the disk operation that brings it: others that ask for the same range share it. Without one it
/// waits for a swap, after which it must be asked anew.
#[derive(Debug)]
pub(crate) struct OpenRead {
    pub(crate) ticket: Ticket,
    pub(crate) operation: Option<Ticket>,
    pub(crate) plan: ReadPlan,
}

/// A mutating operation in flight.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) ticket: Ticket,
    pub(crate) done: bool,
    pub(crate) effect: Effect,
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
    /// A cleaned segment is in its place.
    Swapped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) to: i64,
    pub(crate) as_leader: bool,
}

/// What a [`crate::Loader`] hands over.
pub(crate) struct Parts {
    pub(crate) tp: TopicPartition,
    pub(crate) dir: String,
    pub(crate) config: LogConfig,
    pub(crate) observe: Observe,
    pub(crate) guards: Guards,
    pub(crate) segments: Vec<Segment>,
    pub(crate) epochs: Epochs,
    pub(crate) earlier: Producers,
    /// Taken for what is known of producers, whatever the batches tell.
    pub(crate) believed: Option<Producers>,
    pub(crate) snapshots: BTreeSet<i64>,
    pub(crate) next_ticket: u64,
    /// At or above the first segment's base.
    pub(crate) log_start: i64,
    /// All below was synced by an earlier life.
    pub(crate) durable: i64,
}

impl Log {
    pub(crate) fn from_parts(parts: Parts, wall_ms: i64) -> Log {
        let Parts {
            tp,
            dir,
            config,
            observe,
            guards,
            mut segments,
            epochs,
            earlier,
            believed,
            snapshots,
            next_ticket,
            log_start,
            durable,
        } = parts;
        let some_files = !segments.is_empty();
        if !some_files {
            // The load has made its file, unless the log begins where every log does.
            let mut segment = Segment::new(&dir, log_start, wall_ms);
            segment.created = log_start > 0;
            segments.push(segment);
        }
        let end = segments[segments.len() - 1].end_offset();
        let durable = durable.clamp(log_start, end);
        let mut log = Log {
            tp,
            dir,
            config,
            observe,
            guards,
            segments,
            epochs,
            producers: earlier.clone(),
            earlier,
            snapshots,
            log_start,
            log_end: end,
            durable,
            sync_asked: durable,
            dir_unsynced: some_files && durable < end,
            unsynced_since: None,
            keys: VecDeque::new(),
            doomed: VecDeque::new(),
            pending: VecDeque::new(),
            cuts_in_flight: 0,
            cuts: 0,
            swapping: None,
            reads: Vec::new(),
            next_ticket,
            failed: false,
        };
        log.rebuild_producers();
        log.producers = believed.unwrap_or(log.producers);
        log.check();
        log
    }

    /// First offset that may be read. Records below it may still be in the first segment.
    pub fn log_start_offset(&self) -> i64 {
        self.log_start
    }

    /// Base offset of the first segment.
    pub fn first_segment_offset(&self) -> i64 {
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

    /// All below survives a power loss: what `recovery-point-offset-checkpoint` may say [L12]. After an unclean load no more is
    /// known to than the checkpoint said, until a [`Log::flush`] is done.
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

    /// Other limits from now on.
    pub fn set_config(&mut self, config: LogConfig) {
        self.config = config;
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
    pub fn check_producer(&self, batch: &Batch, now: Now) -> ProducerCheck {
        Stamp::of(batch).map_or(ProducerCheck::Accept, |stamp| self.producers.check(stamp, now.wall_ms))
    }

    /// What is known of producers, writes in flight included, by id.
    pub fn producers(&self) -> Vec<ProducerEntry> {
        self.producers.entries().collect()
    }

    /// Below this every transaction is decided, if all below `high_watermark` is committed: what a reader of committed
    /// records may have [L15].
    pub fn last_stable_offset(&self, high_watermark: i64) -> i64 {
        let stable = self.producers.transactions.last_stable_offset(high_watermark);
        stable.clamp(self.log_start.min(high_watermark), high_watermark)
    }

    /// The aborted transactions that a reader of committed records in `from..to` must know of.
    pub fn aborted_within(&self, from: i64, to: i64) -> impl Iterator<Item = &TxnEntry> {
        self.producers.transactions.aborted_within(from, to)
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

    /// Appends `batches` as their leader placed them. `gaps` says that offsets may be missing before a batch and between
    /// two, as compaction leaves them.
    ///
    /// # Errors
    /// CORRUPT_MESSAGE if they do not continue [`Log::next_offset`]; KAFKA_STORAGE_ERROR after a failed write. Nothing is
    /// written then.
    pub fn append_as_follower(
        &mut self,
        now: Now,
        batches: Vec<Batch>,
        gaps: bool,
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
            let base = batch.header.base_offset;
            if base < expected || (base > expected && !gaps) {
                return Err(ErrorCode::CorruptMessage);
            }
            expected = batch.header.next_offset();
        }
        self.append(now, batches, None, out);
        assert_eq!(self.next_offset(), expected, "an append that went elsewhere");
        Ok(())
    }

    fn append(&mut self, now: Now, batches: Vec<Batch>, stamp: Option<i32>, out: &mut Outbox<DiskRequest>) {
        let (mut chunk, alone) = (Chunk::for_batches(&batches), batches.len() == 1);
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
                self.roll(now, header.base_offset, out);
            }
            if self.epochs.assign(header.partition_leader_epoch, header.base_offset) {
                self.write_checkpoint(out);
            }
            let producer = Stamp::of(&batch);
            if self.config.compact && self.observe.watched() {
                self.keys.push_back((header.base_offset, told::keys(&batch)));
            }
            chunk.push(batch, &header, alone);
            self.enter(&header, producer);
        }
        self.unsynced_since.get_or_insert(now.mono_ns);
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

    fn enter(&mut self, header: &BatchHeader, stamp: Option<Stamp>) {
        let (segment, config) = (self.segments.last_mut().expect("never empty"), &self.config);
        segment.push(header, stamp, config);
        if let Some(stamp) = stamp {
            self.producers.enter(stamp, Place::of(header));
        }
    }

    pub(crate) fn rebuild_producers(&mut self) {
        self.producers = self.earlier.clone();
        let entries = self.segments.iter().flat_map(|segment| &segment.entries);
        entries.for_each(|entry| entry.tell(&mut self.producers));
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
                Effect::Nothing | Effect::Cut | Effect::Swapped => {}
            }
        }
    }

    /// The invariants.
    pub(crate) fn check(&self) {
        let (start, end, next) = (self.log_start, self.log_end, self.next_offset());
        assert!(self.segments[0].base_offset <= start, "{}: the log starts before its first segment", self.dir);
        assert!(start <= end && end <= next, "{}: start {start}, end {end}, next {next}", self.dir);
        assert!(self.durable <= end, "{}: durable to {} of {end}", self.dir, self.durable);
        assert!(self.sync_asked <= next, "{}: sync to {} of {next}", self.dir, self.sync_asked);
        let tail = &self.segments[self.segments.len().saturating_sub(2)..];
        let in_order = tail.is_sorted_by(|a, b| a.end_offset() <= b.base_offset && a.base_offset < b.base_offset);
        assert!(in_order, "{}: segments overlap", self.dir);
    }
}
