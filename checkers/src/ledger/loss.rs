//! The loss ledger: what is committed, when it is lost, and who may be excused for it.
//!
//! `protected(v)` begins as the maximal ISR that committed `v`. Out goes (a) whose copy the script destroyed (power loss
//! before a flush, a wiped disk, rot), until it holds `v` again, and (b) whom an accepted shrink leaves out while enough stay in
//! sync and one of them protects `v`; a replica that joins the ISR and holds `v` then is in (again). Nobody left: the loss
//! is the price of a setting. Somebody left, but nobody if (c) shrinks below the minimum count too: the price of
//! `eligible.leader.replicas.version=0`, which forgets former members. Somebody left even so: it is a broken promise. No ISR is believed: a member without the record still counts, so a false member is found out.

use super::partition::{Changes, Partition, same_batch};
use super::{Commit, Cut, Fate, VersionId};
use crate::nodes::{NodeIndex, NodeSet};

/// A decision of the controller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decision {
    pub at: u32,
    pub leader: Option<NodeIndex>,
    pub leader_epoch: i32,
    pub partition_epoch: i32,
    pub isr: NodeSet,
    pub replicas: NodeSet,
    /// The judge's own word, not the controller's: the new leader was not in the ISR before.
    pub unclean: bool,
}

/// A leader's view of its ISR.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    pub at: u32,
    pub leader_epoch: i32,
    pub committed: NodeSet,
    pub maximal: NodeSet,
    /// The decision that it rests on.
    pub decision: usize,
}

/// Why committed records are missing from a leader's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// An election outside of the ISR (entry), which the topic permits.
    Unclean { at: u32 },
    /// The same, and the topic forbids it.
    UncleanForbidden { at: u32 },
    /// Every protecting copy was destroyed or had left by accepted shrinks.
    Destroyed { members: NodeSet, setting: Setting },
    /// Somebody had to protect them.
    Broken { protecting: NodeSet },
}

impl Cause {
    pub fn is_allowed(self) -> bool {
        matches!(self, Cause::Unclean { .. } | Cause::Destroyed { .. })
    }
}

/// The setting that makes a destruction a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    /// Acknowledged before it was flushed.
    Flush,
    /// So few replicas were enough.
    MinInsync,
    /// The ISR shrank below `min.insync.replicas` and the former members were forgotten (KIP-966 off).
    EligibleReplicas,
}

/// Committed versions that a leader's log does not hold.
#[derive(Clone, Debug)]
pub(crate) struct Loss {
    /// Entry of the leader's taking up, or of the high watermark of a leader that was one no longer.
    pub at: u32,
    pub leader: NodeIndex,
    pub leader_epoch: i32,
    pub cause: Cause,
    /// The last cut of that leader's log before.
    pub cut: Option<Cut>,
    /// Not restored by a later leader.
    pub versions: u64,
}

impl Partition {
    /// A controller's decision; `None` if it only repeats one.
    pub fn decide(&mut self, mut decision: Decision) -> Option<usize> {
        if let Some(last) = self.decisions.last() {
            // A controller that starts again tells its whole log once more.
            let at = self.decisions.partition_point(|known| known.partition_epoch < decision.partition_epoch);
            if self.decisions.get(at).is_some_and(|known| same(known, &decision)) {
                return None;
            }
            let outside = decision.leader.is_some_and(|leader| !last.isr.contains(leader));
            decision.unclean = outside && decision.leader_epoch > last.leader_epoch;
        }
        for node in decision.isr.iter() {
            let end = self.log(node).map_or(0, |log| log.end);
            // A copy that was destroyed while the proposal was on its way was there when the leader vouched for it.
            let end = self.proposed.remove(&node).map_or(end, |then| then.max(end));
            self.ends.insert((decision.at, node), end);
        }
        self.decisions.push(decision);
        Some(self.decisions.len() - 1)
    }

    /// A leader told its view of its ISR.
    pub fn view(&mut self, node: NodeIndex, at: u32, leader_epoch: i32, committed: NodeSet, maximal: NodeSet) {
        let joining = maximal.minus(committed);
        self.proposed.retain(|node, _| joining.contains(*node));
        for node in joining.iter() {
            let end = self.log(node).map_or(0, |log| log.end);
            self.proposed.entry(node).or_insert(end);
        }
        let exact = |d: &Decision| d.leader_epoch == leader_epoch && d.leader == Some(node) && d.isr == committed;
        let rests = self.decisions.iter().rposition(exact);
        let decision = rests.or_else(|| self.decisions.iter().rposition(|d| d.leader_epoch <= leader_epoch));
        self.views.push(View { at, leader_epoch, committed, maximal, decision: decision.unwrap_or(0) });
        let view = Some(self.views.len() - 1);
        self.log_mut(node).view = view;
    }

