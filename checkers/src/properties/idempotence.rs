//! Exactly once into the log: no duplicate and no gap from an idempotent producer.

use super::{Breaches, Excuses, Judge, conclude_with};
use crate::ledger::{Effect, Ledger, Partition, Sending, VersionId};
use crate::words::{Telling, span};
use crate::{Entry, Event, Fact, Property, Verdict, Witness};
use klamm_base::{ClientId, ClientRecord, Observation, Outcome, Sequences};

pub(crate) const PROPERTY: Property = Property {
    name: "idempotence",
    summary: "an idempotent producer's records are in the log once, without a gap",
    premise: "a record of an idempotent producer was in flight when a leader took up, or a repeated batch was answered",
    explanation: "The broker remembers the last five batches of each producer by their sequence numbers and answers a repeated \
                  one with the offset of the first (KIP-98, KAFKA-5494). So a retry after a lost answer leaves no second copy, and \
                  no batch is written whose predecessor is missing. Judged by the content of the surviving log (the same batch \
                  at two offsets) and by the final reading. Excused: a new producer id or epoch while the record was in flight, \
                  and partitions that lost committed records, with them the memory of sequences; a record on whose producer's \
                  connections a frame arrived other than it was sent while it was in flight; a record whose first copy was deleted by rule \
                  (retention, DeleteRecords, compaction), with which a replica that begins anew loses the memory of its sequences, or that was in \
                  flight behind such a one, or behind one that is no more among the last five: its producer is told 45 for that one and begins a new epoch with both (KIP-360).",
    rules: &[RULE],
};

/// `max.in.flight.requests.per.connection` of an idempotent producer.
const IN_FLIGHT_MOST: usize = 5;

const RULE: &str = "An idempotent producer's records are in the log exactly once, in sequence, without a gap.";

#[derive(Clone, Copy, Debug)]
enum Breach {
    Batch { part: usize, one: VersionId, two: VersionId },
    Record { part: usize, record: ClientRecord, one: i64, two: i64, at: u32 },
    Gap { part: usize, client: ClientId, missing: u32, acked: u32, told: u32, read: u32 },
}

#[derive(Default)]
struct Found {
    breaches: Breaches<Breach>,
    excuses: Excuses,
}

impl Found {
    /// A breach about one record, unless damage to what its producer was told or to what stands there explains it.
    fn note(&mut self, ledger: &Ledger, (part, record): (usize, ClientRecord), offset: Option<i64>, breach: Breach) {
        match excuse(ledger, part, record, offset) {
            Some(fault) => {
                let from = offset.unwrap_or(0);
                self.excuses.note(fault, part, from, from.saturating_add(i64::from(offset.is_some())));
            }
            None => self.breaches.note(breach),
        }
    }
}

/// The entry of the damage that explains why a record is not where and how its producer sent it: a frame of its producer that
/// was spoilt while it was in flight, or before it (a request may have named another partition), or damage at that offset.
pub(super) fn excuse(ledger: &Ledger, part: usize, record: ClientRecord, offset: Option<i64>) -> Option<u32> {
    let partition = &ledger.parts[part];
    let sent = partition.sendings.get(&record.client).and_then(|sending| sending.get(record.number));
    let misled = sent.and_then(|sent| ledger.misled(record, sent));
    let met = || offset.and_then(|offset| partition.harm_met(offset, u32::MAX, true)).map(|harm| harm.at);
    let misplaced = || {
        let appended = offset.and_then(|offset| partition.standing(offset)).map(|id| partition.version(id).first)?;
        let client = ledger.clients.get(&record.client)?;
        ledger.witnesses.misled_between(&client.name, 0, appended)
    };
    misled.or_else(met).or_else(misplaced)
}

#[derive(Default)]
pub(crate) struct Idempotence {
    tested: u64,
}

impl Judge for Idempotence {
    fn look(&mut self, ledger: &Ledger, _: u32, entry: &Entry, effect: &Effect) {
        match *effect {
            Effect::Led { part, newest: true, .. } if ledger.parts[part].led_at.len() > 1 => {
                self.tested += in_flight(ledger, part, 1);
            }
            Effect::Answered { .. } => self.tested += u64::from(repeated(entry)),
            _ => {}
        }
    }

