//! One partition's directory: its log from the first byte to the last, and every file beside it.

use super::super::batches::{Batches, Found, Piece};
use super::super::tree::{Dir, FileEntry, is_known};
use super::Checks;
use super::indexes::{OffsetCheck, TimeCheck, Wrong};
use super::producers::{Producers, check_txn_index};
use crate::cli::Bad;
use klamm_base::Uuid;
use klamm_log::format::{
    EndMarker, EpochStart, Extent, FormatError, OFFSET_ENTRY_BYTES, SegmentFile, SegmentKind, SnapshotName,
    TIME_ENTRY_BYTES, TxnEntry, decode_offset_index, decode_producer_snapshot, decode_time_index, decode_txn_index,
    file, without_preallocation,
};
use klamm_wire::records::records;
use std::collections::VecDeque;

/// What a partition's log turned out to be.
#[derive(Clone, Copy, Debug)]
pub struct LogEnd {
    /// One past the last offset that could be read.
    pub end: i64,
    /// The first offset that is damaged; what is claimed from there on may be what was lost.
    pub sound_to: i64,
    pub topic_id: Option<Uuid>,
}

/// How far the log was read.
struct Walk<'a> {
    dir: &'a Dir,
    end: i64,
    sound_to: i64,
    epoch: i32,
    epochs: Vec<(u64, EpochStart)>,
    /// The epoch whose line was told to be wrong last.
    blamed: i32,
    producers: Producers,
    /// Producer snapshots at offsets that were not come to yet.
    snapshots: VecDeque<(i64, &'a FileEntry)>,
}

/// What is read beside one segment's batches.
struct Segment {
    base_offset: i64,
    /// How its `.log` is told.
    told: String,
    /// `None` if it is missing or cannot be read.
    offsets: Option<OffsetCheck>,
    times: Option<TimeCheck>,
    aborted: Vec<TxnEntry>,
}

impl Checks {
    /// Checks a partition's directory.
    pub(super) fn partition(&mut self, dir: &Dir) -> Result<LogEnd, Bad> {
        let bases = dir.segments();
        let first = bases.first().copied().unwrap_or(0);
        let epochs = self.epochs(dir)?;
        let topic_id = self.identity(dir)?;
        self.strangers(dir, &bases)?;
        let producers = Producers::new(first, !bases.is_empty());
        let snapshots = snapshots(dir);
        let mut walk =
            Walk { dir, end: first, sound_to: i64::MAX, epoch: -1, epochs, blamed: -1, producers, snapshots };
        for (at, base) in bases.iter().enumerate() {
            self.segment(&mut walk, *base, at + 1 == bases.len())?;
        }
        self.rest(&mut walk, bases.is_empty())?;
        Ok(LogEnd { end: walk.end, sound_to: walk.sound_to, topic_id })
    }

    /// Says what is wrong at `offset` of the log: where the log itself is damaged before, that follows from it.
    fn about(&mut self, sound_to: i64, told: &str, wrong: Wrong) {
        let Wrong { position, offset, what } = wrong;
        if offset < sound_to {
            self.findings.damage(told, position, what);
        } else {
            self.findings.note(told, position, format!("{what} (follows from the log's damage at offset {sound_to})"));
        }
    }

