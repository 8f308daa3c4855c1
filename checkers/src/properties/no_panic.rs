//! The stack does not panic.

use super::{Breaches, Judge, conclude};
use crate::ledger::{Effect, Ledger};
use crate::words::Telling;
use crate::{Entry, Event, Property, Verdict, Witness, World};
use klamm_base::Observation;

pub(crate) const PROPERTY: Property = Property {
    name: "no-panic",
    summary: "the stack does not panic, whatever the world does to it",
    premise: "a process or a client began",
    explanation: "An assertion that fails is a bug by itself: the code met a state that its author held for impossible. In a \
                  real process it ends the process (exit 70); in a run it ends the run, and what follows was not tested.",
    rules: &[RULE],
};

const RULE: &str = "No input and no fault may make the stack panic";

#[derive(Default)]
pub(crate) struct NoPanic {
    began: u64,
    /// The last entry of the same node before, and the panic with its place in the code.
    panics: Breaches<(u32, u32, String)>,
}

impl Judge for NoPanic {
    fn look(&mut self, _: &Ledger, at: u32, entry: &Entry, _: &Effect) {
        match &entry.event {
            Event::Stack {
                observation: Observation::NodeStarted { .. } | Observation::ClientStarted { .. }, ..
            } => {
                self.began += 1;
            }
            Event::World(World::Panicked { location, .. }) => {
                self.panics.note((at.saturating_sub(1), at, location.clone()));
            }
            _ => {}
        }
    }

    fn broken(&self) -> bool {
        self.panics.any()
    }

    fn verdict(&mut self, telling: Telling) -> Verdict {
        conclude(&self.panics, self.began, "no process began", |(before, at, location)| Witness {
            // With its place: two assertions that fail are two findings.
            rule: format!("{RULE}; it did at {location}."),
            first: telling.fact(*before),
            second: telling.fact(*at),
            text: "The first is the last thing that was seen before the panic.".to_string(),
            records: Vec::new(),
            derived: 0,
        })
    }
}
