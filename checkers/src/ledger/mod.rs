//! What the judge knows at each moment of a run: built in one pass, read by every property.

mod clients;
mod compaction;
mod harm;
mod log;
mod loss;
mod partition;
mod producers;
mod reload;
mod slots;
mod starts;
mod told;
mod witnesses;

pub(crate) use clients::{Client, Sending, Sent, Word};
pub(crate) use compaction::{CleanFault, Removed};
pub(crate) use harm::Harm;
use harm::{Beside, Load};
pub(crate) use log::{AppendFault, Commit, Cut, Fate, LogModel, Mark, Reload, Version, VersionId};
pub(crate) use loss::{Cause, Decision, Setting};
pub(crate) use partition::{Changes, Partition};
pub(crate) use slots::Slots;
pub(crate) use starts::{StartFault, TooEarly};
use witnesses::Witnesses;

use crate::nodes::{NodeIndex, NodeNames, NodeSet, node_of};
use crate::{Counts, Damage, Entry, Event, Party, Phase, World};
use compaction::Clean;
use klamm_base::{ClientId, ClientRecord, NodeId, Observation, Outcome, Source, TopicPartition, Uuid};
use partition::Stored;
use starts::{Check, Limits};
use std::collections::BTreeMap;

/// A topic as the controller made it.
#[derive(Debug)]
pub(crate) struct Topic {
    pub name: String,
    pub min_insync: i32,
    pub unclean: bool,
    pub limits: Limits,
    /// `delete.retention.ms` of a compacted one.
    pub compacted: Option<i64>,
}

/// What the world did to a node last, as entries plus one; 0: never.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Machine {
    pub incarnation: u32,
    /// Entry at which its process began.
    pub began: u32,
    pub powered_off: u32,
    pub wiped: u32,
    /// The world ended its process and has not started it again. One that ended by itself should run.
    pub is_down: bool,
    /// A device was wiped under its process: in which of its lives, and the entry and the world time of that.
    pub device_wiped: Option<(u32, u32, u64)>,
    /// The last heal leaves it out: it is nobody's business any more.
    pub left_out: bool,
    /// Entry at which the world last made its wall clock wrong.
    pub clock_off: Option<u32>,
    /// The life that last ended in good order, and no fault of a disk had struck in it.
    pub stopped_well: Option<u32>,
    /// The life in which a fault of a disk struck last.
    disk_struck: Option<u32>,
}

impl Machine {
    /// Another life of its process begins.
    fn started(&mut self, at: u32) {
        (self.incarnation, self.began) = (self.incarnation + 1, at);
    }

    fn note(&mut self, at: u32, world: &World) {
        match world {
            World::ClockSet { offset_ms, .. } if *offset_ms != 0 => self.clock_off = Some(at),
            World::ClockWrong { .. } => self.clock_off = Some(at),
            World::DiskFault { phase: Phase::Struck, .. } => self.disk_struck = Some(self.incarnation),
            World::Stopped { in_order: true, .. } if self.disk_struck != Some(self.incarnation) => {
                self.stopped_well = Some(self.incarnation);
            }
            World::HostStarted { .. } | World::Restarted { .. } => self.is_down = false,
            World::Killed { .. } | World::PoweredOff { .. } => self.is_down = true,
            World::LeftOut { .. } => self.left_out = true,
            _ => {}
        }
    }
}

