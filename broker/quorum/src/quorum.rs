//! The machine.

use crate::fetch::{self, Ask, Parked};
use crate::opening::{OWN_TICKETS, Opened, Opening};
use crate::voters::Voters;
use bytes::Bytes;
use klamm_base::{DiskDone, DiskError, DiskRequest, ErrorCode, Guards, NodeId, Now, Observe, Outbox, Ticket};
use klamm_log::{Log, LogConfig, Progress, ReadError};
use klamm_wire::messages::leader_change_message::Voter;
use klamm_wire::messages::{FetchRequest, FetchResponse, LeaderChangeMessage};
use klamm_wire::metadata::MetadataRecord;
use klamm_wire::records::{Batch, BatchBuilder, records, split};
use klamm_wire::{Message, WireError};
use std::collections::{BTreeMap, VecDeque};

/// Bytes of one read when the log is replayed at start.
const REPLAY_BYTES: u32 = 1 << 20;

/// Settings of one voter.
#[derive(Clone, Debug)]
pub struct QuorumConfig {
    /// This node.
    pub node: NodeId,
    /// All voters; for now exactly this node.
    pub voters: Vec<NodeId>,
    /// Observers of another cluster are refused (104).
    pub cluster_id: String,
    /// Directory of the log, `…/__cluster_metadata-0`.
    pub dir: String,
    /// Settings of the log.
    pub log: LogConfig,
}

/// What a quorum takes.
#[derive(Debug)]
pub enum Event {
    /// Begin: load the log, raise the epoch, open it. Once.
    Start,
    /// An observer fetches (v12 and later fields). Answered by one [`Command::Fetched`].
    Fetch { token: u64, request: FetchRequest },
    /// A disk operation ended.
    DiskDone(DiskDone),
    /// [`Quorum::deadline`] passed.
    Deadline,
    /// Flush, close, then [`Command::Stopped`].
    Stop,
}

/// What a quorum wants done.
#[derive(Debug)]
pub enum Command {
    /// Perform this; its completion comes back as [`Event::DiskDone`].
    Disk(DiskRequest),
    /// This batch is committed: replay it. Each batch of the log comes exactly once in a process, in order.
    Committed(CommittedBatch),
    /// This node leads `epoch`, and all that was committed before has been handed out.
    Active { epoch: i32 },
    /// The answer of a fetch.
    Fetched { token: u64, response: FetchResponse },
    /// Flushed and closed.
    Stopped,
    /// The disk failed: the process must end.
    Failed(DiskError),
}

/// Where a committed batch came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Read back from the log at start.
    Loaded,
    /// Appended by this process.
    Appended,
}

/// One committed batch; atomic.
#[derive(Clone, Debug)]
pub struct CommittedBatch {
    /// Offset of the first record.
    pub base_offset: i64,
    /// Offset of the last record, control records included.
    pub last_offset: i64,
    /// Leader epoch that wrote it.
    pub epoch: i32,
    /// Its records; empty for a control batch. The n-th has the offset `base_offset + n`.
    pub records: Vec<MetadataRecord>,
    /// Loaded or appended.
    pub origin: Origin,
}

/// What this node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Loading, raising its epoch, or replaying: serves nobody.
    Loading,
    /// Leads.
    Leader,
    /// Stopping, stopped or failed.
    Resigned,
}

/// One voter of the metadata quorum.
pub struct Quorum {
    config: QuorumConfig,
    guards: Guards,
    observe: Observe,
    phase: Phase,
    epoch: i32,
}

enum Phase {
    New,
    Opening(Opening),
    Leading(Box<Leading>),
    /// Waits for `open` disk operations of the closed log.
    Closing {
        log: Box<Log>,
        open: usize,
    },
    Over,
}

/// The leader of an epoch.
struct Leading {
    log: Box<Log>,
    voters: Voters,
    /// The next offset to replay of what was there at start; `None` once all is.
    replay_from: Option<i64>,
    /// Appended, not yet committed.
    appended: VecDeque<CommittedBatch>,
    /// A flush is under way. One at a time: what is appended meanwhile shares the next one.
    flushing: bool,
    reads: BTreeMap<Ticket, Read>,
    parked: Vec<Parked>,
    /// Disk operations of the log that have not ended.
    open: usize,
}

/// What a read of the log is for.
enum Read {
    Replay,
    Answer { token: u64, ask: Ask },
}

