//! A consumer reads on where it stopped.

use super::{Breaches, Excuses, Judge, conclude_with};
use crate::ledger::{Effect, Ledger};
use crate::words::Telling;
use crate::{Entry, Event, Property, Verdict, Witness};
use klamm_base::{ClientId, Observation, Source};
use std::collections::BTreeMap;

pub(crate) const PROPERTY: Property = Property {
    name: "consumers-in-order",
    summary: "a consumer reads a partition from its position on: it skips nothing and sees nothing twice, unless it was reset",
    premise: "a consumer read on after the partition's leader had changed",
    explanation: "A consumer's position is the offset after the last record that it handed to its application. The next reading \
                  begins there, whoever leads by then. Only its start and a reset (OFFSET_OUT_OF_RANGE) set it elsewhere. Excused: a \
                  base offset is under no checksum, so damage to it at the consumer's position, or to a frame on its \
                  connections, leads it astray until it is set anew.",
    rules: &[RULE],
};

const RULE: &str = "A consumer reads on from its position.";

#[derive(Clone, Copy, Debug)]
struct Position {
    at: u32,
    offset: i64,
    /// How many leader epochs the partition had seen then.
    epochs: usize,
}

#[derive(Clone, Copy, Debug)]
struct Breach {
    part: usize,
    before: Position,
    at: u32,
    offset: i64,
}

#[derive(Default)]
pub(crate) struct InOrder {
    tested: u64,
    positions: BTreeMap<(ClientId, usize), Position>,
    breaches: Breaches<Breach>,
    excuses: Excuses,
}

impl Judge for InOrder {
    fn look(&mut self, ledger: &Ledger, at: u32, entry: &Entry, effect: &Effect) {
        let Event::Stack { source: Source::Client(client), observation } = &entry.event else { return };
        let Effect::Read { part, astray } = *effect else { return };
        match observation {
            Observation::Positioned { offset, .. } => {
                let epochs = ledger.parts[part].led_at.len();
                self.positions.insert((*client, part), Position { at, offset: *offset, epochs });
            }
            Observation::Read { offset, records, .. } => {
                self.read(ledger, (*client, part), (*offset, records.len()), astray, at);
            }
            _ => {}
        }
    }

    fn broken(&self) -> bool {
        self.breaches.any()
    }

    fn verdict(&mut self, telling: Telling) -> Verdict {
        let untested = "no consumer read on over a leader change";
        let losses = self.excuses.losses(telling, "records of PARTITION that a consumer skipped or read again");
        conclude_with(&self.breaches, self.tested, losses, untested, |breach| {
            let (position, offset) = (breach.before.offset, breach.offset);
            let (from, to) = (position.min(offset), position.max(offset));
            let what = if offset > position { "skipped" } else { "read again" };
            Witness {
                rule: RULE.to_string(),
                first: telling.fact(breach.before.at),
                second: telling.fact(breach.at),
                text: format!("Its position was {position}; {from}..{to} was {what}."),
                records: vec![telling.stretch(&telling.ledger.parts[breach.part], from, to, Vec::new())],
                derived: 0,
            }
        })
    }
}

impl InOrder {
    fn read(
        &mut self,
        ledger: &Ledger,
        (client, part): (ClientId, usize),
        (offset, len): (i64, usize),
        astray: Option<u32>,
        at: u32,
    ) {
        let epochs = ledger.parts[part].led_at.len();
        let next = Position { at, offset: offset.saturating_add(len as i64), epochs };
        let Some(before) = self.positions.insert((client, part), next) else { return };
        self.tested += u64::from(epochs > before.epochs);
        // What compaction took is not there to be read.
        if offset == before.offset || ledger.parts[part].were_taken(before.offset, offset) {
            return;
        }
        if let Some(fault) = astray {
            self.excuses.note(fault, part, offset.min(before.offset), offset.max(before.offset));
        } else {
            self.breaches.note(Breach { part, before, at, offset });
        }
    }
}
