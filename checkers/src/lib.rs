//! The judges: a [`History`] goes in, a [`Verdict`] of each property comes out. Pure: no clock, no file, no randomness.

pub mod blackbox;
mod confusion;
mod history;
mod ledger;
mod nodes;
mod properties;
mod slice;
mod verdict;
mod words;

use ledger::Ledger;
use properties::Judges;
use words::Telling;

pub use confusion::{Confusion, Places};
pub use history::{Damage, Entry, Event, History, HistoryError, Party, Phase, World};
pub use nodes::NODES;
pub(crate) use nodes::NodeNames;
pub use verdict::{
    AllowedLoss, Counts, Fact, Merged, MergedVerdict, Report, Signature, Standing, Stretch, Verdict, Witness, merge,
};
pub use words::seconds;

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
    /// What a witness names as broken, word for word: part of a failure's [`Signature`]. A panic's place follows its rule.
    pub rules: &'static [&'static str],
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
    let mut judging = Judging::default();
    judging.look(history);
    judging.conclude(history)
}

/// The first entry of a history with which a promise is broken, whatever comes later: its index, and the promise. What only
/// the end shows (a record that is never read again) has no such entry.
pub fn first_breach(history: &History) -> Option<(usize, &'static Property)> {
    let mut judging = Judging::default();
    history.entries.iter().enumerate().find_map(|(at, entry)| {
        judging.take(entry);
        judging.broken().map(|property| (at, property))
    })
}

/// The judges at work on a history that grows.
#[derive(Default)]
pub struct Judging {
    ledger: Ledger,
    judges: Judges,
    judged: usize,
}

impl Judging {
    /// Takes in what is new in the history, of which all that was there before is unchanged. True if a promise is broken by
    /// now, whatever comes later.
    ///
    /// # Panics
    /// As [`judge`].
    pub fn look(&mut self, history: &History) -> bool {
        assert!(u32::try_from(history.entries.len()).is_ok(), "fewer than 2^32 entries in one history");
        history.entries[self.judged..].iter().for_each(|entry| self.take(entry));
        self.broken().is_some()
    }

    fn take(&mut self, entry: &Entry) {
        let at = self.judged as u32;
        let effect = self.ledger.apply(at, entry);
        self.judges.look(&self.ledger, at, entry, &effect);
        self.judged += 1;
    }

    /// The first promise that is broken by now, root causes first.
    fn broken(&self) -> Option<&'static Property> {
        properties().iter().zip(self.judges.broken()).find_map(|(property, broken)| broken.then_some(property))
    }

    /// The answers, of which all that was judged is the whole history.
    pub fn conclude(self, history: &History) -> Report {
        assert_eq!(self.judged, history.entries.len(), "every entry was judged");
        report(history, &self.ledger, self.judges)
    }
}

impl std::fmt::Debug for Judging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Judging({} entries)", self.judged)
    }
}

/// What entries of a history state, in words.
pub fn facts(history: &History, entries: std::ops::Range<usize>) -> Vec<Fact> {
    let mut ledger = Ledger::default();
    for (at, entry) in history.entries[..entries.end].iter().enumerate() {
        ledger.apply(at as u32, entry);
    }
    let telling = Telling { history, ledger: &ledger };
    entries.map(|at| telling.fact(at as u32)).collect()
}

fn report(history: &History, ledger: &Ledger, mut judges: Judges) -> Report {
    let telling = Telling { history, ledger };
    let mut report = Report {
        counts: ledger.counts,
        confusion: confusion::confusion(ledger),
        operations: history.entries.len() as u64,
        sim_ns: history.entries.last().map_or(0, |entry| entry.at_ns),
        ..Report::default()
    };
    for (property, verdict) in properties().iter().zip(judges.verdicts(telling)) {
        if let Verdict::Violated { witness, .. } = &verdict {
            report.stories.insert(property.name, slice::slice(telling, witness));
        }
        report.verdicts.insert(property.name, verdict);
    }
    // Only the property of acknowledged records counts losses: phantom reads of the same records are told, not counted.
    report.counts.allowed_losses = match report.verdicts.get("acked-survive") {
        Some(Verdict::Allowed { losses, .. }) => losses.iter().map(AllowedLoss::count).sum(),
        _ => 0,
    };
    report
}
