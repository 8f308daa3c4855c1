//! Any log that is cleaned tells the same as a map of its last values.

use super::filter::LastOf;
use super::index::{aborted_in, keys_of};
use super::{Filter, Left, Rules};
use crate::format::TxnEntry;
use klamm_base::Guards;
use klamm_wire::records::{Batch, BatchBuilder, Codec, ControlType, Record, records};
use proptest::prelude::*;
use std::collections::BTreeMap;

const NOW: i64 = 1_000_000;
const RETENTION: i64 = 5_000;

/// What was written. Keys are few, so that they meet.
#[derive(Clone, Debug)]
enum Step {
    /// Records with these keys and values (`None` deletes), by a producer in its transaction, or by nobody.
    Write { producer: Option<u8>, pairs: Vec<(u8, Option<u8>)>, codec: u8 },
    /// Ends the producer's transaction.
    End { producer: u8, commit: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let pair = (0..6_u8, prop::option::weighted(0.8, any::<u8>()));
    let write = (prop::option::weighted(0.6, 0..2_u8), prop::collection::vec(pair, 1..5), 0..5_u8);
    prop_oneof![
        5 => write.prop_map(|(producer, pairs, codec)| Step::Write { producer, pairs, codec }),
        2 => (0..2_u8, any::<bool>()).prop_map(|(producer, commit)| Step::End { producer, commit }),
    ]
}

/// A log as its writers made it: all of it is decided.
#[derive(Clone, Debug, Default)]
struct Written {
    batches: Vec<Batch>,
    aborted: Vec<TxnEntry>,
    /// First offset of each open transaction, by its producer.
    open: BTreeMap<i64, i64>,
    producers: BTreeMap<i64, LastOf>,
    next_offset: i64,
}

impl Written {
    fn of(steps: &[Step]) -> Written {
        let mut written = Written::default();
        written.go_on(steps);
        written
    }

    /// More is written, and then all is decided.
    fn go_on(&mut self, steps: &[Step]) {
        steps.iter().for_each(|step| self.take(step));
        let open: Vec<i64> = self.open.keys().copied().collect();
        open.into_iter().for_each(|producer| self.end(producer, true));
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Write { producer, pairs, codec } => self.write(producer.map(i64::from), pairs, *codec),
            Step::End { producer, commit } => self.end(i64::from(*producer), *commit),
        }
    }

    fn write(&mut self, producer: Option<i64>, pairs: &[(u8, Option<u8>)], codec: u8) {
        let mut builder = BatchBuilder::new(0);
        for (key, value) in pairs {
            builder.push(1_000 + self.next_offset, Some(&[*key]), value.as_ref().map(std::slice::from_ref), &[]);
        }
        if let Some(id) = producer {
            builder.producer(id, 0, self.next_offset as i32).transactional();
            self.open.entry(id).or_insert(self.next_offset);
        }
        let codec = Codec::from_bits(codec).expect("one of five");
        self.push(builder.compressed(codec).at(self.next_offset, 0).build());
        if let Some(id) = producer {
            self.producers.insert(id, LastOf { last_data_offset: Some(self.next_offset - 1), epoch: 0 });
        }
    }

    fn end(&mut self, producer_id: i64, commit: bool) {
        let Some(first_offset) = self.open.remove(&producer_id) else { return };
        let kind = if commit { ControlType::Commit } else { ControlType::Abort };
        let mut key = [0; 4];
        key[2..].copy_from_slice(&(kind as i16).to_be_bytes());
        let mut builder = BatchBuilder::new(0);
        builder.push(1_000, Some(&key), Some(&[0; 6]), &[]).producer(producer_id, 0, -1).transactional().control();
        self.push(builder.at(self.next_offset, 0).build());
        if !commit {
            let (last_offset, last_stable_offset) = (self.next_offset - 1, self.next_offset);
            self.aborted.push(TxnEntry { producer_id, first_offset, last_offset, last_stable_offset });
        }
    }

    fn push(&mut self, batch: Batch) {
        self.next_offset = batch.header.next_offset();
        self.batches.push(batch);
    }

    /// The log as a clean leaves it that takes everything from `first_dirty` on.
    fn cleaned(&self, first_dirty: i64, now_ms: i64) -> Written {
        let rules = Rules {
            keys: keys_of(&self.batches, &self.aborted, first_dirty),
            producers: self.producers.clone(),
            upper_bound: self.next_offset,
            now_ms,
            delete_retention_ms: RETENTION,
            guards: Guards::default(),
        };
        let mut filter = Filter::new(rules, self.aborted.clone());
        let mut batches = Vec::new();
        for batch in &self.batches {
            match filter.take(batch).expect("sound bytes") {
                Left::Same => batches.push(batch.clone()),
                Left::Changed(batch) => batches.push(batch),
                Left::Nothing => {}
            }
        }
        Written { aborted: aborted_in(&batches), batches, ..self.clone() }
    }

