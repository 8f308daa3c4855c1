//! Consumers read only what is committed, and always the same.

use super::{Breaches, Excuses, Judge, conclude_with};
use crate::ledger::{Effect, Fate, Ledger, Partition, VersionId, Word};
use crate::nodes::NodeIndex;
use crate::words::Telling;
use crate::{AllowedLoss, Entry, Event, Property, Verdict, Witness};
use klamm_base::{ClientRecord, Observation};
use std::collections::BTreeMap;

pub(crate) const PROPERTY: Property = Property {
    name: "consumers-read-committed",
    summary: "consumers see only committed records, all the same record at one offset, and none that vanishes later",
    premise: "a consumer's fetch was answered while the leader's log held more than was committed",
    explanation: "A fetch ends at the high watermark: beyond it records may still vanish. So two readers never see different \
                  records at one offset, and what somebody has read is there at the end. Also judged across zombies: an old \
                  leader may serve stale records, but only committed ones. Where committed records were lost as a setting \
                  permits, phantom reads are part of that loss and told as such. Excused: what a reader met at an offset while a copy \
                  of exactly that offset was damaged, or after a frame on its connections had led it astray.",
    rules: &[RULE],
};

const RULE: &str = "Consumers are handed only committed records, the same at one offset for ever.";

#[derive(Clone, Copy, Debug)]
enum Breach {
    /// A broker served it too early.
    Served { part: usize, node: NodeIndex, version: Option<VersionId>, from: i64, to: i64, at: u32 },
    /// A consumer was handed it too early.
    Early { part: usize, from: i64, to: i64, at: u32 },
    /// Two readings of one offset.
    Differ { part: usize, offset: i64, first: (Word, u32), second: (Word, u32) },
    /// Read once and gone.
    Vanished { part: usize, offset: i64, read: (Word, u32) },
}

#[derive(Default)]
pub(crate) struct ReadCommitted {
    tested: u64,
    breaches: Breaches<Breach>,
    /// Readings that a loss explains: what was read, by partition and offset.
    explained: BTreeMap<(usize, i64), Word>,
    excuses: Excuses,
}

impl Judge for ReadCommitted {
    fn look(&mut self, ledger: &Ledger, at: u32, entry: &Entry, effect: &Effect) {
        let Event::Stack { observation, .. } = &entry.event else { return };
        match (*effect, observation) {
            (Effect::Served { part, node }, Observation::FetchServed { from, to, high_watermark, .. }) => {
                self.served(ledger, part, node, (*from, *to, *high_watermark), at);
            }
            (Effect::Read { part, astray: Some(fault) }, Observation::Read { offset, records, .. }) => {
                self.excuses.note(fault, part, *offset, offset.saturating_add(records.len() as i64));
            }
            (Effect::Read { part, astray: None }, Observation::Read { offset, records, finally, .. }) => {
                self.read(ledger, part, *offset, records, *finally, at);
            }
            _ => {}
        }
    }

    fn broken(&self) -> bool {
        self.breaches.any()
    }

    fn verdict(&mut self, telling: Telling) -> Verdict {
        for part in 0..telling.ledger.parts.len() {
            self.vanished(telling.ledger, part);
        }
        let mut losses = self.losses(telling);
        losses.extend(self.excuses.losses(telling, "records of PARTITION that a consumer was shown wrongly"));
        let untested = "no fetch was answered while a log held more than was committed";
        conclude_with(&self.breaches, self.tested, losses, untested, |breach| witness(telling, *breach))
    }
}

impl ReadCommitted {
    fn served(&mut self, ledger: &Ledger, part: usize, node: NodeIndex, (from, to, bound): (i64, i64, i64), at: u32) {
        if to <= from {
            return;
        }
        let partition = &ledger.parts[part];
        let version = partition.covering(node, to.saturating_sub(1));
        let open = version.is_none_or(|id| partition.version(id).fate == Fate::Open);
        let log = partition.log(node);
        self.tested += u64::from(log.is_some_and(|log| log.end > bound));
        let beyond = log.and_then(|log| log.mark).is_some_and(|mark| to > mark.to);
        if to <= bound && !open && !beyond {
            return;
        }
        let harm = version.and_then(|id| partition.harm_of_copy(node, id, ledger.now_ns()));
        if let Some(harm) = harm.filter(|_| to <= bound) {
            self.excuses.note(harm.at, part, from, to);
        } else {
            self.breaches.note(Breach::Served { part, node, version, from, to, at });
        }
    }

    fn read(
        &mut self,
        ledger: &Ledger,
        part: usize,
        from: i64,
        records: &[Option<ClientRecord>],
        finally: bool,
        at: u32,
    ) {
        let partition = &ledger.parts[part];
        let to = from.saturating_add(records.len() as i64);
        if to > partition.frontier && !partition.versions.is_empty() && !records.is_empty() {
            self.breaches.note(Breach::Early { part, from, to, at });
            return;
        }
        for (step, record) in records.iter().enumerate() {
            let offset = from.saturating_add(step as i64);
            let (word, slot) = (Word::of(*record), partition.slots.get(offset));
            if slot.read == word {
                continue;
            }
            let met =
                partition.harm_met(offset, at, finally).or_else(|| partition.harm_met(offset, slot.read_at, false));
            if let Some(harm) = met {
                self.excuses.note(harm.at, part, offset, offset.saturating_add(1));
            } else if committed_rivals(partition, offset) {
                self.explained.insert((part, offset), slot.read);
            } else if !(finally && slot.acked == slot.read) {
                self.breaches.note(Breach::Differ {
                    part,
                    offset,
                    first: (slot.read, slot.read_at),
                    second: (word, at),
                });
            }
        }
    }

