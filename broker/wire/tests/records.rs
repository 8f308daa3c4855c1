//! Making, checking and unpacking batches.

use bytes::Bytes;
use klamm_base::ErrorCode;
use klamm_wire::WireError;
use klamm_wire::records::{
    Batch, BatchBuilder, BatchHeader, Codec, ControlType, HEADER_LEN, compress, control_batch, decompress, records,
    split,
};
use proptest::prelude::*;

const LIMIT: u32 = 1 << 20;
const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

fn three() -> BatchBuilder {
    let mut builder = BatchBuilder::new(1000);
    builder.push(-1, Some(b"k"), Some(b"v"), &[("h", None)]).push(990, Some(b""), None, &[]).push(
        1010,
        Some(b"z"),
        Some(b""),
        &[],
    );
    builder
}

/// The batch with some header fields changed and its checksum made right again.
fn forged(batch: &Batch, change: impl FnOnce(&mut BatchHeader)) -> Batch {
    let mut header = batch.header;
    change(&mut header);
    let body = &batch.bytes[HEADER_LEN..];
    let covered = [&header.to_bytes()[21..], body].concat();
    header.crc = crc32c::crc32c(&covered);
    Batch { header, bytes: Bytes::from([&header.to_bytes()[..], body].concat()) }
}

#[test]
fn a_built_batch_passes_every_check_in_every_codec() {
    for codec in CODECS {
        let batch = three().compressed(codec).producer(9, 1, 5).build();
        assert_eq!(batch.header.codec(), Ok(codec));
        assert_eq!(batch.validate_from_client(LIMIT, true), Ok(()), "{codec:?}");
        let read: Vec<_> = records(&batch).map(|record| record.expect("a record")).collect();
        assert_eq!(
            read.iter().map(|record| (record.offset, record.timestamp)).collect::<Vec<_>>(),
            [(0, 1000), (1, 990), (2, 1010)]
        );
        assert_eq!(read[0].headers[0].0, "h");
        assert_eq!((read[1].key.as_deref(), read[1].value.as_deref()), (Some(&b""[..]), None));
        assert_eq!((batch.header.max_timestamp, batch.header.last_sequence()), (1010, 7));
        assert_eq!(split(&batch.bytes).collect::<Vec<_>>(), [Ok(batch)]);
    }
}

#[test]
fn a_builder_starts_anew_after_each_batch() {
    let mut builder = three();
    assert_eq!((builder.len(), builder.is_empty()), (3, false));
    let first = builder.build();
    assert!(builder.is_empty());
    assert_eq!(builder.estimated_size(), HEADER_LEN);
    let second = builder.push(5000, None, Some(b"v"), &[]).build();
    assert_eq!((first.header.record_count, second.header.record_count), (3, 1));
    assert_eq!((second.header.base_timestamp, second.header.max_timestamp), (5000, 5000));
}

#[test]
fn a_flipped_bit_is_a_corrupt_message() {
    let batch = three().build();
    let mut bytes = batch.bytes.to_vec();
    *bytes.last_mut().expect("not empty") ^= 1;
    let flipped = Batch::parse(&Bytes::from(bytes)).expect("the header is whole");
    assert!(!flipped.crc_ok());
    assert_eq!(flipped.validate_from_client(LIMIT, false), Err(ErrorCode::CorruptMessage));
}

