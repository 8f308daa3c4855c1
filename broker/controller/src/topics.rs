//! CreateTopics: checks, assignment, records.

use crate::draft::Draft;
use crate::elections::ids;
use crate::image::TOPIC_RESOURCE;
use crate::placement::{Candidate, place};
use klamm_base::{ErrorCode, NodeId, Uuid};
use klamm_wire::Str;
use klamm_wire::messages::create_topics_request::CreatableTopic;
use klamm_wire::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use klamm_wire::messages::{ConfigRecord, CreateTopicsRequest, CreateTopicsResponse, PartitionRecord, TopicRecord};
use klamm_wire::metadata::MetadataRecord;
use std::collections::BTreeMap;

/// Most partitions that one request may create: they are one atomic batch.
const MAX_PARTITIONS: usize = 10_000;
/// Longest topic name, in bytes.
const MAX_NAME: usize = 249;
/// "The topic has this setting of its own", where an answer lists settings.
const TOPIC_SOURCE: i8 = 1;

/// Why a topic is not created.
struct Refusal {
    code: ErrorCode,
    message: String,
}

/// A topic that may be created.
struct Plan {
    partitions: Vec<Vec<NodeId>>,
    configs: Vec<(Str, Str)>,
}

fn refuse<T>(code: ErrorCode, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { code, message: message.into() })
}

