//! The broker's metadata: fetched from the controller as records of `__cluster_metadata`, replayed into an image in memory.
//!
//! No metadata log is kept on this broker's disk: a process that starts replays from offset 0. Roles are taken up only once
//! the image holds this incarnation's own registration, so that a restarted broker never acts on what metadata said of the
//! incarnation before it (Kafka installs its metadata publishers at the same point).

use crate::fetchers::FETCH_VERSION;
use crate::io::{SendError, Token};
use crate::node::{Cx, Node, SendUse};
use crate::request::{OutBody, Request};
use crate::response::decode_answer;
use crate::timers::Timer;
use bytes::Bytes;
use klamm_base::{ErrorCode, NodeId, TopicPartition, Uuid};
use klamm_controller::{Change, MetadataImage};
use klamm_wire::messages::fetch_request::{FetchPartition, FetchTopic, ReplicaState};
use klamm_wire::messages::fetch_response::PartitionData;
use klamm_wire::messages::{FetchRequest, FetchResponse};
use klamm_wire::records::split_whole;
use klamm_wire::{Str, WireError};
use std::collections::BTreeSet;

/// How long the controller may hold a fetch that finds nothing new, milliseconds.
const WAIT_MS: i32 = 500;
/// Asks again after a failure this late, milliseconds.
const RETRY_MS: u64 = 100;
/// `replica.fetch.max.bytes` of the metadata log (Kafka: 8 MiB).
const MAX_BYTES: i32 = 8 << 20;

/// What the broker knows of the cluster.
#[derive(Debug, Default)]
pub(crate) struct Metadata {
    /// What requests are answered from.
    pub(crate) image: MetadataImage,
    /// True once replicas act on it.
    pub(crate) published: bool,
    /// What clients asked before: an image that lacks what was committed must not speak. (Kafka accepts no connection
    /// until its first publication.)
    pub(crate) waiting: Vec<(Token, Request)>,
    /// Made anew from offset 0 after the controller's log proved to be another; replaces the image when it is whole.
    anew: Option<MetadataImage>,
    in_flight: bool,
    /// Of the quorum's leader, as its last answer said.
    leader_epoch: i32,
}

impl Metadata {
    /// The image that is being filled.
    fn filling(&mut self) -> &mut MetadataImage {
        self.anew.as_mut().unwrap_or(&mut self.image)
    }
}

impl Node {
    pub(crate) fn fetch_metadata(&mut self, cx: &mut Cx) {
        if self.metadata.in_flight || !self.phase.serves() {
            return;
        }
        self.metadata.in_flight = true;
        let leader_epoch = self.metadata.leader_epoch;
        let filling = self.metadata.filling();
        let partition = FetchPartition {
            partition: 0,
            current_leader_epoch: leader_epoch,
            fetch_offset: filling.offset + 1,
            last_fetched_epoch: filling.epoch,
            partition_max_bytes: MAX_BYTES,
            ..FetchPartition::default()
        };
        let topic = FetchTopic { topic_id: Uuid::METADATA_TOPIC, partitions: vec![partition], ..FetchTopic::default() };
        let request = FetchRequest {
            cluster_id: Some(self.config.cluster_id.as_str().into()),
            replica_state: ReplicaState { replica_id: self.config.node.0, ..ReplicaState::default() },
            max_wait_ms: WAIT_MS,
            max_bytes: i32::MAX,
            session_epoch: -1,
            topics: vec![topic],
            ..FetchRequest::default()
        };
        let (to, timeout) = (self.config.controller_endpoint.clone(), self.config.quorum_request_timeout_ms);
        let body = (FETCH_VERSION, OutBody::Fetch(request));
        self.send(cx, to, "metadata", SendUse::Metadata, body, timeout + WAIT_MS as u64);
    }

    pub(crate) fn metadata_fetched(&mut self, result: Result<Bytes, SendError>, cx: &mut Cx) {
        self.metadata.in_flight = false;
        let answer = result.ok().and_then(|frame| decode_answer::<FetchResponse>(frame, FETCH_VERSION).ok());
        match answer.and_then(the_partition) {
            Some(partition) if self.take_metadata(&partition, cx) => self.fetch_metadata(cx),
            _ => self.timers.set(cx.now.after_ms(RETRY_MS), Timer::Metadata),
        }
    }

