//! The causal slice of a violation: the few entries of the history that lead from the first fact to the second.
//!
//! What may matter is what happened to the same records, the same partition and the same machines: who appended the batch, who
//! counted it as committed, who led, who was in sync, what was cut, loaded and broken, and what the client was told.

use crate::nodes::node_of;
use crate::words::Telling;
use crate::{Entry, Event, Fact, Party, Witness, World};
use klamm_base::{ClientRecord, NodeId, Observation, Source, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};

/// No story is longer.
pub(crate) const LONGEST: usize = 20;

/// How near an entry is to the cause; the nearest are kept when there are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Nearness {
    /// One of the two facts of the witness.
    Witness,
    /// It happened to the records themselves.
    Records,
    /// It decided who leads and who is in sync.
    Leadership,
    /// It befell a machine or a connection.
    World,
}

/// What a witness is about.
struct Subject {
    partitions: BTreeSet<TopicPartition>,
    /// Offsets by partition: from the lowest to behind the highest.
    offsets: BTreeMap<TopicPartition, (i64, i64)>,
    /// Its first records: of each of them the same is told.
    records: Vec<ClientRecord>,
    nodes: BTreeSet<NodeId>,
    /// Indices of the two facts, in order.
    facts: (usize, usize),
}

/// The story of a witness, in the order of the history: at most [`LONGEST`] facts, its own two among them.
pub(crate) fn slice(telling: Telling, witness: &Witness) -> Vec<Fact> {
    let entries = &telling.history.entries;
    let place = |fact: &Fact| entries.partition_point(|entry| entry.seq < fact.seq);
    let (one, two) = (place(&witness.first), place(&witness.second));
    if one.max(two) >= entries.len() {
        return Vec::new();
    }
    let mut subject = subject(entries, witness, (one.min(two), one.max(two)));
    if subject.records.is_empty() {
        subject.records.extend(acknowledged(telling, &subject));
    }
    let mut chosen = candidates(entries, &subject);
    // The nearest, and of those the latest, but the first of all: what is told of a record begins with its append.
    chosen.sort_by_key(|(nearness, at)| (*nearness, std::cmp::Reverse(*at)));
    if let Some(begin) = chosen.iter().filter(|it| it.0 == Nearness::Records).map(|it| it.1).min() {
        chosen.sort_by_key(|(nearness, at)| (*nearness, *at != begin, std::cmp::Reverse(*at)));
    }
    chosen.truncate(LONGEST);
    chosen.sort_by_key(|(_, at)| *at);
    chosen.into_iter().map(|(_, at)| told(telling, witness, at)).collect()
}

/// The first record that a client was told stands at the offsets of the subject, where the witness names none.
fn acknowledged(telling: Telling, subject: &Subject) -> Option<ClientRecord> {
    let (tp, (from, to)) = subject.offsets.first_key_value()?;
    let partition = telling.ledger.parts.iter().find(|part| part.tp == *tp)?;
    (*from..*to).take(LONGEST).find_map(|offset| partition.slots.get(offset).acked.record())
}

/// The witness's own words for its own facts.
fn told(telling: Telling, witness: &Witness, at: usize) -> Fact {
    let fact = telling.fact(at as u32);
    let own = [&witness.first, &witness.second].into_iter().find(|own| own.seq == fact.seq);
    own.cloned().unwrap_or(fact)
}

fn subject(entries: &[Entry], witness: &Witness, facts: (usize, usize)) -> Subject {
    let mut offsets = BTreeMap::new();
    for stretch in witness.records.iter().filter(|stretch| stretch.from < stretch.to) {
        let known = offsets.entry(stretch.tp).or_insert((stretch.from, stretch.to));
        *known = (known.0.min(stretch.from), known.1.max(stretch.to));
    }
    let mut partitions: BTreeSet<_> = witness.records.iter().map(|stretch| stretch.tp).collect();
    let mut nodes = BTreeSet::new();
    for entry in [&entries[facts.0], &entries[facts.1]] {
        match &entry.event {
            Event::Stack { source, observation } => {
                partitions.extend(partition_of(observation).filter(|_| witness.records.is_empty()));
                nodes.extend(node_in(*source));
            }
            Event::World(world) => nodes.extend(node_of(world)),
        }
    }
    let records = witness.records.iter().flat_map(|stretch| &stretch.records).take(1).copied().collect();
    let mut subject = Subject { partitions, offsets, records, nodes, facts };
    // Every replica of the partition may have a part in it.
    for entry in &entries[..=facts.1] {
        if let Event::Stack { observation: Observation::PartitionChanged { tp, replicas, .. }, .. } = &entry.event
            && subject.partitions.contains(tp)
        {
            subject.nodes.extend(replicas);
        }
    }
    subject
}

