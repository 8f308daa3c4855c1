//! The node: one step for all.

use crate::alter::AlterQueue;
use crate::api::Api;
use crate::assignments::Assignments;
use crate::config::NodeConfig;
use crate::controller::ControllerHost;
use crate::dirs::LogDirs;
use crate::disk::DiskUse;
use crate::fetchers::Fetchers;
use crate::io::{Command, Endpoint, Event, SendError, SendId, Token};
use crate::lifecycle::Lifecycle;
use crate::metadata::Metadata;
use crate::partitions::Partitions;
use crate::phase::Phase;
use crate::purgatory::Purgatory;
use crate::request::{Head, OutBody, OutRequest};
use crate::response::{Answer, Response};
use crate::slab::Slab;
use crate::timers::{Timer, Timers};
use bytes::Bytes;
use klamm_base::{Draws, Guards, NodeId, Now, Observe, Outbox, Uuid};
use klamm_controller::MetadataImage;
use klamm_wire::Str;

/// One process. See the crate's text.
pub struct Node {
    pub(crate) config: NodeConfig,
    /// How this node names itself in its requests.
    pub(crate) client_id: Str,
    pub(crate) guards: Guards,
    pub(crate) observe: Observe,
    pub(crate) draws: Draws,
    pub(crate) phase: Phase,
    pub(crate) dirs: LogDirs,
    pub(crate) disk: Slab<DiskUse>,
    pub(crate) sends: Slab<SendUse>,
    pub(crate) timers: Timers,
    pub(crate) fired: Vec<Timer>,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) metadata: Metadata,
    pub(crate) partitions: Partitions,
    /// The slot whose log is being cleaned.
    pub(crate) cleaning: Option<u32>,
    pub(crate) fetchers: Fetchers,
    pub(crate) alters: AlterQueue,
    pub(crate) assignments: Assignments,
    pub(crate) purgatory: Purgatory,
    pub(crate) api: Api,
    pub(crate) controller: Option<ControllerHost>,
}

/// The instant of a step and where its commands go.
pub(crate) struct Cx<'a> {
    pub(crate) now: Now,
    pub(crate) out: &'a mut Outbox<Command>,
}

impl Cx<'_> {
    pub(crate) fn reply(&mut self, token: Token, head: Head, body: Answer) {
        self.out.push(Command::Reply { token, response: Response { head, body: Box::new(body) } });
    }
}

/// What a request of ours was for.
#[derive(Debug)]
pub(crate) enum SendUse {
    Register,
    Heartbeat,
    Metadata,
    /// To this leader.
    Fetch(NodeId),
    /// The slots whose ISR changes went along.
    Alter(Vec<u32>),
    Assign,
    ProducerIds,
    /// A client's CreateTopics and the topics it names; no token when its connection ended.
    Forward(Option<Token>, Head, Vec<Str>),
    /// Topics that Metadata requests named.
    AutoCreate(Vec<Str>),
}

impl Node {
    /// A node that has not started. `draws` are its own: its incarnation, its directory id, the controller's placement.
    pub fn new(config: NodeConfig, draws: Draws, guards: Guards, observe: Observe) -> Node {
        Node {
            client_id: format!("klamm-{}", config.node.0).into(),
            config,
            guards,
            observe,
            draws,
            phase: Phase::default(),
            dirs: LogDirs::default(),
            disk: Slab::default(),
            sends: Slab::default(),
            timers: Timers::default(),
            fired: Vec::new(),
            lifecycle: Lifecycle::default(),
            metadata: Metadata::default(),
            partitions: Partitions::default(),
            cleaning: None,
            fetchers: Fetchers::default(),
            alters: AlterQueue::default(),
            assignments: Assignments::default(),
            purgatory: Purgatory::default(),
            api: Api::default(),
            controller: None,
        }
    }

    /// Takes one event and leaves commands. Once [`Command::Stopped`] or [`Command::Fatal`] is out, it does nothing more.
    pub fn step(&mut self, now: Now, event: Event, out: &mut Outbox<Command>) {
        if self.phase.is_over() {
            return;
        }
        let mut cx = Cx { now, out };
        match event {
            Event::Start => self.boot(&mut cx),
            Event::Request { token, request } => self.request(token, request, &mut cx),
            Event::Gone { token } => self.gone(token),
            Event::Answered { id, result } => self.answered(id, result, &mut cx),
            Event::DiskDone { id, result } => self.disk_done(id, result, &mut cx),
            Event::Deadline => self.deadlines(&mut cx),
            Event::Stop => self.stop(&mut cx),
        }
        self.settle(&mut cx);
        self.check();
    }

    /// When [`Event::Deadline`] is due, monotonic nanoseconds; ask again after each step.
    pub fn deadline(&self) -> Option<u64> {
        self.timers.next().filter(|_| !self.phase.is_over())
    }

