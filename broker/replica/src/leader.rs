//! Leading: produces, the high watermark, the ISR.

use crate::Replica;
use crate::isr::{Isr, Status};
use crate::state::{Leader, Peer, Phase, Standing};
use crate::types::{AlterFailure, AlterProposal, AlteredPartition, Command, FetchQuery, Produced};
use crate::waits::Wait;
use klamm_base::{ErrorCode, Guard, Mark, NodeId, Now, Observation, Outbox, sometimes};
use klamm_log::ProducerCheck;
use klamm_wire::records::Batch;
use std::collections::BTreeMap;

/// How long a proposal rests that did not reach the controller, in milliseconds.
const ALTER_RETRY_MS: u64 = 50;

/// Where a produced batch stands in the log.
struct Placed {
    base_offset: i64,
    last_offset: i64,
    /// It was there before.
    duplicate: bool,
    /// Milliseconds; -1 if the producer's own timestamps stand.
    append_time: i64,
}

impl Replica {
    /// Elected. The leadership begins when all writes are done, so that its epoch begins at the log's true end.
    pub(crate) fn assume(&mut self, now: Now, out: &mut Outbox<Command>) {
        self.standing = Standing::Assuming;
        self.assume_if_quiet(now, out);
    }

    pub(crate) fn assume_if_quiet(&mut self, now: Now, out: &mut Outbox<Command>) {
        let assuming = self.phase == Phase::Live && matches!(self.standing, Standing::Assuming);
        if assuming && self.log().quiet() {
            self.become_leader(now, out);
        }
    }

    fn become_leader(&mut self, now: Now, out: &mut Outbox<Command>) {
        let (state, log) = (self.state.as_ref().expect("elected"), self.log.as_mut().expect("loaded"));
        let (leader_epoch, epoch_start) = (state.leader_epoch, log.log_end_offset());
        log.assign_epoch(leader_epoch, epoch_start, &mut self.disk);
        let isr = Isr::new(&state.isr);
        let others = state.replicas.iter().filter(|node| **node != self.config.node);
        let peers = others.map(|node| (*node, Peer::new(isr.in_maximal(*node), now.wall_ms))).collect();
        let next_check_ns = now.after_ms(self.check_period_ms());
        self.standing = Standing::Leader(Box::new(Leader { epoch_start, isr, peers, next_check_ns, noted: None }));
        let tp = self.config.tp;
        self.observe.note(|| Observation::BecameLeader { tp, leader_epoch, epoch_start });
        // What it knows as committed from an earlier role or a checkpoint it serves from now on.
        let to = self.high_watermark;
        if to > 0 {
            self.observe.note(|| Observation::HighWatermark { tp, to, leader_epoch, as_leader: true });
        }
        self.note_isr();
        self.advance(now, out);
    }

    /// Metadata changed within the leader epoch; `newer` says that the partition epoch grew.
    pub(crate) fn state_changed(&mut self, now: Now, newer: bool, out: &mut Outbox<Command>) {
        let (Standing::Leader(leader), Some(state)) = (&mut self.standing, &self.state) else { return };
        if newer {
            leader.isr.commit(&state.isr);
            let old = std::mem::take(&mut leader.peers);
            let others = state.replicas.iter().filter(|node| **node != self.config.node);
            let peer = |node: &NodeId| old.get(node).copied().unwrap_or(Peer::new(false, now.wall_ms));
            leader.peers = others.map(|node| (*node, peer(node))).collect::<BTreeMap<_, _>>();
        }
        self.note_isr();
        self.advance(now, out);
        // Whoever is gone holds no deletion back.
        self.answer_deletions(out);
    }

    pub(crate) fn produce(
        &mut self,
        now: Now,
        ticket: u64,
        acks: i16,
        batches: Vec<Batch>,
        deadline_ns: u64,
        out: &mut Outbox<Command>,
    ) {
        match self.try_produce(now, acks, batches) {
            Err(error) => out.push(Command::Produced { ticket, result: Err(error) }),
            Ok(Placed { base_offset, last_offset, duplicate, append_time }) => {
                self.waits.add(Wait { ticket, base_offset, last_offset, acks, duplicate, append_time, deadline_ns });
                self.answer_ready(out);
            }
        }
    }

