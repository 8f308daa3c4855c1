//! What a controller is asked and answers.

use klamm_base::ErrorCode;
use klamm_wire::messages::create_topics_response::CreatableTopicResult;
use klamm_wire::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, AlterPartitionRequest, AlterPartitionResponse,
    AssignReplicasToDirsRequest, AssignReplicasToDirsResponse, BrokerHeartbeatRequest, BrokerHeartbeatResponse,
    BrokerRegistrationRequest, BrokerRegistrationResponse, CreateTopicsRequest, CreateTopicsResponse, FetchRequest,
    FetchResponse,
};

/// A request to the controller. Every one is answered by one [`crate::Command::Reply`] unless the process ends before.
#[derive(Clone, Debug, PartialEq)]
pub enum ControllerRequest {
    /// A broker incarnation asks for its broker epoch (K13).
    BrokerRegistration(BrokerRegistrationRequest),
    /// A broker renews its session (K14 to K16).
    BrokerHeartbeat(BrokerHeartbeatRequest),
    /// A leader proposes an ISR (KIP-497, R22). Versions 2 and later: topics by id.
    AlterPartition(AlterPartitionRequest),
    /// Topics, with the version of the request.
    CreateTopics(CreateTopicsRequest, i16),
    /// A block of producer ids (K21).
    AllocateProducerIds(AllocateProducerIdsRequest),
    /// A broker tells in which of its directories replicas lie (KIP-858).
    AssignReplicasToDirs(AssignReplicasToDirsRequest),
    /// An observer pulls `__cluster_metadata` (topic id 1).
    Fetch(FetchRequest),
}

/// The answer, of the same kind as the request.
#[derive(Clone, Debug, PartialEq)]
pub enum ControllerResponse {
    /// To a registration.
    BrokerRegistration(BrokerRegistrationResponse),
    /// To a heartbeat.
    BrokerHeartbeat(BrokerHeartbeatResponse),
    /// To a proposed ISR.
    AlterPartition(AlterPartitionResponse),
    /// To new topics.
    CreateTopics(CreateTopicsResponse),
    /// To a wish for producer ids.
    AllocateProducerIds(AllocateProducerIdsResponse),
    /// To replicas in directories.
    AssignReplicasToDirs(AssignReplicasToDirsResponse),
    /// To an observer.
    Fetch(FetchResponse),
}

impl ControllerRequest {
    /// The answer that refuses the whole request with `code`.
    pub fn refused(&self, code: ErrorCode) -> ControllerResponse {
        let error_code = code as i16;
        match self {
            Self::BrokerRegistration(_) => ControllerResponse::BrokerRegistration(BrokerRegistrationResponse {
                error_code,
                broker_epoch: -1,
                ..Default::default()
            }),
            Self::BrokerHeartbeat(_) => ControllerResponse::BrokerHeartbeat(BrokerHeartbeatResponse {
                error_code,
                is_fenced: true,
                ..Default::default()
            }),
            Self::AlterPartition(_) => {
                ControllerResponse::AlterPartition(AlterPartitionResponse { error_code, ..Default::default() })
            }
            Self::CreateTopics(request, _) => ControllerResponse::CreateTopics(refuse_topics(request, code)),
            Self::AllocateProducerIds(_) => ControllerResponse::AllocateProducerIds(AllocateProducerIdsResponse {
                error_code,
                ..Default::default()
            }),
            Self::AssignReplicasToDirs(_) => ControllerResponse::AssignReplicasToDirs(AssignReplicasToDirsResponse {
                error_code,
                ..Default::default()
            }),
            Self::Fetch(_) => ControllerResponse::Fetch(FetchResponse { error_code, ..Default::default() }),
        }
    }
}

/// CreateTopics has no error of the whole: each topic carries it.
fn refuse_topics(request: &CreateTopicsRequest, code: ErrorCode) -> CreateTopicsResponse {
    let topics = request.topics.iter().map(|topic| CreatableTopicResult {
        name: topic.name.clone(),
        error_code: code as i16,
        error_message: Some(code.text().into()),
        ..Default::default()
    });
    CreateTopicsResponse { topics: topics.collect(), ..Default::default() }
}
