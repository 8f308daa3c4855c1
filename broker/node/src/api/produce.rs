//! Produce (R1 to R5): each partition's batch goes to its replica, the answer leaves when all have answered.

use super::sent::{Produce, Sent};
use crate::io::{Command, Token};
use crate::node::{Cx, Node};
use crate::request::Head;
use crate::response::Answer;
use bytes::{BufMut, Bytes, BytesMut};
use klamm_base::{ErrorCode, Uuid};
use klamm_replica::{Event, Produced};
use klamm_wire::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use klamm_wire::messages::{ProduceRequest, ProduceResponse};
use klamm_wire::records::{Batch, RecordError, Refused};
use klamm_wire::{Message, Str, WireError};

/// First version whose answers name the new leader (KIP-951).
const LEADER_HINT_FROM: i16 = 10;

/// Reads a request of versions 0 to 2: version 3 without its first field. Every partition is told 35.
pub(crate) fn decode_old(body: &Bytes) -> Result<Produce, WireError> {
    let mut whole = BytesMut::with_capacity(body.len() + 2);
    whole.put_i16(-1);
    whole.extend_from_slice(body);
    let request = ProduceRequest::decode(&mut whole.freeze(), *ProduceRequest::VERSIONS.start())?;
    let mut produce = Produce::new(request, *ProduceRequest::VERSIONS.start());
    produce.refuse(ErrorCode::UnsupportedVersion);
    Ok(produce)
}

/// A Produce response of versions 0 to 2.
fn encode_old(response: &ProduceResponse, version: i16) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i32(response.responses.len() as i32);
    for topic in &response.responses {
        out.put_i16(topic.name.len() as i16);
        out.extend_from_slice(topic.name.as_bytes());
        out.put_i32(topic.partition_responses.len() as i32);
        for partition in &topic.partition_responses {
            out.put_i32(partition.index);
            out.put_i16(partition.error_code);
            out.put_i64(partition.base_offset);
            if version >= 2 {
                out.put_i64(partition.log_append_time_ms);
            }
        }
    }
    if version >= 1 {
        out.put_i32(response.throttle_time_ms);
    }
    out.freeze()
}

/// A Produce request whose partitions answer one by one.
#[derive(Debug)]
pub(crate) struct OpenProduce {
    token: Option<Token>,
    head: Head,
    acks: i16,
    failed: bool,
    /// Partitions that have not answered, and one for the request itself while it is handed out.
    remaining: usize,
    response: ProduceResponse,
    /// Where in the response a partition stands, and its slot if it has one.
    places: Vec<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    topic: u32,
    partition: u32,
    slot: Option<u32>,
}

impl OpenProduce {
    pub(crate) fn gone(&mut self, token: Token) {
        self.token.take_if(|open| *open == token);
    }

    /// What will be answered for the partition in this place.
    pub(super) fn answer(&mut self, place: u32) -> &mut PartitionProduceResponse {
        let Place { topic, partition, .. } = self.places[place as usize];
        &mut self.response.responses[topic as usize].partition_responses[partition as usize]
    }
}

impl Node {
    pub(crate) fn produce(&mut self, token: Token, head: Head, request: Produce, cx: &mut Cx) {
        let (response, places) = skeleton(&request);
        let (acks, transactional) = (request.acks, request.is_transactional());
        let remaining = places.len() + 1;
        let open = OpenProduce { token: Some(token), head, acks, failed: false, remaining, response, places };
        let key = self.api.produces.insert(open);
        let deadline_ns = cx.now.after_ms(u64::try_from(request.timeout_ms).unwrap_or(0));
        let mut place = 0;
        for topic in request.topics {
            for part in topic.partitions {
                let ticket = self.api.tickets.insert((key, place));
                match self.slot_for_produce(acks, &topic.name, topic.id, &part) {
                    Err(error) => self.produced(ticket, Err(error), cx),
                    Ok(slot) => {
                        let open = self.api.produces.get_mut(key).expect("it is being handed out");
                        open.places[place as usize].slot = Some(slot);
                        match self.admit(slot, part.1, transactional, cx.now.wall_ms) {
                            Err(refused) => self.refused(ticket, slot, refused, cx),
                            Ok(batch) => {
                                let event = Event::Produce { ticket, acks, batches: vec![batch], deadline_ns };
                                self.step_replica(slot, event, cx);
                            }
                        }
                    }
                }
                place += 1;
            }
        }
        self.produce_part_done(key, cx);
    }

    /// Where a partition's batch belongs.
    fn slot_for_produce(&self, acks: i16, name: &str, id: Uuid, (index, sent): &(i32, Sent)) -> Result<u32, ErrorCode> {
        if let Sent::Refused(error) = sent {
            return Err(*error);
        }
        let slot = self.replica_of(name, id, *index)?;
        if !(-1..=1).contains(&acks) {
            return Err(ErrorCode::InvalidRequiredAcks);
        }
        Ok(slot)
    }

