//! Writes small histories: a cluster of three nodes with one topic, told observation by observation.
#![allow(dead_code)]

use klamm_base::{
    CleanedBatch, ClientId, ClientKind, ClientRecord, Election, ErrorCode, KeyFact, NodeId, Observation, Outcome,
    ProducerFact, SegmentFact, Sequences, Source, StartCause, TopicPartition, TruncationCause, Uuid, chain,
};
use klamm_checkers::{Damage, Event, History, Party, Report, Standing, World, judge};
use std::collections::BTreeMap;

pub const TP: TopicPartition = TopicPartition { topic: Uuid(77), partition: 0 };
/// Every batch has so many bytes.
pub const BATCH: u32 = 100;
/// What right wall clocks say when a story begins, and how long topics keep records: in milliseconds.
pub const WALL_MS: i64 = 1_767_225_600_000;
pub const KEPT_MS: i64 = 1_000;
pub const P: ClientId = ClientId(1);
pub const C: ClientId = ClientId(2);
pub const FINAL: ClientId = ClientId(9);

#[derive(Clone, Debug)]
pub struct Batch {
    pub base: i64,
    pub epoch: i32,
    pub id: u64,
    pub records: Vec<ClientRecord>,
    pub producer: Option<Sequences>,
    /// Its greatest timestamp, milliseconds; -1: it has none.
    pub stamp: i64,
    /// Keys of its records, if its topic is compacted.
    pub keys: Vec<KeyFact>,
}

impl Batch {
    pub fn last(&self) -> i64 {
        self.base + self.records.len() as i64 - 1
    }
}

pub struct Story {
    pub history: History,
    pub logs: BTreeMap<i32, Vec<Batch>>,
    pub leader: i32,
    pub epoch: i32,
    pub version: i32,
    pub isr: Vec<i32>,
    pub numbers: BTreeMap<ClientId, u32>,
    pub acks: i16,
    /// Where segments of a node begin, as places in its log.
    pub rolls: BTreeMap<i32, Vec<usize>>,
    pub starts: BTreeMap<i32, i64>,
    /// The high watermark that a node told last.
    pub marks: BTreeMap<i32, i64>,
    next_batch: u64,
    now: u64,
}

pub struct Settings {
    pub min_insync: i32,
    pub unclean: bool,
    pub acks: i16,
    pub idempotent: bool,
    pub compacted: bool,
}

pub const SAFE: Settings = Settings { min_insync: 1, unclean: false, acks: -1, idempotent: true, compacted: false };

/// A run that meets every premise and breaks nothing: a leader change under load, a crash, a retry, a refusal and a reader.
/// Node 2 leads epoch 2, all are in sync, and the log ends at 10.
pub fn good(settings: Settings) -> Story {
    let mut story = Story::new(settings);
    story.produce(3);
    story.produce(2);
    story.read(C, 1, 0, 3, false);
    // Node 1 dies with a batch in flight that it and node 2 hold, uncommitted; the producer repeats it to node 2.
    let records = story.invoke(P, 2);
    let batch = story.batch(records);
    let stored = story.append(1, 1, batch);
    story.replicate(1, 2);
    story.kill(1);
    story.lead(2, &[2, 3], Election::Clean);
    story.commit();
    story.answer(2, 2, &stored, true);
    story.acked(&stored);
    story.produce(2);
    // A fetch while the log holds more than is committed.
    let records = story.invoke(P, 1);
    let batch = story.batch(records);
    let last = story.append(2, 2, batch);
    story.read(C, 2, 3, 9, false);
    story.commit();
    story.answer(2, 2, &last, false);
    story.acked(&last);
    story.restart(1);
    story.follow(1);
    story.change_isr(&[1, 2, 3]);
    let records = story.invoke(P, 1);
    story.refused(&records);
    story
}

