//! Marks: places in the stack that only a rare course of events reaches. An assertion says what must be so; a mark says that it
//! really happened. Marks are values of a run, and cost one branch where nobody looks.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Defines the enum with one name and one sentence for each mark.
macro_rules! marks {
    ($($mark:ident $name:literal $summary:literal;)+) => {
        /// Something rare that some seed of a sweep should meet.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Mark {
            $(#[doc = $summary] $mark,)+
        }

        impl Mark {
            /// Every mark, in the order in which lists print them.
            pub const ALL: &'static [Mark] = &[$(Mark::$mark),+];

            /// As profiles and reports write it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Mark::$mark => $name,)+
                }
            }

            /// One sentence for people.
            pub fn summary(self) -> &'static str {
                match self {
                    $(Mark::$mark => $summary,)+
                }
            }
        }
    };
}

marks! {
    DuplicateAnswered "duplicate-answered" "A batch came again that was in the log already, and was acknowledged at its first place.";
    DeliveryExpired "delivery-expired" "The delivery time of a batch was over while its answer was still awaited: nobody knows.";
    AckedAfterExpiry "acked-after-expiry" "An acknowledgement came after the application was told that nobody knows.";
    ProducerEpochBumped "producer-epoch-bumped" "A producer gave up a sequence and began anew in its next epoch.";
    NotEnoughReplicas "not-enough-replicas" "A write was refused before it was appended: too few replicas in sync.";
    TimedOutBelowMinIsr "timed-out-below-min-isr" "A write timed out after it was appended: too few replicas stayed in sync.";
    DeposedWithProduceParked "deposed-with-produce-parked" "A leader was deposed while a write waited for its followers.";
    TruncatedByEpoch "truncated-by-epoch" "A follower cut its log to where its epochs and the leader's part.";
    TruncatedSeveralEpochs "truncated-several-epochs" "One cut removed more than one leader epoch from a log.";
    DivergenceInRounds "divergence-in-rounds" "The leader named an epoch that the follower never had: another round finds where the logs part.";
    FollowerOutOfRange "follower-out-of-range" "A follower asked beyond the end of its leader's log.";
    FetchFenced "fetch-fenced" "A fetch came from an older leader epoch and was fenced.";
    StaleFetchAnswer "stale-fetch-answer" "An answer to a follower's fetch came after its leader or its log had changed.";
    IsrProposalRefused "isr-proposal-refused" "The controller refused an in-sync set that a leader proposed.";
    IsrProposalLost "isr-proposal-lost" "A proposed in-sync set, or its answer, was lost on the way.";
    IsrAnswerStale "isr-answer-stale" "The answer to a proposed in-sync set came after metadata had told something newer.";
    IncarnationRefused "incarnation-refused" "A proposed in-sync set held a replica that is fenced or another incarnation by now.";
    UncleanElection "unclean-election" "A replica was elected that was not in sync.";
    Leaderless "leaderless" "A partition had no leader: it waited for a replica in sync.";
    RegisteredWithinSession "registered-within-session" "A broker came back before the session of its earlier life was over.";
    TornTailCut "torn-tail-cut" "Recovery found bytes at the end of a log that are no batch, and cut them off.";
    ConsumerTruncated "consumer-truncated" "A consumer learned from a new leader that the record before its position is gone.";
    ConsumerReset "consumer-reset" "A consumer's position was not in the log, and auto.offset.reset decided.";
}

impl Mark {
    /// The mark of this name.
    pub fn from_name(name: &str) -> Option<Mark> {
        Mark::ALL.iter().copied().find(|mark| mark.name() == name)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which marks were hit: one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks(u64);

const _: () = assert!(Mark::ALL.len() <= 64, "a mark is a bit of one word");

impl Marks {
    /// The marks of these bits, as [`Self::bits`] gave them.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// A bit for each mark, in the order of [`Mark::ALL`].
    pub fn bits(self) -> u64 {
        self.0
    }

    /// The bit of one mark.
    pub fn bit(mark: Mark) -> u64 {
        1 << mark as u64
    }

    /// True if it was hit.
    pub fn has(self, mark: Mark) -> bool {
        self.0 & Self::bit(mark) != 0
    }

    /// Those that were hit, in the order of [`Mark::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Mark> {
        Mark::ALL.iter().copied().filter(move |mark| self.has(*mark))
    }
}

/// Marks that something rare happened, if it did: `sometimes!(self.observe, duplicate, Mark::DuplicateAnswered)`. It changes
/// nothing and is no part of the history.
#[macro_export]
macro_rules! sometimes {
    ($observe:expr, $condition:expr, $mark:expr) => {
        if $condition {
            $observe.mark($mark);
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_by_its_name_and_has_a_bit_of_its_own() {
        for mark in Mark::ALL {
            assert_eq!(Mark::from_name(mark.name()), Some(*mark));
            let only = Marks::from_bits(Marks::bit(*mark));
            assert_eq!(only.iter().collect::<Vec<_>>(), [*mark]);
        }
        assert_eq!(Mark::from_name("no-such-mark"), None);
        assert_eq!(Marks::default().iter().count(), 0);
    }
}
