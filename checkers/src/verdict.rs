//! What a judge answers, for people and for machines.

use crate::{Confusion, seconds};
use klamm_base::{ClientRecord, TopicPartition};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The answer to one property over one history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum Verdict {
    /// It held each of the `obligations` times that its premise occurred.
    Held { obligations: u64 },
    /// It was broken; the witness is the first root cause.
    Violated { witness: Witness, obligations: u64 },
    /// Something was lost, and a named setting permits exactly that.
    Allowed { obligations: u64, losses: Vec<AllowedLoss> },
    /// Its premise never occurred: nothing was tested.
    NotTested { reason: String },
}

/// A verdict without its detail, in the order in which a campaign merges: the highest wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Nothing was tested.
    NotTested,
    /// Something was lost that a setting permits.
    Allowed,
    /// Tested, and it held.
    Held,
    /// Broken.
    Violated,
}

impl Standing {
    /// The word that reports print.
    pub fn name(self) -> &'static str {
        match self {
            Standing::NotTested => "not-tested",
            Standing::Allowed => "allowed",
            Standing::Held => "held",
            Standing::Violated => "violated",
        }
    }
}

impl Verdict {
    /// Without the detail.
    pub fn standing(&self) -> Standing {
        match self {
            Verdict::Held { .. } => Standing::Held,
            Verdict::Violated { .. } => Standing::Violated,
            Verdict::Allowed { .. } => Standing::Allowed,
            Verdict::NotTested { .. } => Standing::NotTested,
        }
    }

    /// How often the premise occurred.
    pub fn obligations(&self) -> u64 {
        match self {
            Verdict::Held { obligations }
            | Verdict::Violated { obligations, .. }
            | Verdict::Allowed { obligations, .. } => *obligations,
            Verdict::NotTested { .. } => 0,
        }
    }
}

/// The smallest proof of a violation: two facts that contradict, and the rule that they break together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Witness {
    /// The rule, in one sentence.
    pub rule: String,
    /// The earlier fact.
    pub first: Fact,
    /// The later fact.
    pub second: Fact,
    /// Why the two contradict, for people.
    pub text: String,
    /// The records that it concerns, exactly.
    pub records: Vec<Stretch>,
    /// How many more breaches of this property follow in this history; most have the same cause.
    pub derived: u64,
}

/// One fact of the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    /// Its entry.
    pub seq: u64,
    /// World time, nanoseconds.
    pub at_ns: u64,
    /// What happened.
    pub text: String,
}

/// `at 12.345 s (entry 7): node 1 was killed`
impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {} (entry {}): {}", seconds(self.at_ns), self.seq, self.text)
    }
}

/// Records of one partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stretch {
    /// Partition.
    pub tp: TopicPartition,
    /// Its topic's name, or its id if no name is known.
    pub topic: String,
    /// Where they stood or should stand: `from..to`, empty if no offset was ever told.
    pub from: i64,
    /// Exclusive.
    pub to: i64,
    /// Which records of which client, as far as a client was told of them.
    pub records: Vec<ClientRecord>,
}

/// A loss that a setting permits: what the setting costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AllowedLoss {
    /// How many records of what kind.
    pub what: String,
    /// The exact records.
    pub records: Vec<Stretch>,
    /// The setting with its value, as Kafka spells it: `acks=1`.
    pub setting: String,
    /// What took the records away, where and when.
    pub cause: String,
}

impl AllowedLoss {
    /// How many records were lost.
    pub fn count(&self) -> u64 {
        self.records.iter().map(|stretch| stretch.records.len() as u64).sum()
    }
}

/// Totals of a run or of a campaign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Records that a client was told are written.
    pub acked: u64,
    /// Records that a client was told are not.
    pub refused: u64,
    /// Records of which the client knows neither.
    pub unknown: u64,
    /// Records sent with acks=0.
    pub sent: u64,
    /// Records handed to consuming applications, the final reading included.
    pub read: u64,
    /// Faults that struck.
    pub faults: u64,
    /// Records lost as a setting permits.
    pub allowed_losses: u64,
}

impl Counts {
    /// Adds another run.
    pub fn add(&mut self, other: &Counts) {
        self.acked += other.acked;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.sent += other.sent;
        self.read += other.read;
        self.faults += other.faults;
        self.allowed_losses += other.allowed_losses;
    }
}

/// Everything that the judges say of one history.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Every property, by its name.
    #[serde(deserialize_with = "by_property")]
    pub verdicts: BTreeMap<&'static str, Verdict>,
    /// How each violation came about: the few entries that lead to its second fact.
    #[serde(default, deserialize_with = "by_property", skip_serializing_if = "BTreeMap::is_empty")]
    pub stories: BTreeMap<&'static str, Vec<Fact>>,
    /// Totals.
    pub counts: Counts,
    /// What clients were told against what the log holds.
    #[serde(default)]
    pub confusion: Confusion,
    /// Entries judged.
    pub operations: u64,
    /// World time of the last entry, nanoseconds.
    pub sim_ns: u64,
}