impl Story {
    pub fn new(settings: Settings) -> Story {
        let mut story = Story {
            history: History::default(),
            logs: BTreeMap::new(),
            leader: 1,
            epoch: 0,
            version: -1,
            isr: vec![1, 2, 3],
            numbers: BTreeMap::new(),
            acks: settings.acks,
            rolls: BTreeMap::new(),
            starts: BTreeMap::new(),
            marks: BTreeMap::new(),
            next_batch: 1000,
            now: 0,
        };
        for node in 1..=3 {
            story.world(World::HostStarted { node: NodeId(node) });
            story.node(node, Observation::NodeStarted { incarnation: Uuid(node as u128) });
        }
        story.node(
            4,
            Observation::TopicCreated {
                topic: TP.topic,
                name: "orders".into(),
                partitions: 1,
                replication: 3,
                min_insync_replicas: settings.min_insync,
                unclean: settings.unclean,
                retention_ms: KEPT_MS,
                retention_bytes: -1,
                compacted: settings.compacted.then_some(86_400_000),
            },
        );
        let producer = ClientKind::Producer { acks: settings.acks, idempotent: settings.idempotent };
        story.client(P, Observation::ClientStarted { name: "p1".into(), kind: producer });
        story.client(P, Observation::ProducerIdLearned { producer_id: 5, producer_epoch: 0 });
        story.client(C, Observation::ClientStarted { name: "c1".into(), kind: ClientKind::Consumer });
        story.client(C, Observation::Positioned { tp: TP, offset: 0 });
        (1..=3).for_each(|node| story.load(node));
        story.lead(1, &[1, 2, 3], Election::Clean);
        story
    }

    pub fn add(&mut self, event: Event) -> usize {
        self.now += 1_000_000;
        self.history.push(self.now, event);
        self.history.entries.len() - 1
    }

    pub fn node(&mut self, node: i32, observation: Observation) -> usize {
        self.add(Event::Stack { source: Source::Node(NodeId(node)), observation })
    }

    pub fn client(&mut self, client: ClientId, observation: Observation) -> usize {
        self.add(Event::Stack { source: Source::Client(client), observation })
    }

    pub fn world(&mut self, world: World) -> usize {
        self.add(Event::World(world))
    }

    pub fn end(&self, node: i32) -> i64 {
        self.logs.get(&node).and_then(|log| log.last()).map_or(0, |batch| batch.last() + 1)
    }

    /// The controller decides, nobody has applied it yet.
    pub fn decide(&mut self, leader: Option<i32>, isr: &[i32], election: Election) {
        self.version += 1;
        self.epoch += i32::from(leader != Some(self.leader) || self.version == 0);
        self.isr = isr.to_vec();
        let observation = Observation::PartitionChanged {
            tp: TP,
            leader: leader.map(NodeId),
            leader_epoch: self.epoch,
            partition_epoch: self.version,
            replicas: [1, 2, 3].map(NodeId).to_vec(),
            isr: nodes(isr),
            election,
        };
        self.leader = leader.unwrap_or(-1);
        self.node(4, observation);
    }

    /// The leader takes up its epoch.
    pub fn take_up(&mut self) {
        let (node, epoch, end) = (self.leader, self.epoch, self.end(self.leader));
        self.node(node, Observation::BecameLeader { tp: TP, leader_epoch: epoch, epoch_start: end });
        self.view(node, epoch, &self.isr.clone());
    }

    pub fn view(&mut self, node: i32, epoch: i32, isr: &[i32]) {
        self.node(
            node,
            Observation::LeaderIsr { tp: TP, leader_epoch: epoch, committed: nodes(isr), maximal: nodes(isr) },
        );
    }

    pub fn lead(&mut self, leader: i32, isr: &[i32], election: Election) {
        self.decide(Some(leader), isr, election);
        self.take_up();
    }

    /// The leader's ISR shrinks or grows through the controller.
    pub fn change_isr(&mut self, isr: &[i32]) {
        self.decide(Some(self.leader), isr, Election::None);
        self.view(self.leader, self.epoch, isr);
    }

    /// A producer's records, invoked.
    pub fn invoke(&mut self, client: ClientId, count: u32) -> Vec<ClientRecord> {
        let from = *self.numbers.entry(client).or_default();
        self.numbers.insert(client, from + count);
        let records: Vec<_> = (from..from + count).map(|number| ClientRecord { client, number }).collect();
        for record in &records {
            self.client(client, Observation::Invoked { tp: TP, record: *record });
        }
        records
    }

