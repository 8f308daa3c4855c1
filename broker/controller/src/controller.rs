//! The machine.

use crate::draft::Draft;
use crate::sessions::Sessions;
use crate::{ControllerConfig, ControllerRequest, ControllerResponse, MetadataImage, notes};
use klamm_base::{
    DiskDone, DiskError, DiskRequest, Draws, Election, ErrorCode, Guards, Mark, Now, Observation, Observe, Outbox,
};
use klamm_quorum::{CommittedBatch, Origin, Quorum, QuorumConfig};
use klamm_wire::messages::{AllocateProducerIdsResponse, AlterPartitionResponse, AssignReplicasToDirsResponse};
use klamm_wire::messages::{BrokerHeartbeatResponse, BrokerRegistrationResponse};
use std::collections::VecDeque;

/// A decision is one atomic batch: it must fit, however many partitions a broker leaves at once.
const MAX_BATCH_BYTES: u32 = 64 << 20;
/// No further request joins a batch that holds this many records.
const MANY_RECORDS: usize = 4096;

/// What a controller takes.
#[derive(Debug)]
pub enum Event {
    /// Load and become active. Once.
    Start,
    /// A request; `token` comes back with the reply.
    Request { token: u64, request: ControllerRequest },
    /// A disk operation ended.
    DiskDone(DiskDone),
    /// [`Controller::deadline`] passed.
    Deadline,
    /// Flush, close, then [`Command::Stopped`].
    Stop,
}

/// What a controller wants done.
#[derive(Debug)]
pub enum Command {
    /// Perform this; its completion comes back as [`Event::DiskDone`].
    Disk(DiskRequest),
    /// Answer a request.
    Reply { token: u64, response: ControllerResponse },
    /// Flushed and closed.
    Stopped,
    /// The disk failed: the process must end.
    Failed(DiskError),
}

/// The controller of a cluster, on its own metadata log.
///
/// One batch is in flight at a time. Requests that come meanwhile wait; when it commits they are decided one after the
/// other, each seeing the records of those before it, and go out as the next batch together. So whatever a reply rests on
/// is committed when it leaves.
pub struct Controller {
    config: ControllerConfig,
    draws: Draws,
    observe: Observe,
    quorum: Quorum,
    /// The fold of what is committed.
    committed: MetadataImage,
    /// The same, and what is in flight: decisions read this one.
    working: MetadataImage,
    sessions: Sessions,
    active: bool,
    queue: VecDeque<(u64, ControllerRequest)>,
    in_flight: Option<InFlight>,
    /// A session may have ended; looked at when the next batch is decided.
    expiry_due: bool,
    /// Observations of the last batch that was loaded: it alone may have been written and not observed before the crash.
    unsure: Vec<Observation>,
}

/// A batch that is appended but not committed.
struct InFlight {
    last_offset: i64,
    replies: Vec<(u64, ControllerResponse)>,
}

impl Controller {
    /// A controller that has not started. `draws` places replicas and makes topic ids.
    pub fn new(config: ControllerConfig, draws: Draws, guards: Guards, observe: Observe) -> Controller {
        let mut log = config.log;
        log.max_message_bytes = log.max_message_bytes.max(MAX_BATCH_BYTES);
        let quorum = QuorumConfig {
            node: config.node,
            voters: config.voters.clone(),
            cluster_id: config.cluster_id.clone(),
            dir: config.dir.clone(),
            log,
        };
        Controller {
            quorum: Quorum::new(quorum, guards, observe.clone()),
            sessions: Sessions::new(config.session_timeout_ms),
            config,
            draws,
            observe,
            committed: MetadataImage::default(),
            working: MetadataImage::default(),
            active: false,
            queue: VecDeque::new(),
            in_flight: None,
            expiry_due: false,
            unsure: Vec::new(),
        }
    }

