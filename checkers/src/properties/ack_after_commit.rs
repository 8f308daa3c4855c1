//! An acknowledgement promises no more than is true when it is given.

use super::{Breaches, Judge, conclude};
use crate::ledger::{Effect, Fate, Ledger};
use crate::words::Telling;
use crate::{Entry, Event, Property, Verdict, Witness};
use klamm_base::Observation;

pub(crate) const PROPERTY: Property = Property {
    name: "ack-after-commit",
    summary: "acks=all is answered only when the records are committed, acks=1 only when they are in the leader's log",
    premise: "a broker answered a produce request with acks=all",
    explanation: "With acks=all the answer waits until the high watermark passes the last record of the request, also if the \
                  request repeats one that was appended before. With acks=1 the records are in the leader's own log. An answer \
                  that comes earlier promises what the next crash takes away.",
    rules: &[RULE],
};

const RULE: &str =
    "acks=all is answered when the high watermark has passed the records, acks=1 when they are in the log.";

#[derive(Default)]
pub(crate) struct AckAfterCommit {
    answers: u64,
    /// Partition, first and last offset, append or answer, answer.
    breaches: Breaches<(usize, i64, i64, u32, u32)>,
}

impl Judge for AckAfterCommit {
    fn look(&mut self, ledger: &Ledger, at: u32, entry: &Entry, effect: &Effect) {
        let Effect::Answered { part, node } = *effect else { return };
        let Event::Stack { observation: Observation::ProduceAcked { base_offset, last_offset, acks, .. }, .. } =
            entry.event
        else {
            return;
        };
        self.answers += u64::from(acks == -1);
        let partition = &ledger.parts[part];
        let stored = partition.covering(node, last_offset);
        let open = stored.is_some_and(|id| partition.version(id).fate == Fate::Open);
        if stored.is_none() || (acks == -1 && open) {
            let appended = stored.map_or(at, |id| partition.version(id).first);
            self.breaches.note((part, base_offset, last_offset, appended, at));
        }
    }

    fn broken(&self) -> bool {
        self.breaches.any()
    }

    fn verdict(&mut self, telling: Telling) -> Verdict {
        conclude(&self.breaches, self.answers, "no acks=all was answered", |(part, base, last, appended, at)| Witness {
            rule: RULE.to_string(),
            first: telling.fact(*appended),
            second: telling.fact(*at),
            text: match appended == at {
                true => "That broker's log does not hold the records.".to_string(),
                false => "No leader's high watermark had passed the records by then.".to_string(),
            },
            records: vec![telling.stretch(&telling.ledger.parts[*part], *base, last.saturating_add(1), Vec::new())],
            derived: 0,
        })
    }
}