/// What an entry did to the ledger. Lists of versions stand in [`Ledger::changes`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Effect {
    Nothing,
    Appended {
        part: usize,
        node: NodeIndex,
        version: VersionId,
        fresh: bool,
        fault: Option<AppendFault>,
        /// Entry of the harm that explains it.
        excuse: Option<u32>,
        /// Its producer's batch that it does not follow.
        slip: Option<VersionId>,
    },
    /// A log told what it knows of producers.
    Remembers {
        part: usize,
        node: NodeIndex,
        /// The first producer of which it knows something else than its batches tell.
        wrong: Option<i64>,
        excuse: Option<u32>,
    },
    Loaded {
        part: usize,
        node: NodeIndex,
        before: Before,
        how: Reload,
    },
    Truncated {
        part: usize,
        node: NodeIndex,
        /// Entry of the harm that explains it.
        excuse: Option<u32>,
    },
    /// The start of a log moved, or a check of the retention was told.
    Started {
        part: usize,
        node: NodeIndex,
        fault: Option<StartFault>,
        /// Entry of the harm that explains the fault.
        excuse: Option<u32>,
        early: Option<TooEarly>,
    },
    /// A clean wrote some of a log's segments anew.
    Cleaned {
        part: usize,
        node: NodeIndex,
        removed: Removed,
        fault: Option<CleanFault>,
        /// Entry of the harm, or of what made the node's clock wrong, that explains it.
        excuse: Option<u32>,
    },
    Marked {
        part: usize,
        node: NodeIndex,
        before: Option<Mark>,
        now: Mark,
    },
    Led {
        part: usize,
        node: NodeIndex,
        leader_epoch: i32,
        newest: bool,
    },
    /// A leader takes replicas into the ISR that it counts.
    Joined {
        part: usize,
        node: NodeIndex,
        leader_epoch: i32,
        joined: NodeSet,
    },
    Decided {
        part: usize,
        decision: usize,
    },
    Answered {
        part: usize,
        node: NodeIndex,
    },
    Served {
        part: usize,
        node: NodeIndex,
    },
    /// A producer was told how a record ended; if acknowledged, the batch that it is in, and another that it may be in.
    Ended {
        part: usize,
        record: ClientRecord,
        outcome: Outcome,
        stored: (Option<VersionId>, Option<VersionId>),
    },
    /// A consumer read or was positioned. If it was led astray before: the entry of what led it there.
    Read {
        part: usize,
        astray: Option<u32>,
    },
    /// A process died, with or without its machine.
    Down {
        node: NodeIndex,
    },
}

/// A log as it was before a load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Before {
    pub known: bool,
    pub start: i64,
    pub end: i64,
    pub flushed: i64,
    /// Power was lost since the last load.
    pub power_lost: bool,
    /// The first offset that damage may have taken away or changed, and the entry of that damage.
    pub harmed: Option<(i64, u32)>,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub nodes: NodeNames,
    pub machines: Vec<Machine>,
    pub parts: Vec<Partition>,
    by_tp: BTreeMap<TopicPartition, usize>,
    recent: Option<(TopicPartition, usize)>,
    pub topics: BTreeMap<Uuid, Topic>,
    pub clients: BTreeMap<ClientId, Client>,
    pub counts: Counts,
    /// Entry of the last heal.
    pub healed: Option<u32>,
    /// Whether the cluster came to rest after it.
    rested: Option<bool>,
    pub changes: Changes,
    /// What spoilt frames told clients.
    pub witnesses: Witnesses,
    /// Nodes of which a file that no start can do without is damaged, with the entry of that damage.
    unfit: BTreeMap<u8, (u32, Damage)>,
    /// World time of the entry that is being taken in, nanoseconds.
    now_ns: u64,
    /// What right wall clocks said when the run began, milliseconds.
    wall_ms: Option<i64>,
}

/// The longest reading or batch that is looked at record by record: beyond it a history is not a real one.
const LONGEST: i64 = 1 << 20;

impl Ledger {
    /// Takes one entry in; `at` is its index.
    pub fn apply(&mut self, at: u32, entry: &Entry) -> Effect {
        self.changes.clear();
        self.now_ns = entry.at_ns;
        match &entry.event {
            Event::World(world) => self.world(at, world),
            Event::Stack { source: Source::Node(node), observation } => {
                let node = self.node(*node);
                self.stack(at, node, observation)
            }
            Event::Stack { source: Source::Client(client), observation } => self.client(at, *client, observation),
        }
    }

    /// A node's number. Histories name few nodes: reading one checks that.
    pub fn node(&mut self, node: NodeId) -> NodeIndex {
        let index = self.nodes.learn(node).expect("a history names at most 128 nodes");
        if index.0 as usize >= self.machines.len() {
            self.machines.resize(index.0 as usize + 1, Machine::default());
        }
        index
    }

