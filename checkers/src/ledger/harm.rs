//! Damage, and what it reaches: which copies of which offsets a fault may have spoilt.
//!
//! A *harm* names one partition on one node and the offsets from which its copy may differ from what its broker believes.
//! Damaged bytes of a file are turned into offsets through the positions at which the batches were appended. A load ends at
//! the first damaged batch, so a harm reaches the whole suffix there; a reading meets the damaged batches themselves. What a
//! harmed leader feeds to a follower harms the follower's copy too, and so does a frame that the network spoilt between
//! the two. Nothing below a harm's first offset, and no other partition, is excused by it.

use super::{LogModel, Partition, VersionId};
use crate::Damage;
use crate::nodes::NodeIndex;

/// How long after a frame was spoilt its first consequence may come: it waits in windows, behind stalls and in paused processes.
pub(crate) const FRAME_NS: u64 = 30_000_000_000;

/// The head of a batch that its checksum does not cover: base offset, length, leader epoch, magic and the checksum itself.
const UNCHECKED: u64 = 21;

/// How a copy is spoilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum HarmKind {
    /// What is at rest is wrong, or a read of it was: it may show at any time.
    Shown(Damage),
    /// The device has not got it: it shows once the page cache lets go of it.
    Hidden(Damage),
    /// A sync lied: power loss shows it.
    Undurable,
    /// The whole copy is gone under the running process: the next load shows it.
    Gone,
    /// A frame between this follower and its leader arrived other than it was sent.
    Frame,
    /// It was copied from a harmed source, or after a spoilt frame.
    Fed,
    /// The checkpoint of where the log begins says something else than was written: the next load may begin elsewhere.
    Begin(Damage),
    /// The recovery point may be too high: after lost power the next load believes what was never synced.
    Trusted(Damage),
    /// Where epochs begin whose records compaction took is told by a file alone: the next load believes it, for good.
    Epochs(Damage),
}

/// A file beside the batches that a load believes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beside {
    /// `log-start-offset-checkpoint`
    LogStarts,
    /// `recovery-point-offset-checkpoint`
    RecoveryPoints,
    /// `leader-epoch-checkpoint`
    LeaderEpochs,
}

impl Beside {
    /// The one that this damage spoils. What a failed sync forgot of a file that is still to take the old one's place its writer
    /// was told: it stays what it is. All other files are made anew from the logs.
    pub fn of(file: &str, damage: Damage) -> Option<Beside> {
        let name = file.strip_suffix(".tmp").unwrap_or(file);
        match (name, damage) {
            (_, Damage::Partial | Damage::Removed | Damage::Wiped | Damage::NamesNotDurable) => None,
            (_, Damage::Forgotten) if name != file => None,
            ("log-start-offset-checkpoint", _) => Some(Beside::LogStarts),
            ("recovery-point-offset-checkpoint", _) => Some(Beside::RecoveryPoints),
            ("leader-epoch-checkpoint", _) => Some(Beside::LeaderEpochs),
            _ => None,
        }
    }
}

/// A load as harms see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub at: u32,
    /// The entry at which the process began that loads.
    pub began: u32,
    /// The entry at which the machine lost power since the load before.
    pub power_lost: Option<u32>,
    /// It begins elsewhere than it was told to.
    pub moved: bool,
    /// All below was synced.
    pub flushed: i64,
}

impl Load {
    /// Power was lost after this entry.
    fn lost_after(&self, at: u32) -> bool {
        self.power_lost.is_some_and(|lost| lost > at)
    }
}

/// One harm of one node's copy of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Harm {
    pub node: NodeIndex,
    pub kind: HarmKind,
    /// The damaged offsets, `to` exclusive. What stands behind them a load may drop with them.
    pub from: i64,
    pub to: i64,
    /// Entry of the event of the world behind it.
    pub at: u32,
    /// World time of that entry, nanoseconds.
    pub at_ns: u64,
    /// Entry at which the damaged bytes were gone again; `u32::MAX` while they are there.
    pub until: u32,
    /// Some damaged bytes are, or may be, in the head of a batch, which no checksum covers.
    pub unchecked: bool,
    /// Bytes of its segment that no batch announced so far stands in: the next ones tell which offsets they are.
    pending: Option<(u64, u64)>,
}

impl Harm {
    /// Damage of checksummed bytes, all of them known, in force from entry and time `at` on.
    fn new(node: NodeIndex, kind: HarmKind, (from, to): (i64, i64), (at, at_ns): (u32, u64)) -> Harm {
        Harm { node, kind, from, to, at, at_ns, until: u32::MAX, unchecked: false, pending: None }
    }

