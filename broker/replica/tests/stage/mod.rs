//! Replicas of one partition on brokers b1, b2, …, stepped by hand; what they say and do is written down.
#![allow(dead_code, reason = "each test uses its part")]

#[path = "../../../log/tests/disk/mod.rs"]
mod disk;

use bytes::Bytes;
use disk::Disk;
use klamm_base::{
    DiskDone, DiskRequest, ErrorCode, Guards, NodeId, Now, Observation, Observe, Observer, Outbox, Source,
    TopicPartition, Uuid,
};
use klamm_log::LogConfig;
use klamm_replica::*;
use klamm_wire::records::{Batch, BatchBuilder, split_whole};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::sync::{Arc, Mutex};

pub const TP: TopicPartition = TopicPartition { topic: Uuid(9), partition: 0 };
/// `replica.lag.time.max.ms` of these brokers.
pub const LAG_MS: i64 = 10_000;

#[derive(Default)]
struct Seen(Mutex<Vec<Observation>>);

impl Observer for Seen {
    fn observe(&self, _source: Source, observation: Observation) {
        self.0.lock().unwrap().push(observation);
    }
}

struct Broker {
    replica: Replica,
    disk: Disk,
    queue: VecDeque<DiskRequest>,
    seen: Arc<Seen>,
    /// The disk does nothing until told to.
    slow: bool,
    /// How often it said that its log was cut.
    cuts: u32,
    /// The answer of the last fetch, as it came out.
    fetched: Option<FetchAnswerOut>,
}

/// Settings of a stage.
#[derive(Clone, Copy)]
pub struct Setting {
    pub brokers: i32,
    pub min_insync_replicas: i32,
    pub guards: Guards,
}

impl Default for Setting {
    fn default() -> Self {
        Self { brokers: 3, min_insync_replicas: 1, guards: Guards::default() }
    }
}

pub struct Stage {
    setting: Setting,
    brokers: BTreeMap<i32, Broker>,
    now: Now,
    pub text: String,
}

impl Stage {
    /// Brokers with empty logs; the loads are not written down.
    pub fn new(setting: Setting) -> Stage {
        let now = Now { mono_ns: 1_000_000_000, wall_ms: 1_000_000 };
        let mut stage = Stage { setting, brokers: BTreeMap::new(), now, text: String::new() };
        for id in 1..=setting.brokers {
            stage.boot(id, Disk::default());
        }
        stage.text.clear();
        stage
    }

    fn boot(&mut self, id: i32, disk: Disk) {
        let config = ReplicaConfig {
            node: NodeId(id),
            tp: TP,
            min_insync_replicas: self.setting.min_insync_replicas,
            replica_lag_time_max_ms: LAG_MS,
            log: LogConfig::default(),
        };
        let seen = Arc::new(Seen::default());
        let observe = Observe::new(Source::Node(NodeId(id)), seen.clone());
        let replica =
            Replica::new(config, "data/orders-0".to_owned(), Remembered::default(), self.setting.guards, observe);
        let broker = Broker { replica, disk, queue: VecDeque::new(), seen, slow: false, cuts: 0, fetched: None };
        self.brokers.insert(id, broker);
        self.step(id, Event::Start);
    }

    pub fn say(&mut self, words: &str) {
        writeln!(self.text, "{words}").unwrap();
    }

    pub fn replica(&self, id: i32) -> &Replica {
        &self.brokers[&id].replica
    }

    pub fn step(&mut self, id: i32, event: Event) {
        let mut out = Outbox::new();
        let broker = self.brokers.get_mut(&id).unwrap();
        broker.replica.step(self.now, event, &mut out);
        self.write_down(id, &mut out);
        if !self.brokers[&id].slow {
            self.run_disk(id);
        }
    }

    /// The disk of a broker does all that it was asked for.
    pub fn run_disk(&mut self, id: i32) {
        while let Some(DiskRequest { ticket, op }) = self.brokers.get_mut(&id).unwrap().queue.pop_front() {
            let broker = self.brokers.get_mut(&id).unwrap();
            let result = broker.disk.perform(op);
            let mut out = Outbox::new();
            broker.replica.step(self.now, Event::DiskDone(DiskDone { ticket, result }), &mut out);
            self.write_down(id, &mut out);
        }
    }

    /// How often a broker said since it started that its log was cut, or came out of its load.
    pub fn cuts(&self, id: i32) -> u32 {
        self.brokers[&id].cuts
    }

