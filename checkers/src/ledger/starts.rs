//! Where logs begin: the starts that their nodes told, what the retention had to delete, and what nobody need find any more.
//!
//! A start is *legal* when all below it is committed and a rule took it away: a check of the retention under the node's own
//! wall clock [L20], or the legal start of another replica [L21]. DeleteRecords is none before some client is told to ask for
//! it, which no workload does. Only a legal start excuses that records are gone, on its own copy; and for clients, once a
//! leader has it.

use super::partition::{Partition, same_batch};
use super::{LogModel, Machine, Sent, VersionId};
use crate::nodes::NodeIndex;
use klamm_base::{Observation, SegmentFact, StartCause};
use std::collections::BTreeSet;

/// The beginning of one node's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Starts {
    /// As it was told last.
    pub now: i64,
    /// The highest that was legal.
    pub legal: i64,
    /// All that this copy had since its machine lost power last: a checkpoint may bring any of them back.
    told: BTreeSet<i64>,
    /// The log began anew since then: that may not have reached the disk.
    pub anew: bool,
    /// Moves by the retention of which no check was told yet.
    open: Option<OpenMove>,
}

/// Moves of one check of the retention, which is told after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OpenMove {
    /// Where the log began before.
    from: i64,
    at: u32,
}

/// One check of the retention, as its node told it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Check<'a> {
    pub wall_ms: i64,
    pub high_watermark: i64,
    pub log_start: i64,
    pub limits: Limits,
    pub segments: &'a [SegmentFact],
    pub deleted: u32,
}

/// How much a topic keeps: `retention.ms` and `retention.bytes`, both -1 where its policy does not delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub ms: i64,
    pub bytes: i64,
}

/// What is wrong with the beginning of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartFault {
    /// So many segments had to go, by the node's own clock.
    Inexact { wanted: u32 },
    /// What was not committed is gone.
    Uncommitted,
    /// This segment (by its base offset) is not what was written.
    Misplaced { segment: i64 },
    /// A check ran under other limits than the topic has.
    OtherLimits { wanted: Limits },
    /// A check took another high watermark than the one that its node told last.
    OtherMark { told: i64 },
    /// It was another time, milliseconds, and nothing was wrong with that clock.
    OtherTime { true_ms: i64 },
    /// It moved without a reason, or did not where it had one.
    Unfounded,
}

/// What a check of the retention deleted that it would not have deleted by the true time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooEarly {
    pub from: i64,
    pub to: i64,
    /// Entry at which the world made the clock wrong.
    pub clock: u32,
}

impl LogModel {
    /// The log is empty and begins at `to`.
    pub fn begin(&mut self, to: i64) {
        self.path.clear();
        self.writers.clear();
        self.left.clear();
        self.cleaned_to = 0;
        (self.start, self.marked, self.starts.now) = (to, 0, to);
        self.starts.legal = self.starts.legal.min(to);
        self.starts.told.insert(to);
        self.starts.anew = true;
    }

    /// True if a load may find the log's beginning there: where it was told to be; or, as a start is checkpointed now and then
    /// and segments are deleted one by one, where it was told to be earlier, or where a segment begins below. One that began
    /// anew may begin where it did before: not all of that may have reached the disk.
    pub fn may_begin_at(&self, start: i64) -> bool {
        let begins = |start: i64| self.place_of(start).is_some_and(|place| place.begins_segment_at(start));
        let earlier = start < self.starts.now && (self.starts.told.contains(&start) || begins(start));
        let before = self.starts.anew && self.starts.told.contains(&start);
        start == self.start || start == self.starts.now || (self.start < start && earlier) || before
    }
}

impl Starts {
    /// Power was lost and the log was loaded since: what is checkpointed is where it begins, and nothing earlier comes back.
    pub fn forget(&mut self) {
        (self.told, self.anew) = (BTreeSet::from([self.now]), false);
    }
}

