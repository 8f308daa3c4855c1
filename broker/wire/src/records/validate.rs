//! What a leader makes of a batch from a client (L8): Kafka's checks in Kafka's order, the topic's codec, the true
//! greatest timestamp. No records are built; a batch that asks for no change keeps its bytes.
//!
//! We are stricter than Kafka 4.1 where it takes what nobody could read later (offsets inside a batch that leave a gap, a
//! delete horizon, a producer without an epoch: INVALID_RECORD), and we name what Kafka calls UNKNOWN_SERVER_ERROR: a codec
//! that there is not (UNSUPPORTED_COMPRESSION_TYPE) and records that do not unpack (INVALID_RECORD).

use super::compress::compress;
use super::header::{CRC_FROM, LENGTH_OVERHEAD};
use super::{Batch, BatchHeader, Codec, Compression, HEADER_LEN};
use crate::WireError;
use crate::codec::{slice_nullable, slice_take, slice_varint, slice_varlong};
use bytes::Bytes;
use klamm_base::ErrorCode;

/// A record without a timestamp says so with this.
const NO_TIMESTAMP: i64 = -1;
/// How many records an answer names. A batch may hold millions, and the answer must not outgrow the request.
const NAMED_RECORDS: usize = 1000;
/// How many of them the message repeats.
const SHOWN_RECORDS: usize = 3;

/// What a topic demands of its batches, and what it makes of them. The defaults are Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// `max.message.bytes`, in bytes; for a batch as it came and for one that was compressed anew.
    pub max_bytes: u32,
    /// `cleanup.policy` holds `compact`: every record needs a key.
    pub compacted: bool,
    /// `compression.type`; `None` leaves batches as producers packed them.
    pub compression: Option<Compression>,
    /// `message.timestamp.type` is LogAppendTime.
    pub append_time: bool,
    /// `message.timestamp.before.max.ms`: how far a timestamp may lie before the broker's clock.
    pub before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far it may lie after it.
    pub after_max_ms: i64,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            max_bytes: 1_048_588,
            compacted: false,
            compression: None,
            append_time: false,
            before_max_ms: i64::MAX,
            after_max_ms: 3_600_000,
        }
    }
}

/// Why a batch was not taken, as a Produce answer tells it (KIP-467).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", message.as_deref().unwrap_or(error.text()))]
pub struct Refused {
    /// The answer's code.
    pub error: ErrorCode,
    /// For people; only where single records are to blame.
    pub message: Option<String>,
    /// The records that are to blame, a thousand of them at most.
    pub records: Vec<RecordError>,
}

/// What is wrong with one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// Its place in the batch, from 0.
    pub index: i32,
    /// For people.
    pub message: String,
}

impl From<ErrorCode> for Refused {
    fn from(error: ErrorCode) -> Self {
        Refused { error, message: None, records: Vec::new() }
    }
}

/// Cuts out the one batch that a partition's part of a Produce request holds, unread. As in Kafka bytes behind it that are
/// no whole batch are left out. zstd is known from Produce version 7 on (KIP-110): `zstd` says whether it is.
///
/// # Errors
/// `InvalidRecord` for no whole batch, several, or one of the older formats (magic 0 and 1); `CorruptMessage` for what is no
/// batch at all; `UnsupportedCompressionType`.
pub fn sole_batch(records: &Bytes, zstd: bool) -> Result<Bytes, ErrorCode> {
    let size = whole_batch(records)?.ok_or(ErrorCode::InvalidRecord)?;
    if records[MAGIC_AT] != 2 {
        return Err(ErrorCode::InvalidRecord);
    }
    let codec = records.get(ATTRIBUTES_LOW).map(|low| Codec::from_bits(low & 0b111));
    if !zstd && codec == Some(Ok(Codec::Zstd)) {
        return Err(ErrorCode::UnsupportedCompressionType);
    }
    match whole_batch(&records[size..])? {
        None => Ok(records.slice(..size)),
        Some(_) => Err(ErrorCode::InvalidRecord),
    }
}

const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const ATTRIBUTES_LOW: usize = 22;

