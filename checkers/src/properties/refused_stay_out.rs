//! What a producer was told is not written is not there.

use super::idempotence::excuse;
use super::{Breaches, Excuses, Judge, conclude_with};
use crate::ledger::{Effect, Ledger};
use crate::words::Telling;
use crate::{Entry, Property, Verdict, Witness};
use klamm_base::{ClientRecord, ErrorCode, Outcome};

pub(crate) const PROPERTY: Property = Property {
    name: "refused-stay-out",
    summary: "a record that its producer was told is refused is in no log: no consumer ever reads it",
    premise: "a producer was told that a record is refused, with an error that only a broker's answer gives",
    explanation: "Errors are definite or they are not. NOT_ENOUGH_REPLICAS comes before the append, for its own attempt only; a \
                  time-out, a lost connection, NOT_LEADER_OR_FOLLOWER and NOT_ENOUGH_REPLICAS_AFTER_APPEND leave it open, \
                  because the append may have happened (KAFKA-13574). So a record may be told as refused only if each of its \
                  attempts ended in a definite error. An application that believes otherwise sends it again, and has it twice. \
                  The other direction is no breach: an unknown that never happened is only a cost, and stands in the table of \
                  what clients were told. Excused: a record on whose producer's connections a frame arrived other than it was \
                  sent.",
    rules: &[RULE],
};

const RULE: &str = "A record is told as refused only if no attempt can have written it.";

#[derive(Clone, Copy, Debug)]
struct Breach {
    part: usize,
    record: ClientRecord,
    /// Entries of the refusal and of the reading that met it.
    told: u32,
    read: u32,
    offset: i64,
}

#[derive(Default)]
pub(crate) struct RefusedStayOut {
    refused: u64,
}

impl Judge for RefusedStayOut {
    fn look(&mut self, _: &Ledger, _: u32, _: &Entry, effect: &Effect) {
        if let Effect::Ended { outcome: Outcome::Refused(error), .. } = *effect {
            self.refused += u64::from(!without_answer(error));
        }
    }

    fn verdict(&mut self, telling: Telling) -> Verdict {
        let (mut breaches, mut excuses) = (Breaches::default(), Excuses::default());
        if telling.ledger.counts.refused > 0 {
            (0..telling.ledger.parts.len()).for_each(|part| met(telling.ledger, part, &mut breaches, &mut excuses));
        }
        let losses = excuses.losses(telling, "refused records of PARTITION that are there");
        conclude_with(&breaches, self.refused, losses, "no broker refused a record", |breach| witness(telling, *breach))
    }
}

/// Errors that a producer gives by itself, perhaps without any attempt.
fn without_answer(error: ErrorCode) -> bool {
    matches!(error, ErrorCode::RequestTimedOut | ErrorCode::NetworkException | ErrorCode::MessageTooLarge)
}

/// Refused records that somebody read.
fn met(ledger: &Ledger, part: usize, breaches: &mut Breaches<Breach>, excuses: &mut Excuses) {
    let partition = &ledger.parts[part];
    for (offset, slot) in partition.slots.iter() {
        let Some(record) = slot.last.record().or(slot.read.record()) else { continue };
        let sent = partition.sendings.get(&record.client).and_then(|sending| sending.get(record.number));
        let Some((told, Outcome::Refused(_))) = sent.and_then(|sent| sent.ended) else { continue };
        let read = if slot.last.record() == Some(record) { slot.last_at } else { slot.read_at };
        match excuse(ledger, part, record, Some(offset)) {
            Some(fault) => excuses.note(fault, part, offset, offset.saturating_add(1)),
            None => breaches.note(Breach { part, record, told, read, offset }),
        }
    }
}

fn witness(telling: Telling, breach: Breach) -> Witness {
    let Breach { part, record, told, read, offset } = breach;
    let place = format!("{} at offset {offset}", telling.record(Some(record)));
    let seen = format!("{}, and with it {place}", telling.fact(read).text);
    let mut facts = [telling.fact(told), telling.fact_as(read, seen)];
    facts.sort_by_key(|fact| fact.seq);
    let [first, second] = facts;
    Witness {
        rule: RULE.to_string(),
        first,
        second,
        text: "The producer's word to its application is not true.".to_string(),
        records: vec![telling.stretch(&telling.ledger.parts[part], offset, offset.saturating_add(1), vec![record])],
        derived: 0,
    }
}
