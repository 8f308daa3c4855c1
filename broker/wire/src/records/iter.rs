//! Reading the records of a batch.

use super::Batch;
use crate::codec::{varint, varlong};
use crate::{Str, WireError};
use bytes::{Buf, Bytes};

/// One record of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970; the batch's append time where that stands for every record.
    pub timestamp: i64,
    /// Key, if any.
    pub key: Option<Bytes>,
    /// Value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Headers in their order; a key may repeat.
    pub headers: Vec<(Str, Option<Bytes>)>,
}

/// Reads a batch's records in order, unpacking them first if they are compressed (as [`Batch::unpacked`]).
/// Checks lengths and the record count, not the checksum; nothing follows an error.
pub fn records(batch: &Batch) -> Records {
    let header = batch.header;
    let append_time = header.is_append_time().then_some(header.max_timestamp);
    let (body, failed) = match batch.unpacked() {
        Ok(body) => (body, None),
        Err(error) => (Bytes::new(), Some(error)),
    };
    let (base_offset, base_timestamp, left) = (header.base_offset, header.base_timestamp, header.record_count);
    Records { body, base_offset, base_timestamp, append_time, left, failed }
}

/// See [`records`].
#[derive(Clone, Debug)]
pub struct Records {
    body: Bytes,
    base_offset: i64,
    base_timestamp: i64,
    append_time: Option<i64>,
    left: i32,
    failed: Option<WireError>,
}

impl Records {
    fn read(&mut self) -> Result<Record, WireError> {
        let length = varint(&mut self.body)?;
        let mut body = take(&mut self.body, length)?;
        if !body.has_remaining() {
            return Err(WireError::Truncated);
        }
        body.advance(1);
        let timestamp = self.base_timestamp.wrapping_add(varlong(&mut body)?);
        let offset = self.base_offset.wrapping_add(i64::from(varint(&mut body)?));
        let key = nullable(&mut body)?;
        let value = nullable(&mut body)?;
        let headers = headers(&mut body)?;
        if body.has_remaining() {
            return Err(WireError::BadBatch("a record is longer than its fields"));
        }
        Ok(Record { offset, timestamp: self.append_time.unwrap_or(timestamp), key, value, headers })
    }

    fn end(&mut self) -> Option<Result<Record, WireError>> {
        let rest = std::mem::take(&mut self.body);
        (!rest.is_empty()).then_some(Err(WireError::BadBatch("it holds more than its record count")))
    }
}

impl Iterator for Records {
    type Item = Result<Record, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.failed.take() {
            self.left = 0;
            return Some(Err(error));
        }
        if self.left == 0 {
            return self.end();
        }
        self.left -= 1;
        let record = self.read();
        if record.is_err() {
            self.left = 0;
            self.body = Bytes::new();
        }
        Some(record)
    }
}

fn take(buf: &mut Bytes, length: i32) -> Result<Bytes, WireError> {
    match usize::try_from(length) {
        Ok(length) if length <= buf.len() => Ok(buf.split_to(length)),
        _ => Err(WireError::BadLength(i64::from(length))),
    }
}

fn nullable(buf: &mut Bytes) -> Result<Option<Bytes>, WireError> {
    match varint(buf)? {
        -1 => Ok(None),
        length => take(buf, length).map(Some),
    }
}

fn headers(buf: &mut Bytes) -> Result<Vec<(Str, Option<Bytes>)>, WireError> {
    let count = varint(buf)?;
    // A header is two lengths at least.
    let fits = usize::try_from(count).is_ok_and(|count| count <= buf.len() / 2);
    if !fits {
        return Err(WireError::BadLength(i64::from(count)));
    }
    let mut headers = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let length = varint(buf)?;
        let key = Str::try_from(take(buf, length)?)?;
        headers.push((key, nullable(buf)?));
    }
    Ok(headers)
}