    fn is_on(&self, node: NodeIndex) -> bool {
        self.node == node && self.in_force()
    }

    pub fn in_force(&self) -> bool {
        self.until == u32::MAX
    }
}

/// Where a batch stands in its segment's file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    base: i64,
    pub next: i64,
    position: u32,
    bytes: u32,
    /// The batch.
    id: VersionId,
    /// The offset at which its segment begins.
    pub opens: i64,
    /// The greatest timestamp in its segment up to it, milliseconds, if there is any.
    pub newest: Option<i64>,
    /// Of all that stands before it in its segment was told too.
    whole: bool,
}

impl Place {
    /// A segment begins with it, at this offset.
    pub fn begins_segment_at(&self, offset: i64) -> bool {
        self.position == 0 && self.base == offset
    }

    /// It is that of this batch, and all of its segment up to it is known.
    pub fn is_known(&self, id: VersionId) -> bool {
        self.whole && self.id == id
    }

    /// Bytes of its segment up to its end.
    pub fn ends(&self) -> u64 {
        u64::from(self.position) + u64::from(self.bytes)
    }
}

impl LogModel {
    /// A batch was written there: its last one, of these offsets.
    fn place(&mut self, (base, last): (i64, i64), (position, bytes): (u32, u32), max_timestamp: i64) {
        while self.places.last().is_some_and(|last| last.base >= base) {
            self.places.pop();
        }
        let (id, before) = match self.path[..] {
            [.., before, id] => (id, Some(before)),
            [id] => (id, None),
            [] => unreachable!("it was appended"),
        };
        let follows = |place: &&Place| place.ends() == u64::from(position) && Some(place.id) == before;
        let before = self.places.last().filter(|_| position > 0).filter(follows);
        let newest = before.and_then(|before| before.newest).max((max_timestamp >= 0).then_some(max_timestamp));
        let whole = position == 0 || before.is_some_and(|before| before.whole);
        let opens = before.map_or(base, |before| before.opens);
        let next = last.saturating_add(1);
        self.places.push(Place { base, next, position, bytes, id, opens, newest, whole });
    }

    /// Where the batch that begins at `base` stands.
    pub fn place_of(&self, base: i64) -> Option<&Place> {
        let at = self.places.partition_point(|place| place.base < base);
        self.places.get(at).filter(|place| place.base == base)
    }

    /// The offsets of the batches that stand in bytes `from..to` of the segment that begins at offset `segment`; what nobody
    /// has announced yet stands at the end.
    fn offsets(&self, segment: i64, from: u64, to: u64) -> (i64, i64) {
        let first = self.places.partition_point(|place| place.base < segment);
        let mut struck: Option<(i64, i64)> = None;
        let (mut position, mut end) = (None, segment.max(self.start));
        for place in self.places[first..].iter().take_while(|place| place.base < self.end) {
            let (begins, ends) = (u64::from(place.position), u64::from(place.position) + u64::from(place.bytes));
            // Positions begin anew: the next segment.
            if position.is_some_and(|before| begins <= before) {
                return struck.unwrap_or((end, end));
            }
            // A batch that nobody announced stands between: it may be any of these bytes.
            if place.base > end && struck.is_none() && from < begins {
                struck = Some((end, place.base));
            }
            if begins < to && from < ends {
                let since = struck.map_or(place.base, |(since, _)| since);
                struck = Some((since, place.next));
            }
            (position, end) = (Some(begins), place.next);
        }
        match struck {
            Some((since, until)) => (since, until),
            None => (end, i64::MAX),
        }
    }

    /// True if bytes `from..to` of the segment that begins at offset `segment` are all under the checksum of one announced
    /// batch.
    fn are_checked(&self, segment: i64, from: u64, to: u64) -> bool {
        let first = self.places.partition_point(|place| place.base < segment);
        let mut before = None;
        let of_the_segment = self.places[first..].iter().take_while(|place| {
            place.base < self.end && before.replace(place.position).is_none_or(|before| before < place.position)
        });
        let bounds = of_the_segment.map(|place| (u64::from(place.position), u64::from(place.bytes)));
        bounds.into_iter().any(|(begins, bytes)| begins + UNCHECKED <= from && to <= begins + bytes)
    }
}