    pub fn batch(&mut self, records: Vec<ClientRecord>) -> Batch {
        self.next_batch += 1;
        Batch { base: 0, epoch: 0, id: self.next_batch, records, producer: None, stamp: -1, keys: Vec::new() }
    }

    /// A producer with a sequence writes one record, which all in sync have then.
    pub fn produce_in_sequence(&mut self, sequence: i32) {
        let records = self.invoke(P, 1);
        let producer = Sequences { producer_id: 5, producer_epoch: 0, first: sequence, last: sequence };
        let batch = Batch { producer: Some(producer), ..self.batch(records) };
        let batch = self.append(self.leader, self.epoch, batch);
        self.commit();
        self.answer(self.leader, self.epoch, &batch, false);
        self.acked(&batch);
    }

    /// A node starts again, and knows this sequence as the last one of that producer.
    pub fn restart_knowing(&mut self, node: i32, last_sequence: i32) {
        self.kill(node);
        self.restart(node);
        let producers = vec![ProducerFact { producer_id: 5, producer_epoch: 0, last_sequence }];
        self.node(node, Observation::ProducersLoaded { tp: TP, producers });
    }

    /// A leader of `epoch` appends at the end of its log.
    pub fn append(&mut self, node: i32, epoch: i32, batch: Batch) -> Batch {
        let batch = Batch { base: self.end(node), epoch, ..batch };
        self.store(node, batch.clone(), true);
        batch
    }

    pub fn store(&mut self, node: i32, batch: Batch, as_leader: bool) {
        let (base_offset, last_offset, leader_epoch, id) = (batch.base, batch.last(), batch.epoch, batch.id);
        let (producer, max_timestamp, keys) = (batch.producer, batch.stamp, batch.keys.clone());
        let log = self.logs.entry(node).or_default();
        let rolled = self.rolls.get(&node).and_then(|rolls| rolls.last()).map_or(0, |roll| *roll);
        let (position, bytes) = (BATCH * (log.len() - rolled.min(log.len())) as u32, BATCH);
        log.push(batch);
        let (tp, batch) = (TP, id);
        self.node(
            node,
            Observation::Appended {
                keys,
                tp,
                base_offset,
                last_offset,
                leader_epoch,
                batch,
                as_leader,
                position,
                bytes,
                producer,
                max_timestamp,
            },
        );
    }

    /// The batch of that number in a node's log, counted from 0, is damaged.
    pub fn damage(&mut self, node: i32, batch: u64, kind: Damage) {
        let from = u64::from(BATCH) * batch + 7;
        self.damage_file(node, "data/orders-0/00000000000000000000.log", (from, from + 1), kind);
    }

    pub fn damage_file(&mut self, node: i32, path: &str, (from, to): (u64, u64), kind: Damage) {
        self.world(World::FaultStruck { what: format!("{} on node {node}", kind.name()) });
        let (node, path) = (NodeId(node), path.to_owned());
        self.world(World::DiskDamaged { node, path, from, to, kind, silent: true });
    }

    /// A byte between two parties arrives other than it was sent.
    pub fn corrupt(&mut self, from: Party, to: Party, role: &str) {
        self.world(World::FaultStruck { what: format!("corrupt {role}") });
        self.world(World::BytesCorrupted { from, to, role: role.to_owned(), at_byte: 77 });
    }

    /// A node dies and comes back; of its log only what ends at or below `keeps` is found.
    pub fn restart_with(&mut self, node: i32, keeps: i64) {
        self.kill(node);
        self.logs.entry(node).or_default().retain(|batch| batch.last() < keeps);
        self.restart(node);
    }

    /// `to` fetches everything that `from` has beyond it.
    pub fn replicate(&mut self, from: i32, to: i32) {
        let end = self.end(to);
        let missing: Vec<_> = self.logs.get(&from).into_iter().flatten().filter(|b| b.base >= end).cloned().collect();
        missing.into_iter().for_each(|batch| self.store(to, batch, false));
    }

    pub fn mark(&mut self, node: i32, epoch: i32, to: i64, as_leader: bool) {
        self.marks.insert(node, to);
        self.node(node, Observation::HighWatermark { tp: TP, to, leader_epoch: epoch, as_leader });
    }

