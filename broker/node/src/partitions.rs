//! The replicas of this broker, by slot: a small number that stays the same while the process lives.

use crate::checkpoints::Known;
use crate::config::{NodeConfig, TopicConfig};
use crate::io::Endpoint;
use crate::node::{Cx, Node};
use crate::timers::{Timer, Timers};
use klamm_base::{NodeId, Outbox, TopicPartition, Uuid};
use klamm_controller::{MetadataImage, PartitionImage, directory};
use klamm_log::format::{DirName, file};
use klamm_replica::{Command, Event, PartitionState, Replica, ReplicaConfig};
use klamm_wire::records::Rules;
use std::collections::BTreeMap;

/// One replica and what the node knows of it.
pub(crate) struct Slot {
    pub(crate) tp: TopicPartition,
    /// Name of its topic.
    topic: String,
    /// The log directory that it lies in, by its place in `log.dirs`.
    pub(crate) dir: usize,
    pub(crate) replica: Replica,
    /// Under which batches of its topic are taken.
    pub(crate) rules: Rules,
    /// Fetches that wait for it, and its place in them.
    pub(crate) parked: Vec<(u64, u32)>,
    /// Whom it fetches from, as metadata says.
    pub(crate) fetcher: Option<NodeId>,
    /// After a failed fetch: not before this instant.
    pub(crate) backoff_until: u64,
    /// Whoever it was assigned with, for changes of those brokers.
    peers: Vec<NodeId>,
    armed: Option<u64>,
    dirty: bool,
}

/// All slots.
#[derive(Default)]
pub(crate) struct Partitions {
    slots: Vec<Slot>,
    by_tp: BTreeMap<TopicPartition, u32>,
    dirty: Vec<u32>,
    scratch: Outbox<Command>,
}

impl Partitions {
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn find(&self, tp: TopicPartition) -> Option<u32> {
        self.by_tp.get(&tp).copied()
    }

    pub(crate) fn slot(&self, slot: u32) -> &Slot {
        &self.slots[slot as usize]
    }

    pub(crate) fn slot_mut(&mut self, slot: u32) -> &mut Slot {
        &mut self.slots[slot as usize]
    }

    /// Slots that have `broker` among their replicas. Walks them all; brokers change rarely.
    pub(crate) fn with_peer(&self, broker: NodeId) -> impl Iterator<Item = TopicPartition> + '_ {
        self.slots.iter().filter(move |slot| slot.peers.contains(&broker)).map(|slot| slot.tp)
    }

    /// Slots whose logs lie in this directory.
    pub(crate) fn in_dir(&self, dir: usize) -> Vec<u32> {
        (0..self.slots.len() as u32).filter(|slot| self.slot(*slot).dir == dir).collect()
    }

    /// What a checkpoint of this directory is to say of each partition whose log is loaded.
    pub(crate) fn offsets_in(&self, dir: usize, name: &str) -> Vec<Known> {
        let loaded = |slot: &&Slot| slot.dir == dir && slot.replica.is_loaded();
        let offset = |replica: &Replica| match name {
            file::RECOVERY_POINTS => Some(replica.recovery_point()),
            file::HIGH_WATERMARKS => Some(replica.high_watermark()),
            file::CLEANER_OFFSETS => replica.clean_to().filter(|_| replica.log_config().compact),
            _ => replica.log_start_is_within().then(|| replica.log_start_offset()),
        };
        let entry = |slot: &Slot| ((slot.topic.clone(), slot.tp.partition), offset(&slot.replica));
        self.slots.iter().filter(loaded).map(entry).collect()
    }

    /// The slot is to be looked at when the step settles.
    pub(crate) fn mark(&mut self, slot: u32) {
        let place = &mut self.slots[slot as usize];
        if !std::mem::replace(&mut place.dirty, true) {
            self.dirty.push(slot);
        }
    }

    pub(crate) fn pop_dirty(&mut self) -> Option<u32> {
        let slot = self.dirty.pop()?;
        self.slots[slot as usize].dirty = false;
        Some(slot)
    }

    pub(crate) fn no_dirty(&self) -> bool {
        self.dirty.is_empty()
    }

    fn add(&mut self, slot: Slot) -> u32 {
        let number = self.slots.len() as u32;
        let before = self.by_tp.insert(slot.tp, number);
        assert!(before.is_none(), "a partition has one slot");
        self.slots.push(slot);
        number
    }
}

