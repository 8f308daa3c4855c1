//! One segment: a file of batches, and what is remembered of each.

use crate::LogConfig;
use crate::format::{
    Appended, IndexBuilder, IndexEntries, OFFSET_ENTRY_BYTES, OffsetEntry, SegmentFile, SegmentKind, TIME_ENTRY_BYTES,
    TimeEntry,
};
use crate::producers::{Place, Producers, Stamp};
use crate::writes::in_dir;
use klamm_wire::records::BatchHeader;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Every so many batches of a segment one is a landmark.
pub(crate) const STRIDE: usize = 16;

/// What is remembered of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) base_offset: i64,
    pub(crate) last_offset: i64,
    /// In the segment's file, in bytes.
    pub(crate) position: u32,
    /// The whole batch, in bytes.
    pub(crate) size: u32,
    pub(crate) leader_epoch: i32,
    pub(crate) max_timestamp: i64,
    pub(crate) identity: u64,
    pub(crate) stamp: Option<Stamp>,
}

impl Entry {
    /// Tells what the batch did to its producer.
    pub(crate) fn tell(&self, producers: &mut Producers) {
        let Entry { base_offset, last_offset, max_timestamp: timestamp, .. } = *self;
        if let Some(stamp) = self.stamp {
            producers.enter(stamp, Place { base_offset, last_offset, timestamp });
        }
    }

    /// As the index sees it.
    fn appended(&self) -> Appended {
        let Entry { position, size, last_offset, max_timestamp, .. } = *self;
        Appended { position, bytes: u64::from(size), last_offset, max_timestamp, offset_of_max: last_offset }
    }

    /// Where the next batch begins in the file.
    pub(crate) fn end_position(&self) -> u64 {
        u64::from(self.position) + u64::from(self.size)
    }
}

/// A file of batches with growing offsets, as it will be when all writes that were asked for are done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Of its `.log` file. Made once: every read and every append names it.
    pub(crate) path: Arc<str>,
    pub(crate) base_offset: i64,
    /// Bytes, writes in flight included.
    pub(crate) size: u64,
    pub(crate) entries: Vec<Entry>,
    /// Last offsets of the batches that close each stretch of [`STRIDE`]. They lie close together, so that a look-up among many
    /// batches finds its stretch in the processor's cache and waits for memory only within it.
    landmarks: Vec<i64>,
    /// The file is there, or its creation is under way.
    pub(crate) created: bool,
    /// It holds bytes that no sync was asked for.
    pub(crate) unsynced: bool,
    /// Its index files were written when it had so many batches.
    pub(crate) indexed: Option<usize>,
    /// It has a transaction index.
    pub(crate) txn_indexed: bool,
    /// Wall clock when it was opened: decides on rolling where no batch has a timestamp.
    pub(crate) opened_ms: i64,
    /// -1 if no batch has one.
    pub(crate) max_timestamp: i64,
    /// What its indexes will hold so far: it is rolled before they are full.
    counts: IndexCounts,
}

/// How full the indexes of a segment are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct IndexCounts {
    offsets: u32,
    times: u32,
    /// Bytes since the last entry.
    since: u64,
    /// The newest timestamp in the time index.
    newest: Option<i64>,
}

impl IndexCounts {
    /// A batch of so many bytes was added, and this is the segment's greatest timestamp now.
    fn push(&mut self, bytes: u32, max_timestamp: i64, interval: u32) {
        if self.since > u64::from(interval) {
            self.offsets += 1;
            self.since = 0;
            if max_timestamp > self.newest.unwrap_or(-1) {
                self.times += 1;
                self.newest = Some(max_timestamp);
            }
        }
        self.since += u64::from(bytes);
    }

    /// True if an index has no room for what the next batch, or the closing of the segment, may add.
    fn are_full(&self, max_bytes: u32) -> bool {
        let room = |entries: u32, bytes: usize| (u64::from(entries) + 1) * bytes as u64 <= u64::from(max_bytes);
        !room(self.offsets, OFFSET_ENTRY_BYTES) || !room(self.times + 1, TIME_ENTRY_BYTES)
    }
}

impl Segment {
    pub(crate) fn new(dir: &str, base_offset: i64, opened_ms: i64) -> Self {
        Self {
            path: segment_path(dir, base_offset, SegmentKind::Log).into(),
            base_offset,
            size: 0,
            entries: Vec::new(),
            landmarks: Vec::new(),
            created: false,
            unsynced: false,
            indexed: None,
            txn_indexed: false,
            opened_ms,
            max_timestamp: -1,
            counts: IndexCounts::default(),
        }
    }

    /// One past its last offset.
    pub(crate) fn end_offset(&self) -> i64 {
        self.entries.last().map_or(self.base_offset, |entry| entry.last_offset + 1)
    }

    /// A batch was put at the end. Compaction leaves gaps between batches.
    pub(crate) fn push(&mut self, header: &BatchHeader, stamp: Option<Stamp>, config: &LogConfig) {
        assert!(header.base_offset >= self.end_offset(), "a batch that does not continue its segment");
        let entry = Entry {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            position: u32::try_from(self.size).expect("a segment is smaller than 4 GiB"),
            size: u32::try_from(header.size()).expect("a batch is smaller than 2 GiB"),
            leader_epoch: header.partition_leader_epoch,
            max_timestamp: header.max_timestamp,
            identity: header.identity(),
            stamp,
        };
        self.enter(entry, config);
    }

