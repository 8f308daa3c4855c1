//! ListOffsets.

use crate::Replica;
use crate::state::{OpenLookup, OpenRead, Search, Standing};
use crate::types::Command;
use bytes::Bytes;
use klamm_base::{ErrorCode, Outbox};
use klamm_log::{ReadError, TimestampHit};
use klamm_wire::records::{Batch, Record, records};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
/// Timestamp, offset and leader epoch of an answer that found nothing.
const NOTHING: (i64, i64, i32) = (-1, -1, -1);

/// Who asks, and so which records count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// All that is in the log.
    Broker,
    /// All that is committed; of transactions, if wanted, only what is decided.
    Client { read_committed: bool },
}

type Listed = Result<(i64, i64, i32), ErrorCode>;

impl Replica {
    pub(crate) fn list_offsets(
        &mut self,
        ticket: u64,
        current_leader_epoch: i32,
        timestamp: i64,
        asker: Asker,
        out: &mut Outbox<Command>,
    ) {
        let admitted = self.check_leader_epoch(current_leader_epoch).and_then(|()| self.check_leader());
        let result = match (admitted, timestamp) {
            (Err(error), _) => Err(error),
            (Ok(()), LATEST) => self.latest(asker),
            (Ok(()), EARLIEST | EARLIEST_LOCAL) => {
                let start = self.log_start_offset();
                Ok((-1, start, self.log().epoch_at(start).unwrap_or(-1)))
            }
            (Ok(()), MAX_TIMESTAMP | 0..) => return self.look_up(Search::new(ticket, timestamp, asker), out),
            (Ok(()), _) => Err(ErrorCode::InvalidRequest),
        };
        out.push(Command::OffsetListed { ticket, result });
    }

    fn limit(&self, asker: Asker) -> i64 {
        match asker {
            Asker::Broker => self.log_end_offset(),
            Asker::Client { read_committed: false } => self.high_watermark,
            Asker::Client { read_committed: true } => self.log().last_stable_offset(self.high_watermark),
        }
    }

    /// Until a new leader's high watermark has reached the start of its epoch, it may lie behind one that was told before
    /// (KIP-207) [R14].
    fn latest(&self, asker: Asker) -> Listed {
        self.check_latest(asker)?;
        Ok((-1, self.limit(asker), self.leader_epoch()))
    }

    fn check_latest(&self, asker: Asker) -> Result<(), ErrorCode> {
        let Standing::Leader(leader) = &self.standing else { return Err(ErrorCode::NotLeaderOrFollower) };
        let behind = asker != Asker::Broker && self.high_watermark < leader.epoch_start;
        if behind { Err(ErrorCode::OffsetNotAvailable) } else { Ok(()) }
    }

    /// Finds the batch in memory and reads it for the record.
    fn look_up(&mut self, search: Search, out: &mut Outbox<Command>) {
        let below = self.limit(search.asker);
        let log = self.log.as_mut().expect("a leader's log is loaded");
        let log_start = log.log_start_offset();
        let hit = match search.timestamp {
            MAX_TIMESTAMP => {
                log.find_max_timestamp(below, search.after.as_ref()).filter(|hit| search.is_beaten_by(hit))
            }
            time => {
                let from = search.after.map_or(log_start, |hit| log_start.max(hit.last_offset + 1));
                log.find_by_timestamp(time, from, below)
            }
        };
        let plan = hit.and_then(|hit| Some((hit, log.plan_read(hit.base_offset.max(log_start), 0, below, true)?)));
        let Some((hit, plan)) = plan else {
            let result = self.check_latest(search.asker).map(|()| search.greatest.unwrap_or(NOTHING));
            return out.push(Command::OffsetListed { ticket: search.ticket, result });
        };
        let read = log.start_read(plan, &mut self.disk);
        let open = OpenLookup { search, leader_epoch: self.leader_epoch(), hit };
        self.reads.push((read, OpenRead::Timestamp(open)));
    }

    pub(crate) fn lookup_read(
        &mut self,
        open: OpenLookup,
        result: Result<Bytes, ReadError>,
        out: &mut Outbox<Command>,
    ) {
        let OpenLookup { search, leader_epoch, hit } = open;
        let still_leads = self.check_leader().is_ok() && self.leader_epoch() == leader_epoch;
        let found = match result {
            _ if !still_leads => Err(ErrorCode::NotLeaderOrFollower),
            Err(ReadError::Again) => {
                let anew = Search { after: None, greatest: None, ..search };
                return self.look_up(anew, out);
            }
            Err(ReadError::Storage(_)) => Err(ErrorCode::KafkaStorageError),
            Err(ReadError::Corrupt { .. }) => Err(ErrorCode::CorruptMessage),
            Ok(data) => best_of(&data, self.log_start_offset(), search.wants(&hit)),
        };
        let result = match found {
            Err(error) => Err(error),
            Ok(Some(record)) if record.timestamp >= search.wants(&hit) => {
                Ok((record.timestamp, record.offset, hit.leader_epoch))
            }
            Ok(other) => return self.look_up(search.past(hit, other.as_ref()), out),
        };
        out.push(Command::OffsetListed { ticket: search.ticket, result });
    }
}

impl Search {
    /// A search that has not begun.
    fn new(ticket: u64, timestamp: i64, asker: Asker) -> Search {
        Search { ticket, asker, timestamp, after: None, greatest: None }
    }

    /// The timestamp that a record of this batch must have at least.
    fn wants(&self, hit: &TimestampHit) -> i64 {
        if self.timestamp == MAX_TIMESTAMP { hit.max_timestamp } else { self.timestamp }
    }

    /// The batch may hold a greater timestamp than all that was seen.
    fn is_beaten_by(&self, hit: &TimestampHit) -> bool {
        self.greatest.is_none_or(|(timestamp, ..)| hit.max_timestamp > timestamp)
    }

    /// The search behind a batch that had nothing better than `seen`.
    fn past(self, hit: TimestampHit, seen: Option<&Record>) -> Search {
        let seen = seen.filter(|_| self.timestamp == MAX_TIMESTAMP);
        let seen = seen.map(|record| (record.timestamp, record.offset, hit.leader_epoch));
        let greatest = match (self.greatest, seen) {
            (Some(before), Some(seen)) if before.0 >= seen.0 => Some(before),
            (before, seen) => seen.or(before),
        };
        Search { after: Some(hit), greatest, ..self }
    }
}

/// Of the records of a batch from `start` on the first one with at least this timestamp; if there is none, the one with the
/// greatest.
fn best_of(data: &Bytes, start: i64, timestamp: i64) -> Result<Option<Record>, ErrorCode> {
    let batch = Batch::parse(data).map_err(|_| ErrorCode::CorruptMessage)?;
    let mut best: Option<Record> = None;
    for record in records(&batch) {
        let record = record.map_err(|_| ErrorCode::CorruptMessage)?;
        if record.offset < start {
            continue;
        }
        if record.timestamp >= timestamp {
            return Ok(Some(record));
        }
        if best.as_ref().is_none_or(|best| record.timestamp > best.timestamp) {
            best = Some(record);
        }
    }
    Ok(best)
}
