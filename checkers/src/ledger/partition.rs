//! One partition: its versions, its replicas' logs, the controller's decisions and what clients were told.

use super::compaction::Compaction;
use super::harm::Harm;
use super::loss::{Decision, Loss, View};
use super::starts::{Limits, Starts};
use super::witnesses::Astray;
use super::{AppendFault, Cut, Fate, LogModel, Sending, Slots, Topic, Version, VersionId};
use crate::nodes::{NodeIndex, NodeSet};
use klamm_base::{ClientId, Sequences, TopicPartition, TruncationCause, chain};
use std::collections::{BTreeMap, BTreeSet};

/// What one entry changed; the vectors are reused.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Popped from a log.
    pub removed: Vec<VersionId>,
    /// Newly below a leader's high watermark.
    pub committed: Vec<VersionId>,
    /// Committed, and missing from the leader's log from now on.
    pub lost: Vec<VersionId>,
}

impl Changes {
    pub fn clear(&mut self) {
        self.removed.clear();
        self.committed.clear();
        self.lost.clear();
    }
}

/// The batch of an append, as it was observed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored {
    pub base: i64,
    pub last: i64,
    pub epoch: i32,
    pub batch: u64,
    pub producer: Option<Sequences>,
}

/// What the final reading of a partition covered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Final {
    pub start: i64,
    pub end: i64,
    pub complete: bool,
    pub at: u32,
}

#[derive(Debug)]
pub(crate) struct Partition {
    pub tp: TopicPartition,
    pub versions: Vec<Version>,
    /// The first version seen at an (offset, epoch).
    pub places: BTreeMap<(i64, i32), VersionId>,
    /// Versions that are not the first to follow their parent.
    forks: BTreeMap<(Option<VersionId>, i64, i32, u64), VersionId>,
    /// Opaque versions that no other log has explained yet, and those that one has.
    pub(super) opaque: Vec<VersionId>,
    explained: BTreeMap<VersionId, Vec<VersionId>>,
    /// By node number.
    pub logs: Vec<LogModel>,
    pub decisions: Vec<Decision>,
    /// Where the log of each member of the ISR ended when the controller decided (entry, node).
    pub ends: BTreeMap<(u32, NodeIndex), i64>,
    /// Where the log of a replica ended when a leader proposed it for the ISR, until a decision takes it in.
    pub proposed: BTreeMap<NodeIndex, i64>,
    pub views: Vec<View>,
    pub losses: Vec<Loss>,
    /// The latest leader that took up its epoch.
    pub led: Option<(NodeIndex, i32)>,
    /// Entry at which each epoch was taken up.
    pub led_at: BTreeMap<i32, u32>,
    /// Committed, and neither lost nor deleted by rule, ascending by offset.
    pub line: Vec<VersionId>,
    /// The highest end of anything committed ever.
    pub frontier: i64,
    /// Below this a leader's log was deleted by rule: nobody need find what stood there.
    pub gone_below: i64,
    /// The batch in whose middle that is, if it is in one: of it only what stands below is gone.
    pub(super) straddles: Option<VersionId>,
    /// The highest legal start that any replica ever had.
    pub highest_start: i64,
    /// The highest that any had while it led.
    pub led_start: i64,
    /// The longest batch, in offsets.
    pub longest: i64,
    pub slots: Slots,
    pub sendings: BTreeMap<ClientId, Sending>,
    /// The final reading's end, when it was told.
    pub finally: Option<Final>,
    /// Entry at which the final reading began.
    pub finally_began: Option<u32>,
    /// Where and why the final reading left its way: from there on it is no witness of what it did not show.
    pub finally_astray: Option<Astray>,
    pub min_insync: i32,
    pub unclean_permitted: bool,
    /// What the topic keeps, once it is known.
    pub limits: Option<Limits>,
    /// Node numbers with a log here.
    pub hosts: BTreeSet<u8>,
    /// What damage the copies took, in the order of its coming.
    pub harms: Vec<Harm>,
    /// Versions of which a copy was destroyed by a harm, and the entry of that harm.
    pub blame: BTreeMap<VersionId, u32>,
    /// What cleans made of it, if its topic is a compacted one.
    pub compaction: Option<Compaction>,
}

