//! What a client knows of the cluster: who leads what, learned from Metadata answers.

use klamm_base::{ErrorCode, Uuid};
use klamm_env::Address;
use klamm_wire::Str;
use klamm_wire::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use klamm_wire::messages::metadata_response::{MetadataResponse, MetadataResponseTopic};
use std::collections::BTreeMap;

/// Version that our clients speak: topic ids, leader epochs.
pub const METADATA_VERSION: i16 = 12;

/// A topic as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its id.
    pub id: Uuid,
    /// How many partitions it has.
    pub partitions: i32,
}

/// A partition's leader as last heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Who leads; `None` while nobody does.
    pub node: Option<i32>,
    /// In which epoch; never goes back for a topic id.
    pub epoch: i32,
}

#[derive(Debug)]
struct Topic {
    id: Uuid,
    leaders: BTreeMap<i32, Leader>,
}

/// The cluster as a client sees it, maybe long out of date.
#[derive(Debug)]
pub struct ClusterView {
    bootstrap: Vec<Address>,
    nodes: BTreeMap<i32, Address>,
    topics: BTreeMap<Str, Topic>,
    names: BTreeMap<Uuid, Str>,
    asked: usize,
}

impl ClusterView {
    /// Knows where to ask, and nothing else. `bootstrap` must not be empty.
    pub fn new(bootstrap: Vec<Address>) -> Self {
        assert!(!bootstrap.is_empty(), "a client needs an address to ask");
        Self { bootstrap, nodes: BTreeMap::new(), topics: BTreeMap::new(), names: BTreeMap::new(), asked: 0 }
    }

    /// Whom to ask next: the known brokers and the bootstrap addresses in turn.
    pub fn next_to_ask(&mut self) -> Address {
        self.asked += 1;
        let known = self.nodes.len();
        let at = self.asked % (known + self.bootstrap.len());
        match self.nodes.values().nth(at) {
            Some(address) => address.clone(),
            None => self.bootstrap[at - known].clone(),
        }
    }

    /// Where a broker listens.
    pub fn address(&self, node: i32) -> Option<&Address> {
        self.nodes.get(&node)
    }

    /// The topic's id and size.
    pub fn topic(&self, name: &str) -> Option<TopicInfo> {
        let topic = self.topics.get(name)?;
        Some(TopicInfo { id: topic.id, partitions: topic.leaders.len() as i32 })
    }

    /// The name of a topic id.
    pub fn name(&self, id: Uuid) -> Option<&Str> {
        self.names.get(&id)
    }

    /// Who leads a partition.
    pub fn leader(&self, name: &str, partition: i32) -> Option<Leader> {
        self.topics.get(name)?.leaders.get(&partition).copied()
    }

    /// The request for these topics.
    pub fn request<'a>(topics: impl Iterator<Item = &'a Str>, auto_create: bool) -> MetadataRequest {
        let topics = topics.map(|name| MetadataRequestTopic { name: Some(name.clone()), ..Default::default() });
        MetadataRequest { topics: Some(topics.collect()), allow_auto_topic_creation: auto_create, ..Default::default() }
    }

    /// Takes an answer over. A partition's leader of an older epoch than the known one is not believed (KIP-320).
    pub fn apply(&mut self, response: &MetadataResponse) {
        if !response.brokers.is_empty() {
            let address = |host: &Str, port: i32| Address::new(host, port as u16);
            self.nodes =
                response.brokers.iter().map(|broker| (broker.node_id, address(&broker.host, broker.port))).collect();
        }
        for topic in &response.topics {
            self.apply_topic(topic);
        }
    }

    fn apply_topic(&mut self, heard: &MetadataResponseTopic) {
        let Some(name) = &heard.name else { return };
        if heard.error_code != ErrorCode::None as i16 || heard.partitions.is_empty() {
            return;
        }
        let topic = self.topics.entry(name.clone()).or_insert(Topic { id: heard.topic_id, leaders: BTreeMap::new() });
        if topic.id != heard.topic_id {
            *topic = Topic { id: heard.topic_id, leaders: BTreeMap::new() };
        }
        self.names.insert(heard.topic_id, name.clone());
        for partition in &heard.partitions {
            let leader = Leader {
                node: (partition.leader_id >= 0).then_some(partition.leader_id),
                epoch: partition.leader_epoch,
            };
            let known = topic.leaders.entry(partition.partition_index).or_insert(leader);
            if leader.epoch >= known.epoch {
                *known = leader;
            }
        }
    }
}