    /// World time of the entry that was taken in last, nanoseconds.
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    pub fn machine(&self, node: NodeIndex) -> Machine {
        self.machines[node.0 as usize]
    }

    fn set(&mut self, nodes: &[NodeId]) -> NodeSet {
        let mut set = NodeSet::default();
        nodes.iter().for_each(|node| set.insert(self.node(*node)));
        set
    }

    /// A partition's number.
    pub fn part(&mut self, tp: TopicPartition) -> usize {
        if let Some((known, part)) = self.recent
            && known == tp
        {
            return part;
        }
        let part = match self.by_tp.get(&tp) {
            Some(part) => *part,
            None => self.open(tp),
        };
        self.recent = Some((tp, part));
        part
    }

    fn open(&mut self, tp: TopicPartition) -> usize {
        let mut part = Partition::new(tp);
        if let Some(topic) = self.topics.get(&tp.topic) {
            part.settle(topic);
        }
        self.parts.push(part);
        self.by_tp.insert(tp, self.parts.len() - 1);
        self.parts.len() - 1
    }

    fn world(&mut self, at: u32, world: &World) -> Effect {
        let node = node_of(world).map(|node| self.node(node));
        if let Some(node) = node {
            self.machines[node.0 as usize].note(at, world);
        }
        match (world, node) {
            (World::Killed { .. } | World::Stopped { .. }, Some(node)) => Effect::Down { node },
            (World::PoweredOff { .. }, Some(node)) => {
                self.machines[node.0 as usize].powered_off = at + 1;
                Effect::Down { node }
            }
            (World::DiskWiped { .. }, Some(node)) => {
                self.wipe(at, node);
                Effect::Down { node }
            }
            (World::DiskDamaged { path, from, to, kind, .. }, Some(node)) => {
                self.damaged(at, node, path, (*from, *to), *kind);
                Effect::Nothing
            }
            (World::BytesCorrupted { from, to, role, .. }, _) => {
                self.corrupted(at, from, to, role);
                Effect::Nothing
            }
            (World::FaultStruck { .. }, _) => {
                self.counts.faults += 1;
                Effect::Nothing
            }
            (World::ClientDisturbed { client, what }, _) => {
                if what == "killed" || what == "powered off" {
                    self.client_died(client);
                }
                Effect::Nothing
            }
            (World::Healed, _) => {
                self.healed = Some(at);
                Effect::Nothing
            }
            (World::Settled { ok, .. }, _) => {
                self.rested = Some(*ok);
                // The final reading follows: where each log ended for it was decided some time after this, and what is told
                // from now on of offsets beyond that end is news to it.
                self.parts.iter_mut().for_each(|part| part.finally_began = part.finally_began.or(Some(at)));
                Effect::Nothing
            }
            _ => Effect::Nothing,
        }
    }

    /// Which copy damaged bytes belong to, by the path of their file.
    fn damaged(&mut self, at: u32, node: NodeIndex, path: &str, bytes: (u64, u64), kind: Damage) {
        if kind == Damage::Removed {
            self.machines[node.0 as usize].powered_off = at + 1;
        }
        if kind == Damage::Wiped {
            let life = self.machine(node).incarnation;
            self.machines[node.0 as usize].device_wiped = Some((life, at, self.now_ns));
        }
        let mut parts = path.rsplit('/');
        let (file, directory) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let segment = file.strip_suffix(".log").and_then(|base| base.parse().ok());
        match (self.tp_of(directory), segment) {
            (Some(tp), Some(segment)) if kind != Damage::NamesNotDurable => {
                let part = self.part(tp);
                self.parts[part].damage(node, kind, segment, bytes, (at, self.now_ns));
            }
            // The directory of a log, or one that holds such directories.
            _ if kind == Damage::NamesNotDurable => {
                let of_a_log = file.rsplit_once('-').is_some_and(|(_, number)| number.parse::<i32>().is_ok());
                let only = self.tp_of(file);
                for partition in self.parts.iter_mut().filter(|part| !of_a_log || only == Some(part.tp)) {
                    partition.unname(node, of_a_log, (at, self.now_ns));
                }
            }
            (only, _) => self.damaged_beside(at, node, file, only, kind),
        }
    }

