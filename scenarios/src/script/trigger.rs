//! What a step waits for besides the time: facts about the run, written as one line.

use super::target::Partition;
use super::words::{call, numbered, partition, serde_as_text};
use std::fmt;
use std::str::FromStr;

/// A fact that makes a step fire. Counts begin when the step is armed, that is at its `at` (0 if it has none); states
/// (leads, isr) that already hold at that instant count at once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trigger {
    /// `ack 100` or `ack 100 of p1`: the n-th acknowledged record.
    Ack { nth: u64, producer: Option<String> },
    /// `append 5 on orders-0`: the n-th batch that a leader appends there, before anybody was told.
    Append { nth: u64, on: Partition },
    /// `b1 leads orders-0`.
    Leads { broker: u32, on: Partition },
    /// `isr(orders-0) is [b1, b2]`, in any order.
    IsrIs { on: Partition, brokers: Vec<u32> },
    /// `isr(orders-0) has 1`.
    IsrHas { on: Partition, size: u32 },
    /// `election on orders-0`: a new leader is committed.
    Election { on: Partition },
    /// `no leader on orders-0`.
    NoLeader { on: Partition },
    /// `fresh append on orders-0`: the first batch that a leader appends in an epoch it began after the step was armed.
    FreshAppend { on: Partition },
    /// `truncation on orders-0`: some replica cuts its log.
    Truncation { on: Partition },
    /// `fenced b1`: the controller fences the broker.
    Fenced { broker: u32 },
    /// `step NAME`: the named step has struck.
    Step { name: String },
}

const FORMS: &str = "a trigger is one of: ack N [of PRODUCER], append N on T-p, bN leads T-p, isr(T-p) is [b1, ..], \
                     isr(T-p) has N, election on T-p, no leader on T-p, fresh append on T-p, truncation on T-p, \
                     fenced bN, step NAME";

impl Trigger {
    /// The partition that the trigger names, if it does.
    pub fn partition(&self) -> Option<&Partition> {
        match self {
            Trigger::Append { on, .. }
            | Trigger::Leads { on, .. }
            | Trigger::IsrIs { on, .. }
            | Trigger::IsrHas { on, .. }
            | Trigger::Election { on }
            | Trigger::NoLeader { on }
            | Trigger::FreshAppend { on }
            | Trigger::Truncation { on } => Some(on),
            Trigger::Ack { .. } | Trigger::Fenced { .. } | Trigger::Step { .. } => None,
        }
    }

    /// The same, to be changed.
    pub fn partition_mut(&mut self) -> Option<&mut Partition> {
        match self {
            Trigger::Append { on, .. }
            | Trigger::Leads { on, .. }
            | Trigger::IsrIs { on, .. }
            | Trigger::IsrHas { on, .. }
            | Trigger::Election { on }
            | Trigger::NoLeader { on }
            | Trigger::FreshAppend { on }
            | Trigger::Truncation { on } => Some(on),
            Trigger::Ack { .. } | Trigger::Fenced { .. } | Trigger::Step { .. } => None,
        }
    }

    /// How many times something must happen for the trigger to be met, if it counts, to be changed.
    pub fn count_mut(&mut self) -> Option<&mut u64> {
        match self {
            Trigger::Ack { nth, .. } | Trigger::Append { nth, .. } => Some(nth),
            _ => None,
        }
    }