impl Partition {
    /// Bytes of a segment of a node's log were damaged.
    pub fn damage(&mut self, node: NodeIndex, damage: Damage, segment: i64, bytes: (u64, u64), at: (u32, u64)) {
        let kind = match damage {
            Damage::BitRot | Damage::Overwritten | Damage::Misread => HarmKind::Shown(damage),
            Damage::Missing | Damage::Forgotten => HarmKind::Hidden(damage),
            Damage::NotDurable => HarmKind::Undurable,
            Damage::Wiped => HarmKind::Gone,
            // What arrived of a write that failed was never announced; what an unplugged device forgets was never synced.
            Damage::Partial | Damage::Removed => return,
            Damage::NamesNotDurable => unreachable!("the caller takes it for a directory's"),
        };
        let (from, to) = match kind {
            HarmKind::Gone => (i64::MIN, i64::MAX),
            _ if self.log(node).is_some_and(|log| segment < log.cleaned_to) => (segment, i64::MAX),
            _ => self.log(node).map_or((segment, i64::MAX), |log| log.offsets(segment, bytes.0, bytes.1)),
        };
        let is_cleaned = self.log(node).is_some_and(|log| segment < log.cleaned_to);
        let pending = (to == i64::MAX && kind != HarmKind::Gone && !is_cleaned).then_some(bytes);
        let unchecked = is_cleaned || !self.log(node).is_some_and(|log| log.are_checked(segment, bytes.0, bytes.1));
        self.harms.push(Harm { unchecked, pending, ..Harm::new(node, kind, (from, to), at) });
    }

    /// A file beside this log says something else than was written.
    pub fn misguide(&mut self, node: NodeIndex, beside: Beside, damage: Damage, at: (u32, u64)) {
        let kind = match beside {
            Beside::LogStarts => HarmKind::Begin(damage),
            Beside::RecoveryPoints => HarmKind::Trusted(damage),
            // Of a log without gaps the batches tell all epochs.
            Beside::LeaderEpochs if self.compaction.is_none() => return,
            Beside::LeaderEpochs => HarmKind::Epochs(damage),
        };
        if self.log(node).is_some() {
            self.harms.push(Harm::new(node, kind, (i64::MIN, i64::MAX), at));
        }
    }

    /// The file that says whose a directory is says something else than was written: its log is not loaded, and begins anew.
    pub fn misname(&mut self, node: NodeIndex, damage: Damage, at: (u32, u64)) {
        let kind = match damage {
            Damage::Partial | Damage::Removed | Damage::NamesNotDurable => return,
            Damage::NotDurable => HarmKind::Undurable,
            _ => HarmKind::Gone,
        };
        if self.log(node).is_some() {
            self.harms.push(Harm::new(node, kind, (i64::MIN, i64::MAX), at));
        }
    }

    /// The device under a node was wiped in the life that loaded this copy, or in a later one: whatever that life took for
    /// there, or wrote since into directories that are gone, the next one need not find.
    pub fn gone(&mut self, node: NodeIndex, at: u32, at_ns: u64) {
        if !self.harms.iter().any(|harm| harm.is_on(node) && harm.kind == HarmKind::Gone) {
            self.harms.push(Harm::new(node, HarmKind::Gone, (i64::MIN, i64::MAX), (at, at_ns)));
        }
    }

    /// Damage in this node's own copy to what no checksum covers: a wrong epoch or offset is taken for good, and may lead a
    /// follower astray for ever.
    pub fn harm_within(&self, node: NodeIndex) -> Option<Harm> {
        let within = |harm: &&Harm| match harm.kind {
            HarmKind::Shown(_) | HarmKind::Hidden(_) => harm.unchecked,
            HarmKind::Fed => true,
            _ => false,
        };
        self.harms.iter().filter(|harm| harm.is_on(node)).find(within).copied()
    }

    /// A sync lied about names: of the newest file of a node's log, or of the log itself. Older files were synced by then.
    pub fn unname(&mut self, node: NodeIndex, only_newest: bool, at: (u32, u64)) {
        let places = self.log(node).map_or(&[][..], |log| &log.places);
        let newest = places.iter().rfind(|place| place.position == 0).map(|place| place.base);
        let from = newest.filter(|_| only_newest).unwrap_or(i64::MIN);
        self.harms.push(Harm::new(node, HarmKind::Undurable, (from, i64::MAX), at));
    }

