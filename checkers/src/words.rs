//! Facts in words. Nothing is formatted before a witness or a loss needs it.

use crate::ledger::{Ledger, Partition};
use crate::nodes::{NodeIndex, NodeSet};
use crate::{Damage, Entry, Event, Fact, History, Party, Phase, Stretch, World};
use klamm_base::{
    ClientId, ClientRecord, NodeId, Observation, Outcome, Source, StartCause, TopicPartition, TruncationCause,
};

/// A history and what is known of it.
#[derive(Clone, Copy)]
pub(crate) struct Telling<'a> {
    pub history: &'a History,
    pub ledger: &'a Ledger,
}

impl Telling<'_> {
    /// The fact that an entry states.
    pub fn fact(&self, at: u32) -> Fact {
        let entry = self.entry(at);
        Fact { seq: entry.seq, at_ns: entry.at_ns, text: self.text(entry) }
    }

    /// The same, told in other words.
    pub fn fact_as(&self, at: u32, text: String) -> Fact {
        let entry = self.entry(at);
        Fact { seq: entry.seq, at_ns: entry.at_ns, text }
    }

    pub fn entry(&self, at: u32) -> &Entry {
        &self.history.entries[at as usize]
    }

    /// `12.345 s`
    pub fn time(&self, at: u32) -> String {
        seconds(self.entry(at).at_ns)
    }

    /// `orders-0`
    pub fn partition(&self, tp: TopicPartition) -> String {
        format!("{}-{}", self.topic(tp), tp.partition)
    }

    pub fn part(&self, part: usize) -> String {
        self.partition(self.ledger.parts[part].tp)
    }

    pub fn topic(&self, tp: TopicPartition) -> String {
        if tp == TopicPartition::METADATA {
            return "__cluster_metadata".to_string();
        }
        self.ledger.topics.get(&tp.topic).map_or_else(|| tp.topic.to_string(), |topic| topic.name.clone())
    }

    pub fn node(&self, node: NodeIndex) -> String {
        name(self.ledger.nodes.id(node))
    }

    pub fn nodes(&self, nodes: NodeSet) -> String {
        list(nodes.iter().map(|node| self.node(node)))
    }

    pub fn client(&self, client: ClientId) -> String {
        match self.ledger.clients.get(&client) {
            Some(known) if !known.name.is_empty() => known.name.clone(),
            _ => format!("client {}", client.0),
        }
    }

    /// `record 17 of p1`
    pub fn record(&self, record: Option<ClientRecord>) -> String {
        match record {
            Some(record) => format!("record {} of {}", record.number, self.client(record.client)),
            None => "a value that no workload wrote".to_string(),
        }
    }

    /// `fault: bit-rot`: what takes the place of a setting where no setting could have helped.
    pub fn fault(&self, at: u32) -> String {
        let name = match &self.entry(at).event {
            Event::World(World::DiskDamaged { kind, .. }) => kind.name(),
            Event::World(World::BytesCorrupted { .. }) => "corrupted bytes",
            Event::World(World::ClockSet { .. } | World::ClockWrong { .. }) => "wall clock",
            _ => "damage",
        };
        format!("fault: {name}")
    }

    /// The fault with its time: `12.345 s: node 2: bytes 5..6 of FILE rotted`.
    pub fn cause(&self, at: u32) -> String {
        let fact = self.fact(at);
        format!("{}: {}", seconds(fact.at_ns), fact.text)
    }

    /// One range of one partition.
    pub fn stretch(&self, partition: &Partition, from: i64, to: i64, records: Vec<ClientRecord>) -> Stretch {
        Stretch { tp: partition.tp, topic: self.topic(partition.tp), from, to, records }
    }

    fn text(&self, entry: &Entry) -> String {
        match &entry.event {
            Event::World(world) => self.world(world),
            Event::Stack { source: Source::Client(client), observation } => self.told(*client, observation),
            Event::Stack { source: Source::Node(node), observation } => self.observed(&name(*node), observation),
        }
    }

    fn world(&self, world: &World) -> String {
        match world {
            World::HostStarted { node } => format!("{} was switched on", name(*node)),
            World::Killed { node } => format!("{} was killed", name(*node)),
            World::PoweredOff { node, lost_bytes } => {
                format!("{} lost power and {lost_bytes} unsynced bytes", name(*node))
            }
            World::Stopped { node, why, .. } => format!("{} stopped: {why}", name(*node)),
            World::Restarted { node } => format!("{} was started again", name(*node)),
            World::Paused { node } => format!("{} was paused", name(*node)),
            World::Resumed { node } => format!("{} ran on", name(*node)),
            World::DiskWiped { node } => format!("the disk of {} was wiped", name(*node)),
            World::MachineLost { node, disk } => format!("the machine of {} was lost, its disk {disk}", name(*node)),
            World::DiskDamaged { node, path, from, to, kind, .. } => {
                format!("{}: bytes {from}..{to} of {path} {}", name(*node), damage(*kind))
            }
            World::DiskFault { node, device, fault, path, phase } => {
                let place = if path.is_empty() { device.as_str() } else { path.as_str() };
                let on = if place.is_empty() { String::new() } else { format!(" on {place}") };
                let phase = match phase {
                    Phase::Began => "began",
                    Phase::Struck => "struck",
                    Phase::Ended => "ended",
                };
                format!("{}: the disk fault {fault} {phase}{on}", name(*node))
            }
            World::BytesCorrupted { from, to, role, at_byte } => {
                let (from, to) = (party(from), party(to));
                format!("byte {at_byte} from {from} to {to} ({role}) arrived other than it was sent")
            }
            World::Connection { from, to, role, what } => {
                let role = if role.is_empty() { String::new() } else { format!(" ({role})") };
                format!("between {from} and {to}{role}: {what}")
            }
            World::Disturbed { node, what } | World::ClockWrong { node, what } => format!("{}: {what}", name(*node)),
            World::LinkChanged { from, to, state } => format!("the link from {from} to {to} became {state}"),
            World::ClockSet { node, offset_ms } => {
                format!("the clock of {} was set off by {offset_ms} ms", name(*node))
            }
            World::ClientDisturbed { client, what } => format!("{client}: {what}"),
            World::Step { text } => format!("the script did: {text}"),
            World::FaultStruck { what } => format!("a fault struck: {what}"),
            World::LeftOut { node, how } => {
                format!("{} is left out of what is healed and stays {how} for ever", name(*node))
            }
            World::Healed => "all faults were taken back".to_string(),
            World::Settled { ok: true, .. } => "the cluster came to rest".to_string(),
            World::Settled { ok: false, why } => format!("the cluster did not come to rest: {why}"),
            World::Panicked { node, task, message, location } => {
                let place = node.map_or_else(|| "a client".to_string(), name);
                format!("{place} panicked in {task} at {location}: {message}")
            }
            World::Halted { property } => format!("the run was ended, as {property} is broken whatever comes later"),
        }
    }

    fn told(&self, client: ClientId, observation: &Observation) -> String {
        let who = self.client(client);
        match observation {
            Observation::Invoked { tp, record } => {
                format!("{who} was given record {} for {}", record.number, self.partition(*tp))
            }
            Observation::Ended { tp, record, outcome } => {
                format!(
                    "{who} was told that its record {} in {} {}",
                    record.number,
                    self.partition(*tp),
                    ending(*outcome)
                )
            }
            Observation::Read { tp, offset, records, finally } => {
                let end = offset.saturating_add(records.len() as i64);
                let which = if *finally { "the final reading" } else { who.as_str() };
                format!("{which} read {offset}..{end} of {}", self.partition(*tp))
            }
            Observation::Positioned { tp, offset } => format!("{who} was set to {offset} of {}", self.partition(*tp)),
            Observation::FinallyRead { tp, log_start, log_end, complete } => {
                let how = if *complete { "to its end" } else { "but not to its end" };
                format!("the final reading of {} covered {log_start}..{log_end}, {how}", self.partition(*tp))
            }
            Observation::ProducerIdLearned { producer_id, producer_epoch } => {
                format!("{who} became producer {producer_id} in epoch {producer_epoch}")
            }
            other => format!("{who}: {other:?}"),
        }
    }

    fn observed(&self, who: &str, observation: &Observation) -> String {
        match observation {
            Observation::Appended { tp, base_offset, last_offset, leader_epoch, as_leader, .. } => {
                let role = if *as_leader { "leader" } else { "follower" };
                let range = span(*base_offset, *last_offset);
                format!("{who} appended {range} to {} as {role}, written in epoch {leader_epoch}", self.partition(*tp))
            }
            Observation::LogLoaded { tp, log_start, log_end, .. } => {
                format!("{who} loaded {} with {log_start}..{log_end}", self.partition(*tp))
            }
            Observation::LogStartMoved { tp, to, cause, .. } => {
                format!(
                    "the log of {who} of {} begins at {to} from now on, {}",
                    self.partition(*tp),
                    start_cause(*cause)
                )
            }
            Observation::RetentionRan { tp, segments, deleted, .. } => {
                format!("{who} looked at {} segments of {} and deleted {deleted}", segments.len(), self.partition(*tp))
            }
            Observation::LogCleaned { tp, from, to, batches, .. } => {
                let (part, count) = (self.partition(*tp), batches.len());
                format!("{who} cleaned {from}..{to} of {part}: {count} batches are not what they were")
            }
            Observation::ProducersLoaded { tp, producers } => {
                format!("{who} knows of {} producers of {}", producers.len(), self.partition(*tp))
            }
            Observation::Flushed { tp, to } => format!("{who} flushed {} below {to}", self.partition(*tp)),
            Observation::Truncated { tp, to, high_watermark, cause, .. } => {
                let cause = cut_cause(*cause);
                format!("{who} cut {} to {to} ({cause}; its high watermark was {high_watermark})", self.partition(*tp))
            }
            Observation::HighWatermark { tp, to, leader_epoch, as_leader } => {
                let role = if *as_leader { "leader" } else { "follower" };
                format!(
                    "{who}, {role} of {} in epoch {leader_epoch}, moved its high watermark to {to}",
                    self.partition(*tp)
                )
            }
            Observation::BecameLeader { tp, leader_epoch, epoch_start } => {
                format!(
                    "{who} took up epoch {leader_epoch} of {} with a log that ends at {epoch_start}",
                    self.partition(*tp)
                )
            }
            Observation::ProduceAcked { tp, base_offset, last_offset, acks, leader_epoch, .. } => {
                let range = span(*base_offset, *last_offset);
                format!(
                    "{who} acknowledged {range} of {} with acks={} in epoch {leader_epoch}",
                    self.partition(*tp),
                    acks_word(*acks)
                )
            }
            Observation::FetchServed { tp, from, to, high_watermark } => {
                let tp = self.partition(*tp);
                format!("{who} served {from}..{to} of {tp} to a consumer, under the high watermark {high_watermark}")
            }
            other => self.decided(who, other),
        }
    }

    fn decided(&self, who: &str, observation: &Observation) -> String {
        match observation {
            Observation::PartitionChanged { tp, leader, leader_epoch, partition_epoch, isr, .. } => {
                let leader = leader.map_or_else(|| "nobody".to_string(), name);
                let isr = list(isr.iter().map(|node| name(*node)));
                let tp = self.partition(*tp);
                format!(
                    "the controller made {leader} leader of {tp} in epoch {leader_epoch}, ISR [{isr}], version {partition_epoch}"
                )
            }
            Observation::LeaderIsr { tp, leader_epoch, committed, maximal } => {
                let (committed, maximal) =
                    (list(committed.iter().map(|n| name(*n))), list(maximal.iter().map(|n| name(*n))));
                let tp = self.partition(*tp);
                format!("{who} held the ISR of {tp} in epoch {leader_epoch} for [{committed}], at most [{maximal}]")
            }
            other => format!("{who}: {other:?}"),
        }
    }
}