    pub fn slow_disk(&mut self, id: i32, slow: bool) {
        self.brokers.get_mut(&id).unwrap().slow = slow;
        if slow {
            self.say(&format!("the disk of b{id} stalls"));
        } else {
            self.say(&format!("the disk of b{id} goes on"));
            self.run_disk(id);
        }
    }

    /// The next operation of a broker's disk fails.
    pub fn fail_disk(&mut self, id: i32) {
        self.say(&format!("the disk of b{id} fails"));
        let ticket = self.brokers.get_mut(&id).unwrap().queue.pop_front().expect("an operation is open").ticket;
        let error = klamm_base::DiskError::Io { path: "data".to_owned(), message: "gone".to_owned() };
        self.step(id, Event::DiskDone(DiskDone { ticket, result: Err(error) }));
    }

    /// The process dies and starts again on the same disk; what was asked of the disk and not done never happens.
    pub fn restart(&mut self, id: i32) {
        self.say(&format!("b{id} is killed and starts again"));
        let disk = self.brokers.remove(&id).unwrap().disk;
        self.boot(id, disk);
    }

    /// Time passes on both clocks; nobody is told.
    pub fn pass(&mut self, ms: i64) {
        self.say(&format!("{ms} ms pass"));
        self.now = Now { mono_ns: self.now.after_ms(ms as u64), wall_ms: self.now.wall_ms + ms };
    }

    /// The timer of a broker fires if its deadline has come.
    pub fn timer(&mut self, id: i32) {
        if self.replica(id).deadline().is_some_and(|at| at <= self.now.mono_ns) {
            self.step(id, Event::Deadline);
        }
    }

    /// Metadata reaches a broker: all others are eligible, with broker epoch 100 + id.
    pub fn state(&mut self, id: i32, leader: Option<i32>, epochs: (i32, i32), isr: &[i32]) {
        let leads = leader.map_or("nobody".to_owned(), |leader| format!("b{leader}"));
        let (leader_epoch, partition_epoch) = epochs;
        self.say(&format!("b{id} learns: {leads} leads, epoch {leader_epoch}.{partition_epoch}, ISR {isr:?}"));
        let all: Vec<i32> = (1..=self.setting.brokers).collect();
        self.step(id, Event::State(state(leader, epochs, &all, isr)));
    }

    pub fn all_learn(&mut self, leader: Option<i32>, epochs: (i32, i32), isr: &[i32]) {
        for id in 1..=self.setting.brokers {
            self.state(id, leader, epochs, isr);
        }
    }

    pub fn produce(&mut self, id: i32, ticket: u64, acks: i16, batch: Batch) {
        let records = batch.header.record_count;
        self.say(&format!("produce #{ticket} at b{id}: {records} records, acks={acks}"));
        let deadline_ns = self.now.after_ms(30_000);
        self.step(id, Event::Produce { ticket, acks, batches: vec![batch], deadline_ns });
    }

    /// One fetch by a follower from whom it follows, there and back.
    pub fn fetch(&mut self, id: i32) {
        let Some(asked) = self.replica(id).next_fetch() else { return self.say(&format!("b{id} does not fetch")) };
        let leader = asked.leader.0;
        let FollowerQuery { leader_epoch, fetch_offset, last_fetched_epoch, .. } = asked;
        self.say(&format!(
            "b{id} fetches from b{leader}: epoch {leader_epoch}, at {fetch_offset} of {last_fetched_epoch}"
        ));
        let answer = self.ask(leader, id, &asked);
        self.step(id, Event::FetchAnswer(answer));
    }

    /// The leader's part of a fetch.
    pub fn ask(&mut self, leader: i32, id: i32, asked: &FollowerQuery) -> FollowerAnswer {
        let query = FetchQuery {
            replica: Some((NodeId(id), 100 + i64::from(id))),
            current_leader_epoch: asked.leader_epoch,
            fetch_offset: asked.fetch_offset,
            last_fetched_epoch: asked.last_fetched_epoch,
            log_start_offset: asked.log_start_offset,
            max_bytes: 1 << 20,
            at_least_one: true,
            read_committed: false,
        };
        self.step(leader, Event::FollowerFetched(query.clone()));
        self.step(leader, Event::Fetch { ticket: 900, query });
        let got = self.brokers.get_mut(&leader).unwrap().fetched.take().expect("the leader answered");
        FollowerAnswer {
            leader_epoch: asked.leader_epoch,
            fetch_offset: asked.fetch_offset,
            error: got.error,
            diverging: got.diverging,
            high_watermark: got.high_watermark,
            log_start_offset: got.log_start_offset,
            records: got.records,
        }
    }

