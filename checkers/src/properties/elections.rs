//! Leaders come from the in-sync replicas, unless a setting says otherwise.

use super::{Breaches, Judge, conclude};
use crate::ledger::{Decision, Effect, Ledger, Partition};
use crate::nodes::NodeSet;
use crate::words::Telling;
use crate::{Entry, Event, Property, Verdict, Witness};
use klamm_base::{NodeId, Observation};
use std::collections::BTreeMap;

pub(crate) const PROPERTY: Property = Property {
    name: "elections",
    summary: "leaders come from the in-sync replicas, or uncleanly where the topic permits it; no fenced broker leads or is in sync; \
              epochs rise one by one",
    premise: "the controller elected a later leader of a partition",
    explanation: "The controller elects from the ISR, because only its members must hold every committed record. With \
                  unclean.leader.election.enable=true it may take any live replica when none of them lives. A broker that is \
                  fenced, or was registered anew and is not unfenced yet, is neither elected nor taken into an ISR. Every change \
                  of a partition raises its partition epoch by one, every change of its leader the leader epoch by one; the \
                  leader is in the ISR and the ISR is among the replicas.",
    rules: &[OUTSIDE_ISR, LEADER_NOT_IN_ISR, ISR_NOT_REPLICAS, FENCED, LEADER_EPOCH, PARTITION_EPOCH, SKIPPED],
};

const OUTSIDE_ISR: &str = "With unclean.leader.election.enable=false a leader comes from the in-sync replicas.";
const LEADER_NOT_IN_ISR: &str = "A leader is in its own ISR.";
const ISR_NOT_REPLICAS: &str = "The ISR is a part of the replicas.";
const FENCED: &str = "A fenced broker is neither elected nor taken into an ISR.";
const LEADER_EPOCH: &str = "A change of leader raises the leader epoch.";
const PARTITION_EPOCH: &str = "Every change raises the partition epoch.";
const SKIPPED: &str = "Epochs rise one by one.";

#[derive(Clone, Copy, Debug)]
enum Rule {
    OutsideIsr,
    LeaderNotInIsr,
    IsrNotReplicas,
    Fenced,
    LeaderEpoch,
    PartitionEpoch,
    Skipped,
}

#[derive(Default)]
pub(crate) struct Elections {
    elected: u64,
    /// Brokers that may not lead now, and the entry that said so.
    fenced: BTreeMap<NodeId, u32>,
    breaches: Breaches<(Rule, usize, u32, u32)>,
}

impl Judge for Elections {
    fn look(&mut self, ledger: &Ledger, at: u32, entry: &Entry, effect: &Effect) {
        match *effect {
            Effect::Decided { part, decision } => self.decided(ledger, part, decision, at),
            Effect::Nothing => self.fence(at, entry),
            _ => {}
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

impl Elections {
    fn fence(&mut self, at: u32, entry: &Entry) {
        let Event::Stack { observation, .. } = &entry.event else { return };
        match observation {
            Observation::BrokerFenced { broker, fenced: false } => drop(self.fenced.remove(broker)),
            Observation::BrokerFenced { broker, fenced: true } | Observation::BrokerRegistered { broker, .. } => {
                self.fenced.insert(*broker, at);
            }
            _ => {}
        }
    }

    fn decided(&mut self, ledger: &Ledger, part: usize, decision: usize, at: u32) {
        let partition = &ledger.parts[part];
        let now = &partition.decisions[decision];
        let before = decision.checked_sub(1).map(|before| &partition.decisions[before]);
        let later = before.is_some_and(|before| now.leader.is_some() && now.leader_epoch > before.leader_epoch);
        self.elected += u64::from(later);
        if let Some(rule) = broken(partition, now, before) {
            self.breaches.note((rule, part, before.map_or(at, |before| before.at), at));
        } else if let Some(fenced) = self.fenced_one(ledger, now, before) {
            self.breaches.note((Rule::Fenced, part, fenced, at));
        }
    }

    /// The entry that fenced a broker which is elected or joins the ISR now.
    fn fenced_one(&self, ledger: &Ledger, now: &Decision, before: Option<&Decision>) -> Option<u32> {
        if self.fenced.is_empty() {
            return None;
        }
        let (known, led) = before.map_or((NodeSet::default(), None), |before| (before.isr, before.leader));
        let elected = now.leader.filter(|_| now.leader != led);
        let mut chosen = now.isr.minus(known).iter().chain(elected);
        chosen.find_map(|node| self.fenced.get(&ledger.nodes.id(node)).copied())
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
    if now.unclean && !partition.unclean_permitted {
        return Some(Rule::OutsideIsr);
    }
    let versions = now.partition_epoch.saturating_sub(before.partition_epoch);
    let epochs = now.leader_epoch.saturating_sub(before.leader_epoch);
    (versions > 1 || epochs > 1).then_some(Rule::Skipped)
}

fn words(rule: Rule, part: &str) -> (&'static str, String) {
    match rule {
        Rule::OutsideIsr => {
            (OUTSIDE_ISR, format!("The new leader of {part} was not in the ISR that the earlier decision left."))
        }
        Rule::LeaderNotInIsr => (LEADER_NOT_IN_ISR, format!("The leader of {part} is not in the ISR beside it.")),
        Rule::IsrNotReplicas => (ISR_NOT_REPLICAS, format!("The ISR of {part} names a stranger.")),
        Rule::Fenced => (FENCED, format!("The decision on {part} trusts a broker that is out of service.")),
        Rule::LeaderEpoch => (LEADER_EPOCH, format!("The leader epoch of {part} did not rise.")),
        Rule::PartitionEpoch => (PARTITION_EPOCH, format!("Two decisions on {part} contradict in one version.")),
        Rule::Skipped => (SKIPPED, format!("Between the two of {part} there must be another, and nobody told it.")),
    }
}
