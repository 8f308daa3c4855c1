//! The metadata of a cluster as a fold of its records: the same on controllers and brokers.

use crate::directory;
use klamm_base::{NodeId, TopicPartition, Uuid};
use klamm_wire::messages::{
    BrokerRegistrationChangeRecord, ConfigRecord, PartitionChangeRecord, PartitionRecord, RegisterBrokerRecord,
    TopicRecord,
};
use klamm_wire::metadata::MetadataRecord;
use klamm_wire::records::{Batch, records};
use klamm_wire::{Str, WireError};
use std::collections::BTreeMap;

/// `resource_type` of a topic in a ConfigRecord.
pub(crate) const TOPIC_RESOURCE: i8 = 2;
/// `leader` of a PartitionChangeRecord that leaves the leader as it is.
pub(crate) const SAME_LEADER: i32 = -2;
/// `leader_recovery_state` of a partition whose leader was elected uncleanly and has not recovered yet.
pub(crate) const RECOVERING: i8 = 1;
/// `leader_recovery_state` otherwise.
pub(crate) const RECOVERED: i8 = 0;
/// `leader_recovery_state` of a PartitionChangeRecord that leaves it as it is.
const SAME_RECOVERY: i8 = -1;

/// All committed metadata up to and with `offset`.
#[derive(Clone, Debug, PartialEq)]
pub struct MetadataImage {
    /// Last replayed offset, control records included; -1 before the first. Heartbeats carry this.
    pub offset: i64,
    /// Leader epoch of that record; 0 before the first. The next fetch's `last_fetched_epoch`.
    pub epoch: i32,
    /// Registered brokers.
    pub brokers: BTreeMap<NodeId, BrokerImage>,
    /// Topics by id.
    pub topics: BTreeMap<Uuid, TopicImage>,
    /// Topic ids by name.
    pub topic_ids: BTreeMap<Str, Uuid>,
    /// Settings that topics were given, by topic name.
    pub topic_configs: BTreeMap<Str, BTreeMap<Str, Str>>,
    /// The first producer id that no block covers.
    pub next_producer_id: i64,
}

/// A registered broker.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerImage {
    /// Broker epoch: the offset of its registration.
    pub epoch: i64,
    /// Its process's incarnation.
    pub incarnation: Uuid,
    /// Host of its first listener.
    pub host: Str,
    /// Port of its first listener.
    pub port: u16,
    /// Its rack.
    pub rack: Option<Str>,
    /// Its log directories that are online (KIP-858).
    pub log_dirs: Vec<Uuid>,
    /// May neither lead nor be in sync.
    pub fenced: bool,
    /// Asked to shut down: as fenced, but still serving.
    pub in_controlled_shutdown: bool,
}

/// A topic.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicImage {
    /// Its name.
    pub name: Str,
    /// Its partitions, by index.
    pub partitions: BTreeMap<i32, PartitionImage>,
}

/// A partition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PartitionImage {
    /// Replicas in the order of preference.
    pub replicas: Vec<NodeId>,
    /// The log directory of each replica, in their order; empty if metadata does not say (KIP-858).
    pub directories: Vec<Uuid>,
    /// In-sync replicas.
    pub isr: Vec<NodeId>,
    /// Leader, if there is one.
    pub leader: Option<NodeId>,
    /// Raised at each change of the leader (R24).
    pub leader_epoch: i32,
    /// Raised at each change (R24).
    pub partition_epoch: i32,
    /// Elected uncleanly, and the leader has not yet said that it recovered (`LeaderRecoveryState` 1).
    pub recovering: bool,
}

/// What a record changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing that an image holds.
    None,
    /// A broker came, went, or changed its state.
    Broker(NodeId),
    /// A topic came; its partitions follow.
    Topic(Uuid),
    /// A partition came or changed.
    Partition(TopicPartition),
    /// A topic went, with its partitions and settings.
    TopicRemoved(Uuid),
    /// A setting of the topic of this name.
    Config(Str),
    /// `next_producer_id`.
    ProducerIds,
}

impl Default for MetadataImage {
    fn default() -> Self {
        Self {
            offset: -1,
            epoch: 0,
            brokers: BTreeMap::new(),
            topics: BTreeMap::new(),
            topic_ids: BTreeMap::new(),
            topic_configs: BTreeMap::new(),
            next_producer_id: 0,
        }
    }
}

