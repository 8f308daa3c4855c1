//! What a leader takes from a client, what it makes of it, and what it answers to the rest (L8): a claim a rule.

use bytes::Bytes;
use klamm_base::ErrorCode;
use klamm_wire::records::{
    Batch, BatchBuilder, BatchHeader, Codec, HEADER_LEN, Refused, Rules, compress, records, sole_batch, split, validate,
};
use proptest::prelude::*;

/// The broker's clock, and the time of the batches' first records.
const NOW: i64 = 1_700_000_000_000;
const HOUR: i64 = 3_600_000;

fn three() -> BatchBuilder {
    let mut builder = BatchBuilder::new(NOW);
    builder.push(NOW, Some(b"k"), Some(b"v"), &[("h", None)]).push(NOW - 10, Some(b""), None, &[]).push(
        NOW + 10,
        Some(b"z"),
        Some(b""),
        &[],
    );
    builder
}

/// The batch with some header fields changed and its checksum made right again.
fn forged(batch: &Batch, change: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let mut header = batch.header;
    change(&mut header);
    let body = &batch.bytes[HEADER_LEN..];
    header.crc = crc32c::crc32c(&[&header.to_bytes()[21..], body].concat());
    Bytes::from([&header.to_bytes()[..], body].concat())
}

fn refusal(bytes: &Bytes, rules: &Rules) -> Refused {
    validate(bytes, rules, NOW).expect_err("it is refused")
}

fn error(bytes: &Bytes, rules: &Rules) -> Option<ErrorCode> {
    validate(bytes, rules, NOW).err().map(|refused| refused.error)
}

#[test]
fn a_sound_batch_keeps_its_very_bytes_in_every_codec() {
    for codec in Codec::ALL {
        for rules in [Rules::default(), Rules { compression: Some(codec.into()), ..Rules::default() }] {
            let batch = three().compressed(codec).producer(9, 1, 5).build();
            let taken = validate(&batch.bytes, &rules, NOW).expect("it is sound");
            assert_eq!(taken, batch);
            assert_eq!(taken.bytes.as_ptr(), batch.bytes.as_ptr(), "{codec:?}: not copied");
        }
    }
}

#[test]
fn a_client_may_not_send_what_contradicts_itself() {
    let batch = three().build();
    let refused = |change: fn(&mut BatchHeader)| error(&forged(&batch, change), &Rules::default());
    let (invalid, corrupt) = (Some(ErrorCode::InvalidRecord), Some(ErrorCode::CorruptMessage));
    assert_eq!(refused(|_| ()), None);
    assert_eq!(refused(|header| header.record_count = 2), invalid);
    assert_eq!(refused(|header| header.record_count = -1), invalid);
    assert_eq!(refused(|header| header.last_offset_delta = 5), invalid);
    assert_eq!(refused(|header| header.last_offset_delta = -1), invalid);
    assert_eq!(refused(|header| (header.record_count, header.last_offset_delta) = (4, 3)), invalid);
    assert_eq!(refused(|header| (header.record_count, header.last_offset_delta) = (2, 1)), invalid);
    assert_eq!(refused(|header| (header.record_count, header.last_offset_delta) = (0, -1)), invalid);
    assert_eq!(refused(|header| header.base_offset = 7), invalid);
    assert_eq!(refused(|header| header.attributes |= 64), invalid, "a delete horizon");
    assert_eq!(refused(|header| header.attributes |= 16), invalid, "a transaction of nobody");
    assert_eq!(refused(|header| header.producer_id = 4), invalid, "a producer without sequence and epoch");
    assert_eq!(refused(|header| header.attributes |= 7), Some(ErrorCode::UnsupportedCompressionType));
    assert_eq!(refused(|header| header.attributes |= 4), invalid, "plain records that claim to be zstd");
    assert_eq!(refused(|header| header.batch_length -= 1), corrupt);
    assert_eq!(refused(|header| header.partition_leader_epoch = 77), None, "nobody has set it yet");
}

