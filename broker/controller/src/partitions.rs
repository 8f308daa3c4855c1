//! AlterPartition: a leader proposes its ISR (KIP-497, KIP-841, KIP-903; R22).

use crate::PartitionImage;
use crate::draft::Draft;
use crate::elections::ids;
use crate::image::{RECOVERED, RECOVERING};
use klamm_base::{ErrorCode, Mark, NodeId, TopicPartition, Uuid};
use klamm_wire::messages::alter_partition_request::{PartitionData as Proposal, TopicData as ProposedTopic};
use klamm_wire::messages::alter_partition_response::{PartitionData as Answer, TopicData as AnsweredTopic};
use klamm_wire::messages::{AlterPartitionRequest, AlterPartitionResponse};

/// A proposed member of an ISR, with the broker epoch under which the leader saw it; -1 if the leader does not say.
type Member = (NodeId, i64);

impl Draft<'_> {
    /// Takes each proposal that holds up, partition by partition.
    pub(crate) fn alter_partitions(
        &mut self,
        request: &AlterPartitionRequest,
    ) -> Result<AlterPartitionResponse, ErrorCode> {
        self.check_broker_epoch(request.broker_id, request.broker_epoch)?;
        let leader = NodeId(request.broker_id);
        let topics = request.topics.iter().map(|topic| self.alter_topic(leader, topic)).collect();
        Ok(AlterPartitionResponse { topics, ..Default::default() })
    }

    fn alter_topic(&mut self, leader: NodeId, topic: &ProposedTopic) -> AnsweredTopic {
        let answer = |proposal: &Proposal| {
            self.alter_partition(leader, topic.topic_id, proposal).unwrap_or_else(|code| Answer {
                partition_index: proposal.partition_index,
                error_code: code as i16,
                ..Default::default()
            })
        };
        let partitions = topic.partitions.iter().map(answer).collect();
        AnsweredTopic { topic_id: topic.topic_id, partitions }
    }

    fn alter_partition(&mut self, leader: NodeId, topic: Uuid, proposal: &Proposal) -> Result<Answer, ErrorCode> {
        let tp = TopicPartition { topic, partition: proposal.partition_index };
        let partitions = &self.image.topics.get(&topic).ok_or(ErrorCode::UnknownTopicId)?.partitions;
        let partition = partitions.get(&tp.partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let members = members(proposal);
        check_authority(leader, partition, proposal)?;
        check_isr(partition, &members, proposal.leader_recovery_state)?;
        if !members.iter().all(|member| self.is_eligible(*member)) {
            self.observe.mark(Mark::IncarnationRefused);
            return Err(ErrorCode::IneligibleReplica);
        }
        let isr: Vec<NodeId> = members.iter().map(|member| member.0).collect();
        self.settle(tp, &isr, proposal.leader_recovery_state == RECOVERED);
        let settled = self.image.partition(tp).expect("it was there before");
        if settled.leader != Some(leader) {
            return Err(ErrorCode::NewLeaderElected);
        }
        Ok(answer(tp, settled))
    }

    /// In sync may be who is registered under that epoch, unfenced and not shutting down (A06, A08).
    fn is_eligible(&self, (broker, epoch): Member) -> bool {
        let registered = self.image.brokers.get(&broker);
        registered.is_some_and(|state| state.is_active() && (epoch == -1 || epoch == state.epoch))
    }
}

/// Version 3 carries broker epochs, version 2 does not.
fn members(proposal: &Proposal) -> Vec<Member> {
    if proposal.new_isr_with_epochs.is_empty() {
        return proposal.new_isr.iter().map(|id| (NodeId(*id), -1)).collect();
    }
    proposal.new_isr_with_epochs.iter().map(|state| (NodeId(state.broker_id), state.broker_epoch)).collect()
}

/// Compares epochs before anything else. A leader that is ahead of this controller has heard of a newer one.
fn check_authority(leader: NodeId, partition: &PartitionImage, proposal: &Proposal) -> Result<(), ErrorCode> {
    let ahead = proposal.leader_epoch > partition.leader_epoch || proposal.partition_epoch > partition.partition_epoch;
    if ahead {
        Err(ErrorCode::NotController)
    } else if proposal.leader_epoch < partition.leader_epoch {
        Err(ErrorCode::FencedLeaderEpoch)
    } else if partition.leader != Some(leader) {
        Err(ErrorCode::InvalidRequest)
    } else if proposal.partition_epoch < partition.partition_epoch {
        Err(ErrorCode::InvalidUpdateVersion)
    } else {
        Ok(())
    }
}

/// An ISR is a set of replicas with the leader in it, and a leader that recovers is alone in it.
fn check_isr(partition: &PartitionImage, members: &[Member], recovery: i8) -> Result<(), ErrorCode> {
    let distinct = (1..members.len()).all(|n| !members[..n].iter().any(|other| other.0 == members[n].0));
    let replicas = members.iter().all(|member| partition.replicas.contains(&member.0));
    let led = members.iter().any(|member| Some(member.0) == partition.leader);
    let recovering = recovery == RECOVERING;
    let known_state = recovering || recovery == RECOVERED;
    let alone = !recovering || (members.len() == 1 && partition.recovering);
    if distinct && replicas && led && known_state && alone { Ok(()) } else { Err(ErrorCode::InvalidRequest) }
}

fn answer(tp: TopicPartition, partition: &PartitionImage) -> Answer {
    Answer {
        partition_index: tp.partition,
        leader_id: partition.leader.map_or(-1, |leader| leader.0),
        leader_epoch: partition.leader_epoch,
        isr: ids(&partition.isr),
        leader_recovery_state: if partition.recovering { RECOVERING } else { RECOVERED },
        partition_epoch: partition.partition_epoch,
        ..Default::default()
    }
}
