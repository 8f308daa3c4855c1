//! What a committed batch says to whoever judges.

use crate::draft::unclean_allowed;
use crate::image::TOPIC_RESOURCE;
use crate::{ControllerConfig, MetadataImage};
use klamm_base::{Election, NodeId, Observation, TopicPartition};
use klamm_log::LogConfig;
use klamm_quorum::CommittedBatch;
use klamm_wire::messages::{BrokerRegistrationChangeRecord, PartitionRecord, TopicRecord};
use klamm_wire::metadata::MetadataRecord;

/// Replays a committed batch; answers its observations if somebody looks.
pub(crate) fn replay(
    image: &mut MetadataImage,
    config: &ControllerConfig,
    batch: &CommittedBatch,
    watched: bool,
) -> Vec<Observation> {
    assert_eq!(batch.base_offset, image.offset + 1, "a gap in the committed metadata");
    let mut notes = Vec::new();
    for (index, record) in batch.records.iter().enumerate() {
        let before = watched.then(|| changed_partition(image, record)).flatten();
        image.replay(batch.base_offset + index as i64, record);
        if watched {
            notes.extend(note(image, config, before, record, &batch.records[index..]));
        }
    }
    image.advance(batch.last_offset, batch.epoch);
    notes
}

/// Leader and ISR before a change.
type Before = (Option<NodeId>, Vec<NodeId>);

fn changed_partition(image: &MetadataImage, record: &MetadataRecord) -> Option<Before> {
    let MetadataRecord::PartitionChangeRecord(change) = record else { return None };
    let tp = TopicPartition { topic: change.topic_id, partition: change.partition_id };
    image.partition(tp).map(|partition| (partition.leader, partition.isr.clone()))
}

fn note(
    image: &MetadataImage,
    config: &ControllerConfig,
    before: Option<Before>,
    record: &MetadataRecord,
    rest: &[MetadataRecord],
) -> Option<Observation> {
    match record {
        MetadataRecord::TopicRecord(topic) => Some(topic_created(config, topic, rest)),
        MetadataRecord::PartitionRecord(new) => {
            let tp = TopicPartition { topic: new.topic_id, partition: new.partition_id };
            Some(partition_changed(image, tp, Election::Clean))
        }
        MetadataRecord::PartitionChangeRecord(change) => {
            let tp = TopicPartition { topic: change.topic_id, partition: change.partition_id };
            let leader = image.partition(tp)?.leader;
            Some(partition_changed(image, tp, election(&before?, leader)))
        }
        MetadataRecord::RegisterBrokerRecord(new) => Some(Observation::BrokerRegistered {
            broker: NodeId(new.broker_id),
            broker_epoch: new.broker_epoch,
            incarnation: new.incarnation_id,
        }),
        MetadataRecord::BrokerRegistrationChangeRecord(change) => broker_fenced(change),
        _ => None,
    }
}

/// How a partition's leader changed.
fn election((leader_before, isr_before): &Before, leader: Option<NodeId>) -> Election {
    match leader {
        _ if leader == *leader_before => Election::None,
        Some(leader) if !isr_before.contains(&leader) => Election::Unclean,
        _ => Election::Clean,
    }
}

fn partition_changed(image: &MetadataImage, tp: TopicPartition, election: Election) -> Observation {
    let partition = image.partition(tp).expect("it was just replayed");
    Observation::PartitionChanged {
        tp,
        leader: partition.leader,
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.partition_epoch,
        replicas: partition.replicas.clone(),
        isr: partition.isr.clone(),
        election,
    }
}

/// A topic's settings and partitions follow it in its own batch.
fn topic_created(config: &ControllerConfig, topic: &TopicRecord, rest: &[MetadataRecord]) -> Observation {
    let mut image = MetadataImage::default();
    let mut partitions: Vec<&PartitionRecord> = Vec::new();
    for record in rest {
        match record {
            MetadataRecord::ConfigRecord(setting)
                if setting.resource_type == TOPIC_RESOURCE && setting.resource_name == topic.name =>
            {
                image.replay(image.offset + 1, record);
            }
            MetadataRecord::PartitionRecord(partition) if partition.topic_id == topic.topic_id => {
                partitions.push(partition)
            }
            _ => {}
        }
    }
    let (retention_ms, retention_bytes, compacted) = kept(&image, config, &topic.name);
    let min_insync = image.topic_config(&topic.name, "min.insync.replicas").and_then(|value| value.parse().ok());
    Observation::TopicCreated {
        topic: topic.topic_id,
        name: topic.name.as_str().to_owned(),
        partitions: partitions.len() as i32,
        replication: partitions.first().map_or(0, |partition| partition.replicas.len() as i16),
        min_insync_replicas: min_insync.unwrap_or(config.min_insync_replicas),
        unclean: unclean_allowed(&image, config, &topic.name),
        retention_ms,
        retention_bytes,
        compacted,
    }
}

/// For how long a topic keeps its records and how many bytes of them, -1 where it deletes nothing by that; and for how long its
/// tombstones, if it is compacted.
fn kept(image: &MetadataImage, config: &ControllerConfig, topic: &str) -> (i64, i64, Option<i64>) {
    let LogConfig { delete, compact, retention_ms, retention_bytes, compaction, .. } = config.topic_log;
    let policy = image.topic_config(topic, "cleanup.policy");
    let names = |word: &str| policy.map(|policy| policy.split(',').any(|one| one.trim() == word));
    let number = |key: &str| image.topic_config(topic, key).and_then(|value| value.parse::<i64>().ok());
    let tombstones_ms = || number("delete.retention.ms").unwrap_or(compaction.delete_retention_ms);
    let compacted = names("compact").unwrap_or(compact).then(tombstones_ms);
    if !names("delete").unwrap_or(delete) {
        return (-1, -1, compacted);
    }
    let (ms, bytes) = (number("retention.ms"), number("retention.bytes"));
    (ms.unwrap_or(retention_ms), bytes.unwrap_or(retention_bytes), compacted)
}

/// A broker that shuts down may not lead any more, either.
fn broker_fenced(change: &BrokerRegistrationChangeRecord) -> Option<Observation> {
    let fenced = match (change.fenced, change.in_controlled_shutdown) {
        (1, _) | (_, 1) => true,
        (-1, _) => false,
        _ => return None,
    };
    Some(Observation::BrokerFenced { broker: NodeId(change.broker_id), fenced })
}
