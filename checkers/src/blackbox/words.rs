//! Findings in words: two facts, the rule, and why they contradict.

use super::findings::{Class, Finding, Findings, Several, Sight};
use super::named;
use super::operations::{Ended, FOREIGN, NO_OFFSET, Operations, Record};
use super::order::{NONE, Order};
use super::{ANOMALIES, Anomaly, Looking};
use crate::{AllowedLoss, Fact, Stretch, Verdict, Witness};
use klamm_base::{ClientId, ClientRecord, TopicPartition, Uuid};

struct Telling<'a> {
    operations: &'a Operations,
    order: &'a Order,
    found: &'a Findings,
}

/// The verdict of every class.
pub(super) fn verdicts(
    operations: &Operations,
    order: &Order,
    found: &Findings,
    looking: Looking,
) -> Vec<(&'static str, Verdict)> {
    let telling = Telling { operations, order, found };
    let nothing = Class::default();
    let verdict = |anomaly: &'static Anomaly| {
        let class = found.classes.get(anomaly.name).unwrap_or(&nothing);
        (anomaly.name, telling.verdict(anomaly, class, looking))
    };
    ANOMALIES.iter().map(verdict).collect()
}

impl Telling<'_> {
    fn verdict(&self, anomaly: &Anomaly, class: &Class, looking: Looking) -> Verdict {
        let obligations = class.tested;
        if let Some(first) = class.broken.listed.first() {
            let derived = class.broken.count - 1 + class.derived.values().sum::<u64>();
            return Verdict::Violated { witness: self.witness(anomaly, first, derived), obligations };
        }
        let permitted = class.permitted.iter().map(|(by, several)| self.allowed(anomaly, by, several));
        let derived = class.derived.iter().map(|(from, count)| derived(anomaly, from, *count));
        let losses: Vec<AllowedLoss> = permitted.chain(derived).collect();
        if !losses.is_empty() {
            Verdict::Allowed { obligations, losses }
        } else if obligations > 0 {
            Verdict::Held { obligations }
        } else if anomaly.name == named::G0 && !looking.at_write_order {
            Verdict::NotTested { reason: "edges between writes are drawn only if asked for".to_owned() }
        } else {
            Verdict::NotTested { reason: format!("never: {}", anomaly.premise) }
        }
    }

    fn witness(&self, anomaly: &Anomaly, finding: &Finding, derived: u64) -> Witness {
        let cycle = self.found.cycles.get(anomaly.name);
        let (first, second, text) = match cycle {
            Some(cycle) => self.circle(cycle),
            None => {
                (self.fact(finding.first, finding.value), self.second(anomaly, finding), self.why(anomaly, finding))
            }
        };
        let records = if cycle.is_some() { Vec::new() } else { vec![self.stretch(finding)] };
        Witness { rule: anomaly.rule.to_owned(), first, second, text, records, derived }
    }

    fn second(&self, anomaly: &Anomaly, finding: &Finding) -> Fact {
        match anomaly.name {
            named::LOST_WRITE => self.fact(finding.second, FOREIGN),
            named::UNSEEN => {
                let (sight, key) = (finding.second, self.key(finding.second.key));
                let text = format!("{} began to read {key} from its beginning", self.who(sight.op));
                self.told(sight.op, text)
            }
            _ => self.fact(finding.second, finding.value),
        }
    }

    fn told(&self, op: u32, text: String) -> Fact {
        let op = self.operations.op(op);
        Fact { seq: u64::from(op.completed), at_ns: op.completed_ns, text }
    }

    /// What an operation did at one of its records. If the value is not known, it is what stands at that offset.
    fn fact(&self, sight: Sight, value: u32) -> Fact {
        let at = |record: &&Record| record.key() == sight.key && (record.value == value || value == FOREIGN);
        let records = self.operations.records(sight.op).iter().filter(at);
        let there = records.clone().find(|record| record.offset == sight.offset).or(records.clone().next());
        let Some(record) = there.or_else(|| self.any_at(sight)) else {
            return self.told(sight.op, format!("{} took part", self.who(sight.op)));
        };
        let (who, what, key) = (self.who(sight.op), self.value(record.value), self.key(sight.key));
        let text = if record.is_sent() {
            format!("{who} sent {what} to {key}, {}", self.outcome(sight.op, record.offset))
        } else {
            format!("{who} polled {what} at offset {} of {key}", record.offset)
        };
        self.told(sight.op, text)
    }

    fn any_at(&self, sight: Sight) -> Option<&Record> {
        let records = self.operations.records(sight.op).iter();
        records.filter(|record| record.key() == sight.key).find(|record| record.offset == sight.offset)
    }

    fn outcome(&self, op: u32, offset: i64) -> String {
        match (self.operations.op(op).ended, offset) {
            (Ended::Ok, NO_OFFSET) => "acknowledged without an offset".to_owned(),
            (Ended::Ok, offset) => format!("acknowledged at offset {offset}"),
            (Ended::Fail, _) => "and it failed".to_owned(),
            (Ended::Info, _) => "and nobody knows how it ended".to_owned(),
        }
    }

    fn why(&self, anomaly: &Anomaly, finding: &Finding) -> String {
        let Finding { first, second, value } = *finding;
        let (what, key) = (self.value(value), self.key(first.key));
        match anomaly.name {
            named::LOST_WRITE => format!("{key} was read past {what}, and nobody ever polled it: it is lost."),
            named::INCONSISTENT => format!("Offset {} of {key} held two values.", second.offset),
            named::DUPLICATE => format!("{what} stands at offsets {} and {} of {key}.", first.offset, second.offset),
            named::G1A => format!("{what} was read although its send had failed."),
            named::PRECOMMITTED => format!("The operation read {what} before it was committed."),
            named::UNSEEN => format!("Nobody ever polled {what}, from the first offset of {key} to the end."),
            named::POLL_SKIP | named::INT_POLL_SKIP => self.jumped(first, second),
            named::INT_SEND_SKIP => format!("Something else stands between {} and {}.", first.offset, second.offset),
            _ => format!("Offset {} of {key} does not come after {}.", second.offset, first.offset),
        }
    }

    fn jumped(&self, first: Sight, second: Sight) -> String {
        let jumped = self.order.between(first.key, first.offset, second.offset).saturating_sub(1);
        match self.order.next_after(first.key, first.offset) {
            Some((offset, value)) => format!(
                "{jumped} in between stand in {} and were jumped over, the first {} at offset {offset}.",
                self.key(first.key),
                self.value(value)
            ),
            None => format!("{jumped} in between were jumped over."),
        }
    }

    /// Two facts of a cycle, and the whole of it.
    fn circle(&self, cycle: &[u32]) -> (Fact, Fact, String) {
        let next = |at: usize| cycle[(at + 1) % cycle.len()];
        let link = |at: usize| self.link(cycle[at], next(at));
        let told = |at: usize| {
            let text = link(at);
            self.told(next(at), text)
        };
        let links: Vec<String> = (0..cycle.len()).map(link).collect();
        (
            told(0),
            told(1),
            format!("Each of these comes before the next: {}; and so the first before itself.", links.join("; ")),
        )
    }

    /// Why one operation comes before another.
    fn link(&self, from: u32, to: u32) -> String {
        let (operations, order) = (self.operations, self.order);
        let polled = operations.records(to).iter().find(|record| {
            !record.is_sent() && order.values.get(record.value as usize).is_some_and(|value| value.writer == from)
        });
        let (one, other) = (self.operation(from), self.operation(to));
        match polled {
            Some(record) => {
                format!("{one} sent {} to {}, which {other} polled", self.value(record.value), self.key(record.key()))
            }
            None => format!("{one} sent what stands right before a value of {other}"),
        }
    }

    fn operation(&self, op: u32) -> String {
        format!("{}'s operation of entry {}", self.who(op), self.operations.op(op).completed)
    }

    fn who(&self, op: u32) -> String {
        let process = self.operations.process_of(op);
        if process.client.is_empty() { format!("process {}", process.number) } else { process.client.clone() }
    }

    fn key(&self, key: u32) -> String {
        match self.operations.keys.get(key as usize) {
            Some(super::Key { partition: Some((tp, topic)), .. }) => format!("{topic}-{}", tp.partition),
            Some(key) => format!("key {}", key.number),
            None => "no key".to_owned(),
        }
    }

    fn value(&self, value: u32) -> String {
        match self.operations.value_name(value) {
            Some(name) if self.is_ours() => {
                let record = super::gather::record_of(name);
                format!("record {} of client {}", record.number, record.client.0)
            }
            Some(name) => format!("value {name}"),
            None => "a value that no workload wrote".to_owned(),
        }
    }

    fn is_ours(&self) -> bool {
        self.operations.keys.iter().any(|key| key.partition.is_some())
    }

    fn stretch(&self, finding: &Finding) -> Stretch {
        let (tp, topic) = match &self.operations.keys[finding.first.key as usize] {
            super::Key { partition: Some((tp, topic)), .. } => (*tp, topic.clone()),
            key => (TopicPartition { topic: Uuid::ZERO, partition: key.number as i32 }, "key".to_owned()),
        };
        let offsets = [finding.first.offset, finding.second.offset].into_iter().filter(|offset| *offset >= 0);
        let value = self.order.values.get(finding.value as usize);
        // What is lost or read wrongly stands at one offset; other findings are about all between two.
        let (from, to) = match value.filter(|value| value.first == value.last && value.first >= 0) {
            Some(value) => (value.first, value.first + 1),
            None => (offsets.clone().min().unwrap_or(0), offsets.max().map_or(0, |last| last.saturating_add(1))),
        };
        Stretch { tp, topic, from, to, records: self.records(finding.value) }
    }

    fn records(&self, value: u32) -> Vec<ClientRecord> {
        let name = self.operations.value_name(value).filter(|_| self.is_ours());
        name.map(super::gather::record_of).into_iter().filter(|record| record.client != ClientId(0)).collect()
    }

    fn allowed(&self, anomaly: &Anomaly, by: &str, several: &Several) -> AllowedLoss {
        AllowedLoss {
            what: format!("{} {}", several.count, anomaly.name),
            records: several
                .listed
                .iter()
                .filter(|finding| finding.first.key != NONE)
                .map(|f| self.stretch(f))
                .collect(),
            setting: by.to_owned(),
            cause: anomaly.legality.words().to_owned(),
        }
    }
}

/// What is only the consequence of another class is counted, not told.
fn derived(anomaly: &Anomaly, from: &str, count: u64) -> AllowedLoss {
    AllowedLoss {
        what: format!("{count} {}", anomaly.name),
        records: Vec::new(),
        setting: format!("follows from {from}"),
        cause: format!("told as {from}"),
    }
}
