//! What must be healed so that a cluster can serve: a sufficient core. Who is left out stays dead or cut off for ever, as it
//! may in life; a cluster that rests and serves only once everybody is back has a livelock that healing everything hides.

use super::ledger::Ledger;
use crate::script::{Script, TopicSpec, broker_ms};
use klamm_base::{Draws, NodeId};
use std::collections::BTreeSet;

/// What one partition needs of a core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// All replicas.
    pub replicas: Vec<NodeId>,
    /// Those in sync: one of them must lead.
    pub isr: Vec<NodeId>,
    /// So many replicas take an acks=all write.
    pub min_insync: usize,
}

impl Need {
    fn is_met(&self, core: &BTreeSet<NodeId>) -> bool {
        let there = |nodes: &[NodeId]| nodes.iter().filter(|node| core.contains(node)).count();
        there(&self.isr) >= 1 && there(&self.replicas) >= self.min_insync
    }
}

/// What each partition of the script needs, by the last committed metadata.
pub fn needs(script: &Script, ledger: &Ledger) -> Vec<Need> {
    let min_insync = |topic: &TopicSpec| {
        let own = topic.config.get("min.insync.replicas").and_then(|value| value.parse().ok());
        let wanted = own.unwrap_or_else(|| broker_ms(&script.cluster.config, "min.insync.replicas"));
        (wanted as usize).min(topic.replication as usize)
    };
    let need = |partition: crate::script::Partition| {
        let state = ledger.partition(&partition)?;
        let topic = script.topics.iter().find(|topic| topic.name == partition.topic)?;
        Some(Need { replicas: state.replicas.clone(), isr: state.isr.clone(), min_insync: min_insync(topic) })
    };
    script.partitions().into_iter().filter_map(need).collect()
}

/// True if every partition can be led from its in-sync replicas, and written to, by these brokers alone.
pub fn is_sufficient(needs: &[Need], core: &BTreeSet<NodeId>) -> bool {
    needs.iter().all(|need| need.is_met(core))
}

/// Who of these brokers to leave out of a sufficient core, as many as can be: those that are `down` are tried first, else the
/// order is drawn. `None` if all of them are no such core.
pub fn left_out(
    needs: &[Need],
    brokers: &BTreeSet<NodeId>,
    down: &BTreeSet<NodeId>,
    draws: &mut Draws,
) -> Option<BTreeSet<NodeId>> {
    if !is_sufficient(needs, brokers) {
        return None;
    }
    let mut order: Vec<(bool, u64, NodeId)> =
        brokers.iter().map(|node| (!down.contains(node), draws.next_u64(), *node)).collect();
    order.sort_unstable();
    let mut core = brokers.clone();
    for (_, _, node) in order {
        core.remove(&node);
        if !is_sufficient(needs, &core) {
            core.insert(node);
        }
    }
    Some(brokers.difference(&core).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(ids: &[i32]) -> Vec<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    fn set(ids: &[i32]) -> BTreeSet<NodeId> {
        nodes(ids).into_iter().collect()
    }

    fn need(replicas: &[i32], isr: &[i32], min_insync: usize) -> Need {
        Need { replicas: nodes(replicas), isr: nodes(isr), min_insync }
    }

    #[test]
    fn a_core_is_sufficient_and_nobody_of_it_could_be_left_out() {
        let all = set(&[1, 2, 3, 4, 5]);
        let mut draws = Draws::from_seed(7);
        let mut sizes = BTreeSet::new();
        for _ in 0..500 {
            let mut pick = |n: usize| -> Vec<i32> {
                let mut ids = vec![1, 2, 3, 4, 5];
                (0..n).map(|_| ids.remove(draws.below(ids.len() as u64) as usize)).collect()
            };
            let needs: Vec<Need> = (1..=3)
                .map(|n| {
                    let replicas = pick(3);
                    need(&replicas, &replicas[..n], 1 + n % 2)
                })
                .collect();
            let out = left_out(&needs, &all, &BTreeSet::new(), &mut draws).unwrap();
            let core: BTreeSet<NodeId> = all.difference(&out).copied().collect();
            assert!(is_sufficient(&needs, &core), "{needs:?} {core:?}");
            for node in &core {
                let less: BTreeSet<NodeId> = core.iter().copied().filter(|other| other != node).collect();
                assert!(!is_sufficient(&needs, &less), "{node:?} could be left out of {core:?}: {needs:?}");
            }
            sizes.insert(core.len());
        }
        assert!(sizes.len() >= 2, "{sizes:?}");
    }

    #[test]
    fn the_only_one_in_sync_and_enough_replicas_are_never_left_out() {
        let mut draws = Draws::from_seed(1);
        for _ in 0..50 {
            let out = left_out(&[need(&[1, 2, 3], &[2], 2)], &set(&[1, 2, 3]), &set(&[2]), &mut draws).unwrap();
            assert!(out.len() == 1 && !out.contains(&NodeId(2)), "{out:?}");
        }
        let out = left_out(&[need(&[1, 2, 3], &[1, 2, 3], 3)], &set(&[1, 2, 3]), &set(&[]), &mut draws);
        assert_eq!(out, Some(set(&[])));
        let out = left_out(&[need(&[1, 2, 3], &[1, 2, 3], 2)], &set(&[1, 2, 3]), &set(&[3]), &mut draws);
        assert_eq!(out, Some(set(&[3])), "who is down goes first");
    }

    #[test]
    fn who_cannot_serve_with_everybody_has_no_core_to_choose() {
        let out = left_out(&[need(&[1, 2, 3], &[9], 1)], &set(&[1, 2, 3]), &set(&[]), &mut Draws::from_seed(1));
        assert_eq!(out, None);
    }
}
