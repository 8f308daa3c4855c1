//! What a clean does to a batch, rule by rule.

use super::filter::LastOf;
use super::index::{aborted_in, keys_of};
use super::{Filter, Left, OffsetMap, Rules};
use crate::format::TxnEntry;
use klamm_base::{Guard, Guards};
use klamm_wire::records::{Batch, BatchBuilder, Codec, ControlType, raw_records, records};
use std::collections::BTreeMap;

const NOW: i64 = 1_000_000;
const RETENTION: i64 = 5_000;

fn builder(base_offset: i64, pairs: &[(&str, Option<&str>)]) -> BatchBuilder {
    let mut builder = BatchBuilder::new(0);
    for (at, (key, value)) in pairs.iter().enumerate() {
        builder.push(1_000 + at as i64, Some(key.as_bytes()), value.map(str::as_bytes), &[]);
    }
    builder.at(base_offset, 2);
    builder
}

fn batch(base_offset: i64, pairs: &[(&str, Option<&str>)]) -> Batch {
    builder(base_offset, pairs).build()
}

fn transactional(base_offset: i64, producer: i64, keys: &[&str]) -> Batch {
    let pairs: Vec<_> = keys.iter().map(|key| (*key, Some("v"))).collect();
    builder(base_offset, &pairs).producer(producer, 0, 10).transactional().build()
}

fn marker(offset: i64, producer: i64, kind: ControlType) -> Batch {
    let mut key = [0; 4];
    key[2..].copy_from_slice(&(kind as i16).to_be_bytes());
    let mut builder = BatchBuilder::new(0);
    builder.push(2_000, Some(&key), Some(&[0; 6]), &[]).producer(producer, 0, -1);
    builder.control().transactional().at(offset, 2).build()
}

/// A log, and what its cleaner goes by.
struct Log {
    batches: Vec<Batch>,
    aborted: Vec<TxnEntry>,
    producers: BTreeMap<i64, LastOf>,
    upper_bound: i64,
    guards: Guards,
    /// Below this all is clean.
    first_dirty: i64,
}

impl Log {
    fn of(batches: &[Batch]) -> Log {
        Log {
            batches: batches.to_vec(),
            aborted: aborted_in(batches),
            producers: BTreeMap::new(),
            upper_bound: 1_000,
            guards: Guards::default(),
            first_dirty: 0,
        }
    }

    /// Cleans it all; what is left of each batch. The log then holds what was left.
    fn clean(&mut self, now_ms: i64) -> Vec<Left> {
        let keys = keys_of(&self.batches, &self.aborted, self.first_dirty);
        let rules = Rules {
            keys,
            producers: self.producers.clone(),
            upper_bound: self.upper_bound,
            now_ms,
            delete_retention_ms: RETENTION,
            guards: self.guards,
        };
        let mut filter = Filter::new(rules, self.aborted.clone());
        let left: Vec<Left> = self.batches.iter().map(|batch| filter.take(batch).expect("sound bytes")).collect();
        let after = |(batch, left): (&Batch, &Left)| match left {
            Left::Same => Some(batch.clone()),
            Left::Changed(batch) => Some(batch.clone()),
            Left::Nothing => None,
        };
        self.batches = self.batches.iter().zip(&left).filter_map(after).collect();
        self.aborted = aborted_in(&self.batches);
        left
    }

    fn offsets(&self) -> Vec<i64> {
        self.batches.iter().flat_map(|batch| records(batch).map(|record| record.unwrap().offset)).collect()
    }
}

#[test]
fn the_last_record_of_each_key_stays_at_its_offset() {
    let mut log = Log::of(&[
        batch(0, &[("a", Some("1")), ("b", Some("1")), ("a", Some("2"))]),
        batch(5, &[("b", Some("2"))]),
        batch(6, &[("c", Some("1"))]),
    ]);
    log.clean(NOW);
    assert_eq!(log.offsets(), [2, 5, 6]);
    assert_eq!((log.batches[0].header.base_offset, log.batches[0].header.last_offset()), (0, 2));
}

#[test]
fn a_batch_that_keeps_all_its_records_keeps_its_bytes() {
    for codec in [Codec::None, Codec::Gzip, Codec::Zstd] {
        let whole = builder(0, &[("a", Some("1")), ("b", Some("1"))]).compressed(codec).build();
        assert_eq!(Log::of(&[whole]).clean(NOW), [Left::Same]);
    }
}