    /// Checks in Kafka's order [R1, R2]: leader, then enough in-sync replicas, then duplicates, then the append.
    fn try_produce(&mut self, now: Now, acks: i16, batches: Vec<Batch>) -> Result<Placed, ErrorCode> {
        self.check_leader()?;
        if !(-1..=1).contains(&acks) {
            return Err(ErrorCode::InvalidRequiredAcks);
        }
        if acks == -1 && self.is_under_min_isr() {
            self.observe.mark(Mark::NotEnoughReplicas);
            return Err(ErrorCode::NotEnoughReplicas);
        }
        // A produce request holds exactly one batch for a partition, or its sequence could not be checked.
        let [batch] = batches.as_slice() else { return Err(ErrorCode::InvalidRecord) };
        let (leader_epoch, log) = (self.leader_epoch(), self.log.as_mut().expect("a leader's log is loaded"));
        match log.check_producer(batch, now) {
            ProducerCheck::Refuse(error) => Err(error),
            ProducerCheck::Duplicate { base_offset, last_offset, max_timestamp } => {
                Ok(Placed { base_offset, last_offset, duplicate: true, append_time: max_timestamp })
            }
            ProducerCheck::Accept => {
                let append_time = if batch.header.is_append_time() { batch.header.max_timestamp } else { -1 };
                let (base_offset, last_offset) = log.append_as_leader(now, batches, leader_epoch, &mut self.disk)?;
                Ok(Placed { base_offset, last_offset, duplicate: false, append_time })
            }
        }
    }

    fn is_under_min_isr(&self) -> bool {
        let (Standing::Leader(leader), Some(state)) = (&self.standing, &self.state) else { return true };
        let wanted = usize::try_from(self.config.min_insync_replicas).unwrap_or(0).min(state.replicas.len());
        leader.isr.committed().len() < wanted
    }

    /// Answers every produce whose time has come.
    fn answer_ready(&mut self, out: &mut Outbox<Command>) {
        let (log_end, high_watermark) = (self.log_end_offset(), self.high_watermark);
        while let Some(wait) = self.waits.pop_ready(log_end, high_watermark) {
            self.acknowledge(wait, out);
        }
    }

    fn acknowledge(&self, wait: Wait, out: &mut Outbox<Command>) {
        let Wait { ticket, base_offset, last_offset, acks, duplicate, append_time, .. } = wait;
        assert!(last_offset < self.log_end_offset(), "an acknowledgement before the write was done");
        assert!(acks != -1 || last_offset < self.high_watermark, "an acknowledgement before the commit");
        sometimes!(self.observe, duplicate, Mark::DuplicateAnswered);
        let (tp, leader_epoch) = (self.config.tp, self.leader_epoch());
        if acks != 0 {
            self.observe.note(|| Observation::ProduceAcked {
                tp,
                base_offset,
                last_offset,
                acks,
                leader_epoch,
                duplicate,
            });
        }
        let log_start_offset = self.log_start_offset();
        let produced = Produced { base_offset, log_start_offset, append_time };
        out.push(Command::Produced { ticket, result: Ok(produced) });
    }

    /// A follower asked for more: it has all below its fetch offset [R9], unless its log is another than this one's.
    pub(crate) fn follower_fetched(&mut self, now: Now, query: &FetchQuery, out: &mut Outbox<Command>) {
        let (Some((node, broker_epoch)), Ok(_)) = (query.replica, self.examine(query)) else { return };
        let leader_end = self.log_end_offset();
        let Standing::Leader(leader) = &mut self.standing else { return };
        let Some(peer) = leader.peers.get_mut(&node) else { return };
        peer.fetched(query.fetch_offset, leader_end, broker_epoch, now.wall_ms);
        peer.log_start = query.log_start_offset;
        self.expand(node, out);
        self.advance(now, out);
        self.answer_deletions(out);
    }

    /// Moves the high watermark as far as it may go [R11], and answers what waited for it.
    pub(crate) fn advance(&mut self, now: Now, out: &mut Outbox<Command>) {
        if self.check_leader().is_err() {
            return;
        }
        let to = if self.is_under_min_isr() { self.high_watermark } else { self.least_end(now) };
        // Monotone: a new follower of the ISR may be behind what is committed until it has fetched once.
        if to > self.high_watermark {
            self.set_high_watermark(to);
        }
        self.answer_ready(out);
    }