#[test]
fn a_control_batch_is_the_brokers_own() {
    let batch = three().producer(9, 1, 5).build();
    assert_eq!(
        error(&forged(&batch, |header| header.attributes |= 32), &Rules::default()),
        Some(ErrorCode::InvalidRecord)
    );
}

#[test]
fn a_flipped_bit_is_corrupt_whatever_it_makes_of_the_header() {
    let batch = three().build();
    for at in 17..batch.bytes.len() {
        let mut bytes = batch.bytes.to_vec();
        bytes[at] ^= 1 << (at % 8);
        assert_eq!(error(&Bytes::from(bytes), &Rules::default()), Some(ErrorCode::CorruptMessage), "byte {at}");
    }
}

#[test]
fn offsets_inside_a_batch_are_contiguous_in_every_codec() {
    for codec in Codec::ALL {
        let plain = three().build();
        // The second record's offset delta, zig-zag: after its length, attributes and timestamp delta.
        let first_length = usize::from(plain.bytes[HEADER_LEN] / 2) + 1;
        let mut payload = plain.bytes[HEADER_LEN..].to_vec();
        assert_eq!(payload[first_length + 3], 2);
        payload[first_length + 3] = 4;
        let packed = compress(codec, &payload);
        let header = BatchHeader {
            attributes: codec as i16,
            batch_length: (HEADER_LEN - 12 + packed.len()) as i32,
            ..plain.header
        };
        let gap = Batch { header, bytes: Bytes::from([&header.to_bytes()[..], &packed].concat()) };
        assert_eq!(error(&forged(&gap, |_| ()), &Rules::default()), Some(ErrorCode::InvalidRecord), "{codec:?}");
    }
}

#[test]
fn a_compacted_topic_wants_a_key_in_every_record_and_names_those_without() {
    let rules = Rules { compacted: true, ..Rules::default() };
    for codec in Codec::ALL {
        assert_eq!(error(&three().compressed(codec).build().bytes, &rules), None);
        let mut builder = three();
        builder.push(NOW, None, Some(b"v"), &[]).push(NOW, Some(b"k"), None, &[]).push(NOW, None, None, &[]);
        let batch = builder.compressed(codec).build();
        assert_eq!(error(&batch.bytes, &Rules::default()), None);
        let refused = refusal(&batch.bytes, &rules);
        assert_eq!(refused.error, ErrorCode::InvalidRecord);
        assert_eq!(refused.records.iter().map(|record| record.index).collect::<Vec<_>>(), [3, 5]);
        let message = refused.message.expect("a message");
        assert!(
            message.starts_with("2 of the batch's records") && message.contains("record 5: it has no key"),
            "{message}"
        );
    }
}

#[test]
fn an_answer_names_a_thousand_records_and_tells_of_three() {
    let mut builder = BatchBuilder::new(NOW);
    for _ in 0..2500 {
        builder.push(NOW, None, None, &[]);
    }
    let refused = refusal(&builder.build().bytes, &Rules { compacted: true, ..Rules::default() });
    let message = refused.message.expect("a message");
    assert_eq!((refused.records.len(), refused.records[999].index), (1000, 999));
    assert!(message.starts_with("2500 of") && message.ends_with("; …"), "{message}");
    assert_eq!(message.matches("record ").count(), 3, "{message}");
}

#[test]
fn the_size_is_checked_before_the_checksum() {
    let batch = three().build();
    let size = batch.bytes.len() as u32;
    assert_eq!(error(&batch.bytes, &Rules { max_bytes: size, ..Rules::default() }), None);
    let small = Rules { max_bytes: size - 1, ..Rules::default() };
    assert_eq!(error(&batch.bytes, &small), Some(ErrorCode::MessageTooLarge));
    let mut broken = batch.bytes.to_vec();
    broken[70] ^= 1;
    assert_eq!(error(&Bytes::from(broken), &small), Some(ErrorCode::MessageTooLarge));
}