    /// Files that are no part of the log, or not any more, and snapshots of the metadata log.
    fn strangers(&mut self, dir: &Dir, bases: &[i64]) -> Result<(), Bad> {
        for entry in &dir.files {
            self.findings.files += 1;
            self.findings.bytes += entry.bytes;
            let told = dir.told(&entry.name);
            match (SegmentFile::parse(&entry.name), SnapshotName::parse(&entry.name)) {
                (Some(SegmentFile { transient: Some(_), .. }), _) => {
                    self.findings.note(&told, 0, "left on its way in or out; the next start deals with it".to_owned());
                }
                (Some(segment), _) if !bases.contains(&segment.base_offset) => {
                    self.orphan(dir, bases, entry, segment)?
                }
                (None, Some(_)) => self.metadata_snapshot(dir, entry)?,
                (None, None) if entry.name.ends_with(file::TEMPORARY) => {
                    self.findings.note(&told, 0, "left half written; the next start deals with it".to_owned());
                }
                (None, None) if !is_known(&entry.name) => {
                    self.findings.note(&told, 0, "no file of Kafka's".to_owned());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// An index without its log: only its own order can be checked. At either end of the log the deletion of a segment was cut short;
    /// in its midst a segment is lost.
    fn orphan(&mut self, dir: &Dir, bases: &[i64], entry: &FileEntry, segment: SegmentFile) -> Result<(), Bad> {
        if segment.kind == SegmentKind::ProducerSnapshot {
            return Ok(());
        }
        let told = dir.told(&entry.name);
        let base_offset = segment.base_offset;
        let in_the_midst = bases.first() < Some(&base_offset) && bases.last() > Some(&base_offset);
        if in_the_midst {
            let what = format!("its segment's .log is missing: the records from offset {base_offset} on are lost");
            self.findings.damage(&told, 0, what);
        } else if !self.alone {
            self.findings.note(&told, 0, "its segment has no .log; the next start removes it".to_owned());
        }
        let (bytes, of) = (self.bytes(entry)?, anywhere(base_offset));
        let read = match segment.kind {
            SegmentKind::OffsetIndex => {
                decode_offset_index(without_preallocation(&bytes, OFFSET_ENTRY_BYTES), of).map(drop)
            }
            SegmentKind::TimeIndex => decode_time_index(without_preallocation(&bytes, TIME_ENTRY_BYTES), of).map(drop),
            _ => decode_txn_index(&bytes, of).map(drop),
        };
        read.unwrap_or_else(|error| self.wrong(&told, error));
        Ok(())
    }

    fn segment(&mut self, walk: &mut Walk<'_>, base_offset: i64, last: bool) -> Result<(), Bad> {
        let name = |kind| SegmentFile::new(base_offset, kind).to_string();
        let log = walk.dir.get(&name(SegmentKind::Log)).expect("a segment's log was listed");
        let told = walk.dir.told(&log.name);
        if base_offset < walk.end {
            let what = format!("it begins at offset {base_offset}, but the segment before it ends at {}", walk.end);
            self.findings.damage(&told, 0, what);
        }
        walk.end = walk.end.max(base_offset);
        let (offsets, times) = self.indexes(walk.dir, base_offset, last, log.bytes)?;
        let mut segment = Segment { base_offset, told, offsets, times, aborted: Vec::new() };
        let mut batches = Batches::open(log)?;
        while let Some(piece) = batches.next()? {
            match piece {
                Piece::Batch(found) => self.batch(walk, &mut segment, &found)?,
                Piece::Torn { position, bytes, why } => {
                    walk.sound_to = walk.sound_to.min(walk.end);
                    self.watch.add(bytes);
                    self.findings.damage(
                        &segment.told,
                        position,
                        format!("{why}; {bytes} bytes are lost from there on"),
                    );
                }
            }
        }
        self.close(walk, segment, log.bytes, last)
    }

    /// Both indexes of a segment, if they are there and can be read.
    fn indexes(
        &mut self,
        dir: &Dir,
        base_offset: i64,
        last: bool,
        log_bytes: u64,
    ) -> Result<(Option<OffsetCheck>, Option<TimeCheck>), Bad> {
        let of = anywhere(base_offset);
        let offsets =
            self.index(dir, SegmentFile::new(base_offset, SegmentKind::OffsetIndex), last, log_bytes, |bytes| {
                decode_offset_index(bytes, of)
            })?;
        let times =
            self.index(dir, SegmentFile::new(base_offset, SegmentKind::TimeIndex), last, log_bytes, |bytes| {
                decode_time_index(bytes, of)
            })?;
        Ok((offsets.map(OffsetCheck::new), times.map(TimeCheck::new)))
    }

    fn index<T>(
        &mut self,
        dir: &Dir,
        name: SegmentFile,
        last: bool,
        log_bytes: u64,
        decode: impl Fn(&[u8]) -> Result<Vec<T>, FormatError>,
    ) -> Result<Option<Vec<T>>, Bad> {
        let told = dir.told(&name.to_string());
        let Some(entry) = dir.get(&name.to_string()) else {
            if log_bytes > 0 && !self.alone {
                self.findings.note(&told, 0, "missing; the next start builds it anew from the log".to_owned());
            }
            return Ok(None);
        };
        let bytes = self.bytes(entry)?;
        let entry_bytes = if name.kind == SegmentKind::OffsetIndex { OFFSET_ENTRY_BYTES } else { TIME_ENTRY_BYTES };
        let used = if last { without_preallocation(&bytes, entry_bytes) } else { &bytes };
        if used.len() < bytes.len() {
            self.findings.preallocated_files += 1;
            self.findings.preallocated_bytes += (bytes.len() - used.len()) as u64;
        }
        match decode(used) {
            Ok(entries) => Ok(Some(entries)),
            Err(error) => {
                self.wrong(&told, error);
                Ok(None)
            }
        }
    }

    fn batch(&mut self, walk: &mut Walk<'_>, segment: &mut Segment, found: &Found) -> Result<(), Bad> {
        let header = &found.header;
        self.watch.add(header.size() as u64);
        self.findings.batches += 1;
        self.order(walk, segment, found);
        self.content(walk, segment, found);
        self.epoch(walk, segment, found);
        self.snapshots_until(walk, header.base_offset)?;
        let marker = match found.batch.as_ref().filter(|_| found.is_valid()).map(EndMarker::of).transpose() {
            Ok(marker) => marker.flatten(),
            Err(error) => {
                self.findings.damage(
                    &segment.told,
                    found.position,
                    format!("a transaction's marker was expected: {error}"),
                );
                None
            }
        };
        segment.aborted.extend(walk.producers.batch(header, marker));
        if let Some(offsets) = &mut segment.offsets {
            offsets.batch(header, found.position);
        }
        if let Some(times) = &mut segment.times {
            times.batch(header);
        }
        walk.end = walk.end.max(header.next_offset());
        Ok(())
    }

    fn order(&mut self, walk: &Walk<'_>, segment: &Segment, found: &Found) {
        let (base, last) = (found.header.base_offset, found.header.last_offset());
        if base < walk.end {
            let what = format!("offset {base}, but {} or more was expected after what stands before", walk.end);
            self.findings.damage(&segment.told, found.position, what);
        }
        if last.saturating_sub(segment.base_offset) > i64::from(i32::MAX) {
            let what = format!("offset {last} is too far from the segment's {} for its index", segment.base_offset);
            self.findings.damage(&segment.told, found.position, what);
        }
    }

    /// Checksum, and the records under it.
    fn content(&mut self, walk: &mut Walk<'_>, segment: &Segment, found: &Found) {
        let header = &found.header;
        let which = format!("batch of offsets {} to {}", header.base_offset, header.last_offset());
        if !found.is_valid() {
            walk.sound_to = walk.sound_to.min(header.base_offset);
            let (stands, computed) = (header.crc, found.computed_crc);
            let what = format!("{which}: checksum {stands:#010x} stands there, its content gives {computed:#010x}");
            return self.findings.damage(&segment.told, found.position, what);
        }
        let Some(batch) = &found.batch else {
            let what = format!("{which}: too large to read its records; its checksum is right");
            return self.findings.note(&segment.told, found.position, what);
        };
        let mut next = header.base_offset;
        for record in records(batch) {
            let what = match record {
                Ok(record) if (next..=header.last_offset()).contains(&record.offset) => {
                    next = record.offset + 1;
                    self.findings.records += 1;
                    continue;
                }
                Ok(record) => format!("{which}: a record of offset {}", record.offset),
                Err(error) => format!("{which}: its records cannot be read: {error}"),
            };
            return self.findings.damage(&segment.told, found.position, what);
        }
    }

    /// Leader epochs never fall, and are those of the checkpoint [L14].
    fn epoch(&mut self, walk: &mut Walk<'_>, segment: &Segment, found: &Found) {
        let (epoch, base) = (found.header.partition_leader_epoch, found.header.base_offset);
        if epoch < walk.epoch {
            let what = format!("offset {base}: leader epoch {epoch} after {}, it must not fall", walk.epoch);
            self.findings.damage(&segment.told, found.position, what);
        }
        walk.epoch = epoch;
        let above = walk.epochs.partition_point(|(_, entry)| entry.start <= base);
        let Some((at, entry)) = above.checked_sub(1).map(|index| walk.epochs[index]) else { return };
        if entry.epoch == epoch || epoch < 0 || walk.blamed == epoch {
            return;
        }
        walk.blamed = epoch;
        let told = walk.dir.told(file::LEADER_EPOCHS);
        let what = format!(
            "epoch {} from offset {}, but the batch at offset {base} is of epoch {epoch}",
            entry.epoch, entry.start
        );
        if entry.epoch < epoch && above == walk.epochs.len() && !self.clean {
            return self.findings.note(&told, at, format!("{what}: not written yet when the broker was killed"));
        }
        self.about(walk.sound_to, &told, Wrong { position: at, offset: base, what });
    }

    /// The producer snapshots up to `offset`.
    fn snapshots_until(&mut self, walk: &mut Walk<'_>, offset: i64) -> Result<(), Bad> {
        while walk.snapshots.front().is_some_and(|(taken, _)| *taken <= offset) {
            let (taken, entry) = walk.snapshots.pop_front().expect("one is there");
            let told = walk.dir.told(&entry.name);
            match decode_producer_snapshot(&self.bytes(entry)?, taken) {
                Err(error) => self.wrong(&told, error),
                Ok(producers) => {
                    for (position, what) in walk.producers.snapshot(&producers) {
                        self.about(walk.sound_to, &told, Wrong { position, offset: taken, what });
                    }
                }
            }
        }
        Ok(())
    }

    fn close(&mut self, walk: &Walk<'_>, segment: Segment, bytes: u64, last: bool) -> Result<(), Bad> {
        let name = |kind| walk.dir.told(&SegmentFile::new(segment.base_offset, kind).to_string());
        for wrong in segment.offsets.map(|offsets| offsets.end(bytes)).unwrap_or_default() {
            self.about(walk.sound_to, &name(SegmentKind::OffsetIndex), wrong);
        }
        let closed = !last || self.clean;
        for wrong in segment.times.map(|times| times.end(walk.end, closed)).unwrap_or_default() {
            self.about(walk.sound_to, &name(SegmentKind::TimeIndex), wrong);
        }
        let index = SegmentFile::new(segment.base_offset, SegmentKind::TxnIndex).to_string();
        let found = match walk.dir.get(&index) {
            None if self.alone => return Ok(()),
            None => Ok(Vec::new()),
            Some(entry) => decode_txn_index(&self.bytes(entry)?, anywhere(segment.base_offset)),
        };
        match found {
            Err(error) => self.wrong(&walk.dir.told(&index), error),
            Ok(found) => {
                for (position, offset, what) in check_txn_index(&found, &segment.aborted, walk.producers.is_complete())
                {
                    self.about(walk.sound_to, &walk.dir.told(&index), Wrong { position, offset, what });
                }
            }
        }
        Ok(())
    }

    /// What lies behind the log's end.
    fn rest(&mut self, walk: &mut Walk<'_>, no_log: bool) -> Result<(), Bad> {
        if no_log {
            walk.end = i64::MAX;
        }
        self.snapshots_until(walk, walk.end)?;
        for (taken, entry) in std::mem::take(&mut walk.snapshots) {
            self.watch.add(entry.bytes);
            let what = format!("taken at offset {taken}, but the log ends at {}", walk.end);
            self.about(walk.sound_to, &walk.dir.told(&entry.name), Wrong { position: 0, offset: taken, what });
        }
        for (at, entry) in std::mem::take(&mut walk.epochs) {
            if entry.start > walk.end {
                let what =
                    format!("epoch {} from offset {}, but the log ends at {}", entry.epoch, entry.start, walk.end);
                let told = walk.dir.told(file::LEADER_EPOCHS);
                self.about(walk.sound_to, &told, Wrong { position: at, offset: entry.start, what });
            }
        }
        Ok(())
    }
}

/// An index's own order is checked when it is read; where it points, beside the batches.
fn anywhere(base_offset: i64) -> Extent {
    Extent { base_offset, end_offset: i64::MAX, bytes: u64::from(u32::MAX) + 1 }
}

/// The producer snapshots that count, by offset.
fn snapshots(dir: &Dir) -> VecDeque<(i64, &FileEntry)> {
    let named = |entry: &'_ FileEntry| {
        let name = SegmentFile::parse(&entry.name)?;
        let counts = name.kind == SegmentKind::ProducerSnapshot && name.transient.is_none();
        counts.then_some(name.base_offset)
    };
    dir.files.iter().filter_map(|entry| Some((named(entry)?, entry))).collect()
}
