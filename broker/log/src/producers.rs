//! What the log knows of idempotent and transactional producers (KIP-98; [P7], [P8] of the semantics).

use crate::ProducerCheck;
use crate::format::{EndMarker, ProducerEntry, TxnEntry, encode_producer_snapshot};
use crate::transactions::Transactions;
use bytes::Bytes;
use klamm_base::{ErrorCode, Guard, Guards, ProducerFact, Sequences};
use klamm_wire::records::{Batch, BatchHeader};
use std::collections::{BTreeMap, VecDeque};

/// Batches of one producer that are remembered: as many as a client may have in flight.
const WINDOW: usize = 5;
/// `producer.id.expiration.ms`.
const EXPIRATION_MS: i64 = 24 * 3_600_000;

/// The producer's part of a batch, kept for each batch so that the state can be derived anew after a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
    pub(crate) deed: Deed,
}

/// What a batch does to its producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Records with these sequences, in a transaction or not. `emptied`: compaction took them all.
    Write { first_sequence: i32, last_sequence: i32, transactional: bool, emptied: bool },
    /// A marker ends the producer's transaction.
    End(EndMarker),
}

impl Stamp {
    /// The stamp of a batch; `None` without a producer, and for a control batch that ends no transaction.
    pub(crate) fn of(batch: &Batch) -> Option<Stamp> {
        Stamp::told(&batch.header, EndMarker::of(batch).ok().flatten())
    }

    /// The stamp of a batch with this header, and this marker in it.
    pub(crate) fn told(header: &BatchHeader, marker: Option<EndMarker>) -> Option<Stamp> {
        if !header.has_producer() {
            return None;
        }
        let deed = match marker {
            Some(marker) => Deed::End(marker),
            None if header.is_control() => return None,
            None => Deed::Write {
                first_sequence: header.base_sequence,
                last_sequence: header.last_sequence(),
                transactional: header.is_transactional(),
                emptied: header.record_count == 0,
            },
        };
        Some(Stamp { id: header.producer_id, epoch: header.producer_epoch, deed })
    }

    /// For who observes.
    pub(crate) fn sequences(self) -> Sequences {
        let (first, last) = match self.deed {
            Deed::Write { first_sequence, last_sequence, .. } => (first_sequence, last_sequence),
            Deed::End(_) => (-1, -1),
        };
        Sequences { producer_id: self.id, producer_epoch: self.epoch, first, last }
    }
}

/// Where and when a batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) base_offset: i64,
    pub(crate) last_offset: i64,
    /// Its greatest, in milliseconds.
    pub(crate) timestamp: i64,
}

impl Place {
    pub(crate) fn of(header: &BatchHeader) -> Place {
        let (base_offset, last_offset) = (header.base_offset, header.last_offset());
        Place { base_offset, last_offset, timestamp: header.max_timestamp }
    }
}

/// A batch that is remembered of its producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recent {
    pub(crate) first_sequence: i32,
    pub(crate) last_sequence: i32,
    pub(crate) base_offset: i64,
    pub(crate) last_offset: i64,
    /// Its greatest timestamp, in milliseconds.
    pub(crate) max_timestamp: i64,
}

/// One producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Producer {
    pub(crate) epoch: i16,
    /// Of the coordinator that wrote its last marker; -1 none.
    pub(crate) coordinator_epoch: i32,
    /// Greatest timestamp of its last batch: the producer's clock.
    pub(crate) last_timestamp: i64,
    /// Oldest first.
    pub(crate) recent: VecDeque<Recent>,
    /// Where its transaction began whose marker has not come.
    pub(crate) open_txn: Option<i64>,
    /// All that is left of that transaction are batches without a record. Only what is decided is emptied, so nobody waits
    /// for it, and its marker may be gone.
    is_decided: bool,
}

/// All producers that wrote into this log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Producers {
    window: usize,
    by_id: BTreeMap<i64, Producer>,
    pub(crate) transactions: Transactions,
}

