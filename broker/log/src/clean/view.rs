//! What a clean must know of a log.

use super::groups::{Sizes, groups};
use super::reader::Stretch;
use super::survey::{Facts, survey};
use super::{LastOf, Survey};
use crate::Log;
use crate::format::{OFFSET_ENTRY_BYTES, TIME_ENTRY_BYTES, TxnEntry};
use crate::producers::Producers;
use crate::segment::Segment;
use klamm_wire::records::BatchHeader;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

impl Log {
    /// What of the log may be cleaned now, and how dirty it is [L22]. `stable` is the last stable offset, and not above the
    /// recovery point that the checkpoint file says: recovery must not doubt what a clean has made. `checkpoint` is the
    /// first offset that no clean has reached, as far as anyone remembers.
    pub fn survey(&self, stable: i64, checkpoint: Option<i64>, now_ms: i64) -> Survey {
        let facts = |segment: &Segment| Facts {
            base_offset: segment.base_offset,
            bytes: segment.size,
            first_timestamp: segment.entries.first().map_or(-1, |entry| entry.max_timestamp),
            max_timestamp: segment.max_timestamp,
        };
        let segments: Vec<Facts> = self.segments.iter().map(facts).collect();
        let stable = stable.min(self.durable);
        survey(&segments, self.log_start..self.log_end, stable, checkpoint, &self.config.compaction, now_ms)
    }

    /// True if this is a batch of the log, as it was written: offsets and epoch stand outside of its checksum.
    pub(super) fn holds(&self, header: &BatchHeader) -> bool {
        self.locate(header.base_offset).is_some_and(|(segment, at)| {
            let entry = &segment.entries[at];
            let placed = (entry.base_offset, entry.last_offset, entry.leader_epoch);
            placed == (header.base_offset, header.last_offset(), header.partition_leader_epoch)
                && entry.identity == header.identity()
        })
    }

    /// The segments that begin in this range.
    pub(super) fn segments_in(&self, range: &Range<i64>) -> impl Iterator<Item = &Segment> {
        let range = range.clone();
        self.segments.iter().filter(move |segment| range.contains(&segment.base_offset))
    }

    /// Where the batches from `from` on stand, in segments that begin below `to`.
    pub(super) fn stretches(&self, from: i64, to: i64) -> Vec<Stretch> {
        let before = self.segments.partition_point(|segment| segment.base_offset <= from).saturating_sub(1);
        let segments = self.segments[before..].iter().take_while(|segment| segment.base_offset < to);
        let stretch = |segment: &Segment| {
            let first = segment.entries.iter().find(|entry| entry.last_offset >= from)?;
            Some(Stretch { path: segment.path.clone(), position: u64::from(first.position), end: segment.size })
        };
        segments.filter_map(stretch).collect()
    }

    /// The groups of segments from the start on through the one that holds the last offset below `below`: each as the
    /// range from its first base offset to where the next group begins. `upper_bound` is where the last one ends.
    pub(super) fn groups_below(&self, below: i64, upper_bound: i64) -> VecDeque<Range<i64>> {
        let sealed = self.segments.iter().take_while(|segment| segment.base_offset < below);
        let sizes = |segment: &Segment| {
            let (offsets, times) = segment.indexes(self.config.index_interval_bytes);
            Sizes {
                base_offset: segment.base_offset,
                bytes: segment.size,
                index_bytes: (offsets.len() * OFFSET_ENTRY_BYTES) as u64,
                time_index_bytes: (times.len() * TIME_ENTRY_BYTES) as u64,
            }
        };
        let sizes: Vec<Sizes> = sealed.map(sizes).collect();
        let end = self.segments.get(sizes.len()).map_or(upper_bound, |next| next.base_offset);
        let (max_bytes, max_index) = (self.config.segment_bytes.into(), self.config.max_index_bytes.into());
        let base = |at: usize| sizes.get(at).map_or(end, |size| size.base_offset);
        groups(&sizes, max_bytes, max_index, end).into_iter().map(|group| base(group.start)..base(group.end)).collect()
    }

    /// Aborted transactions with a record below `end`.
    pub(super) fn aborted_below(&self, end: i64) -> Vec<TxnEntry> {
        self.aborted_within(self.segments[0].base_offset, end).copied().collect()
    }

    /// Producers with a transaction that began in segments that are deleted, and did not end there.
    pub(super) fn open_before(&self) -> BTreeSet<i64> {
        self.earlier.undecided().collect()
    }

    /// The aborted transactions whose markers `segment` holds, when it stands in the place of all that begin in `range`.
    pub(super) fn aborted_with(&self, segment: &Segment, range: &Range<i64>) -> Vec<TxnEntry> {
        let mut producers = self.earlier.clone();
        let before = self.segments.iter().take_while(|before| before.base_offset < range.start);
        let entries = before.chain([segment]).flat_map(|segment| &segment.entries);
        entries.for_each(|entry| entry.tell(&mut producers));
        producers.transactions.marked_within(range.start, range.end).to_vec()
    }

    /// The last record of each producer that lives.
    pub(super) fn last_of_producers(&self, wall_ms: i64) -> BTreeMap<i64, LastOf> {
        self.producers.last_of_living(wall_ms)
    }
}

impl Producers {
    fn last_of_living(&self, wall_ms: i64) -> BTreeMap<i64, LastOf> {
        let last = |(id, producer): (i64, &crate::producers::Producer)| {
            let last_data_offset = producer.recent.back().map(|last| last.last_offset);
            (id, LastOf { last_data_offset, epoch: producer.epoch })
        };
        self.living(wall_ms).map(last).collect()
    }
}