#[test]
fn timestamps_may_lie_an_hour_ahead_and_as_far_back_as_one_likes() {
    let at = |timestamp| {
        let batch = BatchBuilder::new(NOW).push(timestamp, Some(b"k"), None, &[]).build();
        error(&batch.bytes, &Rules::default())
    };
    assert_eq!((at(0), at(NOW), at(NOW + HOUR)), (None, None, None));
    assert_eq!(at(NOW + HOUR + 1), Some(ErrorCode::InvalidTimestamp));
    assert_eq!(at(i64::MAX), Some(ErrorCode::InvalidTimestamp));
}

#[test]
fn a_topic_may_bound_timestamps_on_both_sides_and_the_answer_names_the_records() {
    let rules = Rules { before_max_ms: 5, after_max_ms: 5, ..Rules::default() };
    for codec in Codec::ALL {
        let refused = refusal(&three().compressed(codec).build().bytes, &rules);
        assert_eq!(refused.error, ErrorCode::InvalidTimestamp);
        assert_eq!(refused.records.iter().map(|record| record.index).collect::<Vec<_>>(), [1, 2]);
        let message = &refused.records[0].message;
        assert!(message.contains(&format!("{} lies outside of {} to {}", NOW - 10, NOW - 5, NOW + 5)), "{message}");
    }
    let wide = Rules { before_max_ms: 10, after_max_ms: 10, ..Rules::default() };
    assert_eq!(error(&three().build().bytes, &wide), None);
}

#[test]
fn one_bad_time_among_keyless_records_makes_it_invalid_timestamp() {
    let batch = BatchBuilder::new(NOW).push(NOW, None, None, &[]).push(NOW + 2 * HOUR, Some(b"k"), None, &[]).build();
    let refused = refusal(&batch.bytes, &Rules { compacted: true, ..Rules::default() });
    assert_eq!((refused.error, refused.records.len()), (ErrorCode::InvalidTimestamp, 2));
}

