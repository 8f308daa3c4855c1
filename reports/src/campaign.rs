//! All that a finished campaign has to tell to CI.

use crate::json::{CampaignJson, CampaignName, FindingJson};
use klamm_checkers::{Merged, Report, Verdict, Witness};

/// A finished campaign, or a merged one.
#[derive(Clone, Copy, Debug)]
pub struct Campaign<'a> {
    /// Which one it was.
    pub name: &'a CampaignName,
    /// What `--json` prints of it.
    pub json: &'a CampaignJson,
    /// The verdicts.
    pub merged: &'a Merged,
    /// The report of each finding, in their order.
    pub reports: &'a [&'a Report],
    /// Required properties that no seed tested, if that is news.
    pub not_tested: &'a [&'a str],
}

/// A broken promise of one seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Broken<'a> {
    pub finding: &'a FindingJson,
    pub witness: &'a Witness,
}

impl<'a> Campaign<'a> {
    /// Every seed that broke this property, as its first root cause or as another.
    pub(crate) fn broken(&self, property: &str) -> Vec<Broken<'a>> {
        let witness = |report: &'a Report| match report.verdicts.get(property) {
            Some(Verdict::Violated { witness, .. }) => Some(witness),
            _ => None,
        };
        let findings = self.json.findings.iter().zip(self.reports);
        findings.filter_map(|(finding, report)| Some(Broken { finding, witness: witness(report)? })).collect()
    }

    /// `core 0..100`, with the guards that were off.
    pub(crate) fn title(&self) -> String {
        let guards: String = self.name.without.iter().map(|guard| format!(", without {guard}")).collect();
        format!("{} {}{guards}", self.name.profile, self.name.seed_range)
    }
}