impl Slot {
    /// Name of its topic.
    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// Sees to it that the replica's deadline is not missed. An earlier setting stays and fires once for nothing.
    fn arm(&mut self, slot: u32, timers: &mut Timers) {
        let wanted = self.replica.deadline();
        if let Some(at) = wanted.filter(|at| self.armed.is_none_or(|armed| *at < armed)) {
            if let Some(armed) = self.armed.replace(at) {
                timers.clear(armed, Timer::Replica(slot));
            }
            timers.set(at, Timer::Replica(slot));
        }
    }
}

impl Node {
    /// Steps a replica and carries out what it wants. Replies may leave; what it stirs up settles at the end of the step.
    pub(crate) fn step_replica(&mut self, slot: u32, event: Event, cx: &mut Cx) {
        let mut commands = std::mem::take(&mut self.partitions.scratch);
        assert!(commands.is_empty(), "one replica steps at a time");
        let place = self.partitions.slot_mut(slot);
        let looks_only = event.looks_only();
        place.replica.step(cx.now, event, &mut commands);
        if !looks_only {
            place.arm(slot, &mut self.timers);
        }
        // As for a replica's disk operations: a drain of nothing is not free.
        if !commands.is_empty() {
            commands.drain().for_each(|command| self.replica_command(slot, command, cx));
        }
        self.partitions.scratch = commands;
    }

    fn replica_command(&mut self, slot: u32, command: Command, cx: &mut Cx) {
        match command {
            Command::Disk(request) => self.replica_disk(slot, request, cx),
            Command::Produced { ticket, result } => self.produced(ticket, result, cx),
            Command::Fetched { ticket, answer } => self.fetched(ticket, answer, cx),
            Command::OffsetListed { ticket, result } => self.offset_listed(ticket, result, cx),
            Command::Alter(proposal) => self.alters.propose(slot, proposal),
            Command::Truncated => self.checkpoint_cut(slot, cx),
            Command::Progress => self.partitions.mark(slot),
            Command::Stopped => self.replica_stopped(cx),
            Command::Failed(error) => self.dir_failed(self.partitions.slot(slot).dir, &error, cx),
            Command::CleanEnded => self.clean_ended(slot, cx),
            Command::RecordsDeleted { ticket, result } => self.records_deleted(ticket, result, cx),
        }
    }

    pub(crate) fn replica_deadline(&mut self, slot: u32, cx: &mut Cx) {
        self.partitions.slot_mut(slot).armed = None;
        self.step_replica(slot, Event::Deadline, cx);
    }

    /// Metadata has news of a partition: if it is ours, its replica hears of it, made on first sight.
    pub(crate) fn publish_partition(&mut self, tp: TopicPartition, cx: &mut Cx) {
        let Some(partition) = self.metadata.image.partition(tp) else { return };
        let mine = partition.replicas.contains(&self.config.node);
        let state = state_of(&self.metadata.image, partition);
        let assigned = partition.directory(self.config.node);
        let slot = match self.partitions.find(tp) {
            Some(slot) => slot,
            None if mine => self.new_replica(tp, assigned, cx),
            None => return,
        };
        let place = self.partitions.slot_mut(slot);
        let lies_in = self.dirs.all[place.dir].id;
        if mine && !directory::is_reserved(lies_in) {
            self.assignments.compare(tp, lies_in, assigned);
        }
        place.peers.clone_from(&state.replicas);
        place.backoff_until = 0;
        let leader = state.leader.filter(|leader| mine && *leader != self.config.node);
        let before = std::mem::replace(&mut place.fetcher, leader);
        self.fetchers.assign(slot, before, leader);
        self.partitions.mark(slot);
        self.step_replica(slot, Event::State(state), cx);
    }

