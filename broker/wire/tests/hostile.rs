//! Hostile bytes: no decoder panics, and none takes more memory than 64 bytes per input byte plus 4 KiB, what
//! unpacks not more than twice its cap beside. One test only, because it watches the allocator of the whole process.

mod common;

use bytes::Bytes;
use common::generate::{Choices, bytes_of, schemas};
use common::table::table;
use klamm_base::Draws;
use klamm_wire::metadata::MetadataRecord;
use klamm_wire::records::{
    BatchBuilder, Codec, Compression, Rules, UNPACKED_LIMIT, UNPACKING_SCRATCH, decompress, records, sole_batch,
    split_whole, validate,
};
use klamm_wire::{RequestHeader, frame::FrameReader};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

fn bound(input: usize) -> usize {
    64 * input + 4096
}

/// Runs `decode` over a copy of `bytes` and holds the bound.
fn held(what: &str, bytes: &[u8], decode: impl FnOnce(Bytes)) {
    let input = Bytes::copy_from_slice(bytes);
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    decode(input);
    let taken = MEMORY.peak_usage().saturating_sub(before);
    assert!(taken <= bound(bytes.len()), "{what} took {taken} bytes for {}: {bytes:02x?}", bytes.len());
}

/// Bytes that name huge lengths and counts, in every encoding.
const LURES: [&[u8]; 7] = [
    &[0x7f, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff],
    &[0x7f, 0xff],
    &[0x00, 0x01, 0x00, 0x00],
    &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80],
    &[0xff],
];

fn mutate(draws: &mut Draws, bytes: &mut Vec<u8>) {
    for _ in 0..draws.between(1, 3) {
        let at = draws.below(bytes.len() as u64 + 1) as usize;
        match draws.below(4) {
            0 => bytes.truncate(at),
            1 => {
                let lure = *draws.pick(&LURES);
                let end = (at + lure.len()).min(bytes.len());
                bytes.splice(at..end, lure.iter().copied());
            }
            2 if at < bytes.len() => bytes[at] = draws.next_u64() as u8,
            _ => {
                let zeros = draws.below(200) as usize;
                bytes.splice(at..at, std::iter::repeat_n(draws.below(3) as u8, zeros));
            }
        }
    }
}

fn random(draws: &mut Draws, up_to: u64) -> Vec<u8> {
    let length = draws.below(up_to);
    (0..length).map(|_| draws.next_u64() as u8).collect()
}

fn messages(draws: &mut Draws, rounds: u64) -> (u64, u64) {
    let schemas = schemas();
    let (mut tried, mut decoded) = (0, 0);
    for entry in table() {
        let message = schemas.iter().find(|message| message.name() == entry.name).expect("its schema");
        for version in entry.versions.clone() {
            for round in 0..rounds {
                let choices = random(draws, 300);
                let mut bytes = bytes_of(message, version, &mut Choices::new(&choices));
                if round > 0 {
                    mutate(draws, &mut bytes);
                }
                held(entry.name, &bytes, |mut input| {
                    decoded += u64::from((entry.probe)(&mut input, version));
                });
                tried += 1;
            }
        }
    }
    (tried, decoded)
}

/// Counts that fill what follows to the brim, at every depth: the dearest input there is.
fn fullest(draws: &mut Draws) {
    for entry in table() {
        for version in entry.versions.clone() {
            for length in [16, 200, 3000] {
                for fill in [0u8, 1, 2, 0x7f] {
                    let mut bytes = vec![fill; length];
                    let at = draws.below(40.min(length as u64 - 8)) as usize;
                    bytes[at..at + 4].copy_from_slice(&((length as u32) / 8).to_be_bytes());
                    held(entry.name, &bytes, |mut input| {
                        (entry.probe)(&mut input, version);
                    });
                }
            }
        }
    }
}

fn record_batches(draws: &mut Draws, rounds: u64) {
    let mut builder = BatchBuilder::new(5);
    for _ in 0..20 {
        builder.push(7, Some(b"key"), Some(b"some value"), &[("a", None), ("a", Some(b"x"))]);
    }
    let whole = builder.build().bytes;
    for _ in 0..rounds {
        let mut bytes = whole.to_vec();
        mutate(draws, &mut bytes);
        held("records", &bytes, |input| {
            for batch in split_whole(&input).flatten().filter(|batch| batch.header.codec() == Ok(Codec::None)) {
                std::hint::black_box(records(&batch).filter(Result::is_ok).count());
                let sound = resealed(&batch.bytes);
                std::hint::black_box(validate(&sound, &Rules::default(), 7).is_ok());
            }
        });
    }
}