    /// A batch was announced: damage that came before its announcement learns whether it is the batch's.
    pub fn announced(
        &mut self,
        node: NodeIndex,
        (base, last): (i64, i64),
        (position, bytes): (u32, u32),
        max_timestamp: i64,
    ) {
        self.log_mut(node).place((base, last), (position, bytes), max_timestamp);
        let (begins, ends) = (u64::from(position), u64::from(position) + u64::from(bytes));
        for harm in self.harms.iter_mut().filter(|harm| harm.is_on(node) && base >= harm.from) {
            match harm.pending {
                // It stands behind them, or in the next segment.
                Some((_, to)) if begins >= to || (begins == 0 && base > harm.from) => {
                    (harm.to, harm.pending) = (base, None);
                }
                Some((from, _)) if ends <= from && base == harm.from => harm.from = last.saturating_add(1),
                _ => {}
            }
        }
    }

    /// A frame between a follower and the leader was spoilt: the leader may believe the follower to be further than it is,
    /// or the follower may copy or cut what it should not.
    pub fn spoil_frame(&mut self, follower: NodeIndex, at: u32, at_ns: u64) {
        let from = self.log(follower).map_or(0, |log| log.end);
        self.harms.push(Harm::new(follower, HarmKind::Frame, (from, i64::MAX), (at, at_ns)));
    }

    /// Damage that may be why a node counts its segments otherwise than it should, or knows something else of producers: what its
    /// last load met, what it was fed, or a frame of late. What it has in memory no damage of its disk reaches.
    pub fn harm_of_start(&self, node: NodeIndex, now_ns: u64) -> Option<Harm> {
        let loaded = self.log(node).map_or(0, |log| log.loaded);
        let tells = |harm: &&Harm| match harm.kind {
            HarmKind::Fed => harm.in_force(),
            HarmKind::Frame => harm.in_force() && is_fresh(harm, now_ns),
            HarmKind::Undurable | HarmKind::Epochs(_) => false,
            HarmKind::Shown(_) | HarmKind::Hidden(_) | HarmKind::Gone | HarmKind::Begin(_) | HarmKind::Trusted(_) => {
                harm.at < loaded && (harm.in_force() || harm.until == loaded)
            }
        };
        self.harms.iter().filter(|harm| harm.node == node).find(tells).copied()
    }

    /// What excuses a load that brings back less than there was, or something else, from its first offset on.
    pub fn harm_of_load(&self, node: NodeIndex, load: Load) -> Option<Harm> {
        let tells = |harm: &&Harm| match harm.kind {
            HarmKind::Shown(_) | HarmKind::Hidden(_) | HarmKind::Gone | HarmKind::Fed => true,
            HarmKind::Undurable => load.lost_after(harm.at),
            HarmKind::Begin(_) => load.moved && shows(harm, load),
            HarmKind::Trusted(_) => load.power_lost.is_some() && shows(harm, load),
            HarmKind::Frame | HarmKind::Epochs(_) => false,
        };
        // What was synced is there, however high a recovery point is.
        let reach = |harm: &Harm| match harm.kind {
            HarmKind::Trusted(_) => Harm { from: load.flushed, ..*harm },
            _ => *harm,
        };
        self.harms.iter().filter(|harm| harm.is_on(node)).filter(tells).map(reach).min_by_key(|harm| harm.from)
    }

    /// A log was loaded and ends at `end`: what a load cut away, and what was read wrongly then, harms no longer. If it is
    /// not what was there, though, a load that read wrongly took something else for the log: what is written behind that
    /// stands where no later load need find it.
    pub fn loaded_anew(&mut self, node: NodeIndex, end: i64, load: Load, differs: bool) {
        let start = self.log(node).map_or(0, |log| log.start);
        let gaps = self.compaction.is_some();
        for harm in self.harms.iter_mut().filter(|harm| harm.is_on(node)) {
            if differs && harm.kind == HarmKind::Shown(Damage::Misread) {
                (harm.kind, harm.to) = (HarmKind::Fed, i64::MAX);
                continue;
            }
            if differs && matches!(harm.kind, HarmKind::Shown(_)) && harm.from < end {
                harm.to = i64::MAX;
            }
            // Power took what it could. A load looks at no checksum of what it believes to be synced: it may show later.
            let taken = harm.kind == HarmKind::Undurable && load.lost_after(harm.at);
            // Where a clean may leave gaps a load takes a segment that is lost for one of them.
            let of_bytes = harm.to != i64::MAX || harm.pending.is_some() || gaps;
            if taken && of_bytes && harm.from < end && harm.to > start {
                harm.kind = HarmKind::Shown(Damage::NotDurable);
                continue;
            }
            let trusted = matches!(harm.kind, HarmKind::Trusted(_)) && load.power_lost.is_some() && shows(harm, load);
            if let HarmKind::Trusted(damage) = harm.kind
                && trusted
                && load.flushed < end
            {
                (harm.kind, harm.from, harm.unchecked) = (HarmKind::Shown(damage), load.flushed, true);
                continue;
            }
            let over = match harm.kind {
                // What was damaged under a process only the next one finds so.
                HarmKind::Gone => harm.at < load.began,
                HarmKind::Frame | HarmKind::Shown(Damage::Misread) => true,
                HarmKind::Undurable => taken || harm.from >= end,
                HarmKind::Shown(_) | HarmKind::Hidden(_) | HarmKind::Fed => harm.from >= end,
                HarmKind::Begin(_) => shows(harm, load),
                HarmKind::Trusted(_) => trusted,
                HarmKind::Epochs(_) => false,
            };
            harm.until = if over { load.at } else { harm.until };
        }
    }

