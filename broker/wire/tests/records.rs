//! Making, checking and unpacking batches.

use bytes::Bytes;
use klamm_base::ErrorCode;
use klamm_wire::WireError;
use klamm_wire::records::{
    Batch, BatchBuilder, BatchHeader, Codec, Compression, ControlType, HEADER_LEN, Rules, compress, control_batch,
    decompress, records, split, validate,
};
use proptest::prelude::*;

const ANY_TIME: Rules = Rules {
    max_bytes: u32::MAX,
    compacted: false,
    compression: None,
    append_time: false,
    before_max_ms: i64::MAX,
    after_max_ms: i64::MAX,
};

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

#[test]
fn a_built_batch_passes_every_check_in_every_codec() {
    for codec in Codec::ALL {
        let batch = three().compressed(codec).producer(9, 1, 5).build();
        assert_eq!(batch.header.codec(), Ok(codec));
        assert_eq!(validate(&batch.bytes, &ANY_TIME, 0), Ok(batch.clone()), "{codec:?}");
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
    assert_eq!(validate(&flipped.bytes, &ANY_TIME, 0), Err(ErrorCode::CorruptMessage.into()));
}

#[test]
fn a_control_batch_is_refused_from_a_client() {
    let batch = control_batch(0, 3, 7, ControlType::Commit, &[0; 6]);
    assert!(batch.header.is_control() && batch.crc_ok());
    assert_eq!(validate(&batch.placed(0, -1).bytes, &ANY_TIME, 0), Err(ErrorCode::InvalidRecord.into()));
    let record = records(&batch).next().expect("a record").expect("it reads");
    assert_eq!(ControlType::of(&record), Ok(Some(ControlType::Commit)));
}

#[test]
fn unpacking_stops_at_the_cap() {
    let plain = vec![b'a'; 1 << 20];
    for codec in Codec::ALL {
        let packed = compress(codec, &plain);
        assert_eq!(decompress(codec, &packed, plain.len()), Ok(plain.clone()), "{codec:?}");
        let cap = plain.len() - 1;
        assert_eq!(decompress(codec, &packed, cap), Err(WireError::TooLarge { cap }), "{codec:?}");
    }
}

#[test]
fn snappy_is_unpacked_raw_and_in_the_java_framing() {
    let raw = |plain: &[u8]| snap::raw::Encoder::new().compress_vec(plain).expect("small");
    assert_eq!(decompress(Codec::Snappy, &raw(b"hello"), 100), Ok(b"hello".to_vec()));
    let mut packed = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    for block in [&b"hello "[..], b"world"] {
        let block = raw(block);
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
fn what_we_pack_is_what_java_clients_read() {
    let plain = vec![b'a'; 100_000];
    let snappy = compress(Codec::Snappy, &plain);
    assert_eq!(snappy[..16], *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
    let (mut blocks, mut rest) = (0, &snappy[16..]);
    while let Some((length, after)) = rest.split_first_chunk() {
        rest = &after[u32::from_be_bytes(*length) as usize..];
        blocks += 1;
    }
    assert_eq!((blocks, rest), (4, &[][..]), "blocks of 32 KiB");
    // Version 1, independent blocks, no sums, no size; blocks of 64 KiB.
    assert_eq!(compress(Codec::Lz4, &plain)[..6], [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40]);
    assert_eq!(compress(Codec::Gzip, &plain)[..3], [0x1f, 0x8b, 8]);
    assert_eq!(compress(Codec::Zstd, &plain)[..4], [0x28, 0xb5, 0x2f, 0xfd]);
}

#[test]
fn a_level_is_how_hard_a_codec_tries() {
    let plain: Vec<u8> =
        (0..30_000_u32).flat_map(|n| format!("record {} of many; ", n * n % 7919).into_bytes()).collect();
    for (codec, fast, hard) in [(Codec::Gzip, 1, 9), (Codec::Zstd, -50, 19)] {
        let at = |level| compress(Compression { codec, level: Some(level) }, &plain);
        assert!(at(fast).len() > at(hard).len(), "{codec:?}");
        assert_eq!(decompress(codec, &at(hard), plain.len()), Ok(plain.clone()));
    }
    assert_eq!(compress(Codec::Zstd, &plain), compress(Compression { codec: Codec::Zstd, level: Some(3) }, &plain));
    assert_eq!(compress(Codec::Gzip, &plain), compress(Compression { codec: Codec::Gzip, level: Some(-1) }, &plain));
}

#[test]
fn an_lz4_frame_ends_where_it_says_and_its_blocks_stand_alone() {
    let packed = compress(Codec::Lz4, b"hello");
    let (cap, hello) = (100, Ok(b"hello".to_vec()));
    assert_eq!(decompress(Codec::Lz4, &packed, cap), hello);
    assert_eq!(decompress(Codec::Lz4, &[&packed[..], &packed].concat(), cap), hello, "Kafka reads one frame");
    for cut in 1..packed.len() {
        let torn = decompress(Codec::Lz4, &packed[..packed.len() - cut], cap);
        assert_eq!(torn, Err(WireError::BadCompression), "{cut} bytes are missing");
    }
    let info = lz4_flex::frame::FrameInfo::new().block_mode(lz4_flex::frame::BlockMode::Linked);
    let mut linked = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    std::io::Write::write_all(&mut linked, b"hello").expect("memory");
    let linked = linked.finish().expect("memory");
    assert_eq!(decompress(Codec::Lz4, &linked, cap), Err(WireError::BadCompression));
    for sums in [false, true] {
        let info = lz4_flex::frame::FrameInfo::new().block_checksums(sums).content_checksum(true).content_size(Some(5));
        let mut summed = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
        std::io::Write::write_all(&mut summed, b"hello").expect("memory");
        assert_eq!(decompress(Codec::Lz4, &summed.finish().expect("memory"), cap), hello);
    }
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
        let batch = builder.at(base, 3).compressed(Codec::ALL[codec]).build();
        prop_assert!(batch.crc_ok());
        prop_assert_eq!(validate(&batch.placed(0, 3).bytes, &ANY_TIME, 0), Ok(batch.placed(0, 3)));
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
    fn noise_never_unpacks_beyond_its_cap(noise in prop::collection::vec(any::<u8>(), 0..300), codec in 1usize..5) {
        if let Ok(out) = decompress(Codec::ALL[codec], &noise, 1000) {
            prop_assert!(out.len() <= 1000);
        }
    }
}
