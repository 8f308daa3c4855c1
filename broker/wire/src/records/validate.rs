//! What a leader checks in a batch from a client (L8), without building records.

use super::compress::{UNPACKED_LIMIT, decompress};
use super::{Batch, Codec, HEADER_LEN};
use crate::WireError;
use crate::codec::{slice_varint, slice_varlong};
use klamm_base::ErrorCode;

impl Batch {
    /// Checks a batch that a client sent: its size against `max_bytes` (`max.message.bytes`), the checksum, no control
    /// batch, record count, offsets contiguous from 0, and a key in every record if the topic is `compacted`.
    ///
    /// # Errors
    /// `MessageTooLarge`, `CorruptMessage`, `InvalidRecord`, `UnsupportedCompressionType`.
    pub fn validate_from_client(&self, max_bytes: u32, compacted: bool) -> Result<(), ErrorCode> {
        if self.bytes.len() > max_bytes as usize {
            return Err(ErrorCode::MessageTooLarge);
        }
        if !self.crc_ok() {
            return Err(ErrorCode::CorruptMessage);
        }
        self.validate_header()?;
        let codec = self.header.codec().map_err(|_| ErrorCode::UnsupportedCompressionType)?;
        let payload = &self.bytes[HEADER_LEN..];
        if codec == Codec::None {
            return walk(payload, self.header.record_count, compacted);
        }
        match decompress(codec, payload, UNPACKED_LIMIT) {
            Ok(plain) => walk(&plain, self.header.record_count, compacted),
            Err(WireError::TooLarge { .. }) => Err(ErrorCode::MessageTooLarge),
            Err(_) => Err(ErrorCode::CorruptMessage),
        }
    }

    fn validate_header(&self) -> Result<(), ErrorCode> {
        let header = &self.header;
        let count_fits = i64::from(header.last_offset_delta) + 1 == i64::from(header.record_count);
        let producer_fits = !header.has_producer() || (header.base_sequence >= 0 && header.producer_epoch >= 0);
        let transaction_fits = header.has_producer() || !header.is_transactional();
        if count_fits && producer_fits && transaction_fits && !header.is_control() && !header.has_delete_horizon() {
            Ok(())
        } else {
            Err(ErrorCode::InvalidRecord)
        }
    }
}

fn walk(mut rest: &[u8], count: i32, compacted: bool) -> Result<(), ErrorCode> {
    for expected in 0..count {
        let (offset_delta, has_key) = step(&mut rest).ok_or(ErrorCode::InvalidRecord)?;
        if offset_delta != expected || (compacted && !has_key) {
            return Err(ErrorCode::InvalidRecord);
        }
    }
    if rest.is_empty() { Ok(()) } else { Err(ErrorCode::InvalidRecord) }
}

/// One record's offset delta and whether it has a key; `None` if its lengths do not fit.
fn step(rest: &mut &[u8]) -> Option<(i32, bool)> {
    let length = slice_varint(rest)?;
    let mut record = cut(rest, length)?;
    cut(&mut record, 1)?;
    slice_varlong(&mut record)?;
    let offset_delta = slice_varint(&mut record)?;
    let has_key = skip_nullable(&mut record)?;
    skip_nullable(&mut record)?;
    let headers = u32::try_from(slice_varint(&mut record)?).ok()?;
    for _ in 0..headers {
        if !skip_nullable(&mut record)? {
            return None;
        }
        skip_nullable(&mut record)?;
    }
    record.is_empty().then_some((offset_delta, has_key))
}

fn skip_nullable(rest: &mut &[u8]) -> Option<bool> {
    match slice_varint(rest)? {
        -1 => Some(false),
        length => cut(rest, length).map(|_| true),
    }
}

fn cut<'a>(rest: &mut &'a [u8], length: i32) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = tail;
    Some(head)
}
