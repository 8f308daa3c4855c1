//! Guards: Kafka's protections, each behind one named predicate that a simulated run can switch off.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A protection that was bought with a real incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guard {
    /// A new follower truncates to where its epochs and the leader's part (KIP-101, KIP-279).
    /// Off: it truncates to its own high watermark, which may be one fetch old.
    EpochTruncation,
    /// A broker remembers the last five batches of each producer. Off: only the last one, while five are in flight.
    DuplicateWindow,
    /// Until the controller has confirmed that a member left the ISR, that member holds the high watermark back (KIP-497).
    /// Off: the leader counts without it as soon as it has asked.
    ConfirmedIsrShrink,
    /// After an unclean stop every batch above the recovery point must fit its checksum (L06). Off: a batch whose header
    /// can be read is taken as it stands, torn or not.
    RecoveryCrc,
    /// A full segment is synced before the recovery point passes it (L07). Off: the point moves when the segment is closed,
    /// and the sync is left to whatever syncs next.
    CheckpointAfterFlush,
    /// What is known of producers beyond the recovered end goes with the records that it was learned from (L04). Off: the
    /// newest snapshot is believed as it stands, and stays.
    SnapshotWithinLog,
    /// A leader compares the epoch of a follower's last record with its own (KIP-101, A02). Off: it gives what it has
    /// from that offset on, so logs that part below stay parted.
    RecordEpochs,
    /// Compaction keeps a tombstone until `delete.retention.ms` after the first clean that met it (KIP-534).
    /// Off: the first clean that meets it drops it, and who has not read it yet keeps a deleted key for ever.
    TombstoneHorizon,
    /// Compaction keeps the marker of a transaction until all data of it is gone and its horizon has passed (KIP-534).
    /// Off: the first clean that meets it drops it, though its data is there.
    MarkerHorizon,
    /// Compaction keeps the last batch of each producer that lives, if only as a header (KIP-98): a load learns from it what
    /// that producer wrote last. Off: it goes with its last record.
    ProducerLastBatch,
}

impl Guard {
    /// Every guard, in the order in which lists print them.
    pub const ALL: [Guard; 10] = [
        Guard::EpochTruncation,
        Guard::DuplicateWindow,
        Guard::ConfirmedIsrShrink,
        Guard::RecoveryCrc,
        Guard::CheckpointAfterFlush,
        Guard::SnapshotWithinLog,
        Guard::RecordEpochs,
        Guard::TombstoneHorizon,
        Guard::MarkerHorizon,
        Guard::ProducerLastBatch,
    ];