    /// The leader's view in this epoch.
    pub fn view_of(&self, node: NodeIndex, leader_epoch: i32) -> Option<&View> {
        let view = &self.views[self.log(node)?.view?];
        (view.leader_epoch == leader_epoch).then_some(view)
    }

    /// A leader's high watermark moved: everything below it in that leader's log is committed.
    pub fn commit(&mut self, node: NodeIndex, to: i64, leader_epoch: i32, at: u32, changes: &mut Changes) {
        let view =
            self.log(node).and_then(|log| log.view).filter(|view| self.views[*view].leader_epoch == leader_epoch);
        let commit = Commit { at, leader: node, view, decided: self.decisions.len() };
        loop {
            let log = self.log_mut(node);
            let Some(id) = log.path.get(log.marked).copied() else { break };
            if self.version(id).last >= to {
                break;
            }
            self.log_mut(node).marked += 1;
            if self.version(id).fate == Fate::Open {
                self.commit_one(id, commit, changes);
            }
        }
        if !changes.lost.is_empty() {
            self.lose(node, leader_epoch, at, &changes.lost);
        }
    }

    fn commit_one(&mut self, id: VersionId, commit: Commit, changes: &mut Changes) {
        let version = self.version_mut(id);
        (version.fate, version.commit) = (Fate::Committed, Some(commit));
        let (base, end) = (version.base, version.last.saturating_add(1));
        self.frontier = self.frontier.max(end);
        changes.committed.push(id);
        // A leader that was replaced meanwhile may still commit what its ISR holds: lost at birth if its successor lacks it.
        let present = self.led.is_none_or(|(leader, _)| leader == commit.leader || self.holds(leader, id));
        if present {
            let place = self.line.partition_point(|known| self.version(*known).base < base);
            // Two logs that begin at different places may tell of one batch twice.
            let twin = self.line.get(place).is_some_and(|known| same_batch(self.version(*known), self.version(id)));
            if !twin {
                self.line.insert(place, id);
            }
        } else {
            changes.lost.push(id);
        }
    }

    /// A broker took up leadership; false if a newer leader already has.
    pub fn lead(&mut self, node: NodeIndex, leader_epoch: i32, at: u32, changes: &mut Changes) -> bool {
        if self.led.is_some_and(|(_, epoch)| epoch >= leader_epoch) {
            return false;
        }
        self.led = Some((node, leader_epoch));
        self.leads_without(node);
        while let Some(tip) = self.line.last().copied()
            && !self.holds(node, tip)
        {
            self.line.pop();
            changes.lost.push(tip);
        }
        changes.lost.reverse();
        self.restore(node);
        if !changes.lost.is_empty() {
            self.lose(node, leader_epoch, at, &changes.lost);
        }
        self.led_at.insert(leader_epoch, at);
        true
    }

    /// What was lost and stands in this leader's log is lost no longer.
    fn restore(&mut self, node: NodeIndex) {
        let end = self.line.last().map_or(i64::MIN, |tip| self.version(*tip).last);
        let Some(log) = self.log(node) else { return };
        let from = log.path.partition_point(|id| self.version(*id).last <= end);
        let back: Vec<VersionId> =
            log.path[from..].iter().copied().take_while(|id| self.version(*id).fate != Fate::Open).collect();
        let back: Vec<VersionId> = back.into_iter().filter(|id| !self.version(*id).deleted).collect();
        for id in back {
            if let Fate::Lost(loss) = self.version(id).fate {
                self.losses[loss].versions -= 1;
            }
            self.version_mut(id).fate = Fate::Committed;
            self.line.push(id);
        }
    }

    fn lose(&mut self, leader: NodeIndex, leader_epoch: i32, at: u32, lost: &[VersionId]) {
        for id in lost {
            let cause = self.cause(*id, leader_epoch);
            let same = |loss: &Loss| loss.at == at && loss.cause == cause;
            if !self.losses.last().is_some_and(same) {
                let cut = self.log(leader).and_then(|log| log.cut);
                self.losses.push(Loss { at, leader, leader_epoch, cause, cut, versions: 0 });
            }
            let loss = self.losses.len() - 1;
            self.losses[loss].versions += 1;
            self.version_mut(*id).fate = Fate::Lost(loss);
        }
    }