    fn verdict(&mut self, telling: Telling) -> Verdict {
        let mut found = Found::default();
        for part in 0..telling.ledger.parts.len() {
            if telling.ledger.parts[part].losses.is_empty() {
                batches(telling.ledger, part, &mut found);
                records(telling.ledger, part, &mut found);
                gaps(telling.ledger, part, &mut found);
            }
        }
        let untested = "no retry and no leader change met a record in flight";
        let losses = found.excuses.losses(telling, "records of PARTITION that are not there once, as they were sent");
        conclude_with(&found.breaches, self.tested, losses, untested, |breach| witness(telling, *breach))
    }
}

/// How many idempotent producers have at least so many records of a partition in flight.
pub(super) fn in_flight(ledger: &Ledger, part: usize, at_least: u32) -> u64 {
    let busy = |(client, sending): &(&ClientId, &Sending)| sending.pending >= at_least && idempotent(ledger, **client);
    ledger.parts[part].sendings.iter().filter(busy).count() as u64
}

/// True for the answer to a batch that had been appended before.
pub(super) fn repeated(entry: &Entry) -> bool {
    matches!(entry.event, Event::Stack { observation: Observation::ProduceAcked { duplicate: true, .. }, .. })
}

pub(super) fn idempotent(ledger: &Ledger, client: ClientId) -> bool {
    ledger.clients.get(&client).is_some_and(|client| client.idempotent())
}

/// Whether a record's producer began a new session while it was in flight.
pub(super) fn renewed(ledger: &Ledger, partition: &Partition, record: ClientRecord) -> bool {
    let sent = partition.sendings.get(&record.client).and_then(|sending| sending.get(record.number));
    let Some(sent) = sent else { return false };
    let ended = sent.ended.map_or(u32::MAX, |(at, _)| at);
    ledger.clients.get(&record.client).is_some_and(|client| client.renewed_between(sent.invoked, ended))
}

/// The same batch twice on the line of what survived.
fn batches(ledger: &Ledger, part: usize, found: &mut Found) {
    let partition = &ledger.parts[part];
    let known = partition.line.iter().filter(|id| !partition.version(**id).opaque);
    let mut stored: Vec<(u64, VersionId)> = known.map(|id| (partition.version(*id).batch, *id)).collect();
    stored.sort_unstable();
    for pair in stored.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
        let (one, two) = (pair[0].1, pair[1].1);
        let writer = writer(partition, one).or_else(|| writer(partition, two));
        let judged = writer.filter(|record| idempotent(ledger, record.client) && !renewed(ledger, partition, *record));
        if let Some(record) = judged.filter(|_| !begun_anew(partition, one, two)) {
            let offset = Some(partition.version(two).base);
            found.note(ledger, (part, record), offset, Breach::Batch { part, one, two });
        }
    }
}

/// Whether a batch stands a second time because its producer had to begin a new epoch: of a batch that was in flight before it
/// nobody was told, and that one was deleted by rule, with it the memory of its sequence, or it is older than the five that
/// leaders remember (KIP-360).
fn begun_anew(partition: &Partition, one: VersionId, two: VersionId) -> bool {
    let (first, again) = (partition.version(one).producer, partition.version(two).producer);
    let later = |(first, again): (Sequences, Sequences)| {
        first.producer_id == again.producer_id && first.producer_epoch < again.producer_epoch
    };
    let before = |id: &VersionId| partition.version(*id).prior;
    let untold = |id: &VersionId| !partition.slots.get(partition.version(*id).base).acked.seen();
    let gone = |id: VersionId| partition.is_buried(id, partition.version(id).base) || partition.has_vanished(id);
    // A leader remembers the last five batches of a producer, and new ones went to the next leader while these waited for the old.
    let behind = |id: VersionId| std::iter::successors(before(&two), before).take_while(move |later| *later != id);
    let forgotten = |id: VersionId| behind(id).take(IN_FLIGHT_MOST).count() == IN_FLIGHT_MOST;
    let in_flight = std::iter::successors(before(&one), before).take_while(untold).take(IN_FLIGHT_MOST);
    first.zip(again).is_some_and(later) && in_flight.into_iter().any(|id| gone(id) || forgotten(id))
}

/// A record of a batch, as far as anybody was told of one.
fn writer(partition: &Partition, id: VersionId) -> Option<ClientRecord> {
    let slot = partition.slots.get(partition.version(id).base);
    slot.acked.record().or(slot.last.record()).or(slot.read.record())
}

