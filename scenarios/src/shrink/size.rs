//! How large a failing script is, in what people count.

use crate::script::Script;
use crate::stage::RunResult;
use klamm_base::{ClientId, Observation, Source};
use klamm_checkers::Event;
use std::collections::BTreeSet;
use std::fmt;

/// What a script does until its verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Steps that harm.
    pub faults: usize,
    /// Producers and consumers.
    pub clients: usize,
    /// Records that the script's producers had handed in when the run ended.
    pub records: u64,
}

impl Size {
    /// Of a script and its run.
    pub fn of(script: &Script, run: &RunResult) -> Self {
        Self {
            faults: script.steps.iter().filter(|step| step.action.is_fault()).count(),
            clients: script.producers.len() + script.consumers.len(),
            records: records(script, run),
        }
    }
}

fn records(script: &Script, run: &RunResult) -> u64 {
    let mut producers: BTreeSet<ClientId> = BTreeSet::new();
    let mut records = 0;
    for entry in &run.history.entries {
        let Event::Stack { source: Source::Client(client), observation } = &entry.event else { continue };
        match observation {
            Observation::ClientStarted { name, .. } if script.producers.iter().any(|p| p.name == *name) => {
                producers.insert(*client);
            }
            Observation::Invoked { .. } if producers.contains(client) => records += 1,
            _ => {}
        }
    }
    records
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |number: u64, one: &str| if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") };
        let faults = plural(self.faults as u64, "fault");
        write!(f, "{faults}, {}, {}", plural(self.clients as u64, "client"), plural(self.records, "record"))
    }
}