    /// The least log end of this leader, of the maximal ISR, and of eligible followers about to join it.
    fn least_end(&self, now: Now) -> i64 {
        let own_end = self.log_end_offset();
        let (Standing::Leader(leader), Some(state)) = (&self.standing, &self.state) else { return own_end };
        let lag_ms = self.config.replica_lag_time_max_ms;
        let confirmed = self.guards.stands(Guard::ConfirmedIsrShrink);
        let counts = |node: NodeId, peer: &Peer| {
            leader.isr.counts(node, confirmed)
                || (peer.is_caught_up(own_end, now.wall_ms, lag_ms) && state.is_eligible(node, peer.broker_epoch))
        };
        let counted = leader.peers.iter().filter(|(node, peer)| counts(**node, peer));
        counted.map(|(_, peer)| peer.log_end).fold(own_end, i64::min)
    }

    /// Proposes `node` for the ISR if it has all that is committed and all from before this leader's epoch [R20].
    fn expand(&mut self, node: NodeId, out: &mut Outbox<Command>) {
        let (Standing::Leader(leader), Some(state)) = (&self.standing, &self.state) else { return };
        let Some(peer) = leader.peers.get(&node) else { return };
        let in_sync = peer.log_end >= self.high_watermark && peer.log_end >= leader.epoch_start;
        let free = leader.isr.change().is_none() && !self.alter_open;
        if free && in_sync && !leader.isr.in_maximal(node) && state.is_eligible(node, peer.broker_epoch) {
            let members = leader.isr.committed().iter().copied().chain([node]).collect();
            self.propose(members, out);
        }
    }

    /// Proposes an ISR without those that lag [R19].
    fn shrink(&mut self, now: Now, out: &mut Outbox<Command>) {
        let leader_end = self.log_end_offset();
        let Standing::Leader(leader) = &self.standing else { return };
        if leader.isr.change().is_some() || self.alter_open {
            return;
        }
        let lag_ms = self.config.replica_lag_time_max_ms;
        let stays = |node: &NodeId| {
            let peer = leader.peers.get(node);
            *node == self.config.node || peer.is_some_and(|p| p.is_caught_up(leader_end, now.wall_ms, lag_ms))
        };
        let committed = leader.isr.committed();
        let members: Vec<NodeId> = committed.iter().copied().filter(|node| stays(node)).collect();
        if members.len() < committed.len() {
            self.propose(members, out);
        }
    }

    fn propose(&mut self, members: Vec<NodeId>, out: &mut Outbox<Command>) {
        let Standing::Leader(leader) = &mut self.standing else { return };
        leader.isr.propose(members);
        self.ask_alter(out);
        self.note_isr();
    }

    fn ask_alter(&mut self, out: &mut Outbox<Command>) {
        assert!(!self.alter_open, "two AlterPartition requests at once");
        let (Standing::Leader(leader), Some(state)) = (&self.standing, &self.state) else { return };
        let Some(change) = leader.isr.change() else { return };
        let broker_epoch = |node: &NodeId| match leader.peers.get(node) {
            Some(peer) => peer.broker_epoch,
            None => state.eligible_epoch(*node).unwrap_or(-1),
        };
        let isr = change.proposed.iter().map(|node| (*node, broker_epoch(node))).collect();
        let (leader_epoch, partition_epoch) = (state.leader_epoch, state.partition_epoch);
        self.alter_open = true;
        out.push(Command::Alter(AlterProposal { leader_epoch, partition_epoch, isr, recovering: false }));
    }

    /// The controller answered, or did not [R23].
    pub(crate) fn alter_answered(
        &mut self,
        now: Now,
        result: Result<AlteredPartition, AlterFailure>,
        out: &mut Outbox<Command>,
    ) {
        assert!(self.alter_open, "an answer to no proposal: {result:?}");
        self.alter_open = false;
        match result {
            Ok(altered) => self.altered(&altered),
            Err(failure) => self.not_altered(now, failure),
        }
        self.note_isr();
        self.advance(now, out);
    }