impl Partition {
    pub fn new(tp: TopicPartition) -> Self {
        Partition {
            tp,
            versions: Vec::new(),
            places: BTreeMap::new(),
            forks: BTreeMap::new(),
            opaque: Vec::new(),
            explained: BTreeMap::new(),
            logs: Vec::new(),
            decisions: Vec::new(),
            ends: BTreeMap::new(),
            proposed: BTreeMap::new(),
            views: Vec::new(),
            losses: Vec::new(),
            led: None,
            led_at: BTreeMap::new(),
            line: Vec::new(),
            frontier: 0,
            gone_below: 0,
            straddles: None,
            highest_start: 0,
            led_start: 0,
            longest: 1,
            slots: Slots::default(),
            sendings: BTreeMap::new(),
            finally: None,
            finally_began: None,
            finally_astray: None,
            min_insync: 1,
            unclean_permitted: false,
            limits: None,
            hosts: BTreeSet::new(),
            harms: Vec::new(),
            blame: BTreeMap::new(),
            compaction: None,
        }
    }

    /// Takes over what its topic was made with.
    pub fn settle(&mut self, topic: &Topic) {
        (self.min_insync, self.unclean_permitted) = (topic.min_insync, topic.unclean);
        self.limits = Some(topic.limits);
        self.compaction = topic.compacted.map(Compaction::new);
    }

    pub fn version(&self, id: VersionId) -> &Version {
        &self.versions[id.0 as usize]
    }

    pub fn version_mut(&mut self, id: VersionId) -> &mut Version {
        &mut self.versions[id.0 as usize]
    }

    pub fn log(&self, node: NodeIndex) -> Option<&LogModel> {
        self.logs.get(node.0 as usize).filter(|log| log.known)
    }

    pub fn log_mut(&mut self, node: NodeIndex) -> &mut LogModel {
        let at = node.0 as usize;
        if at >= self.logs.len() {
            self.logs.resize_with(at + 1, LogModel::default);
        }
        if !self.logs[at].known {
            self.logs[at].known = true;
            self.hosts.insert(node.0);
        }
        &mut self.logs[at]
    }

    /// The version that covers `offset` in a node's log.
    pub fn covering(&self, node: NodeIndex, offset: i64) -> Option<VersionId> {
        let path = &self.log(node)?.path;
        let at = path.partition_point(|id| self.version(*id).last < offset);
        path.get(at).copied().filter(|id| self.version(*id).base <= offset)
    }

    /// The last version that a replica must have to join the ISR of this leader: what is below its high watermark, and what
    /// stood in its log when its epoch began.
    pub fn needed_to_join(&self, leader: NodeIndex, leader_epoch: i32) -> Option<VersionId> {
        let log = self.log(leader)?;
        let begins = log.starts.now;
        let mark = log.mark.map_or(i64::MIN, |mark| mark.to);
        let committed = log.path.partition_point(|id| self.version(*id).last < mark);
        let inherited = log.path.partition_point(|id| self.version(*id).epoch < leader_epoch);
        let id = log.path.get(committed.max(inherited).checked_sub(1)?).copied();
        id.filter(|id| self.version(*id).last >= begins)
    }

    /// The version that covers `offset` in what is committed and not lost.
    pub fn standing(&self, offset: i64) -> Option<VersionId> {
        let at = self.line.partition_point(|id| self.version(*id).last < offset);
        self.line.get(at).copied().filter(|id| self.version(*id).base <= offset)
    }

    /// True if the node's log holds this version, or the same batch in a log that begins elsewhere, or had it and deleted it
    /// by rule.
    pub fn holds(&self, node: NodeIndex, id: VersionId) -> bool {
        let wanted = self.version(id);
        let Some(log) = self.log(node) else { return false };
        if wanted.last < log.starts.legal.min(log.starts.now) {
            return true;
        }
        if wanted.last >= log.end {
            return false;
        }
        let Some(found) = self.covering(node, wanted.base) else { return false };
        let held = self.version(found);
        found == id || (held.root != wanted.root && same_batch(held, wanted))
    }

