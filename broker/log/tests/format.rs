//! Codecs of the files beside a log, under arbitrary and hostile content.

use klamm_log::format::{
    CleanShutdown, DirName, Extent, MetaProperties, OffsetEntry, PartitionMetadata, PartitionOffset, ProducerEntry,
    QuorumState, SegmentFile, SnapshotName, TimeEntry, TxnEntry, decode_offset_index, decode_producer_snapshot,
    decode_time_index, decode_txn_index, encode_offset_index, encode_producer_snapshot, encode_time_index,
    encode_txn_index, parse_epochs, parse_offsets, render_offsets, without_preallocation,
};
use proptest::prelude::*;

fn extent() -> impl Strategy<Value = Extent> {
    (0..=i64::MAX, 0..=i64::MAX, 0..=u64::from(u32::MAX)).prop_map(|(one, two, bytes)| Extent {
        base_offset: one.min(two),
        end_offset: one.max(two),
        bytes,
    })
}

fn producer() -> impl Strategy<Value = ProducerEntry> {
    let numbers = (0..=i64::MAX, any::<i16>(), any::<i32>(), -1..1_000i64, any::<i32>());
    (numbers, any::<i64>(), any::<i32>(), prop::option::of(0..1_000i64)).prop_map(
        |(numbers, timestamp, coordinator_epoch, txn_first_offset)| {
            let (producer_id, producer_epoch, last_sequence, last_offset, offset_delta) = numbers;
            ProducerEntry {
                producer_id,
                producer_epoch,
                last_sequence,
                last_offset,
                offset_delta,
                timestamp,
                coordinator_epoch,
                txn_first_offset,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_a_decoder_panic_and_what_is_read_is_written_as_it_was(
        bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(0xff), any::<u8>()], 0..200),
        of in extent(),
    ) {
        if let Ok(index) = decode_offset_index(&bytes, of) {
            prop_assert_eq!(encode_offset_index(&index, of.base_offset), bytes.clone());
        }
        if let Ok(index) = decode_time_index(&bytes, of) {
            prop_assert_eq!(encode_time_index(&index, of.base_offset), bytes.clone());
        }
        if let Ok(index) = decode_txn_index(&bytes, of) {
            prop_assert_eq!(encode_txn_index(&index), bytes.clone());
        }
        if let Ok(producers) = decode_producer_snapshot(&bytes, of.end_offset) {
            prop_assert_eq!(encode_producer_snapshot(&producers), bytes.clone());
        }
        for entry_bytes in [8, 12] {
            let used = without_preallocation(&bytes, entry_bytes);
            prop_assert!(bytes.starts_with(used) && bytes[used.len()..].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn no_text_makes_a_parser_panic_and_what_is_wrong_stands_inside_of_it(
        text in "(version[:=] ?[01]|[0-2]\n|topic_id: [A-Z]{0,23}|[a-z]{1,3} [0-9] [0-9]{1,20}|\\{\"[a-zE]{1,12}\":|[\\x00-\\x7fé\n]){0,6}",
    ) {
        let errors = [
            parse_epochs(&text).err(),
            parse_offsets(&text).err(),
            PartitionMetadata::parse(&text).err(),
            MetaProperties::parse(&text).err(),
            CleanShutdown::parse(&text).err(),
            QuorumState::parse(&text).err(),
        ];
        for error in errors.into_iter().flatten() {
            prop_assert!(error.at() <= text.len() as u64, "{}", error);
        }
        let names = (SegmentFile::parse(&text), SnapshotName::parse(&text), DirName::parse(&text));
        let again = (names.0.map(|it| it.to_string()), names.1.map(|it| it.to_string()), names.2.map(|it| it.to_string()));
        for name in [again.0, again.1, again.2].into_iter().flatten() {
            prop_assert_eq!(name, text.clone());
        }
    }

    #[test]
    fn indexes_come_back(
        steps in prop::collection::vec((1..1_000i64, 1..1_000u32), 0..50),
        base_offset in 0..1_000_000i64,
    ) {
        let (mut offset, mut position) = (base_offset, 0);
        let (mut offsets, mut times, mut txns) = (Vec::new(), Vec::new(), Vec::new());
        for (records, bytes) in steps {
            (offset, position) = (offset + records, position + bytes);
            offsets.push(OffsetEntry { offset, position });
            times.push(TimeEntry { timestamp: offset * 7, offset });
            txns.push(TxnEntry { producer_id: 3, first_offset: base_offset, last_offset: offset, last_stable_offset: 0 });
        }
        let of = Extent { base_offset, end_offset: offset + 1, bytes: u64::from(position) + 1 };
        prop_assert_eq!(decode_offset_index(&encode_offset_index(&offsets, base_offset), of), Ok(offsets));
        prop_assert_eq!(decode_time_index(&encode_time_index(&times, base_offset), of), Ok(times));
        prop_assert_eq!(decode_txn_index(&encode_txn_index(&txns), of), Ok(txns));
    }

    #[test]
    fn producers_come_back_and_a_flipped_bit_is_found(
        producers in prop::collection::btree_map(0..=i64::MAX, producer(), 0..8),
        flip in any::<prop::sample::Index>(),
    ) {
        let producers: Vec<ProducerEntry> =
            producers.into_iter().map(|(producer_id, entry)| ProducerEntry { producer_id, ..entry }).collect();
        let mut bytes = encode_producer_snapshot(&producers);
        prop_assert_eq!(decode_producer_snapshot(&bytes, 1_000), Ok(producers));
        let bit = flip.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(decode_producer_snapshot(&bytes, 1_000).is_err());
    }

    #[test]
    fn checkpoints_of_offsets_come_back(
        entries in prop::collection::vec(("[a-zA-Z0-9._-]{1,20}", 0..100i32, 0..=i64::MAX), 0..20),
    ) {
        let one = |(topic, partition, offset)| PartitionOffset { topic, partition, offset };
        let entries: Vec<PartitionOffset> = entries.into_iter().map(one).collect();
        prop_assert_eq!(parse_offsets(&render_offsets(&entries)), Ok(entries));
    }
}
