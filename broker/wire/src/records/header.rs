//! The 61 bytes that open a batch.

use super::Codec;
use crate::WireError;

/// Length of a batch's header in bytes.
pub const HEADER_LEN: usize = 61;
/// Bytes of a batch that its length field does not count: base offset and the field itself.
pub(super) const LENGTH_OVERHEAD: usize = 12;
/// Where the bytes of a batch begin that its CRC covers: the attributes (L2).
pub const CRC_FROM: usize = 21;

const CODEC_BITS: i16 = 0b111;
const APPEND_TIME_BIT: i16 = 1 << 3;
const TRANSACTIONAL_BIT: i16 = 1 << 4;
const CONTROL_BIT: i16 = 1 << 5;
const DELETE_HORIZON_BIT: i16 = 1 << 6;

/// The header of a record batch v2 (L1), all numbers big-endian on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record; outside of the CRC.
    pub base_offset: i64,
    /// Bytes that follow this field.
    pub batch_length: i32,
    /// Epoch of the leader that appended it; outside of the CRC; -1 from a client.
    pub partition_leader_epoch: i32,
    /// Format version, 2.
    pub magic: i8,
    /// CRC-32C of everything from `attributes` on.
    pub crc: u32,
    /// Codec, timestamp type, transactional, control, delete horizon (L3).
    pub attributes: i16,
    /// Offset of the last record, relative to `base_offset`; stays when compaction removes records.
    pub last_offset_delta: i32,
    /// Milliseconds since 1970 of the first record, or the delete horizon.
    pub base_timestamp: i64,
    /// Largest timestamp of the records, milliseconds since 1970.
    pub max_timestamp: i64,
    /// Producer id, -1 without one.
    pub producer_id: i64,
    /// Producer epoch, -1 without one.
    pub producer_epoch: i16,
    /// Sequence of the first record, -1 without one.
    pub base_sequence: i32,
    /// Records that the batch says to hold.
    pub record_count: i32,
}

