//! Fetch, by followers and consumers (R6 to R13). No sessions: every answer carries session id 0, with which clients go on
//! sending full requests (KIP-227).

use crate::io::Token;
use crate::node::{Cx, Node};
use crate::purgatory::{Item, OpenFetch, Shape};
use crate::request::Head;
use crate::response::Answer;
use bytes::Bytes;
use klamm_base::{ErrorCode, NodeId};
use klamm_replica::{Event, FetchAnswerOut, FetchQuery};
use klamm_wire::messages::fetch_request::FetchPartition;
use klamm_wire::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use klamm_wire::messages::{FetchRequest, FetchResponse};

/// First version whose answers name the new leader and where it listens (KIP-951).
const LEADER_HINT_FROM: i16 = 16;

impl Node {
    /// Followers are acknowledged first; then the request is answered, or waits for data.
    pub(crate) fn fetch(&mut self, token: Token, head: Head, request: FetchRequest, cx: &mut Cx) {
        let replica = follower(&request);
        let open = self.open_fetch(token, head, &request, replica);
        if replica.is_some() {
            for item in &open.items {
                if let Ok(slot) = item.slot {
                    self.step_replica(slot, Event::FollowerFetched(item.query.clone()), cx);
                }
            }
        }
        let key = self.purgatory.open.insert(open);
        let wait_ms = u64::try_from(request.max_wait_ms).unwrap_or(0);
        match self.first_look(key, cx) || wait_ms == 0 {
            true => self.read(key, cx),
            false => self.park(key, cx.now.after_ms(wait_ms)),
        }
    }

