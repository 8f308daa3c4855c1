//! Which transaction a batch belongs to, and how it ended, as a pass over the log sees it.

use crate::format::TxnEntry;
use klamm_wire::WireError;
use klamm_wire::records::{Batch, ControlType, records};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Follows the transactions of a log while its batches go by in the order of their offsets. All of them must be decided: a
/// clean ends below the last stable offset [L22].
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdicts {
    /// Aborted transactions that the pass has not reached, in the order of their first offsets.
    ahead: VecDeque<TxnEntry>,
    /// Aborted transactions that the pass is inside of, by their producers.
    aborted: BTreeMap<i64, Inside>,
    /// Producers with a batch of a committed transaction behind the pass, and its marker ahead.
    committed: BTreeSet<i64>,
    /// Aborted transactions of which something is still there, in the order of their markers.
    remaining: Vec<TxnEntry>,
}

#[derive(Clone, Copy, Debug)]
struct Inside {
    txn: TxnEntry,
    has_batch: bool,
}

impl Verdicts {
    /// A pass that will meet these aborted transactions.
    pub(crate) fn new(mut aborted: Vec<TxnEntry>) -> Self {
        aborted.sort_unstable_by_key(|txn| txn.first_offset);
        Self { ahead: aborted.into(), ..Self::default() }
    }

    /// Takes the next batch. True if nobody may read it any more: its transaction was aborted, or it is the marker of one
    /// that left no other batch [L26].
    ///
    /// # Errors
    /// What is wrong with a marker's bytes.
    pub(crate) fn take(&mut self, batch: &Batch) -> Result<bool, WireError> {
        self.enter_up_to(batch.header.last_offset());
        if batch.header.is_control() { self.marker(batch) } else { Ok(self.data(batch)) }
    }

    fn enter_up_to(&mut self, offset: i64) {
        while let Some(txn) = self.ahead.pop_front_if(|txn| txn.first_offset <= offset) {
            self.aborted.entry(txn.producer_id).or_insert(Inside { txn, has_batch: false });
        }
    }

    fn data(&mut self, batch: &Batch) -> bool {
        if !batch.header.is_transactional() {
            return false;
        }
        let producer = batch.header.producer_id;
        match self.aborted.get_mut(&producer) {
            Some(inside) => inside.has_batch = true,
            None => _ = self.committed.insert(producer),
        }
        self.aborted.contains_key(&producer)
    }

    fn marker(&mut self, batch: &Batch) -> Result<bool, WireError> {
        // An emptied control batch was a marker that has gone.
        let Some(record) = records(batch).next() else { return Ok(true) };
        let producer = batch.header.producer_id;
        Ok(match ControlType::of(&record?)? {
            Some(ControlType::Abort) => match self.aborted.remove(&producer) {
                Some(inside) if inside.has_batch => {
                    self.remaining.push(inside.txn);
                    false
                }
                _ => true,
            },
            Some(ControlType::Commit) => !self.committed.remove(&producer),
            _ => false,
        })
    }

    /// Takes out the aborted transactions whose markers were met since the last call and that still have a batch: what the
    /// transaction index of the cleaned segment must hold.
    pub(crate) fn take_remaining(&mut self) -> Vec<TxnEntry> {
        std::mem::take(&mut self.remaining)
    }
}
