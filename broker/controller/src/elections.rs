//! Who leads a partition, and who is in sync (R24 to R26). Eligible leader replicas are off: the last member stays in the
//! ISR (K17).

use crate::PartitionImage;
use crate::draft::Draft;
use crate::image::{RECOVERED, RECOVERING, SAME_LEADER};
use klamm_base::{NodeId, TopicPartition};
use klamm_wire::messages::PartitionChangeRecord;
use klamm_wire::metadata::MetadataRecord;

/// The state that a partition shall have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) leader: Option<NodeId>,
    pub(crate) isr: Vec<NodeId>,
    pub(crate) unclean: bool,
}

/// Keeps the leader if it can lead; else the first replica in assignment order that is in `isr` and active (clean, R25);
/// else, if allowed, the first active replica, which becomes the whole ISR (unclean, R26); else nobody. An ISR never gets
/// empty: its last member stays.
pub(crate) fn elect(
    partition: &PartitionImage,
    isr: &[NodeId],
    unclean_allowed: bool,
    active: impl Fn(NodeId) -> bool,
) -> Outcome {
    let can_lead = |broker: &NodeId| isr.contains(broker) && active(*broker);
    let clean = partition.leader.filter(&can_lead).or_else(|| partition.replicas.iter().copied().find(&can_lead));
    if clean.is_some() {
        return Outcome { leader: clean, isr: isr.to_vec(), unclean: false };
    }
    let unclean = partition.replicas.iter().copied().find(|broker| active(*broker)).filter(|_| unclean_allowed);
    match unclean {
        Some(leader) => Outcome { leader: Some(leader), isr: vec![leader], unclean: true },
        None => {
            let kept = if isr.is_empty() { &partition.isr } else { isr };
            Outcome { leader: None, isr: kept.to_vec(), unclean: false }
        }
    }
}

impl Draft<'_> {
    /// Gives a partition the in-sync replicas `isr`, elects where it must, and records what that changes, if anything.
    pub(crate) fn settle(&mut self, tp: TopicPartition, isr: &[NodeId], recovered: bool) {
        let topic = self.image.topics.get(&tp.topic).expect("a partition has its topic");
        let partition = topic.partitions.get(&tp.partition).expect("the partition is there");
        let outcome =
            elect(partition, isr, self.unclean_allowed(&topic.name), |broker| self.image.can_lead(broker, partition));
        if let Some(record) = difference(tp, partition, &outcome, recovered) {
            self.record(MetadataRecord::PartitionChangeRecord(record));
        }
    }

    /// A broker that may no longer be in sync leaves every ISR in which it is not the last; what it leads gets another
    /// leader or none, in a new leader epoch either way.
    pub(crate) fn leave_all(&mut self, broker: NodeId) {
        assert!(!self.image.is_active(broker), "an active broker need not leave");
        self.leave_where(broker, |_| true);
    }

    /// As [`Draft::leave_all`], where `concerns`.
    pub(crate) fn leave_where(&mut self, broker: NodeId, concerns: impl Fn(&PartitionImage) -> bool) {
        let concerned = self.image.partitions().filter(|(_, partition)| concerns(partition));
        let concerned: Vec<TopicPartition> = concerned.map(|(tp, _)| tp).collect();
        concerned.into_iter().for_each(|tp| self.leave(broker, tp));
    }

    /// A broker leaves one ISR, and the leadership if it has it.
    pub(crate) fn leave(&mut self, broker: NodeId, tp: TopicPartition) {
        let partition = self.image.partition(tp).expect("the partition is there");
        if partition.isr.contains(&broker) || partition.leader == Some(broker) {
            let isr = without(&partition.isr, broker);
            self.settle(tp, &isr, false);
        }
    }

    /// A broker became active: partitions that wait for a leader may have one now.
    pub(crate) fn elect_leaderless(&mut self) {
        let leaderless = self.image.partitions().filter(|(_, partition)| partition.leader.is_none());
        let leaderless: Vec<TopicPartition> = leaderless.map(|(tp, _)| tp).collect();
        leaderless.into_iter().for_each(|tp| self.elect_if_leaderless(tp));
    }

    /// Elects a leader if there is none and somebody may lead.
    pub(crate) fn elect_if_leaderless(&mut self, tp: TopicPartition) {
        let partition = self.image.partition(tp).expect("the partition is there");
        if partition.leader.is_none() {
            let isr = partition.isr.clone();
            self.settle(tp, &isr, false);
        }
    }
}

