//! Leaders come from the in-sync replicas, unless a setting says otherwise.

use super::{Breaches, Judge, conclude};
use crate::ledger::{Decision, Effect, Ledger, Partition};
use crate::words::Telling;
use crate::{Entry, Property, Verdict, Witness};

pub(crate) const PROPERTY: Property = Property {
    name: "elections",
    summary: "leaders come from the in-sync replicas, or uncleanly where the topic permits it; epochs only rise",
    premise: "the controller elected a later leader of a partition",
    explanation: "The controller elects from the ISR, because only its members must hold every committed record. With \
                  unclean.leader.election.enable=true it may take any live replica when none of them lives. Every change of \
                  a partition raises its partition epoch, every change of its leader the leader epoch; the leader is in the \
                  ISR and the ISR is among the replicas.",
};

#[derive(Clone, Copy, Debug)]
enum Rule {
    OutsideIsr,
    LeaderNotInIsr,
    IsrNotReplicas,
    LeaderEpoch,
    PartitionEpoch,
}

#[derive(Default)]
pub(crate) struct Elections {
    elected: u64,
    breaches: Breaches<(Rule, usize, u32, u32)>,
}

impl Judge for Elections {
    fn look(&mut self, ledger: &Ledger, at: u32, _: &Entry, effect: &Effect) {
        let Effect::Decided { part, decision } = *effect else { return };
        let partition = &ledger.parts[part];
        let now = &partition.decisions[decision];
        let before = decision.checked_sub(1).map(|before| &partition.decisions[before]);
        let later = before.is_some_and(|before| now.leader.is_some() && now.leader_epoch > before.leader_epoch);
        self.elected += u64::from(later);
        if let Some(rule) = broken(partition, now, before) {
            self.breaches.note((rule, part, before.map_or(at, |before| before.at), at));
        }
    }

    fn broken(&self) -> bool {
        self.breaches.any()
    }

    fn verdict(&mut self, telling: Telling) -> Verdict {
        conclude(&self.breaches, self.elected, "no partition had a second leader", |(rule, part, before, at)| {
            let part = telling.part(*part);
            let (rule, text) = words(*rule, &part);
            let (first, second) = (telling.fact(*before), telling.fact(*at));
            Witness { rule: rule.to_string(), first, second, text, records: Vec::new(), derived: 0 }
        })
    }
}

fn broken(partition: &Partition, now: &Decision, before: Option<&Decision>) -> Option<Rule> {
    if !now.isr.minus(now.replicas).is_empty() {
        return Some(Rule::IsrNotReplicas);
    }
    if now.leader.is_some_and(|leader| !now.isr.contains(leader)) {
        return Some(Rule::LeaderNotInIsr);
    }
    let before = before?;
    if now.partition_epoch <= before.partition_epoch {
        return Some(Rule::PartitionEpoch);
    }
    let moved = now.leader != before.leader;
    if now.leader_epoch < before.leader_epoch || (moved && now.leader_epoch == before.leader_epoch) {
        return Some(Rule::LeaderEpoch);
    }
    (now.unclean && !partition.unclean_permitted).then_some(Rule::OutsideIsr)
}

fn words(rule: Rule, part: &str) -> (&'static str, String) {
    match rule {
        Rule::OutsideIsr => (
            "With unclean.leader.election.enable=false a leader comes from the in-sync replicas.",
            format!("The new leader of {part} was not in the ISR that the earlier decision left."),
        ),
        Rule::LeaderNotInIsr => {
            ("A leader is in its own ISR.", format!("The leader of {part} is not in the ISR beside it."))
        }
        Rule::IsrNotReplicas => ("The ISR is a part of the replicas.", format!("The ISR of {part} names a stranger.")),
        Rule::LeaderEpoch => {
            ("A change of leader raises the leader epoch.", format!("The leader epoch of {part} did not rise."))
        }
        Rule::PartitionEpoch => {
            ("Every change raises the partition epoch.", format!("Two decisions on {part} contradict in one version."))
        }
    }
}
