//! The judges: a [`History`] goes in, a [`Verdict`] of each property comes out. Pure: no clock, no file, no randomness.

mod history;
mod ledger;
mod nodes;
mod properties;
mod verdict;
mod words;

use ledger::Ledger;
use properties::Judge;
use words::Telling;

pub use history::{Damage, Entry, Event, History, HistoryError, Party, Phase, World};
pub use nodes::NODES;
pub(crate) use nodes::NodeNames;
pub use verdict::{
    AllowedLoss, Counts, Fact, Merged, MergedVerdict, Report, Standing, Stretch, Verdict, Witness, merge,
};

/// One thing that Kafka promises, as it is judged here.
#[derive(Clone, Copy, Debug)]
pub struct Property {
    /// kebab-case, stable: what commands take and reports print.
    pub name: &'static str,
    /// What is promised, in one line.
    pub summary: &'static str,
    /// What counts as one test of it.
    pub premise: &'static str,
    /// The rules in the words of this field, for `klamm explain`.
    pub explanation: &'static str,
}

/// Every property, root causes first: when one loss breaks several promises, the first in this list names it best.
pub fn properties() -> &'static [Property] {
    properties::ALL
}

/// The property of this name.
pub fn property(name: &str) -> Option<&'static Property> {
    properties().iter().find(|property| property.name == name)
}

/// Judges one history in one pass: every property has a verdict in the report.
///
/// # Panics
/// If the history names more than [`NODES`] nodes or has 2^32 entries; [`History::from_json_lines`] refuses the first.
pub fn judge(history: &History) -> Report {
    let mut ledger = Ledger::default();
    let mut judges = properties::judges();
    assert!(u32::try_from(history.entries.len()).is_ok(), "fewer than 2^32 entries in one history");
    for (at, entry) in history.entries.iter().enumerate() {
        let effect = ledger.apply(at as u32, entry);
        judges.iter_mut().for_each(|judge| judge.look(&ledger, at as u32, entry, &effect));
    }
    report(history, &ledger, judges)
}

fn report(history: &History, ledger: &Ledger, judges: Vec<Box<dyn Judge>>) -> Report {
    let telling = Telling { history, ledger };
    let mut report = Report {
        counts: ledger.counts,
        operations: history.entries.len() as u64,
        sim_ns: history.entries.last().map_or(0, |entry| entry.at_ns),
        ..Report::default()
    };
    for (property, mut judge) in properties().iter().zip(judges) {
        report.verdicts.insert(property.name, judge.verdict(telling));
    }
    // Only the property of acknowledged records counts losses: phantom reads of the same records are told, not counted.
    report.counts.allowed_losses = match report.verdicts.get("acked-survive") {
        Some(Verdict::Allowed { losses, .. }) => losses.iter().map(AllowedLoss::count).sum(),
        _ => 0,
    };
    report
}
