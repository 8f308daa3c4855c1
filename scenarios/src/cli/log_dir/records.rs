//! Batches and records, a line each, under the names that Kafka's own dumper uses.

use super::batches::Found;
use super::internal::{Content, control};
use super::shown::Shown;
use klamm_wire::records::{Batch, Record, records};
use std::io::{self, Write};

fn codec(found: &Found) -> String {
    found.header.codec().map_or_else(|error| format!("({error})"), |codec| format!("{codec:?}").to_lowercase())
}

/// A batch.
pub fn batch(out: &mut impl Write, found: &Found) -> io::Result<()> {
    let header = &found.header;
    let (base, last, count) = (header.base_offset, header.last_offset(), header.record_count);
    write!(out, "baseOffset: {base} lastOffset: {last} count: {count} ")?;
    write!(out, "baseSequence: {} lastSequence: {} ", header.base_sequence, header.last_sequence())?;
    write!(out, "producerId: {} producerEpoch: {} ", header.producer_id, header.producer_epoch)?;
    write!(out, "partitionLeaderEpoch: {} ", header.partition_leader_epoch)?;
    write!(out, "isTransactional: {} isControl: {} ", header.is_transactional(), header.is_control())?;
    match header.has_delete_horizon() {
        true => write!(out, "deleteHorizonMs: {} ", header.base_timestamp)?,
        false => write!(out, "deleteHorizonMs: none ")?,
    }
    write!(out, "position: {} {}: {} ", found.position, time_name(header.is_append_time()), header.max_timestamp)?;
    write!(out, "size: {} magic: {} compresscodec: {} ", header.size(), header.magic, codec(found))?;
    writeln!(out, "crc: {} isvalid: {}", header.crc, found.is_valid())
}

fn time_name(append: bool) -> &'static str {
    if append { "LogAppendTime" } else { "CreateTime" }
}

/// The records of a batch; returns how many there were.
pub fn all(out: &mut impl Write, found: &Found, content: Content) -> io::Result<u64> {
    let Some(batch) = &found.batch else {
        writeln!(out, "| its records are not read: the batch is too large")?;
        return Ok(0);
    };
    let mut count = 0;
    for record in records(batch) {
        match record {
            Ok(record) => one(out, batch, &record, content)?,
            Err(error) => {
                writeln!(out, "| the records cannot be read further: {error}")?;
                return Ok(count);
            }
        }
        count += 1;
    }
    Ok(count)
}

fn one(out: &mut impl Write, batch: &Batch, record: &Record, content: Content) -> io::Result<()> {
    let header = &batch.header;
    let size = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(-1, |bytes| bytes.len() as i64);
    write!(out, "| offset: {} {}: {} ", record.offset, time_name(header.is_append_time()), record.timestamp)?;
    write!(out, "keySize: {} valueSize: {} ", size(&record.key), size(&record.value))?;
    write!(
        out,
        "sequence: {} headers: [",
        sequence(header.base_sequence, record.offset.wrapping_sub(header.base_offset))
    )?;
    for (at, (key, value)) in record.headers.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        match value {
            Some(value) => write!(out, "{comma}{}={}", Shown(key.as_bytes()), Shown(value))?,
            None => write!(out, "{comma}{}", Shown(key.as_bytes()))?,
        }
    }
    write!(out, "]")?;
    if header.is_control() {
        return writeln!(out, " {}", control(record));
    }
    let (key, value) = content.told(record);
    if let Some(key) = key {
        write!(out, " key: {key}")?;
    }
    if let Some(value) = value {
        write!(out, " payload: {value}")?;
    }
    writeln!(out)
}

/// Sequences wrap from the greatest to 0 (L5).
fn sequence(base: i32, delta: i64) -> i64 {
    if base < 0 { -1 } else { i64::from(base).wrapping_add(delta) % (i64::from(i32::MAX) + 1) }
}