#[test]
fn records_without_a_timestamp_are_within_every_bound() {
    let batch = three().build();
    let timeless = forged(&batch, |header| (header.base_timestamp, header.max_timestamp) = (-1, -1));
    let narrow = Rules { before_max_ms: 0, after_max_ms: i64::MAX, ..Rules::default() };
    // Deltas -10 and 10 count from -1: the second is no "none", the third a time in 1970.
    let refused = refusal(&timeless, &narrow);
    assert_eq!(refused.records.iter().map(|record| record.index).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn the_greatest_timestamp_is_the_records_whatever_the_header_says() {
    for codec in Codec::ALL {
        let batch = three().compressed(codec).build();
        let wrong = forged(&batch, |header| header.max_timestamp = 5);
        assert_eq!(validate(&wrong, &Rules::default(), NOW), Ok(batch.clone()), "{codec:?}: checksum and all");
        let shared = wrong.clone();
        assert_eq!(validate(&wrong, &Rules::default(), NOW).expect("sound").header.max_timestamp, NOW + 10);
        assert_eq!(shared, wrong, "who else holds the bytes sees no change");
    }
}

#[test]
fn append_time_stamps_the_header_alone() {
    let rules = Rules { append_time: true, after_max_ms: 0, before_max_ms: 0, ..Rules::default() };
    for codec in Codec::ALL {
        let batch = three().compressed(codec).build();
        let taken = validate(&batch.bytes, &rules, NOW).expect("no bound holds for the producer's own times");
        assert_eq!(taken, batch, "it is stamped when it is appended");
        let stamped = taken.into_appended_at(NOW + 777);
        assert!(stamped.crc_ok() && stamped.header.is_append_time());
        assert_eq!((stamped.header.base_timestamp, stamped.header.max_timestamp), (NOW, NOW + 777));
        assert_eq!(stamped.payload(), batch.payload());
        assert_eq!(split(&stamped.bytes).collect::<Vec<_>>(), [Ok(stamped.clone())]);
        assert!(records(&stamped).all(|record| record.expect("sound").timestamp == NOW + 777));
    }
}

#[test]
fn the_bit_for_append_time_is_not_a_producers_to_set() {
    let batch = three().build();
    let claimed = forged(&batch, |header| header.attributes |= 8);
    let rules = Rules { append_time: true, ..Rules::default() };
    let refused = refusal(&claimed, &rules);
    assert_eq!((refused.error, refused.records.len()), (ErrorCode::InvalidTimestamp, 3));
    assert!(refused.records[0].message.contains("only a broker may set that"));
    // Where producers' times stand Kafka looks at the time alone, and clears the bit.
    let cleared = validate(&claimed, &Rules::default(), NOW).expect("a time within bounds");
    assert_eq!((cleared.header.is_append_time(), cleared.crc_ok()), (false, true));
}

#[test]
fn a_topics_codec_replaces_the_producers_and_the_records_stay() {
    for from in Codec::ALL {
        for to in Codec::ALL {
            let batch = three().compressed(from).producer(9, 1, 5).build();
            let rules = Rules { compression: Some(to.into()), ..Rules::default() };
            let taken = validate(&batch.bytes, &rules, NOW).expect("sound");
            assert_eq!((taken.header.codec(), taken.crc_ok()), (Ok(to), true));
            assert_eq!(Batch::parse(&taken.bytes), Ok(taken.clone()));
            let (before, after) = (records(&batch).collect::<Vec<_>>(), records(&taken).collect::<Vec<_>>());
            assert_eq!(before, after, "{from:?} to {to:?}");
            let whole = BatchHeader { attributes: 0, crc: 0, batch_length: 0, ..batch.header };
            assert_eq!(BatchHeader { attributes: 0, crc: 0, batch_length: 0, ..taken.header }, whole);
            assert_eq!(taken == batch, from == to, "only another codec is a reason");
        }
    }
}

#[test]
fn the_size_is_checked_again_after_the_codec_changed() {
    let zeros = [0; 5000];
    let batch = BatchBuilder::new(NOW).push(NOW, Some(b"k"), Some(&zeros), &[]).compressed(Codec::Zstd).build();
    let rules = Rules { max_bytes: 1000, ..Rules::default() };
    assert_eq!(error(&batch.bytes, &rules), None);
    let unpacked = Rules { compression: Some(Codec::None.into()), ..rules };
    assert_eq!(error(&batch.bytes, &unpacked), Some(ErrorCode::MessageTooLarge));
}

/// A batch of format 0 or 1: offset, length, checksum, magic and so on.
fn old_format(magic: u8) -> Bytes {
    let mut bytes = vec![0; 12 + 30];
    bytes[11] = 30;
    bytes[16] = magic;
    Bytes::from(bytes)
}

#[test]
fn a_produce_holds_one_whole_batch_of_format_2() {
    let batch = three().build().bytes;
    let joined = |pieces: &[&[u8]]| Bytes::from(pieces.concat());
    let (invalid, corrupt) = (Err(ErrorCode::InvalidRecord), Err(ErrorCode::CorruptMessage));
    assert_eq!(sole_batch(&batch, true), Ok(batch.clone()));
    assert_eq!(sole_batch(&Bytes::new(), true), invalid);
    assert_eq!(sole_batch(&joined(&[&batch, &batch]), true), invalid);
    assert_eq!(sole_batch(&batch.slice(..batch.len() - 1), true), invalid, "no whole batch");
    assert_eq!(sole_batch(&joined(&[&batch, &batch[..80]]), true), Ok(batch.clone()), "half a batch behind it");
    assert_eq!(sole_batch(&joined(&[&batch, b"abc"]), true), Ok(batch.clone()));
    assert_eq!(sole_batch(&joined(&[&batch, &[0; 20]]), true), corrupt, "what follows is none");
    for magic in [0, 1] {
        assert_eq!(sole_batch(&old_format(magic), true), invalid, "magic {magic}");
    }
    for magic in [3, 255] {
        assert_eq!(sole_batch(&old_format(magic), true), corrupt, "magic {magic}");
    }
    let mut short = batch.to_vec();
    short[8..12].copy_from_slice(&13_i32.to_be_bytes());
    assert_eq!(sole_batch(&Bytes::from(short.clone()), true), corrupt);
    short[8..12].copy_from_slice(&(-1_i32).to_be_bytes());
    assert_eq!(sole_batch(&Bytes::from(short), true), corrupt);
}

#[test]
fn a_length_below_a_headers_is_corrupt() {
    let mut bytes = three().build().bytes.to_vec();
    bytes[8..12].copy_from_slice(&20_i32.to_be_bytes());
    bytes.truncate(32);
    let sole = sole_batch(&Bytes::from(bytes), true).expect("it is whole by its own account");
    assert_eq!(error(&sole, &Rules::default()), Some(ErrorCode::CorruptMessage));
}

#[test]
fn zstd_is_refused_where_the_version_does_not_know_it() {
    for codec in Codec::ALL {
        let batch = three().compressed(codec).build().bytes;
        let refused = sole_batch(&batch, false) == Err(ErrorCode::UnsupportedCompressionType);
        assert_eq!(refused, codec == Codec::Zstd, "{codec:?}");
    }
}

type Plain = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>);

fn blob() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop::option::of(prop::collection::vec(any::<u8>(), 0..200))
}

