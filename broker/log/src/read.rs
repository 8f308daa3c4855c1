//! Reads: planned from memory, done by the driver, judged at their completion.

use crate::log::OpenRead;
use crate::segment::{Entry, STRIDE, Segment};
use crate::{Log, Progress, ReadError, ReadPlan, TimestampHit};
use bytes::Bytes;
use klamm_base::{DiskDone, DiskOp, DiskOut, DiskRequest, DiskResult, Outbox, Ticket};
use klamm_wire::records::BatchHeader;
use std::cmp::Reverse;

impl Log {
    /// Plans to read whole batches of one segment: the first holds `from`, none reaches `below` or the log's end, and together
    /// they have at most `max_bytes`, but for the first one if `at_least_one_batch` is set (KIP-74). `None` if there is
    /// nothing.
    pub fn plan_read(&self, from: i64, max_bytes: u32, below: i64, at_least_one_batch: bool) -> Option<ReadPlan> {
        let (segment, first, last) = self.readable(from, max_bytes, below, at_least_one_batch)?;
        Some(ReadPlan {
            path: segment.path.clone(),
            position: u64::from(first.position),
            len: u32::try_from(last.end_position() - u64::from(first.position)).expect("a segment is below 4 GiB"),
            base_offset: first.base_offset,
            end_offset: last.last_offset + 1,
            cuts: self.cuts,
        })
    }

    /// How many bytes [`Log::plan_read`] would plan to read.
    pub fn readable_bytes(&self, from: i64, max_bytes: u32, below: i64, at_least_one_batch: bool) -> u64 {
        let range = self.readable(from, max_bytes, below, at_least_one_batch);
        range.map_or(0, |(_, first, last)| last.end_position() - u64::from(first.position))
    }

    /// The segment to read from, and the first and the last batch.
    fn readable(
        &self,
        from: i64,
        max_bytes: u32,
        below: i64,
        at_least_one_batch: bool,
    ) -> Option<(&Segment, &Entry, &Entry)> {
        let limit = below.min(self.log_end);
        if from < self.log_start_offset() || from >= limit {
            return None;
        }
        let (segment, index) = self.locate(from)?;
        let batches = &segment.entries[index..];
        let first = batches.first().filter(|first| first.last_offset < limit)?;
        let room = u64::from(first.position) + u64::from(max_bytes);
        let fits = |entry: &Entry| entry.end_position() <= room && entry.last_offset < limit;
        let fitting = leading(batches, fits);
        let count = if at_least_one_batch { fitting.max(1) } else { fitting };
        Some((segment, first, &batches[count.checked_sub(1)?]))
    }

    /// Asks for a planned range. [`crate::Progress::Read`] comes under the ticket. Who wants what is being read already (the
    /// followers of a partition wake together) shares that read: bytes below the log's end do not change but by a cut.
    pub fn start_read(&mut self, plan: ReadPlan, out: &mut Outbox<DiskRequest>) -> Ticket {
        assert!(plan.len > 0, "a read of nothing");
        let ticket = self.ticket();
        if self.swapping.as_ref().is_some_and(|range| range.contains(&plan.base_offset)) {
            self.reads.push(OpenRead { ticket, operation: None, plan });
            return ticket;
        }
        let shared = self.reads.iter().find(|read| read.plan == plan).and_then(|read| read.operation);
        if shared.is_none() {
            let ReadPlan { ref path, position, len, .. } = plan;
            out.push(DiskRequest { ticket, op: DiskOp::Read { path: String::from(&**path), position, len } });
        }
        self.reads.push(OpenRead { ticket, operation: shared.or(Some(ticket)), plan });
        ticket
    }

    /// The files of the range that was swapped have their names: who waited for it may ask.
    pub(crate) fn end_swap(&mut self, progress: &mut Outbox<Progress>) {
        assert!(self.swapping.take().is_some(), "{}: the end of no swap", self.dir);
        for read in self.reads.extract_if(.., |read| read.operation.is_none()) {
            progress.push(Progress::Read { ticket: read.ticket, result: Err(ReadError::Again) });
        }
        progress.push(Progress::Swapped);
    }

