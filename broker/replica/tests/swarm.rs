//! Three replicas and a model of the controller under drawn faults: late metadata, lost and late messages, slow disks,
//! kills, fencing. What acks=all acknowledged must be in the log at the end, and all logs must be equal.

#[path = "../../log/tests/disk/mod.rs"]
mod disk;

use disk::Disk;
use klamm_base::{
    DiskDone, DiskRequest, Draws, ErrorCode, Guard, Guards, NodeId, Now, Observe, Outbox, Source, TopicPartition, Uuid,
};
use klamm_log::LogConfig;
use klamm_replica::*;
use klamm_wire::records::{BatchBuilder, split};
use std::collections::{BTreeMap, VecDeque};

const NODES: i32 = 3;
const LAG_MS: i64 = 4_000;

/// A broker: its process may be down, its disk stays.
struct Node {
    replica: Option<Replica>,
    disk: Disk,
    queue: VecDeque<DiskRequest>,
    broker_epoch: i64,
    /// How much of the controller's history it knows.
    known: usize,
    /// A fetch of it is under way.
    fetching: bool,
    alive_in_metadata: bool,
}

/// What is under way between processes; `life` is the broker epoch of who waits for an answer.
enum Message {
    Fetch { from: i32, life: i64, asked: FollowerQuery },
    Answer { to: i32, life: i64, answer: FollowerAnswer },
    Alter { from: i32, life: i64, proposal: AlterProposal },
    Altered { to: i32, life: i64, result: Result<AlteredPartition, AlterFailure> },
}

struct Swarm {
    draws: Draws,
    guards: Guards,
    nodes: BTreeMap<i32, Node>,
    /// Every state that the controller committed.
    history: Vec<PartitionState>,
    wire: Vec<Message>,
    now: Now,
    next_ticket: u64,
    /// Open fetches: who asked, in which life, and what.
    open: BTreeMap<u64, (i32, i64, FollowerQuery)>,
    /// Identity of what each produce sent.
    sent: BTreeMap<u64, (i16, u64)>,
    /// Offset and identity of what acks=all acknowledged.
    acked: BTreeMap<i64, u64>,
    /// A process that dies may take its machine's power with it.
    power: bool,
    /// Offsets at which two records were acknowledged.
    contradictions: usize,
    next_broker_epoch: i64,
    /// Of a follower's fetch: small, so that it lags.
    max_bytes: u32,
    /// The final reading.
    read: Option<FetchAnswerOut>,
}

impl Swarm {
    fn new(seed: u64, guards: Guards) -> Swarm {
        let state = PartitionState {
            leader: Some(NodeId(1)),
            leader_epoch: 1,
            partition_epoch: 1,
            replicas: (1..=NODES).map(NodeId).collect(),
            isr: (1..=NODES).map(NodeId).collect(),
            recovering: false,
            eligible: Vec::new(),
        };
        let mut swarm = Swarm {
            draws: Draws::from_seed(seed),
            guards,
            nodes: BTreeMap::new(),
            history: vec![state],
            wire: Vec::new(),
            now: Now { mono_ns: 0, wall_ms: 1_000_000 },
            next_ticket: 0,
            open: BTreeMap::new(),
            sent: BTreeMap::new(),
            acked: BTreeMap::new(),
            power: false,
            contradictions: 0,
            next_broker_epoch: 0,
            max_bytes: 600,
            read: None,
        };
        for id in 1..=NODES {
            let node = Node {
                replica: None,
                disk: Disk::default(),
                queue: VecDeque::new(),
                broker_epoch: 0,
                known: 0,
                fetching: false,
                alive_in_metadata: false,
            };
            swarm.nodes.insert(id, node);
            swarm.start(id);
        }
        swarm
    }

    fn node(&mut self, id: i32) -> &mut Node {
        self.nodes.get_mut(&id).unwrap()
    }

    fn current(&self) -> PartitionState {
        self.history.last().unwrap().clone()
    }

