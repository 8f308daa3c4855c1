//! A recorded run under the knife: what a mutation must know of it to find its place, and how it is changed.

use klamm_base::{ClientId, ClientKind, ClientRecord, Draws, NodeId, Observation, Outcome, Source, TopicPartition};
use klamm_checkers::{Entry, Event, History, World};
use std::collections::BTreeMap;

/// One record as clients know it: indices into the run's entries.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub invoked: usize,
    pub ended: Option<(usize, Outcome)>,
    /// Readings that showed it: entry and place in it.
    pub reads: Vec<(usize, usize)>,
    /// The same, of the final reading.
    pub finally: Vec<(usize, usize)>,
}

impl Told {
    pub fn acked(&self) -> Option<(usize, i64)> {
        match self.ended? {
            (at, Outcome::Acked(offset)) => Some((at, offset)),
            _ => None,
        }
    }
}

/// A run, and what clients know of its records.
#[derive(Clone, Debug)]
pub struct Scene {
    pub entries: Vec<Entry>,
    pub records: BTreeMap<(TopicPartition, ClientRecord), Told>,
}

/// A batch in a replica's log, and the entry that put it there.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    pub base: i64,
    pub last: i64,
    pub epoch: i32,
    pub batch: u64,
    pub at: usize,
}

/// A high watermark as a replica told it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mark {
    pub node: NodeId,
    pub tp: TopicPartition,
    pub to: i64,
    pub epoch: i32,
}

impl Scene {
    pub fn new(history: &History) -> Scene {
        let mut scene = Scene { entries: history.entries.clone(), records: BTreeMap::new() };
        let mut records: BTreeMap<_, Told> = BTreeMap::new();
        for (at, _, observation) in scene.observed() {
            match observation {
                Observation::Invoked { tp, record } => {
                    records.insert((*tp, *record), Told { invoked: at, ..Told::default() });
                }
                Observation::Ended { tp, record, outcome } => {
                    records.entry((*tp, *record)).or_default().ended = Some((at, *outcome));
                }
                Observation::Read { tp, records: read, finally, .. } => {
                    for (step, record) in read.iter().enumerate().filter_map(|(step, it)| Some((step, (*it)?))) {
                        let told = records.entry((*tp, record)).or_default();
                        let seen = if *finally { &mut told.finally } else { &mut told.reads };
                        seen.push((at, step));
                    }
                }
                _ => {}
            }
        }
        scene.records = records;
        scene
    }

    /// The changed run. Sequence numbers follow the new order, and time never falls.
    pub fn history(self) -> History {
        let mut entries = self.entries;
        let mut now_ns = 0;
        for (seq, entry) in entries.iter_mut().enumerate() {
            now_ns = entry.at_ns.max(now_ns);
            (entry.seq, entry.at_ns) = (seq as u64, now_ns);
        }
        History { entries }
    }

    /// Everything that stack and clients observed.
    pub fn observed(&self) -> impl DoubleEndedIterator<Item = (usize, Source, &Observation)> {
        self.entries.iter().enumerate().filter_map(|(at, entry)| match &entry.event {
            Event::Stack { source, observation } => Some((at, *source, observation)),
            Event::World(_) => None,
        })
    }

    /// The same, of what nodes observed of partitions with records, from entry `from` on.
    pub fn told_from(&self, from: usize) -> impl Iterator<Item = (usize, NodeId, &Observation)> {
        self.entries[from..].iter().enumerate().filter_map(move |(at, entry)| match &entry.event {
            Event::Stack { source: Source::Node(node), observation } => Some((from + at, *node, observation)),
            _ => None,
        })
    }

    /// The same, backwards from before entry `to`.
    pub fn told_before(&self, to: usize) -> impl Iterator<Item = (usize, NodeId, &Observation)> {
        self.entries[..to].iter().enumerate().rev().filter_map(|(at, entry)| match &entry.event {
            Event::Stack { source: Source::Node(node), observation } => Some((at, *node, observation)),
            _ => None,
        })
    }

