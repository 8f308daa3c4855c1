//! One property a file. Each looks at every entry once, after the ledger took it in, and answers at the end.

mod ack_after_commit;
mod acked_survive;
mod compaction_keeps;
mod consumers_in_order;
mod consumers_read_committed;
mod elections;
mod high_watermark;
mod idempotence;
mod log_matching;
mod no_panic;
mod one_leader_per_epoch;
mod producer_order;
mod producer_state;
mod recovery;
mod refused_stay_out;
mod retention_exact;
mod serves_after_heal;

use crate::ledger::{Effect, Ledger};
use crate::words::Telling;
use crate::{AllowedLoss, Entry, Property, Verdict, Witness};
use std::collections::BTreeMap;

/// A property at work on one history.
pub(crate) trait Judge: Send {
    /// One entry (its index, itself, and what it did to the ledger). Must be cheap: nothing is formatted here.
    fn look(&mut self, ledger: &Ledger, at: u32, entry: &Entry, effect: &Effect);

    /// True if the promise is broken by now, whatever comes later: a run may end here. What only the end shows is not known
    /// before it.
    fn broken(&self) -> bool {
        false
    }

    /// The answer, after the last entry.
    fn verdict(&mut self, telling: Telling) -> Verdict;
}

/// Makes [`ALL`] and [`Judges`] of one list. The judges are fields and not boxes: most entries concern few of them, and a
/// call that finds so is then not made at all.
macro_rules! properties {
    ($($property:ident: $judge:ident),* $(,)?) => {
        /// Every property, root causes first.
        pub(crate) const ALL: &[Property] = &[$($property::PROPERTY),*];

        /// A fresh judge for each of [`ALL`].
        #[derive(Default)]
        pub(crate) struct Judges {
            $($property: $property::$judge),*
        }

        impl Judges {
            /// Every judge looks at an entry.
            pub fn look(&mut self, ledger: &Ledger, at: u32, entry: &Entry, effect: &Effect) {
                $(self.$property.look(ledger, at, entry, effect);)*
            }

            /// Whose promise is broken by now, in the order of [`ALL`].
            pub fn broken(&self) -> [bool; ALL.len()] {
                [$(self.$property.broken()),*]
            }

            /// Their answers, in the order of [`ALL`].
            pub fn verdicts(&mut self, telling: Telling) -> [Verdict; ALL.len()] {
                [$(self.$property.verdict(telling)),*]
            }
        }
    };
}

properties! {
    no_panic: NoPanic,
    elections: Elections,
    one_leader_per_epoch: OneLeader,
    recovery: Recovery,
    log_matching: LogMatching,
    retention_exact: RetentionExact,
    compaction_keeps: CompactionKeeps,
    high_watermark: HighWatermark,
    ack_after_commit: AckAfterCommit,
    acked_survive: AckedSurvive,
    refused_stay_out: RefusedStayOut,
    idempotence: Idempotence,
    producer_order: ProducerOrder,
    producer_state: ProducerState,
    consumers_read_committed: ReadCommitted,
    consumers_in_order: InOrder,
    serves_after_heal: Serves,
}

/// The breaches of one property: the first is kept, the others are counted.
#[derive(Debug)]
pub(crate) struct Breaches<T> {
    pub first: Option<T>,
    pub count: u64,
}

impl<T> Default for Breaches<T> {
    fn default() -> Self {
        Breaches { first: None, count: 0 }
    }
}

impl<T> Breaches<T> {
    pub fn note(&mut self, breach: T) {
        self.count += 1;
        self.first.get_or_insert(breach);
    }

    pub fn any(&self) -> bool {
        self.count > 0
    }
}

/// Breaches that damage explains: told as the price of that fault, with what it reached.
#[derive(Debug, Default)]
pub(crate) struct Excuses {
    /// The entry of the fault and the partition, and the offsets from first to behind the last.
    stretches: BTreeMap<(u32, usize), (i64, i64)>,
}

impl Excuses {
    /// Offsets `from..to` of a partition are as they are because of the fault that entry `fault` tells of.
    pub fn note(&mut self, fault: u32, part: usize, from: i64, to: i64) {
        let known = self.stretches.entry((fault, part)).or_insert((from, to));
        *known = (known.0.min(from), known.1.max(to));
    }

    /// What the faults cost. `what` says what became of `PARTITION`.
    pub fn losses(&self, telling: Telling, what: &str) -> Vec<AllowedLoss> {
        let told = self.stretches.iter().map(|((fault, part), (from, to))| AllowedLoss {
            what: what.replace("PARTITION", &telling.part(*part)),
            records: vec![telling.stretch(&telling.ledger.parts[*part], *from, *to, Vec::new())],
            setting: telling.fault(*fault),
            cause: telling.cause(*fault),
        });
        told.collect()
    }
}

/// The verdict of a property that knows no allowed losses.
pub(crate) fn conclude<T>(
    breaches: &Breaches<T>,
    obligations: u64,
    untested: &str,
    witness: impl FnOnce(&T) -> Witness,
) -> Verdict {
    conclude_with(breaches, obligations, Vec::new(), untested, witness)
}

/// Violated > allowed > held > not tested, within one run: an allowed loss is never hidden behind what held.
pub(crate) fn conclude_with<T>(
    breaches: &Breaches<T>,
    obligations: u64,
    losses: Vec<AllowedLoss>,
    untested: &str,
    witness: impl FnOnce(&T) -> Witness,
) -> Verdict {
    if let Some(first) = &breaches.first {
        let witness = Witness { derived: breaches.count - 1, ..witness(first) };
        return Verdict::Violated { witness, obligations };
    }
    if !losses.is_empty() {
        return Verdict::Allowed { obligations, losses };
    }
    if obligations == 0 {
        return Verdict::NotTested { reason: untested.to_string() };
    }
    Verdict::Held { obligations }
}
