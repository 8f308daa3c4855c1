//! Produce (R1 to R5): each partition's batch goes to its replica, the answer leaves when all have answered.

use crate::io::{Command, Token};
use crate::node::{Cx, Node};
use crate::request::Head;
use crate::response::Answer;
use bytes::{BufMut, Bytes, BytesMut};
use klamm_base::{ErrorCode, Uuid};
use klamm_replica::{Event, Produced};
use klamm_wire::messages::produce_response::{
    LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use klamm_wire::messages::{ProduceRequest, ProduceResponse};
use klamm_wire::records::{Batch, Codec, split};
use klamm_wire::{Message, Str, WireError};

/// First version that knows zstd (KIP-110).
const ZSTD_FROM: i16 = 7;
/// First version whose answers name the new leader (KIP-951).
const LEADER_HINT_FROM: i16 = 10;

/// A Produce request with its batches checked.
#[derive(Debug)]
pub(crate) struct Produce {
    acks: i16,
    timeout_ms: i32,
    topics: Vec<ProduceTopic>,
}

#[derive(Debug)]
struct ProduceTopic {
    name: Str,
    id: Uuid,
    partitions: Vec<(i32, Result<Batch, ErrorCode>)>,
}

/// Checks what a client sent: one batch a partition, CRC, counts, codec. Sizes are checked against the topic's limit by its
/// log; topics are not compacted yet, so keys need not be there.
pub(crate) fn check(request: ProduceRequest, version: i16) -> Produce {
    let transactional = request.transactional_id.is_some();
    let topic = |topic: klamm_wire::messages::produce_request::TopicProduceData| ProduceTopic {
        name: topic.name.detached(),
        id: topic.topic_id,
        partitions: topic
            .partition_data
            .into_iter()
            .map(|data| (data.index, check_records(data.records.as_ref(), version, transactional)))
            .collect(),
    };
    Produce {
        acks: request.acks,
        timeout_ms: request.timeout_ms,
        topics: request.topic_data.into_iter().map(topic).collect(),
    }
}

fn check_records(records: Option<&Bytes>, version: i16, transactional: bool) -> Result<Batch, ErrorCode> {
    let mut batches = split(records.ok_or(ErrorCode::InvalidRecord)?);
    let batch = batches.next().ok_or(ErrorCode::InvalidRecord)?.map_err(of_wire)?;
    match batches.next() {
        None => {}
        Some(Ok(_)) => return Err(ErrorCode::InvalidRecord),
        Some(Err(error)) => return Err(of_wire(error)),
    }
    batch.validate_from_client(u32::MAX, false)?;
    if batch.header.record_count == 0 {
        return Err(ErrorCode::InvalidRecord);
    }
    if version < ZSTD_FROM && batch.header.codec() == Ok(Codec::Zstd) {
        return Err(ErrorCode::UnsupportedCompressionType);
    }
    if transactional || batch.header.is_transactional() {
        return Err(ErrorCode::InvalidTxnState);
    }
    Ok(batch)
}

fn of_wire(error: WireError) -> ErrorCode {
    match error {
        WireError::BadMagic(_) => ErrorCode::UnsupportedForMessageFormat,
        _ => ErrorCode::CorruptMessage,
    }
}

/// Reads a request of versions 0 to 2: version 3 without its first field. Every partition is told 35.
pub(crate) fn decode_old(body: &Bytes) -> Result<Produce, WireError> {
    let mut whole = BytesMut::with_capacity(body.len() + 2);
    whole.put_i16(-1);
    whole.extend_from_slice(body);
    let request = ProduceRequest::decode(&mut whole.freeze(), *ProduceRequest::VERSIONS.start())?;
    let mut produce = check(request, *ProduceRequest::VERSIONS.start());
    for (_, checked) in produce.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        *checked = Err(ErrorCode::UnsupportedVersion);
    }
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
}

impl Node {
    pub(crate) fn produce(&mut self, token: Token, head: Head, request: Produce, cx: &mut Cx) {
        let (response, places) = skeleton(&request);
        let (acks, remaining) = (request.acks, places.len() + 1);
        let open = OpenProduce { token: Some(token), head, acks, failed: false, remaining, response, places };
        let key = self.api.produces.insert(open);
        let deadline_ns = cx.now.after_ms(u64::try_from(request.timeout_ms).unwrap_or(0));
        let mut place = 0;
        for topic in request.topics {
            for (index, checked) in topic.partitions {
                let ticket = self.api.tickets.insert((key, place));
                match self.admit(acks, &topic.name, topic.id, index, checked) {
                    Err(error) => self.produced(ticket, Err(error), cx),
                    Ok((slot, batch)) => {
                        let open = self.api.produces.get_mut(key).expect("it is being handed out");
                        open.places[place as usize].slot = Some(slot);
                        let event = Event::Produce { ticket, acks, batches: vec![batch], deadline_ns };
                        self.step_replica(slot, event, cx);
                    }
                }
                place += 1;
            }
        }
        self.produce_part_done(key, cx);
    }

    /// Whose batch it is, if it may be appended at all.
    fn admit(
        &self,
        acks: i16,
        name: &str,
        id: Uuid,
        index: i32,
        checked: Result<Batch, ErrorCode>,
    ) -> Result<(u32, Batch), ErrorCode> {
        let batch = checked?;
        if !(-1..=1).contains(&acks) {
            return Err(ErrorCode::InvalidRequiredAcks);
        }
        Ok((self.replica_of(name, id, index)?, batch))
    }

    /// A replica answered for its partition.
    pub(crate) fn produced(&mut self, ticket: u64, result: Result<Produced, ErrorCode>, cx: &mut Cx) {
        let (key, place) = self.api.tickets.remove(ticket).expect("a ticket is answered once");
        let open = self.api.produces.get_mut(key).expect("open until every partition answered");
        let Place { topic, partition, slot } = open.places[place as usize];
        let answer = &mut open.response.responses[topic as usize].partition_responses[partition as usize];
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
        let Place { topic, partition, .. } = open.places[place as usize];
        let answer = &mut open.response.responses[topic as usize].partition_responses[partition as usize];
        answer.current_leader = LeaderIdAndEpoch { leader_id: leader.0, leader_epoch: epoch };
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
        let none = |(index, _): &(i32, Result<Batch, ErrorCode>)| PartitionProduceResponse {
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
