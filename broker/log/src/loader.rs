//! Loading a log: the machine that asks for List, Len and Read, and repairs what a crash left behind [L17].

use crate::epochs::{CHECKPOINT, Epochs};
use crate::log::{Parts, checkpoint_ops};
use crate::segment::{Segment, base_of, index_path, log_path};
use crate::{LoadError, Log, LogConfig};
use bytes::{Buf, Bytes, BytesMut};
use klamm_base::{
    DiskDone, DiskOp, DiskOut, DiskRequest, Guards, Mark, Now, Observation, Observe, Outbox, Ticket, TopicPartition,
};
use klamm_wire::records::{Batch, BatchHeader, HEADER_LEN};
use std::collections::BTreeSet;

/// The most that is read at once, in bytes.
const PIECE: u64 = 1 << 20;

/// Makes a [`Log`] out of a directory.
///
/// Every batch is read: its header and place always, its checksum unless the last shutdown was clean. The log ends at the
/// first batch that is damaged, out of order, or of an older leader epoch than the one before it (which only a lost cut
/// can leave); what follows is removed, the newest segment first, so that a crash on the way leaves a log that the
/// next load cuts at the same place. Epochs and producers are derived from the batches. Loading twice is loading once.
#[derive(Debug)]
pub struct Loader {
    tp: TopicPartition,
    dir: String,
    config: LogConfig,
    clean: bool,
    guards: Guards,
    observe: Observe,
    stage: Stage,
    next_ticket: u64,
    /// The ticket of the open question.
    asked: Option<Ticket>,
    names: BTreeSet<String>,
    /// Base offsets of the segment files, sorted; `segments` covers the first of them.
    bases: Vec<i64>,
    segments: Vec<Segment>,
    scan: Scan,
    epochs: Epochs,
    /// What the checkpoint file says.
    checkpoint: Option<Bytes>,
    /// Repairs not yet done.
    repairs: BTreeSet<Ticket>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    New,
    Making,
    Listing,
    Measuring,
    Reading,
    ReadingEpochs,
    Repairing,
    Loaded,
}

/// Where the reading of a segment stands.
#[derive(Debug, Default)]
struct Scan {
    /// Length of the file.
    len: u64,
    /// Read, and not yet recognised: begins where the segment's good batches end.
    buffer: Bytes,
}

/// What the next bytes of a segment are.
enum Found {
    Batch(BatchHeader),
    /// More must be read to know.
    Unread,
    /// The file ends here, after a whole batch.
    End,
    /// No batch that could stand here.
    Damage,
}

impl Loader {
    /// A loader of the log in `dir`. `clean` says that the last shutdown synced everything and left its mark.
    pub fn new(
        tp: TopicPartition,
        dir: String,
        config: LogConfig,
        clean: bool,
        guards: Guards,
        observe: Observe,
    ) -> Loader {
        Loader {
            tp,
            dir,
            config,
            clean,
            guards,
            observe,
            stage: Stage::New,
            next_ticket: 0,
            asked: None,
            names: BTreeSet::new(),
            bases: Vec::new(),
            segments: Vec::new(),
            scan: Scan::default(),
            epochs: Epochs::default(),
            checkpoint: None,
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
        let answer = done.result?;
        if self.stage == Stage::Repairing {
            assert!(self.repairs.remove(&done.ticket), "{}: a completion of nothing", self.dir);
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
                self.repair(out);
            }
            (stage, other) => panic!("{}: {other:?} is no answer while {stage:?}", self.dir),
        }
        Ok(self.finish(now))
    }

    fn listed(&mut self, names: Vec<String>, now: Now, out: &mut Outbox<DiskRequest>) {
        self.bases = names.iter().filter_map(|name| base_of(name, ".log")).collect();
        self.bases.sort_unstable();
        self.names = names.into_iter().collect();
        self.next_segment(now, out);
    }

    /// Goes on with the next segment file, if there is one and it continues the one before.
    fn next_segment(&mut self, now: Now, out: &mut Outbox<DiskRequest>) {
        let end = self.segments.last().map(Segment::end_offset);
        let Some(&base) = self.bases.get(self.segments.len()) else {
            return self.scanned(out);
        };
        if end.is_some_and(|end| end != base) {
            return self.scanned(out);
        }
        let mut segment = Segment::new(&self.dir, base, now.wall_ms);
        segment.created = true;
        segment.unsynced = !self.clean;
        segment.indexed = self.has(&index_path(&self.dir, base));
        self.segments.push(segment);
        self.ask(Stage::Measuring, DiskOp::Len { path: log_path(&self.dir, base) }, out);
    }

    fn measured(&mut self, len: u64, now: Now, out: &mut Outbox<DiskRequest>) {
        self.scan = Scan { len, buffer: Bytes::new() };
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
                Found::Batch(header) => self.take(&header),
                Found::Unread => return self.read_on(out),
                Found::End => return self.next_segment(now, out),
                Found::Damage => return self.scanned(out),
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
        let intact = self.clean || Batch::parse(buffer).is_ok_and(|batch| batch.crc_ok());
        if intact { Found::Batch(header) } else { Found::Damage }
    }

