//! Hostile bytes: no decoder panics, and none takes more memory than 64 bytes per input byte plus 4 KiB. One test only,
//! because it watches the allocator of the whole process.

mod common;

use bytes::Bytes;
use common::generate::{Choices, bytes_of, schemas};
use common::table::table;
use klamm_base::Draws;
use klamm_wire::metadata::MetadataRecord;
use klamm_wire::records::{BatchBuilder, records, split_whole};
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
            for batch in split_whole(&input)
                .flatten()
                .filter(|batch| batch.header.codec() == Ok(klamm_wire::records::Codec::None))
            {
                std::hint::black_box(records(&batch).filter(Result::is_ok).count());
                std::hint::black_box(batch.validate_from_client(1 << 20, true).is_ok());
            }
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
    envelopes(&mut draws, 20_000);
}
