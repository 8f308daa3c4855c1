//! The cluster serves after the heal.

use super::{Breaches, Excuses, Judge, conclude_with};
use crate::ledger::{Effect, Ledger, Partition, Sent};
use crate::words::Telling;
use crate::{Entry, Event, Property, Verdict, Witness, World};
use klamm_base::{Outcome, TopicPartition};

pub(crate) const PROPERTY: Property = Property {
    name: "serves-after-heal",
    summary: "once all faults are taken back the cluster comes to rest, accepts a write and gives every partition to read",
    premise: "a partition that clients had used was there when the faults were taken back",
    explanation: "Safety alone is cheap: a cluster that never answers loses nothing. So every run ends with heal, settle, one \
                  write and one reading of every partition from its start to its end; each has a bound in simulated time. A \
                  run that a panic or a broken promise ended early was not tested for this. Excused, for its partition \
                  alone: damaged bytes that are there still, which no replica and no reader takes; damage in a follower's \
                  own log to the head of a batch, which no checksum covers; and a node whose own files are damaged. Where \
                  a script heals only a sufficient core, nothing is asked of those that are left out, nor of a partition \
                  of which nobody else is in sync.",
    rules: &[RULE],
};

const RULE: &str = "A healed cluster comes to rest within its bound, accepts writes and gives every partition to read.";

#[derive(Clone, Copy, Debug)]
enum Breach {
    NeverSettled,
    NotSettled { at: u32 },
    NotRead { part: usize, at: Option<u32> },
    NotWritten { at: u32 },
}

#[derive(Default)]
pub(crate) struct Serves {
    healed: Option<u32>,
    settled: Option<(u32, bool)>,
    /// What ended the run before its end, if anything did.
    ended: Option<&'static str>,
    /// Partitions in use when the faults were taken back.
    used: u64,
}

impl Judge for Serves {
    fn look(&mut self, ledger: &Ledger, at: u32, entry: &Entry, _: &Effect) {
        match &entry.event {
            Event::World(World::Healed) => {
                self.healed = Some(at);
                self.used = ledger.parts.iter().filter(|partition| in_use(partition)).count() as u64;
            }
            Event::World(World::Settled { ok, .. }) => self.settled = Some((at, *ok)),
            Event::World(World::Panicked { .. }) => self.ended = Some("a panic ended the run"),
            Event::World(World::Halted { .. }) => self.ended = Some("the run was ended at the first broken promise"),
            _ => {}
        }
    }

    fn verdict(&mut self, telling: Telling) -> Verdict {
        if let Some(why) = self.ended {
            return Verdict::NotTested { reason: why.to_string() };
        }
        let Some(healed) = self.healed else {
            return Verdict::NotTested { reason: "the faults were never taken back".to_string() };
        };
        let (mut breaches, mut excuses) = (Breaches::default(), Excuses::default());
        match self.settled {
            None => breaches.note(Breach::NeverSettled),
            Some((at, false)) => unsettled(telling.ledger, at, &mut breaches, &mut excuses),
            Some((at, true)) => served(telling.ledger, at, &mut breaches, &mut excuses),
        }
        let losses = excuses.losses(telling, "PARTITION cannot be replicated, read or written beyond damaged bytes");
        conclude_with(&breaches, self.used, losses, "no client used any partition", |breach| {
            witness(telling, healed, *breach)
        })
    }
}

fn in_use(partition: &Partition) -> bool {
    partition.tp != TopicPartition::METADATA && !partition.sendings.is_empty()
}

/// Why the partition may not be served to who stands at `offset`: damaged bytes there, or files without which some replica
/// cannot start.
fn blocked(ledger: &Ledger, partition: &Partition, offset: Option<i64>) -> Option<(u32, i64)> {
    let harm = partition.harm_that_blocks(offset).map(|harm| (harm.at, harm.from.max(0)));
    let unfit = || partition.decisions.last()?.replicas.iter().find_map(|node| ledger.unfit(node));
    // Without its metadata no broker serves anything.
    let metadata = || ledger.parts.iter().find(|part| part.tp == TopicPartition::METADATA)?.harm_that_blocks(None);
    harm.or_else(|| unfit().map(|at| (at, 0))).or_else(|| metadata().map(|harm| (harm.at, 0)))
}