    /// The brokers that the trigger names.
    pub fn brokers(&self) -> Vec<u32> {
        match self {
            Trigger::Leads { broker, .. } | Trigger::Fenced { broker } => vec![*broker],
            Trigger::IsrIs { brokers, .. } => brokers.clone(),
            _ => Vec::new(),
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trigger::Ack { nth, producer: None } => write!(f, "ack {nth}"),
            Trigger::Ack { nth, producer: Some(producer) } => write!(f, "ack {nth} of {producer}"),
            Trigger::Append { nth, on } => write!(f, "append {nth} on {on}"),
            Trigger::Leads { broker, on } => write!(f, "b{broker} leads {on}"),
            Trigger::IsrIs { on, brokers } => {
                let names: Vec<String> = brokers.iter().map(|n| format!("b{n}")).collect();
                write!(f, "isr({on}) is [{}]", names.join(", "))
            }
            Trigger::IsrHas { on, size } => write!(f, "isr({on}) has {size}"),
            Trigger::Election { on } => write!(f, "election on {on}"),
            Trigger::NoLeader { on } => write!(f, "no leader on {on}"),
            Trigger::FreshAppend { on } => write!(f, "fresh append on {on}"),
            Trigger::Truncation { on } => write!(f, "truncation on {on}"),
            Trigger::Fenced { broker } => write!(f, "fenced b{broker}"),
            Trigger::Step { name } => write!(f, "step {name}"),
        }
    }
}

impl FromStr for Trigger {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let count = |text: &str| text.parse::<u64>().ok().filter(|n| *n > 0).ok_or(FORMS.to_owned());
        match words.as_slice() {
            ["ack", nth] => Ok(Trigger::Ack { nth: count(nth)?, producer: None }),
            ["ack", nth, "of", who] => Ok(Trigger::Ack { nth: count(nth)?, producer: Some((*who).to_owned()) }),
            ["append", nth, "on", on] => Ok(Trigger::Append { nth: count(nth)?, on: partition(on)? }),
            ["election", "on", on] => Ok(Trigger::Election { on: partition(on)? }),
            ["no", "leader", "on", on] => Ok(Trigger::NoLeader { on: partition(on)? }),
            ["fresh", "append", "on", on] => Ok(Trigger::FreshAppend { on: partition(on)? }),
            ["truncation", "on", on] => Ok(Trigger::Truncation { on: partition(on)? }),
            ["fenced", who] => Ok(Trigger::Fenced { broker: broker(who)? }),
            ["step", name] => Ok(Trigger::Step { name: (*name).to_owned() }),
            [who, "leads", on] => Ok(Trigger::Leads { broker: broker(who)?, on: partition(on)? }),
            [isr, "has", size] => Ok(Trigger::IsrHas { on: isr_of(isr)?, size: size.parse().map_err(|_| FORMS)? }),
            [isr, "is", list @ ..] => Ok(Trigger::IsrIs { on: isr_of(isr)?, brokers: brokers(&list.concat())? }),
            _ => Err(FORMS.to_owned()),
        }
    }
}

fn broker(text: &str) -> Result<u32, String> {
    numbered(text, 'b').ok_or_else(|| format!("`{text}` is not a broker; write b1, b2, ..."))
}

fn isr_of(text: &str) -> Result<Partition, String> {
    match call(text) {
        Some(("isr", on)) => partition(on),
        _ => Err(FORMS.to_owned()),
    }
}

/// `[b1,b2]`, sorted.
fn brokers(text: &str) -> Result<Vec<u32>, String> {
    let inside = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).ok_or(FORMS)?;
    let mut all = inside.split(',').filter(|t| !t.is_empty()).map(broker).collect::<Result<Vec<_>, _>>()?;
    all.sort_unstable();
    Ok(all)
}

serde_as_text!(Trigger);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_reads_as_it_is_written() {
        let all = [
            "ack 100",
            "ack 7 of p1",
            "append 5 on orders-0",
            "b1 leads orders-0",
            "isr(orders-0) is [b1, b3]",
            "isr(orders-0) is []",
            "isr(orders-0) has 1",
            "election on my-topic-2",
            "no leader on orders-0",
            "fresh append on orders-0",
            "truncation on orders-0",
            "fenced b2",
            "step kill",
        ];
        for text in all {
            assert_eq!(text.parse::<Trigger>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_trigger_is_refused_with_the_forms_that_are() {
        for text in
            ["", "ack", "ack 0", "ack -1", "x leads orders-0", "isr(orders-0)", "isr orders-0 has 1", "when it rains"]
        {
            assert!(text.parse::<Trigger>().is_err(), "{text}");
        }
        assert!("lightning".parse::<Trigger>().unwrap_err().contains("election on T-p"));
    }
}