impl Producers {
    pub(crate) fn new(guards: Guards) -> Self {
        let window = if guards.stands(Guard::DuplicateWindow) { WINDOW } else { 1 };
        Self { window, by_id: BTreeMap::new(), transactions: Transactions::default() }
    }

    /// Nothing is known.
    pub(crate) fn forget_all(&mut self) {
        self.by_id.clear();
        self.transactions = Transactions::default();
    }

    /// A producer whose batches the log no longer holds.
    fn remember(&mut self, id: i64, producer: Producer) {
        if let Some(first) = producer.open_txn {
            self.transactions.begin(first, id);
        }
        self.by_id.insert(id, producer);
    }

    /// What a snapshot tells of a log that begins at `first`: only what its batches do not tell themselves, and nothing of who is
    /// forgotten by now.
    pub(crate) fn earlier(guards: Guards, snapshot: &[ProducerEntry], first: i64, wall_ms: i64) -> Self {
        let mut producers = Producers::new(guards);
        for entry in snapshot {
            let open_txn = entry.txn_first_offset.filter(|offset| *offset < first);
            let its_batch_is_gone = entry.last_offset < first && first > 0;
            let mut producer = Producer { open_txn, ..Producer::of_entry(entry) };
            if producer.lives(wall_ms) && (its_batch_is_gone || open_txn.is_some()) {
                producer.recent.retain(|recent| recent.last_offset < first);
                producers.remember(entry.producer_id, producer);
            }
        }
        producers
    }

    /// Of transactions what the same batches tell `now`, some of them cleaned; of producers what is known anyway.
    pub(crate) fn retell_transactions(&mut self, now: Producers) {
        for (id, producer) in &mut self.by_id {
            let told = now.by_id.get(id);
            producer.open_txn = told.and_then(|told| told.open_txn);
            producer.is_decided = told.is_some_and(|told| told.is_decided);
        }
        self.transactions = now.transactions;
    }

    /// Every producer as a snapshot tells of it.
    pub(crate) fn entries(&self) -> impl Iterator<Item = ProducerEntry> {
        self.by_id.iter().map(|(id, producer)| producer.entry(*id))
    }

    /// Who has a transaction open.
    pub(crate) fn undecided(&self) -> impl Iterator<Item = i64> {
        let open = |producer: &Producer| producer.open_txn.is_some() && !producer.is_decided;
        self.by_id.iter().filter(move |(_, producer)| open(producer)).map(|(id, _)| *id)
    }

    /// A snapshot as it stands, whatever its log holds.
    pub(crate) fn believed(guards: Guards, snapshot: &[ProducerEntry]) -> Self {
        let mut producers = Producers::new(guards);
        snapshot.iter().for_each(|entry| producers.remember(entry.producer_id, Producer::of_entry(entry)));
        producers
    }

    /// For who observes, by rising id.
    pub(crate) fn facts(&self) -> Vec<ProducerFact> {
        let fact = |(id, producer): (&i64, &Producer)| ProducerFact {
            producer_id: *id,
            producer_epoch: producer.epoch,
            last_sequence: producer.recent.back().map_or(-1, |last| last.last_sequence),
        };
        self.by_id.iter().map(fact).collect()
    }

    /// The snapshot file, without producers that were silent for a day and have no transaction open.
    pub(crate) fn render(&self, wall_ms: i64) -> Bytes {
        let entries: Vec<ProducerEntry> = self.living(wall_ms).map(|(id, producer)| producer.entry(id)).collect();
        encode_producer_snapshot(&entries).into()
    }

    /// Producers by id, without those that were silent for a day and have no transaction open.
    pub(crate) fn living(&self, wall_ms: i64) -> impl Iterator<Item = (i64, &Producer)> {
        self.by_id.iter().filter(move |(_, producer)| producer.lives(wall_ms)).map(|(id, producer)| (*id, producer))
    }