/// The record that turns `partition` into `outcome`; `recovered` ends the recovery of an unclean leader.
fn difference(
    tp: TopicPartition,
    partition: &PartitionImage,
    outcome: &Outcome,
    recovered: bool,
) -> Option<PartitionChangeRecord> {
    assert!(!outcome.isr.is_empty(), "an empty ISR of {tp:?}");
    let mut record =
        PartitionChangeRecord { partition_id: tp.partition, topic_id: tp.topic, ..PartitionChangeRecord::default() };
    assert_eq!(record.leader, SAME_LEADER, "the record's own default");
    let unchanged = record.clone();
    if outcome.isr != partition.isr {
        record.isr = Some(ids(&outcome.isr));
    }
    if outcome.leader != partition.leader {
        record.leader = outcome.leader.map_or(-1, |leader| leader.0);
    }
    if outcome.unclean && !partition.recovering {
        record.leader_recovery_state = RECOVERING;
    } else if recovered && partition.recovering && !outcome.unclean {
        record.leader_recovery_state = RECOVERED;
    }
    (record != unchanged).then_some(record)
}

pub(crate) fn ids(nodes: &[NodeId]) -> Vec<i32> {
    nodes.iter().map(|node| node.0).collect()
}

fn without(nodes: &[NodeId], node: NodeId) -> Vec<NodeId> {
    nodes.iter().copied().filter(|other| *other != node).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(ids: &[i32]) -> Vec<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    fn partition(leader: Option<i32>, isr: &[i32]) -> PartitionImage {
        PartitionImage {
            replicas: nodes(&[1, 2, 3]),
            isr: nodes(isr),
            leader: leader.map(NodeId),
            ..PartitionImage::default()
        }
    }

    fn elected(partition: &PartitionImage, isr: &[i32], unclean: bool, active: &[i32]) -> String {
        let outcome = elect(partition, &nodes(isr), unclean, |broker| active.contains(&broker.0));
        let leader = outcome.leader.map_or(-1, |leader| leader.0);
        format!("leader {leader} isr {:?}{}", ids(&outcome.isr), if outcome.unclean { " unclean" } else { "" })
    }

    #[test]
    fn a_leader_that_can_lead_stays() {
        assert_eq!(elected(&partition(Some(3), &[1, 2, 3]), &[1, 3], false, &[1, 2, 3]), "leader 3 isr [1, 3]");
    }

    #[test]
    fn the_first_active_replica_in_sync_follows() {
        assert_eq!(elected(&partition(Some(1), &[3, 2, 1]), &[3, 2], true, &[2, 3]), "leader 2 isr [3, 2]");
    }

    #[test]
    fn nobody_out_of_sync_leads_unless_it_is_allowed() {
        assert_eq!(elected(&partition(Some(1), &[1]), &[], false, &[2, 3]), "leader -1 isr [1]");
        assert_eq!(elected(&partition(Some(1), &[1]), &[], true, &[3]), "leader 3 isr [3] unclean");
        assert_eq!(elected(&partition(Some(1), &[1]), &[], true, &[]), "leader -1 isr [1]");
    }

    #[test]
    fn a_returned_member_of_the_isr_leads_cleanly_even_where_unclean_is_allowed() {
        assert_eq!(elected(&partition(None, &[3]), &[3], true, &[1, 2, 3]), "leader 3 isr [3]");
    }
}