    /// What was read once and is not in the final reading. If it was acknowledged too, its loss is the finding.
    fn vanished(&mut self, ledger: &Ledger, part: usize) {
        let partition = &ledger.parts[part];
        if partition.read_through().is_none() {
            return;
        }
        for (offset, slot) in partition.slots.iter().filter(|(_, slot)| slot.read.seen()) {
            // What was deleted by rule need not be there.
            let excused = partition.was_deleted(offset)
                || partition.was_taken(offset)
                || partition.too_late(offset, slot.read_at);
            if slot.last.seen() || excused {
                continue;
            }
            if lost(partition, offset).is_some() {
                self.explained.insert((part, offset), slot.read);
            } else if let Some(fault) = partition
                .harm_met(offset, slot.read_at, false)
                .map(|harm| harm.at)
                .or_else(|| partition.led_past(offset))
            {
                self.excuses.note(fault, part, offset, offset.saturating_add(1));
            } else if slot.acked != slot.read {
                self.breaches.note(Breach::Vanished { part, offset, read: (slot.read, slot.read_at) });
            }
        }
    }

    /// Phantom reads that a permitted loss explains. Those of a forbidden loss are counted where that loss is told.
    fn losses(&self, telling: Telling) -> Vec<AllowedLoss> {
        let mut by_loss: BTreeMap<(usize, usize), AllowedLoss> = BTreeMap::new();
        for ((part, offset), word) in &self.explained {
            let partition = &telling.ledger.parts[*part];
            let Some(loss) = lost(partition, *offset).filter(|loss| partition.losses[*loss].cause.is_allowed()) else {
                continue;
            };
            let fresh = || phantom(telling, *part, loss);
            let told = by_loss.entry((*part, loss)).or_insert_with(fresh);
            match told.records.last_mut() {
                Some(last) if last.to == *offset => {
                    last.to += 1;
                    last.records.extend(word.record());
                }
                _ => {
                    let end = offset.saturating_add(1);
                    told.records.push(telling.stretch(partition, *offset, end, word.record().into_iter().collect()));
                }
            }
        }
        by_loss.into_values().collect()
    }
}

fn phantom(telling: Telling, part: usize, loss: usize) -> AllowedLoss {
    let (setting, cause) = super::acked_survive::cause_words(telling, part, loss);
    AllowedLoss {
        what: format!("records of {} that consumers had read", telling.part(part)),
        records: Vec::new(),
        setting,
        cause,
    }
}

/// Different batches were committed at this offset: the earlier one was lost. What a start found and nobody had announced may
/// be one of them.
fn committed_rivals(partition: &Partition, offset: i64) -> bool {
    let mut batches = partition
        .covering_any(offset)
        .map(|id| partition.version(id))
        .filter(|version| version.commit.is_some())
        .map(|version| (version.base, version.batch));
    let first = batches.next();
    batches.any(|batch| Some(batch) != first) || lost(partition, offset).is_some() && partition.has_riddle(offset)
}

/// The loss that took a committed record from this offset.
fn lost(partition: &Partition, offset: i64) -> Option<usize> {
    partition.covering_any(offset).find_map(|id| match partition.version(id).fate {
        Fate::Lost(loss) => Some(loss),
        _ => None,
    })
}

fn witness(telling: Telling, breach: Breach) -> Witness {
    let rule = RULE.to_string();
    let (part, from, to, first, second, text) = match breach {
        Breach::Served { part, node, version, from, to, at } => {
            let first = version.map_or(at, |id| telling.ledger.parts[part].version(id).first);
            let text = format!("{} served records that no high watermark of its own covered.", telling.node(node));
            (part, from, to, telling.fact(first), telling.fact(at), text)
        }
        Breach::Early { part, from, to, at } => {
            let frontier = telling.ledger.parts[part].frontier;
            let text = format!("Never in this run was more committed than what is below {frontier}.");
            (part, from, to, telling.fact(at.saturating_sub(1)), telling.fact(at), text)
        }
        Breach::Differ { part, offset, first, second } => {
            let (one, two) = (seen(telling, part, offset, first), seen(telling, part, offset, second));
            (part, offset, offset.saturating_add(1), one, two, "One committed batch covers that offset.".to_string())
        }
        Breach::Vanished { part, offset, read } => {
            let end = telling.ledger.parts[part].finally.expect("told only of partitions that were finally read").at;
            let text = "Nothing took that record away, yet it is not there at the end.".to_string();
            (part, offset, offset.saturating_add(1), seen(telling, part, offset, read), telling.fact(end), text)
        }
    };
    let records = vec![telling.stretch(&telling.ledger.parts[part], from, to, Vec::new())];
    Witness { rule, first, second, text, records, derived: 0 }
}

fn seen(telling: Telling, part: usize, offset: i64, (word, at): (Word, u32)) -> crate::Fact {
    let fact = telling.fact(at);
    let text = format!("{}: {} at offset {offset} of {}", fact.text, telling.record(word.record()), telling.part(part));
    crate::Fact { text, ..fact }
}