    /// Forgets who has no open transaction and wrote nothing newer than `until_ms`.
    pub(crate) fn forget_until(&mut self, until_ms: i64) {
        self.by_id.retain(|_, producer| producer.open_txn.is_some() || producer.last_timestamp > until_ms);
    }

    /// A batch is in the log, or on its way there. The transaction that it aborts, if it does.
    pub(crate) fn enter(&mut self, stamp: Stamp, place: Place) -> Option<TxnEntry> {
        let producer = self.by_id.entry(stamp.id).or_insert_with(|| Producer::new(stamp.epoch));
        if producer.epoch != stamp.epoch {
            producer.epoch = stamp.epoch;
            producer.recent.clear();
        }
        producer.last_timestamp = place.timestamp;
        let mut aborted = None;
        match stamp.deed {
            Deed::Write { first_sequence, last_sequence, transactional, emptied } => {
                let Place { base_offset, last_offset, timestamp: max_timestamp } = place;
                let recent = Recent { first_sequence, last_sequence, base_offset, last_offset, max_timestamp };
                producer.recent.push_back(recent);
                if producer.recent.len() > self.window {
                    producer.recent.pop_front();
                }
                if transactional {
                    producer.write_in_transaction(stamp.id, base_offset, emptied, &mut self.transactions);
                }
            }
            Deed::End(marker) => {
                producer.coordinator_epoch = marker.coordinator_epoch;
                if let Some(first) = producer.open_txn.take() {
                    if std::mem::take(&mut producer.is_decided) {
                        self.transactions.begin(first, stamp.id);
                    }
                    aborted = self.transactions.end(first, stamp.id, place.base_offset, marker.committed);
                }
            }
        }
        assert!(producer.recent.len() <= self.window, "window of producer {}", stamp.id);
        aborted
    }

    /// What to do with a client's batch. `wall_ms` is the broker's wall clock: a producer that was silent for a day is forgotten.
    pub(crate) fn check(&self, stamp: Stamp, wall_ms: i64) -> ProducerCheck {
        let Deed::Write { first_sequence, last_sequence, .. } = stamp.deed else { return ProducerCheck::Accept };
        let known = self.by_id.get(&stamp.id);
        let Some(producer) = known.filter(|producer| !producer.is_expired(wall_ms)) else {
            return ProducerCheck::Accept;
        };
        if stamp.epoch < producer.epoch {
            return ProducerCheck::Refuse(ErrorCode::InvalidProducerEpoch);
        }
        if stamp.epoch > producer.epoch {
            return in_order(first_sequence == 0);
        }
        let same = |recent: &&Recent| recent.first_sequence == first_sequence && recent.last_sequence == last_sequence;
        if let Some(same) = producer.recent.iter().find(same) {
            let Recent { base_offset, last_offset, max_timestamp, .. } = *same;
            return ProducerCheck::Duplicate { base_offset, last_offset, max_timestamp };
        }
        let last = producer.recent.back().map_or(-1, |last| last.last_sequence);
        in_order(first_sequence == last.checked_add(1).unwrap_or(0))
    }
}

impl Producer {
    pub(crate) fn new(epoch: i16) -> Producer {
        Producer {
            epoch,
            coordinator_epoch: -1,
            last_timestamp: -1,
            recent: VecDeque::new(),
            open_txn: None,
            is_decided: false,
        }
    }

    /// A transactional batch of it.
    fn write_in_transaction(&mut self, id: i64, base_offset: i64, emptied: bool, transactions: &mut Transactions) {
        let is_first = self.open_txn.is_none();
        let first = *self.open_txn.get_or_insert(base_offset);
        if !emptied && (is_first || self.is_decided) {
            transactions.begin(first, id);
        }
        self.is_decided = emptied && (is_first || self.is_decided);
    }