    /// Ends the reads that this completion brings; false if there are none.
    pub(crate) fn read_done(&mut self, done: &DiskDone, progress: &mut Outbox<Progress>) -> bool {
        let before = self.reads.len();
        while let Some(at) = self.reads.iter().position(|read| read.operation == Some(done.ticket)) {
            let OpenRead { ticket, plan, .. } = self.reads.remove(at);
            progress.push(Progress::Read { ticket, result: self.finish_read(&plan, done.result.clone()) });
        }
        self.reads.len() < before
    }

    pub(crate) fn finish_read(&self, plan: &ReadPlan, result: DiskResult) -> Result<Bytes, ReadError> {
        if plan.cuts != self.cuts {
            return Err(ReadError::Again);
        }
        let data = match result? {
            DiskOut::Data(data) => data,
            other => panic!("{}: a read was answered with {other:?}", plan.path),
        };
        let as_written = data.len() == plan.len as usize
            && BatchHeader::parse(&data).is_ok_and(|first| first.base_offset == plan.base_offset);
        if as_written {
            Ok(data)
        } else {
            Err(ReadError::Corrupt { path: plan.path.to_string(), position: plan.position })
        }
    }

    /// The first batch below `below` that reaches to `from` or beyond and holds a timestamp of at least `timestamp`
    /// (milliseconds). It may begin below `from`.
    pub fn find_by_timestamp(&self, timestamp: i64, from: i64, below: i64) -> Option<TimestampHit> {
        let may_hold = |segment: &&Segment| segment.max_timestamp >= timestamp && segment.end_offset() > from;
        let mut late = self.segments.iter().filter(may_hold).flat_map(|segment| &segment.entries);
        let entry = late.find(|entry| entry.max_timestamp >= timestamp && entry.last_offset >= from)?;
        self.hit(entry, below)
    }

    /// The batch below `below` with the greatest timestamp, of several the first; with `after`, the next one in this order. It
    /// may begin below the log's start.
    pub fn find_max_timestamp(&self, below: i64, after: Option<&TimestampHit>) -> Option<TimestampHit> {
        let limit = below.min(self.log_end);
        let rank = |max_timestamp: i64, base_offset: i64| (max_timestamp, Reverse(base_offset));
        let seen = after.map(|hit| rank(hit.max_timestamp, hit.base_offset));
        let readable = self.entries_from(self.log_start_offset()).take_while(|entry| entry.last_offset < limit);
        let ranked = readable.map(|entry| (rank(entry.max_timestamp, entry.base_offset), entry));
        let (_, entry) =
            ranked.filter(|(rank, _)| seen.is_none_or(|seen| *rank < seen)).max_by_key(|(rank, _)| *rank)?;
        self.hit(entry, below)
    }

    fn hit(&self, entry: &Entry, below: i64) -> Option<TimestampHit> {
        let Entry { base_offset, last_offset, max_timestamp, leader_epoch, .. } = *entry;
        let readable = last_offset < below.min(self.log_end);
        readable.then_some(TimestampHit { base_offset, last_offset, max_timestamp, leader_epoch })
    }

    /// The batch that holds `offset`, or the first one behind it where compaction left a gap, as its segment and place in it;
    /// `None` beyond the end.
    pub(crate) fn locate(&self, offset: i64) -> Option<(&Segment, usize)> {
        let after = self.segments.partition_point(|segment| segment.base_offset <= offset);
        self.segments[after.checked_sub(1)?..].iter().find_map(|segment| {
            let index = segment.place_of(offset);
            (index < segment.entries.len()).then_some((segment, index))
        })
    }

    /// All batches from the one that holds `offset` on, in flight or not.
    pub(crate) fn entries_from(&self, offset: i64) -> impl Iterator<Item = &Entry> {
        let after = self.segments.partition_point(|segment| segment.base_offset <= offset);
        let segments = &self.segments[after.saturating_sub(1)..];
        let skip = segments.first().map_or(0, |first| first.place_of(offset));
        segments.iter().flat_map(|segment| &segment.entries).skip(skip)
    }
}

/// How many batches `fits` holds for, which it does for the first of them. Those are few as a rule, and the end of the segment is
/// far: the search widens from here.
fn leading(batches: &[Entry], fits: impl Fn(&Entry) -> bool) -> usize {
    let near = batches.iter().take(STRIDE).take_while(|entry| fits(entry)).count();
    if near < STRIDE {
        return near;
    }
    let mut wide = 2 * STRIDE;
    while batches.get(wide).is_some_and(&fits) {
        wide *= 2;
    }
    batches[..wide.min(batches.len())].partition_point(fits)
}
