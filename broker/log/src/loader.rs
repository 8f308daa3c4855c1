//! Loading a log: the machine that asks for List, Len and Read, and repairs what a crash left behind [L17].

use crate::epochs::Epochs;
use crate::format::{ProducerEntry, SegmentFile, SegmentKind, decode_producer_snapshot, file};
use crate::log::Parts;
use crate::producers::{Producers, Stamp};
use crate::segment::{Segment, segment_path};
use crate::writes::in_dir;
use crate::{LoadError, Log, LogConfig};
use bytes::{Buf, Bytes, BytesMut};
use klamm_base::{
    DiskDone, DiskError, DiskOp, DiskOut, DiskRequest, Guard, Guards, Now, Observation, Observe, Outbox, Ticket,
    TopicPartition,
};
use klamm_wire::records::{Batch, BatchHeader, HEADER_LEN};
use std::collections::{BTreeSet, VecDeque};

/// The most that is read at once, in bytes.
pub(crate) const PIECE: u64 = 1 << 20;

/// What an earlier life left word of, beside the log itself [L10].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastKnown {
    /// The shutdown was clean: everything was synced.
    pub clean: bool,
    /// `recovery-point-offset-checkpoint`: all below was synced.
    pub recovery_point: i64,
    /// `log-start-offset-checkpoint`: nobody may read below.
    pub log_start: i64,
}

/// Makes a [`Log`] out of a directory.
///
/// Every batch is read: its header and place always; its checksum unless the last shutdown was clean or its segment ends at or
/// below the recovery point. The log ends at the first batch that is damaged, out of order, or of an older leader epoch than
/// the one before it (which only a lost cut can leave); what follows is removed, the newest segment first, so that a crash on
/// the way leaves a log that the next load cuts at the same place. Epochs, indexes and producers are derived from the
/// batches; of producers whose batches are deleted the whole snapshot tells that is nearest to the log's start, of epochs whose batches compaction took the
/// checkpoint. A swap of cleaned segments that was cut short is completed or undone first. Loading twice is loading once.
///
/// Stricter than Kafka: offsets must follow each other without a gap where nothing was synced and the topic is not compacted. A
/// segment that lost its end in a power loss, at the end of a batch, shows in nothing else.
#[derive(Debug)]
pub struct Loader {
    tp: TopicPartition,
    pub(crate) dir: String,
    pub(crate) config: LogConfig,
    pub(crate) known: LastKnown,
    pub(crate) guards: Guards,
    pub(crate) observe: Observe,
    stage: Stage,
    next_ticket: u64,
    /// The ticket of the open question.
    asked: Option<Ticket>,
    pub(crate) names: BTreeSet<String>,
    /// Base offsets of the segment files, sorted; `segments` covers the first of them.
    pub(crate) bases: Vec<i64>,
    /// Segments that were cleaned into the one before them.
    pub(crate) replaced: Vec<i64>,
    pub(crate) segments: Vec<Segment>,
    pub(crate) scan: Scan,
    pub(crate) epochs: Epochs,
    /// What the checkpoint file says.
    pub(crate) checkpoint: Option<Bytes>,
    /// Producer snapshots not yet looked at, by the offset that they were taken at; the last is looked at next.
    unread: Vec<i64>,
    /// The most telling whole snapshot.
    pub(crate) snapshot: Option<(i64, Vec<ProducerEntry>)>,
    /// The newest snapshot beyond the end, where the guard `snapshot-within-log` is off.
    pub(crate) beyond: Option<(i64, Vec<ProducerEntry>)>,
    /// What was read so far of a file that is read whole.
    gathered: BytesMut,
    /// Snapshots that are whole.
    pub(crate) whole: BTreeSet<i64>,
    /// Snapshots to be written, and the offsets that they stand for.
    pub(crate) new_snapshots: Vec<(i64, Bytes)>,
    /// Snapshots that stay.
    pub(crate) kept_snapshots: BTreeSet<i64>,
    /// Producers as they were below the first segment.
    pub(crate) earlier: Producers,
    /// Index files yet to be compared with what they should hold.
    pub(crate) unproven: VecDeque<(String, Bytes)>,
    /// Index files to be written.
    pub(crate) rewrites: Vec<(String, Bytes)>,
    /// Repairs not yet done.
    repairs: BTreeSet<Ticket>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    New,
    Making,
    Listing,
    /// Swaps that a crash interrupted are undone or completed.
    Swapping,
    Measuring,
    Reading,
    ReadingEpochs,
    ReadingSnapshot,
    ReadingIndex,
    Repairing,
    Loaded,
}

