//! ListOffsets and OffsetForLeaderEpoch.

use super::parts::OpenParts;
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

impl Node {
    pub(crate) fn list_offsets(&mut self, token: Token, head: Head, request: ListOffsetsRequest, cx: &mut Cx) {
        let counts = request.topics.iter().map(|topic| topic.partitions.len());
        let key = self.api.listings.insert(OpenParts::new(token, head, listing_skeleton(&request), counts));
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
        self.api.listings.part_done(key, Answer::ListOffsets, cx);
    }

    /// A replica answered for its partition.
    pub(crate) fn offset_listed(&mut self, ticket: u64, result: Result<(i64, i64, i32), ErrorCode>, cx: &mut Cx) {
        let (key, place) = self.api.tickets.remove(ticket).expect("a ticket is answered once");
        let open = self.api.listings.get_mut(key).expect("open until every partition answered");
        let (topic, partition) = open.place(place);
        let answer = &mut open.response.topics[topic].partitions[partition];
        match result {
            Ok((timestamp, offset, leader_epoch)) => {
                (answer.timestamp, answer.offset, answer.leader_epoch) = (timestamp, offset, leader_epoch);
            }
            Err(error) => answer.error_code = error as i16,
        }
        self.api.listings.part_done(key, Answer::ListOffsets, cx);
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

/// The answer's shape.
fn listing_skeleton(request: &ListOffsetsRequest) -> ListOffsetsResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| ListOffsetsPartitionResponse {
            partition_index: asked.partition_index,
            ..ListOffsetsPartitionResponse::default()
        });
        ListOffsetsTopicResponse { name: topic.name.clone(), partitions: partitions.collect() }
    });
    ListOffsetsResponse { topics: topics.collect(), ..ListOffsetsResponse::default() }
}