impl<'a> Check<'a> {
    /// The check that an observation tells of.
    pub fn told(observation: &'a Observation) -> Check<'a> {
        let Observation::RetentionRan {
            wall_ms,
            high_watermark,
            log_start,
            retention_ms,
            retention_bytes,
            segments,
            deleted,
            ..
        } = observation
        else {
            unreachable!("{observation:?} is no check of the retention")
        };
        let limits = Limits { ms: *retention_ms, bytes: *retention_bytes };
        let (wall_ms, high_watermark, log_start, deleted) = (*wall_ms, *high_watermark, *log_start, *deleted);
        Check { wall_ms, high_watermark, log_start, limits, segments, deleted }
    }

    /// How many of the oldest segments must go if it is `wall_ms` now, of a log that ends at `end` [L20].
    fn due(&self, wall_ms: i64, end: i64) -> u32 {
        let ends = self.segments.iter().skip(1).map(|next| next.base_offset).chain([end]);
        let mut size = self.segments.iter().fold(0u64, |size, segment| size.saturating_add(segment.bytes));
        let mut count = 0;
        for (segment, end) in self.segments.iter().zip(ends) {
            let rest = size.saturating_sub(segment.bytes);
            let by_size = u64::try_from(self.limits.bytes).is_ok_and(|wanted| rest >= wanted);
            let age = wall_ms.saturating_sub(segment.newest_ms);
            let by_age = self.limits.ms >= 0 && age > self.limits.ms;
            let whole = segment.bytes > 0 && end <= self.high_watermark;
            if !whole || !(end <= self.log_start || by_size || by_age) {
                break;
            }
            (size, count) = (rest, count + 1);
        }
        count
    }

    /// Where the log begins behind the first `count` segments.
    fn behind(&self, count: u32, end: i64) -> i64 {
        self.segments.get(count as usize).map_or(end, |segment| segment.base_offset)
    }
}

impl Partition {
    /// A node told that its log begins at `to` from now on.
    pub fn start_moved(&mut self, node: NodeIndex, to: i64, cause: StartCause, at: u32) -> Option<StartFault> {
        let is_legal = self.is_legal(to, cause);
        let log = self.log_mut(node);
        let from = std::mem::replace(&mut log.starts.now, to);
        let forgotten = log.starts.open.is_some() && !by_retention(cause);
        log.starts.told.insert(to);
        if to > log.end {
            // A follower that fell behind its leader's start begins there anew.
            (log.end, log.flushed) = (to, to);
            log.begin(to);
        }
        if by_retention(cause) {
            log.starts.open.get_or_insert(OpenMove { from, at });
            return None;
        }
        log.starts.open = None;
        match is_legal {
            Ok(()) => {
                self.deleted_by_rule(node, to);
                forgotten.then_some(StartFault::Unfounded)
            }
            Err(fault) => Some(fault),
        }
    }

    fn is_legal(&self, to: i64, cause: StartCause) -> Result<(), StartFault> {
        match cause {
            _ if to > self.frontier => Err(StartFault::Uncommitted),
            StartCause::DeleteRecords => Err(StartFault::Unfounded),
            StartCause::Leader if to > self.highest_start => Err(StartFault::Unfounded),
            _ => Ok(()),
        }
    }

    /// All below `to` was taken from a node's log as it should be.
    fn deleted_by_rule(&mut self, node: NodeIndex, to: i64) {
        let log = self.log_mut(node);
        let leads = log.leads;
        log.starts.legal = log.starts.legal.max(to);
        self.highest_start = self.highest_start.max(to);
        if leads {
            self.led_start = self.led_start.max(to);
        }
        if self.led.is_some_and(|(leader, _)| leader == node) {
            self.bury(to);
        }
    }

    /// Nobody need find any more what a leader deleted below `to`.
    fn bury(&mut self, to: i64) {
        self.gone_below = self.gone_below.max(to);
        let count = self.line.partition_point(|id| self.version(*id).last < to);
        let gone: Vec<VersionId> = self.line.drain(..count).collect();
        for id in gone {
            let twins: Vec<VersionId> = self.twins(id).collect();
            twins.into_iter().chain([id]).for_each(|id| self.version_mut(id).deleted = true);
        }
        let cut = self.line.first().copied().filter(|id| self.version(*id).base < self.gone_below);
        self.straddles = cut.or(self.straddles.filter(|id| self.gone_below <= self.version(*id).last));
    }

    /// The same batch, as it was first told of.
    fn twins(&self, id: VersionId) -> impl Iterator<Item = VersionId> + '_ {
        let version = self.version(id);
        self.covering_any(version.base).filter(move |other| *other != id && same_batch(self.version(*other), version))
    }

    /// A leader deleted this offset of a batch by rule.
    pub fn is_buried(&self, id: VersionId, offset: i64) -> bool {
        let goes = |id: VersionId| self.version(id).deleted || offset < self.gone_below && self.straddles == Some(id);
        goes(id) || self.twins(id).any(goes)
    }

    /// Damage made a node's log begin where it does: nobody need find what stood below.
    pub fn deleted_by_damage(&mut self, node: NodeIndex) {
        let begins = self.log_mut(node).starts.now;
        self.deleted_by_rule(node, begins);
    }

    /// A broker leads: what it deleted by rule nobody need find.
    pub(super) fn leads_without(&mut self, node: NodeIndex) {
        let legal = self.log(node).map_or(0, |log| log.starts.legal.min(log.starts.now));
        self.bury(legal);
    }

    /// A broker took up leadership, or gave it up.
    pub fn takes_the_lead(&mut self, node: NodeIndex, leads: bool) {
        let log = self.log_mut(node);
        log.leads = leads;
        let legal = log.starts.legal.min(log.starts.now);
        if leads {
            self.led_start = self.led_start.max(legal);
        }
    }