    /// A log was cut to `end`: damaged bytes above it are gone.
    pub fn cut_away(&mut self, node: NodeIndex, end: i64, at: u32) {
        let gone = |harm: &&mut Harm| harm.is_on(node) && harm.from >= end && harm.kind != HarmKind::Frame;
        self.harms.iter_mut().filter(gone).for_each(|harm| harm.until = at);
    }

    /// A spoilt frame that may be why this follower cut its log, or has another high watermark than its leader.
    pub fn spoilt_frame(&self, node: NodeIndex, now_ns: u64) -> Option<Harm> {
        let fresh = |harm: &&Harm| harm.is_on(node) && harm.kind == HarmKind::Frame && is_fresh(harm, now_ns);
        self.harms.iter().find(fresh).copied()
    }

    /// Why a replica may append at `base` what its leader never wrote there; the replica's copy is harmed from there on.
    pub fn fed(&mut self, node: NodeIndex, base: i64, last: i64, now_ns: u64, at: u32) -> Option<Harm> {
        let own = |harm: &&Harm| harm.is_on(node) && harm.from <= base && !harm.kind.is_beside();
        let frame = |harm: &&Harm| harm.kind != HarmKind::Frame || is_fresh(harm, now_ns);
        let own = self.harms.iter().filter(own).find(frame).copied();
        let found = own.or_else(|| self.harmed_source(node, base, last, now_ns))?;
        let is_known =
            self.harms.iter().any(|harm| harm.is_on(node) && harm.kind == HarmKind::Fed && harm.from <= base);
        if !is_known {
            assert!(at >= found.at, "a consequence comes after its cause");
            self.harms.push(Harm::new(node, HarmKind::Fed, (base, i64::MAX), (found.at, found.at_ns)));
        }
        Some(found)
    }

    /// A wrong file of epochs, in which some replica may have been told wrongly where to cut.
    pub fn wrong_epochs(&self) -> Option<Harm> {
        let loaded = |harm: &Harm| self.log(harm.node).is_some_and(|log| log.loaded > harm.at);
        let tells = |harm: &&Harm| matches!(harm.kind, HarmKind::Epochs(_)) && harm.in_force() && loaded(harm);
        self.harms.iter().find(tells).copied()
    }

    /// Damage in another replica's copy of these offsets, which this one may have been fed from.
    pub fn harmed_source(&self, node: NodeIndex, base: i64, last: i64, now_ns: u64) -> Option<Harm> {
        let source = |harm: &&Harm| match harm.kind {
            _ if harm.node == node || !harm.in_force() => false,
            HarmKind::Shown(Damage::Misread) if !is_fresh(harm, now_ns) => false,
            HarmKind::Shown(_) | HarmKind::Hidden(_) => harm.from <= last && base < harm.to,
            HarmKind::Fed => harm.from <= last,
            _ => false,
        };
        self.harms.iter().find(source).copied()
    }

    /// Why a member of the ISR need not hold a version that the leader counts on it for.
    pub fn harm_of_copy(&self, node: NodeIndex, id: VersionId, now_ns: u64) -> Option<Harm> {
        let last = self.version(id).last;
        let tells = |harm: &&Harm| match harm.kind {
            HarmKind::Fed => true,
            HarmKind::Frame => is_fresh(harm, now_ns),
            _ => false,
        };
        self.harms.iter().filter(|harm| harm.is_on(node) && harm.from <= last).find(tells).copied()
    }

