//! The black-box judge: what clients alone could see, in the anomaly classes of Jepsen's Kafka workload. It knows operations,
//! values and offsets, and nothing of brokers. A few linear passes over flat arrays.

mod anomalies;
mod cycles;
pub mod edn;
mod findings;
mod gather;
mod operations;
mod order;
mod polls;
mod sends;
mod values;
mod words;

pub use anomalies::{ANOMALIES, Anomaly, Legality, anomaly};
pub use gather::Broken;
pub use operations::{Does, Ended, FOREIGN, Key, NO_OFFSET, Op, Operations, Process, Record};

use crate::{Standing, Verdict};
use anomalies as named;
use findings::Findings;
use order::Order;
use std::collections::BTreeMap;

/// What a producer asked for, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `acks`; -1 is all.
    pub acks: Option<i16>,
    /// `enable.idempotence`.
    pub idempotent: Option<bool>,
}

/// What the judge is asked to look for beyond the usual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looking {
    /// Draw edges between writes too: finds G0, which Kafka permits, and G1c through it.
    pub at_write_order: bool,
}

/// What the black-box judge says of one history.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Every class of [`ANOMALIES`], root causes first.
    pub verdicts: Vec<(&'static str, Verdict)>,
    /// Operations judged.
    pub operations: u64,
    /// Records that they sent and polled.
    pub records: u64,
    /// How many values subscribed consumers polled so often. Told, not judged: Kafka does not promise "once".
    pub consumed: BTreeMap<u32, u64>,
}

impl Report {
    /// The classes that Kafka does not permit and that occurred, root causes first.
    pub fn violated(&self) -> Vec<&'static str> {
        let broken = self.verdicts.iter().filter(|(_, verdict)| verdict.standing() == Standing::Violated);
        broken.map(|(name, _)| *name).collect()
    }

    /// The verdict of one class.
    ///
    /// # Panics
    /// If [`ANOMALIES`] has no such class.
    pub fn verdict(&self, name: &str) -> &Verdict {
        let found = self.verdicts.iter().find(|(class, _)| *class == name);
        &found.unwrap_or_else(|| panic!("no anomaly is called {name}")).1
    }

    /// What became of one class.
    pub fn standing(&self, name: &str) -> Standing {
        self.verdict(name).standing()
    }
}

/// Judges what clients saw. Linear in operations and records.
pub fn judge(operations: &Operations, looking: Looking) -> Report {
    let order = Order::of(operations);
    let mut found = Findings::default();
    values::look(operations, &order, &mut found);
    let explained = order.explained();
    polls::look(operations, &order, &explained, &mut found);
    sends::look(operations, &order, &explained, &mut found);
    cycles::look(operations, &order, looking, &mut found);
    Report {
        verdicts: words::verdicts(operations, &order, &found, looking),
        operations: operations.len() as u64,
        records: operations.records_len() as u64,
        consumed: polls::consumed(operations),
    }
}
