//! Acknowledged records survive, or a named setting says why not.

use super::high_watermark::lacks;
use super::{Breaches, Judge, conclude_with};
use crate::ledger::{Cause, Effect, Fate, Ledger, Partition, Setting, VersionId, Word};
use crate::words::Telling;
use crate::{AllowedLoss, Entry, Fact, Property, Stretch, Verdict, Witness};
use klamm_base::{ClientId, ClientRecord, Outcome};
use std::collections::BTreeMap;

pub(crate) const PROPERTY: Property = Property {
    name: "acked-survive",
    summary: "what a producer was told is written is there at the end, at the offset it was told",
    premise: "an acknowledged record met a later leader, or the crash of a node that held it",
    explanation: "For each record the judge keeps the copies that must protect it: the leader's maximal ISR when it was committed. \
                  A member leaves by an accepted shrink while another stays, or because the script destroyed its copy (power loss \
                  before a flush, a wiped disk). Lost although a member is left: violated. Lost with none left: allowed, and the \
                  setting is named (flush.messages, min.insync.replicas, eligible.leader.replicas.version=0), or the damage to a copy \
                  that no setting could have kept. acks=1 and acks=0 \
                  excuse only what never was below a high watermark. A loss through an unclean election must be exactly what the \
                  elected log did not hold: more lost is violated, less lost too. What a leader deleted by rule (retention, DeleteRecords, compaction) is not lost.",
    rules: &[RULE],
};

const RULE: &str = "An acknowledged record survives at its offset, unless every copy that had to protect it was destroyed or a \
                    setting gives it up.";

#[derive(Clone, Copy, Debug)]
struct Acked {
    part: usize,
    record: ClientRecord,
    offset: i64,
    at: u32,
    version: Option<VersionId>,
    /// Two leaders answered at this offset at the same time: it may be in this batch instead.
    rival: Option<VersionId>,
}

/// What became of an acknowledged record that the final reading did not find in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// Committed, and missing from a later leader's log (loss).
    Lost(usize),
    /// Not committed, although acks=all was told.
    NeverCommitted,
    /// The logs hold it, the reading does not show it.
    NotRead,
    /// No broker ever acknowledged it.
    NobodyAcked,
    /// The logs lost it, and the reading shows it all the same (loss).
    Returned(usize),
    /// acks=1, never committed, gone.
    OnlyLeader,
    /// acks=0, gone.
    NoAck,
    /// The logs hold it, and damage that the reading met hides it (entry of the damage).
    Hidden(u32),
    /// A spoilt frame told its producer what is not so (entry of the frame).
    Misled(u32),
}

#[derive(Clone, Debug, Default)]
struct Group {
    records: Vec<(i64, ClientRecord)>,
    first: u32,
}

#[derive(Default)]
pub(crate) struct AckedSurvive {
    at_risk: u64,
    /// Acknowledged since the last risk, by partition.
    fresh: Vec<u64>,
    acked: Vec<Acked>,
}

impl Judge for AckedSurvive {
    fn look(&mut self, ledger: &Ledger, at: u32, _: &Entry, effect: &Effect) {
        match *effect {
            Effect::Ended { part, record, outcome: Outcome::Acked(offset), stored: (version, rival) } => {
                self.acked.push(Acked { part, record, offset, at, version, rival });
                if part >= self.fresh.len() {
                    self.fresh.resize(part + 1, 0);
                }
                self.fresh[part] += 1;
            }
            Effect::Led { part, newest: true, .. } if ledger.parts[part].led_at.len() > 1 => self.risk(part),
            Effect::Down { node } => {
                let holds = |part: &usize| ledger.parts[*part].log(node).is_some_and(|log| !log.path.is_empty());
                (0..self.fresh.len()).filter(holds).collect::<Vec<_>>().into_iter().for_each(|part| self.risk(part));
            }
            _ => {}
        }
    }

    fn verdict(&mut self, telling: Telling) -> Verdict {
        let groups = self.groups(telling.ledger);
        let allowed =
            |(_, fault): &(usize, Fault), telling: Telling, part: usize| excused(&telling.ledger.parts[part], *fault);
        let mut breaches = Breaches::default();
        let mut losses = Vec::new();
        let mut broken: Vec<_> = groups.iter().filter(|(key, _)| !allowed(key, telling, key.0)).collect();
        broken.sort_by_key(|(_, group)| group.first);
        broken.into_iter().for_each(|(key, group)| breaches.note((*key, group.clone())));
        for ((part, fault), group) in groups.iter().filter(|(key, _)| allowed(key, telling, key.0)) {
            losses = joined(losses, told_loss(telling, *part, *fault, group));
        }
        let untested = "no acknowledged record met a later leader or a crash";
        conclude_with(&breaches, self.at_risk, losses, untested, |((part, fault), group)| {
            witness(telling, *part, *fault, group)
        })
    }
}