    pub fn answer(&mut self, node: i32, epoch: i32, batch: &Batch, duplicate: bool) {
        let (base_offset, last_offset, acks) = (batch.base, batch.last(), self.acks);
        let leader_epoch = epoch;
        self.node(node, Observation::ProduceAcked { tp: TP, base_offset, last_offset, acks, leader_epoch, duplicate });
    }

    pub fn acked(&mut self, batch: &Batch) {
        for (step, record) in batch.records.iter().enumerate() {
            let outcome = Outcome::Acked(batch.base + step as i64);
            self.client(record.client, Observation::Ended { tp: TP, record: *record, outcome });
        }
    }

    pub fn unknown(&mut self, records: &[ClientRecord]) {
        for record in records {
            let outcome = Outcome::Unknown(ErrorCode::RequestTimedOut);
            self.client(record.client, Observation::Ended { tp: TP, record: *record, outcome });
        }
    }

    pub fn refused(&mut self, records: &[ClientRecord]) {
        for record in records {
            let outcome = Outcome::Refused(ErrorCode::NotEnoughReplicas);
            self.client(record.client, Observation::Ended { tp: TP, record: *record, outcome });
        }
    }

    /// The whole way of one batch with acks=all: append, replicate, commit, answer, told.
    pub fn produce(&mut self, count: u32) -> Batch {
        let records = self.invoke(P, count);
        let batch = self.batch(records);
        let batch = self.append(self.leader, self.epoch, batch);
        self.commit();
        self.answer(self.leader, self.epoch, &batch, false);
        self.acked(&batch);
        batch
    }

    /// Writes a batch with these keys; a negative one is a tombstone. `sequence`: of the producer with a sequence.
    pub fn produce_keyed(&mut self, keys: &[i64], sequence: Option<i32>) -> Batch {
        let records = self.invoke(P, keys.len() as u32);
        let fact = |key: &i64| KeyFact { key: key.unsigned_abs(), tombstone: *key < 0 };
        let told = |first| Sequences { producer_id: 5, producer_epoch: 0, first, last: first + keys.len() as i32 - 1 };
        let batch = self.batch(records);
        let batch = Batch { keys: keys.iter().map(fact).collect(), producer: sequence.map(told), ..batch };
        let batch = self.append(self.leader, self.epoch, batch);
        self.commit();
        self.answer(self.leader, self.epoch, &batch, false);
        self.acked(&batch);
        batch
    }

    /// A node cleans all below `end`: these batches are not what they were.
    pub fn clean(&mut self, node: i32, end: i64, batches: Vec<CleanedBatch>) -> usize {
        let wall_ms = self.wall_ms() + 1;
        self.node(node, Observation::LogCleaned { tp: TP, from: 0, to: end, end, wall_ms, batches })
    }

    /// The in-sync followers catch up, the high watermark follows; theirs lag behind by one fetch.
    pub fn commit(&mut self) {
        let (leader, epoch) = (self.leader, self.epoch);
        for follower in self.isr.clone().into_iter().filter(|node| *node != leader) {
            self.replicate(leader, follower);
        }
        self.mark(leader, epoch, self.end(leader), true);
    }

    pub fn cut(&mut self, node: i32, to: i64, cause: TruncationCause) {
        self.logs.entry(node).or_default().retain(|batch| batch.last() < to);
        let leader_epoch = self.epoch;
        self.node(node, Observation::Truncated { tp: TP, to, high_watermark: 0, leader_epoch, cause });
    }

    /// A node cuts to where its log and the leader's part, and follows.
    pub fn follow(&mut self, node: i32) {
        let same =
            |leader: &Batch, own: &Batch| (leader.base, leader.epoch, leader.id) == (own.base, own.epoch, own.id);
        let shared = |logs: &BTreeMap<i32, Vec<Batch>>, leader: i32| {
            let (own, theirs) =
                (logs.get(&node).cloned().unwrap_or_default(), logs.get(&leader).cloned().unwrap_or_default());
            own.iter()
                .zip(&theirs)
                .take_while(|(own, theirs)| same(theirs, own))
                .last()
                .map_or(0, |(own, _)| own.last() + 1)
        };
        let to = shared(&self.logs, self.leader);
        if to < self.end(node) {
            self.cut(node, to, TruncationCause::DivergingEpoch);
        }
        self.replicate(self.leader, node);
    }