    fn of_entry(entry: &ProducerEntry) -> Producer {
        let last = (entry.last_offset >= 0).then(|| Recent {
            first_sequence: entry.first_sequence(),
            last_sequence: entry.last_sequence,
            base_offset: entry.last_offset.saturating_sub(i64::from(entry.offset_delta)),
            last_offset: entry.last_offset,
            max_timestamp: entry.timestamp,
        });
        Producer {
            epoch: entry.producer_epoch,
            coordinator_epoch: entry.coordinator_epoch,
            last_timestamp: entry.timestamp,
            recent: last.into_iter().collect(),
            open_txn: entry.txn_first_offset,
            is_decided: false,
        }
    }

    fn entry(&self, producer_id: i64) -> ProducerEntry {
        let last = self.recent.back();
        ProducerEntry {
            producer_id,
            producer_epoch: self.epoch,
            last_sequence: last.map_or(-1, |last| last.last_sequence),
            last_offset: last.map_or(-1, |last| last.last_offset),
            offset_delta: last.map_or(0, |last| (last.last_offset - last.base_offset) as i32),
            timestamp: self.last_timestamp,
            coordinator_epoch: self.coordinator_epoch,
            txn_first_offset: self.open_txn.filter(|_| !self.is_decided),
        }
    }

    /// True if it was not silent for a day, or has a transaction open.
    fn lives(&self, wall_ms: i64) -> bool {
        self.open_txn.is_some() || !self.is_expired(wall_ms)
    }

    fn is_expired(&self, wall_ms: i64) -> bool {
        wall_ms.saturating_sub(self.last_timestamp) > EXPIRATION_MS
    }
}