    /// One fetch by a consumer.
    pub fn consume(&mut self, id: i32, offset: i64) {
        self.say(&format!("a consumer fetches from b{id} at {offset}"));
        let query = FetchQuery {
            replica: None,
            current_leader_epoch: -1,
            fetch_offset: offset,
            last_fetched_epoch: -1,
            log_start_offset: -1,
            max_bytes: 1 << 20,
            at_least_one: true,
            read_committed: false,
        };
        self.step(id, Event::Fetch { ticket: 800, query });
    }

    /// The controller accepts a proposal.
    pub fn altered(&mut self, id: i32, epochs: (i32, i32), isr: &[i32]) {
        self.say(&format!("the controller answers b{id}: epoch {}.{}, ISR {isr:?}", epochs.0, epochs.1));
        let altered = AlteredPartition {
            leader: Some(NodeId(id)),
            leader_epoch: epochs.0,
            isr: isr.iter().map(|id| NodeId(*id)).collect(),
            partition_epoch: epochs.1,
            recovering: false,
        };
        self.step(id, Event::AlterAnswer { result: Ok(altered) });
    }

    pub fn not_altered(&mut self, id: i32, failure: AlterFailure) {
        self.say(&format!("the controller's answer to b{id}: {failure:?}"));
        self.step(id, Event::AlterAnswer { result: Err(failure) });
    }

    pub fn list(&mut self, id: i32, timestamp: i64) {
        self.say(&format!("a client asks b{id} for the offset of {timestamp}"));
        let (ticket, current_leader_epoch, read_committed, from_client) = (700, -1, false, true);
        self.step(id, Event::ListOffsets { ticket, current_leader_epoch, timestamp, read_committed, from_client });
    }

    pub fn delete_records(&mut self, id: i32, offset: i64) {
        self.say(&format!("an admin deletes the records below {offset}"));
        let deadline_ns = self.now.after_ms(5_000);
        self.step(id, Event::DeleteRecords { ticket: 800, offset, deadline_ns });
    }

    fn write_down(&mut self, id: i32, out: &mut Outbox<Command>) {
        let broker = self.brokers.get_mut(&id).unwrap();
        // What logs know of producers is their own tests' affair.
        let told = |seen: &Observation| !matches!(seen, Observation::ProducersLoaded { .. });
        for seen in broker.seen.0.lock().unwrap().drain(..).filter(told) {
            writeln!(self.text, "  b{id} {}", observed(&seen)).unwrap();
        }
        for command in out.drain() {
            let line = match command {
                Command::Disk(request) => {
                    broker.queue.push_back(request);
                    continue;
                }
                Command::Progress => continue,
                Command::Truncated => {
                    broker.cuts += 1;
                    continue;
                }
                Command::Produced { ticket, result: Ok(at) } => format!("answers #{ticket}: at {}", at.base_offset),
                Command::Produced { ticket, result: Err(error) } => format!("answers #{ticket}: {error}"),
                Command::Fetched { answer, .. } => {
                    let line = format!("gives {}", given(&answer));
                    broker.fetched = Some(answer);
                    line
                }
                Command::OffsetListed { result: Ok(found), .. } => format!("lists {found:?}"),
                Command::OffsetListed { result: Err(error), .. } => format!("lists {error}"),
                Command::Alter(proposal) => {
                    let AlterProposal { leader_epoch, partition_epoch, isr, .. } = proposal;
                    let isr: Vec<String> = isr.iter().map(|(node, epoch)| format!("b{}@{epoch}", node.0)).collect();
                    format!("proposes on {leader_epoch}.{partition_epoch}: ISR {}", isr.join(" "))
                }
                Command::RecordsDeleted { result: Ok(low), .. } => format!("has deleted all below {low}"),
                Command::RecordsDeleted { result: Err(error), .. } => format!("deletes: {error}"),
                Command::CleanEnded => "has ended a clean".to_owned(),
                Command::Stopped => "has stopped".to_owned(),
                Command::Failed(error) => format!("is offline: {error}"),
            };
            writeln!(self.text, "  b{id} {line}").unwrap();
        }
    }
}

