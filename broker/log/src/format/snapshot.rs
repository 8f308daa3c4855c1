//! `.snapshot`: what the log knew of its producers at the offset in the file's name (KIP-98) [P8].

use super::{FormatError, field};
use std::collections::BTreeSet;

/// Bytes of a producer snapshot before its entries: version, checksum, count.
pub const SNAPSHOT_HEAD_BYTES: usize = 10;
/// Bytes of an entry of a producer snapshot.
pub const SNAPSHOT_ENTRY_BYTES: usize = 46;
/// Where the checksummed bytes begin: behind version and checksum.
const CRC_FROM: usize = 6;
/// The version that is written and read.
const VERSION: i16 = 1;

/// One producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerEntry {
    /// Its id.
    pub producer_id: i64,
    /// The latest epoch that it wrote in.
    pub producer_epoch: i16,
    /// Sequence of the last record of its last batch in that epoch; -1 if there is none but a marker.
    pub last_sequence: i32,
    /// Offset of that record; -1 likewise.
    pub last_offset: i64,
    /// Records of that batch, less one.
    pub offset_delta: i32,
    /// Greatest timestamp of its last batch or marker, in milliseconds since 1970.
    pub timestamp: i64,
    /// Epoch of the transaction coordinator that wrote its last marker; -1 without one.
    pub coordinator_epoch: i32,
    /// First offset of its open transaction.
    pub txn_first_offset: Option<i64>,
}

impl ProducerEntry {
    /// Sequence of the first record of its last batch; sequences wrap from `i32::MAX` to 0 [L5].
    pub fn first_sequence(&self) -> i32 {
        let first = self.last_sequence.wrapping_sub(self.offset_delta);
        if self.last_sequence >= 0 && first < 0 { first.wrapping_add(i32::MAX).wrapping_add(1) } else { first }
    }

    fn read(raw: &[u8]) -> Self {
        let txn_first_offset = i64::from_be_bytes(field(raw, 38));
        Self {
            producer_id: i64::from_be_bytes(field(raw, 0)),
            producer_epoch: i16::from_be_bytes(field(raw, 8)),
            last_sequence: i32::from_be_bytes(field(raw, 10)),
            last_offset: i64::from_be_bytes(field(raw, 14)),
            offset_delta: i32::from_be_bytes(field(raw, 22)),
            timestamp: i64::from_be_bytes(field(raw, 26)),
            coordinator_epoch: i32::from_be_bytes(field(raw, 34)),
            txn_first_offset: (txn_first_offset >= 0).then_some(txn_first_offset),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.producer_id.to_be_bytes());
        out.extend(self.producer_epoch.to_be_bytes());
        out.extend(self.last_sequence.to_be_bytes());
        out.extend(self.last_offset.to_be_bytes());
        out.extend(self.offset_delta.to_be_bytes());
        out.extend(self.timestamp.to_be_bytes());
        out.extend(self.coordinator_epoch.to_be_bytes());
        out.extend(self.txn_first_offset.unwrap_or(-1).to_be_bytes());
    }
}