/// Length of the whole batch, of any format, that `bytes` opens with; `None` if its end is not there.
fn whole_batch(bytes: &[u8]) -> Result<Option<usize>, ErrorCode> {
    /// The oldest format's smallest length.
    const LENGTH_MIN: i32 = 14;
    let Some(length) = bytes.get(8..LENGTH_OVERHEAD).and_then(|field| field.first_chunk()) else { return Ok(None) };
    let length = i32::from_be_bytes(*length);
    if length < LENGTH_MIN {
        return Err(ErrorCode::CorruptMessage);
    }
    let Some(magic) = bytes.get(MAGIC_AT) else { return Ok(None) };
    if *magic > 2 {
        return Err(ErrorCode::CorruptMessage);
    }
    let size = LENGTH_OVERHEAD + length as usize;
    Ok((size <= bytes.len()).then_some(size))
}

/// Checks one batch v2 (from [`sole_batch`]) and makes it what the topic wants: in the topic's codec if that is another
/// than the batch's, with the true greatest timestamp if the producer's timestamps stand. Under append time it is to be
/// stamped, [`Batch::into_appended_at`], when it is appended. `now_ms` is the broker's wall clock.
///
/// # Errors
/// In this order: `InvalidRecord` for a base offset but 0, `MessageTooLarge`, `CorruptMessage`, `InvalidRecord` for a
/// header that contradicts itself, a control batch or records that do not fit it, `InvalidTimestamp` or `InvalidRecord`
/// with the single records that are to blame, `MessageTooLarge` for a batch that grew under the topic's codec.
pub fn validate(bytes: &Bytes, rules: &Rules, now_ms: i64) -> Result<Batch, Refused> {
    let batch = read_whole(bytes, rules.max_bytes)?;
    check_header(&batch.header)?;
    let plain = unpack(&batch)?;
    let greatest = walk(&plain, &batch.header, rules, now_ms)?;
    let wanted = rules.compression.filter(|wanted| batch.header.codec() != Ok(wanted.codec));
    let repacked = wanted.map(|wanted| repack(&batch.header, wanted, &plain));
    // Whoever else holds the batch's bytes makes a change of them a copy.
    drop(plain);
    let batch = repacked.unwrap_or(batch);
    if batch.bytes.len() > rules.max_bytes as usize {
        return Err(ErrorCode::MessageTooLarge.into());
    }
    Ok(if rules.append_time { batch } else { batch.with_timestamps(false, greatest) })
}

/// Size and checksum come before all that only a sound batch can be asked for.
fn read_whole(bytes: &Bytes, max_bytes: u32) -> Result<Batch, ErrorCode> {
    let base_offset = bytes.first_chunk().copied().map(i64::from_be_bytes);
    if base_offset.is_some_and(|base| base != 0) {
        return Err(ErrorCode::InvalidRecord);
    }
    if bytes.len() > max_bytes as usize {
        return Err(ErrorCode::MessageTooLarge);
    }
    let stored: Option<&[u8; 4]> = bytes.get(CRC_AT..CRC_FROM).and_then(|field| field.first_chunk());
    if bytes.len() < HEADER_LEN || stored.copied().map(u32::from_be_bytes) != Some(crc32c::crc32c(&bytes[CRC_FROM..])) {
        return Err(ErrorCode::CorruptMessage);
    }
    match Batch::parse(bytes) {
        Ok(batch) if batch.bytes.len() == bytes.len() => Ok(batch),
        Ok(_) | Err(WireError::Truncated) => Err(ErrorCode::CorruptMessage),
        Err(_) => Err(ErrorCode::InvalidRecord),
    }
}

fn check_header(header: &BatchHeader) -> Result<(), ErrorCode> {
    let count_fits =
        header.record_count > 0 && i64::from(header.last_offset_delta) + 1 == i64::from(header.record_count);
    let producer_fits = !header.has_producer() || (header.base_sequence >= 0 && header.producer_epoch >= 0);
    let transaction_fits = header.has_producer() || !header.is_transactional();
    if count_fits && producer_fits && transaction_fits && !header.is_control() && !header.has_delete_horizon() {
        Ok(())
    } else {
        Err(ErrorCode::InvalidRecord)
    }
}

fn unpack(batch: &Batch) -> Result<Bytes, ErrorCode> {
    batch.unpacked().map_err(|error| match error {
        WireError::UnknownCodec(_) => ErrorCode::UnsupportedCompressionType,
        WireError::TooLarge { .. } => ErrorCode::MessageTooLarge,
        _ => ErrorCode::InvalidRecord,
    })
}