    /// A file is damaged that is no log's bytes: of this partition only, or of all in its directory.
    fn damaged_beside(&mut self, at: u32, node: NodeIndex, file: &str, only: Option<TopicPartition>, kind: Damage) {
        // Without these a node does not know who it is.
        let is_own = ["meta.properties", "quorum-state"].contains(&file.trim_end_matches(".tmp"));
        if is_own && !matches!(kind, Damage::Removed | Damage::Wiped) {
            self.unfit.insert(node.0, (at, kind));
        }
        let at_now = (at, self.now_ns);
        let concerned = self.parts.iter_mut().filter(|part| only.is_none_or(|tp| tp == part.tp));
        match file.trim_end_matches(".tmp") {
            "partition.metadata" if only.is_some() => {
                return concerned.for_each(|part| part.misname(node, kind, at_now));
            }
            "cleaner-offset-checkpoint" => return concerned.for_each(|part| part.misguide_cleans(node, at)),
            _ => {}
        }
        let Some(beside) = Beside::of(file, kind) else { return };
        for part in self.parts.iter_mut().filter(|part| only.is_none_or(|tp| tp == part.tp)) {
            part.misguide(node, beside, kind, (at, self.now_ns));
        }
    }

    /// The damage for which a node cannot start, if there is any. What is only not durable is there until power is lost.
    pub fn unfit(&self, node: NodeIndex) -> Option<u32> {
        let (at, kind) = *self.unfit.get(&node.0)?;
        (kind != Damage::NotDurable || self.machine(node).powered_off > at).then_some(at)
    }

    /// The partition whose log this directory holds, by its name: `orders-0`. None where the topic is not made yet.
    fn tp_of(&self, directory: &str) -> Option<TopicPartition> {
        if directory == "__cluster_metadata-0" {
            return Some(TopicPartition::METADATA);
        }
        let (name, partition) = directory.rsplit_once('-')?;
        let (topic, _) = self.topics.iter().find(|(_, topic)| topic.name == name)?;
        Some(TopicPartition { topic: *topic, partition: partition.parse().ok()? })
    }

    /// A frame was spoilt. Between brokers that fetch it concerns the partitions that one leads and the other follows; what it
    /// tells a client concerns that client.
    fn corrupted(&mut self, at: u32, from: &Party, to: &Party, role: &str) {
        match (from, to) {
            (Party::Node(one), Party::Node(two)) => {
                let (one, two) = (self.node(*one), self.node(*two));
                for part in self.parts.iter_mut().filter(|_| role == "fetch") {
                    let Some((leader, _)) = part.led else { continue };
                    let follower = if leader == one { two } else { one };
                    if (leader == one || leader == two) && part.log(follower).is_some() {
                        part.spoil_frame(follower, at, self.now_ns);
                    }
                }
            }
            (Party::Client(name), _) | (_, Party::Client(name)) => self.witnesses.misled(name, at, self.now_ns),
        }
    }

    /// A frame that was spoilt on a client's connections while one of its records was in flight.
    pub fn misled(&self, record: ClientRecord, sent: &Sent) -> Option<u32> {
        let client = self.clients.get(&record.client)?;
        let ended = sent.ended.map_or(u32::MAX, |(at, _)| at);
        self.witnesses.misled_between(&client.name, sent.invoked, ended)
    }

    /// What a dead client had in flight is in flight no longer: nobody will retry it.
    fn client_died(&mut self, name: &str) {
        let dead: Vec<ClientId> =
            self.clients.iter().filter(|(_, client)| client.name == name).map(|(id, _)| *id).collect();
        for part in &mut self.parts {
            let sendings = part.sendings.iter_mut().filter(|(client, _)| dead.contains(client));
            sendings.for_each(|(_, sending)| sending.pending = 0);
        }
    }