pub fn state(leader: Option<i32>, epochs: (i32, i32), replicas: &[i32], isr: &[i32]) -> PartitionState {
    PartitionState {
        leader: leader.map(NodeId),
        leader_epoch: epochs.0,
        partition_epoch: epochs.1,
        replicas: replicas.iter().map(|id| NodeId(*id)).collect(),
        isr: isr.iter().map(|id| NodeId(*id)).collect(),
        recovering: false,
        eligible: replicas.iter().map(|id| (NodeId(*id), 100 + i64::from(*id))).collect(),
    }
}

/// A batch of `count` records without a producer.
pub fn plain(count: i32) -> Batch {
    batch(count, None)
}

/// A batch of records with these timestamps.
pub fn timed(timestamps: &[i64]) -> Batch {
    let mut builder = BatchBuilder::new(1_000_000);
    timestamps.iter().for_each(|at| _ = builder.push(*at, None, Some(b"timed"), &[]));
    builder.build()
}

/// A batch of producer 7 in epoch 0.
pub fn sequenced(base_sequence: i32, count: i32) -> Batch {
    batch(count, Some(base_sequence))
}

fn batch(count: i32, base_sequence: Option<i32>) -> Batch {
    let mut builder = BatchBuilder::new(1_000_000);
    for i in 0..count {
        builder.push(1_000_000 + i64::from(i), None, Some(&i.to_be_bytes()), &[]);
    }
    base_sequence.into_iter().for_each(|base_sequence| _ = builder.producer(7, 0, base_sequence));
    builder.build()
}

fn given(answer: &FetchAnswerOut) -> String {
    let mut line = match answer.error {
        ErrorCode::None => offsets(&answer.records),
        error => error.to_string(),
    };
    if let Some((epoch, end)) = answer.diverging {
        write!(line, ", its epoch {epoch} ends at {end}").unwrap();
    }
    write!(line, ", high watermark {}", answer.high_watermark).unwrap();
    line
}

fn offsets(records: &Bytes) -> String {
    let batches: Vec<Batch> = split_whole(records).map(Result::unwrap).collect();
    match (batches.first(), batches.last()) {
        (Some(first), Some(last)) => format!("{}..{}", first.header.base_offset, last.header.next_offset()),
        _ => "nothing".to_owned(),
    }
}

fn observed(seen: &Observation) -> String {
    match seen {
        Observation::LogLoaded { log_start, log_end, .. } => format!("loaded {log_start}..{log_end}"),
        Observation::Appended { base_offset, last_offset, leader_epoch, as_leader, .. } => {
            let role = if *as_leader { "leader" } else { "follower" };
            format!("appended {base_offset}..{} of epoch {leader_epoch} as {role}", last_offset + 1)
        }
        Observation::Flushed { to, .. } => format!("flushed to {to}"),
        Observation::Truncated { to, high_watermark, cause, .. } => {
            format!("cut its log to {to} ({cause:?}), its high watermark was {high_watermark}")
        }
        Observation::LogStartMoved { to, cause, .. } => format!("begins its log at {to} ({cause:?})"),
        Observation::RetentionRan { segments, deleted, .. } => {
            format!("looked at {} segments and deleted {deleted}", segments.len())
        }
        Observation::HighWatermark { to, .. } => format!("has high watermark {to}"),
        Observation::BecameLeader { leader_epoch, epoch_start, .. } => {
            format!("leads in epoch {leader_epoch} from {epoch_start} on")
        }
        Observation::BecameFollower { leader_epoch, leader, .. } => match leader {
            Some(leader) => format!("follows b{} in epoch {leader_epoch}", leader.0),
            None => format!("follows nobody in epoch {leader_epoch}"),
        },
        Observation::LeaderIsr { committed, maximal, .. } => {
            let ids = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect::<Vec<_>>();
            format!("sees ISR {:?}, maximal {:?}", ids(committed), ids(maximal))
        }
        Observation::ProduceAcked { base_offset, last_offset, acks, duplicate, .. } => {
            let again = if *duplicate { " again" } else { "" };
            format!("acknowledges {base_offset}..{}{again}, acks={acks}", last_offset + 1)
        }
        Observation::FetchServed { from, to, high_watermark, .. } => {
            format!("serves {from}..{to} below {high_watermark}")
        }
        other => panic!("a replica does not observe {other:?}"),
    }
}
