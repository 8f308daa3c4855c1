//! Log matching: equal offset and epoch mean an equal prefix.

use super::{Breaches, Judge, conclude};
use crate::ledger::{AppendFault, Effect, Ledger, VersionId};
use crate::words::Telling;
use crate::{Entry, Property, Verdict, Witness};

pub(crate) const PROPERTY: Property = Property {
    name: "log-matching",
    summary: "two logs that hold a batch of the same offset and epoch are equal up to it; each log is contiguous, epochs never fall",
    premise: "a second replica appended a batch that a first one holds",
    explanation: "Replicas compare logs by (offset, leader epoch) alone. So wherever two logs agree on both, everything before \
                  must be the same, batch for batch (KIP-101, KIP-279); else a replica keeps records that no leader knows, and \
                  consumers read different records at one offset after the next fail-over. Judged at every append, the metadata \
                  log included.",
};

#[derive(Clone, Copy, Debug)]
struct Breach {
    part: usize,
    version: VersionId,
    fault: AppendFault,
    at: u32,
}

#[derive(Default)]
pub(crate) struct LogMatching {
    compared: u64,
    breaches: Breaches<Breach>,
}

impl Judge for LogMatching {
    fn look(&mut self, _: &Ledger, at: u32, _: &Entry, effect: &Effect) {
        let Effect::Appended { part, version, fresh, fault, .. } = *effect else { return };
        self.compared += u64::from(!fresh);
        if let Some(fault) = fault {
            self.breaches.note(Breach { part, version, fault, at });
        }
    }

    fn verdict(&mut self, telling: Telling) -> Verdict {
        conclude(&self.breaches, self.compared, "no batch was replicated", |breach| witness(telling, *breach))
    }
}

fn witness(telling: Telling, breach: Breach) -> Witness {
    let partition = &telling.ledger.parts[breach.part];
    let version = partition.version(breach.version);
    let parent = version.parent.map(|parent| partition.version(parent).first);
    let (rule, first, text) = match breach.fault {
        AppendFault::Gap { end } => (
            "A log is contiguous.",
            parent.unwrap_or(breach.at),
            format!("That log ended at {end}, and the append begins at {}.", version.base),
        ),
        AppendFault::EpochFell { before } => (
            "Leader epochs never fall within a log.",
            parent.unwrap_or(breach.at),
            format!("A batch of epoch {} follows one of epoch {before}.", version.epoch),
        ),
        AppendFault::Rival { other } => (
            "Batches of the same offset and leader epoch are the same, and so is everything before them.",
            partition.version(other).first,
            rivals(partition.version(other).batch == version.batch, version.base, version.epoch),
        ),
    };
    let records = telling.stretch(partition, version.base, version.last.saturating_add(1), Vec::new());
    let (first, second) = (telling.fact(first), telling.fact(breach.at));
    Witness { rule: rule.to_string(), first, second, text, records: vec![records], derived: 0 }
}

fn rivals(same_batch: bool, base: i64, epoch: i32) -> String {
    if same_batch {
        format!("The batch at {base} of epoch {epoch} is the same in both logs, and what stands before it is not.")
    } else {
        format!("Two different batches stand at {base}, both written in epoch {epoch}.")
    }
}