impl AckedSurvive {
    fn risk(&mut self, part: usize) {
        if let Some(fresh) = self.fresh.get_mut(part) {
            self.at_risk += std::mem::take(fresh);
        }
    }

    fn groups(&self, ledger: &Ledger) -> BTreeMap<(usize, Fault), Group> {
        let mut groups: BTreeMap<(usize, Fault), Group> = BTreeMap::new();
        for acked in &self.acked {
            if let Some(fault) = fault(ledger, acked) {
                let group = groups.entry((acked.part, fault)).or_insert(Group { records: Vec::new(), first: acked.at });
                group.records.push((acked.offset, acked.record));
            }
        }
        for (part, partition) in ledger.parts.iter().enumerate().filter(|(_, partition)| complete(partition)) {
            for (client, number, at) in sent_and_gone(partition) {
                let group = groups.entry((part, Fault::NoAck)).or_insert(Group { records: Vec::new(), first: at });
                group.records.push((i64::MIN, ClientRecord { client, number }));
            }
        }
        groups
    }
}

fn complete(partition: &Partition) -> bool {
    partition.read_through().is_some()
}

/// Records sent with acks=0 that the final reading should have met.
fn sent_and_gone(partition: &Partition) -> Vec<(ClientId, u32, u32)> {
    let began = partition.finally_began.unwrap_or(u32::MAX);
    let mut gone = Vec::new();
    for (client, sending) in &partition.sendings {
        let may_be_deleted = partition.may_be_deleted(*client);
        for (number, sent) in sending.iter().filter(|(_, sent)| sent.stands.is_none()) {
            if let Some((at, Outcome::Sent)) = sent.ended
                && at < began
                && !may_be_deleted(number)
            {
                gone.push((*client, number, at));
            }
        }
    }
    gone
}

fn fault(ledger: &Ledger, acked: &Acked) -> Option<Fault> {
    let partition = &ledger.parts[acked.part];
    let fate = |id: Option<VersionId>| id.map(|id| partition.version(partition.settled(id, acked.offset)).fate);
    let (fate, rival) = (fate(acked.version), fate(acked.rival));
    let read = complete(partition);
    if partition.too_late(acked.offset, acked.at) {
        return None;
    }
    let found = partition.slots.get(acked.offset).last == Word::of(Some(acked.record));
    if read && found {
        // Both directions: what the logs lost must not be read.
        return match fate {
            Some(Fate::Lost(loss)) if rival != Some(Fate::Committed) && !stands_again(partition, acked) => {
                Some(Fault::Returned(loss))
            }
            _ => None,
        };
    }
    // The record that is gone was in the batch that did not survive; and of two that two leaders acknowledged there at the same
    // time, a write that was committed and then lost explains it, one that never was does not.
    let buried = acked.version.is_some_and(|id| partition.is_buried(partition.settled(id, acked.offset), acked.offset));
    let deleted = buried || partition.was_taken(acked.offset);
    let gone = match (fate, rival) {
        // What stood there went by rule.
        (Some(Fate::Committed), _) if deleted => return None,
        (Some(Fate::Committed), _) => rival.or(fate),
        (Some(Fate::Open), Some(Fate::Lost(_))) => rival,
        _ => fate,
    };
    let only_leader = acks(ledger, acked.record.client) == 1;
    let fault = match gone {
        Some(Fate::Lost(loss)) => Fault::Lost(loss),
        Some(Fate::Committed) => Fault::NotRead,
        Some(Fate::Open) if only_leader => Fault::OnlyLeader,
        Some(Fate::Open) => Fault::NeverCommitted,
        None if partition.versions.is_empty() && only_leader => Fault::OnlyLeader,
        None => Fault::NobodyAcked,
    };
    let fault = by_damage(ledger, acked, fault);
    // Without a complete final reading only the logs can tell, and only of what was committed.
    (read || matches!(fault, Fault::Lost(_))).then_some(fault)
}

/// The batch that was lost stands at the same offset in another epoch, and is committed there: its first leader's log came back
/// through an unclean election after the retry's log was lost.
fn stands_again(partition: &Partition, acked: &Acked) -> bool {
    let lost = acked.version.map(|id| partition.version(partition.settled(id, acked.offset)));
    let same = |id: VersionId| {
        let version = partition.version(id);
        version.fate == Fate::Committed
            && lost.is_some_and(|lost| (lost.base, lost.batch) == (version.base, version.batch))
    };
    partition.covering_any(acked.offset).any(same)
}