    /// What a reader of committed records gets, from the start on.
    fn committed(&self) -> Vec<Record> {
        let data = self.batches.iter().filter(|batch| !batch.header.is_control() && !self.is_aborted(batch));
        data.flat_map(|batch| records(batch).map(|record| record.expect("sound")).collect::<Vec<_>>()).collect()
    }

    fn is_aborted(&self, batch: &Batch) -> bool {
        let header = &batch.header;
        let within = |txn: &TxnEntry| (txn.first_offset..txn.last_offset).contains(&header.base_offset);
        header.is_transactional() && self.aborted.iter().any(|txn| txn.producer_id == header.producer_id && within(txn))
    }

    /// The last committed record of each key.
    fn last(&self) -> BTreeMap<Vec<u8>, Record> {
        self.committed().into_iter().map(|record| (record.key.as_ref().expect("a key").to_vec(), record)).collect()
    }

    fn bytes(&self) -> Vec<u8> {
        self.batches.iter().flat_map(|batch| batch.bytes.to_vec()).collect()
    }
}

fn check_shape(before: &Written, after: &Written) -> Result<(), TestCaseError> {
    let offsets: Vec<i64> = after.committed().iter().map(|record| record.offset).collect();
    prop_assert!(offsets.is_sorted_by(|a, b| a < b), "{offsets:?}");
    prop_assert!(after.batches.iter().all(Batch::crc_ok));
    let bounds = |batch: &Batch| (batch.header.base_offset, batch.header.last_offset(), batch.header.last_sequence());
    let all: Vec<_> = before.batches.iter().map(bounds).collect();
    prop_assert!(after.batches.iter().map(bounds).all(|one| all.contains(&one)), "a batch changed its bounds");
    prop_assert_eq!(after.batches.last().map(bounds), before.batches.last().map(bounds), "the end stays");
    for last in before.producers.values() {
        let is_last = |batch: &Batch| Some(batch.header.last_offset()) == last.last_data_offset;
        prop_assert!(after.batches.iter().any(is_last), "the last batch of a producer is gone");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_last_value_of_each_key_stays_and_only_that(steps in prop::collection::vec(step(), 1..40)) {
        let before = Written::of(&steps);
        let after = before.cleaned(0, NOW);
        check_shape(&before, &after)?;
        prop_assert_eq!(after.last(), before.last());
        prop_assert_eq!(after.committed().len(), after.last().len(), "one record for each key");
    }

    #[test]
    fn a_log_that_is_cleaned_piece_by_piece_tells_the_same(
        first in prop::collection::vec(step(), 1..30),
        second in prop::collection::vec(step(), 1..30),
    ) {
        let mut whole = Written::of(&first);
        let (first_dirty, mut half) = (whole.next_offset, whole.cleaned(0, NOW));
        whole.go_on(&second);
        half.go_on(&second);
        let after = half.cleaned(first_dirty, NOW);
        check_shape(&half, &after)?;
        prop_assert_eq!(after.last(), whole.last());
        prop_assert_eq!(after.committed().len(), after.last().len(), "one record for each key");
    }

    #[test]
    fn a_second_clean_at_the_same_time_removes_nothing_and_a_third_changes_nothing(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let once = Written::of(&steps).cleaned(0, NOW);
        let twice = once.cleaned(0, NOW);
        prop_assert_eq!(twice.committed(), once.committed());
        let markers = once.batches.iter().any(|batch| batch.header.is_control());
        // The second clean finds that all data of a marker is gone, and sets its horizon.
        prop_assert!(markers || twice.bytes() == once.bytes());
        prop_assert_eq!(twice.cleaned(0, NOW).bytes(), twice.bytes());
    }

    #[test]
    fn behind_the_horizon_deleted_keys_are_gone_and_all_others_stay(steps in prop::collection::vec(step(), 1..40)) {
        let before = Written::of(&steps);
        let after = before.cleaned(0, NOW).cleaned(0, NOW + 1).cleaned(0, NOW + RETENTION + 1);
        check_shape(&before, &after)?;
        let mut last = before.last();
        last.retain(|_, record| record.value.is_some());
        prop_assert_eq!(after.last(), last);
    }
}
