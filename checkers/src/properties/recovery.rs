//! A restarted replica finds what its disk must have kept.

use super::{Breaches, Excuses, Judge, conclude_with};
use crate::ledger::{Before, Effect, Ledger, Reload, VersionId};
use crate::nodes::NodeIndex;
use crate::words::Telling;
use crate::{Entry, Property, Verdict, Witness};

pub(crate) const PROPERTY: Property = Property {
    name: "recovery",
    summary: "a restarted replica finds what it had: all of it after a crash of the process, all that was flushed after power loss",
    premise: "a replica that had records was loaded again",
    explanation: "A crash of the process keeps the page cache, so nothing that was written may be missing. Power loss keeps what \
                  was flushed; the rest may be missing from its end, never from the middle or the beginning, and what is left is unchanged, \
                  byte for byte (the digest over all batches tells). A log that was told to begin later may begin there, or, as its \
                  start is checkpointed now and then, at any segment before; after a stop in good order, in which no disk \
                  failed, it begins where it was told to, and holds all that it had. Damage to the file of that log excuses the loss of the \
                  damaged batch and of what stands behind it, and no more; what a lying sync promised is excused only by \
                  power loss.",
    rules: &[CHANGED, BEYOND, LOST_BY_CRASH, LOST_FLUSHED],
};

const CHANGED: &str = "What a log keeps over a restart is unchanged.";
const BEYOND: &str =
    "A log begins where it was told to, or, if its node did not stop in good order, at a segment before that.";
const LOST_BY_CRASH: &str = "A crash of the process, or a stop in good order, loses nothing that was written: the page cache stays, or was synced.";
const LOST_FLUSHED: &str = "What was flushed survives power loss.";

#[derive(Clone, Copy, Debug)]
enum Rule {
    Changed,
    Beyond,
    LostByCrash,
    LostFlushed,
}

#[derive(Clone, Copy, Debug)]
struct Breach {
    rule: Rule,
    part: usize,
    node: NodeIndex,
    version: Option<VersionId>,
    before: Before,
    at: u32,
}

#[derive(Default)]
pub(crate) struct Recovery {
    loads: u64,
    breaches: Breaches<Breach>,
    excuses: Excuses,
}

impl Judge for Recovery {
    fn look(&mut self, ledger: &Ledger, at: u32, _: &Entry, effect: &Effect) {
        let Effect::Loaded { part, node, before, how } = *effect else { return };
        self.loads += u64::from(before.known && before.end > 0);
        // What it had deleted from its front it need not find.
        let kept = |id: &&VersionId| ledger.parts[part].version(**id).last >= before.start;
        let removed: Vec<VersionId> = ledger.changes.removed.iter().filter(kept).copied().collect();
        let flushed = |id: &&VersionId| ledger.parts[part].version(**id).last < before.flushed;
        let (rule, version) = if how == Reload::Beyond && before.known {
            (Rule::Beyond, None)
        } else if how == Reload::Unexplained {
            (Rule::Changed, None)
        } else if let Some(id) = removed.iter().rfind(flushed) {
            (Rule::LostFlushed, Some(*id))
        } else if let (false, Some(id)) = (before.power_lost, removed.last()) {
            (Rule::LostByCrash, Some(*id))
        } else {
            return;
        };
        let first = removed.last().map_or(before.end, |id| ledger.parts[part].version(*id).base);
        match before.harmed {
            // Damage takes what it struck and what stands behind it, nothing before.
            Some((from, harm)) if ledger.parts[part].log(node).is_none_or(|log| log.end >= from) => {
                self.excuses.note(harm, part, from.max(first).max(0), before.end);
            }
            _ => self.breaches.note(Breach { rule, part, node, version, before, at }),
        }
    }

    fn broken(&self) -> bool {
        self.breaches.any()
    }

    fn verdict(&mut self, telling: Telling) -> Verdict {
        let losses = self.excuses.losses(telling, "a replica of PARTITION found less than it had, or something else");
        let untested = "no replica with records was loaded again";
        conclude_with(&self.breaches, self.loads, losses, untested, |breach| witness(telling, *breach))
    }
}

fn witness(telling: Telling, breach: Breach) -> Witness {
    let partition = &telling.ledger.parts[breach.part];
    let (node, part) = (telling.node(breach.node), telling.part(breach.part));
    let Before { start, end, flushed, .. } = breach.before;
    let (rule, text) = match breach.rule {
        Rule::Changed => (
            CHANGED,
            format!(
                "The batches that {node} found in {part} are not those that it had appended (its log ended at {end})."
            ),
        ),
        Rule::Beyond => (
            BEYOND,
            format!("The log of {node} of {part} was {start}..{end}, and begins now where it was not told to."),
        ),
        Rule::LostByCrash => (
            LOST_BY_CRASH,
            format!("{node} stopped in good order or lost no power, yet {part}, which ended at {end}, is shorter now."),
        ),
        Rule::LostFlushed => (
            LOST_FLUSHED,
            format!("{node} had flushed {part} below {flushed}, and does not hold all of that any more."),
        ),
    };
    let version = breach.version.map(|id| partition.version(id));
    let records = version.map(|version| telling.stretch(partition, version.base, end, Vec::new()));
    Witness {
        rule: rule.to_string(),
        first: telling.fact(version.map_or(breach.at.saturating_sub(1), |version| version.first)),
        second: telling.fact(breach.at),
        text,
        records: records.into_iter().collect(),
        derived: 0,
    }
}
