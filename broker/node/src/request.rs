//! Requests: what others hand in, what this node sends to them.

use crate::api::produce;
use crate::api::sent::Produce;
use bytes::Bytes;
use klamm_wire::ApiKey;
use klamm_wire::messages::{
    AllocateProducerIdsRequest, AlterPartitionRequest, ApiVersionsRequest, AssignReplicasToDirsRequest,
    BrokerHeartbeatRequest, BrokerRegistrationRequest, CreateTopicsRequest, DeleteRecordsRequest, FetchRequest,
    FindCoordinatorRequest, InitProducerIdRequest, ListOffsetsRequest, MetadataRequest, OffsetForLeaderEpochRequest,
    ProduceRequest,
};
use klamm_wire::{Message, RequestHeader, Str, WireError, frame};

/// A decoded request.
#[derive(Debug)]
pub struct Request {
    pub(crate) head: Head,
    pub(crate) client_id: Option<Str>,
    /// Boxed, as all bodies are: what goes through queues and events is moved many times.
    pub(crate) body: Box<Body>,
}

/// What an answer needs of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) api: ApiKey,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
}

/// The APIs that a node answers.
#[derive(Debug)]
pub(crate) enum Body {
    ApiVersions,
    /// A version of ApiVersions that we do not know: answered in version 0 with error 35.
    FutureApiVersions,
    Metadata(MetadataRequest),
    Produce(Produce),
    Fetch(FetchRequest),
    ListOffsets(ListOffsetsRequest),
    OffsetForLeaderEpoch(OffsetForLeaderEpochRequest),
    DeleteRecords(DeleteRecordsRequest),
    CreateTopics(CreateTopicsRequest),
    InitProducerId(InitProducerIdRequest),
    FindCoordinator(FindCoordinatorRequest),
    BrokerRegistration(BrokerRegistrationRequest),
    BrokerHeartbeat(BrokerHeartbeatRequest),
    AlterPartition(AlterPartitionRequest),
    AllocateProducerIds(AllocateProducerIdsRequest),
    AssignReplicasToDirs(AssignReplicasToDirsRequest),
}

impl Request {
    /// The API's number.
    pub fn api_key(&self) -> ApiKey {
        self.head.api
    }

    /// The version in which it came and is answered.
    pub fn api_version(&self) -> i16 {
        self.head.version
    }

    /// The client's number for it, which the answer carries.
    pub fn correlation_id(&self) -> i32 {
        self.head.correlation_id
    }

    /// The name that the client gave itself.
    pub fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }
}

/// Why a frame became no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It cannot be answered: close the connection, as Kafka does on a malformed or unsupported request.
    #[error("{0}")]
    Close(String),
}

impl From<WireError> for Refusal {
    fn from(error: WireError) -> Self {
        Refusal::Close(error.to_string())
    }
}

/// Decodes a request frame (without its four length bytes). Runs outside of the node's lock. The record batches of a Produce
/// are not looked at yet: [`Request::check_records`].
///
/// # Errors
/// [`Refusal::Close`] for bytes that are no request, an API or a version that is not served. An ApiVersions of a newer version
/// is a request (its answer tells the client what is known), so is a Produce 0-2 (advertised, answered with error 35).
pub fn decode_request(frame: Bytes) -> Result<Request, Refusal> {
    let head = peek(&frame)?;
    let (min, max) = head.api.versions();
    if head.api == ApiKey::ApiVersions && !head.api.supports(head.version) {
        let head = Head { version: 0, ..head };
        return Ok(Request { head, client_id: None, body: Box::new(Body::FutureApiVersions) });
    }
    let old_produce = head.api == ApiKey::Produce && (0..min).contains(&head.version);
    if !head.api.supports(head.version) && !old_produce {
        return Err(Refusal::Close(format!(
            "{} version {} is not served, only {min} to {max}",
            head.api, head.version
        )));
    }
    let mut rest = frame;
    let header = RequestHeader::decode(&mut rest)?;
    let body = Box::new(match old_produce {
        true => Body::Produce(produce::decode_old(&rest)?),
        false => decode_body(head.api, &mut rest, head.version)?,
    });
    // Whoever appends a batch does so in place if nothing else holds on to its frame.
    let client_id = match &*body {
        Body::Produce(_) => header.client_id.map(|name| name.detached()),
        _ => header.client_id,
    };
    Ok(Request { head, client_id, body })
}