    /// The first place, from a drawn one on and around, of which `test` makes something.
    pub fn place<T>(&self, draws: &mut Draws, test: impl Fn(usize, &Event) -> Option<T>) -> Option<T> {
        let (length, start) = (self.entries.len(), draws.below(self.entries.len() as u64) as usize);
        let tried = (0..length).map(|step| (start + step) % length);
        tried.into_iter().find_map(|at| test(at, &self.entries[at].event))
    }

    /// The same, among observations of nodes.
    pub fn place_told<T>(
        &self,
        draws: &mut Draws,
        test: impl Fn(usize, NodeId, &Observation) -> Option<T>,
    ) -> Option<T> {
        self.place(draws, |at, event| match event {
            Event::Stack { source: Source::Node(node), observation } => test(at, *node, observation),
            _ => None,
        })
    }

    /// The same, among records.
    pub fn record<T>(
        &self,
        draws: &mut Draws,
        test: impl Fn(TopicPartition, ClientRecord, &Told) -> Option<T>,
    ) -> Option<T> {
        let records: Vec<_> = self.records.iter().collect();
        let start = draws.below(records.len().max(1) as u64) as usize;
        let tried = (0..records.len()).map(|step| records[(start + step) % records.len()]);
        tried.into_iter().find_map(|((tp, record), told)| test(*tp, *record, told))
    }

    /// What stands in a node's log before entry `at`, as far as it told.
    pub fn log(&self, node: NodeId, tp: TopicPartition, at: usize) -> Vec<Stored> {
        let mut log: Vec<Stored> = Vec::new();
        for (at, entry) in self.entries[..at].iter().enumerate() {
            match &entry.event {
                Event::World(World::DiskWiped { node: wiped }) if *wiped == node => log.clear(),
                Event::Stack { source: Source::Node(who), observation } if *who == node => match observation {
                    Observation::Appended { tp: of, base_offset, last_offset, leader_epoch, batch, .. }
                        if *of == tp =>
                    {
                        let (base, last, epoch, batch) = (*base_offset, *last_offset, *leader_epoch, *batch);
                        log.push(Stored { base, last, epoch, batch, at });
                    }
                    Observation::Truncated { tp: of, to, .. } if *of == tp => log.retain(|it| it.last < *to),
                    Observation::LogLoaded { tp: of, log_end, .. } if *of == tp => log.retain(|it| it.last < *log_end),
                    _ => {}
                },
                _ => {}
            }
        }
        log
    }

    /// The ISR that the controller committed last before entry `at`.
    pub fn isr(&self, tp: TopicPartition, at: usize) -> Vec<NodeId> {
        let found = self.told_before(at).find_map(|(_, _, observation)| match observation {
            Observation::PartitionChanged { tp: of, isr, .. } if *of == tp => Some(isr.clone()),
            _ => None,
        });
        found.unwrap_or_default()
    }

    /// The maximal ISR that a leader told last before entry `at`.
    pub fn view(&self, node: NodeId, tp: TopicPartition, at: usize) -> Option<Observation> {
        let told = |(_, who, it): (usize, NodeId, &Observation)| match it {
            Observation::LeaderIsr { tp: of, .. } if who == node && *of == tp => Some(it.clone()),
            _ => None,
        };
        self.told_before(at).find_map(told)
    }

    /// The highest offset below which something was committed before entry `at`.
    pub fn frontier(&self, tp: TopicPartition, at: usize) -> i64 {
        let marks = self.told_before(at).filter_map(|(_, node, it)| leader_mark(node, it)).filter(|mark| mark.tp == tp);
        marks.map(|mark| mark.to).max().unwrap_or(0)
    }