#[test]
fn a_batch_that_loses_a_record_is_compressed_anew_by_its_own_codec() {
    let pairs = [("a", Some("1")), ("b", Some("1")), ("a", Some("2"))];
    let mut log = Log::of(&[builder(0, &pairs).compressed(Codec::Lz4).build()]);
    log.clean(NOW);
    assert!(log.batches[0].crc_ok() && log.batches[0].header.codec() == Ok(Codec::Lz4));
    assert_eq!(log.offsets(), [1, 2]);
}

#[test]
fn a_batch_without_records_goes_if_nothing_needs_it() {
    let mut log = Log::of(&[batch(0, &[("a", Some("1"))]), batch(1, &[("a", Some("2"))])]);
    assert_eq!(log.clean(NOW), [Left::Nothing, Left::Same]);
}

#[test]
fn the_last_batch_of_a_living_producer_stays_as_a_header() {
    let first = builder(0, &[("a", Some("1"))]).producer(7, 3, 0).build();
    let second = builder(1, &[("a", Some("2"))]).producer(7, 3, 1).build();
    let mut log = Log::of(&[first, second, batch(2, &[("a", Some("3"))])]);
    log.producers.insert(7, LastOf { last_data_offset: Some(1), epoch: 3 });
    log.clean(NOW);
    assert_eq!(log.batches.len(), 2, "its older batch is gone");
    let header = log.batches[0].header;
    assert_eq!((header.base_offset, header.record_count, header.last_sequence()), (1, 0, 1));
    assert_eq!(log.clean(NOW), [Left::Same, Left::Same], "it stays while the producer lives");
    log.producers.clear();
    assert_eq!(log.clean(NOW), [Left::Nothing, Left::Same]);
}

#[test]
fn the_batch_before_the_uncleanable_part_stays_as_a_header() {
    let mut log = Log::of(&[batch(0, &[("a", Some("1"))]), batch(1, &[("a", Some("2"))])]);
    log.upper_bound = 1;
    log.clean(NOW);
    assert_eq!((log.batches.len(), log.batches[0].header.record_count), (2, 0));
}

#[test]
fn records_that_the_map_has_not_seen_stay() {
    let mut log = Log::of(&[batch(0, &[("a", Some("1"))]), batch(1, &[("a", Some("2"))])]);
    let keys = OffsetMap::new(1 << 20, 0);
    let rules = Rules {
        keys,
        producers: BTreeMap::new(),
        upper_bound: 2,
        now_ms: NOW,
        delete_retention_ms: RETENTION,
        guards: Guards::default(),
    };
    let mut filter = Filter::new(rules, Vec::new());
    assert!(log.batches.iter().all(|batch| filter.take(batch) == Ok(Left::Same)));
    log.first_dirty = 1;
    log.clean(NOW);
    assert_eq!(log.offsets(), [1], "a dirty record supersedes a clean one");
}

#[test]
fn a_record_without_a_key_has_no_place() {
    let mut without = BatchBuilder::new(0);
    without.push(1, None, Some(b"x"), &[]).push(1, Some(b"k"), Some(b"y"), &[]);
    let mut log = Log::of(&[without.at(0, 2).build()]);
    log.clean(NOW);
    assert_eq!(log.offsets(), [1]);
}

#[test]
fn the_first_clean_that_keeps_a_tombstone_sets_its_horizon_and_one_behind_it_drops_it() {
    let mut log = Log::of(&[batch(0, &[("a", Some("1"))]), batch(1, &[("a", None), ("b", Some("1"))])]);
    log.clean(NOW);
    assert_eq!(log.offsets(), [1, 2]);
    assert_eq!(log.batches[0].header.delete_horizon(), Some(NOW + RETENTION));
    let times: Vec<i64> = records(&log.batches[0]).map(|record| record.unwrap().timestamp).collect();
    assert_eq!(times, [1_000, 1_001], "the records keep their times");
    assert_eq!(log.clean(NOW + RETENTION - 1), [Left::Same]);
    log.clean(NOW + RETENTION);
    assert_eq!(log.offsets(), [2]);
    assert_eq!(log.batches[0].header.delete_horizon(), Some(NOW + RETENTION));
}

#[test]
fn without_its_guard_a_tombstone_goes_at_once() {
    let mut log = Log::of(&[batch(0, &[("a", Some("1"))]), batch(1, &[("a", None), ("b", Some("1"))])]);
    log.guards = Guards::without(&[Guard::TombstoneHorizon]);
    log.clean(NOW);
    assert_eq!(log.offsets(), [2]);
}