/// Where the reading of a segment stands.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Length of the file.
    pub(crate) len: u64,
    /// Read, and not yet recognised: begins where the segment's good batches end.
    buffer: Bytes,
    /// Its checksums need no look.
    trusted: bool,
}

/// What the next bytes of a segment are.
enum Found {
    Batch(Batch),
    /// More must be read to know.
    Unread,
    /// The file ends here, after a whole batch.
    End,
    /// No batch that could stand here.
    Damage,
}

impl Loader {
    /// A loader of the log in `dir`.
    pub fn new(
        tp: TopicPartition,
        dir: String,
        config: LogConfig,
        known: LastKnown,
        guards: Guards,
        observe: Observe,
    ) -> Loader {
        Loader {
            tp,
            dir,
            config,
            known,
            guards,
            observe,
            stage: Stage::New,
            next_ticket: 0,
            asked: None,
            names: BTreeSet::new(),
            bases: Vec::new(),
            replaced: Vec::new(),
            segments: Vec::new(),
            scan: Scan::default(),
            epochs: Epochs::default(),
            checkpoint: None,
            unread: Vec::new(),
            beyond: None,
            gathered: BytesMut::new(),
            whole: BTreeSet::new(),
            new_snapshots: Vec::new(),
            kept_snapshots: BTreeSet::new(),
            earlier: Producers::new(guards),
            snapshot: None,
            unproven: VecDeque::new(),
            rewrites: Vec::new(),
            repairs: BTreeSet::new(),
        }
    }

    /// The first question: the directory is made if it is missing.
    pub fn start(&mut self, out: &mut Outbox<DiskRequest>) {
        assert_eq!(self.stage, Stage::New, "{}: started twice", self.dir);
        self.ask(Stage::Making, DiskOp::CreateDir { path: self.dir.clone() }, out);
    }

    /// Takes a completion; the log, when it is loaded and every repair is done.
    ///
    /// # Errors
    /// When the disk fails. The loader is of no use then.
    pub fn step(&mut self, now: Now, done: DiskDone, out: &mut Outbox<DiskRequest>) -> Result<Option<Log>, LoadError> {
        if self.stage == Stage::ReadingSnapshot || self.stage == Stage::ReadingIndex {
            return self.extra_read(done, now, out);
        }
        let answer = done.result?;
        if self.stage == Stage::Repairing || self.stage == Stage::Swapping {
            assert!(self.repairs.remove(&done.ticket), "{}: a completion of nothing", self.dir);
            if self.stage == Stage::Swapping && self.repairs.is_empty() {
                self.next_segment(now, out);
            }
            return Ok(self.finish(now));
        }
        assert_eq!(self.asked.take(), Some(done.ticket), "{}: a completion of nothing", self.dir);
        match (self.stage, answer) {
            (Stage::Making, DiskOut::Done) => {
                self.ask(Stage::Listing, DiskOp::List { path: self.dir.clone() }, out);
            }
            (Stage::Listing, DiskOut::Names(names)) => self.listed(names, now, out),
            (Stage::Measuring, DiskOut::Len(len)) => self.measured(len, now, out),
            (Stage::Reading, DiskOut::Data(data)) => self.read(&data, now, out),
            (Stage::ReadingEpochs, DiskOut::Data(data)) => {
                self.checkpoint = Some(data);
                self.next_snapshot(now, out);
            }
            (stage, other) => panic!("{}: {other:?} is no answer while {stage:?}", self.dir),
        }
        Ok(self.finish(now))
    }

    fn listed(&mut self, names: Vec<String>, now: Now, out: &mut Outbox<DiskRequest>) {
        self.names = names.into_iter().collect();
        let ops = self.end_swaps();
        self.bases = offsets_of(&self.names, SegmentKind::Log).collect();
        self.bases.sort_unstable();
        if ops.is_empty() {
            return self.next_segment(now, out);
        }
        self.stage = Stage::Swapping;
        self.ask_repairs(ops, out);
    }

