//! The beginning of a log moves by rule, and exactly as far as the rule says.

use super::{Breaches, Excuses, Judge, conclude_with};
use crate::ledger::{Effect, Ledger, StartFault, TooEarly};
use crate::nodes::NodeIndex;
use crate::words::Telling;
use crate::{Entry, Event, Property, Verdict, Witness};
use klamm_base::Observation;

pub(crate) const PROPERTY: Property = Property {
    name: "retention-exact",
    summary: "a check of the retention deletes exactly the oldest whole segments that have outlived their limits, and only what is committed",
    premise: "a check of the retention deleted segments",
    explanation: "Every replica looks by its own wall clock. From the oldest segment on, as long as they end at or below its high \
                  watermark, those go that end at or below the start of the log, or without which retention.bytes are still \
                  there, or whose newest record is older than retention.ms; no more, and no less. The judge computes that anew \
                  from what the node named, and compares that with what else is known: segments and their newest timestamps with \
                  what the node told of its appends, limits with those of the topic, the high watermark with the last that the \
                  node told, the time, unless the world made that clock wrong, with the other nodes'. DeleteRecords raises a start \
                  only if a client asked for it, and a follower takes up its leader's. Only such a start excuses that records are \
                  gone. Where a wrong wall clock deleted what the true time would have kept, that is the price \
                  of the clock, and told as such.",
    rules: &[EXACT, COMMITTED, WRITTEN, GIVEN, FOUNDED],
};

const EXACT: &str =
    "A check deletes exactly the oldest segments that have outlived their limits under the node's own clock.";
const COMMITTED: &str = "Only what is committed is taken from the beginning of a log.";
const WRITTEN: &str = "The segments that a check names are those that were written.";
const GIVEN: &str =
    "A check goes by the limits of the topic, the high watermark that its node told, and its own clock.";
const FOUNDED: &str =
    "A log begins later only where a client asked for it, with its leader, or where a check of the retention says so.";

#[derive(Clone, Copy, Debug)]
struct Breach {
    part: usize,
    node: NodeIndex,
    fault: StartFault,
    /// The last entry before that told of this log's beginning.
    before: u32,
    at: u32,
}

#[derive(Default)]
pub(crate) struct RetentionExact {
    deletions: u64,
    breaches: Breaches<Breach>,
    excuses: Excuses,
    clocks: Excuses,
    /// The last entry that told of a log's beginning, by partition and node.
    told: std::collections::BTreeMap<(usize, u8), u32>,
}

impl Judge for RetentionExact {
    fn look(&mut self, ledger: &Ledger, at: u32, entry: &Entry, effect: &Effect) {
        if let Effect::Loaded { part, node, .. } = *effect {
            self.told.insert((part, node.0), at);
        }
        let Effect::Started { part, node, fault, excuse, early } = *effect else { return };
        let before = self.told.insert((part, node.0), at).unwrap_or(at);
        if let Event::Stack { observation: Observation::RetentionRan { deleted, .. }, .. } = &entry.event {
            self.deletions += u64::from(*deleted > 0);
        }
        let begins = ledger.parts[part].log(node).map_or(0, |log| log.starts.now);
        match (fault, excuse) {
            (Some(_), Some(harm)) => self.excuses.note(harm, part, 0, begins),
            (Some(fault), None) => self.breaches.note(Breach { part, node, fault, before, at }),
            (None, _) => {}
        }
        if let Some(TooEarly { from, to, clock }) = early {
            self.clocks.note(clock, part, from, to);
        }
    }

    fn broken(&self) -> bool {
        self.breaches.any()
    }

    fn verdict(&mut self, telling: Telling) -> Verdict {
        for (part, partition) in telling.ledger.parts.iter().enumerate() {
            for (node, at) in partition.unchecked_starts() {
                let fault = StartFault::Unfounded;
                self.breaches.note(Breach { part, node, fault, before: at, at });
            }
        }
        let mut losses = self.excuses.losses(telling, "the beginning of a log of PARTITION");
        losses.extend(self.clocks.losses(telling, "records of PARTITION that one replica deleted before their time"));
        let untested = "no check of the retention deleted anything";
        conclude_with(&self.breaches, self.deletions, losses, untested, |breach| witness(telling, *breach))
    }
}

fn witness(telling: Telling, breach: Breach) -> Witness {
    let Breach { part, node, fault, before, at } = breach;
    let partition = &telling.ledger.parts[part];
    let who = telling.node(node);
    let (rule, text) = match fault {
        StartFault::Inexact { wanted: 1 } => (EXACT, "1 segment had to go.".to_string()),
        StartFault::Inexact { wanted } => (EXACT, format!("{wanted} segments had to go.")),
        StartFault::Uncommitted => {
            (COMMITTED, format!("Never by then was more committed than what is below {}.", partition.frontier))
        }
        StartFault::Misplaced { segment } => {
            (WRITTEN, format!("What {who} told of its appends does not make up the segment that begins at {segment}."))
        }
        StartFault::OtherLimits { wanted } => {
            (GIVEN, format!("The topic was made with retention.ms={} and retention.bytes={}.", wanted.ms, wanted.bytes))
        }
        StartFault::OtherMark { told } => (GIVEN, format!("The high watermark that {who} told last is {told}.")),
        StartFault::OtherTime { true_ms } => (
            GIVEN,
            format!("By the clocks of the others it was {true_ms} ms, and nothing was wrong with that of {who}."),
        ),
        StartFault::Unfounded => (FOUNDED, format!("Nothing that {who} told says why its log begins there.")),
    };
    let begins = partition.log(node).map_or(0, |log| log.starts.now);
    let records = vec![telling.stretch(partition, 0, begins.max(0), Vec::new())];
    let (first, second) = (telling.fact(before), telling.fact(at));
    Witness { rule: rule.to_string(), first, second, text, records, derived: 0 }
}