    fn open_fetch(
        &self,
        token: Token,
        head: Head,
        request: &FetchRequest,
        replica: Option<(NodeId, i64)>,
    ) -> OpenFetch {
        let mut items = Vec::with_capacity(request.topics.iter().map(|topic| topic.partitions.len()).sum());
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            topics.push(Shape { name: topic.topic.clone(), id: topic.topic_id, count: topic.partitions.len() });
            items.extend(topic.partitions.iter().map(|asked| {
                let slot = self.replica_of(&topic.topic, topic.topic_id, asked.partition);
                Item::new(asked.partition, slot, query(request, asked, replica))
            }));
        }
        let max_bytes = request.max_bytes.clamp(0, self.config.fetch_max_bytes as i32) as u32;
        OpenFetch::new(token, head, items, topics, u64::try_from(request.min_bytes).unwrap_or(0), max_bytes)
    }

    /// Reads all partitions, within the request's limit; the first that has data gives at least one batch (KIP-74).
    pub(crate) fn read(&mut self, key: u64, cx: &mut Cx) {
        let open = self.purgatory.open.get_mut(key).expect("an open fetch is read");
        let count = open.begin_reading();
        let (mut budget, mut at_least_one) = (open.max_bytes, true);
        for place in 0..count {
            let open = self.purgatory.open.get_mut(key).expect("open until every partition answered");
            let item = &mut open.items[place];
            match item.slot {
                Err(error) => {
                    item.data.error_code = error as i16;
                    item.data.high_watermark = -1;
                    self.fetch_part_done(key, cx);
                }
                Ok(slot) => {
                    let mut query = item.query.clone();
                    query.max_bytes = query.max_bytes.min(budget);
                    query.at_least_one = at_least_one;
                    at_least_one &= item.bytes == 0;
                    budget -= budget.min(u32::try_from(item.bytes).unwrap_or(u32::MAX));
                    let ticket = self.api.tickets.insert((key, place as u32));
                    self.step_replica(slot, Event::Fetch { ticket, query }, cx);
                }
            }
        }
        self.fetch_part_done(key, cx);
    }

    /// A replica answered for its partition.
    pub(crate) fn fetched(&mut self, ticket: u64, answer: FetchAnswerOut, cx: &mut Cx) {
        let (key, place) = self.api.tickets.remove(ticket).expect("a ticket is answered once");
        let open = self.purgatory.open.get_mut(key).expect("open until every partition answered");
        let item = &mut open.items[place as usize];
        let follower = item.query.replica.is_some();
        let data = &mut item.data;
        data.error_code = answer.error as i16;
        data.high_watermark = answer.high_watermark;
        data.last_stable_offset = answer.last_stable_offset;
        data.log_start_offset = answer.log_start_offset;
        if let Some((epoch, end_offset)) = answer.diverging.filter(|_| follower || answer.error == ErrorCode::None) {
            data.diverging_epoch = EpochEndOffset { epoch, end_offset };
        }
        let aborted = |(producer_id, first_offset)| AbortedTransaction { producer_id, first_offset };
        data.aborted_transactions = answer.aborted.map(|list| list.into_iter().map(aborted).collect());
        data.records = Some(answer.records);
        self.fetch_part_done(key, cx);
    }

    fn fetch_part_done(&mut self, key: u64, cx: &mut Cx) {
        let open = self.purgatory.open.get_mut(key).expect("open until every partition answered");
        if open.part_done() {
            let open = self.purgatory.open.remove(key).expect("it was just there");
            self.answer_fetch(open, cx);
        }
    }

    fn answer_fetch(&self, open: OpenFetch, cx: &mut Cx) {
        let (head, token) = (open.head, open.token);
        let Some(token) = token else { return };
        let mut response =
            FetchResponse { responses: Vec::with_capacity(open.topics.len()), ..FetchResponse::default() };
        let mut items = open.items.into_iter();
        for topic in open.topics {
            let mut partitions = Vec::with_capacity(topic.count);
            for item in items.by_ref().take(topic.count) {
                let mut data = item.data;
                if wants_leader(head, data.error_code) {
                    self.hint_fetch_leader(item.slot, &mut data, &mut response.node_endpoints);
                }
                partitions.push(data);
            }
            response.responses.push(FetchableTopicResponse { topic: topic.name, topic_id: topic.id, partitions });
        }
        cx.reply(token, head, Answer::Fetch(response));
    }

    /// Tells a consumer that came to the wrong broker where the leader is (KIP-951).
    fn hint_fetch_leader(
        &self,
        slot: Result<u32, ErrorCode>,
        data: &mut PartitionData,
        endpoints: &mut Vec<NodeEndpoint>,
    ) {
        let Some((leader, leader_epoch)) = slot.ok().and_then(|slot| self.known_leader(slot)) else { return };
        let Some(endpoint) = self.broker_endpoint(leader) else { return };
        data.current_leader = LeaderIdAndEpoch { leader_id: leader.0, leader_epoch };
        if endpoints.iter().all(|node| node.node_id != leader.0) {
            let (host, port) = (endpoint.host, i32::from(endpoint.port));
            endpoints.push(NodeEndpoint { node_id: leader.0, host, port, rack: None });
        }
    }

    /// Leader and its epoch as metadata has them.
    pub(super) fn known_leader(&self, slot: u32) -> Option<(NodeId, i32)> {
        let partition = self.metadata.image.partition(self.partitions.slot(slot).tp)?;
        partition.leader.map(|leader| (leader, partition.leader_epoch))
    }
}

fn wants_leader(head: Head, error: i16) -> bool {
    head.version >= LEADER_HINT_FROM
        && matches!(ErrorCode::from_code(error), ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch)
}

/// Who fetches: a follower with its broker epoch (KIP-903), or a consumer. Versions differ in where they say it.
fn follower(request: &FetchRequest) -> Option<(NodeId, i64)> {
    let id = request.replica_state.replica_id.max(request.replica_id);
    (id >= 0).then_some((NodeId(id), request.replica_state.replica_epoch))
}

fn query(request: &FetchRequest, asked: &FetchPartition, replica: Option<(NodeId, i64)>) -> FetchQuery {
    FetchQuery {
        replica,
        current_leader_epoch: asked.current_leader_epoch,
        fetch_offset: asked.fetch_offset,
        last_fetched_epoch: asked.last_fetched_epoch,
        log_start_offset: asked.log_start_offset,
        max_bytes: u32::try_from(asked.partition_max_bytes).unwrap_or(0),
        at_least_one: true,
        read_committed: request.isolation_level == 1,
    }
}

/// The answer for a partition before its replica fills it in.
pub(crate) fn empty(partition_index: i32) -> PartitionData {
    PartitionData {
        partition_index,
        high_watermark: -1,
        preferred_read_replica: -1,
        aborted_transactions: None,
        records: Some(Bytes::new()),
        ..PartitionData::default()
    }
}
