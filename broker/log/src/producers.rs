//! What the log knows of idempotent producers (KIP-98; [P7], [P8] of the semantics).

use crate::ProducerCheck;
use klamm_base::{ErrorCode, Guard, Guards};
use klamm_wire::records::BatchHeader;
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
    pub(crate) first_sequence: i32,
    pub(crate) last_sequence: i32,
}

impl Stamp {
    /// The stamp of a batch; `None` without a producer or for a control batch, which carries no sequence.
    pub(crate) fn of(header: &BatchHeader) -> Option<Stamp> {
        (header.producer_id >= 0 && !header.is_control()).then(|| Stamp {
            id: header.producer_id,
            epoch: header.producer_epoch,
            first_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Recent {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
    last_offset: i64,
    max_timestamp: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Producer {
    epoch: i16,
    /// Greatest timestamp of its last batch: the producer's clock.
    last_timestamp: i64,
    /// Oldest first; never empty.
    recent: VecDeque<Recent>,
}

/// All producers that wrote into this log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Producers {
    window: usize,
    by_id: BTreeMap<i64, Producer>,
}

impl Producers {
    pub(crate) fn new(guards: Guards) -> Self {
        let window = if guards.stands(Guard::DuplicateWindow) { WINDOW } else { 1 };
        Self { window, by_id: BTreeMap::new() }
    }

    pub(crate) fn clear(&mut self) {
        self.by_id.clear();
    }

    /// A batch is in the log, or on its way there.
    pub(crate) fn enter(&mut self, stamp: Stamp, base_offset: i64, last_offset: i64, timestamp: i64) {
        let fresh = || Producer { epoch: stamp.epoch, last_timestamp: timestamp, recent: VecDeque::new() };
        let producer = self.by_id.entry(stamp.id).or_insert_with(fresh);
        if producer.epoch != stamp.epoch {
            *producer = fresh();
        }
        producer.last_timestamp = timestamp;
        let Stamp { first_sequence, last_sequence, .. } = stamp;
        let max_timestamp = timestamp;
        producer.recent.push_back(Recent { first_sequence, last_sequence, base_offset, last_offset, max_timestamp });
        if producer.recent.len() > self.window {
            producer.recent.pop_front();
        }
        assert!((1..=self.window).contains(&producer.recent.len()), "window of producer {}", stamp.id);
    }

    /// What to do with a client's batch. `wall_ms` is the broker's wall clock: a producer that was silent for a day is forgotten.
    pub(crate) fn check(&self, stamp: Stamp, wall_ms: i64) -> ProducerCheck {
        let known = self.by_id.get(&stamp.id);
        let Some(producer) = known.filter(|producer| wall_ms - producer.last_timestamp <= EXPIRATION_MS) else {
            return ProducerCheck::Accept;
        };
        if stamp.epoch < producer.epoch {
            return ProducerCheck::Refuse(ErrorCode::InvalidProducerEpoch);
        }
        if stamp.epoch > producer.epoch {
            return in_order(stamp.first_sequence == 0);
        }
        if let Some(same) = producer.recent.iter().find(|recent| recent.holds(stamp)) {
            let Recent { base_offset, last_offset, max_timestamp, .. } = *same;
            return ProducerCheck::Duplicate { base_offset, last_offset, max_timestamp };
        }
        let last = producer.recent.back().expect("a known producer wrote a batch").last_sequence;
        in_order(stamp.first_sequence == last.checked_add(1).unwrap_or(0))
    }
}

impl Recent {
    fn holds(&self, stamp: Stamp) -> bool {
        self.first_sequence == stamp.first_sequence && self.last_sequence == stamp.last_sequence
    }
}

fn in_order(yes: bool) -> ProducerCheck {
    if yes { ProducerCheck::Accept } else { ProducerCheck::Refuse(ErrorCode::OutOfOrderSequenceNumber) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(epoch: i16, first_sequence: i32, last_sequence: i32) -> Stamp {
        Stamp { id: 7, epoch, first_sequence, last_sequence }
    }

    /// Producer 7 in epoch 1 wrote ten batches of two records, one each millisecond from 1,000 on.
    fn ten_batches(guards: Guards) -> Producers {
        let mut producers = Producers::new(guards);
        for i in 0..10 {
            producers.enter(stamp(1, i * 2, i * 2 + 1), i64::from(i) * 2, i64::from(i) * 2 + 1, 1_000 + i64::from(i));
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
        producers.enter(stamp(1, i32::MAX, i32::MAX), 30, 30, 1_000);
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
}