    fn wipe(&mut self, at: u32, node: NodeIndex) {
        self.machines[node.0 as usize].wiped = at + 1;
        for part in &mut self.parts {
            self.changes.removed.clear();
            part.wipe(node, &mut self.changes.removed);
            part.cut_away(node, i64::MIN, at);
        }
        self.unfit.remove(&node.0);
        self.changes.removed.clear();
    }

    fn stack(&mut self, at: u32, node: NodeIndex, observation: &Observation) -> Effect {
        match observation {
            Observation::NodeStarted { .. } => {
                self.machines[node.0 as usize].started(at);
                Effect::Nothing
            }
            Observation::Appended {
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
                keys,
            } => {
                let (base, last) = (*base_offset, (*last_offset).max(*base_offset));
                let part = self.part(*tp);
                let stored = Stored { base, last, epoch: *leader_epoch, batch: *batch, producer: *producer };
                let partition = &mut self.parts[part];
                let (version, fresh, fault) = partition.append(node, stored, *as_leader, at);
                partition.note_keys(version, keys);
                let slip = if fresh { partition.slipped(node, version) } else { None };
                partition.announced(node, (base, last), (*position, *bytes), *max_timestamp);
                let odd = fault.is_some() || (fresh && !as_leader);
                // A hole is as strange as what stands behind it.
                let from = if let Some(AppendFault::Gap { end }) = fault { end.min(base) } else { base };
                let excuse = if odd { partition.fed(node, from, last, self.now_ns, at) } else { None };
                Effect::Appended { part, node, version, fresh, fault, excuse: excuse.map(|harm| harm.at), slip }
            }
            Observation::Truncated { tp, to, cause, .. } => {
                let part = self.part(*tp);
                let partition = &mut self.parts[part];
                let end = partition.log(node).map_or(0, |log| log.end);
                partition.truncate(node, *to, *cause, at, &mut self.changes.removed);
                let harm = partition.spoilt_frame(node, self.now_ns).or_else(|| partition.fed_by(node));
                let harm = harm.or_else(|| partition.harmed_source(node, end, end, self.now_ns));
                let harm = harm.or_else(|| partition.wrong_epochs());
                if let Some(harm) = harm {
                    self.changes.removed.iter().for_each(|id| partition.destroy(*id, node, harm));
                }
                partition.cut_away(node, *to, at);
                Effect::Truncated { part, node, excuse: harm.map(|harm| harm.at) }
            }
            Observation::LogLoaded { tp, log_start, log_end, digest } => {
                self.load(at, node, *tp, (*log_start, *log_end, *digest))
            }
            Observation::Flushed { tp, to } => {
                let part = self.part(*tp);
                let log = self.parts[part].log_mut(node);
                log.flushed = log.flushed.max((*to).min(log.end));
                Effect::Nothing
            }
            Observation::ProducersLoaded { tp, producers } => {
                let part = self.part(*tp);
                let wrong = self.parts[part].remembers_wrongly(node, producers);
                let harm = wrong.and_then(|_| self.parts[part].harm_of_start(node, self.now_ns));
                Effect::Remembers { part, node, wrong, excuse: harm.map(|harm| harm.at) }
            }
            Observation::LogStartMoved { .. } | Observation::RetentionRan { .. } => self.start(at, node, observation),
            Observation::LogCleaned { tp, from, to, end, wall_ms, batches } => {
                let clean = Clean { from: *from, to: *to, end: *end, wall_ms: *wall_ms, batches };
                self.cleaned(node, *tp, &clean)
            }
            _ => self.leadership(at, node, observation),
        }
    }