    /// A controller's decision and the one on the same partition before it.
    pub fn decision_before(&self, tp: TopicPartition, at: usize) -> Option<usize> {
        let of = |it: &Observation| matches!(it, Observation::PartitionChanged { tp: of, .. } if *of == tp);
        self.told_before(at).find(|(_, _, it)| of(it)).map(|(at, _, _)| at)
    }

    /// Entry at which the cluster was at rest again.
    pub fn settled(&self) -> Option<usize> {
        self.entries.iter().rposition(|entry| matches!(entry.event, Event::World(World::Settled { .. })))
    }

    /// The partition lost nothing that was acknowledged: where it did, the memory of sequences may be lost too.
    pub fn is_whole(&self, tp: TopicPartition) -> bool {
        let records = self.records.iter().filter(|((of, _), _)| *of == tp);
        records.into_iter().all(|(_, told)| told.acked().is_none() || !told.finally.is_empty())
    }

    pub fn is_idempotent(&self, client: ClientId) -> bool {
        self.observed().any(|(_, source, it)| match it {
            Observation::ClientStarted { kind: ClientKind::Producer { idempotent, .. }, .. } => {
                source == Source::Client(client) && *idempotent
            }
            _ => false,
        })
    }

    pub fn observation(&mut self, at: usize) -> &mut Observation {
        match &mut self.entries[at].event {
            Event::Stack { observation, .. } => observation,
            Event::World(world) => panic!("not an observation: {world:?}"),
        }
    }

    /// Puts an observation of a node before entry `at`, at its time.
    pub fn insert(&mut self, at: usize, node: NodeId, observation: Observation) {
        self.insert_event(at, Event::Stack { source: Source::Node(node), observation });
    }

    pub fn insert_event(&mut self, at: usize, event: Event) {
        let at_ns = self.entries[at.min(self.entries.len() - 1)].at_ns;
        self.entries.insert(at, Entry { seq: 0, at_ns, event });
    }

    /// Entry `from` happens before entry `to` already.
    pub fn forward(&mut self, from: usize, to: usize) {
        assert!(to <= from, "only what comes later can come earlier");
        let mut entry = self.entries.remove(from);
        entry.at_ns = self.entries[to].at_ns;
        self.entries.insert(to, entry);
    }

    /// Entry `from` happens only after entry `to`.
    pub fn delay(&mut self, from: usize, to: usize) {
        assert!(from <= to, "only what comes earlier can come later");
        let mut entry = self.entries.remove(from);
        entry.at_ns = self.entries[to - 1].at_ns;
        self.entries.insert(to, entry);
    }

    /// The same append once more, before entry `at`, by a follower.
    pub fn append_again(&mut self, node: NodeId, stored: &Stored, at: usize) {
        let again = match &self.entries[stored.at].event {
            Event::Stack { observation: Observation::Appended { .. }, .. } => self.entries[stored.at].event.clone(),
            other => panic!("not an append: {other:?}"),
        };
        let Event::Stack { mut observation, .. } = again else { unreachable!("checked") };
        if let Observation::Appended { as_leader, .. } = &mut observation {
            *as_leader = false;
        }
        self.insert(at, node, observation);
    }
}

/// A leader's high watermark of a partition with records.
pub fn leader_mark(node: NodeId, observation: &Observation) -> Option<Mark> {
    match observation {
        Observation::HighWatermark { tp, to, leader_epoch, as_leader: true } if *tp != TopicPartition::METADATA => {
            Some(Mark { node, tp: *tp, to: *to, epoch: *leader_epoch })
        }
        _ => None,
    }
}

/// A follower's append to a partition with records.
pub fn follower_append(observation: &Observation) -> Option<(TopicPartition, i64, i64, i32)> {
    match observation {
        Observation::Appended { tp, base_offset, last_offset, leader_epoch, as_leader: false, .. }
            if *tp != TopicPartition::METADATA =>
        {
            Some((*tp, *base_offset, *last_offset, *leader_epoch))
        }
        _ => None,
    }
}