#[test]
fn aborted_records_go_at_once_and_their_marker_after_its_horizon() {
    let mut log =
        Log::of(&[transactional(0, 7, &["a", "b"]), marker(2, 7, ControlType::Abort), batch(3, &[("z", Some("1"))])]);
    assert_eq!(log.clean(NOW), [Left::Nothing, Left::Same, Left::Same], "no horizon while its data was there");
    assert_eq!(log.aborted, [], "what is gone need not be told");
    log.clean(NOW);
    assert_eq!(log.batches[0].header.delete_horizon(), Some(NOW + RETENTION), "now that all of it is gone");
    assert_eq!(log.clean(NOW + RETENTION - 1), [Left::Same, Left::Same]);
    assert_eq!(log.clean(NOW + RETENTION), [Left::Nothing, Left::Same]);
}

#[test]
fn an_aborted_record_supersedes_nothing() {
    let mut log =
        Log::of(&[batch(0, &[("a", Some("1"))]), transactional(1, 7, &["a"]), marker(2, 7, ControlType::Abort)]);
    log.clean(NOW);
    assert_eq!(log.offsets(), [0, 2]);
}

#[test]
fn a_commit_marker_stays_while_a_batch_of_its_transaction_is_there() {
    let mut log = Log::of(&[transactional(0, 7, &["a"]), marker(1, 7, ControlType::Commit)]);
    for _ in 0..3 {
        assert_eq!(log.clean(NOW), [Left::Same, Left::Same]);
    }
    log.batches.push(batch(2, &[("a", Some("2"))]));
    log.clean(NOW);
    assert_eq!(log.offsets(), [1, 2], "its record is superseded");
    log.clean(NOW);
    assert_eq!(log.batches[0].header.delete_horizon(), Some(NOW + RETENTION));
    assert_eq!(log.clean(NOW + RETENTION), [Left::Nothing, Left::Same]);
}

#[test]
fn an_emptied_batch_of_a_living_producer_holds_its_marker() {
    let mut log =
        Log::of(&[transactional(0, 7, &["a"]), marker(1, 7, ControlType::Commit), batch(2, &[("a", Some("2"))])]);
    log.producers.insert(7, LastOf { last_data_offset: Some(0), epoch: 0 });
    log.clean(NOW);
    assert_eq!((log.batches[0].header.record_count, log.batches.len()), (0, 3));
    for _ in 0..3 {
        assert_eq!(log.clean(NOW + 10 * RETENTION), [Left::Same, Left::Same, Left::Same]);
    }
}

#[test]
fn the_marker_that_alone_tells_a_producers_epoch_stays() {
    let mut log = Log::of(&[marker(0, 7, ControlType::Abort), batch(1, &[("a", Some("1"))])]);
    log.producers.insert(7, LastOf { last_data_offset: None, epoch: 0 });
    log.clean(NOW);
    log.clean(NOW + RETENTION);
    let header = log.batches[0].header;
    assert_eq!((header.base_offset, header.record_count, header.is_control()), (0, 0, true));
    assert_eq!(log.clean(NOW + 2 * RETENTION), [Left::Same, Left::Same]);
}

#[test]
fn two_transactions_of_one_producer_are_told_apart() {
    let mut log = Log::of(&[
        transactional(0, 7, &["a"]),
        marker(1, 7, ControlType::Abort),
        transactional(2, 7, &["b"]),
        transactional(3, 8, &["c"]),
        marker(4, 7, ControlType::Commit),
        marker(5, 8, ControlType::Abort),
    ]);
    log.clean(NOW);
    assert_eq!(log.offsets(), [1, 2, 4, 5]);
}

#[test]
fn without_its_guard_a_marker_goes_though_its_data_is_there() {
    let mut log = Log::of(&[transactional(0, 7, &["a"]), marker(1, 7, ControlType::Commit)]);
    log.guards = Guards::without(&[Guard::MarkerHorizon]);
    assert_eq!(log.clean(NOW), [Left::Same, Left::Nothing]);
}

#[test]
fn a_batch_that_cannot_be_read_is_an_error() {
    let mut torn = batch(0, &[("a", Some("1"))]);
    torn.header.record_count = 2;
    let plain = torn.unpacked().unwrap();
    assert!(raw_records(&torn.header, &plain).is_err());
    let rules = Rules {
        keys: OffsetMap::new(1 << 20, 0),
        producers: BTreeMap::new(),
        upper_bound: 9,
        now_ms: NOW,
        delete_retention_ms: RETENTION,
        guards: Guards::default(),
    };
    assert!(Filter::new(rules, Vec::new()).take(&torn).is_err());
}