    /// The version that an acknowledgement or a line names, after what was opaque was explained.
    pub fn settled(&self, id: VersionId, offset: i64) -> VersionId {
        let pieces = self.explained.get(&id).map_or(&[][..], Vec::as_slice);
        let covers = |piece: &&VersionId| self.version(**piece).base <= offset && offset <= self.version(**piece).last;
        pieces.iter().find(covers).copied().unwrap_or(id)
    }

    /// The final reading, if it reached its end.
    pub fn read_through(&self) -> Option<Final> {
        self.finally.filter(|last| last.complete)
    }

    /// What led the final reading away before it came to this offset, or from it.
    pub fn led_past(&self, offset: i64) -> Option<u32> {
        self.finally_astray.filter(|astray| offset >= astray.from).map(|astray| astray.cause)
    }

    /// True if the final reading cannot tell of this offset: it was written and told of only when that reading was under way.
    pub fn too_late(&self, offset: i64, told: u32) -> bool {
        self.finally.is_some_and(|last| offset >= last.end) && self.finally_began.is_some_and(|began| told > began)
    }

    /// Every version ever stored over this offset, those among them that nobody has explained.
    pub fn covering_any(&self, offset: i64) -> impl Iterator<Item = VersionId> {
        let reach = offset.saturating_sub(self.longest);
        let told = self.places.range((reach, i32::MIN)..=(offset, i32::MAX)).map(|(_, id)| *id);
        let untold = self.opaque.iter().copied().filter(move |id| self.version(*id).base <= offset);
        told.chain(untold).filter(move |id| self.version(*id).last >= offset)
    }

    /// True if some start found bytes at this offset that nobody had announced, and nothing has told yet what they are.
    pub fn has_riddle(&self, offset: i64) -> bool {
        self.opaque.iter().map(|id| self.version(*id)).any(|riddle| riddle.base <= offset && offset <= riddle.last)
    }

    /// A batch was appended to a node's log.
    pub fn append(
        &mut self,
        node: NodeIndex,
        stored: Stored,
        as_leader: bool,
        at: u32,
    ) -> (VersionId, bool, Option<AppendFault>) {
        let stored = if as_leader { stored } else { self.as_written(node, stored) };
        let mut fault = self.fit(node, stored);
        let log = self.log_mut(node);
        let (tip, start) = (log.path.last().copied(), log.start);
        let root = tip.map_or(start, |tip| self.version(tip).root);
        let known = self.child(tip, stored).or_else(|| self.first_in_the_middle(node, tip, stored));
        let (id, fresh) = match known {
            Some(id) => (id, false),
            None => {
                let digest =
                    chain(tip.map_or(0, |tip| self.version(tip).digest), stored.base, stored.epoch, stored.batch);
                fault = fault.or(self.rival(stored, digest, root));
                (self.create(tip, stored, digest, root, at), true)
            }
        };
        if fresh && !as_leader && self.is_unwritten(id) {
            fault = fault.or(Some(AppendFault::Unwritten));
        }
        self.stamp(node, id, stored.producer);
        self.push(node, id);
        if !self.opaque.is_empty() {
            self.explain(node);
        }
        (id, fresh, fault)
    }

    /// Makes the model's log end where the append begins; a fault if it did not.
    fn fit(&mut self, node: NodeIndex, stored: Stored) -> Option<AppendFault> {
        let first_sight = self.log(node).is_none();
        let log = self.log_mut(node);
        let end = log.end;
        if end != stored.base {
            let mut popped = Vec::new();
            self.pop(node, stored.base, &mut popped);
            let log = self.log_mut(node);
            if log.end != stored.base {
                log.end = stored.base;
                log.begin(stored.base);
            }
            return (!first_sight).then_some(AppendFault::Gap { end });
        }
        let before = log.path.last().copied().map(|tip| self.version(tip).epoch)?;
        (stored.epoch < before).then_some(AppendFault::EpochFell { before })
    }

