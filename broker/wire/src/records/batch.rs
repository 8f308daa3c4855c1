//! A batch and the cutting of bytes into batches.

use super::BatchHeader;
use super::header::{CRC_FROM, HEADER_LEN, LENGTH_OVERHEAD};
use crate::WireError;
use bytes::Bytes;

/// A whole batch: its header, read, and all its bytes, header included.
///
/// `header` and `bytes` always tell the same; make one with [`Batch::parse`], [`split`] or a builder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The header, read.
    pub header: BatchHeader,
    /// The whole batch.
    pub bytes: Bytes,
}

impl Batch {
    /// Takes the batch that `bytes` opens with; what follows is left out.
    ///
    /// # Errors
    /// As [`BatchHeader::parse`]; `Truncated` also if the batch is longer than `bytes`.
    pub fn parse(bytes: &Bytes) -> Result<Batch, WireError> {
        let header = BatchHeader::parse(bytes)?;
        if header.size() > bytes.len() {
            return Err(WireError::Truncated);
        }
        Ok(Batch { header, bytes: bytes.slice(..header.size()) })
    }

    /// True if the checksum matches. It covers everything but base offset, length, leader epoch and magic (L2).
    pub fn crc_ok(&self) -> bool {
        crc32c::crc32c(&self.bytes[CRC_FROM..]) == self.header.crc
    }

    /// What follows the header: the records, compressed as the header says. Shares the batch's bytes.
    pub fn payload(&self) -> Bytes {
        self.bytes.slice(HEADER_LEN..)
    }

    /// The 61 header bytes with another base offset and leader epoch; the checksum stays valid.
    pub fn placed_header(&self, base_offset: i64, leader_epoch: i32) -> [u8; HEADER_LEN] {
        BatchHeader { base_offset, partition_leader_epoch: leader_epoch, ..self.header }.to_bytes()
    }

    /// The same batch at another place in a log: one copy of its bytes. Who gathers many into one buffer saves that
    /// copy with [`Batch::write_placed`].
    pub fn placed(&self, base_offset: i64, leader_epoch: i32) -> Batch {
        let mut out = Vec::with_capacity(self.bytes.len());
        self.write_placed(&mut out, base_offset, leader_epoch);
        let header = BatchHeader { base_offset, partition_leader_epoch: leader_epoch, ..self.header };
        Batch { header, bytes: Bytes::from(out) }
    }

    /// As [`Batch::placed`], without a copy if nobody else holds the bytes (or the frame that they are a part of).
    pub fn into_placed(self, base_offset: i64, leader_epoch: i32) -> Batch {
        assert_eq!(self.bytes.len(), self.header.size(), "a batch whose bytes are not its header's");
        match self.bytes.try_into_mut() {
            Ok(mut bytes) => {
                let header = BatchHeader { base_offset, partition_leader_epoch: leader_epoch, ..self.header };
                bytes[..HEADER_LEN].copy_from_slice(&header.to_bytes());
                Batch { header, bytes: bytes.freeze() }
            }
            Err(bytes) => Batch { bytes, ..self }.placed(base_offset, leader_epoch),
        }
    }

    /// The batch stamped by its leader: every record now carries the append time, the producer's timestamps are left where
    /// they are (L3). One pass for the checksum, nothing is unpacked, and nothing copied if nobody else holds the bytes.
    pub fn into_appended_at(self, now_ms: i64) -> Batch {
        self.with_timestamps(true, now_ms)
    }

    /// Sets the timestamp type and the greatest timestamp. A batch that carries them keeps its bytes.
    pub(super) fn with_timestamps(self, append_time: bool, max_timestamp: i64) -> Batch {
        let before = self.header;
        let header = BatchHeader { max_timestamp, ..before }.with_append_time(append_time);
        if header == before {
            return self;
        }
        match self.bytes.try_into_mut() {
            Ok(mut bytes) => {
                let header = header.sealed(&bytes[HEADER_LEN..]);
                bytes[..HEADER_LEN].copy_from_slice(&header.to_bytes());
                Batch { header, bytes: bytes.freeze() }
            }
            Err(bytes) => Batch::sealed(header, &bytes[HEADER_LEN..]),
        }
    }

    /// A batch of this header and these packed records, its length and checksum made right.
    pub(super) fn sealed(header: BatchHeader, packed: &[u8]) -> Batch {
        let length = HEADER_LEN - LENGTH_OVERHEAD + packed.len();
        let batch_length = i32::try_from(length).expect("a batch is smaller than 2 GiB");
        let header = BatchHeader { batch_length, ..header }.sealed(packed);
        let mut bytes = Vec::with_capacity(header.size());
        bytes.extend_from_slice(&header.to_bytes());
        bytes.extend_from_slice(packed);
        Batch { header, bytes: Bytes::from(bytes) }
    }

    /// Appends the batch, placed, to `out`.
    pub fn write_placed(&self, out: &mut Vec<u8>, base_offset: i64, leader_epoch: i32) {
        assert_eq!(self.bytes.len(), self.header.size(), "a batch whose bytes are not its header's");
        out.reserve(self.bytes.len());
        out.extend_from_slice(&self.placed_header(base_offset, leader_epoch));
        out.extend_from_slice(&self.bytes[HEADER_LEN..]);
    }
}

/// Cuts `records` into batches. A header that cannot be and a truncated last batch are errors; nothing follows an error.
pub fn split(records: &Bytes) -> Split {
    Split { rest: records.clone() }
}

/// Cuts `records` into whole batches: a truncated last batch ends the iteration without error, as a fetch or the end of
/// a torn file may leave one.
pub fn split_whole(records: &Bytes) -> SplitWhole {
    SplitWhole { inner: split(records) }
}

/// See [`split`].
#[derive(Clone, Debug)]
pub struct Split {
    rest: Bytes,
}

impl Split {
    /// What has not been cut yet.
    pub fn rest(&self) -> &Bytes {
        &self.rest
    }
}

impl Iterator for Split {
    type Item = Result<Batch, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let batch = Batch::parse(&self.rest);
        let cut = batch.as_ref().map_or(self.rest.len(), |batch| batch.bytes.len());
        self.rest = self.rest.split_off(cut);
        Some(batch)
    }
}

/// See [`split_whole`].
#[derive(Clone, Debug)]
pub struct SplitWhole {
    inner: Split,
}

impl Iterator for SplitWhole {
    type Item = Result<Batch, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.inner.next().filter(|item| *item != Err(WireError::Truncated))
    }
}
