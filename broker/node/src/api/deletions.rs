//! DeleteRecords (KIP-107).

use crate::io::Token;
use crate::node::{Cx, Node};
use crate::request::Head;
use crate::response::Answer;
use klamm_base::{ErrorCode, Uuid};
use klamm_replica::Event;
use klamm_wire::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use klamm_wire::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

/// A DeleteRecords request whose partitions answer one by one.
#[derive(Debug)]
pub(crate) struct OpenDeletion {
    token: Option<Token>,
    head: Head,
    /// Partitions that have not answered, and one for the request itself while it is handed out.
    remaining: usize,
    response: DeleteRecordsResponse,
    places: Vec<(u32, u32)>,
}

impl OpenDeletion {
    pub(crate) fn gone(&mut self, token: Token) {
        self.token.take_if(|open| *open == token);
    }
}

impl Node {
    pub(crate) fn delete_records(&mut self, token: Token, head: Head, request: &DeleteRecordsRequest, cx: &mut Cx) {
        let (response, places) = skeleton(request);
        let remaining = places.len() + 1;
        let key = self.api.deletions.insert(OpenDeletion { token: Some(token), head, remaining, response, places });
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
        self.deletion_part_done(key, cx);
    }

    /// A replica answered for its partition.
    pub(crate) fn records_deleted(&mut self, ticket: u64, result: Result<i64, ErrorCode>, cx: &mut Cx) {
        let (key, place) = self.api.tickets.remove(ticket).expect("a ticket is answered once");
        let open = self.api.deletions.get_mut(key).expect("open until every partition answered");
        let (topic, partition) = open.places[place as usize];
        let answer = &mut open.response.topics[topic as usize].partitions[partition as usize];
        match result {
            Ok(low_watermark) => answer.low_watermark = low_watermark,
            Err(error) => answer.error_code = error as i16,
        }
        self.deletion_part_done(key, cx);
    }

    fn deletion_part_done(&mut self, key: u64, cx: &mut Cx) {
        let open = self.api.deletions.get_mut(key).expect("open until every partition answered");
        open.remaining -= 1;
        if open.remaining == 0 {
            let open = self.api.deletions.remove(key).expect("it was just there");
            if let Some(token) = open.token {
                cx.reply(token, open.head, Answer::DeleteRecords(open.response));
            }
        }
    }
}

/// The answer's shape, and where in it each partition of the request stands.
fn skeleton(request: &DeleteRecordsRequest) -> (DeleteRecordsResponse, Vec<(u32, u32)>) {
    let mut places = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for (t, topic) in request.topics.iter().enumerate() {
        places.extend((0..topic.partitions.len()).map(|p| (t as u32, p as u32)));
        let partitions = topic.partitions.iter().map(|asked| DeleteRecordsPartitionResult {
            partition_index: asked.partition_index,
            low_watermark: -1,
            ..DeleteRecordsPartitionResult::default()
        });
        topics.push(DeleteRecordsTopicResult { name: topic.name.clone(), partitions: partitions.collect() });
    }
    (DeleteRecordsResponse { topics, ..DeleteRecordsResponse::default() }, places)
}
