//! The machine that cleans a log.

use super::output::Output;
use super::reader::{Next, Reader, Stretch};
use super::{CleanError, CleanOrders, Cleaned, Filter, Index, Left, OffsetMap, Rules, Survey};
use crate::segment::Segment;
use crate::{Log, LogConfig, told};
use klamm_base::{CleanedBatch, DiskDone, DiskOp, DiskOut, DiskRequest, Now, Observation, Outbox, Ticket};
use klamm_wire::records::Batch;
use std::collections::VecDeque;
use std::ops::Range;

/// Cleans one log once [L22]. It has one operation open at a time, and the log goes on meanwhile: it takes appends, and reads
/// find the old segments until the new ones take their place.
///
/// What comes of a crash [L17]: files that end in `.cleaned` are not whole and go; from when all of a new segment's files
/// end in `.swap` it counts, and the segments that it was made from do not. Each of these states is durable before
/// the next one begins.
#[derive(Debug)]
pub struct Cleaner {
    orders: CleanOrders,
    started: Now,
    /// Where the uncleanable part begins.
    upper_bound: i64,
    /// How often the log was cut, as the cleaner knows it: by another cut its work is void.
    cuts: u64,
    open: Option<Ticket>,
    /// To be done before the batches go on.
    queue: VecDeque<DiskOp>,
    reader: Reader,
    pass: Pass,
    cleaned: Cleaned,
}

/// What the batches are read for.
#[derive(Debug)]
enum Pass {
    /// For their keys; up to this offset.
    Index(Index, i64),
    /// To be written anew.
    Filter(Box<Filtering>),
}

#[derive(Debug)]
struct Filtering {
    filter: Filter,
    /// Groups of segments that wait, by the offsets where they begin and end.
    groups: VecDeque<Range<i64>>,
    /// The group that is being written.
    group: Range<i64>,
    /// What is told of it, if anybody looks.
    told: Vec<CleanedBatch>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Batches are copied.
    Copying(Output),
    /// The last writes and syncs are under way.
    Finishing(Output),
    /// The new segment is taking the place of the old ones.
    Swapping,
}

impl Cleaner {
    /// Begins to clean what `survey`, [`Log::survey`] of this instant, says. All of it must be durable: a crash must find
    /// either the old segments or the new one, and nothing that recovery would have to doubt.
    pub fn start(
        log: &mut Log,
        survey: &Survey,
        orders: CleanOrders,
        now: Now,
        out: &mut Outbox<DiskRequest>,
    ) -> Cleaner {
        let Survey { first_dirty, upper_bound, .. } = *survey;
        assert!(upper_bound > first_dirty, "{}: nothing to clean", log.dir);
        assert!(upper_bound <= log.durable_end(), "{}: a clean of what is not durable", log.dir);
        // Transactions that ended before the dirty part are none of its own: their producers may write anew in it.
        let aborted = log.aborted_within(first_dirty, upper_bound).copied().collect();
        let index = Index::new(orders.dedupe_buffer_bytes, first_dirty, aborted);
        let mut cleaner = Cleaner {
            orders,
            started: now,
            upper_bound,
            cuts: log.cuts,
            open: None,
            queue: VecDeque::new(),
            reader: Reader::new(log.stretches(first_dirty, upper_bound)),
            pass: Pass::Index(index, upper_bound),
            cleaned: Cleaned { first_dirty, bytes_before: 0, bytes_after: 0 },
        };
        cleaner.go_on(log, now, out).expect("nothing was read yet");
        cleaner
    }

    /// True if the completion of this ticket is the cleaner's.
    pub fn owns(&self, ticket: Ticket) -> bool {
        self.open == Some(ticket)
    }

    /// Takes a completion that it owns.
    ///
    /// # Errors
    /// See [`CleanError`]. Nothing more comes of this clean; segments that it had swapped in stay.
    pub fn step(
        &mut self,
        log: &mut Log,
        now: Now,
        done: DiskDone,
        out: &mut Outbox<DiskRequest>,
    ) -> Result<(), CleanError> {
        assert_eq!(self.open.take(), Some(done.ticket), "{}: a completion of nothing", log.dir);
        let result = self.answered(log, now, done, out);
        if result.is_err() {
            self.give_up(log, out);
        }
        result
    }

