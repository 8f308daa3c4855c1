//! What a clean does to one batch.

use super::{OffsetMap, Verdicts};
use crate::format::TxnEntry;
use klamm_base::{Guard, Guards};
use klamm_wire::WireError;
use klamm_wire::records::{Batch, BatchHeader, RawRecord, raw_records};
use std::collections::{BTreeMap, BTreeSet};

/// What the log's newest state says of a producer that lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastOf {
    /// Offset of its last data record; `None` if only a marker of its epoch is known.
    pub(crate) last_data_offset: Option<i64>,
    /// Its epoch.
    pub(crate) epoch: i16,
}

/// What a clean goes by.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// Last offsets of the dirty keys.
    pub(crate) keys: OffsetMap,
    /// Producers that live, by id.
    pub(crate) producers: BTreeMap<i64, LastOf>,
    /// Where the uncleanable part of the log begins.
    pub(crate) upper_bound: i64,
    /// Wall clock in milliseconds when the clean began.
    pub(crate) now_ms: i64,
    /// `delete.retention.ms`.
    pub(crate) delete_retention_ms: i64,
    /// Which protections stand.
    pub(crate) guards: Guards,
}

/// What is left of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// All of it, byte for byte.
    Same,
    /// These bytes instead.
    Changed(Batch),
    /// Nothing.
    Nothing,
}

/// Decides, batch by batch in the order of their offsets from the start of the log, what stays.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    rules: Rules,
    verdicts: Verdicts,
}

impl Filter {
    /// A filter for a log with these aborted transactions.
    pub(crate) fn new(rules: Rules, aborted: Vec<TxnEntry>) -> Self {
        Self { rules, verdicts: Verdicts::new(aborted) }
    }

    /// The log begins inside of transactions of these producers.
    pub(crate) fn beginning_inside(mut self, producers: BTreeSet<i64>) -> Self {
        self.verdicts.begin_inside(producers);
        self
    }

    /// Takes the next batch.
    ///
    /// # Errors
    /// What is wrong with the batch's bytes: such a log cannot be cleaned.
    pub(crate) fn take(&mut self, batch: &Batch) -> Result<Left, WireError> {
        let unwanted = self.verdicts.take(batch)?;
        let header = &batch.header;
        let whole = if header.is_control() { self.rules.marker_may_go(header, unwanted) } else { unwanted };
        let stays = self.rules.must_stay(header);
        if whole {
            return Ok(if stays { emptied(batch) } else { Left::Nothing });
        }
        let plain = batch.unpacked()?;
        let all = raw_records(header, &plain)?;
        let count = all.len();
        let kept: Vec<RawRecord<'_>> =
            all.into_iter().filter(|record| header.is_control() || self.rules.keeps(header, record)).collect();
        if kept.is_empty() {
            return Ok(if stays { emptied(batch) } else { Left::Nothing });
        }
        let set = header.delete_horizon();
        let goes_one_day = kept.iter().any(|record| record.is_tombstone) || (header.is_control() && unwanted);
        let horizon = set.or_else(|| goes_one_day.then(|| self.rules.horizon()));
        if kept.len() == count && horizon == set {
            return Ok(Left::Same);
        }
        Ok(Left::Changed(header.keeping(&kept, horizon)))
    }
}

impl Rules {
    /// A marker goes when all data of its transaction is gone *and* its horizon has passed: until then a reader in the
    /// middle of the transaction may need it (KIP-534).
    fn marker_may_go(&self, header: &BatchHeader, unwanted: bool) -> bool {
        !self.guards.stands(Guard::MarkerHorizon) || (unwanted && self.horizon_has_passed(header))
    }

    /// A tombstone goes when its horizon has passed: until then a slow reader may still learn of the deletion (KIP-534).
    fn tombstone_may_go(&self, header: &BatchHeader) -> bool {
        !self.guards.stands(Guard::TombstoneHorizon) || self.horizon_has_passed(header)
    }

    fn horizon_has_passed(&self, header: &BatchHeader) -> bool {
        header.delete_horizon().is_some_and(|horizon| horizon <= self.now_ms)
    }

    /// Where the horizon of a batch that needs one lies if it is set now.
    fn horizon(&self) -> i64 {
        self.now_ms.saturating_add(self.delete_retention_ms)
    }

    /// A data record stays if it is the last one with its key. One behind the map was not looked at; one without a key
    /// has no place in a compacted log [L24].
    fn keeps(&self, header: &BatchHeader, record: &RawRecord<'_>) -> bool {
        if record.offset >= self.keys.end() {
            return true;
        }
        let Some(key) = record.key else { return false };
        let is_last = self.keys.last(key).is_none_or(|last| record.offset >= last);
        is_last && (!record.is_tombstone || !self.tombstone_may_go(header))
    }

    /// True if the batch must stay, if only as a header: it tells the last sequence (or the epoch) of a producer that lives
    /// [L6], or where the cleaned part of the log ends.
    fn must_stay(&self, header: &BatchHeader) -> bool {
        let last_of_producer =
            self.producers.get(&header.producer_id).is_some_and(|last| match last.last_data_offset {
                Some(offset) => header.last_offset() == offset,
                None => header.is_control() && header.producer_epoch == last.epoch,
            });
        let is_told = header.has_producer() && last_of_producer && self.guards.stands(Guard::ProducerLastBatch);
        header.next_offset() == self.upper_bound || is_told
    }
}

fn emptied(batch: &Batch) -> Left {
    let empty = batch.header.emptied();
    if empty.bytes == batch.bytes { Left::Same } else { Left::Changed(empty) }
}
