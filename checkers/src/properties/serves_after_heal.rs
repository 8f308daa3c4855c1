//! The cluster serves after the heal.

use super::{Breaches, Judge, conclude};
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
                  run that a panic ended early was not tested for this.",
};

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
    panicked: bool,
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
            Event::World(World::Panicked { .. }) => self.panicked = true,
            _ => {}
        }
    }

    fn verdict(&mut self, telling: Telling) -> Verdict {
        let Some(healed) = self.healed else {
            return Verdict::NotTested { reason: "the faults were never taken back".to_string() };
        };
        if self.panicked {
            return Verdict::NotTested { reason: "a panic ended the run".to_string() };
        }
        let mut breaches = Breaches::default();
        match self.settled {
            None => breaches.note(Breach::NeverSettled),
            Some((at, false)) => breaches.note(Breach::NotSettled { at }),
            Some((at, true)) => served(telling.ledger, at, &mut breaches),
        }
        conclude(&breaches, self.used, "no client used any partition", |breach| witness(telling, healed, *breach))
    }
}

fn in_use(partition: &Partition) -> bool {
    partition.tp != TopicPartition::METADATA && !partition.sendings.is_empty()
}

fn served(ledger: &Ledger, settled: u32, breaches: &mut Breaches<Breach>) {
    for (part, partition) in ledger.parts.iter().enumerate().filter(|(_, partition)| in_use(partition)) {
        match partition.finally {
            Some(last) if last.complete => {}
            Some(last) => breaches.note(Breach::NotRead { part, at: Some(last.at) }),
            None => breaches.note(Breach::NotRead { part, at: None }),
        }
        let sent = partition.sendings.values().flat_map(|sending| sending.iter()).map(|(_, sent)| sent);
        let after: Vec<&Sent> = sent.filter(|sent| sent.invoked != u32::MAX && sent.invoked > settled).collect();
        let written = |sent: &&Sent| matches!(sent.ended, Some((_, Outcome::Acked(_) | Outcome::Sent)));
        if let (Some(sent), false) = (after.first(), after.iter().any(written)) {
            breaches.note(Breach::NotWritten { at: sent.ended.map_or(sent.invoked, |(at, _)| at) });
        }
    }
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
    Witness {
        rule: "A healed cluster comes to rest within its bound, accepts writes and gives every partition to read."
            .to_string(),
        first: telling.fact(healed),
        second,
        text,
        records: Vec::new(),
        derived: 0,
    }
}