    /// The beginning of a log, and what the retention made of it.
    fn start(&mut self, at: u32, node: NodeIndex, observation: &Observation) -> Effect {
        let (tp, wall) = match observation {
            Observation::LogStartMoved { tp, wall_ms, .. } | Observation::RetentionRan { tp, wall_ms, .. } => {
                (*tp, *wall_ms)
            }
            other => unreachable!("{other:?} is no start"),
        };
        let (machine, part) = (self.machine(node), self.part(tp));
        let since_ms = (self.now_ns / 1_000_000) as i64;
        if machine.clock_off.is_none() {
            self.wall_ms.get_or_insert(wall.saturating_sub(since_ms));
        }
        let true_ms = self.wall_ms.map(|began| began.saturating_add(since_ms));
        // A millisecond may begin between the two.
        let is_late = |true_ms: i64| machine.clock_off.is_none() && true_ms.abs_diff(wall) > 1;
        let partition = &mut self.parts[part];
        let (fault, early) = match observation {
            Observation::LogStartMoved { to, cause, .. } => (partition.start_moved(node, *to, *cause, at), None),
            told => {
                let check = Check::told(told);
                let fault = partition.expired(node, &check);
                let true_ms = true_ms.filter(|_| machine.clock_off.is_some());
                (fault, true_ms.and_then(|true_ms| partition.too_early(node, &check, true_ms, machine)))
            }
        };
        let excuse = fault.and_then(|_| partition.harm_of_start(node, self.now_ns)).map(|harm| harm.at);
        // Damage may say how much goes, but what was never committed is not its to give.
        if excuse.is_some() && fault != Some(StartFault::Uncommitted) {
            partition.deleted_by_damage(node);
        }
        let other_time = || true_ms.filter(|it| is_late(*it)).map(|true_ms| StartFault::OtherTime { true_ms });
        let fault = fault.or_else(other_time);
        Effect::Started { part, node, fault, excuse, early }
    }

    fn cleaned(&mut self, node: NodeIndex, tp: TopicPartition, clean: &Clean) -> Effect {
        let (part, clock) = (self.part(tp), self.machine(node).clock_off);
        let partition = &mut self.parts[part];
        let (removed, fault) = partition.cleaned(node, clean);
        let harm = fault.and_then(|_| partition.harm_of_start(node, self.now_ns)).map(|harm| harm.at);
        let harm = harm.or_else(|| partition.is_misguided(node, fault?));
        // By a clock that runs ahead a producer has been silent for too long.
        let clock = clock.filter(|_| matches!(fault, Some(CleanFault::LastOfProducer { .. })));
        Effect::Cleaned { part, node, removed, fault, excuse: harm.or(clock) }
    }

    fn load(&mut self, at: u32, node: NodeIndex, tp: TopicPartition, (start, end, digest): (i64, i64, u64)) -> Effect {
        let machine = self.machine(node);
        let part = self.part(tp);
        let partition = &mut self.parts[part];
        let known = partition.log(node).is_some();
        let log = partition.log_mut(node);
        let (starts, was, flushed) = (log.starts.now, log.end, log.flushed);
        let lost_at = (machine.powered_off > log.loaded + 1).then(|| machine.powered_off - 1);
        // What stopped in good order is synced and checkpointed.
        let whole = known && machine.stopped_well == Some(log.life);
        let power_lost = lost_at.is_some() && !whole;
        let life = std::mem::replace(&mut log.life, machine.incarnation);
        if let Some((_, at, at_ns)) = machine.device_wiped.filter(|(wiped, ..)| *wiped >= life) {
            partition.gone(node, at, at_ns);
        }
        let load = Load { at, began: machine.began, power_lost: lost_at, moved: start != starts, flushed };
        let harm = partition.harm_of_load(node, load);
        let harmed = harm.map(|harm| (harm.from, harm.at));
        let before = Before { known, start: starts, end: was, flushed, power_lost, harmed };
        let how = partition.reload(node, (start, end, digest), at, &mut self.changes.removed);
        let how = if whole && load.moved { Reload::Beyond } else { how };
        if lost_at.is_some() {
            partition.log_mut(node).starts.forget();
        }
        for id in &self.changes.removed {
            match harm.filter(|harm| harm.from <= partition.version(*id).last) {
                Some(harm) => partition.destroy(*id, node, harm),
                None if power_lost => partition.version_mut(*id).destroyed.insert(node),
                None => {}
            }
        }
        let strange = matches!(how, Reload::Unexplained | Reload::Beyond) || how == Reload::Grown && harm.is_some();
        let differs = strange || !self.changes.removed.is_empty();
        partition.loaded_anew(node, end, load, differs);
        Effect::Loaded { part, node, before, how }
    }

