//! `klamm log dump`: the content of every file, in the manner of Kafka's own dumper.

use super::batches::{Batches, Piece};
use super::internal::Content;
use super::tree::{self, Dir, FileEntry, read_whole};
use super::{records, watch::Watch};
use crate::cli::args::LogDumpArgs;
use crate::cli::{Bad, Exit};
use klamm_log::format::{
    CleanShutdown, Extent, FormatError, MetaProperties, OFFSET_ENTRY_BYTES, PartitionMetadata, QuorumState,
    SegmentFile, SegmentKind, SnapshotName, TIME_ENTRY_BYTES, decode_offset_index, decode_producer_snapshot,
    decode_time_index, decode_txn_index, file, parse_epochs, parse_offsets, without_preallocation,
};
use serde::Serialize;
use std::io::{self, Write};

/// Why a dump ended early.
enum Stopped {
    /// Nobody reads any more (`| head`): no error of ours.
    Unread,
    Bad(Bad),
}

impl From<Bad> for Stopped {
    fn from(bad: Bad) -> Self {
        Stopped::Bad(bad)
    }
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Stopped::Unread,
            _ => Stopped::Bad(Bad::plain(format!("cannot print: {error}"))),
        }
    }
}

/// What was told.
#[derive(Debug, Default, Serialize)]
struct Counts {
    files: u64,
    bytes: u64,
    batches: u64,
    records: u64,
    entries: u64,
    /// Files that could not be read to their end.
    unreadable: u64,
}

/// Prints what lies in a directory.
///
/// # Errors
/// What is no log directory or cannot be read.
pub fn dump(args: LogDumpArgs) -> Result<Exit, Bad> {
    let target = tree::look_at(&args.dir)?;
    let out = io::BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let total = target.dirs().iter().flat_map(|dir| &dir.files).map(|file| file.bytes).sum();
    let mut dump = Dump { out, records: args.records, counts: Counts::default(), watch: Watch::new(total) };
    let told = target.dirs().iter().try_for_each(|dir| dump.dir(dir));
    dump.watch.clear();
    match told.and_then(|()| dump.end(args.json)) {
        Ok(()) | Err(Stopped::Unread) => Ok(Exit::Fine),
        Err(Stopped::Bad(bad)) => Err(bad),
    }
}

struct Dump<W: Write> {
    out: W,
    records: bool,
    counts: Counts,
    watch: Watch,
}

impl<W: Write> Dump<W> {
    fn dir(&mut self, dir: &Dir) -> Result<(), Stopped> {
        dir.files.iter().try_for_each(|file| self.file(dir, file))
    }

    fn end(&mut self, json: bool) -> Result<(), Stopped> {
        if json {
            writeln!(self.out, "{}", serde_json::to_string(&self.counts).expect("numbers are JSON"))?;
        }
        Ok(self.out.flush()?)
    }

    fn file(&mut self, dir: &Dir, entry: &FileEntry) -> Result<(), Stopped> {
        writeln!(self.out, "Dumping {}", dir.told(&entry.name))?;
        self.counts.files += 1;
        self.counts.bytes += entry.bytes;
        let snapshot = SnapshotName::parse(&entry.name);
        if let Some(name) = snapshot {
            writeln!(self.out, "Snapshot end offset: {}, epoch: {}", name.end_offset, name.epoch)?;
        }
        if snapshot.is_some() || entry.name == file::BOOTSTRAP {
            return self.batches(entry, Content::Metadata);
        }
        match SegmentFile::parse(&entry.name) {
            Some(SegmentFile { kind: SegmentKind::Log, base_offset, .. }) => {
                writeln!(self.out, "Log starting offset: {base_offset}")?;
                self.batches(entry, Content::of(dir.partition.as_ref()))
            }
            Some(segment) => {
                let bytes = read_whole(entry)?;
                self.watch.add(entry.bytes);
                self.entries(segment, &bytes)
            }
            None if tree::is_known(&entry.name) => {
                let bytes = read_whole(entry)?;
                self.watch.add(entry.bytes);
                self.text(&entry.name, &bytes)
            }
            None => Ok(writeln!(self.out, "({} bytes, no file of Kafka's)", entry.bytes)?),
        }
    }

    fn batches(&mut self, entry: &FileEntry, content: Content) -> Result<(), Stopped> {
        let mut batches = Batches::open(entry)?;
        while let Some(piece) = batches.next()? {
            match piece {
                Piece::Batch(found) => {
                    records::batch(&mut self.out, &found)?;
                    self.counts.batches += 1;
                    self.watch.add(found.header.size() as u64);
                    if self.records {
                        self.counts.records += records::all(&mut self.out, &found, content)?;
                    } else {
                        self.counts.records += found.header.record_count as u64;
                    }
                }
                Piece::Torn { position, bytes, why } => {
                    self.counts.unreadable += 1;
                    let name = &entry.name;
                    writeln!(self.out, "Found {bytes} invalid bytes at the end of {name}, from {position} on: {why}")?;
                }
            }
        }
        Ok(())
    }