fn plain() -> impl Strategy<Value = Plain> {
    (0..NOW, blob(), blob(), prop::collection::vec((".{0,5}", blob()), 0..4))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_batch_is_taken_in_any_codec_and_says_the_same_in_any_other(
        all in prop::collection::vec(plain(), 1..20),
        from in 0usize..5,
        to in 0usize..5,
    ) {
        let mut builder = BatchBuilder::new(0);
        for (at, key, value, headers) in &all {
            let headers: Vec<_> = headers.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
            builder.push(*at, key.as_deref(), value.as_deref(), &headers);
        }
        let batch = builder.compressed(Codec::ALL[from]).build();
        prop_assert_eq!(sole_batch(&batch.bytes, true), Ok(batch.bytes.clone()));
        prop_assert_eq!(validate(&batch.bytes, &Rules::default(), NOW), Ok(batch.clone()));
        let rules = Rules { compression: Some(Codec::ALL[to].into()), ..Rules::default() };
        let taken = validate(&batch.bytes, &rules, NOW).expect("sound");
        prop_assert!(taken.crc_ok());
        let read = |batch: &Batch| records(batch).collect::<Result<Vec<_>, _>>().expect("sound");
        prop_assert_eq!(read(&taken), read(&batch));
        prop_assert_eq!(read(&taken).len(), all.len());
    }

    #[test]
    fn a_mutated_batch_is_corrupt_and_with_its_checksum_made_right_never_passes_unread(
        codec in 0usize..5,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let batch = three().compressed(Codec::ALL[codec]).build();
        let mut bytes = batch.bytes.to_vec();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(bytes.len() - cut.index(4));
        let changed = bytes[..12] != batch.bytes[..12] || bytes[16..] != batch.bytes[16..];
        let sent = Bytes::from(bytes);
        if let Ok(sole) = sole_batch(&sent, true) {
            // The leader epoch alone may be anything.
            prop_assert_eq!(validate(&sole, &Rules::default(), NOW).is_err(), changed);
        }
        for batch in split(&sent).flatten() {
            let sound = forged(&batch, |_| ());
            let valid = validate(&sound, &Rules::default(), NOW);
            let read: Result<Vec<_>, _> = records(&Batch::parse(&sound).expect("it parsed before")).collect();
            // The walk is stricter than the iterator in all but one thing: it does not look for UTF-8 in header keys.
            prop_assert!(valid.is_err() || read.is_ok() || read == Err(klamm_wire::WireError::BadUtf8));
        }
    }
}
