//! Logs that Kafka's own cleaner left: cleaned once more by us they stay as they are, as long as no horizon passes.

#![allow(clippy::disallowed_methods, reason = "tests read their data")]

use super::filter::LastOf;
use super::index::{aborted_in, keys_of};
use super::{Filter, Left, Rules};
use crate::format::TxnEntry;
use bytes::Bytes;
use klamm_base::Guards;
use klamm_wire::records::{Batch, records, split};
use std::collections::BTreeMap;
use std::io::Read;

/// A day: `delete.retention.ms` of the broker that wrote the data, but for topic `compacted`.
const RETENTION: i64 = 86_400_000;

/// A segment in the archive: `PARTITION/BASE`.
fn segment(name: &str) -> Vec<Batch> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/data-dir-clean.tar.gz");
    let packed = std::fs::File::open(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(packed));
    let mut entries = archive.entries().expect("an archive").map(|entry| entry.expect("an entry"));
    let wanted = format!("{name}.log");
    let mut found = entries.find(|entry| entry.path().is_ok_and(|path| path.ends_with(&wanted))).expect("it is there");
    let mut plain = Vec::new();
    found.read_to_end(&mut plain).expect("test data is whole");
    split(&Bytes::from(plain)).collect::<Result<_, _>>().expect("whole batches")
}

/// What the log tells of its producers: the last data batch of each.
fn producers(batches: &[Batch]) -> BTreeMap<i64, LastOf> {
    let data = batches.iter().map(|batch| batch.header).filter(|header| header.has_producer() && !header.is_control());
    let last = |header: klamm_wire::records::BatchHeader| LastOf {
        last_data_offset: Some(header.last_offset()),
        epoch: header.producer_epoch,
    };
    data.map(|header| (header.producer_id, last(header))).collect()
}

fn filter(batches: &[Batch], aborted: &[TxnEntry], first_dirty: i64, now_ms: i64) -> Filter {
    let rules = Rules {
        keys: keys_of(batches, aborted, first_dirty),
        producers: producers(batches),
        upper_bound: batches.last().expect("a log").header.next_offset(),
        now_ms,
        delete_retention_ms: RETENTION,
        guards: Guards::default(),
    };
    Filter::new(rules, aborted.to_vec())
}

fn clean(batches: &[Batch], first_dirty: i64, now_ms: i64) -> Vec<Left> {
    let mut filter = filter(batches, &[], first_dirty, now_ms);
    batches.iter().map(|batch| filter.take(batch).expect("sound bytes")).collect()
}

/// The earliest horizon in these batches.
fn first_horizon(batches: &[Batch]) -> i64 {
    batches.iter().filter_map(|batch| batch.header.delete_horizon()).min().expect("a horizon")
}

const CLEANED: [&str; 3] = [
    "compacted-0/00000000000000000000",
    "compacted-keep-tombstones-0/00000000000000000000",
    "compacted-txn-0/00000000000000000000",
];

#[test]
fn what_kafka_cleaned_stays_as_it_is() {
    for name in CLEANED {
        let batches = segment(name);
        let now = first_horizon(&batches) - 1;
        for first_dirty in [0, batches.last().unwrap().header.base_offset] {
            let left = clean(&batches, first_dirty, now);
            assert!(left.iter().all(|left| *left == Left::Same), "{name}: {left:?}");
        }
    }
}

#[test]
fn behind_their_horizons_tombstones_and_markers_go_and_nothing_else_does() {
    let (mut tombstones, mut markers) = (0, 0);
    for name in CLEANED {
        let batches = segment(name);
        let now = first_horizon(&batches) + RETENTION;
        for (batch, left) in batches.iter().zip(clean(&batches, 0, now)) {
            let all: Vec<_> = records(batch).map(Result::unwrap).collect();
            let is_due = batch.header.has_delete_horizon();
            match left {
                Left::Nothing => {
                    assert!(is_due && batch.header.is_control(), "{name}: {:?}", batch.header);
                    markers += 1;
                }
                Left::Changed(after) => {
                    assert!(is_due, "{name}: {:?}", batch.header);
                    let kept: Vec<_> = records(&after).map(Result::unwrap).collect();
                    let valued: Vec<_> = all.iter().filter(|record| record.value.is_some()).cloned().collect();
                    assert_eq!(kept, valued, "{name}");
                    tombstones += all.len() - kept.len();
                }
                Left::Same => {
                    assert!(!is_due || all.iter().all(|record| record.value.is_some()), "{name}: {:?}", batch.header);
                }
            }
        }
    }
    assert_eq!((tombstones, markers), (8, 10), "as many as the dumper of Kafka shows");
}

/// Kafka set the horizons in its first clean. From the batches as they were before, at the same instant, we set the same.
#[test]
fn the_clean_that_set_the_horizons_is_repeated_byte_for_byte() {
    let batches = segment("compacted-keep-tombstones-0/00000000000000000000");
    let stamped = &batches[0];
    let plain = stamped.unpacked().unwrap();
    let all = klamm_wire::records::raw_records(&stamped.header, &plain).unwrap();
    let before = stamped.header.keeping(&all, None);
    let now = stamped.header.delete_horizon().unwrap() - RETENTION;
    let mut filter = filter(&batches, &[], 0, now);
    assert_eq!(filter.take(&before), Ok(Left::Changed(stamped.clone())));
}

/// `__consumer_offsets` was never cleaned by Kafka: its active segment is its first. The transaction index of partition 2 has
/// one entry.
#[test]
fn the_offsets_topic_keeps_the_last_commit_of_each_key() {
    let one = TxnEntry { producer_id: 2, first_offset: 6, last_offset: 8, last_stable_offset: 9 };
    let mut gone = Vec::new();
    for (partition, aborted) in [&[][..], &[], &[one]].into_iter().enumerate() {
        let batches = segment(&format!("__consumer_offsets-{partition}/00000000000000000000"));
        let mut filter = filter(&batches, aborted, 0, 0);
        let after: Vec<Batch> =
            batches.iter().filter_map(|batch| left_of(batch, filter.take(batch).unwrap())).collect();
        assert_eq!(last_values(&after, &[]), last_values(&batches, aborted), "partition {partition}");
        let count = |batches: &[Batch]| batches.iter().map(|batch| batch.header.record_count).sum::<i32>();
        gone.push(count(&batches) - count(&after));
        assert_eq!(aborted_in(&after), aborted, "partition {partition}: its empty batch stays");
    }
    assert_eq!(gone, [9, 2, 3], "superseded or aborted, counted by hand in what the dumper of Kafka shows");
}

fn left_of(batch: &Batch, left: Left) -> Option<Batch> {
    match left {
        Left::Same => Some(batch.clone()),
        Left::Changed(batch) => Some(batch),
        Left::Nothing => None,
    }
}

/// Offset and value of the last committed record of each key.
fn last_values(batches: &[Batch], aborted: &[TxnEntry]) -> BTreeMap<Bytes, (i64, Option<Bytes>)> {
    let is_aborted = |batch: &&Batch| {
        let within = |txn: &TxnEntry| (txn.first_offset..txn.last_offset).contains(&batch.header.base_offset);
        aborted.iter().any(|txn| txn.producer_id == batch.header.producer_id && within(txn))
    };
    let data = batches.iter().filter(|batch| !batch.header.is_control() && !is_aborted(batch));
    let all = data.flat_map(|batch| records(batch).map(Result::unwrap).collect::<Vec<_>>());
    all.map(|record| (record.key.expect("a key"), (record.offset, record.value))).collect()
}
