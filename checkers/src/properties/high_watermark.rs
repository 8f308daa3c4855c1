//! The high watermark: monotone, covered by the in-sync logs, and never taken back.

use super::{Breaches, Excuses, Judge, conclude_with};
use crate::ledger::{Cause, Effect, Fate, Harm, Ledger, Mark, Partition, VersionId};
use crate::nodes::{NodeIndex, NodeSet};
use crate::words::Telling;
use crate::{Entry, Fact, Property, Verdict, Witness};

pub(crate) const PROPERTY: Property = Property {
    name: "high-watermark",
    summary: "committed is for ever: the high watermark never goes back, never passes the in-sync logs, and nobody in sync cuts below it",
    premise: "a leader with followers in its ISR moved it, a log was cut, or a later leader took up what was committed",
    explanation: "What is below a leader's high watermark is committed: every member of the maximal ISR holds it (a pending shrink \
                  still counts the old members, a pending expansion the new ones). Within one epoch it never falls; it never \
                  passes the end of a log; it does not move while fewer than min.insync.replicas are in sync (KIP-966). A later \
                  leader's log contains all of it, and no replica in sync cuts any of it away, unless the copies were destroyed or an \
                  unclean election gave it up. A follower's own may lag and restart low, but covers only what is committed. Excused: a \
                  member whose copy was fed by a damaged one, or between which and the leader a frame arrived other than it \
                  was sent.",
    rules: &[BACK, BEYOND_END, UNDER_MINIMUM, NOT_HELD, JOINED_EARLY, FOLLOWER_AHEAD, CUT, LEADER_LACKS],
};

const BACK: &str = "Within one leader epoch the high watermark never goes back.";
const BEYOND_END: &str = "The high watermark never passes the end of the log.";
const UNDER_MINIMUM: &str =
    "The high watermark stands still while fewer than min.insync.replicas are in sync (KIP-966).";
const NOT_HELD: &str = "What the high watermark covers is in the log of every member of the maximal ISR.";
const JOINED_EARLY: &str = "A replica joins the ISR only when it holds what is below the high watermark and what the leader began its epoch with.";
const FOLLOWER_AHEAD: &str = "A follower's high watermark covers only what a leader's has covered.";
const CUT: &str = "Nobody who is in sync cuts away what is committed.";
const LEADER_LACKS: &str = "A leader's log contains everything that was committed before.";

#[derive(Clone, Copy, Debug)]
enum Breach {
    /// Two moves of one leader in one epoch.
    Back {
        part: usize,
        before: Mark,
        now: Mark,
    },
    BeyondEnd {
        part: usize,
        node: NodeIndex,
        now: Mark,
        end: i64,
    },
    NotHeld {
        part: usize,
        now: Mark,
        version: VersionId,
        lacking: NodeSet,
        view: u32,
    },
    UnderMinimum {
        part: usize,
        now: Mark,
        view: u32,
        members: usize,
    },
    JoinedEarly {
        part: usize,
        version: VersionId,
        joined: NodeSet,
        at: u32,
    },
    FollowerAhead {
        part: usize,
        now: Mark,
        version: VersionId,
    },
    Cut {
        part: usize,
        node: NodeIndex,
        version: VersionId,
        at: u32,
    },
    LeaderLacks {
        part: usize,
        version: VersionId,
        loss: usize,
    },
}

#[derive(Default)]
pub(crate) struct HighWatermark {
    tested: u64,
    breaches: Breaches<Breach>,
    excuses: Excuses,
}

impl Judge for HighWatermark {
    fn look(&mut self, ledger: &Ledger, at: u32, _: &Entry, effect: &Effect) {
        match *effect {
            Effect::Marked { part, node, before, now } => {
                self.moved(ledger, part, node, before, now);
                self.given_up(ledger, part);
            }
            Effect::Joined { part, node, leader_epoch, joined } => {
                self.joined(ledger, (part, node), leader_epoch, joined, at);
            }
            Effect::Truncated { part, node, excuse } => self.cut(ledger, (part, node), at, excuse),
            Effect::Led { part, newest, .. } => {
                let partition = &ledger.parts[part];
                let later = newest && partition.led_at.len() > 1 && partition.frontier > 0;
                self.tested += u64::from(later);
                self.given_up(ledger, part);
            }
            _ => {}
        }
    }