impl BrokerImage {
    /// May lead and be in sync: neither fenced nor shutting down.
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }

    /// True unless the directory is one of those that metadata knows to be gone.
    pub fn has_online_dir(&self, dir: Uuid) -> bool {
        match dir {
            directory::UNASSIGNED | directory::MIGRATING => true,
            directory::LOST => false,
            dir => self.log_dirs.is_empty() || self.log_dirs.contains(&dir),
        }
    }
}

impl PartitionImage {
    /// The log directory in which metadata places the replica of this broker.
    pub fn directory(&self, broker: NodeId) -> Uuid {
        let at = self.replicas.iter().position(|replica| *replica == broker);
        at.and_then(|at| self.directories.get(at)).copied().unwrap_or(directory::MIGRATING)
    }

    /// The directories, with another one for this broker's replica.
    pub(crate) fn directories_with(&self, broker: NodeId, dir: Uuid) -> Vec<Uuid> {
        let one = |replica: &NodeId| if *replica == broker { dir } else { self.directory(*replica) };
        self.replicas.iter().map(one).collect()
    }
}

impl MetadataImage {
    /// Replays one record at its offset. The only mutator of what an image holds.
    pub fn replay(&mut self, offset: i64, record: &MetadataRecord) -> Change {
        assert!(offset > self.offset, "record {offset} replayed behind {}", self.offset);
        self.offset = offset;
        match record {
            MetadataRecord::RegisterBrokerRecord(record) => self.register_broker(record),
            MetadataRecord::BrokerRegistrationChangeRecord(record) => self.change_broker(record),
            MetadataRecord::UnregisterBrokerRecord(record) => self.unregister_broker(NodeId(record.broker_id)),
            MetadataRecord::TopicRecord(record) => self.create_topic(record),
            MetadataRecord::PartitionRecord(record) => self.create_partition(record),
            MetadataRecord::PartitionChangeRecord(record) => self.change_partition(record),
            MetadataRecord::RemoveTopicRecord(record) => self.remove_topic(record.topic_id),
            MetadataRecord::ConfigRecord(record) => self.configure(record),
            MetadataRecord::ProducerIdsRecord(record) => {
                assert!(record.next_producer_id >= self.next_producer_id, "producer ids moved back");
                self.next_producer_id = record.next_producer_id;
                Change::ProducerIds
            }
            _ => Change::None,
        }
    }

    /// Replays a whole batch as fetched, control batches included, and moves `offset` and `epoch` to its end.
    pub fn replay_batch(&mut self, batch: &Batch) -> Result<Vec<Change>, WireError> {
        let mut changes = Vec::new();
        if !batch.header.is_control() {
            for record in records(batch) {
                let record = record?;
                let value = record.value.ok_or(WireError::UnexpectedNull)?;
                changes.push(self.replay(record.offset, &MetadataRecord::decode(&value)?));
            }
        }
        self.advance(batch.header.last_offset(), batch.header.partition_leader_epoch);
        Ok(changes)
    }

    /// Moves the position to the end of a batch.
    pub fn advance(&mut self, last_offset: i64, epoch: i32) {
        assert!(last_offset >= self.offset && epoch >= self.epoch, "the metadata log moved back");
        self.offset = last_offset;
        self.epoch = epoch;
    }

    /// The partition, if there is one.
    pub fn partition(&self, tp: TopicPartition) -> Option<&PartitionImage> {
        self.topics.get(&tp.topic)?.partitions.get(&tp.partition)
    }

    /// Every partition.
    pub fn partitions(&self) -> impl Iterator<Item = (TopicPartition, &PartitionImage)> {
        self.topics.iter().flat_map(|(&topic, image)| {
            image.partitions.iter().map(move |(&partition, state)| (TopicPartition { topic, partition }, state))
        })
    }

    /// The topic of this name.
    pub fn topic_by_name(&self, name: &str) -> Option<(Uuid, &TopicImage)> {
        let id = *self.topic_ids.get(name)?;
        Some((id, self.topics.get(&id)?))
    }

    /// A setting that the topic of this name was given.
    pub fn topic_config(&self, name: &str, key: &str) -> Option<&str> {
        self.topic_configs.get(name)?.get(key).map(|value| &**value)
    }

    /// True for a registered broker that is neither fenced nor shutting down.
    pub fn is_active(&self, broker: NodeId) -> bool {
        self.brokers.get(&broker).is_some_and(BrokerImage::is_active)
    }

    /// True for an active broker whose directory with this partition's replica is online.
    pub fn can_lead(&self, broker: NodeId, partition: &PartitionImage) -> bool {
        let registered = self.brokers.get(&broker).filter(|registered| registered.is_active());
        registered.is_some_and(|registered| registered.has_online_dir(partition.directory(broker)))
    }