    /// One event.
    pub fn step(&mut self, now: Now, event: Event, out: &mut Outbox<Command>) {
        let mut commands = Outbox::new();
        match event {
            Event::Start => self.quorum.step(now, klamm_quorum::Event::Start, &mut commands),
            Event::Request { token, request } => self.request(now, token, request, &mut commands, out),
            Event::DiskDone(done) => self.quorum.step(now, klamm_quorum::Event::DiskDone(done), &mut commands),
            Event::Deadline => {
                self.expiry_due = self.active;
                self.quorum.step(now, klamm_quorum::Event::Deadline, &mut commands);
            }
            Event::Stop => self.stop(now, &mut commands, out),
        }
        self.follow(now, &mut commands, out);
        while self.active && self.in_flight.is_none() && self.has_work() {
            self.write(now, &mut commands, out);
            self.follow(now, &mut commands, out);
        }
        self.check();
    }

    /// When [`Event::Deadline`] is due, monotonic nanoseconds.
    pub fn deadline(&self) -> Option<u64> {
        let expiry = self.sessions.next_expiry(&self.working).filter(|_| self.active && !self.expiry_due);
        expiry.into_iter().chain(self.quorum.deadline()).min()
    }

    /// True once it leads and has replayed all that was committed before.
    pub fn is_active(&self) -> bool {
        self.active
    }

    /// The committed metadata.
    pub fn image(&self) -> &MetadataImage {
        &self.committed
    }

    /// Epoch of the metadata log; 0 before the first.
    pub fn epoch(&self) -> i32 {
        self.quorum.epoch()
    }

    /// All metadata below is committed.
    pub fn high_watermark(&self) -> i64 {
        self.quorum.high_watermark()
    }

    /// Fetches go to the quorum; all else waits for its turn, or is refused while this controller is not active.
    fn request(
        &mut self,
        now: Now,
        token: u64,
        request: ControllerRequest,
        commands: &mut Outbox<klamm_quorum::Command>,
        out: &mut Outbox<Command>,
    ) {
        match request {
            ControllerRequest::Fetch(request) => {
                self.quorum.step(now, klamm_quorum::Event::Fetch { token, request }, commands);
            }
            request if self.active => self.queue.push_back((token, request)),
            request => out.push(Command::Reply { token, response: request.refused(ErrorCode::NotController) }),
        }
    }

    /// What was not decided is refused; what is in flight has an unknown outcome and gets no answer.
    fn stop(&mut self, now: Now, commands: &mut Outbox<klamm_quorum::Command>, out: &mut Outbox<Command>) {
        self.active = false;
        self.in_flight = None;
        for (token, request) in self.queue.drain(..) {
            out.push(Command::Reply { token, response: request.refused(ErrorCode::NotController) });
        }
        self.quorum.step(now, klamm_quorum::Event::Stop, commands);
    }

    fn follow(&mut self, now: Now, commands: &mut Outbox<klamm_quorum::Command>, out: &mut Outbox<Command>) {
        for command in commands.drain() {
            match command {
                klamm_quorum::Command::Disk(request) => out.push(Command::Disk(request)),
                klamm_quorum::Command::Committed(batch) => self.committed(&batch, out),
                klamm_quorum::Command::Active { epoch } => self.activate(now, epoch),
                klamm_quorum::Command::Fetched { token, response } => {
                    out.push(Command::Reply { token, response: ControllerResponse::Fetch(response) });
                }
                klamm_quorum::Command::Stopped => out.push(Command::Stopped),
                klamm_quorum::Command::Failed(error) => {
                    self.active = false;
                    out.push(Command::Failed(error));
                }
            }
        }
    }

    /// Replays a committed batch; the replies that rest on it leave.
    fn committed(&mut self, batch: &CommittedBatch, out: &mut Outbox<Command>) {
        let notes = notes::replay(&mut self.committed, &self.config, batch, self.observe.watched());
        match batch.origin {
            Origin::Loaded if batch.records.is_empty() => {}
            Origin::Loaded => self.unsure = notes,
            Origin::Appended => self.note(notes),
        }
        if self.in_flight.as_ref().is_some_and(|write| write.last_offset == batch.last_offset) {
            let write = self.in_flight.take().expect("just seen");
            assert!(write.last_offset < self.quorum.high_watermark(), "a reply before its records are committed");
            reply_all(write.replies, out);
        }
    }

