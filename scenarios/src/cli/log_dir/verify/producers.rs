//! Producer snapshots and transaction indexes, against a rebuild from the log.

use klamm_log::format::{
    EndMarker, ProducerEntry, ProducerTable, SNAPSHOT_ENTRY_BYTES, SNAPSHOT_HEAD_BYTES, TXN_ENTRY_BYTES, TxnEntry,
};
use klamm_wire::records::BatchHeader;
use std::collections::{BTreeMap, BTreeSet};

/// The producers as the log tells them so far.
///
/// A log that lost its beginning (retention) or its middle (compaction) does not tell all. Then a snapshot may say more than the
/// batches that are left, but never less.
pub struct Producers {
    table: ProducerTable,
    /// Nothing of the log is missing so far.
    complete: bool,
    next_offset: i64,
}

impl Producers {
    /// Of a log whose first segment begins at `base_offset`, if there is any.
    pub fn new(base_offset: i64, any: bool) -> Self {
        Self { table: ProducerTable::default(), complete: any && base_offset == 0, next_offset: base_offset }
    }

    /// The next batch; the transaction that it aborts.
    pub fn batch(&mut self, header: &BatchHeader, marker: Option<EndMarker>) -> Option<TxnEntry> {
        self.complete &= header.base_offset == self.next_offset
            && i64::from(header.record_count) == i64::from(header.last_offset_delta) + 1;
        self.next_offset = header.next_offset();
        self.table.push(header, marker)
    }

    /// True if the log tells everything up to here.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Holds a snapshot against what the log tells at its offset, and goes on with what the snapshot says: it knows which producers
    /// were forgotten meanwhile. Returns the byte of each producer that is wrong, and what is.
    pub fn snapshot(&mut self, producers: &[ProducerEntry]) -> Vec<(u64, String)> {
        let mut wrong = Vec::new();
        let mut mine: BTreeMap<i64, ProducerEntry> =
            self.table.snapshot().into_iter().map(|entry| (entry.producer_id, entry)).collect();
        let mut at = SNAPSHOT_HEAD_BYTES as u64;
        for entry in producers {
            let what = match mine.remove(&entry.producer_id) {
                Some(own) => differs(&own, entry, self.complete),
                None if self.complete => Some("the log has no batch of it".to_owned()),
                None => None,
            };
            wrong.extend(what.map(|what| (at, format!("producer {}: {what}", entry.producer_id))));
            at += SNAPSHOT_ENTRY_BYTES as u64;
        }
        for missing in mine.values().filter(|entry| entry.txn_first_offset.is_some() && self.complete) {
            let (id, first) = (missing.producer_id, missing.txn_first_offset.unwrap_or(-1));
            wrong.push((at, format!("producer {id} is missing, whose transaction is open since offset {first}")));
        }
        if wrong.is_empty() {
            self.table = ProducerTable::from_snapshot(producers);
        }
        wrong
    }
}

fn differs(own: &ProducerEntry, entry: &ProducerEntry, complete: bool) -> Option<String> {
    // Who was forgotten and wrote again has no coordinator any more.
    let coordinator_epoch = if entry.coordinator_epoch < 0 { -1 } else { own.coordinator_epoch };
    let own = &ProducerEntry { coordinator_epoch, ..*own };
    let behind = entry.last_offset < own.last_offset;
    if own == entry || !(complete || behind) {
        return None;
    }
    let fields = [
        ("epoch", i64::from(entry.producer_epoch), i64::from(own.producer_epoch)),
        ("last sequence", i64::from(entry.last_sequence), i64::from(own.last_sequence)),
        ("last offset", entry.last_offset, own.last_offset),
        ("offset delta", i64::from(entry.offset_delta), i64::from(own.offset_delta)),
        ("timestamp", entry.timestamp, own.timestamp),
        ("coordinator epoch", i64::from(entry.coordinator_epoch), i64::from(own.coordinator_epoch)),
        ("open transaction's first offset", entry.txn_first_offset.unwrap_or(-1), own.txn_first_offset.unwrap_or(-1)),
    ];
    let (name, found, expected) = fields.into_iter().find(|(_, found, expected)| found != expected)?;
    Some(format!("{name} {found}, but the log gives {expected}"))
}

/// Holds a segment's transaction index against the transactions that the log aborted there.
pub fn check_txn_index(found: &[TxnEntry], expected: &[TxnEntry], complete: bool) -> Vec<(u64, i64, String)> {
    let at = |index: usize| (index * TXN_ENTRY_BYTES) as u64;
    let mut wrong = Vec::new();
    let by_end: BTreeMap<i64, &TxnEntry> = expected.iter().map(|own| (own.last_offset, own)).collect();
    for (index, entry) in found.iter().enumerate() {
        let what = match by_end.get(&entry.last_offset) {
            Some(own) if !same(own, entry, complete) => Some(format!("{}, but the log has {}", told(entry), told(own))),
            None if complete => Some(format!("{}, but the log has no such transaction", told(entry))),
            _ => None,
        };
        wrong.extend(what.map(|what| (at(index), entry.last_offset, what)));
    }
    let ends: BTreeSet<i64> = found.iter().map(|entry| entry.last_offset).collect();
    for own in expected {
        if !ends.contains(&own.last_offset) {
            let before = found.partition_point(|entry| entry.last_offset < own.last_offset);
            wrong.push((at(before), own.last_offset, format!("missing: {}", told(own))));
        }
    }
    wrong
}

/// A follower, which writes several batches at once, may have seen a transaction begin behind the marker; then the last stable
/// offset is that one's first.
fn same(own: &TxnEntry, entry: &TxnEntry, complete: bool) -> bool {
    let whose = own.producer_id == entry.producer_id;
    let none_open = own.last_stable_offset == own.last_offset + 1;
    let stable = own.last_stable_offset == entry.last_stable_offset
        || none_open && entry.last_stable_offset > own.last_stable_offset;
    whose && (!complete || own.first_offset == entry.first_offset && stable)
}

fn told(entry: &TxnEntry) -> String {
    let TxnEntry { producer_id, first_offset, last_offset, last_stable_offset } = entry;
    format!(
        "a transaction of producer {producer_id} from {first_offset} to {last_offset}, stable to {last_stable_offset}"
    )
}