impl Quorum {
    /// A voter that has not started.
    pub fn new(config: QuorumConfig, guards: Guards, observe: Observe) -> Quorum {
        assert_eq!(config.voters, [config.node], "one voter for now, and it is this node");
        Quorum { config, guards, observe, phase: Phase::New, epoch: 0 }
    }

    /// One event.
    pub fn step(&mut self, now: Now, event: Event, out: &mut Outbox<Command>) {
        let before = self.high_watermark();
        match event {
            Event::Start => self.start(out),
            Event::Fetch { token, request } => self.fetch(now, token, &request, out),
            Event::DiskDone(done) => self.disk_done(now, done, out),
            Event::Deadline => self.answer_late(now, out),
            Event::Stop => self.stop(now, out),
        }
        let resigned = self.role() == Role::Resigned;
        assert!(resigned || self.high_watermark() >= before, "the high watermark moved back");
    }

    /// Appends one atomic batch and flushes it; it comes back as [`Command::Committed`]. Answers its base offset.
    /// Errors: `NotController` unless leading, `MessageTooLarge` if the batch exceeds `max_message_bytes`.
    pub fn append(
        &mut self,
        now: Now,
        records: Vec<MetadataRecord>,
        out: &mut Outbox<Command>,
    ) -> Result<i64, ErrorCode> {
        assert!(!records.is_empty(), "an empty batch");
        if self.role() != Role::Leader {
            return Err(ErrorCode::NotController);
        }
        let mut builder = BatchBuilder::new(now.wall_ms);
        for record in &records {
            builder.push(now.wall_ms, None, Some(&record.encode()), &[]);
        }
        if builder.estimated_size() > self.config.log.max_message_bytes as usize {
            return Err(ErrorCode::MessageTooLarge);
        }
        let epoch = self.epoch;
        let leading = self.leading_mut().expect("a leader leads");
        let (base_offset, last_offset) = leading.append(now, builder.build(), epoch, out)?;
        leading.appended.push_back(CommittedBatch {
            base_offset,
            last_offset,
            epoch,
            records,
            origin: Origin::Appended,
        });
        Ok(base_offset)
    }

    /// When [`Event::Deadline`] is due, monotonic nanoseconds.
    pub fn deadline(&self) -> Option<u64> {
        self.leading()?.parked.iter().map(|parked| parked.deadline_ns).min()
    }

    /// What this node is.
    pub fn role(&self) -> Role {
        match &self.phase {
            Phase::New | Phase::Opening(_) => Role::Loading,
            Phase::Leading(leading) if leading.replay_from.is_some() => Role::Loading,
            Phase::Leading(_) => Role::Leader,
            Phase::Closing { .. } | Phase::Over => Role::Resigned,
        }
    }

    /// The epoch that this node leads; 0 before the first.
    pub fn epoch(&self) -> i32 {
        self.epoch
    }

    /// All below is committed; 0 until known.
    pub fn high_watermark(&self) -> i64 {
        self.leading().map_or(0, |leading| leading.voters.high_watermark())
    }

    /// The offset that the next appended record gets; 0 unless leading.
    pub fn next_offset(&self) -> i64 {
        self.leading().map_or(0, |leading| leading.log.next_offset())
    }

    fn leading(&self) -> Option<&Leading> {
        match &self.phase {
            Phase::Leading(leading) => Some(leading),
            _ => None,
        }
    }

    fn leading_mut(&mut self) -> Option<&mut Leading> {
        match &mut self.phase {
            Phase::Leading(leading) => Some(leading),
            _ => None,
        }
    }

    fn start(&mut self, out: &mut Outbox<Command>) {
        assert!(matches!(self.phase, Phase::New), "started twice");
        let mut disk = Outbox::new();
        self.phase = Phase::Opening(Opening::start(&self.config, self.guards, self.observe.clone(), &mut disk));
        ask(disk, out);
    }