    fn child(&self, tip: Option<VersionId>, stored: Stored) -> Option<VersionId> {
        let next = tip.and_then(|tip| self.version(tip).next).map(|next| (next, self.version(next)));
        if let Some((id, version)) = next
            && (version.base, version.epoch, version.batch) == (stored.base, stored.epoch, stored.batch)
        {
            return Some(id);
        }
        self.forks.get(&(tip, stored.base, stored.epoch, stored.batch)).copied()
    }

    /// What a log that begins in the middle begins with stands in another one too.
    fn first_in_the_middle(&mut self, node: NodeIndex, tip: Option<VersionId>, stored: Stored) -> Option<VersionId> {
        let id = *self.places.get(&(stored.base, stored.epoch))?;
        let there = self.version(id);
        let same = there.batch == stored.batch && there.last == stored.last;
        // One of the two logs begins with it, so what stands before it only the other one tells; or where they part is deleted.
        let fits = tip.is_none() || (there.parent.is_none() && there.root > 0 && tip != Some(id));
        // All that stood before it in this log was deleted.
        let fits = fits || self.log(node).is_some_and(|log| log.starts.now == stored.base);
        if !same || !(fits || self.part_below_a_start(tip, there.parent)) {
            return None;
        }
        if there.parent.is_none() {
            self.version_mut(id).parent = tip;
            self.forks.insert((tip, stored.base, stored.epoch, stored.batch), id);
        }
        Some(id)
    }

    /// True if two prefixes are the same from where the log of some leader began: leaders compare no epochs below their start.
    fn part_below_a_start(&self, one: Option<VersionId>, other: Option<VersionId>) -> bool {
        let (mut one, mut other) = (one, other);
        while one != other {
            let above = |id: &VersionId| self.version(*id).last >= self.led_start;
            match (one.filter(above), other.filter(above)) {
                (None, None) => return self.led_start > 0,
                (Some(left), Some(right)) if same_batch(self.version(left), self.version(right)) => {
                    (one, other) = (self.version(left).parent, self.version(right).parent);
                }
                _ => return false,
            }
        }
        false
    }

    /// The same batch stands in a log that begins elsewhere, and is committed there.
    pub fn is_committed_elsewhere(&self, id: VersionId) -> bool {
        let version = self.version(id);
        let same = |other: &Version| same_batch(other, version) && other.fate != Fate::Open;
        let standing = self.standing(version.base);
        self.covering_any(version.base).chain(standing).any(|other| same(self.version(other)))
    }

    fn rival(&self, stored: Stored, digest: u64, root: i64) -> Option<AppendFault> {
        let other = *self.places.get(&(stored.base, stored.epoch))?;
        let there = self.version(other);
        let alike = there.batch == stored.batch && there.last == stored.last;
        let differs = !alike || (there.root == root && there.digest != digest);
        differs.then_some(AppendFault::Rival { other })
    }

    /// True if a version that a follower is the first to tell of was written by nobody: what a leader wrote and did not live to
    /// tell of stands as an opaque version in its log.
    fn is_unwritten(&self, id: VersionId) -> bool {
        let Version { base, epoch, .. } = *self.version(id);
        let riddle = |node: &u8| self.covering(NodeIndex(*node), base).is_some_and(|it| self.version(it).opaque);
        self.places.get(&(base, epoch)) == Some(&id) && !self.hosts.iter().any(riddle)
    }

    fn create(&mut self, tip: Option<VersionId>, stored: Stored, digest: u64, root: i64, at: u32) -> VersionId {
        let id = self.insert(tip, stored, digest, root, at, false);
        self.places.entry((stored.base, stored.epoch)).or_insert(id);
        self.longest = self.longest.max(stored.last.saturating_sub(stored.base).saturating_add(1));
        id
    }