/// `12.345 s`, from nanoseconds of the world.
pub fn seconds(at_ns: u64) -> String {
    format!("{}.{:03} s", at_ns / 1_000_000_000, at_ns / 1_000_000 % 1_000)
}

/// How `acks` is spelled.
pub(crate) fn acks_word(acks: i16) -> String {
    if acks == -1 { "all".to_string() } else { acks.to_string() }
}

/// Why a log was cut.
pub(crate) fn cut_cause(cause: TruncationCause) -> &'static str {
    match cause {
        TruncationCause::DivergingEpoch => "where the leader's epochs part from its own",
        TruncationCause::HighWatermark => "to its own high watermark",
        TruncationCause::OutOfRange => "because the leader's log ends or begins elsewhere",
    }
}

/// Why a log begins later.
fn start_cause(cause: StartCause) -> &'static str {
    match cause {
        StartCause::DeleteRecords => "by DeleteRecords",
        StartCause::Leader => "as its leader's",
        StartCause::Start => "as its first segments ended below its start",
        StartCause::RetentionBytes => "by retention.bytes",
        StartCause::RetentionMs => "by retention.ms",
    }
}

/// What became of bytes, after `bytes 5..6 of FILE`.
pub(crate) fn damage(kind: Damage) -> &'static str {
    match kind {
        Damage::BitRot => "rotted",
        Damage::Overwritten => "were overwritten with those of another place",
        Damage::Missing => "were written to another place",
        Damage::Forgotten => "were forgotten by a failed sync",
        Damage::NotDurable => "are not durable although a sync said so",
        Damage::NamesNotDurable => "(its names) are not durable although a sync said so",
        Damage::Partial => "are the part of a short write that arrived",
        Damage::Misread => "were read as those of another place",
        Damage::Removed => "were on a device that was unplugged",
        Damage::Wiped => "were on a device that was wiped",
    }
}

fn ending(outcome: Outcome) -> String {
    match outcome {
        Outcome::Acked(offset) => format!("is written at offset {offset}"),
        Outcome::Refused(error) => format!("is not written: {}", error.name()),
        Outcome::Unknown(error) => format!("may or may not be written: {}", error.name()),
        Outcome::Sent => "was sent".to_string(),
    }
}

/// `offset 7`, or `7..12` with an exclusive end.
pub(crate) fn span(first: i64, last: i64) -> String {
    if first == last { format!("offset {first}") } else { format!("{first}..{}", last.saturating_add(1)) }
}

fn name(node: NodeId) -> String {
    format!("node {}", node.0)
}

fn party(party: &Party) -> String {
    match party {
        Party::Node(node) => name(*node),
        Party::Client(client) => client.clone(),
    }
}

fn list(names: impl Iterator<Item = String>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_time_is_told_in_seconds_with_three_places() {
        assert_eq!([12_345_678_901, 1_000_000].map(super::seconds), ["12.345 s", "0.001 s"]);
    }
}
