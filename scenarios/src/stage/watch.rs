//! Matching of triggers: one watch per armed step.

use super::ledger::Ledger;
use crate::script::Trigger;
use klamm_base::{ClientId, NodeId, Observation, Outcome, Source};
use std::collections::BTreeMap;

/// Which client incarnations a name has had.
pub type ClientNames = BTreeMap<ClientId, String>;

/// A trigger under watch since its step was armed.
#[derive(Clone, Debug)]
pub struct Watch {
    trigger: Trigger,
    count: u64,
    /// Leader epoch of the watched partition when the watch began.
    epoch: i32,
}

impl Watch {
    /// Begins to watch.
    pub fn new(trigger: Trigger, ledger: &Ledger) -> Self {
        let epoch = trigger.partition().and_then(|p| ledger.partition(p)).map_or(0, |state| state.leader_epoch);
        Self { trigger, count: 0, epoch }
    }

    /// True if the trigger is a state and the state holds.
    pub fn holds(&self, ledger: &Ledger) -> bool {
        match &self.trigger {
            Trigger::Leads { broker, on } => {
                ledger.partition(on).is_some_and(|state| state.leader == Some(NodeId(*broker as i32)))
            }
            Trigger::IsrIs { on, brokers } => ledger.partition(on).is_some_and(|state| {
                let mut isr: Vec<u32> = state.isr.iter().map(|node| node.0 as u32).collect();
                isr.sort_unstable();
                isr == *brokers
            }),
            Trigger::IsrHas { on, size } => ledger.partition(on).is_some_and(|state| state.isr.len() == *size as usize),
            Trigger::NoLeader { on } => ledger.partition(on).is_some_and(|state| state.leader.is_none()),
            Trigger::Fenced { broker } => ledger.is_fenced(NodeId(*broker as i32)),
            _ => false,
        }
    }

    /// Sees one observation, after the ledger saw it; true if the trigger is met by it.
    pub fn sees(&mut self, ledger: &Ledger, names: &ClientNames, source: Source, observation: &Observation) -> bool {
        let counted = match (&self.trigger, observation) {
            (Trigger::Ack { producer, .. }, Observation::Ended { outcome: Outcome::Acked(_), .. }) => {
                acked_by(producer.as_deref(), names, source)
            }
            (Trigger::Append { on, .. }, Observation::Appended { tp, as_leader: true, .. }) => {
                ledger.id(on) == Some(*tp)
            }
            (Trigger::Election { on }, Observation::PartitionChanged { tp, leader: Some(_), leader_epoch, .. }) => {
                ledger.id(on) == Some(*tp) && *leader_epoch > self.epoch
            }
            (Trigger::FreshAppend { on }, Observation::Appended { tp, as_leader: true, leader_epoch, .. }) => {
                ledger.id(on) == Some(*tp) && *leader_epoch > self.epoch
            }
            (Trigger::Truncation { on }, Observation::Truncated { tp, .. }) => ledger.id(on) == Some(*tp),
            (_, Observation::PartitionChanged { .. } | Observation::BrokerFenced { .. }) => return self.holds(ledger),
            _ => false,
        };
        self.count += u64::from(counted);
        counted && self.count >= self.nth()
    }

    /// True if the trigger is that this step struck.
    pub fn sees_step(&self, struck: &str) -> bool {
        matches!(&self.trigger, Trigger::Step { name } if name == struck)
    }

    fn nth(&self) -> u64 {
        match self.trigger {
            Trigger::Ack { nth, .. } | Trigger::Append { nth, .. } => nth,
            _ => 1,
        }
    }
}

fn acked_by(wanted: Option<&str>, names: &ClientNames, source: Source) -> bool {
    let Source::Client(client) = source else { return false };
    wanted.is_none_or(|wanted| names.get(&client).is_some_and(|name| name == wanted))
}

/// True for observations that may change the ledger or meet a trigger; all others need not wake the director.
pub fn matters(observation: &Observation, appends: bool, acks: bool) -> bool {
    match observation {
        Observation::TopicCreated { .. }
        | Observation::PartitionChanged { .. }
        | Observation::BrokerFenced { .. }
        | Observation::ClientStarted { .. }
        | Observation::Truncated { .. } => true,
        Observation::Appended { as_leader, .. } => appends && *as_leader,
        Observation::Ended { .. } => acks,
        _ => false,
    }
}
