//! Responses: what this node answers, and how it reads what others answer.

use crate::request::Head;
use bytes::Bytes;
use klamm_wire::messages::{
    AllocateProducerIdsResponse, AlterPartitionResponse, ApiVersionsResponse, AssignReplicasToDirsResponse,
    BrokerHeartbeatResponse, BrokerRegistrationResponse, CreateTopicsResponse, DeleteRecordsResponse, FetchResponse,
    FindCoordinatorResponse, InitProducerIdResponse, ListOffsetsResponse, MetadataResponse,
    OffsetForLeaderEpochResponse, ProduceResponse,
};
use klamm_wire::{ApiKey, Message, WireError, frame, response_header_decode, response_header_encode};

/// A response that waits to be encoded.
#[derive(Clone, Debug)]
pub struct Response {
    pub(crate) head: Head,
    pub(crate) body: Box<Answer>,
}

/// The answers to [`crate::request::Body`].
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    ApiVersions(ApiVersionsResponse),
    Metadata(MetadataResponse),
    Produce(ProduceResponse),
    /// A Produce response of a version before the codec's first.
    OldProduce(Bytes),
    Fetch(FetchResponse),
    ListOffsets(ListOffsetsResponse),
    OffsetForLeaderEpoch(OffsetForLeaderEpochResponse),
    DeleteRecords(DeleteRecordsResponse),
    CreateTopics(CreateTopicsResponse),
    InitProducerId(InitProducerIdResponse),
    FindCoordinator(FindCoordinatorResponse),
    BrokerRegistration(BrokerRegistrationResponse),
    BrokerHeartbeat(BrokerHeartbeatResponse),
    AlterPartition(AlterPartitionResponse),
    AllocateProducerIds(AllocateProducerIdsResponse),
    AssignReplicasToDirs(AssignReplicasToDirsResponse),
}

impl Response {
    /// The whole frame: length, header and body. Runs outside of the node's lock.
    pub fn encode(&self) -> Bytes {
        let Head { api, version, correlation_id } = self.head;
        let mut buf = frame::begin(self.body.size_hint());
        response_header_encode(&mut buf, api, version, correlation_id);
        let buf = &mut buf;
        match &*self.body {
            Answer::ApiVersions(body) => body.encode(buf, version),
            Answer::Metadata(body) => body.encode(buf, version),
            Answer::Produce(body) => body.encode(buf, version),
            Answer::OldProduce(body) => buf.extend_from_slice(body),
            Answer::Fetch(body) => body.encode(buf, version),
            Answer::ListOffsets(body) => body.encode(buf, version),
            Answer::OffsetForLeaderEpoch(body) => body.encode(buf, version),
            Answer::DeleteRecords(body) => body.encode(buf, version),
            Answer::CreateTopics(body) => body.encode(buf, version),
            Answer::InitProducerId(body) => body.encode(buf, version),
            Answer::FindCoordinator(body) => body.encode(buf, version),
            Answer::BrokerRegistration(body) => body.encode(buf, version),
            Answer::BrokerHeartbeat(body) => body.encode(buf, version),
            Answer::AlterPartition(body) => body.encode(buf, version),
            Answer::AllocateProducerIds(body) => body.encode(buf, version),
            Answer::AssignReplicasToDirs(body) => body.encode(buf, version),
        }
        frame::finish(std::mem::take(buf))
    }

    /// The API's number.
    pub fn api_key(&self) -> ApiKey {
        self.head.api
    }

    /// The request's number.
    pub fn correlation_id(&self) -> i32 {
        self.head.correlation_id
    }
}

impl Answer {
    /// Room that the encoding will about need: fetches are dominated by their records.
    fn size_hint(&self) -> usize {
        match self {
            Answer::Fetch(body) => {
                let partitions = body.responses.iter().flat_map(|topic| &topic.partitions);
                256 + partitions.map(|p| 128 + p.records.as_ref().map_or(0, Bytes::len)).sum::<usize>()
            }
            _ => 256,
        }
    }
}

/// Reads a response frame of another node.
pub(crate) fn decode_answer<M: Message>(mut frame: Bytes, version: i16) -> Result<M, WireError> {
    let api = ApiKey::from_code(M::API_KEY).ok_or(WireError::UnknownApi(M::API_KEY))?;
    response_header_decode(&mut frame, api, version)?;
    M::decode(&mut frame, version)
}