    /// Commits a change; the leader stays if it may.
    fn commit(&mut self, mut next: PartitionState) {
        let old = self.current();
        let in_isr = |id: i32| next.isr.contains(&NodeId(id)) && self.nodes[&id].alive_in_metadata;
        let keeps = next.leader.is_some_and(|leader| in_isr(leader.0));
        if !keeps {
            next.leader = (1..=NODES).find(|id| in_isr(*id)).map(NodeId);
        }
        next.leader_epoch = old.leader_epoch + i32::from(next.leader != old.leader);
        next.partition_epoch = old.partition_epoch + 1;
        next.eligible = Vec::new();
        let alive = self.nodes.iter().filter(|(_, node)| node.alive_in_metadata);
        next.eligible.extend(alive.map(|(id, node)| (NodeId(*id), node.broker_epoch)));
        self.history.push(next);
    }

    /// The controller fences a broker: it leaves the ISR unless it is the last member.
    fn fence(&mut self, id: i32) {
        if std::mem::replace(&mut self.node(id).alive_in_metadata, false) {
            let mut next = self.current();
            if next.isr.len() > 1 {
                next.isr.retain(|member| *member != NodeId(id));
            }
            if next.leader == Some(NodeId(id)) {
                next.leader = None;
            }
            self.commit(next);
        }
    }

    fn unfence(&mut self, id: i32) {
        if self.nodes[&id].replica.is_some() && !std::mem::replace(&mut self.node(id).alive_in_metadata, true) {
            self.commit(self.current());
        }
    }

    fn kill(&mut self, id: i32) {
        let power_lost = self.power && self.draws.chance(1, 2);
        let node = self.nodes.get_mut(&id).unwrap();
        if power_lost {
            node.disk.lose_power(&mut self.draws);
        }
        node.replica = None;
        node.queue.clear();
        node.fetching = false;
        let open = std::mem::take(&mut self.open);
        let (broken, kept) = open.into_iter().partition(|(_, (from, _, asked))| *from == id || asked.leader.0 == id);
        self.open = kept;
        let broken: BTreeMap<u64, (i32, i64, FollowerQuery)> = broken;
        broken.into_values().for_each(|(from, life, _)| self.fetch_ended(from, life));
    }

    /// A new process; the controller has fenced the old one before, and the new one catches up with metadata before it is
    /// unfenced.
    fn start(&mut self, id: i32) {
        if self.nodes[&id].replica.is_some() {
            return;
        }
        self.fence(id);
        self.next_broker_epoch += 1;
        let broker_epoch = self.next_broker_epoch;
        let config = ReplicaConfig {
            node: NodeId(id),
            tp: TopicPartition { topic: Uuid(9), partition: 0 },
            min_insync_replicas: 1,
            replica_lag_time_max_ms: LAG_MS,
            log: LogConfig { segment_bytes: 1_000, ..LogConfig::default() },
        };
        let observe = Observe::nobody(Source::Node(NodeId(id)));
        let replica = Replica::new(config, "data/orders-0".to_owned(), Remembered::default(), self.guards, observe);
        let node = self.node(id);
        (node.replica, node.broker_epoch) = (Some(replica), broker_epoch);
        self.step(id, Event::Start);
        self.unfence(id);
        self.node(id).known = self.history.len() - 1;
        self.step(id, Event::State(self.current()));
    }

    fn step(&mut self, id: i32, event: Event) {
        let (now, mut out) = (self.now, Outbox::new());
        let Some(replica) = &mut self.node(id).replica else { return };
        replica.step(now, event, &mut out);
        for command in out.drain() {
            self.perform(id, command);
        }
    }