    /// The batch as it will be appended. Who does not lead says that and nothing else of the batch, as in Kafka.
    fn admit(&self, slot: u32, sent: Sent, transactional: bool, now_ms: i64) -> Result<Batch, Refused> {
        let place = self.partitions.slot(slot);
        place.replica.check_leader()?;
        let batch = Produce::check_part(sent, transactional, &place.rules, now_ms)?;
        Ok(if place.rules.append_time { batch.into_appended_at(now_ms) } else { batch })
    }

    /// A batch was not taken (KIP-467: which records are to blame).
    fn refused(&mut self, ticket: u64, slot: u32, refused: Refused, cx: &mut Cx) {
        let log_start_offset = self.partitions.slot(slot).replica.log_start_offset();
        let answer = self.api.answer_to(ticket);
        if says_log_start(refused.error) {
            answer.log_start_offset = log_start_offset;
        }
        answer.error_message = refused.message.map(Str::from);
        let named = |record: RecordError| BatchIndexAndErrorMessage {
            batch_index: record.index,
            batch_index_error_message: Some(record.message.into()),
        };
        answer.record_errors = refused.records.into_iter().map(named).collect();
        self.produced(ticket, Err(refused.error), cx);
    }

    /// A replica answered for its partition.
    pub(crate) fn produced(&mut self, ticket: u64, result: Result<Produced, ErrorCode>, cx: &mut Cx) {
        let (key, place) = self.api.tickets.remove(ticket).expect("a ticket is answered once");
        let open = self.api.produces.get_mut(key).expect("open until every partition answered");
        let slot = open.places[place as usize].slot;
        let answer = open.answer(place);
        match result {
            Ok(produced) => {
                answer.base_offset = produced.base_offset;
                answer.log_append_time_ms = produced.append_time;
                answer.log_start_offset = produced.log_start_offset;
            }
            Err(error) => {
                answer.error_code = error as i16;
                open.failed = true;
                if let Some(slot) = slot.filter(|_| error == ErrorCode::NotLeaderOrFollower) {
                    self.hint_leader(key, place, slot);
                }
            }
        }
        self.produce_part_done(key, cx);
    }

    /// Tells a client that came to the wrong broker where the leader is (KIP-951).
    fn hint_leader(&mut self, key: u64, place: u32, slot: u32) {
        let Some((leader, epoch)) = self.known_leader(slot) else { return };
        let Some(endpoint) = self.broker_endpoint(leader) else { return };
        let open = self.api.produces.get_mut(key).expect("open until every partition answered");
        if open.head.version < LEADER_HINT_FROM {
            return;
        }
        open.answer(place).current_leader = LeaderIdAndEpoch { leader_id: leader.0, leader_epoch: epoch };
        if open.response.node_endpoints.iter().all(|node| node.node_id != leader.0) {
            let (host, port) = (endpoint.host, i32::from(endpoint.port));
            open.response.node_endpoints.push(NodeEndpoint { node_id: leader.0, host, port, rack: None });
        }
    }

    fn produce_part_done(&mut self, key: u64, cx: &mut Cx) {
        let open = self.api.produces.get_mut(key).expect("open until every partition answered");
        assert!(open.remaining > 0, "every partition answers once");
        open.remaining -= 1;
        if open.remaining == 0 {
            let open = self.api.produces.remove(key).expect("it was just there");
            finish(open, cx);
        }
    }
}

/// Kafka tells where the log starts if it had come to look at single records.
fn says_log_start(error: ErrorCode) -> bool {
    matches!(error, ErrorCode::InvalidRecord | ErrorCode::InvalidTimestamp)
}

/// acks=0 has no answer; a failure there closes the connection, which is all that the client can notice (R2).
fn finish(open: OpenProduce, cx: &mut Cx) {
    let Some(token) = open.token else { return };
    match (open.acks, open.failed) {
        (0, true) => cx.out.push(Command::Close { token }),
        (0, false) => cx.out.push(Command::NoReply { token }),
        _ if open.head.version < *ProduceResponse::VERSIONS.start() => {
            let body = encode_old(&open.response, open.head.version);
            cx.reply(token, open.head, Answer::OldProduce(body));
        }
        _ => cx.reply(token, open.head, Answer::Produce(open.response)),
    }
}

/// The answer's shape, and where in it each partition of the request stands.
fn skeleton(request: &Produce) -> (ProduceResponse, Vec<Place>) {
    let mut places = Vec::with_capacity(request.topics.iter().map(|topic| topic.partitions.len()).sum());
    let mut responses = Vec::with_capacity(request.topics.len());
    for (t, topic) in request.topics.iter().enumerate() {
        let place = |p| Place { topic: t as u32, partition: p as u32, slot: None };
        places.extend((0..topic.partitions.len()).map(place));
        let none = |(index, _): &(i32, Sent)| PartitionProduceResponse {
            index: *index,
            base_offset: -1,
            ..PartitionProduceResponse::default()
        };
        responses.push(TopicProduceResponse {
            name: topic.name.clone(),
            topic_id: topic.id,
            partition_responses: topic.partitions.iter().map(none).collect(),
        });
    }
    (ProduceResponse { responses, ..ProduceResponse::default() }, places)
}