    /// A node ends in good order.
    pub fn stop(&mut self, node: i32) {
        let why = "stopped in good order".to_owned();
        self.world(World::Stopped { node: NodeId(node), why, in_order: true });
    }

    pub fn kill(&mut self, node: i32) {
        self.world(World::FaultStruck { what: format!("kill node {node}") });
        self.world(World::Killed { node: NodeId(node) });
    }

    pub fn restart(&mut self, node: i32) {
        self.marks.remove(&node);
        self.world(World::Restarted { node: NodeId(node) });
        self.node(node, Observation::NodeStarted { incarnation: Uuid(node as u128 + 100) });
        self.load(node);
    }

    /// A node starts again, with an empty log that begins at `start`.
    pub fn restart_empty_at(&mut self, node: i32, start: i64) {
        self.logs.entry(node).or_default().clear();
        self.starts.insert(node, start);
        self.world(World::Restarted { node: NodeId(node) });
        self.node(node, Observation::NodeStarted { incarnation: Uuid(node as u128 + 100) });
        self.node(node, Observation::LogLoaded { tp: TP, log_start: start, log_end: start, digest: 0 });
    }

    /// Power loss: of the node's log only what ends at or below `keeps` is left.
    pub fn power_off(&mut self, node: i32, keeps: i64) {
        self.world(World::FaultStruck { what: format!("power off node {node}") });
        self.world(World::PoweredOff { node: NodeId(node), lost_bytes: 1 });
        self.logs.entry(node).or_default().retain(|batch| batch.last() < keeps);
    }

    pub fn load(&mut self, node: i32) {
        let log = self.logs.get(&node).cloned().unwrap_or_default();
        let log_start = self.starts.get(&node).copied().unwrap_or(0);
        let held = log.iter().filter(|batch| batch.last() >= log_start);
        let digest = held.fold(0, |digest, batch| chain(digest, batch.base, batch.epoch, batch.id));
        self.node(node, Observation::LogLoaded { tp: TP, log_start, log_end: self.end(node), digest });
    }

    /// A node closes its segment: the next batch begins another.
    pub fn roll(&mut self, node: i32) {
        let length = self.logs.get(&node).map_or(0, Vec::len);
        self.rolls.entry(node).or_default().push(length);
    }

    pub fn wall_ms(&self) -> i64 {
        WALL_MS + (self.now / 1_000_000) as i64
    }

    pub fn start(&mut self, node: i32, to: i64, cause: StartCause) -> usize {
        self.starts.insert(node, to);
        // The entry comes a millisecond after what stands.
        let wall_ms = self.wall_ms() + 1;
        self.node(node, Observation::LogStartMoved { tp: TP, to, cause, wall_ms })
    }

    /// A node's segments as a check sees them at `wall_ms`: the first `old` have outlived their time.
    pub fn segments(&self, node: i32, old: usize, wall_ms: i64) -> Vec<SegmentFact> {
        let log = self.logs.get(&node).map_or(&[][..], Vec::as_slice);
        let rolls = self.rolls.get(&node).map_or(&[][..], Vec::as_slice);
        let begins: Vec<usize> = [0].into_iter().chain(rolls.iter().copied()).collect();
        let ends = begins.iter().skip(1).copied().chain([log.len()]);
        let fact = |(at, (from, to)): (usize, (usize, usize))| SegmentFact {
            base_offset: log.get(from).map_or(self.end(node), |batch| batch.base),
            bytes: u64::from(BATCH) * (to - from) as u64,
            newest_ms: if at < old { wall_ms - KEPT_MS - 1 } else { wall_ms - KEPT_MS },
        };
        begins.iter().copied().zip(ends).enumerate().map(fact).collect()
    }

