//! What was found, before it is told: how often each class was tested, broken, permitted, or the mere consequence of another.

use super::{Legality, Settings, anomaly};
use std::collections::BTreeMap;

/// Findings of one class that are told in full; further ones are counted.
const LISTED: usize = 32;

/// An operation at one of its records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight {
    pub op: u32,
    pub key: u32,
    /// `NO_OFFSET` if it has none.
    pub offset: i64,
}

/// Two facts that contradict.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finding {
    pub first: Sight,
    pub second: Sight,
    /// The value that it is about; `FOREIGN` if it is about none.
    pub value: u32,
}

/// Findings of one kind: the first few, and how many.
#[derive(Clone, Debug, Default)]
pub(super) struct Several {
    pub listed: Vec<Finding>,
    pub count: u64,
}

impl Several {
    fn add(&mut self, finding: Finding) {
        self.count += 1;
        if self.listed.len() < LISTED {
            self.listed.push(finding);
        }
    }
}

/// Everything of one class.
#[derive(Clone, Debug, Default)]
pub(super) struct Class {
    pub tested: u64,
    pub broken: Several,
    /// By what permits it.
    pub permitted: BTreeMap<&'static str, Several>,
    /// They follow from findings of this other class.
    pub derived: BTreeMap<&'static str, u64>,
}

/// All classes, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    pub classes: BTreeMap<&'static str, Class>,
    /// The shortest cycle found of a class, as operations, each followed by one that depends on it.
    pub cycles: BTreeMap<&'static str, Vec<u32>>,
    /// The history has a `subscribe`.
    pub subscribed: bool,
}

impl Findings {
    pub fn tested(&mut self, name: &'static str, times: u64) {
        self.classes.entry(name).or_default().tested += times;
    }

    /// A finding, and what permits it, if anything does.
    pub fn add(&mut self, name: &'static str, finding: Finding, permitted: Option<&'static str>) {
        let class = self.classes.entry(name).or_default();
        match permitted {
            Some(by) => class.permitted.entry(by).or_default().add(finding),
            None => class.broken.add(finding),
        }
    }

    /// A finding that follows from one of another class.
    pub fn add_derived(&mut self, name: &'static str, from: &'static str) {
        *self.classes.entry(name).or_default().derived.entry(from).or_default() += 1;
    }
}

/// What permits a finding of this class, in the words of a setting: `acks=1`.
pub(super) fn permitted(name: &str, settings: Settings, subscribed: bool) -> Option<&'static str> {
    match anomaly(name).expect("every class is in the table").legality {
        Legality::Never => None,
        Legality::Always | Legality::WriteOrder => Some("no isolation of writes"),
        Legality::Subscribed => subscribed.then_some("subscribe"),
        Legality::WeakAcks | Legality::NoFinalPolls => match settings.acks {
            Some(0) => Some("acks=0"),
            Some(1) => Some("acks=1"),
            _ => None,
        },
        Legality::NotIdempotent => (settings.idempotent == Some(false)).then_some("enable.idempotence=false"),
    }
}
