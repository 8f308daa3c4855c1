//! What compaction leaves of a batch.

mod common;

use bytes::Bytes;
use klamm_wire::WireError;
use klamm_wire::records::{Batch, BatchBuilder, Codec, HEADER_LEN, RawRecord, decompress, raw_records, records, split};

const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

fn plain(batch: &Batch) -> Bytes {
    batch.unpacked().expect("it unpacks")
}

/// Rewrites a batch with those of its records that `keep` names by their offsets.
fn keeping(batch: &Batch, horizon: Option<i64>, keep: impl Fn(&RawRecord<'_>) -> bool) -> Batch {
    let plain = plain(batch);
    let all = raw_records(&batch.header, &plain).expect("whole records");
    let kept: Vec<RawRecord<'_>> = all.into_iter().filter(keep).collect();
    batch.header.keeping(&kept, horizon)
}

fn five(codec: Codec) -> Batch {
    let mut builder = BatchBuilder::new(0);
    for i in 0..5_i64 {
        let value = [7; 300];
        builder.push(1_000 + i * 10, Some(&[i as u8]), (i != 3).then_some(&value[..]), &[("h", None)]);
    }
    builder.producer(9, 1, 40).at(100, 3).compressed(codec).build()
}

#[test]
fn kept_records_keep_everything_and_the_batch_its_bounds() {
    for codec in CODECS {
        let before = five(codec);
        let after = keeping(&before, None, |record| record.offset % 2 == 1);
        assert!(after.crc_ok() && after.header.codec() == Ok(codec));
        assert_eq!(split(&after.bytes).collect::<Vec<_>>(), [Ok(after.clone())]);
        let all: Vec<_> = records(&before).map(Result::unwrap).collect();
        let left: Vec<_> = records(&after).map(Result::unwrap).collect();
        assert_eq!(left, [all[1].clone(), all[3].clone()]);
        let (old, new) = (before.header, after.header);
        assert_eq!((new.base_offset, new.last_offset(), new.record_count), (old.base_offset, 104, 2));
        assert_eq!((new.base_sequence, new.last_sequence(), new.partition_leader_epoch), (40, 44, 3));
        assert_eq!((new.base_timestamp, new.max_timestamp, new.delete_horizon()), (1_010, 1_030, None));
    }
}

#[test]
fn a_delete_horizon_stands_in_the_base_timestamp_and_moves_no_record() {
    for codec in CODECS {
        let before = five(codec);
        let stamped = keeping(&before, Some(900_000), |_| true);
        assert_eq!(stamped.header.delete_horizon(), Some(900_000));
        assert_eq!(stamped.header.max_timestamp, 1_040);
        let all = |batch: &Batch| records(batch).map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(all(&stamped), all(&before));
        let back = keeping(&stamped, None, |_| true);
        assert_eq!(back.header, before.header, "{codec:?}: without the horizon it is what it was");
    }
}

#[test]
fn an_emptied_batch_is_a_header_with_its_offsets_and_sequences() {
    let empty = keeping(&five(Codec::Lz4), Some(900_000), |_| true).header.emptied();
    assert!(empty.crc_ok());
    assert_eq!(empty.bytes.len(), HEADER_LEN);
    let header = empty.header;
    assert_eq!((header.base_offset, header.last_offset(), header.last_sequence()), (100, 104, 44));
    assert_eq!((header.record_count, header.base_timestamp, header.max_timestamp), (0, -1, 1_040));
    assert_eq!((header.codec(), header.delete_horizon()), (Ok(Codec::None), None));
    assert_eq!(raw_records(&header, &plain(&empty)), Ok(Vec::new()));
}

#[test]
fn an_append_time_stands_for_every_record_after_the_rewriting_too() {
    for (name, bytes) in common::segments().iter().filter(|(name, _)| name.starts_with("append-time")) {
        for batch in split(bytes).map(Result::unwrap) {
            let last = batch.header.last_offset();
            let after = keeping(&batch, None, |record| record.offset == last);
            assert!(after.header.is_append_time(), "{name}");
            assert_eq!(after.header.max_timestamp, batch.header.max_timestamp);
            assert_eq!(records(&after).last(), records(&batch).last());
        }
    }
}

/// Kafka's cleaner wrote these batches: emptied ones, and ones with a horizon. From what stands in them we write the same.
#[test]
fn batches_that_kafkas_cleaner_wrote_are_written_byte_for_byte() {
    let (mut horizons, mut empty, mut packed) = (0, 0, 0);
    for (name, bytes) in common::segments().iter().filter(|(name, _)| name.ends_with(".log")) {
        for batch in split(bytes).map(Result::unwrap) {
            if batch.header.record_count == 0 {
                empty += 1;
                assert_eq!(batch.header.emptied().bytes, batch.bytes, "{name}");
            } else if let Some(horizon) = batch.header.delete_horizon() {
                horizons += 1;
                let ours = keeping(&batch, Some(horizon), |_| true);
                let packing = batch.header.codec() != Ok(Codec::None);
                packed += i32::from(packing);
                if packing {
                    assert_eq!(plain(&ours), plain(&batch), "{name}: compressors differ, what they pack may not");
                } else {
                    assert_eq!(ours.bytes, batch.bytes, "{name}");
                }
                let fresh = keeping(&batch, None, |_| true);
                assert_eq!(plain(&keeping(&fresh, Some(horizon), |_| true)), plain(&batch), "{name}: stamped anew");
            }
        }
    }
    assert_eq!((horizons, empty, packed), (13, 1, 1), "batches of the segments in the test data");
}

#[test]
fn records_that_do_not_fit_their_batch_are_refused() {
    let batch = five(Codec::None);
    let plain = decompress(Codec::None, &plain(&batch), 1 << 20).unwrap();
    for length in 0..plain.len() {
        let cut = raw_records(&batch.header, &plain[..length]);
        assert!(matches!(cut, Err(WireError::BadBatch(_))), "{length}");
    }
    let mut longer = plain.clone();
    longer.push(0);
    assert!(raw_records(&batch.header, &longer).is_err());
    assert_eq!(raw_records(&batch.header, &plain).map(|records| records.len()), Ok(5));
}