fn take<const N: usize>(bytes: &[u8; HEADER_LEN], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

impl BatchHeader {
    /// Reads the header of the batch that `bytes` opens with; `bytes` may be shorter than the batch.
    ///
    /// # Errors
    /// `Truncated` below 61 bytes, `BadMagic`, `BadBatch` for a length, count or offset delta that cannot be.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, WireError> {
        let head: &[u8; HEADER_LEN] = bytes.first_chunk().ok_or(WireError::Truncated)?;
        let header = BatchHeader {
            base_offset: i64::from_be_bytes(take(head, 0)),
            batch_length: i32::from_be_bytes(take(head, 8)),
            partition_leader_epoch: i32::from_be_bytes(take(head, 12)),
            magic: head[16] as i8,
            crc: u32::from_be_bytes(take(head, 17)),
            attributes: i16::from_be_bytes(take(head, 21)),
            last_offset_delta: i32::from_be_bytes(take(head, 23)),
            base_timestamp: i64::from_be_bytes(take(head, 27)),
            max_timestamp: i64::from_be_bytes(take(head, 35)),
            producer_id: i64::from_be_bytes(take(head, 43)),
            producer_epoch: i16::from_be_bytes(take(head, 51)),
            base_sequence: i32::from_be_bytes(take(head, 53)),
            record_count: i32::from_be_bytes(take(head, 57)),
        };
        header.check()?;
        Ok(header)
    }

    fn check(&self) -> Result<(), WireError> {
        if self.magic != 2 {
            return Err(WireError::BadMagic(self.magic));
        }
        if self.batch_length < (HEADER_LEN - LENGTH_OVERHEAD) as i32 {
            return Err(WireError::BadBatch("its length is shorter than a header"));
        }
        if self.last_offset_delta < 0 {
            return Err(WireError::BadBatch("its last offset lies before its first"));
        }
        if self.record_count < 0 {
            return Err(WireError::BadBatch("its record count is negative"));
        }
        // The offset behind it must be one, too.
        if self.base_offset.checked_add(i64::from(self.last_offset_delta) + 1).is_none() {
            return Err(WireError::BadBatch("its last offset is beyond the largest offset"));
        }
        Ok(())
    }

    /// The header's 61 bytes.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[0..8].copy_from_slice(&self.base_offset.to_be_bytes());
        out[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        out[12..16].copy_from_slice(&self.partition_leader_epoch.to_be_bytes());
        out[16] = self.magic as u8;
        out[17..21].copy_from_slice(&self.crc.to_be_bytes());
        out[21..23].copy_from_slice(&self.attributes.to_be_bytes());
        out[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        out[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        out[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        out[43..51].copy_from_slice(&self.producer_id.to_be_bytes());
        out[51..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        out[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        out[57..61].copy_from_slice(&self.record_count.to_be_bytes());
        out
    }

    /// With the checksum that these packed records and this header's own fields have.
    pub(super) fn sealed(self, packed: &[u8]) -> BatchHeader {
        let crc = crc32c::crc32c_append(crc32c::crc32c(&self.to_bytes()[CRC_FROM..]), packed);
        BatchHeader { crc, ..self }
    }

    pub(super) fn with_codec(self, codec: Codec) -> BatchHeader {
        BatchHeader { attributes: (self.attributes & !CODEC_BITS) | codec as i16, ..self }
    }

    pub(super) fn with_append_time(self, yes: bool) -> BatchHeader {
        let bit = if yes { APPEND_TIME_BIT } else { 0 };
        BatchHeader { attributes: (self.attributes & !APPEND_TIME_BIT) | bit, ..self }
    }

    /// Offset of the last record that the batch stands for.
    #[inline]
    pub fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    /// Offset after the batch.
    #[inline]
    pub fn next_offset(&self) -> i64 {
        self.last_offset() + 1
    }

    /// The whole batch in bytes, header included.
    #[inline]
    pub fn size(&self) -> usize {
        LENGTH_OVERHEAD + self.batch_length as usize
    }

    /// True if it holds a control record, which applications never see (L7).
    #[inline]
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    /// True if it belongs to a transaction.
    #[inline]
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    /// True if `max_timestamp` is the broker's append time and stands for every record.
    #[inline]
    pub fn is_append_time(&self) -> bool {
        self.attributes & APPEND_TIME_BIT != 0
    }

    /// True if `base_timestamp` holds a delete horizon (compaction).
    #[inline]
    pub fn has_delete_horizon(&self) -> bool {
        self.attributes & DELETE_HORIZON_BIT != 0
    }

    /// True if a producer id stands in it (idempotent or transactional).
    #[inline]
    pub fn has_producer(&self) -> bool {
        self.producer_id >= 0
    }

    /// How its records are compressed.
    ///
    /// # Errors
    /// `UnknownCodec` for 5 to 7.
    #[inline]
    pub fn codec(&self) -> Result<Codec, WireError> {
        Codec::from_bits((self.attributes & CODEC_BITS) as u8)
    }

    /// Sequence of the last record, which wraps from `i32::MAX` to 0 (L5); -1 without a sequence.
    #[inline]
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return -1;
        }
        let last = i64::from(self.base_sequence) + i64::from(self.last_offset_delta);
        (last % (i64::from(i32::MAX) + 1)) as i32
    }

    /// A 64-bit mark of the batch's content, the same in every replica: neither base offset nor leader epoch is in it.
    pub fn identity(&self) -> u64 {
        let words = [
            u64::from(self.crc) << 32 | u64::from(self.attributes as u16) << 16 | u64::from(self.producer_epoch as u16),
            self.producer_id as u64,
            u64::from(self.base_sequence as u32) << 32 | u64::from(self.record_count as u32),
            self.base_timestamp as u64,
            self.max_timestamp as u64,
            u64::from(self.last_offset_delta as u32) << 32 | u64::from(self.batch_length as u32),
        ];
        words.iter().fold(0x6b6c_616d_6d00_0002, |mark, word| mix(mark ^ word))
    }
}

/// A bijection of 64 bits in which every input bit moves about half of the output bits.
#[inline]
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 32)).wrapping_mul(0x9fb2_1c65_1e98_df25);
    x = (x ^ (x >> 29)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    x ^ (x >> 32)
}

pub(super) mod attribute {
    pub(in super::super) const DELETE_HORIZON: i16 = super::DELETE_HORIZON_BIT;
    pub(in super::super) const CONTROL: i16 = super::CONTROL_BIT;
    pub(in super::super) const TRANSACTIONAL: i16 = super::TRANSACTIONAL_BIT;
}
