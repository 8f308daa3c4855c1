//! A clean takes what a later record overtook, and nothing else.

use super::{Breaches, Excuses, Judge, conclude_with};
use crate::ledger::{CleanFault, Effect, Ledger};
use crate::nodes::NodeIndex;
use crate::words::Telling;
use crate::{Entry, Property, Verdict, Witness};

pub(crate) const PROPERTY: Property = Property {
    name: "compaction-keeps",
    summary: "compaction keeps the last record of each key, a tombstone until its horizon, and what each live producer wrote last",
    premise: "a clean took records away",
    explanation: "A clean goes by what is committed below one offset. There it takes each record that a later one with the same \
                  key overtook, and leaves none of those; it moves no offset. A tombstone that is the last of its key stays \
                  until its delete horizon, which the first clean that met it set delete.retention.ms behind its own \
                  wall clock (KIP-534): who reads from the beginning has so long to learn of the deletion. The batch with the \
                  last sequence of a producer that lives stays, if only as a header. The judge computes that anew from the keys \
                  that were told when the records were written, for each replica by itself. Every other property takes what \
                  a clean took by right for held. Excused: damage to that copy, and producers that have been silent for too \
                  long by a wrong clock.",
    rules: &[COMMITTED, WRITTEN, LAST, TOMBSTONE, HORIZON, PRODUCER, OVERTAKEN],
};

const COMMITTED: &str = "A clean goes only by what is committed.";
const WRITTEN: &str = "What a clean leaves is what was written, at its offsets.";
const LAST: &str = "The last record of each key stays.";
const TOMBSTONE: &str = "A tombstone stays until its delete horizon.";
const HORIZON: &str =
    "The first clean that meets a tombstone sets its horizon, delete.retention.ms behind the node's wall clock.";
const PRODUCER: &str = "The last batch of each producer that lives stays, if only as a header.";
const OVERTAKEN: &str = "Behind a clean no record is left that a later one of its key overtook.";

#[derive(Clone, Copy, Debug)]
struct Breach {
    part: usize,
    node: NodeIndex,
    fault: CleanFault,
    at: u32,
}

#[derive(Default)]
pub(crate) struct CompactionKeeps {
    taken: u64,
    breaches: Breaches<Breach>,
    excuses: Excuses,
}

impl Judge for CompactionKeeps {
    fn look(&mut self, _: &Ledger, at: u32, _: &Entry, effect: &Effect) {
        let Effect::Cleaned { part, node, removed, fault, excuse } = *effect else { return };
        self.taken += removed.overtaken + removed.expired;
        let Some(fault) = fault else { return };
        match excuse {
            Some(harm) => self.excuses.note(harm, part, fault.offset(), fault.offset().saturating_add(1)),
            None => self.breaches.note(Breach { part, node, fault, at }),
        }
    }

    fn broken(&self) -> bool {
        self.breaches.any()
    }

    fn verdict(&mut self, telling: Telling) -> Verdict {
        let losses =
            self.excuses.losses(telling, "records of PARTITION that one replica cleaned otherwise than it should");
        let untested = "no clean took a record";
        conclude_with(&self.breaches, self.taken, losses, untested, |breach| witness(telling, *breach))
    }
}

fn witness(telling: Telling, breach: Breach) -> Witness {
    let Breach { part, node, fault, at } = breach;
    let (partition, offset) = (&telling.ledger.parts[part], fault.offset());
    let (rule, text) = match fault {
        CleanFault::Uncommitted { end } => (
            COMMITTED,
            format!(
                "It went by what stands below {end}; never by then was more committed than below {}.",
                partition.frontier
            ),
        ),
        CleanFault::Strange { offset } => {
            (WRITTEN, format!("Nothing that {} told of its appends stands at {offset}.", telling.node(node)))
        }
        CleanFault::LastOfKey { offset } => (LAST, format!("No later record has the key of the one at {offset}.")),
        CleanFault::Tombstone { offset, horizon_ms: None } => {
            (TOMBSTONE, format!("The tombstone at {offset} had no horizon yet: this was the first clean that met it."))
        }
        CleanFault::Tombstone { offset, horizon_ms: Some(horizon) } => {
            (TOMBSTONE, format!("The tombstone at {offset} had to stay until {horizon} ms of that clock."))
        }
        CleanFault::Horizon { offset, horizon_ms } => {
            let given = horizon_ms.map_or_else(|| "none".to_string(), |horizon| format!("{horizon} ms"));
            (HORIZON, format!("The horizon of the tombstone at {offset} is {given}."))
        }
        CleanFault::LastOfProducer { producer, offset } => {
            (PRODUCER, format!("Nothing is left that tells what producer {producer} wrote last, at {offset}."))
        }
        CleanFault::Stays { offset } => (OVERTAKEN, format!("A later record has the key of the one at {offset}.")),
    };
    let written = partition.covering(node, offset).map_or(at.saturating_sub(1), |id| partition.version(id).first);
    let records = vec![telling.stretch(partition, offset, offset.saturating_add(1), Vec::new())];
    let (first, second) = (telling.fact(written), telling.fact(at));
    Witness { rule: rule.to_string(), first, second, text, records, derived: 0 }
}