    /// Why nobody can tell whether a member holds a version: it was loaded with damaged batches before that place, so the digest of
    /// its log does not tell what stands there.
    pub fn harm_of_riddle(&self, node: NodeIndex, id: VersionId) -> Option<Harm> {
        let (base, loaded) = (self.version(id).base, self.log(node)?.loaded);
        self.covering(node, base).filter(|found| self.version(*found).opaque)?;
        let of_bytes = |harm: &&Harm| matches!(harm.kind, HarmKind::Shown(_) | HarmKind::Hidden(_));
        let tells = |harm: &&Harm| of_bytes(harm) && harm.at < loaded && harm.from <= base;
        self.harms.iter().filter(|harm| harm.is_on(node)).find(tells).copied()
    }

    /// What this replica was fed, or lost, before: it may have to cut what others hold as committed.
    pub fn fed_by(&self, node: NodeIndex) -> Option<Harm> {
        self.harms.iter().find(|harm| harm.is_on(node) && harm.kind == HarmKind::Fed).copied()
    }

    /// True if what this replica holds from some offset up to this version on was fed to it.
    pub fn fed_before(&self, node: NodeIndex, id: VersionId) -> bool {
        self.fed_by(node).is_some_and(|harm| harm.from <= self.version(id).last)
    }

    /// A leader counted members whose copies are harmed: they protect nothing of what it committed by that.
    pub fn counted_in_vain(&mut self, leader: NodeIndex, leader_epoch: i32, committed: &[VersionId], now_ns: u64) {
        if self.harms.is_empty() {
            return;
        }
        let Some(members) = self.view_of(leader, leader_epoch).map(|view| view.maximal) else { return };
        for id in committed {
            for member in members.iter().filter(|member| *member != leader) {
                let lacks = !self.holds(member, *id);
                if let Some(harm) = self.harm_of_copy(member, *id, now_ns).filter(|_| lacks) {
                    self.destroy(*id, member, harm);
                }
            }
        }
    }

    /// Why a reader may have met something else at this offset, or nothing. The final reading meets only what is still damaged.
    pub fn harm_met(&self, offset: i64, at: u32, finally: bool) -> Option<Harm> {
        let met = |harm: &&Harm| match harm.kind {
            HarmKind::Shown(_) | HarmKind::Hidden(_) => harm.from <= offset && offset < harm.to,
            HarmKind::Fed => harm.from <= offset,
            _ => false,
        };
        // What was read wrongly once is sound at rest.
        let stays = |harm: &&Harm| harm.in_force() && harm.kind != HarmKind::Shown(Damage::Misread);
        let then = |harm: &&Harm| harm.at <= at && (!finally || stays(harm));
        self.harms.iter().filter(met).find(then).copied()
    }

    /// A harm that may keep a reader or a follower that stands at `offset` from going on: nobody takes damaged bytes. Without an
    /// offset any that is still there.
    pub fn harm_that_blocks(&self, offset: Option<i64>) -> Option<Harm> {
        let blocks = |harm: &&Harm| match harm.kind {
            HarmKind::Shown(Damage::Misread) => false,
            HarmKind::Shown(_) | HarmKind::Hidden(_) => offset.is_none_or(|at| harm.from <= at && at < harm.to),
            HarmKind::Fed => offset.is_none_or(|at| harm.from <= at),
            _ => false,
        };
        self.harms.iter().filter(|harm| harm.in_force()).find(blocks).copied()
    }

    /// A node's copy of a version is destroyed, and this harm did it.
    pub fn destroy(&mut self, id: VersionId, node: NodeIndex, harm: Harm) {
        self.version_mut(id).destroyed.insert(node);
        self.blame.insert(id, harm.at);
    }
}

impl HarmKind {
    /// It lies in no byte that stands in the log now.
    fn is_beside(self) -> bool {
        matches!(self, HarmKind::Undurable | HarmKind::Begin(_) | HarmKind::Trusted(_) | HarmKind::Epochs(_))
    }
}

/// What a lying sync promised of a file is there until power is lost.
fn shows(harm: &Harm, load: Load) -> bool {
    let only_by_power = match harm.kind {
        HarmKind::Begin(damage) | HarmKind::Trusted(damage) | HarmKind::Epochs(damage) => damage == Damage::NotDurable,
        _ => false,
    };
    !only_by_power || load.lost_after(harm.at)
}

fn is_fresh(harm: &Harm, now_ns: u64) -> bool {
    now_ns.saturating_sub(harm.at_ns) <= FRAME_NS
}