/// The same, if damage on the way to the reader or to the producer explains it.
fn by_damage(ledger: &Ledger, acked: &Acked, fault: Fault) -> Fault {
    let partition = &ledger.parts[acked.part];
    let met = || partition.harm_met(acked.offset, u32::MAX, true).map(|harm| Fault::Hidden(harm.at));
    let astray = || partition.led_past(acked.offset).map(Fault::Hidden);
    let sent = partition.sendings.get(&acked.record.client).and_then(|sending| sending.get(acked.record.number));
    let misled = || sent.and_then(|sent| ledger.misled(acked.record, sent)).map(Fault::Misled);
    match fault {
        Fault::NotRead => met().or_else(astray).or_else(misled).unwrap_or(fault),
        Fault::NeverCommitted | Fault::NobodyAcked => misled().unwrap_or(fault),
        _ => fault,
    }
}

fn acks(ledger: &Ledger, client: ClientId) -> i16 {
    ledger.clients.get(&client).and_then(|client| client.acks()).unwrap_or(-1)
}

fn excused(partition: &Partition, fault: Fault) -> bool {
    match fault {
        Fault::Lost(loss) => partition.losses[loss].cause.is_allowed(),
        Fault::OnlyLeader | Fault::NoAck | Fault::Hidden(_) | Fault::Misled(_) => true,
        Fault::NeverCommitted | Fault::NotRead | Fault::NobodyAcked | Fault::Returned(_) => false,
    }
}

/// Neighbouring offsets become one stretch; records without an offset stand in one empty stretch.
fn stretches(telling: Telling, part: usize, group: &Group) -> Vec<Stretch> {
    let partition = &telling.ledger.parts[part];
    let mut records = group.records.clone();
    records.sort_unstable();
    let mut stretches: Vec<Stretch> = Vec::new();
    for (offset, record) in records {
        let unplaced = offset == i64::MIN;
        match stretches.last_mut() {
            Some(last) if unplaced || last.to == offset || last.to == offset.saturating_add(1) => {
                last.to = if unplaced { last.to } else { offset.saturating_add(1) };
                last.records.push(record);
            }
            _ => {
                let (from, to) = if unplaced { (0, 0) } else { (offset, offset.saturating_add(1)) };
                stretches.push(telling.stretch(partition, from, to, vec![record]));
            }
        }
    }
    stretches
}

fn told_loss(telling: Telling, part: usize, fault: Fault, group: &Group) -> AllowedLoss {
    let partition = &telling.ledger.parts[part];
    let count = group.records.len();
    let name = telling.part(part);
    let (what, setting, cause) = match fault {
        Fault::Lost(loss) => {
            let (setting, cause) = cause_words(telling, part, loss);
            (format!("{} of {name}", counted(count, "acknowledged record")), setting, cause)
        }
        Fault::Hidden(harm) => {
            let what = format!("{} of {name} that nobody can read", counted(count, "acknowledged record"));
            (what, telling.fault(harm), telling.cause(harm))
        }
        Fault::Misled(frame) => {
            let what = format!("{} of {name} of which the producer was told wrongly", counted(count, "record"));
            (what, telling.fault(frame), telling.cause(frame))
        }
        Fault::NoAck => {
            let cause = "written to a socket, and nobody was asked whether they arrived".to_string();
            (format!("{} sent to {name}", counted(count, "record")), "acks=0".to_string(), cause)
        }
        _ => {
            let what = format!("{} of {name} that only the leader had", counted(count, "record"));
            (what, "acks=1".to_string(), overtaken(telling, partition, group))
        }
    };
    AllowedLoss { what, records: stretches(telling, part, group), setting, cause }
}

/// Groups that differ in nothing that a reader is told become one.
fn joined(losses: Vec<AllowedLoss>, loss: AllowedLoss) -> Vec<AllowedLoss> {
    let mut losses = losses;
    let same = |known: &&mut AllowedLoss| {
        let alike = known.setting == loss.setting && known.cause == loss.cause;
        alike && known.records.first().map(|stretch| stretch.tp) == loss.records.first().map(|stretch| stretch.tp)
    };
    match losses.iter_mut().find(same) {
        Some(known) => {
            known.records.extend(loss.records);
            let kind = known.what.split_once(' ').map_or("", |(_, kind)| kind).replacen("record of", "records of", 1);
            known.what = format!("{} {kind}", known.count());
        }
        None => losses.push(loss),
    }
    losses
}

/// `1 record`, `2 records`
fn counted(number: usize, one: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {one}{ending}")
}

