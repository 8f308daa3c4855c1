//! CreateTopics, and the topics that a Metadata request brings about (`auto.create.topics.enable`). The controller decides;
//! a broker forwards.

use crate::io::{SendError, Token};
use crate::node::{Cx, Node, SendUse};
use crate::request::{Head, OutBody};
use crate::response::{Answer, decode_answer};
use bytes::Bytes;

use klamm_base::ErrorCode;
use klamm_controller::ControllerRequest;
use klamm_wire::messages::create_topics_request::CreatableTopic;

use klamm_wire::messages::create_topics_response::CreatableTopicResult;
use klamm_wire::messages::{CreateTopicsRequest, CreateTopicsResponse};
use klamm_wire::{Message, Str};
use std::collections::BTreeSet;

/// Topics that clients named and that do not exist.
#[derive(Debug, Default)]
pub(crate) struct Creations {
    /// Wanted by the request of this step.
    wanted: Vec<Str>,
    /// Asked of the controller; not asked again until it answers.
    asked: BTreeSet<Str>,
}

/// A client's request on its way: no token when its connection ended; the topics that it names.
pub(crate) type Forward = (Option<Token>, Head, Vec<Str>);

impl Node {
    /// Answers when the controller has committed the topics; this broker may hear of them a moment later.
    pub(crate) fn create_topics(&mut self, token: Token, head: Head, request: CreateTopicsRequest, cx: &mut Cx) {
        if self.controller.is_some() {
            return self.ask_controller(token, head, ControllerRequest::CreateTopics(request, head.version), cx);
        }
        let names = request.topics.iter().map(|topic| topic.name.clone()).collect();
        let (to, timeout) = (self.config.controller_endpoint.clone(), self.config.request_timeout_ms);
        let body = (head.version, OutBody::CreateTopics(request));
        self.send(cx, to, "forward", SendUse::Forward(Some(token), head, names), body, timeout);
    }

    /// The controller's answer goes back as it came. Without one each topic is told 7: whether it was made is not known here.
    pub(crate) fn forwarded(&mut self, forward: Forward, result: Result<Bytes, SendError>, cx: &mut Cx) {
        let (Some(token), head, names) = forward else { return };
        let answer = result.ok().and_then(|frame| decode_answer::<CreateTopicsResponse>(frame, head.version).ok());
        cx.reply(token, head, Answer::CreateTopics(answer.unwrap_or_else(|| timed_out(names))));
    }

    /// A client named a topic that does not exist; it is created with the broker's defaults.
    pub(super) fn want_topic(&mut self, name: &Str) {
        let creations = &mut self.api.creations;
        if self.metadata.published && creations.asked.insert(name.detached()) {
            creations.wanted.push(name.detached());
        }
    }

    pub(super) fn create_wanted(&mut self, cx: &mut Cx) {
        if self.api.creations.wanted.is_empty() {
            return;
        }
        let names = std::mem::take(&mut self.api.creations.wanted);
        let topic = |name: &Str| CreatableTopic {
            name: name.clone(),
            num_partitions: self.config.num_partitions,
            replication_factor: self.config.replication_factor,
            ..CreatableTopic::default()
        };
        let timeout = self.config.request_timeout_ms;
        let request = CreateTopicsRequest {
            topics: names.iter().map(topic).collect(),
            timeout_ms: timeout as i32,
            ..CreateTopicsRequest::default()
        };
        let to = self.config.controller_endpoint.clone();
        let body = (*CreateTopicsRequest::VERSIONS.end(), OutBody::CreateTopics(request));
        self.send(cx, to, "forward", SendUse::AutoCreate(names), body, timeout);
    }

    /// Whatever became of them, the next request may ask again.
    pub(crate) fn auto_created(&mut self, names: &[Str]) {
        for name in names {
            self.api.creations.asked.remove(name);
        }
    }
}

fn timed_out(names: Vec<Str>) -> CreateTopicsResponse {
    let topic = |name| CreatableTopicResult {
        name,
        error_code: ErrorCode::RequestTimedOut as i16,
        error_message: Some(Str::from_static("the controller did not answer")),
        ..CreatableTopicResult::default()
    };
    CreateTopicsResponse { topics: names.into_iter().map(topic).collect(), ..CreateTopicsResponse::default() }
}