    fn disk_done(&mut self, now: Now, done: DiskDone, out: &mut Outbox<Command>) {
        match &mut self.phase {
            Phase::New => panic!("a completion before the start"),
            Phase::Opening(opening) => {
                let mut disk = Outbox::new();
                let opened = opening.disk_done(&self.config, now, done, &mut disk);
                ask(disk, out);
                self.opened(now, opened, out);
            }
            Phase::Leading(leading) => {
                let failed = leading.disk_done(done, self.config.node, self.epoch, out);
                if let Some(error) = failed {
                    self.fail(error, out);
                }
            }
            Phase::Closing { log, open } => {
                let mut progress = Outbox::new();
                log.disk_done(done, &mut progress);
                let failed = progress.drain().find_map(failure);
                *open -= 1;
                let closed = *open == 0;
                match failed {
                    Some(error) => self.fail(error, out),
                    None if closed => self.end(Command::Stopped, out),
                    None => {}
                }
            }
            Phase::Over => {}
        }
    }

    fn opened(&mut self, now: Now, opened: Opened, out: &mut Outbox<Command>) {
        match opened {
            Opened::NotYet => {}
            Opened::Failed(error) => self.fail(error, out),
            Opened::Lead { log, epoch } => self.lead(now, log, epoch, out),
        }
    }

    /// Opens the epoch: its LeaderChange must be durable before anything counts as committed (K6).
    fn lead(&mut self, now: Now, mut log: Box<Log>, epoch: i32, out: &mut Outbox<Command>) {
        assert!(log.latest_epoch().is_none_or(|latest| latest < epoch), "an old epoch is led again (K02)");
        self.epoch = epoch;
        let epoch_start = log.next_offset();
        let mut disk = Outbox::new();
        log.assign_epoch(epoch, epoch_start, &mut disk);
        let mut leading = Leading {
            replay_from: Some(log.log_start_offset()),
            log,
            voters: Voters::new(&self.config.voters, epoch_start),
            appended: VecDeque::new(),
            flushing: false,
            reads: BTreeMap::new(),
            parked: Vec::new(),
            open: ask(disk, out),
        };
        let placed = leading.append(now, leader_change(now, &self.config), epoch, out);
        assert_eq!(placed, Ok((epoch_start, epoch_start)), "the LeaderChange opens its epoch");
        self.phase = Phase::Leading(Box::new(leading));
    }

    fn fetch(&mut self, now: Now, token: u64, request: &FetchRequest, out: &mut Outbox<Command>) {
        let leads = self.role() == Role::Leader;
        let (node, epoch) = (self.config.node, self.epoch);
        let ask = match fetch::check_addressed(request, &self.config.cluster_id) {
            Ok(ask) => ask,
            Err(code) => return out.push(Command::Fetched { token, response: fetch::refused(code) }),
        };
        let Some(leading) = self.leading_mut().filter(|_| leads) else {
            let response = ask.error(ErrorCode::NotLeaderOrFollower, None, epoch, 0);
            return out.push(Command::Fetched { token, response });
        };
        if let Err(response) = ask.check(&leading.log, node, epoch, leading.voters.high_watermark()) {
            return out.push(Command::Fetched { token, response: *response });
        }
        let deadline_ns = now.after_ms(ask.max_wait_ms());
        if ask.fetch_offset() < leading.voters.high_watermark() {
            leading.answer(token, ask, node, epoch, out);
        } else if deadline_ns > now.mono_ns {
            leading.parked.push(Parked { token, ask, deadline_ns });
        } else {
            let response = ask.records(Bytes::new(), node, epoch, leading.voters.high_watermark(), &leading.log);
            out.push(Command::Fetched { token, response });
        }
    }

    /// Long polls whose time is over are answered without records.
    fn answer_late(&mut self, now: Now, out: &mut Outbox<Command>) {
        let (node, epoch) = (self.config.node, self.epoch);
        let Some(leading) = self.leading_mut() else { return };
        let (late, parked) = leading.parked.drain(..).partition(|parked| parked.deadline_ns <= now.mono_ns);
        leading.parked = parked;
        let late: Vec<Parked> = late;
        for Parked { token, ask, .. } in late {
            let response = ask.records(Bytes::new(), node, epoch, leading.voters.high_watermark(), &leading.log);
            out.push(Command::Fetched { token, response });
        }
    }

    fn stop(&mut self, now: Now, out: &mut Outbox<Command>) {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Leading(mut leading) => {
                leading.refuse_all(self.epoch, out);
                let mut disk = Outbox::new();
                leading.log.close(now, &mut disk);
                let open = leading.open + ask(disk, out);
                self.phase = Phase::Closing { log: leading.log, open };
                if open == 0 {
                    self.end(Command::Stopped, out);
                }
            }
            Phase::New | Phase::Opening(_) => out.push(Command::Stopped),
            closing @ Phase::Closing { .. } => self.phase = closing,
            Phase::Over => {}
        }
    }

    fn fail(&mut self, error: DiskError, out: &mut Outbox<Command>) {
        self.end(Command::Failed(error), out);
    }

    fn end(&mut self, last: Command, out: &mut Outbox<Command>) {
        self.phase = Phase::Over;
        out.push(last);
    }
}