    fn perform(&mut self, id: i32, command: Command) {
        let life = self.nodes[&id].broker_epoch;
        match command {
            Command::Disk(request) => self.node(id).queue.push_back(request),
            Command::Produced { ticket, result } => {
                let (acks, identity) = self.sent.remove(&ticket).expect("answered once");
                if let (-1, Ok(at)) = (acks, result) {
                    let other = self.acked.insert(at.base_offset, identity);
                    self.contradictions += usize::from(other.is_some());
                }
            }
            Command::Fetched { ticket: 0, answer } => self.read = Some(answer),
            Command::Fetched { ticket, answer } => {
                let Some((to, life, asked)) = self.open.remove(&ticket) else { return };
                let answer = FollowerAnswer {
                    leader_epoch: asked.leader_epoch,
                    fetch_offset: asked.fetch_offset,
                    error: answer.error,
                    diverging: answer.diverging,
                    high_watermark: answer.high_watermark,
                    log_start_offset: answer.log_start_offset,
                    records: answer.records,
                };
                self.wire.push(Message::Answer { to, life, answer });
            }
            Command::Alter(proposal) => self.wire.push(Message::Alter { from: id, life, proposal }),
            Command::Progress | Command::Truncated => {}
            Command::OffsetListed { .. } | Command::RecordsDeleted { .. } | Command::CleanEnded | Command::Stopped => {
                panic!("nobody asked for it")
            }
            Command::Failed(error) => panic!("the disk is fine: {error}"),
        }
    }

    fn disk(&mut self, id: i32) {
        let node = self.node(id);
        if let Some(DiskRequest { ticket, op }) = node.queue.pop_front() {
            let result = node.disk.perform(op);
            self.step(id, Event::DiskDone(DiskDone { ticket, result }));
        }
    }

    fn ask(&mut self, id: i32) {
        let node = self.node(id);
        let asked = node.replica.as_ref().and_then(Replica::next_fetch).filter(|_| !node.fetching);
        if let Some(asked) = asked {
            node.fetching = true;
            let life = node.broker_epoch;
            self.wire.push(Message::Fetch { from: id, life, asked });
        }
    }

    fn learn(&mut self, id: i32) {
        let next = self.nodes[&id].known + 1;
        if self.nodes[&id].replica.is_some() && next < self.history.len() {
            self.node(id).known = next;
            self.step(id, Event::State(self.history[next].clone()));
        }
    }

    fn learn_all(&mut self, id: i32) {
        (0..self.history.len()).for_each(|_| self.learn(id));
    }

    fn produce(&mut self, id: i32, acks: i16) {
        if self.nodes[&id].replica.is_none() {
            return;
        }
        self.next_ticket += 1;
        let ticket = self.next_ticket;
        let mut builder = BatchBuilder::new(self.now.wall_ms);
        for _ in 0..self.draws.between(1, 3) {
            builder.push(self.now.wall_ms, None, Some(&ticket.to_be_bytes()), &[]);
        }
        let batch = builder.build();
        self.sent.insert(ticket, (acks, batch.header.identity()));
        let deadline_ns = self.now.after_ms(10_000);
        self.step(id, Event::Produce { ticket, acks, batches: vec![batch], deadline_ns });
    }

    /// True if the process that waits for this still lives.
    fn waits(&self, id: i32, life: i64) -> bool {
        self.nodes[&id].replica.is_some() && self.nodes[&id].broker_epoch == life
    }

    fn deliver(&mut self, message: Message, lost: bool) {
        match message {
            Message::Fetch { from, life, asked } => {
                let leader = asked.leader.0;
                if lost || self.nodes[&leader].replica.is_none() {
                    self.fetch_ended(from, life);
                    return;
                }
                self.next_ticket += 1;
                let ticket = self.next_ticket;
                let query = FetchQuery {
                    replica: Some((NodeId(from), life)),
                    current_leader_epoch: asked.leader_epoch,
                    fetch_offset: asked.fetch_offset,
                    last_fetched_epoch: asked.last_fetched_epoch,
                    log_start_offset: asked.log_start_offset,
                    max_bytes: self.max_bytes,
                    at_least_one: true,
                    read_committed: false,
                };
                self.open.insert(ticket, (from, life, asked));
                self.step(leader, Event::FollowerFetched(query.clone()));
                self.step(leader, Event::Fetch { ticket, query });
            }
            Message::Answer { to, life, answer } => {
                self.fetch_ended(to, life);
                if !lost && self.waits(to, life) {
                    self.step(to, Event::FetchAnswer(answer));
                }
            }
            Message::Alter { from, life, proposal } => {
                let result = if lost { Err(AlterFailure::Lost) } else { self.alter(from, life, &proposal) };
                self.wire.push(Message::Altered { to: from, life, result });
            }
            Message::Altered { to, life, result } => {
                if self.waits(to, life) {
                    let result = if lost { Err(AlterFailure::Lost) } else { result };
                    self.step(to, Event::AlterAnswer { result });
                }
            }
        }
    }