    /// Goes on with the next segment file, if there is one and it continues the one before.
    fn next_segment(&mut self, now: Now, out: &mut Outbox<DiskRequest>) {
        let end = self.segments.last().map(Segment::end_offset);
        let Some(&base) = self.bases.get(self.segments.len()) else {
            return self.scanned(now, out);
        };
        let may_skip = self.config.compact || self.was_synced(base);
        if end.is_some_and(|end| end < base && !may_skip) {
            return self.scanned(now, out);
        }
        let mut segment = Segment::new(&self.dir, base, now.wall_ms);
        segment.created = true;
        segment.unsynced = !self.trusts(self.segments.len());
        let path = segment.path.to_string();
        self.segments.push(segment);
        self.ask(Stage::Measuring, DiskOp::Len { path }, out);
    }

    /// Segments that lie within the one that was just read are what it was cleaned from. False if it was only trusted because of
    /// them.
    fn drop_replaced(&mut self) -> bool {
        let end = self.segments.last().map_or(0, Segment::end_offset);
        let next = self.segments.len();
        while self.bases.get(next).is_some_and(|base| *base < end) {
            self.replaced.push(self.bases.remove(next));
        }
        !self.scan.trusted || self.trusts(next - 1)
    }

    /// Begins the segment anew, which was trusted because of segments behind it that go: its checksums are looked at now, as the
    /// next load will do, which does not find those.
    fn doubt(&mut self) {
        let segment = self.segments.last_mut().expect("a segment is being read");
        segment.cut(segment.base_offset, &self.config);
        segment.unsynced = true;
        self.epochs.cut(segment.base_offset);
        self.scan = Scan { len: self.scan.len, ..Scan::default() };
    }

    /// All below `offset` was synced before.
    fn was_synced(&self, offset: i64) -> bool {
        self.known.clean || offset <= self.known.recovery_point
    }

    /// True if all of the segment at this place in `bases` was synced: it ends where the next one begins. Bytes that a disk
    /// spoilt since then show when they are read, as in Kafka [L17].
    pub(crate) fn trusts(&self, index: usize) -> bool {
        self.known.clean || self.bases.get(index + 1).is_some_and(|next| self.was_synced(*next))
    }

    fn measured(&mut self, len: u64, now: Now, out: &mut Outbox<DiskRequest>) {
        let trusted = self.trusts(self.segments.len() - 1);
        self.scan = Scan { len, buffer: Bytes::new(), trusted };
        self.scan_on(now, out);
    }

    fn read(&mut self, data: &Bytes, now: Now, out: &mut Outbox<DiskRequest>) {
        let scan = &mut self.scan;
        if data.is_empty() {
            // The file is shorter than it said: what is there is all there is.
            scan.len = self.segments.last().map_or(0, |segment| segment.size) + scan.buffer.len() as u64;
        } else if scan.buffer.is_empty() {
            scan.buffer = data.clone();
        } else {
            let mut joined = BytesMut::with_capacity(scan.buffer.len() + data.len());
            joined.extend_from_slice(&scan.buffer);
            joined.extend_from_slice(data);
            scan.buffer = joined.freeze();
        }
        self.scan_on(now, out);
    }

    /// Takes the batches that are read, then asks for more, or goes on.
    fn scan_on(&mut self, now: Now, out: &mut Outbox<DiskRequest>) {
        loop {
            match self.look() {
                Found::Batch(batch) => self.take(&batch),
                Found::Unread => return self.read_on(out),
                Found::End if self.drop_replaced() => return self.next_segment(now, out),
                Found::Damage if !self.scan.trusted || self.known.clean => return self.scanned(now, out),
                Found::End | Found::Damage => self.doubt(),
            }
        }
    }

    fn look(&self) -> Found {
        let segment = self.segments.last().expect("a segment is being read");
        let (buffer, left) = (&self.scan.buffer, self.scan.len - segment.size);
        if left == 0 {
            return Found::End;
        }
        if left < HEADER_LEN as u64 {
            return Found::Damage;
        }
        if buffer.len() < HEADER_LEN {
            return Found::Unread;
        }
        let Ok(header) = BatchHeader::parse(buffer) else { return Found::Damage };
        if header.size() as u64 > left || !self.may_stand(&header, segment) {
            return Found::Damage;
        }
        if header.size() > buffer.len() {
            return Found::Unread;
        }
        match Batch::parse(buffer) {
            Ok(batch) if self.scan.trusted || self.fits(&batch) => Found::Batch(batch),
            _ => Found::Damage,
        }
    }

    /// A batch that a power loss tore has a sound header as often as not.
    fn fits(&self, batch: &Batch) -> bool {
        !self.guards.stands(Guard::RecoveryCrc) || batch.crc_ok()
    }

