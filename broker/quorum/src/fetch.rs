//! Fetch of `__cluster_metadata` by observers: checks, long polls, answers (KIP-595, R7, R8).

use bytes::Bytes;
use klamm_base::{ErrorCode, NodeId, Uuid};
use klamm_log::Log;
use klamm_wire::Str;
use klamm_wire::messages::fetch_response::{EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, PartitionData};
use klamm_wire::messages::{FetchRequest, FetchResponse};

/// Most bytes in one answer, whatever the observer allows; a larger single batch still comes whole.
const MAX_BYTES: i32 = 8 << 20;

/// The name of the metadata topic, as version 12 of Fetch writes it.
const TOPIC: &str = "__cluster_metadata";

/// A fetch of the metadata partition.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    topic: Str,
    topic_id: Uuid,
    fetch_offset: i64,
    last_fetched_epoch: i32,
    current_leader_epoch: i32,
    max_bytes: i32,
    max_wait_ms: i32,
    bound: Option<Bound>,
}

/// What an answer says of the instant at which its read was planned.
#[derive(Clone, Copy, Debug)]
struct Bound {
    node: NodeId,
    epoch: i32,
    high_watermark: i64,
}

/// A fetch that waits for the high watermark to pass its offset.
#[derive(Debug)]
pub(crate) struct Parked {
    pub(crate) token: u64,
    pub(crate) ask: Ask,
    /// Monotonic nanoseconds.
    pub(crate) deadline_ns: u64,
}

/// The one partition that the request must name; errors stand for the whole request.
pub(crate) fn check_addressed(request: &FetchRequest, cluster_id: &str) -> Result<Ask, ErrorCode> {
    if request.cluster_id.as_ref().is_some_and(|theirs| *theirs != *cluster_id) {
        return Err(ErrorCode::InconsistentClusterId);
    }
    let [topic] = request.topics.as_slice() else { return Err(ErrorCode::InvalidRequest) };
    let [partition] = topic.partitions.as_slice() else { return Err(ErrorCode::InvalidRequest) };
    let named = topic.topic_id == Uuid::METADATA_TOPIC || (topic.topic_id == Uuid::ZERO && topic.topic == TOPIC);
    if !named || partition.partition != 0 {
        return Err(ErrorCode::InvalidRequest);
    }
    Ok(Ask {
        topic: topic.topic.clone(),
        topic_id: topic.topic_id,
        fetch_offset: partition.fetch_offset,
        last_fetched_epoch: partition.last_fetched_epoch,
        current_leader_epoch: partition.current_leader_epoch,
        max_bytes: partition.partition_max_bytes.min(request.max_bytes).clamp(1, MAX_BYTES),
        max_wait_ms: request.max_wait_ms,
        bound: None,
    })
}

/// An answer that refuses the whole request.
pub(crate) fn refused(code: ErrorCode) -> FetchResponse {
    FetchResponse { error_code: code as i16, ..FetchResponse::default() }
}

impl Ask {
    pub(crate) fn fetch_offset(&self) -> i64 {
        self.fetch_offset
    }

    pub(crate) fn max_bytes(&self) -> u32 {
        self.max_bytes as u32
    }

    pub(crate) fn max_wait_ms(&self) -> u64 {
        u64::try_from(self.max_wait_ms).unwrap_or(0)
    }

    /// Fixes what the answer will say.
    pub(crate) fn bound(&mut self, node: NodeId, epoch: i32, high_watermark: i64) {
        self.bound = Some(Bound { node, epoch, high_watermark });
    }

    /// Epoch first, then the log's range, then where the epochs part.
    pub(crate) fn check(
        &self,
        log: &Log,
        node: NodeId,
        epoch: i32,
        high_watermark: i64,
    ) -> Result<(), Box<FetchResponse>> {
        let refuse = |code| Err(Box::new(self.error(code, Some(node), epoch, high_watermark)));
        if self.current_leader_epoch < epoch {
            return refuse(ErrorCode::FencedLeaderEpoch);
        }
        if self.current_leader_epoch > epoch {
            return refuse(ErrorCode::UnknownLeaderEpoch);
        }
        if self.fetch_offset < log.log_start_offset() {
            return refuse(ErrorCode::OffsetOutOfRange);
        }
        match self.diverging(log) {
            None => Ok(()),
            Some((epoch_of_end, end_offset)) => {
                let mut data = self.data(Some(node), epoch, high_watermark);
                data.log_start_offset = log.log_start_offset();
                data.diverging_epoch = EpochEndOffset { epoch: epoch_of_end, end_offset };
                Err(Box::new(self.response(data)))
            }
        }
    }

    /// Where the observer's log and ours part, if they do. An empty log has no epoch to compare.
    fn diverging(&self, log: &Log) -> Option<(i32, i64)> {
        if self.fetch_offset == 0 && self.last_fetched_epoch <= 0 {
            return None;
        }
        let unknown = (log.latest_epoch().unwrap_or(0), log.next_offset());
        let (epoch, end) = log.end_offset_for(self.last_fetched_epoch).unwrap_or(unknown);
        (epoch != self.last_fetched_epoch || end < self.fetch_offset).then_some((epoch, end))
    }

    /// An answer with records, or without any, under this high watermark.
    pub(crate) fn records(
        &self,
        records: Bytes,
        node: NodeId,
        epoch: i32,
        high_watermark: i64,
        log: &Log,
    ) -> FetchResponse {
        let mut data = self.data(Some(node), epoch, high_watermark);
        data.log_start_offset = log.log_start_offset();
        data.records = Some(records);
        self.response(data)
    }

    /// An answer with records under the bound that was fixed when the read was planned.
    pub(crate) fn bounded_records(&self, records: Bytes, log: &Log) -> FetchResponse {
        let Bound { node, epoch, high_watermark } = self.bound.expect("fixed before the read");
        self.records(records, node, epoch, high_watermark, log)
    }

    /// An answer that refuses the partition. It names the leader and its epoch, so that the observer learns both.
    pub(crate) fn error(
        &self,
        code: ErrorCode,
        leader: Option<NodeId>,
        epoch: i32,
        high_watermark: i64,
    ) -> FetchResponse {
        let mut data = self.data(leader, epoch, high_watermark);
        data.error_code = code as i16;
        self.response(data)
    }

    fn data(&self, leader: Option<NodeId>, epoch: i32, high_watermark: i64) -> PartitionData {
        PartitionData {
            partition_index: 0,
            high_watermark,
            last_stable_offset: high_watermark,
            log_start_offset: 0,
            current_leader: LeaderIdAndEpoch { leader_id: leader.map_or(-1, |node| node.0), leader_epoch: epoch },
            records: Some(Bytes::new()),
            ..PartitionData::default()
        }
    }

    fn response(&self, data: PartitionData) -> FetchResponse {
        let topic =
            FetchableTopicResponse { topic: self.topic.clone(), topic_id: self.topic_id, partitions: vec![data] };
        FetchResponse { responses: vec![topic], ..FetchResponse::default() }
    }
}
