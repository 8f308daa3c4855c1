//! What producers sent, one record after the other: it stands in that order.

use super::Settings;
use super::findings::{Finding, Findings, Sight, permitted};
use super::named;
use super::operations::{Does, Ended, FOREIGN, Operations, Record};
use super::order::{Explained, Order};
use std::collections::BTreeMap;

/// The last record that a process sent to a key, at its offset.
#[derive(Clone, Copy, Debug)]
struct Last {
    op: u32,
    offset: i64,
}

struct Sends<'a> {
    order: &'a Order,
    explained: &'a Explained,
    found: &'a mut Findings,
    within: u64,
    across: u64,
}

/// Follows every process through its sends.
pub(super) fn look(operations: &Operations, order: &Order, explained: &Explained, found: &mut Findings) {
    let mut sends = Sends { order, explained, found, within: 0, across: 0 };
    let mut processes: Vec<BTreeMap<u32, Last>> = vec![BTreeMap::new(); operations.processes.len()];
    for (at, op, records) in operations.iter() {
        let lasts = &mut processes[op.process as usize];
        match (op.does, op.ended) {
            (Does::Assign | Does::Subscribe, Ended::Ok | Ended::Info) => {
                let kept = operations.keys_of(at);
                lasts.retain(|key, _| kept.contains(key));
            }
            (Does::Poll | Does::Txn | Does::Send, Ended::Ok) => sends.follow(at, records, lasts),
            // Nobody knows when it is written: what follows need not stand behind it.
            (Does::Poll | Does::Txn | Does::Send, Ended::Info) => {
                sends.follow(at, records, lasts);
                lasts.clear();
            }
            _ => {}
        }
    }
    let Sends { within, across, .. } = sends;
    found.tested(named::INT_SEND_BACK, within);
    found.tested(named::INT_SEND_SKIP, within);
    found.tested(named::SEND_BACK, across);
}

impl Sends<'_> {
    fn follow(&mut self, op: u32, records: &[Record], lasts: &mut BTreeMap<u32, Last>) {
        for record in records.iter().filter(|record| record.is_sent()) {
            let key = record.key();
            let Some(offset) = self.offset(record) else {
                // Between two sends at known offsets may stand one whose offset nobody knows.
                continue;
            };
            let now = Last { op, offset };
            if let Some(before) = lasts.insert(key, now) {
                self.compare(key, before, now);
            }
        }
    }

    /// Where it stands: as its producer was told, or as somebody saw it.
    fn offset(&self, record: &Record) -> Option<i64> {
        let seen = || self.order.values.get(record.value as usize).map(|value| value.first);
        let offset = if record.offset >= 0 { Some(record.offset) } else { seen() };
        offset.filter(|offset| *offset >= 0)
    }

    fn compare(&mut self, key: u32, before: Last, now: Last) {
        let within = before.op == now.op;
        if within {
            self.within += 1;
        } else {
            self.across += 1;
        }
        let sight = |last: Last| Sight { op: last.op, key, offset: last.offset };
        let finding = Finding { first: sight(before), second: sight(now), value: FOREIGN };
        if now.offset <= before.offset {
            let name = if within { named::INT_SEND_BACK } else { named::SEND_BACK };
            match self.order.why_back(self.explained, key, before.offset, now.offset) {
                Some(cause) => self.found.add_derived(name, cause),
                None => self.found.add(name, finding, None),
            }
        } else if within && self.order.between(key, before.offset, now.offset) > 1 {
            let by = permitted(named::INT_SEND_SKIP, Settings::default(), false);
            self.found.add(named::INT_SEND_SKIP, finding, by);
        }
    }
}
