//! What a client would ask.

use super::World;
use bytes::Bytes;
use klamm_base::{ErrorCode, Uuid};
use klamm_wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use klamm_wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use klamm_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use klamm_wire::messages::fetch_response::PartitionData;
use klamm_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use klamm_wire::messages::metadata_request::MetadataRequestTopic;
use klamm_wire::messages::metadata_response::MetadataResponseTopic;
use klamm_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use klamm_wire::messages::produce_response::PartitionProduceResponse;
use klamm_wire::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteRecordsRequest, DeleteRecordsResponse, FetchRequest,
    FetchResponse, ListOffsetsRequest, ListOffsetsResponse, MetadataRequest, MetadataResponse, ProduceRequest,
    ProduceResponse,
};
use klamm_wire::records::{BatchBuilder, records, split};

pub const PRODUCE: i16 = 9;
pub const FETCH: i16 = 12;

pub fn code(code: i16) -> ErrorCode {
    ErrorCode::from_code(code)
}

/// A batch of one record.
pub fn batch(value: &str) -> Bytes {
    BatchBuilder::new(0).push(1000, None, Some(value.as_bytes()), &[]).build().bytes
}

pub fn produce_request(topic: &str, acks: i16, records: Bytes) -> ProduceRequest {
    ProduceRequest {
        acks,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: topic.into(),
            partition_data: vec![PartitionProduceData { index: 0, records: Some(records) }],
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    }
}

pub fn fetch_request(topic: &str, offset: i64, max_wait_ms: i32) -> FetchRequest {
    let partition = FetchPartition { fetch_offset: offset, partition_max_bytes: 1 << 20, ..FetchPartition::default() };
    FetchRequest {
        replica_id: -1,
        max_wait_ms,
        min_bytes: 1,
        topics: vec![FetchTopic { topic: topic.into(), partitions: vec![partition], ..FetchTopic::default() }],
        ..FetchRequest::default()
    }
}

/// The values of the fetched records.
pub fn values(data: &PartitionData) -> Vec<String> {
    let bytes = data.records.clone().unwrap_or_default();
    let batches = split(&bytes).map(|batch| batch.expect("a good batch"));
    batches
        .flat_map(|batch| records(&batch).map(|record| record.expect("a good record")).collect::<Vec<_>>())
        .map(|record| String::from_utf8(record.value.expect("a value").to_vec()).expect("text"))
        .collect()
}

pub fn only_fetched(answer: FetchResponse) -> PartitionData {
    assert_eq!((answer.error_code, answer.session_id), (0, 0));
    answer.responses.into_iter().next().expect("a topic").partitions.into_iter().next().expect("a partition")
}

pub fn only_produced(answer: ProduceResponse) -> PartitionProduceResponse {
    answer.responses.into_iter().next().expect("a topic").partition_responses.into_iter().next().expect("a partition")
}

impl World {
    pub fn create(&mut self, at: i32, topic: &str, replicas: i16) -> ErrorCode {
        self.create_with(at, topic, replicas, &[])
    }

    pub fn create_with(&mut self, at: i32, topic: &str, replicas: i16, settings: &[(&str, &str)]) -> ErrorCode {
        let setting =
            |(name, value): &(&str, &str)| CreatableTopicConfig { name: (*name).into(), value: Some((*value).into()) };
        let topic = CreatableTopic {
            configs: settings.iter().map(setting).collect(),
            name: topic.into(),
            num_partitions: 1,
            replication_factor: replicas,
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 5_000, ..Default::default() };
        let answer: CreateTopicsResponse = self.call(at, &request, 5);
        code(answer.topics[0].error_code)
    }

    pub fn metadata(&mut self, at: i32, topic: &str, create: bool) -> (MetadataResponse, MetadataResponseTopic) {
        let wanted = MetadataRequestTopic { name: Some(topic.into()), topic_id: Uuid::ZERO };
        let request = MetadataRequest {
            topics: Some(vec![wanted]),
            allow_auto_topic_creation: create,
            ..MetadataRequest::default()
        };
        let answer: MetadataResponse = self.call(at, &request, 12);
        let topic = answer.topics[0].clone();
        (answer, topic)
    }

    /// The leader of the topic's first partition, as a live broker knows it.
    pub fn leader(&mut self, at: i32, topic: &str) -> Option<i32> {
        let (_, topic) = self.metadata(at, topic, false);
        topic.partitions.first().map(|p| p.leader_id).filter(|leader| *leader >= 0)
    }

    /// Asks again every 100 ms until there is a leader that `fits`.
    pub fn await_leader(&mut self, at: i32, topic: &str, fits: impl Fn(i32) -> bool) -> i32 {
        for _ in 0..300 {
            if let Some(leader) = self.leader(at, topic).filter(|leader| fits(*leader)) {
                return leader;
            }
            self.run(100);
        }
        panic!("{topic} got no such leader");
    }

    pub fn produce(&mut self, at: i32, topic: &str, acks: i16, value: &str) -> PartitionProduceResponse {
        let answer: ProduceResponse = self.call(at, &produce_request(topic, acks, batch(value)), PRODUCE);
        only_produced(answer)
    }

    /// Produces until it is acknowledged: a new leader may not have taken up its role yet.
    pub fn produce_surely(&mut self, at: i32, topic: &str, acks: i16, value: &str) -> i64 {
        for _ in 0..100 {
            let answer = self.produce(at, topic, acks, value);
            if answer.error_code == 0 {
                return answer.base_offset;
            }
            assert!(code(answer.error_code).is_retriable(), "{}", code(answer.error_code));
            self.run(100);
        }
        panic!("{topic} takes no records");
    }

    pub fn fetch(&mut self, at: i32, topic: &str, offset: i64) -> PartitionData {
        let answer: FetchResponse = self.call(at, &fetch_request(topic, offset, 500), FETCH);
        only_fetched(answer)
    }

    pub fn list_offset(&mut self, at: i32, topic: &str, timestamp: i64) -> i64 {
        let partition = ListOffsetsPartition { timestamp, ..ListOffsetsPartition::default() };
        let topics = vec![ListOffsetsTopic { name: topic.into(), partitions: vec![partition] }];
        let request = ListOffsetsRequest { replica_id: -1, topics, ..ListOffsetsRequest::default() };
        let answer: ListOffsetsResponse = self.call(at, &request, 7);
        let partition = &answer.topics[0].partitions[0];
        assert_eq!(code(partition.error_code), ErrorCode::None);
        partition.offset
    }

    /// Deletes the records of the first partition below `offset`: the low watermark, or the error.
    pub fn delete_records(&mut self, at: i32, topic: &str, offset: i64) -> Result<i64, ErrorCode> {
        let partitions = vec![DeleteRecordsPartition { partition_index: 0, offset }];
        let topics = vec![DeleteRecordsTopic { name: topic.into(), partitions }];
        let request = DeleteRecordsRequest { topics, timeout_ms: 5_000 };
        let answer: DeleteRecordsResponse = self.call(at, &request, 2);
        let partition = &answer.topics[0].partitions[0];
        match code(partition.error_code) {
            ErrorCode::None => Ok(partition.low_watermark),
            error => Err(error),
        }
    }

    /// Until every broker may lead.
    pub fn await_unfenced(&mut self, brokers: i32) {
        self.until(20_000, "unfenced brokers", |world| (1..=brokers).all(|id| world.node(id).is_unfenced()));
    }
}
