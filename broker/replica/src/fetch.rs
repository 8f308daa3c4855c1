//! Answering fetches.

use crate::Replica;
use crate::state::{Bounds, OpenFetch, OpenRead};
use crate::types::{Available, Command, FetchAnswerOut, FetchQuery};
use bytes::Bytes;
use klamm_base::{ErrorCode, Guard, Mark, NodeId, Now, Observation, Outbox, Ticket, sometimes};
use klamm_log::ReadError;

impl Replica {
    /// Whether a parked fetch should be answered, and what it would get [R13].
    pub fn available(&self, query: &FetchQuery, _now: Now) -> Available {
        match self.examine(query) {
            Err(_) => Available { bytes: 0, answer_now: true },
            Ok(bounds) => {
                let FetchQuery { fetch_offset, max_bytes, at_least_one, .. } = *query;
                let bytes = self.log().readable_bytes(fetch_offset, max_bytes, bounds.below, at_least_one);
                Available { bytes, answer_now: false }
            }
        }
    }

    /// Checks a fetch in Kafka's order: epoch and role [R7], who asks [R9], divergence [R8], range. The bounds, if records may be
    /// given; else the answer.
    pub(crate) fn examine(&self, query: &FetchQuery) -> Result<Bounds, Box<FetchAnswerOut>> {
        let admitted = self.check_leader_epoch(query.current_leader_epoch).and_then(|()| self.check_leader());
        let admitted = admitted.and_then(|()| query.replica.map_or(Ok(()), |replica| self.check_replica(replica)));
        admitted.map_err(|error| Box::new(refused(error)))?;
        let (log, high_watermark) = (self.log(), self.high_watermark);
        let (log_start, log_end) = (log.log_start_offset(), log.log_end_offset());
        let last_stable_offset = log.last_stable_offset(high_watermark);
        let below = match query.replica {
            Some(_) => log_end,
            None if query.read_committed => last_stable_offset,
            None => high_watermark,
        };
        let leader_epoch = self.leader_epoch();
        let bounds = Bounds { leader_epoch, high_watermark, log_start, last_stable_offset, below };
        if query.last_fetched_epoch >= 0 && self.guards.stands(Guard::RecordEpochs) {
            match log.end_offset_for(query.last_fetched_epoch) {
                None => return Err(Box::new(self.out_of_range_answer(&bounds))),
                Some((epoch, end)) if epoch < query.last_fetched_epoch || end < query.fetch_offset => {
                    return Err(Box::new(FetchAnswerOut { diverging: Some((epoch, end)), ..empty(&bounds) }));
                }
                Some(_) => {}
            }
        }
        if (log_start..=log_end).contains(&query.fetch_offset) {
            Ok(bounds)
        } else {
            Err(Box::new(self.out_of_range_answer(&bounds)))
        }
    }

    /// A follower must be one of this partition's replicas, and not an incarnation that metadata has replaced.
    fn check_replica(&self, (node, broker_epoch): (NodeId, i64)) -> Result<(), ErrorCode> {
        let Some(state) = &self.state else { return Err(ErrorCode::NotLeaderOrFollower) };
        if !state.replicas.contains(&node) || node == self.config.node {
            return Err(ErrorCode::UnknownLeaderEpoch);
        }
        let replaced = broker_epoch != -1 && state.eligible_epoch(node).is_some_and(|known| known > broker_epoch);
        if replaced { Err(ErrorCode::NotLeaderOrFollower) } else { Ok(()) }
    }

    /// OFFSET_OUT_OF_RANGE, with the last epoch and the log's end in the place of a divergence: a follower without epochs has no
    /// other way to learn where this log ends [R17].
    fn out_of_range_answer(&self, bounds: &Bounds) -> FetchAnswerOut {
        let log = self.log();
        let diverging = log.latest_epoch().map(|epoch| (epoch, log.log_end_offset()));
        FetchAnswerOut { error: ErrorCode::OffsetOutOfRange, diverging, ..empty(bounds) }
    }

