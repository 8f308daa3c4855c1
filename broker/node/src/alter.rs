//! The queue of proposed ISR changes (KIP-497): one AlterPartition request under way, with all that was proposed before.

use crate::io::SendError;
use crate::node::{Cx, Node, SendUse};
use crate::request::OutBody;
use crate::response::decode_answer;
use crate::timers::Timer;
use bytes::Bytes;
use klamm_base::{ErrorCode, NodeId, TopicPartition};
use klamm_replica::{AlterFailure, AlterProposal, AlteredPartition, Event};
use klamm_wire::messages::alter_partition_request::{BrokerState, PartitionData, TopicData};
use klamm_wire::messages::alter_partition_response::PartitionData as Altered;
use klamm_wire::messages::{AlterPartitionRequest, AlterPartitionResponse};

/// By topic id, with broker epochs (KIP-903).
const VERSION: i16 = 3;
/// After a lost request or one that the controller refused as a whole.
const RETRY_MS: u64 = 50;

/// What waits.
#[derive(Debug, Default)]
pub(crate) struct AlterQueue {
    waiting: Vec<(u32, AlterProposal)>,
    in_flight: bool,
    not_before: u64,
}

impl AlterQueue {
    /// A replica wants its ISR changed; it has at most one proposal open.
    pub(crate) fn propose(&mut self, slot: u32, proposal: AlterProposal) {
        assert!(self.waiting.iter().all(|(other, _)| *other != slot), "one proposal a partition");
        self.waiting.push((slot, proposal));
    }

    /// Waiting after a failure is over; the end of the step sends.
    pub(crate) fn wake(&mut self) {
        self.not_before = 0;
    }
}

impl Node {
    pub(crate) fn send_alters(&mut self, cx: &mut Cx) {
        let queue = &mut self.alters;
        if queue.in_flight || queue.waiting.is_empty() || queue.not_before > cx.now.mono_ns || !self.phase.serves() {
            return;
        }
        queue.in_flight = true;
        let waiting = std::mem::take(&mut queue.waiting);
        let mut slots = Vec::with_capacity(waiting.len());
        let mut topics: Vec<TopicData> = Vec::new();
        for (slot, proposal) in waiting {
            slots.push(slot);
            let tp = self.partitions.slot(slot).tp;
            let partition = self.proposed(tp.partition, proposal);
            match topics.iter_mut().find(|topic| topic.topic_id == tp.topic) {
                Some(topic) => topic.partitions.push(partition),
                None => topics.push(TopicData { topic_id: tp.topic, partitions: vec![partition] }),
            }
        }
        let request =
            AlterPartitionRequest { broker_id: self.config.node.0, broker_epoch: self.lifecycle.broker_epoch, topics };
        let (to, timeout) = (self.config.controller_endpoint.clone(), self.config.request_timeout_ms);
        let body = (VERSION, OutBody::AlterPartition(request));
        self.send(cx, to, "alter-partition", SendUse::Alter(slots), body, timeout);
    }

    fn proposed(&self, partition_index: i32, proposal: AlterProposal) -> PartitionData {
        let member = |(broker, epoch): &(NodeId, i64)| {
            let own = *broker == self.config.node && *epoch < 0;
            let broker_epoch = if own { self.lifecycle.broker_epoch } else { *epoch };
            BrokerState { broker_id: broker.0, broker_epoch }
        };
        PartitionData {
            partition_index,
            leader_epoch: proposal.leader_epoch,
            new_isr_with_epochs: proposal.isr.iter().map(member).collect(),
            leader_recovery_state: i8::from(proposal.recovering),
            partition_epoch: proposal.partition_epoch,
            ..PartitionData::default()
        }
    }

    /// The controller answered, or not. A proposal without an answer of its own is lost: it may have been accepted.
    pub(crate) fn altered(&mut self, slots: &[u32], result: Result<Bytes, SendError>, cx: &mut Cx) {
        self.alters.in_flight = false;
        let answer = result.ok().and_then(|frame| decode_answer::<AlterPartitionResponse>(frame, VERSION).ok());
        let answer = answer.filter(|answer| answer.error_code == 0);
        if answer.is_none() {
            self.alters.not_before = cx.now.after_ms(RETRY_MS);
            self.timers.set(self.alters.not_before, Timer::Alter);
        }
        for &slot in slots {
            let tp = self.partitions.slot(slot).tp;
            let partition = answer.as_ref().and_then(|answer| find(answer, tp));
            let result = partition.map_or(Err(AlterFailure::Lost), altered_partition);
            self.step_replica(slot, Event::AlterAnswer { result }, cx);
        }
    }
}

fn find(answer: &AlterPartitionResponse, tp: TopicPartition) -> Option<&Altered> {
    let topic = answer.topics.iter().find(|topic| topic.topic_id == tp.topic)?;
    topic.partitions.iter().find(|partition| partition.partition_index == tp.partition)
}

fn altered_partition(partition: &Altered) -> Result<AlteredPartition, AlterFailure> {
    match ErrorCode::from_code(partition.error_code) {
        ErrorCode::None => Ok(AlteredPartition {
            leader: Some(NodeId(partition.leader_id)).filter(|leader| leader.0 >= 0),
            leader_epoch: partition.leader_epoch,
            isr: partition.isr.iter().map(|id| NodeId(*id)).collect(),
            partition_epoch: partition.partition_epoch,
            recovering: partition.leader_recovery_state == 1,
        }),
        error => Err(AlterFailure::Code(error)),
    }
}