    fn leadership(&mut self, at: u32, node: NodeIndex, observation: &Observation) -> Effect {
        match observation {
            Observation::HighWatermark { tp, to, leader_epoch, as_leader } => {
                let part = self.part(*tp);
                let incarnation = self.machine(node).incarnation;
                let now = Mark { to: *to, epoch: *leader_epoch, incarnation, as_leader: *as_leader, at };
                let before = self.parts[part].log_mut(node).mark.replace(now);
                if *as_leader {
                    self.parts[part].commit(node, *to, *leader_epoch, at, &mut self.changes);
                    self.parts[part].counted_in_vain(node, *leader_epoch, &self.changes.committed, self.now_ns);
                }
                Effect::Marked { part, node, before, now }
            }
            Observation::BecameFollower { tp, .. } => {
                let part = self.part(*tp);
                self.parts[part].takes_the_lead(node, false);
                Effect::Nothing
            }
            Observation::BecameLeader { tp, leader_epoch, .. } => {
                let part = self.part(*tp);
                self.parts[part].takes_the_lead(node, true);
                let newest = self.parts[part].lead(node, *leader_epoch, at, &mut self.changes);
                Effect::Led { part, node, leader_epoch: *leader_epoch, newest }
            }
            Observation::LeaderIsr { tp, leader_epoch, committed, maximal } => {
                let (committed, maximal) = (self.set(committed), self.set(maximal));
                let (part, leader_epoch) = (self.part(*tp), *leader_epoch);
                let known = self.parts[part].view_of(node, leader_epoch).map_or(maximal, |view| view.maximal);
                self.parts[part].view(node, at, leader_epoch, committed, maximal);
                let joined = maximal.minus(known);
                if joined.is_empty() { Effect::Nothing } else { Effect::Joined { part, node, leader_epoch, joined } }
            }
            Observation::ProduceAcked { tp, base_offset, last_offset, .. } => {
                let part = self.part(*tp);
                self.answered(part, node, *base_offset, *last_offset);
                Effect::Answered { part, node }
            }
            Observation::FetchServed { tp, .. } => Effect::Served { part: self.part(*tp), node },
            _ => self.controller(at, observation),
        }
    }

    /// Notes which stored batches a broker acknowledged.
    fn answered(&mut self, part: usize, node: NodeIndex, base: i64, last: i64) {
        let partition = &mut self.parts[part];
        let mut offset = base;
        let last = last.min(base.saturating_add(LONGEST));
        while offset <= last
            && let Some(id) = partition.covering(node, offset)
        {
            let end = partition.version(id).last;
            (offset..=end.min(last)).for_each(|offset| partition.slots.at(offset).answered(id));
            offset = end.saturating_add(1);
        }
    }

    fn controller(&mut self, at: u32, observation: &Observation) -> Effect {
        match observation {
            Observation::TopicCreated {
                topic,
                name,
                min_insync_replicas,
                unclean,
                retention_ms,
                retention_bytes,
                compacted,
                ..
            } => {
                let limits = Limits { ms: *retention_ms, bytes: *retention_bytes };
                let (min_insync, unclean, compacted) = (*min_insync_replicas, *unclean, *compacted);
                let made = Topic { name: name.clone(), min_insync, unclean, limits, compacted };
                let of_it = self.parts.iter_mut().filter(|part| part.tp.topic == *topic);
                of_it.for_each(|part| part.settle(&made));
                self.topics.insert(*topic, made);
                Effect::Nothing
            }
            Observation::PartitionChanged { tp, leader, leader_epoch, partition_epoch, replicas, isr, .. } => {
                let decision = Decision {
                    at,
                    leader: leader.map(|leader| self.node(leader)),
                    leader_epoch: *leader_epoch,
                    partition_epoch: *partition_epoch,
                    isr: self.set(isr),
                    replicas: self.set(replicas),
                    unclean: false,
                };
                let part = self.part(*tp);
                match self.parts[part].decide(decision) {
                    Some(decision) => Effect::Decided { part, decision },
                    None => Effect::Nothing,
                }
            }
            _ => Effect::Nothing,
        }
    }
}