    fn enter(&mut self, entry: Entry, config: &LogConfig) {
        self.size = entry.end_position();
        self.max_timestamp = self.max_timestamp.max(entry.max_timestamp);
        self.counts.push(entry.size, self.max_timestamp, config.index_interval_bytes);
        self.entries.push(entry);
        if self.entries.len().is_multiple_of(STRIDE) {
            self.landmarks.push(entry.last_offset);
        }
    }

    /// Which batch holds `offset`, or is the first one behind it where compaction left a gap; beyond the last one how many
    /// there are.
    pub(crate) fn place_of(&self, offset: i64) -> usize {
        let from = self.landmarks.partition_point(|last| *last < offset) * STRIDE;
        let stretch = &self.entries[from..self.entries.len().min(from + STRIDE)];
        // All of it is looked at, so that no load from memory waits for another.
        from + stretch.iter().filter(|entry| entry.last_offset < offset).count()
    }

    /// Drops the batches that hold `offset` or anything above it; they are returned.
    pub(crate) fn cut(&mut self, offset: i64, config: &LogConfig) -> Vec<Entry> {
        let keep = self.place_of(offset);
        let gone = self.entries.split_off(keep);
        let kept = std::mem::take(&mut self.entries);
        self.landmarks.clear();
        (self.size, self.max_timestamp, self.counts) = (0, -1, IndexCounts::default());
        kept.into_iter().for_each(|entry| self.enter(entry, config));
        gone
    }

    /// True if `next` belongs into a new segment [L13].
    pub(crate) fn is_full_for(&self, next: &BatchHeader, wall_ms: i64, config: &LogConfig) -> bool {
        let Some(first) = self.entries.first() else { return false };
        let too_large = self.size + next.size() as u64 > u64::from(config.segment_bytes);
        let index_full = self.counts.are_full(config.max_index_bytes);
        let known = first.max_timestamp >= 0;
        let (from, to) = if known { (first.max_timestamp, next.max_timestamp) } else { (self.opened_ms, wall_ms) };
        too_large || index_full || self.is_too_far(next.last_offset()) || to.saturating_sub(from) > config.roll_ms()
    }

    /// Greatest timestamp of its records, or when it was opened if none has one.
    pub(crate) fn newest_ms(&self) -> i64 {
        if self.max_timestamp >= 0 { self.max_timestamp } else { self.opened_ms }
    }

    /// What its `.index` and its `.timeindex` say [L9]. Offsets that are too far above its own have no place there: an append
    /// begins a new segment for them, but a file may hold some.
    pub(crate) fn indexes(&self, interval: u32) -> (Vec<OffsetEntry>, Vec<TimeEntry>) {
        let mut builder = IndexBuilder::new(interval);
        let (mut offsets, mut times) = (Vec::new(), Vec::new());
        for entry in self.entries.iter().take_while(|entry| !self.is_too_far(entry.last_offset)) {
            let IndexEntries { offset, time } = builder.push_write(entry.appended());
            offsets.extend(offset);
            times.extend(time);
        }
        times.extend(builder.close());
        (offsets, times)
    }

    /// True if an index of this segment cannot name `offset`.
    fn is_too_far(&self, offset: i64) -> bool {
        offset - self.base_offset > i64::from(i32::MAX)
    }

    /// The names of its files; its snapshot is taken out of `snapshots`.
    pub(crate) fn files(&self, snapshots: &mut BTreeSet<i64>) -> Vec<String> {
        let name = |kind| SegmentFile::new(self.base_offset, kind).to_string();
        let mut names = Vec::new();
        if self.created {
            names.push(name(SegmentKind::Log));
        }
        if self.indexed.is_some() {
            names.extend([name(SegmentKind::OffsetIndex), name(SegmentKind::TimeIndex)]);
        }
        if self.txn_indexed {
            names.push(name(SegmentKind::TxnIndex));
        }
        if snapshots.remove(&self.base_offset) {
            names.push(name(SegmentKind::ProducerSnapshot));
        }
        names
    }
}

/// `DIR/00000000000000000042.log`
pub(crate) fn segment_path(dir: &str, base_offset: i64, kind: SegmentKind) -> String {
    in_dir(dir, &SegmentFile::new(base_offset, kind).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm_wire::records::BatchBuilder;

    /// So many batches of one record, with a gap behind every third.
    fn segment(count: i64) -> Segment {
        let mut segment = Segment::new("dir", 100, 0);
        for number in 0..count {
            let mut builder = BatchBuilder::new(0);
            let batch = builder.push(0, None, Some(b"v"), &[]).at(100 + number + number / 3 * 2, 0).build();
            segment.push(&batch.header, None, &LogConfig::default());
        }
        segment
    }

    #[test]
    fn an_offset_is_found_among_any_number_of_batches() {
        for count in [0, 1, 15, 16, 17, 31, 32, 33, 200] {
            let mut whole = segment(count);
            for cut in [i64::MAX, 180, 131, 100] {
                whole.cut(cut, &LogConfig::default());
                for offset in 90..whole.end_offset() + 10 {
                    let place = whole.entries.iter().take_while(|entry| entry.last_offset < offset).count();
                    assert_eq!(whole.place_of(offset), place, "{offset} among {count}, cut at {cut}");
                }
            }
        }
    }
}