    fn cause(&self, id: VersionId, leader_epoch: i32) -> Cause {
        let commit = self.version(id).commit.expect("only what was committed can be lost");
        let rests = commit.view.map_or(commit.decided.saturating_sub(1), |view| self.views[view].decision);
        let since = self.decisions.get(rests + 1..).unwrap_or(&[]);
        // An unclean leader that took up its epoch with the record has not lost it.
        let guilty = |d: &&Decision| {
            let took_up = self.led_at.get(&d.leader_epoch);
            d.unclean && (d.leader_epoch == leader_epoch || took_up.is_none_or(|at| *at < commit.at))
        };
        if let Some(decision) = since.iter().find(guilty) {
            let at = decision.at;
            return if self.unclean_permitted { Cause::Unclean { at } } else { Cause::UncleanForbidden { at } };
        }
        self.protection(id, commit, rests, since)
    }

    /// Who had to keep a version, twice over: first with no more forgiven than destroyed copies and shrinks that leave enough in
    /// sync; only if that leaves somebody, with the shrinks below the minimum forgiven too.
    fn protection(&self, id: VersionId, commit: Commit, rests: usize, since: &[Decision]) -> Cause {
        let (members, strict, shrunk) = self.protecting(id, commit, rests, since, false);
        if strict.is_empty() {
            return Cause::Destroyed { members, setting: if shrunk { Setting::MinInsync } else { Setting::Flush } };
        }
        let (_, forgiving, _) = self.protecting(id, commit, rests, since, true);
        if forgiving.is_empty() {
            return Cause::Destroyed { members, setting: Setting::EligibleReplicas };
        }
        Cause::Broken { protecting: forgiving }
    }

    /// Who protected a version when it was committed, who of them had to keep it in the end, and whether a shrink took anybody
    /// out. `below_minimum`: a shrink that leaves too few in sync takes out too, because their former members are forgotten.
    fn protecting(
        &self,
        id: VersionId,
        commit: Commit,
        rests: usize,
        since: &[Decision],
        below_minimum: bool,
    ) -> (NodeSet, NodeSet, bool) {
        let mut protecting = commit.view.map_or_else(NodeSet::default, |view| self.views[view].maximal);
        protecting.insert(commit.leader);
        let committed = protecting;
        let mut shrunk = false;
        // Whom some decision has taken in.
        let mut members = NodeSet::default();
        let mut isr = self.decisions.get(rests).map_or(protecting, |decision| decision.isr);
        for decision in since {
            let wanted = decision.replicas.len().min(usize::try_from(self.min_insync).unwrap_or(0));
            // Out in any case: a member that the leader had proposed and no decision ever took in. It counted for the high
            // watermark while its change was in flight, but nobody could have elected it.
            let mut leaving = protecting.minus(decision.isr);
            isr.iter().for_each(|node| members.insert(node));
            if !below_minimum && decision.isr.len() < wanted {
                leaving = leaving.minus(members);
            }
            let remain = protecting.minus(leaving);
            if !remain.is_empty() && remain != protecting {
                (protecting, shrunk) = (remain, true);
            }
            let joined = decision.isr.minus(isr);
            joined.iter().filter(|node| self.held_at(*node, id, decision.at)).for_each(|node| protecting.insert(node));
            isr = decision.isr;
        }
        let destroyed = self.version(id).destroyed;
        let spoilt = |node: NodeIndex| destroyed.contains(node) || self.fed_before(node, id);
        let mut left = NodeSet::default();
        protecting.iter().filter(|node| !spoilt(*node) || self.holds(*node, id)).for_each(|node| left.insert(node));
        (committed, left, shrunk)
    }

    /// Whether a member of the ISR held a version when the controller decided so: its log reached beyond it, and the version
    /// was in that log at some time. What became of the copy later does not matter.
    fn held_at(&self, node: NodeIndex, id: VersionId, decided: u32) -> bool {
        let version = self.version(id);
        let reached = self.ends.get(&(decided, node)).is_some_and(|end| version.last < *end);
        reached && version.held.contains(node)
    }
}

fn same(one: &Decision, other: &Decision) -> bool {
    (one.partition_epoch, one.leader, one.leader_epoch, one.isr, one.replicas)
        == (other.partition_epoch, other.leader, other.leader_epoch, other.isr, other.replicas)
}
