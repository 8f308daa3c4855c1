//! Which transactions of a log are open, and which were aborted (KIP-98).

use crate::format::TxnEntry;
use std::collections::BTreeSet;

/// First record and marker of a transaction that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ended {
    first_offset: i64,
    last_offset: i64,
}

/// The transactions of one log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Transactions {
    /// Open ones: first offset, and whose.
    open: BTreeSet<(i64, i64)>,
    /// In the order of their markers.
    ended: Vec<Ended>,
    /// In the order of their markers.
    aborted: Vec<TxnEntry>,
}

impl Transactions {
    /// A producer's first transactional record.
    pub(crate) fn begin(&mut self, first_offset: i64, producer_id: i64) {
        let is_new = self.open.insert((first_offset, producer_id));
        assert!(is_new, "producer {producer_id} begins twice at {first_offset}");
    }

    /// The marker at `last_offset` ends the transaction that began at `first_offset`. Its entry for the transaction index, if
    /// it was aborted.
    pub(crate) fn end(
        &mut self,
        first_offset: i64,
        producer_id: i64,
        last_offset: i64,
        committed: bool,
    ) -> Option<TxnEntry> {
        let was_open = self.open.remove(&(first_offset, producer_id));
        assert!(was_open, "producer {producer_id} ends what did not begin at {first_offset}");
        self.ended.push(Ended { first_offset, last_offset });
        if committed {
            return None;
        }
        let last_stable_offset = self.first_open().unwrap_or(last_offset + 1);
        let aborted = TxnEntry { producer_id, first_offset, last_offset, last_stable_offset };
        self.aborted.push(aborted);
        Some(aborted)
    }

    /// Where the oldest open one began.
    pub(crate) fn first_open(&self) -> Option<i64> {
        self.open.first().map(|(first, _)| *first)
    }

    /// Below this every transaction is decided and its marker is committed: the bound of `read_committed` [L15].
    pub(crate) fn last_stable_offset(&self, high_watermark: i64) -> i64 {
        let committed = self.ended.partition_point(|ended| ended.last_offset < high_watermark);
        let undecided = self.ended[committed..].iter().map(|ended| ended.first_offset).min();
        [undecided, self.first_open()].into_iter().flatten().fold(high_watermark, i64::min)
    }

    /// Aborted transactions with records in `from..to`, in the order of their markers.
    pub(crate) fn aborted_within(&self, from: i64, to: i64) -> impl Iterator<Item = &TxnEntry> {
        let first = self.aborted.partition_point(|aborted| aborted.last_offset < from);
        self.aborted[first..].iter().filter(move |aborted| aborted.first_offset < to)
    }

    /// Those whose markers stand in `from..to`: the transaction index of a segment.
    pub(crate) fn marked_within(&self, from: i64, to: i64) -> &[TxnEntry] {
        let first = self.aborted.partition_point(|aborted| aborted.last_offset < from);
        let end = self.aborted.partition_point(|aborted| aborted.last_offset < to);
        &self.aborted[first..end]
    }

    /// Nobody will ask for what ended below `start`.
    pub(crate) fn forget_below(&mut self, start: i64) {
        self.ended.retain(|ended| ended.last_offset >= start);
        self.aborted.retain(|aborted| aborted.last_offset >= start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_stable_offset_waits_for_the_first_open_transaction() {
        let mut transactions = Transactions::default();
        transactions.begin(10, 1);
        transactions.begin(12, 2);
        assert_eq!(transactions.last_stable_offset(20), 10);
        transactions.end(10, 1, 15, true);
        assert_eq!(transactions.last_stable_offset(20), 12);
        transactions.end(12, 2, 16, false);
        assert_eq!(transactions.last_stable_offset(20), 20);
        assert_eq!(transactions.last_stable_offset(16), 12, "a marker that is not committed decides nothing");
        assert_eq!(transactions.last_stable_offset(9), 9);
    }

    #[test]
    fn an_aborted_transaction_is_told_to_whoever_reads_a_part_of_it() {
        let mut transactions = Transactions::default();
        transactions.begin(10, 1);
        transactions.begin(12, 2);
        transactions.end(12, 2, 16, false);
        let two = TxnEntry { producer_id: 2, first_offset: 12, last_offset: 16, last_stable_offset: 10 };
        let within = |from, to| transactions.aborted_within(from, to).copied().collect::<Vec<_>>();
        assert_eq!(
            [within(0, 12), within(0, 13), within(16, 17), within(17, 30)],
            [vec![], vec![two], vec![two], vec![]]
        );
        assert_eq!(transactions.marked_within(16, 17), [two]);
        assert_eq!(transactions.marked_within(12, 16), []);
    }
}