/// The records stay as they are: their deltas count from the header's base, which stays too.
fn repack(header: &BatchHeader, wanted: Compression, plain: &[u8]) -> Batch {
    Batch::sealed(header.with_codec(wanted.codec), &compress(wanted, plain))
}

/// Reads on to the end of the records and gives their greatest timestamp.
fn walk(mut rest: &[u8], header: &BatchHeader, rules: &Rules, now_ms: i64) -> Result<i64, Refused> {
    let mut greatest = NO_TIMESTAMP;
    let mut blamed = Blamed::default();
    for expected in 0..header.record_count {
        let step = step(&mut rest).filter(|step| step.offset_delta == expected).ok_or(ErrorCode::InvalidRecord)?;
        let timestamp = match header.is_append_time() {
            true => header.max_timestamp,
            false => header.base_timestamp.wrapping_add(step.timestamp_delta),
        };
        greatest = greatest.max(timestamp);
        if rules.compacted && !step.has_key {
            blamed.add(expected, ErrorCode::InvalidRecord, || {
                "it has no key, which a topic with cleanup.policy=compact needs".to_owned()
            });
        } else if let Some(message) = bad_timestamp(timestamp, header, rules, now_ms) {
            blamed.add(expected, ErrorCode::InvalidTimestamp, || message);
        }
    }
    match (rest.is_empty(), blamed.count) {
        (false, _) => Err(ErrorCode::InvalidRecord.into()),
        (true, 0) => Ok(greatest),
        (true, _) => Err(blamed.refused()),
    }
}

/// A bit for append time is the broker's to set. Kafka looks for it only where it does not look at the time itself.
fn bad_timestamp(timestamp: i64, header: &BatchHeader, rules: &Rules, now_ms: i64) -> Option<String> {
    if rules.append_time || timestamp == NO_TIMESTAMP {
        let claimed = "it claims to carry the broker's append time: only a broker may set that";
        return header.is_append_time().then(|| claimed.to_owned());
    }
    let age = now_ms.wrapping_sub(timestamp);
    let (before, after) = (rules.before_max_ms, rules.after_max_ms);
    (age > before || age.wrapping_neg() > after).then(|| {
        let (from, to) = (now_ms.saturating_sub(before), now_ms.saturating_add(after));
        format!(
            "its timestamp {timestamp} lies outside of {from} to {to}, which message.timestamp.before.max.ms and \
             message.timestamp.after.max.ms allow"
        )
    })
}

/// The records that are to blame, so far.
#[derive(Default)]
struct Blamed {
    count: usize,
    bad_time: bool,
    records: Vec<RecordError>,
}

impl Blamed {
    fn add(&mut self, index: i32, error: ErrorCode, message: impl FnOnce() -> String) {
        self.count += 1;
        self.bad_time |= error == ErrorCode::InvalidTimestamp;
        if self.records.len() < NAMED_RECORDS {
            self.records.push(RecordError { index, message: message() });
        }
    }

    /// One timestamp that is out of bounds makes the whole answer say so.
    fn refused(self) -> Refused {
        let shown = self.records.iter().take(SHOWN_RECORDS);
        let shown: Vec<String> = shown.map(|record| format!("record {}: {}", record.index, record.message)).collect();
        let more = if self.count > SHOWN_RECORDS { "; …" } else { "" };
        let message = format!("{} of the batch's records cannot be taken: {}{more}", self.count, shown.join("; "));
        let error = if self.bad_time { ErrorCode::InvalidTimestamp } else { ErrorCode::InvalidRecord };
        Refused { error, message: Some(message), records: self.records }
    }
}

/// What one record says of itself.
struct Step {
    timestamp_delta: i64,
    offset_delta: i32,
    has_key: bool,
}

/// The next record; `None` if its lengths do not fit.
fn step(rest: &mut &[u8]) -> Option<Step> {
    let length = slice_varint(rest)?;
    let mut record = slice_take(rest, length)?;
    slice_take(&mut record, 1)?;
    let timestamp_delta = slice_varlong(&mut record)?;
    let offset_delta = slice_varint(&mut record)?;
    let has_key = slice_nullable(&mut record)?.is_some();
    slice_nullable(&mut record)?;
    let headers = u32::try_from(slice_varint(&mut record)?).ok()?;
    for _ in 0..headers {
        slice_nullable(&mut record)??;
        slice_nullable(&mut record)?;
    }
    record.is_empty().then_some(Step { timestamp_delta, offset_delta, has_key })
}