/// The same record twice in the final reading.
fn records(ledger: &Ledger, part: usize, found: &mut Found) {
    let partition = &ledger.parts[part];
    for (offset, slot) in partition.slots.iter() {
        let Some(record) = slot.last.record() else { continue };
        let stands = partition.sendings.get(&record.client).and_then(|sending| sending.get(record.number)?.stands);
        let Some(one) = stands.filter(|stands| *stands != offset) else { continue };
        // Where an acknowledged record does not stand in its own place, the loss of that one is the finding.
        let displaced = slot.acked.seen() && slot.acked != slot.last;
        let copies = partition.standing(one).zip(partition.standing(offset));
        let anew = || copies.is_some_and(|(one, two)| begun_anew(partition, one, two));
        if !displaced && idempotent(ledger, record.client) && !renewed(ledger, partition, record) && !anew() {
            let breach = Breach::Record { part, record, one, two: offset, at: slot.last_at };
            found.note(ledger, (part, record), Some(offset), breach);
        }
    }
}

/// A later record was acknowledged while an earlier one was in flight, and the earlier one is not there.
fn gaps(ledger: &Ledger, part: usize, found: &mut Found) {
    let partition = &ledger.parts[part];
    let Some(last) = partition.read_through() else { return };
    for (client, sending) in partition.sendings.iter().filter(|(client, _)| idempotent(ledger, **client)) {
        let may_be_deleted = partition.may_be_deleted(*client);
        let mut earliest: Option<(u32, u32)> = None;
        let mut sent: Vec<_> = sending.iter().collect();
        sent.reverse();
        for (number, sent) in sent {
            match (sent.stands, sent.ended) {
                (Some(_), Some((at, Outcome::Acked(_)))) => {
                    earliest = Some(earliest.map_or((at, number), |e| e.min((at, number))))
                }
                (None, Some((_, Outcome::Acked(_) | Outcome::Sent))) => {}
                (None, ended) => {
                    let still = |told: u32| sent.invoked < told && ended.is_none_or(|(at, _)| at > told);
                    let Some((told, acked)) = earliest.filter(|(told, _)| still(*told)) else { continue };
                    let record = ClientRecord { client: *client, number };
                    if !renewed(ledger, partition, record) && !may_be_deleted(number) {
                        let breach = Breach::Gap { part, client: *client, missing: number, acked, told, read: last.at };
                        found.note(ledger, (part, record), None, breach);
                    }
                }
                (Some(_), _) => {}
            }
        }
    }
}

fn witness(telling: Telling, breach: Breach) -> Witness {
    let rule = RULE.to_string();
    match breach {
        Breach::Batch { part, one, two } => twice(telling, rule, part, one, two),
        Breach::Record { part, record, one, two, at } => {
            let partition = &telling.ledger.parts[part];
            let text = format!("{} stands at {one} and at {two}.", telling.record(Some(record)));
            let (first, second) = (stored(telling, part, one, at), stored(telling, part, two, at));
            let records =
                [one, two].map(|offset| telling.stretch(partition, offset, offset.saturating_add(1), vec![record]));
            Witness { rule, first, second, text, records: records.to_vec(), derived: 0 }
        }
        Breach::Gap { part, client, missing, acked, told, read } => {
            let partition = &telling.ledger.parts[part];
            let gone = ClientRecord { client, number: missing };
            let text = format!("{} was in flight before record {acked}, and is not there.", telling.record(Some(gone)));
            let records = vec![telling.stretch(partition, 0, 0, vec![gone])];
            Witness { rule, first: telling.fact(told), second: telling.fact(read), text, records, derived: 0 }
        }
    }
}

fn twice(telling: Telling, rule: String, part: usize, one: VersionId, two: VersionId) -> Witness {
    let partition = &telling.ledger.parts[part];
    let (early, late) = (partition.version(one), partition.version(two));
    let (here, there) = (span(early.base, early.last), span(late.base, late.last));
    let names = |id: VersionId| writer(partition, id).into_iter().collect();
    let stretch = |id: VersionId| {
        let version = partition.version(id);
        telling.stretch(partition, version.base, version.last.saturating_add(1), names(id))
    };
    Witness {
        rule,
        first: telling.fact(early.first),
        second: telling.fact(late.first),
        text: format!("The batch at {here} was written a second time, at {there}; both are committed."),
        records: vec![stretch(one), stretch(two)],
        derived: 0,
    }
}

/// The append that brought an offset into the surviving log, or the reading that found it there.
fn stored(telling: Telling, part: usize, offset: i64, read: u32) -> Fact {
    let partition = &telling.ledger.parts[part];
    telling.fact(partition.standing(offset).map_or(read, |id| partition.version(id).first))
}