    /// A node told of a check of the retention.
    pub fn expired(&mut self, node: NodeIndex, check: &Check) -> Option<StartFault> {
        let log = self.log_mut(node);
        let (end, now) = (log.end, log.starts.now);
        let open = log.starts.open.take();
        let begins = check.behind(check.deleted, end);
        let fault = self.fault_of(node, check, open.map_or(now, |open| open.from));
        if fault.is_none() && check.deleted > 0 {
            self.deleted_by_rule(node, begins);
        }
        fault
    }

    fn fault_of(&self, node: NodeIndex, check: &Check, before: i64) -> Option<StartFault> {
        let log = self.log(node)?;
        if let Some(wanted) = self.limits.filter(|wanted| *wanted != check.limits) {
            return Some(StartFault::OtherLimits { wanted });
        }
        let wanted = check.due(check.wall_ms, log.end);
        let begins = check.behind(check.deleted, log.end);
        if check.deleted > 0 && check.high_watermark.max(begins) > self.frontier {
            return Some(StartFault::Uncommitted);
        }
        if let Some(mark) = log.mark.filter(|mark| mark.to != check.high_watermark) {
            return Some(StartFault::OtherMark { told: mark.to });
        }
        if check.deleted != wanted {
            return Some(StartFault::Inexact { wanted });
        }
        if let Some(segment) = self.misplaced(log, check).filter(|_| log.left.is_empty()) {
            return Some(StartFault::Misplaced { segment });
        }
        let follows = if check.deleted > 0 { before.max(begins) } else { before };
        (check.log_start != before || log.starts.now != follows).then_some(StartFault::Unfounded)
    }

    /// The first segment that is not what the node told of its appends. Where some were never told, nobody knows.
    fn misplaced(&self, log: &LogModel, check: &Check) -> Option<i64> {
        let ends = check.segments.iter().skip(1).map(|next| next.base_offset).chain([log.end]);
        let wrong = |(segment, end): &(&SegmentFact, i64)| !self.is_as_written(log, segment, *end);
        check.segments.iter().zip(ends).find(wrong).map(|(segment, _)| segment.base_offset)
    }

    /// What its last batch tells of a segment that ends at `end`, against what the node says of it.
    fn is_as_written(&self, log: &LogModel, segment: &SegmentFact, end: i64) -> bool {
        let behind = log.path.partition_point(|id| self.version(*id).base < end);
        let last = log.path[..behind].last().filter(|id| self.version(**id).base >= segment.base_offset);
        let Some(id) = last.copied() else { return segment.bytes == 0 && segment.base_offset == end };
        let Some(place) = log.place_of(self.version(id).base).filter(|place| place.is_known(id)) else { return true };
        let opened = segment.newest_ms;
        (place.opens, place.next, place.ends()) == (segment.base_offset, end, segment.bytes)
            && place.newest.unwrap_or(opened) == segment.newest_ms
    }

    /// What the retention deleted for no other reason than a wrong clock, which says `true_ms` behind what it should.
    pub fn too_early(&self, node: NodeIndex, check: &Check, true_ms: i64, machine: Machine) -> Option<TooEarly> {
        let end = self.log(node)?.end;
        let wanted = check.due(true_ms, end);
        let (from, to) = (check.behind(wanted, end), check.behind(check.deleted, end));
        let clock = machine.clock_off.filter(|_| wanted < check.deleted)?;
        Some(TooEarly { from, to, clock })
    }

    /// A start that moved by the retention, of which no check was told.
    pub fn unchecked_starts(&self) -> impl Iterator<Item = (NodeIndex, u32)> + '_ {
        let open = |node: &u8| Some((NodeIndex(*node), self.log(NodeIndex(*node))?.starts.open?.at));
        self.hosts.iter().filter_map(open)
    }

    /// What stood at this offset a leader deleted by rule.
    pub fn was_deleted(&self, offset: i64) -> bool {
        offset < self.gone_below && self.covering_any(offset).any(|id| self.is_buried(id, offset))
    }

    /// Whether a record of this client may have stood where logs were deleted by rule: nothing that the client sent before it
    /// stands behind that.
    pub fn may_be_deleted(&self, client: klamm_base::ClientId) -> impl Fn(u32) -> bool + use<> {
        let behind = |offset: i64| offset.saturating_add(1) >= self.gone_below;
        let stays = |(_, sent): &(u32, &Sent)| sent.place().is_some_and(behind);
        let first = self.sendings.get(&client).and_then(|sending| sending.iter().find(stays)).map(|(number, _)| number);
        let some = self.gone_below > 0;
        // Of a compacted topic whichever record has its key may have overtaken it.
        let any = self.compaction.is_some();
        move |number| any || some && first.is_none_or(|first| number <= first)
    }
}

fn by_retention(cause: StartCause) -> bool {
    matches!(cause, StartCause::RetentionBytes | StartCause::RetentionMs | StartCause::Start)
}
