//! DeleteRecords (KIP-107).

use super::parts::OpenParts;
use crate::io::Token;
use crate::node::{Cx, Node};
use crate::request::Head;
use crate::response::Answer;
use klamm_base::{ErrorCode, Uuid};
use klamm_replica::Event;
use klamm_wire::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use klamm_wire::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

impl Node {
    pub(crate) fn delete_records(&mut self, token: Token, head: Head, request: &DeleteRecordsRequest, cx: &mut Cx) {
        let counts = request.topics.iter().map(|topic| topic.partitions.len());
        let key = self.api.deletions.insert(OpenParts::new(token, head, skeleton(request), counts));
        let deadline_ns = cx.now.after_ms(u64::try_from(request.timeout_ms).unwrap_or(0));
        let asked = request.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |p| (&topic.name, p)));
        for (place, (name, partition)) in asked.enumerate() {
            let ticket = self.api.tickets.insert((key, place as u32));
            match self.replica_of(name, Uuid::ZERO, partition.partition_index) {
                Err(error) => self.records_deleted(ticket, Err(error), cx),
                Ok(slot) => {
                    let event = Event::DeleteRecords { ticket, offset: partition.offset, deadline_ns };
                    self.step_replica(slot, event, cx);
                }
            }
        }
        self.api.deletions.part_done(key, Answer::DeleteRecords, cx);
    }

    /// A replica answered for its partition.
    pub(crate) fn records_deleted(&mut self, ticket: u64, result: Result<i64, ErrorCode>, cx: &mut Cx) {
        let (key, place) = self.api.tickets.remove(ticket).expect("a ticket is answered once");
        let open = self.api.deletions.get_mut(key).expect("open until every partition answered");
        let (topic, partition) = open.place(place);
        let answer = &mut open.response.topics[topic].partitions[partition];
        match result {
            Ok(low_watermark) => answer.low_watermark = low_watermark,
            Err(error) => answer.error_code = error as i16,
        }
        self.api.deletions.part_done(key, Answer::DeleteRecords, cx);
    }
}

/// The answer's shape.
fn skeleton(request: &DeleteRecordsRequest) -> DeleteRecordsResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| DeleteRecordsPartitionResult {
            partition_index: asked.partition_index,
            low_watermark: -1,
            ..DeleteRecordsPartitionResult::default()
        });
        DeleteRecordsTopicResult { name: topic.name.clone(), partitions: partitions.collect() }
    });
    DeleteRecordsResponse { topics: topics.collect(), ..DeleteRecordsResponse::default() }
}