    fn answered(
        &mut self,
        log: &mut Log,
        now: Now,
        done: DiskDone,
        out: &mut Outbox<DiskRequest>,
    ) -> Result<(), CleanError> {
        self.check(log)?;
        if let DiskOut::Data(data) = done.result? {
            self.reader.feed(data)?;
        }
        self.go_on(log, now, out)
    }

    /// The log said [`crate::Progress::Swapped`]: the new segment is in its place. What was done, if that was the last one.
    ///
    /// # Errors
    /// As [`Cleaner::step`].
    pub fn swapped(
        &mut self,
        log: &mut Log,
        now: Now,
        out: &mut Outbox<DiskRequest>,
    ) -> Result<Option<Cleaned>, CleanError> {
        self.check(log)?;
        if !self.next_group(log) {
            return Ok(Some(self.cleaned));
        }
        self.go_on(log, now, out)?;
        Ok(None)
    }

    fn check(&self, log: &Log) -> Result<(), CleanError> {
        if log.cuts == self.cuts && !log.failed { Ok(()) } else { Err(CleanError::Cut) }
    }

    /// Its files go; an earlier group's segment may stand already.
    fn give_up(&mut self, log: &mut Log, out: &mut Outbox<DiskRequest>) {
        let Pass::Filter(filtering) = &self.pass else { return };
        if let Stage::Copying(output) | Stage::Finishing(output) = &filtering.stage {
            log.discard(output.removals(), out);
        }
    }

    /// Goes on until something must be waited for.
    fn go_on(&mut self, log: &mut Log, now: Now, out: &mut Outbox<DiskRequest>) -> Result<(), CleanError> {
        loop {
            if let Some(op) = self.queue.pop_front() {
                self.ask(op, log, out);
                return Ok(());
            }
            if self.swap_if_written(log, now, out) {
                return Ok(());
            }
            match self.reader.next()? {
                Next::Read(op) => self.queue.push_back(op),
                Next::Batch(batch) => self.take(&batch, log)?,
                Next::End => self.ended(log),
            }
        }
    }

    fn ask(&mut self, op: DiskOp, log: &mut Log, out: &mut Outbox<DiskRequest>) {
        let ticket = log.ticket();
        assert!(self.open.replace(ticket).is_none(), "{}: two operations of a cleaner at once", log.dir);
        out.push(DiskRequest { ticket, op });
    }

    fn take(&mut self, batch: &Batch, log: &Log) -> Result<(), CleanError> {
        let size = batch.bytes.len();
        if !log.holds(&batch.header) {
            return Err(self.reader.unreadable(size, "not the batch that was written there"));
        }
        let unsound = |reader: &Reader| reader.unreadable(size, "a batch without sound records");
        match &mut self.pass {
            Pass::Index(index, end) => {
                if !index.take(batch).map_err(|_| unsound(&self.reader))? {
                    // The map is full: what follows waits for the next clean.
                    *end = batch.header.base_offset;
                    self.reader = Reader::default();
                }
            }
            Pass::Filter(filtering) => {
                let left = filtering.filter.take(batch).map_err(|_| unsound(&self.reader))?;
                self.cleaned.bytes_before += size as u64;
                if log.observe.watched() {
                    filtering.tell(batch, &left);
                }
                self.queue.extend(filtering.keep(batch, &left, &log.config));
            }
        }
        Ok(())
    }

    /// All batches of a pass, or of a group, were taken.
    fn ended(&mut self, log: &mut Log) {
        match &mut self.pass {
            Pass::Index(index, end) => {
                let keys = index.finish(*end);
                self.filter_through(keys, log);
            }
            Pass::Filter(filtering) => {
                let (ops, bytes) = filtering.finish(log);
                self.cleaned.bytes_after += bytes;
                self.queue.extend(ops);
            }
        }
    }