    pub(crate) fn serve(&mut self, ticket: u64, query: FetchQuery, out: &mut Outbox<Command>) {
        let bounds = match self.examine(&query) {
            Ok(bounds) => bounds,
            Err(answer) => {
                sometimes!(self.observe, answer.error == ErrorCode::FencedLeaderEpoch, Mark::FetchFenced);
                return out.push(Command::Fetched { ticket, answer: *answer });
            }
        };
        let log = self.log.as_mut().expect("a leader's log is loaded");
        let Some(plan) = log.plan_read(query.fetch_offset, query.max_bytes, bounds.below, query.at_least_one) else {
            return out.push(Command::Fetched { ticket, answer: empty(&bounds) });
        };
        let end_offset = plan.end_offset();
        let read = log.start_read(plan, &mut self.disk);
        self.reads.push((read, OpenRead::Fetch(OpenFetch { ticket, query, bounds, end_offset })));
    }

    pub(crate) fn read_done(&mut self, read: Ticket, result: Result<Bytes, ReadError>, out: &mut Outbox<Command>) {
        let at = self.reads.iter().position(|(ticket, _)| *ticket == read);
        match self.reads.swap_remove(at.unwrap_or_else(|| panic!("read {read:?} was for nothing"))).1 {
            OpenRead::Fetch(open) => self.fetch_read(open, result, out),
            OpenRead::Timestamp(open) => self.lookup_read(open, result, out),
        }
    }

    fn fetch_read(&mut self, open: OpenFetch, result: Result<Bytes, ReadError>, out: &mut Outbox<Command>) {
        let OpenFetch { ticket, query, bounds, end_offset } = open;
        let still_leads = self.check_leader().is_ok() && self.leader_epoch() == bounds.leader_epoch;
        let answer = match result {
            _ if !still_leads => refused(ErrorCode::NotLeaderOrFollower),
            Err(ReadError::Again) => return self.serve(ticket, query, out),
            Err(ReadError::Storage(_)) => refused(ErrorCode::KafkaStorageError),
            Err(ReadError::Corrupt { .. }) => refused(ErrorCode::CorruptMessage),
            Ok(records) => {
                self.note_served(&query, &bounds, end_offset);
                let aborted = query.read_committed.then(|| self.aborted(query.fetch_offset, end_offset));
                FetchAnswerOut { records, aborted, ..empty(&bounds) }
            }
        };
        out.push(Command::Fetched { ticket, answer });
    }

    fn aborted(&self, from: i64, to: i64) -> Vec<(i64, i64)> {
        self.log().aborted_within(from, to).map(|aborted| (aborted.producer_id, aborted.first_offset)).collect()
    }

    fn note_served(&self, query: &FetchQuery, bounds: &Bounds, to: i64) {
        if query.replica.is_none() {
            let (tp, from, high_watermark) = (self.config.tp, query.fetch_offset, bounds.high_watermark);
            assert!(to <= high_watermark, "a consumer was given what is not committed");
            self.observe.note(|| Observation::FetchServed { tp, from, to, high_watermark });
        }
    }

    /// Where `epoch` ends in this leader's log, `(-1, -1)` if that is not known (OffsetsForLeaderEpoch) [L14].
    ///
    /// # Errors
    /// FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH, NOT_LEADER_OR_FOLLOWER, KAFKA_STORAGE_ERROR.
    pub fn epoch_end(&self, current_leader_epoch: i32, epoch: i32) -> Result<(i32, i64), ErrorCode> {
        self.check_leader_epoch(current_leader_epoch)?;
        self.check_leader()?;
        Ok(self.log().end_offset_for(epoch).unwrap_or((-1, -1)))
    }
}

fn empty(bounds: &Bounds) -> FetchAnswerOut {
    FetchAnswerOut {
        error: ErrorCode::None,
        diverging: None,
        high_watermark: bounds.high_watermark,
        last_stable_offset: bounds.last_stable_offset,
        log_start_offset: bounds.log_start,
        records: Bytes::new(),
        aborted: None,
    }
}

fn refused(error: ErrorCode) -> FetchAnswerOut {
    let (high_watermark, last_stable_offset, log_start_offset) = (-1, -1, -1);
    let (diverging, records) = (None, Bytes::new());
    let aborted = None;
    FetchAnswerOut { error, diverging, high_watermark, last_stable_offset, log_start_offset, records, aborted }
}