    fn broken(&self) -> bool {
        self.breaches.any()
    }

    fn verdict(&mut self, telling: Telling) -> Verdict {
        let untested = "no high watermark moved over an ISR of two, and no leader changed";
        let losses =
            self.excuses.losses(telling, "committed records of PARTITION that a replica in sync does not hold");
        conclude_with(&self.breaches, self.tested, losses, untested, |breach| witness(telling, *breach))
    }
}

impl HighWatermark {
    fn moved(&mut self, ledger: &Ledger, part: usize, node: NodeIndex, before: Option<Mark>, now: Mark) {
        let partition = &ledger.parts[part];
        let Some(log) = partition.log(node) else { return };
        let end = log.end;
        // A node of whose log nothing was ever told keeps none: it only hears of the high watermark.
        if log.loaded == 0 && log.path.is_empty() && log.cut.is_none() {
            return;
        }
        if now.to > end {
            self.breaches.note(Breach::BeyondEnd { part, node, now, end });
            return;
        }
        let tip = partition.covering(node, now.to.saturating_sub(1));
        if now.as_leader {
            let same =
                |before: &Mark| before.as_leader && (before.epoch, before.incarnation) == (now.epoch, now.incarnation);
            if let Some(before) = before.filter(same)
                && now.to < before.to
            {
                self.breaches.note(Breach::Back { part, before, now });
            }
            self.covered(ledger, part, node, now, tip);
        } else if let Some(version) = tip.filter(|tip| ahead(partition, *tip, now.to)) {
            // A spoilt answer may name any high watermark.
            let spoilt = || partition.spoilt_frame(node, ledger.now_ns());
            match partition.harm_of_copy(node, version, ledger.now_ns()).or_else(spoilt) {
                Some(harm) => self.excuse(partition, part, version, harm),
                None => self.breaches.note(Breach::FollowerAhead { part, now, version }),
            }
        }
    }

    /// Every member of the leader's maximal ISR held what is committed now. A copy that it lost since its fetch is the
    /// loss ledger's business, not the leader's mistake.
    fn covered(&mut self, ledger: &Ledger, part: usize, node: NodeIndex, now: Mark, tip: Option<VersionId>) {
        let partition = &ledger.parts[part];
        let begins = partition.log(node).map_or(0, |log| log.starts.now);
        let tip = tip.filter(|tip| partition.version(*tip).last >= begins);
        let (Some(view), Some(version)) = (partition.view_of(node, now.epoch), tip) else { return };
        self.tested += u64::from(view.maximal.len() > 1);
        let lacking = self.lacking(ledger, part, version, view.maximal);
        if !lacking.is_empty() {
            self.breaches.note(Breach::NotHeld { part, now, version, lacking, view: view.at });
        }
        let replicas = partition.decisions.last().map_or(view.committed.len(), |decision| decision.replicas.len());
        let members = view.committed.len();
        let wanted = replicas.min(usize::try_from(partition.min_insync).unwrap_or(0));
        if members < wanted && !ledger.changes.committed.is_empty() {
            self.breaches.note(Breach::UnderMinimum { part, now, view: view.at, members });
        }
    }

    /// Who of these never held a version, and has no excuse.
    fn lacking(&mut self, ledger: &Ledger, part: usize, version: VersionId, members: NodeSet) -> NodeSet {
        let partition = &ledger.parts[part];
        let held = partition.version(version).held;
        let mut lacking = NodeSet::default();
        let absent = members.minus(held).iter().filter(|member| !partition.holds(*member, version));
        for member in absent {
            let harm = partition.harm_of_copy(member, version, ledger.now_ns());
            match harm.or_else(|| partition.harm_of_riddle(member, version)) {
                Some(harm) => self.excuse(partition, part, version, harm),
                None => lacking.insert(member),
            }
        }
        lacking
    }