    /// An answer is applied only in its own leader epoch, and only if metadata has told nothing newer.
    fn altered(&mut self, altered: &AlteredPartition) {
        let (Standing::Leader(leader), Some(state)) = (&mut self.standing, &mut self.state) else { return };
        let same_leadership = altered.leader_epoch == state.leader_epoch && altered.leader == state.leader;
        if !same_leadership || altered.partition_epoch < state.partition_epoch {
            self.observe.mark(Mark::IsrAnswerStale);
            return;
        }
        state.isr.clone_from(&altered.isr);
        state.partition_epoch = altered.partition_epoch;
        state.recovering = altered.recovering;
        leader.isr.commit(&altered.isr);
    }

    fn not_altered(&mut self, now: Now, failure: AlterFailure) {
        let Standing::Leader(leader) = &mut self.standing else { return };
        self.observe.mark(match failure {
            AlterFailure::Lost => Mark::IsrProposalLost,
            AlterFailure::Code(_) => Mark::IsrProposalRefused,
        });
        match failure {
            AlterFailure::Code(ErrorCode::IneligibleReplica) => leader.isr.revert(),
            AlterFailure::Code(
                ErrorCode::FencedLeaderEpoch
                | ErrorCode::InvalidUpdateVersion
                | ErrorCode::UnknownTopicOrPartition
                | ErrorCode::UnknownTopicId
                | ErrorCode::InvalidRequest
                | ErrorCode::NewLeaderElected,
            ) => leader.isr.set_status(Status::AwaitsMetadata),
            AlterFailure::Code(_) | AlterFailure::Lost => {
                leader.isr.set_status(Status::RetryAt(now.after_ms(ALTER_RETRY_MS)));
            }
        }
    }

    pub(crate) fn leader_deadline(&self) -> Option<u64> {
        let Standing::Leader(leader) = &self.standing else { return None };
        if self.phase != Phase::Live {
            return None;
        }
        let retry = leader.isr.change().and_then(|change| match change.status {
            Status::RetryAt(at) if !self.alter_open => Some(at),
            _ => None,
        });
        let check = (!leader.peers.is_empty()).then_some(leader.next_check_ns);
        [retry, check].into_iter().flatten().min()
    }

    pub(crate) fn deadline_came(&mut self, now: Now, out: &mut Outbox<Command>) {
        while let Some(wait) = self.waits.pop_expired(now.mono_ns) {
            sometimes!(self.observe, self.is_under_min_isr(), Mark::TimedOutBelowMinIsr);
            let result = Err(ErrorCode::RequestTimedOut);
            out.push(Command::Produced { ticket: wait.ticket, result });
        }
        self.expire_deletions(now, out);
        if let Some(log) = self.log.as_mut().filter(|_| self.phase == Phase::Live) {
            log.deadline_came(now, &mut self.disk);
        }
        if self.check_leader().is_ok() {
            self.retry_alter(now, out);
            self.check_lag(now, out);
        }
        assert!(self.deadline().is_none_or(|at| at > now.mono_ns), "a deadline that does not end");
    }

    fn retry_alter(&mut self, now: Now, out: &mut Outbox<Command>) {
        let Standing::Leader(leader) = &mut self.standing else { return };
        let due = leader.isr.change().is_some_and(|c| matches!(c.status, Status::RetryAt(at) if at <= now.mono_ns));
        if due && !self.alter_open {
            leader.isr.set_status(Status::Asked);
            self.ask_alter(out);
        }
    }

    fn check_lag(&mut self, now: Now, out: &mut Outbox<Command>) {
        let period_ms = self.check_period_ms();
        let Standing::Leader(leader) = &mut self.standing else { return };
        if leader.next_check_ns <= now.mono_ns {
            leader.next_check_ns = now.after_ms(period_ms);
            self.shrink(now, out);
            // A follower that was about to join and fell silent holds the high watermark back no longer.
            self.advance(now, out);
        }
    }

    fn check_period_ms(&self) -> u64 {
        u64::try_from(self.config.replica_lag_time_max_ms / 2).unwrap_or(0).max(1)
    }

    fn note_isr(&mut self) {
        let leader_epoch = self.leader_epoch();
        let Standing::Leader(leader) = &mut self.standing else { return };
        let (committed, maximal) = (leader.isr.committed().to_vec(), leader.isr.maximal());
        let noted = Some((committed.clone(), maximal.clone()));
        if noted != leader.noted {
            leader.noted = noted;
            let tp = self.config.tp;
            self.observe.note(|| Observation::LeaderIsr { tp, leader_epoch, committed, maximal });
        }
    }
}
