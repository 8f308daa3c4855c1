//! Making batches.

use super::header::{CRC_FROM, HEADER_LEN, LENGTH_OVERHEAD, attribute};
use super::{Batch, BatchHeader, Codec, Compression, compress};
use crate::codec::{put_varint, put_varlong, varint_len, varlong_len};
use bytes::{BufMut, Bytes};

/// Gathers records into one batch. Offsets count from 0 (a leader places the batch later).
///
/// `BatchBuilder::new(now).push(at, key, value, &[]).producer(7, 0, 42).build()`
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    now_ms: i64,
    header: BatchHeader,
    compression: Compression,
    /// Room for the header, then the records; empty before the first record.
    bytes: Vec<u8>,
}

impl BatchBuilder {
    /// An empty batch. `now_ms` (milliseconds since 1970) stands in for a negative timestamp.
    pub fn new(now_ms: i64) -> BatchBuilder {
        let header = BatchHeader {
            base_offset: 0,
            batch_length: 0,
            partition_leader_epoch: -1,
            magic: 2,
            crc: 0,
            attributes: 0,
            last_offset_delta: 0,
            base_timestamp: now_ms,
            max_timestamp: now_ms,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            record_count: 0,
        };
        BatchBuilder { now_ms, header, compression: Codec::None.into(), bytes: Vec::new() }
    }

    /// Makes room for so many bytes of records at once.
    pub fn reserve(&mut self, record_bytes: usize) -> &mut Self {
        self.bytes.reserve(HEADER_LEN + record_bytes);
        self
    }

    /// Appends a record; a negative `timestamp` means now.
    pub fn push(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) -> &mut Self {
        let timestamp = if timestamp < 0 { self.now_ms } else { timestamp };
        let first = self.header.record_count == 0;
        if first {
            self.bytes.resize(HEADER_LEN, 0);
            self.header.base_timestamp = timestamp;
            self.header.max_timestamp = timestamp;
        }
        self.header.max_timestamp = self.header.max_timestamp.max(timestamp);
        let timestamp_delta = timestamp - self.header.base_timestamp;
        let offset_delta = self.header.record_count;
        self.header.last_offset_delta = offset_delta;
        self.header.record_count += 1;
        write_record(&mut self.bytes, timestamp_delta, offset_delta, key, value, headers);
        self
    }

    /// Marks the batch as the producer's, from sequence `base_sequence` on.
    pub fn producer(&mut self, id: i64, epoch: i16, base_sequence: i32) -> &mut Self {
        self.header.producer_id = id;
        self.header.producer_epoch = epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    /// Marks the batch as part of its producer's transaction.
    pub fn transactional(&mut self) -> &mut Self {
        self.header.attributes |= attribute::TRANSACTIONAL;
        self
    }

    /// Marks the batch as control (L7).
    pub fn control(&mut self) -> &mut Self {
        self.header.attributes |= attribute::CONTROL;
        self
    }

    /// Places the batch: offset of its first record and epoch of its leader.
    pub fn at(&mut self, base_offset: i64, leader_epoch: i32) -> &mut Self {
        self.header.base_offset = base_offset;
        self.header.partition_leader_epoch = leader_epoch;
        self
    }

    /// Compresses the records when the batch is built.
    pub fn compressed(&mut self, compression: impl Into<Compression>) -> &mut Self {
        self.compression = compression.into();
        self
    }

    /// Records so far.
    pub fn len(&self) -> usize {
        self.header.record_count as usize
    }

    /// True if no record was pushed.
    pub fn is_empty(&self) -> bool {
        self.header.record_count == 0
    }

    /// Bytes of the batch so far, uncompressed.
    pub fn estimated_size(&self) -> usize {
        self.bytes.len().max(HEADER_LEN)
    }

    /// The batch. The builder is empty afterwards; producer, marks and place stay.
    pub fn build(&mut self) -> Batch {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.resize(bytes.len().max(HEADER_LEN), 0);
        if self.compression.codec != Codec::None {
            let packed = compress(self.compression, &bytes[HEADER_LEN..]);
            bytes.truncate(HEADER_LEN);
            bytes.extend_from_slice(&packed);
        }
        let mut header = self.header.with_codec(self.compression.codec);
        header.batch_length = i32::try_from(bytes.len() - LENGTH_OVERHEAD).expect("a batch is smaller than 2 GiB");
        bytes[..HEADER_LEN].copy_from_slice(&header.to_bytes());
        header.crc = crc32c::crc32c(&bytes[CRC_FROM..]);
        bytes[17..21].copy_from_slice(&header.crc.to_be_bytes());
        (self.header.record_count, self.header.last_offset_delta) = (0, 0);
        Batch { header, bytes: Bytes::from(bytes) }
    }
}

fn write_record(
    out: &mut Vec<u8>,
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[(&str, Option<&[u8]>)],
) {
    let headers_len: usize = headers.iter().map(|(key, value)| blob_len(Some(key.as_bytes())) + blob_len(*value)).sum();
    let length = 1
        + varlong_len(timestamp_delta)
        + varint_len(offset_delta)
        + blob_len(key)
        + blob_len(value)
        + varint_len(headers.len() as i32)
        + headers_len;
    out.reserve(length + 5);
    put_varint(out, length as i32);
    out.put_i8(0);
    put_varlong(out, timestamp_delta);
    put_varint(out, offset_delta);
    put_blob(out, key);
    put_blob(out, value);
    put_varint(out, headers.len() as i32);
    for (key, value) in headers {
        put_blob(out, Some(key.as_bytes()));
        put_blob(out, *value);
    }
}

fn blob_len(blob: Option<&[u8]>) -> usize {
    blob.map_or(varint_len(-1), |bytes| varint_len(bytes.len() as i32) + bytes.len())
}

fn put_blob(out: &mut Vec<u8>, blob: Option<&[u8]>) {
    match blob {
        None => put_varint(out, -1),
        Some(bytes) => {
            put_varint(out, bytes.len() as i32);
            out.extend_from_slice(bytes);
        }
    }
}