    /// A node of which `off_ms` is the error of its clock deletes its first `deleted` segments; `old` have outlived their time.
    pub fn expire(&mut self, node: i32, old: usize, deleted: usize, off_ms: i64) -> usize {
        if self.marks.get(&node).is_none_or(|mark| *mark != self.end(node)) {
            self.mark(node, self.epoch, self.end(node), node == self.leader);
        }
        let wall_ms = self.wall_ms() + 1 + off_ms;
        let segments = self.segments(node, old, wall_ms);
        let log_start = self.starts.get(&node).copied().unwrap_or(0);
        let to = segments.get(deleted).map_or(self.end(node), |segment| segment.base_offset);
        if deleted > 0 {
            self.starts.insert(node, to);
            self.node(node, Observation::LogStartMoved { tp: TP, to, cause: StartCause::RetentionMs, wall_ms });
        }
        self.now -= if deleted > 0 { 1_000_000 } else { 0 };
        let (tp, high_watermark, deleted) = (TP, self.end(node), deleted as u32);
        let (retention_ms, retention_bytes) = (KEPT_MS, -1);
        self.node(
            node,
            Observation::RetentionRan {
                tp,
                wall_ms,
                high_watermark,
                log_start,
                retention_ms,
                retention_bytes,
                segments,
                deleted,
            },
        )
    }

    pub fn records(&self, node: i32) -> Vec<Option<ClientRecord>> {
        self.logs.get(&node).into_iter().flatten().flat_map(|batch| batch.records.iter().copied().map(Some)).collect()
    }

    /// A consumer reads `from..to` from a node.
    pub fn read(&mut self, client: ClientId, node: i32, from: i64, to: i64, finally: bool) -> usize {
        let records = self.records(node)[from as usize..to as usize].to_vec();
        self.node(node, Observation::FetchServed { tp: TP, from, to, high_watermark: to });
        self.client(client, Observation::Read { tp: TP, offset: from, records, finally })
    }

    /// Heal, rest, one write, one reading.
    pub fn finish(self) -> Story {
        self.finish_from(0)
    }

    /// The same, where the last leader's log begins at `start`.
    pub fn finish_from(mut self, start: i64) -> Story {
        self.world(World::Healed);
        (1..=3).filter(|node| *node != self.leader).collect::<Vec<_>>().into_iter().for_each(|node| self.follow(node));
        self.change_isr(&[1, 2, 3]);
        self.commit();
        self.world(World::Settled { ok: true, why: String::new() });
        self.produce(1);
        let end = self.end(self.leader);
        self.client(FINAL, Observation::ClientStarted { name: "final".into(), kind: ClientKind::Consumer });
        self.client(FINAL, Observation::Positioned { tp: TP, offset: start });
        self.read(FINAL, self.leader, start, end, true);
        self.client(FINAL, Observation::FinallyRead { tp: TP, log_start: start, log_end: end, complete: true });
        self
    }

    pub fn judge(&self) -> Report {
        judge(&self.history)
    }

    /// Every property that is violated.
    pub fn violated(&self) -> Vec<&'static str> {
        let mut violated = self.judge().violated();
        violated.sort_unstable();
        violated
    }

    pub fn standing(&self, property: &str) -> Standing {
        self.judge().standing(property)
    }

    /// Changes the observation of one entry.
    pub fn change(&mut self, entry: usize, change: impl FnOnce(&mut Observation)) {
        match &mut self.history.entries[entry].event {
            Event::Stack { observation, .. } => change(observation),
            Event::World(world) => panic!("not an observation: {world:?}"),
        }
    }

    /// The last entry whose observation matches.
    pub fn last(&self, matches: impl Fn(&Observation) -> bool) -> usize {
        let found = |entry: &klamm_checkers::Entry| match &entry.event {
            Event::Stack { observation, .. } => matches(observation),
            Event::World(_) => false,
        };
        self.history.entries.iter().rposition(found).expect("some entry matches")
    }
}

pub fn nodes(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

/// Three batches of two records each on all three nodes; node 3 is out of the ISR.
pub fn three_batches() -> Story {
    let mut story = Story::new(SAFE);
    (0..3).for_each(|_| drop(story.produce(2)));
    story.change_isr(&[1, 2]);
    story
}

/// Three segments of a batch of two records each on all three nodes.
pub fn three_segments() -> Story {
    let mut story = Story::new(SAFE);
    for _ in 0..3 {
        story.produce(2);
        (1..=3).for_each(|node| story.roll(node));
    }
    story
}