#[test]
fn a_client_may_not_send_what_contradicts_itself() {
    let batch = three().build();
    let refused = |change: fn(&mut BatchHeader)| forged(&batch, change).validate_from_client(LIMIT, false);
    assert_eq!(refused(|_| ()), Ok(()));
    assert_eq!(refused(|header| header.record_count = 2), Err(ErrorCode::InvalidRecord));
    assert_eq!(refused(|header| header.last_offset_delta = 5), Err(ErrorCode::InvalidRecord));
    assert_eq!(
        refused(|header| (header.record_count, header.last_offset_delta) = (4, 3)),
        Err(ErrorCode::InvalidRecord)
    );
    assert_eq!(
        refused(|header| (header.record_count, header.last_offset_delta) = (2, 1)),
        Err(ErrorCode::InvalidRecord)
    );
    assert_eq!(refused(|header| header.attributes |= 32), Err(ErrorCode::InvalidRecord));
    assert_eq!(refused(|header| header.attributes |= 16), Err(ErrorCode::InvalidRecord));
    assert_eq!(refused(|header| header.attributes |= 7), Err(ErrorCode::UnsupportedCompressionType));
    assert_eq!(refused(|header| header.attributes |= 4), Err(ErrorCode::CorruptMessage));
    assert_eq!(refused(|header| header.producer_id = 4), Err(ErrorCode::InvalidRecord));
    assert_eq!(
        refused(|header| (header.record_count, header.last_offset_delta) = (0, 0)),
        Err(ErrorCode::InvalidRecord)
    );
}

#[test]
fn offsets_inside_a_batch_are_contiguous() {
    let batch = three().build();
    // The second record's offset delta, zig-zag: after its length, attributes and timestamp delta.
    let first_length = usize::from(batch.bytes[HEADER_LEN] / 2) + 1;
    let mut bytes = batch.bytes.to_vec();
    let at = HEADER_LEN + first_length + 3;
    assert_eq!(bytes[at], 2);
    bytes[at] = 4;
    let gap = forged(&Batch { header: batch.header, bytes: Bytes::from(bytes) }, |_| ());
    assert!(gap.crc_ok());
    assert_eq!(gap.validate_from_client(LIMIT, false), Err(ErrorCode::InvalidRecord));
}

#[test]
fn a_control_batch_is_refused_from_a_client() {
    let batch = control_batch(0, 3, 7, ControlType::Commit, &[0; 6]);
    assert!(batch.header.is_control() && batch.crc_ok());
    assert_eq!(batch.validate_from_client(LIMIT, false), Err(ErrorCode::InvalidRecord));
    let record = records(&batch).next().expect("a record").expect("it reads");
    assert_eq!(ControlType::of(&record), Ok(Some(ControlType::Commit)));
}

#[test]
fn a_compacted_topic_wants_a_key_in_every_record() {
    for codec in CODECS {
        let mut builder = three();
        let batch = builder.push(1000, None, Some(b"v"), &[]).compressed(codec).build();
        assert_eq!(batch.validate_from_client(LIMIT, false), Ok(()));
        assert_eq!(batch.validate_from_client(LIMIT, true), Err(ErrorCode::InvalidRecord));
    }
}

#[test]
fn a_batch_over_the_limit_is_too_large() {
    let batch = three().build();
    let size = batch.bytes.len() as u32;
    assert_eq!(batch.validate_from_client(size, false), Ok(()));
    assert_eq!(batch.validate_from_client(size - 1, false), Err(ErrorCode::MessageTooLarge));
}

#[test]
fn unpacking_stops_at_the_cap() {
    let plain = vec![b'a'; 1 << 20];
    for codec in CODECS {
        let packed = compress(codec, &plain);
        assert_eq!(decompress(codec, &packed, plain.len()), Ok(plain.clone()), "{codec:?}");
        let cap = plain.len() - 1;
        assert_eq!(decompress(codec, &packed, cap), Err(WireError::TooLarge { cap }), "{codec:?}");
    }
}

#[test]
fn snappy_in_the_java_framing_is_unpacked() {
    let mut packed = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    for block in [&b"hello "[..], b"world"] {
        let block = compress(Codec::Snappy, block);
        packed.extend((block.len() as u32).to_be_bytes());
        packed.extend(block);
    }
    assert_eq!(decompress(Codec::Snappy, &packed, 100), Ok(b"hello world".to_vec()));
    assert_eq!(decompress(Codec::Snappy, &packed, 8), Err(WireError::TooLarge { cap: 8 }));
    assert_eq!(decompress(Codec::Snappy, &packed[..packed.len() - 1], 100), Err(WireError::BadCompression));
    assert_eq!(decompress(Codec::Snappy, &packed[..10], 100), Err(WireError::BadCompression));
    // A block that claims four gigabytes.
    assert!(decompress(Codec::Snappy, &[0xff, 0xff, 0xff, 0xff, 0x0f, 0], 100).is_err());
}