impl Report {
    /// The properties that were violated, root causes first: in the order of [`crate::properties`].
    pub fn violated(&self) -> Vec<&'static str> {
        let broken = |name: &&'static str| self.standing(name) == Standing::Violated;
        crate::properties().iter().map(|property| property.name).filter(broken).collect()
    }

    /// What became of one property; one that was not judged was not tested.
    pub fn standing(&self, name: &str) -> Standing {
        self.verdicts.get(name).map_or(Standing::NotTested, Verdict::standing)
    }

    /// True if a promise was broken, or something was lost as a setting or a fault permits: clients may have seen it.
    pub fn explains_anomalies(&self) -> bool {
        self.verdicts.values().any(|verdict| matches!(verdict, Verdict::Violated { .. } | Verdict::Allowed { .. }))
    }

    /// How the run failed: its first root cause. `None` if nothing was violated.
    pub fn signature(&self) -> Option<Signature> {
        let (property, witness) = self.root_cause()?;
        Some(Signature { property: property.to_owned(), rule: witness.rule.clone() })
    }

    /// The first root cause with its witness.
    pub fn root_cause(&self) -> Option<(&'static str, &Witness)> {
        let property = *self.violated().first()?;
        match self.verdicts.get(property) {
            Some(Verdict::Violated { witness, .. }) => Some((property, witness)),
            _ => None,
        }
    }

    /// Everything lost that a setting permits, over all properties.
    pub fn losses(&self) -> impl Iterator<Item = &AllowedLoss> {
        self.verdicts.values().flat_map(|verdict| match verdict {
            Verdict::Allowed { losses, .. } => losses.as_slice(),
            _ => &[],
        })
    }
}

/// How a run failed, without its particulars: two runs that fail alike have equal signatures, whatever their records, times
/// and seeds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Signature {
    /// The property that was violated, the first root cause.
    pub property: String,
    /// The rule that its witness breaks.
    pub rule: String,
}

impl std::fmt::Display for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.property, self.rule)
    }
}

/// The merged answer to one property over a campaign.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MergedVerdict {
    /// violated > held > allowed > not tested.
    pub standing: Standing,
    /// Sum over the runs.
    pub obligations: u64,
    /// Runs in which it was violated, in the order of merging.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub violated_seeds: Vec<u64>,
    /// Runs in which something was lost that a setting permits.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub allowed_seeds: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A campaign's verdicts so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Merged {
    /// Runs merged.
    pub seeds: u64,
    /// Every property, by its name.
    #[serde(deserialize_with = "by_property")]
    pub verdicts: BTreeMap<&'static str, MergedVerdict>,
    /// Totals.
    pub counts: Counts,
    /// What clients were told against what the logs hold.
    #[serde(default)]
    pub confusion: Confusion,
    /// Entries judged.
    pub operations: u64,
    /// World time, summed, nanoseconds.
    pub sim_ns: u64,
}

/// Adds one run's report to a campaign's.
pub fn merge(campaign: &mut Merged, seed: u64, report: &Report) {
    campaign.add(&Merged::of(seed, report));
}

impl Merged {
    /// A campaign of one run.
    pub fn of(seed: u64, report: &Report) -> Merged {
        let verdicts = report.verdicts.iter().map(|(name, verdict)| (*name, MergedVerdict::of(seed, verdict)));
        Merged {
            seeds: 1,
            verdicts: verdicts.collect(),
            counts: report.counts,
            confusion: report.confusion,
            operations: report.operations,
            sim_ns: report.sim_ns,
        }
    }

    /// Adds another campaign, of later seeds.
    pub fn add(&mut self, other: &Merged) {
        self.seeds += other.seeds;
        self.counts.add(&other.counts);
        self.confusion.add(&other.confusion);
        self.operations += other.operations;
        self.sim_ns += other.sim_ns;
        for (name, verdict) in &other.verdicts {
            self.verdicts.entry(name).or_insert_with(MergedVerdict::nothing).add(verdict);
        }
    }
}

impl MergedVerdict {
    fn nothing() -> MergedVerdict {
        MergedVerdict { standing: Standing::NotTested, obligations: 0, violated_seeds: Vec::new(), allowed_seeds: 0 }
    }

    fn of(seed: u64, verdict: &Verdict) -> MergedVerdict {
        let standing = verdict.standing();
        MergedVerdict {
            standing,
            obligations: verdict.obligations(),
            violated_seeds: if standing == Standing::Violated { vec![seed] } else { Vec::new() },
            allowed_seeds: u64::from(standing == Standing::Allowed),
        }
    }

    fn add(&mut self, other: &MergedVerdict) {
        self.standing = self.standing.max(other.standing);
        self.obligations += other.obligations;
        self.violated_seeds.extend(&other.violated_seeds);
        self.allowed_seeds += other.allowed_seeds;
    }
}

/// Reads a map by property. A name that this build does not know is an error: its verdict could not be told.
fn by_property<'de, D, V>(from: D) -> Result<BTreeMap<&'static str, V>, D::Error>
where
    D: serde::Deserializer<'de>,
    V: Deserialize<'de>,
{
    let named = BTreeMap::<String, V>::deserialize(from)?;
    let known = |(name, value): (String, V)| match crate::property(&name) {
        Some(property) => Ok((property.name, value)),
        None => Err(serde::de::Error::custom(format!("there is no property `{name}`"))),
    };
    named.into_iter().map(known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_property_is_refused_by_name() {
        let saved = r#"{"seeds":1,"verdicts":{"no-panics":{"standing":"held","obligations":1}},"counts":{"acked":0,
            "refused":0,"unknown":0,"sent":0,"read":0,"faults":0,"allowed_losses":0},"operations":1,"sim_ns":1}"#;
        let error = serde_json::from_str::<Merged>(saved).unwrap_err().to_string();
        assert!(error.contains("there is no property `no-panics`"), "{error}");
        assert!(serde_json::from_str::<Merged>(&saved.replace("no-panics", "no-panic")).is_ok());
    }
}