    fn may_stand(&self, header: &BatchHeader, segment: &Segment) -> bool {
        let fits_position = segment.size + header.size() as u64 <= u64::from(u32::MAX);
        let in_order = header.base_offset == segment.end_offset();
        let epoch = header.partition_leader_epoch;
        fits_position && in_order && epoch >= 0 && self.epochs.latest().is_none_or(|latest| epoch >= latest)
    }

    fn take(&mut self, header: &BatchHeader) {
        self.scan.buffer.advance(header.size());
        self.epochs.assign(header.partition_leader_epoch, header.base_offset);
        let segment = self.segments.last_mut().expect("a segment is being read");
        segment.push(header, &self.config);
    }

    fn read_on(&mut self, out: &mut Outbox<DiskRequest>) {
        let segment = self.segments.last().expect("a segment is being read");
        let position = segment.size + self.scan.buffer.len() as u64;
        let len = PIECE.min(self.scan.len - position);
        assert!(len > 0, "{}: nothing left to read at {position}", self.dir);
        let path = segment.path.to_string();
        self.ask(Stage::Reading, DiskOp::Read { path, position, len: len as u32 }, out);
    }

    /// The good prefix of the log is known. Left to do: compare the epoch checkpoint, repair.
    fn scanned(&mut self, out: &mut Outbox<DiskRequest>) {
        let path = format!("{}/{CHECKPOINT}", self.dir);
        if self.has(&path) {
            let op = DiskOp::Read { path, position: 0, len: PIECE as u32 };
            return self.ask(Stage::ReadingEpochs, op, out);
        }
        self.repair(out);
    }

    /// Asks for every repair: what is no batch goes from the end of the last good segment, all segments after it go whole.
    fn repair(&mut self, out: &mut Outbox<DiskRequest>) {
        assert!(self.repairs.is_empty(), "{}: repaired twice", self.dir);
        self.stage = Stage::Repairing;
        let mut ops = self.removals();
        if let Some(segment) = self.segments.last_mut().filter(|segment| segment.size < self.scan.len) {
            self.observe.mark(Mark::TornTailCut);
            segment.unsynced = true;
            let path = segment.path.to_string();
            ops.push(DiskOp::Truncate { path: path.clone(), len: segment.size });
            ops.push(DiskOp::Sync { path });
        }
        let text = Bytes::from(self.epochs.render());
        let wanted = (self.epochs != Epochs::default() || self.checkpoint.is_some()).then_some(text);
        if wanted != self.checkpoint {
            ops.extend(checkpoint_ops(&self.dir, &self.epochs));
        }
        if self.names.is_empty() {
            ops.extend(parent(&self.dir).map(|path| DiskOp::SyncDir { path }));
        }
        for op in ops {
            let ticket = self.ticket();
            self.repairs.insert(ticket);
            out.push(DiskRequest { ticket, op });
        }
    }

    /// Files that do not belong to the log: segments behind the good prefix, the newest first, and left-overs.
    fn removals(&mut self) -> Vec<DiskOp> {
        let mut paths: Vec<String> =
            self.bases.split_off(self.segments.len()).into_iter().rev().map(|base| log_path(&self.dir, base)).collect();
        // The active segment has no index, and one of a segment that is gone is none.
        let sealed: BTreeSet<i64> = self.bases.iter().rev().skip(1).copied().collect();
        let indexes = self.names.iter().filter_map(|name| base_of(name, ".index"));
        paths.extend(indexes.filter(|base| !sealed.contains(base)).map(|base| index_path(&self.dir, base)));
        let left_over = self.names.iter().filter(|name| name.ends_with(".tmp"));
        paths.extend(left_over.map(|name| format!("{}/{name}", self.dir)));
        self.segments.last_mut().into_iter().for_each(|active| active.indexed = false);
        let mut ops: Vec<DiskOp> = paths.into_iter().map(|path| DiskOp::Remove { path }).collect();
        if !ops.is_empty() {
            ops.push(DiskOp::SyncDir { path: self.dir.clone() });
        }
        ops
    }

    fn finish(&mut self, now: Now) -> Option<Log> {
        if self.stage != Stage::Repairing || !self.repairs.is_empty() {
            return None;
        }
        self.stage = Stage::Loaded;
        // It may hold on to a piece.
        self.scan = Scan::default();
        let parts = Parts {
            tp: self.tp,
            dir: self.dir.clone(),
            config: self.config,
            guards: self.guards,
            observe: self.observe.clone(),
            segments: std::mem::take(&mut self.segments),
            epochs: std::mem::take(&mut self.epochs),
            next_ticket: self.next_ticket,
            durable: self.clean,
        };
        let log = Log::from_parts(parts, now.wall_ms);
        let (log_start, log_end) = (log.log_start_offset(), log.log_end_offset());
        self.observe.note(|| Observation::LogLoaded { tp: self.tp, log_start, log_end, digest: log.digest() });
        Some(log)
    }

    fn has(&self, path: &str) -> bool {
        path.rsplit_once('/').is_some_and(|(_, name)| self.names.contains(name))
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

/// The directory that holds `dir`, if the path names one.
fn parent(dir: &str) -> Option<String> {
    dir.rsplit_once('/').map(|(parent, _)| parent.to_owned())
}