fn in_order(yes: bool) -> ProducerCheck {
    if yes { ProducerCheck::Accept } else { ProducerCheck::Refuse(ErrorCode::OutOfOrderSequenceNumber) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(epoch: i16, first_sequence: i32, last_sequence: i32) -> Stamp {
        let (transactional, emptied) = (false, false);
        Stamp { id: 7, epoch, deed: Deed::Write { first_sequence, last_sequence, transactional, emptied } }
    }

    fn at(base_offset: i64, last_offset: i64) -> Place {
        Place { base_offset, last_offset, timestamp: 1_000 }
    }

    /// Producer 7 in epoch 1 wrote ten batches of two records, one each millisecond from 1,000 on.
    fn ten_batches(guards: Guards) -> Producers {
        let mut producers = Producers::new(guards);
        for i in 0..10 {
            let place = at(i64::from(i) * 2, i64::from(i) * 2 + 1);
            producers.enter(stamp(1, i * 2, i * 2 + 1), Place { timestamp: 1_000 + i64::from(i), ..place });
        }
        producers
    }

    #[test]
    fn the_last_five_batches_are_known_again() {
        let producers = ten_batches(Guards::default());
        let again = producers.check(stamp(1, 10, 11), 2_000);
        assert_eq!(again, ProducerCheck::Duplicate { base_offset: 10, last_offset: 11, max_timestamp: 1_005 });
        let too_old = producers.check(stamp(1, 8, 9), 2_000);
        assert_eq!(too_old, ProducerCheck::Refuse(ErrorCode::OutOfOrderSequenceNumber));
    }

    #[test]
    fn without_the_guard_only_the_last_batch_is_known() {
        let producers = ten_batches(Guards::without(&[Guard::DuplicateWindow]));
        let last = producers.check(stamp(1, 18, 19), 2_000);
        assert_eq!(last, ProducerCheck::Duplicate { base_offset: 18, last_offset: 19, max_timestamp: 1_009 });
        let before = producers.check(stamp(1, 16, 17), 2_000);
        assert_eq!(before, ProducerCheck::Refuse(ErrorCode::OutOfOrderSequenceNumber));
    }

    #[test]
    fn sequences_follow_without_gap_and_wrap_after_the_greatest() {
        let mut producers = ten_batches(Guards::default());
        assert_eq!(producers.check(stamp(1, 20, 20), 2_000), ProducerCheck::Accept);
        let gap = producers.check(stamp(1, 21, 21), 2_000);
        assert_eq!(gap, ProducerCheck::Refuse(ErrorCode::OutOfOrderSequenceNumber));
        producers.enter(stamp(1, i32::MAX, i32::MAX), at(30, 30));
        assert_eq!(producers.check(stamp(1, 0, 3), 2_000), ProducerCheck::Accept);
    }

    #[test]
    fn a_new_epoch_begins_at_sequence_zero_and_an_old_one_is_refused() {
        let producers = ten_batches(Guards::default());
        assert_eq!(producers.check(stamp(2, 0, 0), 2_000), ProducerCheck::Accept);
        let late = producers.check(stamp(2, 5, 5), 2_000);
        assert_eq!(late, ProducerCheck::Refuse(ErrorCode::OutOfOrderSequenceNumber));
        let old = producers.check(stamp(0, 20, 20), 2_000);
        assert_eq!(old, ProducerCheck::Refuse(ErrorCode::InvalidProducerEpoch));
    }

    #[test]
    fn an_unknown_or_long_silent_producer_may_begin_anywhere() {
        let producers = ten_batches(Guards::default());
        let other = Stamp { id: 8, ..stamp(0, 5, 5) };
        assert_eq!(producers.check(other, 2_000), ProducerCheck::Accept);
        assert_eq!(producers.check(stamp(1, 77, 77), 1_010 + EXPIRATION_MS), ProducerCheck::Accept);
    }

    #[test]
    fn nobody_waits_for_a_transaction_of_which_only_emptied_batches_are_left() {
        let write = |emptied| Deed::Write { first_sequence: 0, last_sequence: 1, transactional: true, emptied };
        let stamp = |deed| Stamp { id: 7, epoch: 1, deed };
        let abort = Deed::End(EndMarker { committed: false, coordinator_epoch: 4 });
        let mut producers = Producers::new(Guards::default());
        assert_eq!(producers.enter(stamp(write(true)), at(10, 11)), None);
        assert_eq!(producers.transactions.last_stable_offset(20), 20);
        assert_eq!(producers.entries().next().unwrap().txn_first_offset, None);
        let mut marked = producers.clone();
        let aborted = marked.enter(stamp(abort), at(14, 14)).expect("where the marker is left, it aborts it");
        assert_eq!((aborted.first_offset, aborted.last_offset), (10, 14));
        producers.enter(stamp(write(false)), at(12, 13));
        assert_eq!(producers.transactions.last_stable_offset(20), 10, "records without a marker are undecided");
    }

    #[test]
    fn after_a_marker_of_a_newer_epoch_sequences_begin_anew() {
        let mut producers = ten_batches(Guards::default());
        let deed = Deed::End(EndMarker { committed: true, coordinator_epoch: 4 });
        producers.enter(Stamp { id: 7, epoch: 2, deed }, at(20, 20));
        assert_eq!(producers.check(stamp(2, 0, 3), 2_000), ProducerCheck::Accept);
        let gap = producers.check(stamp(2, 20, 21), 2_000);
        assert_eq!(gap, ProducerCheck::Refuse(ErrorCode::OutOfOrderSequenceNumber));
        let old = producers.check(stamp(1, 20, 21), 2_000);
        assert_eq!(old, ProducerCheck::Refuse(ErrorCode::InvalidProducerEpoch));
    }
    #[test]
    fn who_wrote_before_all_time_is_forgotten() {
        let mut producers = Producers::new(Guards::default());
        producers.enter(stamp(1, 0, 1), Place { timestamp: i64::MIN, ..at(0, 1) });
        assert_eq!(producers.check(stamp(1, 7, 8), 2_000), ProducerCheck::Accept);
        assert_eq!(producers.living(2_000).count(), 0);
        let snapshot: Vec<ProducerEntry> = producers.entries().collect();
        assert_eq!(Producers::earlier(Guards::default(), &snapshot, 2, 2_000).entries().count(), 0);
    }
}