impl Leading {
    fn append(
        &mut self,
        now: Now,
        batch: Batch,
        epoch: i32,
        out: &mut Outbox<Command>,
    ) -> Result<(i64, i64), ErrorCode> {
        let mut disk = Outbox::new();
        let placed = self.log.append_as_leader(now, vec![batch], epoch, &mut disk)?;
        self.open += ask(disk, out);
        self.flush(out);
        Ok(placed)
    }

    /// Flushes what is appended, unless a flush is under way already.
    fn flush(&mut self, out: &mut Outbox<Command>) {
        if self.flushing || self.log.durable_end() >= self.log.next_offset() {
            return;
        }
        self.flushing = true;
        let mut disk = Outbox::new();
        self.log.flush(&mut disk);
        self.open += ask(disk, out);
    }

    fn disk_done(&mut self, done: DiskDone, node: NodeId, epoch: i32, out: &mut Outbox<Command>) -> Option<DiskError> {
        assert!(done.ticket.0 < OWN_TICKETS, "nothing own is asked while leading");
        let mut progress = Outbox::new();
        self.log.disk_done(done, &mut progress);
        self.open -= 1;
        for one in progress.drain() {
            match one {
                // The metadata log is never compacted.
                Progress::Appended { .. } | Progress::Swapped => {}
                Progress::Flushed { .. } => self.flushed(node, epoch, out),
                Progress::Read { ticket, result } => {
                    if let Err(error) = self.read_done(ticket, result, node, epoch, out) {
                        return Some(error);
                    }
                }
                Progress::Failed(error) => return Some(error),
            }
        }
        None
    }

    /// What is durable counts; what that commits is handed out, and whoever waited for it is answered.
    fn flushed(&mut self, node: NodeId, epoch: i32, out: &mut Outbox<Command>) {
        self.flushing = false;
        let moved = self.voters.durable(node, self.log.durable_end());
        self.flush(out);
        if !moved {
            return;
        }
        if self.replay_from.is_some() {
            return self.replay_on(epoch, out);
        }
        let high_watermark = self.voters.high_watermark();
        while self.appended.front().is_some_and(|batch| batch.last_offset < high_watermark) {
            out.push(Command::Committed(self.appended.pop_front().expect("just seen")));
        }
        let (ready, parked) = self.parked.drain(..).partition(|parked| parked.ask.fetch_offset() < high_watermark);
        self.parked = parked;
        let ready: Vec<Parked> = ready;
        for Parked { token, ask, .. } in ready {
            self.answer(token, ask, node, epoch, out);
        }
    }

    /// Asks for the next piece of what was there at start, or ends the replay.
    fn replay_on(&mut self, epoch: i32, out: &mut Outbox<Command>) {
        let from = self.replay_from.expect("the replay is not over");
        let high_watermark = self.voters.high_watermark();
        if from == high_watermark {
            self.replay_from = None;
            return out.push(Command::Active { epoch });
        }
        assert!(from < high_watermark, "replayed beyond the high watermark");
        self.read(from, REPLAY_BYTES, high_watermark, Read::Replay, out);
    }

    /// Reads records for an observer, below the high watermark of this instant: the answer carries that bound.
    fn answer(&mut self, token: u64, mut ask: Ask, node: NodeId, epoch: i32, out: &mut Outbox<Command>) {
        let high_watermark = self.voters.high_watermark();
        assert!(ask.fetch_offset() < high_watermark, "nothing to answer with");
        ask.bound(node, epoch, high_watermark);
        self.read(ask.fetch_offset(), ask.max_bytes(), high_watermark, Read::Answer { token, ask }, out);
    }

    fn read(&mut self, from: i64, max_bytes: u32, below: i64, read: Read, out: &mut Outbox<Command>) {
        let plan = self.log.plan_read(from, max_bytes, below, true).expect("the log holds what is committed");
        let mut disk = Outbox::new();
        let ticket = self.log.start_read(plan, &mut disk);
        self.open += ask(disk, out);
        let other = self.reads.insert(ticket, read);
        assert!(other.is_none(), "two reads with one ticket");
    }

