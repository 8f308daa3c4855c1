//! Which transaction a batch belongs to, and how it ended, as a pass over the log sees it.

use crate::format::{EndMarker, TxnEntry};
use klamm_wire::WireError;
use klamm_wire::records::Batch;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Follows the transactions of a log while its batches go by in the order of their offsets. All of them must be decided: a
/// clean ends below the last stable offset [L22].
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdicts {
    /// Aborted transactions that the pass has not reached, in the order of their first offsets.
    ahead: VecDeque<TxnEntry>,
    /// Producers whose transaction, which the pass is inside of, was aborted: whether a batch of it went by.
    aborted: BTreeMap<i64, bool>,
    /// Producers with a batch of a committed transaction behind the pass, and its marker ahead.
    committed: BTreeSet<i64>,
}

impl Verdicts {
    /// A pass that will meet these aborted transactions.
    pub(crate) fn new(mut aborted: Vec<TxnEntry>) -> Self {
        aborted.sort_unstable_by_key(|txn| txn.first_offset);
        Self { ahead: aborted.into(), ..Self::default() }
    }

    /// The log begins inside of transactions of these producers: batches of them were deleted. What is remembered of those
    /// producers names the transaction as open, so its marker is needed as long as it is there.
    pub(crate) fn begin_inside(&mut self, producers: BTreeSet<i64>) {
        self.committed.extend(producers);
    }

    /// Takes the next batch. True if nobody may read it any more: its transaction was aborted, or it is the marker of one
    /// that left no other batch [L26].
    ///
    /// # Errors
    /// What is wrong with a marker's bytes.
    pub(crate) fn take(&mut self, batch: &Batch) -> Result<bool, WireError> {
        while let Some(txn) = self.ahead.pop_front_if(|txn| txn.first_offset <= batch.header.last_offset()) {
            let begun = self.committed.remove(&txn.producer_id);
            self.aborted.entry(txn.producer_id).or_insert(begun);
        }
        if batch.header.is_control() { self.marker(batch) } else { Ok(self.data(batch)) }
    }

    fn data(&mut self, batch: &Batch) -> bool {
        if !batch.header.is_transactional() {
            return false;
        }
        let producer = batch.header.producer_id;
        let aborted = self.aborted.get_mut(&producer).map(|has_batch| *has_batch = true).is_some();
        if !aborted {
            self.committed.insert(producer);
        }
        aborted
    }

    fn marker(&mut self, batch: &Batch) -> Result<bool, WireError> {
        let producer = batch.header.producer_id;
        Ok(match EndMarker::of(batch)? {
            Some(EndMarker { committed: true, .. }) => !self.committed.remove(&producer),
            Some(EndMarker { committed: false, .. }) => self.aborted.remove(&producer) != Some(true),
            // An emptied control batch was a marker that has gone.
            None => batch.header.record_count == 0,
        })
    }
}
