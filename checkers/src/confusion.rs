//! What clients were told against what the log holds.

use crate::ledger::{Ledger, Partition, Sent, Word};
use klamm_base::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The confusion matrix of one run or campaign, in records: a row for each thing that a client may be told of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// Told as written.
    pub acked: Places,
    /// Told as not written. One that is in the log breaks `refused-stay-out`.
    pub refused: Places,
    /// Told as perhaps written.
    pub unknown: Places,
    /// Sent with acks=0.
    pub sent: Places,
}

/// Where the records of one row are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places {
    /// The final reading shows them.
    pub in_log: u64,
    /// They were in a log once: a batch stood where a broker acknowledged them, or somebody read them. The final reading does
    /// not show them.
    pub gone: u64,
    /// Nobody ever saw them.
    pub never_seen: u64,
    /// The final reading cannot tell: it did not reach its end, or they were written while it was under way.
    pub not_known: u64,
}

impl Places {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.in_log + self.gone + self.never_seen + self.not_known
    }

    fn add(&mut self, other: &Places) {
        self.in_log += other.in_log;
        self.gone += other.gone;
        self.never_seen += other.never_seen;
        self.not_known += other.not_known;
    }
}

impl Confusion {
    /// Adds another run's.
    pub fn add(&mut self, other: &Confusion) {
        self.acked.add(&other.acked);
        self.refused.add(&other.refused);
        self.unknown.add(&other.unknown);
        self.sent.add(&other.sent);
    }

    /// The rows with the words for what was told.
    pub fn rows(&self) -> [(&'static str, Places); 4] {
        [("acked", self.acked), ("refused", self.refused), ("unknown", self.unknown), ("sent", self.sent)]
    }
}

pub(crate) fn confusion(ledger: &Ledger) -> Confusion {
    let mut confusion = Confusion::default();
    ledger.parts.iter().for_each(|partition| count(partition, &mut confusion));
    confusion
}

fn count(partition: &Partition, confusion: &mut Confusion) {
    // Read by somebody before, and not in the end.
    let vanished: BTreeSet<Word> = partition
        .slots
        .iter()
        .map(|(_, slot)| slot)
        .filter(|slot| slot.read != slot.last)
        .map(|slot| slot.read)
        .collect();
    for (client, sending) in &partition.sendings {
        let may_be_deleted = partition.may_be_deleted(*client);
        for (number, sent) in sending.iter() {
            let Some((told, outcome)) = sent.ended else { continue };
            let row = match outcome {
                Outcome::Acked(_) => &mut confusion.acked,
                Outcome::Refused(_) => &mut confusion.refused,
                Outcome::Unknown(_) => &mut confusion.unknown,
                Outcome::Sent => &mut confusion.sent,
            };
            if sent.stands.is_some() {
                row.in_log += 1;
                continue;
            }
            let word = Word::of(Some(klamm_base::ClientRecord { client: *client, number }));
            let deleted = may_be_deleted(number);
            if !can_tell(partition, sent, told) || deleted && !vanished.contains(&word) && !stood(partition, outcome) {
                row.not_known += 1;
            } else if vanished.contains(&word) || stood(partition, outcome) {
                row.gone += 1;
            } else {
                row.never_seen += 1;
            }
        }
    }
}

fn can_tell(partition: &Partition, sent: &Sent, told: u32) -> bool {
    let late = match sent.ended {
        Some((_, Outcome::Acked(offset))) => partition.too_late(offset, told),
        _ => partition.finally_began.is_some_and(|began| told > began),
    };
    partition.read_through().is_some() && !late
}

/// True if a batch stood where this record was acknowledged.
fn stood(partition: &Partition, outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Acked(offset) if partition.covering_any(offset).next().is_some())
}