    fn joined(
        &mut self,
        ledger: &Ledger,
        (part, leader): (usize, NodeIndex),
        leader_epoch: i32,
        joined: NodeSet,
        at: u32,
    ) {
        let Some(version) = ledger.parts[part].needed_to_join(leader, leader_epoch) else { return };
        let joined = self.lacking(ledger, part, version, joined);
        if !joined.is_empty() {
            self.breaches.note(Breach::JoinedEarly { part, version, joined, at });
        }
    }

    fn excuse(&mut self, partition: &Partition, part: usize, version: VersionId, harm: Harm) {
        let version = partition.version(version);
        self.excuses.note(harm.at, part, version.base, version.last.saturating_add(1));
    }

    fn cut(&mut self, ledger: &Ledger, (part, node): (usize, NodeIndex), at: u32, excuse: Option<u32>) {
        let partition = &ledger.parts[part];
        let removed = &ledger.changes.removed;
        self.tested += u64::from(!removed.is_empty());
        // Only who is in sync has promised to keep what is committed; what another throws away it fetches again before it is.
        if !partition.decisions.last().is_some_and(|decision| decision.isr.contains(node)) {
            return;
        }
        // Popped from the end: the last one is where the cut begins.
        // What the leader deleted by rule it need not keep either.
        let kept =
            |id: &&VersionId| partition.version(**id).fate == Fate::Committed && !partition.version(**id).deleted;
        let committed = removed.iter().rfind(kept);
        let Some(id) = committed.copied() else { return };
        let version = partition.version(id);
        match excuse {
            Some(fault) => self.excuses.note(fault, part, version.base, version.last.saturating_add(1)),
            None => self.breaches.note(Breach::Cut { part, node, version: id, at }),
        }
    }

    fn given_up(&mut self, ledger: &Ledger, part: usize) {
        let partition = &ledger.parts[part];
        let lost = ledger.changes.lost.iter().filter_map(|id| match partition.version(*id).fate {
            Fate::Lost(loss) => Some((*id, loss)),
            _ => None,
        });
        let broken = |(_, loss): &(VersionId, usize)| matches!(partition.losses[*loss].cause, Cause::Broken { .. });
        if let Some((version, loss)) = lost.into_iter().find(broken) {
            self.breaches.note(Breach::LeaderLacks { part, version, loss });
        }
    }
}

/// A follower's high watermark covers what no leader committed. What a start found and nobody had announced may be anything
/// that was committed there, and a log that has lost its beginning does not compare.
fn ahead(partition: &Partition, tip: VersionId, to: i64) -> bool {
    let version = partition.version(tip);
    // Where the leader's log has begun since, nobody compares: the follower takes up that start next.
    if version.last < partition.gone_below {
        return false;
    }
    // A replica that read wrongly may stand in the middle of a batch, and its leader's high watermark with it.
    let led = partition.led.and_then(|(leader, _)| Some((leader, partition.log(leader)?.mark?)));
    if led.is_some_and(|(leader, mark)| mark.as_leader && to <= mark.to && partition.holds(leader, tip)) {
        return false;
    }
    let unknown = version.opaque || version.root != 0;
    version.fate == Fate::Open && !(unknown && to <= partition.frontier) && !partition.is_committed_elsewhere(tip)
}