fn node_in(source: Source) -> Option<NodeId> {
    match source {
        Source::Node(node) => Some(node),
        Source::Client(_) => None,
    }
}

pub(crate) fn partition_of(observation: &Observation) -> Option<TopicPartition> {
    match observation {
        Observation::LogLoaded { tp, .. }
        | Observation::Appended { tp, .. }
        | Observation::Flushed { tp, .. }
        | Observation::Truncated { tp, .. }
        | Observation::LogStartMoved { tp, .. }
        | Observation::RetentionRan { tp, .. }
        | Observation::LogCleaned { tp, .. }
        | Observation::ProducersLoaded { tp, .. }
        | Observation::HighWatermark { tp, .. }
        | Observation::BecameLeader { tp, .. }
        | Observation::BecameFollower { tp, .. }
        | Observation::LeaderIsr { tp, .. }
        | Observation::ProduceAcked { tp, .. }
        | Observation::FetchServed { tp, .. }
        | Observation::PartitionChanged { tp, .. }
        | Observation::Invoked { tp, .. }
        | Observation::Ended { tp, .. }
        | Observation::Read { tp, .. }
        | Observation::Positioned { tp, .. }
        | Observation::FinallyRead { tp, .. } => Some(*tp),
        _ => None,
    }
}

/// One pass over the entries up to the second fact. What happened before the first append of the records, or before the first
/// fact, is told only as far as it was in force then: the leadership.
fn candidates(entries: &[Entry], subject: &Subject) -> Vec<(Nearness, usize)> {
    let mut found = Vec::new();
    let mut began = false;
    let mut before: Option<usize> = None;
    // High watermarks that covered the records already, by node.
    let mut covered = BTreeSet::new();
    for (at, entry) in entries[..=subject.facts.1].iter().enumerate() {
        let own = at == subject.facts.0 || at == subject.facts.1;
        let nearness = if own { Some(Nearness::Witness) } else { nearness(subject, entry, &mut covered) };
        let Some(nearness) = nearness else { continue };
        // Nothing was taken from a log before there was something.
        let takes = |it: &Observation| matches!(it, Observation::Truncated { .. } | Observation::LogLoaded { .. });
        let takes = matches!(&entry.event, Event::Stack { observation, .. } if takes(observation));
        began |= own || (nearness == Nearness::Records && !takes);
        match nearness {
            _ if began => found.push((nearness, at)),
            Nearness::Leadership => before = Some(at),
            _ => {}
        }
    }
    found.extend(before.map(|at| (Nearness::Leadership, at)));
    found
}

fn nearness(subject: &Subject, entry: &Entry, covered: &mut BTreeSet<NodeId>) -> Option<Nearness> {
    match &entry.event {
        Event::World(world) => befell(subject, world).then_some(Nearness::World),
        Event::Stack { source, observation } => {
            let tp = partition_of(observation).filter(|tp| subject.partitions.contains(tp))?;
            let leads = matches!(observation, Observation::PartitionChanged { .. } | Observation::BecameLeader { .. });
            if leads {
                return Some(Nearness::Leadership);
            }
            let (from, to) = *subject.offsets.get(&tp)?;
            touches(subject, *source, observation, (from, to), covered).then_some(Nearness::Records)
        }
    }
}

/// Whether something happened to the records at these offsets.
fn touches(
    subject: &Subject,
    source: Source,
    observation: &Observation,
    (from, to): (i64, i64),
    covered: &mut BTreeSet<NodeId>,
) -> bool {
    match observation {
        Observation::Appended { base_offset, last_offset, .. }
        | Observation::ProduceAcked { base_offset, last_offset, .. } => *base_offset < to && from <= *last_offset,
        Observation::Truncated { to: end, .. } => *end < to,
        Observation::LogLoaded { log_end, .. } => *log_end < to,
        Observation::LogStartMoved { to: start, .. } => *start > from,
        Observation::RetentionRan { deleted, log_start, .. } => *deleted > 0 && *log_start < to,
        Observation::HighWatermark { to: mark, as_leader: true, .. } => {
            let Source::Node(node) = source else { return false };
            *mark > from && covered.insert(node)
        }
        Observation::Invoked { record, .. } | Observation::Ended { record, .. } => subject.records.contains(record),
        _ => false,
    }
}

/// Whether something befell a machine of the subject, or a connection between two of them.
fn befell(subject: &Subject, world: &World) -> bool {
    match world {
        World::Step { .. } | World::FaultStruck { .. } | World::HostStarted { .. } => false,
        World::Healed | World::Settled { .. } | World::Halted { .. } => true,
        World::BytesCorrupted { from, to, .. } => [from, to].into_iter().all(|party| match party {
            Party::Node(node) => subject.nodes.contains(node),
            Party::Client(_) => true,
        }),
        other => node_of(other).is_some_and(|node| subject.nodes.contains(&node)),
    }
}
