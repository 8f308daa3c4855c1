//! Following: answers of the leader, truncation.

use crate::Replica;
use crate::state::{Following, Phase, Standing};
use crate::types::{Command, FollowerAnswer};
use klamm_base::{ErrorCode, Guard, Mark, Now, Observation, Outbox, StartCause, TruncationCause, sometimes};
use klamm_wire::records::{Batch, split_whole};

impl Replica {
    /// Another broker leads, or none.
    pub(crate) fn become_follower(&mut self, out: &mut Outbox<Command>) {
        let leader = self.state.as_ref().and_then(|state| state.leader);
        sometimes!(self.observe, !self.waits.is_empty(), Mark::DeposedWithProduceParked);
        self.refuse_waiting(out);
        self.standing = Standing::Follower(Following { leader, leader_high_watermark: None });
        let (tp, leader_epoch) = (self.config.tp, self.leader_epoch());
        self.observe.note(|| Observation::BecameFollower { tp, leader_epoch, leader });
        // What Kafka did before KIP-101: drop all that is not known to be committed, though the leader may have it.
        if leader.is_some() && !self.guards.stands(Guard::EpochTruncation) {
            self.cut(self.high_watermark, TruncationCause::HighWatermark);
        }
    }

    /// The leader answered. An answer to a question of another time is dropped: of another epoch, from another log end, or while
    /// the log is still changing [R16].
    pub(crate) fn fetch_answered(&mut self, now: Now, answer: FollowerAnswer) {
        let Some(question) = self.next_fetch() else { return };
        if answer.leader_epoch != question.leader_epoch || answer.fetch_offset != question.fetch_offset {
            self.observe.mark(Mark::StaleFetchAnswer);
            return;
        }
        assert_eq!(self.phase, Phase::Live, "an answer to a replica that asks nothing");
        match (answer.error, answer.diverging) {
            // Neither records nor high watermark of such an answer count (KAFKA-14704).
            (ErrorCode::None, Some((epoch, end))) => self.diverged(epoch, end),
            (ErrorCode::None, None) => self.take_records(now, &answer),
            (ErrorCode::OffsetOutOfRange, _) => self.out_of_range(now, &answer),
            // The node waits and asks again; a fenced epoch ends with the next metadata.
            _ => {}
        }
    }

    /// The logs part: cut to where both have the same epoch, as far as one answer tells (KIP-279) [R15]. If this log does not
    /// know the epoch that was named, it is cut to the end of the next lower one, and the next question goes on from there.
    fn diverged(&mut self, epoch: i32, end: i64) {
        if epoch < 0 || end < 0 {
            return;
        }
        let own_end = match self.log().end_offset_for(epoch) {
            Some((own_epoch, own_end)) if own_epoch == epoch => own_end.min(end),
            Some((_, own_end)) => {
                self.observe.mark(Mark::DivergenceInRounds);
                own_end
            }
            None => end,
        };
        let cause = TruncationCause::DivergingEpoch;
        self.cut(own_end.min(self.log_end_offset()), cause);
    }

    /// The leader's log ends below this one's, or begins above it [R17].
    fn out_of_range(&mut self, now: Now, answer: &FollowerAnswer) {
        self.observe.mark(Mark::FollowerOutOfRange);
        let (own_start, own_end) = (self.log_start_offset(), self.log_end_offset());
        let leader_end = answer.diverging.map(|(_, end)| end);
        if let Some(end) = leader_end.filter(|end| (0..own_end).contains(end)) {
            self.cut(end, TruncationCause::OutOfRange);
        } else if answer.log_start_offset > own_end {
            self.begin_anew(now, own_start, answer.log_start_offset);
        }
    }

    fn begin_anew(&mut self, now: Now, own_start: i64, at: i64) {
        let (tp, high_watermark, leader_epoch) = (self.config.tp, self.high_watermark, self.leader_epoch());
        let (to, cause) = (own_start, TruncationCause::OutOfRange);
        self.observe.note(|| Observation::Truncated { tp, to, high_watermark, leader_epoch, cause });
        let log = self.log.as_mut().expect("the log is loaded");
        // It only goes forward: what checkpoints say is less than what will be there, and is put right by the next ones.
        log.truncate_fully_and_start_at(at, &mut self.disk);
        let (to, cause, wall_ms) = (at, StartCause::Leader, now.wall_ms);
        self.observe.note(|| Observation::LogStartMoved { tp, to, cause, wall_ms });
        self.set_high_watermark(at);
        self.clean_only_below();
    }

    fn take_records(&mut self, now: Now, answer: &FollowerAnswer) {
        let expected = self.log_end_offset();
        let batches: Vec<Batch> = self.intact(answer).filter(|batch| batch.header.last_offset() >= expected).collect();
        match batches.first().map(|batch| batch.header.base_offset) {
            // The leader's batch straddles this log's end, so the end is none of the leader's: go back to where the batch begins.
            Some(base) if base < expected => return self.cut(base.max(0), TruncationCause::OutOfRange),
            _ => {}
        }
        let gaps = self.believes_gaps(&batches, expected);
        let log = self.log.as_mut().expect("the log is loaded");
        if log.append_as_follower(now, batches, gaps, &mut self.disk).is_err() {
            // Batches with a hole between: the next answer may be whole.
            return;
        }
        if let Standing::Follower(following) = &mut self.standing {
            following.leader_high_watermark = Some(answer.high_watermark);
        }
        self.follow_high_watermark();
        let start = answer.log_start_offset.min(self.high_watermark);
        let log = self.log.as_mut().expect("the log is loaded");
        log.raise_log_start(now, start, StartCause::Leader, &mut self.disk);
    }

    /// Whether offsets may be missing in what the leader gave. Compaction leaves gaps; elsewhere a base offset may have been
    /// spoilt on its way, which no checksum tells: such a gap is believed when the same one comes again.
    fn believes_gaps(&mut self, batches: &[Batch], expected: i64) -> bool {
        let ends = [expected].into_iter().chain(batches.iter().map(|batch| batch.header.next_offset()));
        let places = ends.zip(batches.iter().map(|batch| batch.header.base_offset));
        let gap = places.into_iter().find(|(end, base)| base > end);
        let before = std::mem::replace(&mut self.gap, gap);
        gap.is_some() && (self.config.log.compact || gap == before)
    }

    /// The answer's batches up to the first that is damaged, or of a later leader than this follower knows.
    fn intact(&self, answer: &FollowerAnswer) -> impl Iterator<Item = Batch> {
        let newest = self.leader_epoch();
        split_whole(&answer.records)
            .map_while(Result::ok)
            .take_while(move |batch| batch.crc_ok() && (0..=newest).contains(&batch.header.partition_leader_epoch))
    }

    /// A follower's high watermark is its leader's, as far as its own log goes [R12].
    pub(crate) fn follow_high_watermark(&mut self) {
        let Standing::Follower(following) = &self.standing else { return };
        if let Some(told) = following.leader_high_watermark {
            let (start, end) = (self.log_start_offset(), self.log_end_offset());
            self.set_high_watermark(told.clamp(start, end));
        }
    }
}
