//! All that a broker and a consumer do with a batch of unknown origin: cut, check, unpack, pack anew, stamp, read. The
//! first byte of the input chooses the topic's rules and how the rest is wrapped.

use bytes::Bytes;
use klamm_wire::WireError;
use klamm_wire::records::{
    Batch, BatchBuilder, Codec, HEADER_LEN, Rules, UNPACKED_LIMIT, UNPACKING_SCRATCH, compress, decompress, records,
    sole_batch, split, split_whole, validate,
};

const NOW: i64 = 1_700_000_000_000;
/// What single payloads may unpack to.
const CAP: usize = 1 << 20;

/// The most bytes that an input of so many may take: what decoders promise, for the input and for what it unpacks to, and
/// the packing anew, whose result is measured only when it is there.
#[allow(dead_code, reason = "whoever replays the corpus measures nothing")]
pub fn bound(input: usize) -> usize {
    64 * input + 4 * UNPACKED_LIMIT + 2 * UNPACKING_SCRATCH
}

/// Panics if anything does not hold.
pub fn record_batches(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else { return };
    let bytes = Bytes::copy_from_slice(rest);
    consume(&bytes);
    let codec = Codec::ALL[usize::from(choice >> 2 & 7) % Codec::ALL.len()];
    unpack(codec, &bytes);
    let rules = Rules {
        compacted: choice & 2 != 0,
        compression: (choice & 64 != 0).then(|| codec.into()),
        append_time: choice & 32 != 0,
        before_max_ms: if choice & 1 != 0 { 3_600_000 } else { i64::MAX },
        ..Rules::default()
    };
    produce(&resealed(&bytes), &rules);
    if choice & 128 != 0 {
        produce(&wrapped(codec, &bytes), &rules);
    }
}

/// As a consumer does with what it fetched.
fn consume(bytes: &Bytes) {
    let whole = split_whole(bytes).filter(Result::is_ok).count();
    assert_eq!(whole, split(bytes).filter(Result::is_ok).count());
    for batch in split_whole(bytes).flatten() {
        assert_eq!(batch.bytes.len(), batch.header.size());
        let read = records(&batch).count();
        assert!(read <= batch.header.record_count as usize + 1, "records that were not announced");
    }
}

/// As a leader does with what a client sent.
fn produce(bytes: &Bytes, rules: &Rules) {
    let Ok(sole) = sole_batch(bytes, true) else { return };
    let Ok(taken) = validate(&sole, rules, NOW) else { return };
    assert!(taken.crc_ok() && taken.bytes.len() <= rules.max_bytes as usize);
    assert_eq!(Batch::parse(&taken.bytes), Ok(taken.clone()));
    for (place, record) in records(&taken).enumerate() {
        match record {
            Ok(record) => assert_eq!(record.offset, place as i64),
            Err(error) => assert_eq!(error, WireError::BadUtf8, "only the names of headers are not looked at"),
        }
    }
    let claimed = Batch::parse(&sole).expect("it was taken").header.is_append_time();
    if !claimed {
        assert_eq!(validate(&taken.bytes, rules, NOW), Ok(taken.clone()), "what was taken is taken as it is");
    }
    let stamped = taken.into_appended_at(NOW);
    assert!(stamped.crc_ok() && stamped.header.is_append_time());
}

/// Whatever is packed comes back, whatever is not is refused or fits the cap.
fn unpack(codec: Codec, bytes: &Bytes) {
    if let Ok(plain) = decompress(codec, bytes, CAP) {
        assert!(plain.len() <= CAP);
    }
    assert_eq!(decompress(codec, &compress(codec, bytes), bytes.len()).as_deref(), Ok(&bytes[..]));
}

/// With length and checksum made right, so that what lies behind them is reached.
fn resealed(bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    if bytes.len() >= HEADER_LEN {
        bytes[..8].fill(0);
        let length = (bytes.len() - 12) as u32;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[16] = 2;
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    }
    Bytes::from(bytes)
}

/// As the records of a batch that says of itself what is right; the first byte is how many records it announces.
fn wrapped(codec: Codec, bytes: &Bytes) -> Bytes {
    let count = bytes.first().copied().unwrap_or(1);
    let mut builder = BatchBuilder::new(NOW);
    for _ in 0..count.max(1) {
        builder.push(NOW, None, None, &[]);
    }
    let header = builder.build().header;
    let packed = compress(codec, bytes.get(1..).unwrap_or_default());
    let mut whole = header.to_bytes().to_vec();
    whole[22] = codec as u8;
    whole.extend_from_slice(&packed);
    resealed(&Bytes::from(whole))
}
