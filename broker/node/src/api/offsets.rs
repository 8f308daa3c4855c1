//! ListOffsets and OffsetForLeaderEpoch.

use crate::io::Token;
use crate::node::{Cx, Node};
use crate::request::Head;
use crate::response::Answer;
use klamm_base::{ErrorCode, Uuid};
use klamm_replica::Event;
use klamm_wire::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use klamm_wire::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use klamm_wire::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};

/// A ListOffsets request whose partitions answer one by one.
#[derive(Debug)]
pub(crate) struct OpenListing {
    token: Option<Token>,
    head: Head,
    /// Partitions that have not answered, and one for the request itself while it is handed out.
    remaining: usize,
    response: ListOffsetsResponse,
    places: Vec<(u32, u32)>,
}

impl OpenListing {
    pub(crate) fn gone(&mut self, token: Token) {
        self.token.take_if(|open| *open == token);
    }
}

impl Node {
    pub(crate) fn list_offsets(&mut self, token: Token, head: Head, request: ListOffsetsRequest, cx: &mut Cx) {
        let (response, places) = listing_skeleton(&request);
        let remaining = places.len() + 1;
        let open = OpenListing { token: Some(token), head, remaining, response, places };
        let key = self.api.listings.insert(open);
        let from_client = request.replica_id < 0;
        let read_committed = request.isolation_level == 1;
        let asked = request.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |p| (&topic.name, p)));
        for (place, (name, partition)) in asked.enumerate() {
            let ticket = self.api.tickets.insert((key, place as u32));
            let (current_leader_epoch, timestamp) = (partition.current_leader_epoch, partition.timestamp);
            match self.replica_of(name, Uuid::ZERO, partition.partition_index) {
                Err(error) => self.offset_listed(ticket, Err(error), cx),
                Ok(slot) => {
                    let event =
                        Event::ListOffsets { ticket, current_leader_epoch, timestamp, read_committed, from_client };
                    self.step_replica(slot, event, cx);
                }
            }
        }
        self.listing_part_done(key, cx);
    }

    /// A replica answered for its partition.
    pub(crate) fn offset_listed(&mut self, ticket: u64, result: Result<(i64, i64, i32), ErrorCode>, cx: &mut Cx) {
        let (key, place) = self.api.tickets.remove(ticket).expect("a ticket is answered once");
        let open = self.api.listings.get_mut(key).expect("open until every partition answered");
        let (topic, partition) = open.places[place as usize];
        let answer = &mut open.response.topics[topic as usize].partitions[partition as usize];
        match result {
            Ok((timestamp, offset, leader_epoch)) => {
                (answer.timestamp, answer.offset, answer.leader_epoch) = (timestamp, offset, leader_epoch);
            }
            Err(error) => answer.error_code = error as i16,
        }
        self.listing_part_done(key, cx);
    }

    fn listing_part_done(&mut self, key: u64, cx: &mut Cx) {
        let open = self.api.listings.get_mut(key).expect("open until every partition answered");
        open.remaining -= 1;
        if open.remaining == 0 {
            let open = self.api.listings.remove(key).expect("it was just there");
            if let Some(token) = open.token {
                cx.reply(token, open.head, Answer::ListOffsets(open.response));
            }
        }
    }

    /// Where leader epochs end, from memory (KIP-101, KIP-320).
    pub(crate) fn epoch_ends(&mut self, token: Token, head: Head, request: &OffsetForLeaderEpochRequest, cx: &mut Cx) {
        let end = |name: &str, partition: i32, current: i32, epoch: i32| {
            let slot = self.replica_of(name, Uuid::ZERO, partition)?;
            self.partitions.slot(slot).replica.epoch_end(current, epoch)
        };
        let topics = request.topics.iter().map(|topic| OffsetForLeaderTopicResult {
            topic: topic.topic.clone(),
            partitions: topic
                .partitions
                .iter()
                .map(|asked| {
                    let result = end(&topic.topic, asked.partition, asked.current_leader_epoch, asked.leader_epoch);
                    epoch_end_answer(asked.partition, result)
                })
                .collect(),
        });
        let response = OffsetForLeaderEpochResponse { topics: topics.collect(), ..Default::default() };
        cx.reply(token, head, Answer::OffsetForLeaderEpoch(response));
    }
}

fn epoch_end_answer(partition: i32, result: Result<(i32, i64), ErrorCode>) -> EpochEndOffset {
    match result {
        Ok((leader_epoch, end_offset)) => EpochEndOffset { error_code: 0, partition, leader_epoch, end_offset },
        Err(error) => EpochEndOffset { error_code: error as i16, partition, ..EpochEndOffset::default() },
    }
}

/// The answer's shape, and where in it each partition of the request stands.
fn listing_skeleton(request: &ListOffsetsRequest) -> (ListOffsetsResponse, Vec<(u32, u32)>) {
    let mut places = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for (t, topic) in request.topics.iter().enumerate() {
        places.extend((0..topic.partitions.len()).map(|p| (t as u32, p as u32)));
        let partitions = topic.partitions.iter().map(|asked| ListOffsetsPartitionResponse {
            partition_index: asked.partition_index,
            ..ListOffsetsPartitionResponse::default()
        });
        topics.push(ListOffsetsTopicResponse { name: topic.name.clone(), partitions: partitions.collect() });
    }
    (ListOffsetsResponse { topics, ..ListOffsetsResponse::default() }, places)
}