impl Draft<'_> {
    /// Creates each topic that holds up; the others carry their error.
    pub(crate) fn create_topics(&mut self, request: &CreateTopicsRequest) -> CreateTopicsResponse {
        let mut left = MAX_PARTITIONS;
        let mut topics: Vec<CreatableTopicResult> = Vec::new();
        for topic in &request.topics {
            let named = request.topics.iter().filter(|other| other.name == topic.name).count();
            if named > 1 && topics.iter().any(|done| done.name == topic.name) {
                continue;
            }
            let planned = if named > 1 {
                refuse(ErrorCode::InvalidRequest, "the request names the topic more than once")
            } else {
                self.plan_topic(topic, left)
            };
            topics.push(match planned {
                Ok(plan) => {
                    left -= plan.partitions.len();
                    self.create_topic(topic, plan, request.validate_only)
                }
                Err(refusal) => refused(topic, refusal),
            });
        }
        CreateTopicsResponse { topics, ..Default::default() }
    }

    fn plan_topic(&mut self, topic: &CreatableTopic, left: usize) -> Result<Plan, Refusal> {
        check_name(&topic.name)?;
        self.check_unused(&topic.name)?;
        let configs = self.check_configs(topic)?;
        let partitions = match topic.assignments.is_empty() {
            true => self.place_topic(topic, left)?,
            false => self.check_assignments(topic)?,
        };
        if partitions.len() > left {
            return refuse(ErrorCode::PolicyViolation, format!("more than {MAX_PARTITIONS} partitions in one request"));
        }
        Ok(Plan { partitions, configs })
    }

    /// Names that differ only by `.` and `_` would share the names of their metrics.
    fn check_unused(&self, name: &str) -> Result<(), Refusal> {
        if self.image.topic_ids.contains_key(name) {
            return refuse(ErrorCode::TopicAlreadyExists, format!("topic '{name}' exists"));
        }
        let collides = |other: &&Str| name.len() == other.len() && name.replace('.', "_") == other.replace('.', "_");
        match self.image.topic_ids.keys().find(collides) {
            Some(other) => refuse(
                ErrorCode::InvalidTopicException,
                format!("topic '{name}' differs from topic '{other}' only by '.' and '_'"),
            ),
            None => Ok(()),
        }
    }

    fn check_configs(&self, topic: &CreatableTopic) -> Result<Vec<(Str, Str)>, Refusal> {
        let mut configs = BTreeMap::new();
        for config in &topic.configs {
            let Some(value) = &config.value else {
                return refuse(ErrorCode::InvalidConfig, format!("setting `{}` has no value", config.name));
            };
            if let Err(message) = (self.config.topic_config_check)(&config.name, value) {
                return refuse(ErrorCode::InvalidConfig, message);
            }
            if configs.insert(config.name.clone(), value.clone()).is_some() {
                return refuse(ErrorCode::InvalidConfig, format!("setting `{}` is given twice", config.name));
            }
        }
        Ok(configs.into_iter().collect())
    }

    fn place_topic(&mut self, topic: &CreatableTopic, left: usize) -> Result<Vec<Vec<NodeId>>, Refusal> {
        let partitions = match topic.num_partitions {
            -1 => self.config.num_partitions,
            1.. => topic.num_partitions,
            _ => return refuse(ErrorCode::InvalidPartitions, "the number of partitions must be positive, or -1"),
        };
        let factor = match topic.replication_factor {
            -1 => self.config.default_replication_factor,
            1.. => topic.replication_factor,
            _ => {
                let message = "the replication factor must be positive, or -1";
                return refuse(ErrorCode::InvalidReplicationFactor, message);
            }
        };
        // One more than is left is enough to be refused for; a hostile count must not cost memory.
        let partitions = usize::try_from(partitions).unwrap_or(0).min(left + 1);
        let candidates: Vec<Candidate> = self.candidates();
        place(self.draws, &candidates, partitions, usize::try_from(factor).unwrap_or(0).max(1))
            .or_else(|message| refuse(ErrorCode::InvalidReplicationFactor, message))
    }

    fn candidates(&self) -> Vec<Candidate> {
        let staying = self.image.brokers.iter().filter(|(_, broker)| !broker.in_controlled_shutdown);
        let candidate = |(id, broker): (&NodeId, &crate::BrokerImage)| Candidate {
            id: *id,
            rack: broker.rack.as_ref().map(|rack| rack.as_str().to_owned()),
            fenced: broker.fenced,
        };
        staying.map(candidate).collect()
    }

    /// A manual assignment: partitions 0, 1, …, each with as many distinct registered brokers, one of them active.
    fn check_assignments(&self, topic: &CreatableTopic) -> Result<Vec<Vec<NodeId>>, Refusal> {
        if topic.num_partitions != -1 || topic.replication_factor != -1 {
            let message = "with an assignment, the number of partitions and the replication factor must be -1";
            return refuse(ErrorCode::InvalidRequest, message);
        }
        let mut assigned: BTreeMap<i32, Vec<NodeId>> = BTreeMap::new();
        for assignment in &topic.assignments {
            let replicas: Vec<NodeId> = assignment.broker_ids.iter().map(|id| NodeId(*id)).collect();
            self.check_assignment(assignment.partition_index, &replicas)?;
            if assigned.insert(assignment.partition_index, replicas).is_some() {
                let message = format!("partition {} is assigned twice", assignment.partition_index);
                return refuse(ErrorCode::InvalidReplicaAssignment, message);
            }
        }
        if !assigned.keys().copied().eq(0..assigned.len() as i32) {
            return refuse(ErrorCode::InvalidReplicaAssignment, "assigned partitions must be 0, 1, 2 and so on");
        }
        let partitions: Vec<Vec<NodeId>> = assigned.into_values().collect();
        if partitions.iter().any(|replicas| replicas.len() != partitions[0].len()) {
            return refuse(ErrorCode::InvalidReplicaAssignment, "partitions have different numbers of replicas");
        }
        Ok(partitions)
    }

    fn check_assignment(&self, partition: i32, replicas: &[NodeId]) -> Result<(), Refusal> {
        let wrong = |message: String| refuse(ErrorCode::InvalidReplicaAssignment, message);
        if replicas.is_empty() {
            return wrong(format!("partition {partition} has no replicas"));
        }
        if (1..replicas.len()).any(|n| replicas[..n].contains(&replicas[n])) {
            return wrong(format!("partition {partition} names a broker twice"));
        }
        if let Some(unknown) = replicas.iter().find(|id| !self.image.brokers.contains_key(id)) {
            return wrong(format!("partition {partition} names broker {}, which is not registered", unknown.0));
        }
        if !replicas.iter().any(|id| self.image.is_active(*id)) {
            return wrong(format!("all brokers of partition {partition} are fenced or shutting down"));
        }
        Ok(())
    }

    fn create_topic(&mut self, topic: &CreatableTopic, plan: Plan, validate_only: bool) -> CreatableTopicResult {
        let topic_id = if validate_only { Uuid::ZERO } else { self.record_topic(&topic.name, &plan) };
        let configs = plan.configs.iter().map(|(name, value)| CreatableTopicConfigs {
            name: name.clone(),
            value: Some(value.clone()),
            config_source: TOPIC_SOURCE,
            ..Default::default()
        });
        CreatableTopicResult {
            name: topic.name.clone(),
            topic_id,
            num_partitions: plan.partitions.len() as i32,
            replication_factor: plan.partitions[0].len() as i16,
            configs: Some(configs.collect()),
            ..Default::default()
        }
    }

    /// Topic, then settings, then partitions: who replays knows the settings when the partitions come.
    fn record_topic(&mut self, name: &Str, plan: &Plan) -> Uuid {
        let topic_id = self.new_topic_id();
        self.record(MetadataRecord::TopicRecord(TopicRecord { name: name.clone(), topic_id }));
        for (key, value) in &plan.configs {
            self.record(MetadataRecord::ConfigRecord(ConfigRecord {
                resource_type: TOPIC_RESOURCE,
                resource_name: name.clone(),
                name: key.clone(),
                value: Some(value.clone()),
            }));
        }
        for (index, replicas) in plan.partitions.iter().enumerate() {
            let isr: Vec<NodeId> = replicas.iter().copied().filter(|id| self.image.is_active(*id)).collect();
            let leader = isr.first().expect("an active replica was checked or placed").0;
            let directories = replicas.iter().map(|id| self.default_dir(*id)).collect();
            self.record(MetadataRecord::PartitionRecord(PartitionRecord {
                partition_id: index as i32,
                topic_id,
                replicas: ids(replicas),
                directories,
                isr: ids(&isr),
                leader,
                leader_epoch: 0,
                partition_epoch: 0,
                ..Default::default()
            }));
        }
        topic_id
    }

    fn new_topic_id(&mut self) -> Uuid {
        loop {
            let id = Uuid(self.draws.next_u128());
            let reserved = id == Uuid::ZERO || id == Uuid::METADATA_TOPIC;
            if !reserved && !self.image.topics.contains_key(&id) {
                return id;
            }
        }
    }
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name == "__cluster_metadata" {
        return refuse(ErrorCode::InvalidRequest, "the metadata topic is not created by hand");
    }
    if name.is_empty() || name == "." || name == ".." {
        return refuse(ErrorCode::InvalidTopicException, "a topic name must not be empty, '.' or '..'");
    }
    if name.len() > MAX_NAME {
        let message = format!("a topic name has at most {MAX_NAME} characters, this one has {}", name.len());
        return refuse(ErrorCode::InvalidTopicException, message);
    }
    if !name.bytes().all(legal) {
        let message = format!("topic name '{name}' has a character other than ASCII letters, digits, '.', '_' and '-'");
        return refuse(ErrorCode::InvalidTopicException, message);
    }
    Ok(())
}

fn refused(topic: &CreatableTopic, refusal: Refusal) -> CreatableTopicResult {
    CreatableTopicResult {
        name: topic.name.clone(),
        error_code: refusal.code as i16,
        error_message: Some(refusal.message.into()),
        ..Default::default()
    }
}