/// The file, with entries in the order given. Kafka's own order is that of a hash table.
pub fn encode_producer_snapshot(producers: &[ProducerEntry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(SNAPSHOT_HEAD_BYTES + producers.len() * SNAPSHOT_ENTRY_BYTES);
    out.extend(VERSION.to_be_bytes());
    out.extend([0; 4]);
    out.extend(u32::try_from(producers.len()).expect("fewer than four billion producers").to_be_bytes());
    producers.iter().for_each(|producer| producer.write(&mut out));
    let crc = crc32c::crc32c(&out[CRC_FROM..]);
    out[2..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
    out
}

/// Reads the snapshot that was taken at `offset`.
///
/// # Errors
/// Too few or too many bytes, another version, a checksum that does not fit, a producer that stands twice, one that wrote at or
/// behind `offset`.
pub fn decode_producer_snapshot(bytes: &[u8], offset: i64) -> Result<Vec<ProducerEntry>, FormatError> {
    if bytes.len() < SNAPSHOT_HEAD_BYTES {
        return Err(FormatError::PartEntry { at: 0, bytes: bytes.len(), entry: SNAPSHOT_HEAD_BYTES });
    }
    let version = i16::from_be_bytes(field(bytes, 0));
    if version != VERSION {
        return Err(FormatError::Version { at: 0, found: i64::from(version), known: "1" });
    }
    let (found, computed) = (u32::from_be_bytes(field(bytes, 2)), crc32c::crc32c(&bytes[CRC_FROM..]));
    if found != computed {
        return Err(FormatError::Checksum { at: 2, found, computed });
    }
    let (whole, rest) = bytes[SNAPSHOT_HEAD_BYTES..].as_chunks::<SNAPSHOT_ENTRY_BYTES>();
    let announced = i64::from(i32::from_be_bytes(field(bytes, CRC_FROM)));
    if !rest.is_empty() || whole.len() as i64 != announced {
        let at = (bytes.len() - rest.len()) as u64;
        return Err(FormatError::Count { at, what: "whole producers", found: whole.len() as u64, announced });
    }
    let producers: Vec<ProducerEntry> = whole.iter().map(|raw| ProducerEntry::read(raw)).collect();
    check(&producers, offset)?;
    Ok(producers)
}

fn check(producers: &[ProducerEntry], offset: i64) -> Result<(), FormatError> {
    let mut seen = BTreeSet::new();
    for (at, producer) in (SNAPSHOT_HEAD_BYTES as u64..).step_by(SNAPSHOT_ENTRY_BYTES).zip(producers) {
        FormatError::check_range(at, "producer id", producer.producer_id, (0, i64::MAX))?;
        FormatError::check_range(at, "last offset", producer.last_offset, (-1, offset - 1))?;
        let open = producer.txn_first_offset.unwrap_or(-1);
        FormatError::check_range(at, "first offset of the open transaction", open, (-1, offset - 1))?;
        if !seen.insert(producer.producer_id) {
            let (value, before) = (producer.producer_id, producer.producer_id);
            return Err(FormatError::NotGrowing { at, field: "producer id", value, before });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn producer(producer_id: i64) -> ProducerEntry {
        ProducerEntry {
            producer_id,
            producer_epoch: 3,
            last_sequence: 47,
            last_offset: 155,
            offset_delta: 7,
            timestamp: 1_700_000_000_000,
            coordinator_epoch: -1,
            txn_first_offset: Some(120),
        }
    }

    #[test]
    fn all_fields_come_back() {
        let producers = vec![producer(2), ProducerEntry { txn_first_offset: None, ..producer(9) }];
        let bytes = encode_producer_snapshot(&producers);
        assert_eq!(bytes.len(), 10 + 2 * 46);
        assert_eq!(decode_producer_snapshot(&bytes, 156), Ok(producers));
    }

    #[test]
    fn a_batchs_first_sequence_is_told_across_the_wrap() {
        assert_eq!(producer(2).first_sequence(), 40);
        let wrapped = ProducerEntry { last_sequence: 1, offset_delta: 3, ..producer(2) };
        assert_eq!(wrapped.first_sequence(), i32::MAX - 1);
        let marker_only = ProducerEntry { last_sequence: -1, offset_delta: 0, ..producer(2) };
        assert_eq!(marker_only.first_sequence(), -1);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_byte() {
        let bytes = encode_producer_snapshot(&[producer(2)]);
        let wrong = |bytes: &[u8]| decode_producer_snapshot(bytes, 156).unwrap_err();
        assert_eq!(wrong(&bytes[..9]), FormatError::PartEntry { at: 0, bytes: 9, entry: 10 });
        let mut flipped = bytes.clone();
        flipped[30] ^= 1;
        assert!(matches!(wrong(&flipped), FormatError::Checksum { at: 2, .. }));
        let mut old = bytes.clone();
        old[1] = 0;
        assert_eq!(wrong(&old), FormatError::Version { at: 0, found: 0, known: "1" });
        let twice = wrong(&encode_producer_snapshot(&[producer(2), producer(2)]));
        assert_eq!(twice, FormatError::NotGrowing { at: 56, field: "producer id", value: 2, before: 2 });
        let late = decode_producer_snapshot(&bytes, 155).unwrap_err();
        let beyond = FormatError::OutOfRange { at: 10, field: "last offset", value: 155, least: -1, most: 154 };
        assert_eq!(late, beyond);
    }

    #[test]
    fn a_count_that_does_not_fit_is_named_even_if_its_checksum_does() {
        let mut bytes = encode_producer_snapshot(&[producer(2)]);
        bytes[9] = 2;
        let crc = crc32c::crc32c(&bytes[6..]);
        bytes[2..6].copy_from_slice(&crc.to_be_bytes());
        let few = FormatError::Count { at: 56, what: "whole producers", found: 1, announced: 2 };
        assert_eq!(decode_producer_snapshot(&bytes, 156), Err(few));
    }
}