    /// The second pass begins: from the start of the log, through the segment in which the map ends.
    fn filter_through(&mut self, keys: OffsetMap, log: &mut Log) {
        let (end, wall_ms) = (keys.end(), self.started.wall_ms);
        self.cleaned.first_dirty = end;
        let rules = Rules {
            keys,
            producers: log.last_of_producers(wall_ms),
            upper_bound: self.upper_bound,
            now_ms: wall_ms,
            delete_retention_ms: log.config.compaction.delete_retention_ms,
            guards: self.orders.guards,
        };
        let filter = Filter::new(rules, log.aborted_below(self.upper_bound)).beginning_inside(log.open_before());
        let groups = log.groups_below(end, self.upper_bound);
        self.pass =
            Pass::Filter(Box::new(Filtering { filter, groups, group: 0..0, told: Vec::new(), stage: Stage::Swapping }));
        let begun = self.next_group(log);
        assert!(begun, "{}: a log that is cleaned has a segment", log.dir);
    }

    /// Goes on with the next group of segments; false if there is none.
    fn next_group(&mut self, log: &mut Log) -> bool {
        let Pass::Filter(filtering) = &mut self.pass else { panic!("{}: no groups are known yet", log.dir) };
        assert!(matches!(filtering.stage, Stage::Swapping), "{}: a group is not written", log.dir);
        let Some(group) = filtering.groups.pop_front() else { return false };
        let opened_ms = log.segments_in(&group).last().map_or(self.started.wall_ms, |last| last.opened_ms);
        let (output, op) = Output::new(&log.dir, group.start, opened_ms);
        self.reader = Reader::new(log.segments_in(&group).map(whole));
        self.queue.push_back(op);
        (filtering.group, filtering.stage) = (group, Stage::Copying(output));
        true
    }

    /// When all of the group's files are written and durable, they take the place of the old ones. True if that is so.
    fn swap_if_written(&mut self, log: &mut Log, now: Now, out: &mut Outbox<DiskRequest>) -> bool {
        let Pass::Filter(filtering) = &mut self.pass else { return false };
        match std::mem::replace(&mut filtering.stage, Stage::Swapping) {
            Stage::Finishing(output) => {
                let (group, batches) = (filtering.group.clone(), std::mem::take(&mut filtering.told));
                let (end, wall_ms) = (self.cleaned.first_dirty, self.started.wall_ms);
                let (tp, from, to) = (log.tp, group.start, group.end);
                log.observe.note(|| Observation::LogCleaned { tp, from, to, end, wall_ms, batches });
                log.swap_in(output.into_segment(), filtering.group.clone(), now, out);
                self.cuts = log.cuts;
                true
            }
            other => {
                filtering.stage = other;
                false
            }
        }
    }
}

impl Filtering {
    fn tell(&mut self, batch: &Batch, left: &Left) {
        match left {
            Left::Same => {}
            Left::Changed(now) => self.told.push(told::cleaned(batch.header.base_offset, Some(now))),
            Left::Nothing => self.told.push(told::cleaned(batch.header.base_offset, None)),
        }
    }

    fn keep(&mut self, batch: &Batch, left: &Left, config: &LogConfig) -> Option<DiskOp> {
        let Stage::Copying(output) = &mut self.stage else { panic!("a batch of a group that was read to its end") };
        match left {
            Left::Same => output.push(batch, config),
            Left::Changed(batch) => output.push(batch, config),
            Left::Nothing => None,
        }
    }

    /// The last writes of the group, and how many bytes it has.
    fn finish(&mut self, log: &Log) -> (Vec<DiskOp>, u64) {
        let Stage::Copying(mut output) = std::mem::replace(&mut self.stage, Stage::Swapping) else {
            panic!("{}: a group ends once", log.dir)
        };
        let aborted = log.aborted_with(output.segment(), &self.group);
        let ops = output.finish(&aborted, &log.config);
        let bytes = output.segment().size;
        self.stage = Stage::Finishing(output);
        (ops, bytes)
    }
}

fn whole(segment: &Segment) -> Stretch {
    Stretch { path: segment.path.clone(), position: 0, end: segment.size }
}