    /// The entries of an index or of a producer snapshot: all, or those before the first that is wrong.
    fn entries(&mut self, segment: SegmentFile, bytes: &[u8]) -> Result<(), Stopped> {
        let base_offset = segment.base_offset;
        let of = Extent { base_offset, end_offset: i64::MAX, bytes: u64::from(u32::MAX) + 1 };
        let used = |entry_bytes| {
            let used = without_preallocation(bytes, entry_bytes);
            (used, bytes.len() - used.len())
        };
        let (lines, unused) = match segment.kind {
            SegmentKind::OffsetIndex => {
                let (used, unused) = used(OFFSET_ENTRY_BYTES);
                (good_part(used, |bytes| decode_offset_index(bytes, of)).map(offset_line), unused)
            }
            SegmentKind::TimeIndex => {
                let (used, unused) = used(TIME_ENTRY_BYTES);
                (good_part(used, |bytes| decode_time_index(bytes, of)).map(time_line), unused)
            }
            SegmentKind::TxnIndex => (good_part(bytes, |bytes| decode_txn_index(bytes, of)).map(txn_line), 0),
            SegmentKind::ProducerSnapshot | SegmentKind::Log => {
                let read = decode_producer_snapshot(bytes, i64::MAX);
                let (entries, error) = read.map_or_else(|error| (Vec::new(), Some(error)), |entries| (entries, None));
                (Part { entries, error }.map(producer_line), 0)
            }
        };
        for line in &lines.entries {
            writeln!(self.out, "{line}")?;
        }
        self.counts.entries += lines.entries.len() as u64;
        if unused > 0 {
            writeln!(self.out, "({unused} bytes of zeros behind: set aside when the segment was opened)")?;
        }
        self.wrong(lines.error)
    }

    fn wrong(&mut self, error: Option<FormatError>) -> Result<(), Stopped> {
        if let Some(error) = error {
            self.counts.unreadable += 1;
            writeln!(self.out, "It cannot be read further: {error}")?;
        }
        Ok(())
    }

    fn text(&mut self, name: &str, bytes: &[u8]) -> Result<(), Stopped> {
        if name == file::LOCK || name.ends_with(file::TEMPORARY) {
            return Ok(writeln!(self.out, "({} bytes)", bytes.len())?);
        }
        let Ok(text) = std::str::from_utf8(bytes) else {
            self.counts.unreadable += 1;
            return Ok(writeln!(self.out, "It cannot be read: it is not UTF-8")?);
        };
        match text_lines(name, text) {
            Ok(lines) => {
                self.counts.entries += lines.len() as u64;
                Ok(lines.iter().try_for_each(|line| writeln!(self.out, "{line}"))?)
            }
            Err(error) => self.wrong(Some(error)),
        }
    }
}

/// Entries, and why there are no more.
struct Part<T> {
    entries: Vec<T>,
    error: Option<FormatError>,
}

impl<T> Part<T> {
    fn map(self, line: impl Fn(&T) -> String) -> Part<String> {
        Part { entries: self.entries.iter().map(line).collect(), error: self.error }
    }
}

/// Everything, or what stands before the first byte that is wrong.
fn good_part<T>(bytes: &[u8], decode: impl Fn(&[u8]) -> Result<Vec<T>, FormatError>) -> Part<T> {
    match decode(bytes) {
        Ok(entries) => Part { entries, error: None },
        Err(error) => {
            let before = &bytes[..(error.at() as usize).min(bytes.len())];
            Part { entries: decode(before).unwrap_or_default(), error: Some(error) }
        }
    }
}

fn offset_line(entry: &klamm_log::format::OffsetEntry) -> String {
    format!("offset: {} position: {}", entry.offset, entry.position)
}

fn time_line(entry: &klamm_log::format::TimeEntry) -> String {
    format!("timestamp: {} offset: {}", entry.timestamp, entry.offset)
}

fn txn_line(entry: &klamm_log::format::TxnEntry) -> String {
    let (first, last) = (entry.first_offset, entry.last_offset);
    let stable = entry.last_stable_offset;
    let producer = entry.producer_id;
    format!("version: 0 producerId: {producer} firstOffset: {first} lastOffset: {last} lastStableOffset: {stable}")
}

fn producer_line(entry: &klamm_log::format::ProducerEntry) -> String {
    let open = entry.txn_first_offset.map_or("none".to_owned(), |first| first.to_string());
    let (id, epoch, coordinator) = (entry.producer_id, entry.producer_epoch, entry.coordinator_epoch);
    let (first, last) = (entry.first_sequence(), entry.last_sequence);
    format!(
        "producerId: {id} producerEpoch: {epoch} coordinatorEpoch: {coordinator} currentTxnFirstOffset: {open} \
         lastTimestamp: {} firstSequence: {first} lastSequence: {last} lastOffset: {} offsetDelta: {}",
        entry.timestamp, entry.last_offset, entry.offset_delta
    )
}

fn text_lines(name: &str, text: &str) -> Result<Vec<String>, FormatError> {
    Ok(match name {
        file::LEADER_EPOCHS => parse_epochs(text)?
            .iter()
            .map(|entry| format!("epoch: {} startOffset: {}", entry.epoch, entry.start))
            .collect(),
        file::PARTITION_METADATA => vec![format!("topicId: {}", PartitionMetadata::parse(text)?.topic_id)],
        file::QUORUM_STATE => vec![QuorumState::parse(text)?.render()],
        file::CLEAN_SHUTDOWN => vec![format!("brokerEpoch: {}", CleanShutdown::parse(text)?.broker_epoch)],
        file::META_PROPERTIES => {
            let read = MetaProperties::parse(text)?;
            let directory = read.directory_id.map_or("none".to_owned(), |id| id.to_string());
            vec![format!("clusterId: {} nodeId: {} directoryId: {directory}", read.cluster_id, read.node_id)]
        }
        _ => {
            let line = |entry: &klamm_log::format::PartitionOffset| {
                format!("topic: {} partition: {} offset: {}", entry.topic, entry.partition, entry.offset)
            };
            parse_offsets(text)?.iter().map(line).collect()
        }
    })
}