/// Which leader came without them.
fn overtaken(telling: Telling, partition: &Partition, group: &Group) -> String {
    let offset = group.records.first().map_or(0, |(offset, _)| *offset);
    let mut open = partition.covering_any(offset).map(|id| partition.version(id)).filter(|v| v.fate == Fate::Open);
    let epoch = open.next().map(|version| version.epoch);
    let later = epoch.and_then(|epoch| partition.led_at.range(epoch.saturating_add(1)..).next());
    match later {
        Some((epoch, at)) => format!("epoch {epoch} was taken up at {} by a leader without them", telling.time(*at)),
        None => "their leader lost them before a follower had them".to_string(),
    }
}

/// The setting that permits a loss, and what happened.
pub(super) fn cause_words(telling: Telling, part: usize, loss: usize) -> (String, String) {
    let partition = &telling.ledger.parts[part];
    let told = &partition.losses[loss];
    let leader = telling.node(told.leader);
    match told.cause {
        Cause::Unclean { at } => (
            "unclean.leader.election.enable=true".to_string(),
            format!("unclean election at {}; {leader} led epoch {} without them", telling.time(at), told.leader_epoch),
        ),
        Cause::Destroyed { members, setting } => {
            let mut copies = partition.versions.iter().filter(|v| v.fate == Fate::Lost(loss)).map(|v| v.destroyed);
            let destroyed = copies.next().unwrap_or_default();
            // Copies that turned out destroyed only later count too: with all of them gone no setting but the flush matters.
            let all = members.minus(destroyed).is_empty();
            let setting = destruction(if all { Setting::Flush } else { setting }, partition.min_insync);
            let lost = |(id, _): &(&VersionId, &u32)| partition.version(**id).fate == Fate::Lost(loss);
            let harm = partition.blame.iter().find(lost).map(|(_, harm)| *harm);
            let by = harm.map_or_else(String::new, |harm| format!(" ({})", telling.cause(harm)));
            let cause = format!("the copies of {} were destroyed{by}", telling.nodes(destroyed));
            (
                harm.map_or(setting, |harm| telling.fault(harm)),
                format!("{cause}; {leader} led epoch {} without them at {}", told.leader_epoch, telling.time(told.at)),
            )
        }
        Cause::UncleanForbidden { .. } | Cause::Broken { .. } => unreachable!("only allowed losses are told as such"),
    }
}

fn destruction(setting: Setting, min_insync: i32) -> String {
    match setting {
        Setting::Flush => "flush.messages (acknowledged before it was flushed)".to_string(),
        Setting::MinInsync => format!("min.insync.replicas={min_insync}"),
        Setting::EligibleReplicas => "eligible.leader.replicas.version=0".to_string(),
    }
}

fn witness(telling: Telling, part: usize, fault: Fault, group: &Group) -> Witness {
    let partition = &telling.ledger.parts[part];
    let found = group
        .records
        .first()
        .and_then(|(_, record)| partition.sendings.get(&record.client)?.get(record.number)?.stands);
    let (second, text) = match fault {
        Fault::Lost(loss) => (telling.fact(partition.losses[loss].at), lacks(telling, part, loss)),
        Fault::Returned(loss) => (
            telling.fact(partition.losses[loss].at),
            "The logs had lost them, yet the final reading shows them.".to_string(),
        ),
        Fault::NeverCommitted => (
            reading(telling, partition, group),
            "Told with acks=all, but never below a high watermark, and gone.".to_string(),
        ),
        Fault::NobodyAcked => {
            (reading(telling, partition, group), "No broker acknowledged them, and they are not there.".to_string())
        }
        _ => (
            reading(telling, partition, group),
            "The logs hold them there, yet the final reading does not show them.".to_string(),
        ),
    };
    let elsewhere = found.map_or_else(String::new, |offset| format!(" The first of them stands at {offset} instead."));
    Witness {
        rule: RULE.to_string(),
        first: telling.fact(group.first),
        second,
        text: format!("{} lost. {text}{elsewhere}", counted(group.records.len(), "acknowledged record")),
        records: stretches(telling, part, group),
        derived: 0,
    }
}

/// What the final reading saw at the first of these offsets.
fn reading(telling: Telling, partition: &Partition, group: &Group) -> Fact {
    let offset = group.records.first().map_or(0, |(offset, _)| *offset);
    let slot = partition.slots.get(offset);
    let name = telling.partition(partition.tp);
    if slot.last.seen() {
        let text =
            format!("the final reading found {} at offset {offset} of {name}", telling.record(slot.last.record()));
        return telling.fact_as(slot.last_at, text);
    }
    let last = partition.finally.expect("told only of partitions that were finally read");
    let (start, end) = (last.start, last.end);
    telling.fact_as(last.at, format!("the final reading of {name}, {start}..{end}, found nothing at offset {offset}"))
}