/// With the checksum that its bytes have now, so that what lies behind the checksum is looked at.
fn resealed(bytes: &[u8]) -> Bytes {
    let mut bytes = bytes.to_vec();
    if bytes.len() >= 61 {
        let crc = crc32c::crc32c(&bytes[21..]).to_be_bytes();
        bytes[17..21].copy_from_slice(&crc);
    }
    Bytes::from(bytes)
}

/// As [`held`], for what unpacks: input, twice the cap, what the codec itself needs, and the records that are named.
fn held_unpacking(what: &str, bytes: &Bytes, cap: usize, work: impl FnOnce(&Bytes)) {
    const NAMED: usize = 1 << 20;
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    work(bytes);
    let taken = MEMORY.peak_usage().saturating_sub(before);
    let bound = bound(bytes.len()) + 2 * cap + UNPACKING_SCRATCH + NAMED;
    assert!(taken <= bound, "{what} took {taken} bytes for {}: {bytes:02x?}", bytes.len());
}

/// Every codec, mutated behind a checksum that is right, and unpacked to a small cap; and bombs at the true one.
fn packed_batches(draws: &mut Draws, rounds: u64) {
    const CAP: usize = 64 << 10;
    let rules = Rules { compacted: true, compression: Some(Codec::Lz4.into()), ..Rules::default() };
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new(5);
        for _ in 0..20 {
            builder.push(7, Some(b"key"), Some(b"some value"), &[("a", None), ("a", Some(b"x"))]);
        }
        let whole = builder.compressed(codec).build().bytes;
        for _ in 0..rounds {
            let mut bytes = whole.to_vec();
            mutate(draws, &mut bytes);
            let bytes = resealed(&bytes);
            let packed = bytes.slice(bytes.len().min(61)..);
            held_unpacking("unpacking", &packed, CAP, |packed| {
                std::hint::black_box(decompress(codec, packed, CAP).is_ok());
            });
            held_unpacking("validation", &bytes, UNPACKED_LIMIT, |bytes| {
                let sole = sole_batch(bytes, true);
                std::hint::black_box(sole.map(|batch| validate(&batch, &rules, 7).is_ok()).is_ok());
            });
        }
        let zeros = vec![0; 3 * UNPACKED_LIMIT];
        let mut bomb = BatchBuilder::new(5);
        let level = if codec == Codec::Zstd { Some(-7) } else { Some(1) };
        let bomb = bomb.push(7, None, Some(&zeros), &[]).compressed(Compression { codec, level }).build().bytes;
        drop(zeros);
        let rules = Rules { max_bytes: u32::MAX, ..Rules::default() };
        held_unpacking("a bomb", &bomb, UNPACKED_LIMIT, |bomb| {
            let taken = validate(bomb, &rules, 7).map_err(|refused| refused.error);
            let too_large = taken == Err(klamm_base::ErrorCode::MessageTooLarge);
            assert_eq!(too_large, codec != Codec::None, "{codec:?}");
        });
    }
}

fn envelopes(draws: &mut Draws, rounds: u64) {
    for _ in 0..rounds {
        let mut bytes = random(draws, 60);
        held("a request header", &bytes, |mut input| {
            std::hint::black_box(RequestHeader::decode(&mut input).is_ok());
        });
        bytes.insert(0, 1);
        held("a metadata record", &bytes, |input| {
            std::hint::black_box(MetadataRecord::decode(&input).is_ok());
        });
        bytes[0] = 0;
        held("a frame", &bytes, |input| {
            let mut reader = FrameReader::new(1 << 30);
            reader.push(input);
            std::hint::black_box(reader.pop().is_ok());
        });
    }
}

#[test]
fn no_decoder_panics_or_takes_more_than_its_share_of_memory() {
    let mut draws = Draws::from_seed(4711);
    let (tried, decoded) = messages(&mut draws, 400);
    assert!(tried > 50_000 && decoded > 5_000 && decoded < tried, "{decoded} of {tried} decoded");
    fullest(&mut draws);
    record_batches(&mut draws, 20_000);
    packed_batches(&mut draws, 3_000);
    envelopes(&mut draws, 20_000);
}
