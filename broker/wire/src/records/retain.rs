//! What compaction sees of a batch, and the batch that it leaves behind (L6, KIP-534).

use super::compress::{UNPACKED_LIMIT, decompress};
use super::header::{HEADER_LEN, attribute};
use super::{Batch, BatchHeader, Codec, compress};
use crate::WireError;
use crate::codec::{put_varint, put_varlong, slice_nullable, slice_take, slice_varint, slice_varlong, varlong_len};
use bytes::Bytes;

/// One record of a batch, cut out but not built: what compaction decides by, and the rest as it stands. Nothing that a
/// client may have put into headers can keep a log from being cleaned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawRecord<'a> {
    /// Its offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970; the batch's append time where that stands for every record.
    pub timestamp: i64,
    /// Key, if any.
    pub key: Option<&'a [u8]>,
    /// It has no value.
    pub is_tombstone: bool,
    attributes: u8,
    /// All bytes behind the timestamp.
    tail: &'a [u8],
}

impl Batch {
    /// What follows the header, unpacked (up to [`UNPACKED_LIMIT`] bytes); shared if it is not compressed.
    ///
    /// # Errors
    /// `UnknownCodec`, `BadCompression`, `TooLarge`.
    pub fn unpacked(&self) -> Result<Bytes, WireError> {
        match self.header.codec()? {
            Codec::None => Ok(self.payload()),
            codec => decompress(codec, &self.bytes[HEADER_LEN..], UNPACKED_LIMIT).map(Bytes::from),
        }
    }
}

/// Cuts `plain`, what [`Batch::unpacked`] gave of the batch with this header, into its records.
///
/// # Errors
/// `BadBatch` if lengths or the record count do not fit.
pub fn raw_records<'a>(header: &BatchHeader, mut plain: &'a [u8]) -> Result<Vec<RawRecord<'a>>, WireError> {
    // A record has seven bytes at least: a count that lies is not given memory.
    let mut records = Vec::with_capacity((header.record_count as usize).min(plain.len() / 7));
    for _ in 0..header.record_count {
        records.push(cut_record(header, &mut plain).ok_or(WireError::BadBatch("a record's lengths do not fit"))?);
    }
    if plain.is_empty() { Ok(records) } else { Err(WireError::BadBatch("it holds more than its record count")) }
}

fn cut_record<'a>(header: &BatchHeader, plain: &mut &'a [u8]) -> Option<RawRecord<'a>> {
    let length = slice_varint(plain)?;
    let (attributes, mut rest) = slice_take(plain, length)?.split_first()?;
    let delta = slice_varlong(&mut rest)?;
    let tail = rest;
    let offset = header.base_offset.wrapping_add(i64::from(slice_varint(&mut rest)?));
    let key = slice_nullable(&mut rest)?;
    let value = slice_nullable(&mut rest)?;
    let timestamp =
        if header.is_append_time() { header.max_timestamp } else { header.base_timestamp.wrapping_add(delta) };
    Some(RawRecord { offset, timestamp, key, is_tombstone: value.is_none(), attributes: *attributes, tail })
}

impl BatchHeader {
    /// Milliseconds since 1970 from which on compaction may remove the batch's tombstones or its marker (KIP-534);
    /// `None` while no clean has set it.
    pub fn delete_horizon(&self) -> Option<i64> {
        self.has_delete_horizon().then_some(self.base_timestamp)
    }

    /// The batch with this header and only these of its records, compressed by its own codec. Offsets, sequences, producer
    /// and leader epoch stay. The timestamps count from the delete horizon if there is one, else from the first record.
    pub fn keeping(&self, kept: &[RawRecord<'_>], delete_horizon: Option<i64>) -> Batch {
        let first = kept.first().expect("a batch without records is emptied");
        let base_timestamp = delete_horizon.unwrap_or(first.timestamp);
        let mut plain = Vec::new();
        kept.iter().for_each(|record| write(&mut plain, record, record.timestamp.wrapping_sub(base_timestamp)));
        let max_timestamp = match self.is_append_time() {
            true => self.max_timestamp,
            false => kept.iter().map(|record| record.timestamp).fold(-1, i64::max),
        };
        let codec = self.codec().expect("its records were unpacked");
        let payload = if codec == Codec::None { plain } else { compress(codec, &plain) };
        let without = self.attributes & !attribute::DELETE_HORIZON;
        let attributes = if delete_horizon.is_some() { without | attribute::DELETE_HORIZON } else { without };
        let record_count = i32::try_from(kept.len()).expect("no more than it had");
        Batch::sealed(BatchHeader { attributes, base_timestamp, max_timestamp, record_count, ..*self }, &payload)
    }

    /// The batch with this header and no records: it keeps its offsets, and the last sequence of its producer.
    pub fn emptied(&self) -> Batch {
        let attributes = self.attributes & !attribute::DELETE_HORIZON;
        let header = BatchHeader { attributes, base_timestamp: -1, record_count: 0, ..*self };
        Batch::sealed(header.with_codec(Codec::None), &[])
    }
}

fn write(out: &mut Vec<u8>, record: &RawRecord<'_>, timestamp_delta: i64) {
    let length = 1 + varlong_len(timestamp_delta) + record.tail.len();
    put_varint(out, i32::try_from(length).expect("a record is smaller than 2 GiB"));
    out.push(record.attributes);
    put_varlong(out, timestamp_delta);
    out.extend_from_slice(record.tail);
}