    fn fetch_ended(&mut self, id: i32, life: i64) {
        if self.waits(id, life) {
            self.node(id).fetching = false;
        }
    }

    /// The controller's checks, in their order.
    fn alter(&mut self, from: i32, life: i64, proposal: &AlterProposal) -> Result<AlteredPartition, AlterFailure> {
        let current = self.current();
        let refuse = |code| Err(AlterFailure::Code(code));
        if !self.nodes[&from].alive_in_metadata || self.nodes[&from].broker_epoch != life {
            return refuse(ErrorCode::StaleBrokerEpoch);
        }
        if proposal.leader_epoch != current.leader_epoch {
            return refuse(ErrorCode::FencedLeaderEpoch);
        }
        if proposal.partition_epoch != current.partition_epoch {
            return refuse(ErrorCode::InvalidUpdateVersion);
        }
        let ineligible = |(member, epoch): &(NodeId, i64)| {
            let node = &self.nodes[&member.0];
            !node.alive_in_metadata || (*epoch != -1 && *epoch != node.broker_epoch)
        };
        if proposal.isr.iter().any(ineligible) {
            return refuse(ErrorCode::IneligibleReplica);
        }
        let isr = proposal.isr.iter().map(|(member, _)| *member).collect();
        self.commit(PartitionState { isr, ..current });
        let PartitionState { leader, leader_epoch, partition_epoch, isr, recovering, .. } = self.current();
        Ok(AlteredPartition { leader, leader_epoch, isr, partition_epoch, recovering })
    }

    fn pass(&mut self, ms: u64) {
        self.now = Now { mono_ns: self.now.after_ms(ms), wall_ms: self.now.wall_ms + ms as i64 };
        for id in 1..=NODES {
            let deadline = self.nodes[&id].replica.as_ref().and_then(Replica::deadline);
            if deadline.is_some_and(|at| at <= self.now.mono_ns) {
                self.step(id, Event::Deadline);
            }
        }
    }

    fn act(&mut self) {
        let id = self.draws.between(1, NODES as u64) as i32;
        match self.draws.below(100) {
            0..30 => (0..self.draws.below(5)).for_each(|_| self.disk(id)),
            30..50 => self.ask(id),
            50..80 if !self.wire.is_empty() => {
                let message = self.wire.swap_remove(self.draws.below(self.wire.len() as u64) as usize);
                let lost = self.draws.chance(1, 12);
                self.deliver(message, lost);
            }
            80..85 => {
                let leader = self.current().leader.map_or(id, |leader| leader.0);
                let id = if self.draws.chance(3, 4) { leader } else { id };
                let acks = if self.draws.chance(3, 4) { -1 } else { 1 };
                self.produce(id, acks);
            }
            85..91 => self.learn(id),
            91 if self.draws.chance(1, 5) => self.strike(id),
            91 => self.start(id),
            92..94 => self.unfence(id),
            94..98 => self.start(id),
            _ => {
                let ms = self.draws.below(600);
                self.pass(ms);
            }
        }
    }

    /// Fences or kills a broker; a leader is struck more often, and the fresh one that comes after it sometimes at once.
    fn strike(&mut self, id: i32) {
        let leader = self.current().leader.map_or(id, |leader| leader.0);
        let id = if self.draws.chance(1, 2) { leader } else { id };
        match self.draws.below(4) {
            0 => self.fence(id),
            1 => self.kill(id),
            _ => {
                self.kill(id);
                self.fence(id);
            }
        }
        if self.draws.chance(1, 4) {
            (1..=NODES).for_each(|other| self.learn_all(other));
            if let Some(fresh) = self.current().leader {
                self.kill(fresh.0);
                self.fence(fresh.0);
            }
        }
    }

