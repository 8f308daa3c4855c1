//! Log matching: equal offset and epoch mean an equal prefix.

use super::{Breaches, Excuses, Judge, conclude_with};
use crate::ledger::{AppendFault, Effect, Ledger, Partition, VersionId};
use crate::words::{Telling, span};
use crate::{Entry, Property, Verdict, Witness};

pub(crate) const PROPERTY: Property = Property {
    name: "log-matching",
    summary: "two logs that hold a batch of the same offset and epoch are equal up to it; each log is contiguous, epochs never fall",
    premise: "a second replica appended a batch that a first one holds",
    explanation: "Replicas compare logs by (offset, leader epoch) alone. So wherever two logs agree on both, everything before \
                  must be the same, batch for batch (KIP-101, KIP-279); else a replica keeps records that no leader knows, and \
                  consumers read different records at one offset after the next fail-over. Judged at every append, the metadata \
                  log included. Excused: what a follower copied while its leader's copy of those offsets was damaged, or \
                  while a frame between the two arrived other than it was sent; and what it holds behind that.",
    rules: &[CONTIGUOUS, EPOCH_FELL, RIVAL, UNWRITTEN],
};

const CONTIGUOUS: &str = "A log is contiguous.";
const EPOCH_FELL: &str = "Leader epochs never fall within a log.";
const RIVAL: &str = "Batches of the same offset and leader epoch are the same, and so is everything before them.";
const UNWRITTEN: &str = "A follower appends only what the leader of that epoch wrote there.";

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
    excuses: Excuses,
}

impl Judge for LogMatching {
    fn look(&mut self, ledger: &Ledger, at: u32, _: &Entry, effect: &Effect) {
        let Effect::Appended { part, version, fresh, fault, excuse, .. } = *effect else { return };
        self.compared += u64::from(!fresh);
        match (fault, excuse) {
            (_, Some(excuse)) => {
                let version = ledger.parts[part].version(version);
                self.excuses.note(excuse, part, version.base, version.last.saturating_add(1));
            }
            (Some(fault), None) => self.breaches.note(Breach { part, version, fault, at }),
            (None, None) => {}
        }
    }

    fn broken(&self) -> bool {
        self.breaches.any()
    }

    fn verdict(&mut self, telling: Telling) -> Verdict {
        let losses = self.excuses.losses(telling, "one replica of PARTITION holds what its leader never wrote");
        let untested = "no batch was replicated";
        conclude_with(&self.breaches, self.compared, losses, untested, |breach| witness(telling, *breach))
    }
}

fn witness(telling: Telling, breach: Breach) -> Witness {
    let partition = &telling.ledger.parts[breach.part];
    let version = partition.version(breach.version);
    let parent = version.parent.map(|parent| partition.version(parent).first);
    let (rule, first, text) = match breach.fault {
        AppendFault::Gap { end } => (
            CONTIGUOUS,
            parent.unwrap_or(breach.at),
            format!("That log ended at {end}, and the append begins at {}.", version.base),
        ),
        AppendFault::EpochFell { before } => (
            EPOCH_FELL,
            parent.unwrap_or(breach.at),
            format!("A batch of epoch {} follows one of epoch {before}.", version.epoch),
        ),
        AppendFault::Rival { other } => {
            (RIVAL, partition.version(other).first, rivals(partition, other, breach.version))
        }
        AppendFault::Unwritten => (
            UNWRITTEN,
            parent.unwrap_or(breach.at),
            format!("Nobody wrote that batch of epoch {} before this follower had it.", version.epoch),
        ),
    };
    let records = telling.stretch(partition, version.base, version.last.saturating_add(1), Vec::new());
    let (first, second) = (telling.fact(first), telling.fact(breach.at));
    Witness { rule: rule.to_string(), first, second, text, records: vec![records], derived: 0 }
}

/// Where two prefixes part: the earliest difference is what went wrong, all later ones follow from it.
fn rivals(partition: &Partition, one: VersionId, two: VersionId) -> String {
    let (left, right) = (partition.version(one), partition.version(two));
    if left.batch != right.batch {
        return format!("Two different batches stand at {}, both written in epoch {}.", left.base, left.epoch);
    }
    let (above, below) = (ancestors(partition, one), ancestors(partition, two));
    let shared = above.iter().zip(&below).take_while(|(one, two)| one == two).count();
    let place = |ids: &[VersionId]| {
        let version = ids.get(shared).map(|id| partition.version(*id));
        version.map_or_else(|| "nothing".to_string(), |v| format!("{} of epoch {}", span(v.base, v.last), v.epoch))
    };
    let (left, right) = (place(&above), place(&below));
    format!(
        "The batch is the same in both logs, and what stands before it is not: they part with {left} here and {right} there."
    )
}

/// A version's prefix and itself, from the log's start on.
fn ancestors(partition: &Partition, id: VersionId) -> Vec<VersionId> {
    let mut line: Vec<VersionId> = std::iter::successors(Some(id), |id| partition.version(*id).parent).collect();
    line.reverse();
    line
}
