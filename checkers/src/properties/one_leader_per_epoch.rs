//! One leader per epoch.

use super::{Breaches, Judge, conclude};
use crate::ledger::{Effect, Ledger};
use crate::nodes::NodeIndex;
use crate::words::Telling;
use crate::{Entry, Event, Property, Verdict, Witness};
use klamm_base::Observation;
use std::collections::BTreeMap;

pub(crate) const PROPERTY: Property = Property {
    name: "one-leader-per-epoch",
    summary: "in one leader epoch of a partition only one broker leads and writes, and only one life of it",
    premise: "a later leader epoch of a partition was taken up",
    explanation: "The leader epoch is what stale messages are told from valid ones by. If two brokers, or one broker before and \
                  after a crash, write in one epoch, two different records can carry the same offset and epoch, and no \
                  comparison of epochs can ever find out. The metadata log is judged likewise.",
    rules: &[RULE],
};

const RULE: &str = "In one leader epoch one life of one broker leads.";

#[derive(Clone, Copy, Debug)]
struct Claim {
    node: NodeIndex,
    at: u32,
    /// The life of the node that wrote first, and where.
    wrote: Option<(u32, u32)>,
}

#[derive(Default)]
pub(crate) struct OneLeader {
    later: u64,
    claims: BTreeMap<(usize, i32), Claim>,
    /// The claim that wrote last, so that a stream of appends asks no map.
    recent: Option<(usize, i32, NodeIndex, u32)>,
    breaches: Breaches<(usize, i32, u32, u32)>,
}

impl Judge for OneLeader {
    fn look(&mut self, ledger: &Ledger, at: u32, entry: &Entry, effect: &Effect) {
        match *effect {
            Effect::Led { part, node, leader_epoch, newest } => {
                self.later += u64::from(newest && ledger.parts[part].led_at.len() > 1);
                self.claim(part, leader_epoch, node, at);
            }
            Effect::Decided { part, decision } => {
                let decision = &ledger.parts[part].decisions[decision];
                if let Some(leader) = decision.leader {
                    self.claim(part, decision.leader_epoch, leader, at);
                }
            }
            Effect::Appended { part, node, .. } => {
                if let Event::Stack {
                    observation: Observation::Appended { leader_epoch, as_leader: true, .. }, ..
                } = entry.event
                {
                    self.wrote(part, leader_epoch, node, ledger.machine(node).incarnation, at);
                }
            }
            _ => {}
        }
    }

    fn broken(&self) -> bool {
        self.breaches.any()
    }

    fn verdict(&mut self, telling: Telling) -> Verdict {
        conclude(
            &self.breaches,
            self.later,
            "no partition had a second leader epoch",
            |(part, epoch, first, second)| Witness {
                rule: RULE.to_string(),
                first: telling.fact(*first),
                second: telling.fact(*second),
                text: format!("Both claim epoch {epoch} of {}.", telling.part(*part)),
                records: Vec::new(),
                derived: 0,
            },
        )
    }
}

impl OneLeader {
    fn claim(&mut self, part: usize, epoch: i32, node: NodeIndex, at: u32) {
        let claim = *self.claims.entry((part, epoch)).or_insert(Claim { node, at, wrote: None });
        if claim.node != node {
            self.breaches.note((part, epoch, claim.at, at));
        }
    }

    fn wrote(&mut self, part: usize, epoch: i32, node: NodeIndex, life: u32, at: u32) {
        if self.recent == Some((part, epoch, node, life)) {
            return;
        }
        self.claim(part, epoch, node, at);
        let claim = self.claims.get_mut(&(part, epoch)).expect("just claimed");
        let (first_life, first_at) = *claim.wrote.get_or_insert((life, at));
        if claim.node == node && first_life != life {
            self.breaches.note((part, epoch, first_at, at));
        }
        self.recent = Some((part, epoch, node, life));
    }
}