    /// Replays an answer; false if there is nothing to go on with at once.
    fn take_metadata(&mut self, data: &PartitionData, cx: &mut Cx) -> bool {
        let error = ErrorCode::from_code(data.error_code);
        if data.diverging_epoch.end_offset >= 0 || error == ErrorCode::OffsetOutOfRange {
            self.metadata.anew = Some(MetadataImage::default());
            return true;
        }
        let known = std::mem::replace(&mut self.metadata.leader_epoch, data.current_leader.leader_epoch.max(0));
        if error != ErrorCode::None {
            return self.metadata.leader_epoch > known;
        }
        let records = data.records.clone().unwrap_or_default();
        match replay(self.metadata.filling(), &records, data) {
            Err(error) => {
                let offset = self.metadata.filling().offset;
                self.fatal(format!("the metadata log after offset {offset} cannot be read: {error}"), cx);
                false
            }
            Ok((changes, whole)) => {
                self.metadata_moved(changes, data.high_watermark, cx);
                whole
            }
        }
    }

    fn metadata_moved(&mut self, changes: Vec<Change>, high_watermark: i64, cx: &mut Cx) {
        match self.metadata.anew.take() {
            Some(anew) if anew.offset + 1 < high_watermark => self.metadata.anew = Some(anew),
            Some(anew) => {
                self.metadata.image = anew;
                self.publish_all(cx);
            }
            None if self.metadata.published => self.publish(changes, cx),
            None => self.metadata_may_be_published(cx),
        }
    }

    /// The first publication: replicas begin to act on metadata when it holds this incarnation's registration.
    pub(crate) fn metadata_may_be_published(&mut self, cx: &mut Cx) {
        let epoch = self.lifecycle.broker_epoch;
        if self.metadata.published || epoch < 0 || self.metadata.image.offset < epoch {
            return;
        }
        self.metadata.published = true;
        self.publish_all(cx);
        self.heartbeat_soon(cx);
        for (token, request) in std::mem::take(&mut self.metadata.waiting) {
            self.request(token, request, cx);
        }
    }

    fn publish_all(&mut self, cx: &mut Cx) {
        if !self.metadata.published {
            return;
        }
        let all = self.metadata.image.topics.iter();
        let all: Vec<TopicPartition> = all
            .flat_map(|(topic, image)| {
                image.partitions.keys().map(|partition| TopicPartition { topic: *topic, partition: *partition })
            })
            .collect();
        for tp in all {
            self.publish_partition(tp, cx);
        }
    }

    /// Each partition that the changes touch is told once, with all of them in.
    fn publish(&mut self, changes: Vec<Change>, cx: &mut Cx) {
        let mut touched = BTreeSet::new();
        let mut configs: BTreeSet<Str> = BTreeSet::new();
        for change in changes {
            match change {
                Change::Partition(tp) => {
                    touched.insert(tp);
                }
                Change::Broker(broker) => {
                    touched.extend(self.partitions.with_peer(broker));
                    self.fetchers.touch(broker);
                }
                Change::Config(name) => {
                    configs.insert(name);
                }
                Change::None | Change::Topic(_) | Change::TopicRemoved(_) | Change::ProducerIds => {}
            }
        }
        for tp in touched {
            self.publish_partition(tp, cx);
        }
        for name in configs {
            self.publish_config(&name, cx);
        }
    }

    /// True for a broker that clients may be sent to.
    pub(crate) fn is_live(&self, broker: NodeId) -> bool {
        self.metadata.image.brokers.get(&broker).is_some_and(|broker| !broker.fenced)
    }
}

fn the_partition(answer: FetchResponse) -> Option<PartitionData> {
    let found = answer.error_code == 0;
    answer.responses.into_iter().next()?.partitions.into_iter().next().filter(|_| found)
}

/// Replays whole batches below the high watermark, in their order; what was replayed before is passed over. It ends at a batch
/// that is damaged, that does not continue the log, or of an epoch that cannot be: the second value is false then, and the
/// rest is asked for again. Base offset and epoch are under no checksum, so the frame alone may be at fault.
fn replay(image: &mut MetadataImage, records: &Bytes, data: &PartitionData) -> Result<(Vec<Change>, bool), WireError> {
    let mut changes = Vec::new();
    for batch in split_whole(records) {
        let Ok(batch) = batch else { return Ok((changes, false)) };
        if batch.header.last_offset() <= image.offset {
            continue;
        }
        if batch.header.last_offset() >= data.high_watermark {
            break;
        }
        let epochs = image.epoch..=data.current_leader.leader_epoch;
        let continues = batch.header.base_offset == image.offset + 1;
        if !continues || !epochs.contains(&batch.header.partition_leader_epoch) || !batch.crc_ok() {
            return Ok((changes, false));
        }
        changes.extend(image.replay_batch(&batch)?);
    }
    Ok((changes, true))
}
