//! What a log knows of producers is what its batches tell.

use super::{Breaches, Excuses, Judge, conclude_with};
use crate::ledger::{Effect, Ledger, VersionId};
use crate::nodes::NodeIndex;
use crate::words::Telling;
use crate::{Entry, Property, Verdict, Witness};

pub(crate) const PROPERTY: Property = Property {
    name: "producer-state",
    summary: "in each log a producer's sequences follow one another, and a loaded log knows of producers what its batches tell",
    premise: "a log with batches of idempotent producers was loaded",
    explanation: "A leader tells a repeated batch from a new one by what its log knows of the producer: the epoch and the last \
                  sequences. That is derived from the batches, and after a load from the batches that are left; a snapshot tells \
                  only of what was deleted. So a record is never answered as a duplicate that the log does not hold, and none is \
                  refused because of one. Sequences follow without a gap and wrap after 2^31 - 1, a new epoch begins at 0, and \
                  epochs do not fall (KIP-98, KIP-360). Excused: producers of which nothing is left in the log, logs in which \
                  stands what nobody told of, and damage to that copy.",
    rules: &[FOLLOW, KNOWN],
};

const FOLLOW: &str = "In one log a producer's sequences follow one another, and its epochs do not fall.";
const KNOWN: &str = "A loaded log knows of producers what its batches tell.";

#[derive(Clone, Copy, Debug)]
enum Breach {
    Slip { part: usize, before: VersionId, version: VersionId, at: u32 },
    Wrong { part: usize, node: NodeIndex, producer: i64, at: u32 },
}

#[derive(Default)]
pub(crate) struct ProducerState {
    loads: u64,
    breaches: Breaches<Breach>,
    excuses: Excuses,
}

impl Judge for ProducerState {
    fn look(&mut self, ledger: &Ledger, at: u32, _: &Entry, effect: &Effect) {
        match *effect {
            Effect::Appended { part, version, slip: Some(before), excuse, node, .. } => {
                let partition = &ledger.parts[part];
                let harm = excuse.or_else(|| partition.harm_of_start(node, ledger.now_ns()).map(|harm| harm.at));
                let (base, last) = (partition.version(version).base, partition.version(version).last);
                match harm {
                    Some(harm) => self.excuses.note(harm, part, base, last.saturating_add(1)),
                    None => self.breaches.note(Breach::Slip { part, before, version, at }),
                }
            }
            Effect::Remembers { part, node, wrong, excuse } => {
                let log = ledger.parts[part].log(node);
                self.loads += u64::from(log.is_some_and(|log| !log.writers.is_empty()));
                let end = log.map_or(0, |log| log.end);
                match (wrong, excuse) {
                    (Some(_), Some(harm)) => self.excuses.note(harm, part, end, end),
                    (Some(producer), None) => self.breaches.note(Breach::Wrong { part, node, producer, at }),
                    (None, _) => {}
                }
            }
            _ => {}
        }
    }

    fn broken(&self) -> bool {
        self.breaches.any()
    }

    fn verdict(&mut self, telling: Telling) -> Verdict {
        let losses = self.excuses.losses(telling, "what one replica of PARTITION knows of producers");
        let untested = "no log with batches of idempotent producers was loaded";
        conclude_with(&self.breaches, self.loads, losses, untested, |breach| witness(telling, *breach))
    }
}

fn witness(telling: Telling, breach: Breach) -> Witness {
    match breach {
        Breach::Slip { part, before, version, at } => {
            let partition = &telling.ledger.parts[part];
            let (early, late) = (partition.version(before), partition.version(version));
            let said = |told: Option<klamm_base::Sequences>| {
                told.map_or_else(String::new, |it| format!("{}..={} in epoch {}", it.first, it.last, it.producer_epoch))
            };
            Witness {
                rule: FOLLOW.to_string(),
                first: telling.fact(early.first),
                second: telling.fact(at),
                text: format!("Sequences {} follow {} there.", said(late.producer), said(early.producer)),
                records: vec![telling.stretch(partition, late.base, late.last.saturating_add(1), Vec::new())],
                derived: 0,
            }
        }
        Breach::Wrong { part, node, producer, at } => {
            let partition = &telling.ledger.parts[part];
            let loaded = partition.log(node).map_or(at, |log| log.loaded);
            let last = partition.log(node).and_then(|log| log.writers.get(&producer)).map(|id| partition.version(*id));
            let stretch = last.map(|it| telling.stretch(partition, it.base, it.last.saturating_add(1), Vec::new()));
            Witness {
                rule: KNOWN.to_string(),
                first: telling.fact(last.map_or(loaded, |it| it.first)),
                second: telling.fact(at),
                text: format!("Of producer {producer} {} knows something else.", telling.node(node)),
                records: stretch.into_iter().collect(),
                derived: 0,
            }
        }
    }
}