fn witness(telling: Telling, breach: Breach) -> Witness {
    let (rule, part, from, facts, text) = match breach {
        Breach::Back { part, before, now } => (
            BACK,
            part,
            Some((now.to, before.to)),
            (telling.fact(before.at), telling.fact(now.at)),
            format!("It went back from {} to {}.", before.to, now.to),
        ),
        Breach::BeyondEnd { part, node, now, end } => (
            BEYOND_END,
            part,
            None,
            (
                telling.fact_as(now.at, format!("the log of {} ended at {end}", telling.node(node))),
                telling.fact(now.at),
            ),
            format!("It is {} beyond the end.", now.to.saturating_sub(end)),
        ),
        Breach::UnderMinimum { part, now, view, members } => (
            UNDER_MINIMUM,
            part,
            None,
            (telling.fact(view), telling.fact(now.at)),
            format!("{members} were in sync, {} are wanted.", telling.ledger.parts[part].min_insync),
        ),
        other => return about_version(telling, other),
    };
    let partition = &telling.ledger.parts[part];
    let records = from.map(|(from, to)| telling.stretch(partition, from, to, Vec::new())).into_iter().collect();
    Witness { rule: rule.to_string(), first: facts.0, second: facts.1, text, records, derived: 0 }
}

fn about_version(telling: Telling, breach: Breach) -> Witness {
    let (rule, part, version, facts, text) = match breach {
        Breach::NotHeld { part, now, version, lacking, view } => (
            NOT_HELD,
            part,
            version,
            (telling.fact(view), telling.fact(now.at)),
            format!("{} never held the last batch below it.", telling.nodes(lacking)),
        ),
        Breach::JoinedEarly { part, version, joined, at } => (
            JOINED_EARLY,
            part,
            version,
            (telling.fact(telling.ledger.parts[part].version(version).first), telling.fact(at)),
            format!("{} never held that batch, and counts as in sync from here on.", telling.nodes(joined)),
        ),
        Breach::FollowerAhead { part, now, version } => (
            FOLLOWER_AHEAD,
            part,
            version,
            (telling.fact(telling.ledger.parts[part].version(version).first), telling.fact(now.at)),
            "No leader's high watermark was ever above this batch.".to_string(),
        ),
        Breach::Cut { part, node, version, at } => (
            CUT,
            part,
            version,
            (committed(telling, part, version), telling.fact(at)),
            format!(
                "{} is in sync and threw committed records away; if it leads next, they are lost.",
                telling.node(node)
            ),
        ),
        Breach::LeaderLacks { part, version, loss } => (
            LEADER_LACKS,
            part,
            version,
            (committed(telling, part, version), telling.fact(telling.ledger.parts[part].losses[loss].at)),
            lacks(telling, part, loss),
        ),
        Breach::Back { .. } | Breach::BeyondEnd { .. } | Breach::UnderMinimum { .. } => unreachable!("told before"),
    };
    let partition = &telling.ledger.parts[part];
    let stored = partition.version(version);
    let records = vec![telling.stretch(partition, stored.base, stored.last.saturating_add(1), Vec::new())];
    Witness { rule: rule.to_string(), first: facts.0, second: facts.1, text, records, derived: 0 }
}

fn committed(telling: Telling, part: usize, version: VersionId) -> Fact {
    let version = telling.ledger.parts[part].version(version);
    telling.fact(version.commit.map_or(version.first, |commit| commit.at))
}

/// Why nobody is excused: who should have protected the records, and where the new leader lost them.
pub(super) fn lacks(telling: Telling, part: usize, loss: usize) -> String {
    let loss = &telling.ledger.parts[part].losses[loss];
    let leader = telling.node(loss.leader);
    let why = match loss.cause {
        Cause::Broken { protecting } if protecting.len() == 1 => {
            format!("{} had to keep them, and its copy was not destroyed", telling.nodes(protecting))
        }
        Cause::Broken { protecting } => {
            format!("{} had to keep them, and their copies were not destroyed", telling.nodes(protecting))
        }
        Cause::UncleanForbidden { .. } => "the election was unclean, which the topic forbids".to_string(),
        Cause::Unclean { .. } | Cause::Destroyed { .. } => "a setting permits it".to_string(),
    };
    let cut = loss.cut.map_or_else(String::new, |cut| {
        let cause = crate::words::cut_cause(cut.cause);
        format!(" It had cut its log to {} at {}, {cause}.", cut.to, telling.time(cut.at))
    });
    format!("{leader} leads without them: {why}.{cut}")
}