/// Everybody who is in sync was left out of the heal: nobody else may lead (KIP-966 calls such a partition unavailable).
fn sleeps(ledger: &Ledger, partition: &Partition) -> bool {
    partition.decisions.last().is_some_and(|decision| decision.isr.iter().all(|node| ledger.machine(node).left_out))
}

/// The cluster is not at rest: some partition has no leader, or misses a replica. If damage blocks each of those, it could not.
fn unsettled(ledger: &Ledger, at: u32, breaches: &mut Breaches<Breach>, excuses: &mut Excuses) {
    let mut explained = false;
    for (part, partition) in ledger.parts.iter().enumerate().filter(|(_, partition)| !sleeps(ledger, partition)) {
        let Some(decision) = partition.decisions.last() else { continue };
        let is_away = |node| ledger.machine(node).is_down || ledger.machine(node).left_out;
        let missing = decision.replicas.minus(decision.isr).iter().filter(|node| !is_away(*node));
        let astray = |node| partition.harm_within(node).map(|harm| (harm.at, harm.from.max(0)));
        let behind = |node| partition.log(node).map_or(0, |log| log.end);
        let lagging = missing.map(|node| blocked(ledger, partition, Some(behind(node))).or_else(|| astray(node)));
        let headless = decision.leader.is_none().then(|| blocked(ledger, partition, None));
        for why in lagging.chain(headless) {
            let Some((fault, from)) = why else {
                return breaches.note(Breach::NotSettled { at });
            };
            explained = true;
            excuses.note(fault, part, from, from);
        }
    }
    if !explained {
        breaches.note(Breach::NotSettled { at });
    }
}

fn served(ledger: &Ledger, settled: u32, breaches: &mut Breaches<Breach>, excuses: &mut Excuses) {
    let asked = |partition: &Partition| in_use(partition) && !sleeps(ledger, partition);
    for (part, partition) in ledger.parts.iter().enumerate().filter(|(_, partition)| asked(partition)) {
        let stopped = partition.finally.map(|last| last.end);
        let found = [(unread(part, partition), stopped), (unwritten(partition, settled), None)];
        for (breach, offset) in found.into_iter().filter_map(|(breach, offset)| Some((breach?, offset))) {
            match blocked(ledger, partition, offset) {
                Some((fault, from)) => excuses.note(fault, part, from, from),
                None => breaches.note(breach),
            }
        }
    }
}

fn unread(part: usize, partition: &Partition) -> Option<Breach> {
    match partition.finally {
        Some(last) if last.complete => None,
        Some(last) => Some(Breach::NotRead { part, at: Some(last.at) }),
        None => Some(Breach::NotRead { part, at: None }),
    }
}

fn unwritten(partition: &Partition, settled: u32) -> Option<Breach> {
    let sent = partition.sendings.values().flat_map(|sending| sending.iter()).map(|(_, sent)| sent);
    let after: Vec<&Sent> = sent.filter(|sent| sent.invoked != u32::MAX && sent.invoked > settled).collect();
    let written = |sent: &&Sent| matches!(sent.ended, Some((_, Outcome::Acked(_) | Outcome::Sent)));
    let first = after.first().filter(|_| !after.iter().any(written))?;
    Some(Breach::NotWritten { at: first.ended.map_or(first.invoked, |(at, _)| at) })
}

fn witness(telling: Telling, healed: u32, breach: Breach) -> Witness {
    let end = telling.history.entries.len().saturating_sub(1) as u32;
    let (second, text) = match breach {
        Breach::NeverSettled => (telling.fact(end), "The run ended before the cluster came to rest.".to_string()),
        Breach::NotSettled { at } => (telling.fact(at), "It had its time and still is not at rest.".to_string()),
        Breach::NotRead { part, at } => {
            (telling.fact(at.unwrap_or(end)), format!("{} could not be read to its end.", telling.part(part)))
        }
        Breach::NotWritten { at } => (telling.fact(at), "A write after the heal was not acknowledged.".to_string()),
    };
    Witness { rule: RULE.to_string(), first: telling.fact(healed), second, text, records: Vec::new(), derived: 0 }
}