    fn may_stand(&self, header: &BatchHeader, segment: &Segment) -> bool {
        let fits_position = segment.size + header.size() as u64 <= u64::from(u32::MAX);
        let end = segment.end_offset();
        let may_skip = self.config.compact || self.scan.trusted;
        let in_order = header.base_offset == end || (may_skip && header.base_offset > end);
        // No checksum covers an offset. One that no index of this segment can name was not written there.
        let furthest = i64::from(i32::MAX) - i64::from(header.last_offset_delta);
        let is_near = header.base_offset - segment.base_offset <= furthest;
        let epoch = header.partition_leader_epoch;
        fits_position && in_order && is_near && epoch >= 0 && self.epochs.latest().is_none_or(|latest| epoch >= latest)
    }

    fn take(&mut self, batch: &Batch) {
        let header = &batch.header;
        self.scan.buffer.advance(header.size());
        self.epochs.assign(header.partition_leader_epoch, header.base_offset);
        let segment = self.segments.last_mut().expect("a segment is being read");
        segment.push(header, Stamp::of(batch), &self.config);
    }

    fn read_on(&mut self, out: &mut Outbox<DiskRequest>) {
        let segment = self.segments.last().expect("a segment is being read");
        let position = segment.size + self.scan.buffer.len() as u64;
        let len = PIECE.min(self.scan.len - position);
        assert!(len > 0, "{}: nothing left to read at {position}", self.dir);
        let path = segment.path.to_string();
        self.ask(Stage::Reading, DiskOp::Read { path, position, len: len as u32 }, out);
    }

    /// The good prefix of the log is known. Left to do: compare the epoch checkpoint, the snapshots, the indexes; repair.
    fn scanned(&mut self, now: Now, out: &mut Outbox<DiskRequest>) {
        let end = self.segments.last().map_or(self.known.log_start, Segment::end_offset);
        if end < self.known.log_start {
            // Nobody may read what there is: the log begins anew at its start [L18].
            self.segments.clear();
        }
        let mut snapshots: Vec<i64> = offsets_of(&self.names, SegmentKind::ProducerSnapshot).collect();
        let first = self.first();
        // What was known where the log begins tells most of what its batches do not tell.
        snapshots.sort_by_key(|at| std::cmp::Reverse(if *at >= first { (0, *at) } else { (1, -*at) }));
        // A log without a segment knows of nobody.
        let within = |at: i64| at <= end && !self.segments.is_empty();
        snapshots.retain(|at| within(*at) || !self.guards.stands(Guard::SnapshotWithinLog));
        self.unread = snapshots;
        if self.names.contains(file::LEADER_EPOCHS) {
            let op = DiskOp::Read { path: in_dir(&self.dir, file::LEADER_EPOCHS), position: 0, len: PIECE as u32 };
            return self.ask(Stage::ReadingEpochs, op, out);
        }
        self.next_snapshot(now, out);
    }

    /// Asks for the next snapshot: until one is whole, and after an unclean stop for all.
    fn next_snapshot(&mut self, now: Now, out: &mut Outbox<DiskRequest>) {
        match self.unread.last() {
            Some(at) if self.snapshot.is_none() || !self.known.clean => {
                let path = segment_path(&self.dir, *at, SegmentKind::ProducerSnapshot);
                self.read_piece(Stage::ReadingSnapshot, path, out);
            }
            _ => {
                // After a clean stop nobody doubts the others.
                self.whole.extend(self.unread.drain(..));
                self.derive(now.wall_ms);
                self.next_index(out);
            }
        }
    }

    /// Asks for the next index file that is to be compared.
    fn next_index(&mut self, out: &mut Outbox<DiskRequest>) {
        match self.unproven.front() {
            None => self.repair(out),
            Some((path, _)) => {
                let path = path.clone();
                self.read_piece(Stage::ReadingIndex, path, out);
            }
        }
    }

    /// The next piece of a file that is read whole.
    fn read_piece(&mut self, stage: Stage, path: String, out: &mut Outbox<DiskRequest>) {
        let position = self.gathered.len() as u64;
        self.ask(stage, DiskOp::Read { path, position, len: PIECE as u32 }, out);
    }

