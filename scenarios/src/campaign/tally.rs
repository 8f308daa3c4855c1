//! What a campaign keeps of each seed, and their sum.

use super::sweep::{Answer, Fault};
use klamm_base::Mark;
use klamm_checkers::{Merged, Report, Standing};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a campaign keeps of one seed: all that adding up and reporting need. Nothing in it depends on the machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedLine {
    /// The seed.
    pub seed: u64,
    /// Its verdicts and counts; none if Klamm itself failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged: Option<Merged>,
    /// What rare things happened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Mark>,
    /// The whole report, if a promise was broken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
    /// Where a second run of the seed differed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<String>,
    /// What Klamm's own panic said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

impl SeedLine {
    /// Of one seed's answer.
    pub fn of(answer: &Answer) -> SeedLine {
        let marks = Vec::new();
        let nothing = |seed| SeedLine { seed, merged: None, marks, report: None, difference: None, fault: None };
        match answer {
            Ok(judged) => SeedLine {
                merged: Some(Merged::of(judged.seed, &judged.report)),
                marks: judged.marks.iter().collect(),
                report: (!judged.report.violated().is_empty()).then(|| judged.report.clone()),
                difference: judged.difference.clone(),
                ..nothing(judged.seed)
            },
            Err(fault) => SeedLine { fault: Some(fault.what.clone()), ..nothing(fault.seed) },
        }
    }
}

/// A campaign so far.
#[derive(Debug, Default)]
pub struct Tally {
    /// Verdicts and counts.
    pub merged: Merged,
    /// In how many seeds each mark was hit.
    pub marks: BTreeMap<Mark, u64>,
    /// Seeds whose second run differed, with the first difference.
    pub differences: Vec<(u64, String)>,
    /// Seeds in which a property was violated, in order of seeds.
    pub findings: Vec<Finding>,
    /// Seeds on which Klamm itself failed.
    pub faults: Vec<Fault>,
    /// Seeds added, those on which Klamm failed included.
    pub done: u64,
}

/// A seed in which a property was violated.
#[derive(Debug)]
pub struct Finding {
    /// The seed.
    pub seed: u64,
    /// The properties, root causes first.
    pub violated: Vec<&'static str>,
    /// The verdicts.
    pub report: Report,
}

impl Tally {
    /// Adds one seed.
    pub fn add(&mut self, line: SeedLine) {
        let seed = line.seed;
        self.done += 1;
        self.merged.add(&line.merged.unwrap_or_default());
        line.marks.iter().for_each(|mark| *self.marks.entry(*mark).or_default() += 1);
        self.findings.extend(line.report.map(|report| Finding { seed, violated: report.violated(), report }));
        self.differences.extend(line.difference.map(|difference| (seed, difference)));
        self.faults.extend(line.fault.map(|what| Fault { seed, what }));
    }

    /// Those of `wanted` that no seed hit.
    pub fn never_hit(&self, wanted: &[Mark]) -> Vec<Mark> {
        wanted.iter().copied().filter(|mark| !self.marks.contains_key(mark)).collect()
    }

    /// Required properties that no seed tested.
    pub fn not_tested<'a>(&self, required: &[&'a str]) -> Vec<&'a str> {
        let tested = |name: &str| self.merged.verdicts.get(name).is_some_and(|v| v.standing != Standing::NotTested);
        required.iter().copied().filter(|name| !tested(name)).collect()
    }

    /// How many properties stand so after all seeds.
    pub fn standing(&self, wanted: Standing) -> usize {
        self.merged.verdicts.values().filter(|verdict| verdict.standing == wanted).count()
    }
}
