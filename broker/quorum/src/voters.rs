//! How far each voter's log is durable, and what that commits.

use klamm_base::NodeId;
use std::collections::BTreeMap;

/// Durable ends of the voters' logs, as the leader of an epoch knows them.
#[derive(Clone, Debug)]
pub(crate) struct Voters {
    ends: BTreeMap<NodeId, i64>,
    /// Where the epoch's own LeaderChange stands: nothing is committed before it is (K6).
    epoch_start: i64,
    high_watermark: i64,
}

impl Voters {
    /// Nobody is known to hold anything.
    pub(crate) fn new(voters: &[NodeId], epoch_start: i64) -> Self {
        assert!(!voters.is_empty(), "a quorum without voters");
        Self { ends: voters.iter().map(|voter| (*voter, 0)).collect(), epoch_start, high_watermark: 0 }
    }

    /// `voter` holds all below `end` durably: flushed, not only written (K5, K01). True if the high watermark moved.
    pub(crate) fn durable(&mut self, voter: NodeId, end: i64) -> bool {
        let known = self.ends.get_mut(&voter).expect("only voters count");
        *known = end.max(*known);
        let majority = self.majority_end();
        let moved = majority > self.epoch_start && majority > self.high_watermark;
        if moved {
            self.high_watermark = majority;
        }
        moved
    }

    /// All below is committed; 0 until the epoch's own LeaderChange is.
    pub(crate) fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// What a majority holds: the end at index n/2 of the descending ends.
    fn majority_end(&self) -> i64 {
        let mut ends: Vec<i64> = self.ends.values().copied().collect();
        ends.sort_unstable_by(|a, b| b.cmp(a));
        ends[ends.len() / 2]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_watermark_is_what_a_majority_holds_once_its_own_epoch_is_in() {
        let [a, b, c] = [1, 2, 3].map(NodeId);
        let mut voters = Voters::new(&[a, b, c], 10);
        assert!(!voters.durable(a, 12), "one of three");
        assert!(!voters.durable(b, 10), "records of older epochs alone commit nothing");
        assert!(voters.durable(c, 11));
        assert_eq!(voters.high_watermark(), 11);
        assert!(!voters.durable(c, 5), "an end never moves back");
        assert!(voters.durable(b, 20));
        assert_eq!(voters.high_watermark(), 12);
    }
}