    pub(super) fn insert(
        &mut self,
        parent: Option<VersionId>,
        stored: Stored,
        digest: u64,
        root: i64,
        at: u32,
        opaque: bool,
    ) -> VersionId {
        let id = VersionId(u32::try_from(self.versions.len()).expect("fewer than 2^32 batches in one history"));
        let Stored { base, last, epoch, batch, .. } = stored;
        self.versions.push(Version {
            base,
            last,
            epoch,
            batch,
            digest,
            root,
            parent,
            next: None,
            opaque,
            under: root,
            producer: None,
            prior: None,
            keys: Box::default(),
            first: at,
            fate: Fate::Open,
            deleted: false,
            commit: None,
            held: NodeSet::default(),
            destroyed: NodeSet::default(),
        });
        match parent.map(|parent| &mut self.version_mut(parent).next) {
            Some(next @ None) => *next = Some(id),
            _ => drop(self.forks.insert((parent, base, epoch, batch), id)),
        }
        id
    }

    pub(super) fn push(&mut self, node: NodeIndex, id: VersionId) {
        let version = self.version_mut(id);
        version.held.insert(node);
        version.destroyed.remove(node);
        let end = version.last.saturating_add(1);
        let producer = version.producer;
        let log = self.log_mut(node);
        log.path.push(id);
        log.end = end;
        if let Some(producer) = producer {
            log.writers.insert(producer.producer_id, id);
        }
    }

    /// Pops everything at and above `to` from a node's log.
    pub fn pop(&mut self, node: NodeIndex, to: i64, removed: &mut Vec<VersionId>) {
        while let Some(tip) = self.log_mut(node).path.last().copied()
            && self.version(tip).last >= to
        {
            removed.push(tip);
            let Version { producer, prior, .. } = *self.version(tip);
            let log = self.log_mut(node);
            log.path.pop();
            if let Some(producer) = producer {
                log.writers.remove(&producer.producer_id);
                log.writers.extend(prior.map(|prior| (producer.producer_id, prior)));
            }
        }
        let tip = self.log_mut(node).path.last().copied();
        let end = tip.map(|tip| self.version(tip).last.saturating_add(1));
        let log = self.log_mut(node);
        log.end = end.unwrap_or(log.start);
        log.marked = log.marked.min(log.path.len());
        log.flushed = log.flushed.min(log.end);
    }

    /// A replica cut its log.
    pub fn truncate(
        &mut self,
        node: NodeIndex,
        to: i64,
        cause: TruncationCause,
        at: u32,
        removed: &mut Vec<VersionId>,
    ) {
        let begins = self.log_mut(node).starts.now;
        self.pop(node, to.max(begins), removed);
        let log = self.log_mut(node);
        log.cut = Some(Cut { at, to, cause });
        // Beyond its end or before its start: the log was emptied and begins anew there.
        let beyond = to > log.end && removed.is_empty() && cause == TruncationCause::OutOfRange;
        if to < begins || to < log.start || beyond {
            let rest = log.path.drain(..).rev();
            removed.extend(rest.filter(|_| beyond));
            log.writers.clear();
            (log.end, log.flushed) = (to, to);
            log.begin(to);
        }
    }

    /// The copies on a wiped disk are gone.
    pub fn wipe(&mut self, node: NodeIndex, removed: &mut Vec<VersionId>) {
        if self.log(node).is_none() {
            return;
        }
        self.pop(node, i64::MIN, removed);
        for id in removed.iter() {
            self.version_mut(*id).destroyed.insert(node);
        }
        let log = self.log_mut(node);
        (log.end, log.flushed, log.mark, log.starts) = (0, 0, None, Starts::default());
        log.begin(0);
    }