    fn read_done(
        &mut self,
        ticket: Ticket,
        result: Result<Bytes, ReadError>,
        node: NodeId,
        epoch: i32,
        out: &mut Outbox<Command>,
    ) -> Result<(), DiskError> {
        let Some(read) = self.reads.remove(&ticket) else { return Ok(()) };
        match (read, result) {
            (Read::Replay, Ok(bytes)) => self.replay(&bytes, epoch, out),
            (Read::Replay, Err(ReadError::Again)) => {
                self.replay_on(epoch, out);
                Ok(())
            }
            (Read::Answer { token, ask }, Ok(bytes)) => {
                let response = ask.bounded_records(bytes, &self.log);
                out.push(Command::Fetched { token, response });
                Ok(())
            }
            (Read::Answer { token, ask }, Err(ReadError::Again)) => {
                self.answer(token, ask, node, epoch, out);
                Ok(())
            }
            // The only copy of the metadata: a process that cannot read it must not go on.
            (_, Err(error)) => Err(self.broken(format!("a committed record cannot be read: {error:?}"))),
        }
    }

    fn replay(&mut self, bytes: &Bytes, epoch: i32, out: &mut Outbox<Command>) -> Result<(), DiskError> {
        for batch in split(bytes) {
            let committed = batch.and_then(|batch| loaded(&batch));
            let committed = committed.map_err(|error| self.broken(error.to_string()))?;
            let from = self.replay_from.as_mut().expect("the replay is not over");
            assert_eq!(committed.base_offset, *from, "a gap in the metadata log");
            *from = committed.last_offset + 1;
            out.push(Command::Committed(committed));
        }
        self.replay_on(epoch, out);
        Ok(())
    }

    fn broken(&self, message: String) -> DiskError {
        DiskError::Io { path: self.log.dir().to_owned(), message }
    }

    /// Nobody is left without an answer when this node resigns.
    fn refuse_all(&mut self, epoch: i32, out: &mut Outbox<Command>) {
        let parked = self.parked.drain(..).map(|parked| (parked.token, parked.ask));
        let reading = std::mem::take(&mut self.reads).into_values().filter_map(|read| match read {
            Read::Answer { token, ask } => Some((token, ask)),
            Read::Replay => None,
        });
        for (token, ask) in parked.chain(reading) {
            let response = ask.error(ErrorCode::NotLeaderOrFollower, None, epoch, 0);
            out.push(Command::Fetched { token, response });
        }
    }
}

/// A batch of the log as the controller replays it.
fn loaded(batch: &Batch) -> Result<CommittedBatch, WireError> {
    let mut values = Vec::new();
    if !batch.header.is_control() {
        for record in records(batch) {
            let value = record?.value.ok_or(WireError::UnexpectedNull)?;
            values.push(MetadataRecord::decode(&value)?);
        }
    }
    Ok(CommittedBatch {
        base_offset: batch.header.base_offset,
        last_offset: batch.header.last_offset(),
        epoch: batch.header.partition_leader_epoch,
        records: values,
        origin: Origin::Loaded,
    })
}

/// The control batch that opens an epoch: key (version 0, type 2), value LeaderChangeMessage version 0.
fn leader_change(now: Now, config: &QuorumConfig) -> Batch {
    let voter = |node: &NodeId| Voter { voter_id: node.0, ..Voter::default() };
    let message = LeaderChangeMessage {
        leader_id: config.node.0,
        voters: config.voters.iter().map(voter).collect(),
        granting_voters: vec![voter(&config.node)],
        ..LeaderChangeMessage::default()
    };
    let mut value = Vec::new();
    message.encode(&mut value, 0);
    BatchBuilder::new(now.wall_ms).control().push(now.wall_ms, Some(&[0, 0, 0, 2]), Some(&value), &[]).build()
}

/// Hands on a log's disk requests; answers how many.
fn ask(mut disk: Outbox<DiskRequest>, out: &mut Outbox<Command>) -> usize {
    let count = disk.len();
    for request in disk.drain() {
        out.push(Command::Disk(request));
    }
    count
}

fn failure(progress: Progress) -> Option<DiskError> {
    match progress {
        Progress::Failed(error) => Some(error),
        _ => None,
    }
}