    /// The replica of a partition that metadata places here, in the directory `assigned` if it says so.
    fn new_replica(&mut self, tp: TopicPartition, assigned: Uuid, cx: &mut Cx) -> u32 {
        let name = self.metadata.image.topics[&tp.topic].name.detached();
        let topic = topic_config(&self.config, &self.metadata.image, &name);
        let config = replica_config(&self.config, tp, &topic);
        let dir = self.dirs.place(&name, tp.partition, assigned);
        let replica = self.replica_in(dir, &name, config);
        let slot = Slot {
            tp,
            topic: name.to_string(),
            dir,
            replica,
            rules: topic.rules(),
            parked: Vec::new(),
            fetcher: None,
            backoff_until: 0,
            peers: Vec::new(),
            armed: None,
            dirty: false,
        };
        let slot = self.partitions.add(slot);
        // Where its log was found is where it is, also if that directory has failed since.
        match self.dirs.all[dir].failure.clone() {
            Some(error) => self.step_replica(slot, Event::DirFailed(error), cx),
            None => self.identify(slot, cx),
        }
        slot
    }

    fn replica_in(&self, dir: usize, topic: &str, config: ReplicaConfig) -> Replica {
        let partition = config.tp.partition;
        let path = self.dirs.all[dir].path(&DirName::new(topic, partition).to_string());
        let remembered = self.dirs.all[dir].remembered(topic, partition);
        Replica::new(config, path, remembered, self.guards, self.observe.clone())
    }

    /// A replica that has not begun to load is made again, after what was remembered of its log proved to be another's.
    pub(crate) fn remake_replica(&mut self, slot: u32, cx: &mut Cx) {
        let place = self.partitions.slot(slot);
        let (tp, name) = (place.tp, place.topic.clone());
        let config = replica_config(&self.config, tp, &topic_config(&self.config, &self.metadata.image, &name));
        let replica = self.replica_in(place.dir, &name, config);
        self.partitions.slot_mut(slot).replica = replica;
        self.publish_partition(tp, cx);
    }

    /// A topic's settings changed.
    pub(crate) fn publish_config(&mut self, name: &str, cx: &mut Cx) {
        let Some((topic, image)) = self.metadata.image.topic_by_name(name) else { return };
        let config = topic_config(&self.config, &self.metadata.image, name);
        let tps: Vec<TopicPartition> =
            image.partitions.keys().map(|partition| TopicPartition { topic, partition: *partition }).collect();
        for tp in tps {
            if let Some(slot) = self.partitions.find(tp) {
                self.partitions.slot_mut(slot).rules = config.rules();
                let ReplicaConfig { min_insync_replicas, log, .. } = replica_config(&self.config, tp, &config);
                self.step_replica(slot, Event::Config { min_insync_replicas, log }, cx);
            }
        }
    }

    /// Where a broker listens, as metadata says.
    pub(crate) fn broker_endpoint(&self, broker: NodeId) -> Option<Endpoint> {
        let broker = self.metadata.image.brokers.get(&broker)?;
        Some(Endpoint { host: broker.host.clone(), port: broker.port })
    }
}

fn topic_config(config: &NodeConfig, image: &MetadataImage, name: &str) -> TopicConfig {
    let given = image.topic_configs.get(name);
    config.topic.with(given.into_iter().flatten().map(|(key, value)| (key.as_str(), value.as_str())))
}

fn replica_config(config: &NodeConfig, tp: TopicPartition, topic: &TopicConfig) -> ReplicaConfig {
    ReplicaConfig {
        node: config.node,
        tp,
        min_insync_replicas: topic.min_insync_replicas,
        replica_lag_time_max_ms: config.replica_lag_time_max_ms,
        log: topic.log,
    }
}

/// What metadata says of a partition. Eligible are those replicas that are neither fenced nor shutting down (KIP-841, KIP-903).
fn state_of(image: &MetadataImage, partition: &PartitionImage) -> PartitionState {
    let active =
        |id: &NodeId| image.brokers.get(id).filter(|broker| broker.is_active()).map(|broker| (*id, broker.epoch));
    PartitionState {
        leader: partition.leader,
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.partition_epoch,
        replicas: partition.replicas.clone(),
        isr: partition.isr.clone(),
        recovering: partition.recovering,
        eligible: partition.replicas.iter().filter_map(active).collect(),
    }
}