    /// The name that `--without` takes.
    pub fn name(self) -> &'static str {
        match self {
            Guard::EpochTruncation => "epoch-truncation",
            Guard::DuplicateWindow => "duplicate-window",
            Guard::ConfirmedIsrShrink => "confirmed-isr-shrink",
            Guard::RecoveryCrc => "recovery-crc",
            Guard::CheckpointAfterFlush => "checkpoint-after-flush",
            Guard::SnapshotWithinLog => "snapshot-within-log",
            Guard::RecordEpochs => "record-epochs",
            Guard::TombstoneHorizon => "tombstone-horizon",
            Guard::MarkerHorizon => "marker-horizon",
            Guard::ProducerLastBatch => "producer-last-batch",
        }
    }

    /// One line for people: what it protects and what taught it.
    pub fn summary(self) -> &'static str {
        match self {
            Guard::EpochTruncation => {
                "followers truncate by leader epoch, not to their own high watermark (A01, KIP-101: acknowledged records lost)"
            }
            Guard::DuplicateWindow => {
                "brokers remember the last five batches of a producer, not one (P03, KAFKA-5494: duplicates, false sequence errors)"
            }
            Guard::ConfirmedIsrShrink => {
                "a leader counts a member of the ISR until the controller has confirmed that it left (A09, KIP-497: acknowledged records lost)"
            }
            Guard::RecoveryCrc => {
                "recovery takes only batches that fit their checksums (L06: what a power loss tore is served, and nobody can read it)"
            }
            Guard::CheckpointAfterFlush => {
                "the recovery point passes only what was synced (L07: recovery begins behind what a power loss took away)"
            }
            Guard::SnapshotWithinLog => {
                "what is known of producers beyond the recovered end is forgotten (L04: lost records are answered as duplicates)"
            }
            Guard::RecordEpochs => {
                "a leader compares the epoch of a follower's last record with its own (A02, KIP-101: logs differ below their ends)"
            }
            Guard::TombstoneHorizon => {
                "compaction keeps tombstones for delete.retention.ms (L01, KAFKA-4529: slow readers keep deleted keys)"
            }
            Guard::MarkerHorizon => {
                "compaction keeps a transaction's marker while its data is there, and for its horizon (L03, KIP-534: aborted reads, open ends)"
            }
            Guard::ProducerLastBatch => {
                "compaction keeps the last batch of each live producer (L03, KIP-98: a retry is taken for new, or refused)"
            }
        }
    }

    /// The historical bug that its absence brings back, as `klamm bugs` prints it.
    pub fn bug(self) -> &'static str {
        match self {
            Guard::EpochTruncation => "A01 KIP-101",
            Guard::DuplicateWindow => "P03 KAFKA-5494",
            Guard::ConfirmedIsrShrink => "A09 KIP-497",
            Guard::RecoveryCrc => "L06 torn batch",
            Guard::CheckpointAfterFlush => "L07 early checkpoint",
            Guard::SnapshotWithinLog => "L04 stale snapshot",
            Guard::RecordEpochs => "A02 KIP-101",
            Guard::TombstoneHorizon => "L01 KAFKA-4529",
            Guard::MarkerHorizon => "L03 KIP-534",
            Guard::ProducerLastBatch => "L03 KIP-98",
        }
    }

    /// How many events must fall together for the bug to show, 1 to 4. Written down before the guard's first run: it sets how
    /// many seeds a campaign may need to find it.
    pub fn depth(self) -> u32 {
        match self {
            Guard::EpochTruncation => 2,
            Guard::DuplicateWindow => 2,
            Guard::ConfirmedIsrShrink => 2,
            // Power loss that tears a batch within, and somebody who reads it: a replica or a consumer of a later leader.
            Guard::RecoveryCrc => 2,
            // A checkpoint behind a closed segment, and a power loss before the sync of it.
            Guard::CheckpointAfterFlush => 2,
            // Power loss between a snapshot and the sync of its records; that broker leads without them; their producer
            // repeats them.
            Guard::SnapshotWithinLog => 3,
            // A leader dies with what nobody else has; another goes on past that before it is back.
            Guard::RecordEpochs => 2,
            Guard::TombstoneHorizon => 1,
            Guard::MarkerHorizon => 2,
            // A producer falls silent, or its keys are overtaken, and a clean comes by before it writes again.
            Guard::ProducerLastBatch => 2,
        }
    }

    /// Seeds within which a campaign must find it: 20, 200, 2,000 and 20,000 for depths 1 to 4.
    pub fn budget(self) -> u64 {
        2 * 10u64.pow(self.depth())
    }

    /// The guard of this name.
    pub fn from_name(name: &str) -> Option<Guard> {
        Guard::ALL.into_iter().find(|guard| guard.name() == name)
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which guards stand. A value of the run, handed to each core when it is made; all stand by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guards {
    off: u64,
}

impl Guards {
    /// All guards but `off`.
    pub fn without(off: &[Guard]) -> Self {
        Self { off: off.iter().fold(0, |bits, guard| bits | 1 << *guard as u64) }
    }

    /// True while the guard stands.
    pub fn stands(self, guard: Guard) -> bool {
        self.off & (1 << guard as u64) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_is_found_by_its_name_and_can_be_switched_off_alone() {
        for guard in Guard::ALL {
            assert_eq!(Guard::from_name(guard.name()), Some(guard));
            let guards = Guards::without(&[guard]);
            assert!(Guard::ALL.into_iter().all(|other| guards.stands(other) == (other != guard)));
        }
        assert_eq!(Guard::from_name("no-such-guard"), None);
    }

    #[test]
    fn the_budget_of_a_guard_follows_its_depth() {
        for guard in Guard::ALL {
            assert!((1..=4).contains(&guard.depth()), "{guard}");
            assert_eq!(guard.budget(), [20, 200, 2_000, 20_000][guard.depth() as usize - 1]);
            assert!(guard.summary().contains(guard.bug().split(' ').next().expect("an id")), "{guard}");
        }
    }
}
