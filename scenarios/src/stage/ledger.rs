//! The last committed metadata, as the controller told it: what targets resolve against. No broker is asked.

use crate::script::Partition;
use klamm_base::{NodeId, Observation, TopicPartition, Uuid};
use std::collections::{BTreeMap, BTreeSet};

/// One partition's last committed state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Who leads.
    pub leader: Option<NodeId>,
    /// In which epoch.
    pub leader_epoch: i32,
    /// All replicas.
    pub replicas: Vec<NodeId>,
    /// Those in sync.
    pub isr: Vec<NodeId>,
}

/// Committed metadata.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    topics: BTreeMap<String, Uuid>,
    partitions: BTreeMap<TopicPartition, Committed>,
    fenced: BTreeSet<NodeId>,
}

impl Ledger {
    /// Takes what an observation says of committed metadata.
    pub fn see(&mut self, observation: &Observation) {
        match observation {
            Observation::TopicCreated { topic, name, .. } => {
                self.topics.insert(name.clone(), *topic);
            }
            Observation::PartitionChanged { tp, leader, leader_epoch, replicas, isr, .. } => {
                let (leader, leader_epoch) = (*leader, *leader_epoch);
                let committed = Committed { leader, leader_epoch, replicas: replicas.clone(), isr: isr.clone() };
                self.partitions.insert(*tp, committed);
            }
            Observation::BrokerFenced { broker, fenced: true } => {
                self.fenced.insert(*broker);
            }
            Observation::BrokerFenced { broker, fenced: false } => {
                self.fenced.remove(broker);
            }
            _ => {}
        }
    }

    /// The id of a topic by its name.
    pub fn topic(&self, name: &str) -> Option<Uuid> {
        self.topics.get(name).copied()
    }

    /// The id of a partition by its topic's name.
    pub fn id(&self, partition: &Partition) -> Option<TopicPartition> {
        Some(TopicPartition { topic: self.topic(&partition.topic)?, partition: partition.partition })
    }

    /// A partition's committed state.
    pub fn partition(&self, partition: &Partition) -> Option<&Committed> {
        self.partitions.get(&self.id(partition)?)
    }

    /// True while the controller holds the broker fenced.
    pub fn is_fenced(&self, broker: NodeId) -> bool {
        self.fenced.contains(&broker)
    }

    /// True if everybody who is in sync stays away: then nobody may lead, and the partition waits for ever.
    pub fn sleeps(&self, partition: &Partition, there: &BTreeSet<NodeId>) -> bool {
        self.partition(partition).is_some_and(|state| !state.isr.iter().any(|node| there.contains(node)))
    }

    /// What keeps a partition from rest, if anything does: no leader, or a replica of `expected` out of sync.
    pub fn unrest(&self, partition: &Partition, expected: &BTreeSet<NodeId>) -> Option<String> {
        let Some(state) = self.partition(partition) else { return Some(format!("{partition} does not exist")) };
        if state.leader.is_none() {
            return Some(format!("{partition} has no leader"));
        }
        if let Some(away) = state.isr.iter().find(|node| !expected.contains(node)) {
            return Some(format!("b{} stays away and is in sync on {partition}", away.0));
        }
        let missing = state.replicas.iter().find(|r| expected.contains(r) && !state.isr.contains(r))?;
        Some(format!("b{} is not in sync on {partition}", missing.0))
    }
}
