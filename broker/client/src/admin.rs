//! The admin client: creates topics and describes them.

use crate::connection::{CallError, CallFailure, Connection};
use crate::metadata::METADATA_VERSION;
use crate::request;
use klamm_base::{ErrorCode, Properties, Uuid};
use klamm_env::{Address, Env};
use klamm_wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use klamm_wire::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use klamm_wire::messages::metadata_response::MetadataResponseTopic;
use klamm_wire::messages::{CreateTopicsResponse, MetadataResponse};
use klamm_wire::{Message, Str};

const CREATE_TOPICS_VERSION: i16 = 7;
const CALL_TIMEOUT_MS: u64 = 30_000;
const CONNECT_TIMEOUT_MS: u64 = 10_000;

/// A topic to be made.
#[derive(Clone, Debug)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions.
    pub partitions: i32,
    /// How many replicas each.
    pub replication: i16,
    /// Topic settings, by Kafka's keys.
    pub configs: Properties,
}

/// A partition as a broker describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionView {
    /// Its index.
    pub index: i32,
    /// Who leads.
    pub leader: Option<i32>,
    /// In which epoch.
    pub leader_epoch: i32,
    /// Who should hold it.
    pub replicas: Vec<i32>,
    /// Who is in sync.
    pub in_sync_replicas: Vec<i32>,
}

/// A topic as a broker describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicView {
    /// Its name.
    pub name: Str,
    /// Its id.
    pub id: Uuid,
    /// Its partitions, by index.
    pub partitions: Vec<PartitionView>,
}

/// An admin client: one request at a time, each address in turn until one answers.
pub struct Admin {
    env: Env,
    bootstrap: Vec<Address>,
    client_id: Str,
    connection: Option<Connection>,
    turn: usize,
}

impl Admin {
    /// Not connected yet. `bootstrap` must not be empty.
    pub fn new(env: &Env, bootstrap: Vec<Address>) -> Admin {
        assert!(!bootstrap.is_empty(), "a client needs an address to ask");
        Admin { env: env.clone(), bootstrap, client_id: Str::from("klamm-admin"), connection: None, turn: 0 }
    }

    /// Makes a topic; its id. Errors are the controller's, or `NetworkException`/`RequestTimedOut` when nobody answered: then it
    /// may have been made all the same.
    pub async fn create_topic(&mut self, topic: &NewTopic) -> Result<Uuid, ErrorCode> {
        let configs = topic
            .configs
            .iter()
            .map(|(key, value)| CreatableTopicConfig { name: key.as_str().into(), value: Some(value.as_str().into()) });
        let creatable = CreatableTopic {
            name: topic.name.as_str().into(),
            num_partitions: topic.partitions,
            replication_factor: topic.replication,
            configs: configs.collect(),
            ..Default::default()
        };
        let message =
            CreateTopicsRequest { topics: vec![creatable], timeout_ms: CALL_TIMEOUT_MS as i32, ..Default::default() };
        let answer: CreateTopicsResponse = self.call(&message, CREATE_TOPICS_VERSION).await?;
        let created = answer.topics.first().ok_or(ErrorCode::UnknownServerError)?;
        match ErrorCode::from_code(created.error_code) {
            ErrorCode::None => Ok(created.topic_id),
            error => Err(error),
        }
    }

    /// Describes a topic as one broker knows it.
    pub async fn describe(&mut self, topic: &str) -> Result<TopicView, ErrorCode> {
        let name = MetadataRequestTopic { name: Some(topic.into()), ..Default::default() };
        let message =
            MetadataRequest { topics: Some(vec![name]), allow_auto_topic_creation: false, ..Default::default() };
        let answer: MetadataResponse = self.call(&message, METADATA_VERSION).await?;
        let topic = answer.topics.into_iter().next().ok_or(ErrorCode::UnknownServerError)?;
        match ErrorCode::from_code(topic.error_code) {
            ErrorCode::None => Ok(view(topic)),
            error => Err(error),
        }
    }

    /// One call over the connection that is open, or over a new one to the next address.
    async fn call<Q: Message, A: Message>(&mut self, message: &Q, version: i16) -> Result<A, ErrorCode> {
        let request = request::Encoded::new(message, version, &self.client_id);
        let connection = self.connected().await.map_err(code)?;
        let deadline_ns = self.env.clock.mono_ns() + CALL_TIMEOUT_MS * 1_000_000;
        match connection.call(|correlation_id| request.frame(correlation_id), deadline_ns).await {
            Ok(frame) => request::decode(frame, version).ok_or(ErrorCode::UnknownServerError),
            Err(error) => {
                self.connection = None;
                Err(code(error))
            }
        }
    }

    async fn connected(&mut self) -> Result<Connection, CallError> {
        if let Some(connection) = self.connection.as_ref().filter(|connection| connection.is_open()) {
            return Ok(connection.clone());
        }
        let to = self.bootstrap[self.turn % self.bootstrap.len()].clone();
        self.turn += 1;
        let deadline_ns = self.env.clock.mono_ns() + CONNECT_TIMEOUT_MS * 1_000_000;
        let opened = self.env.clock.before(deadline_ns, Connection::open(&self.env, to, "admin")).await;
        let timed_out = CallError { maybe_sent: false, failure: CallFailure::TimedOut };
        let connection = opened.unwrap_or(Err(timed_out))?;
        self.connection = Some(connection.clone());
        Ok(connection)
    }
}

fn code(error: CallError) -> ErrorCode {
    match error.failure {
        CallFailure::TimedOut => ErrorCode::RequestTimedOut,
        _ => ErrorCode::NetworkException,
    }
}

fn view(topic: MetadataResponseTopic) -> TopicView {
    let mut partitions: Vec<_> = topic
        .partitions
        .into_iter()
        .map(|partition| PartitionView {
            index: partition.partition_index,
            leader: (partition.leader_id >= 0).then_some(partition.leader_id),
            leader_epoch: partition.leader_epoch,
            replicas: partition.replica_nodes,
            in_sync_replicas: partition.isr_nodes,
        })
        .collect();
    partitions.sort_by_key(|partition| partition.index);
    TopicView { name: topic.name.unwrap_or_default(), id: topic.topic_id, partitions }
}
