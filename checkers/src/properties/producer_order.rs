//! Order per producer and partition.

use super::idempotence::{excuse, idempotent, in_flight, renewed, repeated};
use super::{Breaches, Excuses, Judge, conclude_with};
use crate::ledger::{Effect, Ledger, Sent};
use crate::words::Telling;
use crate::{Entry, Property, Verdict, Witness};
use klamm_base::{ClientId, ClientRecord, Outcome};

pub(crate) const PROPERTY: Property = Property {
    name: "producer-order",
    summary: "what one idempotent producer sends to one partition stands there in the order of sending",
    premise: "two records of one producer were in flight when a leader took up, or a repeated batch was answered",
    explanation: "A retry must not overtake a later batch. Sequence numbers hold the order with up to five batches in flight \
                  (max.in.flight.requests.per.connection); without idempotence the order is not promised and not judged. \
                  Records that stand elsewhere than they were acknowledged are another finding, and excused are sessions that \
                  changed in between and partitions that lost committed records.",
    rules: &[RULE],
};

const RULE: &str = "Records of one idempotent producer stand in a partition in the order in which it sent them.";

#[derive(Default)]
pub(crate) struct ProducerOrder {
    tested: u64,
}

impl Judge for ProducerOrder {
    fn look(&mut self, ledger: &Ledger, _: u32, entry: &Entry, effect: &Effect) {
        match *effect {
            Effect::Led { part, newest: true, .. } if ledger.parts[part].led_at.len() > 1 => {
                self.tested += in_flight(ledger, part, 2);
            }
            Effect::Answered { .. } => self.tested += u64::from(repeated(entry)),
            _ => {}
        }
    }

    fn verdict(&mut self, telling: Telling) -> Verdict {
        let (mut breaches, mut excuses) = (Breaches::default(), Excuses::default());
        for part in 0..telling.ledger.parts.len() {
            if telling.ledger.parts[part].losses.is_empty() {
                disorder(telling.ledger, part, &mut breaches, &mut excuses);
            }
        }
        let untested = "no two records of one producer were in flight over a leader change or a retry";
        let losses = excuses.losses(telling, "records of PARTITION that stand in another order than they were sent");
        conclude_with(&breaches, self.tested, losses, untested, |(part, early, late)| {
            witness(telling, *part, *early, *late)
        })
    }
}

type Placed = (ClientRecord, i64);

fn disorder(ledger: &Ledger, part: usize, breaches: &mut Breaches<(usize, Placed, Placed)>, excuses: &mut Excuses) {
    let partition = &ledger.parts[part];
    for (client, sending) in partition.sendings.iter().filter(|(client, _)| idempotent(ledger, **client)) {
        let mut highest: Option<Placed> = None;
        for (number, sent) in sending.iter() {
            let Some(offset) = sent.stands.filter(|_| in_its_place(sent)) else { continue };
            let now = (ClientRecord { client: *client, number }, offset);
            match highest {
                Some(before) if before.1 > offset => {
                    let fault =
                        || [before, now].into_iter().find_map(|(record, at)| excuse(ledger, part, record, Some(at)));
                    if excused(ledger, part, before.0, now.0) {
                        continue;
                    }
                    match fault() {
                        Some(fault) => excuses.note(fault, part, offset, before.1.saturating_add(1)),
                        None => breaches.note((part, before, now)),
                    }
                }
                _ => highest = Some(now),
            }
        }
    }
}

fn in_its_place(sent: &Sent) -> bool {
    match (sent.ended, sent.stands) {
        (Some((_, Outcome::Acked(told))), Some(stands)) => told == stands,
        _ => true,
    }
}

/// A session that began while either was in flight.
fn excused(ledger: &Ledger, part: usize, early: ClientRecord, late: ClientRecord) -> bool {
    let partition = &ledger.parts[part];
    renewed(ledger, partition, early)
        || renewed(ledger, partition, late)
        || between(ledger, part, early.client, early, late)
}

fn between(ledger: &Ledger, part: usize, client: ClientId, early: ClientRecord, late: ClientRecord) -> bool {
    let sending = ledger.parts[part].sendings.get(&client);
    let invoked =
        |record: ClientRecord| sending.and_then(|sending| sending.get(record.number)).map(|sent| sent.invoked);
    let (Some(from), Some(to)) = (invoked(early), invoked(late)) else { return false };
    ledger.clients.get(&client).is_some_and(|client| client.renewed_between(from, to))
}

fn witness(telling: Telling, part: usize, early: Placed, late: Placed) -> Witness {
    let partition = &telling.ledger.parts[part];
    let name = telling.part(part);
    let fact = |(record, offset): Placed| {
        let text = format!("the final reading found {} at offset {offset} of {name}", telling.record(Some(record)));
        telling.fact_as(partition.slots.get(offset).last_at, text)
    };
    let stretch = |(record, offset): Placed| telling.stretch(partition, offset, offset.saturating_add(1), vec![record]);
    Witness {
        rule: RULE.to_string(),
        first: fact(early),
        second: fact(late),
        text: format!("Record {} was sent before record {} and stands behind it.", early.0.number, late.0.number),
        records: vec![stretch(early), stretch(late)],
        derived: 0,
    }
}