    /// A snapshot or an index was read. What cannot be read is as good as not there: it can be made anew.
    fn extra_read(
        &mut self,
        done: DiskDone,
        now: Now,
        out: &mut Outbox<DiskRequest>,
    ) -> Result<Option<Log>, LoadError> {
        assert_eq!(self.asked.take(), Some(done.ticket), "{}: a completion of nothing", self.dir);
        let data = match done.result {
            Ok(DiskOut::Data(data)) => data,
            Ok(other) => panic!("{}: {other:?} is no answer to a read", self.dir),
            Err(DiskError::NotFound { .. }) => Bytes::new(),
            Err(error) => return Err(error.into()),
        };
        self.gathered.extend_from_slice(&data);
        if data.len() as u64 == PIECE {
            match self.stage {
                Stage::ReadingSnapshot => self.next_snapshot(now, out),
                _ => self.next_index(out),
            }
            return Ok(None);
        }
        let data = self.gathered.split().freeze();
        if self.stage == Stage::ReadingSnapshot {
            let at = self.unread.pop().expect("one was asked for");
            if let Ok(producers) = decode_producer_snapshot(&data, at) {
                self.take_snapshot(at, producers);
            }
            self.next_snapshot(now, out);
        } else {
            let (path, content) = self.unproven.pop_front().expect("one was asked for");
            if data != content {
                self.rewrites.push((path, content));
            }
            self.next_index(out);
        }
        Ok(self.finish(now))
    }

    fn take_snapshot(&mut self, at: i64, producers: Vec<ProducerEntry>) {
        // Only where the guard is off: of records that this log does not hold.
        if at > self.segments.last().map_or(self.known.log_start, Segment::end_offset) {
            self.beyond = Some((at, producers));
            return;
        }
        self.whole.insert(at);
        self.snapshot.get_or_insert((at, producers));
    }

    /// Asks for every repair.
    fn repair(&mut self, out: &mut Outbox<DiskRequest>) {
        self.stage = Stage::Repairing;
        let ops = self.repair_ops();
        self.ask_repairs(ops, out);
    }

    fn ask_repairs(&mut self, ops: Vec<DiskOp>, out: &mut Outbox<DiskRequest>) {
        assert!(self.repairs.is_empty(), "{}: repaired twice", self.dir);
        for op in ops {
            let ticket = self.ticket();
            self.repairs.insert(ticket);
            out.push(DiskRequest { ticket, op });
        }
    }

    fn finish(&mut self, now: Now) -> Option<Log> {
        if self.stage != Stage::Repairing || !self.repairs.is_empty() {
            return None;
        }
        self.stage = Stage::Loaded;
        // It may hold on to a piece.
        self.scan = Scan::default();
        let first = self.first();
        let parts = Parts {
            tp: self.tp,
            dir: self.dir.clone(),
            config: self.config,
            observe: self.observe.clone(),
            guards: self.guards,
            believed: self.beyond.take().map(|(_, snapshot)| Producers::believed(self.guards, &snapshot)),
            earlier: std::mem::replace(&mut self.earlier, Producers::new(self.guards)),
            segments: std::mem::take(&mut self.segments),
            epochs: std::mem::take(&mut self.epochs),
            snapshots: std::mem::take(&mut self.kept_snapshots),
            next_ticket: self.next_ticket,
            log_start: self.known.log_start.max(first),
            durable: if self.known.clean { i64::MAX } else { self.known.recovery_point },
        };
        let log = Log::from_parts(parts, now.wall_ms);
        let (log_start, log_end) = (log.log_start_offset(), log.log_end_offset());
        self.observe.note(|| Observation::LogLoaded { tp: self.tp, log_start, log_end, digest: log.digest() });
        self.observe.note(|| Observation::ProducersLoaded { tp: self.tp, producers: log.producers.facts() });
        Some(log)
    }

    fn ask(&mut self, stage: Stage, op: DiskOp, out: &mut Outbox<DiskRequest>) {
        self.stage = stage;
        let ticket = self.ticket();
        self.asked = Some(ticket);
        out.push(DiskRequest { ticket, op });
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }
}

/// The offsets in the names of a log's files of one kind.
fn offsets_of<'a>(names: impl IntoIterator<Item = &'a String>, kind: SegmentKind) -> impl Iterator<Item = i64> {
    let whole =
        move |name: &String| SegmentFile::parse(name).filter(|file| file.transient.is_none() && file.kind == kind);
    names.into_iter().filter_map(move |name| Some(whole(name)?.base_offset))
}
