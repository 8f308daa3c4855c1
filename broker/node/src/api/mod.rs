//! The APIs, a family a file.

mod deletions;
pub(crate) mod fetch;
mod metadata;
mod offsets;
mod parts;
pub(crate) mod produce;
mod producer_ids;
pub(crate) mod sent;
mod topics;
mod versions;

use crate::io::{Command, Token};
use crate::node::{Cx, Node, SendUse};
use crate::phase::Phase;
use crate::request::{Body, Head, Request};
use crate::response::Answer;
use crate::slab::Slab;
use klamm_base::{ErrorCode, TopicPartition, Uuid};
use klamm_controller::ControllerRequest;
use klamm_wire::messages::find_coordinator_response::Coordinator;
use klamm_wire::messages::produce_response::PartitionProduceResponse;
use klamm_wire::messages::{
    DeleteRecordsResponse, FindCoordinatorRequest, FindCoordinatorResponse, ListOffsetsResponse,
};

/// What the APIs keep between steps.
#[derive(Default)]
pub(crate) struct Api {
    pub(crate) produces: Slab<produce::OpenProduce>,
    pub(crate) deletions: Slab<parts::OpenParts<DeleteRecordsResponse>>,
    pub(crate) listings: Slab<parts::OpenParts<ListOffsetsResponse>>,
    /// A replica's ticket: the open request, and the partition's place in it.
    pub(crate) tickets: Slab<(u64, u32)>,
    producer_ids: producer_ids::ProducerIds,
    creations: topics::Creations,
}

impl Api {
    /// What an open Produce will answer for the partition of this ticket.
    fn answer_to(&mut self, ticket: u64) -> &mut PartitionProduceResponse {
        let (key, place) = *self.tickets.get_mut(ticket).expect("it was not answered yet");
        self.produces.get_mut(key).expect("open until every partition answered").answer(place)
    }
}

impl Node {
    pub(crate) fn request(&mut self, token: Token, request: Request, cx: &mut Cx) {
        match &mut self.phase {
            Phase::Running | Phase::Draining => self.serve(token, request, cx),
            Phase::Booting { waiting, .. } => waiting.push((token, request)),
            _ => cx.out.push(Command::Close { token }),
        }
    }

    fn serve(&mut self, token: Token, request: Request, cx: &mut Cx) {
        let head = request.head;
        match *request.body {
            Body::ApiVersions => cx.reply(token, head, versions::answer(ErrorCode::None)),
            Body::FutureApiVersions => cx.reply(token, head, versions::answer(ErrorCode::UnsupportedVersion)),
            Body::CreateTopics(body) => self.create_topics(token, head, body, cx),
            Body::BrokerRegistration(body) => {
                self.ask_controller(token, head, ControllerRequest::BrokerRegistration(body), cx);
            }
            Body::BrokerHeartbeat(body) => {
                self.ask_controller(token, head, ControllerRequest::BrokerHeartbeat(body), cx);
            }
            Body::AlterPartition(body) => self.ask_controller(token, head, ControllerRequest::AlterPartition(body), cx),
            Body::AllocateProducerIds(body) => {
                self.ask_controller(token, head, ControllerRequest::AllocateProducerIds(body), cx);
            }
            Body::AssignReplicasToDirs(body) => {
                self.ask_controller(token, head, ControllerRequest::AssignReplicasToDirs(body), cx);
            }
            Body::Fetch(body) if body.topics.first().is_some_and(|topic| topic.topic_id == Uuid::METADATA_TOPIC) => {
                self.ask_controller(token, head, ControllerRequest::Fetch(body), cx);
            }
            _ if !self.config.roles.broker => cx.out.push(Command::Close { token }),
            _ if !self.metadata.published => self.metadata.waiting.push((token, request)),
            Body::Metadata(body) => self.describe(token, head, body, cx),
            Body::Produce(body) => self.produce(token, head, body, cx),
            Body::Fetch(body) => self.fetch(token, head, body, cx),
            Body::ListOffsets(body) => self.list_offsets(token, head, body, cx),
            Body::DeleteRecords(body) => self.delete_records(token, head, &body, cx),
            Body::OffsetForLeaderEpoch(body) => self.epoch_ends(token, head, &body, cx),
            Body::InitProducerId(body) => self.init_producer_id(token, head, &body, cx),
            Body::FindCoordinator(body) => cx.reply(token, head, no_coordinator(head, body)),
        }
    }

    /// The connection of an open request ended: what it waits for is let go, what is under way ends unheard.
    pub(crate) fn gone(&mut self, token: Token) {
        if let Phase::Booting { waiting, .. } = &mut self.phase {
            waiting.retain(|(other, _)| *other != token);
        }
        self.metadata.waiting.retain(|(other, _)| *other != token);
        for (_, open) in self.api.produces.iter_mut() {
            open.gone(token);
        }
        for (_, open) in self.api.deletions.iter_mut() {
            open.gone(token);
        }
        for (_, open) in self.api.listings.iter_mut() {
            open.gone(token);
        }
        for (_, use_) in self.sends.iter_mut() {
            if let SendUse::Forward(open, ..) = use_
                && *open == Some(token)
            {
                *open = None;
            }
        }
        self.api.producer_ids.gone(token);
        self.fetch_gone(token);
        if let Some(host) = &mut self.controller {
            host.gone(token);
        }
    }

    /// The replica that a request names, by name or (where given) by topic id. Without one the client is told to look
    /// elsewhere (6), or that the topic is not known (3, 100).
    fn replica_of(&self, name: &str, topic: Uuid, partition: i32) -> Result<u32, ErrorCode> {
        let image = &self.metadata.image;
        let known = if topic == Uuid::ZERO { image.topic_ids.get(name) } else { Some(&topic) };
        let unknown = if topic == Uuid::ZERO { ErrorCode::UnknownTopicOrPartition } else { ErrorCode::UnknownTopicId };
        let tp = TopicPartition { topic: *known.ok_or(unknown)?, partition };
        if let Some(slot) = self.partitions.find(tp) {
            return Ok(slot);
        }
        let topic = image.topics.get(&tp.topic).ok_or(unknown)?;
        match topic.partitions.contains_key(&partition) {
            true => Err(ErrorCode::NotLeaderOrFollower),
            false => Err(ErrorCode::UnknownTopicOrPartition),
        }
    }
}

/// There are no coordinators yet; clients retry on this.
fn no_coordinator(head: Head, request: FindCoordinatorRequest) -> Answer {
    let error_code = ErrorCode::CoordinatorNotAvailable as i16;
    let none =
        |key| Coordinator { key, node_id: -1, port: -1, error_code, error_message: None, ..Coordinator::default() };
    Answer::FindCoordinator(FindCoordinatorResponse {
        error_code: if head.version < 4 { error_code } else { 0 },
        error_message: None,
        node_id: -1,
        port: -1,
        coordinators: request.coordinator_keys.into_iter().map(none).collect(),
        ..FindCoordinatorResponse::default()
    })
}