/// The first eight bytes, which every header has.
fn peek(frame: &Bytes) -> Result<Head, Refusal> {
    let first: [u8; 8] = frame.get(..8).and_then(|first| first.try_into().ok()).ok_or(WireError::Truncated)?;
    let [a, b, c, d, rest @ ..] = first;
    let key = i16::from_be_bytes([a, b]);
    Ok(Head {
        api: ApiKey::from_code(key).ok_or(WireError::UnknownApi(key))?,
        version: i16::from_be_bytes([c, d]),
        correlation_id: i32::from_be_bytes(rest),
    })
}

fn decode_body(api: ApiKey, rest: &mut Bytes, version: i16) -> Result<Body, Refusal> {
    Ok(match api {
        ApiKey::ApiVersions => ApiVersionsRequest::decode(rest, version).map(|_| Body::ApiVersions)?,
        ApiKey::Metadata => Body::Metadata(Message::decode(rest, version)?),
        ApiKey::Produce => Body::Produce(Produce::new(ProduceRequest::decode(rest, version)?, version)),
        ApiKey::Fetch => Body::Fetch(Message::decode(rest, version)?),
        ApiKey::ListOffsets => Body::ListOffsets(Message::decode(rest, version)?),
        ApiKey::OffsetForLeaderEpoch => Body::OffsetForLeaderEpoch(Message::decode(rest, version)?),
        ApiKey::DeleteRecords => Body::DeleteRecords(Message::decode(rest, version)?),
        ApiKey::CreateTopics => Body::CreateTopics(Message::decode(rest, version)?),
        ApiKey::InitProducerId => Body::InitProducerId(Message::decode(rest, version)?),
        ApiKey::FindCoordinator => Body::FindCoordinator(Message::decode(rest, version)?),
        ApiKey::BrokerRegistration => Body::BrokerRegistration(Message::decode(rest, version)?),
        ApiKey::BrokerHeartbeat => Body::BrokerHeartbeat(Message::decode(rest, version)?),
        ApiKey::AlterPartition => Body::AlterPartition(Message::decode(rest, version)?),
        ApiKey::AllocateProducerIds => Body::AllocateProducerIds(Message::decode(rest, version)?),
        ApiKey::AssignReplicasToDirs => Body::AssignReplicasToDirs(Message::decode(rest, version)?),
    })
}

/// A request of this node to another.
#[derive(Clone, Debug)]
pub struct OutRequest {
    pub(crate) version: i16,
    pub(crate) client_id: Str,
    pub(crate) body: Box<OutBody>,
}

/// What a node asks of others.
#[derive(Clone, Debug)]
pub(crate) enum OutBody {
    BrokerRegistration(BrokerRegistrationRequest),
    BrokerHeartbeat(BrokerHeartbeatRequest),
    Fetch(FetchRequest),
    AlterPartition(AlterPartitionRequest),
    AllocateProducerIds(AllocateProducerIdsRequest),
    AssignReplicasToDirs(AssignReplicasToDirsRequest),
    CreateTopics(CreateTopicsRequest),
}

impl OutRequest {
    /// The whole frame: length, header and body. Runs outside of the node's lock.
    pub fn encode(&self, correlation_id: i32) -> Bytes {
        let mut buf = frame::begin(256);
        let header = RequestHeader {
            api_key: self.api_key(),
            api_version: self.version,
            correlation_id,
            client_id: Some(self.client_id.clone()),
        };
        header.encode(&mut buf);
        match &*self.body {
            OutBody::BrokerRegistration(body) => body.encode(&mut buf, self.version),
            OutBody::BrokerHeartbeat(body) => body.encode(&mut buf, self.version),
            OutBody::Fetch(body) => body.encode(&mut buf, self.version),
            OutBody::AlterPartition(body) => body.encode(&mut buf, self.version),
            OutBody::AllocateProducerIds(body) => body.encode(&mut buf, self.version),
            OutBody::AssignReplicasToDirs(body) => body.encode(&mut buf, self.version),
            OutBody::CreateTopics(body) => body.encode(&mut buf, self.version),
        }
        frame::finish(buf)
    }

    /// The API's number.
    pub fn api_key(&self) -> ApiKey {
        match &*self.body {
            OutBody::BrokerRegistration(_) => ApiKey::BrokerRegistration,
            OutBody::BrokerHeartbeat(_) => ApiKey::BrokerHeartbeat,
            OutBody::Fetch(_) => ApiKey::Fetch,
            OutBody::AlterPartition(_) => ApiKey::AlterPartition,
            OutBody::AllocateProducerIds(_) => ApiKey::AllocateProducerIds,
            OutBody::AssignReplicasToDirs(_) => ApiKey::AssignReplicasToDirs,
            OutBody::CreateTopics(_) => ApiKey::CreateTopics,
        }
    }

    /// The version in which it is sent.
    pub fn api_version(&self) -> i16 {
        self.version
    }
}
