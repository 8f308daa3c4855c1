//! What a log tells whoever judges it.

use crate::producers::Stamp;
use crate::segment::Entry;
use klamm_base::{CleanedBatch, KeyFact, Observation, TopicPartition};
use klamm_wire::records::{Batch, raw_records};

/// A batch is in the log.
pub(crate) fn appended(tp: TopicPartition, entry: &Entry, as_leader: bool, keys: Vec<KeyFact>) -> Observation {
    Observation::Appended {
        tp,
        base_offset: entry.base_offset,
        last_offset: entry.last_offset,
        leader_epoch: entry.leader_epoch,
        batch: entry.identity,
        as_leader,
        position: entry.position,
        bytes: entry.size,
        producer: entry.stamp.map(Stamp::sequences),
        max_timestamp: entry.max_timestamp,
        keys,
    }
}

/// The keys of a whole batch of data; nothing of one that a clean has changed, whose records are not all there.
pub(crate) fn keys(batch: &Batch) -> Vec<KeyFact> {
    let header = &batch.header;
    let is_whole = header.record_count - 1 == header.last_offset_delta;
    let Some(plain) = batch.unpacked().ok().filter(|_| is_whole && !header.is_control()) else { return Vec::new() };
    let records = raw_records(header, &plain).unwrap_or_default();
    records.iter().map(|record| KeyFact::of(record.key, record.is_tombstone)).collect()
}

/// What a clean made of the batch at `base_offset`: this, or nothing.
pub(crate) fn cleaned(base_offset: i64, left: Option<&Batch>) -> CleanedBatch {
    let kept = left.and_then(|batch| {
        let plain = batch.unpacked().ok()?;
        let records = raw_records(&batch.header, &plain).ok()?;
        Some(records.iter().map(|record| record.offset).collect())
    });
    CleanedBatch {
        base_offset,
        batch: left.map(|batch| batch.header.identity()),
        kept: kept.unwrap_or_default(),
        horizon_ms: left.and_then(|batch| batch.header.delete_horizon()),
    }
}