    /// `node.id`.
    pub fn id(&self) -> NodeId {
        self.config.node
    }

    /// Its configuration.
    pub fn config(&self) -> &NodeConfig {
        &self.config
    }

    /// This process's incarnation; zero before it starts.
    pub fn incarnation(&self) -> Uuid {
        self.lifecycle.incarnation
    }

    /// The metadata as this node's broker side knows it.
    pub fn image(&self) -> &MetadataImage {
        &self.metadata.image
    }

    /// True once the controller lets this broker lead and be in sync, as far as this broker knows.
    pub fn is_unfenced(&self) -> bool {
        self.lifecycle.unfenced
    }

    /// True when clients may come: its directories are read, and if it is a broker, the controller lets it lead, and metadata
    /// that it would answer with says so.
    pub fn is_ready(&self) -> bool {
        let may_lead = || self.lifecycle.unfenced && self.image().is_active(self.config.node);
        self.phase.serves() && (!self.config.roles.broker || may_lead())
    }

    fn answered(&mut self, id: SendId, result: Result<Bytes, SendError>, cx: &mut Cx) {
        match self.sends.remove(id.0) {
            None => {}
            Some(SendUse::Register) => self.registered(result, cx),
            Some(SendUse::Heartbeat) => self.heartbeat_answered(result, cx),
            Some(SendUse::Metadata) => self.metadata_fetched(result, cx),
            Some(SendUse::Fetch(leader)) => self.replicas_fetched(leader, id.0, result, cx),
            Some(SendUse::Alter(slots)) => self.altered(&slots, result, cx),
            Some(SendUse::Assign) => self.assigned(result, cx),
            Some(SendUse::ProducerIds) => self.producer_ids_answered(result, cx),
            Some(SendUse::Forward(token, head, names)) => self.forwarded((token, head, names), result, cx),
            Some(SendUse::AutoCreate(names)) => self.auto_created(&names),
        }
    }

    fn deadlines(&mut self, cx: &mut Cx) {
        let mut fired = std::mem::take(&mut self.fired);
        while let Some(timer) = self.timers.pop(cx.now.mono_ns) {
            fired.push(timer);
        }
        for timer in fired.drain(..) {
            self.fire(timer, cx);
        }
        self.fired = fired;
    }

    fn fire(&mut self, timer: Timer, cx: &mut Cx) {
        match timer {
            Timer::Controller => self.controller_deadline(cx),
            Timer::Lifecycle => self.lifecycle_due(cx),
            Timer::Metadata => self.fetch_metadata(cx),
            Timer::Alter => self.alters.wake(),
            Timer::Replica(slot) => self.replica_deadline(slot, cx),
            Timer::Fetcher(leader) => self.fetchers.touch(leader),
            Timer::Fetch(key) => self.fetch_expired(key, cx),
            Timer::Checkpoint(name) => self.checkpoint_due(name, cx),
            Timer::Retention => self.retention_due(cx),
            Timer::Clean => self.clean_due(cx),
            Timer::DirFailed => self.dir_failure_due(cx),
            Timer::Shutdown => self.stop_replicas(cx),
            Timer::Assign => self.assignments.wake(),
        }
    }

    /// What the step stirred up settles: parked fetches look again, followers fetch, ISR changes leave.
    fn settle(&mut self, cx: &mut Cx) {
        while let Some(slot) = self.partitions.pop_dirty() {
            self.look_at_parked(slot, cx);
            self.fetchers.touch_slot(slot, &self.partitions);
        }
        self.send_fetches(cx);
        self.send_alters(cx);
        self.send_assignments(cx);
    }

    /// Sends a request; the key of its [`SendUse`].
    pub(crate) fn send(
        &mut self,
        cx: &mut Cx,
        to: Endpoint,
        role: &'static str,
        use_: SendUse,
        request: (i16, OutBody),
        timeout_ms: u64,
    ) -> u64 {
        let key = self.sends.insert(use_);
        let (version, body) = request;
        let request = OutRequest { version, client_id: self.client_id.clone(), body: Box::new(body) };
        cx.out.push(Command::Send { to, role, id: SendId(key), request, timeout_ms });
        key
    }

    /// The process cannot go on.
    pub(crate) fn fatal(&mut self, message: String, cx: &mut Cx) {
        self.phase = Phase::Failed;
        cx.out.push(Command::Fatal { message });
    }

    /// Holds after every step.
    fn check(&self) {
        assert!(self.partitions.no_dirty(), "every touched partition was looked at");
        assert!(!self.metadata.published || self.lifecycle.broker_epoch >= 0, "roles come after the registration");
        assert!(self.metadata.published || self.partitions.len() == 0, "no replica before the first publication");
        assert!(self.fetchers.is_settled(), "every touched leader was looked at");
    }
}