    /// A log that now ends where an opaque version ends, with its digest, tells what that version is made of.
    fn explain(&mut self, node: NodeIndex) {
        let Some(tip) = self.log(node).and_then(|log| log.path.last().copied()) else { return };
        let end = self.version(tip).last;
        let open = |id: &VersionId| *id != tip && self.version(*id).last == end;
        let explained = self.opaque.iter().enumerate().filter(|(_, id)| open(id));
        let Some((at, pieces)) = explained.into_iter().find_map(|(at, id)| Some((at, self.pieces(node, *id)?))) else {
            return;
        };
        let riddle = self.opaque[at];
        assert!(!pieces.contains(&riddle), "an opaque version is not its own explanation");
        self.opaque.swap_remove(at);
        self.replace(riddle, &pieces);
        self.explained.insert(riddle, pieces);
    }

    /// What an opaque version is made of, if the end of a node's log has its digest behind what stands before it.
    fn pieces(&self, node: NodeIndex, riddle: VersionId) -> Option<Vec<VersionId>> {
        let version = self.version(riddle);
        let before = version.parent.map_or(Some(0), |parent| self.digest_from(parent, version.under))?;
        let path = &self.log(node)?.path;
        let pieces = &path[path.partition_point(|id| self.version(*id).base < version.base)..];
        let begins = pieces.first().is_some_and(|first| self.version(*first).base == version.base);
        let known = pieces.iter().all(|id| !self.version(*id).opaque);
        let digest = pieces
            .iter()
            .map(|id| self.version(*id))
            .fold(before, |digest, it| chain(digest, it.base, it.epoch, it.batch));
        // Behind what was cleaned no digest tells what stands there.
        let fits = digest == version.digest || self.compaction.is_some();
        (begins && known && fits).then(|| pieces.to_vec())
    }

    /// Puts `pieces` wherever the opaque version stood, with its fate.
    fn replace(&mut self, riddle: VersionId, pieces: &[VersionId]) {
        let Version { fate, commit, deleted, held, destroyed, .. } = *self.version(riddle);
        for id in pieces {
            let piece = self.version_mut(*id);
            (piece.fate, piece.commit) =
                if piece.fate == Fate::Open { (fate, commit) } else { (piece.fate, piece.commit) };
            piece.deleted |= deleted;
            held.iter().for_each(|node| piece.held.insert(node));
            destroyed.iter().for_each(|node| piece.destroyed.insert(node));
        }
        for log in &mut self.logs {
            if let Some(at) = log.path.iter().position(|id| *id == riddle) {
                log.path.splice(at..=at, pieces.iter().copied());
                log.marked = if log.marked > at { log.marked + pieces.len() - 1 } else { log.marked };
            }
        }
        let hosts: Vec<u8> = self.hosts.iter().copied().collect();
        hosts.into_iter().for_each(|node| self.relearn(NodeIndex(node)));
        if let Some(at) = self.line.iter().position(|id| *id == riddle) {
            self.line.splice(at..=at, pieces.iter().copied());
        }
        self.explained_late(pieces);
        let tip = pieces[pieces.len() - 1];
        self.adopt_children(riddle, tip);
        if self.version(riddle).digest != self.version(tip).digest {
            self.rehash(tip);
        }
    }

    /// The versions that follow this one.
    pub(super) fn children(&self, id: VersionId) -> Vec<VersionId> {
        let low = (Some(id), i64::MIN, i32::MIN, 0);
        let high = (Some(id), i64::MAX, i32::MAX, u64::MAX);
        let others = self.forks.range(low..=high).map(|(_, id)| *id);
        let all = self.version(id).next.into_iter().chain(others);
        let mut children: Vec<VersionId> = all.filter(|child| self.version(*child).parent == Some(id)).collect();
        children.sort_unstable();
        children.dedup();
        children
    }

    fn adopt_children(&mut self, riddle: VersionId, tip: VersionId) {
        for child in self.children(riddle) {
            self.version_mut(child).parent = Some(tip);
            let Version { base, epoch, batch, .. } = *self.version(child);
            self.forks.insert((Some(tip), base, epoch, batch), child);
        }
    }
}

pub(crate) fn same_batch(one: &Version, other: &Version) -> bool {
    (one.base, one.epoch, one.batch) == (other.base, other.epoch, other.batch)
}
