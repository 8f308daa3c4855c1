//! The log directories of brokers: which are online, and in which a replica lies (KIP-858).

use crate::brokers::registration_change;
use crate::directory;
use crate::draft::Draft;
use klamm_base::{ErrorCode, NodeId, TopicPartition, Uuid};
use klamm_wire::messages::assign_replicas_to_dirs_request::TopicData as AskedTopic;
use klamm_wire::messages::assign_replicas_to_dirs_response::{DirectoryData, PartitionData, TopicData};
use klamm_wire::messages::{AssignReplicasToDirsRequest, AssignReplicasToDirsResponse, PartitionChangeRecord};
use klamm_wire::metadata::MetadataRecord;

impl Draft<'_> {
    /// Every directory belongs to one broker, and a broker names it once.
    pub(crate) fn check_log_dirs(&self, id: NodeId, dirs: &[Uuid]) -> Result<(), ErrorCode> {
        let repeated = (1..dirs.len()).any(|at| dirs[..at].contains(&dirs[at]));
        let mut others = self.image.brokers.iter().filter(|(other, _)| **other != id);
        let taken = others.any(|(_, broker)| broker.log_dirs.iter().any(|dir| dirs.contains(dir)));
        let legal = !dirs.is_empty() && !dirs.iter().any(|dir| directory::is_reserved(*dir));
        if legal && !repeated && !taken { Ok(()) } else { Err(ErrorCode::InvalidRegistration) }
    }

    /// Where a new replica on this broker lies: a broker with one directory has no choice, any other tells later.
    pub(crate) fn default_dir(&self, broker: NodeId) -> Uuid {
        match self.image.brokers.get(&broker).map(|broker| broker.log_dirs.as_slice()) {
            Some([only]) => *only,
            _ => directory::UNASSIGNED,
        }
    }

    /// A broker says which of its directories are offline. What lies in those that were online until now can neither be in sync
    /// there nor be led from there any more.
    pub(crate) fn directories_offline(&mut self, id: NodeId, offline: &[Uuid]) {
        let broker = self.image.brokers.get(&id).expect("who sends heartbeats is registered");
        let (lost, left): (Vec<Uuid>, Vec<Uuid>) = broker.log_dirs.iter().partition(|dir| offline.contains(dir));
        if lost.is_empty() {
            return;
        }
        let mut record = registration_change(id, broker.epoch);
        record.log_dirs = left;
        self.record(MetadataRecord::BrokerRegistrationChangeRecord(record));
        self.leave_where(id, |partition| lost.contains(&partition.directory(id)));
    }

    /// A broker says where its replicas lie. One that lies in a directory that is not online leaves the ISR. One that was thought
    /// to lie in such a directory, and does not, may lead again (Kafka: not before its broker starts anew).
    pub(crate) fn assign_replicas(
        &mut self,
        request: &AssignReplicasToDirsRequest,
    ) -> Result<AssignReplicasToDirsResponse, ErrorCode> {
        self.check_broker_epoch(request.broker_id, request.broker_epoch)?;
        let id = NodeId(request.broker_id);
        let directories = request.directories.iter().map(|asked| DirectoryData {
            id: asked.id,
            topics: asked.topics.iter().map(|topic| self.assign_topic(id, asked.id, topic)).collect(),
        });
        let directories = directories.collect();
        Ok(AssignReplicasToDirsResponse { directories, ..Default::default() })
    }

    fn assign_topic(&mut self, id: NodeId, dir: Uuid, asked: &AskedTopic) -> TopicData {
        let partitions = asked.partitions.iter().map(|asked_partition| {
            let partition_index = asked_partition.partition_index;
            let tp = TopicPartition { topic: asked.topic_id, partition: partition_index };
            let error_code = self.assign(id, dir, tp).err().map_or(0, |error| error as i16);
            PartitionData { partition_index, error_code }
        });
        TopicData { topic_id: asked.topic_id, partitions: partitions.collect() }
    }

    fn assign(&mut self, id: NodeId, dir: Uuid, tp: TopicPartition) -> Result<(), ErrorCode> {
        let topic = self.image.topics.get(&tp.topic).ok_or(ErrorCode::UnknownTopicId)?;
        let partition = topic.partitions.get(&tp.partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        if !partition.replicas.contains(&id) {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        if partition.directory(id) != dir {
            let directories = Some(partition.directories_with(id, dir));
            let (topic_id, partition_id) = (tp.topic, tp.partition);
            let record =
                PartitionChangeRecord { partition_id, topic_id, directories, ..PartitionChangeRecord::default() };
            self.record(MetadataRecord::PartitionChangeRecord(record));
        }
        match self.image.brokers.get(&id).is_some_and(|broker| broker.has_online_dir(dir)) {
            true => self.elect_if_leaderless(tp),
            false => self.leave(id, tp),
        }
        Ok(())
    }
}