    /// Everything heals: all processes run, all messages and metadata arrive, until nothing moves any more. False if the
    /// logs do not become equal.
    fn heal(&mut self) -> bool {
        self.max_bytes = 1 << 20;
        for round in 0..200 {
            for id in 1..=NODES {
                self.start(id);
                self.unfence(id);
                self.learn_all(id);
                self.ask(id);
            }
            for message in std::mem::take(&mut self.wire) {
                self.deliver(message, false);
            }
            for id in 1..=NODES {
                while !self.nodes[&id].queue.is_empty() {
                    self.disk(id);
                }
            }
            self.pass(100);
            let all_in = self.current().isr.len() == NODES as usize;
            if round > 20 && all_in && self.settled() {
                return true;
            }
        }
        false
    }

    fn settled(&self) -> bool {
        let replicas: Vec<&Replica> = self.nodes.values().filter_map(|node| node.replica.as_ref()).collect();
        let end = replicas[0].log_end_offset();
        let equal = replicas.iter().all(|r| r.log_end_offset() == end && r.high_watermark() == end);
        equal && replicas.iter().all(|r| r.digest() == replicas[0].digest())
    }

    /// Reads the whole log from the leader: base offsets and identities.
    fn read_all(&mut self) -> BTreeMap<i64, u64> {
        let leader = self.current().leader.expect("healed").0;
        let mut all = BTreeMap::new();
        let mut at = 0;
        while at < self.nodes[&leader].replica.as_ref().unwrap().log_end_offset() {
            let query = FetchQuery {
                replica: None,
                current_leader_epoch: -1,
                fetch_offset: at,
                last_fetched_epoch: -1,
                log_start_offset: -1,
                max_bytes: 1 << 20,
                at_least_one: true,
                read_committed: false,
            };
            self.step(leader, Event::Fetch { ticket: 0, query });
            while self.read.is_none() {
                self.disk(leader);
            }
            for batch in split(&self.read.take().unwrap().records).map(Result::unwrap) {
                all.insert(batch.header.base_offset, batch.header.identity());
                at = batch.header.next_offset();
            }
        }
        all
    }

    /// What went wrong: acknowledgements that contradict each other, acknowledged records that are not in the log at the
    /// end, logs that never become equal.
    fn judge(mut self) -> (usize, usize, bool) {
        let equal = self.heal();
        let log = self.read_all();
        let lost = self.acked.iter().filter(|(at, identity)| log.get(at) != Some(identity)).count();
        (self.contradictions, lost, !equal)
    }
}

fn run(seed: u64, guards: Guards) -> Swarm {
    let mut swarm = Swarm::new(seed, guards);
    (0..ACTS).for_each(|_| swarm.act());
    swarm
}

/// Seeds of a run.
const SEEDS: u64 = 300;
/// What happens in one.
const ACTS: u64 = 3_000;

#[test]
fn what_acks_all_acknowledged_is_in_every_log_at_the_end() {
    let mut acked = 0;
    for seed in 0..SEEDS {
        let swarm = run(seed, Guards::default());
        acked += swarm.acked.len();
        let wrong = swarm.judge();
        assert_eq!(wrong, (0, 0, false), "seed {seed}: (contradictions, lost, unequal)");
    }
    assert!(acked > 10_000, "only {acked} records were acknowledged: this tested little");
}

#[test]
fn without_truncation_by_epoch_some_of_them_are_lost() {
    let guards = Guards::without(&[Guard::EpochTruncation]);
    let found = (0..SEEDS).filter(|seed| run(*seed, guards).judge() != (0, 0, false)).count();
    assert!(found > 0, "the guard protects from nothing");
}

#[test]
fn without_the_epoch_of_a_followers_last_record_some_logs_stay_apart() {
    let guards = Guards::without(&[Guard::RecordEpochs]);
    let found = (0..SEEDS).filter(|seed| run(*seed, guards).judge() != (0, 0, false)).count();
    assert!(found > 0, "the guard protects from nothing");
}

#[test]
fn after_power_losses_all_logs_become_equal() {
    for seed in 0..SEEDS {
        let mut swarm = Swarm::new(seed, Guards::default());
        swarm.power = true;
        (0..ACTS).for_each(|_| swarm.act());
        let (_, _, unequal) = swarm.judge();
        assert!(!unequal, "seed {seed}");
    }
}