    fn activate(&mut self, now: Now, epoch: i32) {
        assert_eq!(self.committed.epoch, epoch, "the epoch's own LeaderChange is replayed first");
        self.working = self.committed.clone();
        self.sessions.refresh_all(now, &self.working);
        self.active = true;
        let unsure = std::mem::take(&mut self.unsure);
        self.note(unsure);
    }

    fn note(&self, notes: Vec<Observation>) {
        for fact in notes {
            match fact {
                Observation::PartitionChanged { election: Election::Unclean, .. } => {
                    self.observe.mark(Mark::UncleanElection);
                }
                Observation::PartitionChanged { leader: None, .. } => self.observe.mark(Mark::Leaderless),
                _ => {}
            }
            self.observe.note(|| fact);
        }
    }

    fn has_work(&self) -> bool {
        self.expiry_due || !self.queue.is_empty()
    }

    /// Decides what waits, and appends what that yields as one batch.
    fn write(&mut self, now: Now, commands: &mut Outbox<klamm_quorum::Command>, out: &mut Outbox<Command>) {
        let base_offset = self.quorum.next_offset();
        let mut draft = Draft {
            now,
            config: &self.config,
            image: &mut self.working,
            sessions: &mut self.sessions,
            draws: &mut self.draws,
            observe: &self.observe,
            base_offset,
            records: Vec::new(),
        };
        let mut replies = Vec::new();
        while draft.records.len() < MANY_RECORDS
            && let Some((token, request)) = self.queue.pop_front()
        {
            replies.push((token, decide(&mut draft, &request)));
        }
        if std::mem::take(&mut self.expiry_due) {
            draft.fence_expired();
        }
        let records = draft.records;
        if records.is_empty() {
            return reply_all(replies, out);
        }
        let last_offset = base_offset + records.len() as i64 - 1;
        self.working.advance(last_offset, self.quorum.epoch());
        let appended = self.quorum.append(now, records, commands);
        assert_eq!(appended, Ok(base_offset), "an active controller can append, and where it said");
        self.in_flight = Some(InFlight { last_offset, replies });
    }

    fn check(&self) {
        let settled = !self.active || self.in_flight.is_some();
        assert!(settled || self.working.offset == self.committed.offset, "idle, but not all is committed");
        assert!(!self.active || self.in_flight.is_some() || !self.has_work(), "work is left lying");
        assert!(self.working.next_producer_id >= self.committed.next_producer_id || !self.active);
    }
}

fn reply_all(replies: Vec<(u64, ControllerResponse)>, out: &mut Outbox<Command>) {
    for (token, response) in replies {
        out.push(Command::Reply { token, response });
    }
}

/// Decides one request against the working image.
fn decide(draft: &mut Draft<'_>, request: &ControllerRequest) -> ControllerResponse {
    let decided = match request {
        ControllerRequest::BrokerRegistration(wish) => {
            draft.register(wish).map(|it: BrokerRegistrationResponse| ControllerResponse::BrokerRegistration(it))
        }
        ControllerRequest::BrokerHeartbeat(beat) => {
            draft.heartbeat(beat).map(|it: BrokerHeartbeatResponse| ControllerResponse::BrokerHeartbeat(it))
        }
        ControllerRequest::AlterPartition(proposal) => {
            draft.alter_partitions(proposal).map(|it: AlterPartitionResponse| ControllerResponse::AlterPartition(it))
        }
        ControllerRequest::CreateTopics(topics, _) => Ok(ControllerResponse::CreateTopics(draft.create_topics(topics))),
        ControllerRequest::AllocateProducerIds(wish) => draft
            .allocate_producer_ids(wish)
            .map(|it: AllocateProducerIdsResponse| ControllerResponse::AllocateProducerIds(it)),
        ControllerRequest::AssignReplicasToDirs(wish) => draft
            .assign_replicas(wish)
            .map(|it: AssignReplicasToDirsResponse| ControllerResponse::AssignReplicasToDirs(it)),
        ControllerRequest::Fetch(_) => Err(ErrorCode::InvalidRequest),
    };
    decided.unwrap_or_else(|code| request.refused(code))
}