    fn register_broker(&mut self, record: &RegisterBrokerRecord) -> Change {
        let id = NodeId(record.broker_id);
        let (host, port) =
            record.end_points.first().map_or_else(Default::default, |end| (end.host.detached(), end.port));
        let broker = BrokerImage {
            epoch: record.broker_epoch,
            incarnation: record.incarnation_id,
            host,
            port,
            rack: record.rack.as_ref().map(Str::detached),
            log_dirs: record.log_dirs.clone(),
            fenced: record.fenced,
            in_controlled_shutdown: record.in_controlled_shutdown,
        };
        self.brokers.insert(id, broker);
        Change::Broker(id)
    }

    fn change_broker(&mut self, record: &BrokerRegistrationChangeRecord) -> Change {
        let id = NodeId(record.broker_id);
        let broker = self.brokers.get_mut(&id).expect("a change of a broker that is not registered");
        assert_eq!(broker.epoch, record.broker_epoch, "a change of another incarnation");
        match record.fenced {
            1 => broker.fenced = true,
            -1 => broker.fenced = false,
            _ => {}
        }
        if record.in_controlled_shutdown == 1 {
            broker.in_controlled_shutdown = true;
        }
        if !record.log_dirs.is_empty() {
            broker.log_dirs.clone_from(&record.log_dirs);
        }
        Change::Broker(id)
    }

    fn unregister_broker(&mut self, id: NodeId) -> Change {
        self.brokers.remove(&id);
        Change::Broker(id)
    }

    fn create_topic(&mut self, record: &TopicRecord) -> Change {
        let name = record.name.detached();
        let other = self.topic_ids.insert(name.clone(), record.topic_id);
        assert!(other.is_none(), "two topics are called {name}");
        self.topics.insert(record.topic_id, TopicImage { name, partitions: BTreeMap::new() });
        Change::Topic(record.topic_id)
    }

    fn create_partition(&mut self, record: &PartitionRecord) -> Change {
        let topic = self.topics.get_mut(&record.topic_id).expect("a partition without its topic");
        let partition = PartitionImage {
            replicas: nodes(&record.replicas),
            directories: record.directories.clone(),
            isr: nodes(&record.isr),
            leader: node(record.leader),
            leader_epoch: record.leader_epoch,
            partition_epoch: record.partition_epoch,
            recovering: record.leader_recovery_state == RECOVERING,
        };
        topic.partitions.insert(record.partition_id, partition);
        Change::Partition(TopicPartition { topic: record.topic_id, partition: record.partition_id })
    }

    fn change_partition(&mut self, record: &PartitionChangeRecord) -> Change {
        let tp = TopicPartition { topic: record.topic_id, partition: record.partition_id };
        let topic = self.topics.get_mut(&tp.topic).expect("a change of a topic that is not there");
        let partition = topic.partitions.get_mut(&tp.partition).expect("a change of a partition that is not there");
        if let Some(replicas) = &record.replicas {
            partition.replicas = nodes(replicas);
        }
        if let Some(directories) = &record.directories {
            partition.directories.clone_from(directories);
        }
        if let Some(isr) = &record.isr {
            partition.isr = nodes(isr);
        }
        if record.leader != SAME_LEADER {
            partition.leader = node(record.leader);
            partition.leader_epoch += 1;
        }
        if record.leader_recovery_state != SAME_RECOVERY {
            partition.recovering = record.leader_recovery_state == RECOVERING;
        }
        partition.partition_epoch += 1;
        Change::Partition(tp)
    }

    fn remove_topic(&mut self, topic: Uuid) -> Change {
        let image = self.topics.remove(&topic).expect("a topic removed that is not there");
        self.topic_ids.remove(&image.name);
        self.topic_configs.remove(&image.name);
        Change::TopicRemoved(topic)
    }

    fn configure(&mut self, record: &ConfigRecord) -> Change {
        if record.resource_type != TOPIC_RESOURCE {
            return Change::None;
        }
        let name = record.resource_name.detached();
        let settings = self.topic_configs.entry(name.clone()).or_default();
        match &record.value {
            Some(value) => settings.insert(record.name.detached(), value.detached()),
            None => settings.remove(&record.name),
        };
        if settings.is_empty() {
            self.topic_configs.remove(&name);
        }
        Change::Config(name)
    }
}

/// -1 means nobody.
fn node(id: i32) -> Option<NodeId> {
    (id >= 0).then_some(NodeId(id))
}

fn nodes(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().map(|id| NodeId(*id)).collect()
}
