//! Metadata: brokers, topics, leaders, as this broker's image has them.

use crate::io::Token;
use crate::node::{Cx, Node};
use crate::request::Head;
use crate::response::Answer;
use klamm_base::{ErrorCode, NodeId, Uuid};
use klamm_controller::{PartitionImage, TopicImage};
use klamm_wire::Str;
use klamm_wire::messages::metadata_request::MetadataRequestTopic;
use klamm_wire::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use klamm_wire::messages::{MetadataRequest, MetadataResponse};

impl Node {
    /// Answers at once. Topics that may be created are asked of the controller; the client asks again.
    pub(crate) fn describe(&mut self, token: Token, head: Head, request: MetadataRequest, cx: &mut Cx) {
        let all = match &request.topics {
            None => true,
            Some(topics) => topics.is_empty() && head.version == 0,
        };
        let create = request.allow_auto_topic_creation && self.config.auto_create_topics;
        let topics = match all {
            true => self.metadata.image.topics.iter().map(|(id, topic)| self.describe_topic(*id, topic)).collect(),
            false => {
                let named = request.topics.unwrap_or_default();
                named.into_iter().map(|topic| self.describe_named(topic, create)).collect()
            }
        };
        self.create_wanted(cx);
        let response = MetadataResponse {
            brokers: self.describe_brokers(),
            cluster_id: Some(self.config.cluster_id.as_str().into()),
            controller_id: self.described_controller(),
            topics,
            ..MetadataResponse::default()
        };
        cx.reply(token, head, Answer::Metadata(response));
    }

    /// Fenced brokers are not told of: nobody should connect to them.
    fn describe_brokers(&self) -> Vec<MetadataResponseBroker> {
        let live = self.metadata.image.brokers.iter().filter(|(_, broker)| !broker.fenced);
        live.map(|(id, broker)| MetadataResponseBroker {
            node_id: id.0,
            host: broker.host.clone(),
            port: i32::from(broker.port),
            rack: broker.rack.clone(),
        })
        .collect()
    }

    /// Clients send what is for the controller to this broker. Controllers do not listen to them in KRaft; any live broker
    /// forwards, so it is this one, or the first.
    fn described_controller(&self) -> i32 {
        let first = || self.metadata.image.brokers.keys().find(|id| self.is_live(**id)).map_or(-1, |id| id.0);
        if self.is_live(self.config.node) { self.config.node.0 } else { first() }
    }

    fn describe_named(&mut self, wanted: MetadataRequestTopic, create: bool) -> MetadataResponseTopic {
        let image = &self.metadata.image;
        if wanted.topic_id != Uuid::ZERO {
            return match image.topics.get(&wanted.topic_id) {
                Some(topic) => self.describe_topic(wanted.topic_id, topic),
                None => unknown(wanted, ErrorCode::UnknownTopicId),
            };
        }
        let name = wanted.name.clone().unwrap_or_default();
        match image.topic_by_name(&name) {
            Some((id, topic)) => self.describe_topic(id, topic),
            None if !is_legal(&name) => unknown(wanted, ErrorCode::InvalidTopicException),
            None => {
                if create {
                    self.want_topic(&name);
                }
                unknown(wanted, ErrorCode::UnknownTopicOrPartition)
            }
        }
    }

    fn describe_topic(&self, id: Uuid, topic: &TopicImage) -> MetadataResponseTopic {
        MetadataResponseTopic {
            name: Some(topic.name.clone()),
            topic_id: id,
            partitions: topic.partitions.iter().map(|(index, state)| self.describe_partition(*index, state)).collect(),
            ..MetadataResponseTopic::default()
        }
    }

    /// The broker lives, and so does the directory in which the replica lies, as far as metadata knows.
    fn is_online(&self, id: NodeId, partition: &PartitionImage) -> bool {
        let broker = self.metadata.image.brokers.get(&id).filter(|broker| !broker.fenced);
        broker.is_some_and(|broker| broker.has_online_dir(partition.directory(id)))
    }

    fn describe_partition(&self, partition_index: i32, state: &PartitionImage) -> MetadataResponsePartition {
        let leader = state.leader.filter(|leader| self.is_live(*leader));
        let ids = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect::<Vec<_>>();
        MetadataResponsePartition {
            error_code: if leader.is_some() { 0 } else { ErrorCode::LeaderNotAvailable as i16 },
            partition_index,
            leader_id: leader.map_or(-1, |leader| leader.0),
            leader_epoch: state.leader_epoch,
            replica_nodes: ids(&state.replicas),
            isr_nodes: ids(&state.isr),
            offline_replicas: state.replicas.iter().filter(|id| !self.is_online(**id, state)).map(|id| id.0).collect(),
        }
    }
}

fn unknown(wanted: MetadataRequestTopic, error: ErrorCode) -> MetadataResponseTopic {
    MetadataResponseTopic {
        error_code: error as i16,
        name: wanted.name,
        topic_id: wanted.topic_id,
        ..MetadataResponseTopic::default()
    }
}

/// Kafka's rule for topic names: 1 to 249 of letters, digits, dot, underscore and hyphen, but not "." or "..".
pub(super) fn is_legal(name: &Str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=249).contains(&name.len()) && name.bytes().all(legal) && !matches!(&**name, "." | "..")
}
