//! What consumers read, one reading after the other: without a gap, and never backwards.

use super::Settings;
use super::findings::{Finding, Findings, Sight, permitted};
use super::named;
use super::operations::{Does, Ended, FOREIGN, Op, Operations, Record};
use super::order::{Explained, Order};
use std::collections::BTreeMap;

/// The last thing that a process polled of a key.
#[derive(Clone, Copy, Debug)]
struct Last {
    op: u32,
    offset: i64,
}

/// How often each class was tested.
#[derive(Default)]
struct Tested {
    within: u64,
    across: u64,
}

struct Polls<'a> {
    operations: &'a Operations,
    order: &'a Order,
    explained: &'a Explained,
    found: &'a mut Findings,
    tested: Tested,
}

/// Follows every process through its polls.
pub(super) fn look(operations: &Operations, order: &Order, explained: &Explained, found: &mut Findings) {
    let mut polls = Polls { operations, order, explained, found, tested: Tested::default() };
    let mut processes: Vec<BTreeMap<u32, Last>> = vec![BTreeMap::new(); operations.processes.len()];
    for (at, op, records) in operations.iter() {
        let lasts = &mut processes[op.process as usize];
        match (op.does, op.ended) {
            (Does::Assign | Does::Subscribe, Ended::Ok | Ended::Info) => {
                let kept = operations.keys_of(at);
                lasts.retain(|key, _| kept.contains(key));
            }
            (Does::Poll | Does::Txn | Does::Send, Ended::Ok) => polls.follow(at, records, lasts),
            // What it read of each key counts for itself, and moves nobody on.
            (Does::Poll | Does::Txn | Does::Send, _) => polls.follow(at, records, &mut BTreeMap::new()),
            _ => {}
        }
    }
    let Tested { within, across } = polls.tested;
    found.tested(named::INT_POLL_SKIP, within);
    found.tested(named::INT_POLL_BACK, within);
    found.tested(named::POLL_SKIP, across);
    found.tested(named::POLL_BACK, across);
}

impl Polls<'_> {
    fn follow(&mut self, op: u32, records: &[Record], lasts: &mut BTreeMap<u32, Last>) {
        let polled = |record: &&Record| !record.is_sent() && record.offset >= 0;
        let mut current: Option<(u32, Last)> = None;
        for record in records.iter().filter(polled) {
            let (key, offset) = (record.key(), record.offset);
            let before = match current {
                Some((same, last)) if same == key => Some(last),
                other => {
                    if let Some((key, last)) = other {
                        lasts.insert(key, last);
                    }
                    lasts.get(&key).copied()
                }
            };
            if let Some(before) = before {
                self.compare(key, before, Last { op, offset });
            }
            current = Some((key, Last { op, offset }));
        }
        if let Some((key, last)) = current {
            lasts.insert(key, last);
        }
    }

    fn compare(&mut self, key: u32, before: Last, now: Last) {
        let within = before.op == now.op;
        if within {
            self.tested.within += 1;
        } else {
            self.tested.across += 1;
        }
        if now.offset.wrapping_sub(before.offset) == 1 {
            return;
        }
        if now.offset <= before.offset {
            let name = if within { named::INT_POLL_BACK } else { named::POLL_BACK };
            self.note(name, key, before, now, |polls| {
                polls.order.why_back(polls.explained, key, before.offset, now.offset)
            });
        } else if self.order.between(key, before.offset, now.offset) > 1 {
            let name = if within { named::INT_POLL_SKIP } else { named::POLL_SKIP };
            self.note(name, key, before, now, |polls| {
                polls.order.why_skipped(polls.explained, key, before.offset, now.offset)
            });
        }
    }

    #[cold]
    fn note(
        &mut self,
        name: &'static str,
        key: u32,
        before: Last,
        now: Last,
        why: impl Fn(&Self) -> Option<&'static str>,
    ) {
        // A key that moved while the operation ran may have been positioned anew.
        if before.op == now.op && self.operations.keys_of(now.op).contains(&key) {
            return;
        }
        if let Some(cause) = why(self) {
            return self.found.add_derived(name, cause);
        }
        let by = permitted(name, Settings::default(), self.found.subscribed);
        let sight = |last: Last| Sight { op: last.op, key, offset: last.offset };
        self.found.add(name, Finding { first: sight(before), second: sight(now), value: FOREIGN }, by);
    }
}

/// How many values subscribed consumers polled so often in operations that surely happened.
pub(super) fn consumed(operations: &Operations) -> BTreeMap<u32, u64> {
    if !operations.iter().any(|(_, op, _)| op.does == Does::Subscribe) {
        return BTreeMap::new();
    }
    let mut subscribed = vec![false; operations.processes.len()];
    let mut times = vec![0u32; operations.values_len()];
    for (_, op, records) in operations.iter().filter(|(_, op, _)| op.ended == Ended::Ok) {
        follow_subscription(&mut subscribed[op.process as usize], op);
        if subscribed[op.process as usize] {
            let polled = records.iter().filter(|record| !record.is_sent() && record.value != FOREIGN);
            polled.for_each(|record| times[record.value as usize] += 1);
        }
    }
    let mut counts = BTreeMap::new();
    for times in times.into_iter().filter(|times| *times > 0) {
        *counts.entry(times).or_default() += 1;
    }
    counts
}

fn follow_subscription(subscribed: &mut bool, op: &Op) {
    match op.does {
        Does::Subscribe => *subscribed = true,
        Does::Assign => *subscribed = false,
        _ => {}
    }
}