#[test]
fn sequences_wrap_to_zero() {
    let header = three().producer(1, 0, i32::MAX - 1).build().header;
    assert_eq!(header.last_sequence(), 0);
    assert_eq!(three().build().header.last_sequence(), -1);
}

#[test]
fn a_header_that_cannot_be_is_refused() {
    let good = three().build().header;
    let parse = |change: fn(&mut BatchHeader)| {
        let mut header = good;
        change(&mut header);
        BatchHeader::parse(&header.to_bytes())
    };
    assert_eq!(parse(|_| ()), Ok(good));
    assert_eq!(parse(|header| header.magic = 1), Err(WireError::BadMagic(1)));
    assert!(parse(|header| header.batch_length = 48).is_err());
    assert!(parse(|header| header.batch_length = -1).is_err());
    assert!(parse(|header| header.record_count = -1).is_err());
    assert!(parse(|header| header.last_offset_delta = -1).is_err());
    assert!(parse(|header| header.base_offset = i64::MAX).is_err());
    assert_eq!(BatchHeader::parse(&good.to_bytes()[..60]), Err(WireError::Truncated));
}

type Plain = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>);

fn blob() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop::option::of(prop::collection::vec(any::<u8>(), 0..200))
}

fn plain() -> impl Strategy<Value = Plain> {
    (0..i64::MAX / 4, blob(), blob(), prop::collection::vec((".{0,5}", blob()), 0..4))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_goes_into_a_batch_comes_out(all in prop::collection::vec(plain(), 1..20), codec in 0usize..5, base in 0..i64::MAX / 2) {
        let mut builder = BatchBuilder::new(0);
        for (at, key, value, headers) in &all {
            let headers: Vec<_> = headers.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
            builder.push(*at, key.as_deref(), value.as_deref(), &headers);
        }
        let batch = builder.at(base, 3).compressed(CODECS[codec]).build();
        prop_assert!(batch.crc_ok());
        prop_assert_eq!(batch.validate_from_client(u32::MAX, false), Ok(()));
        let mut offset = base;
        for (record, (at, key, value, headers)) in records(&batch).zip(&all) {
            let record = record.expect("a record");
            prop_assert_eq!((record.offset, record.timestamp), (offset, *at));
            prop_assert_eq!((record.key.as_deref(), record.value.as_deref()), (key.as_deref(), value.as_deref()));
            let ours: Vec<_> = record.headers.iter().map(|(key, value)| (key.to_string(), value.as_deref().map(<[u8]>::to_vec))).collect();
            prop_assert_eq!(&ours, headers);
            offset += 1;
        }
        prop_assert_eq!(offset, base + all.len() as i64);
    }

    #[test]
    fn mutated_batches_never_panic_and_never_pass_unread(
        codec in 0usize..5,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = three().compressed(CODECS[codec]).build().bytes.to_vec();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(bytes.len() - cut.index(4));
        for batch in split(&Bytes::from(bytes)).flatten() {
            let batch = forged(&batch, |_| ());
            let valid = batch.validate_from_client(LIMIT, false).is_ok();
            let read: Result<Vec<_>, _> = records(&batch).collect();
            // The walk is stricter than the iterator in all but one thing: it does not look for UTF-8 in header keys.
            prop_assert!(!valid || read.is_ok() || read == Err(WireError::BadUtf8));
        }
    }

    #[test]
    fn noise_never_unpacks_beyond_its_cap(noise in prop::collection::vec(any::<u8>(), 0..300), codec in 1usize..5) {
        if let Ok(out) = decompress(CODECS[codec], &noise, 1000) {
            prop_assert!(out.len() <= 1000);
        }
    }
}
