//! ListOffsets.

use crate::Replica;
use crate::state::{OpenLookup, OpenRead, Standing};
use crate::types::Command;
use bytes::Bytes;
use klamm_base::{ErrorCode, Outbox};
use klamm_log::ReadError;
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
            (Ok(()), MAX_TIMESTAMP | 0..) => return self.look_up(ticket, timestamp, asker, out),
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
    fn look_up(&mut self, ticket: u64, timestamp: i64, asker: Asker, out: &mut Outbox<Command>) {
        let below = self.limit(asker);
        let log = self.log.as_mut().expect("a leader's log is loaded");
        let hit = match timestamp {
            MAX_TIMESTAMP => log.find_max_timestamp(below),
            time => log.find_by_timestamp(time, below),
        };
        let plan = hit.and_then(|hit| Some((hit, log.plan_read(hit.base_offset, 0, below, true)?)));
        let Some((hit, plan)) = plan else {
            let result = self.check_latest(asker).map(|()| NOTHING);
            return out.push(Command::OffsetListed { ticket, result });
        };
        let at_least = if timestamp == MAX_TIMESTAMP { hit.max_timestamp } else { timestamp };
        let read = log.start_read(plan, &mut self.disk);
        let (leader_epoch, record_epoch) = (self.leader_epoch(), hit.leader_epoch);
        let open = OpenLookup { ticket, leader_epoch, asker, timestamp, at_least, record_epoch };
        self.reads.push((read, OpenRead::Timestamp(open)));
    }

    pub(crate) fn lookup_read(
        &mut self,
        open: OpenLookup,
        result: Result<Bytes, ReadError>,
        out: &mut Outbox<Command>,
    ) {
        let still_leads = self.check_leader().is_ok() && self.leader_epoch() == open.leader_epoch;
        let result = match result {
            _ if !still_leads => Err(ErrorCode::NotLeaderOrFollower),
            Err(ReadError::Again) => return self.look_up(open.ticket, open.timestamp, open.asker, out),
            Err(ReadError::Storage(_)) => Err(ErrorCode::KafkaStorageError),
            Err(ReadError::Corrupt { .. }) => Err(ErrorCode::CorruptMessage),
            Ok(data) => first_at_least(&data, open.at_least)
                .map(|found| found.map_or(NOTHING, |record| (record.timestamp, record.offset, open.record_epoch))),
        };
        out.push(Command::OffsetListed { ticket: open.ticket, result });
    }
}

/// The first record of a batch with at least this timestamp.
fn first_at_least(data: &Bytes, timestamp: i64) -> Result<Option<Record>, ErrorCode> {
    let batch = Batch::parse(data).map_err(|_| ErrorCode::CorruptMessage)?;
    for record in records(&batch) {
        let record = record.map_err(|_| ErrorCode::CorruptMessage)?;
        if record.timestamp >= timestamp {
            return Ok(Some(record));
        }
    }
    Ok(None)
}
